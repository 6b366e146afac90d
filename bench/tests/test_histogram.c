/* SPDX-License-Identifier: MIT */
/* test_histogram.c: buckets and percentiles. */
#include "histogram.h"

#include <criterion/criterion.h>
#include <string.h>

static struct histogram histogram, other;

/* Every bucket's top falls into that bucket, the next number into the next one, and no top is more than a sixteenth too high. */
Test(histogram, buckets_are_contiguous_and_at_most_a_sixteenth_wide) {
    uint64_t bottom = 0;
    for (size_t bucket = 0; bucket < HISTOGRAM_BUCKETS; bucket++) {
        uint64_t top = histogram_bucket_top(bucket);
        cr_assert_eq(histogram_bucket(bottom), bucket, "bucket %zu", bucket);
        cr_assert_eq(histogram_bucket(top), bucket, "bucket %zu", bucket);
        cr_assert_leq(top - bottom, bottom / 16, "bucket %zu", bucket);
        bottom = top + 1;
    }
    cr_assert_eq(bottom, 0, "the last bucket ends with the largest number there is");
}

Test(histogram, small_values_are_exact) {
    for (uint64_t value = 0; value < 16; value++)
        histogram_add(&histogram, value);
    cr_assert_eq(histogram_percentile(&histogram, 0.5), 7);
    cr_assert_eq(histogram_percentile(&histogram, 1.0 / 16), 0);
    cr_assert_eq(histogram_percentile(&histogram, 1), 15);
}

Test(histogram, percentiles_are_never_too_low_and_at_most_a_sixteenth_too_high) {
    for (uint64_t value = 1; value <= 100000; value++)
        histogram_add(&histogram, value);
    static const double shares[] = {0.01, 0.5, 0.9, 0.99, 0.999};
    for (size_t i = 0; i < sizeof shares / sizeof *shares; i++) {
        double exact = shares[i] * 100000;
        uint64_t found = histogram_percentile(&histogram, shares[i]);
        cr_assert_geq((double)found, exact - 0.5);
        cr_assert_leq((double)found, exact * 17 / 16);
    }
    cr_assert_eq(histogram_percentile(&histogram, 1), 100000);
}

Test(histogram, a_percentile_does_not_exceed_the_largest_value) {
    histogram_add(&histogram, 1000);
    cr_assert_eq(histogram_percentile(&histogram, 0.5), 1000);
    cr_assert_eq(histogram_percentile(&histogram, 0.9999), 1000);
}

Test(histogram, one_large_value_among_thousand_is_seen_at_the_top_only) {
    for (unsigned i = 0; i < 999; i++)
        histogram_add(&histogram, 10);
    histogram_add(&histogram, 5000000);
    cr_assert_eq(histogram_percentile(&histogram, 0.999), 10);
    cr_assert_eq(histogram_percentile(&histogram, 0.9999), 5000000);
    cr_assert_eq(histogram_percentile(&histogram, 1), 5000000);
}

Test(histogram, an_empty_one_answers_zero) {
    cr_assert_eq(histogram_percentile(&histogram, 0.5), 0);
}

Test(histogram, merging_adds_counts_and_keeps_the_largest_value) {
    for (uint64_t value = 1; value <= 100; value++)
        histogram_add(value % 2 ? &histogram : &other, value * 1000);
    histogram_merge(&histogram, &other);
    cr_assert_eq(histogram.count, 100);
    cr_assert_eq(histogram.max, 100000);
    uint64_t half = histogram_percentile(&histogram, 0.5);
    cr_assert(half >= 50000 && half <= 53125);
}
