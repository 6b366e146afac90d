/* SPDX-License-Identifier: MIT */
/* What may stand on the disk after a power cut. This file also takes the place of msync() for the library that is linked into the same
 * program. */

#include "disk.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

static struct disk *watched; /* of this process */

struct disk *disk_make(struct ground *ground, uint32_t skip) {
    struct disk *disk = support_share(sizeof *disk);
    disk->ground = ground;
    disk->skip = skip;
    disk->images = support_share(DISK_SNAPSHOTS_MAX * ground->bytes);
    disk->flushed = support_share(DISK_SNAPSHOTS_MAX * (ground->bytes / POND_PAGE_BYTES) * sizeof *disk->flushed);
    return disk;
}

void disk_empty(struct disk *disk) {
    disk->count = disk->msyncs = disk->stage = 0;
    memset(disk->flushed, 0, disk->ground->bytes / POND_PAGE_BYTES * sizeof *disk->flushed);
}

static uint32_t *flushed_of(const struct disk *disk, uint32_t snapshot) {
    return disk->flushed + (size_t)snapshot * (disk->ground->bytes / POND_PAGE_BYTES);
}

void disk_take(struct disk *disk) {
    uint32_t at = disk->count;
    CHECK(at < DISK_SNAPSHOTS_MAX, "more than %u snapshots", DISK_SNAPSHOTS_MAX);
    memcpy(disk_image(disk, at), disk->ground->now, disk->ground->bytes);
    disk->snapshots[at] = (struct snapshot){disk->ground->map.living->clean, disk->stage};
    if (at > 0) memcpy(flushed_of(disk, at), flushed_of(disk, at - 1), disk->ground->bytes / POND_PAGE_BYTES * sizeof *disk->flushed);
    disk->count++;
}

void disk_stage(struct disk *disk, uint32_t stage) { disk->stage = stage; }

static void hook(const char *name) {
    static unsigned passed;
    bool syncing = strncmp(name, "sync.", 5) == 0;
    if (syncing || passed++ % watched->skip == 0) disk_take(watched);
    if (watched->meanwhile && strcmp(name, "sync.flushed") == 0) watched->meanwhile(watched->meanwhile_arg);
}

void disk_watch(struct disk *disk, void (*meanwhile)(void *arg), void *arg) {
    watched = disk;
    disk->meanwhile = meanwhile;
    disk->meanwhile_arg = arg;
    disk_take(disk);
    crash_hook(hook);
}

/* The mapping of the file in which an address lies: there are two, the parent's raw view and the library's. */
static size_t offset_of(const void *address) {
    uintptr_t at = (uintptr_t)address, from, to;
    char line[PATH_MAX + 128];
    FILE *maps = fopen("/proc/self/maps", "re");
    CHECK(maps, "/proc/self/maps: %s", strerror(errno));
    size_t offset = SIZE_MAX;
    while (fgets(line, sizeof line, maps))
        if (sscanf(line, "%lx-%lx", &from, &to) == 2 && at >= from && at < to) offset = at - from;
    fclose(maps);
    return offset;
}

/* Called by the library. */
int msync(void *address, size_t bytes, int flags) {
    if (watched) {
        size_t first = offset_of(address) / POND_PAGE_BYTES, pages = (bytes + POND_PAGE_BYTES - 1) / POND_PAGE_BYTES;
        CHECK(first + pages <= watched->ground->bytes / POND_PAGE_BYTES && (flags & MS_SYNC), "an msync of pages %zu to %zu, flags %x",
              first, first + pages, (unsigned)flags);
        disk_take(watched); /* the power may go while it writes, */
        disk_take(watched); /* or when it has written all */
        uint32_t at = watched->count - 1;
        for (size_t page = first; page < first + pages; page++) flushed_of(watched, at)[page] = at;
        watched->msyncs++;
        return 0;
    }
    return (int)syscall(SYS_msync, address, bytes, flags);
}

/* ---- cuts ---- */

static uint32_t between(struct support_random *random, uint32_t from, uint32_t to) {
    /* Often one of the two ends, where the most has changed. */
    uint64_t dice = support_below(random, 4);
    if (dice == 0) return from;
    if (dice == 1) return to;
    return from + (uint32_t)support_below(random, to - from + 1);
}

/* A page as of some snapshot; or its sectors as of two. */
static void compose(const struct disk *disk, size_t page, uint32_t from, uint32_t to, bool by_sectors, struct support_random *random,
                    unsigned char *image) {
    uint32_t first = between(random, from, to), second = by_sectors ? between(random, from, to) : first;
    for (size_t off = page * POND_PAGE_BYTES; off < (page + 1) * POND_PAGE_BYTES; off += DISK_SECTOR_BYTES)
        memcpy(image + off, disk_image(disk, support_below(random, 2) ? first : second) + off, DISK_SECTOR_BYTES);
}

uint32_t disk_cut(const struct disk *disk, uint32_t at, bool by_sectors, struct support_random *random, unsigned char *image) {
    const size_t living = POND_LIVING_OFF / POND_PAGE_BYTES;
    uint32_t mark = between(random, flushed_of(disk, at)[living], at);
    for (size_t page = 0; page < disk->ground->bytes / POND_PAGE_BYTES; page++)
        compose(disk, page, flushed_of(disk, at)[page], at, by_sectors, random, image);
    /* All that matters of the living page lies in its first sector. */
    memcpy(image + POND_LIVING_OFF, disk_image(disk, mark) + POND_LIVING_OFF, POND_PAGE_BYTES);
    return mark;
}

void disk_cut_wrongly(const struct disk *disk, uint32_t from, uint32_t at, bool by_sectors, struct support_random *random,
                      unsigned char *image) {
    for (size_t page = 0; page < disk->ground->bytes / POND_PAGE_BYTES; page++) compose(disk, page, from, at, by_sectors, random, image);
    memcpy(image + POND_LIVING_OFF, disk_image(disk, from) + POND_LIVING_OFF, POND_PAGE_BYTES);
}
