/* SPDX-License-Identifier: MIT */
/* The commit of a transaction.
 *
 *   C1 the items are sorted by shard; what will be written is prepared as far as it can be without a lock
 *   C2 the mutexes of all shards that were read or will be changed, in order (enter.c: a dead holder's shard is repaired first)
 *   C3 the coordinator must be free. A shard that has not yet done its part of the coordinator's last transaction is locked alone, which
 *      makes it do that; then C2 again. Never while other mutexes are held: it may come earlier in the order
 *   C4 an instalment of recycling in each shard that will be changed
 *   C5 every key that was read still has the version that was read, or is still absent (over is absent); else CHANGED
 *   C6 the new entries are written where no slot points, and listed. Where there is no room: all of them become holes, then a segment is
 *      recycled, then from the start of C6. Never with entries written: what no slot names counts as dead
 *   C7 C5 again if C6 recycled: what was read may have left
 *   C8 the lists are made to happen as one (redo.c)
 *   C9 the mutexes are given back
 *
 * So a transaction that reads is as if it had happened at C8; nobody could change what it read since C2. */

#include "commit.h"

#include "crashpoint.h"
#include "enter.h"
#include "expire.h"
#include "flight.h"
#include "group.h"
#include "large.h"
#include "publish.h"
#include "recycle.h"
#include "redo.h"

#include <stdlib.h>

#define ROOM_TRIES 3u
#define LIST_UNITS 32u /* of a value in chunks: its root, about */

/* A shard of the transaction, and its items. */
struct part {
    uint32_t shard, first, count;
    uint32_t changes; /* how many of them are written or removed */
    uint64_t units;   /* that they need */
    struct pond_paid paid;
};

struct commit {
    struct pond_map *map;
    struct pond_txn_item *items;
    struct part parts[POND_SHARDS_MAX];
    uint32_t shards[POND_SHARDS_MAX]; /* of the parts */
    uint32_t part_count;
};

/* ---- C1 ---- */

static int by_shard(const void *a, const void *b) {
    const struct pond_txn_item *x = a, *y = b;
    return (x->shard > y->shard) - (x->shard < y->shard);
}

static void sort(struct pond_txn_item *items, uint32_t count) {
    for (uint32_t i = 1; i < count; i++)
        if (items[i].shard < items[i - 1].shard) {
            qsort(items, count, sizeof *items, by_shard);
            return;
        }
}

/* Returns 0 without memory. */
static int prepare(struct pond_map *map, struct pond_txn_item *item, uint64_t now_ms) {
    const struct pond_geometry *g = &map->geometry;
    item->list = NULL;
    item->units = 0;
    item->ghost = -1;
    pond_read_prefetch_bucket(map, item->key.hash);
    if (!(item->kind & POND_TXN_PUT)) return 1;
    if (item->kind & POND_TXN_COUNTER) item->value = &item->number;
    item->content = pond_publish_content(&item->key, item->value, item->value_bytes, item->ttl_ms, item->grace_ms, now_ms);
    if (item->group) item->content.flags |= POND_ENTRY_GROUP;
    if (item->kind & POND_TXN_COUNTER) item->content.flags |= POND_ENTRY_COUNTER;
    item->units = pond_entry_units(&item->content);
    if (!pond_large_is(g, item->units, item->value_bytes)) {
        pond_entry_sum(&item->content);
        return 1;
    }
    item->list = pond_large_list(g, item->value_bytes);
    return item->list != NULL;
}

static void split(struct commit *c, uint32_t count) {
    c->part_count = 0;
    for (uint32_t i = 0; i < count; i++) {
        const struct pond_txn_item *item = &c->items[i];
        if (i == 0 || item->shard != c->items[i - 1].shard) {
            c->shards[c->part_count] = item->shard;
            c->parts[c->part_count++] = (struct part){.shard = item->shard, .first = i};
        }
        struct part *part = &c->parts[c->part_count - 1];
        part->count++;
        part->changes += (item->kind & (POND_TXN_PUT | POND_TXN_REMOVE)) != 0;
        part->units += item->list ? item->value_bytes * 9 / 8 / POND_UNIT_BYTES + LIST_UNITS : item->units;
    }
}

/* ---- C5 ---- */

