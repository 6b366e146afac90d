/* SPDX-License-Identifier: MIT */
/* How often does damage become wrong data that is given out as right?
 *
 * A closed pond is damaged in one place (a bit, a byte, a sector or page that is zero, exchanged with another or of an earlier time),
 * opened, and everything in it is read: by get (which does not verify checksums: that would cost each read what it costs to read the value
 * twice), by scan (which does), and by get after a repair. A file gave wrong data when at least one answer was OK with bytes that were
 * never the key's last ones.
 *
 *   wrong_data [--trials N] [--seed S]     N files of each kind; prints a table; fails when scans or repaired files are wrong in 1 % of
 * them
 *
 * What remains: a counter's 8 bytes change in place, so no checksum covers them; checksums of entries have 21 bits, of expiry times 15; and
 * a sector of an earlier time that brings back a slot together with the entry which it named then is whole in itself. */

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "bed.h"

#include "guard.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KEYS            1200u
#define VALUE_BYTES_MAX 24000u

static struct bed bed;
static unsigned char *earlier; /* the file as it was before the last of the changes */
static struct {
    int there;
    uint64_t sequence; /* its value follows from this */
} truth[KEYS];
static unsigned char value[VALUE_BYTES_MAX], back[VALUE_BYTES_MAX];

/* ---- contents ---- */

static int is_counter(uint32_t i) { return i % 50 == 0; }

static size_t size_of(uint32_t i, uint64_t sequence) {
    uint64_t x = (i * UINT64_C(2654435761) + sequence * 977) % 4096;
    return i % 97 == 3 ? 6000 + x : x < 3000 ? x % 200 : x % 1200; /* mostly small, some in chunks */
}

static size_t make_value(uint32_t i, uint64_t sequence) {
    if (is_counter(i)) return (size_t)snprintf((char *)value, sizeof value, "%llu", (unsigned long long)(i + sequence));
    size_t bytes = size_of(i, sequence);
    support_fill(value, bytes, (uint64_t)i << 32 | sequence);
    return bytes;
}

static void change(struct millpond *pond, uint32_t i, uint64_t sequence) {
    char key[SUPPORT_KEY_BYTES + 1];
    support_key(key, i);
    int result;
    if (is_counter(i)) {
        struct millpond_incr create = {(int64_t)i, 0};
        if (truth[i].there) millpond_delete(pond, key, SUPPORT_KEY_BYTES);
        result = millpond_incr(pond, key, SUPPORT_KEY_BYTES, (int64_t)sequence, &create, NULL);
    } else {
        size_t bytes = make_value(i, sequence);
        result = millpond_set(pond, key, SUPPORT_KEY_BYTES, value, bytes, i % 4 == 1 ? 3600000 : 0);
    }
    REQUIRE(result == MILLPOND_OK, "storing key %u: %d", i, result);
    truth[i].there = 1;
    truth[i].sequence = sequence;
}

static void make_pond(void) {
    struct millpond_options options = MILLPOND_OPTIONS_INIT;
    options.size_bytes = 1 << 20;
    options.shards = 2;
    bed_create(&bed, support_path("wrong.pond"), &options);
    struct millpond *pond = support_open(bed.path, NULL);
    struct support_random random = {99};
    for (uint32_t i = 0; i < KEYS; i++) change(pond, i, 1);
    for (uint64_t k = 0; k < 2500; k++) {
        uint32_t i = (uint32_t)support_below(&random, KEYS);
        char key[SUPPORT_KEY_BYTES + 1];
        support_key(key, i);
        if (k == 2000) {
            earlier = malloc(bed.file_bytes);
            REQUIRE(earlier, "no memory");
            memcpy(earlier, bed.file, bed.file_bytes);
        }
        if (k % 9 == 0) {
            REQUIRE(millpond_delete(pond, key, SUPPORT_KEY_BYTES) >= 0, "delete");
            truth[i].there = 0;
        } else {
            change(pond, i, k + 2);
        }
    }
    struct millpond_stats stats;
    REQUIRE(millpond_stats(pond, -1, &stats) == MILLPOND_OK && stats.evictions == 0, "the pond is too small for the test: %llu evictions",
            (unsigned long long)stats.evictions);
    millpond_close(pond);
    bed_keep(&bed);
}

