/* SPDX-License-Identifier: MIT */
/* lib/segment.c: the life of a segment, the lists that are made again from the descriptors alone, and the holes. */

#include "white.h"

static struct white *w;
static struct pond_ref ref;

/* 4 MiB in segments of 16 KiB: some 200 of them, all TTL classes. */
static void begin(void) {
    w = white_new(&(struct white_shape){.size_bytes = 4 << 20, .segment_bytes = 16 << 10});
    ref = pond_ref_of(&w->map, 0);
    cr_assert_eq(ref.g->ttl_classes, POND_TTL_CLASSES);
}
static void end(void) { white_free(w); }

TestSuite(segment, .init = begin, .fini = end);

/* An entry of so many units; returns where. */
static uint32_t append(uint32_t queue, uint32_t ttl_class, uint32_t units) {
    uint32_t where = pond_segment_append(&ref, queue, ttl_class, units);
    if (where == 0) return 0;
    struct pond_content c = {.key = "k", .value = "", .key_bytes = 1, .sequence = 1, .hash = 1};
    pond_entry_write(&ref, where, units, &c);
    pond_segment_commit(&ref, where, units);
    pond_segment_note_expiry(&ref, where, 0);
    pond_segment_live(&ref, where, units);
    return where;
}

static uint32_t make_hole(uint32_t where, uint32_t units) {
    pond_segment_dead(&ref.table[pond_segment_of(ref.g, where)], units);
    pond_hole_push(&ref, where);
    return where;
}

static uint32_t take(uint32_t units, int only_young) {
    uint32_t allotted = 0, where = pond_hole_take(&ref, POND_SMALL, 0, units, only_young, 0, &allotted);
    cr_assert(where == 0 || allotted >= units, "a hole of %u units for %u", allotted, units);
    return where;
}

static uint32_t segment_at(uint32_t where) { return pond_segment_of(ref.g, where); }
static uint32_t state_at(uint32_t where) { return pond_segment_state(&ref.table[segment_at(where)]); }

/* Fills whole segments; the last one is sealed too. Returns the first entry of the first one. */
static uint32_t fill_segments(uint32_t queue, uint32_t count) {
    uint32_t first = 0;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t where = append(queue, 0, ref.g->segment_units);
        cr_assert_neq(where, 0);
        pond_segment_seal(&ref, segment_at(where));
        if (i == 0) first = where;
    }
    return first;
}

/* ---- a segment's life ---- */

Test(segment, a_new_shard_is_all_free) {
    white_require_lists(&ref, __LINE__);
    cr_assert_eq(ref.shard->free_count, ref.g->segment_count);
    cr_assert_eq(pond_segment_open_room(&ref, POND_SMALL, 0), 0);
    for (uint32_t i = 0; i < ref.g->segment_count; i++)
        cr_assert(pond_segment_tail(ref.g, &ref.table[i]) == 0 && ref.table[i].live_units == 0);
}

Test(segment, entries_lie_one_behind_the_other) {
    uint32_t a = append(POND_SMALL, 0, 10), b = append(POND_SMALL, 0, 3), c = append(POND_SMALL, 0, 2);
    cr_assert(a == pond_segment_start(ref.g, segment_at(a)) && b == a + 10 && c == b + 3);
    cr_assert_eq(pond_segment_open_room(&ref, POND_SMALL, 0), ref.g->segment_units - 15);
    cr_assert(state_at(a) == POND_SEGMENT_OPEN && ref.table[segment_at(a)].live_units == 15);
}

Test(segment, what_was_not_committed_is_given_again) {
    uint32_t a = append(POND_SMALL, 0, 10), b = pond_segment_append(&ref, POND_SMALL, 0, 100);
    cr_assert_eq(b, a + 10);
    cr_assert_eq(pond_segment_append(&ref, POND_SMALL, 0, 7), b);
    cr_assert_eq(pond_segment_tail(ref.g, &ref.table[segment_at(a)]), 10);
}

