/* SPDX-License-Identifier: MIT */
/* Creators that race and creators that are killed: nobody ever sees a half-made file, of two creators both end with the same one, and a
 * killed one leaves nothing. (Plain open, truncate and fill shows a half-made file to every tenth opener.) */

#include "support.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define RACE_BYTES (256 << 10)
#define ROUNDS     300
#define KILLS      250

/* The shared state of a race: everybody waits for the round's number, and says when he is done with it. */
struct race {
    uint32_t round, ready, created[2], opened, absent;
    uint32_t done;
    int results[2];
};

static struct race *race;

static uint32_t load(uint32_t *p) { return __atomic_load_n(p, __ATOMIC_SEQ_CST); }
static void store(uint32_t *p, uint32_t v) { __atomic_store_n(p, v, __ATOMIC_SEQ_CST); }
static void wait_for(uint32_t *p, uint32_t v) {
    uint64_t end = support_now_ns() + UINT64_C(20000000000);
    while (load(p) < v) {
        REQUIRE(support_now_ns() < end, "the others never came to %u", v);
        sched_yield();
    }
}

static struct millpond_options creating(uint32_t flags) {
    struct millpond_options options = MILLPOND_OPTIONS_INIT;
    options.size_bytes = RACE_BYTES;
    options.flags = MILLPOND_CREATE | flags;
    return options;
}

/* Creates or opens, leaves a key of its own and finds the other's. */
static int create_both(void *arg) {
    unsigned me = arg ? 1 : 0;
    struct millpond_options options = creating(0);
    for (uint32_t round = 1; round <= ROUNDS; round++) {
        const char *path = support_path("race-%u.pond", round);
        __atomic_add_fetch(&race->ready, 1, __ATOMIC_SEQ_CST);
        wait_for(&race->round, round);
        struct millpond *pond = support_open(path, &options);
        REQUIRE(millpond_set(pond, me ? "right" : "left", me ? 5 : 4, "here", 4, 0) == MILLPOND_OK, "set");
        store(&race->created[me], round);
        wait_for(&race->created[!me], round);
        REQUIRE(millpond_contains(pond, me ? "left" : "right", me ? 4 : 5) == MILLPOND_OK, "round %u: the creators have two files", round);
        millpond_close(pond);
        __atomic_add_fetch(&race->done, 1, __ATOMIC_SEQ_CST);
    }
    return 0;
}

/* Opens all the time, without creating: the file is absent or whole. */
static int watch(void *arg) {
    (void)arg;
    uint32_t opened = 0, absent = 0;
    while (load(&race->round) <= ROUNDS) {
        const char *path = support_path("race-%u.pond", load(&race->round));
        struct stat st;
        if (stat(path, &st) == 0) REQUIRE(st.st_size == RACE_BYTES, "%s has %lld bytes", path, (long long)st.st_size);
        struct millpond *pond = NULL;
        char errmsg[MILLPOND_ERRMSG_BYTES];
        int result = millpond_open(&pond, path, NULL, errmsg);
        REQUIRE(result == MILLPOND_OK || result == MILLPOND_ERR_NO_FILE, "%s: %d: %s", path, result, errmsg);
        if (result == MILLPOND_OK) {
            int left = millpond_contains(pond, "left", 4);
            REQUIRE(left == MILLPOND_OK || left == MILLPOND_MISS, "contains: %d", left);
            millpond_close(pond);
        }
        opened += result == MILLPOND_OK;
        absent += result == MILLPOND_ERR_NO_FILE;
    }
    store(&race->opened, opened);
    store(&race->absent, absent);
    return 0;
}

static int pairs_of_creators(void *arg) {
    (void)arg;
    race = support_share(sizeof *race);
    support_path("."); /* all children share this process's folder */
    pid_t watcher = support_fork(watch, NULL), left = support_fork(create_both, NULL), right = support_fork(create_both, race);
    for (uint32_t round = 1; round <= ROUNDS; round++) {
        wait_for(&race->ready, 2 * round);
        store(&race->round, round);
        wait_for(&race->done, 2 * round);
        unlink(support_path("race-%u.pond", round));
    }
    store(&race->round, ROUNDS + 1);
    int said[] = {support_wait(left, 10000), support_wait(right, 10000), support_wait(watcher, 10000)};
    REQUIRE(said[0] == 0 && said[1] == 0 && said[2] == 0, "creators %d and %d, watcher %d", said[0], said[1], said[2]);
    printf("  %d pairs; the watcher found the file %u times, and not there %u times\n", ROUNDS, race->opened, race->absent);
    REQUIRE(race->opened > 10 && race->absent > 10, "the watcher saw too little");
    REQUIRE(support_count_files(support_path(".")) == 0, "files are left");
    return 0;
}

