/* SPDX-License-Identifier: MIT */
/* Reading, with nothing but loads of shared memory, and a counter.
 *
 *   reader                                                    writer (holds the shard's mutex; index.c)
 *   R1 v = home.version (acquire)                             W1 the new entry is written where no slot points (entry.c)
 *   R2 w = slot whose tag matches (acquire); none -> R6       W2 the slot is swung or cleared by one 64-bit store, release
 *   R3 w's offset and the entry's sizes are checked           W3 version + 1, release
 *   R4 the keys are compared, the value copied out            W4 store fence; then the old bytes may be reused (by any later holder:
 *   R5 load fence; home.version still v? no -> R1                so the fence stands where bytes are reused, in pond_entry_write)
 *   R6 home.spill is 0: a miss if, after a load fence, home.version is still v; else R1
 *   R7 else the other bucket likewise: v2 = other.version (acquire), slots, entry, load fence, other.version still v2
 *   R8 found in neither: load fence, both versions unchanged: a miss; else R1
 *
 * If the version of the bucket that named the entry did not move between R1 and R5, its slot was w all the time, so the bytes were not
 * reused, so the copy is whole. If it moved, the turn is repeated: there is no odd state to wait for, so a writer that dies or stops
 * anywhere costs nobody a wait. After POND_READ_TURNS turns (each of which a writer must have spoiled) the answer is a miss, counted as
 * gave_up. Two buckets and moves between them: see index.c (M1 to M7); the miss of R8 is a real miss because a move raises home.version
 * before it clears. Why R1 to R5 hold on weakly ordered machines, and which omission breaks what: tests/models.
 *
 * What is read between R2 and R5 may be garbage: every size and offset is checked before it is used, each is loaded once, and no loop is
 * longer than a bound that is ours.
 *
 * The only stores: the hit counter of the slot, two bits in the bucket, relaxed, only while it is below its maximum (a late store there
 * can only spoil a hint), and the calling thread's own statistics. A read-only mapping does neither. */

#include "read.h"

#include "crashpoint.h"
#include "entry.h"
#include "expire.h"
#include "group.h"
#include "lookup.h"
#include "millpond.h"
#include "reader.h"
#include "root.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- values ---- */

size_t pond_counter_text(const struct pond_found *f, char text[24]) {
    int64_t number = (int64_t)pond_load_64((const uint64_t *)(const void *)(f->at + f->d.value_off));
    return (size_t)snprintf(text, 24, "%lld", (long long)number);
}

/* The pieces of a value that lies in chunks, one after the other, `bytes` in all. Returns 0 when they do not fit together: changed or
 * damaged. */
static int copy_chunks(const struct pond_ref *ref, const struct pond_found *f, uint64_t hash, unsigned char *to, uint64_t bytes,
                       int verify) {
    struct pond_decoded chunk;
    for (uint32_t i = 0, n = pond_root_count(f->at, &f->d); i < n && bytes > 0; i++) {
        uint32_t where = pond_root_chunk(f->at, &f->d, i);
        if (!pond_chunk_at(ref, where, hash, i, &chunk) || chunk.value_bytes > bytes) return 0;
        const unsigned char *at = pond_ref_at(ref, where);
        if (verify && !pond_entry_intact(at, &chunk, pond_hash(at + chunk.key_off, chunk.key_bytes, ref->g->hash_seed))) return 0;
        pond_copy_out(to, at + chunk.value_off, chunk.value_bytes);
        to += chunk.value_bytes;
        bytes -= chunk.value_bytes;
        POND_CRASHPOINT("read.copying");
        if (!pond_read_valid(f->bucket, f->version)) return 0; /* early: the copy of a large value is long */
    }
    return bytes == 0;
}

/* The value's size as a reader of it sees it. */
static uint64_t size_of(const struct pond_found *f, char text[24]) {
    if (POND_LIKELY(!(f->d.flags & (POND_ENTRY_COUNTER | POND_ENTRY_ROOT)))) return f->d.value_bytes;
    return f->d.flags & POND_ENTRY_COUNTER ? pond_counter_text(f, text) : pond_root_bytes(f->at, &f->d);
}

