/* SPDX-License-Identifier: MIT */
/* Counters: made by incr, or set as decimal text; read as decimal text; never wrapped round. */

#include "support.h"
#include "unit.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static struct millpond *pond;

static void setup(void) { pond = support_create(support_path("incr.pond"), 4 << 20); }
static void teardown(void) {
    millpond_close(pond);
    support_require_whole(support_path("incr.pond"));
}
TestSuite(incr, .init = setup, .fini = teardown);

static int set(const char *value, size_t bytes) { return millpond_set(pond, "n", 1, value, bytes, 0); }

static int incr(int64_t delta, int64_t *value) { return millpond_incr(pond, "n", 1, delta, NULL, value); }

static void require_text(const char *expected) {
    char buf[64] = "";
    size_t bytes = 0;
    cr_assert_eq(millpond_get(pond, "n", 1, buf, sizeof buf - 1, &bytes), MILLPOND_OK);
    cr_assert_eq(bytes, strlen(expected), "'%s' and not '%s'", buf, expected);
    buf[bytes] = 0;
    cr_assert_str_eq(buf, expected);
}

Test(incr, an_absent_counter_is_a_miss_or_made) {
    int64_t value = 77;
    struct millpond_incr create = {10, 0};
    cr_assert_eq(incr(1, &value), MILLPOND_MISS);
    cr_assert_eq(value, 77, "set on an outcome that does not name it");
    cr_assert(millpond_incr(pond, "n", 1, 5, &create, &value) == MILLPOND_OK && value == 15);
    cr_assert(millpond_incr(pond, "n", 1, -20, &create, &value) == MILLPOND_OK && value == -5, "the initial value counts once");
    cr_assert(incr(0, &value) == MILLPOND_OK && value == -5);
    cr_assert_eq(incr(1, NULL), MILLPOND_OK);
    require_text("-4");
}

Test(incr, counters_read_as_decimal_text_through_every_function) {
    static const int64_t numbers[] = {0, 1, -1, 9, 10, 99, 100, -100, INT64_MAX, INT64_MIN, 1234567890123456789};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        struct millpond_incr create = {numbers[i], 0};
        char expected[32], buf[64];
        void *copy = NULL;
        size_t bytes = 0;
        uint64_t version = 0;
        int length = snprintf(expected, sizeof expected, "%" PRId64, numbers[i]);
        cr_assert_eq(millpond_incr(pond, "n", 1, 0, &create, NULL), MILLPOND_OK);
        require_text(expected);
        cr_assert_eq(millpond_get_alloc(pond, "n", 1, &copy, &bytes), MILLPOND_OK);
        cr_assert(bytes == (size_t)length && strcmp(copy, expected) == 0);
        free(copy);
        cr_assert_eq(millpond_get_if_changed(pond, "n", 1, buf, sizeof buf, &bytes, &version), MILLPOND_OK);
        cr_assert(bytes == (size_t)length && memcmp(buf, expected, bytes) == 0);
        struct millpond_mget item = {"n", 1, buf, sizeof buf, 0, 0};
        cr_assert(millpond_mget(pond, &item, 1) == MILLPOND_OK && item.result == MILLPOND_OK && item.value_bytes == (size_t)length);
        cr_assert(memcmp(buf, expected, (size_t)length) == 0);
        for (int room = 0; room < length; room++) {
            cr_assert_eq(millpond_get(pond, "n", 1, buf, (size_t)room, &bytes), MILLPOND_TOO_SMALL);
            cr_assert_eq(bytes, (size_t)length);
        }
        cr_assert_eq(millpond_delete(pond, "n", 1), MILLPOND_OK);
    }
}

Test(incr, text_becomes_a_counter) {
    static const struct {
        const char *text;
        int64_t number;
    } texts[] = {
        {"0", 0}, {"7", 7}, {"-7", -7}, {"1000000", 1000000}, {"9223372036854775806", INT64_MAX - 1}, {"-9223372036854775808", INT64_MIN}};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        int64_t value = 0;
        cr_assert_eq(set(texts[i].text, strlen(texts[i].text)), MILLPOND_OK);
        cr_assert_eq(incr(1, &value), MILLPOND_OK, "'%s'", texts[i].text);
        cr_assert_eq(value, texts[i].number + 1);
        char expected[32];
        snprintf(expected, sizeof expected, "%" PRId64, texts[i].number + 1);
        require_text(expected);
        cr_assert_eq(incr(-1, &value), MILLPOND_OK);
        require_text(texts[i].text);
    }
}

Test(incr, what_is_no_number_stays_as_it_is) {
    static const struct {
        const char *bytes;
        size_t count;
    } texts[] = {{"", 0},
                 {"abc", 3},
                 {"12a", 3},
                 {"a12", 3},
                 {" 12", 3},
                 {"12 ", 3},
                 {"-", 1},
                 {"--1", 3},
                 {"1-", 2},
                 {"1.5", 3},
                 {"0x10", 4},
                 {"1\n", 2},
                 {"1\0", 2},
                 {"\0", 1},
                 {"12\0003", 4},
                 {"1e3", 3},
                 {"9223372036854775808", 19},
                 {"-9223372036854775809", 20},
                 {"99999999999999999999999", 23}};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        int64_t value = 77;
        char buf[64];
        size_t bytes = 0;
        cr_assert_eq(set(texts[i].bytes, texts[i].count), MILLPOND_OK);
        int result = incr(1, &value);
        cr_assert(result == MILLPOND_ERR_NOT_A_NUMBER || (i >= 16 && result == MILLPOND_ERR_OVERFLOW), "'%s': %d", texts[i].bytes, result);
        cr_assert_eq(value, 77);
        cr_assert_eq(millpond_get(pond, "n", 1, buf, sizeof buf, &bytes), MILLPOND_OK);
        cr_assert(bytes == texts[i].count && memcmp(buf, texts[i].bytes, bytes) == 0, "an error changed the value");
    }
    /* A long value, and one in chunks. */
    static char digits[200000];
    memset(digits, '1', sizeof digits);
    static const size_t sizes[] = {21, 100, 5000, sizeof digits};
    for (size_t i = 0; i < 4; i++) {
        cr_assert_eq(set(digits, sizes[i]), MILLPOND_OK);
        int result = incr(1, NULL);
        cr_assert(result == MILLPOND_ERR_NOT_A_NUMBER || result == MILLPOND_ERR_OVERFLOW, "%zu digits: %d", sizes[i], result);
    }
}

