/* SPDX-License-Identifier: MIT */
/* A writer that is stopped (SIGSTOP, a debugger) at random moments, also while it holds a lock: readers notice nothing, other writers get
 * MILLPOND_ERR_BUSY after their lock_timeout_ms at the worst, and when it goes on or is killed everything is as before. */

#include "support.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#define KEYS            64
#define LOCK_TIMEOUT_MS 30
#define STOPS           150
/* How late an answer may be because other processes want the processor, too. */
#define PATIENCE_MS 1500

struct shared {
    uint64_t acknowledged[KEYS], begun[KEYS];
    uint64_t reads, slowest_read_ns, tries, busy, slowest_write_ns;
    uint64_t stops, stop_number; /* odd while the writer is stopped */
    uint64_t busy_while_running, opened, open_busy;
    int stop;
};

static struct shared *shared;
static struct millpond *pond;
static const char *path;

static uint64_t load(const uint64_t *p) { return __atomic_load_n(p, __ATOMIC_SEQ_CST); }
static void store(uint64_t *p, uint64_t v) { __atomic_store_n(p, v, __ATOMIC_SEQ_CST); }
static bool stopped(void) { return __atomic_load_n(&shared->stop, __ATOMIC_RELAXED) != 0; }

static struct millpond *open_impatient(void) {
    struct millpond_options options = MILLPOND_OPTIONS_INIT;
    options.lock_timeout_ms = LOCK_TIMEOUT_MS;
    return support_open(path, &options);
}

/* The one that will be stopped. Its keys are always there. */
static int writer(void *arg) {
    (void)arg;
    struct support_random random = {support_now_ns()};
    unsigned char value[6000];
    pond = support_open(path, NULL);
    while (!stopped()) {
        uint64_t k = support_below(&random, KEYS), number = load(&shared->begun[k]) + 1;
        size_t bytes = support_log_size(&random, SUPPORT_VALUE_BYTES_MIN, sizeof value);
        char key[SUPPORT_KEY_BYTES + 1];
        support_key(key, k);
        support_value_write(value, bytes, k, number);
        store(&shared->begun[k], number);
        int result = millpond_set(pond, key, SUPPORT_KEY_BYTES, value, bytes, 0);
        REQUIRE(result == MILLPOND_OK, "the writer's set: %d", result);
        store(&shared->acknowledged[k], number);
    }
    millpond_close(pond);
    return 0;
}

static int reader(void *arg) {
    (void)arg;
    struct support_random random = {support_now_ns() + 1};
    unsigned char value[6000];
    pond = support_open(path, NULL);
    while (!stopped()) {
        uint64_t k = support_below(&random, KEYS), acknowledged = load(&shared->acknowledged[k]), found = 0, start = support_now_ns();
        size_t bytes = 0;
        char key[SUPPORT_KEY_BYTES + 1];
        support_key(key, k);
        int result = millpond_get(pond, key, SUPPORT_KEY_BYTES, value, sizeof value, &bytes);
        uint64_t took = support_now_ns() - start;
        if (acknowledged == 0 && result == MILLPOND_MISS) continue;
        REQUIRE(result == MILLPOND_OK, "a reader gets %d for a key that is always there", result);
        const char *wrong = support_value_read(value, bytes, k, &found);
        REQUIRE(!wrong && found >= acknowledged && found <= load(&shared->begun[k]), "key %llu: %s", (unsigned long long)k,
                wrong ? wrong : "a value that is too old or too new");
        shared->reads++;
        if (took > shared->slowest_read_ns) shared->slowest_read_ns = took;
    }
    millpond_close(pond);
    return 0;
}

/* Writes keys of its own, in every shard, with a short deadline. */
static int impatient(void *arg) {
    (void)arg;
    struct support_random random = {support_now_ns() + 2};
    pond = open_impatient();
    while (!stopped()) {
        char key[SUPPORT_KEY_BYTES + 1], value[200] = "";
        uint64_t number = 1000 + support_below(&random, 500), before = load(&shared->stop_number), start = support_now_ns();
        support_key(key, number);
        int result = support_below(&random, 4) ? millpond_set(pond, key, SUPPORT_KEY_BYTES, value, support_below(&random, sizeof value), 0)
                                               : millpond_delete(pond, key, SUPPORT_KEY_BYTES);
        uint64_t took = support_now_ns() - start;
        REQUIRE(result == MILLPOND_OK || result == MILLPOND_MISS || result == MILLPOND_ERR_BUSY, "a write answers %d", result);
        if (result == MILLPOND_ERR_BUSY) {
            shared->busy++;
            if (before % 2 == 0 && load(&shared->stop_number) == before) shared->busy_while_running++;
            REQUIRE(took >= (LOCK_TIMEOUT_MS - 1) * UINT64_C(1000000), "busy after %llu us", (unsigned long long)took / 1000);
        }
        if (took > shared->slowest_write_ns) shared->slowest_write_ns = took;
        shared->tries++;
    }
    millpond_close(pond);
    return 0;
}

