/* SPDX-License-Identifier: MIT */
#ifndef POND_SYNC_H
#define POND_SYNC_H

#include "atomic.h"
#include "mapping.h"

/* As millpond_sync. */
int pond_sync(struct pond_map *map, uint32_t timeout_ms);

/* Takes the clean mark away, in memory and on disk, before the first write after a sync. */
void pond_sync_spoil_now(struct pond_map *map);
static inline void pond_sync_spoil(struct pond_map *map) {
    if (POND_UNLIKELY(pond_load_32(&map->living->clean) != 0)) pond_sync_spoil_now(map);
}

/* Hook of pond_map_open(): a file of another boot is proved whole and kept, or emptied; one of a dead namespace gets new locks. */
int pond_sync_attach(struct pond_map *map, enum pond_attach why, char *errmsg, const char *path);

#endif
