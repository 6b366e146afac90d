/* SPDX-License-Identifier: MIT */
/* The public functions: check the arguments, find the mapping, call down, return.
 *
 * Every call is a read-side section of liburcu (handle.h). */

#include "millpond.h"

#include "atomic.h"
#include "check.h"
#include "enter.h"
#include "error.h"
#include "handle.h"
#include "mapping.h"
#include "read.h"
#include "reader.h"
#include "recover.h"
#include "scan.h"
#include "snapshot.h"
#include "stats.h"
#include "store.h"
#include "sync.h"
#include "txn.h"
#include "view.h"
#include "write.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define LOCK_TIMEOUT_MS     5000u
#define LOCK_TIMEOUT_MS_MAX 3600000u
#define MGET_BATCH          32u
#define ANONYMOUS_NAME_MAX  200u
#define FLAGS                                                                                                                              \
    ((uint32_t)(MILLPOND_READONLY | MILLPOND_CREATE | MILLPOND_EXCLUSIVE | MILLPOND_NAMESPACES | MILLPOND_ANY_FILESYSTEM |                 \
                MILLPOND_HUGEPAGES | MILLPOND_POPULATE | MILLPOND_ANONYMOUS))

static const struct pond_map_hooks hooks = {pond_recover_format, pond_sync_attach};

/* ---- open, close ---- */

static void before_fork(void) { urcu_bp_before_fork(); }
static void after_fork_parent(void) { urcu_bp_after_fork_parent(); }
static void after_fork_child(void) { urcu_bp_after_fork_child(); }
static void install_fork_handlers(void) { pthread_atfork(before_fork, after_fork_parent, after_fork_child); }

int millpond_open(struct millpond **pond, const char *path, const struct millpond_options *options, char *errmsg) {
    static const struct millpond_options defaults = MILLPOND_OPTIONS_INIT;
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    if (errmsg) errmsg[0] = 0;
    if (!pond || !path || !*path)
        return pond_error_say(MILLPOND_ERR_ARGUMENT, errmsg, "millpond_open", "the path or the place for the handle is missing; give both");
    const struct millpond_options *o = options ? options : &defaults;
    if (o->struct_bytes != sizeof *o)
        return pond_error_say(MILLPOND_ERR_ARGUMENT, errmsg, path, "the options were not initialised; begin with MILLPOND_OPTIONS_INIT");
    if (o->flags & ~FLAGS || (o->flags & MILLPOND_READONLY && o->flags & (MILLPOND_CREATE | MILLPOND_ANONYMOUS)) ||
        (o->flags & MILLPOND_EXCLUSIVE && !(o->flags & MILLPOND_CREATE)))
        return pond_error_say(MILLPOND_ERR_ARGUMENT, errmsg, path,
                              "the flags do not go together; give CREATE, ANONYMOUS or READONLY, EXCLUSIVE only with CREATE");
    if (o->flags & MILLPOND_ANONYMOUS && strlen(path) > ANONYMOUS_NAME_MAX)
        return pond_error_say(MILLPOND_ERR_ARGUMENT, errmsg, path, "the name of an anonymous pond is too long; give at most 200 bytes");
    pthread_once(&once, install_fork_handlers);
    struct millpond *handle = calloc(1, sizeof *handle);
    if (!handle) return pond_error_say(MILLPOND_ERR_NO_MEMORY, errmsg, path, "out of memory");
    handle->lock_timeout_ms = o->lock_timeout_ms == 0                    ? LOCK_TIMEOUT_MS
                              : o->lock_timeout_ms < LOCK_TIMEOUT_MS_MAX ? o->lock_timeout_ms
                                                                         : LOCK_TIMEOUT_MS_MAX;
    int result = pond_map_open(path, o, &hooks, &handle->map, errmsg);
    if (result != MILLPOND_OK) {
        free(handle);
        return result;
    }
    *pond = handle;
    return MILLPOND_OK;
}

void millpond_close(struct millpond *pond) {
    if (!pond) return;
    pond_store_unbind(pond);
    pond_reader_leave(pond->map);
    pond_map_release(pond->map);
    free(pond);
}

int millpond_fd(struct millpond *pond) {
    if (!pond) return MILLPOND_ERR_ARGUMENT;
    struct pond_map *map = enter(pond);
    return leave(map->fd);
}

/* ---- reading ---- */

int millpond_get(struct millpond *pond, const void *key, size_t key_bytes, void *buf, size_t buf_bytes, size_t *value_bytes) {
    struct pond_key k;
    struct pond_map *map = enter(pond);
    if (POND_UNLIKELY(!key_of(map, key, key_bytes, &k) || (!buf && buf_bytes))) return leave(MILLPOND_ERR_ARGUMENT);
    return leave(pond_read_get(map, &k, buf, buf_bytes, value_bytes, NULL));
}

