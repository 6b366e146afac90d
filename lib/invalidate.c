/* SPDX-License-Identifier: MIT */
/* millpond_invalidate: I1 to I3 of group.c. Any mutex will do: the first one that is free, so that a writer who was stopped in one shard
 * holds up nobody; where none is, the first one is waited for. */

#include "enter.h"
#include "handle.h"

static int enter_any(struct pond_map *map, uint32_t number, uint32_t timeout_ms, struct pond_ref *ref) {
    uint32_t count = map->geometry.shard_count;
    int result = MILLPOND_ERR_BUSY;
    for (uint32_t i = 0; i < count && count > 1 && result == MILLPOND_ERR_BUSY; i++)
        result = pond_write_enter(map, (number + i) % count, 0, ref);
    return result == MILLPOND_ERR_BUSY ? pond_write_enter(map, number % count, timeout_ms, ref) : result;
}

static int invalidate(struct pond_map *map, uint32_t number, uint32_t timeout_ms) {
    struct pond_ref ref;
    int result = enter_any(map, number, timeout_ms, &ref);
    if (result != MILLPOND_OK) return result;
    pond_group_invalidate(map, number);
    pond_bump_64(&ref.shard->counters.invalidations, 1);
    pond_write_leave(&ref);
    return MILLPOND_OK;
}

int millpond_invalidate(struct millpond *pond, const void *group, size_t group_bytes) {
    uint32_t number = pond_group_number(group, group_bytes);
    int result;
    if (number == 0) return MILLPOND_ERR_ARGUMENT;
    do result = leave(invalidate(enter_writing(pond), number, pond->lock_timeout_ms));
    while (pond_follow_refused(pond, &result));
    return result;
}
