/* SPDX-License-Identifier: MIT */
/* lib/evict.c: which segment leaves, and who is remembered after having left. */

#include "white.h"

static struct white *w;
static struct pond_ref ref;

static void begin(void) {
    w = white_new(&(struct white_shape){.size_bytes = 4 << 20, .segment_bytes = 16 << 10});
    ref = pond_ref_of(&w->map, 0);
}
static void end(void) { white_free(w); }

TestSuite(evict, .init = begin, .fini = end);

/* A sealed segment that is full of what lives until expiry_ms (0: for ever). */
static uint32_t sealed(uint32_t queue, uint64_t expiry_ms) {
    uint32_t where = pond_segment_append(&ref, queue, 0, ref.g->segment_units), segment = pond_segment_of(ref.g, where);
    cr_assert_neq(where, 0);
    pond_segment_commit(&ref, where, ref.g->segment_units);
    pond_segment_note_expiry(&ref, where, expiry_ms);
    pond_segment_live(&ref, where, ref.g->segment_units);
    pond_segment_seal(&ref, segment);
    return segment;
}

static void seal_many(uint32_t queue, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) sealed(queue, 0);
}

static uint32_t victim(uint64_t now_ms, int *pack) {
    int p = -1;
    uint32_t v = pond_evict_victim(&ref, now_ms, &p);
    cr_assert(p == 0 || p == 1);
    if (pack) *pack = p;
    return v;
}

/* Segments that the small queue is to have, as long as nothing was learnt. */
static uint32_t share(void) { return ref.g->segment_count / 10; }

/* ---- victims ---- */

Test(evict, nothing_leaves_a_shard_in_which_nothing_is) { cr_assert_eq(victim(1, NULL), POND_NO_SEGMENT); }

Test(evict, the_small_queues_oldest_leaves_while_that_queue_has_its_share) {
    uint32_t small = sealed(POND_SMALL, 0);
    uint32_t first = sealed(POND_MAIN, 0);
    seal_many(POND_MAIN, 5);
    seal_many(POND_SMALL, share() - 2);
    int pack;
    cr_assert_eq(victim(1, &pack), first, "one segment less than its share: the main queue's oldest");
    cr_assert_eq(pack, 0);
    seal_many(POND_SMALL, 1);
    cr_assert_eq(victim(1, NULL), small);
}

Test(evict, the_other_queue_gives_when_the_one_has_nothing) {
    uint32_t only = sealed(POND_SMALL, 0);
    cr_assert_eq(victim(1, NULL), only, "below its share, but the main queue is empty");
}

Test(evict, a_segment_in_which_all_has_expired_leaves_first) {
    seal_many(POND_SMALL, share() + 2);
    uint32_t over = sealed(POND_MAIN, 1000);
    seal_many(POND_MAIN, 3);
    cr_assert_neq(victim(999, NULL), over);
    cr_assert_eq(victim(1000, NULL), over);
}

/* An open segment of a class, half full of what lives until expiry_ms. */
static uint32_t open_half(uint32_t queue, uint32_t ttl_class, uint64_t expiry_ms) {
    uint32_t units = ref.g->segment_units / 2, where = pond_segment_append(&ref, queue, ttl_class, units);
    pond_segment_commit(&ref, where, units);
    pond_segment_note_expiry(&ref, where, expiry_ms);
    pond_segment_live(&ref, where, units);
    return pond_segment_of(ref.g, where);
}

Test(evict, an_open_segment_in_which_all_has_expired_leaves_too) {
    uint32_t over = open_half(POND_MAIN, 2, 1000);
    open_half(POND_SMALL, 2, 2000);
    seal_many(POND_SMALL, share() + 2);
    cr_assert_neq(victim(999, NULL), over);
    cr_assert_eq(victim(1000, NULL), over);
    cr_assert_eq(pond_segment_state(&ref.table[over]), POND_SEGMENT_SEALED, "it takes no more entries");
    cr_assert_eq(pond_segment_open_room(&ref, POND_MAIN, 2), 0);
    cr_assert_neq(pond_segment_open_room(&ref, POND_SMALL, 2), 0, "the other one does");
}

