/* SPDX-License-Identifier: MIT */
#ifndef POND_SNAPSHOT_H
#define POND_SNAPSHOT_H

#include "mapping.h"

/* As millpond_snapshot. */
int pond_snapshot(struct pond_map *map, uint32_t timeout_ms, struct millpond_mget *items, size_t item_count);

#endif