/* ---- damage ---- */

enum kind { BIT, BYTE, ZERO_SECTOR, ZERO_PAGE, SWAP_SECTORS, SWAP_PAGES, OLD_SECTOR, OLD_PAGE, KINDS };
static const char *const names[KINDS] = {"one bit flipped",
                                         "one byte changed",
                                         "a sector zeroed",
                                         "a page zeroed",
                                         "two sectors exchanged",
                                         "two pages exchanged",
                                         "a sector of an earlier time",
                                         "a page of an earlier time"};

/* A block of the file behind the identity; what is changed must really change. Returns 0 when it did not. */
static int hurt(enum kind kind, struct support_random *random) {
    static const uint64_t sizes[KINDS] = {1, 1, 512, 4096, 512, 4096, 512, 4096};
    unsigned char here[4096], there[4096];
    uint64_t bytes = sizes[kind], blocks = bed.file_bytes / bytes;
    uint64_t at = support_below(random, blocks) * bytes, other = support_below(random, blocks) * bytes;
    memcpy(here, bed.file + at, bytes);
    memset(there, 0, sizeof there);
    if (kind == BIT) there[0] = (unsigned char)(here[0] ^ 1u << support_below(random, 8));
    if (kind == BYTE) there[0] = (unsigned char)support_next(random);
    if (kind == SWAP_SECTORS || kind == SWAP_PAGES) {
        memcpy(there, bed.file + other, bytes);
        bed_write(&bed, other, here, bytes);
    }
    if (kind == OLD_SECTOR || kind == OLD_PAGE) memcpy(there, earlier + at, bytes);
    bed_write(&bed, at, there, bytes);
    return memcmp(bed.file, bed.image, bed.file_bytes) != 0;
}

/* ---- reading it ---- */

struct tally {
    unsigned trials, refused, get_wrong, scan_wrong, repaired_wrong, counters, noticed;
    uint64_t lost;
};

struct reading {
    unsigned wrong, counters, right; /* counters: of the wrong ones */
};

static void judge(struct reading *r, uint32_t i, const void *bytes, size_t count) {
    if (truth[i].there && make_value(i, truth[i].sequence) == count && memcmp(value, bytes, count) == 0) {
        r->right++;
        return;
    }
    r->wrong++;
    r->counters += is_counter(i) != 0;
}

static struct reading read_by_get(void) {
    struct reading r = {0, 0, 0};
    struct millpond_options options = MILLPOND_OPTIONS_INIT;
    struct millpond *pond;
    options.flags = MILLPOND_READONLY;
    if (millpond_open(&pond, bed.path, &options, NULL) != MILLPOND_OK) return r;
    for (uint32_t i = 0; i < KEYS; i++) {
        char key[SUPPORT_KEY_BYTES + 1];
        size_t bytes;
        support_key(key, i);
        if (millpond_get(pond, key, SUPPORT_KEY_BYTES, back, sizeof back, &bytes) == MILLPOND_OK) judge(&r, i, back, bytes);
    }
    millpond_close(pond);
    return r;
}

static int visit(void *arg, const struct millpond_entry *entry) {
    struct reading *r = arg;
    char key[SUPPORT_KEY_BYTES + 1] = "", same[SUPPORT_KEY_BYTES + 1];
    if (entry->key_bytes == SUPPORT_KEY_BYTES) memcpy(key, entry->key, SUPPORT_KEY_BYTES);
    uint32_t i = (uint32_t)strtoul(key[0] ? key + 4 : key, NULL, 10);
    support_key(same, i);
    if (i < KEYS && strcmp(key, same) == 0)
        judge(r, i, entry->value, entry->value_bytes);
    else
        r->wrong++; /* a key that was never stored */
    return 0;
}

