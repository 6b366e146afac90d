/* SPDX-License-Identifier: MIT */
/* A bar for work that takes long: on standard error, only when that is a terminal, and gone when the work has ended. */
#define _GNU_SOURCE
#include "progress.h"

#include "format.h"
#include <stdio.h>
#include <time.h>
#include <unistd.h>

enum { BAR_COLUMNS = 30 };
static const uint64_t DRAW_NS = UINT64_C(100000000);

static uint64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}

void progress_begin(struct progress *progress, const char *verb, uint64_t whole) {
    uint64_t now = now_ns();
    *progress = (struct progress){verb, whole, now, now, isatty(STDERR_FILENO) == 1};
}

static void draw_bar(const struct progress *progress, uint64_t entries) {
    double share = format_share(entries, progress->whole);
    if (share > 1) share = 1; /* what came meanwhile */
    int full = (int)(share * BAR_COLUMNS);
    fputs(" [", stderr);
    for (int i = 0; i < BAR_COLUMNS; i++) putc(i < full ? '=' : i == full ? '>' : ' ', stderr);
    fprintf(stderr, "] %3.0f %%", 100 * share);
}

void progress_show(struct progress *progress, uint64_t entries, uint64_t bytes) {
    char count[FORMAT_ROOM_BYTES], size[FORMAT_ROOM_BYTES], rate[FORMAT_ROOM_BYTES];
    if (!progress->on) return;
    uint64_t now = now_ns();
    if (now - progress->shown_ns < DRAW_NS) return;
    progress->shown_ns = now;
    format_count(count, entries);
    format_size(size, bytes);
    format_size(rate, (uint64_t)((double)bytes * 1e9 / (double)(now - progress->start_ns)));
    fprintf(stderr, "\r%s", progress->verb);
    if (progress->whole != 0) draw_bar(progress, entries);
    fprintf(stderr, "  %s entries  %s  %s/s\x1b[K", count, size, rate);
    fflush(stderr);
}

void progress_wipe(struct progress *progress) {
    if (progress->on && progress->shown_ns != progress->start_ns) fputs("\r\x1b[K", stderr);
}

void progress_end(struct progress *progress) {
    progress_wipe(progress);
    progress->on = false;
}
