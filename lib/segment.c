/* SPDX-License-Identifier: MIT */
/* Segments of a shard.
 *
 *   FREE --open--> OPEN --seal--> SEALED --begin--> VICTIM --free--> FREE
 *                                   ^------requeue----'
 *
 * The truth is one word in each descriptor (state, queue, TTL class) and the order in which it was sealed; the lists are derived and
 * made again by recovery, so that a death in the middle of a list operation costs nothing. The number of segments is a few hundred: a
 * rebuild takes microseconds.
 *
 * Holes: an entry that no slot points to any more is a hole of its allotted size, linked in place into a list of its size class (8
 * classes an octave), last in, first out; a write of that size goes there instead of to the tail, so that overwriting does not eat the
 * cache. A hole's size never changes. The lists are hints: recovery forgets them by raising the hole generation, which each hole
 * carries; a forgotten hole is dead space until its segment is recycled. Every link is checked before it is followed or written: it must
 * lie in a segment and carry the generation. A hole is not for an entry that lives much longer than the first one of its segment, which
 * would keep what has expired there from leaving as a whole. Derived from simulation on real traces: last in, first out; first fit among 8
 * of its own class, then the first of the next two classes. */

#include "segment.h"

#include "crashpoint.h"
#include "entry.h"
#include "reader.h"

#include <string.h>

#define HOLE_TRIES 8

/* ---- lists ---- */

static struct pond_segment *at_link(const struct pond_ref *ref, uint32_t link) {
    return link >= 1 && link <= ref->g->segment_count ? &ref->table[link - 1] : NULL;
}
static uint32_t link_of(const struct pond_ref *ref, const struct pond_segment *s) { return (uint32_t)(s - ref->table) + 1; }

static void queue_append(const struct pond_ref *ref, struct pond_segment *s, uint32_t queue) {
    struct pond_shard *shard = ref->shard;
    struct pond_segment *last = at_link(ref, shard->queue_tail[queue]);
    s->next = 0;
    s->prev = last ? shard->queue_tail[queue] : 0;
    if (last)
        last->next = link_of(ref, s);
    else
        shard->queue_head[queue] = link_of(ref, s);
    shard->queue_tail[queue] = link_of(ref, s);
    shard->queue_count[queue]++;
}

static void queue_unlink(const struct pond_ref *ref, struct pond_segment *s, uint32_t queue) {
    struct pond_shard *shard = ref->shard;
    struct pond_segment *next = at_link(ref, s->next), *prev = at_link(ref, s->prev);
    if (prev)
        prev->next = s->next;
    else
        shard->queue_head[queue] = s->next;
    if (next)
        next->prev = s->prev;
    else
        shard->queue_tail[queue] = s->prev;
    s->next = s->prev = 0;
    if (shard->queue_count[queue] > 0) shard->queue_count[queue]--;
}

static void free_push(const struct pond_ref *ref, struct pond_segment *s) {
    s->next = ref->shard->free_head;
    s->prev = 0;
    ref->shard->free_head = link_of(ref, s);
    ref->shard->free_count++;
}

static void set_state(struct pond_segment *s, uint32_t state, uint32_t queue, uint32_t ttl_class) {
    pond_store_release_32(&s->state, pond_segment_word(state, queue, ttl_class));
}

static void forget_lists(const struct pond_ref *ref) {
    struct pond_shard *shard = ref->shard;
    memset(shard->open, 0, sizeof shard->open);
    memset(shard->queue_head, 0, sizeof shard->queue_head);
    memset(shard->queue_tail, 0, sizeof shard->queue_tail);
    memset(shard->queue_count, 0, sizeof shard->queue_count);
    memset(&shard->walk, 0, sizeof shard->walk);
    shard->free_head = shard->free_count = 0;
    /* Before a hole is pushed: the old ones must not look like members of the new lists. */
    shard->hole_generation = (shard->hole_generation + 1) & ((1u << POND_ENTRY_CHECK_BITS) - 1);
    pond_fence_store();
    memset(shard->hole_head, 0, sizeof shard->hole_head);
}