Test(segment, each_queue_and_class_has_an_open_segment_of_its_own) {
    uint32_t seen[POND_QUEUES * POND_TTL_CLASSES], n = 0;
    for (uint32_t q = 0; q < POND_QUEUES; q++)
        for (uint32_t k = 0; k < POND_TTL_CLASSES; k++) {
            uint32_t segment = segment_at(append(q, k, 5));
            for (uint32_t i = 0; i < n; i++) cr_assert_neq(seen[i], segment);
            seen[n++] = segment;
            cr_assert(pond_segment_queue(&ref.table[segment]) == q && pond_segment_class(&ref.table[segment]) == k);
        }
    white_require_lists(&ref, __LINE__);
}

Test(segment, a_full_segment_waits_in_its_queue_behind_older_ones) {
    uint32_t units = ref.g->segment_units / 2 + 1, first = append(POND_MAIN, 0, units), second = append(POND_MAIN, 0, units);
    cr_assert_neq(segment_at(first), segment_at(second));
    cr_assert(state_at(first) == POND_SEGMENT_SEALED && state_at(second) == POND_SEGMENT_OPEN);
    uint32_t third = append(POND_MAIN, 0, units);
    cr_assert(ref.shard->queue_head[POND_MAIN] == segment_at(first) + 1 && ref.shard->queue_tail[POND_MAIN] == segment_at(second) + 1);
    cr_assert_lt(ref.table[segment_at(first)].order, ref.table[segment_at(second)].order);
    cr_assert_eq(state_at(third), POND_SEGMENT_OPEN);
    white_require_lists(&ref, __LINE__);
}

Test(segment, without_a_free_segment_an_open_one_is_kept_for_smaller_entries) {
    uint32_t units = ref.g->segment_units / 2 + 1, last = 0;
    for (uint32_t where; (where = append(POND_SMALL, 0, units));) last = where;
    cr_assert_eq(ref.shard->free_count, 0);
    cr_assert_eq(state_at(last), POND_SEGMENT_OPEN);
    cr_assert_eq(append(POND_SMALL, 0, 20), last + units);
    cr_assert_eq(append(POND_SMALL, 1, 20), 0, "another class has none");
    cr_assert_eq(pond_segment_append_anywhere(&ref, POND_MAIN, 20), last + units + 20, "but what must go somewhere goes there");
    white_require_lists(&ref, __LINE__);
}

Test(segment, a_freed_segment_has_another_epoch_and_is_used_again) {
    uint32_t where = fill_segments(POND_SMALL, 1), segment = segment_at(where), epoch = ref.table[segment].epoch,
             free_count = ref.shard->free_count;
    pond_segment_begin_victim(&ref, segment);
    cr_assert(state_at(where) == POND_SEGMENT_VICTIM && ref.shard->queue_count[POND_SMALL] == 0);
    pond_segment_free(&ref, segment);
    cr_assert(ref.table[segment].epoch == epoch + 1 && ref.shard->free_count == free_count + 1);
    white_require_lists(&ref, __LINE__);
    uint32_t again = append(POND_MAIN, 2, 4);
    cr_assert_eq(segment_at(again), segment, "the one that was used last is the warmest");
    cr_assert(ref.table[segment].tail_units == 4 && ref.table[segment].live_units == 4);
}

Test(segment, one_that_is_kept_goes_to_the_end_of_its_new_queue) {
    uint32_t a = segment_at(fill_segments(POND_SMALL, 3)), b = ref.table[a].next - 1;
    fill_segments(POND_MAIN, 2);
    pond_segment_begin_victim(&ref, b);
    pond_segment_requeue(&ref, b, POND_MAIN);
    cr_assert(ref.shard->queue_tail[POND_MAIN] == b + 1 && ref.shard->queue_count[POND_MAIN] == 3 &&
              ref.shard->queue_count[POND_SMALL] == 2);
    white_require_lists(&ref, __LINE__);
}

