/* SPDX-License-Identifier: MIT */
/* Wounds: where they are, and what they do there.
 *
 * Most fields of the format are plausible only within a small part of their range, and what is implausible is refused early. So beside
 * random bytes there are plausible numbers (the bounds of everything, and one beyond), pieces of the same file in another place (what a
 * misdirected or lost write leaves), and forgeries: slots, holes, intents and roots that are well formed, with a right checksum, and wrong.
 */

#include "damage.h"

#include "entry.h"
#include "flight.h"
#include "hash.h"
#include "recycle.h"
#include "segment.h"
#include "shard.h"

#include <stdio.h>
#include <string.h>

enum area { IDENTITY, LIVING, READERS, HEADER, INTENT, SEGMENTS, BUCKETS, GHOSTS, ENTRIES, ANYWHERE, FLIGHTS, REDO, MARKS, GROUPS, AREAS };
static const char *const area_names[AREAS] = {"identity", "living", "reader", "header", "intent", "segment", "bucket",
                                              "ghost",    "entry",  "byte",   "flight", "redo",   "marks",   "group"};
/* Which area a byte of the input means: where more code looks, more wounds. */
static const uint8_t area_of_byte[32] = {IDENTITY, IDENTITY, LIVING,  LIVING,  READERS, HEADER,   HEADER,   HEADER,
                                         HEADER,   HEADER,   INTENT,  INTENT,  INTENT,  SEGMENTS, SEGMENTS, SEGMENTS,
                                         SEGMENTS, SEGMENTS, BUCKETS, BUCKETS, BUCKETS, BUCKETS,  BUCKETS,  GHOSTS,
                                         ENTRIES,  ENTRIES,  ENTRIES, ENTRIES, ENTRIES, ENTRIES,  ENTRIES,  ANYWHERE};

/* Those that came later have bytes of their own, so that older inputs mean what they meant. */
#define LATER_AREAS 232u
static enum area area_of_number(uint8_t byte) {
    static const enum area later[] = {FLIGHTS, FLIGHTS, REDO, REDO, GROUPS, MARKS};
    return byte < LATER_AREAS ? (enum area)area_of_byte[byte % sizeof area_of_byte] : later[(byte - LATER_AREAS) / 4u];
}

enum kind { SET, FLIP, ADD, PLAUSIBLE, COPY, SWAP, RUN, FORGE, KINDS };
static const char *const kind_names[KINDS] = {"set", "flip", "add", "plausible", "copy", "swap", "run", "forge"};

/* ---- the input ---- */

static uint64_t little(const unsigned char *at, unsigned bytes) {
    uint64_t x = 0;
    while (bytes-- > 0) x = x << 8 | at[bytes];
    return x;
}

static void put_little(unsigned char *at, uint64_t x, unsigned bytes) {
    for (unsigned i = 0; i < bytes; i++) at[i] = (unsigned char)(x >> (8 * i));
}

void damage_decode(const unsigned char *input, size_t bytes, struct damage *damage) {
    unsigned char all[DAMAGE_INPUT_BYTES_MAX] = {0};
    if (bytes > sizeof all) bytes = sizeof all;
    if (bytes) memcpy(all, input, bytes);
    *damage = (struct damage){.pond = all[0], .flags = all[1], .seed = (uint16_t)little(all + 2, 2)};
    for (size_t at = DAMAGE_HEAD_BYTES; at < bytes; at += DAMAGE_WOUND_BYTES) {
        const unsigned char *w = all + at;
        damage->wounds[damage->wound_count++] =
            (struct wound){w[0], w[1], w[2], w[3], (uint16_t)little(w + 4, 2), (uint16_t)little(w + 6, 2), little(w + 8, 8)};
    }
}

