/* SPDX-License-Identifier: MIT */
/* Where everything in the file is: planned at creation, computed again and checked at every open.
 *
 * The index is sized so that index and memory run out together for entries of the size that the creator expects (24 + 100 bytes unless
 * said otherwise): for smaller ones the index is full first, for larger ones some of it stays empty. */

#include "layout.h"

#include "hash.h"
#include "millpond.h"

#include <string.h>

#define DEFAULT_FILE_BYTES        (UINT64_C(64) << 20)
#define DEFAULT_ENTRY_BYTES       124u
#define SHARD_BYTES_WANTED        (UINT64_C(16) << 20) /* fewer shards before smaller ones */
#define LONGEST_KEY_SEGMENT_BYTES (UINT64_C(68) << 10)
#define FIT_ENTRIES_MIN           16u /* segments of fewer entries are not fitted */
#define FIT_PART                  16u /* of the segments may be given up for larger ones */
#define INDEX_LOAD_PERCENT        93u /* entries in 100 slots when the memory is full; two buckets a key still take that */

#define INDEX_HIGH_PERCENT 94u /* from here on entries leave by the queues, before single ones have to for want of a slot (95) */

static uint64_t round_up(uint64_t x, uint64_t to) { return (x + to - 1) / to * to; }

static uint32_t reader_count_for(uint64_t file_bytes) {
    uint64_t n = file_bytes >> 18;
    return (uint32_t)(n < 16 ? 16 : n > 1024 ? 1024 : n);
}

/* One for each 64 KiB, 4 to 1024, and at least 4 for each shard. */
static uint32_t flight_count_for(uint64_t file_bytes, uint32_t shards) {
    uint64_t n = file_bytes >> 16, each = (n < 4 ? 4 : n > 1024 ? 1024 : n) / shards;
    return (uint32_t)(each < 4 ? 4 : each) * shards;
}

/* One for each page, so that they are a 500th of the file at the most. */
static uint32_t group_count_for(uint64_t file_bytes) {
    uint32_t n = POND_GROUPS_MIN;
    while (n < POND_GROUPS_MAX && (uint64_t)n * 2 * POND_PAGE_BYTES <= file_bytes) n *= 2;
    return n;
}

static uint64_t flights_off_for(uint32_t reader_count) { return POND_READERS_OFF + (uint64_t)reader_count * sizeof(struct pond_reader); }

static uint64_t groups_off_for(const struct pond_identity *id) {
    return flights_off_for(id->reader_count) + (uint64_t)id->flight_count * sizeof(struct pond_flight);
}

static uint64_t shards_off_for(const struct pond_identity *id) {
    return round_up(groups_off_for(id) + (uint64_t)id->group_count * sizeof(uint64_t), POND_PAGE_BYTES);
}

static uint64_t shard_bytes_for(const struct pond_identity *id) {
    uint64_t before = shards_off_for(id);
    return before < id->file_bytes ? (id->file_bytes - before) / id->shard_count / POND_PAGE_BYTES * POND_PAGE_BYTES : 0;
}

static uint32_t shards_for(uint64_t file_bytes, uint64_t max_item_bytes, unsigned processors) {
    uint32_t shards = 1;
    while (shards < 2 * processors && shards < POND_SHARDS_MAX && file_bytes / (shards * 2) >= SHARD_BYTES_WANTED) shards *= 2;
    while (shards > 1 && max_item_bytes > file_bytes / shards * 2 / 5) shards /= 2;
    while (file_bytes / shards > POND_SHARD_BYTES_MAX - POND_PAGE_BYTES) shards *= 2;
    return shards;
}

/* About 1024 segments a file, 64 at the least for each shard, and at least 68 KiB each, so that the longest key fits into one. A shard too
 * small for that has 128 segments, so that the few that are free or open, and what is left over at each end, are a small part of it; but
 * none below 2 KiB, or a 24th of a tiny shard, or six entries, and a whole number of entries where there are few in one. Measured:
 * bench/README.md, small files, payload. */
