/* SPDX-License-Identifier: MIT */
/* Linearizability of one key's history. */

#include "history.h"

#include "crash.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TRIED_MAX (1u << 22) /* pairs; more is not expected from histories of this length */

/* ---- one key, one operation after the other ---- */

/* Does the operation, with its answer, take this state to *next? A pending one has no answer; one that would change nothing need not be
 * tried. */
static bool apply(const struct op *op, int64_t state, int64_t *next) {
    bool there = state != STATE_ABSENT, pending = op->end == HISTORY_PENDING;
    int result = MILLPOND_OK;
    *next = state;
    switch (op->kind) {
    case OP_GET:
        result = there ? MILLPOND_OK : MILLPOND_MISS;
        if (there && !pending && op->answer != state) return false;
        break;
    case OP_IF_CHANGED:
        result = !there ? MILLPOND_MISS : state == op->expected ? MILLPOND_UNCHANGED : MILLPOND_OK;
        if (result == MILLPOND_OK && !pending && op->answer != state) return false;
        break;
    case OP_SET: *next = op->argument; break;
    case OP_ADD:
        result = there ? MILLPOND_EXISTS : MILLPOND_OK;
        if (!there) *next = op->argument;
        break;
    case OP_REPLACE:
        result = there ? MILLPOND_OK : MILLPOND_MISS;
        if (there) *next = op->argument;
        break;
    case OP_CAS:
        result = !there ? MILLPOND_MISS : state == op->expected ? MILLPOND_OK : MILLPOND_CHANGED;
        if (result == MILLPOND_OK) *next = op->argument;
        break;
    case OP_DELETE:
        result = there ? MILLPOND_OK : MILLPOND_MISS;
        *next = STATE_ABSENT;
        break;
    case OP_INCR:
        *next = (there ? state : 0) + op->argument;
        if (!pending && op->answer != *next) return false;
        break;
    }
    return pending ? *next != state : result == op->result;
}

/* ---- what was tried ---- */

struct tried {
    uint64_t done;
    int64_t state;
};

struct search {
    const struct op *ops;
    unsigned count;
    uint64_t returned; /* the operations that have: all of them must be placed */
    struct tried *tried;
    uint32_t slots, used;
};

static uint32_t slot_for(const struct search *s, uint64_t done, int64_t state) {
    uint64_t x = (done ^ (uint64_t)state * UINT64_C(0x9E3779B97F4A7C15)) * UINT64_C(0xBF58476D1CE4E5B9);
    uint32_t slot = (uint32_t)(x >> 32) & (s->slots - 1);
    while (s->tried[slot].done && (s->tried[slot].done != done || s->tried[slot].state != state)) slot = (slot + 1) & (s->slots - 1);
    return slot;
}

static void grow(struct search *s) {
    struct search larger = *s;
    larger.slots = s->slots ? s->slots * 2 : 1024;
    larger.tried = calloc(larger.slots, sizeof *larger.tried);
    CHECK(larger.tried, "no memory for a search");
    for (uint32_t i = 0; i < s->slots; i++)
        if (s->tried[i].done) larger.tried[slot_for(&larger, s->tried[i].done, s->tried[i].state)] = s->tried[i];
    free(s->tried);
    *s = larger;
}

/* True when this pair is new. */
static bool try_new(struct search *s, uint64_t done, int64_t state) {
    if (2 * s->used >= s->slots) grow(s);
    uint32_t slot = slot_for(s, done, state);
    if (s->tried[slot].done) return false;
    s->tried[slot] = (struct tried){done, state};
    s->used++;
    return true;
}

static bool place_rest(struct search *s, uint64_t done, int64_t state) {
    if ((done & s->returned) == s->returned) return true;
    if (s->used > TRIED_MAX) return false;
    uint64_t first_return = HISTORY_PENDING;
    for (unsigned i = 0; i < s->count; i++)
        if (!(done >> i & 1) && s->ops[i].end < first_return) first_return = s->ops[i].end;
    for (unsigned i = 0; i < s->count; i++) {
        int64_t next;
        if (done >> i & 1 || s->ops[i].begin > first_return || !apply(&s->ops[i], state, &next)) continue;
        uint64_t with = done | UINT64_C(1) << i;
        if (try_new(s, with, next) && place_rest(s, with, next)) return true;
    }
    return false;
}

