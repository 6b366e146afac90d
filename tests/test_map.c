/* SPDX-License-Identifier: MIT */
/* The map: what every reading and writing function answers, with the edges of keys, values, buffers and versions. Expiry is in
 * test_expiry.c, counters in test_incr.c, long random sequences in test_model.c. */

#include "support.h"
#include "unit.h"

#include <stdlib.h>
#include <string.h>

static struct millpond *pond;

static void setup(void) { pond = support_create(support_path("map.pond"), 64 << 20); }
static void teardown(void) {
    millpond_close(pond);
    support_require_whole(support_path("map.pond"));
}
TestSuite(map, .init = setup, .fini = teardown);

static int set(const char *key, const char *value) { return millpond_set(pond, key, strlen(key), value, strlen(value), 0); }

/* The value as a string, "(miss)" or "(error)". */
static const char *get(const char *key) {
    static char ring[4][128];
    static unsigned next;
    char *buf = ring[next++ % 4];
    size_t bytes = 0;
    int result = millpond_get(pond, key, strlen(key), buf, 127, &bytes);
    if (result == MILLPOND_MISS) return "(miss)";
    if (result != MILLPOND_OK) return "(error)";
    buf[bytes] = 0;
    return buf;
}

static uint64_t version_of(const char *key) {
    uint64_t version = 0;
    char buf[128];
    cr_assert_eq(millpond_get_if_changed(pond, key, strlen(key), buf, sizeof buf, NULL, &version), MILLPOND_OK);
    cr_assert_neq(version, 0, "0 stands for no version");
    return version;
}

/* ---- the ordinary life of a key ---- */

Test(map, a_value_is_there_until_it_is_deleted) {
    cr_assert_str_eq(get("user:1"), "(miss)");
    cr_assert_eq(millpond_contains(pond, "user:1", 6), MILLPOND_MISS);
    cr_assert_eq(set("user:1", "alice"), MILLPOND_OK);
    cr_assert_str_eq(get("user:1"), "alice");
    cr_assert_eq(millpond_contains(pond, "user:1", 6), MILLPOND_OK);
    cr_assert_eq(set("user:1", "bob"), MILLPOND_OK);
    cr_assert_str_eq(get("user:1"), "bob");
    cr_assert_str_eq(get("user:2"), "(miss)");
    cr_assert_str_eq(get("user:"), "(miss)");
    cr_assert_str_eq(get("user:10"), "(miss)");
    cr_assert_eq(millpond_delete(pond, "user:1", 6), MILLPOND_OK);
    cr_assert_str_eq(get("user:1"), "(miss)");
    cr_assert_eq(millpond_delete(pond, "user:1", 6), MILLPOND_MISS);
}

Test(map, add_stores_only_what_is_absent) {
    cr_assert_eq(millpond_add(pond, "k", 1, "first", 5, 0), MILLPOND_OK);
    cr_assert_eq(millpond_add(pond, "k", 1, "second", 6, 0), MILLPOND_EXISTS);
    cr_assert_str_eq(get("k"), "first");
    cr_assert_eq(millpond_delete(pond, "k", 1), MILLPOND_OK);
    cr_assert_eq(millpond_add(pond, "k", 1, "third", 5, 0), MILLPOND_OK);
    cr_assert_str_eq(get("k"), "third");
}

Test(map, replace_stores_only_what_is_present) {
    cr_assert_eq(millpond_replace(pond, "k", 1, "first", 5, 0), MILLPOND_MISS);
    cr_assert_str_eq(get("k"), "(miss)");
    cr_assert_eq(set("k", "one"), MILLPOND_OK);
    cr_assert_eq(millpond_replace(pond, "k", 1, "two", 3, 0), MILLPOND_OK);
    cr_assert_str_eq(get("k"), "two");
}