Test(evict, an_open_segment_that_a_view_pins_stays_open) {
    uint32_t over = open_half(POND_MAIN, 2, 1000);
    seal_many(POND_SMALL, share() + 2);
    uint64_t *pin = white_pin(w, &ref);
    *pin = over + 1;
    cr_assert_neq(victim(1000, NULL), over);
    cr_assert_eq(pond_segment_state(&ref.table[over]), POND_SEGMENT_OPEN);
    *pin = 0;
    cr_assert_eq(victim(1000, NULL), over);
}

Test(evict, a_pinned_segment_does_not_leave) {
    uint32_t a = sealed(POND_SMALL, 0);
    seal_many(POND_SMALL, share() + 1);
    uint32_t over = sealed(POND_MAIN, 1000), next = ref.table[a].next - 1;
    uint64_t *pin = white_pin(w, &ref);
    *pin = over + 1;
    cr_assert_eq(victim(5000, NULL), a, "the expired one is pinned");
    *pin = a + 1;
    cr_assert_eq(victim(1, NULL), next);
}

Test(evict, the_fullest_open_segment_leaves_when_none_is_sealed) {
    uint32_t a = pond_segment_append(&ref, POND_SMALL, 0, 50);
    pond_segment_commit(&ref, a, 50);
    uint32_t b = pond_segment_append(&ref, POND_MAIN, 1, 70);
    pond_segment_commit(&ref, b, 70);
    uint32_t v = victim(1, NULL);
    cr_assert_eq(v, pond_segment_of(ref.g, b));
    cr_assert(pond_segment_state(&ref.table[v]) == POND_SEGMENT_SEALED && ref.shard->open[POND_MAIN][1] == 0,
              "it is sealed, so that it can be walked");
    white_require_lists(&ref, __LINE__);
}

Test(evict, where_dead_entries_fill_the_segments_the_emptiest_is_packed_and_nothing_leaves) {
    uint32_t first = sealed(POND_SMALL, 0);
    seal_many(POND_SMALL, share() + 10);
    for (uint32_t i = 0; i < ref.g->segment_count; i++)
        if (pond_segment_state(&ref.table[i]) == POND_SEGMENT_SEALED)
            ref.table[i].live_units = ref.g->segment_units * (POND_PACK_PERCENT + 1) / 100;
    int pack;
    cr_assert_eq(victim(1, &pack), first);
    cr_assert_eq(pack, 0, "most of it lives");
    for (uint32_t i = 0; i < ref.g->segment_count; i++)
        if (pond_segment_state(&ref.table[i]) == POND_SEGMENT_SEALED) ref.table[i].live_units = ref.g->segment_units / 2;
    uint32_t emptiest = ref.shard->queue_tail[POND_SMALL] - 1;
    ref.table[emptiest].live_units = ref.g->segment_units / 3;
    cr_assert_eq(victim(1, &pack), emptiest);
    cr_assert_eq(pack, 1);
}

Test(evict, a_damaged_queue_is_looked_at_within_bounds) {
    struct support_random random = support_seed("queues");
    seal_many(POND_SMALL, share() + 10);
    seal_many(POND_MAIN, 10);
    for (int i = 0; i < 20000; i++) {
        struct pond_segment *s = &ref.table[support_below(&random, ref.g->segment_count)];
        uint32_t garbage =
            support_below(&random, 2) ? (uint32_t)support_next(&random) : (uint32_t)support_below(&random, ref.g->segment_count + 2);
        s->next = garbage;
        if (i % 10 == 0) ref.shard->queue_head[i % 20 == 0] = garbage;
        if (i % 30 == 0) s->live_units = (uint32_t)support_next(&random);
        uint32_t v = victim(1, NULL);
        cr_assert(v == POND_NO_SEGMENT || (v < ref.g->segment_count && pond_segment_state(&ref.table[v]) == POND_SEGMENT_SEALED));
    }
}

/* ---- ghosts ---- */

