/* SPDX-License-Identifier: MIT */
#ifndef MILLPOND_FUZZ_GUARD_H
#define MILLPOND_FUZZ_GUARD_H

#include <stdint.h>

/* From here on, mappings of files lie between guards and their first page is not writable. Before, they are made as usual (a file that is
 * being created has its first page written). */
void guard_on(void);

/* The wall clock that the library sees. 0: the real one. */
void guard_set_clock_ms(uint64_t ms);

#endif
