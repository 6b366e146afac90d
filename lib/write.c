/* SPDX-License-Identifier: MIT */
/* Writing: one key, under the mutex of its shard.
 *
 *   S1 hash the key, prefetch its bucket; take the mutex (an owner that died: recover.c repairs first)
 *      S5 already, while the lines that decide are on their way: if the key is probably new, at the tail of the small queue; if a slot of
 *      its bucket has its tag, in the hole (or at the tail) that overwriting what that names would take. If S4 decides otherwise, nothing
 *      happened: beyond the committed tail are free bytes, and the hole is one again. Only where nothing is being recycled: the place must
 *      not be in a victim
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
#include "enter.h"
#include "entry.h"
#include "evict.h"
#include "expire.h"
#include "flight.h"
#include "group.h"
#include "index.h"
#include "large.h"
#include "publish.h"
#include "recover.h"
#include "recycle.h"
#include "relocate.h"
#include "retire.h"
#include "room.h"
#include "segment.h"

#include <stdlib.h>
#include <string.h>

/* S1, without the lock: waits for the bucket's line, and asks for the entry that this write may replace, so that both misses lie outside
 * the lock. A hint: what it sees may be out of date. With intent to write: the entry becomes a hole, and the next write goes there. */
static uint32_t prefetch_old(const struct pond_ref *ref, const struct pond_place *place) {
    const struct pond_bucket *home = &ref->buckets[place->home];
    unsigned mask = pond_candidates(home, place->tag);
    if (mask == 0) return 0;
    uint32_t where = pond_slot_where(pond_load_64(&home->slot[__builtin_ctz(mask)]));
    if (!pond_where_valid(ref->g, where)) return 0;
    const unsigned char *at = pond_ref_at(ref, where);
    pond_prefetch_write(at);
    pond_prefetch_write(at + 64);
    pond_prefetch_write(at + 128);
    return where;
}

/* The lines that every set writes: in other cores' caches, if those have written to the shard last. Under the lock, else they would be
 * taken away from its holder. */
static inline void prefetch_shard(const struct pond_ref *ref) {
    pond_prefetch_write(&ref->shard->intent);
    pond_prefetch_write(&ref->shard->sequence);
    pond_prefetch_write(&ref->shard->open);
}

/* ---- conditions ---- */

static int condition(const struct pond_old *old, const struct millpond_set *o) {
    switch (o->when) {
    case MILLPOND_IF_ABSENT: return old->alive ? MILLPOND_EXISTS : MILLPOND_OK;
    case MILLPOND_IF_PRESENT: return old->alive ? MILLPOND_OK : MILLPOND_MISS;
    case MILLPOND_IF_VERSION:
        if (!old->alive) return MILLPOND_MISS;
        return (uint64_t)old->d.sequence + 1 == o->version ? MILLPOND_OK : MILLPOND_CHANGED;
    default: return MILLPOND_OK;
    }
}

/* ---- set ---- */

/* How many of the thread's last sets were of keys that were not there, up to NEW_KEYS_MAX: a guess at what the next one will be. Whoever
 * loads a file, or stores what a get has missed, stores new keys. */
static __thread unsigned new_keys __attribute__((tls_model("initial-exec")));
#define NEW_KEYS_MAX 4u

/* A hole where the quick way finds none; room.where is 0 where there is none. */
static __attribute__((noinline)) struct pond_room any_hole(const struct pond_ref *ref, struct pond_room room, uint32_t units) {
    pond_room_hole(ref, &room, units, 0);
    return room;
}

/* S5 before S3: the entry is written where it will probably stay, while the lines that decide are on their way. `guess`: what it will
 * replace, or 0 for a key that is taken to be new, which takes no hole here: it may not take any. room->where is 0 where nothing was
 * written. */
