/* SPDX-License-Identifier: MIT */
/* program.h: runs millpond-bench as a user would, bounded in time, and keeps what it prints. */
#ifndef BENCH_TESTS_PROGRAM_H
#define BENCH_TESTS_PROGRAM_H

#include <jansson.h>
#include <stdbool.h>
#include <sys/types.h>

enum { PROGRAM_WORDS_MAX = 32 };

struct program {
    pid_t pid;
    int status;       /* the exit status, or -1 for a signal or a timeout */
    char *out, *err;  /* what it wrote; freed by program_free */
};

/* A folder of the test's own, made by program_begin and removed by program_end. */
extern char program_folder[96];
void program_begin(void);
void program_end(void);

/* Starts it with these words, up to NULL. `input` is a file for standard input, or NULL for nothing. */
void program_start(struct program *program, const char *input, const char *const *words);
/* Waits at most `seconds`, then kills it. */
void program_wait(struct program *program, unsigned seconds);
void program_free(struct program *program);
/* Start and wait, a minute at most. The words are const char *. */
void program_run(struct program *program, const char *input, const char *const *words);
#define PROGRAM_RUN(program, ...) program_run(program, NULL, (const char *const[]){__VA_ARGS__, NULL})

/* A child of a running program, the nth; 0 when it has none. */
pid_t program_child(const struct program *program, unsigned nth);
/* Standard output as JSON; fails the test when it is none. */
json_t *program_json(const struct program *program);
/* Writes a file below program_folder. */
void program_put(const char *name, const void *bytes, size_t count);
/* The path of a file below program_folder; good until the fourth call after this one. */
const char *program_path(const char *name);

#endif
