/* SPDX-License-Identifier: MIT */
/* replay_requests.c: what the requests of a trace are: sizes of values, what becomes of the items that are hit, when requests come and how
 * long a key lives.
 *
 * Overwrites: P of a hundred requests, chosen by the request's number, are followed by a set when they hit; every second of those
 * changes the size of that key from then on, by up to a fifth of what it began with. Deletes are chosen likewise. A key's hash says to
 * which share of --ttl it belongs. */
#include "replay.h"

#include "host.h"
#include "zipf.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

enum { ENTRY_BYTES = 124, DATA_BYTES_LEAST = 1 << 20, TTL_SHARES_MAX = 16, PARTS = 10000 };

/* ---- sizes ---- */

/* One size a line, in ascending order or not: the key's hash picks a line. */
static uint32_t *read_quantiles(const char *path, size_t *count) {
    uint32_t *sizes = NULL;
    size_t room = 0, line = 0;
    char text[64], *end;
    FILE *file = fopen(path, "re");
    if (!file)
        host_fail("%s: cannot be read: %s; name a file of sizes, one a line", path, strerror(errno));
    *count = 0;
    while (fgets(text, sizeof text, file)) {
        line++;
        unsigned long long size = strtoull(text, &end, 10);
        if (end == text || (*end != '\n' && *end != '\r' && *end != 0) || text[0] == '-' || size > UINT32_MAX)
            host_fail("%s: line %zu is no size in bytes; one number a line is expected", path, line);
        if (*count == room) {
            room = room > 0 ? room * 2 : 1024;
            sizes = host_grow(sizes, room * sizeof *sizes);
        }
        sizes[(*count)++] = (uint32_t)size;
    }
    fclose(file);
    if (*count == 0)
        host_fail("%s: is empty; one size a line is expected", path);
    return sizes;
}

/* The size that each request's value has before any overwriting. */
static void take_sizes(struct replay *replay) {
    struct trace *trace = &replay->trace;
    size_t quantile_count = 0;
    uint32_t *quantiles = replay->sizes_path ? read_quantiles(replay->sizes_path, &quantile_count) : NULL;
    if (replay->equal)
        return;
    replay->value_bytes = host_alloc(trace->request_count * sizeof *replay->value_bytes);
    for (uint64_t at = 0; at < trace->request_count; at++) {
        uint32_t id = trace->ids[at];
        if (quantiles)
            replay->value_bytes[at] = quantiles[XXH3_64bits_withSeed(trace_key(trace, id), trace_key_bytes(trace, id), replay->seed) %
                                                quantile_count];
        else
            replay->value_bytes[at] = trace->sizes[at];
    }
    free(quantiles);
}

/* What becomes of the items that are hit, and of the sizes. */
static void take_changes(struct replay *replay) {
    struct trace *trace = &replay->trace;
    if (replay->overwrite == 0 && replay->removal == 0 && !replay->grow)
        return;
    uint32_t *sizes = host_alloc(trace->request_count * sizeof *sizes), *now = host_alloc(trace->key_count * sizeof *now);
    struct rng rng = {mix64(replay->seed)};
    replay->after = host_alloc(trace->request_count);
    memset(now, 0xff, trace->key_count * sizeof *now);
    for (uint64_t at = 0; at < trace->request_count; at++) {
        uint32_t id = trace->ids[at], base = replay_value_bytes_at(replay, at);
        uint64_t lot = rng_below(&rng, 100);
        if (now[id] == UINT32_MAX)
            now[id] = base;
        replay->after[at] = lot < replay->overwrite                     ? POLICY_REWRITE
                            : lot < replay->overwrite + replay->removal ? POLICY_DELETE
                                                                        : POLICY_NOTHING;
        if (replay->after[at] == POLICY_REWRITE && rng_below(&rng, 2) == 0)
            now[id] = base - base / 5 + (uint32_t)rng_below(&rng, (uint64_t)base / 5 * 2 + 1);
        sizes[at] = replay->grow && at >= trace->request_count / 2 ? now[id] * 2 : now[id];
    }
    free(now);
    free(replay->value_bytes);
    replay->value_bytes = sizes;
}

