/* SPDX-License-Identifier: MIT */
/* Checking a shard: everything that the file says twice must say the same.
 *
 *   K0 no transaction is left unfinished
 *   K1 segments: known states; entries can be stepped over from start to tail; a map of where entries begin is made
 *   K2 slots: each names the beginning of a live entry whose key belongs to this bucket, with this tag, and which is intact; a root's
 *   chunks
 *      are there, intact and sum up; no key is named twice, no entry by two slots
 *   K3 counts: items, bytes, every bucket's spill; queues and free list against the segments' states; what eviction has learnt, its range
 * Mending removes slots that name nothing whole, and makes again what is derived. What cannot be stepped over is emptied with its
 * segment. */

#include "check.h"

#include "entry.h"
#include "evict.h"
#include "index.h"
#include "redo.h"
#include "root.h"
#include "segment.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct checker {
    const struct pond_ref *ref;
    unsigned flags;
    void (*report)(void *arg, const char *sentence);
    void *arg;
    struct millpond_check *sums;
    unsigned char *begins; /* a bit for each unit of the shard: an entry or hole begins here */
    unsigned char *named;  /* a slot names it */
    uint16_t *spills;      /* recounted */
    uint64_t items, bytes;
};

static int bit(const unsigned char *bits, uint32_t at) { return bits[at / 8] >> at % 8 & 1; }
static void set_bit(unsigned char *bits, uint32_t at) { bits[at / 8] = (unsigned char)(bits[at / 8] | 1u << at % 8); }

__attribute__((format(printf, 3, 4))) static int damage(struct checker *c, int mended, const char *format, ...) {
    char sentence[256];
    int at = snprintf(sentence, sizeof sentence, "shard %u: ", c->ref->number);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(sentence + at, sizeof sentence - (size_t)at, format, arguments);
    va_end(arguments);
    c->sums->damages++;
    if (mended) c->sums->repaired++;
    if (c->report) c->report(c->arg, sentence);
    return 0;
}

static int mending(const struct checker *c) { return (c->flags & MILLPOND_CHECK_REPAIR) != 0; }

/* ---- K1 ---- */

static void check_segment(struct checker *c, uint32_t i) {
    const struct pond_geometry *g = c->ref->g;
    struct pond_segment *s = &c->ref->table[i];
    uint32_t word = pond_load_32(&s->state), state = word & 255u;
    if (state > POND_SEGMENT_VICTIM || (word >> 8 & 255u) >= POND_QUEUES || word >> 16 >= g->ttl_classes) {
        if (mending(c)) pond_store_32(&s->state, pond_segment_word(POND_SEGMENT_SEALED, POND_SMALL, 0));
        damage(c, mending(c), "segment %u has an unknown state", i);
        state = POND_SEGMENT_SEALED;
    }
    if (s->tail_units > g->segment_units) {
        if (mending(c)) pond_store_32(&s->tail_units, 0);
        damage(c, mending(c), "segment %u has a tail beyond its end", i);
    }
    if (state == POND_SEGMENT_FREE) return;
    uint32_t start = pond_segment_start(g, i), tail = pond_segment_tail(g, s), at = 0;
    while (at < tail) {
        struct pond_decoded d;
        const unsigned char *bytes = pond_ref_at(c->ref, start + at);
        uint64_t w = pond_load_64((const uint64_t *)(const void *)bytes);
        int dead = (pond_word_flags(w) & POND_ENTRY_DEAD) != 0;
        d.units = pond_word_units(w);
        if (dead ? d.units < 2 || d.units > tail - at : !pond_entry_decode(bytes, tail - at, &d)) {
            if (mending(c)) pond_store_32(&s->tail_units, at); /* what lies behind is not found again; its slots are removed in K2 */
            damage(c, mending(c), "segment %u cannot be walked beyond its unit %u of %u", i, at, tail);
            return;
        }
        if (!dead) set_bit(c->begins, start + at);
        at += d.units;
    }
}

/* ---- K2 ---- */

static uint32_t end_of_committed(const struct checker *c, uint32_t where) {
    const struct pond_geometry *g = c->ref->g;
    uint32_t segment = pond_segment_of(g, where);
    return pond_segment_start(g, segment) + pond_segment_tail(g, &c->ref->table[segment]);
}

static const char *wrong_chunks(struct checker *c, const unsigned char *at, const struct pond_decoded *d, uint64_t hash) {
    uint64_t sum = 0;
    for (uint32_t i = 0, n = pond_root_count(at, d); i < n; i++) {
        struct pond_decoded chunk;
        uint32_t where = pond_root_chunk(at, d, i);
        if (!pond_chunk_at(c->ref, where, hash, i, &chunk) || !bit(c->begins, where)) return "one of its chunks is missing";
        const unsigned char *chunk_at = pond_ref_at(c->ref, where);
        uint64_t chunk_hash = pond_hash(chunk_at + chunk.key_off, chunk.key_bytes, c->ref->g->hash_seed);
        if (!pond_entry_intact(chunk_at, &chunk, chunk_hash)) return "one of its chunks has a wrong checksum";
        sum += chunk.value_bytes;
    }
    return sum == pond_root_bytes(at, d) ? NULL : "its chunks are too few";
}

