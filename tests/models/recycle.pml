/* SPDX-License-Identifier: MIT */
/* recycle.pml: views that pin a segment, against recycling it and filling its holes; with store buffers.
 *
 * Segment 1 (places 1 and 2) is sealed, segment 2 (places 3 and 4) is open, with place 4 left. Key A is in place 1 at first, place 2 is a hole. Whoever holds
 * the mutex does OPS operations of its own choice: set A or write key B's bytes (into a hole or at the open tail), delete A, walk one
 * place further through segment 1 so as to recycle it, finish. Walking is in instalments; anything may be written between two of them. One thread
 * looks at A in place and pins, VIEWS times; it may die while it does, and another thread may then take over its reader slot.
 *
 * Promela is sequentially consistent, so what a processor may delay is modelled: each side's stores go through a buffer that drains at any
 * time, in order (as on x86), and a full fence waits until one's own is empty. The mutex is not taken to be a fence.
 *
 *   viewer                                              recycler
 *   P1 v = version; w = slot                            Q0 from here on no hole of the segment is filled
 *   P2 pin = the segment                                Q1 swing or clear every slot that points into it, raise the versions
 *   P3 full fence                                       Q2 full fence
 *   P4 version still v?  no: pin = 0, again             Q3 a pin names the segment?  its owner is dead: take the pin off; else leave
 *   P5 use the bytes; then pin = 0                      Q4 epoch + 1; reuse
 *
 * A hole is filled only where Q2 and Q3 allow it, and only if its record has the segment's epoch.
 *
 * Checked: what a view shows is A's for as long as it is held, and the bytes that A's slot names are A's; a dead viewer does not hold the
 * segment back.
 *
 * Must fail: NO_VIEWER_FENCE (P3), NO_WRITER_FENCE (Q2), RECHECK_LEFT_OUT (P4), RECHECK_FIRST (P4 before P2), NO_RAISE (Q1), NO_CLEAR (Q1),
 *            PIN_IGNORED (Q3), PIN_READ_FIRST (Q3 before Q1), FILL_IGNORES_PIN, FILL_UNFENCED, HOLES_IN_VICTIM (Q0), NO_EPOCH (the
 *            hole's record not checked), REAP_UNLOCKED (the pin of a dead owner taken off without owning the reader slot), NO_REAP. */

#ifndef OPS
#define OPS 5
#endif
#ifndef VIEWS
#define VIEWS 2
#endif
#define A 1
#define B 2
#define SEGMENT(p) (((p) + 1) / 2)

/* Addresses of what both sides see. */
#define PIN 0
#define PLACE 0 /* places 1 to 4 */
#define VERSION 5
#define SLOT 6
byte memory[7];

chan writer_buffer = [3] of { byte, byte };
chan viewer_buffer = [2] of { byte };

mtype = { owned, dead, reaping, unowned };
mtype owner = owned; /* of the reader slot: its robust mutex */
bool viewer_gone;

proctype drain()
{
    byte address, datum;

end:
    do
    :: atomic { writer_buffer?address, datum -> memory[address] = datum; address = 0; datum = 0 }
    :: atomic { viewer_buffer?datum -> memory[PIN] = datum; datum = 0 }
    od
}

#define WRITER_FENCE empty(writer_buffer)
#define VIEWER_FENCE empty(viewer_buffer)

/* Q2 and Q3: leaves free = nobody holds the segment. */
inline look_at_pins(segment)
{
#ifndef NO_WRITER_FENCE
    WRITER_FENCE;
#endif
    atomic {
#ifdef PIN_IGNORED
        free = true
#else
        free = (memory[PIN] != segment)
#endif
    }
#ifndef NO_REAP
#ifdef REAP_UNLOCKED
    if
    :: !free && owner == dead ->
        memory[PIN] = 0;
        free = true
    :: else
    fi
#else
    if
    :: atomic { !free && owner == dead -> owner = reaping }
        memory[PIN] = 0; /* with the reader slot's mutex, whose unlock orders it */
        atomic { owner = unowned; free = true }
    :: free || owner != dead
    fi
#endif
#endif
}

inline point_slot(word)
{
    writer_buffer!SLOT, word;
    slot = word;
#ifndef NO_RAISE
    version++;
    writer_buffer!VERSION, version
#endif
}

/* The old place of A is a hole from now on. */
inline retire()
{
    if
    :: slot != 0 -> hole[slot] = epoch[SEGMENT(slot)] + 1
    :: else
    fi
}

