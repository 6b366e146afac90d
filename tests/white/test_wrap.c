/* SPDX-License-Identifier: MIT */
/* What is counted in 32 bits or less begins anew at zero some day: a shard's sequence numbers after 2^32 stores, a bucket's version, a
 * segment's epoch, the number of moves, the generation of holes. Here that day is near. */

#include "white.h"

static struct white *w;
static struct pond_ref ref;

static void with_shape(const struct white_shape *shape) {
    w = white_new(shape);
    ref = pond_ref_of(&w->map, 0);
    ref.shard->sequence = UINT32_MAX - 3000;
    ref.shard->moves = UINT32_MAX - 1000;
    ref.shard->hole_generation = (1u << POND_ENTRY_CHECK_BITS) - 1;
    for (uint32_t b = 0; b < ref.g->bucket_count; b++) ref.buckets[b].version = UINT32_MAX - b % 4;
    for (uint32_t i = 0; i < ref.g->segment_count; i++) ref.table[i].epoch = UINT32_MAX - i % 2;
}
static void end(void) { white_free(w); }

TestSuite(wrap, .fini = end);

/* The key's value, or a miss: white_expect() judges the bytes. */
static void change_at_random(struct support_random *random, uint64_t keys) {
    uint64_t key = support_below(random, keys);
    if (support_below(random, 6) == 0)
        white_delete(w, key);
    else
        cr_assert_eq(white_put(w, key, 1, key % 9 ? key % 300 : 20000, 0), MILLPOND_OK);
    key = support_below(random, keys);
    white_expect(w, key, 1, key % 9 ? key % 300 : 20000);
}

Test(wrap, entries_come_and_go_and_segments_are_recycled) {
    struct support_random random = support_seed("wrap");
    with_shape(&(struct white_shape){.size_bytes = 1 << 20, .segment_bytes = 8 << 10});
    for (int round = 0; round < 40; round++) {
        for (int i = 0; i < 300; i++) change_at_random(&random, 4000);
        pond_recover_shard(&ref); /* a generation of holes ends */
        white_require_whole(&ref);
    }
    unsigned epochs = 0, versions = 0;
    for (uint32_t i = 0; i < ref.g->segment_count; i++) epochs += ref.table[i].epoch < 1000;
    for (uint32_t b = 0; b < ref.g->bucket_count; b++) versions += ref.buckets[b].version < 100000;
    cr_assert_lt(ref.shard->sequence, 100000);
    cr_assert_lt(ref.shard->hole_generation, 1000);
    cr_assert(epochs > ref.g->segment_count / 2 && versions > ref.g->bucket_count / 2, "%u epochs, %u versions", epochs, versions);
}

Test(wrap, versions_that_users_see_are_never_zero_and_differ_across_it) {
    with_shape(&(struct white_shape){.size_bytes = 1 << 20});
    ref.shard->sequence = UINT32_MAX - 20;
    uint64_t before = 0;
    for (uint64_t i = 0; i < 40; i++) {
        char text[24], value[8];
        struct pond_key k = white_key(w, 7, text);
        uint64_t version = 0;
        struct millpond_set stale = {.when = MILLPOND_IF_VERSION, .version = before}, right = stale;
        cr_assert_eq(white_put(w, 7, i, 8, 0), MILLPOND_OK);
        cr_assert_eq(pond_read_get(&w->map, &k, value, sizeof value, NULL, &version), MILLPOND_OK);
        cr_assert(version != 0 && version != before, "version %llu after %llu", (unsigned long long)version, (unsigned long long)before);
        if (before) cr_assert_eq(pond_write_set(&w->map, 1000, &k, "x", 1, &stale), MILLPOND_CHANGED);
        right.version = version;
        cr_assert_eq(pond_write_set(&w->map, 1000, &k, "y", 1, &right), MILLPOND_OK);
        before = right.version;
    }
}
