/* SPDX-License-Identifier: MIT */
/* Writing: one key, under the mutex of its shard.
 *
 *   S1 hash the key, prefetch its bucket; take the mutex (an owner that died: recover.c repairs first)
 *   S2 the first write after a sync takes the clean mark away, on the disk too
 *   S3 find the key's slot; decide (add, replace, cas)
 *   S4 an instalment of recycling, before the entry is written: it must not leave by its own set. Then find a place: a hole of that
 *      size, else the tail of the open segment; none: recycle until there is one. S3 again, since what was found may have left meanwhile
 *   S5 write the entry there, commit the tail              nothing is seen yet: a death here leaves dead bytes
 *   S6 swing or fill the slot (index.c)                    the one moment at which the set happens, for readers and for recovery
 *   S7 the old entry becomes a hole
 *   S8 release the mutex
 *
 * Values that are larger than a piece go into chunks: large.c.
 *
 * An error changes nothing: every check is made before S5, and S5 itself only uses free bytes. */

#include "write.h"

#include "crashpoint.h"
#include "entry.h"
#include "evict.h"
#include "expire.h"
#include "index.h"
#include "large.h"
#include "lock.h"
#include "recover.h"
#include "recycle.h"
#include "room.h"
#include "segment.h"
#include "sync.h"

#include <stdlib.h>
#include <string.h>

/* Set while the thread is inside a writing call: a signal handler that calls in must get an answer, not wait for itself. */
static __thread volatile int inside __attribute__((tls_model("initial-exec")));

/* ---- the mutex ---- */

static int take_mutex(struct pond_map *map, uint32_t shard, uint32_t timeout_ms, struct pond_ref *ref) {
    int waited;
    *ref = pond_ref_of(map, shard);
    if (POND_UNLIKELY(map->gate != NULL) && !pond_gate_enter(map->gate, shard, timeout_ms)) {
        pond_add_64(&ref->shard->counters.lock_timeouts, 1);
        return MILLPOND_ERR_BUSY;
    }
    enum pond_lock_result got = pond_lock_acquire(&ref->shard->mutex, timeout_ms, &waited);
    if (POND_UNLIKELY(map->gate != NULL) && got >= POND_LOCK_BUSY) pond_gate_leave(map->gate, shard);
    if (got == POND_LOCK_BUSY) {
        pond_add_64(&ref->shard->counters.lock_timeouts, 1);
        return MILLPOND_ERR_BUSY;
    }
    if (got == POND_LOCK_BROKEN) return MILLPOND_ERR_CORRUPT;
    if (got == POND_LOCK_OWNER_DIED) {
        pond_recover_shard(ref);
        POND_CRASHPOINT("write.recovered");
        pond_lock_consistent(&ref->shard->mutex);
    }
    if (waited) pond_bump_64(&ref->shard->counters.lock_waits, 1);
    POND_CRASHPOINT("write.locked");
    return MILLPOND_OK;
}

static void give_mutex(const struct pond_ref *ref) {
    pond_lock_release(&ref->shard->mutex);
    if (POND_UNLIKELY(ref->map->gate != NULL)) pond_gate_leave(ref->map->gate, ref->number);
}

int pond_write_enter(struct pond_map *map, uint32_t shard, uint32_t timeout_ms, struct pond_ref *ref) {
    if (POND_UNLIKELY(map->refusal != MILLPOND_OK)) return map->refusal;
    if (POND_UNLIKELY(inside)) return MILLPOND_ERR_REENTERED;
    inside = 1;
    int result = take_mutex(map, shard, timeout_ms, ref);
    if (POND_UNLIKELY(result != MILLPOND_OK))
        inside = 0;
    else
        pond_sync_spoil(map);
    return result;
}

void pond_write_leave(const struct pond_ref *ref) {
    POND_CRASHPOINT("write.done");
    give_mutex(ref);
    inside = 0;
}

/* Shards 0 to count - 1, the last one first. */
static void give_from(struct pond_map *map, uint32_t count) {
    while (count-- > 0) {
        struct pond_ref ref = pond_ref_of(map, count);
        give_mutex(&ref);
    }
}

