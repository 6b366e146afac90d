/* SPDX-License-Identifier: MIT */
/* replay_size.c: how large a file must be to hold so many items: by trial, because only the library knows its own overhead.
 *
 * A trial creates a file, replays made-up requests against it (Zipf over eight times as many keys as are wanted, misses are stored) until
 * three times as many have gone in as it took to the first eviction, and takes the most entries that were seen. What a file holds grows
 * with its size, so a bracket is narrowed: a guess from the bytes an item took so far, pulled inside the bracket, until the bracket is
 * narrower than a thousandth.
 *
 * Where the library's own choice makes few segments, because the file is small, the segments are made to hold a whole number of items,
 * about 256 segments in all: else what is left over at each segment's end decides how many items fit, and not what was asked for. */
#include "replay.h"

#include "host.h"
#include "zipf.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { TRIALS_MAX = 40, SIZE_LEAST = 64 << 10, PAGE = 4096, SEGMENTS = 256, SEGMENT_ITEMS_LEAST = 5, ITEMS_LEAST = 48, SAMPLES = 64 };

bool replay_create(const struct replay_shape *shape, const char *path, uint64_t size_bytes, struct millpond **pond, char *why) {
    char errmsg[MILLPOND_ERRMSG_BYTES];
    struct millpond_options options = MILLPOND_OPTIONS_INIT;
    options.flags = MILLPOND_CREATE | MILLPOND_EXCLUSIVE;
    options.size_bytes = size_bytes;
    options.entry_bytes = (uint32_t)shape->entry_bytes;
    options.segment_bytes = shape->segment_bytes;
    options.max_item_bytes = shape->max_item_bytes;
    options.shards = shape->shards;
    if (millpond_open(pond, path, &options, errmsg) != MILLPOND_OK)
        return host_why(why, "%s", errmsg);
    return true;
}

/* Stores what an item is made of under a number's name. */
static bool put(struct millpond *pond, uint64_t nth, const unsigned char *value, uint64_t entry_bytes, char *why) {
    char key[17];
    snprintf(key, sizeof key, "%016llx", (unsigned long long)nth);
    int result = millpond_set(pond, key, 16, value, entry_bytes > 16 ? entry_bytes - 16 : 0, 0);
    return result == MILLPOND_OK ||
           host_why(why, "a trial set of %llu bytes: %s", (unsigned long long)entry_bytes, millpond_strerror(result));
}

/* The most entries that the pond ever holds of a stream of requests. */
static bool fill(struct millpond *pond, const struct replay_shape *shape, uint64_t items, uint64_t *items_most, char *why) {
    struct millpond_stats stats = {0};
    struct rng rng = {1};
    struct zipf zipf;
    char key[17];
    uint64_t end = UINT64_MAX, most = 0, look_every = items / 256 > 64 ? items / 256 : 64;
    unsigned char *value = host_alloc(shape->entry_bytes);
    bool good = true;
    zipf_init(&zipf, items * 8, 0.8);
    for (uint64_t nth = 0; nth < end && good && !host_interrupted; nth++) {
        uint64_t item = zipf_draw(&zipf, &rng);
        snprintf(key, sizeof key, "%016llx", (unsigned long long)item);
        if (millpond_get(pond, key, 16, value, shape->entry_bytes, NULL) != MILLPOND_OK)
            good = put(pond, item, value, shape->entry_bytes, why);
        if (nth % look_every != 0)
            continue;
        millpond_stats(pond, -1, &stats);
        most = stats.items > most ? stats.items : most;
        if (end == UINT64_MAX && (stats.evictions > 0 || stats.items > items + items / 2))
            end = nth * 3 + 64;
    }
    free(value);
    *items_most = most;
    return good;
}

enum measure { ITEMS, SEGMENT_BYTES };

