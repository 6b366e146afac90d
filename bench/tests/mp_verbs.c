/* SPDX-License-Identifier: MIT */
/* mp_verbs.c: the program itself: each verb for a moment, with kills and damage from outside, and wrong usage. */
#include "program.h"

#include "host.h"
#include "zipf.h"
#include <millpond.h>

#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

TestSuite(verbs, .init = program_begin, .fini = program_end);

static int64_t number(json_t *object, const char *key) {
    json_t *value = json_object_get(object, key);
    cr_assert(json_is_integer(value), "%s is no integer", key);
    return json_integer_value(value);
}

static double real(json_t *object, const char *key) {
    json_t *value = json_object_get(object, key);
    cr_assert(json_is_number(value), "%s is no number", key);
    return json_number_value(value);
}

static unsigned lines(const char *text) {
    unsigned count = 0;
    for (; *text; text++)
        count += *text == '\n';
    return count;
}

/* Files of many sizes, an empty one and one that is larger than what the pond takes. */
static void make_files(void) {
    static unsigned char bytes[3 << 20];
    struct rng rng = {5};
    char name[32];
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (unsigned char)rng_next(&rng);
    cr_assert_eq(mkdir(program_path("files"), 0700), 0);
    cr_assert_eq(mkdir(program_path("files/below"), 0700), 0);
    for (unsigned i = 0; i < 60; i++) {
        snprintf(name, sizeof name, "files/%s%u", i % 2 ? "below/" : "", i);
        program_put(name, bytes + i, (size_t)rng_below(&rng, i % 10 == 0 ? 100000 : 3000));
    }
    program_put("files/empty", bytes, 0);
    program_put("files/large", bytes, sizeof bytes);
}

static const char *store_of(const char *name) {
    static char spec[128];
    snprintf(spec, sizeof spec, "dir:%s", program_path(name));
    return spec;
}

/* ---- pool ---- */

Test(verbs, pool_serves_files_and_finds_no_wrong_byte) {
    struct program program;
    make_files();
    PROGRAM_RUN(&program, "pool", "--store", store_of("files"), "--workers", "3", "--seconds", "2", "--size", "8M", "--json");
    cr_assert_eq(program.status, 0, "%s", program.err);
    json_t *root = program_json(&program);
    cr_assert_eq(number(root, "wrong_bytes"), 0);
    cr_assert_eq(number(root, "store_items"), 62);
    cr_assert_gt(number(root, "hits"), 1000);
    cr_assert_gt(number(root, "misses"), 59);
    cr_assert_gt(number(root, "from_disk"), 0, "the large file");
    cr_assert_eq(number(root, "operations"), number(root, "hits") + number(root, "misses") + number(root, "from_disk"));
    cr_assert_eq(number(json_object_get(root, "get_ns"), "count") + number(json_object_get(root, "load_ns"), "count"),
                 number(root, "operations"));
    cr_assert_gt(number(json_object_get(root, "get_ns"), "p50"), 0);
    cr_assert_eq(number(root, "items"), 61);
    cr_assert_gt(real(root, "hit_ratio"), 0.9);
    cr_assert_eq(json_array_size(json_object_get(root, "worker_memory")), 3);
    json_decref(root);
    program_free(&program);
}

Test(verbs, pool_goes_on_when_a_worker_is_killed) {
    struct program program;
    make_files();
    program_start(&program, NULL, (const char *const[]){"pool", "--store", store_of("files"), "--workers", "2", "--seconds", "2", "--size",
                                                        "8M", "--json", NULL});
    usleep(800000);
    pid_t victim = program_child(&program, 0);
    cr_assert_gt(victim, 0);
    cr_assert_eq(kill(victim, SIGKILL), 0);
    program_wait(&program, 60);
    cr_assert_eq(program.status, 0, "%s", program.err);
    json_t *root = program_json(&program);
    cr_assert_eq(number(root, "deaths"), 1);
    cr_assert_eq(number(root, "faults"), 0);
    cr_assert_eq(number(root, "wrong_bytes"), 0);
    cr_assert(strstr(program.err, "killed by signal 9") && strstr(program.err, "took its place"), "%s", program.err);
    json_decref(root);
    program_free(&program);
}

