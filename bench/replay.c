/* SPDX-License-Identifier: MIT */
/* replay.c: a trace against a pond: each request is a get, each miss is followed by a set.
 *
 * The trace is read whole and turned into requests of numbered keys with the size that each value has at that moment, so that the pond
 * and the exact policies are given the same requests. Forked workers, one by default, take the requests in blocks from a shared
 * cursor: with several the order is that of the trace to within a few blocks.
 *
 * Overwrites: P of a hundred requests, chosen by the request's number, are followed by a set when they hit; every second of those
 * changes the size of that key from then on, by up to a fifth of what it began with. Deletes are chosen likewise. */
#include "replay.h"

#include "host.h"
#include "plot.h"
#include "verbs.h"
#include "zipf.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

enum { BLOCK = 16, ENTRY_BYTES = 124, DATA_BYTES_LEAST = 1 << 20, TURNS_MAX = 6, PAGE_BYTES = 4096 };

struct replay_slot {
    uint64_t misses, sets, too_large, wrong, errors, items_most;
} __attribute__((aligned(64)));

struct replay_shared {
    _Atomic uint64_t cursor __attribute__((aligned(64)));
    struct replay_slot slots[];
};

/* ---- the requests ---- */

static uint32_t value_bytes_at(const struct replay *replay, uint64_t at) {
    if (replay->value_bytes)
        return replay->value_bytes[at];
    return (uint32_t)(replay->entry_bytes - trace_key_bytes(&replay->trace, replay->trace.ids[at]));
}

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
        uint32_t id = trace->ids[at], base = value_bytes_at(replay, at);
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
        uint32_t value_bytes = value_bytes_at(replay, at);
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

/* What as many items as wanted cost together, when they differ. */
static uint64_t wanted_bytes(const struct replay *replay) {
    return (uint64_t)((double)replay->items_wanted * replay->cost_mean);
}

/* ---- replaying ---- */

struct worker {
    const struct replay *replay;
    struct millpond *pond;
    struct replay_slot *slot;
    unsigned char *value, *buf;
};

/* A value begins and ends with its key's number: enough to tell another key's value and a cut one; pool and soak look at every byte. */
static void put(struct worker *worker, uint32_t id, uint32_t value_bytes) {
    const struct trace *trace = &worker->replay->trace;
    if (value_bytes >= 8) {
        memcpy(worker->value, &id, 4);
        memcpy(worker->value + value_bytes - 4, &id, 4);
    }
    int result = millpond_set(worker->pond, trace_key(trace, id), trace_key_bytes(trace, id), worker->value, value_bytes, 0);
    worker->slot->sets++;
    if (result == MILLPOND_ERR_TOO_LARGE || result == MILLPOND_ERR_FULL)
        worker->slot->too_large++;
    else if (result != MILLPOND_OK)
        worker->slot->errors++;
}

/* Another worker may have been first, or an eviction. */
static void drop(struct worker *worker, uint32_t id) {
    const struct trace *trace = &worker->replay->trace;
    int result = millpond_delete(worker->pond, trace_key(trace, id), trace_key_bytes(trace, id));
    worker->slot->errors += result != MILLPOND_OK && result != MILLPOND_MISS;
}

static void request(struct worker *worker, uint64_t at) {
    const struct replay *replay = worker->replay;
    uint32_t id = replay->trace.ids[at], there;
    size_t bytes = 0;
    int result = millpond_get(worker->pond, trace_key(&replay->trace, id), trace_key_bytes(&replay->trace, id), worker->buf,
                              replay->value_bytes_max, &bytes);
    if (result == MILLPOND_OK) {
        bool right = true;
        if (bytes >= 8) {
            memcpy(&there, worker->buf, 4);
            right = there == id;
            memcpy(&there, worker->buf + bytes - 4, 4);
            right = right && there == id;
        }
        worker->slot->wrong += !right;
        if (replay->after && replay->after[at] == POLICY_REWRITE)
            put(worker, id, value_bytes_at(replay, at));
        else if (replay->after && replay->after[at] == POLICY_DELETE)
            drop(worker, id);
    } else if (result == MILLPOND_MISS) {
        worker->slot->misses++;
        put(worker, id, value_bytes_at(replay, at));
    } else {
        worker->slot->errors++;
    }
}