Test(map, cas_stores_only_what_nobody_changed) {
    cr_assert_eq(millpond_cas(pond, "k", 1, "x", 1, 0, 12345), MILLPOND_MISS);
    cr_assert_eq(set("k", "one"), MILLPOND_OK);
    uint64_t one = version_of("k");
    cr_assert_eq(millpond_cas(pond, "k", 1, "two", 3, 0, one), MILLPOND_OK);
    cr_assert_str_eq(get("k"), "two");
    cr_assert_eq(millpond_cas(pond, "k", 1, "three", 5, 0, one), MILLPOND_CHANGED);
    cr_assert_eq(millpond_cas(pond, "k", 1, "three", 5, 0, 0), MILLPOND_CHANGED);
    cr_assert_eq(millpond_cas(pond, "k", 1, "three", 5, 0, UINT64_MAX), MILLPOND_CHANGED);
    cr_assert_str_eq(get("k"), "two");
    cr_assert_eq(millpond_cas(pond, "k", 1, "three", 5, 0, version_of("k")), MILLPOND_OK);
    cr_assert_str_eq(get("k"), "three");
}

Test(map, a_version_is_never_given_twice_to_a_key) {
    uint64_t seen[400];
    size_t count = 0;
    for (int i = 0; i < 100; i++) {
        cr_assert_eq(set("k", "same"), MILLPOND_OK);
        seen[count++] = version_of("k");
        cr_assert_eq(millpond_touch(pond, "k", 1, i % 2 ? 1000000 : 0), MILLPOND_OK);
        cr_assert_eq(version_of("k"), seen[count - 1], "touch changed the version");
        if (i % 3 == 0) cr_assert_eq(millpond_delete(pond, "k", 1), MILLPOND_OK);
        if (i % 10 == 0) cr_assert_eq(millpond_clear(pond), MILLPOND_OK);
    }
    for (size_t i = 0; i < count; i++)
        for (size_t k = 0; k < i; k++) cr_assert_neq(seen[i], seen[k], "versions %zu and %zu", i, k);
}

Test(map, set_ex_knows_every_condition_and_tells_the_version) {
    struct millpond_set options = {.when = MILLPOND_IF_PRESENT};
    cr_assert_eq(millpond_set_ex(pond, "k", 1, "a", 1, &options), MILLPOND_MISS);
    options.when = MILLPOND_IF_VERSION;
    options.version = 77;
    cr_assert_eq(millpond_set_ex(pond, "k", 1, "a", 1, &options), MILLPOND_MISS);
    cr_assert_eq(options.version, 77, "set on an outcome that does not name it");
    options = (struct millpond_set){.when = MILLPOND_IF_ABSENT};
    cr_assert_eq(millpond_set_ex(pond, "k", 1, "a", 1, &options), MILLPOND_OK);
    cr_assert_eq(options.version, version_of("k"));
    cr_assert_eq(millpond_set_ex(pond, "k", 1, "b", 1, &options), MILLPOND_EXISTS);
    options.when = MILLPOND_IF_VERSION;
    uint64_t first = options.version;
    cr_assert_eq(millpond_set_ex(pond, "k", 1, "c", 1, &options), MILLPOND_OK);
    cr_assert_neq(options.version, first);
    cr_assert_eq(options.version, version_of("k"));
    uint64_t second = options.version;
    options.version = first;
    cr_assert_eq(millpond_set_ex(pond, "k", 1, "d", 1, &options), MILLPOND_CHANGED);
    cr_assert_eq(options.version, first);
    options = (struct millpond_set){0};
    cr_assert_eq(millpond_set_ex(pond, "k", 1, "e", 1, &options), MILLPOND_OK);
    cr_assert(options.version != first && options.version != second);
    options.when = 99;
    cr_assert_eq(millpond_set_ex(pond, "k", 1, "f", 1, &options), MILLPOND_ERR_ARGUMENT);
    cr_assert_str_eq(get("k"), "e");
}

