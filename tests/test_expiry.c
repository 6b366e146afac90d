/* SPDX-License-Identifier: MIT */
/* Times to live: what is there before, gone after, and how ttl, touch, add, replace, cas and incr see it.
 *
 * The clock of a pond is the kernel's coarse one, whose tick is up to 10 ms; SLACK_MS allows for that and for a busy machine where the
 * test itself looks at the clock. A test never requires an entry to be there unless its own clock says that it must. */

#include "support.h"
#include "unit.h"

#include <string.h>

#define SLACK_MS     12
#define BRIEF_MS     1000 /* of what has to be seen before it has expired, also on a busy machine and under valgrind */
#define YEARS_100_MS (UINT64_C(36525) * 86400 * 1000)

static struct millpond *pond;

static void setup(void) { pond = support_create(support_path("expiry.pond"), 8 << 20); }
static void teardown(void) {
    millpond_close(pond);
    support_require_whole(support_path("expiry.pond"));
}
TestSuite(expiry, .init = setup, .fini = teardown);

static int set(const char *key, uint64_t ttl_ms) { return millpond_set(pond, key, strlen(key), "value", 5, ttl_ms); }

static int get(const char *key) {
    char buf[64];
    return millpond_get(pond, key, strlen(key), buf, sizeof buf, NULL);
}

static uint64_t ms_since(uint64_t start_ns) { return (support_now_ns() - start_ns) / 1000000; }

/* Waits until an entry stored with ttl_ms after start_ns has to be gone. */
static void outlive(uint64_t start_ns, uint64_t ttl_ms) {
    while (ms_since(start_ns) < ttl_ms + SLACK_MS) support_sleep_ms(1);
}

Test(expiry, an_entry_is_there_before_and_gone_after) {
    static const uint64_t ttls[] = {1, 5, 20, 50, 100, 200, 300};
    for (size_t i = 0; i < sizeof ttls / sizeof *ttls; i++) {
        uint64_t ttl = ttls[i], start = support_now_ns();
        cr_assert_eq(set("k", ttl), MILLPOND_OK);
        for (;;) {
            int result = get("k"), there = millpond_contains(pond, "k", 1);
            uint64_t elapsed = ms_since(start);
            if (elapsed + SLACK_MS < ttl)
                cr_assert(result == MILLPOND_OK && there == MILLPOND_OK, "gone after %llu of %llu ms", (unsigned long long)elapsed,
                          (unsigned long long)ttl);
            if (result == MILLPOND_MISS) break;
            cr_assert(elapsed < ttl + 2000, "a value with %llu ms is there after %llu", (unsigned long long)ttl,
                      (unsigned long long)elapsed);
            support_sleep_ms(1);
        }
        outlive(start, ttl);
        cr_assert_eq(get("k"), MILLPOND_MISS, "back again");
    }
}

Test(expiry, none_is_there_longer_than_asked) {
    /* Many at once, looked at exactly when they have to be gone. */
    char key[32];
    uint64_t start = support_now_ns(), stored_ms;
    for (int i = 0; i < 2000; i++) {
        snprintf(key, sizeof key, "short-%d", i);
        cr_assert_eq(set(key, (uint64_t)(i % 100 + 1)), MILLPOND_OK);
        snprintf(key, sizeof key, "long-%d", i);
        cr_assert_eq(set(key, 600000), MILLPOND_OK);
    }
    stored_ms = ms_since(start);
    outlive(start, stored_ms + 100);
    for (int i = 0; i < 2000; i++) {
        snprintf(key, sizeof key, "short-%d", i);
        cr_assert_eq(get(key), MILLPOND_MISS, "%s", key);
        snprintf(key, sizeof key, "long-%d", i);
        cr_assert_eq(get(key), MILLPOND_OK, "%s", key);
    }
}

Test(expiry, ttl_tells_what_is_left) {
    uint64_t left = 99, start = support_now_ns();
    cr_assert_eq(millpond_ttl(pond, "k", 1, &left), MILLPOND_MISS);
    cr_assert_eq(left, 99, "set on an outcome that does not name it");
    cr_assert_eq(set("k", 0), MILLPOND_OK);
    cr_assert(millpond_ttl(pond, "k", 1, &left) == MILLPOND_OK && left == 0, "0 stands for ever");
    static const uint64_t ttls[] = {1000, 30000, 3600000, UINT64_C(86400000) * 365, YEARS_100_MS - 86400000};
    for (size_t i = 0; i < sizeof ttls / sizeof *ttls; i++) {
        start = support_now_ns();
        cr_assert_eq(set("k", ttls[i]), MILLPOND_OK);
        cr_assert_eq(millpond_ttl(pond, "k", 1, &left), MILLPOND_OK);
        uint64_t elapsed = ms_since(start);
        cr_assert(left <= ttls[i] && left + elapsed + SLACK_MS >= ttls[i], "%llu of %llu left after %llu", (unsigned long long)left,
                  (unsigned long long)ttls[i], (unsigned long long)elapsed);
    }
    cr_assert_eq(set("k", 60), MILLPOND_OK);
    for (;;) { /* never 0 as long as it is there */
        int result = millpond_ttl(pond, "k", 1, &left);
        if (result == MILLPOND_MISS) break;
        cr_assert(result == MILLPOND_OK && left >= 1 && left <= 60);
    }
}

