/* SPDX-License-Identifier: MIT */
/* soak.h: what master and workers of `millpond-bench soak` share: who has promised what about which key.
 *
 * All of it lies in anonymous shared memory, outside the pond, and survives any kill. Each key belongs to one worker's slot; only the
 * worker in that slot writes it, everyone reads it. A write is numbered, noted as begun, done, and noted as acknowledged:
 *
 *     writer                                  reader
 *     issued = n, intent = n and what         a = acked
 *     the call                                the call
 *     acked = intent                          i = issued, d = deleted
 *
 * so a value found must carry a number from a's to i, and a miss must be explained by a's or by a delete begun since (d). A worker killed
 * inside the call leaves intent and acked apart: then both outcomes are right, until the next write to that key. */
#ifndef BENCH_SOAK_H
#define BENCH_SOAK_H

#include "args.h"
#include "host.h"
#include "zipf.h"
#include <millpond.h>

enum { SOAK_WORKERS_MAX = 64, SOAK_COUNTERS = 8, SOAK_CELLS = 8, SOAK_LIMIT_S = 10 };

/* X(name, what is counted). */
#define SOAK_CHECKS(X)                                                                                                                 \
    X(whole, "values whole, by size and checksum")                                                                                     \
    X(own, "values of the key that was asked for")                                                                                     \
    X(fresh, "values not older than an acknowledged write")                                                                            \
    X(begun, "values that somebody has begun to write")                                                                                \
    X(forward, "values not older than one that was read before")                                                                       \
    X(timely, "values not past their time to live")                                                                                    \
    X(misses, "misses with a cause")                                                                                                   \
    X(results, "writes with the result they must have")                                                                                \
    X(counters, "counters and cells that only go up")                                                                                  \
    X(kept, "keys with their last acknowledged state at the end")                                                                      \
    X(sums, "counters and cells with the right sum at the end")                                                                        \
    X(lives, "workers that neither crashed nor hung")                                                                                  \
    X(room, "nothing evicted from a file that has room")                                                                               \
    X(file, "files whole at the end, by millpond_check")

enum soak_check {
#define SOAK_ENUM(name, text) SOAK_##name,
    SOAK_CHECKS(SOAK_ENUM)
#undef SOAK_ENUM
    SOAK_CHECK_COUNT
};

#define SOAK_OPS(X)                                                                                                                    \
    X(get) X(get_alloc) X(mget) X(contains) X(set) X(add) X(replace) X(delete) X(touch) X(cas) X(stale_cas) X(incr) X(cell)

enum soak_op {
#define SOAK_ENUM(name) SOAK_OP_##name,
    SOAK_OPS(SOAK_ENUM)
#undef SOAK_ENUM
    SOAK_OP_COUNT
};
extern const char *const soak_op_names[SOAK_OP_COUNT];

/* A state of a key: the number of the write that made it, times two, plus one when there is a value. */
static inline uint64_t soak_state(uint64_t number, bool present) {
    return number << 1 | present;
}

struct soak_key {
    _Atomic uint64_t issued;  /* last number given out */
    _Atomic uint64_t intent;  /* state that the write under way makes; acked when there is none */
    _Atomic uint64_t acked;   /* state of the last write that returned */
    _Atomic uint64_t deleted; /* number of the last delete begun */
    _Atomic uint64_t seen;    /* highest number that a finished read has found */
    _Atomic uint64_t late_ms; /* the longest that a write with a time to live took, from its deadline's reckoning to its return */
};

/* A number that every worker raises: what each slot has begun and finished. */
struct soak_tally {
    host_count issued[SOAK_WORKERS_MAX], acked[SOAK_WORKERS_MAX];
    _Atomic uint64_t seen;
};

struct soak_slot {
    _Atomic uint64_t began_ns; /* of the call under way; 0 between calls */
    _Atomic int op;
    host_count ops[SOAK_OP_COUNT];
    host_count passed[SOAK_CHECK_COUNT], failed[SOAK_CHECK_COUNT];
    host_count transient, evicted;
} __attribute__((aligned(64)));

struct soak_shared {
    _Atomic int stop;
    _Atomic unsigned told; /* failures described so far: the first ones are, the rest are counted */
    struct soak_tally counters[SOAK_COUNTERS], cells[SOAK_CELLS];
    struct soak_slot slots[SOAK_WORKERS_MAX + 1]; /* the last one is the master's */
    struct soak_key keys[];
};

struct soak {
    uint64_t workers, keys_each, kill_ns, run_ns, size_bytes, seed;
    bool pressure;
    const char *file;
    struct args_json json_wish;

    struct millpond *pond;
    uint64_t key_count, value_bytes_max, generation;
    struct soak_shared *shared;
    uint64_t kills, deaths, hangs;
    double seconds;
    struct millpond_stats stats;
};

/* What one process of a soak works with. */
struct soaker {
    const struct soak *soak;
    unsigned nth; /* its slot */
    struct soak_slot *slot;
    struct rng rng;
    unsigned char *value, *buf;
    size_t room;
};

void soak_pass(struct soaker *soaker, enum soak_check check);
void soak_fail(struct soaker *soaker, enum soak_check check, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* soak_value.c */
size_t soak_key_name(char *name, uint64_t key);
/* Keys whose values have a time to live, short enough to run out during a soak. */
static inline bool soak_is_mortal(uint64_t key) {
    return key % 16 == 15;
}
/* Writes the value of a key with this number; answers its bytes. */
size_t soak_value_make(const struct soak *soak, unsigned char *value, uint64_t key, uint64_t number, uint64_t deadline_ms);
/* The wall clock, in milliseconds: what a time to live is counted with. */
uint64_t soak_clock_ms(void);

/* What was known of a key before a read of it began. */
struct soak_before {
    uint64_t acked, seen, clock_ms, late_ms;
};
/* Raises a number that others may be raising too. */
void soak_raise_to(_Atomic uint64_t *to, uint64_t value);
struct soak_before soak_before_read(const struct soak *soak, uint64_t key);
/* Judges what a read that began at `before` has found; answers the number of the write that made it, 0 when it is not to be trusted. */
uint64_t soak_judge_value(struct soaker *soaker, uint64_t key, const struct soak_before *before, const void *value, size_t value_bytes);
/* Judges a miss: a delete, an expiry or an eviction must explain it. One without a cause is looked at again, to tell an entry that is
 * lost from a read that gave up. Overwrites soaker->buf. */
void soak_judge_miss(struct soaker *soaker, uint64_t key, const struct soak_before *before);
/* An acknowledged entry is certainly gone: it was evicted, or it is lost. */
void soak_judge_gone(struct soaker *soaker, uint64_t key, uint64_t number);
/* A read of any key, verified. */
void soak_read(struct soaker *soaker, uint64_t key);

/* soak_worker.c: runs until the stop flag. */
void soak_work(struct soaker *soaker);
void soaker_init(struct soaker *soaker, const struct soak *soak, unsigned nth);
void soaker_free(struct soaker *soaker);
/* Compares every key, counter and cell with what was acknowledged, when nobody writes any more. */
void soak_verify_all(struct soaker *soaker);

#endif
