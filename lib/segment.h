/* SPDX-License-Identifier: MIT */
#ifndef POND_SEGMENT_H
#define POND_SEGMENT_H

/* Segments: where entries are put, in which order segments leave, and the holes that overwritten entries left. For the holder of the
 * shard's mutex. A segment is named by its index; next, prev, heads and open[] hold index + 1, 0 for none. */

#include "atomic.h"
#include "crashpoint.h"
#include "shard.h"

#if UINTPTR_MAX < UINT64_MAX
#error "millpond needs a 64-bit machine: the file is mapped as a whole, and its words are 64 bits wide"
#endif

#define POND_NO_SEGMENT UINT32_MAX

static inline uint32_t pond_segment_state(const struct pond_segment *s) { return pond_load_32(&s->state) & 255u; }
static inline uint32_t pond_segment_queue(const struct pond_segment *s) { return pond_load_32(&s->state) >> 8 & 1u; }
static inline uint32_t pond_segment_class(const struct pond_segment *s) {
    return (pond_load_32(&s->state) >> 16 & 255u) % POND_TTL_CLASSES;
}

/* The segment in which a valid offset lies, and its first unit. */
static inline uint32_t pond_segment_of(const struct pond_geometry *g, uint32_t where) {
    return (uint32_t)(((unsigned __int128)g->segment_reciprocal * (where - g->first_unit)) >> 64);
}
static inline uint32_t pond_segment_start(const struct pond_geometry *g, uint32_t segment) {
    return g->first_unit + segment * g->segment_units;
}
/* Units from `where` to the end of its segment: what an entry there can have at the most. */
static inline uint32_t pond_units_left(const struct pond_geometry *g, uint32_t where) {
    return pond_segment_start(g, pond_segment_of(g, where) + 1) - where;
}
/* Committed units, never more than there are. */
static inline uint32_t pond_segment_tail(const struct pond_geometry *g, const struct pond_segment *s) {
    uint32_t tail = pond_load_32(&s->tail_units);
    return tail < g->segment_units ? tail : g->segment_units;
}

/* All segments free; the lists of a new or emptied shard. */
void pond_segment_format(const struct pond_ref *ref);

/* Queues, free list and open segments again, from the descriptors alone; holes are forgotten; a half recycled segment is first in its
 * queue. For recovery: it may be interrupted and repeated. */
void pond_segment_rebuild(const struct pond_ref *ref);

/* Units that fit into the open segment of a queue and TTL class; 0 when none is open. */
uint32_t pond_segment_open_room(const struct pond_ref *ref, uint32_t queue, uint32_t ttl_class);

/* The place for `units` at the tail of the open segment of a queue and class; 0 when none is open or it has not so much room. Changes
 * nothing. */
static inline uint32_t pond_segment_tail_place(const struct pond_ref *ref, uint32_t queue, uint32_t ttl_class, uint32_t units) {
    const struct pond_geometry *g = ref->g;
    uint32_t segment = ref->shard->open[queue][ttl_class] - 1; /* not below the count when none is open */
    if (POND_UNLIKELY(segment >= g->segment_count)) return 0;
    const struct pond_segment *s = &ref->table[segment];
    if (POND_UNLIKELY(pond_load_32(&s->state) != pond_segment_word(POND_SEGMENT_OPEN, queue, ttl_class))) return 0;
    uint32_t tail = pond_segment_tail(g, s); /* loaded once: it is data from the file */
    return POND_LIKELY(g->segment_units - tail >= units) ? pond_segment_start(g, segment) + tail : 0;
}

/* Takes `units` at the tail of the open segment of a queue and class, or of a fresh one. Returns where, or 0 when no segment is free.
 * Nothing is committed: a walk does not see the place until pond_segment_commit(). */
uint32_t pond_segment_append(const struct pond_ref *ref, uint32_t queue, uint32_t ttl_class, uint32_t units);
/* The same where any open segment will do, of this queue or else of the other: when no segment is free. */
uint32_t pond_segment_append_anywhere(const struct pond_ref *ref, uint32_t queue, uint32_t units);
static inline void pond_segment_commit(const struct pond_ref *ref, uint32_t where, uint32_t units) {
    uint32_t segment = pond_segment_of(ref->g, where);
    POND_CRASHPOINT("segment.uncommitted");
    pond_store_release_32(&ref->table[segment].tail_units, where - pond_segment_start(ref->g, segment) + units);
    POND_CRASHPOINT("segment.committed");
}

/* An entry that lives until `end_ms` (0: for ever) is in this segment from now on. */
static inline void pond_segment_note_end(struct pond_segment *s, uint64_t end_ms) {
    if (end_ms == 0) end_ms = UINT64_MAX;
    if (s->expiry_max_ms == 0) s->expiry_first_ms = end_ms;
    if (s->expiry_max_ms < end_ms) s->expiry_max_ms = end_ms;
}

static inline void pond_segment_note_expiry(const struct pond_ref *ref, uint32_t where, uint64_t end_ms) {
    pond_segment_note_end(&ref->table[pond_segment_of(ref->g, where)], end_ms);
}

