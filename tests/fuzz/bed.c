/* SPDX-License-Identifier: MIT */
/* The ponds under the fuzzers; what bed.h promises. */

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "bed.h"

#include "enter.h"
#include "entry.h"
#include "guard.h"
#include "hash.h"
#include "mapping.h"
#include "recover.h"
#include "segment.h"
#include "sync.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define CLOCK_START_MS UINT64_C(1767225600000) /* 2026-01-01 */
#define SEED           UINT64_C(0x6D696C6C706F6E64)

/* A small file with few segments; one with two shards, many segments and all TTL classes; one whose index is full long before its memory;
 * one in which all is of groups. */
static const struct {
    const char *name;
    uint64_t size_bytes, segment_bytes;
    uint32_t shards, entry_bytes;
    bool grouped;
} plans[BED_PONDS] = {
    {"few", 96 << 10, 4096, 1, 160, false},
    {"many", 192 << 10, 1024, 2, 100, false},
    {"tight", 80 << 10, 2048, 1, 900, false},
    {"groups", 128 << 10, 2048, 2, 140, true},
};

static struct bed beds[BED_PONDS];
static uint64_t now_ms = CLOCK_START_MS;

struct bed *bed_get(unsigned number) {
    return &beds[number % BED_PONDS];
}

void bed_clock_forward(uint64_t ms) { guard_set_clock_ms(now_ms += ms); }

/* ---- contents ---- */

size_t bed_key(uint32_t i, unsigned char key[BED_KEY_BYTES_MAX]) {
    size_t bytes = i % 37 == 5 ? 300 + i % 200 : 4 + i % 29;
    support_fill(key, bytes, 77000 + i);
    memcpy(key, &i, bytes < sizeof i ? bytes : sizeof i);
    return bytes;
}

enum bed_kind bed_kind(uint32_t i) { return i % 16 == 3 ? BED_COUNTER : i % 3 == 1 ? BED_TTL : BED_PLAIN; }

const char *bed_group(uint32_t i) {
    static const char *const names[BED_GROUPS] = {"a", "b", "tenant 3", "tenant 4", "e", "f", "g", "h"};
    return names[i % BED_GROUPS];
}

size_t bed_value_bytes(const struct bed *bed, uint32_t i) {
    if (i % 23 == 7) return bed->geometry.segment_bytes / 2 + i * 11 % bed->geometry.segment_bytes; /* in chunks */
    return i % 11 == 2 ? 400 + i : i * 7 % 96;
}

static void put(struct millpond *pond, const struct bed *bed, uint32_t i, uint64_t ttl_ms, bool grouped) {
    unsigned char key[BED_KEY_BYTES_MAX], value[BED_VALUE_BYTES_MAX];
    size_t key_bytes = bed_key(i, key), bytes = bed_value_bytes(bed, i);
    REQUIRE(bytes <= sizeof value, "a value of %zu bytes", bytes);
    struct millpond_set how = {0};
    if (grouped) how.group = bed_group(i), how.group_bytes = strlen(bed_group(i));
    if (bed_kind(i) == BED_COUNTER) {
        REQUIRE(millpond_incr_ex(pond, key, key_bytes, 1, i, &how, NULL) == MILLPOND_OK, "incr");
        return;
    }
    support_fill(value, bytes, i);
    if (bed_kind(i) == BED_TTL) how.ttl_ms = ttl_ms;
    int result = millpond_set_ex(pond, key, key_bytes, value, bytes, &how);
    REQUIRE(result == MILLPOND_OK, "set of %zu + %zu bytes: %d", key_bytes, bytes, result);
}

/* A life: more than fits, so that segments were recycled; overwritten and deleted, so that there are holes; read, so that there is
 * something to keep; expired. */
static void use(const struct bed *bed, bool grouped) {
    struct millpond *pond = support_open(bed->path, NULL);
    struct support_random random = {4711};
    unsigned char key[BED_KEY_BYTES_MAX], value[BED_VALUE_BYTES_MAX];
    for (uint32_t i = 0; i < BED_KEYS; i++) put(pond, bed, i, 1000, grouped);
    bed_clock_forward(5000);
    for (unsigned k = 0; k < 3000; k++) {
        uint32_t i = (uint32_t)support_below(&random, BED_KEYS);
        size_t key_bytes = bed_key(i, key);
        if (grouped && k % 700 == 0) REQUIRE(millpond_invalidate(pond, bed_group(i), strlen(bed_group(i))) == MILLPOND_OK, "invalidate");
        if (k % 13 == 0)
            millpond_delete(pond, key, key_bytes);
        else if (k % 3 == 0)
            put(pond, bed, i, UINT64_C(1) << (12 + 2 * (i % 9)), grouped);
        else
            millpond_get(pond, key, key_bytes, value, sizeof value, NULL);
    }
    millpond_close(pond);
}

/* ---- images ---- */

/* The same hash seed for every process: keys fall into the same buckets. Only while the file is empty. */
static void fix_identity(const struct bed *bed) {
    struct pond_identity *identity = (struct pond_identity *)(void *)bed->file;
    identity->hash_seed = SEED;
    identity->creation = 1;
    identity->checksum = pond_hash(identity, offsetof(struct pond_identity, checksum), 0);
}

