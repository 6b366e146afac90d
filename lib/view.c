/* SPDX-License-Identifier: MIT */
/* Views: values shown where they lie, in segments that are pinned meanwhile.
 *
 *   viewer                                                        recycler, and whoever fills a hole (holds the shard's mutex)
 *   P0 once for each shard, under its mutex: views = 1            (so that without views nobody looks for pins)
 *   P1 v = version (acquire), slot, entry: R1 to R4 of read.c     Q1 every slot that names the segment is swung or cleared, versions raised
 *   P2 pin = the segment, in the thread's reader slot             Q2 full fence
 *   P3 full fence                                                 Q3 a pin names the segment (acquire)? another victim, another hole
 *   P4 version still v? no: pin = 0, again                        Q4 reuse
 *   P5 the bytes are used, for as long as it takes; then pin = 0 (release)
 *
 * Either the viewer's P4 sees the raised version, or the recycler's Q3 sees the pin: each stored before its full fence and loads behind it.
 * A value in chunks: all segments of its chunks are pinned before the one P3; P4 covers the list and every chunk's header, which were
 * read since P1. The pins of a dead thread end when its reader slot is taken over; the mutex inside tells (reader.c), and recyclers look
 * (segment.c). */

#include "view.h"

#include "crashpoint.h"
#include "enter.h"
#include "expire.h"
#include "group.h"
#include "lookup.h"
#include "reader.h"
#include "root.h"

#include <stdlib.h>
#include <string.h>

static_assert(POND_READER_PINS <= 64, "a view's pins are bits of a word");

/* A view that is being taken. */
struct taking {
    const struct pond_ref *ref;
    const struct pond_key *key;
    struct pond_reader *slot;
    struct millpond_view *view;
    uint64_t pins; /* bits of slot->pin that are this view's */
};

static void unpin(struct pond_reader *slot, uint64_t pins) {
    for (unsigned i = 0; i < POND_READER_PINS; i++)
        if (pins >> i & 1) pond_store_release_64(&slot->pin[i], 0);
    POND_CRASHPOINT("view.unpinned");
}

/* P2 for one segment; one that this view has pinned already is not pinned twice. */
static int pin(struct taking *t, uint32_t where) {
    uint64_t want = (uint64_t)t->ref->number << 32 | (pond_segment_of(t->ref->g, where) + 1);
    unsigned empty = POND_READER_PINS;
    for (unsigned i = 0; i < POND_READER_PINS; i++) {
        uint64_t have = pond_load_64(&t->slot->pin[i]);
        if (have == want && t->pins >> i & 1) return 1;
        if (have == 0 && empty == POND_READER_PINS) empty = i;
    }
    if (empty == POND_READER_PINS) return 0;
    pond_store_64(&t->slot->pin[empty], want);
    POND_CRASHPOINT("view.pinned");
    t->pins |= UINT64_C(1) << empty;
    return 1;
}

/* P1 and P2 of a value in chunks. MILLPOND_MISS: its chunks do not fit together (changed meanwhile, or damaged). */
static int take_chunks(struct taking *t, const struct pond_found *f) {
    uint32_t count = pond_root_count(f->at, &f->d);
    uint64_t bytes = pond_root_bytes(f->at, &f->d), sum = 0;
    struct millpond_piece *list = calloc(count ? count : 1, sizeof *list);
    if (!list) return MILLPOND_ERR_NO_MEMORY;
    t->view->held.list = list;
    for (uint32_t i = 0; i < count; i++) {
        struct pond_decoded chunk;
        uint32_t where = pond_root_chunk(f->at, &f->d, i);
        if (!pond_chunk_at(t->ref, where, t->key->hash, i, &chunk)) return MILLPOND_MISS;
        if (!pin(t, where)) return MILLPOND_ERR_PINNED;
        list[i] = (struct millpond_piece){pond_ref_at(t->ref, where) + chunk.value_off, chunk.value_bytes};
        sum += chunk.value_bytes;
    }
    t->view->pieces = list;
    t->view->piece_count = count;
    t->view->value = count == 1 ? list[0].bytes : NULL;
    t->view->value_bytes = bytes;
    return sum == bytes ? MILLPOND_OK : MILLPOND_MISS;
}

