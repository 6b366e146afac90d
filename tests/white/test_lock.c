/* SPDX-License-Identifier: MIT */
/* The robust mutex where its waiters are killed. */

#include "white.h"

#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#define DEADLINE_MS 20000u

struct shared {
    pthread_mutex_t mutex;
    enum pond_lock_result last; /* what the waiter that is not killed got */
};
static struct shared *shared;

static void begin(void) {
    shared = support_share(sizeof *shared);
    cr_assert_eq(pond_lock_init(&shared->mutex), 0);
}

TestSuite(lock, .init = begin);

/* Keeps this process to one processor. */
static void keep_to(int processor) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET((unsigned)processor, &set);
    REQUIRE(processor >= 0 && sched_setaffinity(0, sizeof set, &set) == 0, "processor %d", processor);
}

static int wait_and_be_killed(void *processor) {
    struct sched_param none = {0};
    int waited;
    keep_to(*(int *)processor);
    REQUIRE(sched_setscheduler(0, SCHED_BATCH, &none) == 0, "SCHED_BATCH"); /* does not interrupt whoever wakes it */
    pond_lock_acquire(&shared->mutex, DEADLINE_MS, &waited);
    return 1;
}

static int wait_and_tell(void *unused) {
    (void)unused;
    int waited;
    shared->last = pond_lock_acquire(&shared->mutex, DEADLINE_MS, &waited);
    if (shared->last == POND_LOCK_HELD) pond_lock_release(&shared->mutex);
    return 0;
}

/* Waits until a process sleeps in futex(2): /proc says in which call it is. */
static bool sleeps_at_a_futex(pid_t pid) {
    for (int i = 0; i < 20000; i++) {
        char path[64], line[64] = "";
        snprintf(path, sizeof path, "/proc/%d/syscall", (int)pid);
        FILE *file = fopen(path, "re");
        long call = -1;
        if (file && fgets(line, sizeof line, file)) call = strtol(line, NULL, 10);
        if (file) fclose(file);
        if (call == SYS_futex) return true;
        support_sleep_ms(1);
    }
    return false;
}

/* W1 to W5 of lock.c; we are A and D. Returns whether it came to that: the one that is woken shares our processor, and could have run
 * before we had the mutex again. */
static bool kill_the_woken(int processor) {
    int waited;
    cr_assert_eq(pond_lock_acquire(&shared->mutex, 0, &waited), POND_LOCK_HELD);
    pid_t killed = support_fork(wait_and_be_killed, &processor);
    cr_assert(sleeps_at_a_futex(killed), "the first one does not wait"); /* the first in the queue is the first to be woken */
    pid_t other = support_fork(wait_and_tell, NULL);
    cr_assert(sleeps_at_a_futex(other), "the second one does not wait");

    pond_lock_release(&shared->mutex);
    bool came_to_that = pond_lock_try(&shared->mutex) == POND_LOCK_HELD;
    support_kill(killed);
    if (came_to_that) pond_lock_release(&shared->mutex);
    cr_assert_eq(support_wait(other, 2 * DEADLINE_MS), 0);
    if (came_to_that) cr_assert_eq(shared->last, POND_LOCK_HELD, "it slept beside a free mutex until its deadline: %d", (int)shared->last);
    return came_to_that;
}

Test(lock, a_waiter_that_is_killed_as_it_is_woken_takes_no_wake_up_along) {
    int processor = sched_getcpu(), tries = 0, waited;
    if (access("/proc/self/syscall", R_OK) != 0) cr_skip("the system does not say in which call a process is");
    keep_to(processor);
    while (!kill_the_woken(processor)) {
        cr_assert_lt(++tries, 20, "the woken one was never held back");
        if (pond_lock_acquire(&shared->mutex, 0, &waited) == POND_LOCK_OWNER_DIED) pond_lock_consistent(&shared->mutex);
        pond_lock_release(&shared->mutex);
    }
}

Test(lock, a_lock_that_stays_held_is_waited_for_until_the_deadline) {
    static const uint32_t timeouts_ms[] = {1, 30, 250};
    int waited;
    cr_assert_eq(pond_lock_acquire(&shared->mutex, 0, &waited), POND_LOCK_HELD);
    cr_assert_eq(waited, 0);
    for (size_t i = 0; i < sizeof timeouts_ms / sizeof *timeouts_ms; i++) {
        uint64_t begun = support_now_ns();
        cr_assert_eq(pond_lock_acquire(&shared->mutex, timeouts_ms[i], &waited), POND_LOCK_BUSY);
        cr_assert(waited && support_now_ns() - begun >= timeouts_ms[i] * UINT64_C(1000000), "%u ms", timeouts_ms[i]);
    }
    pond_lock_release(&shared->mutex);
    cr_assert_eq(pond_lock_acquire(&shared->mutex, 0, &waited), POND_LOCK_HELD);
    pond_lock_release(&shared->mutex);
}
