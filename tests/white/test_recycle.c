/* SPDX-License-Identifier: MIT */
/* lib/recycle.c: making room costs each write a bounded amount, takes what is used least, and leaves nothing that is named behind in a
 * segment that is used again. */

#include "group.h"
#include "white.h"

static struct white *w;
static struct pond_ref ref;
static struct pond_paid paid;

static void with_shape(const struct white_shape *shape) {
    w = white_new(shape);
    ref = pond_ref_of(&w->map, 0);
}
/* 4 MiB, some 200 segments; memory runs out before the index does. */
static void begin(void) { with_shape(&(struct white_shape){.size_bytes = 4 << 20, .segment_bytes = 16 << 10, .entry_bytes = 60}); }
static void end(void) { white_free(w); }

TestSuite(recycle, .init = begin, .fini = end);

static const struct pond_shard_counters *counters(void) { return &ref.shard->counters; }
static uint64_t capacity_bytes(void) { return (uint64_t)ref.g->segment_count * ref.g->segment_bytes; }

/* Values of so many bytes that fill the memory once. */
static uint64_t items_that_fit(size_t value_bytes) { return capacity_bytes() / (value_bytes + 24); }

/* ---- pacing ---- */

/* An instalment. */
static uint64_t step_bound(size_t value_bytes) { return POND_STEP_ENTRIES_MAX + (value_bytes + 64) / POND_UNIT_BYTES / POND_STEP_UNITS; }

Test(recycle, no_write_examines_more_entries_than_its_instalment) {
    struct support_random random = support_seed("pacing");
    uint64_t total = 0;
    for (uint64_t i = 0; total < 6 * capacity_bytes(); i++) {
        size_t bytes = support_log_size(&random, 1, 500);
        uint64_t key = support_below(&random, 3) ? i : support_below(&random, 20000);
        cr_assert_eq(white_put(w, key, i, bytes, 0), MILLPOND_OK);
        if (support_below(&random, 2)) white_expect(w, key, i, bytes);
        total += bytes + 24;
    }
    cr_assert_eq(counters()->stalls, 0, "%llu writes had to free a whole segment at once", (unsigned long long)counters()->stalls);
    cr_assert_leq(counters()->steps_max, step_bound(500), "a write examined %llu entries", (unsigned long long)counters()->steps_max);
    cr_assert_gt(counters()->evictions, 10000);
    /* Bytes copied: at most the entries of one instalment. */
    cr_assert_leq(counters()->step_bytes_max, step_bound(500) * 560, "a write copied %llu bytes",
                  (unsigned long long)counters()->step_bytes_max);
    white_require_whole(&ref);
}

Test(recycle, large_entries_are_paid_for_in_proportion) {
    struct support_random random = support_seed("large entries");
    uint64_t total = 0;
    for (uint64_t i = 0; total < 5 * capacity_bytes(); i++) {
        size_t bytes = i % 4 ? support_log_size(&random, 1, 200) : support_log_size(&random, 2000, 3900);
        cr_assert_eq(white_put(w, i, i, bytes, 0), MILLPOND_OK);
        total += bytes + 24;
    }
    cr_assert_leq(counters()->steps_max, step_bound(3900), "a write examined %llu entries", (unsigned long long)counters()->steps_max);
    cr_assert_eq(counters()->stalls, 0);
    white_require_whole(&ref);
}

/* The bound of recycle.c for a value in chunks: its instalment, and the walks of as many victims as segments that it may fill take. */
static uint64_t large_bound(size_t value_bytes, uint64_t segment_entries) {
    return step_bound(value_bytes) + pond_large_segments(ref.g, 8, value_bytes) * POND_FORCE_VICTIMS * 2 * segment_entries;
}

/* One in fifty goes into chunks, up to a dozen segments. */
static size_t mixed_bytes(uint64_t key) {
    uint64_t lot = pond_mix(key + 1);
    return key % 50 ? 100 + lot % 400 : 5000 + lot % 195000;
}

