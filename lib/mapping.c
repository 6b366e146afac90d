/* SPDX-License-Identifier: MIT */
/* A file mapped into this process. Creating it: create.c.
 *
 * Opening:   O1 open without following links; look at type, owner, mode, file system
 *            O2 lock byte 0 of the file (an open file description lock: a POSIX lock would be lost when any descriptor of the file is
 *            closed)
 *            O3 read the identity, check all of it, map
 *            O4 nobody else uses it (byte 1 can be locked alone): the mutexes are looked at, and made anew where they are not free; all
 *               of them, before anyone uses them, in a file of another boot, a copy of a file, or one whose PID namespace is gone
 *            O5 a shared lock on byte 1 says: somebody uses this file. It goes when the last process is gone
 *            O6 unlock byte 0
 * Anonymous: C1 makes memory that has no name (memfd), C3 is left out; it is sealed at its size and opened by its descriptor, O1 to
 *            O6. Others reach it through a descriptor: inherited, sent, or seen in /proc.
 *
 * One mapping serves every handle of a process on a file and access: the kernel's list of held robust mutexes is a list of addresses,
 * and a mapping that is unmapped while a thread holds a mutex in it would break that list. So a thread that owns a reader slot (a held
 * mutex) keeps its mapping; it is unmapped when the last handle is closed and the last such thread has let go. */

#include "mapping.h"

#include "atomic.h"
#include "crashpoint.h"
#include "create.h"
#include "error.h"
#include "hash.h"
#include "lock.h"
#include "platform.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define OPEN_TIMEOUT_MS 10000u
#define CREATE_TRIES    100

static pthread_mutex_t process_mutex = PTHREAD_MUTEX_INITIALIZER;
static struct pond_map *process_maps;
static struct pond_own_fd *process_own;
static pond_fork_hook fork_child;

void pond_process_lock(void) { pthread_mutex_lock(&process_mutex); }
void pond_process_unlock(void) { pthread_mutex_unlock(&process_mutex); }

/* References that threads of the parent were about to give back. */
static void drop_leaving(void) {
    for (struct pond_map *map = process_maps, *next; map; map = next) {
        next = map->next;
        unsigned leaving = map->leaving;
        map->leaving = 0;
        while (leaving-- > 0) pond_map_release_locked(map);
    }
}

int pond_own_open(struct pond_own_fd *own, const char *path) {
    pond_process_lock(); /* no fork between the two */
    int failed = pond_platform_open(path, 1, &own->fd);
    if (failed) {
        own->fd = -1;
    } else {
        own->link = &process_own;
        own->next = process_own;
        if (own->next) own->next->link = &own->next;
        process_own = own;
    }
    pond_process_unlock();
    return failed;
}

static void close_own(struct pond_own_fd *own) {
    *own->link = own->next;
    if (own->next) own->next->link = own->link;
    pond_platform_close(own->fd);
    own->fd = -1;
}

void pond_own_close(struct pond_own_fd *own) {
    pond_process_lock();
    if (own->fd >= 0) close_own(own);
    pond_process_unlock();
}

static void after_fork_in_child(void) {
    if (fork_child) fork_child();
    drop_leaving();
    while (process_own) close_own(process_own);
    for (struct pond_map *map = process_maps; map; map = map->next)
        if (map->gate)
            pond_gate_after_fork(map->gate);
        else if (!map->readonly && pond_platform_pid_namespace() != map->living->pid_namespace)
            map->refusal = MILLPOND_ERR_NAMESPACE; /* the first child behind unshare(CLONE_NEWPID) */
    pond_process_unlock();
}

static void install_fork_handlers(void) { pthread_atfork(pond_process_lock, pond_process_unlock, after_fork_in_child); }

void pond_map_install_fork_handlers(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, install_fork_handlers);
}

void pond_map_on_fork(pond_fork_hook child) { fork_child = child; }

/* ---- opening ---- */

