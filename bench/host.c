/* SPDX-License-Identifier: MIT */
/* host.c: what the harness asks of the machine. Linux only, as the library is. */
#include "host.h"

#include <errno.h>
#include <ftw.h>
#include <limits.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22 /* Linux 5.14; older headers do not name it */
#endif
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25 /* Linux 6.1 */
#endif

volatile sig_atomic_t host_interrupted;
static bool in_child;
static char scratch_path[HOST_PATH_BYTES];
static pid_t scratch_owner;

static void say(const char *format, va_list list) {
    char line[1024];
    vsnprintf(line, sizeof line, format, list);
    fflush(stdout);
    fprintf(stderr, "millpond-bench: %s\n", line);
}

void host_fail(const char *format, ...) {
    va_list list;
    va_start(list, format);
    say(format, list);
    va_end(list);
    if (in_child)
        _exit(3);
    exit(3);
}

void host_warn(const char *format, ...) {
    va_list list;
    va_start(list, format);
    say(format, list);
    va_end(list);
}

bool host_why(char *why, const char *format, ...) {
    va_list list;
    va_start(list, format);
    vsnprintf(why, HOST_WHY_BYTES, format, list);
    va_end(list);
    return false;
}

static uint64_t read_clock(clockid_t which) {
    struct timespec now;
    clock_gettime(which, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

uint64_t host_now_ns(void) {
    return read_clock(CLOCK_MONOTONIC);
}

uint64_t host_cpu_ns(void) {
    return read_clock(CLOCK_PROCESS_CPUTIME_ID);
}

void host_sleep_ns(uint64_t ns) {
    struct timespec span = {(time_t)(ns / 1000000000u), (long)(ns % 1000000000u)};
    nanosleep(&span, NULL); /* cut short by a signal: every caller looks at the clock again */
}

static void note_interrupt(int signal_number) {
    (void)signal_number;
    host_interrupted = 1;
}

void host_catch_interrupts(void) {
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = note_interrupt;
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    signal(SIGPIPE, SIG_IGN); /* a server or a pager that goes away is an error of that write */
}

unsigned host_cores(void) {
    cpu_set_t set;
    CPU_ZERO(&set);
    if (sched_getaffinity(0, sizeof set, &set) != 0)
        return 1;
    int count = CPU_COUNT(&set);
    return count > 0 ? (unsigned)count : 1;
}

void host_pin(unsigned nth) {
    cpu_set_t allowed, one;
    CPU_ZERO(&allowed);
    if (sched_getaffinity(0, sizeof allowed, &allowed) != 0)
        return;
    unsigned left = nth % host_cores();
    for (size_t core = 0; core < CPU_SETSIZE; core++) {
        if (!CPU_ISSET(core, &allowed) || left-- > 0)
            continue;
        CPU_ZERO(&one);
        CPU_SET(core, &one);
        sched_setaffinity(0, sizeof one, &one); /* refused in some containers: then the kernel chooses, as it would have */
        return;
    }
}

void host_describe(char *text, size_t text_bytes) {
    char line[256], model[128] = "unknown processor";
    struct utsname kernel;
    FILE *info = fopen("/proc/cpuinfo", "re");
    while (info && fgets(line, sizeof line, info)) {
        if (sscanf(line, "model name : %127[^\n]", model) == 1)
            break;
    }
    if (info)
        fclose(info);
    if (uname(&kernel) != 0)
        snprintf(kernel.release, sizeof kernel.release, "unknown");
    snprintf(text, text_bytes, "%s, %u cores, Linux %s", model, host_cores(), kernel.release);
}

static uint64_t status_kib(pid_t pid, const char *field) {
    char path[64], line[256];
    unsigned long kib = 0;
    size_t field_bytes = strlen(field);
    snprintf(path, sizeof path, "/proc/%ld/status", (long)pid);
    FILE *status = fopen(path, "re");
    if (!status)
        return 0;
    while (fgets(line, sizeof line, status)) {
        if (strncmp(line, field, field_bytes) == 0 && sscanf(line + field_bytes, ": %lu kB", &kib) == 1)
            break;
    }
    fclose(status);
    return kib;
}

uint64_t host_rss_bytes(pid_t pid) {
    return status_kib(pid, "VmRSS") * 1024;
}

uint64_t host_rss_private_bytes(pid_t pid) {
    return status_kib(pid, "RssAnon") * 1024;
}

static uint64_t folder_sum; /* nftw passes no argument of the caller's */

static int add_size(const char *path, const struct stat *info, int kind, struct FTW *place) {
    (void)path;
    (void)place;
    if (kind == FTW_F)
        folder_sum += (uint64_t)info->st_blocks * 512;
    return 0;
}

uint64_t host_folder_bytes(const char *path) {
    folder_sum = 0;
    nftw(path, add_size, 16, FTW_PHYS);
    return folder_sum;
}

bool host_has_program(const char *name) {
    const char *places = getenv("PATH");
    char path[PATH_MAX];
    for (const char *from = places ? places : "/usr/bin:/bin"; *from; ) {
        size_t bytes = strcspn(from, ":");
        snprintf(path, sizeof path, "%.*s/%s", (int)bytes, from, name);
        if (bytes > 0 && access(path, X_OK) == 0)
            return true;
        from += bytes + (from[bytes] == ':');
    }
    return false;
}

void *host_shared(size_t bytes) {
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        host_fail("%zu bytes of shared memory: %s; ask for less (fewer keys, items or workers)", bytes, strerror(errno));
    return memory;
}

void *host_alloc(size_t bytes) {
    void *memory = calloc(1, bytes > 0 ? bytes : 1);
    if (!memory)
        host_fail("%zu bytes of memory: %s; ask for less (fewer keys, items or workers)", bytes, strerror(errno));
    return memory;
}

void *host_grow(void *old, size_t bytes) {
    void *memory = realloc(old, bytes > 0 ? bytes : 1);
    if (!memory)
        host_fail("%zu bytes of memory: %s; ask for less (fewer keys, items or workers)", bytes, strerror(errno));
    return memory;
}

static int remove_entry(const char *path, const struct stat *info, int kind, struct FTW *place) {
    (void)info;
    (void)kind;
    (void)place;
    remove(path);
    return 0;
}

void host_remove_folder(const char *path) {
    nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

static void remove_scratch(void) {
    if (scratch_path[0] && scratch_owner == getpid())
        host_remove_folder(scratch_path);
    scratch_path[0] = 0;
}

/* A quarter more than is needed must be free: other programs use /dev/shm too, and what lies there takes memory from all. */
static bool fits(const char *folder, uint64_t need_bytes) {
    struct statvfs room;
    return access(folder, W_OK | X_OK) == 0 && statvfs(folder, &room) == 0 &&
           (uint64_t)room.f_bavail * room.f_frsize > need_bytes + need_bytes / 4;
}

const char *host_scratch(uint64_t need_bytes) {
    if (scratch_path[0])
        return scratch_path;
    const char *elsewhere = getenv("TMPDIR");
    if (!elsewhere || !*elsewhere)
        elsewhere = "/tmp";
    const char *folder = fits("/dev/shm", need_bytes) ? "/dev/shm" : elsewhere;
    snprintf(scratch_path, sizeof scratch_path, "%s/millpond-bench-XXXXXX", folder);
    if (!mkdtemp(scratch_path)) {
        int reason = errno;
        scratch_path[0] = 0;
        host_fail("%s: cannot make a folder there: %s; set TMPDIR to a folder with room", folder, strerror(reason));
    }
    scratch_owner = getpid();
    atexit(remove_scratch);
    return scratch_path;
}

static void populate_range(uintptr_t from, uintptr_t to) {
    /* The address comes from /proc as a number; there is no pointer to derive it from. */
    volatile const unsigned char *bytes = (volatile const unsigned char *)from;
    if (madvise((void *)from, to - from, MADV_POPULATE_READ) == 0)
        return;
    size_t page_bytes = (size_t)sysconf(_SC_PAGESIZE);
    for (size_t at = 0; at < to - from; at += page_bytes)
        (void)bytes[at];
}

void *host_huge_address(uint64_t bytes) {
    const uint64_t huge_bytes = 2 << 20;
    unsigned char *room = mmap(NULL, bytes + huge_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (room == MAP_FAILED)
        return NULL;
    munmap(room, bytes + huge_bytes);
    return room + (0 - (uint64_t)(uintptr_t)room) % huge_bytes;
}

void host_make_huge(void *mapping, uint64_t bytes) {
    madvise(mapping, bytes, MADV_HUGEPAGE);
    madvise(mapping, bytes, MADV_COLLAPSE);
}

void host_populate(const char *path) {
    char line[PATH_MAX + 128], real[PATH_MAX], rights[8], file[PATH_MAX];
    unsigned long from, to;
    if (!realpath(path, real))
        return;
    size_t real_bytes = strlen(real);
    FILE *maps = fopen("/proc/self/maps", "re");
    while (maps && fgets(line, sizeof line, maps)) {
        if (sscanf(line, "%lx-%lx %7s %*s %*s %*s %4095[^\n]", &from, &to, rights, file) != 4)
            continue;
        const char *name = file + strspn(file, " ");
        if (rights[0] == 'r' && strncmp(name, real, real_bytes) == 0 && (name[real_bytes] == 0 || name[real_bytes] == '/'))
            populate_range(from, to);
    }
    if (maps)
        fclose(maps);
}

pid_t host_fork(void) {
    pid_t master = getpid();
    fflush(NULL); /* what is buffered now would be written once by each of us */
    pid_t pid = fork();
    if (pid < 0)
        host_fail("cannot start a worker: %s; ask for fewer workers", strerror(errno));
    if (pid > 0)
        return pid;
    in_child = true;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != master)
        _exit(3);
    signal(SIGINT, SIG_IGN);
    signal(SIGTERM, SIG_DFL);
    return 0;
}

int host_reap(pid_t pid, uint64_t limit_ns, bool *late) {
    uint64_t end_ns = host_now_ns() + limit_ns;
    int status = 0;
    *late = false;
    for (;;) {
        pid_t got = waitpid(pid, &status, *late ? 0 : WNOHANG);
        if (got == pid)
            return status;
        if (got < 0 && errno != EINTR)
            return 0;
        if (!*late && host_now_ns() >= end_ns) {
            *late = true;
            kill(pid, SIGKILL);
        } else {
            host_sleep_ns(500000);
        }
    }
}

void host_describe_status(int status, char *text, size_t text_bytes) {
    if (WIFSIGNALED(status))
        snprintf(text, text_bytes, "was killed by signal %d (%s)", WTERMSIG(status), strsignal(WTERMSIG(status)));
    else
        snprintf(text, text_bytes, "ended with status %d", WEXITSTATUS(status));
}
