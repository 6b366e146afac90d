/* SPDX-License-Identifier: MIT */
/* flight.pml: one of those who miss a key loads it; the others wait; leaders die, writers change the key meanwhile.
 *
 * Key A, a window of two flights. FETCHERS processes fetch A; one writes it WRITES times (what is loaded first, then the pond: a new value,
 * or a delete), unless NO_WRITER; with OTHER one begins and ends a flight of another key in whatever place it may take, led or leased.
 * DEATHS times somebody dies between two steps; his mutexes go to whoever takes them next. The time to load of one flight may be over at
 * any moment.
 *
 *   fetch (lib/flight.c)                                     writer
 *   F1 misses; the shard's mutex; looks again                W  changes what is loaded
 *   V2 A's flight is there: its token is the ticket          X  the shard's mutex
 *   F2 else a place whose mutex is free: token, outcome,     X1 flights is 0: nothing to do
 *      key, state                                            X2 else A's flight is revoked
 *   F3 loads                                                 X3 A is changed
 *   F4 the shard's mutex; is the flight still its own?
 *   F5 outcome, state free   F6 A   F7 the flight's mutex    recovery of the shard: flights counted anew, all revoked
 *   V4 gets the flight's mutex, still led: inherits
 *   V5 else, or V6 from time to time: state free? outcome, then token: told, or looks again
 *
 * With LEASES A's flights are leases: no mutex is held while loading, and a waiter looks at the state only.
 * A recovery is one step: everything that it does can be repeated.
 *
 * Checked: what stands in the pond is never older than what a write that has returned has left, or anybody has seen. At most one flight of
 * A may store. Who is told how a flight ended is told so of his own flight, and not of one that had been revoked by then. The count fits
 * whenever the mutex is let go. Nobody waits for ever.
 *
 * Must fail: NO_REVOKE (X2), NOT_COUNTED (F2 without the count), LOAD_FIRST (F3 before F2), FILL_UNCHECKED, CHECK_UNLOCKED (F4),
 *            TWO_HOLDS (the mutex is let go between F5 and F6), TOKEN_AGAIN (a place keeps its token), NO_TOKEN_CHECK, TOKEN_FIRST (V5),
 *            INHERIT_UNCHECKED (V4 without looking again under the shard's mutex), REVOKE_LAST with NO_RECOVERY_REVOKE (a writer dies
 *            between X3 and X2; one of the two alone is harmless), FORGET_REVOKED (F5 of a flight that was revoked tells all the same),
 *            TOLD_AFTER_FREED with LEASES (the same of one that was revoked, and then freed by whoever looked for a place),
 *            NO_RELEASE (F7). */

#ifndef WRITES
#define WRITES 1
#endif
#ifndef DEATHS
#define DEATHS 1
#endif
#ifndef ROUNDS
#define ROUNDS 2
#endif
#define N 2

#define FREE 0 /* of mutexes and of states */
#define HELD 1
#define LEFT 2 /* by one who died */
#define LED 1
#define LEASED 2
#define REVOKED 3
#define NONE 0
#define STORED 1
#define FAILED 2
#define A 1
#define B 2

#ifdef LEASES
#define FLOWN LEASED
#else
#define FLOWN LED
#endif

/* In the file. */
byte shard, flights, tokens, cached;
byte state[N], token[N], outcome[N], key[N], mutex[N];
bool late[N], gone[N]; /* its time is over; the one who has the lease is */

/* What is true. */
byte origin = 1; /* what a loader loads */
byte least;      /* what may not be undercut any more */
byte told[8];    /* how the flight with this token ended, if it had not been revoked by then */
byte revoked;    /* tokens, one bit each */
byte deaths, done, others;

#ifndef FETCHERS
#define FETCHERS 2
#endif
#define LIVE(k)     (state[k] == LED || state[k] == LEASED)
#define OF_A(k)     (LIVE(k) && key[k] == A)
#define GIVEN_UP(k) (late[k] || (state[k] == LED -> mutex[k] != HELD : gone[k]))
#define USABLE(k)   (state[k] == FREE || (state[k] == LEASED -> GIVEN_UP(k) : mutex[k] != HELD))
#define COUNT       ((state[0] != FREE) + (state[1] != FREE))

#define STEP(statement)                                                                                                                \
    atomic {                                                                                                                           \
        statement;                                                                                                                     \
        if                                                                                                                             \
        :: true                                                                                                                        \
        :: deaths < DEATHS -> deaths++; goto dead                                                                                      \
        fi                                                                                                                             \
    }

#define REVOKE(k)                                                                                                                      \
    atomic {                                                                                                                           \
        state[k] = REVOKED;                                                                                                            \
        revoked = revoked | (1 << token[k])                                                                                            \
    }

