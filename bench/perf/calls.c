/* SPDX-License-Identifier: MIT */
/* calls.c: the calls that are more than a get or a set, each beside the plain calls that it is made of, in interleaved rounds.
 *
 *   millpond-calls [ITEMS]      default 1000000, of 24 + 100 bytes
 *
 * Keys are drawn uniformly. Times are processor time of this process: others on the machine count only through the caches. A ratio is the
 * median of those of the rounds, each of which runs both sides one behind the other. */
#include "host.h"
#include "report.h"

#include <millpond.h>
#include <millpond_store.h>

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { ROUNDS = 31, EMPTYINGS = 9, OPERATIONS = 40000, KEY_BYTES = 24, VALUE_BYTES = 100, BATCH = 8 };

static struct millpond *pond;
static uint64_t items, seed;
static int failed;

static void check(int result) {
    if (result != MILLPOND_OK) failed = result;
}

/* Cheap beside what is measured. */
static void spell(char key[KEY_BYTES + 1], uint64_t number) {
    memcpy(key, "calls:0000000000", 16);
    for (int i = KEY_BYTES - 1; i >= 16; i--, number >>= 4) key[i] = "0123456789abcdef"[number & 15];
    key[KEY_BYTES] = 0;
}

static void next_key(char key[KEY_BYTES + 1]) {
    seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    spell(key, (seed >> 33) % items);
}

/* Nobody comes here while everything is there. */
static int load_nothing(void *arg, const void *key, size_t key_bytes, struct millpond_load *load) {
    (void)arg, (void)key, (void)key_bytes, (void)load;
    return MILLPOND_ERR_LOADER;
}
static int store_nothing(void *state, struct millpond_store_item *item, const struct millpond_store_call *call) {
    (void)state, (void)item, (void)call;
    return MILLPOND_ERR_STORE;
}

/* ---- one operation each ---- */

static void do_get(void) {
    char key[KEY_BYTES + 1], value[VALUE_BYTES];
    size_t bytes;
    next_key(key);
    check(millpond_get(pond, key, KEY_BYTES, value, sizeof value, &bytes));
}

static void do_fetch(void) {
    char key[KEY_BYTES + 1], value[VALUE_BYTES];
    size_t bytes;
    next_key(key);
    check(millpond_fetch(pond, key, KEY_BYTES, load_nothing, NULL, NULL, value, sizeof value, &bytes, NULL));
}

static void do_read_through(void) {
    char key[KEY_BYTES + 1], value[VALUE_BYTES];
    size_t bytes;
    next_key(key);
    check(millpond_read_through(pond, key, KEY_BYTES, value, sizeof value, &bytes, NULL));
}

static void batch(int (*read)(struct millpond *, struct millpond_mget *, size_t)) {
    static char keys[BATCH][KEY_BYTES + 1], values[BATCH][VALUE_BYTES];
    struct millpond_mget wanted[BATCH];
    memset(wanted, 0, sizeof wanted);
    for (int i = 0; i < BATCH; i++) {
        next_key(keys[i]);
        wanted[i].key = keys[i];
        wanted[i].key_bytes = KEY_BYTES;
        wanted[i].buf = values[i];
        wanted[i].buf_bytes = VALUE_BYTES;
    }
    check(read(pond, wanted, BATCH));
    for (int i = 0; i < BATCH; i++) check(wanted[i].result);
}

static int mget(struct millpond *from, struct millpond_mget *wanted, size_t count) { return millpond_mget(from, wanted, count); }
static void do_mget(void) { batch(mget); }
static void do_snapshot(void) { batch(millpond_snapshot); }

static void do_two_sets(void) {
    char key[KEY_BYTES + 1], value[VALUE_BYTES] = "two sets";
    for (int i = 0; i < 2; i++) {
        next_key(key);
        check(millpond_set(pond, key, KEY_BYTES, value, sizeof value, 0));
    }
}

static void do_txn(void) {
    char key[KEY_BYTES + 1], value[VALUE_BYTES] = "a transaction";
    struct millpond_txn *txn;
    check(millpond_txn_begin(pond, &txn));
    if (failed) return;
    for (int i = 0; i < 2; i++) {
        next_key(key);
        check(millpond_txn_set(txn, key, KEY_BYTES, value, sizeof value, 0));
    }
    check(millpond_txn_commit(txn));
}

