/* SPDX-License-Identifier: MIT */
/* workload.c: requests are drawn before the clock runs, so that every engine sees the same ones and no time goes into logarithms. */
#include "workload.h"

#include "host.h"

#include <stdlib.h>

bool workload_is_whole(const unsigned char *value, size_t value_bytes, uint64_t item) {
    uint64_t stamp = 0;
    size_t words = value_bytes / 8, nth = 1;
    if (!workload_is_of(value, item))
        return false;
    if (words > 1)
        memcpy(&stamp, value + 8, 8), nth = 2;
    for (; nth < words; nth++) {
        uint64_t word = workload_word(item, stamp, nth);
        if (memcmp(value + nth * 8, &word, 8) != 0)
            return false;
    }
    uint64_t word = workload_word(item, stamp, words);
    return memcmp(value + words * 8, &word, value_bytes % 8) == 0;
}

uint32_t *workload_draw(const struct dist *dist, uint32_t items, uint64_t reads, unsigned workers, uint64_t seed) {
    size_t count = (size_t)workers * WORKLOAD_DRAWS;
    uint32_t *draws = host_shared(count * sizeof *draws);
    uint32_t *by_rank = shuffle_new(items, seed);
    struct rng rng = {mix64(seed)};
    struct zipf zipf;
    zipf_init(&zipf, items, dist->kind == DIST_ZIPF ? dist->exponent : 1);
    for (size_t i = 0; i < count; i++) {
        uint64_t rank;
        if (dist->kind == DIST_ZIPF)
            rank = zipf_draw(&zipf, &rng) - 1;
        else
            rank = rng_below(&rng, dist->kind == DIST_HOT && dist->hot < items ? dist->hot : items);
        draws[i] = by_rank[rank] | (rng_below(&rng, 100) < reads ? 0 : WORKLOAD_SET);
    }
    free(by_rank);
    return draws;
}
