/* SPDX-License-Identifier: MIT */
#ifndef POND_CHECK_H
#define POND_CHECK_H

#include "shard.h"

/* Walks everything in a shard whose mutex the caller holds (or which nobody else can use), and mends it if asked to. Adds to the sums.
 * Returns 0, or ENOMEM. */
int pond_check_shard(const struct pond_ref *ref, unsigned flags, void (*report)(void *arg, const char *sentence), void *arg,
                     struct millpond_check *sums);

#endif
