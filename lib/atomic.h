/* SPDX-License-Identifier: MIT */
#ifndef POND_ATOMIC_H
#define POND_ATOMIC_H

/* Every ordered access to shared memory goes through this header, and through ConcurrencyKit's ck_pr below it.
 *
 * pond_load_*, pond_store_*          one word, never torn, no order
 * pond_load_acquire_*                what follows is not seen earlier than this load
 * pond_store_release_*               what precedes is seen before this store
 * pond_fence_load                    loads before it are done before loads behind it
 * pond_fence_store                   stores before it are seen before stores behind it
 * pond_fence_full                    stores before it are seen before loads behind it are made (the only one that costs on x86)
 * pond_pause                         between two looks at a word that another processor will change soon
 * pond_prefetch_write                the line will be written: ask for it alone, not for a copy that has to be asked for again
 * pond_copy_out, pond_copy_in        bytes that others may change or read at the same time; the caller validates what came out
 *
 * ThreadSanitizer sees nothing through inline assembly, so with MILLPOND_TSAN compiler builtins take the place of ck_pr, and the copies
 * are made of relaxed accesses instead of memcpy. Copies of several bytes are data races by the letter of C11; the protocols discard
 * what was raced for, and the models in tests/models check that they do. */

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifdef MILLPOND_TSAN

#define POND_ATOMIC_WORD(bits)                                                                                                             \
    static inline uint##bits##_t pond_load_##bits(const uint##bits##_t *p) { return __atomic_load_n(p, __ATOMIC_RELAXED); }                \
    static inline void pond_store_##bits(uint##bits##_t *p, uint##bits##_t v) { __atomic_store_n(p, v, __ATOMIC_RELAXED); }                \
    static inline uint##bits##_t pond_load_acquire_##bits(const uint##bits##_t *p) { return __atomic_load_n(p, __ATOMIC_ACQUIRE); }        \
    static inline void pond_store_release_##bits(uint##bits##_t *p, uint##bits##_t v) { __atomic_store_n(p, v, __ATOMIC_RELEASE); }

static inline void pond_fence_load(void) { __atomic_signal_fence(__ATOMIC_SEQ_CST); }
static inline void pond_fence_store(void) { __atomic_signal_fence(__ATOMIC_SEQ_CST); }
static inline void pond_fence_full(void) { __sync_synchronize(); }
static inline void pond_pause(void) { __atomic_signal_fence(__ATOMIC_SEQ_CST); }
static inline int pond_cas_64(uint64_t *p, uint64_t old, uint64_t fresh) {
    return __atomic_compare_exchange_n(p, &old, fresh, 0, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED);
}
static inline int pond_cas_32(uint32_t *p, uint32_t old, uint32_t fresh) {
    return __atomic_compare_exchange_n(p, &old, fresh, 0, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED);
}
static inline void pond_add_64(uint64_t *p, uint64_t v) { __atomic_fetch_add(p, v, __ATOMIC_RELAXED); }
static inline void pond_add_32(uint32_t *p, uint32_t v) { __atomic_fetch_add(p, v, __ATOMIC_RELAXED); }

static inline void pond_copy_out(void *to, const void *from, size_t bytes) {
    unsigned char *t = to;
    const unsigned char *f = from;
    for (size_t i = 0; i < bytes; i++) t[i] = __atomic_load_n(f + i, __ATOMIC_RELAXED);
}
static inline void pond_copy_in(void *to, const void *from, size_t bytes) {
    unsigned char *t = to;
    const unsigned char *f = from;
    for (size_t i = 0; i < bytes; i++) __atomic_store_n(t + i, __atomic_load_n(f + i, __ATOMIC_RELAXED), __ATOMIC_RELAXED);
}
static inline int pond_same_bytes(const void *shared, const void *own, size_t bytes) {
    const unsigned char *s = shared, *o = own;
    for (size_t i = 0; i < bytes; i++)
        if (__atomic_load_n(s + i, __ATOMIC_RELAXED) != o[i]) return 0;
    return 1;
}

#else

#include <ck_pr.h>

