/* SPDX-License-Identifier: MIT */
/* soak_worker.c: what a worker of a soak does until it is killed or told to stop. */
#include "soak.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *const soak_op_names[SOAK_OP_COUNT] = {
#define SOAK_NAME(name) #name,
    SOAK_OPS(SOAK_NAME)
#undef SOAK_NAME
};

enum { MGET_KEYS = 16, MGET_ROOM = 8192, TTL_MS_LEAST = 20, TTL_MS_MORE = 200 };

void soaker_init(struct soaker *soaker, const struct soak *soak, unsigned nth) {
    memset(soaker, 0, sizeof *soaker);
    soaker->soak = soak;
    soaker->nth = nth;
    soaker->slot = &soak->shared->slots[nth];
    soaker->rng.state = mix64(soak->seed) + mix64(soak->generation);
    soaker->room = (size_t)soak->value_bytes_max + 8;
    soaker->value = host_alloc(soaker->room);
    soaker->buf = host_alloc(soaker->room > (size_t)MGET_KEYS * MGET_ROOM ? soaker->room : (size_t)MGET_KEYS * MGET_ROOM);
}

void soaker_free(struct soaker *soaker) {
    free(soaker->value);
    free(soaker->buf);
}

/* ---- writes to a key of its own ---- */

/* A write under way: the key and what is known of it. */
struct writing {
    struct soak_key *known;
    uint64_t key, number, before; /* the state before, certain when `certain` */
    bool certain, present;
    char name[32];
    size_t name_bytes;
};

static void begin_write(struct soaker *soaker, struct writing *writing, uint64_t key) {
    memset(writing, 0, sizeof *writing);
    writing->key = key;
    writing->known = &soaker->soak->shared->keys[key];
    writing->name_bytes = soak_key_name(writing->name, key);
    writing->before = atomic_load(&writing->known->acked);
    writing->certain = atomic_load(&writing->known->intent) == writing->before;
    writing->present = writing->before & 1;
}

/* Notes that a state is about to be made, before the call that makes it. */
static void announce(struct writing *writing, bool present) {
    writing->number = atomic_load(&writing->known->issued) + 1;
    atomic_store(&writing->known->issued, writing->number);
    if (!present)
        atomic_store(&writing->known->deleted, writing->number);
    atomic_store(&writing->known->intent, soak_state(writing->number, present));
}

static void acknowledge(struct writing *writing) {
    atomic_store(&writing->known->acked, atomic_load(&writing->known->intent));
}

/* The call has changed nothing: what was certain before is certain again. */
static void withdraw(struct writing *writing) {
    if (writing->certain)
        atomic_store(&writing->known->intent, writing->before);
}

/* One result must come; with eviction a second one may. Busy and full are errors that nobody expects here. */
static void expect_result(struct soaker *soaker, const struct writing *writing, const char *call, int result, int must, int may) {
    bool good = result == must || (soaker->soak->pressure && (result == may || result == MILLPOND_ERR_FULL));
    if (!good && result == MILLPOND_MISS && may == MILLPOND_MISS)
        soak_judge_gone(soaker, writing->key, writing->before >> 1); /* though nobody deleted it: the misses' business */
    else if (good)
        soak_pass(soaker, SOAK_results);
    else
        soak_fail(soaker, SOAK_results, "key %llu: %s answers: %s (%d)", (unsigned long long)writing->key, call, millpond_strerror(result),
                  result);
}

static size_t make_value(struct soaker *soaker, const struct writing *writing, uint64_t ttl_ms) {
    return soak_value_make(soaker->soak, soaker->value, writing->key, writing->number, ttl_ms > 0 ? soak_clock_ms() + ttl_ms : 0);
}

static void do_set(struct soaker *soaker, uint64_t key) {
    struct writing writing;
    uint64_t ttl_ms = soak_is_mortal(key) ? TTL_MS_LEAST + rng_below(&soaker->rng, TTL_MS_MORE) : 0;
    begin_write(soaker, &writing, key);
    announce(&writing, true);
    uint64_t began_ms = soak_clock_ms();
    size_t bytes = make_value(soaker, &writing, ttl_ms);
    int result = millpond_set(soaker->soak->pond, writing.name, writing.name_bytes, soaker->value, bytes, ttl_ms);
    uint64_t now_ms = soak_clock_ms();
    if (ttl_ms > 0 && now_ms > began_ms)
        soak_raise_to(&writing.known->late_ms, now_ms - began_ms);
    if (result == MILLPOND_OK)
        acknowledge(&writing);
    else
        withdraw(&writing);
    expect_result(soaker, &writing, "set", result, MILLPOND_OK, MILLPOND_OK);
}

