/* SPDX-License-Identifier: MIT */
#ifndef MILLPOND_FETCH_H
#define MILLPOND_FETCH_H

/* Loading what is not there, once for all who miss it: a get that knows how to load, and leases for those who load on their own.
 *
 * A part of millpond.h, which includes it. */

#include "millpond.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- single flight: of all callers in all processes that miss a key, one loads it ----
 *
 * millpond_fetch is a get that knows how to load. A hit costs what a get costs. Of all who miss a key, in any thread of any process, one
 * runs its loader (it leads the flight of this key); the others wait for it and take what it stored. When the leader dies, is killed
 * or takes longer than load_max_ms, exactly one of those who wait takes over; nobody waits longer than wait_ms.
 *
 * - Stale: a value that was stored with a grace is served as MILLPOND_STALE behind its time to live while one caller loads it again.
 * - Early: shortly before a loaded value expires, one hit after another draws, and the one who wins loads it again while all the others
 *   go on with the old one; the longer the last load took, the earlier (XFetch: Vattani, Chierichetti, Lowenstein, "Optimal
 *   Probabilistic Cache Stampede Prevention", VLDB 2015).
 * - Changed meanwhile: a set, incr or delete of the key, or a clear, during a load revokes it: what was loaded before is not stored over
 *   what came later (as with the leases of Nishtala and others, "Scaling Memcache at Facebook", NSDI 2013).
 * - Resized meanwhile: the load goes along to the new file (see millpond_resize). That its leader has died is seen there within 50 ms.
 * - Negative: that there is no such thing can be remembered, too; to every other call such a key is absent.
 * - More keys in flight than the file has places for (from 4 in the smallest file to 1024 from 64 MiB on): whoever finds none loads
 *   for itself, and what it loaded is not stored (`flights_full` in the statistics).
 */

/* What a loader hands over. The library fills it in before; the loader changes what it has to say. */
struct millpond_load {
    void *value;                  /* out: the value; may be NULL when value_bytes is 0 */
    size_t value_bytes;           /* out */
    void (*release)(void *value); /* out: called with `value` once it was copied, whatever the result (free, for one); NULL: never */
    uint64_t ttl_ms, grace_ms;    /* in: as in the options of the call; out: for this value */
};

/* Loads the value of a key from where it comes from.
 *   arg   as given to millpond_fetch.
 *   load  what it found.
 * Returns MILLPOND_OK; MILLPOND_MISS: there is no such thing; anything else: it failed, and this number is told to those who asked.
 * It may take its time, call any function of the library (millpond_fetch of another key too) and fork. It holds no lock that a get or a
 * set of any key waits for. It must return: one that is left by longjmp or an exception keeps its flight until load_max_ms has
 * passed or its thread ends. It must not close the handle. */
typedef int (*millpond_loader)(void *arg, const void *key, size_t key_bytes, struct millpond_load *load);

/* Flags of struct millpond_fetch. */
enum {
    MILLPOND_FETCH_FRESH = 1 << 0,      /* never a stale value: wait for the new one, or load it */
    MILLPOND_FETCH_NO_WAIT = 1 << 1,    /* while another loads: ERR_TIMEOUT at once (or a stale value) */
    MILLPOND_FETCH_OWN_ERRORS = 1 << 2, /* when the load of another failed: try it ourselves in turn, instead of sharing its error */
    MILLPOND_FETCH_NOT_EARLY = 1 << 3,  /* no load before the value has expired */
    MILLPOND_LEASE_DETACHED = 1 << 4    /* leases only: it does not end with the thread that acquired it, but at its deadline alone */
};

/* How to load. Zero it first; zero is the default of every field. May be shared by all calls. */
struct millpond_fetch {
    uint64_t ttl_ms;          /* time to live of what is loaded, 0 for ever */
    uint64_t grace_ms;        /* how long after that it may be served as stale */
    uint64_t negative_ttl_ms; /* how long it is remembered that there is no such thing, 0 not at all; at most 37 days */
    uint32_t wait_ms;         /* how long to wait for another's load; default 5000 */
    uint32_t load_max_ms;     /* after so long the others give up a load that has not ended; default 60000, at most a day */
    uint32_t early_percent;   /* of the usual earliness (XFetch's beta = 1); default 100, at most 100000 */
    uint32_t flags;           /* MILLPOND_FETCH_FRESH | ... */
    const void *group;        /* the group of what is loaded, as of struct millpond_set */
    size_t group_bytes;
};

/* How a fetch came to its result. */
enum millpond_how {
    MILLPOND_HOW_HIT = 0,     /* it was there: a value, or that there is none */
    MILLPOND_HOW_LOADED = 1,  /* this call loaded it, and it was stored */
    MILLPOND_HOW_ALONE = 2,   /* this call loaded it, and it was not stored: changed meanwhile, too large, no place for its flight */
    MILLPOND_HOW_WAITED = 3   /* another call loaded it, and this one waited */
};
struct millpond_fetched {
    uint32_t how;      /* enum millpond_how */
    int loader_result; /* with MILLPOND_ERR_LOADER, and where a failed load left an older value: what the loader returned; else 0 */
};

/* Copies the value of a key into the caller's buffer, loading it if need be.
 *   key, key_bytes, buf, buf_bytes, value_bytes  as of millpond_get.
 *   loader, arg  called in this thread, at most once a call, outside all locks of the library but the flight's own.
 *   options      may be NULL.
 *   fetched      receives how it went, on every result but ERR_ARGUMENT; may be NULL.
 * Returns MILLPOND_OK; STALE (the value is copied; another is loading a new one, or loading failed); MISS: the loader says there is no such
 * thing; TOO_SMALL: stored, if it was loaded, but not copied; ERR_LOADER: the loader failed, this call's or the one it waited for;
 * ERR_TIMEOUT: another's load did not end in wait_ms; ERR_NESTED: called from a loader of this very key; ERR_ARGUMENT; ERR_READ_ONLY: not
 * there, and a read-only handle leads no flight (load it yourself).
 * Where the flight itself cannot be had (a stopped writer, another PID namespace), the loader runs all the same, and nothing is stored.
 * Blocks: for the loader, or up to wait_ms (and lock_timeout_ms) for that of another. Threads: any; two threads of which each waits for
 * what the other loads wait in vain until wait_ms. fork inside a loader: the child leads no flight; what its loader returns is given to
 * its caller, and not stored. Signals: ERR_REENTERED inside a writing call. Since 0.1. */
MILLPOND_API int millpond_fetch(struct millpond *pond, const void *key, size_t key_bytes, millpond_loader loader, void *arg,
                                const struct millpond_fetch *options, void *buf, size_t buf_bytes, size_t *value_bytes,
                                struct millpond_fetched *fetched);

/* Like millpond_fetch, into a buffer from malloc with one zero byte behind the value.
 *   value, value_bytes  receive buffer and size on OK and STALE; the caller frees the buffer with free(). value_bytes may be NULL.
 * Returns as millpond_fetch but TOO_SMALL; ERR_NO_MEMORY. Since 0.1. */
MILLPOND_API int millpond_fetch_alloc(struct millpond *pond, const void *key, size_t key_bytes, millpond_loader loader, void *arg,
                                      const struct millpond_fetch *options, void **value, size_t *value_bytes,
                                      struct millpond_fetched *fetched);

/* Like millpond_get, but a value past its time to live and within its grace is copied too: MILLPOND_STALE. Nothing is loaded. Since 0.1. */
MILLPOND_API int millpond_get_stale(struct millpond *pond, const void *key, size_t key_bytes, void *buf, size_t buf_bytes,
                                    size_t *value_bytes);

/* ---- leases: single flight for event loops, and for loads that another thread or process does ----
 *
 * millpond_lease_acquire looks, and where there is something to load says whose it is to load it. Whoever won loads as it likes and then
 * fills or abandons the lease; whoever found it taken looks again later, or waits. Leases and fetches of a key know of each other. */

/* Whose it is. */
enum millpond_lease_state {
    MILLPOND_LEASE_NONE = 0,  /* nothing to do: the value is good, or it is known that there is none, or the old one may stay for now */
    MILLPOND_LEASE_WON = 1,   /* ours: load, then millpond_lease_fill, _fill_nothing or _abandon */
    MILLPOND_LEASE_BUSY = 2,  /* another loads: millpond_lease_wait, or acquire again later */
    MILLPOND_LEASE_ALONE = 3  /* nobody's: every place is taken. Load without storing */
};

/* A lease. Plain bytes: it may be copied, and sent to another thread or process that has the file open; one fill counts, the first. It
 * stays good when the file is resized. */
struct millpond_lease {
    uint32_t state;              /* enum millpond_lease_state */
    uint32_t shard, slot, tag;   /* the rest is the library's */
    uint64_t token, begun_ms, creation, group;
};

/* Looks at a key, and takes the lease on loading it if there is something to load and nobody does.
 *   key, key_bytes, buf, buf_bytes, value_bytes  as of millpond_get.
 *   options  as of millpond_fetch; may be NULL. The lease ends by itself load_max_ms from now, and, if it is not DETACHED, as soon as the
 *            thread that acquired it ends or closes its handle, however it ends.
 *   lease    set on OK, STALE, MISS and TOO_SMALL.
 * Returns MILLPOND_OK (a value; with WON: refresh it early); STALE (an old value; with WON: load a new one); MISS (no value; NONE: there is
 * no such thing); TOO_SMALL; ERR_ARGUMENT; ERR_READ_ONLY; ERR_BUSY; ERR_REENTERED; ERR_NAMESPACE.
 * Blocks: never for a load. Since 0.1. */
MILLPOND_API int millpond_lease_acquire(struct millpond *pond, const void *key, size_t key_bytes, const struct millpond_fetch *options,
                                        void *buf, size_t buf_bytes, size_t *value_bytes, struct millpond_lease *lease);

/* Stores what was loaded, and ends the lease.
 *   lease    won, of this key; its state is NONE afterwards, but on ERR_BUSY and ERR_REENTERED, when it is still held.
 *   options  ttl_ms and grace_ms of the value; may be NULL. Its group is that of millpond_lease_acquire.
 * Returns MILLPOND_OK; CHANGED: the key was set, deleted, cleared, or its group invalidated meanwhile, or the lease had ended (others had
 * their turn): nothing is stored; ERR_ARGUMENT; ERR_TOO_LARGE, ERR_FULL, ERR_NO_MEMORY (those who wait load for themselves); ERR_BUSY,
 * ERR_REENTERED. Threads: any thread of any process that has the lease. Since 0.1. */
MILLPOND_API int millpond_lease_fill(struct millpond *pond, struct millpond_lease *lease, const void *key, size_t key_bytes,
                                     const void *value, size_t value_bytes, const struct millpond_fetch *options);

/* Tells that there is no such thing, for options->negative_ttl_ms; an older value leaves. Returns as millpond_lease_fill. Since 0.1. */
MILLPOND_API int millpond_lease_fill_nothing(struct millpond *pond, struct millpond_lease *lease, const void *key, size_t key_bytes,
                                             const struct millpond_fetch *options);

/* Ends a lease without a value.
 *   said  0: somebody else may load it; else those who wait are told that the load failed, and this number.
 * Returns as millpond_lease_fill. Since 0.1. */
MILLPOND_API int millpond_lease_abandon(struct millpond *pond, struct millpond_lease *lease, const void *key, size_t key_bytes, int said);

/* Waits until the load that a lease found under way (BUSY) is over, or nobody does it any more.
 *   timeout_ms  0 only looks.
 *   said        on ERR_LOADER: what the loader returned, or millpond_lease_abandon was given; may be NULL.
 * Returns MILLPOND_OK: acquire again; MISS: there is no such thing; ERR_LOADER: it failed; ERR_TIMEOUT; ERR_ARGUMENT. Since 0.1. */
MILLPOND_API int millpond_lease_wait(struct millpond *pond, const struct millpond_lease *lease, uint32_t timeout_ms, int *said);

#ifdef __cplusplus
}
#endif

#endif
