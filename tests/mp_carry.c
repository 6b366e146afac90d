/* SPDX-License-Identifier: MIT */
/* Loads that are under way while another file takes the place of theirs (K1 to K5 in lib/flight.c): what was begun in the old file is
 * waited for, stored, revoked and taken over in the new one, and one loads for all. */

#include "shared.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DEADLINE 20000 /* ms; for what should take some milliseconds */

/* Between the processes of a case. */
struct shared {
    uint64_t loads, loading, most, waiting, done, release, leader, stored;
};

static struct shared *shared;
static const char *path;
static struct millpond *pond;

static void begin(const char *name) {
    shared = support_share(sizeof *shared);
    path = support_path("%s.pond", name);
    pond = support_create(path, 8 << 20);
}

static void finish(void) {
    millpond_close(pond);
    support_require_whole(path);
    remove(path);
}

static int resize_alone(void *arg) {
    char errmsg[MILLPOND_ERRMSG_BYTES] = "";
    struct millpond *own = support_open(path, NULL);
    int result = millpond_resize(own, *(uint64_t *)arg, errmsg);
    REQUIRE(result == MILLPOND_OK, "resize: %d: %s", result, errmsg);
    millpond_close(own);
    return 0;
}

/* By a process of its own, as the command does it. */
static void resize_to(uint64_t bytes) { REQUIRE(support_run_child(resize_alone, &bytes, 60000) == 0, "the resizer"); }

static int value_is(const char *expect) {
    char value[32];
    size_t bytes = 0;
    return millpond_get(pond, "key", 3, value, sizeof value, &bytes) == MILLPOND_OK && bytes == strlen(expect) &&
           memcmp(value, expect, bytes) == 0;
}

/* ---- who loads ---- */

/* The first one waits until it is told; those behind it are quick. Each says which it is. */
static int load_when_told(void *arg, const void *key, size_t key_bytes, struct millpond_load *load) {
    static const char *const names[] = {"none", "first", "second", "third", "fourth"};
    (void)arg, (void)key, (void)key_bytes;
    uint64_t now = add(&shared->loading, 1), number = add(&shared->loads, 1);
    if (now > get(&shared->most)) put(&shared->most, now);
    put(&shared->leader, (uint64_t)getpid());
    if (number == 1)
        while (!get(&shared->release)) support_sleep_ms(1);
    load->value = strdup(names[number < 4 ? number : 4]);
    load->value_bytes = strlen(load->value);
    load->release = free;
    add(&shared->loading, UINT64_MAX);
    return MILLPOND_OK;
}

static int nothing_when_told(void *arg, const void *key, size_t key_bytes, struct millpond_load *load) {
    (void)arg, (void)key, (void)key_bytes, (void)load;
    add(&shared->loads, 1);
    while (!get(&shared->release)) support_sleep_ms(1);
    return MILLPOND_MISS;
}

static int fail_when_told(void *arg, const void *key, size_t key_bytes, struct millpond_load *load) {
    (void)arg, (void)key, (void)key_bytes, (void)load;
    add(&shared->loads, 1);
    while (!get(&shared->release)) support_sleep_ms(1);
    return LOADER_SAYS;
}

static int fetch_once(void *arg) {
    struct millpond *own = support_open(path, NULL);
    struct millpond_fetched how;
    add(&shared->waiting, 1);
    fetch_wanted(own, arg, &how);
    add(&shared->stored, how.how == MILLPOND_HOW_LOADED);
    add(&shared->done, 1);
    millpond_close(own);
    return 0;
}

/* A leader that is in its loader, and so many who wait for it. */
static void leader_and_waiters(pid_t *children, unsigned waiters, struct want *want) {
    uint64_t before = stats_of(pond).flight_waits;
    children[0] = support_fork(fetch_once, want);
    await(&shared->loads, 1, "the leader");
    for (unsigned i = 1; i <= waiters; i++) children[i] = support_fork(fetch_once, want);
    for (int i = 0; stats_of(pond).flight_waits < before + waiters; i++) {
        REQUIRE(i < 30000, "nobody waits");
        support_sleep_ms(1);
    }
}

