/* SPDX-License-Identifier: MIT */
/* Writers that are killed with SIGKILL at random moments. The survivors go on, nothing acknowledged is lost, an unfinished write is there
 * wholly or not at all, and a check finds the file whole.
 *
 * Each writer has keys of its own, so that what a key may hold is known exactly. In shared memory stands, for each key:
 *
 *   acknowledged   the number of the last write that returned, and whether it left a value or nothing
 *   begun          the number of the last write that began; its predecessor in the process may have been killed inside it
 *   delete_begun   the number of the last delete that began
 *
 * A reader accepts a value whose number lies between acknowledged (noted before) and begun (noted after), and a miss if the acknowledged
 * write was a delete or a later delete has begun. A writer that takes the place of a killed one touches every key of its own, which makes
 * whoever holds the lock finish what was half done, and then requires one of the two states, before or after the unfinished write. */

#include "support.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WRITERS 3
#define KEYS    48 /* of each writer */

struct key_state {
    uint64_t acknowledged; /* number * 2 + 1 for a value, + 0 for none */
    uint64_t in_flight;    /* the same, of the write that began last */
    uint64_t begun, delete_begun;
};

struct shared {
    struct key_state keys[WRITERS][KEYS];
    int64_t counter[WRITERS], counter_in_flight[WRITERS];
    uint64_t operations[WRITERS], found_after[WRITERS], found_before[WRITERS];
    uint64_t reads, hits;
    int stop;
};

/* What a case varies. */
struct setting {
    const char *name;
    uint64_t file_bytes;
    size_t value_bytes_max;
    bool evicts, reopens;
    unsigned pause_us_max; /* between kills */
    double seconds;
};

static struct shared *shared;
static struct millpond *pond;
static const char *path;
static const struct setting *setting;

static uint64_t load(const uint64_t *p) { return __atomic_load_n(p, __ATOMIC_SEQ_CST); }
static void store(uint64_t *p, uint64_t v) { __atomic_store_n(p, v, __ATOMIC_SEQ_CST); }
static bool stopped(void) { return __atomic_load_n(&shared->stop, __ATOMIC_RELAXED) != 0; }

static uint64_t number_of(unsigned writer, unsigned key) { return (uint64_t)writer * 1000 + key; }

/* The number of the write whose value is there, 0 for a miss. */
static uint64_t read_key(unsigned writer, unsigned k) {
    char key[SUPPORT_KEY_BYTES + 1];
    void *value = NULL;
    size_t bytes = 0;
    uint64_t sequence = 0;
    support_key(key, number_of(writer, k));
    int result = millpond_get_alloc(pond, key, SUPPORT_KEY_BYTES, &value, &bytes);
    if (result == MILLPOND_MISS) return 0;
    REQUIRE(result == MILLPOND_OK, "%s: get: %d", setting->name, result);
    const char *wrong = support_value_read(value, bytes, number_of(writer, k), &sequence);
    REQUIRE(!wrong, "%s: key %u of writer %u, %zu bytes: %s", setting->name, k, writer, bytes, wrong);
    free(value);
    return sequence;
}

/* ---- a writer ---- */

static void require_accepted(int result, const char *call) {
    REQUIRE(result == MILLPOND_OK || result == MILLPOND_MISS, "%s: %s: %d (%s)", setting->name, call, result, millpond_strerror(result));
}

