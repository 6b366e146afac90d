/* SPDX-License-Identifier: MIT */
/* group.pml: everything that was stored under a name, invalidated by one addition, beside whatever else goes on.
 *
 * Two keys, A and B, in two of three shards, and one group, whose generations are a word in the file. Of a drawn generation nobody draws another
 * one that is equal; from there on it is counted upwards. What takes part is chosen by numbers: SETTERS (set, or set if present, in the
 * group), FETCHERS (of A, whose value is of the group), INVALIDATORS of INVALIDATIONS each, of which each has changed a part of its own of
 * what is loaded, RECYCLES (copies of A), RESIZES (to as many words, or with FEWER to fewer), SYNCS (and a cut of the power at any moment),
 * GETS, SNAPSHOTS of both keys. DEATHS times somebody dies between two steps.
 *
 *   who stores (lib/group.c)              who loads                             who invalidates
 *   A1 the shard's mutex; stamp =         L1 begins the flight under the        I0 changes what is loaded
 *      the word                              mutex, or joins it; ticket =       I1 the mutex of any shard; the sync mark is gone
 *   A2 does the old entry live?              the word                           I2 a word that is 0 is begun; the word + 1
 *   A3 the entry with the stamp           L2 loads                              I3 the mutex
 *                                         L3 the mutex; the word is still the
 *   reader: slot and version, G1             ticket's? A3 with the ticket, or   heir of a leader that died: L1 anew
 *   the word is the stamp's?, version        whoever joined is told
 *
 *   snapshot: both keys as by a get; then both again: same slot, same version, and what lived still lives
 *
 * That a value which is loaded is stored at all only if nobody changed the key meanwhile is flight.pml; that readers find nothing in a file
 * that was replaced, replace.pml: here a resize is the copy under all mutexes, and one step.
 *
 * Checked: no get, and nobody who is told how a flight ended, has what was set by a call that ended before an invalidation began which had
 * returned before the get began, nor what was loaded from what there was before it began. A set that was conditional on an entry of the
 * group dies with that. The two values of a snapshot were there at one moment. After a cut of the power the same for what is on the disk.
 *
 * Must fail: NO_LOOK (G1), NO_STAMP_CHECK (L3), TICKET_LATE (L1 behind L2), STAMPED_ANEW (A3 of a load takes the word of now), OLD_FIRST
 *            (A2 before A1), COPY_STAMPED_ANEW (recycling), UNLOCKED (I1 left out) beside a resize, or a sync, SPOIL_LEFT_OUT (the mark),
 *            PLAIN_ADD (load and store), COUNT_FROM_NOTHING (I2 adds to a word that is 0: it comes to the same generations in each file),
 *            TOLD_LATE (L3: whoever joined is told of a load that was late), HEIR_LATE
 *            (an heir's L1 behind its L2), NO_SECOND_LOOK (of a snapshot at groups).
 * Must pass: HEIR_KEEPS (an heir has the ticket that it drew when it joined: more is lost than need be), FEWER. */

#ifndef SETTERS
#define SETTERS 1
#endif
#ifndef FETCHERS
#define FETCHERS 1
#endif
#ifndef INVALIDATORS
#define INVALIDATORS 1
#endif
#ifndef INVALIDATIONS
#define INVALIDATIONS 2
#endif
#ifndef RECYCLES
#define RECYCLES 0
#endif
#ifndef RESIZES
#define RESIZES 0
#endif
#ifndef SYNCS
#define SYNCS 0
#endif
#ifndef SNAPSHOTS
#define SNAPSHOTS 0
#endif
#ifndef GETS
#define GETS 1
#endif
#ifndef DEATHS
#define DEATHS 1
#endif
#define TURNS 2

#define A 0
#define B 1
#define VALUES 6 /* and none */
#define NEVER 7
#define C 2 /* a shard without keys */
#define NONE 3 /* of mutexes */

/* In the file. */
byte word[2];                         /* of the old file and the new one: 0, or 8 times the draw, and the additions */
byte file;                            /* which of them has the name */
byte slot[2], stamp[2], version[2];   /* of A and B */
bool mutex[3], led, alone_dead;
byte token, outcome_token;            /* of A's flight */
bool marked;                          /* by a sync, on the disk */
byte disk_word, disk_slot[2], disk_stamp[2];

/* What is true. */
byte draws, values, deaths;
byte origin[2], begun[2], applied[2], returned[2]; /* for each invalidator */
byte kill[2 * VALUES];                /* a value may not be seen behind the return of more invalidations than that */
byte told[2];                         /* what was loaded that the last flight told of */
bool watching, seen[VALUES * VALUES];