static int unchanged(const struct commit *c) {
    for (uint32_t p = 0; p < c->part_count; p++) {
        const struct part *part = &c->parts[p];
        struct pond_ref ref = pond_ref_of(c->map, part->shard);
        for (uint32_t i = part->first; i < part->first + part->count; i++) {
            const struct pond_txn_item *item = &c->items[i];
            struct pond_old old;
            if (!(item->kind & POND_TXN_READ)) continue;
            struct pond_place place = pond_place_of(ref.g, item->key.hash);
            pond_publish_find(&ref, &place, &item->key, &old);
            if (item->version != (old.alive ? (uint64_t)old.d.sequence + 1 : 0)) return 0;
        }
    }
    return 1;
}

/* ---- C6 ---- */

/* The content as one entry is kept: a try that fails begins again from it. */
static int write_large(const struct pond_ref *ref, struct pond_txn_item *item, const struct pond_old *old, struct pond_room *room) {
    struct pond_content root = item->content;
    return pond_publish_write_large(ref, old, room, &root, item->value, item->value_bytes, item->list);
}

/* A counter goes on with the group and the time to live that it has. Returns what is left of that, as of a set. */
static uint64_t keep_expiry(const struct pond_ref *ref, struct pond_txn_item *item, const struct pond_old *old) {
    if (!(item->kind & POND_TXN_KEEP) || !old->alive) return item->ttl_ms;
    if (old->d.flags & POND_ENTRY_GROUP) {
        item->content.flags |= POND_ENTRY_GROUP;
        item->content.stamp = pond_entry_stamp(old->at, &old->d);
        item->units = pond_entry_units(&item->content);
    }
    if (!(old->d.flags & POND_ENTRY_TTL)) return item->ttl_ms;
    uint64_t end = pond_expiry_unpack(old->d.expiry), now_ms = pond_clock_read(ref->map);
    item->content.flags |= POND_ENTRY_TTL;
    item->content.expiry = old->d.expiry;
    item->units = pond_entry_units(&item->content);
    return end == POND_EXPIRY_NEVER ? 0 : end > now_ms ? end - now_ms : 1;
}

static int write_item(const struct pond_ref *ref, struct pond_txn_item *item) {
    struct pond_place place = pond_place_of(ref->g, item->key.hash);
    struct pond_old old;
    if (!(item->kind & (POND_TXN_PUT | POND_TXN_REMOVE))) return 1;
    if (item->kind & POND_TXN_PUT && item->group) item->content.stamp = pond_group_stamp(ref->map, item->group);
    pond_publish_find(ref, &place, &item->key, &old);
    if (item->kind & POND_TXN_REMOVE) {
        pond_flight_change(ref, &place); /* also of a key that is absent: what is loaded now may be what was removed */
        if (old.found) pond_redo_add(ref, POND_REDO_REMOVE, item->key.hash, old.where);
        return 1;
    }
    uint64_t ttl_ms = keep_expiry(ref, item, &old);
    struct pond_room room = pond_room_for(ref->g, POND_SMALL, ttl_ms, item->content.expiry);
    uint32_t strangers = item->list ? pond_large_queue(ref->g, item->value_bytes) : (uint32_t)POND_SMALL;
    room.queue = pond_publish_queue(ref, &old, item->key.hash, strangers, &item->ghost);
    item->content.sequence = pond_publish_sequence(ref);
    if (item->list) {
        if (!write_large(ref, item, &old, &room)) return 0;
    } else {
        if (!pond_publish_room(ref, &room, item->units, !old.found)) return 0;
        pond_room_put(ref, &room, &item->content);
    }
    pond_redo_add(ref, POND_REDO_PUT, item->key.hash, room.where);
    POND_CRASHPOINT("txn.written");
    return 1;
}

/* The part whose entries found no room, or NULL. */
static struct part *write_all(struct commit *c) {
    for (uint32_t p = 0; p < c->part_count; p++) {
        struct part *part = &c->parts[p];
        struct pond_ref ref = pond_ref_of(c->map, part->shard);
        if (part->changes == 0) continue;
        pond_redo_begin(&ref);
        for (uint32_t i = part->first; i < part->first + part->count; i++)
            if (!write_item(&ref, &c->items[i])) return part;
    }
    return NULL;
}

static void drop_all(const struct commit *c, const struct part *last) {
    for (const struct part *part = c->parts; part <= last; part++) {
        struct pond_ref ref = pond_ref_of(c->map, part->shard);
        if (part->changes) pond_redo_drop(&ref); /* the list of a shard that was only read is an old one */
    }
}

/* Frees segments: one; if that was not enough, as many as the part's entries fill; then as many as they can need where the ends of segments
 * stay empty (an entry is at most a quarter of one). */