/* P1 and P2. */
static int take_found(struct taking *t, const struct pond_found *f) {
    struct millpond_view *v = t->view;
    if (f->d.flags & POND_ENTRY_ROOT) return take_chunks(t, f);
    v->held.piece = (struct millpond_piece){f->at + f->d.value_off, f->d.value_bytes};
    if (f->d.flags & POND_ENTRY_COUNTER)
        v->held.piece = (struct millpond_piece){v->held.text, pond_counter_text(f, v->held.text)};
    else if (!pin(t, (uint32_t)((uint64_t)(f->at - t->ref->base) / POND_UNIT_BYTES)))
        return MILLPOND_ERR_PINNED;
    v->pieces = &v->held.piece;
    v->piece_count = 1;
    v->value = v->held.piece.bytes;
    v->value_bytes = v->held.piece.count;
    return MILLPOND_OK;
}

/* ORDER pin-recycle (viewer): P2 the pin, this full fence, P4 the version. Pairs with (recycler) in pond_segment_pinned(). */
static int still(const struct pond_found *f) {
    pond_fence_full();
    return pond_read_valid(f->bucket, f->version);
}

static void drop(struct taking *t) {
    unpin(t->slot, t->pins);
    t->pins = 0;
    free(t->view->held.list);
    t->view->held.list = NULL;
}

/* P0. */
static int announce(struct pond_map *map, uint32_t number, uint32_t timeout_ms) {
    struct pond_ref ref = pond_ref_of(map, number);
    if (POND_LIKELY(pond_load_acquire_32(&ref.shard->views) != 0)) return MILLPOND_OK;
    int result = pond_write_enter(map, number, timeout_ms, &ref);
    if (result != MILLPOND_OK) return result;
    pond_store_release_32(&ref.shard->views, 1);
    POND_CRASHPOINT("view.announced");
    pond_write_leave(&ref);
    return MILLPOND_OK;
}

int pond_view_take(struct pond_map *map, uint32_t timeout_ms, const struct pond_key *key, struct millpond_view *view) {
    memset(view, 0, sizeof *view);
    uint32_t number = pond_shard_of(&map->geometry, key->hash);
    if (map->readonly) return MILLPOND_ERR_READ_ONLY;
    int result = announce(map, number, timeout_ms);
    if (result != MILLPOND_OK) return result;
    struct pond_ref ref = pond_ref_of(map, number);
    struct pond_place place = pond_place_of(ref.g, key->hash);
    struct taking t = {.ref = &ref, .key = key, .slot = pond_reader_mine(map), .view = view};
    if (!t.slot) return MILLPOND_ERR_PINNED;
    for (unsigned turn = 0; turn < POND_READ_TURNS; turn++) {
        struct pond_found f;
        enum pond_turn was = pond_look(&ref, &place, key, &f);
        if (was == POND_AGAIN) continue;
        if (was == POND_FOUND && pond_life_mortal(&f.d) &&
            pond_life(map, f.at, &f.d, f.d.flags & POND_ENTRY_TTL ? pond_clock_read(map) : 0) != POND_LIVES) {
            if (!pond_read_valid(f.bucket, f.version)) continue;
            was = POND_ABSENT;
        }
        result = was == POND_FOUND ? take_found(&t, &f) : MILLPOND_MISS;
        if (was == POND_FOUND && !still(&f)) {
            drop(&t);
            continue;
        }
        if (result == MILLPOND_OK) {
            view->version = pond_version_of(&f.d);
            view->held.slot = t.slot;
            view->held.pins = t.pins;
            view->held.fork = pond_reader_fork();
            pond_raise_hits(map, &f);
        } else {
            drop(&t);
        }
        pond_reader_count(map, result == MILLPOND_OK, turn, 0);
        return result;
    }
    pond_reader_count(map, 0, POND_READ_TURNS, 1);
    return MILLPOND_MISS;
}

void pond_view_release(struct millpond_view *view) {
    if (view->held.slot && view->held.fork == pond_reader_fork()) unpin(view->held.slot, view->held.pins);
    if (view->held.slot) pond_reader_leave_left(); /* it may have been the last view of a file that a resize replaced */
    free(view->held.list);
    memset(view, 0, sizeof *view);
}