Test(segment, the_latest_expiry_of_its_entries_stays) {
    uint32_t where = append(POND_SMALL, 1, 4), segment = segment_at(where);
    ref.table[segment].expiry_max_ms = 0;
    pond_segment_note_expiry(&ref, where, 500);
    pond_segment_note_expiry(&ref, where, 300);
    cr_assert_eq(ref.table[segment].expiry_max_ms, 500);
    pond_segment_note_expiry(&ref, where, 0);
    cr_assert_eq(ref.table[segment].expiry_max_ms, UINT64_MAX, "0 is for ever");
    pond_segment_note_expiry(&ref, where, 900);
    cr_assert_eq(ref.table[segment].expiry_max_ms, UINT64_MAX);
}

Test(segment, the_younger_half_of_a_queue_is_young_and_so_are_open_ones) {
    uint32_t link, count = 20, n = 0;
    fill_segments(POND_SMALL, count);
    for (link = ref.shard->queue_head[POND_SMALL]; link; link = ref.table[link - 1].next, n++)
        cr_assert_eq(pond_segment_young(&ref, link - 1), n >= count / 2 - 1, "the %u. of %u", n, count);
    cr_assert(pond_segment_young(&ref, segment_at(append(POND_SMALL, 0, 3))));
    cr_assert(!pond_segment_young(&ref, ref.shard->free_head - 1), "a free one is not");
}

Test(segment, live_units_never_go_below_nothing) {
    uint32_t where = append(POND_SMALL, 0, 4);
    pond_segment_dead(&ref.table[pond_segment_of(ref.g, where)], 3);
    cr_assert_eq(ref.table[segment_at(where)].live_units, 1);
    pond_segment_dead(&ref.table[pond_segment_of(ref.g, where)], 3); /* after damage, or twice after a recovery */
    cr_assert_eq(ref.table[segment_at(where)].live_units, 0);
}

/* ---- made again ---- */

/* A random life of the shard's segments. */
static void live(struct support_random *random, int changes) {
    for (int i = 0; i < changes; i++) {
        uint32_t queue = (uint32_t)support_below(random, POND_QUEUES), class = (uint32_t)support_below(random, POND_TTL_CLASSES);
        uint32_t link = ref.shard->queue_head[queue];
        switch (support_below(random, 4)) {
        case 0:
            if (link) {
                pond_segment_begin_victim(&ref, link - 1);
                pond_segment_free(&ref, link - 1);
            }
            break;
        case 1:
            if (link) {
                pond_segment_begin_victim(&ref, link - 1);
                pond_segment_requeue(&ref, link - 1, POND_MAIN);
            }
            break;
        default: append(queue, class, 2 + (uint32_t)support_below(random, ref.g->segment_units - 2)); break;
        }
    }
}

static void queue_of(uint32_t queue, uint32_t *list) {
    uint32_t n = 0;
    for (uint32_t link = ref.shard->queue_head[queue]; link; link = ref.table[link - 1].next) list[n++] = link;
    list[n] = 0;
}

Test(segment, lists_are_made_again_from_the_descriptors_as_they_were) {
    struct support_random random = support_seed("segments");
    static uint32_t before[POND_QUEUES][1024], after[1024];
    for (int round = 0; round < 300; round++) {
        live(&random, 200);
        uint32_t open[POND_QUEUES][POND_TTL_CLASSES], free_count = ref.shard->free_count;
        memcpy(open, ref.shard->open, sizeof open);
        for (uint32_t q = 0; q < POND_QUEUES; q++) queue_of(q, before[q]);
        uint64_t order = ref.shard->order;
        for (int times = 0; times < 2; times++) { /* interrupted anywhere: it begins again */
            if (times) memset(ref.shard->queue_head, 0x55, sizeof ref.shard->queue_head);
            pond_segment_rebuild(&ref);
            white_require_lists(&ref, __LINE__);
            cr_assert_eq(memcmp(open, ref.shard->open, sizeof open), 0);
            cr_assert(ref.shard->free_count == free_count && ref.shard->order == order);
            for (uint32_t q = 0; q < POND_QUEUES; q++) {
                queue_of(q, after);
                for (unsigned i = 0; i == 0 || after[i - 1]; i++) cr_assert_eq(after[i], before[q][i], "queue %u, the %u.", q, i);
            }
        }
    }
}

