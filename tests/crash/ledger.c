/* SPDX-License-Identifier: MIT */
/* What must stand in a pond. */

#include "ledger.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TTL_TOLERANCE_MS 60000u /* how far the wall clock may have gone wrong between a set and a look */

static unsigned char buffer[LEDGER_VALUE_MAX];

struct ledger *ledger_make(void) {
    return support_share(sizeof(struct ledger));
}

static size_t used_bytes(const struct ledger *ledger) { return offsetof(struct ledger, records) + ledger->count * sizeof(struct record); }

struct ledger *ledger_copy(const struct ledger *ledger) {
    struct ledger *copy = malloc(used_bytes(ledger));
    CHECK(copy, "no memory for a ledger");
    memcpy(copy, ledger, used_bytes(ledger));
    return copy;
}

void ledger_put(struct ledger *ledger, const struct ledger *copy) { memcpy(ledger, copy, used_bytes(copy)); }

/* ---- keys ---- */

uint32_t ledger_key(struct ledger *ledger, uint32_t key_bytes) {
    uint32_t key = ledger->count;
    CHECK(key < LEDGER_KEYS_MAX && key_bytes >= 12 && key_bytes < 512, "the ledger is full, or a key of %u bytes", key_bytes);
    ledger->records[key] = (struct record){.key_bytes = key_bytes};
    ledger->count++;
    return key;
}

void ledger_spell(const struct ledger *ledger, uint32_t key, char text[512]) {
    uint32_t bytes = ledger->records[key].key_bytes;
    int n = snprintf(text, 512, "key-%06u", key);
    for (uint32_t i = (uint32_t)n; i < bytes; i++) text[i] = (char)('a' + (i + key) % 26);
    text[bytes] = 0;
}

/* ---- changes ---- */

static struct record *begin(struct ledger *ledger, uint32_t key, struct fact next) {
    struct record *record = &ledger->records[key];
    record->next = next;
    record->group = 0;
    record->of = 0;
    record->pending = 1;
    return record;
}

static void done(struct record *record) {
    record->now = record->next;
    record->pending = 0;
}

static struct fact fresh_value(struct ledger *ledger, uint32_t key, uint32_t bytes, uint64_t ttl_ms) {
    struct fact fact = {.kind = FACT_VALUE, .bytes = bytes, .sequence = ++ledger->sequence, .ttl_ms = ttl_ms, .begun_ns = support_now_ns()};
    CHECK(bytes <= sizeof buffer, "a value of %u bytes", bytes);
    support_value_write(buffer, bytes, key, fact.sequence);
    return fact;
}

void ledger_set(struct ledger *ledger, struct millpond *pond, uint32_t key, uint32_t bytes, uint64_t ttl_ms) {
    ledger_set_grace(ledger, pond, key, bytes, ttl_ms, 0);
}

static void set_as(struct ledger *ledger, struct millpond *pond, uint32_t key, uint32_t bytes, struct millpond_set options) {
    char text[512];
    ledger_spell(ledger, key, text);
    struct record *record = begin(ledger, key, fresh_value(ledger, key, bytes, options.ttl_ms));
    if (options.group) record->of = *(const char *)options.group;
    int result = millpond_set_ex(pond, text, record->key_bytes, buffer, bytes, &options);
    CHECK(result == MILLPOND_OK, "setting key %u to %u bytes: %s", key, bytes, millpond_strerror(result));
    record->next.version = options.version;
    done(record);
}

void ledger_set_grace(struct ledger *ledger, struct millpond *pond, uint32_t key, uint32_t bytes, uint64_t ttl_ms, uint64_t grace_ms) {
    set_as(ledger, pond, key, bytes, (struct millpond_set){.ttl_ms = ttl_ms, .grace_ms = grace_ms});
}

void ledger_set_in(struct ledger *ledger, struct millpond *pond, uint32_t key, uint32_t bytes, uint64_t ttl_ms, char name) {
    set_as(ledger, pond, key, bytes, (struct millpond_set){.ttl_ms = ttl_ms, .group = &name, .group_bytes = 1});
}

void ledger_invalidate(struct ledger *ledger, struct millpond *pond, char name) {
    uint64_t group = ++ledger->groups;
    ledger->lingering = 1;
    for (uint32_t key = 0; key < ledger->count; key++)
        if (ledger->records[key].of == name) begin(ledger, key, (struct fact){.kind = FACT_ABSENT})->group = group;
    int result = millpond_invalidate(pond, &name, 1);
    CHECK(result == MILLPOND_OK, "invalidating: %s", millpond_strerror(result));
    for (uint32_t key = 0; key < ledger->count; key++)
        if (ledger->records[key].pending && ledger->records[key].group == group) done(&ledger->records[key]);
}

