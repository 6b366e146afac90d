/* SPDX-License-Identifier: MIT */
/* Single steps, by ptrace. Breakpoints are the one-byte instruction of x86-64; other machines would need theirs. */

#include "step.h"

#include <errno.h>
#include <link.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#define STEPS_MAX  (4u << 20)
#define BREAKPOINT 0xCC

static struct { uint32_t ended; } * shared;

#ifndef __x86_64__
const char *step_impossible(void) { return "breakpoints are written for x86-64 only"; }
void step_record(const struct action *action, const struct ground *ground, struct trace *trace) {
    (void)action, (void)ground, (void)trace;
    CHECK(false, "not on this machine");
}
pid_t step_to(const struct action *action, const struct trace *trace, size_t steps, unsigned *drifted) {
    (void)action, (void)trace, (void)steps, (void)drifted;
    return -1;
}
#else

/* ---- the child ---- */

static int traced(void *arg) {
    const struct action *action = arg;
    action->prepare(action->arg);
    if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0) _exit(SUPPORT_SKIPPED);
    raise(SIGSTOP);
    action->act(action->arg);
    __atomic_store_n(&shared->ended, 1, __ATOMIC_SEQ_CST);
    return 0;
}

static pid_t start(const struct action *action) {
    struct action copy = *action;
    if (!shared) shared = support_share(sizeof *shared);
    shared->ended = 0;
    pid_t child = support_fork(traced, &copy);
    crash_await_stop(child, "the child that is stepped");
    CHECK(ptrace(PTRACE_SETOPTIONS, child, NULL, (void *)(uintptr_t)PTRACE_O_EXITKILL) == 0, "ptrace: %s", strerror(errno));
    return child;
}

/* ---- stops ---- */

static uint64_t pointer_of(pid_t child) {
    errno = 0;
    long value = ptrace(PTRACE_PEEKUSER, child, (void *)offsetof(struct user, regs.rip), NULL);
    CHECK(errno == 0, "reading a register: %s", strerror(errno));
    return (uint64_t)value;
}

/* Resumes and waits for the trap that follows; false when the child came to its end instead. */
static bool go(pid_t child, enum __ptrace_request how) {
    int status;
    CHECK(ptrace(how, child, NULL, NULL) == 0, "ptrace: %s", strerror(errno));
    CHECK(waitpid(child, &status, 0) == child, "waitpid: %s", strerror(errno));
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return false;
    CHECK(WIFSTOPPED(status) && WSTOPSIG(status) == SIGTRAP, "the child was to trap and has status %x", (unsigned)status);
    return true;
}

static long peek(pid_t child, uint64_t at) {
    errno = 0;
    return ptrace(PTRACE_PEEKTEXT, child, (void *)(uintptr_t)at, NULL);
}

/* Not where the kernel's own page is. */
static bool can_poke(pid_t child, uint64_t at) {
    long word = peek(child, at);
    return errno == 0 && ptrace(PTRACE_POKETEXT, child, (void *)(uintptr_t)at, (void *)(uintptr_t)word) == 0;
}

static void poke(pid_t child, uint64_t at, long word) {
    CHECK(ptrace(PTRACE_POKETEXT, child, (void *)(uintptr_t)at, (void *)(uintptr_t)word) == 0, "writing at %llx: %s",
          (unsigned long long)at, strerror(errno));
}

/* Runs freely until an instruction is reached for the (1 + before)-th time; false when it was not reached so often. */
static bool run_to(pid_t child, uint64_t at, uint32_t before) {
    long word = peek(child, at), trap = (word & ~0xFFL) | BREAKPOINT;
    for (;;) {
        poke(child, at, trap);
        if (!go(child, PTRACE_CONT)) return false;
        poke(child, at, word);
        CHECK(pointer_of(child) == at + 1, "a trap at %llx, expected at %llx", (unsigned long long)pointer_of(child),
              (unsigned long long)at);
        CHECK(ptrace(PTRACE_POKEUSER, child, (void *)offsetof(struct user, regs.rip), (void *)(uintptr_t)at) == 0, "ptrace: %s",
              strerror(errno));
        if (before-- == 0) return true;
        if (!go(child, PTRACE_SINGLESTEP)) return false;
    }
}

/* ---- recording ---- */

struct robust {
    uint64_t words[3]; /* first of the list, offset of the lock word, operation pending */
};

static struct robust robust_of(pid_t child, uint64_t head) {
    struct robust robust;
    struct iovec to = {&robust, sizeof robust}, from = {(void *)(uintptr_t)head, sizeof robust};
    CHECK(process_vm_readv(child, &to, 1, &from, 1, 0) == (ssize_t)sizeof robust, "reading the child's memory: %s", strerror(errno));
    return robust;
}

#define SEEN_SLOTS (1u << 16)

struct places {
    uint64_t at[SEEN_SLOTS];
    uint32_t times[SEEN_SLOTS];
};

