/* SPDX-License-Identifier: MIT */
/* The dump of a pond, written and read as a stream. The format stands in dumpfile.h. */
#include "dumpfile.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

enum {
    HEAD_BYTES = 64,
    HEAD_BYTES_MIN = 24, /* of any version */
    HEAD_BYTES_MAX = 4096,
    BLOCK_HEAD_BYTES = 32,
    BLOCK_BODY_BYTES = 64 << 10,
    ENTRY_HEAD_BYTES = 32,
    END_BODY_BYTES = 16,
    KEY_BYTES_MAX = 65535,
    GROUP_MAX = 65535,
    STEP_BYTES = 1 << 20, /* room for a large body grows with what arrives */
    FLAG_PARTIAL = 1
};

static const unsigned char magic[8] = {0x89, 'M', 'P', 'D', 'U', 'M', 'P', '\n'};
static const uint32_t KIND_ENTRIES = 0x52544e45, KIND_END = 0x2e444e45; /* "ENTR" and "END." as they are read */

/* ---- numbers ---- */

static void put(unsigned char *at, unsigned bytes, uint64_t number) {
    for (unsigned i = 0; i < bytes; i++) at[i] = (unsigned char)(number >> (8 * i));
}

static uint64_t get(const unsigned char *at, unsigned bytes) {
    uint64_t number = 0;
    for (unsigned i = 0; i < bytes; i++) number |= (uint64_t)at[i] << (8 * i);
    return number;
}

/* ---- writing ---- */

static bool write_all(struct dump_writer *writer, const void *bytes, size_t count) {
    if (count != 0 && fwrite(bytes, 1, count, writer->out) != count) return false;
    writer->written += count;
    return true;
}

bool dump_begin(struct dump_writer *writer, FILE *out, const struct dump_head *head) {
    unsigned char bytes[HEAD_BYTES];
    *writer = (struct dump_writer){.out = out, .body = malloc(BLOCK_BODY_BYTES)};
    if (writer->body == NULL) return false;
    memcpy(bytes, magic, sizeof magic);
    put(bytes + 8, 4, DUMP_VERSION);
    put(bytes + 12, 4, HEAD_BYTES);
    put(bytes + 16, 8, head->file_bytes);
    put(bytes + 24, 8, head->max_item_bytes);
    put(bytes + 32, 8, head->written_ms);
    put(bytes + 40, 8, head->items);
    put(bytes + 48, 8, head->partial ? FLAG_PARTIAL : 0);
    writer->chain = XXH3_64bits(bytes, 56);
    put(bytes + 56, 8, writer->chain);
    return write_all(writer, bytes, sizeof bytes);
}

static bool write_block_head(struct dump_writer *writer, uint32_t kind, uint32_t entries, uint64_t body_bytes, uint64_t body_sum) {
    unsigned char head[BLOCK_HEAD_BYTES];
    put(head, 4, kind);
    put(head + 4, 4, entries);
    put(head + 8, 8, body_bytes);
    put(head + 16, 8, body_sum);
    writer->chain = XXH3_64bits_withSeed(head, 24, writer->chain);
    put(head + 24, 8, writer->chain);
    return write_all(writer, head, sizeof head);
}

static bool write_block(struct dump_writer *writer, uint32_t kind) {
    bool good = write_block_head(writer, kind, writer->in_block, writer->used, XXH3_64bits(writer->body, writer->used)) &&
                write_all(writer, writer->body, writer->used);
    writer->used = 0;
    writer->in_block = 0;
    return good;
}

static void put_entry_head(unsigned char *at, const struct dump_entry *entry) {
    put(at, 4, entry->key_bytes);
    put(at + 4, 4, entry->group);
    put(at + 8, 8, entry->value_bytes);
    put(at + 16, 8, entry->ttl_ms);
    put(at + 24, 8, entry->grace_ms);
}

/* An entry larger than a block goes out from where it lies, without a copy. */
static bool write_large(struct dump_writer *writer, const struct dump_entry *entry) {
    unsigned char head[ENTRY_HEAD_BYTES];
    XXH3_state_t sum;
    put_entry_head(head, entry);
    XXH3_64bits_reset(&sum);
    XXH3_64bits_update(&sum, head, sizeof head);
    XXH3_64bits_update(&sum, entry->key, entry->key_bytes);
    XXH3_64bits_update(&sum, entry->value, entry->value_bytes);
    uint64_t body_bytes = sizeof head + entry->key_bytes + (uint64_t)entry->value_bytes;
    return write_block_head(writer, KIND_ENTRIES, 1, body_bytes, XXH3_64bits_digest(&sum)) && write_all(writer, head, sizeof head) &&
           write_all(writer, entry->key, entry->key_bytes) && write_all(writer, entry->value, entry->value_bytes);
}

