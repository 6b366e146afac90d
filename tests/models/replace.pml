/* SPDX-License-Identifier: MIT */
/* replace.pml: another file takes the place of one that is in use, while one process reads and WRITERS write, each with its own handle.
 *
 * One key; what is written counts upwards. Up to FILES files: each has a slot, a mark, a mutex, the number of its successor, and perhaps a
 * name of its own; the path leads to one of them. A resizer tries RESIZES times; DEATHS times somebody dies between two steps, and FAILS
 * times the rename fails though the file is there.
 *
 *   resizer (lib/resize.c)                               reader (lib/follow.c)
 *   Z1 one at a time; the file is in place; what an      G1 the slot: a hit is the answer
 *      earlier one left is removed                       G2 a miss: the mark; not replaced: a miss
 *   Z3 the mutexes                                       F2 the file that the path leads to; still the same: the one with the
 *   Z4 new.mark = COMING; what lives is copied              successor's name; then G1 there
 *   Z5 old.successor; the new file gets a name
 *   H1 old.mark = REPLACED                               writer
 *   H2 the old file is emptied                           the mutex; in place: the slot. Else, without the mutex:
 *   H3 rename; where it fails, whoever writes next tries    replaced: F2; no other file: H2 and H3 under the mutex, if it is still
 *      it again                                                replaced and has the path
 *   H4 new.mark = IN_PLACE; the mutexes                     coming: has it the path: H4; else in the file that has it: H2 and H3
 *
 * Checked: a get returns nothing older than what a write that had returned before, or a get, has shown; and never a miss, unless
 * TRIES times no other file could be opened.
 *
 * Must fail: RENAME_FIRST (H3 before H2), NO_EMPTY (H2), EMPTY_FIRST (H2 before H1), IN_PLACE_EARLY (H4 before H3), WRITE_COMING (a writer
 *            takes COMING for in place), MARK_UNLOCKED (a writer looks at the mark before it has the mutex), MARK_UNSEEN, MARK_FIRST (G2
 *            left out, or before G1), COPY_UNLOCKED (Z4 before Z3), COPY_LATE (Z4 behind H1), NAME_LATE (Z5 behind H1), FINISH_BLINDLY
 *            (without looking whether it still is to be done), SETTLE_BLINDLY (H4 without looking at the path), GO_ON (where the rename
 *            fails, the old file goes on: what was in it is lost, and whoever reads the new one already stays there). */

#ifndef RESIZES
#define RESIZES 2
#endif
#ifndef DEATHS
#define DEATHS 1
#endif
#ifndef FAILS
#define FAILS 1
#endif
#ifndef WRITES
#define WRITES 2
#endif
#ifndef WRITERS
#define WRITERS 1
#endif
#ifndef GETS
#define GETS 2
#endif
#define FILES 3
#define TRIES 3

#define IN_PLACE 0
#define REPLACED 1
#define COMING 2
#define FREE 0
#define HELD 1

byte slot[FILES], mark[FILES], successor[FILES];
bool mutex[FILES], named[FILES];
byte path, files = 1;

/* What is true. */
byte least = 1; /* what may not be undercut any more */
byte stamp = 1;
byte deaths, fails;

#define STEP(statement)                                                                                                                \
    atomic {                                                                                                                           \
        statement;                                                                                                                     \
        if                                                                                                                             \
        :: true                                                                                                                        \
        :: deaths < DEATHS -> deaths++; goto dead                                                                                      \
        fi                                                                                                                             \
    }

/* Whoever dies leaves nothing half done behind in one slot, so a dead holder's mutex is a free one. */
#define LOCK(file)   atomic { mutex[file] == FREE; mutex[file] = HELD; mine = file }
#define UNLOCK(file) atomic { mutex[file] = FREE; mine = FILES }

/* H2 and H3. */
inline hand_over(old)
{
    next = successor[old];
#ifndef RENAME_FIRST
#ifndef NO_EMPTY
    STEP(slot[old] = 0);
#endif
#endif
    if
    :: atomic { next != 0 && named[next] -> path = next; named[next] = false }
#ifdef RENAME_FIRST
        STEP(skip);
        STEP(slot[old] = 0)
#else
        STEP(skip)
#endif
    :: next == 0 || !named[next] -> mark[old] = IN_PLACE; next = 0 /* somebody removed it */
    :: atomic { next != 0 && named[next] && fails < FAILS -> fails++ }
#ifdef GO_ON
        mark[old] = IN_PLACE;
#endif
        next = 0
    fi
}

