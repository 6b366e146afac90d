/* SPDX-License-Identifier: MIT */
#ifndef POND_RESIZE_H
#define POND_RESIZE_H

/* Another file, of another size, in the place of one that is in use. */

#include "mapping.h"

/* Makes it; when it returns MILLPOND_OK the path leads there, and `map` is replaced (layout.h). `flags`: of the handle. Results as of
 * millpond_resize; MILLPOND_ERR_REPLACED: somebody else was faster. */
int pond_resize(struct pond_map *map, const char *path, uint64_t size_bytes, uint32_t flags, uint32_t timeout_ms,
                const struct pond_map_hooks *hooks, char *errmsg);

/* Finishes what a dead resizer of this file had begun, if it had; waits for a living one. MILLPOND_OK; ERR_SYSTEM when the file cannot be
 * renamed; or the errors of entering. */
int pond_resize_finish(struct pond_map *map, const char *path, uint32_t timeout_ms);

/* The name of the new file until it has its own, from malloc. */
char *pond_resize_name(const char *path, uint64_t successor);

#endif
