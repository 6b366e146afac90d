/* SPDX-License-Identifier: MIT */
#ifndef POND_SHARD_H
#define POND_SHARD_H

/* One shard of a mapping, as the structures (index, segments, ghosts) see it: where its parts are in this process. */

#include "mapping.h"

struct pond_ref {
    const struct pond_geometry *g;
    unsigned char *base;
    struct pond_shard *shard;
    struct pond_segment *table;
    struct pond_bucket *buckets;
    struct pond_ghost_bucket *ghosts;
    struct pond_map *map;
    uint32_t number;
};

static inline struct pond_ref pond_ref_of(struct pond_map *map, uint32_t number) {
    const struct pond_geometry *g = &map->geometry;
    unsigned char *base = pond_shard_base(map, number);
    struct pond_ref ref = {g,
                           base,
                           (struct pond_shard *)(void *)base,
                           (struct pond_segment *)(void *)(base + g->table_off),
                           (struct pond_bucket *)(void *)(base + (uint64_t)g->buckets_off_units * POND_UNIT_BYTES),
                           (struct pond_ghost_bucket *)(void *)(base + (uint64_t)g->ghosts_off_units * POND_UNIT_BYTES),
                           map,
                           number};
    return ref;
}

static inline unsigned char *pond_ref_at(const struct pond_ref *ref, uint32_t where) {
    return ref->base + (uint64_t)where * POND_UNIT_BYTES;
}

/* The one check of an offset that came from the mapping: does it lie in a segment? */
static inline int pond_where_valid(const struct pond_geometry *g, uint32_t where) { return where >= g->first_unit && where < g->end_unit; }

#endif
