/* SPDX-License-Identifier: MIT */
/* carry.pml: a key is loaded while another file takes the place of the one in which the load began.
 *
 * One key, a window of two flights, RESIZES + 1 files. FETCHERS fetch it, each with a handle of its own, ROUNDS times at most; a writer
 * changes it WRITES times (what is loaded first, then the pond: a new value, or a delete). DEATHS times somebody dies between two steps,
 * the resizer too; LATES times the time to load of a flight is over. With LEASES flights are leases; with NESTS a loader fetches its own
 * key again.
 *
 * Whatever somebody does under a mutex is one step here (flight.pml takes it apart), but for the resizer, who holds one for long:
 *
 *   resizer (lib/resize.c)                                leader (lib/flight.c, fetch.c)
 *   Z3 the mutex                                          F1, F2 a flight, or joins one; F3 loads
 *   Z4 the value is copied; K1 each flight under way      F4 to F6 where it began; if that was replaced:
 *      gets a slot in the new file, with its origin       K4 follows; finds the flight with its origin, F5, F6;
 *      and the thread with which it ends                     replaced as well: follows again
 *   H1 old: replaced                                      K5 F7 where it began
 *   H2 the old file is emptied, its flights revoked
 *   H3, H4 new: in place; the mutex                       who waits, at the mutex of a flight that is led: V4 inherits, or, replaced
 *   whoever must write finishes H2 to H4 where the           just now, looks again; V6 the flight is over: looks again
 *   resizer died
 *   The first one to open the new file keeps the flights that were carried.
 *
 * Checked: what is read is never older than what a write that has returned has left, or anybody has seen. While somebody loads whose load
 * may be stored (the key was not changed, its time is not over, no shard was recovered), nobody else begins to load; and what it has loaded
 * is stored. Nobody waits for ever, nor for himself.
 *
 * Must fail: NO_CARRY, CARRY_EARLY (before Z3), CARRY_LATE (K1 behind H2), ORIGIN_ANEW (a second resize gives another origin), NEW_SEED (the
 *            key has other places in the new file), NOT_KEPT (by the first one who opens it), REVOKE_LED_ONLY (K3), STORE_BLINDLY (K4),
 *            DEATH_UNSEEN (of the thread of a carried flight), HEIR_CARRIED (a flight whose leader is dead, for whoever has been given its
 *            mutex just now: it is revoked before he looks, and he waits for himself in the new file), OWN_UNSEEN with NESTS.
 * Must pass: K5_FIRST (who waits then looks into the new file and joins the carried flight). */

#ifndef FETCHERS
#define FETCHERS 2
#endif
#ifndef ROUNDS
#define ROUNDS 3
#endif
#ifndef RESIZES
#define RESIZES 1
#endif
#ifndef WRITES
#define WRITES 1
#endif
#ifndef DEATHS
#define DEATHS 1
#endif
#ifndef LATES
#define LATES 0
#endif
#define FILES (RESIZES + 1)
#define SLOTS (FILES * 2)

#define FREE 0 /* of mutexes and of states */
#define HELD 1
#define LEFT 2 /* by one who died */
#define LED 1
#define LEASED 2
#define CARRIED 3
#define REVOKED 4
#ifdef LEASES
#define FLOWN LEASED
#else
#define FLOWN LED
#endif

/* In the files. */
byte lock[FILES], value[FILES], tokens[FILES], seed[FILES];
bool replaced[FILES], in_place[FILES], opened[FILES];
byte state[SLOTS], token[SLOTS], origin[SLOTS], holder[SLOTS], tag[SLOTS];
byte mutex[SLOTS]; /* of a flight: who holds it, from 1 on */
bool late[SLOTS];

/* What is true. */
byte source = 1, least;
bool dead[FETCHERS + 1], may[FETCHERS + 1]; /* may what this one has loaded, or loads, be stored? */
byte deaths, lates, done;

