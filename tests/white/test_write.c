/* SPDX-License-Identifier: MIT */
/* lib/write.c: an entry is written where it will probably stay, before that is known. What comes of a guess that was wrong. */

#include "white.h"

enum { VALUE_BYTES = 100 };

static struct white *w;
static struct pond_ref ref;

static void begin(void) {
    w = white_new(&(struct white_shape){.size_bytes = 4 << 20, .segment_bytes = 16 << 10});
    ref = pond_ref_of(&w->map, 0);
}
static void end(void) { white_free(w); }

TestSuite(write, .init = begin, .fini = end);

static struct pond_place place_of(uint64_t key) {
    char text[24];
    struct pond_key k = white_key(w, key, text);
    return pond_place_of(ref.g, k.hash);
}

/* Where a key's entry is, 0 for none. All entries are at home: the pond is nearly empty. */
static uint32_t where_of(uint64_t key) {
    struct pond_place place = place_of(key);
    unsigned mask = pond_candidates(&ref.buckets[place.home], place.tag);
    return mask ? pond_slot_where(ref.buckets[place.home].slot[__builtin_ctz(mask)]) : 0;
}

/* A slot that belongs to a key that is not there, and names something else: the first of its bucket, so that it is what is guessed. */
static uint64_t *plant(uint64_t key, uint32_t where) {
    struct pond_place place = place_of(key);
    uint64_t *slot = &ref.buckets[place.home].slot[0];
    cr_assert_eq(*slot, 0, "another key is better: something lives in its bucket");
    *slot = pond_slot_make(place.tag, 0, where);
    return slot;
}

/* Key 1 has been overwritten: one hole of its size, in the young half of its queue. The next key is not taken to be new. */
static uint32_t one_hole(void) {
    cr_assert_eq(white_put(w, 1, 0, VALUE_BYTES, 0), MILLPOND_OK);
    uint32_t hole = where_of(1);
    cr_assert_eq(white_put(w, 1, 1, VALUE_BYTES, 0), MILLPOND_OK);
    cr_assert_neq(where_of(1), hole);
    return hole;
}

Test(write, an_overwrite_takes_the_hole_that_the_one_before_left) {
    uint32_t hole = one_hole(), second = where_of(1);
    cr_assert_eq(white_put(w, 1, 2, VALUE_BYTES, 0), MILLPOND_OK);
    cr_assert_eq(where_of(1), hole);
    cr_assert_eq(white_put(w, 1, 3, VALUE_BYTES, 0), MILLPOND_OK);
    cr_assert_eq(where_of(1), second);
    cr_assert_eq(ref.shard->counters.hole_hits, 2);
    cr_assert_eq(white_expect(w, 1, 3, VALUE_BYTES), MILLPOND_OK);
    white_require_whole(&ref);
}

/* The tag is that of another key's entry: the hole that was filled for an overwrite is one again, and the new key may take it. */
Test(write, a_hole_that_was_filled_on_a_wrong_guess_is_one_again) {
    uint32_t hole = one_hole();
    uint64_t *planted = plant(2, where_of(1));
    cr_assert_eq(white_put(w, 2, 7, VALUE_BYTES, 0), MILLPOND_OK);
    cr_assert_neq(*planted, 0, "the other key's entry is not this one's to overwrite");
    *planted = 0;
    cr_assert_eq(where_of(2), hole);
    cr_assert_eq(white_expect(w, 2, 7, VALUE_BYTES), MILLPOND_OK);
    cr_assert_eq(white_expect(w, 1, 1, VALUE_BYTES), MILLPOND_OK);
    white_require_whole(&ref);
}

static uint32_t queue_of(uint32_t where) { return pond_segment_queue(&ref.table[pond_segment_of(ref.g, where)]); }

/* A new key goes to the small queue, wherever that lies for which it was taken. */
Test(write, a_new_key_stays_out_of_the_queue_of_a_wrong_guess) {
    cr_assert_eq(white_put(w, 1, 0, VALUE_BYTES, 0), MILLPOND_OK);
    uint32_t hole = where_of(1), segment = pond_segment_of(ref.g, hole);
    pond_segment_seal(&ref, segment);
    pond_segment_begin_victim(&ref, segment);
    pond_segment_requeue(&ref, segment, POND_MAIN);
    cr_assert_eq(white_put(w, 1, 1, VALUE_BYTES, 0), MILLPOND_OK);
    cr_assert_eq(queue_of(where_of(1)), POND_MAIN);
    uint64_t *planted = plant(2, where_of(1));
    cr_assert_eq(white_put(w, 2, 7, VALUE_BYTES, 0), MILLPOND_OK);
    *planted = 0;
    cr_assert_eq(queue_of(where_of(2)), POND_SMALL);
    cr_assert_eq(white_put(w, 1, 2, VALUE_BYTES, 0), MILLPOND_OK);
    cr_assert_eq(where_of(1), hole, "which was given back");
    white_require_whole(&ref);
}