int pond_write_enter_all(struct pond_map *map, uint32_t timeout_ms) {
    struct pond_ref ref;
    if (map->refusal != MILLPOND_OK) return map->refusal;
    if (inside) return MILLPOND_ERR_REENTERED;
    inside = 1;
    for (uint32_t i = 0; i < map->geometry.shard_count; i++) {
        int result = take_mutex(map, i, timeout_ms, &ref);
        if (result == MILLPOND_OK) continue;
        give_from(map, i);
        inside = 0;
        return result;
    }
    return MILLPOND_OK;
}

void pond_write_leave_all(struct pond_map *map) {
    give_from(map, map->geometry.shard_count);
    inside = 0;
}

/* ---- what is there ---- */

struct old {
    int found, alive; /* found: a slot names it; alive: and its time is not over */
    struct pond_spot spot;
    uint32_t where;
    const unsigned char *at;
    struct pond_decoded d;
};

/* S3. */
static void find(const struct pond_ref *ref, const struct pond_place *place, const struct pond_key *key, struct old *old) {
    struct pond_cursor cursor = pond_index_cursor(ref, place);
    old->found = old->alive = 0;
    while (pond_index_next(ref, place, &cursor, &old->spot)) {
        old->where = pond_slot_where(old->spot.word);
        old->at = pond_ref_at(ref, old->where);
        if (!pond_entry_decode(old->at, pond_units_left(ref->g, old->where), &old->d)) continue;
        if (old->d.key_bytes != key->count || old->d.flags & (POND_ENTRY_DEAD | POND_ENTRY_CHUNK)) continue;
        if (memcmp(old->at + old->d.key_off, key->bytes, key->count) != 0) continue;
        old->found = 1;
        old->alive = !(old->d.flags & POND_ENTRY_TTL) || !pond_entry_expired(&old->d, pond_clock_write(ref->map));
        return;
    }
}

/* S1, without the lock: waits for the bucket's line, and asks for the entry that this write may replace, so that both misses lie outside
 * the lock. A hint: what it sees may be out of date. With intent to write: the entry becomes a hole, and the next write goes there. */
static void prefetch_old(const struct pond_ref *ref, const struct pond_place *place) {
    const struct pond_bucket *home = &ref->buckets[place->home];
    unsigned mask = pond_candidates(home, place->tag);
    if (mask == 0) return;
    uint32_t where = pond_slot_where(pond_load_64(&home->slot[__builtin_ctz(mask)]));
    if (!pond_where_valid(ref->g, where)) return;
    const unsigned char *at = pond_ref_at(ref, where);
    __builtin_prefetch(at, 1);
    __builtin_prefetch(at + 64, 1);
    __builtin_prefetch(at + 128, 1);
}

static uint32_t new_sequence(const struct pond_ref *ref) {
    uint32_t sequence = ref->shard->sequence + 1;
    pond_store_32(&ref->shard->sequence, sequence);
    return sequence;
}

/* ---- S4 to S7 ---- */

/* S4, without recycling. */
static int find_room(const struct pond_ref *ref, struct pond_room *room, uint32_t units, int fresh_key) {
    if (!pond_room_find_any(ref, room, units, fresh_key)) return 0;
    if (!room->appended) pond_bump_64(&ref->shard->counters.hole_hits, 1);
    return 1;
}

/* The hit counter of an overwritten entry goes along; one higher where the new place will be recycled sooner than the old one. */
static void carry_hits(const struct pond_ref *ref, const struct old *old, uint32_t where) {
    const struct pond_segment *before = &ref->table[pond_segment_of(ref->g, old->where)],
                              *after = &ref->table[pond_segment_of(ref->g, where)];
    if (pond_segment_state(after) != POND_SEGMENT_SEALED ||
        (pond_segment_state(before) == POND_SEGMENT_SEALED && after->order >= before->order))
        return;
    struct pond_bucket *bucket = &ref->buckets[old->spot.bucket];
    unsigned hits = pond_hits_of(bucket, old->spot.slot);
    if (hits < 3) pond_hits_set(bucket, old->spot.slot, hits + 1);
}

