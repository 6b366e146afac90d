/* SPDX-License-Identifier: MIT */
/* One handle, opened before fork, used by the parent, its children and their children, at the same time; forks in the middle of writes by
 * other threads; children that close it; parents that end first. */

#include "support.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define FILE_BYTES (16 << 20)

static struct millpond *pond;
static const char *path;

static void begin(const char *name) {
    path = support_path("%s", name);
    pond = support_create(path, FILE_BYTES);
}

static int end(void) {
    millpond_close(pond);
    support_require_whole(path);
    return 0;
}

static void set(uint64_t number, uint64_t sequence, size_t bytes) { support_set(pond, number, sequence, bytes); }
static uint64_t get(uint64_t number) { return support_get(pond, number); }

/* ---- a family at work ---- */

#define FAMILY_KEYS 64

/* Each generation writes keys of its own, reads everybody's, and adds to one counter. */
static void work(unsigned member, unsigned rounds) {
    struct support_random random = {member};
    for (unsigned i = 1; i <= rounds; i++) {
        uint64_t own = (uint64_t)member * FAMILY_KEYS + support_below(&random, FAMILY_KEYS);
        set(own, i, 32 + support_below(&random, 2000));
        REQUIRE(get(own) == i, "member %u does not find what it just stored", member);
        get(support_below(&random, 32 * FAMILY_KEYS));
        REQUIRE(millpond_incr(pond, "family", 6, 1, NULL, NULL) == MILLPOND_OK, "incr");
    }
}

struct member {
    unsigned number, depth;
};

static int descend(void *arg) {
    struct member *me = arg;
    pid_t children[2];
    struct member members[2];
    for (unsigned i = 0; i < 2 && me->depth > 0; i++) {
        members[i] = (struct member){me->number * 2 + i, me->depth - 1};
        children[i] = support_fork(descend, &members[i]);
    }
    work(me->number, 300);
    for (unsigned i = 0; i < 2 && me->depth > 0; i++)
        REQUIRE(support_wait(children[i], 30000) == 0, "a child of member %u failed", me->number);
    return 0;
}

static int generations(void *arg) {
    (void)arg;
    begin("family.pond");
    struct millpond_incr create = {0, 0};
    struct member first = {1, 4};
    int64_t sum = 0;
    REQUIRE(millpond_incr(pond, "family", 6, 0, &create, NULL) == MILLPOND_OK, "incr");
    descend(&first);
    REQUIRE(millpond_incr(pond, "family", 6, 0, NULL, &sum) == MILLPOND_OK && sum == 31 * 300, "31 members counted to %lld",
            (long long)sum);
    return end();
}

/* ---- a thousand forks while threads write ---- */

#define FORKS 1200

static bool stop;
static uint64_t written[4];

static void *keep_writing(void *arg) {
    uintptr_t me = (uintptr_t)arg;
    struct support_random random = {me + 77};
    for (uint64_t i = 1; !__atomic_load_n(&stop, __ATOMIC_RELAXED); i++) {
        set(1000 + me * 100 + i % 100, i, 32 + support_below(&random, 3000));
        __atomic_store_n(&written[me], i, __ATOMIC_RELEASE);
        if (i % 16 == 0) millpond_incr(pond, "writes", 6, 1, NULL, NULL);
    }
    return NULL;
}

/* The child has one thread; the locks that the parent's threads held at the fork are not its own. */
static int visit_briefly(void *arg) {
    uint64_t number = *(uint64_t *)arg;
    for (uint64_t i = 0; i < 8; i++) {
        set(5000 + number % 50 * 8 + i, number + 1, 100);
        get(1000 + (number * 31 + i * 7) % 200);
    }
    for (uint64_t i = 0; i < 8; i++) REQUIRE(get(5000 + number % 50 * 8 + i) != 0, "a child does not find what it stored");
    REQUIRE(millpond_incr(pond, "visits", 6, 1, NULL, NULL) == MILLPOND_OK, "incr");
    if (number % 2) millpond_close(pond);
    return 0;
}

