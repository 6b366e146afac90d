/* SPDX-License-Identifier: MIT */
/* What the command says when something is wrong, always one line on standard error, and how it ends. */
#define _GNU_SOURCE
#include "report.h"

#include "millpond.h"
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A file's name may hold anything; a control character in it must not break the line or talk to the terminal. */
static void put_clean(FILE *out, const char *text) {
    for (const char *p = text; *p != 0; p++) {
        unsigned char c = (unsigned char)*p;
        if (c < 0x20 || c == 0x7f)
            fprintf(out, "\\x%02x", c);
        else
            putc(c, out);
    }
}

/* "millpond: SUBJECT: sentence"; subject may be NULL. */
static void put_line(FILE *out, const char *subject, const char *sentence) {
    fputs("millpond: ", out);
    if (subject != NULL) {
        put_clean(out, subject);
        fputs(": ", out);
    }
    put_clean(out, sentence);
    putc('\n', out);
}

/* The sentence from malloc, NULL when there is no memory for it. */
static char *compose(const char *format, va_list arguments) {
    char *text;
    return vasprintf(&text, format, arguments) < 0 ? NULL : text;
}

enum status report_usage(const struct verb *verb, const char *format, ...) {
    va_list arguments;
    char *line = NULL;
    va_start(arguments, format);
    char *sentence = compose(format, arguments);
    va_end(arguments);
    const char *said = sentence != NULL ? sentence : "wrong usage";
    if (asprintf(&line, "%s; see 'millpond %s%s--help'", said, verb != NULL ? verb->name : "", verb != NULL ? " " : "") < 0) line = NULL;
    put_line(stderr, verb != NULL ? verb->name : NULL, line != NULL ? line : said);
    free(line);
    free(sentence);
    return STATUS_USAGE;
}

enum status report_error(const char *subject, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    char *sentence = compose(format, arguments);
    va_end(arguments);
    put_line(stderr, subject, sentence != NULL ? sentence : "out of memory; end other programs");
    free(sentence);
    return STATUS_ERROR;
}

const char *report_advice(int result) {
    switch (result) {
    case MILLPOND_ERR_READ_ONLY: return "run as a user who may write it";
    case MILLPOND_ERR_TOO_LARGE: return "create the pond with a larger --max-item, or store less ('millpond stats' names the limit)";
    case MILLPOND_ERR_TXN_TOO_LARGE: return "split it, or create a larger pond";
    case MILLPOND_ERR_BUSY: return "look for a stopped process that has it open, and try again";
    case MILLPOND_ERR_FULL: return "end programs that hold views for long, or create a larger pond";
    case MILLPOND_ERR_NOT_A_NUMBER: return "delete the key or set it to a number";
    case MILLPOND_ERR_OVERFLOW: return "set the key anew";
    case MILLPOND_ERR_NO_MEMORY: return "end other programs, or raise the limit (ulimit -v)";
    case MILLPOND_ERR_CORRUPT: return "run 'millpond check --repair', or create it anew";
    case MILLPOND_ERR_ARGUMENT: return "give a key of 1 to 65535 bytes and a time of at most 100 years";
    default: return "try again, and run 'millpond check' if it stays";
    }
}

enum status report_result(const char *file, int result) {
    if (result == MILLPOND_OK) return STATUS_DONE;
    if (result > 0) return STATUS_NO;
    if (result == MILLPOND_ERR_SYSTEM && errno != 0)
        return report_error(file, "%s (%s); %s", millpond_strerror(result), strerror(errno), report_advice(result));
    return report_error(file, "%s; %s", millpond_strerror(result), report_advice(result));
}

enum status report_open(const char *file, int result, const char *errmsg) {
    if (errmsg[0] == 0) return report_result(file, result);
    put_line(stderr, NULL, errmsg);
    return STATUS_ERROR;
}

static int output_failed; /* why standard output took no more, when that was seen at once */

void report_output(int error) { output_failed = error; }

enum status report_finish(enum status status) {
    int failed = output_failed;
    errno = 0;
    if (failed == 0 && (fflush(stdout) != 0 || ferror(stdout))) failed = errno != 0 ? errno : EIO;
    /* Some file systems say only at the last close that the bytes did not arrive. */
    if (failed == 0 && close(STDOUT_FILENO) != 0 && errno != EBADF) failed = errno;
    if (failed == 0 || failed == EPIPE) return status;
    report_error("standard output", "%s; nothing or not all of it was written", strerror(failed));
    return STATUS_ERROR;
}

/* ---- SIGBUS ---- */

static char guard_line[4096 + 256];
static size_t guard_line_bytes;
static void (*guard_restore)(void);

/* The signal comes from our own access to the mapping, never from inside the terminal's library, which is therefore whole here. The line
 * was made beforehand: nothing else is safe in a handler. */
static void on_bus_error(int number) {
    (void)number;
    if (guard_restore != NULL) guard_restore();
    ssize_t written = write(STDERR_FILENO, guard_line, guard_line_bytes);
    (void)written;
    _exit(STATUS_ERROR);
}

void report_guard(const char *file, void (*restore)(void)) {
    static const char sentence[] = "it was truncated by another program while in use, or its disk failed; remove it and create it anew";
    struct sigaction action = {0};
    guard_restore = restore;
    FILE *out = fmemopen(guard_line, sizeof guard_line, "w");
    if (out == NULL) return;
    put_line(out, file, sentence);
    long end = ftell(out);
    fclose(out);
    guard_line_bytes = end < 0 ? 0 : (size_t)end;
    action.sa_handler = on_bus_error;
    action.sa_flags = (int)SA_RESETHAND;
    sigemptyset(&action.sa_mask);
    sigaction(SIGBUS, &action, NULL);
}
