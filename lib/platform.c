/* SPDX-License-Identifier: MIT */
/* Linux, in one file: clocks, random bytes, files, file locks, mappings. */

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "platform.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <linux/futex.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ  22
#define MADV_POPULATE_WRITE 23
#endif
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif
#define HUGE_BYTES (UINT64_C(2) << 20)

uint64_t pond_platform_realtime_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME_COARSE, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

uint64_t pond_platform_monotonic_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

unsigned pond_platform_processors(void) {
    long n = sysconf(_SC_NPROCESSORS_ONLN);
    return n < 1 ? 1 : (unsigned)n;
}

void pond_platform_wait(uint32_t *word, uint32_t seen, uint32_t timeout_ms) {
    struct timespec timeout = {(time_t)(timeout_ms / 1000), (long)(timeout_ms % 1000) * 1000000};
    syscall(SYS_futex, word, FUTEX_WAIT, seen, &timeout, NULL, 0);
}

void pond_platform_wake(uint32_t *word) { syscall(SYS_futex, word, FUTEX_WAKE, INT32_MAX, NULL, NULL, 0); }

int pond_platform_random(void *bytes, size_t n) {
    char *at = bytes;
    while (n > 0) {
        ssize_t got = getrandom(at, n, 0);
        if (got < 0 && errno != EINTR) return errno;
        if (got > 0) {
            at += got;
            n -= (size_t)got;
        }
    }
    return 0;
}

int pond_platform_boot_id(char id[40]) {
    memset(id, 0, 40);
    int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    if (fd < 0) return errno;
    ssize_t got = read(fd, id, 36);
    int failed = got < 0 ? errno : got < 36 ? EIO : 0;
    close(fd);
    return failed;
}

uint32_t pond_platform_thread(void) { return (uint32_t)syscall(SYS_gettid); }

/* Fields 3 (state) and 22 (start, in ticks since the boot) of /proc/N/stat, behind a name that may contain anything. */
uint32_t pond_platform_thread_born(uint32_t thread) {
    char path[32], text[512];
    snprintf(path, sizeof path, "/proc/%u/stat", (unsigned)thread);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return 0;
    ssize_t got = read(fd, text, sizeof text - 1);
    close(fd);
    text[got > 0 ? got : 0] = 0;
    const char *at = strrchr(text, ')');
    if (!at || at[1] != ' ' || at[2] == 'Z' || at[2] == 'X') return 0;
    for (int field = 2; at && field < 22; field++) at = strchr(at + 1, ' ');
    uint32_t born = at ? (uint32_t)strtoull(at, NULL, 10) : 0;
    return at && born == 0 ? 1 : born;
}

uint64_t pond_platform_pid_namespace(void) {
    struct stat st;
    return stat("/proc/self/ns/pid", &st) == 0 ? (uint64_t)st.st_ino : 0;
}

/* ---- files ---- */

/* Splits a path: a descriptor of its folder (-1: errno), and the last component, which lies in *copy. */
static int open_folder(const char *path, char **copy, char **name) {
    *copy = strdup(path);
    if (!*copy) return -1;
    char *slash = strrchr(*copy, '/');
    *name = slash ? slash + 1 : *copy;
    if (!slash) return open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
    *slash = 0;
    return open(slash == *copy ? "/" : *copy, O_PATH | O_DIRECTORY | O_CLOEXEC);
}

/* "/proc/PID/fd/N", "/dev/fd/N": a link that the kernel makes, in a folder where nobody else can make one. Leads to what the descriptor
 * has open, also where that has no name. */
static int open_descriptor(const char *path, int flags, int *fd) {
    char *copy, *name;
    struct statfs fs;
    int folder = open_folder(path, &copy, &name), failed = ELOOP;
    if (folder >= 0 && fstatfs(folder, &fs) == 0 && (uint32_t)fs.f_type == PROC_SUPER_MAGIC && *name &&
        name[strspn(name, "0123456789")] == 0) {
        *fd = openat(folder, name, flags);
        failed = *fd < 0 ? errno : 0;
    }
    pond_platform_close(folder);
    free(copy);
    return failed;
}