size_t damage_encode(const struct damage *damage, unsigned char input[DAMAGE_INPUT_BYTES_MAX]) {
    input[0] = damage->pond;
    input[1] = damage->flags;
    put_little(input + 2, damage->seed, 2);
    unsigned char *w = input + DAMAGE_HEAD_BYTES;
    for (unsigned i = 0; i < damage->wound_count; i++, w += DAMAGE_WOUND_BYTES) {
        const struct wound *wound = &damage->wounds[i];
        w[0] = wound->area, w[1] = wound->kind, w[2] = wound->width, w[3] = wound->extra;
        put_little(w + 4, wound->item, 2);
        put_little(w + 6, wound->offset, 2);
        put_little(w + 8, wound->value, 8);
    }
    return (size_t)(w - input);
}

/* ---- where ---- */

struct place {
    uint64_t off;                  /* of the item, from the start of the file */
    uint64_t bytes;                /* of it */
    uint64_t first, stride, count; /* all items of its area */
};

static uint64_t shard_off(const struct bed *bed, uint32_t shard) { return bed->geometry.shards_off + shard * bed->geometry.shard_bytes; }

static struct place item_of(uint64_t first, uint64_t stride, uint64_t count, uint64_t bytes, uint64_t item) {
    return (struct place){first + item % count * stride, bytes, first, stride, count};
}

static struct place place_of(const struct bed *bed, enum area area, uint32_t item) {
    const struct pond_geometry *g = &bed->geometry;
    uint32_t shard = item % g->shard_count, n = item / g->shard_count;
    uint64_t base = shard_off(bed, shard), header = sizeof(struct pond_shard) - sizeof(pthread_mutex_t);
    switch (area) {
    case IDENTITY: return item_of(0, 1, 1, sizeof(struct pond_identity), 0);
    case LIVING: return item_of(POND_LIVING_OFF, 1, 1, sizeof(struct pond_living), 0);
    case READERS: return item_of(POND_READERS_OFF, sizeof(struct pond_reader), g->reader_count, sizeof(struct pond_reader), item);
    case HEADER: return item_of(base + sizeof(pthread_mutex_t), 1, 1, header, 0);
    case INTENT: return item_of(base + offsetof(struct pond_shard, intent), 1, 1, sizeof(struct pond_intent), 0);
    case FLIGHTS:
        if (g->flights_per_shard == 0) return item_of(POND_LIVING_OFF, 1, 1, sizeof(struct pond_living), 0);
        return item_of(g->flights_off, sizeof(struct pond_flight), (uint64_t)g->flights_per_shard * g->shard_count,
                       sizeof(struct pond_flight), item);
    case REDO: return item_of(base + offsetof(struct pond_shard, redo), 1, 1, sizeof(struct pond_redo), 0);
    case MARKS: /* and what the agent told */
        return item_of(POND_LIVING_OFF + offsetof(struct pond_living, marks), 1, 1,
                       offsetof(struct pond_living, pad1) - offsetof(struct pond_living, marks), 0);
    case GROUPS: return item_of(g->groups_off, sizeof(uint64_t), (uint64_t)g->group_mask + 1, sizeof(uint64_t), item);
    case SEGMENTS: return item_of(base + g->table_off, sizeof(struct pond_segment), g->segment_count, sizeof(struct pond_segment), n);
    case BUCKETS:
        return item_of(base + (uint64_t)g->buckets_off_units * POND_UNIT_BYTES, sizeof(struct pond_bucket), g->bucket_count,
                       sizeof(struct pond_bucket), n);
    case GHOSTS:
        return item_of(base + (uint64_t)g->ghosts_off_units * POND_UNIT_BYTES, sizeof(struct pond_ghost_bucket), g->ghost_count,
                       sizeof(struct pond_ghost_bucket), n);
    case ENTRIES: {
        uint64_t entry = bed->entries[item % bed->entry_count];
        return item_of(shard_off(bed, (uint32_t)(entry >> 32)) + (entry & UINT32_MAX) * POND_UNIT_BYTES, 1, 1, 64, 0);
    }
    default: return item_of(0, 1, bed->file_bytes, bed->file_bytes, item * UINT64_C(2654435761) % bed->file_bytes);
    }
}

