/* SPDX-License-Identifier: MIT */
/* redo.pml: transactions that change two shards as one, writers and repairers that die at any step, and a snapshot all along.
 *
 * One key in each of two shards; a slot holds the number of the value that it leads to, 0 for none. HOLDERS processes do OPS operations in
 * all, each of their own choice: a transaction in both shards, one in shard 0 alone (the same coordinator), a plain write in either shard;
 * what is written is a new value or nothing. DEATHS times one of them may die between two steps, and another process takes its place; its
 * mutexes go to whoever locks them next, who repairs that shard, and may die in that as well. Beside a snapshot one holder is enough: to
 * it one that is stopped looks like one that is dead, and whose shard nobody has locked yet.
 *
 *   transaction (lib/redo.c)                                repairer of a shard, which holds no other mutex of it
 *   C2 mutexes, in order; a dead one's shard is repaired    E1 a slot in the middle of its change: version + 1
 *   C3 decision left over? a shard still pending under it   Y1 pending = 0: nothing
 *      is locked alone; none: decision = 0                  Y2 the coordinator's decision is that name: the list is applied, what was
 *   X1 number + 1 gives the name                               made already is recognised
 *   X2 in each shard: the list, then pending = name         Y3 it is not: nothing happens
 *   X3 decision = name                                      Y4 pending = 0
 *   X4 in each shard: slot, version (index.c)
 *   X5 in each shard: pending = 0                           snapshot (lib/snapshot.c)
 *   X6 decision = 0, mutexes                                Z1 each key: version, slot and value, version still the same
 *                                                           Z2 no shard pending
 *                                                           Z3 each key: slot names the same place, version the same; else from Z1
 *
 * A value is at one of two places of its key in turn, so a slot comes back to a word that it had: Z3 compares places and not values.
 * A change of the index is the slot and then the version; how that survives a death by itself is shown by recover.pml.
 *
 * Checked: what a snapshot returns stood in both slots at some instant during it at which no transaction was half there. Whenever both
 * mutexes are held by one (its shards repaired), none is half there. A value whose place was given back is in no slot.
 *
 * Must fail: DECIDE_FIRST (X3 before X2), DECIDE_LATE (X4 of the first shard before X3), DONE_FIRST (X5 before X4), UNDECIDE_FIRST (X6
 *            before X4 of the last shard), NAME_AGAIN (X1 left out), NO_STRAGGLER, SETTLE_BLINDLY (C3), NO_REDO, REDO_ALWAYS (Y2),
 *            NO_RECOGNITION (Y2), DONE_BEFORE_REDO (Y4 before Y2), LIST_LATE (X3 before the list of the last shard), NO_QUIET (Z2),
 *            QUIET_FIRST, QUIET_LAST, NO_SECOND_LOOK, SLOTS_ONLY, VERSIONS_ONLY (Z3).
 * Right as well: DONE_EACH (X5 of each shard behind its own X4), UNDECIDE_BEFORE_DONE (X6 between X4 and X5). */

#ifndef OPS
#define OPS 2
#endif
#ifndef DEATHS
#define DEATHS 2
#endif
#ifndef HOLDERS
#define HOLDERS 1
#endif
#define FREE 0
#define HELD 1
#define LEFT 2 /* by one who died */
#define VALUES 4

/* In the file. */
byte mutex[2];
byte slot[2], version[2];
bool changing[2]; /* the intent record of index.c */
byte pending[2], list_new[2], list_old[2];
byte decision, number; /* of shard 0, the coordinator */

/* What is true, for the assertions only. */
byte stamp[2];     /* values that a key was given so far */
byte given_back[2]; /* values whose place was given back, one bit each */
bool wide[2];      /* the list of the shard belongs to a transaction in both */
byte there;        /* in which shards the last one of those has happened, one bit each; 0: in none or in both */
int seen;          /* pairs of values since the snapshot began, one bit each */
byte deaths, ops;
bool asking, answered;

#define PAIR       (1 << (slot[0] * VALUES + slot[1]))
#define PLACE(v)   (v == 0 -> 2 : v & 1)
#define WHOLE                                                                                                                          \
    if                                                                                                                                 \
    :: asking && there == 0 -> seen = seen | PAIR                                                                                      \
    :: else                                                                                                                            \
    fi

/* One step, after which whoever did it may be dead. */
#define STEP(statement)                                                                                                                \
    atomic {                                                                                                                           \
        statement;                                                                                                                     \
        if                                                                                                                             \
        :: true                                                                                                                        \
        :: deaths < DEATHS -> deaths++; goto dead                                                                                      \
        fi                                                                                                                             \
    }

