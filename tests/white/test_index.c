/* SPDX-License-Identifier: MIT */
/* lib/index.c: nothing is lost at any load, spills and counts are right after each change, and every half state that a death can leave is
 * finished or taken back, however often the repair is itself interrupted. The index does not look at entries, so there are none here: a
 * place is a number that lies in a segment. */

#include "white.h"

#define KEYS_MAX 200000u

static struct white *w;
static struct pond_ref ref;
/* What must be in the index: where of each key, 0 for none. */
static uint32_t *model;
static uint32_t where_count;

/* A shard with about so many buckets. */
static void with_buckets(uint32_t buckets) {
    if (w) white_free(w);
    w = white_new(&(struct white_shape){.size_bytes = 8 << 20});
    cr_assert_leq(buckets, w->map.geometry.bucket_count);
    w->map.geometry.bucket_count = buckets;
    ref = pond_ref_of(&w->map, 0);
    where_count = ref.g->end_unit - ref.g->first_unit;
    if (!model) model = malloc(KEYS_MAX * sizeof *model);
    memset(model, 0, KEYS_MAX * sizeof *model);
}

static struct pond_place place_of(uint32_t key) {
    char text[24];
    return pond_place_of(ref.g, white_key(w, key, text).hash);
}

/* A place that no other key has. */
static uint32_t where_for(uint32_t key, uint32_t version) { return ref.g->first_unit + (key * 7 + version) % where_count; }

static int insert(uint32_t key, uint32_t where) {
    struct pond_place place = place_of(key);
    struct pond_spot spot;
    if (!pond_index_room(&ref, &place, &spot)) return 0;
    cr_assert_eq(ref.buckets[spot.bucket].slot[spot.slot], 0, "room that is taken");
    cr_assert(spot.bucket == place.home || spot.bucket == place.other, "room in a strange bucket");
    pond_index_insert(&ref, &place, &spot, where, 10);
    model[key] = where;
    return 1;
}

static int find(uint32_t key, struct pond_spot *spot) {
    struct pond_place place = place_of(key);
    return pond_index_find_where(&ref, &place, model[key], spot);
}

static void require_all(uint32_t keys) {
    uint64_t items = 0;
    for (uint32_t key = 0; key < keys; key++) {
        struct pond_spot spot;
        if (model[key] == 0) continue;
        cr_assert(find(key, &spot), "key %u is lost", key);
        items++;
    }
    cr_assert_eq(ref.shard->items, items);
    cr_assert_eq(ref.shard->bytes, items * 10);
    white_require_spills(&ref, __LINE__);
}

/* ---- places ---- */

Test(index, the_other_bucket_is_an_involution_for_every_bucket_count) {
    struct support_random random = {1};
    with_buckets(1);
    struct pond_geometry g = w->map.geometry;
    for (g.bucket_count = 1; g.bucket_count <= 1000; g.bucket_count++)
        for (uint32_t bucket = 0; bucket < g.bucket_count; bucket++)
            for (int i = 0; i < 4; i++) {
                uint32_t tag = (uint32_t)support_next(&random) & (uint32_t)POND_TAG_MASK, other = pond_other_bucket(&g, bucket, tag);
                cr_assert(other < g.bucket_count && pond_other_bucket(&g, other, tag) == bucket, "%u of %u, tag %u", bucket, g.bucket_count,
                          tag);
            }
    const uint32_t large[] = {65537, 1u << 20, (1u << 28) + 3, UINT32_MAX / 2};
    for (size_t i = 0; i < 4; i++)
        for (int k = 0; k < 100000; k++) {
            g.bucket_count = large[i];
            uint32_t bucket = pond_reduce((uint32_t)support_next(&random), large[i]),
                     tag = (uint32_t)support_next(&random) & (uint32_t)POND_TAG_MASK;
            uint32_t other = pond_other_bucket(&g, bucket, tag);
            cr_assert(other < large[i] && pond_other_bucket(&g, other, tag) == bucket);
        }
}

