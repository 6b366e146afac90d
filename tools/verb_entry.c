/* SPDX-License-Identifier: MIT */
/* The verbs about one entry: set, get, del, touch, ttl, incr. */
#define _GNU_SOURCE
#include "input.h"
#include "json.h"
#include "report.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* The longest time to live that the library takes is 100 years. */
static enum status check_time(const struct call *call, const struct option_value *time) {
    if (!time->given || time->number <= UINT64_C(100) * 365 * 24 * 3600 * 1000) return STATUS_DONE;
    return report_usage(call->verb, "'%s' is more than 100 years: use 0 for ever", time->text);
}

/* ---- set ---- */

static enum status check_set(const struct call *call) {
    if (call->option[OPTION_ADD].given && call->option[OPTION_REPLACE].given)
        return report_usage(call->verb, "--add and --replace exclude each other");
    if (call->option[OPTION_GRACE].given && call->option[OPTION_TTL].number == 0)
        return report_usage(call->verb, "--grace needs --ttl: what never expires has no time after");
    enum status status = check_time(call, &call->option[OPTION_TTL]);
    return status == STATUS_DONE ? check_time(call, &call->option[OPTION_GRACE]) : status;
}

/* The value from standard input, never more of it than the pond can hold. */
static enum status input_value(const struct call *call, struct millpond *pond, struct bytes *value) {
    struct millpond_stats stats;
    int result = millpond_stats(pond, -1, &stats);
    if (result != MILLPOND_OK) return report_result(call->file, result);
    bool hex = call->option[OPTION_HEX].given;
    size_t max_bytes = (size_t)stats.max_item_bytes;
    /* Hexadecimal takes two digits a byte, and may be broken into lines and groups. */
    struct bytes input;
    enum status status = input_stdin(hex ? max_bytes * 4 : max_bytes, &input);
    if (status != STATUS_DONE || !hex) {
        if (status == STATUS_DONE) *value = input;
        return status;
    }
    bool good = format_parse_hex(input.data, input.size_bytes, value);
    bytes_free(&input);
    return good ? STATUS_DONE : report_usage(call->verb, "the value is not hexadecimal: give two digits for each byte");
}

enum status verb_set(const struct call *call) {
    struct bytes key = {NULL, 0}, value = {NULL, 0};
    struct millpond *pond = NULL;
    struct millpond_set how = {.ttl_ms = call->option[OPTION_TTL].number, .grace_ms = call->option[OPTION_GRACE].number};
    bool typed = call->arg_count == 2 && strcmp(call->args[1], "-") != 0;
    enum status status = check_set(call);
    if (status == STATUS_DONE) status = input_group(call, &how.group, &how.group_bytes);
    if (call->option[OPTION_ADD].given) how.when = MILLPOND_IF_ABSENT;
    if (call->option[OPTION_REPLACE].given) how.when = MILLPOND_IF_PRESENT;
    if (status == STATUS_DONE) status = input_key(call, &key);
    if (status == STATUS_DONE && typed) status = input_text(call, "value", call->args[1], call->option[OPTION_HEX].given, &value);
    if (status == STATUS_DONE) status = input_open(call, ACCESS_WRITE, &pond);
    if (status == STATUS_DONE && !typed) status = input_value(call, pond, &value);
    if (status == STATUS_DONE)
        status = report_result(call->file, millpond_set_ex(pond, key.data, key.size_bytes, value.data, value.size_bytes, &how));
    status = input_close(call, pond, status);
    bytes_free(&value);
    bytes_free(&key);
    return status;
}

/* ---- get ---- */

static void print_value(const struct call *call, const struct bytes *key, const void *value, size_t value_bytes) {
    bool hex = call->option[OPTION_HEX].given;
    if (call->option[OPTION_JSON].given) {
        struct json json = {stdout, false};
        json_begin(&json, NULL, '{');
        json_bytes(&json, "key", key->data, key->size_bytes, hex);
        json_bytes(&json, "value", value, value_bytes, hex);
        json_u64(&json, "value_bytes", value_bytes);
        json_end(&json, '}');
        putchar('\n');
    } else if (hex) {
        format_hex(stdout, value, value_bytes);
        putchar('\n');
    } else {
        fwrite(value, 1, value_bytes, stdout);
    }
}

enum status verb_get(const struct call *call) {
    struct millpond *pond;
    struct bytes key;
    void *value;
    size_t value_bytes;
    enum status status = input_key(call, &key);
    if (status != STATUS_DONE) return status;
    status = input_open(call, ACCESS_USE, &pond);
    if (status == STATUS_DONE) {
        int result = millpond_get_alloc(pond, key.data, key.size_bytes, &value, &value_bytes);
        status = report_result(call->file, result);
        if (result == MILLPOND_OK) {
            print_value(call, &key, value, value_bytes);
            free(value);
        }
        millpond_close(pond);
    }
    bytes_free(&key);
    return status;
}

/* ---- del, touch ---- */

