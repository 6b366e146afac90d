/* SPDX-License-Identifier: MIT */
#ifndef POND_RELOCATE_H
#define POND_RELOCATE_H

/* Entries that go to another place: version, value and chunks stay. For the holder of the shard's mutex. */

#include "entry.h"
#include "index.h"

/* Writes an entry anew somewhere in `queue`, with another expiry word if `expiry` is not 0, and swings its slot to it. Returns the new
 * place, or 0 when there was no room (nothing changed). The old bytes are the caller's to retire (but not its chunks). */
uint32_t pond_relocate_entry(const struct pond_ref *ref, const struct pond_spot *spot, uint32_t queue, uint64_t expiry, uint64_t now_ms);

/* Writes the chunk at `where` (d: what it says), the number-th of the value whose root `spot` names, anew in `queue`, and its root after
 * it, with the new place in its list; the old root becomes a hole, the old chunk is the caller's. Returns the units that were copied,
 * or 0 when there was no room: nothing changed. */
uint32_t pond_relocate_chunk(const struct pond_ref *ref, const struct pond_spot *spot, uint32_t where, const struct pond_decoded *d,
                             uint32_t number, uint32_t queue, uint64_t now_ms);

#endif
