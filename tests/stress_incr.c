/* SPDX-License-Identifier: MIT */
/* Counters: what processes and threads add must be there to the last unit.
 *
 *   incr      random deltas on shared counters; the sum is exact at the end, and a counter that only grows is never seen smaller than
 *             what had been acknowledged before the get
 *   cas       the same through get_if_changed and cas: no update is lost
 *   add       add and delete of one key as a lock: never two owners
 *
 * The counters live among sets of other keys of changing sizes, so that the buckets and segments around them are busy. */

#include "support.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define COUNTERS  8
#define PROCESSES 2
#define THREADS   2

/* In shared memory. */
struct books {
    int64_t acknowledged[COUNTERS]; /* even counters only grow, odd ones also shrink */
    uint64_t swaps;                 /* successful cas */
    uint64_t owners, owned;         /* of the lock: now, ever */
    uint64_t increments, reads, swap_tries;
};

static struct books *books;
static struct millpond *pond;
static uint64_t end_ns;
static struct support_random seed;

static void add(uint64_t *p, uint64_t v) { __atomic_fetch_add(p, v, __ATOMIC_SEQ_CST); }

static int64_t parse(const char *text, size_t bytes) {
    char number[32], *rest;
    REQUIRE(bytes > 0 && bytes < sizeof number, "a counter reads as %zu bytes", bytes);
    memcpy(number, text, bytes);
    number[bytes] = 0;
    long long value = strtoll(number, &rest, 10);
    REQUIRE(*rest == 0, "a counter reads as '%s'", number);
    return value;
}

static void count_up(struct support_random *random) {
    uint64_t i = support_below(random, COUNTERS);
    char key[16];
    int bytes = snprintf(key, sizeof key, "counter-%u", (unsigned)i);
    int64_t delta = (int64_t)support_below(random, 1000) + 1, value = 0;
    if (i % 2) delta -= 500;
    struct millpond_incr create = {0, 0};
    int result = millpond_incr(pond, key, (size_t)bytes, delta, &create, &value);
    REQUIRE(result == MILLPOND_OK, "incr answers %d (%s)", result, millpond_strerror(result));
    __atomic_add_fetch(&books->acknowledged[i], delta, __ATOMIC_SEQ_CST);
    REQUIRE(i % 2 || value >= delta, "%s is %lld after %lld was added", key, (long long)value, (long long)delta);
    add(&books->increments, 1);
}

static void look(struct support_random *random) {
    uint64_t i = support_below(random, COUNTERS / 2) * 2;
    char key[16], text[32];
    int key_bytes = snprintf(key, sizeof key, "counter-%u", (unsigned)i);
    size_t bytes = 0;
    int64_t before = __atomic_load_n(&books->acknowledged[i], __ATOMIC_SEQ_CST);
    int result = millpond_get(pond, key, (size_t)key_bytes, text, sizeof text, &bytes);
    if (before == 0 && result == MILLPOND_MISS) return;
    REQUIRE(result == MILLPOND_OK, "a counter with %lld acknowledged answers %d", (long long)before, result);
    int64_t value = parse(text, bytes);
    REQUIRE(value >= before, "%s is %lld, and %lld had been acknowledged before", key, (long long)value, (long long)before);
    add(&books->reads, 1);
}

static void swap_up(void) {
    char text[32], fresh[32];
    size_t bytes = 0;
    uint64_t version = 0;
    int result = millpond_get_if_changed(pond, "swapped", 7, text, sizeof text, &bytes, &version);
    add(&books->swap_tries, 1);
    if (result == MILLPOND_MISS) {
        result = millpond_add(pond, "swapped", 7, "1", 1, 0);
        REQUIRE(result == MILLPOND_OK || result == MILLPOND_EXISTS, "add answers %d", result);
    } else {
        REQUIRE(result == MILLPOND_OK, "get_if_changed answers %d", result);
        int fresh_bytes = snprintf(fresh, sizeof fresh, "%lld", (long long)parse(text, bytes) + 1);
        result = millpond_cas(pond, "swapped", 7, fresh, (size_t)fresh_bytes, 0, version);
        REQUIRE(result == MILLPOND_OK || result == MILLPOND_CHANGED, "cas answers %d", result);
    }
    if (result == MILLPOND_OK) add(&books->swaps, 1);
}

