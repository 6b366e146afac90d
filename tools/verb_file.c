/* SPDX-License-Identifier: MIT */
/* The verbs about the file as a whole: create, check, clear, sync, resize, keys. */
#define _GNU_SOURCE
#include "input.h"
#include "json.h"
#include "report.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* ---- create ---- */

static enum status create_options(const struct call *call, struct millpond_options *options) {
    const struct option_value *given = call->option;
    if (!given[OPTION_SIZE].given) return report_usage(call->verb, "--size is missing: give the size of the file, such as --size 256M");
    /* A field of 0 means its default to the library; typed, it is a mistake. */
    static const struct {
        enum option_id id;
        const char *name;
    } not_zero[] = {{OPTION_SIZE, "size"},
                    {OPTION_MAX_ITEM, "max-item"},
                    {OPTION_SHARDS, "shards"},
                    {OPTION_SEGMENT, "segment"},
                    {OPTION_ENTRY_BYTES, "entry-bytes"}};
    for (size_t i = 0; i < sizeof not_zero / sizeof not_zero[0]; i++)
        if (given[not_zero[i].id].given && given[not_zero[i].id].number == 0)
            return report_usage(call->verb, "--%s is 0: give 1 or more, or leave it out", not_zero[i].name);
    if (given[OPTION_SHARDS].number > UINT32_MAX || given[OPTION_ENTRY_BYTES].number > UINT32_MAX)
        return report_usage(call->verb, "--shards or --entry-bytes is too large");
    options->size_bytes = given[OPTION_SIZE].number;
    options->max_item_bytes = given[OPTION_MAX_ITEM].number;
    options->segment_bytes = given[OPTION_SEGMENT].number;
    options->shards = (uint32_t)given[OPTION_SHARDS].number;
    options->entry_bytes = (uint32_t)given[OPTION_ENTRY_BYTES].number;
    options->mode = (uint32_t)given[OPTION_MODE].number;
    options->flags = MILLPOND_CREATE | MILLPOND_EXCLUSIVE;
    if (given[OPTION_HUGEPAGES].given) options->flags |= MILLPOND_HUGEPAGES;
    if (given[OPTION_NAMESPACES].given) options->flags |= MILLPOND_NAMESPACES;
    if (given[OPTION_FORCE_FILESYSTEM].given) options->flags |= MILLPOND_ANY_FILESYSTEM;
    return STATUS_DONE;
}

enum status verb_create(const struct call *call) {
    struct millpond_options options = MILLPOND_OPTIONS_INIT;
    char errmsg[MILLPOND_ERRMSG_BYTES] = "";
    struct millpond *pond;
    enum status status = create_options(call, &options);
    if (status != STATUS_DONE) return status;
    int result = millpond_open(&pond, call->file, &options, errmsg);
    if (result != MILLPOND_OK) {
        status = report_open(call->file, result, errmsg);
        /* Sizes that do not go together are the command line's fault. */
        return result == MILLPOND_ERR_ARGUMENT ? STATUS_USAGE : status;
    }
    millpond_close(pond);
    return STATUS_DONE;
}

/* ---- check ---- */

struct check_report {
    struct json *json; /* NULL: as text */
};

static void print_damage(void *arg, const char *sentence) {
    struct check_report *report = arg;
    if (report->json != NULL)
        json_bytes(report->json, NULL, sentence, strlen(sentence), false);
    else
        puts(sentence);
}

static void print_verdict(const struct call *call, int result, const struct millpond_check *check) {
    format_escaped(stdout, call->file, strlen(call->file));
    if (result == MILLPOND_OK)
        printf(": whole: %" PRIu64 " entries, %" PRIu64 " bytes of keys and values\n", check->entries, check->bytes);
    else if (call->option[OPTION_REPAIR].given)
        printf(": damaged: %" PRIu64 " found, %" PRIu64 " mended; %" PRIu64 " entries are left\n", check->damages, check->repaired,
               check->entries);
    else
        printf(": damaged: %" PRIu64 " found beside %" PRIu64 " whole entries; mend it with --repair\n", check->damages, check->entries);
}

static void end_check_json(struct json *json, int result, const struct millpond_check *check) {
    json_end(json, ']');
    json_bool(json, "whole", result == MILLPOND_OK);
    json_u64(json, "entries", check->entries);
    json_u64(json, "bytes", check->bytes);
    json_u64(json, "damages", check->damages);
    json_u64(json, "repaired", check->repaired);
    json_end(json, '}');
    putchar('\n');
}

/* The object of --json is printed as a whole or not at all, so it is collected first: an error may come after the first damage. */
static enum status check_json(const struct call *call, unsigned flags) {
    char errmsg[MILLPOND_ERRMSG_BYTES] = "", *text = NULL;
    size_t text_bytes = 0;
    struct millpond_check check;
    struct json json = {open_memstream(&text, &text_bytes), false};
    struct check_report report = {&json};
    if (json.out == NULL) return report_result(call->file, MILLPOND_ERR_NO_MEMORY);
    json_begin(&json, NULL, '{');
    json_begin(&json, "found", '[');
    int result = millpond_check(call->file, flags, print_damage, &report, &check, errmsg);
    fflush(json.out);
    enum status status = result < 0 ? report_open(call->file, result, errmsg) : report_result(call->file, result);
    if (result >= 0) {
        fwrite(text, 1, text_bytes, stdout);
        struct json rest = {stdout, json.comma};
        end_check_json(&rest, result, &check);
    }
    fclose(json.out);
    free(text);
    return status;
}

