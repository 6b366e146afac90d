/* SPDX-License-Identifier: MIT */
/* Into a shard and out of it again: S1, S2 and S8 of write.c.
 *
 *   [the gate, for files of several PID namespaces]   then the robust mutex, with a deadline; EOWNERDEAD: recover.c repairs first
 *   the first write after a sync takes the clean mark away, on the disk too, before it changes anything (sync.c)
 *
 *   a file that another one has replaced is not written any more (resize.c): MILLPOND_ERR_REPLACED, and the caller goes on to the other
 *
 * Whoever takes several mutexes takes them in the order of their shards' numbers, and all or none. */

#include "enter.h"

#include "atomic.h"
#include "crashpoint.h"
#include "lock.h"
#include "platform.h"
#include "recover.h"
#include "redo.h"

/* Set while the thread is inside a writing call: a signal handler that calls in must get an answer, not wait for itself. */
static __thread volatile int inside __attribute__((tls_model("initial-exec")));

/* With a timeout of 0 it is a try: who finds the shard taken goes to another one, and has not given up waiting. */
static __attribute__((noinline, cold)) int busy(const struct pond_ref *ref, uint32_t timeout_ms) {
    if (timeout_ms > 0) pond_add_64(&ref->shard->counters.lock_timeouts, 1);
    return MILLPOND_ERR_BUSY;
}

/* The lock was not simply free. */
static __attribute__((noinline, cold)) int not_held(const struct pond_ref *ref, enum pond_lock_result got, uint32_t timeout_ms) {
    if (POND_UNLIKELY(ref->map->gate != NULL) && got >= POND_LOCK_BUSY) pond_gate_leave(ref->map->gate, ref->number);
    if (got == POND_LOCK_BUSY) return busy(ref, timeout_ms);
    if (got == POND_LOCK_BROKEN) return MILLPOND_ERR_CORRUPT;
    if (got == POND_LOCK_OWNER_DIED) {
        pond_recover_shard(ref);
        POND_CRASHPOINT("write.recovered");
        pond_lock_consistent(&ref->shard->mutex);
    }
    return MILLPOND_OK;
}

static inline int take_mutex(const struct pond_ref *ref, uint32_t timeout_ms) {
    int waited;
    if (POND_UNLIKELY(ref->map->gate != NULL) && !pond_gate_enter(ref->map->gate, ref->number, timeout_ms)) return busy(ref, timeout_ms);
    enum pond_lock_result got = pond_lock_acquire(&ref->shard->mutex, timeout_ms, &waited);
    int result = POND_LIKELY(got == POND_LOCK_HELD) ? MILLPOND_OK : not_held(ref, got, timeout_ms);
    if (POND_UNLIKELY(result != MILLPOND_OK)) return result;
    if (POND_UNLIKELY(waited)) pond_bump_64(&ref->shard->counters.lock_waits, 1);
    POND_CRASHPOINT("write.locked");
    return MILLPOND_OK;
}

static void give_mutex(const struct pond_ref *ref) {
    pond_lock_release(&ref->shard->mutex);
    if (POND_UNLIKELY(ref->map->gate != NULL)) pond_gate_leave(ref->map->gate, ref->number);
}

/* S2. */
void pond_write_spoil_now(struct pond_map *map) {
    pond_store_release_32(&map->living->clean, 2);
    POND_CRASHPOINT("sync.spoiling");
    pond_platform_flush(map->base, POND_LIVING_OFF, POND_PAGE_BYTES);
    POND_CRASHPOINT("sync.spoiled");
    pond_store_release_32(&map->living->clean, 0);
}

/* Under a mutex, where one of the two marks stands: is this the file to write to? */
static __attribute__((noinline, cold)) int admit_marked(struct pond_map *map) {
    if (!pond_in_place(map)) return MILLPOND_ERR_REPLACED;
    if (pond_load_32(&map->living->clean) != 0) pond_write_spoil_now(map);
    return MILLPOND_OK;
}

/* The same; the marks are one load, and almost always 0. */
static inline int admit(struct pond_map *map) {
    return POND_LIKELY(pond_load_64(&map->living->marks) == 0) ? MILLPOND_OK : admit_marked(map);
}

