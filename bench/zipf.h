/* SPDX-License-Identifier: MIT */
/* zipf.h: random numbers and the distributions that keys are drawn from. */
#ifndef BENCH_ZIPF_H
#define BENCH_ZIPF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Spreads the bits of a number: a bijection, so different numbers stay different. */
static inline uint64_t mix64(uint64_t x) {
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

/* SplitMix64: a counter, mixed. Eight bytes of state, any seed is good. */
struct rng {
    uint64_t state;
};
static inline uint64_t rng_next(struct rng *rng) {
    return mix64(rng->state += UINT64_C(0x9e3779b97f4a7c15));
}
/* A number below `bound`, which is not 0. The bias, bound / 2^64, is of no account. */
static inline uint64_t rng_below(struct rng *rng, uint64_t bound) {
    return (uint64_t)(((unsigned __int128)rng_next(rng) * bound) >> 64);
}
/* At least 0, less than 1. */
static inline double rng_unit(struct rng *rng) {
    return (double)(rng_next(rng) >> 11) * 0x1p-53;
}

/* Ranks 1 to `count`, rank r with a probability proportional to 1 / r^exponent. */
struct zipf {
    uint64_t count;
    double exponent;
    double area_first, area_last, sure; /* see zipf.c */
};
/* count at least 1, exponent above 0. */
void zipf_init(struct zipf *zipf, uint64_t count, double exponent);
uint64_t zipf_draw(const struct zipf *zipf, struct rng *rng);

/* Where requests go. */
struct dist {
    enum dist_kind { DIST_UNIFORM, DIST_ZIPF, DIST_HOT } kind;
    double exponent;  /* DIST_ZIPF */
    uint64_t hot;     /* DIST_HOT: how many keys take all requests */
};
/* Reads `uniform`, `zipf`, `zipf:0.99`, `hot` or `hot:N`. False when it is none of them. */
bool dist_parse(const char *text, struct dist *dist);

/* A permutation of 0 to count - 1, the same for the same seed: which item has which rank, so that neighbours in popularity are not
 * neighbours in memory. The caller frees it. */
uint32_t *shuffle_new(uint32_t count, uint64_t seed);

#endif
