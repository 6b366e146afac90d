/* SPDX-License-Identifier: MIT */
/* What together.h promises. */

#include "together.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ACCOUNTS 16

static void require_keys(struct millpond *pond, uint64_t count) {
    for (uint64_t i = 0; i < count; i++) REQUIRE(support_get(pond, i) == i + 1, "key %llu", (unsigned long long)i);
}

static size_t account(char name[16], uint64_t number) { return (size_t)snprintf(name, 16, "account %llu", (unsigned long long)number); }

/* Moves an amount between two accounts; anything else may be in the way. */
static void transfer(struct millpond *pond, uint64_t turn) {
    struct millpond_txn *txn;
    int64_t amount = (int64_t)(turn % 90) + 1;
    REQUIRE(millpond_txn_begin(pond, &txn) == MILLPOND_OK, "begin");
    for (uint64_t side = 0; side < 2; side++) {
        char name[16];
        size_t bytes = account(name, (turn + side * (1 + turn % (ACCOUNTS - 1))) % ACCOUNTS);
        int result = millpond_txn_incr(txn, name, bytes, side ? amount : -amount, NULL, NULL);
        if (result == MILLPOND_OK) continue;
        REQUIRE(result == MILLPOND_CHANGED || result == MILLPOND_MISS, "incr: %d", result); /* a file that is being replaced */
        REQUIRE(millpond_txn_commit(txn) == MILLPOND_CHANGED, "a commit that must fail");
        return;
    }
    int result = millpond_txn_commit(txn);
    REQUIRE(result == MILLPOND_OK || result == MILLPOND_CHANGED, "commit: %d", result);
}

static void require_the_sum(struct millpond *pond) {
    char names[ACCOUNTS][16], values[ACCOUNTS][24];
    struct millpond_mget items[ACCOUNTS];
    int64_t sum = 0;
    memset(items, 0, sizeof items);
    for (uint64_t i = 0; i < ACCOUNTS; i++)
        items[i] = (struct millpond_mget){names[i], account(names[i], i), values[i], sizeof values[i] - 1, 0, 0};
    int result = millpond_snapshot(pond, items, ACCOUNTS);
    REQUIRE(result == MILLPOND_OK, "snapshot: %d", result);
    for (uint64_t i = 0; i < ACCOUNTS; i++) {
        REQUIRE(items[i].result == MILLPOND_OK, "account %llu: %d", (unsigned long long)i, items[i].result);
        values[i][items[i].value_bytes] = 0;
        sum += strtoll(values[i], NULL, 10);
    }
    REQUIRE(sum == 1000 * ACCOUNTS, "the sum is %lld", (long long)sum);
}

/* Loads 8 bytes that follow from the key. */
uint64_t together_value(const void *key, size_t key_bytes) {
    uint64_t value = 0x6d696c6c;
    for (size_t i = 0; i < key_bytes; i++) value = value * 31 + ((const unsigned char *)key)[i];
    return value;
}

int together_load(void *arg, const void *key, size_t key_bytes, struct millpond_load *load) {
    struct together_loading *loading = arg;
    loading->value = together_value(key, key_bytes);
    if (loading->pause_us) support_sleep_us(loading->pause_us);
    load->value = &loading->value;
    load->value_bytes = sizeof loading->value;
    return MILLPOND_OK;
}

void together_fetch(struct millpond *pond, uint64_t turn, unsigned pause_us) {
    static const struct millpond_fetch options = {.ttl_ms = 20, .grace_ms = 20};
    struct together_loading loading = {.pause_us = pause_us};
    char key[24];
    uint64_t value = 0;
    size_t bytes = 0, key_bytes = (size_t)snprintf(key, sizeof key, "fetched %llu", (unsigned long long)(turn % 7));
    int result = millpond_fetch(pond, key, key_bytes, together_load, &loading, &options, &value, sizeof value, &bytes, NULL);
    REQUIRE(result == MILLPOND_OK || result == MILLPOND_STALE, "fetch: %d (%s)", result, millpond_strerror(result));
    REQUIRE(bytes == sizeof value && value == together_value(key, key_bytes), "a fetch answers something else");
}

static void lease_one(struct millpond *pond, uint64_t turn) {
    static const struct millpond_fetch options = {.ttl_ms = 20};
    struct millpond_lease lease;
    char key[24];
    uint64_t value = 0;
    size_t bytes = 0, key_bytes = (size_t)snprintf(key, sizeof key, "leased %llu", (unsigned long long)(turn % 5));
    int result = millpond_lease_acquire(pond, key, key_bytes, &options, &value, sizeof value, &bytes, &lease);
    REQUIRE(result == MILLPOND_OK || result == MILLPOND_MISS, "acquire: %d", result);
    REQUIRE(result != MILLPOND_OK || value == together_value(key, key_bytes), "a lease shows something else");
    if (lease.state == MILLPOND_LEASE_BUSY) {
        result = millpond_lease_wait(pond, &lease, 2, NULL);
        REQUIRE(result == MILLPOND_OK || result == MILLPOND_ERR_TIMEOUT, "wait: %d", result);
    }
    if (lease.state != MILLPOND_LEASE_WON) return;
    value = together_value(key, key_bytes);
    result = turn % 3 ? millpond_lease_fill(pond, &lease, key, key_bytes, &value, sizeof value, &options)
                      : millpond_lease_abandon(pond, &lease, key, key_bytes, 0);
    REQUIRE(result == MILLPOND_OK || result == MILLPOND_CHANGED, "end of a lease: %d", result);
}

static void resize_one(struct millpond *pond, uint64_t turn) {
    char errmsg[MILLPOND_ERRMSG_BYTES] = "";
    int result = millpond_resize(pond, (1 + turn % 3) << 20, errmsg);
    REQUIRE(result == MILLPOND_OK, "resize: %d: %s", result, errmsg);
}

void together_do(struct millpond *pond, enum together kind, uint64_t turn) {
    switch (kind) {
    case TOGETHER_TRANSFER: transfer(pond, turn); break;
    case TOGETHER_SNAPSHOT: require_the_sum(pond); break;
    case TOGETHER_FETCH: together_fetch(pond, turn, 200); break;
    case TOGETHER_LEASE: lease_one(pond, turn); break;
    case TOGETHER_RESIZE: resize_one(pond, turn); break;
    default: require_keys(pond, 10);
    }
}

void together_begin(struct millpond *pond) {
    for (uint64_t i = 0; i < TOGETHER_KEYS; i++) support_set(pond, i, i + 1, 32 + i % 900);
    for (uint64_t i = 0; i < ACCOUNTS; i++) {
        char name[16];
        size_t bytes = account(name, i);
        REQUIRE(millpond_set(pond, name, bytes, "1000", 4, 0) == MILLPOND_OK, "set");
    }
}

void together_require(struct millpond *pond) {
    require_keys(pond, TOGETHER_KEYS);
    require_the_sum(pond);
}
