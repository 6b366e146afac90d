/* SPDX-License-Identifier: MIT */
#ifndef POND_WRITE_H
#define POND_WRITE_H

/* Writing: everything that changes one key, under the mutex of its shard. Results as of the public functions. */

#include "millpond.h"
#include "read.h"

/* Takes the mutex of a shard for writing, repairing what a dead holder left; and gives it back. MILLPOND_OK, or ERR_READ_ONLY, ERR_BUSY,
 * ERR_REENTERED, ERR_CORRUPT. A thread is inside one at a time, but pond_write_enter_all(). */
int pond_write_enter(struct pond_map *map, uint32_t shard, uint32_t timeout_ms, struct pond_ref *ref);
void pond_write_leave(const struct pond_ref *ref);
/* All shards, in order; all or none. */
int pond_write_enter_all(struct pond_map *map, uint32_t timeout_ms);
void pond_write_leave_all(struct pond_map *map);

int pond_write_set(struct pond_map *map, uint32_t timeout_ms, const struct pond_key *key, const void *value, size_t value_bytes,
                   struct millpond_set *options);
int pond_write_delete(struct pond_map *map, uint32_t timeout_ms, const struct pond_key *key);
int pond_write_touch(struct pond_map *map, uint32_t timeout_ms, const struct pond_key *key, uint64_t ttl_ms);
int pond_write_incr(struct pond_map *map, uint32_t timeout_ms, const struct pond_key *key, int64_t delta,
                    const struct millpond_incr *create, int64_t *value);
int pond_write_clear(struct pond_map *map, uint32_t timeout_ms);

#endif