static inline __attribute__((always_inline)) void write_ahead(const struct pond_ref *ref, const struct pond_content *c, uint32_t units,
                                                              uint32_t guess, struct pond_room *room) {
    room->where = 0;
    if (!pond_recycle_idle(ref)) return;
    room->queue = guess ? pond_segment_queue(&ref->table[pond_segment_of(ref->g, guess)]) : (uint32_t)POND_SMALL;
    if (!pond_hole_any(ref, room->queue, units)) {
        room->appended = 1;
        room->units = units;
        room->where = pond_segment_tail_place(ref, room->queue, room->ttl_class, units);
    } else if (guess) {
        room->appended = 0;
        room->units = units;
        room->where = pond_hole_take_only(ref, room->queue, room->ttl_class, units, room->first_least_ms);
        if (POND_UNLIKELY(room->where == 0)) *room = any_hole(ref, *room, units);
        if (POND_UNLIKELY(room->where == guess)) { /* the key has gone meanwhile; or, in a damaged file, its slot names a hole */
            pond_hole_push(ref, guess);
            room->where = 0;
        }
    }
    if (room->where == 0) return;
    pond_entry_write_usual(ref, room->where, room->units, c);
    POND_CRASHPOINT("set.ahead");
}

/* S4, when the queue and whether the key is new are known: is what was written ahead in the right place? Else its hole is one again. */
static inline int stays(const struct pond_ref *ref, const struct pond_room *ahead, uint32_t queue, int fresh_key) {
    if (POND_LIKELY(ahead->queue == queue && (ahead->appended || !fresh_key))) return 1;
    if (!ahead->appended) pond_hole_push(ref, ahead->where);
    return 0;
}

static inline __attribute__((always_inline)) int set_entry(const struct pond_ref *ref, const struct pond_key *key,
                                                           const struct pond_place *place, const struct pond_content *c, uint32_t units,
                                                           uint32_t guess, uint64_t ttl_ms, const struct millpond_set *o, int plain) {
    struct pond_room room = pond_room_for(ref->g, POND_SMALL, ttl_ms, c->expiry);
    struct pond_old old;
    struct pond_paid paid = {0};
    int ghost = -1, ahead = 0, always = plain || o->when == MILLPOND_ALWAYS;
    if (guess ? always : new_keys == NEW_KEYS_MAX) { /* from here on nothing is refused that took a hole */
        write_ahead(ref, c, units, guess, &room);
        ahead = room.where != 0;
    }
    for (int first = 1;; first = 0) {
        pond_publish_find(ref, place, key, &old);
        int result = always ? MILLPOND_OK : condition(&old, o);
        if (result != MILLPOND_OK) return result;
        if (ahead && old.found && old.where == guess) break;
        if (first && !ahead && !pond_recycle_idle(ref) && pond_recycle_step(ref, units, &paid)) continue;
        uint32_t queue = pond_publish_queue(ref, &old, key->hash, POND_SMALL, &ghost);
        if (ahead) ahead = stays(ref, &room, queue, !old.found);
        if (ahead) break;
        room.queue = queue;
        if (pond_room_find(ref, &room, units, !old.found)) break;
        if (!pond_recycle_force(ref, &paid)) return MILLPOND_ERR_FULL;
    }
    new_keys = old.found ? 0 : new_keys < NEW_KEYS_MAX ? new_keys + 1 : NEW_KEYS_MAX;
    if (!ahead) pond_entry_write_copy(ref, room.where, room.units, c);
    if (!room.appended) pond_bump_64(&ref->shard->counters.hole_hits, 1);
    pond_room_commit(ref, &room, c);
    pond_publish_entry(ref, place, &old, room.where, key->count + (c->flags & POND_ENTRY_COUNTER ? 8 : c->value_bytes));
    return MILLPOND_OK;
}

static __attribute__((noinline)) int set_small(const struct pond_ref *ref, const struct pond_key *key, const struct pond_place *place,
                                               const struct pond_content *c, uint32_t units, uint32_t guess, uint64_t ttl_ms,
                                               const struct millpond_set *o) {
    return set_entry(ref, key, place, c, units, guess, ttl_ms, o, 0);
}