void pond_segment_format(const struct pond_ref *ref) {
    forget_lists(ref);
    for (uint32_t i = ref->g->segment_count; i-- > 0;) {
        struct pond_segment *s = &ref->table[i];
        s->epoch++;
        set_state(s, POND_SEGMENT_FREE, POND_SMALL, 0);
        free_push(ref, s);
    }
}

/* Inserts by order: queues are nearly sorted when the table is, and short. */
static void queue_insert(const struct pond_ref *ref, struct pond_segment *s, uint32_t queue) {
    struct pond_shard *shard = ref->shard;
    struct pond_segment *after = at_link(ref, shard->queue_tail[queue]);
    for (uint32_t i = 0; after && after->order > s->order && i < ref->g->segment_count; i++) after = at_link(ref, after->prev);
    if (!after) {
        s->prev = 0;
        s->next = shard->queue_head[queue];
        shard->queue_head[queue] = link_of(ref, s);
    } else {
        s->prev = link_of(ref, after);
        s->next = after->next;
        after->next = link_of(ref, s);
    }
    struct pond_segment *next = at_link(ref, s->next);
    if (next)
        next->prev = link_of(ref, s);
    else
        shard->queue_tail[queue] = link_of(ref, s);
    shard->queue_count[queue]++;
}

void pond_segment_rebuild(const struct pond_ref *ref) {
    forget_lists(ref);
    POND_CRASHPOINT("rebuild.forgotten");
    struct pond_shard *shard = ref->shard;
    for (uint32_t i = ref->g->segment_count; i-- > 0;) {
        struct pond_segment *s = &ref->table[i];
        uint32_t state = pond_segment_state(s), queue = pond_segment_queue(s), ttl_class = pond_segment_class(s);
        if (s->order > shard->order && state != POND_SEGMENT_FREE) shard->order = s->order;
        if (state == POND_SEGMENT_OPEN && shard->open[queue][ttl_class] == 0) {
            shard->open[queue][ttl_class] = i + 1;
        } else if (state == POND_SEGMENT_FREE) {
            free_push(ref, s);
        } else { /* sealed; being recycled (the walk starts again); or open twice, which only damage can cause */
            set_state(s, POND_SEGMENT_SEALED, queue, ttl_class);
            queue_insert(ref, s, queue);
        }
    }
    POND_CRASHPOINT("rebuild.done");
}

/* ---- putting entries ---- */

static struct pond_segment *open_segment(const struct pond_ref *ref, uint32_t queue, uint32_t ttl_class) {
    struct pond_segment *s = at_link(ref, ref->shard->open[queue][ttl_class]);
    return s && pond_load_32(&s->state) == pond_segment_word(POND_SEGMENT_OPEN, queue, ttl_class) ? s : NULL;
}

uint32_t pond_segment_open_room(const struct pond_ref *ref, uint32_t queue, uint32_t ttl_class) {
    const struct pond_segment *s = open_segment(ref, queue, ttl_class);
    return s ? ref->g->segment_units - pond_segment_tail(ref->g, s) : 0;
}

static struct pond_segment *open_fresh(const struct pond_ref *ref, uint32_t queue, uint32_t ttl_class) {
    struct pond_shard *shard = ref->shard;
    struct pond_segment *s = at_link(ref, shard->free_head);
    if (!s || pond_segment_state(s) != POND_SEGMENT_FREE) return NULL;
    shard->free_head = s->next;
    if (shard->free_count > 0) shard->free_count--;
    s->next = s->prev = 0;
    s->expiry_max_ms = 0;
    s->live_units = 0;
    pond_store_release_32(&s->tail_units, 0);
    POND_CRASHPOINT("segment.emptied");
    set_state(s, POND_SEGMENT_OPEN, queue, ttl_class);
    POND_CRASHPOINT("segment.opened");
    shard->open[queue][ttl_class] = link_of(ref, s);
    return s;
}