static void work(const struct replay *replay, struct millpond *pond, struct replay_shared *shared, unsigned nth) {
    struct worker worker = {replay, pond, &shared->slots[nth], NULL, NULL};
    struct millpond_stats stats;
    worker.value = host_alloc((size_t)replay->value_bytes_max + 8);
    worker.buf = host_alloc((size_t)replay->value_bytes_max + 8);
    for (uint64_t block = 0;; block++) {
        uint64_t from = atomic_fetch_add_explicit(&shared->cursor, BLOCK, memory_order_relaxed), to = from + BLOCK;
        if (from >= replay->trace.request_count)
            break;
        for (uint64_t at = from; at < to && at < replay->trace.request_count; at++)
            request(&worker, at);
        if (block % 16 == 0) {
            millpond_stats(pond, -1, &stats);
            worker.slot->items_most = stats.items > worker.slot->items_most ? stats.items : worker.slot->items_most;
        }
    }
}

static void wait_for(const struct replay *replay, struct replay_shared *shared, pid_t *pids) {
    bool terminal = isatty(STDERR_FILENO) == 1;
    unsigned running = (unsigned)replay->workers;
    while (running > 0) {
        int status;
        char what[128];
        pid_t pid = waitpid(-1, &status, WNOHANG);
        if (pid > 0) {
            running--;
            host_describe_status(status, what, sizeof what);
            if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
                host_fail("%s: a worker %s", replay->path, what);
            continue;
        }
        if (host_interrupted) {
            for (uint64_t i = 0; i < replay->workers; i++)
                kill(pids[i], SIGKILL);
            host_fail("%s: interrupted", replay->path);
        }
        if (terminal)
            fprintf(stderr, "\r%.0f %%\033[K", 100.0 * (double)atomic_load(&shared->cursor) / (double)replay->trace.request_count);
        host_sleep_ns(terminal ? 50000000 : 2000000);
    }
    if (terminal)
        fputs("\r\033[K", stderr);
}

static void replay_once(struct replay *replay, struct millpond *pond) {
    pid_t pids[REPLAY_WORKERS_MAX];
    size_t shared_bytes = sizeof(struct replay_shared) + replay->workers * sizeof(struct replay_slot);
    struct replay_shared *shared = host_shared(shared_bytes);
    uint64_t start_ns = host_now_ns();
    for (unsigned i = 0; i < replay->workers; i++) {
        pids[i] = host_fork();
        if (pids[i] == 0) {
            if (replay->workers > 1)
                host_pin(i);
            work(replay, pond, shared, i);
            _exit(0);
        }
    }
    wait_for(replay, shared, pids);
    replay->seconds = (double)(host_now_ns() - start_ns) / 1e9;
    replay->misses = replay->sets = replay->too_large = replay->wrong = replay->errors = replay->items_most = 0;
    for (unsigned i = 0; i < replay->workers; i++) {
        const struct replay_slot *slot = &shared->slots[i];
        replay->misses += slot->misses;
        replay->sets += slot->sets;
        replay->too_large += slot->too_large;
        replay->wrong += slot->wrong;
        replay->errors += slot->errors;
        replay->items_most = slot->items_most > replay->items_most ? slot->items_most : replay->items_most;
    }
    millpond_stats(pond, -1, &replay->stats);
    munmap(shared, shared_bytes);
}

/* Trial requests size a file to within a little of what this trace makes of it. Where it held more items than were asked for, it is made
 * smaller by as much and the trace is replayed again. */
static void replay_pond(struct replay *replay) {
    char why[HOST_WHY_BYTES], own[HOST_PATH_BYTES + 16];
    struct millpond *pond;
    snprintf(own, sizeof own, "%s/replay.pond", replay->shape.folder);
    const char *path = replay->file ? replay->file : own;
    for (unsigned turn = 0;; turn++) {
        if (!replay_create(&replay->shape, path, replay->size_bytes, &pond, why))
            host_fail("%s", why);
        replay_once(replay, pond);
        millpond_close(pond);
        if (!replay->equal || replay->items_wanted == 0 || replay->items_most <= replay->items_wanted || turn == TURNS_MAX)
            return;
        uint64_t over = (replay->items_most - replay->items_wanted) * (replay->size_bytes / replay->items_most + 1);
        uint64_t least = turn < 2 ? PAGE_BYTES : replay->stats.segment_bytes; /* less than a segment may change nothing */
        replay->size_bytes -= over > least ? over : least;
        unlink(path); /* made by replay_create, which takes no file that was there */
    }
}

/* ---- the policies ---- */