/* What the killed predecessor left. */
static void take_over(unsigned me) {
    int64_t value = 0;
    char name[16];
    for (unsigned k = 0; k < KEYS; k++) {
        struct key_state *state = &shared->keys[me][k];
        char key[SUPPORT_KEY_BYTES + 1];
        support_key(key, number_of(me, k));
        require_accepted(millpond_touch(pond, key, SUPPORT_KEY_BYTES, 0), "touch");
        uint64_t found = read_key(me, k), acknowledged = load(&state->acknowledged), in_flight = load(&state->in_flight);
        bool before = found ? acknowledged == found * 2 + 1 : (acknowledged & 1) == 0;
        bool after = found ? in_flight == found * 2 + 1 : (in_flight & 1) == 0;
        if (setting->evicts && !found) before = true;
        REQUIRE(before || after, "%s: key %u of writer %u: found write %llu (0: nothing), acknowledged %llu%s, in flight %llu%s",
                setting->name, k, me, (unsigned long long)found, (unsigned long long)acknowledged / 2, acknowledged & 1 ? "" : " (delete)",
                (unsigned long long)in_flight / 2, in_flight & 1 ? "" : " (delete)");
        if (acknowledged != in_flight) shared->found_before[me] += before, shared->found_after[me] += after && !before;
        uint64_t now = found ? found * 2 + 1 : after && !before ? in_flight : acknowledged & ~UINT64_C(1);
        store(&state->in_flight, now);
        store(&state->acknowledged, now);
    }
    if (!setting->evicts) {
        struct millpond_incr create = {0, 0};
        int bytes = snprintf(name, sizeof name, "counter-%u", me);
        REQUIRE(millpond_incr(pond, name, (size_t)bytes, 0, &create, &value) == MILLPOND_OK, "%s: incr", setting->name);
        REQUIRE(value == shared->counter[me] || value == shared->counter_in_flight[me],
                "%s: counter %u is %lld, acknowledged %lld, in flight %lld", setting->name, me, (long long)value,
                (long long)shared->counter[me], (long long)shared->counter_in_flight[me]);
        shared->counter[me] = shared->counter_in_flight[me] = value;
    }
}

static void write_key(unsigned me, unsigned k, struct support_random *random, unsigned char *value) {
    struct key_state *state = &shared->keys[me][k];
    char key[SUPPORT_KEY_BYTES + 1];
    support_key(key, number_of(me, k));
    uint64_t number = load(&state->begun) + 1;
    bool deletes = support_below(random, 6) == 0;
    int result;
    if (deletes) {
        store(&state->delete_begun, number);
        store(&state->begun, number);
        store(&state->in_flight, number * 2);
        result = millpond_delete(pond, key, SUPPORT_KEY_BYTES);
        require_accepted(result, "delete");
        store(&state->acknowledged, number * 2);
        return;
    }
    size_t bytes = support_log_size(random, SUPPORT_VALUE_BYTES_MIN, setting->value_bytes_max);
    support_value_write(value, bytes, number_of(me, k), number);
    store(&state->begun, number);
    store(&state->in_flight, number * 2 + 1);
    result = millpond_set(pond, key, SUPPORT_KEY_BYTES, value, bytes, support_below(random, 4) == 0 ? 3600000 : 0);
    REQUIRE(result == MILLPOND_OK, "%s: set of %zu bytes: %d (%s)", setting->name, bytes, result, millpond_strerror(result));
    store(&state->acknowledged, number * 2 + 1);
}

static void count_up(unsigned me, struct support_random *random) {
    char name[16];
    int64_t delta = 1 + (int64_t)support_below(random, 100), value = 0;
    struct millpond_incr create = {0, 0};
    int bytes = snprintf(name, sizeof name, "counter-%u", me);
    shared->counter_in_flight[me] = shared->counter[me] + delta;
    int result = millpond_incr(pond, name, (size_t)bytes, delta, &create, &value);
    REQUIRE(result == MILLPOND_OK, "%s: incr: %d", setting->name, result);
    if (!setting->evicts)
        REQUIRE(value == shared->counter[me] + delta, "%s: counter %u is %lld after %lld + %lld", setting->name, me, (long long)value,
                (long long)shared->counter[me], (long long)delta);
    shared->counter[me] = value;
    shared->counter_in_flight[me] = value;
}

static int writer(void *arg) {
    unsigned me = (unsigned)(uintptr_t)arg;
    struct support_random random = {support_now_ns() + me};
    unsigned char *value = malloc(setting->value_bytes_max);
    if (setting->reopens) {
        millpond_close(pond); /* the inherited one */
        pond = support_open(path, NULL);
    }
    take_over(me);
    while (!stopped()) {
        uint64_t dice = support_below(&random, 16);
        unsigned k = (unsigned)support_below(&random, KEYS);
        if (dice == 0)
            count_up(me, &random);
        else if (dice == 1) {
            char key[SUPPORT_KEY_BYTES + 1];
            support_key(key, number_of(me, k));
            require_accepted(millpond_touch(pond, key, SUPPORT_KEY_BYTES, support_below(&random, 2) * 3600000), "touch");
        } else
            write_key(me, k, &random, value);
        if (setting->reopens && dice < 4) {
            millpond_close(pond);
            pond = support_open(path, NULL);
        }
        store(&shared->operations[me], shared->operations[me] + 1);
    }
    free(value);
    millpond_close(pond);
    return 0;
}

