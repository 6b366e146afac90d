/* SPDX-License-Identifier: MIT */
/* replay.c: a trace against a pond: each request is a get, each miss is followed by a set.
 *
 * The trace is read whole and turned into requests of numbered keys with the size that each value has at that moment, so that the pond
 * and the exact policies are given the same requests. Forked workers, one by default, take the requests in blocks from a shared
 * cursor: with several the order is that of the trace to within a few blocks.
 *
 * With times to live each worker has a clock that the trace drives (clock.c): before each request it is set to when that comes. */
#include "replay.h"

#include "clock.h"
#include "host.h"
#include "plot.h"
#include "verbs.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { BLOCK = 16, TURNS_MAX = 6, PAGE_BYTES = 4096 };

struct replay_slot {
    uint64_t misses, sets, too_large, wrong, errors, items_most;
} __attribute__((aligned(64)));

struct replay_shared {
    _Atomic uint64_t cursor __attribute__((aligned(64)));
    struct replay_slot slots[];
};

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
    int result = millpond_set(worker->pond, trace_key(trace, id), trace_key_bytes(trace, id), worker->value, value_bytes,
                              worker->replay->ttl_ms ? worker->replay->ttl_ms[id] : 0);
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
    if (replay->times_ms)
        clock_set(replay->begin_ms + replay->times_ms[at]);
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
            put(worker, id, replay_value_bytes_at(replay, at));
        else if (replay->after && replay->after[at] == POLICY_DELETE)
            drop(worker, id);
    } else if (result == MILLPOND_MISS) {
        worker->slot->misses++;
        put(worker, id, replay_value_bytes_at(replay, at));
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
    replay->begin_ms = clock_system_ms(); /* the file's clock never goes back: behind what its making has noted */
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
            break;
        uint64_t over = (replay->items_most - replay->items_wanted) * (replay->size_bytes / replay->items_most + 1);
        uint64_t least = turn < 2 ? PAGE_BYTES : replay->stats.segment_bytes; /* less than a segment may change nothing */
        replay->size_bytes -= over > least ? over : least;
        unlink(path); /* made by replay_create, which takes no file that was there */
    }
    if (!replay->file)
        unlink(own);
}

/* ---- the policies ---- */

