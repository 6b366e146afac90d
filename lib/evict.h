/* SPDX-License-Identifier: MIT */
#ifndef POND_EVICT_H
#define POND_EVICT_H

/* The policy: S3-FIFO over segments (Yang et al., SOSP '23). Which segment leaves, and who has left not long ago. */

#include "atomic.h"
#include "shard.h"

/* Below this counter an entry of the small queue leaves; from it on, it goes to the main queue. */
#define POND_PROMOTE_HITS 2u
/* Hot units of a hundred from which on a victim is kept as it is (relinked); how often in a row that may be done. */
#define POND_RELINK_PERCENT 90u
#define POND_RELINKS_MAX    16u

/* With less than this much of a hundred units live, no live entry leaves: the emptiest segment is packed instead. */
#define POND_PACK_PERCENT 75u

/* The segment to recycle next, or POND_NO_SEGMENT. *pack: what lives in it is to be kept. */
uint32_t pond_evict_victim(const struct pond_ref *ref, uint64_t now_ms, int *pack);

/* The part of the segments that the small queue is to have, of 2^32. */
uint32_t pond_evict_share(const struct pond_ref *ref);
/* Is what the file says about it one that can have been learnt? */
int pond_evict_share_sound(const struct pond_ref *ref);

/* Remembers a key that leaves a queue; asks whether one left the small queue not long ago, and forgets it. What comes back teaches how
 * large that queue should be. */
static inline int pond_ghost_any(const struct pond_ref *ref) {
    return pond_load_64(&ref->shard->counters.evictions) != 0; /* nobody has left yet: spare the cache miss */
}
void pond_ghost_add(const struct pond_ref *ref, uint64_t hash, uint32_t queue);
void pond_ghost_prefetch(const struct pond_ref *ref, uint64_t hash);
int pond_ghost_take(const struct pond_ref *ref, uint64_t hash);

#endif
