/* SPDX-License-Identifier: MIT */
/* Dumps in memory: what was put in comes out; every damaged byte and every cut is refused where it is, and what was handed out before is
 * exactly what had been put in. */

#include "dumpfile.h"

#include "unit.h"

#include <stdlib.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

enum { ENTRIES_MAX = 400, HEAD = 64, BLOCK_HEAD = 32, ENTRY_HEAD = 32 };

struct content {
    struct dump_entry entry[ENTRIES_MAX];
    size_t count;
    unsigned char *dump;
    size_t dump_bytes;
};

static void add_entry(struct content *content, size_t key_bytes, size_t value_bytes, uint64_t ttl_ms, uint64_t grace_ms) {
    unsigned char *bytes = malloc(key_bytes + value_bytes + 1);
    cr_assert(bytes != NULL && content->count < ENTRIES_MAX);
    support_fill(bytes, key_bytes + value_bytes, content->count + 1);
    uint32_t group = (uint32_t)content->count % 3 * 32767;
    content->entry[content->count++] = (struct dump_entry){bytes, bytes + key_bytes, key_bytes, value_bytes, ttl_ms, grace_ms, group};
}

static void write_dump(struct content *content) {
    char *text = NULL;
    struct dump_writer writer;
    struct dump_head head = {.file_bytes = 1 << 20, .max_item_bytes = 1000, .written_ms = 12345, .items = content->count, .partial = true};
    FILE *out = open_memstream(&text, &content->dump_bytes);
    cr_assert(dump_begin(&writer, out, &head));
    for (size_t i = 0; i < content->count; i++) cr_assert(dump_put(&writer, &content->entry[i]));
    cr_assert(dump_end(&writer));
    cr_assert_eq(fclose(out), 0);
    cr_assert_eq(writer.written, content->dump_bytes);
    cr_assert_eq(writer.entries, content->count);
    dump_writer_free(&writer);
    content->dump = (unsigned char *)text;
}

static struct content small_dump(void) {
    struct content content = {.count = 0};
    add_entry(&content, 1, 0, 0, 0);
    add_entry(&content, 5, 17, 30000, 10000);
    add_entry(&content, 24, 40, 1, 0);
    write_dump(&content);
    return content;
}

/* Several blocks, some of one large entry. */
static struct content large_dump(void) {
    struct content content = {.count = 0};
    for (size_t i = 0; i < 120; i++) add_entry(&content, 1 + i, 7 * i, i * 1000, i % 3);
    add_entry(&content, 65535, 0, 0, 0);
    add_entry(&content, 10, 70000, 5, 5);
    add_entry(&content, 10, 65536 - ENTRY_HEAD - 10, 5, 5);
    for (size_t i = 0; i < 200; i++) add_entry(&content, 20, 300, 0, 0);
    write_dump(&content);
    return content;
}

/* Reads a dump to its end or to what is wrong, and compares what is handed out, entry by entry, with what was put in. */
static enum dump_read read_dump(const struct content *content, unsigned char *bytes, size_t count, struct dump_reader *reader) {
    struct dump_head head;
    struct dump_entry entry;
    unsigned char nothing = 0;
    FILE *in = fmemopen(count > 0 ? bytes : &nothing, count > 0 ? count : 1, "r");
    cr_assert(in != NULL);
    if (count == 0) getc(in);
    enum dump_read answer = dump_open(reader, in, &head);
    while (answer == DUMP_ENTRY && (answer = dump_next(reader, &entry)) == DUMP_ENTRY) {
        cr_assert(reader->entries >= 1 && reader->entries <= content->count);
        const struct dump_entry *put = &content->entry[reader->entries - 1];
        cr_assert_eq(entry.key_bytes, put->key_bytes);
        cr_assert_eq(entry.value_bytes, put->value_bytes);
        cr_assert_eq(entry.ttl_ms, put->ttl_ms);
        cr_assert_eq(entry.grace_ms, put->grace_ms);
        cr_assert_eq(entry.group, put->group);
        cr_assert_eq(memcmp(entry.key, put->key, put->key_bytes), 0);
        cr_assert_eq(memcmp(entry.value, put->value, put->value_bytes), 0);
    }
    fclose(in);
    dump_reader_free(reader);
    return answer;
}

