/* SPDX-License-Identifier: MIT */
/* lib/layout.c: whatever is planned can be opened, fits and wastes little; whatever stands in a damaged identity, no part lies outside the
 * file. */

#include "white.h"

/* ---- properties of a geometry ---- */

/* All parts, one behind the other, in the file; every place in a segment is a place in the shard. */
static void require_inside(const struct pond_geometry *g, const char *what) {
    uint64_t readers_end = POND_READERS_OFF + (uint64_t)g->reader_count * sizeof(struct pond_reader);
    uint64_t flights_end = g->flights_off + (uint64_t)g->flights_per_shard * g->shard_count * sizeof(struct pond_flight);
    cr_assert(readers_end <= g->flights_off && g->flights_off % 64 == 0, "%s", what);
    cr_assert(flights_end <= g->groups_off && g->groups_off % 64 == 0, "%s", what);
    uint64_t groups_end = g->groups_off + ((uint64_t)g->group_mask + 1) * sizeof(uint64_t);
    cr_assert(groups_end <= g->shards_off && g->shards_off % POND_PAGE_BYTES == 0, "%s", what);
    cr_assert((g->group_mask & (g->group_mask + 1)) == 0 && g->group_mask + 1 >= POND_GROUPS_MIN && g->group_mask < POND_GROUPS_MAX);
    cr_assert(g->file_bytes < UINT64_C(128) << 20 || (groups_end - g->groups_off) * 500 < g->file_bytes, "%s: the groups are too many",
              what);
    cr_assert(g->shards_off + g->shard_bytes * g->shard_count <= g->file_bytes, "%s: the shards are larger than the file", what);
    uint64_t table_end = g->table_off + (uint64_t)g->segment_count * sizeof(struct pond_segment);
    uint64_t buckets = (uint64_t)g->buckets_off_units * POND_UNIT_BYTES, ghosts = (uint64_t)g->ghosts_off_units * POND_UNIT_BYTES;
    uint64_t segments = (uint64_t)g->first_unit * POND_UNIT_BYTES, end = (uint64_t)g->end_unit * POND_UNIT_BYTES;
    cr_assert(g->table_off >= sizeof(struct pond_shard) && table_end <= buckets, "%s", what);
    cr_assert(buckets + (uint64_t)g->bucket_count * sizeof(struct pond_bucket) <= ghosts, "%s", what);
    cr_assert(ghosts + (uint64_t)g->ghost_count * sizeof(struct pond_ghost_bucket) <= segments, "%s", what);
    cr_assert_eq(segments, g->segments_off, "%s", what);
    cr_assert_eq(end, segments + (uint64_t)g->segment_count * g->segment_bytes, "%s: %llu", what, (unsigned long long)end);
    cr_assert_leq(end, g->shard_bytes, "%s: the segments are larger than the shard", what);
    cr_assert(g->shard_bytes % POND_PAGE_BYTES == 0 && buckets % 64 == 0 && segments % 64 == 0, "%s: alignment", what);
    cr_assert(g->first_unit > 0, "%s: 0 must mean none", what);
    cr_assert(g->segment_units >= 2 && g->segment_units * POND_UNIT_BYTES == g->segment_bytes, "%s", what);
    cr_assert(g->piece_units_max >= 8 && g->piece_units_max <= g->entry_units_max && g->entry_units_max <= g->segment_units, "%s", what);
    cr_assert(g->entry_units_max <= POND_ENTRY_UNITS_MAX && g->ttl_classes >= 1 && g->ttl_classes <= POND_TTL_CLASSES, "%s", what);
    cr_assert(g->reserve >= 1 && g->reserve < g->segment_count, "%s", what);
    cr_assert(g->max_item_bytes <= (uint64_t)g->segment_count * g->segment_bytes / 2, "%s", what);
}

static struct millpond_options random_options(struct support_random *random) {
    struct millpond_options o = MILLPOND_OPTIONS_INIT;
    o.size_bytes = support_log_size(random, 64 << 10, UINT64_C(1) << (17 + support_below(random, 25)));
    if (support_below(random, 2)) o.shards = 1u << support_below(random, 9);
    if (support_below(random, 3) == 0) o.segment_bytes = support_log_size(random, 512, 64 << 20);
    if (support_below(random, 3) == 0) o.entry_bytes = (uint32_t)support_log_size(random, 1, 1 << 20);
    if (support_below(random, 3) == 0) o.max_item_bytes = support_log_size(random, 1, o.size_bytes / 4);
    return o;
}