Test(map, get_if_changed_copies_only_what_the_caller_does_not_have) {
    char buf[64];
    size_t bytes = 99;
    uint64_t version = 0;
    cr_assert_eq(millpond_get_if_changed(pond, "k", 1, buf, sizeof buf, &bytes, &version), MILLPOND_MISS);
    cr_assert_eq(set("k", "alpha"), MILLPOND_OK);
    cr_assert_eq(millpond_get_if_changed(pond, "k", 1, NULL, 0, &bytes, &version), MILLPOND_TOO_SMALL);
    cr_assert(bytes == 5 && version != 0, "buffer 0 and version 0 ask for the version alone");
    uint64_t asked = version;
    version = 0;
    cr_assert_eq(millpond_get_if_changed(pond, "k", 1, buf, sizeof buf, &bytes, &version), MILLPOND_OK);
    cr_assert(bytes == 5 && memcmp(buf, "alpha", 5) == 0 && version == asked);
    memset(buf, 'x', sizeof buf);
    cr_assert_eq(millpond_get_if_changed(pond, "k", 1, buf, sizeof buf, &bytes, &version), MILLPOND_UNCHANGED);
    cr_assert(version == asked && buf[0] == 'x', "something was copied although nothing changed");
    cr_assert_eq(set("k", "beta"), MILLPOND_OK);
    cr_assert_eq(millpond_get_if_changed(pond, "k", 1, buf, sizeof buf, &bytes, &version), MILLPOND_OK);
    cr_assert(bytes == 4 && memcmp(buf, "beta", 4) == 0 && version != asked);
    cr_assert_eq(set("empty", ""), MILLPOND_OK);
    version = 0;
    cr_assert_eq(millpond_get_if_changed(pond, "empty", 5, NULL, 0, &bytes, &version), MILLPOND_OK);
    cr_assert(bytes == 0 && version != 0);
    cr_assert_eq(millpond_delete(pond, "k", 1), MILLPOND_OK);
    cr_assert_eq(millpond_get_if_changed(pond, "k", 1, buf, sizeof buf, &bytes, &version), MILLPOND_MISS);
}

/* ---- keys ---- */

Test(map, every_size_of_key_works) {
    unsigned char *key = malloc(MILLPOND_KEY_BYTES_MAX + 1);
    support_fill(key, MILLPOND_KEY_BYTES_MAX + 1, 1);
    /* Every key is a prefix of the next: only the size tells them apart. */
    size_t sizes[600], count = 0;
    for (size_t bytes = 1; bytes <= 520; bytes++) sizes[count++] = bytes;
    for (size_t bytes = 1000; bytes < MILLPOND_KEY_BYTES_MAX; bytes = bytes * 5 / 4) sizes[count++] = bytes;
    sizes[count++] = MILLPOND_KEY_BYTES_MAX - 1;
    sizes[count++] = MILLPOND_KEY_BYTES_MAX;
    for (size_t i = 0; i < count; i++)
        cr_assert_eq(millpond_set(pond, key, sizes[i], &sizes[i], sizeof sizes[i], 0), MILLPOND_OK, "%zu", sizes[i]);
    for (size_t i = 0; i < count; i++) {
        size_t value = 0, bytes = 0;
        cr_assert_eq(millpond_get(pond, key, sizes[i], &value, sizeof value, &bytes), MILLPOND_OK, "%zu", sizes[i]);
        cr_assert(bytes == sizeof value && value == sizes[i]);
    }
    for (size_t i = 0; i < count; i += 2) cr_assert_eq(millpond_delete(pond, key, sizes[i]), MILLPOND_OK);
    for (size_t i = 0; i < count; i++) cr_assert_eq(millpond_contains(pond, key, sizes[i]), i % 2 ? MILLPOND_OK : MILLPOND_MISS);
    free(key);
}

Test(map, keys_of_no_or_too_many_bytes_are_refused_everywhere) {
    char *key = calloc(1, 70000), buf[16];
    void *value;
    uint64_t number = 0;
    int64_t counter;
    static const size_t wrong[] = {0, MILLPOND_KEY_BYTES_MAX + 1, 70000, SIZE_MAX};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        size_t n = wrong[i];
        struct millpond_mget item = {key, n, buf, sizeof buf, 0, 0};
        struct millpond_set options = {0};
        cr_assert_eq(millpond_get(pond, key, n, buf, sizeof buf, NULL), MILLPOND_ERR_ARGUMENT);
        cr_assert_eq(millpond_get_alloc(pond, key, n, &value, NULL), MILLPOND_ERR_ARGUMENT);
        cr_assert_eq(millpond_get_if_changed(pond, key, n, buf, sizeof buf, NULL, &number), MILLPOND_ERR_ARGUMENT);
        cr_assert_eq(millpond_contains(pond, key, n), MILLPOND_ERR_ARGUMENT);
        cr_assert_eq(millpond_ttl(pond, key, n, &number), MILLPOND_ERR_ARGUMENT);
        cr_assert_eq(millpond_set(pond, key, n, "v", 1, 0), MILLPOND_ERR_ARGUMENT);
        cr_assert_eq(millpond_set_ex(pond, key, n, "v", 1, &options), MILLPOND_ERR_ARGUMENT);
        cr_assert_eq(millpond_add(pond, key, n, "v", 1, 0), MILLPOND_ERR_ARGUMENT);
        cr_assert_eq(millpond_replace(pond, key, n, "v", 1, 0), MILLPOND_ERR_ARGUMENT);
        cr_assert_eq(millpond_cas(pond, key, n, "v", 1, 0, 1), MILLPOND_ERR_ARGUMENT);
        cr_assert_eq(millpond_delete(pond, key, n), MILLPOND_ERR_ARGUMENT);
        cr_assert_eq(millpond_touch(pond, key, n, 0), MILLPOND_ERR_ARGUMENT);
        cr_assert_eq(millpond_incr(pond, key, n, 1, NULL, &counter), MILLPOND_ERR_ARGUMENT);
        int result = millpond_mget(pond, &item, 1);
        cr_assert(result == MILLPOND_ERR_ARGUMENT || (result == MILLPOND_OK && item.result == MILLPOND_ERR_ARGUMENT));
        millpond_prefetch(pond, key, n);
    }
    free(key);
}

