/* SPDX-License-Identifier: MIT */
/* Processes that read and write the same keys; half of them use a handle from before the fork, half open the file themselves, so that
 * it is mapped at several addresses. Nothing is evicted: every miss has to be explained by a delete; and the index is crowded, so that
 * entries move between their two buckets. */

#include "stress.h"

#include <unistd.h>

#define KEYS      512
#define PROCESSES 4

int main(int argc, char **argv) {
    struct stress_plan plan = {
        .value_bytes_min = SUPPORT_VALUE_BYTES_MIN, .value_bytes_max = 4096, .reads_percent = 60, .deletes_percent = 5};
    stress_prepare(&plan, "stress_processes", KEYS, argc, argv, 2);
    alarm((unsigned)plan.seconds + 120);
    support_begin();
    const char *path = support_path("processes.pond");
    struct millpond *pond = stress_create_crowded(path, 64 << 20, KEYS);
    unsigned failed = stress_processes(&plan, pond, path, PROCESSES, 1);
    struct millpond_stats stats;
    REQUIRE(millpond_stats(pond, -1, &stats) == MILLPOND_OK && stats.evictions == 0, "entries were evicted; the test needs a larger file");
    millpond_close(pond);
    REQUIRE(failed == 0, "%u processes failed", failed);
    stress_finish(&plan, path);
    support_end();
    return 0;
}
