/* SPDX-License-Identifier: MIT */
/* Groups: what was stored under a name is gone for every call behind millpond_invalidate, and nothing else is. What several processes do:
 * mp_group.c. */

#include "unit.h"

#include <stdlib.h>
#include <string.h>

#define POND_BYTES (1u << 20)

static struct millpond *pond;

static void setup(void) { pond = support_create(support_path("group.pond"), POND_BYTES); }
static void teardown(void) {
    millpond_close(pond);
    support_require_whole(support_path("group.pond"));
}
TestSuite(group, .init = setup, .fini = teardown);

static char buf[256];
static size_t bytes;

static struct millpond_set in(const char *group) { return (struct millpond_set){.group = group, .group_bytes = strlen(group)}; }

static int set_with(const char *key, const char *value, struct millpond_set how) {
    return millpond_set_ex(pond, key, strlen(key), value, strlen(value), &how);
}
static int set_in(const char *key, const char *value, const char *group) { return set_with(key, value, in(group)); }
static int set(const char *key, const char *value) { return millpond_set(pond, key, strlen(key), value, strlen(value), 0); }

static int get(const char *key) {
    memset(buf, 0, sizeof buf);
    return millpond_get(pond, key, strlen(key), buf, sizeof buf - 1, &bytes);
}
static bool reads(const char *key, const char *value) { return get(key) == MILLPOND_OK && strcmp(buf, value) == 0; }
static int invalidate(const char *group) { return millpond_invalidate(pond, group, strlen(group)); }

static struct millpond_stats stats(void) {
    struct millpond_stats all;
    cr_assert_eq(millpond_stats(pond, -1, &all), MILLPOND_OK);
    return all;
}

static int count_one(void *arg, const struct millpond_entry *entry) {
    (void)entry;
    ++*(int *)arg;
    return 0;
}
static int scanned(void) {
    int n = 0;
    cr_assert_eq(millpond_scan(pond, NULL, 0, 0, count_one, &n), MILLPOND_OK);
    return n;
}

/* ---- one group ---- */

Test(group, what_was_stored_in_it_is_gone_and_nothing_else) {
    cr_assert_eq(set_in("a", "1", "red"), MILLPOND_OK);
    cr_assert_eq(set_in("b", "2", "red"), MILLPOND_OK);
    cr_assert_eq(set_in("c", "3", "blue"), MILLPOND_OK);
    cr_assert_eq(set("d", "4"), MILLPOND_OK);
    cr_assert(reads("a", "1") && reads("b", "2") && reads("c", "3") && reads("d", "4"));
    cr_assert_eq(invalidate("red"), MILLPOND_OK);
    cr_assert(get("a") == MILLPOND_MISS && get("b") == MILLPOND_MISS && reads("c", "3") && reads("d", "4"));
    cr_assert_eq(set_in("a", "5", "red"), MILLPOND_OK);
    cr_assert(reads("a", "5") && get("b") == MILLPOND_MISS);
    for (int i = 0; i < 1000; i++) cr_assert_eq(invalidate("red"), MILLPOND_OK);
    cr_assert_eq(get("a"), MILLPOND_MISS);
    cr_assert_eq(stats().invalidations, 1001);
}

