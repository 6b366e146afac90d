/* SPDX-License-Identifier: MIT */
/* Leases: flights that no thread holds a mutex for (flight.c). A lease names its flight by file, shard and token; whatever else stands in
 * it is checked, as it may come from anywhere. That of a file which another one has replaced is looked for by its origin there (K4). */

#include "fetch.h"

#include "expire.h"
#include "flight.h"
#include "handle.h"
#include "platform.h"
#include "reader.h"
#include "write.h"

#define ROUNDS_MAX 1000u

/* The flight that a lease names in this mapping. 0 when it names none, for all that can be seen without the shard's mutex. */
static int ticket_of(const struct pond_map *map, const struct millpond_lease *lease, struct pond_ticket *ticket) {
    *ticket = (struct pond_ticket){.token = lease->token, .shard = lease->shard, .slot = lease->slot, .group = lease->group};
    if (lease->creation != pond_map_creation(map)) {
        ticket->origin = pond_flight_origin(lease->creation, ticket);
        return 1;
    }
    return lease->shard < map->geometry.shard_count && lease->slot < map->geometry.flights_per_shard;
}

/* Of which key a lease is, in any file. */
static uint32_t mark_of(const struct pond_key *key) { return (uint32_t)pond_hash(key->bytes, key->count, 0); }

static void fill_in(struct pond_map *map, const struct pond_key *key, const struct pond_ticket *ticket, int begun,
                    struct millpond_lease *lease) {
    lease->state = begun == POND_BEGIN_WON ? MILLPOND_LEASE_WON : begun == POND_BEGIN_JOIN ? MILLPOND_LEASE_BUSY : MILLPOND_LEASE_ALONE;
    lease->shard = pond_shard_of(&map->geometry, key->hash);
    lease->tag = mark_of(key);
    lease->creation = pond_map_creation(map);
    if (begun == POND_BEGIN_NO_PLACE) return;
    lease->slot = ticket->slot;
    lease->token = ticket->token;
    lease->group = ticket->group;
    lease->begun_ms = pond_clock_read(map);
}

/* One look, and the lease if there is one to be had. POND_BEGIN_LOOK_AGAIN, or the result. */
static int acquire(struct millpond *pond, struct pond_map *map, struct pond_key *key, const struct millpond_fetch *o, unsigned round,
                   void *buf, size_t buf_bytes, size_t *value_bytes, struct millpond_lease *lease) {
    struct pond_place place = pond_place_of(&map->geometry, key->hash);
    struct pond_reader *mine = pond_reader_mine(map);
    struct pond_ticket ticket;
    struct pond_age age;
    int result = pond_read_get_aged(map, key, buf, buf_bytes, value_bytes, &age), has_value = pond_fetch_takes(o, result, &age);
    if (has_value && !age.stale && (pond_fetch_young(o, &age) || !pond_fetch_draw(o, &age))) return result;
    if ((result == MILLPOND_MISS && age.negative) || result < 0) return result;
    if (has_value && (map->readonly || pond_flight_seen(map, pond_shard_of(&map->geometry, key->hash), &place))) return result;
    struct pond_begin begin = {round < POND_FETCH_LOOKS ? age.version : POND_SEEN_UNREADABLE, pond_fetch_load_max(o),
                               mine && !(o->flags & MILLPOND_LEASE_DETACHED) ? (uint32_t)(mine - map->readers) + 1 : 0, 0};
    pond_group_of(o->group, o->group_bytes, 0, pond->group, &key->group);
    int got = pond_write_begin(map, has_value ? 0 : pond->lock_timeout_ms, key, &begin, &ticket);
    if (got == POND_BEGIN_LOOK_AGAIN) return got;
    if (has_value && got != POND_BEGIN_WON) return result;
    if (got < 0) return got;
    fill_in(map, key, &ticket, got, lease);
    return has_value ? result : MILLPOND_MISS;
}

int millpond_lease_acquire(struct millpond *pond, const void *key, size_t key_bytes, const struct millpond_fetch *options, void *buf,
                           size_t buf_bytes, size_t *value_bytes, struct millpond_lease *lease) {
    const struct millpond_fetch *o = options ? options : &pond_fetch_defaults;
    struct millpond_lease fresh = {0};
    struct pond_key k;
    struct pond_map *map = enter(pond);
    if (!lease || (!buf && buf_bytes) || pond_fetch_options_wrong(o) || !key_of(map, key, key_bytes, &k))
        return leave(MILLPOND_ERR_ARGUMENT);
    int result = POND_BEGIN_LOOK_AGAIN;
    for (unsigned round = 0; result == POND_BEGIN_LOOK_AGAIN; round++) {
        if (round == ROUNDS_MAX) return leave(MILLPOND_ERR_BUSY);
        result = acquire(pond, map, &k, o, round, buf, buf_bytes, value_bytes, &fresh);
    }
    if (result >= 0) *lease = fresh;
    leave(0);
    return pond_follow_refused(pond, &result) ? millpond_lease_acquire(pond, key, key_bytes, options, buf, buf_bytes, value_bytes, lease)
                                              : result;
}

/* Ends a lease: with a value, with nothing, or with what was said. */
struct ending {
    const void *value;
    size_t value_bytes;
    int said; /* as of a loader; 0 with `abandoned`: no more than that */
    int abandoned;
};

