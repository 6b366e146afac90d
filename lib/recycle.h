/* SPDX-License-Identifier: MIT */
#ifndef POND_RECYCLE_H
#define POND_RECYCLE_H

/* Making room: the walk of the segment that leaves, in instalments. For the holder of the shard's mutex. */

#include "entry.h"
#include "index.h"
#include "segment.h"

/* Nothing is being recycled, and there is no need to. */
static inline int pond_recycle_idle(const struct pond_ref *ref) {
    const struct pond_shard *shard = ref->shard;
    return POND_LIKELY(shard->free_count >= ref->g->reserve && shard->walk.victim == 0 && shard->items < ref->g->items_high) != 0;
}

/* One instalment, for a write of `units`: examines a bounded number of entries if free segments run low. 1 when it did: what the caller has
 * found in the index may be gone. */
int pond_recycle_step(const struct pond_ref *ref, uint64_t units);

/* Frees at least one segment now, dropping what lives if need be. Returns 0 when that cannot be (everything is pinned). */
int pond_recycle_force(const struct pond_ref *ref);

/* Makes a slot for a new key where the index is full though the memory is not: of the entries in its two buckets the one leaves that is
 * read least, the oldest of them; those that were passed over have their counters lowered, as in a queue. */
void pond_recycle_slot(const struct pond_ref *ref, const struct pond_place *place, struct pond_spot *spot);

/* An entry that no slot names any more: it, and the chunks of a root, become holes. */
void pond_recycle_retire(const struct pond_ref *ref, uint32_t where);

/* Takes an entry out of index and memory. */
void pond_recycle_remove(const struct pond_ref *ref, const struct pond_spot *spot);

/* Writes an entry anew somewhere in `queue`, with another expiry word if `expiry` is not 0, and swings its slot to it; version, value
 * and chunks stay. Returns the new place, or 0 when there was no room (nothing changed). The old bytes are the caller's to retire (but
 * not its chunks). */
uint32_t pond_recycle_relocate(const struct pond_ref *ref, const struct pond_spot *spot, uint32_t queue, uint64_t expiry, uint64_t now_ms);

/* Makes a hole of one entry, leaving the chunks that it may name. */
void pond_recycle_retire_one(const struct pond_ref *ref, uint32_t where);

/* What an entry counts for in `bytes`: key and value, of a chunked value all of it. */
uint64_t pond_recycle_weight(const unsigned char *at, const struct pond_decoded *d);

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
