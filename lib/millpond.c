/* SPDX-License-Identifier: MIT */
/* The public functions: check the arguments, find the mapping (handle.h), call down, return.
 *
 * What finds nothing, or is refused, looks whether the file has been replaced by another one meanwhile, and is done again there (follow.c).
 */

#include "millpond.h"

#include "check.h"
#include "enter.h"
#include "error.h"
#include "handle.h"
#include "platform.h"
#include "reader.h"
#include "recover.h"
#include "resize.h"
#include "scan.h"
#include "snapshot.h"
#include "stats.h"
#include "store.h"
#include "sync.h"
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
                MILLPOND_HUGEPAGES | MILLPOND_POPULATE | MILLPOND_ANONYMOUS | MILLPOND_FOLLOW))

const struct pond_map_hooks pond_handle_hooks = {pond_recover_format, pond_sync_attach};

/* Hook of pond_read_get(). */
static int get_elsewhere(struct pond_map *map, const struct pond_key *key, void *buf, size_t buf_bytes, size_t *value_bytes) {
    struct millpond *pond = key->handle;
    struct pond_key k;
    int again = pond_follow_missed(pond, map);
    map = enter(pond);
    if (!again || !key_of(map, key->bytes, key->count, &k)) return MILLPOND_MISS;
    k.handle = pond;
    return pond_read_get(map, &k, buf, buf_bytes, value_bytes, NULL);
}

/* ---- open, close ---- */

static void before_fork(void) { urcu_bp_before_fork(); }
static void after_fork_parent(void) { urcu_bp_after_fork_parent(); }
static void after_fork_child(void) { urcu_bp_after_fork_child(); }
/* The last one installed is the first one called before a fork: liburcu's lock is taken before the process lock, which readers that a grace
 * period waits for may want. */
static void install_fork_handlers(void) {
    pond_map_install_fork_handlers();
    pthread_atfork(before_fork, after_fork_parent, after_fork_child);
}

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
    uint64_t group;
    if (!pond_group_of(o->group, o->group_bytes, 0, 0, &group))
        return pond_error_say(MILLPOND_ERR_ARGUMENT, errmsg, path, "the name of the group is empty or too long; give 1 to 255 bytes");
    if (o->flags & MILLPOND_ANONYMOUS && strlen(path) > ANONYMOUS_NAME_MAX)
        return pond_error_say(MILLPOND_ERR_ARGUMENT, errmsg, path, "the name of an anonymous pond is too long; give at most 200 bytes");
    pthread_once(&once, install_fork_handlers);
    struct millpond *handle = calloc(1, sizeof *handle);
    if (!handle) return pond_error_say(MILLPOND_ERR_NO_MEMORY, errmsg, path, "out of memory");
    handle->lock_timeout_ms = o->lock_timeout_ms == 0                    ? LOCK_TIMEOUT_MS
                              : o->lock_timeout_ms < LOCK_TIMEOUT_MS_MAX ? o->lock_timeout_ms
                                                                         : LOCK_TIMEOUT_MS_MAX;
    handle->flags = o->flags;
    handle->group = group;
    pond_read_elsewhere = get_elsewhere;
    handle->name = strdup(path);
    int result = handle->name ? pond_map_open(path, o, &pond_handle_hooks, &handle->map, errmsg)
                              : pond_error_say(MILLPOND_ERR_NO_MEMORY, errmsg, path, "out of memory");
    if (result != MILLPOND_OK) {
        free(handle->name);
        free(handle);
        return result;
    }
    if (o->flags & MILLPOND_FOLLOW) handle->map->followed = 1;
    handle->path = o->flags & MILLPOND_ANONYMOUS ? NULL : pond_platform_absolute(path);
    *pond = handle;
    return MILLPOND_OK;
}

void millpond_close(struct millpond *pond) {
    if (!pond) return;
    pond_store_unbind(pond);
    pond_reader_leave(pond->map);
    pond_map_release(pond->map);
    free(pond->path);
    free(pond->name);
    free(pond);
}

int millpond_fd(struct millpond *pond) {
    if (!pond) return MILLPOND_ERR_ARGUMENT;
    struct pond_map *map = enter(pond);
    return leave(map->fd);
}

