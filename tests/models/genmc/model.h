/* SPDX-License-Identifier: MIT */
/* model.h: what the weak-memory models share: short names for C11 accesses, a bucket, and the hand-over of the mutex.
 *
 * Bytes that a reader copies while they may change are relaxed atomics: that is what the copy loop is to the memory model. Bytes that a
 * view reads under a pin are plain, so a race on them is an error by itself. The mutex is a hand-over: its release and acquire are all
 * that a writer may build on. After a death it is the kernel that hands over; its release is taken to be as good as an unlock. */
#ifndef MILLPOND_MODEL_H
#define MILLPOND_MODEL_H

#include <assert.h>
#include <genmc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#define RELAXED memory_order_relaxed
#define ACQUIRE memory_order_acquire
#define RELEASE memory_order_release

#define LOAD(object, order)         atomic_load_explicit(&(object), order)
#define STORE(object, value, order) atomic_store_explicit(&(object), value, order)
#define FENCE(order)                atomic_thread_fence(order)

/* Only the holder of the mutex raises, so load and store need not be one step. */
#define RAISE(version, order) STORE(version, LOAD(version, RELAXED) + 1, order)

#define HANDED_OVER(baton, turn) __VERIFIER_assume(LOAD(baton, ACQUIRE) == (turn))
#define HAND_OVER(baton, turn)   STORE(baton, turn, RELEASE)

enum { KEY_A = 1, KEY_B = 2, B_VALUE = 90 };

struct entry {
    atomic_int key, first, second; /* a value is two words, and whole when they agree */
};

struct bucket {
    atomic_int version, slot; /* slot: number of the entry, 0 = empty */
};

/* W1: an entry where no slot points. */
static inline void write_entry(struct entry *e, int key, int value) {
    STORE(e->key, key, RELAXED);
    STORE(e->first, value, RELAXED);
    STORE(e->second, value, RELAXED);
}

static inline pthread_t start(void *(*body)(void *)) {
    pthread_t thread;

    pthread_create(&thread, NULL, body, NULL);
    return thread;
}

#endif
