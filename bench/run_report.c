/* SPDX-License-Identifier: MIT */
/* run_report.c: what `millpond-bench run` tells: tables, JSON, a drawing. */
#include "run.h"

#include "plot.h"
#include "workload.h"

#include <math.h>
#include <string.h>

double run_median(const double *values, uint64_t count) {
    double copy[RUN_ROUNDS_MAX];
    memcpy(copy, values, count * sizeof *values);
    return median(copy, count);
}

static double lowest(const double *values, uint64_t count) {
    double least = INFINITY;
    for (uint64_t i = 0; i < count; i++)
        least = fmin(least, values[i]);
    return least;
}

static double highest(const double *values, uint64_t count) {
    double most = 0;
    for (uint64_t i = 0; i < count; i++)
        most = fmax(most, values[i]);
    return most;
}

/* Rounds that count for the ratio: those that the first engine finished too. */
static uint64_t ratios_of(const struct run_result *result) {
    uint64_t count = 0;
    while (count < result->rounds && result->ratio[count] > 0)
        count++;
    return count;
}

static void describe(const struct run *run, char *text, size_t text_bytes) {
    char items[FIGURE_BYTES], mget[64] = "";
    if (run->mget > 0)
        snprintf(mget, sizeof mget, ", %llu keys a read", (unsigned long long)run->mget);
    snprintf(text, text_bytes, "%llu processes, %s items of %llu + %llu bytes, %llu %% reads, %s%s", (unsigned long long)run->workers,
             figure_count(items, (double)run->items), (unsigned long long)run->key_bytes, (unsigned long long)run->value_bytes,
             (unsigned long long)run->reads, run->dist_text, mget);
}

static void print_speeds(const struct run *run) {
    static struct table table;
    static const char *const heads[] = {"engine", "ns/op", "min", "max", "ratio", "cpu ns", "ratio", "ops/s", "load ns", "bytes/item",
                                        "misses", "wrong", "refused"};
    char text[FIGURE_BYTES];
    table_init(&table);
    for (size_t i = 0; i < sizeof heads / sizeof *heads; i++)
        table_cell(&table, "%s", heads[i]);
    table_end_row(&table);
    for (unsigned i = 0; i < run->result_count; i++) {
        const struct run_result *result = &run->results[i];
        if (result->rounds == 0)
            continue;
        table_cell(&table, "%s", result->engine->name);
        table_cell(&table, "%.0f", run_median(result->ns_per_op, result->rounds));
        table_cell(&table, "%.0f", lowest(result->ns_per_op, result->rounds));
        table_cell(&table, "%.0f", highest(result->ns_per_op, result->rounds));
        table_cell(&table, "%.2f", run_median(result->ratio, ratios_of(result)));
        table_cell(&table, "%.0f", run_median(result->cpu_ns_per_op, result->rounds));
        table_cell(&table, "%.2f", run_median(result->cpu_ratio, ratios_of(result)));
        table_cell(&table, "%s", figure_count(text, run_median(result->ops_per_second, result->rounds)));
        table_cell(&table, "%.0f", result->load_ns);
        table_cell(&table, "%.0f", (double)result->memory_bytes / (double)run->items);
        table_cell(&table, "%llu", (unsigned long long)result->misses);
        table_cell(&table, "%llu", (unsigned long long)result->wrong);
        table_cell(&table, "%llu", (unsigned long long)(result->refused + result->errors + result->load_refused));
        table_end_row(&table);
    }
    table_print(&table, stdout);
}

static const double shares[] = {0.5, 0.9, 0.99, 0.999, 0.9999, 1};
static const char *const share_names[] = {"p50", "p90", "p99", "p99.9", "p99.99", "max"};
enum { SHARES = sizeof shares / sizeof *shares };

