/* SPDX-License-Identifier: MIT */
/* The scenarios. Each prepares a small pond and then does one thing, or goes on until the pond's own statistics say that the thing has
 * happened. */

#include "scenario.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#define HOUR_MS    (UINT64_C(3600) * 1000)
#define ACTS_MAX   600 /* changes after which a scenario that waits for something gives up */
#define WIDE_BYTES 300 /* a key of this length needs the wide form of an entry */

static struct millpond_stats stats_of(struct millpond *pond) {
    struct millpond_stats stats;
    CHECK(millpond_stats(pond, -1, &stats) == MILLPOND_OK, "stats");
    return stats;
}

/* ---- preparing ---- */

/* Keys 0 to 19: values; 20: long key; 21: counter; 22: text of a number; 23: with a time to live; 24: absent. */
enum { LONG_KEY = 20, COUNTER = 21, TEXT = 22, MORTAL = 23, ABSENT = 24 };

static void a_few(struct ledger *ledger, struct millpond *pond) {
    for (int i = 0; i < 20; i++) ledger_add(ledger, pond, 100);
    ledger_set(ledger, pond, ledger_key(ledger, WIDE_BYTES), 100, 0);
    ledger_incr(ledger, pond, ledger_key(ledger, 12), 7);
    ledger_text(ledger, pond, ledger_key(ledger, 12), -41, 0);
    ledger_set(ledger, pond, ledger_key(ledger, 12), 100, 2 * HOUR_MS);
    ledger_key(ledger, 12);
}

/* The same, and holes of the sizes that its entries have. */
static void a_few_and_holes(struct ledger *ledger, struct millpond *pond) {
    a_few(ledger, pond);
    uint32_t wide = ledger_key(ledger, WIDE_BYTES);
    ledger_set(ledger, pond, wide, 100, 0);
    ledger_delete(ledger, pond, wide);
    for (uint32_t key = 0; key < 5; key++) ledger_delete(ledger, pond, key);
    ledger_set(ledger, pond, MORTAL, 140, 2 * HOUR_MS); /* leaves a hole for an entry with a time to live */
}

/* Values in chunks: key 0 to 5. */
static void large_ones(struct ledger *ledger, struct millpond *pond) {
    for (uint32_t i = 0; i < 6; i++) ledger_add(ledger, pond, 3000 + 500 * i);
}

/* Until free segments run low. */
static void fill(struct ledger *ledger, struct millpond *pond, uint32_t bytes, uint64_t ttl_ms, unsigned reads) {
    uint64_t low = 2 * stats_of(pond).shards;
    for (int i = 0; i < 2000 && stats_of(pond).segments_free > low; i++) {
        uint32_t key = ledger_key(ledger, 12 + ledger->count % 5);
        ledger_set(ledger, pond, key, bytes, ttl_ms);
        for (unsigned k = 0; k < reads; k++) ledger_read(ledger, pond, key);
    }
    CHECK(stats_of(pond).segments_free <= low, "the pond does not become full");
}

static void full_and_cold(struct ledger *ledger, struct millpond *pond) { fill(ledger, pond, 300, 0, 0); }

/* One key of three was read twice: it goes from the small queue to the main one. */
static void full_and_mixed(struct ledger *ledger, struct millpond *pond) {
    fill(ledger, pond, 300, 0, 0);
    for (uint32_t key = 0; key < ledger->count; key += 3)
        for (int k = 0; k < 2; k++) ledger_read(ledger, pond, key);
}

static void full_and_hot(struct ledger *ledger, struct millpond *pond) { fill(ledger, pond, 300, 0, 3); }

static void full_of_large_ones(struct ledger *ledger, struct millpond *pond) {
    fill(ledger, pond, 3500, 0, 0);
    for (uint32_t key = 0; key < ledger->count; key += 2)
        for (int k = 0; k < 2; k++) ledger_read(ledger, pond, key);
}