/* Is this key in an earlier slot of its two buckets? Without a look at the spill, which may be what is damaged. */
static int named_before(const struct checker *c, const struct pond_place *place, const struct pond_spot *spot, const unsigned char *key,
                        uint32_t key_bytes) {
    for (uint32_t i = 0; i < (place->other == place->home ? 1 : 2) * POND_BUCKET_SLOTS; i++) {
        uint32_t b = i < POND_BUCKET_SLOTS ? place->home : place->other, slot = i % POND_BUCKET_SLOTS;
        if (b == spot->bucket && slot == spot->slot) return 0;
        uint64_t word = pond_load_64(&c->ref->buckets[b].slot[slot]);
        uint32_t where = pond_slot_where(word);
        struct pond_decoded d;
        if (pond_slot_tag(word) != place->tag || !pond_where_valid(c->ref->g, where) || !bit(c->begins, where)) continue;
        const unsigned char *at = pond_ref_at(c->ref, where);
        if (pond_entry_decode(at, pond_units_left(c->ref->g, where), &d) && d.key_bytes == key_bytes && !(d.flags & POND_ENTRY_CHUNK) &&
            memcmp(at + d.key_off, key, key_bytes) == 0)
            return 1;
    }
    return 0;
}

/* What is wrong with the entry that a slot names, or NULL. */
static const char *wrong_entry(struct checker *c, const struct pond_spot *spot, uint64_t *weight, uint32_t *home) {
    const struct pond_ref *ref = c->ref;
    uint32_t where = pond_slot_where(spot->word);
    struct pond_decoded d;
    if (!pond_where_valid(ref->g, where)) return "it points outside the segments";
    if (!bit(c->begins, where)) return "it points where no entry begins";
    if (bit(c->named, where)) return "another slot names the same entry";
    const unsigned char *at = pond_ref_at(ref, where);
    uint32_t end = end_of_committed(c, where);
    if (end <= where || !pond_entry_decode(at, end - where, &d) || d.flags & POND_ENTRY_CHUNK) return "it points to no whole entry";
    uint64_t hash = pond_hash(at + d.key_off, d.key_bytes, ref->g->hash_seed);
    struct pond_place place = pond_place_of(ref->g, hash);
    int away = (spot->word & POND_SLOT_AWAY) != 0;
    if (pond_shard_of(ref->g, hash) != ref->number || (away ? place.other : place.home) != spot->bucket ||
        place.tag != pond_slot_tag(spot->word))
        return "its key does not belong there";
    if (!pond_entry_intact(at, &d, hash)) return "the entry has a wrong checksum";
    if (d.flags & POND_ENTRY_TTL && pond_expiry_unpack(d.expiry) == 1) return "the entry has a damaged expiry";
    const char *wrong = d.flags & POND_ENTRY_ROOT ? wrong_chunks(c, at, &d, hash) : NULL;
    if (wrong) return wrong;
    if (named_before(c, &place, spot, at + d.key_off, d.key_bytes)) return "its key is there twice";
    set_bit(c->named, where);
    *weight = pond_root_weight(at, &d);
    *home = away ? place.home : POND_NO_BUCKET;
    return NULL;
}

static void check_bucket(struct checker *c, uint32_t b) {
    struct pond_bucket *bucket = &c->ref->buckets[b];
    for (uint32_t i = 0; i < POND_BUCKET_SLOTS; i++) {
        struct pond_spot spot = {b, i, pond_load_64(&bucket->slot[i])};
        uint64_t weight = 0;
        uint32_t home = POND_NO_BUCKET;
        if (spot.word == 0) continue;
        const char *wrong = wrong_entry(c, &spot, &weight, &home);
        if (wrong) {
            if (mending(c)) {
                pond_store_release_64(&bucket->slot[i], 0);
                pond_store_release_32(&bucket->version, bucket->version + 1);
            }
            damage(c, mending(c), "bucket %u, slot %u: %s", b, i, wrong);
            continue;
        }
        c->items++;
        c->bytes += weight;
        if (home != POND_NO_BUCKET && c->spills[home] < UINT16_MAX) c->spills[home]++;
    }
}

/* ---- K3 ---- */

