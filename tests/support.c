/* SPDX-License-Identifier: MIT */
/* Helpers of the tests: directory, files, ponds, children, time, cases. Contents and random numbers are in content.c. */

#include "support.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PATH_BYTES 4096

void support_fail(const char *file, int line, const char *condition, const char *format, ...) {
    /* One write, so that lines of several processes do not mix. */
    char text[1024];
    const char *slash = strrchr(file, '/');
    int n = snprintf(text, sizeof text, "%s:%d: %s: ", slash ? slash + 1 : file, line, condition);
    if (n < 0 || (size_t)n >= sizeof text) n = 0;
    va_list args;
    va_start(args, format);
    int m = vsnprintf(text + n, sizeof text - (size_t)n, format, args);
    va_end(args);
    size_t bytes = (size_t)n + (m > 0 ? (size_t)m : 0);
    if (bytes > sizeof text - 1) bytes = sizeof text - 1;
    text[bytes++] = '\n';
    if (write(STDERR_FILENO, text, bytes) < 0) _exit(SUPPORT_FAILED);
    _exit(SUPPORT_FAILED);
}

bool support_valgrind(void) {
    const char *preloaded = getenv("LD_PRELOAD");
    return preloaded && strstr(preloaded, "vgpreload");
}

/* ---- the test's own directory ---- */

static const char directory_variable[] = "MILLPOND_TEST_DIRECTORY";
static char own_directory[PATH_BYTES];
static pid_t begun_by;

void support_begin(void) {
    const char *base = getenv("TMPDIR");
    char path[PATH_BYTES];
    int n = snprintf(path, sizeof path, "%s/millpond-test-%ld-XXXXXX", base && *base ? base : "/tmp", (long)getpid());
    REQUIRE(n > 0 && (size_t)n < sizeof path && mkdtemp(path), "%s: %s", path, strerror(errno));
    /* Tests that change their user must get through to their own directory. */
    REQUIRE(chmod(path, 0711) == 0 && setenv(directory_variable, path, 1) == 0, "%s: %s", path, strerror(errno));
    begun_by = getpid();
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw) {
    (void)st, (void)type, (void)ftw;
    return remove(path) == 0 || errno == ENOENT ? 0 : -1;
}

void support_end(void) {
    const char *path = getenv(directory_variable);
    if (!path || begun_by != getpid()) return;
    if (nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT) != 0)
        fprintf(stderr, "%s could not be removed: %s\n", path, strerror(errno));
    unsetenv(directory_variable);
}

/* A forked child goes on in its parent's directory: it is there to share files. */
static void make_own_directory(void) {
    const char *base = getenv(directory_variable);
    REQUIRE(base, "support_begin() was not called");
    int n = snprintf(own_directory, sizeof own_directory, "%s/%ld", base, (long)getpid());
    REQUIRE(n > 0 && (size_t)n < sizeof own_directory, "the name of the directory is too long");
    REQUIRE(mkdir(own_directory, 0711) == 0, "%s: %s", own_directory, strerror(errno));
}

const char *support_path(const char *format, ...) {
    struct named {
        struct named *older;
        char path[];
    };
    static struct named *all; /* reachable, so that nobody takes it for a leak */
    if (!own_directory[0]) make_own_directory();
    va_list args;
    va_start(args, format);
    int name_bytes = vsnprintf(NULL, 0, format, args);
    va_end(args);
    size_t folder_bytes = strlen(own_directory), bytes = folder_bytes + 1 + (size_t)name_bytes + 1;
    struct named *named = malloc(sizeof *named + bytes);
    REQUIRE(named && name_bytes >= 0, "no memory for a name");
    memcpy(named->path, own_directory, folder_bytes);
    named->path[folder_bytes] = '/';
    va_start(args, format);
    vsnprintf(named->path + folder_bytes + 1, bytes - folder_bytes - 1, format, args);
    va_end(args);
    named->older = all;
    all = named;
    return named->path;
}

/* ---- files ---- */

bool support_write_file(const char *path, const void *bytes, size_t count) {
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0) return false;
    size_t done = 0;
    while (done < count) {
        ssize_t n = write(fd, (const char *)bytes + done, count - done);
        if (n <= 0) break;
        done += (size_t)n;
    }
    return close(fd) == 0 && done == count;
}

