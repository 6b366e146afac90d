/* SPDX-License-Identifier: MIT */
/* Forks: ten thousand of them, each child reading and writing through the handle that it inherited; forks in the middle of everything that
 * other threads may be doing; views across fork; and a handler of a timer that calls in while everything is called. */

#include "support.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

static struct millpond *pond;
static const char *path;
static unsigned long wanted_forks = 10000, wanted_seconds = 3;

static void begin(const char *name) {
    path = support_path("%s", name);
    pond = support_create(path, 16 << 20);
    struct millpond_incr create = {0, 0};
    REQUIRE(millpond_incr(pond, "count", 5, 0, &create, NULL) == MILLPOND_OK, "incr");
}

static int64_t count_now(void) {
    int64_t count = -1;
    REQUIRE(millpond_incr(pond, "count", 5, 0, NULL, &count) == MILLPOND_OK, "incr");
    return count;
}

static int end(void) {
    millpond_close(pond);
    support_require_whole(path);
    return 0;
}

static void set(uint64_t number, uint64_t sequence, size_t bytes) { support_set(pond, number, sequence, bytes); }
static uint64_t get(uint64_t number) { return support_get(pond, number); }

/* ---- ten thousand ---- */

static int visit(void *arg) {
    uint64_t number = *(uint64_t *)arg;
    set(number % 97, number, 32 + number % 3000);
    REQUIRE(get(number % 97) >= number % 97, "what was just stored");
    get((number * 31) % 97);
    REQUIRE(millpond_incr(pond, "count", 5, 1, NULL, NULL) == MILLPOND_OK, "incr");
    if (number % 2) millpond_close(pond);
    return 0;
}

static int thousands(void *arg) {
    (void)arg;
    begin("thousands.pond");
    for (uint64_t i = 1; i <= wanted_forks; i += 4) {
        pid_t children[4];
        uint64_t numbers[4];
        for (uint64_t k = 0; k < 4; k++) {
            numbers[k] = i + k;
            children[k] = support_fork(visit, &numbers[k]);
        }
        for (int k = 0; k < 4; k++) {
            int said = support_wait(children[k], 20000);
            REQUIRE(said == 0, "fork %llu ended with %d%s", (unsigned long long)i, said, said == SUPPORT_LATE ? " (hung)" : "");
        }
    }
    REQUIRE(count_now() == (int64_t)wanted_forks, "%lld of %lu visits", (long long)count_now(), wanted_forks);
    struct millpond_stats stats;
    REQUIRE(millpond_stats(pond, -1, &stats) == MILLPOND_OK && stats.recoveries == 0 && stats.readers <= 2, "%llu recoveries, %llu readers",
            (unsigned long long)stats.recoveries, (unsigned long long)stats.readers);
    printf("  %lu forks, %llu reader slots in use afterwards\n", wanted_forks, (unsigned long long)stats.readers);
    return end();
}

/* ---- in the middle of everything ---- */

static bool stop;
static uint64_t done[6];

static int look_at(void *arg, const struct millpond_entry *entry) {
    (void)entry;
    return ++*(uint64_t *)arg > 5000;
}

static void open_and_close(unsigned turn) {
    struct millpond_options options = MILLPOND_OPTIONS_INIT;
    options.flags = turn % 3 == 0 ? MILLPOND_READONLY : 0;
    struct millpond *own = support_open(path, &options);
    REQUIRE(millpond_contains(own, "count", 5) == MILLPOND_OK, "contains");
    millpond_close(own);
}

static void view_one(uint64_t number) {
    char key[SUPPORT_KEY_BYTES + 1];
    struct millpond_view view;
    support_key(key, number);
    int result = millpond_view(pond, key, SUPPORT_KEY_BYTES, &view);
    REQUIRE(result == MILLPOND_OK || result == MILLPOND_MISS, "view: %d", result);
    if (result != MILLPOND_OK) return;
    uint64_t sequence;
    const char *wrong = view.value ? support_value_read(view.value, view.value_bytes, number, &sequence) : NULL;
    REQUIRE(!wrong, "viewed key %llu: %s", (unsigned long long)number, wrong);
    millpond_view_release(&view);
}