static int create_alone(void *arg) {
    unsigned me = arg ? 1 : 0;
    struct millpond_options options = creating(MILLPOND_EXCLUSIVE);
    for (uint32_t round = 1; round <= ROUNDS; round++) {
        __atomic_add_fetch(&race->ready, 1, __ATOMIC_SEQ_CST);
        wait_for(&race->round, round);
        struct millpond *pond = NULL;
        race->results[me] = millpond_open(&pond, support_path("race-%u.pond", round), &options, NULL);
        millpond_close(pond);
        __atomic_add_fetch(&race->done, 1, __ATOMIC_SEQ_CST);
    }
    return 0;
}

static int exclusive_creators(void *arg) {
    (void)arg;
    race = support_share(sizeof *race);
    support_path(".");
    unsigned wins[2] = {0, 0};
    pid_t left = support_fork(create_alone, NULL), right = support_fork(create_alone, race);
    for (uint32_t round = 1; round <= ROUNDS; round++) {
        wait_for(&race->ready, 2 * round);
        store(&race->round, round);
        wait_for(&race->done, 2 * round);
        int a = race->results[0], b = race->results[1];
        REQUIRE((a == MILLPOND_OK && b == MILLPOND_ERR_FILE_EXISTS) || (b == MILLPOND_OK && a == MILLPOND_ERR_FILE_EXISTS),
                "round %u: %d and %d", round, a, b);
        wins[a != MILLPOND_OK]++;
    }
    REQUIRE(support_wait(left, 10000) == 0 && support_wait(right, 10000) == 0, "a creator failed");
    printf("  %d pairs, won %u to %u\n", ROUNDS, wins[0], wins[1]);
    REQUIRE(support_count_files(support_path(".")) == ROUNDS, "%d files", support_count_files(support_path(".")));
    return 0;
}

static int create_large(void *arg) {
    struct millpond_options options = creating(MILLPOND_EXCLUSIVE);
    options.size_bytes = 4 << 20;
    support_open(arg, &options);
    support_sleep_ms(20000);
    return 0;
}

static int killed_creators(void *arg) {
    (void)arg;
    struct support_random random = support_seed("killed creators");
    unsigned before = 0, after = 0;
    for (unsigned i = 0; i < KILLS; i++) {
        char path[4096];
        snprintf(path, sizeof path, "%s", support_path("killed.pond"));
        pid_t child = support_fork(create_large, path);
        support_sleep_us((unsigned)support_below(&random, 6000));
        support_kill(child);
        int files = support_count_files(support_path("."));
        REQUIRE(files <= 1, "kill %u: %d files", i, files);
        if (files == 0) {
            before++;
            continue;
        }
        after++;
        REQUIRE(support_file_bytes(path) == 4 << 20, "kill %u: %lld bytes", i, (long long)support_file_bytes(path));
        struct millpond *pond = support_open(path, NULL);
        REQUIRE(millpond_set(pond, "key", 3, "value", 5, 0) == MILLPOND_OK, "kill %u: set", i);
        millpond_close(pond);
        REQUIRE(support_require_whole(path).entries == 1, "kill %u", i);
        REQUIRE(unlink(path) == 0, "%s", strerror(errno));
    }
    printf("  %u killed before the file had its name, %u afterwards\n", before, after);
    REQUIRE(before > 5 && after > 5, "the kills came all too early or all too late");
    return 0;
}

int main(int argc, char **argv) {
    static const struct support_case cases[] = {
        {"of two creators both end with the same file, and nobody sees a half-made one", pairs_of_creators, 60000},
        {"of two exclusive creators one wins and the other is told", exclusive_creators, 60000},
        {"a killed creator leaves nothing, or a whole file", killed_creators, 60000},
    };
    return support_run_cases(argc, argv, cases, sizeof cases / sizeof *cases);
}