Test(layout, whatever_is_planned_has_a_geometry_and_fits_into_the_file) {
    struct support_random random = support_seed("layout");
    unsigned planned = 0, refused = 0;
    for (int i = 0; i < 40000; i++) {
        struct millpond_options o = random_options(&random);
        struct pond_identity id;
        struct pond_geometry g;
        char what[200];
        memset(&id, 0, sizeof id);
        snprintf(what, sizeof what, "size %llu, shards %u, segment %llu, entry %u, item %llu", (unsigned long long)o.size_bytes, o.shards,
                 (unsigned long long)o.segment_bytes, o.entry_bytes, (unsigned long long)o.max_item_bytes);
        const char *wrong = pond_layout_plan(&o, 1 + (unsigned)support_below(&random, 128), &id);
        if (wrong) {
            cr_assert(strchr(wrong, ';') && strlen(wrong) > 20, "%s: '%s' does not say what to do", what, wrong);
            refused++;
            continue;
        }
        planned++;
        wrong = pond_layout_geometry(&id, &g);
        cr_assert(!wrong, "%s: planned, but %s", what, wrong);
        require_inside(&g, what);
        cr_assert(id.file_bytes >= o.size_bytes && id.file_bytes < o.size_bytes + POND_PAGE_BYTES, "%s: a file of %llu", what,
                  (unsigned long long)id.file_bytes);
        cr_assert(!o.shards || id.shard_count == o.shards, "%s", what);
        cr_assert(!o.max_item_bytes || id.max_item_bytes == o.max_item_bytes, "%s", what);
        cr_assert(g.segment_count >= POND_SEGMENTS_MIN && id.max_item_bytes > 0, "%s", what);
        /* No space is left over in which another segment would fit. */
        cr_assert(g.shard_bytes - (uint64_t)g.end_unit * POND_UNIT_BYTES < g.segment_bytes + sizeof(struct pond_segment) + 128,
                  "%s: room is wasted", what);
    }
    cr_assert(planned > 10000 && refused > 100, "%u planned, %u refused", planned, refused);
}

Test(layout, sizes_alone_are_never_refused_from_64_kib_to_4_tib) {
    struct support_random random = support_seed("sizes");
    struct millpond_options o = MILLPOND_OPTIONS_INIT;
    for (int i = 0; i < 20000; i++) {
        struct pond_identity id;
        struct pond_geometry g;
        o.size_bytes = i == 0   ? POND_FILE_BYTES_MIN
                       : i == 1 ? POND_FILE_BYTES_MAX
                                : support_log_size(&random, POND_FILE_BYTES_MIN, POND_FILE_BYTES_MAX);
        memset(&id, 0, sizeof id);
        const char *wrong = pond_layout_plan(&o, 1 + (unsigned)i % 256, &id);
        cr_assert(!wrong, "%llu bytes: %s", (unsigned long long)o.size_bytes, wrong);
        wrong = pond_layout_geometry(&id, &g);
        cr_assert(!wrong, "%llu bytes: %s", (unsigned long long)o.size_bytes, wrong);
        require_inside(&g, "defaults");
        /* Half of the file at the least is for entries, three quarters of a file that is not tiny. */
        uint64_t data = (uint64_t)g.segment_count * g.segment_bytes * g.shard_count;
        cr_assert_gt(data * 100, id.file_bytes * (o.size_bytes < 512 << 10 ? 50 : 75), "%llu bytes: %llu for entries",
                     (unsigned long long)o.size_bytes, (unsigned long long)data);
    }
}

Test(layout, a_small_file_has_some_128_segments_of_six_entries_or_more) {
    for (uint64_t size = 128 << 10; size <= 8 << 20; size += size / 8 / 4096 * 4096)
        for (uint32_t entry = 50; entry <= size / 1024; entry += entry / 4) {
            struct millpond_options o = MILLPOND_OPTIONS_INIT;
            struct pond_identity id;
            memset(&id, 0, sizeof id);
            o.size_bytes = size;
            o.entry_bytes = entry;
            cr_assert_null(pond_layout_plan(&o, 2, &id));
            cr_assert(id.segment_count >= 40 && id.segment_count < 200, "%llu bytes for entries of %u: %u segments",
                      (unsigned long long)size, entry, id.segment_count);
            cr_assert_geq(id.segment_bytes, (entry + 12) * 6, "%llu bytes for entries of %u: segments of %u", (unsigned long long)size,
                          entry, id.segment_bytes);
        }
}

