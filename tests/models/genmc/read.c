/* SPDX-License-Identifier: MIT */
/* read.c: a get against two overwrites, the second of which writes into the bytes that the first one freed.
 *
 * One bucket, one slot, entries 1 and 2. Key A has value 1 in entry 1. Process one sets A to 2 (entry 2). Then, under the same mutex,
 * process two takes the hole, entry 1: for key B, or with COMES_BACK for A itself, whose slot then holds its old word again.
 *
 * Checked: a hit is whole, A's, and not older than a set that had returned before the get began; a miss does not happen (A is there
 * all along).
 *
 * Omissions: SLOT_RELAXED (R2), VERSION_RELAXED (R1), NO_LOAD_FENCE (R5), NO_VERSION (R5), SWING_RELAXED (W2), RAISE_RELAXED (W3),
 * NO_RAISE (W3), RAISE_FIRST (W3 before W2), NO_STORE_FENCE (W4 left out), FENCE_BY_FREER (W4 by the process that freed the bytes, after
 * W3, and not by the one that writes into them), RECHECK_SLOT (R5 looks at the slot again, not at the version),
 * MISS_UNCHECKED (R6). */
#include "model.h"

#ifdef SLOT_RELAXED
#define SLOT_ORDER RELAXED
#else
#define SLOT_ORDER ACQUIRE
#endif
#ifdef VERSION_RELAXED
#define VERSION_ORDER RELAXED
#else
#define VERSION_ORDER ACQUIRE
#endif
#ifdef SWING_RELAXED
#define SWING_ORDER RELAXED
#else
#define SWING_ORDER RELEASE
#endif
#ifdef RAISE_RELAXED
#define RAISE_ORDER RELAXED
#else
#define RAISE_ORDER RELEASE
#endif

enum { TURNS = 2, MISS = 0, GAVE_UP = -1 };

static struct entry entries[3];
static struct bucket bucket;
static atomic_int mutex, returned; /* returned: the newest value whose set has returned */

static void swing(int word) {
#ifdef RAISE_FIRST
    RAISE(bucket.version, RAISE_ORDER);
    STORE(bucket.slot, word, SWING_ORDER); /* W2 */
#else
    STORE(bucket.slot, word, SWING_ORDER); /* W2 */
#ifndef NO_RAISE
    RAISE(bucket.version, RAISE_ORDER);    /* W3 */
#endif
#endif
#ifdef FENCE_BY_FREER
    FENCE(RELEASE);
#endif
}

static void *writer_one(void *unused) {
    write_entry(&entries[2], KEY_A, 2);
    swing(2);
    STORE(returned, 2, RELEASE);
    HAND_OVER(mutex, 1);
    return unused;
}

static void *writer_two(void *unused) {
    HANDED_OVER(mutex, 1);
#if !defined NO_STORE_FENCE && !defined FENCE_BY_FREER
    FENCE(RELEASE); /* W4, by the one who writes into old bytes */
#endif
#ifdef COMES_BACK
    write_entry(&entries[1], KEY_A, 3);
    swing(1);
    STORE(returned, 3, RELEASE);
#else
    write_entry(&entries[1], KEY_B, B_VALUE);
#endif
    return unused;
}

static bool unchanged(int version, int word) {
#ifndef NO_LOAD_FENCE
    FENCE(ACQUIRE); /* R5 */
#endif
#ifdef NO_VERSION
    return true;
#elif defined RECHECK_SLOT
    return LOAD(bucket.slot, RELAXED) == word;
#else
    (void)word;
    return LOAD(bucket.version, RELAXED) == version;
#endif
}

static int get(int *second) {
    for (int turn = 0; turn < TURNS; turn++) {
        int version = LOAD(bucket.version, VERSION_ORDER); /* R1 */
        int word = LOAD(bucket.slot, SLOT_ORDER);          /* R2 */
        int key = LOAD(entries[word].key, RELAXED);        /* R4 */
        int first = LOAD(entries[word].first, RELAXED);

        *second = LOAD(entries[word].second, RELAXED);
        if (key != KEY_A) {
#ifdef MISS_UNCHECKED
            return MISS;
#else
            if (unchanged(version, word)) return MISS; /* R6 */
            continue;
#endif
        }
        if (unchanged(version, word)) return first;
    }
    return GAVE_UP;
}

static void *reader(void *unused) {
    int oldest = LOAD(returned, ACQUIRE), second = 0, first = get(&second);

    if (first == GAVE_UP) return unused;
    assert(first != MISS);
    assert(first == second);
    assert(first != B_VALUE);
    assert(first >= oldest);
    return unused;
}

int main(void) {
    write_entry(&entries[1], KEY_A, 1);
    STORE(bucket.slot, 1, RELAXED);
    STORE(returned, 1, RELAXED);
    start(writer_one);
    start(writer_two);
    start(reader);
    return 0;
}