static __attribute__((noinline)) int set_large(const struct pond_ref *ref, const struct pond_key *key, const struct pond_place *place,
                                               struct pond_content *c, const void *value, size_t bytes, uint64_t ttl_ms,
                                               struct millpond_set *o) {
    struct pond_room room = pond_room_for(ref->g, POND_SMALL, ttl_ms, c->expiry);
    struct pond_old old;
    int ghost = -1;
    struct pond_paid paid = {0};
    struct pond_root *list = pond_large_list(ref->g, bytes);
    if (!list) return MILLPOND_ERR_NO_MEMORY;
    pond_publish_find(ref, place, key, &old);
    int result = condition(&old, o);
    if (result == MILLPOND_OK) pond_recycle_step(ref, bytes / POND_UNIT_BYTES, &paid);
    while (result == MILLPOND_OK && ref->shard->free_count < pond_large_segments(ref->g, key->count, bytes))
        if (!pond_recycle_force(ref, &paid)) result = MILLPOND_ERR_FULL;
    if (result == MILLPOND_OK) {
        pond_publish_find(ref, place, key, &old); /* recycling may have taken it */
        result = condition(&old, o);
    }
    room.queue = pond_publish_queue(ref, &old, key->hash, pond_large_queue(ref->g, bytes), &ghost);
    if (result == MILLPOND_OK && !pond_publish_write_large(ref, &old, &room, c, value, bytes, list)) result = MILLPOND_ERR_FULL;
    if (result == MILLPOND_OK) pond_publish_entry(ref, place, &old, room.where, key->count + bytes);
    free(list);
    return result;
}

/* For whom a value is stored that was loaded: not if its flight is over or revoked, or its group was invalidated (`late`). */
static int fill_may(const struct pond_ref *ref, const struct pond_place *place, const struct pond_fill *fill, int late) {
    int valid = pond_flight_valid(ref, place, fill->ticket) && !late;
    pond_flight_end(ref, fill->ticket, late ? POND_OUTCOME_NONE : fill->negative ? POND_OUTCOME_NOTHING : POND_OUTCOME_STORED, 0);
    return valid;
}

/* A1, L3 of group.c. 0: the ticket is out of date. */
static __attribute__((noinline)) int stamp(const struct pond_ref *ref, const struct pond_key *key, struct pond_content *c) {
    c->stamp = pond_group_stamp(ref->map, key->group);
    return c->stamp != 0;
}

/* For ever, in no group, under no condition? */
static inline int plain_set(const struct pond_key *key, const struct millpond_set *o) {
    return (o->ttl_ms | o->grace_ms | o->when | key->group) == 0;
}

/* `plain`: plain_set(); almost every set is, so that it is compiled by itself. A value in chunks is not, of which it tells by
 * NOT_PLAIN before it has done anything. */
enum { NOT_PLAIN = 1000 };
static inline __attribute__((always_inline)) int set(struct pond_map *map, uint32_t timeout_ms, const struct pond_key *key,
                                                     const void *value, size_t value_bytes, struct millpond_set *o,
                                                     const struct pond_fill *fill, int plain) {
    const struct pond_geometry *g = &map->geometry;
    struct pond_ref ref = pond_ref_of(map, pond_shard_of(g, key->hash));
    struct pond_place place = pond_place_of(g, key->hash);
    uint64_t ttl_ms = plain ? 0 : o->ttl_ms, group = plain ? 0 : key->group;
    pond_prefetch_write(&ref.buckets[place.home]); /* S1 */
    if (map->refusal != MILLPOND_OK) return map->refusal;
    uint64_t now_ms = ttl_ms ? pond_clock_write(map) : 0;
    struct pond_content c = pond_publish_content(key, value, value_bytes, ttl_ms, plain ? 0 : o->grace_ms, now_ms);
    if (fill && ttl_ms)
        c.expiry = fill->negative ? pond_expiry_negative(now_ms, ttl_ms)
                                  : pond_expiry_pack_cost(now_ms + ttl_ms, pond_expiry_grace(c.expiry), pond_cost_of(fill->cost_ms));
    if (POND_UNLIKELY(group != 0)) c.flags |= POND_ENTRY_GROUP;
    uint32_t units;
    int large;
    if (!pond_publish_fits(g, &c, value_bytes, &units, &large)) return MILLPOND_ERR_TOO_LARGE;
    if (plain && POND_UNLIKELY(large)) return NOT_PLAIN;
    if (pond_ghost_any(&ref)) pond_ghost_prefetch(&ref, key->hash);
    if (plain || !large) pond_entry_sum(&c); /* while the bucket's line is on its way */
    uint32_t guess = large || new_keys < NEW_KEYS_MAX ? prefetch_old(&ref, &place) : 0;
    int result = pond_write_enter_at(&ref, timeout_ms);
    if (POND_UNLIKELY(result != MILLPOND_OK)) return result;
    prefetch_shard(&ref);
    int late = group != 0 && !stamp(&ref, key, &c);
    if (fill ? !fill_may(&ref, &place, fill, late) : late) {
        pond_write_leave(&ref);
        return MILLPOND_CHANGED;
    }
    c.sequence = pond_publish_sequence(&ref);
    if (plain)
        result = set_entry(&ref, key, &place, &c, units, guess, 0, o, 1);
    else
        result = large ? set_large(&ref, key, &place, &c, value, value_bytes, ttl_ms, o)
                       : set_small(&ref, key, &place, &c, units, guess, ttl_ms, o);
    if (POND_LIKELY(result == MILLPOND_OK)) {
        uint64_t written = large ? pond_entry_units(&c) + value_bytes / POND_UNIT_BYTES : units;
        pond_bump_64(&ref.shard->counters.sets, 1);
        pond_bump_64(&ref.shard->counters.bytes_set, written * POND_UNIT_BYTES);
        o->version = (uint64_t)c.sequence + 1;
    } else if (fill) {
        pond_flight_end(&ref, fill->ticket, POND_OUTCOME_UNSTORABLE, 0);
    }
    pond_write_leave(&ref);
    return result;
}

