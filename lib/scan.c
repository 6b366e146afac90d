/* SPDX-License-Identifier: MIT */
/* Scanning: the slots of a shard are collected first, in one go and without the visitor; then each entry is looked up again, copied as a
 * get would, and shown. So the visitor may take its time, and no lock is held while it runs.
 *
 * What is there all the time must be shown. While slots are collected an entry may be moved by a writer from a bucket that is still ahead
 * to one that was passed; the writer notes where to in the shard's move log before it clears the old slot (index.c):
 *   N1 the list is empty; m = moves               ORDER move-log (scan): pairs with the release of `moves` in move(), index.c
 *   N2 the slots of the next bucket are added to the list
 *   N3 moves != m: the buckets of the log's new lines that were passed are added again; m = moves. There were more lines than the log
 *      holds: N1. That needs a scan that was kept from running; the third time the shard's mutex is held from N1 to N4, where this
 *      process may write, so that nothing moves
 *   N4 behind the last bucket N3 is repeated until no move is new
 * Then, for each slot in the list:
 *   N5 its bucket still holds that word: the entry is copied, validated by the bucket's version, and shown
 *   N6 else the entry was moved, written anew, or went: all entries with this tag in its two buckets are shown, in a turn in which neither
 *      bucket's version changed
 * So an entry can be shown twice, but is never left out. */

#include "scan.h"

#include "atomic.h"
#include "enter.h"
#include "index.h"
#include "lookup.h"
#include "shard.h"

#include <stdlib.h>
#include <string.h>

#define RESTARTS_BEFORE_LOCK 2
#define RESTARTS_MAX         1000 /* where the mutex may not be taken */

struct place {
    uint64_t word;
    uint32_t bucket;
};

struct scan {
    struct pond_map *map;
    uint32_t timeout_ms;
    const void *prefix;
    size_t prefix_bytes;
    unsigned flags;
    int (*visit)(void *arg, const struct millpond_entry *entry);
    void *arg;
    struct pond_copy copy;
    struct place *list;
    size_t count, room;
};

/* ---- N1 to N4: collecting ---- */

/* N2. */
static int add_bucket(struct scan *s, const struct pond_ref *ref, uint32_t bucket) {
    if (s->count + POND_BUCKET_SLOTS > s->room) {
        size_t room = s->room ? s->room * 2 : 1024;
        struct place *larger = realloc(s->list, room * sizeof *larger);
        if (!larger) return MILLPOND_ERR_NO_MEMORY;
        s->list = larger;
        s->room = room;
    }
    for (uint32_t slot = 0; slot < POND_BUCKET_SLOTS; slot++) {
        uint64_t word = pond_read_slot(&ref->buckets[bucket], slot);
        if (word) s->list[s->count++] = (struct place){word, bucket};
    }
    return MILLPOND_OK;
}

/* N3. Sets *overrun when the log has lost a line. */
static int follow_moves(struct scan *s, const struct pond_ref *ref, uint32_t *seen, uint32_t passed, int *overrun) {
    uint32_t now = pond_load_acquire_32(&ref->shard->moves);
    if (POND_LIKELY(now == *seen)) return MILLPOND_OK;
    uint32_t buckets[POND_MOVE_LOG], count = now - *seen;
    *overrun = count >= POND_MOVE_LOG; /* the oldest line may be being written over */
    if (*overrun) return MILLPOND_OK;
    for (uint32_t i = 0; i < count; i++) buckets[i] = pond_load_32(&ref->shard->move_log[(*seen + i) % POND_MOVE_LOG]);
    pond_fence_load();
    *overrun = pond_load_32(&ref->shard->moves) - *seen >= POND_MOVE_LOG;
    *seen = now;
    int result = MILLPOND_OK;
    for (uint32_t i = 0; !*overrun && i < count && result == MILLPOND_OK; i++)
        if (buckets[i] <= passed && buckets[i] < ref->g->bucket_count) result = add_bucket(s, ref, buckets[i]);
    return result;
}

static int collect(struct scan *s, const struct pond_ref *ref, int *overrun) {
    uint32_t seen = pond_load_acquire_32(&ref->shard->moves), last = ref->g->bucket_count - 1;
    int result = MILLPOND_OK;
    s->count = 0;
    *overrun = 0;
    for (uint32_t bucket = 0; bucket <= last && result == MILLPOND_OK && !*overrun; bucket++) {
        result = add_bucket(s, ref, bucket);
        if (result == MILLPOND_OK) result = follow_moves(s, ref, &seen, bucket, overrun);
    }
    while (result == MILLPOND_OK && !*overrun && seen != pond_load_acquire_32(&ref->shard->moves))
        result = follow_moves(s, ref, &seen, last, overrun);
    return result;
}