bool dump_put(struct dump_writer *writer, const struct dump_entry *entry) {
    size_t payload = entry->key_bytes + entry->value_bytes;
    writer->entries++;
    writer->bytes += payload;
    if (writer->in_block > 0 && ENTRY_HEAD_BYTES + payload > BLOCK_BODY_BYTES - writer->used && !write_block(writer, KIND_ENTRIES))
        return false;
    if (ENTRY_HEAD_BYTES + payload > BLOCK_BODY_BYTES) return write_large(writer, entry);
    unsigned char *at = writer->body + writer->used;
    put_entry_head(at, entry);
    memcpy(at + ENTRY_HEAD_BYTES, entry->key, entry->key_bytes);
    if (entry->value_bytes != 0) memcpy(at + ENTRY_HEAD_BYTES + entry->key_bytes, entry->value, entry->value_bytes);
    writer->used += ENTRY_HEAD_BYTES + payload;
    writer->in_block++;
    return true;
}

bool dump_end(struct dump_writer *writer) {
    if (writer->in_block > 0 && !write_block(writer, KIND_ENTRIES)) return false;
    put(writer->body, 8, writer->entries);
    put(writer->body + 8, 8, writer->bytes);
    writer->used = END_BODY_BYTES;
    return write_block(writer, KIND_END) && fflush(writer->out) == 0;
}

void dump_writer_free(struct dump_writer *writer) {
    free(writer->body);
    writer->body = NULL;
}

/* ---- reading ---- */

static enum dump_read fail(struct dump_reader *reader, enum dump_read answer, uint64_t offset, const char *what) {
    reader->what = what;
    reader->bad_offset = offset;
    return answer;
}

static enum dump_read damaged(struct dump_reader *reader, uint64_t offset, const char *what) {
    return fail(reader, DUMP_DAMAGED, offset, what);
}

static enum dump_read read_all(struct dump_reader *reader, void *to, size_t count) {
    errno = 0;
    size_t got = fread(to, 1, count, reader->in);
    reader->offset += got;
    if (got == count) return DUMP_ENTRY;
    if (ferror(reader->in)) return fail(reader, DUMP_UNREADABLE, reader->offset, "it cannot be read");
    return fail(reader, DUMP_CUT, reader->offset, "it ends there");
}

static bool room_for(struct dump_reader *reader, size_t bytes) {
    if (bytes <= reader->room) return true;
    unsigned char *larger = realloc(reader->body, bytes);
    if (larger == NULL) return false;
    reader->body = larger;
    reader->room = bytes;
    return true;
}

/* A size that a stream names is not allocated at once, but as its bytes arrive. */
static enum dump_read read_body(struct dump_reader *reader, uint64_t bytes) {
    enum dump_read answer = DUMP_ENTRY;
    size_t have = 0;
    if (bytes > SIZE_MAX / 2) return damaged(reader, reader->offset, "a block is larger than any memory");
    reader->body_bytes = (size_t)bytes;
    while (have < reader->body_bytes && answer == DUMP_ENTRY) {
        size_t step = reader->body_bytes - have, most = have > STEP_BYTES ? have : STEP_BYTES;
        if (step > most) step = most;
        if (!room_for(reader, have + step)) return fail(reader, DUMP_NO_MEMORY, reader->offset, "there is no memory for an entry");
        answer = read_all(reader, reader->body + have, step);
        have += step;
    }
    return answer;
}

static void parse_head(const unsigned char *bytes, struct dump_head *head) {
    head->file_bytes = get(bytes + 16, 8);
    head->max_item_bytes = get(bytes + 24, 8);
    head->written_ms = get(bytes + 32, 8);
    head->items = get(bytes + 40, 8);
    head->partial = (get(bytes + 48, 8) & FLAG_PARTIAL) != 0;
}

enum dump_read dump_open(struct dump_reader *reader, FILE *in, struct dump_head *head) {
    unsigned char bytes[HEAD_BYTES_MAX];
    *reader = (struct dump_reader){.in = in};
    enum dump_read answer = read_all(reader, bytes, 16);
    if (answer == DUMP_CUT && memcmp(bytes, magic, reader->offset < sizeof magic ? reader->offset : sizeof magic) != 0)
        return fail(reader, DUMP_NOT_ONE, 0, "it does not begin as one");
    if (answer != DUMP_ENTRY) return answer;
    if (memcmp(bytes, magic, sizeof magic) != 0) return fail(reader, DUMP_NOT_ONE, 0, "it does not begin as one");
    size_t head_bytes = get(bytes + 12, 4);
    if (head_bytes < HEAD_BYTES_MIN || head_bytes > HEAD_BYTES_MAX) return damaged(reader, 12, "the size of its head makes no sense");
    answer = read_all(reader, bytes + 16, head_bytes - 16);
    if (answer != DUMP_ENTRY) return answer;
    /* The sum first: a damaged version is damage, and no other version. */
    reader->chain = XXH3_64bits(bytes, head_bytes - 8);
    if (reader->chain != get(bytes + head_bytes - 8, 8)) return damaged(reader, 0, "the sum of its head is wrong");
    reader->version = (uint32_t)get(bytes + 8, 4);
    if (reader->version < DUMP_VERSION_MIN || reader->version > DUMP_VERSION)
        return fail(reader, DUMP_VERSION_NO, 8, "it is of another version");
    if (head_bytes != HEAD_BYTES) return damaged(reader, 12, "its head has another size than its version has");
    parse_head(bytes, head);
    return DUMP_ENTRY;
}