Test(index, the_slots_that_may_match_are_those_whose_upper_half_is_equal) {
    struct support_random random = {2};
    struct pond_bucket bucket __attribute__((aligned(64)));
    for (int i = 0; i < 200000; i++) {
        uint32_t upper = (uint32_t)support_next(&random);
        unsigned expected = 0;
        for (unsigned k = 0; k < POND_BUCKET_SLOTS; k++) {
            uint64_t word = support_next(&random);
            switch (support_below(&random, 4)) {
            case 0: word = (word & UINT32_MAX) | (uint64_t)upper << 32; break;
            case 1: word = (word & UINT32_MAX) | (uint64_t)(upper ^ POND_SLOT_AWAY >> 32) << 32; break;
            case 2: word = (word & UINT32_MAX) | (uint64_t)(upper ^ 1u << support_below(&random, 32)) << 32; break;
            default: word = support_below(&random, 2) ? 0 : upper; break; /* equal in the lower half */
            }
            bucket.slot[k] = word;
            expected |= (unsigned)(word >> 32 == upper) << k;
        }
        bucket.version = support_below(&random, 2) ? upper : (uint32_t)support_next(&random);
        bucket.hits = (uint16_t)upper;
        bucket.spill = (uint16_t)(upper >> 16);
        cr_assert_eq(pond_candidates(&bucket, upper), expected);
    }
}

/* ---- single changes ---- */

Test(index, an_inserted_key_is_found_until_it_is_removed) {
    with_buckets(50);
    struct pond_spot spot;
    cr_assert(!find(1, &spot) && insert(1, where_for(1, 0)) && find(1, &spot));
    cr_assert(ref.shard->items == 1 && ref.shard->bytes == 10);
    pond_index_remove(&ref, &spot, 0 - (uint64_t)10);
    cr_assert(!find(1, &spot));
    cr_assert(ref.shard->items == 0 && ref.shard->bytes == 0);
}

Test(index, a_swing_changes_where_and_nothing_else) {
    with_buckets(50);
    struct pond_spot spot, after;
    cr_assert(insert(1, where_for(1, 0)) && find(1, &spot));
    pond_hits_set(&ref.buckets[spot.bucket], spot.slot, 3);
    pond_index_swing(&ref, &spot, where_for(1, 5), 90);
    cr_assert(!find(1, &after), "the old place is still named");
    model[1] = where_for(1, 5);
    cr_assert(find(1, &after) && after.bucket == spot.bucket && after.slot == spot.slot && after.word >> 32 == spot.word >> 32);
    cr_assert(ref.shard->items == 1 && ref.shard->bytes == 100);
    cr_assert_eq(pond_hits_of(&ref.buckets[after.bucket], after.slot), 3, "the hit counter stays");
}

Test(index, each_change_raises_the_version_of_its_bucket) {
    with_buckets(1);
    struct pond_spot spot;
    uint32_t *version = &ref.buckets[0].version;
    uint32_t before = *version = UINT32_MAX - 1; /* it may wrap */
    insert(1, where_for(1, 0));
    cr_assert_eq(*version, (uint32_t)(before + 1));
    find(1, &spot);
    pond_index_swing(&ref, &spot, where_for(1, 1), 0);
    cr_assert_eq(*version, (uint32_t)(before + 2));
    model[1] = where_for(1, 1);
    find(1, &spot);
    pond_index_remove(&ref, &spot, 0);
    cr_assert_eq(*version, (uint32_t)(before + 3));
}

Test(index, a_new_entry_begins_without_hits) {
    with_buckets(1);
    for (unsigned i = 0; i < POND_BUCKET_SLOTS; i++) pond_hits_set(&ref.buckets[0], i, 3);
    struct pond_spot spot;
    cr_assert(insert(1, where_for(1, 0)) && find(1, &spot));
    cr_assert_eq(pond_hits_of(&ref.buckets[0], spot.slot), 0);
    for (unsigned i = 0; i < POND_BUCKET_SLOTS; i++)
        if (i != spot.slot) cr_assert_eq(pond_hits_of(&ref.buckets[0], i), 3, "slot %u", i);
}

Test(index, clearing_empties_everything_and_stands_as_unfinished_until_its_end) {
    with_buckets(40);
    uint32_t counter;
    for (uint32_t key = 0; key < 200; key++) insert(key, where_for(key, 0));
    uint32_t version = ref.buckets[7].version;
    pond_index_clear(&ref);
    memset(model, 0, 200 * sizeof *model);
    require_all(200);
    cr_assert_neq(ref.buckets[7].version, version);
    cr_assert_eq(pond_index_recover(&ref, &counter), POND_UNFINISHED_CLEAR);
    cr_assert_eq(pond_index_recover(&ref, &counter), POND_UNFINISHED_CLEAR, "until it is done");
    pond_index_clear_end(&ref);
    cr_assert_eq(pond_index_recover(&ref, &counter), POND_UNFINISHED_NOTHING);
}