Test(map, missing_pointers_are_refused) {
    char buf[16];
    cr_assert_eq(millpond_get(pond, NULL, 3, buf, sizeof buf, NULL), MILLPOND_ERR_ARGUMENT);
    cr_assert_eq(millpond_get(pond, "key", 3, NULL, 5, NULL), MILLPOND_ERR_ARGUMENT);
    cr_assert_eq(millpond_get_alloc(pond, "key", 3, NULL, NULL), MILLPOND_ERR_ARGUMENT);
    cr_assert_eq(millpond_get_if_changed(pond, "key", 3, buf, sizeof buf, NULL, NULL), MILLPOND_ERR_ARGUMENT);
    cr_assert_eq(millpond_ttl(pond, "key", 3, NULL), MILLPOND_ERR_ARGUMENT);
    cr_assert_eq(millpond_set(pond, NULL, 3, "v", 1, 0), MILLPOND_ERR_ARGUMENT);
    cr_assert_eq(millpond_set(pond, "key", 3, NULL, 1, 0), MILLPOND_ERR_ARGUMENT);
    cr_assert_eq(millpond_mget(pond, NULL, 1), MILLPOND_ERR_ARGUMENT);
    cr_assert_eq(millpond_mget(pond, NULL, 0), MILLPOND_OK);
    millpond_prefetch(pond, NULL, 3);
    cr_assert_eq(set("key", "v"), MILLPOND_OK);
    cr_assert_eq(millpond_get(pond, "key", 3, buf, sizeof buf, NULL), MILLPOND_OK, "the size may be left out");
    cr_assert_eq(millpond_get(pond, "key", 3, NULL, 0, NULL), MILLPOND_TOO_SMALL);
}

Test(map, keys_of_any_bytes_are_kept_apart) {
    /* All 65,536 keys of two bytes, zero bytes among them. */
    for (unsigned i = 0; i < 65536; i++) {
        unsigned char key[2] = {(unsigned char)(i >> 8), (unsigned char)i};
        cr_assert_eq(millpond_set(pond, key, 2, &i, sizeof i, 0), MILLPOND_OK);
    }
    for (unsigned i = 0; i < 65536; i++) {
        unsigned char key[2] = {(unsigned char)(i >> 8), (unsigned char)i};
        unsigned value = 0;
        cr_assert_eq(millpond_get(pond, key, 2, &value, sizeof value, NULL), MILLPOND_OK);
        cr_assert_eq(value, i);
    }
}

/* ---- buffers ---- */

Test(map, a_buffer_that_is_too_small_is_told_the_size_and_never_overrun) {
    unsigned char value[300], buf[400];
    support_fill(value, sizeof value, 3);
    for (size_t size = 0; size <= sizeof value; size += size < 20 ? 1 : 40) {
        cr_assert_eq(millpond_set(pond, "k", 1, value, size, 0), MILLPOND_OK);
        for (size_t room = 0; room <= size + 20; room++) {
            size_t bytes = 12345;
            memset(buf, 0xA5, sizeof buf);
            int result = millpond_get(pond, "k", 1, buf, room, &bytes);
            cr_assert_eq(result, room < size ? MILLPOND_TOO_SMALL : MILLPOND_OK);
            cr_assert_eq(bytes, size);
            if (result == MILLPOND_OK) cr_assert(memcmp(buf, value, size) == 0);
            for (size_t i = room < size ? room : size; i < sizeof buf; i++)
                cr_assert(buf[i] == 0xA5, "byte %zu was written, size %zu, room %zu", i, size, room);
        }
    }
}

