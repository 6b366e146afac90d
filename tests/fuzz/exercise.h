/* SPDX-License-Identifier: MIT */
#ifndef MILLPOND_FUZZ_EXERCISE_H
#define MILLPOND_FUZZ_EXERCISE_H

#include "damage.h"

/* Does everything that the public API can do with a damaged file. Ends the process when an answer is none that the function may give, when
 * a repair leaves something to repair, or when a repaired file does not work. */
void exercise(const struct bed *bed, const struct damage *damage);

/* Counts of the runs so far, for a summary. */
struct exercise_counts {
    uint64_t refused, opened, damaged, repaired, resized;
};
extern struct exercise_counts exercise_counts;

#endif
