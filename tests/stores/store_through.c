/* SPDX-License-Identifier: MIT */
/* A pond with a store behind it: who is asked when, what stays when the store fails, what two writers leave behind. */

#include "fake.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static struct fake *fake;
static struct millpond *pond;
static struct millpond_through through;

static void make_with(struct millpond_store store) {
    pond = support_create(support_path("pond"), 1 << 20);
    REQUIRE(millpond_bind_store(pond, &store) == MILLPOND_OK, "bind");
}

static struct millpond_store new_store(void) {
    fake = fake_new();
    return fake_store(fake);
}

static int get(const char *key, const char *value) {
    char buf[64];
    size_t bytes = 0;
    int result = millpond_read_through(pond, key, strlen(key), buf, sizeof buf, &bytes, &through);
    if (result == MILLPOND_OK || result == MILLPOND_STALE)
        REQUIRE(value && bytes == strlen(value) && memcmp(buf, value, bytes) == 0, "%.*s, not %s", (int)bytes, buf, value);
    return result;
}
static int put(const char *key, const char *value) {
    return millpond_write_through(pond, key, strlen(key), value, strlen(value), &through);
}

/* What the pond itself has. */
static bool has(const char *key, const char *value) {
    char buf[64];
    size_t bytes = 0;
    int result = millpond_get(pond, key, strlen(key), buf, sizeof buf, &bytes);
    REQUIRE(result == MILLPOND_OK || result == MILLPOND_MISS, "%d", result);
    return result == MILLPOND_MISS ? !value : value && bytes == strlen(value) && memcmp(buf, value, bytes) == 0;
}

static int a_miss_asks_the_store_and_a_hit_does_not(void *arg) {
    (void)arg;
    make_with(new_store());
    fake_set(fake, "key", "one");
    REQUIRE(get("key", "one") == MILLPOND_OK && fake->loads == 1 && through.how == MILLPOND_HOW_LOADED, "%d loads", fake->loads);
    REQUIRE(get("key", "one") == MILLPOND_OK && fake->loads == 1 && through.how == MILLPOND_HOW_HIT, "%d loads", fake->loads);
    REQUIRE(get("absent", NULL) == MILLPOND_MISS && fake->loads == 2, "%d loads", fake->loads);
    void *value = NULL;
    size_t bytes = 0;
    REQUIRE(millpond_read_through_alloc(pond, "key", 3, &value, &bytes, NULL) == MILLPOND_OK && bytes == 3 && strcmp(value, "one") == 0,
            "alloc");
    free(value);
    char small[2];
    REQUIRE(millpond_read_through(pond, "key", 3, small, 2, &bytes, NULL) == MILLPOND_TOO_SMALL && bytes == 3, "%zu", bytes);
    fake_set(fake, "other", "two");
    REQUIRE(millpond_read_through(pond, "other", 5, small, 2, &bytes, NULL) == MILLPOND_TOO_SMALL && has("other", "two"), "it is kept");
    millpond_close(pond);
    REQUIRE(fake->closes == 1, "%d closes", fake->closes);
    return 0;
}

static int the_store_may_shorten_a_time_to_live(void *arg) {
    (void)arg;
    uint64_t ttl_ms = 0;
    struct millpond_store store = new_store();
    store.fetch.ttl_ms = 600000;
    make_with(store);
    fake_set(fake, "a", "x"), fake_set(fake, "b", "x"), fake_set(fake, "c", "x");
    REQUIRE(get("a", "x") == MILLPOND_OK && millpond_ttl(pond, "a", 1, &ttl_ms) == MILLPOND_OK && ttl_ms > 300000, "%llu",
            (unsigned long long)ttl_ms);
    fake->ttl_ms = 60000;
    REQUIRE(get("b", "x") == MILLPOND_OK && millpond_ttl(pond, "b", 1, &ttl_ms) == MILLPOND_OK && ttl_ms <= 60000, "%llu",
            (unsigned long long)ttl_ms);
    fake->ttl_ms = 6000000;
    REQUIRE(get("c", "x") == MILLPOND_OK && millpond_ttl(pond, "c", 1, &ttl_ms) == MILLPOND_OK && ttl_ms <= 600000, "%llu",
            (unsigned long long)ttl_ms);
    through.ttl_ms = 5000;
    REQUIRE(put("d", "x") == MILLPOND_OK && millpond_ttl(pond, "d", 1, &ttl_ms) == MILLPOND_OK && ttl_ms <= 5000, "%llu",
            (unsigned long long)ttl_ms);
    millpond_close(pond);
    return 0;
}

