/* SPDX-License-Identifier: MIT */
#ifndef POND_EXPIRE_H
#define POND_EXPIRE_H

/* The file's clock, and the classes of times to live. */

#include "atomic.h"
#include "mapping.h"

/* The time of the file in milliseconds, for deciding whether something has expired. Never goes backwards but by what the processes have not
 * told each other (milliseconds). No system call. */
uint64_t pond_clock_read(struct pond_map *map);

/* The same, for a writer: tells the others, and mends the clock when the system's was set back. */
uint64_t pond_clock_write(struct pond_map *map);

/* The TTL class of an entry that has ttl_ms to live, 0 for ever. */
uint32_t pond_ttl_class_of(const struct pond_geometry *g, uint64_t ttl_ms);
static inline uint32_t pond_ttl_class(const struct pond_geometry *g, uint64_t ttl_ms) { return ttl_ms ? pond_ttl_class_of(g, ttl_ms) : 0; }

#endif
