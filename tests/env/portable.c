/* SPDX-License-Identifier: MIT */
/* The public API, in a plain program that needs nothing but a C library: it runs natively with the other tests, and cross-compiled under an
 * emulator of another processor (env_aarch64), where Criterion does not go. Everything that is read is compared with what must be there. */

#include "support.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KEYS       200
#define VALUE_MAX  4000
#define LARGE_MAX  ((size_t)300 << 10)
#define FILE_BYTES ((uint64_t)16 << 20)

static struct millpond *pond;
static const char *path;

static void begin(const char *name, uint64_t bytes) {
    path = support_path("%s", name);
    pond = support_create(path, bytes);
}

static int end(void) {
    millpond_close(pond);
    support_require_whole(path);
    return 0;
}

/* ---- a map, against a reference ---- */

struct known {
    bool there, counter;
    uint64_t seed, version;
    int64_t number;
    size_t bytes;
};

static struct known known[KEYS];
static unsigned char value[LARGE_MAX], back[LARGE_MAX];

/* Keys of 1 to 400 bytes, at odd addresses too. */
static const unsigned char *key_of(unsigned number, size_t *bytes) {
    static unsigned char room[512];
    unsigned char *key = room + number % 7;
    *bytes = number < 50 ? 1 + number % 3 : 4 + number * 2;
    support_fill(key, *bytes, number);
    key[0] = (unsigned char)number; /* 200 keys: the first byte tells them apart */
    return key;
}

static void compare(unsigned number) {
    const struct known *k = &known[number];
    size_t key_bytes, bytes = 0, right = k->bytes;
    const unsigned char *key = key_of(number, &key_bytes);
    uint64_t version = 0;
    int result = millpond_get_if_changed(pond, key, key_bytes, back + 1, VALUE_MAX, &bytes, &version);
    REQUIRE(result == (k->there ? MILLPOND_OK : MILLPOND_MISS), "key %u: %d, the reference has %s", number, result,
            k->there ? "it" : "none");
    if (!k->there) return;
    if (k->counter)
        right = (size_t)sprintf((char *)value, "%lld", (long long)k->number);
    else
        support_fill(value, right, k->seed);
    REQUIRE(bytes == right && memcmp(value, back + 1, right) == 0, "key %u: %zu bytes, the reference has %zu", number, bytes, right);
    REQUIRE(k->version == 0 || k->version == version, "key %u has another version", number);
    result = millpond_get_if_changed(pond, key, key_bytes, back, VALUE_MAX, NULL, &version);
    REQUIRE(result == MILLPOND_UNCHANGED, "key %u: %d for the version that it has", number, result);
}

/* One random change of one key, in the pond and in the reference. */
static void change(struct support_random *dice, unsigned number, uint64_t turn) {
    struct known *k = &known[number];
    size_t key_bytes, bytes = support_log_size(dice, 0, VALUE_MAX);
    const unsigned char *key = key_of(number, &key_bytes);
    struct millpond_incr create = {5, 0};
    int64_t sum = 0;
    int result, right;
    uint64_t what = support_below(dice, 7);
    support_fill(value, bytes, turn);
    bool store = what < 4;
    switch (what) {
    case 0:
        result = millpond_set(pond, key, key_bytes, value, bytes, 0);
        right = MILLPOND_OK;
        break;
    case 1:
        result = millpond_add(pond, key, key_bytes, value, bytes, 0);
        right = k->there ? MILLPOND_EXISTS : MILLPOND_OK;
        break;
    case 2:
        result = millpond_replace(pond, key, key_bytes, value, bytes, 3600000);
        right = k->there ? MILLPOND_OK : MILLPOND_MISS;
        break;
    case 3: { /* the right version, or a wrong one */
        uint64_t version = 0;
        millpond_get_if_changed(pond, key, key_bytes, NULL, 0, NULL, &version);
        bool wrong = support_below(dice, 2);
        result = millpond_cas(pond, key, key_bytes, value, bytes, 0, version + wrong);
        right = !k->there ? MILLPOND_MISS : wrong ? MILLPOND_CHANGED : MILLPOND_OK;
        break;
    }
    case 4:
        result = millpond_delete(pond, key, key_bytes);
        right = k->there ? MILLPOND_OK : MILLPOND_MISS;
        k->there = false;
        break;
    case 5:
        result = millpond_touch(pond, key, key_bytes, 7200000);
        right = k->there ? MILLPOND_OK : MILLPOND_MISS;
        break;
    default:
        result = millpond_incr(pond, key, key_bytes, -7, &create, &sum);
        if (k->there && !k->counter) { /* random bytes are no number (one digit alone could be) */
            if (result == MILLPOND_OK) *k = (struct known){true, true, 0, 0, sum, 0};
            right = result == MILLPOND_OK && k->bytes > 1 ? MILLPOND_ERR_NOT_A_NUMBER : result;
            break;
        }
        right = MILLPOND_OK;
        k->number = k->there ? k->number - 7 : -2;
        k->there = k->counter = true;
        k->version = 0;
        REQUIRE(sum == k->number, "key %u: counted to %lld, the reference to %lld", number, (long long)sum, (long long)k->number);
    }
    REQUIRE(result == right, "turn %llu, call %llu of key %u: %d, expected %d", (unsigned long long)turn, (unsigned long long)what, number,
            result, right);
    if (store && result == MILLPOND_OK) *k = (struct known){true, false, turn, 0, 0, bytes};
}