Test(expiry, a_time_beyond_a_hundred_years_is_refused) {
    struct millpond_set options = {.ttl_ms = UINT64_MAX};
    struct millpond_incr create = {0, UINT64_MAX};
    cr_assert_eq(set("k", 0), MILLPOND_OK);
    cr_assert_eq(set("k", YEARS_100_MS * 2), MILLPOND_ERR_ARGUMENT);
    cr_assert_eq(set("k", UINT64_MAX), MILLPOND_ERR_ARGUMENT);
    cr_assert_eq(millpond_touch(pond, "k", 1, UINT64_MAX), MILLPOND_ERR_ARGUMENT);
    cr_assert_eq(millpond_set_ex(pond, "k", 1, "v", 1, &options), MILLPOND_ERR_ARGUMENT);
    cr_assert_eq(millpond_incr(pond, "n", 1, 1, &create, NULL), MILLPOND_ERR_ARGUMENT);
    uint64_t left = 9;
    cr_assert(millpond_ttl(pond, "k", 1, &left) == MILLPOND_OK && left == 0, "an error changed something");
    cr_assert_eq(millpond_contains(pond, "n", 1), MILLPOND_MISS);
}

Test(expiry, touch_gives_another_time) {
    cr_assert_eq(millpond_touch(pond, "k", 1, 1000), MILLPOND_MISS);
    uint64_t start = support_now_ns(), left;
    cr_assert_eq(set("k", BRIEF_MS), MILLPOND_OK);
    cr_assert_eq(millpond_touch(pond, "k", 1, 600000), MILLPOND_OK);
    outlive(start, BRIEF_MS);
    cr_assert_eq(get("k"), MILLPOND_OK, "touch did not lengthen the time");
    cr_assert(millpond_ttl(pond, "k", 1, &left) == MILLPOND_OK && left > 500000);
    cr_assert_eq(millpond_touch(pond, "k", 1, 0), MILLPOND_OK);
    cr_assert(millpond_ttl(pond, "k", 1, &left) == MILLPOND_OK && left == 0);
    start = support_now_ns();
    cr_assert_eq(millpond_touch(pond, "k", 1, BRIEF_MS), MILLPOND_OK);
    cr_assert(millpond_ttl(pond, "k", 1, &left) == MILLPOND_OK && left >= 1 && left <= BRIEF_MS);
    outlive(start, BRIEF_MS);
    cr_assert_eq(get("k"), MILLPOND_MISS, "touch did not shorten the time");
    cr_assert_eq(millpond_touch(pond, "k", 1, 1000), MILLPOND_MISS, "touch revived a dead entry");
    cr_assert_eq(get("k"), MILLPOND_MISS);
}

Test(expiry, touch_works_for_values_of_every_kind) {
    static unsigned char value[300000];
    struct millpond_incr create = {41, 0};
    int64_t number = 0;
    support_fill(value, sizeof value, 5);
    cr_assert_eq(millpond_set(pond, "large", 5, value, sizeof value, 0), MILLPOND_OK);
    cr_assert_eq(millpond_set(pond, "empty", 5, NULL, 0, 0), MILLPOND_OK);
    cr_assert_eq(millpond_incr(pond, "count", 5, 1, &create, NULL), MILLPOND_OK);
    static const char *const keys[] = {"large", "empty", "count"};
    uint64_t left;
    for (int k = 0; k < 3; k++) {
        cr_assert_eq(millpond_touch(pond, keys[k], 5, 700000), MILLPOND_OK);
        cr_assert(millpond_ttl(pond, keys[k], 5, &left) == MILLPOND_OK && left > 600000 && left <= 700000, "%s", keys[k]);
    }
    static unsigned char back[sizeof value];
    size_t bytes = 0;
    cr_assert(millpond_get(pond, "large", 5, back, sizeof back, &bytes) == MILLPOND_OK && bytes == sizeof value);
    cr_assert(memcmp(value, back, sizeof value) == 0);
    cr_assert(millpond_incr(pond, "count", 5, 1, NULL, &number) == MILLPOND_OK && number == 43);
    uint64_t start = support_now_ns();
    for (int k = 0; k < 3; k++) cr_assert_eq(millpond_touch(pond, keys[k], 5, 20), MILLPOND_OK);
    outlive(start, 20 + ms_since(start));
    for (int k = 0; k < 3; k++) cr_assert_eq(get(keys[k]), MILLPOND_MISS, "%s", keys[k]);
}