static uint64_t segment_bytes_for(uint64_t shard_bytes, uint32_t shards, uint64_t entry) {
    uint64_t count = 1024 / shards, bytes = shard_bytes / (count < 64 ? 64 : count);
    if (shard_bytes / 64 >= LONGEST_KEY_SEGMENT_BYTES) {
        if (bytes < LONGEST_KEY_SEGMENT_BYTES) bytes = LONGEST_KEY_SEGMENT_BYTES;
        if (bytes > POND_SEGMENT_BYTES_MAX) bytes = POND_SEGMENT_BYTES_MAX;
        return bytes / POND_UNIT_BYTES * POND_UNIT_BYTES;
    }
    uint64_t most = shard_bytes / 24;
    bytes = shard_bytes / 128;
    if (bytes < 2048) bytes = 2048;
    if (bytes < entry * 6) bytes = entry * 6;
    if (bytes > most) bytes = most;
    if (bytes / entry >= 2 && bytes / entry < 64) bytes = bytes / entry * entry;
    if (bytes < POND_SEGMENT_BYTES_MIN) bytes = POND_SEGMENT_BYTES_MIN;
    return bytes / POND_UNIT_BYTES * POND_UNIT_BYTES;
}

/* Segments for so much room, with their descriptors: about of the size and number that were chosen, and as many and as large as leaves
 * least of the room over, at their ends and behind the last one. */
static void fit_segments(struct pond_identity *id, uint64_t room, uint64_t entry) {
    uint64_t most = 0, count = id->segment_count;
    if (id->segment_bytes / entry < FIT_ENTRIES_MIN) return;
    for (uint64_t n = count; n > count - count / FIT_PART; n--) {
        uint64_t bytes = (room / n - sizeof(struct pond_segment)) / entry * entry;
        uint64_t fitting = room / (bytes + sizeof(struct pond_segment));
        if (fitting * bytes <= most || bytes > POND_SEGMENT_BYTES_MAX) continue;
        most = fitting * bytes;
        id->segment_count = (uint32_t)fitting;
        id->segment_bytes = (uint32_t)bytes;
    }
}

static uint32_t piece_bytes_for(uint32_t segment_bytes) {
    uint32_t bytes = segment_bytes / 4 < POND_PIECE_BYTES_MAX ? segment_bytes / 4 : POND_PIECE_BYTES_MAX;
    return bytes / POND_UNIT_BYTES * POND_UNIT_BYTES;
}

/* Each full chunk may be followed by one that only fills up the rest of a segment. */
uint64_t pond_layout_chunks_most(uint32_t piece_bytes, uint64_t value_bytes) {
    return value_bytes / (piece_bytes - POND_CHUNK_HEAD_BYTES) * 2 + 4;
}

uint64_t pond_layout_segments_most(uint32_t segment_bytes, uint64_t key_bytes, uint64_t value_bytes) {
    uint64_t chunks = pond_layout_chunks_most(piece_bytes_for(segment_bytes), value_bytes);
    uint64_t bytes = value_bytes + chunks * POND_CHUNK_HEAD_BYTES + key_bytes + POND_ROOT_HEAD_BYTES;
    return bytes * 9 / 8 / segment_bytes + 2;
}

/* The largest value whose list of chunks, with a key of up to 256 bytes, fits into one segment. */
static uint64_t listed_bytes_most(uint32_t segment_bytes) {
    uint32_t piece = piece_bytes_for(segment_bytes);
    uint64_t chunks = (segment_bytes - POND_ROOT_HEAD_BYTES - 256) / 4;
    return (chunks - 4) / 2 * (piece - POND_CHUNK_HEAD_BYTES);
}