#define LIVE(k)     (state[k] == LED || state[k] == LEASED || state[k] == CARRIED)
#ifdef DEATH_UNSEEN
#define GONE(k) (state[k] == LEASED && dead[holder[k]])
#else
#define GONE(k) (dead[holder[k]])
#endif
#define GIVEN_UP(k) (late[k] || (state[k] == LED -> mutex[k] == 0 : GONE(k)))
#define OF_KEY(f, k) (LIVE(k) && tag[k] == seed[f])
#define USABLE(k)   (state[k] == FREE || ((state[k] == LEASED || state[k] == CARRIED) -> GIVEN_UP(k) : mutex[k] == 0))
#define NAME(f, t)  ((f) * 16 + (t))

#define MAY_DIE()                                                                                                                      \
    if                                                                                                                                 \
    :: true                                                                                                                            \
    :: deaths < DEATHS -> deaths++; goto dying                                                                                         \
    fi

#define NOBODY_MAY()                                                                                                                   \
    may[1] = false;                                                                                                                    \
    may[FETCHERS] = false

#define REVOKE(k)                                                                                                                      \
    if                                                                                                                                 \
    :: LIVE(k) -> state[k] = REVOKED                                                                                                   \
    :: else                                                                                                                            \
    fi

/* Waits for the mutex of a file; what a dead resizer left is recovered. */
#define ENTER(f)                                                                                                                       \
    lock[f] != HELD && (in_place[f] || lock[((f) -> (f) - 1 : 0)] != HELD);                                                              \
    if                                                                                                                                 \
    :: lock[f] == LEFT -> lock[f] = FREE; REVOKE((f) * 2); REVOKE((f) * 2 + 1); NOBODY_MAY()                                           \
    :: else                                                                                                                            \
    fi

/* H2 to H4. */
#define EMPTY(f)   value[f] = 0; REVOKE((f) * 2); REVOKE((f) * 2 + 1)
#define SETTLE(f)  in_place[(f) + 1] = true

/* The next file: the first one who opens it is alone with it. */
#ifdef NOT_KEPT
#define KEEP(f) state[(f) * 2] = FREE; state[(f) * 2 + 1] = FREE
#else
#define KEEP(f) skip
#endif
#define FOLLOW(f)                                                                                                                      \
    f++;                                                                                                                               \
    if                                                                                                                                 \
    :: !opened[f] -> opened[f] = true; KEEP(f)                                                                                         \
    :: else                                                                                                                            \
    fi

/* Under the mutex of f: 1 if it may be written; else goes on, and finishes what a dead resizer has left. */
#define FINISH(f)                                                                                                                      \
    if                                                                                                                                 \
    :: !in_place[f] -> lock[(f) - 1] = FREE; EMPTY((f) - 1); SETTLE((f) - 1)                                                           \
    :: else                                                                                                                            \
    fi

inline end_at(k)
{
    state[k] = FREE
}

