/* SPDX-License-Identifier: MIT */
/* Several keys as they were at one moment.
 *
 *   Z1 every key is read as by a get (R1 to R8 of read.c), and where it was found is remembered: slot, entry, version of the bucket; of an
 *      absent one the versions of both its buckets, loaded before they were searched
 *   Z2 no shard of theirs is pending in a transaction (redo.c)
 *   Z3 every key is looked at again: the slot still names that entry and its bucket has the same version; a counter has the same number
 *      and then the same sequence number; an absent key is still absent, and both versions are the same; the group of an entry that
 *      was shown has not been invalidated (that of one that was not stays so)
 *   Z4 anything else: from Z1. After some turns, for a handle that may write: the mutexes of all shards concerned, in order (a dead holder
 *      is recovered then, and with it what it had decided), and plain gets under them
 *
 * A slot that names the same entry under the same version was not changed in between: to change away and back is two changes, and the
 * version is raised between them. So from the end of Z1 to the begin of Z3 nothing changed, and all keys had these values at every moment
 * of that time. A transaction that had then changed one of them and would still change another one kept that one's shard pending for all
 * of that time, so Z2 saw it. Comparing versions alone (Z3 without the slots) would not do: a slot is stored before its version is raised.
 *
 * Collecting twice: Afek et al., "Atomic snapshots of shared memory" (1993), without its helping: here the locks bound the wait. */

#include "snapshot.h"

#include "crashpoint.h"
#include "enter.h"
#include "group.h"
#include "hash.h"
#include "lookup.h"
#include "reader.h"
#include "redo.h"

#include <stdlib.h>

#define PARTS_INLINE   32u
#define BATCH          32u /* keys whose cache misses overlap */
#define TURNS_WRITER   16u /* before the locks are taken */
#define TURNS_READONLY 1000u

/* A key, and where it was. */
struct part {
    struct pond_key key; /* bytes: NULL when the item is none */
    struct pond_place place;
    uint32_t shard;
    struct pond_bucket *bucket; /* NULL: absent */
    uint32_t slot, where, version;
    uint32_t home_version, other_version; /* of an absent key */
    const uint64_t *number;               /* of a counter, else NULL */
    const uint32_t *sequence;
    uint64_t number_was;
    uint32_t sequence_was;
    uint64_t stamp; /* of an entry of a group that lives, else 0 */
};

struct snapshot {
    struct pond_map *map;
    struct millpond_mget *items;
    struct part *parts;
    size_t count;
    uint64_t shards[POND_SHARDS_MAX / 64]; /* bits */
};

static void prepare(struct snapshot *s) {
    const struct pond_geometry *g = &s->map->geometry;
    for (size_t i = 0; i < s->count; i++) {
        struct millpond_mget *item = &s->items[i];
        struct part *part = &s->parts[i];
        item->result = MILLPOND_ERR_ARGUMENT;
        part->key.bytes = NULL;
        if (!item->key || item->key_bytes == 0 || item->key_bytes > MILLPOND_KEY_BYTES_MAX || (!item->buf && item->buf_bytes)) continue;
        part->key = (struct pond_key){item->key, item->key_bytes, pond_hash(item->key, item->key_bytes, g->hash_seed), NULL, 0};
        part->place = pond_place_of(g, part->key.hash);
        part->shard = pond_shard_of(g, part->key.hash);
        s->shards[part->shard / 64] |= UINT64_C(1) << part->shard % 64;
        if (i < BATCH) pond_read_prefetch_bucket(s->map, part->key.hash);
    }
}

/* ---- Z1 ---- */

static void remember(const struct pond_ref *ref, struct part *part, const struct pond_found *f) {
    part->bucket = f->bucket;
    part->slot = f->slot;
    part->version = f->version;
    part->where = (uint32_t)((uint64_t)(f->at - ref->base) / POND_UNIT_BYTES);
    part->number = NULL;
    part->stamp = 0;
}

