/* SPDX-License-Identifier: MIT */
/* test_report.c: the JSON is read back by a library; figures for people. */
#include "report.h"

#include <criterion/criterion.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static json_t *written(void (*write)(struct json *json)) {
    char *text = NULL;
    size_t bytes = 0;
    struct json json = {.out = open_memstream(&text, &bytes)};
    json_error_t error;
    report_object(&json, NULL);
    write(&json);
    report_end(&json);
    fclose(json.out);
    json_t *root = json_loads(text, JSON_REJECT_DUPLICATES, &error);
    cr_assert_not_null(root, "%s in: %s", error.text, text);
    free(text);
    return root;
}

static void write_all(struct json *json) {
    report_u64(json, "large", UINT64_C(9007199254740993));
    report_real(json, "real", 0.1);
    report_real(json, "nan", NAN);
    report_real(json, "infinite", INFINITY);
    report_bool(json, "yes", true);
    report_text(json, "none", NULL);
    report_text(json, "nasty", "quote\" back\\slash\nline\ttab \x01 caf\xc3\xa9 \xf0\x9f\x90\x9f");
    report_text(json, "not utf-8", "a\xff" "b\xc3(\xed\xa0\x80" "c\xc0\x80");
    report_array(json, "empty");
    report_end(json);
    report_array(json, "list");
    report_u64(json, NULL, 1);
    report_object(json, NULL);
    report_end(json);
    report_end(json);
}

Test(report, json_is_read_back_as_it_was_meant) {
    json_t *root = written(write_all);
    cr_assert_eq(json_integer_value(json_object_get(root, "large")), INT64_C(9007199254740993));
    cr_assert_float_eq(json_real_value(json_object_get(root, "real")), 0.1, 1e-12);
    cr_assert(json_is_null(json_object_get(root, "nan")));
    cr_assert(json_is_null(json_object_get(root, "infinite")));
    cr_assert(json_is_null(json_object_get(root, "none")));
    cr_assert(json_is_true(json_object_get(root, "yes")));
    cr_assert_str_eq(json_string_value(json_object_get(root, "nasty")), "quote\" back\\slash\nline\ttab \x01 caf\xc3\xa9 \xf0\x9f\x90\x9f");
    const char *mended = json_string_value(json_object_get(root, "not utf-8"));
    cr_assert(mended && mended[0] == 'a' && strstr(mended, "\xef\xbf\xbd" "b") != NULL);
    cr_assert_eq(json_array_size(json_object_get(root, "empty")), 0);
    cr_assert_eq(json_array_size(json_object_get(root, "list")), 2);
    json_decref(root);
}

static void write_latency(struct json *json) {
    static struct histogram histogram;
    for (uint64_t i = 1; i <= 1000; i++)
        histogram_add(&histogram, i);
    report_latency(json, "get", &histogram);
}

Test(report, latencies_name_their_percentiles) {
    json_t *root = written(write_latency), *get = json_object_get(root, "get");
    static const char *const names[] = {"count", "p50", "p90", "p99", "p99.9", "p99.99", "max"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        cr_assert(json_is_integer(json_object_get(get, names[i])), "%s", names[i]);
    cr_assert_eq(json_integer_value(json_object_get(get, "max")), 1000);
    json_decref(root);
}

Test(report, figures_change_their_unit) {
    char text[FIGURE_BYTES];
    cr_assert_str_eq(figure_ns(text, 412), "412 ns");
    cr_assert_str_eq(figure_ns(text, 1240), "1.24 us");
    cr_assert_str_eq(figure_ns(text, 3100000), "3.10 ms");
    cr_assert_str_eq(figure_ns(text, 2500000000), "2.50 s");
    cr_assert_str_eq(figure_bytes(text, 512), "512 B");
    cr_assert_str_eq(figure_bytes(text, 64 << 20), "64.0 MiB");
    cr_assert_str_eq(figure_count(text, 950), "950");
    cr_assert_str_eq(figure_count(text, 1240000), "1.24 M");
}

Test(report, the_median_is_the_middle_or_between_the_two) {
    double odd[] = {9, 1, 5}, even[] = {4, 1, 3, 2};
    cr_assert_float_eq(median(odd, 3), 5, 0);
    cr_assert_float_eq(median(even, 4), 2.5, 0);
    cr_assert(isnan(median(odd, 0)));
}

Test(report, table_columns_line_up) {
    static struct table table;
    char *text = NULL;
    size_t bytes = 0;
    FILE *out = open_memstream(&text, &bytes);
    table_init(&table);
    table_cell(&table, "name"), table_cell(&table, "ns"), table_end_row(&table);
    table_cell(&table, "a"), table_cell(&table, "%d", 12345), table_end_row(&table);
    table_cell(&table, "longer"), table_end_row(&table);
    table_print(&table, out);
    fclose(out);
    cr_assert_str_eq(text, "name       ns\na       12345\nlonger\n");
    free(text);
}
