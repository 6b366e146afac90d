/* SPDX-License-Identifier: MIT */
#ifndef MILLPOND_TESTS_REBOOT_H
#define MILLPOND_TESTS_REBOOT_H

/* What a process finds that opens a file of another boot. */

#include "ledger.h"

struct finding {
    uint64_t items, warm, cold;                    /* by the statistics */
    uint64_t right, stale, missing, torn, damages; /* when answers are counted */
};

/* Opens the file in a child, looks at every key, and writes: everything must answer in bounded time. Every key must have its fact if it
 * opens warm, and be absent if it opens cold; `judge`: answers are counted instead. */
struct finding reboot_open(const char *path, const struct ledger *facts, bool judge);

/* Four processes open and write at once. */
void reboot_open_together(const char *path);

/* The parts of the boot test. */
struct reboot_test {
    struct ledger *ledger;
    struct support_random dice;
    bool thorough;
};
void reboot_cuts(struct reboot_test *test);

#endif
