/* SPDX-License-Identifier: MIT */
/* store.c: a shipped store as the pool sees it: its items, and the truth about each.
 *
 * A file is compared byte by byte with the file itself (store_files.c). A value of any other store is compared by its size and a
 * checksum of 128 bits (XXH3) with what the master read before the run began; where they differ it is read from the store again, past the
 * pond: that tells how many bytes are wrong, and whether it was the store that changed. */
#include "store.h"

#include "host.h"

#include <millpond_stores.h>

#include <stdlib.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#define LIST_LIMIT_NS UINT64_C(600000000000)
#define LOAD_LIMIT_NS UINT64_C(10000000000)

struct item {
    char *name;
    size_t name_bytes;
    uint64_t bytes;
    XXH128_hash_t sum;
    struct store_file *file; /* or NULL: the sum counts */
};

struct store {
    struct millpond_store store;
    const char *folder; /* of files that are compared as they are, else NULL */
    size_t count, room;
    struct item *items;
};

static int add_item(void *arg, const void *key, size_t key_bytes, uint64_t bytes) {
    struct store *store = arg;
    if (store->count == store->room) {
        store->room = store->room > 0 ? store->room * 2 : 1024;
        store->items = host_grow(store->items, store->room * sizeof *store->items);
    }
    struct item *item = &store->items[store->count++];
    memset(item, 0, sizeof *item);
    item->name = host_alloc(key_bytes + 1);
    memcpy(item->name, key, key_bytes);
    item->name_bytes = key_bytes;
    item->bytes = bytes;
    return 0;
}

static int by_name(const void *left, const void *right) {
    const struct item *a = left, *b = right;
    size_t both = a->name_bytes < b->name_bytes ? a->name_bytes : b->name_bytes;
    int order = memcmp(a->name, b->name, both);
    return order ? order : (a->name_bytes > b->name_bytes) - (a->name_bytes < b->name_bytes);
}

/* A value past the pond, from malloc; NULL when it cannot be read. */
static void *load(const struct store *store, const struct item *item, size_t *bytes, char *why) {
    char said[MILLPOND_ERRMSG_BYTES] = "";
    struct millpond_store_call call = {host_now_ns() + LOAD_LIMIT_NS, said};
    struct millpond_store_item one = {.key = item->name, .key_bytes = item->name_bytes};
    if (store->store.load(store->store.state, &one, &call) != MILLPOND_OK) {
        host_why(why, "%s", said);
        return NULL;
    }
    *bytes = one.value_bytes;
    return one.value;
}

/* The truth about an item; false when it is to be left out. */
static bool look_at(const struct store *store, struct item *item) {
    char why[HOST_WHY_BYTES];
    if (store->folder) {
        char *path = host_alloc(strlen(store->folder) + item->name_bytes + 2);
        strcpy(path, store->folder);
        strcat(path, "/");
        strcat(path, item->name);
        item->file = store_file_new(path, &item->bytes);
        free(path);
        return item->file != NULL;
    }
    size_t bytes;
    void *value = load(store, item, &bytes, why);
    if (!value)
        return false;
    item->bytes = bytes;
    item->sum = XXH3_128bits(value, bytes);
    free(value);
    return true;
}

static void free_item(struct item *item) {
    store_file_free(item->file);
    free(item->name);
}

/* In order, each once, and only what can be read. */
static void settle(struct store *store) {
    size_t kept = 0;
    if (store->count > 0)
        qsort(store->items, store->count, sizeof *store->items, by_name);
    for (size_t i = 0; i < store->count && !host_interrupted; i++) {
        bool again = kept > 0 && by_name(&store->items[kept - 1], &store->items[i]) == 0;
        if (!again && look_at(store, &store->items[i]))
            store->items[kept++] = store->items[i];
        else
            free_item(&store->items[i]);
    }
    store->count = kept;
}

/* Where the names below a folder are the keys: a plain text, without options and percent signs. */
static const char *plain_folder(const char *text) {
    return strncmp(text, "dir:", 4) == 0 && !strpbrk(text, "?%") ? text + 4 : NULL;
}

struct store *store_open(const char *text, char *why) {
    char said[MILLPOND_ERRMSG_BYTES];
    struct store *store = host_alloc(sizeof *store);
    struct millpond_store_call call = {host_now_ns() + LIST_LIMIT_NS, said};
    store->folder = plain_folder(text);
    if (millpond_store_open(&store->store, text, said) != MILLPOND_OK) {
        host_why(why, "--store %s", said);
        free(store);
        return NULL;
    }
    if (store->store.list(store->store.state, add_item, store, &call) != MILLPOND_OK) {
        host_why(why, "--store %s", said);
    } else {
        settle(store);
        if (store->count > 0)
            return store;
        host_why(why, "--store %s: holds no readable %s; name a store that holds some", text, store->folder ? "file" : "value");
    }
    store->store.close(store->store.state);
    store_close(store);
    return NULL;
}

size_t store_count(const struct store *store) {
    return store->count;
}

void store_item(const struct store *store, size_t nth, struct store_item *item) {
    item->name = store->items[nth].name;
    item->name_bytes = store->items[nth].name_bytes;
    item->bytes = store->items[nth].bytes;
}

const struct millpond_store *store_of(const struct store *store) {
    return &store->store;
}

uint64_t store_differing(const unsigned char *left, const unsigned char *right, size_t bytes) {
    uint64_t count = 0;
    if (memcmp(left, right, bytes) == 0)
        return 0;
    for (size_t i = 0; i < bytes; i++)
        count += left[i] != right[i];
    return count;
}

enum store_verdict store_compare(struct store *store, size_t nth, const void *value, size_t bytes, uint64_t *wrong_bytes) {
    struct item *item = &store->items[nth];
    char why[HOST_WHY_BYTES];
    *wrong_bytes = 0;
    if (item->file)
        return store_file_compare(item->file, value, bytes, wrong_bytes);
    if (bytes == item->bytes && XXH128_isEqual(XXH3_128bits(value, bytes), item->sum))
        return STORE_SAME;
    size_t now_bytes;
    void *now = load(store, item, &now_bytes, why);
    if (!now)
        return STORE_UNREADABLE;
    bool changed = now_bytes != item->bytes || !XXH128_isEqual(XXH3_128bits(now, now_bytes), item->sum);
    size_t both = bytes < now_bytes ? bytes : now_bytes;
    *wrong_bytes = changed ? 0 : store_differing(value, now, both) + (bytes > both ? bytes - both : now_bytes - both);
    free(now);
    return changed ? STORE_CHANGED : STORE_DIFFERENT;
}

void store_close(struct store *store) {
    for (size_t i = 0; i < store->count; i++)
        free_item(&store->items[i]);
    free(store->items);
    free(store);
}
