/* SPDX-License-Identifier: MIT */
/* test_workload.c: the keys and values of a run, and what their check notices. */
#include "workload.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

Test(workload, keys_are_hexadecimal_numbers_filled_up) {
    static const uint32_t items[] = {0, 9, 10, 15, 16, 0x9abcdef0, 0x12345678, UINT32_MAX};
    unsigned char key[25] = {0};
    workload_key_init(key, 24);
    for (size_t i = 0; i < sizeof items / sizeof *items; i++) {
        char wanted[32];
        snprintf(wanted, sizeof wanted, "%08xkkkkkkkkkkkkkkkk", items[i]);
        workload_key(key, items[i]);
        cr_assert_str_eq((const char *)key, wanted);
    }
}

/* Whatever bit is wrong, and whatever other item it is asked for: it shows. */
static void damage_each_byte(size_t bytes) {
    unsigned char *value = malloc(bytes + 8);
    workload_value(value, bytes, 77, 123456789);
    cr_assert(workload_is_whole(value, bytes, 77));
    cr_assert(workload_is_of(value, 77));
    cr_assert_not(workload_is_whole(value, bytes, 78));
    cr_assert_not(workload_is_of(value, 78));
    for (size_t at = 0; at < bytes; at++) {
        value[at] ^= 1;
        /* The stamp may be anything, but then the word behind it does not follow from it; where there is no whole one, it may. */
        if (at < 8 || at >= 16 || bytes >= 24)
            cr_assert_not(workload_is_whole(value, bytes, 77), "byte %zu of %zu", at, bytes);
        value[at] ^= 1;
    }
    free(value);
}

Test(workload, a_wrong_byte_is_noticed_at_every_size) {
    static const size_t sizes[] = {8, 9, 15, 16, 17, 23, 24, 100, 1000};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        damage_each_byte(sizes[i]);
}

Test(workload, halves_of_two_writes_are_not_a_value) {
    unsigned char one[100], two[100];
    workload_value(one, sizeof one, 5, 1);
    workload_value(two, sizeof two, 5, 2);
    memcpy(one + 48, two + 48, 52);
    cr_assert_not(workload_is_whole(one, sizeof one, 5));
}

Test(workload, draws_have_the_asked_share_of_reads_and_only_hot_keys) {
    struct dist dist = {DIST_HOT, 0, 3};
    uint32_t *draws = workload_draw(&dist, 1000, 90, 1, 1);
    uint32_t seen[3];
    size_t sets = 0, kinds = 0;
    for (size_t i = 0; i < WORKLOAD_DRAWS; i++) {
        uint32_t item = draws[i] & ~WORKLOAD_SET;
        size_t kind = 0;
        cr_assert_lt(item, 1000);
        while (kind < kinds && seen[kind] != item)
            kind++;
        if (kind == kinds) {
            cr_assert_lt(kinds, 3);
            seen[kinds++] = item;
        }
        sets += (draws[i] & WORKLOAD_SET) != 0;
    }
    double share = (double)sets / WORKLOAD_DRAWS;
    cr_assert(share > 0.095 && share < 0.105);
    munmap(draws, (size_t)WORKLOAD_DRAWS * sizeof *draws);
}
