/* SPDX-License-Identifier: MIT */
/* Going on to the file that has taken the place of the one that a handle has.
 *
 *   F1 what a resize replaces is emptied behind the mark `replaced`, so every get in it becomes a miss, and a miss looks at the mark; a
 *      writer looks at it under its mutex. A hit costs nothing.
 *   F2 under the process lock: the file that the handle's path leads to is opened as by millpond_open. It is still the old one while the
 *      resize is between its mark and its rename, or was killed there: then the new one is opened by the name that it has until then,
 *      which follows from old.successor. It is whole, and may be read (POND_COMING).
 *   F3 pond->map is swapped. Threads inside the old mapping finish there; a grace period later the handle's reference is given back.
 * Threads give their reader slots in it back when they come to the new one, or when they release their last view. F4 a writer that meets
 * POND_COMING waits for the one that resizes; where that has died (it gets the mutexes) it finishes the work: empties the old file, renames
 * (resize.c, H1 to H4).
 *
 * A reader waits at most READ_WAIT_MS, once, and only where another opener was stopped half-way; then it has its miss. A writer waits
 * lock_timeout_ms, and is then told ERR_BUSY, as it is of any lock; ERR_REPLACED means that it may not open the file, or that there is
 * none. */

#include "handle.h"

#include "crashpoint.h"
#include "platform.h"
#include "reader.h"
#include "resize.h"

#define READ_WAIT_MS  250u
#define LOOK_EVERY_NS UINT64_C(100000000)
#define WAIT_US       500u

#ifdef MILLPOND_TSAN
uint64_t pond_sections_left;
#endif

static struct millpond_options options_of(const struct millpond *pond) {
    struct millpond_options options = MILLPOND_OPTIONS_INIT;
    options.flags = pond->flags & (uint32_t)(MILLPOND_READONLY | MILLPOND_ANY_FILESYSTEM | MILLPOND_POPULATE);
    return options;
}

/* Opens a file for a handle. A child of fork in another PID namespace may not write there: it goes on reading. */
static int open_for(const struct millpond *pond, const char *path, uint32_t timeout_ms, struct pond_map **map) {
    struct millpond_options options = options_of(pond);
    int result = pond_map_open_locked(path, &options, &pond_handle_hooks, timeout_ms, map, NULL);
    if (result != MILLPOND_ERR_NAMESPACE || pond->map->refusal != MILLPOND_ERR_NAMESPACE) return result;
    options.flags |= MILLPOND_READONLY;
    return pond_map_open_locked(path, &options, &pond_handle_hooks, timeout_ms, map, NULL);
}

/* F2: *next receives another mapping than the handle has, or NULL when there is none (yet). Under the process lock. */
static int open_next(const struct millpond *pond, uint32_t timeout_ms, struct pond_map **next) {
    const struct pond_map *map = pond->map;
    *next = NULL;
    if (!pond->path) return MILLPOND_ERR_NO_NAME;
    int result = open_for(pond, pond->path, timeout_ms, next);
    if (result != MILLPOND_OK || *next != map) return result;
    pond_map_release_locked(*next);
    *next = NULL;
    if (!pond_replaced(map)) return MILLPOND_OK;
    char *name = pond_resize_name(pond->path, pond_load_64(&map->living->successor));
    if (!name) return MILLPOND_ERR_NO_MEMORY;
    result = open_for(pond, name, timeout_ms, next);
    free(name);
    return result == MILLPOND_ERR_NO_FILE ? MILLPOND_OK : result; /* it has been renamed meanwhile: the path leads there now */
}

/* F3, behind the swap. */
static void leave_behind(struct pond_map *map) {
    pond_reader_leave_left();
    pond_handle_grace_period();
    pond_process_lock();
    map->leaving--;
    pond_map_release_locked(map);
    pond_process_unlock();
}

/* F2 and F3, unless another thread was faster. Sets *result to what opening said. 1 when the handle has gone on from `from` (NULL: from
 * whatever it has). */
