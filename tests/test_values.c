/* SPDX-License-Identifier: MIT */
/* Values of every size: none, one byte, around each boundary between one entry and chunks, the largest; growing, shrinking, replaced. */

#include "support.h"
#include "unit.h"

#include <stdlib.h>
#include <string.h>

#define LARGEST (16 << 20)

static struct millpond *open_large(void) {
    struct millpond_options options = MILLPOND_OPTIONS_INIT;
    options.size_bytes = 256 << 20;
    options.max_item_bytes = LARGEST;
    options.flags = MILLPOND_CREATE;
    return support_open(support_path("large.pond"), &options);
}

static unsigned char *buffer, *back;

static void setup(void) {
    buffer = malloc(LARGEST + 1);
    back = malloc(LARGEST + 1);
    cr_assert(buffer && back);
}
static void teardown(void) {
    free(buffer);
    free(back);
}
TestSuite(values, .init = setup, .fini = teardown);

static void store(struct millpond *pond, const char *key, size_t size, uint64_t seed) {
    support_fill(buffer, size, seed);
    int result = millpond_set(pond, key, strlen(key), buffer, size, 0);
    cr_assert_eq(result, MILLPOND_OK, "set of %zu bytes: %d", size, result);
}

static void require(struct millpond *pond, const char *key, size_t size, uint64_t seed) {
    size_t bytes = 0;
    int result = millpond_get(pond, key, strlen(key), back, LARGEST, &bytes);
    cr_assert_eq(result, MILLPOND_OK, "get of %zu bytes: %d", size, result);
    cr_assert_eq(bytes, size);
    cr_assert(support_matches(back, size, seed), "%zu bytes came back changed", size);
}

Test(values, every_size_from_0_to_5000) {
    struct millpond *pond = support_create(support_path("small.pond"), 64 << 20);
    char key[32];
    for (size_t size = 0; size <= 5000; size++) {
        snprintf(key, sizeof key, "size-%zu", size);
        store(pond, key, size, size);
    }
    for (size_t size = 0; size <= 5000; size++) {
        snprintf(key, sizeof key, "size-%zu", size);
        require(pond, key, size, size);
    }
    millpond_close(pond);
    cr_assert_eq(support_require_whole(support_path("small.pond")).entries, 5001);
}

Test(values, sizes_around_every_power_of_two_and_segment_boundary) {
    struct millpond *pond = open_large();
    struct millpond_stats stats;
    cr_assert_eq(millpond_stats(pond, -1, &stats), MILLPOND_OK);
    size_t around[64], count = 0;
    for (size_t size = 8192; size <= LARGEST; size *= 2) around[count++] = size;
    for (size_t parts = 1; parts <= 16; parts *= 2) around[count++] = (size_t)stats.segment_bytes / parts;
    for (size_t i = 2; i <= 7; i++) around[count++] = (size_t)stats.segment_bytes * i;
    uint64_t seed = 1;
    for (size_t i = 0; i < count; i++)
        for (int64_t off = -40; off <= 40; off += around[i] > (4 << 20) ? 20 : off > -10 && off < 10 ? 1 : 5) {
            size_t size = (size_t)((int64_t)around[i] + off);
            if (size > LARGEST) continue;
            store(pond, "around", size, ++seed);
            require(pond, "around", size, seed);
        }
    millpond_close(pond);
    support_require_whole(support_path("large.pond"));
}

Test(values, the_largest_is_stored_and_one_byte_more_is_refused) {
    struct millpond *pond = open_large();
    struct millpond_stats stats;
    cr_assert_eq(millpond_stats(pond, -1, &stats), MILLPOND_OK);
    cr_assert_eq(stats.max_item_bytes, LARGEST);
    for (uint64_t i = 0; i < 3; i++) {
        store(pond, "largest", LARGEST, i);
        require(pond, "largest", LARGEST, i);
    }
    support_fill(buffer, LARGEST + 1, 9);
    cr_assert_eq(millpond_set(pond, "largest", 7, buffer, LARGEST + 1, 0), MILLPOND_ERR_TOO_LARGE);
    cr_assert_eq(millpond_set(pond, "largest", 7, buffer, SIZE_MAX, 0), MILLPOND_ERR_TOO_LARGE);
    cr_assert_eq(millpond_add(pond, "other", 5, buffer, LARGEST + 1, 0), MILLPOND_ERR_TOO_LARGE);
    require(pond, "largest", LARGEST, 2);
    cr_assert_eq(millpond_contains(pond, "other", 5), MILLPOND_MISS);
    millpond_close(pond);
    support_require_whole(support_path("large.pond"));
}

