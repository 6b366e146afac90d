/* SPDX-License-Identifier: MIT */
#ifndef POND_WRITE_H
#define POND_WRITE_H

/* Writing: everything that changes one key, under the mutex of its shard. Results as of the public functions. */

#include "millpond.h"
#include "read.h"

int pond_write_set(struct pond_map *map, uint32_t timeout_ms, const struct pond_key *key, const void *value, size_t value_bytes,
                   struct millpond_set *options);
int pond_write_delete(struct pond_map *map, uint32_t timeout_ms, const struct pond_key *key);
int pond_write_touch(struct pond_map *map, uint32_t timeout_ms, const struct pond_key *key, uint64_t ttl_ms);
int pond_write_incr(struct pond_map *map, uint32_t timeout_ms, const struct pond_key *key, int64_t delta,
                    const struct millpond_incr *create, int64_t *value);
int pond_write_clear(struct pond_map *map, uint32_t timeout_ms);

#endif
