/* SPDX-License-Identifier: MIT */
/* histogram.h: counts of times in log-linear buckets, of fixed size, without a pointer: it may lie in memory that processes share.
 *
 * Sixteen buckets for each power of two, so that a percentile is at most 1/16 too high and never too low. One writer; whoever
 * reads while it writes sees counts of about the same moment. */
#ifndef BENCH_HISTOGRAM_H
#define BENCH_HISTOGRAM_H

#include <stddef.h>
#include <stdint.h>

enum { HISTOGRAM_SUB_BITS = 4, HISTOGRAM_SUB = 1 << HISTOGRAM_SUB_BITS, HISTOGRAM_BUCKETS = (64 - HISTOGRAM_SUB_BITS + 1) * HISTOGRAM_SUB };

struct histogram {
    uint64_t count;
    uint64_t max;
    uint64_t buckets[HISTOGRAM_BUCKETS];
};

/* Values below 16 have a bucket each; above, the four bits behind the leading one choose among sixteen. */
static inline size_t histogram_bucket(uint64_t value) {
    if (value < HISTOGRAM_SUB)
        return (size_t)value;
    unsigned power = 63u - (unsigned)__builtin_clzll(value);
    uint64_t sub = (value >> (power - HISTOGRAM_SUB_BITS)) & (HISTOGRAM_SUB - 1);
    return (size_t)(power - HISTOGRAM_SUB_BITS + 1) * HISTOGRAM_SUB + (size_t)sub;
}

static inline void histogram_add(struct histogram *histogram, uint64_t value) {
    histogram->buckets[histogram_bucket(value)]++;
    histogram->count++;
    if (value > histogram->max)
        histogram->max = value;
}

/* The largest value that falls into a bucket. */
uint64_t histogram_bucket_top(size_t bucket);
/* Adds what `from` counted to `to`. */
void histogram_merge(struct histogram *to, const struct histogram *from);
/* The value that `share` (0 to 1) of all values do not exceed: the top of its bucket, never above the largest value seen; 0 when
 * nothing was counted. A share of 1 is the largest value, exactly. */
uint64_t histogram_percentile(const struct histogram *histogram, double share);

#endif
