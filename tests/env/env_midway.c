/* SPDX-License-Identifier: MIT */
/* In the middle of the longer calls: forks and signal handlers amid transactions, fetches, leases, snapshots and resizes; resizes for which
 * there is no room, or that meet a limit; and snapshots, views and fetches when no reader slot is left. */

#include "attempt.h"
#include "support.h"
#include "together.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

#define KEYS TOGETHER_KEYS

static struct millpond *pond;
static const char *path;
static unsigned long wanted_seconds = 3;

/* ---- a resize that cannot be ---- */

static int resize(uint64_t bytes, char *errmsg) {
    errmsg[0] = 0;
    return millpond_resize(pond, bytes, errmsg);
}

/* It fails as it should, says so, and leaves file, entries, descriptors and mappings as they were. */
static void refused(uint64_t bytes, int expected, const char *word) {
    char errmsg[MILLPOND_ERRMSG_BYTES];
    struct stat before, now;
    char folder[4096];
    snprintf(folder, sizeof folder, "%.*s", (int)(strrchr(path, '/') - path), path);
    int files = support_count_files(folder), descriptors = attempt_count_fds(), mappings = attempt_count_mappings(path);
    REQUIRE(stat(path, &before) == 0, "stat");
    int result = resize(bytes, errmsg);
    REQUIRE(result == expected && strstr(errmsg, path) && strstr(errmsg, "; ") && strstr(errmsg, word), "%d, expected %d: '%s'", result,
            expected, errmsg);
    REQUIRE(stat(path, &now) == 0 && now.st_ino == before.st_ino && now.st_size == before.st_size, "the file is another one");
    REQUIRE(support_count_files(folder) == files, "something lies beside the file");
    REQUIRE(attempt_count_fds() == descriptors && attempt_count_mappings(path) == mappings, "%d descriptors, %d mappings are left",
            attempt_count_fds() - descriptors, attempt_count_mappings(path) - mappings);
    together_require(pond);
    support_set(pond, KEYS, 1, 500);
}

static void accepted(uint64_t bytes) {
    char errmsg[MILLPOND_ERRMSG_BYTES];
    struct millpond_stats stats;
    int result = resize(bytes, errmsg);
    REQUIRE(result == MILLPOND_OK, "resize: %d: %s", result, errmsg);
    REQUIRE(millpond_stats(pond, -1, &stats) == MILLPOND_OK && stats.file_bytes == bytes, "%llu bytes",
            (unsigned long long)stats.file_bytes);
    together_require(pond);
}

static void begin(const char *name, uint64_t bytes) {
    path = support_path("%s", name);
    pond = support_create(path, bytes);
    together_begin(pond);
}

static int end(void) {
    millpond_close(pond);
    support_require_whole(path);
    return 0;
}

static int beyond_a_file_size_limit(void *arg) {
    (void)arg;
    begin("size-limit.pond", 1 << 20);
    struct attempt_limit limit = {RLIMIT_FSIZE, 2 << 20};
    become_limited(&limit);
    refused(8 << 20, MILLPOND_ERR_LIMIT, "ulimit -f"); /* SIGXFSZ would have ended us */
    refused((2 << 20) + 1, MILLPOND_ERR_LIMIT, "ulimit -f");
    accepted(2 << 20);
    accepted(512 << 10);
    return end();
}

static int beyond_an_address_space_limit(void *arg) {
    (void)arg;
    if (SANITIZED) return support_skip("a sanitizer needs the address space");
    begin("space-limit.pond", 1 << 20);
    struct attempt_limit limit = {RLIMIT_AS, 80 << 20};
    become_limited(&limit);
    refused(100 << 20, MILLPOND_ERR_LIMIT, "ulimit -v");
    accepted(2 << 20);
    return end();
}

