/* SPDX-License-Identifier: MIT */
/* Single flight: many processes want one key that is not there. However they come, wait, die, stop or change the key meanwhile, one loads
 * it at a time, nobody waits for the dead, and what is out of date is not stored. */

#include "shared.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CROWD     64
#define DEADLINE  20000 /* ms; for what should take some milliseconds */
#define LONG_LOAD 3000  /* ms: longer than anybody should wait here */

struct shared {
    uint64_t loads, loading, most, arrived, go, done, results[16];
    uint64_t leader; /* process that loads */
    uint64_t release;
};

static struct shared *shared;
static const char *path;

/* ---- loaders ---- */

static void load_begins(void) {
    uint64_t now = add(&shared->loading, 1);
    if (now > get(&shared->most)) put(&shared->most, now);
    put(&shared->leader, (uint64_t)getpid());
    add(&shared->loads, 1);
}

static int answer(struct millpond_load *load, const char *value) {
    load->value = strdup(value);
    load->value_bytes = strlen(value);
    load->release = free;
    add(&shared->loading, UINT64_MAX);
    return MILLPOND_OK;
}

static int load_in_50_ms(void *arg, const void *key, size_t key_bytes, struct millpond_load *load) {
    (void)arg, (void)key, (void)key_bytes;
    load_begins();
    support_sleep_ms(50);
    return answer(load, "loaded");
}

/* The first one never ends by itself; the later ones are quick. */
static int load_for_ever_once(void *arg, const void *key, size_t key_bytes, struct millpond_load *load) {
    (void)arg, (void)key, (void)key_bytes;
    load_begins();
    if (get(&shared->loads) == 1)
        while (!get(&shared->release)) support_sleep_ms(1);
    return answer(load, get(&shared->loads) == 1 ? "first" : "second");
}

static int fail_in_50_ms(void *arg, const void *key, size_t key_bytes, struct millpond_load *load) {
    (void)arg, (void)key, (void)key_bytes, (void)load;
    load_begins();
    support_sleep_ms(50);
    add(&shared->loading, UINT64_MAX);
    return LOADER_SAYS;
}

static int must_not_load(void *arg, const void *key, size_t key_bytes, struct millpond_load *load) {
    (void)arg, (void)key, (void)key_bytes, (void)load;
    REQUIRE(0, "the loader was called");
    return 0;
}

/* ---- one who fetches ---- */

static int fetch_once(void *arg) {
    struct millpond *pond = support_open(path, NULL);
    struct millpond_fetched how;
    add(&shared->arrived, 1);
    await(&shared->go, 1, "the start");
    int result = fetch_wanted(pond, arg, &how);
    add(&shared->results[result >= 0 ? result : 8 + (-result & 7)], 1);
    add(&shared->done, 1);
    millpond_close(pond);
    return 0;
}

static void crowd(pid_t *children, unsigned count, struct want *want) {
    for (unsigned i = 0; i < count; i++) children[i] = support_fork(fetch_once, want);
    await(&shared->arrived, count, "the crowd");
    put(&shared->go, 1);
}

static struct millpond *begin(const char *name) {
    shared = support_share(sizeof *shared);
    path = support_path("%s.pond", name);
    return support_create(path, 8 << 20);
}

/* ---- cases ---- */

static int one_loads_for_all(void *arg) {
    (void)arg;
    struct millpond *pond = begin("crowd");
    struct want want = {load_in_50_ms, {.ttl_ms = 3600000}, "loaded", 0};
    pid_t children[CROWD];
    crowd(children, CROWD, &want);
    all_well(children, CROWD, DEADLINE);
    struct millpond_stats stats = stats_of(pond);
    printf("  %d processes: %llu load, %llu waited\n", CROWD, (unsigned long long)get(&shared->loads),
           (unsigned long long)stats.flight_waits);
    REQUIRE(get(&shared->loads) == 1 && stats.flights == 1 && stats.flight_takeovers == 0, "%llu loads",
            (unsigned long long)get(&shared->loads));
    millpond_close(pond);
    support_require_whole(path);
    return 0;
}

