/* SPDX-License-Identifier: MIT */
/* policies.c: FIFO, LRU, SIEVE, S3-FIFO and Belady's MIN, exact and item by item.
 *
 *   FIFO     oldest first.
 *   LRU      a hit moves to the head.
 *   SIEVE    a hit sets a mark; a hand moves from tail to head, clears marks and evicts the first item without one (NSDI '24).
 *   S3-FIFO  small queue a tenth, main the rest, a ghost queue of names with main's capacity (SOSP '23). A new item goes to small, or to
 *            main when its name is in the ghost. Small's oldest goes to main with two hits or more, else into the ghost; main's oldest
 *            goes round again with one hit less while it has any (at most 3 count). Main is evicted from while it holds more than its
 *            share, small otherwise.
 *   Belady   the item whose next request is farthest away; one that will have expired by then is never asked for. With sizes it is no
 *            longer a bound, but still a measure. */
#include "policies.h"

#include "policy_queue.h"

#include <string.h>

/* ---- one queue: FIFO, LRU, SIEVE ---- */

enum order { ORDER_FIFO, ORDER_LRU, ORDER_SIEVE };

static uint32_t sieve_victim(struct cache *cache, struct queue *queue, uint32_t *hand) {
    uint32_t at = *hand != NONE ? *hand : queue->tail;
    while (cache->hits[at] > 0) {
        cache->hits[at] = 0;
        at = cache->newer[at] != NONE ? cache->newer[at] : queue->tail;
    }
    *hand = cache->newer[at];
    return at;
}

static uint64_t one_queue(const struct policy_requests *requests, enum order order) {
    struct cache cache;
    struct queue queue = {NONE, NONE, 0};
    uint32_t hand = NONE;
    uint64_t misses = 0;
    cache_init(&cache, requests);
    for (uint64_t at = 0; at < requests->count; at++) {
        uint32_t id = requests->ids[at], cost = cost_of(requests, at);
        for (uint32_t over; (over = next_expired(&cache, at)) != NONE; ) {
            hand = hand == over ? cache.newer[over] : hand;
            unlink_from(&cache, &queue, over);
        }
        bool hit = cache.place[id] == RESIDENT;
        uint64_t more = 0;
        if (hit) {
            cache.hits[id] = 1;
            if (order == ORDER_LRU) {
                unlink_from(&cache, &queue, id);
                push(&cache, &queue, id, RESIDENT);
            }
            rewritten(&cache, &queue, id, at);
            if (deletes(requests, at)) {
                hand = hand == id ? cache.newer[id] : hand;
                unlink_from(&cache, &queue, id);
                continue;
            }
        } else {
            misses++;
            if (too_large(requests, cost))
                continue;
            more = cost;
        }
        while (queue.cost + more > requests->capacity) {
            uint32_t victim = order == ORDER_SIEVE ? sieve_victim(&cache, &queue, &hand) : queue.tail;
            unlink_from(&cache, &queue, victim);
        }
        if (!hit) {
            cache.cost[id] = cost;
            cache.hits[id] = 0;
            push(&cache, &queue, id, RESIDENT);
            begin_life(&cache, id, at);
        }
    }
    cache_free(&cache);
    return misses;
}

static uint64_t fifo_misses(const struct policy_requests *requests) {
    return one_queue(requests, ORDER_FIFO);
}

static uint64_t lru_misses(const struct policy_requests *requests) {
    return one_queue(requests, ORDER_LRU);
}

static uint64_t sieve_misses(const struct policy_requests *requests) {
    return one_queue(requests, ORDER_SIEVE);
}

/* ---- S3-FIFO ---- */

enum { PROMOTE_HITS = 2, MAIN_HITS_MAX = 3 };

struct s3fifo {
    struct cache cache;
    struct queue small, main, ghost;
    uint64_t small_share, main_share;
};

static void to_ghost(struct s3fifo *s3, uint32_t id) {
    if (s3->cache.cost[id] > s3->main_share)
        return;
    while (s3->ghost.cost + s3->cache.cost[id] > s3->main_share)
        unlink_from(&s3->cache, &s3->ghost, s3->ghost.tail);
    push(&s3->cache, &s3->ghost, id, GHOST);
}

