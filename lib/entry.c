/* SPDX-License-Identifier: MIT */
/* Entries: 12 bytes in front of a short key that lives for ever, 20 with a time to live, 4 more for a long key or much slack; 8 behind the
 * value of one that is of a group: as slack, so that what stands in front is found as fast as before.
 *
 * Word 0 carries all that a walk needs to step over the entry. It is written by one store and is right at every instant: an append becomes
 * visible to walks by the tail that moves behind it, a hole keeps its allotted size while it is being filled and becomes an entry by
 * that store. */

#include "entry.h"

#ifdef MILLPOND_TSAN
#include <stdlib.h>
#endif

/* A counter's number changes in place, so it is not covered. Without a seed the constants of XXH3 are the compiler's (half the instructions
 * for 100 bytes): the check is against damage, not against people, who could write any check with any value. */
uint64_t pond_entry_sum_of(const void *value, uint32_t value_bytes, uint32_t flags, uint64_t hash) {
    uint64_t sum = hash ^ ((uint64_t)(flags & (POND_ENTRY_COUNTER | POND_ENTRY_ROOT | POND_ENTRY_CHUNK)) << 56) ^ value_bytes;
    return flags & POND_ENTRY_COUNTER ? sum : sum ^ XXH3_64bits(value, value_bytes);
}

void pond_entry_write(const struct pond_ref *ref, uint32_t where, uint32_t units, const struct pond_content *c) {
    uint32_t flags = pond_content_flags(c), value_off = pond_content_head(c, flags), bytes = units * POND_UNIT_BYTES - c->value_bytes;
    if (bytes - value_off > 63 && !(flags & POND_ENTRY_WIDE)) {
        flags |= POND_ENTRY_WIDE;
        value_off = pond_content_head(c, flags); /* a counter's number is aligned: the field costs it 0 to 8 bytes */
    }
    uint64_t sum = c->summed ? c->sum : pond_entry_sum_of(c->value, c->value_bytes, flags, c->hash);
    pond_entry_store(ref, where, units, c, flags, value_off, sum);
}

int pond_entry_intact(const unsigned char *at, const struct pond_decoded *d, uint64_t hash) {
    uint64_t word = pond_load_64((const uint64_t *)(const void *)at);
    const unsigned char *value = at + d->value_off;
#ifdef MILLPOND_TSAN
    /* Of a copy: the value may be changing under a scan, which then discards the answer; the hash is made of plain loads. */
    unsigned char *copy = malloc(d->value_bytes + 1);
    if (!copy) return 0;
    pond_copy_out(copy, value, d->value_bytes);
    value = copy;
#endif
    uint64_t stamp = d->flags & POND_ENTRY_GROUP ? pond_entry_stamp(at, d) : 0;
    uint32_t check = pond_entry_check(pond_entry_sum_of(value, d->value_bytes, d->flags, hash), d->flags, d->sequence, stamp);
#ifdef MILLPOND_TSAN
    free(copy);
#endif
    return pond_word_check(word) == check;
}

void pond_entry_kill(const struct pond_ref *ref, uint32_t where) {
    uint64_t *word = (uint64_t *)(void *)pond_ref_at(ref, where);
    pond_store_release_64(word, pond_load_64(word) | (uint64_t)POND_ENTRY_DEAD << 21);
}
