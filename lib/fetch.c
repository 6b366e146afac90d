/* SPDX-License-Identifier: MIT */
/* Get, or load: the public calls of single flight. */

#include "atomic.h"
#include "handle.h"
#include "read.h"
#include "write.h"

#include <stdlib.h>
#include <string.h>

/* Where a value goes: the caller's buffer, or one from malloc that grows. */
struct sink {
    unsigned char *buf;
    size_t room, bytes;
    int grows;
};

static const struct millpond_fetch no_options;

static int options_are_wrong(const struct millpond_fetch *o) {
    return o->ttl_ms > POND_TTL_MS_MAX || o->grace_ms > POND_TTL_MS_MAX || o->negative_ttl_ms > POND_TTL_MS_MAX ||
           o->flags >= MILLPOND_LEASE_DETACHED * 2u;
}

static int sink_room(struct sink *sink, size_t bytes) {
    if (bytes <= sink->room && (sink->buf || !sink->grows)) return MILLPOND_OK;
    if (!sink->grows) return MILLPOND_TOO_SMALL;
    unsigned char *larger = realloc(sink->buf, bytes + 1);
    if (!larger) return MILLPOND_ERR_NO_MEMORY;
    sink->buf = larger;
    sink->room = bytes;
    return MILLPOND_OK;
}

static int sink_put(struct sink *sink, const void *value, size_t bytes) {
    int result = sink_room(sink, bytes);
    if (result == MILLPOND_OK && bytes) memcpy(sink->buf, value, bytes);
    sink->bytes = bytes;
    return result;
}

static int sink_get(struct pond_map *map, const struct pond_key *key, struct sink *sink) {
    int result = sink->grows ? sink_room(sink, 256) : MILLPOND_OK;
    if (result != MILLPOND_OK) return result;
    while ((result = pond_read_get(map, key, sink->buf, sink->room, &sink->bytes, NULL)) == MILLPOND_TOO_SMALL && sink->grows)
        if (sink_room(sink, sink->bytes) != MILLPOND_OK) return MILLPOND_ERR_NO_MEMORY;
    return result;
}

/* Without a flight. */
static int load(struct millpond *pond, const void *key, size_t key_bytes, millpond_loader loader, void *arg, const struct millpond_fetch *o,
                struct sink *sink, struct millpond_fetched *fetched) {
    struct millpond_load load = {.ttl_ms = o->ttl_ms, .grace_ms = o->grace_ms};
    int said = loader(arg, key, key_bytes, &load), result = said == MILLPOND_MISS ? MILLPOND_MISS : MILLPOND_ERR_LOADER;
    fetched->how = MILLPOND_HOW_ALONE;
    if (said == MILLPOND_OK) {
        struct millpond_set set = {.ttl_ms = load.ttl_ms, .grace_ms = load.grace_ms};
        if (millpond_set_ex(pond, key, key_bytes, load.value, load.value_bytes, &set) == MILLPOND_OK) fetched->how = MILLPOND_HOW_LOADED;
        result = sink_put(sink, load.value, load.value_bytes);
    } else if (said != MILLPOND_MISS) {
        fetched->loader_result = said;
    }
    if (load.release) load.release(load.value);
    return result;
}

static int fetch(struct millpond *pond, const void *key, size_t key_bytes, millpond_loader loader, void *arg,
                 const struct millpond_fetch *o, struct sink *sink, struct millpond_fetched *fetched) {
    struct pond_key k;
    struct pond_map *map = enter(pond);
    if (!loader || options_are_wrong(o) || !key_of(map, key, key_bytes, &k)) return leave(MILLPOND_ERR_ARGUMENT);
    int result = leave(sink_get(map, &k, sink));
    if (result == MILLPOND_MISS && map->readonly) return MILLPOND_ERR_READ_ONLY;
    return result == MILLPOND_MISS ? load(pond, key, key_bytes, loader, arg, o, sink, fetched) : result;
}

int millpond_fetch(struct millpond *pond, const void *key, size_t key_bytes, millpond_loader loader, void *arg,
                   const struct millpond_fetch *options, void *buf, size_t buf_bytes, size_t *value_bytes,
                   struct millpond_fetched *fetched) {
    struct sink sink = {.buf = buf, .room = buf_bytes};
    struct millpond_fetched how = {0};
    if (!buf && buf_bytes) return MILLPOND_ERR_ARGUMENT;
    int result = fetch(pond, key, key_bytes, loader, arg, options ? options : &no_options, &sink, &how);
    if (value_bytes && (result == MILLPOND_OK || result == MILLPOND_TOO_SMALL || result == MILLPOND_STALE)) *value_bytes = sink.bytes;
    if (fetched && result != MILLPOND_ERR_ARGUMENT) *fetched = how;
    return result;
}

int millpond_fetch_alloc(struct millpond *pond, const void *key, size_t key_bytes, millpond_loader loader, void *arg,
                         const struct millpond_fetch *options, void **value, size_t *value_bytes, struct millpond_fetched *fetched) {
    struct sink sink = {.grows = 1};
    struct millpond_fetched how = {0};
    if (!value) return MILLPOND_ERR_ARGUMENT;
    int result = fetch(pond, key, key_bytes, loader, arg, options ? options : &no_options, &sink, &how);
    if (fetched && result != MILLPOND_ERR_ARGUMENT) *fetched = how;
    if (result != MILLPOND_OK && result != MILLPOND_STALE) {
        free(sink.buf);
        return result;
    }
    sink.buf[sink.bytes] = 0;
    *value = sink.buf;
    if (value_bytes) *value_bytes = sink.bytes;
    return result;
}
