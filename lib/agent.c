/* SPDX-License-Identifier: MIT */
/* What an agent tells about a pond: until when it is coherent with the server behind it. Three words of the living page.
 *
 *   agent (one for a file)                                    reader
 *   N1 every change that the server told of is deleted        L1 epoch, until (acquire)
 *   N2 stale, until, then epoch (release)                     L2 epoch even and now < until: coherent; then the get
 *   N3 link lost: epoch odd (release), then until = now
 *
 * L1 stands before the get: a value that it then reads was current at the server later than the moment from which the agent counted the
 * lease. Nothing has to be taken back when an agent dies: time goes on, and now < until ends by itself. Which moment that is, and why a
 * late fill cannot spoil it: tools/agent/agent.c.
 *
 * The time is the file's clock (expire.c), as that of every expiry: a clock set back prolongs a lease by 2 s at the most. */

#include "atomic.h"
#include "expire.h"
#include "handle.h"
#include "sync.h"

#define LEASE_MS_MAX 3600000u /* what is further ahead is damage */

static int judge(const struct millpond_agent *agent) {
    if (agent->until_ms > agent->now_ms + LEASE_MS_MAX) return MILLPOND_MISS;
    if (agent->epoch % 2 == 0 && agent->now_ms < agent->until_ms) return MILLPOND_OK;
    uint64_t since = agent->now_ms > agent->until_ms ? agent->now_ms - agent->until_ms : 0;
    return since < agent->stale_ms ? MILLPOND_STALE : MILLPOND_MISS;
}

static void look(struct pond_map *map, struct millpond_agent *now) {
    now->epoch = pond_load_acquire_64(&map->living->agent_epoch);
    /* ORDER agent-until (reader): before the get that follows. Pairs with (writer) in tell(): whoever sees the new time sees the deletes
     * before it. */
    now->until_ms = pond_load_acquire_64(&map->living->agent_until_ms);
    now->stale_ms = pond_load_64(&map->living->agent_stale_ms);
    now->now_ms = pond_clock_read(map);
}

int millpond_agent_look(struct millpond *pond, struct millpond_agent *agent) {
    struct millpond_agent now;
    struct pond_map *map;
    do {
        map = enter(pond);
        look(map, &now);
    } while (pond_follow_missed(pond, map));
    if (agent) *agent = now;
    return judge(&now);
}

static int tell(struct pond_map *map, const struct millpond_agent *agent) {
    struct pond_living *living = map->living;
    if (map->readonly) return MILLPOND_ERR_READ_ONLY;
    if (pond_replaced(map)) return MILLPOND_ERR_REPLACED;
    if (!agent || agent->stale_ms > POND_TTL_MS_MAX || agent->until_ms > pond_clock_write(map) + LEASE_MS_MAX) return MILLPOND_ERR_ARGUMENT;
    if (agent->epoch % 2 != 0) pond_store_release_64(&living->agent_epoch, agent->epoch);
    pond_store_64(&living->agent_stale_ms, agent->stale_ms);
    /* ORDER agent-until (writer): behind all deletes. Pairs with (reader) in look(). */
    pond_store_release_64(&living->agent_until_ms, agent->until_ms);
    if (agent->epoch % 2 == 0) pond_store_release_64(&living->agent_epoch, agent->epoch);
    return MILLPOND_OK;
}

/* What is told to a file that a resize has copied already is lost; `until` in the copy is an earlier one, and ends by itself. */
int millpond_agent_announce(struct millpond *pond, const struct millpond_agent *agent) {
    int result;
    do result = leave(tell(enter_writing(pond), agent));
    while (pond_follow_refused(pond, &result));
    return result;
}
