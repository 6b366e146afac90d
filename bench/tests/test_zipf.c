/* SPDX-License-Identifier: MIT */
/* test_zipf.c: the distributions that keys are drawn from, against what they should be. */
#include "zipf.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>

enum { COUNT = 1000, DRAWS = 400000 };

/* Each of the first ranks, and the last half of all together, within five standard deviations of what the law says. */
static void compare_with_law(double exponent) {
    static uint32_t seen[COUNT + 1];
    struct zipf zipf;
    struct rng rng = {7};
    double sum = 0, tail = 0, tail_seen = 0;
    zipf_init(&zipf, COUNT, exponent);
    for (unsigned i = 0; i < DRAWS; i++) {
        uint64_t rank = zipf_draw(&zipf, &rng);
        cr_assert(rank >= 1 && rank <= COUNT);
        seen[rank]++;
    }
    for (unsigned rank = 1; rank <= COUNT; rank++) {
        sum += pow(rank, -exponent);
        if (rank > COUNT / 2)
            tail += pow(rank, -exponent), tail_seen += seen[rank];
    }
    for (unsigned rank = 1; rank <= 20; rank++) {
        double share = pow(rank, -exponent) / sum, wanted = DRAWS * share;
        cr_assert_float_eq(seen[rank], wanted, 5 * sqrt(wanted * (1 - share)), "exponent %g, rank %u: %u, not %g", exponent, rank,
                           seen[rank], wanted);
    }
    double share = tail / sum, wanted = DRAWS * share;
    cr_assert_float_eq(tail_seen, wanted, 5 * sqrt(wanted * (1 - share)), "exponent %g, last half", exponent);
}

Test(zipf, follows_the_law_below_one) {
    compare_with_law(0.5);
}

Test(zipf, follows_the_law_at_0_99) {
    compare_with_law(0.99);
}

Test(zipf, follows_the_law_at_exactly_one) {
    compare_with_law(1);
}

Test(zipf, follows_the_law_above_one) {
    compare_with_law(1.5);
}

Test(zipf, of_one_key_is_always_that_key) {
    struct zipf zipf;
    struct rng rng = {1};
    zipf_init(&zipf, 1, 0.99);
    for (unsigned i = 0; i < 1000; i++)
        cr_assert_eq(zipf_draw(&zipf, &rng), 1);
}

Test(rng, below_reaches_every_number_and_none_beyond) {
    unsigned seen[10] = {0};
    struct rng rng = {3};
    for (unsigned i = 0; i < 10000; i++) {
        uint64_t draw = rng_below(&rng, 10);
        cr_assert_lt(draw, 10);
        seen[draw]++;
    }
    for (unsigned i = 0; i < 10; i++)
        cr_assert(seen[i] > 850 && seen[i] < 1150, "%u: %u times", i, seen[i]);
}

Test(shuffle, is_a_permutation_and_depends_on_its_seed) {
    uint32_t *one = shuffle_new(5000, 1), *two = shuffle_new(5000, 2), *again = shuffle_new(5000, 1);
    unsigned char *seen = calloc(1, 5000);
    unsigned same = 0, in_place = 0;
    for (uint32_t i = 0; i < 5000; i++) {
        cr_assert_lt(one[i], 5000);
        cr_assert_eq(seen[one[i]]++, 0);
        cr_assert_eq(one[i], again[i]);
        same += one[i] == two[i];
        in_place += one[i] == i;
    }
    cr_assert_lt(same, 10);
    cr_assert_lt(in_place, 10);
    free(one), free(two), free(again), free(seen);
}

Test(dist, names_are_read) {
    struct dist dist;
    cr_assert(dist_parse("uniform", &dist));
    cr_assert_eq(dist.kind, DIST_UNIFORM);
    cr_assert(dist_parse("zipf", &dist));
    cr_assert(dist.kind == DIST_ZIPF && dist.exponent > 0.98 && dist.exponent < 1);
    cr_assert(dist_parse("zipf:1.2", &dist));
    cr_assert(dist.exponent > 1.19 && dist.exponent < 1.21);
    cr_assert(dist_parse("hot", &dist));
    cr_assert(dist.kind == DIST_HOT && dist.hot == 1);
    cr_assert(dist_parse("hot:7", &dist));
    cr_assert_eq(dist.hot, 7);
}

Test(dist, other_words_are_refused) {
    static const char *const wrong[] = {"",        "zip",  "zipf:", "zipf:0", "zipf:-1", "zipf:1x",
                                        "zipf:99", "hot:", "hot:0", "hot:-1", "hotter",  "uniform:1"};
    struct dist dist;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        cr_assert_not(dist_parse(wrong[i], &dist), "'%s'", wrong[i]);
}