Test(group, every_call_sees_an_invalidated_entry_as_absent) {
    struct millpond_mget items[2] = {{"k", 1, buf, sizeof buf, 0, 0}, {"other", 5, buf + 100, 100, 0, 0}};
    struct millpond_view view;
    struct millpond_lease lease;
    struct millpond_txn *txn;
    uint64_t ttl, version = 0;
    void *copy;
    cr_assert_eq(set_in("other", "o", "blue"), MILLPOND_OK);
    for (int kind = 0; kind < 3; kind++) { /* plain; with a time to live and grace; in chunks */
        struct millpond_set how = in("red");
        size_t size = kind == 2 ? 60000 : 10;
        char *value = calloc(1, size);
        if (kind == 1) how.ttl_ms = how.grace_ms = 3600000;
        cr_assert_eq(millpond_set_ex(pond, "k", 1, value, size, &how), MILLPOND_OK);
        free(value);
        cr_assert_eq(millpond_get_alloc(pond, "k", 1, &copy, &bytes), MILLPOND_OK);
        cr_assert_eq(bytes, size);
        free(copy);
        cr_assert_eq(millpond_contains(pond, "k", 1), MILLPOND_OK);
        cr_assert_eq(scanned(), 2);
        cr_assert_eq(invalidate("red"), MILLPOND_OK);
        cr_assert_eq(get("k"), MILLPOND_MISS);
        cr_assert_eq(millpond_get_alloc(pond, "k", 1, &copy, &bytes), MILLPOND_MISS);
        cr_assert_eq(millpond_get_stale(pond, "k", 1, buf, sizeof buf, &bytes), MILLPOND_MISS);
        version = how.version;
        cr_assert_eq(millpond_get_if_changed(pond, "k", 1, buf, sizeof buf, &bytes, &version), MILLPOND_MISS);
        cr_assert_eq(millpond_contains(pond, "k", 1), MILLPOND_MISS);
        cr_assert_eq(millpond_ttl(pond, "k", 1, &ttl), MILLPOND_MISS);
        cr_assert_eq(millpond_view(pond, "k", 1, &view), MILLPOND_MISS);
        cr_assert_eq(millpond_mget(pond, items, 2), MILLPOND_OK);
        cr_assert(items[0].result == MILLPOND_MISS && items[1].result == MILLPOND_OK);
        cr_assert_eq(millpond_snapshot(pond, items, 2), MILLPOND_OK);
        cr_assert(items[0].result == MILLPOND_MISS && items[1].result == MILLPOND_OK);
        cr_assert_eq(millpond_txn_begin(pond, &txn), MILLPOND_OK);
        cr_assert_eq(millpond_txn_get(txn, "k", 1, buf, sizeof buf, &bytes), MILLPOND_MISS);
        millpond_txn_abort(txn);
        cr_assert_eq(scanned(), 1);
        cr_assert_eq(millpond_touch(pond, "k", 1, 1000), MILLPOND_MISS);
        cr_assert_eq(millpond_incr(pond, "k", 1, 1, NULL, NULL), MILLPOND_MISS);
        cr_assert_eq(millpond_replace(pond, "k", 1, "x", 1, 0), MILLPOND_MISS);
        cr_assert_eq(millpond_cas(pond, "k", 1, "x", 1, 0, how.version), MILLPOND_MISS);
        cr_assert_eq(millpond_lease_acquire(pond, "k", 1, NULL, buf, sizeof buf, &bytes, &lease), MILLPOND_MISS);
        cr_assert_eq(lease.state, MILLPOND_LEASE_WON);
        cr_assert_eq(millpond_lease_abandon(pond, &lease, "k", 1, 0), MILLPOND_OK);
        cr_assert_eq(millpond_delete(pond, "k", 1), MILLPOND_MISS);
        cr_assert_eq(stats().items, 1);
        cr_assert_eq(stats().invalidated, (uint64_t)kind + 1);
    }
}

Test(group, an_entry_has_the_group_of_its_last_set) {
    cr_assert(set_in("out", "1", "red") == MILLPOND_OK && set("out", "2") == MILLPOND_OK);
    cr_assert(set("into", "1") == MILLPOND_OK && set_in("into", "2", "red") == MILLPOND_OK);
    cr_assert(set_in("other", "1", "red") == MILLPOND_OK && set_in("other", "2", "blue") == MILLPOND_OK);
    cr_assert_eq(invalidate("red"), MILLPOND_OK);
    cr_assert(reads("out", "2") && get("into") == MILLPOND_MISS && reads("other", "2"));
}

Test(group, conditions_see_whether_the_old_entry_lives) {
    struct millpond_set how = in("red");
    cr_assert_eq(set_with("k", "1", how), MILLPOND_OK);
    how.when = MILLPOND_IF_ABSENT;
    cr_assert_eq(set_with("k", "2", how), MILLPOND_EXISTS);
    cr_assert_eq(invalidate("red"), MILLPOND_OK);
    cr_assert_eq(set_with("k", "2", how), MILLPOND_OK);
    how.when = MILLPOND_IF_PRESENT;
    cr_assert_eq(set_with("k", "3", how), MILLPOND_OK);
    cr_assert(reads("k", "3"));
    cr_assert_eq(invalidate("red"), MILLPOND_OK);
    cr_assert_eq(set_with("k", "4", how), MILLPOND_MISS);
    how.when = MILLPOND_ALWAYS;
    cr_assert_eq(millpond_set_ex(pond, "k", 1, "5", 1, &how), MILLPOND_OK);
    how.when = MILLPOND_IF_VERSION;
    cr_assert_eq(millpond_set_ex(pond, "k", 1, "6", 1, &how), MILLPOND_OK);
    cr_assert_eq(invalidate("red"), MILLPOND_OK);
    cr_assert_eq(millpond_set_ex(pond, "k", 1, "7", 1, &how), MILLPOND_MISS);
}

