/* SPDX-License-Identifier: MIT */
/* Transactions and snapshots, in one process and its children: what a transaction sees, what makes its commit fail, what that leaves, and
 * the limits. Several processes: mp_bank. Deaths and stops at every step: crash/crash_txn, crash_points. */

#include "support.h"
#include "unit.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

static struct millpond *pond;
static struct millpond_txn *txn;

static void create(uint64_t size_bytes, uint32_t shards) {
    struct millpond_options options = MILLPOND_OPTIONS_INIT;
    options.flags = MILLPOND_CREATE;
    options.size_bytes = size_bytes;
    options.shards = shards;
    pond = support_open(support_path("txn.pond"), &options);
}
static void setup(void) { create(8 << 20, 8); }
static void teardown(void) {
    millpond_close(pond);
    support_require_whole(support_path("txn.pond"));
}
TestSuite(txn, .init = setup, .fini = teardown);
TestSuite(txn_small, .fini = teardown);
TestSuite(snapshot, .init = setup, .fini = teardown);

static void begin(void) { cr_assert_eq(millpond_txn_begin(pond, &txn), MILLPOND_OK); }
static int commit(void) { return millpond_txn_commit(txn); }
static int put(const char *key, const char *value) { return millpond_txn_set(txn, key, strlen(key), value, strlen(value), 0); }
static int remove_key(const char *key) { return millpond_txn_delete(txn, key, strlen(key)); }
static int set(const char *key, const char *value) { return millpond_set(pond, key, strlen(key), value, strlen(value), 0); }

static void require_text(int result, const char *buf, size_t bytes, const char *key, const char *expected) {
    if (expected)
        cr_assert(result == MILLPOND_OK && bytes == strlen(expected) && memcmp(buf, expected, bytes) == 0, "%s: %d, %.*s, expected %s", key,
                  result, (int)(result == MILLPOND_OK ? bytes : 0), buf, expected);
    else
        cr_assert_eq(result, MILLPOND_MISS, "%s: %d", key, result);
}

/* What the transaction reads, and what everybody reads; NULL for a miss. */
static void inside(const char *key, const char *expected) {
    char buf[64];
    size_t bytes = 0;
    int result = millpond_txn_get(txn, key, strlen(key), buf, sizeof buf, &bytes);
    require_text(result, buf, bytes, key, expected);
}
static void outside(const char *key, const char *expected) {
    char buf[64];
    size_t bytes = 0;
    int result = millpond_get(pond, key, strlen(key), buf, sizeof buf, &bytes);
    require_text(result, buf, bytes, key, expected);
}

Test(txn, it_sees_its_own_changes_and_others_see_them_at_the_commit) {
    set("a", "1"), set("b", "2");
    begin();
    put("a", "10"), put("c", "30"), put("c", "31"), remove_key("b"), put("d", "4"), remove_key("d"), remove_key("e"), put("e", "");
    inside("a", "10"), inside("c", "31"), inside("b", NULL), inside("d", NULL), inside("e", "");
    outside("a", "1"), outside("c", NULL), outside("b", "2"), outside("e", NULL);
    cr_assert_eq(commit(), MILLPOND_OK);
    outside("a", "10"), outside("c", "31"), outside("b", NULL), outside("d", NULL), outside("e", "");
}

Test(txn, an_abort_leaves_nothing) {
    set("a", "1");
    begin();
    inside("a", "1"), put("a", "2"), put("b", "3"), remove_key("c");
    millpond_txn_abort(txn);
    millpond_txn_abort(NULL);
    outside("a", "1"), outside("b", NULL);
}