static int map_operations(void *arg) {
    (void)arg;
    begin("map.pond", FILE_BYTES);
    struct support_random dice = support_seed("map operations");
    for (uint64_t turn = 1; turn <= 20000; turn++) {
        unsigned number = (unsigned)support_below(&dice, KEYS);
        change(&dice, number, turn);
        compare(number);
        compare((unsigned)support_below(&dice, KEYS));
    }
    uint64_t there = 0;
    for (unsigned number = 0; number < KEYS; number++) {
        compare(number);
        there += known[number].there;
    }
    struct millpond_stats stats;
    REQUIRE(millpond_stats(pond, -1, &stats) == MILLPOND_OK && stats.items == there && stats.evictions == 0, "%llu items, not %llu",
            (unsigned long long)stats.items, (unsigned long long)there);
    return end();
}

/* ---- large values, in pieces ---- */

static int large_values(void *arg) {
    (void)arg;
    begin("large.pond", FILE_BYTES);
    struct support_random dice = support_seed("large values");
    uint64_t several = 0;
    for (uint64_t turn = 0; turn < 120; turn++) {
        uint64_t number = turn % 10;
        size_t bytes = support_log_size(&dice, 1000, LARGE_MAX), got = 0, seen = 0;
        support_fill(value, bytes, turn);
        REQUIRE(millpond_set(pond, &number, sizeof number, value, bytes, 0) == MILLPOND_OK, "set of %zu bytes", bytes);
        void *copy = NULL;
        REQUIRE(millpond_get_alloc(pond, &number, sizeof number, &copy, &got) == MILLPOND_OK && got == bytes, "%zu of %zu bytes", got,
                bytes);
        REQUIRE(memcmp(copy, value, bytes) == 0, "other bytes");
        free(copy);
        struct millpond_view view;
        int result = millpond_view(pond, &number, sizeof number, &view);
        REQUIRE(result == MILLPOND_OK && view.value_bytes == bytes, "view: %d", result);
        REQUIRE(millpond_delete(pond, &number, sizeof number) == MILLPOND_OK, "delete"); /* the view stays */
        for (size_t i = 0; i < view.piece_count; i++) {
            REQUIRE(memcmp(view.pieces[i].bytes, value + seen, view.pieces[i].count) == 0, "piece %zu has other bytes", i);
            seen += view.pieces[i].count;
        }
        REQUIRE(seen == bytes && (view.value != NULL) == (view.piece_count == 1), "%zu of %zu bytes in view", seen, bytes);
        several += view.piece_count > 1;
        millpond_view_release(&view);
        REQUIRE(millpond_set(pond, &number, sizeof number, value, bytes, 0) == MILLPOND_OK, "set of %zu bytes", bytes);
    }
    REQUIRE(several > 5, "%llu views of several pieces", (unsigned long long)several);
    struct millpond_stats stats;
    REQUIRE(millpond_stats(pond, -1, &stats) == MILLPOND_OK, "stats");
    REQUIRE(millpond_set(pond, "k", 1, value, stats.max_item_bytes + 1, 0) == MILLPOND_ERR_TOO_LARGE, "a value that is too large");
    return end();
}

/* ---- time to live ---- */

static int times_to_live(void *arg) {
    (void)arg;
    begin("ttl.pond", 1 << 20);
    for (uint64_t i = 0; i < 300; i++)
        REQUIRE(millpond_set(pond, &i, sizeof i, "v", 1, i % 3 == 0 ? 0 : i % 3 == 1 ? 200 : 600000) == MILLPOND_OK, "set");
    uint64_t ttl = 0, there = 0, one = 2;
    REQUIRE(millpond_ttl(pond, &one, sizeof one, &ttl) == MILLPOND_OK && ttl > 500000 && ttl <= 600000, "ttl %llu",
            (unsigned long long)ttl);
    support_sleep_ms(300);
    for (uint64_t i = 0; i < 300; i++) {
        int result = millpond_contains(pond, &i, sizeof i);
        REQUIRE(result == (i % 3 == 1 ? MILLPOND_MISS : MILLPOND_OK), "key %llu: %d", (unsigned long long)i, result);
        there += result == MILLPOND_OK;
    }
    REQUIRE(there == 200, "%llu keys", (unsigned long long)there);
    return end();
}

