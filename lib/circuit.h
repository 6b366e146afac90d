/* SPDX-License-Identifier: MIT */
#ifndef POND_CIRCUIT_H
#define POND_CIRCUIT_H

/* A circuit breaker: whether a store may be called. It lies in memory that a process shares with its children; zeroed, it is closed. */

#include <stdint.h>

struct pond_circuit {
    uint64_t until_ns; /* 0: calls pass. Else: it rests, and from this moment on one call may try */
    uint32_t failures; /* in a row */
    uint32_t rest_ms;  /* the rest that follows the next failure; 0: the shortest */
};

struct pond_circuit_limits {
    uint32_t failures_max, rest_ms, rest_max_ms;
};

enum pond_circuit_way { POND_CIRCUIT_RESTS, POND_CIRCUIT_PASSES, POND_CIRCUIT_TRIES };

/* May a call be made now? trial_ns: how long a call can take at the most. */
enum pond_circuit_way pond_circuit_ask(struct pond_circuit *circuit, uint64_t now_ns, uint64_t trial_ns);
/* A call came back that passed, or tried: the store answered, or it is in trouble. */
void pond_circuit_well(struct pond_circuit *circuit);
void pond_circuit_trouble(struct pond_circuit *circuit, enum pond_circuit_way way, const struct pond_circuit_limits *limits,
                          uint64_t now_ns);

#endif
