/* SPDX-License-Identifier: MIT */
/* test_args.c: numbers with units, and the table of options. */
#include "args.h"

#include <criterion/criterion.h>
#include <criterion/redirect.h>

Test(args, sizes_are_powers_of_1024_and_counts_of_1000) {
    uint64_t value;
    cr_assert(args_read_size("64M", &value) && value == UINT64_C(64) << 20);
    cr_assert(args_read_size("1.5K", &value) && value == 1536);
    cr_assert(args_read_size("4096", &value) && value == 4096);
    cr_assert(args_read_size("2g", &value) && value == UINT64_C(2) << 30);
    cr_assert(args_read_count("1M", &value) && value == 1000000);
    cr_assert(args_read_count("2.5k", &value) && value == 2500);
}

Test(args, times_have_units_and_m_is_a_minute) {
    uint64_t ns;
    cr_assert(args_read_time("50ms", &ns) && ns == 50000000);
    cr_assert(args_read_time("5", &ns) && ns == UINT64_C(5000000000));
    cr_assert(args_read_time("0.5s", &ns) && ns == 500000000);
    cr_assert(args_read_time("2m", &ns) && ns == UINT64_C(120000000000));
    cr_assert(args_read_time("1h", &ns) && ns == UINT64_C(3600000000000));
}

Test(args, what_is_no_number_is_refused) {
    static const char *const wrong[] = {"", "M", "-1", " 1", "+1", "1 M", "1MM", "0x10", "nan", "inf", "1e300", "99999999999G"};
    uint64_t value;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        cr_assert_not(args_read_size(wrong[i], &value), "size '%s'", wrong[i]);
        cr_assert_not(args_read_count(wrong[i], &value), "count '%s'", wrong[i]);
        cr_assert_not(args_read_time(wrong[i], &value), "time '%s'", wrong[i]);
    }
    cr_assert_not(args_read_time("5M", &value));
}

static struct {
    bool flag;
    uint64_t count;
    const char *text, *operand;
    struct args_json json;
} got;

static int parse(const char *first, const char *second, const char *third) {
    const struct args_option options[] = {{"flag", ARGS_FLAG, &got.flag, NULL, "", 0, 0},
                                          {"count", ARGS_COUNT, &got.count, "N", "", 2, 9},
                                          {"text", ARGS_TEXT, &got.text, "T", "", 0, 0},
                                          {"json", ARGS_JSON, &got.json, "[FILE]", "", 0, 0},
                                          {NULL, ARGS_FLAG, NULL, NULL, NULL, 0, 0}};
    const struct args_verb verb = {"verb", "A verb.", "OPERAND", NULL, options, "OPERAND", &got.operand};
    char *argv[] = {(char *)(uintptr_t)first, (char *)(uintptr_t)second, (char *)(uintptr_t)third, NULL};
    int argc = 0;
    while (argc < 3 && argv[argc])
        argc++;
    got.flag = false, got.count = 5, got.text = NULL, got.operand = NULL;
    got.json = (struct args_json){false, NULL};
    return args_parse(&verb, argc, argv);
}

Test(args, options_take_their_value_glued_or_apart, .init = cr_redirect_stderr) {
    cr_assert_eq(parse("--count=7", "x", NULL), ARGS_GO);
    cr_assert_eq(got.count, 7);
    cr_assert_eq(parse("--count", "3", "x"), ARGS_GO);
    cr_assert_eq(got.count, 3);
    cr_assert_str_eq(got.operand, "x");
    cr_assert_eq(parse("--flag", "x", NULL), ARGS_GO);
    cr_assert(got.flag);
}

Test(args, wrong_words_are_wrong_usage, .init = cr_redirect_stderr) {
    cr_assert_eq(parse("--nothing", "x", NULL), ARGS_WRONG);
    cr_assert_eq(parse("--count", "1", "x"), ARGS_WRONG);
    cr_assert_eq(parse("--count", "10", "x"), ARGS_WRONG);
    cr_assert_eq(parse("--count", "two", "x"), ARGS_WRONG);
    cr_assert_eq(parse("x", "--count", NULL), ARGS_WRONG);
    cr_assert_eq(parse("--flag=1", "x", NULL), ARGS_WRONG);
    cr_assert_eq(parse("x", "y", NULL), ARGS_WRONG);
    cr_assert_eq(parse("-c", "x", NULL), ARGS_WRONG);
    cr_assert_eq(parse(NULL, NULL, NULL), ARGS_WRONG);
}

Test(args, a_single_dash_and_words_behind_two_dashes_are_operands, .init = cr_redirect_stderr) {
    cr_assert_eq(parse("-", NULL, NULL), ARGS_GO);
    cr_assert_str_eq(got.operand, "-");
    cr_assert_eq(parse("--", "--flag", NULL), ARGS_GO);
    cr_assert_str_eq(got.operand, "--flag");
    cr_assert_not(got.flag);
}

/* `replay --json trace.csv` must not write into the trace. */
Test(args, json_gives_its_file_back_when_the_operand_would_be_missing, .init = cr_redirect_stderr) {
    cr_assert_eq(parse("--json", "x", NULL), ARGS_GO);
    cr_assert_str_eq(got.operand, "x");
    cr_assert(got.json.wanted);
    cr_assert_null(got.json.path);
    cr_assert_eq(parse("x", "--json", "out"), ARGS_GO);
    cr_assert_str_eq(got.json.path, "out");
    cr_assert_eq(parse("x", "--json", "--flag"), ARGS_GO);
    cr_assert_null(got.json.path);
}