TestSuite(dumpfile);

Test(dumpfile, what_was_put_in_comes_out) {
    struct content contents[] = {small_dump(), large_dump(), {.count = 0}};
    struct dump_reader reader;
    write_dump(&contents[2]);
    for (size_t i = 0; i < 3; i++) {
        cr_assert_eq(read_dump(&contents[i], contents[i].dump, contents[i].dump_bytes, &reader), DUMP_DONE);
        cr_assert_eq(reader.entries, contents[i].count);
        cr_assert_eq(reader.offset, contents[i].dump_bytes);
    }
}

Test(dumpfile, the_head_tells_what_it_was_told) {
    struct content content = small_dump();
    struct dump_reader reader;
    struct dump_head head;
    FILE *in = fmemopen(content.dump, content.dump_bytes, "r");
    cr_assert_eq(dump_open(&reader, in, &head), DUMP_ENTRY);
    cr_assert(head.file_bytes == 1 << 20 && head.max_item_bytes == 1000 && head.written_ms == 12345 && head.items == 3 && head.partial);
    fclose(in);
    dump_reader_free(&reader);
}

Test(dumpfile, is_byte_for_byte_as_specified) {
    struct content content = small_dump();
    const unsigned char *d = content.dump;
    cr_assert_eq(memcmp(d, "\x89MPDUMP\n\2\0\0\0\x40\0\0\0\0\0\x10\0\0\0\0\0\xe8\3\0\0\0\0\0\0\x39\x30\0\0\0\0\0\0\3\0\0\0\0\0\0\0\1", 49),
                 0);
    cr_assert_eq(memcmp(d + HEAD, "ENTR\3\0\0\0", 8), 0);
    cr_assert_eq(memcmp(d + HEAD + BLOCK_HEAD + ENTRY_HEAD + 1,
                        "\5\0\0\0\xff\x7f\0\0\x11\0\0\0\0\0\0\0\x30\x75\0\0\0\0\0\0\x10\x27\0\0\0\0\0\0", 32),
                 0);
    cr_assert_eq(content.dump_bytes, HEAD + BLOCK_HEAD + 3 * ENTRY_HEAD + 1 + 22 + 64 + BLOCK_HEAD + 16);
    cr_assert_eq(memcmp(d + content.dump_bytes - 48, "END.\0\0\0\0\x10\0\0\0\0\0\0\0", 16), 0);
}

Test(dumpfile, every_change_of_every_byte_is_refused, .timeout = 120) {
    struct content content = small_dump();
    struct dump_reader reader;
    for (size_t at = 0; at < content.dump_bytes; at++)
        for (unsigned change = 1; change < 256; change++) {
            content.dump[at] ^= (unsigned char)change;
            enum dump_read answer = read_dump(&content, content.dump, content.dump_bytes, &reader);
            content.dump[at] ^= (unsigned char)change;
            cr_assert(answer == DUMP_DAMAGED || (answer == DUMP_NOT_ONE && at < 8) || (answer == DUMP_CUT && at >= 12 && at < 16),
                      "byte %zu changed by %02x: answer %d", at, change, (int)answer);
            cr_assert(answer != DUMP_DAMAGED || reader.bad_offset <= at, "byte %zu changed, found at %llu", at,
                      (unsigned long long)reader.bad_offset);
            cr_assert(reader.what != NULL);
            /* The place is that of the block: the three entries are of one, the end of another. */
            cr_assert_eq(reader.entries, at < content.dump_bytes - 48 ? 0 : 3);
        }
}

Test(dumpfile, a_damage_is_found_in_its_own_block, .timeout = 120) {
    struct content content = large_dump();
    struct dump_reader reader;
    for (size_t at = 0; at < content.dump_bytes; at += at < 300 ? 1 : 211) {
        content.dump[at] ^= 1;
        enum dump_read answer = read_dump(&content, content.dump, content.dump_bytes, &reader);
        content.dump[at] ^= 1;
        cr_assert(answer != DUMP_DONE && answer != DUMP_ENTRY, "byte %zu", at);
        if (answer == DUMP_DAMAGED)
            cr_assert(reader.bad_offset <= at && at - reader.bad_offset < (72 << 10), "byte %zu changed, found at %llu", at,
                      (unsigned long long)reader.bad_offset);
    }
}

