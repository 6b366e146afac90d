/* SPDX-License-Identifier: MIT */
/* policies.h: exact replacement policies, item by item, to compare a real cache with.
 *
 * They keep numbers, not values: each request names a key and what it costs (1 for equal items, else bytes), the cache holds items of
 * at most `capacity` together, a miss always stores the item unless it is larger than the cache. */
#ifndef BENCH_POLICIES_H
#define BENCH_POLICIES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What a request does to an item that it hit. */
enum policy_after { POLICY_NOTHING, POLICY_REWRITE /* its cost becomes that of the request */, POLICY_DELETE /* it leaves */ };

struct policy_requests {
    uint64_t count;
    const uint32_t *ids;      /* below key_count */
    const uint32_t *costs;    /* of each request, at least 1; NULL: all are 1 */
    const uint8_t *after;     /* enum policy_after of each request; NULL: nothing */
    const uint64_t *times_ms; /* of each request, never going back; NULL: nothing expires */
    const uint64_t *ttl_ms;   /* of each key, from when it was stored, 0 for ever; NULL: nothing expires */
    uint32_t key_count;
    uint64_t capacity;
    uint64_t cost_max;        /* items that cost more are never stored; 0: only those larger than the capacity */
};

struct policy {
    const char *name;
    const char *about;
    /* Answers the number of misses. */
    uint64_t (*misses)(const struct policy_requests *requests);
    bool only_ttl; /* differs from the others only where items expire */
};

/* fifo, lru, sieve, s3fifo, arc, wtinylfu, belady, s3fifo-lazy; ends with an empty name. */
extern const struct policy policies[];
const struct policy *policy_find(const char *name, size_t name_bytes);

/* In policies_adaptive.c. */
uint64_t arc_misses(const struct policy_requests *requests);
uint64_t wtinylfu_misses(const struct policy_requests *requests);

#endif
