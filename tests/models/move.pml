/* SPDX-License-Identifier: MIT */
/* move.pml: items that move between their two buckets, against a reader that looks in both.
 *
 * Two buckets of S slots. Key A (the one that is looked up) and key B (which takes slots and reuses bytes) have bucket 0 as home and
 * bucket 1 as other. The writer does OPS operations of its own choice: insert at home or in the other bucket, overwrite in place,
 * overwrite on the way home, delete, move out, move home. Old bytes are free for the next operation, so a key often comes back to an
 * address it had. The reader does one get; readers write nothing, so one stands for all.
 *
 *   move out (home H -> other O)     move home (O -> H)              get
 *   m1 spill[H] + 1                  m1 store the word in H          g1 v1 = version[H]; scan H; hit: copy, version[H] still v1
 *   m2 store the word in O           m2 version[H] + 1               g2 spill[H] == 0: version[H] still v1 is a miss
 *   m3 version[H] + 1                m3 clear the word in O          g3 v2 = version[O]; scan O; hit: copy, version[O] still v2
 *   m4 clear the word in H           m4 version[O] + 1               g4 versions still v1 and v2: a miss
 *   m5 version[H] + 1                m5 spill[H] - 1
 *
 * Checked: the answer of the get (a value, or the miss) was A's true state at some instant between its begin and its end.
 *
 * Must fail:  NO_RAISE_AFTER_CLEAR_OUT, NO_RAISE_AFTER_CLEAR_HOME (m5, m4 left out), NO_RAISE_BEFORE_CLEAR_HOME (m2 left out),
 *             RAISE_O_BEFORE_CLEAR_HOME (m2 raises the wrong bucket), CLEAR_FIRST, SPILL_UP_LAST, SPILL_DOWN_FIRST,
 *             MISS_HOME_UNCHECKED (g4), MISS_ZERO_UNCHECKED (g2), MISS_OTHER_UNCHECKED (g4), HIT_HOME_UNCHECKED (g1),
 *             HIT_OTHER_UNCHECKED (g3), HIT_OTHER_CHECKS_HOME (g3), NO_SPILL_READ, SPILL_EARLY with NO_RAISE_BEFORE_CLEAR_OUT,
 *             SET_HOME_CLEARS_FIRST.
 * Must pass:  SPILL_EARLY (g2's load before the scan of H), NO_RAISE_BEFORE_CLEAR_OUT (m3 left out, spill read after the scan),
 *             NO_RAISE_ON_INSERT, OTHER_CHECKED_FIRST.
 */

#ifndef S
#define S 1
#endif
#ifndef OPS
#define OPS 4
#endif
#define PLACES 3
#define TURNS 2
#define NONE 99
#define A 1
#define B 2
#define B_VALUE 14 /* no set of A ever stores it */

byte slot[2 * S]; /* place of the entry, 0 = empty; bucket b has slots b*S to b*S+S-1 */
byte version[2];
byte spill; /* of bucket 0 */
byte key[PLACES + 1];
byte value[PLACES + 1];

/* What is true, for the assertion only. */
byte current; /* A's value, 0 = absent */
short seen;   /* values A had since the get began, one bit each */
bool answered;

#define TRUTH(x)                                                                                                                       \
    current = x;                                                                                                                       \
    seen = seen | (1 << current)

#define BUCKET(s) ((s) / S)
#define RAISE(b) version[b] = version[b] + 1

/* The first place that no slot points to: what was freed last comes back soon. Only the writer looks, so one step is enough. */
inline choose_place()
{
    d_step {
        place = 1;
        i = 0;
        do
        :: i == 2 * S -> break
        :: i < 2 * S && slot[i] == place -> place++; i = 0
        :: else -> i++
        od;
        i = 0;
        assert(place <= PLACES)
    }
}

inline choose_empty(b)
{
    to = (b) * S;
    do
    :: slot[to] == 0 -> break
    :: slot[to] != 0 && to < (b) * S + S - 1 -> to++
    :: else -> goto next
    od
}

inline write_entry(k)
{
    choose_place();
    key[place] = k;
    atomic {
        if
        :: k == A -> stamp++; value[place] = stamp
        :: else -> value[place] = B_VALUE
        fi
    }
}

#define WORD_STORED(s, w, k, x)                                                                                                        \
    atomic {                                                                                                                           \
        slot[s] = w;                                                                                                                   \
        if                                                                                                                             \
        :: k == A -> TRUTH(x)                                                                                                          \
        :: else                                                                                                                        \
        fi                                                                                                                             \
    }