Test(map, get_alloc_ends_its_buffer_with_a_zero) {
    void *value = NULL;
    size_t bytes = 0;
    cr_assert_eq(millpond_get_alloc(pond, "k", 1, &value, &bytes), MILLPOND_MISS);
    cr_assert_null(value);
    for (size_t size = 0; size < 200000; size = size * 3 / 2 + 1) {
        unsigned char *large = malloc(size + 1);
        support_fill(large, size, size);
        cr_assert_eq(millpond_set(pond, "k", 1, large, size, 0), MILLPOND_OK);
        cr_assert_eq(millpond_get_alloc(pond, "k", 1, &value, size % 2 ? &bytes : NULL), MILLPOND_OK);
        if (size % 2) cr_assert_eq(bytes, size);
        cr_assert(memcmp(value, large, size) == 0 && ((char *)value)[size] == 0);
        free(value);
        free(large);
        value = NULL;
    }
}

Test(map, mget_answers_for_each_key_what_get_would) {
    enum { COUNT = 300 };
    struct millpond_mget items[COUNT];
    char keys[COUNT][SUPPORT_KEY_BYTES + 1];
    unsigned char *bufs = calloc(COUNT, 2048), value[2048];
    for (size_t i = 0; i < COUNT; i += 2) {
        support_key(keys[i], i);
        support_fill(value, i * 5, i);
        cr_assert_eq(millpond_set(pond, keys[i], SUPPORT_KEY_BYTES, value, i * 5, 0), MILLPOND_OK);
    }
    for (size_t count = 0; count <= COUNT; count += count < 40 ? 1 : 65) {
        for (size_t i = 0; i < count; i++) {
            support_key(keys[i], i);
            items[i] = (struct millpond_mget){keys[i], SUPPORT_KEY_BYTES, bufs + i * 2048, i % 8 == 4 ? 7 : 2048, 999, 999};
        }
        cr_assert_eq(millpond_mget(pond, items, count), MILLPOND_OK);
        for (size_t i = 0; i < count; i++) {
            int expected = i % 2 ? MILLPOND_MISS : i % 8 == 4 && i * 5 > 7 ? MILLPOND_TOO_SMALL : MILLPOND_OK;
            cr_assert_eq(items[i].result, expected, "key %zu of %zu: %d", i, count, items[i].result);
            if (expected != MILLPOND_MISS) cr_assert_eq(items[i].value_bytes, i * 5);
            if (expected == MILLPOND_OK) cr_assert(support_matches(items[i].buf, i * 5, i), "key %zu of %zu", i, count);
        }
    }
    /* The same key many times, and one key that is wrong among good ones. */
    for (size_t i = 0; i < 10; i++) items[i] = (struct millpond_mget){keys[10], SUPPORT_KEY_BYTES, bufs + i * 2048, 2048, 0, 0};
    cr_assert_eq(millpond_mget(pond, items, 10), MILLPOND_OK);
    for (size_t i = 0; i < 10; i++) cr_assert(items[i].result == MILLPOND_OK && support_matches(items[i].buf, 50, 10));
    free(bufs);
}

/* ---- clear, sync, read-only ---- */

Test(map, clear_removes_everything_and_the_pond_goes_on) {
    for (int round = 0; round < 3; round++) {
        for (uint64_t i = 0; i < 5000; i++) {
            char key[SUPPORT_KEY_BYTES + 1];
            support_key(key, i);
            cr_assert_eq(millpond_set(pond, key, SUPPORT_KEY_BYTES, key, i % 24, i % 2 * 100000), MILLPOND_OK);
        }
        struct millpond_stats stats;
        cr_assert_eq(millpond_stats(pond, -1, &stats), MILLPOND_OK);
        cr_assert_eq(stats.items, 5000);
        cr_assert_eq(millpond_clear(pond), MILLPOND_OK);
        cr_assert_eq(millpond_stats(pond, -1, &stats), MILLPOND_OK);
        cr_assert(stats.items == 0 && stats.bytes == 0);
        cr_assert_eq(stats.sets, 5000u * (unsigned)(round + 1), "statistics go on");
        for (uint64_t i = 0; i < 5000; i++) {
            char key[SUPPORT_KEY_BYTES + 1];
            support_key(key, i);
            cr_assert_eq(millpond_contains(pond, key, SUPPORT_KEY_BYTES), MILLPOND_MISS);
        }
    }
    cr_assert_eq(set("after", "clear"), MILLPOND_OK);
    cr_assert_str_eq(get("after"), "clear");
}

