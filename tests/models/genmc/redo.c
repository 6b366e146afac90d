/* SPDX-License-Identifier: MIT */
/* redo.c: a transaction in two shards, whose holder may die between any two stores; the repairer of each shard; a snapshot.
 *
 * One key in each shard, 1 before and 2 behind the transaction. Where the writer dies is read from a variable that another thread changes
 * from 0 to "at the last step". Then either mutex goes to another process. That of shard 1 repairs it. That of shard 0 repairs it and then
 * begins a transaction of its own in that shard alone, with shard 0 as the coordinator again; to do so it looks for who is still pending
 * under the last decision, and waits for the other repairer where it must.
 *
 * With ALIVE the writer lives, and there are no repairers but a snapshot: that is what the fences of the snapshot are for. With BOTH there
 * is a snapshot beside writer and repairers.
 *
 * Checked: both repairers come to the same answer: when both are done both keys are 1, or both are 2. A list that is applied is that of the
 * name. A snapshot shows 1 and 1, or 2 and 2.
 *
 * Must fail: NO_STRAGGLER (C3), DECIDE_FIRST (X3 before X2), LIST_LATE (the list of shard 1 behind X3); with ALIVE: SLOT_RELAXED (X4),
 * DONE_RELAXED (X5), NO_QUIET_FENCE with SLOT_READ_RELAXED, NO_LAST_FENCE with PENDING_READ_RELAXED (either of the two is enough).
 * Right as well, since the mutexes, or a release behind them, order enough: PENDING_RELAXED, DECISION_RELAXED, DECISION_READ_RELAXED,
 * and DONE_RELAXED without a snapshot. */
#include "model.h"

#ifdef SLOT_RELAXED
#define SLOT_ORDER RELAXED
#else
#define SLOT_ORDER RELEASE
#endif
#ifdef SLOT_READ_RELAXED
#define SLOT_READ_ORDER RELAXED
#else
#define SLOT_READ_ORDER ACQUIRE
#endif
#ifdef DONE_RELAXED
#define DONE_ORDER RELAXED
#else
#define DONE_ORDER RELEASE
#endif
#ifdef PENDING_READ_RELAXED
#define PENDING_READ_ORDER RELAXED
#else
#define PENDING_READ_ORDER ACQUIRE
#endif
#ifdef DECISION_RELAXED
#define DECISION_ORDER RELAXED
#else
#define DECISION_ORDER RELEASE
#endif
#ifdef PENDING_RELAXED
#define PENDING_ORDER RELAXED
#else
#define PENDING_ORDER RELEASE
#endif
#ifdef DECISION_READ_RELAXED
#define DECISION_READ_ORDER RELAXED
#else
#define DECISION_READ_ORDER ACQUIRE
#endif

enum { NAME = 1, NEXT = 2, OLD = 1, NEW = 2, STEPS = 9 };

static struct bucket key[2];
static atomic_int list[2], pending[2], decision;
static atomic_int mutex[2]; /* 1: the writer is gone; 2: the repairer is done */
static atomic_int dies;

static void apply(int shard) {
    STORE(key[shard].slot, LOAD(list[shard], RELAXED), SLOT_ORDER);
    RAISE(key[shard].version, RELEASE);
}

#define STEP(n)                                                                                                                            \
    if (at == (n)) return

static void write_until(int at) {
    STEP(1);
#ifdef DECIDE_FIRST
    STORE(decision, NAME, DECISION_ORDER);
#endif
    STORE(list[0], NEW, RELAXED); /* X2 */
    STORE(pending[0], NAME, PENDING_ORDER);
    STEP(2);
#ifndef LIST_LATE
    STORE(list[1], NEW, RELAXED);
#endif
    STORE(pending[1], NAME, PENDING_ORDER);
    STEP(3);
#ifndef DECIDE_FIRST
    STORE(decision, NAME, DECISION_ORDER); /* X3 */
#endif
    STEP(4);
#ifdef LIST_LATE
    STORE(list[1], NEW, RELAXED);
#endif
    apply(0); /* X4 */
    STEP(5);
    apply(1);
    STEP(6);
    STORE(pending[0], 0, DONE_ORDER); /* X5 */
    STEP(7);
    STORE(pending[1], 0, DONE_ORDER);
    STEP(8);
    STORE(decision, 0, RELEASE); /* X6 */
}

static void *writer(void *unused) {
    write_until(LOAD(dies, RELAXED));
    HAND_OVER(mutex[0], 1);
    HAND_OVER(mutex[1], 1);
    return unused;
}

#ifndef ALIVE
/* Y1 to Y4. */
static void repair(int shard) {
    int name = LOAD(pending[shard], ACQUIRE);

    if (name == 0) return;
    if (LOAD(decision, DECISION_READ_ORDER) == name) {
        assert(LOAD(list[shard], RELAXED) == NEW);
        if (LOAD(key[shard].slot, RELAXED) != NEW) apply(shard);
    }
    STORE(pending[shard], 0, DONE_ORDER);
}

static void *repairer_one(void *unused) {
    HANDED_OVER(mutex[1], 1);
    repair(1);
    HAND_OVER(mutex[1], 2);
    return unused;
}

static void *repairer_zero(void *unused) {
    int name;

    HANDED_OVER(mutex[0], 1);
    repair(0);
    name = LOAD(decision, RELAXED); /* C3 */
#ifndef NO_STRAGGLER
    if (name != 0) {
        __VERIFIER_assume(LOAD(pending[1], PENDING_READ_ORDER) != name); /* another process does its part meanwhile */
        STORE(decision, 0, RELEASE);
    }
#endif
    (void)name;
    STORE(decision, NEXT, RELEASE);
    STORE(decision, 0, RELEASE);
    HANDED_OVER(mutex[1], 2);
    assert(LOAD(pending[0], RELAXED) == 0 && LOAD(pending[1], RELAXED) == 0);
    assert(LOAD(key[0].slot, RELAXED) == LOAD(key[1].slot, RELAXED));
    return unused;
}

static void *fate(void *unused) {
    for (int step = 1; step < STEPS; step++) STORE(dies, step, RELAXED);
    return unused;
}
#endif

#if defined ALIVE || defined BOTH
static void *snapshot(void *unused) {
    int value[2], version[2];

    for (int k = 0; k < 2; k++) { /* Z1 */
        version[k] = LOAD(key[k].version, ACQUIRE);
        value[k] = LOAD(key[k].slot, SLOT_READ_ORDER);
    }
#ifndef NO_QUIET_FENCE
    FENCE(ACQUIRE);
#endif
    for (int k = 0; k < 2; k++) /* Z2 */
        if (LOAD(pending[k], PENDING_READ_ORDER) != 0) return unused;
    for (int k = 0; k < 2; k++) { /* Z3 */
        if (LOAD(key[k].slot, SLOT_READ_ORDER) != value[k]) return unused;
#ifndef NO_LAST_FENCE
        FENCE(ACQUIRE);
#endif
        if (LOAD(key[k].version, RELAXED) != version[k]) return unused;
    }
    assert(value[0] == value[1]);
    return unused;
}
#endif

int main(void) {
    for (int k = 0; k < 2; k++) STORE(key[k].slot, OLD, RELAXED);
    start(writer);
#ifndef ALIVE
    start(fate);
    start(repairer_one);
    start(repairer_zero);
#endif
#if defined ALIVE || defined BOTH
    start(snapshot);
#endif
    return 0;
}