#define POND_ATOMIC_WORD(bits)                                                                                                             \
    static inline uint##bits##_t pond_load_##bits(const uint##bits##_t *p) { return ck_pr_load_##bits(p); }                                \
    static inline void pond_store_##bits(uint##bits##_t *p, uint##bits##_t v) { ck_pr_store_##bits(p, v); }                                \
    static inline uint##bits##_t pond_load_acquire_##bits(const uint##bits##_t *p) {                                                       \
        uint##bits##_t v = ck_pr_load_##bits(p);                                                                                           \
        ck_pr_fence_acquire();                                                                                                             \
        return v;                                                                                                                          \
    }                                                                                                                                      \
    static inline void pond_store_release_##bits(uint##bits##_t *p, uint##bits##_t v) {                                                    \
        ck_pr_fence_release();                                                                                                             \
        ck_pr_store_##bits(p, v);                                                                                                          \
    }

static inline void pond_fence_load(void) { ck_pr_fence_load(); }
static inline void pond_fence_store(void) { ck_pr_fence_store(); }
static inline void pond_fence_full(void) { ck_pr_fence_strict_memory(); }
static inline void pond_pause(void) { ck_pr_stall(); }
static inline int pond_cas_64(uint64_t *p, uint64_t old, uint64_t fresh) { return ck_pr_cas_64(p, old, fresh); }
static inline int pond_cas_32(uint32_t *p, uint32_t old, uint32_t fresh) { return ck_pr_cas_32(p, old, fresh); }
static inline void pond_add_64(uint64_t *p, uint64_t v) { ck_pr_add_64(p, v); }
static inline void pond_add_32(uint32_t *p, uint32_t v) { ck_pr_add_32(p, v); }

static inline void pond_copy_out(void *to, const void *from, size_t bytes) {
    if (bytes != 0) memcpy(to, from, bytes); /* an empty value may have no buffer */
}
/* memmove: in a damaged file an entry may be rewritten over itself, which is garbage, but defined. Keys are short: up to 32 bytes are two
 * loads, then two stores, that may overlap, without a call. */
struct pond_two_words {
    uint64_t word[2];
};
static inline void pond_copy_in(void *to, const void *from, size_t n) {
    unsigned char *t = to;
    const unsigned char *f = from;
    struct pond_two_words first, last;
    if (n - 16 <= 16) {
        memcpy(&first, f, sizeof first);
        memcpy(&last, f + n - sizeof last, sizeof last);
        memcpy(t, &first, sizeof first);
        memcpy(t + n - sizeof last, &last, sizeof last);
    } else {
        memmove(t, f, n);
    }
}

/* Keys are short: up to 32 bytes are compared by two loads that may overlap, without a call. */
static inline uint64_t pond_word_at(const unsigned char *at) {
    uint64_t word;
    memcpy(&word, at, sizeof word);
    return word;
}
static inline int pond_same_bytes(const void *shared, const void *own, size_t n) {
    const unsigned char *s = shared, *o = own;
    if (n - 16 <= 16) {
        uint64_t first = (pond_word_at(s) ^ pond_word_at(o)) | (pond_word_at(s + 8) ^ pond_word_at(o + 8));
        uint64_t last = (pond_word_at(s + n - 16) ^ pond_word_at(o + n - 16)) | (pond_word_at(s + n - 8) ^ pond_word_at(o + n - 8));
        return (first | last) == 0;
    }
    if (n - 8 <= 8) return ((pond_word_at(s) ^ pond_word_at(o)) | (pond_word_at(s + n - 8) ^ pond_word_at(o + n - 8))) == 0;
    return memcmp(s, o, n) == 0;
}

#endif

POND_ATOMIC_WORD(16)
POND_ATOMIC_WORD(32)
POND_ATOMIC_WORD(64)

/* Counters that one thread writes and others read now and then. */
static inline void pond_bump_64(uint64_t *p, uint64_t v) { pond_store_64(p, pond_load_64(p) + v); }

/* __builtin_prefetch(p, 1) is a plain one but for processors that the compiler is told of. Where this one does not know the instruction it
 * does nothing. */
static inline void pond_prefetch_write(const void *p) {
#if defined __x86_64__
    __asm__ __volatile__("prefetchw %0" : : "m"(*(const char *)p));
#else
    __builtin_prefetch(p, 1);
#endif
}

#define POND_LIKELY(x)   __builtin_expect(!!(x), 1)
#define POND_UNLIKELY(x) __builtin_expect(!!(x), 0)

#endif
