/* SPDX-License-Identifier: MIT */
#ifndef POND_STATS_H
#define POND_STATS_H

#include "mapping.h"

/* As millpond_stats; shard -1 for all. */
void pond_stats(struct pond_map *map, int shard, struct millpond_stats *stats);

#endif
