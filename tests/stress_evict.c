/* SPDX-License-Identifier: MIT */
/* Processes and threads that store several times what the file holds, in sizes that differ by a factor of 10,000. A miss is allowed;
 * an error, a torn value, another key's value or a value older than an acknowledged one is not. */

#include "stress.h"

#include <stdio.h>
#include <unistd.h>

#define KEYS      8192
#define PROCESSES 2
#define THREADS   2

int main(int argc, char **argv) {
    struct stress_plan plan = {.value_bytes_min = SUPPORT_VALUE_BYTES_MIN,
                               .value_bytes_max = 10000 * SUPPORT_VALUE_BYTES_MIN / STRESS_SCALE,
                               .reads_percent = 50,
                               .deletes_percent = 3,
                               .evicts = true};
    stress_prepare(&plan, "stress_evict", KEYS, argc, argv, 2);
    alarm((unsigned)plan.seconds + 120);
    support_begin();
    const char *path = support_path("evict.pond");
    struct millpond_options options = MILLPOND_OPTIONS_INIT;
    options.size_bytes = (32 << 20) / STRESS_SCALE;
    options.max_item_bytes = plan.value_bytes_max;
    options.flags = MILLPOND_CREATE;
    struct millpond *pond = support_open(path, &options);
    unsigned failed = 0, rounds = 0;
    struct millpond_stats stats;
    do { /* on a busy machine, and with a sanitizer, it takes a while until the file is full */
        failed += stress_processes(&plan, pond, path, PROCESSES, THREADS);
        REQUIRE(millpond_stats(pond, -1, &stats) == MILLPOND_OK, "no figures");
    } while (failed == 0 && stats.evictions <= 100 && ++rounds < 20);
    millpond_close(pond);
    REQUIRE(failed == 0, "%u processes failed", failed);
    printf("stress_evict: %llu evictions, %llu items at the end\n", (unsigned long long)stats.evictions, (unsigned long long)stats.items);
    REQUIRE(stats.evictions > 100, "too few evictions to mean anything");
    stress_finish(&plan, path);
    support_end();
    return 0;
}
