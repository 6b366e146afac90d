/* SPDX-License-Identifier: MIT */
#ifndef MILLPOND_TESTS_REPLACE_H
#define MILLPOND_TESTS_REPLACE_H

/* Killed while a file is put in the place of another one. */

#include "ledger.h"

/* Kills a resizer at every named place that it passes, and whoever finishes its work at every one that that passes; survivors look each
 * time. `ever` receives what was passed. Returns the number of kills. */
unsigned replace_sweep(struct ledger *ledger, struct crash_passed *passed, struct crash_passed *ever, bool thorough);

#endif
