/* SPDX-License-Identifier: MIT */
/* The disk: a mark that says the file on it is whole, and what to do with a file of another boot.
 *
 * Sync:   Y1 write dirty pages while others go on (most of the work)      Y2 take every shard's mutex    Y3 write what has become dirty
 *         Y4 clean = 1, write the living page                             Y5 release
 * Write:  the first one after a sync sets clean = 2 and waits until the living page is on the disk, then 0 (enter.c); others that see 2 do
 *         the same. Only 1 counts. So whenever a page that was changed after the sync is on the disk, the mark there is gone.
 * Attach: a file of another boot with the mark is walked as by check, every entry with its checksum, and kept without what is
 *         damaged; one without the mark is emptied: pages of before and after may stand side by side in it, and old values with them. */

#include "sync.h"

#include "atomic.h"
#include "check.h"
#include "crashpoint.h"
#include "enter.h"
#include "error.h"
#include "platform.h"
#include "recover.h"

static int flush_living(struct pond_map *map) { return pond_platform_flush(map->base, POND_LIVING_OFF, POND_PAGE_BYTES); }

int pond_sync(struct pond_map *map, uint32_t timeout_ms) {
    if (map->readonly) return MILLPOND_ERR_READ_ONLY;
    if (pond_platform_flush(map->base, 0, map->geometry.file_bytes) != 0) return MILLPOND_ERR_SYSTEM;
    POND_CRASHPOINT("sync.flushed");
    int result = pond_write_enter_all(map, timeout_ms);
    if (result != MILLPOND_OK) return result;
    if (pond_platform_flush(map->base, 0, map->geometry.file_bytes) == 0) {
        POND_CRASHPOINT("sync.marking");
        pond_store_release_32(&map->living->clean, 1);
        if (flush_living(map) != 0) {
            pond_store_release_32(&map->living->clean, 0);
            result = MILLPOND_ERR_SYSTEM;
        }
        POND_CRASHPOINT("sync.marked");
    } else {
        result = MILLPOND_ERR_SYSTEM;
    }
    pond_write_leave_all(map);
    return result;
}

static int warm(struct pond_map *map, char *errmsg, const char *path) {
    struct millpond_check sums = {0};
    for (uint32_t i = 0; i < map->geometry.shard_count; i++) {
        struct pond_ref ref = pond_ref_of(map, i);
        if (pond_check_shard(&ref, MILLPOND_CHECK_REPAIR, NULL, NULL, &sums) != 0)
            return pond_error_say(MILLPOND_ERR_NO_MEMORY, errmsg, path, "out of memory while its entries were verified");
    }
    return MILLPOND_OK;
}

int pond_sync_attach(struct pond_map *map, enum pond_attach why, char *errmsg, const char *path) {
    /* In none of the cases is an agent still at work. */
    map->living->agent_until_ms = 0;
    map->living->agent_stale_ms = 0;
    if (why == POND_ATTACH_ALONE) {
        pond_recover_alone(map);
        return MILLPOND_OK;
    }
    if (why == POND_ATTACH_ABANDONED) {
        pond_recover_locks(map);
        return MILLPOND_OK;
    }
    if (why == POND_ATTACH_STALE && map->living->clean == 1) {
        pond_recover_locks(map);
        int result = warm(map, errmsg, path);
        if (result != MILLPOND_OK) return result;
        map->living->warm_starts++;
    } else {
        pond_write_spoil_now(map);
        pond_recover_cold(map);
        map->living->cold_starts++;
    }
    return MILLPOND_OK;
}
