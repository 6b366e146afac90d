/* SPDX-License-Identifier: MIT */
/* test_policies.c: the exact policies on traces short enough to be worked out by hand, and Belady against every choice there is. */
#include "policies.h"
#include "zipf.h"

#include <criterion/criterion.h>
#include <string.h>

static uint64_t misses_of(const char *name, const uint32_t *ids, size_t count, uint64_t capacity, const uint32_t *costs,
                          const uint8_t *after) {
    const struct policy *policy = policy_find(name, strlen(name));
    struct policy_requests requests = {.count = count, .ids = ids, .costs = costs, .after = after, .key_count = 32, .capacity = capacity};
    cr_assert_not_null(policy, "%s", name);
    return policy->misses(&requests);
}

#define MISSES(name, capacity, ids) misses_of(name, ids, sizeof ids / sizeof *ids, capacity, NULL, NULL)
#define COST_MISSES(name, capacity, ids, costs) misses_of(name, ids, sizeof ids / sizeof *ids, capacity, costs, NULL)

/* Three places. Which of 0, 1 and 2 leaves for 3 is what the policies differ in. */
static const uint32_t turn[] = {0, 1, 2, 0, 3, 0, 1, 2};

Test(policies, fifo_evicts_the_oldest_though_it_was_hit) {
    cr_assert_eq(MISSES("fifo", 3, turn), 7); /* all but the second 0 */
}

Test(policies, lru_keeps_what_was_hit) {
    cr_assert_eq(MISSES("lru", 3, turn), 6); /* 1 leaves for 3, 2 for 1, 3 for 2 */
}

Test(policies, sieve_clears_the_mark_and_takes_the_next) {
    cr_assert_eq(MISSES("sieve", 3, turn), 6); /* the hand: 0 is marked, 1 leaves; then 2; then 3 */
    static const uint32_t longer[] = {0, 1, 2, 0, 3, 0, 1, 2, 0, 1, 2};
    cr_assert_eq(MISSES("sieve", 3, longer), 6); /* and 0, 1, 2 are what is left */
}

Test(policies, sieve_evicts_a_new_item_before_older_ones_that_were_hit) {
    /* 3 takes 0's place. For 4 the hand clears 1 and 2 and comes to 3, which has no mark. An LRU would let 1 go, then 2. */
    static const uint32_t ids[] = {0, 1, 2, 1, 2, 3, 4, 1, 2};
    cr_assert_eq(MISSES("sieve", 3, ids), 5);
    cr_assert_eq(MISSES("lru", 3, ids), 7);
}

Test(policies, belady_evicts_what_is_needed_last) {
    cr_assert_eq(MISSES("belady", 3, turn), 5); /* 2 leaves for 3 */
}

Test(policies, s3fifo_sends_a_small_item_with_two_hits_to_main) {
    /* Ten places, one of them small's share. 0 has two hits when 10 comes: it goes to main, 1 to the ghost. 1 comes back: to main, and 2
     * goes. 2 comes back likewise, and 3 goes. So of the last six 1, 2 and 3 miss, 0, 1 and 9 hit. */
    static const uint32_t ids[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 0, 10, 1, 0, 1, 2, 3, 9};
    cr_assert_eq(MISSES("s3fifo", 10, ids), 14);
}

Test(policies, s3fifo_drops_a_small_item_with_one_hit) {
    static const uint32_t ids[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 10, 0};
    cr_assert_eq(MISSES("s3fifo", 10, ids), 12);
}

Test(policies, s3fifo_gives_main_items_another_turn_for_a_hit) {
    /* Two places: small one, main one, ghost one. 0 goes to main for its two hits when 2 needs room, and 1 to the ghost; 1 comes back into
     * main; 0 is hit; when 2 comes back from the ghost main is over its share: 0 goes round, 1 leaves for good. 0 hits, 1 misses. */
    static const uint32_t ids[] = {0, 0, 0, 1, 2, 1, 0, 2, 0, 1};
    cr_assert_eq(MISSES("s3fifo", 2, ids), 6);
}

Test(policies, with_room_for_all_only_first_requests_miss) {
    for (const struct policy *policy = policies; policy->name; policy++)
        cr_assert_eq(MISSES(policy->name, 4, turn), 4, "%s", policy->name);
}

Test(policies, a_loop_one_larger_than_the_cache_defeats_fifo_and_lru_but_not_belady) {
    uint32_t ids[40];
    for (unsigned i = 0; i < 40; i++)
        ids[i] = i % 4;
    cr_assert_eq(MISSES("fifo", 3, ids), 40);
    cr_assert_eq(MISSES("lru", 3, ids), 40);
    cr_assert_lt(MISSES("belady", 3, ids), 18); /* every third request after the first round */
}

