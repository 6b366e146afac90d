/* SPDX-License-Identifier: MIT */
/* The judge and the contents of the stress programs are tested here by histories and values that are wrong on purpose: a stress test
 * that finds nothing proves nothing unless its judge would have spoken. */

#include "oracle.h"
#include "support.h"

#include "unit.h"
#include <stdlib.h>

static uint64_t set(struct oracle *oracle, size_t key) {
    struct oracle_change change = oracle_set_begins(oracle, key);
    oracle_set_ends(oracle, key, change, true);
    support_sleep_us(2); /* the next moment is a later one */
    return change.sequence;
}

Test(oracle, the_newest_value_is_allowed) {
    struct oracle *oracle = oracle_make(2);
    for (int i = 0; i < 1000; i++) {
        uint64_t sequence = set(oracle, 1);
        struct oracle_get get = oracle_get_begins(oracle, 1);
        cr_assert_null(oracle_get_hit(oracle, 1, get, sequence));
    }
}

Test(oracle, a_value_older_than_an_acknowledged_one_is_not) {
    struct oracle *oracle = oracle_make(2);
    uint64_t old = set(oracle, 1);
    for (int i = 0; i < 3 * ORACLE_ENDS; i++) {
        set(oracle, 1);
        struct oracle_get get = oracle_get_begins(oracle, 1);
        cr_assert_not_null(oracle_get_hit(oracle, 1, get, old), "%d sets later", i + 1);
    }
    cr_assert_eq(oracle->unknown, 0);
}

Test(oracle, a_get_that_began_before_the_newer_set_returned_may_see_either) {
    struct oracle *oracle = oracle_make(1);
    uint64_t old = set(oracle, 0);
    struct oracle_get get = oracle_get_begins(oracle, 0);
    uint64_t fresh = set(oracle, 0);
    cr_assert_null(oracle_get_hit(oracle, 0, get, old));
    cr_assert_null(oracle_get_hit(oracle, 0, get, fresh));
}

Test(oracle, sets_that_overlap_may_end_in_either_order) {
    struct oracle *oracle = oracle_make(1);
    struct oracle_change a = oracle_set_begins(oracle, 0), b = oracle_set_begins(oracle, 0);
    oracle_set_ends(oracle, 0, b, true);
    oracle_set_ends(oracle, 0, a, true);
    support_sleep_us(2);
    struct oracle_get get = oracle_get_begins(oracle, 0);
    cr_assert_null(oracle_get_hit(oracle, 0, get, a.sequence));
    cr_assert_null(oracle_get_hit(oracle, 0, get, b.sequence));
}

Test(oracle, a_loaded_value_is_as_old_as_its_load) {
    struct oracle *oracle = oracle_make(1);
    struct oracle_change load = oracle_set_begins(oracle, 0);
    support_sleep_us(2);
    uint64_t newer = set(oracle, 0);
    oracle_load_ends(oracle, 0, load, true);
    struct oracle_get get = oracle_get_begins(oracle, 0);
    cr_assert_not_null(oracle_get_hit(oracle, 0, get, load.sequence), "it was stored over what came later");
    cr_assert_null(oracle_get_hit(oracle, 0, get, newer));
    struct oracle_change next = oracle_set_begins(oracle, 0);
    oracle_load_ends(oracle, 0, next, true);
    cr_assert_null(oracle_get_hit(oracle, 0, oracle_get_begins(oracle, 0), next.sequence));
}

Test(oracle, a_set_under_way_for_long_is_judged_once_it_has_returned) {
    struct oracle *oracle = oracle_make(1);
    struct oracle_change slow = oracle_set_begins(oracle, 0);
    for (int i = 0; i < 2 * ORACLE_ENDS; i++) set(oracle, 0);
    struct oracle_get get = oracle_get_begins(oracle, 0);
    cr_assert_null(oracle_get_hit(oracle, 0, get, slow.sequence), "it may have stored its value this moment");
    cr_assert_eq(oracle->unknown, 1);
    oracle_set_ends(oracle, 0, slow, true);
    set(oracle, 0);
    get = oracle_get_begins(oracle, 0);
    cr_assert_not_null(oracle_get_hit(oracle, 0, get, slow.sequence));
}