/* Descriptors run out at each of the steps that need one. */
static int without_descriptors(void *arg) {
    (void)arg;
    begin("descriptors.pond", 1 << 20);
    struct rlimit before, limit;
    REQUIRE(getrlimit(RLIMIT_NOFILE, &before) == 0, "getrlimit");
    int lowest = dup(0), done = 0, failed = 0;
    close(lowest);
    for (int spare = 0; spare < 6; spare++) {
        char errmsg[MILLPOND_ERRMSG_BYTES];
        limit = (struct rlimit){(rlim_t)(lowest + spare), before.rlim_max};
        REQUIRE(setrlimit(RLIMIT_NOFILE, &limit) == 0, "setrlimit");
        int result = resize(spare % 2 ? 1 << 20 : 2 << 20, errmsg);
        REQUIRE(result == MILLPOND_OK || (result == MILLPOND_ERR_LIMIT && strstr(errmsg, "; ")), "with %d: %d: '%s'", spare, result,
                errmsg);
        REQUIRE(setrlimit(RLIMIT_NOFILE, &before) == 0, "setrlimit");
        together_require(pond);
        support_set(pond, KEYS, 1, 500);
        *(result == MILLPOND_OK ? &done : &failed) += 1;
        REQUIRE(support_count_files(support_path(".")) == 1, "something lies beside the file");
    }
    printf("  %d resizes failed for want of descriptors, %d were done\n", failed, done);
    REQUIRE(failed > 0 && done > 0, "%d failed, %d done", failed, done);
    support_require_whole(path);
    return end();
}

static int *flags; /* shared: 0 how many have come, 1 they may go */

static int read_and_write_until_told(void *arg) {
    (void)arg;
    for (uint64_t turn = 1; !__atomic_load_n(&flags[1], __ATOMIC_ACQUIRE); turn++) {
        together_require(pond);
        support_set(pond, KEYS + turn % 50, turn, 300);
        __atomic_store_n(&flags[0], (int)turn, __ATOMIC_RELEASE);
    }
    return 0;
}

/* The other process has gone on to the new file, so the old one's blocks are free. */
static void accepted_by_all(uint64_t bytes) {
    accepted(bytes);
    int seen = __atomic_load_n(&flags[0], __ATOMIC_ACQUIRE);
    for (int i = 0; i < 20000 && __atomic_load_n(&flags[0], __ATOMIC_ACQUIRE) < seen + 2; i++) support_sleep_ms(1);
}

static void on_a_full_disk(uint64_t disk_bytes) {
    refused(disk_bytes * 2, MILLPOND_ERR_NO_SPACE, "space");
    refused(disk_bytes - (1 << 20) + 4096, MILLPOND_ERR_NO_SPACE, "space"); /* a page too much, beside the old file */
    accepted_by_all(disk_bytes - (2 << 20));
}

/* A tmpfs of 4 MiB in a mount namespace of this case's own. */
static int on_a_disk_that_is_full(void *arg) {
    (void)arg;
    if (!attempt_is_root() || !attempt_can_mount()) return support_skip("a small tmpfs cannot be mounted");
    const char *disk = support_path("disk");
    become_unshared();
    REQUIRE(mkdir(disk, 0700) == 0 && mount("none", disk, "tmpfs", 0, "size=4m") == 0, "%s", strerror(errno));
    begin("disk/full.pond", 1 << 20);
    flags = support_share(2 * sizeof *flags);
    pid_t worker = support_fork(read_and_write_until_told, NULL);
    for (int turn = 0; turn < 5; turn++) {
        on_a_full_disk(4 << 20);
        refused(3 << 20, MILLPOND_ERR_NO_SPACE, "space");
        accepted_by_all(1 << 20);
    }
    /* Others fill the disk: not even a smaller one has room. */
    char *rest = calloc(1, 4 << 20);
    const char *others = support_path("disk/others");
    REQUIRE(!support_write_file(others, rest, 4 << 20), "the disk is larger than it was to be");
    refused(128 << 10, MILLPOND_ERR_NO_SPACE, "space");
    REQUIRE(unlink(others) == 0, "unlink");
    free(rest);
    accepted(2 << 20);
    __atomic_store_n(&flags[1], 1, __ATOMIC_RELEASE);
    REQUIRE(support_wait(worker, 20000) == 0 && flags[0] > 10, "the worker");
    return end();
}