/* Somebody else writes a wrong value under a file's name: that the comparison is real shows here. */
Test(verbs, pool_notices_a_wrong_byte) {
    struct program program;
    struct millpond *pond = NULL;
    make_files();
    program_start(&program, NULL, (const char *const[]){"pool", "--store", store_of("files"), "--seconds", "2", "--size", "8M", "--file",
                                                        program_path("pond"), "--json", NULL});
    for (unsigned i = 0; i < 100 && !pond; i++) {
        usleep(20000);
        if (millpond_open(&pond, program_path("pond"), NULL, NULL) != MILLPOND_OK)
            pond = NULL;
    }
    cr_assert_not_null(pond);
    for (unsigned i = 0; i < 10; i++) {
        usleep(50000);
        millpond_set(pond, "empty", 5, "x", 1, 0);
    }
    millpond_close(pond);
    program_wait(&program, 60);
    cr_assert_eq(program.status, 1, "%s", program.err);
    json_t *root = program_json(&program);
    cr_assert_gt(number(root, "wrong_values"), 0);
    cr_assert_eq(number(root, "wrong_bytes"), number(root, "wrong_values"), "one surplus byte each");
    json_decref(root);
    program_free(&program);
}

Test(verbs, pool_does_not_take_a_changed_file_for_a_wrong_value) {
    struct program program;
    make_files();
    program_start(&program, NULL,
                  (const char *const[]){"pool", "--store", store_of("files"), "--seconds", "2", "--size", "8M", "--json", NULL});
    usleep(1000000);
    char name[32];
    for (unsigned i = 0; i < 60; i++) {
        snprintf(name, sizeof name, "files/%s%u", i % 2 ? "below/" : "", i);
        program_put(name, "new", i % 3); /* shorter than it was mapped: the comparison meets SIGBUS */
    }
    program_wait(&program, 60);
    cr_assert_eq(program.status, 0, "%s", program.err);
    json_t *root = program_json(&program);
    cr_assert_gt(number(root, "changed"), 0);
    cr_assert_eq(number(root, "wrong_bytes"), 0);
    cr_assert_eq(number(root, "deaths"), 0);
    json_decref(root);
    program_free(&program);
}

Test(verbs, pool_says_what_is_wrong_with_its_store) {
    struct program program;
    PROGRAM_RUN(&program, "pool", "--store", "dir:/nonexistent/files", "--seconds", "1");
    cr_assert_eq(program.status, 3);
    cr_assert(strstr(program.err, "/nonexistent/files") && lines(program.err) == 1, "%s", program.err);
    program_free(&program);
    cr_assert_eq(mkdir(program_path("files"), 0700), 0);
    PROGRAM_RUN(&program, "pool", "--store", store_of("files"), "--seconds", "1");
    cr_assert_eq(program.status, 3);
    cr_assert(strstr(program.err, "no readable file") && lines(program.err) == 1, "%s", program.err);
    program_free(&program);
    PROGRAM_RUN(&program, "pool", "--store", "ftp:host", "--seconds", "1");
    cr_assert_eq(program.status, 3);
    program_free(&program);
}

/* ---- soak ---- */