int pond_platform_open(const char *path, int write, int *fd) {
    int flags = (write ? O_RDWR : O_RDONLY) | O_CLOEXEC | O_NOCTTY | O_NONBLOCK;
    do *fd = open(path, flags | O_NOFOLLOW);
    while (*fd < 0 && errno == EINTR);
    if (*fd >= 0) return 0;
    return errno == ELOOP ? open_descriptor(path, flags, fd) : errno;
}

/* File systems whose mappings are not one memory for all who map (HAZARDS of network and overlay file systems). Numbers: statfs(2). */
static const char *refused_file_system(int fd) {
    static const struct {
        uint32_t magic;
        const char *name;
    } refused[] = {{0x6969, "NFS"},     {0x517B, "SMB"},        {0xFF534D42, "CIFS"},    {0xFE534D42, "SMB"},
                   {0x01021997, "9p"},  {0x65735546, "FUSE"},   {0x794c7630, "overlay"}, {0x00c36400, "Ceph"},
                   {0x5346414F, "AFS"}, {0x0BD00BD0, "Lustre"}, {0x01161970, "GFS2"},    {0x7461636f, "OCFS2"}};
    struct statfs fs;
    if (fstatfs(fd, &fs) != 0) return NULL;
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++)
        if ((uint32_t)fs.f_type == refused[i].magic) return refused[i].name;
    return NULL;
}

int pond_platform_info(int fd, struct pond_file_info *info) {
    struct stat st;
    if (fstat(fd, &st) != 0) return errno;
    info->device = (uint64_t)st.st_dev;
    info->inode = (uint64_t)st.st_ino;
    info->size_bytes = (uint64_t)st.st_size;
    info->mode = (uint32_t)st.st_mode & 07777;
    info->owner = (uint32_t)st.st_uid;
    info->group = (uint32_t)st.st_gid;
    info->links = (uint32_t)st.st_nlink;
    info->own_user = (uint32_t)geteuid();
    info->regular = S_ISREG(st.st_mode);
    info->refused = refused_file_system(fd);
    return 0;
}

void pond_platform_close(int fd) {
    if (fd >= 0) close(fd);
}

long pond_platform_read(int fd, void *bytes, size_t n, uint64_t off) {
    size_t have = 0;
    while (have < n) {
        ssize_t got = pread(fd, (char *)bytes + have, n - have, (off_t)(off + have));
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return -errno;
        if (got == 0) break;
        have += (size_t)got;
    }
    return (long)have;
}

static int folder_of(const char *path, char **folder, char **copy) {
    *copy = strdup(path);
    if (!*copy) return ENOMEM;
    *folder = dirname(*copy);
    return 0;
}

/* hugetlbfs maps and unmaps whole pages of its own size only. */
uint64_t pond_platform_size_unit(const char *path) {
    char *folder, *copy;
    struct statfs fs;
    if (folder_of(path, &folder, &copy) != 0) return 1;
    uint64_t bytes = statfs(folder, &fs) == 0 && (uint32_t)fs.f_type == HUGETLBFS_MAGIC && fs.f_bsize > 0 ? (uint64_t)fs.f_bsize : 1;
    free(copy);
    return bytes;
}

