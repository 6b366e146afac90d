/* SPDX-License-Identifier: MIT */
#ifndef POND_PLATFORM_H
#define POND_PLATFORM_H

/* The operating system, as far as millpond needs it. No other file makes system calls (locks: lock.c). Failures come back as errno. */

#include <stddef.h>
#include <stdint.h>

/* Milliseconds since 1970, to the kernel's tick (about 4 ms), without a system call. */
uint64_t pond_platform_realtime_ms(void);
/* Nanoseconds since some moment, exact. */
uint64_t pond_platform_monotonic_ns(void);
unsigned pond_platform_processors(void);
/* Sleeps while the word, which any process may map, is `seen`, and nobody wakes its sleepers, for at most so long. May end early. */
void pond_platform_wait(uint32_t *word, uint32_t seen, uint32_t timeout_ms);
void pond_platform_wake(uint32_t *word);
/* Fills with random bytes; 0 or errno. */
int pond_platform_random(void *bytes, size_t n);
/* The id of this boot of the machine, as text. */
int pond_platform_boot_id(char id[40]);
/* The number of the calling thread, which no other one has in its PID namespace. */
uint32_t pond_platform_thread(void);
/* When a thread of any process was born, in some unit, never 0; 0: there is no such thread any more, or the system does not tell. */
uint32_t pond_platform_thread_born(uint32_t thread);
/* The inode of the PID namespace of this process; 0 when the system does not tell. */
uint64_t pond_platform_pid_namespace(void);

struct pond_file_info {
    uint64_t device, inode, size_bytes;
    uint32_t mode; /* permission bits */
    uint32_t owner, group;
    uint32_t links;
    uint32_t own_user; /* effective user of this process */
    int regular;
    const char *refused; /* name of a file system that cannot share mappings, or NULL */
};

/* Opens without following a symbolic link, but for one of /proc that stands for a descriptor; without blocking on a fifo, closed on exec.
 * 0 or errno. */
int pond_platform_open(const char *path, int write, int *fd);
int pond_platform_info(int fd, struct pond_file_info *info);
void pond_platform_close(int fd);
/* Reads up to n bytes from an offset: how many arrived, or -errno. */
long pond_platform_read(int fd, void *bytes, size_t n, uint64_t off);

/* What the size of a file at this path must be a multiple of to be mapped whole: the page of a hugetlbfs, else 1. */
uint64_t pond_platform_size_unit(const char *path);

/* A file that has no name yet, in the folder of `path`, fully allocated. `temporary` receives its temporary name where the file system
 * has no unnamed files, else "". */
struct pond_new_file {
    int fd;
    char *temporary; /* from malloc, or NULL */
};
int pond_platform_new_file(const char *path, uint64_t bytes, uint32_t mode, struct pond_new_file *file);
/* The same without a folder: memory that only descriptors lead to. `name` is for /proc. */
int pond_platform_new_anonymous(const char *name, uint64_t bytes, uint32_t mode, struct pond_new_file *file);
/* Keeps anonymous memory at its size for ever. 0 or errno. */
int pond_platform_seal(int fd);
/* Gives it its name; EEXIST when there is such a file. */
int pond_platform_link(struct pond_new_file *file, const char *path);
void pond_platform_drop(struct pond_new_file *file);

/* A path that stays right when the process changes its folder, from malloc; NULL when there is no memory, or the last component is a
 * symbolic link (of /proc: the others are not opened). */
char *pond_platform_absolute(const char *path);
/* Does the path lead to this file? 1; 0 when to another one; or -errno. */
int pond_platform_leads_to(const char *path, uint64_t device, uint64_t inode);
/* 0 or errno. */
int pond_platform_rename(const char *from, const char *to);
void pond_platform_unlink(const char *path);
/* Gives a new file the owner, group and mode of another one. 0 or errno. */
int pond_platform_give(int fd, const struct pond_file_info *like);
void pond_platform_sleep_us(uint32_t microseconds);

/* Open file description locks on one byte of a file. They belong to the opened file (children of fork share it), and are gone when its
 * last descriptor is closed. */
enum {
    POND_FILE_LOCK_ATTACH = 0,
    POND_FILE_LOCK_USERS = 1,
    POND_FILE_LOCK_READERS = 2,
    POND_FILE_LOCK_RESIZE = 3,
    POND_FILE_LOCK_WRITERS = 64
};
/* 0; EAGAIN when another holds it and the deadline has passed; errno. */
int pond_platform_file_lock(int fd, uint32_t byte, int exclusive, uint32_t timeout_ms);
void pond_platform_file_unlock(int fd, uint32_t byte);
/* Opens the file behind a descriptor once more, for locks of its own. 0 or errno. */
int pond_platform_reopen(int fd, int *own_fd);

enum { POND_MAP_WRITE = 1, POND_MAP_POPULATE = 2, POND_MAP_HUGEPAGES = 4 };
int pond_platform_map(int fd, uint64_t bytes, unsigned flags, unsigned char **base);
/* Zeroed memory that this process and its later children share; NULL when there is none. */
void *pond_platform_share(uint64_t bytes);
void pond_platform_unmap(unsigned char *base, uint64_t bytes);
/* Writes a part of a mapping to the disk and waits for it. */
int pond_platform_flush(unsigned char *base, uint64_t off, uint64_t bytes);

#endif