/* The key was deleted after the guess, or the file is damaged: the hole that would be filled is what the guess names. */
Test(write, a_hole_that_a_slot_names_is_not_filled_for_it) {
    uint32_t hole = one_hole();
    uint64_t *planted = plant(2, hole);
    cr_assert_eq(white_put(w, 2, 7, VALUE_BYTES, 0), MILLPOND_OK);
    *planted = 0;
    cr_assert_eq(white_expect(w, 2, 7, VALUE_BYTES), MILLPOND_OK);
    white_require_whole(&ref);
}

/* A condition is looked at before anything is taken. */
Test(write, a_refused_set_takes_no_hole) {
    uint32_t hole = one_hole();
    char text[24];
    struct pond_key key = white_key(w, 1, text);
    struct millpond_set add = {.when = MILLPOND_IF_ABSENT}, cas = {.when = MILLPOND_IF_VERSION, .version = 1000};
    cr_assert_eq(pond_write_set(&w->map, 1000, &key, "x", 1, &add), MILLPOND_EXISTS);
    unsigned char value[VALUE_BYTES] = {0};
    cr_assert_eq(pond_write_set(&w->map, 1000, &key, value, sizeof value, &cas), MILLPOND_CHANGED);
    cr_assert_eq(white_put(w, 1, 2, VALUE_BYTES, 0), MILLPOND_OK);
    cr_assert_eq(where_of(1), hole);
    white_require_whole(&ref);
}

/* Every segment counts the units that live in it, as they follow from the slots. */
static void require_live_units(void) {
    uint32_t live[1024] = {0};
    cr_assert_leq(ref.g->segment_count, 1024);
    for (uint32_t b = 0; b < ref.g->bucket_count; b++)
        for (unsigned i = 0; i < POND_BUCKET_SLOTS; i++) {
            uint64_t word = ref.buckets[b].slot[i];
            if (word == 0) continue;
            uint32_t where = pond_slot_where(word);
            live[pond_segment_of(ref.g, where)] += pond_word_units(*(const uint64_t *)(const void *)pond_ref_at(&ref, where));
        }
    for (uint32_t i = 0; i < ref.g->segment_count; i++)
        cr_assert_eq(ref.table[i].live_units, live[i], "segment %u counts %u units, %u live in it", i, ref.table[i].live_units, live[i]);
}

/* Old and new entries in the same segment and in others, by holes and by appending, under conditions and without. */
Test(write, the_segments_of_the_old_and_of_the_new_entry_know_what_lives_in_them) {
    enum { KEYS = 400 };
    struct support_random random = support_seed("live");
    for (uint64_t key = 0; key < KEYS; key++) cr_assert_eq(white_put(w, key, 0, VALUE_BYTES, 0), MILLPOND_OK);
    cr_assert_gt(pond_segment_of(ref.g, where_of(KEYS - 1)), 1, "they fill several segments");
    require_live_units();
    for (uint64_t turn = 1; turn <= 300; turn++) {
        uint64_t key = support_below(&random, KEYS);
        size_t bytes = support_below(&random, 2) ? VALUE_BYTES : support_below(&random, 2 * VALUE_BYTES);
        if (support_below(&random, 4))
            cr_assert_eq(white_put(w, key, turn, bytes, support_below(&random, 3) ? 0 : 3600000), MILLPOND_OK);
        else
            white_delete(w, key);
        require_live_units();
    }
    white_require_whole(&ref);
}

/* Eight keys of one home: one of them lives in its other bucket, and is found there by whoever overwrites or deletes it. */
Test(write, a_key_in_its_other_bucket_is_overwritten_there) {
    uint64_t keys[POND_BUCKET_SLOTS + 1], key = 0;
    unsigned n = 0;
    uint32_t home = place_of(1).home;
    for (; n <= POND_BUCKET_SLOTS; key++)
        if (place_of(key).home == home && place_of(key).other != home) keys[n++] = key;
    for (unsigned i = 0; i < n; i++) cr_assert_eq(white_put(w, keys[i], 0, VALUE_BYTES, 0), MILLPOND_OK);
    cr_assert_eq(ref.buckets[home].spill, 1);
    for (uint64_t version = 1; version < 4; version++) {
        for (unsigned i = 0; i < n; i++) cr_assert_eq(white_put(w, keys[i], version, VALUE_BYTES, 0), MILLPOND_OK);
        cr_assert_eq(ref.shard->items, n);
        for (unsigned i = 0; i < n; i++) cr_assert_eq(white_expect(w, keys[i], version, VALUE_BYTES), MILLPOND_OK);
    }
    white_require_whole(&ref);
    for (unsigned i = 0; i < n; i++) cr_assert_eq(white_delete(w, keys[i]), MILLPOND_OK);
    cr_assert(ref.shard->items == 0 && ref.buckets[home].spill == 0);
}