Test(txn, what_was_read_and_changed_makes_the_commit_fail_wholly) {
    static const char *const ways[] = {"set", "delete", "the same value again", "delete and set"};
    for (unsigned way = 0; way < sizeof ways / sizeof *ways; way++) {
        set("a", "1"), set("b", "1");
        begin();
        inside("a", "1"), put("b", "2"), put("c", "2"), remove_key("a");
        if (way == 0) set("a", "9");
        if (way == 1 || way == 3) millpond_delete(pond, "a", 1);
        if (way == 2 || way == 3) set("a", "1");
        cr_assert_eq(commit(), MILLPOND_CHANGED, "%s", ways[way]);
        outside("a", way == 0 ? "9" : way == 1 ? NULL : "1"), outside("b", "1"), outside("c", NULL);
    }
}

Test(txn, a_miss_that_was_read_must_still_be_one) {
    begin();
    inside("a", NULL), put("a", "mine");
    cr_assert_eq(commit(), MILLPOND_OK); /* added, as it was absent */
    millpond_delete(pond, "a", 1);
    begin();
    inside("a", NULL), put("a", "mine");
    set("a", "somebody's");
    cr_assert_eq(commit(), MILLPOND_CHANGED);
    outside("a", "somebody's");
    begin(); /* there and gone again: absent all the same */
    inside("b", NULL), put("b", "mine");
    set("b", "short-lived"), millpond_delete(pond, "b", 1);
    cr_assert_eq(commit(), MILLPOND_OK);
    outside("b", "mine");
}

Test(txn, what_it_did_not_read_does_not_matter) {
    set("a", "1");
    begin();
    put("a", "2"), remove_key("b");
    inside("a", "2"); /* its own: no read of the pond */
    set("a", "3"), set("b", "3");
    cr_assert_eq(commit(), MILLPOND_OK);
    outside("a", "2"), outside("b", NULL);
}

Test(txn, another_time_to_live_is_no_change) {
    set("a", "1");
    begin();
    inside("a", "1"), put("b", "2");
    millpond_touch(pond, "a", 1, 3600000), millpond_touch(pond, "a", 1, 0);
    cr_assert_eq(commit(), MILLPOND_OK);
}

Test(txn, reads_alone_are_validated) {
    set("a", "1"), set("b", "1");
    begin();
    inside("a", "1"), inside("b", "1");
    cr_assert_eq(commit(), MILLPOND_OK);
    begin();
    inside("a", "1"), set("b", "2"), inside("b", "2"), set("a", "2");
    cr_assert_eq(commit(), MILLPOND_CHANGED);
    begin();
    cr_assert_eq(commit(), MILLPOND_OK, "an empty one");
}

Test(txn, a_key_that_reads_differently_the_second_time_ends_it) {
    char buf[8];
    size_t bytes;
    set("a", "1");
    begin();
    inside("a", "1"), put("b", "2");
    set("a", "2");
    cr_assert_eq(millpond_txn_get(txn, "a", 1, buf, sizeof buf, &bytes), MILLPOND_CHANGED);
    set("a", "1");
    cr_assert_eq(commit(), MILLPOND_CHANGED);
    outside("b", NULL);
}

Test(txn, a_value_that_is_too_large_for_the_buffer_was_read_too) {
    char buf[4];
    size_t bytes = 0;
    set("a", "longer than that");
    begin();
    cr_assert_eq(millpond_txn_get(txn, "a", 1, buf, sizeof buf, &bytes), MILLPOND_TOO_SMALL);
    cr_assert_eq(bytes, 16);
    put("b", "as long"), put("c", "1");
    cr_assert(millpond_txn_get(txn, "b", 1, buf, sizeof buf, &bytes) == MILLPOND_TOO_SMALL && bytes == 7);
    set("a", "x");
    cr_assert_eq(commit(), MILLPOND_CHANGED);
}

Test(txn, counters_are_read_as_text_and_their_changes_count) {
    struct millpond_incr create = {41, 0};
    millpond_incr(pond, "n", 1, 1, &create, NULL);
    begin();
    inside("n", "42"), put("m", "1");
    millpond_incr(pond, "n", 1, 1, NULL, NULL);
    cr_assert_eq(commit(), MILLPOND_CHANGED);
    begin();
    inside("n", "43"), put("n", "100");
    cr_assert_eq(commit(), MILLPOND_OK);
    outside("n", "100");
    int64_t number;
    cr_assert(millpond_incr(pond, "n", 1, 1, NULL, &number) == MILLPOND_OK && number == 101);
}

