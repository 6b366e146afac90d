/* SPDX-License-Identifier: MIT */
/* soak.c: workers that read, write and verify, a master that kills them with SIGKILL at random moments and replaces them at once.
 *
 * What was promised about each key lies in shared memory outside the pond (soak.h), so that a replacement knows what its predecessor
 * had acknowledged. A worker whose call does not return within ten seconds is a hang. When time is up the workers stop, every key is
 * compared with its last acknowledged state, and the file is checked. */
#include "soak.h"

#include "report.h"
#include "verbs.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { VALUE_BYTES_MAX = 196608, ROOM_BYTES = 256 << 20, PRESSURE_BYTES = 4 << 20 };

#define LIMIT_NS (UINT64_C(1000000000) * SOAK_LIMIT_S)

static pid_t pids[SOAK_WORKERS_MAX];

static void start_worker(struct soak *soak, unsigned nth) {
    soak->generation++; /* before the fork: each worker has random numbers of its own */
    atomic_store(&soak->shared->slots[nth].began_ns, 0);
    pid_t pid = host_fork();
    if (pid == 0) {
        struct soaker soaker;
        soaker_init(&soaker, soak, nth);
        soak_work(&soaker);
        _exit(0);
    }
    pids[nth] = pid;
}

/* ---- deaths ---- */

static void note_crash(struct soak *soak, struct soaker *master, unsigned nth, int status) {
    char what[128];
    host_describe_status(status, what, sizeof what);
    soak->deaths++;
    soak_fail(master, SOAK_lives, "worker %u (process %ld) %s in %s", nth, (long)pids[nth], what,
              soak_op_names[atomic_load(&soak->shared->slots[nth].op)]);
}

static void kill_one(struct soak *soak, struct soaker *master, unsigned nth) {
    int status = 0;
    kill(pids[nth], SIGKILL);
    waitpid(pids[nth], &status, 0);
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL)
        soak_pass(master, SOAK_lives);
    else
        note_crash(soak, master, nth, status); /* it had ended by itself just before */
    soak->kills++;
    start_worker(soak, nth);
}

static void look_for_crashes(struct soak *soak, struct soaker *master) {
    for (unsigned i = 0; i < soak->workers; i++) {
        int status;
        if (waitpid(pids[i], &status, WNOHANG) != pids[i])
            continue;
        note_crash(soak, master, i, status);
        start_worker(soak, i);
    }
}

static void look_for_hangs(struct soak *soak, struct soaker *master) {
    uint64_t now_ns = host_now_ns();
    for (unsigned i = 0; i < soak->workers; i++) {
        struct soak_slot *slot = &soak->shared->slots[i];
        uint64_t began_ns = atomic_load(&slot->began_ns);
        if (began_ns == 0 || now_ns < began_ns + LIMIT_NS)
            continue;
        soak->hangs++;
        soak_fail(master, SOAK_lives, "worker %u (process %ld) is inside %s for more than %d s", i, (long)pids[i],
                  soak_op_names[atomic_load(&slot->op)], SOAK_LIMIT_S);
        kill(pids[i], SIGKILL);
        waitpid(pids[i], NULL, 0);
        start_worker(soak, i);
    }
}

/* ---- the run ---- */

static uint64_t sum_checks(const struct soak *soak, bool passed) {
    uint64_t sum = 0;
    for (unsigned slot = 0; slot <= SOAK_WORKERS_MAX; slot++) {
        for (unsigned check = 0; check < SOAK_CHECK_COUNT; check++)
            sum += host_count_read(passed ? &soak->shared->slots[slot].passed[check] : &soak->shared->slots[slot].failed[check]);
    }
    return sum;
}

static void show_progress(const struct soak *soak, double seconds) {
    char passed[FIGURE_BYTES];
    fprintf(stderr, "\r%5.0f s  %llu kills  %s checks passed, %llu failed \033[K", seconds, (unsigned long long)soak->kills,
            figure_count(passed, (double)sum_checks(soak, true)), (unsigned long long)sum_checks(soak, false));
}

/* Half to one and a half times the interval, so that kills fall into no rhythm with anything. */
static uint64_t next_kill(const struct soak *soak, struct rng *rng, uint64_t now_ns) {
    return soak->kill_ns > 0 ? now_ns + soak->kill_ns / 2 + rng_below(rng, soak->kill_ns + 1) : UINT64_MAX;
}