static void check_counts(struct checker *c) {
    struct pond_shard *shard = c->ref->shard;
    if (shard->items != c->items)
        damage(c, mending(c), "it counts %llu items and has %llu", (unsigned long long)shard->items, (unsigned long long)c->items);
    if (shard->bytes != c->bytes)
        damage(c, mending(c), "it counts %llu bytes and has %llu", (unsigned long long)shard->bytes, (unsigned long long)c->bytes);
    for (uint32_t b = 0; b < c->ref->g->bucket_count; b++) {
        uint16_t spill = pond_load_16(&c->ref->buckets[b].spill);
        if (spill == c->spills[b] || spill == UINT16_MAX) continue;
        if (mending(c)) pond_store_16(&c->ref->buckets[b].spill, c->spills[b]);
        damage(c, mending(c), "bucket %u counts %u entries away from it and has %u", b, spill, c->spills[b]);
    }
    if (mending(c)) {
        shard->items = c->items;
        shard->bytes = c->bytes;
    }
}

static void check_list(struct checker *c, uint32_t head, uint32_t said, uint32_t state, uint32_t queue, const char *name) {
    uint32_t n = 0, link = head;
    while (link >= 1 && link <= c->ref->g->segment_count && n <= c->ref->g->segment_count) {
        const struct pond_segment *s = &c->ref->table[link - 1];
        if (pond_segment_state(s) != state || (state == POND_SEGMENT_SEALED && pond_segment_queue(s) != queue)) {
            damage(c, mending(c), "segment %u is in the %s list and does not belong there", link - 1, name);
            return;
        }
        link = s->next;
        n++;
    }
    uint32_t have = 0;
    for (uint32_t i = 0; i < c->ref->g->segment_count; i++) {
        const struct pond_segment *s = &c->ref->table[i];
        if (pond_segment_state(s) == state && (state == POND_SEGMENT_FREE || pond_segment_queue(s) == queue)) have++;
    }
    if (link != 0 || n != said || n != have)
        damage(c, mending(c), "the %s list has %u segments, should have %u and says %u", name, n, have, said);
}

/* Segments that no list, walk or open place knows would stay unused until a recovery. */
static void check_lost(struct checker *c) {
    const struct pond_shard *shard = c->ref->shard;
    for (uint32_t i = 0; i < c->ref->g->segment_count; i++) {
        const struct pond_segment *s = &c->ref->table[i];
        uint32_t state = pond_segment_state(s);
        if ((state == POND_SEGMENT_VICTIM && shard->walk.victim != i + 1) ||
            (state == POND_SEGMENT_OPEN && shard->open[pond_segment_queue(s)][pond_segment_class(s)] != i + 1))
            damage(c, mending(c), "segment %u is in use and nothing knows it", i);
    }
}

/* Whoever takes the mutex finishes what a dead holder left: behind a mutex that was given back there is no transaction. */
static void check_redo(struct checker *c) {
    if (pond_redo_pending(c->ref) == 0) return;
    if (mending(c)) pond_redo_recover(c->ref);
    damage(c, mending(c), "it takes part in a transaction that is over");
}

static void check_lists(struct checker *c) {
    const struct pond_shard *shard = c->ref->shard;
    check_lost(c);
    check_list(c, shard->queue_head[POND_SMALL], shard->queue_count[POND_SMALL], POND_SEGMENT_SEALED, POND_SMALL, "small");
    check_list(c, shard->queue_head[POND_MAIN], shard->queue_count[POND_MAIN], POND_SEGMENT_SEALED, POND_MAIN, "main");
    check_list(c, shard->free_head, shard->free_count, POND_SEGMENT_FREE, 0, "free");
}

static void check_share(struct checker *c) {
    if (pond_evict_share_sound(c->ref)) return;
    if (mending(c)) pond_store_32(&c->ref->shard->small_share, 0);
    damage(c, mending(c), "the share of its small queue is out of range");
}

int pond_check_shard(const struct pond_ref *ref, unsigned flags, void (*report)(void *arg, const char *sentence), void *arg,
                     struct millpond_check *sums) {
    struct checker c = {.ref = ref, .flags = flags, .report = report, .arg = arg, .sums = sums};
    uint64_t before = sums->damages;
    c.begins = calloc(1, ref->g->end_unit / 8 + 1);
    c.named = calloc(1, ref->g->end_unit / 8 + 1);
    c.spills = calloc(ref->g->bucket_count, sizeof *c.spills);
    int failed = c.begins && c.named && c.spills ? 0 : ENOMEM;
    if (!failed) {
        check_redo(&c);
        for (uint32_t i = 0; i < ref->g->segment_count; i++) check_segment(&c, i);
        for (uint32_t b = 0; b < ref->g->bucket_count; b++) check_bucket(&c, b);
        check_counts(&c);
        check_lists(&c);
        check_share(&c);
        sums->entries += c.items;
        sums->bytes += c.bytes;
        if (mending(&c) && sums->damages > before) pond_segment_rebuild(ref);
    }
    free(c.begins);
    free(c.named);
    free(c.spills);
    return failed;
}
