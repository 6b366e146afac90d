/* SPDX-License-Identifier: MIT */
/* A small writer of JSON: no allocation, straight to a stream. */
#define _GNU_SOURCE
#include "json.h"

#include "format.h"
#include <inttypes.h>

static void put_quoted(FILE *out, const unsigned char *p, size_t size_bytes) {
    putc('"', out);
    for (size_t i = 0; i < size_bytes; i++) {
        if (p[i] == '"' || p[i] == '\\')
            fprintf(out, "\\%c", p[i]);
        else if (p[i] == '\n')
            fputs("\\n", out);
        else if (p[i] < 0x20 || p[i] == 0x7f)
            fprintf(out, "\\u%04x", p[i]);
        else
            putc(p[i], out);
    }
    putc('"', out);
}

static void put_name(struct json *json, const char *name, const char *suffix) {
    if (json->comma) fputs(", ", json->out);
    json->comma = true;
    if (name != NULL) fprintf(json->out, "\"%s%s\": ", name, suffix);
}

void json_begin(struct json *json, const char *name, char bracket) {
    put_name(json, name, "");
    putc(bracket, json->out);
    json->comma = false;
}

void json_end(struct json *json, char bracket) {
    putc(bracket, json->out);
    json->comma = true;
}

void json_u64(struct json *json, const char *name, uint64_t value) {
    put_name(json, name, "");
    fprintf(json->out, "%" PRIu64, value);
}

void json_i64(struct json *json, const char *name, int64_t value) {
    put_name(json, name, "");
    fprintf(json->out, "%" PRId64, value);
}

void json_real(struct json *json, const char *name, double value) {
    put_name(json, name, "");
    fprintf(json->out, "%.6f", value);
}

void json_bool(struct json *json, const char *name, bool value) {
    put_name(json, name, "");
    fputs(value ? "true" : "false", json->out);
}

void json_null(struct json *json, const char *name) {
    put_name(json, name, "");
    fputs("null", json->out);
}

void json_bytes(struct json *json, const char *name, const void *data, size_t size_bytes, bool hex) {
    if (!hex && format_is_utf8(data, size_bytes)) {
        put_name(json, name, "");
        put_quoted(json->out, data, size_bytes);
        return;
    }
    put_name(json, name, "_hex");
    putc('"', json->out);
    format_hex(json->out, data, size_bytes);
    putc('"', json->out);
}