/* Waits until somebody waits in a flight. */
static void await_waiters(struct millpond *pond, uint64_t count) {
    for (int i = 0; stats_of(pond).flight_waits < count; i++) {
        REQUIRE(i < 30000, "nobody waits");
        support_sleep_ms(1);
    }
}

static int killed_leader(void *arg) {
    (void)arg;
    uint64_t slowest = 0;
    for (int round = 0; round < 20; round++) {
        struct millpond *pond = begin("killed");
        struct want want = {load_for_ever_once, {.wait_ms = DEADLINE}, "second", 0};
        pid_t children[8];
        crowd(children, 8, &want);
        await_waiters(pond, 7);
        pid_t leader = (pid_t)get(&shared->leader);
        uint64_t start = support_now_ns();
        put(&shared->loading, 0);
        for (unsigned i = 0; i < 8; i++)
            if (children[i] == leader) {
                support_kill(leader);
                children[i] = children[7];
            }
        all_well(children, 7, DEADLINE);
        uint64_t took = support_now_ns() - start;
        slowest = took > slowest ? took : slowest;
        REQUIRE(get(&shared->loads) == 2 && get(&shared->most) == 1, "%llu loads, %llu at once", (unsigned long long)get(&shared->loads),
                (unsigned long long)get(&shared->most));
        REQUIRE(stats_of(pond).flight_takeovers == 1, "%llu takeovers", (unsigned long long)stats_of(pond).flight_takeovers);
        millpond_close(pond);
        support_require_whole(path);
        remove(path);
    }
    printf("  20 leaders killed: each time one of 7 took over; slowest all done after %.1f ms\n", (double)slowest * 1e-6);
    return 0;
}

static int killed_once_more(void *arg) {
    (void)arg;
    struct millpond *pond = begin("heirs");
    struct want want = {load_in_50_ms, {.wait_ms = DEADLINE}, "loaded", 0};
    pid_t children[12];
    unsigned killed = 0, left = 12;
    crowd(children, 12, &want);
    while (killed < 5 && !get(&shared->done)) {
        await(&shared->loads, killed + 1, "the next leader");
        pid_t leader = (pid_t)get(&shared->leader);
        for (unsigned i = 0; i < left; i++)
            if (children[i] == leader) {
                support_kill(leader);
                children[i] = children[--left];
                killed++;
                break;
            }
    }
    put(&shared->loading, 0);
    all_well(children, left, DEADLINE);
    printf("  %u leaders killed one after the other, %llu loads\n", killed, (unsigned long long)get(&shared->loads));
    REQUIRE(get(&shared->loads) == killed + 1, "%llu loads after %u kills", (unsigned long long)get(&shared->loads), killed);
    millpond_close(pond);
    support_require_whole(path);
    return 0;
}

static int stopped_leader(void *arg) {
    (void)arg;
    struct millpond *pond = begin("stopped");
    struct want want = {load_for_ever_once, {.wait_ms = 100}, NULL, 0};
    pid_t children[4];
    crowd(children, 4, &want);
    await(&shared->loads, 1, "the leader");
    pid_t leader = (pid_t)get(&shared->leader);
    support_stop(leader);
    await(&shared->done, 3, "those who wait");
    REQUIRE(get(&shared->results[8 + (-MILLPOND_ERR_TIMEOUT & 7)]) == 3 && get(&shared->loads) == 1, "not three timeouts");
    put(&shared->release, 1);
    kill(leader, SIGCONT);
    all_well(children, 4, DEADLINE);
    REQUIRE(get(&shared->results[MILLPOND_OK]) == 1, "the leader went on");
    millpond_close(pond);
    support_require_whole(path);
    return 0;
}

