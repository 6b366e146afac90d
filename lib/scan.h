/* SPDX-License-Identifier: MIT */
#ifndef POND_SCAN_H
#define POND_SCAN_H

#include "mapping.h"

/* As millpond_scan; timeout_ms: for the mutex of a shard whose entries move faster than they can be followed. */
int pond_scan(struct pond_map *map, uint32_t timeout_ms, const void *prefix, size_t prefix_bytes, unsigned flags,
              int (*visit)(void *arg, const struct millpond_entry *entry), void *arg);

#endif