static void *keep_at_it(void *arg) {
    uintptr_t what = (uintptr_t)arg;
    for (unsigned turn = 1; !__atomic_load_n(&stop, __ATOMIC_RELAXED); turn++) {
        uint64_t seen = 0;
        switch (what) {
        case 0: get(turn % 300); break;
        case 1: set(turn % 300, turn, 32 + turn % 3000); break;
        case 2: {
            int result = millpond_scan(pond, NULL, 0, turn % 2 ? MILLPOND_SCAN_KEYS : 0, look_at, &seen);
            REQUIRE(result == MILLPOND_OK, "scan: %d", result);
            break;
        }
        case 3:
            open_and_close(turn);
            support_sleep_us(500); /* opening holds up forks */
            break;
        case 4: view_one(turn % 300); break;
        default:
            if (turn % 5000 == 0) support_require_whole(path);
            millpond_delete(pond, "nothing", 7);
        }
        __atomic_store_n(&done[what], turn, __ATOMIC_RELAXED);
    }
    return NULL;
}

static int do_everything_once(void *arg) {
    uint64_t number = *(uint64_t *)arg, seen = 0;
    get(number % 300);
    set(1000 + number % 10, number + 1, 200);
    REQUIRE(get(1000 + number % 10) == number + 1, "a child does not find what it stored");
    view_one(number % 300);
    open_and_close((unsigned)number);
    if (number % 8 == 0) REQUIRE(millpond_scan(pond, NULL, 0, MILLPOND_SCAN_KEYS, look_at, &seen) == MILLPOND_OK, "scan");
    REQUIRE(millpond_incr(pond, "count", 5, 1, NULL, NULL) == MILLPOND_OK, "incr");
    return 0;
}

static int in_the_middle(void *arg) {
    (void)arg;
    if (SANITIZED) return support_skip("a child waits for a lock of the sanitizer's allocator that a thread of its parent held");
    begin("middle.pond");
    pthread_t threads[6];
    for (uintptr_t i = 0; i < 6; i++) REQUIRE(pthread_create(&threads[i], NULL, keep_at_it, (void *)i) == 0, "no thread");
    uint64_t until = support_now_ns() + wanted_seconds * 1000000000, forks = 0;
    for (; support_now_ns() < until; forks++) {
        int said = support_run_child(do_everything_once, &forks, 30000);
        REQUIRE(said == 0, "fork %llu ended with %d%s", (unsigned long long)forks, said, said == SUPPORT_LATE ? " (hung)" : "");
    }
    __atomic_store_n(&stop, true, __ATOMIC_RELAXED);
    for (int i = 0; i < 6; i++) pthread_join(threads[i], NULL);
    REQUIRE(count_now() == (int64_t)forks, "%lld of %llu", (long long)count_now(), (unsigned long long)forks);
    printf("  %llu forks during %llu gets, %llu sets, %llu scans, %llu opens, %llu views, %llu deletes with checks\n",
           (unsigned long long)forks, (unsigned long long)done[0], (unsigned long long)done[1], (unsigned long long)done[2],
           (unsigned long long)done[3], (unsigned long long)done[4], (unsigned long long)done[5]);
    for (int i = 0; i < 6; i++) REQUIRE(done[i] > 20, "thread %d did too little", i);
    return end();
}

/* ---- views across fork ---- */

static struct millpond_view held[4];

static int with_views_of_the_parent(void *arg) {
    for (int i = 0; i < 4; i++) millpond_view_release(&held[i]);       /* all of them: they may lie in one segment */
    for (uint64_t i = 0; i < 40; i++) view_one(i);                     /* views of its own */
    for (uint64_t i = 0; i < 12000; i++) set(100000 + i, i + 1, 2000); /* a file's worth and a half: recycles what nobody pinned */
    (void)arg;
    return 0;
}

