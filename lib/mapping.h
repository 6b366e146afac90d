/* SPDX-License-Identifier: MIT */
#ifndef POND_MAPPING_H
#define POND_MAPPING_H

/* A file mapped into this process: made, checked, shared by all handles, let go. */

#include "gate.h"
#include "layout.h"
#include "millpond.h"

struct pond_map {
    unsigned char *base;
    struct pond_geometry geometry;
    struct pond_living *living;
    struct pond_reader *readers;
    int fd;
    int readonly;
    int refusal; /* what writers are told: MILLPOND_OK, ERR_READ_ONLY, or ERR_NAMESPACE in a child that went to another one */
    uint64_t device, inode;
    uint64_t own_skew_ms;    /* of this process's clock alone (expire.c) */
    uint64_t system_seen_ms; /* the system's clock when a writer of this process last looked, 0 before */
    struct pond_gate *gate;  /* NULL unless writers live in several PID namespaces */
    struct pond_map *next;   /* of this process's mappings */
    uint32_t refs;           /* handles, threads that own a reader slot, calls that take long; becomes 0 under the process lock only */
    unsigned leaving;        /* of those, handles' that wait for a grace period; guarded by the process lock of mapping.c */
    int followed;            /* 1: a handle was opened with MILLPOND_FOLLOW, so misses look at its path now and then */
    int left;                /* 1: a handle has gone on from it to another file, so threads give their reader slots back */
};

/* Why a newly opened file needs work before anyone may use it. */
enum pond_attach {
    POND_ATTACH_ALONE = 0,    /* nobody else uses it: every lock must be free, and one that is not is damaged or its owner is dead */
    POND_ATTACH_STALE = 1,    /* made in another boot of the machine: nothing of its locks or unsynced data holds */
    POND_ATTACH_COPIED = 3,   /* a copy of another file, perhaps made while that was in use: it was never whole, whatever it says */
    POND_ATTACH_ABANDONED = 2 /* its users were in another PID namespace and are all gone: their locks mean nothing here */
};

/* What the layers above do to a file: both are called while no one else can use it. */
struct pond_map_hooks {
    void (*format)(struct pond_map *map); /* fill a new, zeroed file */
    int (*attach)(struct pond_map *map, enum pond_attach why, char *errmsg, const char *path);
};

/* Opens or creates (see millpond_open). A mapping that this process has already is shared. Returns a millpond result. */
int pond_map_open(const char *path, const struct millpond_options *options, const struct pond_map_hooks *hooks, struct pond_map **map,
                  char *errmsg);

/* Opens what exists, for callers that hold the process lock; waits for other openers so long. */
int pond_map_open_locked(const char *path, const struct millpond_options *options, const struct pond_map_hooks *hooks, uint32_t timeout_ms,
                         struct pond_map **map, char *errmsg);

/* A mapping's description for a file that is mapped at `base`, not yet known to the process; or NULL. */
struct pond_map *pond_map_new(int fd, unsigned char *base, int readonly);
/* Boot and PID namespace of this process. Returns a millpond result. */
int pond_map_boot_identity(struct pond_living *living, char *errmsg, const char *path);

/* The process lock is held over fork. To be called before any other handler for fork is installed whose lock is held by somebody who may
 * want the process lock: those are then taken first. */
void pond_map_install_fork_handlers(void);

/* One reference more, for who has one or is in a read-side section; one less. The last one unmaps. Without a lock else: a signal handler
 * may do so in the middle of the same. */
void pond_map_hold(struct pond_map *map);
void pond_map_release(struct pond_map *map);

/* Guards what a process knows of its mappings and reader slots; held over fork. */
void pond_process_lock(void);
void pond_process_unlock(void);
/* Like pond_map_release, for callers that hold the process lock. */
void pond_map_release_locked(struct pond_map *map);
/* Drops `refs` references that belonged to threads of a parent process, in a child of fork; the caller holds the process lock. */
typedef void (*pond_fork_hook)(void);
void pond_map_on_fork(pond_fork_hook child);

/* A descriptor that a call has open for a while, with a file lock on it: a child that is forked meanwhile shares both, and would keep the
 * lock when the call, or the parent, has ended. So it closes its own at once. */
struct pond_own_fd {
    int fd; /* -1: none */
    struct pond_own_fd *next, **link;
};
/* Opens a file for writing; 0 or errno. And closes it. */
int pond_own_open(struct pond_own_fd *own, const char *path);
void pond_own_close(struct pond_own_fd *own);

static inline unsigned char *pond_shard_base(const struct pond_map *map, uint32_t shard) {
    return map->base + map->geometry.shards_off + (uint64_t)shard * map->geometry.shard_bytes;
}
/* What tells this file from any other. */
static inline uint64_t pond_map_creation(const struct pond_map *map) {
    return ((const struct pond_identity *)(const void *)map->base)->creation;
}
static inline uint32_t pond_shard_of(const struct pond_geometry *g, uint64_t hash) { return (uint32_t)(hash >> 1 >> g->shard_shift); }

#endif