const char *pond_layout_plan(const struct millpond_options *o, unsigned processors, struct pond_identity *id) {
    uint64_t size = o->size_bytes ? o->size_bytes : DEFAULT_FILE_BYTES;
    if (size < POND_FILE_BYTES_MIN) return "the size is below 64 KiB; give a larger one";
    if (size > POND_FILE_BYTES_MAX) return "the size is above 4 TiB; give a smaller one";
    size = round_up(size, POND_PAGE_BYTES);
    if (o->shards > POND_SHARDS_MAX || (o->shards & (o->shards - 1)))
        return "the number of shards is not a power of two up to 256; give one that is, or none";
    if (o->segment_bytes && (o->segment_bytes < POND_SEGMENT_BYTES_MIN || o->segment_bytes > POND_SEGMENT_BYTES_MAX))
        return "the segment size is not from 512 bytes to 64 MiB; give one that is, or none";
    if (o->mode > 0777) return "the mode is not permission bits, 0 to 0777; give three octal digits";

    id->file_bytes = size;
    id->reader_count = reader_count_for(size);
    id->shard_count = o->shards ? o->shards : shards_for(size, o->max_item_bytes, processors);
    id->flight_count = flight_count_for(size, id->shard_count);
    id->group_count = group_count_for(size);
    id->shard_bytes = shard_bytes_for(id);
    if (id->shard_bytes > POND_SHARD_BYTES_MAX - POND_PAGE_BYTES) return "a shard would be larger than 32 GiB; give more shards";
    if (id->shard_bytes < POND_SHARD_HEADER_BYTES * 2) return "the file is too small for so many shards; give fewer, or a larger size";

    uint64_t room = id->shard_bytes - POND_SHARD_HEADER_BYTES;
    uint64_t entry = round_up(12 + (uint64_t)(o->entry_bytes ? o->entry_bytes : DEFAULT_ENTRY_BYTES), POND_UNIT_BYTES);
    id->segment_bytes = (uint32_t)(o->segment_bytes ? o->segment_bytes / POND_UNIT_BYTES * POND_UNIT_BYTES
                                                    : segment_bytes_for(room, id->shard_count, entry));
    /* room = items x (entry + slot share + ghost) + the segment table */
    uint64_t usable = room - room / id->segment_bytes * sizeof(struct pond_segment);
    uint64_t per_item_percent = entry * 100 + sizeof(struct pond_bucket) * 10000 / (POND_BUCKET_SLOTS * INDEX_LOAD_PERCENT) + 2 * 100;
    uint64_t items = usable / per_item_percent * 100 + usable % per_item_percent * 100 / per_item_percent;
    uint64_t buckets = items * 100 / (POND_BUCKET_SLOTS * INDEX_LOAD_PERCENT) + 2;
    uint64_t ghosts = items / POND_GHOST_WAYS + 1;
    if (buckets > UINT32_MAX / 2 || ghosts > UINT32_MAX / 2) return "the index would be too large; give more shards or a larger entry size";
    id->bucket_count = (uint32_t)buckets;
    id->ghost_count = (uint32_t)(ghosts + (ghosts & 1));
    uint64_t index = (uint64_t)id->bucket_count * sizeof(struct pond_bucket) + (uint64_t)id->ghost_count * sizeof(struct pond_ghost_bucket);
    if (index + POND_SEGMENTS_MIN * (id->segment_bytes + sizeof(struct pond_segment)) + 64 > room)
        return "fewer than 8 segments would fit; give smaller segments, fewer shards or a larger size";
    room -= index + 64;
    id->segment_count = (uint32_t)(room / (id->segment_bytes + sizeof(struct pond_segment)));
    if (!o->segment_bytes) fit_segments(id, room, entry);

    uint64_t data = (uint64_t)id->segment_count * id->segment_bytes;
    if (o->max_item_bytes > data / 2)
        return "the largest value does not fit twice into a shard; give a smaller one, fewer shards or a larger size";
    /* Two segments are open, one is being recycled, and one takes what is kept of it. */
    if (o->max_item_bytes && pond_layout_segments_most(id->segment_bytes, 256, o->max_item_bytes) + 4 > id->segment_count)
        return "the largest value fills too many of its shard's segments; give a smaller one, smaller segments, fewer shards or a larger "
               "size";
    uint64_t listed = listed_bytes_most(id->segment_bytes);
    if (o->max_item_bytes > listed)
        return "the largest value has more pieces than a segment can list; give larger segments or a smaller value";
    id->max_item_bytes = o->max_item_bytes ? o->max_item_bytes : data / 8 < listed ? data / 8 : listed;
    return NULL;
}

/* The inverse of what pond_layout_plan() does with it: memory for each slot that will be in use. */
uint32_t pond_layout_entry_bytes(const struct pond_geometry *g) {
    uint64_t slots = (uint64_t)g->bucket_count * POND_BUCKET_SLOTS * INDEX_LOAD_PERCENT / 100;
    uint64_t bytes = (uint64_t)g->segment_count * g->segment_bytes / (slots ? slots : 1);
    return bytes < 16 + 12 ? 16 : bytes > UINT32_MAX ? UINT32_MAX : (uint32_t)bytes - 12;
}