static int a_write_goes_to_the_store_first(void *arg) {
    (void)arg;
    make_with(new_store());
    REQUIRE(put("key", "one") == MILLPOND_OK && strcmp(fake_get(fake, "key"), "one") == 0 && has("key", "one"), "a new key");
    REQUIRE(put("key", "two") == MILLPOND_OK && strcmp(fake_get(fake, "key"), "two") == 0 && has("key", "two"), "again");
    REQUIRE(get("key", "two") == MILLPOND_OK && fake->loads == 0, "%d loads", fake->loads);
    REQUIRE(millpond_write_around(pond, "key", 3, "three", 5, NULL) == MILLPOND_OK && has("key", NULL), "around");
    REQUIRE(get("key", "three") == MILLPOND_OK && fake->loads == 1, "%d loads", fake->loads);
    REQUIRE(millpond_delete_through(pond, "key", 3, NULL) == MILLPOND_OK && has("key", NULL) && !fake_get(fake, "key"), "deleted");
    REQUIRE(millpond_delete_through(pond, "key", 3, NULL) == MILLPOND_MISS, "again");
    millpond_set(pond, "key", 3, "only here", 9, 0);
    REQUIRE(millpond_delete_through(pond, "key", 3, NULL) == MILLPOND_MISS && has("key", NULL), "the pond's own goes too");
    millpond_close(pond);
    return 0;
}

static int a_failed_call_leaves_the_pond_as_it_was(void *arg) {
    (void)arg;
    static const int errors[] = {MILLPOND_ERR_PERMISSION, MILLPOND_ERR_NO_SPACE, MILLPOND_ERR_STORE};
    make_with(new_store());
    REQUIRE(put("key", "old") == MILLPOND_OK && has("key", "old"), "put");
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++) {
        fake->fails = errors[i];
        REQUIRE(put("key", "new") == errors[i] && has("key", "old"), "write-through");
        REQUIRE(through.store_result == errors[i] && strncmp(through.errmsg, "fake: ", 6) == 0, "%s", through.errmsg);
        REQUIRE(put("fresh", "new") == errors[i] && has("fresh", NULL), "write-through of a new key");
        REQUIRE(millpond_write_around(pond, "key", 3, "new", 3, NULL) == errors[i] && has("key", "old"), "write-around");
        REQUIRE(millpond_delete_through(pond, "key", 3, NULL) == errors[i] && has("key", "old"), "delete");
        REQUIRE(millpond_refresh(pond, "key", 3, NULL) == errors[i] && has("key", "old"), "refresh");
        REQUIRE(get("absent", NULL) == errors[i] && through.store_result == errors[i], "read");
        REQUIRE(get("key", "old") == MILLPOND_OK && through.store_result == MILLPOND_OK && !through.errmsg[0], "a hit");
    }
    fake->fails = 42;
    REQUIRE(put("key", "new") == MILLPOND_ERR_STORE && has("key", "old"), "a number that means nothing");
    fake->fails = MILLPOND_OK;
    REQUIRE(put("key", "new") == MILLPOND_OK && has("key", "new") && !through.errmsg[0], "and on");
    millpond_close(pond);
    return 0;
}

/* ---- two at the same time ---- */

static void write_meanwhile(void *value) {
    struct millpond_through own = {0};
    REQUIRE(millpond_write_through(pond, "key", 3, value, strlen(value), &own) == MILLPOND_OK, "%s", own.errmsg);
}
static void write_first(void *value) { /* the outer write comes to the store after this one */
    const char *outer = fake_get(fake, "key");
    char kept[64];
    snprintf(kept, sizeof kept, "%s", outer);
    write_meanwhile(value);
    fake_set(fake, "key", kept);
}
static void delete_meanwhile(void *unused) {
    (void)unused;
    REQUIRE(millpond_delete_through(pond, "key", 3, NULL) == MILLPOND_OK, "delete");
}
static void around_meanwhile(void *value) {
    REQUIRE(millpond_write_around(pond, "key", 3, value, strlen(value), NULL) == MILLPOND_OK, "around");
}
static void add_meanwhile_behind(void *value) { REQUIRE(millpond_set(pond, "key", 3, value, strlen(value), 0) == MILLPOND_OK, "set"); }

