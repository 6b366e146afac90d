/* SPDX-License-Identifier: MIT */
/* run_worker.c: what a worker of `millpond-bench run` does: one operation after the other, until the stop flag.
 *
 * What is timed is the operation as a caller sees it: making the key, the call, looking at the value. Every `sample`th operation is
 * clocked alone for the latencies; two clock reads (about 25 ns each) are in such a figure, and in a run's average one part in
 * `sample` of them. */
#include "run.h"

#include "workload.h"

#include <string.h>
#include <unistd.h>

struct worker {
    const struct run *run;
    const struct engine *engine;
    void *handle;
    struct run_shared *shared;
    struct run_slot *slot;
    const uint32_t *draws;
    uint64_t at, stamp;
    unsigned char key[WORKLOAD_KEY_MAX];
    unsigned char *value, *buf;
    struct millpond_mget gets[ENGINE_MGET_MAX];
    uint32_t wanted[ENGINE_MGET_MAX];
    unsigned char *keys;
};

/* ---- one operation ---- */

static inline void judge(struct worker *worker, int result, const unsigned char *value, size_t value_bytes, uint32_t item) {
    worker->slot->gets++;
    if (result == MILLPOND_OK) {
        bool right = value_bytes == worker->run->value_bytes &&
                     (worker->run->verify ? workload_is_whole(value, value_bytes, item) : workload_is_of(value, item));
        worker->slot->wrong += !right;
    } else if (result == MILLPOND_MISS) {
        worker->slot->misses++;
    } else {
        worker->slot->errors++;
    }
}

static inline void do_get(struct worker *worker, uint32_t item) {
    size_t value_bytes = 0;
    workload_key(worker->key, item);
    const struct run *run = worker->run;
    int result = worker->engine->get(worker->handle, worker->key, run->key_bytes, worker->buf, run->value_bytes, &value_bytes);
    judge(worker, result, worker->buf, value_bytes, item);
}

static inline void do_set(struct worker *worker, uint32_t item) {
    workload_key(worker->key, item);
    workload_value(worker->value, worker->run->value_bytes, item, ++worker->stamp);
    int result = worker->engine->set(worker->handle, worker->key, worker->run->key_bytes, worker->value, worker->run->value_bytes);
    worker->slot->sets++;
    worker->slot->refused += result != 0;
}

static inline uint32_t next_draw(struct worker *worker) {
    return worker->draws[worker->at++ % WORKLOAD_DRAWS];
}

static inline bool do_next(struct worker *worker) {
    uint32_t draw = next_draw(worker), item = draw & ~WORKLOAD_SET;
    if (draw & WORKLOAD_SET)
        do_set(worker, item);
    else
        do_get(worker, item);
    return draw & WORKLOAD_SET;
}

/* ---- a round, in a worker ---- */

static void round_of_gets(struct worker *worker) {
    uint64_t sample = worker->run->sample;
    while (!atomic_load_explicit(&worker->shared->stop, memory_order_relaxed)) {
        uint64_t start_ns = host_now_ns();
        bool was_set = do_next(worker);
        histogram_add(was_set ? &worker->slot->set : &worker->slot->get, host_now_ns() - start_ns);
        for (uint64_t i = 1; i < sample; i++)
            do_next(worker);
    }
}

static void mget_all(struct worker *worker) {
    const struct engine *engine = worker->engine;
    size_t count = (size_t)worker->run->mget;
    if (engine->mget) {
        engine->mget(worker->handle, worker->gets, count);
    } else {
        for (size_t i = 0; i < count; i++) {
            struct millpond_mget *get = &worker->gets[i];
            get->result = engine->get(worker->handle, get->key, get->key_bytes, get->buf, get->buf_bytes, &get->value_bytes);
        }
    }
    for (size_t i = 0; i < count; i++)
        judge(worker, worker->gets[i].result, worker->gets[i].buf, worker->gets[i].value_bytes, worker->wanted[i]);
}