static void replay_policies(struct replay *replay) {
    struct trace *trace = &replay->trace;
    struct policy_requests requests = {.count = trace->request_count,
                                       .ids = trace->ids,
                                       .after = replay->after,
                                       .times_ms = replay->times_ms,
                                       .ttl_ms = replay->ttl_ms,
                                       .key_count = trace->key_count};
    uint32_t *costs = NULL;
    uint64_t data_bytes = replay->stats.segments * replay->stats.segment_bytes;
    replay->capacity_in_items = replay->equal && replay->overwrite == 0 && !replay->grow && !replay->ttl_ms;
    if (replay->capacity_in_items) {
        requests.capacity = replay->items_wanted > 0 ? replay->items_wanted : data_bytes / replay_cost(0, replay->entry_bytes);
    } else {
        requests.capacity = replay->items_wanted > 0 && !replay->ttl_ms ? wanted_bytes(replay) : data_bytes;
        costs = host_alloc(trace->request_count * sizeof *costs);
        for (uint64_t at = 0; at < trace->request_count; at++)
            costs[at] = (uint32_t)replay_cost(trace_key_bytes(trace, trace->ids[at]), replay_value_bytes_at(replay, at)) +
                        (replay->ttl_ms && replay->ttl_ms[trace->ids[at]] ? REPLAY_TTL_BYTES : 0);
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
            if (replay->ttl_text || !policy->only_ttl)
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
        {"items", ARGS_TEXT, &replay->items_text, "LIST", "in its place: files for N items or P% of the keys: 25836 or 0.1%,1%,10%", 0, 0},
        {"entry", ARGS_SIZE, &replay->entry_bytes, "S", "of equal items (124, more for few); with sizes: for the index", 1, 1 << 26},
        {"value-sizes", ARGS_TEXT, &replay->sizes_path, "FILE", "each key's hash picks its value's size from these lines", 0, 0},
        {"overwrite", ARGS_COUNT, &replay->overwrite, "P", "of a hundred hits, how many are followed by a set", 0, 100},
        {"delete", ARGS_COUNT, &replay->removal, "P", "of a hundred hits, how many are followed by a delete", 0, 100},
        {"grow", ARGS_FLAG, &replay->grow, NULL, "values are twice as large from the middle of the trace on", 0, 0},
        {"ttl", ARGS_TEXT, &replay->ttl_text, "P%:T,...", "of the keys P % live for T once they are stored; the others for ever", 0, 0},
        {"rate", ARGS_COUNT, &replay->rate, "N", "requests a second (the trace's own times, if it has them)", 1, 0},
        {"workers", ARGS_COUNT, &replay->workers, "N", "processes that share the trace", 1, REPLAY_WORKERS_MAX},
        {"policies", ARGS_TEXT, &replay->policy_list, "LIST", "exact ones: fifo,lru,sieve,s3fifo,arc,wtinylfu,belady,s3fifo-lazy", 0, 0},
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
        "TRACE (--size 64M | --items 1%,10%) [--policies all]",
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
    if (replay->file && replay->items_text && strchr(replay->items_text, ','))
        return args_wrong("replay", "--file keeps one cache file; name one number of --items");
    replay->shape.shards = (uint32_t)replay->shards;
    return choose_policies(replay);
}

/* "25836", "1M", or "10%" of the keys. */
static int take_items(struct replay *replay) {
    const char *text = replay->size_name;
    char *end;
    double share = strtod(text, &end);
    if (end != text && strcmp(end, "%") == 0 && share > 0 && share <= 100)
        replay->items_wanted = (uint64_t)(share / 100 * replay->trace.key_count);
    else if (!args_read_count(text, &replay->items_wanted))
        return args_wrong("replay", "--items %s: that is not a number such as 25836, or a share such as 10%%", text);
    if (replay->items_wanted == 0)
        return args_wrong("replay", "--items %s: that is no item", text);
    return ARGS_GO;
}

/* One replay for each word of --items, or the one of --size. */
static int take_sizes(const struct replay *asked, struct replay *sizes, unsigned *count) {
    const char *from = asked->items_text;
    sizes[0] = *asked;
    *count = from ? 0 : 1;
    while (from && *from) {
        size_t bytes = strcspn(from, ",");
        if (*count == REPLAY_SIZES_MAX)
            return args_wrong("replay", "--items %s: more than %d", asked->items_text, REPLAY_SIZES_MAX);
        struct replay *size = &sizes[(*count)++];
        *size = *asked;
        if (bytes >= sizeof size->size_name)
            return args_wrong("replay", "--items %s: that is not a number such as 25836, or a share such as 10%%", asked->items_text);
        memcpy(size->size_name, from, bytes);
        int outcome = take_items(size);
        if (outcome != ARGS_GO)
            return outcome;
        from += bytes + (from[bytes] == ',');
    }
    return *count > 0 ? ARGS_GO : args_wrong("replay", "--items names no number");
}

/* False, and a sentence, when there can be no such file. */
static bool choose_size(struct replay *replay) {
    char why[HOST_WHY_BYTES];
    bool good = true;
    if (replay->items_wanted == 0)
        return true;
    if (replay->equal)
        good = replay_size_for_items(&replay->shape, replay->items_wanted, &replay->size_bytes, why);
    else
        good = replay_size_for_bytes(&replay->shape, wanted_bytes(replay), &replay->size_bytes, why);
    if (host_interrupted)
        host_fail("%s: interrupted", replay->path);
    if (!good)
        host_warn("%s: a file for %llu items: %s", replay->path, (unsigned long long)replay->items_wanted, why);
    return good;
}

static bool measure(struct replay *replay) {
    replay->shape.entry_bytes = replay->equal || replay->entry_asked ? replay->entry_bytes : replay->cost_median - REPLAY_HEADER_BYTES;
    if (!choose_size(replay))
        return false;
    replay_pond(replay);
    replay_policies(replay);
    if (replay->wrong > 0 || replay->errors > 0)
        host_warn("replay: %llu wrong values, %llu errors", (unsigned long long)replay->wrong, (unsigned long long)replay->errors);
    return true;
}

/* Measures each size; what cannot be is left out. ARGS_GO, or the status to end with after a sentence. */
static int measure_all(struct replay *sizes, unsigned *count, bool *wrong) {
    uint64_t most = 0;
    unsigned done = 0;
    for (unsigned i = 0; i < *count; i++)
        most = sizes[i].items_wanted > most ? sizes[i].items_wanted : most;
    for (unsigned i = 0; i < *count; i++) {
        struct replay *replay = &sizes[done];
        if (i != done)
            *replay = sizes[i];
        int outcome = replay_take_requests(replay);
        if (outcome != ARGS_GO)
            return outcome;
        uint64_t bytes = (uint64_t)((double)most * replay->cost_mean * 5 / 4);
        replay->shape.folder = host_scratch(replay->size_bytes > 0 ? replay->size_bytes : bytes);
        if (measure(replay)) {
            *wrong |= replay->wrong > 0 || replay->errors > 0;
            done++;
        }
        replay_free_requests(replay);
    }
    *count = done;
    return done > 0 ? ARGS_GO : 3;
}

int verb_replay(int argc, char **argv) {
    static struct replay asked = {.workers = 1, .policy_list = "", .format_text = "auto", .seed = 1}, sizes[REPLAY_SIZES_MAX];
    enum trace_format format;
    struct json json;
    char why[HOST_WHY_BYTES];
    unsigned count;
    bool wrong = false;
    int outcome = parse(&asked, &format, argc, argv);
    if (outcome != ARGS_GO)
        return outcome;
    plot_expect(asked.plot_path);
    if (!trace_load(&asked.trace, asked.path, format, why))
        host_fail("%s", why);
    if (host_interrupted)
        host_fail("%s: interrupted", asked.path);
    outcome = take_sizes(&asked, sizes, &count);
    if (outcome != ARGS_GO)
        return outcome;
    report_open(&json, &asked.json_wish);
    outcome = measure_all(sizes, &count, &wrong);
    if (outcome != ARGS_GO)
        return outcome;
    if (json.out != stdout)
        replay_print(sizes, count);
    replay_write_json(sizes, count, &json);
    report_close(&json);
    if (asked.plot_path)
        replay_plot(sizes, count);
    trace_free(&asked.trace);
    return wrong;
}
