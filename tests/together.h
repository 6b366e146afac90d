/* SPDX-License-Identifier: MIT */
#ifndef MILLPOND_TESTS_TOGETHER_H
#define MILLPOND_TESTS_TOGETHER_H

/* Calls that hold each other up, to be made by several threads and processes at the same time on one pond, each of which says at once when
 * something is wrong: transfers between accounts and snapshots of their sum, fetches and leases of a few keys that expire all the time,
 * resizes, gets. */

#include "support.h"

enum together {
    TOGETHER_TRANSFER,
    TOGETHER_SNAPSHOT,
    TOGETHER_FETCH,
    TOGETHER_LEASE,
    TOGETHER_RESIZE, /* to 1, 2 or 3 MiB */
    TOGETHER_GET,
    TOGETHER_KINDS
};

#define TOGETHER_KEYS 200

/* Fills a pond for them. */
void together_begin(struct millpond *pond);
/* One call of a kind; turn: which key, which amount. */
void together_do(struct millpond *pond, enum together kind, uint64_t turn);
/* Everything that together_begin stored and nobody changes is there, and the sum of the accounts is right. */
void together_require(struct millpond *pond);

/* Of one kind: a fetch whose loader takes so long, 0 for no time. */
void together_fetch(struct millpond *pond, uint64_t turn, unsigned pause_us);
/* What is loaded for a key; and a loader of it. arg: a struct together_loading of the caller. */
uint64_t together_value(const void *key, size_t key_bytes);
struct together_loading {
    unsigned pause_us;
    uint64_t value; /* of this call: a signal handler may load in the middle of it */
};
int together_load(void *arg, const void *key, size_t key_bytes, struct millpond_load *load);

#endif
