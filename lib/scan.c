/* SPDX-License-Identifier: MIT */
/* Scanning: bucket by bucket, each entry copied as a get would, without a lock.
 *
 * What is there all the time must be shown. An entry may be moved by a writer from a bucket that is still ahead to one that the scan has
 * passed; the writer notes where to in the shard's move log before it clears the old slot (index.c), and the scan goes back to those
 * buckets:
 *   N1 m = moves                                  ORDER move-log (scan): pairs with the release of `moves` in move(), index.c
 *   N2 the slots of the bucket
 *   N3 moves != m: visit the buckets of the log's new lines (all of the shard again when there were more than it holds); m = moves
 *   N4 behind the last bucket N3 is repeated until no move is new
 * So an entry can be shown twice, but is never left out. */

#include "scan.h"

#include "atomic.h"
#include "read.h"
#include "shard.h"

#include <stdlib.h>
#include <string.h>

#define FOLLOW_MAX   1000
#define RESTARTS_MAX 8 /* of one shard; more moves than the log holds, again and again, only happen to an index that is full */

struct scan {
    struct pond_map *map;
    const void *prefix;
    size_t prefix_bytes;
    unsigned flags;
    int (*visit)(void *arg, const struct millpond_entry *entry);
    void *arg;
    struct pond_copy copy;
};

static int scan_bucket(struct scan *s, uint32_t shard, uint32_t bucket) {
    int with_value = !(s->flags & MILLPOND_SCAN_KEYS);
    for (uint32_t slot = 0; slot < POND_BUCKET_SLOTS; slot++) {
        enum pond_copied copied = pond_read_slot_copy(s->map, shard, bucket, slot, with_value, &s->copy);
        if (copied == POND_COPIED_NO_MEMORY) return MILLPOND_ERR_NO_MEMORY;
        if (copied != POND_COPIED) continue;
        if (s->copy.key_bytes < s->prefix_bytes || (s->prefix_bytes && memcmp(s->copy.bytes, s->prefix, s->prefix_bytes) != 0)) continue;
        struct millpond_entry entry = {s->copy.bytes,       s->copy.key_bytes, with_value ? s->copy.bytes + s->copy.key_bytes : NULL,
                                       s->copy.value_bytes, s->copy.ttl_ms,    s->copy.version};
        int result = s->visit(s->arg, &entry);
        if (result != 0) return result;
    }
    return MILLPOND_OK;
}

/* N3. Sets *restart when the log has been overrun. */
static int follow_moves(struct scan *s, const struct pond_ref *ref, uint32_t *seen, uint32_t passed, int *restart) {
    uint32_t now = pond_load_acquire_32(&ref->shard->moves);
    if (POND_LIKELY(now == *seen)) return MILLPOND_OK;
    uint32_t buckets[POND_MOVE_LOG], count = now - *seen;
    *restart = count >= POND_MOVE_LOG; /* the oldest line may be being written over */
    for (uint32_t i = 0; !*restart && i < count; i++) buckets[i] = pond_load_32(&ref->shard->move_log[(*seen + i) % POND_MOVE_LOG]);
    pond_fence_load();
    if (!*restart && pond_load_32(&ref->shard->moves) - *seen >= POND_MOVE_LOG) *restart = 1;
    *seen = now;
    for (uint32_t i = 0; !*restart && i < count; i++) {
        if (buckets[i] > passed || buckets[i] >= ref->g->bucket_count) continue;
        int result = scan_bucket(s, ref->number, buckets[i]);
        if (result != MILLPOND_OK) return result;
    }
    return MILLPOND_OK;
}

static int scan_shard(struct scan *s, uint32_t shard) {
    struct pond_ref ref = pond_ref_of(s->map, shard);
    uint32_t seen = pond_load_acquire_32(&ref.shard->moves);
    int restarts = 0, restart = 0;
    for (uint32_t bucket = 0; bucket < ref.g->bucket_count; bucket++) {
        int result = scan_bucket(s, shard, bucket);
        if (result == MILLPOND_OK) result = follow_moves(s, &ref, &seen, bucket, &restart);
        if (result != MILLPOND_OK) return result;
        /* N4 behind the last bucket: moves that happened while N3 went back to earlier ones. */
        for (int turns = 0;
             bucket + 1 == ref.g->bucket_count && turns < FOLLOW_MAX && !restart && seen != pond_load_acquire_32(&ref.shard->moves);
             turns++)
            if ((result = follow_moves(s, &ref, &seen, bucket, &restart)) != MILLPOND_OK) return result;
        if (restart && restarts++ < RESTARTS_MAX) bucket = UINT32_MAX; /* from the beginning */
        restart = 0;
    }
    return MILLPOND_OK;
}

int pond_scan(struct pond_map *map, const void *prefix, size_t prefix_bytes, unsigned flags,
              int (*visit)(void *arg, const struct millpond_entry *entry), void *arg) {
    struct scan s = {map, prefix, prefix_bytes, flags, visit, arg, {0}};
    int result = MILLPOND_OK;
    for (uint32_t shard = 0; shard < map->geometry.shard_count && result == MILLPOND_OK; shard++) result = scan_shard(&s, shard);
    free(s.copy.bytes);
    return result;
}