static int collect_shard(struct scan *s, uint32_t shard) {
    struct pond_ref ref = pond_ref_of(s->map, shard);
    int overrun, result;
    for (int turn = 0; turn < RESTARTS_MAX; turn++) {
        int locked = turn >= RESTARTS_BEFORE_LOCK && s->map->refusal == MILLPOND_OK;
        if (locked && (result = pond_write_enter(s->map, shard, s->timeout_ms, &ref)) != MILLPOND_OK) return result;
        result = collect(s, &ref, &overrun);
        if (locked) pond_write_leave(&ref);
        if (result != MILLPOND_OK || !overrun) return result;
    }
    return MILLPOND_ERR_BUSY;
}

/* ---- N5, N6: showing ---- */

/* Copies what a slot names. Returns 1 when there is something to show. */
static int copy_slot(struct scan *s, const struct pond_ref *ref, uint32_t bucket, uint32_t slot, int *result) {
    enum pond_copied copied = pond_read_slot_copy(s->map, ref->number, bucket, slot, !(s->flags & MILLPOND_SCAN_KEYS), &s->copy);
    if (copied == POND_COPIED_NO_MEMORY) *result = MILLPOND_ERR_NO_MEMORY;
    return copied == POND_COPIED;
}

static int show(struct scan *s) {
    const struct pond_copy *c = &s->copy;
    if (c->key_bytes < s->prefix_bytes || (s->prefix_bytes && memcmp(c->bytes, s->prefix, s->prefix_bytes) != 0)) return MILLPOND_OK;
    struct millpond_entry entry = {c->bytes,       c->key_bytes, s->flags & MILLPOND_SCAN_KEYS ? NULL : c->bytes + c->key_bytes,
                                   c->value_bytes, c->ttl_ms,    c->version,
                                   c->grace_ms,    c->group};
    return s->visit(s->arg, &entry);
}

/* N6. One turn for each entry shown, so that the visitor's time is in none of them. */
static int show_by_tag(struct scan *s, const struct pond_ref *ref, const struct place *place) {
    uint32_t tag = pond_slot_tag(place->word), pair[2] = {place->bucket, pond_other_bucket(ref->g, place->bucket, tag)};
    int result = MILLPOND_OK;
    for (unsigned shown = 0, turn = 0; turn < POND_READ_TURNS && result == MILLPOND_OK; turn++) {
        uint32_t version[2];
        unsigned found = 0, here = 0;
        for (int i = 0; i < 2; i++) version[i] = pond_load_acquire_32(&ref->buckets[pair[i]].version);
        for (uint32_t i = 0; i < 2 * POND_BUCKET_SLOTS && !here && result == MILLPOND_OK; i++) {
            uint32_t bucket = pair[i / POND_BUCKET_SLOTS], slot = i % POND_BUCKET_SLOTS;
            uint64_t word = pond_read_slot(&ref->buckets[bucket], slot);
            if (word && pond_slot_tag(word) == tag && found++ >= shown) here = (unsigned)copy_slot(s, ref, bucket, slot, &result);
        }
        if (result != MILLPOND_OK) return result;
        if (!pond_read_valid(&ref->buckets[pair[0]], version[0]) || !pond_read_valid(&ref->buckets[pair[1]], version[1])) continue;
        if (!here) return MILLPOND_OK;
        result = show(s);
        shown = found;
    }
    return result;
}

static int show_place(struct scan *s, const struct pond_ref *ref, const struct place *place) {
    struct pond_bucket *bucket = &ref->buckets[place->bucket];
    int result = MILLPOND_OK;
    for (uint32_t slot = 0; slot < POND_BUCKET_SLOTS; slot++) {
        if (pond_read_slot(bucket, slot) != place->word) continue;
        int copied = copy_slot(s, ref, place->bucket, slot, &result);
        if (result != MILLPOND_OK) return result;
        if (pond_read_slot(bucket, slot) != place->word) break; /* N6 */
        return copied ? show(s) : MILLPOND_OK;
    }
    return show_by_tag(s, ref, place);
}

static int scan_shard(struct scan *s, uint32_t shard) {
    struct pond_ref ref = pond_ref_of(s->map, shard);
    int result = collect_shard(s, shard);
    for (size_t i = 0; i < s->count && result == MILLPOND_OK; i++) result = show_place(s, &ref, &s->list[i]);
    return result;
}

int pond_scan(struct pond_map *map, uint32_t timeout_ms, const void *prefix, size_t prefix_bytes, unsigned flags,
              int (*visit)(void *arg, const struct millpond_entry *entry), void *arg) {
    struct scan s = {
        .map = map, .timeout_ms = timeout_ms, .prefix = prefix, .prefix_bytes = prefix_bytes, .flags = flags, .visit = visit, .arg = arg};
    int result = MILLPOND_OK;
    for (uint32_t shard = 0; shard < map->geometry.shard_count && result == MILLPOND_OK; shard++) result = scan_shard(&s, shard);
    free(s.copy.bytes);
    free(s.list);
    return result;
}