Test(segment, a_half_recycled_one_is_first_in_its_queue_again) {
    fill_segments(POND_SMALL, 5);
    uint32_t victim = ref.shard->queue_head[POND_SMALL] - 1;
    pond_segment_begin_victim(&ref, victim);
    ref.shard->walk.victim = victim + 1;
    pond_segment_rebuild(&ref);
    cr_assert(ref.shard->queue_head[POND_SMALL] == victim + 1 && ref.shard->walk.victim == 0);
    white_require_lists(&ref, __LINE__);
}

Test(segment, the_last_order_is_found_again) {
    fill_segments(POND_SMALL, 4);
    uint64_t order = ref.shard->order;
    ref.shard->order = 0; /* it was not written any more */
    pond_segment_rebuild(&ref);
    cr_assert_eq(ref.shard->order, order);
    fill_segments(POND_SMALL, 1);
    white_require_lists(&ref, __LINE__);
}

Test(segment, two_open_ones_of_a_queue_and_class_are_damage_and_one_is_sealed) {
    uint32_t a = append(POND_SMALL, 0, 5), b = append(POND_MAIN, 0, 5);
    ref.table[segment_at(b)].state = ref.table[segment_at(a)].state;
    pond_segment_rebuild(&ref);
    white_require_lists(&ref, __LINE__);
    cr_assert_eq((state_at(a) == POND_SEGMENT_SEALED) + (state_at(b) == POND_SEGMENT_SEALED), 1);
}

Test(segment, descriptors_of_garbage_end_in_lists_that_are_whole_and_bounded) {
    struct support_random random = support_seed("descriptors");
    for (int round = 0; round < 2000; round++) {
        for (uint32_t i = 0; i < ref.g->segment_count; i++) {
            uint64_t *words = (uint64_t *)(void *)&ref.table[i];
            for (unsigned k = 0; k < sizeof(struct pond_segment) / 8; k++) words[k] = support_next(&random);
            if (round % 2)
                ref.table[i].state = pond_segment_word((uint32_t)support_below(&random, 4), (uint32_t)support_below(&random, 2), 0);
        }
        pond_segment_rebuild(&ref);
        uint32_t n = 0;
        for (uint32_t q = 0; q < POND_QUEUES; q++) {
            uint32_t link = ref.shard->queue_head[q], count = 0;
            for (; link; link = ref.table[link - 1].next, count++) cr_assert(link <= ref.g->segment_count && count <= ref.g->segment_count);
            n += count;
        }
        cr_assert_leq(n + ref.shard->free_count, ref.g->segment_count);
    }
}

/* ---- holes ---- */

Test(segment, the_hole_that_was_made_last_is_used_first) {
    uint32_t holes[3];
    for (int i = 0; i < 3; i++) {
        holes[i] = append(POND_SMALL, 0, 9);
        append(POND_SMALL, 0, 2);
    }
    for (int i = 0; i < 3; i++) make_hole(holes[i], 9);
    for (int i = 2; i >= 0; i--) cr_assert_eq(take(9, 0), holes[i]);
    cr_assert_eq(take(9, 0), 0);
}

Test(segment, a_hole_is_used_for_its_own_size_or_a_little_less) {
    uint32_t hole = make_hole(append(POND_SMALL, 0, 10), 10);
    cr_assert_eq(take(11, 0), 0, "it is too small");
    cr_assert_eq(take(7, 0), 0, "it is three classes larger");
    cr_assert_eq(take(8, 0), hole);
    make_hole(hole, 10);
    cr_assert_eq(take(9, 0), hole);
    make_hole(hole, 10);
    cr_assert_eq(take(10, 0), hole);
}

