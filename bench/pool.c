/* SPDX-License-Identifier: MIT */
/* pool.c: the main job. Forked workers share one pond with a store of real values behind it, read through it, and compare every byte of
 * every value with the store.
 *
 * The master opens the pond once and forks; the workers use the handle they inherit. Each worker has a slot of counters in shared
 * memory, so what a killed worker has done stays counted, and the worker that takes its place goes on in the same slot. Every
 * call is timed alone; drawing a key and comparing are not in it. */
#include "verbs.h"

#include "args.h"
#include "histogram.h"
#include "host.h"
#include "report.h"
#include "store.h"
#include "zipf.h"
#include <millpond.h>

#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { POOL_WORKERS_MAX = 256, POOL_DEATHS_MAX = 1000, STOP_LIMIT_NS = 1000000000 };

#define POOL_COUNTS(X)                                                                                                                 \
    X(hits) X(misses) X(from_disk) X(bytes_served) X(stored) X(not_stored) X(changed) X(unreadable) X(wrong_values) X(wrong_bytes) X(errors)

struct pool_slot {
#define POOL_FIELD(name) host_count name;
    POOL_COUNTS(POOL_FIELD)
#undef POOL_FIELD
    struct histogram get, load;
};

struct pool_sums {
#define POOL_FIELD(name) uint64_t name;
    POOL_COUNTS(POOL_FIELD)
#undef POOL_FIELD
};

struct pool_shared {
    _Atomic int stop;
    struct pool_slot slots[];
};

struct pool {
    uint64_t workers, run_ns, size_bytes, max_item_bytes, seed;
    const char *store_spec, *file, *zipf_text;
    bool sync;
    struct args_json json_wish;

    struct store *store;
    uint64_t store_bytes, store_largest;
    struct millpond *pond;
    struct millpond_stats stats; /* as opened, then as it ended */
    struct zipf zipf;
    uint32_t *by_rank;
    struct pool_shared *shared;

    pid_t pids[POOL_WORKERS_MAX];
    uint64_t rss_bytes[POOL_WORKERS_MAX], private_bytes[POOL_WORKERS_MAX];
    uint64_t generation, deaths, faults;
    double seconds;
};

/* ---- a worker ---- */

struct worker {
    const struct pool *pool;
    struct pool_slot *slot;
    unsigned char *buf; /* room for the largest value of pond and store */
    size_t room;
};

static void compare(const struct worker *worker, size_t nth, const struct store_item *item, size_t bytes) {
    const struct pool *pool = worker->pool;
    uint64_t wrong_bytes = 0;
    host_count_add(&worker->slot->bytes_served, bytes);
    switch (store_compare(pool->store, nth, worker->buf, bytes, &wrong_bytes)) {
    case STORE_SAME:
        break;
    case STORE_DIFFERENT:
        host_count_add(&worker->slot->wrong_values, 1);
        host_count_add(&worker->slot->wrong_bytes, wrong_bytes);
        host_warn("%s: %llu bytes of %zu are wrong", item->name, (unsigned long long)wrong_bytes, bytes);
        break;
    case STORE_CHANGED:
        host_count_add(&worker->slot->changed, 1);
        break;
    case STORE_UNREADABLE:
        host_count_add(&worker->slot->unreadable, 1);
        break;
    }
}

/* From the pond, or by way of it from the store. */
static void count_source(const struct pool *pool, struct pool_slot *slot, const struct store_item *item, uint32_t how) {
    bool too_large = item->bytes > pool->stats.max_item_bytes;
    if (how == MILLPOND_HOW_HIT || how == MILLPOND_HOW_WAITED)
        host_count_add(&slot->hits, 1);
    else
        host_count_add(too_large ? &slot->from_disk : &slot->misses, 1);
    if (how == MILLPOND_HOW_LOADED)
        host_count_add(&slot->stored, 1);
    if (how == MILLPOND_HOW_ALONE && !too_large)
        host_count_add(&slot->not_stored, 1);
}

