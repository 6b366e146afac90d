/* SPDX-License-Identifier: MIT */
/* recover.c: a writer that may die between any two stores, repairers that may die too, a get all along.
 *
 * Keys and buckets as in move.c: key A is there all along, in entry 1 at first. The writer does one of:
 *
 *   OVERWRITE  A is overwritten at home (entry 2)
 *   OUT        A moves from home to its other bucket
 *   HOME       A moves from its other bucket home
 *
 * Its intent record names what it does, with absolute figures. Where it dies is read from a variable that another thread changes from 0
 * to "at the last step", so that one run covers every place; likewise for the first repairer. The second repairer lives, writes the
 * entry that is free now for key B and, after a move, overwrites A (entry 2) and takes entry 1 for B, all under the same hold of the mutex.
 * With HANDED_ON the second repairer lets go of the mutex after the repair, and a third process does the writing.
 *
 * Checked: the get never misses and returns A, whole. After the repair the intent is clear, the figures fit the slots, and A is in one
 * slot only.
 *
 * Must fail: NO_REPAIR_FENCE (the fence between the repairer's raise and its first byte: on x86 it is not missed, elsewhere it is),
 * FENCE_BY_REPAIRER with HANDED_ON (the fence made by who repaired and not by who writes), NO_REPAIR_RAISE, REPAIR_RAISE_RELAXED,
 * INTENT_LATE (after W2), INTENT_EARLY_CLEAR (before W3), and with moves: NOT_FINISHED (the old place is not cleared),
 * REPAIR_RAISES_NEW_ONLY and REPAIR_RAISES_NONE_BEFORE (one of the two raises of a move left out by the repairer). */
#include "model.h"

#ifdef REPAIR_RAISE_RELAXED
#define REPAIR_RAISE_ORDER RELAXED
#else
#define REPAIR_RAISE_ORDER RELEASE
#endif

#ifndef TURNS
#define TURNS 1
#endif
enum { MISS = 0, GAVE_UP = -1, BYTES_BEFORE = 10, BYTES_AFTER = 20 };

static struct entry entries[3];
static struct bucket home, other;
static atomic_int spill, bytes;
static atomic_int mutex; /* 1: the writer is gone; 2: the first repairer; 3: the second one let go */
static atomic_int writer_dies, repairer_dies;

/* One kind of operation a run, so its fields need not be stored; what is stored is what a repairer reads. */
static struct { atomic_int active, word, spill_before, spill_after, bytes_after; } intent;

#define STEP(n)                                                                                                                            \
    if (dies == (n)) return

static void intend(int word, int spill_before, int spill_after, int bytes_after) {
    STORE(intent.word, word, RELAXED);
    STORE(intent.spill_before, spill_before, RELAXED);
    STORE(intent.spill_after, spill_after, RELAXED);
    STORE(intent.bytes_after, bytes_after, RELAXED);
    STORE(intent.active, 1, RELEASE);
}

#ifdef OVERWRITE
enum { WRITER_STEPS = 6, REPAIRER_STEPS = 4 };

static void write_until(int dies) {
    STEP(1);
#ifndef INTENT_LATE
    intend(2, 0, 0, BYTES_AFTER);
#endif
    STEP(2);
    write_entry(&entries[2], KEY_A, 2); /* W1 */
    STEP(3);
    STORE(home.slot, 2, RELEASE); /* W2 */
    STEP(4);
#ifdef INTENT_LATE
    intend(2, 0, 0, BYTES_AFTER);
#endif
#ifdef INTENT_EARLY_CLEAR
    STORE(bytes, BYTES_AFTER, RELAXED);
    STORE(intent.active, 0, RELEASE);
    STEP(5);
    RAISE(home.version, RELEASE); /* W3 */
#else
    RAISE(home.version, RELEASE); /* W3 */
    STEP(5);
    STORE(bytes, BYTES_AFTER, RELAXED);
    STEP(6);
    STORE(intent.active, 0, RELEASE);
#endif
}

static void repair_until(int dies) {
    if (!LOAD(intent.active, RELAXED)) return;
    STEP(1);
    if (LOAD(home.slot, RELAXED) == LOAD(intent.word, RELAXED)) STORE(bytes, LOAD(intent.bytes_after, RELAXED), RELAXED);
    STEP(2);
#ifndef NO_REPAIR_RAISE
    RAISE(home.version, REPAIR_RAISE_ORDER);
#endif
    STEP(3);
    STORE(intent.active, 0, RELEASE);
}
#else
enum { WRITER_STEPS = 7, REPAIRER_STEPS = 6 };

#ifdef OUT
#define FROM home
#define TO   other
enum { SPILL_BEFORE = 0, SPILL_AFTER = 1 };
#else
#define FROM other
#define TO   home
enum { SPILL_BEFORE = 1, SPILL_AFTER = 0 };
#endif

static void write_until(int dies) {
    STEP(1);
    intend(1, SPILL_BEFORE, SPILL_AFTER, BYTES_BEFORE);
    STEP(2);
#ifdef OUT
    STORE(spill, SPILL_AFTER, RELEASE);
#endif
    STORE(TO.slot, 1, RELEASE);
    STEP(3);
    RAISE(home.version, RELEASE);
    STEP(4);
    STORE(FROM.slot, 0, RELEASE);
    STEP(5);
    RAISE(FROM.version, RELEASE);
    STEP(6);
#ifdef HOME
    STORE(spill, SPILL_AFTER, RELEASE);
#endif
    STEP(7);
    STORE(intent.active, 0, RELEASE);
}

