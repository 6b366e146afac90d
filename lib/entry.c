/* SPDX-License-Identifier: MIT */
/* Entries: 12 bytes in front of a short key that lives for ever, 20 with a time to live, 4 more for a long key or much slack; 8 behind the
 * value of one that is of a group: as slack, so that what stands in front is found as fast as before.
 *
 * Word 0 carries all that a walk needs to step over the entry. It is written by one store and is right at every instant: an append becomes
 * visible to walks by the tail that moves behind it, a hole keeps its allotted size while it is being filled and becomes an entry by
 * that store. */

#include "entry.h"

#include "crashpoint.h"

#ifdef MILLPOND_TSAN
#include <stdlib.h>
#endif

/* What the check is made of, but the sequence and the stamp: those are only known under the lock, and this need not be made there. A
 * counter's number changes in place, so it is not covered. Without a seed the constants of XXH3 are the compiler's (half the instructions
 * for 100 bytes): the check is against damage, not against people, who could write any check with any value. */
static uint64_t sum_of(const void *value, uint32_t value_bytes, uint32_t flags, uint64_t hash) {
    uint64_t sum = hash ^ ((uint64_t)(flags & (POND_ENTRY_COUNTER | POND_ENTRY_ROOT | POND_ENTRY_CHUNK)) << 56) ^ value_bytes;
    return flags & POND_ENTRY_COUNTER ? sum : sum ^ XXH3_64bits(value, value_bytes);
}

static uint32_t check_of(uint64_t sum, uint32_t flags, uint32_t sequence, uint64_t stamp) {
    if (!(flags & POND_ENTRY_COUNTER)) sum ^= (uint64_t)sequence << 24;
    if (flags & POND_ENTRY_GROUP) sum = pond_mix(sum ^ stamp) + 1;
    return (uint32_t)(pond_mix(sum * UINT64_C(0x9E3779B97F4A7C15)) >> (64 - POND_ENTRY_CHECK_BITS));
}

void pond_entry_sum(struct pond_content *c) {
    c->sum = sum_of(c->value, c->value_bytes, c->flags, c->hash);
    c->summed = 1;
}

/* ORDER byte-reuse (writer): the versions of the buckets that named these bytes before were raised, by this process or another one, before
 * the lock came to us; the fence keeps our stores to the bytes behind that for a reader that sees any of them.
 * Pairs with (reader) in pond_read_valid(). */
void pond_entry_write(const struct pond_ref *ref, uint32_t where, uint32_t units, const struct pond_content *c) {
    unsigned char *at = pond_ref_at(ref, where);
    uint32_t flags = pond_content_flags(c), value_off = pond_content_head(c, flags), bytes = units * POND_UNIT_BYTES - c->value_bytes;
    if (bytes - value_off > 63 && !(flags & POND_ENTRY_WIDE)) {
        flags |= POND_ENTRY_WIDE;
        value_off = pond_content_head(c, flags); /* a counter's number is aligned: the field costs it 0 to 8 bytes */
    }
    uint32_t head = pond_entry_head(flags), slack = bytes - value_off;
    pond_fence_store();
    if (flags & POND_ENTRY_TTL) pond_store_64((uint64_t *)(void *)(at + 8), c->expiry);
    pond_store_32((uint32_t *)(void *)(at + (flags & POND_ENTRY_TTL ? 16 : 8)), c->sequence);
    if (flags & POND_ENTRY_WIDE) pond_store_32((uint32_t *)(void *)(at + head - 4), c->key_bytes | slack << 16);
    if (flags & POND_ENTRY_GROUP) pond_store_64((uint64_t *)(void *)(at + (uint64_t)units * POND_UNIT_BYTES - POND_STAMP_BYTES), c->stamp);
    pond_copy_in(at + head, c->key, c->key_bytes);
    POND_CRASHPOINT("entry.key_written");
    pond_copy_in(at + value_off, c->value, c->value_bytes);
    uint64_t sum = c->summed ? c->sum : sum_of(c->value, c->value_bytes, flags, c->hash);
    POND_CRASHPOINT("entry.written");
    pond_store_release_64((uint64_t *)(void *)at,
                          pond_word_make(units, flags, c->key_bytes, slack, check_of(sum, flags, c->sequence, c->stamp)));
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
    uint32_t check = check_of(sum_of(value, d->value_bytes, d->flags, hash), d->flags, d->sequence, stamp);
#ifdef MILLPOND_TSAN
    free(copy);
#endif
    return pond_word_check(word) == check;
}

void pond_entry_kill(const struct pond_ref *ref, uint32_t where) {
    uint64_t *word = (uint64_t *)(void *)pond_ref_at(ref, where);
    pond_store_release_64(word, pond_load_64(word) | (uint64_t)POND_ENTRY_DEAD << 21);
}
