/* SPDX-License-Identifier: MIT */
/* store_dir.c: a directory of files as a store: the key is the path below the directory, the value is the content.
 *
 * A hit is compared with a private mapping of the file, which is the page cache itself: no copy that could be wrong in the same way.
 * Each worker makes its mappings as it needs them. A file that somebody changes during the run cannot be compared, and is told from a
 * wrong value by its size and times. A mapping of a file that shrinks ends in SIGBUS; the comparison alone catches it. */
#include "store.h"

#include "host.h"

#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* Half of the kernel's usual limit of mappings for each process (vm.max_map_count); files beyond are read anew for each comparison. */
enum { MAPPINGS_MAX = 32000, CHUNK_BYTES = 64 << 10 };

struct file {
    char *path; /* whole; the key begins at root_bytes */
    uint64_t bytes;
    struct timespec changed;
    const unsigned char *mapping; /* of this process */
};

struct dir {
    size_t root_bytes;
    size_t count, room;
    struct file *files;
    unsigned mappings;
    unsigned char *chunk;
};

static sigjmp_buf shrunk;
static volatile sig_atomic_t comparing;

static void on_sigbus(int signal_number) {
    if (comparing)
        siglongjmp(shrunk, 1);
    signal(signal_number, SIG_DFL); /* not ours: the access is repeated and ends the process, as it should */
}

static void add_file(struct dir *dir, const FTSENT *entry) {
    if (dir->count == dir->room) {
        dir->room = dir->room > 0 ? dir->room * 2 : 1024;
        dir->files = host_grow(dir->files, dir->room * sizeof *dir->files);
    }
    struct file *file = &dir->files[dir->count++];
    memset(file, 0, sizeof *file);
    file->path = host_alloc(entry->fts_pathlen + 1u);
    memcpy(file->path, entry->fts_path, entry->fts_pathlen);
    file->bytes = (uint64_t)entry->fts_statp->st_size;
    file->changed = entry->fts_statp->st_mtim;
}

static void dir_close(void *handle) {
    struct dir *dir = handle;
    for (size_t i = 0; i < dir->count; i++)
        free(dir->files[i].path);
    free(dir->files);
    free(dir->chunk);
    free(dir);
}

static int by_path(const void *left, const void *right) {
    const struct file *a = left, *b = right;
    return strcmp(a->path, b->path);
}

/* The order is the same on every run: directories list their entries in any order. */
static void *dir_open(const char *where, char *why) {
    struct stat info;
    if (stat(where, &info) != 0)
        return host_why(why, "%s: cannot be read: %s; name a directory of files", where, strerror(errno)), NULL;
    if (!S_ISDIR(info.st_mode))
        return host_why(why, "%s: is not a directory; name a directory of files", where), NULL;
    char *root = strdup(where);
    if (!root)
        return host_why(why, "%s: out of memory", where), NULL;
    for (size_t end = strlen(root); end > 1 && root[end - 1] == '/'; end--)
        root[end - 1] = 0;
    struct dir *dir = host_alloc(sizeof *dir);
    dir->root_bytes = strlen(root) + (strcmp(root, "/") != 0);
    dir->chunk = host_alloc(CHUNK_BYTES);
    char *roots[] = {root, NULL};
    FTS *walk = fts_open(roots, FTS_PHYSICAL | FTS_NOCHDIR, NULL);
    for (FTSENT *entry; walk && (entry = fts_read(walk)); ) {
        if (entry->fts_info == FTS_F && access(entry->fts_path, R_OK) == 0)
            add_file(dir, entry);
    }
    if (walk)
        fts_close(walk);
    free(root);
    if (dir->count == 0) {
        dir_close(dir);
        return host_why(why, "%s: holds no readable file; name a directory of files", where), NULL;
    }
    qsort(dir->files, dir->count, sizeof *dir->files, by_path);
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = on_sigbus;
    action.sa_flags = SA_NODEFER; /* the handler leaves by a jump, which would keep the signal blocked */
    sigaction(SIGBUS, &action, NULL);
    return dir;
}

