/* SPDX-License-Identifier: MIT */
#ifndef POND_GROUP_H
#define POND_GROUP_H

/* Groups of entries that are invalidated together, and the one answer to whether an entry lives. The protocol stands at the top of
 * group.c. */

#include "atomic.h"
#include "entry.h"
#include "mapping.h"

/* A group, as it is handed down: a number, which means its generation of now, or a stamp, a ticket that was taken earlier. 0: none. */

/* The number of a name, or 0 for a name that is none (empty, or longer than MILLPOND_GROUP_BYTES_MAX). */
uint32_t pond_group_number(const void *name, size_t name_bytes);

/* What an application says: a name, or no name and a number (0 for neither, which is `usual`). 0: it makes no sense. */
static inline int pond_group_of(const void *name, size_t name_bytes, uint32_t number, uint64_t usual, uint64_t *group) {
    *group = usual;
    if (POND_LIKELY(((uintptr_t)name | name_bytes | number) == 0)) return 1;
    *group = number;
    if (name || name_bytes) *group = number || !name ? 0 : pond_group_number(name, name_bytes);
    return *group != 0 && *group < POND_GROUPS_MAX;
}

static inline uint64_t *pond_group_word(const struct pond_map *map, uint32_t number) {
    return (uint64_t *)(void *)(map->base + map->geometry.groups_off) + (number & map->geometry.group_mask);
}

/* Has the group not been invalidated since the stamp was made? */
static inline int pond_group_valid(const struct pond_map *map, uint64_t stamp) {
    uint64_t generation = pond_stamp_generation(stamp);
    return ((pond_load_64(pond_group_word(map, pond_stamp_number(stamp))) ^ generation) & POND_GENERATION_MASK) == 0 && generation != 0;
}

/* The stamp for what is loaded for a group from now on (L1), or, under the shard's mutex, stored in it (A1); for a ticket itself, or 0 when
 * it is out of date (L3). */
uint64_t pond_group_stamp(struct pond_map *map, uint64_t group);

/* I2, for the holder of the mutex of a shard, whichever: nothing that was stored in it lives any more. */
void pond_group_invalidate(struct pond_map *map, uint32_t number);

/* The generations of one file for another one, for the holder of all mutexes of the first. */
void pond_group_copy(struct pond_map *from, struct pond_map *to);

/* No generations: nothing lives in the file. */
void pond_group_format(struct pond_map *map);

/* ---- does an entry live? ---- */

enum pond_life {
    POND_LIVES = 0,
    POND_EXPIRED = 1, /* past its time to live, within its grace */
    POND_OVER = 2,    /* past both: absent, and may be removed */
    POND_INVALID = 3  /* its group was invalidated: likewise */
};

/* now_ms is looked at with POND_ENTRY_TTL. */
static inline enum pond_life pond_life(const struct pond_map *map, const unsigned char *at, const struct pond_decoded *d, uint64_t now_ms) {
    if (d->flags & POND_ENTRY_GROUP && !pond_group_valid(map, pond_entry_stamp(at, d))) return POND_INVALID;
    if (!pond_entry_expired(d, now_ms)) return POND_LIVES;
    return pond_entry_over(d, now_ms) ? POND_OVER : POND_EXPIRED;
}

/* Those that always live need not be asked about, nor need the clock. */
static inline int pond_life_mortal(const struct pond_decoded *d) { return (d->flags & (POND_ENTRY_TTL | POND_ENTRY_GROUP)) != 0; }

/* Counts an entry that was removed because it did not live. */
static inline void pond_life_count(struct pond_shard_counters *counters, enum pond_life life) {
    pond_bump_64(life == POND_INVALID ? &counters->invalidated : &counters->expirations, 1);
}

#endif
