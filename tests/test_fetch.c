/* SPDX-License-Identifier: MIT */
/* millpond_fetch, millpond_get_stale and the lease calls, one property at a time; what several processes do is in mp_flight.c. */

#include "unit.h"

#include <stdlib.h>
#include <string.h>

struct source {
    struct millpond *pond;
    const char *value; /* NULL: `says` alone */
    int says, loads, released, inner;
    unsigned takes_ms;
};

static struct source *current;

static void count_release(void *value) {
    free(value);
    current->released++;
}

static int load(void *arg, const void *key, size_t key_bytes, struct millpond_load *load) {
    struct source *s = arg;
    (void)key, (void)key_bytes;
    s->loads++;
    support_sleep_ms(s->takes_ms);
    if (!s->value) return s->says;
    current = s;
    load->value = strdup(s->value);
    load->value_bytes = strlen(s->value);
    load->release = count_release;
    return MILLPOND_OK;
}

static struct millpond *fresh(void) { return support_create(support_path("fetch.pond"), 1 << 20); }

static char value[64];
static size_t bytes;
static struct millpond_fetched how;

static int fetch(struct millpond *pond, const char *key, struct source *s, const struct millpond_fetch *o) {
    memset(value, 0, sizeof value);
    return millpond_fetch(pond, key, strlen(key), load, s, o, value, sizeof value, &bytes, &how);
}

#define IS(text) (bytes == strlen(text) && memcmp(value, text, bytes) == 0)

Test(fetch, loads_once_and_releases_what_it_was_given) {
    struct millpond *pond = fresh();
    struct source s = {.value = "alice"};
    void *copy;
    cr_assert(fetch(pond, "k", &s, NULL) == MILLPOND_OK && IS("alice") && how.how == MILLPOND_HOW_LOADED);
    cr_assert(fetch(pond, "k", &s, NULL) == MILLPOND_OK && IS("alice") && how.how == MILLPOND_HOW_HIT);
    cr_assert(s.loads == 1 && s.released == 1);
    cr_assert_eq(millpond_fetch(pond, "k", 1, load, &s, NULL, value, 2, &bytes, NULL), MILLPOND_TOO_SMALL);
    cr_assert_eq(bytes, 5);
    cr_assert_eq(millpond_fetch_alloc(pond, "other", 5, load, &s, NULL, &copy, &bytes, &how), MILLPOND_OK);
    cr_assert(bytes == 5 && strcmp(copy, "alice") == 0 && how.how == MILLPOND_HOW_LOADED && s.released == 2);
    free(copy);
    millpond_close(pond);
}

Test(fetch, an_argument_out_of_its_range_is_refused_and_loads_nothing) {
    struct millpond *pond = fresh();
    struct source s = {.value = "x"};
    const struct millpond_fetch wrong[] = {
        {.ttl_ms = UINT64_MAX},    {.grace_ms = UINT64_MAX},  {.negative_ttl_ms = UINT64_C(40) * 86400 * 1000},
        {.load_max_ms = 86400001}, {.early_percent = 100001}, {.flags = 32}};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        cr_assert_eq(fetch(pond, "k", &s, &wrong[i]), MILLPOND_ERR_ARGUMENT, "%zu", i);
    cr_assert_eq(millpond_fetch(pond, "k", 1, NULL, NULL, NULL, value, sizeof value, &bytes, NULL), MILLPOND_ERR_ARGUMENT);
    cr_assert_eq(millpond_fetch(pond, "", 0, load, &s, NULL, value, sizeof value, &bytes, NULL), MILLPOND_ERR_ARGUMENT);
    cr_assert_eq(s.loads, 0);
    millpond_close(pond);
}

Test(fetch, a_read_only_handle_reads_and_leads_no_flight) {
    struct millpond *pond = fresh();
    struct source s = {.value = "x"};
    struct millpond_options options = MILLPOND_OPTIONS_INIT;
    cr_assert_eq(fetch(pond, "k", &s, NULL), MILLPOND_OK);
    options.flags = MILLPOND_READONLY;
    struct millpond *reader = support_open(support_path("fetch.pond"), &options);
    cr_assert_eq(fetch(reader, "k", &s, NULL), MILLPOND_OK);
    cr_assert_eq(fetch(reader, "absent", &s, NULL), MILLPOND_ERR_READ_ONLY);
    cr_assert_eq(s.loads, 1);
    millpond_close(reader);
    millpond_close(pond);
}

