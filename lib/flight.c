/* SPDX-License-Identifier: MIT */
/* Flights: of all who miss a key, one loads it.
 *
 * A flight is a slot in a table in the file. Its fields change under the mutex of the key's shard; its own mutex, robust, is held by the
 * thread that leads it for as long as it loads, so that the kernel itself wakes those who wait: when the leader is done, and at once when
 * it dies. A lease is a flight without a held mutex, for event loops and for work that another thread or process does: it ends by its
 * token, at its deadline, or, as far as somebody looks, with the thread that acquired it (whose reader slot says whether it lives).
 *
 *   leader                                                     who comes while it loads
 *   F1 misses; takes the shard's mutex; looks again            V1 misses; takes the shard's mutex; looks again
 *   F2 a free slot of the key's window: tries its mutex,       V2 finds the slot: its token is the ticket; leaves the shard
 *      draws a token, counts the flight, names the key,        V3 waits at the flight's mutex (a lease: at `turn`), in slices,
 *      then the state; leaves the shard                           with a deadline
 *   F3 loads, holding the flight's mutex and nothing else      V4 gets it, and the slot shows the ticket's token, still led: the leader
 *   F4 takes the shard's mutex; is the slot still its, and        died or left. So exactly one inherits: F2 in the same slot, with a
 *      not revoked? else nothing is stored                        new token, under the shard's mutex (flight mutex first, shard second)
 *   F5 ends the flight: outcome, count, state free             V5 gets it, and the flight is over: frees it, reads the outcome,
 *   F6 changes the key; leaves the shard                          checks that the token is still the ticket's, looks at the key
 *   F7 frees the flight's mutex; raises who sleeps on turn     V6 a slice ends: over if the slot shows another token or state
 *
 *   a writer of the key (set, incr, delete, clear; holds the shard's mutex)
 *   X1 before the change: shard.flights is 0? nothing to do    X2 else the key's flight is revoked: newcomers begin another one, F4 of
 *                                                                 the old one finds out
 *
 * F5 comes before F6, both under the shard's mutex: killed between them, the flight is over and nothing is stored, and whoever waited
 * begins again. X2 comes before the change for the same reason: a reader that saw the new value must not see an older one later.
 * A recovery of the shard revokes all its flights, as it does not know which key a dead writer was at.
 *
 * Slots are of shards, and a key has a window of 8 of them, so that X2 and F2 look at 16 lines at the most. Of the free ones the one that
 * was left longest ago is taken, none at whose mutex somebody still stands if that can be: who takes such a mutex makes the others wait for
 * a key that they do not want. V6 bounds what is left of that, and of waiting for a leader that was revoked or is late. Lock order: a
 * flight's mutex is waited for with no mutex held, and only tried with the shard's. A leader takes shards' mutexes, and, if its loader
 * fetches, other flights'; two who wait for each other in that way wait until their deadlines.
 *
 * When another file takes this one's place (resize.c), leaders are inside their loaders, and learn of it when those return:
 *   K1 the resizer, who holds every mutex, gives each flight that is led or leased a slot in the new file: carried, with its deadline, its
 *      origin (file, shard and token, which is what the leader knows of it) and the thread with which it ends; not one whose leader is
 *      dead, though somebody else holds its mutex by now (V4)
 *   K2 the old file is emptied, so the flights there are revoked. Who waits finds out (V6, or the leader ends or dies), looks in the new
 *      file, and joins the carried flight. So do newcomers: it is led, and nobody else loads
 *   K3 whoever changes the key in the new file revokes the carried flight (X2). In the old one nobody can, from K1 on
 *   K4 the leader may not write in the old file any more, goes on to the new one, takes the shard's mutex, and looks for the slot with its
 *      origin. None, or revoked: nothing is stored. Else F4 to F6 there, and it wakes who sleeps on the turn
 *   K5 F7 in the old file, behind that: whoever still stands there finds the value
 * So a value that was loaded before is stored if the key was not changed before K1, nor after it, in any number of files; that a resizer
 * which dies behind K1 leaves the slots in a file that nobody will see. A carried flight has no mutex that the kernel would free: that its
 * thread is dead is found out by who waits, a slice later, from the thread's number and the time of its birth. Where those say nothing
 * (several PID namespaces, no /proc) it is not carried, and is loaded again: a flight whose end nobody sees is worse than a second load.
 *
 * In files for several PID namespaces nobody may wait for a robust mutex (gate.c): there every flight is a lease.
 * Sources: leases and the stale-set rule, "Scaling Memcache at Facebook" (NSDI 2013); measured against polling, the kernel's wake-up makes
 * the slowest of 8 waiters 0.5 ms late instead of 100. */