Test(group, counters_keep_theirs) {
    struct millpond_set how = in("red");
    int64_t number;
    cr_assert(millpond_incr_ex(pond, "n", 1, 1, 41, &how, &number) == MILLPOND_OK && number == 42);
    cr_assert(millpond_incr(pond, "n", 1, 1, NULL, &number) == MILLPOND_OK && number == 43);
    cr_assert(reads("n", "43"));
    how.ttl_ms = 3600000;
    cr_assert_eq(set_with("text", "7", how), MILLPOND_OK);
    cr_assert(millpond_incr(pond, "text", 4, 1, NULL, &number) == MILLPOND_OK && number == 8);
    cr_assert_eq(invalidate("red"), MILLPOND_OK);
    cr_assert(get("n") == MILLPOND_MISS && get("text") == MILLPOND_MISS);
    cr_assert(millpond_incr_ex(pond, "n", 1, 1, 0, NULL, &number) == MILLPOND_OK && number == 1);
    cr_assert_eq(invalidate("red"), MILLPOND_OK);
    cr_assert(reads("n", "1"));
    how.grace_ms = 1;
    cr_assert_eq(millpond_incr_ex(pond, "n", 1, 1, 0, &how, &number), MILLPOND_ERR_ARGUMENT);
}

Test(group, touch_keeps_it) {
    cr_assert_eq(set_in("k", "1", "red"), MILLPOND_OK);
    cr_assert_eq(millpond_touch(pond, "k", 1, 3600000), MILLPOND_OK); /* written anew, with a time to live */
    cr_assert(reads("k", "1"));
    cr_assert_eq(millpond_touch(pond, "k", 1, 7200000), MILLPOND_OK);
    cr_assert_eq(invalidate("red"), MILLPOND_OK);
    cr_assert_eq(get("k"), MILLPOND_MISS);
}

Test(group, a_view_taken_before_stays) {
    struct millpond_view view;
    cr_assert_eq(set_in("k", "shown", "red"), MILLPOND_OK);
    cr_assert_eq(millpond_view(pond, "k", 1, &view), MILLPOND_OK);
    cr_assert_eq(invalidate("red"), MILLPOND_OK);
    char key[32], value[4096] = {0};
    for (int i = 0; i < 2000; i++) {
        snprintf(key, sizeof key, "fill-%d", i);
        cr_assert_eq(millpond_set(pond, key, strlen(key), value, sizeof value, 0), MILLPOND_OK);
    }
    cr_assert(view.value_bytes == 5 && memcmp(view.value, "shown", 5) == 0);
    millpond_view_release(&view);
    cr_assert_eq(get("k"), MILLPOND_MISS);
}