#define FREE_UP(k)                                                                                                                     \
    if                                                                                                                                 \
    :: state[k] != FREE -> state[k] = FREE; flights = (flights > 0 -> flights - 1 : 0)                                                 \
    :: else                                                                                                                            \
    fi

inline revoke_all()
{
    if
    :: LIVE(0) -> REVOKE(0)
    :: else
    fi;
    if
    :: LIVE(1) -> REVOKE(1)
    :: else
    fi
}

inline enter()
{
    atomic {
        shard != HELD;
        if
        :: shard == LEFT ->
            flights = COUNT;
#ifndef NO_RECOVERY_REVOKE
            revoke_all()
#endif
        :: else
        fi;
        shard = HELD;
        inside = true
    }
}

inline let_go()
{
    atomic {
        assert(flights == COUNT);
        assert(!(OF_A(0) && OF_A(1)));
        shard = FREE;
        inside = false
    }
}

/* F2: a place for `how`; its mutex if it is led. at = N: none. */
inline find_free(how)
{
    atomic {
        if
        :: USABLE(0) -> FREE_UP(0)
        :: else
        fi;
        if
        :: USABLE(1) -> FREE_UP(1)
        :: else
        fi;
        if
        :: USABLE(0) && (how == LEASED || mutex[0] != HELD) -> at = 0
        :: USABLE(1) && (how == LEASED || mutex[1] != HELD) -> at = 1
        :: else -> at = N
        fi;
        if
        :: at < N ->
            if
            :: how == LED -> mutex[at] = HELD; holds = true
            :: else
            fi
        :: else
        fi
    }
}

inline assign(how, whose)
{
    atomic {
#ifdef TOKEN_AGAIN
    tokens = (token[at] == 0 -> tokens + 1 : tokens);
    ticket = (token[at] == 0 -> tokens : token[at]);
#else
    tokens++;
    ticket = tokens;
#endif
#ifndef NOT_COUNTED
    flights++;
#endif
    token[at] = ticket;
    if
    :: true
    :: deaths < DEATHS -> deaths++; goto dead
    fi
    }
    STEP(outcome[at] = NONE; key[at] = whose; late[at] = false; gone[at] = false);
    STEP(state[at] = how)
}

/* F5. */
inline end_flight(how)
{
    if
    :: token[at] == ticket ->
        atomic {
            if
#ifndef FORGET_REVOKED
            :: state[at] == REVOKED -> ending = NONE
#endif
#ifndef TOLD_AFTER_FREED
            :: state[at] == FREE -> ending = NONE /* somebody else has freed it */
#endif
            :: else -> ending = how
            fi;
            told[ticket] = (revoked >> ticket & 1 -> NONE : ending);
            outcome[at] = ending;
            if
            :: true
            :: deaths < DEATHS -> deaths++; goto dead
            fi
        }
        STEP(FREE_UP(at))
    :: else
    fi
}