static void repair_until(int dies) {
    if (!LOAD(intent.active, RELAXED)) return;
    STEP(1);
    if (LOAD(TO.slot, RELAXED) == LOAD(intent.word, RELAXED)) {
#ifndef REPAIR_RAISES_NONE_BEFORE
        RAISE(home.version, REPAIR_RAISE_ORDER);
#endif
        STEP(2);
#ifndef NOT_FINISHED
        STORE(FROM.slot, 0, RELEASE);
#endif
        STEP(3);
#ifdef REPAIR_RAISES_NEW_ONLY
        RAISE(TO.version, REPAIR_RAISE_ORDER);
#elif !defined NO_REPAIR_RAISE
        RAISE(FROM.version, REPAIR_RAISE_ORDER);
#endif
        STEP(4);
        STORE(spill, LOAD(intent.spill_after, RELAXED), RELEASE);
    } else {
        STORE(spill, LOAD(intent.spill_before, RELAXED), RELEASE);
    }
    STEP(5);
    STORE(intent.active, 0, RELEASE);
}
#endif

/* What the next writer does, with bytes that the dead one may have freed. */
static void write_next(void) {
    int word = LOAD(home.slot, RELAXED);

    (void)word;
#ifdef OVERWRITE
#if !defined NO_REPAIR_FENCE && !defined FENCE_BY_REPAIRER
    FENCE(RELEASE);
#endif
    write_entry(&entries[word == 2 ? 1 : 2], KEY_B, B_VALUE);
#else
    write_entry(&entries[2], KEY_A, 2); /* never used before: no fence */
    if (word != 0) {
        STORE(home.slot, 2, RELEASE);
        RAISE(home.version, RELEASE);
    } else {
        STORE(other.slot, 2, RELEASE);
        RAISE(other.version, RELEASE);
    }
#if !defined NO_REPAIR_FENCE && !defined FENCE_BY_REPAIRER
    FENCE(RELEASE);
#endif
    write_entry(&entries[1], KEY_B, B_VALUE);
#endif
}

static void check_repaired(void) {
    int at_home = LOAD(home.slot, RELAXED), away = LOAD(other.slot, RELAXED);

    assert(LOAD(intent.active, RELAXED) == 0);
    assert((at_home != 0) + (away != 0) == 1);
    assert(LOAD(spill, RELAXED) == (away != 0));
    assert(LOAD(bytes, RELAXED) == (at_home == 2 ? BYTES_AFTER : BYTES_BEFORE));
}

static void *writer(void *unused) {
    write_until(LOAD(writer_dies, RELAXED));
    HAND_OVER(mutex, 1);
    return unused;
}

static void *repairer_one(void *unused) {
    HANDED_OVER(mutex, 1);
    repair_until(LOAD(repairer_dies, RELAXED));
    HAND_OVER(mutex, 2);
    return unused;
}

static void *repairer_two(void *unused) {
    HANDED_OVER(mutex, 2);
    repair_until(0);
#ifdef FENCE_BY_REPAIRER
    FENCE(RELEASE);
#endif
#ifdef HANDED_ON
    HAND_OVER(mutex, 3);
#else
    check_repaired();
    write_next();
#endif
    return unused;
}

#ifdef HANDED_ON
static void *next_writer(void *unused) {
    HANDED_OVER(mutex, 3);
    check_repaired();
    write_next();
    return unused;
}
#endif

static void *fate(void *unused) {
    for (int step = 1; step <= WRITER_STEPS; step++) STORE(writer_dies, step, RELAXED);
    for (int step = 1; step < REPAIRER_STEPS; step++) STORE(repairer_dies, step, RELAXED);
    return unused;
}

/* Looks for A in one bucket: the first word of its value, or MISS. */
static int scan(struct bucket *bucket, int *second) {
    int word = LOAD(bucket->slot, ACQUIRE), first; /* R2 */

    if (word == 0 || LOAD(entries[word].key, RELAXED) != KEY_A) return MISS;
    first = LOAD(entries[word].first, RELAXED);
    *second = LOAD(entries[word].second, RELAXED);
    return first;
}

static int get(int *second) {
    for (int turn = 0; turn < TURNS; turn++) {
        int version = LOAD(home.version, ACQUIRE), other_version = 0, items, first = scan(&home, second); /* R1, R2, R4 */

        if (first != MISS) {
            FENCE(ACQUIRE); /* R5 */
            if (LOAD(home.version, RELAXED) == version) return first;
            continue;
        }
        items = LOAD(spill, ACQUIRE);
        if (items > 0) {
            other_version = LOAD(other.version, ACQUIRE);
            first = scan(&other, second);
        }
        FENCE(ACQUIRE);
        if (items > 0 && LOAD(other.version, RELAXED) != other_version) continue;
        if (first != MISS) return first;
        if (LOAD(home.version, RELAXED) == version) return MISS; /* R6 */
    }
    return GAVE_UP;
}

static void *reader(void *unused) {
    int second = 0, first = get(&second);

    if (first == GAVE_UP) return unused;
    assert(first != MISS);
    assert(first == second);
    assert(first != B_VALUE);
    return unused;
}

int main(void) {
    write_entry(&entries[1], KEY_A, 1);
    STORE(bytes, BYTES_BEFORE, RELAXED);
#ifdef HOME
    STORE(other.slot, 1, RELAXED);
    STORE(spill, 1, RELAXED);
#else
    STORE(home.slot, 1, RELAXED);
#endif
    start(fate);
    start(writer);
    start(repairer_one);
    start(repairer_two);
#ifdef HANDED_ON
    start(next_writer);
#endif
    start(reader);
    return 0;
}