/* ---- a reader, never killed ---- */

static int reader(void *arg) {
    (void)arg;
    struct support_random random = {support_now_ns()};
    pond = support_open(path, NULL);
    while (!stopped()) {
        unsigned w = (unsigned)support_below(&random, WRITERS), k = (unsigned)support_below(&random, KEYS);
        struct key_state *state = &shared->keys[w][k];
        uint64_t acknowledged = load(&state->acknowledged);
        uint64_t found = read_key(w, k);
        uint64_t begun = load(&state->begun), delete_begun = load(&state->delete_begun);
        shared->reads++;
        shared->hits += found != 0;
        if (found)
            REQUIRE(found >= acknowledged / 2 && found <= begun,
                    "%s: key %u of writer %u: write %llu is there, %llu acknowledged, %llu begun", setting->name, k, w,
                    (unsigned long long)found, (unsigned long long)acknowledged / 2, (unsigned long long)begun);
        else if (!setting->evicts)
            REQUIRE((acknowledged & 1) == 0 || delete_begun > acknowledged / 2,
                    "%s: key %u of writer %u: a miss, although write %llu was acknowledged", setting->name, k, w,
                    (unsigned long long)acknowledged / 2);
    }
    millpond_close(pond);
    return 0;
}

/* ---- the killer ---- */

static uint64_t all_operations(void) {
    uint64_t sum = 0;
    for (unsigned w = 0; w < WRITERS; w++) sum += load(&shared->operations[w]);
    return sum;
}

/* Has it come to what the case is about? A busy machine takes longer; the case's deadline bounds it. */
static bool enough(struct millpond *mine, const struct setting *how, uint64_t kills) {
    struct millpond_stats stats;
    REQUIRE(millpond_stats(mine, -1, &stats) == MILLPOND_OK, "stats");
    return kills > 20 && stats.recoveries > 0 && (!how->evicts || stats.evictions > 100);
}

static int run(const struct setting *how) {
    setting = how;
    struct support_random random = support_seed(how->name);
    shared = support_share(sizeof *shared);
    path = support_path("killed.pond");
    struct millpond_options options = MILLPOND_OPTIONS_INIT;
    options.flags = MILLPOND_CREATE;
    options.size_bytes = how->file_bytes;
    options.max_item_bytes = how->value_bytes_max;
    pond = support_open(path, &options);
    struct millpond *mine = pond;
    pid_t writers[WRITERS], watcher = support_fork(reader, NULL);
    for (uintptr_t w = 0; w < WRITERS; w++) writers[w] = support_fork(writer, (void *)w);
    uint64_t end = support_now_ns() + (uint64_t)(how->seconds * 1e9), kills = 0, last_operations = 0, last_progress = support_now_ns();
    while (support_now_ns() < end || !enough(mine, how, kills)) {
        support_sleep_us(100 + (unsigned)support_below(&random, how->pause_us_max));
        unsigned victim = (unsigned)support_below(&random, WRITERS);
        kill(writers[victim], SIGKILL);
        int said = support_wait(writers[victim], 5000);
        REQUIRE(said == -SIGKILL, "%s: writer %u ended by itself with %d", how->name, victim, said);
        writers[victim] = support_fork(writer, (void *)(uintptr_t)victim);
        kills++;
        if (all_operations() != last_operations) last_progress = support_now_ns();
        last_operations = all_operations();
        REQUIRE(support_now_ns() - last_progress < UINT64_C(4000000000), "%s: nobody gets anywhere after kill %llu", how->name,
                (unsigned long long)kills);
    }
    __atomic_store_n(&shared->stop, 1, __ATOMIC_RELAXED);
    for (unsigned w = 0; w < WRITERS; w++) REQUIRE(support_wait(writers[w], 20000) == 0, "%s: writer %u failed", how->name, w);
    REQUIRE(support_wait(watcher, 20000) == 0, "%s: the reader failed", how->name);

    struct millpond_stats stats;
    REQUIRE(millpond_stats(mine, -1, &stats) == MILLPOND_OK, "stats");
    uint64_t there = how->evicts ? 0 : WRITERS, before = 0, after = 0;
    for (unsigned w = 0; w < WRITERS; w++) {
        before += shared->found_before[w], after += shared->found_after[w];
        for (unsigned k = 0; k < KEYS; k++) {
            uint64_t found = read_key(w, k), acknowledged = shared->keys[w][k].acknowledged;
            REQUIRE(found == (acknowledged & 1 ? acknowledged / 2 : 0) || (how->evicts && !found), "%s: key %u of writer %u at the end",
                    how->name, k, w);
            there += found != 0;
        }
    }
    printf("  %llu kills, %llu recoveries; %llu unfinished writes found undone, %llu done; %llu operations, %llu reads, %llu hits, %llu "
           "evictions\n",
           (unsigned long long)kills, (unsigned long long)stats.recoveries, (unsigned long long)before, (unsigned long long)after,
           (unsigned long long)all_operations(), (unsigned long long)shared->reads, (unsigned long long)shared->hits,
           (unsigned long long)stats.evictions);
    if (!how->evicts)
        REQUIRE(stats.evictions == 0 && stats.items == there, "%s: %llu items, expected %llu; %llu evictions", how->name,
                (unsigned long long)stats.items, (unsigned long long)there, (unsigned long long)stats.evictions);
    millpond_close(mine);
    struct millpond_check check = support_require_whole(path);
    if (!how->evicts)
        REQUIRE(check.entries == there, "%s: the check counts %llu entries, expected %llu", how->name, (unsigned long long)check.entries,
                (unsigned long long)there);
    return 0;
}

