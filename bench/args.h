/* SPDX-License-Identifier: MIT */
/* args.h: options of a verb as one table, from which both parsing and help come.
 *
 * Own parsing rather than getopt_long because `--json` and `--json FILE` are both wanted: the word after --json is its file unless it
 * begins with a dash, or unless the verb's operand would then be missing (`replay --json trace.csv` never overwrites the trace). */
#ifndef BENCH_ARGS_H
#define BENCH_ARGS_H

#include <stdbool.h>
#include <stdint.h>

enum args_kind {
    ARGS_FLAG,    /* bool */
    ARGS_COUNT,   /* uint64_t; K M G are thousands, millions, milliards */
    ARGS_SIZE,    /* uint64_t; K M G are powers of 1024 */
    ARGS_TIME,    /* uint64_t nanoseconds; ms s m h, seconds without a unit */
    ARGS_TEXT,    /* const char * */
    ARGS_JSON     /* struct args_json; the file is optional */
};

struct args_json {
    bool wanted;
    const char *path; /* NULL: standard output */
};

struct args_option {
    const char *name;  /* without the dashes */
    enum args_kind kind;
    void *to;          /* holds the default before parsing, the answer after it */
    const char *shape; /* what the help writes for the value */
    const char *help;
    uint64_t least, most; /* bounds of a number; most 0 for none */
};

struct args_verb {
    const char *name;
    const char *summary;               /* one line */
    const char *example;               /* what follows "millpond-bench NAME" in the help's first line */
    const char *notes;                 /* paragraphs after the options, or NULL */
    const struct args_option *options; /* ends with a name of NULL */
    const char *operand;               /* name of the one operand, or NULL */
    const char **operand_to;
};

enum { ARGS_GO = -1, ARGS_DONE = 0, ARGS_WRONG = 2 };

/* Parses argv[0..argc-1], the words after the verb. Answers ARGS_GO, or the status to end with: ARGS_DONE after --help, ARGS_WRONG
 * after a sentence about what is wrong. */
int args_parse(const struct args_verb *verb, int argc, char **argv);
/* Says on standard error what is wrong with the call of a verb; answers ARGS_WRONG. */
int args_wrong(const char *verb, const char *format, ...) __attribute__((format(printf, 2, 3)));

bool args_read_count(const char *text, uint64_t *count);
bool args_read_size(const char *text, uint64_t *bytes);
bool args_read_time(const char *text, uint64_t *ns);

#endif