Test(layout, index_and_memory_run_out_together_for_entries_of_the_expected_size) {
    static const uint32_t sizes[] = {0, 40, 124, 500, 4000};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        struct millpond_options o = MILLPOND_OPTIONS_INIT;
        struct pond_identity id;
        memset(&id, 0, sizeof id);
        o.size_bytes = 256 << 20;
        o.entry_bytes = sizes[i];
        cr_assert_null(pond_layout_plan(&o, 2, &id));
        double entry = (12 + (sizes[i] ? sizes[i] : 124) + 7) / 8 * 8, slots = (double)id.bucket_count * POND_BUCKET_SLOTS;
        double items = (double)id.segment_count * id.segment_bytes / entry, load = items / slots;
        cr_assert(load > 0.8 && load < 1.0, "entries of %u bytes: %.3f of the slots when the memory is full", sizes[i], load);
    }
}

Test(layout, dividing_by_a_segments_size_is_exact_with_the_reciprocal) {
    struct support_random random = {3};
    for (int i = 0; i < 3000; i++) {
        struct pond_identity id = {.file_bytes = UINT64_C(8) << 30,
                                   .shard_count = 1,
                                   .reader_count = 16,
                                   .segment_count = 8,
                                   .bucket_count = 1,
                                   .ghost_count = 2,
                                   .group_count = 16};
        struct pond_geometry g;
        id.segment_bytes = (uint32_t)support_log_size(&random, POND_SEGMENT_BYTES_MIN, POND_SEGMENT_BYTES_MAX) / 8 * 8;
        id.shard_bytes = UINT64_C(4) << 30;
        cr_assert_null(pond_layout_geometry(&id, &g));
        for (int k = 0; k < 200; k++) {
            uint32_t units = (uint32_t)support_next(&random) % (UINT32_MAX - g.first_unit);
            if (k % 2) units = units / g.segment_units * g.segment_units - (k % 4 == 1 && units >= g.segment_units);
            cr_assert_eq(pond_segment_of(&g, g.first_unit + units), units / g.segment_units, "%u / %u", units, g.segment_units);
        }
    }
}

/* ---- an identity that is not to be trusted ---- */

static struct pond_identity whole_identity(void) {
    struct millpond_options o = MILLPOND_OPTIONS_INIT;
    struct pond_identity id;
    memset(&id, 0, sizeof id);
    o.size_bytes = 4 << 20;
    o.shards = 2;
    cr_assert_null(pond_layout_plan(&o, 2, &id));
    return id;
}

