/* SPDX-License-Identifier: MIT */
/* lib/entry.c, entry.h: every form of an entry comes back as it was written; garbage is decoded within its bounds or not at all; damage is
 * noticed as often as the checks promise. */

#include "white.h"

#include <sys/mman.h>
#include <unistd.h>

#define ROOM_UNITS 32768u

static struct white *w;
static struct pond_ref ref;
static unsigned char *keys, *values;

static void begin(void) {
    w = white_new(&(struct white_shape){.size_bytes = 16 << 20, .segment_bytes = ROOM_UNITS * POND_UNIT_BYTES});
    ref = pond_ref_of(&w->map, 0);
    keys = malloc(65536);
    values = malloc(ROOM_UNITS * POND_UNIT_BYTES);
    support_fill(keys, 65536, 1);
    support_fill(values, ROOM_UNITS * POND_UNIT_BYTES, 2);
}

static void end(void) {
    white_free(w);
    free(keys);
    free(values);
}

TestSuite(entry, .init = begin, .fini = end);

static struct pond_content content(uint32_t flags, uint32_t key_bytes, uint32_t value_bytes) {
    struct pond_content c = {.key = keys,
                             .value = values,
                             .key_bytes = key_bytes,
                             .value_bytes = value_bytes,
                             .flags = flags,
                             .sequence = 77,
                             .hash = pond_hash(keys, key_bytes, ref.g->hash_seed)};
    if (flags & POND_ENTRY_TTL) c.expiry = pond_expiry_pack(1234567890123, 5);
    return c;
}

/* Writes an entry with so many units more than it needs, and requires all of it back. */
static void round_trip(uint32_t flags, uint32_t key_bytes, uint32_t value_bytes, uint32_t more_units) {
    struct pond_content c = content(flags, key_bytes, value_bytes);
    uint32_t where = pond_segment_start(ref.g, 1), units = pond_entry_units(&c) + more_units;
    cr_assert_leq(units, ROOM_UNITS);
    unsigned char *at = pond_ref_at(&ref, where);
    memset(at, 0xA5, (size_t)units * POND_UNIT_BYTES);
    uint64_t behind = 0x5AA55AA55AA55AA5;
    memcpy(at + (size_t)units * POND_UNIT_BYTES, &behind, sizeof behind);
    pond_entry_write(&ref, where, units, &c);
    struct pond_decoded d;
#define WHAT "flags %u, key %u, value %u, %u units more", flags, key_bytes, value_bytes, more_units
    cr_assert(pond_entry_decode(at, units, &d), WHAT);
    cr_assert_eq(d.units, units, WHAT);
    cr_assert_eq(d.flags & ~POND_ENTRY_WIDE, flags, WHAT);
    cr_assert(d.key_bytes == key_bytes && memcmp(at + d.key_off, keys, key_bytes) == 0, WHAT);
    cr_assert(d.value_bytes == value_bytes && memcmp(at + d.value_off, values, value_bytes) == 0, WHAT);
    cr_assert_eq(d.sequence, 77, WHAT);
    if (flags & POND_ENTRY_TTL) cr_assert(pond_expiry_unpack(d.expiry) == 1234567890123 && pond_expiry_grace(d.expiry) == 5, WHAT);
    if (flags & POND_ENTRY_COUNTER) cr_assert_eq(d.value_off % 8, 0, WHAT);
    cr_assert(pond_entry_intact(at, &d, c.hash), WHAT);
    cr_assert(!pond_entry_intact(at, &d, c.hash ^ 1) || !pond_entry_intact(at, &d, c.hash ^ 2), WHAT);
    cr_assert_eq(memcmp(at + (size_t)units * POND_UNIT_BYTES, &behind, sizeof behind), 0, WHAT);
    cr_assert(!pond_entry_decode(at, units - 1, &d), WHAT);
}

