/* SPDX-License-Identifier: MIT */
/* The file's clock: the system's wall clock, plus the file's skew, plus this process's own.
 *
 * Expiry must mean the same to every process, also across time namespaces, where monotonic clocks differ; so it is wall clock time. The
 * wall clock may be set back. The latest time that anyone acted on is kept in the file (`high`). A process that finds its time more than
 * two seconds behind that makes up for the difference, so that time goes on from there and nothing lives longer than asked by more than
 * those two seconds and what passed unnoticed:
 *   - it saw the system's clock go back itself, or looks for the first time: the clock was set back, for everybody. The file's skew grows,
 *     and everybody's time with it; who comes second is not behind any more
 *   - else its clock is another one than that of whoever moved `high`: its own skew grows. Two processes with clocks apart settle; with one
 *     skew alone each would push the other on, by the difference a turn
 * A clock set forward lets entries expire early, which a cache may do. Readers that cannot write use the kept time until somebody who can
 * comes. */

#include "expire.h"

#include "platform.h"

#define BEHIND_MS 2000u

/* The clock's words stand in the file: one that is a lifetime ahead of the system is damage, and not believed. */
static int believable(uint64_t high, uint64_t skew, uint64_t system_ms) {
    return skew <= POND_TTL_MS_MAX && high <= system_ms + POND_TTL_MS_MAX;
}

static uint64_t skew_of(const struct pond_map *map) { return pond_load_64(&map->living->clock_skew_ms) + pond_load_64(&map->own_skew_ms); }

uint64_t pond_clock_read(struct pond_map *map) {
    uint64_t system_ms = pond_platform_realtime_ms(), skew = skew_of(map);
    uint64_t high = pond_load_64(&map->living->clock_high_ms);
    if (POND_UNLIKELY(!believable(high, skew, system_ms))) return system_ms;
    if (POND_LIKELY(system_ms + skew + BEHIND_MS >= high)) return system_ms + skew > high ? system_ms + skew : high;
    return map->readonly ? high : pond_clock_write(map);
}

/* The clock is behind `high`. */
static void catch_up(struct pond_map *map, uint64_t system_ms, uint64_t high, int set_back) {
    struct pond_living *living = map->living;
    for (;;) {
        uint64_t shared = pond_load_64(&living->clock_skew_ms), now = system_ms + shared + pond_load_64(&map->own_skew_ms);
        if (now + BEHIND_MS >= high) return;
        if (!set_back) {
            pond_store_64(&map->own_skew_ms, pond_load_64(&map->own_skew_ms) + high - now);
            return;
        }
        if (pond_cas_64(&living->clock_skew_ms, shared, shared + high - now)) return;
    }
}

uint64_t pond_clock_write(struct pond_map *map) {
    struct pond_living *living = map->living;
    uint64_t high = pond_load_64(&living->clock_high_ms), skew = skew_of(map), system_ms = pond_platform_realtime_ms();
    uint64_t seen = pond_load_64(&map->system_seen_ms);
    if (POND_UNLIKELY(!believable(high, skew, system_ms))) {
        pond_store_64(&map->own_skew_ms, 0);
        pond_store_64(&living->clock_skew_ms, 0);
        pond_cas_64(&living->clock_high_ms, high, system_ms);
        return system_ms;
    }
    if (POND_UNLIKELY(system_ms + skew + BEHIND_MS < high)) catch_up(map, system_ms, high, seen == 0 || system_ms < seen);
    if (seen != system_ms) pond_store_64(&map->system_seen_ms, system_ms);
    for (uint64_t now = system_ms + skew_of(map); now > high; high = pond_load_64(&living->clock_high_ms))
        if (pond_cas_64(&living->clock_high_ms, high, now)) return now;
    return high;
}

/* By powers of four, four of them in turn: neighbours are apart, and what is a factor of 256 apart shares a class. */
uint32_t pond_ttl_class_of(const struct pond_geometry *g, uint64_t ttl_ms) {
    if (g->ttl_classes <= 1) return 0;
    uint32_t log4 = (63u - (uint32_t)__builtin_clzll(ttl_ms)) / 2;
    return 1 + log4 % (g->ttl_classes - 1);
}
