/* SPDX-License-Identifier: MIT */
#ifndef POND_ENTRY_H
#define POND_ENTRY_H

/* Entries: decoding what may be garbage, and writing what a walk can step over at every instant. */

#include "atomic.h"
#include "crashpoint.h"
#include "hash.h"
#include "shard.h"

/* What word 0 and the fields behind it say, checked against the bounds. Offsets are bytes from the entry's start. */
struct pond_decoded {
    uint32_t units, flags, key_bytes, key_off, value_off, value_bytes, sequence;
    uint64_t expiry; /* expiry word, with POND_ENTRY_TTL */
};

/* The part of decoding that entries with flags need. */
static inline int pond_entry_decode_flags(const unsigned char *at, uint32_t bytes, uint32_t *slack, struct pond_decoded *d) {
    uint32_t head = pond_entry_head(d->flags);
    if (head > bytes) return 0;
    if (d->flags & POND_ENTRY_TTL) d->expiry = pond_load_64((const uint64_t *)(const void *)(at + 8));
    if (d->flags & POND_ENTRY_WIDE) {
        uint32_t wide = pond_load_32((const uint32_t *)(const void *)(at + head - 4));
        d->key_bytes = wide & 0xffff;
        *slack = wide >> 16;
    }
    if (d->flags & POND_ENTRY_GROUP && *slack < POND_STAMP_BYTES) return 0;
    d->key_off = head;
    d->value_off = head + d->key_bytes;
    if (d->flags & POND_ENTRY_COUNTER) d->value_off = (d->value_off + 7) & ~7u;
    d->sequence = pond_load_32((const uint32_t *)(const void *)(at + (d->flags & POND_ENTRY_TTL ? 16 : 8)));
    return 1;
}

/* The sizes that some kinds must have. */
static inline int pond_entry_kind_fits(const struct pond_decoded *d) {
    if (d->flags & POND_ENTRY_COUNTER && d->value_bytes != 8) return 0;
    if (d->flags & POND_ENTRY_ROOT && d->value_bytes < sizeof(struct pond_root)) return 0;
    return !(d->flags & POND_ENTRY_CHUNK) || d->key_bytes == sizeof(struct pond_chunk_key);
}

/* Decodes the entry at `at`, of which at most units_left units may be touched. Returns 0 when it cannot be an entry: garbage, or bytes
 * that are being reused. Never reads beyond units_left. */
static inline __attribute__((always_inline)) int pond_entry_decode(const unsigned char *at, uint32_t units_left, struct pond_decoded *d) {
    uint64_t word = pond_load_64((const uint64_t *)(const void *)at);
    d->units = pond_word_units(word);
    d->flags = pond_word_flags(word);
    if (POND_UNLIKELY(d->units < 2 || d->units > units_left)) return 0;
    uint32_t slack = pond_word_slack(word), bytes = d->units * POND_UNIT_BYTES;
    d->key_bytes = pond_word_key(word);
    d->expiry = 0;
    if (POND_LIKELY(d->flags == 0)) {
        d->sequence = pond_load_32((const uint32_t *)(const void *)(at + 8));
        d->key_off = 12;
        d->value_off = 12 + d->key_bytes;
    } else if (!pond_entry_decode_flags(at, bytes, &slack, d)) {
        return 0;
    }
    if (POND_UNLIKELY(d->key_bytes == 0 || d->value_off + slack > bytes)) return 0;
    d->value_bytes = bytes - d->value_off - slack;
    return POND_LIKELY(d->flags == 0) || pond_entry_kind_fits(d);
}

/* The stamp, with POND_ENTRY_GROUP. */
static inline uint64_t pond_entry_stamp(const unsigned char *at, const struct pond_decoded *d) {
    return pond_load_64((const uint64_t *)(const void *)(at + (uint64_t)d->units * POND_UNIT_BYTES - POND_STAMP_BYTES));
}

/* ---- expiry words ---- */

#define POND_EXPIRY_LOW_BITS (POND_EXPIRY_BITS + POND_GRACE_BITS + POND_COST_BITS)

