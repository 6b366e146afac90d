/* SPDX-License-Identifier: MIT */
/* recycle.c: a view that pins its segment, against the one that wants to write into it.
 *
 *   viewer                                              writer (holds the mutex)
 *   P1 v = version (acquire); w = slot (acquire)        Q1 clear or swing the slot, raise the version
 *   P2 pin = the segment                                Q2 full fence
 *   P3 full fence                                       Q3 a pin names the segment (acquire)?  leave it
 *   P4 version still v?  no: pin = 0, give up           Q4 write into the bytes
 *   P5 use the bytes; then pin = 0 (release)
 *
 * SEGMENT (default): one process does Q1 to Q4, as when a segment is recycled. HOLE: one process overwrites the entry (Q1) and lets go of
 * the mutex, another takes it and fills the hole (Q2 to Q4). SUMMARY: the writer first looks at a word that says whether anybody has a
 * pin at all, and skips the pins if not.
 * ANNOUNCED: the first viewer of all stores, under the mutex, that there are views from now on; as long as there are none, nobody who
 * writes looks for pins or makes a fence. Here the writer comes first, then the announcer, and the viewer is a third, who sees the word
 * without taking the mutex.
 *
 * The bytes are plain: a race on them is an error, as is a value under the pin that is not A's.
 *
 * Must fail: NO_VIEWER_FENCE (P3), NO_WRITER_FENCE (Q2), ACQ_REL_VIEWER_FENCE, ACQ_REL_WRITER_FENCE (a fence that is not store-load),
 * NO_RECHECK (P4), RECHECK_FIRST (P4 before P2), NO_RAISE (Q1), RAISE_LAST (after Q3), UNPIN_RELAXED (P5), PIN_READ_RELAXED (Q3),
 * VERSION_RELAXED (P1), SUMMARY with SUMMARY_BEFORE_FENCE (the fence made only when somebody has a pin),
 * ANNOUNCED with ANNOUNCE_RELAXED (the word not stored with release and loaded with acquire).
 * Must pass: SUMMARY, ANNOUNCED, SLOT_RELAXED (P3 is behind the slot's load as well), HOLE with FENCE_BY_FREER (the full fence before the
 * mutex is let go is enough for pins; it is not for copies, see read.c). */
#include "model.h"

#ifdef SLOT_RELAXED
#define SLOT_ORDER RELAXED
#else
#define SLOT_ORDER ACQUIRE
#endif
#ifdef UNPIN_RELAXED
#define UNPIN_ORDER RELAXED
#else
#define UNPIN_ORDER RELEASE
#endif
#ifdef PIN_READ_RELAXED
#define PIN_READ_ORDER RELAXED
#else
#define PIN_READ_ORDER ACQUIRE
#endif
#ifdef ACQ_REL_VIEWER_FENCE
#define VIEWER_FENCE memory_order_acq_rel
#else
#define VIEWER_FENCE memory_order_seq_cst
#endif
#ifdef ACQ_REL_WRITER_FENCE
#define WRITER_FENCE memory_order_acq_rel
#else
#define WRITER_FENCE memory_order_seq_cst
#endif

#ifdef ANNOUNCE_RELAXED
#define ANNOUNCE_ORDER  RELAXED
#define ANNOUNCED_ORDER RELAXED
#else
#define ANNOUNCE_ORDER  RELEASE
#define ANNOUNCED_ORDER ACQUIRE
#endif

static struct { int key, first, second; } entries[3]; /* entry 1 lies in segment 1, entry 2 elsewhere */

static struct bucket bucket;
static atomic_int mutex, pin, viewers;

static void publish(int word) {
    STORE(bucket.slot, word, RELEASE);
#if !defined NO_RAISE && !defined RAISE_LAST
    RAISE(bucket.version, RELEASE);
#endif
}

static void reuse_unless_pinned(void) {
#if defined ANNOUNCED
    if (LOAD(viewers, RELAXED) != 0) /* written under the mutex that we hold: no order is needed */
        return;
#elif defined SUMMARY && defined SUMMARY_BEFORE_FENCE
    if (LOAD(viewers, ACQUIRE) != 0) {
        FENCE(WRITER_FENCE);
        if (LOAD(pin, PIN_READ_ORDER) != 0) return;
    }
#else
#if !defined NO_WRITER_FENCE && !defined FENCE_BY_FREER
    FENCE(WRITER_FENCE); /* Q2 */
#endif
#ifdef SUMMARY
    if (LOAD(viewers, ACQUIRE) != 0)
#endif
        if (LOAD(pin, PIN_READ_ORDER) != 0) /* Q3 */
            return;
#endif
#ifdef RAISE_LAST
    RAISE(bucket.version, RELEASE);
#endif
    entries[1].key = KEY_B; /* Q4 */
    entries[1].first = B_VALUE;
    entries[1].second = B_VALUE;
}

static void *writer(void *unused) {
#ifdef HOLE
    entries[2].key = KEY_A;
    entries[2].first = 2;
    entries[2].second = 2;
    publish(2);
#ifdef FENCE_BY_FREER
    FENCE(WRITER_FENCE);
#endif
    HAND_OVER(mutex, 1);
#else
    publish(0);
    reuse_unless_pinned();
    HAND_OVER(mutex, 1);
#endif
    return unused;
}

#ifdef ANNOUNCED
static void *announcer(void *unused) {
    HANDED_OVER(mutex, 1);
    STORE(viewers, 1, ANNOUNCE_ORDER);
    return unused;
}
#endif

#ifdef HOLE
static void *filler(void *unused) {
    HANDED_OVER(mutex, 1);
    reuse_unless_pinned();
    return unused;
}
#endif

static void *viewer(void *unused) {
#ifdef ANNOUNCED
    if (LOAD(viewers, ANNOUNCED_ORDER) == 0) return unused; /* it would announce by itself */
#endif
#ifdef VERSION_RELAXED
    int version = LOAD(bucket.version, RELAXED);
#else
    int version = LOAD(bucket.version, ACQUIRE); /* P1 */
#endif
    int word = LOAD(bucket.slot, SLOT_ORDER);

    if (word == 0) return unused;
#ifdef RECHECK_FIRST
    if (LOAD(bucket.version, RELAXED) != version) return unused;
#endif
#ifdef SUMMARY
    STORE(viewers, 1, RELAXED);
#endif
    STORE(pin, word, RELAXED); /* P2, entry and segment have the same number here */
#ifndef NO_VIEWER_FENCE
    FENCE(VIEWER_FENCE); /* P3 */
#endif
#if !defined NO_RECHECK && !defined RECHECK_FIRST
    if (LOAD(bucket.version, RELAXED) == version) /* P4 */
#endif
    {
        assert(entries[word].key == KEY_A); /* P5 */
        assert(entries[word].first == entries[word].second);
    }
    STORE(pin, 0, UNPIN_ORDER);
#ifdef SUMMARY
    STORE(viewers, 0, UNPIN_ORDER);
#endif
    return unused;
}

int main(void) {
    entries[1].key = KEY_A;
    entries[1].first = 1;
    entries[1].second = 1;
    STORE(bucket.slot, 1, RELAXED);
    start(writer);
#ifdef HOLE
    start(filler);
#endif
#ifdef ANNOUNCED
    start(announcer);
#endif
    start(viewer);
    return 0;
}
