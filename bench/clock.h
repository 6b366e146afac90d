/* SPDX-License-Identifier: MIT */
/* clock.h: the wall clock of this process as the harness wants it, so that a trace of a week is replayed in a second. */
#ifndef BENCH_CLOCK_H
#define BENCH_CLOCK_H

#include <stdint.h>

/* From now on this process, with the libraries in it, is told this time by the wall clock (CLOCK_REALTIME and its coarse brother):
 * milliseconds since 1970, standing still until the next call. 0: the system's again. Children inherit it. */
void clock_set(uint64_t ms);

/* The system's, whatever was set. */
uint64_t clock_system_ms(void);

#endif