#define LIVES(k)   (slot[k] != 0 && word[file] == stamp[k])
#define VISIBLE(k) (LIVES(k) -> slot[k] : 0)
#define KILL(v, i) kill[(v) * 2 + (i)]

#define MARK()                                                                                                                         \
    if                                                                                                                                 \
    :: watching -> seen[VISIBLE(A) * VALUES + VISIBLE(B)] = true                                                                       \
    :: else                                                                                                                            \
    fi

#define MAY_DIE()                                                                                                                      \
    if                                                                                                                                 \
    :: true                                                                                                                            \
    :: deaths < DEATHS -> deaths++; goto dead                                                                                          \
    fi
#define STEP(statement) atomic { statement; MAY_DIE() }

#define LOCK(k)  atomic { !mutex[k]; mutex[k] = true; mine = k }
#define UNLOCK() atomic { mutex[mine] = false; mine = NONE }
/* The first write after a sync takes the mark away. */
#define ADMIT()  marked = false

/* A word that is 0 begins with a generation that was never drawn before. */
#define BEGIN(f)                                                                                                                       \
    if                                                                                                                                 \
    :: word[f] == 0 -> draws++; word[f] = draws * 8                                                                                    \
    :: else                                                                                                                            \
    fi

inline new_value(k, with)
{
    values++;
    v = values;
    slot[k] = v;
    stamp[k] = with;
    version[k]++;
    MARK()
}

proctype setter()
{
    byte k, st, v, was0, was1, mine = NONE;
    bool conditional, alive;

    if
    :: k = A
    :: SETTERS > 1 || SNAPSHOTS > 0 -> k = B
    fi;
    if
    :: conditional = false
    :: GETS > 0 -> conditional = true
    fi;
    LOCK(k);
    STEP(ADMIT());
#ifndef OLD_FIRST
    atomic { BEGIN(file); st = word[file] } /* A1 */
#endif
    atomic { alive = LIVES(k); was0 = applied[0]; was1 = applied[1] } /* A2 */
#ifdef OLD_FIRST
    atomic { BEGIN(file); st = word[file] }
#endif
    if
    :: conditional && !alive -> UNLOCK(); goto out
    :: else
    fi;
    atomic {
        new_value(k, st); /* A3 */
        KILL(v, 0) = (conditional -> was0 : NEVER);
        KILL(v, 1) = (conditional -> was1 : NEVER);
        if
        :: k == A -> led = false /* X2 */
        :: else
        fi;
        MAY_DIE()
    }
    UNLOCK();
    atomic {
        KILL(v, 0) = (KILL(v, 0) < begun[0] -> KILL(v, 0) : begun[0]);
        KILL(v, 1) = (KILL(v, 1) < begun[1] -> KILL(v, 1) : begun[1]);
        goto out
    }
dead:
    atomic {
        if
        :: mine != NONE -> mutex[mine] = false
        :: else
        fi
    }
out:
    atomic { k = 0; st = 0; v = 0; was0 = 0; was1 = 0; mine = NONE; conditional = false; alive = false }
}