Test(group, a_name_is_1_to_255_bytes_of_any_content) {
    char name[256];
    memset(name, 'n', sizeof name);
    struct millpond_set how = {.group = name, .group_bytes = 255};
    cr_assert_eq(set_with("k", "1", how), MILLPOND_OK);
    how.group_bytes = 256;
    cr_assert_eq(set_with("k", "2", how), MILLPOND_ERR_ARGUMENT);
    how.group_bytes = 0;
    cr_assert_eq(set_with("k", "2", how), MILLPOND_ERR_ARGUMENT);
    how = (struct millpond_set){.group = NULL, .group_bytes = 3};
    cr_assert_eq(set_with("k", "2", how), MILLPOND_ERR_ARGUMENT);
    how = (struct millpond_set){.group = "a", .group_bytes = 1, .group_number = 7};
    cr_assert_eq(set_with("k", "2", how), MILLPOND_ERR_ARGUMENT);
    how = (struct millpond_set){.group_number = 65536};
    cr_assert_eq(set_with("k", "2", how), MILLPOND_ERR_ARGUMENT);
    cr_assert(reads("k", "1"));
    cr_assert_eq(millpond_invalidate(pond, "", 0), MILLPOND_ERR_ARGUMENT);
    cr_assert_eq(millpond_invalidate(pond, NULL, 4), MILLPOND_ERR_ARGUMENT);
    cr_assert_eq(millpond_invalidate(pond, name, 256), MILLPOND_ERR_ARGUMENT);
    cr_assert(reads("k", "1"));
    cr_assert_eq(millpond_invalidate(pond, name, 255), MILLPOND_OK);
    cr_assert_eq(get("k"), MILLPOND_MISS);
    how = (struct millpond_set){.group = "\0\xff", .group_bytes = 2};
    cr_assert_eq(set_with("k", "3", how), MILLPOND_OK);
    cr_assert_eq(millpond_invalidate(pond, "\0\xfe", 2), MILLPOND_OK);
    cr_assert(reads("k", "3"));
    cr_assert_eq(millpond_invalidate(pond, "\0\xff", 2), MILLPOND_OK);
    cr_assert_eq(get("k"), MILLPOND_MISS);
}

Test(group, a_handle_may_have_one_for_all_that_it_stores) {
    struct millpond_options options = MILLPOND_OPTIONS_INIT;
    char errmsg[MILLPOND_ERRMSG_BYTES], name[4] = "app";
    struct millpond *mine, *wrong = NULL;
    int64_t number;
    options.group = "";
    cr_assert_eq(millpond_open(&wrong, support_path("group.pond"), &options, errmsg), MILLPOND_ERR_ARGUMENT);
    cr_assert(strstr(errmsg, "group") && !wrong, "%s", errmsg);
    options.group = name;
    options.group_bytes = 3;
    mine = support_open(support_path("group.pond"), &options);
    memset(name, 'x', 3); /* it was copied */
    struct millpond_txn *txn;
    cr_assert_eq(millpond_set(mine, "set", 3, "1", 1, 0), MILLPOND_OK);
    cr_assert_eq(millpond_incr(mine, "incr", 4, 1, &(struct millpond_incr){0, 0}, &number), MILLPOND_OK);
    cr_assert_eq(millpond_txn_begin(mine, &txn), MILLPOND_OK);
    cr_assert_eq(millpond_txn_set(txn, "txn", 3, "1", 1, 0), MILLPOND_OK);
    cr_assert_eq(millpond_txn_incr(txn, "txn-n", 5, 1, &(struct millpond_incr){0, 0}, &number), MILLPOND_OK);
    cr_assert_eq(millpond_txn_commit(txn), MILLPOND_OK);
    struct millpond_set how = in("own");
    cr_assert_eq(millpond_set_ex(mine, "own", 3, "1", 1, &how), MILLPOND_OK);
    cr_assert_eq(set("plain", "1"), MILLPOND_OK);
    cr_assert_eq(scanned(), 6);
    cr_assert_eq(invalidate("app"), MILLPOND_OK);
    cr_assert_eq(scanned(), 2);
    cr_assert(reads("own", "1") && reads("plain", "1"));
    millpond_close(mine);
}

Test(group, transactions_store_in_groups_and_notice_an_invalidation) {
    struct millpond_set how = in("red");
    struct millpond_txn *txn;
    int64_t number;
    how.ttl_ms = 3600000;
    cr_assert_eq(millpond_txn_begin(pond, &txn), MILLPOND_OK);
    cr_assert_eq(millpond_txn_set_ex(txn, "k", 1, "1", 1, &how), MILLPOND_OK);
    cr_assert_eq(millpond_txn_set_ex(txn, "plain", 5, "1", 1, NULL), MILLPOND_OK);
    how.when = MILLPOND_IF_ABSENT;
    cr_assert_eq(millpond_txn_set_ex(txn, "k", 1, "1", 1, &how), MILLPOND_ERR_ARGUMENT);
    cr_assert_eq(millpond_txn_commit(txn), MILLPOND_OK);
    cr_assert(reads("k", "1") && reads("plain", "1"));

    cr_assert_eq(millpond_txn_begin(pond, &txn), MILLPOND_OK);
    cr_assert_eq(millpond_txn_get(txn, "k", 1, buf, sizeof buf, &bytes), MILLPOND_OK);
    cr_assert_eq(millpond_txn_set(txn, "plain", 5, "2", 1, 0), MILLPOND_OK);
    cr_assert_eq(invalidate("red"), MILLPOND_OK);
    cr_assert_eq(millpond_txn_commit(txn), MILLPOND_CHANGED);
    cr_assert(reads("plain", "1"));

    how.when = MILLPOND_ALWAYS;
    cr_assert_eq(millpond_incr_ex(pond, "n", 1, 1, 0, &how, &number), MILLPOND_OK);
    cr_assert_eq(millpond_txn_begin(pond, &txn), MILLPOND_OK);
    cr_assert(millpond_txn_incr(txn, "n", 1, 1, NULL, &number) == MILLPOND_OK && number == 2);
    cr_assert_eq(millpond_txn_commit(txn), MILLPOND_OK);
    cr_assert(reads("n", "2"));
    cr_assert_eq(invalidate("red"), MILLPOND_OK);
    cr_assert_eq(get("n"), MILLPOND_MISS);
}