static int forks_while_threads_write(void *arg) {
    (void)arg;
    begin("threads.pond");
    struct millpond_incr create = {0, 0};
    pthread_t threads[2];
    int64_t visits = 0;
    REQUIRE(millpond_incr(pond, "visits", 6, 0, &create, NULL) == MILLPOND_OK, "incr");
    REQUIRE(millpond_incr(pond, "writes", 6, 0, &create, NULL) == MILLPOND_OK, "incr");
    for (uintptr_t i = 0; i < 2; i++) REQUIRE(pthread_create(&threads[i], NULL, keep_writing, (void *)i) == 0, "no thread");
    for (uint64_t i = 0; i < FORKS; i += 4) { /* four at a time */
        pid_t children[4];
        uint64_t numbers[4];
        for (uint64_t k = 0; k < 4; k++) {
            numbers[k] = i + k;
            children[k] = support_fork(visit_briefly, &numbers[k]);
        }
        for (int k = 0; k < 4; k++) {
            int said = support_wait(children[k], 20000);
            REQUIRE(said == 0, "fork %llu: the child ended with %d%s", (unsigned long long)i, said, said == SUPPORT_LATE ? " (hung)" : "");
        }
    }
    __atomic_store_n(&stop, true, __ATOMIC_RELAXED);
    for (int i = 0; i < 2; i++) pthread_join(threads[i], NULL);
    REQUIRE(millpond_incr(pond, "visits", 6, 0, NULL, &visits) == MILLPOND_OK && visits == FORKS, "%lld visits of %d", (long long)visits,
            FORKS);
    for (uintptr_t me = 0; me < 2; me++)
        for (uint64_t i = 0; i < 100 && i < written[me]; i++)
            REQUIRE(get(1000 + me * 100 + i) + 100 > written[me], "a thread's write was lost");
    printf("  %d forks during %llu and %llu writes\n", FORKS, (unsigned long long)written[0], (unsigned long long)written[1]);
    REQUIRE(written[0] > FORKS && written[1] > FORKS, "the threads wrote too little");
    return end();
}

/* ---- who closes, who ends first ---- */

static int close_it(void *arg) {
    (void)arg;
    REQUIRE(get(1) == 1, "get");
    millpond_close(pond);
    return 0;
}

static int a_child_closes(void *arg) {
    (void)arg;
    begin("closed.pond");
    set(1, 1, 100);
    for (int i = 0; i < 50; i++) {
        REQUIRE(support_run_child(close_it, NULL, 10000) == 0, "the child");
        REQUIRE(get(1) == 1, "the parent's handle is gone with the child's");
        set(2, (uint64_t)i + 1, 500);
        REQUIRE(get(2) == (uint64_t)i + 1, "get");
    }
    return end();
}

/* The parent of this one has closed its handle or ended. */
static int go_on_alone(void *arg) {
    int *go = arg;
    while (__atomic_load_n(go, __ATOMIC_ACQUIRE) == 0) support_sleep_ms(1);
    for (uint64_t i = 1; i <= 2000; i++) {
        set(10 + i % 50, i, 32 + i);
        REQUIRE(get(10 + i % 50) == i, "get");
    }
    millpond_close(pond);
    return 0;
}

static int the_parent_closes_first(void *arg) {
    (void)arg;
    begin("parent.pond");
    set(1, 1, 100);
    int *go = support_share(sizeof *go);
    pid_t child = support_fork(go_on_alone, go);
    millpond_close(pond);
    __atomic_store_n(go, 1, __ATOMIC_RELEASE);
    int said = support_wait(child, 20000);
    REQUIRE(said == 0, "the child ended with %d", said);
    support_require_whole(path);
    return 0;
}

