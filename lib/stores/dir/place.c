/* SPDX-License-Identifier: MIT */
/* Paths below a directory. openat2 refuses to leave it or to follow a link, in one call for as much of a path as a call takes; where the
 * kernel (or a filter of system calls) has none, each component is opened by itself, which comes to the same because no component is
 * "..". */

#include "place.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { PART_BYTES = 4000 }; /* of a path in one call; PATH_MAX is 4096 */

static _Atomic int no_openat2;

/* Opens what is left of a path, or its first part: the longest that ends at a slash and fits. `next` is what is left then, NULL for none.
 */
static size_t first_part(const char *path, char *part, const char **next) {
    size_t bytes = strnlen(path, PART_BYTES);
    size_t limit = atomic_load(&no_openat2) ? strcspn(path, "/") : bytes < PART_BYTES ? bytes : PART_BYTES - 1;
    while (path[limit] != 0 && path[limit] != '/') limit--;
    memcpy(part, path, limit);
    part[limit] = 0;
    *next = path[limit] ? path + limit + 1 : NULL;
    return limit;
}

static int open_part(int folder, const char *part, int flags) {
    if (!atomic_load(&no_openat2)) {
        /* Without O_NOFOLLOW: a link at the end is then ELOOP too, also for a folder. */
        struct open_how how = {.flags = (unsigned)(flags | O_CLOEXEC),
                               .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS};
        long fd = syscall(SYS_openat2, folder, part, &how, sizeof how);
        if (fd >= 0 || (errno != ENOSYS && errno != EPERM)) return (int)fd;
        if (errno == ENOSYS) atomic_store(&no_openat2, 1);
    }
    if (strchr(part, '/')) {
        errno = ENOSYS; /* only a filter of system calls comes here, with EPERM for all: from now on part by part */
        atomic_store(&no_openat2, 1);
        return -1;
    }
    return openat(folder, part, flags | O_CLOEXEC | O_NOFOLLOW);
}

int pond_store_dir_open(int root, const char *path, int flags) {
    char part[PART_BYTES];
    const char *next = path;
    int folder = root, fd = -1;
    while (next) {
        const char *at = next;
        first_part(at, part, &next);
        fd = open_part(folder, part, next ? O_PATH | O_DIRECTORY : flags);
        if (fd < 0 && errno == ENOSYS) { /* cut smaller from here on */
            next = at;
            continue;
        }
        int failed = errno;
        if (folder != root) close(folder);
        errno = failed;
        if (fd < 0) return -1;
        folder = fd;
    }
    return fd;
}

int pond_store_dir_flush(int folder) {
    int fd = openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return -1;
    int failed = fsync(fd) == 0 ? 0 : errno;
    close(fd);
    errno = failed;
    return failed ? -1 : 0;
}

/* One component at a time, from the root: only the first store below a new folder comes here. */
static int make_folders(int root, const char *path, size_t bytes, int durable) {
    int folder = root, failed = 0;
    for (const char *at = path, *end = path + bytes; at < end && !failed;) {
        char name[256];
        size_t n = strcspn(at, "/");
        if (n >= sizeof name) n = sizeof name - 1;
        memcpy(name, at, n);
        name[n] = 0;
        at += n + 1;
        int made = mkdirat(folder, name, 0777) == 0;
        if (!made && errno != EEXIST) failed = errno;
        if (made && durable && pond_store_dir_flush(folder) != 0) failed = errno;
        int below = failed ? -1 : openat(folder, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (!failed && below < 0) failed = errno;
        if (folder != root) close(folder);
        folder = below;
    }
    if (folder != root && folder >= 0) close(folder);
    errno = failed;
    return failed ? -1 : 0;
}

int pond_store_dir_parent(int root, const char *path, int make, int durable, const char **leaf) {
    const char *slash = strrchr(path, '/');
    *leaf = slash ? slash + 1 : path;
    if (!slash) return openat(root, ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
    char *above = strndup(path, (size_t)(slash - path));
    if (!above) return -1;
    int fd = pond_store_dir_open(root, above, O_PATH | O_DIRECTORY);
    if (fd < 0 && errno == ENOENT && make && make_folders(root, above, strlen(above), durable) == 0)
        fd = pond_store_dir_open(root, above, O_PATH | O_DIRECTORY);
    int failed = errno;
    free(above);
    errno = failed;
    return fd;
}
