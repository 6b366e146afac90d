/* SPDX-License-Identifier: MIT */
/* run.c: engines side by side.
 *
 * Each engine is opened in a folder of its own and loaded once by one process. Then the rounds: in each round every engine runs for
 * the same time, one after the other, so that whatever else happens on the machine happens to all of them; a ratio is taken within a
 * round, and the median over the rounds is what is told. For one engine in one round: fork the workers, pin each to a core, attach,
 * read every page of the engine's mappings, wait for each other, run until the stop flag, count (run_worker.c). */
#include "run.h"

#include "plot.h"
#include "verbs.h"
#include "workload.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define READY_LIMIT_NS UINT64_C(60000000000)
#define STOP_LIMIT_NS UINT64_C(30000000000)
#define LOAD_LIMIT_NS UINT64_C(600000000000)

static struct run_shared *shared;

/* ---- a round, in the master ---- */

/* True when a child ended in a way that it should not; says so in why_not. The child is reaped. */
static bool has_died(struct run_result *result, pid_t *pids, unsigned count) {
    for (unsigned i = 0; i < count; i++) {
        int status;
        char what[128];
        if (pids[i] == 0 || waitpid(pids[i], &status, WNOHANG) != pids[i])
            continue;
        pids[i] = 0;
        if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
            continue;
        host_describe_status(status, what, sizeof what);
        if (shared->why[0])
            host_why(result->why_not, "%s", shared->why);
        else
            host_why(result->why_not, "a worker %s", what);
        return true;
    }
    return false;
}

static void end_round(struct run_result *result, pid_t *pids, unsigned count) {
    atomic_store(&shared->stop, 1);
    atomic_store(&shared->go, 1);
    uint64_t end_ns = host_now_ns() + STOP_LIMIT_NS;
    for (unsigned i = 0; i < count; i++) {
        bool late;
        if (pids[i] == 0)
            continue;
        uint64_t now_ns = host_now_ns();
        int status = host_reap(pids[i], end_ns > now_ns ? end_ns - now_ns : 0, &late);
        if (late)
            host_why(result->why_not, "a worker did not stop within %d s: it hangs", (int)(STOP_LIMIT_NS / 1000000000));
        else if (result->why_not[0] == 0 && !(WIFEXITED(status) && WEXITSTATUS(status) == 0))
            host_describe_status(status, result->why_not, sizeof result->why_not);
    }
}

static void collect(const struct run *run, struct run_result *result) {
    uint64_t ops = 0, elapsed_ns = 0, cpu_ns = 0;
    for (unsigned i = 0; i < run->workers; i++) {
        struct run_slot *slot = &shared->slots[i];
        ops += slot->gets + slot->sets;
        elapsed_ns += slot->elapsed_ns;
        cpu_ns += slot->cpu_ns;
        result->gets += slot->gets;
        result->sets += slot->sets;
        result->misses += slot->misses;
        result->wrong += slot->wrong;
        result->refused += slot->refused;
        result->errors += slot->errors;
        histogram_merge(&result->get, &slot->get);
        histogram_merge(&result->set, &slot->set);
    }
    if (ops == 0)
        return;
    result->ns_per_op[result->rounds] = (double)elapsed_ns / (double)ops;
    result->cpu_ns_per_op[result->rounds] = (double)cpu_ns / (double)ops;
    result->ops_per_second[result->rounds] = (double)ops * (double)run->workers / ((double)elapsed_ns / 1e9);
    result->rounds++;
}

static void reset_shared(const struct run *run) {
    memset(shared, 0, sizeof *shared + run->workers * sizeof *shared->slots);
}