Test(recycle, the_most_that_a_write_paid_counts_all_segments_that_it_freed) {
    struct support_random random = support_seed("whole sets");
    uint64_t total = 0, most = 0, most_bytes = 0, stalls = 0, several = 0;
    for (uint64_t i = 0; total < 8 * capacity_bytes(); i++) {
        size_t bytes = mixed_bytes(i);
        struct pond_shard_counters before = *counters();
        cr_assert_eq(white_put(w, i, i, bytes, 0), MILLPOND_OK);
        uint64_t entries = counters()->steps - before.steps, copied = counters()->bytes_copied - before.bytes_copied;
        most = entries > most ? entries : most;
        most_bytes = copied > most_bytes ? copied : most_bytes;
        stalls += counters()->stalls - before.stalls > 1;
        several += counters()->stalls > before.stalls && bytes > 4 * ref.g->segment_bytes;
        if (counters()->stalls == before.stalls)
            cr_assert_leq(entries, step_bound(bytes), "%llu entries for %zu bytes", (unsigned long long)entries, bytes);
        cr_assert_leq(entries, large_bound(bytes, ref.g->segment_bytes / 120), "%llu entries for %zu bytes", (unsigned long long)entries,
                      bytes);
        for (uint64_t k = 0; k < 3; k++) {
            uint64_t key = i - support_below(&random, i < 3000 ? i + 1 : 3000);
            white_expect(w, key, key, mixed_bytes(key));
        }
        total += bytes + 24;
    }
    cr_assert_gt(several, 10, "%llu sets freed several segments", (unsigned long long)several);
    cr_assert_eq(stalls, 0, "a write is one stall, whatever it frees");
    cr_assert_eq(counters()->steps_max, most);
    cr_assert_eq(counters()->step_bytes_max, most_bytes);
    white_require_whole(&ref);
}

Test(recycle, a_reserve_of_free_segments_is_kept) {
    unsigned empty = 0;
    uint64_t n = items_that_fit(100) * 4;
    for (uint64_t i = 0; i < n; i++) {
        white_put(w, i, 1, 100, 0);
        empty += i > n / 2 && ref.shard->free_count == 0;
    }
    cr_assert_lt(empty, n / 100, "none was free after %u of %llu writes", empty, (unsigned long long)n);
}

/* ---- who stays ---- */

Test(recycle, a_working_set_that_fits_is_never_evicted_by_overwrites) {
    uint64_t keys = items_that_fit(150) * 70 / 100;
    uint64_t *versions = calloc(keys, sizeof *versions);
    struct support_random random = support_seed("overwrites");
    for (uint64_t i = 0; i < keys * 12; i++) {
        uint64_t key = i < keys ? i : support_below(&random, keys);
        versions[key] = i;
        cr_assert_eq(white_put(w, key, i, 100 + (key + i / 7) % 100, 0), MILLPOND_OK);
    }
    cr_assert_eq(counters()->evictions, 0, "%llu were evicted", (unsigned long long)counters()->evictions);
    for (uint64_t key = 0; key < keys; key++)
        cr_assert_eq(white_expect(w, key, versions[key], 100 + (key + versions[key] / 7) % 100), MILLPOND_OK, "key %llu is gone",
                     (unsigned long long)key);
    white_require_whole(&ref);
    free(versions);
}

Test(recycle, a_working_set_that_fits_stays_when_keys_are_deleted_and_come_back) {
    uint64_t keys = items_that_fit(150) * 60 / 100;
    unsigned char *there = calloc(keys, 1);
    struct support_random random = support_seed("deletes");
    for (uint64_t i = 0; i < keys * 12; i++) {
        uint64_t key = support_below(&random, keys);
        if (there[key] && support_below(&random, 3) == 0) {
            cr_assert_eq(white_delete(w, key), MILLPOND_OK);
            there[key] = 0;
        } else {
            cr_assert_eq(white_put(w, key, 1, 50 + key % 200, 0), MILLPOND_OK);
            there[key] = 1;
        }
    }
    cr_assert_eq(counters()->evictions, 0, "%llu were evicted", (unsigned long long)counters()->evictions);
    for (uint64_t key = 0; key < keys; key++)
        cr_assert_eq(white_expect(w, key, 1, 50 + key % 200), there[key] ? MILLPOND_OK : MILLPOND_MISS);
    white_require_whole(&ref);
    free(there);
}

