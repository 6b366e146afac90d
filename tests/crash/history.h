/* SPDX-License-Identifier: MIT */
#ifndef MILLPOND_TESTS_HISTORY_H
#define MILLPOND_TESTS_HISTORY_H

/* Was a history of one key possible, if every operation had happened at one moment between its call and its return?
 *
 * The search is Wing and Gong's ("Testing and verifying concurrent objects", 1993), with Lowe's memory of what was tried ("Testing for
 * linearizability", 2017): operations are put in an order one by one, each only before the first return among those that are left, and
 * each only if its answer is the one that the key's state gives. An operation whose process was killed in it may have happened at any later
 * moment, or not at all; what it would have answered is not known. */

#include <stdbool.h>
#include <stdint.h>

#define HISTORY_OPS_MAX 64u
#define HISTORY_PENDING UINT64_MAX /* the end of an operation that has not returned */
#define STATE_ABSENT    INT64_MIN

enum op_kind {
    OP_GET,     /* answer: the state */
    OP_SET,     /* argument: the new state */
    OP_ADD,     /* the same, if absent */
    OP_REPLACE, /* the same, if present */
    OP_CAS,     /* the same, if the state is `expected` */
    OP_DELETE,
    OP_INCR,      /* argument: added; an absent one counts from 0; answer: the sum */
    OP_IF_CHANGED /* a get by someone who has `expected`: UNCHANGED, or as a get */
};

struct op {
    enum op_kind kind;
    int result; /* a millpond result */
    int64_t argument, expected, answer;
    uint64_t begin, end; /* nanoseconds */
    uint32_t process;
    uint32_t pad;
};

enum verdict { HISTORY_POSSIBLE, HISTORY_IMPOSSIBLE, HISTORY_TOO_LONG };

/* `states`: how many pairs of (operations done, state) were looked at; may be NULL. */
enum verdict history_judge(const struct op *ops, unsigned count, int64_t initial, uint64_t *states);
void history_print(const struct op *ops, unsigned count, int64_t initial);

/* Judges histories whose verdict is known. Returns how many, or ends the process. */
unsigned history_test(void);

#endif
