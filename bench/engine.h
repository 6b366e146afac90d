/* SPDX-License-Identifier: MIT */
/* engine.h: what `millpond-bench run` wants from a cache or store that it measures.
 *
 * The master opens an engine in a folder of its own, then forks. A child attaches before its first operation and never uses what its
 * master opened in any other way: some engines inherit a handle, some must open the file again, some connect to a server. */
#ifndef BENCH_ENGINE_H
#define BENCH_ENGINE_H

#include <millpond.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct engine_spec {
    const char *folder;  /* empty, removed afterwards */
    uint64_t size_bytes; /* what the engine may take */
    uint64_t items;
    size_t key_bytes, value_bytes;
    unsigned workers;
    bool hugepages; /* where the engine can */
};

enum { ENGINE_MGET_MAX = 128 };

struct engine {
    const char *name;
    const char *about;
    const char *missing;  /* a sentence when this build does not have it; then nothing below is set */
    const char *program;  /* a server that must be on the PATH, or NULL */
    /* In the master: makes the file or starts the server. NULL and a sentence when it cannot. */
    void *(*open)(const struct engine_spec *spec, char *why);
    /* In each process that uses it, the one that loads included. */
    bool (*attach)(void *handle, char *why);
    /* MILLPOND_OK, MISS, TOO_SMALL or a negative number; as millpond_get. */
    int (*get)(void *handle, const void *key, size_t key_bytes, void *buf, size_t buf_bytes, size_t *value_bytes);
    /* 0, or a negative number when the value was refused. */
    int (*set)(void *handle, const void *key, size_t key_bytes, const void *value, size_t value_bytes);
    /* NULL: one get after the other. */
    void (*mget)(void *handle, struct millpond_mget *gets, size_t count);
    /* In the master: bytes that it occupies, files or the server's memory. */
    uint64_t (*memory)(void *handle);
    void (*detach)(void *handle);
    /* In the master: removes nothing (the folder is removed by the caller), ends servers. */
    void (*close)(void *handle);
};

/* In the order of the help. Ends with NULL. */
extern const struct engine *const engines[];

extern const struct engine engine_millpond, engine_limit, engine_lmdb, engine_tdb, engine_sqlite, engine_memcached, engine_redis;

#endif
