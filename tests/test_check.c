/* SPDX-License-Identifier: MIT */
/* millpond_check: a whole file is whole; every damage done by hand is found, named and mended; whatever is damaged, nothing crashes,
 * hangs or comes back changed after a repair. */

#include "support.h"
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ENTRIES 400

static void entry(uint64_t i, char key[SUPPORT_KEY_BYTES + 1], unsigned char *value, size_t *bytes) {
    support_key(key, i);
    *bytes = i % 50 == 7 ? 30000 + i : i * 3; /* some of them in chunks */
    support_fill(value, *bytes, i + 1000);
}

static unsigned char value[40000], back[40000];

/* A closed pond of ENTRIES entries with holes and dead entries between them. */
static const char *make_pond(const char *name) {
    const char *path = support_path("%s", name);
    struct millpond *pond = support_create(path, 2 << 20);
    char key[SUPPORT_KEY_BYTES + 1];
    size_t bytes;
    for (int round = 0; round < 2; round++)
        for (uint64_t i = 0; i < ENTRIES + 50; i++) {
            entry(i, key, value, &bytes);
            if (round == 0) support_fill(value, bytes /= 2, i + 7000); /* leaves holes, with bytes that cannot be mistaken */
            REQUIRE(millpond_set(pond, key, SUPPORT_KEY_BYTES, value, bytes, i % 3 ? 0 : 36000000) == MILLPOND_OK, "set");
        }
    for (uint64_t i = ENTRIES; i < ENTRIES + 50; i++) {
        support_key(key, i);
        REQUIRE(millpond_delete(pond, key, SUPPORT_KEY_BYTES) == MILLPOND_OK, "delete");
    }
    millpond_close(pond);
    return path;
}

struct reports {
    unsigned count;
    char first[512];
};

static void note(void *arg, const char *sentence) {
    struct reports *reports = arg;
    REQUIRE(sentence && strlen(sentence) > 15 && !strchr(sentence, '\n'), "'%s' is no sentence", sentence ? sentence : "(null)");
    if (reports->count++ == 0) snprintf(reports->first, sizeof reports->first, "%s", sentence);
}

/* How many entries are there; those that are must be right. */
static unsigned count(const char *path) {
    struct millpond *pond = support_open(path, NULL);
    char key[SUPPORT_KEY_BYTES + 1];
    size_t bytes, got = 0;
    unsigned found = 0;
    for (uint64_t i = 0; i < ENTRIES; i++) {
        entry(i, key, value, &bytes);
        int result = millpond_get(pond, key, SUPPORT_KEY_BYTES, back, sizeof back, &got);
        if (result == MILLPOND_MISS) continue;
        REQUIRE(result == MILLPOND_OK && got == bytes && memcmp(back, value, bytes) == 0,
                "%s: entry %llu has other content after a repair (%d)", path, (unsigned long long)i, result);
        found++;
    }
    millpond_close(pond);
    return found;
}

Test(check, a_whole_file_is_whole_and_counted) {
    const char *path = make_pond("whole.pond");
    struct millpond_check check;
    struct reports reports = {0};
    char errmsg[MILLPOND_ERRMSG_BYTES];
    uint64_t bytes_right = 0;
    for (uint64_t i = 0; i < ENTRIES; i++) {
        char key[SUPPORT_KEY_BYTES + 1];
        size_t bytes;
        entry(i, key, value, &bytes);
        bytes_right += SUPPORT_KEY_BYTES + bytes;
    }
    for (unsigned flags = 0; flags <= MILLPOND_CHECK_REPAIR; flags++) {
        memset(&check, 0xEE, sizeof check);
        cr_assert_eq(millpond_check(path, flags, note, &reports, &check, errmsg), MILLPOND_OK);
        cr_assert(check.entries == ENTRIES && check.damages == 0 && check.repaired == 0 && reports.count == 0);
        cr_assert_eq(check.bytes, bytes_right);
    }
    cr_assert_eq(millpond_check(path, 0, NULL, NULL, NULL, NULL), MILLPOND_OK);
    cr_assert_eq(count(path), ENTRIES);
}