static void run(struct soak *soak, struct soaker *master) {
    bool terminal = isatty(STDERR_FILENO) == 1;
    struct rng rng = {mix64(soak->seed + 1)};
    uint64_t start_ns = host_now_ns(), now_ns = start_ns, look_ns = start_ns;
    for (unsigned i = 0; i < soak->workers; i++)
        start_worker(soak, i);
    uint64_t kill_ns = next_kill(soak, &rng, now_ns);
    while (now_ns - start_ns < soak->run_ns && !host_interrupted) {
        uint64_t wake_ns = kill_ns < look_ns ? kill_ns : look_ns;
        if (wake_ns > now_ns)
            host_sleep_ns(wake_ns - now_ns);
        now_ns = host_now_ns();
        if (now_ns >= kill_ns) {
            kill_one(soak, master, (unsigned)rng_below(&rng, soak->workers));
            kill_ns = next_kill(soak, &rng, now_ns);
        }
        if (now_ns >= look_ns) {
            look_for_crashes(soak, master);
            look_for_hangs(soak, master);
            if (terminal)
                show_progress(soak, (double)(now_ns - start_ns) / 1e9);
            look_ns = now_ns + 100000000;
        }
    }
    if (terminal)
        fputs("\r\033[K", stderr);
    soak->seconds = (double)(now_ns - start_ns) / 1e9;
}

static void stop_workers(struct soak *soak, struct soaker *master) {
    atomic_store(&soak->shared->stop, 1);
    uint64_t end_ns = host_now_ns() + LIMIT_NS;
    for (unsigned i = 0; i < soak->workers; i++) {
        bool late;
        uint64_t now_ns = host_now_ns();
        int status = host_reap(pids[i], end_ns > now_ns ? end_ns - now_ns : 0, &late);
        if (late) {
            soak->hangs++;
            soak_fail(master, SOAK_lives, "worker %u (process %ld) did not stop within %d s, it is inside %s", i, (long)pids[i],
                      SOAK_LIMIT_S, soak_op_names[atomic_load(&soak->shared->slots[i].op)]);
        } else if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
            soak_pass(master, SOAK_lives);
        } else {
            note_crash(soak, master, i, status);
        }
    }
}

/* ---- afterwards, in a process of its own that may crash or hang like any other ---- */

static void tell_damage(void *arg, const char *sentence) {
    soak_fail(arg, SOAK_file, "%s", sentence);
}

static void verify(const struct soak *soak) {
    struct soaker soaker;
    struct millpond_check found = {0};
    struct millpond_stats stats = {0};
    char errmsg[MILLPOND_ERRMSG_BYTES] = "";
    uint64_t transient = 0;
    soaker_init(&soaker, soak, SOAK_WORKERS_MAX);
    soak_verify_all(&soaker);
    millpond_stats(soak->pond, -1, &stats);
    for (unsigned i = 0; i <= SOAK_WORKERS_MAX; i++)
        transient += host_count_read(&soak->shared->slots[i].transient);
    if (transient <= stats.gave_up)
        soak_pass(&soaker, SOAK_misses);
    else
        soak_fail(&soaker, SOAK_misses, "%llu reads missed a key that was there; the library gave up only %llu times",
                  (unsigned long long)transient, (unsigned long long)stats.gave_up);
    if (!soak->pressure && stats.evictions > 0)
        soak_fail(&soaker, SOAK_room, "%llu entries were evicted from a file of %llu bytes that holds %llu; make it larger with --size",
                  (unsigned long long)stats.evictions, (unsigned long long)stats.file_bytes, (unsigned long long)stats.bytes);
    else if (!soak->pressure)
        soak_pass(&soaker, SOAK_room);
    int result = millpond_check(soak->file, 0, tell_damage, &soaker, &found, errmsg);
    if (result == MILLPOND_OK)
        soak_pass(&soaker, SOAK_file);
    else if (result != MILLPOND_DAMAGED || found.damages == 0)
        soak_fail(&soaker, SOAK_file, "millpond_check answers: %s %s", millpond_strerror(result), errmsg);
}

static void verify_in_child(struct soak *soak, struct soaker *master) {
    bool late;
    char what[128];
    soak->generation++;
    pid_t pid = host_fork();
    if (pid == 0) {
        verify(soak);
        _exit(0);
    }
    int status = host_reap(pid, 6 * LIMIT_NS, &late);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return;
    host_describe_status(status, what, sizeof what);
    soak_fail(master, SOAK_lives, "the process that verifies at the end %s", late ? "did not end within a minute" : what);
}