/* ---- scan, mget, read-only ---- */

struct tally {
    uint64_t seen[300], wrong;
};

static int count_entry(void *arg, const struct millpond_entry *entry) {
    struct tally *tally = arg;
    char text[32] = "";
    memcpy(text, entry->key, entry->key_bytes < 31 ? entry->key_bytes : 31);
    unsigned long number = strtoul(text + 4, NULL, 10);
    if (number >= 300 || !support_matches(entry->value, entry->value_bytes, number))
        tally->wrong++;
    else
        tally->seen[number]++;
    return 0;
}

static void mget_all(struct millpond *from) {
    struct millpond_mget items[300];
    static char keys[300][16], room[300][64];
    for (size_t i = 0; i < 300; i++) {
        int n = snprintf(keys[i], sizeof keys[i], "%s:%zu", i % 2 ? "odd" : "evn", i);
        items[i] = (struct millpond_mget){keys[i], (size_t)n, room[i], sizeof room[i], 0, -1};
    }
    REQUIRE(millpond_mget(from, items, 300) == MILLPOND_OK, "mget");
    for (size_t i = 0; i < 300; i++)
        REQUIRE(items[i].result == MILLPOND_OK && items[i].value_bytes == i % 60 && support_matches(room[i], i % 60, i), "key %zu: %d", i,
                items[i].result);
}

static int whole_file_calls(void *arg) {
    (void)arg;
    begin("scan.pond", 1 << 20);
    static struct tally all, odd;
    for (unsigned i = 0; i < 300; i++) {
        char key[16];
        int n = snprintf(key, sizeof key, "%s:%u", i % 2 ? "odd" : "evn", i);
        support_fill(value, i % 60, i);
        REQUIRE(millpond_set(pond, key, (size_t)n, value, i % 60, 0) == MILLPOND_OK, "set");
    }
    REQUIRE(millpond_scan(pond, NULL, 0, 0, count_entry, &all) == MILLPOND_OK && all.wrong == 0, "scan");
    REQUIRE(millpond_scan(pond, "odd:", 4, 0, count_entry, &odd) == MILLPOND_OK && odd.wrong == 0, "scan with a prefix");
    for (unsigned i = 0; i < 300; i++)
        REQUIRE(all.seen[i] == 1 && odd.seen[i] == i % 2, "key %u was seen %llu times, with the prefix %llu", i,
                (unsigned long long)all.seen[i], (unsigned long long)odd.seen[i]);
    mget_all(pond);
    struct millpond_options options = MILLPOND_OPTIONS_INIT;
    options.flags = MILLPOND_READONLY;
    struct millpond *reader = support_open(path, &options);
    mget_all(reader);
    REQUIRE(millpond_set(reader, "k", 1, "v", 1, 0) == MILLPOND_ERR_READ_ONLY, "set through a read-only handle");
    millpond_close(reader);
    REQUIRE(millpond_sync(pond) == MILLPOND_OK && millpond_clear(pond) == MILLPOND_OK, "sync, clear");
    REQUIRE(millpond_contains(pond, "odd:1", 5) == MILLPOND_MISS, "a key after clear");
    return end();
}

/* ---- threads, forks, eviction: each value says whose it is ---- */

static void *work(void *arg) {
    uint64_t me = (uintptr_t)arg, last[50] = {0};
    struct support_random dice = {me};
    for (uint64_t turn = 1; turn <= 4000; turn++) {
        uint64_t own = support_below(&dice, 50);
        support_set(pond, me * 50 + own, last[own] = turn, 32 + support_below(&dice, VALUE_MAX - 32));
        REQUIRE(support_get(pond, me * 50 + own) == turn, "thread %llu does not find what it stored", (unsigned long long)me);
        support_get(pond, support_below(&dice, 200));
        if (turn % 10 == 0) REQUIRE(millpond_incr(pond, "all", 3, 1, NULL, NULL) == MILLPOND_OK, "incr");
    }
    for (uint64_t own = 0; own < 50; own++)
        REQUIRE(support_get(pond, me * 50 + own) == last[own], "a value of thread %llu was lost", (unsigned long long)me);
    return NULL;
}