proctype fetcher()
{
    byte ticket, at, got, ending, rounds;
    bool inside, holds, valid;

look: /* L1, F1 */
    atomic {
        if
        :: rounds == ROUNDS -> goto out
        :: cached != 0 ->
            assert(cached >= least);
            least = cached;
            goto out
        :: else -> rounds++
        fi;
        got = 0;
        valid = false
    }
#ifdef LOAD_FIRST
    got = origin;
#endif
    enter();
    atomic {
        if
        :: cached != 0 -> let_go(); goto look
        :: else
        fi;
        at = 0; /* V2 */
        do
        :: at == N -> break
        :: at < N && OF_A(at) && !GIVEN_UP(at) -> ticket = token[at]; let_go(); goto wait
        :: at < N && OF_A(at) && GIVEN_UP(at) -> REVOKE(at); at++
        :: else -> at++
        od
    }
    find_free(FLOWN);
    if
    :: at == N -> let_go(); goto out /* alone: nothing is stored */
    :: else
    fi;
    assign(FLOWN, A);
    let_go();
lead: /* F3 */
#ifndef LOAD_FIRST
    STEP(got = origin);
#endif
#ifdef CHECK_UNLOCKED
    valid = (token[at] == ticket && LIVE(at));
#endif
    enter();
#ifdef FILL_UNCHECKED
    valid = true;
#elif !defined CHECK_UNLOCKED
    valid = (token[at] == ticket && LIVE(at)); /* F4 */
#endif
    if
    :: true -> end_flight(STORED) /* F5 */
    :: true -> end_flight(FAILED); valid = false
    fi;
#ifdef TWO_HOLDS
    let_go();
    enter();
#endif
    if
    :: valid ->
        atomic {
            cached = got; /* F6 */
            assert(cached >= least);
            if
            :: true
            :: deaths < DEATHS -> deaths++; goto dead
            fi
        }
    :: else
    fi;
    let_go();
#ifndef NO_RELEASE
    atomic {
        if
        :: holds -> mutex[at] = FREE; holds = false /* F7 */
        :: else
        fi
    }
#endif
    goto out;

wait:
    if
#ifndef LEASES
    :: atomic { mutex[at] != HELD -> mutex[at] = HELD; holds = true } /* V4 */
        if
        :: token[at] == ticket ->
            if
            :: state[at] == LED -> goto inherit
            :: else
            fi
        :: else
        fi;
        atomic { mutex[at] = FREE; holds = false }
    :: token[at] == ticket && late[at]
#else
    :: token[at] == ticket && GIVEN_UP(at)
    :: token[at] != ticket
    :: !LIVE(at)
#endif
    fi;
#ifdef TOKEN_FIRST
    if
    :: token[at] != ticket -> goto look
    :: else
    fi;
#endif
    if /* V5 */
    :: state[at] != FREE -> goto look
    :: else
    fi;
    got = outcome[at];
#if !defined NO_TOKEN_CHECK && !defined TOKEN_FIRST
    if
    :: token[at] != ticket -> goto look
    :: else
    fi;
#endif
    atomic {
        if
        :: got == FAILED ->
            assert(told[ticket] == FAILED);
            goto out
        :: else -> goto look
        fi
    }

inherit:
#ifdef INHERIT_UNLOCKED
    goto lead;
#endif
    enter();
#ifndef INHERIT_UNCHECKED
    atomic {
        if
        :: token[at] != ticket || state[at] == FREE -> valid = false
        :: else ->
            valid = (state[at] != REVOKED);
            FREE_UP(at)
        fi;
        if
        :: !valid -> let_go(); mutex[at] = FREE; holds = false; goto look
        :: else
        fi
    }
#else
    FREE_UP(at);
#endif
    assign(LED, A);
    let_go();
    goto lead;

dead:
    atomic {
        if
        :: inside -> shard = LEFT
        :: else
        fi;
        if
        :: holds -> mutex[at] = LEFT
        :: !holds && at < N && token[at] == ticket -> gone[at] = true
        :: else
        fi
    }
out:
    atomic { done++; ticket = 0; at = 0; got = 0; ending = 0; rounds = 0; inside = false; holds = false; valid = false }
}

/* Of the other key. */
proctype other()
{
    byte ticket, at, ending;
    bool inside, holds;

    enter();
    if
    :: true -> find_free(LED);
        if
        :: at < N -> assign(LED, B)
        :: else
        fi
    :: true -> find_free(LEASED);
        if
        :: at < N -> assign(LEASED, B)
        :: else
        fi
    fi;
    let_go();
    if
    :: at == N -> goto out
    :: else
    fi;
    enter();
    end_flight(FAILED);
    let_go();
    atomic {
        if
        :: holds -> mutex[at] = FREE; holds = false
        :: else
        fi
    }
    goto out;
dead:
    atomic {
        if
        :: inside -> shard = LEFT
        :: else
        fi;
        if
        :: holds -> mutex[at] = LEFT
        :: !holds && at < N && token[at] == ticket -> gone[at] = true
        :: else
        fi
    }
out:
    atomic { done++; ticket = 0; at = 0; ending = 0; inside = false; holds = false }
}

inline revoke_a()
{
#ifndef NO_REVOKE
    if
    :: flights == 0 -> skip /* X1 */
    :: else ->
        if
        :: OF_A(0) -> STEP(REVOKE(0))
        :: OF_A(1) -> STEP(REVOKE(1))
        :: else
        fi
    fi
#else
    skip
#endif
}

proctype writer()
{
    byte writes;
    bool inside;

    do
    :: writes == WRITES -> break
    :: else ->
        writes++;
        STEP(origin++);
        enter();
#ifndef REVOKE_LAST
        revoke_a();
#endif
        if
        :: STEP(cached = origin)
        :: STEP(cached = 0)
        fi;
#ifdef REVOKE_LAST
        revoke_a();
#endif
        atomic {
            least = origin;
            let_go()
        }
    od;
    goto out;
dead:
    shard = (inside -> LEFT : shard);
out:
    atomic { done++; writes = 0; inside = false }
}

/* A time to load that is over; and the end of everything. */
proctype clock()
{
    if
    :: atomic { LIVE(0) -> late[0] = true }
    :: atomic { LIVE(1) -> late[1] = true }
    :: timeout -> goto end
    fi;
    timeout;
end:
    assert(done == FETCHERS + others)
}

init
{
    atomic {
        run fetcher();
        run fetcher();
#if FETCHERS > 2
        run fetcher();
#endif
#ifdef OTHER
        run other();
        others++;
#endif
#ifndef NO_WRITER
        run writer();
        others++;
#endif
        run clock()
    }
}