static int copy_value(const struct pond_ref *ref, const struct pond_found *f, uint64_t hash, void *buf, uint64_t bytes, const char *text,
                      int verify) {
    if (POND_LIKELY(!(f->d.flags & (POND_ENTRY_COUNTER | POND_ENTRY_ROOT)))) {
        pond_copy_out(buf, f->at + f->d.value_off, bytes);
        return 1;
    }
    if (f->d.flags & POND_ENTRY_ROOT) return copy_chunks(ref, f, hash, buf, bytes, verify);
    memcpy(buf, text, bytes);
    return 1;
}

/* ---- a get ---- */

/* What a mortal entry is to a caller that asks for its age: 1 when its value is to be shown. */
static int note_age(const struct pond_found *f, uint64_t now_ms, enum pond_life life, struct pond_age *age) {
    if (life >= POND_OVER) return 0;
    age->expiry = f->d.expiry;
    age->now_ms = now_ms;
    age->version = pond_version_of(&f->d);
    age->negative = pond_entry_negative(&f->d);
    age->stale = life == POND_EXPIRED && !age->negative;
    return !age->negative;
}

/* G1 of group.c, and the time: of an entry that is mortal. */
static enum pond_life life_of(struct pond_map *map, const struct pond_found *f, uint64_t *now_ms) {
    *now_ms = f->d.flags & POND_ENTRY_TTL ? pond_clock_read(map) : 0;
    return pond_life(map, f->at, &f->d, *now_ms);
}

/* The time at which a mortal entry was found alive, 0 for one that lives for ever; or UINT64_MAX. Out of the way of those that are not,
 * with no more than it needs, so that the rest stays in registers. */
static __attribute__((noinline)) uint64_t alive_at(struct pond_map *map, const unsigned char *at, uint32_t units, uint32_t flags,
                                                   uint64_t expiry) {
    const struct pond_decoded d = {.units = units, .flags = flags, .expiry = expiry};
    uint64_t now_ms = flags & POND_ENTRY_TTL ? pond_clock_read(map) : 0;
    return pond_life(map, at, &d, now_ms) == POND_LIVES ? now_ms : UINT64_MAX;
}

int (*pond_read_elsewhere)(struct pond_map *map, const struct pond_key *key, void *buf, size_t buf_bytes, size_t *value_bytes);

/* ORDER replace (reader): a miss, whose load fence is behind the look at the bucket, then the mark. Pairs with (resizer) in
 * take_place(): the mark, then the emptied buckets. */
static inline int missed(struct pond_map *map, const struct pond_key *key, void *buf, size_t buf_bytes, size_t *value_bytes) {
    if (POND_LIKELY(!pond_load_32(&map->living->replaced) && !map->followed)) return MILLPOND_MISS;
    return key->handle ? pond_read_elsewhere(map, key, buf, buf_bytes, value_bytes) : MILLPOND_MISS;
}

/* What one turn's find is worth. POND_AGAIN: nothing, look again. */
static enum pond_turn take_any(const struct pond_ref *ref, const struct pond_found *f, const struct pond_key *key, void *buf,
                               size_t buf_bytes, size_t *value_bytes, uint64_t *version, struct pond_age *age, int *result) {
    char text[24];
    if (pond_life_mortal(&f->d)) {
        uint64_t now_ms;
        enum pond_life life = life_of(ref->map, f, &now_ms);
        if (age ? !note_age(f, now_ms, life, age) : life != POND_LIVES)
            return pond_read_valid(f->bucket, f->version) ? POND_ABSENT : POND_AGAIN;
    }
    if (version && *version == pond_version_of(&f->d)) {
        *result = MILLPOND_UNCHANGED;
        return pond_read_valid(f->bucket, f->version) ? POND_FOUND : POND_AGAIN;
    }
    /* A counter's sequence number (decoded above) is stored after its number, and read before it here: an old number never has a new
     * version. */
    if (f->d.flags & POND_ENTRY_COUNTER) pond_fence_load();
    uint64_t bytes = size_of(f, text);
    int whole =
        !(f->d.flags & POND_ENTRY_ROOT) || bytes <= ref->g->max_item_bytes; /* nobody should allocate what a damaged root asks for */
    *result = MILLPOND_TOO_SMALL;
    if (whole && bytes <= buf_bytes) {
        whole = copy_value(ref, f, key->hash, buf, bytes, text, 0);
        *result = age && age->stale ? MILLPOND_STALE : MILLPOND_OK;
        POND_CRASHPOINT("read.copied");
    }
    if (!pond_read_valid(f->bucket, f->version)) return POND_AGAIN;
    if (!whole) return POND_ABSENT; /* unchanged and yet not whole: damaged */
    if (value_bytes) *value_bytes = bytes;
    if (version) *version = pond_version_of(&f->d);
    if (age) age->version = pond_version_of(&f->d);
    return POND_FOUND;
}