static void full_and_mortal(struct ledger *ledger, struct millpond *pond) { fill(ledger, pond, 300, HOUR_MS, 0); }

/* Up to the load at which entries have to move. */
static void full_index(struct ledger *ledger, struct millpond *pond) {
    struct millpond_stats stats = stats_of(pond);
    while (stats_of(pond).items < stats.index_slots * 92 / 100) ledger_add(ledger, pond, 32);
}

static void both_shards(struct ledger *ledger, struct millpond *pond) {
    for (int i = 0; i < 150; i++) ledger_add(ledger, pond, 60 + (uint32_t)i);
}

static void synced(struct ledger *ledger, struct millpond *pond) {
    both_shards(ledger, pond);
    CHECK(millpond_sync(pond) == MILLPOND_OK, "sync");
}

/* ---- acting ---- */

static void get(struct ledger *ledger, struct millpond *pond) {
    for (uint32_t key = 0; key < ledger->count; key++) ledger_read(ledger, pond, key);
}

static void set_new(struct ledger *ledger, struct millpond *pond) { ledger_set(ledger, pond, ABSENT, 100, 0); }

/* Behind a run of new keys the next one is taken to be new too, and its entry is written before the key is looked for: here it is; then it
 * is not after all, with an entry that fits there and with one that takes a hole. */
static void set_new_in_a_row(struct ledger *ledger, struct millpond *pond) {
    for (int i = 0; i < 6; i++) ledger_add(ledger, pond, 100);
    ledger_set(ledger, pond, 7, 180, 0);
    for (int i = 0; i < 5; i++) ledger_add(ledger, pond, 60);
    ledger_set(ledger, pond, 7, 180, 0);
    for (int i = 0; i < 5; i++) ledger_add(ledger, pond, 60);
    ledger_set_when(ledger, pond, 8, 60, MILLPOND_IF_ABSENT);
}

static void set_new_long_key(struct ledger *ledger, struct millpond *pond) {
    ledger_set(ledger, pond, ledger_key(ledger, WIDE_BYTES), 100, 0);
}

static void set_new_mortal(struct ledger *ledger, struct millpond *pond) { ledger_set(ledger, pond, ABSENT, 100, HOUR_MS); }

static void overwrite_longer(struct ledger *ledger, struct millpond *pond) { ledger_set(ledger, pond, 7, 180, 0); }

static void overwrite_same_size(struct ledger *ledger, struct millpond *pond) { ledger_set(ledger, pond, 7, 100, 0); }

static void overwrite_long_key(struct ledger *ledger, struct millpond *pond) { ledger_set(ledger, pond, LONG_KEY, 100, 0); }

static void overwrite_mortal(struct ledger *ledger, struct millpond *pond) { ledger_set(ledger, pond, MORTAL, 100, HOUR_MS); }

static void add_replace_cas(struct ledger *ledger, struct millpond *pond) {
    ledger_set_when(ledger, pond, ABSENT, 100, MILLPOND_IF_ABSENT);
    ledger_set_when(ledger, pond, ABSENT, 120, MILLPOND_IF_ABSENT);
    ledger_set_when(ledger, pond, 8, 100, MILLPOND_IF_PRESENT);
    ledger_set_when(ledger, pond, 9, 130, MILLPOND_IF_VERSION);
}

static void delete_some(struct ledger *ledger, struct millpond *pond) {
    ledger_delete(ledger, pond, 7);
    ledger_delete(ledger, pond, LONG_KEY);
    ledger_delete(ledger, pond, MORTAL);
    ledger_delete(ledger, pond, ABSENT);
}

static void touch_both_ways(struct ledger *ledger, struct millpond *pond) {
    ledger_touch(ledger, pond, MORTAL, 5 * HOUR_MS); /* in place */
    ledger_touch(ledger, pond, 7, HOUR_MS);          /* anew: it had no expiry */
    ledger_touch(ledger, pond, MORTAL, 0);
}

