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

    /* How the pond uses it; zero is the default of every field. */
    struct millpond_fetch fetch; /* what is loaded: time to live, grace, early refresh, absent keys. wait_ms: default timeout_ms */
    uint32_t timeout_ms;         /* of one call of the store; default 1000, at most an hour */
    uint32_t failures_max;       /* so many calls in a row that find it in trouble, and it is left alone; default 5, UINT32_MAX: never */
    uint32_t rest_ms;            /* for so long, twice as long each time that it is still in trouble then; default 500 */
    uint32_t rest_max_ms;        /* but no longer than this; default 30000 */
};

/* ---- a pond with a store behind it ----
 *
 * One call leads through both. What a store in trouble does to callers:
 *
 * - A value that is in the pond is served without asking the store. One behind its time to live and within its grace is served as
 *   MILLPOND_STALE when the store fails or takes too long, else the store's error is passed on, as it is.
 * - A call waits for the store until its deadline, never longer; who waits for the load of another caller, until fetch.wait_ms.
 * - After failures_max calls in a row that ended with MILLPOND_ERR_STORE_DOWN or _TIMEOUT the store is left alone: calls return
 *   MILLPOND_ERR_STORE_RESTS at once (or the stale value). When rest_ms have passed one call tries it; the others go on resting until
 *   that one has come back well. This state is shared by the process that bound the store and all its children: 64 workers of a pre-fork
 *   server together try a dead store once in a while. Processes that bind a store by themselves have a state of their own.
 * - A store or erase that failed leaves the pond as it was. Its effect may be there nevertheless (an answer was lost); the pond then has
 *   the old value until its time to live ends, or the call is repeated. The same holds when a process is killed between the two: so give
 *   a time to live.
 *
 * Two who write the same key at the same time leave in the pond what the store has, or nothing; a load that was under way when a key was
 * written is not stored. What others change in the store behind the pond's back is not seen before the time to live ends. */

/* How a call went, and what it is to do. Zero it first. NULL wherever it is asked for: the store's own settings, nothing told. */
struct millpond_through {
    uint32_t timeout_ms; /* in: of the store's call, 0: the store's timeout_ms */
    uint32_t flags;      /* in, reads: MILLPOND_FETCH_FRESH | ..., on top of the store's */
    uint64_t ttl_ms;     /* in, writes: time to live in the pond, and in a store that keeps one; 0: the store's fetch.ttl_ms */
    const void *group;   /* in: the group in the pond (millpond_invalidate), as of struct millpond_set; NULL: the store's fetch.group */
    size_t group_bytes;  /* in */
    uint32_t how;        /* out, reads: enum millpond_how */
    int store_result;    /* out: what the store said, MILLPOND_OK if it was not asked */
    char errmsg[MILLPOND_ERRMSG_BYTES]; /* out: its sentence on an error, else empty */
};

/* Puts a store behind a pond, in place of the one that was there, which is closed.
 *   store  copied; it must have load, store and erase, each may be NULL (calls that need it are then MILLPOND_ERR_NO_STORE). Its state is
 *          the pond's from now on: millpond_close closes it. NULL: no store any more.
 * Returns MILLPOND_OK, ERR_ARGUMENT, ERR_NO_MEMORY; on an error the caller still has the store.
 * Threads: no other thread may be inside a call of this handle. Fork: bind in the master, before workers are forked. Since 0.1. */
MILLPOND_API int millpond_bind_store(struct millpond *pond, const struct millpond_store *store);

/* Copies the value of a key into the caller's buffer, from the pond or through it from the store: of all who miss a key, one loads it.
 *   key, key_bytes, buf, buf_bytes, value_bytes  as of millpond_get.
 * Returns as millpond_fetch (MISS: the store has no such key), but in place of ERR_LOADER what the store said; ERR_STORE_RESTS;
 * ERR_NO_STORE. A read-only handle, and one that cannot lead a flight, is given the store's value, and nothing is kept. In a pond that has
 * had an agent this does what millpond_agent_look says: STALE for what is found while it says so, and while it says MISS every read asks
 * the store, and nothing is kept: such a pond needs its agent.
 * Blocks: see above. Threads: any. Cost: a hit is one of millpond_fetch. Since 0.1. */
MILLPOND_API int millpond_read_through(struct millpond *pond, const void *key, size_t key_bytes, void *buf, size_t buf_bytes,
                                       size_t *value_bytes, struct millpond_through *through);

/* Like millpond_read_through, into a buffer from malloc with one zero byte behind the value, as millpond_fetch_alloc. Since 0.1. */
MILLPOND_API int millpond_read_through_alloc(struct millpond *pond, const void *key, size_t key_bytes, void **value, size_t *value_bytes,
                                             struct millpond_through *through);

/* Stores a value in the store, then in the pond. Who misses the key meanwhile waits for it, and is told the store's error if it fails.
 * Returns MILLPOND_OK: the store has it, and the pond has it or (somebody wrote the key at the same time; it is too large; an agent
 * keeps the pond coherent with a server, see millpond_agent_look) nothing; the store's error, or ERR_STORE_RESTS, ERR_NO_STORE,
 * ERR_ARGUMENT, ERR_READ_ONLY: nothing was stored, see above; ERR_BUSY, ERR_REENTERED, ERR_NAMESPACE: the store has it, and the pond
 * may still have the old value. Since 0.1. */
MILLPOND_API int millpond_write_through(struct millpond *pond, const void *key, size_t key_bytes, const void *value, size_t value_bytes,
                                        struct millpond_through *through);

/* Stores a value in the store, and removes the key from the pond: for what is written more often than it is read. Returns as
 * millpond_write_through. Since 0.1. */
MILLPOND_API int millpond_write_around(struct millpond *pond, const void *key, size_t key_bytes, const void *value, size_t value_bytes,
                                       struct millpond_through *through);

/* Removes a key from the store, then from the pond: MILLPOND_OK, MISS (the store had none), or as millpond_write_through. Since 0.1. */
MILLPOND_API int millpond_delete_through(struct millpond *pond, const void *key, size_t key_bytes, struct millpond_through *through);

/* Loads a key anew, whether the pond has it or not: refresh-ahead, for a job that keeps values from ever being missed. All others go on
 * with the old value meanwhile. (Values that are read anyway refresh themselves: fetch.early_percent.)
 * Returns MILLPOND_OK; CHANGED: the key was written meanwhile, which counts; MISS: the store has none, and the pond has none any more; or
 * as millpond_write_through. Since 0.1. */
MILLPOND_API int millpond_refresh(struct millpond *pond, const void *key, size_t key_bytes, struct millpond_through *through);

#ifdef __cplusplus
}
#endif

#endif
