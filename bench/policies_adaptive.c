/* SPDX-License-Identifier: MIT */
/* policies_adaptive.c: ARC and W-TinyLFU, exact and item by item.
 *
 *   ARC        (Megiddo and Modha, FAST '03) two LRU queues, of items asked for once and more often, and a ghost queue behind each. A hit
 *              in the first one's ghost raises that queue's target, one in the other's lowers it. The first queue with its ghost holds at
 *              most the capacity, all four twice that.
 *   W-TinyLFU  (Einziger, Friedman and Manes, TOS '17; as in Caffeine) a window of 1 %, LRU; what leaves it meets the oldest of the main
 *              part on probation, and who was asked for more often stays. Main is a segmented LRU, 80 % of it protected. Counts go up to 15
 *              and are halved after ten requests for each item that fits. They are exact here, where Caffeine has a sketch: no collisions.
 *
 * With costs, targets and shares are in costs, and as many items leave as it takes. */
#include "policies.h"

#include "policy_queue.h"

static const struct queue empty_queue = {NONE, NONE, 0};

static void shift(struct cache *cache, struct queue *from, struct queue *to, uint32_t id, enum place place) {
    unlink_from(cache, from, id);
    push(cache, to, id, place);
}

/* ---- ARC ---- */

struct arc {
    struct cache cache;
    struct queue recent, frequent, recent_ghost, frequent_ghost;
    uint64_t target; /* of recent */
};

static void arc_make_room(struct arc *arc, uint64_t more, bool from_frequent_ghost) {
    while (arc->recent.cost + arc->frequent.cost + more > arc->cache.requests->capacity) {
        bool above = arc->recent.cost > arc->target || (from_frequent_ghost && arc->recent.cost == arc->target);
        if (arc->recent.tail != NONE && (above || arc->frequent.tail == NONE))
            shift(&arc->cache, &arc->recent, &arc->recent_ghost, arc->recent.tail, RECENT_GHOST);
        else
            shift(&arc->cache, &arc->frequent, &arc->frequent_ghost, arc->frequent.tail, FREQUENT_GHOST);
    }
}

static void arc_trim(struct arc *arc) {
    uint64_t capacity = arc->cache.requests->capacity;
    while (arc->recent.cost + arc->recent_ghost.cost > capacity && arc->recent_ghost.tail != NONE)
        unlink_from(&arc->cache, &arc->recent_ghost, arc->recent_ghost.tail);
    while (arc->recent.cost + arc->frequent.cost + arc->recent_ghost.cost + arc->frequent_ghost.cost > 2 * capacity &&
           arc->frequent_ghost.tail != NONE)
        unlink_from(&arc->cache, &arc->frequent_ghost, arc->frequent_ghost.tail);
}

static uint64_t arc_step(uint64_t own, uint64_t other, uint64_t cost) {
    return own > 0 && other > own ? cost * other / own : cost;
}

/* It is in one of the ghosts. */
static void arc_learn(struct arc *arc, uint32_t id, uint32_t cost) {
    uint64_t capacity = arc->cache.requests->capacity;
    if (arc->cache.place[id] == RECENT_GHOST) {
        arc->target += arc_step(arc->recent_ghost.cost, arc->frequent_ghost.cost, cost);
        arc->target = arc->target < capacity ? arc->target : capacity;
        unlink_from(&arc->cache, &arc->recent_ghost, id);
    } else {
        uint64_t step = arc_step(arc->frequent_ghost.cost, arc->recent_ghost.cost, cost);
        arc->target = arc->target > step ? arc->target - step : 0;
        unlink_from(&arc->cache, &arc->frequent_ghost, id);
    }
}

uint64_t arc_misses(const struct policy_requests *requests) {
    struct arc arc = {.recent = empty_queue, .frequent = empty_queue, .recent_ghost = empty_queue, .frequent_ghost = empty_queue};
    struct cache *cache = &arc.cache;
    uint64_t misses = 0;
    cache_init(cache, requests);
    for (uint64_t at = 0; at < requests->count; at++) {
        uint32_t id = requests->ids[at], cost = cost_of(requests, at);
        for (uint32_t over; (over = next_expired(cache, at)) != NONE; )
            unlink_from(cache, cache->place[over] == RECENT ? &arc.recent : &arc.frequent, over);
        enum place place = cache->place[id];
        if (place == RECENT || place == FREQUENT) {
            shift(cache, place == RECENT ? &arc.recent : &arc.frequent, &arc.frequent, id, FREQUENT);
            if (rewritten(cache, &arc.frequent, id, at))
                arc_make_room(&arc, 0, false);
            else if (deletes(requests, at))
                unlink_from(cache, &arc.frequent, id);
            continue;
        }
        misses++;
        bool known = place != OUTSIDE;
        if (known)
            arc_learn(&arc, id, cost);
        if (too_large(requests, cost))
            continue;
        arc_make_room(&arc, cost, place == FREQUENT_GHOST);
        cache->cost[id] = cost;
        push(cache, known ? &arc.frequent : &arc.recent, id, known ? FREQUENT : RECENT);
        begin_life(cache, id, at);
        arc_trim(&arc);
    }
    cache_free(cache);
    return misses;
}