/* ---- forks in the middle ---- */

static bool stop;
static uint64_t done[TOGETHER_KINDS];

static void *keep_at_it(void *arg) {
    uintptr_t what = (uintptr_t)arg;
    for (uint64_t turn = 1; !__atomic_load_n(&stop, __ATOMIC_RELAXED); turn++) {
        together_do(pond, (enum together)what, turn);
        __atomic_store_n(&done[what], turn, __ATOMIC_RELAXED);
    }
    return NULL;
}

static int do_everything_once(void *arg) {
    uint64_t number = *(uint64_t *)arg;
    for (uintptr_t what = 0; what < TOGETHER_KINDS; what++)
        if (what != TOGETHER_RESIZE || number % 8 == 0) together_do(pond, (enum together)what, number);
    if (number % 2) millpond_close(pond);
    return 0;
}

static int forks(void *arg) {
    (void)arg;
    if (SANITIZED) return support_skip("a child waits for a lock of the sanitizer's allocator that a thread of its parent held");
    begin("forks.pond", 1 << 20);
    pthread_t threads[6];
    for (uintptr_t i = 0; i < 6; i++) REQUIRE(pthread_create(&threads[i], NULL, keep_at_it, (void *)i) == 0, "no thread");
    uint64_t until = support_now_ns() + wanted_seconds * 1000000000, count = 0;
    for (; support_now_ns() < until || count < 20; count++) {
        int said = support_run_child(do_everything_once, &count, 60000);
        REQUIRE(said == 0, "fork %llu ended with %d%s", (unsigned long long)count, said, said == SUPPORT_LATE ? " (hung)" : "");
    }
    __atomic_store_n(&stop, true, __ATOMIC_RELAXED);
    for (int i = 0; i < 6; i++) pthread_join(threads[i], NULL);
    together_require(pond);
    printf("  %llu forks during %llu transactions, %llu snapshots, %llu fetches, %llu leases, %llu resizes\n", (unsigned long long)count,
           (unsigned long long)done[0], (unsigned long long)done[1], (unsigned long long)done[2], (unsigned long long)done[3],
           (unsigned long long)done[4]);
    for (int i = 0; i < 5; i++) REQUIRE(done[i] > 5, "thread %d did too little", i);
    REQUIRE(support_count_files(support_path(".")) == 1, "something lies beside the file");
    return end();
}

static int sleep_until_told(void *arg) {
    (void)arg;
    __atomic_fetch_add(&flags[0], 1, __ATOMIC_ACQ_REL);
    while (!__atomic_load_n(&flags[1], __ATOMIC_ACQUIRE)) support_sleep_ms(5);
    return 0;
}

/* Each of these resizes ends behind its file lock, with an error, so the file and its locks stay. */
static void *resize_in_vain(void *arg) {
    uint64_t *count = arg;
    while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
        char errmsg[MILLPOND_ERRMSG_BYTES];
        int result = resize(4096, errmsg);
        REQUIRE(result == MILLPOND_ERR_ARGUMENT, "%d: %s", result, errmsg);
        ++*count;
    }
    return NULL;
}