Test(recycle, what_is_read_often_survives_a_flood) {
    uint64_t fit = items_that_fit(100), hot = fit / 20, found = 0;
    for (uint64_t i = 0; i < hot; i++) white_put(w, i, 1, 100, 0);
    for (uint64_t i = 0; i < fit * 4; i++) {
        white_put(w, hot + i, 1, 100, 0);
        for (uint64_t k = 0; k < 3; k++) white_expect(w, (3 * i + k) % hot, 1, 100); /* some six times while it is in the small queue */
    }
    for (uint64_t i = 0; i < hot; i++) found += white_expect(w, i, 1, 100) == MILLPOND_OK;
    cr_assert_gt(found * 100, hot * 97, "%llu of %llu hot ones", (unsigned long long)found, (unsigned long long)hot);
    cr_assert_gt(counters()->evictions, fit * 2);
    white_require_whole(&ref);
}

/* Sets new keys until one segment is free; returns how many. */
static uint64_t fill_up(uint64_t ttl_ms) {
    uint64_t i = 0;
    while (ref.shard->free_count > 1 || pond_segment_open_room(&ref, POND_SMALL, 0) == 0) {
        cr_assert_eq(ref.shard->walk.victim, 0);
        white_put(w, i, 1, 100, 0);
        if (i++ == 0 && ttl_ms) white_put(w, UINT64_C(1) << 40, 1, 100, ttl_ms);
    }
    return i;
}

Test(recycle, a_walk_begins_when_one_segment_is_free_and_half_of_the_open_one_full) {
    uint64_t at = fill_up(0);
    cr_assert(pond_recycle_idle(&ref), "the open one has room yet");
    for (uint32_t room = ref.g->segment_units; ref.shard->walk.victim == 0; at++) {
        cr_assert_geq(room + 32, ref.g->segment_units / 2, "no walk with room for %u units", room);
        cr_assert_eq(ref.shard->free_count, 1);
        room = pond_segment_open_room(&ref, POND_SMALL, 0);
        white_put(w, at, 1, 100, 0);
    }
    cr_assert_leq(pond_segment_open_room(&ref, POND_SMALL, 0), ref.g->segment_units / 2);
    for (uint32_t i = 0; i < 400 && ref.shard->free_count < 2; i++) white_put(w, at + i, 1, 100, 0);
    cr_assert_eq(ref.shard->free_count, 2, "done before the open one is full");
    cr_assert_eq(counters()->stalls, 0);
}

Test(recycle, a_walk_begins_at_once_where_segments_for_what_expires_are_open_too) {
    uint64_t at = fill_up(3600000);
    cr_assert_neq(
        ref.shard->open[POND_SMALL][1] | ref.shard->open[POND_SMALL][2] | ref.shard->open[POND_SMALL][3] | ref.shard->open[POND_SMALL][4],
        0);
    cr_assert(!pond_recycle_idle(&ref));
    white_put(w, at, 1, 100, 0);
    cr_assert_neq(ref.shard->walk.victim, 0);
}

Test(recycle, what_was_read_once_in_the_small_queue_leaves_with_it) {
    uint64_t fit = items_that_fit(100), found = 0;
    for (uint64_t i = 0; i < fit * 3; i++) {
        white_put(w, i, 1, 100, 0);
        white_expect(w, i, 1, 100);
    }
    for (uint64_t i = 0; i < fit; i++) found += white_expect(w, i, 1, 100) == MILLPOND_OK;
    cr_assert_lt(found * 100, fit * 5, "%llu of %llu that were read once are still there", (unsigned long long)found,
                 (unsigned long long)fit);
}