static void incr_all_ways(struct ledger *ledger, struct millpond *pond) {
    ledger_incr(ledger, pond, COUNTER, 5);
    ledger_incr(ledger, pond, TEXT, 5);
    ledger_incr(ledger, pond, ABSENT, -5);
    ledger_incr(ledger, pond, ABSENT, 9);
}

/* With a file lock in front of each mutex. */
static void change_behind_a_gate(struct ledger *ledger, struct millpond *pond) {
    ledger_set(ledger, pond, ABSENT, 100, 0);
    ledger_set(ledger, pond, 7, 100, 0);
    ledger_delete(ledger, pond, 8);
    ledger_incr(ledger, pond, COUNTER, 5);
}

static void set_large(struct ledger *ledger, struct millpond *pond) { ledger_set(ledger, pond, ledger_key(ledger, 14), 5000, 0); }

static void overwrite_large(struct ledger *ledger, struct millpond *pond) {
    ledger_set(ledger, pond, 1, 3500, 0); /* the same chunks: through holes for the second one */
    ledger_set(ledger, pond, 2, 3500, 0);
    ledger_set(ledger, pond, 3, 60, 0);
}

static void delete_large(struct ledger *ledger, struct millpond *pond) {
    ledger_delete(ledger, pond, 4);
    ledger_touch(ledger, pond, 5, HOUR_MS); /* the root anew, with the chunks that it has */
}

/* Sets new keys until a figure has grown by so much, or for long enough: others may have changed what is hot meanwhile. */
#define SET_UNTIL(name, amount, bytes)                                                                                                     \
    do {                                                                                                                                   \
        uint64_t before = stats_of(pond).name;                                                                                             \
        for (int i = 0; i < ACTS_MAX && stats_of(pond).name < before + (amount); i++) ledger_add(ledger, pond, bytes);                     \
    } while (0)

static void evict_small(struct ledger *ledger, struct millpond *pond) { SET_UNTIL(evictions, 60, 300); }

static void evict_mixed(struct ledger *ledger, struct millpond *pond) {
    SET_UNTIL(bytes_copied, 4000, 300);
    SET_UNTIL(evictions, 30, 300);
}

/* Those that left last, just behind the oldest that is still there: eviction learns from them. */
static void evict_and_come_back(struct ledger *ledger, struct millpond *pond) {
    uint32_t first = 0;
    SET_UNTIL(evictions, 30, 300);
    while (first < ledger->count && ledger_look(ledger, pond, first, false) != SEEN_NOW) first++;
    for (uint32_t i = 1; i <= 8 && i <= first; i++) ledger_set(ledger, pond, first - i, 300, 0);
}

static void relink(struct ledger *ledger, struct millpond *pond) { SET_UNTIL(relinks, 2, 300); }

static void evict_large(struct ledger *ledger, struct millpond *pond) {
    SET_UNTIL(bytes_copied, 4000, 3500);
    SET_UNTIL(evictions, 3, 3500);
}

static void expire(struct ledger *ledger, struct millpond *pond) { SET_UNTIL(expirations, 40, 300); }

void scenario_come_and_go(struct ledger *ledger, struct millpond *pond) {
    struct support_random random = {ledger->sequence};
    uint32_t key;
    do key = (uint32_t)support_below(&random, ledger->count);
    while (ledger_look(ledger, pond, key, false) != SEEN_NOW);
    ledger_delete(ledger, pond, key);
    ledger_add(ledger, pond, 32);
}

static void displace(struct ledger *ledger, struct millpond *pond) {
    for (int i = 0; i < 80; i++) scenario_come_and_go(ledger, pond);
    SET_UNTIL(index_evictions, 2, 32); /* beyond the load at which a place is searched for, the least read entry leaves */
}

static void clear(struct ledger *ledger, struct millpond *pond) {
    ledger_clear(ledger, pond);
    ledger_add(ledger, pond, 100);
}

