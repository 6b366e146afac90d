/* SPDX-License-Identifier: MIT */
/* read.pml: one get against overwrites, deletes and the reuse of old bytes, in one bucket.
 *
 * A bucket of two slots, keys A (the one that is looked up) and B with the same tag, so that every word matches. The writer does OPS
 * operations of its own choice: set A, set B, delete A, delete B. An entry is a key and a value of two words; the place that was freed
 * last is written next, so a key often comes back to an address it had. The reader does one get of at most TURNS turns; readers write
 * nothing, so one stands for all.
 *
 *   reader                                          writer (holds the mutex)
 *   R1 v = version                                  W1 write the new entry where no slot points
 *   R2 w = a slot whose tag matches                 W2 swing or clear the slot
 *   R4 compare keys, copy the value                 W3 version + 1
 *   R5 version still v?  no: R1                     W4 only now may the old bytes be written
 *   R6 a miss: version still v?  no: R1
 *
 * Checked: the answer (a value, whole, or the miss) was A's true state at some instant between the get's begin and its end.
 *
 * Must fail: NO_RAISE (W3 left out), RAISE_FIRST (W3 before W2), REUSE_FIRST (old bytes written before W3), WRITE_IN_PLACE (W1 where the
 *            slot points), HIT_UNCHECKED (R5 left out), MISS_UNCHECKED (R6 left out), CHECK_FIRST (R5 before R4), VERSION_LAST (R1 after
 *            R2), NO_KEY_COMPARE (R4), RECHECK_SLOT (R5 and R6 look at the slot again and not at the version). */

#ifndef OPS
#define OPS 4
#endif
#define S 2
#define PLACES 3
#define TURNS 2
#define A 1
#define B 2
#define B_VALUE 14 /* no set of A ever stores it */
#define TORN 15

byte slot[S]; /* place of the entry, 0 = empty */
byte version;
byte key[PLACES + 1];
byte first[PLACES + 1];
byte second[PLACES + 1];

/* What is true, for the assertion only. */
byte current; /* A's value, 0 = absent */
short seen;   /* values A had since the get began, one bit each */
bool answered;

#define TRUTH(x)                                                                                                                       \
    current = x;                                                                                                                       \
    seen = seen | (1 << current)

/* The first place that no slot points to. Only the writer looks, so one step is enough. */
inline choose_place()
{
    d_step {
        place = 1;
        i = 0;
        do
        :: i == S -> break
        :: i < S && slot[i] == place -> place++; i = 0
        :: else -> i++
        od;
        i = 0;
        assert(place <= PLACES)
    }
}

inline write_entry()
{
    key[place] = k;
    first[place] = value;
    second[place] = value
}

/* W2: the word that a get may find from now on. */
inline swing(s, word)
{
    atomic {
        slot[s] = word;
        if
        :: k == A && word != 0 -> TRUTH(value)
        :: k == A && word == 0 -> TRUTH(0)
        :: else
        fi
    }
}

inline publish(s, word)
{
#ifdef REUSE_FIRST
    old = slot[s];
#endif
#ifdef RAISE_FIRST
    version++;
    swing(s, word)
#else
    swing(s, word);
#ifdef REUSE_FIRST
    if
    :: old != 0 -> key[old] = B; first[old] = B_VALUE; second[old] = B_VALUE
    :: else
    fi;
    old = 0;
#endif
#ifndef NO_RAISE
    version++
#else
    skip
#endif
#endif
}

active proctype writer()
{
    byte at[3] = S; /* slot of each key, S = absent: what the writer would find by looking */
    byte stamp, ops, place, i, k, value;
#ifdef REUSE_FIRST
    byte old;
#endif

    do
    :: ops < OPS && !answered ->
        atomic {
            ops++;
            if
            :: k = A
            :: k = B
            fi
        }
        if
        :: atomic {
               choose_place(); /* set */
               if
               :: k == A -> stamp++; value = stamp
               :: else -> value = B_VALUE
               fi
           }
            if
            :: at[k] == S ->
                atomic {
                    if
                    :: slot[0] == 0 -> at[k] = 0
                    :: else -> at[k] = 1
                    fi
                }
            :: else
            fi;
#ifdef WRITE_IN_PLACE
            if
            :: slot[at[k]] != 0 -> place = slot[at[k]]
            :: else
            fi;
#endif
            write_entry(); /* W1 */
            publish(at[k], place)
        :: at[k] != S -> /* delete */
            publish(at[k], 0);
            at[k] = S
        fi
    :: else -> break
    od
}

/* R5 and R6. */
inline check()
{
#ifdef RECHECK_SLOT
    if
    :: slot[s] != w -> goto again
    :: else
    fi
#else
    if
    :: version != v -> goto again
    :: else
    fi
#endif
}

#define ANSWER(x) atomic { assert(seen & (1 << (x))); seen = 0 } goto done

active proctype reader()
{
    byte v, w, s, one, two, turns;

    atomic { seen = 1 << current }
again:
    if
    :: turns == TURNS -> goto done /* a miss that is counted as given up */
    :: else -> turns++; s = 0
    fi;
#ifndef VERSION_LAST
    v = version; /* R1 */
#endif
    do
    :: w = slot[s]; /* R2 */
#ifdef VERSION_LAST
        v = version;
#endif
#ifdef CHECK_FIRST
        check();
#endif
        if
        :: w != 0 ->
            if /* R4 */
#ifdef NO_KEY_COMPARE
            :: true ->
#else
            :: key[w] == A ->
#endif
                one = first[w];
                two = second[w];
#if !defined HIT_UNCHECKED && !defined CHECK_FIRST
                check(); /* R5 */
#endif
                if
                :: one != two -> one = TORN
                :: else
                fi;
                ANSWER(one)
            :: else
            fi
        :: else
        fi;
        if
        :: s == S - 1 -> break
        :: else -> s++
        fi
    od;
#ifndef MISS_UNCHECKED
    check(); /* R6 */
#endif
    ANSWER(0);
done:
    answered = true
}