Test(entry, every_form_comes_back_as_it_was_written) {
    static const uint32_t forms[] = {0, POND_ENTRY_TTL};
    static const uint32_t values_bytes[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 63, 64, 65, 255, 1000, 65536};
    for (size_t f = 0; f < 2; f++)
        for (uint32_t key = 1; key <= 65535; key = key < 300 ? key + 1 : key < 60000 ? key * 3 / 2 : key + 1111)
            for (size_t v = 0; v < sizeof values_bytes / sizeof *values_bytes; v++) round_trip(forms[f], key, values_bytes[v], 0);
    round_trip(0, 65535, 100000, 0);
    round_trip(POND_ENTRY_TTL, 65535, 0, 0);
}

Test(entry, counters_roots_and_chunks_come_back_too) {
    for (uint32_t ttl = 0; ttl <= POND_ENTRY_TTL; ttl++)
        for (uint32_t key = 1; key <= 600; key++) {
            round_trip(POND_ENTRY_COUNTER | ttl, key, 8, 0);
            round_trip(POND_ENTRY_COUNTER | ttl, key, 8, key % 40);
            round_trip(POND_ENTRY_ROOT | ttl, key, (uint32_t)sizeof(struct pond_root) + key * 4, key % 9);
            round_trip(POND_ENTRY_CHUNK | ttl, sizeof(struct pond_chunk_key), key * 13, key % 7);
        }
}

Test(entry, slack_of_any_size_is_carried) {
    for (uint32_t flags = 0; flags <= POND_ENTRY_TTL; flags++)
        for (uint32_t value = 0; value < 8; value++) {
            for (uint32_t more = 0; more < 40; more++) round_trip(flags, 5, value, more);
            for (uint32_t more = 40; more * POND_UNIT_BYTES + 8 < POND_SLACK_BYTES_MAX; more += 61) round_trip(flags, 300, value, more);
            round_trip(flags, 5, value, (POND_SLACK_BYTES_MAX - 8) / POND_UNIT_BYTES);
        }
}

Test(entry, a_value_that_is_too_large_takes_more_units_than_an_entry_can_say) {
    static const uint32_t sizes[] = {64u << 20, 128u << 20, UINT32_MAX, UINT32_MAX - 1};
    for (size_t i = 0; i < 4; i++) {
        struct pond_content c = content(0, 65535, sizes[i]);
        cr_assert_gt(pond_entry_units(&c), POND_ENTRY_UNITS_MAX);
    }
}

Test(entry, the_smallest_entry_can_become_a_hole) {
    struct pond_content c = content(0, 1, 0);
    cr_assert_geq(pond_entry_units(&c) * POND_UNIT_BYTES, sizeof(struct pond_hole));
}

/* ---- garbage ---- */

/* The last units before memory that cannot be read. */
static unsigned char *before_the_edge(size_t bytes, unsigned char **region) {
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    *region = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    REQUIRE(*region != MAP_FAILED && mprotect(*region + page, page, PROT_NONE) == 0 && bytes <= page, "mmap");
    return *region + page - bytes;
}

Test(entry, garbage_is_decoded_within_the_units_that_are_left_or_not_at_all) {
    struct support_random random = support_seed("garbage entries");
    unsigned accepted = 0;
    for (uint32_t left = 1; left <= 64; left++) {
        unsigned char *region, *at = before_the_edge(left * POND_UNIT_BYTES, &region);
        for (int i = 0; i < 20000; i++) {
            struct pond_decoded d;
            for (uint32_t k = 0; k < left && k < 4; k++) {
                uint64_t word = support_next(&random);
                if (k == 0 && i % 4) word = (word & ~(uint64_t)POND_ENTRY_UNITS_MAX) | support_below(&random, left + 3);
                memcpy(at + k * POND_UNIT_BYTES, &word, sizeof word);
            }
            if (!pond_entry_decode(at, left, &d)) continue;
            accepted++;
            uint32_t bytes = d.units * POND_UNIT_BYTES;
            cr_assert(d.units >= 2 && d.units <= left && d.key_bytes >= 1);
            cr_assert(
                d.key_off >= 12 && d.key_off + d.key_bytes <= d.value_off && d.value_off <= bytes && d.value_bytes <= bytes - d.value_off,
                "units %u, key %u at %u, value %u at %u", d.units, d.key_bytes, d.key_off, d.value_bytes, d.value_off);
            if (d.flags & POND_ENTRY_COUNTER) cr_assert(d.value_bytes == 8 && d.value_off % 8 == 0);
            if (d.flags & POND_ENTRY_CHUNK) cr_assert_eq(d.key_bytes, sizeof(struct pond_chunk_key));
            if (d.flags & POND_ENTRY_ROOT) {
                cr_assert_geq(d.value_bytes, sizeof(struct pond_root));
                uint32_t count = pond_root_count(at, &d);
                cr_assert_leq(offsetof(struct pond_root, chunk) + (uint64_t)count * 4, d.value_bytes, "a root of %u bytes lists %u chunks",
                              d.value_bytes, count);
                if (count) pond_root_chunk(at, &d, count - 1);
            }
            pond_entry_intact(at, &d, 1); /* reads all of the value: no fault */
        }
        munmap(region, 2 * (size_t)sysconf(_SC_PAGESIZE));
    }
    cr_assert_gt(accepted, 10000, "only %u were accepted", accepted);
}