static bool try_size(const struct replay_shape *shape, uint64_t size_bytes, enum measure what, uint64_t wanted, uint64_t *measured,
                     char *why) {
    char path[HOST_PATH_BYTES + 16];
    struct millpond *pond;
    struct millpond_stats stats = {0};
    snprintf(path, sizeof path, "%s/trial", shape->folder);
    if (!replay_create(shape, path, size_bytes, &pond, why))
        return false;
    bool good = true;
    if (what == ITEMS) {
        good = fill(pond, shape, wanted, measured, why);
    } else {
        millpond_stats(pond, -1, &stats);
        *measured = stats.segments * stats.segment_bytes;
    }
    millpond_close(pond);
    unlink(path);
    return good;
}

/* Chooses shape->segment_bytes for a file of about size_bytes, or leaves the choice to the library. */
static bool choose_segment(struct replay_shape *shape, uint64_t items, uint64_t size_bytes, char *why) {
    char path[HOST_PATH_BYTES + 16];
    struct millpond *pond;
    struct millpond_stats stats = {0};
    unsigned char *value = host_alloc(shape->entry_bytes);
    snprintf(path, sizeof path, "%s/trial", shape->folder);
    bool good = replay_create(shape, path, size_bytes < SIZE_LEAST ? SIZE_LEAST : size_bytes, &pond, why);
    if (good) {
        for (unsigned i = 0; i < SAMPLES && good; i++)
            good = put(pond, i, value, shape->entry_bytes, why);
        millpond_stats(pond, -1, &stats);
        millpond_close(pond);
        unlink(path);
    }
    free(value);
    if (!good || stats.segments >= SEGMENTS || stats.sets == 0)
        return good;
    uint64_t each = (items + SEGMENTS / 2) / SEGMENTS;
    shape->segment_bytes = (each > SEGMENT_ITEMS_LEAST ? each : SEGMENT_ITEMS_LEAST) * (stats.bytes_set / stats.sets);
    return true;
}

/* The largest size whose measure is at most `wanted`. */
static bool largest_size(const struct replay_shape *shape, enum measure what, uint64_t wanted, uint64_t guess, uint64_t *size_bytes,
                         char *why) {
    uint64_t low = 0, high = UINT64_MAX, size = guess < SIZE_LEAST ? SIZE_LEAST : guess;
    for (unsigned trial = 0; trial < TRIALS_MAX && !host_interrupted; trial++) {
        uint64_t measured = 0;
        size = size / PAGE * PAGE;
        if (!try_size(shape, size, what, wanted, &measured, why))
            return false;
        if (measured <= wanted)
            low = size;
        else
            high = size;
        if (high <= SIZE_LEAST)
            return host_why(why, "the smallest file, %d KiB, holds more than that; ask for more items or larger ones (--entry)",
                            SIZE_LEAST >> 10);
        uint64_t gap = high - low, close_enough = low / 1000 > PAGE ? low / 1000 : PAGE;
        if (low > 0 && gap <= close_enough)
            break;
        size = measured > 0 ? (uint64_t)((double)size * (double)wanted / (double)measured) : size * 2;
        if (high != UINT64_MAX && (size <= low || size >= high || trial > 4))
            size = low > 0 ? low + gap / 2 : high / 2; /* the guess left the bracket, or gets no closer */
        else if (size <= low)
            size = low + low / 64 + PAGE;
        if (size < SIZE_LEAST)
            size = SIZE_LEAST;
    }
    *size_bytes = low;
    return low > 0 || host_why(why, "no size was found within %d trials; name one with --size", TRIALS_MAX);
}

bool replay_size_for_items(struct replay_shape *shape, uint64_t items, uint64_t *size_bytes, char *why) {
    uint64_t each = replay_cost(16, shape->entry_bytes > 16 ? shape->entry_bytes - 16 : 0) + 16;
    if (items < ITEMS_LEAST)
        return host_why(why, "they would not fill the fewest segments that a file has; ask for %d items or more", ITEMS_LEAST);
    if (shape->segment_bytes == 0 && !choose_segment(shape, items, items * each, why))
        return false;
    return largest_size(shape, ITEMS, items, items * each, size_bytes, why);
}

bool replay_size_for_bytes(const struct replay_shape *shape, uint64_t bytes, uint64_t *size_bytes, char *why) {
    return largest_size(shape, SEGMENT_BYTES, bytes, bytes + bytes / 8, size_bytes, why);
}