struct giving {
    uint32_t bytes;
    void (*first)(void *arg);
    void *arg;
};

static int give_buffer(void *arg, const void *key, size_t key_bytes, struct millpond_load *load) {
    const struct giving *giving = arg;
    (void)key, (void)key_bytes;
    if (giving->first) giving->first(giving->arg);
    if (giving->bytes == 0) return MILLPOND_MISS;
    load->value = buffer;
    load->value_bytes = giving->bytes;
    return MILLPOND_OK;
}

void ledger_fetch(struct ledger *ledger, struct millpond *pond, uint32_t key, uint32_t bytes, uint64_t ttl_ms) {
    ledger_fetch_behind(ledger, pond, key, bytes, ttl_ms, NULL, NULL);
}

void ledger_fetch_behind(struct ledger *ledger, struct millpond *pond, uint32_t key, uint32_t bytes, uint64_t ttl_ms,
                         void (*first)(void *arg), void *arg) {
    struct giving giving = {bytes, first, arg};
    static unsigned char copy[LEDGER_VALUE_MAX];
    char text[512];
    size_t copied = 0;
    struct millpond_fetch options = {.ttl_ms = ttl_ms};
    struct millpond_fetched how;
    ledger_spell(ledger, key, text);
    struct record *record = begin(ledger, key, fresh_value(ledger, key, bytes, ttl_ms));
    int result = millpond_fetch(pond, text, record->key_bytes, give_buffer, &giving, &options, copy, sizeof copy, &copied, &how);
    CHECK(result == MILLPOND_OK && how.how == MILLPOND_HOW_LOADED, "fetching key %u: %s (%u)", key, millpond_strerror(result), how.how);
    CHECK(copied == bytes && memcmp(copy, buffer, bytes) == 0, "fetching key %u gave another value", key);
    done(record);
}

void ledger_fetch_nothing(struct ledger *ledger, struct millpond *pond, uint32_t key, uint64_t negative_ttl_ms) {
    char text[512];
    struct giving nothing = {.bytes = 0};
    struct millpond_fetch options = {.negative_ttl_ms = negative_ttl_ms, .flags = MILLPOND_FETCH_FRESH};
    ledger_spell(ledger, key, text);
    if (negative_ttl_ms) ledger->lingering = 1;
    int result = millpond_fetch(pond, text, ledger->records[key].key_bytes, give_buffer, &nothing, &options, NULL, 0, NULL, NULL);
    CHECK(result == MILLPOND_MISS, "fetching key %u, which is nowhere: %s", key, millpond_strerror(result));
}

void ledger_set_when(struct ledger *ledger, struct millpond *pond, uint32_t key, uint32_t bytes, enum millpond_when when) {
    char text[512];
    struct millpond_set options = {.when = (uint32_t)when};
    ledger_spell(ledger, key, text);
    struct fact before = ledger->records[key].now;
    bool there = before.kind != FACT_ABSENT;
    int expected = when == MILLPOND_IF_ABSENT ? (there ? MILLPOND_EXISTS : MILLPOND_OK) : there ? MILLPOND_OK : MILLPOND_MISS;
    struct fact next = fresh_value(ledger, key, bytes, 0);
    if (when == MILLPOND_IF_VERSION) options.version = before.version;
    struct record *record = begin(ledger, key, expected == MILLPOND_OK ? next : before);
    int result = millpond_set_ex(pond, text, record->key_bytes, buffer, bytes, &options);
    CHECK(result == expected, "a conditional set (%u) of key %u: %s, expected: %s", when, key, millpond_strerror(result),
          millpond_strerror(expected));
    if (expected == MILLPOND_OK) record->next.version = options.version;
    done(record);
}

void ledger_text(struct ledger *ledger, struct millpond *pond, uint32_t key, int64_t number, uint64_t ttl_ms) {
    char text[512], value[32];
    ledger_spell(ledger, key, text);
    int n = snprintf(value, sizeof value, "%lld", (long long)number);
    struct fact fact = {.kind = FACT_NUMBER, .number = number, .ttl_ms = ttl_ms, .begun_ns = support_now_ns()};
    struct record *record = begin(ledger, key, fact);
    int result = millpond_set(pond, text, record->key_bytes, value, (size_t)n, ttl_ms);
    CHECK(result == MILLPOND_OK, "setting key %u to a number: %s", key, millpond_strerror(result));
    done(record);
}