static void soak_passes(const char *more) {
    struct program program;
    PROGRAM_RUN(&program, "soak", "--workers", "3", "--seconds", "2", "--kill-every", "20ms", "--keys", "200", "--json", more);
    cr_assert_eq(program.status, 0, "%s", program.err);
    json_t *root = program_json(&program);
    cr_assert_gt(number(root, "passed"), 1000);
    cr_assert_eq(number(root, "failed"), 0);
    cr_assert_gt(number(root, "kills"), 3);
    cr_assert_eq(number(root, "hangs"), 0);
    cr_assert_eq(number(root, "crashes"), 0);
    cr_assert_eq(number(json_object_get(json_object_get(root, "checks"), "file"), "passed"), 1);
    size_t end = strlen(program.err);
    cr_assert(end > 11 && strcmp(program.err + end - 11, ", 0 failed\n") == 0, "%s", program.err);
    json_decref(root);
    program_free(&program);
}

Test(verbs, soak_passes_with_kills) {
    soak_passes(NULL);
}

Test(verbs, soak_passes_with_kills_and_eviction) {
    soak_passes("--pressure");
}

Test(verbs, soak_notices_values_that_somebody_else_wrote) {
    struct program program;
    struct millpond *pond = NULL;
    program_start(&program, NULL, (const char *const[]){"soak", "--workers", "2", "--seconds", "2", "--keys", "20", "--file",
                                                        program_path("pond"), "--json", NULL});
    for (unsigned i = 0; i < 100 && !pond; i++) {
        usleep(20000);
        if (millpond_open(&pond, program_path("pond"), NULL, NULL) != MILLPOND_OK)
            pond = NULL;
    }
    cr_assert_not_null(pond);
    usleep(500000);
    char name[32];
    for (unsigned key = 0; key < 40; key++)
        millpond_set(pond, name, (size_t)snprintf(name, sizeof name, "soak:%u", key), "not a value of a soak", 21, 0);
    millpond_close(pond);
    program_wait(&program, 60);
    cr_assert_eq(program.status, 1, "%s", program.err);
    json_t *root = program_json(&program);
    cr_assert_gt(number(json_object_get(json_object_get(root, "checks"), "whole"), "failed"), 0);
    json_decref(root);
    program_free(&program);
}

/* ---- run ---- */

Test(verbs, run_measures_engines_side_by_side) {
    struct program program;
    PROGRAM_RUN(&program, "run", "--engines", "limit,millpond", "--workers", "2", "--items", "20K", "--reads", "100", "--seconds", "100ms",
                "--rounds", "3", "--verify", "--json", program_path("out.json"));
    cr_assert_eq(program.status, 0, "%s", program.err);
    cr_assert(strstr(program.out, "millpond") && strstr(program.out, "p99.9"), "%s", program.out);
    json_t *root = json_load_file(program_path("out.json"), 0, NULL), *list = json_object_get(root, "engines");
    cr_assert_eq(json_array_size(list), 2);
    for (size_t i = 0; i < 2; i++) {
        json_t *engine = json_array_get(list, i);
        cr_assert_eq(number(engine, "wrong"), 0);
        cr_assert_eq(number(engine, "misses"), 0);
        cr_assert_gt(number(engine, "gets"), 1000);
        cr_assert_gt(real(engine, "ns_per_op"), 1);
        cr_assert_gt(real(engine, "load_ns"), 1);
        cr_assert_eq(json_array_size(json_object_get(engine, "rounds")), 3);
        if (i == 0)
            cr_assert_float_eq(real(engine, "ratio"), 1, 1e-9);
    }
    json_decref(root);
    program_free(&program);
}

static bool file_says(const char *name, const char *text) {
    static char content[1 << 20];
    FILE *file = fopen(program_path(name), "r");
    cr_assert_not_null(file);
    content[fread(content, 1, sizeof content - 1, file)] = 0;
    fclose(file);
    return strstr(content, text) != NULL;
}

