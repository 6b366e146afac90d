/* SPDX-License-Identifier: MIT */
/* The index: buckets of seven slots, two buckets a key.
 *
 * Two-choice hashing with one step of displacement (Pagh and Rodler's cuckoo hashing, in the form of MemC3, NSDI '13: the other bucket
 * follows from bucket and tag alone). An entry goes to its home if that has room; so at 93 % load four lookups of five touch one line.
 *
 * Changing a slot (holder of the shard's mutex):
 *   I1  the intent record says what will be changed, and the shard's counts afterwards: a death between I2 and I5 can be finished
 *   I2  a new entry away from home: home.spill + 1, before I3: a reader that misses in home looks on
 *   I3  the slot: one 64-bit store, release, after the entry's bytes
 *   I4  version + 1, release, after I3 and before any reuse of the old bytes
 *   I5  counts; an entry away from home that left: home.spill - 1; the intent is cleared
 * Moving an entry to its other bucket (no byte of it is touched):
 *   M1  intent   M2  to the other bucket: home.spill + 1   M3  the new slot   M4  home.version + 1, then the move log   M5  clear the old
 * slot M6  version + 1 of the old slot's bucket   M7  back home: home.spill - 1; the intent is cleared M4 tells a reader that missed the
 * entry in its home before M3 and in the other bucket after M5; M6 tells one that found it in the old slot and is still copying when a
 * later change, through the new slot, frees the bytes. Both are needed: tests/models/move.pml.
 *
 * Recovery looks at the slot: it holds the word after, or the word before, so counts and spill are set to what belongs to it, by
 * absolute values: a recovery that dies is simply done again. Versions are raised in either case, by release stores of the repairer's own.
 * Not chosen: overflow chains (a quarter more lines for the same load); linear probing into the next bucket (long runs at 90 %). */

#include "index.h"

#include "crashpoint.h"

#include <string.h>

#define LOAD_PERCENT_MAX 95u

static uint64_t *slot_of(const struct pond_ref *ref, uint32_t bucket, uint32_t slot) { return &ref->buckets[bucket].slot[slot]; }

/* ORDER version-raise (writer): after the slot's change, before the old bytes are reused. Pairs with (reader) in pond_read_valid(). */
static void raise_version(struct pond_bucket *bucket) { pond_store_release_32(&bucket->version, pond_load_32(&bucket->version) + 1); }

int pond_index_find_where(const struct pond_ref *ref, const struct pond_place *place, uint32_t where, struct pond_spot *spot) {
    struct pond_cursor cursor = pond_index_cursor(ref, place);
    while (pond_index_next(ref, place, &cursor, spot))
        if (pond_slot_where(spot->word) == where) return 1;
    return 0;
}

/* The first of them. An empty slot has an upper half of 0, and so has one whose tag happens to be 0. */
static int empty_slot(const struct pond_ref *ref, uint32_t bucket, struct pond_spot *spot) {
    for (unsigned mask = pond_candidates(&ref->buckets[bucket], 0); mask; mask &= mask - 1) {
        uint32_t i = (uint32_t)__builtin_ctz(mask);
        if (pond_load_64(slot_of(ref, bucket, i)) != 0) continue;
        *spot = (struct pond_spot){bucket, i, 0};
        return 1;
    }
    return 0;
}

/* ---- the intent record ---- */

/* The fields may change only after the previous intent's clearing, and `kind` only after the fields: a death in between leaves an intent
 * that is whole, or none. */
static struct pond_intent *intent_open(const struct pond_ref *ref) {
    pond_fence_store();
    return &ref->shard->intent;
}
static void intent_set(struct pond_intent *intent, enum pond_intent_kind kind) { pond_store_release_32(&intent->kind, kind); }
static void intent_clear(struct pond_intent *intent) { pond_store_release_32(&intent->kind, POND_INTENT_NONE); }

static void set_counts(const struct pond_ref *ref, uint64_t items, uint64_t bytes) {
    pond_store_64(&ref->shard->items, items);
    pond_store_64(&ref->shard->bytes, bytes);
}

