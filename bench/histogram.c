/* SPDX-License-Identifier: MIT */
/* histogram.c: percentiles from log-linear buckets. */
#include "histogram.h"

#include <math.h>

uint64_t histogram_bucket_top(size_t bucket) {
    if (bucket < HISTOGRAM_SUB)
        return bucket;
    unsigned shift = (unsigned)(bucket / HISTOGRAM_SUB) - 1;
    uint64_t lead = HISTOGRAM_SUB + bucket % HISTOGRAM_SUB;
    return (lead << shift) + ((UINT64_C(1) << shift) - 1);
}

void histogram_merge(struct histogram *to, const struct histogram *from) {
    for (size_t i = 0; i < HISTOGRAM_BUCKETS; i++)
        to->buckets[i] += from->buckets[i];
    to->count += from->count;
    if (from->max > to->max)
        to->max = from->max;
}

uint64_t histogram_percentile(const struct histogram *histogram, double share) {
    if (histogram->count == 0)
        return 0;
    double wanted = ceil(share * (double)histogram->count);
    uint64_t rank = wanted < 1 ? 1 : (uint64_t)wanted;
    uint64_t below = 0;
    for (size_t i = 0; i < HISTOGRAM_BUCKETS && rank < histogram->count; i++) {
        below += histogram->buckets[i];
        if (below >= rank) {
            uint64_t top = histogram_bucket_top(i);
            return top < histogram->max ? top : histogram->max;
        }
    }
    return histogram->max;
}
