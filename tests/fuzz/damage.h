/* SPDX-License-Identifier: MIT */
#ifndef MILLPOND_FUZZ_DAMAGE_H
#define MILLPOND_FUZZ_DAMAGE_H

/* The language in which a fuzzer says what is wrong with a file: an input is a head and up to 16 wounds, each of them somewhere in a
 * structure rather than at an offset, so that a mutation of the input stays meaningful.
 *
 *   head   4 bytes:  pond | DAMAGE_* | seed of what is done with the file (2)
 *   wound  16 bytes: area | kind | width | extra | item (2) | offset in it (2) | value (8)
 *
 * Every input means something; what is missing at its end is zero. */

#include "bed.h"

#include <stddef.h>
#include <stdint.h>

#define DAMAGE_HEAD_BYTES      4u
#define DAMAGE_WOUND_BYTES     16u
#define DAMAGE_WOUNDS_MAX      16u
#define DAMAGE_INPUT_BYTES_MAX (DAMAGE_HEAD_BYTES + DAMAGE_WOUNDS_MAX * DAMAGE_WOUND_BYTES)

/* Bits of the head's second byte. */
enum {
    DAMAGE_ORPHANED = 1 << 0, /* a process died while it held every mutex: the next writers repair */
    DAMAGE_READONLY = 1 << 1, /* the file is opened read-only */
    DAMAGE_STALE = 1 << 2,    /* it is of another boot: mutexes are made anew; emptied, or */
    DAMAGE_CLEAN = 1 << 3,    /* verified, as it was marked whole by a sync */
    DAMAGE_SIGNED = 1 << 4,   /* the identity's checksum is right, whatever stands in it */
    DAMAGE_REPAIR = 1 << 5,   /* it is repaired before it is used */
    DAMAGE_FLOOD = 1 << 6,    /* so much is stored that every segment is recycled */
    DAMAGE_EMPTY = 1 << 7     /* it is cleared in the end */
};

struct wound {
    uint8_t area, kind, width, extra;
    uint16_t item, offset;
    uint64_t value;
};

struct damage {
    uint8_t pond, flags;
    uint16_t seed;
    unsigned wound_count;
    struct wound wounds[DAMAGE_WOUNDS_MAX];
};

void damage_decode(const unsigned char *input, size_t bytes, struct damage *damage);
size_t damage_encode(const struct damage *damage, unsigned char input[DAMAGE_INPUT_BYTES_MAX]);

/* Puts the bed's file back and wounds it. */
void damage_apply(const struct bed *bed, const struct damage *damage);
/* Wounds the file as it is, in use or not. */
void damage_wound(const struct bed *bed, const struct wound *wound);

/* Random ones, in which every area and kind is frequent. */
void damage_random(struct damage *damage, struct support_random *random);
/* A neighbour of one: some of its wounds changed, added or taken away. */
void damage_mutate(struct damage *damage, struct support_random *random);

/* One line about it. */
void damage_print(const struct damage *damage, char *text, size_t bytes);

#endif
