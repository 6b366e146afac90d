/* SPDX-License-Identifier: MIT */
#ifndef POND_COMMIT_H
#define POND_COMMIT_H

#include "txn.h"

/* Makes the changes of these items as one, if what was read is still so. Sorts the items. MILLPOND_OK; CHANGED; ERR_FULL; ERR_NO_MEMORY;
 * the results of pond_write_enter_some(). Anything but OK has changed nothing. */
int pond_commit(struct pond_map *map, uint32_t timeout_ms, struct pond_txn_item *items, uint32_t count);

#endif
