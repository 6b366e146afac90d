/* SPDX-License-Identifier: MIT */
/* What every store must do. */

#include "contract.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

char contract_said[MILLPOND_ERRMSG_BYTES];
unsigned contract_ms = 20000;

static struct millpond_store_call call_now(void) {
    contract_said[0] = 0;
    return (struct millpond_store_call){support_now_ns() + (uint64_t)contract_ms * 1000000, contract_said};
}

int contract_load(const struct millpond_store *store, const void *key, size_t key_bytes, void **value, size_t *value_bytes) {
    struct millpond_store_call call = call_now();
    struct millpond_store_item item = {.key = key, .key_bytes = key_bytes};
    int result = store->load(store->state, &item, &call);
    REQUIRE(result == item.result, "%d and %d", result, item.result);
    if (result == MILLPOND_OK) REQUIRE(item.value, "a value is never NULL");
    *value = item.value;
    *value_bytes = item.value_bytes;
    return result;
}

int contract_store(const struct millpond_store *store, const void *key, size_t key_bytes, const void *value, size_t value_bytes) {
    struct millpond_store_call call = call_now();
    return store->store(store->state, key, key_bytes, value, value_bytes, 0, &call);
}

int contract_erase(const struct millpond_store *store, const void *key, size_t key_bytes) {
    struct millpond_store_call call = call_now();
    return store->erase(store->state, key, key_bytes, &call);
}

int contract_put(const struct millpond_store *store, const char *key, const char *value) {
    return contract_store(store, key, strlen(key), value, strlen(value));
}

static bool holds(const struct millpond_store *store, const void *key, size_t key_bytes, const void *wanted, size_t wanted_bytes) {
    void *value = NULL;
    size_t bytes = 0;
    int result = contract_load(store, key, key_bytes, &value, &bytes);
    REQUIRE(result == MILLPOND_OK || result == MILLPOND_MISS, "%s", contract_said);
    bool same = result == MILLPOND_MISS ? !wanted : wanted && bytes == wanted_bytes && (bytes == 0 || memcmp(value, wanted, bytes) == 0);
    free(value);
    return same;
}

bool contract_is(const struct millpond_store *store, const char *key, const char *value) {
    return holds(store, key, strlen(key), value, value ? strlen(value) : 0);
}

void contract_require_error(const struct millpond_store *store, int result, int wanted, const char *part) {
    REQUIRE(result == wanted, "%s (%s), not %s", millpond_strerror(result), contract_said, millpond_strerror(wanted));
    const char *scheme_end = strchr(store->name, ':');
    REQUIRE(strncmp(contract_said, store->name, (size_t)(scheme_end - store->name)) == 0 && strstr(contract_said, part),
            "'%s' does not name %s and '%s'", contract_said, store->name, part);
}

/* ---- values ---- */

static void round_trip(const struct millpond_store *store, const void *key, size_t key_bytes, size_t value_bytes, uint64_t seed) {
    unsigned char *value = malloc(value_bytes + 1);
    REQUIRE(value, "no memory");
    support_fill(value, value_bytes, seed);
    int result = contract_store(store, key, key_bytes, value_bytes ? value : NULL, value_bytes);
    REQUIRE(result == MILLPOND_OK, "%zu-byte key: %s", key_bytes, contract_said);
    REQUIRE(holds(store, key, key_bytes, value, value_bytes), "%zu-byte key, %zu-byte value", key_bytes, value_bytes);
    free(value);
}

static void any_byte_is_a_key(const struct millpond_store *store) {
    for (unsigned byte = 0; byte < 256; byte++) {
        unsigned char key[3] = {(unsigned char)byte, 'x', (unsigned char)byte};
        for (size_t n = 1; n <= 3; n += 2) round_trip(store, key, n, byte % 7, byte * 4 + n);
    }
    for (unsigned byte = 0; byte < 256; byte++) {
        unsigned char key[3] = {(unsigned char)byte, 'x', (unsigned char)byte}, wanted[8];
        for (size_t n = 1; n <= 3; n += 2) {
            support_fill(wanted, byte % 7, byte * 4 + n);
            REQUIRE(holds(store, key, n, wanted, byte % 7), "byte %u", byte);
            REQUIRE(contract_erase(store, key, n) == MILLPOND_OK, "byte %u: %s", byte, contract_said);
            REQUIRE(contract_erase(store, key, n) == MILLPOND_MISS, "byte %u: %s", byte, contract_said);
            REQUIRE(holds(store, key, n, NULL, 0), "byte %u", byte);
        }
    }
}