static int children_of_a_resizer(void *arg) {
    (void)arg;
    enum { CHILDREN = 60 };
    path = support_path("locked.pond");
    struct millpond_options options = MILLPOND_OPTIONS_INIT;
    options.flags = MILLPOND_CREATE;
    options.size_bytes = 1 << 20;
    options.lock_timeout_ms = 3000;
    pond = support_open(path, &options);
    together_begin(pond);
    flags = support_share(2 * sizeof *flags);
    uint64_t count = 0;
    pthread_t thread;
    pid_t children[CHILDREN];
    REQUIRE(pthread_create(&thread, NULL, resize_in_vain, &count) == 0, "no thread");
    for (int i = 0; i < CHILDREN; i++) children[i] = support_fork(sleep_until_told, NULL);
    for (int i = 0; i < 20000 && __atomic_load_n(&flags[0], __ATOMIC_ACQUIRE) < CHILDREN; i++) support_sleep_ms(1);
    __atomic_store_n(&stop, true, __ATOMIC_RELAXED);
    pthread_join(thread, NULL);
    accepted(2 << 20);
    __atomic_store_n(&flags[1], 1, __ATOMIC_RELEASE);
    for (int i = 0; i < CHILDREN; i++) REQUIRE(support_wait(children[i], 20000) == 0, "child %d", i);
    printf("  %d children, %llu resizes in vain beside them\n", CHILDREN, (unsigned long long)count);
    return end();
}

/* ---- a handler that calls in ---- */

static volatile uint64_t tally[3]; /* answers in the handler: done, refused, anything else */
static volatile int strangest;
static volatile uint64_t rung;
static struct millpond_txn *standing; /* begun before: nothing is allocated in the handler */

static void note(int result) {
    int fine = result == MILLPOND_OK || result == MILLPOND_MISS || result == MILLPOND_STALE || result == MILLPOND_ERR_TIMEOUT ||
               result == MILLPOND_ERR_NESTED || result == MILLPOND_CHANGED;
    if (!fine && result != MILLPOND_ERR_REENTERED) strangest = result;
    tally[fine ? 0 : result == MILLPOND_ERR_REENTERED ? 1 : 2]++;
}

static int find_nothing(void *arg, const void *key, size_t key_bytes, struct millpond_load *load) {
    (void)arg, (void)key, (void)key_bytes, (void)load;
    return MILLPOND_MISS;
}

/* A fetch that leads a flight each time, since nothing is ever stored. */
static int fetch_nothing(const char *key) {
    static const struct millpond_fetch hasty = {.wait_ms = 1};
    uint64_t value;
    return millpond_fetch(pond, key, strlen(key), find_nothing, NULL, &hasty, &value, sizeof value, NULL, NULL);
}

static void on_alarm(int number) {
    (void)number;
    static const struct millpond_fetch hasty = {.ttl_ms = 20, .wait_ms = 1};
    int saved = errno;
    char key[] = "fetched 0", text[24];
    uint64_t value = 0, turn = ++rung;
    size_t bytes = 0, key_bytes = sizeof key - 1;
    struct millpond_mget items[2] = {{"account 0", 9, text, sizeof text, 0, 0}, {"account 1", 9, text, sizeof text, 0, 0}};
    struct millpond_lease lease = {0};
    struct together_loading loading = {0};
    key[8] = (char)('0' + turn % 7);
    switch (turn % 12) {
    case 0:
    case 1: {
        int result = millpond_fetch(pond, key, key_bytes, together_load, &loading, &hasty, &value, sizeof value, &bytes, NULL);
        if (result == MILLPOND_OK && value != together_value(key, key_bytes)) result = 1000;
        note(result);
        break;
    }
    case 2: {
        int result = millpond_get_stale(pond, key, key_bytes, &value, sizeof value, &bytes);
        if ((result == MILLPOND_OK || result == MILLPOND_STALE) && value != together_value(key, key_bytes)) result = 1001;
        note(result);
        break;
    }
    case 3:
        note(millpond_lease_acquire(pond, key, key_bytes, &hasty, &value, sizeof value, &bytes, &lease));
        if (lease.state == MILLPOND_LEASE_WON) {
            int result = millpond_lease_abandon(pond, &lease, key, key_bytes, 0);
            note(result);
            if (result == MILLPOND_ERR_REENTERED) note(1002); /* a lease was given, so nothing was interrupted that refuses its end */
        }
        break;
    case 4: note(millpond_snapshot(pond, items, 2)); break;
    case 5: note(millpond_txn_get(standing, "account 2", 9, text, sizeof text, &bytes)); break;
    case 6: note(millpond_get(pond, key, key_bytes, &value, sizeof value, &bytes)); break;
    case 7: note(fetch_nothing("nothing, of the main line")); break;
    default: note(fetch_nothing("nothing, of the handler"));
    }
    errno = saved;
}

