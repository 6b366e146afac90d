/* SPDX-License-Identifier: MIT */
/* One process scribbles over the mapping while others use it: they may miss, fail with a sentence or read garbage, they may not crash, hang
 * or leave their bounds.
 *
 *   scribble [--seconds N] [--seed S] [--pause US]
 *
 * Two writers do everything that the API has, each opening the file anew now and then; a reader has it read-only; the scribbler wounds one
 * structure after the other (damage.c), with a pause of so many microseconds on average. Mutexes are spared (bed.h says why), and so is the
 * identity, without which nobody could open the file; the living page is put right now and then for the same reason. Each process has an
 * alarm: 10 seconds without an answer are a hang. Exit status 0 when all of them came to their end. */

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "damage.h"

#include "guard.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define WRITERS         2u
#define KEYS            600u
#define ANSWER_SECONDS  10u
#define VALUE_BYTES_MAX 9000u

struct counts {
    uint64_t calls, found, missed, opens, refused, damages;
};

static struct bed beds[2], *bed = &beds[0]; /* in which a run is */
static struct support_random seed = {1};
static double seconds;
static unsigned pause_us = 40;
static uint64_t end_ns;
static struct counts *counts; /* one for each process */

struct user {
    struct millpond *pond;
    struct support_random random;
    struct counts *counts;
    unsigned char value[VALUE_BYTES_MAX];
    uint64_t sum;
};

static void count(struct user *u, const char *what, int result) {
    u->counts->calls++;
    if (result == MILLPOND_OK) u->counts->found++;
    if (result == MILLPOND_MISS) u->counts->missed++;
    /* BUSY and CORRUPT: a mutex that is not free or not sane, and mutexes are spared. */
    REQUIRE(result >= 0 || result == MILLPOND_ERR_FULL || result == MILLPOND_ERR_TOO_LARGE || result == MILLPOND_ERR_NOT_A_NUMBER ||
                result == MILLPOND_ERR_OVERFLOW || result == MILLPOND_ERR_PINNED || result == MILLPOND_ERR_READ_ONLY,
            "%s: %d (%s)", what, result, millpond_strerror(result));
}

static void touch(struct user *u, const void *bytes, size_t n) {
    const unsigned char *at = bytes;
    for (size_t i = 0; i < n; i++) u->sum += at[i];
}

static size_t any_key(struct user *u, char key[SUPPORT_KEY_BYTES + 1]) {
    support_key(key, support_below(&u->random, KEYS));
    return SUPPORT_KEY_BYTES;
}

static int visit(void *arg, const struct millpond_entry *entry) {
    struct user *u = arg;
    touch(u, entry->key, entry->key_bytes);
    touch(u, entry->value, entry->value_bytes);
    return 0;
}

static void view(struct user *u, const char *key, size_t key_bytes) {
    struct millpond_view v;
    int result = millpond_view(u->pond, key, key_bytes, &v);
    count(u, "view", result);
    if (result != MILLPOND_OK) return;
    for (size_t i = 0; i < v.piece_count; i++) touch(u, v.pieces[i].bytes, v.pieces[i].count);
    millpond_view_release(&v);
}

static void read_one(struct user *u) {
    char key[SUPPORT_KEY_BYTES + 1];
    size_t key_bytes = any_key(u, key), bytes = 0, room = support_below(&u->random, 3) ? VALUE_BYTES_MAX : support_below(&u->random, 100);
    unsigned char *buf = malloc(room ? room : 1); /* its own block: a sanitizer sees one byte too many */
    void *value = NULL;
    uint64_t ttl_ms;
    int result;
    switch (support_below(&u->random, 8)) {
    case 0:
        result = millpond_get_alloc(u->pond, key, key_bytes, &value, &bytes);
        count(u, "get_alloc", result);
        if (result == MILLPOND_OK) touch(u, value, bytes);
        free(value);
        break;
    case 1: count(u, "ttl", millpond_ttl(u->pond, key, key_bytes, &ttl_ms)); break;
    case 2: view(u, key, key_bytes); break;
    default:
        result = millpond_get(u->pond, key, key_bytes, buf, room, &bytes);
        count(u, "get", result);
        REQUIRE(result != MILLPOND_OK || bytes <= room, "get: %zu bytes in a buffer of %zu", bytes, room);
        if (result == MILLPOND_OK) touch(u, buf, bytes);
        break;
    }
    free(buf);
    if (support_below(&u->random, 300) == 0) count(u, "scan", millpond_scan(u->pond, NULL, 0, 0, visit, u));
}