static void begin(const char *name) {
    shared = support_share(sizeof *shared);
    path = support_path("%s", name);
    struct millpond_options options = MILLPOND_OPTIONS_INIT;
    options.flags = MILLPOND_CREATE;
    options.size_bytes = 4 << 20;
    options.shards = 1; /* one lock for all */
    pond = support_open(path, &options);
}

static void require_ended(pid_t child, const char *who) {
    int said = support_wait(child, 20000);
    REQUIRE(said == 0, "%s ended with %d%s", who, said, said == SUPPORT_LATE ? " (hung)" : "");
}

static void report(void) {
    printf("  %llu stops; %llu reads, slowest %.1f ms; %llu writes, %llu busy, slowest %.1f ms\n", (unsigned long long)shared->stops,
           (unsigned long long)shared->reads, (double)shared->slowest_read_ns * 1e-6, (unsigned long long)shared->tries,
           (unsigned long long)shared->busy, (double)shared->slowest_write_ns * 1e-6);
    REQUIRE(shared->slowest_read_ns < PATIENCE_MS * UINT64_C(1000000), "a reader waited for %.0f ms",
            (double)shared->slowest_read_ns * 1e-6);
    REQUIRE(shared->slowest_write_ns < (LOCK_TIMEOUT_MS + PATIENCE_MS) * UINT64_C(1000000), "a writer waited for %.0f ms",
            (double)shared->slowest_write_ns * 1e-6);
}

static int stopped_and_continued(void *arg) {
    (void)arg;
    begin("stop.pond");
    struct support_random random = support_seed("stops");
    pid_t victim = support_fork(writer, NULL), readers[2] = {support_fork(reader, NULL), support_fork(reader, NULL)},
          other = support_fork(impatient, NULL);
    for (unsigned i = 0; i < STOPS; i++) {
        support_sleep_us(500 + (unsigned)support_below(&random, 3000));
        support_stop(victim);
        store(&shared->stop_number, 2 * i + 1);
        support_sleep_us(5000 + (unsigned)support_below(&random, 60000));
        REQUIRE(kill(victim, SIGCONT) == 0, "kill");
        support_sleep_us(200);
        store(&shared->stop_number, 2 * i + 2);
        shared->stops++;
    }
    __atomic_store_n(&shared->stop, 1, __ATOMIC_RELAXED);
    require_ended(victim, "the writer"), require_ended(readers[0], "a reader"), require_ended(readers[1], "a reader"),
        require_ended(other, "a writer");
    report();
    REQUIRE(shared->busy > 0, "no stop ever hit a critical section; the test proves nothing");
    /* Busy while nobody was stopped: an owner for whom a busy machine had no processor for as long. How often is not ours to say. */
    printf("  %llu times busy while nobody was stopped\n", (unsigned long long)shared->busy_while_running);
    REQUIRE(shared->busy < shared->tries, "the writer with a deadline never got in");
    millpond_close(pond);
    support_require_whole(path);
    return 0;
}