#include "flight.h"

#include "crashpoint.h"
#include "expire.h"
#include "lock.h"
#include "platform.h"

#define WINDOW         8u
#define MUTEX_SLICE_MS 100u
#define TURN_SLICE_MS  50u

static struct pond_flight *flight_of(const struct pond_map *map, const struct pond_ticket *t) {
    return &pond_flights_of(map, t->shard)[t->slot];
}

/* ---- what a slot says ---- */

static uint32_t window_of(const struct pond_geometry *g) { return g->flights_per_shard < WINDOW ? g->flights_per_shard : WINDOW; }

/* The i-th slot of a key's window. */
static uint32_t slot_at(const struct pond_geometry *g, const struct pond_place *place, uint32_t i) {
    uint32_t at = pond_reduce(place->tag * UINT32_C(0x9E3779B1) ^ place->home, g->flights_per_shard) + i;
    return at < g->flights_per_shard ? at : at - g->flights_per_shard;
}

static int is_under_way(uint32_t state) { return state == POND_FLIGHT_LED || state == POND_FLIGHT_LEASED || state == POND_FLIGHT_CARRIED; }

static int is_of(const struct pond_flight *f, const struct pond_place *place) {
    return is_under_way(pond_load_acquire_32(&f->state)) && pond_load_32(&f->home) == place->home && pond_load_32(&f->tag) == place->tag;
}

/* Does nobody load it any more, as far as can be seen? */
static int is_given_up(struct pond_map *map, const struct pond_flight *f, uint64_t now_ms) {
    uint64_t deadline = pond_load_64(&f->deadline_ms);
    if (deadline <= now_ms || deadline > now_ms + POND_LOAD_MS_MAX) return 1; /* the latter is damage, or a clock set back */
    uint32_t state = pond_load_32(&f->state), holder = pond_load_32(&f->holder);
    if (state == POND_FLIGHT_LED) return !pond_lock_looks_held(&f->mutex);
    if (state == POND_FLIGHT_CARRIED) return holder != 0 && pond_platform_thread_born(holder) != pond_load_32(&f->holder_claims);
    if (holder == 0 || holder > map->geometry.reader_count) return 0;
    const struct pond_reader *slot = &map->readers[holder - 1];
    return !pond_lock_looks_held(&slot->mutex) || pond_load_32(&slot->claims) != pond_load_32(&f->holder_claims);
}

/* ---- changing a slot: under the shard's mutex ---- */

static void count_down(const struct pond_ref *ref) {
    uint32_t flights = ref->shard->flights;
    if (flights > 0) pond_store_32(&ref->shard->flights, flights - 1);
}

static void raise_turn(struct pond_flight *f) { pond_store_release_32(&f->turn, pond_load_32(&f->turn) + 1); }

static void make_free(const struct pond_ref *ref, struct pond_flight *f) {
    if (pond_load_32(&f->state) == POND_FLIGHT_FREE) return;
    pond_store_release_32(&f->state, POND_FLIGHT_FREE);
    POND_CRASHPOINT("flight.freed");
    raise_turn(f);
    count_down(ref);
}

