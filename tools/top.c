/* SPDX-License-Identifier: MIT */
/* The verb top: a live view of what all processes together do with the pond. The figures are read without a lock and from a read-only
 * mapping, so watching costs the watched nothing. One function makes a frame as lines of text, for the terminal and for --once. */
#define _GNU_SOURCE
#include "format.h"
#include "input.h"
#include "report.h"
#include "stats.h"

#include <curses.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
    FRAME_LINES = 300,
    FRAME_COLUMNS = 160,
    INTERVAL_MS_MIN = 100,
    INTERVAL_MS_MAX = 3600 * 1000,
    LOOKS_APART_NS = 10 * 1000 * 1000 /* nearer ones give no rate */
};

struct frame {
    unsigned count;
    char line[FRAME_LINES][FRAME_COLUMNS];
};

struct look {
    struct millpond_stats whole;
    struct millpond_stats *shards;
    uint64_t at_ns;
};

struct view {
    const struct call *call;
    char *file; /* its name, printable */
    struct millpond *pond;
    unsigned shard_count;
    uint32_t interval_ms;
    bool show_shards;
    struct look old, now;
};

static uint64_t clock_ns(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

static int take_look(struct view *view) {
    struct look *look = &view->now;
    int result = millpond_stats(view->pond, -1, &look->whole);
    for (unsigned i = 0; i < view->shard_count && result == MILLPOND_OK; i++) result = millpond_stats(view->pond, (int)i, &look->shards[i]);
    look->at_ns = clock_ns();
    return result;
}

static void keep_look(struct view *view) {
    struct look spare = view->old;
    view->old = view->now;
    view->now = spare;
}

/* ---- a frame ---- */

__attribute__((format(printf, 2, 3))) static void add_line(struct frame *frame, const char *format, ...) {
    va_list arguments;
    if (frame->count == FRAME_LINES) return;
    va_start(arguments, format);
    vsnprintf(frame->line[frame->count++], FRAME_COLUMNS, format, arguments);
    va_end(arguments);
}

/* What a counter gained in a second; a pond that was made anew meanwhile starts from 0. */
static double rate(const struct view *view, uint64_t old, uint64_t now) {
    uint64_t ns = view->now.at_ns - view->old.at_ns;
    return now < old || ns < LOOKS_APART_NS ? 0 : (double)(now - old) * 1e9 / (double)ns;
}

static void add_counter(struct frame *frame, const struct view *view, const char *name, uint64_t old, uint64_t now, bool size) {
    char total[FORMAT_ROOM_BYTES], second[FORMAT_ROOM_BYTES];
    double gained = rate(view, old, now);
    if (size) {
        format_size(total, now);
        format_size(second, (uint64_t)gained);
    } else {
        format_count(total, now);
        if (gained > 0 && gained < 10)
            snprintf(second, sizeof second, "%.1f", gained);
        else
            format_count(second, (uint64_t)(gained + 0.5));
    }
    add_line(frame, "%-20s %16s %22s", name, second, total);
}

/* The hit ratio since the last look, or of the whole life when there was no get since then. */
static double recent_hit_ratio(const struct millpond_stats *old, const struct millpond_stats *now, bool *any) {
    uint64_t hits = now->hits - old->hits, misses = now->misses - old->misses;
    *any = now->hits >= old->hits && now->misses >= old->misses && hits + misses != 0;
    return *any ? format_share(hits, hits + misses) : 0;
}

static void add_head(struct frame *frame, const struct view *view) {
    const struct millpond_stats *now = &view->now.whole;
    char size[FORMAT_ROOM_BYTES], bytes[FORMAT_ROOM_BYTES], items[FORMAT_ROOM_BYTES], every[FORMAT_ROOM_BYTES], clock[16];
    time_t seconds = time(NULL);
    struct tm broken;
    strftime(clock, sizeof clock, "%H:%M:%S", localtime_r(&seconds, &broken));
    format_size(size, now->file_bytes);
    format_size(bytes, now->bytes);
    format_count(items, now->items);
    format_time(every, view->interval_ms);
    add_line(frame, "%.60s  %s  %u shards  every %s  %s", view->file, size, view->shard_count, every, clock);
    add_line(frame, "%s items, %s of keys and values, %.1f %% of the index, %" PRIu64 " of %" PRIu64 " segments free, %" PRIu64 " readers",
             items, bytes, 100 * format_share(now->items, now->index_slots), now->segments_free, now->segments, now->readers);
    add_line(frame, "%s", "");
}

static void add_totals(struct frame *frame, const struct view *view) {
    const struct millpond_stats *old = &view->old.whole, *now = &view->now.whole;
    char recent[FORMAT_ROOM_BYTES] = "-", life[FORMAT_ROOM_BYTES];
    bool any;
    double ratio = recent_hit_ratio(old, now, &any);
    add_line(frame, "%-20s %16s %22s", "", "a second", "in all");
    add_counter(frame, view, "gets", old->hits + old->misses, now->hits + now->misses, false);
    add_counter(frame, view, "hits", old->hits, now->hits, false);
    add_counter(frame, view, "misses", old->misses, now->misses, false);
    if (any) snprintf(recent, sizeof recent, "%.2f %%", 100 * ratio);
    snprintf(life, sizeof life, "%.2f %%", 100 * stats_hit_ratio(now));
    add_line(frame, "%-20s %16s %22s", "hit ratio", recent, life);
    add_counter(frame, view, "sets", old->sets, now->sets, false);
    add_counter(frame, view, "deletes", old->deletes, now->deletes, false);
    add_counter(frame, view, "evictions", old->evictions, now->evictions, false);
    add_counter(frame, view, "expirations", old->expirations, now->expirations, false);
    add_counter(frame, view, "bytes set", old->bytes_set, now->bytes_set, true);
    add_counter(frame, view, "bytes copied", old->bytes_copied, now->bytes_copied, true);
    add_line(frame, "%-20s %16s %22.3f", "write amplification", "", stats_write_amplification(now));
    add_counter(frame, view, "lock waits", old->lock_waits, now->lock_waits, false);
    add_counter(frame, view, "lock timeouts", old->lock_timeouts, now->lock_timeouts, false);
    add_counter(frame, view, "reader retries", old->retries, now->retries, false);
    add_counter(frame, view, "recoveries", old->recoveries, now->recoveries, false);
}

static void add_shards(struct frame *frame, const struct view *view) {
    add_line(frame, "%s", "");
    add_line(frame, "%5s %12s %12s %12s %12s %13s %12s", "shard", "items", "sets/s", "deletes/s", "evictions/s", "expirations/s",
             "lock waits/s");
    for (unsigned i = 0; i < view->shard_count; i++) {
        const struct millpond_stats *old = &view->old.shards[i], *now = &view->now.shards[i];
        char items[FORMAT_ROOM_BYTES];
        format_count(items, now->items);
        add_line(frame, "%5u %12s %12.0f %12.0f %12.0f %13.0f %12.0f", i, items, rate(view, old->sets, now->sets),
                 rate(view, old->deletes, now->deletes), rate(view, old->evictions, now->evictions),
                 rate(view, old->expirations, now->expirations), rate(view, old->lock_waits, now->lock_waits));
    }
}

static void make_frame(struct frame *frame, const struct view *view) {
    frame->count = 0;
    add_head(frame, view);
    add_totals(frame, view);
    if (view->show_shards) add_shards(frame, view);
}

/* ---- the terminal ---- */

static volatile sig_atomic_t signalled;

static void on_signal(int number) { signalled = number; }

static void give_terminal_back(void) { endwin(); }

static void draw(const struct frame *frame) {
    erase();
    for (unsigned i = 0; i < frame->count && (int)i < LINES - 1; i++) {
        if (i == 0) attron(A_BOLD);
        mvaddnstr((int)i, 0, frame->line[i], COLS);
        if (i == 0) attroff(A_BOLD);
    }
    attron(A_REVERSE);
    mvaddnstr(LINES - 1, 0, " q leaves   s shards   + - interval ", COLS);
    attroff(A_REVERSE);
    refresh();
}

/* Waits out the interval and acts on keys. false: leave. */
static bool attend(struct view *view, struct frame *frame) {
    uint64_t end_ns = clock_ns() + (uint64_t)view->interval_ms * 1000000;
    while (signalled == 0) {
        uint64_t now_ns = clock_ns();
        if (now_ns >= end_ns) return true;
        timeout((int)((end_ns - now_ns) / 1000000 + 1));
        int key = getch();
        if (key == 'q' || key == 'Q') return false;
        if (key == 's') view->show_shards = !view->show_shards;
        if (key == '+' && view->interval_ms <= INTERVAL_MS_MAX / 2) view->interval_ms *= 2;
        if (key == '-' && view->interval_ms >= INTERVAL_MS_MIN * 2) view->interval_ms /= 2;
        if (key == 's' || key == '+' || key == '-') make_frame(frame, view);
        if (key != ERR) draw(frame);                           /* the size of the terminal counts as a key */
        if (key == ERR && !isatty(STDIN_FILENO)) return false; /* the terminal is gone */
    }
    return false;
}

static enum status watch(struct view *view, struct frame *frame) {
    static const int ending[] = {SIGINT, SIGTERM, SIGHUP};
    int result = MILLPOND_OK;
    SCREEN *screen = newterm(NULL, stdout, stdin);
    if (screen == NULL) return report_error("terminal", "its kind is unknown or unusable; set TERM, or use --once");
    report_guard(view->call->file, give_terminal_back);
    for (size_t i = 0; i < sizeof ending / sizeof ending[0]; i++) {
        struct sigaction action = {0};
        action.sa_handler = on_signal;
        sigaction(ending[i], &action, NULL);
    }
    cbreak();
    noecho();
    curs_set(0);
    keypad(stdscr, TRUE);
    do {
        keep_look(view);
        result = take_look(view);
        make_frame(frame, view);
        if (result == MILLPOND_OK) draw(frame);
    } while (result == MILLPOND_OK && attend(view, frame));
    endwin();
    delscreen(screen);
    if (signalled == SIGTERM || signalled == SIGHUP) {
        signal(signalled, SIG_DFL);
        raise(signalled);
    }
    return report_result(view->call->file, result);
}

static enum status print_once(struct view *view, struct frame *frame) {
    struct timespec pause = {view->interval_ms / 1000, (long)(view->interval_ms % 1000) * 1000000};
    fflush(stdout);
    while (nanosleep(&pause, &pause) != 0) {
    }
    keep_look(view);
    int result = take_look(view);
    if (result != MILLPOND_OK) return report_result(view->call->file, result);
    make_frame(frame, view);
    for (unsigned i = 0; i < frame->count; i++) puts(frame->line[i]);
    return STATUS_DONE;
}

/* ---- the verb ---- */

static char *printable(const char *name) {
    char *text = NULL;
    size_t text_bytes = 0;
    FILE *out = open_memstream(&text, &text_bytes);
    if (out == NULL) return NULL;
    format_escaped(out, name, strlen(name));
    return fclose(out) == 0 ? text : NULL;
}

static enum status run(struct view *view) {
    struct millpond_stats first;
    int result = millpond_stats(view->pond, -1, &first);
    if (result != MILLPOND_OK) return report_result(view->call->file, result);
    view->shard_count = (unsigned)first.shards;
    view->old.shards = calloc(view->shard_count, sizeof *view->old.shards);
    view->now.shards = calloc(view->shard_count, sizeof *view->now.shards);
    struct frame *frame = calloc(1, sizeof *frame);
    view->file = printable(view->call->file);
    enum status status = STATUS_ERROR;
    result = view->old.shards == NULL || view->now.shards == NULL || view->file == NULL || frame == NULL ? MILLPOND_ERR_NO_MEMORY
                                                                                                         : take_look(view);
    if (result != MILLPOND_OK)
        report_result(view->call->file, result);
    else
        status = view->call->option[OPTION_ONCE].given ? print_once(view, frame) : watch(view, frame);
    free(frame);
    free(view->file);
    free(view->now.shards);
    free(view->old.shards);
    return status;
}

enum status verb_top(const struct call *call) {
    const struct option_value *interval = &call->option[OPTION_INTERVAL];
    struct view view = {.call = call, .interval_ms = 1000, .show_shards = call->option[OPTION_PER_SHARD].given};
    if (interval->given && (interval->number < INTERVAL_MS_MIN || interval->number > INTERVAL_MS_MAX))
        return report_usage(call->verb, "'%s' is not between 100ms and 1h (--interval)", interval->text);
    if (interval->given) view.interval_ms = (uint32_t)interval->number;
    if (!call->option[OPTION_ONCE].given && (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO)))
        return report_usage(call->verb, "it needs a terminal: use --once for one frame as text");
    enum status status = input_open(call, ACCESS_LOOK, &view.pond);
    if (status != STATUS_DONE) return status;
    status = run(&view);
    millpond_close(view.pond);
    return status;
}
