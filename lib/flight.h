/* SPDX-License-Identifier: MIT */
#ifndef POND_FLIGHT_H
#define POND_FLIGHT_H

/* Flights: which keys somebody is loading. The protocol stands at the top of flight.c. */

#include "atomic.h"
#include "index.h"
#include "shard.h"

/* How a flight ended, for those who waited. */
enum pond_flight_outcome {
    POND_OUTCOME_NONE = 0,      /* it was given up, revoked, or its leader died */
    POND_OUTCOME_STORED = 1,    /* the answer is in the index */
    POND_OUTCOME_NOTHING = 2,   /* there is no such thing */
    POND_OUTCOME_FAILED = 3,    /* the loader said `said` */
    POND_OUTCOME_UNSTORABLE = 4 /* loaded, but it does not fit: who wants it loads it */
};

/* A part in a flight: the leader's, or that of somebody who waits. */
struct pond_ticket {
    uint64_t token;
    uint64_t origin;      /* 0, or: of a flight that began in another file. Where it is here is still to be found */
    uint32_t shard, slot; /* slot: among the shard's */
    uint64_t group;       /* 0, or the stamp of the group in which the value will be stored, as of before its load (group.c) */
};

enum pond_flight_begun {
    POND_FLIGHT_WON,  /* ours */
    POND_FLIGHT_JOIN, /* another's; the ticket is good for waiting */
    POND_FLIGHT_NO    /* every place is taken */
};

enum pond_flight_waited {
    POND_WAITED_OVER,     /* it ended, or nobody loads any more: look again */
    POND_WAITED_INHERITS, /* its leader is gone, and we hold the flight's mutex: pond_flight_inherit() */
    POND_WAITED_TIMEOUT
};

static inline struct pond_flight *pond_flights_of(const struct pond_map *map, uint32_t shard) {
    return (struct pond_flight *)(void *)(map->base + map->geometry.flights_off) + (uint64_t)shard * map->geometry.flights_per_shard;
}

/* ---- for the holder of the shard's mutex ---- */

/* Begins the flight of a key, by its hash, or finds the one that there is. led: the calling thread holds the flight's mutex until
 * pond_flight_release(); else it is a lease, which ends with the thread that owns the reader slot `holder` - 1 (0: with nobody). */
enum pond_flight_begun pond_flight_begin(const struct pond_ref *ref, uint64_t hash, int led, uint32_t holder, uint64_t load_max_ms,
                                         struct pond_ticket *ticket);

/* Who waited and holds the flight's mutex becomes its leader. 0: the flight is over after all; the mutex is free again. */
int pond_flight_inherit(const struct pond_ref *ref, uint64_t load_max_ms, struct pond_ticket *ticket);

/* May what this ticket's holder loaded be stored? A flight that began in another file is found first (K4): the ticket is then of here. */
int pond_flight_valid(const struct pond_ref *ref, const struct pond_place *place, struct pond_ticket *ticket);

/* Ends a flight, if it is still the ticket's. Before the key is changed; afterwards `outcome` may be told anew. */
void pond_flight_end(const struct pond_ref *ref, const struct pond_ticket *ticket, enum pond_flight_outcome outcome, int said);

/* The key is being changed: whoever loads it loads what is out of date. Costs one load while nobody loads anything. */
void pond_flight_revoke(const struct pond_ref *ref, const struct pond_place *place);
static inline void pond_flight_change(const struct pond_ref *ref, const struct pond_place *place) {
    if (POND_UNLIKELY(pond_load_32(&ref->shard->flights) != 0)) pond_flight_revoke(ref, place);
}
/* The same for every key of the shard. */
void pond_flight_revoke_all(const struct pond_ref *ref);

/* After a death inside the shard: counts anew. What was being changed is not known here, so every load is out of date. */
void pond_flight_recover(const struct pond_ref *ref);

/* ---- for anybody ---- */

/* No flights: a new file, or one that nobody else uses. keep_carried: but those whose leaders live, in a file that this one replaced. */
void pond_flight_format(struct pond_map *map, int keep_carried);

/* K1: what is led or leased in `from`, of which the caller holds every mutex, goes on in `to`, which nobody knows yet. */
void pond_flight_carry(struct pond_map *from, struct pond_map *to);

/* What the flight of a ticket is known by in the files that replace this one. */
uint64_t pond_flight_origin(uint64_t creation, const struct pond_ticket *ticket);

/* Does somebody seem to load this key? */
int pond_flight_seen(struct pond_map *map, uint32_t shard, const struct pond_place *place);

/* Is the ticket's flight still under way? */
int pond_flight_on(struct pond_map *map, const struct pond_ticket *ticket);

/* Is it a carried flight that ends with the calling thread? Who waited for it would wait for itself. */
int pond_flight_own(const struct pond_map *map, const struct pond_ticket *ticket);

/* Waits for the end of a flight, up to a moment of pond_platform_monotonic_ns(). may_inherit: the caller will lead if the leader is gone.
 */
enum pond_flight_waited pond_flight_wait(struct pond_map *map, const struct pond_ticket *ticket, uint64_t until_ns, int may_inherit);

/* What came of a flight, if that is still known, else POND_OUTCOME_NONE. */
enum pond_flight_outcome pond_flight_result(struct pond_map *map, const struct pond_ticket *ticket, int *said);

/* Behind the end of a flight, without the shard's mutex: frees the flight's mutex (led), wakes those who wait. */
void pond_flight_release(struct pond_map *map, const struct pond_ticket *ticket, int led);

#endif