active proctype writer()
{
    byte at[3] = NONE; /* slot of each key; the writer holds the mutex, so this is what it would find by looking */
    byte stamp, ops, place, to, from, i, k;

next:
    do
    :: ops < OPS && !answered ->
        atomic {
            ops++;
            to = 0;
            from = 0;
            if
            :: k = A
            :: k = B
            fi
        }
        if
        :: at[k] == NONE -> /* insert, at home or in the other bucket */
            if
            :: atomic { choose_empty(0) }
                write_entry(k);
                WORD_STORED(to, place, k, stamp);
#ifndef NO_RAISE_ON_INSERT
                RAISE(0)
#endif
            :: atomic { choose_empty(1) }
                write_entry(k);
                spill++;
                WORD_STORED(to, place, k, stamp);
#ifndef NO_RAISE_ON_INSERT
                RAISE(1)
#endif
            fi;
            at[k] = to
        :: at[k] != NONE -> /* overwrite where it is */
            write_entry(k);
            WORD_STORED(at[k], place, k, stamp);
            RAISE(BUCKET(at[k]))
        :: at[k] != NONE -> /* delete */
            WORD_STORED(at[k], 0, k, 0);
            RAISE(BUCKET(at[k]));
            if
            :: BUCKET(at[k]) == 1 -> spill--
            :: else
            fi;
            at[k] = NONE
        :: at[k] != NONE && BUCKET(at[k]) == 0 -> /* move out */
            atomic { from = at[k]; choose_empty(1) }
#ifdef CLEAR_FIRST
            place = slot[from];
            slot[from] = 0;
            RAISE(0);
            spill++;
            slot[to] = place;
            RAISE(1);
#else
#ifndef SPILL_UP_LAST
            spill++;
#endif
            slot[to] = slot[from];
#ifndef NO_RAISE_BEFORE_CLEAR_OUT
            RAISE(0);
#endif
            slot[from] = 0;
#ifndef NO_RAISE_AFTER_CLEAR_OUT
            RAISE(0);
#endif
#ifdef SPILL_UP_LAST
            spill++;
#endif
#endif
            at[k] = to
        :: at[k] != NONE && BUCKET(at[k]) == 1 -> /* move home, with the same entry or a new one */
            atomic { from = at[k]; choose_empty(0) }
            if
            :: place = slot[from]
#ifndef CLEAR_FIRST
            :: write_entry(k)
#endif
            fi;
#ifdef SPILL_DOWN_FIRST
            spill--;
#endif
#ifdef CLEAR_FIRST
            slot[from] = 0;
            RAISE(1);
            slot[to] = place;
            RAISE(0);
#else
#ifdef SET_HOME_CLEARS_FIRST
            if
            :: place != slot[from] ->
                slot[from] = 0;
                RAISE(1);
                WORD_STORED(to, place, k, stamp);
                RAISE(0);
                goto moved_home
            :: else
            fi;
#endif
            WORD_STORED(to, place, k, value[place]);
#ifdef RAISE_O_BEFORE_CLEAR_HOME
            RAISE(1);
#else
#ifndef NO_RAISE_BEFORE_CLEAR_HOME
            RAISE(0);
#endif
#endif
            slot[from] = 0;
#ifndef NO_RAISE_AFTER_CLEAR_HOME
            RAISE(1);
#endif
#ifdef RAISE_O_BEFORE_CLEAR_HOME
            RAISE(0);
#endif
#endif
#ifdef SET_HOME_CLEARS_FIRST
        moved_home:
#endif
#ifndef SPILL_DOWN_FIRST
            spill--;
#endif
            at[k] = to
        fi
    :: else -> break
    od;
}

/* Scans one bucket; leaves found and copy. A word that was read points to bytes that may be anybody's by now. */
inline scan(b)
{
    s = (b) * S;
    found = false;
    do
    :: w = slot[s];
        if
        :: w != 0 ->
            if
            :: key[w] == A -> copy = value[w]; found = true; break
            :: else
            fi
        :: else
        fi;
        s++;
        if
        :: s == (b) * S + S -> break
        :: else
        fi
    od;
    w = 0;
    s = 0
}

#define ANSWER(x) atomic { assert(seen & (1 << (x))); seen = 0 } goto done

active proctype reader()
{
    byte v1, v2, w, s, copy, turns, items;
    bool found;

    atomic { seen = 1 << current }
again:
    if
    :: turns == TURNS -> goto done /* a bounded number of turns, then a miss that is counted as given up */
    :: else -> turns++
    fi;
    v1 = version[0];
#ifdef SPILL_EARLY
    items = spill;
#endif
    scan(0);
    if
    :: found ->
#ifndef HIT_HOME_UNCHECKED
        if
        :: version[0] != v1 -> goto again
        :: else
        fi;
#endif
        ANSWER(copy)
    :: else
    fi;
#ifdef NO_SPILL_READ
    items = 0;
#else
#ifndef SPILL_EARLY
    items = spill;
#endif
#endif
    if
    :: items == 0 ->
#ifndef MISS_ZERO_UNCHECKED
        if
        :: version[0] != v1 -> goto again
        :: else
        fi;
#endif
        ANSWER(0)
    :: else
    fi;
    v2 = version[1];
    scan(1);
    if
    :: found ->
#ifndef HIT_OTHER_UNCHECKED
        if
#ifdef HIT_OTHER_CHECKS_HOME
        :: version[0] != v1 -> goto again
#else
        :: version[1] != v2 -> goto again
#endif
        :: else
        fi;
#endif
        ANSWER(copy)
    :: else
    fi;
#ifdef OTHER_CHECKED_FIRST
    if
    :: version[1] != v2 -> goto again
    :: else
    fi;
#endif
#ifndef MISS_HOME_UNCHECKED
    if
    :: version[0] != v1 -> goto again
    :: else
    fi;
#endif
#ifndef MISS_OTHER_UNCHECKED
    if
    :: version[1] != v2 -> goto again
    :: else
    fi;
#endif
    ANSWER(0);
done:
    answered = true
}
