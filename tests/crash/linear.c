/* SPDX-License-Identifier: MIT */
/* Histories of processes that read and write the same few keys while some of them are killed: each key's must be linearizable (history.h).
 *
 * In each round a few processes start together and do gets, sets, deletes, adds, cas and increments. At the named places of the library
 * each waits now and then, so that others see what is half done, and dies now and then; whoever was killed is replaced. When all have
 * ended, a new process writes into every shard (what is unfinished ends there) and reads every key: that is part of the history, too, and
 * where the next round begins.
 *
 *     linear [--long] [--seconds N] */

#include "crash.h"
#include "history.h"

#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define REGISTERS     5u
#define COUNTERS      3u
#define KEYS          (REGISTERS + COUNTERS)
#define PROCESSES     3u
#define OPS_A_PROCESS 60u
#define LARGE_BYTES   5000u

struct history {
    uint32_t count;
    uint32_t pad;
    int64_t initial;
    struct op ops[HISTORY_OPS_MAX];
};

static struct {
    struct history keys[KEYS];
    uint64_t next_value;
    uint32_t ready, go;
    uint64_t pauses;
} * shared;

static struct ground ground;
static struct support_random random_of_process;
static unsigned kill_one_in;

/* ---- the library's places ---- */

static void stumble(const char *name) {
    (void)name;
    uint64_t dice = support_below(&random_of_process, 1000);
    if (kill_one_in && support_below(&random_of_process, kill_one_in) == 0) kill(getpid(), SIGKILL);
    if (dice < 40)
        sched_yield();
    else if (dice < 50)
        support_sleep_us(20);
    else if (dice < 52)
        support_sleep_us(300);
    else
        return;
    __atomic_add_fetch(&shared->pauses, 1, __ATOMIC_RELAXED);
}

/* ---- values ---- */

static size_t value_bytes(int64_t id) { return id % 11 == 0 ? LARGE_BYTES : 40 + (size_t)(id * 37 % 300); }

static unsigned char value[LARGE_BYTES + 8];

static int64_t state_of(uint32_t key, size_t bytes) {
    if (key >= REGISTERS) {
        value[bytes] = 0;
        return strtoll((const char *)value, NULL, 10);
    }
    uint64_t id = 0;
    const char *wrong = support_value_read(value, bytes, key, &id);
    CHECK(!wrong, "a get returned %zu bytes of key %u: %s", bytes, key, wrong);
    CHECK(bytes == value_bytes((int64_t)id), "a get returned %zu bytes of key %u, and %zu were stored", bytes, key,
          value_bytes((int64_t)id));
    return (int64_t)id;
}

/* ---- one operation ---- */

struct worker {
    struct millpond *pond;
    uint32_t number;
    struct {
        int64_t state;
        uint64_t version; /* 0: it has none */
    } has[KEYS];
};

static struct op *begin(struct worker *w, uint32_t key, enum op_kind kind, int64_t argument, int64_t expected) {
    struct history *history = &shared->keys[key];
    uint32_t at = __atomic_fetch_add(&history->count, 1, __ATOMIC_SEQ_CST);
    if (at >= HISTORY_OPS_MAX - 2) { /* the last places are for the end of the round */
        __atomic_sub_fetch(&history->count, 1, __ATOMIC_SEQ_CST);
        return NULL;
    }
    struct op *op = &history->ops[at];
    *op = (struct op){.kind = kind, .argument = argument, .expected = expected, .end = HISTORY_PENDING, .process = w->number};
    __atomic_store_n(&op->begin, support_now_ns(), __ATOMIC_SEQ_CST);
    return op;
}

static void end(struct op *op, int result, int64_t answer) {
    op->result = result;
    op->answer = answer;
    __atomic_store_n(&op->end, support_now_ns(), __ATOMIC_SEQ_CST);
}

static void require_result(int result) { CHECK(result >= 0, "%s", millpond_strerror(result)); }