proctype resizer()
{
    byte tries, old, next, copy, mine = FILES;

again:
    atomic {
        if
        :: tries == RESIZES || files == FILES -> goto done
        :: else -> tries++
        fi;
        mine = FILES;
        old = path; /* Z1; a name that the lock of one that died leads to is not there any more */
        next = 0;
        copy = 0
    }
    if
    :: mark[old] != IN_PLACE -> goto again
    :: else
    fi;
    if
    :: successor[old] != 0 -> STEP(named[successor[old]] = false)
    :: else
    fi;
#ifdef COPY_UNLOCKED
    copy = slot[old];
#endif
    LOCK(old);
    if
    :: mark[old] != IN_PLACE -> UNLOCK(old); goto again
    :: else
    fi;
    atomic { /* nobody sees the new file yet */
        next = files;
        files++;
        mark[next] = COMING;
#if !defined COPY_UNLOCKED && !defined COPY_LATE
        copy = slot[old];
#endif
        slot[next] = copy
    }
    STEP(successor[old] = next);
#ifndef NAME_LATE
    STEP(named[next] = true);
#endif
#ifdef EMPTY_FIRST
    STEP(slot[old] = 0);
#endif
    STEP(mark[old] = REPLACED); /* H1 */
#ifdef NAME_LATE
    STEP(named[next] = true);
#endif
#ifdef COPY_LATE
    STEP(slot[next] = slot[old]);
#endif
#ifdef IN_PLACE_EARLY
    STEP(mark[next] = IN_PLACE);
#endif
    hand_over(old);
    if
    :: next != 0 -> STEP(mark[next] = IN_PLACE) /* H4 */
    :: else
    fi;
    UNLOCK(old);
    goto again;
dead:
    atomic {
        if
        :: mine < FILES -> mutex[mine] = FREE
        :: else
        fi;
        goto again
    }
done:
    atomic { old = 0; next = 0; copy = 0; tries = 0; mine = 0 }
}

proctype writer()
{
    byte f, next, there, value, tries, writes, mine = FILES;

again:
    atomic {
        if
        :: writes == WRITES -> goto done
        :: else -> writes++
        fi;
        mine = FILES;
        next = 0;
        tries = 0
    }
try:
    atomic {
        if
        :: tries == TRIES -> goto again /* busy: nothing was written */
        :: else -> tries++
        fi
    }
#ifdef MARK_UNLOCKED
    if
    :: mark[f] != IN_PLACE -> goto follow
    :: else
    fi;
#endif
    LOCK(f);
#ifdef WRITE_COMING
    if
    :: mark[f] == REPLACED -> UNLOCK(f); goto follow
    :: else
    fi;
#elif !defined MARK_UNLOCKED
    if
    :: mark[f] != IN_PLACE -> UNLOCK(f); goto follow
    :: else
    fi;
#endif
    STEP(stamp++; value = stamp; slot[f] = value);
    atomic {
        least = (value > least -> value : least);
        UNLOCK(f);
        goto again
    }

follow:
    there = mark[f];
    if
    :: there == COMING ->
#ifdef SETTLE_BLINDLY
        atomic {
            if
            :: mark[f] == COMING -> mark[f] = IN_PLACE
            :: else
            fi;
            goto try
        }
#endif
        there = path;
        if
        :: there == f ->
            atomic {
                if
                :: mark[f] == COMING -> mark[f] = IN_PLACE
                :: else
                fi;
                goto try
            }
        :: there != f && mark[there] == REPLACED -> goto finish
        :: there != f && mark[there] != REPLACED -> f = path; goto try
        fi
    :: there == IN_PLACE -> goto try
    :: there == REPLACED ->
        there = path; /* F2 */
        if
        :: there != f -> f = there; goto try
        :: else
        fi;
        if
        :: mark[f] != REPLACED -> goto try
        :: else
        fi;
        atomic {
            if
            :: successor[f] != 0 && named[successor[f]] -> f = successor[f]; goto try
            :: else -> there = f
            fi
        }
    fi;
finish: /* the file `there` */
    LOCK(there);
#ifndef FINISH_BLINDLY
    if
    :: mark[there] == REPLACED && path == there ->
#endif
        hand_over(there)
#ifndef FINISH_BLINDLY
    :: else
    fi
#endif
    ;
    UNLOCK(there);
    goto try;
dead: /* another process, that opens what the path leads to */
    atomic {
        if
        :: mine < FILES -> mutex[mine] = FREE
        :: else
        fi;
        f = path;
        goto again
    }
done:
    atomic { f = 0; next = 0; there = 0; value = 0; tries = 0; mine = 0; writes = 0 }
}

proctype reader()
{
    byte f, next, value, floor, tries, gets;

again:
    atomic {
        if
        :: gets == GETS -> goto done
        :: else -> gets++
        fi;
        if
        :: gets == 1 -> f = path /* opened just now, or before */
        :: true
        fi;
        floor = least;
        tries = 0;
        next = 0
    }
look:
#ifdef MARK_FIRST
    next = mark[f];
#endif
    atomic {
        value = slot[f]; /* G1 */
        if
        :: value != 0 ->
            assert(value >= floor);
            least = (value > least -> value : least);
            goto again
        :: else
        fi
    }
#ifdef MARK_UNSEEN
    next = IN_PLACE;
#elif !defined MARK_FIRST
    next = mark[f]; /* G2 */
#endif
    if
    :: next != REPLACED -> atomic { assert(false); goto again }
    :: next == REPLACED && tries == TRIES -> goto again /* nothing to open: a miss */
    :: else -> tries++
    fi;
    next = path; /* F2 */
    if
    :: next != f -> f = next; goto look
    :: else
    fi;
    if
    :: mark[f] != REPLACED -> goto look
    :: else
    fi;
    atomic {
        if
        :: successor[f] != 0 && named[successor[f]] -> f = successor[f]
        :: else
        fi;
        goto look
    }
done:
    atomic { f = 0; next = 0; value = 0; floor = 0; tries = 0 }
}

init
{
    atomic {
        slot[0] = 1;
        run resizer();
        run writer();
#if WRITERS > 1
        run writer();
#endif
        run reader()
    }
}