/* Those who come to the new file find the load under way there. */
static void newcomers(pid_t *children, unsigned count, struct want *want) {
    uint64_t before = stats_of(pond).flight_waits;
    for (unsigned i = 0; i < count; i++) children[i] = support_fork(fetch_once, want);
    for (int i = 0; stats_of(pond).flight_waits < before + count; i++) {
        REQUIRE(i < 30000 && get(&shared->loads) == 1, "newcomers do not wait: %llu loads", (unsigned long long)get(&shared->loads));
        support_sleep_ms(1);
    }
}

/* ---- one loads for all ---- */

static int one_loads_across(void *arg) {
    (void)arg;
    begin("one");
    struct want want = {load_when_told, {.ttl_ms = 3600000, .wait_ms = DEADLINE}, "first", 0};
    pid_t children[13];
    leader_and_waiters(children, 6, &want);
    resize_to(16 << 20);
    REQUIRE(millpond_set(pond, "other", 5, "x", 1, 0) == MILLPOND_OK, "set"); /* another key does not revoke it */
    newcomers(children + 7, 3, &want);
    resize_to(4 << 20);
    REQUIRE(millpond_set(pond, "other", 5, "y", 1, 0) == MILLPOND_OK, "set");
    newcomers(children + 10, 3, &want);
    put(&shared->release, 1);
    all_well(children, 13, DEADLINE);
    REQUIRE(get(&shared->loads) == 1 && get(&shared->stored) == 1, "%llu loads, %llu stored", (unsigned long long)get(&shared->loads),
            (unsigned long long)get(&shared->stored));
    uint64_t ttl;
    REQUIRE(value_is("first") && millpond_ttl(pond, "key", 3, &ttl) == MILLPOND_OK && ttl > 3000000, "not stored in the new file");
    finish();
    return 0;
}

/* Nobody has the new file open for a while: the first one who opens it finds the load of a process that has only the old one. */
static int nobody_there_for_a_while(void *arg) {
    (void)arg;
    begin("alone");
    struct want want = {load_when_told, {.wait_ms = DEADLINE}, "first", 0};
    pid_t children[3];
    leader_and_waiters(children, 0, &want);
    millpond_close(pond);
    resize_to(16 << 20);
    pond = support_open(path, NULL);
    newcomers(children + 1, 2, &want);
    put(&shared->release, 1);
    all_well(children, 3, DEADLINE);
    REQUIRE(get(&shared->loads) == 1 && value_is("first"), "%llu loads", (unsigned long long)get(&shared->loads));
    finish();
    return 0;
}

static int nothing_and_failure(void *arg) {
    (void)arg;
    pid_t children[4];
    begin("nothing");
    REQUIRE(millpond_set_ex(pond, "key", 3, "old", 3, &(struct millpond_set){.ttl_ms = 1, .grace_ms = 3600000}) == MILLPOND_OK, "set");
    support_sleep_ms(30);
    struct want nothing = {
        nothing_when_told, {.negative_ttl_ms = 3600000, .wait_ms = DEADLINE, .flags = MILLPOND_FETCH_FRESH}, NULL, MILLPOND_MISS};
    leader_and_waiters(children, 2, &nothing);
    resize_to(16 << 20);
    newcomers(children + 3, 1, &nothing);
    put(&shared->release, 1);
    all_well(children, 4, DEADLINE);
    REQUIRE(get(&shared->loads) == 1 && get(&shared->stored) == 1 && millpond_get_stale(pond, "key", 3, NULL, 0, NULL) == MILLPOND_MISS,
            "that there is nothing is not known in the new file");
    finish();
    begin("failure");
    struct want failure = {fail_when_told, {.wait_ms = DEADLINE}, NULL, MILLPOND_ERR_LOADER};
    leader_and_waiters(children, 0, &failure);
    resize_to(16 << 20);
    newcomers(children + 1, 3, &failure);
    put(&shared->release, 1);
    all_well(children, 4, DEADLINE);
    REQUIRE(get(&shared->loads) == 1, "%llu loads", (unsigned long long)get(&shared->loads));
    finish();
    return 0;
}

/* ---- the leader dies ---- */

