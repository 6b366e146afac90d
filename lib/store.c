/* SPDX-License-Identifier: MIT */
/* A store behind a pond: read through, written through, written around, refreshed.
 *
 * Reading is a millpond_fetch whose loader asks the store; single flight, staleness, early refresh and the revocation of loads whose key
 * is written meanwhile are the fetch's (flight.c). Writing:
 *
 *   T1 the ticket: the version that the pond has of the key, and before it the stamp of the group (group.c); it has none: the flight of
 *      the key, led by the writer
 *   T2 the store stores. It fails: nothing more happens, the pond is as it was
 *   T3 the pond stores, if the key still has that version (cas) and the group that generation, or if the flight was not revoked
 *   T4 else the key is deleted; also when somebody else leads its flight
 *
 * Of two who are between T1 and T3 at the same time, one changes the key, and the other finds it changed, or its flight revoked, and
 * deletes it. Which of their values the store has last is not known here, so nothing stays in the pond, and the next read asks the store. A
 * load that began before T2 and could put back the old value is revoked by T3 or T4, both of which change the key; one that ended between
 * T1 and T3 has changed it, so that T4 follows. A version says more than presence: "store if absent" would not notice a key that came and
 * went meanwhile (seen: a delete between T2 and T3, and the pond had what the store had not). Write-around is T2 and T4 alone; a refresh
 * loads in the place of T2 and, instead of T4, gives up.
 *
 * In a pond that an agent keeps coherent with a server (agent.c), a write ends with T4 in place of T3: of two nodes that write one key, the
 * one whose value is the older one may be at T3 when it was told of the newer one already (tests/models/agent.pml, STORE). An agent says
 * that it is there before it begins, and clears the pond behind that; so who sees none behind T3 has stored before the clear.
 *
 * Reads ask first whether the agent's word still holds: STALE, what is found is told as stale; MISS, the store is asked and nothing kept.
 *
 * The store is never called inside a read-side section or under a lock: it may take as long as its deadline allows, and fork. */

#include "store.h"

#include "circuit.h"
#include "error.h"
#include "fetch.h"
#include "handle.h"
#include "platform.h"

#include <stdlib.h>
#include <string.h>

#define TIMEOUT_MS     1000u
#define TIMEOUT_MS_MAX 3600000u
#define FAILURES_MAX   5u
#define REST_MS        500u
#define REST_MAX_MS    30000u
#define SLACK_MS       100u /* what a call may take beyond its deadline before it counts as hanging */

struct pond_binding {
    struct millpond_store store;
    struct millpond_fetch fetch; /* as the pond is asked, with every default in place */
    struct pond_circuit_limits limits;
    struct pond_circuit *circuit; /* shared with children */
    uint32_t timeout_ms;
    unsigned char group[MILLPOND_GROUP_BYTES_MAX]; /* fetch.group */
};

/* One call that leads to the store. */
struct trip {
    const struct pond_binding *binding;
    struct millpond_through *through; /* NULL if the caller wants to know nothing */
    uint32_t timeout_ms;
    uint64_t stamp;            /* of the group, as of T1 */
    enum pond_circuit_way way; /* of the call that is under way */
    int said;                  /* what the store did */
    char *errmsg;              /* the caller's, or `unread` */
    char unread[MILLPOND_ERRMSG_BYTES];
};

/* ---- bind ---- */

void pond_store_unbind(struct millpond *pond) {
    struct pond_binding *binding = pond->store;
    if (!binding) return;
    pond->store = NULL;
    if (binding->store.close) binding->store.close(binding->store.state);
    pond_platform_unmap((unsigned char *)binding->circuit, sizeof *binding->circuit);
    free(binding);
}

static uint32_t or_default(uint32_t given, uint32_t usual) { return given ? given : usual; }

