/* SPDX-License-Identifier: MIT */
/* A small writer of JSON: no allocation, straight to a stream. */
#ifndef MILLPOND_TOOLS_JSON_H
#define MILLPOND_TOOLS_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

struct json {
    FILE *out;
    bool comma; /* the next member or element needs one before it */
};

/* `name` is NULL for an element of an array and for the outermost object. */
void json_begin(struct json *json, const char *name, char bracket); /* '{' or '[' */
void json_end(struct json *json, char bracket);                     /* '}' or ']' */
void json_u64(struct json *json, const char *name, uint64_t value);
void json_i64(struct json *json, const char *name, int64_t value);
void json_real(struct json *json, const char *name, double value);
void json_bool(struct json *json, const char *name, bool value);
void json_null(struct json *json, const char *name);

/* Bytes: "name": "text" when they are UTF-8, else "name_hex": "00ff", so that no byte is lost and none is changed. */
void json_bytes(struct json *json, const char *name, const void *data, size_t size_bytes, bool hex);

#endif
