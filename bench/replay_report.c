/* SPDX-License-Identifier: MIT */
/* replay_report.c: what `millpond-bench replay` tells. */
#include "replay.h"

#include "host.h"
#include "plot.h"

#include <string.h>

static double ratio(uint64_t part, uint64_t whole) {
    return whole > 0 ? (double)part / (double)whole : 0;
}

static const char *name_of(const char *path) {
    const char *slash = strrchr(path, '/');
    return strcmp(path, "-") == 0 ? "standard input" : slash ? slash + 1 : path;
}

static void print_one(const struct replay *replay) {
    static struct table table;
    char a[FIGURE_BYTES], b[FIGURE_BYTES];
    const struct millpond_stats *stats = &replay->stats;
    printf("trace        %s, %llu requests of %u keys\n", name_of(replay->path), (unsigned long long)replay->trace.request_count,
           replay->trace.key_count);
    printf("file         %s, %llu segments of %s in %llu shards\n", figure_bytes(a, stats->file_bytes), (unsigned long long)stats->segments,
           figure_bytes(b, stats->segment_bytes), (unsigned long long)stats->shards);
    printf("items        %llu at the end, %llu at the most", (unsigned long long)stats->items, (unsigned long long)replay->items_most);
    if (replay->items_wanted > 0)
        printf(", %llu wanted", (unsigned long long)replay->items_wanted);
    if (replay->equal)
        printf(", %llu bytes of key and value each", (unsigned long long)replay->entry_bytes);
    printf("\nwritten      %s set, %s copied: write amplification %.3f\n", figure_bytes(a, stats->bytes_set),
           figure_bytes(b, stats->bytes_copied), ratio(stats->bytes_copied, stats->bytes_set));
    printf("one set      %llu entries examined and %s copied by recycling at the most, %llu sets that freed segments at once\n",
           (unsigned long long)stats->steps_max, figure_bytes(a, stats->step_bytes_max), (unsigned long long)stats->stalls);
    if (replay->ttl_ms)
        printf("expiry       %llu expired entries left, %llu living ones; %.2f entries examined a set\n",
               (unsigned long long)stats->expirations, (unsigned long long)stats->evictions, ratio(stats->steps, stats->sets));
    if (stats->index_evictions > 0)
        printf("index        %llu slots; %llu entries left for want of one\n", (unsigned long long)stats->index_slots,
               (unsigned long long)stats->index_evictions);
    printf("payload      %.3f of the file is key and value\n", ratio(stats->bytes, stats->file_bytes));
    printf("speed        %.0f ns a request and process, %llu processes\n",
           replay->seconds * 1e9 * (double)replay->workers / (double)replay->trace.request_count, (unsigned long long)replay->workers);
    if (replay->too_large > 0)
        printf("too large    %llu values were not stored (at most %s)\n", (unsigned long long)replay->too_large,
               figure_bytes(a, stats->max_item_bytes));
    if (replay->policy_count > 0)
        printf("policies     at %llu %s\n", (unsigned long long)replay->capacity, replay->capacity_in_items ? "items" : "bytes");
    table_init(&table);
    table_cell(&table, "cache"), table_cell(&table, "misses"), table_cell(&table, "miss ratio");
    table_cell(&table, "millpond's misses to it"), table_end_row(&table);
    table_cell(&table, "millpond"), table_cell(&table, "%llu", (unsigned long long)replay->misses);
    table_cell(&table, "%.4f", ratio(replay->misses, replay->trace.request_count));
    table_end_row(&table);
    for (unsigned i = 0; i < replay->policy_count; i++) {
        table_cell(&table, "%s", replay->policies[i].policy->name);
        table_cell(&table, "%llu", (unsigned long long)replay->policies[i].misses);
        table_cell(&table, "%.4f", ratio(replay->policies[i].misses, replay->trace.request_count));
        table_cell(&table, "%.3f", ratio(replay->misses, replay->policies[i].misses));
        table_end_row(&table);
    }
    printf("\n");
    table_print(&table, stdout);
}