Test(fetch, that_there_is_nothing_is_remembered_and_absent_to_everybody_else) {
    struct millpond *pond = fresh();
    struct source s = {.says = MILLPOND_MISS};
    struct millpond_fetch o = {.negative_ttl_ms = 3600000};
    uint64_t ttl;
    cr_assert(fetch(pond, "k", &s, &o) == MILLPOND_MISS && how.how == MILLPOND_HOW_LOADED);
    cr_assert(fetch(pond, "k", &s, &o) == MILLPOND_MISS && how.how == MILLPOND_HOW_HIT && s.loads == 1);
    cr_assert_eq(millpond_get(pond, "k", 1, value, sizeof value, &bytes), MILLPOND_MISS);
    cr_assert_eq(millpond_get_stale(pond, "k", 1, value, sizeof value, &bytes), MILLPOND_MISS);
    cr_assert_eq(millpond_ttl(pond, "k", 1, &ttl), MILLPOND_MISS);
    cr_assert_eq(millpond_replace(pond, "k", 1, "x", 1, 0), MILLPOND_MISS);
    cr_assert_eq(millpond_add(pond, "k", 1, "x", 1, 0), MILLPOND_OK);
    cr_assert(fetch(pond, "k", &s, &o) == MILLPOND_OK && IS("x") && s.loads == 1);
    o.negative_ttl_ms = 30;
    cr_assert_eq(fetch(pond, "short", &s, &o), MILLPOND_MISS);
    support_sleep_ms(80);
    cr_assert(fetch(pond, "short", &s, &o) == MILLPOND_MISS && s.loads == 3);
    o.negative_ttl_ms = 0;
    cr_assert(fetch(pond, "never", &s, &o) == MILLPOND_MISS && fetch(pond, "never", &s, &o) == MILLPOND_MISS && s.loads == 5);
    millpond_close(pond);
}

Test(fetch, within_its_grace_an_old_value_outlives_a_failing_source) {
    struct millpond *pond = fresh();
    struct source s = {.value = "old"};
    struct millpond_fetch o = {.ttl_ms = 20, .grace_ms = 3600000};
    cr_assert_eq(fetch(pond, "k", &s, &o), MILLPOND_OK);
    support_sleep_ms(70);
    cr_assert_eq(millpond_get(pond, "k", 1, value, sizeof value, &bytes), MILLPOND_MISS);
    cr_assert(millpond_get_stale(pond, "k", 1, value, sizeof value, &bytes) == MILLPOND_STALE && IS("old"));
    s = (struct source){.says = -5};
    cr_assert(fetch(pond, "k", &s, &o) == MILLPOND_STALE && IS("old") && how.loader_result == -5 && s.loads == 1);
    o.flags = MILLPOND_FETCH_FRESH;
    cr_assert(fetch(pond, "k", &s, &o) == MILLPOND_ERR_LOADER && how.loader_result == -5);
    s = (struct source){.value = "new"};
    o.ttl_ms = 3600000;
    cr_assert(fetch(pond, "k", &s, &o) == MILLPOND_OK && IS("new") && how.how == MILLPOND_HOW_LOADED);
    cr_assert(millpond_get_stale(pond, "k", 1, value, sizeof value, &bytes) == MILLPOND_OK && IS("new"));
    millpond_close(pond);
}

