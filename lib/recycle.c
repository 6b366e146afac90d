/* SPDX-License-Identifier: MIT */
/* Making room, in instalments.
 *
 * A victim (evict.c chooses it) is walked from its start to its tail, in one of four ways:
 *   SCAN   is it hot? Counts the units of entries that would be kept; ends early when a tenth is cold.       -> COOL or DROP
 *   COOL   it is (90 %): every counter is lowered and the whole segment goes back to the head of the main queue, uncopied (a relink)
 *   DROP   it is not: what is hot is copied to the main queue, what is not leaves; then the segment is free
 *   PACK   the shard is not short of memory but of whole segments (dead entries fill them): everything that lives is copied, nothing leaves
 * S3-FIFO decides what is hot: in the small queue a counter of 2 or more, in the main queue of 1 or more, which is then lowered.
 *
 * Each write pays an instalment in proportion to what it wrote: as much work as is left of the walk, divided by the room that is left until
 * free segments run out, twice over. So a walk is done before the room is needed, and no write pays for a whole segment (I7). It begins
 * when one segment is free and half of the one that new entries go to is full: earlier, and what is free would be empty for longer than
 * it need be; later, and the walks of hot victims, which are relinked, would not be done in time. The entries of an instalment are decoded
 * first and their buckets prefetched, then acted on: the walk's cache misses overlap.
 *
 * The bound for a write of U units: 64 + U / 64 entries are examined for its instalment. A write for which that is not enough frees
 * segments at once (a stall): one where nothing is free; for a value in chunks as many as it may fill. Each costs the walks of at most 5
 * victims, of which the last keeps nothing; a walk looks at an entry once or twice. A value makes room for all of itself at once: a reserve
 * that would spread it would have to be as large as the largest value.
 *
 * Killed anywhere: entries that were dropped or copied are no longer named by the index, so the walk can start again from the beginning,
 * and does. Every slot change is one change of the index (index.c); the victim is freed only after a whole walk found nothing that names
 * it. From the begin of the walk on, holes of the victim are not reused (segment.c refuses them): nothing new appears behind the walker.
 *
 * Q1 to Q4 of a recycled segment: Q1 every slot that names it is swung or cleared and its bucket's version raised (DROP), Q2 full fence,
 * Q3 no pin names it (pond_segment_pinned), Q4 epoch + 1 (pond_segment_free). A pinned one goes back into its queue, empty of live entries.
 *
 * A shard whose index is nearly full is short as well, whatever its memory: who leaves is then for the queues to say, not for the two
 * buckets of the next key.
 *
 * Why not one pass that decides entry by entry: relinking a hot segment halves what is copied (measured on traces: 0.28 bytes for each
 * byte set against 0.6), and the early end makes the scan of a cold one short. */

#include "recycle.h"

#include "crashpoint.h"
#include "evict.h"
#include "expire.h"
#include "group.h"
#include "relocate.h"
#include "retire.h"
#include "root.h"

#include <string.h>

enum pond_walk_phase { SCAN = 0, COOL = 1, DROP = 2, PACK = 3 };

#define BATCH            16u /* entries decoded ahead */
#define STEP_ENTRIES_MIN 4u  /* of an instalment */
#define ENTRY_COST_UNITS 8u  /* what examining an entry costs besides its size, in units: a probe of the index */

/* An entry of the victim, decoded. */
struct item {
    uint32_t where;
    int live_bytes_only; /* dead, or a hole: then only d.units is set */
    struct pond_decoded d;
    struct pond_chunk_key chunk;
    uint64_t hash;
    struct pond_place place;
};

/* The state of one instalment. */
struct walker {
    const struct pond_ref *ref;
    struct pond_walk *walk;
    uint32_t segment, start, tail, queue;
    uint64_t now_ms;
    uint64_t examined, copied_bytes;
    int merciless; /* nothing is copied or kept */
};

/* ---- looking at the victim's entries ---- */

