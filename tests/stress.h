/* SPDX-License-Identifier: MIT */
#ifndef MILLPOND_TESTS_STRESS_H
#define MILLPOND_TESTS_STRESS_H

/* The worker of the stress programs: random reads and writes on shared keys, every answer judged.
 *
 * A value says its key, its sequence and its size, and every byte of it follows from these (content.c); the oracle says whether the
 * sequence was allowed (oracle.h). The programs differ in who the workers are (threads, processes), in the sizes and in the room. */

#include "oracle.h"
#include "support.h"

#define STRESS_WORKERS_MAX 16

/* ThreadSanitizer makes the library copy byte by byte: values and files are smaller then, by this factor. */
#if defined __SANITIZE_THREAD__
#define STRESS_SCALE 16
#elif defined __has_feature
#if __has_feature(thread_sanitizer)
#define STRESS_SCALE 16
#endif
#endif
#ifndef STRESS_SCALE
#define STRESS_SCALE 1
#endif

struct stress_counts {
    uint64_t reads, hits, misses, sets, deletes, busy;
    uint64_t loads, dropped; /* by a fetch; of these, not stored */
    uint64_t held_up;        /* misses while somebody was stopped for so long that readers stop waiting for him */
};

/* When a worker was stopped last, and when it went on; 0: never, or not yet. Moments of support_now_ns(), shared. */
struct stress_stop {
    uint64_t since, until;
};

struct stress_plan {
    const char *name;
    struct oracle *oracle;
    size_t value_bytes_min, value_bytes_max;
    unsigned reads_percent, deletes_percent; /* the rest are sets of one kind or another */
    unsigned fetches_percent;                /* of the reads: they load what they miss */
    unsigned load_us;                        /* how long that takes at the most */
    bool evicts;                             /* a miss needs no delete to explain it */
    double seconds;
    struct support_random seed;
    struct stress_counts *counts; /* STRESS_WORKERS_MAX, shared */
    /* NULL, or: who opens a file may be stopped half-way, and holds up those who follow a resize, who wait for 250 ms (lib/follow.c) and
     * then miss: such misses need no delete. */
    struct stress_stop *stop;
};

/* Fills in what every plan needs: memory, seed, duration from --seconds. */
void stress_prepare(struct stress_plan *plan, const char *name, size_t key_count, int argc, char **argv, double seconds);
/* A pond with little more index slots than keys: buckets are full, and entries move to make room. */
struct millpond *stress_create_crowded(const char *path, uint64_t size_bytes, size_t key_count);
/* One worker, until the plan's time is over. A wrong answer ends the process. */
void stress_worker(const struct stress_plan *plan, struct millpond *pond, unsigned number);
/* Runs so many workers as threads of this process on one handle. */
void stress_threads(const struct stress_plan *plan, struct millpond *pond, unsigned first, unsigned count);
/* Runs processes of so many threads each. Every second process opens the file itself, the others use the handle from before the fork.
 * Returns the number of processes that failed. */
unsigned stress_processes(const struct stress_plan *plan, struct millpond *pond, const char *path, unsigned processes, unsigned threads);
/* Prints what was done, requires that it was enough to mean something, and that a check finds the file whole. */
void stress_finish(const struct stress_plan *plan, const char *path);

#endif
