/* SPDX-License-Identifier: MIT */
/* policy_queue.h: what the exact policies are made of: queues of key numbers, linked through one pair of arrays, so that a key is in one
 * queue at a time. */
#ifndef BENCH_POLICY_QUEUE_H
#define BENCH_POLICY_QUEUE_H

#include "host.h"
#include "policies.h"

#include <stdlib.h>

enum { NONE = UINT32_MAX };
/* Where a key is: in no queue, or in one of the policy at hand. */
enum place { OUTSIDE, RESIDENT, SMALL, MAIN, GHOST, RECENT, FREQUENT, RECENT_GHOST, FREQUENT_GHOST, WINDOW, PROBATION, PROTECTED };

struct queue {
    uint32_t head, tail; /* new items enter at the head */
    uint64_t cost;
};

struct cache {
    const struct policy_requests *requests;
    uint32_t *newer, *older; /* neighbours in the queue, towards head and tail */
    uint32_t *cost;          /* of what is stored */
    uint8_t *place, *hits;
};

static inline void cache_init(struct cache *cache, const struct policy_requests *requests) {
    size_t keys = requests->key_count;
    cache->requests = requests;
    cache->newer = host_alloc(keys * sizeof *cache->newer);
    cache->older = host_alloc(keys * sizeof *cache->older);
    cache->cost = host_alloc(keys * sizeof *cache->cost);
    cache->place = host_alloc(keys);
    cache->hits = host_alloc(keys);
}

static inline void cache_free(struct cache *cache) {
    free(cache->newer);
    free(cache->older);
    free(cache->cost);
    free(cache->place);
    free(cache->hits);
}

static inline void push(struct cache *cache, struct queue *queue, uint32_t id, enum place place) {
    cache->newer[id] = NONE;
    cache->older[id] = queue->head;
    if (queue->head != NONE)
        cache->newer[queue->head] = id;
    else
        queue->tail = id;
    queue->head = id;
    queue->cost += cache->cost[id];
    cache->place[id] = (uint8_t)place;
}

static inline void unlink_from(struct cache *cache, struct queue *queue, uint32_t id) {
    if (cache->newer[id] != NONE)
        cache->older[cache->newer[id]] = cache->older[id];
    else
        queue->head = cache->older[id];
    if (cache->older[id] != NONE)
        cache->newer[cache->older[id]] = cache->newer[id];
    else
        queue->tail = cache->newer[id];
    queue->cost -= cache->cost[id];
    cache->place[id] = OUTSIDE;
}

static inline uint32_t cost_of(const struct policy_requests *requests, uint64_t at) {
    return requests->costs ? requests->costs[at] : 1;
}

/* The item was written anew with another size. True when that changed anything. */
static inline bool rewritten(struct cache *cache, struct queue *queue, uint32_t id, uint64_t at) {
    if (!cache->requests->after || cache->requests->after[at] != POLICY_REWRITE)
        return false;
    queue->cost = queue->cost - cache->cost[id] + cost_of(cache->requests, at);
    cache->cost[id] = cost_of(cache->requests, at);
    return true;
}

/* The request deletes its key when it is there. */
static inline bool deletes(const struct policy_requests *requests, uint64_t at) {
    return requests->after && requests->after[at] == POLICY_DELETE;
}

/* No cache takes it. */
static inline bool too_large(const struct policy_requests *requests, uint32_t cost) {
    return cost > requests->capacity || (requests->cost_max > 0 && cost > requests->cost_max);
}

#endif
