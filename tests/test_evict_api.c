/* SPDX-License-Identifier: MIT */
/* What stays and what leaves when a file is full: seen from outside, by what gets answer. */

#include "support.h"
#include "unit.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define KEY SUPPORT_KEY_BYTES

static struct millpond *pond;
static unsigned char value[70000], back[70000];

static struct millpond *open_sized(uint64_t size_bytes, uint64_t max_item_bytes) {
    struct millpond_options options = MILLPOND_OPTIONS_INIT;
    options.flags = MILLPOND_CREATE;
    options.size_bytes = size_bytes;
    options.max_item_bytes = max_item_bytes;
    return support_open(support_path("evict.pond"), &options);
}

static void finish(void) {
    millpond_close(pond);
    support_require_whole(support_path("evict.pond"));
}

static void set(uint64_t number, size_t bytes, uint64_t ttl_ms) {
    char key[KEY + 1];
    support_key(key, number);
    support_value_write(value, bytes, number, number);
    int result = millpond_set(pond, key, KEY, value, bytes, ttl_ms);
    cr_assert_eq(result, MILLPOND_OK, "set of key %" PRIu64 ", %zu bytes: %d", number, bytes, result);
}

/* A hit must be right. */
static bool get(uint64_t number) {
    char key[KEY + 1];
    size_t bytes = 0;
    uint64_t sequence = 0;
    support_key(key, number);
    int result = millpond_get(pond, key, KEY, back, sizeof back, &bytes);
    if (result == MILLPOND_MISS) return false;
    cr_assert_eq(result, MILLPOND_OK, "get of key %" PRIu64 ": %d", number, result);
    const char *wrong = support_value_read(back, bytes, number, &sequence);
    cr_assert(!wrong, "key %" PRIu64 ": %s", number, wrong);
    return true;
}

static struct millpond_stats figures(void) {
    struct millpond_stats stats;
    cr_assert_eq(millpond_stats(pond, -1, &stats), MILLPOND_OK);
    return stats;
}

Test(evict_api, ten_times_what_fits_gives_no_error_and_the_newest_stay) {
    pond = open_sized(8 << 20, 0);
    const uint64_t total = 10 * (8 << 20) / 150;
    uint64_t most = 0;
    for (uint64_t i = 0; i < total; i++) {
        set(i, 100, 0);
        cr_assert(get(i), "key %" PRIu64 " is gone at once", i);
        if (i % 4096 == 0) {
            struct millpond_stats stats = figures();
            most = stats.items > most ? stats.items : most;
            cr_assert_leq(stats.items, stats.index_slots);
            cr_assert_lt(stats.bytes, stats.file_bytes);
        }
    }
    struct millpond_stats stats = figures();
    cr_assert_gt(stats.evictions, total / 2);
    cr_assert_eq(stats.items + stats.evictions, total);
    /* 124 bytes of key and value take about 150 in the file with everything: 8 MiB hold some 50,000. */
    cr_assert_gt(most, 42000, "at most %" PRIu64 " items in 8 MiB", most);
    unsigned recent = 0;
    for (uint64_t i = total - 1000; i < total; i++) recent += get(i);
    cr_assert_gt(recent, 990, "%u of the newest 1000 are there", recent);
    finish();
}

Test(evict_api, values_of_changing_sizes_replace_each_other_without_an_error) {
    pond = open_sized(8 << 20, 64 << 10);
    struct support_random random = support_seed("changing sizes");
    static const size_t sizes[] = {40, 64 << 10, 100, 5000, 32, 20000};
    /* Nobody reads, so new keys have the small queue, a tenth of the room; the newest half of that must be there. */
    for (unsigned phase = 0; phase < 12; phase++) { /* small ones, then large ones, then small ones: no size may be stuck with the room */
        size_t size = sizes[phase % 6];
        uint64_t count = 3 * (8 << 20) / (size + 100), recent = (8 << 20) / 20 / (size + 100) + 1;
        for (uint64_t i = 0; i < count; i++) set(((uint64_t)phase << 32) + i, size, 0);
        unsigned there = 0;
        for (uint64_t i = count - recent; i < count; i++) there += get(((uint64_t)phase << 32) + i);
        cr_assert_gt(there * 10, recent * 8, "phase %u, %zu bytes: %u of the newest %" PRIu64 " are there", phase, size, there, recent);
    }
    for (int i = 0; i < 60000; i++) {
        uint64_t number = support_below(&random, 20000);
        set(number, support_log_size(&random, SUPPORT_VALUE_BYTES_MIN, 64 << 10), 0);
        cr_assert(get(number), "a value is gone at once");
    }
    finish();
}

