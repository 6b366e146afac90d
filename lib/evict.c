/* SPDX-License-Identifier: MIT */
/* S3-FIFO over segments: new keys go to the small queue, at first a tenth of the segments; what is read twice there, or comes back soon
 * after it left, goes to the main queue. Both are first in, first out, by segments; recycle.c walks the victims.
 *
 * Holes keep dead space low. Where it is not (after many deletes, expirations, or recoveries, which forget holes) the emptiest segment
 * is packed and nothing leaves.
 *
 * Ghosts: 16-bit fingerprints of keys that left, in buckets of 16: from the small queue in 15 places, newest first, from the main queue in
 * the last one, alone. As many of the 15 count as the shard holds entries for each bucket, so that the memory of what left is as long as
 * the cache is large, whatever the size of the entries.
 *
 * How large the small queue should be is learnt: a tenth is right for most, more where keys come back soon and then never again.
 *   N1 a new key is set. In the newest place of its ghost bucket: it left the small queue not long ago, and would still be here if that
 *      queue had been a little larger. The share grows by a step
 *   N2 in the place of the main queue: the same of that one. The share shrinks by a step
 *   N3 a step is an eighth of an entry, as a part of the shard; the share stays between a fiftieth and two fifths
 *   N4 the next victim comes from the small queue if that holds its share
 * Both memories are one place of 16, that is a sixteenth of what the shard holds: only what a slightly larger queue would have kept may
 * vote. With longer memories, or larger steps, the share follows noise (bench/README.md). Where entries are so large that few places
 * count, the newest of them remembers too long, and nothing is learnt.
 * The share is one word in the shard's header, changed under its mutex by one store: a hint, right whatever a death left. 0, as in a file
 * that never learnt, stands for a tenth; what is out of range is taken for the nearer bound. A clear keeps it, a resize begins anew: what
 * is best depends on the size. */

#include "evict.h"

#include "crashpoint.h"
#include "hash.h"
#include "segment.h"

#include <string.h>

/* Parts of a shard are fractions of 2^32. */
#define PART(percent) ((uint32_t)((UINT64_C(1) << 32) * (percent) / 100 + 1))
#define SHARE_FIRST   PART(10)
#define SHARE_LEAST   PART(2)
#define SHARE_MOST    PART(40)
#define LEARNING_WAYS 8u /* a ghost bucket of which fewer places count teaches nothing */

uint32_t pond_evict_share(const struct pond_ref *ref) {
    uint32_t share = pond_load_32(&ref->shard->small_share);
    return share == 0 ? SHARE_FIRST : share < SHARE_LEAST ? SHARE_LEAST : share > SHARE_MOST ? SHARE_MOST : share;
}

int pond_evict_share_sound(const struct pond_ref *ref) {
    uint32_t share = pond_load_32(&ref->shard->small_share);
    return share == 0 || share == pond_evict_share(ref);
}

/* N1 to N3. Not more than an eighth of a segment, if entries are larger than that. */
static void learn(const struct pond_ref *ref, int small_was_too_small) {
    uint64_t items = ref->shard->items, segments = ref->g->segment_count;
    uint32_t share = pond_evict_share(ref), step = (uint32_t)((UINT64_C(1) << 29) / (items > segments ? items : segments));
    if (small_was_too_small)
        share = share < SHARE_MOST - step ? share + step : SHARE_MOST;
    else
        share = share > SHARE_LEAST + step ? share - step : SHARE_LEAST;
    pond_store_32(&ref->shard->small_share, share);
    POND_CRASHPOINT("evict.learnt");
}

static uint32_t oldest(const struct pond_ref *ref, uint32_t queue) {
    uint32_t link = ref->shard->queue_head[queue];
    for (uint32_t turns = 0; link >= 1 && link <= ref->g->segment_count && turns < ref->g->segment_count; turns++) {
        const struct pond_segment *s = &ref->table[link - 1];
        if (pond_segment_state(s) == POND_SEGMENT_SEALED && !pond_segment_pinned(ref, link - 1)) return link - 1;
        link = s->next;
    }
    return POND_NO_SEGMENT;
}

/* An open segment in which nothing lives any more: of a class that nobody uses now, it would stay so for ever. */
static int open_over(const struct pond_ref *ref, uint32_t segment, uint64_t now_ms) {
    const struct pond_segment *s = &ref->table[segment];
    return s->expiry_max_ms > 0 && s->expiry_max_ms <= now_ms && pond_segment_tail(ref->g, s) > 0 && !pond_segment_pinned(ref, segment);
}

