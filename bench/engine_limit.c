/* SPDX-License-Identifier: MIT */
/* engine_limit.c: the bound: hash, one bucket line, one entry, one copy, no checks, no sharing.
 *
 *   file:    | buckets, 64 bytes each: 7 slots and a word of padding | entries, all of one size |
 *   slot:    | 16 bits of the hash | number of the entry + 1, 48 bits |
 *   entry:   | key bytes, value bytes | key | value |
 *
 * It is what the memory system allows, not a cache: there is no lock, no version, no eviction and no deletion; two processes that
 * write at once tear values, and a reader sees it. A full bucket spills into the next one (about one key in twenty is then two lines
 * away). The mapping is shared and lies in the same place as the other engines' files. */
#include "engine.h"

#include "host.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

enum { SLOTS = 7, HEAD_BYTES = 8 };

struct bucket {
    uint64_t slots[SLOTS];
    uint64_t used; /* of the first bucket only: entries taken */
};

struct limit {
    struct bucket *buckets;
    unsigned char *entries;
    uint64_t bucket_mask, entry_bytes, entry_count, map_bytes;
};

struct head {
    uint32_t key_bytes, value_bytes;
};

static void *limit_open(const struct engine_spec *spec, char *why) {
    char path[HOST_PATH_BYTES + 16];
    struct limit *limit = host_alloc(sizeof *limit);
    uint64_t buckets = 1;
    while (buckets * 4 < spec->items)
        buckets *= 2;
    limit->bucket_mask = buckets - 1;
    limit->entry_bytes = (HEAD_BYTES + spec->key_bytes + spec->value_bytes + 7) & ~UINT64_C(7);
    limit->entry_count = spec->items + 1;
    limit->map_bytes = buckets * sizeof(struct bucket) + limit->entry_count * limit->entry_bytes;
    snprintf(path, sizeof path, "%s/limit", spec->folder);
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    int reason = fd < 0 ? errno : posix_fallocate(fd, 0, (off_t)limit->map_bytes);
    void *mapping = MAP_FAILED;
    if (reason == 0) {
        void *hint = spec->hugepages ? host_huge_address(limit->map_bytes) : NULL;
        mapping = mmap(hint, limit->map_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        reason = mapping == MAP_FAILED ? errno : 0;
    }
    if (fd >= 0)
        close(fd);
    if (reason != 0) {
        free(limit);
        return host_why(why, "%s: %s; free some space or ask for fewer items", path, strerror(reason)), NULL;
    }
    if (spec->hugepages)
        host_make_huge(mapping, limit->map_bytes);
    limit->buckets = mapping;
    limit->entries = (unsigned char *)mapping + buckets * sizeof(struct bucket);
    return limit;
}

static bool limit_attach(void *handle, char *why) {
    (void)handle;
    (void)why;
    return true;
}

/* The entry of a key, or NULL; `free_slot` then receives the first empty slot on its way. */
static inline unsigned char *limit_find(const struct limit *limit, const void *key, size_t key_bytes, uint64_t hash, uint64_t **free_slot) {
    uint64_t tag = hash >> 48;
    for (uint64_t nth = hash & limit->bucket_mask;; nth = (nth + 1) & limit->bucket_mask) {
        uint64_t *slots = limit->buckets[nth].slots;
        for (unsigned i = 0; i < SLOTS; i++) {
            if (slots[i] == 0) {
                *free_slot = &slots[i];
                return NULL;
            }
            if (slots[i] >> 48 != tag)
                continue;
            unsigned char *entry = limit->entries + ((slots[i] & UINT64_C(0xffffffffffff)) - 1) * limit->entry_bytes;
            if (memcmp(entry + HEAD_BYTES, key, key_bytes) == 0)
                return entry;
        }
    }
}

static inline int copy_out(const struct limit *limit, const void *key, size_t key_bytes, uint64_t hash, void *buf, size_t *value_bytes) {
    struct head head;
    uint64_t *free_slot = NULL;
    const unsigned char *entry = limit_find(limit, key, key_bytes, hash, &free_slot);
    if (!entry)
        return MILLPOND_MISS;
    memcpy(&head, entry, sizeof head);
    memcpy(buf, entry + HEAD_BYTES + key_bytes, head.value_bytes);
    *value_bytes = head.value_bytes;
    return MILLPOND_OK;
}

static int limit_get(void *handle, const void *key, size_t key_bytes, void *buf, size_t buf_bytes, size_t *value_bytes) {
    (void)buf_bytes;
    return copy_out(handle, key, key_bytes, XXH3_64bits(key, key_bytes), buf, value_bytes);
}

static int limit_set(void *handle, const void *key, size_t key_bytes, const void *value, size_t value_bytes) {
    const struct limit *limit = handle;
    uint64_t hash = XXH3_64bits(key, key_bytes), *free_slot = NULL;
    unsigned char *entry = limit_find(limit, key, key_bytes, hash, &free_slot);
    if (!entry) {
        uint64_t nth = limit->buckets[0].used;
        if (nth >= limit->entry_count)
            return MILLPOND_ERR_FULL;
        struct head head = {(uint32_t)key_bytes, (uint32_t)value_bytes};
        limit->buckets[0].used = nth + 1;
        entry = limit->entries + nth * limit->entry_bytes;
        memcpy(entry, &head, sizeof head);
        memcpy(entry + HEAD_BYTES, key, key_bytes);
        *free_slot = (hash >> 48 << 48) | (nth + 1);
    }
    memcpy(entry + HEAD_BYTES + key_bytes, value, value_bytes);
    return 0;
}

enum { STAGE = 16 };

static inline void prefetch_entries(const struct limit *limit, uint64_t hash) {
    const uint64_t *slots = limit->buckets[hash & limit->bucket_mask].slots;
    for (unsigned i = 0; i < SLOTS; i++) {
        if (slots[i] == 0 || slots[i] >> 48 != hash >> 48)
            continue;
        const unsigned char *entry = limit->entries + ((slots[i] & UINT64_C(0xffffffffffff)) - 1) * limit->entry_bytes;
        for (uint64_t at = 0; at < limit->entry_bytes && at < 4 * 64; at += 64)
            __builtin_prefetch(entry + at);
    }
}

static void limit_mget(void *handle, struct millpond_mget *gets, size_t count) {
    const struct limit *limit = handle;
    uint64_t hashes[STAGE];
    for (size_t from = 0; from < count; from += STAGE) {
        struct millpond_mget *some = gets + from;
        size_t some_count = count - from < STAGE ? count - from : STAGE;
        for (size_t i = 0; i < some_count; i++) {
            hashes[i] = XXH3_64bits(some[i].key, some[i].key_bytes);
            __builtin_prefetch(&limit->buckets[hashes[i] & limit->bucket_mask]);
        }
        for (size_t i = 0; i < some_count; i++)
            prefetch_entries(limit, hashes[i]);
        for (size_t i = 0; i < some_count; i++)
            some[i].result = copy_out(limit, some[i].key, some[i].key_bytes, hashes[i], some[i].buf, &some[i].value_bytes);
    }
}

static uint64_t limit_memory(void *handle) {
    const struct limit *limit = handle;
    return limit->map_bytes;
}

static void limit_detach(void *handle) {
    (void)handle;
}

static void limit_close(void *handle) {
    struct limit *limit = handle;
    munmap(limit->buckets, limit->map_bytes);
    free(limit);
}

const struct engine engine_limit = {
    .name = "limit", .about = "the bound: hash, one bucket line, one entry, one copy, no checks, no sharing", .open = limit_open,
    .attach = limit_attach, .get = limit_get, .set = limit_set, .mget = limit_mget, .memory = limit_memory, .detach = limit_detach,
    .close = limit_close};
