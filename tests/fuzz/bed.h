/* SPDX-License-Identifier: MIT */
#ifndef MILLPOND_FUZZ_BED_H
#define MILLPOND_FUZZ_BED_H

/* The files under the fuzzers: a few small ponds that were in use for a while, kept as images in memory, and their files, into which an
 * image is put back before each run.
 *
 * Everything about them is the same in each process and run (hash seed, clock), so that an input means the same damage everywhere. Mappings
 * that the library makes lie between guards that nothing may touch, and their first page cannot be written: what an access out of bounds
 * would only spoil elsewhere is a SIGSEGV here. */

#include "layout.h"
#include "millpond.h"
#include "support.h"

#include <stddef.h>
#include <stdint.h>

#define BED_PONDS           4u
#define BED_KEYS            192u /* keys that a pond may hold at the start */
#define BED_KEY_BYTES_MAX   600u
#define BED_VALUE_BYTES_MAX 8192u

struct bed {
    char path[4096];
    uint64_t file_bytes;
    uint64_t spared_bytes;   /* at the beginning of the file, which no damage touches: none, or the identity */
    unsigned char *file;     /* the file itself, mapped by the bed */
    unsigned char *image;    /* as its users left it */
    unsigned char *orphaned; /* the same, left by a process that died while it held every mutex */
    struct pond_geometry geometry;
    uint64_t *entries; /* where entries begin: shard << 32 | where */
    uint32_t entry_count;
};

/* Makes the directory of the program, on a memory file system where there is one ($TMPDIR has the say); support_end() removes it. */
void bed_directory(void);
/* Makes the ponds, in the directory of this process. */
void bed_begin(void);
struct bed *bed_get(unsigned number);

/* For programs with a pond of their own: creates and maps it; keeps the image of what was made of it, and finds its entries. */
void bed_create(struct bed *bed, const char *path, const struct millpond_options *options);
void bed_keep(struct bed *bed);

/* Puts an image into the file. No process may have it open. */
void bed_restore(const struct bed *bed, int orphaned);

/* Key i of every pond: its bytes and how many. And what was stored under it. */
size_t bed_key(uint32_t i, unsigned char key[BED_KEY_BYTES_MAX]);
size_t bed_value_bytes(const struct bed *bed, uint32_t i);
enum bed_kind { BED_PLAIN, BED_TTL, BED_COUNTER };
enum bed_kind bed_kind(uint32_t i);
/* Names of groups. In the last pond every key is of one; some of those have been invalidated since. */
#define BED_GROUPS 8u
const char *bed_group(uint32_t i);

/* Bytes of the file that no damage touches: the mutexes. glibc aborts or waits for ever on a mutex whose words are garbage (measured: 3 and
 * 42 of 300 random corruptions), and no library can keep it from doing so; millpond makes them anew where they cannot be trusted. */
int bed_is_mutex(const struct bed *bed, uint64_t off);

/* Writes into the file, but not over mutexes or beyond the end. */
void bed_write(const struct bed *bed, uint64_t off, const void *bytes, size_t count);

/* The clock of this process, as the library sees it: fixed, moved by hand. */
void bed_clock_forward(uint64_t ms);

#endif