static int end_flight(struct pond_map *map, uint32_t timeout_ms, struct pond_key *k, const struct millpond_lease *lease,
                      struct pond_ticket *ticket, const struct ending *e, const struct millpond_fetch *o) {
    if (e->abandoned) return pond_write_fill_end(map, timeout_ms, k, ticket, e->said ? POND_OUTCOME_FAILED : POND_OUTCOME_NONE, e->said);
    int nothing = e->said == MILLPOND_MISS;
    if (nothing && o->negative_ttl_ms == 0) return pond_write_fill_end(map, timeout_ms, k, ticket, POND_OUTCOME_NOTHING, 0);
    uint64_t now_ms = pond_clock_read(map);
    k->group = ticket->group;
    struct pond_fill fill = {ticket, now_ms > lease->begun_ms ? now_ms - lease->begun_ms : 0, nothing};
    struct millpond_set set = {.ttl_ms = nothing ? o->negative_ttl_ms : o->ttl_ms, .grace_ms = nothing ? 0 : o->grace_ms};
    int result = pond_write_fill(map, timeout_ms, k, e->value, e->value_bytes, &set, &fill);
    if (result < 0 && result != MILLPOND_ERR_BUSY && result != MILLPOND_ERR_REENTERED && result != MILLPOND_ERR_REPLACED)
        pond_write_fill_end(map, timeout_ms, k, ticket, POND_OUTCOME_UNSTORABLE, 0);
    return result;
}

/* In the file that the handle has. */
static int end_here(struct millpond *pond, const struct millpond_lease *lease, const void *key, size_t key_bytes, const struct ending *e,
                    const struct millpond_fetch *o) {
    struct pond_ticket ticket;
    struct pond_key k;
    struct pond_map *map = enter(pond);
    if (!key_of(map, key, key_bytes, &k) || lease->tag != mark_of(&k)) return leave(MILLPOND_ERR_ARGUMENT);
    if (lease->state == MILLPOND_LEASE_ALONE || !ticket_of(map, lease, &ticket)) return leave(MILLPOND_CHANGED);
    int result = end_flight(map, pond->lock_timeout_ms, &k, lease, &ticket, e, o);
    int over = result != MILLPOND_ERR_BUSY && result != MILLPOND_ERR_REENTERED && result != MILLPOND_ERR_REPLACED;
    if (over && ticket.origin == 0) pond_flight_release(map, &ticket, 0);
    return leave(result);
}

static int end(struct millpond *pond, struct millpond_lease *lease, const void *key, size_t key_bytes, const struct ending *e,
               const struct millpond_fetch *options) {
    const struct millpond_fetch *o = options ? options : &pond_fetch_defaults;
    if (!lease || (!e->value && e->value_bytes) || pond_fetch_options_wrong(o) ||
        (lease->state != MILLPOND_LEASE_WON && lease->state != MILLPOND_LEASE_ALONE))
        return MILLPOND_ERR_ARGUMENT;
    int result;
    do result = end_here(pond, lease, key, key_bytes, e, o);
    while (pond_follow_refused(pond, &result));
    if (result == MILLPOND_ERR_REPLACED) result = MILLPOND_CHANGED; /* by a file that this process may not open */
    if (result != MILLPOND_ERR_BUSY && result != MILLPOND_ERR_REENTERED && result != MILLPOND_ERR_ARGUMENT)
        lease->state = MILLPOND_LEASE_NONE;
    return result;
}

int millpond_lease_fill(struct millpond *pond, struct millpond_lease *lease, const void *key, size_t key_bytes, const void *value,
                        size_t value_bytes, const struct millpond_fetch *options) {
    struct ending e = {.value = value, .value_bytes = value_bytes};
    return end(pond, lease, key, key_bytes, &e, options);
}

int millpond_lease_fill_nothing(struct millpond *pond, struct millpond_lease *lease, const void *key, size_t key_bytes,
                                const struct millpond_fetch *options) {
    struct ending e = {.said = MILLPOND_MISS};
    return end(pond, lease, key, key_bytes, &e, options);
}

int millpond_lease_abandon(struct millpond *pond, struct millpond_lease *lease, const void *key, size_t key_bytes, int said) {
    struct ending e = {.said = said, .abandoned = 1};
    return end(pond, lease, key, key_bytes, &e, NULL);
}

int millpond_lease_wait(struct millpond *pond, const struct millpond_lease *lease, uint32_t timeout_ms, int *said) {
    struct pond_ticket ticket;
    if (!lease || lease->state != MILLPOND_LEASE_BUSY) return MILLPOND_ERR_ARGUMENT;
    struct pond_map *map = enter(pond);
    if (!ticket_of(map, lease, &ticket) || ticket.origin != 0) return leave(MILLPOND_OK); /* of another file: look there */
    pond_map_hold(map);
    leave(0);
    int told = 0, result = MILLPOND_OK;
    if (pond_flight_wait(map, &ticket, pond_platform_monotonic_ns() + (uint64_t)timeout_ms * 1000000, 0) == POND_WAITED_TIMEOUT) {
        result = MILLPOND_ERR_TIMEOUT;
    } else {
        enum pond_flight_outcome outcome = pond_flight_result(map, &ticket, &told);
        if (outcome == POND_OUTCOME_NOTHING) result = MILLPOND_MISS;
        if (outcome == POND_OUTCOME_FAILED) result = MILLPOND_ERR_LOADER;
    }
    if (result == MILLPOND_ERR_LOADER && said) *said = told;
    pond_map_release(map);
    return result;
}