Test(policies, items_that_cost_more_push_out_more) {
    static const uint32_t ids[] = {0, 1, 2, 1, 2}, costs[] = {6, 4, 7, 4, 7};
    /* 2 needs seven of ten: FIFO and LRU let 0 and 1 go; then 1 lets 2 go, and 2 lets 1 go. */
    cr_assert_eq(COST_MISSES("fifo", 10, ids, costs), 5);
    cr_assert_eq(COST_MISSES("lru", 10, ids, costs), 5);
    cr_assert_eq(COST_MISSES("lru", 11, ids, costs), 3); /* 1 and 2 fit together */
}

Test(policies, an_item_larger_than_the_cache_disturbs_nothing) {
    static const uint32_t ids[] = {0, 1, 0, 1}, costs[] = {5, 11, 5, 11};
    for (const struct policy *policy = policies; policy->name; policy++)
        cr_assert_eq(COST_MISSES(policy->name, 10, ids, costs), 3, "%s", policy->name);
}

Test(policies, an_item_that_is_written_anew_takes_its_new_room) {
    /* 0 and 1 cost four of ten each; 0 grows to eight, so 1 must go; 0 itself stays. FIFO lets 0 go, the older one. */
    static const uint32_t ids[] = {0, 1, 0, 0, 1}, costs[] = {4, 4, 8, 8, 4};
    static const uint8_t rewrites[] = {0, 0, 1, 0, 0};
    cr_assert_eq(misses_of("lru", ids, 5, 10, costs, rewrites), 3);
    cr_assert_eq(misses_of("lru", ids, 5, 10, costs, NULL), 2);
    cr_assert_eq(misses_of("fifo", ids, 5, 10, costs, rewrites), 4);
}

Test(policies, arc_keeps_what_was_asked_for_twice_through_a_scan) {
    /* 0 and 1 are frequent when 2 to 7 pass once each; an LRU of four places forgets them. */
    static const uint32_t ids[] = {0, 1, 0, 1, 2, 3, 4, 5, 6, 7, 0, 1};
    cr_assert_eq(MISSES("arc", 4, ids), 8);
    cr_assert_eq(MISSES("lru", 4, ids), 10);
}

Test(policies, arc_gives_the_recent_more_when_their_ghost_is_asked_for) {
    /* Two places. 0 is frequent, so 2 pushes 1 out, into the recent ones' ghost; 1 comes back, the target of the recent rises to one, and
     * of 2 and 0 it is 0 that goes. */
    static const uint32_t ids[] = {0, 0, 1, 2, 1, 2};
    cr_assert_eq(MISSES("arc", 2, ids), 4);
}

Test(policies, wtinylfu_refuses_who_was_asked_for_less_than_the_one_that_would_leave) {
    /* Three places, one of them the window. 0 and 1 were asked for three times; none of 2 to 9, once each, takes their place. */
    static const uint32_t ids[] = {0, 1, 0, 1, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1};
    cr_assert_eq(MISSES("wtinylfu", 3, ids), 10);
    cr_assert_eq(MISSES("lru", 3, ids), 12);
}

Test(policies, wtinylfu_halves_its_counts) {
    /* Two places, so counts are halved each twenty requests. 0 was asked for 15 times long ago; 1 and 2 take turns for 200 requests: had 0
     * kept its count, one of them would miss each time. */
    uint32_t ids[215];
    for (unsigned i = 0; i < 215; i++)
        ids[i] = i < 15 ? 0 : 1 + i % 2;
    cr_assert_lt(MISSES("wtinylfu", 2, ids), 40);
}

Test(policies, a_deleted_item_is_gone_and_its_room_free) {
    static const uint32_t ids[] = {0, 1, 2, 1, 3, 0, 2, 3, 1};
    static const uint8_t after[] = {0, 0, 0, POLICY_DELETE, 0, 0, 0, 0, 0};
    for (const struct policy *policy = policies; policy->name; policy++) /* 3 takes 1's place, and only 1 has to be fetched again */
        if (strcmp(policy->name, "wtinylfu") != 0)
            cr_assert_eq(misses_of(policy->name, ids, 9, 3, NULL, after), 5, "%s", policy->name);
    cr_assert_eq(misses_of("wtinylfu", ids, 8, 3, NULL, after), 4);
}

Test(policies, what_the_cache_at_hand_refuses_is_refused) {
    static const uint32_t ids[] = {0, 1, 0, 1}, costs[] = {5, 7, 5, 7};
    for (const struct policy *policy = policies; policy->name; policy++) {
        struct policy_requests requests = {.count = 4, .ids = ids, .costs = costs, .key_count = 32, .capacity = 20, .cost_max = 6};
        cr_assert_eq(policy->misses(&requests), 3, "%s", policy->name);
    }
}

/* The fewest misses from `at` on, over every choice of what to evict; `held` is a set of items as bits. */
static unsigned fewest(const uint32_t *ids, unsigned count, unsigned at, unsigned held, unsigned capacity) {
    if (at == count)
        return 0;
    unsigned item = 1u << ids[at], best = UINT32_MAX;
    if (held & item)
        return fewest(ids, count, at + 1, held, capacity);
    if ((unsigned)__builtin_popcount(held) < capacity)
        return 1 + fewest(ids, count, at + 1, held | item, capacity);
    for (unsigned rest = held; rest; rest &= rest - 1) {
        unsigned misses = 1 + fewest(ids, count, at + 1, (held & ~(rest & -rest)) | item, capacity);
        best = misses < best ? misses : best;
    }
    return best;
}