static __attribute__((noinline)) int set_any(struct pond_map *map, uint32_t timeout_ms, const struct pond_key *key, const void *value,
                                             size_t value_bytes, struct millpond_set *o, const struct pond_fill *fill) {
    return set(map, timeout_ms, key, value, value_bytes, o, fill, 0);
}

int pond_write_set(struct pond_map *map, uint32_t timeout_ms, const struct pond_key *key, const void *value, size_t value_bytes,
                   struct millpond_set *o) {
    int result = POND_LIKELY(plain_set(key, o)) ? set(map, timeout_ms, key, value, value_bytes, o, NULL, 1) : NOT_PLAIN;
    return POND_LIKELY(result != NOT_PLAIN) ? result : set_any(map, timeout_ms, key, value, value_bytes, o, NULL);
}

/* ---- what was loaded ---- */

int pond_write_fill(struct pond_map *map, uint32_t timeout_ms, const struct pond_key *key, const void *value, size_t value_bytes,
                    struct millpond_set *o, const struct pond_fill *fill) {
    return set_any(map, timeout_ms, key, value, value_bytes, o, fill);
}

int pond_write_fill_end(struct pond_map *map, uint32_t timeout_ms, const struct pond_key *key, struct pond_ticket *ticket,
                        enum pond_flight_outcome outcome, int said) {
    struct pond_place place = pond_place_of(&map->geometry, key->hash);
    struct pond_ref ref;
    struct pond_old old;
    int result = pond_write_enter(map, pond_shard_of(&map->geometry, key->hash), timeout_ms, &ref);
    if (result != MILLPOND_OK) return result;
    int late = ticket->group != 0 && !pond_group_valid(map, ticket->group), valid = pond_flight_valid(&ref, &place, ticket) && !late;
    pond_flight_end(&ref, ticket, late ? POND_OUTCOME_NONE : outcome, said);
    if (valid && outcome == POND_OUTCOME_NOTHING) {
        pond_publish_find(&ref, &place, key, &old);
        if (old.found) pond_publish_remove(&ref, &old);
        POND_CRASHPOINT("fill.removed");
        if (old.alive) pond_bump_64(&ref.shard->counters.deletes, 1);
        if (old.found && !old.alive) pond_life_count(&ref.shard->counters, old.life);
    }
    pond_write_leave(&ref);
    return valid ? MILLPOND_OK : MILLPOND_CHANGED;
}

