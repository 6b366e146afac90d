/* SPDX-License-Identifier: MIT */
/* Values that are larger than a piece (a quarter of a segment, at most 1 MiB): chunks, and a root that lists them.
 *
 * All chunks first, then the root, then the slot. Room for all of it is made before the first chunk is written, and no recycling runs in
 * between: a chunk that no root lists counts as dead. A chunk is as large as a piece, or fills up what is left of a segment, or fills a
 * hole. */

#include "large.h"

#include "crashpoint.h"
#include "hash.h"
#include "retire.h"

#include <stdlib.h>

/* Bytes of a value that one full chunk carries. */
static uint32_t capacity_of(const struct pond_geometry *g) { return g->piece_units_max * POND_UNIT_BYTES - POND_CHUNK_HEAD_BYTES; }

static uint64_t chunks_most(const struct pond_geometry *g, uint64_t value_bytes) {
    return pond_layout_chunks_most(g->piece_units_max * POND_UNIT_BYTES, value_bytes);
}

int pond_large_is_any(const struct pond_geometry *g, uint32_t units, size_t value_bytes) {
    return value_bytes > capacity_of(g) || (units > g->piece_units_max && value_bytes > capacity_of(g) / 2);
}

int pond_large_fits(const struct pond_geometry *g, size_t key_bytes, size_t value_bytes) {
    return POND_ROOT_HEAD_BYTES + key_bytes + chunks_most(g, value_bytes) * 4 <= (uint64_t)g->entry_units_max * POND_UNIT_BYTES;
}

uint64_t pond_large_segments(const struct pond_geometry *g, size_t key_bytes, uint64_t bytes) {
    return pond_layout_segments_most(g->segment_bytes, key_bytes, bytes);
}

uint32_t pond_large_queue(const struct pond_geometry *g, uint64_t bytes) {
    return bytes * 10 <= (uint64_t)g->segment_count * g->segment_bytes ? POND_SMALL : POND_MAIN;
}

struct pond_root *pond_large_list(const struct pond_geometry *g, uint64_t bytes) {
    return malloc(sizeof(struct pond_root) + chunks_most(g, bytes) * 4);
}

uint32_t pond_large_list_bytes(const struct pond_root *list) {
    size_t bytes = offsetof(struct pond_root, chunk) + list->chunk_count * sizeof list->chunk[0];
    return (uint32_t)(bytes < sizeof(struct pond_root) ? sizeof(struct pond_root) : bytes);
}

void pond_large_drop(const struct pond_ref *ref, const struct pond_root *list) {
    for (uint32_t i = 0; i < list->chunk_count; i++) pond_retire_one(ref, list->chunk[i]);
}

static uint32_t write_chunk(const struct pond_ref *ref, const struct pond_room *like, struct pond_content *c, uint64_t left,
                            int fresh_key) {
    uint32_t capacity = capacity_of(ref->g);
    struct pond_room room = *like;
    c->value_bytes = left < capacity ? (uint32_t)left : capacity;
    if (pond_room_hole(ref, &room, pond_entry_units(c), fresh_key)) {
        pond_bump_64(&ref->shard->counters.hole_hits, 1);
    } else {
        uint64_t rest = (uint64_t)pond_segment_open_room(ref, room.queue, room.ttl_class) * POND_UNIT_BYTES;
        if (rest > POND_CHUNK_HEAD_BYTES + capacity / 8 && rest < c->value_bytes + POND_CHUNK_HEAD_BYTES)
            c->value_bytes = (uint32_t)rest - POND_CHUNK_HEAD_BYTES;
        room.appended = 1;
        room.units = pond_entry_units(c);
        room.where = pond_segment_append(ref, room.queue, room.ttl_class, room.units);
        if (room.where == 0) return 0;
    }
    pond_room_put(ref, &room, c);
    POND_CRASHPOINT("set.chunk_written");
    return room.where;
}

int pond_large_write(const struct pond_ref *ref, const struct pond_room *room, const struct pond_content *whole, const void *value,
                     uint64_t bytes, int fresh_key, struct pond_root *list) {
    struct pond_chunk_key key = {.hash = whole->hash};
    struct pond_content c = *whole;
    c.key = &key;
    c.key_bytes = sizeof key;
    c.flags = POND_ENTRY_CHUNK | (whole->flags & POND_ENTRY_TTL);
    list->value_bytes = bytes;
    list->chunk_count = 0;
    for (uint64_t done = 0; done < bytes; done += c.value_bytes) {
        key.number = list->chunk_count;
        c.hash = pond_hash(&key, sizeof key, ref->g->hash_seed);
        c.value = (const unsigned char *)value + done;
        uint32_t where = list->chunk_count < chunks_most(ref->g, bytes) ? write_chunk(ref, room, &c, bytes - done, fresh_key) : 0;
        if (where == 0) {
            pond_large_drop(ref, list);
            return 0;
        }
        list->chunk[list->chunk_count++] = where;
    }
    return 1;
}