/* The numbers of one of a run's series: "2,3" is not there twice, and the run's own number is among them. */
static void expect_series(json_t *series, const char *over, const char *expected) {
    char text[256] = "";
    json_t *points = json_object_get(series, "points"), *point, *engine;
    size_t at, which;
    cr_assert_str_eq(json_string_value(json_object_get(series, "over")), over);
    json_array_foreach(points, at, point) {
        size_t used = strlen(text);
        snprintf(text + used, sizeof text - used, "%llu ", (unsigned long long)number(point, over));
        json_array_foreach(json_object_get(point, "engines"), which, engine) {
            cr_assert_gt(real(engine, "ns_per_op"), 1);
            cr_assert_eq(number(engine, "wrong"), 0);
        }
        cr_assert_eq(which, 2);
    }
    cr_assert_str_eq(text, expected);
}

Test(verbs, run_goes_over_processes_items_and_values_and_draws_all) {
    struct program program;
    PROGRAM_RUN(&program, "run", "--engines", "limit,millpond", "--items", "2K", "--reads", "100", "--seconds", "20ms", "--rounds", "2",
                "--over-workers", "3,1,3", "--over-items", "500", "--over-values", "1K,16", "--json", program_path("out.json"));
    cr_assert_eq(program.status, 0, "%s", program.err);
    cr_assert(strstr(program.out, "processes") && strstr(program.out, "1.0 KiB"), "%s", program.out);
    json_t *root = json_load_file(program_path("out.json"), 0, NULL), *list = json_object_get(root, "series");
    cr_assert_eq(json_array_size(list), 3);
    expect_series(json_array_get(list, 0), "workers", "1 2 3 ");
    expect_series(json_array_get(list, 1), "items", "500 2000 ");
    expect_series(json_array_get(list, 2), "value_bytes", "16 100 1024 ");
    json_t *larger = json_array_get(json_object_get(json_array_get(list, 2), "points"), 2);
    cr_assert_lt(number(larger, "items"), 400, "values of a KiB take more room than the run's");
    json_decref(root);
    program_free(&program);
    PROGRAM_RUN(&program, "run", "--over-items", "10,many");
    cr_assert_eq(program.status, 2);
    cr_assert(strstr(program.err, "'many'") && lines(program.err) == 1, "%s", program.err);
    program_free(&program);
    if (!host_has_program("gnuplot"))
        return;
    PROGRAM_RUN(&program, "run", "--engines", "limit,millpond", "--items", "2K", "--seconds", "20ms", "--rounds", "1", "--over-values",
                "none", "--plot", program_path("out.svg"));
    cr_assert_eq(program.status, 0, "%s", program.err);
    cr_assert(file_says("out.svg", "latency") && file_says("out.svg", "all processes") && file_says("out.svg", "by items"));
    cr_assert(!file_says("out.svg", "by the value"), "what was left out is drawn");
    program_free(&program);
}

Test(verbs, run_reads_many_keys_with_one_call_and_writes) {
    struct program program;
    PROGRAM_RUN(&program, "run", "--engines", "millpond", "--workers", "2", "--items", "5K", "--reads", "50", "--mget", "16", "--seconds",
                "100ms", "--rounds", "2", "--verify", "--dist", "uniform", "--json");
    cr_assert_eq(program.status, 0, "%s", program.err);
    json_t *root = program_json(&program), *engine = json_array_get(json_object_get(root, "engines"), 0);
    double gets = (double)number(engine, "gets"), sets = (double)number(engine, "sets");
    cr_assert(gets / (gets + sets) > 0.45 && gets / (gets + sets) < 0.55);
    cr_assert_eq(number(engine, "wrong"), 0);
    cr_assert_gt(number(json_object_get(engine, "set_latency_ns"), "count"), 0);
    json_decref(root);
    program_free(&program);
}

Test(verbs, run_names_engines_that_do_not_exist) {
    struct program program;
    PROGRAM_RUN(&program, "run", "--engines", "millpond,nosuch");
    cr_assert_eq(program.status, 2);
    cr_assert(strstr(program.err, "nosuch"), "%s", program.err);
    program_free(&program);
}

