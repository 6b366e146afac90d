/* SPDX-License-Identifier: MIT */
/* host.h: what the harness asks of the machine: clock, cores, memory that children share, a folder for scratch files, processes.
 *
 * Every process of the harness is single-threaded. Children are made by host_fork, end by _exit and die with their master. */
#ifndef BENCH_HOST_H
#define BENCH_HOST_H

#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum { HOST_PATH_BYTES = 512, HOST_WHY_BYTES = 512 };

/* Prints "millpond-bench: SENTENCE" on standard error and ends the process with status 3. Scratch files are removed. */
void host_fail(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));
/* Prints "millpond-bench: SENTENCE" on standard error and goes on. */
void host_warn(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Writes a sentence into a buffer of HOST_WHY_BYTES; answers false, so that a function can `return host_why(...)`. */
bool host_why(char *why, const char *format, ...) __attribute__((format(printf, 2, 3)));

uint64_t host_now_ns(void);
/* Processor time that this process has used: what others do on a shared machine is not in it, but for their use of the caches. */
uint64_t host_cpu_ns(void);
void host_sleep_ns(uint64_t ns);

/* True after SIGINT or SIGTERM: every long loop of a master looks at it and ends its run early. */
extern volatile sig_atomic_t host_interrupted;
void host_catch_interrupts(void);

/* Processors this process may run on, and pinning to the nth of them (counted round when there are fewer). */
unsigned host_cores(void);
void host_pin(unsigned nth);
/* One line that names processor, cores and kernel, for reports. */
void host_describe(char *text, size_t text_bytes);

/* Bytes that a process has in memory now (VmRSS), 0 when it is gone. */
uint64_t host_rss_bytes(pid_t pid);
/* Of those, what belongs to no file and no shared mapping (RssAnon): what one worker costs beyond what all share. */
uint64_t host_rss_private_bytes(pid_t pid);
/* Bytes on disk or in memory of all files below a folder. */
uint64_t host_folder_bytes(const char *path);
/* True when a program is on the PATH. */
bool host_has_program(const char *name);

/* Zeroed memory that this process and its later children share. */
void *host_shared(size_t bytes);
/* As malloc, calloc and realloc, but ends the program with a sentence rather than answer NULL. */
void *host_alloc(size_t bytes);
void *host_grow(void *old, size_t bytes);

/* Makes an empty folder for scratch files, in /dev/shm when need_bytes fit there with room to spare, else in TMPDIR or /tmp. The
 * process that made it removes it at exit. There is one for each process. */
const char *host_scratch(uint64_t need_bytes);
void host_remove_folder(const char *path);

/* Huge pages for a mapping of a file in memory, or nothing; and where such a mapping should be asked for, as a hint. */
void *host_huge_address(uint64_t bytes);
void host_make_huge(void *mapping, uint64_t bytes);

/* Reads every page of every mapping of this process whose file lies below `path` (or is `path`), so that no first fault is timed. */
void host_populate(const char *path);

/* fork, with standard output flushed; the child dies with its master and leaves ^C to it. */
pid_t host_fork(void);
/* Waits until a child has ended, at most limit_ns; kills it with SIGKILL after that. Answers its wait status; `late` says it was killed. */
int host_reap(pid_t pid, uint64_t limit_ns, bool *late);
/* "was killed by signal 9 (Killed)", "ended with status 3": what a wait status says. */
void host_describe_status(int status, char *text, size_t text_bytes);

/* A counter with one writer that other processes read meanwhile. */
typedef _Atomic uint64_t host_count;
static inline void host_count_add(host_count *count, uint64_t more) {
    atomic_store_explicit(count, atomic_load_explicit(count, memory_order_relaxed) + more, memory_order_relaxed);
}
static inline uint64_t host_count_read(host_count *count) {
    return atomic_load_explicit(count, memory_order_relaxed);
}

#endif