static int stopped_and_killed(void *arg) {
    (void)arg;
    begin("killed.pond");
    struct support_random random = support_seed("stops and kills");
    struct millpond *mine = open_impatient();
    unsigned busy = 0;
    pid_t readers[2] = {support_fork(reader, NULL), support_fork(reader, NULL)};
    for (unsigned i = 0; i < STOPS; i++) {
        pid_t victim = support_fork(writer, NULL);
        support_sleep_us(2000 + (unsigned)support_below(&random, 3000));
        support_stop(victim);
        int result = millpond_set(mine, "mine", 4, "before", 6, 0);
        REQUIRE(result == MILLPOND_OK || result == MILLPOND_ERR_BUSY, "set: %d", result);
        busy += result == MILLPOND_ERR_BUSY;
        support_kill(victim);
        result = millpond_set(mine, "mine", 4, "after", 5, 0);
        REQUIRE(result == MILLPOND_OK, "the stopped owner was killed, and a writer still gets %d", result);
        shared->stops++;
    }
    __atomic_store_n(&shared->stop, 1, __ATOMIC_RELAXED);
    require_ended(readers[0], "a reader"), require_ended(readers[1], "a reader");
    shared->busy = busy, shared->tries = STOPS;
    report();
    REQUIRE(busy > 0, "no stop ever hit a critical section; the test proves nothing");
    struct millpond_stats stats;
    REQUIRE(millpond_stats(mine, -1, &stats) == MILLPOND_OK && stats.recoveries > 0 && stats.lock_timeouts >= busy,
            "%llu recoveries, %llu timeouts", (unsigned long long)stats.recoveries, (unsigned long long)stats.lock_timeouts);
    millpond_close(mine);
    millpond_close(pond);
    support_require_whole(path);
    return 0;
}

/* ---- a stopped opener ---- */

static int open_for_ever(void *arg) {
    (void)arg;
    while (!stopped()) {
        struct millpond *own = support_open(path, NULL);
        REQUIRE(millpond_set(own, "opener", 6, "x", 1, 0) == MILLPOND_OK, "set");
        millpond_close(own);
    }
    return 0;
}

static int stopped_while_opening(void *arg) {
    (void)arg;
    begin("opener.pond");
    millpond_close(pond);
    struct support_random random = support_seed("stopped openers");
    uint64_t slowest = 0;
    for (unsigned i = 0; i < 60; i++) {
        pid_t victim = support_fork(open_for_ever, NULL);
        support_sleep_us(1000 + (unsigned)support_below(&random, 4000));
        support_stop(victim);
        /* Whoever opens meanwhile waits for milliseconds, until the stopped one is gone. */
        pid_t other = support_fork(open_for_ever, NULL);
        support_sleep_us(20000);
        support_kill(victim);
        uint64_t start = support_now_ns();
        struct millpond *mine = support_open(path, NULL);
        REQUIRE(millpond_set(mine, "mine", 4, "x", 1, 0) == MILLPOND_OK, "set");
        millpond_close(mine);
        uint64_t took = support_now_ns() - start;
        slowest = took > slowest ? took : slowest;
        support_kill(other);
    }
    printf("  slowest open after a stopped opener was killed: %.1f ms\n", (double)slowest * 1e-6);
    REQUIRE(slowest < PATIENCE_MS * UINT64_C(1000000), "%.0f ms", (double)slowest * 1e-6);
    support_require_whole(path);
    return 0;
}

/* ---- an opener of a new file ---- */

/* Makes the file larger, and stands where whoever opens the new one stands while it looks at it (O2 in lib/mapping.c). */
static int resize_and_open_for_ever(void *arg) {
    (void)arg;
    char errmsg[MILLPOND_ERRMSG_BYTES] = "";
    struct millpond *own = support_open(path, NULL);
    int result = millpond_resize(own, 4 << 20, errmsg), fd = open(path, O_RDWR | O_CLOEXEC);
    REQUIRE(result == MILLPOND_OK, "resize: %d: %s", result, errmsg);
    struct flock opening = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_len = 1};
    REQUIRE(fd >= 0 && fcntl(fd, F_OFD_SETLK, &opening) == 0, "the lock of openers");
    store(&shared->opened, 1);
    for (;;) support_sleep_ms(1000);
}

