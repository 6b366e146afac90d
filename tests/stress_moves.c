/* SPDX-License-Identifier: MIT */
/* Entries that stay while their neighbours come and go in a crowded index: every insert into a full bucket moves somebody to his other
 * bucket. The residents are never touched by a writer, so that every get of one must hit, and every scan must show them all. */

#include "stress.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define READERS 2

static struct millpond *pond;
static uint64_t residents, guests, end_ns;
static uint64_t reads, scans, inserts;
static struct support_random seed;

static void add(uint64_t *p, uint64_t v) { __atomic_fetch_add(p, v, __ATOMIC_RELAXED); }

/* A resident that left because the index was too full is this test's own fault. */
static void require_no_eviction(void) {
    struct millpond_stats stats;
    REQUIRE(millpond_stats(pond, -1, &stats) == MILLPOND_OK && stats.evictions == 0,
            "%llu evictions; the index is too crowded for this test", (unsigned long long)stats.evictions);
}

/* Fills the index up to the limit and empties it again, in changing order. */
static void *come_and_go(void *arg) {
    struct support_random random = support_derive(&seed, (uintptr_t)arg);
    char key[SUPPORT_KEY_BYTES + 1];
    while (support_now_ns() < end_ns) {
        uint64_t number = residents + support_below(&random, guests);
        support_key(key, number);
        int result = millpond_contains(pond, key, SUPPORT_KEY_BYTES) == MILLPOND_MISS
                         ? millpond_set(pond, key, SUPPORT_KEY_BYTES, "x", 1, 0)
                         : millpond_delete(pond, key, SUPPORT_KEY_BYTES);
        REQUIRE(result == MILLPOND_OK, "a guest gets %d", result);
        add(&inserts, 1);
    }
    return NULL;
}

static void *read_residents(void *arg) {
    struct support_random random = support_derive(&seed, (uintptr_t)arg);
    char key[SUPPORT_KEY_BYTES + 1];
    unsigned char value[64];
    while (support_now_ns() < end_ns) {
        for (int i = 0; i < 64; i++) {
            uint64_t number = support_below(&random, residents), sequence = 0;
            size_t bytes = 0;
            support_key(key, number);
            int result = millpond_get(pond, key, SUPPORT_KEY_BYTES, value, sizeof value, &bytes);
            if (result == MILLPOND_MISS) require_no_eviction();
            REQUIRE(result == MILLPOND_OK, "resident %llu is there all the time, and a get answers %d", (unsigned long long)number, result);
            const char *wrong = support_value_read(value, bytes, number, &sequence);
            REQUIRE(!wrong, "resident %llu: %s", (unsigned long long)number, wrong);
        }
        add(&reads, 64);
    }
    return NULL;
}

/* Every second scan has a visitor that takes its time, as one does that writes to a pipe. */
static int note(void *arg, const struct millpond_entry *entry) {
    static uint64_t visits;
    if (scans % 2 && ++visits % 64 == 0) support_sleep_ms(1);
    char text[SUPPORT_KEY_BYTES + 1] = "";
    REQUIRE(entry->key_bytes == SUPPORT_KEY_BYTES, "a key of %zu bytes", entry->key_bytes);
    memcpy(text, entry->key, SUPPORT_KEY_BYTES);
    uint64_t number = strtoull(text + 4, NULL, 10);
    REQUIRE(number < residents + guests, "key %s", text);
    ((unsigned char *)arg)[number] = 1;
    return 0;
}

static void *scan_residents(void *arg) {
    unsigned char *seen = malloc(residents + guests);
    (void)arg;
    while (support_now_ns() < end_ns) {
        memset(seen, 0, residents + guests);
        REQUIRE(millpond_scan(pond, NULL, 0, scans % 4 < 2 ? MILLPOND_SCAN_KEYS : 0, note, seen) == MILLPOND_OK, "scan");
        for (uint64_t i = 0; i < residents; i++) {
            if (!seen[i]) require_no_eviction();
            REQUIRE(seen[i], "scan %llu leaves out resident %llu, which is there all the time", (unsigned long long)scans,
                    (unsigned long long)i);
        }
        add(&scans, 1);
    }
    free(seen);
    return NULL;
}

int main(int argc, char **argv) {
    double seconds = support_seconds(argc, argv, 2);
    alarm((unsigned)seconds + 120);
    seed = support_seed("stress_moves");
    support_begin();
    const char *path = support_path("moves.pond");
    pond = stress_create_crowded(path, 4 << 20, 2000);
    struct millpond_stats stats;
    REQUIRE(millpond_stats(pond, -1, &stats) == MILLPOND_OK, "stats");
    residents = stats.index_slots * 79 / 100;
    guests = stats.index_slots * 24 / 100; /* half of them there at a time */
    char key[SUPPORT_KEY_BYTES + 1];
    unsigned char value[40];
    for (uint64_t i = 0; i < residents; i++) {
        support_key(key, i);
        support_value_write(value, sizeof value, i, 1);
        REQUIRE(millpond_set(pond, key, SUPPORT_KEY_BYTES, value, sizeof value, 0) == MILLPOND_OK, "set");
    }
    end_ns = support_now_ns() + (uint64_t)(seconds * 1e9);
    pthread_t threads[READERS + 2];
    for (uintptr_t i = 0; i < READERS; i++) REQUIRE(pthread_create(&threads[i], NULL, read_residents, (void *)i) == 0, "no thread");
    REQUIRE(pthread_create(&threads[READERS], NULL, scan_residents, NULL) == 0, "no thread");
    REQUIRE(pthread_create(&threads[READERS + 1], NULL, come_and_go, (void *)(uintptr_t)99) == 0, "no thread");
    for (int i = 0; i < READERS + 2; i++) pthread_join(threads[i], NULL);
    require_no_eviction();
    printf("stress_moves: %llu residents among %llu guests in %llu slots; %llu reads, %llu scans, %llu inserts and deletes\n",
           (unsigned long long)residents, (unsigned long long)guests, (unsigned long long)stats.index_slots, (unsigned long long)reads,
           (unsigned long long)scans, (unsigned long long)inserts);
    REQUIRE(reads > 1000 && scans > 0 && inserts > 100, "too little was done");
    millpond_close(pond);
    support_require_whole(path);
    support_end();
    return 0;
}