static void serve(const struct worker *worker, size_t nth) {
    struct pool_slot *slot = worker->slot;
    struct millpond_through through;
    struct store_item item;
    size_t bytes = 0;
    store_item(worker->pool->store, nth, &item);
    through.timeout_ms = through.flags = 0;
    through.group = NULL;
    through.group_bytes = 0;
    uint64_t start_ns = host_now_ns();
    int result = millpond_read_through(worker->pool->pond, item.name, item.name_bytes, worker->buf, worker->room, &bytes, &through);
    histogram_add(through.how == MILLPOND_HOW_HIT ? &slot->get : &slot->load, host_now_ns() - start_ns);
    if (result == MILLPOND_OK) {
        count_source(worker->pool, slot, &item, through.how);
        compare(worker, nth, &item, bytes);
    } else if (result == MILLPOND_TOO_SMALL && through.how == MILLPOND_HOW_HIT && item.bytes <= worker->room) {
        host_count_add(&slot->wrong_values, 1); /* the buffer holds the largest value that the pond admits */
        host_count_add(&slot->wrong_bytes, bytes);
    } else if (result == MILLPOND_MISS || result == MILLPOND_TOO_SMALL || through.store_result != MILLPOND_OK) {
        host_count_add(&slot->misses, 1);
        host_count_add(&slot->unreadable, 1);
    } else {
        host_count_add(&slot->errors, 1);
    }
}

static void work(const struct pool *pool, unsigned nth) {
    struct worker worker = {pool, &pool->shared->slots[nth], NULL, 0};
    struct rng rng = {mix64(pool->seed) + pool->generation};
    worker.room = (size_t)(pool->store_largest > pool->stats.max_item_bytes ? pool->store_largest : pool->stats.max_item_bytes);
    worker.buf = host_alloc(worker.room);
    host_populate(pool->file);
    while (!atomic_load_explicit(&pool->shared->stop, memory_order_relaxed))
        serve(&worker, pool->by_rank[zipf_draw(&pool->zipf, &rng) - 1]);
}

static void start_worker(struct pool *pool, unsigned nth) {
    pool->generation++; /* before the fork: each worker draws keys of its own */
    pid_t pid = host_fork();
    if (pid == 0) {
        work(pool, nth);
        _exit(0);
    }
    pool->pids[nth] = pid;
}

/* ---- the master ---- */

static struct pool_sums add_up(const struct pool *pool) {
    struct pool_sums sums = {0};
    for (uint64_t i = 0; i < pool->workers; i++) {
        struct pool_slot *slot = &pool->shared->slots[i];
#define POOL_ADD(name) sums.name += host_count_read(&slot->name);
        POOL_COUNTS(POOL_ADD)
#undef POOL_ADD
    }
    return sums;
}

static uint64_t served(const struct pool_sums *sums) {
    return sums->hits + sums->misses + sums->from_disk;
}

static double hit_ratio(const struct pool_sums *sums) {
    return sums->hits + sums->misses > 0 ? (double)sums->hits / (double)(sums->hits + sums->misses) : 0;
}

/* A worker that is killed from outside is what the pool is made to survive; one that crashes or gives up is a fault. */
static void note_death(struct pool *pool, unsigned nth, int status, double seconds) {
    char what[128];
    pid_t pid = pool->pids[nth];
    bool from_outside = WIFSIGNALED(status) && (WTERMSIG(status) == SIGKILL || WTERMSIG(status) == SIGTERM);
    host_describe_status(status, what, sizeof what);
    pool->deaths++;
    pool->faults += !from_outside;
    pool->pids[nth] = 0;
    if (pool->deaths > POOL_DEATHS_MAX)
        host_fail("pool: more than %d workers died; look at the sentences above", POOL_DEATHS_MAX);
    start_worker(pool, nth);
    host_warn("worker %u (process %ld) %s after %.1f s; process %ld took its place", nth, (long)pid, what, seconds, (long)pool->pids[nth]);
}

static void watch_children(struct pool *pool, double seconds) {
    int status;
    pid_t pid;
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        for (unsigned i = 0; i < pool->workers; i++) {
            if (pool->pids[i] == pid)
                note_death(pool, i, status, seconds);
        }
    }
}

static void show_progress(const struct pool *pool, double seconds, uint64_t *before, double *before_seconds) {
    struct pool_sums sums = add_up(pool);
    char rate[FIGURE_BYTES];
    figure_count(rate, (double)(served(&sums) - *before) / (seconds - *before_seconds));
    fprintf(stderr, "\r%5.1f s  %s requests/s  hit ratio %.4f  wrong bytes %llu \033[K", seconds, rate, hit_ratio(&sums),
            (unsigned long long)sums.wrong_bytes);
    *before = served(&sums);
    *before_seconds = seconds;
}

