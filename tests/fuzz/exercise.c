/* SPDX-License-Identifier: MIT */
/* What is done with a damaged file. A wrong value is no failure here (wrong_data.c counts those): only a crash, a hang, an access out of
 * bounds, an answer that a function may not give, and a repair that does not repair.
 *
 * Buffers are from malloc and of exactly the size that is named, so that AddressSanitizer sees one byte too many. A dump of the file
 * belongs behind the scan, as soon as the library has one. */

#include "exercise.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct exercise_counts exercise_counts;

/* Ends in SIGABRT, which every fuzzer takes for a crash and keeps the input of. */
#define EXPECT(condition, ...)                                                                                                             \
    do {                                                                                                                                   \
        if (!(condition)) fail(__LINE__, #condition, __VA_ARGS__);                                                                         \
    } while (0)

__attribute__((format(printf, 3, 4), noreturn)) static void fail(int line, const char *condition, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    fprintf(stderr, "exercise.c:%d: %s: ", line, condition);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    abort();
}

struct user {
    const struct bed *bed;
    const struct damage *damage;
    struct millpond *pond;
    struct support_random random;
    uint64_t sum; /* of what was read: every byte is touched */
};

static void touch(struct user *u, const void *bytes, size_t count) {
    const unsigned char *at = bytes;
    for (size_t i = 0; i < count; i++) u->sum += at[i];
}

/* A key that may be there, or (one of eight) not. */
static size_t any_key(struct user *u, unsigned char key[BED_KEY_BYTES_MAX]) {
    uint32_t i = (uint32_t)support_below(&u->random, BED_KEYS * 9 / 8);
    return bed_key(i, key);
}

static void set_one(struct user *u, size_t bytes_max);

/* A group, or (every second time) none. */
static const char *any_group(struct user *u, size_t *bytes) {
    uint64_t dice = support_below(&u->random, 2 * BED_GROUPS);
    const char *name = dice < BED_GROUPS ? bed_group((uint32_t)dice) : NULL;
    *bytes = name ? strlen(name) : 0;
    return name;
}

/* ---- reading ---- */

static void get_one(struct user *u) {
    unsigned char key[BED_KEY_BYTES_MAX];
    size_t key_bytes = any_key(u, key), room = support_below(&u->random, 4) ? BED_VALUE_BYTES_MAX : support_below(&u->random, 200),
           bytes = 0;
    unsigned char *buf = malloc(room ? room : 1);
    uint64_t version = 0;
    int result = support_below(&u->random, 2) ? millpond_get(u->pond, key, key_bytes, buf, room, &bytes)
                                              : millpond_get_if_changed(u->pond, key, key_bytes, buf, room, &bytes, &version);
    EXPECT(result == MILLPOND_OK || result == MILLPOND_MISS || result == MILLPOND_TOO_SMALL, "get: %d", result);
    EXPECT(result != MILLPOND_OK || bytes <= room, "get: %zu bytes in a buffer of %zu", bytes, room);
    if (result == MILLPOND_OK) touch(u, buf, bytes);
    if (result == MILLPOND_TOO_SMALL) {
        EXPECT(bytes > room, "get: %zu bytes are too many for %zu", bytes, room);
        EXPECT(bytes <= u->bed->file_bytes, "get: %zu bytes in a file of %llu", bytes, (unsigned long long)u->bed->file_bytes);
    }
    if (version) {
        result = millpond_get_if_changed(u->pond, key, key_bytes, buf, room, &bytes, &version);
        EXPECT(result == MILLPOND_UNCHANGED, "get_if_changed, at once again: %d", result);
    }
    free(buf);
}

static void get_alloc_one(struct user *u) {
    unsigned char key[BED_KEY_BYTES_MAX];
    size_t key_bytes = any_key(u, key), bytes = 0;
    void *value = NULL;
    int result = millpond_get_alloc(u->pond, key, key_bytes, &value, &bytes);
    EXPECT(result == MILLPOND_OK || result == MILLPOND_MISS, "get_alloc: %d", result);
    if (result != MILLPOND_OK) return;
    EXPECT(((const char *)value)[bytes] == 0, "no zero behind the value");
    touch(u, value, bytes);
    free(value);
}

static void look_at_one(struct user *u) {
    unsigned char key[BED_KEY_BYTES_MAX];
    size_t key_bytes = any_key(u, key);
    uint64_t ttl_ms = 0;
    int result = millpond_ttl(u->pond, key, key_bytes, &ttl_ms);
    EXPECT(result == MILLPOND_OK || result == MILLPOND_MISS, "ttl: %d", result);
    result = millpond_contains(u->pond, key, key_bytes);
    EXPECT(result == MILLPOND_OK || result == MILLPOND_MISS, "contains: %d", result);
    millpond_prefetch(u->pond, key, key_bytes);
}

static void view_one(struct user *u) {
    unsigned char key[BED_KEY_BYTES_MAX];
    struct millpond_view view;
    size_t key_bytes = any_key(u, key);
    int result = millpond_view(u->pond, key, key_bytes, &view);
    if (u->damage->flags & DAMAGE_READONLY) {
        EXPECT(result == MILLPOND_ERR_READ_ONLY, "view: %d", result);
        return;
    }
    EXPECT(result == MILLPOND_OK || result == MILLPOND_MISS || result == MILLPOND_ERR_PINNED, "view: %d", result);
    if (result != MILLPOND_OK) return;
    for (size_t i = 0; i < view.piece_count; i++) touch(u, view.pieces[i].bytes, view.pieces[i].count);
    if (support_below(&u->random, 4)) set_one(u, 100); /* the views' segments are not reused meanwhile */
    millpond_view_release(&view);
}

static void get_many(struct user *u) {
    enum { MANY = 40, ROOM = 300 };
    static unsigned char keys[MANY][BED_KEY_BYTES_MAX];
    struct millpond_mget items[MANY] = {{0}};
    unsigned char *bufs = malloc((size_t)MANY * ROOM);
    for (unsigned i = 0; i < MANY; i++) {
        items[i].key = keys[i];
        items[i].key_bytes = any_key(u, keys[i]);
        items[i].buf = bufs + (size_t)i * ROOM;
        items[i].buf_bytes = ROOM;
    }
    EXPECT(millpond_mget(u->pond, items, MANY) == MILLPOND_OK, "mget");
    for (unsigned i = 0; i < MANY; i++)
        if (items[i].result == MILLPOND_OK) {
            EXPECT(items[i].value_bytes <= ROOM, "mget: %zu bytes", items[i].value_bytes);
            touch(u, items[i].buf, items[i].value_bytes);
        }
    free(bufs);
}

static int visit(void *arg, const struct millpond_entry *entry) {
    struct user *u = arg;
    EXPECT(entry->key_bytes >= 1 && entry->key_bytes <= MILLPOND_KEY_BYTES_MAX, "a key of %zu bytes", entry->key_bytes);
    EXPECT(entry->value_bytes <= u->bed->file_bytes, "a value of %zu bytes", entry->value_bytes);
    touch(u, entry->key, entry->key_bytes);
    if (entry->value) touch(u, entry->value, entry->value_bytes);
    return 0;
}

static void scan(struct user *u) {
    EXPECT(millpond_scan(u->pond, NULL, 0, 0, visit, u) == MILLPOND_OK, "scan");
    EXPECT(millpond_scan(u->pond, "\1", 1, MILLPOND_SCAN_KEYS, visit, u) == MILLPOND_OK, "scan of keys");
}

static void stats(struct user *u) {
    struct millpond_stats s;
    int shards = 0;
    for (int shard = -1; shard < shards || shard == -1; shard++) {
        EXPECT(millpond_stats(u->pond, shard, &s) == MILLPOND_OK, "stats of %d", shard);
        if (shard == -1) shards = (int)s.shards;
    }
}

/* ---- writing ---- */

static int is_set_answer(int result) { return result == MILLPOND_OK || result == MILLPOND_ERR_TOO_LARGE || result == MILLPOND_ERR_FULL; }

static void set_one(struct user *u, size_t bytes_max) {
    unsigned char key[BED_KEY_BYTES_MAX], *value;
    size_t key_bytes = any_key(u, key), bytes = support_log_size(&u->random, 1, bytes_max + 1) - 1;
    uint64_t ttl_ms = support_below(&u->random, 2) ? 0 : UINT64_C(1) << support_below(&u->random, 30);
    struct millpond_set options = {.ttl_ms = ttl_ms, .grace_ms = ttl_ms / 2, .when = (uint32_t)support_below(&u->random, 4), .version = 7};
    options.group = any_group(u, &options.group_bytes);
    value = malloc(bytes ? bytes : 1);
    memset(value, (int)u->random.state & 255, bytes);
    if (support_below(&u->random, 3)) {
        int result = millpond_set(u->pond, key, key_bytes, value, bytes, ttl_ms);
        EXPECT(is_set_answer(result), "set: %d", result);
    } else {
        int result = millpond_set_ex(u->pond, key, key_bytes, value, bytes, &options);
        EXPECT(is_set_answer(result) || result == MILLPOND_EXISTS || result == MILLPOND_MISS || result == MILLPOND_CHANGED, "set_ex: %d",
               result);
    }
    free(value);
}

static void change_one(struct user *u) {
    unsigned char key[BED_KEY_BYTES_MAX];
    size_t key_bytes = any_key(u, key);
    struct millpond_incr create = {5, support_below(&u->random, 2) ? 60000 : 0};
    struct millpond_set how = {0};
    const char *group;
    size_t group_bytes;
    int64_t number;
    int result;
    switch (support_below(&u->random, 6)) {
    case 0:
        result = millpond_delete(u->pond, key, key_bytes);
        EXPECT(result == MILLPOND_OK || result == MILLPOND_MISS, "delete: %d", result);
        break;
    case 1:
        result = millpond_touch(u->pond, key, key_bytes, support_below(&u->random, 2) ? 0 : 100000);
        EXPECT(result == MILLPOND_OK || result == MILLPOND_MISS || result == MILLPOND_ERR_FULL, "touch: %d", result);
        break;
    case 2:
        group = any_group(u, &group_bytes);
        result = millpond_invalidate(u->pond, group, group_bytes);
        EXPECT(result == (group ? MILLPOND_OK : MILLPOND_ERR_ARGUMENT), "invalidate: %d", result);
        break;
    case 3:
        how.group = any_group(u, &how.group_bytes);
        result = millpond_incr_ex(u->pond, key, key_bytes, 3, 5, &how, &number);
        EXPECT(is_set_answer(result) || result == MILLPOND_ERR_NOT_A_NUMBER || result == MILLPOND_ERR_OVERFLOW, "incr_ex: %d", result);
        break;
    default:
        result = millpond_incr(u->pond, key, key_bytes, 3, support_below(&u->random, 2) ? &create : NULL, &number);
        EXPECT(is_set_answer(result) || result == MILLPOND_MISS || result == MILLPOND_ERR_NOT_A_NUMBER || result == MILLPOND_ERR_OVERFLOW,
               "incr: %d", result);
        break;
    }
}

static void read_all(struct user *u) {
    for (unsigned i = 0; i < 24; i++) get_one(u);
    for (unsigned i = 0; i < 8; i++) get_alloc_one(u);
    for (unsigned i = 0; i < 8; i++) look_at_one(u);
    for (unsigned i = 0; i < 8; i++) view_one(u);
    get_many(u);
    stats(u);
    scan(u);
}

static void write_all(struct user *u) {
    for (unsigned i = 0; i < 24; i++) set_one(u, 200);
    for (unsigned i = 0; i < 24; i++) change_one(u);
    for (unsigned i = 0; i < 3; i++) set_one(u, BED_VALUE_BYTES_MAX);
    if (u->damage->flags & DAMAGE_FLOOD)
        for (unsigned i = 0; i < 160; i++) set_one(u, 1200);
    if (support_below(&u->random, 16) == 0) EXPECT(millpond_sync(u->pond) == MILLPOND_OK, "sync");
    if (u->damage->flags & DAMAGE_EMPTY) EXPECT(millpond_clear(u->pond) == MILLPOND_OK, "clear");
}

/* ---- fetches, leases, transactions, snapshots ---- */

/* Loads a value of any size, or says that there is none, or fails. */
static int load(void *arg, const void *key, size_t key_bytes, struct millpond_load *load) {
    struct user *u = arg;
    uint64_t dice = support_below(&u->random, 8);
    touch(u, key, key_bytes);
    if (dice == 0) return MILLPOND_MISS;
    if (dice == 1) return 77;
    if (dice == 2 && !(u->damage->flags & DAMAGE_READONLY))
        millpond_invalidate(u->pond, bed_group((uint32_t)dice), 1); /* too late to be stored */
    load->value_bytes = support_log_size(&u->random, 1, 600) - 1;
    load->value = malloc(load->value_bytes ? load->value_bytes : 1);
    memset(load->value, (int)dice, load->value_bytes);
    load->release = free;
    return MILLPOND_OK;
}

static struct millpond_fetch any_options(struct user *u) {
    struct millpond_fetch options = {.ttl_ms = support_below(&u->random, 2) ? 0 : 5000,
                                     .grace_ms = 3000,
                                     .negative_ttl_ms = support_below(&u->random, 2) ? 0 : 2000,
                                     .wait_ms = 1,
                                     .load_max_ms = 1 + (uint32_t)support_below(&u->random, 100000),
                                     .flags = (uint32_t)support_below(&u->random, 32)};
    options.group = any_group(u, &options.group_bytes);
    return options;
}

static void fetch_one(struct user *u) {
    unsigned char key[BED_KEY_BYTES_MAX];
    size_t key_bytes = any_key(u, key), room = support_below(&u->random, 700), bytes = 0;
    struct millpond_fetch options = any_options(u);
    struct millpond_fetched how = {0};
    options.flags &= (uint32_t)(MILLPOND_FETCH_FRESH | MILLPOND_FETCH_NO_WAIT | MILLPOND_FETCH_OWN_ERRORS | MILLPOND_FETCH_NOT_EARLY);
    unsigned char *buf = malloc(room ? room : 1);
    int result = millpond_fetch(u->pond, key, key_bytes, load, u, &options, buf, room, &bytes, &how);
    int readonly = (u->damage->flags & DAMAGE_READONLY) != 0;
    EXPECT(result == MILLPOND_OK || result == MILLPOND_STALE || result == MILLPOND_MISS || result == MILLPOND_TOO_SMALL ||
               result == MILLPOND_ERR_LOADER || result == MILLPOND_ERR_TIMEOUT || (readonly && result == MILLPOND_ERR_READ_ONLY),
           "fetch: %d", result);
    if (result == MILLPOND_OK || result == MILLPOND_STALE) {
        EXPECT(bytes <= room, "fetch: %zu bytes in a buffer of %zu", bytes, room);
        touch(u, buf, bytes);
    }
    result = millpond_get_stale(u->pond, key, key_bytes, buf, room, &bytes);
    EXPECT(result == MILLPOND_OK || result == MILLPOND_STALE || result == MILLPOND_MISS || result == MILLPOND_TOO_SMALL, "get_stale: %d",
           result);
    if (result == MILLPOND_OK || result == MILLPOND_STALE) touch(u, buf, bytes);
    free(buf);
}

static int is_end_of_lease(int result) {
    return result == MILLPOND_OK || result == MILLPOND_CHANGED || result == MILLPOND_ERR_TOO_LARGE || result == MILLPOND_ERR_FULL;
}

static void lease_one(struct user *u) {
    unsigned char key[BED_KEY_BYTES_MAX], buf[64];
    size_t key_bytes = any_key(u, key), bytes = 0;
    struct millpond_fetch options = any_options(u);
    struct millpond_lease lease = {0};
    int said = 0, result = millpond_lease_acquire(u->pond, key, key_bytes, &options, buf, sizeof buf, &bytes, &lease);
    int readonly = (u->damage->flags & DAMAGE_READONLY) != 0;
    EXPECT(result == MILLPOND_OK || result == MILLPOND_STALE || result == MILLPOND_MISS || result == MILLPOND_TOO_SMALL ||
               (readonly && result == MILLPOND_ERR_READ_ONLY),
           "lease: %d", result);
    if (lease.state == MILLPOND_LEASE_BUSY) {
        result = millpond_lease_wait(u->pond, &lease, 0, &said);
        EXPECT(result == MILLPOND_OK || result == MILLPOND_MISS || result == MILLPOND_ERR_LOADER || result == MILLPOND_ERR_TIMEOUT,
               "wait: %d", result);
    }
    if (lease.state != MILLPOND_LEASE_WON) return;
    switch (support_below(&u->random, 4)) {
    case 0: result = millpond_lease_abandon(u->pond, &lease, key, key_bytes, (int)support_below(&u->random, 2)); break;
    case 1: result = millpond_lease_fill_nothing(u->pond, &lease, key, key_bytes, &options); break;
    case 2: return; /* left to its deadline */
    default: result = millpond_lease_fill(u->pond, &lease, key, key_bytes, buf, support_below(&u->random, sizeof buf), &options);
    }
    EXPECT(is_end_of_lease(result), "end of a lease: %d", result);
}

static void change_in(struct user *u, struct millpond_txn *txn) {
    unsigned char key[BED_KEY_BYTES_MAX], buf[300] = {0};
    size_t key_bytes = any_key(u, key), bytes = 0;
    struct millpond_incr create = {5, 0};
    struct millpond_set how = {0};
    int result;
    switch (support_below(&u->random, 4)) {
    case 0:
        result = millpond_txn_get(txn, key, key_bytes, buf, sizeof buf, &bytes);
        EXPECT(result == MILLPOND_OK || result == MILLPOND_MISS || result == MILLPOND_TOO_SMALL || result == MILLPOND_CHANGED,
               "txn_get: %d", result);
        break;
    case 1:
        result = millpond_txn_delete(txn, key, key_bytes);
        EXPECT(result == MILLPOND_OK || result == MILLPOND_ERR_TXN_TOO_LARGE, "txn_delete: %d", result);
        break;
    case 2:
        result = millpond_txn_incr(txn, key, key_bytes, 3, &create, NULL);
        EXPECT(result == MILLPOND_OK || result == MILLPOND_CHANGED || result == MILLPOND_ERR_NOT_A_NUMBER ||
                   result == MILLPOND_ERR_OVERFLOW || result == MILLPOND_ERR_TOO_LARGE || result == MILLPOND_ERR_TXN_TOO_LARGE,
               "txn_incr: %d", result);
        break;
    default:
        how.group = any_group(u, &how.group_bytes);
        result = millpond_txn_set_ex(txn, key, key_bytes, buf, support_below(&u->random, sizeof buf), &how);
        EXPECT(result == MILLPOND_OK || result == MILLPOND_ERR_TOO_LARGE || result == MILLPOND_ERR_TXN_TOO_LARGE, "txn_set: %d", result);
    }
}

static void commit_one(struct user *u) {
    struct millpond_txn *txn;
    int result = millpond_txn_begin(u->pond, &txn);
    EXPECT(result == MILLPOND_OK, "txn_begin: %d", result);
    for (uint64_t i = support_below(&u->random, 12); i > 0; i--) change_in(u, txn);
    result = millpond_txn_commit(txn);
    EXPECT(result == MILLPOND_OK || result == MILLPOND_CHANGED || result == MILLPOND_ERR_FULL, "commit: %d", result);
}

static void snapshot_one(struct user *u) {
    enum { MANY = 12, ROOM = 300 };
    static unsigned char keys[MANY][BED_KEY_BYTES_MAX];
    struct millpond_mget items[MANY] = {{0}};
    unsigned char *bufs = malloc((size_t)MANY * ROOM);
    for (unsigned i = 0; i < MANY; i++)
        items[i] = (struct millpond_mget){keys[i], any_key(u, keys[i]), bufs + (size_t)i * ROOM, ROOM, 0, 0};
    int result = millpond_snapshot(u->pond, items, MANY);
    /* A mark says that the file was replaced, by one that is not there: whoever may write takes the mark away. */
    EXPECT(
        result == MILLPOND_OK || (u->damage->flags & DAMAGE_READONLY && (result == MILLPOND_ERR_BUSY || result == MILLPOND_ERR_REPLACED)),
        "snapshot: %d", result);
    for (unsigned i = 0; i < MANY && result == MILLPOND_OK; i++)
        if (items[i].result == MILLPOND_OK) {
            EXPECT(items[i].value_bytes <= ROOM, "snapshot: %zu bytes", items[i].value_bytes);
            touch(u, items[i].buf, items[i].value_bytes);
        }
    free(bufs);
}

static void ask_the_agent(struct user *u) {
    struct millpond_agent agent;
    int result = millpond_agent_look(u->pond, &agent);
    EXPECT(result == MILLPOND_OK || result == MILLPOND_STALE || result == MILLPOND_MISS, "agent: %d", result);
    if (u->damage->flags & DAMAGE_READONLY) return;
    agent.until_ms = agent.now_ms + 1000;
    agent.stale_ms = 1000;
    result = millpond_agent_announce(u->pond, &agent);
    EXPECT(result == MILLPOND_OK, "announce: %d", result);
}

static void together(struct user *u) {
    for (unsigned i = 0; i < 10; i++) fetch_one(u);
    for (unsigned i = 0; i < 10; i++) lease_one(u);
    for (unsigned i = 0; i < 3; i++) snapshot_one(u);
    ask_the_agent(u);
    if (u->damage->flags & DAMAGE_READONLY) return;
    for (unsigned i = 0; i < 6; i++) commit_one(u);
}

/* ---- checking ---- */

static void note(void *arg, const char *sentence) {
    struct user *u = arg;
    EXPECT(sentence && strlen(sentence) > 15, "'%s' is no sentence", sentence ? sentence : "(null)");
    touch(u, sentence, strlen(sentence));
}

static char first_sentence[256];
static void note_first(void *arg, const char *sentence) {
    note(arg, sentence);
    if (!first_sentence[0]) strncpy(first_sentence, sentence, sizeof first_sentence - 1);
}

/* MILLPOND_OK, DAMAGED, or the error of opening it. */
static int check(struct user *u, unsigned flags) {
    struct millpond_check sums;
    char errmsg[MILLPOND_ERRMSG_BYTES] = "";
    first_sentence[0] = 0;
    int result = millpond_check(u->bed->path, flags, note_first, u, &sums, errmsg);
    EXPECT(result <= 0 || result == MILLPOND_DAMAGED, "check: %d", result);
    EXPECT(result >= 0 || errmsg[0], "check: %d, without a sentence", result);
    EXPECT(result != MILLPOND_DAMAGED || !flags || sums.repaired == sums.damages, "check: %llu damages, %llu repaired",
           (unsigned long long)sums.damages, (unsigned long long)sums.repaired);
    return result;
}

/* A second repair finds nothing; what is stored after it is there. */
static void repair(struct user *u) {
    int result = check(u, MILLPOND_CHECK_REPAIR);
    if (result < 0) return;
    if (result == MILLPOND_DAMAGED) exercise_counts.repaired++;
    result = check(u, 0);
    EXPECT(result == MILLPOND_OK, "damage is left after a repair: %d, '%s'", result, first_sentence);
}

static void require_that_it_works(struct user *u) {
    unsigned char key[BED_KEY_BYTES_MAX], value[64], back[64];
    struct millpond_stats s;
    if (millpond_stats(u->pond, -1, &s) != MILLPOND_OK || s.max_item_bytes < sizeof value)
        return; /* an identity may say so, and be signed */
    for (unsigned i = 0; i < 4; i++) {
        size_t key_bytes = any_key(u, key), bytes = 0;
        memset(value, (int)(i + 1), sizeof value);
        int result = millpond_set(u->pond, key, key_bytes, value, sizeof value, 0);
        EXPECT(result == MILLPOND_OK, "set, after a repair: %d", result);
        result = millpond_get(u->pond, key, key_bytes, back, sizeof back, &bytes);
        EXPECT(result == MILLPOND_OK && bytes == sizeof back && memcmp(back, value, bytes) == 0, "get, after a repair and a set: %d",
               result);
        result = millpond_delete(u->pond, key, key_bytes);
        EXPECT(result == MILLPOND_OK, "delete, after a repair and a set: %d", result);
        result = millpond_get(u->pond, key, key_bytes, back, sizeof back, &bytes);
        EXPECT(result == MILLPOND_MISS, "get, after a repair and a delete: %d", result);
        struct millpond_set how = {.group = bed_group(i), .group_bytes = strlen(bed_group(i))};
        result = millpond_set_ex(u->pond, key, key_bytes, value, sizeof value, &how);
        EXPECT(result == MILLPOND_OK, "set in a group, after a repair: %d", result);
        result = millpond_get(u->pond, key, key_bytes, back, sizeof back, &bytes);
        EXPECT(result == MILLPOND_OK && bytes == sizeof back && memcmp(back, value, bytes) == 0, "get, after a set in a group: %d", result);
        result = millpond_invalidate(u->pond, how.group, how.group_bytes);
        EXPECT(result == MILLPOND_OK, "invalidate, after a repair: %d", result);
        result = millpond_get(u->pond, key, key_bytes, back, sizeof back, &bytes);
        EXPECT(result == MILLPOND_MISS, "get, after a repair and an invalidation: %d", result);
    }
}

/* ---- a resize ---- */

/* The file as it is, under another name, whose numbers stand in it: no copy as far as it can know. */
static const char *twin(const struct bed *bed) {
    static char path[sizeof bed->path + 8];
    struct pond_living *living = (struct pond_living *)(void *)(bed->file + POND_LIVING_OFF), kept = *living;
    struct stat st;
    snprintf(path, sizeof path, "%s.twin", bed->path);
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    EXPECT(fd >= 0 && fstat(fd, &st) == 0, "%s: %s", path, strerror(errno));
    living->device = (uint64_t)st.st_dev;
    living->inode = (uint64_t)st.st_ino;
    EXPECT(write(fd, bed->file, bed->file_bytes) == (ssize_t)bed->file_bytes, "%s: %s", path, strerror(errno));
    *living = kept;
    close(fd);
    return path;
}

/* Of the damaged file's twin, which is another file afterwards, and whole. */
static void resize(const struct user *u) {
    struct user own = *u;
    struct millpond_options options = MILLPOND_OPTIONS_INIT;
    char errmsg[MILLPOND_ERRMSG_BYTES] = "";
    struct bed other = {.file_bytes = u->bed->file_bytes};
    strcpy(other.path, twin(u->bed));
    own.bed = &other;
    options.lock_timeout_ms = 2000;
    if (millpond_open(&own.pond, other.path, &options, errmsg) == MILLPOND_OK) {
        uint64_t bytes = (64 << 10) + support_below(&own.random, 200 << 10);
        int result = millpond_resize(own.pond, bytes, errmsg);
        EXPECT(result <= 0 && (result == MILLPOND_OK) == !errmsg[0], "resize: %d '%s'", result, errmsg);
        EXPECT(result == MILLPOND_OK || result == MILLPOND_ERR_ARGUMENT, "resize: %d '%s'", result, errmsg);
        if (result == MILLPOND_OK) {
            exercise_counts.resized++;
            other.file_bytes = (bytes + 4095) / 4096 * 4096;
            result = check(&own, 0);
            EXPECT(result == MILLPOND_OK, "damage came along with a resize: %d, '%s'", result, first_sentence);
        }
        read_all(&own);
        for (unsigned i = 0; i < 24; i++) set_one(&own, 200);
        millpond_close(own.pond);
    }
    unlink(other.path);
}

/* ---- all of it ---- */

void exercise(const struct bed *bed, const struct damage *damage) {
    struct user u = {.bed = bed, .damage = damage, .random = {damage->seed * UINT64_C(0x9E3779B97F4A7C15) + 1}};
    struct millpond_options options = MILLPOND_OPTIONS_INIT;
    char errmsg[MILLPOND_ERRMSG_BYTES] = "";
    options.lock_timeout_ms = 2000;
    if (damage->flags & DAMAGE_READONLY) options.flags = MILLPOND_READONLY;
    if (damage->flags & DAMAGE_REPAIR && !(damage->flags & DAMAGE_READONLY)) repair(&u);
    int result = millpond_open(&u.pond, bed->path, &options, errmsg);
    EXPECT(result <= 0, "open: %d", result);
    if (result < 0) {
        EXPECT(strstr(errmsg, bed->path) && strchr(errmsg, ';'), "open: %d '%s'", result, errmsg);
        exercise_counts.refused++;
        return;
    }
    exercise_counts.opened++;
    if (damage->seed % 8 == 2 && !(damage->flags & DAMAGE_READONLY)) resize(&u);
    read_all(&u);
    together(&u);
    if (!(damage->flags & DAMAGE_READONLY)) {
        if (damage->seed & 1) exercise_counts.damaged += check(&u, 0) == MILLPOND_DAMAGED;
        write_all(&u);
        together(&u);
        read_all(&u);
        repair(&u);
        require_that_it_works(&u);
    }
    millpond_close(u.pond);
}
