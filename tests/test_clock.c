/* SPDX-License-Identifier: MIT */
/* The wall clock set forward and back. This program has a clock_gettime of its own: the linker takes a program's function before that of
 * the C library, also for calls from a shared library, so the library under test sees the clock that the test sets. The clock can be
 * moved for all processes of the test at once (it lives in shared memory), or for one of them only. */

#include "support.h"
#include "unit.h"

#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

struct shared_clock {
    int64_t frozen_ms; /* the time, when it stands still; 0: the real one */
    int64_t shift_ms;
    uint64_t calls;
};
static struct shared_clock *set_clock;

int clock_gettime(clockid_t id, struct timespec *now) {
    if (id != CLOCK_REALTIME && id != CLOCK_REALTIME_COARSE) return (int)syscall(SYS_clock_gettime, id, now);
    long failed = syscall(SYS_clock_gettime, id, now);
    if (failed || !set_clock) return (int)failed;
    __atomic_fetch_add(&set_clock->calls, 1, __ATOMIC_RELAXED);
    int64_t frozen = __atomic_load_n(&set_clock->frozen_ms, __ATOMIC_RELAXED);
    int64_t ms =
        frozen ? frozen : (int64_t)now->tv_sec * 1000 + now->tv_nsec / 1000000 + __atomic_load_n(&set_clock->shift_ms, __ATOMIC_RELAXED);
    now->tv_sec = (time_t)(ms / 1000);
    now->tv_nsec = (long)(ms % 1000) * 1000000;
    return 0;
}

#define START_MS INT64_C(1800000000000) /* some day in 2027 */
#define HOUR_MS  INT64_C(3600000)

static struct millpond *pond;

static void setup(void) {
    set_clock = support_share(sizeof *set_clock);
    set_clock->frozen_ms = START_MS;
    pond = support_create(support_path("clock.pond"), 1 << 20);
}
static void teardown(void) {
    millpond_close(pond);
    support_require_whole(support_path("clock.pond"));
}
TestSuite(clock, .init = setup, .fini = teardown);

static void pass(int64_t ms) { set_clock->frozen_ms += ms; }

static void set(const char *key, uint64_t ttl_ms) { cr_assert_eq(millpond_set(pond, key, strlen(key), "v", 1, ttl_ms), MILLPOND_OK); }

static bool there(const char *key) {
    char buf[8];
    int result = millpond_get(pond, key, strlen(key), buf, sizeof buf, NULL);
    cr_assert(result == MILLPOND_OK || result == MILLPOND_MISS, "%d", result);
    cr_assert_eq(millpond_contains(pond, key, strlen(key)), result);
    return result == MILLPOND_OK;
}

static uint64_t left(const char *key) {
    uint64_t ttl = 0;
    cr_assert_eq(millpond_ttl(pond, key, strlen(key), &ttl), MILLPOND_OK);
    return ttl;
}

Test(clock, the_library_looks_at_the_clock_of_this_test) {
    uint64_t before = set_clock->calls;
    set("k", 1000);
    cr_assert(there("k"));
    cr_assert_gt(set_clock->calls, before);
}

Test(clock, time_passes_to_the_millisecond) {
    static const uint64_t ttls[] = {1, 2, 10, 999, 1000, 86400000, UINT64_C(86400000) * 36500};
    for (size_t i = 0; i < sizeof ttls / sizeof *ttls; i++) {
        set("k", ttls[i]);
        cr_assert(there("k"));
        cr_assert_eq(left("k"), ttls[i]);
        pass((int64_t)ttls[i] - 1);
        cr_assert(there("k"), "gone 1 ms early of %llu", (unsigned long long)ttls[i]);
        cr_assert_eq(left("k"), 1);
        pass(1);
        cr_assert(!there("k"), "still there after %llu ms", (unsigned long long)ttls[i]);
    }
}