static uint64_t hash_of(uint64_t i) {
    char text[24];
    return white_key(w, i, text).hash;
}

/* As if so many keys lived here, and somebody had left. */
static void populate(uint64_t items) {
    ref.shard->items = items;
    ref.shard->counters.evictions = 1;
}

Test(evict, who_has_left_is_remembered_once) {
    populate(UINT64_C(1) << 30);
    cr_assert(!pond_ghost_take(&ref, hash_of(1)));
    pond_ghost_add(&ref, hash_of(1), POND_SMALL);
    cr_assert(pond_ghost_take(&ref, hash_of(1)));
    cr_assert(!pond_ghost_take(&ref, hash_of(1)), "asked once, forgotten");
    pond_ghost_add(&ref, hash_of(2), POND_SMALL);
    pond_ghost_add(&ref, hash_of(2), POND_SMALL);
    cr_assert(pond_ghost_take(&ref, hash_of(2)) && pond_ghost_take(&ref, hash_of(2)) && !pond_ghost_take(&ref, hash_of(2)));
}

Test(evict, as_many_are_remembered_as_live_here) {
    /* With the shard as full as it can be, a key that left is known until about as many others have. */
    uint64_t items = (uint64_t)ref.g->ghost_count * (POND_GHOST_WAYS - 1), known = 0, old = 0, n = 0;
    populate(items);
    for (uint64_t i = 0; i < items * 4; i++) pond_ghost_add(&ref, hash_of(i), POND_SMALL);
    for (uint64_t i = items * 4 - items / 2; i < items * 4; i += 7, n++) known += (uint64_t)pond_ghost_take(&ref, hash_of(i));
    cr_assert_gt(known * 100, n * 90, "%llu of %llu of the newer half", (unsigned long long)known, (unsigned long long)n);
    n = 0;
    for (uint64_t i = 0; i < items; i += 7, n++) old += (uint64_t)pond_ghost_take(&ref, hash_of(i));
    cr_assert_lt(old * 100, n * 2, "%llu of %llu that left long ago", (unsigned long long)old, (unsigned long long)n);
}

Test(evict, the_memory_of_a_shard_with_few_large_entries_is_short) {
    populate((uint64_t)ref.g->ghost_count * 2); /* three ways */
    uint64_t known = 0, n = 0, count = (uint64_t)ref.g->ghost_count * 10;
    for (uint64_t i = 0; i < count; i++) pond_ghost_add(&ref, hash_of(i), POND_SMALL);
    for (uint64_t i = count - ref.g->ghost_count; i < count; i += 3, n++) known += (uint64_t)pond_ghost_take(&ref, hash_of(i));
    cr_assert_gt(known * 100, n * 70);
    known = n = 0;
    for (uint64_t i = count - (uint64_t)ref.g->ghost_count * 8; i < count - (uint64_t)ref.g->ghost_count * 7; i += 3, n++)
        known += (uint64_t)pond_ghost_take(&ref, hash_of(i));
    cr_assert_lt(known * 100, n * 10, "%llu of %llu", (unsigned long long)known, (unsigned long long)n);
}

Test(evict, strangers_are_taken_for_ghosts_once_in_two_thousand) {
    uint64_t items = (uint64_t)ref.g->ghost_count * POND_GHOST_WAYS, wrong = 0, asked = 200000;
    populate(items);
    for (uint64_t i = 0; i < items * 2; i++) pond_ghost_add(&ref, hash_of(i), POND_SMALL);
    for (uint64_t i = 0; i < asked; i++) wrong += (uint64_t)pond_ghost_take(&ref, hash_of(UINT64_C(1) << 40 | i));
    /* 15 fingerprints of 15 bits. */
    cr_assert_lt(wrong, asked / 1000, "%llu of %llu", (unsigned long long)wrong, (unsigned long long)asked);
}

Test(evict, nobody_is_remembered_before_anybody_has_left) {
    ref.shard->items = 1000;
    pond_ghost_add(&ref, hash_of(1), POND_SMALL);
    cr_assert(!pond_ghost_take(&ref, hash_of(1)), "spares a cache miss while a file fills up");
}

