/* SPDX-License-Identifier: MIT */
/* Robust, process-shared mutexes in a mapping.
 *
 * PTHREAD_MUTEX_NORMAL and nothing else: with two PID namespaces on one file the thread numbers of two processes can be equal, and then an
 * error-checking mutex reports a deadlock that is none, and a recursive one has two owners. That a thread does not lock what it holds is
 * seen to by the caller's flag (enter.c). No call waits without a deadline: a lock word of a thread of an earlier boot would never be
 * freed.
 *
 * And none sleeps longer than WAIT_SLICE_MS without looking again, because a wake-up can be lost where waiters are killed:
 *   W1 A holds the mutex; B and C wait (the word has FUTEX_WAITERS)
 *   W2 A gives it back: the word is 0, B is woken
 *   W3 D finds the word 0 and takes the mutex, without FUTEX_WAITERS: it did not have to wait
 *   W4 B is killed before it runs. The kernel hands the wake-up on where the word has no owner (handle_futex_death); it has one, D
 *   W5 D gives it back, and wakes nobody: C sleeps beside a free mutex, until somebody else waits and is woken, or for ever
 * A waiter that looks again either gets the mutex, or sets FUTEX_WAITERS anew. */

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "lock.h"

#include "platform.h"

#include <errno.h>
#include <linux/futex.h>
#include <string.h>
#include <time.h>

#define WAIT_SLICE_MS 100u

int pond_lock_init(pthread_mutex_t *mutex) {
    pthread_mutexattr_t attributes;
    int failed = pthread_mutexattr_init(&attributes);
    if (failed) return failed;
    failed = pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
    if (!failed) failed = pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
    if (!failed) failed = pthread_mutexattr_settype(&attributes, PTHREAD_MUTEX_NORMAL);
    if (!failed) failed = pthread_mutex_init(mutex, &attributes);
    pthread_mutexattr_destroy(&attributes);
    return failed;
}

/* A robust mutex of glibc that is not held is, byte for byte, a new one, or one that was locked and unlocked (which leaves a count). */
int pond_lock_is_free(const pthread_mutex_t *mutex) {
    pthread_mutex_t fresh;
    memset(&fresh, 0, sizeof fresh);
    if (pond_lock_init(&fresh) != 0) return 0;
    if (memcmp(&fresh, mutex, sizeof fresh) == 0) return 1;
    pthread_mutex_lock(&fresh);
    pthread_mutex_unlock(&fresh);
    return memcmp(&fresh, mutex, sizeof fresh) == 0;
}

uint32_t pond_lock_owner(const pthread_mutex_t *mutex) {
    uint32_t word =
        pond_load_32((const uint32_t *)(const void *)mutex); /* glibc's lock word is first; layout.h refuses other libraries' files */
    return word & FUTEX_OWNER_DIED ? 0 : word & FUTEX_TID_MASK;
}

int pond_lock_looks_held(const pthread_mutex_t *mutex) { return pond_lock_owner(mutex) != 0; }

static enum pond_lock_result result_of(int failed) {
    switch (failed) {
    case 0: return POND_LOCK_HELD;
    case EOWNERDEAD: return POND_LOCK_OWNER_DIED;
    case EBUSY:
    case ETIMEDOUT: return POND_LOCK_BUSY;
    default: return POND_LOCK_BROKEN;
    }
}

enum pond_lock_result pond_lock_try(pthread_mutex_t *mutex) { return result_of(pthread_mutex_trylock(mutex)); }

/* Sleeps once, until the mutex is ours or that moment of pond_platform_monotonic_ns(). */
static enum pond_lock_result sleep_for(pthread_mutex_t *mutex, uint64_t until_ns) {
#ifdef MILLPOND_TSAN
    /* ThreadSanitizer does not know clocklock: it would not see who got the lock. */
    enum pond_lock_result result;
    while ((result = pond_lock_try(mutex)) == POND_LOCK_BUSY && pond_platform_monotonic_ns() < until_ns) pond_platform_sleep_us(100);
    return result;
#else
    struct timespec deadline = {(time_t)(until_ns / 1000000000), (long)(until_ns % 1000000000)};
    return result_of(pthread_mutex_clocklock(mutex, CLOCK_MONOTONIC, &deadline));
#endif
}

static enum pond_lock_result wait_for(pthread_mutex_t *mutex, uint32_t timeout_ms) {
    uint64_t now_ns = pond_platform_monotonic_ns(), until_ns = now_ns + (uint64_t)timeout_ms * 1000000;
    for (;;) {
        uint64_t slice_ns = now_ns + WAIT_SLICE_MS * UINT64_C(1000000);
        enum pond_lock_result result = sleep_for(mutex, slice_ns < until_ns ? slice_ns : until_ns);
        now_ns = pond_platform_monotonic_ns();
        if (result != POND_LOCK_BUSY || now_ns >= until_ns) return result;
    }
}

/* A set holds a shard for some hundred nanoseconds; to sleep and be woken takes ten times as long, also of the one who wakes. So whoever
 * finds it held looks a few times more before it sleeps, by loads alone, and tries when the mutex looks free. That is some microseconds at
 * most: little beside what it costs anyway should the holder be off its processor. */
#define LOOKS 64

static enum pond_lock_result watch(pthread_mutex_t *mutex) {
    for (int i = 0; i < LOOKS; i++) {
        pond_pause();
        if (pond_lock_looks_held(mutex)) continue;
        enum pond_lock_result result = pond_lock_try(mutex);
        if (result != POND_LOCK_BUSY) return result;
    }
    return POND_LOCK_BUSY;
}

enum pond_lock_result pond_lock_not_free(pthread_mutex_t *mutex, uint32_t timeout_ms, int failed, int *waited) {
    enum pond_lock_result result = result_of(failed);
    *waited = result == POND_LOCK_BUSY;
    if (!*waited || timeout_ms == 0) return result;
    result = watch(mutex);
    return result == POND_LOCK_BUSY ? wait_for(mutex, timeout_ms) : result;
}

void pond_lock_consistent(pthread_mutex_t *mutex) { pthread_mutex_consistent(mutex); }

void pond_lock_release(pthread_mutex_t *mutex) { pthread_mutex_unlock(mutex); }

static void *lock_and_end(void *mutex) {
    pthread_mutex_lock(mutex);
    return NULL;
}

static int works;

static void try_it(void) {
    pthread_mutex_t mutex;
    pthread_t thread;
    if (pond_lock_init(&mutex) != 0 || pthread_create(&thread, NULL, lock_and_end, &mutex) != 0) return;
    pthread_join(thread, NULL);
    int waited;
    if (pond_lock_acquire(&mutex, 1000, &waited) != POND_LOCK_OWNER_DIED) return;
    pond_lock_consistent(&mutex);
    pond_lock_release(&mutex);
    works = 1;
}

int pond_lock_works(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, try_it);
    return works;
}
