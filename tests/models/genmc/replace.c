/* SPDX-License-Identifier: MIT */
/* replace.c: the hand-over of a resize, a writer in the new file, and a reader that is still in the old one.
 *
 * Key A is in the old file, with value 1, and was copied. The resizer stores the mark, empties the old file, and renames. The writer finds
 * the new file by the path, writes 2 there, and returns. The reader begins a get in the old file; whether the write had returned by then
 * it knows from a word that the writer stores behind it. Rename and opening are the kernel's; its locks are taken to be release and
 * acquire.
 *
 * Checked: a get that begins behind the return does not show 1. A miss in the old file finds the mark.
 *
 * Must fail: NO_MARK_FENCE (between the mark and the emptied slots), MARK_LAST, NO_MISS_FENCE (the load fence of a miss), MARK_READ_FIRST
 * (the mark before the slot), RENAME_FIRST. */
#include "model.h"

enum { IN_PLACE = 0, REPLACED = 1 };

static struct bucket old_file, new_file;
static atomic_int mark, path, returned;

static void empty(void) {
    STORE(old_file.slot, 0, RELAXED);
    RAISE(old_file.version, RELEASE);
}

static void *resizer(void *unused) {
#ifdef RENAME_FIRST
    STORE(path, 1, RELEASE);
#endif
#ifdef MARK_LAST
    empty();
#endif
    STORE(mark, REPLACED, RELEASE); /* H1 */
#ifndef NO_MARK_FENCE
    FENCE(RELEASE);
#endif
#ifndef MARK_LAST
    empty(); /* H2 */
#endif
#ifndef RENAME_FIRST
    STORE(path, 1, RELEASE); /* H3 */
#endif
    return unused;
}

static void *writer(void *unused) {
    __VERIFIER_assume(LOAD(path, ACQUIRE) == 1);
    STORE(new_file.slot, 2, RELEASE);
    RAISE(new_file.version, RELEASE);
    STORE(returned, 1, RELEASE);
    return unused;
}

static void *reader(void *unused) {
    int behind = LOAD(returned, ACQUIRE), version = LOAD(old_file.version, ACQUIRE), seen;

#ifdef MARK_READ_FIRST
    seen = LOAD(mark, RELAXED);
#endif
    if (LOAD(old_file.slot, RELAXED) == 1) { /* compared with others at once; only one that matches is loaded anew */
        if (LOAD(old_file.slot, ACQUIRE) != 1) return unused;
        FENCE(ACQUIRE);
        if (LOAD(old_file.version, RELAXED) == version) assert(!behind);
        return unused;
    }
#ifndef NO_MISS_FENCE
    FENCE(ACQUIRE);
#endif
    if (LOAD(old_file.version, RELAXED) != version) return unused;
#ifndef MARK_READ_FIRST
    seen = LOAD(mark, RELAXED);
#endif
    assert(seen == REPLACED);
    return unused;
}

int main(void) {
    STORE(old_file.slot, 1, RELAXED);
    STORE(new_file.slot, 1, RELAXED);
    start(resizer);
    start(writer);
    start(reader);
    return 0;
}