/* The bounds of what numbers in the file mean, one below and one beyond. */
static uint64_t plausible(const struct bed *bed, const struct wound *w) {
    const struct pond_geometry *g = &bed->geometry;
    const uint64_t numbers[] = {0,
                                1,
                                2,
                                g->segment_count,
                                g->segment_units,
                                g->bucket_count,
                                g->first_unit,
                                g->end_unit,
                                bed->entries[w->item % bed->entry_count] & UINT32_MAX,
                                bed->entries[w->offset % bed->entry_count] & UINT32_MAX,
                                POND_NO_BUCKET,
                                UINT64_MAX,
                                INT64_MAX,
                                POND_EXPIRY_NEVER,
                                UINT16_MAX,
                                g->max_item_bytes,
                                pond_segment_word(w->extra % 5u, w->extra / 8u % 3u, w->extra / 32u),
                                g->piece_units_max,
                                g->entry_units_max,
                                bed->file_bytes,
                                g->shard_bytes};
    return numbers[w->value % (sizeof numbers / sizeof *numbers)] + (w->value >> 32) % 3 - 1;
}

/* ---- forgeries ---- */

static struct pond_ref ref_of(const struct bed *bed, struct pond_map *map, uint32_t shard) {
    *map = (struct pond_map){.base = bed->file, .geometry = bed->geometry};
    return pond_ref_of(map, shard % bed->geometry.shard_count);
}

/* A slot that names an entry which is there, of whatever key, with its tag or another one. */
static void forge_slot(const struct bed *bed, const struct wound *w) {
    struct pond_map map;
    uint64_t entry = bed->entries[w->value % bed->entry_count];
    struct pond_ref ref = ref_of(bed, &map, (uint32_t)(entry >> 32));
    struct pond_decoded d;
    uint32_t where = (uint32_t)entry + (w->extra >> 6), bucket = w->item % ref.g->bucket_count;
    const unsigned char *at = pond_ref_at(&ref, where);
    uint64_t word = pond_slot_make((uint32_t)(w->value >> 32) & (uint32_t)POND_TAG_MASK, w->extra & 1, where);
    if (w->extra & 2 && pond_where_valid(ref.g, where) && pond_entry_decode(at, pond_units_left(ref.g, where), &d)) {
        struct pond_place place = pond_place_of(ref.g, pond_hash(at + d.key_off, d.key_bytes, ref.g->hash_seed));
        bucket = w->extra & 1 ? place.other : place.home;
        word = pond_slot_make(place.tag, w->extra & 1, where);
    }
    uint64_t off = (uint64_t)((unsigned char *)&ref.buckets[bucket].slot[w->offset % POND_BUCKET_SLOTS] - bed->file);
    bed_write(bed, off, &word, sizeof word);
}

static void forge_intent(const struct bed *bed, const struct wound *w) {
    struct pond_map map;
    struct pond_ref ref = ref_of(bed, &map, w->item);
    uint32_t n = ref.g->bucket_count, a = w->offset % n, b = (uint32_t)(w->value >> 8) % n, slot = w->extra % 7u;
    uint64_t word = ref.buckets[a].slot[slot], entry = bed->entries[w->value % bed->entry_count];
    struct pond_intent intent = {.kind = (uint32_t)(w->value & 7),
                                 .bucket = {a, w->extra & 128 ? pond_other_bucket(ref.g, a, pond_slot_tag(word)) : b},
                                 .slot = {slot, w->extra / 7u % 7u},
                                 .spill_bucket = w->extra & 64 ? POND_NO_BUCKET : b,
                                 .spill_before = (uint32_t)(w->value >> 16) & 255,
                                 .spill_after = (uint32_t)(w->value >> 24),
                                 .before = word,
                                 .after = w->extra & 32 ? word ^ POND_SLOT_AWAY : (word & ~UINT64_C(0xffffffff)) | (entry & UINT32_MAX),
                                 .items = w->value >> 40,
                                 .bytes = w->value >> 20};
    bed_write(bed, (uint64_t)((unsigned char *)&ref.shard->intent - bed->file), &intent, sizeof intent);
}

