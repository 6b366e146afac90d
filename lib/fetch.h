/* SPDX-License-Identifier: MIT */
#ifndef POND_FETCH_H
#define POND_FETCH_H

/* What millpond_fetch and the lease calls share. */

#include "atomic.h"
#include "entry.h"
#include "read.h"

#define POND_LOAD_MS_DEFAULT 60000u
#define POND_FETCH_LOOKS     32u /* that find another version than writers do, until it is loaded whatever is there */

extern const struct millpond_fetch pond_fetch_defaults __attribute__((visibility("hidden")));

static inline int pond_fetch_options_wrong(const struct millpond_fetch *o) {
    return o->ttl_ms > POND_TTL_MS_MAX || o->grace_ms > POND_TTL_MS_MAX || o->negative_ttl_ms > POND_NEGATIVE_MS_MAX ||
           o->load_max_ms > POND_LOAD_MS_MAX || o->early_percent > 100000 || o->flags >= MILLPOND_LEASE_DETACHED * 2u ||
           (o->group_bytes != 0 && (!o->group || o->group_bytes > MILLPOND_GROUP_BYTES_MAX));
}
static inline uint64_t pond_fetch_load_max(const struct millpond_fetch *o) {
    return o->load_max_ms ? o->load_max_ms : POND_LOAD_MS_DEFAULT;
}

/* Is a value so far from its expiry that no draw can win? (The logarithm of a 64-bit number is less than 45; this allows 100.) */
static inline int pond_fetch_young(const struct millpond_fetch *o, const struct pond_age *age) {
    unsigned cost = pond_expiry_cost(age->expiry);
    uint64_t percent = o->early_percent ? o->early_percent : 100;
    return cost == 0 || (age->expiry & POND_EXPIRY_NEVER) - age->now_ms > percent << (cost - 1);
}

/* Does this caller load it now? Draws, so that of many callers few do, and more the nearer the expiry is. */
int pond_fetch_draw(const struct millpond_fetch *o, const struct pond_age *age);

/* Is there a value that this caller takes? */
static inline int pond_fetch_takes(const struct millpond_fetch *o, int result, const struct pond_age *age) {
    return (result == MILLPOND_OK || result == MILLPOND_STALE || result == MILLPOND_TOO_SMALL) &&
           !(age->stale && o->flags & MILLPOND_FETCH_FRESH);
}

#endif
