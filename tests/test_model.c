/* SPDX-License-Identifier: MIT */
/* Tens of thousands of random calls, each answer compared with a simple map in this process: an array by key number. The file is large
 * enough that nothing is evicted, so that every answer is known. The seed is printed; MILLPOND_TEST_SEED repeats a run. */

#include "support.h"
#include "unit.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define KEYS        600
#define VALUE_MAX   (300 << 10)
#define LONG_TTL_MS 36000000

/* What the reference knows of a key. The value follows from seed and bytes, or is the text of number. */
struct known {
    bool there, counter;
    uint64_t seed, version, ttl_ms, stored_ns;
    size_t bytes;
    int64_t number;
    size_t key_bytes;
    unsigned char *key;
};

static struct millpond *pond;
static struct known *known;
static struct support_random dice;
static unsigned char *value, *back;
static uint64_t seeds;
static struct { uint64_t calls, hits, misses, large; } done;

/* The bytes that a get of this key must give, in `value`. */
static size_t expected(const struct known *k) {
    if (k->counter) return (size_t)sprintf((char *)value, "%" PRId64, k->number);
    support_fill(value, k->bytes, k->seed);
    return k->bytes;
}

static size_t number_of(const struct known *k) { return (size_t)(k - known); }

#define AGREE(condition, ...) cr_assert(condition, __VA_ARGS__)

static void agree_value(const struct known *k, const char *call, int result, const void *bytes, size_t count) {
    AGREE(result == (k->there ? MILLPOND_OK : MILLPOND_MISS), "call %" PRIu64 ", %s of key %zu: %d, the reference has %s", done.calls, call,
          number_of(k), result, k->there ? "it" : "nothing");
    done.hits += k->there;
    done.misses += !k->there;
    if (!k->there) return;
    size_t right = expected(k);
    AGREE(count == right && memcmp(bytes, value, right) == 0, "call %" PRIu64 ", %s of key %zu: %zu bytes, the reference has %zu%s",
          done.calls, call, number_of(k), count, right, count == right ? ", other ones" : "");
}

static void learn_version(struct known *k) {
    uint64_t version = 0;
    int result = millpond_get_if_changed(pond, k->key, k->key_bytes, back, VALUE_MAX, NULL, &version);
    AGREE(result == MILLPOND_OK && version != 0 && version != k->version, "key %zu: %d, version %" PRIu64 " after %" PRIu64, number_of(k),
          result, version, k->version);
    k->version = version;
}

static void stored(struct known *k, size_t bytes, uint64_t seed, uint64_t ttl_ms) {
    k->there = true;
    k->counter = false;
    k->bytes = bytes;
    k->seed = seed;
    k->ttl_ms = ttl_ms;
    k->stored_ns = support_now_ns();
    learn_version(k);
}

static void write_key(struct known *k) {
    uint64_t seed = ++seeds, ttl = support_below(&dice, 4) == 0 ? LONG_TTL_MS + support_below(&dice, LONG_TTL_MS) : 0;
    size_t bytes = support_log_size(&dice, 0, support_below(&dice, 50) == 0 ? VALUE_MAX : 2000);
    int result, right;
    support_fill(value, bytes, seed);
    done.large += bytes > 100000;
    switch (support_below(&dice, 8)) {
    case 0:
        result = millpond_add(pond, k->key, k->key_bytes, value, bytes, ttl);
        right = k->there ? MILLPOND_EXISTS : MILLPOND_OK;
        break;
    case 1:
        result = millpond_replace(pond, k->key, k->key_bytes, value, bytes, ttl);
        right = k->there ? MILLPOND_OK : MILLPOND_MISS;
        break;
    case 2: {
        bool stale = support_below(&dice, 3) == 0;
        result = millpond_cas(pond, k->key, k->key_bytes, value, bytes, ttl, stale ? k->version + 1 : k->version);
        right = !k->there ? MILLPOND_MISS : stale ? MILLPOND_CHANGED : MILLPOND_OK;
        break;
    }
    default: result = millpond_set(pond, k->key, k->key_bytes, value, bytes, ttl); right = MILLPOND_OK;
    }
    AGREE(result == right, "call %" PRIu64 ", a kind of set of key %zu, %zu bytes: %d and not %d", done.calls, number_of(k), bytes, result,
          right);
    if (result == MILLPOND_OK) stored(k, bytes, seed, ttl);
}

