/* SPDX-License-Identifier: MIT */
/* test_soak.c: the judgement of a soak notices what it is there to notice. Without this a soak that passes would prove nothing. */
#include "soak.h"

#include <criterion/criterion.h>
#include <criterion/redirect.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { KEY = 7, OTHER = 8, MORTAL = 15, KEYS = 32 };

static char folder[64], file[96];
static struct soak soak;
static struct soaker soaker;
static unsigned char value[200 << 10];

static void begin(void) {
    char errmsg[MILLPOND_ERRMSG_BYTES];
    struct millpond_options options = MILLPOND_OPTIONS_INIT;
    const char *place = getenv("TMPDIR");
    cr_redirect_stderr();
    snprintf(folder, sizeof folder, "%.40s/bench-soak-XXXXXX", place && *place ? place : "/tmp");
    cr_assert_not_null(mkdtemp(folder));
    snprintf(file, sizeof file, "%s/pond", folder);
    options.size_bytes = 4 << 20;
    options.flags = MILLPOND_CREATE;
    memset(&soak, 0, sizeof soak);
    cr_assert_eq(millpond_open(&soak.pond, file, &options, errmsg), MILLPOND_OK, "%s", errmsg);
    soak.workers = 1;
    soak.keys_each = soak.key_count = KEYS;
    soak.value_bytes_max = 100000;
    soak.shared = host_shared(sizeof *soak.shared + KEYS * sizeof *soak.shared->keys);
    soaker_init(&soaker, &soak, 0);
}

static void end(void) {
    soaker_free(&soaker);
    millpond_close(soak.pond);
    host_remove_folder(folder);
}

TestSuite(soak, .init = begin, .fini = end);

static uint64_t failed(enum soak_check check) {
    return host_count_read(&soaker.slot->failed[check]);
}

static uint64_t all_failed(void) {
    uint64_t sum = 0;
    for (unsigned check = 0; check < SOAK_CHECK_COUNT; check++)
        sum += host_count_read(&soaker.slot->failed[check]);
    return sum;
}

/* What the owner of a key would have noted after writes up to `issued`, of which `acked` returned. */
static void note(uint64_t key, uint64_t issued, uint64_t acked, bool present) {
    struct soak_key *known = &soak.shared->keys[key];
    atomic_store(&known->issued, issued);
    atomic_store(&known->acked, soak_state(acked, present));
    atomic_store(&known->intent, issued == acked ? soak_state(acked, present) : soak_state(issued, true));
    if (!present)
        atomic_store(&known->deleted, acked);
}

static void store(uint64_t key, const void *bytes, size_t count) {
    char name[32];
    size_t name_bytes = soak_key_name(name, key);
    cr_assert_eq(millpond_set(soak.pond, name, name_bytes, bytes, count, 0), MILLPOND_OK);
}

static void store_write(uint64_t key, uint64_t number) {
    store(key, value, soak_value_make(&soak, value, key, number, 0));
}

Test(soak, a_right_value_passes) {
    note(KEY, 5, 5, true);
    store_write(KEY, 5);
    soak_read(&soaker, KEY);
    cr_assert_eq(all_failed(), 0);
    cr_assert_eq(host_count_read(&soaker.slot->passed[SOAK_fresh]), 1);
}

Test(soak, a_wrong_byte_anywhere_is_seen) {
    size_t bytes = soak_value_make(&soak, value, KEY, 5, 0);
    note(KEY, 5, 5, true);
    for (size_t at = 0; at < bytes; at++) {
        value[at] ^= 0x10;
        store(KEY, value, bytes);
        soak_read(&soaker, KEY);
        cr_assert_eq(failed(SOAK_whole), at + 1, "byte %zu", at);
        value[at] ^= 0x10;
    }
}

Test(soak, halves_of_two_writes_are_torn) {
    size_t bytes = soak_value_make(&soak, value, KEY, 4, 0);
    unsigned char *next = malloc(sizeof value);
    cr_assert_eq(soak_value_make(&soak, next, KEY, 6, 0), bytes); /* even numbers keep the key's own size */
    memcpy(value + bytes / 2, next + bytes / 2, bytes - bytes / 2);
    free(next);
    note(KEY, 6, 4, true);
    store(KEY, value, bytes);
    soak_read(&soaker, KEY);
    cr_assert_eq(failed(SOAK_whole), 1);
}

Test(soak, a_value_that_was_cut_is_torn) {
    size_t bytes = soak_value_make(&soak, value, KEY, 4, 0);
    note(KEY, 4, 4, true);
    store(KEY, value, bytes - 1);
    soak_read(&soaker, KEY);
    store(KEY, value, 3);
    soak_read(&soaker, KEY);
    cr_assert_eq(failed(SOAK_whole), 2);
}

Test(soak, another_keys_value_is_foreign) {
    note(KEY, 5, 5, true);
    note(OTHER, 5, 5, true);
    store(KEY, value, soak_value_make(&soak, value, OTHER, 5, 0));
    soak_read(&soaker, KEY);
    cr_assert_eq(failed(SOAK_own), 1);
    cr_assert_eq(failed(SOAK_whole), 0);
}