/* Decodes up to BATCH entries from the cursor on. Returns how many; 0 with the cursor before the tail means damage. */
static unsigned gather(const struct walker *w, struct item *items, unsigned most) {
    uint32_t at = w->walk->cursor_units;
    unsigned n = 0;
    for (; n < most && at < w->tail; n++) {
        struct item *item = &items[n];
        item->where = w->start + at;
        const unsigned char *bytes = pond_ref_at(w->ref, item->where);
        uint64_t word = pond_load_64((const uint64_t *)(const void *)bytes);
        item->live_bytes_only = (pond_word_flags(word) & POND_ENTRY_DEAD) != 0;
        if (item->live_bytes_only) {
            item->d.units = pond_word_units(word);
            if (item->d.units < 2 || item->d.units > w->tail - at) return n;
        } else {
            if (!pond_entry_decode(bytes, w->tail - at, &item->d)) return n;
            if (item->d.flags & POND_ENTRY_CHUNK) {
                pond_copy_out(&item->chunk, bytes + item->d.key_off, sizeof item->chunk);
                item->hash = item->chunk.hash;
            } else {
                item->hash = pond_hash(bytes + item->d.key_off, item->d.key_bytes, w->ref->g->hash_seed);
            }
            item->place = pond_place_of(w->ref->g, item->hash);
            __builtin_prefetch(&w->ref->buckets[item->place.home]);
        }
        at += item->d.units;
    }
    return n;
}

/* The slot by which an item lives: its own, or for a chunk that of the root which lists it. */
static int lives(const struct walker *w, const struct item *item, struct pond_spot *spot) {
    const struct pond_ref *ref = w->ref;
    if (item->live_bytes_only) return 0;
    if (!(item->d.flags & POND_ENTRY_CHUNK)) return pond_index_find_where(ref, &item->place, item->where, spot);
    struct pond_cursor cursor = pond_index_cursor(ref, &item->place);
    while (pond_index_next(ref, &item->place, &cursor, spot)) {
        uint32_t where = pond_slot_where(spot->word);
        const unsigned char *at = pond_ref_at(ref, where);
        struct pond_decoded d;
        if (pond_entry_decode(at, pond_units_left(ref->g, where), &d) && d.flags & POND_ENTRY_ROOT &&
            item->chunk.number < pond_root_count(at, &d) && pond_root_chunk(at, &d, item->chunk.number) == item->where)
            return 1;
    }
    return 0;
}

static unsigned hits_at(const struct walker *w, const struct pond_spot *spot) {
    return pond_hits_of(&w->ref->buckets[spot->bucket], spot->slot);
}

/* Is it to be kept? A chunk in the small queue also when its root has been promoted already: then the whole value was. */
static int is_hot(const struct walker *w, const struct item *item, const struct pond_spot *spot) {
    const struct pond_ref *ref = w->ref;
    if (w->queue == POND_MAIN) return hits_at(w, spot) >= 1;
    if (hits_at(w, spot) >= POND_PROMOTE_HITS) return 1;
    return item->d.flags & POND_ENTRY_CHUNK &&
           pond_segment_queue(&ref->table[pond_segment_of(ref->g, pond_slot_where(spot->word))]) == POND_MAIN;
}

/* A chunk behind which others of its value follow. */
static int more_follow(const struct walker *w, const struct item *item, const struct pond_spot *spot) {
    uint32_t where = pond_slot_where(spot->word);
    const unsigned char *at = pond_ref_at(w->ref, where);
    struct pond_decoded root;
    return item->d.flags & POND_ENTRY_CHUNK && pond_entry_decode(at, pond_units_left(w->ref->g, where), &root) &&
           item->chunk.number + 1 < pond_root_count(at, &root);
}

/* The counter of a value that is kept: a promoted one begins anew, one in the main queue is lowered; of a value in chunks that is copied
 * with the last of them, so that the others, which come before it, are still hot. */
static void lower_hits(const struct walker *w, const struct item *item, const struct pond_spot *spot, int promoted) {
    struct pond_bucket *bucket = &w->ref->buckets[spot->bucket];
    unsigned hits = pond_hits_of(bucket, spot->slot);
    if (hits > 0 && !more_follow(w, item, spot)) pond_hits_set(bucket, spot->slot, promoted ? 0 : w->queue == POND_MAIN ? hits - 1 : hits);
}