static int recycle(const struct commit *c, struct part *part, unsigned attempt) {
    struct pond_ref ref = pond_ref_of(c->map, part->shard);
    uint64_t filled = part->units / ref.g->segment_units;
    uint64_t wanted = attempt == 1 ? (uint64_t)ref.shard->free_count + 1 : attempt == 2 ? filled + 2 : filled * 3 / 2 + 4;
    while (ref.shard->free_count < wanted)
        if (!pond_recycle_force(&ref, &part->paid)) return 0;
    return 1;
}

/* C6 and C7. */
static int place_all(struct commit *c) {
    const struct part *last = &c->parts[c->part_count - 1];
    struct part *failed;
    unsigned attempt = 0;
    while ((failed = write_all(c)) != NULL) {
        drop_all(c, failed);
        if (++attempt > ROOM_TRIES || !recycle(c, failed, attempt)) return MILLPOND_ERR_FULL;
    }
    if (attempt == 0 || unchanged(c)) return MILLPOND_OK;
    drop_all(c, last);
    return MILLPOND_CHANGED;
}

/* ---- C3 to C8 ---- */

static void account(const struct commit *c) {
    for (uint32_t p = 0; p < c->part_count; p++) {
        struct pond_ref ref = pond_ref_of(c->map, c->parts[p].shard);
        pond_bump_64(&ref.shard->counters.bytes_set, c->parts[p].units * POND_UNIT_BYTES);
    }
}

/* C8. */
static void happen(const struct commit *c) {
    uint32_t changed[POND_SHARDS_MAX], count = 0;
    for (uint32_t p = 0; p < c->part_count; p++) {
        struct pond_ref ref = pond_ref_of(c->map, c->parts[p].shard);
        if (c->parts[p].changes && ref.shard->redo.op_count) changed[count++] = c->parts[p].shard;
    }
    if (count) pond_redo_commit(c->map, changed, count);
    account(c);
}

/* C3. Any shard that will be changed may turn out to be the lowest: removing what is absent changes nothing. */
static uint32_t straggler(const struct commit *c) {
    for (uint32_t p = 0; p < c->part_count; p++) {
        struct pond_ref ref = pond_ref_of(c->map, c->parts[p].shard);
        uint32_t other = c->parts[p].changes ? pond_redo_straggler(&ref) : POND_NO_SHARD;
        if (other != POND_NO_SHARD) return other;
    }
    return POND_NO_SHARD;
}

static int attempt(struct commit *c) {
    for (uint32_t p = 0; p < c->part_count; p++) {
        struct pond_ref ref = pond_ref_of(c->map, c->parts[p].shard);
        if (c->parts[p].changes) pond_recycle_step(&ref, c->parts[p].units, &c->parts[p].paid);
    }
    if (!unchanged(c)) return MILLPOND_CHANGED;
    int result = place_all(c);
    POND_CRASHPOINT("txn.ready");
    if (result == MILLPOND_OK) happen(c);
    return result;
}

/* C2 to C9. */
static int run(struct commit *c, uint32_t timeout_ms) {
    for (;;) {
        int result = pond_write_enter_some(c->map, c->shards, c->part_count, timeout_ms);
        if (result != MILLPOND_OK) return result;
        uint32_t other = straggler(c);
        if (other == POND_NO_SHARD) result = attempt(c);
        pond_write_leave_some(c->map, c->shards, c->part_count);
        if (other == POND_NO_SHARD) return result;
        result = pond_write_enter_some(c->map, &other, 1, timeout_ms);
        if (result != MILLPOND_OK) return result;
        POND_CRASHPOINT("txn.helped");
        pond_write_leave_some(c->map, &other, 1);
    }
}

int pond_commit(struct pond_map *map, uint32_t timeout_ms, struct pond_txn_item *items, uint32_t count) {
    struct commit c;
    c.map = map;
    c.items = items;
    uint64_t now_ms = 0;
    int ready = 1, result = MILLPOND_ERR_NO_MEMORY;
    sort(items, count);
    for (uint32_t i = 0; i < count; i++)
        if (items[i].kind & POND_TXN_PUT && items[i].ttl_ms && now_ms == 0) now_ms = pond_clock_write(map);
    for (uint32_t i = 0; i < count; i++) ready &= prepare(map, &items[i], now_ms);
    if (ready) {
        split(&c, count);
        result = run(&c, timeout_ms);
    }
    for (uint32_t i = 0; i < count; i++) free(items[i].list);
    return result;
}