static void remember_number(struct part *part, const struct pond_found *f) {
    part->number = (const uint64_t *)(const void *)(f->at + f->d.value_off);
    part->sequence = (const uint32_t *)(const void *)(f->at + (f->d.flags & POND_ENTRY_TTL ? 16 : 8));
    part->sequence_was = f->d.sequence;
    pond_fence_load(); /* the sequence before the number */
    part->number_was = pond_load_64(part->number);
}

/* What is not in its home bucket as a plain value. */
static __attribute__((noinline)) int collect_any(const struct pond_ref *ref, struct part *part, struct millpond_mget *item) {
    struct pond_found f;
    item->result = MILLPOND_MISS;
    part->bucket = NULL;
    part->home_version = pond_load_acquire_32(&ref->buckets[part->place.home].version);
    part->other_version = pond_load_acquire_32(&ref->buckets[part->place.other].version);
    enum pond_turn was = pond_look(ref, &part->place, &part->key, &f);
    if (was != POND_FOUND) return was == POND_ABSENT;
    remember(ref, part, &f);
    if (f.d.flags & POND_ENTRY_COUNTER) remember_number(part, &f);
    uint64_t stamp = f.d.flags & POND_ENTRY_GROUP ? pond_entry_stamp(f.at, &f.d) : 0; /* validated with all of the entry */
    was = pond_read_take(ref, &f, &part->key, item->buf, item->buf_bytes, &item->value_bytes, NULL, &item->result);
    if (was == POND_ABSENT) item->result = MILLPOND_MISS; /* over, or damaged: a miss as long as the slot names it */
    if (was == POND_FOUND && f.d.flags & POND_ENTRY_GROUP) part->stamp = stamp;
    return was != POND_AGAIN;
}

/* 1, or 0: again. */
static int collect(const struct snapshot *s, struct part *part, struct millpond_mget *item) {
    struct pond_ref ref = pond_ref_of(s->map, part->shard);
    struct pond_found f;
    enum pond_turn was = pond_look_home(&ref, &part->place, &part->key, &f);
    if (POND_UNLIKELY(was != POND_FOUND || f.d.flags & ~POND_ENTRY_WIDE)) return collect_any(&ref, part, item);
    remember(&ref, part, &f);
    item->value_bytes = f.d.value_bytes;
    item->result = MILLPOND_TOO_SMALL;
    if (POND_LIKELY(f.d.value_bytes <= item->buf_bytes)) {
        pond_copy_out(item->buf, f.at + f.d.value_off, f.d.value_bytes);
        item->result = MILLPOND_OK;
    }
    return pond_read_valid(f.bucket, f.version);
}

static int collect_all(const struct snapshot *s) {
    for (size_t first = 0; first < s->count; first += BATCH) {
        size_t n = s->count - first < BATCH ? s->count - first : BATCH;
        for (size_t i = first; i < first + n && first > 0; i++)
            if (s->parts[i].key.bytes) pond_read_prefetch_bucket(s->map, s->parts[i].key.hash);
        for (size_t i = first; i < first + n; i++)
            if (s->parts[i].key.bytes) pond_read_prefetch_entry(s->map, s->parts[i].key.hash);
        for (size_t i = first; i < first + n; i++)
            if (s->parts[i].key.bytes) {
                if (!collect(s, &s->parts[i], &s->items[i])) return 0;
                POND_CRASHPOINT("snapshot.collected");
            }
    }
    return 1;
}

/* ---- Z2 ---- */

/* ORDER redo-decision (snapshot): what Z1 read before `pending`, which stands before any of its transaction's slots. Pairs with (writer) in
 * pond_redo_commit(). And redo-done: `pending` before what Z3 reads. */
static int quiet(const struct snapshot *s) {
    pond_fence_load();
    for (uint32_t word = 0; word * 64 < s->map->geometry.shard_count; word++)
        for (uint64_t bits = s->shards[word]; bits; bits &= bits - 1) {
            struct pond_ref ref = pond_ref_of(s->map, word * 64 + (uint32_t)__builtin_ctzll(bits));
            if (pond_redo_pending(&ref) != 0) return 0;
        }
    return 1;
}