/* Does the entry behind a slot live: for a chunk its root. */
static enum pond_life life_of(const struct walker *w, const struct item *item, const struct pond_spot *spot) {
    struct pond_decoded root;
    if (!(item->d.flags & POND_ENTRY_CHUNK)) return pond_life(w->ref->map, pond_ref_at(w->ref, item->where), &item->d, w->now_ms);
    uint32_t where = pond_slot_where(spot->word);
    const unsigned char *at = pond_ref_at(w->ref, where);
    return pond_entry_decode(at, pond_units_left(w->ref->g, where), &root) ? pond_life(w->ref->map, at, &root, w->now_ms) : POND_LIVES;
}

/* ---- acting on them ---- */

static void leave(const struct walker *w, const struct item *item, const struct pond_spot *spot, enum pond_life life) {
    struct pond_shard_counters *counters = &w->ref->shard->counters;
    if (life >= POND_OVER) {
        pond_life_count(counters, life);
    } else {
        pond_bump_64(&counters->evictions, 1);
        pond_ghost_add(w->ref, item->hash, w->queue);
    }
    POND_CRASHPOINT("recycle.leaving");
    pond_retire_remove(w->ref, spot);
}

static int keep(struct walker *w, const struct item *item, const struct pond_spot *spot) {
    const struct pond_ref *ref = w->ref;
    int pack = w->walk->phase == PACK, promoted = w->queue == POND_SMALL && hits_at(w, spot) >= POND_PROMOTE_HITS;
    uint32_t queue = pack ? w->queue : (uint32_t)POND_MAIN;
    uint32_t units = item->d.units;
    if (item->d.flags & POND_ENTRY_CHUNK)
        units = pond_relocate_chunk(ref, spot, item->where, &item->d, item->chunk.number, queue, w->now_ms);
    else if (pond_relocate_entry(ref, spot, queue, 0, w->now_ms) == 0)
        units = 0;
    if (units == 0) return 0;
    POND_CRASHPOINT("recycle.copied");
    if (!pack) {
        struct pond_spot now = {spot->bucket, spot->slot, pond_load_64(&ref->buckets[spot->bucket].slot[spot->slot])};
        lower_hits(w, item, &now, promoted);
    }
    pond_bump_64(&ref->shard->counters.bytes_copied, (uint64_t)units * POND_UNIT_BYTES);
    w->copied_bytes += (uint64_t)units * POND_UNIT_BYTES;
    return 1;
}

static void drop_item(struct walker *w, const struct item *item) {
    struct pond_spot spot;
    if (item->live_bytes_only) {
        pond_hole_unlink(w->ref, item->where);
        return;
    }
    if (!lives(w, item, &spot)) return;
    enum pond_life life = life_of(w, item, &spot);
    if (life < POND_OVER && !w->merciless && (w->walk->phase == PACK || is_hot(w, item, &spot)) && keep(w, item, &spot)) return;
    leave(w, item, &spot, life);
}

static void scan_item(struct walker *w, const struct item *item) {
    struct pond_spot spot;
    if (lives(w, item, &spot) && life_of(w, item, &spot) < POND_OVER && is_hot(w, item, &spot)) w->walk->hot_units += item->d.units;
}

/* Chunks leave their value's counter to its root, which comes behind them: it must not seem cold then. */
static void cool_item(struct walker *w, const struct item *item) {
    struct pond_spot spot;
    if (item->live_bytes_only || item->d.flags & POND_ENTRY_CHUNK) return;
    if (lives(w, item, &spot)) lower_hits(w, item, &spot, w->queue == POND_SMALL);
}

/* ---- the walk ---- */

/* A segment whose entries cannot be stepped over: every slot that names it is cleared, found by looking at all. Damage only. */
static void drop_all_by_index(const struct walker *w) {
    const struct pond_ref *ref = w->ref;
    pond_bump_64(&ref->shard->counters.damages, 1);
    for (uint32_t b = 0; b < ref->g->bucket_count; b++)
        for (uint32_t i = 0; i < POND_BUCKET_SLOTS; i++) {
            struct pond_spot spot = {b, i, pond_load_64(&ref->buckets[b].slot[i])};
            uint32_t where = pond_slot_where(spot.word);
            if (spot.word != 0 && pond_where_valid(ref->g, where) && pond_segment_of(ref->g, where) == w->segment)
                pond_index_remove(ref, &spot, 0);
        }
}