int millpond_bind_store(struct millpond *pond, const struct millpond_store *store) {
    if (!pond || (store && (!store->name || store->timeout_ms > TIMEOUT_MS_MAX || pond_fetch_options_wrong(&store->fetch) ||
                            (!store->load && !store->store && !store->erase))))
        return MILLPOND_ERR_ARGUMENT;
    struct pond_binding *binding = store ? calloc(1, sizeof *binding) : NULL;
    if (store && binding) binding->circuit = pond_platform_share(sizeof *binding->circuit);
    if (store && (!binding || !binding->circuit)) {
        free(binding);
        return MILLPOND_ERR_NO_MEMORY;
    }
    pond_store_unbind(pond);
    if (!store) return MILLPOND_OK;
    binding->store = *store;
    binding->timeout_ms = or_default(store->timeout_ms, TIMEOUT_MS);
    binding->fetch = store->fetch;
    memcpy(binding->group, store->fetch.group ? store->fetch.group : "", store->fetch.group_bytes);
    if (store->fetch.group) binding->fetch.group = binding->group;
    binding->fetch.wait_ms = or_default(store->fetch.wait_ms, binding->timeout_ms + SLACK_MS);
    binding->fetch.load_max_ms = or_default(store->fetch.load_max_ms, binding->timeout_ms + SLACK_MS);
    binding->limits.failures_max = or_default(store->failures_max, FAILURES_MAX);
    binding->limits.rest_ms = or_default(store->rest_ms, REST_MS);
    binding->limits.rest_max_ms = or_default(store->rest_max_ms, REST_MAX_MS);
    pond->store = binding;
    return MILLPOND_OK;
}

/* ---- calling the store ---- */

static void set_out(struct trip *trip, const struct pond_binding *binding, struct millpond_through *through) {
    trip->binding = binding;
    trip->through = through;
    trip->timeout_ms = through && through->timeout_ms && through->timeout_ms <= TIMEOUT_MS_MAX ? through->timeout_ms : binding->timeout_ms;
    trip->errmsg = through ? through->errmsg : trip->unread;
    trip->errmsg[0] = 0;
    if (through) {
        through->how = MILLPOND_HOW_HIT;
        through->store_result = MILLPOND_OK;
    }
}

/* B3, B4 of circuit.c: MILLPOND_OK with the call's deadline, or ERR_STORE_RESTS. */
static int begin_call(struct trip *trip, struct millpond_store_call *call) {
    uint64_t now_ns = pond_platform_monotonic_ns(), timeout_ns = (uint64_t)trip->timeout_ms * 1000000;
    trip->way = pond_circuit_ask(trip->binding->circuit, now_ns, timeout_ns + (uint64_t)SLACK_MS * 1000000);
    if (trip->way == POND_CIRCUIT_RESTS)
        return pond_error_say(MILLPOND_ERR_STORE_RESTS, trip->errmsg, trip->binding->store.name,
                              "it failed several times in a row and is left alone for a moment; see what is wrong with it");
    call->deadline_ns = now_ns + timeout_ns;
    call->errmsg = trip->errmsg;
    return MILLPOND_OK;
}

/* Counts the result; a store's own number that is no result of the library's is ERR_STORE. */
static int end_call(const struct trip *trip, int said) {
    const struct pond_binding *binding = trip->binding;
    if (said == MILLPOND_ERR_STORE_DOWN || said == MILLPOND_ERR_STORE_TIMEOUT)
        pond_circuit_trouble(binding->circuit, trip->way, &binding->limits, pond_platform_monotonic_ns());
    else
        pond_circuit_well(binding->circuit);
    if (said > MILLPOND_MISS) said = MILLPOND_ERR_STORE;
    if (said >= 0) trip->errmsg[0] = 0;
    if (said < 0 && !trip->errmsg[0]) pond_error_say(said, trip->errmsg, binding->store.name, "%s", millpond_strerror(said));
    return said;
}

static int note(struct trip *trip, int said) {
    trip->said = said;
    if (trip->through) trip->through->store_result = said;
    return said;
}

static int call_load(struct trip *trip, struct millpond_store_item *item) {
    struct millpond_store_call call;
    int said = begin_call(trip, &call);
    if (said == MILLPOND_OK) said = end_call(trip, trip->binding->store.load(trip->binding->store.state, item, &call));
    return note(trip, said);
}