int millpond_resize(struct millpond *pond, uint64_t size_bytes, char *errmsg) {
    int result, said;
    if (!pond) return pond_error_say(MILLPOND_ERR_ARGUMENT, errmsg, "millpond_resize", "the handle is missing; give one");
    if (!pond->path)
        return pond_error_say(MILLPOND_ERR_NO_NAME, errmsg, pond->name,
                              "an anonymous pond, or one opened by its descriptor, has no name for a new file to take; make another one");
    do {
        struct pond_map *map = hold(pond);
        if (errmsg) errmsg[0] = 0; /* what the file before this one had to say is over */
        result = pond_resize(map, pond->path, size_bytes, pond->flags, pond->lock_timeout_ms, &pond_handle_hooks, errmsg);
        pond_map_release(map);
        said = result;
    } while (pond_follow_refused(pond, &result));
    if (result != said)
        return pond_error_say(result, errmsg, pond->name, "who replaces or opens it does not go on; look for a stopped process");
    if (result == MILLPOND_OK) pond_follow(pond, POND_FOLLOW_WRITE);
    return result;
}

/* ---- reading ---- */

int millpond_get(struct millpond *pond, const void *key, size_t key_bytes, void *buf, size_t buf_bytes, size_t *value_bytes) {
    struct pond_key k;
    struct pond_map *map = enter(pond);
    if (POND_UNLIKELY(!key_of(map, key, key_bytes, &k) || (!buf && buf_bytes))) return leave(MILLPOND_ERR_ARGUMENT);
    k.handle = pond;
    return leave(pond_read_get(map, &k, buf, buf_bytes, value_bytes, NULL));
}

/* Into memory that grows: *buf is the caller's to free, whatever the result. */
static int get_growing(struct pond_map *map, const struct pond_key *key, unsigned char **buf, size_t *bytes) {
    size_t room = 256;
    int result = MILLPOND_TOO_SMALL;
    while (result == MILLPOND_TOO_SMALL) { /* again only if the value grew meanwhile */
        unsigned char *larger = realloc(*buf, room + 1);
        if (!larger) return MILLPOND_ERR_NO_MEMORY;
        *buf = larger;
        result = pond_read_get(map, key, *buf, room, bytes, NULL);
        room = *bytes;
    }
    return result;
}

int millpond_get_alloc(struct millpond *pond, const void *key, size_t key_bytes, void **value, size_t *value_bytes) {
    struct pond_key k;
    struct pond_map *map;
    if (!value) return MILLPOND_ERR_ARGUMENT;
    do {
        map = enter(pond);
        if (!key_of(map, key, key_bytes, &k)) return leave(MILLPOND_ERR_ARGUMENT);
        size_t bytes = 0;
        unsigned char *buf = NULL;
        int result = get_growing(map, &k, &buf, &bytes);
        if (result == MILLPOND_OK) {
            buf[bytes] = 0;
            *value = buf;
            if (value_bytes) *value_bytes = bytes;
            return leave(MILLPOND_OK);
        }
        free(buf);
        if (result != MILLPOND_MISS) return leave(result);
    } while (pond_follow_missed(pond, map));
    return MILLPOND_MISS;
}

/* In a file that is being emptied some keys are there and some are not any more: that is no moment of the pond. */
int millpond_snapshot(struct millpond *pond, struct millpond_mget *items, size_t item_count) {
    int result, again;
    if (!items && item_count) return MILLPOND_ERR_ARGUMENT;
    do {
        struct pond_map *map = enter(pond);
        result = pond_snapshot(map, pond->lock_timeout_ms, items, item_count);
        if (result == MILLPOND_OK && pond_replaced(map)) result = MILLPOND_ERR_REPLACED;
        again = result == MILLPOND_OK ? pond_follow_missed(pond, map) : (leave(0), pond_follow_refused(pond, &result));
    } while (again);
    return result;
}

/* In batches, so that the misses of one stage overlap: hash and prefetch every bucket; prefetch every entry; copy. */
static int mget_in(struct pond_map *map, struct millpond_mget *items, size_t item_count) {
    struct pond_key keys[MGET_BATCH];
    int missed = 0;
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
            missed |= item->result == MILLPOND_MISS;
        }
    }
    return missed;
}

int millpond_mget(struct millpond *pond, struct millpond_mget *items, size_t item_count) {
    struct pond_map *map;
    if (!items && item_count) return MILLPOND_ERR_ARGUMENT;
    do {
        map = enter(pond);
        if (!mget_in(map, items, item_count)) return leave(MILLPOND_OK);
    } while (pond_follow_missed(pond, map));
    return MILLPOND_OK;
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
    struct pond_map *map;
    do {
        map = enter(pond);
        if (!ttl_ms || !key_of(map, key, key_bytes, &k)) return leave(MILLPOND_ERR_ARGUMENT);
        int result = pond_read_ttl(map, &k, ttl_ms);
        if (result != MILLPOND_MISS) return leave(result);
    } while (pond_follow_missed(pond, map));
    return MILLPOND_MISS;
}

