/* SPDX-License-Identifier: MIT */
/* report.c: JSON and tables.
 *
 * The JSON is only ever written, and piece by piece as figures come, so a small emitter does; reading JSON, which the tests do, is
 * left to a library. */
#include "report.h"

#include "host.h"
#include <millpond.h>

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

void report_open(struct json *json, const struct args_json *wish) {
    memset(json, 0, sizeof *json);
    if (!wish->wanted)
        return;
    json->path = wish->path;
    json->out = wish->path ? fopen(wish->path, "we") : stdout;
    if (!json->out)
        host_fail("%s: cannot be written: %s; choose another file for --json", wish->path, strerror(errno));
}

void report_close(struct json *json) {
    if (!json->out)
        return;
    report_end(json);
    fputc('\n', json->out);
    bool bad = fflush(json->out) != 0 || ferror(json->out) != 0;
    if (json->path)
        bad |= fclose(json->out) != 0;
    if (bad)
        host_fail("%s: could not be written whole: %s; free some space", json->path ? json->path : "standard output", strerror(errno));
    json->out = NULL;
}

/* Bytes of the UTF-8 sequence at `text`, 0 when there is none. Overlong forms and surrogates are not UTF-8. */
static unsigned utf8_bytes(const unsigned char *text) {
    unsigned more = text[0] < 0x80 ? 0 : text[0] >= 0xc2 && text[0] < 0xe0 ? 1 : (text[0] & 0xf0) == 0xe0 ? 2
                  : text[0] >= 0xf0 && text[0] < 0xf5 ? 3 : 4;
    if (more == 4)
        return 0;
    for (unsigned i = 1; i <= more; i++) {
        if ((text[i] & 0xc0) != 0x80)
            return 0;
    }
    if ((text[0] == 0xe0 && text[1] < 0xa0) || (text[0] == 0xed && text[1] >= 0xa0) || (text[0] == 0xf0 && text[1] < 0x90) ||
        (text[0] == 0xf4 && text[1] >= 0x90))
        return 0;
    return more + 1;
}

static void put_quoted(FILE *out, const char *value) {
    const unsigned char *at = (const unsigned char *)value;
    fputc('"', out);
    while (*at) {
        unsigned bytes = utf8_bytes(at);
        if (*at == '"' || *at == '\\')
            fprintf(out, "\\%c", *at);
        else if (*at < 0x20)
            fprintf(out, "\\u%04x", *at);
        else if (bytes == 0)
            fputs("\\ufffd", out);
        else
            fwrite(at, 1, bytes, out);
        at += bytes > 0 ? bytes : 1;
    }
    fputc('"', out);
}

static void put_key(struct json *json, const char *key) {
    if (json->depth > 0) {
        if (json->some[json->depth - 1])
            fputc(',', json->out);
        json->some[json->depth - 1] = true;
        fprintf(json->out, "\n%*s", (int)json->depth * 2, "");
    }
    if (key) {
        put_quoted(json->out, key);
        fputs(": ", json->out);
    }
}

static void open_level(struct json *json, const char *key, char opener, char closer) {
    if (!json->out)
        return;
    put_key(json, key);
    if (json->depth == JSON_DEPTH_MAX)
        host_fail("report: JSON deeper than %d levels", JSON_DEPTH_MAX);
    fputc(opener, json->out);
    json->closer[json->depth] = closer;
    json->some[json->depth] = false;
    json->depth++;
}

void report_object(struct json *json, const char *key) {
    open_level(json, key, '{', '}');
}

void report_array(struct json *json, const char *key) {
    open_level(json, key, '[', ']');
}

void report_end(struct json *json) {
    if (!json->out)
        return;
    json->depth--;
    if (json->some[json->depth])
        fprintf(json->out, "\n%*s", (int)json->depth * 2, "");
    fputc(json->closer[json->depth], json->out);
}

void report_u64(struct json *json, const char *key, uint64_t value) {
    if (!json->out)
        return;
    put_key(json, key);
    fprintf(json->out, "%llu", (unsigned long long)value);
}

void report_real(struct json *json, const char *key, double value) {
    if (!json->out)
        return;
    put_key(json, key);
    if (isfinite(value))
        fprintf(json->out, "%.10g", value);
    else
        fputs("null", json->out);
}

void report_text(struct json *json, const char *key, const char *value) {
    if (!json->out)
        return;
    put_key(json, key);
    if (value)
        put_quoted(json->out, value);
    else
        fputs("null", json->out);
}

