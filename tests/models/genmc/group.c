/* SPDX-License-Identifier: MIT */
/* group.c: an invalidation, and what others see of it without a mutex: each of the cases of lib/group.c by itself.
 *
 * LOAD: somebody changes what is loaded and invalidates the group; a loader draws its ticket, loads, and stores with the ticket; a reader
 * begins a get. The mutexes are of three shards, so they order nothing here. Whether the invalidation had returned when the get began it
 * knows from a word that is stored behind it.
 * SET: a set that has returned, an invalidation that begins behind that, a get behind its return.
 * CAS: a set that is conditional on an entry of the group, beside an invalidation.
 * SNAPSHOT: one key of the group, and another one that is stored behind the return of the invalidation; with TWO it is of a second group,
 * and that is invalidated behind the first.
 *
 * Checked: the get does not find what was loaded from what there was before, nor what was set before. What replaces an entry of the group
 * does not outlive it. A snapshot has not the first key alive beside the second one's later state.
 *
 * Must fail: LOAD: NO_ADD_FENCE (I2), TICKET_RELAXED (L1), STAMPED_ANEW (the stamp of now, not the ticket). SET: COUNTED_LATE (the
 * addition behind the return). CAS: OLD_FIRST (A2 before A1). SNAPSHOT: NO_SECOND_LOOK; NO_QUIET_FENCE, with TWO, or with SLOT_RELAXED;
 * NO_ADD_FENCE with TWO.
 * Must pass: a relaxed load of the word for whoever reads (that is how it stands here), RELEASE_FENCE for the full one of I2. */
#include "model.h"

enum { OLD = 1, NEW = 2 }; /* generations; and values */

static atomic_int word, word_two, returned;

#ifdef TICKET_RELAXED
#define TICKET_ORDER RELAXED
#else
#define TICKET_ORDER ACQUIRE
#endif
#ifdef SLOT_RELAXED
#define SLOT_ORDER RELAXED
#else
#define SLOT_ORDER ACQUIRE
#endif

/* I2. */
static void add(atomic_int *to) {
#if defined RELEASE_FENCE
    FENCE(RELEASE);
#elif !defined NO_ADD_FENCE
    FENCE(memory_order_seq_cst);
#endif
    atomic_fetch_add_explicit(to, 1, RELAXED);
}

#if defined LOAD_CASE || defined SET_CASE
static atomic_int source, slot, was_set;
static struct { atomic_int value, stamp; } entry;

static void publish(int value, int stamp) {
    STORE(entry.value, value, RELAXED);
    STORE(entry.stamp, stamp, RELAXED);
    STORE(slot, 1, RELEASE);
}

static void *invalidator(void *unused) {
#ifdef SET_CASE
    __VERIFIER_assume(LOAD(was_set, ACQUIRE) == 1);
#endif
    STORE(source, NEW, RELAXED);
#ifdef COUNTED_LATE
    STORE(returned, 1, RELEASE);
#endif
    add(&word);
#ifndef COUNTED_LATE
    STORE(returned, 1, RELEASE);
#endif
    return unused;
}

static void *loader(void *unused) {
    int ticket = LOAD(word, TICKET_ORDER); /* L1, A1 */
#ifdef SET_CASE
    publish(OLD, ticket);
    STORE(was_set, 1, RELEASE);
#else
    int loaded = LOAD(source, RELAXED); /* L2 */
#ifdef STAMPED_ANEW
    publish(loaded, LOAD(word, ACQUIRE));
#else
    if (LOAD(word, RELAXED) != ticket) return unused; /* L3 */
    publish(loaded, ticket);
#endif
#endif
    return unused;
}

static void *reader(void *unused) {
    int behind = LOAD(returned, ACQUIRE);

    if (LOAD(slot, ACQUIRE) == 0) return unused;
    if (LOAD(entry.stamp, RELAXED) != LOAD(word, RELAXED)) return unused; /* G1 */
    assert(!behind || LOAD(entry.value, RELAXED) == NEW);
    return unused;
}

int main(void) {
    STORE(word, OLD, RELAXED);
    STORE(source, OLD, RELAXED);
    start(invalidator);
    start(loader);
    start(reader);
    return 0;
}

#elif defined CAS_CASE
static int outlives; /* how often the word had been counted up when the old entry was found alive, and what the new one was stamped with */

static void *setter(void *unused) {
    int stamp = 0, old = OLD;

#ifndef OLD_FIRST
    stamp = LOAD(word, TICKET_ORDER);              /* A1 */
#endif
    if (LOAD(word, RELAXED) != old) return unused; /* A2 */
#ifdef OLD_FIRST
    stamp = LOAD(word, TICKET_ORDER);
#endif
    outlives = stamp != old;
    return unused;
}

static void *invalidator(void *unused) {
    add(&word);
    return unused;
}

int main(void) {
    pthread_t one, two;

    STORE(word, OLD, RELAXED);
    one = start(setter);
    two = start(invalidator);
    pthread_join(one, NULL);
    pthread_join(two, NULL);
    assert(!outlives);
    return 0;
}

#else
static atomic_int slot_two; /* of the second key: the value, OLD or NEW */

static void *invalidator(void *unused) {
    add(&word);
    STORE(returned, 1, RELEASE); /* as good as a mutex that was given back */
#ifdef TWO
    add(&word_two);
#else
    STORE(slot_two, NEW, RELEASE);
#endif
    return unused;
}

static void *snapshot(void *unused) {
    int first = LOAD(word, RELAXED) == OLD, second;         /* Z1: does the first key live? */
#ifdef TWO
    second = LOAD(word_two, RELAXED);                       /* and the second? */
#else
    second = LOAD(slot_two, SLOT_ORDER);
#endif
#ifndef NO_QUIET_FENCE
    FENCE(ACQUIRE);                                         /* Z2 */
#endif
#ifndef NO_SECOND_LOOK
    if (first && LOAD(word, RELAXED) != OLD) return unused; /* Z3 */
#endif
    assert(!(first && second == NEW));
    return unused;
}

int main(void) {
    STORE(word, OLD, RELAXED);
    STORE(word_two, OLD, RELAXED);
    STORE(slot_two, OLD, RELAXED);
    start(invalidator);
    start(snapshot);
    return 0;
}
#endif