Test(recycle, who_comes_back_soon_goes_to_the_main_queue) {
    uint64_t fit = items_that_fit(100);
    for (uint64_t i = 0; i < fit * 2; i++) white_put(w, i, 1, 100, 0);
    uint64_t before = counters()->ghost_hits, back = 0;
    /* The ones that left last: just behind the oldest that is still there. */
    uint64_t oldest = 0;
    while (white_expect(w, oldest, 1, 100) != MILLPOND_OK) oldest++;
    for (uint64_t i = 0; i < 200; i++) {
        char text[24];
        uint64_t key = oldest - 201 + i;
        struct pond_key k = white_key(w, key, text);
        struct pond_place place = pond_place_of(ref.g, k.hash);
        struct pond_spot spot;
        if (white_expect(w, key, 1, 100) == MILLPOND_OK) continue;
        white_put(w, key, 2, 100, 0);
        struct pond_cursor cursor = pond_index_cursor(&ref, &place);
        if (pond_index_next(&ref, &place, &cursor, &spot))
            back += pond_segment_queue(&ref.table[pond_segment_of(ref.g, pond_slot_where(spot.word))]) == POND_MAIN;
    }
    cr_assert_gt(counters()->ghost_hits - before, 150, "%llu ghosts were known", (unsigned long long)(counters()->ghost_hits - before));
    cr_assert_gt(back, 150, "%llu went to the main queue", (unsigned long long)back);
}

Test(recycle, hot_segments_are_kept_without_copying) {
    uint64_t fit = items_that_fit(100), hot = fit / 2;
    for (uint64_t i = 0; i < hot; i++) {
        white_put(w, i, 1, 100, 0);
        for (int k = 0; k < 3; k++) white_expect(w, i, 1, 100);
    }
    for (uint64_t i = 0; i < fit * 4; i++) {
        white_put(w, hot + i, 1, 100, 0);
        white_expect(w, i % hot, 1, 100);
    }
    cr_assert_gt(counters()->relinks, 10, "%llu relinks", (unsigned long long)counters()->relinks);
    white_require_whole(&ref);
}

/* ---- dead and expired ---- */

Test(recycle, expired_segments_are_freed_and_nothing_is_copied) {
    uint64_t fit = items_that_fit(100);
    for (uint64_t i = 0; i < fit / 2; i++) white_put(w, i, 1, 100, 1000);
    uint32_t free_before = ref.shard->free_count;
    w->map.living->clock_high_ms += 2000;
    for (uint64_t i = 0; i < fit * 9 / 10; i++) white_put(w, fit + i, 1, 100, 0);
    cr_assert_eq(counters()->evictions, 0, "live ones left instead");
    cr_assert_eq(counters()->bytes_copied, 0);
    cr_assert_gt(counters()->expirations, fit / 3);
    cr_assert_gt(free_before, 0);
    white_require_whole(&ref);
}

Test(recycle, after_many_deletes_segments_are_packed_and_nobody_leaves) {
    uint64_t fit = items_that_fit(100), keys = fit * 85 / 100;
    for (uint64_t i = 0; i < keys; i++) white_put(w, i, 1, 100, 0);
    pond_segment_rebuild(&ref); /* a recovery: its holes are forgotten */
    for (uint64_t i = 0; i < keys; i++)
        if (i % 4) white_delete(w, i);
    pond_segment_rebuild(&ref);
    for (uint64_t i = 0; i < fit / 3; i++) cr_assert_eq(white_put(w, fit + i, 1, 100, 0), MILLPOND_OK);
    cr_assert_eq(counters()->evictions, 0, "%llu were evicted from a file that is half empty", (unsigned long long)counters()->evictions);
    for (uint64_t i = 0; i < keys; i += 4) cr_assert_eq(white_expect(w, i, 1, 100), MILLPOND_OK);
    for (uint64_t i = 0; i < fit / 3; i++) cr_assert_eq(white_expect(w, fit + i, 1, 100), MILLPOND_OK);
    white_require_whole(&ref);
}

