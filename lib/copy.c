/* SPDX-License-Identifier: MIT */
/* Everything that lives in one file, into another one with another geometry.
 *
 * Segment by segment, in the order of the queues: the small queues of all shards first, then the main ones, each from its oldest segment to
 * its newest and then the open ones. So what has been proved hot is the newest in the new file, and when that is smaller, it is what stays.
 * Entries keep queue, hit counter, expiry and version, and the hash of their key: the new file has the old one's seed. An entry that is not
 * intact is left behind: its copy would get a checksum that holds.
 *
 * Groups: generations go along where the new file has as many words for them or more, else all begin anew. Whoever invalidates holds a
 * mutex, so none does meanwhile.
 *
 * Versions: the numbers of every new shard begin above the last one of all old shards, so a version that a caller remembers never names
 * another value. */

#include "copy.h"

#include "crashpoint.h"
#include "entry.h"
#include "expire.h"
#include "flight.h"
#include "group.h"
#include "index.h"
#include "large.h"
#include "publish.h"
#include "reader.h"
#include "recycle.h"
#include "root.h"
#include "segment.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct place_in_queue {
    uint64_t order;
    uint32_t segment;
};

struct copying {
    struct pond_map *from, *to;
    uint64_t now_ms;
    struct place_in_queue *segments; /* of one queue, in order */
    unsigned char *value;
    size_t room;
};

/* An entry that lives. */
struct entry {
    const unsigned char *at;
    struct pond_decoded d;
    const void *value;
    uint64_t value_bytes, hash;
    uint32_t queue;
    unsigned hits;
};

/* ---- out of the old file ---- */

/* The chunks of a value, one behind the other. 1; 0: not whole; -1: no memory. */
static int gather(struct copying *c, const struct pond_ref *ref, struct entry *e) {
    uint64_t bytes = pond_root_bytes(e->at, &e->d), done = 0;
    if (bytes == 0 || bytes > ref->g->max_item_bytes) return 0; /* an empty value has no chunks */
    if (bytes > c->room) {
        unsigned char *larger = realloc(c->value, bytes);
        if (!larger) return -1;
        c->value = larger;
        c->room = bytes;
    }
    for (uint32_t i = 0, n = pond_root_count(e->at, &e->d); i < n; i++) {
        struct pond_decoded d;
        uint32_t where = pond_root_chunk(e->at, &e->d, i);
        if (!pond_chunk_at(ref, where, e->hash, i, &d) || d.value_bytes > bytes - done) return 0;
        const unsigned char *at = pond_ref_at(ref, where);
        if (!pond_entry_intact(at, &d, pond_hash(at + d.key_off, d.key_bytes, ref->g->hash_seed))) return 0;
        memcpy(c->value + done, at + d.value_off, d.value_bytes);
        done += d.value_bytes;
    }
    e->value = c->value;
    e->value_bytes = bytes;
    return done == bytes;
}

/* Is this an entry that lives? As gather(). */
static int take(struct copying *c, const struct pond_ref *ref, uint32_t where, struct entry *e) {
    struct pond_spot spot;
    if (e->d.flags & (POND_ENTRY_DEAD | POND_ENTRY_CHUNK) || pond_life(c->from, e->at, &e->d, c->now_ms) >= POND_OVER) return 0;
    e->hash = pond_hash(e->at + e->d.key_off, e->d.key_bytes, ref->g->hash_seed);
    struct pond_place place = pond_place_of(ref->g, e->hash);
    if (pond_shard_of(ref->g, e->hash) != ref->number || !pond_index_find_where(ref, &place, where, &spot)) return 0;
    if (!pond_entry_intact(e->at, &e->d, e->hash)) return 0;
    e->hits = pond_hits_of(&ref->buckets[spot.bucket], spot.slot);
    e->value = e->at + e->d.value_off;
    e->value_bytes = e->d.value_bytes;
    return e->d.flags & POND_ENTRY_ROOT ? gather(c, ref, e) : 1;
}

/* ---- into the new one ---- */

