/* SPDX-License-Identifier: MIT */
/* engine_lmdb.c: LMDB, as fast as it can be asked to be: NOSYNC and WRITEMAP, one transaction for each set, a read transaction that is
 * renewed for each get. An environment must not cross a fork, so each process opens its own. */
#include "engine.h"

#include "host.h"

#include <lmdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct lmdb {
    struct engine_spec spec;
    MDB_env *env;
    MDB_dbi dbi;
    MDB_txn *reading;
};

static void *lmdb_open(const struct engine_spec *spec, char *why) {
    (void)why;
    struct lmdb *lmdb = host_alloc(sizeof *lmdb);
    lmdb->spec = *spec;
    return lmdb;
}

static bool lmdb_attach(void *handle, char *why) {
    struct lmdb *lmdb = handle;
    MDB_txn *txn = NULL;
    int result = mdb_env_create(&lmdb->env);
    if (result == 0)
        result = mdb_env_set_mapsize(lmdb->env, (size_t)((lmdb->spec.size_bytes + 4095) & ~UINT64_C(4095)));
    if (result == 0)
        result = mdb_env_set_maxreaders(lmdb->env, lmdb->spec.workers * 2 + 8);
    if (result == 0)
        result = mdb_env_open(lmdb->env, lmdb->spec.folder, MDB_NOSYNC | MDB_WRITEMAP, 0600);
    if (result == 0)
        result = mdb_txn_begin(lmdb->env, NULL, 0, &txn);
    if (result == 0)
        result = mdb_dbi_open(txn, NULL, 0, &lmdb->dbi);
    if (result == 0)
        result = mdb_txn_commit(txn);
    if (result == 0)
        result = mdb_txn_begin(lmdb->env, NULL, MDB_RDONLY, &lmdb->reading);
    if (result != 0)
        return host_why(why, "%s: LMDB says: %s", lmdb->spec.folder, mdb_strerror(result));
    mdb_txn_reset(lmdb->reading);
    return true;
}

static int read_one(const struct lmdb *lmdb, const void *key, size_t key_bytes, void *buf, size_t buf_bytes, size_t *value_bytes) {
    MDB_val wanted = {key_bytes, NULL}, found;
    memcpy(&wanted.mv_data, &key, sizeof key); /* LMDB does not write there, but does not say so */
    int result = mdb_get(lmdb->reading, lmdb->dbi, &wanted, &found);
    if (result != 0)
        return result == MDB_NOTFOUND ? MILLPOND_MISS : MILLPOND_ERR_SYSTEM;
    *value_bytes = found.mv_size;
    if (found.mv_size > buf_bytes)
        return MILLPOND_TOO_SMALL;
    memcpy(buf, found.mv_data, found.mv_size);
    return MILLPOND_OK;
}

static int lmdb_get(void *handle, const void *key, size_t key_bytes, void *buf, size_t buf_bytes, size_t *value_bytes) {
    struct lmdb *lmdb = handle;
    if (mdb_txn_renew(lmdb->reading) != 0)
        return MILLPOND_ERR_SYSTEM;
    int result = read_one(lmdb, key, key_bytes, buf, buf_bytes, value_bytes);
    mdb_txn_reset(lmdb->reading);
    return result;
}

/* One transaction for all of them: what a user of LMDB would do. */
static void lmdb_mget(void *handle, struct millpond_mget *gets, size_t count) {
    struct lmdb *lmdb = handle;
    bool open = mdb_txn_renew(lmdb->reading) == 0;
    for (size_t i = 0; i < count; i++)
        gets[i].result = open ? read_one(lmdb, gets[i].key, gets[i].key_bytes, gets[i].buf, gets[i].buf_bytes, &gets[i].value_bytes)
                              : MILLPOND_ERR_SYSTEM;
    if (open)
        mdb_txn_reset(lmdb->reading);
}

static int lmdb_set(void *handle, const void *key, size_t key_bytes, const void *value, size_t value_bytes) {
    struct lmdb *lmdb = handle;
    MDB_val name = {key_bytes, NULL}, data = {value_bytes, NULL};
    MDB_txn *txn;
    memcpy(&name.mv_data, &key, sizeof key);
    memcpy(&data.mv_data, &value, sizeof value);
    if (mdb_txn_begin(lmdb->env, NULL, 0, &txn) != 0)
        return MILLPOND_ERR_SYSTEM;
    if (mdb_put(txn, lmdb->dbi, &name, &data, 0) != 0) {
        mdb_txn_abort(txn);
        return MILLPOND_ERR_FULL;
    }
    return mdb_txn_commit(txn) == 0 ? 0 : MILLPOND_ERR_SYSTEM;
}

static uint64_t lmdb_memory(void *handle) {
    const struct lmdb *lmdb = handle;
    MDB_envinfo info;
    MDB_stat stat;
    MDB_env *env;
    uint64_t bytes = 0;
    if (mdb_env_create(&env) != 0)
        return 0;
    if (mdb_env_open(env, lmdb->spec.folder, MDB_RDONLY, 0600) == 0 && mdb_env_info(env, &info) == 0 && mdb_env_stat(env, &stat) == 0)
        bytes = (uint64_t)(info.me_last_pgno + 1) * stat.ms_psize;
    mdb_env_close(env);
    return bytes;
}

static void lmdb_detach(void *handle) {
    struct lmdb *lmdb = handle;
    if (lmdb->reading)
        mdb_txn_abort(lmdb->reading);
    if (lmdb->env)
        mdb_env_close(lmdb->env);
    lmdb->reading = NULL;
    lmdb->env = NULL;
}

static void lmdb_close(void *handle) {
    free(handle);
}

const struct engine engine_lmdb = {
    .name = "lmdb", .about = "LMDB, NOSYNC and WRITEMAP", .open = lmdb_open, .attach = lmdb_attach, .get = lmdb_get, .set = lmdb_set,
    .mget = lmdb_mget, .memory = lmdb_memory, .detach = lmdb_detach, .close = lmdb_close};
