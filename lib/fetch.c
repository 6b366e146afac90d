/* SPDX-License-Identifier: MIT */
/* Get, or load: millpond_fetch, on top of flights (flight.c).
 *
 *   L1 look, without a lock. Fresh, and no draw for an early load: that is all a hit costs
 *   L2 there is a value that the caller takes (stale, or early), and somebody loads it already: the value
 *   L3 begin the key's flight, or join it (F1, F2; V1, V2). Whoever has a value does not wait for the shard's mutex, nor for a flight
 *   L4 leader: hold the mapping, leave the read-side section, run the loader; then F4 to F7, or, when another file has taken this one's
 *      place meanwhile, K4 and K5
 *   L5 joined: hold the mapping, leave the read-side section, wait; then what became of it, or L1 again, or, the leader being gone, L4
 *   L6 no flight to be had (every place taken, a stopped writer): the loader runs all the same, and nothing is stored, as nobody
 *      could tell us that it is out of date
 *
 * A loader takes as long as it takes, so it runs outside the read-side section; the mapping in which the thread holds a mutex is kept by
 * a reference meanwhile. A child that was forked inside the loader holds nothing: the mutex is its parent's. */

#include "fetch.h"

#include "crashpoint.h"
#include "flight.h"
#include "handle.h"
#include "platform.h"
#include "reader.h"
#include "write.h"

#include <stdlib.h>

#define WAIT_MS_DEFAULT 5000u
#define DEPTH_MAX       8u    /* loaders inside loaders that lead flights */
#define ROUNDS_MAX      1000u /* looks at a key that changes each time */

const struct millpond_fetch pond_fetch_defaults;

/* ---- early loads ---- */

/* -ln(u) for a random u, in 1/65536: the logarithm to base 2 by its leading zeros, between powers of two by a straight line (at most 0.09
 * too small). */
static uint64_t exponential(uint64_t random) {
    unsigned zeros = (unsigned)__builtin_clzll(random | 1);
    uint64_t fraction = zeros == 63 ? 0 : (random << (zeros + 1)) >> 48;
    return ((((uint64_t)zeros + 1) << 16) - fraction) * 45426 >> 16;
}

/* XFetch: now - cost * beta * ln(u) >= expiry. */
int pond_fetch_draw(const struct millpond_fetch *o, const struct pond_age *age) {
    static __thread uint64_t drawn;
    uint64_t expiry = pond_expiry_unpack(age->expiry), cost = pond_expiry_cost(age->expiry);
    if (cost == 0 || cost == POND_COST_NEGATIVE || expiry <= age->now_ms || o->flags & MILLPOND_FETCH_NOT_EARLY) return 0;
    uint64_t scale = (UINT64_C(1) << (cost - 1)) * (o->early_percent ? o->early_percent : 100) / 100, left = expiry - age->now_ms;
    /* The address tells threads apart, the time the children of a fork. */
    drawn += pond_platform_monotonic_ns() * UINT64_C(0x9E3779B97F4A7C15) + (uintptr_t)&drawn;
    return scale * exponential(pond_mix(drawn)) >> 16 >= left;
}

/* ---- where a value goes ---- */

struct sink { /* the caller's buffer, or one from malloc that grows */
    unsigned char *buf;
    size_t room, bytes;
    int grows;
};

static int make_room(struct sink *sink, size_t bytes) {
    if (bytes <= sink->room && (sink->buf || !sink->grows)) return MILLPOND_OK;
    if (!sink->grows) return MILLPOND_TOO_SMALL;
    unsigned char *larger = realloc(sink->buf, bytes + 1);
    if (!larger) return MILLPOND_ERR_NO_MEMORY;
    sink->buf = larger;
    sink->room = bytes;
    return MILLPOND_OK;
}

static int put(struct sink *sink, const void *value, size_t bytes) {
    int result = make_room(sink, bytes);
    if (result == MILLPOND_OK && bytes) memcpy(sink->buf, value, bytes);
    sink->bytes = bytes;
    return result;
}