/* Whatever the pond has afterwards, the store has too. */
static void agree(const char *what) {
    char buf[64];
    size_t bytes = 0;
    int result = millpond_get(pond, "key", 3, buf, sizeof buf, &bytes);
    if (result == MILLPOND_MISS) return;
    const char *truth = fake_get(fake, "key");
    REQUIRE(truth && strlen(truth) == bytes && memcmp(buf, truth, bytes) == 0, "%s: the pond has %.*s, the store %s", what, (int)bytes, buf,
            truth);
}

static int two_writers_leave_what_the_store_has(void *arg) {
    (void)arg;
    static const struct {
        const char *what;
        void (*run)(void *);
    } others[] = {{"written meanwhile", write_meanwhile},
                  {"written before, told after", write_first},
                  {"deleted", delete_meanwhile},
                  {"written around", around_meanwhile}};
    make_with(new_store());
    static char inner[] = "inner";
    for (unsigned there = 0; there < 2; there++) {
        for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
            fake_set(fake, "key", there ? "before" : NULL);
            millpond_delete(pond, "key", 3);
            if (there) REQUIRE(get("key", "before") == MILLPOND_OK, "before");
            fake->meanwhile = others[i].run;
            fake->arg = inner;
            REQUIRE(put("key", "outer") == MILLPOND_OK, "%s", through.errmsg);
            REQUIRE(!fake->meanwhile, "nothing came between");
            agree(others[i].what);
        }
    }
    /* A value that somebody put into the pond alone meanwhile does not stay either. */
    fake->meanwhile = add_meanwhile_behind;
    REQUIRE(put("key", "outer") == MILLPOND_OK, "%s", through.errmsg);
    agree("set behind");
    millpond_close(pond);
    return 0;
}

static void announce(uint64_t epoch, uint64_t lease_ms, uint64_t stale_ms) {
    struct millpond_agent agent;
    millpond_agent_look(pond, &agent);
    agent.epoch = epoch;
    agent.until_ms = lease_ms ? agent.now_ms + lease_ms : 0;
    agent.stale_ms = stale_ms;
    REQUIRE(millpond_agent_announce(pond, &agent) == MILLPOND_OK, "announce");
}
static void an_agent_comes(void *unused) {
    (void)unused;
    announce(2, 60000, 0);
}

/* It may have been told of another node's newer value already. */
static int no_written_value_stays_where_an_agent_is(void *arg) {
    (void)arg;
    for (int there = 0; there < 2; there++) {
        make_with(new_store());
        if (there) REQUIRE(put("key", "before") == MILLPOND_OK && has("key", "before"), "without an agent");
        fake->meanwhile = an_agent_comes;
        REQUIRE(put("key", "one") == MILLPOND_OK && has("key", NULL), "it came while the store stored");
        REQUIRE(put("key", "two") == MILLPOND_OK && has("key", NULL), "it was there");
        REQUIRE(get("key", "two") == MILLPOND_OK && has("key", "two"), "what is read stays: its flight would be revoked");
        REQUIRE(put("key", "three") == MILLPOND_OK && has("key", NULL), "over one that was read");
        millpond_close(pond);
        unlink(support_path("pond"));
    }
    return 0;
}

static int reads_go_by_the_agents_word(void *arg) {
    (void)arg;
    make_with(new_store());
    announce(2, 60000, 0);
    fake_set(fake, "key", "one");
    REQUIRE(get("key", "one") == MILLPOND_OK && has("key", "one"), "loaded");
    fake_set(fake, "key", "two");
    REQUIRE(get("key", "one") == MILLPOND_OK && fake->loads == 1, "coherent: served from the pond");
    announce(3, 0, 60000);
    fake_set(fake, "key", "three");
    REQUIRE(millpond_agent_look(pond, NULL) == MILLPOND_MISS, "until is long over");
    announce(3, 1, 60000);
    REQUIRE(get("key", "one") == MILLPOND_STALE && fake->loads == 1, "the link is lost: served as stale");
    announce(5, 1, 0);
    support_sleep_ms(20);
    REQUIRE(get("key", "three") == MILLPOND_OK && fake->loads == 2 && has("key", "one"), "not served any more, and nothing kept");
    void *value = NULL;
    size_t bytes = 0;
    REQUIRE(millpond_read_through_alloc(pond, "key", 3, &value, &bytes, NULL) == MILLPOND_OK && bytes == 5 && fake->loads == 3, "alloc");
    free(value);
    REQUIRE(millpond_read_through(pond, "key", 0, NULL, 0, NULL, NULL) == MILLPOND_ERR_ARGUMENT, "an empty key");
    millpond_close(pond);
    return 0;
}