Test(check, an_empty_file_is_whole) {
    const char *path = support_path("empty.pond");
    millpond_close(support_create(path, 64 << 10));
    cr_assert_eq(support_require_whole(path).entries, 0);
}

Test(check, a_file_in_use_can_be_checked) {
    const char *path = support_path("used.pond");
    struct millpond *pond = support_create(path, 1 << 20);
    for (uint64_t i = 0; i < 20000; i++) {
        char key[SUPPORT_KEY_BYTES + 1];
        support_key(key, i);
        cr_assert_eq(millpond_set(pond, key, SUPPORT_KEY_BYTES, key, i % 24, 0), MILLPOND_OK);
        if (i % 2000 == 0) {
            struct millpond_stats stats;
            struct millpond_check check = support_require_whole(path);
            cr_assert_eq(millpond_stats(pond, -1, &stats), MILLPOND_OK);
            cr_assert(check.entries == stats.items && check.bytes == stats.bytes);
        }
    }
    millpond_close(pond);
}

Test(check, errors_of_opening_come_through) {
    char errmsg[MILLPOND_ERRMSG_BYTES] = "";
    struct millpond_check check;
    cr_assert_eq(millpond_check(support_path("missing.pond"), 0, NULL, NULL, &check, errmsg), MILLPOND_ERR_NO_FILE);
    cr_assert(strstr(errmsg, "missing.pond"), "'%s'", errmsg);
    cr_assert(support_write_file(support_path("text"), "hello", 5));
    cr_assert_eq(millpond_check(support_path("text"), 0, NULL, NULL, &check, errmsg), MILLPOND_ERR_NOT_A_POND);
    cr_assert_eq(millpond_check(NULL, 0, NULL, NULL, &check, errmsg), MILLPOND_ERR_ARGUMENT);
    const char *path = make_pond("arguments.pond");
    cr_assert_eq(millpond_check(path, 1u << 30, NULL, NULL, &check, errmsg), MILLPOND_ERR_ARGUMENT);
}

/* ---- damage ---- */

/* Finds the bytes of entry i's value in the file. A value in chunks is found by its beginning. */
static size_t find_value(const unsigned char *image, size_t bytes, uint64_t i) {
    char key[SUPPORT_KEY_BYTES + 1];
    size_t value_bytes;
    entry(i, key, value, &value_bytes);
    unsigned char *at = memmem(image, bytes, value, value_bytes < 64 ? value_bytes : 64);
    REQUIRE(at, "the value of entry %llu is not in the file", (unsigned long long)i);
    return (size_t)(at - image);
}

Test(check, a_damaged_value_is_found_named_and_removed_and_nothing_else_is) {
    const char *path = make_pond("values.pond");
    size_t bytes;
    unsigned char *whole = support_read_file(path, &bytes);
    struct support_random random = support_seed("damaged values");
    for (int round = 0; round < 60; round++) {
        unsigned char *image = malloc(bytes);
        memcpy(image, whole, bytes);
        uint64_t hurt[3];
        unsigned wounds = 1 + (unsigned)round % 3;
        for (unsigned k = 0; k < wounds; k++) {
            do hurt[k] = 20 + support_below(&random, ENTRIES - 20);
            while ((k > 0 && hurt[k] == hurt[0]) || (k > 1 && hurt[k] == hurt[1]));
            if (round % 5 == 4) hurt[k] = 7 + 50 * ((uint64_t)k + (uint64_t)round % 5); /* in chunks */
            size_t within = hurt[k] * 3 < 60 ? hurt[k] * 3 : 60;
            image[find_value(whole, bytes, hurt[k]) + support_below(&random, within)] ^= (unsigned char)(1 + support_below(&random, 255));
        }
        /* Over the file itself: a copy would start cold. */
        int fd = open(path, O_WRONLY | O_CLOEXEC);
        cr_assert(fd >= 0 && pwrite(fd, image, bytes, 0) == (ssize_t)bytes);
        close(fd);
        free(image);

        struct millpond_check check;
        struct reports reports = {0};
        cr_assert_eq(millpond_check(path, 0, note, &reports, &check, NULL), MILLPOND_DAMAGED, "round %d", round);
        cr_assert(check.damages >= wounds && check.repaired == 0 && reports.count == check.damages, "%llu damages, %u reports",
                  (unsigned long long)check.damages, reports.count);
        cr_assert_eq(millpond_check(path, 0, note, &reports, NULL, NULL), MILLPOND_DAMAGED, "looking repaired it");
        cr_assert_eq(millpond_check(path, MILLPOND_CHECK_REPAIR, note, &reports, &check, NULL), MILLPOND_DAMAGED);
        cr_assert_eq(check.repaired, check.damages);
        cr_assert_eq(support_require_whole(path).entries, ENTRIES - wounds, "round %d, '%s'", round, reports.first);
        cr_assert_eq(count(path), ENTRIES - wounds);
    }
    free(whole);
}