/* ---- loads ---- */

struct source {
    const char *value; /* NULL: nothing there */
    const char *invalidates;
    int loads;
};

static int load(void *arg, const void *key, size_t key_bytes, struct millpond_load *load) {
    struct source *s = arg;
    (void)key, (void)key_bytes;
    s->loads++;
    if (s->invalidates) cr_assert_eq(invalidate(s->invalidates), MILLPOND_OK);
    if (!s->value) return MILLPOND_MISS;
    load->value = (void *)(uintptr_t)s->value;
    load->value_bytes = strlen(s->value);
    return MILLPOND_OK;
}

static struct millpond_fetched how_it_went;
static int fetch(const char *key, struct source *s, const char *group) {
    struct millpond_fetch o = {.ttl_ms = 3600000, .grace_ms = 3600000, .negative_ttl_ms = 3600000};
    o.group = group;
    o.group_bytes = strlen(group);
    memset(buf, 0, sizeof buf);
    return millpond_fetch(pond, key, strlen(key), load, s, &o, buf, sizeof buf, &bytes, &how_it_went);
}

Test(group, what_was_loaded_is_invalidated_too_and_that_there_is_nothing) {
    struct source s = {.value = "v"}, none = {0};
    cr_assert(fetch("k", &s, "red") == MILLPOND_OK && fetch("k", &s, "red") == MILLPOND_OK && s.loads == 1);
    cr_assert(fetch("n", &none, "red") == MILLPOND_MISS && fetch("n", &none, "red") == MILLPOND_MISS && none.loads == 1);
    cr_assert_eq(invalidate("red"), MILLPOND_OK);
    cr_assert_eq(millpond_get_stale(pond, "k", 1, buf, sizeof buf, &bytes), MILLPOND_MISS);
    cr_assert(fetch("k", &s, "red") == MILLPOND_OK && s.loads == 2 && how_it_went.how == MILLPOND_HOW_LOADED);
    cr_assert(fetch("n", &none, "red") == MILLPOND_MISS && none.loads == 2);
}

Test(group, what_was_loaded_before_an_invalidation_is_not_stored_behind_it) {
    struct source s = {.value = "v", .invalidates = "red"};
    cr_assert(fetch("k", &s, "red") == MILLPOND_OK && strcmp(buf, "v") == 0 && how_it_went.how == MILLPOND_HOW_ALONE);
    cr_assert_eq(get("k"), MILLPOND_MISS);
    s.value = NULL;
    cr_assert(fetch("n", &s, "red") == MILLPOND_MISS && how_it_went.how == MILLPOND_HOW_ALONE);
    s.invalidates = NULL;
    cr_assert(fetch("n", &s, "red") == MILLPOND_MISS && how_it_went.how == MILLPOND_HOW_LOADED && s.loads == 3);
    s.invalidates = "blue";
    s.value = "v";
    cr_assert(fetch("k", &s, "red") == MILLPOND_OK && how_it_went.how == MILLPOND_HOW_LOADED);
    cr_assert(reads("k", "v"));
}