void report_bool(struct json *json, const char *key, bool value) {
    if (!json->out)
        return;
    put_key(json, key);
    fputs(value ? "true" : "false", json->out);
}

void report_latency(struct json *json, const char *key, const struct histogram *histogram) {
    report_object(json, key);
    report_u64(json, "count", histogram->count);
    report_u64(json, "p50", histogram_percentile(histogram, 0.5));
    report_u64(json, "p90", histogram_percentile(histogram, 0.9));
    report_u64(json, "p99", histogram_percentile(histogram, 0.99));
    report_u64(json, "p99.9", histogram_percentile(histogram, 0.999));
    report_u64(json, "p99.99", histogram_percentile(histogram, 0.9999));
    report_u64(json, "max", histogram->max);
    report_end(json);
}

void report_preamble(struct json *json, const char *verb) {
    char machine[512];
    report_object(json, NULL);
    host_describe(machine, sizeof machine);
    report_text(json, "verb", verb);
    report_text(json, "version", millpond_version());
    report_text(json, "machine", machine);
}

void table_init(struct table *table) {
    memset(table, 0, sizeof *table);
}

void table_cell(struct table *table, const char *format, ...) {
    va_list list;
    if (table->rows == TABLE_ROWS_MAX || table->cells_in_row == TABLE_COLUMNS_MAX)
        host_fail("report: a table of more than %d rows or %d columns", TABLE_ROWS_MAX, TABLE_COLUMNS_MAX);
    va_start(list, format);
    vsnprintf(table->cells[table->rows][table->cells_in_row], TABLE_CELL_BYTES, format, list);
    va_end(list);
    if (++table->cells_in_row > table->columns)
        table->columns = table->cells_in_row;
}

void table_end_row(struct table *table) {
    table->rows++;
    table->cells_in_row = 0;
}

void table_print(const struct table *table, FILE *out) {
    int widths[TABLE_COLUMNS_MAX] = {0};
    for (unsigned row = 0; row < table->rows; row++) {
        for (unsigned column = 0; column < table->columns; column++) {
            int width = (int)strlen(table->cells[row][column]);
            if (width > widths[column])
                widths[column] = width;
        }
    }
    for (unsigned row = 0; row < table->rows; row++) {
        unsigned last = table->columns;
        while (last > 0 && table->cells[row][last - 1][0] == 0)
            last--;
        for (unsigned column = 0; column < last; column++) {
            const char *gap = column > 0 ? "  " : "";
            fprintf(out, "%s%*s", gap, column > 0 ? widths[column] : -widths[column], table->cells[row][column]);
        }
        fputc('\n', out);
    }
}

const char *figure_ns(char *text, uint64_t ns) {
    if (ns < 1000)
        snprintf(text, FIGURE_BYTES, "%llu ns", (unsigned long long)ns);
    else if (ns < 1000000)
        snprintf(text, FIGURE_BYTES, "%.2f us", (double)ns / 1e3);
    else if (ns < 1000000000)
        snprintf(text, FIGURE_BYTES, "%.2f ms", (double)ns / 1e6);
    else
        snprintf(text, FIGURE_BYTES, "%.2f s", (double)ns / 1e9);
    return text;
}

const char *figure_bytes(char *text, uint64_t bytes) {
    static const char *const units[] = {"KiB", "MiB", "GiB", "TiB"};
    double value = (double)bytes / 1024;
    unsigned unit = 0;
    if (bytes < 1024) {
        snprintf(text, FIGURE_BYTES, "%llu B", (unsigned long long)bytes);
        return text;
    }
    for (; value >= 1024 && unit < 3; unit++)
        value /= 1024;
    snprintf(text, FIGURE_BYTES, "%.1f %s", value, units[unit]);
    return text;
}

const char *figure_count(char *text, double count) {
    if (count < 1000)
        snprintf(text, FIGURE_BYTES, "%.0f", count);
    else if (count < 1e6)
        snprintf(text, FIGURE_BYTES, "%.1f k", count / 1e3);
    else if (count < 1e9)
        snprintf(text, FIGURE_BYTES, "%.2f M", count / 1e6);
    else
        snprintf(text, FIGURE_BYTES, "%.2f G", count / 1e9);
    return text;
}

static int compare_reals(const void *left, const void *right) {
    double a = *(const double *)left, b = *(const double *)right;
    return (a > b) - (a < b);
}

double median(double *values, size_t count) {
    if (count == 0)
        return NAN;
    qsort(values, count, sizeof *values, compare_reals);
    return count % 2 > 0 ? values[count / 2] : (values[count / 2 - 1] + values[count / 2]) / 2;
}
