/* SPDX-License-Identifier: MIT */
#ifndef MILLPOND_TESTS_SURVIVE_H
#define MILLPOND_TESTS_SURVIVE_H

/* Those who go on after a death, and what they require. */

#include "ledger.h"

struct survival {
    struct ground *ground;
    struct ledger *ledger;
    unsigned work; /* how many random changes the last survivor makes, so that what is damaged below the surface shows */
    bool alone;    /* nobody else has the file open: who opens it for writing repairs it then */
};

/* After a death:
 *   a reader without write permission looks at every key at once;
 *   a writer looks at every key, writes into every shard (the first one there repairs), looks again: nothing that was seen is taken back,
 * what was unfinished is wholly there or wholly not; a full check, and its counts agree with what was seen; it changes what was unfinished,
 * and much else, and checks again; nothing is locked, every segment is accounted for. */
void survive(const struct survival *survival);

/* One write into every shard, in this process: whoever is first repairs. Keys and values go through the ledger. */
void survive_write_everywhere(const struct survival *survival, struct millpond *pond);
/* The same in a child of its own; `prepare` is called in it before it repairs. Returns its process. */
pid_t survive_fork_writer(const struct survival *survival, void (*prepare)(void *arg), void *arg);
/* The look of a reader without write permission, in this process. */
void survive_look(const struct survival *survival);

#endif