static void write_one(struct user *u) {
    char key[SUPPORT_KEY_BYTES + 1];
    size_t key_bytes = any_key(u, key),
           bytes = support_below(&u->random, 20) ? support_below(&u->random, 300) : support_below(&u->random, VALUE_BYTES_MAX);
    struct millpond_incr create = {1, 0};
    switch (support_below(&u->random, 8)) {
    case 0: count(u, "delete", millpond_delete(u->pond, key, key_bytes)); break;
    case 1: count(u, "touch", millpond_touch(u->pond, key, key_bytes, support_below(&u->random, 2) ? 0 : 2000)); break;
    case 2: count(u, "incr", millpond_incr(u->pond, key, key_bytes, 1, &create, NULL)); break;
    case 3: count(u, "add", millpond_add(u->pond, key, key_bytes, u->value, bytes, 50)); break;
    default: count(u, "set", millpond_set(u->pond, key, key_bytes, u->value, bytes, support_below(&u->random, 3) ? 0 : 1000)); break;
    }
}

/* The file as a whole: check, repair, clear. */
static void look_after(struct user *u) {
    struct millpond_check sums;
    unsigned flags = support_below(&u->random, 2) ? MILLPOND_CHECK_REPAIR : 0;
    char errmsg[MILLPOND_ERRMSG_BYTES] = "";
    int result = millpond_check(bed->path, flags, NULL, NULL, &sums, errmsg);
    REQUIRE(result >= 0 || errmsg[0], "check: %d without a sentence", result);
    if (result == MILLPOND_DAMAGED) u->counts->damages += sums.damages;
    if (support_below(&u->random, 8) == 0) count(u, "clear", millpond_clear(u->pond));
}

/* Opens the file, or says why not; uses it for some hundred calls; lets it go. */
static void turn(struct user *u, int readonly) {
    struct millpond_options options = MILLPOND_OPTIONS_INIT;
    char errmsg[MILLPOND_ERRMSG_BYTES] = "";
    options.flags = readonly ? MILLPOND_READONLY : 0;
    alarm(ANSWER_SECONDS);
    int result = millpond_open(&u->pond, bed->path, &options, errmsg);
    u->counts->opens++;
    if (result != MILLPOND_OK) {
        REQUIRE(result < 0 && strchr(errmsg, ';'), "open: %d '%s'", result, errmsg);
        u->counts->refused++;
        support_sleep_ms(1);
        return;
    }
    for (unsigned i = 0; i < 1500; i++) {
        if (i % 64 == 0) alarm(ANSWER_SECONDS);
        if (readonly || support_below(&u->random, 3) == 0)
            read_one(u);
        else
            write_one(u);
    }
    if (!readonly && support_below(&u->random, 4) == 0) look_after(u);
    millpond_close(u->pond);
}

static int use(void *arg) {
    uintptr_t number = (uintptr_t)arg;
    struct user *u = calloc(1, sizeof *u);
    REQUIRE(u, "no memory");
    u->random = support_derive(&seed, number);
    u->counts = &counts[number];
    while (support_now_ns() < end_ns) turn(u, number >= WRITERS);
    free(u);
    return 0;
}

static void heal_living(void) {
    for (size_t i = 0; i < sizeof(struct pond_living); i++) bed->file[POND_LIVING_OFF + i] = bed->image[POND_LIVING_OFF + i];
}