proctype holder()
{
    byte slot, version, ops, place, tail;
    byte hole[5];  /* 0, or the epoch of its segment plus 1 when it was noted */
    byte epoch[3];
    byte cursor; /* of the walk through segment 1; 0: not begun, 3: at the end, 4: recycled */
    bool free;
#ifdef PIN_READ_FIRST
    bool unpinned_before;
#endif

    atomic { slot = 1; hole[2] = 1; tail = 4 }
    do
    :: ops == OPS -> break
    :: ops < OPS ->
        atomic { ops++; place = 0 }
        if
        :: tail != 0 -> /* write at the open tail */
            atomic {
                place = tail;
                if
                :: tail == 2 || tail == 4 -> tail = 0
                :: else -> tail++
                fi
            }
        :: atomic { /* write into a hole */
               if
               :: place = 1
               :: place = 2
               :: place = 3
               fi;
#ifdef NO_EPOCH
               if
               :: hole[place] == 0 -> place = 0
#else
               if
               :: hole[place] != epoch[SEGMENT(place)] + 1 -> place = 0
#endif
#ifndef HOLES_IN_VICTIM
               :: SEGMENT(place) == 1 && cursor != 0 && cursor != 4 -> place = 0 /* Q0 */
#endif
               :: else
               fi
           }
            if
            :: place != 0 ->
#ifdef FILL_IGNORES_PIN
                free = true;
#elif defined FILL_UNFENCED
                free = (memory[PIN] != SEGMENT(place));
#else
                look_at_pins(SEGMENT(place));
#endif
                atomic {
                    if
                    :: free -> hole[place] = 0
                    :: else -> place = 0
                    fi;
                    free = false
                }
            :: else
            fi
        :: slot != 0 -> /* delete A */
            retire();
            point_slot(0)
        :: cursor <= 2 -> /* Q1, one place of segment 1: evict A or copy it out */
            if
            :: cursor == 0 ->
                cursor = 1;
#ifdef PIN_READ_FIRST
                unpinned_before = (memory[PIN] != 1)
#endif
            :: else
            fi;
            if
            :: slot == cursor ->
#ifndef NO_CLEAR
                if
                :: retire(); point_slot(0)
                :: tail == 4 ->
                    writer_buffer!PLACE + tail, A;
                    retire();
                    point_slot(tail);
                    tail = 0
                fi
#else
                skip
#endif
            :: else
            fi;
            cursor++
        :: cursor == 3 -> /* finish: the segment is the open one from now on */
            look_at_pins(1);
#ifdef PIN_READ_FIRST
            free = unpinned_before;
#endif
            if
            :: free ->
                atomic { epoch[1] = epoch[1] + 1; cursor = 4; tail = 1; free = false } /* Q4 */
            :: else
            fi
        fi;
        if
        :: place != 0 -> /* W1 to W3, or bytes of another key */
            if
            :: writer_buffer!PLACE + place, A;
                retire();
                point_slot(place)
            :: writer_buffer!PLACE + place, B
            fi
        :: else
        fi
    od;
    WRITER_FENCE;
    assert(memory[SLOT] == 0 || memory[memory[SLOT]] == A);
    if
    :: cursor == 3 ->
        /* The last viewer has gone or died: nothing may hold the segment back now. */
        viewer_gone && empty(viewer_buffer);
        look_at_pins(1);
        assert(free)
    :: else
    fi
}

#define MAY_DIE                                                                                                                        \
    if                                                                                                                                 \
    :: true                                                                                                                            \
    :: goto died                                                                                                                       \
    fi

proctype viewer()
{
    byte v, w, views;

again:
    if
    :: views == VIEWS -> goto gone
    :: views < VIEWS -> views++; v = 0; w = 0
    fi;
    v = memory[VERSION]; /* P1 */
    w = memory[SLOT];
    if
    :: w == 0 -> goto again
    :: else
    fi;
#ifdef RECHECK_FIRST
    if
    :: memory[VERSION] != v -> goto again
    :: else
    fi;
#endif
    viewer_buffer!SEGMENT(w); /* P2 */
#ifndef NO_VIEWER_FENCE
    VIEWER_FENCE; /* P3 */
#endif
#if !defined RECHECK_LEFT_OUT && !defined RECHECK_FIRST
    if /* P4 */
    :: memory[VERSION] != v ->
        viewer_buffer!0;
        goto again
    :: else
    fi;
#endif
    assert(memory[w] == A); /* P5, and once more a while later */
    MAY_DIE;
    assert(memory[w] == A);
    viewer_buffer!0;
    goto again;

died:
    VIEWER_FENCE; /* what was stored arrives */
    owner = dead;
    if
    :: goto gone
    :: atomic { owner != reaping -> owner = owned } /* another thread takes the reader slot, and clears what it finds */
        viewer_buffer!0;
        goto again
    fi;
gone:
    viewer_gone = true
}

init
{
    atomic {
        memory[1] = A;
        memory[SLOT] = 1;
        run drain();
        run holder();
        run viewer()
    }
}