/* ---- at once ---- */

Test(recycle, forcing_frees_a_segment_whatever_lives_in_it) {
    uint64_t fit = items_that_fit(100);
    for (uint64_t i = 0; i < fit * 2; i++) {
        white_put(w, i, 1, 100, 0);
        for (int k = 0; k < 3; k++) white_expect(w, i, 1, 100); /* all is hot */
    }
    for (int i = 0; i < 50; i++) {
        uint32_t before = ref.shard->free_count;
        cr_assert(pond_recycle_force(&ref, &paid));
        cr_assert_gt(ref.shard->free_count, before);
        white_require_whole(&ref);
    }
}

Test(recycle, forcing_gives_up_when_everything_is_pinned) {
    end();
    with_shape(&(struct white_shape){.size_bytes = 64 << 10, .segment_bytes = 4096});
    for (uint64_t i = 0; i < 200; i++) white_put(w, i, 1, 100, 0);
    white_pin(w, &ref);
    uint64_t *pins = w->map.readers[3].pin;
    cr_assert_leq(ref.g->segment_count, POND_READER_PINS);
    for (uint32_t i = 0; i < ref.g->segment_count; i++) pins[i] = i + 1;
    while (ref.shard->free_count > 0 && white_put(w, 1000, 1, 900, 0) == MILLPOND_OK) white_delete(w, 1000);
    cr_assert(!pond_recycle_force(&ref, &paid));
    white_require_whole(&ref);
    memset(pins, 0, sizeof w->map.readers[3].pin);
    cr_assert(pond_recycle_force(&ref, &paid));
}

static void *pin_all_and_end(void *unused) {
    white_pin(w, &ref);
    for (uint32_t i = 0; i < ref.g->segment_count; i++) w->map.readers[3].pin[i] = i + 1;
    return unused;
}

Test(recycle, the_pins_of_a_dead_owner_hold_nothing_back) {
    end();
    with_shape(&(struct white_shape){.size_bytes = 64 << 10, .segment_bytes = 4096});
    for (uint64_t i = 0; i < 200; i++) white_put(w, i, 1, 100, 0);
    cr_assert_leq(ref.g->segment_count, POND_READER_PINS);
    pthread_t owner;
    cr_assert_eq(pthread_create(&owner, NULL, pin_all_and_end, NULL), 0);
    pthread_join(owner, NULL);
    cr_assert(pond_recycle_force(&ref, &paid));
    white_require_whole(&ref);
}

Test(recycle, nothing_names_a_segment_that_was_freed) {
    struct support_random random = support_seed("freed");
    for (int round = 0; round < 60; round++) {
        for (int i = 0; i < 700; i++) {
            uint64_t key = support_below(&random, 60000);
            switch (support_below(&random, 8)) {
            case 0: white_delete(w, key); break;
            case 1: white_put(w, key, 1, 2000 + key % 40000, 0); break; /* in chunks */
            default: white_put(w, key, 1, key % 300, key % 3 ? 0 : 500); break;
            }
            if (support_below(&random, 3) == 0) white_expect(w, support_below(&random, 60000), 1, 0);
        }
        w->map.living->clock_high_ms += 100;
        white_require_whole(&ref);
    }
    cr_assert_gt(counters()->evictions, 1000);
}

Test(recycle, a_large_value_that_is_read_survives_whole) {
    uint64_t fit = items_that_fit(100);
    enum { LARGE = 4, BYTES = 60000 }; /* 15 segments: 16 are kept in a row at the most */
    for (uint64_t i = 0; i < LARGE; i++) cr_assert_eq(white_put(w, i, 1, BYTES + i, 0), MILLPOND_OK);
    for (uint64_t i = 0; i < fit * 4; i++) {
        white_put(w, 1000 + i, 1, 100, 0);
        if (i % 50 == 0)
            for (uint64_t k = 0; k < LARGE; k++)
                cr_assert_eq(white_expect(w, k, 1, BYTES + k), MILLPOND_OK, "value %llu is gone after %llu inserts", (unsigned long long)k,
                             (unsigned long long)i);
    }
    cr_assert_gt(counters()->evictions, fit);
    white_require_whole(&ref);
}

