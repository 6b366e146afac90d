/* SPDX-License-Identifier: MIT */
/* Writers in several PID namespaces (containers that share a volume), each of them number 1 of its own, on a file that was created for
 * that. A robust mutex alone does not serve here: when a waiter is killed, the kernel compares the owner in the lock word with the dead
 * one's number in its own namespace, finds them equal, and gives the lock of a living owner away (5 of 5 tries with plain mutexes). */

#include "support.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define SPACES 3

struct shared {
    pid_t first[SPACES];    /* number 1 of each namespace, as seen from here */
    uint64_t added[SPACES]; /* acknowledged */
    uint64_t operations[SPACES];
    uint64_t owners;
    int stop;
};

static struct shared *shared;
static const char *path;

static int write_all_the_time(unsigned me) {
    REQUIRE(getpid() == 1, "process %ld is not number 1 of its namespace", (long)getpid());
    struct millpond_options options = MILLPOND_OPTIONS_INIT;
    options.lock_timeout_ms = 20000;
    struct millpond *pond = support_open(path, &options);
    struct support_random random = {support_now_ns() + me};
    struct millpond_incr create = {0, 0};
    char own[16];
    int own_bytes = snprintf(own, sizeof own, "counter-%u", me);
    while (!__atomic_load_n(&shared->stop, __ATOMIC_RELAXED)) {
        char key[SUPPORT_KEY_BYTES + 1];
        unsigned char value[2000];
        uint64_t number = support_below(&random, 100), sequence = 0;
        size_t bytes = 32 + support_below(&random, sizeof value - 32);
        support_key(key, number);
        support_value_write(value, bytes, number, me);
        REQUIRE(millpond_set(pond, key, SUPPORT_KEY_BYTES, value, bytes, 0) == MILLPOND_OK, "set");
        int result = millpond_get(pond, key, SUPPORT_KEY_BYTES, value, sizeof value, &bytes);
        const char *wrong =
            result == MILLPOND_OK ? support_value_read(value, bytes, number, &sequence) : "a key that is always there is not";
        REQUIRE(!wrong, "namespace %u, key %llu: %s", me, (unsigned long long)number, wrong);
        int64_t now = 0;
        REQUIRE(millpond_incr(pond, own, (size_t)own_bytes, 1, &create, &now) == MILLPOND_OK, "incr");
        __atomic_store_n(&shared->added[me], (uint64_t)now, __ATOMIC_SEQ_CST);
        __atomic_fetch_add(&shared->operations[me], 1, __ATOMIC_RELAXED);
    }
    millpond_close(pond);
    return 0;
}

/* Makes a namespace; its number 1 writes; this process waits for it and says how it ended. */
static int live_in_a_namespace(void *arg) {
    unsigned me = (unsigned)(uintptr_t)arg;
    REQUIRE(unshare(CLONE_NEWPID) == 0, "unshare: %s", strerror(errno));
    pid_t child = fork();
    REQUIRE(child >= 0, "fork: %s", strerror(errno));
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        _exit(write_all_the_time(me));
    }
    __atomic_store_n(&shared->first[me], child, __ATOMIC_SEQ_CST);
    return support_wait(child, 60000) == 0 ? 0 : 1;
}

static pid_t start(unsigned me) {
    shared->first[me] = 0;
    pid_t parent = support_fork(live_in_a_namespace, (void *)(uintptr_t)me);
    uint64_t before = shared->operations[me], give_up = support_now_ns() + UINT64_C(15000000000);
    /* Both: it may write before its parent has noted its number, and a signal to number 0 goes to everybody here. */
    while (__atomic_load_n(&shared->operations[me], __ATOMIC_RELAXED) == before ||
           __atomic_load_n(&shared->first[me], __ATOMIC_SEQ_CST) == 0) {
        REQUIRE(support_now_ns() < give_up, "the writer of namespace %u gets nowhere", me);
        support_sleep_us(100);
    }
    return parent;
}

static int run(void *arg) {
    (void)arg;
    if (geteuid() != 0) return support_skip("PID namespaces need root");
    struct support_random random = support_seed("namespaces");
    shared = support_share(sizeof *shared);
    path = support_path("namespaces.pond");
    struct millpond_options options = MILLPOND_OPTIONS_INIT;
    options.flags = MILLPOND_CREATE | MILLPOND_NAMESPACES;
    options.size_bytes = 4 << 20;
    options.shards = 1;
    pid_t maker = fork(); /* no mapping for the children to inherit */
    if (maker == 0) {
        millpond_close(support_open(path, &options));
        _exit(0);
    }
    REQUIRE(support_wait(maker, 10000) == 0, "creating");
    pid_t parents[SPACES];
    unsigned kills = 0;
    for (unsigned i = 0; i < SPACES; i++) parents[i] = start(i);
    for (unsigned round = 0; round < 60; round++) {
        /* One is stopped, perhaps with the lock; the second, which then waits for it, is killed; the third goes on, and must not get in. */
        unsigned owner = round % SPACES, waiter = (round + 1) % SPACES;
        support_sleep_us((unsigned)support_below(&random, 2000));
        REQUIRE(kill(shared->first[owner], SIGSTOP) == 0, "kill");
        support_sleep_us(2000 + (unsigned)support_below(&random, 3000));
        REQUIRE(kill(shared->first[waiter], SIGKILL) == 0, "kill");
        REQUIRE(support_wait(parents[waiter], 10000) == 1, "the waiter");
        support_sleep_us(2000 + (unsigned)support_below(&random, 3000));
        REQUIRE(kill(shared->first[owner], SIGCONT) == 0, "kill");
        parents[waiter] = start(waiter);
        kills++;
    }
    __atomic_store_n(&shared->stop, 1, __ATOMIC_RELAXED);
    for (unsigned i = 0; i < SPACES; i++) REQUIRE(support_wait(parents[i], 30000) == 0, "namespace %u failed", i);
    struct millpond *pond = support_open(path, NULL);
    struct millpond_stats stats;
    REQUIRE(millpond_stats(pond, -1, &stats) == MILLPOND_OK && stats.evictions == 0, "stats");
    for (unsigned i = 0; i < SPACES; i++) {
        char name[16];
        int64_t value = 0;
        int bytes = snprintf(name, sizeof name, "counter-%u", i);
        REQUIRE(millpond_incr(pond, name, (size_t)bytes, 0, NULL, &value) == MILLPOND_OK, "incr");
        REQUIRE((uint64_t)value == shared->added[i], "counter %u is %lld, %llu were added", i, (long long)value,
                (unsigned long long)shared->added[i]);
    }
    REQUIRE(stats.items == 100 + SPACES, "%llu items", (unsigned long long)stats.items);
    printf("  %u waiters killed; %llu, %llu and %llu operations, %llu recoveries\n", kills, (unsigned long long)shared->operations[0],
           (unsigned long long)shared->operations[1], (unsigned long long)shared->operations[2], (unsigned long long)stats.recoveries);
    millpond_close(pond);
    REQUIRE(support_require_whole(path).entries == 100 + SPACES, "entries");
    return 0;
}

int main(int argc, char **argv) {
    static const struct support_case cases[] = {
        {"a killed waiter gives nobody the lock of a living owner", run, 120000},
    };
    return support_run_cases(argc, argv, cases, sizeof cases / sizeof *cases);
}