/* Where O_TMPFILE is not supported: a name that nobody else has. A creator that is killed leaves it behind; nobody opens it. */
static int named_temporary(const char *path, struct pond_new_file *file) {
    uint64_t nonce;
    int failed = pond_platform_random(&nonce, sizeof nonce);
    if (failed) return failed;
    if (asprintf(&file->temporary, "%s.%016llx.new", path, (unsigned long long)nonce) < 0) {
        file->temporary = NULL;
        return ENOMEM;
    }
    file->fd = open(file->temporary, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (file->fd >= 0) return 0;
    failed = errno;
    free(file->temporary);
    file->temporary = NULL;
    return failed;
}

/* Beyond the process's limit fallocate would kill us with SIGXFSZ. */
static int size_allowed(uint64_t bytes) {
    struct rlimit limit;
    return getrlimit(RLIMIT_FSIZE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY || limit.rlim_cur >= bytes;
}

static int allocate(struct pond_new_file *file, uint64_t bytes, uint32_t mode) {
    int failed;
    do failed = posix_fallocate(file->fd, 0, (off_t)bytes);
    while (failed == EINTR);
    if (!failed && fchmod(file->fd, (mode_t)mode) != 0) failed = errno; /* the umask has no say */
    if (failed) pond_platform_drop(file);
    return failed;
}

int pond_platform_new_file(const char *path, uint64_t bytes, uint32_t mode, struct pond_new_file *file) {
    file->fd = -1;
    file->temporary = NULL;
    if (!size_allowed(bytes)) return EFBIG;
    char *folder, *copy;
    int failed = folder_of(path, &folder, &copy);
    if (failed) return failed;
    file->fd = open(folder, O_RDWR | O_TMPFILE | O_CLOEXEC, 0600);
    failed = file->fd < 0 ? errno : 0;
    free(copy);
    if (failed == EOPNOTSUPP || failed == EISDIR || failed == EINVAL) failed = named_temporary(path, file);
    return failed ? failed : allocate(file, bytes, mode);
}

int pond_platform_new_anonymous(const char *name, uint64_t bytes, uint32_t mode, struct pond_new_file *file) {
    file->temporary = NULL;
    file->fd = -1;
    if (!size_allowed(bytes)) return EFBIG;
    file->fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    return file->fd < 0 ? errno : allocate(file, bytes, mode);
}

int pond_platform_seal(int fd) { return fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == 0 ? 0 : errno; }

int pond_platform_link(struct pond_new_file *file, const char *path) {
    if (file->temporary) {
        if (link(file->temporary, path) != 0) return errno;
        unlink(file->temporary);
        free(file->temporary);
        file->temporary = NULL;
        return 0;
    }
    char self[64];
    snprintf(self, sizeof self, "/proc/self/fd/%d", file->fd);
    return linkat(AT_FDCWD, self, AT_FDCWD, path, AT_SYMLINK_FOLLOW) == 0 ? 0 : errno;
}

void pond_platform_drop(struct pond_new_file *file) {
    if (file->temporary) unlink(file->temporary);
    free(file->temporary);
    file->temporary = NULL;
    pond_platform_close(file->fd);
    file->fd = -1;
}

char *pond_platform_absolute(const char *path) {
    struct stat st;
    char *folder, *copy, *absolute = NULL;
    if (lstat(path, &st) != 0 || S_ISLNK(st.st_mode) || folder_of(path, &folder, &copy) != 0) return NULL;
    const char *slash = strrchr(path, '/');
    char *real = realpath(folder, NULL);
    if (real && asprintf(&absolute, "%s/%s", strcmp(real, "/") == 0 ? "" : real, slash ? slash + 1 : path) < 0) absolute = NULL;
    free(real);
    free(copy);
    return absolute;
}

int pond_platform_leads_to(const char *path, uint64_t device, uint64_t inode) {
    struct stat st;
    if (lstat(path, &st) != 0) return -errno;
    return (uint64_t)st.st_dev == device && (uint64_t)st.st_ino == inode;
}

int pond_platform_rename(const char *from, const char *to) { return rename(from, to) == 0 ? 0 : errno; }

void pond_platform_unlink(const char *path) { unlink(path); }

int pond_platform_give(int fd, const struct pond_file_info *like) {
    struct stat st;
    if (fstat(fd, &st) != 0) return errno;
    if ((st.st_uid != like->owner || st.st_gid != like->group) && fchown(fd, like->owner, like->group) != 0) return errno;
    return fchmod(fd, (mode_t)like->mode) == 0 ? 0 : errno; /* behind the change of owner, which may take bits away */
}

void pond_platform_sleep_us(uint32_t microseconds) {
    struct timespec pause = {microseconds / 1000000, (long)(microseconds % 1000000) * 1000};
    nanosleep(&pause, NULL);
}

/* ---- file locks ---- */

static int set_lock(int fd, uint32_t byte, short type) {
    struct flock lock = {.l_type = type, .l_whence = SEEK_SET, .l_start = (off_t)byte, .l_len = 1, .l_pid = 0};
    return fcntl(fd, F_OFD_SETLK, &lock) == 0 ? 0 : errno == EACCES ? EAGAIN : errno;
}

/* Polls: the waiting form has no deadline. */
int pond_platform_file_lock(int fd, uint32_t byte, int exclusive, uint32_t timeout_ms) {
    uint64_t deadline = pond_platform_monotonic_ns() + (uint64_t)timeout_ms * 1000000;
    for (long pause_ns = 20000;; pause_ns = pause_ns < 1000000 ? pause_ns * 2 : pause_ns) {
        int failed = set_lock(fd, byte, exclusive ? F_WRLCK : F_RDLCK);
        if (failed != EAGAIN && failed != EINTR) return failed;
        if (pond_platform_monotonic_ns() >= deadline) return EAGAIN;
        struct timespec pause = {0, pause_ns};
        nanosleep(&pause, NULL);
    }
}

void pond_platform_file_unlock(int fd, uint32_t byte) { set_lock(fd, byte, F_UNLCK); }

int pond_platform_reopen(int fd, int *own_fd) {
    char self[64];
    snprintf(self, sizeof self, "/proc/self/fd/%d", fd);
    *own_fd = open(self, O_RDWR | O_CLOEXEC);
    return *own_fd < 0 ? errno : 0;
}

/* ---- mappings ---- */

/* Where a mapping that is to have huge pages would fit: they stand at multiples of their size, and not every kernel sees to that by
 * itself. A hint for mmap: whoever maps there first costs us the huge pages, no more. */
static void *huge_address(uint64_t bytes) {
    unsigned char *room = mmap(NULL, bytes + HUGE_BYTES, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (room == MAP_FAILED) return NULL;
    munmap(room, bytes + HUGE_BYTES);
    return room + (0 - (uint64_t)(uintptr_t)room) % HUGE_BYTES;
}

/* A file that was allocated in small pages keeps them, whatever is advised afterwards: they are gathered into large ones here, which needs
 * no setting of the system where the file lies in memory (Linux 6.1). Where it cannot be done nothing changes. */
static void make_huge(void *at, uint64_t bytes) {
    madvise(at, bytes, MADV_HUGEPAGE);
    madvise(at, bytes, MADV_COLLAPSE);
}

int pond_platform_map(int fd, uint64_t bytes, unsigned flags, unsigned char **base) {
    void *hint = flags & POND_MAP_HUGEPAGES ? huge_address(bytes) : NULL;
    void *at = mmap(hint, bytes, PROT_READ | (flags & POND_MAP_WRITE ? PROT_WRITE : 0), MAP_SHARED, fd, 0);
    if (at == MAP_FAILED) return errno;
    madvise(at, bytes, MADV_DONTDUMP); /* other people's data has no place in a core file */
    if (flags & POND_MAP_HUGEPAGES) make_huge(at, bytes);
    if (flags & POND_MAP_POPULATE) madvise(at, bytes, flags & POND_MAP_WRITE ? MADV_POPULATE_WRITE : MADV_POPULATE_READ);
    *base = at;
    return 0;
}

void *pond_platform_share(uint64_t bytes) {
    void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    return at == MAP_FAILED ? NULL : at;
}

void pond_platform_unmap(unsigned char *base, uint64_t bytes) {
    if (base) munmap(base, bytes);
}

int pond_platform_flush(unsigned char *base, uint64_t off, uint64_t bytes) { return msync(base + off, bytes, MS_SYNC) == 0 ? 0 : errno; }