/* ---- two beside each other ---- */

static double run_round(void (*operation)(void), int operations, uint64_t from) {
    seed = from;
    uint64_t start = host_cpu_ns();
    for (int i = 0; i < operations && !failed; i++) operation();
    return (double)(host_cpu_ns() - start) / operations;
}

static void compare(const char *what, void (*plain)(void), void (*more)(void), int operations) {
    double a[ROUNDS], b[ROUNDS], ratio[ROUNDS];
    for (int round = 0; round < ROUNDS && !failed; round++) {
        a[round] = run_round(plain, operations, (uint64_t)round * 2);
        b[round] = run_round(more, operations, (uint64_t)round * 2 + 1);
        ratio[round] = b[round] / a[round];
    }
    if (!failed) printf("| %s | %.0f | %.0f | %.2f |\n", what, median(a, ROUNDS), median(b, ROUNDS), median(ratio, ROUNDS));
}

#define GROUP "everything"

static void fill(const char *group) {
    char key[KEY_BYTES + 1], value[VALUE_BYTES] = "value";
    struct millpond_set set = {.group = group, .group_bytes = group ? strlen(group) : 0};
    for (uint64_t i = 0; i < items && !failed; i++) {
        spell(key, i);
        check(millpond_set_ex(pond, key, KEY_BYTES, value, sizeof value, &set));
    }
}

static void do_clear(void) { check(millpond_clear(pond)); }
static void do_invalidate(void) { check(millpond_invalidate(pond, GROUP, strlen(GROUP))); }

/* All items leave at once, in one way and the other. */
static void compare_emptyings(void) {
    double a[EMPTYINGS], b[EMPTYINGS], ratio[EMPTYINGS];
    for (int round = 0; round < EMPTYINGS && !failed; round++) {
        fill(GROUP);
        a[round] = run_round(do_clear, 1, 0);
        fill(GROUP);
        b[round] = run_round(do_invalidate, 1, 0);
        ratio[round] = b[round] / a[round];
    }
    if (!failed)
        printf("| `millpond_invalidate` of the group of all items, beside `millpond_clear` | %.0f | %.0f | %.6f |\n", median(a, EMPTYINGS),
               median(b, EMPTYINGS), median(ratio, EMPTYINGS));
}

static int open_and_fill(const char *path) {
    char errmsg[MILLPOND_ERRMSG_BYTES];
    struct millpond_options options = MILLPOND_OPTIONS_INIT;
    options.size_bytes = items * 220 + (4 << 20);
    options.flags = MILLPOND_CREATE;
    if (millpond_open(&pond, path, &options, errmsg) != MILLPOND_OK) {
        fprintf(stderr, "%s\n", errmsg);
        return 0;
    }
    fill(NULL);
    struct millpond_store store = {.name = "nothing", .load = store_nothing};
    check(millpond_bind_store(pond, &store));
    return 1;
}

int main(int argc, char **argv) {
    char folder[] = "/dev/shm/millpond-calls-XXXXXX", path[64];
    items = argc > 1 ? strtoull(argv[1], NULL, 10) : 1000000;
    if (argc > 2 || items < 1000 || items > 100000000) {
        fprintf(stderr, "usage: millpond-calls [ITEMS], 1000 to 100000000\n");
        return 2;
    }
    if (!mkdtemp(folder)) {
        perror(folder);
        return 3;
    }
    snprintf(path, sizeof path, "%s/calls.pond", folder);
    if (open_and_fill(path)) {
        printf("| call, beside what | ns of that | ns | ratio |\n|---|---|---|---|\n");
        compare("`millpond_fetch` hit, beside a get", do_get, do_fetch, OPERATIONS);
        compare("`millpond_read_through` hit, beside a get", do_get, do_read_through, OPERATIONS);
        compare("`millpond_snapshot` of 8, beside `mget` of 8", do_mget, do_snapshot, OPERATIONS / BATCH);
        compare("transaction of 2 sets, beside 2 sets", do_two_sets, do_txn, OPERATIONS / 4);
        compare_emptyings();
        millpond_close(pond);
    } else {
        failed = MILLPOND_ERR_SYSTEM;
    }
    if (failed) fprintf(stderr, "millpond-calls: %s\n", millpond_strerror(failed));
    unlink(path);
    rmdir(folder);
    return failed ? 3 : 0;
}
