/* SPDX-License-Identifier: MIT */
/* lib/copy.c: what lives goes along into another file; what only seems to is left behind. */

#include "copy.h"
#include "publish.h"
#include "room.h"
#include "white.h"

static struct white *from, *to;
static struct pond_ref ref;

static void begin(void) {
    from = white_new(&(struct white_shape){.size_bytes = 4 << 20, .segment_bytes = 16 << 10});
    to = white_new(&(struct white_shape){.size_bytes = 2 << 20, .segment_bytes = 8 << 10, .shards = 2});
    ref = pond_ref_of(&from->map, 0);
}
static void end(void) {
    white_free(from);
    white_free(to);
}

TestSuite(copy, .init = begin, .fini = end);

static void copy_all(void) {
    cr_assert_eq(pond_copy_all(&from->map, &to->map), 0);
    for (uint32_t i = 0; i < 2; i++) {
        struct pond_ref there = pond_ref_of(&to->map, i);
        white_require_whole(&there);
    }
}

static uint64_t items_there(void) { return pond_ref_of(&to->map, 0).shard->items + pond_ref_of(&to->map, 1).shard->items; }

Test(copy, values_of_all_sizes_go_along) {
    static const size_t sizes[] = {0, 1, 15, 16, 33, 100, 3000, 40000, 100000};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) cr_assert_eq(white_put(from, i, 1, sizes[i], 0), MILLPOND_OK);
    copy_all();
    cr_assert_eq(items_there(), sizeof sizes / sizeof *sizes);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) cr_assert_eq(white_expect(to, i, 1, sizes[i]), MILLPOND_OK, "%zu", sizes[i]);
}

/* A value in chunks that says that it is empty, with checks that hold: only somebody who forges them writes that. */
Test(copy, a_root_of_no_bytes_is_left_behind) {
    char text[24];
    struct pond_key key = white_key(from, 7, text);
    struct pond_place place = pond_place_of(ref.g, key.hash);
    const struct pond_root root = {.value_bytes = 0};
    const struct pond_old none = {0};
    struct pond_content content = {.key = text,
                                   .value = &root,
                                   .key_bytes = (uint32_t)key.count,
                                   .value_bytes = sizeof root,
                                   .hash = key.hash,
                                   .flags = POND_ENTRY_ROOT};
    struct pond_room room = pond_room_for(ref.g, POND_SMALL, 0, 0);
    cr_assert(pond_publish_room(&ref, &room, pond_entry_units(&content), 1));
    pond_room_put(&ref, &room, &content);
    pond_publish_entry(&ref, &place, &none, room.where, key.count);
    cr_assert_eq(white_put(from, 8, 1, 100, 0), MILLPOND_OK);
    cr_assert_eq(ref.shard->items, 2);
    copy_all();
    cr_assert_eq(items_there(), 1);
    cr_assert_eq(white_expect(to, 8, 1, 100), MILLPOND_OK);
}
