/* SPDX-License-Identifier: MIT */
/* The worker of the stress programs, see stress.h. */

#include "stress.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MGET_MAX 8

/* What one worker carries along. */
struct worker {
    const struct stress_plan *plan;
    struct millpond *pond;
    unsigned number;
    struct support_random random;
    struct stress_counts counts;
    unsigned char *buf; /* for one value to write, and MGET_MAX to read */
    size_t buf_bytes;   /* of one */
    struct support_zipf zipf;
};

void stress_prepare(struct stress_plan *plan, const char *name, size_t key_count, int argc, char **argv, double seconds) {
    plan->name = name;
    plan->oracle = oracle_make(key_count);
    plan->counts = support_share(STRESS_WORKERS_MAX * sizeof *plan->counts);
    plan->seconds = support_seconds(argc, argv, seconds);
    plan->seed = support_seed(name);
}

struct millpond *stress_create_crowded(const char *path, uint64_t size_bytes, size_t key_count) {
    struct millpond_options options = MILLPOND_OPTIONS_INIT;
    options.flags = MILLPOND_CREATE;
    options.size_bytes = size_bytes;
    options.max_item_bytes = size_bytes / 64;
    options.entry_bytes = (uint32_t)(size_bytes / (key_count * 5 / 4));
    struct millpond *pond = support_open(path, &options);
    struct millpond_stats stats;
    REQUIRE(millpond_stats(pond, -1, &stats) == MILLPOND_OK, "no figures");
    REQUIRE(stats.index_slots > key_count && stats.index_slots < key_count * 2, "%llu index slots for %zu keys are not crowded",
            (unsigned long long)stats.index_slots, key_count);
    return pond;
}

/* ---- reading ---- */

/* Has somebody been stopped for about as long as readers wait, and not gone on long ago? */
static bool held_up(const struct stress_stop *stop) {
    uint64_t since = stop ? __atomic_load_n(&stop->since, __ATOMIC_SEQ_CST) : 0, now = support_now_ns();
    if (since == 0) return false;
    uint64_t until = __atomic_load_n(&stop->until, __ATOMIC_SEQ_CST);
    if (until <= since) return now - since > 200000000;
    return until - since > 200000000 && now < until + 500000000;
}

static void judge(struct worker *w, const char *call, size_t key, struct oracle_get get, int result, const void *value, size_t bytes) {
    const char *wrong = NULL;
    uint64_t sequence = 0;
    w->counts.reads++;
    if (result == MILLPOND_OK) {
        w->counts.hits++;
        wrong = support_value_read(value, bytes, key, &sequence);
        if (!wrong) wrong = oracle_get_hit(w->plan->oracle, key, get, sequence);
    } else {
        REQUIRE(result == MILLPOND_MISS, "%s: %s of key %zu answers %d", w->plan->name, call, key, result);
        w->counts.misses++;
        if (!w->plan->evicts) wrong = oracle_get_miss(w->plan->oracle, key, get);
        if (wrong && held_up(w->plan->stop)) {
            wrong = NULL;
            w->counts.held_up++;
        }
    }
    REQUIRE(!wrong, "%s: %s of key %zu, sequence %llu, %zu bytes: %s", w->plan->name, call, key, (unsigned long long)sequence, bytes,
            wrong);
}

static void read_many(struct worker *w) {
    struct millpond_mget items[MGET_MAX];
    struct oracle_get gets[MGET_MAX];
    char keys[MGET_MAX][SUPPORT_KEY_BYTES + 1];
    size_t numbers[MGET_MAX], count = 1 + support_below(&w->random, MGET_MAX);
    for (size_t i = 0; i < count; i++) {
        numbers[i] = support_zipf_next(&w->zipf, &w->random);
        support_key(keys[i], numbers[i]);
        items[i] = (struct millpond_mget){keys[i], SUPPORT_KEY_BYTES, w->buf + (i + 1) * w->buf_bytes, w->buf_bytes, 0, 0};
        gets[i] = oracle_get_begins(w->plan->oracle, numbers[i]);
    }
    REQUIRE(millpond_mget(w->pond, items, count) == MILLPOND_OK, "%s: mget failed", w->plan->name);
    for (size_t i = 0; i < count; i++) judge(w, "mget", numbers[i], gets[i], items[i].result, items[i].buf, items[i].value_bytes);
}