static void revoke(const struct pond_ref *ref, struct pond_flight *f) {
    pond_store_release_32(&f->state, POND_FLIGHT_REVOKED);
    raise_turn(f);
    pond_bump_64(&ref->shard->counters.flights_revoked, 1);
}

static void wake(struct pond_flight *f) {
    pond_fence_full(); /* the turn before the look; who sleeps says so, fences, and then looks at the turn */
    if (pond_load_32(&f->sleepers) == 0) return;
    pond_store_32(&f->sleepers, 0);
    pond_platform_wake(&f->turn);
}

/* What a slot is given with its flight. */
struct assignment {
    uint64_t hash, origin, begun_ms, deadline_ms;
    uint32_t state, holder, holder_claims;
};

/* A new flight in a slot that nobody leads. ORDER flight-outcome (writer): the token before what follows overwrites the last flight's
 * outcome. Pairs with (reader) in pond_flight_result(). */
static void assign(const struct pond_ref *ref, struct pond_flight *f, const struct assignment *a) {
    struct pond_place place = pond_place_of(ref->g, a->hash);
    uint64_t token = ref->shard->flight_token + 1;
    pond_store_64(&ref->shard->flight_token, token);
    POND_CRASHPOINT("flight.drawn");
    pond_store_32(&ref->shard->flights, ref->shard->flights + 1);
    POND_CRASHPOINT("flight.counted");
    pond_store_64(&f->token, token);
    pond_fence_store();
    pond_store_32(&f->outcome, POND_OUTCOME_NONE);
    pond_store_64(&f->hash, a->hash);
    pond_store_64(&f->origin, a->origin);
    pond_store_32(&f->home, place.home);
    pond_store_32(&f->tag, place.tag);
    pond_store_64(&f->begun_ms, a->begun_ms);
    pond_store_64(&f->deadline_ms, a->deadline_ms);
    pond_store_32(&f->holder, a->holder);
    pond_store_32(&f->holder_claims, a->holder_claims);
    POND_CRASHPOINT("flight.named");
    pond_store_release_32(&f->state, a->state);
}

static void begin(const struct pond_ref *ref, struct pond_flight *f, uint64_t hash, int led, uint32_t holder, uint64_t load_max_ms) {
    uint64_t now_ms = pond_clock_write(ref->map);
    struct assignment a = {.hash = hash,
                           .begun_ms = now_ms,
                           .deadline_ms = now_ms + load_max_ms,
                           .state = led ? POND_FLIGHT_LED : POND_FLIGHT_LEASED,
                           .holder = led ? pond_lock_owner(&f->mutex) : holder,
                           .holder_claims = holder ? pond_load_32(&ref->map->readers[holder - 1].claims) : 0};
    assign(ref, f, &a);
    pond_bump_64(&ref->shard->counters.flights, 1);
    POND_CRASHPOINT("flight.begun");
}

/* Tries the flight's mutex; a dead leader's comes to us. */
static int take(struct pond_flight *f) {
    enum pond_lock_result got = pond_lock_try(&f->mutex);
    if (got == POND_LOCK_OWNER_DIED) pond_lock_consistent(&f->mutex);
    return got == POND_LOCK_HELD || got == POND_LOCK_OWNER_DIED;
}

/* Is it usable for a new flight, apart from its mutex? Frees what was left behind. */
static int is_usable(const struct pond_ref *ref, struct pond_flight *f, uint64_t now_ms) {
    switch (pond_load_32(&f->state)) {
    case POND_FLIGHT_FREE: return 1;
    case POND_FLIGHT_LEASED:
    case POND_FLIGHT_CARRIED:
        if (!is_given_up(ref->map, f, now_ms)) return 0;
        break;
    default: /* led, or revoked while it was led or leased: the leader may still hold the mutex */
        if (pond_lock_looks_held(&f->mutex)) return 0;
    }
    make_free(ref, f);
    return 1;
}

