/* SPDX-License-Identifier: MIT */
#ifndef POND_LOCK_H
#define POND_LOCK_H

/* The robust mutex in the mapping: a lock whose owner may die. That it did is a result here, not a surprise. */

#include "atomic.h"

#include <pthread.h>
#include <stdint.h>

enum pond_lock_result {
    POND_LOCK_HELD = 0,       /* ours */
    POND_LOCK_OWNER_DIED = 1, /* ours; what it guards may be half changed: repair, then pond_lock_consistent() */
    POND_LOCK_BUSY = 2,       /* not ours: another owner, alive, until the deadline */
    POND_LOCK_BROKEN = 3      /* not ours: the words of the mutex make no sense */
};

/* Makes a mutex anew. Nobody may use it at the time. 0 or errno. */
int pond_lock_init(pthread_mutex_t *mutex);

/* Are these the bytes of a mutex that nobody holds? For when nobody can. */
int pond_lock_is_free(const pthread_mutex_t *mutex);

/* Does a living thread hold it, as far as its word says? Touches nothing: also the thread that only tries a mutex tells the kernel about
 * it. */
int pond_lock_looks_held(const pthread_mutex_t *mutex);
/* The number of the thread that holds it, as its word says; 0 when none does. */
uint32_t pond_lock_owner(const pthread_mutex_t *mutex);

/* What pond_lock_acquire() does where the mutex was not simply free: pthread_mutex_trylock() said `failed`. */
enum pond_lock_result pond_lock_not_free(pthread_mutex_t *mutex, uint32_t timeout_ms, int failed, int *waited);

/* Waits up to timeout_ms (by the monotonic clock). `waited` is set to 1 when the lock was not free at once. Plain mutexes of one process
 * may be waited for with it too. */
static inline enum pond_lock_result pond_lock_acquire(pthread_mutex_t *mutex, uint32_t timeout_ms, int *waited) {
    int failed = pthread_mutex_trylock(mutex);
    *waited = 0;
    return POND_LIKELY(failed == 0) ? POND_LOCK_HELD : pond_lock_not_free(mutex, timeout_ms, failed, waited);
}
enum pond_lock_result pond_lock_try(pthread_mutex_t *mutex);
void pond_lock_consistent(pthread_mutex_t *mutex);
void pond_lock_release(pthread_mutex_t *mutex);

/* Tells, once for each process, whether the kernel hands on a mutex whose owner died: a thread takes one and ends. 1 or 0. */
int pond_lock_works(void);

#endif