/* Room, and the bytes. 0 when the file has none for it. */
static int write_entry(const struct pond_ref *ref, struct pond_content *content, const struct entry *e, struct pond_room *room) {
    const struct pond_old none = {0};
    struct pond_paid paid = {0};
    uint32_t units = pond_entry_units(content);
    if (!pond_large_is(ref->g, units, e->value_bytes)) {
        if (units > ref->g->entry_units_max) return 0;
        for (;;) {
            pond_recycle_step(ref, units, &paid);
            if (pond_publish_room(ref, room, units, 1)) break;
            if (!pond_recycle_force(ref, &paid)) return 0;
        }
        pond_room_put(ref, room, content);
        return 1;
    }
    if (!pond_large_fits(ref->g, content->key_bytes, e->value_bytes)) return 0;
    pond_recycle_step(ref, e->value_bytes / POND_UNIT_BYTES, &paid);
    while (ref->shard->free_count < pond_large_segments(ref->g, content->key_bytes, e->value_bytes))
        if (!pond_recycle_force(ref, &paid)) return 0;
    struct pond_root *list = pond_large_list(ref->g, e->value_bytes);
    if (!list) return 0;
    int done = pond_publish_write_large(ref, &none, room, content, e->value, e->value_bytes, list);
    free(list);
    return done;
}

static void put(struct copying *c, const struct entry *e) {
    const struct pond_geometry *g = &c->to->geometry;
    struct pond_content content = {.key = e->at + e->d.key_off,
                                   .value = e->value,
                                   .key_bytes = e->d.key_bytes,
                                   .value_bytes = e->value_bytes > UINT32_MAX ? UINT32_MAX : (uint32_t)e->value_bytes,
                                   .hash = e->hash,
                                   .flags = e->d.flags & ~(POND_ENTRY_WIDE | POND_ENTRY_ROOT),
                                   .sequence = e->d.sequence,
                                   .expiry = e->d.expiry};
    if (e->value_bytes > g->max_item_bytes) return;
    if (e->d.flags & POND_ENTRY_GROUP) content.stamp = pond_group_stamp(c->to, pond_stamp_number(pond_entry_stamp(e->at, &e->d)));
    struct pond_ref ref = pond_ref_of(c->to, pond_shard_of(g, content.hash));
    struct pond_place place = pond_place_of(g, content.hash);
    uint64_t end = content.flags & POND_ENTRY_TTL ? pond_expiry_unpack(content.expiry) : POND_EXPIRY_NEVER;
    uint64_t ttl_ms = end == POND_EXPIRY_NEVER ? 0 : end > c->now_ms ? end - c->now_ms : 1;
    struct pond_room room = pond_room_for(g, e->queue, ttl_ms, content.expiry);
    const struct pond_old none = {0};
    struct pond_spot spot;
    if (!write_entry(&ref, &content, e, &room)) return;
    pond_publish_entry(&ref, &place, &none, room.where, e->d.key_bytes + e->value_bytes);
    if (pond_index_find_where(&ref, &place, room.where, &spot)) pond_hits_set(&ref.buckets[spot.bucket], spot.slot, e->hits);
}

/* ---- in order ---- */

static int by_order(const void *a, const void *b) {
    uint64_t x = ((const struct place_in_queue *)a)->order, y = ((const struct place_in_queue *)b)->order;
    return (x > y) - (x < y);
}

static uint32_t segments_of(struct copying *c, const struct pond_ref *ref, uint32_t queue) {
    uint32_t n = 0;
    for (uint32_t i = 0; i < ref->g->segment_count; i++) {
        const struct pond_segment *s = &ref->table[i];
        uint32_t state = pond_segment_state(s);
        if (state == POND_SEGMENT_FREE || pond_segment_queue(s) != queue) continue;
        c->segments[n++] = (struct place_in_queue){state == POND_SEGMENT_OPEN ? UINT64_MAX : s->order, i};
    }
    qsort(c->segments, n, sizeof *c->segments, by_order);
    return n;
}

