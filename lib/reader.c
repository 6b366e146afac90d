/* SPDX-License-Identifier: MIT */
/* Reader slots.
 *
 * A slot is owned by the thread that holds the robust mutex inside it, from the thread's first call on a file until it ends or closes its
 * handle. So the kernel itself says when an owner is dead: nobody has to look for process numbers, which mean little across PID
 * namespaces. The next thread that looks for a slot takes it over; its counters go on, they are sums over all owners.
 *
 * Each thread has a list of the slots that it owns; each keeps its mapping alive. A child of fork owns nothing: the mutexes are held by the
 * parent's threads, so the child forgets the lists and finds slots of its own. */

#include "reader.h"

#include "atomic.h"
#include "crashpoint.h"
#include "lock.h"
#include "platform.h"

#include <stdlib.h>

#define GATE_TIMEOUT_MS 100u
#define TRY_AGAIN_AFTER 4096u /* calls of a thread that found no free slot */

/* What one thread owns of one mapping. */
struct hold {
    struct pond_map *map;
    struct pond_reader *slot;  /* NULL: none was free */
    unsigned wait;             /* calls until the next try */
    struct hold *next_own;     /* of the same thread */
    struct hold *next, **link; /* of the process; under the process lock */
};

__thread struct pond_reader_last pond_reader_last; /* a slot, or no mapping */
static __thread struct hold *own;

static struct hold *process_holds;
static uint64_t forks;
static pthread_key_t thread_end;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void unlink_hold(struct hold *hold) {
    *hold->link = hold->next;
    if (hold->next) hold->next->link = hold->link;
}

/* Under the process lock. */
static void let_go(struct hold *hold) {
    if (hold->slot) {
        for (unsigned i = 0; i < POND_READER_PINS; i++) pond_store_release_64(&hold->slot->pin[i], 0);
        pond_store_32(&hold->slot->owned, 0);
        pond_lock_release(&hold->slot->mutex);
    }
    unlink_hold(hold);
    pond_map_release_locked(hold->map);
    free(hold);
}

static void when_thread_ends(void *unused) {
    (void)unused;
    pond_process_lock();
    while (own) {
        struct hold *hold = own;
        own = hold->next_own;
        let_go(hold);
    }
    pond_reader_last.map = NULL;
    pond_reader_last.slot = NULL;
    pond_process_unlock();
}

/* In the child, under the process lock: every slot belongs to the parent. */
static void after_fork(void) {
    pond_store_64(&forks, forks + 1);
    while (process_holds) {
        struct hold *hold = process_holds;
        unlink_hold(hold);
        pond_map_release_locked(hold->map);
        free(hold);
    }
    own = NULL;
    pond_reader_last.map = NULL;
    pond_reader_last.slot = NULL;
}

static void prepare(void) {
    pthread_key_create(&thread_end, when_thread_ends);
    pond_map_on_fork(after_fork);
}

uint64_t pond_reader_fork(void) { return pond_load_64(&forks); }

/* Takes a slot that nobody living owns, without the pins that a dead owner left. */
static int take_free(struct pond_reader *slot) {
    enum pond_lock_result got = pond_lock_try(&slot->mutex);
    if (got == POND_LOCK_OWNER_DIED) {
        for (unsigned k = 0; k < POND_READER_PINS; k++) pond_store_release_64(&slot->pin[k], 0);
        pond_store_32(&slot->owned, 0);
        pond_lock_consistent(&slot->mutex);
    }
    return got == POND_LOCK_HELD || got == POND_LOCK_OWNER_DIED;
}

/* Where several PID namespaces use a file, a thread that is killed while it only tries a mutex may make the kernel take it from its
 * namesake (gate.c): there a slot is tried only while its word says free, and the word cannot change under the file lock. */
static int take_gated(struct pond_map *map, struct pond_reader *slot) {
    int fd = map->gate->fd;
    if (pond_lock_looks_held(&slot->mutex) || pond_platform_file_lock(fd, POND_FILE_LOCK_READERS, 1, GATE_TIMEOUT_MS) != 0) return 0;
    int got = !pond_lock_looks_held(&slot->mutex) && take_free(slot);
    pond_platform_file_unlock(fd, POND_FILE_LOCK_READERS);
    return got;
}

static int take_over(struct pond_map *map, struct pond_reader *slot) { return map->gate ? take_gated(map, slot) : take_free(slot); }

int pond_reader_bury(struct pond_map *map, uint32_t number) {
    struct pond_reader *slot = &map->readers[number];
    if (slot == pond_reader_last.slot || !take_over(map, slot)) return 0;
    pond_lock_release(&slot->mutex);
    return 1;
}

