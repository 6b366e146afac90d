/* SPDX-License-Identifier: MIT */
/* engine_tdb.c: TDB with robust mutexes where the system has them, no synchronising. The master keeps its handle open, because the file
 * is cleared by whoever opens it first; children reopen theirs, because file locks do not cross a fork. */
#include "engine.h"

#include "host.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h> /* tdb.h needs sig_atomic_t */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <tdb.h>

struct tdb {
    struct tdb_context *context;
    char folder[HOST_PATH_BYTES + 32];
};

static void *tdb_engine_open(const struct engine_spec *spec, char *why) {
    struct tdb *tdb = host_alloc(sizeof *tdb);
    char path[HOST_PATH_BYTES + 64];
    int flags = TDB_CLEAR_IF_FIRST | TDB_NOSYNC | TDB_INCOMPATIBLE_HASH;
    if (tdb_runtime_check_for_robust_mutexes())
        flags |= TDB_MUTEX_LOCKING;
    int chains = spec->items < 100000000 ? (int)(spec->items / 2) + 1 : 50000000;
    snprintf(tdb->folder, sizeof tdb->folder, "%s", spec->folder);
    snprintf(path, sizeof path, "%s/tdb", spec->folder);
    tdb->context = tdb_open(path, chains, flags, O_RDWR | O_CREAT, 0600);
    if (!tdb->context) {
        host_why(why, "%s: TDB cannot open it: %s", path, strerror(errno));
        free(tdb);
        return NULL;
    }
    return tdb;
}

static bool tdb_attach(void *handle, char *why) {
    struct tdb *tdb = handle;
    return tdb_reopen(tdb->context) == 0 || host_why(why, "TDB cannot open its file again: %s", strerror(errno));
}

static TDB_DATA data_of(const void *bytes, size_t count) {
    TDB_DATA data = {NULL, count};
    memcpy(&data.dptr, &bytes, sizeof bytes); /* TDB does not write there, but does not say so */
    return data;
}

struct room {
    void *buf;
    size_t buf_bytes, value_bytes;
};

static int copy_out(TDB_DATA key, TDB_DATA data, void *private_data) {
    struct room *room = private_data;
    (void)key;
    room->value_bytes = data.dsize;
    if (data.dsize <= room->buf_bytes)
        memcpy(room->buf, data.dptr, data.dsize);
    return 0;
}

static int tdb_get(void *handle, const void *key, size_t key_bytes, void *buf, size_t buf_bytes, size_t *value_bytes) {
    struct tdb *tdb = handle;
    struct room room = {buf, buf_bytes, 0};
    if (tdb_parse_record(tdb->context, data_of(key, key_bytes), copy_out, &room) != 0)
        return tdb_error(tdb->context) == TDB_ERR_NOEXIST ? MILLPOND_MISS : MILLPOND_ERR_SYSTEM;
    *value_bytes = room.value_bytes;
    return room.value_bytes <= buf_bytes ? MILLPOND_OK : MILLPOND_TOO_SMALL;
}

static int tdb_set(void *handle, const void *key, size_t key_bytes, const void *value, size_t value_bytes) {
    struct tdb *tdb = handle;
    return tdb_store(tdb->context, data_of(key, key_bytes), data_of(value, value_bytes), TDB_REPLACE) == 0 ? 0 : MILLPOND_ERR_FULL;
}

static uint64_t tdb_memory(void *handle) {
    const struct tdb *tdb = handle;
    return host_folder_bytes(tdb->folder);
}

/* Not closed: a child that closed its handle would give back locks of its own only, and it ends right away. */
static void tdb_detach(void *handle) {
    (void)handle;
}

static void tdb_engine_close(void *handle) {
    struct tdb *tdb = handle;
    tdb_close(tdb->context);
    free(tdb);
}

const struct engine engine_tdb = {
    .name = "tdb", .about = "TDB with robust mutexes, NOSYNC", .open = tdb_engine_open, .attach = tdb_attach, .get = tdb_get,
    .set = tdb_set, .memory = tdb_memory, .detach = tdb_detach, .close = tdb_engine_close};