/* S6 and S7. `weight`: bytes of key and value that the new entry counts for. */
static void publish(const struct pond_ref *ref, const struct pond_place *place, const struct old *old, uint32_t where, uint64_t weight) {
    if (old->found) {
        carry_hits(ref, old, where);
        pond_index_swing(ref, &old->spot, where, weight - pond_recycle_weight(old->at, &old->d));
        POND_CRASHPOINT("set.swung");
        pond_recycle_retire(ref, old->where);
        return;
    }
    struct pond_spot spot;
    if (!pond_index_room(ref, place, &spot)) pond_recycle_slot(ref, place, &spot);
    pond_index_insert(ref, place, &spot, where, weight);
    POND_CRASHPOINT("set.inserted");
}

/* ---- conditions ---- */

static int condition(const struct old *old, const struct millpond_set *o) {
    switch (o->when) {
    case MILLPOND_IF_ABSENT: return old->alive ? MILLPOND_EXISTS : MILLPOND_OK;
    case MILLPOND_IF_PRESENT: return old->alive ? MILLPOND_OK : MILLPOND_MISS;
    case MILLPOND_IF_VERSION:
        if (!old->alive) return MILLPOND_MISS;
        return (uint64_t)old->d.sequence + 1 == o->version ? MILLPOND_OK : MILLPOND_CHANGED;
    default: return MILLPOND_OK;
    }
}

/* The queue of a key that is stored: where it was; main where it comes back to soon after it left; else that for strangers. The ghost is
 * asked once. */
static uint32_t queue_for(const struct pond_ref *ref, const struct old *old, uint64_t hash, uint32_t strangers, int *ghost) {
    if (old->found) return pond_segment_queue(&ref->table[pond_segment_of(ref->g, old->where)]);
    if (*ghost < 0) {
        *ghost = pond_ghost_take(ref, hash);
        if (*ghost) pond_bump_64(&ref->shard->counters.ghost_hits, 1);
    }
    return *ghost ? (uint32_t)POND_MAIN : strangers;
}

/* ---- set ---- */

static int set_small(const struct pond_ref *ref, const struct pond_key *key, const struct pond_place *place, const struct pond_content *c,
                     uint32_t units, uint64_t ttl_ms, const struct millpond_set *o) {
    struct pond_room room = {.ttl_class = pond_ttl_class(ref->g, ttl_ms)};
    struct old old;
    int ghost = -1;
    for (int first = 1;; first = 0) {
        find(ref, place, key, &old);
        int result = condition(&old, o);
        if (result != MILLPOND_OK) return result;
        if (first && pond_recycle_step(ref, units)) continue;
        room.queue = queue_for(ref, &old, key->hash, POND_SMALL, &ghost);
        if (find_room(ref, &room, units, !old.found)) break;
        if (!pond_recycle_force(ref)) return MILLPOND_ERR_FULL;
    }
    pond_room_put(ref, &room, c);
    publish(ref, place, &old, room.where, key->count + (c->flags & POND_ENTRY_COUNTER ? 8 : c->value_bytes));
    return MILLPOND_OK;
}

/* The chunks, then the root in `c`, then the slot. */
static int write_large(const struct pond_ref *ref, const struct pond_place *place, const struct old *old, struct pond_room *room,
                       struct pond_content *c, const void *value, size_t bytes, struct pond_root *list) {
    if (!pond_large_write(ref, room, c, value, bytes, !old->found, list)) return MILLPOND_ERR_FULL;
    c->flags |= POND_ENTRY_ROOT;
    c->value = list;
    c->value_bytes = pond_large_list_bytes(list);
    if (!find_room(ref, room, pond_entry_units(c), !old->found)) {
        pond_large_drop(ref, list);
        return MILLPOND_ERR_FULL;
    }
    pond_room_put(ref, room, c);
    publish(ref, place, old, room->where, c->key_bytes + bytes);
    return MILLPOND_OK;
}

