/* SPDX-License-Identifier: MIT */
/* zipf.c: Zipf ranks by rejection-inversion: constant time and memory for any number of keys, and exact.
 *
 * The bars 1 / k^s are covered by the curve 1 / x^s from k - 1/2 to k + 1/2. A point is drawn under the curve by inverting its
 * integral; it is kept when it lies under the bar of the rank that it rounds to, which is almost always. The usual table-free
 * approximation (Gray et al., SIGMOD '94) is off by several percent for the first ranks, which are the ones that matter to a cache.
 *
 * Source: W. Hoermann, G. Derflinger, "Rejection-inversion to generate variates from monotone discrete distributions", 1996. */
#include "zipf.h"

#include "host.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* expm1(x) / x and log1p(x) / x, with their limit at 0: an exponent of exactly 1 needs no case of its own. */
static double expm1_over(double x) {
    return fabs(x) > 1e-8 ? expm1(x) / x : 1 + x / 2;
}

static double log1p_over(double x) {
    return fabs(x) > 1e-8 ? log1p(x) / x : 1 - x / 2;
}

/* The integral of 1 / x^s from 1 to x, and its inverse. */
static double area(const struct zipf *zipf, double x) {
    double log_x = log(x);
    return expm1_over((1 - zipf->exponent) * log_x) * log_x;
}

static double area_inverse(const struct zipf *zipf, double y) {
    double t = y * (1 - zipf->exponent);
    if (t < -1)
        t = -1; /* rounding, at the far end only */
    return exp(log1p_over(t) * y);
}

static double bar(const struct zipf *zipf, double k) {
    return exp(-zipf->exponent * log(k));
}

void zipf_init(struct zipf *zipf, uint64_t count, double exponent) {
    zipf->count = count;
    zipf->exponent = exponent;
    zipf->area_first = area(zipf, 1.5) - 1;
    zipf->area_last = area(zipf, (double)count + 0.5);
    /* Points this close below their rank lie under its bar whatever the rank: it saves the second integral. */
    zipf->sure = 2 - area_inverse(zipf, area(zipf, 2.5) - bar(zipf, 2));
}

uint64_t zipf_draw(const struct zipf *zipf, struct rng *rng) {
    for (;;) {
        double y = zipf->area_last + rng_unit(rng) * (zipf->area_first - zipf->area_last);
        double x = area_inverse(zipf, y);
        double k = floor(x + 0.5);
        if (k < 1)
            k = 1;
        else if (k > (double)zipf->count)
            k = (double)zipf->count;
        if (k - x <= zipf->sure || y >= area(zipf, k + 0.5) - bar(zipf, k))
            return (uint64_t)k;
    }
}

bool dist_parse(const char *text, struct dist *dist) {
    char *end = NULL;
    *dist = (struct dist){DIST_UNIFORM, 0.99, 1};
    if (strcmp(text, "uniform") == 0)
        return true;
    if (strncmp(text, "zipf", 4) == 0 && (text[4] == 0 || text[4] == ':')) {
        dist->kind = DIST_ZIPF;
        if (text[4] == ':')
            dist->exponent = strtod(text + 5, &end);
        return text[4] == 0 || (end != text + 5 && *end == 0 && dist->exponent > 0 && dist->exponent <= 5);
    }
    if (strncmp(text, "hot", 3) == 0 && (text[3] == 0 || text[3] == ':')) {
        dist->kind = DIST_HOT;
        if (text[3] == ':')
            dist->hot = strtoull(text + 4, &end, 10);
        return text[3] == 0 || (end != text + 4 && *end == 0 && text[4] != '-' && dist->hot > 0);
    }
    return false;
}

uint32_t *shuffle_new(uint32_t count, uint64_t seed) {
    uint32_t *items = host_alloc((size_t)count * sizeof *items);
    struct rng rng = {seed};
    for (uint32_t i = 0; i < count; i++) {
        uint32_t other = (uint32_t)rng_below(&rng, (uint64_t)i + 1);
        items[i] = items[other];
        items[other] = i;
    }
    return items;
}
