/* SPDX-License-Identifier: MIT */
/* The dump of a pond: a stream of entries that any machine can read, and that shows where it was cut or damaged.
 *
 * Format, version 2. Every number is unsigned, least significant byte first, at the offset given; nothing is padded but as shown.
 *
 *   dump:   head | block | block | ... | end        read and written from front to back; nothing is ever sought
 *
 *   head, 64 bytes
 *    0  8  89 4d 50 44 55 4d 50 0a      "\x89MPDUMP\n"; the first byte is no text, the last one shows a translation of line ends
 *    8  4  version                      2; 1 is read too: of an entry, at 4, it has 0
 *   12  4  head_bytes                   64; of any version: the head's size, 24 to 4096, and its sum the last 8 bytes of it
 *   16  8  file_bytes                   size of the pond that was dumped: load makes a new one so large
 *   24  8  max_item_bytes               its largest value
 *   32  8  written_ms                   when the dump was begun, milliseconds since 1970
 *   40  8  items                        entries of the pond at that time, for a progress bar only; 0 for unknown
 *   48  8  flags                        1: only the keys of one prefix
 *   56  8  sum                          XXH3-64 of bytes 0 to 55
 *
 *   block, 32 + body_bytes: as many entries as go into 64 KiB, or one that is larger
 *    0  4  kind                         45 4e 54 52 "ENTR"; of the end 45 4e 44 2e "END."
 *    4  4  entries                      1 or more; of the end 0
 *    8  8  body_bytes
 *   16  8  body_sum                     XXH3-64 of the body
 *   24  8  sum                          XXH3-64 of bytes 0 to 23, with the sum of the block before (of the head, for the first) as seed
 *   32     the body: entries one after the other
 *
 *   entry, 32 + key_bytes + value_bytes
 *    0  4  key_bytes                    1 to 65535
 *    4  4  group                        number of its group, the same in every pond, at most 65535; 0 for none
 *    8  8  value_bytes
 *   16  8  ttl_ms                       milliseconds that it had left when it was dumped; 0 for ever
 *   24  8  grace_ms                     how long after that it may be served as stale
 *   32     the key, then the value; a counter is its decimal text
 *
 *   end, 32 + 16: a block of the kind END., whose body is
 *    0  8  entries                      in the whole dump
 *    8  8  bytes                        of their keys and values
 *   Nothing follows it.
 *
 * Each block is verified before an entry of it is handed out. Because each sum begins from the one before, the last one covers the whole:
 * a block that is missing, doubled or in another place is found where that begins, and a cut at any byte is found by the missing end.
 * Why not a sum over the whole at the end alone: what was read would be in the pond before it could be judged.
 *
 * The time to live is what was left, not a moment: two machines' clocks need not agree. It counts again from the load.
 *
 * Memory: a block, so 64 KiB or the largest entry. A size in the stream is believed only as far as bytes arrive. */
#ifndef MILLPOND_TOOLS_DUMPFILE_H
#define MILLPOND_TOOLS_DUMPFILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define DUMP_VERSION     2
#define DUMP_VERSION_MIN 1 /* the oldest that is read */

/* What the head tells. */
struct dump_head {
    uint64_t file_bytes, max_item_bytes, written_ms, items;
    bool partial; /* only the keys of one prefix */
};

struct dump_entry {
    const void *key, *value;
    size_t key_bytes, value_bytes;
    uint64_t ttl_ms, grace_ms;
    uint32_t group;
};

/* ---- writing ---- */

struct dump_writer {
    FILE *out;
    unsigned char *body; /* of the block that is being filled */
    size_t used;
    uint32_t in_block;
    uint64_t chain;                   /* the sum of the last block */
    uint64_t entries, bytes, written; /* so far: entries, bytes of keys and values, bytes of the dump without the open block */
};

/* Writes the head. false: no memory or not written; errno says which. In either case end with dump_writer_free. */
bool dump_begin(struct dump_writer *writer, FILE *out, const struct dump_head *head);
/* Adds an entry; its bytes need not stay. false: not written. */
bool dump_put(struct dump_writer *writer, const struct dump_entry *entry);
/* Writes what is left, and the end. Without it the dump counts as cut. */
bool dump_end(struct dump_writer *writer);
void dump_writer_free(struct dump_writer *writer);

/* ---- reading ---- */

enum dump_read {
    DUMP_ENTRY,      /* there is one */
    DUMP_DONE,       /* the end, everything verified */
    DUMP_NOT_ONE,    /* it does not begin as a dump does */
    DUMP_VERSION_NO, /* another version */
    DUMP_CUT,        /* it ends early */
    DUMP_DAMAGED,    /* a sum is wrong, or what it covers makes no sense */
    DUMP_UNREADABLE, /* the stream says so: errno */
    DUMP_NO_MEMORY
};

struct dump_reader {
    FILE *in;
    unsigned char *body;
    size_t room, body_bytes, at; /* of the block at hand */
    uint32_t in_block;           /* its entries that were not handed out yet */
    uint64_t chain, offset;      /* offset: bytes read */
    uint64_t entries, bytes;     /* handed out */
    uint32_t version;            /* of the dump, also with DUMP_VERSION_NO */
    const char *what;            /* after an answer above DUMP_DONE: what is wrong, a part of a sentence */
    uint64_t bad_offset;         /* and where: of DUMP_CUT the byte at which it ends, else of the head or block that is wrong */
};

/* Reads the head. DUMP_ENTRY when it is whole. In either case end with dump_reader_free. */
enum dump_read dump_open(struct dump_reader *reader, FILE *in, struct dump_head *head);
/* The next entry, good until the next call. Whatever it answers, the entries before are whole; their number is reader->entries. */
enum dump_read dump_next(struct dump_reader *reader, struct dump_entry *entry);
void dump_reader_free(struct dump_reader *reader);

#endif
