/* SPDX-License-Identifier: MIT */
/* millpond load: a dump from standard input into a pond, which is made when it is not there. The format: dumpfile.h.
 *
 * Every entry is stored by an ordinary set, so others may use the pond meanwhile, and a load that ends early, for whatever reason,
 * leaves what came before in it, whole. */
#define _GNU_SOURCE
#include "dumpfile.h"
#include "input.h"
#include "json.h"
#include "progress.h"
#include "report.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { NAMED_MAX = 10 }; /* entries that do not fit are named, but not a million of them */

struct load {
    const struct call *call;
    struct millpond *pond;
    struct dump_reader reader;
    struct dump_head head;
    struct progress progress;
    uint64_t age_ms; /* what --elapse takes from every time to live */
    uint64_t loaded, bytes, present, expired, too_large, full, evicted;
    bool made; /* the pond was not there */
};

/* ---- the pond ---- */

static int create(struct load *load, uint64_t max_item_bytes, struct millpond **pond, char *errmsg) {
    const struct option_value *given = load->call->option;
    struct millpond_options options = MILLPOND_OPTIONS_INIT;
    options.flags = MILLPOND_CREATE | (given[OPTION_FORCE_FILESYSTEM].given ? (uint32_t)MILLPOND_ANY_FILESYSTEM : 0);
    options.size_bytes = given[OPTION_SIZE].given ? given[OPTION_SIZE].number : load->head.file_bytes;
    options.max_item_bytes = max_item_bytes;
    options.mode = (uint32_t)given[OPTION_MODE].number;
    return millpond_open(pond, load->call->file, &options, errmsg);
}

/* The largest value is the dumped pond's, but a small pond of --size may not be able to take it; then the default of that size. */
static enum status open_or_create(struct load *load) {
    const struct option_value *given = load->call->option;
    char errmsg[MILLPOND_ERRMSG_BYTES] = "";
    load->made = access(load->call->file, F_OK) != 0 && errno == ENOENT;
    uint64_t wanted = given[OPTION_MAX_ITEM].given ? given[OPTION_MAX_ITEM].number : load->head.max_item_bytes;
    int result = create(load, wanted, &load->pond, errmsg);
    if (result == MILLPOND_ERR_ARGUMENT && !given[OPTION_MAX_ITEM].given) result = create(load, 0, &load->pond, errmsg);
    if (result == MILLPOND_OK) return STATUS_DONE;
    load->pond = NULL;
    enum status status = report_open(load->call->file, result, errmsg);
    /* Sizes that do not go together are the command line's fault, if it gave one. */
    bool typed = given[OPTION_SIZE].given || given[OPTION_MAX_ITEM].given;
    return result == MILLPOND_ERR_ARGUMENT && typed ? STATUS_USAGE : status;
}

/* ---- entries ---- */

static void name_misfit(struct load *load, const struct dump_entry *entry, int result) {
    uint64_t misfits = load->too_large + load->full;
    char *key = NULL;
    size_t key_bytes = 0;
    if (misfits > NAMED_MAX) return;
    progress_wipe(&load->progress);
    FILE *out = open_memstream(&key, &key_bytes);
    if (out != NULL) {
        format_escaped(out, entry->key, entry->key_bytes);
        fclose(out);
    }
    report_error(load->call->file, "entry %" PRIu64 " of the dump, %zu bytes under the key %.*s, was left out: %s; %s",
                 load->reader.entries, entry->value_bytes, 200, key != NULL ? key : "?", millpond_strerror(result), report_advice(result));
    if (misfits == NAMED_MAX)
        report_error(load->call->file, "further entries that do not fit are only counted; look at the sum at the end");
    free(key);
}

/* Stores one entry. STATUS_DONE also when it does not fit: the next one may. */
static enum status store(struct load *load, const struct dump_entry *entry) {
    struct millpond_set how = {.ttl_ms = entry->ttl_ms, .grace_ms = entry->grace_ms, .group_number = entry->group};
    if (load->call->option[OPTION_ADD].given) how.when = MILLPOND_IF_ABSENT;
    if (how.ttl_ms != 0 && how.ttl_ms <= load->age_ms) {
        load->expired++;
        return STATUS_DONE;
    }
    if (how.ttl_ms != 0) how.ttl_ms -= load->age_ms;
    int result = millpond_set_ex(load->pond, entry->key, entry->key_bytes, entry->value, entry->value_bytes, &how);
    switch (result) {
    case MILLPOND_OK:
        load->loaded++;
        load->bytes += entry->key_bytes + entry->value_bytes;
        return STATUS_DONE;
    case MILLPOND_EXISTS: load->present++; return STATUS_DONE;
    case MILLPOND_ERR_TOO_LARGE: load->too_large++; break;
    case MILLPOND_ERR_FULL: load->full++; break;
    default:
        progress_end(&load->progress);
        return report_error(load->call->file, "entry %" PRIu64 " of the dump cannot be stored: %s; %s", load->reader.entries,
                            millpond_strerror(result), report_advice(result));
    }
    name_misfit(load, entry, result);
    return STATUS_DONE;
}

/* ---- the dump ---- */

