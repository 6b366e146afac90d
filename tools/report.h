/* SPDX-License-Identifier: MIT */
/* What the command says when something is wrong, always one line on standard error, and how it ends. */
#ifndef MILLPOND_TOOLS_REPORT_H
#define MILLPOND_TOOLS_REPORT_H

#include "verbs.h"

/* "millpond: VERB: sentence; see 'millpond VERB --help'". verb may be NULL. */
enum status report_usage(const struct verb *verb, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* "millpond: SUBJECT: sentence". The sentence says what is wrong and, after a semicolon, what to do. */
enum status report_error(const char *subject, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* A result of the library on an open pond: ordinary outcomes become STATUS_NO in silence, errors a line and STATUS_ERROR. */
enum status report_result(const char *file, int result);

/* What to do about an error of the library; never NULL. */
const char *report_advice(int result);

/* An error of millpond_open or millpond_check; errmsg begins with the file's name. */
enum status report_open(const char *file, int result, const char *errmsg);

/* A write of standard output failed with this errno: report_finish will say so. For large writes, whose error stdio forgets. */
void report_output(int error);

/* Writes out what was printed. A reader that went away (a closed pipe) is no error; anything else is. */
enum status report_finish(enum status status);

/* From now on a truncated file ends the command with a sentence and STATUS_ERROR in place of a bare SIGBUS. `restore`, which may be
 * NULL, is called first: it gives the terminal back. */
void report_guard(const char *file, void (*restore)(void));

#endif