static int wound_it(void *unused) {
    (void)unused;
    struct support_random random = support_derive(&seed, 1000);
    uint64_t wounds = 0;
    struct damage damage;
    while (support_now_ns() < end_ns) {
        damage_random(&damage, &random);
        for (unsigned i = 0; i < damage.wound_count; i++, wounds++) damage_wound(bed, &damage.wounds[i]);
        if (support_below(&random, 10)) heal_living();
        if (pause_us) support_sleep_us(1 + (unsigned)support_below(&random, 2u * pause_us * damage.wound_count));
    }
    counts[WRITERS + 1].calls = wounds;
    return 0;
}

static void make_pond(struct bed *b, uint64_t size_bytes, uint32_t shards, uint64_t segment_bytes) {
    struct millpond_options options = MILLPOND_OPTIONS_INIT;
    options.size_bytes = size_bytes;
    options.shards = shards;
    options.segment_bytes = segment_bytes;
    bed_create(b, support_path("scribbled-%u.pond", shards), &options);
    struct millpond *pond = support_open(b->path, NULL);
    for (uint64_t i = 0; i < KEYS; i++) {
        char key[SUPPORT_KEY_BYTES + 1], value[200];
        support_key(key, i);
        support_fill(value, sizeof value, i);
        REQUIRE(millpond_set(pond, key, SUPPORT_KEY_BYTES, value, i % sizeof value, 0) == MILLPOND_OK, "set");
    }
    millpond_close(pond);
    bed_keep(b);
    b->spared_bytes = POND_LIVING_OFF;
}

/* Returns how many processes failed. */
static unsigned run(const char *name) {
    pid_t children[WRITERS + 2];
    unsigned failed = 0, deadline_ms = (unsigned)(seconds * 1000) + (ANSWER_SECONDS + 5) * 1000;
    memset(counts, 0, (WRITERS + 2) * sizeof *counts);
    end_ns = support_now_ns() + (uint64_t)(seconds * 1e9);
    for (uintptr_t i = 0; i <= WRITERS; i++) children[i] = support_fork(use, (void *)i);
    children[WRITERS + 1] = support_fork(wound_it, NULL);
    for (unsigned i = 0; i < WRITERS + 2; i++) {
        int said = support_wait(children[i], deadline_ms);
        if (said == 0) continue;
        failed++;
        fprintf(stderr, "%s: %s ended with %d (%s)\n", name,
                i < WRITERS    ? "a writer"
                : i == WRITERS ? "the reader"
                               : "the scribbler",
                said,
                said == -SIGALRM || said == SUPPORT_LATE ? "hung"
                : said < 0                               ? strsignal(-said)
                                                         : "said why above");
    }
    struct counts all = {0};
    for (unsigned i = 0; i <= WRITERS; i++) {
        all.calls += counts[i].calls, all.found += counts[i].found, all.missed += counts[i].missed;
        all.opens += counts[i].opens, all.refused += counts[i].refused, all.damages += counts[i].damages;
    }
    printf("%s: %llu wounds under %llu calls (%llu found, %llu missed), %llu opens (%llu refused), %llu damages reported, %u failed\n",
           name, (unsigned long long)counts[WRITERS + 1].calls, (unsigned long long)all.calls, (unsigned long long)all.found,
           (unsigned long long)all.missed, (unsigned long long)all.opens, (unsigned long long)all.refused, (unsigned long long)all.damages,
           failed);
    if (all.calls < 1000 || counts[WRITERS + 1].calls < 100) failed++; /* too little to mean something */
    return failed;
}

int main(int argc, char **argv) {
    seconds = support_seconds(argc, argv, 6);
    for (int i = 1; i + 1 < argc; i++) {
        if (strcmp(argv[i], "--seed") == 0) seed.state = strtoull(argv[i + 1], NULL, 10);
        if (strcmp(argv[i], "--pause") == 0) pause_us = (unsigned)strtoul(argv[i + 1], NULL, 10);
    }
    bed_directory();
    counts = support_share((WRITERS + 2) * sizeof *counts);
    seconds /= 2;
    make_pond(&beds[0], 128 << 10, 1, 2048);
    make_pond(&beds[1], 1 << 20, 2, 0);
    guard_on();
    unsigned failed = run("a small file");
    bed = &beds[1];
    failed += run("a larger file");
    support_end();
    return failed ? 1 : 0;
}