static int set_large(const struct pond_ref *ref, const struct pond_key *key, const struct pond_place *place, struct pond_content *c,
                     const void *value, size_t bytes, uint64_t ttl_ms, struct millpond_set *o) {
    struct pond_room room = {.ttl_class = pond_ttl_class(ref->g, ttl_ms)};
    struct old old;
    int ghost = -1;
    struct pond_root *list = pond_large_list(ref->g, bytes);
    if (!list) return MILLPOND_ERR_NO_MEMORY;
    find(ref, place, key, &old);
    int result = condition(&old, o);
    if (result == MILLPOND_OK) pond_recycle_step(ref, bytes / POND_UNIT_BYTES);
    while (result == MILLPOND_OK && ref->shard->free_count < pond_large_segments(ref->g, key->count, bytes))
        if (!pond_recycle_force(ref)) result = MILLPOND_ERR_FULL;
    if (result == MILLPOND_OK) {
        find(ref, place, key, &old); /* recycling may have taken it */
        result = condition(&old, o);
    }
    room.queue = queue_for(ref, &old, key->hash, pond_large_queue(ref->g, bytes), &ghost);
    if (result == MILLPOND_OK) result = write_large(ref, place, &old, &room, c, value, bytes, list);
    free(list);
    return result;
}

static struct pond_content content_for(const struct pond_key *key, const void *value, size_t value_bytes, uint64_t ttl_ms,
                                       uint64_t grace_ms, uint64_t now_ms) {
    struct pond_content c = {.key = key->bytes,
                             .value = value_bytes ? value : "",
                             .key_bytes = (uint32_t)key->count,
                             .value_bytes = value_bytes > UINT32_MAX ? UINT32_MAX : (uint32_t)value_bytes,
                             .hash = key->hash};
    if (ttl_ms) {
        c.flags = POND_ENTRY_TTL;
        c.expiry = pond_expiry_pack(now_ms + ttl_ms, pond_grace_of(grace_ms));
    }
    return c;
}

int pond_write_set(struct pond_map *map, uint32_t timeout_ms, const struct pond_key *key, const void *value, size_t value_bytes,
                   struct millpond_set *o) {
    const struct pond_geometry *g = &map->geometry;
    uint32_t number = pond_shard_of(g, key->hash);
    struct pond_place place = pond_place_of(g, key->hash);
    struct pond_ref ref;
    if (map->refusal != MILLPOND_OK) return map->refusal;
    if (value_bytes > g->max_item_bytes) return MILLPOND_ERR_TOO_LARGE;
    uint64_t now_ms = o->ttl_ms ? pond_clock_write(map) : 0;
    struct pond_content c = content_for(key, value, value_bytes, o->ttl_ms, o->grace_ms, now_ms);
    uint32_t units = pond_entry_units(&c);
    int large = pond_large_is(g, units, value_bytes);
    if (large ? !pond_large_fits(g, key->count, value_bytes) : units > g->entry_units_max) return MILLPOND_ERR_TOO_LARGE;
    ref = pond_ref_of(map, number);
    pond_read_prefetch_bucket(map, key->hash); /* S1 */
    pond_ghost_prefetch(&ref, key->hash);
    if (!large) pond_entry_sum(&c); /* while the bucket's line is on its way */
    prefetch_old(&ref, &place);
    int result = pond_write_enter(map, number, timeout_ms, &ref);
    if (result != MILLPOND_OK) return result;
    c.sequence = new_sequence(&ref);
    result =
        large ? set_large(&ref, key, &place, &c, value, value_bytes, o->ttl_ms, o) : set_small(&ref, key, &place, &c, units, o->ttl_ms, o);
    if (result == MILLPOND_OK) {
        uint64_t written = large ? pond_entry_units(&c) + value_bytes / POND_UNIT_BYTES : units;
        pond_bump_64(&ref.shard->counters.sets, 1);
        pond_bump_64(&ref.shard->counters.bytes_set, written * POND_UNIT_BYTES);
        o->version = (uint64_t)c.sequence + 1;
    }
    pond_write_leave(&ref);
    return result;
}

