/* SPDX-License-Identifier: MIT */
/* memory.c: what an item takes: new keys are stored in files of several sizes until the first living entry leaves for want of room.
 *
 * usage: millpond-memory [KEY-BYTES VALUE-BYTES]     24 and 100 when they are not given
 *
 * Bytes for each item are those of the whole file, all in; payload is the share of keys and values in it, index load the share of the
 * index's slots that are taken. Keys fall on the shards by chance, and it ends with the first one that is full: so a file of several
 * shards has a little room left, and one of a single shard shows what the format itself takes. Five files of each kind, the median. */
#include "host.h"
#include "report.h"

#include <millpond.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { FILES = 5, LOOK_EVERY = 64, KEY_MIN = 16, KEY_MAX = 200, VALUE_MAX = 4096 };

/* The statistics at the last look before something left. */
static struct millpond_stats fill(const char *path, uint64_t size_bytes, uint32_t shards, size_t key_bytes, size_t value_bytes) {
    struct millpond_options options = MILLPOND_OPTIONS_INIT;
    struct millpond_stats before = {0}, now = {0};
    struct millpond *pond;
    char errmsg[MILLPOND_ERRMSG_BYTES], key[KEY_MAX + 1];
    static const char value[VALUE_MAX];
    options.flags = MILLPOND_CREATE | MILLPOND_EXCLUSIVE;
    options.size_bytes = size_bytes;
    options.shards = shards;
    options.entry_bytes = (uint32_t)(key_bytes + value_bytes);
    if (millpond_open(&pond, path, &options, errmsg) != MILLPOND_OK)
        host_fail("%s", errmsg);
    for (uint64_t nth = 0; now.evictions == 0; nth++) {
        snprintf(key, sizeof key, "%0*llu", (int)key_bytes, (unsigned long long)nth);
        int result = millpond_set(pond, key, key_bytes, value, value_bytes, 0);
        if (result != MILLPOND_OK)
            host_fail("%s: %s", path, millpond_strerror(result));
        if (nth % LOOK_EVERY > 0)
            continue;
        if (now.evictions == 0)
            before = now;
        millpond_stats(pond, -1, &now);
    }
    millpond_close(pond);
    unlink(path);
    return before;
}

static void measure(struct table *table, const char *path, uint64_t size_bytes, uint32_t shards, size_t key_bytes, size_t value_bytes) {
    double items[FILES], slots = 0;
    char text[FIGURE_BYTES];
    struct millpond_stats stats;
    for (unsigned i = 0; i < FILES; i++) {
        stats = fill(path, size_bytes, shards, key_bytes, value_bytes);
        items[i] = (double)stats.items;
        slots = (double)stats.index_slots;
    }
    double held = median(items, FILES);
    table_cell(table, "%s", figure_bytes(text, size_bytes));
    table_cell(table, "%llu", (unsigned long long)stats.shards);
    table_cell(table, "%.0f", held);
    table_cell(table, "%.1f", (double)size_bytes / held);
    table_cell(table, "%.3f", held * (double)(key_bytes + value_bytes) / (double)size_bytes);
    table_cell(table, "%.3f", held / slots);
    table_end_row(table);
}

int main(int argc, char **argv) {
    static const uint64_t sizes[] = {1 << 20, 16 << 20, 64 << 20, 256 << 20};
    static const char *const heads[] = {"file", "shards", "items", "bytes an item", "payload", "index load"};
    static struct table table;
    char path[HOST_PATH_BYTES + 16];
    size_t key_bytes = argc == 3 ? strtoul(argv[1], NULL, 10) : 24, value_bytes = argc == 3 ? strtoul(argv[2], NULL, 10) : 100;
    if ((argc != 1 && argc != 3) || key_bytes < KEY_MIN || key_bytes > KEY_MAX || value_bytes > VALUE_MAX) {
        fprintf(stderr, "usage: millpond-memory [KEY-BYTES (%d to %d) VALUE-BYTES (at most %d)]\n", KEY_MIN, KEY_MAX, VALUE_MAX);
        return 2;
    }
    snprintf(path, sizeof path, "%s/memory", host_scratch(sizes[sizeof sizes / sizeof *sizes - 1]));
    table_init(&table);
    for (size_t i = 0; i < sizeof heads / sizeof *heads; i++)
        table_cell(&table, "%s", heads[i]);
    table_end_row(&table);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        measure(&table, path, sizes[i], 1, key_bytes, value_bytes);
        if (sizes[i] >= 64 << 20)
            measure(&table, path, sizes[i], 0, key_bytes, value_bytes);
    }
    table_print(&table, stdout);
    return 0;
}
