/* SPDX-License-Identifier: MIT */
#ifndef POND_HASH_H
#define POND_HASH_H

/* Hashing: XXH3 (frozen output since xxHash 0.8.0, so it may stand in a file format), seeded for each file, so that nobody can choose
 * keys that meet in one bucket without reading the file.
 *
 * A key's 64-bit hash is used in parts that do not overlap, so that they are independent:
 *   bits 56..63  shard (its high bits)      bits 0..31  home bucket (by multiplication)      bits 25..55  tag */

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <stddef.h>
#include <stdint.h>

static inline uint64_t pond_hash(const void *bytes, size_t n, uint64_t seed) { return XXH3_64bits_withSeed(bytes, n, seed); }

/* A well mixed function of one word (the finalizer of XXH3's 64-bit avalanche). */
static inline uint64_t pond_mix(uint64_t x) {
    x ^= x >> 37;
    x *= UINT64_C(0x165667919E3779F9);
    return x ^ (x >> 32);
}

/* A number in 0 .. n-1 from 32 evenly spread bits, without a division (Lemire, "Fast random integer generation", 2019). */
static inline uint32_t pond_reduce(uint32_t x, uint32_t n) { return (uint32_t)(((uint64_t)x * n) >> 32); }

#endif
