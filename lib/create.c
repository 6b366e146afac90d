/* SPDX-License-Identifier: MIT */
/* Making a pond.
 *
 * C1 an unnamed file in the folder where it will be, allocated to its full size (a full disk is noticed now, not as SIGBUS later);
 *    MILLPOND_ANONYMOUS: memory that never has a name
 * C2 living page, shards and mutexes are written into it, then the identity
 * C3 it is linked to its name: complete, or not there. Of two creators the slower one finds EEXIST and opens the other's */

#include "create.h"

#include "crashpoint.h"
#include "error.h"
#include "hash.h"
#include "lock.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Sizes for the place where the file will be. */
static const char *plan(const struct millpond_options *options, const char *path, struct pond_identity *id) {
    struct millpond_options o = *options;
    const char *wrong = pond_layout_plan(&o, pond_platform_processors(), id);
    uint64_t unit = o.flags & MILLPOND_ANONYMOUS ? 1 : pond_platform_size_unit(path);
    if (wrong || id->file_bytes % unit == 0) return wrong;
    o.size_bytes = (id->file_bytes + unit - 1) / unit * unit;
    return pond_layout_plan(&o, pond_platform_processors(), id);
}

static int identity_new(const struct millpond_options *o, const struct pond_map *like, struct pond_identity *id, char *errmsg,
                        const char *path) {
    memset(id, 0, sizeof *id);
    memcpy(id->magic, POND_MAGIC, sizeof id->magic);
    id->format_version = POND_FORMAT_VERSION;
    id->byte_order = POND_BYTE_ORDER;
    id->word_bytes = sizeof(void *);
    id->mutex_bytes = sizeof(pthread_mutex_t);
    id->libc = POND_LIBC;
    id->flags = (o->flags & MILLPOND_NAMESPACES ? POND_FILE_NAMESPACES : 0) | (o->flags & MILLPOND_HUGEPAGES ? POND_FILE_HUGEPAGES : 0);
    id->mode = o->mode ? o->mode : 0600;
    const char *wrong = plan(o, path, id);
    if (wrong) return pond_error_say(MILLPOND_ERR_ARGUMENT, errmsg, path, "%s", wrong);
    int failed = pond_platform_random(&id->creation, sizeof id->creation);
    if (like) id->hash_seed = like->geometry.hash_seed;
    if (!failed && !like) failed = pond_platform_random(&id->hash_seed, sizeof id->hash_seed);
    if (failed) return pond_error_system(failed, errmsg, path, "reading random bytes");
    id->checksum = pond_hash(id, offsetof(struct pond_identity, checksum), 0);
    return MILLPOND_OK;
}

/* C1. */
static int new_file(const char *path, const struct millpond_options *options, const struct pond_identity *id, struct pond_new_file *file,
                    char *errmsg) {
    int anonymous = (options->flags & MILLPOND_ANONYMOUS) != 0;
    int failed = anonymous ? pond_platform_new_anonymous(path, id->file_bytes, id->mode, file)
                           : pond_platform_new_file(path, id->file_bytes, id->mode, file);
    if (failed == ENOENT || failed == ENOTDIR)
        return pond_error_say(MILLPOND_ERR_NO_FILE, errmsg, path, "its folder does not exist; make the folder first");
    if (failed == EROFS)
        return pond_error_say(MILLPOND_ERR_READ_ONLY_FS, errmsg, path, "the file system is read-only; create it in another place");
    if (failed == ENOSPC && !anonymous && pond_platform_size_unit(path) > 1)
        return pond_error_say(MILLPOND_ERR_NO_SPACE, errmsg, path,
                              "there are not so many free huge pages; raise vm.nr_hugepages, or give a smaller size");
    if (failed) return pond_error_system(failed, errmsg, path, "creating it");
    POND_CRASHPOINT("create.allocated");
    struct pond_file_info info;
    if (pond_platform_info(file->fd, &info) == 0 && info.refused && !(options->flags & MILLPOND_ANY_FILESYSTEM)) {
        pond_platform_drop(file);
        return pond_error_say(MILLPOND_ERR_FILESYSTEM, errmsg, path,
                              "its file system (%s) cannot share mappings safely; use a local one such as /dev/shm", info.refused);
    }
    return MILLPOND_OK;
}

