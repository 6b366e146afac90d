/* SPDX-License-Identifier: MIT */
/* agent.pml: a pond in front of a server, one key: the agent that is told of changes, workers that read and fill, and time.
 *
 * The server works in turns: what it tells the agent of goes out at the end of a turn, behind the PONGs of that turn. The link is lost
 * at any time, with everything on its way; the agent dies between any two steps, and another one begins. WRITES changes are made by any
 * machine; with U2 a change may be one of this machine. The clock ticks at any time, so everybody may be stopped for any while.
 *
 *   agent                                               worker that reads
 *   A1 epoch odd, until = now                           L1 epoch even and now < until? else M1
 *   A2 TRACKING ON, OK                                  L2 get: a hit is served
 *   A3 clear, leases too                                L3 a miss: the lease, if nobody has it
 *   A4 sent = now; then PING; not before the last PONG  L4 GET from the server
 *   A5 told of a change: delete, the lease too          L5 fill, if the lease is still mine
 *   A6 PONG n, n > 1: until = sent[n-1] + LEASE; even   U1 change at the server   U2 delete, the lease too
 *   A7 link lost: A1
 *
 * Checked: what L2 serves was overwritten at the server later than LEASE before the read began. The pond begins with a value that was
 * overwritten long ago.
 *
 * Right as well: U2 (which is for a machine's own reads), NO_DOWN (without A1: the time told last is true until it has passed; A1 only
 * makes haste).
 * Must fail: NO_CLEAR (A3), CLEAR_FIRST (A3 before A2), UP_FIRST (A6 before A3), NO_DELETE (A5), DELETE_LATE (A5: the next message is read
 *            first), TIME_OF_PONG (A6: until = now + LEASE), SAME_PING (A6: sent[n] + LEASE), SENT_LATE (A4: the clock is read behind the
 *            PING), PING_EARLY (A4: two PINGs at once), LOSS_UNSEEN (A7: TRACKING is asked for again, and nothing cleared),
 *            CLEAR_KEEPS_LEASE (A3), DELETE_KEEPS_LEASE (A5), NO_LEASE (L5 fills in any case), LEASE_LATE (L3 after L4),
 *            NO_LOOK (L1), LOOK_LATE (L1 after L2), STORE (U2: what was written is stored). */

#ifndef WRITES
#define WRITES 1
#endif
#ifndef LOSSES
#define LOSSES 1
#endif
#ifndef DEATHS
#define DEATHS 0
#endif
#ifndef READS
#define READS 2
#endif
#ifndef TICKS
#define TICKS 2
#endif
#define READERS 1
#define LEASE   1
#define BEGIN   3

/* the server */
byte current = 1;
byte over[WRITES + 3];         /* when a value was overwritten; 0 is not yet, but of value 0, which was long ago */
bool told = false;             /* it tells the agent of changes */
bool change;                   /* in this turn, and to be told */
byte pongs;                    /* PINGs that it has executed in this turn */
mtype = {INVALIDATE, PONG};
chan stream = [4] of {mtype};  /* on its way to the agent */
bool lost;                     /* the agent will see the end of the stream */

/* the pond */
bool have = true;
byte value = 0;
byte lease = 0;                /* who fills: 1 + number of the reader, 0 nobody */
bool even;
byte until;

byte now = BEGIN;
byte losses, deaths;

#define DELETE have = false; lease = 0

inline hang_up() {
    told = false;
    change = false;
    pongs = 0;
    do
    :: stream?_
    :: empty(stream) -> break
    od
}

active proctype clock() {
    do
    :: now < BEGIN + TICKS -> now++
    :: now == BEGIN + TICKS -> break
    od
}

active proctype server() {
end_serve:
    do
    :: atomic { (pongs > 0 || change) && len(stream) + pongs < 4 -> /* the end of a turn */
            do
            :: pongs > 0 -> stream!PONG; pongs--
            :: pongs == 0 -> break
            od;
            if
            :: change -> stream!INVALIDATE; change = false
            :: else
            fi }
    :: atomic { told && losses < LOSSES -> losses++; hang_up(); lost = true }
    od
}

active proctype writer() {
    byte n = 0;
    do
    :: n < WRITES ->
        atomic { /* U1 */
            over[current] = now;
            current++;
            if
            :: told -> change = true
            :: else
            fi;
            n++
        }
#ifdef U2
        if
        :: atomic { true -> DELETE } /* U2, on this machine */
        :: true
        fi
#endif
    :: n == WRITES -> break
    od
}