/* F2: the best free slot of the window that can be had; its mutex is held if `led`. */
static struct pond_flight *find_free(const struct pond_ref *ref, const struct pond_place *place, int led, uint64_t now_ms) {
    struct pond_flight *table = pond_flights_of(ref->map, ref->number);
    uint32_t window = window_of(ref->g), tried = 0;
    for (;;) {
        struct pond_flight *best = NULL;
        uint32_t best_at = 0;
        int best_queued = 0;
        for (uint32_t i = 0; i < window; i++) {
            struct pond_flight *f = &table[slot_at(ref->g, place, i)];
            if (tried >> i & 1 || !is_usable(ref, f, now_ms)) continue;
            int queued = pond_load_32(&f->queue) != 0;
            if (best && (queued > best_queued || (queued == best_queued && f->token >= best->token))) continue;
            best = f;
            best_at = i;
            best_queued = queued;
        }
        if (!best || !led || take(best)) return best;
        tried |= 1u << best_at;
    }
}

enum pond_flight_begun pond_flight_begin(const struct pond_ref *ref, uint64_t hash, int led, uint32_t holder, uint64_t load_max_ms,
                                         struct pond_ticket *ticket) {
    struct pond_flight *table = pond_flights_of(ref->map, ref->number);
    struct pond_place place = pond_place_of(ref->g, hash);
    uint64_t now_ms = pond_clock_write(ref->map);
    *ticket = (struct pond_ticket){.shard = ref->number};
    for (uint32_t i = 0; i < window_of(ref->g); i++) {
        ticket->slot = slot_at(ref->g, &place, i);
        struct pond_flight *f = &table[ticket->slot];
        if (!is_of(f, &place)) continue;
        ticket->token = f->token;
        if (!is_given_up(ref->map, f, now_ms)) {
            pond_bump_64(&ref->shard->counters.flight_waits, 1);
            return POND_FLIGHT_JOIN;
        }
        pond_bump_64(&ref->shard->counters.flight_takeovers, 1);
        revoke(ref, f); /* a leader that is only late finds out; a dead one's slot is usable at once */
        POND_CRASHPOINT("flight.taken_over");
    }
    struct pond_flight *f = find_free(ref, &place, led, now_ms);
    if (!f) {
        pond_bump_64(&ref->shard->counters.flights_full, 1);
        return POND_FLIGHT_NO;
    }
    begin(ref, f, hash, led, holder, load_max_ms);
    ticket->slot = (uint32_t)(f - table);
    ticket->token = f->token;
    return POND_FLIGHT_WON;
}

int pond_flight_inherit(const struct pond_ref *ref, uint64_t load_max_ms, struct pond_ticket *ticket) {
    struct pond_flight *f = flight_of(ref->map, ticket);
    if (f->token != ticket->token || pond_load_32(&f->state) == POND_FLIGHT_FREE) {
        pond_lock_release(&f->mutex);
        return 0;
    }
    uint64_t hash = f->hash;
    int revoked = pond_load_32(&f->state) == POND_FLIGHT_REVOKED;
    make_free(ref, f);
    if (revoked) {
        pond_lock_release(&f->mutex);
        return 0;
    }
    begin(ref, f, hash, 1, 0, load_max_ms);
    pond_bump_64(&ref->shard->counters.flight_takeovers, 1);
    ticket->token = f->token;
    POND_CRASHPOINT("flight.inherited");
    return 1;
}

/* K4. */
static int find_carried(const struct pond_ref *ref, const struct pond_place *place, struct pond_ticket *ticket) {
    struct pond_flight *table = pond_flights_of(ref->map, ref->number);
    for (uint32_t i = 0; i < window_of(ref->g); i++) {
        uint32_t slot = slot_at(ref->g, place, i);
        if (!is_of(&table[slot], place) || table[slot].origin != ticket->origin) continue;
        *ticket = (struct pond_ticket){.token = table[slot].token, .shard = ref->number, .slot = slot, .group = ticket->group};
        POND_CRASHPOINT("flight.found");
        return 1;
    }
    return 0;
}