static void read_one(struct worker *w, size_t number, const char *key) {
    size_t bytes = 0;
    unsigned char *buf = w->buf + w->buf_bytes;
    struct oracle_get get = oracle_get_begins(w->plan->oracle, number);
    switch (support_below(&w->random, 8)) {
    case 0: {
        void *value = NULL;
        int result = millpond_get_alloc(w->pond, key, SUPPORT_KEY_BYTES, &value, &bytes);
        judge(w, "get_alloc", number, get, result, value, bytes);
        if (result == MILLPOND_OK) free(value);
        break;
    }
    case 1: {
        uint64_t version = 0;
        int result = millpond_get_if_changed(w->pond, key, SUPPORT_KEY_BYTES, buf, w->buf_bytes, &bytes, &version);
        judge(w, "get_if_changed", number, get, result, buf, bytes);
        break;
    }
    default: {
        int result = millpond_get(w->pond, key, SUPPORT_KEY_BYTES, buf, w->buf_bytes, &bytes);
        judge(w, "get", number, get, result, buf, bytes);
    }
    }
}

/* ---- writing ---- */

/* Reads, and stores if nobody changed the entry meanwhile. The copy read is as old as any get's. */
static int read_and_swap(struct worker *w, size_t number, const char *key, const void *value, size_t bytes) {
    unsigned char *old = w->buf + w->buf_bytes;
    size_t old_bytes = 0;
    uint64_t version = 0;
    struct oracle_get get = oracle_get_begins(w->plan->oracle, number);
    int result = millpond_get_if_changed(w->pond, key, SUPPORT_KEY_BYTES, old, w->buf_bytes, &old_bytes, &version);
    judge(w, "get_if_changed before cas", number, get, result, old, old_bytes);
    if (result != MILLPOND_OK) return result;
    return millpond_cas(w->pond, key, SUPPORT_KEY_BYTES, value, bytes, 0, version);
}

static void write_one(struct worker *w, size_t number, const char *key) {
    size_t bytes = support_log_size(&w->random, w->plan->value_bytes_min, w->plan->value_bytes_max);
    uint64_t kind = support_below(&w->random, 10);
    struct oracle_change change = oracle_set_begins(w->plan->oracle, number);
    support_value_write(w->buf, bytes, number, change.sequence);
    int result;
    const char *call;
    if (kind == 0) {
        call = "add";
        result = millpond_add(w->pond, key, SUPPORT_KEY_BYTES, w->buf, bytes, 0);
    } else if (kind == 1) {
        call = "replace";
        result = millpond_replace(w->pond, key, SUPPORT_KEY_BYTES, w->buf, bytes, 0);
    } else if (kind == 2) {
        call = "cas";
        result = read_and_swap(w, number, key, w->buf, bytes);
    } else {
        call = "set";
        /* A time to live that does not run out during the test puts the entry into another class of segments. */
        result = millpond_set(w->pond, key, SUPPORT_KEY_BYTES, w->buf, bytes, kind == 3 ? 3600000 : 0);
    }
    oracle_set_ends(w->plan->oracle, number, change, result == MILLPOND_OK);
    bool conditional = kind <= 2 && (result == MILLPOND_EXISTS || result == MILLPOND_MISS || result == MILLPOND_CHANGED);
    REQUIRE(result == MILLPOND_OK || conditional || result == MILLPOND_ERR_BUSY, "%s: %s of %zu bytes answers %d (%s)", w->plan->name, call,
            bytes, result, millpond_strerror(result));
    w->counts.sets += result == MILLPOND_OK;
    w->counts.busy += result == MILLPOND_ERR_BUSY;
}

static void delete_one(struct worker *w, size_t number, const char *key) {
    struct oracle_change change = oracle_delete_begins(w->plan->oracle, number);
    int result = millpond_delete(w->pond, key, SUPPORT_KEY_BYTES);
    oracle_delete_ends(w->plan->oracle, number, change, result >= 0);
    REQUIRE(result == MILLPOND_OK || result == MILLPOND_MISS || result == MILLPOND_ERR_BUSY, "%s: delete answers %d (%s)", w->plan->name,
            result, millpond_strerror(result));
    w->counts.deletes += result == MILLPOND_OK;
    w->counts.busy += result == MILLPOND_ERR_BUSY;
}