/* An engine whose server is not installed is named, and the others run. */
Test(verbs, run_names_engines_that_are_not_installed) {
    struct program program;
    cr_assert_eq(setenv("PATH", "/nonexistent", 1), 0);
    PROGRAM_RUN(&program, "run", "--engines", "memcached,limit", "--items", "1K", "--seconds", "20ms", "--rounds", "1", "--json");
    cr_assert_eq(program.status, 0, "%s", program.err);
    json_t *root = program_json(&program), *list = json_object_get(root, "engines");
    cr_assert(json_is_false(json_object_get(json_array_get(list, 0), "measured")));
    cr_assert_not_null(strstr(json_string_value(json_object_get(json_array_get(list, 0), "why_not")), "not installed"));
    cr_assert(json_is_true(json_object_get(json_array_get(list, 1), "measured")));
    json_decref(root);
    program_free(&program);
    PROGRAM_RUN(&program, "run", "--engines", "limit", "--plot", program_path("out.svg"));
    cr_assert_eq(program.status, 3);
    cr_assert(strstr(program.err, "gnuplot") && lines(program.err) == 1, "%s", program.err);
    program_free(&program);
}

/* ---- replay ---- */

static void put_zipf_trace(const char *name, unsigned requests, unsigned keys) {
    FILE *file = fopen(program_path(name), "w");
    struct zipf zipf;
    struct rng rng = {9};
    cr_assert_not_null(file);
    zipf_init(&zipf, keys, 0.9);
    for (unsigned i = 0; i < requests; i++)
        fprintf(file, "%llu\n", (unsigned long long)zipf_draw(&zipf, &rng));
    cr_assert_eq(fclose(file), 0);
}

static double policy_ratio(json_t *root, const char *name) {
    json_t *list = json_object_get(root, "policies"), *policy;
    size_t at;
    json_array_foreach(list, at, policy) {
        if (strcmp(json_string_value(json_object_get(policy, "name")), name) == 0)
            return real(policy, "miss_ratio");
    }
    cr_assert_fail("no policy %s", name);
    return 0;
}

Test(verbs, replay_with_room_for_all_misses_each_key_once) {
    static const char *const text = "a\nb\nc\na\nb\nc\na\nb\nc\nd\n";
    struct program program;
    struct stat before, after;
    program_put("trace", text, strlen(text));
    stat(program_path("trace"), &before);
    PROGRAM_RUN(&program, "replay", "--size", "1M", "--policies", "all", "--json", program_path("trace"));
    cr_assert_eq(program.status, 0, "%s", program.err);
    json_t *root = program_json(&program);
    cr_assert_eq(number(root, "requests"), 10);
    cr_assert_eq(number(root, "misses"), 4);
    cr_assert_float_eq(real(root, "miss_ratio"), 0.4, 1e-9);
    cr_assert_float_eq(real(root, "write_amplification"), 0, 1e-9);
    cr_assert_eq(number(root, "items"), 4);
    cr_assert_eq(number(root, "file_bytes"), 1 << 20);
    cr_assert_float_eq(policy_ratio(root, "belady"), 0.4, 1e-9);
    stat(program_path("trace"), &after);
    cr_assert_eq(after.st_size, before.st_size, "--json must not take the trace for its file");
    json_decref(root);
    program_free(&program);
}

/* The file must come as close to N items as it can without ever holding more, and then miss about as often as an ideal S3-FIFO. */
Test(verbs, replay_sizes_a_file_for_so_many_items) {
    struct program program;
    put_zipf_trace("trace", 100000, 20000);
    PROGRAM_RUN(&program, "replay", program_path("trace"), "--items", "1500", "--policies", "all", "--json");
    cr_assert_eq(program.status, 0, "%s", program.err);
    json_t *root = program_json(&program);
    cr_assert_leq(number(root, "items_most"), 1500);
    cr_assert_geq(number(root, "items_most"), 1450);
    cr_assert_eq(number(root, "wrong"), 0);
    cr_assert_lt(real(root, "miss_ratio"), policy_ratio(root, "fifo"));
    cr_assert_gt(real(root, "miss_ratio"), policy_ratio(root, "belady"));
    cr_assert_float_eq(real(root, "miss_ratio"), policy_ratio(root, "s3fifo"), 0.05 * policy_ratio(root, "s3fifo"));
    cr_assert_gt(real(root, "write_amplification"), 0);
    json_decref(root);
    program_free(&program);
}

