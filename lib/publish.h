/* SPDX-License-Identifier: MIT */
#ifndef POND_PUBLISH_H
#define POND_PUBLISH_H

/* The entry that a key has, and another one in its place: S3 to S7 of write.c, for sets and transactions. For the holder of the shard's
 * mutex. */

#include "evict.h"
#include "expire.h"
#include "flight.h"
#include "group.h"
#include "index.h"
#include "large.h"
#include "read.h"
#include "room.h"

struct pond_old {
    int found, alive;    /* found: a slot names it; alive: and it lives */
    enum pond_life life; /* with `found` */
    struct pond_spot spot;
    uint32_t where, segment;
    const unsigned char *at;
    struct pond_decoded d;
};

/* The entry with this key in one bucket. `upper` is what the slot's upper half must be. */
static inline __attribute__((always_inline)) int pond_publish_search(const struct pond_ref *ref, uint32_t bucket, uint32_t upper,
                                                                     const struct pond_key *key, struct pond_old *old) {
    const uint64_t *slot = ref->buckets[bucket].slot;
    for (unsigned mask = pond_candidates(&ref->buckets[bucket], upper); mask; mask &= mask - 1) {
        unsigned i = (unsigned)__builtin_ctz(mask);
        uint64_t word = pond_load_64(&slot[i]);
        uint32_t where = pond_slot_where(word);
        if (POND_UNLIKELY(!pond_where_valid(ref->g, where))) continue;
        const unsigned char *at = pond_ref_at(ref, where);
        uint32_t segment = pond_segment_of(ref->g, where);
        if (POND_UNLIKELY(!pond_entry_decode(at, pond_segment_start(ref->g, segment + 1) - where, &old->d))) continue;
        if (POND_UNLIKELY(old->d.key_bytes != key->count || old->d.flags & (POND_ENTRY_DEAD | POND_ENTRY_CHUNK))) continue;
        if (POND_UNLIKELY(!pond_same_bytes(at + old->d.key_off, key->bytes, key->count))) continue;
        old->spot = (struct pond_spot){bucket, i, word};
        old->where = where;
        old->segment = segment;
        old->at = at;
        return 1;
    }
    return 0;
}

/* The same in the key's other bucket, of which the home knows by its spill. */
int pond_publish_search_other(const struct pond_ref *ref, const struct pond_place *place, const struct pond_key *key, struct pond_old *old);
/* Does what was found live? */
enum pond_life pond_publish_life(const struct pond_ref *ref, const unsigned char *at, uint32_t units, uint32_t flags, uint64_t expiry);

/* S3. */
static inline __attribute__((always_inline)) void pond_publish_find(const struct pond_ref *ref, const struct pond_place *place,
                                                                    const struct pond_key *key, struct pond_old *old) {
    const struct pond_bucket *home = &ref->buckets[place->home];
    old->found = pond_publish_search(ref, place->home, place->tag, key, old);
    if (POND_UNLIKELY(!old->found && pond_load_16(&home->spill) != 0)) {
        struct pond_old other = {.found = 0}; /* so that the usual one need not be in memory */
        other.found = place->other != place->home && pond_publish_search_other(ref, place, key, &other);
        *old = other;
    }
    old->alive = old->found;
    old->life = POND_LIVES;
    if (old->found && POND_UNLIKELY(pond_life_mortal(&old->d))) {
        old->life = pond_publish_life(ref, old->at, old->d.units, old->d.flags, old->d.expiry);
        old->alive = old->life == POND_LIVES;
    }
}

/* The next sequence number, for one store. */
static inline uint32_t pond_publish_sequence(const struct pond_ref *ref) {
    uint32_t sequence = ref->shard->sequence + 1;
    pond_store_32(&ref->shard->sequence, sequence);
    return sequence;
}