int millpond_get_alloc(struct millpond *pond, const void *key, size_t key_bytes, void **value, size_t *value_bytes) {
    struct pond_key k;
    if (!value) return MILLPOND_ERR_ARGUMENT;
    struct pond_map *map = enter(pond);
    if (!key_of(map, key, key_bytes, &k)) return leave(MILLPOND_ERR_ARGUMENT);
    size_t room = 256, bytes = 0;
    unsigned char *buf = NULL;
    int result = MILLPOND_TOO_SMALL;
    while (result == MILLPOND_TOO_SMALL) { /* again only if the value grew meanwhile */
        unsigned char *larger = realloc(buf, room + 1);
        if (!larger) {
            result = MILLPOND_ERR_NO_MEMORY;
            break;
        }
        buf = larger;
        result = pond_read_get(map, &k, buf, room, &bytes, NULL);
        room = bytes;
    }
    if (result != MILLPOND_OK) {
        free(buf);
        return leave(result);
    }
    buf[bytes] = 0;
    *value = buf;
    if (value_bytes) *value_bytes = bytes;
    return leave(MILLPOND_OK);
}

int millpond_snapshot(struct millpond *pond, struct millpond_mget *items, size_t item_count) {
    if (!items && item_count) return MILLPOND_ERR_ARGUMENT;
    struct pond_map *map = enter(pond);
    return leave(pond_snapshot(map, pond->lock_timeout_ms, items, item_count));
}

/* In batches, so that the misses of one stage overlap: hash and prefetch every bucket; prefetch every entry; copy. */
int millpond_mget(struct millpond *pond, struct millpond_mget *items, size_t item_count) {
    struct pond_key keys[MGET_BATCH];
    if (!items && item_count) return MILLPOND_ERR_ARGUMENT;
    struct pond_map *map = enter(pond);
    for (size_t first = 0; first < item_count; first += MGET_BATCH) {
        size_t n = item_count - first < MGET_BATCH ? item_count - first : MGET_BATCH;
        for (size_t i = 0; i < n; i++) {
            struct millpond_mget *item = &items[first + i];
            item->result =
                key_of(map, item->key, item->key_bytes, &keys[i]) && (item->buf || !item->buf_bytes) ? MILLPOND_OK : MILLPOND_ERR_ARGUMENT;
            if (item->result == MILLPOND_OK) pond_read_prefetch_bucket(map, keys[i].hash);
        }
        for (size_t i = 0; i < n; i++)
            if (items[first + i].result == MILLPOND_OK) pond_read_prefetch_entry(map, keys[i].hash);
        for (size_t i = 0; i < n; i++) {
            struct millpond_mget *item = &items[first + i];
            if (item->result == MILLPOND_OK)
                item->result = pond_read_get(map, &keys[i], item->buf, item->buf_bytes, &item->value_bytes, NULL);
        }
    }
    return leave(MILLPOND_OK);
}

void millpond_prefetch(struct millpond *pond, const void *key, size_t key_bytes) {
    struct pond_key k;
    struct pond_map *map = enter(pond);
    if (key_of(map, key, key_bytes, &k)) pond_read_prefetch_bucket(map, k.hash);
    leave(0);
}

int millpond_contains(struct millpond *pond, const void *key, size_t key_bytes) {
    uint64_t ttl_ms;
    return millpond_ttl(pond, key, key_bytes, &ttl_ms);
}

int millpond_ttl(struct millpond *pond, const void *key, size_t key_bytes, uint64_t *ttl_ms) {
    struct pond_key k;
    struct pond_map *map = enter(pond);
    if (!ttl_ms || !key_of(map, key, key_bytes, &k)) return leave(MILLPOND_ERR_ARGUMENT);
    return leave(pond_read_ttl(map, &k, ttl_ms));
}

int millpond_get_if_changed(struct millpond *pond, const void *key, size_t key_bytes, void *buf, size_t buf_bytes, size_t *value_bytes,
                            uint64_t *version) {
    struct pond_key k;
    struct pond_map *map = enter(pond);
    if (!version || !key_of(map, key, key_bytes, &k) || (!buf && buf_bytes)) return leave(MILLPOND_ERR_ARGUMENT);
    return leave(pond_read_get(map, &k, buf, buf_bytes, value_bytes, version));
}

int millpond_view(struct millpond *pond, const void *key, size_t key_bytes, struct millpond_view *view) {
    struct pond_key k;
    struct pond_map *map = enter(pond);
    if (!view || !key_of(map, key, key_bytes, &k)) return leave(MILLPOND_ERR_ARGUMENT);
    return leave(pond_view_take(map, pond->lock_timeout_ms, &k, view));
}