static void set_spill(const struct pond_ref *ref, uint32_t bucket, uint32_t spill) {
    pond_store_release_16(&ref->buckets[bucket].spill, (uint16_t)spill);
}

enum change { INSERT, SWING, REMOVE };

/* I1 to I5. Compiled for each kind apart: what a kind does not do costs it nothing. */
static inline __attribute__((always_inline)) void change(const struct pond_ref *ref, const struct pond_spot *spot, uint64_t word,
                                                         uint64_t bytes, enum change kind) {
    struct pond_intent *intent = intent_open(ref);
    struct pond_bucket *bucket = &ref->buckets[spot->bucket];
    uint64_t items = ref->shard->items + (kind == INSERT ? 1 : kind == REMOVE ? UINT64_MAX : 0);
    uint32_t home = POND_NO_BUCKET, spill = 0, spill_after = 0;
    bytes += ref->shard->bytes;
    if (POND_UNLIKELY(kind != SWING && (spot->word | word) & POND_SLOT_AWAY)) {
        home = pond_other_bucket(ref->g, spot->bucket, pond_slot_tag(spot->word | word));
        spill = ref->buckets[home].spill;
        spill_after = kind == INSERT ? (spill < UINT16_MAX ? spill + 1 : spill) : spill > 0 && spill < UINT16_MAX ? spill - 1 : spill;
    }
    intent->bucket[0] = spot->bucket;
    intent->slot[0] = spot->slot;
    intent->before = spot->word;
    intent->after = word;
    intent->spill_bucket = home;
    intent->spill_before = spill;
    intent->spill_after = spill_after;
    intent->items = items;
    intent->bytes = bytes;
    intent_set(intent, POND_INTENT_SWING);
    POND_CRASHPOINT("index.intent");
    if (kind == INSERT && POND_UNLIKELY(home != POND_NO_BUCKET)) set_spill(ref, home, spill_after);
    POND_CRASHPOINT("index.spill_raised");
    /* ORDER slot-publish (writer): the entry's bytes before the slot that names them. Pairs with (reader) in pond_read_slot(). */
    pond_store_release_64(&bucket->slot[spot->slot], word);
    POND_CRASHPOINT("index.slot_stored");
    raise_version(bucket);
    POND_CRASHPOINT("index.version_raised");
    set_counts(ref, items, bytes);
    POND_CRASHPOINT("index.counted");
    if (kind == REMOVE && POND_UNLIKELY(home != POND_NO_BUCKET)) set_spill(ref, home, spill_after);
    intent_clear(intent);
    POND_CRASHPOINT("index.changed");
}

void pond_index_insert(const struct pond_ref *ref, const struct pond_place *place, const struct pond_spot *spot, uint32_t where,
                       uint64_t bytes) {
    struct pond_spot empty = {spot->bucket, spot->slot, 0};
    pond_hits_set(&ref->buckets[spot->bucket], spot->slot, 0);
    change(ref, &empty, pond_slot_make(place->tag, spot->bucket != place->home, where), bytes, INSERT);
}

void pond_index_swing(const struct pond_ref *ref, const struct pond_spot *spot, uint32_t where, uint64_t bytes) {
    change(ref, spot, (spot->word & ~UINT64_C(0xffffffff)) | where, bytes, SWING);
}

void pond_index_remove(const struct pond_ref *ref, const struct pond_spot *spot, uint64_t bytes) { change(ref, spot, 0, bytes, REMOVE); }

void pond_index_counter_begin(const struct pond_ref *ref, uint32_t where) {
    struct pond_intent *intent = intent_open(ref);
    intent->after = where;
    intent_set(intent, POND_INTENT_COUNTER);
    POND_CRASHPOINT("index.counter_intent");
}

void pond_index_counter_end(const struct pond_ref *ref) { intent_clear(&ref->shard->intent); }

/* ---- making room ---- */

