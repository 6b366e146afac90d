/* SPDX-License-Identifier: MIT */
/* lib/expire.c: the file's clock when the system's is set back, set forward, or when its words are damaged; the classes of times to live.
 * The system's clock is not moved: moving the words in the living page is the same. */

#include "white.h"

#include "platform.h"

static struct white *w;

static void begin(void) { w = white_new(&(struct white_shape){.size_bytes = 4 << 20}); }
static void end(void) { white_free(w); }

TestSuite(expire, .init = begin, .fini = end);

#define HOUR UINT64_C(3600000)
#define NEAR 500u /* what the test itself may take */

static int about(uint64_t ms, uint64_t expected) { return ms >= expected && ms < expected + NEAR; }

Test(expire, a_new_file_has_the_time_of_the_system) {
    uint64_t system = pond_platform_realtime_ms();
    cr_assert(about(pond_clock_read(&w->map), system));
    cr_assert(about(pond_clock_write(&w->map), system));
    cr_assert(about(w->map.living->clock_high_ms, system), "a writer tells the others");
    cr_assert_eq(w->map.living->clock_skew_ms, 0);
}

Test(expire, a_read_only_process_changes_nothing_and_stays_at_the_files_time) {
    struct pond_living before;
    w->map.readonly = 1;
    memcpy(&before, w->map.living, sizeof before);
    for (int i = 0; i < 1000; i++) pond_clock_read(&w->map);
    uint64_t high = w->map.living->clock_high_ms = before.clock_high_ms = pond_platform_realtime_ms() + HOUR;
    for (int i = 0; i < 1000; i++) cr_assert_eq(pond_clock_read(&w->map), high);
    cr_assert_eq(memcmp(&before, w->map.living, sizeof before), 0);
}

Test(expire, two_processes_whose_clocks_are_apart_settle) {
    /* The other one maps the same file; its clock is an hour ahead: what it writes is an hour ahead. */
    struct pond_map other = w->map;
    other.own_skew_ms = HOUR;
    uint64_t before = 0;
    for (int i = 0; i < 1000; i++) {
        uint64_t there = pond_clock_write(&other), here = i % 2 ? pond_clock_write(&w->map) : pond_clock_read(&w->map);
        cr_assert(here + NEAR >= there && here <= there + NEAR, "%lld ms apart", (long long)(here - there));
        cr_assert_geq(here, before);
        before = here;
        if (i == 500) support_sleep_ms(20);
    }
    uint64_t skew = w->map.living->clock_skew_ms + w->map.own_skew_ms;
    cr_assert(skew > HOUR - NEAR && skew <= 2 * HOUR + NEAR, "it is %llu and must not grow with each call", (unsigned long long)skew);
}

Test(expire, a_clock_that_is_a_little_behind_waits_for_the_files_time) {
    uint64_t high = pond_platform_realtime_ms() + 1500;
    w->map.living->clock_high_ms = high;
    for (int i = 0; i < 100; i++) {
        cr_assert_geq(pond_clock_read(&w->map), high);
        cr_assert_geq(pond_clock_write(&w->map), high);
    }
    cr_assert_eq(w->map.living->clock_skew_ms, 0, "two seconds are no reason for a skew");
}

Test(expire, a_clock_set_back_by_an_hour_is_made_up_for_once) {
    uint64_t high = pond_platform_realtime_ms() + HOUR;
    w->map.living->clock_high_ms = high;
    cr_assert_eq(pond_clock_write(&w->map), high, "the time stays where it was");
    uint64_t skew = w->map.living->clock_skew_ms;
    cr_assert(skew > HOUR - NEAR && skew <= HOUR, "skew %llu", (unsigned long long)skew);
    for (int i = 0; i < 1000; i++) cr_assert(about(pond_clock_write(&w->map), high));
    cr_assert_eq(w->map.living->clock_skew_ms, skew, "it was added again");
}

Test(expire, what_one_process_made_up_for_holds_for_the_others) {
    struct pond_map other = w->map;
    pond_clock_write(&other);
    uint64_t high = w->map.living->clock_high_ms = pond_platform_realtime_ms() + HOUR;
    w->map.system_seen_ms = pond_platform_realtime_ms() + HOUR;
    cr_assert(about(pond_clock_write(&w->map), high));
    cr_assert_eq(w->map.own_skew_ms, 0, "it saw the step itself: it is everybody's");
    w->map.living->clock_high_ms -= HOUR / 2; /* as if the others had been away for half an hour */
    cr_assert(about(pond_clock_write(&other), high), "the other one falls behind by half an hour");
    cr_assert_eq(other.own_skew_ms, 0);
}

Test(expire, a_clock_that_is_set_right_again_takes_nobody_ahead) {
    struct pond_map other = w->map;
    pond_clock_write(&other);
    w->map.system_seen_ms = pond_platform_realtime_ms() + HOUR;
    w->map.living->clock_high_ms = pond_platform_realtime_ms() + HOUR;
    uint64_t high = pond_clock_write(&w->map);
    w->map.living->clock_high_ms = high += HOUR; /* forward again, by the hour: the skew stays */
    w->map.living->clock_skew_ms += HOUR;
    cr_assert(about(pond_clock_write(&other), high));
    w->map.living->clock_high_ms += 3000; /* back by three seconds: no more than those are made up for */
    cr_assert(about(pond_clock_write(&other), high + 3000));
}