Test(evict_api, the_largest_values_alone_keep_replacing_each_other) {
    pond = open_sized(4 << 20, 60000);
    for (uint64_t i = 0; i < 2000; i++) {
        set(i, 60000, 0);
        cr_assert(get(i), "value %" PRIu64 " is gone at once", i);
    }
    cr_assert_gt(figures().items, 30);
    finish();
}

Test(evict_api, hot_keys_survive_a_flood_of_keys_that_are_used_once) {
    pond = open_sized(8 << 20, 0);
    const uint64_t hot = 2000, flood = 400000, first = UINT64_C(1) << 40;
    for (uint64_t i = 0; i < hot; i++) set(i, 100, 0);
    uint64_t asked = 0, found = 0;
    for (uint64_t i = 0; i < flood; i++) {
        set(first + i, 100, 0);
        if (i % 4 == 0) { /* each hot key is asked for every 8000 keys of the flood, and stored again when it is gone */
            uint64_t number = asked % hot;
            asked++;
            if (get(number))
                found++;
            else
                set(number, 100, 0);
        }
    }
    cr_assert_gt(found * 100, asked * 97, "%" PRIu64 " of %" PRIu64 " gets of hot keys hit", found, asked);
    /* And a flood in which nobody asks for them at all. */
    uint64_t before = 0, after = 0;
    for (int turn = 0; turn < 4; turn++)
        for (uint64_t i = 0; i < hot; i++) before += get(i);
    for (uint64_t i = 0; i < 60000; i++) set(first * 2 + i, 100, 0);
    for (uint64_t i = 0; i < hot; i++) after += get(i);
    cr_assert_gt(after * 100, hot * 80, "%" PRIu64 " of %" PRIu64 " hot keys survived a flood larger than the file", after, hot);
    (void)before;
    finish();
}

Test(evict_api, expired_entries_leave_before_living_ones) {
    pond = open_sized(8 << 20, 0);
    const uint64_t living = 20000, mortal = UINT64_C(1) << 40, more = UINT64_C(1) << 41;
    for (uint64_t i = 0; i < living; i++) set(i, 100, 0);
    for (uint64_t i = 0; i < 20000; i++) set(mortal + i, 100, 50);
    cr_assert_eq(figures().evictions, 0, "the test stored more than fits");
    support_sleep_ms(120);
    for (uint64_t i = 0; i < 20000; i++) set(more + i, 100, 0);
    struct millpond_stats stats = figures();
    uint64_t there = 0;
    for (uint64_t i = 0; i < living; i++) there += get(i);
    for (uint64_t i = 0; i < 20000; i++) there += get(more + i);
    cr_assert_gt(stats.expirations, 5000, "%" PRIu64 " expirations", stats.expirations);
    cr_assert_gt(there, 39900, "%" PRIu64 " of 40000 living entries are there; %" PRIu64 " were evicted", there, stats.evictions);
    for (uint64_t i = 0; i < 20000; i++) cr_assert(!get(mortal + i));
    finish();
}

/* ---- overwriting what fits ---- */

/* Overwrites a working set that takes a part of the room, many times over; nothing of it may leave. */
static void overwrite(const char *name, unsigned percent, size_t low, size_t high, uint64_t (*pick)(uint64_t i, uint64_t keys)) {
    pond = open_sized(8 << 20, 0);
    struct support_random random = support_seed(name);
    /* An entry takes its bytes, 12 to 24 of head, up to 7 of padding and its part of the index. */
    double average = low == high ? (double)low : (double)(high - low) / log((double)high / (double)low);
    uint64_t keys = (uint64_t)((8 << 20) * (percent / 100.0) / (average + KEY + 40)), overwrites = keys * 20;
    for (uint64_t i = 0; i < keys; i++) set(i, support_log_size(&random, low, high), 0);
    struct millpond_stats start = figures();
    cr_assert_eq(start.evictions, 0, "%s: the working set does not fit", name);
    for (uint64_t i = 0; i < overwrites; i++) {
        uint64_t number = pick(i, keys);
        cr_assert(number < keys);
        set(number, support_log_size(&random, low, high), 0);
    }
    struct millpond_stats end = figures();
    uint64_t there = 0;
    for (uint64_t i = 0; i < keys; i++) there += get(i);
    fprintf(stderr, "%s: %" PRIu64 " keys, %" PRIu64 " overwrites, %" PRIu64 " left, %" PRIu64 " bytes copied per 100 set\n", name, keys,
            overwrites, keys - there, end.bytes_copied * 100 / end.bytes_set);
    cr_assert(there == keys && end.evictions == 0, "%s: %" PRIu64 " of %" PRIu64 " keys left (%" PRIu64 " evictions) although they fit",
              name, keys - there, keys, end.evictions);
    finish();
}