void pond_segment_seal(const struct pond_ref *ref, uint32_t segment) {
    struct pond_segment *s = &ref->table[segment];
    uint32_t queue = pond_segment_queue(s), ttl_class = pond_segment_class(s);
    s->order = ++ref->shard->order;
    POND_CRASHPOINT("segment.sealing");
    set_state(s, POND_SEGMENT_SEALED, queue, ttl_class);
    POND_CRASHPOINT("segment.sealed");
    if (ref->shard->open[queue][ttl_class] == link_of(ref, s)) ref->shard->open[queue][ttl_class] = 0;
    queue_append(ref, s, queue);
}

uint32_t pond_segment_append(const struct pond_ref *ref, uint32_t queue, uint32_t ttl_class, uint32_t units) {
    uint32_t place = pond_segment_tail_place(ref, queue, ttl_class, units);
    if (POND_LIKELY(place != 0)) return place;
    struct pond_segment *s = open_segment(ref, queue, ttl_class);
    if (s) {
        if (ref->shard->free_head == 0) return 0; /* rather a smaller entry here later than a sealed segment now */
        pond_segment_seal(ref, (uint32_t)(s - ref->table));
    }
    s = open_fresh(ref, queue, ttl_class);
    if (!s || units > ref->g->segment_units) return 0;
    return pond_segment_start(ref->g, (uint32_t)(s - ref->table));
}

uint32_t pond_segment_append_anywhere(const struct pond_ref *ref, uint32_t queue, uint32_t units) {
    for (uint32_t i = 0; i < POND_QUEUES * POND_TTL_CLASSES; i++) {
        uint32_t q = (queue + i / POND_TTL_CLASSES) % POND_QUEUES, k = i % POND_TTL_CLASSES;
        if (pond_segment_open_room(ref, q, k) >= units) return pond_segment_append(ref, q, k, units);
    }
    return 0;
}

/* ---- leaving ---- */

void pond_segment_begin_victim(const struct pond_ref *ref, uint32_t segment) {
    struct pond_segment *s = &ref->table[segment];
    uint32_t queue = pond_segment_queue(s);
    set_state(s, POND_SEGMENT_VICTIM, queue, pond_segment_class(s));
    POND_CRASHPOINT("segment.victim");
    queue_unlink(ref, s, queue);
}

void pond_segment_requeue(const struct pond_ref *ref, uint32_t segment, uint32_t queue) {
    struct pond_segment *s = &ref->table[segment];
    s->order = ++ref->shard->order;
    POND_CRASHPOINT("segment.reordered");
    set_state(s, POND_SEGMENT_SEALED, queue, pond_segment_class(s));
    POND_CRASHPOINT("segment.requeued");
    queue_append(ref, s, queue);
}

void pond_segment_free(const struct pond_ref *ref, uint32_t segment) {
    struct pond_segment *s = &ref->table[segment];
    pond_store_release_32(&s->epoch, s->epoch + 1);
    POND_CRASHPOINT("segment.epoch_raised");
    set_state(s, POND_SEGMENT_FREE, POND_SMALL, 0);
    POND_CRASHPOINT("segment.freed");
    free_push(ref, s);
}

int pond_segment_young(const struct pond_ref *ref, uint32_t segment) {
    const struct pond_shard *shard = ref->shard;
    const struct pond_segment *s = &ref->table[segment];
    if (pond_segment_state(s) != POND_SEGMENT_SEALED) return pond_segment_state(s) == POND_SEGMENT_OPEN;
    uint32_t queue = pond_segment_queue(s);
    const struct pond_segment *oldest = at_link(ref, shard->queue_head[queue]), *newest = at_link(ref, shard->queue_tail[queue]);
    return oldest && newest && s->order >= oldest->order + (newest->order - oldest->order) / 2;
}

