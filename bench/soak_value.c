/* SPDX-License-Identifier: MIT */
/* soak_value.c: values that tell who wrote them and when, and the judgement of what a read has found.
 *
 * A value is a head (key, number of the write, time of death, size, checksum of it all) and words that follow from key and number. So a
 * torn value fails its checksum, a foreign one passes it and names another key, an old one names an old number. */
#include "soak.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

enum { TOLD_MAX = 20, AGAIN_MAX = 100, CLOCK_SLACK_MS = 100 };

struct head {
    uint64_t sum; /* of everything behind it */
    uint64_t key, number, deadline_ms, bytes;
};

void soak_pass(struct soaker *soaker, enum soak_check check) {
    host_count_add(&soaker->slot->passed[check], 1);
}

void soak_fail(struct soaker *soaker, enum soak_check check, const char *format, ...) {
    static const char *const texts[] = {
#define SOAK_TEXT(name, text) text,
        SOAK_CHECKS(SOAK_TEXT)
#undef SOAK_TEXT
    };
    char what[512];
    va_list list;
    host_count_add(&soaker->slot->failed[check], 1);
    if (atomic_fetch_add(&soaker->soak->shared->told, 1) >= TOLD_MAX)
        return;
    va_start(list, format);
    vsnprintf(what, sizeof what, format, list);
    va_end(list);
    host_warn("FAILED (%s): %s", texts[check], what);
}

size_t soak_key_name(char *name, uint64_t key) {
    return (size_t)sprintf(name, "soak:%llu", (unsigned long long)key);
}

uint64_t soak_clock_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* Each key has a size of its own, most of them small, one in a hundred large enough to be stored in pieces; every second write is up to
 * a quarter smaller than that. */
static size_t value_bytes(const struct soak *soak, uint64_t key, uint64_t number) {
    uint64_t draw = mix64(key * 2 + 1), most = soak->value_bytes_max, size;
    if (draw % 100 < 70)
        size = 64 + draw / 100 % 448;
    else if (draw % 100 < 95)
        size = 512 + draw / 100 % 3584;
    else if (draw % 100 < 99)
        size = 4096 + draw / 100 % 28672;
    else
        size = 32768 + draw / 100 % 163840;
    size = size < most ? size : most;
    if (number % 2 == 1)
        size -= mix64(number) % (size / 4 + 1);
    return size > sizeof(struct head) ? (size_t)size : sizeof(struct head);
}

static uint64_t sum_of(const unsigned char *value, size_t bytes) {
    return XXH3_64bits(value + sizeof(uint64_t), bytes - sizeof(uint64_t));
}

size_t soak_value_make(const struct soak *soak, unsigned char *value, uint64_t key, uint64_t number, uint64_t deadline_ms) {
    struct head head = {0, key, number, deadline_ms, value_bytes(soak, key, number)};
    uint64_t word = mix64(key ^ number << 32);
    for (size_t at = sizeof head; at < head.bytes; at += sizeof word, word += UINT64_C(0x9e3779b97f4a7c15))
        memcpy(value + at, &word, head.bytes - at < sizeof word ? head.bytes - at : sizeof word);
    memcpy(value, &head, sizeof head);
    head.sum = sum_of(value, head.bytes);
    memcpy(value, &head.sum, sizeof head.sum);
    return head.bytes;
}

struct soak_before soak_before_read(const struct soak *soak, uint64_t key) {
    struct soak_key *known = &soak->shared->keys[key];
    struct soak_before before = {atomic_load(&known->acked), atomic_load(&known->seen), soak_is_mortal(key) ? soak_clock_ms() : 0,
                                 atomic_load(&known->late_ms)};
    return before;
}

void soak_raise_to(_Atomic uint64_t *to, uint64_t value) {
    uint64_t now = atomic_load(to);
    while (now < value && !atomic_compare_exchange_weak(to, &now, value))
        ;
}

static void expect(struct soaker *soaker, enum soak_check check, bool good, uint64_t key, const struct head *head,
                   const struct soak_before *before, const char *what) {
    if (good)
        soak_pass(soaker, check);
    else
        soak_fail(soaker, check, "key %llu: %s (value of key %llu, write %llu, %llu bytes; acknowledged %llu, seen %llu, issued %llu)",
                  (unsigned long long)key, what, (unsigned long long)head->key, (unsigned long long)head->number,
                  (unsigned long long)head->bytes, (unsigned long long)before->acked >> 1, (unsigned long long)before->seen,
                  (unsigned long long)atomic_load(&soaker->soak->shared->keys[key].issued));
}

