/* SPDX-License-Identifier: MIT */
/* millpond dump: a scan of the pond as a stream on standard output. The format: dumpfile.h. */
#define _GNU_SOURCE
#include "dumpfile.h"
#include "input.h"
#include "json.h"
#include "progress.h"
#include "report.h"

#include <errno.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

struct dump {
    struct dump_writer writer;
    struct progress progress;
};

enum { STOPPED = 1 }; /* the answer of the visitor when standard output takes no more */

static int dump_one(void *arg, const struct millpond_entry *found) {
    struct dump *dump = arg;
    struct dump_entry entry = {found->key,    found->value,    found->key_bytes, found->value_bytes,
                               found->ttl_ms, found->grace_ms, found->group};
    if (!dump_put(&dump->writer, &entry)) return STOPPED;
    progress_show(&dump->progress, dump->writer.entries, dump->writer.bytes);
    return 0;
}

static struct dump_head make_head(const struct call *call, const struct millpond_stats *stats) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    bool partial = call->option[OPTION_PREFIX].given;
    return (struct dump_head){.file_bytes = stats->file_bytes,
                              .max_item_bytes = stats->max_item_bytes,
                              .written_ms = (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000,
                              .items = partial ? 0 : stats->items,
                              .partial = partial};
}

/* Standard output has the entries, so the summary goes to the other stream. */
static void print_summary(const struct call *call, const struct dump_writer *writer) {
    struct json json = {stderr, false};
    if (!call->option[OPTION_JSON].given) return;
    json_begin(&json, NULL, '{');
    json_u64(&json, "entries", writer->entries);
    json_u64(&json, "bytes", writer->bytes);
    json_u64(&json, "dump_bytes", writer->written);
    json_end(&json, '}');
    putc('\n', stderr);
}

static enum status dump_pond(const struct call *call, struct millpond *pond, const struct bytes *prefix) {
    struct dump dump = {.progress = {.on = false}};
    struct millpond_stats stats;
    int result = millpond_stats(pond, -1, &stats);
    if (result != MILLPOND_OK) return report_result(call->file, result);
    struct dump_head head = make_head(call, &stats);
    errno = 0;
    bool written = dump_begin(&dump.writer, stdout, &head);
    if (!written && !ferror(stdout)) return report_result(call->file, MILLPOND_ERR_NO_MEMORY);
    progress_begin(&dump.progress, "dump", head.items);
    if (written) result = millpond_scan(pond, prefix->size_bytes != 0 ? prefix->data : NULL, prefix->size_bytes, 0, dump_one, &dump);
    written = written && result != STOPPED && (result != MILLPOND_OK || dump_end(&dump.writer));
    if (!written) report_output(errno != 0 ? errno : EIO);
    progress_end(&dump.progress);
    dump_writer_free(&dump.writer);
    if (result < 0) return report_result(call->file, result);
    if (written) print_summary(call, &dump.writer);
    return STATUS_DONE;
}

enum status verb_dump(const struct call *call) {
    struct bytes prefix = {NULL, 0};
    struct millpond *pond;
    enum status status = STATUS_DONE;
    if (isatty(STDOUT_FILENO)) return report_usage(call->verb, "standard output is a terminal, and a dump is not text: redirect it");
    if (call->option[OPTION_PREFIX].given)
        status = input_text(call, "prefix", call->option[OPTION_PREFIX].text, call->option[OPTION_HEX].given, &prefix);
    if (status == STATUS_DONE) status = input_open(call, ACCESS_LOOK, &pond);
    if (status == STATUS_DONE) {
        status = dump_pond(call, pond, &prefix);
        millpond_close(pond);
    }
    bytes_free(&prefix);
    return status;
}
