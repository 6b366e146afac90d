/* SPDX-License-Identifier: MIT */
/* Room for an entry. Holes first: what is overwritten must not eat the cache. */

#include "room.h"

int pond_room_hole(const struct pond_ref *ref, struct pond_room *room, uint32_t units, int only_young) {
    room->appended = 0;
    room->where = pond_hole_take(ref, room->queue, room->ttl_class, units, only_young, room->first_least_ms, &room->units);
    return room->where != 0;
}

struct pond_room pond_room_search(const struct pond_ref *ref, struct pond_room room, uint32_t units, int only_young) {
    if (pond_room_hole(ref, &room, units, only_young)) return room;
    room.appended = 1;
    room.units = units;
    room.where = pond_segment_append(ref, room.queue, room.ttl_class, units);
    if (room.where == 0) room.where = pond_segment_append_anywhere(ref, room.queue, units);
    return room;
}

void pond_room_put(const struct pond_ref *ref, const struct pond_room *room, const struct pond_content *content) {
    pond_entry_write(ref, room->where, room->units, content);
    pond_room_commit(ref, room, content);
}
