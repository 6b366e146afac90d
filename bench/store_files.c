/* SPDX-License-Identifier: MIT */
/* store_files.c: values compared with the files they come from.
 *
 * A value is compared with a private mapping of its file, which is the page cache itself: no copy that could be wrong in the same way.
 * Each worker makes its mappings as it needs them. A file that somebody changes during the run cannot be compared, and is told from a
 * wrong value by its size and times. A mapping of a file that shrinks ends in SIGBUS; the comparison alone catches it. */
#include "store.h"

#include "host.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* Half of the kernel's usual limit of mappings for each process (vm.max_map_count); files beyond are read anew for each comparison. */
enum { MAPPINGS_MAX = 32000, CHUNK_BYTES = 64 << 10 };

struct store_file {
    char *path;
    uint64_t bytes;
    struct timespec changed;
    const unsigned char *mapping; /* of this process */
};

static sigjmp_buf shrunk;
static volatile sig_atomic_t comparing;

static void on_sigbus(int signal_number) {
    if (comparing)
        siglongjmp(shrunk, 1);
    signal(signal_number, SIG_DFL); /* not ours: the access is repeated and ends the process, as it should */
}

static unsigned mappings; /* of this process and, at its fork, of its master */

struct store_file *store_file_new(const char *path, uint64_t *bytes) {
    static bool caught;
    struct stat info;
    if (stat(path, &info) != 0 || !S_ISREG(info.st_mode) || access(path, R_OK) != 0)
        return NULL;
    if (!caught) {
        struct sigaction action;
        memset(&action, 0, sizeof action);
        action.sa_handler = on_sigbus;
        action.sa_flags = SA_NODEFER; /* the handler leaves by a jump, which would keep the signal blocked */
        sigaction(SIGBUS, &action, NULL);
        caught = true;
    }
    struct store_file *file = host_alloc(sizeof *file);
    file->path = host_alloc(strlen(path) + 1);
    strcpy(file->path, path);
    file->bytes = *bytes = (uint64_t)info.st_size;
    file->changed = info.st_mtim;
    return file;
}

void store_file_free(struct store_file *file) {
    if (!file)
        return;
    free(file->path);
    free(file);
}

static bool still_the_same(const struct store_file *file) {
    struct stat info;
    return stat(file->path, &info) == 0 && (uint64_t)info.st_size == file->bytes && info.st_mtim.tv_sec == file->changed.tv_sec &&
           info.st_mtim.tv_nsec == file->changed.tv_nsec;
}

static bool map_file(struct store_file *file) {
    if (file->mapping)
        return true;
    if (mappings >= MAPPINGS_MAX)
        return false;
    int fd = open(file->path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    void *mapping = mmap(NULL, file->bytes, PROT_READ, MAP_PRIVATE, fd, 0);
    close(fd);
    if (mapping == MAP_FAILED)
        return false;
    file->mapping = mapping;
    mappings++;
    return true;
}

/* The first `bytes` bytes; -1 when the file cannot be read so far. */
static int64_t wrong_in(struct store_file *file, const unsigned char *value, size_t bytes) {
    static unsigned char chunk[CHUNK_BYTES];
    if (bytes == 0)
        return 0;
    if (map_file(file)) {
        if (sigsetjmp(shrunk, 0) != 0) {
            comparing = 0;
            return -1;
        }
        comparing = 1;
        int64_t wrong = (int64_t)store_differing(value, file->mapping, bytes);
        comparing = 0;
        return wrong;
    }
    int fd = open(file->path, O_RDONLY | O_CLOEXEC);
    int64_t wrong = fd < 0 ? -1 : 0;
    for (size_t at = 0; at < bytes && wrong >= 0; ) {
        size_t want = bytes - at < CHUNK_BYTES ? bytes - at : CHUNK_BYTES;
        ssize_t got = pread(fd, chunk, want, (off_t)at);
        wrong = got <= 0 ? -1 : wrong + (int64_t)store_differing(value + at, chunk, (size_t)got);
        at += got > 0 ? (size_t)got : 0;
    }
    if (fd >= 0)
        close(fd);
    return wrong;
}

enum store_verdict store_file_compare(struct store_file *file, const void *value, size_t bytes, uint64_t *wrong_bytes) {
    size_t both = bytes < file->bytes ? bytes : (size_t)file->bytes;
    int64_t wrong = wrong_in(file, value, both);
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