static struct reading read_by_scan(void) {
    struct reading r = {0, 0, 0};
    struct millpond_options options = MILLPOND_OPTIONS_INIT;
    struct millpond *pond;
    options.flags = MILLPOND_READONLY;
    if (millpond_open(&pond, bed.path, &options, NULL) != MILLPOND_OK) return r;
    REQUIRE(millpond_scan(pond, NULL, 0, 0, visit, &r) == MILLPOND_OK, "scan");
    millpond_close(pond);
    return r;
}

static void try_one(enum kind kind, struct support_random *random, unsigned whole, struct tally *t) {
    struct millpond_options options = MILLPOND_OPTIONS_INIT;
    struct millpond *pond;
    do bed_restore(&bed, 0);
    while (!hurt(kind, random));
    t->trials++;
    options.flags = MILLPOND_READONLY;
    if (millpond_open(&pond, bed.path, &options, NULL) != MILLPOND_OK) {
        t->refused++;
        return;
    }
    millpond_close(pond);
    struct reading got = read_by_get(), scanned = read_by_scan();
    t->noticed += millpond_check(bed.path, MILLPOND_CHECK_REPAIR, NULL, NULL, NULL, NULL) == MILLPOND_DAMAGED;
    struct reading repaired = read_by_get();
    t->get_wrong += got.wrong > 0;
    t->scan_wrong += scanned.wrong > 0;
    t->repaired_wrong += repaired.wrong > 0;
    t->counters += repaired.wrong > 0 && repaired.counters == repaired.wrong;
    t->lost += whole - repaired.right;
}

static double percent(unsigned part, unsigned of) { return of ? 100.0 * part / of : 0; }

static void print_tally(const char *name, const struct tally *t) {
    printf("%-27s %7u %7.1f %10.1f %9.2f %9.2f %9.2f %10.1f %9.2f\n", name, t->trials, percent(t->refused, t->trials),
           percent(t->get_wrong, t->trials), percent(t->scan_wrong, t->trials), percent(t->repaired_wrong, t->trials),
           percent(t->counters, t->trials), percent(t->noticed, t->trials), t->trials ? (double)t->lost / t->trials : 0);
}

int main(int argc, char **argv) {
    unsigned trials = 150;
    struct support_random random = {1};
    for (int i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--trials") == 0) trials = (unsigned)strtoul(argv[i + 1], NULL, 10);
        if (strcmp(argv[i], "--seed") == 0) random.state = strtoull(argv[i + 1], NULL, 10);
    }
    bed_directory();
    bed_clock_forward(0);
    make_pond();
    guard_on();
    unsigned whole = read_by_get().right;
    REQUIRE(whole > KEYS / 2 && read_by_get().wrong == 0 && read_by_scan().right == whole && read_by_scan().wrong == 0,
            "the whole file reads wrong");
    printf("a file of %llu bytes with %u entries, damaged in one place; per cent of the files\n\n", (unsigned long long)bed.file_bytes,
           whole);
    printf("%-27s %7s %7s %10s %9s %9s %9s %10s %9s\n", "", "", "refused", "wrong data", "by scan", "after", "of it", "damage", "entries");
    printf("%-27s %7s %7s %10s %9s %9s %9s %10s %9s\n", "damage", "files", "at open", "by get", "", "repair", "counters", "noticed",
           "lost");
    struct tally sum = {0};
    for (int kind = 0; kind < KINDS; kind++) {
        struct tally t = {0};
        for (unsigned n = 0; n < trials; n++) try_one((enum kind)kind, &random, whole, &t);
        print_tally(names[kind], &t);
        sum.trials += t.trials, sum.refused += t.refused, sum.get_wrong += t.get_wrong, sum.scan_wrong += t.scan_wrong;
        sum.repaired_wrong += t.repaired_wrong, sum.counters += t.counters, sum.noticed += t.noticed, sum.lost += t.lost;
    }
    print_tally("all", &sum);
    support_end();
    int failed = percent(sum.scan_wrong, sum.trials) >= 1 || percent(sum.repaired_wrong, sum.trials) >= 1;
    printf("\n%s: wrong data by scan in %.2f %%, after a repair in %.2f %% of the files\n", failed ? "FAILED" : "passed",
           percent(sum.scan_wrong, sum.trials), percent(sum.repaired_wrong, sum.trials));
    return failed;
}