/* ---- damage ---- */

/* How many of the entry's bits can change without anybody noticing. */
static unsigned unnoticed_bits(uint32_t flags, uint32_t key_bytes, uint32_t value_bytes, uint32_t more_units, unsigned *tried) {
    struct pond_content c = content(flags, key_bytes, value_bytes);
    uint32_t where = pond_segment_start(ref.g, 1), units = pond_entry_units(&c) + more_units;
    unsigned char *at = pond_ref_at(&ref, where);
    struct pond_decoded whole, d;
    unsigned unnoticed = 0;
    memset(at, 0, (size_t)units * POND_UNIT_BYTES);
    pond_entry_write(&ref, where, units, &c);
    cr_assert(pond_entry_decode(at, units, &whole));
    for (uint32_t bit = 0; bit < units * POND_UNIT_BYTES * 8; bit++) {
        uint32_t byte = bit / 8;
        int value = byte >= whole.value_off, counted = !(value && flags & POND_ENTRY_COUNTER);
        int padding = byte >= whole.key_off + key_bytes && byte < whole.value_off; /* before a counter's number */
        int slack = byte >= whole.value_off + value_bytes, expiry = flags & POND_ENTRY_TTL && byte >= 8 && byte < 16;
        int flag = bit == 21 + 5 || bit == 21 + 6; /* dead, hole: it is gone, not wrong; bit 28 means nothing yet */
        int unused =
            bit == 28 || (flags & POND_ENTRY_COUNTER && byte >= pond_entry_head(whole.flags) - (whole.flags & POND_ENTRY_WIDE ? 8u : 4u) &&
                          byte < pond_entry_head(whole.flags) - (whole.flags & POND_ENTRY_WIDE ? 4u : 0u));
        int shadowed = whole.flags & POND_ENTRY_WIDE && bit >= 29 && bit < 43; /* the wide field has the whole numbers */
        if (!counted || padding || slack || expiry || flag || unused || shadowed) continue;
        at[byte] ^= (unsigned char)(1u << bit % 8);
        (*tried)++;
        if (pond_entry_decode(at, ROOM_UNITS, &d) && pond_entry_intact(at, &d, pond_hash(at + d.key_off, d.key_bytes, ref.g->hash_seed)) &&
            (d.key_bytes != key_bytes || d.value_bytes != value_bytes || memcmp(at + d.key_off, keys, key_bytes) != 0 ||
             memcmp(at + d.value_off, values, value_bytes) != 0 || d.sequence != whole.sequence))
            unnoticed++;
        at[byte] ^= (unsigned char)(1u << bit % 8);
    }
    cr_assert(pond_entry_decode(at, units, &d) && pond_entry_intact(at, &d, c.hash));
    return unnoticed;
}

