/* SPDX-License-Identifier: MIT */
#ifndef POND_LARGE_H
#define POND_LARGE_H

/* Values in chunks: writing them. What a root says: root.h. Reading: read.c, view.c. For the holder of the shard's mutex. */

#include "room.h"

/* Does a value go into chunks? One with a long key and a short value does not: chunks would not help. `units`: as one entry. */
int pond_large_is_any(const struct pond_geometry *g, uint32_t units, size_t value_bytes);
static inline int pond_large_is(const struct pond_geometry *g, uint32_t units, size_t value_bytes) {
    return POND_UNLIKELY(units > g->piece_units_max - POND_CHUNK_HEAD_BYTES / POND_UNIT_BYTES) && pond_large_is_any(g, units, value_bytes);
}

/* Can the root of such a value be an entry at all? */
int pond_large_fits(const struct pond_geometry *g, size_t key_bytes, size_t value_bytes);

/* Segments that must be free before pond_large_write(), so that its last chunk finds room. */
uint64_t pond_large_segments(const struct pond_geometry *g, size_t key_bytes, uint64_t bytes);

/* The queue of a large value with a new key that is not known from before: small like everybody's, unless it is larger than all of that
 * (a tenth of the segments) and would leave with the next sets. In main, unfiltered, one of them costs what is read for a whole round. */
uint32_t pond_large_queue(const struct pond_geometry *g, uint64_t bytes);

/* The list of a root, from malloc, large enough for a value; or NULL. */
struct pond_root *pond_large_list(const struct pond_geometry *g, uint64_t bytes);

/* Writes all chunks of a value and lists them. `whole`: the content that the value would have as one entry. Returns 0 when there was no
 * room after all: the chunks are holes again. */
int pond_large_write(const struct pond_ref *ref, const struct pond_room *room, const struct pond_content *whole, const void *value,
                     uint64_t bytes, int fresh_key, struct pond_root *list);

/* Makes holes of the chunks again: the root found no room. */
void pond_large_drop(const struct pond_ref *ref, const struct pond_root *list);

/* Bytes of the list as a root's value. */
uint32_t pond_large_list_bytes(const struct pond_root *list);

#endif