static int views(void *arg) {
    (void)arg;
    begin("views.pond");
    for (uint64_t number = 0; number < 40; number++) set(number, number + 7, 1500);
    for (uint64_t i = 0; i < 4; i++) {
        char key[SUPPORT_KEY_BYTES + 1];
        support_key(key, i);
        REQUIRE(millpond_view(pond, key, SUPPORT_KEY_BYTES, &held[i]) == MILLPOND_OK, "view");
    }
    for (int round = 0; round < 3; round++) {
        REQUIRE(support_run_child(with_views_of_the_parent, NULL, 30000) == 0, "the child");
        for (uint64_t i = 0; i < 4; i++) {
            uint64_t sequence = 0;
            const char *wrong = support_value_read(held[i].value, held[i].value_bytes, i, &sequence);
            REQUIRE(!wrong && sequence == i + 7, "view %llu of the parent, round %d: %s", (unsigned long long)i, round,
                    wrong ? wrong : "other");
        }
    }
    struct millpond_stats stats;
    REQUIRE(millpond_stats(pond, -1, &stats) == MILLPOND_OK && stats.evictions > 1000, "the children recycled nothing");
    for (int i = 0; i < 4; i++) millpond_view_release(&held[i]);
    return end();
}

/* ---- a handler that calls in ---- */

static uint64_t tally[3]; /* answers in the handler: done, refused, anything else */
static uint64_t handler_turn, handler_stored[10], handler_added;

static void note(int result) {
    if (result == MILLPOND_OK || result == MILLPOND_MISS || result == MILLPOND_EXISTS)
        tally[0]++;
    else if (result == MILLPOND_ERR_REENTERED)
        tally[1]++;
    else
        tally[2]++;
}

/* Small values only: what needs memory from malloc has no place in a handler. The handler's keys are its own. */
static void on_alarm(int number) {
    (void)number;
    int saved = errno, result;
    uint64_t turn = ++handler_turn, slot = turn / 5 % 10;
    char value[64], key[32] = "handler-0";
    size_t bytes = 0;
    key[8] = (char)('0' + slot);
    switch (turn % 5) {
    case 0:
        result = millpond_set(pond, key, 9, &turn, sizeof turn, 0);
        if (result == MILLPOND_OK) handler_stored[slot] = turn;
        break;
    case 1:
        result = millpond_get(pond, key, 9, value, sizeof value, &bytes);
        if (result == MILLPOND_OK && (bytes != sizeof turn || memcmp(value, &handler_stored[slot], sizeof turn) != 0)) result = 1000;
        if (result == MILLPOND_MISS && handler_stored[slot]) result = 1001;
        break;
    case 2:
        result = millpond_incr(pond, "count", 5, 1, NULL, NULL);
        handler_added += result == MILLPOND_OK;
        break;
    case 3:
        result = millpond_delete(pond, key, 9);
        if (result == MILLPOND_OK) handler_stored[slot] = 0;
        if ((result == MILLPOND_MISS) != (handler_stored[slot] == 0 && result != MILLPOND_OK) && result != MILLPOND_ERR_REENTERED)
            result = 1002;
        break;
    default: result = millpond_touch(pond, key, 9, 3600000);
    }
    note(result);
    errno = saved;
}

static void call_in_turn(unsigned turn, uint64_t *added) {
    uint64_t number = turn % 200, seen = 0;
    switch (turn % 9) {
    case 0:
    case 1: set(number, turn, 32 + turn % 3000); break;
    case 2:
    case 3: get(number); break;
    case 4:
        REQUIRE(millpond_incr(pond, "count", 5, 1, NULL, NULL) == MILLPOND_OK, "incr");
        ++*added;
        break;
    case 5: view_one(number); break;
    case 6:
        if (turn % 100 == 6) REQUIRE(millpond_scan(pond, NULL, 0, MILLPOND_SCAN_KEYS, look_at, &seen) == MILLPOND_OK, "scan");
        break;
    default: {
        static unsigned char large[200000];
        if (turn % 20 == 8) REQUIRE(millpond_set(pond, "large", 5, large, sizeof large, 0) == MILLPOND_OK, "a large value");
        if (turn % 200 == 8) REQUIRE(millpond_sync(pond) == MILLPOND_OK, "sync");
    }
    }
}