static int killed_behind_the_hand_over(void *arg) {
    (void)arg;
    for (int round = 0; round < 10; round++) {
        begin("killed");
        struct want want = {load_when_told, {.wait_ms = DEADLINE}, "second", 0};
        pid_t children[7];
        leader_and_waiters(children, 3, &want);
        resize_to(round % 2 ? 16 << 20 : 4 << 20);
        newcomers(children + 4, 3, &want);
        put(&shared->loading, 0);
        /* Not waited for: a dead process that nobody has asked about is dead all the same. */
        if (round % 3 == 0) kill((pid_t)get(&shared->leader), SIGKILL);
        if (round % 3 != 0) support_kill((pid_t)get(&shared->leader));
        all_well(children + 1, 6, DEADLINE);
        if (round % 3 == 0) REQUIRE(support_wait(children[0], DEADLINE) == -SIGKILL, "the leader");
        REQUIRE(get(&shared->loads) == 2 && get(&shared->most) == 1, "%llu loads, %llu at once", (unsigned long long)get(&shared->loads),
                (unsigned long long)get(&shared->most));
        REQUIRE(stats_of(pond).flight_takeovers == 1, "%llu takeovers", (unsigned long long)stats_of(pond).flight_takeovers);
        finish();
    }
    return 0;
}

/* ---- the key is changed ---- */

enum change { DELETE, SET, INCR, CLEAR, CHANGES };

static void make_change(enum change change) {
    const struct millpond_incr create = {.initial = 4};
    int64_t number;
    switch (change) {
    case DELETE: REQUIRE(millpond_delete(pond, "key", 3) == MILLPOND_MISS, "delete"); break;
    case SET: REQUIRE(millpond_set(pond, "key", 3, "newer", 5, 0) == MILLPOND_OK, "set"); break;
    case INCR: REQUIRE(millpond_incr(pond, "key", 3, 1, &create, &number) == MILLPOND_OK, "incr"); break;
    default: REQUIRE(millpond_clear(pond) == MILLPOND_OK, "clear"); break;
    }
}

/* Before the hand-over, behind it, and between two of them. */
static int changed_meanwhile(void *arg) {
    (void)arg;
    for (enum change change = 0; change < CHANGES; change++)
        for (int when = 0; when < 3; when++) {
            begin("changed");
            struct want want = {load_when_told, {.wait_ms = DEADLINE}, "first", 0};
            pid_t child;
            leader_and_waiters(&child, 0, &want);
            if (when == 0) make_change(change);
            resize_to(16 << 20);
            if (when > 0) make_change(change);
            if (when == 2) resize_to(8 << 20);
            put(&shared->release, 1);
            all_well(&child, 1, DEADLINE);
            REQUIRE(get(&shared->stored) == 0, "stored over change %d (%d)", (int)change, when);
            if (change == DELETE || change == CLEAR)
                REQUIRE(millpond_contains(pond, "key", 3) == MILLPOND_MISS, "stored behind change %d (%d)", (int)change, when);
            else
                REQUIRE(value_is(change == SET ? "newer" : "5"), "stored over change %d (%d)", (int)change, when);
            finish();
        }
    return 0;
}

/* Another pond under the same name is not the successor: there nobody has heard of the load. */
static int made_anew(void *arg) {
    (void)arg;
    struct millpond_options follow = MILLPOND_OPTIONS_INIT;
    follow.flags = MILLPOND_FOLLOW;
    begin("anew");
    struct millpond_lease old, fresh;
    struct millpond *follower = support_open(path, &follow);
    REQUIRE(millpond_lease_acquire(follower, "key", 3, NULL, NULL, 0, NULL, &old) == MILLPOND_MISS && old.state == MILLPOND_LEASE_WON,
            "a lease");
    REQUIRE(unlink(path) == 0, "unlink");
    struct millpond *other = support_create(path, 8 << 20);
    REQUIRE(millpond_lease_acquire(other, "key", 3, NULL, NULL, 0, NULL, &fresh) == MILLPOND_MISS && fresh.state == MILLPOND_LEASE_WON,
            "a lease of the new one");
    REQUIRE(fresh.token == old.token, "the tokens are meant to be equal");
    REQUIRE(millpond_follow(follower) == MILLPOND_OK, "follow");
    REQUIRE(millpond_lease_fill(follower, &old, "key", 3, "old", 3, NULL) == MILLPOND_CHANGED, "a lease of another pond was filled");
    REQUIRE(old.state == MILLPOND_LEASE_NONE, "it is still held");
    REQUIRE(millpond_lease_fill(follower, &fresh, "key", 3, "new", 3, NULL) == MILLPOND_OK, "the one of this pond");
    millpond_close(follower);
    millpond_close(other);
    millpond_close(pond);
    return 0;
}

/* ---- leases ---- */

