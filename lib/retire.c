/* SPDX-License-Identifier: MIT */
/* Entries that leave. What no slot names any more becomes a hole; the slot goes first, and its bucket's version is raised (index.c). */

#include "retire.h"

#include "entry.h"
#include "hash.h"
#include "root.h"
#include "segment.h"

void pond_retire_one(const struct pond_ref *ref, uint32_t where) {
    uint64_t word = pond_load_64((const uint64_t *)(const void *)pond_ref_at(ref, where));
    if (pond_word_flags(word) & POND_ENTRY_DEAD) return;
    pond_hole_make(ref, where, pond_segment_of(ref->g, where), pond_word_units(word));
}

void pond_retire_entry(const struct pond_ref *ref, uint32_t where) {
    const unsigned char *at = pond_ref_at(ref, where);
    struct pond_decoded d, c;
    if (!pond_entry_decode(at, pond_units_left(ref->g, where), &d)) return;
    if (d.flags & POND_ENTRY_ROOT) {
        uint64_t hash = pond_hash(at + d.key_off, d.key_bytes, ref->g->hash_seed);
        for (uint32_t i = 0, n = pond_root_count(at, &d); i < n; i++) {
            uint32_t chunk = pond_root_chunk(at, &d, i);
            if (pond_chunk_at(ref, chunk, hash, i, &c)) pond_retire_one(ref, chunk);
        }
    }
    pond_retire_one(ref, where);
}

void pond_retire_remove(const struct pond_ref *ref, const struct pond_spot *spot) {
    uint32_t where = pond_slot_where(spot->word);
    const unsigned char *at = pond_ref_at(ref, where);
    struct pond_decoded d;
    if (!pond_where_valid(ref->g, where)) { /* a damaged slot: there is nothing behind it */
        pond_index_remove(ref, spot, 0);
        return;
    }
    uint64_t weight = pond_entry_decode(at, pond_units_left(ref->g, where), &d) ? pond_root_weight(at, &d) : 0;
    pond_index_remove(ref, spot, 0 - weight);
    pond_retire_entry(ref, where);
}