/* 20 items are too few for a file: that one is told, and left out. */
Test(verbs, replay_puts_several_sizes_side_by_side) {
    struct program program;
    put_zipf_trace("trace", 50000, 20000);
    bool draws = host_has_program("gnuplot");
    char svg[sizeof program_folder + 16];
    snprintf(svg, sizeof svg, "%s", program_path("out.svg"));
    PROGRAM_RUN(&program, "replay", program_path("trace"), "--items", "20,300,1500", "--policies", "lru,belady", "--json",
                program_path("out.json"), draws ? "--plot" : "--workers", draws ? svg : "1");
    cr_assert_eq(program.status, 0, "%s", program.err);
    cr_assert(lines(program.err) == 1 && strstr(program.err, "20 items"), "%s", program.err);
    cr_assert(strstr(program.out, "1500") && strstr(program.out, "belady"), "%s", program.out);
    json_t *root = json_load_file(program_path("out.json"), 0, NULL), *list = json_object_get(root, "sizes");
    cr_assert_eq(json_array_size(list), 2);
    json_t *small = json_array_get(list, 0), *large = json_array_get(list, 1);
    cr_assert_str_eq(json_string_value(json_object_get(small, "size")), "300");
    cr_assert(number(small, "items_most") <= 300 && number(large, "items_most") > 1400);
    cr_assert_lt(real(large, "miss_ratio"), real(small, "miss_ratio"));
    cr_assert_lt(policy_ratio(large, "belady"), real(large, "miss_ratio"));
    cr_assert(!draws || file_says("out.svg", "miss ratio by size"));
    json_decref(root);
    program_free(&program);
    PROGRAM_RUN(&program, "replay", program_path("trace"), "--items", "20", "--json");
    cr_assert_eq(program.status, 3, "%s", program.err);
    cr_assert_str_eq(program.out, "", "half a document");
    program_free(&program);
    PROGRAM_RUN(&program, "replay", program_path("trace"), "--items", "300,1500", "--file", program_path("kept"));
    cr_assert_eq(program.status, 2, "%s", program.err);
    program_free(&program);
}

Test(verbs, replay_shares_a_trace_and_reads_standard_input) {
    struct program program;
    put_zipf_trace("trace", 50000, 5000);
    const char *const words[] = {"replay", "-", "--size", "4M", "--workers", "2", "--json", NULL};
    program_run(&program, program_path("trace"), words);
    cr_assert_eq(program.status, 0, "%s", program.err);
    json_t *root = program_json(&program);
    cr_assert_eq(number(root, "requests"), 50000);
    cr_assert_geq(number(root, "misses"), number(root, "keys"), "each key misses once, or twice when both workers ask at once");
    cr_assert_lt((double)number(root, "misses"), 1.02 * (double)number(root, "keys"));
    cr_assert_eq(number(root, "wrong"), 0);
    json_decref(root);
    program_free(&program);
}

