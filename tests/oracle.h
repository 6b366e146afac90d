/* SPDX-License-Identifier: MIT */
#ifndef MILLPOND_TESTS_ORACLE_H
#define MILLPOND_TESTS_ORACLE_H

/* Decides, while threads and processes read and write the same keys, whether an answer was allowed: never older than a set or delete
 * that had returned before the get began (invariant I2), and a miss only where a delete explains it.
 *
 * Every set of a key has a sequence number of its own, which the value carries. For each key the oracle keeps, in shared memory:
 *
 *   changes_from   the latest moment at which a set or delete began that has returned
 *   sets_from      the same for sets alone
 *   deletes_until  the latest moment at which a delete returned; deleting counts those that have not
 *   ends           when the set of each of the last ORACLE_ENDS sequence numbers returned (0: not yet)
 *   older_until    the latest moment at which a set returned that is no longer in ends; older_open counts those that have not
 *
 * A get notes the first two before it begins. Its answer is wrong when
 *
 *   hit s     changes_from > the end of set s:  something began after s had returned, and had itself returned before the get began
 *             (for an s that is not in ends, older_until is not before its end, as long as older_open is 0)
 *   miss      sets_from > deletes_until and no delete is under way: a set came after every delete, and had returned
 *
 * All moments are CLOCK_MONOTONIC, read by the caller around the call: the noted interval contains the real one, so that the oracle
 * may fail to see a fault of some nanoseconds but never reports one that did not happen. */

#include "support.h"

#define ORACLE_ENDS 64

struct oracle_key {
    uint64_t next_sequence;
    uint64_t changes_from, sets_from, deletes_until;
    uint64_t deleting;
    uint64_t older_until, older_open;
    uint64_t ends[ORACLE_ENDS]; /* 16 bits that tell one turn of the ring from the next, 48 bits of the end */
};

struct oracle {
    size_t key_count;
    uint64_t born;            /* moments are nanoseconds since then */
    uint64_t judged, unknown; /* answers that could be judged, and those that could not */
    struct oracle_key keys[];
};

/* In memory that children share. */
struct oracle *oracle_make(size_t key_count);

/* A set or delete under way. */
struct oracle_change {
    uint64_t sequence; /* of a set */
    uint64_t from;
};

struct oracle_change oracle_set_begins(struct oracle *oracle, size_t key);
/* `stored`: the call returned OK. Otherwise its value must never be seen. */
void oracle_set_ends(struct oracle *oracle, size_t key, struct oracle_change change, bool stored);
/* The same of a value that was loaded: whenever it was stored, it is as old as the moment at which its load began. It must not cover a
 * change that began later and has returned. */
void oracle_load_ends(struct oracle *oracle, size_t key, struct oracle_change change, bool stored);
struct oracle_change oracle_delete_begins(struct oracle *oracle, size_t key);
/* `ran`: the call returned OK or MISS. */
void oracle_delete_ends(struct oracle *oracle, size_t key, struct oracle_change change, bool ran);

/* What a get notes before it begins. */
struct oracle_get {
    uint64_t changes_from, sets_from;
};

struct oracle_get oracle_get_begins(struct oracle *oracle, size_t key);
/* Each returns NULL, or a sentence that says why the answer was not allowed. */
const char *oracle_get_hit(struct oracle *oracle, size_t key, struct oracle_get get, uint64_t sequence);
const char *oracle_get_miss(struct oracle *oracle, size_t key, struct oracle_get get);

#endif