/* The slot of a shard is stored. */
#define STORE_SLOT(s, v)                                                                                                               \
    atomic {                                                                                                                           \
        changing[s] = true;                                                                                                            \
        given_back[s] = given_back[s] | (slot[s] != 0 -> 1 << slot[s] : 0);                                                            \
        slot[s] = v;                                                                                                                   \
        assert(v == 0 || !(given_back[s] >> v & 1));                                                                                   \
    }

/* The same by a transaction. */
#define APPLY(s)                                                                                                                       \
    atomic {                                                                                                                           \
        STORE_SLOT(s, list_new[s]);                                                                                                    \
        if                                                                                                                             \
        :: wide[s] -> there = (there == 0 -> 1 << s : (there == 1 << s -> there : 0))                                                  \
        :: else                                                                                                                        \
        fi;                                                                                                                            \
        WHOLE                                                                                                                       \
    }

#define RAISE(s) atomic { version[s] = version[s] + 1; changing[s] = false }

inline choose_value(s)
{
    if
    :: stamp[s] + 1 < VALUES -> stamp[s] = stamp[s] + 1; value = stamp[s]
    :: slot[s] != 0 -> value = 0
    fi
}

proctype holder()
{
    byte s, first, last, value, name;
    bool mine[2];

next:
    atomic {
        s = 0;
        value = 0;
        name = 0;
        if
        :: ops == OPS || answered -> goto done
        :: else
        fi;
        ops++;
        if
        :: first = 0; last = 1 /* a transaction in both */
        :: first = 0; last = 0 /* in one */
        :: first = 2; last = 0 /* a plain write */
        :: first = 2; last = 1
        fi
    }
again:
    s = (first == 2 -> last : first);
lock: /* C2 */
    atomic {
        mutex[s] != HELD;
        mine[s] = true;
        if
        :: mutex[s] == LEFT -> mutex[s] = HELD; goto repair
        :: else -> mutex[s] = HELD
        fi
    }
locked:
    if
    :: first == 3 -> atomic { mutex[s] = FREE; mine[s] = false; first = 0; goto again } /* the straggler; last is as it was */
    :: first < 2 && s < last -> s++; goto lock
    :: first < 2 && s == last -> skip
    :: first == 2 -> /* a plain write, through the intent record */
        atomic {
            choose_value(s);
            STORE_SLOT(s, value);
            WHOLE;
            if
            :: true
            :: deaths < DEATHS -> deaths++; goto dead
            fi
        }
        STEP(RAISE(s));
        goto let_go
    fi;
    atomic { assert(last == 0 || there == 0) }
    /* C3 */
#ifndef NO_STRAGGLER
    if
    :: decision != 0 ->
#ifndef SETTLE_BLINDLY
        if
        :: pending[0] == decision || pending[1] == decision ->
            atomic { /* with two shards it can be the other one alone */
                assert(last == 0 && pending[0] == 0);
                mutex[0] = FREE;
                mine[0] = false;
                first = 3;
                s = 1;
                goto lock
            }
        :: else
        fi;
#endif
        STEP(decision = 0)
    :: else
    fi;
#endif
#ifndef NAME_AGAIN
    number = number + 1; /* X1 */
#endif
    name = number + 1;
#ifdef DECIDE_FIRST
    STEP(decision = name);
#endif
    s = 0;
    do /* X2; the list alone is seen by nobody */
    :: s > last -> break
    :: else ->
        atomic {
            assert(pending[s] == 0);
            choose_value(s);
#ifdef LIST_LATE
            if
            :: s == 1 -> skip
            :: else ->
#endif
            list_new[s] = value;
            list_old[s] = slot[s];
            wide[s] = (last == 1);
#ifdef LIST_LATE
            fi;
#endif
            pending[s] = name;
            s++;
            if
            :: true
            :: deaths < DEATHS -> deaths++; goto dead
            fi
        }
    od;
#ifdef LIST_LATE
    STEP(decision = name);
    if
    :: last == 1 -> STEP(list_new[1] = value; list_old[1] = slot[1]; wide[1] = true)
    :: else
    fi;
#elif !defined DECIDE_FIRST && !defined DECIDE_LATE
    STEP(decision = name); /* X3 */
#endif
    s = 0;
    do /* X4 */
    :: s > last -> break
    :: else ->
#ifdef DONE_FIRST
        STEP(pending[s] = 0);
#endif
        STEP(APPLY(s));
        STEP(RAISE(s));
#ifdef UNDECIDE_FIRST
        STEP(decision = 0);
#endif
#ifdef DECIDE_LATE
        if
        :: s == 0 -> STEP(decision = name)
        :: else
        fi;
#endif
#ifdef DONE_EACH
        STEP(pending[s] = 0);
#endif
        s++
    od;
#ifdef UNDECIDE_BEFORE_DONE
    STEP(decision = 0);
#endif
    s = 0;
    do /* X5 */
    :: s > last -> break
    :: else -> STEP(pending[s] = 0; s++)
    od;
    STEP(decision = 0); /* X6 */
let_go:
    atomic {
        if
        :: mine[0] -> mutex[0] = FREE; mine[0] = false
        :: else
        fi;
        if
        :: mine[1] -> mutex[1] = FREE; mine[1] = false
        :: else
        fi;
        goto next
    }

repair: /* shard s */
    if
    :: changing[s] -> STEP(RAISE(s)) /* E1 */
    :: else
    fi;
    atomic { name = pending[s]; }
    if
    :: name == 0 -> goto locked
    :: else
    fi;
#ifdef DONE_BEFORE_REDO
    STEP(value = (decision == name); pending[s] = 0);
#elif defined REDO_ALWAYS
    value = 1;
#elif defined NO_REDO
    value = 0;
#else
    value = (decision == name); /* Y2 */
#endif
    if
    :: value == 1 ->
        if
#ifdef NO_RECOGNITION
        :: true ->
#else
        :: list_new[s] != 0 && slot[s] != list_new[s] || list_new[s] == 0 && list_old[s] != 0 && slot[s] == list_old[s] ->
#endif
            STEP(APPLY(s));
            STEP(RAISE(s))
#ifndef NO_RECOGNITION
        :: else
#endif
        fi
    :: else
    fi;
    STEP(pending[s] = 0); /* Y4 */
    value = 0;
    name = 0;
    goto locked;

dead: /* what it held is left to others; from here on this is another process */
    atomic {
        if
        :: mine[0] -> mutex[0] = LEFT; mine[0] = false
        :: else
        fi;
        if
        :: mine[1] -> mutex[1] = LEFT; mine[1] = false
        :: else
        fi;
        goto next
    }
done:
    atomic {
        assert(there == 0 || mutex[0] != FREE || mutex[1] != FREE);
        s = 0;
        first = 0;
        last = 0;
        value = 0;
        name = 0
    }
}

