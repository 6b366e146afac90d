/* SPDX-License-Identifier: MIT */
/* Ponds on the brink of something rare. */

#include "brink.h"

#include <stdlib.h>

#define ACTS_MAX 1500

/* ---- figures, read from the bytes ---- */

static uint64_t moves(struct ground *ground) { return ground_shard(ground, 0).shard->moves; }
static uint64_t away(struct ground *ground) {
    struct pond_ref ref = ground_shard(ground, 0);
    uint64_t sum = 0;
    for (uint32_t b = 0; b < ref.g->bucket_count; b++)
        for (uint32_t i = 0; i < POND_BUCKET_SLOTS; i++) sum += (ref.buckets[b].slot[i] & POND_SLOT_AWAY) != 0;
    return sum;
}
static uint64_t not_away(struct ground *ground) { return UINT32_MAX - away(ground); }
static uint64_t index_evictions(struct ground *ground) { return ground_shard(ground, 0).shard->counters.index_evictions; }
static uint64_t evictions(struct ground *ground) { return ground_shard(ground, 0).shard->counters.evictions; }
static uint64_t copied(struct ground *ground) { return ground_shard(ground, 0).shard->counters.bytes_copied; }
static uint64_t relinks(struct ground *ground) { return ground_shard(ground, 0).shard->counters.relinks; }
static uint64_t expirations(struct ground *ground) { return ground_shard(ground, 0).shard->counters.expirations; }
static uint64_t freed(struct ground *ground) {
    uint64_t sum = 0;
    struct pond_ref ref = ground_shard(ground, 0);
    for (uint32_t i = 0; i < ref.g->segment_count; i++) sum += ref.table[i].epoch;
    return sum;
}

/* ---- acts ---- */

static void add_tiny(struct ledger *ledger, struct millpond *pond) { ledger_add(ledger, pond, 32); }
static void delete_any(struct ledger *ledger, struct millpond *pond) {
    struct support_random random = {ledger_key(ledger, 12)}; /* a key that is never stored: another number each time */
    uint32_t key;
    do key = (uint32_t)support_below(&random, ledger->count);
    while (ledger_look(ledger, pond, key, false) != SEEN_NOW);
    ledger_delete(ledger, pond, key);
}
static void add_small(struct ledger *ledger, struct millpond *pond) { ledger_add(ledger, pond, 300); }
/* What is read stays until there is no slot left. */
static void read_all(struct ledger *ledger, struct millpond *pond) {
    for (uint32_t i = ledger->count > 160 ? ledger->count - 160 : 0; i < ledger->count; i++) ledger_look(ledger, pond, i, false);
}
static void add_large(struct ledger *ledger, struct millpond *pond) { ledger_add(ledger, pond, 3500); }

const struct brink brinks[] = {
    {"a set that moves an entry", "displace", scenario_come_and_go, moves, 1, 60, NULL},
    {"a set away from home", "displace", add_tiny, away, 1, 40, NULL},
    {"a delete away from home", "displace", delete_any, not_away, 1, 30, NULL},
    {"a set that finds the index full", "displace", add_tiny, index_evictions, 1, 25, read_all},
    {"a set that drops entries", "evict what is cold", add_small, evictions, 3, 40, NULL},
    {"a set that promotes an entry", "evict and promote", add_small, copied, 1, 40, NULL},
    {"a set that frees a segment", "evict what is cold", add_small, freed, 1, 30, NULL},
    {"a set that relinks a segment", "relink what is hot", add_small, relinks, 1, 30, NULL},
    {"a set that copies a chunk", "evict in chunks", add_large, copied, 1, 40, NULL},
    {"a set that removes what is over", "recycle what is over", add_small, expirations, 2, 25, NULL},
};
const size_t brink_count = sizeof brinks / sizeof *brinks;

/* ---- finding it ---- */

struct one_act {
    const struct scenario *scenario;
    const struct ground *ground;
    struct ledger *ledger;
};

static int act(void *arg) {
    const struct one_act *a = arg;
    scenario_act(a->scenario, a->ground, a->ledger, NULL, NULL);
    return 0;
}

struct scenario brink_scenario(const struct brink *brink) {
    struct scenario scenario = *scenario_find(brink->like);
    scenario.sentence = brink->sentence;
    scenario.act = brink->act;
    return scenario;
}

void brink_find(const struct brink *brink, const struct scenario *scenario, struct ground *ground, struct ledger *ledger) {
    struct scenario before = *scenario;
    before.act = brink->before;
    struct one_act one = {scenario, ground, ledger}, first = {&before, ground, ledger};
    crash_trying("%s: going to the brink", scenario->sentence);
    ground_occupy(ground, true);
    for (int i = 0; i < ACTS_MAX; i++) {
        if (brink->before) crash_run(act, &first, "the process that makes ready");
        struct ledger *facts = ledger_copy(ledger);
        uint64_t had = brink->grows(ground);
        ground_keep(ground);
        crash_run(act, &one, "the process that acts");
        if (brink->grows(ground) >= had + brink->by) {
            ground_put_back(ground);
            ledger_put(ledger, facts);
            free(facts);
            return;
        }
        free(facts);
    }
    CHECK(false, "it has not happened within %u acts", ACTS_MAX);
}