Test(dumpfile, every_cut_is_refused_where_it_is, .timeout = 120) {
    struct content contents[] = {small_dump(), large_dump()};
    struct dump_reader reader;
    for (size_t i = 0; i < 2; i++)
        for (size_t bytes = 0; bytes < contents[i].dump_bytes; bytes += i == 0 || bytes < 300 ? 1 : 211) {
            cr_assert_eq(read_dump(&contents[i], contents[i].dump, bytes, &reader), DUMP_CUT, "%zu bytes", bytes);
            cr_assert_eq(reader.bad_offset, bytes);
            cr_assert(reader.entries <= contents[i].count);
        }
}

/* Where block number `nth` begins. */
static size_t block_at(const struct content *content, unsigned nth) {
    size_t at = HEAD;
    for (; nth > 0; nth--) {
        uint64_t body;
        memcpy(&body, content->dump + at + 8, sizeof body);
        at += BLOCK_HEAD + (size_t)body;
    }
    cr_assert(at < content->dump_bytes);
    return at;
}

Test(dumpfile, blocks_that_are_missing_doubled_or_swapped_are_refused) {
    struct content content = large_dump();
    struct dump_reader reader;
    size_t first = block_at(&content, 0), second = block_at(&content, 1), third = block_at(&content, 2), end = content.dump_bytes;
    unsigned char *other = malloc(2 * end);
    /* without the second */
    memcpy(other, content.dump, second);
    memcpy(other + second, content.dump + third, end - third);
    cr_assert_eq(read_dump(&content, other, end - (third - second), &reader), DUMP_DAMAGED);
    cr_assert_eq(reader.bad_offset, second);
    /* the first twice */
    memcpy(other, content.dump, second);
    memcpy(other + second, content.dump + first, end - first);
    cr_assert_eq(read_dump(&content, other, end + (second - first), &reader), DUMP_DAMAGED);
    cr_assert_eq(reader.bad_offset, second);
    /* the first two exchanged */
    memcpy(other, content.dump, end);
    memcpy(other + first, content.dump + second, third - second);
    memcpy(other + first + (third - second), content.dump + first, second - first);
    cr_assert_eq(read_dump(&content, other, end, &reader), DUMP_DAMAGED);
    cr_assert_eq(reader.bad_offset, first);
    cr_assert_eq(reader.entries, 0);
    /* something behind the end */
    memcpy(other, content.dump, end);
    other[end] = 0;
    cr_assert_eq(read_dump(&content, other, end + 1, &reader), DUMP_DAMAGED);
    cr_assert_eq(reader.entries, content.count);
    free(other);
}

/* ---- a stream with right sums that says nonsense ---- */

/* Makes the sums of a block right again; `seed_off` is where the sum before it stands. */
static void sign(struct content *content, size_t block, size_t seed_off) {
    unsigned char *at = content->dump + block;
    uint64_t body, sum, seed;
    memcpy(&body, at + 8, 8);
    if (body <= content->dump_bytes - block - BLOCK_HEAD) {
        sum = XXH3_64bits(at + BLOCK_HEAD, body);
        memcpy(at + 16, &sum, 8);
    }
    memcpy(&seed, content->dump + seed_off, 8);
    sum = XXH3_64bits_withSeed(at, 24, seed);
    memcpy(at + 24, &sum, 8);
}