static int opener_of_a_new_file(void *arg) {
    (void)arg;
    struct millpond_lease lease;
    struct millpond_txn *txn;
    char errmsg[MILLPOND_ERRMSG_BYTES] = "";
    begin("new.pond");
    millpond_close(pond);
    pond = open_impatient();
    REQUIRE(millpond_set(pond, "k", 1, "v", 1, 0) == MILLPOND_OK, "set");
    REQUIRE(millpond_lease_acquire(pond, "lease", 5, NULL, NULL, 0, NULL, &lease) == MILLPOND_MISS, "lease");
    pid_t opener = support_fork(resize_and_open_for_ever, NULL);
    for (int i = 0; load(&shared->opened) == 0; i++) {
        REQUIRE(i < 20000, "the opener is not there");
        support_sleep_ms(1);
    }
    int said[] = {millpond_set(pond, "k", 1, "w", 1, 0),
                  millpond_delete(pond, "k", 1),
                  millpond_incr(pond, "n", 1, 1, &(struct millpond_incr){0, 0}, NULL),
                  millpond_txn_begin(pond, &txn),
                  millpond_invalidate(pond, "g", 1),
                  millpond_resize(pond, 8 << 20, errmsg),
                  millpond_lease_fill(pond, &lease, "lease", 5, "x", 1, NULL)};
    for (size_t i = 0; i < sizeof said / sizeof *said; i++)
        REQUIRE(said[i] == MILLPOND_ERR_BUSY, "call %zu: %d (%s)", i, said[i], millpond_strerror(said[i]));
    REQUIRE(strstr(errmsg, path) && strstr(errmsg, "stopped process"), "the sentence: %s", errmsg);
    REQUIRE(millpond_get(pond, "k", 1, NULL, 0, NULL) == MILLPOND_MISS, "a get in the file that was emptied");
    support_kill(opener);
    REQUIRE(millpond_set(pond, "n", 1, "w", 1, 0) == MILLPOND_OK, "a set when the opener is dead");
    REQUIRE(millpond_get(pond, "k", 1, NULL, 0, NULL) == MILLPOND_TOO_SMALL, "what was told to be busy has changed something");
    REQUIRE(millpond_lease_fill(pond, &lease, "lease", 5, "x", 1, NULL) == MILLPOND_OK, "the lease is still held");
    millpond_close(pond);
    support_require_whole(path);
    return 0;
}

/* ---- readers that are stopped for ever with views ---- */

#define CYCLES 100

/* Shows one small value and one in pieces, is stopped, and looks again when it goes on. */
static int hold_and_look_again(void *arg) {
    (void)arg;
    unsigned char copy[100000];
    uint64_t sequence;
    struct millpond *own = support_open(path, NULL);
    struct millpond_view views[2];
    for (int when = 0; when < 2; when++) {
        for (uint64_t k = 0; k < 2; k++) {
            char key[SUPPORT_KEY_BYTES + 1];
            size_t at = 0;
            support_key(key, k);
            if (when == 0) REQUIRE(millpond_view(own, key, SUPPORT_KEY_BYTES, &views[k]) == MILLPOND_OK, "view");
            for (size_t i = 0; i < views[k].piece_count; at += views[k].pieces[i++].count)
                memcpy(copy + at, views[k].pieces[i].bytes, views[k].pieces[i].count);
            const char *wrong = support_value_read(copy, at, k, &sequence);
            REQUIRE(!wrong && sequence == 7 && at == (k ? sizeof copy : 900), "look %d at key %d: %s", when, (int)k,
                    wrong ? wrong : "size");
        }
        if (when == 0) {
            __atomic_add_fetch(&shared->opened, 1, __ATOMIC_SEQ_CST);
            raise(SIGSTOP);
        }
    }
    millpond_view_release(&views[0]);
    millpond_view_release(&views[1]);
    millpond_close(own);
    return 0;
}

static int cycle_the_cache(void *arg) {
    static unsigned char value[2000];
    uint64_t number = 1000 + *(uint64_t *)arg, bytes = 0;
    struct millpond *own = support_open(path, NULL);
    for (; bytes < CYCLES * (UINT64_C(1) << 20) / 2 + (1 << 20); number += 2, bytes += sizeof value) {
        char key[SUPPORT_KEY_BYTES + 1];
        support_key(key, number);
        REQUIRE(millpond_set(own, key, SUPPORT_KEY_BYTES, value, sizeof value, 0) == MILLPOND_OK, "a set beside stalled views");
    }
    millpond_close(own);
    return 0;
}