static int hold_lease(void *arg) {
    struct millpond *own = support_open(path, NULL);
    struct millpond_lease *lease = arg;
    int result = millpond_lease_acquire(own, "key", 3, NULL, NULL, 0, NULL, lease);
    REQUIRE(result == MILLPOND_MISS && lease->state == MILLPOND_LEASE_WON, "acquire: %d %u", result, lease->state);
    put(&shared->leader, (uint64_t)getpid());
    for (;;) support_sleep_ms(100);
}

static int fill_elsewhere(void *arg) {
    struct millpond *own = support_open(path, NULL); /* never had the old file */
    REQUIRE(millpond_lease_fill(own, arg, "other", 5, "x", 1, NULL) == MILLPOND_ERR_ARGUMENT, "filled under another key");
    int result = millpond_lease_fill(own, arg, "key", 3, "filled", 6, NULL);
    millpond_close(own);
    return result;
}

static int leases(void *arg) {
    (void)arg;
    struct want want = {load_when_told, {.wait_ms = DEADLINE}, "filled", 0};
    pid_t children[2];
    struct millpond_lease busy, copy;
    begin("lease");
    struct millpond_lease *lease = support_share(sizeof *lease);
    pid_t holder = support_fork(hold_lease, lease);
    await(&shared->leader, 1, "the holder");
    REQUIRE(millpond_lease_acquire(pond, "key", 3, NULL, NULL, 0, NULL, &busy) == MILLPOND_MISS && busy.state == MILLPOND_LEASE_BUSY,
            "a second lease");
    resize_to(16 << 20);
    REQUIRE(millpond_lease_wait(pond, &busy, DEADLINE, NULL) == MILLPOND_OK, "who waited in the old file is to look again");
    REQUIRE(millpond_lease_acquire(pond, "key", 3, NULL, NULL, 0, NULL, &busy) == MILLPOND_MISS && busy.state == MILLPOND_LEASE_BUSY,
            "the lease did not go along");
    REQUIRE(millpond_lease_wait(pond, &busy, 0, NULL) == MILLPOND_ERR_TIMEOUT, "wait");
    copy = *lease;
    uint64_t before = stats_of(pond).flight_waits;
    for (int i = 0; i < 2; i++) children[i] = support_fork(fetch_once, &want);
    for (int i = 0; stats_of(pond).flight_waits < before + 2 && i < 30000; i++) support_sleep_ms(1);
    REQUIRE(support_run_child(fill_elsewhere, lease, DEADLINE) == MILLPOND_OK, "fill by another process, in the new file");
    all_well(children, 2, DEADLINE);
    REQUIRE(get(&shared->loads) == 0, "%llu loads", (unsigned long long)get(&shared->loads));
    REQUIRE(millpond_lease_fill(pond, &copy, "key", 3, "again", 5, NULL) == MILLPOND_CHANGED, "a second fill");
    support_kill(holder);
    finish();
    return 0;
}

static int killed_lease_holder(void *arg) {
    (void)arg;
    begin("holder");
    struct millpond_lease *lease = support_share(sizeof *lease), next;
    pid_t holder = support_fork(hold_lease, lease);
    await(&shared->leader, 1, "the holder");
    resize_to(16 << 20);
    REQUIRE(millpond_lease_acquire(pond, "key", 3, NULL, NULL, 0, NULL, &next) == MILLPOND_MISS && next.state == MILLPOND_LEASE_BUSY,
            "the lease did not go along");
    support_kill(holder);
    REQUIRE(millpond_lease_wait(pond, &next, DEADLINE, NULL) == MILLPOND_OK, "wait for a dead one");
    REQUIRE(millpond_lease_acquire(pond, "key", 3, NULL, NULL, 0, NULL, &next) == MILLPOND_MISS && next.state == MILLPOND_LEASE_WON,
            "it did not end with its holder");
    REQUIRE(millpond_lease_fill(pond, lease, "key", 3, "late", 4, NULL) == MILLPOND_CHANGED, "the dead one's lease was filled");
    REQUIRE(millpond_lease_abandon(pond, &next, "key", 3, 0) == MILLPOND_OK, "abandon");
    finish();
    return 0;
}