static int fork_and_end(void *arg) {
    int *state = arg;
    pid_t grandchild = fork();
    if (grandchild == 0) {
        prctl(PR_SET_PDEATHSIG, 0);
        int said = go_on_alone(state);
        __atomic_store_n(state + 1, said == 0 ? 1 : 2, __ATOMIC_RELEASE);
        _exit(said);
    }
    REQUIRE(grandchild > 0, "fork");
    set(2, 2, 200);
    return 0; /* without closing, and without waiting */
}

static int the_parent_ends_first(void *arg) {
    (void)arg;
    begin("orphan.pond");
    int *state = support_share(2 * sizeof *state);
    REQUIRE(prctl(PR_SET_CHILD_SUBREAPER, 1) == 0, "prctl"); /* the orphan is reaped here */
    REQUIRE(support_run_child(fork_and_end, state, 10000) == 0, "the child");
    __atomic_store_n(state, 1, __ATOMIC_RELEASE);
    for (int i = 0; i < 20000 && __atomic_load_n(state + 1, __ATOMIC_ACQUIRE) == 0; i++) support_sleep_ms(1);
    REQUIRE(state[1] == 1, "the orphan %s", state[1] ? "failed" : "never ended");
    while (waitpid(-1, NULL, 0) > 0 || errno == EINTR) continue;
    REQUIRE(get(2) == 2, "what the child stored before it ended");
    return end();
}

static int open_after_fork(void *arg) {
    struct millpond *own = support_open(path, NULL);
    REQUIRE(millpond_set(own, "theirs", 6, "x", 1, 0) == MILLPOND_OK, "set");
    set(3, 3, 300); /* the inherited handle, too */
    millpond_close(own);
    REQUIRE(get(3) == 3, "the inherited handle is gone with the own one");
    (void)arg;
    return 0;
}

static int inherited_and_own_handles(void *arg) {
    (void)arg;
    begin("both.pond");
    for (int i = 0; i < 50; i++) REQUIRE(support_run_child(open_after_fork, NULL, 10000) == 0, "the child");
    REQUIRE(millpond_contains(pond, "theirs", 6) == MILLPOND_OK && get(3) == 3, "what the child stored");
    return end();
}

/* ---- killed children do not poison anything ---- */

static int write_for_ever(void *arg) {
    (void)arg;
    for (uint64_t i = 1;; i++) set(9000 + i % 20, i, 32 + i % 3000);
    return 0;
}

static int killed_children(void *arg) {
    (void)arg;
    begin("killed.pond");
    struct support_random random = support_seed("killed children");
    for (uint64_t i = 1; i <= 300; i++) {
        pid_t child = support_fork(write_for_ever, NULL);
        support_sleep_us(200 + (unsigned)support_below(&random, 2000));
        support_kill(child);
        set(1, i, 100 + i);
        REQUIRE(get(1) == i, "the parent cannot go on");
        for (uint64_t k = 0; k < 20; k++) get(9000 + k);
    }
    struct millpond_stats stats;
    REQUIRE(millpond_stats(pond, -1, &stats) == MILLPOND_OK, "stats");
    printf("  300 killed in the middle of writing, %llu recoveries\n", (unsigned long long)stats.recoveries);
    return end();
}

int main(int argc, char **argv) {
    static const struct support_case cases[] = {
        {"four generations use the handle of the first", generations, 60000},
        {"1200 forks while two threads write", forks_while_threads_write, 90000},
        {"a child that closes takes nothing from its parent", a_child_closes, 30000},
        {"a parent that closes takes nothing from its child", the_parent_closes_first, 30000},
        {"a parent that ends takes nothing from its child", the_parent_ends_first, 40000},
        {"an inherited handle and an own one live beside each other", inherited_and_own_handles, 30000},
        {"the parent goes on when children are killed while they write", killed_children, 60000},
    };
    return support_run_cases(argc, argv, cases, sizeof cases / sizeof *cases);
}