Test(txn, incr_reads_and_sets) {
    struct millpond_incr create = {100, 0};
    int64_t number = 7;
    uint64_t ttl_ms;
    set("text", "-5"), set("word", "abc"), set("largest", "9223372036854775807");
    cr_assert_eq(millpond_incr(pond, "n", 1, 1, &create, NULL), MILLPOND_OK);
    millpond_touch(pond, "n", 1, 3600000);
    begin();
    cr_assert(millpond_txn_incr(txn, "none", 4, 1, NULL, &number) == MILLPOND_MISS && number == 7);
    cr_assert(millpond_txn_incr(txn, "n", 1, 1, NULL, &number) == MILLPOND_OK && number == 102);
    cr_assert(millpond_txn_incr(txn, "n", 1, 1, &create, &number) == MILLPOND_OK && number == 103);
    cr_assert(millpond_txn_incr(txn, "text", 4, -5, NULL, &number) == MILLPOND_OK && number == -10);
    cr_assert(millpond_txn_incr(txn, "new", 3, 1, &create, &number) == MILLPOND_OK && number == 101);
    cr_assert_eq(millpond_txn_incr(txn, "word", 4, 1, NULL, NULL), MILLPOND_ERR_NOT_A_NUMBER);
    cr_assert_eq(millpond_txn_incr(txn, "largest", 7, 1, NULL, NULL), MILLPOND_ERR_OVERFLOW);
    put("own", "41");
    cr_assert(millpond_txn_incr(txn, "own", 3, 1, NULL, &number) == MILLPOND_OK && number == 42);
    inside("n", "103"), inside("text", "-10"), inside("own", "42"), outside("n", "101");
    cr_assert_eq(commit(), MILLPOND_OK);
    outside("n", "103"), outside("text", "-10"), outside("new", "101"), outside("own", "42"), outside("word", "abc");
    cr_assert(millpond_ttl(pond, "n", 1, &ttl_ms) == MILLPOND_OK && ttl_ms > 3000000 && ttl_ms <= 3600000, "it keeps its time");
    cr_assert(millpond_ttl(pond, "new", 3, &ttl_ms) == MILLPOND_OK && ttl_ms == 0);
    cr_assert(millpond_incr(pond, "n", 1, 1, NULL, &number) == MILLPOND_OK && number == 104, "still a counter");
    begin();
    cr_assert_eq(millpond_txn_incr(txn, "n", 1, 1, NULL, NULL), MILLPOND_OK);
    millpond_incr(pond, "n", 1, 1, NULL, NULL);
    cr_assert_eq(commit(), MILLPOND_CHANGED);
    outside("n", "105");
}

Test(txn, the_time_to_live_begins_with_the_commit) {
    uint64_t ttl_ms = 0;
    begin();
    cr_assert_eq(millpond_txn_set(txn, "a", 1, "1", 1, 5000), MILLPOND_OK);
    cr_assert_eq(millpond_txn_set(txn, "b", 1, "1", 1, 1), MILLPOND_OK);
    put("c", "1");
    support_sleep_ms(600);
    cr_assert_eq(commit(), MILLPOND_OK);
    cr_assert(millpond_ttl(pond, "a", 1, &ttl_ms) == MILLPOND_OK && ttl_ms > 4500 && ttl_ms <= 5000, "%llu", (unsigned long long)ttl_ms);
    cr_assert(millpond_ttl(pond, "c", 1, &ttl_ms) == MILLPOND_OK && ttl_ms == 0);
    support_sleep_ms(10);
    outside("b", NULL);
}