/* Moves small's oldest items to main until one of them leaves. */
static void evict_small(struct s3fifo *s3) {
    while (s3->small.tail != NONE) {
        uint32_t id = s3->small.tail;
        bool promote = s3->cache.hits[id] >= PROMOTE_HITS;
        unlink_from(&s3->cache, &s3->small, id);
        s3->cache.hits[id] = 0;
        if (promote) {
            push(&s3->cache, &s3->main, id, MAIN);
        } else {
            to_ghost(s3, id);
            return;
        }
    }
}

static void evict_main(struct s3fifo *s3) {
    while (s3->main.tail != NONE) {
        uint32_t id = s3->main.tail;
        unsigned hits = s3->cache.hits[id] < MAIN_HITS_MAX ? s3->cache.hits[id] : MAIN_HITS_MAX;
        unlink_from(&s3->cache, &s3->main, id);
        if (hits == 0)
            return;
        s3->cache.hits[id] = (uint8_t)(hits - 1);
        push(&s3->cache, &s3->main, id, MAIN);
    }
}

static void make_room(struct s3fifo *s3, uint64_t more) {
    while (s3->small.cost + s3->main.cost + more > s3->cache.requests->capacity) {
        if (s3->main.cost > s3->main_share || s3->small.tail == NONE)
            evict_main(s3);
        else
            evict_small(s3);
    }
}

/* Takes out what has expired, or without a reaper only finds that this request's item has: what is stored anew in its place begins another
 * life. */
static bool expire(struct s3fifo *s3, uint64_t at, bool lazy) {
    struct cache *cache = &s3->cache;
    uint32_t id = cache->requests->ids[at];
    if (!lazy) {
        for (uint32_t over; (over = next_expired(cache, at)) != NONE; )
            unlink_from(cache, cache->place[over] == SMALL ? &s3->small : &s3->main, over);
        return false;
    }
    if (!cache->end_ms || !is_resident(cache, id) || cache->end_ms[id] > cache->requests->times_ms[at])
        return false;
    begin_life(cache, id, at);
    return true;
}

static uint64_t s3fifo_misses_of(const struct policy_requests *requests, bool lazy) {
    struct s3fifo s3 = {.small = {NONE, NONE, 0}, .main = {NONE, NONE, 0}, .ghost = {NONE, NONE, 0}};
    struct cache *cache = &s3.cache;
    uint64_t misses = 0;
    cache_init(cache, requests);
    s3.small_share = requests->capacity / 10 > 0 ? requests->capacity / 10 : 1;
    s3.main_share = requests->capacity - s3.small_share;
    for (uint64_t at = 0; at < requests->count; at++) {
        uint32_t id = requests->ids[at], cost = cost_of(requests, at);
        if (expire(&s3, at, lazy)) {
            misses++;
            continue;
        }
        if (cache->place[id] == SMALL || cache->place[id] == MAIN) {
            cache->hits[id] = cache->hits[id] < UINT8_MAX ? (uint8_t)(cache->hits[id] + 1) : UINT8_MAX;
            struct queue *queue = cache->place[id] == SMALL ? &s3.small : &s3.main;
            if (rewritten(cache, queue, id, at))
                make_room(&s3, 0);
            else if (deletes(requests, at))
                unlink_from(cache, queue, id);
            continue;
        }
        misses++;
        bool known = cache->place[id] == GHOST;
        if (known)
            unlink_from(cache, &s3.ghost, id);
        if (too_large(requests, cost))
            continue;
        make_room(&s3, cost);
        cache->cost[id] = cost;
        cache->hits[id] = 0;
        push(cache, known ? &s3.main : &s3.small, id, known ? MAIN : SMALL);
        begin_life(cache, id, at);
    }
    cache_free(cache);
    return misses;
}

static uint64_t s3fifo_misses(const struct policy_requests *requests) {
    return s3fifo_misses_of(requests, false);
}

static uint64_t s3fifo_lazy_misses(const struct policy_requests *requests) {
    return s3fifo_misses_of(requests, true);
}