static void do_delete(struct soaker *soaker, uint64_t key) {
    struct writing writing;
    begin_write(soaker, &writing, key);
    announce(&writing, false);
    int result = millpond_delete(soaker->soak->pond, writing.name, writing.name_bytes);
    if (result == MILLPOND_OK || result == MILLPOND_MISS)
        acknowledge(&writing);
    if (!writing.certain || soak_is_mortal(key))
        expect_result(soaker, &writing, "delete", result < 0 ? result : MILLPOND_OK, MILLPOND_OK, MILLPOND_OK);
    else
        expect_result(soaker, &writing, "delete", result, writing.present ? MILLPOND_OK : MILLPOND_MISS, MILLPOND_MISS);
}

/* add and replace: the one writes where nothing is, the other where something is. */
static void do_conditional(struct soaker *soaker, uint64_t key, bool add) {
    struct writing writing;
    begin_write(soaker, &writing, key);
    if (!writing.certain) {
        do_set(soaker, key);
        return;
    }
    announce(&writing, true);
    size_t bytes = make_value(soaker, &writing, 0);
    int result = add ? millpond_add(soaker->soak->pond, writing.name, writing.name_bytes, soaker->value, bytes, 0)
                     : millpond_replace(soaker->soak->pond, writing.name, writing.name_bytes, soaker->value, bytes, 0);
    if (result == MILLPOND_OK)
        acknowledge(&writing);
    else
        withdraw(&writing);
    if (add)
        expect_result(soaker, &writing, "add", result, writing.present ? MILLPOND_EXISTS : MILLPOND_OK, MILLPOND_OK);
    else
        expect_result(soaker, &writing, "replace", result, writing.present ? MILLPOND_OK : MILLPOND_MISS, MILLPOND_MISS);
}

static void do_touch(struct soaker *soaker, uint64_t key) {
    struct writing writing;
    begin_write(soaker, &writing, key);
    if (!writing.certain)
        return;
    int result = millpond_touch(soaker->soak->pond, writing.name, writing.name_bytes, rng_below(&soaker->rng, 2) * 3600000);
    expect_result(soaker, &writing, "touch", result, writing.present ? MILLPOND_OK : MILLPOND_MISS, MILLPOND_MISS);
}

/* Nobody else writes this key, so its version holds; after a set of its own the older version must not. */
static void do_cas(struct soaker *soaker, uint64_t key, bool stale) {
    struct writing writing;
    uint64_t version = 0;
    size_t bytes = 0;
    begin_write(soaker, &writing, key);
    if (!writing.certain || !writing.present)
        return;
    struct soak_before before = soak_before_read(soaker->soak, key);
    int result = millpond_get_if_changed(soaker->soak->pond, writing.name, writing.name_bytes, soaker->buf, soaker->room, &bytes, &version);
    if (result != MILLPOND_OK) {
        expect_result(soaker, &writing, "get_if_changed", result, MILLPOND_OK, MILLPOND_MISS);
        return;
    }
    soak_judge_value(soaker, key, &before, soaker->buf, bytes);
    if (stale) {
        do_set(soaker, key);
        begin_write(soaker, &writing, key);
    }
    announce(&writing, true);
    bytes = make_value(soaker, &writing, 0);
    result = millpond_cas(soaker->soak->pond, writing.name, writing.name_bytes, soaker->value, bytes, 0, version);
    if (result == MILLPOND_OK)
        acknowledge(&writing);
    else
        withdraw(&writing);
    const char *call = stale ? "cas with an old version" : "cas";
    expect_result(soaker, &writing, call, result, stale ? MILLPOND_CHANGED : MILLPOND_OK, MILLPOND_MISS);
}

/* ---- reads of any key ---- */