/* ORDER pin-recycle (recycler): Q1 slots changed and versions raised, then this full fence, then Q3 the pins.
 * Pairs with (viewer) in view.c: P2 the pin, full fence, P4 the version. `views` itself is written under this mutex. */
int pond_segment_pinned_now(const struct pond_ref *ref, uint32_t segment) {
    pond_fence_full();
    uint64_t pin = (uint64_t)ref->number << 32 | (segment + 1);
    uint32_t high = pond_load_32(&ref->map->living->reader_high);
    for (uint32_t i = 0; i < high && i < ref->g->reader_count; i++)
        for (unsigned k = 0; k < POND_READER_PINS; k++)
            if (pond_load_acquire_64(&ref->map->readers[i].pin[k]) == pin && !pond_reader_bury(ref->map, i)) return 1;
    return 0;
}

/* ---- holes ---- */

/* The hole at `where` if it is one of this generation, else NULL. *units and *segment receive its size and place, as they were checked. */
static inline struct pond_hole *hole_of(const struct pond_ref *ref, uint32_t where, uint32_t *units, uint32_t *segment) {
    if (!pond_where_valid(ref->g, where)) return NULL;
    struct pond_hole *hole = (struct pond_hole *)(void *)pond_ref_at(ref, where);
    uint64_t word = pond_load_64(&hole->word);
    if (!(pond_word_flags(word) & POND_ENTRY_HOLE) || pond_word_check(word) != ref->shard->hole_generation) return NULL;
    *segment = pond_segment_of(ref->g, where);
    uint32_t end = pond_segment_start(ref->g, *segment) + pond_segment_tail(ref->g, &ref->table[*segment]);
    *units = pond_word_units(word);
    return *units >= 2 && where + *units <= end ? hole : NULL;
}
static struct pond_hole *hole_at(const struct pond_ref *ref, uint32_t where) {
    uint32_t units, segment;
    return where != 0 ? hole_of(ref, where, &units, &segment) : NULL;
}

/* `first`: the hole that `head` names, or NULL. */
static inline void push_before(const struct pond_ref *ref, uint32_t where, uint32_t units, uint32_t *head, struct pond_hole *first) {
    struct pond_hole *hole = (struct pond_hole *)(void *)pond_ref_at(ref, where);
    /* ORDER hole-link (writer): these bytes are reused now; the version of the bucket that named them was raised before. See byte-reuse.
     * Pairs with (reader) in pond_read_valid(); tag hole-link stands in take_out() too: there the bytes become an entry again. */
    pond_fence_store();
    /* Dead first: from here on a walk needs nothing of it but its size, which the links must not spoil (they may lie in a wide field). */
    pond_store_release_64(&hole->word, pond_word_make(units, POND_ENTRY_DEAD, 0, 0, 0));
    POND_CRASHPOINT("hole.dead");
    pond_store_release_32(&hole->next, first ? *head : 0);
    pond_store_32(&hole->prev, 0);
    pond_store_release_64(&hole->word, pond_word_make(units, POND_ENTRY_DEAD | POND_ENTRY_HOLE, 0, 0, ref->shard->hole_generation));
    POND_CRASHPOINT("hole.made");
    if (first) pond_store_32(&first->prev, where);
    POND_CRASHPOINT("hole.linked");
    *head = where;
}
static __attribute__((noinline)) void push_on(const struct pond_ref *ref, uint32_t where, uint32_t units, uint32_t *head) {
    push_before(ref, where, units, head, hole_at(ref, *head));
}
static inline void push(const struct pond_ref *ref, uint32_t where, uint32_t queue, uint32_t units) {
    uint32_t *head = &ref->shard->hole_head[queue][pond_hole_class(units)];
    if (POND_LIKELY(*head == 0)) /* the overwrite before has taken the hole that the one before that had left */
        push_before(ref, where, units, head, NULL);
    else
        push_on(ref, where, units, head);
}

