/* SPDX-License-Identifier: MIT */
#ifndef POND_STORES_COMMON_H
#define POND_STORES_COMMON_H

/* What the shipped stores share: deadlines, and one connection for each process. Linked into each of their libraries,
 * with the sentences of lib/error.c. */

#include "../../error.h"

#include <millpond.h>

#include <pthread.h>
#include <sys/types.h>

uint64_t pond_store_now_ns(void);
/* Milliseconds until the call's deadline, rounded up, 0 when it has passed. */
int pond_store_left_ms(const struct millpond_store_call *call);
/* ERR_STORE_TIMEOUT with a sentence. */
int pond_store_late(const struct millpond_store_call *call, const char *name);

/* ---- one connection for each process ----
 *
 *   F1  a thread uses the connection between pond_store_enter and pond_store_leave, under the link's mutex, until its deadline
 *   F2  before a fork: every link's mutex is taken (no thread is inside any connection), then before_fork (SQLite closes)
 *   F3  in the parent the mutexes are released
 *   F4  in the child in_child forgets, or closes its copy of, what is the parent's; then the mutexes, which its only thread holds, are
 *       released
 *   F5  `pid` is the process that the link was last used in. Another one that comes to F1 was made without F2 to F4: it is refused.
 *
 * So a connection is never seen half used by a child, and a fork waits at the longest for the deadline of a call. */
struct pond_store_link {
    pthread_mutex_t mutex;
    pid_t pid;
    void (*before_fork)(void *state); /* may be NULL */
    void (*in_child)(void *state);    /* may be NULL */
    void *state;
    const char *name;
    struct pond_store_link *next, **at;
};

void pond_store_link(struct pond_store_link *link);
void pond_store_unlink(struct pond_store_link *link);
/* F1: MILLPOND_OK with the mutex held, ERR_STORE_TIMEOUT, or ERR_STORE (F5). */
int pond_store_enter(struct pond_store_link *link, const struct millpond_store_call *call);
void pond_store_leave(struct pond_store_link *link);

#endif