/* What will be written, its sequence number missing. `value` need not be set yet when value_bytes is too large for one entry. */
static inline __attribute__((always_inline)) struct pond_content pond_publish_content(const struct pond_key *key, const void *value,
                                                                                      size_t value_bytes, uint64_t ttl_ms,
                                                                                      uint64_t grace_ms, uint64_t now_ms) {
    struct pond_content c = {.key = key->bytes,
                             .value = value_bytes ? value : "",
                             .key_bytes = (uint32_t)key->count,
                             .value_bytes = value_bytes > UINT32_MAX ? UINT32_MAX : (uint32_t)value_bytes,
                             .hash = key->hash};
    if (ttl_ms) {
        c.flags = POND_ENTRY_TTL;
        c.expiry = pond_expiry_pack(now_ms + ttl_ms, pond_grace_of(grace_ms));
    }
    return c;
}

/* May this be stored at all? *units: as one entry; *large: it goes into chunks. */
static inline int pond_publish_fits(const struct pond_geometry *g, const struct pond_content *c, size_t value_bytes, uint32_t *units,
                                    int *large) {
    if (value_bytes > g->max_item_bytes) return 0;
    *units = pond_entry_units(c);
    *large = pond_large_is(g, *units, value_bytes);
    return *large ? pond_large_fits(g, c->key_bytes, value_bytes) : *units <= g->entry_units_max;
}

/* The queue of a key that is stored: where it was; main where it comes back to soon after it left; else that for strangers. The ghost is
 * asked once: *ghost is -1 before. */
static inline uint32_t pond_publish_queue(const struct pond_ref *ref, const struct pond_old *old, uint64_t hash, uint32_t strangers,
                                          int *ghost) {
    if (old->found) return pond_segment_queue(&ref->table[old->segment]);
    if (*ghost < 0) {
        *ghost = pond_ghost_any(ref) && pond_ghost_take(ref, hash);
        if (*ghost) pond_bump_64(&ref->shard->counters.ghost_hits, 1);
    }
    return *ghost ? (uint32_t)POND_MAIN : strangers;
}

/* S4, without recycling. 1, or 0 when there is no room. */
static inline int pond_publish_room(const struct pond_ref *ref, struct pond_room *room, uint32_t units, int fresh_key) {
    if (!pond_room_find(ref, room, units, fresh_key)) return 0;
    if (!room->appended) pond_bump_64(&ref->shard->counters.hole_hits, 1);
    return 1;
}

/* S5 of a value in chunks: all of them, then the root in `c`, at room->where. 0 when there was no room: nothing is left of it. */
int pond_publish_write_large(const struct pond_ref *ref, const struct pond_old *old, struct pond_room *room, struct pond_content *c,
                             const void *value, size_t bytes, struct pond_root *list);

/* S6 and S7 where a slot names another entry of the key, and where none does: see pond_publish_entry(). `segment`, `units`: of the old one,
 * no root. */
void pond_publish_swing(const struct pond_ref *ref, struct pond_spot spot, uint32_t segment, uint32_t units, uint32_t where, uint64_t more);
void pond_publish_swing_root(const struct pond_ref *ref, const struct pond_old *old, uint32_t where, uint64_t weight);
void pond_publish_insert(const struct pond_ref *ref, const struct pond_place *place, uint32_t where, uint64_t weight);

/* S6 and S7: the entry at `where` is the key's from now on. `weight`: bytes of key and value that it counts for. */
static inline void pond_publish_entry(const struct pond_ref *ref, const struct pond_place *place, const struct pond_old *old,
                                      uint32_t where, uint64_t weight) {
    pond_flight_change(ref, place);
    if (!old->found) {
        pond_publish_insert(ref, place, where, weight);
    } else if (POND_LIKELY(!(old->d.flags & POND_ENTRY_ROOT))) {
        pond_publish_swing(ref, old->spot, old->segment, old->d.units, where, weight - old->d.key_bytes - old->d.value_bytes);
    } else {
        const struct pond_old copy = *old; /* so that the usual one need not be in memory */
        pond_publish_swing_root(ref, &copy, where, weight);
    }
}

/* The key, which was found, has no entry any more. */
void pond_publish_remove(const struct pond_ref *ref, const struct pond_old *old);

#endif
