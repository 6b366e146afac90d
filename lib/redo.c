/* SPDX-License-Identifier: MIT */
/* Several changes in several shards, as one: all of them happen, or none, whoever dies when.
 *
 * The holder of all mutexes concerned has written the new entries, where no slot points. Each shard has a list of what is to change in it:
 *
 *   X1 number + 1 in the coordinator, the lowest of the shards: a name that was never used
 *   X2 in each shard: its list, then pending = the name                a death here: nothing has happened, the entries are dead bytes
 *   X3 decision = the name, in the coordinator                         the commit: one store
 *   X4 in each shard: the changes of its list, each through the intent record of index.c
 *   X5 in each shard: pending = 0
 *   X6 decision = 0, then the mutexes are given back
 *
 * Recovery, of one shard at a time, by the next one that locks it, which holds no other mutex of the transaction:
 *   Y1 pending is 0: nothing to do
 *   Y2 the coordinator's decision is that name: the list is applied. A change that was made is recognised (the slot names the new entry
 *      already, or no slot names the old one any more), so a recovery that dies is simply done again
 *   Y3 it is not: the list is abandoned
 *   Y4 pending = 0
 * Y2 reads the decision without the coordinator's mutex. It cannot change while a shard is pending: before X3 only the holder of all the
 * mutexes could write it, and that one is dead; behind X3 nobody takes it away before he has seen that no shard is pending under that name
 * (pond_redo_straggler), and a name is never given twice. So every shard comes to the same answer, and in any order.
 * A plain write need not care for a decision that is left over: only the next transaction with that coordinator does.
 *
 * Between X4's changes a reader of one key sees the old or the new value, as beside any set; a reader of several keys (snapshot.c) stays
 * away while a shard of them is pending.
 *
 * Nothing recycles between the writing of the entries and X5: what no slot names counts as dead. An index that is full lets an entry leave
 * in X4 (publish.c), as in a set.
 *
 * The list is data from the file: in recovery each line is checked against the entry that it names, and skipped when it does not fit.
 * Not chosen: one list in the coordinator (its recoverer would need all mutexes, out of order); a two-phase record for each key. */

#include "redo.h"

#include "crashpoint.h"
#include "publish.h"
#include "retire.h"
#include "root.h"
#include "segment.h"

static uint32_t op_count(const struct pond_redo *redo) {
    uint32_t count = pond_load_32(&redo->op_count);
    return count < POND_REDO_OPS_MAX ? count : POND_REDO_OPS_MAX;
}

void pond_redo_begin(const struct pond_ref *ref) { pond_store_32(&ref->shard->redo.op_count, 0); }

void pond_redo_add(const struct pond_ref *ref, enum pond_redo_kind kind, uint64_t hash, uint32_t where) {
    struct pond_redo *redo = &ref->shard->redo;
    uint32_t at = op_count(redo);
    if (at == POND_REDO_OPS_MAX) return; /* txn.c sees to that before; the file may say otherwise */
    redo->op[at] = (struct pond_redo_op){hash, where, kind};
    pond_store_32(&redo->op_count, at + 1);
}

void pond_redo_drop(const struct pond_ref *ref) {
    struct pond_redo *redo = &ref->shard->redo;
    for (uint32_t i = 0, n = op_count(redo); i < n; i++)
        if (redo->op[i].kind == POND_REDO_PUT && pond_where_valid(ref->g, redo->op[i].where)) pond_retire_entry(ref, redo->op[i].where);
    POND_CRASHPOINT("redo.dropped");
    pond_redo_begin(ref);
}

/* ---- X4 ---- */

static void put(const struct pond_ref *ref, const struct pond_place *place, const struct pond_redo_op *op) {
    const unsigned char *at = pond_ref_at(ref, op->where);
    struct pond_decoded d;
    struct pond_old old;
    if (!pond_entry_decode(at, pond_units_left(ref->g, op->where), &d)) return;
    struct pond_key key = {at + d.key_off, d.key_bytes, op->hash, NULL, 0};
    pond_publish_find(ref, place, &key, &old);
    if (old.found && old.where == op->where) return;
    pond_publish_entry(ref, place, &old, op->where, pond_root_weight(at, &d));
    pond_bump_64(&ref->shard->counters.sets, 1);
}

static void apply(const struct pond_ref *ref, const struct pond_redo_op *op) {
    struct pond_place place = pond_place_of(ref->g, op->hash);
    struct pond_spot spot;
    if (op->kind == POND_REDO_PUT) {
        put(ref, &place, op);
    } else if (pond_index_find_where(ref, &place, op->where, &spot)) {
        pond_retire_remove(ref, &spot);
        pond_bump_64(&ref->shard->counters.deletes, 1);
    }
    POND_CRASHPOINT("redo.applied");
}

/* X5, Y4. ORDER redo-done (writer): the slots and their versions before this store. Pairs with (reader) in pond_redo_pending(). */
static void finish(const struct pond_ref *ref, uint64_t commits) {
    struct pond_redo *redo = &ref->shard->redo;
    pond_store_64(&redo->commits, redo->commits + commits);
    pond_store_release_64(&redo->pending, 0);
    POND_CRASHPOINT("redo.done");
}