static int stopped_with_views(void *arg) {
    (void)arg;
    static unsigned char value[100000];
    uint64_t numbers[2] = {0, 1};
    pid_t readers[4], writers[2];
    shared = support_share(sizeof *shared);
    path = support_path("views.pond");
    pond = support_create(path, 1 << 20);
    for (uint64_t k = 0; k < 2; k++) {
        char key[SUPPORT_KEY_BYTES + 1];
        size_t bytes = k ? sizeof value : 900;
        support_key(key, k);
        support_value_write(value, bytes, k, 7);
        REQUIRE(millpond_set(pond, key, SUPPORT_KEY_BYTES, value, bytes, 0) == MILLPOND_OK, "set");
    }
    for (int i = 0; i < 4; i++) readers[i] = support_fork(hold_and_look_again, NULL);
    for (int i = 0; load(&shared->opened) < 4; i++) {
        REQUIRE(i < 30000, "the readers do not begin");
        support_sleep_ms(1);
    }
    for (int i = 0; i < 4; i++) support_stop(readers[i]);
    for (int i = 0; i < 2; i++) writers[i] = support_fork(cycle_the_cache, &numbers[i]);
    for (int i = 0; i < 2; i++) REQUIRE(support_wait(writers[i], 60000) == 0, "a writer");
    struct millpond_stats stats;
    REQUIRE(millpond_stats(pond, -1, &stats) == MILLPOND_OK && stats.bytes_set > CYCLES * stats.file_bytes, "too few cycles");
    printf("  %llu entries written, %llu evicted beside 4 stopped readers, %llu there\n", (unsigned long long)stats.sets,
           (unsigned long long)stats.evictions, (unsigned long long)stats.items);
    REQUIRE(stats.items > 200, "the cache holds %llu entries only", (unsigned long long)stats.items);
    for (int i = 0; i < 4; i++) {
        kill(readers[i], SIGCONT);
        REQUIRE(support_wait(readers[i], 30000) == 0, "reader %d", i);
    }
    millpond_close(pond);
    support_require_whole(path);
    return 0;
}

/* Views what it stores until it may not any more. */
static int hold_all(void *arg) {
    static struct millpond_view views[32];
    unsigned char value[400] = {0};
    uint64_t number = *(uint64_t *)arg * 1000;
    struct millpond *own = support_open(path, NULL);
    int result = MILLPOND_OK;
    for (int n = 0; result == MILLPOND_OK && n < 32; number++) {
        char key[SUPPORT_KEY_BYTES + 1];
        support_key(key, number);
        result = millpond_set(own, key, SUPPORT_KEY_BYTES, value, sizeof value, 0);
        if (result == MILLPOND_OK) result = millpond_view(own, key, SUPPORT_KEY_BYTES, &views[n]);
        n += result == MILLPOND_OK;
    }
    REQUIRE(result == MILLPOND_ERR_PINNED || result == MILLPOND_ERR_FULL, "ended with %d", result);
    __atomic_add_fetch(&shared->opened, 1, __ATOMIC_SEQ_CST);
    for (;;) support_sleep_ms(100);
}

static int everything_is_held(void *arg) {
    (void)arg;
    unsigned char value[400] = {0};
    uint64_t numbers[6];
    pid_t holders[6];
    shared = support_share(sizeof *shared);
    path = support_path("held.pond");
    pond = support_create(path, 64 << 10);
    for (uint64_t i = 0; i < 6; i++) {
        numbers[i] = i;
        holders[i] = support_fork(hold_all, &numbers[i]);
        for (int ms = 0; load(&shared->opened) < i + 1; ms++) {
            REQUIRE(ms < 30000, "holder %d does not begin", (int)i);
            support_sleep_ms(1);
        }
    }
    int result = MILLPOND_OK, sets = 0;
    while ((result = millpond_set(pond, "more", 4, value, sizeof value, 0)) == MILLPOND_OK && sets < 10000) sets++;
    REQUIRE(result == MILLPOND_ERR_FULL, "a set where everything is held: %d after %d", result, sets);
    REQUIRE(millpond_get(pond, "none", 4, NULL, 0, NULL) == MILLPOND_MISS, "get");
    for (int i = 0; i < 6; i++) support_kill(holders[i]);
    REQUIRE(millpond_set(pond, "again", 5, value, sizeof value, 0) == MILLPOND_OK, "a set when the holders are dead");
    millpond_close(pond);
    support_require_whole(path);
    return 0;
}

int main(int argc, char **argv) {
    static const struct support_case cases[] = {
        {"readers notice nothing and writers are busy at the worst", stopped_and_continued, 60000},
        {"a stopped owner that is killed leaves its lock at once", stopped_and_killed, 60000},
        {"a stopped opener that is killed holds nobody up", stopped_while_opening, 60000},
        {"who stands in the way to a new file makes writers busy, and nothing else", opener_of_a_new_file, 60000},
        {"the cache is cycled a hundred times beside readers stopped with views", stopped_with_views, 120000},
        {"where everything is held by views a set says so, until they end", everything_is_held, 60000},
    };
    return support_run_cases(argc, argv, cases, sizeof cases / sizeof *cases);
}
