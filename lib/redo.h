/* SPDX-License-Identifier: MIT */
#ifndef POND_REDO_H
#define POND_REDO_H

/* Several changes as one: the file's side of a transaction. For the holder of the mutexes of all shards concerned, unless it says
 * otherwise. The protocol stands at the top of redo.c. */

#include "atomic.h"
#include "shard.h"

#define POND_NO_SHARD UINT32_MAX

/* ORDER redo-done (reader): what a transaction changed is loaded after the load that finds it done. Pairs with (writer) in finish(). */
static inline uint64_t pond_redo_pending(const struct pond_ref *ref) { return pond_load_acquire_64(&ref->shard->redo.pending); }

/* The shard that has not yet done its part of the last transaction that this one was the coordinator of; POND_NO_SHARD when it is free to
 * be that of another one. The caller holds this shard's mutex alone. */
uint32_t pond_redo_straggler(const struct pond_ref *coordinator);

/* Empties the list of a shard; adds a change to it: an entry that no slot names yet, or one that shall go. */
void pond_redo_begin(const struct pond_ref *ref);
void pond_redo_add(const struct pond_ref *ref, enum pond_redo_kind kind, uint64_t hash, uint32_t where);
/* Nothing of the list happens: the new entries become holes. */
void pond_redo_drop(const struct pond_ref *ref);

/* All lists of these shards (in order, each with one change or more) as one change. The first of them is the coordinator, and free. */
void pond_redo_commit(struct pond_map *map, const uint32_t *shards, uint32_t count);

/* Does, or abandons, the part of a dead transaction. The caller holds this shard's mutex alone; may be killed and repeated. */
void pond_redo_recover(const struct pond_ref *ref);

#endif