enum status verb_check(const struct call *call) {
    unsigned flags = (call->option[OPTION_REPAIR].given ? (unsigned)MILLPOND_CHECK_REPAIR : 0) |
                     (call->option[OPTION_FORCE_FILESYSTEM].given ? (unsigned)MILLPOND_CHECK_ANY_FILESYSTEM : 0);
    char errmsg[MILLPOND_ERRMSG_BYTES] = "";
    struct check_report report = {NULL};
    struct millpond_check check;
    if (call->option[OPTION_JSON].given) return check_json(call, flags);
    int result = millpond_check(call->file, flags, print_damage, &report, &check, errmsg);
    if (result < 0) return report_open(call->file, result, errmsg);
    print_verdict(call, result, &check);
    return report_result(call->file, result);
}

/* ---- clear, sync ---- */

static enum status with_pond(const struct call *call, int (*work)(struct millpond *)) {
    struct millpond *pond;
    enum status status = input_open(call, ACCESS_WRITE, &pond);
    if (status != STATUS_DONE) return status;
    return input_close(call, pond, report_result(call->file, work(pond)));
}

static enum status clear_group(const struct call *call) {
    struct millpond *pond;
    const void *group;
    size_t group_bytes;
    enum status status = input_group(call, &group, &group_bytes);
    if (status == STATUS_DONE) status = input_open(call, ACCESS_WRITE, &pond);
    if (status != STATUS_DONE) return status;
    return input_close(call, pond, report_result(call->file, millpond_invalidate(pond, group, group_bytes)));
}

enum status verb_clear(const struct call *call) {
    return call->option[OPTION_GROUP].given ? clear_group(call) : with_pond(call, millpond_clear);
}

enum status verb_sync(const struct call *call) { return with_pond(call, millpond_sync); }

/* ---- resize ---- */

enum status verb_resize(const struct call *call) {
    char errmsg[MILLPOND_ERRMSG_BYTES] = "";
    struct millpond *pond;
    uint64_t size_bytes;
    if (!format_parse_size(call->args[0], &size_bytes) || size_bytes == 0)
        return report_usage(call->verb, "'%s' is not a size, such as 256M or 1.5G", call->args[0]);
    enum status status = input_open(call, ACCESS_WRITE, &pond);
    if (status != STATUS_DONE) return status;
    int result = millpond_resize(pond, size_bytes, errmsg);
    millpond_close(pond);
    if (result == MILLPOND_OK) return STATUS_DONE;
    status = report_open(call->file, result, errmsg);
    return result == MILLPOND_ERR_ARGUMENT ? STATUS_USAGE : status;
}

/* ---- keys ---- */

struct key_printer {
    const struct call *call;
    uint64_t printed;
};

static int print_key(void *arg, const struct millpond_entry *entry) {
    struct key_printer *printer = arg;
    const struct option_value *given = printer->call->option;
    if (given[OPTION_LIMIT].given && printer->printed >= given[OPTION_LIMIT].number) return 1;
    if (given[OPTION_JSON].given) {
        struct json json = {stdout, false};
        json_begin(&json, NULL, '{');
        json_bytes(&json, "key", entry->key, entry->key_bytes, given[OPTION_HEX].given);
        json_u64(&json, "value_bytes", entry->value_bytes);
        if (entry->ttl_ms == 0)
            json_null(&json, "ttl_ms");
        else
            json_u64(&json, "ttl_ms", entry->ttl_ms);
        if (entry->group != 0) json_u64(&json, "group", entry->group);
        json_end(&json, '}');
    } else if (given[OPTION_HEX].given) {
        format_hex(stdout, entry->key, entry->key_bytes);
    } else {
        format_escaped(stdout, entry->key, entry->key_bytes);
    }
    putchar('\n');
    printer->printed++;
    return ferror(stdout); /* nobody reads on: head has its lines, or the disk is full */
}

enum status verb_keys(const struct call *call) {
    struct key_printer printer = {call, 0};
    struct bytes prefix = {NULL, 0};
    struct millpond *pond;
    enum status status = STATUS_DONE;
    if (call->option[OPTION_PREFIX].given)
        status = input_text(call, "prefix", call->option[OPTION_PREFIX].text, call->option[OPTION_HEX].given, &prefix);
    if (status == STATUS_DONE) status = input_open(call, ACCESS_LOOK, &pond);
    if (status == STATUS_DONE) {
        int result =
            millpond_scan(pond, prefix.size_bytes != 0 ? prefix.data : NULL, prefix.size_bytes, MILLPOND_SCAN_KEYS, print_key, &printer);
        if (result < 0) status = report_result(call->file, result);
        millpond_close(pond);
    }
    bytes_free(&prefix);
    return status;
}