int millpond_get_if_changed(struct millpond *pond, const void *key, size_t key_bytes, void *buf, size_t buf_bytes, size_t *value_bytes,
                            uint64_t *version) {
    struct pond_key k;
    struct pond_map *map;
    do {
        map = enter(pond);
        if (!version || !key_of(map, key, key_bytes, &k) || (!buf && buf_bytes)) return leave(MILLPOND_ERR_ARGUMENT);
        int result = pond_read_get(map, &k, buf, buf_bytes, value_bytes, version);
        if (result != MILLPOND_MISS) return leave(result);
    } while (pond_follow_missed(pond, map));
    return MILLPOND_MISS;
}

int millpond_view(struct millpond *pond, const void *key, size_t key_bytes, struct millpond_view *view) {
    struct pond_key k;
    struct pond_map *map;
    int result;
    do {
        map = enter(pond);
        if (!view || !key_of(map, key, key_bytes, &k)) return leave(MILLPOND_ERR_ARGUMENT);
        result = pond_view_take(map, pond->lock_timeout_ms, &k, view);
        if (result != MILLPOND_MISS) leave(0);
    } while (result == MILLPOND_MISS ? pond_follow_missed(pond, map) : pond_follow_refused(pond, &result));
    return result;
}

void millpond_view_release(struct millpond_view *view) {
    if (view) pond_view_release(view);
}

/* ---- writing ---- */

/* Out of the way of those whose file has not been replaced. */
static __attribute__((noinline, cold)) int set_again(struct millpond *pond, const struct pond_key *key, const void *value,
                                                     size_t value_bytes, struct millpond_set *options) {
    int result = MILLPOND_ERR_REPLACED;
    if (!pond_follow_refused(pond, &result)) return result;
    return pond_set_in_group(pond, key->bytes, key->count, value, value_bytes, options, key->group);
}

int millpond_set_ex(struct millpond *pond, const void *key, size_t key_bytes, const void *value, size_t value_bytes,
                    struct millpond_set *options) {
    uint64_t group;
    if (!options || !pond_group_of(options->group, options->group_bytes, options->group_number, pond->group, &group))
        return MILLPOND_ERR_ARGUMENT;
    return pond_set_in_group(pond, key, key_bytes, value, value_bytes, options, group);
}

int pond_set_in_group(struct millpond *pond, const void *key, size_t key_bytes, const void *value, size_t value_bytes,
                      struct millpond_set *options, uint64_t group) {
    struct pond_key k;
    struct pond_map *map = enter_writing(pond);
    if ((!value && value_bytes) || options->ttl_ms > POND_TTL_MS_MAX || options->grace_ms > POND_TTL_MS_MAX ||
        options->when > MILLPOND_IF_VERSION || !key_of(map, key, key_bytes, &k))
        return leave(MILLPOND_ERR_ARGUMENT);
    k.group = group;
    int result = leave(pond_write_set(map, pond->lock_timeout_ms, &k, value, value_bytes, options));
    return POND_LIKELY(result != MILLPOND_ERR_REPLACED) ? result : set_again(pond, &k, value, value_bytes, options);
}

static int set_when(struct millpond *pond, const void *key, size_t key_bytes, const void *value, size_t value_bytes, uint64_t ttl_ms,
                    enum millpond_when when, uint64_t version) {
    struct millpond_set options = {.ttl_ms = ttl_ms, .when = (uint32_t)when, .version = version};
    return pond_set_in_group(pond, key, key_bytes, value, value_bytes, &options, pond->group);
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
    int result;
    do {
        struct pond_map *map = enter_writing(pond);
        if (!key_of(map, key, key_bytes, &k)) return leave(MILLPOND_ERR_ARGUMENT);
        result = leave(pond_write_delete(map, pond->lock_timeout_ms, &k));
    } while (pond_follow_refused(pond, &result));
    return result;
}

int millpond_touch(struct millpond *pond, const void *key, size_t key_bytes, uint64_t ttl_ms) {
    struct pond_key k;
    int result;
    do {
        struct pond_map *map = enter_writing(pond);
        if (ttl_ms > POND_TTL_MS_MAX || !key_of(map, key, key_bytes, &k)) return leave(MILLPOND_ERR_ARGUMENT);
        result = leave(pond_write_touch(map, pond->lock_timeout_ms, &k, ttl_ms));
    } while (pond_follow_refused(pond, &result));
    return result;
}

