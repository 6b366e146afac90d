/* SPDX-License-Identifier: MIT */
/* run_series.c: the measurement of a run once more at other numbers of processes, items and bytes of a value, one changed at a time.
 *
 * Other numbers of processes use the engines that the run has loaded. For other items and values each engine is opened and loaded anew;
 * there are so many items of a larger value that all of them together are as large as the run's. Each point of a list that was given has a
 * third of the rounds; one of those that a drawing has by itself one round of a second at most, enough for a curve. */
#include "run.h"

#include "workload.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

static const struct {
    const char *option;
    bool (*read)(const char *text, uint64_t *number);
    uint64_t least, most;
} kinds[RUN_SERIES] = {{"over-workers", args_read_count, 1, RUN_WORKERS_MAX},
                       {"over-items", args_read_count, 1, UINT32_C(1) << 31},
                       {"over-values", args_read_size, WORKLOAD_VALUE_MIN, 1 << 30}};

#define USUAL_NS UINT64_C(1000000000)

static uint64_t *number_of(struct run *run, enum run_over over) {
    return over == RUN_OVER_WORKERS ? &run->workers : over == RUN_OVER_ITEMS ? &run->items : &run->value_bytes;
}

/* Adds a number, in order and once. The run's own is added first, so that there is room for it. */
static bool add(struct run_series *series, uint64_t number) {
    unsigned at = 0;
    while (at < series->count && series->numbers[at] < number)
        at++;
    if (at < series->count && series->numbers[at] == number)
        return true;
    if (series->count == RUN_POINTS_MAX)
        return false;
    memmove(&series->numbers[at + 1], &series->numbers[at], (series->count - at) * sizeof number);
    series->numbers[at] = number;
    series->count++;
    return true;
}

static void add_usual(const struct run *run, struct run_series *series, enum run_over over) {
    static const uint64_t values[] = {16, 1 << 10, 16 << 10};
    if (over == RUN_OVER_WORKERS) {
        for (uint64_t n = 1; n <= host_cores(); n *= 2)
            add(series, n);
    } else if (over == RUN_OVER_ITEMS) {
        for (uint64_t n = run->items / 100; n < run->items; n *= 10)
            add(series, n > 0 ? n : 1);
    } else {
        for (size_t i = 0; i < sizeof values / sizeof *values; i++)
            add(series, values[i]);
    }
}

static int read_list(struct run_series *series, enum run_over over, const char *list) {
    const char *option = kinds[over].option;
    for (const char *from = list; *from; ) {
        char word[32];
        uint64_t number;
        size_t bytes = strcspn(from, ",");
        snprintf(word, sizeof word, "%.*s", (int)bytes, from);
        if (bytes >= sizeof word || !kinds[over].read(word, &number) || number < kinds[over].least || number > kinds[over].most)
            return args_wrong("run", "--%s %s: '%.*s' is not a number that a run may have", option, list, (int)bytes, from);
        if (!add(series, number))
            return args_wrong("run", "--%s %s: more than %d numbers, the run's own among them", option, list, RUN_POINTS_MAX);
        from += bytes + (from[bytes] == ',');
    }
    return ARGS_GO;
}

int run_series_choose(struct run *run) {
    for (enum run_over over = 0; over < RUN_SERIES; over++) {
        struct run_series *series = &run->series[over];
        const char *list = run->over_lists[over];
        if (list ? strcmp(list, "none") == 0 : !run->plot_path)
            continue;
        add(series, *number_of(run, over));
        int outcome = list ? read_list(series, over, list) : ARGS_GO;
        if (outcome != ARGS_GO)
            return outcome;
        if (!list)
            add_usual(run, series, over);
    }
    return ARGS_GO;
}

uint64_t run_workers_most(const struct run *run) {
    const struct run_series *series = &run->series[RUN_OVER_WORKERS];
    return series->count > 0 ? series->numbers[series->count - 1] : run->workers;
}

/* ---- measuring ---- */

/* A run like this one that has measured nothing yet. Its engines are those of this one, open as they are. */
static struct run *another(const struct run *run, enum run_over over, uint64_t number) {
    struct run *point = host_alloc(sizeof *point);
    *point = *run;
    memset(point->series, 0, sizeof point->series);
    *number_of(point, over) = number;
    point->rounds = run->over_lists[over] ? (run->rounds + 2) / 3 : 1;
    if (!run->over_lists[over] && point->run_ns > USUAL_NS)
        point->run_ns = USUAL_NS;
    for (unsigned i = 0; i < point->result_count; i++) {
        const struct run_result *result = &run->results[i];
        point->results[i] = (struct run_result){.engine = result->engine, .handle = result->handle, .open = result->open};
        memcpy(point->results[i].folder, result->folder, sizeof result->folder);
        memcpy(point->results[i].why_not, result->why_not, sizeof result->why_not);
    }
    return point;
}

static uint64_t bytes_of(const struct run *run) {
    return run->items * (run->key_bytes + run->value_bytes + 32);
}

/* Opens and loads everything anew, in a folder of its own. */
static void load_and_measure(const struct run *run, struct run *point, enum run_over over, unsigned nth) {
    char folder[HOST_PATH_BYTES + 16];
    snprintf(folder, sizeof folder, "%s/%u-%u", run->folder, (unsigned)over, nth);
    if (mkdir(folder, 0700) != 0)
        host_fail("%s: cannot be made: %s; choose another --folder", folder, strerror(errno));
    if (over == RUN_OVER_VALUES && bytes_of(point) > bytes_of(run))
        point->items = bytes_of(run) / (bytes_of(point) / point->items) + 1;
    for (unsigned i = 0; i < point->result_count; i++)
        point->results[i] = (struct run_result){.engine = run->results[i].engine};
    point->folder = folder;
    point->size_bytes = run_size_for(point, run);
    point->draws = workload_draw(&run->dist, (uint32_t)point->items, run->reads, (unsigned)point->workers, run->seed);
    run_load(point);
    run_rounds(point);
    run_close_engines(point);
    munmap(point->draws, point->workers * WORKLOAD_DRAWS * sizeof *point->draws);
    host_remove_folder(folder);
    point->folder = NULL;
}

void run_series_measure(struct run *run, enum run_over over) {
    struct run_series *series = &run->series[over];
    for (unsigned i = 0; i < series->count && !host_interrupted; i++) {
        series->points[i] = run;
        if (series->numbers[i] == *number_of(run, over))
            continue;
        struct run *point = series->points[i] = another(run, over, series->numbers[i]);
        if (over == RUN_OVER_WORKERS)
            run_rounds(point);
        else
            load_and_measure(run, point, over, i);
        run_take_ratios(point);
    }
}

bool run_is_wrong(const struct run *run) {
    bool wrong = false;
    for (unsigned i = 0; i < run->result_count; i++) {
        const struct run_result *result = &run->results[i];
        wrong |= result->engine == &engine_millpond && (result->wrong > 0 || result->errors > 0 || result->why_not[0] != 0);
    }
    for (enum run_over over = 0; over < RUN_SERIES; over++) {
        for (unsigned i = 0; i < run->series[over].count; i++) {
            const struct run *point = run->series[over].points[i];
            wrong |= point && point != run && run_is_wrong(point);
        }
    }
    return wrong;
}