struct pond_map *pond_map_new(int fd, unsigned char *base, int readonly) {
    struct pond_map *map = calloc(1, sizeof *map);
    if (!map) return NULL;
    map->fd = fd;
    map->base = base;
    map->readonly = readonly;
    map->refusal = readonly ? MILLPOND_ERR_READ_ONLY : MILLPOND_OK;
    map->living = (struct pond_living *)(void *)(base + POND_LIVING_OFF);
    map->readers = (struct pond_reader *)(void *)(base + POND_READERS_OFF);
    map->refs = 1;
    return map;
}

int pond_map_boot_identity(struct pond_living *living, char *errmsg, const char *path) {
    int failed = pond_platform_boot_id(living->boot_id);
    if (failed) return pond_error_system(failed, errmsg, path, "reading /proc/sys/kernel/random/boot_id");
    living->pid_namespace = pond_platform_pid_namespace();
    return MILLPOND_OK;
}

/* O1. */
static int look(int fd, const char *path, const struct millpond_options *options, struct pond_file_info *info, char *errmsg) {
    int failed = pond_platform_info(fd, info);
    if (failed) return pond_error_system(failed, errmsg, path, "fstat");
    if (!info->regular) return pond_error_say(MILLPOND_ERR_NOT_REGULAR, errmsg, path, "it is not a regular file; name a pond");
    if (info->refused && !(options->flags & MILLPOND_ANY_FILESYSTEM))
        return pond_error_say(MILLPOND_ERR_FILESYSTEM, errmsg, path,
                              "its file system (%s) cannot share mappings safely; use a local one such as /dev/shm", info->refused);
    if (!(options->flags & MILLPOND_READONLY) && info->owner != info->own_user && info->owner != 0)
        return pond_error_say(MILLPOND_ERR_UNSAFE, errmsg, path,
                              "it belongs to user %u, whom a writer would have to trust; run as that user, or open it read-only",
                              (unsigned)info->owner);
    return MILLPOND_OK;
}

static int wrong_build(const struct pond_identity *id, const char *path, char *errmsg) {
    if (id->byte_order != POND_BYTE_ORDER)
        return pond_error_say(MILLPOND_ERR_LAYOUT, errmsg, path, "it was made on a machine of another byte order; create it anew here");
    if (id->word_bytes != sizeof(void *))
        return pond_error_say(MILLPOND_ERR_LAYOUT, errmsg, path,
                              "it was made by a %u-bit program, this one has %u bits; use one kind for all", id->word_bytes * 8,
                              (unsigned)sizeof(void *) * 8);
    if (id->libc != POND_LIBC || id->mutex_bytes != sizeof(pthread_mutex_t))
        return pond_error_say(MILLPOND_ERR_LAYOUT, errmsg, path,
                              "it was made by a program for another processor or C library, whose locks differ; use one for all");
    return MILLPOND_OK;
}