/* C2. */
static int fill(const struct pond_identity *id, const struct pond_map_hooks *hooks, struct pond_new *fresh, char *errmsg,
                const char *path) {
    unsigned char *base;
    struct pond_file_info info;
    int failed = pond_platform_info(fresh->file.fd, &info);
    if (failed) return pond_error_system(failed, errmsg, path, "fstat");
    failed = pond_platform_map(fresh->file.fd, id->file_bytes, POND_MAP_WRITE, &base);
    if (failed == ENOMEM)
        return pond_error_say(MILLPOND_ERR_LIMIT, errmsg, path, "no address space for a mapping of its size; raise the limit (ulimit -v)");
    if (failed) return pond_error_system(failed, errmsg, path, "mmap");
    struct pond_map *map = pond_map_new(fresh->file.fd, base, 0);
    if (!map) {
        pond_platform_unmap(base, id->file_bytes);
        return pond_error_say(MILLPOND_ERR_NO_MEMORY, errmsg, path, "out of memory");
    }
    fresh->map = map;
    pond_layout_geometry(id, &map->geometry);
    int result = pond_map_boot_identity(map->living, errmsg, path);
    if (result != MILLPOND_OK) return result;
    map->living->device = info.device;
    map->living->inode = info.inode;
    for (uint32_t i = 0; i < id->reader_count; i++) pond_lock_init(&map->readers[i].mutex);
    POND_CRASHPOINT("create.readers");
    hooks->format(map);
    POND_CRASHPOINT("create.formatted");
    memcpy(base, id, sizeof *id);
    return MILLPOND_OK;
}

int pond_create_make(const char *path, const struct millpond_options *options, const struct pond_map *like,
                     const struct pond_map_hooks *hooks, struct pond_new *fresh, char *errmsg) {
    struct pond_identity id;
    struct pond_geometry geometry;
    int result = identity_new(options, like, &id, errmsg, path);
    if (result != MILLPOND_OK) return result;
    const char *wrong = pond_layout_geometry(&id, &geometry);
    if (wrong) return pond_error_say(MILLPOND_ERR_ARGUMENT, errmsg, path, "with these sizes %s; give a larger size", wrong);
    fresh->map = NULL;
    fresh->creation = id.creation;
    result = new_file(path, options, &id, &fresh->file, errmsg);
    if (result != MILLPOND_OK) return result;
    result = fill(&id, hooks, fresh, errmsg, path);
    if (result != MILLPOND_OK)
        pond_create_drop(fresh);
    else
        POND_CRASHPOINT("create.filled");
    return result;
}

void pond_create_drop(struct pond_new *fresh) {
    if (fresh->map) pond_platform_unmap(fresh->map->base, fresh->map->geometry.file_bytes);
    free(fresh->map);
    fresh->map = NULL;
    pond_platform_drop(&fresh->file);
}

int pond_create_file(const char *path, const struct millpond_options *options, const struct pond_map_hooks *hooks, char *errmsg) {
    struct pond_new fresh;
    int result = pond_create_make(path, options, NULL, hooks, &fresh, errmsg);
    if (result != MILLPOND_OK) return result;
    int failed = pond_platform_link(&fresh.file, path);
    if (failed == EEXIST)
        result = MILLPOND_ERR_FILE_EXISTS;
    else if (failed)
        result = pond_error_system(failed, errmsg, path, "giving it its name");
    else
        POND_CRASHPOINT("create.linked");
    pond_create_drop(&fresh);
    return result;
}