static int visit_count(void *arg, const struct millpond_entry *e) {
    char key[SUPPORT_KEY_BYTES + 1] = "";
    size_t bytes;
    memcpy(key, e->key, SUPPORT_KEY_BYTES);
    uint64_t i = strtoull(key + 4, NULL, 10);
    REQUIRE(i != 100, "the damaged entry is shown");
    entry(i, key, value, &bytes);
    REQUIRE(e->value_bytes == bytes && memcmp(e->value, value, bytes) == 0, "entry %llu is shown with other content",
            (unsigned long long)i);
    ((struct reports *)arg)->count++;
    return 0;
}

Test(check, a_scan_leaves_a_damaged_entry_out) {
    const char *path = make_pond("scanned.pond");
    size_t bytes;
    unsigned char *image = support_read_file(path, &bytes);
    size_t at = find_value(image, bytes, 100);
    unsigned char wrong = image[at + 5] ^ 0x40;
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    cr_assert(fd >= 0 && pwrite(fd, &wrong, 1, (off_t)at + 5) == 1);
    close(fd);
    free(image);
    struct millpond_options options = MILLPOND_OPTIONS_INIT;
    options.flags = MILLPOND_READONLY;
    struct millpond *pond = support_open(path, &options);
    struct reports shown = {0};
    cr_assert_eq(millpond_scan(pond, NULL, 0, 0, visit_count, &shown), MILLPOND_OK);
    cr_assert_eq(shown.count, ENTRIES - 1);
    millpond_close(pond);
}

/* Reads and writes whatever is there: no answer is required, only that there is one. */
static int use_damaged(void *arg) {
    const char *path = arg;
    struct millpond *pond = NULL;
    char errmsg[MILLPOND_ERRMSG_BYTES], key[SUPPORT_KEY_BYTES + 1];
    struct millpond_options options = MILLPOND_OPTIONS_INIT;
    options.lock_timeout_ms = 20;
    int result = millpond_open(&pond, path, &options, errmsg), busy = 0;
    if (result < 0) return 0;
    struct millpond_stats stats;
    millpond_stats(pond, -1, &stats);
    for (uint64_t i = 0; i < ENTRIES && busy < 10; i++) {
        size_t bytes = 0;
        support_key(key, i);
        result = millpond_get(pond, key, SUPPORT_KEY_BYTES, back, sizeof back, &bytes);
        REQUIRE(result <= 0 || result == MILLPOND_MISS || result == MILLPOND_TOO_SMALL, "get: %d", result);
        REQUIRE(result != MILLPOND_OK || bytes <= sizeof back, "get: %zu bytes", bytes);
        if (i % 4 == 0) busy += millpond_set(pond, key, SUPPORT_KEY_BYTES, key, i % 24, 0) == MILLPOND_ERR_BUSY;
        if (i % 7 == 0) millpond_delete(pond, key, SUPPORT_KEY_BYTES);
        if (i % 9 == 0) millpond_touch(pond, key, SUPPORT_KEY_BYTES, 1000);
    }
    for (uint64_t i = 0; i < 3000 && busy < 10; i++) { /* enough to evict what is damaged */
        support_key(key, 10000 + i);
        memset(back, 1, 1000);
        busy += millpond_set(pond, key, SUPPORT_KEY_BYTES, back, i % 1000, 0) == MILLPOND_ERR_BUSY;
    }
    millpond_close(pond);
    return 0;
}

