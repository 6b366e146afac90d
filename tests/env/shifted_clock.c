/* SPDX-License-Identifier: MIT */
/* To be preloaded: a wall clock that is wrong by as much as is asked for. The monotonic clocks stay right.
 *
 *   MILLPOND_TEST_SHIFT_MS   by how many milliseconds, when the process starts
 *   shifted_clock_ms         where it stands from then on; a program that knows of this may let it point elsewhere, into shared memory */

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <stdint.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static int64_t own_shift_ms;
extern int64_t *shifted_clock_ms;
extern uint64_t shifted_clock_calls;
int64_t *shifted_clock_ms = &own_shift_ms;
uint64_t shifted_clock_calls;

__attribute__((constructor)) static void begin(void) {
    const char *text = getenv("MILLPOND_TEST_SHIFT_MS");
    if (text) own_shift_ms = strtoll(text, NULL, 10);
}

int clock_gettime(clockid_t id, struct timespec *now) {
    int failed = (int)syscall(SYS_clock_gettime, id, now);
    if (failed || (id != CLOCK_REALTIME && id != CLOCK_REALTIME_COARSE)) return failed;
    __atomic_fetch_add(&shifted_clock_calls, 1, __ATOMIC_RELAXED);
    int64_t ms = (int64_t)now->tv_sec * 1000 + now->tv_nsec / 1000000 + __atomic_load_n(shifted_clock_ms, __ATOMIC_RELAXED);
    now->tv_sec = (time_t)(ms / 1000);
    now->tv_nsec = (long)(ms % 1000) * 1000000;
    return 0;
}