Test(txn, what_expires_before_the_commit_has_changed) {
    millpond_set(pond, "a", 1, "1", 1, SANITIZED ? 2000 : 500); /* under valgrind a call takes milliseconds */
    begin();
    inside("a", "1"), put("b", "1");
    while (millpond_contains(pond, "a", 1) == MILLPOND_OK) support_sleep_ms(10);
    cr_assert_eq(commit(), MILLPOND_CHANGED);
    begin(); /* an expired one is absent, and may be put or removed */
    inside("a", NULL), put("a", "2");
    cr_assert_eq(commit(), MILLPOND_OK);
    outside("a", "2");
}

Test(txn, versions_views_and_scans_see_what_was_committed) {
    char buf[16];
    size_t bytes;
    uint64_t version = 0, before;
    struct millpond_view view, old;
    set("a", "1"), set("b", "1");
    millpond_get_if_changed(pond, "a", 1, buf, sizeof buf, &bytes, &version);
    before = version;
    cr_assert_eq(millpond_view(pond, "a", 1, &old), MILLPOND_OK);
    begin();
    put("a", "2"), remove_key("b");
    cr_assert_eq(commit(), MILLPOND_OK);
    cr_assert(millpond_get_if_changed(pond, "a", 1, buf, sizeof buf, &bytes, &version) == MILLPOND_OK && version != before);
    cr_assert_eq(millpond_get_if_changed(pond, "a", 1, buf, sizeof buf, &bytes, &version), MILLPOND_UNCHANGED);
    cr_assert_eq(millpond_cas(pond, "a", 1, "3", 1, 0, before), MILLPOND_CHANGED);
    cr_assert(millpond_view(pond, "a", 1, &view) == MILLPOND_OK && memcmp(view.value, "2", 1) == 0);
    cr_assert(memcmp(old.value, "1", 1) == 0, "a view of the old value");
    millpond_view_release(&view), millpond_view_release(&old);
    cr_assert_eq(millpond_cas(pond, "a", 1, "3", 1, 0, version), MILLPOND_OK);
    struct millpond_stats stats;
    cr_assert(millpond_stats(pond, -1, &stats) == MILLPOND_OK && stats.items == 1 && stats.deletes == 1);
    cr_assert_eq(millpond_clear(pond), MILLPOND_OK);
    outside("a", NULL);
}

Test(txn, arguments_and_read_only_handles) {
    struct millpond_options options = MILLPOND_OPTIONS_INIT;
    struct millpond *reader;
    struct millpond_txn *none = NULL;
    options.flags = MILLPOND_READONLY;
    reader = support_open(support_path("txn.pond"), &options);
    cr_assert(millpond_txn_begin(reader, &none) == MILLPOND_ERR_READ_ONLY && none == NULL);
    millpond_close(reader);
    cr_assert_eq(millpond_txn_begin(pond, NULL), MILLPOND_ERR_ARGUMENT);
    begin();
    cr_assert_eq(millpond_txn_set(txn, "", 0, "x", 1, 0), MILLPOND_ERR_ARGUMENT);
    cr_assert_eq(millpond_txn_set(txn, "k", 1, NULL, 1, 0), MILLPOND_ERR_ARGUMENT);
    cr_assert_eq(millpond_txn_set(txn, "k", 1, "x", 1, UINT64_MAX), MILLPOND_ERR_ARGUMENT);
    cr_assert_eq(millpond_txn_get(txn, NULL, 1, NULL, 0, NULL), MILLPOND_ERR_ARGUMENT);
    cr_assert_eq(millpond_txn_get(txn, "k", 1, NULL, 1, NULL), MILLPOND_ERR_ARGUMENT);
    cr_assert_eq(millpond_txn_delete(txn, "k", 0), MILLPOND_ERR_ARGUMENT);
    cr_assert_eq(millpond_txn_set(txn, "k", 1, NULL, 0, 0), MILLPOND_OK);
    cr_assert_eq(commit(), MILLPOND_OK);
    outside("k", "");
    cr_assert_eq(millpond_txn_commit(NULL), MILLPOND_ERR_ARGUMENT);
    cr_assert_eq(millpond_txn_get(NULL, "k", 1, NULL, 0, NULL), MILLPOND_ERR_ARGUMENT);
    cr_assert_str_eq(millpond_strerror(MILLPOND_ERR_TXN_TOO_LARGE), "the transaction is too large");
}