void ledger_delete(struct ledger *ledger, struct millpond *pond, uint32_t key) {
    char text[512];
    ledger_spell(ledger, key, text);
    struct record *record = begin(ledger, key, (struct fact){.kind = FACT_ABSENT});
    int expected = record->now.kind == FACT_ABSENT ? MILLPOND_MISS : MILLPOND_OK;
    int result = millpond_delete(pond, text, record->key_bytes);
    CHECK(result == expected, "deleting key %u: %s, expected: %s", key, millpond_strerror(result), millpond_strerror(expected));
    done(record);
}

void ledger_touch(struct ledger *ledger, struct millpond *pond, uint32_t key, uint64_t ttl_ms) {
    char text[512];
    ledger_spell(ledger, key, text);
    struct fact next = ledger->records[key].now;
    next.ttl_ms = ttl_ms;
    next.begun_ns = support_now_ns();
    struct record *record = begin(ledger, key, next);
    int result = millpond_touch(pond, text, record->key_bytes, ttl_ms);
    CHECK(result == MILLPOND_OK, "touching key %u: %s", key, millpond_strerror(result));
    done(record);
}

void ledger_incr(struct ledger *ledger, struct millpond *pond, uint32_t key, int64_t delta) {
    char text[512];
    struct millpond_incr create = {.initial = 100};
    int64_t number;
    ledger_spell(ledger, key, text);
    struct fact next = ledger->records[key].now;
    next.number = (next.kind == FACT_ABSENT ? create.initial : next.number) + delta;
    next.kind = FACT_NUMBER;
    next.version = 0;
    struct record *record = begin(ledger, key, next);
    int result = millpond_incr(pond, text, record->key_bytes, delta, &create, &number);
    CHECK(result == MILLPOND_OK, "incrementing key %u: %s", key, millpond_strerror(result));
    CHECK(number == next.number, "key %u is now %lld, expected %lld", key, (long long)number, (long long)next.number);
    done(record);
}

void ledger_clear(struct ledger *ledger, struct millpond *pond) {
    ledger->clearing = 1;
    int result = millpond_clear(pond);
    CHECK(result == MILLPOND_OK, "clearing: %s", millpond_strerror(result));
    for (uint32_t key = 0; key < ledger->count; key++) ledger->records[key].now = (struct fact){.kind = FACT_ABSENT};
    ledger->clearing = 0;
}

void ledger_txn(struct ledger *ledger, struct millpond *pond, const struct ledger_change *changes, unsigned count) {
    char text[512];
    struct millpond_txn *txn;
    int result = millpond_txn_begin(pond, &txn);
    CHECK(result == MILLPOND_OK, "beginning a transaction: %s", millpond_strerror(result));
    uint64_t group = ++ledger->groups;
    for (unsigned i = 0; i < count; i++) {
        const struct ledger_change *change = &changes[i];
        struct record *record = &ledger->records[change->key];
        ledger_spell(ledger, change->key, text);
        struct fact next = {.kind = FACT_ABSENT};
        if (change->bytes) next = fresh_value(ledger, change->key, change->bytes, change->ttl_ms);
        result = change->bytes ? millpond_txn_set(txn, text, record->key_bytes, buffer, change->bytes, change->ttl_ms)
                               : millpond_txn_delete(txn, text, record->key_bytes);
        CHECK(result == MILLPOND_OK, "key %u in a transaction: %s", change->key, millpond_strerror(result));
        begin(ledger, change->key, next)->group = group;
    }
    result = millpond_txn_commit(txn);
    CHECK(result == MILLPOND_OK, "committing: %s", millpond_strerror(result));
    for (unsigned i = 0; i < count; i++) done(&ledger->records[changes[i].key]);
}

uint32_t ledger_add(struct ledger *ledger, struct millpond *pond, uint32_t bytes) {
    uint32_t key = ledger_key(ledger, 12 + ledger->count % 5);
    ledger_set(ledger, pond, key, bytes, 0);
    return key;
}

/* ---- looking ---- */

static bool lives_as_long(const struct fact *fact, uint64_t ttl_ms) {
    uint64_t passed_ms = (support_now_ns() - fact->begun_ns) / 1000000;
    if (fact->ttl_ms == 0) return ttl_ms == 0;
    return ttl_ms != 0 && ttl_ms <= fact->ttl_ms && ttl_ms + passed_ms + TTL_TOLERANCE_MS >= fact->ttl_ms;
}