int pond_flight_valid(const struct pond_ref *ref, const struct pond_place *place, struct pond_ticket *ticket) {
    if (POND_UNLIKELY(ticket->origin != 0) && !find_carried(ref, place, ticket)) return 0;
    const struct pond_flight *f = flight_of(ref->map, ticket);
    return f->token == ticket->token && is_under_way(pond_load_32(&f->state));
}

/* A lease's place may also have been freed since, by whoever looked for one (is_usable): then nothing was told yet. */
static int was_revoked(const struct pond_flight *f) {
    uint32_t state = pond_load_32(&f->state);
    return state == POND_FLIGHT_REVOKED || (state == POND_FLIGHT_FREE && pond_load_32(&f->outcome) == POND_OUTCOME_NONE);
}

void pond_flight_end(const struct pond_ref *ref, const struct pond_ticket *ticket, enum pond_flight_outcome outcome, int said) {
    struct pond_flight *f = flight_of(ref->map, ticket);
    if (f->token != ticket->token || ticket->origin != 0) return; /* it was given up, and the place is another's */
    if (was_revoked(f)) outcome = POND_OUTCOME_NONE;
    /* ORDER flight-outcome (writer): by release too, as another process may have stored the token. */
    pond_store_release_32(&f->said, (uint32_t)said);
    pond_store_release_32(&f->outcome, (uint32_t)outcome);
    make_free(ref, f);
    POND_CRASHPOINT("flight.ended");
}

void pond_flight_revoke(const struct pond_ref *ref, const struct pond_place *place) {
    struct pond_flight *table = pond_flights_of(ref->map, ref->number);
    for (uint32_t i = 0; i < window_of(ref->g); i++) {
        struct pond_flight *f = &table[slot_at(ref->g, place, i)];
        if (!is_of(f, place)) continue;
        revoke(ref, f);
        POND_CRASHPOINT("flight.revoked");
        wake(f);
    }
}

void pond_flight_revoke_all(const struct pond_ref *ref) {
    struct pond_flight *table = pond_flights_of(ref->map, ref->number);
    for (uint32_t i = 0; ref->shard->flights != 0 && i < ref->g->flights_per_shard; i++) {
        if (!is_under_way(pond_load_32(&table[i].state))) continue;
        revoke(ref, &table[i]);
        wake(&table[i]);
    }
}

void pond_flight_recover(const struct pond_ref *ref) {
    struct pond_flight *table = pond_flights_of(ref->map, ref->number);
    uint32_t flights = 0;
    for (uint32_t i = 0; i < ref->g->flights_per_shard; i++) flights += pond_load_32(&table[i].state) != POND_FLIGHT_FREE;
    pond_store_32(&ref->shard->flights, flights);
    pond_flight_revoke_all(ref);
}

/* ---- without the shard's mutex ---- */

void pond_flight_format(struct pond_map *map, int keep_carried) {
    uint64_t now_ms = pond_clock_read(map);
    for (uint32_t shard = 0; shard < map->geometry.shard_count; shard++) {
        struct pond_ref ref = pond_ref_of(map, shard);
        struct pond_flight *table = pond_flights_of(map, shard);
        uint32_t kept = 0;
        for (uint32_t i = 0; i < map->geometry.flights_per_shard; i++) {
            int unlocked = pond_lock_is_free(&table[i].mutex);
            if (table[i].state == POND_FLIGHT_FREE && unlocked) continue;
            if (keep_carried && table[i].state == POND_FLIGHT_CARRIED && unlocked && !is_given_up(map, &table[i], now_ms)) {
                kept++;
                continue;
            }
            memset(&table[i], 0, sizeof table[i]);
            pond_lock_init(&table[i].mutex);
        }
        ref.shard->flights = kept;
    }
}

