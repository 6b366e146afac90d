/* SPDX-License-Identifier: MIT */
#ifndef MILLPOND_TESTS_SCENARIO_H
#define MILLPOND_TESTS_SCENARIO_H

/* What a process was doing when it was killed or stopped: each state-changing path of the library has a scenario that takes it. */

#include "ledger.h"

struct scenario {
    const char *sentence;
    /* The pond. 0: a default of the scenarios (256 KiB, one shard). */
    uint64_t size_bytes;
    uint32_t segment_bytes, shards, entry_bytes;
    uint32_t flags;    /* MILLPOND_NAMESPACES */
    uint64_t clock_ms; /* passes between prepare and act; what has a time to live is over then */
    void (*prepare)(struct ledger *ledger, struct millpond *pond);
    void (*act)(struct ledger *ledger, struct millpond *pond);
};

extern const struct scenario scenarios[];
extern const unsigned scenario_count;
const struct scenario *scenario_find(const char *sentence);
/* An act for a full index, in which entries then move between their buckets, both ways: one leaves, another one comes. */
void scenario_come_and_go(struct ledger *ledger, struct millpond *pond);

/* A pond that has been prepared and closed; `shards` 0: as the scenario says. Keeps its bytes. */
void scenario_ground(const struct scenario *scenario, const char *name, uint32_t shards, struct ground *ground, struct ledger *ledger);

/* Acts in this process, which must be a child: opens the pond, calls `armed` (NULL: nothing) when it is open, acts, closes. */
void scenario_act(const struct scenario *scenario, const struct ground *ground, struct ledger *ledger, void (*armed)(void *arg), void *arg);

#endif
