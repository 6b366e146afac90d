/* SPDX-License-Identifier: MIT */
/* The figures of a pond with their names. The list itself is the library's (MILLPOND_STATS); here is only what printing needs to know
 * about its members, so that a figure which a later library adds is printed without a change here. */
#define _GNU_SOURCE
#include "stats.h"

#include "format.h"
#include <inttypes.h>
#include <stddef.h>
#include <string.h>

static const struct {
    const char *name, *help;
    size_t off;
} fields[] = {
#define FIELD(name, help) {#name, help, offsetof(struct millpond_stats, name)},
    MILLPOND_STATS(FIELD)
#undef FIELD
};

static const char *const gauges[] = {"file_bytes",     "shards",      "segments",    "segment_bytes", "segments_free",
                                     "max_item_bytes", "index_slots", "items",       "bytes",         "steps_max",
                                     "step_bytes_max", "readers",     "reader_slots"};

/* Reads are counted by thread, not by shard. */
static const char *const of_the_whole_file[] = {"file_bytes", "shards",  "segment_bytes", "max_item_bytes", "hits",        "misses",
                                                "retries",    "gave_up", "readers",       "reader_slots",   "warm_starts", "cold_starts"};

#define IS_IN(name, list) is_in(name, list, sizeof(list) / sizeof(list)[0])
static bool is_in(const char *name, const char *const *list, size_t count) {
    for (size_t i = 0; i < count; i++)
        if (strcmp(name, list[i]) == 0) return true;
    return false;
}

unsigned stats_field_count(void) { return sizeof fields / sizeof fields[0]; }

struct stats_field stats_field(unsigned number) {
    const char *name = fields[number].name;
    return (struct stats_field){
        .name = name,
        .help = fields[number].help,
        .off = fields[number].off,
        .gauge = IS_IN(name, gauges),
        .size = strstr(name, "bytes") != NULL,
        .per_shard = !IS_IN(name, of_the_whole_file),
    };
}

uint64_t stats_value(const struct millpond_stats *stats, const struct stats_field *field) {
    uint64_t value;
    memcpy(&value, (const char *)stats + field->off, sizeof value);
    return value;
}

double stats_hit_ratio(const struct millpond_stats *stats) { return format_share(stats->hits, stats->hits + stats->misses); }

double stats_write_amplification(const struct millpond_stats *stats) {
    return format_share(stats->bytes_set + stats->bytes_copied, stats->bytes_set);
}

static void print_row(const char *name, const char *value, const char *help) { printf("%-20s %16s  %s\n", name, value, help); }

void stats_print_table(const struct millpond_stats *stats) {
    char text[FORMAT_ROOM_BYTES];
    for (unsigned i = 0; i < stats_field_count(); i++) {
        struct stats_field field = stats_field(i);
        uint64_t value = stats_value(stats, &field);
        field.size ? format_size(text, value) : format_count(text, value);
        print_row(field.name, text, field.help);
        /* What is made of two figures stands behind the second. */
        if (strcmp(field.name, "misses") == 0) {
            snprintf(text, sizeof text, "%.2f %%", 100 * stats_hit_ratio(stats));
            print_row("hit ratio", text, "hits of all gets");
        } else if (strcmp(field.name, "bytes_copied") == 0) {
            snprintf(text, sizeof text, "%.3f", stats_write_amplification(stats));
            print_row("write amplification", text, "bytes written for each byte that was stored");
        }
    }
}