enum verdict history_judge(const struct op *ops, unsigned count, int64_t initial, uint64_t *states) {
    struct search s = {.ops = ops, .count = count};
    CHECK(count <= HISTORY_OPS_MAX, "a history of %u operations", count);
    for (unsigned i = 0; i < count; i++)
        if (ops[i].end != HISTORY_PENDING) s.returned |= UINT64_C(1) << i;
    bool possible = place_rest(&s, 0, initial);
    bool too_long = !possible && s.used > TRIED_MAX;
    if (states) *states += s.used;
    free(s.tried);
    return possible ? HISTORY_POSSIBLE : too_long ? HISTORY_TOO_LONG : HISTORY_IMPOSSIBLE;
}

void history_print(const struct op *ops, unsigned count, int64_t initial) {
    static const char *const names[] = {"get", "set", "add", "replace", "cas", "delete", "incr", "get if changed"};
    uint64_t first = HISTORY_PENDING;
    for (unsigned i = 0; i < count; i++)
        if (ops[i].begin < first) first = ops[i].begin;
    fprintf(stderr, "  before: %lld (%lld is absent)\n", (long long)initial, (long long)STATE_ABSENT);
    for (unsigned i = 0; i < count; i++) {
        const struct op *op = &ops[i];
        char end[32] = "killed";
        if (op->end != HISTORY_PENDING) snprintf(end, sizeof end, "%llu", (unsigned long long)(op->end - first));
        fprintf(stderr, "  %10llu to %10s ns  process %u: %s argument %lld, expected %lld: result %d, answer %lld\n",
                (unsigned long long)(op->begin - first), end, op->process, names[op->kind], (long long)op->argument,
                (long long)op->expected, op->result, (long long)op->answer);
    }
}

/* ---- histories whose verdict is known ---- */

#define A STATE_ABSENT
#define P HISTORY_PENDING
/* kind, result, argument, expected, answer, begin, end */
#define GET(answer, from, to)                                                                                                              \
    { OP_GET, (answer) == A ? MILLPOND_MISS : MILLPOND_OK, 0, 0, answer, from, to, 0, 0 }
#define SET(value, from, to)                                                                                                               \
    { OP_SET, MILLPOND_OK, value, 0, 0, from, to, 0, 0 }
#define DEL(result, from, to)                                                                                                              \
    { OP_DELETE, result, 0, 0, 0, from, to, 0, 0 }
#define INCR(add, sum, from, to)                                                                                                           \
    { OP_INCR, MILLPOND_OK, add, 0, sum, from, to, 0, 0 }
#define CAS(has, value, result, from, to)                                                                                                  \
    { OP_CAS, result, value, has, 0, from, to, 0, 0 }
#define ADD(value, result, from, to)                                                                                                       \
    { OP_ADD, result, value, 0, 0, from, to, 0, 0 }
#define SAME(has, from, to)                                                                                                                \
    { OP_IF_CHANGED, MILLPOND_UNCHANGED, 0, has, 0, from, to, 0, 0 }