/* Reads are gathered until there are enough for one call; writes go out as they come. A latency is that of the whole call. */
static void round_of_mgets(struct worker *worker) {
    const struct run *run = worker->run;
    uint64_t calls = 0, writes = 0;
    while (!atomic_load_explicit(&worker->shared->stop, memory_order_relaxed)) {
        for (size_t have = 0; have < run->mget && !atomic_load_explicit(&worker->shared->stop, memory_order_relaxed); ) {
            uint32_t draw = next_draw(worker), item = draw & ~WORKLOAD_SET;
            if (draw & WORKLOAD_SET) {
                bool timed = writes++ % run->sample == 0;
                uint64_t start_ns = timed ? host_now_ns() : 0;
                do_set(worker, item);
                if (timed)
                    histogram_add(&worker->slot->set, host_now_ns() - start_ns);
            } else {
                workload_key(worker->keys + have * run->key_bytes, item);
                worker->wanted[have++] = item;
            }
            if (have < run->mget)
                continue;
            bool timed = calls++ % run->sample == 0;
            uint64_t start_ns = timed ? host_now_ns() : 0;
            mget_all(worker);
            if (timed)
                histogram_add(&worker->slot->get, host_now_ns() - start_ns);
        }
    }
}

static void make_buffers(struct worker *worker) {
    const struct run *run = worker->run;
    size_t gets = run->mget > 0 ? (size_t)run->mget : 1;
    worker->value = host_alloc(run->value_bytes + 8);
    worker->buf = host_alloc(gets * run->value_bytes);
    worker->keys = host_alloc(gets * run->key_bytes);
    workload_key_init(worker->key, run->key_bytes);
    for (size_t i = 0; i < gets && run->mget > 0; i++) {
        unsigned char *key = worker->keys + i * run->key_bytes;
        workload_key_init(key, run->key_bytes);
        worker->gets[i] = (struct millpond_mget){key, run->key_bytes, worker->buf + i * run->value_bytes, run->value_bytes, 0, 0};
    }
}

/* Pinned, attached, with every page of the engine's mappings in its page table. */
static void set_up(struct worker *worker, const struct run *run, const struct run_result *result, struct run_shared *shared, unsigned nth) {
    worker->run = run;
    worker->engine = result->engine;
    worker->handle = result->handle;
    worker->shared = shared;
    worker->slot = &shared->slots[nth];
    host_pin(nth);
    if (!worker->engine->attach(worker->handle, shared->why))
        _exit(3);
    make_buffers(worker);
    host_populate(result->folder);
}

void run_worker_round(const struct run *run, const struct run_result *result, struct run_shared *shared, unsigned nth, uint64_t round) {
    static struct worker worker;
    set_up(&worker, run, result, shared, nth);
    worker.draws = run->draws + (size_t)nth * WORKLOAD_DRAWS;
    worker.at = round * 1000003 % WORKLOAD_DRAWS;
    worker.stamp = (round << 48) + ((uint64_t)nth << 40);
    atomic_fetch_add(&shared->ready, 1);
    while (!atomic_load(&shared->go))
        host_sleep_ns(50000);
    uint64_t start_ns = host_now_ns(), start_cpu_ns = host_cpu_ns();
    if (run->mget > 0)
        round_of_mgets(&worker);
    else
        round_of_gets(&worker);
    worker.slot->cpu_ns = host_cpu_ns() - start_cpu_ns;
    worker.slot->elapsed_ns = host_now_ns() - start_ns;
    result->engine->detach(result->handle);
    _exit(0);
}

void run_worker_load(const struct run *run, const struct run_result *result, struct run_shared *shared, const uint32_t *order) {
    static struct worker worker;
    set_up(&worker, run, result, shared, 0);
    uint64_t start_ns = host_now_ns(), start_cpu_ns = host_cpu_ns();
    for (uint64_t i = 0; i < run->items; i++)
        do_set(&worker, order[i]);
    worker.slot->cpu_ns = host_cpu_ns() - start_cpu_ns;
    worker.slot->elapsed_ns = host_now_ns() - start_ns;
    result->engine->detach(result->handle);
    _exit(0);
}