static inline uint64_t pond_expiry_check(uint64_t low) {
    return pond_mix(low * UINT64_C(0x9E3779B97F4A7C15)) >> POND_EXPIRY_LOW_BITS << POND_EXPIRY_LOW_BITS;
}
static inline uint64_t pond_expiry_pack_cost(uint64_t ms, unsigned grace, unsigned cost) {
    uint64_t low = (ms < POND_EXPIRY_NEVER ? ms : POND_EXPIRY_NEVER) | (uint64_t)grace << POND_EXPIRY_BITS |
                   (uint64_t)cost << (POND_EXPIRY_BITS + POND_GRACE_BITS);
    return low | pond_expiry_check(low);
}
static inline uint64_t pond_expiry_pack(uint64_t ms, unsigned grace) { return pond_expiry_pack_cost(ms, grace, 0); }
/* The time; POND_EXPIRY_NEVER; or 1 (long ago) for a word that is damaged. */
static inline uint64_t pond_expiry_unpack(uint64_t word) {
    uint64_t low = word & ((UINT64_C(1) << POND_EXPIRY_LOW_BITS) - 1);
    return POND_LIKELY((low | pond_expiry_check(low)) == word) ? word & POND_EXPIRY_NEVER : 1;
}
static inline unsigned pond_expiry_grace(uint64_t word) { return (unsigned)(word >> POND_EXPIRY_BITS) & ((1u << POND_GRACE_BITS) - 1); }
static inline unsigned pond_expiry_cost(uint64_t word) {
    return (unsigned)(word >> (POND_EXPIRY_BITS + POND_GRACE_BITS)) & ((1u << POND_COST_BITS) - 1);
}
/* The cost of a value that took so long to load. */
static inline unsigned pond_cost_of(uint64_t ms) {
    unsigned cost = ms == 0 ? 0 : 64u - (unsigned)__builtin_clzll(ms);
    return cost < POND_COST_NEGATIVE ? cost : POND_COST_NEGATIVE - 1;
}
static inline uint64_t pond_grace_ms(unsigned grace) { return grace == 0 ? 0 : ((UINT64_C(2) + (grace & 1)) << (grace / 2)) / 2; }
/* The largest grace that is not longer than asked for. */
static inline unsigned pond_grace_of(uint64_t ms) {
    if (ms == 0) return 0;
    unsigned octave = 63u - (unsigned)__builtin_clzll(ms); /* in each of them two graces, at its begin and in its middle */
    unsigned grace = 2 * octave + (ms >= (UINT64_C(3) << octave) / 2);
    return octave < (1u << POND_GRACE_BITS) / 2 ? grace : (1u << POND_GRACE_BITS) - 1;
}

/* The word of an entry that says that there is no such thing, for `ms` from now. */
#define POND_NEGATIVE_MS_MAX (pond_grace_ms((1u << POND_GRACE_BITS) - 1))
static inline uint64_t pond_expiry_negative(uint64_t now_ms, uint64_t ms) {
    unsigned grace = 0;
    while (grace < (1u << POND_GRACE_BITS) - 1 && pond_grace_ms(grace) < ms) grace++;
    return pond_expiry_pack_cost(now_ms + ms - pond_grace_ms(grace), grace, POND_COST_NEGATIVE);
}

/* Past its time to live; past that and its grace. Of its time alone: whether it lives, says pond_life() in group.h. */
static inline int pond_entry_expired(const struct pond_decoded *d, uint64_t now_ms) {
    if (!(d->flags & POND_ENTRY_TTL)) return 0;
    uint64_t expiry = pond_expiry_unpack(d->expiry);
    return expiry != POND_EXPIRY_NEVER && expiry <= now_ms;
}
static inline uint64_t pond_entry_end_ms(uint64_t expiry_word) {
    uint64_t expiry = pond_expiry_unpack(expiry_word);
    return expiry == POND_EXPIRY_NEVER ? 0 : expiry + pond_grace_ms(pond_expiry_grace(expiry_word));
}
static inline int pond_entry_over(const struct pond_decoded *d, uint64_t now_ms) {
    if (!(d->flags & POND_ENTRY_TTL)) return 0;
    uint64_t end = pond_entry_end_ms(d->expiry);
    return end != 0 && end <= now_ms;
}

/* Does it say that there is no such thing? */
static inline int pond_entry_negative(const struct pond_decoded *d) {
    return d->flags & POND_ENTRY_TTL && pond_expiry_cost(d->expiry) == POND_COST_NEGATIVE && pond_expiry_unpack(d->expiry) != 1;
}

/* ---- writing ---- */

struct pond_content {
    const void *key, *value;
    uint32_t key_bytes, value_bytes;
    uint32_t flags; /* POND_ENTRY_TTL, COUNTER, ROOT, CHUNK, GROUP */
    uint32_t sequence;
    uint64_t expiry; /* expiry word, with POND_ENTRY_TTL */
    uint64_t stamp;  /* with POND_ENTRY_GROUP */
    uint64_t hash;   /* of the key */
    uint64_t sum;    /* pond_entry_sum(); made while writing where `summed` is 0 */
    int summed;
};

/* Its flags, with what a long key needs; bytes in front of its value. */
static inline uint32_t pond_content_flags(const struct pond_content *c) { return c->flags | (c->key_bytes > 255 ? POND_ENTRY_WIDE : 0); }
static inline uint32_t pond_content_head(const struct pond_content *c, uint32_t flags) {
    uint32_t before = pond_entry_head(flags) + c->key_bytes;
    return flags & POND_ENTRY_COUNTER ? (before + 7) & ~7u : before;
}

