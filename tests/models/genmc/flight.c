/* SPDX-License-Identifier: MIT */
/* flight.c: what those who waited for a flight are told, and that they are woken.
 *
 * A flight with token 1 is led. Its leader ends it: failed, and says 7. The next holder of the shard's mutex begins another flight in the
 * same slot, token 2; it fails too, and says 9. With ANOTHER_ENDS a third process ends that one, as with a lease that was handed on.
 * Somebody who waited for the first one reads how it ended, without a mutex.
 *
 * With WAKE: a waiter tells that it sleeps and looks at the turn once more, which the kernel does; the leader raises the turn and looks
 * whether somebody sleeps.
 *
 * Checked: who finds his own token has the first flight's outcome and what its leader said, or that nothing is known. Nobody sleeps
 * whom the leader has not seen, when the turn is over.
 *
 * Must fail: NO_RESULT_FENCE, SAID_RELAXED with ANOTHER_ENDS (who ends a flight that another process began needs a release of his own for
 * what he says) or with NO_TOKEN_FENCE (in assign(); either of the two is enough for who ends his own flight), with WAKE: NO_SLEEPER_FENCE,
 * NO_WAKER_FENCE. */
#include "model.h"

#ifdef OUTCOME_READ_RELAXED
#define OUTCOME_READ_ORDER RELAXED
#else
#define OUTCOME_READ_ORDER ACQUIRE
#endif
#ifdef SAID_RELAXED
#define SAID_ORDER RELAXED
#else
#define SAID_ORDER RELEASE
#endif

enum { FREE = 0, LED = 1, NONE = 0, FAILED = 3 };

static atomic_int state, token, outcome, said;
static atomic_int shard; /* the mutex: 1, 2: whose turn it is */

#ifndef WAKE
static void end(int says) {
    STORE(said, says, SAID_ORDER);
    STORE(outcome, FAILED, RELEASE);
    STORE(state, FREE, RELEASE);
}

static void *leader(void *unused) {
    end(7);
    HAND_OVER(shard, 1);
    return unused;
}

static void *next(void *unused) {
    HANDED_OVER(shard, 1);
    STORE(token, 2, RELAXED);
#ifndef NO_TOKEN_FENCE
    FENCE(RELEASE);
#endif
    STORE(outcome, NONE, RELAXED);
    STORE(state, LED, RELEASE);
#ifndef ANOTHER_ENDS
    end(9);
#endif
    HAND_OVER(shard, 2);
    return unused;
}

#ifdef ANOTHER_ENDS
static void *another(void *unused) {
    HANDED_OVER(shard, 2);
    end(9);
    return unused;
}
#endif

static void *waiter(void *unused) {
    int how, what;

    if (LOAD(state, ACQUIRE) != FREE) return unused;
    how = LOAD(outcome, OUTCOME_READ_ORDER);
    what = LOAD(said, RELAXED);
#ifndef NO_RESULT_FENCE
    FENCE(ACQUIRE);
#endif
    if (LOAD(token, RELAXED) == 1 && how == FAILED) assert(what == 7);
    return unused;
}

int main(void) {
    STORE(token, 1, RELAXED);
    STORE(state, LED, RELAXED);
    start(leader);
    start(next);
#ifdef ANOTHER_ENDS
    start(another);
#endif
    start(waiter);
    return 0;
}
#else
static atomic_int turn, sleepers;
static int woken, sleeps;

static void *leader(void *unused) {
    STORE(state, FREE, RELEASE);
    STORE(turn, 1, RELEASE);
#ifndef NO_WAKER_FENCE
    FENCE(memory_order_seq_cst);
#endif
    if (LOAD(sleepers, RELAXED)) woken = 1;
    return unused;
}

static void *waiter(void *unused) {
    int was = LOAD(turn, ACQUIRE);

    if (LOAD(state, ACQUIRE) == FREE) return unused;
    STORE(sleepers, 1, RELAXED);
#ifndef NO_SLEEPER_FENCE
    FENCE(memory_order_seq_cst);
#endif
    if (LOAD(turn, RELAXED) == was) sleeps = 1;
    return unused;
}

int main(void) {
    pthread_t one, two;

    STORE(state, LED, RELAXED);
    one = start(leader);
    two = start(waiter);
    pthread_join(one, NULL);
    pthread_join(two, NULL);
    assert(!sleeps || woken);
    return 0;
}
#endif