static void watch(struct pool *pool) {
    bool terminal = isatty(STDERR_FILENO) == 1;
    uint64_t start_ns = host_now_ns(), before = 0, now_ns;
    double before_seconds = 0;
    for (unsigned i = 0; i < pool->workers; i++)
        start_worker(pool, i);
    while ((now_ns = host_now_ns()) - start_ns < pool->run_ns && !host_interrupted) {
        double seconds = (double)(now_ns - start_ns) / 1e9;
        watch_children(pool, seconds);
        if (terminal && seconds - before_seconds >= 0.2)
            show_progress(pool, seconds, &before, &before_seconds);
        uint64_t left_ns = pool->run_ns - (now_ns - start_ns);
        host_sleep_ns(left_ns < 20000000 ? left_ns : 20000000);
    }
    if (terminal)
        fputs("\r\033[K", stderr);
    for (unsigned i = 0; i < pool->workers; i++) {
        pool->rss_bytes[i] = host_rss_bytes(pool->pids[i]);
        pool->private_bytes[i] = host_rss_private_bytes(pool->pids[i]);
    }
    atomic_store(&pool->shared->stop, 1);
    pool->seconds = (double)(host_now_ns() - start_ns) / 1e9;
}

static void stop_workers(struct pool *pool) {
    for (unsigned i = 0; i < pool->workers; i++) {
        bool late;
        char what[128];
        int status = host_reap(pool->pids[i], UINT64_C(10) * STOP_LIMIT_NS, &late);
        host_describe_status(status, what, sizeof what);
        bool ended = WIFEXITED(status) && WEXITSTATUS(status) == 0;
        pool->faults += !ended;
        if (late)
            host_warn("worker %u (process %ld) did not stop within 10 s and was ended", i, (long)pool->pids[i]);
        else if (!ended)
            host_warn("worker %u (process %ld) %s at the end", i, (long)pool->pids[i], what);
    }
}

static void open_store(struct pool *pool) {
    char why[HOST_WHY_BYTES];
    pool->store = store_open(pool->store_spec, why);
    if (!pool->store)
        host_fail("%s", why);
    size_t count = store_count(pool->store);
    if (count > UINT32_MAX)
        host_fail("%s: more than %u values; name a smaller store", pool->store_spec, UINT32_MAX);
    for (size_t i = 0; i < count; i++) {
        struct store_item item;
        store_item(pool->store, i, &item);
        pool->store_bytes += item.bytes;
        if (item.bytes > pool->store_largest)
            pool->store_largest = item.bytes;
    }
}

/* Here a store that is slow is waited for, and one that fails is asked again: every request counts what came of it. */
static void bind_store(struct pool *pool) {
    struct millpond_store store = *store_of(pool->store);
    store.timeout_ms = 10000;
    store.failures_max = UINT32_MAX;
    int result = millpond_bind_store(pool->pond, &store);
    if (result != MILLPOND_OK)
        host_fail("%s: %s", pool->store_spec, millpond_strerror(result));
}

static void open_pond(struct pool *pool) {
    static char path[HOST_PATH_BYTES + 16];
    char errmsg[MILLPOND_ERRMSG_BYTES];
    struct millpond_options options = MILLPOND_OPTIONS_INIT;
    options.flags = MILLPOND_CREATE;
    options.size_bytes = pool->size_bytes;
    options.max_item_bytes = pool->max_item_bytes;
    uint64_t typical = pool->store_bytes / store_count(pool->store) + 1;
    options.entry_bytes = typical > 124 ? typical < UINT32_MAX ? (uint32_t)typical : UINT32_MAX : 124;
    if (!pool->file) {
        snprintf(path, sizeof path, "%s/pool.pond", host_scratch(pool->size_bytes));
        pool->file = path;
    }
    if (millpond_open(&pool->pond, pool->file, &options, errmsg) != MILLPOND_OK)
        host_fail("%s", errmsg);
    millpond_stats(pool->pond, -1, &pool->stats);
    if (pool->stats.items > 0)
        host_fail("%s: holds %llu entries already, which may be older than the store's values; name a new file, or empty it with "
                  "millpond clear", pool->file, (unsigned long long)pool->stats.items);
}

/* ---- what it found ---- */

static uint64_t mean_of(const uint64_t *values, uint64_t count) {
    uint64_t sum = 0;
    for (uint64_t i = 0; i < count; i++)
        sum += values[i];
    return sum / count;
}