/* ---- sizes ---- */

Test(txn, values_in_chunks_and_long_keys) {
    static char long_key[3000];
    size_t bytes = 70000, got = 0;
    unsigned char *value = malloc(bytes), *copy = malloc(bytes);
    memset(long_key, 'k', sizeof long_key);
    support_fill(value, bytes, 7);
    for (int turn = 0; turn < 6; turn++) {
        begin();
        for (unsigned char i = 0; i < 4; i++) {
            value[0] = i;
            cr_assert_eq(millpond_txn_set(txn, &"abcd"[i], 1, value, i == 3 ? 10 : bytes - (size_t)turn * 1000, 0), MILLPOND_OK);
        }
        cr_assert_eq(millpond_txn_set(txn, long_key, sizeof long_key, value, 5, 0), MILLPOND_OK);
        cr_assert(millpond_txn_get(txn, "b", 1, copy, bytes, &got) == MILLPOND_OK && copy[0] == 1);
        cr_assert_eq(commit(), MILLPOND_OK);
        for (unsigned char i = 0; i < 3; i++) {
            cr_assert_eq(millpond_get(pond, &"abcd"[i], 1, copy, bytes, &got), MILLPOND_OK);
            cr_assert(got == bytes - (size_t)turn * 1000 && copy[0] == i && memcmp(copy + 1, value + 1, got - 1) == 0);
        }
        cr_assert_eq(millpond_contains(pond, long_key, sizeof long_key), MILLPOND_OK);
    }
    begin();
    remove_key("a"), remove_key("b"), put("c", "short");
    cr_assert_eq(commit(), MILLPOND_OK);
    outside("a", NULL), outside("c", "short");
    struct millpond_stats stats;
    cr_assert(millpond_stats(pond, -1, &stats) == MILLPOND_OK);
    cr_assert_eq(millpond_txn_begin(pond, &txn), MILLPOND_OK);
    cr_assert_eq(millpond_txn_set(txn, "x", 1, value, stats.max_item_bytes + 1, 0), MILLPOND_ERR_TOO_LARGE);
    cr_assert_eq(commit(), MILLPOND_OK);
    free(value);
    free(copy);
}

static int put_number(uint64_t number, const void *value, size_t bytes) {
    char key[SUPPORT_KEY_BYTES + 1];
    support_key(key, number);
    return millpond_txn_set(txn, key, SUPPORT_KEY_BYTES, value, bytes, 0);
}
static int get_number(uint64_t number, void *buf, size_t room) {
    char key[SUPPORT_KEY_BYTES + 1];
    size_t bytes;
    support_key(key, number);
    return millpond_get(pond, key, SUPPORT_KEY_BYTES, buf, room, &bytes);
}

Test(txn_small, a_shard_takes_128_changes_and_no_more) {
    char buf[8];
    create(2 << 20, 1);
    begin();
    for (unsigned i = 0; i < MILLPOND_TXN_CHANGES_MIN; i++) cr_assert_eq(put_number(i, &i, sizeof i), MILLPOND_OK);
    cr_assert_eq(put_number(1000, "x", 1), MILLPOND_ERR_TXN_TOO_LARGE);
    cr_assert_eq(millpond_txn_delete(txn, "y", 1), MILLPOND_ERR_TXN_TOO_LARGE);
    cr_assert_eq(put_number(7, "again", 5), MILLPOND_OK, "one that it changes already");
    cr_assert_eq(commit(), MILLPOND_OK, "with what had room");
    for (unsigned i = 0; i < MILLPOND_TXN_CHANGES_MIN; i++) cr_assert_eq(get_number(i, buf, sizeof buf), MILLPOND_OK, "%u", i);
    cr_assert_eq(get_number(1000, buf, sizeof buf), MILLPOND_MISS);
}

