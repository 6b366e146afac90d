/* SPDX-License-Identifier: MIT */
#ifndef MILLPOND_TESTS_SHARED_H
#define MILLPOND_TESTS_SHARED_H

/* Numbers in memory that the processes of a case share (support_share), by which they tell each other how far they are. */

#include "support.h"

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

#endif