static struct pond_reader *claim(struct pond_map *map) {
    for (uint32_t i = 0; i < map->geometry.reader_count; i++) {
        struct pond_reader *slot = &map->readers[i];
        if (!take_over(map, slot)) continue;
        pond_store_32(&slot->claims, pond_load_32(&slot->claims) + 1);
        pond_store_32(&slot->owned, 1);
        POND_CRASHPOINT("reader.claimed");
        /* Never too low: recyclers look for pins below it. */
        for (uint32_t high; (high = pond_load_32(&map->living->reader_high)) <= i;) pond_cas_32(&map->living->reader_high, high, i + 1);
        return slot;
    }
    return NULL;
}

static int pins_nothing(const struct pond_reader *slot) {
    for (unsigned i = 0; slot && i < POND_READER_PINS; i++)
        if (pond_load_64(&slot->pin[i]) != 0) return 0;
    return 1;
}

/* Takes a hold out of the thread's list and lets go of it. */
static void leave(struct hold **link) {
    struct hold *hold = *link;
    *link = hold->next_own;
    if (pond_reader_last.map == hold->map) {
        pond_reader_last.map = NULL;
        pond_reader_last.slot = NULL;
    }
    pond_process_lock();
    let_go(hold);
    pond_process_unlock();
}

void pond_reader_leave_left(void) {
    for (struct hold **link = &own; *link;)
        if ((*link)->map->left && pins_nothing((*link)->slot))
            leave(link);
        else
            link = &(*link)->next_own;
}

static struct pond_reader *find_or_claim(struct pond_map *map) {
    struct hold *hold = own;
    while (hold && hold->map != map) hold = hold->next_own;
    if (!hold) {
        pond_reader_leave_left();
        pthread_once(&once, prepare);
        hold = calloc(1, sizeof *hold);
        if (!hold) return NULL;
        pthread_setspecific(thread_end, hold); /* any value that is not NULL: when_thread_ends is wanted */
        hold->map = map;
        hold->next_own = own;
        pond_process_lock();
        pond_map_hold(map);
        hold->next = process_holds;
        hold->link = &process_holds;
        if (hold->next) hold->next->link = &hold->next;
        process_holds = hold;
        pond_process_unlock();
        own = hold;
    }
    if (!hold->slot && hold->wait-- == 0) {
        hold->slot = claim(map);
        hold->wait = TRY_AGAIN_AFTER;
    }
    if (hold->slot) {
        pond_reader_last.map = map;
        pond_reader_last.slot = hold->slot;
    }
    return hold->slot;
}

struct pond_reader *pond_reader_find(struct pond_map *map) {
    return map->readonly ? NULL : find_or_claim(map);
}

void pond_reader_count_rare(struct pond_map *map, int hit, unsigned retries, int gave_up) {
    struct pond_reader *slot = pond_reader_mine(map);
    if (slot) {
        pond_bump_64(hit ? &slot->hits : &slot->misses, 1);
        pond_bump_64(&slot->retries, retries);
        pond_bump_64(&slot->gave_up, gave_up != 0);
        return;
    }
    if (map->readonly) return;
    pond_add_64(hit ? &map->living->spare_hits : &map->living->spare_misses, 1);
    if (retries) pond_add_64(&map->living->spare_retries, retries);
    if (gave_up) pond_add_64(&map->living->spare_gave_up, 1);
}

void pond_reader_leave(struct pond_map *map) {
    for (struct hold **link = &own; *link; link = &(*link)->next_own)
        if ((*link)->map == map) {
            leave(link);
            return;
        }
}

void pond_reader_sum(struct pond_map *map, uint64_t *hits, uint64_t *misses, uint64_t *retries, uint64_t *gave_up, uint64_t *used) {
    const struct pond_living *living = map->living;
    *hits = pond_load_64(&living->spare_hits);
    *misses = pond_load_64(&living->spare_misses);
    *retries = pond_load_64(&living->spare_retries);
    *gave_up = pond_load_64(&living->spare_gave_up);
    *used = 0;
    uint32_t high = pond_load_32(&living->reader_high);
    for (uint32_t i = 0; i < high && i < map->geometry.reader_count; i++) {
        const struct pond_reader *slot = &map->readers[i];
        *hits += pond_load_64(&slot->hits);
        *misses += pond_load_64(&slot->misses);
        *retries += pond_load_64(&slot->retries);
        *gave_up += pond_load_64(&slot->gave_up);
        *used += pond_load_32(&slot->owned) != 0 && (map->readonly || !pond_reader_bury(map, i));
    }
}