void millpond_view_release(struct millpond_view *view) {
    if (view) pond_view_release(view);
}

/* ---- writing ---- */

int millpond_set_ex(struct millpond *pond, const void *key, size_t key_bytes, const void *value, size_t value_bytes,
                    struct millpond_set *options) {
    struct pond_key k;
    struct pond_map *map = enter(pond);
    if (!options || (!value && value_bytes) || options->ttl_ms > POND_TTL_MS_MAX || options->grace_ms > POND_TTL_MS_MAX ||
        options->when > MILLPOND_IF_VERSION || !key_of(map, key, key_bytes, &k))
        return leave(MILLPOND_ERR_ARGUMENT);
    return leave(pond_write_set(map, pond->lock_timeout_ms, &k, value, value_bytes, options));
}

static int set_when(struct millpond *pond, const void *key, size_t key_bytes, const void *value, size_t value_bytes, uint64_t ttl_ms,
                    enum millpond_when when, uint64_t version) {
    struct millpond_set options = {.ttl_ms = ttl_ms, .when = (uint32_t)when, .version = version};
    return millpond_set_ex(pond, key, key_bytes, value, value_bytes, &options);
}

int millpond_set(struct millpond *pond, const void *key, size_t key_bytes, const void *value, size_t value_bytes, uint64_t ttl_ms) {
    return set_when(pond, key, key_bytes, value, value_bytes, ttl_ms, MILLPOND_ALWAYS, 0);
}
int millpond_add(struct millpond *pond, const void *key, size_t key_bytes, const void *value, size_t value_bytes, uint64_t ttl_ms) {
    return set_when(pond, key, key_bytes, value, value_bytes, ttl_ms, MILLPOND_IF_ABSENT, 0);
}
int millpond_replace(struct millpond *pond, const void *key, size_t key_bytes, const void *value, size_t value_bytes, uint64_t ttl_ms) {
    return set_when(pond, key, key_bytes, value, value_bytes, ttl_ms, MILLPOND_IF_PRESENT, 0);
}
int millpond_cas(struct millpond *pond, const void *key, size_t key_bytes, const void *value, size_t value_bytes, uint64_t ttl_ms,
                 uint64_t version) {
    return set_when(pond, key, key_bytes, value, value_bytes, ttl_ms, MILLPOND_IF_VERSION, version);
}

int millpond_delete(struct millpond *pond, const void *key, size_t key_bytes) {
    struct pond_key k;
    struct pond_map *map = enter(pond);
    if (!key_of(map, key, key_bytes, &k)) return leave(MILLPOND_ERR_ARGUMENT);
    return leave(pond_write_delete(map, pond->lock_timeout_ms, &k));
}

int millpond_touch(struct millpond *pond, const void *key, size_t key_bytes, uint64_t ttl_ms) {
    struct pond_key k;
    struct pond_map *map = enter(pond);
    if (ttl_ms > POND_TTL_MS_MAX || !key_of(map, key, key_bytes, &k)) return leave(MILLPOND_ERR_ARGUMENT);
    return leave(pond_write_touch(map, pond->lock_timeout_ms, &k, ttl_ms));
}

int millpond_incr(struct millpond *pond, const void *key, size_t key_bytes, int64_t delta, const struct millpond_incr *create,
                  int64_t *value) {
    struct pond_key k;
    struct pond_map *map = enter(pond);
    if ((create && create->ttl_ms > POND_TTL_MS_MAX) || !key_of(map, key, key_bytes, &k)) return leave(MILLPOND_ERR_ARGUMENT);
    return leave(pond_write_incr(map, pond->lock_timeout_ms, &k, delta, create, value));
}

int millpond_clear(struct millpond *pond) {
    struct pond_map *map = enter(pond);
    return leave(pond_write_clear(map, pond->lock_timeout_ms));
}

int millpond_sync(struct millpond *pond) {
    struct pond_map *map = enter(pond);
    return leave(pond_sync(map, pond->lock_timeout_ms));
}

/* ---- transactions ---- */

int millpond_txn_begin(struct millpond *pond, struct millpond_txn **txn) {
    if (!txn) return MILLPOND_ERR_ARGUMENT;
    return leave(pond_txn_begin(enter(pond), pond, txn));
}

int millpond_txn_get(struct millpond_txn *txn, const void *key, size_t key_bytes, void *buf, size_t buf_bytes, size_t *value_bytes) {
    struct pond_key k;
    if (!txn) return MILLPOND_ERR_ARGUMENT;
    struct pond_map *map = enter(txn->pond);
    if (!key_of(map, key, key_bytes, &k) || (!buf && buf_bytes)) return leave(MILLPOND_ERR_ARGUMENT);
    return leave(pond_txn_get(map, txn, &k, buf, buf_bytes, value_bytes));
}