/* ---- delete, touch, incr, clear ---- */

int pond_write_delete(struct pond_map *map, uint32_t timeout_ms, const struct pond_key *key) {
    struct pond_place place = pond_place_of(&map->geometry, key->hash);
    struct pond_ref ref;
    struct old old;
    pond_read_prefetch_bucket(map, key->hash);
    int result = pond_write_enter(map, pond_shard_of(&map->geometry, key->hash), timeout_ms, &ref);
    if (result != MILLPOND_OK) return result;
    find(&ref, &place, key, &old);
    if (old.found) pond_recycle_remove(&ref, &old.spot);
    POND_CRASHPOINT("delete.removed");
    if (old.found && !old.alive) pond_bump_64(&ref.shard->counters.expirations, 1);
    if (old.alive) pond_bump_64(&ref.shard->counters.deletes, 1);
    pond_write_leave(&ref);
    return old.alive ? MILLPOND_OK : MILLPOND_MISS;
}

/* In place where the entry has an expiry; else it is written anew, with one, and with the version and the chunks that it has. */
int pond_write_touch(struct pond_map *map, uint32_t timeout_ms, const struct pond_key *key, uint64_t ttl_ms) {
    struct pond_place place = pond_place_of(&map->geometry, key->hash);
    struct pond_ref ref;
    struct old old;
    int result = pond_write_enter(map, pond_shard_of(&map->geometry, key->hash), timeout_ms, &ref);
    if (result != MILLPOND_OK) return result;
    uint64_t now_ms = pond_clock_write(map);
    find(&ref, &place, key, &old);
    result = old.alive ? MILLPOND_OK : MILLPOND_MISS;
    if (old.alive && old.d.flags & POND_ENTRY_TTL) {
        uint64_t word = pond_expiry_pack(ttl_ms ? now_ms + ttl_ms : POND_EXPIRY_NEVER, pond_expiry_grace(old.d.expiry));
        pond_segment_note_expiry(&ref, old.where, pond_entry_end_ms(word)); /* first: a segment must not seem over before its entries */
        POND_CRASHPOINT("touch.noted");
        pond_store_release_64((uint64_t *)(void *)(pond_ref_at(&ref, old.where) + 8), word);
        POND_CRASHPOINT("touch.stored");
    } else if (old.alive && ttl_ms) {
        if (pond_recycle_step(&ref, old.d.units)) find(&ref, &place, key, &old);
        result = old.alive ? MILLPOND_OK : MILLPOND_MISS;
        uint64_t word = pond_expiry_pack(now_ms + ttl_ms, 0);
        while (result == MILLPOND_OK) {
            uint32_t queue = pond_segment_queue(&ref.table[pond_segment_of(ref.g, old.where)]);
            if (pond_recycle_relocate(&ref, &old.spot, queue, word, now_ms)) {
                POND_CRASHPOINT("touch.rewritten");
                pond_recycle_retire_one(&ref, old.where);
                break;
            }
            if (!pond_recycle_force(&ref)) result = MILLPOND_ERR_FULL;
            find(&ref, &place, key, &old);
            if (!old.alive && result == MILLPOND_OK) result = MILLPOND_MISS;
        }
    }
    pond_write_leave(&ref);
    return result;
}

/* Decimal text of a 64-bit number, nothing before or behind it. */
static int number_of(const unsigned char *text, uint32_t n, int64_t *number) {
    uint32_t at = n > 0 && (text[0] == '-' || text[0] == '+');
    int negative = at && text[0] == '-';
    uint64_t limit = (uint64_t)INT64_MAX + (negative ? 1u : 0u), sum = 0;
    if (n == at || n > 20 + at) return 0;
    for (; at < n; at++) {
        unsigned digit = (unsigned)text[at] - '0';
        if (digit > 9 || sum > (limit - digit) / 10) return 0;
        sum = sum * 10 + digit;
    }
    *number = negative ? (int64_t)(0 - sum) : (int64_t)sum;
    return 1;
}