/* ---- Belady ---- */

/* Of each request: when its key is asked for next; never is farther than any. Keys that never come back differ by nothing, and the
 * heap takes any of them. */
static uint64_t *next_requests(const struct policy_requests *requests) {
    uint64_t *next = host_alloc(requests->count * sizeof *next);
    uint64_t *seen = host_alloc(requests->key_count * sizeof *seen);
    memset(seen, 0xff, requests->key_count * sizeof *seen);
    for (uint64_t at = requests->count; at-- > 0; ) {
        next[at] = seen[requests->ids[at]];
        seen[requests->ids[at]] = at;
    }
    free(seen);
    return next;
}

/* When the item is asked for next while it lives: never, if it has expired by then. */
static uint64_t next_use(const struct cache *cache, const uint64_t *next, uint64_t at) {
    const struct policy_requests *requests = cache->requests;
    bool over = cache->end_ms && next[at] < requests->count && requests->times_ms[next[at]] >= cache->end_ms[requests->ids[at]];
    return over ? UINT64_MAX : next[at];
}

static uint64_t belady_misses(const struct policy_requests *requests) {
    struct cache cache;
    uint64_t *next = next_requests(requests), *next_of = host_alloc(requests->key_count * sizeof *next_of);
    struct heap heap = {NULL, 0, 0, true};
    uint64_t misses = 0, stored = 0;
    cache_init(&cache, requests);
    for (uint64_t at = 0; at < requests->count; at++) {
        uint32_t id = requests->ids[at], cost = cost_of(requests, at);
        for (uint32_t over; (over = next_expired(&cache, at)) != NONE; ) {
            cache.place[over] = OUTSIDE;
            stored -= cache.cost[over];
        }
        bool hit = cache.place[id] == RESIDENT;
        misses += !hit;
        if (!hit && too_large(requests, cost))
            continue;
        if (hit && deletes(requests, at)) {
            cache.place[id] = OUTSIDE;
            stored -= cache.cost[id];
            continue;
        }
        if (hit && requests->after && requests->after[at] == POLICY_REWRITE) {
            stored = stored - cache.cost[id] + cost;
            cache.cost[id] = cost;
            begin_life(&cache, id, at);
        }
        while (stored + (hit ? 0 : cost) > requests->capacity) {
            struct pair pair = heap_pop(&heap);
            if (cache.place[pair.id] != RESIDENT || next_of[pair.id] != pair.when)
                continue;
            cache.place[pair.id] = OUTSIDE;
            stored -= cache.cost[pair.id];
        }
        if (!hit) {
            cache.place[id] = RESIDENT;
            cache.cost[id] = cost;
            stored += cost;
            begin_life(&cache, id, at);
        }
        next_of[id] = next_use(&cache, next, at);
        heap_push(&heap, (struct pair){next_of[id], id});
    }
    cache_free(&cache);
    free(heap.pairs);
    free(next_of);
    free(next);
    return misses;
}

const struct policy policies[] = {
    {"fifo", "oldest first", fifo_misses, false},
    {"lru", "least recently used first", lru_misses, false},
    {"sieve", "SIEVE, NSDI '24", sieve_misses, false},
    {"s3fifo", "S3-FIFO, SOSP '23: small 10 %, ghost as large as main, promotion at two hits", s3fifo_misses, false},
    {"arc", "ARC, FAST '03: recent and frequent, their shares learnt from what left", arc_misses, false},
    {"wtinylfu", "W-TinyLFU, TOS '17: a window of 1 %, then who was asked for more often stays", wtinylfu_misses, false},
    {"belady", "the one whose next request is farthest away", belady_misses, false},
    {"s3fifo-lazy", "the same without a reaper: what has expired keeps its place until its turn comes", s3fifo_lazy_misses, true},
    {NULL, NULL, NULL, false}};

const struct policy *policy_find(const char *name, size_t name_bytes) {
    for (const struct policy *policy = policies; policy->name; policy++) {
        if (strlen(policy->name) == name_bytes && memcmp(policy->name, name, name_bytes) == 0)
            return policy;
    }
    return NULL;
}
