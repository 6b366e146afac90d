/* SPDX-License-Identifier: MIT */
/* A store that does as a test tells it. */

#include "fake.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

struct fake *fake_new(void) {
    struct fake *fake = support_share(sizeof *fake);
    pthread_mutexattr_t attributes;
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
    pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
    pthread_mutex_init(&fake->whole, &attributes);
    pthread_mutexattr_destroy(&attributes);
    return fake;
}

static void lock(struct fake *fake) {
    if (pthread_mutex_lock(&fake->whole) == EOWNERDEAD) pthread_mutex_consistent(&fake->whole);
}

static void unlock(struct fake *fake) { pthread_mutex_unlock(&fake->whole); }

static int find(struct fake *fake, const void *key, size_t key_bytes, bool make) {
    char text[32] = "";
    REQUIRE(key_bytes < sizeof text, "the fake takes short keys");
    memcpy(text, key, key_bytes);
    for (int i = 0; i < FAKE_KEYS; i++) {
        if (make && !fake->at[i].key[0]) memcpy(fake->at[i].key, text, sizeof text);
        if (strcmp(fake->at[i].key, text) == 0) return i;
    }
    REQUIRE(!make, "the fake is full");
    return -1;
}

void fake_set(struct fake *fake, const char *key, const char *value) {
    lock(fake);
    int i = find(fake, key, strlen(key), true);
    fake->at[i].there = value != NULL;
    if (value) snprintf(fake->at[i].value, sizeof fake->at[i].value, "%s", value);
    unlock(fake);
}

const char *fake_get(struct fake *fake, const char *key) {
    int i = find(fake, key, strlen(key), false);
    return i >= 0 && fake->at[i].there ? fake->at[i].value : NULL;
}

static int begin(struct fake *fake, const struct millpond_store_call *call) {
    fake->deadline_ns = call->deadline_ns;
    if (fake->fails == MILLPOND_ERR_PERMISSION) snprintf(call->errmsg, MILLPOND_ERRMSG_BYTES, "fake: not for you; ask for it");
    return fake->fails;
}

static void end(struct fake *fake) {
    void (*meanwhile)(void *) = fake->meanwhile;
    fake->meanwhile = NULL;
    if (meanwhile) meanwhile(fake->arg);
}

static int load(void *state, struct millpond_store_item *item, const struct millpond_store_call *call) {
    struct fake *fake = state;
    fake->loads++;
    item->result = begin(fake, call);
    lock(fake);
    int i = find(fake, item->key, item->key_bytes, false);
    if (item->result == MILLPOND_OK && (i < 0 || !fake->at[i].there)) item->result = MILLPOND_MISS;
    if (item->result == MILLPOND_OK) {
        item->value = strdup(fake->at[i].value);
        item->value_bytes = strlen(item->value);
        item->ttl_ms = fake->ttl_ms;
    }
    unlock(fake);
    fake->inside++;
    support_sleep_ms((unsigned)fake->wait_ms);
    end(fake);
    fake->inside--;
    return item->result;
}

static int store(void *state, const void *key, size_t key_bytes, const void *value, size_t value_bytes, uint64_t ttl_ms,
                 const struct millpond_store_call *call) {
    struct fake *fake = state;
    char k[32] = "", v[64] = "";
    (void)ttl_ms;
    fake->stores++;
    int result = begin(fake, call);
    if (result != MILLPOND_OK) return result;
    REQUIRE(key_bytes < sizeof k && value_bytes < sizeof v, "the fake takes short values");
    memcpy(k, key, key_bytes);
    if (value_bytes) memcpy(v, value, value_bytes);
    fake_set(fake, k, v);
    end(fake);
    return MILLPOND_OK;
}

static int erase(void *state, const void *key, size_t key_bytes, const struct millpond_store_call *call) {
    struct fake *fake = state;
    fake->erases++;
    int result = begin(fake, call);
    if (result != MILLPOND_OK) return result;
    lock(fake);
    int i = find(fake, key, key_bytes, false);
    result = i >= 0 && fake->at[i].there ? MILLPOND_OK : MILLPOND_MISS;
    if (result == MILLPOND_OK) fake->at[i].there = false;
    unlock(fake);
    end(fake);
    return result;
}

static void close_fake(void *state) { ((struct fake *)state)->closes++; }

struct millpond_store fake_store(struct fake *fake) {
    return (struct millpond_store){.name = "fake", .state = fake, .load = load, .store = store, .erase = erase, .close = close_fake};
}
