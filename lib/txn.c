/* SPDX-License-Identifier: MIT */
/* Transactions, as a process remembers them: optimistic, without a lock until the commit.
 *
 * A list of keys, each with what was read (a version, or that it was absent) and what shall become of it (a copy of a value, or that it
 * goes). Nothing of it is in the file. A get sees the transaction's own changes first. The commit (commit.c) asks whether what was read is
 * still so, and makes all changes as one.
 *
 * The list is searched from its start: transactions are short. Copies go into a block inside the object, then into blocks from malloc; all
 * are freed together. */

#include "txn.h"

#include "commit.h"
#include "enter.h"
#include "large.h"
#include "publish.h"
#include "reader.h"
#include "write.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK_BYTES 4096u

int pond_txn_begin(struct pond_map *map, struct millpond *pond, struct millpond_txn **out) {
    if (map->refusal != MILLPOND_OK) return map->refusal;
    if (pond_write_inside()) return MILLPOND_ERR_REENTERED;
    pond_reader_mine(map); /* from its first slot on a process notices its forks */
    struct millpond_txn *txn = malloc(sizeof *txn);
    if (!txn) return MILLPOND_ERR_NO_MEMORY;
    txn->pond = pond;
    txn->creation = pond_map_creation(map);
    txn->fork = pond_reader_fork();
    txn->items = txn->first;
    txn->count = txn->used = 0;
    txn->changed = 0;
    txn->room = POND_TXN_ITEMS_INLINE;
    txn->block = txn->bytes;
    txn->block_room = sizeof txn->bytes;
    txn->blocks = NULL;
    *out = txn;
    return MILLPOND_OK;
}

void pond_txn_forget(struct millpond_txn *txn) {
    while (txn->blocks) {
        struct pond_txn_block *next = txn->blocks->next;
        free(txn->blocks);
        txn->blocks = next;
    }
    if (txn->items != txn->first) free(txn->items);
    free(txn);
}

/* Memory that lives as long as the transaction, or NULL. */
static void *take(struct millpond_txn *txn, size_t bytes) {
    bytes = (bytes + 7) & ~(size_t)7;
    if (bytes > txn->block_room - txn->used) {
        size_t room = bytes > BLOCK_BYTES / 2 ? bytes : BLOCK_BYTES;
        struct pond_txn_block *block = malloc(sizeof *block + room);
        if (!block) return NULL;
        block->next = txn->blocks;
        txn->blocks = block;
        if (room == bytes) return block->bytes; /* a block of its own: the other one goes on */
        txn->block = block->bytes;
        txn->block_room = (uint32_t)room;
        txn->used = 0;
    }
    void *at = txn->block + txn->used;
    txn->used += (uint32_t)bytes;
    return at;
}

/* What every call asks first. */
static int usable(const struct pond_map *map, const struct millpond_txn *txn) {
    if (pond_write_inside()) return MILLPOND_ERR_REENTERED;
    if (txn->fork != pond_reader_fork()) return MILLPOND_ERR_ARGUMENT;
    return txn->creation == pond_map_creation(map) ? MILLPOND_OK : MILLPOND_CHANGED;
}

static struct pond_txn_item *find(const struct millpond_txn *txn, const struct pond_key *key) {
    for (uint32_t i = 0; i < txn->count; i++) {
        struct pond_txn_item *item = &txn->items[i];
        if (item->key.hash == key->hash && item->key.count == key->count && memcmp(item->key.bytes, key->bytes, key->count) == 0)
            return item;
    }
    return NULL;
}