static int a_refresh_gives_way_to_a_write(void *arg) {
    (void)arg;
    static char inner[] = "inner";
    make_with(new_store());
    fake_set(fake, "key", "old");
    REQUIRE(millpond_refresh(pond, "key", 3, &through) == MILLPOND_OK && has("key", "old"), "what was not there is loaded");
    fake->meanwhile = write_meanwhile;
    fake->arg = inner;
    REQUIRE(millpond_refresh(pond, "key", 3, NULL) == MILLPOND_CHANGED && has("key", "inner"), "the write counts");
    fake_set(fake, "key", "newer");
    REQUIRE(has("key", "inner") && millpond_refresh(pond, "key", 3, &through) == MILLPOND_OK && has("key", "newer"), "refreshed");
    fake_set(fake, "key", NULL);
    REQUIRE(millpond_refresh(pond, "key", 3, NULL) == MILLPOND_MISS && has("key", NULL), "gone in the store");
    millpond_close(pond);
    return 0;
}

/* A load that has read the old value while the key is written: what was loaded must not come into the pond. */
static int a_load_under_way_does_not_bring_back(void *arg) {
    (void)arg;
    static const struct {
        const char *what;
        void (*run)(void *);
    } others[] = {{"written meanwhile", write_meanwhile}, {"deleted", delete_meanwhile}, {"written around", around_meanwhile}};
    static char inner[] = "inner";
    make_with(new_store());
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        fake_set(fake, "key", "old");
        millpond_delete(pond, "key", 3);
        fake->meanwhile = others[i].run;
        fake->arg = inner;
        REQUIRE(get("key", "old") == MILLPOND_OK && !fake->meanwhile, "it began before the write");
        agree(others[i].what);
        fake_set(fake, "key", "old");
        millpond_delete(pond, "key", 3);
        fake->meanwhile = others[i].run;
        millpond_refresh(pond, "key", 3, NULL);
        agree("refresh");
    }
    millpond_close(pond);
    return 0;
}

/* Everybody at once, without order: at the end the pond has what the store has. */
static int write_for_a_while(void *arg) {
    char value[32];
    unsigned number = (unsigned)(uintptr_t)arg;
    struct support_random random = support_seed("writers");
    random = support_derive(&random, number);
    for (unsigned i = 0; i < 400; i++) {
        snprintf(value, sizeof value, "%u of %u", i, number);
        char buf[64];
        size_t bytes;
        switch (support_below(&random, 6)) {
        case 0: millpond_delete_through(pond, "key", 3, NULL); break;
        case 1: millpond_write_around(pond, "key", 3, value, strlen(value), NULL); break;
        case 2: millpond_refresh(pond, "key", 3, NULL); break;
        case 3: millpond_delete(pond, "key", 3); break;
        case 4: millpond_write_through(pond, "key", 3, value, strlen(value), NULL); break;
        default: millpond_read_through(pond, "key", 3, buf, sizeof buf, &bytes, NULL);
        }
    }
    return 0;
}

static int many_writers_leave_what_the_store_has(void *arg) {
    (void)arg;
    make_with(new_store());
    fake_set(fake, "key", "first");
    for (unsigned turn = 0; turn < 20; turn++) {
        pid_t writers[4];
        for (unsigned i = 0; i < 4; i++) writers[i] = support_fork(write_for_a_while, (void *)(uintptr_t)(turn * 4 + i));
        for (unsigned i = 0; i < 4; i++) REQUIRE(support_wait(writers[i], 60000) == 0, "writer %u", i);
        agree("at rest");
    }
    millpond_close(pond);
    return 0;
}

struct start {
    _Atomic int ready, go;
};

static int miss_with_the_others(void *arg) {
    struct start *start = arg;
    start->ready++;
    while (!start->go) support_sleep_us(50);
    REQUIRE(get("key", "value") == MILLPOND_OK, "%s", through.errmsg);
    return 0;
}