Test(evict, garbage_among_the_ghosts_does_no_harm) {
    struct support_random random = {9};
    for (uint32_t i = 0; i < ref.g->ghost_count; i++)
        for (unsigned k = 0; k < POND_GHOST_WAYS; k++) ref.ghosts[i].print[k] = (uint16_t)support_next(&random);
    static const uint64_t counts[] = {0, 1, UINT64_MAX, UINT64_MAX / 2};
    for (uint64_t i = 0; i < 100000; i++) {
        populate(counts[i % 4]);
        pond_ghost_take(&ref, hash_of(i));
        pond_ghost_add(&ref, hash_of(i), i & 1);
    }
}

/* ---- what is learnt from them ---- */

/* As if the shard were full: all places of a ghost bucket count. */
static void full(void) { populate((uint64_t)ref.g->ghost_count * POND_GHOST_WAYS); }

static double percent(void) { return 100.0 * pond_evict_share(&ref) / 4294967296.0; }

/* A key leaves a queue and comes back, before any other. */
static void leaves_and_comes_back(uint64_t i, uint32_t queue) {
    pond_ghost_add(&ref, hash_of(i), queue);
    cr_assert_eq(pond_ghost_take(&ref, hash_of(i)), queue == POND_SMALL, "to the main queue goes only who left the small one");
}

Test(evict, the_small_queue_begins_with_a_tenth) {
    cr_assert_eq(ref.shard->small_share, 0);
    cr_assert_float_eq(percent(), 10, 1e-6);
    cr_assert(pond_evict_share_sound(&ref));
}

Test(evict, its_share_follows_who_comes_back_by_an_eighth_of_an_entry) {
    full();
    double step = 12.5 / (double)ref.shard->items;
    for (uint64_t i = 1; i <= 100; i++) {
        leaves_and_comes_back(i, POND_SMALL);
        cr_assert_float_eq(percent(), 10 + step * (double)i, 1e-4, "%.6f", percent());
    }
    for (uint64_t i = 1; i <= 150; i++) leaves_and_comes_back(i, POND_MAIN);
    cr_assert_float_eq(percent(), 10 - step * 50, 1e-4, "%.6f", percent());
    cr_assert(pond_evict_share_sound(&ref));
}

Test(evict, its_share_stays_between_a_fiftieth_and_two_fifths) {
    full();
    for (uint64_t i = 0; i < ref.shard->items * 6; i++) leaves_and_comes_back(i, POND_SMALL);
    cr_assert_float_eq(percent(), 40, 1e-6, "%.6f", percent());
    cr_assert(pond_evict_share_sound(&ref));
    for (uint64_t i = 0; i < ref.shard->items * 6; i++) leaves_and_comes_back(i, POND_MAIN);
    cr_assert_float_eq(percent(), 2, 1e-6, "%.6f", percent());
    cr_assert(pond_evict_share_sound(&ref));
}

Test(evict, nobody_is_asked_twice) {
    full();
    leaves_and_comes_back(1, POND_SMALL);
    leaves_and_comes_back(2, POND_MAIN);
    uint32_t learnt = ref.shard->small_share;
    cr_assert(!pond_ghost_take(&ref, hash_of(1)) && !pond_ghost_take(&ref, hash_of(2)));
    cr_assert_eq(ref.shard->small_share, learnt);
}

Test(evict, who_left_before_others_of_its_bucket_teaches_nothing) {
    full();
    uint64_t n = (uint64_t)ref.g->ghost_count * 8, back = 0;
    for (uint64_t i = 0; i < n; i++) pond_ghost_add(&ref, hash_of(i), POND_SMALL);
    double step = 12.5 / (double)ref.shard->items;
    for (uint64_t i = 0; i < n / 4; i++) back += (uint64_t)pond_ghost_take(&ref, hash_of(i));
    cr_assert_gt(back * 100, n / 4 * 90, "known they are");
    cr_assert_lt(percent(), 10 + step * (double)back / 20, "%.4f after %llu came back late", percent(), (unsigned long long)back);
    for (uint64_t i = 0; i < n; i++) pond_ghost_add(&ref, hash_of(i), POND_MAIN);
    for (uint64_t i = 0; i < n / 4; i++) pond_ghost_take(&ref, hash_of(i));
    cr_assert_gt(percent(), 10 - step * (double)n / 4 / 20, "%.4f", percent());
}