static int call_store(struct trip *trip, const void *key, size_t key_bytes, const void *value, size_t value_bytes, uint64_t ttl_ms) {
    const struct millpond_store *store = &trip->binding->store;
    struct millpond_store_call call;
    int said = begin_call(trip, &call);
    if (said == MILLPOND_OK) said = end_call(trip, store->store(store->state, key, key_bytes, value, value_bytes, ttl_ms, &call));
    return note(trip, said);
}

static int call_erase(struct trip *trip, const void *key, size_t key_bytes) {
    const struct millpond_store *store = &trip->binding->store;
    struct millpond_store_call call;
    int said = begin_call(trip, &call);
    if (said == MILLPOND_OK) said = end_call(trip, store->erase(store->state, key, key_bytes, &call));
    return note(trip, said);
}

/* No entry outlives its value in the store. */
static uint64_t shorter(uint64_t ttl_ms, uint64_t of_store) { return of_store && (ttl_ms == 0 || of_store < ttl_ms) ? of_store : ttl_ms; }

/* ---- reading ---- */

static int arguments_are_wrong(const void *key, size_t key_bytes, const void *value, size_t value_bytes) {
    return !key || key_bytes == 0 || key_bytes > MILLPOND_KEY_BYTES_MAX || (!value && value_bytes);
}

/* May what the pond has be served? OK; STALE: as such; MISS: no (agent.c). Where there never was an agent it is one load. */
static int may_serve(struct millpond *pond) {
    struct pond_map *map = enter(pond);
    uint64_t epoch = pond_load_64(&map->living->agent_epoch);
    leave(0);
    return POND_LIKELY(epoch == 0) ? MILLPOND_OK : millpond_agent_look(pond, NULL);
}

static int loader(void *arg, const void *key, size_t key_bytes, struct millpond_load *load) {
    struct trip *trip = arg;
    struct millpond_store_item item = {.key = key, .key_bytes = key_bytes};
    int said = call_load(trip, &item);
    if (said != MILLPOND_OK) return said;
    load->value = item.value;
    load->value_bytes = item.value_bytes;
    load->release = free;
    load->ttl_ms = shorter(load->ttl_ms, item.ttl_ms);
    return MILLPOND_OK;
}

/* What a fetch said, as a read tells it. */
static int read_result(struct trip *trip, int result, const struct millpond_fetched *fetched, int serve) {
    if (trip->through && result != MILLPOND_ERR_ARGUMENT) trip->through->how = fetched->how;
    if (POND_UNLIKELY(serve == MILLPOND_STALE && result == MILLPOND_OK && fetched->how == MILLPOND_HOW_HIT)) return MILLPOND_STALE;
    if (result != MILLPOND_ERR_LOADER) return result;
    if (!trip->errmsg[0])
        pond_error_say(0, trip->errmsg, trip->binding->store.name, "another caller's load failed: %s",
                       millpond_strerror(fetched->loader_result));
    return note(trip, fetched->loader_result);
}

/* A handle that cannot keep anything, or a pond that nobody keeps coherent any more: the store's value all the same. */
static int load_alone(struct trip *trip, const void *key, size_t key_bytes, void **value, size_t *value_bytes) {
    struct millpond_store_item item = {.key = key, .key_bytes = key_bytes};
    int said = call_load(trip, &item);
    if (trip->through) trip->through->how = MILLPOND_HOW_ALONE;
    if (said != MILLPOND_OK) return said;
    *value = item.value;
    *value_bytes = item.value_bytes;
    return MILLPOND_OK;
}

static void own_group(const struct millpond_through *through, struct millpond_fetch *own) {
    if (!through || (!through->group && !through->group_bytes)) return;
    own->group = through->group;
    own->group_bytes = through->group_bytes;
}

static const struct millpond_fetch *options_of(const struct pond_binding *binding, const struct millpond_through *through,
                                               struct millpond_fetch *own) {
    if (!through || !(through->flags | through->timeout_ms | through->group_bytes)) return &binding->fetch;
    *own = binding->fetch;
    own->flags |= through->flags;
    own_group(through, own);
    if (through->timeout_ms && through->timeout_ms <= TIMEOUT_MS_MAX) {
        own->load_max_ms = through->timeout_ms + SLACK_MS;
        own->wait_ms = through->timeout_ms + SLACK_MS;
    }
    return own;
}

