/* SPDX-License-Identifier: MIT */
#ifndef POND_RECOVER_H
#define POND_RECOVER_H

#include "shard.h"

/* Repairs a shard whose mutex a dead process held. The caller holds the mutex. May itself be killed and repeated. */
void pond_recover_shard(const struct pond_ref *ref);

/* Empties a shard as millpond_clear does. The caller holds the mutex. */
void pond_recover_clear(const struct pond_ref *ref);

/* Hooks of pond_map_open(): nobody else uses the file. */
void pond_recover_format(struct pond_map *map);

/* Every mutex that is not free is made anew, and its shard repaired: nobody can hold it. */
void pond_recover_alone(struct pond_map *map);

/* Mutexes made anew, reader slots given back; every shard as after a death. */
void pond_recover_locks(struct pond_map *map);

/* Everything gone, as after creation; statistics too. */
void pond_recover_cold(struct pond_map *map);

#endif
