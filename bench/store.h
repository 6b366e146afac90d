/* SPDX-License-Identifier: MIT */
/* store.h: where values come from on a miss, and what they are compared with on a hit. */
#ifndef BENCH_STORE_H
#define BENCH_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct store_item {
    const char *name;   /* the key; lives as long as the store */
    size_t name_bytes;
    uint64_t bytes;     /* of the value when the store was opened */
};

enum store_verdict {
    STORE_SAME,
    STORE_DIFFERENT,
    STORE_CHANGED,      /* the origin itself changed after the store was opened: a difference proves nothing */
    STORE_UNREADABLE
};

/* One kind of store, chosen by the scheme in front of the colon: dir:/usr/share/doc. */
struct store {
    const char *scheme;
    const char *help;
    /* Lists the items, in the master before it forks. NULL and a sentence in `why` when there are none to serve. */
    void *(*open)(const char *where, char *why);
    size_t (*count)(void *handle);
    void (*item)(void *handle, size_t nth, struct store_item *item);
    /* Reads a value from the origin, as a miss does. Answers its bytes, or -1; a value larger than `room` is cut off there. */
    int64_t (*load)(void *handle, size_t nth, void *buf, size_t room);
    /* Compares every byte of a value with the origin. wrong_bytes: how many differ, missing and surplus ones included. */
    enum store_verdict (*compare)(void *handle, size_t nth, const void *value, size_t bytes, uint64_t *wrong_bytes);
    void (*close)(void *handle);
};

/* Finds the kind and where it is: "dir:/path" gives the directory store and "/path". NULL and a sentence when there is no such kind. */
const struct store *store_find(const char *spec, const char **where, char *why);

extern const struct store store_dir;

#endif
