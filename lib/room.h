/* SPDX-License-Identifier: MIT */
#ifndef POND_ROOM_H
#define POND_ROOM_H

/* Room for an entry in a queue: a hole of its size, else the tail of the open segment. For the holder of the shard's mutex. */

#include "crashpoint.h"
#include "entry.h"
#include "expire.h"
#include "segment.h"

struct pond_room {
    uint32_t queue, ttl_class; /* wanted */
    uint32_t where, units;     /* found */
    uint64_t first_least_ms;   /* until when the first entry of a hole's segment must live */
    int appended;              /* at a tail, not yet committed */
};

/* For an entry that lives for ttl_ms from now on (0: for ever), until what its expiry word says. Its class, and only holes in segments
 * whose first entry lives nearly as long: where one that lasts longer fills each hole, the segment never expires as a whole, and what has
 * expired in it keeps its room. */
#define POND_HOLE_SPREAD 4u
static inline struct pond_room pond_room_for(const struct pond_geometry *g, uint32_t queue, uint64_t ttl_ms, uint64_t expiry_word) {
    struct pond_room room = {.queue = queue, .ttl_class = pond_ttl_class(g, ttl_ms)};
    if (ttl_ms) room.first_least_ms = pond_entry_end_ms(expiry_word) - ttl_ms / POND_HOLE_SPREAD;
    return room;
}

/* A hole alone. only_young: none that will be recycled soon. 1, or 0 when there is none: nothing is recycled here. */
int pond_room_hole(const struct pond_ref *ref, struct pond_room *room, uint32_t units, int only_young);
/* A hole, or the tail of the queue's open segment, or a segment to open, or else the tail of any open segment: `room` with what was found,
 * where 0 is nothing. By value, so that the caller's need not be in memory. */
struct pond_room pond_room_search(const struct pond_ref *ref, struct pond_room room, uint32_t units, int only_young);
static inline int pond_room_find(const struct pond_ref *ref, struct pond_room *room, uint32_t units, int only_young) {
    room->where = 0;
    if (!pond_hole_any(ref, room->queue, units)) {
        room->appended = 1;
        room->units = units;
        room->where = pond_segment_tail_place(ref, room->queue, room->ttl_class, units);
    }
    if (POND_UNLIKELY(room->where == 0)) *room = pond_room_search(ref, *room, units, only_young);
    return room->where != 0;
}

/* Writes the entry there. No slot names it yet. */
void pond_room_put(const struct pond_ref *ref, const struct pond_room *room, const struct pond_content *content);
/* The same for an entry whose bytes are there already. */
static inline __attribute__((always_inline)) void pond_room_commit(const struct pond_ref *ref, const struct pond_room *room,
                                                                   const struct pond_content *content) {
    struct pond_segment *s = &ref->table[pond_segment_of(ref->g, room->where)];
    uint64_t end_ms = content->flags & POND_ENTRY_TTL ? pond_entry_end_ms(content->expiry) : 0;
    if (room->appended) {
        pond_segment_commit(ref, room->where, room->units);
        /* The lines that the next entry will fill: else the next unlock waits until they have come. A hint: it may end in another segment.
         */
        const unsigned char *next = pond_ref_at(ref, room->where + room->units);
        __builtin_prefetch(next + 64, 1);
        __builtin_prefetch(next + 128, 1);
    }
    s->live_units += room->units;
    pond_segment_note_end(s, end_ms);
    POND_CRASHPOINT("room.put");
}

#endif
