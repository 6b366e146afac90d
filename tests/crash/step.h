/* SPDX-License-Identifier: MIT */
#ifndef MILLPOND_TESTS_STEP_H
#define MILLPOND_TESTS_STEP_H

/* A child that is run one instruction at a time, and stopped or killed behind any of them.
 *
 * First the action is stepped through once: where the instruction pointer was, and after which steps the file, or the list of robust
 * mutexes that the kernel keeps for the thread, had changed. Then the same action can be run in a new child up to any step. To be there
 * quickly the child runs freely to a breakpoint on the way, at an instruction that was not passed often before, and is stepped only from
 * there. The children are forked from the same process, so code and data lie at the same addresses and the same bytes lead the same way. */

#include "crash.h"

/* What the child does. `prepare` runs freely (opens, touches what is touched only once); `act` is stepped. */
struct action {
    void (*prepare)(void *arg);
    void (*act)(void *arg);
    void *arg;
};

struct trace {
    size_t count;
    uint64_t *at;     /* the instruction pointer behind so many steps; count of them */
    uint32_t *before; /* how often this instruction had been reached earlier */
    size_t change_count;
    size_t *changes; /* behind so many steps the file or the list of robust mutexes had changed */
};

/* NULL, or the sentence that says why this cannot be done here. */
const char *step_impossible(void);

/* Steps through the action. The file's bytes are put back before it, by the caller. */
void step_record(const struct action *action, const struct ground *ground, struct trace *trace);
void step_forget(struct trace *trace);

/* Runs the action until so many steps are done. The child is stopped then. *drifted is counted up when it came another way (it looks at the
 * clock, which goes on); 0 when that was so much shorter that it came to its end. */
pid_t step_to(const struct action *action, const struct trace *trace, size_t steps, unsigned *drifted);
/* Kills it there; lets it go on, freely: wait for it with crash_expect(). */
void step_kill(pid_t child);
void step_release(pid_t child);

/* Where a step is, for addr2line. */
uint64_t step_place(const struct trace *trace, size_t steps);

#endif
