/* SPDX-License-Identifier: MIT */
#ifndef POND_RETIRE_H
#define POND_RETIRE_H

/* Entries that leave: out of the index, and their bytes into the lists of holes. For the holder of the shard's mutex. */

#include "index.h"

/* An entry that no slot names any more: it, and the chunks of a root, become holes. */
void pond_retire_entry(const struct pond_ref *ref, uint32_t where);

/* Makes a hole of one entry, leaving the chunks that it may name. */
void pond_retire_one(const struct pond_ref *ref, uint32_t where);

/* Takes an entry out of index and memory. */
void pond_retire_remove(const struct pond_ref *ref, const struct pond_spot *spot);

#endif