int millpond_txn_set(struct millpond_txn *txn, const void *key, size_t key_bytes, const void *value, size_t value_bytes, uint64_t ttl_ms) {
    struct pond_key k;
    if (!txn) return MILLPOND_ERR_ARGUMENT;
    struct pond_map *map = enter(txn->pond);
    if ((!value && value_bytes) || ttl_ms > POND_TTL_MS_MAX || !key_of(map, key, key_bytes, &k)) return leave(MILLPOND_ERR_ARGUMENT);
    return leave(pond_txn_set(map, txn, &k, value, value_bytes, ttl_ms));
}

int millpond_txn_delete(struct millpond_txn *txn, const void *key, size_t key_bytes) {
    struct pond_key k;
    if (!txn) return MILLPOND_ERR_ARGUMENT;
    struct pond_map *map = enter(txn->pond);
    if (!key_of(map, key, key_bytes, &k)) return leave(MILLPOND_ERR_ARGUMENT);
    return leave(pond_txn_delete(map, txn, &k));
}

int millpond_txn_incr(struct millpond_txn *txn, const void *key, size_t key_bytes, int64_t delta, const struct millpond_incr *create,
                      int64_t *value) {
    struct pond_key k;
    if (!txn) return MILLPOND_ERR_ARGUMENT;
    struct pond_map *map = enter(txn->pond);
    if ((create && create->ttl_ms > POND_TTL_MS_MAX) || !key_of(map, key, key_bytes, &k)) return leave(MILLPOND_ERR_ARGUMENT);
    return leave(pond_txn_incr(map, txn, &k, delta, create, value));
}

int millpond_txn_commit(struct millpond_txn *txn) {
    if (!txn) return MILLPOND_ERR_ARGUMENT;
    struct pond_map *map = enter(txn->pond);
    int result = leave(pond_txn_commit(map, txn->pond->lock_timeout_ms, txn));
    if (result != MILLPOND_ERR_REENTERED) pond_txn_forget(txn);
    return result;
}

void millpond_txn_abort(struct millpond_txn *txn) {
    if (txn) pond_txn_forget(txn);
}

/* ---- the whole ---- */

int millpond_scan(struct millpond *pond, const void *prefix, size_t prefix_bytes, unsigned flags,
                  int (*visit)(void *arg, const struct millpond_entry *entry), void *arg) {
    struct pond_map *map = enter(pond);
    if (!visit || flags > MILLPOND_SCAN_KEYS || (!prefix && prefix_bytes)) return leave(MILLPOND_ERR_ARGUMENT);
    return leave(pond_scan(map, pond->lock_timeout_ms, prefix, prefix_bytes, flags, visit, arg));
}

int millpond_stats(struct millpond *pond, int shard, struct millpond_stats *stats) {
    struct pond_map *map = enter(pond);
    if (!stats || shard < -1 || shard >= (int)map->geometry.shard_count) return leave(MILLPOND_ERR_ARGUMENT);
    pond_stats(map, shard, stats);
    return leave(MILLPOND_OK);
}

int millpond_check(const char *path, unsigned flags, void (*report)(void *arg, const char *sentence), void *arg,
                   struct millpond_check *check, char *errmsg) {
    struct millpond *pond;
    struct millpond_check sums = {0};
    struct millpond_options options = MILLPOND_OPTIONS_INIT;
    if (flags > (MILLPOND_CHECK_REPAIR | MILLPOND_CHECK_ANY_FILESYSTEM))
        return pond_error_say(MILLPOND_ERR_ARGUMENT, errmsg, path ? path : "millpond_check", "unknown flags; give 0 or MILLPOND_CHECK_*");
    if (flags & MILLPOND_CHECK_ANY_FILESYSTEM) options.flags = MILLPOND_ANY_FILESYSTEM;
    int result = millpond_open(&pond, path, &options, errmsg);
    if (result != MILLPOND_OK) return result;
    struct pond_map *map = enter(pond);
    for (uint32_t i = 0; i < map->geometry.shard_count && result == MILLPOND_OK; i++) {
        struct pond_ref ref;
        result = pond_write_enter(map, i, pond->lock_timeout_ms, &ref);
        if (result == MILLPOND_OK) {
            if (pond_check_shard(&ref, flags, report, arg, &sums) != 0) result = MILLPOND_ERR_NO_MEMORY;
            pond_write_leave(&ref);
        }
        if (result != MILLPOND_OK)
            pond_error_say(result, errmsg, path, "shard %u could not be checked (%s); try again when no writer is stopped", i,
                           millpond_strerror(result));
    }
    leave(0);
    millpond_close(pond);
    if (result != MILLPOND_OK) return result;
    if (check) *check = sums;
    return sums.damages ? MILLPOND_DAMAGED : MILLPOND_OK;
}