Test(recycle, a_large_value_that_nobody_reads_leaves_with_the_small_queue) {
    uint64_t fit = items_that_fit(100);
    size_t large = capacity_bytes() / 10 * 4 / 5;
    for (uint64_t i = 0; i < fit * 2; i++) { /* all are read: the main queue fills up */
        white_put(w, 1000 + i, 1, 100, 0);
        for (int k = 0; k < 3; k++) white_expect(w, 1000 + i, 1, 100);
    }
    cr_assert_eq(white_put(w, 0, 1, large, 0), MILLPOND_OK);
    cr_assert_eq(white_expect(w, 0, 1, large), MILLPOND_OK);
    for (uint64_t i = 0; i < fit / 4; i++) white_put(w, 1000 + fit * 2 + i, 1, 100, 0);
    cr_assert_eq(white_expect(w, 0, 1, large), MILLPOND_MISS, "it took the place of others for longer than they had");
    white_require_whole(&ref);
}

/* Its chunks fill two segments to the last byte, so that its root, which has the counter, comes in the next one, among cold entries. */
Test(recycle, a_large_value_outlives_the_relinks_of_its_chunks) {
    size_t bytes = 8 * (ref.g->piece_units_max * POND_UNIT_BYTES - POND_CHUNK_HEAD_BYTES);
    white_put(w, 0, 1, bytes, 0);
    for (int k = 0; k < 3; k++) cr_assert_eq(white_expect(w, 0, 1, bytes), MILLPOND_OK);
    for (uint64_t i = 1; counters()->relinks < 2 || counters()->evictions < 100; i++) white_put(w, i, 1, 100, 0);
    cr_assert_eq(white_expect(w, 0, 1, bytes), MILLPOND_OK, "read three times, and gone with the small queue");
    for (uint64_t i = 0, fit = items_that_fit(100); i < fit * 2; i++) white_put(w, 1000000 + i, 1, 100, 0);
    cr_assert_eq(white_expect(w, 0, 1, bytes), MILLPOND_OK, "gone from the main queue before anything else was there");
    white_require_whole(&ref);
}

/* ---- a full index ---- */

/* Five times as many keys as there are slots; every insert is followed by a read of one of the hot ones, a fifth of the slots. */
static uint64_t flood_the_index(uint64_t *hot_found, uint64_t *newest_found) {
    end();
    with_shape(&(struct white_shape){.size_bytes = 4 << 20, .entry_bytes = 2000});
    uint64_t slots = (uint64_t)ref.g->bucket_count * POND_BUCKET_SLOTS, hot = slots / 5;
    for (uint64_t i = 0; i < hot; i++) white_put(w, i, 1, 10, 0);
    for (uint64_t i = 0; i < slots * 5; i++) {
        white_put(w, 100000 + i, 1, 10, 0);
        white_expect(w, i % hot, 1, 10);
    }
    cr_assert_gt(counters()->evictions, slots * 3);
    cr_assert_lt(counters()->index_evictions * 2, counters()->evictions, "%llu left for want of a slot",
                 (unsigned long long)counters()->index_evictions);
    *hot_found = *newest_found = 0;
    for (uint64_t i = 0; i < hot; i++) *hot_found += white_expect(w, i, 1, 10) == MILLPOND_OK;
    for (uint64_t i = slots * 5 - slots / 5; i < slots * 5; i++) *newest_found += white_expect(w, 100000 + i, 1, 10) == MILLPOND_OK;
    white_require_whole(&ref);
    return slots / 5;
}

Test(recycle, when_the_index_is_full_what_is_read_stays) {
    uint64_t hot, newest, of = flood_the_index(&hot, &newest);
    cr_assert_gt(hot * 100, of * 80, "%llu of %llu hot ones are there", (unsigned long long)hot, (unsigned long long)of);
}

