/* SPDX-License-Identifier: MIT */
/* Scans: everything that stays is shown, prefixes, an early end, visitors that change the pond, writers beside the scan. */

#include "support.h"
#include "unit.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define ENTRIES 5000

static struct millpond *pond;

static void setup(void) { pond = support_create(support_path("scan.pond"), 16 << 20); }
static void teardown(void) {
    millpond_close(pond);
    support_require_whole(support_path("scan.pond"));
}
TestSuite(scan, .init = setup, .fini = teardown);

static void fill(void) {
    for (uint64_t i = 0; i < ENTRIES; i++) {
        char key[SUPPORT_KEY_BYTES + 1], value[600];
        support_key(key, i);
        size_t bytes = i % 500;
        support_fill(value, bytes, i);
        cr_assert_eq(millpond_set(pond, key, SUPPORT_KEY_BYTES, value, bytes, i % 2 ? 3600000 : 0), MILLPOND_OK);
    }
}

struct seen {
    unsigned count[ENTRIES], others;
    bool keys_only;
    int stop_after, answer;
};

static int note(void *arg, const struct millpond_entry *entry) {
    struct seen *seen = arg;
    if (seen->stop_after > 0 && --seen->stop_after == 0) return seen->answer;
    char text[SUPPORT_KEY_BYTES + 1] = "";
    if (entry->key_bytes != SUPPORT_KEY_BYTES || memcmp(entry->key, "key-", 4) != 0) {
        seen->others++;
        return 0;
    }
    memcpy(text, entry->key, SUPPORT_KEY_BYTES);
    uint64_t i = strtoull(text + 4, NULL, 10);
    REQUIRE(i < ENTRIES, "key %s", text);
    seen->count[i]++;
    REQUIRE(entry->value_bytes == i % 500, "%s has %zu bytes", text, entry->value_bytes);
    REQUIRE(entry->version != 0, "%s has no version", text);
    if (seen->keys_only)
        REQUIRE(!entry->value, "a value was given although keys were asked for");
    else
        REQUIRE(entry->value && support_matches(entry->value, entry->value_bytes, i), "%s has another value", text);
    if (i % 2)
        REQUIRE(entry->ttl_ms > 3500000 && entry->ttl_ms <= 3600000, "%s lives %llu ms", text, (unsigned long long)entry->ttl_ms);
    else
        REQUIRE(entry->ttl_ms == 0, "%s lives %llu ms", text, (unsigned long long)entry->ttl_ms);
    return 0;
}

Test(scan, everything_is_shown_once_while_nothing_changes) {
    fill();
    for (int keys_only = 0; keys_only < 2; keys_only++) {
        struct seen seen = {.keys_only = keys_only};
        cr_assert_eq(millpond_scan(pond, NULL, 0, keys_only ? MILLPOND_SCAN_KEYS : 0, note, &seen), MILLPOND_OK);
        for (int i = 0; i < ENTRIES; i++) cr_assert_eq(seen.count[i], 1, "entry %d was shown %u times", i, seen.count[i]);
        cr_assert_eq(seen.others, 0);
    }
}

Test(scan, an_empty_pond_shows_nothing) {
    struct seen seen = {0};
    cr_assert_eq(millpond_scan(pond, NULL, 0, 0, note, &seen), MILLPOND_OK);
    fill();
    cr_assert_eq(millpond_clear(pond), MILLPOND_OK);
    cr_assert_eq(millpond_scan(pond, NULL, 0, 0, note, &seen), MILLPOND_OK);
    for (int i = 0; i < ENTRIES; i++) cr_assert_eq(seen.count[i], 0);
}

Test(scan, a_prefix_selects) {
    fill();
    cr_assert_eq(millpond_set(pond, "key", 3, "short", 5, 0), MILLPOND_OK);
    cr_assert_eq(millpond_set(pond, "other-00000000000000001", 23, "x", 1, 0), MILLPOND_OK);
    static const struct {
        const char *prefix;
        unsigned expected, others;
    } cases[] = {{"", ENTRIES, 2},
                 {"key", ENTRIES, 1},
                 {"key-", ENTRIES, 0},
                 {"key-000000000000000040", 100, 0},
                 {"key-00000000000000004099", 1, 0},
                 {"key-00000000000000004099x", 0, 0},
                 {"o", 0, 1},
                 {"z", 0, 0}};
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        struct seen seen = {0};
        unsigned shown = 0;
        cr_assert_eq(millpond_scan(pond, cases[c].prefix, strlen(cases[c].prefix), 0, note, &seen), MILLPOND_OK);
        for (int i = 0; i < ENTRIES; i++) shown += seen.count[i];
        cr_assert(shown == cases[c].expected && seen.others == cases[c].others, "'%s': %u and %u", cases[c].prefix, shown, seen.others);
    }
}

Test(scan, the_visitor_may_end_it) {
    fill();
    static const int answers[] = {1, -1, 42, MILLPOND_MISS, -1000};
    for (size_t i = 0; i < sizeof answers / sizeof *answers; i++) {
        struct seen seen = {.stop_after = 10, .answer = answers[i]};
        cr_assert_eq(millpond_scan(pond, NULL, 0, 0, note, &seen), answers[i]);
        unsigned shown = 0;
        for (int k = 0; k < ENTRIES; k++) shown += seen.count[k];
        cr_assert_eq(shown, 9);
    }
}