/* ORDER move-log (writer): behind the store at the new place, before the old one is cleared: a scan that has passed the new bucket and
 * finds the old slot cleared goes back to it. Pairs with (scan) in follow_moves(). */
static void log_move(const struct pond_ref *ref, uint32_t bucket) {
    pond_store_32(&ref->shard->move_log[ref->shard->moves % POND_MOVE_LOG], bucket);
    pond_store_release_32(&ref->shard->moves, ref->shard->moves + 1);
}

/* M1 to M7: `from` goes to the empty slot `to` of the entry's other bucket. */
static void move(const struct pond_ref *ref, const struct pond_spot *from, const struct pond_spot *to) {
    struct pond_intent *intent = intent_open(ref);
    uint64_t word = from->word ^ POND_SLOT_AWAY;
    int leaves_home = (word & POND_SLOT_AWAY) != 0;
    uint32_t home = leaves_home ? from->bucket : to->bucket;
    uint32_t spill = ref->buckets[home].spill;
    uint32_t spill_after = leaves_home ? (spill < UINT16_MAX ? spill + 1 : spill) : spill > 0 && spill < UINT16_MAX ? spill - 1 : spill;
    intent->bucket[0] = from->bucket;
    intent->slot[0] = from->slot;
    intent->bucket[1] = to->bucket;
    intent->slot[1] = to->slot;
    intent->before = from->word;
    intent->after = word;
    intent->spill_bucket = home;
    intent->spill_before = spill;
    intent->spill_after = spill_after;
    intent_set(intent, POND_INTENT_MOVE);
    POND_CRASHPOINT("move.intent");
    if (leaves_home) set_spill(ref, home, spill_after);
    pond_hits_set(&ref->buckets[to->bucket], to->slot, pond_hits_of(&ref->buckets[from->bucket], from->slot));
    POND_CRASHPOINT("move.spill_raised");
    pond_store_release_64(slot_of(ref, to->bucket, to->slot), word);
    POND_CRASHPOINT("move.stored");
    raise_version(&ref->buckets[home]);
    POND_CRASHPOINT("move.home_raised");
    log_move(ref, to->bucket);
    POND_CRASHPOINT("move.logged");
    pond_store_release_64(slot_of(ref, from->bucket, from->slot), 0);
    POND_CRASHPOINT("move.cleared");
    raise_version(&ref->buckets[from->bucket]);
    POND_CRASHPOINT("move.raised");
    if (!leaves_home) set_spill(ref, home, spill_after);
    intent_clear(intent);
}

/* Moves one entry of a full bucket to its other bucket; `steps` 2: after one of that bucket's own has made room for it. The freed slot. */
static int displace(const struct pond_ref *ref, uint32_t bucket, int steps, struct pond_spot *spot) {
    for (uint32_t i = 0; i < POND_BUCKET_SLOTS; i++) {
        struct pond_spot from = {bucket, i, pond_load_64(slot_of(ref, bucket, i))}, to;
        uint32_t other = pond_other_bucket(ref->g, bucket, pond_slot_tag(from.word));
        if (other == bucket || !(steps == 1 ? empty_slot(ref, other, &to) : displace(ref, other, 1, &to))) continue;
        from.word = pond_load_64(slot_of(ref, bucket, i)); /* the second step may have gone round in a circle */
        if (from.word != 0) move(ref, &from, &to);
        *spot = (struct pond_spot){bucket, i, 0};
        return 1;
    }
    return 0;
}

int pond_index_room(const struct pond_ref *ref, const struct pond_place *place, struct pond_spot *spot) {
    int two = place->other != place->home;
    if (empty_slot(ref, place->home, spot)) return 1;
    if (two && empty_slot(ref, place->other, spot)) return 1;
    uint64_t slots = (uint64_t)ref->g->bucket_count * POND_BUCKET_SLOTS;
    if (ref->shard->items * 100 >= slots * LOAD_PERCENT_MAX) return 0; /* a search among full buckets would be long and in vain */
    for (int steps = 1; steps <= 2; steps++)
        if (displace(ref, place->home, steps, spot) || (two && displace(ref, place->other, steps, spot))) return 1;
    return 0;
}