/* The victim + 1, or 0. */
static uint32_t begin(const struct pond_ref *ref, uint64_t now_ms) {
    struct pond_walk *walk = &ref->shard->walk;
    int pack;
    uint32_t victim = pond_evict_victim(ref, now_ms, &pack);
    if (victim == POND_NO_SEGMENT) return 0;
    pond_segment_begin_victim(ref, victim);
    walk->victim = victim + 1;
    walk->cursor_units = 0;
    walk->hot_units = 0;
    walk->phase = ref->table[victim].expiry_max_ms <= now_ms ? DROP : pack ? PACK : SCAN;
    POND_CRASHPOINT("recycle.begun");
    return victim + 1;
}

static struct walker walker_of(const struct pond_ref *ref, uint32_t victim, uint64_t now_ms, int merciless) {
    struct pond_walk *walk = &ref->shard->walk;
    uint32_t segment = victim - 1;
    struct walker w = {.ref = ref,
                       .walk = walk,
                       .segment = segment,
                       .start = pond_segment_start(ref->g, segment),
                       .tail = pond_segment_tail(ref->g, &ref->table[segment]),
                       .queue = pond_segment_queue(&ref->table[segment]),
                       .now_ms = now_ms,
                       .merciless = merciless};
    return w;
}

static void finish(struct walker *w) {
    struct pond_walk *walk = w->walk;
    const struct pond_ref *ref = w->ref;
    walk->cursor_units = 0;
    if (walk->phase == SCAN) {
        int hot = walk->hot_units * 100 >= (uint64_t)w->tail * POND_RELINK_PERCENT && w->tail > 0;
        walk->phase = hot && !w->merciless && walk->relinks < POND_RELINKS_MAX ? COOL : DROP;
        return;
    }
    walk->victim = 0;
    if (walk->phase == COOL) {
        walk->relinks++;
        pond_bump_64(&ref->shard->counters.relinks, 1);
        POND_CRASHPOINT("recycle.relinking");
        pond_segment_requeue(ref, w->segment, POND_MAIN);
    } else if (pond_segment_pinned(ref, w->segment)) {
        ref->table[w->segment].live_units = 0;
        pond_segment_requeue(ref, w->segment, w->queue);
    } else {
        walk->relinks = 0;
        pond_segment_free(ref, w->segment);
    }
}

/* Goes on with the walk until `budget` units were paid or `entries` examined, or the walk of this victim is over. */
static void advance(struct walker *w, uint64_t budget, unsigned entries) {
    struct item items[BATCH];
    uint64_t paid = 0;
    while (w->walk->victim && w->examined < entries && paid < budget) {
        unsigned want = entries - (unsigned)w->examined, n = gather(w, items, want < BATCH ? want : BATCH);
        if (n == 0 && w->walk->cursor_units < w->tail) {
            drop_all_by_index(w);
            w->walk->phase = DROP;
            w->walk->cursor_units = w->tail;
        }
        for (unsigned i = 0; i < n && paid < budget; i++) {
            if (w->walk->phase == DROP || w->walk->phase == PACK)
                drop_item(w, &items[i]);
            else if (w->walk->phase == SCAN)
                scan_item(w, &items[i]);
            else
                cool_item(w, &items[i]);
            w->walk->cursor_units += items[i].d.units;
            w->examined++;
            paid += items[i].d.units + ENTRY_COST_UNITS;
        }
        /* So much is cold already that it cannot be kept as a whole. */
        if (w->walk->phase == SCAN &&
            (w->walk->cursor_units - w->walk->hot_units) * 100 > (uint64_t)w->tail * (100 - POND_RELINK_PERCENT)) {
            w->walk->cursor_units = 0;
            w->walk->phase = DROP;
            continue;
        }
        if (w->walk->cursor_units >= w->tail) finish(w);
    }
}