/* ---- from file to file ---- */

uint64_t pond_flight_origin(uint64_t creation, const struct pond_ticket *ticket) {
    uint64_t words[3] = {creation, ticket->shard, ticket->token}, origin = pond_hash(words, sizeof words, 0);
    return origin ? origin : 1;
}

/* The thread with which a flight ends. 0 when it will not be seen elsewhere that it has; or when its leader is dead, and one of those who
 * wait has just been given its mutex (V4), but may find it revoked (H2 of resize.c) before he looks, and go away. */
static int find_thread(const struct pond_map *map, const struct pond_flight *f, struct assignment *a) {
    if (f->state == POND_FLIGHT_CARRIED || (f->state == POND_FLIGHT_LEASED && f->holder == 0)) {
        a->holder = f->holder;
        a->holder_claims = f->holder_claims;
        return 1;
    }
    int led = f->state == POND_FLIGHT_LED;
    if (map->gate || (!led && f->holder > map->geometry.reader_count)) return 0;
    a->holder = pond_lock_owner(led ? &f->mutex : &map->readers[f->holder - 1].mutex);
    if (led && a->holder != f->holder) return 0;
    a->holder_claims = a->holder ? pond_platform_thread_born(a->holder) : 0;
    return a->holder_claims != 0;
}

void pond_flight_carry(struct pond_map *from, struct pond_map *to) {
    uint64_t creation = pond_map_creation(from), now_ms = pond_clock_read(from);
    for (uint32_t i = 0; i < from->geometry.shard_count * from->geometry.flights_per_shard; i++) {
        struct pond_ticket old = {.shard = i / from->geometry.flights_per_shard, .slot = i % from->geometry.flights_per_shard};
        const struct pond_flight *f = flight_of(from, &old);
        old.token = f->token;
        struct assignment a = {.hash = f->hash,
                               .origin = f->state == POND_FLIGHT_CARRIED ? f->origin : pond_flight_origin(creation, &old),
                               .begun_ms = f->begun_ms,
                               .deadline_ms = f->deadline_ms,
                               .state = POND_FLIGHT_CARRIED};
        if (!is_under_way(f->state) || is_given_up(from, f, now_ms) || !find_thread(from, f, &a)) continue;
        struct pond_ref ref = pond_ref_of(to, pond_shard_of(&to->geometry, a.hash));
        struct pond_place place = pond_place_of(ref.g, a.hash);
        struct pond_flight *slot = find_free(&ref, &place, 0, now_ms);
        if (slot) assign(&ref, slot, &a);
        POND_CRASHPOINT("flight.carried");
    }
}

int pond_flight_seen(struct pond_map *map, uint32_t shard, const struct pond_place *place) {
    const struct pond_flight *table = pond_flights_of(map, shard);
    if (pond_load_32(&pond_ref_of(map, shard).shard->flights) == 0) return 0;
    uint64_t now_ms = pond_clock_read(map);
    for (uint32_t i = 0; i < window_of(&map->geometry); i++) {
        const struct pond_flight *f = &table[slot_at(&map->geometry, place, i)];
        if (is_of(f, place) && !is_given_up(map, f, now_ms)) return 1;
    }
    return 0;
}

int pond_flight_on(struct pond_map *map, const struct pond_ticket *ticket) {
    const struct pond_flight *f = flight_of(map, ticket);
    uint32_t state = pond_load_acquire_32(&f->state);
    if (pond_load_64(&f->token) != ticket->token || !is_under_way(state)) return 0;
    return !is_given_up(map, f, pond_clock_read(map));
}

int pond_flight_own(const struct pond_map *map, const struct pond_ticket *ticket) {
    const struct pond_flight *f = flight_of(map, ticket);
    return pond_load_32(&f->state) == POND_FLIGHT_CARRIED && pond_load_32(&f->holder) == pond_platform_thread();
}