static enum dump_read read_end(struct dump_reader *reader, uint64_t at) {
    if (reader->body_bytes != END_BODY_BYTES || reader->in_block != 0) return damaged(reader, at, "its end has the wrong size");
    if (get(reader->body, 8) != reader->entries || get(reader->body + 8, 8) != reader->bytes)
        return damaged(reader, at, "its end counts other entries than there were");
    if (getc(reader->in) != EOF) return damaged(reader, reader->offset, "something follows its end");
    if (ferror(reader->in)) return fail(reader, DUMP_UNREADABLE, reader->offset, "it cannot be read");
    return DUMP_DONE;
}

/* The next block, verified as a whole. */
static enum dump_read read_block(struct dump_reader *reader) {
    unsigned char head[BLOCK_HEAD_BYTES];
    uint64_t at = reader->offset;
    enum dump_read answer = read_all(reader, head, sizeof head);
    if (answer != DUMP_ENTRY) return answer;
    reader->chain = XXH3_64bits_withSeed(head, 24, reader->chain);
    if (reader->chain != get(head + 24, 8)) return damaged(reader, at, "the head of a block is wrong, or not the next one's");
    uint64_t kind = get(head, 4);
    if (kind != KIND_ENTRIES && kind != KIND_END) return damaged(reader, at, "a block is of no known kind");
    reader->in_block = (uint32_t)get(head + 4, 4);
    reader->at = 0;
    answer = read_body(reader, get(head + 8, 8));
    if (answer != DUMP_ENTRY) return answer;
    if (XXH3_64bits(reader->body, reader->body_bytes) != get(head + 16, 8)) return damaged(reader, at, "the sum of a block is wrong");
    if (kind == KIND_END) return read_end(reader, at);
    if (reader->in_block == 0) return damaged(reader, at, "a block is empty");
    return DUMP_ENTRY;
}

enum dump_read dump_next(struct dump_reader *reader, struct dump_entry *entry) {
    if (reader->in_block == 0) {
        if (reader->at != reader->body_bytes) return damaged(reader, reader->offset, "the block before has bytes that belong to no entry");
        reader->body_bytes = 0;
        enum dump_read answer = read_block(reader);
        if (answer != DUMP_ENTRY) return answer;
    }
    const unsigned char *head = reader->body + reader->at;
    size_t left = reader->body_bytes - reader->at;
    uint64_t at = reader->offset - left, key_bytes, value_bytes;
    if (left < ENTRY_HEAD_BYTES) return damaged(reader, at, "an entry is larger than its block");
    key_bytes = get(head, 4);
    value_bytes = get(head + 8, 8);
    uint64_t group = get(head + 4, 4);
    if (key_bytes == 0 || key_bytes > KEY_BYTES_MAX || group > (reader->version == 1 ? 0 : GROUP_MAX))
        return damaged(reader, at, "the head of an entry makes no sense");
    if (key_bytes > left - ENTRY_HEAD_BYTES || value_bytes > left - ENTRY_HEAD_BYTES - key_bytes)
        return damaged(reader, at, "an entry is larger than its block");
    *entry = (struct dump_entry){.key = head + ENTRY_HEAD_BYTES,
                                 .value = head + ENTRY_HEAD_BYTES + key_bytes,
                                 .key_bytes = (size_t)key_bytes,
                                 .value_bytes = (size_t)value_bytes,
                                 .ttl_ms = get(head + 16, 8),
                                 .grace_ms = get(head + 24, 8),
                                 .group = (uint32_t)group};
    reader->at += ENTRY_HEAD_BYTES + (size_t)(key_bytes + value_bytes);
    reader->in_block--;
    reader->entries++;
    reader->bytes += key_bytes + value_bytes;
    return DUMP_ENTRY;
}

void dump_reader_free(struct dump_reader *reader) {
    free(reader->body);
    reader->body = NULL;
}
