/* SPDX-License-Identifier: MIT */
/* move.c: a get of a key that moves between its two buckets, under a weak memory model.
 *
 * Home H and other bucket O have a slot each. Key A is there all along, in entry 1 at first. What the writer does is one of:
 *
 *   OUT    A goes from H to O, is then overwritten there (entry 2), and entry 1 is written for key B
 *   HOME   A goes from O to H, is then overwritten there (entry 2), and entry 1 is written for key B
 *   BACK   A goes from H to O and home again
 *   AWAY   A goes from O to H and out again
 *   SWAP   A is in O; a set stores the new entry in H, then clears O; entry 1 is written for key B
 *
 * The order of a move and of a get is in ../move.pml. Checked: the get never misses, and what it returns is whole and A's.
 *
 * Must fail (in the case that shows it): NO_RAISE_AFTER_CLEAR (OUT, HOME), NO_RAISE_BEFORE_CLEAR (HOME, SWAP), MISS_HOME_UNCHECKED,
 * MISS_OTHER_UNCHECKED, HIT_OTHER_UNCHECKED, SPILL_UP_RELAXED and SPILL_DOWN_RELAXED (the stores of the count), WORD_RELAXED (the store of
 * the word), CLEAR_RELAXED (the store of 0), SCAN_RELAXED with NO_RAISE_BEFORE_CLEAR (the scan of H with relaxed loads and no fence before
 * the count is loaded), MISS_UNFENCED (R6 without its load fence, scan with relaxed loads).
 * Must pass: FENCED_SCAN (relaxed loads of the slots, a load fence after each scan), OUT with NO_RAISE_BEFORE_CLEAR, SPILL_EARLY. */
#include "model.h"

#if defined FENCED_SCAN || defined SCAN_RELAXED
#define SCAN_ORDER RELAXED
#else
#define SCAN_ORDER ACQUIRE
#endif
#ifdef SPILL_UP_RELAXED
#define SPILL_UP_ORDER RELAXED
#else
#define SPILL_UP_ORDER RELEASE
#endif
#ifdef SPILL_DOWN_RELAXED
#define SPILL_DOWN_ORDER RELAXED
#else
#define SPILL_DOWN_ORDER RELEASE
#endif
#ifdef WORD_RELAXED
#define WORD_ORDER RELAXED
#else
#define WORD_ORDER RELEASE
#endif
#ifdef CLEAR_RELAXED
#define CLEAR_ORDER RELAXED
#else
#define CLEAR_ORDER RELEASE
#endif
#ifdef RAISE_RELAXED
#define RAISE_ORDER RELAXED
#else
#define RAISE_ORDER RELEASE
#endif

#ifndef TURNS
#define TURNS 1
#endif
enum { MISS = 0, GAVE_UP = -1 };

static struct entry entries[3];
static struct bucket home, other;
static atomic_int spill;

static void move_out(void) {
    STORE(spill, 1, SPILL_UP_ORDER);
    STORE(other.slot, 1, WORD_ORDER);
#ifndef NO_RAISE_BEFORE_CLEAR
    RAISE(home.version, RAISE_ORDER);
#endif
    STORE(home.slot, 0, CLEAR_ORDER);
#ifndef NO_RAISE_AFTER_CLEAR
    RAISE(home.version, RAISE_ORDER);
#endif
}

static void move_home(int word) {
    STORE(home.slot, word, WORD_ORDER);
#ifndef NO_RAISE_BEFORE_CLEAR
    RAISE(home.version, RAISE_ORDER);
#endif
    STORE(other.slot, 0, CLEAR_ORDER);
#ifndef NO_RAISE_AFTER_CLEAR
    RAISE(other.version, RAISE_ORDER);
#endif
    STORE(spill, 0, SPILL_DOWN_ORDER);
}

static void overwrite(struct bucket *bucket) {
    write_entry(&entries[2], KEY_A, 2);
    STORE(bucket->slot, 2, RELEASE); /* W2 */
    RAISE(bucket->version, RELEASE); /* W3 */
}

static void reuse(void) {
    FENCE(RELEASE); /* W4 */
    write_entry(&entries[1], KEY_B, B_VALUE);
}

static void *writer(void *unused) {
#if defined OUT
    move_out();
    overwrite(&other);
    reuse();
#elif defined HOME
    move_home(1);
    overwrite(&home);
    reuse();
#elif defined BACK
    move_out();
    move_home(1);
#elif defined AWAY
    move_home(1);
    move_out();
#elif defined SWAP
    write_entry(&entries[2], KEY_A, 2);
    move_home(2);
    reuse();
#else
#error "say which case: OUT, HOME, BACK, AWAY or SWAP"
#endif
    return unused;
}

struct copy {
    int first, second;
};

/* Looks for A in one bucket: its value, or MISS. */
static int scan(struct bucket *bucket, struct copy *copy) {
    int word = LOAD(bucket->slot, SCAN_ORDER); /* R2 */

#ifdef FENCED_SCAN
    FENCE(ACQUIRE);
#endif
    if (word == 0) return MISS;
#ifdef SCAN_RELAXED
    FENCE(ACQUIRE); /* before the entry is read, and only then */
#endif
    if (LOAD(entries[word].key, RELAXED) != KEY_A) return MISS;
    copy->first = LOAD(entries[word].first, RELAXED);
    copy->second = LOAD(entries[word].second, RELAXED);
    return copy->first;
}

static bool unchanged(struct bucket *bucket, int version) { return LOAD(bucket->version, RELAXED) == version; }

static int get(struct copy *copy) {
    for (int turn = 0; turn < TURNS; turn++) {
        int version = LOAD(home.version, ACQUIRE), items, other_version; /* R1 */
#ifdef SPILL_EARLY
        items = LOAD(spill, RELAXED);
#endif
        if (scan(&home, copy) != MISS) {
            FENCE(ACQUIRE); /* R5 */
            if (unchanged(&home, version)) return copy->first;
            continue;
        }
#ifndef SPILL_EARLY
        items = LOAD(spill, ACQUIRE);
#endif
        other_version = 0;
        if (items > 0) {
            other_version = LOAD(other.version, ACQUIRE);
            if (scan(&other, copy) != MISS) {
                FENCE(ACQUIRE);
#ifndef HIT_OTHER_UNCHECKED
                if (!unchanged(&other, other_version)) continue;
#endif
                return copy->first;
            }
        }
#ifndef MISS_UNFENCED
        FENCE(ACQUIRE); /* R6 */
#endif
#ifndef MISS_HOME_UNCHECKED
        if (!unchanged(&home, version)) continue;
#endif
#ifndef MISS_OTHER_UNCHECKED
        if (items > 0 && !unchanged(&other, other_version)) continue;
#endif
        return MISS;
    }
    return GAVE_UP;
}

static void *reader(void *unused) {
    struct copy copy = {0, 0};
    int first = get(&copy);

    if (first == GAVE_UP) return unused;
    assert(first != MISS);
    assert(first == copy.second);
    assert(first != B_VALUE);
    return unused;
}

int main(void) {
    write_entry(&entries[1], KEY_A, 1);
#if defined OUT || defined BACK
    STORE(home.slot, 1, RELAXED);
#else
    STORE(other.slot, 1, RELAXED);
    STORE(spill, 1, RELAXED);
#endif
    start(writer);
    start(reader);
    return 0;
}