Test(segment, every_size_of_hole_is_found_for_its_own_size) {
    for (uint32_t units = 2; units <= ref.g->segment_units; units++) {
        uint32_t where = append(POND_SMALL, 0, units);
        if (where == 0) { /* all are used up: begin anew */
            pond_segment_format(&ref);
            where = append(POND_SMALL, 0, units);
        }
        make_hole(where, units);
        uint32_t allotted, got = pond_hole_take(&ref, POND_SMALL, 0, units, 0, 0, &allotted);
        cr_assert(got == where && allotted == units, "%u units: %u of %u", units, got, allotted);
    }
}

Test(segment, the_first_of_eight_that_fits_is_used_in_a_class_of_several_sizes) {
    /* 33 and 32 units are of one class. */
    uint32_t good = append(POND_SMALL, 0, 33), small[9];
    for (int i = 0; i < 9; i++) small[i] = append(POND_SMALL, 0, 32);
    make_hole(good, 33);
    for (int i = 0; i < 7; i++) make_hole(small[i], 32);
    cr_assert_eq(take(33, 0), good, "the eighth fits");
    make_hole(good, 33);
    for (int i = 0; i < 7; i++) cr_assert_neq(take(32, 0), 0);
    make_hole(good, 33); /* twice is once: it is not a live entry any more */
    for (int i = 0; i < 9; i++) make_hole(small[i], 32);
    cr_assert_eq(take(33, 0), 0, "the tenth is too far away");
}

Test(segment, a_hole_is_only_for_its_queue_and_class) {
    uint32_t allotted, hole = make_hole(append(POND_SMALL, 2, 10), 10);
    cr_assert_eq(pond_hole_take(&ref, POND_MAIN, 2, 10, 0, 0, &allotted), 0);
    cr_assert_eq(pond_hole_take(&ref, POND_SMALL, 1, 10, 0, 0, &allotted), 0);
    cr_assert_eq(pond_hole_take(&ref, POND_SMALL, 0, 10, 0, 0, &allotted), 0);
    cr_assert_eq(pond_hole_take(&ref, POND_SMALL, 2, 10, 0, 0, &allotted), hole);
}

/* As append(), of what lives until expiry_ms. */
static uint32_t append_mortal(uint64_t expiry_ms) {
    uint32_t where = pond_segment_append(&ref, POND_SMALL, 2, 10);
    struct pond_content c = {.key = "k", .value = "", .key_bytes = 1, .sequence = 1, .hash = 1};
    pond_entry_write(&ref, where, 10, &c);
    pond_segment_commit(&ref, where, 10);
    pond_segment_note_expiry(&ref, where, expiry_ms);
    return where;
}

/* The first entry counts, not the last: else each could last a little longer than the one before. */
Test(segment, a_hole_is_not_for_what_lives_much_longer_than_its_segment) {
    append_mortal(5000);
    uint32_t allotted, second = append_mortal(9000);
    make_hole(second, 10);
    cr_assert_eq(pond_hole_take(&ref, POND_SMALL, 2, 10, 0, 5001, &allotted), 0);
    cr_assert_eq(pond_hole_take(&ref, POND_SMALL, 2, 10, 0, 5000, &allotted), second);
    /* Ten minutes to live, until 1000600 s: only beside a first entry that lives until 1000450 s. */
    uint64_t word = pond_expiry_pack(UINT64_C(1000600000), 0);
    struct pond_room room = pond_room_for(ref.g, POND_MAIN, 600000, word);
    cr_assert_eq(room.first_least_ms, UINT64_C(1000450000));
    cr_assert_eq(room.ttl_class, pond_ttl_class(ref.g, 600000));
    cr_assert_eq(room.queue, POND_MAIN);
    cr_assert_eq(pond_room_for(ref.g, POND_MAIN, 0, 0).first_least_ms, 0, "what lives for ever takes any");
}