static void long_keys(const struct millpond_store *store, size_t key_max) {
    static const size_t sizes[] = {250, 251, 252, 253, 254, 255, 256, 257, 505, 506, 507, 508, 4000, 4095, 4096, 12000, 65535};
    static const unsigned char kinds[] = {'a', 0, '%', '.', '/'};
    unsigned char *key = malloc(65535);
    REQUIRE(key, "no memory");
    for (size_t k = 0; k < sizeof kinds; k++) {
        memset(key, kinds[k], 65535);
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
            if (sizes[i] > key_max || (kinds[k] == '/' && sizes[i] > 256)) continue;
            round_trip(store, key, sizes[i], 20, sizes[i]);
            REQUIRE(contract_erase(store, key, sizes[i]) == MILLPOND_OK, "%zu bytes: %s", sizes[i], contract_said);
        }
    }
    free(key);
}

void contract_values(const struct millpond_store *store, size_t key_max) {
    REQUIRE(contract_count(store) == 0, "the store is not empty");
    REQUIRE(contract_is(store, "absent", NULL), "a key that was never stored");
    any_byte_is_a_key(store);
    long_keys(store, key_max);
    static const size_t sizes[] = {0, 1, 4096, 65536, (1 << 20) + 1, 12 << 20, 3};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) round_trip(store, "the same", 8, sizes[i], i);
    REQUIRE(contract_erase(store, "the same", 8) == MILLPOND_OK, "%s", contract_said);
    REQUIRE(contract_count(store) == 0, "something is left");
}

/* ---- a model ---- */

void contract_model(const struct millpond_store *store) {
    enum { KEYS = 20, CALLS = 1000 };
    struct support_random random = support_seed("model");
    uint64_t seeds[KEYS] = {0}; /* 0: absent */
    for (unsigned i = 1; i <= CALLS; i++) {
        char key[32];
        unsigned nth = (unsigned)support_below(&random, KEYS);
        size_t key_bytes = (size_t)snprintf(key, sizeof key, "model %u%%", nth);
        unsigned char value[200];
        size_t bytes = seeds[nth] % sizeof value;
        support_fill(value, bytes, seeds[nth]);
        switch (support_below(&random, 3)) {
        case 0: REQUIRE(holds(store, key, key_bytes, seeds[nth] ? value : NULL, bytes), "call %u, key %u", i, nth); break;
        case 1:
            seeds[nth] = i;
            bytes = i % sizeof value;
            support_fill(value, bytes, i);
            REQUIRE(contract_store(store, key, key_bytes, value, bytes) == MILLPOND_OK, "%s", contract_said);
            break;
        default:
            REQUIRE(contract_erase(store, key, key_bytes) == (seeds[nth] ? MILLPOND_OK : MILLPOND_MISS), "call %u: %s", i, contract_said);
            seeds[nth] = 0;
        }
    }
}

/* ---- list ---- */

struct seen {
    unsigned char count[2000];
    size_t others;
};

static int note(void *arg, const void *key, size_t key_bytes, uint64_t value_bytes) {
    struct seen *seen = arg;
    char text[32] = "";
    unsigned nth = 2000;
    if (key_bytes < sizeof text) {
        memcpy(text, key, key_bytes);
        sscanf(text, "list/%u", &nth);
    }
    if (nth >= 2000) {
        seen->others++;
        return 0;
    }
    REQUIRE(value_bytes == nth % 50, "key %u has %llu bytes", nth, (unsigned long long)value_bytes);
    seen->count[nth] = 1;
    return 0;
}

static struct seen list_all(const struct millpond_store *store) {
    struct seen seen = {{0}, 0};
    struct millpond_store_call call = call_now();
    REQUIRE(store->list(store->state, note, &seen, &call) == MILLPOND_OK, "%s", contract_said);
    return seen;
}

size_t contract_count(const struct millpond_store *store) {
    struct seen seen = list_all(store);
    size_t count = seen.others;
    for (size_t i = 0; i < 2000; i++) count += seen.count[i];
    return count;
}

static int stop_at_once(void *arg, const void *key, size_t key_bytes, uint64_t value_bytes) {
    (void)key, (void)key_bytes, (void)value_bytes;
    ++*(int *)arg;
    return 42;
}

void contract_list(const struct millpond_store *store) {
    char key[32], value[50] = "";
    int shown = 0;
    size_t others = contract_count(store);
    for (unsigned i = 0; i < 1300; i++) {
        size_t bytes = (size_t)snprintf(key, sizeof key, "list/%u", i);
        REQUIRE(contract_store(store, key, bytes, value, i % 50) == MILLPOND_OK, "%s", contract_said);
    }
    struct seen seen = list_all(store);
    for (unsigned i = 0; i < 2000; i++) REQUIRE(seen.count[i] == (i < 1300), "key %u", i);
    struct millpond_store_call call = call_now();
    REQUIRE(store->list(store->state, stop_at_once, &shown, &call) == 42 && shown == 1, "%d were shown", shown);
    for (unsigned i = 0; i < 1300; i++) contract_erase(store, key, (size_t)snprintf(key, sizeof key, "list/%u", i));
    REQUIRE(contract_count(store) == others, "something is left");
}

