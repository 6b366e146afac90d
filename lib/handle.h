/* SPDX-License-Identifier: MIT */
#ifndef POND_HANDLE_H
#define POND_HANDLE_H

/* A handle, and how a public function goes in and out.
 *
 * A handle names the mapping of its file. The mapping can be replaced while threads are inside it, so every call is a read-side section of
 * liburcu (the -bp flavour, which registers threads by itself), lock and unlock of a robust mutex included: whoever unmaps waits for a
 * grace period, after which no thread is inside and no kernel write to one of its mutexes is outstanding. */

#include "hash.h"
#include "mapping.h"
#include "millpond.h"
#include "read.h"

#include "atomic.h"

#define _LGPL_SOURCE /* the read-side functions of liburcu inline: small ones, which its licence allows any program */
#include <urcu-bp.h>

struct pond_binding;

struct millpond {
    struct pond_map *map; /* under RCU */
    uint32_t lock_timeout_ms;
    struct pond_binding *store; /* what lies behind it (store.c), or NULL */
};

static inline struct pond_map *enter(const struct millpond *pond) {
    urcu_bp_read_lock();
    return rcu_dereference(pond->map);
}
static inline int leave(int result) {
    urcu_bp_read_unlock();
    return result;
}

static inline int key_of(const struct pond_map *map, const void *key, size_t key_bytes, struct pond_key *out) {
    if (POND_UNLIKELY(!key || key_bytes == 0 || key_bytes > MILLPOND_KEY_BYTES_MAX)) return 0;
    out->bytes = key;
    out->count = key_bytes;
    out->hash = pond_hash(key, key_bytes, map->geometry.hash_seed);
    return 1;
}

#endif