static void replay_policies(struct replay *replay) {
    struct trace *trace = &replay->trace;
    struct policy_requests requests = {trace->request_count, trace->ids, NULL, replay->after, trace->key_count, 0, 0};
    uint32_t *costs = NULL;
    uint64_t data_bytes = replay->stats.segments * replay->stats.segment_bytes;
    replay->capacity_in_items = replay->equal && replay->overwrite == 0 && !replay->grow;
    if (replay->capacity_in_items) {
        requests.capacity = replay->items_wanted > 0 ? replay->items_wanted : data_bytes / replay_cost(0, replay->entry_bytes);
    } else {
        requests.capacity = replay->items_wanted > 0 ? wanted_bytes(replay) : data_bytes;
        costs = host_alloc(trace->request_count * sizeof *costs);
        for (uint64_t at = 0; at < trace->request_count; at++)
            costs[at] = (uint32_t)replay_cost(trace_key_bytes(trace, trace->ids[at]), value_bytes_at(replay, at));
        requests.costs = costs;
        requests.cost_max = replay_cost(replay->keys_bytes_max, replay->stats.max_item_bytes);
    }
    replay->capacity = requests.capacity;
    for (unsigned i = 0; i < replay->policy_count && !host_interrupted; i++)
        replay->policies[i].misses = replay->policies[i].policy->misses(&requests);
    free(costs);
}

static int choose_policies(struct replay *replay) {
    if (strcmp(replay->policy_list, "all") == 0) {
        for (const struct policy *policy = policies; policy->name; policy++)
            replay->policies[replay->policy_count++].policy = policy;
        return ARGS_GO;
    }
    for (const char *from = replay->policy_list; *from; ) {
        size_t bytes = strcspn(from, ",");
        const struct policy *policy = policy_find(from, bytes);
        if (!policy)
            return args_wrong("replay", "--policies %s: there is no policy '%.*s'; --help names them",
                              replay->policy_list, (int)bytes, from);
        if (replay->policy_count == REPLAY_POLICIES_MAX)
            return args_wrong("replay", "--policies %s: more than %d", replay->policy_list, REPLAY_POLICIES_MAX);
        replay->policies[replay->policy_count++].policy = policy;
        from += bytes + (from[bytes] == ',');
    }
    return ARGS_GO;
}

/* ---- the verb ---- */

static int parse(struct replay *replay, enum trace_format *format, int argc, char **argv) {
    const struct args_option options[] = {
        {"size", ARGS_SIZE, &replay->size_bytes, "S", "size of the cache file", 1, 0},
        {"items", ARGS_TEXT, &replay->items_text, "N|P%", "in its place: a file for N equal items, or for P % of the trace's keys", 0, 0},
        {"entry", ARGS_SIZE, &replay->entry_bytes, "S", "of equal items (124, more for few); with sizes: for the index", 1, 1 << 26},
        {"value-sizes", ARGS_TEXT, &replay->sizes_path, "FILE", "each key's hash picks its value's size from these lines", 0, 0},
        {"overwrite", ARGS_COUNT, &replay->overwrite, "P", "of a hundred hits, how many are followed by a set", 0, 100},
        {"delete", ARGS_COUNT, &replay->removal, "P", "of a hundred hits, how many are followed by a delete", 0, 100},
        {"grow", ARGS_FLAG, &replay->grow, NULL, "values are twice as large from the middle of the trace on", 0, 0},
        {"workers", ARGS_COUNT, &replay->workers, "N", "processes that share the trace", 1, REPLAY_WORKERS_MAX},
        {"policies", ARGS_TEXT, &replay->policy_list, "LIST", "exact ones: fifo,lru,sieve,s3fifo,arc,wtinylfu,belady or all", 0, 0},
        {"format", ARGS_TEXT, &replay->format_text, "F", "of the trace: auto, text or oracle", 0, 0},
        {"segment", ARGS_SIZE, &replay->shape.segment_bytes, "S", "bytes of a segment (the library's choice)", 1, 0},
        {"shards", ARGS_COUNT, &replay->shards, "N", "shards (the library's choice)", 1, 256},
        {"max-item", ARGS_SIZE, &replay->shape.max_item_bytes, "S", "largest value (the library's choice)", 1, 0},
        {"file", ARGS_TEXT, &replay->file, "PATH", "cache file, kept (else one of its own, in memory where it fits, removed)", 0, 0},
        {"seed", ARGS_COUNT, &replay->seed, "N", "of sizes and overwrites", 0, 0},
        {"plot", ARGS_TEXT, &replay->plot_path, "FILE.svg", "draw it, with gnuplot", 0, 0},
        {"json", ARGS_JSON, &replay->json_wish, "[FILE]", "figures for a program, on standard output or into a file", 0, 0},
        {NULL, ARGS_FLAG, NULL, NULL, NULL, 0, 0}};
    const struct args_verb verb = {
        "replay", "Replays a trace: each request is a get, each miss is followed by a set.",
        "TRACE (--size 64M | --items N) [--policies all]",
        "TRACE is text, one `key`, `key,size` or `time,key,size` a line, or oracleGeneral (24-byte records); plain or zstd; - is standard\n"
        "input. The policies are exact, item by item, at as many items as --items says, or at as many bytes as the file's segments have\n"
        "(an item costs its key, its value and 16 bytes). Exit status 1 when a value was wrong.",
        options, "TRACE", &replay->path};
    int outcome = args_parse(&verb, argc, argv);
    if (outcome != ARGS_GO)
        return outcome;
    static const char *const formats[] = {"auto", "text", "oracle"};
    for (*format = TRACE_AUTO; *format <= TRACE_ORACLE && strcmp(replay->format_text, formats[*format]) != 0; (*format)++)
        ;
    if (*format > TRACE_ORACLE)
        return args_wrong("replay", "--format %s: that is none of auto, text, oracle", replay->format_text);
    if (replay->overwrite + replay->removal > 100)
        return args_wrong("replay", "--overwrite and --delete are more than 100 of a hundred hits together");
    if ((replay->size_bytes > 0) == (replay->items_text != NULL))
        return args_wrong("replay", "exactly one of --size and --items is needed");
    replay->shape.shards = (uint32_t)replay->shards;
    return choose_policies(replay);
}

