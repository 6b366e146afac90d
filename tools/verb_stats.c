/* SPDX-License-Identifier: MIT */
/* The verb stats: the figures of a pond as a table, as JSON, or as Prometheus reads them. */
#define _GNU_SOURCE
#include "format.h"
#include "input.h"
#include "json.h"
#include "report.h"
#include "stats.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* The whole file and each shard. */
struct figures {
    struct millpond_stats whole;
    struct millpond_stats *shards;
    unsigned shard_count;
};

static enum status read_figures(const struct call *call, struct figures *figures) {
    struct millpond *pond;
    enum status status = input_open(call, ACCESS_LOOK, &pond);
    if (status != STATUS_DONE) return status;
    int result = millpond_stats(pond, -1, &figures->whole);
    if (result == MILLPOND_OK) {
        figures->shard_count = (unsigned)figures->whole.shards;
        figures->shards = calloc(figures->shard_count, sizeof *figures->shards);
        if (figures->shards == NULL) result = MILLPOND_ERR_NO_MEMORY;
    }
    for (unsigned i = 0; i < figures->shard_count && result == MILLPOND_OK; i++) result = millpond_stats(pond, (int)i, &figures->shards[i]);
    millpond_close(pond);
    return report_result(call->file, result);
}

static void print_shards(const struct figures *figures) {
    printf("\n%5s %12s %9s %14s %14s %14s %14s %10s %10s\n", "shard", "items", "bytes", "sets", "deletes", "evictions", "expirations",
           "lock waits", "recoveries");
    for (unsigned i = 0; i < figures->shard_count; i++) {
        const struct millpond_stats *s = &figures->shards[i];
        const uint64_t counters[] = {s->sets, s->deletes, s->evictions, s->expirations, s->lock_waits, s->recoveries};
        static const int width[] = {14, 14, 14, 14, 10, 10};
        char text[FORMAT_ROOM_BYTES];
        format_count(text, s->items);
        printf("%5u %12s", i, text);
        format_size(text, s->bytes);
        printf(" %9s", text);
        for (size_t k = 0; k < sizeof counters / sizeof counters[0]; k++) {
            format_count(text, counters[k]);
            printf(" %*s", width[k], text);
        }
        putchar('\n');
    }
}

static void json_figures(struct json *json, const struct millpond_stats *stats, bool one_shard) {
    for (unsigned i = 0; i < stats_field_count(); i++) {
        struct stats_field field = stats_field(i);
        if (!one_shard || field.per_shard) json_u64(json, field.name, stats_value(stats, &field));
    }
    if (!one_shard) json_real(json, "hit_ratio", stats_hit_ratio(stats));
    json_real(json, "write_amplification", stats_write_amplification(stats));
}

static void print_json(const struct call *call, const struct figures *figures) {
    struct json json = {stdout, false};
    json_begin(&json, NULL, '{');
    json_bytes(&json, "file", call->file, strlen(call->file), false);
    json_figures(&json, &figures->whole, false);
    json_begin(&json, "per_shard", '[');
    for (unsigned i = 0; i < figures->shard_count; i++) {
        json_begin(&json, NULL, '{');
        json_u64(&json, "shard", i);
        json_figures(&json, &figures->shards[i], true);
        json_end(&json, '}');
    }
    json_end(&json, ']');
    json_end(&json, '}');
    putchar('\n');
}

/* Label values are UTF-8 with backslash, quote and newline escaped; the name is made printable first. */
static void print_label(const char *file) {
    char *text = NULL;
    size_t text_bytes = 0;
    FILE *out = open_memstream(&text, &text_bytes);
    if (out == NULL) return;
    format_escaped(out, file, strlen(file));
    fclose(out);
    for (const char *p = text; *p != 0; p++) {
        if (*p == '"' || *p == '\\') putchar('\\');
        putchar(*p);
    }
    free(text);
}

static void print_metric(const struct call *call, const struct figures *figures, const struct stats_field *field, bool shards) {
    const char *middle = shards ? "shard_" : "", *suffix = field->gauge ? "" : "_total";
    printf("# HELP millpond_%s%s%s %s%s\n", middle, field->name, suffix, field->help, shards ? ", one shard" : "");
    printf("# TYPE millpond_%s%s%s %s\n", middle, field->name, suffix, field->gauge ? "gauge" : "counter");
    unsigned count = shards ? figures->shard_count : 1;
    for (unsigned i = 0; i < count; i++) {
        printf("millpond_%s%s%s{file=\"", middle, field->name, suffix);
        print_label(call->file);
        if (shards) printf("\",shard=\"%u", i);
        printf("\"} %" PRIu64 "\n", stats_value(shards ? &figures->shards[i] : &figures->whole, field));
    }
}

/* Shards have names of their own: under one name a sum would count everything twice. */
static void print_prometheus(const struct call *call, const struct figures *figures) {
    for (unsigned i = 0; i < stats_field_count(); i++) {
        struct stats_field field = stats_field(i);
        print_metric(call, figures, &field, false);
        if (field.per_shard && call->option[OPTION_PER_SHARD].given) print_metric(call, figures, &field, true);
    }
}

enum status verb_stats(const struct call *call) {
    struct figures figures = {.shards = NULL};
    if (call->option[OPTION_JSON].given && call->option[OPTION_PROMETHEUS].given)
        return report_usage(call->verb, "--json and --prometheus exclude each other");
    enum status status = read_figures(call, &figures);
    if (status == STATUS_DONE) {
        if (call->option[OPTION_JSON].given)
            print_json(call, &figures);
        else if (call->option[OPTION_PROMETHEUS].given)
            print_prometheus(call, &figures);
        else {
            stats_print_table(&figures.whole);
            if (call->option[OPTION_PER_SHARD].given) print_shards(&figures);
        }
    }
    free(figures.shards);
    return status;
}