/* The victim + 1 whose walk has begun, or 0. The walk's fields come from the file: loaded once, checked. */
static uint32_t walking(const struct pond_ref *ref) {
    struct pond_walk *walk = &ref->shard->walk;
    uint32_t victim = pond_load_32(&walk->victim);
    if (victim == 0) return 0;
    if (victim <= ref->g->segment_count && walk->phase <= PACK && pond_segment_state(&ref->table[victim - 1]) == POND_SEGMENT_VICTIM)
        return victim;
    memset(walk, 0, sizeof *walk);
    return 0;
}

/* The most that one write has paid is what all its victims cost together. */
static void note_paid(const struct walker *w, struct pond_paid *paid) {
    struct pond_shard_counters *counters = &w->ref->shard->counters;
    paid->entries += w->examined;
    paid->bytes += w->copied_bytes;
    pond_bump_64(&counters->steps, w->examined);
    if (paid->entries > counters->steps_max) pond_store_64(&counters->steps_max, paid->entries);
    if (paid->bytes > counters->step_bytes_max) pond_store_64(&counters->step_bytes_max, paid->bytes);
}

/* Is one segment of each queue open, no more? Where there are times to live, several may be full at once. */
static int only_one_open(const struct pond_shard *shard) {
    uint32_t others = 0;
    for (uint32_t k = 1; k < POND_TTL_CLASSES; k++) others |= shard->open[POND_SMALL][k] | shard->open[POND_MAIN][k];
    return others == 0;
}

/* Not where views are: the walk of a pinned victim frees nothing. */
int pond_recycle_may_wait(const struct pond_ref *ref) {
    const struct pond_shard *shard = ref->shard;
    return shard->free_count != 0 && shard->views == 0 && only_one_open(shard) &&
           pond_segment_open_room(ref, POND_SMALL, 0) >= ref->g->segment_units / 2;
}

/* Units that can be written before free segments run out, about: one is for what is kept of the victim. */
static uint64_t room_left(const struct pond_ref *ref) {
    uint64_t free = ref->shard->free_count, segment = ref->g->segment_units, room = segment / 8 + 1 + free * segment;
    return free > 0 && only_one_open(ref->shard) ? room - segment + pond_segment_open_room(ref, POND_SMALL, 0) : room;
}

int pond_recycle_step(const struct pond_ref *ref, uint64_t units, struct pond_paid *paid) {
    struct pond_shard *shard = ref->shard;
    if (pond_recycle_idle(ref)) return 0;
    uint64_t now_ms = pond_clock_read(ref->map);
    uint32_t victim = walking(ref);
    if (victim == 0) victim = begin(ref, now_ms);
    if (victim == 0) return 0;
    struct walker w = walker_of(ref, victim, now_ms, 0);
    uint64_t left = w.tail - shard->walk.cursor_units + (shard->walk.phase == SCAN ? w.tail : 0);
    uint64_t room = room_left(ref);
    /* Relinks free nothing: the more of them, the faster the walk. */
    uint64_t relinks = shard->walk.relinks < POND_RELINKS_MAX ? shard->walk.relinks : POND_RELINKS_MAX;
    uint64_t budget = (units * (2 + 2 * left / room) + STEP_ENTRIES_MIN * ENTRY_COST_UNITS) * (1 + relinks);
    advance(&w, budget, POND_STEP_ENTRIES_MAX + (unsigned)(units / POND_STEP_UNITS));
    note_paid(&w, paid);
    return 1;
}

int pond_recycle_force(const struct pond_ref *ref, struct pond_paid *paid) {
    struct pond_shard *shard = ref->shard;
    uint32_t free_before = shard->free_count;
    if (!paid->stalled) pond_bump_64(&shard->counters.stalls, 1);
    paid->stalled = 1;
    for (uint32_t turns = 0; turns < 2 * ref->g->segment_count && shard->free_count <= free_before; turns++) {
        uint64_t now_ms = pond_clock_read(ref->map);
        uint32_t victim = walking(ref);
        if (victim == 0) victim = begin(ref, now_ms);
        if (victim == 0) return 0;
        struct walker w = walker_of(ref, victim, now_ms, turns + 1 >= POND_FORCE_VICTIMS);
        while (shard->walk.victim == w.segment + 1) advance(&w, UINT64_MAX, UINT32_MAX);
        note_paid(&w, paid);
    }
    return shard->free_count > free_before;
}