static void do_get(struct worker *w, uint32_t key, const char *name, bool if_changed) {
    size_t bytes = 0;
    uint64_t version = if_changed ? w->has[key].version : 0;
    struct op *op = begin(w, key, version ? OP_IF_CHANGED : OP_GET, 0, w->has[key].state);
    if (!op) return;
    int result = millpond_get_if_changed(w->pond, name, strlen(name), value, LARGE_BYTES, &bytes, &version);
    require_result(result);
    int64_t state = result == MILLPOND_OK ? state_of(key, bytes) : STATE_ABSENT;
    end(op, result, state);
    if (result == MILLPOND_OK && key < REGISTERS) w->has[key].state = state, w->has[key].version = version;
}

static void do_plain_get(struct worker *w, uint32_t key, const char *name) {
    size_t bytes = 0;
    struct op *op = begin(w, key, OP_GET, 0, 0);
    if (!op) return;
    int result = millpond_get(w->pond, name, strlen(name), value, LARGE_BYTES, &bytes);
    require_result(result);
    end(op, result, result == MILLPOND_OK ? state_of(key, bytes) : STATE_ABSENT);
}

static void do_store(struct worker *w, uint32_t key, const char *name, enum op_kind kind) {
    static const uint32_t when[] = {
        [OP_SET] = MILLPOND_ALWAYS, [OP_ADD] = MILLPOND_IF_ABSENT, [OP_REPLACE] = MILLPOND_IF_PRESENT, [OP_CAS] = MILLPOND_IF_VERSION};
    int64_t id = (int64_t)__atomic_add_fetch(&shared->next_value, 1, __ATOMIC_SEQ_CST);
    size_t bytes = value_bytes(id);
    struct millpond_set options = {.when = when[kind], .version = w->has[key].version};
    if (kind == OP_CAS && !w->has[key].version) return;
    support_value_write(value, bytes, key, (uint64_t)id);
    struct op *op = begin(w, key, kind, id, w->has[key].state);
    if (!op) return;
    int result = millpond_set_ex(w->pond, name, strlen(name), value, bytes, &options);
    require_result(result);
    end(op, result, 0);
    if (result == MILLPOND_OK) w->has[key].state = id, w->has[key].version = options.version;
}

static void do_delete(struct worker *w, uint32_t key, const char *name) {
    struct op *op = begin(w, key, OP_DELETE, 0, 0);
    if (!op) return;
    int result = millpond_delete(w->pond, name, strlen(name));
    require_result(result);
    end(op, result, 0);
}

static void do_incr(struct worker *w, uint32_t key, const char *name, int64_t delta) {
    struct millpond_incr create = {0, 0};
    int64_t sum = 0;
    struct op *op = begin(w, key, OP_INCR, delta, 0);
    if (!op) return;
    int result = millpond_incr(w->pond, name, strlen(name), delta, &create, &sum);
    require_result(result);
    end(op, result, sum);
}

static void do_set_number(struct worker *w, uint32_t key, const char *name) {
    char text[32];
    int64_t number = (int64_t)support_below(&random_of_process, 1000000);
    int n = snprintf(text, sizeof text, "%lld", (long long)number);
    struct op *op = begin(w, key, OP_SET, number, 0);
    if (!op) return;
    int result = millpond_set(w->pond, name, strlen(name), text, (size_t)n, 0);
    require_result(result);
    end(op, result, 0);
}

static void name_of(uint32_t key, char name[16]) { snprintf(name, 16, "%s-%u", key < REGISTERS ? "register" : "counter", key); }

static void do_something(struct worker *w) {
    char name[16];
    uint32_t key = (uint32_t)support_below(&random_of_process, KEYS);
    uint64_t dice = support_below(&random_of_process, 100);
    name_of(key, name);
    if (dice < 25)
        do_plain_get(w, key, name);
    else if (dice < 40)
        do_get(w, key, name, key < REGISTERS);
    else if (dice < 50)
        do_delete(w, key, name);
    else if (key >= REGISTERS && dice < 90)
        do_incr(w, key, name, 1 + (int64_t)support_below(&random_of_process, 1000));
    else if (key >= REGISTERS)
        do_set_number(w, key, name);
    else if (dice < 70)
        do_store(w, key, name, OP_SET);
    else if (dice < 78)
        do_store(w, key, name, OP_ADD);
    else if (dice < 84)
        do_store(w, key, name, OP_REPLACE);
    else
        do_store(w, key, name, OP_CAS);
}

