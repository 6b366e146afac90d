/* SPDX-License-Identifier: MIT */
/* Processes that read and write the same keys, every answer judged, while others make the pond larger and smaller again and again: one
 * resizer of three is killed at a random moment, and a worker is stopped during whole resizes. Nothing is evicted, whatever the size, so
 * every miss has to be explained by a delete. Half of the workers use a handle from before the fork. What a fetch has missed it loads,
 * slowly, so that files are replaced while somebody loads. */

#include "stress.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define KEYS      512
#define PROCESSES 4
#define THREADS   2
#define BUSY      75 /* what a resizer ends with that could not have the locks */

static struct stress_plan plan = {.value_bytes_min = SUPPORT_VALUE_BYTES_MIN,
                                  .value_bytes_max = 4096,
                                  .reads_percent = 60,
                                  .deletes_percent = 5,
                                  .fetches_percent = 15,
                                  .load_us = 20000};
static const char *path;
static struct millpond *inherited;

static int work(void *arg) {
    unsigned number = *(unsigned *)arg;
    struct millpond *pond = number % 2 ? support_open(path, NULL) : inherited;
    stress_threads(&plan, pond, number * THREADS, THREADS);
    millpond_close(pond);
    return 0;
}

/* A worker that is stopped may hold a lock, also that of openers: whoever resizes then does not wait for long. */
static int resize(void *arg) {
    char errmsg[MILLPOND_ERRMSG_BYTES] = "";
    struct millpond_options options = MILLPOND_OPTIONS_INIT;
    options.lock_timeout_ms = 500;
    struct millpond *pond;
    int result = millpond_open(&pond, path, &options, errmsg);
    if (result == MILLPOND_ERR_BUSY) _exit(BUSY);
    REQUIRE(result == MILLPOND_OK, "open: %d: %s", result, errmsg);
    result = millpond_resize(pond, *(uint64_t *)arg, errmsg);
    if (result == MILLPOND_ERR_BUSY) _exit(BUSY);
    REQUIRE(result == MILLPOND_OK, "resize: %d: %s", result, errmsg);
    millpond_close(pond);
    return 0;
}

/* Until it has ended, or a second is over: who was stopped while it opened the file holds up the resizer, and all who follow. */
static void wait_a_while(pid_t child) {
    siginfo_t info = {0};
    uint64_t end = support_now_ns() + 1000000000;
    while (info.si_pid == 0 && support_now_ns() < end) {
        support_sleep_us(500);
        REQUIRE(waitid(P_PID, (id_t)child, &info, WEXITED | WNOHANG | WNOWAIT) == 0, "waitid");
    }
}

int main(int argc, char **argv) {
    static const uint64_t sizes[] = {64 << 20, 12 << 20, 33 << 20, 9 << 20, 24 << 20, 16 << 20};
    unsigned numbers[PROCESSES], done = 0, killed = 0, stopped = 0;
    pid_t workers[PROCESSES];
    stress_prepare(&plan, "stress_resize", KEYS, argc, argv, 4);
    struct support_random random = support_derive(&plan.seed, 99);
    plan.stop = support_share(sizeof *plan.stop);
    alarm((unsigned)plan.seconds + 180);
    support_begin();
    support_path("."); /* the folder is this process's, not a child's */
    path = support_path("resize.pond");
    inherited = support_create(path, 16 << 20);
    for (unsigned i = 0; i < PROCESSES; i++) {
        numbers[i] = i;
        workers[i] = support_fork(work, &numbers[i]);
    }
    uint64_t end = support_now_ns() + (uint64_t)(plan.seconds * 1e9);
    for (unsigned turn = 0; support_now_ns() < end; turn++) {
        uint64_t size = sizes[turn % (sizeof sizes / sizeof *sizes)];
        pid_t sleeper = turn % 4 == 1 && support_now_ns() + 500000000 < end ? workers[turn / 4 % PROCESSES] : 0;
        if (sleeper) {
            __atomic_store_n(&plan.stop->since, support_now_ns(), __ATOMIC_SEQ_CST);
            kill(sleeper, SIGSTOP);
        }
        pid_t child = support_fork(resize, &size);
        if (turn % 3 == 2) {
            support_sleep_us((unsigned)support_below(&random, 40000));
            kill(child, SIGKILL);
        }
        if (sleeper) {
            wait_a_while(child);
            kill(sleeper, SIGCONT);
            __atomic_store_n(&plan.stop->until, support_now_ns(), __ATOMIC_SEQ_CST);
        }
        int said = support_wait(child, 60000);
        REQUIRE(said == 0 || said == BUSY || (turn % 3 == 2 && said == -SIGKILL), "the resizer ended with %d", said);
        done += said == 0;
        killed += said == -SIGKILL;
        stopped += sleeper != 0 && said == 0;
    }
    for (unsigned i = 0; i < PROCESSES; i++) {
        int said = support_wait(workers[i], (unsigned)(plan.seconds * 1000) + 60000);
        REQUIRE(said == 0, "worker %u ended with %d%s", i, said, said == SUPPORT_LATE ? " (hung)" : "");
    }
    uint64_t last = 16 << 20;
    int said = BUSY;
    while (said == BUSY) said = support_wait(support_fork(resize, &last), 60000);
    REQUIRE(said == 0, "the last resize ended with %d", said);
    struct millpond_stats stats;
    REQUIRE(millpond_stats(inherited, -1, &stats) == MILLPOND_OK && stats.evictions == 0, "entries were evicted");
    REQUIRE(stats.file_bytes == last, "the handle from before the fork shows a file of %llu bytes", (unsigned long long)stats.file_bytes);
    millpond_close(inherited);
    REQUIRE(support_count_files(support_path(".")) == 1, "%d files are left", support_count_files(support_path(".")));
    printf("stress_resize: %u resizes, %u killed, %u with a stopped worker\n", done, killed, stopped);
    REQUIRE(done > 0, "too few resizes to mean anything");
    stress_finish(&plan, path);
    support_end();
    return 0;
}
