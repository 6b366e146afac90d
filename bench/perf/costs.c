/* SPDX-License-Identifier: MIT */
/* costs.c: what the model of many cores (scaling.py) needs to know of this machine: how long a cache line takes from one core to another,
 * and what a set costs alone and when another core works on the same shard. Two processes, pinned, 10 ms at a time; the best of
 * 40, since other work on the machine only ever adds. Prints the options that scaling.py takes. */
#include <millpond.h>

#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { REPEATS = 40, ITEMS = 4096, KEY_BYTES = 24 };

static struct shared {
    _Alignas(64) _Atomic uint64_t ball;
    _Alignas(64) _Atomic int ready, stop;
    _Alignas(64) uint64_t count[2][8];
} *shared;

static void pin(int core) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET((size_t)core, &set);
    sched_setaffinity(0, sizeof set, &set);
}

static void bounce(struct millpond *pond, int nth) {
    uint64_t turns = 0;
    (void)pond;
    while (!atomic_load_explicit(&shared->stop, memory_order_relaxed)) {
        if ((atomic_load_explicit(&shared->ball, memory_order_acquire) & 1) != (uint64_t)nth)
            continue;
        atomic_fetch_add_explicit(&shared->ball, 1, memory_order_release);
        turns++;
    }
    shared->count[nth][0] = turns;
}

static void work(struct millpond *pond, int nth, int get) {
    char key[KEY_BYTES + 1], value[100] = {0};
    uint64_t done = 0;
    while (!atomic_load_explicit(&shared->stop, memory_order_relaxed)) {
        size_t bytes;
        snprintf(key, sizeof key, "costs:%d:%016u", nth, (unsigned)(done * 2654435761u % ITEMS));
        for (int i = 0; i < 64; i++, done++) {
            key[8 + done % 8] = (char)('a' + done % 26);
            if (get)
                millpond_get(pond, key, KEY_BYTES, value, sizeof value, &bytes);
            else
                millpond_set(pond, key, KEY_BYTES, value, sizeof value, 0);
        }
    }
    shared->count[nth][0] = done;
}
static void sets(struct millpond *pond, int nth) { work(pond, nth, 0); }
static void gets(struct millpond *pond, int nth) { work(pond, nth, 1); }

/* ns of one operation of all processes together: the least of the repeats. */
static double measure(struct millpond *pond, int processes, void (*run)(struct millpond *, int)) {
    double best = 1e9;
    for (int repeat = 0; repeat < REPEATS; repeat++) {
        pid_t pids[2] = {0};
        atomic_store(&shared->stop, 0);
        atomic_store(&shared->ready, 0);
        for (int i = 0; i < processes; i++) {
            pids[i] = fork();
            if (pids[i] < 0)
                exit(3);
            if (pids[i] > 0)
                continue;
            pin(i);
            atomic_fetch_add(&shared->ready, 1);
            while (atomic_load(&shared->ready) < processes)
                sched_yield();
            run(pond, i);
            _exit(0);
        }
        while (atomic_load(&shared->ready) < processes)
            sched_yield();
        struct timespec pause = {0, 10000000}, start, end;
        clock_gettime(CLOCK_MONOTONIC, &start);
        nanosleep(&pause, NULL);
        atomic_store(&shared->stop, 1);
        clock_gettime(CLOCK_MONOTONIC, &end);
        for (int i = 0; i < processes; i++)
            waitpid(pids[i], NULL, 0);
        double ns = (double)(end.tv_sec - start.tv_sec) * 1e9 + (double)(end.tv_nsec - start.tv_nsec);
        uint64_t count = shared->count[0][0] + (processes > 1 ? shared->count[1][0] : 0);
        if (ns / (double)(count ? count : 1) < best)
            best = ns / (double)(count ? count : 1);
    }
    return best;
}

int main(void) {
    char folder[] = "/dev/shm/millpond-costs-XXXXXX", path[64], errmsg[MILLPOND_ERRMSG_BYTES];
    struct millpond_options options = MILLPOND_OPTIONS_INIT;
    struct millpond *pond;
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED || !mkdtemp(folder)) {
        perror("millpond-costs");
        return 3;
    }
    snprintf(path, sizeof path, "%s/pond", folder);
    options.flags = MILLPOND_CREATE | MILLPOND_EXCLUSIVE;
    options.shards = 1;
    int result = millpond_open(&pond, path, &options, errmsg);
    unlink(path);
    rmdir(folder);
    if (result != MILLPOND_OK) {
        fprintf(stderr, "millpond-costs: %s\n", errmsg);
        return 3;
    }
    double line = measure(NULL, 2, bounce), set = measure(pond, 1, sets), both = measure(pond, 2, sets), get = measure(pond, 1, gets);
    printf("--line %.0f --set %.0f --set-shared %.0f --get %.0f\n", line, set, both, get);
    millpond_close(pond);
    return 0;
}
