/* SPDX-License-Identifier: MIT */
#ifndef POND_VIEW_H
#define POND_VIEW_H

#include "read.h"

/* As millpond_view and millpond_view_release. */
int pond_view_take(struct pond_map *map, uint32_t timeout_ms, const struct pond_key *key, struct millpond_view *view);
void pond_view_release(struct millpond_view *view);

#endif