/* An entry with a right checksum and another value: for a root other sizes, counts and places. */
static void forge_entry(const struct bed *bed, const struct wound *w) {
    struct pond_map map;
    uint64_t entry = bed->entries[w->item % bed->entry_count];
    struct pond_ref ref = ref_of(bed, &map, (uint32_t)(entry >> 32));
    uint32_t where = (uint32_t)entry;
    unsigned char key[BED_KEY_BYTES_MAX], value[BED_VALUE_BYTES_MAX];
    struct pond_decoded d;
    const unsigned char *at = pond_ref_at(&ref, where);
    if (!pond_entry_decode(at, pond_units_left(ref.g, where), &d) || d.key_bytes > sizeof key || d.value_bytes > sizeof value) return;
    memcpy(key, at + d.key_off, d.key_bytes);
    memcpy(value, at + d.value_off, d.value_bytes);
    uint64_t hash = pond_hash(key, d.key_bytes, ref.g->hash_seed);
    uint32_t other = (uint32_t)bed->entries[w->value % bed->entry_count];
    if (d.flags & POND_ENTRY_ROOT) {
        uint64_t bytes = w->extra & 1 ? plausible(bed, w) : w->value >> 8;
        uint32_t count = (uint32_t)plausible(bed, w);
        if (w->extra & 6) memcpy(value, &bytes, sizeof bytes);
        if (w->extra & 8) memcpy(value + offsetof(struct pond_root, chunk_count), &count, sizeof count);
        if (w->extra & 16)
            memcpy(value + offsetof(struct pond_root, chunk) + w->offset % (d.value_bytes / 4 - 3) * 4u, &other, sizeof other);
    } else if (d.value_bytes > 0) {
        value[w->offset % d.value_bytes] ^= (unsigned char)(w->extra | 1);
    }
    uint32_t flags = d.flags & ~(POND_ENTRY_WIDE | POND_ENTRY_DEAD | POND_ENTRY_HOLE);
    if (w->extra & 64) flags ^= w->extra & 32 ? POND_ENTRY_CHUNK : POND_ENTRY_ROOT; /* not what it is; what it then says is garbage */
    struct pond_content content = {.key = key,
                                   .value = value,
                                   .key_bytes = d.key_bytes,
                                   .value_bytes = d.value_bytes,
                                   .flags = flags,
                                   .sequence = d.sequence,
                                   .expiry = d.expiry,
                                   .stamp = d.flags & POND_ENTRY_GROUP ? pond_entry_stamp(at, &d) : 0,
                                   .hash = hash};
    if (pond_entry_units(&content) <= d.units) pond_entry_write(&ref, where, d.units, &content);
}

/* A hole in a list of its class, that names whatever comes next: itself, a live entry, nothing. */
static void forge_hole(const struct bed *bed, const struct wound *w) {
    struct pond_map map;
    uint64_t entry = bed->entries[w->value % bed->entry_count];
    struct pond_ref ref = ref_of(bed, &map, (uint32_t)(entry >> 32));
    uint32_t where = (uint32_t)entry + (w->extra & 128 ? 1 : 0), units = w->extra & 64 ? (uint32_t)plausible(bed, w) : 2 + w->extra % 64u;
    struct pond_hole hole = {
        pond_word_make(units & POND_ENTRY_UNITS_MAX, POND_ENTRY_DEAD | POND_ENTRY_HOLE, 0, 0, ref.shard->hole_generation),
        w->offset & 1 ? where : (uint32_t)bed->entries[w->item % bed->entry_count], w->offset & 2 ? where : 0};
    uint64_t at = (uint64_t)(pond_ref_at(&ref, where) - bed->file), queue = w->offset >> 2 & 1, class = (w->value >> 32) % 40;
    bed_write(bed, at, &hole, sizeof hole);
    bed_write(bed, (uint64_t)((unsigned char *)&ref.shard->hole_head[queue][class] - bed->file), &where, sizeof where);
}