static void do_get_alloc(struct soaker *soaker, uint64_t key) {
    char name[32];
    void *value;
    size_t bytes = 0, name_bytes = soak_key_name(name, key);
    struct soak_before before = soak_before_read(soaker->soak, key);
    int result = millpond_get_alloc(soaker->soak->pond, name, name_bytes, &value, &bytes);
    if (result == MILLPOND_OK) {
        soak_judge_value(soaker, key, &before, value, bytes);
        free(value);
    } else if (result == MILLPOND_MISS) {
        soak_judge_miss(soaker, key, &before);
    } else {
        soak_fail(soaker, SOAK_whole, "key %llu: get_alloc answers: %s", (unsigned long long)key, millpond_strerror(result));
    }
}

static void do_contains(struct soaker *soaker, uint64_t key) {
    char name[32];
    size_t name_bytes = soak_key_name(name, key);
    struct soak_before before = soak_before_read(soaker->soak, key);
    int result = millpond_contains(soaker->soak->pond, name, name_bytes);
    if (result == MILLPOND_MISS)
        soak_judge_miss(soaker, key, &before);
    else if (result != MILLPOND_OK)
        soak_fail(soaker, SOAK_results, "key %llu: contains answers: %s", (unsigned long long)key, millpond_strerror(result));
}

/* Values that are larger than the room of an mget are asked for alone. */
static void do_mget(struct soaker *soaker) {
    struct millpond_mget gets[MGET_KEYS];
    struct soak_before before[MGET_KEYS];
    uint64_t keys[MGET_KEYS];
    char names[MGET_KEYS][32];
    for (unsigned i = 0; i < MGET_KEYS; i++) {
        keys[i] = rng_below(&soaker->rng, soaker->soak->key_count);
        before[i] = soak_before_read(soaker->soak, keys[i]);
        gets[i] = (struct millpond_mget){names[i], soak_key_name(names[i], keys[i]), soaker->buf + (size_t)i * MGET_ROOM, MGET_ROOM, 0, 0};
    }
    int result = millpond_mget(soaker->soak->pond, gets, MGET_KEYS);
    if (result != MILLPOND_OK) {
        soak_fail(soaker, SOAK_results, "mget answers: %s", millpond_strerror(result));
        return;
    }
    /* A second look overwrites the buffer: values first. */
    for (unsigned i = 0; i < MGET_KEYS; i++) {
        if (gets[i].result == MILLPOND_OK)
            soak_judge_value(soaker, keys[i], &before[i], gets[i].buf, gets[i].value_bytes);
    }
    for (unsigned i = 0; i < MGET_KEYS; i++) {
        if (gets[i].result == MILLPOND_MISS)
            soak_judge_miss(soaker, keys[i], &before[i]);
        else if (gets[i].result == MILLPOND_TOO_SMALL)
            soak_read(soaker, keys[i]);
        else if (gets[i].result != MILLPOND_OK)
            soak_fail(soaker, SOAK_results, "key %llu: mget answers: %s", (unsigned long long)keys[i], millpond_strerror(gets[i].result));
    }
}

/* ---- numbers that every worker raises ---- */

static void note_seen(struct soaker *soaker, struct soak_tally *tally, uint64_t before, uint64_t now, const char *what) {
    uint64_t seen = before;
    if (soaker->soak->pressure)
        return; /* one that was evicted begins again */
    if (now > before)
        soak_pass(soaker, SOAK_counters);
    else
        soak_fail(soaker, SOAK_counters, "%s: %llu after %llu", what, (unsigned long long)now, (unsigned long long)before);
    while (seen < now && !atomic_compare_exchange_weak(&tally->seen, &seen, now))
        ;
}

static void do_incr(struct soaker *soaker) {
    unsigned nth = (unsigned)rng_below(&soaker->rng, SOAK_COUNTERS);
    struct soak_tally *tally = &soaker->soak->shared->counters[nth];
    const struct millpond_incr create = {0, 0};
    char name[32];
    int64_t now = 0;
    int name_bytes = snprintf(name, sizeof name, "counter:%u", nth);
    uint64_t before = atomic_load(&tally->seen);
    host_count_add(&tally->issued[soaker->nth], 1);
    int result = millpond_incr(soaker->soak->pond, name, (size_t)name_bytes, 1, &create, &now);
    if (result != MILLPOND_OK) {
        soak_fail(soaker, SOAK_results, "incr answers: %s", millpond_strerror(result));
        return;
    }
    host_count_add(&tally->acked[soaker->nth], 1);
    note_seen(soaker, tally, before, (uint64_t)now, name);
}

/* A cell is a number that is raised by cas, against the other workers. */
struct cell {
    uint64_t number, check;
};

