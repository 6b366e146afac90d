/* SPDX-License-Identifier: MIT */
#ifndef POND_SYNC_H
#define POND_SYNC_H

#include "mapping.h"

/* As millpond_sync. */
int pond_sync(struct pond_map *map, uint32_t timeout_ms);

/* Hook of pond_map_open(): a file of another boot is proved whole and kept, or emptied; one of a dead namespace gets new locks. */
int pond_sync_attach(struct pond_map *map, enum pond_attach why, char *errmsg, const char *path);

#endif
