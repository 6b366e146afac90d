/* SPDX-License-Identifier: MIT */
#ifndef POND_LOOKUP_H
#define POND_LOOKUP_H

/* Finding an entry without a lock: R1 to R8 of the protocol at the top of read.c, but the copy. For gets (read.c) and views (view.c). */

#include "entry.h"
#include "index.h"
#include "read.h"

#define POND_READ_TURNS 1000u
#define POND_HITS_MAX   3u

/* An entry that a turn found, and what must not have changed when it has been copied. */
struct pond_found {
    const unsigned char *at;
    struct pond_decoded d;
    struct pond_bucket *bucket;
    uint32_t version, slot;
};

enum pond_turn { POND_FOUND, POND_ABSENT, POND_AGAIN };

/* ORDER version-raise (reader), byte-reuse (reader), hole-link (reader): what was copied is older than this load of the version. Pairs with
 * (writer) in raise_version(), pond_entry_write() and pond_hole_push(). */
static inline int pond_read_valid(const struct pond_bucket *bucket, uint32_t version) {
    pond_fence_load();
    return pond_load_32(&bucket->version) == version;
}

/* ORDER slot-publish (reader): the entry's bytes are loaded after the slot that names them. Pairs with (writer) in change(). */
static inline uint64_t pond_read_slot(const struct pond_bucket *bucket, uint32_t slot) { return pond_load_acquire_64(&bucket->slot[slot]); }

/* R2 to R4, without the copy: the entry with this key in one bucket. `upper` is what the slot's upper half must be. */
static inline __attribute__((always_inline)) int pond_search(const struct pond_ref *ref, struct pond_bucket *bucket, uint32_t upper,
                                                             const struct pond_key *key, struct pond_found *f) {
    for (unsigned mask = pond_candidates(bucket, upper); mask; mask &= mask - 1) {
        unsigned i = (unsigned)__builtin_ctz(mask);
        uint64_t word = pond_read_slot(bucket, i);
        uint32_t where = pond_slot_where(word);
        if (POND_UNLIKELY((uint32_t)(word >> 32) != upper || !pond_where_valid(ref->g, where))) continue;
        f->at = pond_ref_at(ref, where);
        /* Where the value begins and ends stands in the first line: without these its other lines were asked for when that has come. */
        __builtin_prefetch(f->at + 64);
        __builtin_prefetch(f->at + 128);
        if (POND_UNLIKELY(!pond_entry_decode(f->at, ref->g->end_unit - where, &f->d))) continue;
        if (POND_UNLIKELY(f->d.key_bytes != key->count || f->d.flags & (POND_ENTRY_DEAD | POND_ENTRY_CHUNK))) continue;
        if (POND_UNLIKELY(!pond_same_bytes(f->at + f->d.key_off, key->bytes, key->count))) continue;
        f->bucket = bucket;
        f->slot = i;
        return 1;
    }
    return 0;
}

/* R1 to R6: the home bucket alone. POND_AGAIN: a writer was there, or the key may be in its other bucket. */
static inline __attribute__((always_inline)) enum pond_turn pond_look_home(const struct pond_ref *ref, const struct pond_place *place,
                                                                           const struct pond_key *key, struct pond_found *f) {
    struct pond_bucket *home = &ref->buckets[place->home];
    f->version = pond_load_acquire_32(&home->version);
    if (POND_LIKELY(pond_search(ref, home, place->tag, key, f))) return POND_FOUND;
    pond_fence_load(); /* the slots before the spill count that was raised before one of them was cleared */
    return pond_load_acquire_16(&home->spill) == 0 && pond_read_valid(home, f->version) ? POND_ABSENT : POND_AGAIN;
}

/* One turn: R1 to R8. */
static inline enum pond_turn pond_look(const struct pond_ref *ref, const struct pond_place *place, const struct pond_key *key,
                                       struct pond_found *f) {
    struct pond_bucket *home = &ref->buckets[place->home];
    uint32_t version = pond_load_acquire_32(&home->version);
    f->version = version;
    if (POND_LIKELY(pond_search(ref, home, place->tag, key, f))) return POND_FOUND;
    pond_fence_load(); /* the slots before the spill count that was raised before one of them was cleared */
    if (pond_load_acquire_16(&home->spill) == 0) return pond_read_valid(home, version) ? POND_ABSENT : POND_AGAIN;
    struct pond_bucket *other = &ref->buckets[place->other];
    f->version = pond_load_acquire_32(&other->version);
    if (pond_search(ref, other, place->tag | (uint32_t)(POND_SLOT_AWAY >> 32), key, f)) return POND_FOUND;
    return pond_read_valid(other, f->version) && pond_read_valid(home, version) ? POND_ABSENT : POND_AGAIN;
}

static inline void pond_raise_hits(const struct pond_map *map, const struct pond_found *f) {
    if (map->readonly) return;
    unsigned hits = pond_load_16(&f->bucket->hits);
    if ((hits >> (2 * f->slot) & 3u) < POND_HITS_MAX) pond_store_16(&f->bucket->hits, (uint16_t)(hits + (1u << (2 * f->slot))));
}

static inline uint64_t pond_version_of(const struct pond_decoded *d) { return (uint64_t)d->sequence + 1; }

/* What one turn's find is worth: R4 and R5 of any entry. POND_AGAIN: nothing, look again; ABSENT: its time is over, or it is damaged.
 * Results as of pond_read_get. */
enum pond_turn pond_read_take(const struct pond_ref *ref, const struct pond_found *f, const struct pond_key *key, void *buf,
                              size_t buf_bytes, size_t *value_bytes, uint64_t *version, int *result);

/* The text of a counter. */
size_t pond_counter_text(const struct pond_found *f, char text[24]);

#endif
