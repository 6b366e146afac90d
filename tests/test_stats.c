/* SPDX-License-Identifier: MIT */
/* The figures: each is right, shard by shard and in sum, over handles, threads and processes. */

#include "support.h"
#include "unit.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

static struct millpond *pond;

static void setup(void) {
    struct millpond_options options = MILLPOND_OPTIONS_INIT;
    options.flags = MILLPOND_CREATE;
    options.size_bytes = 16 << 20;
    options.shards = 4;
    options.max_item_bytes = 64 << 10;
    pond = support_open(support_path("stats.pond"), &options);
}
static void teardown(void) {
    millpond_close(pond);
    support_require_whole(support_path("stats.pond"));
}
TestSuite(stats, .init = setup, .fini = teardown);

static struct millpond_stats all(void) {
    struct millpond_stats stats;
    memset(&stats, 0xEE, sizeof stats);
    cr_assert_eq(millpond_stats(pond, -1, &stats), MILLPOND_OK);
    return stats;
}

static void set_numbered(uint64_t from, uint64_t to, size_t bytes) {
    char key[SUPPORT_KEY_BYTES + 1];
    char *value = calloc(1, bytes + 1);
    for (uint64_t i = from; i < to; i++) {
        support_key(key, i);
        cr_assert_eq(millpond_set(pond, key, SUPPORT_KEY_BYTES, value, bytes, 0), MILLPOND_OK);
    }
    free(value);
}

Test(stats, a_new_pond_has_sizes_and_counts_of_nothing) {
    struct millpond_stats s = all();
    cr_assert_eq(s.file_bytes, 16 << 20);
    cr_assert_eq(s.shards, 4);
    cr_assert_eq(s.max_item_bytes, 64 << 10);
    cr_assert(s.segments * s.segment_bytes <= s.file_bytes && s.segments * s.segment_bytes > s.file_bytes / 2);
    cr_assert(s.segments_free <= s.segments && s.segments_free > s.segments / 2);
    cr_assert_gt(s.index_slots, 16 << 20 >> 9);
    cr_assert_gt(s.reader_slots, 0);
    cr_assert(s.items == 0 && s.bytes == 0 && s.hits == 0 && s.misses == 0 && s.sets == 0 && s.deletes == 0 && s.evictions == 0);
    cr_assert(s.index_evictions == 0 && s.expirations == 0 && s.ghost_hits == 0 && s.hole_hits == 0 && s.relinks == 0);
    cr_assert(s.bytes_set == 0 && s.bytes_copied == 0 && s.lock_waits == 0 && s.lock_timeouts == 0 && s.recoveries == 0);
    cr_assert(s.warm_starts == 0 && s.cold_starts == 0 && s.retries == 0 && s.gave_up == 0);
}

Test(stats, arguments_are_checked) {
    struct millpond_stats s;
    cr_assert_eq(millpond_stats(pond, 4, &s), MILLPOND_ERR_ARGUMENT);
    cr_assert_eq(millpond_stats(pond, -2, &s), MILLPOND_ERR_ARGUMENT);
    cr_assert_eq(millpond_stats(pond, INT32_MAX, &s), MILLPOND_ERR_ARGUMENT);
    cr_assert_eq(millpond_stats(pond, -1, NULL), MILLPOND_ERR_ARGUMENT);
    for (int i = 0; i < 4; i++) cr_assert_eq(millpond_stats(pond, i, &s), MILLPOND_OK);
}

Test(stats, items_and_bytes_follow_every_change) {
    char key[SUPPORT_KEY_BYTES + 1];
    set_numbered(0, 1000, 100);
    struct millpond_stats s = all();
    cr_assert_eq(s.items, 1000);
    cr_assert_eq(s.bytes, 1000 * (SUPPORT_KEY_BYTES + 100));
    cr_assert_eq(s.sets, 1000);
    cr_assert_geq(s.bytes_set, 1000 * (SUPPORT_KEY_BYTES + 100));
    set_numbered(0, 500, 10);
    set_numbered(500, 600, 1000);
    s = all();
    cr_assert_eq(s.items, 1000);
    cr_assert_eq(s.bytes, 1000 * SUPPORT_KEY_BYTES + 500 * 10 + 100 * 1000 + 400 * 100);
    cr_assert_eq(s.sets, 1600);
    for (uint64_t i = 0; i < 300; i++) {
        support_key(key, i);
        cr_assert_eq(millpond_delete(pond, key, SUPPORT_KEY_BYTES), MILLPOND_OK);
        cr_assert_eq(millpond_delete(pond, key, SUPPORT_KEY_BYTES), MILLPOND_MISS);
    }
    s = all();
    cr_assert_eq(s.items, 700);
    cr_assert_eq(s.deletes, 300, "%" PRIu64 " deletes", s.deletes);
    cr_assert_eq(s.bytes, 700 * SUPPORT_KEY_BYTES + 200 * 10 + 100 * 1000 + 400 * 100);
    /* What stores nothing counts nothing. */
    cr_assert_eq(millpond_add(pond, key, SUPPORT_KEY_BYTES, "x", 1, 0), MILLPOND_OK);
    cr_assert_eq(millpond_add(pond, key, SUPPORT_KEY_BYTES, "x", 1, 0), MILLPOND_EXISTS);
    cr_assert_eq(millpond_replace(pond, "nothing", 7, "x", 1, 0), MILLPOND_MISS);
    s = all();
    cr_assert(s.sets == 1601 && s.items == 701);
}