Test(segment, a_segment_that_is_used_again_has_another_first_entry) {
    uint32_t where = append_mortal(5000), segment = pond_segment_of(ref.g, where);
    pond_segment_seal(&ref, segment);
    pond_segment_begin_victim(&ref, segment);
    pond_segment_free(&ref, segment);
    cr_assert_eq(pond_segment_of(ref.g, append_mortal(7000)), segment);
    cr_assert_eq(ref.table[segment].expiry_first_ms, 7000);
}

Test(segment, a_hole_that_is_not_the_first_can_leave_its_list) {
    for (int which = 0; which < 4; which++) {
        uint32_t holes[4];
        for (int i = 0; i < 4; i++) holes[i] = make_hole(append(POND_SMALL, 0, 6), 6);
        pond_hole_unlink(&ref, holes[which]);
        pond_hole_unlink(&ref, holes[which]); /* it is in no list any more: nothing */
        for (int i = 3; i >= 0; i--)
            if (i != which) cr_assert_eq(take(6, 0), holes[i], "without the %d. of four", which);
        cr_assert_eq(take(6, 0), 0);
    }
}

Test(segment, a_new_key_gets_a_hole_only_in_the_younger_half) {
    uint32_t old = fill_segments(POND_SMALL, 1);
    pond_segment_format(&ref);
    old = append(POND_SMALL, 0, 30);
    pond_segment_seal(&ref, segment_at(old));
    fill_segments(POND_SMALL, 20);
    make_hole(old, 30);
    cr_assert_eq(take(30, 1), 0, "it will be recycled soon");
    cr_assert_eq(take(30, 0), old, "good enough for an overwrite");
    uint32_t young = append(POND_SMALL, 0, 30);
    make_hole(young, 30);
    cr_assert_eq(take(30, 1), young);
}

Test(segment, recovery_forgets_all_holes) {
    uint32_t holes[4];
    for (int i = 0; i < 4; i++) holes[i] = make_hole(append(POND_SMALL, 0, 6), 6);
    uint32_t generation = ref.shard->hole_generation;
    pond_segment_rebuild(&ref);
    cr_assert_neq(ref.shard->hole_generation, generation, "an old hole must not look like a member of a new list");
    cr_assert_eq(take(6, 0), 0);
    pond_hole_unlink(&ref, holes[1]);
    uint32_t fresh = make_hole(append(POND_SMALL, 0, 6), 6);
    cr_assert_eq(take(6, 0), fresh, "an old hole does not come along with a new one");
    cr_assert_eq(take(6, 0), 0);
    /* A generation that comes round again is another matter: it has 21 bits. */
    ref.shard->hole_generation = (1u << POND_ENTRY_CHECK_BITS) - 1;
    pond_segment_rebuild(&ref);
    cr_assert_lt(ref.shard->hole_generation, 1u << POND_ENTRY_CHECK_BITS);
}

Test(segment, no_hole_of_a_victim_or_of_a_free_segment_is_used) {
    uint32_t where = append(POND_SMALL, 0, 6), segment = segment_at(where);
    pond_segment_seal(&ref, segment);
    make_hole(where, 6);
    pond_segment_begin_victim(&ref, segment);
    cr_assert_eq(take(6, 0), 0, "nothing new may appear behind the walker");
    pond_segment_free(&ref, segment);
    cr_assert_eq(take(6, 0), 0);
}

Test(segment, no_hole_of_a_pinned_segment_is_used) {
    uint32_t where = make_hole(append(POND_SMALL, 0, 6), 6);
    uint64_t *pin = white_pin(w, &ref);
    *pin = (uint64_t)ref.number << 32 | (segment_at(where) + 1);
    cr_assert(pond_segment_pinned(&ref, segment_at(where)) && !pond_segment_pinned(&ref, segment_at(where) + 1));
    cr_assert_eq(take(6, 0), 0);
    *pin = (uint64_t)(ref.number + 1) << 32 | (segment_at(where) + 1);
    cr_assert(!pond_segment_pinned(&ref, segment_at(where)), "the same number in another shard");
    *pin = 0;
    cr_assert_eq(take(6, 0), where);
}