static void forge_segment(const struct bed *bed, const struct wound *w) {
    struct place p = place_of(bed, SEGMENTS, w->item);
    uint32_t word = pond_segment_word(w->extra % 4u, w->extra / 4u % 2u, w->extra / 8u % POND_TTL_CLASSES);
    uint32_t tail = (uint32_t)w->value % (bed->geometry.segment_units + 1);
    bed_write(bed, p.off + offsetof(struct pond_segment, state), &word, sizeof word);
    if (w->offset & 1) bed_write(bed, p.off + offsetof(struct pond_segment, tail_units), &tail, sizeof tail);
}

/* Numbers of the file's clock far from now; marks. */
static void forge_living(const struct bed *bed, const struct wound *w) {
    uint64_t off = w->extra & 1 ? offsetof(struct pond_living, clock_high_ms) : offsetof(struct pond_living, clock_skew_ms);
    uint64_t value = w->extra & 2 ? plausible(bed, w) : w->value;
    bed_write(bed, POND_LIVING_OFF + off, &value, sizeof value);
}

/* The flight of an entry's key, in its window or anywhere: led by nobody, leased, revoked, for a time that is near or far. */
static void forge_flight(const struct bed *bed, const struct wound *w) {
    struct pond_map map;
    uint64_t entry = bed->entries[w->value % bed->entry_count];
    struct pond_ref ref = ref_of(bed, &map, (uint32_t)(entry >> 32));
    const unsigned char *at = pond_ref_at(&ref, (uint32_t)entry);
    struct pond_decoded d;
    uint32_t count = ref.g->flights_per_shard, flights = w->extra >> 4, slot = w->item;
    if (count == 0 || !pond_entry_decode(at, pond_units_left(ref.g, (uint32_t)entry), &d)) return;
    struct pond_place place = pond_place_of(ref.g, pond_hash(at + d.key_off, d.key_bytes, ref.g->hash_seed));
    if (w->extra & 1) slot = pond_reduce(place.tag * UINT32_C(0x9E3779B1) ^ place.home, count) + w->item % 8u; /* slot_at() of flight.c */
    const struct pond_living *living = (const struct pond_living *)(const void *)(bed->file + POND_LIVING_OFF);
    struct pond_flight *f = pond_flights_of(&map, ref.number) + slot % count, forged;
    memcpy(&forged, f, sizeof forged);
    forged.state = w->offset % 6u;
    forged.home = place.home;
    forged.tag = place.tag;
    forged.token = w->extra & 2 ? ref.shard->flight_token + (w->value >> 40) % 3 : w->value;
    forged.begun_ms = living->clock_high_ms;
    forged.deadline_ms = w->extra & 4 ? plausible(bed, w) : living->clock_high_ms + (w->value >> 48);
    forged.holder = w->extra & 8 ? (uint32_t)(w->value >> 32) % (ref.g->reader_count + 2) : 0;
    forged.outcome = (uint32_t)(w->value >> 56) % 6u;
    bed_write(bed, (uint64_t)((unsigned char *)f - bed->file), &forged, sizeof forged);
    bed_write(bed, (uint64_t)((unsigned char *)&ref.shard->flights - bed->file), &flights, sizeof flights);
}

