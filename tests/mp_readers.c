/* SPDX-License-Identifier: MIT */
/* More readers than reader slots: thousands of threads and hundreds of processes at once. Everybody gets right answers, every hit is
 * counted, and when they are gone, ended or killed, their slots serve others. */

#include "support.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KEYS 200

static struct millpond *pond;
static const char *path;

static void begin(const char *name) {
    path = support_path("%s", name);
    pond = support_create(path, 1 << 20); /* a small file has few slots */
    for (uint64_t i = 0; i < KEYS; i++) {
        char key[SUPPORT_KEY_BYTES + 1];
        unsigned char value[300];
        support_key(key, i);
        support_value_write(value, 32 + i, i, i + 1);
        REQUIRE(millpond_set(pond, key, SUPPORT_KEY_BYTES, value, 32 + i, 0) == MILLPOND_OK, "set");
    }
}

static struct millpond_stats figures(void) {
    struct millpond_stats stats;
    REQUIRE(millpond_stats(pond, -1, &stats) == MILLPOND_OK, "stats");
    return stats;
}

static int end(void) {
    millpond_close(pond);
    REQUIRE(support_require_whole(path).entries == KEYS, "entries");
    return 0;
}

static void read_some(uint64_t from, unsigned count) {
    for (unsigned i = 0; i < count; i++) {
        char key[SUPPORT_KEY_BYTES + 1];
        unsigned char value[300];
        uint64_t number = (from + i) % KEYS, sequence = 0;
        size_t bytes = 0;
        support_key(key, number);
        int result = millpond_get(pond, key, SUPPORT_KEY_BYTES, value, sizeof value, &bytes);
        REQUIRE(result == MILLPOND_OK, "get: %d", result);
        REQUIRE(!support_value_read(value, bytes, number, &sequence) && sequence == number + 1, "a wrong value");
    }
}

/* ---- threads ---- */

#define THREADS 3000
#define READS   50

static uint32_t arrived, leave;

static void *read_and_stay(void *arg) {
    read_some((uintptr_t)arg, READS);
    __atomic_fetch_add(&arrived, 1, __ATOMIC_SEQ_CST);
    while (!__atomic_load_n(&leave, __ATOMIC_SEQ_CST)) support_sleep_ms(20);
    read_some((uintptr_t)arg + 7, READS);
    return NULL;
}

static int threads(void *arg) {
    (void)arg;
    begin("threads.pond");
    struct millpond_stats before = figures();
    pthread_t *all = calloc(THREADS, sizeof *all);
    pthread_attr_t small;
    unsigned started = 0;
    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, 64 << 10);
    while (started < THREADS && pthread_create(&all[started], &small, read_and_stay, (void *)(uintptr_t)started) == 0) started++;
    if (started < before.reader_slots * 2) {
        printf("  only %u threads could be started\n", started);
        return support_skip("too few threads are allowed");
    }
    while (__atomic_load_n(&arrived, __ATOMIC_SEQ_CST) < started) support_sleep_ms(5);
    struct millpond_stats full = figures();
    REQUIRE(full.readers <= full.reader_slots, "%llu of %llu slots in use", (unsigned long long)full.readers,
            (unsigned long long)full.reader_slots);
    REQUIRE(full.readers == full.reader_slots, "%u threads, and only %llu of %llu slots in use", started, (unsigned long long)full.readers,
            (unsigned long long)full.reader_slots);
    __atomic_store_n(&leave, 1, __ATOMIC_SEQ_CST);
    for (unsigned i = 0; i < started; i++) pthread_join(all[i], NULL);
    free(all);
    struct millpond_stats after = figures();
    printf("  %u threads, %llu slots, %llu in use at most, %llu afterwards\n", started, (unsigned long long)full.reader_slots,
           (unsigned long long)full.readers, (unsigned long long)after.readers);
    REQUIRE(after.hits - before.hits == (uint64_t)started * READS * 2, "%llu hits counted, %llu were there",
            (unsigned long long)(after.hits - before.hits), (unsigned long long)started * READS * 2);
    REQUIRE(after.readers <= 2, "%llu slots in use by threads that have ended", (unsigned long long)after.readers);
    return end();
}

static void *read_once(void *arg) {
    read_some((uintptr_t)arg, 3);
    return NULL;
}

static int one_after_the_other(void *arg) {
    (void)arg;
    begin("turnover.pond");
    struct millpond_stats before = figures();
    for (uintptr_t i = 0; i < 5000; i++) {
        pthread_t thread;
        REQUIRE(pthread_create(&thread, NULL, read_once, (void *)i) == 0, "no thread");
        pthread_join(thread, NULL);
    }
    struct millpond_stats after = figures();
    REQUIRE(after.hits - before.hits == 15000, "%llu hits", (unsigned long long)(after.hits - before.hits));
    REQUIRE(after.readers <= 3, "one thread at a time used %llu slots", (unsigned long long)after.readers);
    return end();
}

