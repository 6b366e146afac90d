/* SPDX-License-Identifier: MIT */
/* After a death.
 *
 * The holder of a shard's mutex may have died between any two instructions. What it may have left, and what is done:
 *   E1  an intent record: a slot being changed, an entry being moved, a counter, a clear
 *       finished or taken back (index.c); a clear is done again
 *   E2  bytes behind a segment's tail, or in a hole that still says dead
 *       nothing: no slot points there, no walk goes there
 *   E3  an entry that was written and committed but not yet named by a slot, or not any more
 *       nothing: it is dead, a walk finds that out
 *   E4  queues, free list, open segments in the middle of a change
 *       made again from the segments' states
 *   E5  a half recycled segment
 *       in its queue again; its walk starts anew
 *   E6  lists of holes in the middle of a change
 *       forgotten, by a new generation
 *   E7  its part of a transaction
 *       done or abandoned (redo.c)
 *   E8  a flight in the middle of a change, or one that the dead writer would have revoked
 *       counted anew, and all revoked: what is being loaded is not stored
 * E1 comes first: it raises the versions of the buckets in flight before any byte may be reused. E7 comes last: it changes the index by way
 * of what the others have made whole. All of it is a function of what stands
 * in the file, writes absolute values and can be killed and repeated; the mutex is marked consistent only behind it. Its cost is that of
 * looking at a few hundred segment descriptors. */

#include "recover.h"

#include "crashpoint.h"
#include "entry.h"
#include "flight.h"
#include "group.h"
#include "index.h"
#include "lock.h"
#include "redo.h"
#include "segment.h"

#include <string.h>

/* A counter whose number was changed but whose sequence number perhaps was not: a reader that knows the old version must not be told
 * UNCHANGED. */
static void renumber(const struct pond_ref *ref, uint32_t where) {
    struct pond_decoded d;
    if (pond_where_valid(ref->g, where)) {
        unsigned char *at = pond_ref_at(ref, where);
        if (pond_entry_decode(at, ref->g->end_unit - where, &d) && d.flags & POND_ENTRY_COUNTER)
            pond_store_release_32((uint32_t *)(void *)(at + (d.flags & POND_ENTRY_TTL ? 16 : 8)), ++ref->shard->sequence);
    }
    pond_index_counter_end(ref);
}

void pond_recover_clear(const struct pond_ref *ref) {
    pond_flight_revoke_all(ref);
    pond_index_clear(ref);
    for (uint32_t i = 0; i < ref->g->segment_count; i++) {
        struct pond_segment *s = &ref->table[i];
        if (pond_segment_state(s) == POND_SEGMENT_FREE || pond_segment_pinned(ref, i)) continue;
        pond_segment_free(ref, i);
    }
    POND_CRASHPOINT("clear.freed");
    pond_segment_rebuild(ref);
    pond_index_clear_end(ref);
}

void pond_recover_shard(const struct pond_ref *ref) {
    POND_CRASHPOINT("recover.begin");
    uint32_t counter;
    pond_flight_recover(ref);
    enum pond_index_unfinished unfinished = pond_index_recover(ref, &counter);
    if (unfinished == POND_UNFINISHED_CLEAR) {
        pond_recover_clear(ref);
    } else {
        pond_segment_rebuild(ref);
        if (unfinished == POND_UNFINISHED_COUNTER) renumber(ref, counter);
    }
    pond_redo_recover(ref);
    pond_bump_64(&ref->shard->counters.recoveries, 1);
    POND_CRASHPOINT("recover.end");
}

static void make_locks(struct pond_map *map) {
    for (uint32_t i = 0; i < map->geometry.reader_count; i++) {
        pond_lock_init(&map->readers[i].mutex);
        memset(map->readers[i].pin, 0, sizeof map->readers[i].pin);
        map->readers[i].owned = 0;
    }
    for (uint32_t i = 0; i < map->geometry.shard_count; i++) {
        struct pond_ref ref = pond_ref_of(map, i);
        pond_lock_init(&ref.shard->mutex);
        ref.shard->views = 0;
    }
    pond_flight_format(map, 0);
    POND_CRASHPOINT("locks.made");
}

void pond_recover_alone(struct pond_map *map) {
    for (uint32_t i = 0; i < map->geometry.reader_count; i++) {
        struct pond_reader *slot = &map->readers[i];
        if (pond_lock_is_free(&slot->mutex)) continue;
        memset(slot->pin, 0, sizeof slot->pin);
        slot->owned = 0;
        pond_lock_init(&slot->mutex);
    }
    for (uint32_t i = 0; i < map->geometry.shard_count; i++) {
        struct pond_ref ref = pond_ref_of(map, i);
        if (pond_lock_is_free(&ref.shard->mutex)) continue;
        pond_recover_shard(&ref);
        pond_lock_init(&ref.shard->mutex); /* last: until then the next opener repairs again */
    }
    pond_flight_format(map, 1);
}

void pond_recover_locks(struct pond_map *map) {
    make_locks(map);
    for (uint32_t i = 0; i < map->geometry.shard_count; i++) {
        struct pond_ref ref = pond_ref_of(map, i);
        pond_recover_shard(&ref);
    }
}

void pond_recover_format(struct pond_map *map) {
    make_locks(map);
    for (uint32_t i = 0; i < map->geometry.shard_count; i++) {
        struct pond_ref ref = pond_ref_of(map, i);
        pond_segment_format(&ref);
    }
}

void pond_recover_cold(struct pond_map *map) {
    for (uint32_t i = 0; i < map->geometry.shard_count; i++) {
        struct pond_ref ref = pond_ref_of(map, i);
        memset(ref.base, 0, map->geometry.segments_off);
    }
    pond_group_format(map);
    POND_CRASHPOINT("cold.wiped");
    memset(map->readers, 0, map->geometry.reader_count * sizeof *map->readers);
    map->living->reader_high = 0;
    pond_recover_format(map);
}