Test(incr, a_number_never_wraps_round) {
    static const struct {
        int64_t start, delta;
    } cases[] = {{INT64_MAX, 1}, {INT64_MAX - 5, 6}, {INT64_MIN, -1}, {-2, INT64_MIN + 1}, {1, INT64_MAX}, {INT64_MIN, INT64_MIN}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct millpond_incr create = {cases[i].start, 0};
        int64_t value = 77;
        char expected[32];
        cr_assert_eq(millpond_incr(pond, "new", 3, cases[i].delta, &create, &value), MILLPOND_ERR_OVERFLOW);
        cr_assert_eq(millpond_contains(pond, "new", 3), MILLPOND_MISS, "an error made a counter");
        cr_assert_eq(millpond_incr(pond, "n", 1, 0, &create, NULL), MILLPOND_OK);
        cr_assert_eq(incr(cases[i].delta, &value), MILLPOND_ERR_OVERFLOW);
        cr_assert_eq(value, 77);
        snprintf(expected, sizeof expected, "%" PRId64, cases[i].start);
        require_text(expected);
        cr_assert_eq(millpond_delete(pond, "n", 1), MILLPOND_OK);
    }
    struct millpond_incr create = {INT64_MIN, 0};
    int64_t value = 0;
    cr_assert(millpond_incr(pond, "n", 1, INT64_MAX, &create, &value) == MILLPOND_OK && value == -1);
}

Test(incr, a_counter_changes_version_and_can_be_swapped_and_replaced) {
    char buf[64];
    size_t bytes = 0;
    uint64_t seen[50], version = 0;
    struct millpond_incr create = {0, 0};
    for (int i = 0; i < 50; i++) {
        cr_assert_eq(millpond_incr(pond, "n", 1, 1, &create, NULL), MILLPOND_OK);
        int result = millpond_get_if_changed(pond, "n", 1, buf, sizeof buf, &bytes, &version);
        cr_assert_eq(result, MILLPOND_OK, "increment %d: the caller's copy is old, and the answer is %d", i, result);
        cr_assert_eq(millpond_get_if_changed(pond, "n", 1, buf, sizeof buf, &bytes, &version), MILLPOND_UNCHANGED);
        seen[i] = version;
        for (int k = 0; k < i; k++) cr_assert_neq(seen[k], version);
    }
    cr_assert_eq(millpond_cas(pond, "n", 1, "swapped", 7, 0, seen[48]), MILLPOND_CHANGED);
    cr_assert_eq(millpond_cas(pond, "n", 1, "1000", 4, 0, seen[49]), MILLPOND_OK);
    int64_t value = 0;
    cr_assert(incr(1, &value) == MILLPOND_OK && value == 1001);
    cr_assert_eq(set("words", 5), MILLPOND_OK);
    require_text("words");
    cr_assert_eq(incr(1, &value), MILLPOND_ERR_NOT_A_NUMBER);
    cr_assert_eq(millpond_add(pond, "n", 1, "x", 1, 0), MILLPOND_EXISTS);
}

Test(incr, a_counter_keeps_its_own_time_to_live) {
    struct millpond_incr create = {0, 500000}, other = {0, 100};
    uint64_t left = 0;
    cr_assert_eq(millpond_incr(pond, "n", 1, 1, &create, NULL), MILLPOND_OK);
    cr_assert_eq(millpond_incr(pond, "n", 1, 1, &other, NULL), MILLPOND_OK);
    cr_assert(millpond_ttl(pond, "n", 1, &left) == MILLPOND_OK && left > 400000 && left <= 500000);
    /* Text with a time to live keeps it when it becomes a counter. */
    cr_assert_eq(millpond_set(pond, "n", 1, "5", 1, 700000), MILLPOND_OK);
    cr_assert_eq(millpond_incr(pond, "n", 1, 1, &other, NULL), MILLPOND_OK);
    cr_assert(millpond_ttl(pond, "n", 1, &left) == MILLPOND_OK && left > 600000 && left <= 700000);
    cr_assert_eq(millpond_set(pond, "n", 1, "5", 1, 0), MILLPOND_OK);
    cr_assert_eq(millpond_incr(pond, "n", 1, 1, &other, NULL), MILLPOND_OK);
    cr_assert(millpond_ttl(pond, "n", 1, &left) == MILLPOND_OK && left == 0);
}

Test(incr, thousands_of_counters_with_keys_of_every_size_stay_apart) {
    static char key[4000];
    memset(key, 'k', sizeof key);
    struct millpond_incr create = {0, 0};
    int64_t value = 0;
    for (int64_t round = 1; round <= 3; round++)
        for (size_t bytes = 1; bytes <= sizeof key; bytes += bytes < 300 ? 1 : 37) {
            cr_assert_eq(millpond_incr(pond, key, bytes, (int64_t)bytes, &create, &value), MILLPOND_OK);
            cr_assert_eq(value, round * (int64_t)bytes);
        }
}
