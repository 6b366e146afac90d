/* SPDX-License-Identifier: MIT */
/* Writers of several PID namespaces on one file.
 *
 * The kernel compares the word of a robust mutex with the dying thread's number in the thread's own namespace. Two containers have
 * threads of equal numbers; when one is killed while it waits for a mutex that its namesake holds, the kernel hands the mutex on
 * although its owner lives (measured: five times of five). So nobody may wait for the mutex while somebody of another namespace holds it:
 *   G1 a lock of this process, for its threads
 *   G2 an open file description lock on a byte of the file, for everybody; the kernel drops it when the process dies
 *   G3 the robust mutex, now always free, or left by a dead owner, which it tells
 * A child of fork shares its parent's opening of the file, and with it the file locks: it opens the file anew before it writes.
 * Costs a microsecond or two for each write; files without MILLPOND_NAMESPACES have no gate. */

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "gate.h"

#include "lock.h"
#include "platform.h"

#include <errno.h>
#include <stdlib.h>

int pond_gate_new(int fd, uint32_t shard_count, struct pond_gate **gate) {
    struct pond_gate *g = calloc(1, sizeof *g + shard_count * sizeof g->shard[0]);
    if (!g) return ENOMEM;
    int failed = pond_platform_reopen(fd, &g->fd);
    if (failed) {
        free(g);
        return failed;
    }
    g->shard_count = shard_count;
    for (uint32_t i = 0; i < shard_count; i++) pthread_mutex_init(&g->shard[i], NULL);
    *gate = g;
    return 0;
}

void pond_gate_free(struct pond_gate *gate) {
    if (!gate) return;
    pond_platform_close(gate->fd);
    free(gate);
}

void pond_gate_after_fork(struct pond_gate *gate) {
    int own;
    if (pond_platform_reopen(gate->fd, &own) != 0) own = -1; /* no writes from this child: every enter fails */
    pond_platform_close(gate->fd);
    gate->fd = own;
    for (uint32_t i = 0; i < gate->shard_count; i++) pthread_mutex_init(&gate->shard[i], NULL); /* their holders stayed in the parent */
}

int pond_gate_enter(struct pond_gate *gate, uint32_t shard, uint32_t timeout_ms) {
    uint64_t until = pond_platform_monotonic_ns() + (uint64_t)timeout_ms * 1000000;
    int waited;
    if (pond_lock_acquire(&gate->shard[shard], timeout_ms, &waited) != POND_LOCK_HELD) return 0;
    uint64_t now = pond_platform_monotonic_ns();
    if (gate->fd >= 0 &&
        pond_platform_file_lock(gate->fd, POND_FILE_LOCK_WRITERS + shard, 1, now < until ? (uint32_t)((until - now) / 1000000) : 0) == 0)
        return 1;
    pond_lock_release(&gate->shard[shard]);
    return 0;
}

void pond_gate_leave(struct pond_gate *gate, uint32_t shard) {
    pond_platform_file_unlock(gate->fd, POND_FILE_LOCK_WRITERS + shard);
    pond_lock_release(&gate->shard[shard]);
}