/* A leader that takes longer than load_max_ms, alive or stopped, is given up; what it loads later is not stored over the new value. */
static int late_leader(void *arg) {
    (void)arg;
    struct millpond *pond = begin("late");
    struct want want = {load_for_ever_once, {.wait_ms = DEADLINE, .load_max_ms = 300}, NULL, 0};
    pid_t children[4];
    char value[16];
    size_t bytes;
    crowd(children, 4, &want);
    await(&shared->done, 3, "those who wait");
    REQUIRE(get(&shared->loads) == 2 && get(&shared->results[MILLPOND_OK]) == 3, "%llu loads", (unsigned long long)get(&shared->loads));
    put(&shared->release, 1);
    all_well(children, 4, DEADLINE);
    REQUIRE(millpond_get(pond, "key", 3, value, sizeof value, &bytes) == MILLPOND_OK && bytes == 6 && memcmp(value, "second", 6) == 0,
            "the late one was stored");
    millpond_close(pond);
    support_require_whole(path);
    return 0;
}

static int stale_for_the_others(void *arg) {
    (void)arg;
    struct millpond *pond = begin("stale");
    struct millpond_set set = {.ttl_ms = 20, .grace_ms = 3600000};
    struct want want = {load_for_ever_once, {.wait_ms = DEADLINE}, NULL, 0};
    REQUIRE(millpond_set_ex(pond, "key", 3, "old", 3, &set) == MILLPOND_OK, "set");
    support_sleep_ms(60);
    pid_t children[8];
    crowd(children, 8, &want);
    await(&shared->done, 7, "those who take the old value");
    REQUIRE(get(&shared->results[MILLPOND_STALE]) == 7 && get(&shared->loads) == 1, "%llu stale, %llu loads",
            (unsigned long long)get(&shared->results[MILLPOND_STALE]), (unsigned long long)get(&shared->loads));
    REQUIRE(stats_of(pond).stale_served == 7, "counted %llu", (unsigned long long)stats_of(pond).stale_served);
    put(&shared->release, 1);
    all_well(children, 8, DEADLINE);
    REQUIRE(get(&shared->results[MILLPOND_OK]) == 1, "the one who loaded");
    millpond_close(pond);
    support_require_whole(path);
    return 0;
}

static int shared_failure(void *arg) {
    (void)arg;
    struct millpond *pond = begin("failure");
    struct want want = {fail_in_50_ms, {.wait_ms = DEADLINE}, NULL, 0};
    pid_t children[8];
    crowd(children, 8, &want);
    all_well(children, 8, DEADLINE);
    REQUIRE(get(&shared->results[8 + (-MILLPOND_ERR_LOADER & 7)]) == 8 && get(&shared->loads) == 1, "%llu loads",
            (unsigned long long)get(&shared->loads));
    millpond_close(pond);
    pond = begin("failures");
    want.options.flags = MILLPOND_FETCH_OWN_ERRORS;
    crowd(children, 8, &want);
    all_well(children, 8, DEADLINE);
    REQUIRE(get(&shared->loads) == 8 && get(&shared->most) == 1, "%llu loads, %llu at once", (unsigned long long)get(&shared->loads),
            (unsigned long long)get(&shared->most));
    millpond_close(pond);
    return 0;
}

/* ---- changed meanwhile ---- */

enum change { DELETE, SET, CLEAR, INCR, CHANGES };