Test(verbs, replay_takes_sizes_from_quantiles_and_overwrites) {
    struct program program;
    put_zipf_trace("trace", 50000, 5000);
    program_put("sizes", "100\n200\n300\n2000\n", 17);
    PROGRAM_RUN(&program, "replay", program_path("trace"), "--items", "10%", "--value-sizes", program_path("sizes"), "--overwrite", "30",
                "--policies", "s3fifo,lru", "--json");
    cr_assert_eq(program.status, 0, "%s", program.err);
    json_t *root = program_json(&program);
    cr_assert_eq(number(root, "wrong"), 0);
    cr_assert_gt(number(root, "sets"), number(root, "misses"), "hits are overwritten");
    cr_assert_str_eq(json_string_value(json_object_get(root, "policy_capacity_unit")), "bytes");
    cr_assert_float_eq(real(root, "miss_ratio"), policy_ratio(root, "s3fifo"), 0.15 * policy_ratio(root, "s3fifo"));
    json_decref(root);
    program_free(&program);
}

Test(verbs, replay_deletes_and_lets_values_grow) {
    struct program program;
    put_zipf_trace("trace", 50000, 5000);
    PROGRAM_RUN(&program, "replay", program_path("trace"), "--items", "10%", "--delete", "20", "--grow", "--policies", "s3fifo,arc",
                "--json");
    cr_assert_eq(program.status, 0, "%s", program.err);
    json_t *root = program_json(&program);
    cr_assert_eq(number(root, "wrong"), 0);
    cr_assert_eq(number(root, "delete"), 20);
    cr_assert_gt(number(root, "misses"), 50000 * 2 / 10, "what was deleted misses");
    cr_assert_gt(number(root, "steps_max"), 0);
    cr_assert_float_eq(real(root, "miss_ratio"), policy_ratio(root, "s3fifo"), 0.15 * policy_ratio(root, "s3fifo"));
    json_decref(root);
    program_free(&program);
    PROGRAM_RUN(&program, "replay", program_path("trace"), "--items", "10%", "--delete", "60", "--overwrite", "50");
    cr_assert_eq(program.status, 2);
    program_free(&program);
}

Test(verbs, replay_drives_the_clock_for_what_expires) {
    struct program program;
    put_zipf_trace("trace", 60000, 4000);
    /* Ten minutes; room for all. So what misses twice has expired, and the file is as good as any policy with a perfect reaper. */
    PROGRAM_RUN(&program, "replay", program_path("trace"), "--size", "4M", "--ttl", "50%:20s,25%:1h", "--rate", "100", "--policies",
                "s3fifo,belady", "--json");
    cr_assert_eq(program.status, 0, "%s", program.err);
    json_t *root = program_json(&program);
    cr_assert_eq(number(root, "wrong"), 0);
    cr_assert_eq(number(root, "evictions"), 0);
    cr_assert_gt(number(root, "misses"), 8000, "what has expired misses");
    cr_assert_float_eq(real(root, "miss_ratio"), policy_ratio(root, "s3fifo"), 1e-9);
    cr_assert_float_eq(real(root, "miss_ratio"), policy_ratio(root, "belady"), 1e-9);
    json_decref(root);
    program_free(&program);
    /* The same without times to live: every key misses once. */
    PROGRAM_RUN(&program, "replay", program_path("trace"), "--size", "4M", "--json");
    root = program_json(&program);
    cr_assert_eq(number(root, "misses"), number(root, "keys"));
    json_decref(root);
    program_free(&program);
}

Test(verbs, replay_takes_the_times_of_the_trace) {
    struct program program;
    /* The second a comes 30 s behind the first, the third 31 s behind the second. */
    static const char text[] = "100,a,10\n120.5,b,10\n130,a,10\n161,a,10\n";
    program_put("trace", text, sizeof text - 1);
    PROGRAM_RUN(&program, "replay", program_path("trace"), "--size", "1M", "--ttl", "100%:30500ms", "--policies", "lru", "--json");
    cr_assert_eq(program.status, 0, "%s", program.err);
    json_t *root = program_json(&program);
    cr_assert_eq(number(root, "misses"), 3, "a, b, and a when it has expired");
    cr_assert_float_eq(policy_ratio(root, "lru"), 0.75, 1e-9);
    json_decref(root);
    program_free(&program);
}