Test(expire, the_files_time_goes_on_after_the_clock_was_set_back) {
    uint64_t high = pond_platform_realtime_ms() + HOUR;
    w->map.living->clock_high_ms = high;
    pond_clock_write(&w->map);
    support_sleep_ms(60);
    uint64_t now = pond_clock_write(&w->map);
    cr_assert(now >= high + 30 && now < high + 60 + NEAR, "%lld ms later", (long long)(now - high));
    cr_assert(about(pond_clock_read(&w->map), now));
}

Test(expire, a_clock_set_forward_is_followed) {
    /* The file was last used an hour ago. */
    w->map.living->clock_high_ms = pond_platform_realtime_ms() - HOUR;
    uint64_t system = pond_platform_realtime_ms();
    cr_assert(about(pond_clock_read(&w->map), system));
    cr_assert(about(pond_clock_write(&w->map), system));
    cr_assert(about(w->map.living->clock_high_ms, system));
}

Test(expire, the_clock_never_goes_backwards_whatever_is_done) {
    struct support_random random = support_seed("clock");
    uint64_t before = 0, skew = 0;
    for (int i = 0; i < 100000; i++) {
        uint64_t now = i % 3 ? pond_clock_read(&w->map) : pond_clock_write(&w->map);
        cr_assert_geq(now, before, "%lld ms back", (long long)(before - now));
        before = now;
        if (i % 1000) continue;
        cr_assert_geq(w->map.living->clock_skew_ms, skew);
        skew = w->map.living->clock_skew_ms;
        /* The system's clock is set back, or forward, as seen from the file: high and skew move together. */
        uint64_t jump = support_below(&random, HOUR);
        w->map.living->clock_high_ms += jump;
    }
}

Test(expire, an_entry_lives_no_longer_when_the_clock_is_set_back) {
    cr_assert_eq(white_put(w, 1, 1, 10, 100), MILLPOND_OK);
    cr_assert_eq(white_expect(w, 1, 1, 10), MILLPOND_OK);
    w->map.living->clock_high_ms += 101; /* it was 101 ms later when the clock was set back */
    cr_assert_eq(white_expect(w, 1, 1, 10), MILLPOND_MISS);
    cr_assert_eq(white_put(w, 2, 1, 10, HOUR), MILLPOND_OK);
    cr_assert_eq(white_expect(w, 1, 1, 10), MILLPOND_MISS);
    cr_assert_eq(white_expect(w, 2, 1, 10), MILLPOND_OK);
}

Test(expire, words_that_are_a_lifetime_ahead_are_not_believed_and_are_mended_by_a_writer) {
    static const uint64_t far[] = {UINT64_MAX, UINT64_C(1) << 63, UINT64_C(1) << 43, UINT64_C(1) << 50};
    for (size_t i = 0; i < sizeof far / sizeof *far; i++)
        for (int which = 0; which < 3; which++) {
            uint64_t system = pond_platform_realtime_ms();
            w->map.living->clock_high_ms = which != 1 ? far[i] : system;
            w->map.living->clock_skew_ms = which != 0 ? far[i] : 0;
            cr_assert(about(pond_clock_read(&w->map), system), "%llx, %d", (unsigned long long)far[i], which);
            cr_assert(about(pond_clock_write(&w->map), system), "%llx, %d", (unsigned long long)far[i], which);
            pond_clock_write(&w->map);
            cr_assert(about(w->map.living->clock_high_ms, system) && w->map.living->clock_skew_ms == 0, "%llx, %d: high %llx, skew %llx",
                      (unsigned long long)far[i], which, (unsigned long long)w->map.living->clock_high_ms,
                      (unsigned long long)w->map.living->clock_skew_ms);
        }
}

Test(expire, classes_are_by_factors_of_four_and_in_range) {
    struct pond_geometry g = w->map.geometry;
    for (uint32_t classes = 1; classes <= POND_TTL_CLASSES; classes += 2) {
        g.ttl_classes = classes;
        cr_assert_eq(pond_ttl_class(&g, 0), 0);
        for (unsigned bits = 0; bits < 64; bits++)
            for (uint64_t add = 0; add < 2; add++) {
                uint64_t ttl_ms = (UINT64_C(1) << bits) + (add ? (UINT64_C(1) << bits) - 1 : 0);
                uint32_t class = pond_ttl_class(&g, ttl_ms);
                cr_assert_lt(class, classes);
                if (classes == 1) continue;
                cr_assert_gt(class, 0, "only what lives for ever is in class 0");
                cr_assert_eq(class, 1 + bits / 2 % (classes - 1), "2^%u ms", bits);
                if (bits < 62) cr_assert_neq(class, pond_ttl_class(&g, ttl_ms * 4), "neighbours are apart");
            }
    }
}