Test(expiry, what_has_expired_is_absent_for_every_function) {
    struct millpond_set with_version = {.when = MILLPOND_IF_VERSION};
    struct millpond_incr create = {100, 0};
    char buf[16];
    int64_t number = 0;
    uint64_t start = support_now_ns(), version = 0;
    cr_assert_eq(set("versioned", BRIEF_MS), MILLPOND_OK);
    cr_assert_eq(millpond_get_if_changed(pond, "versioned", 9, buf, sizeof buf, NULL, &version), MILLPOND_OK);
    with_version.version = version;
    cr_assert_eq(millpond_set(pond, "counter", 7, "5", 1, 20), MILLPOND_OK);
    static const char *const keys[] = {"a", "b", "c", "d"};
    for (int i = 0; i < 4; i++) cr_assert_eq(set(keys[i], 20), MILLPOND_OK);
    outlive(start, BRIEF_MS + ms_since(start));
    cr_assert_eq(millpond_replace(pond, "a", 1, "new", 3, 0), MILLPOND_MISS);
    cr_assert_eq(millpond_add(pond, "b", 1, "new", 3, 0), MILLPOND_OK);
    cr_assert_eq(get("b"), MILLPOND_OK);
    cr_assert_eq(millpond_delete(pond, "c", 1), MILLPOND_MISS);
    cr_assert_eq(millpond_contains(pond, "d", 1), MILLPOND_MISS);
    cr_assert_eq(millpond_set_ex(pond, "versioned", 9, "new", 3, &with_version), MILLPOND_MISS);
    cr_assert_eq(millpond_get_if_changed(pond, "versioned", 9, buf, sizeof buf, NULL, &version), MILLPOND_MISS);
    cr_assert_eq(millpond_incr(pond, "counter", 7, 1, NULL, &number), MILLPOND_MISS);
    cr_assert(millpond_incr(pond, "counter", 7, 1, &create, &number) == MILLPOND_OK && number == 101);
    struct millpond_mget item = {"a", 1, buf, sizeof buf, 0, 0};
    cr_assert(millpond_mget(pond, &item, 1) == MILLPOND_OK && item.result == MILLPOND_MISS);
}

Test(expiry, a_grace_keeps_nothing_alive_for_those_who_do_not_ask) {
    struct millpond_set options = {.ttl_ms = BRIEF_MS, .grace_ms = 600000};
    uint64_t start = support_now_ns(), left;
    cr_assert_eq(millpond_set_ex(pond, "k", 1, "v", 1, &options), MILLPOND_OK);
    cr_assert_eq(get("k"), MILLPOND_OK);
    cr_assert(millpond_ttl(pond, "k", 1, &left) == MILLPOND_OK && left <= BRIEF_MS, "the grace was counted in");
    outlive(start, BRIEF_MS);
    cr_assert_eq(get("k"), MILLPOND_MISS);
    cr_assert_eq(millpond_contains(pond, "k", 1), MILLPOND_MISS);
    cr_assert_eq(millpond_add(pond, "k", 1, "w", 1, 0), MILLPOND_OK);
    cr_assert_eq(get("k"), MILLPOND_OK);
}

Test(expiry, a_set_gives_the_entry_the_new_time_only) {
    uint64_t start = support_now_ns(), left;
    cr_assert_eq(set("k", 30), MILLPOND_OK);
    cr_assert_eq(set("k", 0), MILLPOND_OK);
    cr_assert_eq(set("m", 0), MILLPOND_OK);
    uint64_t second = support_now_ns();
    cr_assert_eq(set("m", BRIEF_MS), MILLPOND_OK);
    cr_assert_eq(millpond_replace(pond, "m", 1, "x", 1, BRIEF_MS), MILLPOND_OK);
    outlive(start, 30);
    cr_assert_eq(get("k"), MILLPOND_OK);
    cr_assert(millpond_ttl(pond, "k", 1, &left) == MILLPOND_OK && left == 0);
    outlive(second, BRIEF_MS + ms_since(second));
    cr_assert_eq(get("m"), MILLPOND_MISS);
}

Test(expiry, expiry_survives_closing) {
    uint64_t start = support_now_ns(), left;
    cr_assert_eq(set("short", 60), MILLPOND_OK);
    cr_assert_eq(set("long", 600000), MILLPOND_OK);
    millpond_close(pond);
    outlive(start, 60);
    pond = support_open(support_path("expiry.pond"), NULL);
    cr_assert_eq(get("short"), MILLPOND_MISS);
    cr_assert(millpond_ttl(pond, "long", 4, &left) == MILLPOND_OK && left > 590000 && left < 600000);
}
