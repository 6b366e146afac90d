/* SPDX-License-Identifier: MIT */
/* recover.pml: writers that die at any step, repairers that die too, and a get all along.
 *
 * Key A, its home bucket 0 and its other bucket 1, a slot each. Whoever holds the mutex does OPS operations of its own choice in all:
 * insert at home or in the other bucket, overwrite, delete, move out, move home, move home with a new value, or write key B's bytes into
 * the free places. DEATHS times it may die between two steps; the next holder repairs, and may die in that as well. What a dead holder
 * knew is lost: only what is in the file counts.
 *
 *   writer                                            repairer, when intent is set
 *   I1 the record: slots, words, absolute figures     Y1 slot[to] == new?  no: spill = before, to Y4
 *   I2 intent = 1                                     Y2 a move: version[H] + 1, clear the old place, raise its bucket
 *   W1 write the entry where no slot points              else: raise the slot's bucket
 *   W2 the word (a move: the steps of move.pml)       Y3 items, bytes, spill = after
 *   W3 version + 1                                    Y4 intent = 0
 *   W5 items, bytes, spill = after                    then old bytes may be written
 *   W6 intent = 0
 *
 * Checked: the answer of the get was A's true state at some instant during it. Whenever the mutex is let go in good order: the intent is
 * clear, A is in one slot or none, its value is the one last published, and items, bytes and spill are right.
 *
 * Must fail: NO_REPAIR (the next holder just goes on), NO_REPAIR_RAISE (Y2), REPAIR_RAISES_NEW_ONLY (Y2), NO_RAISE_BEFORE_CLEAR (Y2),
 *            NOT_FINISHED (Y2 without the clear), CLEAR_INTENT_FIRST (Y4 before Y2), RELATIVE_FIGURES (the repairer adds to items and
 *            bytes), RELATIVE_SPILL (the repairer adds to spill), SPILL_KEPT (no "spill = before"), INTENT_LATE (I2 after W2),
 *            INTENT_EARLY_CLEAR (W6 before W5), COUNTS_FIRST (W5 before W2), ACTIVE_FIRST (I2 before I1), NO_CLEAR_BETWEEN (W6 left to
 *            the last operation of a hold). */

#ifndef OPS
#define OPS 3
#endif
#ifndef DEATHS
#define DEATHS 2
#endif
#define PLACES 3
#define TURNS 2
#define A 1
#define B 2
#define B_VALUE 14
#define NONE 2
#define SIZE(place) (place == 0 -> 0 : 3 + (value[place] & 1)) /* bytes that an entry counts */

byte slot[2]; /* bucket 0 is home */
byte version[2];
byte spill;
byte key[PLACES + 1];
byte value[PLACES + 1];
byte items, bytes;

byte intent, to, from, old_word, new_word, items_after, bytes_after, spill_before, spill_after; /* the intent */

/* What is true, for the assertion only. */
byte current; /* A's value, 0 = absent */
short seen;   /* values A had since the get began, one bit each */
bool answered;
byte stamp;

#define TRUTH(x)                                                                                                                       \
    current = x;                                                                                                                       \
    seen = seen | (1 << current)

/* One step of whoever holds the mutex, after which it may be dead. */
#define STEP(statement)                                                                                                                \
    atomic {                                                                                                                           \
        statement;                                                                                                                     \
        if                                                                                                                             \
        :: true                                                                                                                        \
        :: deaths < DEATHS -> deaths++; goto dead                                                                                      \
        fi                                                                                                                             \
    }

#define RAISE(b) version[b] = version[b] + 1

inline choose_place()
{
    place = 1;
    do
    :: slot[0] == place || slot[1] == place -> place++
    :: else -> break
    od;
    assert(place <= PLACES)
}

/* I1: nobody but a repairer reads the fields, and only when intent is set. */
inline intend(to_slot, from_slot, word, spill_then)
{
    to = to_slot;
    from = from_slot;
    old_word = slot[to_slot];
    new_word = word;
#if defined ACTIVE_FIRST || defined NO_CLEAR_BETWEEN
    if /* with the intent set, a record that is half written is read */
    :: true
    :: deaths < DEATHS -> deaths++; goto dead
    fi;
#endif
    items_after = (word != 0);
    bytes_after = SIZE(word);
    spill_before = spill;
    spill_after = spill_then
}

#define STORE_WORD                                                                                                                     \
    atomic {                                                                                                                           \
        slot[to] = new_word;                                                                                                           \
        TRUTH(value[new_word])                                                                                                         \
    }