enum status verb_del(const struct call *call) {
    struct millpond *pond;
    struct bytes key;
    enum status status = input_key(call, &key);
    if (status != STATUS_DONE) return status;
    status = input_open(call, ACCESS_WRITE, &pond);
    if (status == STATUS_DONE) {
        status = report_result(call->file, millpond_delete(pond, key.data, key.size_bytes));
        status = input_close(call, pond, status);
    }
    bytes_free(&key);
    return status;
}

static enum status touch_time(const struct call *call, uint64_t *ttl_ms) {
    struct option_value time = call->option[OPTION_TTL];
    if (time.given == (call->arg_count == 2)) return report_usage(call->verb, "give the time once, as TIME or as --ttl");
    if (!time.given) {
        time = (struct option_value){.given = true, .text = call->args[1]};
        if (!format_parse_time(time.text, &time.number))
            return report_usage(call->verb, "'%s' is not a time, such as 250ms, 30s, 5m, 1h or 7d", time.text);
    }
    *ttl_ms = time.number;
    return check_time(call, &time);
}

enum status verb_touch(const struct call *call) {
    struct millpond *pond;
    struct bytes key;
    uint64_t ttl_ms = 0;
    enum status status = touch_time(call, &ttl_ms);
    if (status == STATUS_DONE) status = input_key(call, &key);
    if (status != STATUS_DONE) return status;
    status = input_open(call, ACCESS_WRITE, &pond);
    if (status == STATUS_DONE) {
        status = report_result(call->file, millpond_touch(pond, key.data, key.size_bytes, ttl_ms));
        status = input_close(call, pond, status);
    }
    bytes_free(&key);
    return status;
}

/* ---- ttl ---- */

static void print_ttl(const struct call *call, const struct bytes *key, uint64_t ttl_ms) {
    if (call->option[OPTION_JSON].given) {
        struct json json = {stdout, false};
        json_begin(&json, NULL, '{');
        json_bytes(&json, "key", key->data, key->size_bytes, call->option[OPTION_HEX].given);
        if (ttl_ms == 0)
            json_null(&json, "ttl_ms");
        else
            json_u64(&json, "ttl_ms", ttl_ms);
        json_end(&json, '}');
        putchar('\n');
    } else {
        char text[FORMAT_ROOM_BYTES];
        format_time(text, ttl_ms);
        puts(text);
    }
}

enum status verb_ttl(const struct call *call) {
    struct millpond *pond;
    struct bytes key;
    enum status status = input_key(call, &key);
    if (status != STATUS_DONE) return status;
    status = input_open(call, ACCESS_LOOK, &pond);
    if (status == STATUS_DONE) {
        uint64_t ttl_ms;
        int result = millpond_ttl(pond, key.data, key.size_bytes, &ttl_ms);
        status = report_result(call->file, result);
        if (result == MILLPOND_OK) print_ttl(call, &key, ttl_ms);
        millpond_close(pond);
    }
    bytes_free(&key);
    return status;
}

/* ---- incr ---- */

static void print_number(const struct call *call, const struct bytes *key, int64_t number) {
    if (call->option[OPTION_JSON].given) {
        struct json json = {stdout, false};
        json_begin(&json, NULL, '{');
        json_bytes(&json, "key", key->data, key->size_bytes, call->option[OPTION_HEX].given);
        json_i64(&json, "value", number);
        json_end(&json, '}');
        putchar('\n');
    } else {
        printf("%" PRId64 "\n", number);
    }
}

static enum status check_incr(const struct call *call, int64_t *delta) {
    *delta = 1;
    if (call->arg_count == 2 && !format_parse_signed(call->args[1], delta))
        return report_usage(call->verb, "'%s' is not a 64-bit number", call->args[1]);
    if (call->option[OPTION_TTL].given && !call->option[OPTION_INIT].given)
        return report_usage(call->verb, "--ttl needs --init: a counter that is there keeps its own time");
    if (call->option[OPTION_GROUP].given && !call->option[OPTION_INIT].given)
        return report_usage(call->verb, "--group needs --init: a counter that is there keeps its own group");
    return check_time(call, &call->option[OPTION_TTL]);
}

enum status verb_incr(const struct call *call) {
    struct millpond *pond;
    struct bytes key;
    int64_t delta, number;
    const struct option_value *init = &call->option[OPTION_INIT];
    struct millpond_set how = {.ttl_ms = call->option[OPTION_TTL].number};
    enum status status = check_incr(call, &delta);
    if (status == STATUS_DONE) status = input_group(call, &how.group, &how.group_bytes);
    if (status == STATUS_DONE) status = input_key(call, &key);
    if (status != STATUS_DONE) return status;
    status = input_open(call, ACCESS_WRITE, &pond);
    if (status == STATUS_DONE) {
        int result = init->given ? millpond_incr_ex(pond, key.data, key.size_bytes, delta, init->signed_number, &how, &number)
                                 : millpond_incr(pond, key.data, key.size_bytes, delta, NULL, &number);
        status = report_result(call->file, result);
        if (result == MILLPOND_OK) print_number(call, &key, number);
        status = input_close(call, pond, status);
    }
    bytes_free(&key);
    return status;
}