static int sixteen_workers_that_miss_ask_once(void *arg) {
    (void)arg;
    struct start *start = support_share(sizeof *start);
    struct millpond_store store = new_store();
    store.timeout_ms = 20000;
    make_with(store);
    fake_set(fake, "key", "value");
    fake->wait_ms = 200;
    for (int turn = 1; turn <= 3; turn++) {
        pid_t workers[16];
        start->ready = start->go = 0;
        for (unsigned i = 0; i < 16; i++) workers[i] = support_fork(miss_with_the_others, start);
        while (start->ready < 16) support_sleep_ms(1);
        start->go = 1;
        for (unsigned i = 0; i < 16; i++) REQUIRE(support_wait(workers[i], 60000) == 0, "worker %u", i);
        REQUIRE(fake->loads == turn, "%d loads after %d turns", fake->loads, turn);
        millpond_delete(pond, "key", 3);
    }
    millpond_close(pond);
    return 0;
}

/* A value that has expired and is within its grace. */
static void make_stale(struct millpond_store store) {
    store.fetch.ttl_ms = 30;
    store.fetch.grace_ms = 600000;
    store.fetch.early_percent = 1;
    store.failures_max = 2;
    store.rest_ms = 600000;
    make_with(store);
    fake_set(fake, "key", "old");
    REQUIRE(get("key", "old") == MILLPOND_OK, "%s", through.errmsg);
    while (!has("key", NULL)) support_sleep_ms(5);
    fake_set(fake, "key", "new");
}

static int a_stale_value_is_served_while_the_store_fails(void *arg) {
    (void)arg;
    make_stale(new_store());
    fake->fails = MILLPOND_ERR_STORE_DOWN;
    for (unsigned i = 0; i < 2; i++)
        REQUIRE(get("key", "old") == MILLPOND_STALE && through.store_result == MILLPOND_ERR_STORE_DOWN && through.errmsg[0], "call %u", i);
    int before = fake->loads;
    REQUIRE(get("key", "old") == MILLPOND_STALE && through.store_result == MILLPOND_ERR_STORE_RESTS && fake->loads == before,
            "while it rests");
    REQUIRE(get("other", NULL) == MILLPOND_ERR_STORE_RESTS, "what has no old value has the error");
    through.flags = MILLPOND_FETCH_FRESH;
    REQUIRE(get("key", NULL) == MILLPOND_ERR_STORE_RESTS, "who wants no old value has the error");
    REQUIRE(put("key", "x") == MILLPOND_ERR_STORE_RESTS, "a write");
    through.flags = 0;
    REQUIRE(get("key", "old") == MILLPOND_STALE, "a failed write leaves it");
    millpond_close(pond);
    return 0;
}

static int a_stale_value_is_replaced(void *arg) {
    (void)arg;
    make_stale(new_store());
    REQUIRE(get("key", "new") == MILLPOND_OK && fake->loads == 2, "%d loads", fake->loads);
    millpond_close(pond);
    REQUIRE(unlink(support_path("pond")) == 0, "unlink");
    make_stale(new_store());
    through.ttl_ms = 600000;
    REQUIRE(put("key", "written") == MILLPOND_OK && has("key", "written"), "%s", through.errmsg);
    millpond_close(pond);
    return 0;
}

static int that_there_is_nothing_is_remembered(void *arg) {
    (void)arg;
    struct millpond_store store = new_store();
    store.fetch.negative_ttl_ms = 600000;
    make_with(store);
    for (int i = 0; i < 5; i++) REQUIRE(get("key", NULL) == MILLPOND_MISS && fake->loads == 1, "%d loads", fake->loads);
    REQUIRE(put("key", "now") == MILLPOND_OK && get("key", "now") == MILLPOND_OK, "until it is written");
    REQUIRE(get("other", NULL) == MILLPOND_MISS, "absent");
    REQUIRE(millpond_write_around(pond, "other", 5, "now", 3, NULL) == MILLPOND_OK && get("other", "now") == MILLPOND_OK,
            "or written around");
    millpond_close(pond);
    return 0;
}

/* ---- in trouble ---- */