static void print_latencies(const struct run *run) {
    static struct table table;
    char text[FIGURE_BYTES];
    table_init(&table);
    table_cell(&table, "latency");
    table_cell(&table, "of");
    for (unsigned share = 0; share < SHARES; share++)
        table_cell(&table, "%s", share_names[share]);
    table_end_row(&table);
    for (unsigned i = 0; i < run->result_count * 2; i++) {
        const struct run_result *result = &run->results[i / 2];
        const struct histogram *histogram = i % 2 == 0 ? &result->get : &result->set;
        if (histogram->count == 0)
            continue;
        table_cell(&table, "%s", result->engine->name);
        table_cell(&table, "%s", i % 2 > 0 ? "set" : run->mget > 0 ? "mget" : "get");
        for (unsigned share = 0; share < SHARES; share++)
            table_cell(&table, "%s", figure_ns(text, histogram_percentile(histogram, shares[share])));
        table_end_row(&table);
    }
    table_print(&table, stdout);
}

/* ---- series ---- */

static const struct {
    const char *key, *table, *title;
} series_names[RUN_SERIES] = {{"workers", "processes", "operations a second, all processes"},
                              {"items", "items", "ns per operation and process, by items"},
                              {"value_bytes", "value", "ns per operation and process, by the value's bytes"}};

/* How a point is called: its number, and of larger values how many there were. */
static const char *name_of(char text[FIGURE_BYTES * 2], const struct run *run, enum run_over over, unsigned nth) {
    const struct run_series *series = &run->series[over];
    uint64_t number = series->numbers[nth];
    char figure[FIGURE_BYTES];
    if (over == RUN_OVER_WORKERS)
        snprintf(text, FIGURE_BYTES * 2, "%llu", (unsigned long long)number);
    else if (over == RUN_OVER_ITEMS)
        snprintf(text, FIGURE_BYTES * 2, "%s", figure_count(figure, (double)number));
    else
        snprintf(text, FIGURE_BYTES * 2, "%s", figure_bytes(figure, number));
    return text;
}

/* What a series shows of an engine at a point, 0 for nothing: operations a second over processes, else ns an operation. */
static double shown(const struct run *run, enum run_over over, unsigned nth, unsigned engine, double *ratio) {
    const struct run *point = run->series[over].points[nth];
    const struct run_result *result = point ? &point->results[engine] : NULL, *first = NULL;
    if (!result || result->rounds == 0)
        return 0;
    if (over != RUN_OVER_WORKERS) {
        *ratio = run_median(result->ratio, ratios_of(result));
        return run_median(result->ns_per_op, result->rounds);
    }
    double rate = run_median(result->ops_per_second, result->rounds);
    if (run->series[over].points[0])
        first = &run->series[over].points[0]->results[engine];
    *ratio = first && first->rounds > 0 ? rate / run_median(first->ops_per_second, first->rounds) : NAN;
    return rate;
}

static void print_series(const struct run *run, enum run_over over) {
    static struct table table;
    const struct run_series *series = &run->series[over];
    char text[FIGURE_BYTES * 2];
    table_init(&table);
    table_cell(&table, "%s", series_names[over].table);
    for (unsigned nth = 0; nth < series->count; nth++)
        table_cell(&table, "%s", name_of(text, run, over, nth));
    table_end_row(&table);
    for (unsigned i = 0; i < run->result_count; i++) {
        if (run->results[i].rounds == 0)
            continue;
        table_cell(&table, "%s", run->results[i].engine->name);
        for (unsigned nth = 0; nth < series->count; nth++) {
            double ratio = NAN, figure = shown(run, over, nth, i, &ratio);
            if (figure > 0 && over == RUN_OVER_WORKERS)
                table_cell(&table, "%s (%.2f)", figure_count(text, figure), ratio);
            else if (figure > 0)
                table_cell(&table, "%.0f (%.2f)", figure, ratio);
            else
                table_cell(&table, "-");
        }
        table_end_row(&table);
    }
    printf("\n%s\n", over == RUN_OVER_WORKERS ? "operations a second by processes, all together (times the fewest's)"
                                              : "ns an operation and process (ratio)");
    table_print(&table, stdout);
}