/* How a column or a place is called. */
static const char *size_of(const struct replay *replay, char text[FIGURE_BYTES]) {
    return replay->size_name[0] ? replay->size_name : figure_bytes(text, replay->stats.file_bytes);
}

/* A line for each figure, a column for each size; behind a policy's miss ratio millpond's misses to it. */
static void print_some(const struct replay *sizes, unsigned count) {
    static struct table table;
    static const char *const heads[] = {"file", "items at the end", "copied a byte set", "millpond"};
    char text[FIGURE_BYTES];
    printf("trace        %s, %llu requests of %u keys; miss ratios, and in brackets millpond's misses to it\n\n", name_of(sizes->path),
           (unsigned long long)sizes->trace.request_count, sizes->trace.key_count);
    table_init(&table);
    table_cell(&table, "size");
    for (unsigned i = 0; i < count; i++)
        table_cell(&table, "%s", size_of(&sizes[i], text));
    table_end_row(&table);
    for (unsigned line = 0; line < sizeof heads / sizeof *heads; line++) {
        table_cell(&table, "%s", heads[line]);
        for (unsigned i = 0; i < count; i++) {
            const struct millpond_stats *stats = &sizes[i].stats;
            if (line == 0)
                table_cell(&table, "%s", figure_bytes(text, stats->file_bytes));
            else if (line == 1)
                table_cell(&table, "%llu", (unsigned long long)stats->items);
            else if (line == 2)
                table_cell(&table, "%.3f", ratio(stats->bytes_copied, stats->bytes_set));
            else
                table_cell(&table, "%.4f", ratio(sizes[i].misses, sizes->trace.request_count));
        }
        table_end_row(&table);
    }
    for (unsigned policy = 0; policy < sizes->policy_count; policy++) {
        table_cell(&table, "%s", sizes->policies[policy].policy->name);
        for (unsigned i = 0; i < count; i++) {
            uint64_t misses = sizes[i].policies[policy].misses;
            table_cell(&table, "%.4f (%.3f)", ratio(misses, sizes->trace.request_count), ratio(sizes[i].misses, misses));
        }
        table_end_row(&table);
    }
    table_print(&table, stdout);
}

void replay_print(const struct replay *replay, unsigned count) {
    if (count == 1)
        print_one(replay);
    else
        print_some(replay, count);
}

static void write_one(const struct replay *replay, struct json *json) {
    const struct millpond_stats *stats = &replay->stats;
    report_u64(json, "misses", replay->misses);
    report_real(json, "miss_ratio", ratio(replay->misses, replay->trace.request_count));
    report_real(json, "write_amplification", ratio(stats->bytes_copied, stats->bytes_set));
    report_u64(json, "items", stats->items);
    report_u64(json, "items_most", replay->items_most);
    report_u64(json, "items_wanted", replay->items_wanted);
    report_u64(json, "file_bytes", stats->file_bytes);
    report_u64(json, "segments", stats->segments);
    report_u64(json, "segment_bytes", stats->segment_bytes);
    report_u64(json, "shards", stats->shards);
    report_u64(json, "entry_bytes", replay->equal ? replay->entry_bytes : 0);
    report_u64(json, "overwrite", replay->overwrite);
    report_u64(json, "delete", replay->removal);
    report_u64(json, "grow", replay->grow);
    report_text(json, "ttl", replay->ttl_text ? replay->ttl_text : "");
    report_u64(json, "rate", replay->rate);
    report_u64(json, "workers", replay->workers);
    report_real(json, "seconds", replay->seconds);
    report_u64(json, "sets", replay->sets);
    report_u64(json, "too_large", replay->too_large);
    report_u64(json, "wrong", replay->wrong);
    report_u64(json, "errors", replay->errors);
    report_u64(json, "bytes_set", stats->bytes_set);
    report_u64(json, "bytes_copied", stats->bytes_copied);
    report_u64(json, "evictions", stats->evictions);
    report_u64(json, "expirations", stats->expirations);
    report_u64(json, "ghost_hits", stats->ghost_hits);
    report_u64(json, "hole_hits", stats->hole_hits);
    report_u64(json, "relinks", stats->relinks);
    report_u64(json, "index_evictions", stats->index_evictions);
    report_u64(json, "index_slots", stats->index_slots);
    report_u64(json, "steps", stats->steps);
    report_u64(json, "steps_max", stats->steps_max);
    report_u64(json, "step_bytes_max", stats->step_bytes_max);
    report_u64(json, "stalls", stats->stalls);
    report_real(json, "payload_share", ratio(stats->bytes, stats->file_bytes));
    report_u64(json, "policy_capacity", replay->policy_count > 0 ? replay->capacity : 0);
    report_text(json, "policy_capacity_unit", replay->capacity_in_items ? "items" : "bytes");
    report_array(json, "policies");
    for (unsigned i = 0; i < replay->policy_count; i++) {
        report_object(json, NULL);
        report_text(json, "name", replay->policies[i].policy->name);
        report_u64(json, "misses", replay->policies[i].misses);
        report_real(json, "miss_ratio", ratio(replay->policies[i].misses, replay->trace.request_count));
        report_real(json, "millpond_misses_to_it", ratio(replay->misses, replay->policies[i].misses));
        report_end(json);
    }
    report_end(json);
}