/* The number changes in place. The version follows it: a reader loads the version first, the number second, so that it never takes an
 * old number for the new version's. A death in between is told by the intent, and recovery gives another version. */
static void add_in_place(const struct pond_ref *ref, const struct old *old, int64_t number) {
    unsigned char *at = pond_ref_at(ref, old->where);
    pond_index_counter_begin(ref, old->where);
    pond_store_release_64((uint64_t *)(void *)(at + old->d.value_off), (uint64_t)number);
    POND_CRASHPOINT("incr.added");
    pond_store_release_32((uint32_t *)(void *)(at + (old->d.flags & POND_ENTRY_TTL ? 16 : 8)), new_sequence(ref));
    POND_CRASHPOINT("incr.versioned");
    pond_index_counter_end(ref);
}

static int add(const struct pond_ref *ref, const struct pond_place *place, const struct pond_key *key, int64_t delta,
               const struct millpond_incr *create, int64_t *value) {
    struct old old;
    int64_t number, sum;
    find(ref, place, key, &old);
    if (!old.alive && !create) return MILLPOND_MISS;
    if (!old.alive)
        number = create->initial;
    else if (old.d.flags & POND_ENTRY_COUNTER)
        number = (int64_t)pond_load_64((const uint64_t *)(const void *)(old.at + old.d.value_off));
    else if (old.d.flags & POND_ENTRY_ROOT || !number_of(old.at + old.d.value_off, old.d.value_bytes, &number))
        return MILLPOND_ERR_NOT_A_NUMBER;
    if (__builtin_add_overflow(number, delta, &sum)) return MILLPOND_ERR_OVERFLOW;
    if (old.alive && old.d.flags & POND_ENTRY_COUNTER) {
        add_in_place(ref, &old, sum);
    } else {
        struct millpond_set always = {0};
        uint64_t now_ms = pond_clock_write(ref->map), ttl_ms = old.alive ? 0 : create->ttl_ms;
        struct pond_content c = content_for(key, &sum, sizeof sum, ttl_ms, 0, now_ms);
        if (old.alive && old.d.flags & POND_ENTRY_TTL) { /* text becomes a counter and keeps its time */
            uint64_t end = pond_expiry_unpack(old.d.expiry);
            c.flags |= POND_ENTRY_TTL;
            c.expiry = old.d.expiry;
            ttl_ms = end > now_ms ? end - now_ms : 1;
        }
        c.flags |= POND_ENTRY_COUNTER;
        c.sequence = new_sequence(ref);
        uint32_t units = pond_entry_units(&c);
        int result = set_small(ref, key, place, &c, units, ttl_ms, &always);
        if (result != MILLPOND_OK) return result;
    }
    pond_bump_64(&ref->shard->counters.sets, 1);
    if (value) *value = sum;
    return MILLPOND_OK;
}

int pond_write_incr(struct pond_map *map, uint32_t timeout_ms, const struct pond_key *key, int64_t delta,
                    const struct millpond_incr *create, int64_t *value) {
    struct pond_place place = pond_place_of(&map->geometry, key->hash);
    struct pond_ref ref;
    if (64 + key->count > (uint64_t)map->geometry.entry_units_max * POND_UNIT_BYTES) return MILLPOND_ERR_TOO_LARGE;
    int result = pond_write_enter(map, pond_shard_of(&map->geometry, key->hash), timeout_ms, &ref);
    if (result != MILLPOND_OK) return result;
    result = add(&ref, &place, key, delta, create, value);
    pond_write_leave(&ref);
    return result;
}

int pond_write_clear(struct pond_map *map, uint32_t timeout_ms) {
    for (uint32_t i = 0; i < map->geometry.shard_count; i++) {
        struct pond_ref ref;
        int result = pond_write_enter(map, i, timeout_ms, &ref);
        if (result != MILLPOND_OK) return result;
        pond_recover_clear(&ref);
        pond_write_leave(&ref);
    }
    return MILLPOND_OK;
}
