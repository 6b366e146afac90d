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

void run_print(const struct run *run) {
    char text[512];
    describe(run, text, sizeof text);
    printf("%s; %llu rounds of %.3g s\n\n", text, (unsigned long long)run->rounds, (double)run->run_ns / 1e9);
    print_speeds(run);
    printf("\n");
    print_latencies(run);
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
        bars[bar_count++] = (struct plot_bar){result->engine->name, run_median(result->ns_per_op, result->rounds),
                                              lowest(result->ns_per_op, result->rounds), highest(result->ns_per_op, result->rounds)};
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
    plot_open(&plot, run->plot_path, title, 2);
    plot_bars(&plot, "ns per operation and process (median, least, most)", bars, bar_count);
    plot_curves(&plot, "latency", share_names, SHARES, curves, curve_count);
    plot_close(&plot);
}