proctype fetcher()
{
    byte ticket, own, v, loaded0, loaded1, floor0, floor1, mine = NONE;
    bool late, heir;

    atomic { floor0 = returned[0]; floor1 = returned[1] }
look:
    atomic {
        if
        :: LIVES(A) -> assert(floor0 <= KILL(slot[A], 0) && floor1 <= KILL(slot[A], 1)); goto out
        :: else
        fi
    }
    LOCK(A);
    STEP(ADMIT());
    atomic {
        if
        :: LIVES(A) -> UNLOCK(); goto look
        :: led && !alone_dead -> BEGIN(file); ticket = word[file]; own = token; UNLOCK(); goto wait
        :: led && alone_dead -> led = false /* given up: another one */
        :: else
        fi
    }
begin:
    atomic { /* L1 */
#ifdef HEIR_KEEPS
        if
        :: !heir -> BEGIN(file); ticket = word[file]
        :: else
        fi;
#else
        BEGIN(file);
        ticket = word[file];
#endif
        MAY_DIE()
    }
    atomic { token++; own = token; led = true; alone_dead = false }
    UNLOCK();
    atomic { loaded0 = origin[0]; loaded1 = origin[1]; MAY_DIE() } /* L2 */
#ifdef TICKET_LATE
    ticket = word[file];
#endif
#ifdef HEIR_LATE
    if
    :: heir -> ticket = word[file]
    :: else
    fi;
#endif
    LOCK(A);
    ADMIT();
    late = (ticket != word[file]); /* L3 */
#ifdef NO_STAMP_CHECK
    late = false;
    ticket = word[file];
#endif
#ifdef STAMPED_ANEW
    if
    :: !late -> ticket = word[file]
    :: else
    fi;
#endif
    if
    :: led && token == own ->
        if
        :: atomic { true -> led = false } /* told: there is nothing, or it failed */
            atomic {
                if
#ifdef TOLD_LATE
                :: true
#else
                :: !late
#endif
                    -> outcome_token = own; told[0] = loaded0; told[1] = loaded1
                :: late
                fi
            }
        :: atomic { !late -> led = false; MAY_DIE() }
            atomic {
                new_value(A, ticket); /* A3 */
                KILL(v, 0) = loaded0;
                KILL(v, 1) = loaded1
            }
        :: atomic { late -> led = false }
        fi
    :: else
    fi;
    UNLOCK();
    goto out;

wait:
    if
    :: atomic { token != own || !led ->
            if
            :: outcome_token == own -> assert(floor0 <= told[0] && floor1 <= told[1]); goto out
            :: else -> goto look
            fi
        }
    :: led && token == own && alone_dead -> heir = true
    fi;
    LOCK(A);
    ADMIT();
    atomic {
        if
        :: led && token == own && alone_dead -> goto begin
        :: else -> UNLOCK(); goto look
        fi
    }

dead:
    atomic {
        if
        :: led && token == own && own != 0 -> alone_dead = true
        :: else
        fi;
        if
        :: mine != NONE -> mutex[mine] = false
        :: else
        fi
    }
out:
    atomic { ticket = 0; own = 0; v = 0; loaded0 = 0; loaded1 = 0; floor0 = 0; floor1 = 0; mine = NONE; late = false; heir = false }
}

proctype invalidator(byte i)
{
    byte was, times, mine = NONE;

again:
    atomic {
        if
        :: times == INVALIDATIONS - i -> goto out
        :: else -> times++
        fi;
        origin[i]++; /* I0 */
        MAY_DIE()
    }
    begun[i]++;
#ifndef UNLOCKED
    LOCK(B + i); /* I1: of any shard: not that in which A is stored */
#endif
#ifndef SPOIL_LEFT_OUT
    STEP(ADMIT());
#endif
#ifndef COUNT_FROM_NOTHING
    STEP(BEGIN(file));
#endif
#ifdef PLAIN_ADD
    was = word[file];
    atomic { word[file] = was + 1; applied[i]++; was = 0; MARK(); MAY_DIE() }
#else
    atomic { word[file]++; applied[i]++; MARK(); MAY_DIE() } /* I2 */
#endif
#ifndef UNLOCKED
    UNLOCK(); /* I3 */
#endif
    atomic { returned[i] = begun[i]; goto again }
dead:
    atomic {
        if
        :: mine != NONE -> mutex[mine] = false
        :: else
        fi
    }
out:
    atomic { was = 0; times = 0; mine = NONE }
}

/* A is copied to another place, with its stamp, or, if it does not live, dropped. */
proctype recycler()
{
    byte mine = NONE;
    bool alive;

    LOCK(A);
    ADMIT();
    alive = LIVES(A);
    atomic {
        if
        :: alive && slot[A] != 0 ->
            version[A]++;
#ifdef COPY_STAMPED_ANEW
            stamp[A] = word[file]
#endif
        :: else -> slot[A] = 0; stamp[A] = 0; version[A]++
        fi;
        MARK()
    }
    UNLOCK();
    atomic { alive = false; mine = NONE }
}

proctype resizer()
{
    byte s0, s1, t0, t1;

    atomic { !mutex[A]; mutex[A] = true }
    atomic { !mutex[B]; mutex[B] = true }
    atomic { !mutex[C]; mutex[C] = true }
#ifndef FEWER
    word[1] = word[0];
#endif
    atomic {
        s0 = VISIBLE(A);
        t0 = (s0 -> stamp[A] : 0);
        if
        :: s0 -> BEGIN(1); t0 = word[1]
        :: else
        fi
    }
    atomic {
        s1 = VISIBLE(B);
        t1 = (s1 -> stamp[B] : 0);
        if
        :: s1 -> BEGIN(1); t1 = word[1]
        :: else
        fi
    }
    STEP(skip);
    atomic {
        file = 1;
        slot[A] = s0;
        stamp[A] = t0;
        version[A]++;
        slot[B] = s1;
        stamp[B] = t1;
        version[B]++;
        marked = false;
        MARK()
    }
dead:
    atomic { mutex[A] = false; mutex[B] = false; mutex[C] = false; s0 = 0; s1 = 0; t0 = 0; t1 = 0 }
}