static void print_table(const struct pool *pool, const struct pool_sums *sums, const struct histogram *get, const struct histogram *load) {
    static struct table table;
    char a[FIGURE_BYTES], b[FIGURE_BYTES], c[FIGURE_BYTES], d[FIGURE_BYTES], e[FIGURE_BYTES];
    static const double shares[] = {0.5, 0.9, 0.99, 0.999, 1};
    table_init(&table);
    const struct histogram *timed[] = {get, load};
    static const char *const names[] = {"get", "through to the store"};
    table_cell(&table, "latency"), table_cell(&table, "p50"), table_cell(&table, "p90"), table_cell(&table, "p99");
    table_cell(&table, "p99.9"), table_cell(&table, "max"), table_end_row(&table);
    for (unsigned row = 0; row < 2; row++) {
        table_cell(&table, "%s", names[row]);
        for (unsigned i = 0; i < 5; i++)
            table_cell(&table, "%s", figure_ns(a, histogram_percentile(timed[row], shares[i])));
        table_end_row(&table);
    }
    printf("store        %s, %zu values, %s\n", pool->store_spec, store_count(pool->store), figure_bytes(a, pool->store_bytes));
    printf("pool         %llu workers, %.1f s, Zipf %s\n", (unsigned long long)pool->workers, pool->seconds, pool->zipf_text);
    printf("requests     %s (%s/s), %s served\n", figure_count(a, (double)served(sums)),
           figure_count(b, (double)served(sums) / pool->seconds), figure_bytes(c, sums->bytes_served));
    printf("hit ratio    %.4f (%s hits, %s misses; %s larger than %s, from the store each time)\n", hit_ratio(sums),
           figure_count(a, (double)sums->hits), figure_count(b, (double)sums->misses), figure_count(c, (double)sums->from_disk),
           figure_bytes(d, pool->stats.max_item_bytes));
    printf("memory       file %s, %llu items of %s in all; a worker has %s of its own (RSS %s with what all share)\n",
           figure_bytes(a, pool->stats.file_bytes), (unsigned long long)pool->stats.items, figure_bytes(b, pool->stats.bytes),
           figure_bytes(c, mean_of(pool->private_bytes, pool->workers)), figure_bytes(d, mean_of(pool->rss_bytes, pool->workers)));
    printf("evictions    %s; %s values stored, %s refused\n", figure_count(a, (double)pool->stats.evictions),
           figure_count(b, (double)sums->stored), figure_count(e, (double)sums->not_stored));
    if (sums->changed + sums->unreadable + sums->errors > 0)
        printf("not compared %llu values that changed in the store meanwhile, %llu unreadable, %llu errors\n",
               (unsigned long long)sums->changed, (unsigned long long)sums->unreadable, (unsigned long long)sums->errors);
    if (pool->deaths > 0)
        printf("deaths       %llu workers died and were replaced\n", (unsigned long long)pool->deaths);
    printf("\n");
    table_print(&table, stdout);
    printf("\n%llu wrong bytes in %s compared values\n", (unsigned long long)sums->wrong_bytes,
           figure_count(a, (double)(served(sums) - sums->changed - sums->unreadable)));
}

static void write_json(const struct pool *pool, struct json *json, const struct pool_sums *sums, const struct histogram *get,
                       const struct histogram *load) {
    report_preamble(json, "pool");
    report_text(json, "store", pool->store_spec);
    report_u64(json, "store_items", store_count(pool->store));
    report_u64(json, "store_bytes", pool->store_bytes);
    report_u64(json, "workers", pool->workers);
    report_text(json, "zipf", pool->zipf_text);
    report_real(json, "seconds", pool->seconds);
    report_u64(json, "operations", served(sums));
    report_real(json, "operations_per_second", (double)served(sums) / pool->seconds);
    report_real(json, "hit_ratio", hit_ratio(sums));
#define POOL_WRITE(name) report_u64(json, #name, sums->name);
    POOL_COUNTS(POOL_WRITE)
#undef POOL_WRITE
    report_latency(json, "get_ns", get);
    report_latency(json, "load_ns", load);
    report_u64(json, "deaths", pool->deaths);
    report_u64(json, "faults", pool->faults);
    report_u64(json, "file_bytes", pool->stats.file_bytes);
    report_u64(json, "max_item_bytes", pool->stats.max_item_bytes);
    report_u64(json, "items", pool->stats.items);
    report_u64(json, "item_bytes", pool->stats.bytes);
    report_u64(json, "evictions", pool->stats.evictions);
    report_array(json, "worker_memory");
    for (uint64_t i = 0; i < pool->workers; i++) {
        report_object(json, NULL);
        report_u64(json, "rss_bytes", pool->rss_bytes[i]);
        report_u64(json, "private_bytes", pool->private_bytes[i]);
        report_end(json);
    }
    report_end(json);
}

