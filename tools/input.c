/* SPDX-License-Identifier: MIT */
/* What several verbs share: opening the pond in the way that fits, and keys and values as they were typed. */
#define _GNU_SOURCE
#include "input.h"

#include "report.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int open_with(const struct call *call, uint32_t flags, struct millpond **pond, char *errmsg) {
    struct millpond_options options = MILLPOND_OPTIONS_INIT;
    options.flags = flags | (call->option[OPTION_FORCE_FILESYSTEM].given ? (uint32_t)MILLPOND_ANY_FILESYSTEM : 0);
    errmsg[0] = 0;
    return millpond_open(pond, call->file, &options, errmsg);
}

/* Errors of an opening for writing after which the same user may still read. */
static bool may_still_read(int result) {
    return result == MILLPOND_ERR_PERMISSION || result == MILLPOND_ERR_READ_ONLY_FS || result == MILLPOND_ERR_UNSAFE ||
           result == MILLPOND_ERR_NAMESPACE || result == MILLPOND_ERR_UNLOCKABLE;
}

enum status input_open(const struct call *call, enum access access, struct millpond **pond) {
    char errmsg[MILLPOND_ERRMSG_BYTES];
    int result;
    if (access == ACCESS_LOOK) {
        result = open_with(call, MILLPOND_READONLY, pond, errmsg);
        /* A copy, or a file from before a restart, is made usable by its first writer; a reader alone cannot. */
        if (result == MILLPOND_ERR_CORRUPT) result = open_with(call, 0, pond, errmsg);
    } else {
        result = open_with(call, 0, pond, errmsg);
        if (access == ACCESS_USE && may_still_read(result)) result = open_with(call, MILLPOND_READONLY, pond, errmsg);
    }
    return result == MILLPOND_OK ? STATUS_DONE : report_open(call->file, result, errmsg);
}

enum status input_close(const struct call *call, struct millpond *pond, enum status status) {
    if (pond != NULL && call->option[OPTION_SYNC].given && status != STATUS_USAGE && status != STATUS_ERROR) {
        int result = millpond_sync(pond);
        if (result != MILLPOND_OK) status = report_result(call->file, result);
    }
    millpond_close(pond);
    return status;
}

static enum status out_of_memory(void) {
    return report_error("memory", "there is not enough; end other programs, or raise the limit (ulimit -v)");
}

enum status input_text(const struct call *call, const char *what, const char *text, bool hex, struct bytes *out) {
    size_t length = strlen(text);
    if (hex) {
        if (format_parse_hex(text, length, out)) return STATUS_DONE;
        return report_usage(call->verb, "the %s is not hexadecimal: give two digits for each byte", what);
    }
    *out = (struct bytes){malloc(length + 1), length};
    if (out->data == NULL) return out_of_memory();
    memcpy(out->data, text, length + 1);
    return STATUS_DONE;
}

enum status input_key(const struct call *call, struct bytes *key) {
    bool hex = call->option[OPTION_HEX].given || call->option[OPTION_HEX_KEY].given;
    enum status status = input_text(call, "key", call->args[0], hex, key);
    if (status != STATUS_DONE) return status;
    if (key->size_bytes >= 1 && key->size_bytes <= MILLPOND_KEY_BYTES_MAX) return STATUS_DONE;
    status = report_usage(call->verb, "the key has %zu bytes: give one of 1 to %d", key->size_bytes, MILLPOND_KEY_BYTES_MAX);
    bytes_free(key);
    return status;
}

enum status input_stdin(size_t max_bytes, struct bytes *out) {
    size_t room = 64 << 10, used = 0;
    unsigned char *data = malloc(room);
    while (data != NULL) {
        ssize_t got = read(STDIN_FILENO, data + used, room - used);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) {
            int failed = errno;
            free(data);
            return report_error("standard input", "%s; give the value as an operand, or redirect a file", strerror(failed));
        }
        used += (size_t)got;
        if (got == 0 || used > max_bytes) {
            *out = (struct bytes){data, used};
            return STATUS_DONE;
        }
        if (used == room) {
            unsigned char *larger = realloc(data, room *= 2);
            if (larger == NULL) free(data);
            data = larger;
        }
    }
    return out_of_memory();
}

enum status input_group(const struct call *call, const void **group, size_t *group_bytes) {
    const struct option_value *given = &call->option[OPTION_GROUP];
    *group = given->text;
    *group_bytes = given->given ? strlen(given->text) : 0;
    if (!given->given || (*group_bytes > 0 && *group_bytes <= MILLPOND_GROUP_BYTES_MAX)) return STATUS_DONE;
    return report_usage(call->verb, "the name of the group is %s: give 1 to %d bytes", *group_bytes == 0 ? "empty" : "too long",
                        MILLPOND_GROUP_BYTES_MAX);
}
