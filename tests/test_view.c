/* SPDX-License-Identifier: MIT */
/* Views: what they show, how long it stays, and that the rest of the cache goes on around them. */

#include "unit.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct millpond *pond;
static const char *path;

static void make(void) {
    struct millpond_options o = MILLPOND_OPTIONS_INIT;
    o.size_bytes = 16 << 20;
    o.max_item_bytes = 4 << 20;
    o.shards = 1;
    o.flags = MILLPOND_CREATE;
    path = support_path("view.pond");
    pond = support_open(path, &o);
}

static void unmake(void) { millpond_close(pond); }

TestSuite(view, .init = make, .fini = unmake, .timeout = 60);

/* Ten times what the file holds. */
static void flood(unsigned seed) {
    char key[32], value[1000];
    memset(value, (int)seed, sizeof value);
    for (unsigned i = 0; i < 160000; i++) {
        int n = snprintf(key, sizeof key, "flood-%u-%u", seed, i);
        cr_assert_eq(millpond_set(pond, key, (size_t)n, value, sizeof value, 0), MILLPOND_OK);
    }
}

static void pattern(unsigned char *to, size_t n, unsigned seed) {
    for (size_t i = 0; i < n; i++) to[i] = (unsigned char)((i * 131 + seed) >> 3);
}

static int shows(const struct millpond_view *v, const unsigned char *want, size_t n) {
    size_t at = 0;
    for (size_t i = 0; i < v->piece_count; i++) {
        if (at + v->pieces[i].count > n || memcmp(v->pieces[i].bytes, want + at, v->pieces[i].count) != 0) return 0;
        at += v->pieces[i].count;
    }
    return at == n && v->value_bytes == n;
}

Test(view, shows_the_value_and_a_miss_is_a_miss) {
    struct millpond_view v;
    cr_assert_eq(millpond_view(pond, "k", 1, &v), MILLPOND_MISS);
    millpond_set(pond, "k", 1, "value", 5, 0);
    cr_assert_eq(millpond_view(pond, "k", 1, &v), MILLPOND_OK);
    cr_expect_eq(v.value_bytes, 5);
    cr_expect_eq(v.piece_count, 1);
    cr_expect(memcmp(v.value, "value", 5) == 0);
    millpond_view_release(&v);
    millpond_view_release(&v);
    millpond_view_release(NULL);
}

Test(view, of_a_counter_shows_its_text) {
    struct millpond_incr make_it = {40, 0};
    struct millpond_view v;
    millpond_incr(pond, "n", 1, 2, &make_it, NULL);
    cr_assert_eq(millpond_view(pond, "n", 1, &v), MILLPOND_OK);
    cr_expect_eq(v.value_bytes, 2);
    cr_expect(memcmp(v.value, "42", 2) == 0);
    millpond_view_release(&v);
}

/* Short key, short value: the bytes right behind the header, where a hole keeps its links. */
Test(view, stays_whatever_happens_to_the_key) {
    struct millpond_view v;
    millpond_set(pond, "k", 1, "abcdefgh", 8, 0);
    cr_assert_eq(millpond_view(pond, "k", 1, &v), MILLPOND_OK);
    millpond_set(pond, "k", 1, "ABCDEFGH", 8, 0);
    cr_expect(memcmp(v.value, "abcdefgh", 8) == 0);
    millpond_delete(pond, "k", 1);
    for (unsigned i = 0; i < 1000; i++) millpond_set(pond, "k", 1, &i, sizeof i, 0);
    cr_expect(memcmp(v.value, "abcdefgh", 8) == 0);
    flood(1);
    cr_expect(memcmp(v.value, "abcdefgh", 8) == 0);
    cr_expect_eq(millpond_clear(pond), MILLPOND_OK);
    flood(2);
    cr_expect(memcmp(v.value, "abcdefgh", 8) == 0);
    millpond_view_release(&v);
}

Test(view, of_a_large_value_shows_all_its_pieces_for_as_long_as_it_is_held) {
    size_t n = 1 << 20;
    unsigned char *value = malloc(n);
    struct millpond_view v;
    pattern(value, n, 7);
    cr_assert_eq(millpond_set(pond, "large", 5, value, n, 0), MILLPOND_OK);
    cr_assert_eq(millpond_view(pond, "large", 5, &v), MILLPOND_OK);
    cr_expect_gt(v.piece_count, 1);
    cr_expect_null(v.value);
    cr_expect(shows(&v, value, n));
    millpond_delete(pond, "large", 5);
    flood(3);
    cr_expect(shows(&v, value, n));
    millpond_view_release(&v);
    free(value);
}

Test(view, too_many_are_refused_and_released_ones_make_room) {
    struct millpond_view views[64];
    char key[16];
    int got = 0, result = MILLPOND_OK;
    for (int i = 0; i < 64; i++) millpond_set(pond, key, (size_t)snprintf(key, sizeof key, "k%d", i), "v", 1, 0);
    while (got < 64 && (result = millpond_view(pond, key, (size_t)snprintf(key, sizeof key, "k%d", got), &views[got])) == MILLPOND_OK)
        got++;
    cr_expect_eq(result, MILLPOND_ERR_PINNED);
    cr_expect_geq(got, 16);
    millpond_view_release(&views[0]);
    cr_expect_eq(millpond_view(pond, "k0", 2, &views[0]), MILLPOND_OK);
    for (int i = 0; i < got; i++) millpond_view_release(&views[i]);
}

Test(view, of_a_read_only_handle_is_refused) {
    struct millpond_options o = MILLPOND_OPTIONS_INIT;
    struct millpond *reader;
    struct millpond_view v;
    o.flags = MILLPOND_READONLY;
    millpond_set(pond, "k", 1, "v", 1, 0);
    cr_assert_eq(millpond_open(&reader, path, &o, NULL), MILLPOND_OK);
    cr_expect_eq(millpond_view(reader, "k", 1, &v), MILLPOND_ERR_READ_ONLY);
    millpond_close(reader);
}

static int hold_a_view(void *arg) {
    struct millpond_view v;
    char ok = millpond_view(pond, "held", 4, &v) == MILLPOND_OK ? 'y' : 'n';
    if (write(*(int *)arg, &ok, 1) != 1) return 1;
    for (;;) pause();
}

/* A child takes a view and stops for ever; the cache is cycled ten times around it; killed, it holds nothing back. */
Test(view, of_a_stopped_process_holds_back_only_its_segment_and_of_a_dead_one_nothing) {
    struct millpond_stats before, after;
    millpond_set(pond, "held", 4, "held value", 10, 0);
    int told[2];
    cr_assert_eq(pipe(told), 0);
    pid_t child = support_fork(hold_a_view, &told[1]);
    char ok = 0;
    cr_assert_eq(read(told[0], &ok, 1), 1);
    cr_assert_eq(ok, 'y');
    kill(child, SIGSTOP);
    flood(4);
    millpond_stats(pond, -1, &before);
    cr_expect_gt(before.items, 10000);
    support_kill(child);
    flood(5);
    millpond_stats(pond, -1, &after);
    cr_expect_gt(after.items, 10000);
    support_require_whole(path);
}