/* ---- a round ---- */

struct round {
    uint64_t number;
    uint32_t process;
    unsigned kill_one_in;
    struct support_random dice;
};

/* On a busy machine a writer may wait long for another that does not get to run. */
static struct millpond *open_patiently(void) {
    struct millpond_options options = MILLPOND_OPTIONS_INIT;
    options.lock_timeout_ms = CRASH_DEADLINE_MS;
    return support_open(ground.path, &options);
}

static int work(void *arg) {
    const struct round *round = arg;
    struct worker w = {.pond = open_patiently(), .number = round->process};
    random_of_process = round->dice;
    __atomic_add_fetch(&shared->ready, 1, __ATOMIC_SEQ_CST);
    while (!__atomic_load_n(&shared->go, __ATOMIC_SEQ_CST)) sched_yield();
    kill_one_in = round->kill_one_in;
    crash_hook(stumble);
    for (unsigned i = 0; i < OPS_A_PROCESS; i++) do_something(&w);
    crash_unwatch();
    millpond_close(w.pond);
    return 0;
}

/* What was unfinished is finished by the first writer of each shard; then every key is read. */
static int conclude(void *arg) {
    struct worker w = {.pond = open_patiently(), .number = 99};
    char name[16];
    (void)arg;
    for (uint32_t shard = 0; shard < ground.map.geometry.shard_count; shard++) {
        uint32_t n = 0;
        do snprintf(name, sizeof name, "last-%u", n++);
        while (ground_shard_of(&ground, name, strlen(name)) != shard);
        CHECK(millpond_set(w.pond, name, strlen(name), "x", 1, 0) == MILLPOND_OK, "the last set");
    }
    for (uint32_t key = 0; key < KEYS; key++) {
        size_t bytes = 0;
        struct history *history = &shared->keys[key];
        struct op *op = &history->ops[history->count++];
        *op = (struct op){.kind = OP_GET, .begin = support_now_ns(), .end = HISTORY_PENDING, .process = 99};
        name_of(key, name);
        int result = millpond_get(w.pond, name, strlen(name), value, LARGE_BYTES, &bytes);
        require_result(result);
        end(op, result, result == MILLPOND_OK ? state_of(key, bytes) : STATE_ABSENT);
    }
    millpond_close(w.pond);
    return 0;
}

static struct { uint64_t rounds, ops, killed, pending, states; } sums;

static void run_round(uint64_t number, struct support_random *dice) {
    struct round rounds[PROCESSES];
    pid_t child[PROCESSES];
    unsigned left = 2 * PROCESSES; /* replacements */
    shared->ready = shared->go = 0;
    for (uint32_t i = 0; i < PROCESSES; i++) {
        rounds[i] = (struct round){number, i, number % 4 == 0 ? 0 : 400, support_derive(dice, number * 100 + i)};
        child[i] = support_fork(work, &rounds[i]);
    }
    uint64_t end_ns = support_now_ns() + CRASH_DEADLINE_MS * UINT64_C(1000000);
    while (__atomic_load_n(&shared->ready, __ATOMIC_SEQ_CST) < PROCESSES && support_now_ns() < end_ns) sched_yield();
    __atomic_store_n(&shared->go, 1, __ATOMIC_SEQ_CST);
    for (uint32_t i = 0; i < PROCESSES; i++) {
        int said = support_wait(child[i], CRASH_DEADLINE_MS);
        CHECK(said == 0 || said == -SIGKILL, "process %u ended with %d", i, said);
        sums.killed += said != 0;
        if (said == 0 || left == 0) continue;
        left--;
        rounds[i].process += 10;
        rounds[i].dice = support_derive(&rounds[i].dice, left);
        child[i] = support_fork(work, &rounds[i]);
        i--; /* wait for this one, too */
    }
    crash_run(conclude, NULL, "the one that concludes");
}