struct cover {
    uint32_t where[4096], units[4096], count;
};

static void note_live(void *arg, uint32_t where, uint64_t word) {
    struct cover *cover = arg;
    if (pond_word_flags(word) & POND_ENTRY_DEAD) return;
    cover->where[cover->count] = where;
    cover->units[cover->count++] = pond_word_units(word);
}

Test(segment, holes_given_out_never_overlap_what_is_in_use) {
    struct support_random random = support_seed("holes");
    static struct cover used;
    for (int i = 0; i < 300000; i++) {
        uint32_t k = used.count ? (uint32_t)support_below(&random, used.count) : 0;
        if (used.count > 2000 || (used.count && support_below(&random, 5) < 2)) {
            make_hole(used.where[k], used.units[k]);
            used.count--;
            used.where[k] = used.where[used.count];
            used.units[k] = used.units[used.count];
            continue;
        }
        uint32_t units = 2 + (uint32_t)support_below(&random, support_below(&random, 2) ? 14 : 90), allotted = units;
        uint32_t where = pond_hole_take(&ref, POND_SMALL, 0, units, (int)support_below(&random, 2), 0, &allotted);
        if (where) {
            struct pond_content c = {.key = "k", .value = "", .key_bytes = 1, .sequence = 1, .hash = 1};
            pond_entry_write(&ref, where, allotted, &c);
            pond_segment_live(&ref, where, allotted);
        } else {
            where = append(POND_SMALL, 0, units);
            if (where == 0) continue;
        }
        used.where[used.count] = where;
        used.units[used.count++] = allotted;
        if (i % 30000) continue;
        /* Every segment can be stepped over, and what lives in them is what is in use. */
        static struct cover found;
        found.count = 0;
        for (uint32_t s = 0; s < ref.g->segment_count; s++)
            if (pond_segment_state(&ref.table[s]) != POND_SEGMENT_FREE) white_walk(&ref, s, note_live, &found);
        cr_assert_eq(found.count, used.count);
        uint64_t a = 0, b = 0;
        for (uint32_t n = 0; n < used.count; n++) {
            a += (uint64_t)used.where[n] * 1009 + used.units[n];
            b += (uint64_t)found.where[n] * 1009 + found.units[n];
        }
        cr_assert_eq(a, b);
    }
}

Test(segment, links_of_garbage_are_followed_nowhere) {
    struct support_random random = support_seed("links");
    uint32_t holes[64];
    for (int round = 0; round < 3000; round++) {
        if (round % 100 == 0) {
            pond_segment_format(&ref);
            for (int i = 0; i < 64; i++) holes[i] = make_hole(append(POND_SMALL, 0, 4 + (uint32_t)i % 3), 4 + (uint32_t)i % 3);
        }
        struct pond_hole *hole = (struct pond_hole *)(void *)pond_ref_at(&ref, holes[support_below(&random, 64)]);
        uint32_t garbage = support_below(&random, 2) ? (uint32_t)support_next(&random) : holes[support_below(&random, 64)];
        switch (support_below(&random, 4)) {
        case 0: hole->next = garbage; break;
        case 1: hole->prev = garbage; break;
        case 2: ref.shard->hole_head[POND_SMALL][4 + support_below(&random, 3)] = garbage; break;
        default: hole->word ^= UINT64_C(1) << support_below(&random, 64); break;
        }
        uint32_t allotted = 0, where = pond_hole_take(&ref, POND_SMALL, 0, 4 + (uint32_t)support_below(&random, 3), 0, 0, &allotted);
        if (where) cr_assert(pond_where_valid(ref.g, where) && allotted <= pond_units_left(ref.g, where));
        pond_hole_unlink(&ref, holes[support_below(&random, 64)]);
    }
}