static int changed_during_load(void *arg) {
    (void)arg;
    for (enum change change = 0; change < CHANGES; change++) {
        struct millpond *pond = begin("changed");
        struct want want = {load_for_ever_once, {.ttl_ms = 3600000}, "second", 0};
        pid_t child, others[3];
        char value[32];
        size_t bytes = 0;
        int64_t number;
        const struct millpond_incr create = {.initial = 4};
        crowd(&child, 1, &(struct want){load_for_ever_once, {.ttl_ms = 3600000}, "first", 0});
        await(&shared->loads, 1, "the leader");
        switch (change) {
        case DELETE: REQUIRE(millpond_delete(pond, "key", 3) == MILLPOND_MISS, "delete"); break;
        case SET: REQUIRE(millpond_set(pond, "key", 3, "newer", 5, 0) == MILLPOND_OK, "set"); break;
        case INCR: REQUIRE(millpond_incr(pond, "key", 3, 1, &create, &number) == MILLPOND_OK, "incr"); break;
        default: REQUIRE(millpond_clear(pond) == MILLPOND_OK, "clear"); break;
        }
        if (change == DELETE || change == CLEAR) { /* who comes now does not wait for what is out of date */
            put(&shared->arrived, 0);
            crowd(others, 3, &want);
            all_well(others, 3, DEADLINE);
            REQUIRE(get(&shared->loads) == 2, "%llu loads", (unsigned long long)get(&shared->loads));
        }
        put(&shared->loads, 1); /* for what the first one answers */
        put(&shared->release, 1);
        all_well(&child, 1, DEADLINE);
        const char *expect = change == SET ? "newer" : change == INCR ? "5" : "second";
        int result = millpond_get(pond, "key", 3, value, sizeof value, &bytes);
        REQUIRE(result == MILLPOND_OK && bytes == strlen(expect) && memcmp(value, expect, bytes) == 0, "after change %d: %d %.*s",
                (int)change, result, (int)bytes, value);
        REQUIRE(stats_of(pond).flights_revoked == 1, "revoked %llu", (unsigned long long)stats_of(pond).flights_revoked);
        millpond_close(pond);
        support_require_whole(path);
        remove(path);
    }
    return 0;
}

/* ---- leases ---- */

static int hold_lease(void *arg) {
    const struct millpond_fetch *options = arg;
    struct millpond *pond = support_open(path, NULL);
    struct millpond_lease lease;
    int result = millpond_lease_acquire(pond, "key", 3, options, NULL, 0, NULL, &lease);
    REQUIRE(result == MILLPOND_MISS && lease.state == MILLPOND_LEASE_WON, "acquire: %d %u", result, lease.state);
    put(&shared->leader, (uint64_t)getpid());
    for (;;) support_sleep_ms(100);
}

static int killed_lease_holder(void *arg) {
    (void)arg;
    struct millpond *pond = begin("lease");
    struct want want = {load_in_50_ms, {.wait_ms = DEADLINE}, "loaded", 0};
    pid_t holder = support_fork(hold_lease, NULL), children[6];
    await(&shared->leader, 1, "the holder");
    struct millpond_lease lease;
    REQUIRE(millpond_lease_acquire(pond, "key", 3, NULL, NULL, 0, NULL, &lease) == MILLPOND_MISS && lease.state == MILLPOND_LEASE_BUSY,
            "a second lease");
    REQUIRE(millpond_lease_wait(pond, &lease, 0, NULL) == MILLPOND_ERR_TIMEOUT, "wait");
    crowd(children, 6, &want);
    await_waiters(pond, 7);
    support_kill(holder);
    REQUIRE(millpond_lease_wait(pond, &lease, DEADLINE, NULL) == MILLPOND_OK, "wait for a dead one");
    all_well(children, 6, DEADLINE);
    REQUIRE(get(&shared->loads) == 1, "%llu loads", (unsigned long long)get(&shared->loads));
    millpond_close(pond);
    support_require_whole(path);
    return 0;
}

static int detached_lease(void *arg) {
    (void)arg;
    struct millpond *pond = begin("detached");
    struct millpond_fetch detached = {.flags = MILLPOND_LEASE_DETACHED, .load_max_ms = 400};
    struct millpond_lease lease;
    pid_t holder = support_fork(hold_lease, &detached);
    await(&shared->leader, 1, "the holder");
    support_kill(holder);
    REQUIRE(millpond_lease_acquire(pond, "key", 3, NULL, NULL, 0, NULL, &lease) == MILLPOND_MISS && lease.state == MILLPOND_LEASE_BUSY,
            "it ended with its holder");
    REQUIRE(millpond_lease_wait(pond, &lease, DEADLINE, NULL) == MILLPOND_OK, "the deadline");
    REQUIRE(millpond_lease_acquire(pond, "key", 3, NULL, NULL, 0, NULL, &lease) == MILLPOND_MISS && lease.state == MILLPOND_LEASE_WON,
            "it did not end at its deadline");
    millpond_close(pond);
    return 0;
}

