/* SPDX-License-Identifier: MIT */
#ifndef POND_ROOT_H
#define POND_ROOT_H

/* Values in chunks: what their root says, and whether a chunk is theirs. */

#include "entry.h"
#include "segment.h"

/* Reads the list of a root: how many chunks it can have, and where the i-th is. */
static inline uint32_t pond_root_count(const unsigned char *at, const struct pond_decoded *d) {
    uint32_t count, room = (d->value_bytes - (uint32_t)offsetof(struct pond_root, chunk)) / 4;
    pond_copy_out(&count, at + d->value_off + offsetof(struct pond_root, chunk_count), sizeof count);
    return count < room ? count : room;
}
static inline uint32_t pond_root_chunk(const unsigned char *at, const struct pond_decoded *d, uint32_t i) {
    uint32_t where;
    pond_copy_out(&where, at + d->value_off + offsetof(struct pond_root, chunk) + (size_t)i * 4, sizeof where);
    return where;
}
static inline uint64_t pond_root_bytes(const unsigned char *at, const struct pond_decoded *d) {
    uint64_t bytes;
    pond_copy_out(&bytes, at + d->value_off, sizeof bytes);
    return bytes;
}

/* What an entry counts for in `bytes`: key and value, of a chunked value all of it. */
static inline uint64_t pond_root_weight(const unsigned char *at, const struct pond_decoded *d) {
    return d->key_bytes + (d->flags & POND_ENTRY_ROOT ? pond_root_bytes(at, d) : d->value_bytes);
}

/* Is there a chunk with this key at `where`? */
static inline int pond_chunk_at(const struct pond_ref *ref, uint32_t where, uint64_t hash, uint32_t number, struct pond_decoded *d) {
    struct pond_chunk_key key;
    if (!pond_where_valid(ref->g, where)) return 0;
    const unsigned char *at = pond_ref_at(ref, where);
    if (!pond_entry_decode(at, pond_units_left(ref->g, where), d) || !(d->flags & POND_ENTRY_CHUNK)) return 0;
    pond_copy_out(&key, at + d->key_off, sizeof key);
    return key.hash == hash && key.number == number;
}

#endif