/* A segment in which nothing lives any more; else, where dead entries fill so much that nothing has to leave, the emptiest one. */
static uint32_t over_or_emptiest(const struct pond_ref *ref, uint64_t now_ms, int *pack) {
    uint32_t emptiest = POND_NO_SEGMENT, least = UINT32_MAX, sealed = 0;
    uint64_t live = 0;
    for (uint32_t i = 0; i < ref->g->segment_count; i++) {
        const struct pond_segment *s = &ref->table[i];
        uint32_t state = pond_segment_state(s);
        if (state != POND_SEGMENT_FREE) live += s->live_units;
        if (state == POND_SEGMENT_OPEN && open_over(ref, i, now_ms)) {
            pond_segment_seal(ref, i);
            return i;
        }
        if (state != POND_SEGMENT_SEALED) continue;
        sealed++;
        if (s->expiry_max_ms > now_ms && s->live_units >= least) continue;
        if (pond_segment_pinned(ref, i)) continue;
        if (s->expiry_max_ms <= now_ms) return i;
        least = s->live_units;
        emptiest = i;
    }
    /* Packing wins no slot: not where the index is what is full. */
    *pack = emptiest != POND_NO_SEGMENT && ref->shard->items < ref->g->items_high &&
            live * 100 < (uint64_t)sealed * ref->g->segment_units * POND_PACK_PERCENT &&
            (uint64_t)least * 100 < (uint64_t)ref->g->segment_units * POND_PACK_PERCENT;
    return *pack ? emptiest : POND_NO_SEGMENT;
}

/* When every segment is open or pinned: the fullest open one. */
static uint32_t forced(const struct pond_ref *ref) {
    uint32_t best = POND_NO_SEGMENT, most = 0;
    for (uint32_t i = 0; i < ref->g->segment_count; i++) {
        const struct pond_segment *s = &ref->table[i];
        uint32_t tail = pond_segment_tail(ref->g, s);
        if (pond_segment_state(s) == POND_SEGMENT_OPEN && tail > most && !pond_segment_pinned(ref, i)) {
            best = i;
            most = tail;
        }
    }
    if (best != POND_NO_SEGMENT) pond_segment_seal(ref, best);
    return best;
}

uint32_t pond_evict_victim(const struct pond_ref *ref, uint64_t now_ms, int *pack) {
    *pack = 0;
    uint32_t victim = over_or_emptiest(ref, now_ms, pack);
    if (victim != POND_NO_SEGMENT) return victim;
    uint32_t share = (uint32_t)((uint64_t)ref->g->segment_count * pond_evict_share(ref) >> 32); /* N4 */
    uint32_t first = ref->shard->queue_count[POND_SMALL] >= (share > 1 ? share : 1) ? POND_SMALL : POND_MAIN;
    victim = oldest(ref, first);
    if (victim == POND_NO_SEGMENT) victim = oldest(ref, first == POND_SMALL ? POND_MAIN : POND_SMALL);
    return victim != POND_NO_SEGMENT ? victim : forced(ref);
}

/* ---- ghosts ---- */

static struct pond_ghost_bucket *ghost_bucket(const struct pond_ref *ref, uint64_t hash, uint16_t *print) {
    uint64_t mixed = pond_mix(hash * UINT64_C(0x9E3779B97F4A7C15));
    *print = (uint16_t)(mixed | 1); /* 0 is an empty place */
    return &ref->ghosts[pond_reduce((uint32_t)(mixed >> 32), ref->g->ghost_count)];
}

static unsigned ways(const struct pond_ref *ref) {
    uint64_t n = ref->shard->items / ref->g->ghost_count + 1;
    return n < POND_GHOST_WAYS ? (unsigned)n : POND_GHOST_WAYS;
}

void pond_ghost_add(const struct pond_ref *ref, uint64_t hash, uint32_t queue) {
    uint16_t print;
    struct pond_ghost_bucket *bucket = ghost_bucket(ref, hash, &print);
    if (queue == POND_MAIN) {
        bucket->main_print = print;
        return;
    }
    memmove(&bucket->print[1], &bucket->print[0], sizeof bucket->print - sizeof bucket->print[0]);
    bucket->print[0] = print;
}

void pond_ghost_prefetch(const struct pond_ref *ref, uint64_t hash) {
    uint16_t print;
    __builtin_prefetch(ghost_bucket(ref, hash, &print));
}

int pond_ghost_take(const struct pond_ref *ref, uint64_t hash) {
    uint16_t print;
    if (!pond_ghost_any(ref)) return 0;
    struct pond_ghost_bucket *bucket = ghost_bucket(ref, hash, &print);
    unsigned n = ways(ref);
    for (unsigned i = 0; i < n; i++) {
        if (bucket->print[i] != print) continue;
        memmove(&bucket->print[i], &bucket->print[i + 1], (POND_GHOST_WAYS - 1 - i) * sizeof print);
        bucket->print[POND_GHOST_WAYS - 1] = 0;
        if (i == 0 && n >= LEARNING_WAYS) learn(ref, 1);
        return 1;
    }
    if (bucket->main_print == print) {
        bucket->main_print = 0;
        if (n >= LEARNING_WAYS) learn(ref, 0);
    }
    return 0;
}