static int detached_lease(void *arg) {
    (void)arg;
    struct millpond_fetch detached = {.flags = MILLPOND_LEASE_DETACHED, .load_max_ms = 1500};
    struct millpond_lease first, next;
    begin("detached");
    REQUIRE(millpond_lease_acquire(pond, "key", 3, &detached, NULL, 0, NULL, &first) == MILLPOND_MISS && first.state == MILLPOND_LEASE_WON,
            "acquire");
    resize_to(16 << 20);
    REQUIRE(millpond_lease_acquire(pond, "key", 3, NULL, NULL, 0, NULL, &next) == MILLPOND_MISS, "acquire");
    if (next.state == MILLPOND_LEASE_BUSY) {
        REQUIRE(millpond_lease_wait(pond, &next, DEADLINE, NULL) == MILLPOND_OK, "the deadline");
        REQUIRE(millpond_lease_acquire(pond, "key", 3, NULL, NULL, 0, NULL, &next) == MILLPOND_MISS, "acquire");
    }
    REQUIRE(next.state == MILLPOND_LEASE_WON, "it did not end at its deadline");
    REQUIRE(millpond_lease_fill(pond, &first, "key", 3, "late", 4, NULL) == MILLPOND_CHANGED, "filled behind its deadline");
    finish();
    return 0;
}

/* ---- loaders that do it themselves ---- */

static int resize_and_ask(void *arg, const void *key, size_t key_bytes, struct millpond_load *load) {
    char errmsg[MILLPOND_ERRMSG_BYTES];
    (void)arg;
    REQUIRE(millpond_resize(pond, 12 << 20, errmsg) == MILLPOND_OK, "%s", errmsg);
    struct millpond_fetch soon = {.wait_ms = DEADLINE};
    REQUIRE(millpond_fetch(pond, key, key_bytes, load_when_told, NULL, &soon, NULL, 0, NULL, NULL) == MILLPOND_ERR_NESTED,
            "a loader waits for itself");
    load->value = strdup("resized");
    load->value_bytes = 7;
    load->release = free;
    return MILLPOND_OK;
}

static int a_loader_resizes(void *arg) {
    (void)arg;
    begin("nested");
    struct millpond_fetched how;
    char value[16];
    REQUIRE(millpond_fetch(pond, "key", 3, resize_and_ask, NULL, NULL, value, sizeof value, NULL, &how) == MILLPOND_OK, "fetch");
    REQUIRE(how.how == MILLPOND_HOW_LOADED && value_is("resized"), "not stored");
    finish();
    return 0;
}

/* Where thread numbers say nothing a load is begun anew, and the first one's value is not stored. */
static int several_namespaces(void *arg) {
    (void)arg;
    shared = support_share(sizeof *shared);
    path = support_path("namespaces.pond");
    struct millpond_options options = MILLPOND_OPTIONS_INIT;
    options.size_bytes = 8 << 20;
    options.flags = MILLPOND_CREATE | MILLPOND_NAMESPACES;
    pond = support_open(path, &options);
    struct want first = {load_when_told, {.wait_ms = DEADLINE}, "first", 0}, second = first;
    second.expect = "second";
    pid_t children[2];
    leader_and_waiters(children, 0, &first);
    resize_to(16 << 20);
    children[1] = support_fork(fetch_once, &second);
    all_well(children + 1, 1, DEADLINE);
    put(&shared->release, 1);
    all_well(children, 1, DEADLINE);
    REQUIRE(get(&shared->loads) == 2 && get(&shared->stored) == 1 && value_is("second"), "%llu loads, %llu stored",
            (unsigned long long)get(&shared->loads), (unsigned long long)get(&shared->stored));
    finish();
    return 0;
}

int main(int argc, char **argv) {
    static const struct support_case cases[] = {
        {"one loads for all, in the old file and in the new ones", one_loads_across, 60000},
        {"also when nobody has the new file open for a while", nobody_there_for_a_while, 60000},
        {"that there is nothing, and that it failed, goes along", nothing_and_failure, 60000},
        {"a leader killed behind the hand-over has one heir", killed_behind_the_hand_over, 120000},
        {"what was changed meanwhile is not stored over", changed_meanwhile, 120000},
        {"a pond made anew knows nothing of loads in the old one", made_anew, 60000},
        {"leases go along", leases, 60000},
        {"and end with their holders", killed_lease_holder, 60000},
        {"or at their deadline", detached_lease, 60000},
        {"a loader that resizes, and asks for its own key", a_loader_resizes, 60000},
        {"in files for several namespaces loads are begun anew", several_namespaces, 60000},
    };
    return support_run_cases(argc, argv, cases, sizeof cases / sizeof *cases);
}
