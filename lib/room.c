/* SPDX-License-Identifier: MIT */
/* Room for an entry. Holes first: what is overwritten must not eat the cache. */

#include "room.h"

#include "crashpoint.h"

int pond_room_hole(const struct pond_ref *ref, struct pond_room *room, uint32_t units, int only_young) {
    room->appended = 0;
    room->where = pond_hole_take(ref, room->queue, room->ttl_class, units, only_young, room->first_least_ms, &room->units);
    return room->where != 0;
}

int pond_room_search(const struct pond_ref *ref, struct pond_room *room, uint32_t units, int only_young) {
    if (pond_room_hole(ref, room, units, only_young)) return 1;
    room->appended = 1;
    room->units = units;
    room->where = pond_segment_append(ref, room->queue, room->ttl_class, units);
    if (room->where == 0) room->where = pond_segment_append_anywhere(ref, room->queue, units);
    return room->where != 0;
}

void pond_room_commit(const struct pond_ref *ref, const struct pond_room *room, const struct pond_content *content) {
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

void pond_room_put(const struct pond_ref *ref, const struct pond_room *room, const struct pond_content *content) {
    pond_entry_write(ref, room->where, room->units, content);
    pond_room_commit(ref, room, content);
}