/* Is this content, with this version and time to live, the fact? */
static bool is(uint32_t key, const struct fact *fact, size_t bytes, uint64_t version, uint64_t ttl_ms) {
    if (fact->kind == FACT_ABSENT || (fact->version && fact->version != version)) return false;
    if (!lives_as_long(fact, ttl_ms)) return false;
    if (fact->kind == FACT_NUMBER) {
        char text[32];
        int n = snprintf(text, sizeof text, "%lld", (long long)fact->number);
        return bytes == (size_t)n && memcmp(buffer, text, bytes) == 0;
    }
    uint64_t sequence;
    return bytes == fact->bytes && !support_value_read(buffer, bytes, key, &sequence) && sequence == fact->sequence;
}

static void describe(uint32_t key, size_t bytes, char text[128]) {
    uint64_t sequence = 0;
    const char *wrong = support_value_read(buffer, bytes, key, &sequence);
    if (wrong)
        snprintf(text, 128, "%zu bytes, begins \"%.*s\"; %s", bytes, (int)(bytes < 20 ? bytes : 0), buffer, wrong);
    else
        snprintf(text, 128, "%zu bytes, value number %llu", bytes, (unsigned long long)sequence);
}

enum seen ledger_look(const struct ledger *ledger, struct millpond *pond, uint32_t key, bool repaired) {
    char text[512], have[128];
    const struct record *record = &ledger->records[key];
    size_t bytes = 0;
    uint64_t version = 0, ttl_ms = 0;
    ledger_spell(ledger, key, text);
    int result = millpond_get_if_changed(pond, text, record->key_bytes, buffer, sizeof buffer, &bytes, &version);
    if (result == MILLPOND_MISS) return SEEN_GONE;
    CHECK(result == MILLPOND_OK, "getting key %u: %s", key, millpond_strerror(result));
    size_t again = 0; /* a get without a version goes another way */
    result = millpond_get(pond, text, record->key_bytes, buffer, sizeof buffer, &again);
    CHECK(result == MILLPOND_OK && again == bytes, "getting key %u again: %s, %zu bytes, before: %zu", key, millpond_strerror(result),
          again, bytes);
    result = millpond_ttl(pond, text, record->key_bytes, &ttl_ms);
    CHECK(result == MILLPOND_OK, "the time to live of key %u: %s", key, millpond_strerror(result));
    struct fact now = record->now;
    if (record->pending && now.kind == FACT_NUMBER) now.version = 0; /* whoever repairs gives a counter another version in either case */
    if (is(key, &now, bytes, version, ttl_ms)) return SEEN_NOW;
    if (record->pending && is(key, &record->next, bytes, version, ttl_ms)) {
        bool renumbered = record->now.kind != FACT_NUMBER || record->next.kind != FACT_NUMBER || version != record->now.version;
        if (repaired) CHECK(renumbered, "key %u has another number, and the version of the old one", key);
        return SEEN_NEXT;
    }
    describe(key, bytes, have);
    CHECK(false, "key %u has what nobody stored: %s, version %llu, %llu ms to live; the fact is value number %llu, version %llu%s", key,
          have, (unsigned long long)version, (unsigned long long)ttl_ms, (unsigned long long)record->now.sequence,
          (unsigned long long)record->now.version, record->now.kind == FACT_ABSENT ? ", absent" : "");
}

void ledger_read(const struct ledger *ledger, struct millpond *pond, uint32_t key) {
    enum seen seen = ledger_look(ledger, pond, key, false);
    CHECK(seen == SEEN_NOW || seen == SEEN_GONE, "key %u has a pending content", key);
}

void ledger_expire(struct ledger *ledger) {
    for (uint32_t key = 0; key < ledger->count; key++)
        if (ledger->records[key].now.ttl_ms) ledger->records[key].now = (struct fact){.kind = FACT_ABSENT};
    ledger->lingering = 1;
}

static uint64_t evictions_of(struct millpond *pond) {
    struct millpond_stats stats;
    CHECK(millpond_stats(pond, -1, &stats) == MILLPOND_OK, "stats");
    return stats.evictions;
}

