/* SPDX-License-Identifier: MIT */
#ifndef MILLPOND_WHITE_H
#define MILLPOND_WHITE_H

/* What the white-box tests share: a pond in plain memory, without a file, in any shape, and walks over all of it that verify what every
 * module relies on. These tests see the library's own headers and link it statically; what they test is named by the file: test_X.c is for
 * lib/X.c. */

#include "enter.h"
#include "entry.h"
#include "evict.h"
#include "expire.h"
#include "index.h"
#include "large.h"
#include "layout.h"
#include "lock.h"
#include "mapping.h"
#include "read.h"
#include "recover.h"
#include "recycle.h"
#include "root.h"
#include "segment.h"
#include "shard.h"
#include "support.h"
#include "write.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct white {
    struct pond_map map;
    struct pond_identity identity;
};

/* The shape of a pond; 0 for the defaults of millpond_open. */
struct white_shape {
    uint64_t size_bytes, max_item_bytes, segment_bytes;
    uint32_t shards, entry_bytes;
};

/* A new, empty pond. The hash seed is fixed. */
struct white *white_new(const struct white_shape *shape);
void white_free(struct white *w);

/* Operations as a process would make them; results as of the public functions. Keys are numbers. */
int white_set(struct white *w, uint64_t key, const void *value, size_t value_bytes, uint64_t ttl_ms);
/* The same with bytes that follow from key and `version`. */
int white_put(struct white *w, uint64_t key, uint64_t version, size_t value_bytes, uint64_t ttl_ms);
/* Gets it and requires those bytes; MILLPOND_OK or MISS. */
int white_expect(struct white *w, uint64_t key, uint64_t version, size_t value_bytes);
int white_delete(struct white *w, uint64_t key);
struct pond_key white_key(const struct white *w, uint64_t key, char text[24]);

/* A pin of a reader slot that this thread owns, in a shard that has seen views. */
uint64_t *white_pin(struct white *w, const struct pond_ref *ref);

/* Requires that a shard is whole: entries and holes cover each segment without a gap, each slot names a live entry of its key that no other
 * slot names, spills and counts are right, queues and free list hold each segment once, in order. Says which line called. */
#define white_require_whole(ref) white_require_whole_at(ref, __LINE__)
void white_require_whole_at(const struct pond_ref *ref, int line);
/* The parts of it: spills of every bucket; lists of segments. */
void white_require_spills(const struct pond_ref *ref, int line);
void white_require_lists(const struct pond_ref *ref, int line);

/* The places of all entries and holes of a segment; returns how many. */
unsigned white_walk(const struct pond_ref *ref, uint32_t segment, void (*visit)(void *arg, uint32_t where, uint64_t word), void *arg);

#endif