static int delete_it(void *arg, const struct millpond_entry *entry) {
    unsigned *deleted = arg;
    char buf[600];
    char key[SUPPORT_KEY_BYTES];
    REQUIRE(millpond_get(pond, entry->key, entry->key_bytes, buf, sizeof buf, NULL) == MILLPOND_OK, "get in a visitor");
    memcpy(key, entry->key, SUPPORT_KEY_BYTES);
    REQUIRE(millpond_delete(pond, entry->key, entry->key_bytes) == MILLPOND_OK, "delete in a visitor");
    REQUIRE(millpond_set(pond, "among", 5, buf, *deleted % 600, 0) == MILLPOND_OK, "set in a visitor");
    REQUIRE(memcmp(key, entry->key, SUPPORT_KEY_BYTES) == 0, "the entry's key changed while the visitor looked");
    (*deleted)++;
    return 0;
}

Test(scan, the_visitor_may_change_the_pond) {
    fill();
    unsigned deleted = 0;
    cr_assert_eq(millpond_scan(pond, "key-", 4, 0, delete_it, &deleted), MILLPOND_OK);
    cr_assert_eq(deleted, ENTRIES);
    struct millpond_stats stats;
    cr_assert(millpond_stats(pond, -1, &stats) == MILLPOND_OK && stats.items == 1);
}

Test(scan, expired_and_deleted_entries_are_left_out) {
    fill();
    cr_assert_eq(millpond_set(pond, "brief", 5, "x", 1, 20), MILLPOND_OK);
    for (uint64_t i = 0; i < ENTRIES; i += 3) {
        char key[SUPPORT_KEY_BYTES + 1];
        support_key(key, i);
        cr_assert_eq(millpond_delete(pond, key, SUPPORT_KEY_BYTES), MILLPOND_OK);
    }
    support_sleep_ms(60);
    struct seen seen = {0};
    cr_assert_eq(millpond_scan(pond, NULL, 0, 0, note, &seen), MILLPOND_OK);
    for (unsigned i = 0; i < ENTRIES; i++) cr_assert_eq(seen.count[i], i % 3 ? 1 : 0, "entry %u", i);
    cr_assert_eq(seen.others, 0);
}

static int look_at_number(void *arg, const struct millpond_entry *entry) {
    if (entry->key_bytes == 7) {
        REQUIRE(entry->value_bytes == 3 && memcmp(entry->value, "-42", 3) == 0, "a counter is shown as %zu bytes", entry->value_bytes);
        ++*(int *)arg;
    } else {
        REQUIRE(entry->value_bytes == 700000 && support_matches(entry->value, 700000, 8), "a large value is shown as %zu bytes",
                entry->value_bytes);
        *(int *)arg += 10;
    }
    return 0;
}

Test(scan, counters_are_shown_as_text_and_large_values_whole) {
    struct millpond_incr create = {-42, 0};
    unsigned char *large = malloc(700000);
    support_fill(large, 700000, 8);
    cr_assert_eq(millpond_incr(pond, "counter", 7, 0, &create, NULL), MILLPOND_OK);
    cr_assert_eq(millpond_set(pond, "large", 5, large, 700000, 0), MILLPOND_OK, "16 MiB in default shards hold 700,000 bytes");
    free(large);
    int shown = 0;
    cr_assert_eq(millpond_scan(pond, NULL, 0, 0, look_at_number, &shown), MILLPOND_OK);
    cr_assert_eq(shown, 11);
}

Test(scan, arguments_are_checked) {
    struct seen seen = {0};
    cr_assert_eq(millpond_scan(pond, NULL, 0, 0, NULL, NULL), MILLPOND_ERR_ARGUMENT);
    cr_assert_eq(millpond_scan(pond, NULL, 5, 0, note, &seen), MILLPOND_ERR_ARGUMENT);
    cr_assert_eq(millpond_scan(pond, NULL, 0, 1u << 30, note, &seen), MILLPOND_ERR_ARGUMENT);
}

/* ---- beside writers ---- */

static bool stop;

/* Rewrites, deletes and stores again every entry but each tenth: their neighbours move all the time. */
static void *disturb(void *arg) {
    struct support_random random = support_derive(arg, 1);
    while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
        uint64_t i = support_below(&random, ENTRIES);
        char key[SUPPORT_KEY_BYTES + 1], value[600];
        if (i % 10 == 0) continue;
        support_key(key, i);
        if (support_below(&random, 4) == 0) {
            millpond_delete(pond, key, SUPPORT_KEY_BYTES);
        } else {
            support_fill(value, i % 500, i);
            REQUIRE(millpond_set(pond, key, SUPPORT_KEY_BYTES, value, i % 500, i % 2 ? 3600000 : 0) == MILLPOND_OK, "set");
        }
    }
    return NULL;
}

Test(scan, what_stays_is_always_shown_while_others_write) {
    fill();
    struct support_random seed = support_seed("scan");
    pthread_t writers[2];
    for (int i = 0; i < 2; i++) cr_assert_eq(pthread_create(&writers[i], NULL, disturb, &seed), 0);
    uint64_t end = support_now_ns() + 1500000000;
    unsigned scans = 0;
    do {
        struct seen *seen = calloc(1, sizeof *seen);
        REQUIRE(millpond_scan(pond, NULL, 0, 0, note, seen) == MILLPOND_OK, "scan");
        for (int i = 0; i < ENTRIES; i += 10)
            REQUIRE(seen->count[i] >= 1, "scan %u leaves out entry %d, which was there all the time", scans, i);
        free(seen);
        scans++;
    } while (support_now_ns() < end);
    __atomic_store_n(&stop, true, __ATOMIC_RELAXED);
    for (int i = 0; i < 2; i++) pthread_join(writers[i], NULL);
    fprintf(stderr, "%u scans\n", scans);
    cr_assert_gt(scans, 3);
}
