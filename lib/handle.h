/* SPDX-License-Identifier: MIT */
#ifndef POND_HANDLE_H
#define POND_HANDLE_H

/* A handle, and how a public function goes in and out.
 *
 * A handle names the mapping of its file. The mapping can be replaced while threads are inside it, so every call is a read-side section of
 * liburcu (the -bp flavour, which registers threads by itself), lock and unlock of a robust mutex included: whoever unmaps waits for a
 * grace period, after which no thread is inside and no kernel write to one of its mutexes is outstanding. A section is short: what takes
 * long, or calls the user (a scan), holds a reference to the mapping instead. */

#include "atomic.h"
#include "group.h"
#include "hash.h"
#include "mapping.h"
#include "millpond.h"
#include "read.h"

#define _LGPL_SOURCE /* the read-side functions of liburcu inline: small ones, which its licence allows any program */
#include <urcu-bp.h>

struct pond_binding;

struct millpond {
    struct pond_map *map; /* under RCU; changed under the process lock */
    uint32_t lock_timeout_ms;
    struct pond_binding *store; /* what lies behind it (store.c), or NULL */
    uint32_t flags;             /* of millpond_open */
    char *name;                 /* as it was opened, for messages */
    char *path;                 /* absolute; NULL when no path leads there for long */
    uint64_t look_again_ns;     /* MILLPOND_FOLLOW, and after a file could not be opened: not before this */
    uint64_t group;             /* of what is stored through it and names none, or 0 */
};

/* What the layers below need of those above, for every opening. */
extern const struct pond_map_hooks pond_handle_hooks;

#ifdef MILLPOND_TSAN
/* ThreadSanitizer sees nothing of liburcu's ordering: that a mapping is filled before it is handed out, and that a grace period ends behind
 * all sections that began before it. It is told here, by a word that sections release and a grace period acquires. */
extern uint64_t pond_sections_left;
static inline struct pond_map *pond_handle_map(const struct millpond *pond) { return __atomic_load_n(&pond->map, __ATOMIC_ACQUIRE); }
static inline void pond_handle_swap(struct millpond *pond, struct pond_map *map) { __atomic_store_n(&pond->map, map, __ATOMIC_RELEASE); }
static inline void pond_handle_left(void) { __atomic_fetch_add(&pond_sections_left, 1, __ATOMIC_RELEASE); }
static inline void pond_handle_grace_period(void) {
    urcu_bp_synchronize_rcu();
    __atomic_load_n(&pond_sections_left, __ATOMIC_ACQUIRE);
}
#else
static inline struct pond_map *pond_handle_map(const struct millpond *pond) { return rcu_dereference(pond->map); }
static inline void pond_handle_swap(struct millpond *pond, struct pond_map *map) { rcu_assign_pointer(pond->map, map); }
static inline void pond_handle_left(void) {}
static inline void pond_handle_grace_period(void) { urcu_bp_synchronize_rcu(); }
#endif

static inline struct pond_map *enter(const struct millpond *pond) {
    urcu_bp_read_lock();
    return pond_handle_map(pond);
}
static inline int leave(int result) {
    pond_handle_left();
    urcu_bp_read_unlock();
    return result;
}

static inline int key_of(const struct pond_map *map, const void *key, size_t key_bytes, struct pond_key *out) {
    if (POND_UNLIKELY(!key || key_bytes == 0 || key_bytes > MILLPOND_KEY_BYTES_MAX)) return 0;
    out->bytes = key;
    out->handle = NULL;
    out->count = key_bytes;
    out->hash = pond_hash(key, key_bytes, map->geometry.hash_seed);
    return 1;
}

/* ---- files that were replaced: follow.c ---- */

enum pond_follow_why { POND_FOLLOW_READ, POND_FOLLOW_WRITE, POND_FOLLOW_LOOK };

/* The handle goes on to the file that has taken the place of its own. 1: the call should be made again. 0: it should not.
 * MILLPOND_ERR_BUSY, for a write: it cannot yet, since somebody else does not go on: an opener who was stopped, or a resizer. Outside of
 * any section. */
int pond_follow(struct millpond *pond, enum pond_follow_why why);

/* Behind a miss: ORDER replace (reader), as in read.c. */
static inline int pond_replaced(const struct pond_map *map) { return pond_load_32(&map->living->replaced) == POND_REPLACED; }

/* Behind a look that found nothing; leaves the section. 1: the handle has gone on to another file, look again. */
static inline int pond_follow_missed(struct millpond *pond, const struct pond_map *map) {
    int replaced = pond_replaced(map);
    leave(0);
    if (POND_LIKELY(!replaced && !(pond->flags & MILLPOND_FOLLOW))) return 0;
    return pond_follow(pond, replaced ? POND_FOLLOW_READ : POND_FOLLOW_LOOK);
}

/* Before a write. */
static inline struct pond_map *enter_writing(struct millpond *pond) {
    if (POND_UNLIKELY(pond->flags & MILLPOND_FOLLOW)) pond_follow(pond, POND_FOLLOW_LOOK);
    return enter(pond);
}

/* Behind a write, outside of the section. 1: make it again, in another file. 0: *result is the answer. */
static inline int pond_follow_refused(struct millpond *pond, int *result) {
    if (POND_LIKELY(*result != MILLPOND_ERR_REPLACED)) return 0;
    int again = pond_follow(pond, POND_FOLLOW_WRITE);
    if (again < 0) *result = again;
    return again == 1;
}

/* millpond_set_ex in a group that may be a stamp (store.c): MILLPOND_CHANGED when it has been invalidated since. */
int pond_set_in_group(struct millpond *pond, const void *key, size_t key_bytes, const void *value, size_t value_bytes,
                      struct millpond_set *options, uint64_t group);

/* The mapping, for a call that takes long; pond_map_release() when it ends. */
static inline struct pond_map *hold(const struct millpond *pond) {
    struct pond_map *map = enter(pond);
    pond_map_hold(map);
    leave(0);
    return map;
}

#endif