static void judge_round(uint64_t number) {
    for (uint32_t key = 0; key < KEYS; key++) {
        struct history *history = &shared->keys[key];
        unsigned count = history->count;
        crash_trying("round %llu, key %u, %u operations", (unsigned long long)number, key, count);
        enum verdict verdict = history_judge(history->ops, count, history->initial, &sums.states);
        if (verdict != HISTORY_POSSIBLE) history_print(history->ops, count, history->initial);
        CHECK(verdict != HISTORY_TOO_LONG, "the history has too many possible orders to judge");
        CHECK(verdict == HISTORY_POSSIBLE, "no order of the operations explains their answers");
        for (unsigned i = 0; i < count; i++) sums.pending += history->ops[i].end == HISTORY_PENDING;
        sums.ops += count;
        history->initial = history->ops[count - 1].answer;
        if (history->ops[count - 1].result == MILLPOND_MISS) history->initial = STATE_ABSENT;
        history->count = 0;
    }
    sums.rounds++;
}

static int look_at_statistics(void *arg) {
    struct millpond *pond = support_open(ground.path, NULL);
    struct millpond_stats stats;
    (void)arg;
    CHECK(millpond_stats(pond, -1, &stats) == MILLPOND_OK, "stats");
    CHECK(stats.evictions == 0 && stats.gave_up == 0, "%llu evictions, %llu gets gave up: misses that the histories do not know",
          (unsigned long long)stats.evictions, (unsigned long long)stats.gave_up);
    printf("  the pond has seen %llu repairs, %llu waits for locks, %llu gets that looked twice\n", (unsigned long long)stats.recoveries,
           (unsigned long long)stats.lock_waits, (unsigned long long)stats.retries);
    CHECK(stats.recoveries > 0, "nothing had to be repaired");
    millpond_close(pond);
    CHECK(millpond_check(ground.path, 0, NULL, NULL, NULL, NULL) == MILLPOND_OK, "the check finds damage");
    return 0;
}

int main(int argc, char **argv) {
    struct millpond_options options = MILLPOND_OPTIONS_INIT;
    double seconds = support_seconds(argc, argv, crash_long(argc, argv) ? 120 : 12);
    options.size_bytes = 4 << 20;
    options.segment_bytes = 4096;
    options.max_item_bytes = 2 * LARGE_BYTES;
    options.shards = 2;
    crash_begin("linear");
    printf("  the judge: %u histories with a known verdict\n", history_test());
    struct support_random dice = support_seed("linear");
    shared = support_share(sizeof *shared);
    for (uint32_t key = 0; key < KEYS; key++) shared->keys[key].initial = STATE_ABSENT;
    ground_make(&ground, "linear.pond", &options);
    ground_occupy(&ground, true); /* whoever locks next repairs, not whoever opens next */
    uint64_t until = support_now_ns() + (uint64_t)(seconds * 1e9);
    for (uint64_t number = 0; support_now_ns() < until; number++) {
        crash_trying("round %llu", (unsigned long long)number);
        run_round(number, &dice);
        judge_round(number);
    }
    crash_trying("counting");
    crash_run(look_at_statistics, NULL, "the one that looks");
    ground_require_quiet(&ground);
    printf(
        "  %llu rounds, %llu operations, %llu processes killed, %llu operations unfinished, %llu pauses; the judge looked at %llu states\n",
        (unsigned long long)sums.rounds, (unsigned long long)sums.ops, (unsigned long long)sums.killed, (unsigned long long)sums.pending,
        (unsigned long long)shared->pauses, (unsigned long long)sums.states);
    CHECK(sums.killed > 0 && sums.pending > 0, "nobody was killed within an operation");
    ground_forget(&ground);
    return crash_end();
}
