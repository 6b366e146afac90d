/* SPDX-License-Identifier: MIT */
/* Robust, process-shared mutexes in a mapping.
 *
 * PTHREAD_MUTEX_NORMAL and nothing else: with two PID namespaces on one file the thread numbers of two processes can be equal, and then an
 * error-checking mutex reports a deadlock that is none, and a recursive one has two owners. That a thread does not lock what it holds is
 * seen to by the caller's flag (enter.c). No call waits without a deadline: a lock word of a thread of an earlier boot would never be
 * freed. */

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "lock.h"

#include "atomic.h"

#include <errno.h>
#include <linux/futex.h>
#include <string.h>
#include <time.h>

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

int pond_lock_looks_held(const pthread_mutex_t *mutex) {
    uint32_t word =
        pond_load_32((const uint32_t *)(const void *)mutex); /* glibc's lock word is first; layout.h refuses other libraries' files */
    return (word & FUTEX_TID_MASK) != 0 && !(word & FUTEX_OWNER_DIED);
}

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

static enum pond_lock_result wait_for(pthread_mutex_t *mutex, uint32_t timeout_ms) {
    struct timespec deadline;
    clock_gettime(CLOCK_MONOTONIC, &deadline);
    deadline.tv_sec += (time_t)(timeout_ms / 1000);
    deadline.tv_nsec += (long)(timeout_ms % 1000) * 1000000;
    if (deadline.tv_nsec >= 1000000000) {
        deadline.tv_sec++;
        deadline.tv_nsec -= 1000000000;
    }
#ifdef MILLPOND_TSAN
    /* ThreadSanitizer does not know clocklock: it would not see who got the lock. */
    enum pond_lock_result result;
    struct timespec now, pause = {0, 100000};
    while ((result = pond_lock_try(mutex)) == POND_LOCK_BUSY) {
        clock_gettime(CLOCK_MONOTONIC, &now);
        if (now.tv_sec > deadline.tv_sec || (now.tv_sec == deadline.tv_sec && now.tv_nsec >= deadline.tv_nsec)) return POND_LOCK_BUSY;
        nanosleep(&pause, NULL);
    }
    return result;
#else
    return result_of(pthread_mutex_clocklock(mutex, CLOCK_MONOTONIC, &deadline));
#endif
}

/* A set holds a shard for some hundred nanoseconds; to sleep and be woken takes ten times as long, also of the one who wakes. So whoever
 * finds it held looks a few times more before it sleeps, by loads alone, and tries when the mutex looks free. That is some microseconds at
 * most: little beside what it costs anyway should the holder be off its processor. */
#define LOOKS 64

static enum pond_lock_result watch(pthread_mutex_t *mutex) {
    for (int i = 0; i < LOOKS; i++) {
        ck_pr_stall();
        if (pond_lock_looks_held(mutex)) continue;
        enum pond_lock_result result = pond_lock_try(mutex);
        if (result != POND_LOCK_BUSY) return result;
    }
    return POND_LOCK_BUSY;
}

enum pond_lock_result pond_lock_acquire(pthread_mutex_t *mutex, uint32_t timeout_ms, int *waited) {
    *waited = 0;
    int failed = pthread_mutex_trylock(mutex);
    if (POND_LIKELY(failed == 0)) return POND_LOCK_HELD;
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