/* So many units of this segment are live from now on, or not any more. */
static inline void pond_segment_live(const struct pond_ref *ref, uint32_t where, uint32_t units) {
    ref->table[pond_segment_of(ref->g, where)].live_units += units;
}
static inline void pond_segment_dead(struct pond_segment *s, uint32_t units) {
    s->live_units = s->live_units > units ? s->live_units - units : 0;
}

/* Makes the open segment of a queue and class wait in its queue. */
void pond_segment_seal(const struct pond_ref *ref, uint32_t segment);
/* Takes a sealed segment out of its queue, to be recycled; puts it back at the head of a queue; frees it. */
void pond_segment_begin_victim(const struct pond_ref *ref, uint32_t segment);
void pond_segment_requeue(const struct pond_ref *ref, uint32_t segment, uint32_t queue);
void pond_segment_free(const struct pond_ref *ref, uint32_t segment);

/* Is the segment in the younger half of its queue? */
int pond_segment_young(const struct pond_ref *ref, uint32_t segment);

/* Does a view pin this segment? Full fence inside when there may be views. */
int pond_segment_pinned_now(const struct pond_ref *ref, uint32_t segment);
static inline int pond_segment_pinned(const struct pond_ref *ref, uint32_t segment) {
    return POND_UNLIKELY(ref->shard->views != 0) && pond_segment_pinned_now(ref, segment);
}

/* ---- holes ---- */

/* The size class of a hole: exact below 16 units, then 8 an octave. */
static inline uint32_t pond_hole_class(uint32_t units) {
    if (units < 16) return units;
    uint32_t octave = 31u - (uint32_t)__builtin_clz(units);
    uint32_t at = 8 * octave - 24 + (units >> (octave - 3)); /* the shifted units are 8 to 15 */
    return POND_LIKELY(at < POND_HOLE_CLASSES) ? at : POND_HOLE_CLASSES - 1;
}
/* A write looks in its own class, then in the next two. Is there anything in them? */
#define POND_HOLE_CLASSES_UP 2u
static inline int pond_hole_any(const struct pond_ref *ref, uint32_t queue, uint32_t units) {
    uint32_t first = pond_hole_class(units);
    const uint32_t *head = &ref->shard->hole_head[queue][first];
    static_assert(POND_HOLE_CLASSES_UP == 2, "three heads are looked at");
    return POND_UNLIKELY(first + POND_HOLE_CLASSES_UP >= POND_HOLE_CLASSES) || (head[0] | head[1] | head[2]) != 0;
}

/* Makes a hole of a dead entry, to be reused by an entry of the same queue and class. */
void pond_hole_push(const struct pond_ref *ref, uint32_t where);
/* An entry of `units` in a segment that no slot names any more: it counts as live no longer, and is a hole if its bytes may be reused. */
void pond_hole_make(const struct pond_ref *ref, uint32_t where, uint32_t segment, uint32_t units);
/* Finds a hole for `units` in a queue; only_young: none that will be recycled soon; none in a segment whose first entry's time ends before
 * first_least_ms. Returns where it was, 0 for none; *allotted receives its size. The bytes still say hole until pond_entry_write(). */
uint32_t pond_hole_take(const struct pond_ref *ref, uint32_t queue, uint32_t ttl_class, uint32_t units, int only_young,
                        uint64_t first_least_ms, uint32_t *allotted);
/* The same for the usual case, the only hole of its class and as large as is wanted: what the overwrite before has left. 0 also where
 * pond_hole_take() would find one. */
static inline uint32_t pond_hole_take_only(const struct pond_ref *ref, uint32_t queue, uint32_t ttl_class, uint32_t units,
                                           uint64_t first_least_ms) {
    uint32_t *head = &ref->shard->hole_head[queue][pond_hole_class(units)], where = *head;
    if (!pond_where_valid(ref->g, where)) return 0;
    struct pond_hole *hole = (struct pond_hole *)(void *)pond_ref_at(ref, where);
    uint64_t word = pond_word_make(units, POND_ENTRY_DEAD | POND_ENTRY_HOLE, 0, 0, ref->shard->hole_generation);
    if (pond_load_64(&hole->word) != word || hole->next != 0 || ref->shard->views != 0) return 0;
    uint32_t segment = pond_segment_of(ref->g, where);
    const struct pond_segment *s = &ref->table[segment];
    uint32_t state = pond_load_32(&s->state) ^ pond_segment_word(0, queue, ttl_class);
    if (state != POND_SEGMENT_SEALED && state != POND_SEGMENT_OPEN) return 0;
    if (s->expiry_first_ms < first_least_ms) return 0;
    if (where - pond_segment_start(ref->g, segment) + units > pond_segment_tail(ref->g, s)) return 0;
    *head = 0;
    /* ORDER hole-link (taker): as in take_out(). */
    pond_store_release_64(&hole->word, pond_word_make(units, POND_ENTRY_DEAD, 0, 0, 0));
    POND_CRASHPOINT("hole.unlinked");
    return where;
}
/* Takes a hole out of its list if it is in one: its segment is being recycled. */
void pond_hole_unlink(const struct pond_ref *ref, uint32_t where);

#endif