/* A value that a loader makes. It may be stored at any moment until the fetch has returned, or never. */
struct loading {
    struct worker *w;
    size_t number;
    struct oracle_change change;
    bool loaded;
};

static int load_value(void *arg, const void *key, size_t key_bytes, struct millpond_load *load) {
    struct loading *l = arg;
    struct worker *w = l->w;
    (void)key, (void)key_bytes;
    l->loaded = true;
    l->change = oracle_set_begins(w->plan->oracle, l->number);
    support_sleep_us((unsigned)support_below(&w->random, w->plan->load_us + 1));
    load->value = w->buf;
    load->value_bytes = support_log_size(&w->random, w->plan->value_bytes_min, w->plan->value_bytes_max);
    support_value_write(w->buf, load->value_bytes, l->number, l->change.sequence);
    return MILLPOND_OK;
}

static void fetch_one(struct worker *w, size_t number, const char *key) {
    size_t bytes = 0;
    struct loading l = {.w = w, .number = number};
    struct millpond_fetched how;
    struct oracle_get get = oracle_get_begins(w->plan->oracle, number);
    int result = millpond_fetch(w->pond, key, SUPPORT_KEY_BYTES, load_value, &l, NULL, w->buf + w->buf_bytes, w->buf_bytes, &bytes, &how);
    w->counts.busy += result == MILLPOND_ERR_TIMEOUT;
    if (l.loaded) {
        oracle_load_ends(w->plan->oracle, number, l.change, how.how == MILLPOND_HOW_LOADED);
        REQUIRE(result == MILLPOND_OK && how.how != MILLPOND_HOW_HIT, "%s: a fetch that loaded answers %d (%u)", w->plan->name, result,
                how.how);
        w->counts.loads++;
        w->counts.dropped += how.how == MILLPOND_HOW_ALONE;
    } else if (result != MILLPOND_ERR_TIMEOUT) {
        REQUIRE(result == MILLPOND_OK, "%s: a fetch answers %d (%s)", w->plan->name, result, millpond_strerror(result));
        judge(w, "fetch", number, get, result, w->buf + w->buf_bytes, bytes);
    }
}

static void step(struct worker *w) {
    uint64_t dice = support_below(&w->random, 100);
    size_t number = support_zipf_next(&w->zipf, &w->random);
    char key[SUPPORT_KEY_BYTES + 1];
    support_key(key, number);
    if (dice < w->plan->reads_percent) {
        if (dice < w->plan->reads_percent * w->plan->fetches_percent / 100)
            fetch_one(w, number, key);
        else if (dice % 16 == 0)
            read_many(w);
        else
            read_one(w, number, key);
    } else if (dice < w->plan->reads_percent + w->plan->deletes_percent) {
        delete_one(w, number, key);
    } else if (dice == 99) {
        int result = millpond_touch(w->pond, key, SUPPORT_KEY_BYTES, support_below(&w->random, 2) * 3600000);
        REQUIRE(result == MILLPOND_OK || result == MILLPOND_MISS || result == MILLPOND_ERR_BUSY, "%s: touch answers %d", w->plan->name,
                result);
    } else {
        write_one(w, number, key);
    }
}

void stress_worker(const struct stress_plan *plan, struct millpond *pond, unsigned number) {
    REQUIRE(number < STRESS_WORKERS_MAX, "%s: worker %u", plan->name, number);
    struct worker w = {.plan = plan, .pond = pond, .number = number, .random = support_derive(&plan->seed, number)};
    w.buf_bytes = (plan->value_bytes_max + 63) & ~(size_t)63;
    w.buf = malloc(w.buf_bytes * (MGET_MAX + 1));
    REQUIRE(w.buf, "%s: no memory", plan->name);
    w.zipf = support_zipf_make(plan->oracle->key_count, 0.8);
    uint64_t end = support_now_ns() + (uint64_t)(plan->seconds * 1e9);
    while (support_now_ns() < end)
        for (int i = 0; i < 16; i++) step(&w);
    plan->counts[number] = w.counts;
    support_zipf_free(&w.zipf);
    free(w.buf);
}