static void write_point(const struct run *run, struct json *json, const struct run *point) {
    report_object(json, NULL);
    report_u64(json, "workers", point->workers);
    report_u64(json, "items", point->items);
    report_u64(json, "value_bytes", point->value_bytes);
    report_u64(json, "rounds", point->rounds);
    report_array(json, "engines");
    for (unsigned i = 0; i < run->result_count; i++) {
        const struct run_result *result = &point->results[i];
        report_object(json, NULL);
        report_text(json, "name", result->engine->name);
        report_text(json, "why_not", result->why_not[0] ? result->why_not : NULL);
        if (result->rounds > 0) {
            report_real(json, "ns_per_op", run_median(result->ns_per_op, result->rounds));
            report_real(json, "ratio", run_median(result->ratio, ratios_of(result)));
            report_real(json, "cpu_ns_per_op", run_median(result->cpu_ns_per_op, result->rounds));
            report_real(json, "ops_per_second", run_median(result->ops_per_second, result->rounds));
            report_real(json, "load_ns", result->load_ns);
            report_u64(json, "wrong", result->wrong);
        }
        report_end(json);
    }
    report_end(json);
    report_end(json);
}

static void write_series(const struct run *run, struct json *json) {
    report_array(json, "series");
    for (enum run_over over = 0; over < RUN_SERIES; over++) {
        const struct run_series *series = &run->series[over];
        if (series->count == 0)
            continue;
        report_object(json, NULL);
        report_text(json, "over", series_names[over].key);
        report_array(json, "points");
        for (unsigned nth = 0; nth < series->count; nth++) {
            if (series->points[nth])
                write_point(run, json, series->points[nth]);
        }
        report_end(json);
        report_end(json);
    }
    report_end(json);
}

static void plot_series(const struct run *run, struct plot *plot, enum run_over over) {
    static struct plot_curve curves[RUN_ENGINES_MAX];
    static char texts[RUN_POINTS_MAX][FIGURE_BYTES * 2];
    const struct run_series *series = &run->series[over];
    const char *names[RUN_POINTS_MAX];
    unsigned count = 0;
    for (unsigned nth = 0; nth < series->count; nth++)
        names[nth] = name_of(texts[nth], run, over, nth);
    for (unsigned i = 0; i < run->result_count; i++) {
        double ratio;
        if (run->results[i].rounds == 0)
            continue;
        struct plot_curve *curve = &curves[count++];
        snprintf(curve->name, sizeof curve->name, "%s", run->results[i].engine->name);
        curve->colour = i;
        curve->dashed = 0;
        for (unsigned nth = 0; nth < series->count; nth++)
            curve->values[nth] = shown(run, over, nth, i, &ratio);
    }
    plot_curves(plot, series_names[over].title, over == RUN_OVER_WORKERS ? PLOT_RATES : PLOT_NS, names, series->count, curves, count);
}

void run_print(const struct run *run) {
    char text[512];
    describe(run, text, sizeof text);
    printf("%s; %llu rounds of %.3g s\n\n", text, (unsigned long long)run->rounds, (double)run->run_ns / 1e9);
    print_speeds(run);
    printf("\n");
    print_latencies(run);
    for (enum run_over over = 0; over < RUN_SERIES; over++) {
        if (run->series[over].count > 0)
            print_series(run, over);
    }
    printf("\nns/op: wall time per operation and process, median of the rounds; cpu ns: processor time of the workers alone, without what\n"
           "a server does for them. Latencies: every %llu. operation, clock included.\n", (unsigned long long)run->sample);
    for (unsigned i = 0; i < run->result_count; i++) {
        if (run->results[i].why_not[0])
            printf("%s: %s\n", run->results[i].engine->name, run->results[i].why_not);
    }
}