int pond_write_begin(struct pond_map *map, uint32_t timeout_ms, const struct pond_key *key, const struct pond_begin *begin,
                     struct pond_ticket *ticket) {
    struct pond_place place = pond_place_of(&map->geometry, key->hash);
    struct pond_ref ref;
    struct pond_old old;
    int result = pond_write_enter(map, pond_shard_of(&map->geometry, key->hash), timeout_ms, &ref);
    if (result != MILLPOND_OK) return result;
    pond_publish_find(&ref, &place, key, &old);
    uint64_t version = old.found ? (uint64_t)old.d.sequence + 1 : 0;
    uint64_t group = key->group ? pond_group_stamp(map, key->group) : 0; /* L1 of group.c */
    if (version != begin->seen && begin->seen != POND_SEEN_UNREADABLE && old.found && old.life < POND_OVER)
        result = POND_BEGIN_LOOK_AGAIN;
    else
        switch (pond_flight_begin(&ref, key->hash, begin->led, begin->holder, begin->load_max_ms, ticket)) {
        case POND_FLIGHT_WON: result = POND_BEGIN_WON; break;
        case POND_FLIGHT_JOIN: result = POND_BEGIN_JOIN; break;
        default: result = POND_BEGIN_NO_PLACE;
        }
    ticket->group = group;
    pond_write_leave(&ref);
    return result;
}

int pond_write_inherit(struct pond_map *map, uint32_t timeout_ms, uint64_t load_max_ms, struct pond_ticket *ticket) {
    struct pond_ref ref;
    int result = pond_write_enter(map, ticket->shard, timeout_ms, &ref);
    if (result != MILLPOND_OK) return result;
    if (ticket->group) ticket->group = pond_group_stamp(map, pond_stamp_number(ticket->group)); /* what is loaded is loaded from now on */
    result = pond_flight_inherit(&ref, load_max_ms, ticket) ? POND_BEGIN_WON : POND_BEGIN_LOOK_AGAIN;
    pond_write_leave(&ref);
    return result;
}

/* ---- delete, touch, incr, clear ---- */

int pond_write_delete(struct pond_map *map, uint32_t timeout_ms, const struct pond_key *key) {
    struct pond_place place = pond_place_of(&map->geometry, key->hash);
    struct pond_ref ref;
    struct pond_old old;
    pond_read_prefetch_bucket(map, key->hash);
    int result = pond_write_enter(map, pond_shard_of(&map->geometry, key->hash), timeout_ms, &ref);
    if (result != MILLPOND_OK) return result;
    pond_publish_find(&ref, &place, key, &old);
    pond_flight_change(&ref, &place);
    if (old.found) pond_publish_remove(&ref, &old);
    POND_CRASHPOINT("delete.removed");
    if (old.found && !old.alive) pond_life_count(&ref.shard->counters, old.life);
    if (old.alive) pond_bump_64(&ref.shard->counters.deletes, 1);
    pond_write_leave(&ref);
    return old.alive ? MILLPOND_OK : MILLPOND_MISS;
}

/* In place where the entry has an expiry; else it is written anew, with one, and with the version and the chunks that it has. */
int pond_write_touch(struct pond_map *map, uint32_t timeout_ms, const struct pond_key *key, uint64_t ttl_ms) {
    struct pond_place place = pond_place_of(&map->geometry, key->hash);
    struct pond_paid paid = {0};
    struct pond_ref ref;
    struct pond_old old;
    int result = pond_write_enter(map, pond_shard_of(&map->geometry, key->hash), timeout_ms, &ref);
    if (result != MILLPOND_OK) return result;
    uint64_t now_ms = pond_clock_write(map);
    pond_publish_find(&ref, &place, key, &old);
    result = old.alive ? MILLPOND_OK : MILLPOND_MISS;
    if (old.alive && old.d.flags & POND_ENTRY_TTL) {
        uint64_t word = pond_expiry_pack_cost(ttl_ms ? now_ms + ttl_ms : POND_EXPIRY_NEVER, pond_expiry_grace(old.d.expiry),
                                              pond_expiry_cost(old.d.expiry));
        pond_segment_note_expiry(&ref, old.where, pond_entry_end_ms(word)); /* first: a segment must not seem over before its entries */
        POND_CRASHPOINT("touch.noted");
        pond_store_release_64((uint64_t *)(void *)(pond_ref_at(&ref, old.where) + 8), word);
        POND_CRASHPOINT("touch.stored");
    } else if (old.alive && ttl_ms) {
        if (pond_recycle_step(&ref, old.d.units, &paid)) pond_publish_find(&ref, &place, key, &old);
        result = old.alive ? MILLPOND_OK : MILLPOND_MISS;
        uint64_t word = pond_expiry_pack(now_ms + ttl_ms, 0);
        while (result == MILLPOND_OK) {
            uint32_t queue = pond_segment_queue(&ref.table[pond_segment_of(ref.g, old.where)]);
            if (pond_relocate_entry(&ref, &old.spot, queue, word, now_ms)) {
                POND_CRASHPOINT("touch.rewritten");
                pond_retire_one(&ref, old.where);
                break;
            }
            if (!pond_recycle_force(&ref, &paid)) result = MILLPOND_ERR_FULL;
            pond_publish_find(&ref, &place, key, &old);
            if (!old.alive && result == MILLPOND_OK) result = MILLPOND_MISS;
        }
    }
    pond_write_leave(&ref);
    return result;
}

