/* SPDX-License-Identifier: MIT */
#ifndef POND_SCAN_H
#define POND_SCAN_H

#include "mapping.h"

/* As millpond_scan. */
int pond_scan(struct pond_map *map, const void *prefix, size_t prefix_bytes, unsigned flags,
              int (*visit)(void *arg, const struct millpond_entry *entry), void *arg);

#endif