/* Six plain ones, six of the group r, six of b: with a time to live, and in chunks, among them. */
static void in_groups(struct ledger *ledger, struct millpond *pond) {
    for (uint32_t i = 0; i < 18; i++) {
        uint32_t key = ledger_key(ledger, 12 + i % 5), bytes = i % 6 == 5 ? 3000 : 100;
        if (i % 3 == 0)
            ledger_set(ledger, pond, key, bytes, 0);
        else
            ledger_set_in(ledger, pond, key, bytes, i % 4 == 1 ? 2 * HOUR_MS : 0, i % 3 == 1 ? 'r' : 'b');
    }
}

static void invalidate(struct ledger *ledger, struct millpond *pond) {
    ledger_set_in(ledger, pond, 0, 120, 0, 'r');
    ledger_set_in(ledger, pond, ledger_key(ledger, 14), 100, 0, 'n');
    ledger_invalidate(ledger, pond, 'r');
    ledger_set_in(ledger, pond, 1, 100, 0, 'r');
    for (uint32_t key = 0; key < ledger->count; key++) ledger_read(ledger, pond, key);
    ledger_invalidate(ledger, pond, 'n');
}

static void sync_and_invalidate(struct ledger *ledger, struct millpond *pond) {
    CHECK(millpond_sync(pond) == MILLPOND_OK, "sync");
    ledger_invalidate(ledger, pond, 'b');
}

static void sync_and_set(struct ledger *ledger, struct millpond *pond) {
    CHECK(millpond_sync(pond) == MILLPOND_OK, "sync");
    ledger_set(ledger, pond, 3, 90, 0);
}

/* ---- transactions ---- */

static void transact(struct ledger *ledger, struct millpond *pond) {
    struct ledger_change changes[] = {{ABSENT, 100, 0}, {7, 100, 0}, {8, 180, 0}, {9, 0, 0}, {MORTAL, 0, 0}, {LONG_KEY, 90, HOUR_MS}};
    ledger_txn(ledger, pond, changes, sizeof changes / sizeof *changes);
    ledger_txn(ledger, pond, (struct ledger_change[]){{10, 64, 0}}, 1);
}

/* Keys that lie in all shards. */
static void transact_everywhere(struct ledger *ledger, struct millpond *pond) {
    struct ledger_change changes[24];
    for (uint32_t i = 0; i < 24; i++) changes[i] = (struct ledger_change){i, i % 3 == 2 ? 0 : 60 + i * 7, 0};
    for (uint32_t i = 0; i < 24; i += 8) changes[i].key = ledger_key(ledger, 14);
    ledger_txn(ledger, pond, changes, 24);
}

static void transact_large(struct ledger *ledger, struct millpond *pond) {
    struct ledger_change changes[] = {{ledger_key(ledger, 14), 5000, 0}, {1, 3500, 0}, {2, 60, 0}, {3, 0, 0}, {4, 4000, HOUR_MS}};
    ledger_txn(ledger, pond, changes, sizeof changes / sizeof *changes);
}

/* More than the free segments hold: what was written is dropped, and room is made. */
static void transact_into_full(struct ledger *ledger, struct millpond *pond) {
    struct ledger_change changes[24];
    for (uint32_t i = 0; i < 24; i++) changes[i] = (struct ledger_change){ledger_key(ledger, 14), 400, 0};
    for (unsigned turn = 0; turn < 3; turn++) ledger_txn(ledger, pond, changes, 24);
}

static int transact_and_die(void *arg) {
    struct ledger *ledger = ((void **)arg)[0];
    crash_at(crash_name_number("redo.decided"), 1, SIGKILL);
    transact_everywhere(ledger, ((void **)arg)[1]);
    return 0;
}

/* Behind the decision: it has happened, and everything of it is still to be done. */
static void let_one_die(struct ledger *ledger, struct millpond *pond) {
    void *both[] = {ledger, pond};
    pid_t child = support_fork(transact_and_die, both);
    int status;
    CHECK(waitpid(child, &status, 0) == child && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL, "it did not die: %x", status);
}