/* Units that it takes without slack; more than any segment has when it is too large. */
static inline uint32_t pond_entry_units(const struct pond_content *c) {
    if (c->value_bytes > POND_ENTRY_UNITS_MAX * POND_UNIT_BYTES / 2) return POND_ENTRY_UNITS_MAX + 1;
    uint32_t bytes = pond_content_head(c, pond_content_flags(c)) + c->value_bytes;
    if (POND_UNLIKELY(c->flags & POND_ENTRY_GROUP)) bytes += POND_STAMP_BYTES;
    uint32_t units = (bytes + POND_UNIT_BYTES - 1) / POND_UNIT_BYTES;
    return units < 2 ? 2 : units;
}

/* What the check is made of, but the sequence and the stamp: those are only known under the lock, and this takes time, as it hashes the
 * value. `hash`: of the key. */
uint64_t pond_entry_sum_of(const void *value, uint32_t value_bytes, uint32_t flags, uint64_t hash);
/* Makes it for a content: before the lock is taken. */
static inline void pond_entry_sum(struct pond_content *c) {
    c->sum = pond_entry_sum_of(c->value, c->value_bytes, c->flags, c->hash);
    c->summed = 1;
}
static inline uint32_t pond_entry_check(uint64_t sum, uint32_t flags, uint32_t sequence, uint64_t stamp) {
    if (!(flags & POND_ENTRY_COUNTER)) sum ^= (uint64_t)sequence << 24;
    if (flags & POND_ENTRY_GROUP) sum = pond_mix(sum ^ stamp) + 1;
    return (uint32_t)(pond_mix(sum * UINT64_C(0x9E3779B97F4A7C15)) >> (64 - POND_ENTRY_CHECK_BITS));
}

/* The stores of pond_entry_write(); flags and value_off as they will be.
 * ORDER byte-reuse (writer): the versions of the buckets that named these bytes before were raised, by this process or another one, before
 * the lock came to us; the fence keeps our stores to the bytes behind that for a reader that sees any of them.
 * Pairs with (reader) in pond_read_valid(). */
static inline __attribute__((always_inline)) void pond_entry_store(const struct pond_ref *ref, uint32_t where, uint32_t units,
                                                                   const struct pond_content *c, uint32_t flags, uint32_t value_off,
                                                                   uint64_t sum) {
    unsigned char *at = pond_ref_at(ref, where);
    uint32_t head = pond_entry_head(flags), slack = units * POND_UNIT_BYTES - c->value_bytes - value_off;
    pond_fence_store();
    if (flags & POND_ENTRY_TTL) pond_store_64((uint64_t *)(void *)(at + 8), c->expiry);
    pond_store_32((uint32_t *)(void *)(at + (flags & POND_ENTRY_TTL ? 16 : 8)), c->sequence);
    if (flags & POND_ENTRY_WIDE) pond_store_32((uint32_t *)(void *)(at + head - 4), c->key_bytes | slack << 16);
    if (flags & POND_ENTRY_GROUP) pond_store_64((uint64_t *)(void *)(at + (uint64_t)units * POND_UNIT_BYTES - POND_STAMP_BYTES), c->stamp);
    pond_copy_in(at + head, c->key, c->key_bytes);
    POND_CRASHPOINT("entry.key_written");
    pond_copy_in(at + value_off, c->value, c->value_bytes);
    POND_CRASHPOINT("entry.written");
    pond_store_release_64((uint64_t *)(void *)at,
                          pond_word_make(units, flags, c->key_bytes, slack, pond_entry_check(sum, flags, c->sequence, c->stamp)));
}

/* Writes an entry at `where`, where `units` (at least pond_entry_units) are allotted and no slot points. Word 0 last, by one store: until
 * then what stood there (a hole) still tells a walk its size. */
void pond_entry_write(const struct pond_ref *ref, uint32_t where, uint32_t units, const struct pond_content *c);
/* The same, where the caller's content need not be in memory. */
static inline void pond_entry_write_copy(const struct pond_ref *ref, uint32_t where, uint32_t units, const struct pond_content *c) {
    struct pond_content copy = *c;
    pond_entry_write(ref, where, units, &copy);
}
/* The same, quicker for the usual entry: no flags, a short key, little slack; summed. */
static inline __attribute__((always_inline)) void pond_entry_write_usual(const struct pond_ref *ref, uint32_t where, uint32_t units,
                                                                         const struct pond_content *c) {
    uint32_t value_off = pond_entry_head(0) + c->key_bytes;
    if (POND_LIKELY((c->flags | (c->key_bytes >> 8)) == 0 && c->summed && units * POND_UNIT_BYTES - c->value_bytes - value_off <= 63)) {
        pond_entry_store(ref, where, units, c, 0, value_off, c->sum);
        return;
    }
    pond_entry_write_copy(ref, where, units, c);
}

/* Does the entry's check hold? `hash` is that of its key. */
int pond_entry_intact(const unsigned char *at, const struct pond_decoded *d, uint64_t hash);

/* Marks an entry dead: no slot points to it. */
void pond_entry_kill(const struct pond_ref *ref, uint32_t where);

#endif