/* A shard's part in a transaction that is decided, or not, or of another coordinator: changes that fit and such that do not. */
static void forge_redo(const struct bed *bed, const struct wound *w) {
    struct pond_map map;
    struct pond_ref ref = ref_of(bed, &map, w->item);
    struct pond_redo *redo = &ref.shard->redo;
    uint64_t name = (w->value >> 8) << 8 | (w->extra & 1 ? w->value & 255 : ref.number), none = 0;
    uint32_t count = w->extra & 2 ? w->offset : w->offset % 5u;
    uint64_t off = (uint64_t)((unsigned char *)redo - bed->file);
    for (uint32_t i = 0; i < 5; i++) {
        uint64_t entry = bed->entries[(w->value + i * 7919u) % bed->entry_count];
        struct pond_redo_op op = {w->value * (i + 1), (uint32_t)entry, w->extra & 4 ? i : 1 + i % 2u};
        struct pond_decoded d;
        const unsigned char *at = pond_ref_at(&ref, (uint32_t)entry);
        if (pond_where_valid(ref.g, (uint32_t)entry) && pond_entry_decode(at, pond_units_left(ref.g, (uint32_t)entry), &d))
            op.hash = pond_hash(at + d.key_off, d.key_bytes, ref.g->hash_seed);
        bed_write(bed, off + offsetof(struct pond_redo, op) + i * sizeof op, &op, sizeof op);
    }
    bed_write(bed, off + offsetof(struct pond_redo, op_count), &count, sizeof count);
    bed_write(bed, off + offsetof(struct pond_redo, pending), &name, sizeof name);
    bed_write(bed, off + offsetof(struct pond_redo, decision), w->extra & 8 ? &none : &name, sizeof name);
}

/* Marks of syncs and resizes, and an agent's word. */
static void forge_marks(const struct bed *bed, const struct wound *w) {
    struct pond_living living;
    memcpy(&living, bed->file + POND_LIVING_OFF, sizeof living);
    living.clean = w->extra & 3u;
    living.replaced = w->extra >> 2 & 3u;
    living.successor = w->value;
    living.agent_epoch = w->offset;
    living.agent_until_ms = w->extra & 16 ? plausible(bed, w) : living.clock_high_ms + w->item;
    living.agent_stale_ms = w->extra & 32 ? w->value : w->item;
    bed_write(bed, POND_LIVING_OFF, &living, sizeof living);
}

/* An entry becomes one of a group, of a number that there is or not; and that group's word is its stamp's, or near it. */
static void forge_group(const struct bed *bed, const struct wound *w) {
    struct pond_map map;
    uint64_t entry = bed->entries[w->item % bed->entry_count];
    struct pond_ref ref = ref_of(bed, &map, (uint32_t)(entry >> 32));
    unsigned char key[BED_KEY_BYTES_MAX], value[BED_VALUE_BYTES_MAX];
    struct pond_decoded d;
    const unsigned char *at = pond_ref_at(&ref, (uint32_t)entry);
    if (!pond_entry_decode(at, pond_units_left(ref.g, (uint32_t)entry), &d) || d.key_bytes > sizeof key || d.value_bytes > sizeof value)
        return;
    memcpy(key, at + d.key_off, d.key_bytes);
    memcpy(value, at + d.value_off, d.value_bytes);
    uint64_t stamp =
        d.flags & POND_ENTRY_GROUP ? pond_entry_stamp(at, &d) : pond_stamp_make((uint32_t)w->value & (POND_GROUPS_MAX - 1), w->value >> 16);
    struct pond_content content = {.key = key,
                                   .value = value,
                                   .key_bytes = d.key_bytes,
                                   .value_bytes = d.value_bytes,
                                   .flags = (d.flags | POND_ENTRY_GROUP) & ~(POND_ENTRY_WIDE | POND_ENTRY_DEAD | POND_ENTRY_HOLE),
                                   .sequence = d.sequence,
                                   .expiry = d.expiry,
                                   .stamp = stamp,
                                   .hash = pond_hash(key, d.key_bytes, ref.g->hash_seed)};
    if (!(d.flags & POND_ENTRY_GROUP) && content.value_bytes >= POND_STAMP_BYTES) content.value_bytes -= POND_STAMP_BYTES;
    if (w->extra & 1 && pond_entry_units(&content) <= d.units) pond_entry_write(&ref, (uint32_t)entry, d.units, &content);
    uint64_t word = pond_stamp_generation(stamp) + w->extra / 8u % 3u - 1 + (w->extra & 2 ? w->value << POND_GENERATION_BITS : 0);
    if (w->extra & 4)
        bed_write(bed, bed->geometry.groups_off + (pond_stamp_number(stamp) & bed->geometry.group_mask) * sizeof word, &word, sizeof word);
}

