/* SPDX-License-Identifier: MIT */
/* Threads that read and write the same keys through one handle. Nothing is evicted, so that every miss has to be explained by a delete;
 * and the index is crowded, so that entries move between their two buckets.
 * This is the program that ThreadSanitizer watches: it sees races between threads, and none between processes. */

#include "stress.h"

#include <stdio.h>
#include <unistd.h>

#define KEYS    512
#define THREADS 4

int main(int argc, char **argv) {
    struct stress_plan plan = {
        .value_bytes_min = SUPPORT_VALUE_BYTES_MIN, .value_bytes_max = 4096, .reads_percent = 60, .deletes_percent = 5};
    stress_prepare(&plan, "stress_threads", KEYS, argc, argv, 2);
    alarm((unsigned)plan.seconds + 120);
    support_begin();
    const char *path = support_path("threads.pond");
    struct millpond *pond = stress_create_crowded(path, 64 << 20, KEYS);
    stress_threads(&plan, pond, 0, THREADS);
    struct millpond_stats stats;
    REQUIRE(millpond_stats(pond, -1, &stats) == MILLPOND_OK && stats.evictions == 0, "entries were evicted; the test needs a larger file");
    millpond_close(pond);
    stress_finish(&plan, path);
    support_end();
    return 0;
}