/* ---- W-TinyLFU ---- */

enum { COUNT_MAX = 15, REQUESTS_AN_ITEM = 10 };

struct tinylfu {
    struct cache cache; /* hits: the counts, kept for all keys */
    struct queue window, probation, protected;
    uint64_t window_share, protected_share, counted, halve_after;
};

static void count_request(struct tinylfu *lfu, uint32_t id) {
    uint8_t *counts = lfu->cache.hits;
    counts[id] = counts[id] < COUNT_MAX ? (uint8_t)(counts[id] + 1) : COUNT_MAX;
    if (++lfu->counted < lfu->halve_after)
        return;
    for (uint32_t i = 0; i < lfu->cache.requests->key_count; i++)
        counts[i] /= 2;
    lfu->counted /= 2;
}

static struct queue *tinylfu_queue(struct tinylfu *lfu, uint32_t id) {
    enum place place = lfu->cache.place[id];
    return place == WINDOW ? &lfu->window : place == PROBATION ? &lfu->probation : &lfu->protected;
}

static bool tinylfu_over(const struct tinylfu *lfu) {
    return lfu->window.cost + lfu->probation.cost + lfu->protected.cost > lfu->cache.requests->capacity;
}

/* Items leave until all fit: the candidate, or those on probation that were asked for less. */
static void contest(struct tinylfu *lfu, uint32_t candidate) {
    struct cache *cache = &lfu->cache;
    while (tinylfu_over(lfu)) {
        uint32_t victim = lfu->probation.tail != candidate ? lfu->probation.tail : lfu->protected.tail;
        if (victim == NONE)
            victim = candidate != NONE ? candidate : lfu->window.tail;
        bool admitted = candidate == NONE || victim == candidate || cache->hits[candidate] > cache->hits[victim];
        uint32_t leaves = admitted ? victim : candidate;
        unlink_from(cache, tinylfu_queue(lfu, leaves), leaves);
        if (leaves == candidate)
            return;
    }
}

static void tinylfu_settle(struct tinylfu *lfu) {
    while (lfu->window.cost > lfu->window_share || tinylfu_over(lfu)) {
        uint32_t candidate = lfu->window.cost > lfu->window_share ? lfu->window.tail : NONE;
        if (candidate != NONE)
            shift(&lfu->cache, &lfu->window, &lfu->probation, candidate, PROBATION);
        contest(lfu, candidate);
    }
}

static void tinylfu_hit(struct tinylfu *lfu, uint32_t id) {
    struct queue *queue = tinylfu_queue(lfu, id);
    if (queue == &lfu->window)
        shift(&lfu->cache, queue, queue, id, WINDOW);
    else
        shift(&lfu->cache, queue, &lfu->protected, id, PROTECTED);
    while (lfu->protected.cost > lfu->protected_share)
        shift(&lfu->cache, &lfu->protected, &lfu->probation, lfu->protected.tail, PROBATION);
}

/* What as many items as fit are asked for, ten times over. */
static uint64_t halve_after(const struct policy_requests *requests) {
    uint64_t sum = 0;
    for (uint64_t at = 0; at < requests->count; at++)
        sum += cost_of(requests, at);
    double mean = requests->count > 0 ? (double)sum / (double)requests->count : 1;
    uint64_t items = (uint64_t)((double)requests->capacity / mean);
    return REQUESTS_AN_ITEM * (items > 0 ? items : 1);
}

uint64_t wtinylfu_misses(const struct policy_requests *requests) {
    struct tinylfu lfu = {.window = empty_queue, .probation = empty_queue, .protected = empty_queue};
    struct cache *cache = &lfu.cache;
    uint64_t misses = 0;
    cache_init(cache, requests);
    lfu.window_share = requests->capacity / 100 > 0 ? requests->capacity / 100 : 1;
    lfu.protected_share = (requests->capacity - lfu.window_share) * 8 / 10;
    lfu.halve_after = halve_after(requests);
    for (uint64_t at = 0; at < requests->count; at++) {
        uint32_t id = requests->ids[at], cost = cost_of(requests, at);
        count_request(&lfu, id);
        for (uint32_t over; (over = next_expired(cache, at)) != NONE; )
            unlink_from(cache, tinylfu_queue(&lfu, over), over);
        if (cache->place[id] != OUTSIDE) {
            tinylfu_hit(&lfu, id);
            if (rewritten(cache, tinylfu_queue(&lfu, id), id, at))
                tinylfu_settle(&lfu);
            else if (deletes(requests, at))
                unlink_from(cache, tinylfu_queue(&lfu, id), id);
            continue;
        }
        misses++;
        if (too_large(requests, cost))
            continue;
        cache->cost[id] = cost;
        push(cache, &lfu.window, id, WINDOW);
        begin_life(cache, id, at);
        tinylfu_settle(&lfu);
    }
    cache_free(cache);
    return misses;
}