active proctype holder()
{
    byte ops, deaths, place, what;
#ifdef NO_CLEAR_BETWEEN
    byte hold;
#endif

next:
    do
    :: ops == OPS || answered -> break
    :: else ->
        atomic {
            ops++;
            choose_place();
            if
            :: slot[0] == 0 && slot[1] == 0 -> what = 0 /* insert at home */
            :: slot[0] == 0 && slot[1] == 0 -> what = 1 /* insert in the other bucket */
            :: slot[0] != 0 -> what = 0                 /* overwrite */
            :: slot[1] != 0 -> what = 1
            :: slot[0] != 0 -> what = 2 /* delete */
            :: slot[1] != 0 -> what = 3
            :: slot[0] != 0 -> what = 4 /* move out */
            :: slot[1] != 0 -> what = 5 /* move home */
            :: slot[1] != 0 -> what = 6 /* move home with a new value */
            :: true -> what = 7         /* bytes of another key, into every free place */
            fi
        }
        if
        :: what == 7 ->
            place = 1;
            do
            :: place > PLACES -> break
            :: place <= PLACES && (place == slot[0] || place == slot[1]) -> place++
            :: else ->
                key[place] = B;
                atomic { value[place] = B_VALUE; place++ }
            od;
#ifdef NO_CLEAR_BETWEEN
            intent = 0;
            hold = 0;
#endif
            goto let_go
        :: what < 2 || what == 6 -> /* W1; before the intent or after it makes no difference to anybody */
            STEP(key[place] = A);
            STEP(stamp++; value[place] = stamp)
        :: else
        fi;
#ifdef ACTIVE_FIRST
        STEP(intent = 1);
#endif
        atomic {
            if
            :: what == 0 -> intend(0, NONE, place, spill)
            :: what == 1 -> intend(1, NONE, place, 1)
            :: what == 2 -> intend(0, NONE, 0, spill)
            :: what == 3 -> intend(1, NONE, 0, 0)
            :: what == 4 -> place = slot[0]; intend(1, 0, place, 1)
            :: what == 5 -> place = slot[1]; intend(0, 1, place, 0)
            :: what == 6 -> intend(0, 1, place, 0)
            fi;
            place = 0;
            if
            :: true
            :: deaths < DEATHS -> deaths++; goto dead
            fi
        }
#ifndef INTENT_LATE
        STEP(intent = 1);
#endif
#ifdef COUNTS_FIRST
        STEP(items = items_after);
        STEP(bytes = bytes_after);
#endif
        if
        :: what == 1 || what == 4 -> STEP(spill = spill_after)
        :: else
        fi;
        STEP(STORE_WORD); /* W2 */
#ifdef INTENT_LATE
        STEP(intent = 1);
#endif
        if
        :: what >= 4 ->
            STEP(RAISE(0));
            STEP(slot[from] = 0);
            STEP(RAISE(from))
        :: else ->
            STEP(RAISE(to)) /* W3 */
        fi;
#ifdef INTENT_EARLY_CLEAR
        STEP(intent = 0);
#endif
        if
        :: what == 3 || what == 5 || what == 6 -> STEP(spill = spill_after)
        :: else
        fi;
#ifndef COUNTS_FIRST
        STEP(items = items_after);
        STEP(bytes = bytes_after);
#endif
#ifdef NO_CLEAR_BETWEEN
        atomic {
            hold++;
            if
            :: hold == 1 && ops < OPS -> what = 0; goto next /* on with the next one of this hold */
            :: else -> hold = 0
            fi
        }
#endif
        STEP(intent = 0);
let_go:
        atomic {
            assert(!intent);
            assert(slot[0] == 0 || slot[1] == 0);
            assert(items == (slot[0] != 0 || slot[1] != 0));
            assert(spill == (slot[1] != 0));
            assert(bytes == SIZE(slot[0]) + SIZE(slot[1]));
            assert(current == value[slot[0]] + value[slot[1]]);
            what = 0;
            place = 0;
            goto next
        }
    od;
    goto done;

dead: /* EOWNERDEAD: the next holder */
    atomic {
        what = 0;
        place = 0;
#ifdef NO_CLEAR_BETWEEN
        hold = 0;
#endif
#ifdef NO_REPAIR
        intent = 0;
        goto next
#endif
    }
    if
    :: !intent -> goto repaired
    :: else
    fi;
#ifdef CLEAR_INTENT_FIRST
    STEP(intent = 0);
#endif
    if
    :: slot[to] == new_word -> /* Y1 */
        if
        :: from != NONE ->
#ifndef NO_RAISE_BEFORE_CLEAR
            STEP(RAISE(0));
#endif
#ifndef NOT_FINISHED
            STEP(slot[from] = 0);
#endif
#ifdef REPAIR_RAISES_NEW_ONLY
            STEP(RAISE(to))
#elif !defined NO_REPAIR_RAISE
            STEP(RAISE(from))
#else
            skip
#endif
        :: else ->
#ifndef NO_REPAIR_RAISE
            STEP(RAISE(to))
#else
            skip
#endif
        fi;
#ifdef RELATIVE_FIGURES
        if
        :: items != items_after ->
            STEP(items = items_after)
        :: else
        fi;
        STEP(bytes = bytes + bytes_after - SIZE(old_word));
#else
        STEP(items = items_after); /* Y3 */
        STEP(bytes = bytes_after);
#endif
#ifdef RELATIVE_SPILL
        STEP(spill = spill + spill_after - spill_before)
#else
        STEP(spill = spill_after)
#endif
    :: else ->
#ifndef SPILL_KEPT
        STEP(spill = spill_before)
#else
        skip
#endif
    fi;
    STEP(intent = 0); /* Y4 */
repaired:
    goto let_go;
done:
    skip
}

/* Looks for A in one bucket; leaves found and copy. */
inline scan(b)
{
    found = false;
    w = slot[b];
    if
    :: w != 0 ->
        if
        :: key[w] == A -> copy = value[w]; found = true
        :: else
        fi
    :: else
    fi;
    w = 0
}

#define ANSWER(x) atomic { assert(seen & (1 << (x))); seen = 0 } goto done

active proctype reader()
{
    byte v1, v2, w, copy, turns, away;
    bool found;

    atomic { seen = 1 << current }
again:
    if
    :: turns == TURNS -> goto done
    :: else -> turns++
    fi;
    v1 = version[0];
    scan(0);
    if
    :: found ->
        if
        :: version[0] != v1 -> goto again
        :: else
        fi;
        ANSWER(copy)
    :: else
    fi;
    away = spill;
    if
    :: away == 0 ->
        if
        :: version[0] != v1 -> goto again
        :: else
        fi;
        ANSWER(0)
    :: else
    fi;
    v2 = version[1];
    scan(1);
    if
    :: version[1] != v2 -> goto again
    :: else
    fi;
    if
    :: found -> ANSWER(copy)
    :: else
    fi;
    if
    :: version[0] != v1 -> goto again
    :: else
    fi;
    ANSWER(0);
done:
    answered = true
}