Test(group, a_lease_keeps_the_generation_that_it_began_with) {
    struct millpond_fetch o = {.group = "red", .group_bytes = 3, .negative_ttl_ms = 3600000};
    struct millpond_lease lease;
    for (int end = 0; end < 3; end++) {
        cr_assert_eq(millpond_lease_acquire(pond, "k", 1, &o, buf, sizeof buf, &bytes, &lease), MILLPOND_MISS);
        cr_assert_eq(lease.state, MILLPOND_LEASE_WON);
        if (end < 2) cr_assert_eq(invalidate("red"), MILLPOND_OK);
        cr_assert_eq(
            end == 1 ? millpond_lease_fill_nothing(pond, &lease, "k", 1, NULL) : millpond_lease_fill(pond, &lease, "k", 1, "v", 1, NULL),
            end < 2 ? MILLPOND_CHANGED : MILLPOND_OK, "%d", end);
    }
    cr_assert(reads("k", "v"));
    cr_assert_eq(invalidate("red"), MILLPOND_OK);
    cr_assert_eq(get("k"), MILLPOND_MISS);
}

/* ---- a store behind the pond ---- */

struct place {
    char value[16];
    const char *invalidates;
};

static int place_load(void *state, struct millpond_store_item *item, const struct millpond_store_call *call) {
    struct place *place = state;
    (void)call;
    item->value = strdup(place->value);
    item->value_bytes = strlen(place->value);
    if (place->invalidates) invalidate(place->invalidates);
    return MILLPOND_OK;
}
static int place_store(void *state, const void *key, size_t key_bytes, const void *value, size_t value_bytes, uint64_t ttl_ms,
                       const struct millpond_store_call *call) {
    struct place *place = state;
    (void)key, (void)key_bytes, (void)ttl_ms, (void)call;
    memcpy(place->value, value, value_bytes);
    place->value[value_bytes] = 0;
    if (place->invalidates) invalidate(place->invalidates);
    return MILLPOND_OK;
}

Test(group, read_through_and_write_through_have_groups) {
    struct place place = {.value = "first"};
    struct millpond_store store = {.name = "place", .state = &place, .load = place_load, .store = place_store};
    char name[] = "all";
    store.fetch.group = name;
    store.fetch.group_bytes = 3;
    cr_assert_eq(millpond_bind_store(pond, &store), MILLPOND_OK);
    memset(name, 'x', 3);
    struct millpond_through own = {.group = "own", .group_bytes = 3};
    cr_assert_eq(millpond_read_through(pond, "a", 1, buf, sizeof buf, &bytes, NULL), MILLPOND_OK);
    cr_assert_eq(millpond_read_through(pond, "b", 1, buf, sizeof buf, &bytes, &own), MILLPOND_OK);
    cr_assert_eq(millpond_write_through(pond, "c", 1, "c", 1, &own), MILLPOND_OK);  /* a new key */
    cr_assert_eq(millpond_write_through(pond, "a", 1, "a2", 2, NULL), MILLPOND_OK); /* one that is there */
    cr_assert(reads("a", "a2") && reads("b", "first") && reads("c", "c"));
    cr_assert_eq(invalidate("own"), MILLPOND_OK);
    cr_assert(reads("a", "a2") && get("b") == MILLPOND_MISS && get("c") == MILLPOND_MISS);
    cr_assert_eq(invalidate("all"), MILLPOND_OK);
    cr_assert_eq(get("a"), MILLPOND_MISS);
    own.group_bytes = 256;
    cr_assert_eq(millpond_read_through(pond, "b", 1, buf, sizeof buf, &bytes, &own), MILLPOND_ERR_ARGUMENT);
    cr_assert_eq(millpond_write_through(pond, "b", 1, "b", 1, &own), MILLPOND_ERR_ARGUMENT);

    /* Invalidated while the store was asked: nothing of it stays. The old entries are of no group. */
    place.invalidates = "all";
    cr_assert(set("d", "plain") == MILLPOND_OK && set("e", "plain") == MILLPOND_OK);
    cr_assert_eq(millpond_write_through(pond, "d", 1, "d2", 2, NULL), MILLPOND_OK);
    cr_assert_eq(get("d"), MILLPOND_MISS);
    cr_assert_eq(millpond_refresh(pond, "e", 1, NULL), MILLPOND_CHANGED);
    cr_assert_eq(get("e"), MILLPOND_OK);
    cr_assert_eq(millpond_write_through(pond, "f", 1, "f", 1, NULL), MILLPOND_OK);
    cr_assert_eq(get("f"), MILLPOND_MISS);
    cr_assert_eq(millpond_bind_store(pond, NULL), MILLPOND_OK);
}