static int report(struct pool *pool, struct json *json) {
    static struct histogram get, load;
    struct pool_sums sums = add_up(pool);
    for (uint64_t i = 0; i < pool->workers; i++) {
        histogram_merge(&get, &pool->shared->slots[i].get);
        histogram_merge(&load, &pool->shared->slots[i].load);
    }
    millpond_stats(pool->pond, -1, &pool->stats);
    if (json->out != stdout)
        print_table(pool, &sums, &get, &load);
    write_json(pool, json, &sums, &get, &load);
    report_close(json);
    if (sums.wrong_values > 0)
        host_warn("pool: %llu values were wrong", (unsigned long long)sums.wrong_values);
    return sums.wrong_values > 0 || pool->faults > 0 || sums.errors > 0;
}

int verb_pool(int argc, char **argv) {
    static struct pool pool = {
        .run_ns = 5000000000, .size_bytes = 64 << 20, .seed = 1, .store_spec = "dir:/usr/share/doc", .zipf_text = "0.99"};
    struct json json;
    char *end;
    const struct args_option options[] = {
        {"workers", ARGS_COUNT, &pool.workers, "N", "processes that share the cache (as many as there are cores)", 1, POOL_WORKERS_MAX},
        {"store", ARGS_TEXT, &pool.store_spec, "TEXT", "dir:PATH, sqlite:FILE?table=T, redis:HOST or redis:unix:PATH", 0, 0},
        {"seconds", ARGS_TIME, &pool.run_ns, "T", "how long", 1, 0},
        {"size", ARGS_SIZE, &pool.size_bytes, "S", "size of the cache file", 1, 0},
        {"max-item", ARGS_SIZE, &pool.max_item_bytes, "S", "largest value that is cached (the library's default)", 1, 0},
        {"zipf", ARGS_TEXT, &pool.zipf_text, "X", "exponent of the popularity of the values", 0, 0},
        {"file", ARGS_TEXT, &pool.file, "PATH", "cache file, kept (else one of its own, in memory where it fits, removed)", 0, 0},
        {"sync", ARGS_FLAG, &pool.sync, NULL, "at the end write the cache file to disk and mark it whole", 0, 0},
        {"seed", ARGS_COUNT, &pool.seed, "N", "of the random choices", 0, 0},
        {"json", ARGS_JSON, &pool.json_wish, "[FILE]", "figures for a program, on standard output or into a file", 0, 0},
        {NULL, ARGS_FLAG, NULL, NULL, NULL, 0, 0}};
    const struct args_verb verb = {
        "pool", "A pool of worker processes shares one cache in front of a store and compares every byte of every value with it.",
        "[--workers 4] [--store dir:/usr/share/doc] [--seconds 5]",
        "Which value is asked for follows Zipf's law. A miss reads it from the store and keeps it; a value larger than --max-item is read\n"
        "each time. A worker that dies is replaced. Exit status 1 when a byte was wrong or a worker crashed.",
        options, NULL, NULL};
    pool.workers = host_cores();
    int outcome = args_parse(&verb, argc, argv);
    if (outcome != ARGS_GO)
        return outcome;
    double exponent = strtod(pool.zipf_text, &end);
    if (end == pool.zipf_text || *end != 0 || !(exponent > 0 && exponent <= 5))
        return args_wrong("pool", "--zipf %s: that is not an exponent above 0 and up to 5, such as 0.99", pool.zipf_text);
    report_open(&json, &pool.json_wish);
    open_store(&pool);
    open_pond(&pool);
    bind_store(&pool);
    uint32_t count = (uint32_t)store_count(pool.store);
    pool.by_rank = shuffle_new(count, pool.seed);
    zipf_init(&pool.zipf, count, exponent);
    pool.shared = host_shared(sizeof *pool.shared + pool.workers * sizeof *pool.shared->slots);
    watch(&pool);
    stop_workers(&pool);
    int status = report(&pool, &json), synced = pool.sync ? millpond_sync(pool.pond) : MILLPOND_OK;
    if (synced != MILLPOND_OK)
        host_fail("%s: it was not synced: %s", pool.file, millpond_strerror(synced));
    millpond_close(pool.pond);
    store_close(pool.store);
    free(pool.by_rank);
    return status;
}