/* The first key from 40 on that lies in the first shard. */
static uint32_t key_of_first_shard(struct ledger *ledger, struct millpond *pond) {
    struct millpond_stats before, after;
    uint32_t key = 39;
    do {
        CHECK(key < 99 && millpond_stats(pond, 0, &before) == MILLPOND_OK, "no key in the first shard");
        ledger_set(ledger, pond, ++key, 80, 0);
        CHECK(millpond_stats(pond, 0, &after) == MILLPOND_OK, "stats");
    } while (after.sets == before.sets);
    return key;
}

/* Others make transactions in each of its shards; the first one in the coordinator's alone, when the others are not yet done. */
static void transact_after_a_death(struct ledger *ledger, struct millpond *pond) {
    uint32_t first = key_of_first_shard(ledger, pond);
    let_one_die(ledger, pond);
    ledger_txn(ledger, pond, (struct ledger_change[]){{first, 70, 0}}, 1);
    for (uint32_t key = 40; key < 60; key++) ledger_txn(ledger, pond, (struct ledger_change[]){{key, 70, 0}, {key + 40, 70, 0}}, 2);
}

/* Keys as they are at one moment, which must be as they are or, of an unfinished transaction, as they will be. */
static void require_snapshot(const struct ledger *ledger, struct millpond *pond, const uint32_t *keys, unsigned count) {
    static char names[64][512], values[64][512];
    struct millpond_mget items[64];
    for (unsigned i = 0; i < count; i++) {
        ledger_spell(ledger, keys[i], names[i]);
        items[i] = (struct millpond_mget){
            .key = names[i], .key_bytes = ledger->records[keys[i]].key_bytes, .buf = values[i], .buf_bytes = sizeof values[i]};
    }
    int result = millpond_snapshot(pond, items, count);
    CHECK(result == MILLPOND_OK, "a snapshot: %s", millpond_strerror(result));
    for (unsigned i = 0; i < count; i++) {
        const struct record *record = &ledger->records[keys[i]];
        const struct fact *fact = record->pending ? &record->next : &record->now;
        uint64_t sequence = 0;
        if (items[i].result == MILLPOND_OK) support_value_read(values[i], items[i].value_bytes, keys[i], &sequence);
        CHECK(fact->kind == FACT_ABSENT ? items[i].result == MILLPOND_MISS : sequence == fact->sequence,
              "key %u in a snapshot: %s, value number %llu; the fact is number %llu", keys[i], millpond_strerror(items[i].result),
              (unsigned long long)sequence, (unsigned long long)fact->sequence);
    }
}

static void snapshots(struct ledger *ledger, struct millpond *pond) {
    uint32_t keys[50];
    for (uint32_t i = 0; i < 50; i++) keys[i] = 2 * i;
    for (unsigned turn = 0; turn < 3; turn++) require_snapshot(ledger, pond, keys, 50);
}

/* The snapshot finishes what the dead one decided, as it needs to. */
static void snapshot_after_a_death(struct ledger *ledger, struct millpond *pond) {
    uint32_t keys[40], n = 0;
    let_one_die(ledger, pond);
    for (uint32_t key = 0; key < ledger->count && n < 40; key++)
        if (ledger->records[key].pending) keys[n++] = key;
    CHECK(n > 20, "only %u keys are pending", n);
    require_snapshot(ledger, pond, keys, n);
}

/* ---- single flight ---- */

/* The last key's value is stale when the clock has moved on. */
static void a_few_and_a_stale_one(struct ledger *ledger, struct millpond *pond) {
    a_few(ledger, pond);
    ledger_set_grace(ledger, pond, ledger_key(ledger, 12), 100, HOUR_MS, 100 * HOUR_MS);
}

struct leading {
    struct millpond *pond;
    char text[512];
    struct millpond_lease lease;
    uint64_t waits;
};

