/* SPDX-License-Identifier: MIT */
/* Groups: everything that was stored under a name, invalidated by one addition.
 *
 * A table of generations stands in the file. The hash of a group's name picks a word of it; an entry of the group carries the number of
 * the word and the generation that stood there when it was set (its stamp, layout.h). It lives as long as the two are equal, for every way
 * to it: pond_life(). Nothing is registered, nothing is scanned, and of what is dead memory is won back as of what has expired.
 *
 *   who stores                            who loads                             who invalidates
 *   A1 takes the shard's mutex; stamp =   L1 begins the key's flight, under     I1 takes the mutex of any shard: not that of a file which
 *      the word                              the mutex: ticket = the word          was replaced, and the sync mark is gone (enter.c)
 *   A2 looks at the key: does the old     L2 loads                              I2 full fence; word + STEP (one addition)
 *      entry live?                        L3 takes the mutex: the word is       I3 gives the mutex back
 *   A3 the entry with the stamp              still the ticket's? else nothing
 *                                            is stored; A3 with the ticket      a reader: R1 to R4 of read.c, then G1 the word is the
 *                                                                               stamp's? else absent; R5
 *
 * What is promised: no call that begins behind the end of an invalidation finds an entry whose set had ended before it began, nor one that
 * was loaded, by a flight, from what there was before it began.
 *   - stored before: A1 happened before I2, so the stamp is an older generation; G1 is behind I2 and cannot load an older word than I2
 *     stored. A plain load does: whoever begins behind a call's end has been told so, by something that orders (coherence)
 *   - loaded before: the flight's ticket (L1) was drawn before what it loaded was read. If L1 saw I2, then what I1's caller had changed at
 *     the source before is seen by L2. If not, L3 finds another generation; and if I2 comes between L3 and A3, the entry is stamped with
 *     the ticket, and dead when it is published. ORDER group-generation
 *   - a cas or replace whose old entry is of the group that it stores in: A1 before A2, so if I2 came before A2, the old one is dead, and
 *     if behind, the new one is
 * A set in a group that overlaps the invalidation has been before or behind it, as it happens. A conditional set and a transaction that
 * overlap it may find alive what is dead when they end: they were before it.
 *
 * Why a mutex for one addition: a sync marks the file whole, and a resize copies what lives, under all mutexes. Without one an
 * invalidation could fall between the flushed table and the mark, and entries would come back with the next boot; or be made to a file that
 * has been copied already. With one it falls before or behind, and killed anywhere it has happened or not.
 *
 * 48 bits, and a step that is not 1: the word of a group that is invalidated a million times a second comes back to a generation that an
 * entry carries after nine years (32 bits: after an hour); and neighbouring generations differ in many bits, so that a flipped bit does not
 * bring the last one back. A word that is 0, in a new file or by damage, begins with a generation drawn from the clock, for whoever comes
 * first, an invalidation too: counted from 0 it would come to the same generations in one file after the other, and a ticket from a larger
 * file would be good in a smaller one, whose words begin anew, though there was an invalidation between.
 *
 * Two names of one word are invalidated together: entries are lost that need not be. With n words and g groups in use the chance is
 * 1 - (1 - 1/n)^(g - 1) for a group to share its word: of 1000 groups in a file of 64 MiB (16384 words) 6 in 100, in one of 256 MiB or
 * more (65536) 1.5.
 *
 * Not a word for each shard, which would save a miss where a shard's lines are hot: an invalidation would be as many additions, and not one
 * moment. Sources: generations in place of scans are old (Memcached's flush_all; "namespace versions" kept in keys of their own, which cost
 * their users a second get). */

#include "group.h"

#include "crashpoint.h"
#include "hash.h"
#include "platform.h"

#include <string.h>

#define NAME_SEED UINT64_C(0x67726F7570730001) /* the same in every file, so that numbers may go from one to another */
#define STEP      UINT64_C(0x9E3779B97F4B)     /* odd, so that all 2^48 generations come before the first comes again */

uint32_t pond_group_number(const void *name, size_t name_bytes) {
    if (!name || name_bytes == 0 || name_bytes > MILLPOND_GROUP_BYTES_MAX) return 0;
    return 1 + pond_reduce((uint32_t)(pond_hash(name, name_bytes, NAME_SEED) >> 32), POND_GROUPS_MAX - 1);
}

static uint64_t *words_of(const struct pond_map *map) { return pond_group_word(map, 0); }

/* The generation of a word, begun if need be. ORDER group-generation (loader): before what is loaded is read. Pairs with (invalidator) in
 * pond_group_invalidate(). */
static uint64_t generation(struct pond_map *map, uint32_t number) {
    uint64_t *word = pond_group_word(map, number), was = pond_load_acquire_64(word);
    if (POND_LIKELY((was & POND_GENERATION_MASK) != 0)) return was & POND_GENERATION_MASK;
    uint64_t first = pond_mix(pond_platform_monotonic_ns() * UINT64_C(0x9E3779B97F4A7C15)) & POND_GENERATION_MASK;
    pond_cas_64(word, was, first | 1);
    POND_CRASHPOINT("group.begun");
    return pond_load_acquire_64(word) & POND_GENERATION_MASK;
}

uint64_t pond_group_stamp(struct pond_map *map, uint64_t group) {
    uint32_t number = pond_stamp_number(group);
    if (pond_stamp_generation(group) != 0) return pond_group_valid(map, group) ? group : 0;
    return pond_stamp_make(number, generation(map, number));
}

/* ORDER group-generation (invalidator): what the caller has changed at the source, then the addition. Pairs with (loader) in
 * generation(). */
void pond_group_invalidate(struct pond_map *map, uint32_t number) {
    POND_CRASHPOINT("group.adding");
    generation(map, number);
    pond_fence_full();
    pond_add_64(pond_group_word(map, number), STEP);
    POND_CRASHPOINT("group.added");
}

/* As many words or more: a group's word is a copy of the one that it had, so stamps and tickets go on. Fewer: words fall together, and
 * each begins anew. */
void pond_group_copy(struct pond_map *from, struct pond_map *to) {
    uint32_t old_mask = from->geometry.group_mask, mask = to->geometry.group_mask;
    if (mask < old_mask) return;
    for (uint32_t i = 0; i <= mask; i++) words_of(to)[i] = pond_load_64(&words_of(from)[i & old_mask]);
}

void pond_group_format(struct pond_map *map) { memset(words_of(map), 0, ((size_t)map->geometry.group_mask + 1) * sizeof(uint64_t)); }
