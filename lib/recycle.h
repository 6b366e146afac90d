/* SPDX-License-Identifier: MIT */
#ifndef POND_RECYCLE_H
#define POND_RECYCLE_H

/* Making room: the walk of the segment that leaves, in instalments. For the holder of the shard's mutex. */

#include "entry.h"
#include "index.h"
#include "segment.h"

/* Nothing is being recycled, and there is no need to. */
static inline int pond_recycle_idle(const struct pond_ref *ref) {
    const struct pond_shard *shard = ref->shard;
    return POND_LIKELY(shard->free_count >= ref->g->reserve && shard->walk.victim == 0 && shard->items < ref->g->items_high) != 0;
}

/* One instalment, for a write of `units`: examines a bounded number of entries if free segments run low. 1 when it did: what the caller has
 * found in the index may be gone. */
int pond_recycle_step(const struct pond_ref *ref, uint64_t units);

/* Frees at least one segment now, dropping what lives if need be. Returns 0 when that cannot be (everything is pinned). */
int pond_recycle_force(const struct pond_ref *ref);

#endif