const char *pond_layout_geometry(const struct pond_identity *id, struct pond_geometry *g) {
    memset(g, 0, sizeof *g);
    if (id->file_bytes < POND_FILE_BYTES_MIN || id->file_bytes > POND_FILE_BYTES_MAX || id->file_bytes % POND_PAGE_BYTES)
        return "its size field is out of range";
    if (id->shard_count == 0 || id->shard_count > POND_SHARDS_MAX || (id->shard_count & (id->shard_count - 1)))
        return "its number of shards is out of range";
    if (id->reader_count == 0 || id->reader_count > 65536) return "its number of reader slots is out of range";
    if (id->flight_count > 65536 || id->flight_count % id->shard_count) return "its number of flights is out of range";
    if (id->group_count < POND_GROUPS_MIN || id->group_count > POND_GROUPS_MAX || (id->group_count & (id->group_count - 1)))
        return "its number of groups is out of range";
    if (id->segment_bytes < POND_SEGMENT_BYTES_MIN || id->segment_bytes > POND_SEGMENT_BYTES_MAX || id->segment_bytes % POND_UNIT_BYTES)
        return "its segment size is out of range";
    if (id->segment_count < POND_SEGMENTS_MIN || id->bucket_count == 0 || id->ghost_count == 0) return "its tables are empty";
    if (id->shard_bytes > POND_SHARD_BYTES_MAX || id->shard_bytes % POND_PAGE_BYTES) return "its shard size is out of range";
    g->file_bytes = id->file_bytes;
    g->max_item_bytes = id->max_item_bytes;
    g->hash_seed = id->hash_seed;
    g->shard_bytes = id->shard_bytes;
    g->flights_off = flights_off_for(id->reader_count);
    g->groups_off = groups_off_for(id);
    g->group_mask = id->group_count - 1;
    g->shards_off = shards_off_for(id);
    g->shard_count = id->shard_count;
    g->shard_shift = 63;
    for (uint32_t n = id->shard_count; n > 1; n /= 2) g->shard_shift--;
    g->reader_count = id->reader_count;
    g->flights_per_shard = id->flight_count / id->shard_count;
    g->segment_bytes = id->segment_bytes;
    g->segment_units = id->segment_bytes / POND_UNIT_BYTES;
    g->segment_reciprocal = UINT64_MAX / g->segment_units + 1;
    g->segment_count = id->segment_count;
    g->bucket_count = id->bucket_count;
    g->ghost_count = id->ghost_count;
    g->file_flags = id->flags;
    g->table_off = POND_SHARD_HEADER_BYTES;
    uint64_t buckets = g->table_off + (uint64_t)id->segment_count * sizeof(struct pond_segment);
    uint64_t ghosts = buckets + (uint64_t)id->bucket_count * sizeof(struct pond_bucket);
    uint64_t segments = round_up(ghosts + (uint64_t)id->ghost_count * sizeof(struct pond_ghost_bucket), 64);
    uint64_t end = segments + (uint64_t)id->segment_count * id->segment_bytes;
    if (end > id->shard_bytes) return "its tables do not fit into its shards";
    if (g->shards_off + id->shard_bytes * id->shard_count > id->file_bytes) return "its shards do not fit into the file";
    g->segments_off = segments;
    g->buckets_off_units = (uint32_t)(buckets / POND_UNIT_BYTES);
    g->ghosts_off_units = (uint32_t)(ghosts / POND_UNIT_BYTES);
    g->first_unit = (uint32_t)(segments / POND_UNIT_BYTES);
    g->end_unit = (uint32_t)(end / POND_UNIT_BYTES);
    g->piece_units_max = piece_bytes_for(id->segment_bytes) / POND_UNIT_BYTES;
    g->entry_units_max =
        id->segment_bytes / POND_UNIT_BYTES < POND_ENTRY_UNITS_MAX ? id->segment_bytes / POND_UNIT_BYTES : POND_ENTRY_UNITS_MAX;
    if (id->max_item_bytes > (uint64_t)id->segment_count * id->segment_bytes / 2) return "its largest value does not fit";
    g->reserve = id->segment_count >= 16 ? 2 : 1; /* two: one for what is kept of a victim, one for what is new */
    g->items_high = (uint64_t)id->bucket_count * POND_BUCKET_SLOTS * INDEX_HIGH_PERCENT / 100;
    g->ttl_classes = id->segment_count >= 64 ? POND_TTL_CLASSES : id->segment_count >= 32 ? 3 : 1;
    return NULL;
}