/* ---- what it found ---- */

static const struct {
    const char *name, *text;
} checks[] = {
#define SOAK_LINE(name, text) {#name, text},
    SOAK_CHECKS(SOAK_LINE)
#undef SOAK_LINE
};

static uint64_t sum_check(const struct soak *soak, unsigned check, bool passed) {
    uint64_t sum = 0;
    for (unsigned slot = 0; slot <= SOAK_WORKERS_MAX; slot++)
        sum += host_count_read(passed ? &soak->shared->slots[slot].passed[check] : &soak->shared->slots[slot].failed[check]);
    return sum;
}

static uint64_t sum_op(const struct soak *soak, unsigned op) {
    uint64_t sum = 0;
    for (unsigned slot = 0; slot < SOAK_WORKERS_MAX; slot++)
        sum += host_count_read(&soak->shared->slots[slot].ops[op]);
    return sum;
}

static uint64_t sum_evicted(const struct soak *soak) {
    uint64_t sum = 0;
    for (unsigned slot = 0; slot <= SOAK_WORKERS_MAX; slot++)
        sum += host_count_read(&soak->shared->slots[slot].evicted);
    return sum;
}

static void print_table(const struct soak *soak) {
    static struct table table;
    char a[FIGURE_BYTES], b[FIGURE_BYTES];
    uint64_t ops = 0;
    for (unsigned op = 0; op < SOAK_OP_COUNT; op++)
        ops += sum_op(soak, op);
    printf("soak       %llu workers, %.1f s, %llu killed, %llu crashed, %llu hung\n", (unsigned long long)soak->workers, soak->seconds,
           (unsigned long long)soak->kills, (unsigned long long)soak->deaths, (unsigned long long)soak->hangs);
    printf("file       %s, %llu items of %s; %llu evictions, %llu recoveries, %llu lock waits, %llu reads given up\n",
           figure_bytes(a, soak->stats.file_bytes), (unsigned long long)soak->stats.items, figure_bytes(b, soak->stats.bytes),
           (unsigned long long)soak->stats.evictions, (unsigned long long)soak->stats.recoveries,
           (unsigned long long)soak->stats.lock_waits, (unsigned long long)soak->stats.gave_up);
    printf("calls      %s:", figure_count(a, (double)ops));
    for (unsigned op = 0; op < SOAK_OP_COUNT; op++)
        printf(" %s %s", soak_op_names[op], figure_count(a, (double)sum_op(soak, op)));
    printf("\n\n");
    table_init(&table);
    table_cell(&table, "check"), table_cell(&table, "passed"), table_cell(&table, "failed"), table_end_row(&table);
    for (unsigned check = 0; check < SOAK_CHECK_COUNT; check++) {
        uint64_t passed = sum_check(soak, check, true), failed = sum_check(soak, check, false);
        if (passed + failed == 0)
            continue;
        table_cell(&table, "%s", checks[check].text);
        table_cell(&table, "%llu", (unsigned long long)passed), table_cell(&table, "%llu", (unsigned long long)failed);
        table_end_row(&table);
    }
    table_print(&table, stdout);
}

static void write_json(const struct soak *soak, struct json *json) {
    report_preamble(json, "soak");
    report_u64(json, "workers", soak->workers);
    report_real(json, "seconds", soak->seconds);
    report_real(json, "kill_every_ms", (double)soak->kill_ns / 1e6);
    report_bool(json, "pressure", soak->pressure);
    report_u64(json, "keys", soak->key_count);
    report_u64(json, "kills", soak->kills);
    report_u64(json, "crashes", soak->deaths);
    report_u64(json, "hangs", soak->hangs);
    report_u64(json, "file_bytes", soak->stats.file_bytes);
    report_u64(json, "items", soak->stats.items);
    report_u64(json, "evictions", soak->stats.evictions);
    report_u64(json, "evicted_misses", sum_evicted(soak));
    report_u64(json, "recoveries", soak->stats.recoveries);
    report_u64(json, "gave_up", soak->stats.gave_up);
    report_object(json, "calls");
    for (unsigned op = 0; op < SOAK_OP_COUNT; op++)
        report_u64(json, soak_op_names[op], sum_op(soak, op));
    report_end(json);
    report_object(json, "checks");
    for (unsigned check = 0; check < SOAK_CHECK_COUNT; check++) {
        report_object(json, checks[check].name);
        report_u64(json, "passed", sum_check(soak, check, true));
        report_u64(json, "failed", sum_check(soak, check, false));
        report_end(json);
    }
    report_end(json);
    report_u64(json, "passed", sum_checks(soak, true));
    report_u64(json, "failed", sum_checks(soak, false));
}

