/* SPDX-License-Identifier: MIT */
#ifndef POND_READ_H
#define POND_READ_H

/* Reading: without a lock, without a system call, without waiting. The protocol stands at the top of read.c. */

#include "shard.h"

#include <stddef.h>

struct pond_key {
    const void *bytes;
    size_t count;
    uint64_t hash;
    void *handle;   /* NULL, or: where to look on when the file has been replaced (pond_read_elsewhere) */
    uint64_t group; /* of what is stored under it (group.h): only looked at by those who store, and then set */
};

/* Called for a plain get that found nothing in a file that has been replaced, or that may be: leaves the caller's read-side section, looks
 * in the file that the handle goes on to, and is in a section again when it returns; `map` may be gone by then. Here, and not behind the
 * get, so that hits do not pay for it. */
extern int (*pond_read_elsewhere)(struct pond_map *map, const struct pond_key *key, void *buf, size_t buf_bytes, size_t *value_bytes)
    __attribute__((visibility("hidden")));

/* Copies the value into `buf`. *version: NULL; or in: UNCHANGED is the answer for this version; out: the version found. Results as of
 * millpond_get and millpond_get_if_changed. */
int pond_read_get(struct pond_map *map, const struct pond_key *key, void *buf, size_t buf_bytes, size_t *value_bytes, uint64_t *version);

/* The same, and what a caller that knows how to load wants to know. MILLPOND_STALE: past its time to live, within its grace. */
struct pond_age {
    uint64_t expiry;  /* expiry word of the entry, 0 when there is none or it lives for ever */
    uint64_t now_ms;  /* with `expiry`: the time that was compared with it */
    uint64_t version; /* of the entry, also of one that is stale or says that there is no such thing; 0 when there is none */
    int stale;        /* also with MILLPOND_TOO_SMALL */
    int negative;     /* with MILLPOND_MISS: it is known that there is no such thing */
};
int pond_read_get_aged(struct pond_map *map, const struct pond_key *key, void *buf, size_t buf_bytes, size_t *value_bytes,
                       struct pond_age *age);

/* Is it there, and how long does it live: *ttl_ms 0 for ever. Counts nothing. */
int pond_read_ttl(struct pond_map *map, const struct pond_key *key, uint64_t *ttl_ms);

/* Prefetches the bucket, then the entry, of a key that will be read. */
void pond_read_prefetch_bucket(struct pond_map *map, uint64_t hash);
void pond_read_prefetch_entry(struct pond_map *map, uint64_t hash);

/* For scans: a copy of what one slot names, made whole or not at all. `take` is called with an entry whose bytes are stable only if the
 * later answer of this function is 1. */
struct pond_copy {
    unsigned char *bytes; /* key, then value; grows by realloc; the caller frees it */
    size_t room, key_bytes, value_bytes;
    uint64_t ttl_ms, version, grace_ms;
    uint32_t group; /* its number, 0 for none */
};
enum pond_copied { POND_COPIED_NONE = 0, POND_COPIED = 1, POND_COPIED_DAMAGED = 2, POND_COPIED_NO_MEMORY = 3 };
/* Copies the entry in a slot of a bucket: NONE when the slot is empty, the entry is over, or it could not be had whole. */
enum pond_copied pond_read_slot_copy(struct pond_map *map, uint32_t shard, uint32_t bucket, uint32_t slot, int with_value,
                                     struct pond_copy *copy);

#endif