static int look(struct pond_map *map, const struct pond_key *key, struct sink *sink, struct pond_age *age) {
    int result = sink->grows ? make_room(sink, 256) : MILLPOND_OK;
    if (result != MILLPOND_OK) return result;
    while ((result = pond_read_get_aged(map, key, sink->buf, sink->room, &sink->bytes, age)) == MILLPOND_TOO_SMALL && sink->grows)
        if (make_room(sink, sink->bytes) != MILLPOND_OK) return MILLPOND_ERR_NO_MEMORY;
    return result;
}

/* ---- which flights this thread leads ---- */

static __thread struct {
    uint64_t fork;
    unsigned depth;
    struct {
        struct pond_map *map;
        struct pond_ticket ticket;
        uint32_t home, tag;
    } of[DEPTH_MAX];
} leads;

/* Forgets what a loader that never returned has left, and what was the parent's. */
static void forget_lost(void) {
    if (leads.fork != pond_reader_fork()) leads.depth = 0;
    leads.fork = pond_reader_fork();
    while (leads.depth > 0 && !pond_flight_on(leads.of[leads.depth - 1].map, &leads.of[leads.depth - 1].ticket)) leads.depth--;
}

static int leads_already(const struct pond_map *map, const struct pond_place *place) {
    forget_lost();
    for (unsigned i = 0; i < leads.depth; i++)
        if (leads.of[i].map == map && leads.of[i].home == place->home && leads.of[i].tag == place->tag &&
            pond_flight_on(leads.of[i].map, &leads.of[i].ticket))
            return 1;
    return 0;
}

/* ---- a call ---- */

struct call {
    struct millpond *pond;
    const void *key;
    size_t key_bytes;
    millpond_loader loader;
    void *arg;
    const struct millpond_fetch *o;
    struct sink *sink;
    struct millpond_fetched how;
    uint64_t until_ns;
    /* of this turn */
    struct pond_map *map;
    struct pond_key k;
    struct pond_place place;
    struct pond_age age;
    struct pond_ticket ticket;
    int led;
    int unreadable; /* looks that changed nothing: what stands there is damaged, and is to be loaded */
};

#define AGAIN 1001 /* no result of the library */

static uint64_t lock_timeout(const struct call *c) { return c->pond->lock_timeout_ms; }

/* Runs the loader. Its answer: MILLPOND_OK, MISS, or how it failed. */
static int run(const struct call *c, struct millpond_load *load) {
    *load = (struct millpond_load){.ttl_ms = c->o->ttl_ms, .grace_ms = c->o->grace_ms};
    int said = c->loader(c->arg, c->key, c->key_bytes, load);
    int wrong = load->ttl_ms > POND_TTL_MS_MAX || load->grace_ms > POND_TTL_MS_MAX || (!load->value && load->value_bytes);
    return said == MILLPOND_OK && wrong ? MILLPOND_ERR_ARGUMENT : said;
}

/* What the caller is told of a load, and the end of what the loader handed over. */
static int deliver(struct call *c, struct millpond_load *load, int said) {
    int result = said == MILLPOND_OK ? put(c->sink, load->value, load->value_bytes) : said == MILLPOND_MISS ? said : MILLPOND_ERR_LOADER;
    if (result == MILLPOND_ERR_LOADER) c->how.loader_result = said;
    if (load->release) load->release(load->value);
    return result;
}

/* L6. */
static int load_alone(struct call *c) {
    struct millpond_load load;
    c->how.how = MILLPOND_HOW_ALONE;
    return deliver(c, &load, run(c, &load));
}

/* F4 to F6, in one file. */
static int store(const struct call *c, struct pond_map *map, const struct pond_key *k, struct pond_ticket *ticket,
                 const struct millpond_load *load, int said, uint64_t cost_ms) {
    uint32_t timeout_ms = (uint32_t)lock_timeout(c);
    struct pond_fill fill = {ticket, cost_ms, said == MILLPOND_MISS};
    struct millpond_set set = {.ttl_ms = load->ttl_ms, .grace_ms = load->grace_ms};
    int result;
    if (said == MILLPOND_MISS && c->o->negative_ttl_ms) {
        set = (struct millpond_set){.ttl_ms = c->o->negative_ttl_ms};
        result = pond_write_fill(map, timeout_ms, k, NULL, 0, &set, &fill);
    } else if (said == MILLPOND_OK) {
        result = pond_write_fill(map, timeout_ms, k, load->value, load->value_bytes, &set, &fill);
    } else {
        enum pond_flight_outcome outcome = said == MILLPOND_MISS ? POND_OUTCOME_NOTHING : POND_OUTCOME_FAILED;
        return pond_write_fill_end(map, timeout_ms, k, ticket, outcome, said);
    }
    if (result < 0 && result != MILLPOND_ERR_BUSY && result != MILLPOND_ERR_REPLACED) /* nobody need wait for what does not fit */
        pond_write_fill_end(map, timeout_ms, k, ticket, POND_OUTCOME_UNSTORABLE, 0);
    return result;
}

