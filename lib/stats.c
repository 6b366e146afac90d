/* SPDX-License-Identifier: MIT */
/* Statistics: summed when they are asked for, from the shards' counters and the threads' reader slots. Nothing is locked. */

#include "stats.h"

#include "atomic.h"
#include "reader.h"
#include "shard.h"

#include <string.h>

static uint64_t larger(uint64_t a, uint64_t b) { return a > b ? a : b; }

static void add_shard(struct pond_map *map, uint32_t number, struct millpond_stats *s) {
    struct pond_ref ref = pond_ref_of(map, number);
    const struct pond_shard_counters *c = &ref.shard->counters;
    s->segments += ref.g->segment_count;
    s->segments_free += pond_load_32(&ref.shard->free_count);
    s->index_slots += (uint64_t)ref.g->bucket_count * POND_BUCKET_SLOTS;
    s->items += pond_load_64(&ref.shard->items);
    s->bytes += pond_load_64(&ref.shard->bytes);
#define SUM(name) s->name += pond_load_64(&c->name)
    SUM(sets), SUM(deletes), SUM(evictions), SUM(index_evictions), SUM(expirations), SUM(ghost_hits), SUM(hole_hits), SUM(relinks);
    SUM(flights), SUM(flight_waits), SUM(flight_takeovers), SUM(flights_revoked), SUM(flights_full), SUM(stale_served);
    SUM(invalidations), SUM(invalidated);
    SUM(bytes_set), SUM(bytes_copied), SUM(lock_waits), SUM(lock_timeouts), SUM(recoveries), SUM(stalls), SUM(steps);
#undef SUM
    s->steps_max = larger(s->steps_max, pond_load_64(&c->steps_max));
    s->step_bytes_max = larger(s->step_bytes_max, pond_load_64(&c->step_bytes_max));
}

void pond_stats(struct pond_map *map, int shard, struct millpond_stats *s) {
    const struct pond_geometry *g = &map->geometry;
    memset(s, 0, sizeof *s);
    s->file_bytes = g->file_bytes;
    s->shards = g->shard_count;
    s->segment_bytes = g->segment_bytes;
    s->max_item_bytes = g->max_item_bytes;
    s->reader_slots = g->reader_count;
    s->groups = (uint64_t)g->group_mask + 1;
    if (shard >= 0) {
        add_shard(map, (uint32_t)shard, s);
        return;
    }
    for (uint32_t i = 0; i < g->shard_count; i++) add_shard(map, i, s);
    pond_reader_sum(map, &s->hits, &s->misses, &s->retries, &s->gave_up, &s->readers);
    s->warm_starts = pond_load_64(&map->living->warm_starts);
    s->cold_starts = pond_load_64(&map->living->cold_starts);
}