proctype fetcher(byte me)
{
    byte f, g, at, ticket, first, got, rounds;
    bool valid, heir;

look:
    atomic {
        heir = false;
        if
        :: rounds == ROUNDS -> goto out
        :: value[f] != 0 -> assert(value[f] >= least); least = value[f]; goto out
        :: value[f] == 0 && rounds < ROUNDS && replaced[f] -> FOLLOW(f); goto look
        :: value[f] == 0 && rounds < ROUNDS && !replaced[f] -> rounds++
        fi
    }
    atomic { /* F1, F2, V1, V2 */
        ENTER(f);
        if
        :: replaced[f] -> rounds--; FOLLOW(f); goto look
        :: else
        fi;
        FINISH(f);
        if
        :: value[f] != 0 -> goto look
        :: else
        fi;
        at = f * 2;
        do
        :: at == f * 2 + 2 -> break
        :: at < f * 2 + 2 && OF_KEY(f, at) && !GIVEN_UP(at) ->
            assert(holder[at] != me || state[at] == LED); /* nobody waits for himself */
            ticket = token[at];
            goto wait
        :: at < f * 2 + 2 && OF_KEY(f, at) && GIVEN_UP(at) -> state[at] = REVOKED; may[1] = false; may[FETCHERS] = false; at++
        :: else -> at++
        od;
        at = f * 2;
        if
        :: USABLE(at) && (FLOWN == LEASED || mutex[at] == 0)
        :: else ->
            at++;
            if
            :: USABLE(at) && (FLOWN == LEASED || mutex[at] == 0)
            :: else -> goto out /* alone */
            fi
        fi;
inherits:
        assert(!may[1] && !may[FETCHERS]);
        may[me] = true;
        tokens[f]++;
        ticket = tokens[f];
        token[at] = ticket;
        origin[at] = 0;
        tag[at] = seed[f];
        late[at] = false;
        holder[at] = me;
        mutex[at] = (FLOWN == LEASED -> 0 : me);
        state[at] = FLOWN;
        MAY_DIE()
    }
lead:
    atomic { got = source; first = f; MAY_DIE() } /* F3 */
#ifdef NESTS
    atomic { /* the loader asks for its own key, in the newest file */
        g = f;
        do
        :: replaced[g] -> FOLLOW(g)
        :: else -> break
        od;
        at = (OF_KEY(g, g * 2) && g != f -> g * 2 : (OF_KEY(g, g * 2 + 1) && g != f -> g * 2 + 1 : at));
        valid = (g != f && at / 2 == g && LIVE(at) && !GIVEN_UP(at))
    }
#ifdef OWN_UNSEEN
    !valid || !LIVE(at) || GIVEN_UP(at);
#else
    !valid || !LIVE(at) || GIVEN_UP(at) || holder[at] == me;
#endif
    atomic { g = 0; valid = false; at = (token[f * 2] == ticket && mutex[f * 2] == me -> f * 2 : f * 2 + 1) }
#endif
    atomic { /* F4 to F6 */
        ENTER(f);
        if
        :: replaced[f] -> goto elsewhere
        :: else
        fi;
        FINISH(f);
        valid = (token[at] == ticket && LIVE(at));
        assert(valid || !may[me]);
        if
        :: token[at] == ticket -> end_at(at); may[me] = false; MAY_DIE()
        :: else
        fi;
        if
        :: valid -> value[f] = got; assert(got >= least)
        :: else
        fi;
        goto left
    }

elsewhere:
#ifdef K5_FIRST
    atomic {
        if
        :: mutex[at] == me -> mutex[at] = 0
        :: else
        fi
    }
#endif
    g = f;
further:
    atomic { FOLLOW(g); MAY_DIE() }
    atomic { /* K4 */
        ENTER(g);
        if
        :: replaced[g] -> goto further
        :: else
        fi;
        FINISH(g);
        valid = false;
        if
        :: OF_KEY(g, g * 2) && origin[g * 2] == NAME(first, ticket) -> valid = true; end_at(g * 2)
        :: OF_KEY(g, g * 2 + 1) && origin[g * 2 + 1] == NAME(first, ticket) -> valid = true; end_at(g * 2 + 1)
        :: else
        fi;
        assert(valid || !may[me]);
        may[me] = false;
        MAY_DIE();
#ifdef STORE_BLINDLY
        valid = true;
#endif
        if
        :: valid -> value[g] = got; assert(got >= least)
        :: else
        fi
    }
left: /* F7, K5 */
    atomic {
        if
        :: mutex[at] == me -> mutex[at] = 0
        :: else
        fi;
        may[me] = false;
        goto out
    }

wait:
    if
    :: atomic { state[at] == LED && mutex[at] == 0 && FLOWN == LED -> mutex[at] = me } /* V4 */
        atomic {
            if
            :: token[at] == ticket && state[at] == LED
            :: else -> mutex[at] = 0; goto look
            fi
        }
        atomic {
            ENTER(f);
            if
            :: replaced[f] -> mutex[at] = 0; goto look
            :: else
            fi;
            FINISH(f);
            if
            :: token[at] != ticket || state[at] != LED -> mutex[at] = 0; goto look
            :: else -> goto inherits
            fi
        }
    :: token[at] != ticket || !LIVE(at) || late[at] || (state[at] != LED && GIVEN_UP(at)) -> goto look /* V6 */
    fi;

dying:
    atomic {
        dead[me] = true;
        may[me] = false;
        at = 0;
        do
        :: at < SLOTS -> mutex[at] = (mutex[at] == me -> 0 : mutex[at]); at++
        :: else -> break
        od
    }
out:
    atomic { done++; f = 0; g = 0; at = 0; ticket = 0; first = 0; got = 0; rounds = 0; valid = false; heir = false }
}