proctype syncer()
{
    atomic { !mutex[A]; mutex[A] = true }
    atomic { !mutex[B]; mutex[B] = true }
    atomic { !mutex[C]; mutex[C] = true }
    atomic {
        disk_word = word[file];
        disk_slot[A] = slot[A];
        disk_stamp[A] = stamp[A];
        disk_slot[B] = slot[B];
        disk_stamp[B] = stamp[B]
    }
    STEP(marked = true);
dead:
    atomic { mutex[A] = false; mutex[B] = false; mutex[C] = false }
}

/* What the next boot finds. */
proctype cut()
{
end:
    atomic {
        marked;
        assert(disk_slot[A] == 0 || disk_stamp[A] != disk_word ||
               (returned[0] <= KILL(disk_slot[A], 0) && returned[1] <= KILL(disk_slot[A], 1)));
        assert(disk_slot[B] == 0 || disk_stamp[B] != disk_word ||
               (returned[0] <= KILL(disk_slot[B], 0) && returned[1] <= KILL(disk_slot[B], 1)))
    }
}

proctype reader()
{
    byte f, k, v, st, ver, floor0, floor1, turns, gets;
    bool alive;

again:
    atomic {
        if
        :: gets == GETS -> goto out
        :: else -> gets++
        fi;
        floor0 = returned[0];
        floor1 = returned[1];
        turns = 0;
        if
        :: k = A
        :: SETTERS > 1 -> k = B
        fi
    }
turn:
    atomic { turns++; f = file; ver = version[k]; v = slot[k]; st = stamp[k] }
    alive = (v != 0 && word[f] == st); /* G1 */
#ifdef NO_LOOK
    alive = (v != 0);
#endif
    atomic {
        if
        :: ver != version[k] && turns < TURNS -> goto turn
        :: ver != version[k] && turns >= TURNS
        :: ver == version[k] && alive -> assert(floor0 <= KILL(v, 0) && floor1 <= KILL(v, 1))
        :: ver == version[k] && !alive
        fi;
        v = 0;
        st = 0;
        ver = 0;
        goto again
    }
out:
    atomic { f = 0; k = 0; floor0 = 0; floor1 = 0; turns = 0; gets = 0; alive = false }
}

proctype snapshot()
{
    byte f, v0, v1, st0, st1, ver0, ver1, turns;

    atomic { watching = true; MARK() }
turn:
    atomic {
        if
        :: turns == TURNS -> goto out
        :: else -> turns++
        fi;
        f = file;
        v0 = slot[A];
        st0 = stamp[A];
        ver0 = version[A]
    }
    st0 = (v0 != 0 && word[f] == st0 -> st0 : 0); /* Z1 */
    atomic { v1 = slot[B]; st1 = stamp[B]; ver1 = version[B] }
    st1 = (v1 != 0 && word[f] == st1 -> st1 : 0);
    if
    :: slot[A] == v0 && version[A] == ver0 /* Z3 */
    :: else -> goto turn
    fi;
#ifndef NO_SECOND_LOOK
    if
    :: st0 == 0 || word[f] == st0
    :: else -> goto turn
    fi;
#endif
    if
    :: slot[B] == v1 && version[B] == ver1
    :: else -> goto turn
    fi;
#ifndef NO_SECOND_LOOK
    if
    :: st1 == 0 || word[f] == st1
    :: else -> goto turn
    fi;
#endif
    assert(seen[(st0 -> v0 : 0) * VALUES + (st1 -> v1 : 0)]);
out:
    atomic { watching = false; f = 0; v0 = 0; v1 = 0; st0 = 0; st1 = 0; ver0 = 0; ver1 = 0; turns = 0 }
}

init
{
    atomic {
        KILL(0, 0) = NEVER;
        KILL(0, 1) = NEVER;
#if SETTERS > 0
        run setter();
#endif
#if SETTERS > 1
        run setter();
#endif
#if FETCHERS > 0
        run fetcher();
#endif
#if FETCHERS > 1
        run fetcher();
#endif
#if INVALIDATORS > 0
        run invalidator(0);
#endif
#if INVALIDATORS > 1
        run invalidator(1);
#endif
#if RECYCLES > 0
        run recycler();
#endif
#if RESIZES > 0
        run resizer();
#endif
#if SYNCS > 0
        run syncer();
        run cut();
#endif
#if SNAPSHOTS > 0
        run snapshot();
#endif
#if GETS > 0
        run reader()
#endif
    }
}