/* What the main line calls, one after the other, while the timer rings. What takes memory from malloc is called with the signal blocked: a
 * handler may not interrupt malloc, whoever calls it. */
static void call_in_turn(uint64_t turn, const sigset_t *alarm) {
    sigset_t before;
    switch (turn % 4) {
    case 0:
        if (turn % 64 == 0) together_fetch(pond, turn, 20);
        for (int i = 0; i < 20; i++) REQUIRE(fetch_nothing("nothing, of the main line") == MILLPOND_MISS, "fetch of nothing");
        break;
    case 1: together_do(pond, TOGETHER_LEASE, turn); break;
    case 2:
        sigprocmask(SIG_BLOCK, alarm, &before);
        together_do(pond, TOGETHER_SNAPSHOT, turn);
        together_do(pond, TOGETHER_TRANSFER, turn);
        sigprocmask(SIG_SETMASK, &before, NULL);
        break;
    default: {
        char key[] = "fetched 0";
        key[8] = (char)('0' + turn / 4 % 7);
        int result = turn % 8 == 3 ? millpond_delete(pond, key, 9) : millpond_touch(pond, key, 9, 20);
        REQUIRE(result == MILLPOND_OK || result == MILLPOND_MISS, "delete or touch: %d", result);
    }
    }
}

static int handlers(void *arg) {
    (void)arg;
    begin("handlers.pond", 4 << 20);
    REQUIRE(millpond_txn_begin(pond, &standing) == MILLPOND_OK, "begin");
    struct sigaction action = {.sa_handler = on_alarm, .sa_flags = SA_RESTART};
    struct itimerval every = {{0, 80}, {0, 80}}, never = {{0, 0}, {0, 0}};
    sigset_t alarm;
    sigemptyset(&alarm);
    sigaddset(&alarm, SIGALRM);
    for (uint64_t turn = 0; turn < 8; turn++) call_in_turn(turn, &alarm); /* this thread has its reader slot */
    REQUIRE(sigaction(SIGALRM, &action, NULL) == 0 && setitimer(ITIMER_REAL, &every, NULL) == 0, "%s", strerror(errno));
    uint64_t until = support_now_ns() + wanted_seconds * 1000000000, turns = 0;
    for (; support_now_ns() < until || tally[1] < 20; turns++) call_in_turn(turns, &alarm);
    setitimer(ITIMER_REAL, &never, NULL);
    action.sa_handler = SIG_IGN;
    sigaction(SIGALRM, &action, NULL);
    millpond_txn_abort(standing);
    printf("  %llu calls, %llu signals: %llu done, %llu refused\n", (unsigned long long)turns, (unsigned long long)rung,
           (unsigned long long)tally[0], (unsigned long long)tally[1]);
    REQUIRE(tally[2] == 0, "%llu answers that are none of the documented ones, the last one %d", (unsigned long long)tally[2], strangest);
    REQUIRE(tally[0] > 100, "the handler did too little");
    together_require(pond);
    for (uint64_t turn = 0; turn < 28; turn++) call_in_turn(turn, &alarm); /* no flight is left behind that anybody waits for */
    return end();
}

/* ---- no reader slot is free ---- */

static int hold_a_slot(void *arg) {
    struct millpond_view view;
    char key[SUPPORT_KEY_BYTES + 1];
    support_key(key, (uintptr_t)arg % KEYS);
    REQUIRE(support_get(pond, (uintptr_t)arg % KEYS), "get"); /* takes a slot */
    REQUIRE(millpond_view(pond, key, SUPPORT_KEY_BYTES, &view) == MILLPOND_OK, "view");
    sleep_until_told(NULL);
    uint64_t sequence;
    REQUIRE(!view.value || !support_value_read(view.value, view.value_bytes, (uintptr_t)arg % KEYS, &sequence), "the view has changed");
    millpond_view_release(&view);
    return 0;
}