/* O3, without the mapping. */
static int read_identity(int fd, const char *path, const struct pond_file_info *info, int readonly, struct pond_geometry *geometry,
                         char *errmsg) {
    struct pond_identity id;
    long got = pond_platform_read(fd, &id, sizeof id, 0);
    if (got < 0) return pond_error_system((int)-got, errmsg, path, "reading it");
    if (got == 0) return pond_error_say(MILLPOND_ERR_NOT_A_POND, errmsg, path, "it is empty, not a pond; remove it, then create it");
    if (got < (long)sizeof id || memcmp(id.magic, POND_MAGIC, sizeof id.magic) != 0)
        return pond_error_say(MILLPOND_ERR_NOT_A_POND, errmsg, path, "it is not a pond; name a file that millpond created");
    if (id.format_version != POND_FORMAT_VERSION && id.byte_order == POND_BYTE_ORDER)
        return pond_error_say(MILLPOND_ERR_VERSION, errmsg, path,
                              "it has format version %u, this program knows %u; create it anew, or use %s", id.format_version,
                              POND_FORMAT_VERSION, id.format_version > POND_FORMAT_VERSION ? "a newer one" : "an older one");
    int result = wrong_build(&id, path, errmsg);
    if (result != MILLPOND_OK) return result;
    if (id.checksum != pond_hash(&id, offsetof(struct pond_identity, checksum), 0))
        return pond_error_say(MILLPOND_ERR_CORRUPT, errmsg, path, "its first page is damaged; remove it and create it anew");
    if (id.file_bytes != info->size_bytes)
        return pond_error_say(MILLPOND_ERR_FILE_SIZE, errmsg, path, "it has %llu bytes and should have %llu; remove it and create it anew",
                              (unsigned long long)info->size_bytes, (unsigned long long)id.file_bytes);
    const char *wrong = pond_layout_geometry(&id, geometry);
    if (wrong) return pond_error_say(MILLPOND_ERR_CORRUPT, errmsg, path, "%s; remove it and create it anew", wrong);
    if (!readonly && (info->mode & 022 & ~id.mode))
        return pond_error_say(MILLPOND_ERR_UNSAFE, errmsg, path,
                              "others may write it (mode %04o) and could harm who locks it; chmod it to %04o", info->mode, id.mode);
    return MILLPOND_OK;
}

/* O4: is what stands in the file of this boot, this file and this PID namespace? */
static int attach(struct pond_map *map, const char *path, const struct pond_map_hooks *hooks, char *errmsg) {
    struct pond_living now;
    int result = pond_map_boot_identity(&now, errmsg, path);
    if (result != MILLPOND_OK) return result;
    struct pond_living *living = map->living;
    int copied = living->device != map->device || living->inode != map->inode;
    int stale = copied || memcmp(living->boot_id, now.boot_id, sizeof now.boot_id) != 0;
    int stranger = living->pid_namespace != now.pid_namespace && !(map->geometry.file_flags & POND_FILE_NAMESPACES);
    if (map->readonly) {
        if (stale)
            return pond_error_say(MILLPOND_ERR_CORRUPT, errmsg, path,
                                  "it was last used before a restart of the machine, or is a copy; open it once for writing first");
        return MILLPOND_OK;
    }
    int alone = pond_platform_file_lock(map->fd, POND_FILE_LOCK_USERS, 1, 0) == 0;
    if (stale && !alone)
        return pond_error_say(MILLPOND_ERR_IN_USE, errmsg, path,
                              "it is being used as a file of another boot or place; close it everywhere first");
    if (stranger && !alone)
        return pond_error_say(MILLPOND_ERR_NAMESPACE, errmsg, path,
                              "processes of another PID namespace (container) use it; share the namespace, or create it with --namespaces");
    if (alone) {
        result = hooks->attach(map,
                               copied     ? POND_ATTACH_COPIED
                               : stale    ? POND_ATTACH_STALE
                               : stranger ? POND_ATTACH_ABANDONED
                                          : POND_ATTACH_ALONE,
                               errmsg, path);
        if (result != MILLPOND_OK) return result;
        living->device = map->device;
        living->inode = map->inode;
        living->pid_namespace = now.pid_namespace;
        POND_CRASHPOINT("attach.reset");
        if (stale) living->replaced = POND_IN_PLACE; /* whatever a resize had begun, this is the file that has the name now */
        if (stale) memcpy(living->boot_id, now.boot_id, sizeof now.boot_id); /* last: a killed opener leaves the work to the next one */
        POND_CRASHPOINT("attach.named");
    }
    int failed =
        pond_platform_file_lock(map->fd, POND_FILE_LOCK_USERS, 0, OPEN_TIMEOUT_MS); /* O5; turns an exclusive one into a shared one */
    if (failed) return pond_error_system(failed, errmsg, path, "locking it");
    return MILLPOND_OK;
}