Test(entry, a_flipped_bit_of_key_value_sizes_or_sequence_is_noticed) {
    unsigned tried = 0, unnoticed = 0;
    for (uint32_t i = 0; i < 60; i++)
        for (uint32_t ttl = 0; ttl <= POND_ENTRY_TTL; ttl++) {
            unnoticed += unnoticed_bits(ttl, 1 + i * 7, i * i % 97, i % 11, &tried);
            unnoticed += unnoticed_bits(POND_ENTRY_CHUNK | ttl, 16, 40 + i, i % 3, &tried);
            unnoticed += unnoticed_bits(POND_ENTRY_ROOT | ttl, 5 + i, 16 + 4 * i, i % 3, &tried);
            unnoticed += unnoticed_bits(POND_ENTRY_COUNTER | ttl, 1 + i, 8, i % 3, &tried);
        }
    cr_assert_gt(tried, 300000);
    /* One of 2^21 passes by chance. */
    cr_assert_leq(unnoticed, 4, "%u of %u flipped bits were not noticed", unnoticed, tried);
}

Test(entry, two_random_values_have_the_same_check_once_in_two_million) {
    struct support_random random = support_seed("checks");
    struct pond_content c = content(0, 10, 24);
    uint32_t where = pond_segment_start(ref.g, 1);
    unsigned char *at = pond_ref_at(&ref, where);
    struct pond_decoded d;
    unsigned same = 0;
    enum { TRIES = 4 << 21 };
    pond_entry_write(&ref, where, pond_entry_units(&c), &c);
    cr_assert(pond_entry_decode(at, ROOM_UNITS, &d));
    for (int i = 0; i < TRIES; i++) {
        uint64_t word = support_next(&random);
        memcpy(at + d.value_off + 4, &word, sizeof word);
        same += pond_entry_intact(at, &d, c.hash) != 0;
    }
    cr_assert_leq(same, 20, "%u of %d", same, TRIES); /* 4 expected */
}

Test(entry, a_counters_number_may_change_in_place) {
    struct pond_content c = content(POND_ENTRY_COUNTER, 9, 8);
    uint32_t where = pond_segment_start(ref.g, 1);
    unsigned char *at = pond_ref_at(&ref, where);
    struct pond_decoded d;
    pond_entry_write(&ref, where, pond_entry_units(&c), &c);
    cr_assert(pond_entry_decode(at, ROOM_UNITS, &d));
    for (uint64_t number = 1; number; number <<= 1) {
        memcpy(at + d.value_off, &number, sizeof number);
        cr_assert(pond_entry_intact(at, &d, c.hash));
    }
}

Test(entry, a_killed_entry_keeps_its_size_and_is_dead) {
    struct pond_content c = content(POND_ENTRY_TTL, 9, 80);
    uint32_t where = pond_segment_start(ref.g, 1);
    pond_entry_write(&ref, where, pond_entry_units(&c) + 3, &c);
    pond_entry_kill(&ref, where);
    uint64_t word = pond_load_64((const uint64_t *)(const void *)pond_ref_at(&ref, where));
    cr_assert(pond_word_flags(word) & POND_ENTRY_DEAD);
    cr_assert_eq(pond_word_units(word), pond_entry_units(&c) + 3);
}

/* ---- expiry words ---- */

Test(entry, an_expiry_word_holds_its_time_and_grace) {
    struct support_random random = {5};
    for (unsigned i = 0; i < 100000; i++) {
        uint64_t ms = 2 + support_below(&random, UINT64_C(1) << (2 + i % 42)), grace = support_below(&random, 1u << POND_GRACE_BITS);
        if (ms > POND_EXPIRY_NEVER) ms = POND_EXPIRY_NEVER;
        uint64_t word = pond_expiry_pack(ms, (unsigned)grace);
        cr_assert_eq(pond_expiry_unpack(word), ms);
        cr_assert_eq(pond_expiry_grace(word), grace);
        cr_assert_eq(pond_entry_end_ms(word), ms == POND_EXPIRY_NEVER ? 0 : ms + pond_grace_ms((unsigned)grace));
    }
    cr_assert_eq(pond_expiry_unpack(pond_expiry_pack(UINT64_MAX, 0)), POND_EXPIRY_NEVER);
}