/* ---- the verb ---- */

static void open_pond(struct soak *soak) {
    static char path[HOST_PATH_BYTES + 16];
    char errmsg[MILLPOND_ERRMSG_BYTES];
    struct millpond_options options = MILLPOND_OPTIONS_INIT;
    if (soak->size_bytes == 0)
        soak->size_bytes = soak->pressure ? PRESSURE_BYTES : ROOM_BYTES;
    options.flags = MILLPOND_CREATE | MILLPOND_EXCLUSIVE; /* what an older file holds would be taken for foreign values */
    options.size_bytes = soak->size_bytes;
    if (!soak->file) {
        snprintf(path, sizeof path, "%s/soak.pond", host_scratch(soak->size_bytes));
        soak->file = path;
    }
    if (millpond_open(&soak->pond, soak->file, &options, errmsg) != MILLPOND_OK)
        host_fail("%s", errmsg);
    millpond_stats(soak->pond, -1, &soak->stats);
    soak->value_bytes_max = soak->stats.max_item_bytes < VALUE_BYTES_MAX ? soak->stats.max_item_bytes : VALUE_BYTES_MAX;
}

int verb_soak(int argc, char **argv) {
    static struct soak soak = {.workers = 4, .keys_each = 1000, .kill_ns = 50000000, .run_ns = 10000000000, .seed = 1};
    struct soaker master;
    struct json json;
    const struct args_option options[] = {
        {"workers", ARGS_COUNT, &soak.workers, "N", "processes", 1, SOAK_WORKERS_MAX},
        {"kill-every", ARGS_TIME, &soak.kill_ns, "T", "a worker is killed with SIGKILL about every T; 0 for never", 0, 0},
        {"seconds", ARGS_TIME, &soak.run_ns, "T", "how long", 1, 0},
        {"pressure", ARGS_FLAG, &soak.pressure, NULL, "a file too small for all keys, so that eviction runs too", 0, 0},
        {"keys", ARGS_COUNT, &soak.keys_each, "N", "keys that each worker writes; all read all", 1, 1 << 24},
        {"size", ARGS_SIZE, &soak.size_bytes, "S", "size of the cache file (256M, with --pressure 4M)", 1, 0},
        {"file", ARGS_TEXT, &soak.file, "PATH", "a new cache file, kept (else one of its own, removed)", 0, 0},
        {"seed", ARGS_COUNT, &soak.seed, "N", "of the random choices", 0, 0},
        {"json", ARGS_JSON, &soak.json_wish, "[FILE]", "figures for a program, on standard output or into a file", 0, 0},
        {NULL, ARGS_FLAG, NULL, NULL, NULL, 0, 0}};
    const struct args_verb verb = {
        "soak", "Workers read, write and verify; they are killed with SIGKILL at random moments and replaced.",
        "[--workers 4] [--kill-every 50ms] [--seconds 60] [--pressure]",
        "Every value tells its key, the number of the write that made it and a checksum; what was acknowledged is kept outside the file.\n"
        "A call that takes more than 10 s is a hang. Ends with `N passed, M failed`; exit status 1 when something failed.",
        options, NULL, NULL};
    int outcome = args_parse(&verb, argc, argv);
    if (outcome != ARGS_GO)
        return outcome;
    report_open(&json, &soak.json_wish);
    open_pond(&soak);
    soak.key_count = soak.keys_each * soak.workers;
    soak.shared = host_shared(sizeof *soak.shared + soak.key_count * sizeof *soak.shared->keys);
    soaker_init(&master, &soak, SOAK_WORKERS_MAX);
    run(&soak, &master);
    stop_workers(&soak, &master);
    verify_in_child(&soak, &master);
    millpond_stats(soak.pond, -1, &soak.stats);
    uint64_t passed = sum_checks(&soak, true), failed = sum_checks(&soak, false);
    if (json.out != stdout)
        print_table(&soak);
    write_json(&soak, &json);
    bool to_stdout = json.out == stdout;
    report_close(&json);
    millpond_close(soak.pond);
    soaker_free(&master);
    fprintf(to_stdout ? stderr : stdout, "%s%llu passed, %llu failed\n", to_stdout ? "" : "\n", (unsigned long long)passed,
            (unsigned long long)failed);
    return failed > 0;
}