/* ---- who works ---- */

struct thread_start {
    const struct stress_plan *plan;
    struct millpond *pond;
    unsigned number;
};

static void *run_thread(void *arg) {
    struct thread_start *start = arg;
    stress_worker(start->plan, start->pond, start->number);
    return NULL;
}

void stress_threads(const struct stress_plan *plan, struct millpond *pond, unsigned first, unsigned count) {
    pthread_t threads[STRESS_WORKERS_MAX];
    struct thread_start starts[STRESS_WORKERS_MAX];
    for (unsigned i = 0; i < count; i++) {
        starts[i] = (struct thread_start){plan, pond, first + i};
        REQUIRE(pthread_create(&threads[i], NULL, run_thread, &starts[i]) == 0, "%s: no thread", plan->name);
    }
    for (unsigned i = 0; i < count; i++) pthread_join(threads[i], NULL);
}

struct process_start {
    const struct stress_plan *plan;
    struct millpond *pond;
    const char *path;
    unsigned number, threads;
};

static int run_process(void *arg) {
    struct process_start *start = arg;
    struct millpond *pond = start->pond;
    if (start->number % 2) pond = support_open(start->path, NULL);
    stress_threads(start->plan, pond, start->number * start->threads, start->threads);
    millpond_close(pond);
    return 0;
}

unsigned stress_processes(const struct stress_plan *plan, struct millpond *pond, const char *path, unsigned processes, unsigned threads) {
    struct process_start starts[STRESS_WORKERS_MAX];
    pid_t children[STRESS_WORKERS_MAX];
    unsigned failed = 0;
    for (unsigned i = 0; i < processes; i++) {
        starts[i] = (struct process_start){plan, pond, path, i, threads};
        children[i] = support_fork(run_process, &starts[i]);
    }
    for (unsigned i = 0; i < processes; i++) {
        int said = support_wait(children[i], (unsigned)(plan->seconds * 1000) + 60000);
        if (said != 0) fprintf(stderr, "%s: process %u ended with %d%s\n", plan->name, i, said, said == SUPPORT_LATE ? " (hung)" : "");
        failed += said != 0;
    }
    return failed;
}

void stress_finish(const struct stress_plan *plan, const char *path) {
    struct stress_counts sum = {0};
    for (unsigned i = 0; i < STRESS_WORKERS_MAX; i++) {
        sum.reads += plan->counts[i].reads;
        sum.hits += plan->counts[i].hits;
        sum.misses += plan->counts[i].misses;
        sum.sets += plan->counts[i].sets;
        sum.deletes += plan->counts[i].deletes;
        sum.busy += plan->counts[i].busy;
        sum.loads += plan->counts[i].loads;
        sum.dropped += plan->counts[i].dropped;
        sum.held_up += plan->counts[i].held_up;
    }
    printf("%s: %llu reads verified (%llu hits, %llu misses), %llu sets, %llu deletes, %llu busy; %llu answers judged, %llu not\n",
           plan->name, (unsigned long long)sum.reads, (unsigned long long)sum.hits, (unsigned long long)sum.misses,
           (unsigned long long)sum.sets, (unsigned long long)sum.deletes, (unsigned long long)sum.busy,
           (unsigned long long)plan->oracle->judged, (unsigned long long)plan->oracle->unknown);
    if (plan->fetches_percent)
        printf("%s: %llu loads, %llu of them not stored\n", plan->name, (unsigned long long)sum.loads, (unsigned long long)sum.dropped);
    if (sum.held_up) printf("%s: %llu misses beside somebody who was stopped for long\n", plan->name, (unsigned long long)sum.held_up);
    REQUIRE(!plan->fetches_percent || sum.loads > sum.dropped, "%s: nothing was loaded and stored", plan->name);
    REQUIRE(sum.hits > 50 && sum.sets > 50, "%s: too little was done to mean anything", plan->name);
    REQUIRE(sum.hits * 10 > sum.reads, "%s: fewer than a tenth of the reads hit", plan->name);
    REQUIRE(plan->oracle->unknown * 20 <= plan->oracle->judged, "%s: too many answers could not be judged", plan->name);
    support_require_whole(path);
}