/* A load of 30 ms, a minute to live, and an earliness at which one hit of some forty wins. */
Test(fetch, a_value_that_took_long_is_loaded_again_before_it_expires) {
    struct millpond *pond = fresh();
    struct source s = {.value = "x", .takes_ms = 30};
    struct millpond_fetch o = {.ttl_ms = 3600000};
    for (int i = 0; i < 100; i++) cr_assert_eq(fetch(pond, "far", &s, &o), MILLPOND_OK);
    cr_assert_eq(s.loads, 1, "an hour before its expiry");
    o.ttl_ms = 60000;
    o.early_percent = 100000;
    o.flags = MILLPOND_FETCH_NOT_EARLY;
    for (int i = 0; i < 100; i++) cr_assert_eq(fetch(pond, "near", &s, &o), MILLPOND_OK);
    cr_assert_eq(s.loads, 2, "not early");
    o.flags = 0;
    int early = 0;
    for (int i = 0; i < 1000 && !early; i++) {
        cr_assert(fetch(pond, "near", &s, &o) == MILLPOND_OK && IS("x"));
        early = how.how == MILLPOND_HOW_LOADED;
    }
    cr_assert(early, "never early"); /* each draw wins with e^-3.75 at least: a thousand that fail are one in 10^10 */
    millpond_close(pond);
}

static int load_inner(void *arg, const void *key, size_t key_bytes, struct millpond_load *out) {
    struct source *s = arg;
    char inner[16];
    size_t inner_bytes = 0;
    struct source other = {.value = "inner"};
    s->inner = millpond_fetch(s->pond, key, key_bytes, load_inner, s, NULL, inner, sizeof inner, &inner_bytes, NULL);
    int result = millpond_fetch(s->pond, "inner key", 9, load, &other, NULL, inner, sizeof inner, &inner_bytes, NULL);
    s->loads += result == MILLPOND_OK && inner_bytes == 5;
    s->value = "outer";
    return load(s, key, key_bytes, out);
}

Test(fetch, a_loader_may_fetch_another_key_and_is_told_when_it_is_its_own) {
    struct millpond *pond = fresh();
    struct source s = {.pond = pond};
    cr_assert_eq(millpond_fetch(pond, "k", 1, load_inner, &s, NULL, value, sizeof value, &bytes, &how), MILLPOND_OK);
    cr_assert(IS("outer") && s.inner == MILLPOND_ERR_NESTED && s.loads == 2 && how.how == MILLPOND_HOW_LOADED);
    cr_assert(millpond_get(pond, "inner key", 9, value, sizeof value, &bytes) == MILLPOND_OK && IS("inner"));
    millpond_close(pond);
}

Test(fetch, what_does_not_fit_is_given_and_not_stored) {
    struct millpond *pond = fresh();
    struct millpond_stats stats;
    cr_assert_eq(millpond_stats(pond, -1, &stats), MILLPOND_OK);
    size_t large = stats.max_item_bytes + 1;
    char *text = malloc(large + 1);
    cr_assert(text);
    memset(text, 'x', large);
    text[large] = 0;
    struct source s = {.value = text};
    void *copy;
    cr_assert_eq(millpond_fetch_alloc(pond, "k", 1, load, &s, NULL, &copy, &bytes, &how), MILLPOND_OK);
    cr_assert(bytes == large && how.how == MILLPOND_HOW_ALONE && millpond_contains(pond, "k", 1) == MILLPOND_MISS);
    free(copy);
    free(text);
    millpond_close(pond);
}