int pond_write_number(const unsigned char *text, uint32_t n, int64_t *number) {
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
static void add_in_place(const struct pond_ref *ref, const struct pond_old *old, int64_t number) {
    unsigned char *at = pond_ref_at(ref, old->where);
    pond_index_counter_begin(ref, old->where);
    pond_store_release_64((uint64_t *)(void *)(at + old->d.value_off), (uint64_t)number);
    POND_CRASHPOINT("incr.added");
    pond_store_release_32((uint32_t *)(void *)(at + (old->d.flags & POND_ENTRY_TTL ? 16 : 8)), pond_publish_sequence(ref));
    POND_CRASHPOINT("incr.versioned");
    pond_index_counter_end(ref);
}

static int add(const struct pond_ref *ref, const struct pond_place *place, const struct pond_key *key, int64_t delta,
               const struct millpond_incr *create, int64_t *value) {
    struct pond_old old;
    int64_t number, sum;
    uint64_t group = key->group ? pond_group_stamp(ref->map, key->group) : 0;
    pond_publish_find(ref, place, key, &old);
    if (!old.alive && !create) return MILLPOND_MISS;
    if (!old.alive)
        number = create->initial;
    else if (old.d.flags & POND_ENTRY_COUNTER)
        number = (int64_t)pond_load_64((const uint64_t *)(const void *)(old.at + old.d.value_off));
    else if (old.d.flags & POND_ENTRY_ROOT || !pond_write_number(old.at + old.d.value_off, old.d.value_bytes, &number))
        return MILLPOND_ERR_NOT_A_NUMBER;
    if (__builtin_add_overflow(number, delta, &sum)) return MILLPOND_ERR_OVERFLOW;
    if (old.alive && old.d.flags & POND_ENTRY_COUNTER) {
        pond_flight_change(ref, place);
        add_in_place(ref, &old, sum);
    } else {
        struct millpond_set always = {0};
        uint64_t now_ms = pond_clock_write(ref->map), ttl_ms = old.alive ? 0 : create->ttl_ms;
        struct pond_content c = pond_publish_content(key, &sum, sizeof sum, ttl_ms, 0, now_ms);
        if (old.alive && old.d.flags & POND_ENTRY_TTL) { /* text becomes a counter and keeps its time */
            uint64_t end = pond_expiry_unpack(old.d.expiry);
            c.flags |= POND_ENTRY_TTL;
            c.expiry = old.d.expiry;
            ttl_ms = end > now_ms ? end - now_ms : 1;
        }
        if (old.alive ? old.d.flags & POND_ENTRY_GROUP : key->group != 0) { /* ... and its group, of which it was a moment ago */
            c.flags |= POND_ENTRY_GROUP;
            c.stamp = old.alive ? pond_entry_stamp(old.at, &old.d) : group;
        }
        c.flags |= POND_ENTRY_COUNTER;
        c.sequence = pond_publish_sequence(ref);
        uint32_t units = pond_entry_units(&c);
        int result = set_small(ref, key, place, &c, units, 0, ttl_ms, &always);
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