static void forge(const struct bed *bed, enum area area, const struct wound *w) {
    switch (area) {
    case GROUPS: forge_group(bed, w); break;
    case FLIGHTS: forge_flight(bed, w); break;
    case REDO: forge_redo(bed, w); break;
    case MARKS: forge_marks(bed, w); break;
    case LIVING: forge_living(bed, w); break;
    case HEADER: forge_hole(bed, w); break;
    case INTENT: forge_intent(bed, w); break;
    case SEGMENTS: forge_segment(bed, w); break;
    case BUCKETS: forge_slot(bed, w); break;
    default: forge_entry(bed, w); break;
    }
}

/* ---- wounding ---- */

static void exchange(const struct bed *bed, const struct wound *w, const struct place *p, int both) {
    unsigned char here[512], there[512];
    uint64_t count = p->count > 1 ? p->count : 1, other = p->first + w->value % count * p->stride, bytes = p->bytes;
    if (p->bytes == bed->file_bytes) { /* blocks of a disk */
        bytes = sizeof here;
        other = w->value % bed->file_bytes;
    } else if (count == 1) { /* within the item, or from another entry */
        other = p->bytes == 64 ? place_of(bed, ENTRIES, (uint32_t)(w->value & 0xffff)).off : p->off + w->value % p->bytes / 8 * 8;
        bytes = 8u << (w->width % 4);
    }
    uint64_t off = p->off + (p->bytes == bed->file_bytes ? 0 : w->offset % p->bytes / 8 * 8 * (count == 1));
    if (p->bytes == bed->file_bytes) off = off / bytes * bytes, other = other / bytes * bytes;
    if (bytes > sizeof here) bytes = sizeof here;
    if (off + bytes > bed->file_bytes || other + bytes > bed->file_bytes) return;
    memcpy(here, bed->file + off, bytes);
    memcpy(there, bed->file + other, bytes);
    bed_write(bed, off, there, bytes);
    if (both) bed_write(bed, other, here, bytes);
}

static void wound_at(const struct bed *bed, enum area area, const struct wound *w) {
    struct place p = place_of(bed, area, w->item);
    unsigned width = 1u << w->width % 4;
    uint64_t off = p.off + (p.bytes == bed->file_bytes ? 0 : w->offset % p.bytes), now = 0;
    enum kind kind = (enum kind)(w->kind % KINDS);
    if (w->width & 4) off = off / width * width; /* a field rather than bytes */
    if (off + width > bed->file_bytes) return;
    memcpy(&now, bed->file + off, width);
    switch (kind) {
    case SET: now = w->value; break;
    case FLIP: now ^= UINT64_C(1) << (w->extra % (width * 8)); break;
    case ADD: now += w->extra & 1 ? w->extra : 0 - (uint64_t)w->extra; break;
    case PLAUSIBLE: now = plausible(bed, w); break;
    case COPY:
    case SWAP: exchange(bed, w, &p, kind == SWAP); return;
    case RUN:
        for (unsigned i = 0; i < w->extra + 1u; i++) bed_write(bed, off + i, w->value & 1 ? (const void *)&p.off : "\0\0\0", 1);
        return;
    default: forge(bed, area, w); return;
    }
    bed_write(bed, off, &now, width);
}

static enum area area_of(const struct wound *w) { return area_of_number(w->area); }

void damage_wound(const struct bed *bed, const struct wound *wound) { wound_at(bed, area_of(wound), wound); }

/* Geometry that puts the mutexes somewhere else is used as files that really have one would be: with mutexes that are made anew, or
 * read-only. */
static void settle_identity(const struct bed *bed, const struct damage *damage) {
    struct pond_identity *identity = (struct pond_identity *)(void *)bed->file;
    struct pond_geometry g;
    if (damage->flags & DAMAGE_SIGNED) identity->checksum = pond_hash(identity, offsetof(struct pond_identity, checksum), 0);
    if (pond_layout_geometry(identity, &g) != NULL) return;
    if (g.reader_count != bed->geometry.reader_count || g.shard_count != bed->geometry.shard_count ||
        g.shard_bytes != bed->geometry.shard_bytes)
        memset(bed->file + POND_LIVING_OFF, 0, sizeof(((struct pond_living *)NULL)->boot_id));
}

