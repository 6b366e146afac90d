/* SPDX-License-Identifier: MIT */
/* mmap, munmap and clock_gettime as the library sees them in these programs (linked with --wrap).
 *
 * A shared mapping of a file is put into a reserved stretch of address space: 64 MiB before it and 40 GiB behind it are not accessible,
 * more than any offset in a shard can reach. So every access out of bounds ends in SIGSEGV, whatever else the process has mapped, also in
 * builds without a sanitizer. System calls are made directly: a sanitizer that looked after 40 GiB would take its time. */

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "guard.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define BEFORE_BYTES (UINT64_C(64) << 20)
#define BEHIND_BYTES (UINT64_C(40) << 30)
#define ROOM_BYTES   (UINT64_C(16) << 20) /* largest file */
#define STRETCHES    8u
#define PAGE_BYTES   4096u

void *__wrap_mmap(void *address, size_t bytes, int protection, int flags, int fd, off_t off);
int __wrap_munmap(void *address, size_t bytes);
int __wrap_clock_gettime(clockid_t clock, struct timespec *now);
int __real_clock_gettime(clockid_t clock, struct timespec *now);

static struct {
    unsigned char *at; /* of the mapping, behind the first guard */
    size_t used;
} stretches[STRETCHES];
static int guarding;
static uint64_t clock_ms;

void guard_on(void) { guarding = 1; }
void guard_set_clock_ms(uint64_t ms) { clock_ms = ms; }

static void *map_directly(void *address, uint64_t bytes, int protection, int flags, int fd, off_t off) {
    return (void *)(uintptr_t)syscall(SYS_mmap, address, bytes, protection, flags, fd, off);
}

static int reserve(unsigned i) {
    if (stretches[i].at) return 1;
    void *at = map_directly(NULL, BEFORE_BYTES + ROOM_BYTES + BEHIND_BYTES, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (at == MAP_FAILED) return 0;
    stretches[i].at = (unsigned char *)at + BEFORE_BYTES;
    return 1;
}

void *__wrap_mmap(void *address, size_t bytes, int protection, int flags, int fd, off_t off) {
    if (!guarding || fd < 0 || address || !(flags & MAP_SHARED) || bytes > ROOM_BYTES)
        return map_directly(address, bytes, protection, flags, fd, off);
    unsigned i = 0;
    while (i < STRETCHES && stretches[i].used) i++;
    if (i == STRETCHES || !reserve(i)) {
        errno = ENOMEM;
        return MAP_FAILED;
    }
    void *at = map_directly(stretches[i].at, bytes, protection, flags | MAP_FIXED, fd, off);
    if (at == MAP_FAILED) return at;
    stretches[i].used = bytes;
    static const char magic[] = "millpond";
    int made = memcmp(at, magic, sizeof magic - 1) == 0; /* one that is being made gets its identity last */
    if (made && mprotect(at, PAGE_BYTES, PROT_READ) != 0) return MAP_FAILED;
    return at;
}

int __wrap_munmap(void *address, size_t bytes) {
    for (unsigned i = 0; i < STRETCHES; i++) {
        if (stretches[i].used == 0 || stretches[i].at != address) continue;
        stretches[i].used = 0;
        return map_directly(address, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0) == MAP_FAILED ? -1
                                                                                                                                     : 0;
    }
    return (int)syscall(SYS_munmap, address, bytes);
}

int __wrap_clock_gettime(clockid_t clock, struct timespec *now) {
    if (clock_ms == 0 || clock != CLOCK_REALTIME_COARSE) return __real_clock_gettime(clock, now);
    now->tv_sec = (time_t)(clock_ms / 1000);
    now->tv_nsec = (long)(clock_ms % 1000) * 1000000;
    return 0;
}
