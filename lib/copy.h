/* SPDX-License-Identifier: MIT */
#ifndef POND_COPY_H
#define POND_COPY_H

/* Everything that lives in one file, into another one. */

#include "mapping.h"

/* The caller holds every mutex of `from`; nobody else knows `to`, which is new. What does not fit is left out, or leaves again. 0 or
 * ENOMEM. */
int pond_copy_all(struct pond_map *from, struct pond_map *to);

#endif