/* ---- load ---- */

static void fill_with_buckets(uint32_t buckets, double load_wanted) {
    with_buckets(buckets);
    uint32_t slots = buckets * POND_BUCKET_SLOTS, keys = 0;
    while (insert(keys, where_for(keys, 0))) {
        keys++;
        cr_assert_leq(keys, slots);
        if (keys % (slots / 16 + 1) == 0) require_all(keys);
    }
    require_all(keys);
    cr_assert_geq(keys, slots * load_wanted, "%u buckets took %u keys of %u", buckets, keys, slots);
    /* Still everything, after every second key has left. */
    for (uint32_t key = 0; key < keys; key += 2) {
        struct pond_spot spot;
        cr_assert(find(key, &spot));
        pond_index_remove(&ref, &spot, 0 - (uint64_t)10);
        model[key] = 0;
    }
    require_all(keys);
}

Test(index, no_key_is_lost_until_95_percent_of_the_slots_are_taken) {
    fill_with_buckets(100, 0.9);
    fill_with_buckets(997, 0.93);
    fill_with_buckets(5000, 0.945);
}

Test(index, few_buckets_work_too) {
    for (uint32_t buckets = 1; buckets <= 24; buckets++) fill_with_buckets(buckets, 0.5);
}

Test(index, a_million_changes_at_high_load_lose_nothing) {
    struct support_random random = support_seed("index changes");
    with_buckets(300);
    uint32_t keys = 300 * POND_BUCKET_SLOTS, inserted = 0;
    for (int i = 0; i < 1000000; i++) {
        uint32_t key = (uint32_t)support_below(&random, keys);
        struct pond_spot spot;
        if (model[key] == 0) {
            inserted += insert(key, where_for(key, (uint32_t)i % 7)) != 0;
        } else {
            cr_assert(find(key, &spot), "key %u is lost after %d changes", key, i);
            if (support_below(&random, 8)) {
                uint32_t where = where_for(key, (uint32_t)i % 7);
                pond_index_swing(&ref, &spot, where, 0);
                model[key] = where;
            } else {
                pond_index_remove(&ref, &spot, 0 - (uint64_t)10);
                model[key] = 0;
            }
        }
        if (i % 50000 == 0) require_all(keys);
    }
    require_all(keys);
    cr_assert_gt(inserted, keys, "only %u keys went in", inserted);
    cr_assert_gt(ref.shard->items, keys * 80 / 100, "the load was %llu of %u", (unsigned long long)ref.shard->items, keys);
    cr_assert_gt(ref.shard->moves, 1000, "only %u moves", ref.shard->moves);
}

Test(index, most_lookups_touch_one_bucket_at_high_load) {
    with_buckets(2000);
    uint32_t keys = 2000 * POND_BUCKET_SLOTS * 93 / 100, home = 0;
    for (uint32_t key = 0; key < keys; key++) cr_assert(insert(key, where_for(key, 0)), "key %u of %u", key, keys);
    for (uint32_t key = 0; key < keys; key++) {
        struct pond_spot spot;
        cr_assert(find(key, &spot));
        home += spot.bucket == place_of(key).home;
    }
    cr_assert_gt(home, keys * 75ull / 100, "%u of %u at home", home, keys);
}