static int repair(void *arg) {
    struct millpond_check check;
    struct reports reports = {0};
    char errmsg[MILLPOND_ERRMSG_BYTES];
    int result = millpond_check(arg, MILLPOND_CHECK_REPAIR, note, &reports, &check, errmsg);
    if (result < 0) { /* refused, with a sentence */
        REQUIRE(strlen(errmsg) > 30, "refused with %d and '%s'", result, errmsg);
        fprintf(stderr, "refused: %s\n", errmsg);
        return 1;
    }
    REQUIRE(result == MILLPOND_OK || result == MILLPOND_DAMAGED, "repair answers %d", result);
    /* What a repair leaves is whole and right. */
    struct reports after = {0};
    result = millpond_check(arg, 0, note, &after, &check, errmsg);
    REQUIRE(result == MILLPOND_OK, "after a repair: %d, %llu damages, first '%s'; before, first '%s'", result,
            (unsigned long long)check.damages, after.first, reports.first);
    count(arg);
    return 0;
}

/* Damages `path` (a fresh copy of its whole self each time) in many ways. Runs of wrong bytes, or single bits. */
static void damage_anything(const char *name, uint64_t from, uint64_t to, unsigned rounds) {
    const char *path = make_pond(name);
    size_t bytes;
    unsigned char *whole = support_read_file(path, &bytes), *image = malloc(bytes);
    struct support_random random = support_seed(name);
    unsigned refused = 0;
    if (to == 0) to = bytes;
    for (unsigned round = 0; round < rounds; round++) {
        uint64_t seed = random.state;
        for (int pass = 0; pass < 2; pass++) { /* used as it is; then, from the start, repaired */
            memcpy(image, whole, bytes);
            struct support_random wounds = {seed};
            for (unsigned k = 0; k < 1 + round % 8; k++) {
                size_t at = from + support_below(&wounds, to - from), run = round % 3 ? 1 : 1 + support_below(&wounds, 200);
                for (size_t i = at; i < at + run && i < to; i++)
                    image[i] = (unsigned char)(round % 2 ? image[i] ^ (1u << support_below(&wounds, 8)) : support_next(&wounds));
            }
            int fd = open(path, O_WRONLY | O_CLOEXEC);
            cr_assert(fd >= 0 && pwrite(fd, image, bytes, 0) == (ssize_t)bytes, "%s", strerror(errno));
            close(fd);
            char copy[4096];
            snprintf(copy, sizeof copy, "%s", path);
            int said = support_run_child(pass ? repair : use_damaged, copy, 30000);
            cr_assert(said == 0 || (pass && said == 1), "%s, round %u: %s ended with %d%s; seed %llu", name, round, pass ? "repair" : "use",
                      said, said == SUPPORT_LATE ? " (hung)" : "", (unsigned long long)seed);
            refused += said == 1;
        }
        support_next(&random);
    }
    fprintf(stderr, "%s: %u rounds, %u refused\n", name, rounds, refused);
    cr_assert_lt(refused, rounds);
    free(whole);
    free(image);
}

Test(check, damage_anywhere_neither_crashes_nor_hangs_and_is_repaired) { damage_anything("anywhere.pond", 0, 0, 150); }

Test(check, damage_behind_the_reader_slots_is_repaired) { damage_anything("shards.pond", 12288, 0, 150); }

Test(check, damage_in_the_first_pages_is_repaired_or_refused) { damage_anything("front.pond", 120, 32768, 150); }
