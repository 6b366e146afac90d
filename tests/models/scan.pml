/* SPDX-License-Identifier: MIT */
/* scan.pml: a scan that collects the slots of all buckets, against an entry that moves between one that is ahead and one that was passed.
 * What comes behind, N5 and N6 of lib/scan.c, looks an entry up in its two buckets as a get does, which is move.pml.
 *
 * Three buckets of a slot each; A is there all the time, in bucket 0 or in bucket 2. The writer makes MOVES moves and may die DEATHS times;
 * the next holder of the mutex finishes the move or takes it back. The log of moves has LINES lines. Of another entry, which goes from one
 * bucket to bucket 1 and back, only the lines are of interest: they push A's out of the log.
 *
 *   writer                                            scan
 *   L1 store the word in the new slot                 N1 m = moves
 *   L2 log[moves mod LINES] = the new bucket          N2 collect the slots of the next bucket
 *   L3 moves + 1                                      N3 moves != m: collect the buckets of the new lines that were passed; from the
 *   L4 clear the old slot                                beginning when there are too many; m = moves; N3 again
 *
 * Checked: the scan has collected A.
 *
 * Must fail: LOG_FIRST (L2 and L3 before L1: the line may be followed before there is anything to be found), LOG_LAST (after L4),
 *            REPAIR_UNLOGGED (a repairer that finishes a move and does not log it), MOVES_FIRST (L3 before L2), NO_FOLLOW (N3 left out),
 *            NO_REPEAT (N3 not done again: A may go back while its new bucket is visited, after the last bucket was passed),
 *            NO_RESTART (old lines are taken for new ones), NO_RECHECK (lines that were written over meanwhile are believed). */

#ifndef MOVES
#define MOVES 4
#endif
#ifndef DEATHS
#define DEATHS 2
#endif
#define LINES 3
#define BUCKETS 3

bit slot[BUCKETS];
byte log[LINES];
byte moves;

bool intent; /* with it: */
byte from, to;

bool scanned;

#define STEP(statement)                                                                                                                \
    atomic {                                                                                                                           \
        statement;                                                                                                                     \
        if                                                                                                                             \
        :: true                                                                                                                        \
        :: deaths < DEATHS -> deaths++; goto dead                                                                                      \
        fi                                                                                                                             \
    }

#ifdef MOVES_FIRST
#define LOG                                                                                                                            \
    STEP(moves++);                                                                                                                     \
    STEP(log[(moves - 1) % LINES] = to)
#else
#define LOG                                                                                                                            \
    STEP(log[moves % LINES] = to);                                                                                                     \
    STEP(moves++)
#endif

proctype holder()
{
    byte done, deaths;

    do
    :: done == MOVES || scanned -> break
    :: else ->
        atomic {
            done++;
            from = (slot[0] -> 0 : 2);
            to = 2 - from
        }
        if
        :: true
        :: to = 1;
            LOG;
            goto let_go
        fi;
        STEP(intent = true);
#ifdef LOG_FIRST
        LOG;
#endif
        STEP(slot[to] = 1);
#if !defined LOG_FIRST && !defined LOG_LAST
        LOG;
#endif
        STEP(slot[from] = 0);
#ifdef LOG_LAST
        LOG;
#endif
        STEP(intent = false);
        goto let_go;
dead:
        if
        :: intent && slot[to] ->
#ifndef REPAIR_UNLOGGED
            LOG;
#endif
            STEP(slot[from] = 0);
            STEP(intent = false)
        :: intent && !slot[to] -> STEP(intent = false)
        :: else
        fi;
let_go:
        assert(slot[0] + slot[2] == 1)
    od
}

proctype scan()
{
    byte m, now, count, bucket, i, line[LINES];
    bool shown, again;

    m = moves; /* N1 */
    do
    :: bucket == BUCKETS || shown -> break
    :: else ->
        shown = slot[bucket]; /* N2 */
#ifndef NO_FOLLOW
follow:
        now = moves;
        if
        :: now != m -> /* N3 */
            atomic {
                count = now - m;
#ifdef NO_RESTART
                again = false;
                count = (count < LINES -> count : LINES - 1)
#else
                again = (count >= LINES)
#endif
            }
            i = 0;
            do
            :: i == count || again -> break
            :: else -> atomic { line[i] = log[(now - count + i) % LINES]; i++ }
            od;
#if !defined NO_RECHECK && !defined NO_RESTART
            again = again || moves - m >= LINES;
#endif
            m = now;
            i = 0;
            do
            :: i == count || again -> break
            :: else ->
                if
                :: line[i] <= bucket -> shown = shown || slot[line[i]]
                :: else
                fi;
                i++
            od;
            atomic {
                i = 0;
                do
                :: i < LINES -> line[i] = 0; i++
                :: else -> break
                od;
                i = 0;
                count = 0
            }
#ifndef NO_REPEAT
            if
            :: !again -> goto follow
            :: else
            fi
#endif
        :: else
        fi;
#endif
        if
        :: again -> bucket = 0; again = false
        :: else -> bucket++
        fi
    od;
    assert(shown);
    scanned = true
}

init
{
    atomic {
        if
        :: slot[0] = 1
        :: slot[2] = 1
        fi;
        run holder();
        run scan()
    }
}