static void count_key(struct known *k) {
    struct millpond_incr create = {(int64_t)support_below(&dice, 1000), 0};
    bool make = support_below(&dice, 2) == 0;
    int64_t delta = (int64_t)support_below(&dice, 20001) - 10000, result_value = 0;
    int result = millpond_incr(pond, k->key, k->key_bytes, delta, make ? &create : NULL, &result_value);
    int right = k->there && !k->counter ? MILLPOND_ERR_NOT_A_NUMBER : k->there || make ? MILLPOND_OK : MILLPOND_MISS;
    /* A random value of a few bytes may happen to be a number: then the reference asks what it was. */
    if (k->there && !k->counter && k->bytes > 0 && k->bytes < 8 && result == MILLPOND_OK) {
        char *end;
        support_fill(value, k->bytes, k->seed);
        value[k->bytes] = 0;
        k->number = strtoll((char *)value, &end, 10);
        if (end == (char *)value + k->bytes) right = MILLPOND_OK;
    }
    AGREE(result == right, "call %" PRIu64 ", incr of key %zu: %d and not %d", done.calls, number_of(k), result, right);
    if (result != MILLPOND_OK) return;
    if (!k->there) {
        k->number = create.initial;
        k->ttl_ms = 0;
        k->stored_ns = support_now_ns();
    }
    k->there = k->counter = true;
    k->number += delta;
    AGREE(result_value == k->number, "call %" PRIu64 ", incr of key %zu: %" PRId64 " and not %" PRId64, done.calls, number_of(k),
          result_value, k->number);
    learn_version(k);
}

static void read_key(struct known *k) {
    size_t bytes = 0;
    uint64_t version = 0;
    switch (support_below(&dice, 6)) {
    case 0: {
        void *copy = NULL;
        int result = millpond_get_alloc(pond, k->key, k->key_bytes, &copy, &bytes);
        agree_value(k, "get_alloc", result, copy, bytes);
        free(copy);
        break;
    }
    case 1: {
        version = support_below(&dice, 2) ? k->version : 0;
        int result = millpond_get_if_changed(pond, k->key, k->key_bytes, back, VALUE_MAX, &bytes, &version);
        if (k->there && result == MILLPOND_UNCHANGED)
            AGREE(version == k->version && version != 0, "unchanged, and it was");
        else
            agree_value(k, "get_if_changed", result, back, bytes);
        if (k->there) AGREE(version == k->version, "key %zu has version %" PRIu64 " and not %" PRIu64, number_of(k), version, k->version);
        break;
    }
    case 2: {
        int result = millpond_ttl(pond, k->key, k->key_bytes, &version);
        AGREE(result == (k->there ? MILLPOND_OK : MILLPOND_MISS), "ttl of key %zu: %d", number_of(k), result);
        if (!k->there) break;
        uint64_t elapsed = (support_now_ns() - k->stored_ns) / 1000000;
        AGREE(k->ttl_ms == 0 ? version == 0 : version <= k->ttl_ms && version + elapsed + 50 >= k->ttl_ms,
              "key %zu has %" PRIu64 " ms of %" PRIu64 " after %" PRIu64, number_of(k), version, k->ttl_ms, elapsed);
        break;
    }
    case 3:
        AGREE(millpond_contains(pond, k->key, k->key_bytes) == (k->there ? MILLPOND_OK : MILLPOND_MISS), "contains, key %zu", number_of(k));
        break;
    default: {
        int result = millpond_get(pond, k->key, k->key_bytes, back, VALUE_MAX, &bytes);
        agree_value(k, "get", result, back, bytes);
    }
    }
}

static void change_key(struct known *k) {
    if (support_below(&dice, 2)) {
        int result = millpond_delete(pond, k->key, k->key_bytes);
        AGREE(result == (k->there ? MILLPOND_OK : MILLPOND_MISS), "delete of key %zu: %d", number_of(k), result);
        k->there = k->counter = false;
    } else {
        uint64_t ttl = support_below(&dice, 2) * (LONG_TTL_MS + support_below(&dice, LONG_TTL_MS));
        int result = millpond_touch(pond, k->key, k->key_bytes, ttl);
        AGREE(result == (k->there ? MILLPOND_OK : MILLPOND_MISS), "touch of key %zu: %d", number_of(k), result);
        k->ttl_ms = ttl;
        k->stored_ns = support_now_ns();
    }
}

/* ---- all of it at once ---- */