Test(index, a_moved_entry_keeps_its_hits_and_is_noted_for_scans) {
    with_buckets(60);
    struct pond_spot before, after;
    uint32_t *bucket_of = calloc(1000, sizeof *bucket_of), keys = 0, moved = 0;
    while (keys < 1000) {
        uint32_t moves = ref.shard->moves;
        if (!insert(keys, where_for(keys, 0))) break;
        cr_assert(find(keys, &before));
        bucket_of[keys] = before.bucket;
        pond_hits_set(&ref.buckets[before.bucket], before.slot, keys % 4);
        uint32_t new_moves = ref.shard->moves - moves, seen = 0;
        cr_assert_leq(new_moves, 2, "one insert makes %u moves", new_moves);
        for (uint32_t key = 0; key < keys; key++) {
            cr_assert(find(key, &after));
            cr_assert_eq(pond_hits_of(&ref.buckets[after.bucket], after.slot), key % 4, "key %u", key);
            if (after.bucket == bucket_of[key]) continue;
            int noted = 0;
            for (uint32_t i = 0; i < new_moves; i++) noted |= ref.shard->move_log[(moves + i) % POND_MOVE_LOG] == after.bucket;
            cr_assert(noted, "key %u moved from bucket %u to %u, and nobody noted it", key, bucket_of[key], after.bucket);
            bucket_of[key] = after.bucket;
            seen++;
        }
        cr_assert_leq(seen, new_moves);
        moved += seen;
        keys++;
    }
    cr_assert_gt(moved, 10, "only %u entries moved", moved);
    free(bucket_of);
}

/* ---- recovery ----
 *
 * A change is made; the half states between the image before and the image after are put together from both, store by store in the order in
 * which index.c makes them; from each of them the repair must come to the one or the other. */

struct step {
    size_t off, bytes; /* from the start of the shard */
};

struct death {
    unsigned char *before, *after;
    size_t bytes;
    uint32_t kind; /* of the intent */
    struct step steps[8];
    unsigned count;
};

static size_t off_of(const void *at) { return (size_t)((const unsigned char *)at - ref.base); }

static unsigned char *image(size_t bytes) {
    unsigned char *copy = malloc(bytes);
    REQUIRE(copy, "no memory");
    memcpy(copy, ref.base, bytes);
    return copy;
}

static void add_step(struct death *d, const void *at, size_t bytes) {
    if (memcmp(d->before + off_of(at), d->after + off_of(at), bytes) == 0) return; /* not part of this change */
    d->steps[d->count++] = (struct step){off_of(at), bytes};
}

/* The first `done` stores are made, the rest not. 0: nothing but the intent's fields; 1: the intent stands. */
static void half(const struct death *d, unsigned done) {
    memcpy(ref.base, d->before, d->bytes);
    struct pond_intent *intent = &ref.shard->intent;
    memcpy(intent, d->after + off_of(intent), sizeof *intent);
    intent->kind = done > 0 ? d->kind : POND_INTENT_NONE;
    for (unsigned i = 0; i + 1 < done; i++) memcpy(ref.base + d->steps[i].off, d->after + d->steps[i].off, d->steps[i].bytes);
}

static uint32_t versions_raised(const unsigned char *from, uint32_t bucket) {
    uint32_t before;
    memcpy(&before, from + off_of(&ref.buckets[bucket].version), sizeof before);
    return ref.buckets[bucket].version - before;
}

static void require_either(const struct death *d, unsigned done, const char *what) {
    const struct pond_shard *before = (const struct pond_shard *)(const void *)d->before,
                            *after = (const struct pond_shard *)(const void *)d->after;
    const size_t slots = off_of(ref.buckets), bytes = ref.g->bucket_count * sizeof(struct pond_bucket);
    unsigned is_before = 1, is_after = 1;
    for (size_t b = 0; b < bytes / sizeof(struct pond_bucket); b++) {
        const struct pond_bucket *now = &ref.buckets[b], *was = (const struct pond_bucket *)(const void *)(d->before + slots) + b,
                                 *will = (const struct pond_bucket *)(const void *)(d->after + slots) + b;
        is_before &= memcmp(now->slot, was->slot, sizeof now->slot) == 0;
        is_after &= memcmp(now->slot, will->slot, sizeof now->slot) == 0;
    }
    cr_assert(is_before || is_after, "%s, %u stores done: neither before nor after", what, done);
    const struct pond_shard *expected = is_after ? after : before;
    cr_assert(ref.shard->items == expected->items && ref.shard->bytes == expected->bytes, "%s, %u stores done: %llu items, should be %llu",
              what, done, (unsigned long long)ref.shard->items, (unsigned long long)expected->items);
    cr_assert_eq(ref.shard->intent.kind, POND_INTENT_NONE, "%s", what);
    white_require_spills(&ref, __LINE__);
}

/* From each half state: repaired at once; repaired again, as if the repairer had died before it cleared the intent; and by a repairer that
 * died after each of the stores of the first one. */
