/* SPDX-License-Identifier: MIT */
/* run.h: what `millpond-bench run` measures, between those who measure (run.c,
 * run_series.c, run_worker.c) and the one who tells (run_report.c). */
#ifndef BENCH_RUN_H
#define BENCH_RUN_H

#include "args.h"
#include "engine.h"
#include "histogram.h"
#include "host.h"
#include "report.h"
#include "zipf.h"

enum { RUN_ENGINES_MAX = 16, RUN_ROUNDS_MAX = 101, RUN_WORKERS_MAX = 64, RUN_POINTS_MAX = 8 };

/* What else is changed, one at a time. */
enum run_over { RUN_OVER_WORKERS, RUN_OVER_ITEMS, RUN_OVER_VALUES, RUN_SERIES };

/* What one worker reports of one round. */
struct run_slot {
    uint64_t gets, sets, misses, wrong, refused, errors, elapsed_ns, cpu_ns;
    struct histogram get, set;
} __attribute__((aligned(64)));

struct run_shared {
    _Atomic unsigned ready;
    _Atomic int go;
    _Atomic int stop __attribute__((aligned(64)));
    char why[HOST_WHY_BYTES]; /* of a worker that could not attach */
    struct run_slot slots[];
};

/* What one engine showed, over all rounds. */
struct run_result {
    const struct engine *engine;
    void *handle;
    char folder[HOST_PATH_BYTES + 32];
    char why_not[HOST_WHY_BYTES];   /* not empty: it does not take part, or dropped out */
    bool open;
    uint64_t rounds;                /* that it finished */
    double ns_per_op[RUN_ROUNDS_MAX];
    double cpu_ns_per_op[RUN_ROUNDS_MAX]; /* of the workers alone: a server's work is not in it */
    double ops_per_second[RUN_ROUNDS_MAX];
    double ratio[RUN_ROUNDS_MAX];   /* to the first engine, in the same round */
    double cpu_ratio[RUN_ROUNDS_MAX];
    double load_ns, load_cpu_ns;    /* for each set */
    uint64_t load_refused, memory_bytes;
    uint64_t gets, sets, misses, wrong, refused, errors;
    struct histogram get, set;
};

struct run;
struct run_series {
    unsigned count;                     /* 0: not wanted */
    uint64_t numbers[RUN_POINTS_MAX];   /* in order; the run's own among them */
    struct run *points[RUN_POINTS_MAX]; /* what was measured with each; NULL: nothing, interrupted */
};

struct run {
    uint64_t workers, items, value_bytes, key_bytes, reads, mget, run_ns, rounds, size_bytes, sample, seed;
    uint64_t size_asked; /* 0: size_bytes follows from the items */
    bool verify, hugepages;
    const char *over_lists[RUN_SERIES]; /* as given, or NULL */
    struct run_series series[RUN_SERIES];
    const char *dist_text, *engine_list, *plot_path, *folder;
    struct args_json json_wish;
    struct dist dist;
    uint32_t *draws;
    struct run_result results[RUN_ENGINES_MAX];
    unsigned result_count;
};

/* In a child (run_worker.c): a round, or the loading. Ends the process. */
void run_worker_round(const struct run *run, const struct run_result *result, struct run_shared *shared, unsigned nth, uint64_t round)
    __attribute__((noreturn));
void run_worker_load(const struct run *run, const struct run_result *result, struct run_shared *shared, const uint32_t *order)
    __attribute__((noreturn));

/* Opens and loads every engine; a round of each, one after the other, for all rounds; ratios to the first engine. */
void run_load(struct run *run);
void run_rounds(struct run *run);
void run_take_ratios(struct run *run);
void run_close_engines(struct run *run);
/* What an engine may take: what was asked for `like`, in proportion, or by the items. */
uint64_t run_size_for(const struct run *run, const struct run *like);

/* Series (run_series.c). Which ones are wanted: ARGS_GO, or the status to end with after a sentence. */
int run_series_choose(struct run *run);
uint64_t run_workers_most(const struct run *run);
void run_series_measure(struct run *run, enum run_over over);
/* Did millpond, anywhere, return a wrong value or drop out? */
bool run_is_wrong(const struct run *run);

double run_median(const double *values, uint64_t count);
void run_print(const struct run *run);
void run_write_json(const struct run *run, struct json *json);
void run_plot(const struct run *run);

#endif
