/* SPDX-License-Identifier: MIT */
#ifndef MILLPOND_TESTS_BESIDE_H
#define MILLPOND_TESTS_BESIDE_H

/* A reader that is stopped behind any instruction of a get while others write, die and repair beside it. */

#include "support.h"

void beside_all(bool thorough, struct support_random *dice, unsigned *drifted);

#endif