static int a_dead_store_is_left_alone(void *arg) {
    (void)arg;
    struct millpond_store store = new_store();
    store.failures_max = 3;
    store.rest_ms = 200;
    store.timeout_ms = 50;
    make_with(store);
    millpond_set(pond, "here", 4, "value", 5, 0);
    fake->fails = MILLPOND_ERR_STORE_DOWN;
    for (unsigned i = 0; i < 3; i++) REQUIRE(get("key", NULL) == MILLPOND_ERR_STORE_DOWN, "call %u", i);
    int before = fake->loads;
    uint64_t start = support_now_ns();
    REQUIRE(get("key", NULL) == MILLPOND_ERR_STORE_RESTS && strstr(through.errmsg, "fake: ") && fake->loads == before, "%s",
            through.errmsg);
    REQUIRE(put("key", "x") == MILLPOND_ERR_STORE_RESTS && fake->stores == 0, "writes too");
    REQUIRE(millpond_delete_through(pond, "key", 3, NULL) == MILLPOND_ERR_STORE_RESTS && fake->erases == 0, "deletes too");
    REQUIRE(get("here", "value") == MILLPOND_OK, "hits go on");
    while (get("key", NULL) == MILLPOND_ERR_STORE_RESTS) support_sleep_ms(1);
    REQUIRE(support_now_ns() - start >= UINT64_C(150000000), "it was tried too early");
    REQUIRE(fake->loads == before + 1 && get("key", NULL) == MILLPOND_ERR_STORE_RESTS, "one trial");
    fake->fails = MILLPOND_OK;
    fake_set(fake, "key", "back");
    start = support_now_ns();
    while (get("key", "back") == MILLPOND_ERR_STORE_RESTS) support_sleep_ms(1);
    REQUIRE(support_now_ns() - start >= UINT64_C(300000000), "the second rest is twice as long");
    REQUIRE(get("key", "back") == MILLPOND_OK && get("absent", NULL) == MILLPOND_MISS && put("key", "x") == MILLPOND_OK, "as before");
    /* Answers about a key are no trouble of the store's. */
    fake->fails = MILLPOND_ERR_PERMISSION;
    for (unsigned i = 0; i < 20; i++) REQUIRE(put("key", "y") == MILLPOND_ERR_PERMISSION, "call %u", i);
    millpond_close(pond);
    return 0;
}

static int hammer(void *arg) {
    (void)arg;
    for (uint64_t end = support_now_ns() + UINT64_C(400000000); support_now_ns() < end; support_sleep_us(300)) {
        int result = get("key", NULL);
        REQUIRE(result == MILLPOND_ERR_STORE_DOWN || result == MILLPOND_ERR_STORE_RESTS, "%d", result);
    }
    return 0;
}

static int workers_share_what_they_know_of_a_dead_store(void *arg) {
    (void)arg;
    struct millpond_store store = new_store();
    store.rest_ms = 100;
    make_with(store);
    fake->fails = MILLPOND_ERR_STORE_DOWN;
    pid_t workers[8];
    for (unsigned i = 0; i < 8; i++) workers[i] = support_fork(hammer, NULL);
    for (unsigned i = 0; i < 8; i++) REQUIRE(support_wait(workers[i], 30000) == 0, "worker %u", i);
    /* 5 until it opens, one for each of the others that was inside then, and a few trials after 100, 300, ... ms. */
    REQUIRE(fake->loads <= 5 + 7 + 8, "%d calls of 8 workers in 400 ms", fake->loads);
    millpond_close(pond);
    return 0;
}

static int stop_inside(void *arg) {
    (void)arg;
    fake->wait_ms = 60000;
    get("key", NULL);
    return 1;
}

static int a_trial_that_dies_holds_nobody_up(void *arg) {
    (void)arg;
    struct millpond_store store = new_store();
    store.failures_max = 1;
    store.rest_ms = 20;
    store.timeout_ms = 50;
    make_with(store);
    fake->fails = MILLPOND_ERR_STORE_DOWN;
    REQUIRE(get("key", NULL) == MILLPOND_ERR_STORE_DOWN && get("key", NULL) == MILLPOND_ERR_STORE_RESTS, "open");
    support_sleep_ms(30);
    pid_t child = support_fork(stop_inside, NULL);
    for (unsigned i = 0; fake->inside == 0; i++) {
        REQUIRE(i < 5000, "the trial does not begin");
        support_sleep_ms(1);
    }
    support_kill(child);
    fake->wait_ms = 0;
    fake->fails = MILLPOND_OK;
    fake_set(fake, "key", "back");
    int result = MILLPOND_ERR_STORE_RESTS;
    for (unsigned i = 0; i < 5000 && result == MILLPOND_ERR_STORE_RESTS; i++) {
        result = get("key", "back");
        support_sleep_ms(1);
    }
    REQUIRE(result == MILLPOND_OK, "%d", result);
    millpond_close(pond);
    return 0;
}

