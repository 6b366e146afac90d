/* SPDX-License-Identifier: MIT */
#ifndef MILLPOND_TESTS_DISK_H
#define MILLPOND_TESTS_DISK_H

/* What may stand on the disk after a power cut.
 *
 * A process that writes takes a snapshot of the whole file at every named place that it passes, and at every msync that it makes. The
 * kernel may write any page of a mapping at any time, and must have written it when an msync of that page has returned. So, cut at snapshot
 * T, each page is on the disk as it was at any one snapshot from its last finished msync to T; a page that was being written then may be of
 * two of them, sector by sector. Nothing here knows what the library means by its order of writes: it only sees which msync calls it makes.
 */

#include "crash.h"

#define DISK_SNAPSHOTS_MAX 512u
#define DISK_SECTOR_BYTES  512u

struct snapshot {
    uint32_t clean; /* the mark in it */
    uint32_t stage; /* what the process says it was doing; see disk_stage() */
};

struct disk {
    struct ground *ground;
    uint32_t count;
    uint32_t msyncs;
    uint32_t skip; /* takes one named place of so many */
    struct snapshot snapshots[DISK_SNAPSHOTS_MAX];
    uint32_t stage;
    void (*meanwhile)(void *arg); /* of the process that writes */
    void *meanwhile_arg;
    unsigned char *images; /* shared, DISK_SNAPSHOTS_MAX times the file */
    uint32_t *flushed;     /* shared, [snapshot][page]: the snapshot at which the page's last msync before or at it returned */
};

/* Both before the fork. */
struct disk *disk_make(struct ground *ground, uint32_t skip);
/* Forgets all snapshots. */
void disk_empty(struct disk *disk);
/* In the process that writes: from here on it takes snapshots; disk_take() takes one more. `meanwhile` is called in each sync, between its
 * two rounds of writing pages: others may write there. */
void disk_watch(struct disk *disk, void (*meanwhile)(void *arg), void *arg);
void disk_take(struct disk *disk);
void disk_stage(struct disk *disk, uint32_t stage);

static inline unsigned char *disk_image(const struct disk *disk, uint32_t snapshot) {
    return disk->images + (size_t)snapshot * disk->ground->bytes;
}

/* Composes what a cut at a snapshot may leave, in `image`. Returns the snapshot from which the living page is. */
uint32_t disk_cut(const struct disk *disk, uint32_t at, bool by_sectors, struct support_random *random, unsigned char *image);
/* The same without regard to msync: each page of any snapshot from `from` to `at`, but the living page from `from`. */
void disk_cut_wrongly(const struct disk *disk, uint32_t from, uint32_t at, bool by_sectors, struct support_random *random,
                      unsigned char *image);

#endif
