/* SPDX-License-Identifier: MIT */
#ifndef MILLPOND_TESTS_CRASH_H
#define MILLPOND_TESTS_CRASH_H

/* What the tests of faults share: checks that are counted over all processes, a pond whose bytes can be put back, and processes that are
 * killed or stopped at a named place of the library (lib/crashpoint.h).
 *
 * These programs are plain mains: everything that touches a pond runs in children, which end with status 1 and a sentence when something is
 * wrong; the parent only looks at bytes. A child that is killed on purpose ends by SIGKILL. */

#include "crashpoint.h"
#include "layout.h"
#include "shard.h"
#include "support.h"

#include <limits.h>

/* ---- checks ---- */

/* Counts; or prints what was being tried, the sentence and the place, and ends the process with status 1. */
#define CHECK(condition, ...)                                                                                                              \
    do {                                                                                                                                   \
        if (condition)                                                                                                                     \
            crash_count();                                                                                                                 \
        else                                                                                                                               \
            crash_fail(__FILE__, __LINE__, #condition, __VA_ARGS__);                                                                       \
    } while (0)

void crash_count(void);
_Noreturn void crash_fail(const char *file, int line, const char *condition, const char *format, ...) __attribute__((format(printf, 4, 5)));

/* First and last call of a program: the last prints "NAME: N checks passed". */
void crash_begin(const char *name);
int crash_end(void);
/* What is being tried now; stands in front of every failure, in children too. */
void crash_trying(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Is --long among the arguments? */
bool crash_long(int argc, char **argv);
/* Forks and steps take ten times as long under a sanitizer: its short forms do a part of the work. */
#if defined __SANITIZE_ADDRESS__
#define CRASH_SLOW 1
#elif defined __has_feature
#if __has_feature(address_sanitizer)
#define CRASH_SLOW 1
#endif
#endif
#ifndef CRASH_SLOW
#define CRASH_SLOW 0
#endif

/* Waits for a child that must end well, or by this signal (0: with status 0). */
void crash_expect(pid_t child, int by_signal, const char *who);
/* Forks, waits, expects a good end. */
void crash_run(int (*body)(void *arg), void *arg, const char *who);

/* Waits until a child that stops itself has stopped. */
void crash_await_stop(pid_t child, const char *who);

#define CRASH_DEADLINE_MS 60000u

/* ---- named places ---- */

/* Every name that stands in lib/, found when the build is configured. */
extern const char *const crash_names[];
extern const unsigned crash_name_count;
#define CRASH_NAMES_MAX 256u

/* How often each name was passed. In memory that processes share. */
struct crash_passed {
    uint32_t times[CRASH_NAMES_MAX];
};

/* From here on this process counts the names that it passes. */
void crash_watch(struct crash_passed *passed);
/* From here on: `signal` (SIGKILL or SIGSTOP) when this name is passed for the n-th time, counted from 1. */
void crash_at(unsigned name, uint32_t nth, int signal);
/* A hook of the caller's own. */
void crash_hook(void (*hook)(const char *name));
void crash_unwatch(void);
bool crash_name_begins(unsigned name, const char *with);
/* The number of a name; UINT_MAX when lib/ has none such (any more). */
unsigned crash_name_number(const char *name);

/* ---- a pond whose bytes can be put back ---- */

/* The parent's view of a file: raw bytes, no handle, so that it takes part in nothing. */
struct ground {
    char path[PATH_MAX];
    int fd;
    size_t bytes;
    unsigned char *now;  /* the file, mapped */
    unsigned char *kept; /* what was kept last */
    struct pond_map map; /* as the library sees it, for pond_ref_of() */
};

/* Makes a pond in a child of its own and maps its bytes. */
void ground_make(struct ground *ground, const char *name, const struct millpond_options *options);
/* Maps an existing file. */
void ground_map(struct ground *ground, const char *path);
/* The end of it; the file stays. */
void ground_unmap(struct ground *ground);
/* The file goes, too. */
void ground_forget(struct ground *ground);
/* Remembers the bytes; puts them back into the same file. Nobody may have it open in between but those who are stopped. */
void ground_keep(struct ground *ground);
void ground_put_back(struct ground *ground);
/* The same for an image that the caller keeps. */
unsigned char *ground_image(const struct ground *ground);
void ground_put(struct ground *ground, const unsigned char *image);

/* Says to the openers of the file that somebody else uses it, or not any more. */
void ground_occupy(struct ground *ground, bool occupied);
struct pond_ref ground_shard(struct ground *ground, uint32_t shard);
uint32_t ground_shard_of(const struct ground *ground, const void *key, size_t key_bytes);
/* The thread that holds a mutex of the file, 0 for none, and whether the last one died with it. */
pid_t ground_holder(const pthread_mutex_t *mutex);
/* Requires that no mutex of the file is held, and that every segment is accounted for exactly once. For when nobody has it open. */
void ground_require_quiet(struct ground *ground);
/* The file's clock goes on by so much. */
void ground_advance_clock(struct ground *ground, uint64_t milliseconds);
/* As if the machine had been restarted: another boot id; locks of threads that are no more. */
void ground_reboot(struct ground *ground, struct support_random *random);

#endif