static int swap(struct millpond *pond, const struct pond_map *from, uint32_t timeout_ms, int *result) {
    struct pond_map *next, *map;
    *result = MILLPOND_OK;
    pond_process_lock();
    map = pond->map;
    if (from && map != from) {
        pond_process_unlock();
        return 1;
    }
    *result = open_next(pond, timeout_ms, &next);
    if (*result == MILLPOND_OK && next) {
        map->left = 1;
        next->followed |= (pond->flags & MILLPOND_FOLLOW) != 0;
        map->leaving++;
        pond_handle_swap(pond, next);
    } else {
        map = NULL;
    }
    pond_process_unlock();
    if (map) leave_behind(map);
    return map != NULL;
}

/* MILLPOND_FOLLOW: now and then. */
static int look(struct millpond *pond) {
    uint64_t now = pond_platform_monotonic_ns();
    int result;
    if (now < pond_load_64(&pond->look_again_ns)) return 0;
    pond_store_64(&pond->look_again_ns, now + LOOK_EVERY_NS);
    struct pond_map *map = enter(pond);
    int here = pond->path ? pond_platform_leads_to(pond->path, map->device, map->inode) : 1;
    leave(0);
    return here == 0 && swap(pond, NULL, READ_WAIT_MS, &result);
}

/* F4, in the file that is to come. 1: look again; 0: that did not help, *result is why. */
static int settle(struct millpond *pond, struct pond_map *coming, int *result) {
    struct pond_map *there = NULL;
    pond_process_lock();
    int here = pond_platform_leads_to(pond->path, coming->device, coming->inode);
    if (here == 1) pond_cas_32(&coming->living->replaced, POND_COMING, POND_IN_PLACE); /* it has its name, so the old one was emptied */
    *result = here == 0 ? open_for(pond, pond->path, READ_WAIT_MS, &there) : MILLPOND_OK;
    pond_process_unlock();
    POND_CRASHPOINT("follow.looked");
    if (*result != MILLPOND_OK || here != 0) return here == 1;
    if (pond_replaced(there))
        *result = pond_resize_finish(there, pond->path, pond->lock_timeout_ms);
    else
        swap(pond, coming, pond->lock_timeout_ms, result); /* its time has passed: a third file has the name */
    pond_map_release(there);
    return *result == MILLPOND_OK;
}

/* One try. 1: make the call again; 0: wait a little and try again, *result is why; -1: no other file can be opened, *result is why. */
static int go_on(struct millpond *pond, struct pond_map *map, enum pond_follow_why why, int *result) {
    uint32_t replaced = pond_load_32(&map->living->replaced);
    if (replaced == POND_COMING && why == POND_FOLLOW_WRITE) return settle(pond, map, result);
    if (replaced != POND_REPLACED || swap(pond, map, why == POND_FOLLOW_WRITE ? pond->lock_timeout_ms : READ_WAIT_MS, result)) return 1;
    if (*result == MILLPOND_OK && why == POND_FOLLOW_WRITE) *result = pond_resize_finish(map, pond->path, pond->lock_timeout_ms);
    return *result == MILLPOND_OK ? 0 : -1;
}

int pond_follow(struct millpond *pond, enum pond_follow_why why) {
    if (why == POND_FOLLOW_LOOK) return look(pond);
    uint32_t timeout_ms = why == POND_FOLLOW_WRITE ? pond->lock_timeout_ms : READ_WAIT_MS;
    uint64_t now = pond_platform_monotonic_ns(), until = now + (uint64_t)timeout_ms * 1000000;
    if (why == POND_FOLLOW_READ && now < pond_load_64(&pond->look_again_ns)) return 0;
    int result = MILLPOND_OK;
    for (int again = 0; again == 0 && now < until; now = pond_platform_monotonic_ns()) {
        struct pond_map *map = hold(pond);
        again = go_on(pond, map, why, &result);
        pond_map_release(map);
        if (again == 1) return 1;
        if (again == 0) pond_platform_sleep_us(WAIT_US);
    }
    pond_store_64(&pond->look_again_ns, now + LOOK_EVERY_NS); /* whoever misses meanwhile has a miss, and does not wait again */
    return why == POND_FOLLOW_WRITE && result == MILLPOND_ERR_BUSY ? result : 0;
}

int millpond_follow(struct millpond *pond) {
    int result;
    if (!pond) return MILLPOND_ERR_ARGUMENT;
    swap(pond, NULL, pond->lock_timeout_ms, &result);
    return result;
}
