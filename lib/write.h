/* SPDX-License-Identifier: MIT */
#ifndef POND_WRITE_H
#define POND_WRITE_H

/* Writing: everything that changes one key, under the mutex of its shard. Results as of the public functions. */

#include "flight.h"
#include "millpond.h"
#include "read.h"

int pond_write_set(struct pond_map *map, uint32_t timeout_ms, const struct pond_key *key, const void *value, size_t value_bytes,
                   struct millpond_set *options);

/* ---- what was loaded, and who loads it ---- */

struct pond_fill {
    struct pond_ticket *ticket;
    uint64_t cost_ms; /* how long it took */
    int negative;     /* o->ttl_ms: how long it is known that there is no such thing */
};
/* Ends the ticket's flight and stores, or MILLPOND_CHANGED: the flight is over or revoked. On an error of the set the flight has ended too,
 * but on ERR_BUSY, ERR_REENTERED, and what is said without the lock: then pond_write_fill_end(). */
int pond_write_fill(struct pond_map *map, uint32_t timeout_ms, const struct pond_key *key, const void *value, size_t value_bytes,
                    struct millpond_set *options, const struct pond_fill *fill);
/* Ends it with nothing to store; POND_OUTCOME_NOTHING: an older value leaves. MILLPOND_OK or CHANGED. */
int pond_write_fill_end(struct pond_map *map, uint32_t timeout_ms, const struct pond_key *key, struct pond_ticket *ticket,
                        enum pond_flight_outcome outcome, int said);

/* There is an entry, as its writers see it, and readers have a miss each time: it is damaged. */
#define POND_SEEN_UNREADABLE UINT64_MAX
struct pond_begin {
    uint64_t seen; /* version of the entry that the caller wants to have replaced, 0 for none, or POND_SEEN_UNREADABLE */
    uint64_t load_max_ms;
    uint32_t holder; /* of a lease: pond_flight_begin() */
    int led;
};
/* F1 and F2, V1 and V2 of flight.c, and V4. One of these, or an error of pond_write_enter(): */
enum { POND_BEGIN_WON = 1000, POND_BEGIN_JOIN, POND_BEGIN_NO_PLACE, POND_BEGIN_LOOK_AGAIN };
int pond_write_begin(struct pond_map *map, uint32_t timeout_ms, const struct pond_key *key, const struct pond_begin *begin,
                     struct pond_ticket *ticket);
int pond_write_inherit(struct pond_map *map, uint32_t timeout_ms, uint64_t load_max_ms, struct pond_ticket *ticket);

int pond_write_delete(struct pond_map *map, uint32_t timeout_ms, const struct pond_key *key);
int pond_write_touch(struct pond_map *map, uint32_t timeout_ms, const struct pond_key *key, uint64_t ttl_ms);
int pond_write_incr(struct pond_map *map, uint32_t timeout_ms, const struct pond_key *key, int64_t delta,
                    const struct millpond_incr *create, int64_t *value);
int pond_write_clear(struct pond_map *map, uint32_t timeout_ms);

/* Is this the decimal text of a 64-bit number, with nothing before or behind it? */
int pond_write_number(const unsigned char *text, uint32_t n, int64_t *number);

#endif