static int copy_segment(struct copying *c, const struct pond_ref *ref, uint32_t segment, uint32_t queue) {
    uint32_t start = pond_segment_start(ref->g, segment), tail = pond_segment_tail(ref->g, &ref->table[segment]);
    for (uint32_t at = 0; at < tail;) {
        struct entry e = {.at = pond_ref_at(ref, start + at), .queue = queue};
        uint64_t word = pond_load_64((const uint64_t *)(const void *)e.at);
        uint32_t units = pond_word_units(word);
        if (units < 2 || units > tail - at) return 0; /* damaged: what lies behind is not found */
        if (!(pond_word_flags(word) & POND_ENTRY_DEAD) && pond_entry_decode(e.at, tail - at, &e.d)) {
            int taken = take(c, ref, start + at, &e);
            if (taken < 0) return ENOMEM;
            if (taken) put(c, &e);
        }
        at += units;
    }
    return 0;
}

static int copy_queue(struct copying *c, uint32_t queue) {
    for (uint32_t i = 0; i < c->from->geometry.shard_count; i++) {
        struct pond_ref ref = pond_ref_of(c->from, i);
        uint32_t n = segments_of(c, &ref, queue);
        for (uint32_t k = 0; k < n; k++)
            if (copy_segment(c, &ref, c->segments[k].segment, queue) != 0) return ENOMEM;
        POND_CRASHPOINT("resize.copying");
    }
    return 0;
}

/* ---- what belongs to the file ---- */

static void copy_clock(struct copying *c) {
    c->to->living->clock_high_ms = pond_load_64(&c->from->living->clock_high_ms);
    c->to->living->clock_skew_ms = pond_load_64(&c->from->living->clock_skew_ms);
    c->to->living->agent_epoch = pond_load_64(&c->from->living->agent_epoch);
    c->to->living->agent_stale_ms = pond_load_64(&c->from->living->agent_stale_ms);
    c->to->living->agent_until_ms = pond_load_64(&c->from->living->agent_until_ms);
    c->to->own_skew_ms = c->from->own_skew_ms;
    c->now_ms = pond_clock_read(c->from);
}

static void copy_sequences(struct copying *c) {
    uint32_t most = 0;
    for (uint32_t i = 0; i < c->from->geometry.shard_count; i++) {
        struct pond_ref ref = pond_ref_of(c->from, i);
        if (ref.shard->sequence > most) most = ref.shard->sequence;
    }
    for (uint32_t i = 0; i < c->to->geometry.shard_count; i++) {
        struct pond_ref ref = pond_ref_of(c->to, i);
        ref.shard->sequence = most;
    }
}

/* Figures go on: those of all old shards count as the first new one's. */
static void copy_figures(struct copying *c) {
    struct pond_living *living = c->to->living;
    uint64_t used;
    struct pond_ref first = pond_ref_of(c->to, 0);
    struct pond_shard_counters *sums = &first.shard->counters;
    pond_reader_sum(c->from, &living->spare_hits, &living->spare_misses, &living->spare_retries, &living->spare_gave_up, &used);
    living->warm_starts = c->from->living->warm_starts;
    living->cold_starts = c->from->living->cold_starts;
    for (uint32_t i = 0; i < c->from->geometry.shard_count; i++) {
        struct pond_ref ref = pond_ref_of(c->from, i);
        const uint64_t *from = (const uint64_t *)(const void *)&ref.shard->counters;
        uint64_t *to = (uint64_t *)(void *)sums;
        struct pond_shard_counters before = *sums;
        for (size_t k = 0; k < sizeof *sums / sizeof *to; k++) to[k] += pond_load_64(&from[k]);
        const struct pond_shard_counters *old = &ref.shard->counters;
        sums->steps_max = before.steps_max > old->steps_max ? before.steps_max : old->steps_max;
        sums->step_bytes_max = before.step_bytes_max > old->step_bytes_max ? before.step_bytes_max : old->step_bytes_max;
    }
}

int pond_copy_all(struct pond_map *from, struct pond_map *to) {
    struct copying c = {.from = from, .to = to, .segments = calloc(from->geometry.segment_count, sizeof *c.segments)};
    if (!c.segments) return ENOMEM;
    copy_clock(&c);
    copy_sequences(&c);
    pond_group_copy(from, to);
    int failed = copy_queue(&c, POND_SMALL);
    if (!failed) failed = copy_queue(&c, POND_MAIN);
    pond_flight_carry(from, to);
    copy_figures(&c);
    free(c.value);
    free(c.segments);
    return failed;
}