Test(evict, the_main_queues_ghost_costs_the_small_queues_nothing) {
    full();
    for (uint64_t i = 0; i < POND_GHOST_WAYS; i++) ref.ghosts[0].print[i] = (uint16_t)(2 * i + 3);
    struct pond_ghost_bucket before = ref.ghosts[0];
    for (uint64_t i = 0; i < ref.shard->items; i++) pond_ghost_add(&ref, hash_of(i), POND_MAIN);
    cr_assert_arr_eq(ref.ghosts[0].print, before.print, sizeof before.print);
    cr_assert_neq(ref.ghosts[0].main_print, 0);
}

Test(evict, few_large_entries_teach_nothing) {
    populate((uint64_t)ref.g->ghost_count * 2);
    for (uint64_t i = 0; i < 1000; i++) leaves_and_comes_back(i, i & 1 ? POND_MAIN : POND_SMALL);
    cr_assert_eq(ref.shard->small_share, 0);
}

Test(evict, victims_follow_the_share) {
    full();
    uint32_t small = sealed(POND_SMALL, 0), first = sealed(POND_MAIN, 0);
    seal_many(POND_MAIN, 5);
    seal_many(POND_SMALL, share() - 1);
    cr_assert_eq(victim(1, NULL), small);
    for (uint64_t i = 0; i < ref.shard->items / 4; i++) leaves_and_comes_back(i, POND_SMALL);
    cr_assert_eq(victim(1, NULL), first, "%.2f %% are %u segments", percent(), (unsigned)(ref.g->segment_count * percent() / 100));
    for (uint64_t i = 0; i < ref.shard->items / 2; i++) leaves_and_comes_back(i, POND_MAIN);
    cr_assert_eq(victim(1, NULL), small);
}

Test(evict, a_share_that_cannot_have_been_learnt_is_taken_for_the_nearer_bound) {
    static const uint32_t wrong[] = {1, 1u << 20, UINT32_MAX / 2, UINT32_MAX};
    full();
    for (unsigned i = 0; i < 4; i++) {
        ref.shard->small_share = wrong[i];
        cr_assert(!pond_evict_share_sound(&ref));
        cr_assert_float_eq(percent(), i < 2 ? 2 : 40, 1e-6, "%.6f", percent());
        leaves_and_comes_back(i, i < 2 ? POND_SMALL : POND_MAIN);
        cr_assert(pond_evict_share_sound(&ref), "and mended by the next that is learnt");
    }
}

Test(evict, a_step_is_an_eighth_of_a_segment_where_entries_are_larger) {
    white_free(w);
    w = white_new(&(struct white_shape){.size_bytes = 4 << 20, .segment_bytes = 16 << 10, .entry_bytes = 200000});
    ref = pond_ref_of(&w->map, 0);
    full();
    cr_assert_lt(ref.shard->items, ref.g->segment_count);
    leaves_and_comes_back(1, POND_SMALL);
    cr_assert_float_eq(percent(), 10 + 12.5 / ref.g->segment_count, 1e-4, "%.6f", percent());
}

Test(evict, garbage_as_counts_teaches_by_bounded_steps) {
    static const uint64_t counts[] = {UINT64_MAX, UINT64_MAX / 2, UINT64_C(1) << 33};
    for (unsigned i = 0; i < 3; i++) {
        populate(counts[i]);
        double before = percent();
        leaves_and_comes_back(i, POND_SMALL);
        cr_assert_float_eq(percent(), before, 12.5 / ref.g->segment_count);
        cr_assert(pond_evict_share_sound(&ref));
    }
}