enum pond_turn pond_read_take(const struct pond_ref *ref, const struct pond_found *f, const struct pond_key *key, void *buf,
                              size_t buf_bytes, size_t *value_bytes, uint64_t *version, int *result) {
    return take_any(ref, f, key, buf, buf_bytes, value_bytes, version, NULL, result);
}

/* A get of any entry, with or without a version or its age. */
static __attribute__((noinline)) int get_any(struct pond_map *map, const struct pond_key *key, void *buf, size_t buf_bytes,
                                             size_t *value_bytes, uint64_t *version, struct pond_age *age) {
    struct pond_ref ref = pond_ref_of(map, pond_shard_of(&map->geometry, key->hash));
    struct pond_place place = pond_place_of(ref.g, key->hash);
    for (unsigned turn = 0; turn < POND_READ_TURNS; turn++) {
        struct pond_found f;
        int result = MILLPOND_MISS;
        enum pond_turn was = pond_look(&ref, &place, key, &f);
        if (age) *age = (struct pond_age){0};
        if (was == POND_FOUND) was = take_any(&ref, &f, key, buf, buf_bytes, value_bytes, version, age, &result);
        if (was == POND_AGAIN) continue;
        if (was == POND_FOUND) pond_raise_hits(map, &f);
        pond_reader_count(map, was == POND_FOUND, turn, 0);
        return was == POND_FOUND ? result : missed(map, key, buf, buf_bytes, value_bytes);
    }
    pond_reader_count(map, 0, POND_READ_TURNS, 1);
    return MILLPOND_MISS;
}

/* The first turn of a plain get from the home bucket, in registers; get_any() takes over for keys in their other bucket, counters,
 * values in chunks and versions, what does not live, and when a writer was at the bucket. */
static inline __attribute__((always_inline)) int get(struct pond_map *map, const struct pond_key *key, void *buf, size_t buf_bytes,
                                                     size_t *value_bytes, uint64_t *version, struct pond_age *age) {
    struct pond_ref ref = pond_ref_of(map, pond_shard_of(&map->geometry, key->hash));
    struct pond_place place = pond_place_of(ref.g, key->hash);
    struct pond_found f;
    enum pond_turn was = pond_look_home(&ref, &place, key, &f);
    if (was == POND_ABSENT) {
        if (age) *age = (struct pond_age){0};
        pond_reader_count(map, 0, 0, 0);
        return missed(map, key, buf, buf_bytes, value_bytes);
    }
    if (POND_UNLIKELY(was == POND_AGAIN || version || f.d.flags & ~(POND_ENTRY_TTL | POND_ENTRY_WIDE | POND_ENTRY_GROUP)))
        return get_any(map, key, buf, buf_bytes, value_bytes, version, age);
    uint64_t now_ms = 0;
    if (pond_life_mortal(&f.d)) {
        now_ms = alive_at(map, f.at, f.d.units, f.d.flags, f.d.expiry);
        if (POND_UNLIKELY(now_ms == UINT64_MAX)) return get_any(map, key, buf, buf_bytes, value_bytes, NULL, age);
    }
    size_t bytes = f.d.value_bytes;
    int fits = bytes <= buf_bytes;
    POND_CRASHPOINT("read.found");
    if (POND_LIKELY(fits)) pond_copy_out(buf, f.at + f.d.value_off, bytes);
    POND_CRASHPOINT("read.copied");
    if (POND_UNLIKELY(!pond_read_valid(f.bucket, f.version))) return get_any(map, key, buf, buf_bytes, value_bytes, version, age);
    if (age) *age = (struct pond_age){.expiry = f.d.expiry /* 0 without one */, .now_ms = now_ms, .version = pond_version_of(&f.d)};
    pond_reader_count(map, 1, 0, 0);
    if (value_bytes) *value_bytes = bytes;
    pond_raise_hits(map, &f);
    return fits ? MILLPOND_OK : MILLPOND_TOO_SMALL;
}