Test(policies, belady_is_as_good_as_the_best_of_all_choices_and_none_is_better) {
    struct rng rng = {11};
    for (unsigned turn_number = 0; turn_number < 200; turn_number++) {
        uint32_t ids[14];
        unsigned capacity = 2 + turn_number % 2;
        for (unsigned i = 0; i < 14; i++)
            ids[i] = (uint32_t)rng_below(&rng, 6);
        uint64_t belady = MISSES("belady", capacity, ids);
        cr_assert_eq(belady, fewest(ids, 14, 0, 0, capacity));
        for (const struct policy *policy = policies; policy->name; policy++)
            cr_assert_geq(MISSES(policy->name, capacity, ids), belady, "%s", policy->name);
    }
}

Test(policies, unknown_names_are_not_found) {
    cr_assert_null(policy_find("mru", 3));
    cr_assert_null(policy_find("lrux", 4));
    cr_assert_null(policy_find("", 0));
}

/* ---- what expires ---- */

/* Requests come a second apart; keys below `mortal` live for ttl_ms. */
static uint64_t mortal_misses(const char *name, const uint32_t *ids, size_t count, uint64_t capacity, uint32_t mortal, uint64_t ttl_ms,
                              const uint8_t *after) {
    uint64_t times_ms[64], ttls_ms[32] = {0};
    cr_assert_leq(count, 64);
    for (size_t i = 0; i < count; i++)
        times_ms[i] = i * 1000;
    for (uint32_t id = 0; id < mortal; id++)
        ttls_ms[id] = ttl_ms;
    struct policy_requests requests = {.count = count, .ids = ids, .after = after, .times_ms = times_ms, .ttl_ms = ttls_ms,
                                       .key_count = 32, .capacity = capacity};
    return policy_find(name, strlen(name))->misses(&requests);
}

Test(policies, an_item_that_has_expired_misses) {
    static const uint32_t ids[] = {0, 0, 0, 1, 0}; /* 0 is there at 1 and 2; at 4 it depends */
    for (const struct policy *policy = policies; policy->name; policy++) {
        cr_assert_eq(mortal_misses(policy->name, ids, 5, 4, 1, 3000, NULL), 3, "%s", policy->name);
        cr_assert_eq(mortal_misses(policy->name, ids, 5, 4, 1, 4001, NULL), 2, "%s", policy->name);
        cr_assert_eq(mortal_misses(policy->name, ids, 5, 4, 1, 4000, NULL), 3, "%s", policy->name);
    }
}

Test(policies, a_hit_does_not_make_an_item_live_longer_but_a_set_does) {
    static const uint32_t ids[] = {0, 0, 0, 0};
    static const uint8_t rewrites[] = {0, 0, POLICY_REWRITE, 0};
    for (const struct policy *policy = policies; policy->name; policy++) {
        cr_assert_eq(mortal_misses(policy->name, ids, 4, 2, 1, 3000, NULL), 2, "%s", policy->name);
        cr_assert_eq(mortal_misses(policy->name, ids, 4, 2, 1, 3000, rewrites), 1, "%s", policy->name);
    }
}

Test(policies, a_reaper_makes_room_the_moment_an_item_expires) {
    /* Three places for 9, which lives for ever, and for 0 to 5, which live two seconds and are asked for once, one behind the other: two of
     * them are alive at a time, so nothing that lives has to leave, and 9 is there at the end. Without a reaper 9 is the oldest when the
     * places are full. */
    static const uint32_t ids[] = {9, 0, 1, 2, 3, 4, 5, 9};
    static const char *const with_reaper[] = {"fifo", "lru", "sieve", "s3fifo", "arc", "wtinylfu", "belady"};
    for (unsigned i = 0; i < sizeof with_reaper / sizeof *with_reaper; i++)
        cr_assert_eq(mortal_misses(with_reaper[i], ids, 8, 3, 6, 2000, NULL), 7, "%s", with_reaper[i]);
    cr_assert_eq(mortal_misses("s3fifo-lazy", ids, 8, 3, 6, 2000, NULL), 8);
}

Test(policies, belady_keeps_nothing_that_will_have_expired) {
    /* Two places. 0 is asked for sooner than 1, but has expired by then: it leaves for 2, and 1 is kept. */
    static const uint32_t ids[] = {0, 1, 2, 0, 1};
    cr_assert_eq(mortal_misses("belady", ids, 5, 2, 1, 2500, NULL), 4);
}

Test(policies, nothing_expires_where_all_live_for_ever) {
    for (const struct policy *policy = policies; policy->name; policy++)
        cr_assert_eq(mortal_misses(policy->name, turn, sizeof turn / sizeof *turn, 3, 0, 0, NULL), MISSES(policy->name, 3, turn), "%s",
                     policy->name);
}