/* ---- emptying ---- */

void pond_index_clear(const struct pond_ref *ref) {
    struct pond_intent *intent = intent_open(ref);
    intent_set(intent, POND_INTENT_CLEAR);
    POND_CRASHPOINT("clear.intent");
    for (uint32_t b = 0; b < ref->g->bucket_count; b++) {
        for (uint32_t i = 0; i < POND_BUCKET_SLOTS; i++)
            if (pond_load_64(slot_of(ref, b, i)) != 0) pond_store_64(slot_of(ref, b, i), 0);
        raise_version(&ref->buckets[b]);
        set_spill(ref, b, 0);
        if (b == ref->g->bucket_count / 2) POND_CRASHPOINT("clear.half");
    }
    set_counts(ref, 0, 0);
    POND_CRASHPOINT("clear.emptied");
}

void pond_index_clear_end(const struct pond_ref *ref) { intent_clear(&ref->shard->intent); }

/* ---- recovery ---- */

/* The intent is data from the file: a slot that does not exist is not touched. */
static int intent_sane(const struct pond_ref *ref, const struct pond_intent *intent) {
    uint32_t n = ref->g->bucket_count;
    if (intent->bucket[0] >= n || intent->slot[0] >= POND_BUCKET_SLOTS) return 0;
    if (intent->spill_bucket != POND_NO_BUCKET && intent->spill_bucket >= n) return 0;
    return intent->kind == POND_INTENT_SWING || (intent->bucket[1] < n && intent->slot[1] < POND_BUCKET_SLOTS && intent->spill_bucket < n);
}

static void recover_swing(const struct pond_ref *ref, const struct pond_intent *intent) {
    int done = pond_load_64(slot_of(ref, intent->bucket[0], intent->slot[0])) == intent->after;
    raise_version(&ref->buckets[intent->bucket[0]]);
    POND_CRASHPOINT("recover.raised");
    if (done) set_counts(ref, intent->items, intent->bytes);
    if (intent->spill_bucket != POND_NO_BUCKET) set_spill(ref, intent->spill_bucket, done ? intent->spill_after : intent->spill_before);
}

/* The entry is at the old place, at both, or at the new one: it ends at exactly one. */
static void recover_move(const struct pond_ref *ref, const struct pond_intent *intent) {
    int arrived = pond_load_64(slot_of(ref, intent->bucket[1], intent->slot[1])) == intent->after;
    raise_version(&ref->buckets[intent->bucket[0]]);
    raise_version(&ref->buckets[intent->bucket[1]]);
    POND_CRASHPOINT("recover.move_raised");
    if (arrived) {
        log_move(ref, intent->bucket[1]);
        pond_store_release_64(slot_of(ref, intent->bucket[0], intent->slot[0]), 0);
        POND_CRASHPOINT("recover.move_cleared");
        raise_version(&ref->buckets[intent->bucket[0]]);
    }
    set_spill(ref, intent->spill_bucket, arrived ? intent->spill_after : intent->spill_before);
}

enum pond_index_unfinished pond_index_recover(const struct pond_ref *ref, uint32_t *counter) {
    struct pond_intent intent;
    memcpy(&intent, &ref->shard->intent, sizeof intent);
    *counter = (uint32_t)intent.after;
    if (intent.kind == POND_INTENT_CLEAR) return POND_UNFINISHED_CLEAR;
    if (intent.kind == POND_INTENT_COUNTER) return POND_UNFINISHED_COUNTER;
    if ((intent.kind == POND_INTENT_SWING || intent.kind == POND_INTENT_MOVE) && intent_sane(ref, &intent)) {
        if (intent.kind == POND_INTENT_SWING)
            recover_swing(ref, &intent);
        else
            recover_move(ref, &intent);
    }
    POND_CRASHPOINT("recover.intent_done");
    intent_clear(&ref->shard->intent);
    return POND_UNFINISHED_NOTHING;
}