/* ---- bind ---- */

static int close_in_child(void *arg) {
    (void)arg;
    REQUIRE(get("key", "one") == MILLPOND_OK, "in the child");
    millpond_close(pond);
    return 0;
}

static int a_store_is_closed_once_in_each_process(void *arg) {
    (void)arg;
    make_with(new_store());
    struct fake *first = fake;
    fake_set(fake, "key", "one");
    REQUIRE(support_run_child(close_in_child, NULL, 20000) == 0 && fake->closes == 1, "%d closes", fake->closes);
    struct millpond_store second = new_store();
    REQUIRE(millpond_bind_store(pond, &second) == MILLPOND_OK && first->closes == 2 && fake->closes == 0, "bound anew");
    REQUIRE(millpond_bind_store(pond, NULL) == MILLPOND_OK && fake->closes == 1, "unbound");
    REQUIRE(get("key", "one") == MILLPOND_ERR_NO_STORE && put("key", "x") == MILLPOND_ERR_NO_STORE, "no store");
    REQUIRE(millpond_delete_through(pond, "key", 3, NULL) == MILLPOND_ERR_NO_STORE &&
                millpond_refresh(pond, "key", 3, NULL) == MILLPOND_ERR_NO_STORE,
            "no store");
    millpond_close(pond);
    REQUIRE(first->closes == 2 && fake->closes == 1, "closed again");
    return 0;
}

static int what_is_wrong_is_refused(void *arg) {
    (void)arg;
    struct millpond_store store = new_store(), nameless = store, empty = {.name = "empty"}, reader = store;
    make_with(store);
    nameless.name = NULL;
    reader.store = NULL, reader.erase = NULL;
    REQUIRE(millpond_bind_store(NULL, &store) == MILLPOND_ERR_ARGUMENT, "no pond");
    REQUIRE(millpond_bind_store(pond, &nameless) == MILLPOND_ERR_ARGUMENT && millpond_bind_store(pond, &empty) == MILLPOND_ERR_ARGUMENT,
            "no store");
    REQUIRE(fake->closes == 0, "an error changes nothing");
    REQUIRE(millpond_write_through(pond, NULL, 3, "x", 1, NULL) == MILLPOND_ERR_ARGUMENT, "no key");
    REQUIRE(millpond_write_through(pond, "key", 0, "x", 1, NULL) == MILLPOND_ERR_ARGUMENT, "no key");
    REQUIRE(millpond_write_around(pond, "key", 3, NULL, 1, NULL) == MILLPOND_ERR_ARGUMENT && fake->stores == 0, "no value");
    REQUIRE(millpond_read_through(pond, "key", 70000, NULL, 0, NULL, NULL) == MILLPOND_ERR_ARGUMENT && fake->loads == 0, "a key too long");
    REQUIRE(millpond_bind_store(pond, &reader) == MILLPOND_OK && put("key", "x") == MILLPOND_ERR_NO_STORE, "a store that only reads");
    millpond_close(pond);
    return 0;
}

static int a_read_only_handle_reads_through(void *arg) {
    (void)arg;
    make_with(new_store());
    struct millpond_options options = MILLPOND_OPTIONS_INIT;
    options.flags = MILLPOND_READONLY;
    struct millpond *writer = pond, *reader = support_open(support_path("pond"), &options);
    struct millpond_store store = fake_store(fake);
    REQUIRE(millpond_bind_store(reader, &store) == MILLPOND_OK, "bind");
    fake_set(fake, "key", "one");
    pond = reader;
    for (int i = 1; i <= 3; i++)
        REQUIRE(get("key", "one") == MILLPOND_OK && through.how == MILLPOND_HOW_ALONE && fake->loads == i, "nothing is kept");
    void *value = NULL;
    size_t bytes = 0;
    REQUIRE(millpond_read_through_alloc(pond, "key", 3, &value, &bytes, NULL) == MILLPOND_OK && strcmp(value, "one") == 0, "alloc");
    free(value);
    REQUIRE(put("key", "two") == MILLPOND_ERR_READ_ONLY && fake->stores == 0 && strcmp(fake_get(fake, "key"), "one") == 0,
            "the store is not touched");
    REQUIRE(millpond_delete_through(pond, "key", 3, NULL) == MILLPOND_ERR_READ_ONLY && fake->erases == 0, "nor by a delete");
    REQUIRE(millpond_set(writer, "key", 3, "kept", 4, 0) == MILLPOND_OK && get("key", "kept") == MILLPOND_OK, "a hit");
    millpond_close(reader);
    millpond_close(writer);
    return 0;
}