static void run_round(const struct run *run, struct run_result *result, uint64_t round) {
    pid_t pids[RUN_WORKERS_MAX] = {0};
    unsigned workers = (unsigned)run->workers;
    bool died = false;
    reset_shared(run);
    for (unsigned i = 0; i < workers; i++) {
        pids[i] = host_fork();
        if (pids[i] == 0)
            run_worker_round(run, result, shared, i, round);
    }
    uint64_t limit_ns = host_now_ns() + READY_LIMIT_NS;
    while (!died && atomic_load(&shared->ready) < workers && host_now_ns() < limit_ns) {
        died = has_died(result, pids, workers);
        host_sleep_ns(200000);
    }
    if (!died && atomic_load(&shared->ready) < workers)
        died = !host_why(result->why_not, "its workers were not ready within %d s", (int)(READY_LIMIT_NS / 1000000000));
    atomic_store(&shared->go, 1);
    uint64_t start_ns = host_now_ns(), spent_ns;
    while (!died && !host_interrupted && (spent_ns = host_now_ns() - start_ns) < run->run_ns) {
        host_sleep_ns(run->run_ns - spent_ns < 20000000 ? run->run_ns - spent_ns : 20000000);
        died = has_died(result, pids, workers);
    }
    end_round(result, pids, workers);
    if (result->why_not[0] == 0 && !host_interrupted)
        collect(run, result);
}

/* ---- loading ---- */

static void load_engine(const struct run *run, struct run_result *result) {
    uint32_t *order = shuffle_new((uint32_t)run->items, run->seed + 1);
    reset_shared(run);
    pid_t pid = host_fork();
    if (pid == 0)
        run_worker_load(run, result, shared, order);
    free(order);
    bool died = false;
    uint64_t limit_ns = host_now_ns() + LOAD_LIMIT_NS;
    while (!died && pid != 0 && !host_interrupted && host_now_ns() < limit_ns) {
        host_sleep_ns(2000000);
        died = has_died(result, &pid, 1);
    }
    if (pid != 0 && !died) {
        bool late;
        host_reap(pid, 0, &late);
        host_why(result->why_not, "was not loaded within %d s; ask for fewer items", (int)(LOAD_LIMIT_NS / 1000000000));
        return;
    }
    result->load_ns = (double)shared->slots[0].elapsed_ns / (double)run->items;
    result->load_cpu_ns = (double)shared->slots[0].cpu_ns / (double)run->items;
    result->load_refused = shared->slots[0].refused;
    if (died)
        return;
    if (result->load_refused == run->items)
        host_why(result->why_not, "refused every value; give it more with --size");
    result->memory_bytes = result->engine->memory(result->handle);
}

static void open_engine(const struct run *run, struct run_result *result) {
    const struct engine *engine = result->engine;
    struct engine_spec spec = {result->folder, run->size_bytes, run->items, run->key_bytes, run->value_bytes,
                               (unsigned)run_workers_most(run), run->hugepages};
    if (engine->missing) {
        host_why(result->why_not, "%s", engine->missing);
        return;
    }
    if (engine->program && !host_has_program(engine->program)) {
        host_why(result->why_not, "%s is not installed", engine->program);
        return;
    }
    snprintf(result->folder, sizeof result->folder, "%s/%s", run->folder, engine->name);
    if (mkdir(result->folder, 0700) != 0)
        host_fail("%s: cannot be made: %s; choose another --folder", result->folder, strerror(errno));
    result->handle = engine->open(&spec, result->why_not);
    result->open = result->handle != NULL;
}

void run_close_engines(struct run *run) {
    for (unsigned i = 0; i < run->result_count; i++) {
        struct run_result *result = &run->results[i];
        if (result->open)
            result->engine->close(result->handle);
        result->open = false;
        if (result->folder[0])
            host_remove_folder(result->folder);
    }
}

/* ---- the verb ---- */

static int choose_engines(struct run *run) {
    for (const char *from = run->engine_list; *from; ) {
        size_t bytes = strcspn(from, ",");
        const struct engine *const *engine = engines;
        while (*engine && !(strlen((*engine)->name) == bytes && memcmp((*engine)->name, from, bytes) == 0))
            engine++;
        if (!*engine)
            return args_wrong("run", "--engines %s: there is no engine '%.*s'", run->engine_list, (int)bytes, from);
        for (unsigned i = 0; i < run->result_count; i++) {
            if (run->results[i].engine == *engine)
                return args_wrong("run", "--engines %s: %s is named twice", run->engine_list, (*engine)->name);
        }
        run->results[run->result_count++].engine = *engine;
        from += bytes + (from[bytes] == ',');
    }
    return run->result_count > 0 ? ARGS_GO : args_wrong("run", "--engines names none");
}