static uint32_t times_before(struct places *places, uint64_t at) {
    uint32_t slot = (uint32_t)((at * UINT64_C(0x9E3779B97F4A7C15)) >> 48);
    for (unsigned tries = 0; tries < SEEN_SLOTS; tries++, slot = (slot + 1) % SEEN_SLOTS) {
        if (places->at[slot] == 0) places->at[slot] = at;
        if (places->at[slot] == at) return places->times[slot]++;
    }
    CHECK(false, "more instructions than %u", SEEN_SLOTS);
}

static void note_step(struct trace *trace, struct places *places, uint64_t at) {
    CHECK(trace->count < STEPS_MAX, "the action takes more than %u steps", STEPS_MAX);
    trace->at[trace->count] = at;
    trace->before[trace->count] = times_before(places, at);
    trace->count++;
}

void step_record(const struct action *action, const struct ground *ground, struct trace *trace) {
    memset(trace, 0, sizeof *trace);
    trace->at = malloc(STEPS_MAX * sizeof *trace->at);
    trace->before = malloc(STEPS_MAX * sizeof *trace->before);
    trace->changes = malloc(STEPS_MAX * sizeof *trace->changes);
    struct places *places = calloc(1, sizeof *places);
    CHECK(trace->at && trace->before && trace->changes && places, "no memory for a trace");
    pid_t child = start(action);
    unsigned char *shadow = ground_image(ground);
    uint64_t head = 0;
    size_t head_bytes = 0;
    CHECK(syscall(SYS_get_robust_list, child, &head, &head_bytes) == 0, "get_robust_list: %s", strerror(errno));
    struct robust before = robust_of(child, head);
    for (note_step(trace, places, pointer_of(child)); !__atomic_load_n(&shared->ended, __ATOMIC_SEQ_CST);) {
        CHECK(go(child, PTRACE_SINGLESTEP), "the child ended without saying that it has acted");
        struct robust now = robust_of(child, head);
        bool changed = memcmp(&now, &before, sizeof now) != 0;
        before = now;
        if (memcmp(shadow, ground->now, ground->bytes) != 0) {
            memcpy(shadow, ground->now, ground->bytes);
            changed = true;
        }
        if (changed) trace->changes[trace->change_count++] = trace->count;
        note_step(trace, places, pointer_of(child));
    }
    step_release(child);
    crash_expect(child, 0, "the child that was stepped");
    free(shadow);
    free(places);
}

/* ---- going there ---- */

/* The best place for a breakpoint on the way: few passes before it, few steps behind it. */
static size_t anchor(const struct trace *trace, size_t steps) {
    size_t best = 0, cost = steps;
    for (size_t i = 1; i <= steps; i++) {
        size_t this = 4 + 3 * (size_t)trace->before[i] + (steps - i);
        if (this < cost) {
            best = i;
            cost = this;
        }
    }
    return best;
}

pid_t step_to(const struct action *action, const struct trace *trace, size_t steps, unsigned *drifted) {
    CHECK(steps < trace->count, "step %zu of %zu", steps, trace->count);
    pid_t child = start(action);
    size_t at = anchor(trace, steps);
    while (at > 0 && !can_poke(child, trace->at[at])) at--;
    if (at > 0 && !run_to(child, trace->at[at], trace->before[at])) {
        child = start(action); /* it went another way, as the clock had not gone on: step all of the way */
        at = 0;
    }
    for (; at < steps; at++) {
        if (go(child, PTRACE_SINGLESTEP)) continue;
        (*drifted)++;
        return 0;
    }
    if (pointer_of(child) != trace->at[steps]) (*drifted)++;
    return child;
}

const char *step_impossible(void) {
    if (!shared) shared = support_share(sizeof *shared);
    pid_t child = fork();
    CHECK(child >= 0, "fork: %s", strerror(errno));
    if (child == 0) _exit(ptrace(PTRACE_TRACEME, 0, NULL, NULL) == 0 ? 0 : SUPPORT_SKIPPED);
    return support_wait(child, CRASH_DEADLINE_MS) == 0 ? NULL : "this system does not allow ptrace";
}
#endif

void step_forget(struct trace *trace) {
    free(trace->at);
    free(trace->before);
    free(trace->changes);
}

void step_kill(pid_t child) {
    CHECK(kill(child, SIGKILL) == 0, "kill: %s", strerror(errno));
    crash_expect(child, SIGKILL, "the child that was stepped");
}

void step_release(pid_t child) { CHECK(ptrace(PTRACE_DETACH, child, NULL, NULL) == 0, "ptrace: %s", strerror(errno)); }

static int first_object(struct dl_phdr_info *info, size_t bytes, void *base) {
    (void)bytes;
    *(uint64_t *)base = info->dlpi_addr;
    return 1;
}

uint64_t step_place(const struct trace *trace, size_t steps) {
    uint64_t base = 0;
    dl_iterate_phdr(first_object, &base);
    return trace->at[steps] - base;
}
