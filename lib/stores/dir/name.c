/* SPDX-License-Identifier: MIT */
/* Keys as names of files. The encoding is canonical: what decodes to a key and is not that key's encoding is nobody's name, so that two
 * names never mean one key. */

#include "name.h"

#include <stdlib.h>
#include <string.h>

enum { NAME_BYTES = 255, CUT_BYTES = NAME_BYTES - 2 }; /* a name that goes on below ends in "%+" */

/* How a byte is written; 1 or 3 characters. */
static size_t write_byte(char *to, unsigned char byte, int flat) {
    static const char digits[] = "0123456789ABCDEF";
    if (byte != 0 && byte != '%' && !(flat && byte == '/')) {
        *to = (char)byte;
        return 1;
    }
    to[0] = '%';
    to[1] = digits[byte >> 4];
    to[2] = digits[byte & 15];
    return 3;
}

/* Writes one component. The rest behind a cut has 3 characters at the least, so it cannot be "." or "..". */
static char *write_component(char *to, const unsigned char *from, size_t count, int flat) {
    size_t long_bytes = 0;
    char unit[3];
    if (count == 0) *to++ = '%';
    if (count > 0 && count <= 2 && memcmp(from, "..", count) == 0) {
        for (size_t i = 0; i < count; i++, to += 3) memcpy(to, "%2E", 3);
        return to;
    }
    for (size_t i = 0; i < count; i++) long_bytes += write_byte(unit, from[i], flat);
    for (size_t piece = 0; count > 0; from++, count--) {
        size_t wide = write_byte(unit, *from, flat);
        if (piece + wide > CUT_BYTES && piece + long_bytes > NAME_BYTES) {
            memcpy(to, "%+/", 3);
            to += 3;
            piece = 0;
        }
        memcpy(to, unit, wide);
        to += wide;
        piece += wide;
        long_bytes -= wide;
    }
    return to;
}

char *pond_store_dir_encode(const void *key, size_t key_bytes, int flat) {
    const unsigned char *from = key, *end = from + key_bytes;
    /* Three for each byte (an empty component has the slash's), and three for each cut. */
    char *path = malloc(key_bytes * 3 + key_bytes * 3 / (CUT_BYTES - 2) * 3 + 8), *to = path;
    if (!path) return NULL;
    for (;;) {
        const unsigned char *slash = flat ? NULL : memchr(from, '/', (size_t)(end - from));
        const unsigned char *stop = slash ? slash : end;
        to = write_component(to, from, (size_t)(stop - from), flat);
        if (!slash) break;
        *to++ = '/';
        from = slash + 1;
    }
    *to = 0;
    return path;
}

static int digit(char c) { return c >= '0' && c <= '9' ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1; }

/* Loosely; that the result encodes to the same path is looked at afterwards. */
static int decode_loosely(const char *at, unsigned char *to, size_t *count) {
    unsigned char *start = to;
    for (int begins = 1; *at; at++) {
        if (*at != '%') {
            *to++ = (unsigned char)*at;
            begins = *at == '/';
        } else if (begins && (at[1] == 0 || at[1] == '/')) {
            begins = 0; /* an empty component */
        } else if (at[1] == '+' && at[2] == '/') {
            at += 2;
            begins = 0;
        } else if (digit(at[1]) >= 0 && digit(at[2]) >= 0) {
            *to++ = (unsigned char)(digit(at[1]) << 4 | digit(at[2]));
            at += 2;
            begins = 0;
        } else {
            return 0;
        }
    }
    *count = (size_t)(to - start);
    return *count > 0;
}

int pond_store_dir_decode(const char *path, int flat, unsigned char **key, size_t *key_bytes) {
    unsigned char *bytes = malloc(strlen(path) + 1);
    if (!bytes) return -1;
    int good = decode_loosely(path, bytes, key_bytes) && *key_bytes <= 65535;
    if (good) {
        char *again = pond_store_dir_encode(bytes, *key_bytes, flat);
        good = !again ? -1 : strcmp(again, path) == 0;
        free(again);
    }
    if (good == 1)
        *key = bytes;
    else
        free(bytes);
    return good;
}