static int without_a_slot(void *arg) {
    (void)arg;
    struct millpond_view view;
    struct millpond_stats stats;
    char key[SUPPORT_KEY_BYTES + 1];
    REQUIRE(millpond_stats(pond, -1, &stats) == MILLPOND_OK && stats.readers == stats.reader_slots, "%llu of %llu slots",
            (unsigned long long)stats.readers, (unsigned long long)stats.reader_slots);
    uint64_t hits = stats.hits;
    together_require(pond);
    support_key(key, 1);
    REQUIRE(millpond_view(pond, key, SUPPORT_KEY_BYTES, &view) == MILLPOND_ERR_PINNED, "a view without a slot");
    for (uint64_t turn = 1; turn < 40; turn++)
        for (uintptr_t what = 0; what < 4; what++) together_do(pond, (enum together)what, turn);
    REQUIRE(millpond_stats(pond, -1, &stats) == MILLPOND_OK && stats.hits >= hits + KEYS, "hits without a slot are not counted");
    accepted(8 << 20); /* more slots */
    REQUIRE(millpond_stats(pond, -1, &stats) == MILLPOND_OK && stats.readers < stats.reader_slots, "%llu of %llu slots",
            (unsigned long long)stats.readers, (unsigned long long)stats.reader_slots);
    REQUIRE(millpond_view(pond, key, SUPPORT_KEY_BYTES, &view) == MILLPOND_OK, "a view in the larger file");
    millpond_view_release(&view);
    return 0;
}

static int no_slot_is_free(void *arg) {
    (void)arg;
    begin("slots.pond", 512 << 10);
    flags = support_share(2 * sizeof *flags);
    struct millpond_stats stats;
    pid_t children[1024];
    int count = 0;
    REQUIRE(millpond_stats(pond, -1, &stats) == MILLPOND_OK && stats.reader_slots <= 1024, "%llu slots",
            (unsigned long long)stats.reader_slots);
    for (; count < (int)stats.reader_slots; count++) children[count] = support_fork(hold_a_slot, (void *)(uintptr_t)count);
    for (int i = 0; i < 30000 && __atomic_load_n(&flags[0], __ATOMIC_ACQUIRE) < count; i++) support_sleep_ms(1);
    REQUIRE(flags[0] == count, "%d of %d slots were taken", flags[0], count);
    REQUIRE(support_run_child(without_a_slot, NULL, 60000) == 0, "who found no slot");
    __atomic_store_n(&flags[1], 1, __ATOMIC_RELEASE);
    for (int i = 0; i < count; i++) REQUIRE(support_wait(children[i], 20000) == 0, "process %d", i);
    printf("  %d processes with a view each held the slots\n", count);
    together_require(pond);
    return end();
}

int main(int argc, char **argv) {
    static const struct support_case cases[] = {
        {"a resize beyond a file size limit changes nothing", beyond_a_file_size_limit, 60000},
        {"a resize beyond an address space limit changes nothing", beyond_an_address_space_limit, 60000},
        {"a resize without descriptors changes nothing, or is done", without_descriptors, 60000},
        {"a resize on a full disk changes nothing", on_a_disk_that_is_full, 60000},
        {"forks while others commit, fetch, lease, resize", forks, 240000},
        {"children forked in the middle of a resize hold nobody up", children_of_a_resizer, 60000},
        {"a timer's handler calls in", handlers, 90000},
        {"without a reader slot all works but views", no_slot_is_free, 120000},
    };
    if (argc > 1 && strcmp(argv[1], "--long") == 0) {
        wanted_seconds = 30;
        argv[1] = argv[0];
        argc--;
        argv++;
    }
    return support_run_cases(argc, argv, cases, sizeof cases / sizeof *cases);
}