Test(map, sync_changes_nothing_that_can_be_read) {
    cr_assert_eq(set("k", "v"), MILLPOND_OK);
    uint64_t version = version_of("k");
    for (int i = 0; i < 3; i++) cr_assert_eq(millpond_sync(pond), MILLPOND_OK);
    cr_assert_str_eq(get("k"), "v");
    cr_assert_eq(version_of("k"), version);
    cr_assert_eq(set("k", "w"), MILLPOND_OK);
    cr_assert_str_eq(get("k"), "w");
}

Test(map, a_read_only_handle_reads_everything_and_writes_nothing) {
    struct millpond_options options = MILLPOND_OPTIONS_INIT;
    options.flags = MILLPOND_READONLY;
    struct millpond *reader = support_open(support_path("map.pond"), &options);
    char buf[64];
    size_t bytes = 0;
    uint64_t version = 0, ttl = 1;
    void *value;
    cr_assert_eq(set("k", "one"), MILLPOND_OK);
    cr_assert_eq(millpond_get(reader, "k", 1, buf, sizeof buf, &bytes), MILLPOND_OK);
    cr_assert(bytes == 3 && memcmp(buf, "one", 3) == 0);
    cr_assert_eq(set("k", "two"), MILLPOND_OK);
    cr_assert_eq(millpond_get_if_changed(reader, "k", 1, buf, sizeof buf, &bytes, &version), MILLPOND_OK);
    cr_assert(memcmp(buf, "two", 3) == 0, "a reader does not see what a writer stored");
    cr_assert_eq(millpond_get_alloc(reader, "k", 1, &value, NULL), MILLPOND_OK);
    free(value);
    struct millpond_mget item = {"k", 1, buf, sizeof buf, 0, 0};
    cr_assert(millpond_mget(reader, &item, 1) == MILLPOND_OK && item.result == MILLPOND_OK);
    cr_assert_eq(millpond_contains(reader, "k", 1), MILLPOND_OK);
    cr_assert(millpond_ttl(reader, "k", 1, &ttl) == MILLPOND_OK && ttl == 0);
    millpond_prefetch(reader, "k", 1);
    struct millpond_stats stats;
    cr_assert(millpond_stats(reader, -1, &stats) == MILLPOND_OK && stats.items == 1);

    struct millpond_set set_options = {0};
    struct millpond_incr create = {0, 0};
    int64_t number;
    cr_assert_eq(millpond_set(reader, "k", 1, "x", 1, 0), MILLPOND_ERR_READ_ONLY);
    cr_assert_eq(millpond_set_ex(reader, "k", 1, "x", 1, &set_options), MILLPOND_ERR_READ_ONLY);
    cr_assert_eq(millpond_add(reader, "new", 3, "x", 1, 0), MILLPOND_ERR_READ_ONLY);
    cr_assert_eq(millpond_replace(reader, "k", 1, "x", 1, 0), MILLPOND_ERR_READ_ONLY);
    cr_assert_eq(millpond_cas(reader, "k", 1, "x", 1, 0, version), MILLPOND_ERR_READ_ONLY);
    cr_assert_eq(millpond_delete(reader, "k", 1), MILLPOND_ERR_READ_ONLY);
    cr_assert_eq(millpond_touch(reader, "k", 1, 5000), MILLPOND_ERR_READ_ONLY);
    cr_assert_eq(millpond_incr(reader, "n", 1, 1, &create, &number), MILLPOND_ERR_READ_ONLY);
    cr_assert_eq(millpond_clear(reader), MILLPOND_ERR_READ_ONLY);
    cr_assert_eq(millpond_sync(reader), MILLPOND_ERR_READ_ONLY);
    cr_assert_str_eq(get("k"), "two");
    millpond_close(reader);
}
