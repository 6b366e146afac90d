/* SPDX-License-Identifier: MIT */
#ifndef POND_ENTER_H
#define POND_ENTER_H

/* The mutexes of shards, for everything that writes. */

#include "shard.h"

/* Takes the mutex of a shard for writing, repairing what a dead holder left; and gives it back. MILLPOND_OK, or ERR_READ_ONLY, ERR_BUSY,
 * ERR_REENTERED, ERR_CORRUPT. A thread is inside one at a time, but pond_write_enter_all(). */
int pond_write_enter(struct pond_map *map, uint32_t shard, uint32_t timeout_ms, struct pond_ref *ref);
void pond_write_leave(const struct pond_ref *ref);
/* All shards, in order; all or none. */
int pond_write_enter_all(struct pond_map *map, uint32_t timeout_ms);
void pond_write_leave_all(struct pond_map *map);

/* Takes the clean mark away, in memory and on disk, before the first write after a sync; pond_write_enter() does it by itself. */
void pond_write_spoil_now(struct pond_map *map);

#endif
