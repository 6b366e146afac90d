/* SPDX-License-Identifier: MIT */
/* views.c: a view of a large value against a get that copies it, in interleaved rounds.
 *
 *   millpond-views [VALUE_BYTES]      default 16384
 *
 * Both read the same uniformly drawn keys of 4,096 items. Two users of the value: one that looks at its first and its last 64 bytes (what
 * a request that passes a pointer on does), and one that sums all of it (then the bytes must come to the core either way, and a view
 * saves only the second copy). Times are processor time of this process: others on the machine count only through the caches. */
#include "host.h"
#include "report.h"

#include <millpond.h>

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { ITEMS = 4096, ROUNDS = 21, OPERATIONS = 20000, KEY_BYTES = 24 };

static char keys[ITEMS][KEY_BYTES + 1];
static size_t value_bytes;
static unsigned char *buf;
static volatile uint64_t sink;

static uint64_t sum(const unsigned char *at, size_t bytes) {
    uint64_t total = 0, word;
    for (size_t i = 0; i + 8 <= bytes; i += 8) {
        memcpy(&word, at + i, 8);
        total += word;
    }
    return total;
}

static void use(const unsigned char *value, int whole) {
    sink += whole ? sum(value, value_bytes) : sum(value, 64) + sum(value + value_bytes - 64, 64);
}

static int by_get(struct millpond *pond, const char *key, int whole) {
    size_t bytes;
    if (millpond_get(pond, key, KEY_BYTES, buf, value_bytes, &bytes) != MILLPOND_OK) return 0;
    use(buf, whole);
    return 1;
}

static int by_view(struct millpond *pond, const char *key, int whole) {
    struct millpond_view view;
    if (millpond_view(pond, key, KEY_BYTES, &view) != MILLPOND_OK) return 0;
    use(view.value, whole);
    millpond_view_release(&view);
    return 1;
}

/* ns of one operation of a round, or a negative number after a failure. */
static double run_round(struct millpond *pond, int (*read)(struct millpond *, const char *, int), int whole, uint64_t seed) {
    uint64_t start = host_cpu_ns();
    for (int i = 0; i < OPERATIONS; i++) {
        seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        if (!read(pond, keys[seed >> 52], whole)) return -1;
    }
    return (double)(host_cpu_ns() - start) / OPERATIONS;
}

static int compare(struct millpond *pond, int whole) {
    double get[ROUNDS], view[ROUNDS], ratio[ROUNDS];
    for (int round = 0; round < ROUNDS; round++) {
        get[round] = run_round(pond, by_get, whole, (uint64_t)round);
        view[round] = run_round(pond, by_view, whole, (uint64_t)round);
        if (get[round] < 0 || view[round] < 0) return 0;
        ratio[round] = get[round] / view[round];
    }
    printf("%-22s get %6.0f ns   view %6.0f ns   %.1f times\n", whole ? "sum of all bytes" : "first and last line", median(get, ROUNDS),
           median(view, ROUNDS), median(ratio, ROUNDS));
    return 1;
}

static int fill(struct millpond *pond) {
    memset(buf, 'v', value_bytes);
    for (int i = 0; i < ITEMS; i++) {
        snprintf(keys[i], sizeof keys[i], "views:%018d", i);
        if (millpond_set(pond, keys[i], KEY_BYTES, buf, value_bytes, 0) != MILLPOND_OK) return 0;
    }
    return 1;
}

int main(int argc, char **argv) {
    char folder[] = "/dev/shm/millpond-views-XXXXXX", path[64], errmsg[MILLPOND_ERRMSG_BYTES];
    struct millpond_options options = MILLPOND_OPTIONS_INIT;
    struct millpond *pond;
    value_bytes = argc > 1 ? strtoul(argv[1], NULL, 10) : 16384;
    if (argc > 2 || value_bytes < 128 || value_bytes > 64 << 10) {
        fprintf(stderr, "usage: millpond-views [VALUE_BYTES], 128 to 65536\n");
        return 2;
    }
    buf = malloc(value_bytes);
    if (!buf || !mkdtemp(folder)) {
        perror(folder);
        return 3;
    }
    snprintf(path, sizeof path, "%s/pond", folder);
    options.flags = MILLPOND_CREATE | MILLPOND_EXCLUSIVE | MILLPOND_POPULATE;
    options.size_bytes = (uint64_t)ITEMS * (value_bytes + 256) * 2 + (64 << 20);
    options.entry_bytes = (uint32_t)value_bytes;
    int result = millpond_open(&pond, path, &options, errmsg);
    unlink(path);
    rmdir(folder);
    if (result != MILLPOND_OK) {
        fprintf(stderr, "millpond-views: %s\n", errmsg);
        return 3;
    }
    int done = fill(pond) && compare(pond, 0) && compare(pond, 1);
    if (!done) fprintf(stderr, "millpond-views: a value was not stored or not found\n");
    millpond_close(pond);
    free(buf);
    return done ? 0 : 1;
}
