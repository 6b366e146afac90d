/* SPDX-License-Identifier: MIT */
#ifndef POND_RECYCLE_H
#define POND_RECYCLE_H

/* Making room: the walk of the segment that leaves, in instalments. For the holder of the shard's mutex. */

#include "entry.h"
#include "index.h"
#include "segment.h"

/* Below the reserve of free segments: is there enough left to begin later? */
int pond_recycle_may_wait(const struct pond_ref *ref);

/* Nothing is being recycled, and there is no need to. */
static inline int pond_recycle_idle(const struct pond_ref *ref) {
    const struct pond_shard *shard = ref->shard;
    return POND_LIKELY(shard->walk.victim == 0 && shard->items < ref->g->items_high) &&
           (POND_LIKELY(shard->free_count >= ref->g->reserve) || pond_recycle_may_wait(ref));
}

/* What one write has paid so far, all its calls together; empty at its begin. */
struct pond_paid {
    uint64_t entries, bytes; /* examined; copied */
    int stalled;
};

/* An instalment examines at most so many entries, and one more for each POND_STEP_UNITS units that are written. */
#define POND_STEP_ENTRIES_MAX 64u
#define POND_STEP_UNITS       64u
/* A segment that is freed at once costs the walks of at most so many victims: the last one keeps nothing. A walk looks at each entry of its
 * victim twice at the most. */
#define POND_FORCE_VICTIMS 5u

/* One instalment, for a write of `units`: examines a bounded number of entries if free segments run low. 1 when it did: what the caller has
 * found in the index may be gone. */
int pond_recycle_step(const struct pond_ref *ref, uint64_t units, struct pond_paid *paid);

/* Frees at least one segment now, dropping what lives if need be. Returns 0 when that cannot be (everything is pinned). */
int pond_recycle_force(const struct pond_ref *ref, struct pond_paid *paid);

#endif