static const char *engine_notes(void) {
    static char text[2048];
    size_t used = (size_t)snprintf(text, sizeof text, "Engines:\n");
    for (const struct engine *const *engine = engines; *engine; engine++)
        used += (size_t)snprintf(text + used, sizeof text - used, "  %-10s %s\n", (*engine)->name,
                                 (*engine)->missing ? (*engine)->missing : (*engine)->about);
    snprintf(text + used, sizeof text - used,
             "Figures are medians over the rounds, ratios are taken within each round to the first engine that takes part. Exit status 1\n"
             "when millpond returned a wrong value or dropped out.\n\n"
             "The lists of --over-workers (1,2,4), --over-items (10K,100K) and --over-values (16,1K,16K) are measured behind the run,\n"
             "a third of its rounds each; of larger values fewer, so that all together are as many bytes. Where a list is not given,\n"
             "--plot draws the usual one, a round of a second each; 'none' leaves it out.");
    return text;
}

static int parse(struct run *run, int argc, char **argv) {
    const struct args_option options[] = {
        {"workers", ARGS_COUNT, &run->workers, "N", "processes, each pinned to a core", 1, RUN_WORKERS_MAX},
        {"items", ARGS_COUNT, &run->items, "N", "keys", 1, UINT32_C(1) << 31},
        {"key", ARGS_SIZE, &run->key_bytes, "S", "bytes of a key", WORKLOAD_KEY_MIN, WORKLOAD_KEY_MAX},
        {"value", ARGS_SIZE, &run->value_bytes, "S", "bytes of a value", WORKLOAD_VALUE_MIN, 1 << 30},
        {"reads", ARGS_COUNT, &run->reads, "P", "of a hundred operations, how many read", 0, 100},
        {"dist", ARGS_TEXT, &run->dist_text, "D", "which keys: uniform, zipf:0.99, hot or hot:N (N keys take all)", 0, 0},
        {"mget", ARGS_COUNT, &run->mget, "N", "read N keys with each call", 1, ENGINE_MGET_MAX},
        {"engines", ARGS_TEXT, &run->engine_list, "LIST", "names with commas; ratios are to the first", 0, 0},
        {"seconds", ARGS_TIME, &run->run_ns, "T", "of one engine in one round", 1, 0},
        {"rounds", ARGS_COUNT, &run->rounds, "N", "rounds", 1, RUN_ROUNDS_MAX},
        {"size", ARGS_SIZE, &run->size_asked, "S", "what an engine may take (2.5 times the keys and values, and 32 bytes each)", 1, 0},
        {"sample", ARGS_COUNT, &run->sample, "N", "every Nth operation is clocked alone", 1, 1 << 20},
        {"verify", ARGS_FLAG, &run->verify, NULL, "compare every byte of every value (else the first eight)", 0, 0},
        {"hugepages", ARGS_FLAG, &run->hugepages, NULL, "huge pages for millpond and limit, where the system can", 0, 0},
        {"folder", ARGS_TEXT, &run->folder, "PATH", "where the files lie (else in memory where they fit)", 0, 0},
        {"seed", ARGS_COUNT, &run->seed, "N", "of the random choices", 0, 0},
        {"over-workers", ARGS_TEXT, &run->over_lists[RUN_OVER_WORKERS], "LIST", "also with these numbers of processes; see below", 0, 0},
        {"over-items", ARGS_TEXT, &run->over_lists[RUN_OVER_ITEMS], "LIST", "also with these numbers of keys", 0, 0},
        {"over-values", ARGS_TEXT, &run->over_lists[RUN_OVER_VALUES], "LIST", "also with these bytes of a value", 0, 0},
        {"plot", ARGS_TEXT, &run->plot_path, "FILE.svg", "draw it, with gnuplot, and these three with it", 0, 0},
        {"json", ARGS_JSON, &run->json_wish, "[FILE]", "figures for a program, on standard output or into a file", 0, 0},
        {NULL, ARGS_FLAG, NULL, NULL, NULL, 0, 0}};
    const struct args_verb verb = {"run", "Engines side by side, in interleaved rounds.",
                                   "[--workers 2] [--items 1M] [--value 100] [--reads 95] [--dist zipf:0.99] [--engines millpond,lmdb]",
                                   engine_notes(), options, NULL, NULL};
    int outcome = args_parse(&verb, argc, argv);
    if (outcome != ARGS_GO)
        return outcome;
    if (!dist_parse(run->dist_text, &run->dist))
        return args_wrong("run", "--dist %s: that is none of uniform, zipf:0.99, hot, hot:N", run->dist_text);
    if (run->mget > 0 && run->reads == 0)
        return args_wrong("run", "--mget without reads; raise --reads");
    outcome = choose_engines(run);
    return outcome == ARGS_GO ? run_series_choose(run) : outcome;
}