Test(recycle, when_the_index_is_full_old_entries_leave_before_new_ones) {
    uint64_t hot, newest, of = flood_the_index(&hot, &newest);
    cr_assert_gt(newest * 100, of * 80, "%llu of the newest %llu", (unsigned long long)newest, (unsigned long long)of);
}

/* Half of the entries live and are never read; the others were read often, and then their group was invalidated: only these make room for
 * new keys where the buckets are full. */
Test(recycle, when_the_index_is_full_what_is_invalid_leaves_before_what_lives) {
    end();
    with_shape(&(struct white_shape){.size_bytes = 4 << 20, .entry_bytes = 2000});
    uint64_t slots = (uint64_t)ref.g->bucket_count * POND_BUCKET_SLOTS, most = ref.g->items_high - 1;
    for (uint64_t i = 0; i < most; i++) {
        char text[24] = ""; /* a value as well */
        struct pond_key key = white_key(w, i, text);
        struct millpond_set set = {0};
        key.group = i % 2;
        cr_assert_eq(pond_write_set(&w->map, 1000, &key, text, 16, &set), MILLPOND_OK);
        for (int k = 0; k < 3 && i % 2; k++) pond_read_get(&w->map, &key, text, sizeof text, NULL, NULL);
    }
    pond_group_invalidate(&w->map, 1);
    for (uint64_t i = 0; i < slots / 4; i++) cr_assert_eq(white_put(w, 100000 + i, 1, 10, 0), MILLPOND_OK);
    cr_assert_gt(counters()->invalidated, slots / 10);
    cr_assert_leq(counters()->index_evictions, slots / 1000, "%llu living ones left for want of a slot beside invalid ones",
                  (unsigned long long)counters()->index_evictions);
    white_require_whole(&ref);
}

/* ---- damage ---- */

Test(recycle, a_segment_that_cannot_be_walked_is_emptied_through_the_index) {
    uint64_t fit = items_that_fit(100);
    for (uint64_t i = 0; i < fit / 2; i++) white_put(w, i, 1, 100, 0);
    uint32_t victim = ref.shard->queue_head[POND_SMALL] - 1;
    const uint64_t *first = (const uint64_t *)(const void *)pond_ref_at(&ref, pond_segment_start(ref.g, victim));
    memset(pond_ref_at(&ref, pond_segment_start(ref.g, victim) + pond_word_units(*first)), 0xFF, POND_UNIT_BYTES);
    cr_assert(pond_recycle_force(&ref, &paid));
    cr_assert_geq(counters()->damages, 1);
    for (uint32_t b = 0; b < ref.g->bucket_count; b++)
        for (unsigned i = 0; i < POND_BUCKET_SLOTS; i++)
            if (ref.buckets[b].slot[i] != 0) cr_assert_neq(pond_segment_of(ref.g, pond_slot_where(ref.buckets[b].slot[i])), victim);
    white_require_lists(&ref, __LINE__);
}

Test(recycle, a_walk_of_garbage_is_begun_anew) {
    struct support_random random = support_seed("walks");
    uint64_t fit = items_that_fit(100);
    for (uint64_t i = 0; i < fit * 2; i++) white_put(w, i, 1, 100, 0);
    for (int round = 0; round < 300; round++) {
        uint64_t *words = (uint64_t *)(void *)&ref.shard->walk;
        for (size_t k = 0; k < sizeof ref.shard->walk / 8; k++) words[k] = round % 2 ? support_next(&random) : support_next(&random) >> 56;
        for (uint64_t i = 0; i < 200; i++) cr_assert_eq(white_put(w, fit * 2 + (uint64_t)round * 200 + i, 1, 100, 0), MILLPOND_OK);
        pond_segment_rebuild(&ref); /* victims that were forgotten come back with the next recovery */
    }
    white_require_lists(&ref, __LINE__);
}