int millpond_read_through(struct millpond *pond, const void *key, size_t key_bytes, void *buf, size_t buf_bytes, size_t *value_bytes,
                          struct millpond_through *through) {
    const struct pond_binding *binding = pond->store;
    struct millpond_fetch own;
    struct millpond_fetched fetched;
    struct trip trip;
    if (POND_UNLIKELY(!binding || !binding->store.load)) return MILLPOND_ERR_NO_STORE;
    set_out(&trip, binding, through);
    int serve = may_serve(pond), result = MILLPOND_ERR_READ_ONLY;
    if (POND_LIKELY(serve != MILLPOND_MISS))
        result =
            millpond_fetch(pond, key, key_bytes, loader, &trip, options_of(binding, through, &own), buf, buf_bytes, value_bytes, &fetched);
    else if (arguments_are_wrong(key, key_bytes, buf, buf_bytes))
        return MILLPOND_ERR_ARGUMENT;
    if (POND_LIKELY(result != MILLPOND_ERR_READ_ONLY)) return read_result(&trip, result, &fetched, serve);
    void *value = NULL;
    size_t bytes = 0;
    result = load_alone(&trip, key, key_bytes, &value, &bytes);
    if (result != MILLPOND_OK) return result;
    if (bytes <= buf_bytes) memcpy(buf, value, bytes);
    if (value_bytes) *value_bytes = bytes;
    free(value);
    return bytes <= buf_bytes ? MILLPOND_OK : MILLPOND_TOO_SMALL;
}

int millpond_read_through_alloc(struct millpond *pond, const void *key, size_t key_bytes, void **value, size_t *value_bytes,
                                struct millpond_through *through) {
    const struct pond_binding *binding = pond->store;
    struct millpond_fetch own;
    struct millpond_fetched fetched;
    struct trip trip;
    if (!binding || !binding->store.load) return MILLPOND_ERR_NO_STORE;
    set_out(&trip, binding, through);
    int serve = may_serve(pond), result = MILLPOND_ERR_READ_ONLY;
    if (serve != MILLPOND_MISS)
        result =
            millpond_fetch_alloc(pond, key, key_bytes, loader, &trip, options_of(binding, through, &own), value, value_bytes, &fetched);
    else if (!value || arguments_are_wrong(key, key_bytes, NULL, 0))
        return MILLPOND_ERR_ARGUMENT;
    if (result != MILLPOND_ERR_READ_ONLY) return read_result(&trip, result, &fetched, serve);
    size_t bytes = 0;
    void *loaded = NULL;
    result = load_alone(&trip, key, key_bytes, &loaded, &bytes);
    if (result != MILLPOND_OK) return result;
    unsigned char *ended = realloc(loaded, bytes + 1);
    if (!ended) {
        free(loaded);
        return MILLPOND_ERR_NO_MEMORY;
    }
    ended[bytes] = 0;
    *value = ended;
    if (value_bytes) *value_bytes = bytes;
    return MILLPOND_OK;
}

/* ---- writing ---- */

/* T1. 0: the pond has no such key. */
static int take_ticket(struct millpond *pond, const void *key, size_t key_bytes, struct trip *trip, uint64_t *version) {
    struct millpond_fetch own = pond->store->fetch;
    uint64_t group;
    *version = 0;
    own_group(trip->through, &own);
    if (pond_fetch_options_wrong(&own) || !pond_group_of(own.group, own.group_bytes, 0, pond->group, &group)) return MILLPOND_ERR_ARGUMENT;
    struct pond_map *map = enter(pond);
    trip->stamp = group && map->refusal == MILLPOND_OK ? pond_group_stamp(map, group) : 0;
    leave(0);
    int result = millpond_get_if_changed(pond, key, key_bytes, NULL, 0, NULL, version);
    if (result == MILLPOND_MISS) *version = 0;
    return result == MILLPOND_TOO_SMALL || result == MILLPOND_MISS ? MILLPOND_OK : result;
}

