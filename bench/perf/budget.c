/* SPDX-License-Identifier: MIT */
/* budget.c: one kind of operation, again and again, for counting its instructions.
 *
 *   millpond-budget KIND COUNT      KIND: hit miss new overwrite incr delete mget fetch
 *
 * COUNT operations on keys that were made before, on a pond that is warm; all that surrounds them is the same for every COUNT. So the
 * instructions of one operation are the difference of two runs under callgrind, one of them with COUNT 0, divided by COUNT: the script
 * `budgets` does that. Nothing is evicted: a file of 32 MiB, at most 40,000 items of 24 + 100 bytes. */
#include <millpond.h>

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { KEY_BYTES = 24, VALUE_BYTES = 100, WARM = 20000, MOST = 20000, MGET = 16 };

static unsigned char (*keys)[KEY_BYTES]; /* WARM stored ones, then MOST that are not */
static unsigned char value[VALUE_BYTES], buf[MGET][VALUE_BYTES];

static void make_keys(void) {
    keys = calloc(WARM + MOST, KEY_BYTES);
    if (!keys)
        abort();
    for (uint32_t i = 0; i < WARM + MOST; i++)
        for (uint32_t k = 0; k < KEY_BYTES; k++)
            keys[i][k] = (unsigned char)('a' + (i >> (4 * (k % 8)) & 15u));
}

static int do_hit(struct millpond *pond, uint32_t i) {
    size_t value_bytes;
    return millpond_get(pond, keys[i], KEY_BYTES, buf[0], VALUE_BYTES, &value_bytes) == MILLPOND_OK;
}

static int load(void *arg, const void *key, size_t key_bytes, struct millpond_load *loaded) {
    (void)arg, (void)key, (void)key_bytes, (void)loaded;
    return -1;
}

/* A hit through millpond_fetch. */
static int do_fetch(struct millpond *pond, uint32_t i) {
    static const struct millpond_fetch options = {.ttl_ms = 60000, .grace_ms = 1000};
    size_t value_bytes;
    return millpond_fetch(pond, keys[i], KEY_BYTES, load, NULL, &options, buf[0], VALUE_BYTES, &value_bytes, NULL) == MILLPOND_OK;
}

static int do_miss(struct millpond *pond, uint32_t i) {
    size_t value_bytes;
    return millpond_get(pond, keys[WARM + i], KEY_BYTES, buf[0], VALUE_BYTES, &value_bytes) == MILLPOND_MISS;
}

static int do_new(struct millpond *pond, uint32_t i) {
    return millpond_set(pond, keys[WARM + i], KEY_BYTES, value, VALUE_BYTES, 0) == MILLPOND_OK;
}

static int do_overwrite(struct millpond *pond, uint32_t i) {
    return millpond_set(pond, keys[i], KEY_BYTES, value, VALUE_BYTES, 0) == MILLPOND_OK;
}

static int do_delete(struct millpond *pond, uint32_t i) {
    return millpond_delete(pond, keys[i], KEY_BYTES) == MILLPOND_OK;
}

static int do_incr(struct millpond *pond, uint32_t i) {
    struct millpond_incr create = {0};
    int64_t number;
    return millpond_incr(pond, keys[WARM + i % 16], KEY_BYTES, 1, &create, &number) == MILLPOND_OK;
}

/* One key of a call for MGET of them. */
static int do_mget(struct millpond *pond, uint32_t i) {
    struct millpond_mget gets[MGET];
    if (i % MGET != 0)
        return 1;
    for (uint32_t k = 0; k < MGET; k++)
        gets[k] = (struct millpond_mget){keys[(i + k) % WARM], KEY_BYTES, buf[k], VALUE_BYTES, 0, 0};
    return millpond_mget(pond, gets, MGET) == MILLPOND_OK && gets[MGET - 1].result == MILLPOND_OK;
}

static const struct kind {
    const char *name;
    int (*run)(struct millpond *pond, uint32_t i);
} kinds[] = {{"hit", do_hit}, {"miss", do_miss}, {"new", do_new}, {"overwrite", do_overwrite}, {"incr", do_incr}, {"delete", do_delete},
             {"mget", do_mget}, {"fetch", do_fetch}};

static const struct kind *kind_of(const char *name) {
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (strcmp(kinds[i].name, name) == 0)
            return &kinds[i];
    return NULL;
}

/* Everything before the operations that are counted: the same instructions for every COUNT. */
static struct millpond *warm(const char *path) {
    struct millpond_options options = MILLPOND_OPTIONS_INIT;
    char errmsg[MILLPOND_ERRMSG_BYTES];
    struct millpond *pond;
    options.flags = MILLPOND_CREATE | MILLPOND_EXCLUSIVE;
    options.size_bytes = 32u << 20;
    if (millpond_open(&pond, path, &options, errmsg) != MILLPOND_OK) {
        fprintf(stderr, "millpond-budget: %s\n", errmsg);
        return NULL;
    }
    struct millpond_incr create = {0};
    for (uint32_t i = 0; i < WARM; i++)
        if (!do_overwrite(pond, i) || !do_hit(pond, i))
            return fprintf(stderr, "millpond-budget: %s: could not be filled\n", path), NULL;
    for (uint32_t i = 0; i < 16; i++) { /* and every way once, so that what is done at the first call only is done */
        int64_t number;
        millpond_incr(pond, keys[WARM + MOST - 1], KEY_BYTES, 1, &create, &number);
        do_mget(pond, 0);
        do_miss(pond, i);
        do_fetch(pond, i);
    }
    millpond_delete(pond, keys[WARM + MOST - 1], KEY_BYTES);
    return pond;
}

int main(int argc, char **argv) {
    const struct kind *kind = argc == 3 ? kind_of(argv[1]) : NULL;
    char *end = NULL, folder[256], path[300];
    unsigned long count = kind ? strtoul(argv[2], &end, 10) : 0;
    if (!kind || *end || end == argv[2] || count > MOST) {
        fprintf(stderr, "usage: millpond-budget hit|miss|new|overwrite|incr|delete|mget|fetch COUNT, at most %d\n", MOST);
        return 2;
    }
    const char *tmp = getenv("TMPDIR");
    snprintf(folder, sizeof folder, "%s/millpond-budget-XXXXXX", tmp && *tmp ? tmp : "/tmp");
    if (!mkdtemp(folder)) {
        perror(folder);
        return 3;
    }
    snprintf(path, sizeof path, "%s/pond", folder);
    make_keys();
    struct millpond *pond = warm(path);
    unlink(path);
    rmdir(folder);
    if (!pond)
        return 3;
    unsigned long failed = 0;
    for (uint32_t i = 0; i < count; i++)
        failed += !kind->run(pond, i);
    millpond_close(pond);
    free(keys);
    if (failed > 0)
        fprintf(stderr, "millpond-budget: %lu of %lu operations did not answer what they must\n", failed, count);
    return failed > 0;
}
