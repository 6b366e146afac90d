/* SPDX-License-Identifier: MIT */
/* The fuzzer for every compiler: the target of fuzz_file.c under a mutator of its own, the same inputs for the same seed.
 *
 *   fuzz_file_run --runs N [--seconds S] [--seed S] [CORPUS...]   the inputs in the files and folders CORPUS, then N made ones (or as many
 * as fit into S seconds): half are new, half are neighbours of the corpus fuzz_file_run FILE... these inputs only fuzz_file_run --print
 * FILE...                                  says what they mean
 *
 * The runs happen in a child, which a crash ends and an alarm ends when a run takes longer than 10 seconds; the parent names the input,
 * keeps it as hurt-SEED-RUN in the current folder and goes on behind it, up to ten times. Exit status 0 when nothing was found. */

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "fuzz_file.h"

#include "exercise.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define RUN_SECONDS_MAX 10u
#define FINDS_MAX       10u

struct input {
    size_t bytes;
    unsigned char at[DAMAGE_INPUT_BYTES_MAX];
};

/* What parent and child share. */
struct progress {
    uint64_t run; /* the one that is being done, or the next one */
    struct input input;
    struct exercise_counts counts;
    int over;
};

static struct progress *progress;
static struct input *corpus;
static size_t corpus_count, corpus_room;
static uint64_t runs, seed = 1, until_ns;

/* ---- the corpus ---- */

static void add_file(const char *path) {
    FILE *file = fopen(path, "rb");
    if (!file) {
        fprintf(stderr, "fuzz_file_run: %s: %s; name an input or a folder of inputs\n", path, strerror(errno));
        exit(2);
    }
    if (corpus_count == corpus_room) {
        corpus_room = corpus_room ? corpus_room * 2 : 64;
        corpus = realloc(corpus, corpus_room * sizeof *corpus);
        REQUIRE(corpus, "no memory for %zu inputs", corpus_room);
    }
    struct input *input = &corpus[corpus_count++];
    input->bytes = fread(input->at, 1, sizeof input->at, file);
    fclose(file);
}

static int is_input(const struct dirent *entry) { return entry->d_name[0] != '.'; }

static void add(const char *path) {
    struct stat st;
    struct dirent **names;
    if (stat(path, &st) != 0 || !S_ISDIR(st.st_mode)) {
        add_file(path);
        return;
    }
    int n = scandir(path, &names, is_input, alphasort); /* sorted: the same seed means the same runs */
    REQUIRE(n >= 0, "%s: %s", path, strerror(errno));
    for (int i = 0; i < n; i++) {
        char name[4096];
        snprintf(name, sizeof name, "%s/%s", path, names[i]->d_name);
        add_file(name);
        free(names[i]);
    }
    free(names);
}

/* ---- runs ---- */

static void make_input(uint64_t run, struct input *input) {
    if (run < corpus_count) {
        *input = corpus[run];
        return;
    }
    struct support_random from = {seed}, random = support_derive(&from, run);
    struct damage damage;
    if (corpus_count && support_next(&random) & 1) {
        const struct input *base = &corpus[support_below(&random, corpus_count)];
        damage_decode(base->at, base->bytes, &damage);
        for (uint64_t i = 0, n = 1 + support_below(&random, 4); i < n; i++) damage_mutate(&damage, &random);
    } else {
        damage_random(&damage, &random);
    }
    input->bytes = damage_encode(&damage, input->at);
}

static int work(void *unused) {
    (void)unused;
    bed_begin();
    exercise_counts = progress->counts;
    for (; progress->run < corpus_count + runs; progress->run++) {
        make_input(progress->run, &progress->input);
        if (until_ns && progress->run >= corpus_count && support_now_ns() > until_ns) break;
        alarm(RUN_SECONDS_MAX);
        LLVMFuzzerTestOneInput(progress->input.at, progress->input.bytes);
        progress->counts = exercise_counts;
    }
    alarm(0);
    progress->over = 1;
    return 0;
}

static void keep(int said) {
    char name[128], text[2048];
    struct damage damage;
    snprintf(name, sizeof name, "hurt-%llu-%llu", (unsigned long long)seed, (unsigned long long)progress->run);
    damage_decode(progress->input.at, progress->input.bytes, &damage);
    damage_print(&damage, text, sizeof text);
    int kept = support_write_file(name, progress->input.at, progress->input.bytes);
    const char *how = said == -SIGALRM || said == SUPPORT_LATE ? "hung" : said < 0 ? strsignal(-said) : "ended";
    fprintf(stderr, "run %llu: %s (%d): %s\n  input: %s%s\n", (unsigned long long)progress->run, how, said, text, name,
            kept ? "" : " (could not be written)");
}

static int print_corpus(void) {
    for (size_t i = 0; i < corpus_count; i++) {
        char text[2048];
        struct damage damage;
        damage_decode(corpus[i].at, corpus[i].bytes, &damage);
        damage_print(&damage, text, sizeof text);
        printf("%s\n", text);
    }
    return 0;
}

static int usage(void) {
    fprintf(stderr, "usage: fuzz_file_run [--runs N] [--seconds S] [--seed S] [--print] [CORPUS...]\n");
    return 2;
}

int main(int argc, char **argv) {
    int print = 0;
    double seconds = 0;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--print") == 0)
            print = 1;
        else if (strcmp(argv[i], "--runs") == 0 && i + 1 < argc)
            runs = strtoull(argv[++i], NULL, 10);
        else if (strcmp(argv[i], "--seconds") == 0 && i + 1 < argc)
            seconds = strtod(argv[++i], NULL);
        else if (strcmp(argv[i], "--seed") == 0 && i + 1 < argc)
            seed = strtoull(argv[++i], NULL, 10);
        else if (argv[i][0] == '-')
            return usage();
        else
            add(argv[i]);
    }
    if (print) return print_corpus();
    if (corpus_count + runs == 0) return usage();
    progress = support_share(sizeof *progress);
    bed_directory();
    unsigned finds = 0;
    uint64_t start = support_now_ns();
    if (seconds > 0) until_ns = start + (uint64_t)(seconds * 1e9);
    while (!progress->over && finds < FINDS_MAX) {
        int said = support_run_child(work, NULL, 3600000);
        if (said == 0 && progress->over) break;
        finds++;
        keep(said);
        progress->run++;
    }
    double took = (double)(support_now_ns() - start) * 1e-9;
    const struct exercise_counts *c = &progress->counts;
    printf("seed %llu: %llu runs in %.1f s (%.0f a second), %llu opened, %llu refused, %llu repaired, %llu resized, %u found\n",
           (unsigned long long)seed, (unsigned long long)progress->run, took, (double)progress->run / took, (unsigned long long)c->opened,
           (unsigned long long)c->refused, (unsigned long long)c->repaired, (unsigned long long)c->resized, finds);
    support_end();
    free(corpus);
    return finds ? 1 : 0;
}
