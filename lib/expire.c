/* SPDX-License-Identifier: MIT */
/* The file's clock: the system's wall clock plus a skew.
 *
 * Expiry must mean the same to every process, also across time namespaces, where monotonic clocks differ; so it is wall clock time. The
 * wall clock may be set back. The latest time that anyone acted on is kept in the file: a process that finds its clock more than two
 * seconds behind adds the difference to its skew, so its time goes on from there; nothing lives longer than asked by more than the two
 * seconds and the time that passed unnoticed. Each process has a skew of its own, so that two with clocks apart settle; the file's is the
 * largest, where later openers begin. A clock set forward lets entries expire early, which a cache may do. Readers that cannot write use
 * the kept time until somebody who can comes. */

#include "expire.h"

#include "platform.h"

#define BEHIND_MS 2000u

/* The clock's words stand in the file: one that is a lifetime ahead of the system is damage, and not believed. */
static int believable(uint64_t high, uint64_t skew, uint64_t system_ms) {
    return skew <= POND_TTL_MS_MAX && high <= system_ms + POND_TTL_MS_MAX;
}

uint64_t pond_clock_read(struct pond_map *map) {
    uint64_t system_ms = pond_platform_realtime_ms(), skew = pond_load_64(&map->skew_ms);
    uint64_t high = pond_load_64(&map->living->clock_high_ms);
    if (POND_UNLIKELY(!believable(high, skew, system_ms))) return system_ms;
    if (POND_LIKELY(system_ms + skew + BEHIND_MS >= high)) return system_ms + skew > high ? system_ms + skew : high;
    return map->readonly ? high : pond_clock_write(map);
}

/* The system's clock was set back: another process may have found out before, else we do. The new skew. */
static uint64_t catch_up(struct pond_map *map, uint64_t system_ms, uint64_t high) {
    struct pond_living *living = map->living;
    uint64_t skew = pond_load_64(&map->skew_ms), known = pond_load_64(&living->clock_skew_ms);
    if (known > skew && known <= POND_TTL_MS_MAX) skew = known;
    if (system_ms + skew + BEHIND_MS < high) skew = high - system_ms;
    pond_store_64(&map->skew_ms, skew);
    for (uint64_t old; (old = pond_load_64(&living->clock_skew_ms)) < skew;) pond_cas_64(&living->clock_skew_ms, old, skew);
    return skew;
}

uint64_t pond_clock_write(struct pond_map *map) {
    struct pond_living *living = map->living;
    uint64_t high = pond_load_64(&living->clock_high_ms), skew = pond_load_64(&map->skew_ms);
    uint64_t system_ms = pond_platform_realtime_ms(), now = system_ms + skew;
    if (POND_UNLIKELY(!believable(high, skew, system_ms))) {
        pond_store_64(&map->skew_ms, 0);
        pond_store_64(&living->clock_skew_ms, 0);
        pond_cas_64(&living->clock_high_ms, high, system_ms);
        return system_ms;
    }
    if (POND_UNLIKELY(now + BEHIND_MS < high)) now = system_ms + catch_up(map, system_ms, high);
    while (now > high) {
        if (pond_cas_64(&living->clock_high_ms, high, now)) return now;
        high = pond_load_64(&living->clock_high_ms);
    }
    return high;
}

/* By powers of four, four of them in turn: neighbours are apart, and what is a factor of 256 apart shares a class. */
uint32_t pond_ttl_class(const struct pond_geometry *g, uint64_t ttl_ms) {
    if (ttl_ms == 0 || g->ttl_classes <= 1) return 0;
    uint32_t log4 = (63u - (uint32_t)__builtin_clzll(ttl_ms)) / 2;
    return 1 + log4 % (g->ttl_classes - 1);
}