Test(stats, hits_and_misses_are_counted_to_the_last) {
    char key[SUPPORT_KEY_BYTES + 1], buf[200];
    set_numbered(0, 100, 100);
    struct millpond_stats before = all();
    for (uint64_t i = 0; i < 250; i++) {
        support_key(key, i);
        millpond_get(pond, key, SUPPORT_KEY_BYTES, buf, sizeof buf, NULL);
    }
    struct millpond_stats s = all();
    cr_assert_eq(s.hits - before.hits, 100);
    cr_assert_eq(s.misses - before.misses, 150);
    struct millpond_mget items[50];
    static char keys[50][SUPPORT_KEY_BYTES + 1], bufs[50][200];
    for (uint64_t i = 0; i < 50; i++) {
        support_key(keys[i], 75 + i);
        items[i] = (struct millpond_mget){keys[i], SUPPORT_KEY_BYTES, bufs[i], sizeof bufs[i], 0, 0};
    }
    cr_assert_eq(millpond_mget(pond, items, 50), MILLPOND_OK);
    before = s;
    s = all();
    cr_assert_eq(s.hits - before.hits, 25);
    cr_assert_eq(s.misses - before.misses, 25);
}

static int get_in_child(void *arg) {
    (void)arg;
    char key[SUPPORT_KEY_BYTES + 1], buf[200];
    for (uint64_t i = 0; i < 1000; i++) {
        support_key(key, i % 200);
        int result = millpond_get(pond, key, SUPPORT_KEY_BYTES, buf, sizeof buf, NULL);
        REQUIRE(result == (i % 200 < 100 ? MILLPOND_OK : MILLPOND_MISS), "get: %d", result);
    }
    return 0;
}

static void *get_in_thread(void *arg) {
    get_in_child(arg);
    return NULL;
}

Test(stats, figures_are_of_all_threads_and_processes_also_the_ended_ones) {
    set_numbered(0, 100, 100);
    struct millpond_stats before = all();
    for (int i = 0; i < 5; i++) cr_assert_eq(support_run_child(get_in_child, NULL, 10000), 0);
    pthread_t threads[5];
    for (int i = 0; i < 5; i++) cr_assert_eq(pthread_create(&threads[i], NULL, get_in_thread, NULL), 0);
    for (int i = 0; i < 5; i++) pthread_join(threads[i], NULL);
    struct millpond_stats s = all();
    cr_assert_eq(s.hits - before.hits, 5000, "%" PRIu64 " hits", s.hits - before.hits);
    cr_assert_eq(s.misses - before.misses, 5000, "%" PRIu64 " misses", s.misses - before.misses);
    millpond_close(pond);
    pond = support_open(support_path("stats.pond"), NULL);
    cr_assert_eq(all().hits, s.hits, "the figures did not survive closing");
}