/* K4: the same in the file that has taken the place, and perhaps in that one's successor. */
static int store_elsewhere(const struct call *c, const struct millpond_load *load, int said, uint64_t cost_ms) {
    uint64_t origin = pond_flight_origin(pond_map_creation(c->map), &c->ticket);
    int result = MILLPOND_ERR_REPLACED;
    while (pond_follow_refused(c->pond, &result)) {
        struct pond_key k;
        struct pond_map *map = enter(c->pond);
        POND_CRASHPOINT("fetch.followed");
        if (!key_of(map, c->key, c->key_bytes, &k)) return leave(MILLPOND_ERR_ARGUMENT);
        struct pond_ticket ticket = {.origin = origin, .group = c->ticket.group};
        k.group = ticket.group;
        result = store(c, map, &k, &ticket, load, said, cost_ms);
        if (ticket.origin == 0) pond_flight_release(map, &ticket, 0);
        leave(0);
    }
    return result;
}

/* F4 to F7. 1 when what the loader said is known to all. */
static int land(struct call *c, const struct millpond_load *load, int said, uint64_t cost_ms) {
    enter(c->pond);
    c->k.group = c->ticket.group;
    int result = leave(store(c, c->map, &c->k, &c->ticket, load, said, cost_ms));
    if (result == MILLPOND_ERR_REPLACED) result = store_elsewhere(c, load, said, cost_ms);
    enter(c->pond);
    pond_flight_release(c->map, &c->ticket, c->led); /* K5 */
    return leave(result) == MILLPOND_OK;
}

/* L4, with the mapping held. */
static int lead(struct call *c, int has_value) {
    struct millpond_load load;
    uint64_t fork = pond_reader_fork(), begun = pond_platform_monotonic_ns();
    unsigned depth = leads.depth;
    leads.of[depth].map = c->map;
    leads.of[depth].ticket = c->ticket;
    leads.of[depth].home = c->place.home;
    leads.of[depth].tag = c->place.tag;
    pond_fence_store(); /* a signal handler that fetches sees the line whole, or not at all */
    leads.depth = depth + 1;
    POND_CRASHPOINT("fetch.loading");
    int said = run(c, &load), stored = 0;
    POND_CRASHPOINT("fetch.loaded");
    if (fork == pond_reader_fork()) {
        leads.depth = depth;
        stored = land(c, &load, said, (pond_platform_monotonic_ns() - begun) / 1000000);
    }
    c->how.how = stored ? MILLPOND_HOW_LOADED : MILLPOND_HOW_ALONE;
    int result = deliver(c, &load, said);
    if (result == MILLPOND_ERR_LOADER && has_value) { /* what there was, if it still is */
        struct pond_key k;
        struct pond_map *map = enter(c->pond); /* perhaps another one by now */
        int old = key_of(map, c->key, c->key_bytes, &k) ? look(map, &k, c->sink, &c->age) : MILLPOND_MISS;
        if (leave(pond_fetch_takes(c->o, old, &c->age))) {
            c->how.how = MILLPOND_HOW_HIT;
            result = old;
        }
    }
    pond_map_release(c->map);
    return result;
}

