/* SPDX-License-Identifier: MIT */
/* Another entry in the place of the one that a key has: room, bytes where no slot points, then the slot (S4 to S7 of write.c). */

#include "publish.h"

#include "crashpoint.h"
#include "evict.h"
#include "flight.h"
#include "large.h"
#include "recycle.h"
#include "segment.h"

/* The hit counter of an overwritten entry goes along; one higher where the new place will be recycled sooner than the old one. */
static void carry_hits(const struct pond_ref *ref, const struct pond_old *old, uint32_t where) {
    const struct pond_segment *before = &ref->table[pond_segment_of(ref->g, old->where)],
                              *after = &ref->table[pond_segment_of(ref->g, where)];
    if (pond_segment_state(after) != POND_SEGMENT_SEALED ||
        (pond_segment_state(before) == POND_SEGMENT_SEALED && after->order >= before->order))
        return;
    struct pond_bucket *bucket = &ref->buckets[old->spot.bucket];
    unsigned hits = pond_hits_of(bucket, old->spot.slot);
    if (hits < 3) pond_hits_set(bucket, old->spot.slot, hits + 1);
}

void pond_publish_entry(const struct pond_ref *ref, const struct pond_place *place, const struct pond_old *old, uint32_t where,
                        uint64_t weight) {
    pond_flight_change(ref, place);
    if (old->found) {
        carry_hits(ref, old, where);
        pond_index_swing(ref, &old->spot, where, weight - pond_recycle_weight(old->at, &old->d));
        POND_CRASHPOINT("set.swung");
        pond_recycle_retire(ref, old->where);
        return;
    }
    struct pond_spot spot;
    if (!pond_index_room(ref, place, &spot)) pond_recycle_slot(ref, place, &spot);
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
