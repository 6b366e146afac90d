/* SPDX-License-Identifier: MIT */
/* The public functions of transactions: txn.c, behind the checks of millpond.c. */

#include "handle.h"
#include "txn.h"

int millpond_txn_begin(struct millpond *pond, struct millpond_txn **txn) {
    struct pond_map *map;
    int result;
    if (!txn) return MILLPOND_ERR_ARGUMENT;
    do {
        map = enter_writing(pond);
        result = leave(pond_replaced(map) ? MILLPOND_ERR_REPLACED : pond_txn_begin(map, pond, txn));
    } while (pond_follow_refused(pond, &result));
    return result;
}

int millpond_txn_get(struct millpond_txn *txn, const void *key, size_t key_bytes, void *buf, size_t buf_bytes, size_t *value_bytes) {
    struct pond_key k;
    if (!txn) return MILLPOND_ERR_ARGUMENT;
    struct pond_map *map = enter(txn->pond);
    if (!key_of(map, key, key_bytes, &k) || (!buf && buf_bytes)) return leave(MILLPOND_ERR_ARGUMENT);
    return leave(pond_txn_get(map, txn, &k, buf, buf_bytes, value_bytes));
}

int millpond_txn_set_ex(struct millpond_txn *txn, const void *key, size_t key_bytes, const void *value, size_t value_bytes,
                        const struct millpond_set *options) {
    static const struct millpond_set plain;
    const struct millpond_set *o = options ? options : &plain;
    struct pond_key k;
    uint64_t group;
    if (!txn || o->when != MILLPOND_ALWAYS || o->version != 0 || o->ttl_ms > POND_TTL_MS_MAX || o->grace_ms > POND_TTL_MS_MAX ||
        !pond_group_of(o->group, o->group_bytes, o->group_number, txn->pond->group, &group))
        return MILLPOND_ERR_ARGUMENT;
    struct pond_map *map = enter(txn->pond);
    if ((!value && value_bytes) || !key_of(map, key, key_bytes, &k)) return leave(MILLPOND_ERR_ARGUMENT);
    k.group = group;
    return leave(pond_txn_set(map, txn, &k, value, value_bytes, o->ttl_ms, o->grace_ms));
}

int millpond_txn_set(struct millpond_txn *txn, const void *key, size_t key_bytes, const void *value, size_t value_bytes, uint64_t ttl_ms) {
    struct millpond_set options = {.ttl_ms = ttl_ms};
    return millpond_txn_set_ex(txn, key, key_bytes, value, value_bytes, &options);
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
    k.group = txn->pond->group;
    return leave(pond_txn_incr(map, txn, &k, delta, create, value));
}

int millpond_txn_commit(struct millpond_txn *txn) {
    if (!txn) return MILLPOND_ERR_ARGUMENT;
    struct pond_map *map = enter(txn->pond);
    int result = leave(pond_txn_commit(map, txn->pond->lock_timeout_ms, txn));
    /* What it remembers is of the file that was replaced: the caller begins again, in the other one. */
    if (pond_follow_refused(txn->pond, &result)) result = MILLPOND_CHANGED;
    if (result != MILLPOND_ERR_REENTERED) pond_txn_forget(txn);
    return result;
}

void millpond_txn_abort(struct millpond_txn *txn) {
    if (txn) pond_txn_forget(txn);
}