/* Z2. */
#define QUIET                                                                                                                          \
    if                                                                                                                                 \
    :: pending[0] != 0 -> goto done                                                                                                   \
    :: else                                                                                                                            \
    fi;                                                                                                                                \
    if                                                                                                                                 \
    :: pending[1] != 0 -> goto done                                                                                                   \
    :: else                                                                                                                            \
    fi

proctype reader()
{
    byte k;
    byte was[2], value[2];

    atomic {
        asking = true;
        WHOLE
    }
#ifdef QUIET_FIRST
    QUIET;
#endif
    do /* Z1 */
    :: k == 2 -> break
    :: else ->
        was[k] = version[k];
        value[k] = slot[k];
        if
        :: version[k] != was[k] -> goto done
        :: else -> k++
        fi
    od;
#if !defined NO_QUIET && !defined QUIET_FIRST && !defined QUIET_LAST
    QUIET; /* Z2 */
#endif
#ifndef NO_SECOND_LOOK
    k = 0;
    do /* Z3 */
    :: k == 2 -> break
    :: else ->
#ifndef VERSIONS_ONLY
        if
        :: PLACE(slot[k]) != PLACE(value[k]) -> goto done
        :: else
        fi;
#endif
#ifndef SLOTS_ONLY
        if
        :: version[k] != was[k] -> goto done
        :: else
        fi;
#endif
        k++
    od;
#endif
#ifdef QUIET_LAST
    QUIET;
#endif
    atomic { assert(seen >> (value[0] * VALUES + value[1]) & 1) }
done:
    atomic { answered = true; asking = false; seen = 0; k = 0; was[0] = 0; was[1] = 0; value[0] = 0; value[1] = 0 }
}

init
{
    atomic {
        run holder();
#if HOLDERS > 1
        run holder();
#endif
#ifndef NO_READER
        run reader()
#endif
    }
}
