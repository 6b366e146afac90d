/* SPDX-License-Identifier: MIT */
/* report.h: what a verb found, as a table for people and as JSON for programs. */
#ifndef BENCH_REPORT_H
#define BENCH_REPORT_H

#include "args.h"
#include "histogram.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* ---- JSON, written as it comes ---- */

enum { JSON_DEPTH_MAX = 16 };

struct json {
    FILE *out;              /* NULL: nothing is wanted, every call is a no-op */
    const char *path;       /* NULL: standard output */
    unsigned depth;
    char closer[JSON_DEPTH_MAX];
    bool some[JSON_DEPTH_MAX]; /* this level has a member already */
};

/* Opens the file before a long run rather than after it, so that a wrong path costs nothing. Fails with a sentence. */
void report_open(struct json *json, const struct args_json *wish);
/* Ends the document; fails with a sentence when it could not be written whole. */
void report_close(struct json *json);

/* `key` is NULL inside an array. */
void report_object(struct json *json, const char *key);
void report_array(struct json *json, const char *key);
void report_end(struct json *json);
void report_u64(struct json *json, const char *key, uint64_t value);
void report_real(struct json *json, const char *key, double value); /* NaN and infinities become null */
void report_text(struct json *json, const char *key, const char *value); /* NULL becomes null; bytes that are no UTF-8 become U+FFFD */
void report_bool(struct json *json, const char *key, bool value);
/* An object of percentiles: count, p50, p90, p99, p99.9, p99.99, max; nanoseconds. */
void report_latency(struct json *json, const char *key, const struct histogram *histogram);
/* Begins the document, whose figures are there by now: what was run, by which version, on which machine. Nothing was written before, so
 * that a failure leaves nothing half said. */
void report_preamble(struct json *json, const char *verb);

/* ---- tables ---- */

enum { TABLE_COLUMNS_MAX = 16, TABLE_ROWS_MAX = 64, TABLE_CELL_BYTES = 96 };

struct table {
    unsigned columns, rows, cells_in_row;
    char cells[TABLE_ROWS_MAX][TABLE_COLUMNS_MAX][TABLE_CELL_BYTES];
};

/* The first column is set flush left, the others flush right. */
void table_init(struct table *table);
void table_cell(struct table *table, const char *format, ...) __attribute__((format(printf, 2, 3)));
void table_end_row(struct table *table);
void table_print(const struct table *table, FILE *out);

/* ---- figures for people ---- */

enum { FIGURE_BYTES = 32 };
const char *figure_ns(char *text, uint64_t ns);       /* 412 ns, 1.24 us, 3.10 ms */
const char *figure_bytes(char *text, uint64_t bytes); /* 512 B, 64.0 MiB */
const char *figure_count(char *text, double count);   /* 950, 12.4 k, 1.24 M */

/* The middle of some numbers (the mean of the two middle ones); sorts them. NaN for none. */
double median(double *values, size_t count);

#endif