unsigned char *support_read_file(const char *path, size_t *count) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;
    REQUIRE(fd >= 0 && fstat(fd, &st) == 0, "%s: %s", path, strerror(errno));
    size_t size = (size_t)st.st_size, done = 0;
    unsigned char *bytes = malloc(size + 1);
    REQUIRE(bytes, "no memory for %zu bytes", size);
    while (done < size) {
        ssize_t n = read(fd, bytes + done, size - done);
        REQUIRE(n > 0, "%s: %s", path, strerror(errno));
        done += (size_t)n;
    }
    close(fd);
    *count = size;
    return bytes;
}

uint64_t support_hash_file(const char *path) {
    size_t count;
    unsigned char *bytes = support_read_file(path, &count);
    uint64_t hash = UINT64_C(0xCBF29CE484222325);
    for (size_t i = 0; i < count; i++) hash = (hash ^ bytes[i]) * UINT64_C(0x100000001B3);
    free(bytes);
    return hash;
}

int64_t support_file_bytes(const char *path) {
    struct stat st;
    return lstat(path, &st) == 0 ? (int64_t)st.st_size : -1;
}

bool support_copy_file(const char *from, const char *to) {
    size_t count;
    unsigned char *bytes = support_read_file(from, &count);
    bool done = support_write_file(to, bytes, count);
    free(bytes);
    return done;
}

int support_count_files(const char *directory) {
    DIR *dir = opendir(directory);
    REQUIRE(dir, "%s: %s", directory, strerror(errno));
    int count = 0;
    for (struct dirent *entry; (entry = readdir(dir));) count += strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
    closedir(dir);
    return count;
}

/* ---- ponds ---- */

struct millpond *support_open(const char *path, const struct millpond_options *options) {
    struct millpond *pond = NULL;
    char errmsg[MILLPOND_ERRMSG_BYTES] = "";
    int result = millpond_open(&pond, path, options, errmsg);
    REQUIRE(result == MILLPOND_OK, "%s: %d: %s", path, result, errmsg);
    return pond;
}

struct millpond *support_create(const char *path, uint64_t size_bytes) {
    struct millpond_options options = MILLPOND_OPTIONS_INIT;
    options.size_bytes = size_bytes;
    options.flags = MILLPOND_CREATE | MILLPOND_EXCLUSIVE;
    return support_open(path, &options);
}

static void print_damage(void *arg, const char *sentence) { fprintf(stderr, "%s: %s\n", (const char *)arg, sentence); }

struct millpond_check support_require_whole(const char *path) {
    struct millpond_check check = {0, 0, 0, 0};
    char errmsg[MILLPOND_ERRMSG_BYTES] = "", arg[PATH_BYTES];
    snprintf(arg, sizeof arg, "%s", path);
    int result = millpond_check(path, 0, print_damage, arg, &check, errmsg);
    REQUIRE(result == MILLPOND_OK, "%s: check says %d (%llu damages): %s", path, result, (unsigned long long)check.damages, errmsg);
    REQUIRE(check.damages == 0 && check.repaired == 0, "%s: OK with damages", path);
    return check;
}

void support_set(struct millpond *pond, uint64_t number, uint64_t sequence, size_t bytes) {
    char key[SUPPORT_KEY_BYTES + 1];
    unsigned char value[SUPPORT_VALUE_BYTES_MOST];
    REQUIRE(bytes <= sizeof value, "a value of %zu bytes", bytes);
    support_key(key, number);
    support_value_write(value, bytes, number, sequence);
    int result = millpond_set(pond, key, SUPPORT_KEY_BYTES, value, bytes, 0);
    REQUIRE(result == MILLPOND_OK, "set of key %llu: %d (%s)", (unsigned long long)number, result, millpond_strerror(result));
}

uint64_t support_get(struct millpond *pond, uint64_t number) {
    char key[SUPPORT_KEY_BYTES + 1];
    unsigned char value[SUPPORT_VALUE_BYTES_MOST];
    size_t bytes = 0;
    uint64_t sequence = 0;
    support_key(key, number);
    int result = millpond_get(pond, key, SUPPORT_KEY_BYTES, value, sizeof value, &bytes);
    if (result == MILLPOND_MISS) return 0;
    REQUIRE(result == MILLPOND_OK, "get of key %llu: %d", (unsigned long long)number, result);
    const char *wrong = support_value_read(value, bytes, number, &sequence);
    REQUIRE(!wrong, "key %llu: %s", (unsigned long long)number, wrong);
    return sequence;
}

