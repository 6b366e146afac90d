/* SPDX-License-Identifier: MIT */
#ifndef POND_TXN_H
#define POND_TXN_H

/* Transactions: what a process remembers of one, and its commit. Results as of the public functions. */

#include "entry.h"
#include "millpond.h"
#include "read.h"

enum {
    POND_TXN_READ = 1,
    POND_TXN_PUT = 2,
    POND_TXN_REMOVE = 4,
    POND_TXN_COUNTER = 8, /* a PUT whose value is a number */
    POND_TXN_KEEP = 16    /* one that keeps the expiry and the group of what it replaces */
};

/* A key of a transaction. */
struct pond_txn_item {
    struct pond_key key; /* bytes: the transaction's own copy */
    uint32_t shard;
    uint32_t kind;    /* POND_TXN_READ, and PUT (perhaps COUNTER) or REMOVE */
    uint64_t version; /* READ: the one that was read, 0 for absent */
    void *value;      /* PUT */
    size_t value_bytes;
    int64_t number; /* COUNTER: `value` points here while it is being committed */
    uint64_t ttl_ms, grace_ms;
    uint64_t group; /* PUT: its number, 0 for none */
    /* While it is being committed. */
    struct pond_content content;
    struct pond_root *list; /* of a value in chunks */
    uint32_t units;
    int ghost;
};

#define POND_TXN_ITEMS_INLINE 4u
#define POND_TXN_BYTES_INLINE 256u

struct pond_txn_block {
    struct pond_txn_block *next;
    _Alignas(16) unsigned char bytes[];
};

struct millpond_txn {
    struct millpond *pond;
    uint64_t creation; /* of the file: another one may take its place under the handle */
    uint64_t fork;     /* which life of the process began it */
    struct pond_txn_item *items;
    uint32_t count, room;
    int changed; /* it has seen two versions of a key: it cannot be committed */
    uint32_t used, block_room;
    unsigned char *block;          /* where copies of keys and values go */
    struct pond_txn_block *blocks; /* from malloc */
    struct pond_txn_item first[POND_TXN_ITEMS_INLINE];
    unsigned char bytes[POND_TXN_BYTES_INLINE];
};

int pond_txn_begin(struct pond_map *map, struct millpond *pond, struct millpond_txn **txn);
/* Those that put look at key->group. */
int pond_txn_get(struct pond_map *map, struct millpond_txn *txn, const struct pond_key *key, void *buf, size_t buf_bytes,
                 size_t *value_bytes);
int pond_txn_set(struct pond_map *map, struct millpond_txn *txn, const struct pond_key *key, const void *value, size_t value_bytes,
                 uint64_t ttl_ms, uint64_t grace_ms);
int pond_txn_delete(struct pond_map *map, struct millpond_txn *txn, const struct pond_key *key);
int pond_txn_incr(struct pond_map *map, struct millpond_txn *txn, const struct pond_key *key, int64_t delta,
                  const struct millpond_incr *create, int64_t *value);
/* The transaction is still the caller's to forget. */
int pond_txn_commit(struct pond_map *map, uint32_t timeout_ms, struct millpond_txn *txn);
void pond_txn_forget(struct millpond_txn *txn);

#endif
