/* SPDX-License-Identifier: MIT */
/* Another entry in the place of the one that a key has, or a slot for a new key: room, bytes where no slot points, then the slot (S4 to S7
 * of write.c). */

#include "publish.h"

#include "crashpoint.h"
#include "evict.h"
#include "expire.h"
#include "flight.h"
#include "group.h"
#include "large.h"
#include "retire.h"
#include "root.h"
#include "segment.h"

/* ---- a full index ---- */

/* How many stores ago an entry was stored, and whether it lives. A slot that names none is the oldest. */
static uint32_t age_of(const struct pond_ref *ref, const struct pond_spot *spot, uint64_t now_ms, enum pond_life *life) {
    uint32_t where = pond_slot_where(spot->word);
    struct pond_decoded d;
    *life = POND_LIVES;
    if (!pond_where_valid(ref->g, where) || !pond_entry_decode(pond_ref_at(ref, where), pond_units_left(ref->g, where), &d))
        return UINT32_MAX;
    *life = pond_life(ref->map, pond_ref_at(ref, where), &d, now_ms);
    return ref->shard->sequence - d.sequence;
}

/* The slots of a key's two buckets. */
static unsigned slots_of(const struct pond_ref *ref, const struct pond_place *place, struct pond_spot spots[2 * POND_BUCKET_SLOTS]) {
    unsigned n = place->other == place->home ? POND_BUCKET_SLOTS : 2 * POND_BUCKET_SLOTS;
    for (unsigned i = 0; i < n; i++) {
        uint32_t bucket = i < POND_BUCKET_SLOTS ? place->home : place->other, slot = i % POND_BUCKET_SLOTS;
        spots[i] = (struct pond_spot){bucket, slot, pond_load_64(&ref->buckets[bucket].slot[slot])};
        if (pond_where_valid(ref->g, pond_slot_where(spots[i].word))) __builtin_prefetch(pond_ref_at(ref, pond_slot_where(spots[i].word)));
    }
    return n;
}

static void empty_slot(const struct pond_ref *ref, const struct pond_spot *from, struct pond_spot *spot) {
    pond_retire_remove(ref, from);
    *spot = (struct pond_spot){from->bucket, from->slot, 0};
}

/* Makes a slot for a new key where the index is full though the memory is not: of the entries in its two buckets one leaves that does not
 * live any more; else the one that is read least, the oldest of them, and those that were passed over have their counters lowered, as in a
 * queue. */
static void make_slot(const struct pond_ref *ref, const struct pond_place *place, struct pond_spot *spot) {
    struct pond_spot spots[2 * POND_BUCKET_SLOTS];
    uint32_t ages[2 * POND_BUCKET_SLOTS];
    unsigned hits[2 * POND_BUCKET_SLOTS], n = slots_of(ref, place, spots), best = 0;
    uint64_t now_ms = pond_clock_read(ref->map);
    for (unsigned i = 0; i < n; i++) {
        enum pond_life life;
        hits[i] = pond_hits_of(&ref->buckets[spots[i].bucket], spots[i].slot);
        ages[i] = age_of(ref, &spots[i], now_ms, &life);
        if (life >= POND_OVER) {
            pond_life_count(&ref->shard->counters, life);
            empty_slot(ref, &spots[i], spot);
            return;
        }
        if (hits[i] < hits[best] || (hits[i] == hits[best] && ages[i] > ages[best])) best = i;
    }
    /* One of those passed over is lowered, as the hand of a clock passes one: all of them each time would forget in a moment who is read.
     */
    unsigned hand = (unsigned)(ref->shard->counters.index_evictions % n);
    if (hits[hand] > hits[best]) pond_hits_set(&ref->buckets[spots[hand].bucket], spots[hand].slot, hits[hand] - 1);
    pond_bump_64(&ref->shard->counters.evictions, 1);
    pond_bump_64(&ref->shard->counters.index_evictions, 1);
    empty_slot(ref, &spots[best], spot);
}

/* ---- what a key has ---- */

int pond_publish_search_other(const struct pond_ref *ref, const struct pond_place *place, const struct pond_key *key,
                              struct pond_old *old) {
    return pond_publish_search(ref, place->other, place->tag | (uint32_t)(POND_SLOT_AWAY >> 32), key, old);
}

enum pond_life pond_publish_life(const struct pond_ref *ref, const unsigned char *at, uint32_t units, uint32_t flags, uint64_t expiry) {
    const struct pond_decoded d = {.units = units, .flags = flags, .expiry = expiry};
    return pond_life(ref->map, at, &d, flags & POND_ENTRY_TTL ? pond_clock_write(ref->map) : 0);
}

/* ---- in the place of another ---- */

/* The hit counter of an overwritten entry goes along; one higher where the new place will be recycled sooner than the old one. */
static inline void carry_hits(const struct pond_ref *ref, const struct pond_spot *spot, uint32_t segment, uint32_t where) {
    const struct pond_segment *before = &ref->table[segment], *after = &ref->table[pond_segment_of(ref->g, where)];
    if (pond_segment_state(after) != POND_SEGMENT_SEALED ||
        (pond_segment_state(before) == POND_SEGMENT_SEALED && after->order >= before->order))
        return;
    struct pond_bucket *bucket = &ref->buckets[spot->bucket];
    unsigned hits = pond_hits_of(bucket, spot->slot);
    if (hits < 3) pond_hits_set(bucket, spot->slot, hits + 1);
}

void pond_publish_remove(const struct pond_ref *ref, const struct pond_old *old) {
    pond_index_remove(ref, &old->spot, 0 - pond_root_weight(old->at, &old->d));
    if (POND_UNLIKELY(old->d.flags & POND_ENTRY_ROOT))
        pond_retire_entry(ref, old->where);
    else
        pond_hole_make(ref, old->where, old->segment, old->d.units); /* what was found is decoded already */
}

void pond_publish_swing(const struct pond_ref *ref, struct pond_spot spot, uint32_t segment, uint32_t units, uint32_t where,
                        uint64_t more) {
    carry_hits(ref, &spot, segment, where);
    pond_index_swing(ref, &spot, where, more);
    POND_CRASHPOINT("set.swung");
    pond_hole_make(ref, pond_slot_where(spot.word), segment, units);
}

void pond_publish_swing_root(const struct pond_ref *ref, const struct pond_old *old, uint32_t where, uint64_t weight) {
    carry_hits(ref, &old->spot, old->segment, where);
    pond_index_swing(ref, &old->spot, where, weight - pond_root_weight(old->at, &old->d));
    POND_CRASHPOINT("set.swung");
    pond_retire_entry(ref, old->where);
}

void pond_publish_insert(const struct pond_ref *ref, const struct pond_place *place, uint32_t where, uint64_t weight) {
    struct pond_spot spot;
    if (!pond_index_room(ref, place, &spot)) make_slot(ref, place, &spot);
    pond_index_insert(ref, place, &spot, where, weight);
    POND_CRASHPOINT("set.inserted");
}

int pond_publish_write_large(const struct pond_ref *ref, const struct pond_old *old, struct pond_room *room, struct pond_content *c,
                             const void *value, size_t bytes, struct pond_root *list) {
    if (!pond_large_write(ref, room, c, value, bytes, !old->found, list)) return 0;
    c->flags |= POND_ENTRY_ROOT;
    c->value = list;
    c->value_bytes = pond_large_list_bytes(list);
    if (!pond_publish_room(ref, room, pond_entry_units(c), !old->found)) {
        pond_large_drop(ref, list);
        return 0;
    }
    pond_room_put(ref, room, c);
    return 1;
}