/* ---- memory ---- */

Test(group, what_is_invalid_leaves_like_what_has_expired) {
    char key[32], value[200] = {0};
    struct millpond_set how = in("red");
    for (int i = 0; i < 2500; i++) {
        snprintf(key, sizeof key, "red-%d", i);
        cr_assert_eq(millpond_set_ex(pond, key, strlen(key), value, sizeof value, &how), MILLPOND_OK);
        if (i % 2) cr_assert_eq(get(key), MILLPOND_OK); /* hot, and nevertheless */
        if (i % 2) cr_assert_eq(get(key), MILLPOND_OK);
    }
    struct millpond_stats before = stats();
    cr_assert_eq(before.invalidated, 0);
    cr_assert_eq(invalidate("red"), MILLPOND_OK);
    for (int i = 0; i < 20000 && stats().invalidated < before.items; i++) {
        snprintf(key, sizeof key, "new-%d", i);
        cr_assert_eq(millpond_set(pond, key, strlen(key), value, sizeof value, 0), MILLPOND_OK);
    }
    cr_assert_eq(stats().invalidated, before.items, "%llu of %llu", (unsigned long long)stats().invalidated,
                 (unsigned long long)before.items);
    cr_assert_eq(stats().ghost_hits, before.ghost_hits);
    for (int i = 0; i < 2500; i++) {
        snprintf(key, sizeof key, "red-%d", i);
        cr_assert_eq(get(key), MILLPOND_MISS);
    }
}

Test(group, a_read_only_handle_sees_it_and_cannot_do_it) {
    struct millpond_options options = MILLPOND_OPTIONS_INIT;
    cr_assert_eq(set_in("k", "1", "red"), MILLPOND_OK);
    options.flags = MILLPOND_READONLY;
    struct millpond *reader = support_open(support_path("group.pond"), &options);
    cr_assert_eq(millpond_get(reader, "k", 1, buf, sizeof buf, &bytes), MILLPOND_OK);
    cr_assert_eq(millpond_invalidate(reader, "red", 3), MILLPOND_ERR_READ_ONLY);
    cr_assert_eq(millpond_get(reader, "k", 1, buf, sizeof buf, &bytes), MILLPOND_OK);
    cr_assert_eq(invalidate("red"), MILLPOND_OK);
    cr_assert_eq(millpond_get(reader, "k", 1, buf, sizeof buf, &bytes), MILLPOND_MISS);
    millpond_close(reader);
}

/* ---- names that share a word ---- */

static const char *name_of(unsigned i) {
    static char name[32];
    snprintf(name, sizeof name, "group-%u", i);
    return name;
}

/* The number of the group of each of those keys, and in bit 31 whether it was gone. */
static int collect(void *arg, const struct millpond_entry *entry) {
    uint32_t *number = arg;
    unsigned i = (unsigned)atoi((const char *)entry->key + 6);
    int there;
    memcpy(&there, entry->value, sizeof there);
    number[i] = entry->group | (there == MILLPOND_MISS ? UINT32_C(1) << 31 : 0);
    cr_assert(entry->group > 0 && entry->group < 65536);
    return 0;
}

Test(group, names_that_share_a_generation_go_together_and_no_others) {
    enum { NAMES = 200 };
    struct millpond *smallest = support_create(support_path("smallest.pond"), 64 << 10);
    struct millpond_stats all;
    uint32_t number[NAMES];
    unsigned together = 0, apart = 0;
    cr_assert_eq(millpond_stats(smallest, -1, &all), MILLPOND_OK);
    cr_assert_eq(all.groups, 16);
    for (unsigned i = 0; i < NAMES; i++) {
        struct millpond_set how = in(name_of(i));
        cr_assert_eq(millpond_set_ex(smallest, name_of(i), strlen(name_of(i)), &i, sizeof i, &how), MILLPOND_OK);
    }
    cr_assert_eq(millpond_invalidate(smallest, name_of(0), strlen(name_of(0))), MILLPOND_OK);
    for (unsigned i = 0; i < NAMES; i++) {
        struct millpond_set how = in(name_of(i)); /* the number that a scan shows is the same in every file */
        int there = millpond_contains(smallest, name_of(i), strlen(name_of(i)));
        cr_assert_eq(millpond_set_ex(pond, name_of(i), strlen(name_of(i)), &there, sizeof there, &how), MILLPOND_OK);
        number[i] = 0;
    }
    cr_assert_eq(millpond_scan(pond, NULL, 0, 0, collect, number), MILLPOND_OK);
    for (unsigned i = 0; i < NAMES; i++) {
        bool gone = number[i] >> 31, same = (number[i] & 15) == (number[0] & 15);
        cr_assert_eq(gone, same, "%u", i);
        together += same;
        apart += !same;
    }
    cr_assert(together > 1 && apart > 100, "%u %u", together, apart);
    millpond_close(smallest);
}