/* A lease is bytes: another process fills it. */
static int fill_it(void *arg) {
    struct millpond_lease *lease = arg;
    struct millpond *pond = support_open(path, NULL);
    int result = millpond_lease_fill(pond, lease, "key", 3, "filled", 6, NULL);
    millpond_close(pond);
    return result;
}

static int lease_is_sent(void *arg) {
    (void)arg;
    struct millpond *pond = begin("sent");
    struct millpond_lease *lease = support_share(sizeof *lease), copy;
    struct want want = {must_not_load, {.wait_ms = DEADLINE}, "filled", 0};
    pid_t children[4];
    REQUIRE(millpond_lease_acquire(pond, "key", 3, NULL, NULL, 0, NULL, lease) == MILLPOND_MISS && lease->state == MILLPOND_LEASE_WON,
            "acquire");
    copy = *lease;
    crowd(children, 4, &want);
    await_waiters(pond, 4);
    REQUIRE(support_run_child(fill_it, lease, DEADLINE) == MILLPOND_OK, "fill by another process");
    all_well(children, 4, DEADLINE);
    REQUIRE(millpond_lease_fill(pond, &copy, "key", 3, "again", 5, NULL) == MILLPOND_CHANGED, "a second fill");
    millpond_close(pond);
    support_require_whole(path);
    return 0;
}

/* ---- more keys than places ---- */

static int fetch_own_key(void *arg) {
    struct millpond *pond = support_open(path, NULL);
    char key[SUPPORT_KEY_BYTES + 1], value[16];
    size_t bytes;
    struct millpond_fetched how;
    support_key(key, (uint64_t)(uintptr_t)arg);
    int result = millpond_fetch(pond, key, SUPPORT_KEY_BYTES, load_in_50_ms, NULL, NULL, value, sizeof value, &bytes, &how);
    REQUIRE(result == MILLPOND_OK && bytes == 6 && memcmp(value, "loaded", 6) == 0, "fetch: %d", result);
    add(&shared->results[how.how], 1);
    millpond_close(pond);
    return 0;
}

static int more_keys_than_places(void *arg) {
    (void)arg;
    shared = support_share(sizeof *shared);
    path = support_path("many.pond");
    struct millpond *pond = support_create(path, 64 << 10);
    pid_t children[24];
    for (uintptr_t i = 0; i < 24; i++) {
        void *number = NULL;
        memcpy(&number, &i, sizeof i);
        children[i] = support_fork(fetch_own_key, number);
    }
    all_well(children, 24, DEADLINE);
    struct millpond_stats stats = stats_of(pond);
    printf("  24 keys, 4 places: %llu stored, %llu loaded alone\n", (unsigned long long)get(&shared->results[MILLPOND_HOW_LOADED]),
           (unsigned long long)get(&shared->results[MILLPOND_HOW_ALONE]));
    REQUIRE(get(&shared->loads) == 24 && stats.flights_full == get(&shared->results[MILLPOND_HOW_ALONE]), "counts");
    REQUIRE(stats.flights == get(&shared->results[MILLPOND_HOW_LOADED]), "flights");
    millpond_close(pond);
    support_require_whole(path);
    return 0;
}

/* ---- fork inside a loader ---- */

static int fork_and_load(void *arg, const void *key, size_t key_bytes, struct millpond_load *load) {
    (void)key, (void)key_bytes;
    pid_t *child = arg;
    load_begins();
    *child = fork();
    return answer(load, *child == 0 ? "child" : "parent");
}