Test(txn, keys_are_limited_and_many_fit) {
    char buf[8];
    begin();
    for (unsigned i = 0; i < 600; i++) cr_assert_eq(put_number(i, &i, sizeof i), MILLPOND_OK, "%u", i);
    cr_assert_eq(commit(), MILLPOND_OK);
    for (unsigned i = 0; i < 600; i++) cr_assert_eq(get_number(i, buf, sizeof buf), MILLPOND_OK);
    begin();
    char key[SUPPORT_KEY_BYTES + 1];
    for (unsigned i = 0; i < MILLPOND_TXN_KEYS_MAX; i++) {
        support_key(key, i);
        int result = millpond_txn_get(txn, key, SUPPORT_KEY_BYTES, buf, sizeof buf, NULL);
        cr_assert_eq(result, i < 600 ? MILLPOND_OK : MILLPOND_MISS);
    }
    cr_assert_eq(millpond_txn_get(txn, "one more", 8, buf, sizeof buf, NULL), MILLPOND_ERR_TXN_TOO_LARGE);
    cr_assert_eq(commit(), MILLPOND_OK);
}

Test(txn_small, a_quarter_of_a_shard_and_no_more) {
    static unsigned char value[100000];
    create(1 << 20, 1);
    begin();
    cr_assert_eq(put_number(1, value, 100000), MILLPOND_OK);
    cr_assert_eq(put_number(2, value, 90000), MILLPOND_OK);
    cr_assert_eq(put_number(3, value, 90000), MILLPOND_ERR_TXN_TOO_LARGE);
    cr_assert_eq(put_number(2, value, 100000), MILLPOND_OK);
    cr_assert_eq(commit(), MILLPOND_OK);
    cr_assert_eq(get_number(2, value, sizeof value), MILLPOND_OK);
}

/* Each commit finds the pond full: room is made, and all of it is there afterwards. */
Test(txn_small, commits_into_a_full_pond) {
    static unsigned char value[20000], buf[20000];
    struct support_random random = support_seed("sizes");
    create(512 << 10, 2);
    for (uint64_t turn = 0; turn < 1500; turn++) {
        size_t sizes[6];
        begin();
        for (uint64_t i = 0; i < 6; i++) {
            sizes[i] = support_log_size(&random, SUPPORT_VALUE_BYTES_MIN, i == 0 ? sizeof value : 3000);
            support_value_write(value, sizes[i], i, turn);
            cr_assert_eq(put_number(turn % 3 == 0 ? i : turn * 10 + i, value, sizes[i]), MILLPOND_OK);
        }
        int result = commit();
        cr_assert_eq(result, MILLPOND_OK, "turn %d: %s", (int)turn, millpond_strerror(result));
        for (uint64_t i = 0; i < 6; i++) {
            uint64_t sequence = 0;
            cr_assert_eq(get_number(turn % 3 == 0 ? i : turn * 10 + i, buf, sizeof buf), MILLPOND_OK, "turn %d, key %d", (int)turn, (int)i);
            const char *wrong = support_value_read(buf, sizes[i], i, &sequence);
            cr_assert(!wrong && sequence == turn);
        }
    }
    struct millpond_stats stats;
    cr_assert(millpond_stats(pond, -1, &stats) == MILLPOND_OK && stats.evictions > 1000, "nothing was evicted");
}

/* ---- fork, signals ---- */

static int use_in_child(void *arg) {
    char buf[8];
    (void)arg;
    int wrong = millpond_txn_get(txn, "a", 1, buf, sizeof buf, NULL) != MILLPOND_ERR_ARGUMENT;
    wrong |= millpond_txn_set(txn, "a", 1, "x", 1, 0) != MILLPOND_ERR_ARGUMENT;
    millpond_txn_abort(txn);
    if (millpond_txn_begin(pond, &txn) != MILLPOND_OK) return 2; /* its own is fine */
    millpond_txn_set(txn, "child", 5, "1", 1, 0);
    return wrong | (commit() != MILLPOND_OK);
}
static int commit_in_child(void *arg) {
    (void)arg;
    return commit() == MILLPOND_ERR_ARGUMENT ? 0 : 1;
}