static void die_everywhere(struct death *d, const uint32_t *buckets, const char *what) {
    unsigned states = 0;
    for (unsigned done = 0; done <= d->count + 1; done++) {
        uint32_t counter;
        half(d, done);
        unsigned char *broken = image(d->bytes);
        struct pond_intent intent = ref.shard->intent;
        cr_assert_eq(pond_index_recover(&ref, &counter), POND_UNFINISHED_NOTHING);
        require_either(d, done, what);
        if (done > 0)
            for (unsigned i = 0; i < 2 && buckets[i] != POND_NO_BUCKET; i++)
                cr_assert_gt(versions_raised(broken, buckets[i]), 0, "%s, %u stores done: the version of bucket %u was not raised", what,
                             done, buckets[i]);
        unsigned char *repaired = image(d->bytes);
        ref.shard->intent.kind = intent.kind; /* it died before its last store */
        pond_index_recover(&ref, &counter);
        require_either(d, done, what);
        for (size_t at = 0; at < d->bytes; at += 8) { /* one of the repairer's words is there, the others are not */
            if (memcmp(broken + at, repaired + at, 8) == 0 || (at >= off_of(&ref.shard->intent) && at < off_of(&ref.shard->intent) + 64))
                continue;
            memcpy(ref.base, broken, d->bytes);
            memcpy(ref.base + at, repaired + at, 8);
            pond_index_recover(&ref, &counter);
            require_either(d, done, what);
            states++;
        }
        free(broken);
        free(repaired);
    }
    cr_assert(d->count < 3 || states > 5, "%s: only %u states", what, states);
    memcpy(ref.base, d->after, d->bytes);
    free(d->before);
    free(d->after);
}

static size_t image_bytes(void) { return off_of(&ref.buckets[ref.g->bucket_count]); }

/* Inserts, swings or removes a key, and dies everywhere in between. Order: I1 to I5 of index.c. */
static void die_in_a_change(uint32_t key, int what) {
    static const char *const names[] = {"insert", "swing", "remove"};
    struct pond_place place = place_of(key);
    struct pond_spot spot = {0, 0, 0};
    uint32_t moves = ref.shard->moves;
    if (what == 0) {
        if (!pond_index_room(&ref, &place, &spot) || ref.shard->moves != moves) return; /* moves are another test */
    } else {
        cr_assert(find(key, &spot));
    }
    struct death d = {.bytes = image_bytes(), .kind = POND_INTENT_SWING, .before = image(image_bytes())};
    if (what == 0) pond_index_insert(&ref, &place, &spot, where_for(key, 0), 10);
    if (what == 1) pond_index_swing(&ref, &spot, where_for(key, 3), 0);
    if (what == 2) pond_index_remove(&ref, &spot, 0 - (uint64_t)10);
    model[key] = what == 0 ? where_for(key, 0) : what == 1 ? where_for(key, 3) : 0;
    d.after = image(d.bytes);
    struct pond_bucket *bucket = &ref.buckets[spot.bucket];
    uint32_t spill_bucket = ref.shard->intent.spill_bucket;
    if (what == 0 && spill_bucket != POND_NO_BUCKET) add_step(&d, &ref.buckets[spill_bucket].spill, 2);
    add_step(&d, &bucket->slot[spot.slot], 8);
    add_step(&d, &bucket->version, 4);
    add_step(&d, &ref.shard->items, 8);
    add_step(&d, &ref.shard->bytes, 8);
    if (what == 2 && spill_bucket != POND_NO_BUCKET) add_step(&d, &ref.buckets[spill_bucket].spill, 2);
    const uint32_t buckets[2] = {spot.bucket, POND_NO_BUCKET};
    die_everywhere(&d, buckets, names[what]);
}

Test(index, a_death_anywhere_in_an_insert_a_swing_or_a_removal_is_repaired) {
    struct support_random random = {11};
    with_buckets(6);
    uint32_t keys = 8 * POND_BUCKET_SLOTS, away = 0; /* more than there is room for */
    for (int i = 0; i < 400; i++) {
        uint32_t key = (uint32_t)support_below(&random, keys);
        struct pond_spot spot;
        die_in_a_change(key, model[key] == 0 ? 0 : support_below(&random, 3) ? 1 : 2);
        if (model[key] && find(key, &spot)) away += spot.bucket != place_of(key).home;
    }
    require_all(keys);
    cr_assert_gt(away, 20, "only %u changes of entries away from home", away);
}