static const struct {
    const char *what;
    enum verdict verdict;
    unsigned count;
    struct op ops[6];
} known[] = {
    {"one after the other", HISTORY_POSSIBLE, 4, {SET(1, 1, 2), GET(1, 3, 4), DEL(0, 5, 6), GET(A, 7, 8)}},
    {"a get beside a set sees either", HISTORY_POSSIBLE, 3, {SET(1, 1, 10), GET(A, 2, 3), GET(1, 4, 5)}},
    {"a get beside a set, then back", HISTORY_IMPOSSIBLE, 3, {SET(1, 1, 10), GET(1, 2, 3), GET(A, 4, 5)}},
    {"a stale get", HISTORY_IMPOSSIBLE, 3, {SET(1, 1, 2), SET(2, 3, 4), GET(1, 5, 6)}},
    {"a stale get that began before", HISTORY_POSSIBLE, 3, {SET(1, 1, 2), SET(2, 4, 5), GET(1, 3, 6)}},
    {"a value from nowhere", HISTORY_IMPOSSIBLE, 2, {SET(1, 1, 2), GET(7, 3, 4)}},
    {"a lost set", HISTORY_IMPOSSIBLE, 2, {SET(1, 1, 2), GET(A, 3, 4)}},
    {"a deleted value comes back", HISTORY_IMPOSSIBLE, 4, {SET(1, 1, 2), DEL(0, 3, 4), GET(A, 5, 6), GET(1, 7, 8)}},
    {"two increments, one lost", HISTORY_IMPOSSIBLE, 2, {INCR(1, 1, 1, 10), INCR(1, 1, 2, 9)}},
    {"two increments", HISTORY_POSSIBLE, 3, {INCR(1, 2, 1, 10), INCR(1, 1, 2, 9), GET(2, 11, 12)}},
    {"two cas of one version, both done", HISTORY_IMPOSSIBLE, 3, {SET(1, 1, 2), CAS(1, 2, 0, 3, 9), CAS(1, 3, 0, 4, 8)}},
    {"two cas of one version, one refused",
     HISTORY_POSSIBLE,
     4,
     {SET(1, 1, 2), CAS(1, 2, 0, 3, 9), CAS(1, 3, MILLPOND_CHANGED, 4, 8), GET(2, 10, 11)}},
    {"two adds, both done", HISTORY_IMPOSSIBLE, 2, {ADD(1, 0, 1, 9), ADD(2, 0, 2, 8)}},
    {"killed in a set: it happened", HISTORY_POSSIBLE, 3, {SET(1, 1, 2), SET(2, 3, P), GET(2, 5, 6)}},
    {"killed in a set: it did not", HISTORY_POSSIBLE, 3, {SET(1, 1, 2), SET(2, 3, P), GET(1, 5, 6)}},
    {"killed in a set: it happened later", HISTORY_POSSIBLE, 4, {SET(1, 1, 2), SET(2, 3, P), GET(1, 5, 6), GET(2, 7, 8)}},
    {"killed in a set: it happened and was taken back", HISTORY_IMPOSSIBLE, 4, {SET(1, 1, 2), SET(2, 3, P), GET(2, 5, 6), GET(1, 7, 8)}},
    {"killed in a set before it began", HISTORY_IMPOSSIBLE, 3, {SET(1, 1, 2), GET(2, 3, 4), SET(2, 5, P)}},
    {"killed in an incr: twice", HISTORY_IMPOSSIBLE, 3, {INCR(1, 1, 1, 2), INCR(1, 0, 3, P), GET(3, 5, 6)}},
    {"killed in a cas that could not be", HISTORY_IMPOSSIBLE, 3, {SET(1, 1, 2), CAS(9, 2, 0, 3, P), GET(2, 5, 6)}},
    {"unchanged", HISTORY_POSSIBLE, 3, {SET(1, 1, 2), SAME(1, 3, 4), SET(2, 5, 6)}},
    {"unchanged, and it was", HISTORY_IMPOSSIBLE, 3, {SET(1, 1, 2), SET(2, 3, 4), SAME(1, 5, 6)}},
};

unsigned history_test(void) {
    unsigned count = sizeof known / sizeof *known;
    for (unsigned i = 0; i < count; i++) {
        crash_trying("the judge: %s", known[i].what);
        enum verdict verdict = history_judge(known[i].ops, known[i].count, STATE_ABSENT, NULL);
        CHECK(verdict == known[i].verdict, "the verdict is %u, expected %u (0 possible, 1 impossible)", verdict, known[i].verdict);
    }
    return count;
}