static int handlers(void *arg) {
    (void)arg;
    begin("handler.pond");
    get(0); /* a thread's first get takes a reader slot, for which a handler that interrupted it would wait (millpond.h, caveats) */
    struct sigaction action = {.sa_handler = on_alarm, .sa_flags = SA_RESTART};
    struct itimerval every = {{0, 120}, {0, 120}}, never = {{0, 0}, {0, 0}};
    uint64_t until = support_now_ns() + wanted_seconds * 1000000000, added = 0;
    unsigned turn = 0;
    REQUIRE(sigaction(SIGALRM, &action, NULL) == 0 && setitimer(ITIMER_REAL, &every, NULL) == 0, "%s", strerror(errno));
    sigset_t alarm, before;
    sigemptyset(&alarm);
    sigaddset(&alarm, SIGALRM);
    /* A busy machine gives the timer few turns: it goes on until there were enough. */
    uint64_t patience = until + UINT64_C(60) * 1000000000;
    for (uint64_t now; (now = support_now_ns()) < until || ((tally[0] <= 500 || tally[1] <= 50) && now < patience);) {
        call_in_turn(++turn, &added);
        if (turn % 5000 != 0) continue;
        /* Opening, closing and checking take locks of the process, for which a handler would wait: no function is safe there. */
        sigprocmask(SIG_BLOCK, &alarm, &before);
        support_require_whole(path);
        get(0); /* closing has given this thread's reader slot back; the next call takes one */
        sigprocmask(SIG_SETMASK, &before, NULL);
    }
    setitimer(ITIMER_REAL, &never, NULL);
    action.sa_handler = SIG_IGN;
    sigaction(SIGALRM, &action, NULL);
    printf("  %u calls, %llu from the handler: %llu done, %llu refused\n", turn, (unsigned long long)handler_turn,
           (unsigned long long)tally[0], (unsigned long long)tally[1]);
    REQUIRE(tally[2] == 0, "%llu answers that are none of the documented ones", (unsigned long long)tally[2]);
    REQUIRE(tally[0] > 500 && tally[1] > 50, "the handler interrupted too little");
    REQUIRE(count_now() == (int64_t)(added + handler_added), "counted to %lld, not %llu", (long long)count_now(),
            (unsigned long long)(added + handler_added));
    for (uint64_t slot = 0; slot < 10; slot++) {
        char key[32] = "handler-0", value[16];
        key[8] = (char)('0' + slot);
        int result = millpond_get(pond, key, 9, value, sizeof value, NULL);
        REQUIRE(result == (handler_stored[slot] ? MILLPOND_OK : MILLPOND_MISS), "key %s of the handler: %d", key, result);
        REQUIRE(result != MILLPOND_OK || memcmp(value, &handler_stored[slot], 8) == 0, "key %s of the handler has an older value", key);
    }
    return end();
}

int main(int argc, char **argv) {
    static const struct support_case cases[] = {
        {"thousands of children read and write", thousands, 600000},
        {"forks while others read, write, scan, open, close, view, check", in_the_middle, 300000},
        {"views of the parent outlive what its children do", views, 60000},
        {"a timer's handler calls in", handlers, 90000},
    };
    bool all = argc > 1 && strcmp(argv[1], "--long") == 0;
    if (all) {
        wanted_forks = 60000;
        wanted_seconds = 30;
        argv[1] = argv[0];
        argc--;
        argv++;
    }
    return support_run_cases(argc, argv, cases, sizeof cases / sizeof *cases);
}