Test(clock, a_clock_set_back_makes_nothing_immortal) {
    set("minute", 60000);
    set("day", 86400000);
    pass(30000);
    cr_assert(there("minute"));
    set_clock->frozen_ms -= 10 * HOUR_MS;
    set("after", 60000);
    cr_assert(there("after"), "what is stored after the clock was set back is gone at once");
    cr_assert_leq(left("after"), 60000 + 10 * HOUR_MS);
    /* Never longer than asked by more than the jump. */
    pass(10 * HOUR_MS + 60000);
    cr_assert(!there("after"), "stored for a minute, still there after ten hours and a minute");
    cr_assert(!there("minute"));
    pass(86400000);
    cr_assert(!there("day"));
}

Test(clock, a_clock_set_back_by_a_little_costs_nobody_his_time) {
    set("k", 1000);
    pass(100);
    cr_assert(there("k"));
    for (int i = 0; i < 50; i++) { /* as time daemons do */
        pass(20);
        set_clock->frozen_ms -= 10;
        set("other", 5000);
        cr_assert(there("other"));
    }
    pass(1100);
    cr_assert(!there("k"));
}

Test(clock, what_had_expired_stays_gone_when_the_clock_goes_back) {
    set("k", 1000);
    set("mark", 0);
    pass(2000);
    cr_assert(!there("k"));
    set("mark", 5000); /* a writer has acted on this time */
    set_clock->frozen_ms -= HOUR_MS;
    cr_assert(!there("k"), "an entry came back to life");
    cr_assert_eq(millpond_add(pond, "k", 1, "w", 1, 0), MILLPOND_OK);
}

Test(clock, a_clock_set_forward_expires_what_it_has_to_and_new_entries_live) {
    set("hour", (uint64_t)HOUR_MS);
    set("ever", 0);
    pass(2 * HOUR_MS);
    cr_assert(!there("hour"));
    cr_assert(there("ever"));
    set("new", 1000);
    cr_assert(there("new") && left("new") <= 1000);
    pass(1000);
    cr_assert(!there("new"));
}

Test(clock, forward_by_mistake_and_back_again_leaves_a_pond_that_works) {
    set("ever", 0);
    pass(24 * 365 * HOUR_MS);
    set("wrong year", 60000);
    set_clock->frozen_ms -= 24 * 365 * HOUR_MS;
    cr_assert(there("ever"));
    set("k", 60000);
    cr_assert(there("k"));
    /* The times to live of what is stored from now on are right, although the clock is a year behind what the file has seen. */
    cr_assert_leq(left("k"), 60000);
    pass(59000);
    cr_assert(there("k"), "gone early");
    pass(2000);
    cr_assert(!there("k"), "stored for a minute after the clock was set right, and still there after 61 seconds");
}

static int store_elsewhere(void *arg) {
    int64_t shift = *(int64_t *)arg;
    struct shared_clock own = {START_MS + shift, 0, 0};
    set_clock = &own;
    struct millpond *mine = support_open(support_path("clock.pond"), NULL);
    REQUIRE(millpond_set(mine, "theirs", 6, "v", 1, 60000) == MILLPOND_OK, "set");
    REQUIRE(millpond_contains(mine, "theirs", 6) == MILLPOND_OK, "gone at once");
    millpond_close(mine);
    return 0;
}

Test(clock, a_process_whose_clock_is_behind_harms_nobody) {
    set("ours", 60000);
    int64_t behind = -30000;
    cr_assert_eq(support_run_child(store_elsewhere, &behind, 10000), 0);
    cr_assert(there("ours"));
    pass(60000);
    cr_assert(!there("ours"));
    pass(30001);
    cr_assert(!there("theirs"), "longer than asked by more than the difference of the clocks");
}

Test(clock, expiry_holds_across_closing_when_the_clock_was_set_back_meanwhile) {
    set("k", 60000);
    pass(50000);
    set("mark", 0);
    millpond_close(pond);
    set_clock->frozen_ms -= HOUR_MS;
    pond = support_open(support_path("clock.pond"), NULL);
    pass(HOUR_MS + 10001);
    cr_assert(!there("k"));
}