Test(layout, every_field_that_is_out_of_its_range_is_refused) {
    struct pond_geometry g;
    const struct pond_identity whole = whole_identity();
    cr_assert_null(pond_layout_geometry(&whole, &g));
#define REFUSED(field, value)                                                                                                              \
    do {                                                                                                                                   \
        struct pond_identity id = whole;                                                                                                   \
        id.field = (value);                                                                                                                \
        const char *wrong = pond_layout_geometry(&id, &g);                                                                                 \
        cr_expect(wrong &&strncmp(wrong, "its ", 4) == 0, "%s = %s: %s", #field, #value, wrong ? wrong : "accepted");                      \
    } while (0)
    REFUSED(file_bytes, 0);
    REFUSED(file_bytes, POND_FILE_BYTES_MIN - POND_PAGE_BYTES);
    REFUSED(file_bytes, whole.file_bytes + 1);
    REFUSED(file_bytes, whole.file_bytes / 2);
    REFUSED(file_bytes, UINT64_MAX / POND_PAGE_BYTES * POND_PAGE_BYTES);
    REFUSED(shard_count, 0);
    REFUSED(shard_count, 3);
    REFUSED(shard_count, 4);
    REFUSED(shard_count, 512);
    REFUSED(shard_count, UINT32_C(1) << 31);
    REFUSED(reader_count, 0);
    REFUSED(reader_count, UINT32_MAX);
    REFUSED(reader_count, 65536);
    REFUSED(flight_count, UINT32_MAX);
    REFUSED(flight_count, whole.flight_count + 1);
    REFUSED(flight_count, 65536);
    REFUSED(group_count, 0);
    REFUSED(group_count, 8);
    REFUSED(group_count, whole.group_count + 1);
    REFUSED(group_count, 65536); /* a power of two, but the tables do not fit any more */
    REFUSED(group_count, 131072);
    REFUSED(group_count, UINT32_C(1) << 31);
    REFUSED(segment_bytes, 0);
    REFUSED(segment_bytes, POND_SEGMENT_BYTES_MIN - 8);
    REFUSED(segment_bytes, POND_SEGMENT_BYTES_MAX + 8);
    REFUSED(segment_bytes, whole.segment_bytes + 1);
    REFUSED(segment_bytes, whole.segment_bytes * 2);
    REFUSED(segment_count, 0);
    REFUSED(segment_count, POND_SEGMENTS_MIN - 1);
    REFUSED(segment_count, whole.segment_count + 2);
    REFUSED(segment_count, UINT32_MAX);
    REFUSED(bucket_count, 0);
    REFUSED(bucket_count, UINT32_MAX);
    REFUSED(ghost_count, 0);
    REFUSED(ghost_count, UINT32_MAX);
    REFUSED(shard_bytes, 0);
    REFUSED(shard_bytes, whole.shard_bytes + 1);
    REFUSED(shard_bytes, whole.shard_bytes / 2 / POND_PAGE_BYTES * POND_PAGE_BYTES);
    REFUSED(shard_bytes, whole.shard_bytes * 2);
    REFUSED(shard_bytes, UINT64_MAX / POND_PAGE_BYTES * POND_PAGE_BYTES);
    REFUSED(max_item_bytes, whole.shard_bytes);
    REFUSED(max_item_bytes, UINT64_MAX);
#undef REFUSED
}

Test(layout, a_shard_may_be_full_to_the_last_byte_and_not_beyond) {
    unsigned exact = 0, beyond = 0;
    for (uint32_t buckets = 1; buckets <= 60; buckets++)
        for (uint32_t segments = POND_SEGMENTS_MIN; segments <= 400; segments++) {
            struct pond_identity id = whole_identity();
            struct pond_geometry g;
            id.bucket_count = buckets;
            id.segment_count = segments;
            id.segment_bytes = POND_SEGMENT_BYTES_MIN;
            id.max_item_bytes = 1;
            if (pond_layout_geometry(&id, &g) != NULL) continue;
            uint64_t room = id.shard_bytes - g.segments_off, step = (uint64_t)segments * POND_UNIT_BYTES;
            id.segment_bytes = (uint32_t)((room + step - 1) / step * POND_UNIT_BYTES);
            if (id.segment_bytes > POND_SEGMENT_BYTES_MAX) continue;
            if (room % step == 0) {
                exact++;
                cr_assert_null(pond_layout_geometry(&id, &g), "%u buckets, %u segments of %u", buckets, segments, id.segment_bytes);
                require_inside(&g, "full");
            } else {
                beyond += room % step == step - POND_UNIT_BYTES; /* one unit */
                cr_assert_not_null(pond_layout_geometry(&id, &g), "%u buckets, %u segments of %u", buckets, segments, id.segment_bytes);
            }
        }
    cr_assert(exact > 5 && beyond > 5, "%u exact, %u beyond by a unit", exact, beyond);
}

Test(layout, whatever_identity_is_accepted_describes_parts_inside_the_file) {
    struct support_random random = support_seed("identities");
    const struct pond_identity whole = whole_identity();
    static const size_t fields[] = {offsetof(struct pond_identity, shard_count),   offsetof(struct pond_identity, reader_count),
                                    offsetof(struct pond_identity, segment_bytes), offsetof(struct pond_identity, segment_count),
                                    offsetof(struct pond_identity, bucket_count),  offsetof(struct pond_identity, ghost_count),
                                    offsetof(struct pond_identity, shard_bytes),   offsetof(struct pond_identity, file_bytes),
                                    offsetof(struct pond_identity, max_item_bytes)};
    unsigned accepted = 0;
    for (int i = 0; i < 400000; i++) {
        struct pond_identity id = whole;
        struct pond_geometry g;
        for (uint64_t n = 1 + support_below(&random, 3); n > 0; n--) {
            size_t k = support_below(&random, sizeof fields / sizeof *fields);
            uint64_t value = support_next(&random) >> support_below(&random, 64);
            unsigned char *at = (unsigned char *)&id + fields[k];
            if (k < 6) {
                uint32_t now, small = (uint32_t)value;
                memcpy(&now, at, sizeof now);
                if (support_below(&random, 2)) small = now + small % 64 - 32;
                memcpy(at, &small, sizeof small);
            } else {
                value = value / POND_PAGE_BYTES * POND_PAGE_BYTES;
                memcpy(at, &value, sizeof value);
            }
        }
        if (pond_layout_geometry(&id, &g) != NULL) continue;
        accepted++;
        require_inside(&g, "a damaged identity");
    }
    cr_assert_gt(accepted, 1000, "only %u identities were accepted", accepted);
}
