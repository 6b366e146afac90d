/* SPDX-License-Identifier: MIT */
/* Text in and out of the command: sizes, times, numbers, escapes, hexadecimal.
 *
 * Numbers with a fraction are read with integers, not with strtod: the locale's decimal sign must not matter, and 64-bit sizes
 * must stay exact. */
#define _GNU_SOURCE
#include "format.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

void bytes_free(struct bytes *bytes) {
    free(bytes->data);
    *bytes = (struct bytes){NULL, 0};
}

static bool is_digit(char c) { return c >= '0' && c <= '9'; }

/* A number as it was typed: whole + fraction / scale. */
struct decimal {
    uint64_t whole;
    uint64_t fraction;
    uint64_t scale;
    const char *rest; /* what follows the number */
};

static bool parse_decimal(const char *text, struct decimal *number) {
    const char *p = text;
    number->whole = 0;
    number->fraction = 0;
    number->scale = 1;
    if (!is_digit(*p)) return false;
    for (; is_digit(*p); p++) {
        uint64_t digit = (uint64_t)(*p - '0');
        if (__builtin_mul_overflow(number->whole, 10u, &number->whole)) return false;
        if (__builtin_add_overflow(number->whole, digit, &number->whole)) return false;
    }
    if (*p == '.') {
        if (!is_digit(*++p)) return false;
        for (; is_digit(*p); p++) {
            if (number->scale >= UINT64_C(1000000000)) return false;
            number->fraction = number->fraction * 10 + (uint64_t)(*p - '0');
            number->scale *= 10;
        }
    }
    number->rest = p;
    return true;
}

/* The number in smaller units, rounded up: a time that was asked for must not become 0, which would mean for ever. */
static bool scale_decimal(const struct decimal *number, uint64_t unit, uint64_t *out) {
    unsigned __int128 part = ((unsigned __int128)number->fraction * unit + number->scale - 1) / number->scale;
    unsigned __int128 sum = (unsigned __int128)number->whole * unit + part;
    if (sum > UINT64_MAX) return false;
    *out = (uint64_t)sum;
    return true;
}

bool format_parse_size(const char *text, uint64_t *bytes) {
    static const char letters[] = "KMGT";
    struct decimal number;
    uint64_t unit = 1;
    if (!parse_decimal(text, &number)) return false;
    const char *rest = number.rest;
    if (*rest != 0 && *rest != 'B' && *rest != 'b') {
        const char *letter = strchr(letters, *rest >= 'a' ? *rest - 'a' + 'A' : *rest);
        if (letter == NULL) return false;
        unit <<= 10 * (letter - letters + 1);
        rest++;
        if (*rest == 'i' && (rest[1] == 'B' || rest[1] == 'b')) rest++;
    }
    if (*rest == 'B' || *rest == 'b') rest++;
    if (*rest != 0 || (unit == 1 && number.scale != 1)) return false;
    return scale_decimal(&number, unit, bytes);
}

bool format_parse_time(const char *text, uint64_t *ms) {
    static const struct {
        const char *name;
        uint64_t ms;
    } units[] = {{"", 1000}, {"ms", 1}, {"s", 1000}, {"m", 60 * 1000}, {"h", 3600 * 1000}, {"d", 24 * 3600 * 1000}};
    struct decimal number;
    if (!parse_decimal(text, &number)) return false;
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++)
        if (strcmp(number.rest, units[i].name) == 0) return scale_decimal(&number, units[i].ms, ms);
    return false;
}

bool format_parse_count(const char *text, uint64_t *count) {
    struct decimal number;
    if (!parse_decimal(text, &number) || number.scale != 1 || *number.rest != 0) return false;
    *count = number.whole;
    return true;
}

bool format_parse_signed(const char *text, int64_t *number) {
    bool negative = *text == '-';
    uint64_t magnitude;
    if (!format_parse_count(text + (negative || *text == '+'), &magnitude)) return false;
    if (magnitude > (uint64_t)INT64_MAX + negative) return false;
    *number = negative ? (int64_t)(0 - magnitude) : (int64_t)magnitude;
    return true;
}

bool format_parse_mode(const char *text, uint64_t *mode) {
    uint64_t bits = 0;
    for (const char *p = text; *p != 0; p++) {
        if (*p < '0' || *p > '7' || p - text >= 5) return false;
        bits = bits * 8 + (uint64_t)(*p - '0');
    }
    if (bits == 0 || bits > 0777) return false;
    *mode = bits;
    return true;
}