/* ---- children ---- */

pid_t support_fork(int (*body)(void *arg), void *arg) {
    pid_t parent = getpid();
    fflush(NULL);
    pid_t child = fork();
    REQUIRE(child >= 0, "fork: %s", strerror(errno));
    if (child > 0) return child;
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != parent) _exit(SUPPORT_FAILED);
    int status = body(arg);
    fflush(NULL);
    _exit(status & 0xFF);
}

int support_wait(pid_t child, unsigned deadline_ms) {
    uint64_t end = support_now_ns() + (uint64_t)deadline_ms * 1000000;
    bool late = false;
    for (unsigned pause_us = 50;; pause_us = pause_us < 2000 ? pause_us * 2 : pause_us) {
        int status;
        pid_t reaped = waitpid(child, &status, late ? 0 : WNOHANG);
        REQUIRE(reaped >= 0 || errno == EINTR, "waitpid %ld: %s", (long)child, strerror(errno));
        if (reaped == child && late) return SUPPORT_LATE;
        if (reaped == child) return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
        if (support_now_ns() >= end) {
            kill(child, SIGKILL);
            late = true;
        } else {
            support_sleep_us(pause_us);
        }
    }
}

int support_run_child(int (*body)(void *arg), void *arg, unsigned deadline_ms) {
    return support_wait(support_fork(body, arg), deadline_ms);
}

void support_kill(pid_t child) {
    kill(child, SIGKILL);
    while (waitpid(child, NULL, 0) < 0 && errno == EINTR) continue;
}

void support_stop(pid_t child) {
    REQUIRE(kill(child, SIGSTOP) == 0, "kill %ld: %s", (long)child, strerror(errno));
    int status;
    REQUIRE(waitpid(child, &status, WUNTRACED) == child && WIFSTOPPED(status), "process %ld ended and was to be stopped", (long)child);
}

void *support_share(size_t bytes) {
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    REQUIRE(memory != MAP_FAILED, "mmap of %zu bytes: %s", bytes, strerror(errno));
    return memory;
}

/* ---- time ---- */

uint64_t support_now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

void support_sleep_us(unsigned microseconds) {
    struct timespec pause = {microseconds / 1000000, (long)(microseconds % 1000000) * 1000};
    while (nanosleep(&pause, &pause) != 0 && errno == EINTR) continue;
}

void support_sleep_ms(unsigned milliseconds) {
    struct timespec pause = {milliseconds / 1000, (long)(milliseconds % 1000) * 1000000};
    while (nanosleep(&pause, &pause) != 0 && errno == EINTR) continue;
}

/* ---- plain programs with cases ---- */

int support_skip(const char *reason) {
    fprintf(stderr, "  not here: %s\n", reason);
    return SUPPORT_SKIPPED;
}

int support_run_cases(int argc, char **argv, const struct support_case *cases, size_t count) {
    const char *only = argc > 1 ? argv[1] : "";
    int failed = 0, passed = 0, skipped = 0;
    support_begin();
    for (size_t i = 0; i < count; i++) {
        if (!strstr(cases[i].sentence, only)) continue;
        uint64_t start = support_now_ns();
        int said = support_run_child(cases[i].run, NULL, cases[i].deadline_ms);
        double seconds = (double)(support_now_ns() - start) * 1e-9;
        const char *word = said == 0 ? "passed" : said == SUPPORT_SKIPPED ? "skipped" : "FAILED";
        printf("%-8s%6.2f s  %s", word, seconds, cases[i].sentence);
        if (said == SUPPORT_LATE)
            printf(" (killed after %u ms)", cases[i].deadline_ms);
        else if (said < 0)
            printf(" (signal %d: %s)", -said, strsignal(-said));
        printf("\n");
        passed += said == 0;
        skipped += said == SUPPORT_SKIPPED;
        failed += said != 0 && said != SUPPORT_SKIPPED;
    }
    support_end();
    printf("%d passed, %d failed, %d skipped\n", passed, failed, skipped);
    return failed > 0 || passed + skipped == 0;
}