Test(txn, belongs_to_the_process_that_began_it) {
    set("a", "1");
    begin();
    inside("a", "1"), put("a", "2"), put("b", "2");
    cr_assert_eq(support_run_child(use_in_child, NULL, 10000), 0);
    cr_assert_eq(support_run_child(commit_in_child, NULL, 10000), 0);
    outside("a", "1"), outside("child", "1");
    cr_assert_eq(commit(), MILLPOND_OK);
    outside("a", "2"), outside("b", "2");
}

static struct millpond_txn *interrupting;
static volatile unsigned refused, handled;

static void handler(int number) {
    (void)number;
    handled++;
    struct millpond_txn *other;
    if (!interrupting || millpond_txn_begin(pond, &other) != MILLPOND_ERR_REENTERED) {
        if (interrupting) millpond_txn_abort(other);
        return;
    }
    char buf[8];
    struct millpond_mget item = {.key = "a", .key_bytes = 1, .buf = buf, .buf_bytes = sizeof buf};
    refused++;
    REQUIRE(millpond_txn_set(interrupting, "h", 1, "h", 1, 0) == MILLPOND_ERR_REENTERED, "set");
    REQUIRE(millpond_txn_get(interrupting, "h", 1, buf, sizeof buf, NULL) == MILLPOND_ERR_REENTERED, "get");
    REQUIRE(millpond_txn_commit(interrupting) == MILLPOND_ERR_REENTERED, "commit");
    int result = millpond_snapshot(pond, &item, 1);
    REQUIRE(result == MILLPOND_OK || result == MILLPOND_ERR_REENTERED, "snapshot: %d", result);
}

/* The handler's transaction was begun before. The main line only commits, so that no allocation is interrupted by another one. */
static int reenter(void *arg) {
    (void)arg;
    struct itimerval timer = {{0, 100}, {0, 100}}, none = {{0, 0}, {0, 0}};
    struct sigaction action = {.sa_handler = handler, .sa_flags = SA_RESTART};
    static unsigned char value[30000];
    millpond_txn_begin(pond, &interrupting);
    millpond_txn_set(interrupting, "i", 1, "1", 1, 0);
    sigset_t alarm, before;
    sigemptyset(&alarm), sigaddset(&alarm, SIGALRM);
    sigprocmask(SIG_BLOCK, &alarm, &before);
    sigaction(SIGALRM, &action, NULL), setitimer(ITIMER_REAL, &timer, NULL);
    uint64_t end = support_now_ns() + UINT64_C(20000000000);
    while (refused < 20 && support_now_ns() < end) {
        char key[2] = {'a', 0};
        for (key[0] = 'a'; key[0] < 'f'; key[0]++) {
            sigprocmask(SIG_SETMASK, &before, NULL);
            int result = millpond_set(pond, key, 1, value, sizeof value, 0); /* the library allocates for a value in chunks */
            sigprocmask(SIG_BLOCK, &alarm, NULL);
            REQUIRE(result == MILLPOND_OK, "set: %d", result);
        }
    }
    setitimer(ITIMER_REAL, &none, NULL);
    REQUIRE(refused >= 1, "no call was interrupted inside; %u signals", handled);
    int result = millpond_txn_commit(interrupting);
    REQUIRE(result == MILLPOND_OK, "it goes on afterwards: %d", result);
    return 0;
}

Test(txn, a_signal_handler_is_refused_and_the_transaction_goes_on) {
    cr_assert_eq(support_run_child(reenter, NULL, 60000), 0);
    outside("i", "1"), outside("h", NULL);
}