Test(dumpfile, nonsense_with_right_sums_is_refused) {
    static const struct {
        size_t off, bytes;
        uint64_t number;
    } nonsense[] = {
        {HEAD, 4, 0x21212121},                  /* a kind that is none */
        {HEAD + 4, 4, 0},                       /* no entries, but a body */
        {HEAD + 4, 4, 4},                       /* more entries than there are */
        {HEAD + 4, 4, 2},                       /* fewer */
        {HEAD + 8, 8, UINT64_C(1) << 62},       /* a body larger than any memory */
        {HEAD + 8, 8, UINT64_C(1) << 46},       /* larger than this one */
        {HEAD + 8, 8, UINT64_MAX},              /* and so that sums overflow */
        {HEAD + 8, 8, 0},                       /* no body */
        {HEAD + 8, 8, 31},                      /* less than an entry's head */
        {HEAD + BLOCK_HEAD, 4, 0},              /* an empty key */
        {HEAD + BLOCK_HEAD, 4, 65536},          /* a key that is too long */
        {HEAD + BLOCK_HEAD, 4, 65535},          /* longer than the block */
        {HEAD + BLOCK_HEAD + 4, 4, 65536},      /* a group that no name has */
        {HEAD + BLOCK_HEAD + 8, 8, 1 << 20},    /* a value longer than the block */
        {HEAD + BLOCK_HEAD + 8, 8, UINT64_MAX}, /* and so that sums overflow */
    };
    for (size_t i = 0; i < sizeof nonsense / sizeof nonsense[0]; i++) {
        struct content content = small_dump();
        struct dump_reader reader;
        memcpy(content.dump + nonsense[i].off, &nonsense[i].number, nonsense[i].bytes);
        sign(&content, HEAD, HEAD - 8);
        /* What the changed entry says is not compared: the first of them is the one that is wrong. */
        enum dump_read answer = read_dump(&content, content.dump, content.dump_bytes, &reader);
        cr_assert(answer == DUMP_DAMAGED || answer == DUMP_CUT, "nonsense %zu: answer %d", i, (int)answer);
        cr_assert(reader.room <= 4 << 20, "nonsense %zu: %zu bytes were allocated", i, reader.room);
    }
}

Test(dumpfile, an_end_that_counts_other_entries_is_refused) {
    for (size_t off = 32; off <= 40; off += 8) {
        struct content content = small_dump();
        struct dump_reader reader;
        size_t end = content.dump_bytes - 48;
        content.dump[end + off]++;
        sign(&content, end, HEAD + 24);
        cr_assert_eq(read_dump(&content, content.dump, content.dump_bytes, &reader), DUMP_DAMAGED);
        cr_assert_eq(reader.bad_offset, end);
    }
}

Test(dumpfile, other_versions_are_told_from_damage) {
    struct content content = small_dump();
    struct dump_reader reader;
    for (unsigned version = 0; version < 4; version += 3) {
        content.dump[8] = (unsigned char)version;
        cr_assert_eq(read_dump(&content, content.dump, content.dump_bytes, &reader), DUMP_DAMAGED);
        uint64_t sum = XXH3_64bits(content.dump, 56);
        memcpy(content.dump + 56, &sum, 8);
        cr_assert_eq(read_dump(&content, content.dump, content.dump_bytes, &reader), DUMP_VERSION_NO);
        cr_assert_eq(reader.version, version);
    }
}

Test(dumpfile, one_of_version_1_has_no_groups) {
    for (unsigned group = 0; group < 2; group++) {
        struct content content = {.count = 0};
        struct dump_reader reader;
        add_entry(&content, 3, 5, 0, 0);
        content.entry[0].group = group;
        write_dump(&content);
        content.dump[8] = 1;
        uint64_t sum = XXH3_64bits(content.dump, 56);
        memcpy(content.dump + 56, &sum, 8);
        sign(&content, HEAD, HEAD - 8);
        sign(&content, content.dump_bytes - 48, HEAD + 24);
        cr_assert_eq(read_dump(&content, content.dump, content.dump_bytes, &reader), group ? DUMP_DAMAGED : DUMP_DONE);
    }
}

Test(dumpfile, what_is_no_dump_is_told) {
    struct content none = {.count = 0};
    struct dump_reader reader;
    unsigned char text[] = "hello, this is a line of text that is no dump at all";
    cr_assert_eq(read_dump(&none, text, sizeof text, &reader), DUMP_NOT_ONE);
    cr_assert_eq(read_dump(&none, text, 5, &reader), DUMP_NOT_ONE);
}

Test(dumpfile, a_full_disk_is_noticed) {
    struct content content = large_dump();
    struct dump_writer writer;
    struct dump_head head = {0};
    FILE *full = fopen("/dev/full", "w");
    cr_assert(full != NULL);
    bool good = dump_begin(&writer, full, &head);
    for (size_t i = 0; i < content.count && good; i++) good = dump_put(&writer, &content.entry[i]);
    cr_assert_not(good && dump_end(&writer));
    fclose(full);
    dump_writer_free(&writer);
}
