/* SPDX-License-Identifier: MIT */
#ifndef MILLPOND_TESTS_SUPPORT_H
#define MILLPOND_TESTS_SUPPORT_H

/* What the tests of the public API share: a directory of the test's own, children that never outlive it, random numbers with a printed
 * seed, and contents that can be verified byte by byte.
 *
 * Nothing here knows Criterion, so that the same helpers serve the unit tests and the plain programs. A requirement that does not hold
 * (REQUIRE) prints one line to standard error and ends the process: that is right in a child, in a thread and in a plain program. The
 * body of a Criterion test uses cr_assert. */

#include <millpond.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* A build with a sanitizer: slower, hungry for address space, and a child that is forked beside threads may inherit the locks of its
 * allocator for ever (gcc 12, clang 14). */
#if defined __SANITIZE_ADDRESS__ || defined __SANITIZE_THREAD__
#define SANITIZED 1
#elif defined __has_feature
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

#define SUPPORT_FAILED  97 /* exit status of a process in which a requirement did not hold */
#define SUPPORT_SKIPPED 77 /* exit status of a program or case that cannot run here */

#define REQUIRE(condition, ...)                                                                                                            \
    do {                                                                                                                                   \
        if (!(condition)) support_fail(__FILE__, __LINE__, #condition, __VA_ARGS__);                                                       \
    } while (0)

_Noreturn void support_fail(const char *file, int line, const char *condition, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* Does this process run under valgrind? */
bool support_valgrind(void);

/* ---- the test's own directory ---- */

/* Makes the directory of this program, below $TMPDIR or /tmp; children and re-executed tests find it through the environment. */
void support_begin(void);
/* Removes it with everything in it. Only the process that called support_begin does so. */
void support_end(void);
/* A path in a directory of this process, made on first use; its children share it. The text stays until the process ends. Not for several
 * threads at the same time. */
const char *support_path(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* ---- files ---- */

bool support_write_file(const char *path, const void *bytes, size_t count);
/* Reads a whole file into memory from malloc. Ends the test if that fails. */
unsigned char *support_read_file(const char *path, size_t *count);
/* A hash of a file's content. */
uint64_t support_hash_file(const char *path);
int64_t support_file_bytes(const char *path);
/* Copies a file without holes. */
bool support_copy_file(const char *from, const char *to);
/* The number of entries of a directory. */
int support_count_files(const char *directory);

/* ---- ponds ---- */

/* Opens or creates; an error ends the process with the message. */
struct millpond *support_open(const char *path, const struct millpond_options *options);
/* Creates a pond of so many bytes with the default options. */
struct millpond *support_create(const char *path, uint64_t size_bytes);
/* Ends the process unless a check of the file finds it whole; returns what was counted. */
struct millpond_check support_require_whole(const char *path);

/* ---- children ----
 *
 * A child is killed by the kernel when the thread that forked it ends, so it never outlives the test. */

/* Runs body in a child, which exits with what body returns (0 to 255). Standard error is shared. */
pid_t support_fork(int (*body)(void *arg), void *arg);
/* Waits for a child. Returns its exit status, or minus the signal that ended it. A child that is still there after `deadline_ms` is
 * killed and reaped and the answer is SUPPORT_LATE. */
#define SUPPORT_LATE (-1000)
int support_wait(pid_t child, unsigned deadline_ms);
/* Both: what the child said. */
int support_run_child(int (*body)(void *arg), void *arg, unsigned deadline_ms);
/* Kills and reaps a child. */
void support_kill(pid_t child);
/* Waits until a stopped child has really stopped. */
void support_stop(pid_t child);
/* An anonymous shared mapping, zeroed, that children inherit. */
void *support_share(size_t bytes);

/* ---- time ---- */

uint64_t support_now_ns(void);
void support_sleep_ms(unsigned milliseconds);
void support_sleep_us(unsigned microseconds);

/* ---- plain programs with cases ---- */

struct support_case {
    const char *sentence;
    int (*run)(void *arg); /* 0, or SUPPORT_SKIPPED after it has said why */
    unsigned deadline_ms;
};

/* Runs each case in a child of its own and prints one line for each. With an argument, only the cases whose sentence contains it.
 * Returns what main returns. */
int support_run_cases(int argc, char **argv, const struct support_case *cases, size_t count);
/* Says why a case cannot run here. */
int support_skip(const char *reason);

/* ---- random numbers ---- */

struct support_random {
    uint64_t state;
};

/* From $MILLPOND_TEST_SEED, or fresh; says which on standard error. */
struct support_random support_seed(const char *what);
/* For a thread or process of its own: another sequence for each number. */
struct support_random support_derive(const struct support_random *from, uint64_t number);
uint64_t support_next(struct support_random *random);
/* 0 to bound - 1. */
uint64_t support_below(struct support_random *random, uint64_t bound);
/* A size from low to high whose logarithm is evenly spread. */
size_t support_log_size(struct support_random *random, size_t low, size_t high);

/* Zipf's distribution over 0 .. count - 1, rank 0 the most frequent. */
struct support_zipf {
    size_t count;
    double *cumulative;
};
struct support_zipf support_zipf_make(size_t count, double exponent);
size_t support_zipf_next(const struct support_zipf *zipf, struct support_random *random);
void support_zipf_free(struct support_zipf *zipf);

/* ---- contents that can be verified ---- */

/* Bytes that follow from a seed. */
void support_fill(void *buf, size_t bytes, uint64_t seed);
bool support_matches(const void *buf, size_t bytes, uint64_t seed);

/* A value that says whose it is: key number, sequence, size and a sum of the three, then bytes that follow from all of them. A torn
 * value, one of another key or of another size fails support_value_read. */
#define SUPPORT_VALUE_BYTES_MIN 32
void support_value_write(void *buf, size_t bytes, uint64_t key, uint64_t sequence);
/* Returns NULL and the sequence, or a sentence that says what is wrong. */
const char *support_value_read(const void *buf, size_t bytes, uint64_t key, uint64_t *sequence);

/* A key made from a number, 24 bytes. */
#define SUPPORT_KEY_BYTES 24
void support_key(char key[SUPPORT_KEY_BYTES + 1], uint64_t number);
/* Stores such a value, of at most SUPPORT_VALUE_BYTES_MOST, under such a key; reads it, and requires that it is right: its sequence, 0 for
 * a miss. */
#define SUPPORT_VALUE_BYTES_MOST 4096
void support_set(struct millpond *pond, uint64_t number, uint64_t sequence, size_t bytes);
uint64_t support_get(struct millpond *pond, uint64_t number);

/* --seconds N of a stress program, else the given default. */
double support_seconds(int argc, char **argv, double otherwise);

#endif
