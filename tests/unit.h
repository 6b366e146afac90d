/* SPDX-License-Identifier: MIT */
#ifndef MILLPOND_TESTS_UNIT_H
#define MILLPOND_TESTS_UNIT_H

/* What every Criterion program includes. Criterion runs each test in a new process that it starts from a runner; the runner makes the
 * directory of the program (the tests find it through the environment) and removes it, also when a test crashed or was late.
 *
 * Children of a test never use cr_assert: a child in which an assertion fails confuses the runner. They use REQUIRE and their exit
 * status. In the body of a test REQUIRE is fine: the test fails with the printed line. */

#include "support.h"

#include <criterion/criterion.h>
#include <criterion/hooks.h>
#include <stdio.h>

/* Criterion is silent about skipped tests; this says which and why. */
#define SKIP_TEST(reason)                                                                                                                  \
    do {                                                                                                                                   \
        fprintf(stderr, "skipped: %s: %s\n", __func__, reason);                                                                            \
        cr_skip(reason);                                                                                                                   \
    } while (0)

ReportHook(PRE_ALL)(struct criterion_test_set *tests) {
    (void)tests;
    support_begin();
}

ReportHook(POST_ALL)(struct criterion_global_stats *stats) {
    (void)stats;
    support_end();
}

#endif
