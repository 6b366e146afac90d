/* SPDX-License-Identifier: MIT */
#ifndef POND_ENTER_H
#define POND_ENTER_H

/* The mutexes of shards, for everything that writes. */

#include "atomic.h"
#include "shard.h"

/* Has this file, as far as its mark says, neither been replaced nor yet to come? A mark that is none, damage, says nothing. */
static inline int pond_in_place(const struct pond_map *map) {
    uint32_t mark = pond_load_32(&map->living->replaced);
    return mark != POND_REPLACED && mark != POND_COMING;
}

/* Takes the mutex of a shard for writing, repairing what a dead holder left; and gives it back. MILLPOND_OK, or ERR_READ_ONLY, ERR_BUSY,
 * ERR_REENTERED, ERR_CORRUPT, ERR_REPLACED. A thread is inside one at a time, but for those that take several. */
int pond_write_enter(struct pond_map *map, uint32_t shard, uint32_t timeout_ms, struct pond_ref *ref);
/* The same for a shard that the caller has looked at already. */
int pond_write_enter_at(const struct pond_ref *ref, uint32_t timeout_ms);
void pond_write_leave(const struct pond_ref *ref);
/* All shards, in order; all or none. */
int pond_write_enter_all(struct pond_map *map, uint32_t timeout_ms);
void pond_write_leave_all(struct pond_map *map);
/* The same where the file has been replaced: for those who do it. */
int pond_write_enter_replaced(struct pond_map *map, uint32_t timeout_ms);

/* Some shards, by ascending numbers; all or none, within the time given for them together. A transaction that was left unfinished in one of
 * them is finished. */
int pond_write_enter_some(struct pond_map *map, const uint32_t *shards, uint32_t count, uint32_t timeout_ms);
void pond_write_leave_some(struct pond_map *map, const uint32_t *shards, uint32_t count);

/* Is the calling thread inside a writing call? Then this is a signal handler. */
int pond_write_inside(void);

/* Takes the clean mark away, in memory and on disk, before the first write after a sync; pond_write_enter() does it by itself. */
void pond_write_spoil_now(struct pond_map *map);

#endif