static size_t dir_count(void *handle) {
    const struct dir *dir = handle;
    return dir->count;
}

static void dir_item(void *handle, size_t nth, struct store_item *item) {
    const struct dir *dir = handle;
    item->name = dir->files[nth].path + dir->root_bytes;
    item->name_bytes = strlen(item->name);
    item->bytes = dir->files[nth].bytes;
}

static int64_t dir_load(void *handle, size_t nth, void *buf, size_t room) {
    const struct dir *dir = handle;
    unsigned char *to = buf;
    int fd = open(dir->files[nth].path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    size_t have = 0;
    ssize_t got = 1;
    while (have < room && got > 0) {
        got = pread(fd, to + have, room - have, (off_t)have);
        if (got > 0)
            have += (size_t)got;
        else if (got < 0 && errno == EINTR)
            got = 1;
    }
    close(fd);
    return got < 0 ? -1 : (int64_t)have;
}

static bool still_the_same(const struct file *file) {
    struct stat info;
    return stat(file->path, &info) == 0 && (uint64_t)info.st_size == file->bytes && info.st_mtim.tv_sec == file->changed.tv_sec &&
           info.st_mtim.tv_nsec == file->changed.tv_nsec;
}

static uint64_t differing(const unsigned char *left, const unsigned char *right, size_t bytes) {
    uint64_t count = 0;
    if (memcmp(left, right, bytes) == 0)
        return 0;
    for (size_t i = 0; i < bytes; i++)
        count += left[i] != right[i];
    return count;
}

static bool map_file(struct dir *dir, struct file *file) {
    if (file->mapping)
        return true;
    if (dir->mappings >= MAPPINGS_MAX)
        return false;
    int fd = open(file->path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    void *mapping = mmap(NULL, file->bytes, PROT_READ, MAP_PRIVATE, fd, 0);
    close(fd);
    if (mapping == MAP_FAILED)
        return false;
    file->mapping = mapping;
    dir->mappings++;
    return true;
}

/* The first `bytes` bytes; -1 when the file cannot be read so far. */
static int64_t wrong_in(struct dir *dir, struct file *file, const unsigned char *value, size_t bytes) {
    if (bytes == 0)
        return 0;
    if (map_file(dir, file)) {
        if (sigsetjmp(shrunk, 0) != 0) {
            comparing = 0;
            return -1;
        }
        comparing = 1;
        int64_t wrong = (int64_t)differing(value, file->mapping, bytes);
        comparing = 0;
        return wrong;
    }
    int fd = open(file->path, O_RDONLY | O_CLOEXEC);
    int64_t wrong = fd < 0 ? -1 : 0;
    for (size_t at = 0; at < bytes && wrong >= 0; ) {
        size_t want = bytes - at < CHUNK_BYTES ? bytes - at : CHUNK_BYTES;
        ssize_t got = pread(fd, dir->chunk, want, (off_t)at);
        wrong = got <= 0 ? -1 : wrong + (int64_t)differing(value + at, dir->chunk, (size_t)got);
        at += got > 0 ? (size_t)got : 0;
    }
    if (fd >= 0)
        close(fd);
    return wrong;
}

static enum store_verdict dir_compare(void *handle, size_t nth, const void *value, size_t bytes, uint64_t *wrong_bytes) {
    struct dir *dir = handle;
    struct file *file = &dir->files[nth];
    size_t both = bytes < file->bytes ? bytes : (size_t)file->bytes;
    int64_t wrong = wrong_in(dir, file, value, both);
    *wrong_bytes = 0;
    if (wrong == 0 && bytes == file->bytes)
        return STORE_SAME;
    if (!still_the_same(file))
        return STORE_CHANGED;
    if (wrong < 0)
        return STORE_UNREADABLE;
    *wrong_bytes = (uint64_t)wrong + (bytes > both ? bytes - both : file->bytes - both);
    return STORE_DIFFERENT;
}

const struct store store_dir = {
    "dir", "dir:PATH, the files below a directory", dir_open, dir_count, dir_item, dir_load, dir_compare, dir_close};