int pond_read_get(struct pond_map *map, const struct pond_key *key, void *buf, size_t buf_bytes, size_t *value_bytes, uint64_t *version) {
    return get(map, key, buf, buf_bytes, value_bytes, version, NULL);
}

int pond_read_get_aged(struct pond_map *map, const struct pond_key *key, void *buf, size_t buf_bytes, size_t *value_bytes,
                       struct pond_age *age) {
    return get(map, key, buf, buf_bytes, value_bytes, NULL, age);
}

int pond_read_ttl(struct pond_map *map, const struct pond_key *key, uint64_t *ttl_ms) {
    struct pond_ref ref = pond_ref_of(map, pond_shard_of(&map->geometry, key->hash));
    struct pond_place place = pond_place_of(ref.g, key->hash);
    struct pond_found f;
    for (unsigned turn = 0; turn < POND_READ_TURNS; turn++) {
        enum pond_turn was = pond_look(&ref, &place, key, &f);
        if (was == POND_ABSENT) return MILLPOND_MISS;
        if (was == POND_AGAIN) continue;
        uint64_t now_ms = 0;
        enum pond_life life = pond_life_mortal(&f.d) ? life_of(map, &f, &now_ms) : POND_LIVES;
        if (!pond_read_valid(f.bucket, f.version)) continue;
        if (life != POND_LIVES) return MILLPOND_MISS;
        uint64_t expiry = f.d.flags & POND_ENTRY_TTL ? pond_expiry_unpack(f.d.expiry) : POND_EXPIRY_NEVER;
        *ttl_ms = expiry == POND_EXPIRY_NEVER ? 0 : expiry - now_ms;
        return MILLPOND_OK;
    }
    return MILLPOND_MISS;
}

/* ---- ahead of a get ---- */

void pond_read_prefetch_bucket(struct pond_map *map, uint64_t hash) {
    struct pond_ref ref = pond_ref_of(map, pond_shard_of(&map->geometry, hash));
    __builtin_prefetch(&ref.buckets[pond_place_of(ref.g, hash).home]);
}

void pond_read_prefetch_entry(struct pond_map *map, uint64_t hash) {
    struct pond_ref ref = pond_ref_of(map, pond_shard_of(&map->geometry, hash));
    struct pond_place place = pond_place_of(ref.g, hash);
    const struct pond_bucket *home = &ref.buckets[place.home];
    for (uint32_t i = 0; i < POND_BUCKET_SLOTS; i++) {
        uint64_t word = pond_load_64(&home->slot[i]);
        if ((uint32_t)(word >> 32) != place.tag || !pond_where_valid(ref.g, pond_slot_where(word))) continue;
        const unsigned char *at = pond_ref_at(&ref, pond_slot_where(word));
        __builtin_prefetch(at);
        __builtin_prefetch(at + 64);
        __builtin_prefetch(at + 128);
        return;
    }
    if (pond_load_16(&home->spill)) __builtin_prefetch(&ref.buckets[place.other]);
}

/* ---- copies for scans ---- */