/* A lease holds no mutex, so its place is free for others as soon as it was revoked; tests/models/flight.pml, TOLD_AFTER_FREED. */
Test(fetch, of_a_lease_that_was_revoked_nothing_is_told_also_when_its_place_was_freed) {
    struct millpond *pond = fresh();
    struct millpond_lease won = {0}, busy, other = {.shard = UINT32_MAX};
    char key[16];
    size_t key_bytes = 0;
    for (int i = 0; won.slot < 3; i++) { /* so that there are places before it, from which a search comes by */
        cr_assert(i < 10000);
        key_bytes = (size_t)snprintf(key, sizeof key, "key %d", i);
        cr_assert_eq(millpond_lease_acquire(pond, key, key_bytes, NULL, NULL, 0, NULL, &won), MILLPOND_MISS);
        cr_assert_eq(won.state, MILLPOND_LEASE_WON);
    }
    cr_assert_eq(millpond_lease_acquire(pond, key, key_bytes, NULL, NULL, 0, NULL, &busy), MILLPOND_MISS);
    cr_assert_eq(busy.state, MILLPOND_LEASE_BUSY);
    cr_assert_eq(millpond_set(pond, key, key_bytes, "v", 1, 0), MILLPOND_OK);
    for (int i = 0; i < 1000 && (other.shard != won.shard || won.slot - other.slot - 1 >= 3); i++) { /* whoever looks there, frees it */
        char another[16];
        size_t bytes_of_it = (size_t)snprintf(another, sizeof another, "other %d", i);
        cr_assert_eq(millpond_lease_acquire(pond, another, bytes_of_it, NULL, NULL, 0, NULL, &other), MILLPOND_MISS);
        struct millpond_lease ended = other;
        if (other.state == MILLPOND_LEASE_WON) millpond_lease_abandon(pond, &ended, another, bytes_of_it, 0);
    }
    cr_assert_eq(millpond_lease_fill_nothing(pond, &won, key, key_bytes, NULL), MILLPOND_CHANGED);
    cr_assert_eq(millpond_lease_wait(pond, &busy, 1000, NULL), MILLPOND_OK, "who waited looks again, and finds the value");
    cr_assert(millpond_get(pond, key, key_bytes, value, sizeof value, &bytes) == MILLPOND_OK && IS("v"));
    millpond_close(pond);
}

Test(fetch, a_lease_is_filled_filled_with_nothing_or_abandoned) {
    struct millpond *pond = fresh();
    struct millpond_lease won, busy;
    struct millpond_fetch o = {.negative_ttl_ms = 3600000};
    int said = 0;
    for (int way = 0; way < 4; way++) {
        char key[2] = {(char)('a' + way), 0};
        cr_assert(millpond_lease_acquire(pond, key, 1, NULL, NULL, 0, NULL, &won) == MILLPOND_MISS && won.state == MILLPOND_LEASE_WON);
        cr_assert(millpond_lease_acquire(pond, key, 1, NULL, NULL, 0, NULL, &busy) == MILLPOND_MISS && busy.state == MILLPOND_LEASE_BUSY);
        cr_assert_eq(millpond_lease_wait(pond, &busy, 0, NULL), MILLPOND_ERR_TIMEOUT);
        cr_assert_eq(millpond_lease_fill(pond, &won, "another", 7, "v", 1, NULL), MILLPOND_ERR_ARGUMENT);
        int result = way == 0   ? millpond_lease_fill(pond, &won, key, 1, "v", 1, NULL)
                     : way == 1 ? millpond_lease_fill_nothing(pond, &won, key, 1, &o)
                                : millpond_lease_abandon(pond, &won, key, 1, way == 2 ? -9 : 0);
        cr_assert(result == MILLPOND_OK && won.state == MILLPOND_LEASE_NONE, "way %d: %d", way, result);
        cr_assert_eq(millpond_lease_fill(pond, &won, key, 1, "v", 1, NULL), MILLPOND_ERR_ARGUMENT);
        static const int told[] = {MILLPOND_OK, MILLPOND_MISS, MILLPOND_ERR_LOADER, MILLPOND_OK};
        cr_assert_eq(millpond_lease_wait(pond, &busy, 1000, &said), told[way], "way %d", way);
        static const int there[] = {MILLPOND_OK, MILLPOND_MISS, MILLPOND_MISS, MILLPOND_MISS};
        cr_assert_eq(millpond_lease_acquire(pond, key, 1, NULL, value, sizeof value, &bytes, &won), there[way], "way %d", way);
        cr_assert_eq(won.state, way < 2 ? MILLPOND_LEASE_NONE : MILLPOND_LEASE_WON, "way %d", way);
    }
    cr_assert_eq(said, -9);
    memset(&won, 0xff, sizeof won);
    won.state = MILLPOND_LEASE_WON;
    cr_assert_eq(millpond_lease_fill(pond, &won, "a", 1, "v", 1, NULL), MILLPOND_ERR_ARGUMENT);
    millpond_close(pond);
}