void run_load(struct run *run) {
    bool terminal = isatty(STDERR_FILENO) == 1;
    for (unsigned i = 0; i < run->result_count && !host_interrupted; i++) {
        struct run_result *result = &run->results[i];
        if (terminal)
            fprintf(stderr, "\rloading %s\033[K", result->engine->name);
        open_engine(run, result);
        if (result->open)
            load_engine(run, result);
    }
    if (terminal)
        fputs("\r\033[K", stderr);
}

void run_rounds(struct run *run) {
    bool terminal = isatty(STDERR_FILENO) == 1;
    for (uint64_t round = 0; round < run->rounds; round++) {
        for (unsigned i = 0; i < run->result_count && !host_interrupted; i++) {
            struct run_result *result = &run->results[i];
            if (!result->open || result->why_not[0])
                continue;
            if (terminal)
                fprintf(stderr, "\rround %llu of %llu: %s\033[K", (unsigned long long)round + 1, (unsigned long long)run->rounds,
                        result->engine->name);
            run_round(run, result, round);
        }
    }
    if (terminal)
        fputs("\r\033[K", stderr);
}

/* A round counts for a ratio when both engines finished it; an engine that dropped out has finished the first ones only. */
void run_take_ratios(struct run *run) {
    const struct run_result *first = NULL;
    for (unsigned i = 0; i < run->result_count && !first; i++) {
        if (run->results[i].rounds > 0)
            first = &run->results[i];
    }
    for (unsigned i = 0; i < run->result_count && first; i++) {
        struct run_result *result = &run->results[i];
        for (uint64_t round = 0; round < result->rounds && round < first->rounds; round++) {
            result->ratio[round] = result->ns_per_op[round] / first->ns_per_op[round];
            result->cpu_ratio[round] = result->cpu_ns_per_op[round] / first->cpu_ns_per_op[round];
        }
    }
}

uint64_t run_size_for(const struct run *run, const struct run *like) {
    uint64_t each = run->key_bytes + run->value_bytes + 32, like_each = like->key_bytes + like->value_bytes + 32;
    if (like->size_asked == 0)
        return run->items * each * 5 / 2 + (16 << 20);
    return (uint64_t)((double)like->size_asked * (double)(run->items * each) / (double)(like->items * like_each)) + 1;
}

int verb_run(int argc, char **argv) {
    static struct run run = {
        .workers = 2, .items = 1000000, .value_bytes = 100, .key_bytes = 24, .reads = 95, .run_ns = 3000000000, .rounds = 5, .sample = 16,
        .seed = 1, .dist_text = "zipf:0.99", .engine_list = "millpond,limit,lmdb"};
    struct json json;
    int outcome = parse(&run, argc, argv);
    if (outcome != ARGS_GO)
        return outcome;
    plot_expect(run.plot_path);
    report_open(&json, &run.json_wish);
    run.size_bytes = run.size_asked > 0 ? run.size_asked : run_size_for(&run, &run);
    if (!run.folder)
        run.folder = host_scratch(run.size_bytes * run.result_count);
    run.draws = workload_draw(&run.dist, (uint32_t)run.items, run.reads, (unsigned)run_workers_most(&run), run.seed);
    shared = host_shared(sizeof *shared + run_workers_most(&run) * sizeof *shared->slots);
    run_load(&run);
    run_rounds(&run);
    run_take_ratios(&run);
    run_series_measure(&run, RUN_OVER_WORKERS);
    run_close_engines(&run);
    run_series_measure(&run, RUN_OVER_ITEMS);
    run_series_measure(&run, RUN_OVER_VALUES);
    if (json.out != stdout)
        run_print(&run);
    run_write_json(&run, &json);
    report_close(&json);
    if (run.plot_path)
        run_plot(&run);
    return run_is_wrong(&run);
}