static int fork_inside_a_loader(void *arg) {
    (void)arg;
    struct millpond *pond = begin("forked");
    pid_t child = -1;
    char value[16];
    size_t bytes = 0;
    struct millpond_fetched how;
    int result = millpond_fetch(pond, "key", 3, fork_and_load, &child, NULL, value, sizeof value, &bytes, &how);
    if (child == 0) { /* its value is its own; it goes on using the pond */
        int right = result == MILLPOND_OK && bytes == 5 && memcmp(value, "child", 5) == 0 && how.how == MILLPOND_HOW_ALONE;
        result = millpond_fetch(pond, "other", 5, load_in_50_ms, NULL, NULL, value, sizeof value, &bytes, &how);
        _exit(right && result == MILLPOND_OK && how.how == MILLPOND_HOW_LOADED ? 0 : 1);
    }
    REQUIRE(result == MILLPOND_OK && how.how == MILLPOND_HOW_LOADED && bytes == 6, "parent: %d", result);
    REQUIRE(support_wait(child, DEADLINE) == 0, "child");
    result = millpond_get(pond, "key", 3, value, sizeof value, &bytes);
    REQUIRE(result == MILLPOND_OK && bytes == 6 && memcmp(value, "parent", 6) == 0, "the child stored its value");
    millpond_close(pond);
    support_require_whole(path);
    return 0;
}

static int load_until_killed(void *arg) {
    (void)arg;
    struct millpond *pond = support_open(path, NULL);
    millpond_fetch(pond, "key", 3, load_for_ever_once, NULL, NULL, NULL, 0, NULL, NULL);
    return 0;
}

static int several_namespaces(void *arg) {
    (void)arg;
    shared = support_share(sizeof *shared);
    path = support_path("gate.pond");
    struct millpond_options options = MILLPOND_OPTIONS_INIT;
    options.size_bytes = 8 << 20;
    options.flags = MILLPOND_CREATE | MILLPOND_NAMESPACES;
    struct millpond *pond = support_open(path, &options);
    struct want want = {load_for_ever_once, {.wait_ms = DEADLINE}, "second", 0};
    pid_t victim = support_fork(load_until_killed, NULL), children[8];
    await(&shared->loads, 1, "the leader");
    crowd(children, 8, &want);
    await_waiters(pond, 8);
    support_kill(victim);
    all_well(children, 8, DEADLINE);
    REQUIRE(get(&shared->loads) == 2, "%llu loads", (unsigned long long)get(&shared->loads));
    millpond_close(pond);
    support_require_whole(path);
    return 0;
}

/* ---- everything at once ---- */

#define STORM_KEYS 24

struct storm {
    uint64_t floor[STORM_KEYS]; /* no value below this may be seen by a call that begins now */
    uint64_t source[STORM_KEYS];
    int stop;
};
static struct storm *storm;

static int load_source(void *arg, const void *key, size_t key_bytes, struct millpond_load *load) {
    (void)key, (void)key_bytes;
    uint64_t *value = malloc(sizeof *value);
    REQUIRE(value, "no memory");
    *value = get(arg);
    support_sleep_us(300);
    load->value = value;
    load->value_bytes = sizeof *value;
    load->release = free;
    return MILLPOND_OK;
}