void ledger_learn(struct ledger *ledger, struct millpond *pond) {
    for (uint32_t key = 0; key < ledger->count; key++) {
        struct record *record = &ledger->records[key];
        char text[512];
        size_t bytes;
        uint64_t version = 0;
        ledger_spell(ledger, key, text);
        int result = millpond_get_if_changed(pond, text, record->key_bytes, buffer, sizeof buffer, &bytes, &version);
        if (result == MILLPOND_OK)
            record->now.version = version;
        else
            record->now = (struct fact){.kind = FACT_ABSENT}; /* evicted while the ground was prepared */
    }
    ledger->evictions = evictions_of(pond);
}

/* ---- audits ---- */

/* May what was seen before have become this? That a key is gone is another question: it may have been evicted. */
static bool may_become(const struct record *record, enum seen seen, bool repaired) {
    enum seen before = (enum seen)record->seen;
    if (before == SEEN_NOT_YET || before == seen) return true;
    if (!repaired) return false; /* nobody has written since */
    if (seen == SEEN_GONE) return true;
    return seen == SEEN_NEXT && (before == SEEN_NOW || record->now.kind == FACT_ABSENT);
}

static bool must_be_there(const struct ledger *ledger, const struct record *record) {
    if (ledger->clearing || (record->pending && record->next.kind == FACT_ABSENT)) return false;
    return record->now.kind != FACT_ABSENT || record->seen == SEEN_NEXT;
}

static void sum_up(struct audit *sums, const struct record *record, const struct fact *fact) {
    sums->present++;
    sums->bytes += record->key_bytes + (fact->kind == FACT_VALUE ? fact->bytes : 0);
    if (fact->kind == FACT_NUMBER) sums->numbers++;
}

/* What the look at a key of an unfinished transaction says: 1 it happened, -1 it did not, 0 either. */
static int happened(const struct record *record) {
    if (record->seen == SEEN_NEXT) return 1;
    if (record->seen == SEEN_NOW) return -1;
    if (record->now.kind == FACT_ABSENT) return record->next.kind == FACT_ABSENT ? 0 : -1;
    return record->next.kind == FACT_ABSENT ? 1 : 0;
}

/* Of each unfinished transaction all changes or none. */
static void require_whole_groups(const struct ledger *ledger) {
    for (uint64_t group = 1; group <= ledger->groups; group++) {
        uint32_t done_key = 0, not_key = 0, was_done = 0, was_not = 0;
        for (uint32_t key = 0; key < ledger->count; key++) {
            const struct record *record = &ledger->records[key];
            if (!record->pending || record->group != group) continue;
            int verdict = happened(record);
            if (verdict > 0) was_done++, done_key = key;
            if (verdict < 0) was_not++, not_key = key;
        }
        CHECK(!was_done || !was_not, "half of a transaction: %u keys are changed, such as %u, and %u are not, such as %u", was_done,
              done_key, was_not, not_key);
    }
}

struct audit ledger_audit(struct ledger *ledger, struct millpond *pond, bool repaired) {
    struct audit sums = {0, 0, 0, 0};
    uint64_t lost = 0;
    for (uint32_t key = 0; key < ledger->count; key++) {
        struct record *record = &ledger->records[key];
        enum seen seen = ledger_look(ledger, pond, key, repaired);
        if (seen == SEEN_GONE && must_be_there(ledger, record)) lost++;
        CHECK(may_become(record, seen, repaired), "key %u was seen as %u and is now %u (1 gone, 2 as before, 3 as the unfinished change)",
              key, record->seen, seen);
        record->seen = seen;
        if (seen == SEEN_GONE)
            sums.gone++;
        else
            sum_up(&sums, record, seen == SEEN_NOW ? &record->now : &record->next);
    }
    uint64_t evicted = evictions_of(pond) - ledger->evictions;
    if (repaired && evicted == 0) require_whole_groups(ledger);
    CHECK(lost <= evicted, "%llu acknowledged keys are gone, and %llu were evicted", (unsigned long long)lost, (unsigned long long)evicted);
    return sums;
}

void ledger_settle(struct ledger *ledger, struct millpond *pond) {
    for (uint32_t key = 0; key < ledger->count; key++) {
        struct record *record = &ledger->records[key];
        if (record->seen == SEEN_NEXT) record->now = record->next;
        if (record->seen == SEEN_GONE) record->now = (struct fact){.kind = FACT_ABSENT};
        if (record->pending) record->now.version = 0;
        record->pending = 0;
        record->seen = SEEN_NOT_YET;
    }
    ledger->clearing = 0;
    ledger->evictions = evictions_of(pond);
}
