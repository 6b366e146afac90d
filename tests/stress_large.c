/* SPDX-License-Identifier: MIT */
/* Values of many segments, read and replaced by processes and threads while eviction takes their chunks away. */

#include "stress.h"

#include <stdio.h>
#include <unistd.h>

#define KEYS      128
#define PROCESSES 2
#define THREADS   2

int main(int argc, char **argv) {
    struct stress_plan plan = {.value_bytes_min = (8 << 10) / STRESS_SCALE,
                               .value_bytes_max = (512 << 10) / STRESS_SCALE,
                               .reads_percent = 60,
                               .deletes_percent = 3,
                               .evicts = true};
    stress_prepare(&plan, "stress_large", KEYS, argc, argv, 2);
    alarm((unsigned)plan.seconds + 120);
    support_begin();
    const char *path = support_path("large.pond");
    struct millpond_options options = MILLPOND_OPTIONS_INIT;
    options.size_bytes = (10 << 20) / STRESS_SCALE;
    options.segment_bytes = (16 << 10) / (STRESS_SCALE > 1 ? 4 : 1);
    options.max_item_bytes = plan.value_bytes_max;
    options.flags = MILLPOND_CREATE;
    struct millpond *pond = support_open(path, &options);
    unsigned failed = stress_processes(&plan, pond, path, PROCESSES, THREADS);
    struct millpond_stats stats;
    REQUIRE(millpond_stats(pond, -1, &stats) == MILLPOND_OK, "no figures");
    millpond_close(pond);
    REQUIRE(failed == 0, "%u processes failed", failed);
    printf("stress_large: %llu evictions, segments of %llu bytes\n", (unsigned long long)stats.evictions,
           (unsigned long long)stats.segment_bytes);
    REQUIRE(stats.segment_bytes < plan.value_bytes_max / 2, "the values fit into one segment; the test needs smaller ones");
    stress_finish(&plan, path);
    support_end();
    return 0;
}