/* ---- processes ---- */

#define PROCESSES 400

static uint32_t *there; /* shared: arrived, leave */

static int read_and_wait(void *arg) {
    read_some((uintptr_t)arg, READS);
    __atomic_fetch_add(&there[0], 1, __ATOMIC_SEQ_CST);
    while (!__atomic_load_n(&there[1], __ATOMIC_SEQ_CST)) support_sleep_ms(20);
    read_some((uintptr_t)arg, READS);
    return 0;
}

static int run_processes(bool killed) {
    begin(killed ? "killed.pond" : "processes.pond");
    there = support_share(2 * sizeof *there);
    pid_t *children = calloc(PROCESSES, sizeof *children);
    struct millpond_stats before = figures();
    for (uintptr_t i = 0; i < PROCESSES; i++) children[i] = support_fork(read_and_wait, (void *)i);
    for (int i = 0; i < 30000 && __atomic_load_n(&there[0], __ATOMIC_SEQ_CST) < PROCESSES; i++) support_sleep_ms(1);
    REQUIRE(there[0] == PROCESSES, "%u of %d processes got their answers", there[0], PROCESSES);
    if (killed)
        for (int i = 0; i < PROCESSES; i++) support_kill(children[i]);
    __atomic_store_n(&there[1], 1, __ATOMIC_SEQ_CST);
    if (!killed)
        for (int i = 0; i < PROCESSES; i++) REQUIRE(support_wait(children[i], 20000) == 0, "process %d", i);
    /* Whoever comes next finds a slot: after as many takeovers as there are slots no dead owner is left. */
    struct millpond_stats after = figures();
    uint64_t expected = (uint64_t)PROCESSES * READS * (killed ? 1 : 2);
    REQUIRE(after.hits - before.hits == expected, "%llu hits counted, %llu were there", (unsigned long long)(after.hits - before.hits),
            (unsigned long long)expected);
    printf("  %d processes, %llu slots; %llu in use when all were %s\n", PROCESSES, (unsigned long long)after.reader_slots,
           (unsigned long long)after.readers, killed ? "killed" : "gone");
    REQUIRE(after.readers <= 2, "%llu slots in use by processes that have ended", (unsigned long long)after.readers);
    there[0] = 0;
    for (uintptr_t i = 0; i < 40; i++) children[i] = support_fork(read_and_wait, (void *)i);
    for (int i = 0; i < 40; i++) REQUIRE(support_wait(children[i], 20000) == 0, "process %d of the second wave", i);
    free(children);
    return end();
}

static int processes(void *arg) {
    (void)arg;
    return run_processes(false);
}
static int killed_processes(void *arg) {
    (void)arg;
    return run_processes(true);
}

/* ---- readers and writers beyond the slots ---- */

static void *read_and_write(void *arg) {
    uint64_t me = (uintptr_t)arg;
    for (uint64_t i = 1; i <= 100; i++) {
        char key[SUPPORT_KEY_BYTES + 1];
        unsigned char value[300];
        size_t bytes = 0;
        uint64_t sequence = 0;
        support_key(key, me % KEYS);
        support_value_write(value, 32 + me % KEYS, me % KEYS, me % KEYS + 1);
        REQUIRE(millpond_set(pond, key, SUPPORT_KEY_BYTES, value, 32 + me % KEYS, 0) == MILLPOND_OK, "set");
        support_key(key, (me + i) % KEYS);
        REQUIRE(millpond_get(pond, key, SUPPORT_KEY_BYTES, value, sizeof value, &bytes) == MILLPOND_OK, "get");
        REQUIRE(!support_value_read(value, bytes, (me + i) % KEYS, &sequence), "a wrong value");
    }
    return NULL;
}

static int writers_without_slots(void *arg) {
    (void)arg;
    begin("writers.pond");
    pthread_t all[200];
    pthread_attr_t small;
    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, 64 << 10);
    for (uintptr_t i = 0; i < 200; i++) REQUIRE(pthread_create(&all[i], &small, read_and_write, (void *)i) == 0, "no thread");
    for (int i = 0; i < 200; i++) pthread_join(all[i], NULL);
    REQUIRE(figures().evictions == 0 && figures().items == KEYS, "%llu items", (unsigned long long)figures().items);
    return end();
}

int main(int argc, char **argv) {
    static const struct support_case cases[] = {
        {"three thousand threads read at once and every hit is counted", threads, 60000},
        {"five thousand threads, one after the other, need one slot", one_after_the_other, 60000},
        {"four hundred processes read at once and every hit is counted", processes, 60000},
        {"four hundred killed processes leave no slot taken", killed_processes, 60000},
        {"two hundred threads write without a slot for each", writers_without_slots, 60000},
    };
    return support_run_cases(argc, argv, cases, sizeof cases / sizeof *cases);
}