/* Ends its thread instead of returning, as soon as somebody waits for it. */
static int end_when_awaited(void *arg, const void *key, size_t key_bytes, struct millpond_load *load) {
    const struct leading *l = arg;
    (void)key, (void)key_bytes, (void)load;
    for (int i = 0; i < 5000 && stats_of(l->pond).flight_waits == l->waits; i++) support_sleep_ms(1);
    support_sleep_ms(3);
    pthread_exit(NULL);
}

static void *lead_and_end(void *arg) {
    struct leading *l = arg;
    millpond_fetch(l->pond, l->text, 12, end_when_awaited, l, NULL, NULL, 0, NULL, NULL);
    return NULL;
}

static void *lease_and_end(void *arg) {
    struct leading *l = arg;
    int result = millpond_lease_acquire(l->pond, l->text, 12, NULL, NULL, 0, NULL, &l->lease);
    CHECK(result == MILLPOND_MISS && l->lease.state == MILLPOND_LEASE_WON, "a lease: %s", millpond_strerror(result));
    return NULL;
}

static struct leading leading_of(struct ledger *ledger, struct millpond *pond, uint32_t key) {
    struct leading l = {.pond = pond, .waits = stats_of(pond).flight_waits};
    ledger_spell(ledger, key, l.text);
    return l;
}

static void fetch_all_ways(struct ledger *ledger, struct millpond *pond) {
    uint32_t stale = ledger->count - 1;
    ledger_fetch(ledger, pond, ABSENT, 100, HOUR_MS);
    ledger_fetch_nothing(ledger, pond, ledger_key(ledger, 12), HOUR_MS);
    ledger_fetch_nothing(ledger, pond, stale, 0);
    ledger_fetch(ledger, pond, stale, 90, 0);
}

/* Leaders that end: a thread's flight is inherited, a thread's lease taken over. */
static void fetch_behind_the_dead(struct ledger *ledger, struct millpond *pond) {
    pthread_t thread;
    struct leading l = leading_of(ledger, pond, ledger_key(ledger, 12));
    uint64_t flights = stats_of(pond).flights;
    CHECK(pthread_create(&thread, NULL, lead_and_end, &l) == 0, "a thread");
    for (int i = 0; i < 5000 && stats_of(pond).flights == flights; i++) support_sleep_ms(1);
    ledger_fetch(ledger, pond, ledger->count - 1, 100, 0);
    CHECK(pthread_join(thread, NULL) == 0, "joining");
    l = leading_of(ledger, pond, ledger_key(ledger, 12));
    CHECK(pthread_create(&thread, NULL, lease_and_end, &l) == 0 && pthread_join(thread, NULL) == 0, "a thread");
    ledger_fetch(ledger, pond, ledger->count - 1, 100, 0);
    CHECK(millpond_lease_fill(pond, &l.lease, l.text, 12, "late", 4, NULL) == MILLPOND_CHANGED, "a lease that was taken over");
}

static void change_what_is_loaded(struct ledger *ledger, struct millpond *pond) {
    struct leading l = leading_of(ledger, pond, ABSENT);
    lease_and_end(&l);
    ledger_set(ledger, pond, ABSENT, 80, 0);
    CHECK(millpond_lease_fill(pond, &l.lease, l.text, 12, "late", 4, NULL) == MILLPOND_CHANGED, "a fill behind a set");
    ledger_delete(ledger, pond, ABSENT);
    lease_and_end(&l);
    ledger_clear(ledger, pond);
    CHECK(millpond_lease_fill(pond, &l.lease, l.text, 12, "late", 4, NULL) == MILLPOND_CHANGED, "a fill behind a clear");
}