Test(oracle, a_value_whose_set_failed_or_never_was_is_not_allowed) {
    struct oracle *oracle = oracle_make(1);
    set(oracle, 0);
    struct oracle_change change = oracle_set_begins(oracle, 0);
    oracle_set_ends(oracle, 0, change, false);
    struct oracle_get get = oracle_get_begins(oracle, 0);
    cr_assert_not_null(oracle_get_hit(oracle, 0, get, change.sequence));
    cr_assert_not_null(oracle_get_hit(oracle, 0, get, 0));
    cr_assert_not_null(oracle_get_hit(oracle, 0, get, change.sequence + 1));
}

Test(oracle, a_miss_needs_a_delete_after_the_last_set) {
    struct oracle *oracle = oracle_make(1);
    cr_assert_null(oracle_get_miss(oracle, 0, oracle_get_begins(oracle, 0)), "nothing was set yet");
    uint64_t sequence = set(oracle, 0);
    cr_assert_not_null(oracle_get_miss(oracle, 0, oracle_get_begins(oracle, 0)));
    struct oracle_change change = oracle_delete_begins(oracle, 0);
    cr_assert_null(oracle_get_miss(oracle, 0, oracle_get_begins(oracle, 0)), "the delete is under way");
    oracle_delete_ends(oracle, 0, change, true);
    support_sleep_us(2);
    cr_assert_null(oracle_get_miss(oracle, 0, oracle_get_begins(oracle, 0)));
    cr_assert_not_null(oracle_get_hit(oracle, 0, oracle_get_begins(oracle, 0), sequence), "a deleted value came back");
    set(oracle, 0);
    cr_assert_not_null(oracle_get_miss(oracle, 0, oracle_get_begins(oracle, 0)));
}

Test(content, every_damaged_byte_of_a_value_is_noticed) {
    unsigned char value[200];
    uint64_t sequence = 0;
    for (size_t bytes = SUPPORT_VALUE_BYTES_MIN; bytes < sizeof value; bytes += 7) {
        support_value_write(value, bytes, 5, 77);
        cr_assert_null(support_value_read(value, bytes, 5, &sequence));
        cr_assert_eq(sequence, 77);
        for (size_t i = 0; i < bytes; i++) {
            value[i] ^= 0x10;
            cr_assert_not_null(support_value_read(value, bytes, 5, &sequence), "byte %zu of %zu", i, bytes);
            value[i] ^= 0x10;
        }
    }
}

Test(content, values_of_other_keys_sizes_and_mixtures_are_noticed) {
    unsigned char a[256], b[256];
    uint64_t sequence = 0;
    support_value_write(a, sizeof a, 5, 77);
    cr_assert_not_null(support_value_read(a, sizeof a, 6, &sequence));
    cr_assert_not_null(support_value_read(a, sizeof a - 8, 5, &sequence));
    support_value_write(b, sizeof b, 5, 78);
    for (size_t cut = 16; cut < sizeof a; cut += 8) {
        unsigned char torn[256];
        for (size_t i = 0; i < sizeof torn; i++) torn[i] = i < cut ? a[i] : b[i];
        cr_assert_not_null(support_value_read(torn, sizeof torn, 5, &sequence), "torn at %zu", cut);
    }
}

Test(content, zipf_is_steep_and_random_sizes_cover_their_range) {
    struct support_random random = support_seed("content");
    struct support_zipf zipf = support_zipf_make(1000, 0.99);
    size_t first = 0, last_half = 0, smallest = SIZE_MAX, largest = 0;
    for (int i = 0; i < 100000; i++) {
        size_t rank = support_zipf_next(&zipf, &random);
        cr_assert_lt(rank, 1000);
        first += rank == 0;
        last_half += rank >= 500;
        size_t size = support_log_size(&random, 10, 100000);
        smallest = size < smallest ? size : smallest;
        largest = size > largest ? size : largest;
    }
    cr_assert(first > 11000 && first < 15500, "rank 0 in %zu of 100000 (expected 13,200)", first);
    cr_assert(last_half > 7000 && last_half < 12000, "the last half in %zu of 100000", last_half);
    cr_assert(smallest >= 10 && smallest < 12 && largest <= 100000 && largest > 90000, "%zu to %zu", smallest, largest);
    support_zipf_free(&zipf);
}