/* L5, with the mapping held. */
static int wait(struct call *c) {
    int said, result = AGAIN;
    c->how.how = MILLPOND_HOW_WAITED;
    switch (pond_flight_wait(c->map, &c->ticket, c->until_ns, 1)) {
    case POND_WAITED_TIMEOUT: result = MILLPOND_ERR_TIMEOUT; break;
    case POND_WAITED_INHERITS:
        enter(c->pond);
        result = leave(pond_write_inherit(c->map, (uint32_t)lock_timeout(c), pond_fetch_load_max(c->o), &c->ticket));
        c->led = 1;
        if (result == POND_BEGIN_WON) return lead(c, 0);
        if (result == POND_BEGIN_LOOK_AGAIN) {
            result = AGAIN;
        } else { /* the shard cannot be had: the next one may try. Or replaced just now: one of those who look there will lead */
            pond_flight_release(c->map, &c->ticket, 1);
            result = result == MILLPOND_ERR_REPLACED ? AGAIN : load_alone(c);
        }
        break;
    default:
        switch (pond_flight_result(c->map, &c->ticket, &said)) {
        case POND_OUTCOME_NOTHING: result = MILLPOND_MISS; break;
        case POND_OUTCOME_UNSTORABLE: result = load_alone(c); break;
        case POND_OUTCOME_FAILED:
            if (c->o->flags & MILLPOND_FETCH_OWN_ERRORS) break;
            c->how.loader_result = said;
            result = MILLPOND_ERR_LOADER;
            break;
        default: break;
        }
    }
    pond_map_release(c->map);
    return result;
}

/* The value that there is, though somebody loads a new one, or nobody could. */
static int keep(const struct call *c, int result) {
    if (c->age.stale && !c->map->readonly)
        pond_add_64(&pond_ref_of(c->map, pond_shard_of(&c->map->geometry, c->k.hash)).shard->counters.stale_served, 1);
    return leave(result);
}

/* L2 to L6, for a look that was not enough; leaves the read-side section. */
static int fly(struct call *c, int result, int has_value) {
    struct pond_reader *mine = pond_reader_mine(c->map);
    c->place = pond_place_of(&c->map->geometry, c->k.hash);
    c->led = c->map->gate == NULL;
    pond_group_of(c->o->group, c->o->group_bytes, 0, c->pond->group, &c->k.group);
    struct pond_begin begin = {c->unreadable ? POND_SEEN_UNREADABLE : c->age.version, pond_fetch_load_max(c->o),
                               c->led || !mine ? 0 : (uint32_t)(mine - c->map->readers) + 1, c->led};
    if (has_value && pond_flight_seen(c->map, pond_shard_of(&c->map->geometry, c->k.hash), &c->place)) return keep(c, result);
    if (c->map->readonly && result == MILLPOND_MISS && pond_replaced(c->map))
        return pond_follow_missed(c->pond, c->map) ? AGAIN : MILLPOND_ERR_READ_ONLY;
    if (c->map->readonly) return has_value ? keep(c, result) : leave(MILLPOND_ERR_READ_ONLY);
    if (leads_already(c->map, &c->place)) return has_value ? keep(c, result) : leave(MILLPOND_ERR_NESTED);
    int got = leads.depth == DEPTH_MAX ? POND_BEGIN_NO_PLACE
                                       : pond_write_begin(c->map, has_value ? 0 : (uint32_t)lock_timeout(c), &c->k, &begin, &c->ticket);
    if (got == POND_BEGIN_LOOK_AGAIN) return leave(AGAIN);
    if (got == MILLPOND_ERR_REPLACED) {
        leave(0);
        return pond_follow_refused(c->pond, &got) ? AGAIN : load_alone(c);
    }
    if (has_value && got != POND_BEGIN_WON) return keep(c, result);
    if (got == MILLPOND_ERR_REENTERED) return leave(got);
    if (got == POND_BEGIN_JOIN && pond_flight_own(c->map, &c->ticket)) return leave(MILLPOND_ERR_NESTED);
    if (got == POND_BEGIN_JOIN && c->o->flags & MILLPOND_FETCH_NO_WAIT) return leave(MILLPOND_ERR_TIMEOUT);
    if (got != POND_BEGIN_WON && got != POND_BEGIN_JOIN) {
        leave(0);
        return load_alone(c);
    }
    pond_map_hold(c->map);
    leave(0);
    return got == POND_BEGIN_WON ? lead(c, has_value) : wait(c);
}