/* ---- threads, forks ---- */

struct party {
    const struct millpond_store *store;
    unsigned number;
};

/* Values carry their writer and are whole, whoever wrote last. */
static void use(const struct millpond_store *store, unsigned number, unsigned turns) {
    char key[32], said[MILLPOND_ERRMSG_BYTES];
    struct millpond_store_call call = {support_now_ns() + UINT64_C(60000000000), said};
    unsigned char value[500];
    size_t key_bytes = (size_t)snprintf(key, sizeof key, "party %u", number);
    for (unsigned i = 0; i < turns; i++) {
        struct millpond_store_item own = {.key = key, .key_bytes = key_bytes}, shared = {.key = "all", .key_bytes = 3};
        uint64_t sequence;
        support_value_write(value, 40 + i % 400, number, i);
        REQUIRE(store->store(store->state, key, key_bytes, value, 40 + i % 400, 0, &call) == MILLPOND_OK, "%s", said);
        support_value_write(value, 40 + i % 400, 0, i);
        REQUIRE(store->store(store->state, "all", 3, value, 40 + i % 400, 0, &call) == MILLPOND_OK, "%s", said);
        REQUIRE(store->load(store->state, &own, &call) == MILLPOND_OK, "%s", said);
        const char *wrong = support_value_read(own.value, own.value_bytes, number, &sequence);
        REQUIRE(!wrong && sequence == i, "%s; %llu, not %u", wrong, (unsigned long long)sequence, i);
        REQUIRE(store->load(store->state, &shared, &call) == MILLPOND_OK, "%s", said);
        wrong = support_value_read(shared.value, shared.value_bytes, 0, &sequence);
        REQUIRE(!wrong, "%s", wrong);
        free(own.value);
        free(shared.value);
    }
}

static void *thread(void *arg) {
    const struct party *party = arg;
    use(party->store, party->number, 40);
    return NULL;
}

void contract_threads(const struct millpond_store *store) {
    pthread_t threads[4];
    struct party parties[4];
    for (unsigned i = 0; i < 4; i++) {
        parties[i] = (struct party){store, i + 1};
        REQUIRE(pthread_create(&threads[i], NULL, thread, &parties[i]) == 0, "thread");
    }
    for (unsigned i = 0; i < 4; i++) pthread_join(threads[i], NULL);
}

static int child(void *arg) {
    struct party *party = arg;
    use(party->store, party->number, 15);
    if (party->number < 100) {
        party->number += 100;
        pid_t grandchild = support_fork(child, party);
        use(party->store, party->number + 100, 15);
        REQUIRE(support_wait(grandchild, 60000) == 0, "the grandchild");
    }
    use(party->store, party->number, 15);
    party->store->close(party->store->state);
    return 0;
}

void contract_forks(const struct millpond_store *store) {
    pid_t children[4];
    for (unsigned i = 0; i < 4; i++) {
        struct party party = {store, i + 1};
        use(store, 50, 5);
        children[i] = support_fork(child, &party);
    }
    use(store, 50, 40);
    for (unsigned i = 0; i < 4; i++) REQUIRE(support_wait(children[i], 60000) == 0, "child %u", i);
    use(store, 50, 5);
}

void contract_bare_child(const struct millpond_store *store) {
    REQUIRE(contract_put(store, "key", "value") == MILLPOND_OK, "%s", contract_said);
    long pid = syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, 0);
    if (pid == 0) {
        char said[MILLPOND_ERRMSG_BYTES] = "";
        struct millpond_store_call call = {support_now_ns() + UINT64_C(5000000000), said};
        struct millpond_store_item item = {.key = "key", .key_bytes = 3};
        _exit(store->load(store->state, &item, &call) == MILLPOND_ERR_STORE && strstr(said, "fork") ? 0 : 1);
    }
    REQUIRE(pid > 0 && support_wait((pid_t)pid, 20000) == 0, "the child");
}

void contract_late(const struct millpond_store *store) {
    REQUIRE(contract_put(store, "late", "value") == MILLPOND_OK, "%s", contract_said);
    contract_ms = 0;
    bool here = false;
    void *value = NULL;
    size_t bytes = 0;
    int result = contract_load(store, "late", 4, &value, &bytes);
    here = result == MILLPOND_OK && bytes == 5 && memcmp(value, "value", 5) == 0;
    free(value);
    REQUIRE(here || result == MILLPOND_ERR_STORE_TIMEOUT, "%d: %s", result, contract_said);
    contract_ms = 20000;
    REQUIRE(contract_is(store, "late", "value"), "after a call that was late");
    REQUIRE(contract_erase(store, "late", 4) == MILLPOND_OK, "%s", contract_said);
}
