/* SPDX-License-Identifier: MIT */
#ifndef MILLPOND_STORE_H
#define MILLPOND_STORE_H

/* What lies behind a pond: a store, where values come from when the pond has none, and go to when they must last.
 *
 * A part of millpond.h, which includes it. A store is a handful of functions. Three come with millpond, each in a library of its own:
 * millpond_store_dir.h (files), millpond_store_sqlite.h (a table) and millpond_store_redis.h (Redis or Valkey); millpond_stores.h
 * opens any of them by a text such as "dir:/srv/data". */

#include "millpond.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What every call of a store is given. */
struct millpond_store_call {
    uint64_t deadline_ns; /* of CLOCK_MONOTONIC; the call is over by then, with MILLPOND_ERR_STORE_TIMEOUT if it must */
    char *errmsg;         /* MILLPOND_ERRMSG_BYTES bytes that receive a sentence on an error: where, what is wrong, what to do */
};

/* One value of a load. */
struct millpond_store_item {
    const void *key;
    size_t key_bytes;
    void *value;        /* out, on OK: from malloc, freed with free() by the caller; not NULL, also when the value is empty */
    size_t value_bytes; /* out, on OK */
    uint64_t ttl_ms;    /* out, on OK: how long the store will have it, 0 when it tells none */
    int result;         /* out: OK, MISS, or an error */
};

/* Called for each key of a list; a non-zero answer ends it. */
typedef int (*millpond_store_visit)(void *arg, const void *key, size_t key_bytes, uint64_t value_bytes);

/* A store. Zero it first, or let the open function of a shipped store fill it.
 *
 * Each function returns MILLPOND_OK, MISS where that is named, or a negative result with a sentence in call->errmsg. Two results say that
 * the store itself is in trouble: MILLPOND_ERR_STORE_DOWN (it cannot be reached) and MILLPOND_ERR_STORE_TIMEOUT (no answer before the
 * deadline). Every other result is an answer: the store is there, and this key or this value is the trouble. MILLPOND_ERR_STORE is for
 * what no other result describes.
 *
 * A call that failed may have taken effect, if it was a store or an erase: an answer can be lost. Repeating it is safe.
 * Threads: several threads of a process may be in any of the functions at once. Fork: a child uses the store that it inherited; no
 * connection of its parent's may serve it. The shipped stores keep to both. */
struct millpond_store {
    const char *name; /* in messages; lives as long as the store */
    void *state;      /* handed to every function */
    /* Reads item->key: OK, MISS. */
    int (*load)(void *state, struct millpond_store_item *item, const struct millpond_store_call *call);
    /* Reads many, each with its own result; OK, or the error that all have. NULL: one after the other. */
    int (*load_many)(void *state, struct millpond_store_item *items, size_t count, const struct millpond_store_call *call);
    /* Makes a value the key's. ttl_ms: how long it must be kept, 0 for ever; a store that keeps everything may ignore it. */
    int (*store)(void *state, const void *key, size_t key_bytes, const void *value, size_t value_bytes, uint64_t ttl_ms,
                 const struct millpond_store_call *call);
    /* Removes a key: OK, MISS. */
    int (*erase)(void *state, const void *key, size_t key_bytes, const struct millpond_store_call *call);
    /* Shows all keys, in no order, one perhaps twice; what comes and goes meanwhile, perhaps. May be NULL. */
    int (*list)(void *state, millpond_store_visit visit, void *arg, const struct millpond_store_call *call);
    /* Lets go of everything that this process has of the store. Called once in each process that closes it; may be NULL. */
    void (*close)(void *state);
};

#ifdef __cplusplus
}
#endif

#endif