static unsigned char *copy_of(const struct bed *bed) {
    unsigned char *copy = malloc(bed->file_bytes);
    REQUIRE(copy, "no memory");
    memcpy(copy, bed->file, bed->file_bytes);
    return copy;
}

static int die_with_every_mutex(void *arg) {
    static const struct pond_map_hooks hooks = {pond_recover_format, pond_sync_attach};
    struct millpond_options options = MILLPOND_OPTIONS_INIT;
    struct pond_map *map;
    if (pond_map_open(arg, &options, &hooks, &map, NULL) != MILLPOND_OK || pond_write_enter_all(map, 1000) != MILLPOND_OK) return 1;
    _exit(0);
}

static void list_entries(struct bed *bed) {
    struct pond_map map = {.base = bed->file, .geometry = bed->geometry};
    size_t room = bed->file_bytes / 16;
    bed->entries = malloc(room * sizeof *bed->entries);
    REQUIRE(bed->entries, "no memory");
    for (uint32_t s = 0; s < bed->geometry.shard_count; s++) {
        struct pond_ref ref = pond_ref_of(&map, s);
        for (uint32_t i = 0; i < ref.g->segment_count; i++) {
            uint32_t at = pond_segment_start(ref.g, i), end = at + pond_segment_tail(ref.g, &ref.table[i]);
            if (pond_segment_state(&ref.table[i]) == POND_SEGMENT_FREE) continue;
            while (at < end) {
                uint64_t word = pond_load_64((const uint64_t *)(const void *)pond_ref_at(&ref, at));
                if (bed->entry_count < room) bed->entries[bed->entry_count++] = (uint64_t)s << 32 | at;
                REQUIRE(pond_word_units(word) >= 2, "the pond of the bed is not whole");
                at += pond_word_units(word);
            }
        }
    }
}

void bed_create(struct bed *bed, const char *path, const struct millpond_options *options) {
    struct millpond_options creating = *options;
    creating.flags |= MILLPOND_CREATE | MILLPOND_EXCLUSIVE;
    millpond_close(support_open(path, &creating));
    int fd = open(path, O_RDWR | O_CLOEXEC);
    REQUIRE(fd >= 0 && strlen(path) < sizeof bed->path, "%s: %s", path, strerror(errno));
    strcpy(bed->path, path);
    bed->file_bytes = (uint64_t)support_file_bytes(path);
    bed->file = mmap(NULL, bed->file_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    REQUIRE(bed->file != MAP_FAILED, "%s: %s", path, strerror(errno));
    close(fd);
    fix_identity(bed);
    const char *wrong = pond_layout_geometry((const struct pond_identity *)(const void *)bed->file, &bed->geometry);
    REQUIRE(!wrong, "%s", wrong);
}

void bed_keep(struct bed *bed) {
    support_require_whole(bed->path);
    bed->image = copy_of(bed);
    list_entries(bed);
}

static void make(unsigned number) {
    struct bed *bed = &beds[number];
    const char *path = support_path("%s.pond", plans[number].name);
    struct millpond_options options = MILLPOND_OPTIONS_INIT;
    options.size_bytes = plans[number].size_bytes;
    options.segment_bytes = plans[number].segment_bytes;
    options.shards = plans[number].shards;
    options.entry_bytes = plans[number].entry_bytes;
    bed_create(bed, path, &options);
    use(bed, plans[number].grouped);
    bed_keep(bed);
    REQUIRE(support_run_child(die_with_every_mutex, bed->path, 10000) == 0, "no process could die with the mutexes");
    bed->orphaned = copy_of(bed);
}

void bed_directory(void) {
    const char *given = getenv("TMPDIR");
    if ((!given || !*given) && access("/dev/shm", W_OK | X_OK) == 0) REQUIRE(setenv("TMPDIR", "/dev/shm", 1) == 0, "%s", strerror(errno));
    support_begin();
}

void bed_begin(void) {
    bed_clock_forward(0);
    for (unsigned i = 0; i < BED_PONDS; i++) make(i);
    guard_on();
}

void bed_restore(const struct bed *bed, int orphaned) { memcpy(bed->file, orphaned ? bed->orphaned : bed->image, bed->file_bytes); }

int bed_is_mutex(const struct bed *bed, uint64_t off) {
    const struct pond_geometry *g = &bed->geometry;
    uint64_t readers_end = POND_READERS_OFF + (uint64_t)g->reader_count * sizeof(struct pond_reader);
    if (off >= POND_READERS_OFF && off < readers_end)
        return (off - POND_READERS_OFF) % sizeof(struct pond_reader) < sizeof(pthread_mutex_t);
    uint64_t flights_end = g->flights_off + (uint64_t)g->flights_per_shard * g->shard_count * sizeof(struct pond_flight);
    if (off >= g->flights_off && off < flights_end) return (off - g->flights_off) % sizeof(struct pond_flight) < sizeof(pthread_mutex_t);
    if (off < g->shards_off || off >= g->shards_off + g->shard_bytes * g->shard_count) return 0;
    return (off - g->shards_off) % g->shard_bytes < sizeof(pthread_mutex_t);
}

void bed_write(const struct bed *bed, uint64_t off, const void *bytes, size_t count) {
    const unsigned char *from = bytes;
    for (size_t i = 0; i < count && off + i < bed->file_bytes; i++)
        if (off + i >= bed->spared_bytes && !bed_is_mutex(bed, off + i)) bed->file[off + i] = from[i];
}