Test(values, a_long_key_and_a_large_value_go_together) {
    struct millpond *pond = open_large();
    char *key = malloc(MILLPOND_KEY_BYTES_MAX);
    memset(key, 'k', MILLPOND_KEY_BYTES_MAX);
    static const size_t sizes[] = {0, 1, 1000, 100000, 1 << 20, LARGEST - 1, LARGEST};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        support_fill(buffer, sizes[i], i);
        cr_assert_eq(millpond_set(pond, key, MILLPOND_KEY_BYTES_MAX, buffer, sizes[i], 0), MILLPOND_OK, "%zu", sizes[i]);
        size_t bytes = 0;
        cr_assert_eq(millpond_get(pond, key, MILLPOND_KEY_BYTES_MAX, back, LARGEST, &bytes), MILLPOND_OK);
        cr_assert(bytes == sizes[i] && support_matches(back, bytes, i), "%zu", sizes[i]);
    }
    free(key);
    millpond_close(pond);
    support_require_whole(support_path("large.pond"));
}

Test(values, one_key_grows_and_shrinks_through_all_sizes) {
    struct millpond *pond = open_large();
    struct support_random random = support_seed("growing");
    store(pond, "neighbour", 777, 1);
    for (uint64_t i = 0; i < 400; i++) {
        size_t size = support_log_size(&random, 0, i % 20 == 0 ? LARGEST : 200000);
        store(pond, "k", size, i);
        require(pond, "k", size, i);
        cr_assert_eq(millpond_contains(pond, "neighbour", 9), MILLPOND_OK);
    }
    require(pond, "neighbour", 777, 1);
    struct millpond_stats stats;
    cr_assert_eq(millpond_stats(pond, -1, &stats), MILLPOND_OK);
    cr_assert_eq(stats.items, 2);
    millpond_close(pond);
    cr_assert_eq(support_require_whole(support_path("large.pond")).entries, 2);
}

Test(values, many_large_values_stand_beside_each_other) {
    struct millpond *pond = open_large();
    char key[32];
    uint64_t sum = 0;
    for (uint64_t i = 0; i < 60; i++) {
        snprintf(key, sizeof key, "large-%llu", (unsigned long long)i);
        store(pond, key, (size_t)(i * 40000 + 7), i);
        sum += i * 40000 + 7 + strlen(key);
    }
    for (uint64_t i = 0; i < 60; i++) {
        snprintf(key, sizeof key, "large-%llu", (unsigned long long)i);
        require(pond, key, (size_t)(i * 40000 + 7), i);
        unsigned char few[10];
        size_t bytes = 0;
        cr_assert_eq(millpond_get(pond, key, strlen(key), few, i ? sizeof few : 3, &bytes), MILLPOND_TOO_SMALL);
        cr_assert_eq(bytes, i * 40000 + 7);
    }
    struct millpond_stats stats;
    cr_assert_eq(millpond_stats(pond, -1, &stats), MILLPOND_OK);
    cr_assert_eq(stats.items, 60);
    cr_assert_eq(stats.bytes, sum, "%llu bytes counted, %llu stored", (unsigned long long)stats.bytes, (unsigned long long)sum);
    for (uint64_t i = 0; i < 60; i += 2) {
        snprintf(key, sizeof key, "large-%llu", (unsigned long long)i);
        cr_assert_eq(millpond_delete(pond, key, strlen(key)), MILLPOND_OK);
    }
    for (uint64_t i = 1; i < 60; i += 2) {
        snprintf(key, sizeof key, "large-%llu", (unsigned long long)i);
        require(pond, key, (size_t)(i * 40000 + 7), i);
    }
    millpond_close(pond);
    cr_assert_eq(support_require_whole(support_path("large.pond")).entries, 30);
}