Test(soak, a_value_older_than_an_acknowledged_write_is_stale) {
    note(KEY, 6, 6, true);
    store_write(KEY, 5);
    soak_read(&soaker, KEY);
    cr_assert_eq(failed(SOAK_fresh), 1);
}

Test(soak, a_value_older_than_an_acknowledged_delete_is_stale) {
    note(KEY, 6, 6, false);
    store_write(KEY, 5);
    soak_read(&soaker, KEY);
    cr_assert_eq(failed(SOAK_fresh), 1);
}

Test(soak, a_write_under_way_may_show_or_not) {
    note(KEY, 6, 5, true);
    store_write(KEY, 5);
    soak_read(&soaker, KEY);
    store_write(KEY, 6);
    soak_read(&soaker, KEY);
    cr_assert_eq(all_failed(), 0);
    store_write(KEY, 5); /* but once it was seen it does not go away */
    soak_read(&soaker, KEY);
    cr_assert_eq(failed(SOAK_forward), 1);
}

Test(soak, a_write_that_nobody_began_is_noticed) {
    note(KEY, 6, 6, true);
    store_write(KEY, 7);
    soak_read(&soaker, KEY);
    cr_assert_eq(failed(SOAK_begun), 1);
}

Test(soak, a_lost_entry_is_noticed) {
    note(KEY, 6, 6, true);
    soak_read(&soaker, KEY);
    cr_assert_eq(failed(SOAK_misses), 1);
}

Test(soak, a_delete_explains_a_miss_even_before_it_returns) {
    note(KEY, 6, 6, false);
    soak_read(&soaker, KEY);
    note(OTHER, 6, 6, true);
    atomic_store(&soak.shared->keys[OTHER].deleted, 7);
    soak_read(&soaker, OTHER);
    cr_assert_eq(all_failed(), 0);
}

Test(soak, an_expired_value_is_noticed) {
    note(MORTAL, 6, 6, true);
    cr_assert(soak_is_mortal(MORTAL));
    store(MORTAL, value, soak_value_make(&soak, value, MORTAL, 6, soak_clock_ms() - 1000));
    soak_read(&soaker, MORTAL);
    cr_assert_eq(failed(SOAK_timely), 1);
    store(MORTAL, value, soak_value_make(&soak, value, MORTAL, 6, soak_clock_ms() + 60000));
    soak_read(&soaker, MORTAL);
    cr_assert_eq(failed(SOAK_timely), 1);
}

static void store_number(const char *name, uint64_t number) {
    uint64_t cell[2] = {number, mix64(number)};
    char text[32];
    if (name[0] == 'c' && name[1] == 'e') {
        cr_assert_eq(millpond_set(soak.pond, name, strlen(name), cell, sizeof cell, 0), MILLPOND_OK);
        return;
    }
    snprintf(text, sizeof text, "%llu", (unsigned long long)number);
    cr_assert_eq(millpond_set(soak.pond, name, strlen(name), text, strlen(text), 0), MILLPOND_OK);
}

/* Ten begun, of which nine returned: nine or ten is right. */
static uint64_t wrong_sums(uint64_t number) {
    uint64_t before = failed(SOAK_sums);
    for (unsigned i = 0; i < SOAK_COUNTERS; i++) {
        char name[32];
        snprintf(name, sizeof name, "counter:%u", i);
        store_number(name, number);
        snprintf(name, sizeof name, "cell:%u", i);
        store_number(name, number);
        atomic_store(&soak.shared->counters[i].issued[0], 10);
        atomic_store(&soak.shared->counters[i].acked[0], 9);
        atomic_store(&soak.shared->cells[i].issued[0], 10);
        atomic_store(&soak.shared->cells[i].acked[0], 9);
    }
    soak_verify_all(&soaker);
    return failed(SOAK_sums) - before;
}

Test(soak, at_the_end_sums_lie_between_what_returned_and_what_was_begun) {
    cr_assert_eq(wrong_sums(8), SOAK_COUNTERS + SOAK_CELLS);
    cr_assert_eq(wrong_sums(9), 0);
    cr_assert_eq(wrong_sums(10), 0);
    cr_assert_eq(wrong_sums(11), SOAK_COUNTERS + SOAK_CELLS);
}

Test(soak, at_the_end_every_key_has_its_last_acknowledged_state) {
    note(KEY, 6, 6, true);
    store_write(KEY, 6);
    soak_verify_all(&soaker);
    cr_assert_eq(failed(SOAK_kept), 0);
    note(KEY, 6, 5, true); /* killed during 6: either is right */
    soak_verify_all(&soaker);
    cr_assert_eq(failed(SOAK_kept), 0);
    note(KEY, 6, 6, false); /* a delete that came back to life */
    soak_verify_all(&soaker);
    cr_assert_eq(failed(SOAK_kept), 1);
    note(OTHER, 3, 3, true); /* lost */
    soak_verify_all(&soaker);
    cr_assert_eq(failed(SOAK_kept), 3);
}