static int map_file(int fd, const char *path, const struct millpond_options *options, const struct pond_file_info *info,
                    const struct pond_map_hooks *hooks, struct pond_map **out, char *errmsg) {
    int readonly = (options->flags & MILLPOND_READONLY) != 0;
    struct pond_geometry geometry;
    unsigned char *base;
    int result = read_identity(fd, path, info, readonly, &geometry, errmsg);
    if (result != MILLPOND_OK) return result;
    unsigned flags = (readonly ? 0 : POND_MAP_WRITE) | (options->flags & MILLPOND_POPULATE ? POND_MAP_POPULATE : 0) |
                     (geometry.file_flags & POND_FILE_HUGEPAGES ? POND_MAP_HUGEPAGES : 0);
    int failed = pond_platform_map(fd, geometry.file_bytes, flags, &base);
    if (failed == ENOMEM)
        return pond_error_say(MILLPOND_ERR_LIMIT, errmsg, path, "no address space for a mapping of its size; raise the limit (ulimit -v)");
    if (failed) return pond_error_system(failed, errmsg, path, "mmap");
    struct pond_map *map = pond_map_new(fd, base, readonly);
    if (!map) {
        pond_platform_unmap(base, geometry.file_bytes);
        return pond_error_say(MILLPOND_ERR_NO_MEMORY, errmsg, path, "out of memory");
    }
    map->geometry = geometry;
    map->device = info->device;
    map->inode = info->inode;
    if (!readonly && geometry.file_flags & POND_FILE_NAMESPACES) {
        failed = pond_gate_new(fd, geometry.shard_count, &map->gate);
        if (failed) result = pond_error_system(failed, errmsg, path, "opening it once more");
    }
    if (result == MILLPOND_OK) result = attach(map, path, hooks, errmsg);
    if (result != MILLPOND_OK) {
        pond_gate_free(map->gate);
        pond_platform_unmap(base, geometry.file_bytes);
        free(map);
        return result;
    }
    *out = map;
    return MILLPOND_OK;
}

static struct pond_map *mapped_already(const struct pond_file_info *info, int readonly) {
    for (struct pond_map *map = process_maps; map; map = map->next)
        if (map->device == info->device && map->inode == info->inode && map->readonly == readonly) return map;
    return NULL;
}

/* O1 to O6 with an opened file, which belongs to the mapping afterwards, or is closed. Under the process lock. */
static int open_descriptor(int fd, const char *path, const struct millpond_options *options, const struct pond_map_hooks *hooks,
                           uint32_t timeout_ms, struct pond_map **out, char *errmsg) {
    int readonly = (options->flags & MILLPOND_READONLY) != 0;
    struct pond_file_info info;
    int result = look(fd, path, options, &info, errmsg);
    struct pond_map *map = result == MILLPOND_OK ? mapped_already(&info, readonly) : NULL;
    if (map) {
        pond_map_hold(map);
        pond_platform_close(fd);
        *out = map;
        return MILLPOND_OK;
    }
    if (result == MILLPOND_OK) {
        int failed = pond_platform_file_lock(fd, POND_FILE_LOCK_ATTACH, !readonly, timeout_ms); /* O2 */
        if (failed == EAGAIN)
            result = pond_error_say(MILLPOND_ERR_BUSY, errmsg, path,
                                    "another process has been opening it for %u ms; look for a stopped one", timeout_ms);
        else if (failed)
            result = pond_error_system(failed, errmsg, path, "locking it");
    }
    if (result == MILLPOND_OK) {
        int failed = pond_platform_info(fd, &info); /* again, under the lock */
        if (failed) result = pond_error_system(failed, errmsg, path, "fstat");
    }
    if (result == MILLPOND_OK) result = map_file(fd, path, options, &info, hooks, &map, errmsg);
    if (result != MILLPOND_OK) {
        pond_platform_close(fd);
        return result;
    }
    pond_platform_file_unlock(fd, POND_FILE_LOCK_ATTACH); /* O6 */
    map->next = process_maps;
    process_maps = map;
    *out = map;
    return MILLPOND_OK;
}