/* A move happens inside pond_index_room(). Order: M1 to M7. Returns 1 when there was exactly one. */
static int die_in_a_move(uint32_t key) {
    struct pond_place place = place_of(key);
    struct pond_spot spot;
    uint32_t moves = ref.shard->moves;
    struct death d = {.bytes = image_bytes(), .kind = POND_INTENT_MOVE, .before = image(image_bytes())};
    int room = pond_index_room(&ref, &place, &spot);
    if (!room || ref.shard->moves != moves + 1) {
        free(d.before);
        if (room) {
            pond_index_insert(&ref, &place, &spot, where_for(key, 0), 10);
            model[key] = where_for(key, 0);
        }
        return 0;
    }
    d.after = image(d.bytes);
    const struct pond_intent intent = ref.shard->intent;
    struct pond_bucket *from = &ref.buckets[intent.bucket[0]], *to = &ref.buckets[intent.bucket[1]],
                       *home = &ref.buckets[intent.spill_bucket];
    add_step(&d, &ref.shard->moves, 4);
    if (intent.after & POND_SLOT_AWAY) add_step(&d, &home->spill, 2);
    add_step(&d, &to->slot[intent.slot[1]], 8);
    if (home != from) add_step(&d, &home->version, 4);
    add_step(&d, &from->slot[intent.slot[0]], 8);
    add_step(&d, &from->version, 4);
    if (!(intent.after & POND_SLOT_AWAY)) add_step(&d, &home->spill, 2);
    die_everywhere(&d, intent.bucket, "move");
    require_all(key);
    pond_index_insert(&ref, &place, &spot, where_for(key, 0), 10);
    model[key] = where_for(key, 0);
    return 1;
}

Test(index, a_death_anywhere_in_a_move_leaves_the_entry_in_exactly_one_place) {
    unsigned moves = 0;
    for (uint32_t buckets = 3; buckets < 12; buckets++) {
        with_buckets(buckets);
        for (uint32_t key = 0; key < buckets * POND_BUCKET_SLOTS; key++) moves += (unsigned)die_in_a_move(key);
        require_all(buckets * POND_BUCKET_SLOTS);
    }
    cr_assert_gt(moves, 10, "only %u moves", moves);
}

Test(index, a_death_while_a_counter_changes_is_told_to_the_caller) {
    with_buckets(10);
    uint32_t counter = 0;
    pond_index_counter_begin(&ref, 4711);
    cr_assert_eq(pond_index_recover(&ref, &counter), POND_UNFINISHED_COUNTER);
    cr_assert_eq(counter, 4711);
    cr_assert_eq(pond_index_recover(&ref, &counter), POND_UNFINISHED_COUNTER, "until the caller has dealt with it");
    pond_index_counter_end(&ref);
    cr_assert_eq(pond_index_recover(&ref, &counter), POND_UNFINISHED_NOTHING);
}

Test(index, an_intent_that_makes_no_sense_touches_nothing) {
    struct support_random random = support_seed("intents");
    with_buckets(20);
    for (uint32_t key = 0; key < 120; key++) insert(key, where_for(key, 0));
    size_t bytes = image_bytes();
    unsigned char *whole = image(bytes);
    for (int i = 0; i < 20000; i++) {
        struct pond_intent *intent = &ref.shard->intent;
        uint32_t counter;
        for (size_t at = 0; at < sizeof *intent; at += 4) {
            uint32_t word = (uint32_t)support_next(&random) | 1u << 20; /* no such bucket, slot or spill */
            memcpy((unsigned char *)intent + at, &word, sizeof word);
        }
        intent->kind = i % 2 ? (uint32_t)support_next(&random) : 1u + (uint32_t)i / 2 % 2;
        if (intent->kind == POND_INTENT_COUNTER || intent->kind == POND_INTENT_CLEAR) continue;
        cr_assert_eq(pond_index_recover(&ref, &counter), POND_UNFINISHED_NOTHING);
        cr_assert_eq(intent->kind, POND_INTENT_NONE);
        memcpy(intent, whole + off_of(intent), sizeof *intent);
        cr_assert_eq(memcmp(ref.base, whole, bytes), 0, "kind %u changed something", intent->kind);
    }
    free(whole);
    require_all(120);
}