void pond_hole_push(const struct pond_ref *ref, uint32_t where) {
    uint64_t word = pond_load_64((const uint64_t *)(const void *)pond_ref_at(ref, where));
    push(ref, where, pond_segment_queue(&ref->table[pond_segment_of(ref->g, where)]), pond_word_units(word));
}

void pond_hole_make(const struct pond_ref *ref, uint32_t where, uint32_t segment, uint32_t units) {
    struct pond_segment *s = &ref->table[segment];
    uint32_t word = pond_load_32(&s->state), state = word & 255u;
    pond_segment_dead(s, units);
    /* A hole's links take the place of an entry's first bytes, which a view may still show: in a pinned segment it only dies. */
    if (POND_LIKELY((state == POND_SEGMENT_OPEN || state == POND_SEGMENT_SEALED) && !pond_segment_pinned(ref, segment)))
        push(ref, where, word >> 8 & 1u, units);
    else
        pond_entry_kill(ref, where);
}

/* `head`: of the list of its class. */
static inline void take_out(const struct pond_ref *ref, uint32_t where, struct pond_hole *hole, uint32_t units, uint32_t *head) {
    uint32_t link = hole->next;
    struct pond_hole *next = hole_at(ref, link);
    if (POND_LIKELY(*head == where)) {
        *head = next ? link : 0;
        if (next && next->prev == where) pond_store_32(&next->prev, 0);
    } else {
        struct pond_hole *prev = hole_at(ref, hole->prev);
        if (prev && prev->next == where) pond_store_32(&prev->next, next ? link : 0);
        if (next && next->prev == where) pond_store_32(&next->prev, prev ? hole->prev : 0);
    }
    /* Out of the list: dead, but no hole. ORDER hole-link (taker): see push(). */
    pond_store_release_64(&hole->word, pond_word_make(units, POND_ENTRY_DEAD, 0, 0, 0));
    POND_CRASHPOINT("hole.unlinked");
}

void pond_hole_unlink(const struct pond_ref *ref, uint32_t where) {
    uint32_t units, segment;
    struct pond_hole *hole = hole_of(ref, where, &units, &segment);
    if (hole) take_out(ref, where, hole, units, &ref->shard->hole_head[pond_segment_queue(&ref->table[segment])][pond_hole_class(units)]);
}

static inline int hole_fits(const struct pond_ref *ref, uint32_t have, uint32_t segment, uint32_t ttl_class, uint32_t units, int only_young,
                            uint64_t first_least_ms) {
    const struct pond_segment *s = &ref->table[segment];
    if (have < units || (have - units) * POND_UNIT_BYTES > POND_SLACK_BYTES_MAX - 64) return 0;
    uint32_t word = pond_load_32(&s->state), state = word & 255u;
    if ((state != POND_SEGMENT_OPEN && state != POND_SEGMENT_SEALED) || (word >> 16 & 255u) != ttl_class) return 0;
    if (s->expiry_first_ms < first_least_ms) return 0;
    if (only_young && !pond_segment_young(ref, segment)) return 0;
    return !pond_segment_pinned(ref, segment);
}

uint32_t pond_hole_take(const struct pond_ref *ref, uint32_t queue, uint32_t ttl_class, uint32_t units, int only_young,
                        uint64_t first_least_ms, uint32_t *allotted) {
    uint32_t first = pond_hole_class(units);
    for (uint32_t k = first; k <= first + POND_HOLE_CLASSES_UP && k < POND_HOLE_CLASSES; k++) {
        uint32_t *head = &ref->shard->hole_head[queue][k], where = *head;
        for (int tries = k == first ? HOLE_TRIES : 1; tries > 0 && where != 0; tries--) {
            uint32_t have, segment;
            struct pond_hole *hole = hole_of(ref, where, &have, &segment);
            if (!hole) break;
            if (hole_fits(ref, have, segment, ttl_class, units, only_young, first_least_ms)) {
                *allotted = have;
                take_out(ref, where, hole, have, head);
                return where;
            }
            where = hole->next;
        }
    }
    return 0;
}