int pond_map_open_locked(const char *path, const struct millpond_options *options, const struct pond_map_hooks *hooks, uint32_t timeout_ms,
                         struct pond_map **map, char *errmsg) {
    int fd, failed = pond_platform_open(path, !(options->flags & MILLPOND_READONLY), &fd);
    if (failed) return pond_error_system(failed, errmsg, path, "opening it");
    return open_descriptor(fd, path, options, hooks, timeout_ms, map, errmsg);
}

/* A pond that only its descriptor leads to: made, sealed, mapped. Under the process lock. */
static int open_anonymous(const char *name, const struct millpond_options *options, const struct pond_map_hooks *hooks,
                          struct pond_map **out, char *errmsg) {
    struct pond_new fresh;
    int result = pond_create_make(name, options, NULL, hooks, &fresh, errmsg);
    if (result != MILLPOND_OK) return result;
    int fd, failed = pond_platform_seal(fresh.file.fd);
    if (!failed) failed = pond_platform_reopen(fresh.file.fd, &fd);
    pond_create_drop(&fresh);
    if (failed) return pond_error_system(failed, errmsg, name, "sealing it");
    return open_descriptor(fd, name, options, hooks, OPEN_TIMEOUT_MS, out, errmsg);
}

int pond_map_open(const char *path, const struct millpond_options *options, const struct pond_map_hooks *hooks, struct pond_map **map,
                  char *errmsg) {
    if (!(options->flags & MILLPOND_READONLY) && !pond_lock_works())
        return pond_error_say(MILLPOND_ERR_UNLOCKABLE, errmsg, path,
                              "this system does not hand on a lock whose owner died; use a native Linux kernel with robust mutexes");
    int result = MILLPOND_ERR_NO_FILE;
    pond_process_lock();
    if (options->flags & MILLPOND_ANONYMOUS) result = open_anonymous(path, options, hooks, map, errmsg);
    for (int i = 0; i < CREATE_TRIES && !(options->flags & MILLPOND_ANONYMOUS); i++) {
        if (!(options->flags & MILLPOND_EXCLUSIVE)) {
            result = pond_map_open_locked(path, options, hooks, OPEN_TIMEOUT_MS, map, errmsg);
            if (result != MILLPOND_ERR_NO_FILE || !(options->flags & MILLPOND_CREATE)) break;
        }
        result = pond_create_file(path, options, hooks, errmsg);
        if (result == MILLPOND_OK) result = pond_map_open_locked(path, options, hooks, OPEN_TIMEOUT_MS, map, errmsg);
        if (result == MILLPOND_ERR_FILE_EXISTS && options->flags & MILLPOND_EXCLUSIVE)
            pond_error_say(result, errmsg, path, "it exists already; remove it first, or open it without creating");
        if (result != MILLPOND_ERR_FILE_EXISTS || options->flags & MILLPOND_EXCLUSIVE) break;
    }
    pond_process_unlock();
    return result;
}

void pond_map_hold(struct pond_map *map) { pond_add_32(&map->refs, 1); }

/* One less, unless it is the last one. Whatever the caller did with the mapping comes before that. */
static int release_one_of_several(struct pond_map *map) {
    pond_fence_full();
    for (uint32_t refs; (refs = pond_load_acquire_32(&map->refs)) > 1;)
        if (pond_cas_32(&map->refs, refs, refs - 1)) return 1;
    return 0;
}

void pond_map_release_locked(struct pond_map *map) {
    if (release_one_of_several(map)) return;
    struct pond_map **link = &process_maps;
    while (*link != map) link = &(*link)->next;
    *link = map->next;
    pond_platform_unmap(map->base, map->geometry.file_bytes);
    pond_gate_free(map->gate);
    pond_platform_close(map->fd);
    free(map);
}

void pond_map_release(struct pond_map *map) {
    if (release_one_of_several(map)) return;
    pond_process_lock();
    pond_map_release_locked(map);
    pond_process_unlock();
}