static bool read_cell(struct soaker *soaker, const char *name, size_t name_bytes, struct cell *cell, uint64_t *version) {
    size_t bytes = 0;
    *version = 0;
    int result = millpond_get_if_changed(soaker->soak->pond, name, name_bytes, cell, sizeof *cell, &bytes, version);
    if (result == MILLPOND_MISS)
        return false;
    bool whole = result == MILLPOND_OK && bytes == sizeof *cell && cell->check == mix64(cell->number);
    if (whole)
        soak_pass(soaker, SOAK_whole);
    else
        soak_fail(soaker, SOAK_whole, "%s: torn or damaged: %s, %zu bytes", name, millpond_strerror(result), bytes);
    return whole;
}

static void do_cell(struct soaker *soaker) {
    unsigned nth = (unsigned)rng_below(&soaker->rng, SOAK_CELLS);
    struct soak_tally *tally = &soaker->soak->shared->cells[nth];
    struct cell cell = {0, 0};
    char name[32];
    uint64_t version;
    size_t name_bytes = (size_t)snprintf(name, sizeof name, "cell:%u", nth);
    uint64_t before = atomic_load(&tally->seen);
    bool there = read_cell(soaker, name, name_bytes, &cell, &version);
    struct cell next = {there ? cell.number + 1 : 1, 0};
    next.check = mix64(next.number);
    host_count_add(&tally->issued[soaker->nth], 1);
    int result = there ? millpond_cas(soaker->soak->pond, name, name_bytes, &next, sizeof next, 0, version)
                       : millpond_add(soaker->soak->pond, name, name_bytes, &next, sizeof next, 0);
    if (result == MILLPOND_OK) {
        host_count_add(&tally->acked[soaker->nth], 1);
        note_seen(soaker, tally, before, next.number, name);
        return;
    }
    host_count_add(&tally->issued[soaker->nth], UINT64_MAX); /* one back: nothing was changed */
    if (result == MILLPOND_CHANGED || result == MILLPOND_EXISTS || (result == MILLPOND_MISS && soaker->soak->pressure))
        soak_pass(soaker, SOAK_results);
    else
        soak_fail(soaker, SOAK_results, "%s: %s answers: %s", name, there ? "cas" : "add", millpond_strerror(result));
}

/* ---- the loop ---- */

/* Of a hundred operations. */
static const struct {
    enum soak_op op;
    unsigned share;
} mix[] = {{SOAK_OP_get, 38},    {SOAK_OP_get_alloc, 4}, {SOAK_OP_mget, 4},   {SOAK_OP_contains, 2},  {SOAK_OP_set, 25}, {SOAK_OP_add, 4},
           {SOAK_OP_replace, 3}, {SOAK_OP_delete, 6},    {SOAK_OP_touch, 2}, {SOAK_OP_cas, 4},       {SOAK_OP_stale_cas, 1},
           {SOAK_OP_incr, 4},    {SOAK_OP_cell, 3}};

static enum soak_op choose(struct rng *rng) {
    uint64_t draw = rng_below(rng, 100);
    for (size_t i = 0; i < sizeof mix / sizeof *mix; i++) {
        if (draw < mix[i].share)
            return mix[i].op;
        draw -= mix[i].share;
    }
    return SOAK_OP_get;
}

static void do_op(struct soaker *soaker, enum soak_op op) {
    const struct soak *soak = soaker->soak;
    uint64_t any = rng_below(&soaker->rng, soak->key_count);
    uint64_t own = rng_below(&soaker->rng, soak->keys_each) * soak->workers + soaker->nth;
    bool foretold = op == SOAK_OP_add || op == SOAK_OP_replace || op == SOAK_OP_touch || op == SOAK_OP_cas || op == SOAK_OP_stale_cas;
    if (foretold && soak_is_mortal(own))
        op = SOAK_OP_set; /* it may expire between any two calls: what these must answer cannot be foretold */
    host_count_add(&soaker->slot->ops[op], 1);
    atomic_store(&soaker->slot->op, (int)op);
    switch (op) {
    case SOAK_OP_get: soak_read(soaker, any); break;
    case SOAK_OP_get_alloc: do_get_alloc(soaker, any); break;
    case SOAK_OP_mget: do_mget(soaker); break;
    case SOAK_OP_contains: do_contains(soaker, any); break;
    case SOAK_OP_set: do_set(soaker, own); break;
    case SOAK_OP_add: do_conditional(soaker, own, true); break;
    case SOAK_OP_replace: do_conditional(soaker, own, false); break;
    case SOAK_OP_delete: do_delete(soaker, own); break;
    case SOAK_OP_touch: do_touch(soaker, own); break;
    case SOAK_OP_cas: do_cas(soaker, own, false); break;
    case SOAK_OP_stale_cas: do_cas(soaker, own, true); break;
    case SOAK_OP_incr: do_incr(soaker); break;
    case SOAK_OP_cell: do_cell(soaker); break;
    case SOAK_OP_COUNT: break;
    }
}