/* A view of every entry, held while some leave, and the next ones beside it. */
static void view_and_write(struct ledger *ledger, struct millpond *pond) {
    struct millpond_view views[8];
    char text[512];
    memset(views, 0, sizeof views);
    for (uint32_t key = 0; key < ledger->count; key++) {
        struct millpond_view *v = &views[key % 8];
        millpond_view_release(v);
        ledger_spell(ledger, key, text);
        int result = millpond_view(pond, text, ledger->records[key].key_bytes, v);
        CHECK(result == MILLPOND_OK || result == MILLPOND_MISS || result == MILLPOND_ERR_PINNED, "a view of key %u: %s", key,
              millpond_strerror(result));
        if (key % 4 == 1) ledger_set(ledger, pond, key, 150, 0);
    }
    for (int i = 0; i < 8; i++) millpond_view_release(&views[i]);
}

const struct scenario scenarios[] = {
    {"get", .prepare = a_few, .act = get},
    {"get in chunks", .prepare = large_ones, .act = get},
    {"view", .prepare = a_few, .act = view_and_write},
    {"view in chunks", .segment_bytes = 4096, .prepare = large_ones, .act = view_and_write},
    {"set new", .prepare = a_few, .act = set_new},
    {"set new ones in a row", .prepare = a_few, .act = set_new_in_a_row},
    {"set new with a long key", .prepare = a_few, .act = set_new_long_key},
    {"set new into a hole", .prepare = a_few_and_holes, .act = set_new},
    {"set new with a time to live", .segment_bytes = 2048, .prepare = a_few, .act = set_new_mortal},
    {"overwrite by appending", .prepare = a_few, .act = overwrite_longer},
    {"overwrite through a hole", .prepare = a_few_and_holes, .act = overwrite_same_size},
    {"overwrite with a long key", .prepare = a_few, .act = overwrite_long_key},
    {"overwrite with a long key through a hole", .prepare = a_few_and_holes, .act = overwrite_long_key},
    {"overwrite with a time to live", .segment_bytes = 2048, .prepare = a_few_and_holes, .act = overwrite_mortal},
    {"add, replace, cas", .prepare = a_few_and_holes, .act = add_replace_cas},
    {"delete", .prepare = a_few, .act = delete_some},
    {"touch", .prepare = a_few_and_holes, .act = touch_both_ways},
    {"incr", .prepare = a_few, .act = incr_all_ways},
    {"set, delete and incr for several namespaces", .flags = MILLPOND_NAMESPACES, .prepare = a_few, .act = change_behind_a_gate},
    {"set in chunks", .segment_bytes = 4096, .prepare = large_ones, .act = set_large},
    {"overwrite in chunks", .segment_bytes = 4096, .prepare = large_ones, .act = overwrite_large},
    {"delete and touch in chunks", .segment_bytes = 4096, .prepare = large_ones, .act = delete_large},
    {"displace", .size_bytes = 128 << 10, .entry_bytes = 900, .prepare = full_index, .act = displace},
    {"evict what is cold", .size_bytes = 128 << 10, .segment_bytes = 2048, .prepare = full_and_cold, .act = evict_small},
    {"evict who comes back", .size_bytes = 128 << 10, .segment_bytes = 2048, .entry_bytes = 310, .prepare = full_and_cold,
     .act = evict_and_come_back},
    {"evict and promote", .size_bytes = 128 << 10, .segment_bytes = 2048, .prepare = full_and_mixed, .act = evict_mixed},
    {"relink what is hot", .size_bytes = 128 << 10, .segment_bytes = 2048, .prepare = full_and_hot, .act = relink},
    {"evict in chunks", .segment_bytes = 4096, .prepare = full_of_large_ones, .act = evict_large},
    {"recycle what is over", .size_bytes = 192 << 10, .segment_bytes = 1536, .clock_ms = 2 * HOUR_MS, .prepare = full_and_mortal,
     .act = expire},
    {"groups", .segment_bytes = 4096, .prepare = in_groups, .act = invalidate},
    {"groups in four shards", .size_bytes = 512 << 10, .segment_bytes = 4096, .shards = 4, .prepare = in_groups, .act = invalidate},
    {"a group behind a sync", .segment_bytes = 4096, .prepare = in_groups, .act = sync_and_invalidate},
    {"transaction", .prepare = a_few_and_holes, .act = transact},
    {"transaction in four shards", .size_bytes = 512 << 10, .shards = 4, .prepare = both_shards, .act = transact_everywhere},
    {"transaction in chunks", .segment_bytes = 4096, .prepare = large_ones, .act = transact_large},
    {"transaction into a full pond", .size_bytes = 128 << 10, .segment_bytes = 2048, .prepare = full_and_cold, .act = transact_into_full},
    {"transactions after a death", .size_bytes = 512 << 10, .shards = 4, .prepare = both_shards, .act = transact_after_a_death},
    {"snapshot after a death", .size_bytes = 512 << 10, .shards = 4, .prepare = both_shards, .act = snapshot_after_a_death},
    {"snapshot", .size_bytes = 256 << 10, .shards = 2, .prepare = both_shards, .act = snapshots},

    {"fetch", .clock_ms = 2 * HOUR_MS, .prepare = a_few_and_a_stale_one, .act = fetch_all_ways},
    {"fetch behind the dead", .prepare = a_few, .act = fetch_behind_the_dead},
    {"fetch for several namespaces", .flags = MILLPOND_NAMESPACES, .clock_ms = 2 * HOUR_MS, .prepare = a_few_and_a_stale_one,
     .act = fetch_all_ways},
    {"change what is being loaded", .prepare = a_few, .act = change_what_is_loaded},
    {"clear", .size_bytes = 256 << 10, .shards = 2, .prepare = both_shards, .act = clear},
    {"sync, then set", .size_bytes = 256 << 10, .shards = 2, .prepare = both_shards, .act = sync_and_set},
    {"set after a sync", .size_bytes = 256 << 10, .shards = 2, .prepare = synced, .act = sync_and_set},
};
const unsigned scenario_count = sizeof scenarios / sizeof *scenarios;

