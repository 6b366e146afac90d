/* SPDX-License-Identifier: MIT */
/* lib/hash.h and the places that follow from a hash: the values that stand in files must never change, and keys must spread evenly. */

#include "white.h"

#include <math.h>

/* Published test vectors of XXH3 (xxHash's own self-test): bytes are the top bytes of 2654435761 * 11400714785074694797^i. */
Test(hash, its_values_are_those_that_xxh3_has_had_since_it_was_frozen) {
    static const uint64_t seed = UINT64_C(0x9E3779B185EBCA8D);
    static const struct {
        size_t bytes;
        uint64_t seed, hash;
    } known[] = {
        {0, 0, UINT64_C(0x2D06800538D394C2)},    {1, 0, UINT64_C(0xC44BDFF4074EECDB)},     {6, 0, UINT64_C(0x27B56A84CD2D7325)},
        {12, 0, UINT64_C(0xA713DAF0DFBB77E7)},   {24, 0, UINT64_C(0xA3FE70BF9D3510EB)},    {48, 0, UINT64_C(0x397DA259ECBA1F11)},
        {80, 0, UINT64_C(0xBCDEFBBB2C47C90A)},   {195, 0, UINT64_C(0xCD94217EE362EC3A)},   {403, 0, UINT64_C(0xCDEB804D65C6DEA4)},
        {512, 0, UINT64_C(0x617E49599013CB6B)},  {2048, 0, UINT64_C(0xDD59E2C3A5F038E0)},  {1, seed, UINT64_C(0x032BE332DD766EF8)},
        {6, seed, UINT64_C(0x84589C116AB59AB9)}, {24, seed, UINT64_C(0x850E80FC35BDD690)}, {48, seed, UINT64_C(0xADC2CBAA44ACC616)}};
    unsigned char bytes[2048];
    uint64_t generator = 2654435761u;
    for (size_t i = 0; i < sizeof bytes; i++) {
        bytes[i] = (unsigned char)(generator >> 56);
        generator *= UINT64_C(11400714785074694797);
    }
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        cr_expect_eq(pond_hash(bytes, known[i].bytes, known[i].seed), known[i].hash, "%zu bytes, seed %llx: %llx", known[i].bytes,
                     (unsigned long long)known[i].seed, (unsigned long long)pond_hash(bytes, known[i].bytes, known[i].seed));
}

Test(hash, reducing_gives_every_number_below_the_bound_and_none_beyond) {
    for (uint32_t n = 1; n <= 1000; n++) {
        cr_assert_eq(pond_reduce(0, n), 0);
        cr_assert_eq(pond_reduce(UINT32_MAX, n), n - 1);
        uint32_t before = 0;
        for (uint64_t x = 0; x <= UINT32_MAX; x += UINT32_MAX / 4000) {
            uint32_t at = pond_reduce((uint32_t)x, n);
            cr_assert(at < n && at >= before && at - before <= 1, "%u of %u behind %u", at, n, before);
            before = at;
        }
    }
}

Test(hash, mixing_lets_every_bit_change_about_half_of_the_high_bits) {
    struct support_random random = {7};
    unsigned changed[64][64] = {{0}};
    enum { ROUNDS = 2000 };
    for (int round = 0; round < ROUNDS; round++) {
        uint64_t x = support_next(&random);
        for (int in = 0; in < 64; in++) {
            uint64_t difference =
                pond_mix(x * UINT64_C(0x9E3779B97F4A7C15)) ^ pond_mix((x ^ UINT64_C(1) << in) * UINT64_C(0x9E3779B97F4A7C15));
            for (int out = 0; out < 64; out++) changed[in][out] += (unsigned)(difference >> out & 1);
        }
    }
    /* The bits that are used: the upper ones of ghosts and expiry checks. The highest bit of the input reaches few of them. */
    for (int in = 0; in < 48; in++)
        for (int out = 49; out < 64; out++)
            cr_expect(changed[in][out] > ROUNDS / 5 && changed[in][out] < ROUNDS * 4 / 5, "bit %d changes bit %d in %u of %d", in, out,
                      changed[in][out], ROUNDS);
}

/* Chi-square over `cells` cells, in units of its standard deviation from its mean. */
static double uneven(const uint32_t *counts, unsigned cells, double expected) {
    double sum = 0;
    for (unsigned i = 0; i < cells; i++) sum += (counts[i] - expected) * (counts[i] - expected) / expected;
    return (sum - (cells - 1)) / sqrt(2.0 * (cells - 1));
}

Test(hash, keys_spread_evenly_over_shards_homes_other_buckets_and_tags) {
    enum { KEYS = 400000, SHARDS = 16, CELLS = 500 };
    static uint32_t shards[SHARDS], homes[CELLS], others[CELLS], tags[256];
    struct white *w = white_new(&(struct white_shape){.size_bytes = 16 << 20, .shards = SHARDS});
    struct pond_geometry g = w->map.geometry;
    g.bucket_count = CELLS;
    for (uint64_t i = 0; i < KEYS; i++) {
        char text[24];
        struct pond_key key = white_key(w, i, text);
        struct pond_place place = pond_place_of(&g, key.hash);
        cr_assert(place.home < CELLS && place.other < CELLS && place.tag <= POND_TAG_MASK);
        uint32_t shard = pond_shard_of(&g, key.hash);
        cr_assert_lt(shard, SHARDS);
        shards[shard]++;
        homes[place.home]++;
        others[place.other]++;
        tags[place.tag >> 23]++;
    }
    cr_expect_lt(fabs(uneven(shards, SHARDS, (double)KEYS / SHARDS)), 6);
    cr_expect_lt(fabs(uneven(homes, CELLS, (double)KEYS / CELLS)), 6);
    cr_expect_lt(fabs(uneven(others, CELLS, (double)KEYS / CELLS)), 6);
    cr_expect_lt(fabs(uneven(tags, 256, (double)KEYS / 256)), 6);
    white_free(w);
}

Test(hash, keys_of_one_home_have_other_buckets_and_tags_of_their_own) {
    enum { KEYS = 300000, CELLS = 100 };
    static uint32_t others[CELLS];
    struct white *w = white_new(&(struct white_shape){.size_bytes = 1 << 20});
    struct pond_geometry g = w->map.geometry;
    g.bucket_count = CELLS;
    uint32_t *tags = calloc(KEYS, sizeof *tags), count = 0, same = 0;
    for (uint64_t i = 0; i < KEYS; i++) {
        char text[24];
        struct pond_key key = white_key(w, i, text);
        struct pond_place place = pond_place_of(&g, key.hash);
        if (place.home != 42) continue;
        others[place.other]++;
        for (uint32_t k = 0; k < count; k++) same += tags[k] == place.tag;
        tags[count++] = place.tag;
    }
    cr_expect_lt(fabs(uneven(others, CELLS, (double)count / CELLS)), 6, "%f", uneven(others, CELLS, (double)count / CELLS));
    /* Tags of 31 bits, of which the home decides a few: hardly two alike among 3,000. */
    cr_expect_leq(same, 12, "%u pairs of equal tags among %u keys", same, count);
    free(tags);
    white_free(w);
}
