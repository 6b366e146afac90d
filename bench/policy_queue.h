/* SPDX-License-Identifier: MIT */
/* policy_queue.h: what the exact policies are made of: queues of key numbers, linked through one pair of arrays, so that a key is in one
 * queue at a time; a heap; and the perfect reaper over it, which names what has expired. */
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

/* (when, item), what is due soonest on top for one order of `when`, or what is farthest for the other. An item's older pairs stay inside
 * until they come up and are seen to be out of date. */
struct pair {
    uint64_t when;
    uint32_t id;
};

struct heap {
    struct pair *pairs;
    uint64_t count, room;
    bool farthest;
};

static inline bool heap_before(const struct heap *heap, struct pair a, struct pair b) {
    return heap->farthest ? a.when > b.when : a.when < b.when;
}

static inline void heap_push(struct heap *heap, struct pair pair) {
    if (heap->count == heap->room) {
        heap->room = heap->room > 0 ? heap->room * 2 : 1024;
        heap->pairs = host_grow(heap->pairs, heap->room * sizeof *heap->pairs);
    }
    uint64_t at = heap->count++;
    while (at > 0 && heap_before(heap, pair, heap->pairs[(at - 1) / 2])) {
        heap->pairs[at] = heap->pairs[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    heap->pairs[at] = pair;
}

static inline struct pair heap_pop(struct heap *heap) {
    struct pair top = heap->pairs[0], last = heap->pairs[--heap->count];
    uint64_t at = 0, child;
    while ((child = at * 2 + 1) < heap->count) {
        if (child + 1 < heap->count && heap_before(heap, heap->pairs[child + 1], heap->pairs[child]))
            child++;
        if (!heap_before(heap, heap->pairs[child], last))
            break;
        heap->pairs[at] = heap->pairs[child];
        at = child;
    }
    heap->pairs[at] = last;
    return top;
}

struct cache {
    const struct policy_requests *requests;
    uint32_t *newer, *older; /* neighbours in the queue, towards head and tail */
    uint32_t *cost;          /* of what is stored */
    uint8_t *place, *hits;
    uint64_t *end_ms;        /* when what is stored expires, UINT64_MAX for never; NULL when nothing does */
    struct heap ends;
};

static inline void cache_init(struct cache *cache, const struct policy_requests *requests) {
    size_t keys = requests->key_count;
    cache->requests = requests;
    cache->newer = host_alloc(keys * sizeof *cache->newer);
    cache->older = host_alloc(keys * sizeof *cache->older);
    cache->cost = host_alloc(keys * sizeof *cache->cost);
    cache->place = host_alloc(keys);
    cache->hits = host_alloc(keys);
    cache->end_ms = requests->ttl_ms ? host_alloc(keys * sizeof *cache->end_ms) : NULL;
    cache->ends = (struct heap){NULL, 0, 0, false};
}

static inline void cache_free(struct cache *cache) {
    free(cache->newer);
    free(cache->older);
    free(cache->cost);
    free(cache->place);
    free(cache->hits);
    free(cache->end_ms);
    free(cache->ends.pairs);
}

static inline bool is_resident(const struct cache *cache, uint32_t id) {
    uint8_t place = cache->place[id];
    return place != OUTSIDE && place != GHOST && place != RECENT_GHOST && place != FREQUENT_GHOST;
}

/* The item was stored by this request: its time to live begins. */
static inline void begin_life(struct cache *cache, uint32_t id, uint64_t at) {
    const struct policy_requests *requests = cache->requests;
    if (!cache->end_ms)
        return;
    cache->end_ms[id] = requests->ttl_ms[id] ? requests->times_ms[at] + requests->ttl_ms[id] : UINT64_MAX;
    if (requests->ttl_ms[id])
        heap_push(&cache->ends, (struct pair){cache->end_ms[id], id});
}

/* An item that has expired when this request comes, to be taken out; NONE when there is no more. */
static inline uint32_t next_expired(struct cache *cache, uint64_t at) {
    while (cache->ends.count > 0 && cache->ends.pairs[0].when <= cache->requests->times_ms[at]) {
        struct pair pair = heap_pop(&cache->ends);
        if (is_resident(cache, pair.id) && cache->end_ms[pair.id] == pair.when)
            return pair.id;
    }
    return NONE;
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
    begin_life(cache, id, at);
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