#ifdef STORE
active proctype storer() {
    byte written;
    atomic {
        over[current] = now;
        current++;
        written = current;
        if
        :: told -> change = true
        :: else
        fi
    }
    atomic { have = true; value = written; lease = 0 }
}
#endif

#define MAY_DIE                                                                                                                            \
    if                                                                                                                                     \
    :: atomic { deaths < DEATHS -> deaths++; goto dead }                                                                                   \
    :: true                                                                                                                                \
    fi

/* It arrives at once; that it takes its time is the time before this step. What is sent on a lost link goes nowhere. */
#define PING pongs = pongs + told

#ifdef SENT_LATE
#define SEND_PING atomic { before = sent; PING }; MAY_DIE; sent = now
#else
#define SEND_PING atomic { before = sent; sent = now }; MAY_DIE; PING
#endif

active proctype agent() {
    byte sent, before, answered;
#ifdef DELETE_LATE
    bool owed;
#endif
begin:
#ifndef NO_DOWN
    even = false; /* A1 */
    MAY_DIE;
    until = now;
    MAY_DIE;
#endif
#ifdef CLEAR_FIRST
    atomic { DELETE };
    MAY_DIE;
#endif
    atomic { told = true; lost = false; answered = 0 }; /* A2 */
    MAY_DIE;
#ifdef UP_FIRST
    until = now + LEASE;
    even = true;
#endif
#if !defined(NO_CLEAR) && !defined(CLEAR_FIRST)
#ifdef CLEAR_KEEPS_LEASE
    have = false;
#else
    atomic { DELETE }; /* A3 */
#endif
    MAY_DIE;
#endif
#ifdef LOSS_UNSEEN
again:
#endif
    SEND_PING; /* A4 */
#ifdef PING_EARLY
    SEND_PING;
#endif
end_listen:
    do
    :: stream?INVALIDATE -> /* A5 */
        MAY_DIE;
#ifdef DELETE_LATE
        owed = true
#elif defined DELETE_KEEPS_LEASE
        have = false
#elif !defined NO_DELETE
        atomic { DELETE }
#endif
    :: stream?PONG ->
        answered = (answered < 2 -> answered + 1 : 2);
        MAY_DIE;
        if /* A6 */
        :: answered == 2 ->
#ifdef TIME_OF_PONG
            until = now + LEASE;
#elif defined SAME_PING
            until = sent + LEASE;
#else
            until = before + LEASE;
#endif
            MAY_DIE;
            even = true
        :: else
        fi;
#ifndef PING_EARLY
        before = 0;
#endif
        MAY_DIE;
#ifdef DELETE_LATE
        if
        :: owed -> atomic { DELETE; owed = false }
        :: else
        fi;
#endif
#ifdef PING_EARLY
        if
        :: pongs == 0 && empty(stream) -> SEND_PING
        :: true
        fi
#else
        SEND_PING
#endif
    :: lost && empty(stream) -> /* A7 */
#ifdef LOSS_UNSEEN
        atomic { told = true; lost = false; answered = 0 };
        goto again
#else
        goto begin
#endif
    od;
dead:
    atomic { hang_up(); lost = false; sent = 0; before = 0; answered = 0 };
    goto begin
}

active [READERS] proctype reader() {
    byte n, start, v;
    byte me = 1 + _pid % READERS;
    bool mine, coherent, seen;
    do
    :: n < READS ->
        n++;
        start = now;
#ifdef NO_LOOK
        coherent = true;
#elif !defined(LOOK_LATE)
        coherent = (even && now < until); /* L1 */
#else
        coherent = true;
#endif
        if
        :: !coherent -> goto next /* M1 */
        :: else
        fi;
        atomic { seen = have; v = value }; /* L2: a get is atomic */
#ifdef LOOK_LATE
        coherent = (even && now < until);
#endif
        if
        :: !coherent -> goto next
        :: coherent && seen ->
            assert(v != 0 && (over[v] == 0 || over[v] + LEASE > start));
            goto next
        :: else
        fi;
#ifdef LEASE_LATE
        v = current;
        atomic { mine = (lease == 0 && !have); lease = (mine -> me : lease) };
#else
        atomic { mine = (lease == 0 && !have); lease = (mine -> me : lease) }; /* L3 */
        v = current;                                                          /* L4 */
#endif
        atomic { /* L5 */
            if
#ifdef NO_LEASE
            :: mine -> have = true; value = v; lease = (lease == me -> 0 : lease)
#else
            :: mine && lease == me -> have = true; value = v; lease = 0
#endif
            :: else
            fi
        };
next:
        atomic { start = 0; v = 0; seen = 0; mine = false; coherent = false }
    :: n == READS -> break
    od
}