/* ---- another file ---- */

Test(group, a_resize_keeps_groups) {
    static const uint64_t sizes[] = {4 << 20, 256 << 10, 1 << 20};
    struct millpond_lease lease;
    struct millpond_fetch o = {.group = "red", .group_bytes = 3};
    char errmsg[MILLPOND_ERRMSG_BYTES];
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        cr_assert(set_in("red", "1", "red") == MILLPOND_OK && set_in("blue", "2", "blue") == MILLPOND_OK);
        cr_assert(set_in("gone", "3", "gone") == MILLPOND_OK && set("plain", "4") == MILLPOND_OK);
        cr_assert_eq(invalidate("gone"), MILLPOND_OK);
        cr_assert_eq(millpond_lease_acquire(pond, "loading", 7, &o, NULL, 0, NULL, &lease), MILLPOND_MISS);
        cr_assert_eq(millpond_resize(pond, sizes[i], errmsg), MILLPOND_OK, "%s", errmsg);
        cr_assert(reads("red", "1") && reads("blue", "2") && reads("plain", "4") && get("gone") == MILLPOND_MISS);
        cr_assert_eq(invalidate("red"), MILLPOND_OK);
        cr_assert(get("red") == MILLPOND_MISS && reads("blue", "2") && reads("plain", "4") && get("gone") == MILLPOND_MISS);
        millpond_lease_fill(pond, &lease, "loading", 7, "late", 4, NULL);
        cr_assert_eq(get("loading"), MILLPOND_MISS);
        cr_assert_eq(stats().groups, sizes[i] / 4096);
        cr_assert_eq(stats().invalidations, 2 * (i + 1));
    }
}

/* The words of a smaller file begin anew, but not where those of the larger one did. */
Test(group, a_lease_of_a_larger_file_is_late_behind_an_invalidation_in_the_smaller_one) {
    struct millpond_fetch o = {.group = "red", .group_bytes = 3};
    struct millpond_lease lease;
    char errmsg[MILLPOND_ERRMSG_BYTES];
    cr_assert_eq(invalidate("red"), MILLPOND_OK); /* before anything was stored in it */
    cr_assert_eq(millpond_lease_acquire(pond, "loading", 7, &o, NULL, 0, NULL, &lease), MILLPOND_MISS);
    cr_assert_eq(millpond_resize(pond, POND_BYTES / 4, errmsg), MILLPOND_OK, "%s", errmsg);
    cr_assert_eq(invalidate("red"), MILLPOND_OK);
    cr_assert_eq(millpond_lease_fill(pond, &lease, "loading", 7, "late", 4, NULL), MILLPOND_CHANGED);
    cr_assert_eq(get("loading"), MILLPOND_MISS);
}

Test(group, a_sync_and_a_new_opening_keep_groups) {
    cr_assert(set_in("red", "1", "red") == MILLPOND_OK && set_in("blue", "2", "blue") == MILLPOND_OK);
    cr_assert_eq(millpond_sync(pond), MILLPOND_OK);
    cr_assert_eq(invalidate("red"), MILLPOND_OK);
    millpond_close(pond);
    pond = support_open(support_path("group.pond"), NULL);
    cr_assert(get("red") == MILLPOND_MISS && reads("blue", "2"));
    struct millpond_check check = support_require_whole(support_path("group.pond"));
    cr_assert_eq(check.entries, stats().items); /* dead ones too, as those that have expired */
}
