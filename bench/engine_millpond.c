/* SPDX-License-Identifier: MIT */
/* engine_millpond.c: this library. Opened once in the master; children use the handle they inherit. */
#include "engine.h"

#include "host.h"

#include <stdio.h>
#include <stdlib.h>

static void *pond_open(const struct engine_spec *spec, char *why) {
    char path[HOST_PATH_BYTES + 16], errmsg[MILLPOND_ERRMSG_BYTES];
    struct millpond_options options = MILLPOND_OPTIONS_INIT;
    struct millpond *pond;
    options.flags = MILLPOND_CREATE | MILLPOND_EXCLUSIVE;
    if (spec->hugepages)
        options.flags |= MILLPOND_HUGEPAGES;
    options.size_bytes = spec->size_bytes;
    options.entry_bytes = (uint32_t)(spec->key_bytes + spec->value_bytes);
    snprintf(path, sizeof path, "%s/millpond", spec->folder);
    if (millpond_open(&pond, path, &options, errmsg) != MILLPOND_OK)
        return host_why(why, "%s", errmsg), NULL;
    return pond;
}

static bool pond_attach(void *handle, char *why) {
    (void)handle;
    (void)why;
    return true;
}

static int pond_get(void *handle, const void *key, size_t key_bytes, void *buf, size_t buf_bytes, size_t *value_bytes) {
    return millpond_get(handle, key, key_bytes, buf, buf_bytes, value_bytes);
}

static int pond_set(void *handle, const void *key, size_t key_bytes, const void *value, size_t value_bytes) {
    return millpond_set(handle, key, key_bytes, value, value_bytes, 0);
}

static void pond_mget(void *handle, struct millpond_mget *gets, size_t count) {
    millpond_mget(handle, gets, count);
}

/* The share of the file that is in use: what is left over could hold more items. */
static uint64_t pond_memory(void *handle) {
    struct millpond_stats stats = {0};
    millpond_stats(handle, -1, &stats);
    if (stats.segments == 0)
        return stats.file_bytes;
    return (uint64_t)((double)stats.file_bytes * (double)(stats.segments - stats.segments_free) / (double)stats.segments);
}

static void pond_detach(void *handle) {
    (void)handle;
}

static void pond_close(void *handle) {
    millpond_close(handle);
}

const struct engine engine_millpond = {
    .name = "millpond", .about = "this library", .open = pond_open, .attach = pond_attach, .get = pond_get, .set = pond_set,
    .mget = pond_mget, .memory = pond_memory, .detach = pond_detach, .close = pond_close};
