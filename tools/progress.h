/* SPDX-License-Identifier: MIT */
/* A bar for work that takes long: on standard error, only when that is a terminal, and gone when the work has ended. */
#ifndef MILLPOND_TOOLS_PROGRESS_H
#define MILLPOND_TOOLS_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

struct progress {
    const char *verb;
    uint64_t whole; /* entries in all; 0 for unknown, and then there is no bar but the figures */
    uint64_t start_ns, shown_ns;
    bool on;
};

void progress_begin(struct progress *progress, const char *verb, uint64_t whole);
/* So many entries and bytes are done. Cheap enough for each entry: it looks at the clock, and draws ten times a second. */
void progress_show(struct progress *progress, uint64_t entries, uint64_t bytes);
/* Wipes the line, before something else is printed; the work goes on. */
void progress_wipe(struct progress *progress);
/* Wipes it for good. */
void progress_end(struct progress *progress);

#endif