static int visit(void *arg, const struct millpond_entry *entry) {
    bool *seen = arg;
    for (size_t i = 0; i < KEYS; i++) {
        struct known *k = &known[i];
        if (k->key_bytes != entry->key_bytes || memcmp(k->key, entry->key, k->key_bytes) != 0) continue;
        AGREE(!seen[i], "the scan shows key %zu twice", i);
        seen[i] = true;
        agree_value(k, "scan", MILLPOND_OK, entry->value, entry->value_bytes);
        AGREE(entry->version == k->version, "the scan shows another version of key %zu", i);
        AGREE((entry->ttl_ms == 0) == (k->ttl_ms == 0), "the scan shows another time to live of key %zu", i);
        return 0;
    }
    AGREE(false, "the scan shows a key of %zu bytes that nobody stored", entry->key_bytes);
    return 1;
}

static void agree_on_everything(void) {
    bool seen[KEYS] = {false};
    uint64_t items = 0;
    AGREE(millpond_scan(pond, NULL, 0, 0, visit, seen) == MILLPOND_OK, "scan");
    for (size_t i = 0; i < KEYS; i++) {
        AGREE(seen[i] == known[i].there, "the scan %s key %zu", seen[i] ? "shows" : "leaves out", i);
        items += known[i].there;
    }
    struct millpond_stats stats;
    AGREE(millpond_stats(pond, -1, &stats) == MILLPOND_OK && stats.items == items, "%" PRIu64 " items and not %" PRIu64, stats.items,
          items);
    AGREE(stats.evictions == 0, "entries were evicted; the test needs a larger file");
}

static void prepare(void) {
    dice = support_seed("model");
    known = calloc(KEYS, sizeof *known);
    value = malloc(VALUE_MAX + 64);
    back = malloc(VALUE_MAX + 64);
    cr_assert(known && value && back);
    for (size_t i = 0; i < KEYS; i++) {
        struct known *k = &known[i];
        k->key_bytes = 4 + (i % 40 == 0 ? support_log_size(&dice, 1, 60000) : support_below(&dice, 60));
        k->key = malloc(k->key_bytes);
        support_fill(k->key, k->key_bytes, i);
        uint32_t number = (uint32_t)i; /* no two are equal */
        memcpy(k->key, &number, 4);
    }
}

static void run(uint64_t calls, const struct millpond_options *options) {
    prepare();
    const char *path = support_path("model.pond");
    pond = support_open(path, options);
    for (done.calls = 0; done.calls < calls; done.calls++) {
        struct known *k = &known[support_below(&dice, support_below(&dice, 2) ? KEYS : 50)];
        uint64_t kind = support_below(&dice, 100);
        if (kind < 40)
            read_key(k);
        else if (kind < 75)
            write_key(k);
        else if (kind < 85)
            count_key(k);
        else
            change_key(k);
        if (done.calls % 5000 == 4999) {
            agree_on_everything();
            millpond_close(pond);
            support_require_whole(path);
            pond = support_open(path, NULL);
        }
        if (done.calls % 30000 == 29999) {
            AGREE(millpond_clear(pond) == MILLPOND_OK, "clear");
            for (size_t i = 0; i < KEYS; i++) known[i].there = known[i].counter = false;
        }
    }
    agree_on_everything();
    millpond_close(pond);
    support_require_whole(path);
    fprintf(stderr, "%" PRIu64 " calls: %" PRIu64 " values compared, %" PRIu64 " misses, %" PRIu64 " large values\n", done.calls, done.hits,
            done.misses, done.large);
    AGREE(done.hits > calls / 5 && done.misses > calls / 50 && done.large > calls / 5000, "too little was compared");
    for (size_t i = 0; i < KEYS; i++) free(known[i].key);
    free(known);
    free(value);
    free(back);
}

Test(model, every_answer_is_that_of_a_simple_map) {
    struct millpond_options options = MILLPOND_OPTIONS_INIT;
    options.flags = MILLPOND_CREATE;
    options.size_bytes = 256 << 20;
    run(70000, &options);
}

Test(model, also_in_one_shard_of_small_segments) {
    struct millpond_options options = MILLPOND_OPTIONS_INIT;
    options.flags = MILLPOND_CREATE;
    options.size_bytes = 96 << 20;
    options.shards = 1;
    options.segment_bytes = 64 << 10;
    options.max_item_bytes = 1 << 20;
    run(40000, &options);
}

Test(model, also_in_many_shards) {
    struct millpond_options options = MILLPOND_OPTIONS_INIT;
    options.flags = MILLPOND_CREATE;
    options.size_bytes = 256 << 20;
    options.shards = 32;
    options.max_item_bytes = 1 << 20;
    run(40000, &options);
}