Test(entry, a_damaged_expiry_word_makes_an_entry_old_and_not_immortal) {
    struct support_random random = support_seed("expiry words");
    unsigned tried = 0, unnoticed = 0;
    for (int i = 0; i < 20000; i++) {
        uint64_t word =
            pond_expiry_pack(UINT64_C(1767225600000) + support_below(&random, UINT64_C(1) << 40), (unsigned)support_below(&random, 64));
        for (unsigned bit = 0; bit < 64; bit++, tried++) unnoticed += pond_expiry_unpack(word ^ UINT64_C(1) << bit) != 1;
    }
    /* A check of 11 bits: one of 2,048. A flip of a check bit alone is always noticed. */
    cr_assert_lt(unnoticed, tried / 2048 * 2 + 20, "%u of %u", unnoticed, tried);
}

Test(entry, an_expiry_word_holds_the_cost_of_a_load_within_a_factor_of_two) {
    for (uint64_t ms = 0; ms < 20000; ms++) {
        uint64_t word = pond_expiry_pack_cost(UINT64_C(1767225600000) + ms, (unsigned)ms % 64, pond_cost_of(ms));
        unsigned cost = pond_expiry_cost(word);
        cr_assert(cost < POND_COST_NEGATIVE && pond_expiry_unpack(word) == UINT64_C(1767225600000) + ms);
        cr_assert_eq(pond_expiry_grace(word), ms % 64);
        uint64_t told = cost ? UINT64_C(1) << (cost - 1) : 0;
        cr_assert(told <= ms && (ms < told * 2 || told == 8192 || ms == 0), "%llu ms became %llu", (unsigned long long)ms,
                  (unsigned long long)told);
    }
}

Test(entry, that_there_is_nothing_looks_expired_and_ends_when_it_was_asked_to) {
    const uint64_t now = UINT64_C(1767225600000);
    struct pond_decoded d = {.flags = POND_ENTRY_TTL};
    for (uint64_t ms = 1; ms <= POND_NEGATIVE_MS_MAX; ms += ms / 7 + 1) {
        d.expiry = pond_expiry_negative(now, ms);
        cr_assert(pond_entry_negative(&d) && pond_entry_expired(&d, now), "%llu", (unsigned long long)ms);
        cr_assert_eq(pond_entry_end_ms(d.expiry), now + ms, "%llu", (unsigned long long)ms);
        cr_assert(!pond_entry_over(&d, now + ms - 1) && pond_entry_over(&d, now + ms));
    }
    d.expiry = pond_expiry_pack_cost(now, 63, POND_COST_NEGATIVE - 1);
    cr_assert(!pond_entry_negative(&d));
}

Test(entry, grace_is_never_longer_than_asked_for_and_a_third_shorter_at_most) {
    for (uint64_t ms = 0; ms < 100000; ms++) {
        unsigned grace = pond_grace_of(ms);
        cr_assert(pond_grace_ms(grace) <= ms && pond_grace_ms(grace) * 3 >= ms * 2, "%llu ms became %llu", (unsigned long long)ms,
                  (unsigned long long)pond_grace_ms(grace));
    }
    for (unsigned grace = 1; grace < 1u << POND_GRACE_BITS; grace++) {
        cr_assert_geq(pond_grace_ms(grace), pond_grace_ms(grace - 1));
        cr_assert_eq(pond_grace_ms(pond_grace_of(pond_grace_ms(grace))), pond_grace_ms(grace));
    }
    cr_assert_eq(pond_grace_of(UINT64_MAX), (1u << POND_GRACE_BITS) - 1);
}

Test(entry, expired_is_from_the_moment_on_and_over_after_the_grace) {
    struct pond_decoded d = {.flags = POND_ENTRY_TTL, .expiry = pond_expiry_pack(10000, pond_grace_of(500))};
    uint64_t grace = pond_grace_ms(pond_grace_of(500));
    cr_assert(!pond_entry_expired(&d, 9999) && pond_entry_expired(&d, 10000));
    cr_assert(!pond_entry_over(&d, 10000) && !pond_entry_over(&d, 9999 + grace) && pond_entry_over(&d, 10000 + grace));
    d.expiry = pond_expiry_pack(POND_EXPIRY_NEVER, 0);
    cr_assert(!pond_entry_expired(&d, UINT64_MAX) && !pond_entry_over(&d, UINT64_MAX));
    d.flags = 0;
    cr_assert(!pond_entry_expired(&d, UINT64_MAX) && !pond_entry_over(&d, UINT64_MAX));
}