static int by_size(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static void measure_requests(struct replay *replay) {
    struct trace *trace = &replay->trace;
    uint64_t *costs = host_alloc(trace->key_count * sizeof *costs), *cost = costs;
    uint8_t *seen = host_alloc(trace->key_count);
    double sum = 0;
    for (uint64_t at = 0; at < trace->request_count; at++) {
        uint32_t value_bytes = replay_value_bytes_at(replay, at);
        if (value_bytes > replay->value_bytes_max)
            replay->value_bytes_max = value_bytes;
        if (seen[trace->ids[at]])
            continue;
        seen[trace->ids[at]] = 1;
        *cost = replay_cost(trace_key_bytes(trace, trace->ids[at]), value_bytes);
        sum += (double)*cost++;
    }
    qsort(costs, trace->key_count, sizeof *costs, by_size);
    replay->cost_mean = sum / trace->key_count;
    replay->cost_median = costs[trace->key_count / 2];
    free(seen);
    free(costs);
}

/* Items are equal when nobody says otherwise; their size makes a file of a MiB at the least, below which a file's fixed
 * parts would be most of it. */
static void choose_entry(struct replay *replay) {
    struct trace *trace = &replay->trace;
    for (uint32_t id = 0; id < trace->key_count; id++) {
        if (trace_key_bytes(trace, id) > replay->keys_bytes_max)
            replay->keys_bytes_max = trace_key_bytes(trace, id);
    }
    bool asked = replay->entry_asked = replay->entry_bytes > 0;
    if (!asked)
        replay->entry_bytes = ENTRY_BYTES;
    if (!asked && replay->items_wanted > 0 && replay->items_wanted * ENTRY_BYTES < DATA_BYTES_LEAST)
        replay->entry_bytes = DATA_BYTES_LEAST / replay->items_wanted;
    if (replay->entry_bytes < replay->keys_bytes_max + 8)
        replay->entry_bytes = replay->keys_bytes_max + 8;
    replay->equal = !replay->sizes_path && (!trace->sizes || replay->items_wanted > 0);
}

/* ---- times ---- */

struct share {
    unsigned below; /* of PARTS: keys whose hash is there, and in no share before */
    uint64_t ttl_ms;
};

/* "90%:60s,5%:1h": false for what is none. */
static bool read_shares(const char *text, struct share shares[TTL_SHARES_MAX], unsigned *count) {
    double sum = 0;
    *count = 0;
    while (*text) {
        char word[32], *end;
        double percent = strtod(text, &end);
        if (end == text || !(percent > 0) || strncmp(end, "%:", 2) != 0 || *count == TTL_SHARES_MAX)
            return false;
        text = end + 2;
        size_t bytes = strcspn(text, ",");
        uint64_t ns;
        snprintf(word, sizeof word, "%.*s", (int)bytes, text);
        sum += percent;
        if (bytes >= sizeof word || !args_read_time(word, &ns) || ns < 1000000 || sum > 100.000001)
            return false;
        shares[(*count)++] = (struct share){(unsigned)(sum / 100 * PARTS + 0.5), ns / 1000000};
        text += bytes;
        if (*text == ',' && *++text == 0)
            return false;
    }
    return *count > 0;
}

/* When each request comes, and how long each key lives. */
static int take_times(struct replay *replay) {
    struct trace *trace = &replay->trace;
    struct share shares[TTL_SHARES_MAX];
    unsigned count;
    if (!replay->ttl_text)
        return ARGS_GO;
    if (!read_shares(replay->ttl_text, shares, &count))
        return args_wrong("replay", "--ttl %s: that is not shares of the keys and times to live such as 90%%:60s,5%%:1h", replay->ttl_text);
    if (replay->rate == 0 && !trace->times_ms)
        return args_wrong("replay", "--ttl needs times, and the trace has none; say how many requests a second there are with --rate");
    replay->times_ms = host_alloc(trace->request_count * sizeof *replay->times_ms);
    for (uint64_t at = 0; at < trace->request_count; at++) {
        uint64_t ms = replay->rate > 0 ? at * 1000 / replay->rate : trace->times_ms[at];
        replay->times_ms[at] = at > 0 && ms < replay->times_ms[at - 1] ? replay->times_ms[at - 1] : ms;
    }
    replay->ttl_ms = host_alloc(trace->key_count * sizeof *replay->ttl_ms);
    for (uint32_t id = 0; id < trace->key_count; id++) {
        uint64_t lot = XXH3_64bits_withSeed(trace_key(trace, id), trace_key_bytes(trace, id), mix64(replay->seed + 1)) % PARTS;
        unsigned nth = 0;
        while (nth < count && lot >= shares[nth].below)
            nth++;
        replay->ttl_ms[id] = nth < count ? shares[nth].ttl_ms : 0;
    }
    return ARGS_GO;
}

int replay_take_requests(struct replay *replay) {
    int outcome = take_times(replay);
    if (outcome != ARGS_GO)
        return outcome;
    choose_entry(replay);
    take_sizes(replay);
    take_changes(replay);
    measure_requests(replay);
    return ARGS_GO;
}

void replay_free_requests(struct replay *replay) {
    free(replay->value_bytes);
    free(replay->after);
    free(replay->times_ms);
    free(replay->ttl_ms);
}