/* ---- Z3 ---- */

static int still_absent(const struct snapshot *s, const struct part *part) {
    struct pond_ref ref = pond_ref_of(s->map, part->shard);
    struct pond_found f;
    if (pond_look(&ref, &part->place, &part->key, &f) != POND_ABSENT) return 0;
    return pond_read_valid(&ref.buckets[part->place.home], part->home_version) &&
           pond_read_valid(&ref.buckets[part->place.other], part->other_version);
}

static int same(const struct snapshot *s, const struct part *part) {
    if (POND_UNLIKELY(part->bucket == NULL)) return still_absent(s, part);
    if (pond_slot_where(pond_read_slot(part->bucket, part->slot)) != part->where) return 0;
    if (POND_UNLIKELY(part->number != NULL)) {
        if (pond_load_acquire_64(part->number) != part->number_was || pond_load_32(part->sequence) != part->sequence_was) return 0;
    }
    if (POND_UNLIKELY(part->stamp != 0) && !pond_group_valid(s->map, part->stamp)) return 0;
    return pond_read_valid(part->bucket, part->version);
}

static int turn(const struct snapshot *s) {
    if (!collect_all(s) || !quiet(s)) return 0;
    POND_CRASHPOINT("snapshot.quiet");
    for (size_t i = 0; i < s->count; i++)
        if (s->parts[i].key.bytes && !same(s, &s->parts[i])) return 0;
    return 1;
}

/* A snapshot is a use of its entries. */
static void count_uses(const struct snapshot *s, unsigned turns) {
    for (size_t i = 0; i < s->count; i++) {
        if (!s->parts[i].key.bytes) continue;
        int hit = s->items[i].result != MILLPOND_MISS;
        struct pond_found f = {.bucket = s->parts[i].bucket, .slot = s->parts[i].slot};
        if (hit) pond_raise_hits(s->map, &f);
        pond_reader_count(s->map, hit, i == 0 ? turns : 0, 0);
    }
}

/* ---- Z4 ---- */

static int under_locks(const struct snapshot *s, uint32_t timeout_ms) {
    uint32_t shards[POND_SHARDS_MAX], n = 0;
    for (uint32_t i = 0; i < s->map->geometry.shard_count; i++)
        if (s->shards[i / 64] >> i % 64 & 1) shards[n++] = i;
    int result = pond_write_enter_some(s->map, shards, n, timeout_ms);
    if (result != MILLPOND_OK) return result;
    for (size_t i = 0; i < s->count; i++) {
        struct millpond_mget *item = &s->items[i];
        if (s->parts[i].key.bytes)
            item->result = pond_read_get(s->map, &s->parts[i].key, item->buf, item->buf_bytes, &item->value_bytes, NULL);
    }
    POND_CRASHPOINT("snapshot.locked");
    pond_write_leave_some(s->map, shards, n);
    return MILLPOND_OK;
}

int pond_snapshot(struct pond_map *map, uint32_t timeout_ms, struct millpond_mget *items, size_t item_count) {
    struct part inline_parts[PARTS_INLINE];
    struct snapshot s = {.map = map, .items = items, .parts = inline_parts, .count = item_count};
    if (item_count > PARTS_INLINE) {
        s.parts = item_count > SIZE_MAX / sizeof *s.parts ? NULL : malloc(item_count * sizeof *s.parts);
        if (!s.parts) return MILLPOND_ERR_NO_MEMORY;
    }
    prepare(&s);
    unsigned turns = map->readonly ? TURNS_READONLY : TURNS_WRITER, i = 0;
    while (i < turns && !turn(&s)) i++;
    int result = MILLPOND_OK;
    if (i < turns)
        count_uses(&s, i);
    else
        result = map->readonly ? MILLPOND_ERR_BUSY : under_locks(&s, timeout_ms);
    if (s.parts != inline_parts) free(s.parts);
    return result;
}
