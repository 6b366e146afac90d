/* SPDX-License-Identifier: MIT */
#ifndef POND_READER_H
#define POND_READER_H

/* Reader slots: a line of statistics, and room for pins, for each thread that uses a file. */

#include "mapping.h"

/* The calling thread's slot of this mapping, or NULL: the mapping is read-only, or all slots are taken (tried again now and then). */
struct pond_reader *pond_reader_mine(struct pond_map *map);

/* Which life of the process this is: another number in a child of fork. */
uint64_t pond_reader_fork(void);

/* Takes the pins of a slot away if its owner is dead. 1 if so, 0 when the owner lives. */
int pond_reader_bury(struct pond_map *map, uint32_t number);

/* Counts a get. */
void pond_reader_count(struct pond_map *map, int hit, unsigned retries, int gave_up);

/* Lets go of what the calling thread owns of a mapping (its handle is being closed). */
void pond_reader_leave(struct pond_map *map);

/* Sums over all slots, and how many are in use. */
void pond_reader_sum(struct pond_map *map, uint64_t *hits, uint64_t *misses, uint64_t *retries, uint64_t *gave_up, uint64_t *used);

#endif
