/* SPDX-License-Identifier: MIT */
#ifndef POND_GATE_H
#define POND_GATE_H

/* The gate in front of a shard's mutex, for files whose writers live in several PID namespaces (MILLPOND_NAMESPACES). */

#include <pthread.h>
#include <stdint.h>

struct pond_gate {
    int fd; /* this process's own opening of the file: file locks belong to it */
    uint32_t shard_count;
    pthread_mutex_t shard[]; /* threads of this process, one after the other */
};

/* A gate for a file that is open as `fd`. 0 or errno. */
int pond_gate_new(int fd, uint32_t shard_count, struct pond_gate **gate);
void pond_gate_free(struct pond_gate *gate);
/* In a child of fork: an opening and locks of its own. */
void pond_gate_after_fork(struct pond_gate *gate);

/* 1 when the calling thread is the only one in any process and namespace at this shard; 0 when the deadline passed. */
int pond_gate_enter(struct pond_gate *gate, uint32_t shard, uint32_t timeout_ms);
void pond_gate_leave(struct pond_gate *gate, uint32_t shard);

#endif