/* One size: its figures. Several: an array of them. */
void replay_write_json(const struct replay *replay, unsigned count, struct json *json) {
    report_preamble(json, "replay");
    report_text(json, "trace", name_of(replay->path));
    report_u64(json, "requests", replay->trace.request_count);
    report_u64(json, "keys", replay->trace.key_count);
    if (count == 1) {
        write_one(replay, json);
        return;
    }
    report_array(json, "sizes");
    for (unsigned i = 0; i < count; i++) {
        report_object(json, NULL);
        report_text(json, "size", replay[i].size_name);
        write_one(&replay[i], json);
        report_end(json);
    }
    report_end(json);
}

static void plot_sizes(const struct replay *sizes, unsigned count, struct plot *plot) {
    static struct plot_curve curves[REPLAY_POLICIES_MAX + 1];
    static char texts[REPLAY_SIZES_MAX][FIGURE_BYTES];
    const char *names[REPLAY_SIZES_MAX];
    for (unsigned i = 0; i < count; i++)
        names[i] = size_of(&sizes[i], texts[i]);
    for (unsigned curve = 0; curve <= sizes->policy_count; curve++) {
        snprintf(curves[curve].name, sizeof curves[curve].name, "%s", curve == 0 ? "millpond" : sizes->policies[curve - 1].policy->name);
        curves[curve].colour = curve;
        curves[curve].dashed = curve > 0;
        for (unsigned i = 0; i < count; i++)
            curves[curve].values[i] =
                ratio(curve == 0 ? sizes[i].misses : sizes[i].policies[curve - 1].misses, sizes->trace.request_count);
    }
    plot_open(plot, sizes->plot_path, name_of(sizes->path), 1);
    plot_curves(plot, "miss ratio by size", PLOT_SHARES, names, count, curves, sizes->policy_count + 1);
    plot_close(plot);
}

void replay_plot(const struct replay *replay, unsigned count) {
    struct plot plot;
    if (count > 1) {
        plot_sizes(replay, count, &plot);
        return;
    }
    struct plot_bar bars[REPLAY_POLICIES_MAX + 1];
    char title[256], size[FIGURE_BYTES];
    double mine = ratio(replay->misses, replay->trace.request_count);
    bars[0] = (struct plot_bar){"millpond", mine, mine, mine};
    for (unsigned i = 0; i < replay->policy_count; i++) {
        double theirs = ratio(replay->policies[i].misses, replay->trace.request_count);
        bars[i + 1] = (struct plot_bar){replay->policies[i].policy->name, theirs, theirs, theirs};
    }
    snprintf(title, sizeof title, "%s, file of %s", name_of(replay->path), figure_bytes(size, replay->stats.file_bytes));
    plot_open(&plot, replay->plot_path, title, 1);
    plot_bars(&plot, "miss ratio", bars, replay->policy_count + 1);
    plot_close(&plot);
}