static int a_value_too_large_for_the_pond_passes_through(void *arg) {
    (void)arg;
    struct millpond_options options = MILLPOND_OPTIONS_INIT;
    options.size_bytes = 1 << 20;
    options.max_item_bytes = 16;
    options.flags = MILLPOND_CREATE;
    pond = support_open(support_path("pond"), &options);
    struct millpond_store store = new_store();
    REQUIRE(millpond_bind_store(pond, &store) == MILLPOND_OK, "bind");
    static const char large[] = "a value of more than sixteen bytes";
    fake_set(fake, "key", large);
    REQUIRE(get("key", large) == MILLPOND_OK && through.how == MILLPOND_HOW_ALONE && has("key", NULL), "read");
    REQUIRE(put("key", "small") == MILLPOND_OK && has("key", "small"), "write");
    REQUIRE(put("key", large) == MILLPOND_OK && has("key", NULL) && strcmp(fake_get(fake, "key"), large) == 0,
            "the old value does not stay");
    millpond_close(pond);
    return 0;
}

static int each_call_has_a_deadline(void *arg) {
    (void)arg;
    make_with(new_store());
    uint64_t now = support_now_ns();
    get("key", NULL);
    REQUIRE(fake->deadline_ns > now && fake->deadline_ns <= support_now_ns() + UINT64_C(1000000000), "a second");
    through.timeout_ms = 60000;
    now = support_now_ns();
    put("key", "x");
    REQUIRE(fake->deadline_ns >= now + UINT64_C(60000000000), "a minute");
    millpond_close(pond);
    return 0;
}

int main(int argc, char **argv) {
    static const struct support_case cases[] = {
        {"a miss asks the store and a hit does not", a_miss_asks_the_store_and_a_hit_does_not, 30000},
        {"the store may shorten a time to live", the_store_may_shorten_a_time_to_live, 30000},
        {"a write goes to the store first", a_write_goes_to_the_store_first, 30000},
        {"a failed call leaves the pond as it was", a_failed_call_leaves_the_pond_as_it_was, 30000},
        {"two writers leave what the store has", two_writers_leave_what_the_store_has, 30000},
        {"no written value stays where an agent is", no_written_value_stays_where_an_agent_is, 30000},
        {"reads go by the agent's word", reads_go_by_the_agents_word, 30000},
        {"a refresh gives way to a write", a_refresh_gives_way_to_a_write, 30000},
        {"a load under way does not bring back what was written", a_load_under_way_does_not_bring_back, 30000},
        {"many writers leave what the store has", many_writers_leave_what_the_store_has, 120000},
        {"sixteen workers that miss ask once", sixteen_workers_that_miss_ask_once, 120000},
        {"a stale value is served while the store fails", a_stale_value_is_served_while_the_store_fails, 30000},
        {"a stale value is replaced", a_stale_value_is_replaced, 30000},
        {"that there is nothing is remembered", that_there_is_nothing_is_remembered, 30000},
        {"a dead store is left alone", a_dead_store_is_left_alone, 30000},
        {"workers share what they know of a dead store", workers_share_what_they_know_of_a_dead_store, 60000},
        {"a trial that dies holds nobody up", a_trial_that_dies_holds_nobody_up, 60000},
        {"a store is closed once in each process", a_store_is_closed_once_in_each_process, 30000},
        {"what is wrong is refused", what_is_wrong_is_refused, 30000},
        {"a read-only handle reads through", a_read_only_handle_reads_through, 30000},
        {"a value too large for the pond passes through", a_value_too_large_for_the_pond_passes_through, 30000},
        {"each call has a deadline", each_call_has_a_deadline, 30000},
    };
    return support_run_cases(argc, argv, cases, sizeof cases / sizeof *cases);
}