uint64_t soak_judge_value(struct soaker *soaker, uint64_t key, const struct soak_before *before, const void *value, size_t bytes) {
    struct soak_key *known = &soaker->soak->shared->keys[key];
    uint64_t issued = atomic_load(&known->issued);
    struct head head = {0};
    if (bytes >= sizeof head)
        memcpy(&head, value, sizeof head);
    bool whole = bytes >= sizeof head && head.bytes == bytes && head.sum == sum_of(value, bytes);
    expect(soaker, SOAK_whole, whole, key, &head, before, "the value is torn or damaged");
    if (!whole)
        return 0;
    expect(soaker, SOAK_own, head.key == key, key, &head, before, "another key's value");
    if (head.key != key)
        return 0;
    /* A deletion has a number too: a value that was there before it is older than it. */
    expect(soaker, SOAK_fresh, soak_state(head.number, true) >= before->acked, key, &head, before, "older than an acknowledged write");
    expect(soaker, SOAK_begun, head.number <= issued, key, &head, before, "a write that nobody has begun");
    expect(soaker, SOAK_forward, head.number >= before->seen, key, &head, before, "older than what was read before");
    /* The time to live begins somewhere within the call, which may have had to wait for a processor: only a call that returned says how
     * long that was. */
    if (soak_is_mortal(key) && before->acked == soak_state(head.number, true))
        expect(soaker, SOAK_timely, before->clock_ms <= head.deadline_ms + before->late_ms + CLOCK_SLACK_MS, key, &head, before,
               "it has expired");
    soak_raise_to(&known->seen, head.number);
    return head.number;
}

/* An acknowledged value is missing and nobody has begun to delete it. */
static bool unexplained(const struct soaker *soaker, uint64_t key, const struct soak_before *before) {
    bool present = before->acked & 1;
    return present && !soak_is_mortal(key) && atomic_load(&soaker->soak->shared->keys[key].deleted) <= before->acked >> 1;
}

static bool something_evicted(const struct soak *soak) {
    struct millpond_stats stats = {0};
    millpond_stats(soak->pond, -1, &stats);
    return stats.evictions > 0;
}

void soak_judge_gone(struct soaker *soaker, uint64_t key, uint64_t number) {
    if (something_evicted(soaker->soak)) {
        host_count_add(&soaker->slot->evicted, 1);
        soak_pass(soaker, SOAK_misses);
    } else {
        soak_fail(soaker, SOAK_misses, "key %llu: lost; write %llu was acknowledged, nothing was evicted and nobody has deleted it",
                  (unsigned long long)key, (unsigned long long)number);
    }
}

/* It is there on a second look. The same value was there all the time; a newer one may have come after an eviction. */
static void judge_return(struct soaker *soaker, uint64_t number, const struct soak_before *before) {
    if (number > before->acked >> 1 && something_evicted(soaker->soak)) {
        host_count_add(&soaker->slot->evicted, 1);
        soak_pass(soaker, SOAK_misses);
    } else {
        host_count_add(&soaker->slot->transient, 1); /* at the end these must be at most what the library says it gave up */
    }
}

void soak_judge_miss(struct soaker *soaker, uint64_t key, const struct soak_before *before) {
    const struct soak *soak = soaker->soak;
    struct soak_before now = *before;
    char name[32];
    size_t bytes = 0, name_bytes = soak_key_name(name, key);
    for (unsigned i = 0; i < AGAIN_MAX && unexplained(soaker, key, &now); i++) {
        now = soak_before_read(soak, key);
        if (millpond_get(soak->pond, name, name_bytes, soaker->buf, soaker->room, &bytes) != MILLPOND_OK)
            continue;
        judge_return(soaker, soak_judge_value(soaker, key, &now, soaker->buf, bytes), before);
        return;
    }
    if (unexplained(soaker, key, &now))
        soak_judge_gone(soaker, key, now.acked >> 1);
    else
        soak_pass(soaker, SOAK_misses);
}

void soak_read(struct soaker *soaker, uint64_t key) {
    char name[32];
    size_t bytes = 0, name_bytes = soak_key_name(name, key);
    struct soak_before before = soak_before_read(soaker->soak, key);
    int result = millpond_get(soaker->soak->pond, name, name_bytes, soaker->buf, soaker->room, &bytes);
    if (result == MILLPOND_OK)
        soak_judge_value(soaker, key, &before, soaker->buf, bytes);
    else if (result == MILLPOND_MISS)
        soak_judge_miss(soaker, key, &before);
    else
        soak_fail(soaker, SOAK_whole, "key %llu: a get answers: %s, %zu bytes", (unsigned long long)key, millpond_strerror(result), bytes);
}