/* L1 has not been enough; inside the read-side section. */
static __attribute__((noinline)) int fetch_slowly(struct call *c, int result) {
    c->until_ns = pond_platform_monotonic_ns() + (uint64_t)(c->o->wait_ms ? c->o->wait_ms : WAIT_MS_DEFAULT) * 1000000;
    for (unsigned round = 0;; round++) {
        int has_value = pond_fetch_takes(c->o, result, &c->age);
        if (has_value && !c->age.stale && (round > 0 || pond_fetch_young(c->o, &c->age) || !pond_fetch_draw(c->o, &c->age)))
            return leave(result);
        if (result == MILLPOND_MISS && c->age.negative) return leave(result);
        if (result == MILLPOND_ERR_NO_MEMORY) return leave(result);
        if (round == ROUNDS_MAX) {
            leave(0);
            return load_alone(c);
        }
        c->unreadable = round >= POND_FETCH_LOOKS;
        result = fly(c, result, has_value);
        if (result != AGAIN) return result;
        c->map = enter(c->pond);
        key_of(c->map, c->key, c->key_bytes, &c->k);
        result = look(c->map, &c->k, c->sink, &c->age);
    }
}

int millpond_fetch(struct millpond *pond, const void *key, size_t key_bytes, millpond_loader loader, void *arg,
                   const struct millpond_fetch *options, void *buf, size_t buf_bytes, size_t *value_bytes,
                   struct millpond_fetched *fetched) {
    const struct millpond_fetch *o = options ? options : &pond_fetch_defaults;
    struct call c;
    if (POND_UNLIKELY(!loader || (!buf && buf_bytes) || pond_fetch_options_wrong(o))) return MILLPOND_ERR_ARGUMENT;
    c.map = enter(pond);
    if (!key_of(c.map, key, key_bytes, &c.k)) return leave(MILLPOND_ERR_ARGUMENT);
    size_t bytes = 0;
    int result = pond_read_get_aged(c.map, &c.k, buf, buf_bytes, &bytes, &c.age);
    if (POND_LIKELY(result == MILLPOND_OK && pond_fetch_young(o, &c.age))) {
        if (value_bytes) *value_bytes = bytes;
        if (fetched) *fetched = (struct millpond_fetched){0};
        return leave(result);
    }
    struct sink sink = {.buf = buf, .room = buf_bytes, .bytes = bytes};
    c.pond = pond;
    c.key = key;
    c.key_bytes = key_bytes;
    c.loader = loader;
    c.arg = arg;
    c.o = o;
    c.sink = &sink;
    c.how = (struct millpond_fetched){0};
    result = fetch_slowly(&c, result);
    if (value_bytes && (result == MILLPOND_OK || result == MILLPOND_TOO_SMALL || result == MILLPOND_STALE)) *value_bytes = sink.bytes;
    if (fetched) *fetched = c.how;
    return result;
}

int millpond_fetch_alloc(struct millpond *pond, const void *key, size_t key_bytes, millpond_loader loader, void *arg,
                         const struct millpond_fetch *options, void **value, size_t *value_bytes, struct millpond_fetched *fetched) {
    const struct millpond_fetch *o = options ? options : &pond_fetch_defaults;
    struct sink sink = {.grows = 1};
    struct call c = {.pond = pond, .key = key, .key_bytes = key_bytes, .loader = loader, .arg = arg, .o = o, .sink = &sink};
    if (!loader || !value || pond_fetch_options_wrong(o)) return MILLPOND_ERR_ARGUMENT;
    c.map = enter(pond);
    if (!key_of(c.map, key, key_bytes, &c.k)) return leave(MILLPOND_ERR_ARGUMENT);
    int result = fetch_slowly(&c, look(c.map, &c.k, &sink, &c.age));
    if (fetched) *fetched = c.how;
    if (result != MILLPOND_OK && result != MILLPOND_STALE) {
        free(sink.buf);
        return result;
    }
    sink.buf[sink.bytes] = 0;
    *value = sink.buf;
    if (value_bytes) *value_bytes = sink.bytes;
    return result;
}

int millpond_get_stale(struct millpond *pond, const void *key, size_t key_bytes, void *buf, size_t buf_bytes, size_t *value_bytes) {
    struct pond_key k;
    struct pond_age age;
    struct pond_map *map = enter(pond);
    if (!key_of(map, key, key_bytes, &k) || (!buf && buf_bytes)) return leave(MILLPOND_ERR_ARGUMENT);
    return leave(pond_read_get_aged(map, &k, buf, buf_bytes, value_bytes, &age));
}