void damage_apply(const struct bed *bed, const struct damage *damage) {
    struct pond_living *living = (struct pond_living *)(void *)(bed->file + POND_LIVING_OFF);
    bed_restore(bed, damage->flags & DAMAGE_ORPHANED);
    if (damage->flags & DAMAGE_CLEAN) living->clean = 1;
    for (unsigned i = 0; i < damage->wound_count; i++) wound_at(bed, area_of(&damage->wounds[i]), &damage->wounds[i]);
    if (damage->flags & DAMAGE_STALE) living->boot_id[0] ^= 1;
    settle_identity(bed, damage);
}

/* ---- making them up ---- */

static struct wound random_wound(struct support_random *random) {
    uint64_t a = support_next(random), b = support_next(random);
    struct wound w = {(uint8_t)a, (uint8_t)(a >> 8), (uint8_t)(a >> 16), (uint8_t)(a >> 24), (uint16_t)(a >> 32), (uint16_t)(a >> 48), b};
    if (a >> 63) w.value &= 0xff; /* small numbers are seldom random ones */
    return w;
}

void damage_random(struct damage *damage, struct support_random *random) {
    uint64_t a = support_next(random);
    *damage = (struct damage){.pond = (uint8_t)a, .flags = (uint8_t)(a >> 8), .seed = (uint16_t)(a >> 16)};
    if (a >> 40 & 1) damage->flags &= (uint8_t) ~(DAMAGE_READONLY | DAMAGE_STALE); /* most files are opened as they are, for writing */
    if (a >> 41 & 1) damage->flags &= (uint8_t)~DAMAGE_REPAIR;
    damage->wound_count = 1 + (unsigned)(a >> 48) % (a >> 42 & 1 ? 3 : DAMAGE_WOUNDS_MAX);
    for (unsigned i = 0; i < damage->wound_count; i++) {
        damage->wounds[i] = random_wound(random);
        if (area_of(&damage->wounds[i]) != IDENTITY) continue;
        if (a >> 44 & 7) damage->wounds[i].area = (uint8_t)(31 - i); /* most would only be refused */
        if (a >> 47 & 1) damage->flags |= DAMAGE_SIGNED;
    }
}

void damage_mutate(struct damage *damage, struct support_random *random) {
    uint64_t a = support_next(random);
    if (a & 1) damage->flags ^= (uint8_t)(1u << (a >> 8) % 8);
    if (a & 2) damage->seed = (uint16_t)(a >> 16);
    unsigned at = damage->wound_count ? (unsigned)(a >> 32) % damage->wound_count : 0;
    switch (a >> 40 & 3) {
    case 0:
        if (damage->wound_count < DAMAGE_WOUNDS_MAX) damage->wounds[damage->wound_count++] = random_wound(random);
        break;
    case 1:
        if (damage->wound_count > 1) damage->wounds[at] = damage->wounds[--damage->wound_count];
        break;
    case 2: damage->wounds[at].value = support_next(random); break;
    default: damage->wounds[at].offset = (uint16_t)(damage->wounds[at].offset + (a >> 50) % 64); break;
    }
}

void damage_print(const struct damage *damage, char *text, size_t bytes) {
    int at = snprintf(text, bytes, "pond %u, flags 0x%02x, seed %u:", damage->pond % BED_PONDS, damage->flags, damage->seed);
    for (unsigned i = 0; i < damage->wound_count && at > 0 && (size_t)at < bytes; i++) {
        const struct wound *w = &damage->wounds[i];
        at += snprintf(text + at, bytes - (size_t)at, " %s %s(%u+%u, 0x%llx)", area_names[area_of(w)], kind_names[w->kind % KINDS], w->item,
                       w->offset, (unsigned long long)w->value);
    }
}
