/* SPDX-License-Identifier: MIT */
/* Threads on one handle that transfer, take snapshots, fetch, lease, resize and get at the same time, each judging its own answers
 * (together.c). This is also what ThreadSanitizer sees of these calls: a second process on the same file would be invisible to it. */

#include "together.h"

#include <pthread.h>
#include <stdio.h>

#define THREADS_EACH 2 /* of each kind; resizers wait for each other */

static struct millpond *pond;
static bool stop;
static uint64_t done[TOGETHER_KINDS * THREADS_EACH];

static void *keep_at_it(void *arg) {
    uintptr_t me = (uintptr_t)arg;
    enum together kind = (enum together)(me % TOGETHER_KINDS);
    for (uint64_t turn = 1 + me; !__atomic_load_n(&stop, __ATOMIC_RELAXED); turn++) {
        together_do(pond, kind, turn);
        if (kind == TOGETHER_RESIZE) support_sleep_us(3000);
        done[me]++;
    }
    return NULL;
}

int main(int argc, char **argv) {
    double seconds = support_seconds(argc, argv, 2);
    pthread_t threads[TOGETHER_KINDS * THREADS_EACH];
    support_begin();
    const char *path = support_path("together.pond");
    struct millpond_options options = MILLPOND_OPTIONS_INIT;
    options.flags = MILLPOND_CREATE;
    options.size_bytes = 2 << 20;
    options.lock_timeout_ms = 60000;
    pond = support_open(path, &options);
    together_begin(pond);
    for (uintptr_t i = 0; i < TOGETHER_KINDS * THREADS_EACH; i++)
        REQUIRE(pthread_create(&threads[i], NULL, keep_at_it, (void *)i) == 0, "no thread");
    support_sleep_ms((unsigned)(seconds * 1000));
    __atomic_store_n(&stop, true, __ATOMIC_RELAXED);
    for (int i = 0; i < TOGETHER_KINDS * THREADS_EACH; i++) pthread_join(threads[i], NULL);
    together_require(pond);
    uint64_t sums[TOGETHER_KINDS] = {0};
    for (int i = 0; i < TOGETHER_KINDS * THREADS_EACH; i++) sums[i % TOGETHER_KINDS] += done[i];
    printf("%llu transfers, %llu snapshots, %llu fetches, %llu leases, %llu resizes, %llu rounds of gets\n", (unsigned long long)sums[0],
           (unsigned long long)sums[1], (unsigned long long)sums[2], (unsigned long long)sums[3], (unsigned long long)sums[4],
           (unsigned long long)sums[5]);
    for (int i = 0; i < TOGETHER_KINDS; i++) REQUIRE(sums[i] > 2, "kind %d did too little", i);
    millpond_close(pond);
    support_require_whole(path);
    support_end();
    return 0;
}
