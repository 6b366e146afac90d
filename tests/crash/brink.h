/* SPDX-License-Identifier: MIT */
#ifndef MILLPOND_TESTS_BRINK_H
#define MILLPOND_TESTS_BRINK_H

/* Ponds on the brink: one more set and something rare happens (an entry moves, a segment is freed). */

#include "scenario.h"

struct brink {
    const char *sentence;
    const char *like; /* the scenario whose pond and preparation it has */
    void (*act)(struct ledger *ledger, struct millpond *pond);
    /* A figure of the file that grows with what is wanted. */
    uint64_t (*grows)(struct ground *ground);
    uint64_t by;
    size_t most; /* deaths in the short form */
    /* What goes before each act, by itself and not killed; NULL: nothing. */
    void (*before)(struct ledger *ledger, struct millpond *pond);
};

extern const struct brink brinks[];
extern const size_t brink_count;

/* The scenario of the last act. */
struct scenario brink_scenario(const struct brink *brink);
/* Lets it act, each time in a process of its own, until the next act makes the figure grow: the ground's kept bytes and the ledger are then
 * those before it. */
void brink_find(const struct brink *brink, const struct scenario *scenario, struct ground *ground, struct ledger *ledger);

#endif