int pond_write_enter_at(const struct pond_ref *ref, uint32_t timeout_ms) {
    if (POND_UNLIKELY(ref->map->refusal != MILLPOND_OK)) return ref->map->refusal;
    if (POND_UNLIKELY(inside)) return MILLPOND_ERR_REENTERED;
    inside = 1;
    int result = take_mutex(ref, timeout_ms);
    if (POND_LIKELY(result == MILLPOND_OK)) {
        result = admit(ref->map);
        if (POND_LIKELY(result == MILLPOND_OK)) return MILLPOND_OK;
        give_mutex(ref);
    }
    inside = 0;
    return result;
}

int pond_write_enter(struct pond_map *map, uint32_t shard, uint32_t timeout_ms, struct pond_ref *ref) {
    *ref = pond_ref_of(map, shard);
    return pond_write_enter_at(ref, timeout_ms);
}

void pond_write_leave(const struct pond_ref *ref) {
    POND_CRASHPOINT("write.done");
    give_mutex(ref);
    inside = 0;
}

/* Shards 0 to count - 1, the last one first. */
static void give_from(struct pond_map *map, uint32_t count) {
    while (count-- > 0) {
        struct pond_ref ref = pond_ref_of(map, count);
        give_mutex(&ref);
    }
}

int pond_write_enter_replaced(struct pond_map *map, uint32_t timeout_ms) {
    struct pond_ref ref;
    if (map->refusal != MILLPOND_OK) return map->refusal;
    if (inside) return MILLPOND_ERR_REENTERED;
    inside = 1;
    for (uint32_t i = 0; i < map->geometry.shard_count; i++) {
        ref = pond_ref_of(map, i);
        int result = take_mutex(&ref, timeout_ms);
        if (result == MILLPOND_OK) continue;
        give_from(map, i);
        inside = 0;
        return result;
    }
    return MILLPOND_OK;
}

int pond_write_enter_all(struct pond_map *map, uint32_t timeout_ms) {
    int result = pond_write_enter_replaced(map, timeout_ms);
    if (result != MILLPOND_OK) return result;
    result = pond_in_place(map) ? MILLPOND_OK : MILLPOND_ERR_REPLACED;
    if (result != MILLPOND_OK) pond_write_leave_all(map);
    return result;
}

void pond_write_leave_all(struct pond_map *map) {
    give_from(map, map->geometry.shard_count);
    inside = 0;
}

/* ---- some ---- */

/* At least one: waiting in vain is counted, trying is not. */
static uint32_t left_ms(uint64_t until_ns) {
    uint64_t now = pond_platform_monotonic_ns();
    return now + 1000000 < until_ns ? (uint32_t)((until_ns - now) / 1000000) : 1;
}

int pond_write_enter_some(struct pond_map *map, const uint32_t *shards, uint32_t count, uint32_t timeout_ms) {
    if (map->refusal != MILLPOND_OK) return map->refusal;
    if (inside) return MILLPOND_ERR_REENTERED;
    inside = 1;
    uint64_t until_ns = count > 1 ? pond_platform_monotonic_ns() + (uint64_t)timeout_ms * 1000000 : 0;
    int result = MILLPOND_OK;
    for (uint32_t i = 0; i < count; i++) {
        struct pond_ref ref = pond_ref_of(map, shards[i]);
        result = take_mutex(&ref, i == 0 ? timeout_ms : left_ms(until_ns));
        if (result != MILLPOND_OK) {
            pond_write_leave_some(map, shards, i);
            return result;
        }
        if (POND_UNLIKELY(pond_redo_pending(&ref) != 0)) pond_redo_recover(&ref); /* only damage leaves one behind a free mutex */
    }
    result = admit(map);
    if (POND_UNLIKELY(result != MILLPOND_OK)) pond_write_leave_some(map, shards, count);
    return result;
}

void pond_write_leave_some(struct pond_map *map, const uint32_t *shards, uint32_t count) {
    while (count-- > 0) {
        struct pond_ref ref = pond_ref_of(map, shards[count]);
        give_mutex(&ref);
    }
    inside = 0;
}

int pond_write_inside(void) { return inside; }