/* Changes the source, then deletes the key: from then on nobody may see the older one. */
static int storm_worker(void *arg) {
    struct support_random random = {support_now_ns() ^ (uintptr_t)&random ^ (uint64_t)getpid() << 20};
    struct millpond *pond = support_open(path, NULL);
    struct millpond_fetch options = {.ttl_ms = 1 + (uintptr_t)arg % 2 * 20, .wait_ms = DEADLINE};
    while (!__atomic_load_n(&storm->stop, __ATOMIC_RELAXED)) {
        uint64_t k = support_below(&random, STORM_KEYS), value = 0;
        char key[SUPPORT_KEY_BYTES + 1];
        size_t bytes = 0;
        support_key(key, k);
        if (support_below(&random, 10) == 0) {
            uint64_t fresh = add(&storm->source[k], 1);
            int result = millpond_delete(pond, key, SUPPORT_KEY_BYTES);
            REQUIRE(result == MILLPOND_OK || result == MILLPOND_MISS, "delete: %d", result);
            for (uint64_t old = get(&storm->floor[k]); old < fresh;)
                if (__atomic_compare_exchange_n(&storm->floor[k], &old, fresh, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) break;
        } else {
            uint64_t floor = get(&storm->floor[k]);
            int result =
                millpond_fetch(pond, key, SUPPORT_KEY_BYTES, load_source, &storm->source[k], &options, &value, sizeof value, &bytes, NULL);
            REQUIRE(result == MILLPOND_OK && bytes == sizeof value, "fetch: %d", result);
            REQUIRE(value >= floor, "key %llu: %llu after %llu was deleted", (unsigned long long)k, (unsigned long long)value,
                    (unsigned long long)floor);
            add(&shared->done, 1);
        }
    }
    millpond_close(pond);
    return 0;
}

static int storm_of_kills(void *arg) {
    (void)arg;
    struct millpond *pond = begin("storm");
    storm = support_share(sizeof *storm);
    struct support_random random = support_seed("storm");
    pid_t workers[6];
    unsigned kills = 0;
    uint64_t until = support_now_ns() + UINT64_C(3) * 1000000000;
    for (uintptr_t i = 0; i < 6; i++) workers[i] = support_fork(storm_worker, (void *)(uintptr_t)i);
    for (; support_now_ns() < until; kills++) {
        size_t i = support_below(&random, 6);
        support_sleep_us(1000 + (unsigned)support_below(&random, 20000));
        support_kill(workers[i]);
        workers[i] = support_fork(storm_worker, (void *)(uintptr_t)i);
    }
    __atomic_store_n(&storm->stop, 1, __ATOMIC_RELAXED);
    all_well(workers, 6, DEADLINE);
    struct millpond_stats stats = stats_of(pond);
    printf("  %u kills, %llu fetches, %llu flights, %llu waits, %llu takeovers, %llu revoked\n", kills,
           (unsigned long long)get(&shared->done), (unsigned long long)stats.flights, (unsigned long long)stats.flight_waits,
           (unsigned long long)stats.flight_takeovers, (unsigned long long)stats.flights_revoked);
    REQUIRE(stats.flight_takeovers > 0 && stats.flights_revoked > 0 && stats.flight_waits > 0, "nothing happened");
    millpond_close(pond);
    support_require_whole(path);
    return 0;
}

int main(int argc, char **argv) {
    static const struct support_case cases[] = {
        {"of 64 processes one loads", one_loads_for_all, 60000},
        {"a killed leader has one heir, at once", killed_leader, 120000},
        {"heirs that are killed have heirs", killed_once_more, 60000},
        {"a stopped leader costs those who wait their deadline", stopped_leader, 60000},
        {"a leader that is late is given up", late_leader, 60000},
        {"one loads again while the others take the old value", stale_for_the_others, 60000},
        {"a failure is shared, or everybody tries", shared_failure, 60000},
        {"what was changed during a load is not overwritten by it", changed_during_load, 60000},
        {"a killed holder's lease falls", killed_lease_holder, 60000},
        {"a detached lease ends at its deadline", detached_lease, 60000},
        {"a lease is filled by another process", lease_is_sent, 60000},
        {"more keys than places", more_keys_than_places, 60000},
        {"the child of a loader's fork leads nothing", fork_inside_a_loader, 60000},
        {"in a file for several PID namespaces", several_namespaces, 60000},
        {"kills and deletes among fetches: nothing older than a delete", storm_of_kills, 120000},
    };
    return support_run_cases(argc, argv, cases, sizeof cases / sizeof *cases);
}
