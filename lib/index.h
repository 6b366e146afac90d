/* SPDX-License-Identifier: MIT */
#ifndef POND_INDEX_H
#define POND_INDEX_H

/* The hash table: which entry a key has. Everything here but pond_place_of is for the holder of the shard's mutex; readers: read.c. */

#include "atomic.h"
#include "hash.h"
#include "shard.h"

#if defined __SSE2__ && !defined MILLPOND_TSAN
#include <emmintrin.h>
#endif

/* Where a key may be: in its home bucket, or in its other one. */
struct pond_place {
    uint32_t home, other, tag;
};

/* The other bucket is an involution: other(other(b)) = b for a given tag, so that an entry can be moved without looking at its key. */
static inline uint32_t pond_other_bucket(const struct pond_geometry *g, uint32_t bucket, uint32_t tag) {
    uint32_t centre = pond_reduce(tag * UINT32_C(0x9E3779B1), g->bucket_count);
    return centre >= bucket ? centre - bucket : centre + (g->bucket_count - bucket);
}

static inline struct pond_place pond_place_of(const struct pond_geometry *g, uint64_t hash) {
    struct pond_place p;
    p.home = pond_reduce((uint32_t)hash, g->bucket_count);
    p.tag = (uint32_t)(hash >> 25) & (uint32_t)POND_TAG_MASK;
    p.other = pond_other_bucket(g, p.home, p.tag);
    return p;
}

/* A bit for each slot whose upper half is `upper`. A hint that is taken without order: readers load a slot that it names again, and
 * their load fence before the versions are compared covers the slots that it does not name. */
#if defined __SSE2__ && !defined MILLPOND_TSAN
static inline unsigned pond_candidates(const struct pond_bucket *bucket, uint32_t upper) {
    const __m128i *lines = (const __m128i *)(const void *)bucket;
    const __m128i want = _mm_set1_epi32((int)upper);
    __m128 a = _mm_castsi128_ps(_mm_load_si128(lines)), b = _mm_castsi128_ps(_mm_load_si128(lines + 1));
    __m128 c = _mm_castsi128_ps(_mm_load_si128(lines + 2)), d = _mm_castsi128_ps(_mm_load_si128(lines + 3));
    __m128i low = _mm_cmpeq_epi32(_mm_castps_si128(_mm_shuffle_ps(a, b, 0xdd)), want);
    __m128i high = _mm_cmpeq_epi32(_mm_castps_si128(_mm_shuffle_ps(c, d, 0xdd)), want);
    unsigned mask = (unsigned)_mm_movemask_epi8(_mm_packs_epi16(_mm_packs_epi32(low, high), _mm_setzero_si128()));
    return mask & ((1u << POND_BUCKET_SLOTS) - 1); /* the eighth word holds version, hits and spill */
}
#else
static inline unsigned pond_candidates(const struct pond_bucket *bucket, uint32_t upper) {
    unsigned mask = 0;
    for (unsigned i = 0; i < POND_BUCKET_SLOTS; i++) mask |= (unsigned)((uint32_t)(pond_load_64(&bucket->slot[i]) >> 32) == upper) << i;
    return mask;
}
#endif

/* A slot, and the word in it. */
struct pond_spot {
    uint32_t bucket, slot;
    uint64_t word;
};

/* The slots that may be a key's: in its home, and where that has a spill in its other bucket. */
struct pond_cursor {
    unsigned home, other; /* bits of slots that are left */
};
static inline struct pond_cursor pond_index_cursor(const struct pond_ref *ref, const struct pond_place *place) {
    const struct pond_bucket *home = &ref->buckets[place->home];
    struct pond_cursor c = {pond_candidates(home, place->tag), 0};
    if (pond_load_16(&home->spill) && place->other != place->home)
        c.other = pond_candidates(&ref->buckets[place->other], place->tag | (uint32_t)(POND_SLOT_AWAY >> 32));
    return c;
}
/* The next of them that points into a segment. 1, or 0 when there is none left. */
static inline int pond_index_next(const struct pond_ref *ref, const struct pond_place *place, struct pond_cursor *cursor,
                                  struct pond_spot *spot) {
    while (cursor->home | cursor->other) {
        unsigned *left = POND_LIKELY(cursor->home) ? &cursor->home : &cursor->other;
        spot->bucket = left == &cursor->home ? place->home : place->other;
        spot->slot = (uint32_t)__builtin_ctz(*left);
        *left &= *left - 1;
        spot->word = pond_load_64(&ref->buckets[spot->bucket].slot[spot->slot]);
        if (pond_where_valid(ref->g, pond_slot_where(spot->word))) return 1;
    }
    return 0;
}

/* The slot that points to `where`, if any does, for a key with this place. */
int pond_index_find_where(const struct pond_ref *ref, const struct pond_place *place, uint32_t where, struct pond_spot *spot);

/* Finds an empty slot for a new key, moving one entry to its other bucket if that makes room. 1, or 0 when there is none. */
int pond_index_room(const struct pond_ref *ref, const struct pond_place *place, struct pond_spot *spot);

/* Puts an entry into an empty slot; replaces the entry of a slot; empties a slot. Each is seen by readers as one change; `bytes` is what it
 * adds to the sum of keys and values, and may be negative as a difference modulo 2^64. */
void pond_index_insert(const struct pond_ref *ref, const struct pond_place *place, const struct pond_spot *spot, uint32_t where,
                       uint64_t bytes);
void pond_index_swing(const struct pond_ref *ref, const struct pond_spot *spot, uint32_t where, uint64_t bytes);
void pond_index_remove(const struct pond_ref *ref, const struct pond_spot *spot, uint64_t bytes);

/* Announces that a counter's number is about to be changed in place, and that it was. */
void pond_index_counter_begin(const struct pond_ref *ref, uint32_t where);
void pond_index_counter_end(const struct pond_ref *ref);

/* Empties every bucket; until pond_index_clear_end() a death leaves it to be done again. */
void pond_index_clear(const struct pond_ref *ref);
void pond_index_clear_end(const struct pond_ref *ref);

/* Finishes or takes back what a dead holder of the mutex had begun. May be interrupted by death at any point and repeated. Tells what is
 * left for the caller: to clear again (pond_index_clear), or to give the counter at *counter a new sequence number
 * (pond_index_counter_end). */
enum pond_index_unfinished { POND_UNFINISHED_NOTHING, POND_UNFINISHED_CLEAR, POND_UNFINISHED_COUNTER };
enum pond_index_unfinished pond_index_recover(const struct pond_ref *ref, uint32_t *counter);

/* How often a slot was read lately, 0 to 3: a hint that readers raise. */
static inline unsigned pond_hits_of(const struct pond_bucket *bucket, unsigned slot) {
    return (unsigned)pond_load_16(&bucket->hits) >> (2 * slot) & 3u;
}
static inline void pond_hits_set(struct pond_bucket *bucket, unsigned slot, unsigned hits) {
    unsigned all = pond_load_16(&bucket->hits);
    unsigned fresh = (all & ~(3u << (2 * slot))) | hits << (2 * slot);
    if (fresh != all) pond_store_16(&bucket->hits, (uint16_t)fresh);
}

#endif