/* What is wrong with the stream, where, and what became of it. */
static enum status refuse(const struct load *load, enum dump_read answer) {
    const struct dump_reader *reader = &load->reader;
    static const char subject[] = "standard input";
    int failed = errno;
    switch (answer) {
    case DUMP_NOT_ONE: return report_error(subject, "this is no dump: %s; give what 'millpond dump' wrote", reader->what);
    case DUMP_VERSION_NO:
        return report_error(subject,
                            "the dump is of format version %" PRIu32 " and this program reads %d; load it with the millpond that wrote it",
                            reader->version, DUMP_VERSION);
    case DUMP_UNREADABLE:
        return report_error(subject, "%s at byte %" PRIu64 ", before entry %" PRIu64 ": %s; redirect a dump into it", reader->what,
                            reader->bad_offset, reader->entries + 1, strerror(failed));
    case DUMP_NO_MEMORY:
        return report_error(subject, "%s at byte %" PRIu64 ", entry %" PRIu64 "; end other programs, or raise the limit (ulimit -v)",
                            reader->what, reader->bad_offset, reader->entries + 1);
    case DUMP_CUT:
        return report_error(subject,
                            "the dump is cut short: %s, at byte %" PRIu64 ", before the end of entry %" PRIu64
                            "; make it anew; the %" PRIu64 " entries before are loaded, whole",
                            reader->what, reader->bad_offset, reader->entries + 1, load->loaded);
    default:
        return report_error(subject,
                            "the dump is damaged at byte %" PRIu64 ", from entry %" PRIu64 " on: %s; make it anew; the %" PRIu64
                            " entries before are loaded, whole",
                            reader->bad_offset, reader->entries + 1, reader->what, load->loaded);
    }
}

static enum status load_entries(struct load *load) {
    struct dump_entry entry;
    enum dump_read answer = DUMP_DONE;
    enum status status = STATUS_DONE;
    while (status == STATUS_DONE && (answer = dump_next(&load->reader, &entry)) == DUMP_ENTRY) {
        status = store(load, &entry);
        progress_show(&load->progress, load->reader.entries, load->reader.bytes);
    }
    if (status != STATUS_DONE || answer == DUMP_DONE) return status;
    int failed = errno;
    progress_end(&load->progress);
    errno = failed;
    return refuse(load, answer);
}

/* ---- the sum ---- */

static void print_json(const struct load *load) {
    struct json json = {stdout, false};
    json_begin(&json, NULL, '{');
    json_u64(&json, "entries", load->reader.entries);
    json_u64(&json, "loaded", load->loaded);
    json_u64(&json, "bytes", load->bytes);
    json_u64(&json, "present", load->present);
    json_u64(&json, "expired", load->expired);
    json_u64(&json, "too_large", load->too_large);
    json_u64(&json, "full", load->full);
    json_u64(&json, "evicted", load->evicted);
    json_bool(&json, "created", load->made);
    json_end(&json, '}');
    putchar('\n');
}

static void print_part(uint64_t count, const char *what) {
    char text[FORMAT_ROOM_BYTES];
    if (count == 0) return;
    format_count(text, count);
    printf("; %s %s", text, what);
}

static void print_text(const struct load *load) {
    char text[FORMAT_ROOM_BYTES];
    format_escaped(stdout, load->call->file, strlen(load->call->file));
    format_count(text, load->loaded);
    printf(": %s entries loaded", text);
    print_part(load->present, "were there already");
    print_part(load->expired, "had expired since the dump");
    print_part(load->too_large, "left out as too large");
    print_part(load->full, "left out for want of room");
    print_part(load->evicted, "left again to make room");
    putchar('\n');
}

/* ---- the verb ---- */

static uint64_t since(uint64_t written_ms) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    uint64_t now_ms = (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
    return now_ms > written_ms ? now_ms - written_ms : 0;
}

static enum status load_pond(struct load *load) {
    struct millpond_stats before = {0}, after = {0};
    int result = millpond_stats(load->pond, -1, &before);
    if (result != MILLPOND_OK) return report_result(load->call->file, result);
    if (load->call->option[OPTION_ELAPSE].given) load->age_ms = since(load->head.written_ms);
    progress_begin(&load->progress, "load", load->head.items);
    enum status status = load_entries(load);
    progress_end(&load->progress);
    if (status != STATUS_DONE) return status;
    if (millpond_stats(load->pond, -1, &after) == MILLPOND_OK) load->evicted = after.evictions - before.evictions;
    load->call->option[OPTION_JSON].given ? print_json(load) : print_text(load);
    return load->too_large + load->full > 0 ? STATUS_NO : STATUS_DONE;
}

enum status verb_load(const struct call *call) {
    struct load load = {.call = call, .pond = NULL};
    const struct option_value *given = call->option;
    if (isatty(STDIN_FILENO)) return report_usage(call->verb, "standard input is a terminal: redirect a dump into it");
    if ((given[OPTION_SIZE].given && given[OPTION_SIZE].number == 0) ||
        (given[OPTION_MAX_ITEM].given && given[OPTION_MAX_ITEM].number == 0))
        return report_usage(call->verb, "--size or --max-item is 0: give 1 or more, or leave it out");
    /* The head first: what is no dump makes no file. */
    enum dump_read answer = dump_open(&load.reader, stdin, &load.head);
    enum status status = answer == DUMP_ENTRY ? open_or_create(&load) : refuse(&load, answer);
    if (status == STATUS_DONE) status = load_pond(&load);
    if (load.pond != NULL) status = input_close(call, load.pond, status);
    dump_reader_free(&load.reader);
    return status;
}