static int incr_in_group(struct millpond *pond, const void *key, size_t key_bytes, int64_t delta, const struct millpond_incr *create,
                         uint64_t group, int64_t *value) {
    struct pond_key k;
    int result;
    do {
        struct pond_map *map = enter_writing(pond);
        if ((create && create->ttl_ms > POND_TTL_MS_MAX) || !key_of(map, key, key_bytes, &k)) return leave(MILLPOND_ERR_ARGUMENT);
        k.group = group;
        result = leave(pond_write_incr(map, pond->lock_timeout_ms, &k, delta, create, value));
    } while (pond_follow_refused(pond, &result));
    return result;
}

int millpond_incr(struct millpond *pond, const void *key, size_t key_bytes, int64_t delta, const struct millpond_incr *create,
                  int64_t *value) {
    return incr_in_group(pond, key, key_bytes, delta, create, pond->group, value);
}

int millpond_incr_ex(struct millpond *pond, const void *key, size_t key_bytes, int64_t delta, int64_t initial,
                     const struct millpond_set *how, int64_t *value) {
    static const struct millpond_set plain;
    const struct millpond_set *o = how ? how : &plain;
    struct millpond_incr create = {initial, o->ttl_ms};
    uint64_t group;
    if (o->grace_ms || o->version || o->when || !pond_group_of(o->group, o->group_bytes, o->group_number, pond->group, &group))
        return MILLPOND_ERR_ARGUMENT;
    return incr_in_group(pond, key, key_bytes, delta, &create, group, value);
}

int millpond_clear(struct millpond *pond) {
    int result;
    do {
        struct pond_map *map = enter_writing(pond);
        result = leave(pond_write_clear(map, pond->lock_timeout_ms));
    } while (pond_follow_refused(pond, &result));
    return result;
}

int millpond_sync(struct millpond *pond) {
    int result;
    do {
        struct pond_map *map = hold(pond);
        result = pond_sync(map, pond->lock_timeout_ms);
        pond_map_release(map);
    } while (pond_follow_refused(pond, &result));
    return result;
}

/* ---- the whole ---- */

/* A file that is replaced meanwhile is emptied under the scan: then all of the new one is shown. */
int millpond_scan(struct millpond *pond, const void *prefix, size_t prefix_bytes, unsigned flags,
                  int (*visit)(void *arg, const struct millpond_entry *entry), void *arg) {
    int result, replaced;
    if (!visit || flags > MILLPOND_SCAN_KEYS || (!prefix && prefix_bytes)) return MILLPOND_ERR_ARGUMENT;
    do {
        struct pond_map *map = hold(pond);
        result = pond_scan(map, pond->lock_timeout_ms, prefix, prefix_bytes, flags, visit, arg);
        replaced = pond_replaced(map);
        pond_map_release(map);
    } while ((result == MILLPOND_OK && replaced && pond_follow(pond, POND_FOLLOW_READ)) || pond_follow_refused(pond, &result));
    return result;
}

int millpond_stats(struct millpond *pond, int shard, struct millpond_stats *stats) {
    struct pond_map *map;
    do {
        map = enter(pond);
        if (!stats || shard < -1 || shard >= (int)map->geometry.shard_count) return leave(MILLPOND_ERR_ARGUMENT);
        pond_stats(map, shard, stats);
    } while (pond_follow_missed(pond, map));
    return MILLPOND_OK;
}

static int check_in(struct millpond *pond, struct pond_map *map, const char *path, unsigned flags,
                    void (*report)(void *arg, const char *sentence), void *arg, struct millpond_check *sums, char *errmsg) {
    int result = MILLPOND_OK;
    for (uint32_t i = 0; i < map->geometry.shard_count && result == MILLPOND_OK; i++) {
        struct pond_ref ref;
        result = pond_write_enter(map, i, pond->lock_timeout_ms, &ref);
        if (result == MILLPOND_OK) {
            if (pond_check_shard(&ref, flags, report, arg, sums) != 0) result = MILLPOND_ERR_NO_MEMORY;
            pond_write_leave(&ref);
        }
        if (result != MILLPOND_OK)
            pond_error_say(result, errmsg, path, "shard %u could not be checked (%s); try again when no writer is stopped", i,
                           millpond_strerror(result));
    }
    return result;
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
    do {
        struct pond_map *map = hold(pond);
        if (errmsg) errmsg[0] = 0; /* as in a resize */
        sums = (struct millpond_check){0};
        result = check_in(pond, map, path, flags, report, arg, &sums, errmsg);
        pond_map_release(map);
    } while (pond_follow_refused(pond, &result));
    millpond_close(pond);
    if (result != MILLPOND_OK) return result;
    if (check) *check = sums;
    return sums.damages ? MILLPOND_DAMAGED : MILLPOND_OK;
}