/* ---- committing ---- */

/* Any one that is still pending under this name has not been locked since its holder died. */
uint32_t pond_redo_straggler(const struct pond_ref *coordinator) {
    uint64_t name = pond_load_64(&coordinator->shard->redo.decision);
    if (POND_LIKELY(name == 0)) return POND_NO_SHARD;
    for (uint32_t i = 0; i < coordinator->g->shard_count; i++) {
        struct pond_ref other = pond_ref_of(coordinator->map, i);
        if (pond_redo_pending(&other) == name) return i;
    }
    pond_store_release_64(&coordinator->shard->redo.decision, 0);
    POND_CRASHPOINT("redo.settled");
    return POND_NO_SHARD;
}

void pond_redo_commit(struct pond_map *map, const uint32_t *shards, uint32_t count) {
    struct pond_ref coordinator = pond_ref_of(map, shards[0]);
    if (count == 1 && op_count(&coordinator.shard->redo) == 1) { /* the intent record makes one change whole */
        apply(&coordinator, &coordinator.shard->redo.op[0]);
        pond_store_64(&coordinator.shard->redo.commits, coordinator.shard->redo.commits + 1);
        return;
    }
    uint64_t number = coordinator.shard->redo.number + 1, name = number << 8 | shards[0];
    pond_store_64(&coordinator.shard->redo.number, number);
    for (uint32_t i = 0; i < count; i++) {
        struct pond_ref ref = pond_ref_of(map, shards[i]);
        /* ORDER redo-list (writer): the entries and the list (and the number) before the name. Pairs with (recovery) in
         * pond_redo_recover(), which has the mutex behind it. */
        pond_store_release_64(&ref.shard->redo.pending, name);
        POND_CRASHPOINT("redo.pending");
    }
    /* ORDER redo-decision (writer): every list and every `pending` before the decision, and the decision before any slot. Pairs with
     * (recovery) in pond_redo_recover(), and with (snapshot) in snapshot.c. */
    pond_store_release_64(&coordinator.shard->redo.decision, name);
    POND_CRASHPOINT("redo.decided");
    for (uint32_t i = 0; i < count; i++) {
        struct pond_ref ref = pond_ref_of(map, shards[i]);
        for (uint32_t k = 0, n = op_count(&ref.shard->redo); k < n; k++) apply(&ref, &ref.shard->redo.op[k]);
    }
    for (uint32_t i = 0; i < count; i++) {
        struct pond_ref ref = pond_ref_of(map, shards[i]);
        finish(&ref, 1);
    }
    pond_store_release_64(&coordinator.shard->redo.decision, 0);
    POND_CRASHPOINT("redo.committed");
}

/* ---- recovery ---- */

/* Does a line of the list fit what stands in the file? */
static int fits(const struct pond_ref *ref, const struct pond_redo_op *op) {
    const struct pond_geometry *g = ref->g;
    struct pond_decoded d;
    if (op->kind != POND_REDO_PUT && op->kind != POND_REDO_REMOVE) return 0;
    if (!pond_where_valid(g, op->where) || pond_shard_of(g, op->hash) != ref->number) return 0;
    if (op->kind == POND_REDO_REMOVE) return 1; /* looked for in the index */
    uint32_t segment = pond_segment_of(g, op->where);
    const struct pond_segment *s = &ref->table[segment];
    uint32_t end = pond_segment_start(g, segment) + pond_segment_tail(g, s);
    const unsigned char *at = pond_ref_at(ref, op->where);
    if (pond_segment_state(s) == POND_SEGMENT_FREE || op->where >= end || !pond_entry_decode(at, end - op->where, &d)) return 0;
    return !(d.flags & (POND_ENTRY_DEAD | POND_ENTRY_CHUNK)) && pond_hash(at + d.key_off, d.key_bytes, g->hash_seed) == op->hash;
}

/* ORDER redo-list (recovery), redo-decision (recovery): the mutex, then `pending`, then the decision, then the list. Pairs with (writer) in
 * pond_redo_commit(). */
void pond_redo_recover(const struct pond_ref *ref) {
    struct pond_redo *redo = &ref->shard->redo;
    uint64_t name = pond_redo_pending(ref);
    if (name == 0) return;
    uint32_t coordinator = (uint32_t)(name & 255);
    int decided = 0;
    if (coordinator < ref->g->shard_count) {
        struct pond_ref other = pond_ref_of(ref->map, coordinator);
        decided = pond_load_acquire_64(&other.shard->redo.decision) == name;
    }
    POND_CRASHPOINT("redo.recovering");
    for (uint32_t i = 0, n = decided ? op_count(redo) : 0; i < n; i++) {
        struct pond_redo_op op = redo->op[i];
        if (fits(ref, &op)) apply(ref, &op);
    }
    finish(ref, (uint64_t)decided);
}
