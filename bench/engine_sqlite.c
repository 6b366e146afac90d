/* SPDX-License-Identifier: MIT */
/* engine_sqlite.c: SQLite as a cache: one table with the key as its primary key, WAL, synchronous off, memory-mapped reading, one
 * statement prepared for each kind of request. A connection must not cross a fork, so each process opens its own. */
#include "engine.h"

#include "host.h"

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BUSY_MS = 5000 };

struct sqlite {
    struct engine_spec spec;
    sqlite3 *db;
    sqlite3_stmt *get, *set;
};

static void *sqlite_open(const struct engine_spec *spec, char *why) {
    (void)why;
    struct sqlite *sqlite = host_alloc(sizeof *sqlite);
    sqlite->spec = *spec;
    return sqlite;
}

static bool sqlite_attach(void *handle, char *why) {
    struct sqlite *sqlite = handle;
    char path[HOST_PATH_BYTES + 64], setup[512];
    snprintf(path, sizeof path, "%s/cache.sqlite", sqlite->spec.folder);
    snprintf(setup, sizeof setup,
             "PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF; PRAGMA mmap_size=%llu;"
             "CREATE TABLE IF NOT EXISTS cache (key BLOB PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;",
             (unsigned long long)sqlite->spec.size_bytes);
    int result = sqlite3_open(path, &sqlite->db);
    if (result == SQLITE_OK)
        result = sqlite3_busy_timeout(sqlite->db, BUSY_MS);
    if (result == SQLITE_OK)
        result = sqlite3_exec(sqlite->db, setup, NULL, NULL, NULL);
    if (result == SQLITE_OK)
        result = sqlite3_prepare_v2(sqlite->db, "SELECT value FROM cache WHERE key = ?", -1, &sqlite->get, NULL);
    if (result == SQLITE_OK)
        result = sqlite3_prepare_v2(sqlite->db, "INSERT OR REPLACE INTO cache VALUES (?, ?)", -1, &sqlite->set, NULL);
    return result == SQLITE_OK || host_why(why, "%s: SQLite says: %s", path, sqlite3_errstr(result));
}

static int sqlite_get(void *handle, const void *key, size_t key_bytes, void *buf, size_t buf_bytes, size_t *value_bytes) {
    struct sqlite *sqlite = handle;
    int result = MILLPOND_ERR_SYSTEM;
    sqlite3_bind_blob64(sqlite->get, 1, key, key_bytes, SQLITE_STATIC);
    int step = sqlite3_step(sqlite->get);
    if (step == SQLITE_DONE)
        result = MILLPOND_MISS;
    if (step == SQLITE_ROW) {
        const void *value = sqlite3_column_blob(sqlite->get, 0);
        *value_bytes = (size_t)sqlite3_column_bytes(sqlite->get, 0);
        result = *value_bytes <= buf_bytes ? MILLPOND_OK : MILLPOND_TOO_SMALL;
        if (result == MILLPOND_OK && *value_bytes > 0)
            memcpy(buf, value, *value_bytes);
    }
    sqlite3_reset(sqlite->get);
    return result;
}

static int sqlite_set(void *handle, const void *key, size_t key_bytes, const void *value, size_t value_bytes) {
    struct sqlite *sqlite = handle;
    sqlite3_bind_blob64(sqlite->set, 1, key, key_bytes, SQLITE_STATIC);
    sqlite3_bind_blob64(sqlite->set, 2, value, value_bytes, SQLITE_STATIC);
    int step = sqlite3_step(sqlite->set);
    sqlite3_reset(sqlite->set);
    return step == SQLITE_DONE ? 0 : MILLPOND_ERR_FULL;
}

static uint64_t sqlite_memory(void *handle) {
    const struct sqlite *sqlite = handle;
    return host_folder_bytes(sqlite->spec.folder);
}

static void sqlite_detach(void *handle) {
    struct sqlite *sqlite = handle;
    sqlite3_finalize(sqlite->get);
    sqlite3_finalize(sqlite->set);
    sqlite3_close(sqlite->db);
    sqlite->get = sqlite->set = NULL;
    sqlite->db = NULL;
}

static void sqlite_close(void *handle) {
    free(handle);
}

const struct engine engine_sqlite = {
    .name = "sqlite", .about = "SQLite, WAL, synchronous off", .open = sqlite_open, .attach = sqlite_attach, .get = sqlite_get,
    .set = sqlite_set, .memory = sqlite_memory, .detach = sqlite_detach, .close = sqlite_close};