static void own(void) {
    int result = millpond_add(pond, "lock", 4, "mine", 4, 0);
    REQUIRE(result == MILLPOND_OK || result == MILLPOND_EXISTS, "add answers %d", result);
    if (result != MILLPOND_OK) return;
    uint64_t owners = __atomic_add_fetch(&books->owners, 1, __ATOMIC_SEQ_CST);
    REQUIRE(owners == 1, "%llu owners of one key that add stored", (unsigned long long)owners);
    add(&books->owned, 1);
    __atomic_fetch_sub(&books->owners, 1, __ATOMIC_SEQ_CST);
    result = millpond_delete(pond, "lock", 4);
    REQUIRE(result == MILLPOND_OK, "the owner's delete answers %d", result);
}

static void disturb(struct support_random *random) {
    char key[SUPPORT_KEY_BYTES + 1], value[512];
    support_key(key, support_below(random, 2000));
    size_t bytes = support_below(random, sizeof value);
    memset(value, '9', bytes);
    REQUIRE(millpond_set(pond, key, SUPPORT_KEY_BYTES, value, bytes, 0) == MILLPOND_OK, "set failed");
}

static void *work(void *arg) {
    struct support_random random = support_derive(&seed, (uint64_t)(uintptr_t)arg);
    while (support_now_ns() < end_ns)
        for (int i = 0; i < 16; i++) switch (support_below(&random, 8)) {
            case 0: look(&random); break;
            case 1: swap_up(); break;
            case 2: own(); break;
            case 3: disturb(&random); break;
            default: count_up(&random);
            }
    return NULL;
}

static int process(void *arg) {
    pthread_t threads[THREADS];
    for (uintptr_t i = 0; i < THREADS; i++)
        REQUIRE(pthread_create(&threads[i], NULL, work, (void *)((uintptr_t)arg + i)) == 0, "no thread");
    for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
    return 0;
}

static void require_sum(const char *key, int64_t expected) {
    char text[32];
    size_t bytes = 0;
    int result = millpond_get(pond, key, strlen(key), text, sizeof text, &bytes);
    REQUIRE(result == MILLPOND_OK, "%s: %d", key, result);
    REQUIRE(parse(text, bytes) == expected, "%s is %.*s and should be %lld", key, (int)bytes, text, (long long)expected);
}

int main(int argc, char **argv) {
    double seconds = support_seconds(argc, argv, 2);
    alarm((unsigned)seconds + 120);
    seed = support_seed("stress_incr");
    support_begin();
    books = support_share(sizeof *books);
    const char *path = support_path("incr.pond");
    pond = support_create(path, 16 << 20);
    end_ns = support_now_ns() + (uint64_t)(seconds * 1e9);
    pid_t children[PROCESSES];
    for (uintptr_t i = 0; i < PROCESSES; i++) children[i] = support_fork(process, (void *)(i * THREADS));
    for (int i = 0; i < PROCESSES; i++) REQUIRE(support_wait(children[i], (unsigned)(seconds * 1000) + 60000) == 0, "process %d failed", i);

    char key[16];
    for (int i = 0; i < COUNTERS; i++) {
        snprintf(key, sizeof key, "counter-%d", i);
        require_sum(key, books->acknowledged[i]);
    }
    require_sum("swapped", (int64_t)books->swaps);
    struct millpond_stats stats;
    REQUIRE(millpond_stats(pond, -1, &stats) == MILLPOND_OK && stats.evictions == 0, "entries were evicted; the test needs a larger file");
    printf("stress_incr: %llu increments, %llu reads, %llu swaps of %llu tried, lock owned %llu times\n",
           (unsigned long long)books->increments, (unsigned long long)books->reads, (unsigned long long)books->swaps,
           (unsigned long long)books->swap_tries, (unsigned long long)books->owned);
    REQUIRE(books->increments > 1000 && books->reads > 100 && books->swaps > 100 && books->owned > 100, "too little was done");
    millpond_close(pond);
    support_require_whole(path);
    support_end();
    return 0;
}