/* "25836", "1M", or "10%" of the keys. */
static int take_items(struct replay *replay) {
    const char *text = replay->items_text;
    char *end;
    if (!text)
        return ARGS_GO;
    double share = strtod(text, &end);
    if (end != text && strcmp(end, "%") == 0 && share > 0 && share <= 100)
        replay->items_wanted = (uint64_t)(share / 100 * replay->trace.key_count);
    else if (!args_read_count(text, &replay->items_wanted))
        return args_wrong("replay", "--items %s: that is not a number such as 25836, or a share such as 10%%", text);
    if (replay->items_wanted == 0)
        return args_wrong("replay", "--items %s: that is no item", text);
    return ARGS_GO;
}

static void choose_size(struct replay *replay) {
    char why[HOST_WHY_BYTES];
    bool good = true;
    if (replay->items_wanted == 0)
        return;
    if (replay->equal)
        good = replay_size_for_items(&replay->shape, replay->items_wanted, &replay->size_bytes, why);
    else
        good = replay_size_for_bytes(&replay->shape, wanted_bytes(replay), &replay->size_bytes, why);
    if (host_interrupted)
        host_fail("%s: interrupted", replay->path);
    if (!good)
        host_fail("%s: a file for %llu items: %s", replay->path, (unsigned long long)replay->items_wanted, why);
}

int verb_replay(int argc, char **argv) {
    static struct replay replay = {.workers = 1, .policy_list = "", .format_text = "auto", .seed = 1};
    enum trace_format format;
    struct json json;
    char why[HOST_WHY_BYTES];
    int outcome = parse(&replay, &format, argc, argv);
    if (outcome != ARGS_GO)
        return outcome;
    plot_expect(replay.plot_path);
    if (!trace_load(&replay.trace, replay.path, format, why))
        host_fail("%s", why);
    if (host_interrupted)
        host_fail("%s: interrupted", replay.path);
    outcome = take_items(&replay);
    if (outcome != ARGS_GO)
        return outcome;
    report_open(&json, &replay.json_wish);
    choose_entry(&replay);
    take_sizes(&replay);
    take_changes(&replay);
    measure_requests(&replay);
    replay.shape.entry_bytes = replay.equal || replay.entry_asked ? replay.entry_bytes : replay.cost_median - REPLAY_HEADER_BYTES;
    replay.shape.folder = host_scratch(replay.size_bytes > 0 ? replay.size_bytes : wanted_bytes(&replay) * 5 / 4);
    choose_size(&replay);
    replay_pond(&replay);
    replay_policies(&replay);
    if (json.out != stdout)
        replay_print(&replay);
    replay_write_json(&replay, &json);
    report_close(&json);
    if (replay.plot_path)
        replay_plot(&replay);
    bool wrong = replay.wrong > 0 || replay.errors > 0;
    if (wrong)
        host_warn("replay: %llu wrong values, %llu errors", (unsigned long long)replay.wrong, (unsigned long long)replay.errors);
    trace_free(&replay.trace);
    free(replay.value_bytes);
    free(replay.after);
    return wrong;
}
