/* SPDX-License-Identifier: MIT */
/* store.h: what the pool serves and compares with: everything that a store holds when the pool begins. */
#ifndef BENCH_STORE_H
#define BENCH_STORE_H

#include <millpond.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct store_item {
    const char *name;   /* the key, with a zero byte behind it; lives as long as the store */
    size_t name_bytes;
    uint64_t bytes;     /* of the value when the store was opened */
};

enum store_verdict {
    STORE_SAME,
    STORE_DIFFERENT,
    STORE_CHANGED,      /* the origin itself changed after the store was opened: a difference proves nothing */
    STORE_UNREADABLE
};

struct store;

/* Opens a store by its text (millpond_stores.h) and lists its items, in the same order on every run. NULL and a sentence in `why` when
 * there are none to serve. */
struct store *store_open(const char *text, char *why);
size_t store_count(const struct store *store);
void store_item(const struct store *store, size_t nth, struct store_item *item);
/* For millpond_bind_store. Whoever binds it closes it; store_close then only forgets the list. */
const struct millpond_store *store_of(const struct store *store);
/* Compares every byte of a value with the origin. wrong_bytes: how many differ, missing and surplus ones included. */
enum store_verdict store_compare(struct store *store, size_t nth, const void *value, size_t bytes, uint64_t *wrong_bytes);
void store_close(struct store *store);

/* Bytes in which two values of the same size differ. */
uint64_t store_differing(const unsigned char *left, const unsigned char *right, size_t bytes);

/* A file to compare with; NULL when it cannot be read. */
struct store_file;
struct store_file *store_file_new(const char *path, uint64_t *bytes);
enum store_verdict store_file_compare(struct store_file *file, const void *value, size_t bytes, uint64_t *wrong_bytes);
void store_file_free(struct store_file *file);

#endif
