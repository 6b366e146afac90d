/* SPDX-License-Identifier: MIT */
#ifndef POND_READER_H
#define POND_READER_H

/* Reader slots: a line of statistics, and room for pins, for each thread that uses a file. */

#include "atomic.h"
#include "mapping.h"

/* The mapping and slot of the thread's last call: the fast way. */
struct pond_reader_last {
    struct pond_map *map;
    struct pond_reader *slot;
};
extern __thread struct pond_reader_last pond_reader_last __attribute__((tls_model("initial-exec"), visibility("hidden")));

/* The calling thread's slot of this mapping, or NULL: the mapping is read-only, or all slots are taken (tried again now and then). */
struct pond_reader *pond_reader_find(struct pond_map *map);
static inline struct pond_reader *pond_reader_mine(struct pond_map *map) {
    return POND_LIKELY(pond_reader_last.map == map) ? pond_reader_last.slot : pond_reader_find(map);
}

/* Which life of the process this is: another number in a child of fork. */
uint64_t pond_reader_fork(void);

/* Takes the pins of a slot away if its owner is dead. 1 if so, 0 when the owner lives. */
int pond_reader_bury(struct pond_map *map, uint32_t number);

/* Counts a get: in the thread's own slot, or where that has none or the get took several turns. */
void pond_reader_count_rare(struct pond_map *map, int hit, unsigned retries, int gave_up);
static inline void pond_reader_count(struct pond_map *map, int hit, unsigned retries, int gave_up) {
    struct pond_reader *slot = pond_reader_last.slot;
    if (POND_LIKELY(pond_reader_last.map == map && retries == 0))
        pond_bump_64(hit ? &slot->hits : &slot->misses, 1);
    else
        pond_reader_count_rare(map, hit, retries, gave_up);
}

/* Lets go of what the calling thread owns of a mapping (its handle is being closed). */
void pond_reader_leave(struct pond_map *map);

/* Gives back what the calling thread owns of files that its process has gone on from, where no view needs it any more. */
void pond_reader_leave_left(void);

/* Sums over all slots, and how many are in use. */
void pond_reader_sum(struct pond_map *map, uint64_t *hits, uint64_t *misses, uint64_t *retries, uint64_t *gave_up, uint64_t *used);

#endif