/* A line for a key that has none. */
static int add(const struct pond_map *map, struct millpond_txn *txn, const struct pond_key *key, struct pond_txn_item **out) {
    if (txn->count == MILLPOND_TXN_KEYS_MAX) return MILLPOND_ERR_TXN_TOO_LARGE;
    if (txn->count == txn->room) {
        size_t room = (size_t)txn->room * 4;
        struct pond_txn_item *larger = malloc(room * sizeof *larger);
        if (!larger) return MILLPOND_ERR_NO_MEMORY;
        memcpy(larger, txn->items, txn->count * sizeof *larger);
        if (txn->items != txn->first) free(txn->items);
        txn->items = larger;
        txn->room = (uint32_t)room;
    }
    void *copy = take(txn, key->count);
    if (!copy) return MILLPOND_ERR_NO_MEMORY;
    memcpy(copy, key->bytes, key->count);
    struct pond_txn_item *item = &txn->items[txn->count++];
    item->key = (struct pond_key){copy, key->count, key->hash, NULL, 0};
    item->shard = pond_shard_of(&map->geometry, key->hash);
    item->kind = 0;
    item->value = NULL;
    item->value_bytes = 0;
    item->ttl_ms = item->grace_ms = item->group = 0;
    *out = item;
    return MILLPOND_OK;
}

/* ---- get ---- */

static int give(const struct pond_txn_item *item, void *buf, size_t buf_bytes, size_t *value_bytes) {
    char text[24];
    const void *value = item->value;
    size_t bytes = item->value_bytes;
    if (item->kind & POND_TXN_REMOVE) return MILLPOND_MISS;
    if (item->kind & POND_TXN_COUNTER) {
        value = text;
        bytes = (size_t)snprintf(text, sizeof text, "%lld", (long long)item->number);
    }
    if (value_bytes) *value_bytes = bytes;
    if (bytes > buf_bytes) return MILLPOND_TOO_SMALL;
    if (bytes) memcpy(buf, value, bytes);
    return MILLPOND_OK;
}

int pond_txn_get(struct pond_map *map, struct millpond_txn *txn, const struct pond_key *key, void *buf, size_t buf_bytes,
                 size_t *value_bytes) {
    int result = usable(map, txn);
    if (result != MILLPOND_OK) return result;
    struct pond_txn_item *item = find(txn, key);
    if (item && item->kind & (POND_TXN_PUT | POND_TXN_REMOVE)) return give(item, buf, buf_bytes, value_bytes);
    if (!item) {
        int added = add(map, txn, key, &item);
        if (added != MILLPOND_OK) return added;
    }
    uint64_t version = 0;
    size_t bytes = 0;
    result = pond_read_get(map, key, buf, buf_bytes, &bytes, &version);
    if (item->kind & POND_TXN_READ && item->version != version) {
        txn->changed = 1;
        return MILLPOND_CHANGED;
    }
    item->kind |= POND_TXN_READ;
    item->version = version;
    if (value_bytes && result != MILLPOND_MISS) *value_bytes = bytes;
    return result;
}

/* ---- set, delete ---- */

/* Is there room in the redo list of its shard, and in the shard, for one change more? */
static int bounded(const struct pond_map *map, const struct millpond_txn *txn, const struct pond_txn_item *but, uint32_t shard,
                   uint64_t bytes) {
    const struct pond_geometry *g = &map->geometry;
    uint64_t sum = bytes, changes = 0;
    for (uint32_t i = 0; i < txn->count; i++) {
        const struct pond_txn_item *item = &txn->items[i];
        if (item == but || item->shard != shard || !(item->kind & (POND_TXN_PUT | POND_TXN_REMOVE))) continue;
        changes++;
        sum += item->key.count + item->value_bytes;
    }
    if (changes == 0) return 1; /* alone it need only be a value that may be stored */
    return changes < POND_REDO_OPS_MAX && sum <= (uint64_t)g->segment_count * g->segment_bytes / 4;
}

static int change(struct pond_map *map, struct millpond_txn *txn, const struct pond_key *key, size_t value_bytes,
                  struct pond_txn_item **out) {
    struct pond_txn_item *item = find(txn, key);
    if (!bounded(map, txn, item, pond_shard_of(&map->geometry, key->hash), key->count + value_bytes)) return MILLPOND_ERR_TXN_TOO_LARGE;
    *out = item;
    return item ? MILLPOND_OK : add(map, txn, key, out);
}