void soak_work(struct soaker *soaker) {
    while (!atomic_load(&soaker->soak->shared->stop)) {
        atomic_store(&soaker->slot->began_ns, host_now_ns());
        do_op(soaker, choose(&soaker->rng));
    }
    atomic_store(&soaker->slot->began_ns, 0);
}

/* ---- afterwards ---- */

static void verify_key(struct soaker *soaker, uint64_t key) {
    struct soak_key *known = &soaker->soak->shared->keys[key];
    struct soak_before before = soak_before_read(soaker->soak, key);
    char name[32];
    size_t bytes = 0, name_bytes = soak_key_name(name, key);
    uint64_t acked = before.acked, number = 0;
    bool certain = atomic_load(&known->intent) == acked;
    int result = millpond_get(soaker->soak->pond, name, name_bytes, soaker->buf, soaker->room, &bytes);
    if (result == MILLPOND_OK) {
        number = soak_judge_value(soaker, key, &before, soaker->buf, bytes);
    } else if (result == MILLPOND_MISS) {
        soak_judge_miss(soaker, key, &before);
    } else {
        soak_fail(soaker, SOAK_kept, "key %llu: a get answers: %s", (unsigned long long)key, millpond_strerror(result));
        return;
    }
    bool may_be_gone = soak_is_mortal(key) || soaker->soak->pressure;
    bool good = !certain || (result == MILLPOND_OK ? (acked & 1) && number == acked >> 1 : !(acked & 1) || may_be_gone);
    if (good)
        soak_pass(soaker, SOAK_kept);
    else
        soak_fail(soaker, SOAK_kept, "key %llu: the last acknowledged write is %llu (%s), there is %s %llu", (unsigned long long)key,
                  (unsigned long long)acked >> 1, acked & 1 ? "a value" : "a delete", result == MILLPOND_OK ? "write" : "nothing",
                  (unsigned long long)number);
}

static void verify_sum(struct soaker *soaker, struct soak_tally *tally, const char *name, uint64_t found) {
    uint64_t acked = 0, issued = 0;
    if (soaker->soak->pressure)
        return;
    for (unsigned i = 0; i < soaker->soak->workers; i++) {
        acked += host_count_read(&tally->acked[i]);
        issued += host_count_read(&tally->issued[i]);
    }
    if (found >= acked && found <= issued)
        soak_pass(soaker, SOAK_sums);
    else
        soak_fail(soaker, SOAK_sums, "%s is %llu; %llu were acknowledged and %llu begun", name, (unsigned long long)found,
                  (unsigned long long)acked, (unsigned long long)issued);
}

void soak_verify_all(struct soaker *soaker) {
    char name[32];
    for (uint64_t key = 0; key < soaker->soak->key_count; key++)
        verify_key(soaker, key);
    for (unsigned i = 0; i < SOAK_COUNTERS; i++) {
        char text[32] = "";
        size_t bytes = 0, name_bytes = (size_t)snprintf(name, sizeof name, "counter:%u", i);
        if (millpond_get(soaker->soak->pond, name, name_bytes, text, sizeof text - 1, &bytes) != MILLPOND_OK)
            text[0] = 0;
        verify_sum(soaker, &soaker->soak->shared->counters[i], name, strtoull(text, NULL, 10));
    }
    for (unsigned i = 0; i < SOAK_CELLS; i++) {
        struct cell cell = {0, 0};
        uint64_t version;
        size_t name_bytes = (size_t)snprintf(name, sizeof name, "cell:%u", i);
        bool there = read_cell(soaker, name, name_bytes, &cell, &version);
        verify_sum(soaker, &soaker->soak->shared->cells[i], name, there ? cell.number : 0);
    }
}
