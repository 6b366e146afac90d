/* SPDX-License-Identifier: MIT */
/* Helpers of the tests: random numbers with a seed that is printed, and values that say whose they are. */

#include "support.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- random numbers (splitmix64: Steele, Lea, Flood, "Fast splittable pseudorandom number generators", 2014) ---- */

static uint64_t mix(uint64_t x) {
    x = (x ^ (x >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94D049BB133111EB);
    return x ^ (x >> 31);
}

uint64_t support_next(struct support_random *random) { return mix(random->state += UINT64_C(0x9E3779B97F4A7C15)); }

uint64_t support_below(struct support_random *random, uint64_t bound) {
    return (uint64_t)(((unsigned __int128)support_next(random) * bound) >> 64);
}

struct support_random support_seed(const char *what) {
    const char *given = getenv("MILLPOND_TEST_SEED");
    uint64_t seed = given && *given ? strtoull(given, NULL, 0) : mix(support_now_ns() ^ ((uint64_t)getpid() << 40)) & 0xFFFFFFFF;
    fprintf(stderr, "%s: MILLPOND_TEST_SEED=%llu\n", what, (unsigned long long)seed);
    return (struct support_random){seed};
}

struct support_random support_derive(const struct support_random *from, uint64_t number) {
    return (struct support_random){mix(from->state + mix(number + 1))};
}

size_t support_log_size(struct support_random *random, size_t low, size_t high) {
    double from = log((double)low + 1), to = log((double)high + 2);
    double at = from + (to - from) * (double)(support_next(random) >> 11) / 9007199254740992.0;
    size_t size = (size_t)exp(at);
    size = size > 0 ? size - 1 : 0;
    return size < low ? low : size > high ? high : size;
}

struct support_zipf support_zipf_make(size_t count, double exponent) {
    struct support_zipf zipf = {count, malloc(count * sizeof(double))};
    REQUIRE(zipf.cumulative, "no memory for %zu ranks", count);
    double sum = 0;
    for (size_t i = 0; i < count; i++) zipf.cumulative[i] = sum += pow((double)(i + 1), -exponent);
    for (size_t i = 0; i < count; i++) zipf.cumulative[i] /= sum;
    return zipf;
}

size_t support_zipf_next(const struct support_zipf *zipf, struct support_random *random) {
    double at = (double)(support_next(random) >> 11) / 9007199254740992.0;
    size_t low = 0, high = zipf->count - 1;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (zipf->cumulative[middle] < at)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

void support_zipf_free(struct support_zipf *zipf) {
    free(zipf->cumulative);
    zipf->cumulative = NULL;
}

/* ---- contents ---- */

void support_fill(void *buf, size_t bytes, uint64_t seed) {
    unsigned char *at = buf;
    struct support_random random = {seed};
    for (; bytes >= 8; bytes -= 8, at += 8) {
        uint64_t word = support_next(&random);
        memcpy(at, &word, 8);
    }
    uint64_t word = support_next(&random);
    memcpy(at, &word, bytes);
}

bool support_matches(const void *buf, size_t bytes, uint64_t seed) {
    const unsigned char *at = buf;
    struct support_random random = {seed};
    for (; bytes >= 8; bytes -= 8, at += 8) {
        uint64_t word = support_next(&random);
        if (memcmp(at, &word, 8) != 0) return false;
    }
    uint64_t word = support_next(&random);
    return memcmp(at, &word, bytes) == 0;
}

struct value_head {
    uint64_t key, sequence, bytes, sum;
};

static uint64_t head_sum(const struct value_head *head) { return mix(head->key + mix(head->sequence + mix(head->bytes + 1))); }

void support_value_write(void *buf, size_t bytes, uint64_t key, uint64_t sequence) {
    REQUIRE(bytes >= SUPPORT_VALUE_BYTES_MIN, "a value of %zu bytes cannot say whose it is", bytes);
    struct value_head head = {key, sequence, bytes, 0};
    head.sum = head_sum(&head);
    memcpy(buf, &head, sizeof head);
    support_fill((char *)buf + sizeof head, bytes - sizeof head, head.sum);
}

const char *support_value_read(const void *buf, size_t bytes, uint64_t key, uint64_t *sequence) {
    struct value_head head;
    if (bytes < sizeof head) return "the value is too short";
    memcpy(&head, buf, sizeof head);
    if (head.sum != head_sum(&head)) return "the head of the value is torn";
    if (head.key != key) return "the value belongs to another key";
    if (head.bytes != bytes) return "the value has another size than it says";
    if (!support_matches((const char *)buf + sizeof head, bytes - sizeof head, head.sum)) return "the value is torn";
    *sequence = head.sequence;
    return NULL;
}

void support_key(char key[SUPPORT_KEY_BYTES + 1], uint64_t number) {
    snprintf(key, SUPPORT_KEY_BYTES + 1, "key-%020llu", (unsigned long long)number);
}

double support_seconds(int argc, char **argv, double otherwise) {
    for (int i = 1; i + 1 < argc; i++)
        if (strcmp(argv[i], "--seconds") == 0) return strtod(argv[i + 1], NULL);
    return otherwise;
}
