/* SPDX-License-Identifier: MIT */
#ifndef MILLPOND_TESTS_SHARED_H
#define MILLPOND_TESTS_SHARED_H

/* Numbers in memory that the processes of a case share (support_share), by which they tell each other how far they are. */

#include "support.h"

#include <string.h>

static inline uint64_t get(const uint64_t *p) { return __atomic_load_n(p, __ATOMIC_SEQ_CST); }
static inline void put(uint64_t *p, uint64_t v) { __atomic_store_n(p, v, __ATOMIC_SEQ_CST); }
static inline uint64_t add(uint64_t *p, uint64_t v) { return __atomic_add_fetch(p, v, __ATOMIC_SEQ_CST); }

/* Until *p is at least so much. */
static inline void await(const uint64_t *p, uint64_t least, const char *what) {
    uint64_t until = support_now_ns() + UINT64_C(30) * 1000000000;
    while (get(p) < least) {
        REQUIRE(support_now_ns() < until, "waiting for %s", what);
        support_sleep_us(200);
    }
}

static inline struct millpond_stats stats_of(struct millpond *pond) {
    struct millpond_stats stats;
    REQUIRE(millpond_stats(pond, -1, &stats) == MILLPOND_OK, "stats");
    return stats;
}

/* A fetch of the key "key", and what it is to answer: this value, or without one this result; neither: anything. */
struct want {
    millpond_loader loader;
    struct millpond_fetch options;
    const char *expect;
    int result;
};

/* What a loader says that failed. */
#define LOADER_SAYS (-777)

static inline int fetch_wanted(struct millpond *pond, const struct want *want, struct millpond_fetched *how) {
    char value[64];
    size_t bytes = 0;
    int result = millpond_fetch(pond, "key", 3, want->loader, NULL, &want->options, value, sizeof value, &bytes, how);
    int expected = want->expect ? MILLPOND_OK : want->result;
    REQUIRE(result == expected || (!want->expect && expected == 0), "fetch: %d, not %d", result, expected);
    if (want->expect)
        REQUIRE(bytes == strlen(want->expect) && memcmp(value, want->expect, bytes) == 0, "another value: %.*s", (int)bytes, value);
    if (result == MILLPOND_ERR_LOADER) REQUIRE(how->loader_result == LOADER_SAYS, "told %d", how->loader_result);
    return result;
}

/* Children that end well. */
static inline void all_well(const pid_t *children, unsigned count, unsigned deadline_ms) {
    for (unsigned i = 0; i < count; i++) {
        int status = support_wait(children[i], deadline_ms);
        REQUIRE(status == 0, "child %u ended with %d", i, status);
    }
}

#endif