static uint64_t pick_uniform(uint64_t i, uint64_t keys) {
    struct support_random random = {i * 2654435761u};
    return support_below(&random, keys);
}

static uint64_t pick_sequential(uint64_t i, uint64_t keys) { return i % keys; }

static uint64_t pick_zipf(uint64_t i, uint64_t keys) {
    static struct support_zipf zipf;
    if (zipf.count != keys) zipf = support_zipf_make(keys, 0.99); /* until the process of this test ends */
    struct support_random random = {i * 2654435761u};
    return support_zipf_next(&zipf, &random) * UINT64_C(7919) % keys;
}

static uint64_t pick_few(uint64_t i, uint64_t keys) { return i % 10 == 0 ? pick_uniform(i, keys) : pick_uniform(i, 20); }

Test(evict_api, overwriting_a_working_set_that_fits_evicts_nothing_uniform) { overwrite("uniform", 70, 100, 100, pick_uniform); }
Test(evict_api, overwriting_a_working_set_that_fits_evicts_nothing_zipf) { overwrite("zipf", 70, 100, 100, pick_zipf); }
Test(evict_api, overwriting_a_working_set_that_fits_evicts_nothing_sequential) { overwrite("sequential", 70, 100, 100, pick_sequential); }
Test(evict_api, overwriting_a_working_set_that_fits_evicts_nothing_few_keys) { overwrite("few keys", 70, 100, 100, pick_few); }
Test(evict_api, overwriting_a_working_set_that_fits_evicts_nothing_changing_sizes) {
    overwrite("changing sizes", 55, 50, 500, pick_uniform);
}
Test(evict_api, overwriting_a_working_set_that_fits_evicts_nothing_changing_sizes_zipf) {
    overwrite("changing sizes, zipf", 55, 50, 500, pick_zipf);
}
Test(evict_api, overwriting_a_small_working_set_evicts_nothing_sizes_by_a_factor_of_100) {
    overwrite("sizes by a factor of 100", 35, 40, 4000, pick_uniform);
}

Test(evict_api, deleting_and_storing_again_evicts_nothing) {
    pond = open_sized(8 << 20, 0);
    struct support_random random = support_seed("deletes");
    const uint64_t keys = 25000;
    for (uint64_t i = 0; i < keys; i++) set(i, 100, 0);
    for (uint64_t i = 0; i < keys * 20; i++) {
        char key[KEY + 1];
        uint64_t number = support_below(&random, keys);
        support_key(key, number);
        cr_assert_eq(millpond_delete(pond, key, KEY), MILLPOND_OK, "key %" PRIu64 " had left", number);
        set(number, 100, 0);
    }
    cr_assert_eq(figures().evictions, 0);
    cr_assert_eq(figures().items, keys);
    finish();
}

Test(evict_api, one_write_does_a_bounded_amount_of_work) {
    pond = open_sized(32 << 20, 0);
    struct support_random random = support_seed("steps");
    for (uint64_t i = 0; i < 1000000; i++) {
        uint64_t number = support_below(&random, 600000);
        set(number, 60, 0);
        if (i % 2) get(support_below(&random, 600000));
    }
    struct millpond_stats stats = figures();
    cr_assert_gt(stats.evictions, 100000);
    fprintf(stderr, "at most %" PRIu64 " entries examined and %" PRIu64 " bytes copied by one write\n", stats.steps_max,
            stats.step_bytes_max);
    cr_assert(stats.steps_max <= 2000, "%" PRIu64 " entries examined by one write", stats.steps_max);
    cr_assert(stats.step_bytes_max <= 4 * stats.segment_bytes, "%" PRIu64 " bytes copied by one write", stats.step_bytes_max);
    finish();
}