#ifdef HEIR_CARRIED
#define LEADER(k) true
#else
#define LEADER(k) (state[k] != LED || mutex[k] == holder[k])
#endif

inline carry(f)
{
    k = f * 2;
    do
    :: k == f * 2 + 2 -> break
    :: k < f * 2 + 2 && LIVE(k) && !GIVEN_UP(k) && LEADER(k) ->
        tokens[f + 1]++;
        state[k + 2] = CARRIED;
        token[k + 2] = tokens[f + 1];
#ifdef ORIGIN_ANEW
        origin[k + 2] = NAME(f, token[k]);
#else
        origin[k + 2] = (state[k] == CARRIED -> origin[k] : NAME(f, token[k]));
#endif
        holder[k + 2] = (state[k] == LED -> mutex[k] : holder[k]);
        tag[k + 2] = tag[k];
        late[k + 2] = late[k];
        k++
    :: else -> k++
    od
}

proctype resizer()
{
    byte f, k;
    bool inside;

    do
    :: f == RESIZES -> break
    :: else ->
#ifdef CARRY_EARLY
        atomic { carry(f) }
#endif
        atomic { ENTER(f); FINISH(f); lock[f] = HELD; inside = true; MAY_DIE() } /* Z3 */
        atomic {
            value[f + 1] = value[f]; /* Z4, K1 */
#ifdef NEW_SEED
            seed[f + 1] = f + 1;
#endif
#if !defined NO_CARRY && !defined CARRY_EARLY && !defined CARRY_LATE
            carry(f);
#endif
            MAY_DIE()
        }
        atomic { replaced[f] = true; MAY_DIE() } /* H1 */
        atomic { EMPTY(f); MAY_DIE() }           /* H2 */
#ifdef CARRY_LATE
        atomic { carry(f) }
#endif
        atomic { SETTLE(f); MAY_DIE() } /* H3, H4 */
        atomic { lock[f] = FREE; inside = false; f++ }
    od;
    goto out;
dying:
    atomic {
        if
        :: inside && !replaced[f] -> /* nobody will see the new file */
            k = f * 2 + 2;
            state[k] = FREE;
            state[k + 1] = FREE;
            lock[f] = LEFT
        :: inside && replaced[f] -> lock[f] = LEFT
        :: else
        fi
    }
out:
    atomic { done++; f = 0; k = 0; inside = false }
}

proctype writer()
{
    byte f, writes;

    do
    :: writes == WRITES -> break
    :: else ->
        source++;
again:
        atomic {
            ENTER(f);
            if
            :: replaced[f] -> FOLLOW(f); goto again
            :: else
            fi;
            FINISH(f);
#ifdef REVOKE_LED_ONLY
            if
            :: state[f * 2] == LED -> state[f * 2] = REVOKED
            :: else
            fi;
            if
            :: state[f * 2 + 1] == LED -> state[f * 2 + 1] = REVOKED
            :: else
            fi;
#else
            if
            :: OF_KEY(f, f * 2) -> state[f * 2] = REVOKED
            :: else
            fi;
            if
            :: OF_KEY(f, f * 2 + 1) -> state[f * 2 + 1] = REVOKED
            :: else
            fi;
#endif
            NOBODY_MAY();
            if
            :: value[f] = source
            :: value[f] = 0
            fi;
            least = source;
            writes++
        }
    od;
    atomic { done++; f = 0; writes = 0 }
}

proctype clock()
{
    byte k;

    do
    :: atomic { lates < LATES ->
            k = 0;
            do
            :: k < SLOTS - 1 -> k++
            :: break
            od;
            if
            :: LIVE(k) -> lates++; late[k] = true; NOBODY_MAY()
            :: else
            fi;
            k = 0
        }
    :: timeout -> break
    od;
    assert(done == FETCHERS + 1 + (WRITES > 0 -> 1 : 0))
}

init
{
    atomic {
        in_place[0] = true;
        opened[0] = true;
        run fetcher(1);
#if FETCHERS > 1
        run fetcher(2);
#endif
        run resizer();
#if WRITES > 0
        run writer();
#endif
        run clock()
    }
}