/* ---- snapshots ---- */

Test(snapshot, answers_as_an_mget_does) {
    char bufs[6][16];
    struct millpond_incr create = {5, 0};
    set("a", "1"), set("long", "0123456789"), millpond_incr(pond, "n", 1, -7, &create, NULL);
    millpond_set(pond, "over", 4, "1", 1, 1);
    support_sleep_ms(20);
    struct millpond_mget items[] = {
        {.key = "a", .key_bytes = 1, .buf = bufs[0], .buf_bytes = 16},   {.key = "absent", .key_bytes = 6, .buf = bufs[1], .buf_bytes = 16},
        {.key = "long", .key_bytes = 4, .buf = bufs[2], .buf_bytes = 5}, {.key = "n", .key_bytes = 1, .buf = bufs[3], .buf_bytes = 16},
        {.key = "", .key_bytes = 0, .buf = bufs[4], .buf_bytes = 16},    {.key = "over", .key_bytes = 4, .buf = bufs[5], .buf_bytes = 16},
        {.key = "a", .key_bytes = 1, .buf = NULL, .buf_bytes = 0}};
    struct millpond_options options = MILLPOND_OPTIONS_INIT;
    options.flags = MILLPOND_READONLY;
    struct millpond *handles[] = {pond, support_open(support_path("txn.pond"), &options)};
    for (unsigned i = 0; i < 2; i++) {
        cr_assert_eq(millpond_snapshot(handles[i], items, 7), MILLPOND_OK);
        require_text(items[0].result, bufs[0], items[0].value_bytes, "a", "1");
        cr_assert_eq(items[1].result, MILLPOND_MISS);
        cr_assert(items[2].result == MILLPOND_TOO_SMALL && items[2].value_bytes == 10);
        require_text(items[3].result, bufs[3], items[3].value_bytes, "n", "-2");
        cr_assert_eq(items[4].result, MILLPOND_ERR_ARGUMENT);
        cr_assert_eq(items[5].result, MILLPOND_MISS);
        cr_assert(items[6].result == MILLPOND_TOO_SMALL && items[6].value_bytes == 1);
    }
    millpond_close(handles[1]);
    cr_assert_eq(millpond_snapshot(pond, NULL, 0), MILLPOND_OK);
    cr_assert_eq(millpond_snapshot(pond, NULL, 1), MILLPOND_ERR_ARGUMENT);
}

Test(snapshot, of_many_keys_and_large_values) {
    enum { KEYS = 500 };
    size_t bytes = 100000;
    unsigned char *value = malloc(bytes), *copy = malloc(bytes);
    static char names[KEYS][SUPPORT_KEY_BYTES + 1], texts[KEYS][8];
    static struct millpond_mget items[KEYS + 1];
    support_fill(value, bytes, 3);
    cr_assert_eq(millpond_set(pond, "large", 5, value, bytes, 0), MILLPOND_OK);
    for (unsigned i = 0; i < KEYS; i++) {
        support_key(names[i], i);
        if (i % 5) millpond_set(pond, names[i], SUPPORT_KEY_BYTES, &i, sizeof i, 0);
        items[i] = (struct millpond_mget){.key = names[i], .key_bytes = SUPPORT_KEY_BYTES, .buf = texts[i], .buf_bytes = 8};
    }
    items[KEYS] = (struct millpond_mget){.key = "large", .key_bytes = 5, .buf = copy, .buf_bytes = bytes};
    cr_assert_eq(millpond_snapshot(pond, items, KEYS + 1), MILLPOND_OK);
    for (unsigned i = 0; i < KEYS; i++) {
        cr_assert_eq(items[i].result, i % 5 ? MILLPOND_OK : MILLPOND_MISS);
        if (i % 5) cr_assert(memcmp(texts[i], &i, sizeof i) == 0);
    }
    cr_assert(items[KEYS].result == MILLPOND_OK && memcmp(copy, value, bytes) == 0);
    free(value);
    free(copy);
}