Test(verbs, replay_says_what_is_wrong_with_times_to_live) {
    static const char *const wrong[] = {"", "90", "90%", "90%:", "90%:x", "0%:5s", "60%:5s,60%:6s", "90%:5s,", "-5%:5s", "50%:5s;50%:6s"};
    struct program program;
    program_put("trace", "a\nb\n", 4);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        PROGRAM_RUN(&program, "replay", program_path("trace"), "--size", "1M", "--ttl", wrong[i], "--rate", "10");
        cr_assert_eq(program.status, 2, "--ttl %s", wrong[i]);
        cr_assert_eq(lines(program.err), 1, "%s", program.err);
        program_free(&program);
    }
    PROGRAM_RUN(&program, "replay", program_path("trace"), "--size", "1M", "--ttl", "90%:60s"); /* no times, and no --rate */
    cr_assert_eq(program.status, 2);
    program_free(&program);
}

Test(verbs, replay_needs_one_size) {
    struct program program;
    program_put("trace", "a\n", 2);
    PROGRAM_RUN(&program, "replay", program_path("trace"));
    cr_assert_eq(program.status, 2);
    program_free(&program);
    PROGRAM_RUN(&program, "replay", program_path("trace"), "--size", "1M", "--items", "5");
    cr_assert_eq(program.status, 2);
    program_free(&program);
    PROGRAM_RUN(&program, "replay", "/nonexistent/trace", "--size", "1M");
    cr_assert_eq(program.status, 3);
    cr_assert_eq(lines(program.err), 1, "%s", program.err);
    program_free(&program);
}

/* ---- all of them ---- */

Test(verbs, each_has_help_and_refuses_unknown_options) {
    static const char *const names[] = {"pool", "run", "replay", "soak"};
    struct program program;
    for (unsigned i = 0; i < 4; i++) {
        PROGRAM_RUN(&program, names[i], "--help");
        cr_assert_eq(program.status, 0, "%s", names[i]);
        cr_assert(strstr(program.out, names[i]) && strstr(program.out, "--json"), "%s", program.out);
        program_free(&program);
        PROGRAM_RUN(&program, names[i], "--nosuch");
        cr_assert_eq(program.status, 2, "%s", names[i]);
        cr_assert(strstr(program.err, "--nosuch") && lines(program.err) == 1, "%s", program.err);
        program_free(&program);
    }
    PROGRAM_RUN(&program, "nosuch");
    cr_assert_eq(program.status, 2);
    program_free(&program);
}

/* Where the running program's pond lies, as the kernel knows it. */
static void find_pond(pid_t pid, char *path) {
    char maps[64], line[512];
    *path = 0;
    snprintf(maps, sizeof maps, "/proc/%ld/maps", (long)pid);
    FILE *file = fopen(maps, "r");
    while (file && !*path && fgets(line, sizeof line, file)) {
        const char *from = strchr(line, '/'), *end = strstr(line, ".pond");
        if (from && end)
            snprintf(path, 256, "%.*s.pond", (int)(end - from), from);
    }
    if (file)
        fclose(file);
}

Test(verbs, an_interrupt_ends_early_with_figures_and_leaves_nothing_behind) {
    struct program program;
    char pond[256];
    make_files();
    program_start(&program, NULL,
                  (const char *const[]){"pool", "--store", store_of("files"), "--seconds", "60", "--size", "8M", "--json", NULL});
    usleep(700000);
    find_pond(program.pid, pond);
    cr_assert_eq(access(pond, F_OK), 0, "'%s'", pond);
    cr_assert_eq(kill(program.pid, SIGINT), 0);
    program_wait(&program, 20);
    cr_assert_eq(program.status, 0, "%s", program.err);
    json_t *root = program_json(&program);
    cr_assert_lt(real(root, "seconds"), 30);
    cr_assert_neq(access(pond, F_OK), 0, "%s was left behind", pond);
    json_decref(root);
    program_free(&program);
}