static void write_engine(const struct run *run, struct json *json, const struct run_result *result) {
    report_object(json, NULL);
    report_text(json, "name", result->engine->name);
    report_bool(json, "measured", result->rounds > 0);
    report_text(json, "why_not", result->why_not[0] ? result->why_not : NULL);
    if (result->rounds > 0) {
        report_real(json, "ns_per_op", run_median(result->ns_per_op, result->rounds));
        report_real(json, "ratio", run_median(result->ratio, ratios_of(result)));
        report_real(json, "cpu_ns_per_op", run_median(result->cpu_ns_per_op, result->rounds));
        report_real(json, "cpu_ratio", run_median(result->cpu_ratio, ratios_of(result)));
        report_real(json, "ops_per_second", run_median(result->ops_per_second, result->rounds));
        report_real(json, "load_ns", result->load_ns);
        report_real(json, "load_cpu_ns", result->load_cpu_ns);
        report_u64(json, "load_refused", result->load_refused);
        report_u64(json, "memory_bytes", result->memory_bytes);
        report_real(json, "bytes_per_item", (double)result->memory_bytes / (double)run->items);
        report_u64(json, "gets", result->gets);
        report_u64(json, "sets", result->sets);
        report_u64(json, "misses", result->misses);
        report_u64(json, "wrong", result->wrong);
        report_u64(json, "refused", result->refused);
        report_u64(json, "errors", result->errors);
        report_latency(json, "get_latency_ns", &result->get);
        report_latency(json, "set_latency_ns", &result->set);
        report_array(json, "rounds");
        for (uint64_t round = 0; round < result->rounds; round++) {
            report_object(json, NULL);
            report_real(json, "ns_per_op", result->ns_per_op[round]);
            report_real(json, "cpu_ns_per_op", result->cpu_ns_per_op[round]);
            report_real(json, "ratio", result->ratio[round] > 0 ? result->ratio[round] : NAN);
            report_end(json);
        }
        report_end(json);
    }
    report_end(json);
}

void run_write_json(const struct run *run, struct json *json) {
    report_preamble(json, "run");
    report_u64(json, "workers", run->workers);
    report_u64(json, "items", run->items);
    report_u64(json, "key_bytes", run->key_bytes);
    report_u64(json, "value_bytes", run->value_bytes);
    report_u64(json, "reads", run->reads);
    report_text(json, "dist", run->dist_text);
    report_u64(json, "mget", run->mget);
    report_real(json, "seconds", (double)run->run_ns / 1e9);
    report_u64(json, "rounds", run->rounds);
    report_u64(json, "size_bytes", run->size_bytes);
    report_u64(json, "sample", run->sample);
    report_bool(json, "verify", run->verify);
    report_bool(json, "hugepages", run->hugepages);
    report_array(json, "engines");
    for (unsigned i = 0; i < run->result_count; i++)
        write_engine(run, json, &run->results[i]);
    report_end(json);
    write_series(run, json);
}

void run_plot(const struct run *run) {
    struct plot plot;
    struct plot_bar bars[RUN_ENGINES_MAX];
    static struct plot_curve curves[RUN_ENGINES_MAX * 2];
    size_t bar_count = 0, curve_count = 0;
    char title[512];
    for (unsigned i = 0; i < run->result_count; i++) {
        const struct run_result *result = &run->results[i];
        if (result->rounds == 0)
            continue;
        bars[bar_count++] = (struct plot_bar){result->engine->name, run_median(result->ops_per_second, result->rounds) / 1e6,
                                              lowest(result->ops_per_second, result->rounds) / 1e6,
                                              highest(result->ops_per_second, result->rounds) / 1e6};
        for (int set = 0; set < 2; set++) {
            const struct histogram *histogram = set ? &result->set : &result->get;
            struct plot_curve *curve = &curves[curve_count];
            if (histogram->count == 0)
                continue;
            snprintf(curve->name, sizeof curve->name, "%s %s", result->engine->name, set ? "set" : run->mget > 0 ? "mget" : "get");
            curve->colour = i;
            curve->dashed = set;
            for (size_t share = 0; share < SHARES; share++)
                curve->values[share] = (double)histogram_percentile(histogram, shares[share]);
            curve_count++;
        }
    }
    if (bar_count == 0)
        host_fail("%s: not drawn, no engine was measured; see the sentences above", run->plot_path);
    describe(run, title, sizeof title);
    unsigned panels = 2;
    for (enum run_over over = 0; over < RUN_SERIES; over++)
        panels += run->series[over].count > 0;
    plot_open(&plot, run->plot_path, title, panels);
    plot_bars(&plot, "million operations a second, all processes (median, least, most)", bars, bar_count);
    plot_curves(&plot, "latency", PLOT_NS, share_names, SHARES, curves, curve_count);
    for (enum run_over over = 0; over < RUN_SERIES; over++) {
        if (run->series[over].count > 0)
            plot_series(run, &plot, over);
    }
    plot_close(&plot);
}