static uint32_t slice_ms(uint64_t until_ns, uint32_t most) {
    uint64_t now = pond_platform_monotonic_ns(), left = until_ns > now ? (until_ns - now + 999999) / 1000000 : 0;
    return left < most ? (uint32_t)left : most;
}

/* V3 to V6 at the mutex. */
static enum pond_flight_waited wait_at_mutex(struct pond_map *map, struct pond_flight *f, const struct pond_ticket *ticket,
                                             uint64_t until_ns) {
    for (;;) {
        uint32_t slice = slice_ms(until_ns, MUTEX_SLICE_MS);
        int waited;
        enum pond_lock_result got = pond_lock_acquire(&f->mutex, slice, &waited);
        if (got == POND_LOCK_BROKEN) return POND_WAITED_TIMEOUT;
        if (got == POND_LOCK_OWNER_DIED) pond_lock_consistent(&f->mutex);
        if (got != POND_LOCK_BUSY) {
            POND_CRASHPOINT("flight.woken");
            if (pond_load_64(&f->token) == ticket->token && pond_load_32(&f->state) == POND_FLIGHT_LED) return POND_WAITED_INHERITS;
            pond_lock_release(&f->mutex);
            return POND_WAITED_OVER;
        }
        uint32_t state = pond_load_acquire_32(&f->state);
        if (pond_load_64(&f->token) != ticket->token || state != POND_FLIGHT_LED || is_given_up(map, f, pond_clock_read(map)))
            return POND_WAITED_OVER;
        if (slice == 0) return POND_WAITED_TIMEOUT;
    }
}

/* V3 to V6 without holding anything. */
static enum pond_flight_waited wait_for_turn(struct pond_map *map, struct pond_flight *f, const struct pond_ticket *ticket,
                                             uint64_t until_ns) {
    for (;;) {
        uint32_t turn = pond_load_acquire_32(&f->turn), slice = slice_ms(until_ns, TURN_SLICE_MS);
        if (!pond_flight_on(map, ticket)) return POND_WAITED_OVER;
        if (slice == 0) return POND_WAITED_TIMEOUT;
        pond_store_32(&f->sleepers, 1);
        pond_fence_full(); /* we say that we sleep before the kernel looks at the turn: pairs with wake() */
        pond_platform_wait(&f->turn, turn, slice);
    }
}

enum pond_flight_waited pond_flight_wait(struct pond_map *map, const struct pond_ticket *ticket, uint64_t until_ns, int may_inherit) {
    struct pond_flight *f = flight_of(map, ticket);
    if (!may_inherit || map->gate || pond_load_32(&f->state) != POND_FLIGHT_LED) return wait_for_turn(map, f, ticket, until_ns);
    pond_add_32(&f->queue, 1);
    enum pond_flight_waited waited = wait_at_mutex(map, f, ticket, until_ns);
    pond_add_32(&f->queue, UINT32_MAX);
    return waited;
}

/* ORDER flight-outcome (reader): the outcome before the token, which is replaced first. Pairs with (writer) in assign(). */
enum pond_flight_outcome pond_flight_result(struct pond_map *map, const struct pond_ticket *ticket, int *said) {
    const struct pond_flight *f = flight_of(map, ticket);
    if (pond_load_acquire_32(&f->state) != POND_FLIGHT_FREE) return POND_OUTCOME_NONE;
    uint32_t outcome = pond_load_acquire_32(&f->outcome);
    *said = (int)pond_load_32(&f->said);
    pond_fence_load();
    return pond_load_64(&f->token) == ticket->token ? (enum pond_flight_outcome)outcome : POND_OUTCOME_NONE;
}

void pond_flight_release(struct pond_map *map, const struct pond_ticket *ticket, int led) {
    struct pond_flight *f = flight_of(map, ticket);
    if (led) pond_lock_release(&f->mutex);
    POND_CRASHPOINT("flight.released");
    wake(f);
}