/* T3. OK, CHANGED, or an error of the pond. */
static int install(struct millpond *pond, const void *key, size_t key_bytes, const void *value, size_t value_bytes, uint64_t ttl_ms,
                   uint64_t version, uint64_t stamp) {
    struct millpond_set set = {.ttl_ms = ttl_ms, .grace_ms = pond->store->fetch.grace_ms, .version = version, .when = MILLPOND_IF_VERSION};
    int result = pond_set_in_group(pond, key, key_bytes, value, value_bytes, &set, stamp);
    return result == MILLPOND_MISS ? MILLPOND_CHANGED : result;
}

/* Is there, or was there, an agent? */
static int has_agent(struct millpond *pond) {
    struct millpond_agent agent;
    millpond_agent_look(pond, &agent);
    return agent.epoch != 0;
}

/* T4. */
static int forget(struct millpond *pond, const void *key, size_t key_bytes) {
    int result = millpond_delete(pond, key, key_bytes);
    return result == MILLPOND_MISS ? MILLPOND_OK : result;
}

/* What must hold before the store is changed: what the pond refuses later would leave the two different. */
static int may_write(struct millpond *pond) {
    struct pond_map *map = enter(pond);
    return leave(map->refusal);
}

/* A write whose flight is led: the loader of the fetch is the store's store. */
struct write {
    struct trip *trip;
    const void *value;
    size_t value_bytes;
    uint64_t ttl_ms;
    int called;
};

static int writer(void *arg, const void *key, size_t key_bytes, struct millpond_load *load) {
    struct write *write = arg;
    write->called = 1;
    int said = call_store(write->trip, key, key_bytes, write->value, write->value_bytes, write->ttl_ms);
    if (said != MILLPOND_OK) return said;
    load->value = (void *)(uintptr_t)write->value; /* read only */
    load->value_bytes = write->value_bytes;
    load->ttl_ms = write->ttl_ms;
    return MILLPOND_OK;
}

/* T1 to T4 of a key that the pond did not have a moment ago. */
static int write_new(struct millpond *pond, const void *key, size_t key_bytes, struct write *write) {
    struct trip *trip = write->trip;
    struct millpond_fetched fetched = {0};
    struct millpond_fetch options = pond->store->fetch;
    options.flags = MILLPOND_FETCH_FRESH | MILLPOND_FETCH_NO_WAIT | MILLPOND_FETCH_NOT_EARLY;
    options.load_max_ms = trip->timeout_ms + SLACK_MS;
    own_group(trip->through, &options);
    int result = millpond_fetch(pond, key, key_bytes, writer, write, &options, NULL, 0, NULL, &fetched);
    if (!write->called) { /* another leads, or the key is there by now */
        int said = call_store(trip, key, key_bytes, write->value, write->value_bytes, write->ttl_ms);
        return said == MILLPOND_OK ? forget(pond, key, key_bytes) : said;
    }
    int said = trip->said;
    if (said != MILLPOND_OK) return said;
    return fetched.how == MILLPOND_HOW_LOADED && result >= 0 && !has_agent(pond) ? MILLPOND_OK : forget(pond, key, key_bytes);
}

int millpond_write_through(struct millpond *pond, const void *key, size_t key_bytes, const void *value, size_t value_bytes,
                           struct millpond_through *through) {
    const struct pond_binding *binding = pond->store;
    struct trip trip;
    uint64_t version;
    if (!binding || !binding->store.store) return MILLPOND_ERR_NO_STORE;
    if (arguments_are_wrong(key, key_bytes, value, value_bytes)) return MILLPOND_ERR_ARGUMENT;
    set_out(&trip, binding, through);
    struct write write = {&trip, value, value_bytes, through && through->ttl_ms ? through->ttl_ms : binding->fetch.ttl_ms, 0};
    int result = may_write(pond);
    if (result == MILLPOND_OK) result = take_ticket(pond, key, key_bytes, &trip, &version);
    if (result == MILLPOND_OK && has_agent(pond)) return millpond_write_around(pond, key, key_bytes, value, value_bytes, through);
    if (result == MILLPOND_OK && version == 0) return write_new(pond, key, key_bytes, &write);
    if (result == MILLPOND_OK) result = call_store(&trip, key, key_bytes, value, value_bytes, write.ttl_ms);
    if (result != MILLPOND_OK) return result;
    result = install(pond, key, key_bytes, value, value_bytes, write.ttl_ms, version, trip.stamp);
    return result == MILLPOND_OK && !has_agent(pond) ? MILLPOND_OK : forget(pond, key, key_bytes);
}