static int grow(struct pond_copy *copy, size_t bytes) {
    if (bytes <= copy->room) return 1;
    unsigned char *larger = realloc(copy->bytes, bytes);
    if (!larger) return 0;
    copy->bytes = larger;
    copy->room = bytes;
    return 1;
}

/* Is this the slot of a key with this hash? An entry that is whole in itself may be of an earlier time, when another key had its place. */
static int belongs(const struct pond_ref *ref, const struct pond_bucket *bucket, uint64_t word, uint64_t hash) {
    struct pond_place place = pond_place_of(ref->g, hash);
    return pond_slot_tag(word) == place.tag && bucket == &ref->buckets[word & POND_SLOT_AWAY ? place.other : place.home] &&
           pond_shard_of(ref->g, hash) == ref->number;
}

/* One turn at one slot. POND_AGAIN is told apart from NONE by *again. */
static enum pond_copied copy_turn(const struct pond_ref *ref, struct pond_bucket *bucket, uint32_t slot, int with_value,
                                  struct pond_copy *copy, int *again) {
    struct pond_found f = {.bucket = bucket, .slot = slot, .version = pond_load_acquire_32(&bucket->version)};
    uint64_t word = pond_read_slot(bucket, slot);
    uint32_t where = pond_slot_where(word);
    enum pond_copied result = POND_COPIED_DAMAGED;
    *again = 0;
    if (word == 0) return POND_COPIED_NONE;
    if (!pond_where_valid(ref->g, where)) goto validate;
    f.at = pond_ref_at(ref, where);
    if (!pond_entry_decode(f.at, pond_units_left(ref->g, where), &f.d) || f.d.flags & (POND_ENTRY_DEAD | POND_ENTRY_CHUNK)) goto validate;
    uint64_t now;
    enum pond_life life = life_of(ref->map, &f, &now);
    char text[24];
    uint64_t bytes = size_of(&f, text);
    if (bytes > ref->g->max_item_bytes && bytes > sizeof text) goto validate;
    if (!grow(copy, f.d.key_bytes + (with_value ? bytes : 0) + 1)) return POND_COPIED_NO_MEMORY;
    pond_copy_out(copy->bytes, f.at + f.d.key_off, f.d.key_bytes);
    uint64_t hash = pond_hash(copy->bytes, f.d.key_bytes, ref->g->hash_seed);
    if (!belongs(ref, bucket, word, hash)) goto validate;
    int whole = !with_value || copy_value(ref, &f, hash, copy->bytes + f.d.key_bytes, bytes, text, 1);
    whole = whole && pond_entry_intact(f.at, &f.d, hash);
    uint64_t expiry = f.d.flags & POND_ENTRY_TTL ? pond_expiry_unpack(f.d.expiry) : POND_EXPIRY_NEVER;
    copy->key_bytes = f.d.key_bytes;
    copy->value_bytes = bytes;
    copy->ttl_ms = expiry == POND_EXPIRY_NEVER ? 0 : expiry - now;
    copy->grace_ms = expiry == POND_EXPIRY_NEVER ? 0 : pond_grace_ms(pond_expiry_grace(f.d.expiry));
    copy->version = pond_version_of(&f.d);
    copy->group = f.d.flags & POND_ENTRY_GROUP ? pond_stamp_number(pond_entry_stamp(f.at, &f.d)) : 0;
    result = !whole ? POND_COPIED_DAMAGED : life != POND_LIVES ? POND_COPIED_NONE : POND_COPIED;
validate:
    *again = !pond_read_valid(bucket, f.version);
    return result;
}

enum pond_copied pond_read_slot_copy(struct pond_map *map, uint32_t shard, uint32_t bucket, uint32_t slot, int with_value,
                                     struct pond_copy *copy) {
    struct pond_ref ref = pond_ref_of(map, shard);
    for (unsigned turn = 0; turn < POND_READ_TURNS; turn++) {
        int again;
        enum pond_copied result = copy_turn(&ref, &ref.buckets[bucket], slot, with_value, copy, &again);
        if (!again || result == POND_COPIED_NO_MEMORY) return result;
    }
    return POND_COPIED_NONE;
}