static int hex_digit(unsigned char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

bool format_parse_hex(const void *text, size_t text_bytes, struct bytes *out) {
    const unsigned char *p = text, *end = p + text_bytes;
    unsigned char *data = malloc(text_bytes / 2 + 1);
    size_t count = 0;
    if (data == NULL) return false;
    while (p < end) {
        if (*p == ' ' || (*p >= '\t' && *p <= '\r')) {
            p++;
            continue;
        }
        int high = hex_digit(*p++), low = p < end ? hex_digit(*p++) : -1;
        if (high < 0 || low < 0) {
            free(data);
            return false;
        }
        data[count++] = (unsigned char)(high << 4 | low);
    }
    *out = (struct bytes){data, count};
    return true;
}

void format_size(char *buf, uint64_t bytes) {
    static const char letters[] = "KMGTPE";
    double value = (double)bytes;
    int letter = -1;
    /* 1023.95 and more would be printed as 1024.0 */
    while (value >= 1023.95 && letter < 5) {
        value /= 1024;
        letter++;
    }
    if (letter < 0)
        snprintf(buf, FORMAT_ROOM_BYTES, "%" PRIu64, bytes);
    else
        snprintf(buf, FORMAT_ROOM_BYTES, "%.1f%c", value, letters[letter]);
}

void format_count(char *buf, uint64_t count) {
    char digits[24];
    int length = snprintf(digits, sizeof digits, "%" PRIu64, count);
    char *out = buf;
    for (int i = 0; i < length; i++) {
        if (i > 0 && (length - i) % 3 == 0) *out++ = ',';
        *out++ = digits[i];
    }
    *out = 0;
}

void format_time(char *buf, uint64_t ms) {
    if (ms == 0) {
        snprintf(buf, FORMAT_ROOM_BYTES, "never");
        return;
    }
    int length = snprintf(buf, FORMAT_ROOM_BYTES, "%" PRIu64 ".%03u", ms / 1000, (unsigned)(ms % 1000));
    while (buf[length - 1] == '0') length--;
    if (buf[length - 1] == '.') length--;
    buf[length] = 's';
    buf[length + 1] = 0;
}

double format_share(uint64_t part, uint64_t whole) { return whole == 0 ? 0 : (double)part / (double)whole; }

size_t format_utf8_step(const unsigned char *p, size_t left_bytes, uint32_t *codepoint) {
    static const uint32_t least[5] = {0, 0, 0x80, 0x800, 0x10000};
    size_t length = *p < 0x80 ? 1 : (*p & 0xe0) == 0xc0 ? 2 : (*p & 0xf0) == 0xe0 ? 3 : (*p & 0xf8) == 0xf0 ? 4 : 0;
    if (length == 0 || length > left_bytes) return 0;
    uint32_t code = length == 1 ? *p : *p & (0x7fu >> length);
    for (size_t i = 1; i < length; i++) {
        if ((p[i] & 0xc0) != 0x80) return 0;
        code = code << 6 | (p[i] & 0x3fu);
    }
    if (code < least[length] || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff)) return 0;
    *codepoint = code;
    return length;
}

bool format_is_utf8(const void *data, size_t size_bytes) {
    const unsigned char *p = data;
    uint32_t code;
    for (size_t i = 0, step; i < size_bytes; i += step) {
        step = format_utf8_step(p + i, size_bytes - i, &code);
        if (step == 0) return false;
    }
    return true;
}

/* Control characters, line separators, and the marks that reorder or hide what follows them on a terminal. */
static bool is_unprintable(uint32_t code) {
    return code < 0x20 || (code >= 0x7f && code <= 0x9f) || code == 0xad || (code >= 0x200b && code <= 0x200f) ||
           (code >= 0x2028 && code <= 0x202e) || (code >= 0x2060 && code <= 0x206f) || code == 0xfeff ||
           (code >= 0xfff9 && code <= 0xfffb) || (code & 0xfffe) == 0xfffe || (code >= 0xe0000 && code <= 0xe0fff);
}

void format_escaped(FILE *out, const void *data, size_t size_bytes) {
    const unsigned char *p = data;
    for (size_t i = 0, step; i < size_bytes; i += step) {
        uint32_t code = 0;
        size_t length = format_utf8_step(p + i, size_bytes - i, &code);
        step = length == 0 ? 1 : length;
        if (length == 0 || is_unprintable(code)) {
            for (size_t k = 0; k < step; k++) fprintf(out, "\\x%02x", p[i + k]);
        } else if (code == '\\') {
            fputs("\\\\", out);
        } else {
            fwrite(p + i, 1, step, out);
        }
    }
}

void format_hex(FILE *out, const void *data, size_t size_bytes) {
    const unsigned char *p = data;
    for (size_t i = 0; i < size_bytes; i++) fprintf(out, "%02x", p[i]);
}