const struct scenario *scenario_find(const char *sentence) {
    for (unsigned i = 0; i < scenario_count; i++)
        if (strcmp(scenarios[i].sentence, sentence) == 0) return &scenarios[i];
    CHECK(false, "there is no scenario \"%s\"", sentence);
}

/* ---- running them ---- */

struct preparing {
    const struct scenario *scenario;
    const struct ground *ground;
    struct ledger *ledger;
};

static int prepare(void *arg) {
    const struct preparing *p = arg;
    struct millpond *pond = support_open(p->ground->path, NULL);
    p->scenario->prepare(p->ledger, pond);
    ledger_learn(p->ledger, pond);
    millpond_close(pond);
    return 0;
}

void scenario_ground(const struct scenario *scenario, const char *name, uint32_t shards, struct ground *ground, struct ledger *ledger) {
    struct millpond_options options = MILLPOND_OPTIONS_INIT;
    if (shards == 0) shards = scenario->shards ? scenario->shards : 1;
    options.size_bytes = (scenario->size_bytes ? scenario->size_bytes : 256 << 10);
    if (shards > 1 && scenario->shards <= 1) options.size_bytes *= shards;
    options.segment_bytes = scenario->segment_bytes;
    options.entry_bytes = scenario->entry_bytes;
    options.shards = shards;
    options.flags = scenario->flags;
    memset(ledger, 0, sizeof *ledger);
    crash_trying("%s: preparing", scenario->sentence);
    ground_make(ground, name, &options);
    struct preparing preparing = {scenario, ground, ledger};
    crash_run(prepare, &preparing, "the process that prepares");
    if (scenario->clock_ms) {
        ground_advance_clock(ground, scenario->clock_ms);
        ledger_expire(ledger);
    }
    ground_keep(ground);
}

void scenario_act(const struct scenario *scenario, const struct ground *ground, struct ledger *ledger, void (*armed)(void *arg),
                  void *arg) {
    struct millpond *pond = support_open(ground->path, NULL);
    if (armed) armed(arg);
    scenario->act(ledger, pond);
    crash_unwatch();
    millpond_close(pond);
}