int millpond_write_around(struct millpond *pond, const void *key, size_t key_bytes, const void *value, size_t value_bytes,
                          struct millpond_through *through) {
    const struct pond_binding *binding = pond->store;
    struct trip trip;
    if (!binding || !binding->store.store) return MILLPOND_ERR_NO_STORE;
    if (arguments_are_wrong(key, key_bytes, value, value_bytes)) return MILLPOND_ERR_ARGUMENT;
    set_out(&trip, binding, through);
    uint64_t ttl_ms = through && through->ttl_ms ? through->ttl_ms : binding->fetch.ttl_ms;
    int result = may_write(pond);
    if (result == MILLPOND_OK) result = call_store(&trip, key, key_bytes, value, value_bytes, ttl_ms);
    return result == MILLPOND_OK ? forget(pond, key, key_bytes) : result;
}

int millpond_delete_through(struct millpond *pond, const void *key, size_t key_bytes, struct millpond_through *through) {
    const struct pond_binding *binding = pond->store;
    struct trip trip;
    if (!binding || !binding->store.erase) return MILLPOND_ERR_NO_STORE;
    if (arguments_are_wrong(key, key_bytes, NULL, 0)) return MILLPOND_ERR_ARGUMENT;
    set_out(&trip, binding, through);
    int result = may_write(pond);
    if (result == MILLPOND_OK) result = call_erase(&trip, key, key_bytes);
    if (result != MILLPOND_OK && result != MILLPOND_MISS) return result;
    int forgotten = forget(pond, key, key_bytes);
    return forgotten == MILLPOND_OK ? result : forgotten;
}

/* A refresh of what the pond has. */
static int refresh(struct millpond *pond, struct trip *trip, const void *key, size_t key_bytes, uint64_t version) {
    struct millpond_store_item item = {.key = key, .key_bytes = key_bytes};
    int result = call_load(trip, &item);
    if (result == MILLPOND_MISS) {
        int forgotten = forget(pond, key, key_bytes);
        return forgotten == MILLPOND_OK ? MILLPOND_MISS : forgotten;
    }
    if (result != MILLPOND_OK) return result;
    uint64_t ttl_ms = trip->through && trip->through->ttl_ms ? trip->through->ttl_ms : pond->store->fetch.ttl_ms;
    result = install(pond, key, key_bytes, item.value, item.value_bytes, shorter(ttl_ms, item.ttl_ms), version, trip->stamp);
    free(item.value);
    return result;
}

int millpond_refresh(struct millpond *pond, const void *key, size_t key_bytes, struct millpond_through *through) {
    const struct pond_binding *binding = pond->store;
    struct millpond_fetch own;
    struct millpond_fetched fetched;
    struct trip trip;
    uint64_t version;
    if (!binding || !binding->store.load) return MILLPOND_ERR_NO_STORE;
    if (arguments_are_wrong(key, key_bytes, NULL, 0)) return MILLPOND_ERR_ARGUMENT;
    set_out(&trip, binding, through);
    int result = may_write(pond);
    if (result == MILLPOND_OK) result = take_ticket(pond, key, key_bytes, &trip, &version);
    if (result != MILLPOND_OK) return result;
    if (version) return refresh(pond, &trip, key, key_bytes, version);
    result = millpond_fetch(pond, key, key_bytes, loader, &trip, options_of(binding, through, &own), NULL, 0, NULL, &fetched);
    if (result == MILLPOND_TOO_SMALL) result = MILLPOND_OK;
    if (result == MILLPOND_OK && fetched.how == MILLPOND_HOW_ALONE) result = MILLPOND_CHANGED;
    return read_result(&trip, result, &fetched, MILLPOND_OK);
}