Test(stats, the_shards_add_up_to_the_whole) {
    struct support_random random = support_seed("shards");
    char key[SUPPORT_KEY_BYTES + 1], value[2000] = {0};
    for (int i = 0; i < 200000; i++) { /* several times what the file holds */
        support_key(key, support_below(&random, 90000));
        size_t bytes = support_log_size(&random, 0, sizeof value);
        if (i % 10 == 0)
            millpond_delete(pond, key, SUPPORT_KEY_BYTES);
        else
            cr_assert_eq(millpond_set(pond, key, SUPPORT_KEY_BYTES, value, bytes, i % 7 == 0 ? 5 : 0), MILLPOND_OK);
        if (i % 3 == 0) millpond_get(pond, key, SUPPORT_KEY_BYTES, value, sizeof value, NULL);
    }
    struct millpond_stats whole = all(), sum, shard;
    memset(&sum, 0, sizeof sum);
    for (int i = 0; i < 4; i++) {
        cr_assert_eq(millpond_stats(pond, i, &shard), MILLPOND_OK);
        cr_assert(shard.items > 0 && shard.sets > 0, "shard %d holds nothing", i);
        cr_assert(shard.hits == 0 && shard.misses == 0, "figures of readers belong to no shard");
        sum.segments += shard.segments, sum.segments_free += shard.segments_free, sum.index_slots += shard.index_slots;
        sum.items += shard.items, sum.bytes += shard.bytes, sum.sets += shard.sets, sum.deletes += shard.deletes;
        sum.evictions += shard.evictions, sum.index_evictions += shard.index_evictions, sum.expirations += shard.expirations;
        sum.ghost_hits += shard.ghost_hits, sum.hole_hits += shard.hole_hits, sum.relinks += shard.relinks;
        sum.bytes_set += shard.bytes_set, sum.bytes_copied += shard.bytes_copied;
        sum.lock_waits += shard.lock_waits, sum.lock_timeouts += shard.lock_timeouts, sum.recoveries += shard.recoveries;
        if (shard.steps_max > sum.steps_max) sum.steps_max = shard.steps_max;
        if (shard.step_bytes_max > sum.step_bytes_max) sum.step_bytes_max = shard.step_bytes_max;
    }
#define SAME(field) cr_assert_eq(sum.field, whole.field, #field ": %" PRIu64 " in the shards, %" PRIu64 " in all", sum.field, whole.field)
    SAME(segments);
    SAME(segments_free);
    SAME(index_slots);
    SAME(items);
    SAME(bytes);
    SAME(sets);
    SAME(deletes);
    SAME(evictions);
    SAME(index_evictions);
    SAME(expirations);
    SAME(ghost_hits);
    SAME(hole_hits);
    SAME(relinks);
    SAME(bytes_set);
    SAME(bytes_copied);
    SAME(lock_waits);
    SAME(lock_timeouts);
    SAME(recoveries);
    SAME(steps_max);
    SAME(step_bytes_max);
    cr_assert(whole.evictions > 0 && whole.expirations > 0, "%" PRIu64 " evictions, %" PRIu64 " expirations; the test needs more entries",
              whole.evictions, whole.expirations);
    cr_assert_leq(whole.index_evictions, whole.evictions);
}

static int count_entry(void *arg, const struct millpond_entry *entry) {
    uint64_t *sums = arg;
    sums[0]++;
    sums[1] += entry->key_bytes + entry->value_bytes;
    return 0;
}

Test(stats, items_and_bytes_agree_with_a_scan_after_evictions) {
    struct support_random random = support_seed("scan");
    char key[SUPPORT_KEY_BYTES + 1];
    static char value[40000];
    for (int i = 0; i < 60000; i++) {
        support_key(key, support_below(&random, 50000));
        cr_assert_eq(millpond_set(pond, key, SUPPORT_KEY_BYTES, value, support_log_size(&random, 0, sizeof value), 0), MILLPOND_OK);
    }
    uint64_t sums[2] = {0, 0};
    cr_assert_eq(millpond_scan(pond, NULL, 0, 0, count_entry, sums), MILLPOND_OK);
    struct millpond_stats s = all();
    cr_assert_gt(s.evictions, 1000);
    cr_assert_eq(s.items, sums[0], "%" PRIu64 " items counted, %" PRIu64 " there", s.items, sums[0]);
    cr_assert_eq(s.bytes, sums[1], "%" PRIu64 " bytes counted, %" PRIu64 " there", s.bytes, sums[1]);
    /* Every item that was ever stored under a new key is there, or it left and was counted. */
    struct millpond_check check = {0, 0, 0, 0};
    cr_assert_eq(millpond_check(support_path("stats.pond"), 0, NULL, NULL, &check, NULL), MILLPOND_OK);
    cr_assert(check.entries == s.items && check.bytes == s.bytes);
}

Test(stats, what_was_stored_anew_is_there_or_counted_as_gone) {
    char key[SUPPORT_KEY_BYTES + 1], value[500] = {0};
    for (uint64_t i = 0; i < 100000; i++) { /* each key once */
        support_key(key, i);
        cr_assert_eq(millpond_set(pond, key, SUPPORT_KEY_BYTES, value, i % sizeof value, 0), MILLPOND_OK);
    }
    struct millpond_stats s = all();
    cr_assert_eq(s.items + s.evictions, 100000, "%" PRIu64 " there and %" PRIu64 " evicted of 100000", s.items, s.evictions);
}