int pond_txn_set(struct pond_map *map, struct millpond_txn *txn, const struct pond_key *key, const void *value, size_t value_bytes,
                 uint64_t ttl_ms, uint64_t grace_ms) {
    struct pond_txn_item *item;
    int result = usable(map, txn);
    if (result != MILLPOND_OK) return result;
    struct pond_content content = pond_publish_content(key, value, value_bytes, ttl_ms, 0, 0);
    if (key->group) content.flags |= POND_ENTRY_GROUP;
    uint32_t units;
    int large;
    if (!pond_publish_fits(&map->geometry, &content, value_bytes, &units, &large)) return MILLPOND_ERR_TOO_LARGE;
    void *copy = take(txn, value_bytes ? value_bytes : 1);
    if (!copy) return MILLPOND_ERR_NO_MEMORY;
    if (value_bytes) memcpy(copy, value, value_bytes);
    result = change(map, txn, key, value_bytes, &item);
    if (result != MILLPOND_OK) return result;
    item->kind = (item->kind & POND_TXN_READ) | POND_TXN_PUT;
    item->value = copy;
    item->value_bytes = value_bytes;
    item->ttl_ms = ttl_ms;
    item->grace_ms = grace_ms;
    item->group = key->group;
    return MILLPOND_OK;
}

int pond_txn_delete(struct pond_map *map, struct millpond_txn *txn, const struct pond_key *key) {
    struct pond_txn_item *item;
    int result = usable(map, txn);
    if (result == MILLPOND_OK) result = change(map, txn, key, 0, &item);
    if (result != MILLPOND_OK) return result;
    item->kind = (item->kind & POND_TXN_READ) | POND_TXN_REMOVE;
    item->value = NULL;
    item->value_bytes = 0;
    return MILLPOND_OK;
}

/* Reads, adds, and puts a counter. */
int pond_txn_incr(struct pond_map *map, struct millpond_txn *txn, const struct pond_key *key, int64_t delta,
                  const struct millpond_incr *create, int64_t *value) {
    unsigned char text[24];
    size_t bytes = 0;
    int64_t number, sum;
    if (64 + key->count > (uint64_t)map->geometry.entry_units_max * POND_UNIT_BYTES) return MILLPOND_ERR_TOO_LARGE;
    int result = pond_txn_get(map, txn, key, text, sizeof text, &bytes);
    if (result == MILLPOND_TOO_SMALL) return MILLPOND_ERR_NOT_A_NUMBER;
    int absent = result == MILLPOND_MISS && create != NULL;
    if (absent)
        number = create->initial;
    else if (result != MILLPOND_OK)
        return result;
    else if (!pond_write_number(text, (uint32_t)bytes, &number))
        return MILLPOND_ERR_NOT_A_NUMBER;
    if (__builtin_add_overflow(number, delta, &sum)) return MILLPOND_ERR_OVERFLOW;
    struct pond_txn_item *item;
    result = change(map, txn, key, sizeof sum, &item);
    if (result != MILLPOND_OK) return result;
    /* One that this transaction has put keeps the time that it was given; one of the pond keeps its own, commit.c sees to that. */
    if (absent || !(item->kind & POND_TXN_PUT)) {
        item->ttl_ms = absent ? create->ttl_ms : 0;
        item->grace_ms = 0;
        item->group = absent ? key->group : 0;
    }
    int keeps = !absent && (!(item->kind & POND_TXN_PUT) || item->kind & POND_TXN_KEEP);
    item->kind = (item->kind & POND_TXN_READ) | POND_TXN_PUT | POND_TXN_COUNTER | (keeps ? (unsigned)POND_TXN_KEEP : 0);
    item->number = sum;
    item->value = NULL;
    item->value_bytes = sizeof sum;
    if (value) *value = sum;
    return MILLPOND_OK;
}

int pond_txn_commit(struct pond_map *map, uint32_t timeout_ms, struct millpond_txn *txn) {
    int result = usable(map, txn);
    if (result == MILLPOND_OK && map->refusal != MILLPOND_OK) result = map->refusal;
    if (result == MILLPOND_OK && txn->changed) result = MILLPOND_CHANGED;
    return result == MILLPOND_OK && txn->count ? pond_commit(map, timeout_ms, txn->items, txn->count) : result;
}
