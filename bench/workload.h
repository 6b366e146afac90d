/* SPDX-License-Identifier: MIT */
/* workload.h: the keys, values and requests of a run, the same for every engine.
 *
 * A key is its item's number in hexadecimal, filled up: text, because some engines take no other. A value begins with the number of
 * its item, then a stamp of whoever wrote it, then words that follow from both: the first eight bytes tell a foreign value, all of
 * them a torn one. */
#ifndef BENCH_WORKLOAD_H
#define BENCH_WORKLOAD_H

#include "zipf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum {
    WORKLOAD_KEY_MIN = 8,
    WORKLOAD_KEY_MAX = 250,  /* memcached's limit */
    WORKLOAD_VALUE_MIN = 8,
    WORKLOAD_DRAWS = 1 << 22 /* requests drawn for each worker; then it begins again */
};

/* A request: an item, and whether it is written. */
#define WORKLOAD_SET UINT32_C(0x80000000)

/* Eight hexadecimal digits of a number, the highest first, by arithmetic on all eight at once. */
static inline uint64_t workload_digits(uint32_t number) {
    uint64_t x = number;
    x = ((x & UINT64_C(0xffff0000)) << 16) | (x & 0xffff);
    x = ((x << 8) | x) & UINT64_C(0x00ff00ff00ff00ff);
    x = ((x << 4) | x) & UINT64_C(0x0f0f0f0f0f0f0f0f);
    uint64_t letters = ((x + UINT64_C(0x0606060606060606)) >> 4) & UINT64_C(0x0101010101010101);
    x += UINT64_C(0x3030303030303030) + letters * ('a' - '0' - 10);
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    x = __builtin_bswap64(x);
#endif
    return x;
}

/* Call once for each key buffer; then workload_key puts one item's key after another into it. */
static inline void workload_key_init(unsigned char *key, size_t key_bytes) {
    memset(key, 'k', key_bytes);
}
static inline void workload_key(unsigned char *key, uint32_t item) {
    uint64_t digits = workload_digits(item);
    memcpy(key, &digits, sizeof digits);
}

static inline uint64_t workload_word(uint64_t item, uint64_t stamp, size_t nth) {
    return (item + 1) * UINT64_C(0x9e3779b97f4a7c15) + stamp + nth * UINT64_C(0xd6e8feb86659fd93);
}

static inline void workload_value(unsigned char *value, size_t value_bytes, uint64_t item, uint64_t stamp) {
    size_t words = value_bytes / 8, nth = 1;
    memcpy(value, &item, 8);
    if (words > 1)
        memcpy(value + 8, &stamp, 8), nth = 2;
    else
        stamp = 0;
    for (; nth < words; nth++) {
        uint64_t word = workload_word(item, stamp, nth);
        memcpy(value + nth * 8, &word, 8);
    }
    uint64_t word = workload_word(item, stamp, words);
    memcpy(value + words * 8, &word, value_bytes % 8);
}

/* The first eight bytes: is it this item's value? */
static inline bool workload_is_of(const unsigned char *value, uint64_t item) {
    uint64_t there;
    memcpy(&there, value, 8);
    return there == item;
}

/* Every byte. */
bool workload_is_whole(const unsigned char *value, size_t value_bytes, uint64_t item);

/* Draws WORKLOAD_DRAWS requests for each worker into memory that children share: items by `dist` (their ranks shuffled), `reads` of a
 * hundred read. */
uint32_t *workload_draw(const struct dist *dist, uint32_t items, uint64_t reads, unsigned workers, uint64_t seed);

#endif