static int threads(void *arg) {
    (void)arg;
    begin("threads.pond", FILE_BYTES);
    struct millpond_incr create = {0, 0};
    pthread_t workers[3];
    int64_t sum = 0;
    REQUIRE(millpond_incr(pond, "all", 3, 0, &create, NULL) == MILLPOND_OK, "incr");
    for (uintptr_t i = 0; i < 3; i++) REQUIRE(pthread_create(&workers[i], NULL, work, (void *)i) == 0, "no thread");
    for (int i = 0; i < 3; i++) pthread_join(workers[i], NULL);
    REQUIRE(millpond_incr(pond, "all", 3, 0, NULL, &sum) == MILLPOND_OK && sum == 1200, "counted to %lld", (long long)sum);
    return end();
}

static int in_a_child(void *arg) {
    uint64_t me = *(uint64_t *)arg;
    for (uint64_t turn = 1; turn <= 200; turn++) {
        support_set(pond, 1000 + me, turn, 32 + turn);
        REQUIRE(support_get(pond, 1000 + me) == turn && support_get(pond, 1) == 1, "child %llu", (unsigned long long)me);
        REQUIRE(millpond_incr(pond, "all", 3, 1, NULL, NULL) == MILLPOND_OK, "incr");
    }
    millpond_close(pond);
    return 0;
}

static int forks(void *arg) {
    (void)arg;
    begin("fork.pond", FILE_BYTES);
    struct millpond_incr create = {0, 0};
    pid_t children[2];
    int64_t sum = 0;
    support_set(pond, 1, 1, 100);
    REQUIRE(millpond_incr(pond, "all", 3, 0, &create, NULL) == MILLPOND_OK, "incr");
    for (uint64_t round = 0; round < 20; round += 2) {
        for (uint64_t i = 0; i < 2; i++) children[i] = support_fork(in_a_child, &(uint64_t){round + i});
        for (int i = 0; i < 2; i++) REQUIRE(support_wait(children[i], 30000) == 0, "a child failed");
    }
    for (uint64_t i = 0; i < 20; i++) REQUIRE(support_get(pond, 1000 + i) == 200, "what child %llu stored last", (unsigned long long)i);
    REQUIRE(millpond_incr(pond, "all", 3, 0, NULL, &sum) == MILLPOND_OK && sum == 4000, "counted to %lld", (long long)sum);
    return end();
}

static int eviction(void *arg) {
    (void)arg;
    begin("full.pond", 1 << 20);
    struct support_random dice = support_seed("eviction");
    uint64_t hits = 0;
    for (uint64_t turn = 1; turn <= 20000; turn++) {
        uint64_t number = support_below(&dice, 5000);
        if (support_get(pond, number))
            hits++;
        else
            support_set(pond, number, turn, support_log_size(&dice, 32, 2000));
    }
    struct millpond_stats stats;
    REQUIRE(millpond_stats(pond, -1, &stats) == MILLPOND_OK && stats.evictions > 1000 && hits > 100, "%llu evictions, %llu hits",
            (unsigned long long)stats.evictions, (unsigned long long)hits);
    return end();
}

/* ---- an owner that dies ---- */

static int take_and_die(void *arg) {
    (void)arg;
    for (uint64_t turn = 1;; turn++) support_set(pond, turn % 100, turn, 32 + turn % 3000);
    return 0;
}

static int killed_writers(void *arg) {
    (void)arg;
    if (getenv("MILLPOND_TEST_EMULATED")) return support_skip("an emulator does not hand on the locks of a dead owner");
    begin("killed.pond", FILE_BYTES);
    for (uint64_t turn = 1; turn <= 100; turn++) {
        pid_t child = support_fork(take_and_die, NULL);
        support_sleep_us(500 + (unsigned)(turn * 37 % 1000));
        support_kill(child);
        support_set(pond, 200, turn, 100);
        REQUIRE(support_get(pond, 200) == turn, "the parent cannot go on");
    }
    return end();
}

int main(int argc, char **argv) {
    static const struct support_case cases[] = {
        {"twenty thousand calls agree with a reference", map_operations, 120000},
        {"large values come back whole, copied and in place", large_values, 120000},
        {"entries live as long as they were asked to", times_to_live, 60000},
        {"scan, mget, read-only handles, sync and clear", whole_file_calls, 60000},
        {"three threads find what they stored", threads, 120000},
        {"twenty children find what they and their parent stored", forks, 120000},
        {"a full file keeps nothing wrong", eviction, 120000},
        {"a hundred writers are killed", killed_writers, 60000},
    };
    setvbuf(stdout, NULL, _IOLBF, 0);
    return support_run_cases(argc, argv, cases, sizeof cases / sizeof *cases);
}