static int small_values(void *arg) {
    (void)arg;
    static const struct setting how = {"small values", 16 << 20, 3000, false, false, 4000, 4};
    return run(&how);
}
static int large_values(void *arg) {
    (void)arg;
    static const struct setting how = {"large values", 256 << 20, 1 << 20, false, false, 8000, 4};
    return run(&how);
}
static int evicting(void *arg) {
    (void)arg;
    static const struct setting how = {"while evicting", 1 << 20, 30000, true, false, 4000, 4};
    return run(&how);
}
static int opening(void *arg) {
    (void)arg;
    static const struct setting how = {"while opening and closing", 16 << 20, 3000, false, true, 6000, 3};
    return run(&how);
}

/* ---- killed in the long calls ---- */

static int long_calls(void *arg) {
    unsigned kind = *(unsigned *)arg;
    struct millpond_check check;
    for (;;) {
        int result = MILLPOND_OK;
        if (kind == 0)
            result = millpond_clear(pond);
        else if (kind == 1)
            result = millpond_check(path, MILLPOND_CHECK_REPAIR, NULL, NULL, &check, NULL);
        else
            result = millpond_sync(pond);
        REQUIRE(result == MILLPOND_OK, "call %u: %d", kind, result);
    }
}

static int killed_in_long_calls(void *arg) {
    (void)arg;
    struct support_random random = support_seed("long calls");
    path = support_path("long.pond");
    pond = support_create(path, 4 << 20);
    char key[SUPPORT_KEY_BYTES + 1];
    for (unsigned round = 0; round < 240; round++) {
        unsigned kind = round % 3;
        pid_t child = support_fork(long_calls, &kind);
        support_sleep_us(200 + (unsigned)support_below(&random, 3000));
        support_kill(child);
        for (uint64_t i = 0; i < 300; i++) {
            support_key(key, i);
            REQUIRE(millpond_set(pond, key, SUPPORT_KEY_BYTES, key, SUPPORT_KEY_BYTES, 0) == MILLPOND_OK, "set after kill %u", round);
        }
        for (uint64_t i = 0; i < 300; i++) {
            support_key(key, i);
            REQUIRE(millpond_contains(pond, key, SUPPORT_KEY_BYTES) == MILLPOND_OK, "a key is gone after kill %u", round);
        }
        REQUIRE(support_require_whole(path).entries == 300, "entries after kill %u", round);
    }
    millpond_close(pond);
    return 0;
}

int main(int argc, char **argv) {
    static const struct support_case cases[] = {
        {"small values: nothing acknowledged is lost, nothing is half done", small_values, 60000},
        {"large values: nothing acknowledged is lost, nothing is half done", large_values, 60000},
        {"while evicting: what is there is right", evicting, 60000},
        {"while opening and closing: nothing acknowledged is lost", opening, 60000},
        {"killed in clear, check and sync: the next one goes on", killed_in_long_calls, 60000},
    };
    return support_run_cases(argc, argv, cases, sizeof cases / sizeof *cases);
}
