/* SPDX-License-Identifier: MIT */
/* Text in and out of the command: sizes, times, numbers, escapes, hexadecimal. */
#ifndef MILLPOND_TOOLS_FORMAT_H
#define MILLPOND_TOOLS_FORMAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* Bytes that are owned by whoever holds the struct; free with bytes_free. */
struct bytes {
    unsigned char *data;
    size_t size_bytes;
};

void bytes_free(struct bytes *bytes);

/* Room that every format_ function with a buffer asks for. */
#define FORMAT_ROOM_BYTES 48

/* Parsing: the whole text must fit, or the answer is false and nothing is set. */
bool format_parse_size(const char *text, uint64_t *bytes);  /* "4096", "1.5G": K M G T are powers of 1024 */
bool format_parse_time(const char *text, uint64_t *ms);     /* "250ms", "1.5h"; a plain number is seconds; never rounded to 0 */
bool format_parse_count(const char *text, uint64_t *count); /* decimal digits */
bool format_parse_signed(const char *text, int64_t *number);
bool format_parse_mode(const char *text, uint64_t *mode); /* octal, 1 to 0777 */

/* Hexadecimal digits, either case, white space between bytes allowed, to bytes from malloc. false: not hexadecimal, or no memory. */
bool format_parse_hex(const void *text, size_t text_bytes, struct bytes *out);

/* Printing. */
void format_size(char *buf, uint64_t bytes);        /* "12.3M" */
void format_count(char *buf, uint64_t count);       /* "12,345,678" */
void format_time(char *buf, uint64_t ms);           /* "29.5s", "never" for 0 */
double format_share(uint64_t part, uint64_t whole); /* part of whole, 0 when whole is 0 */

/* Length of the valid UTF-8 sequence at p, 0 when there is none. */
size_t format_utf8_step(const unsigned char *p, size_t left_bytes, uint32_t *codepoint);
bool format_is_utf8(const void *data, size_t size_bytes);

/* Writes bytes so that they stay on one line of a terminal: printable UTF-8 as it is, a backslash doubled, all else as \xNN. */
void format_escaped(FILE *out, const void *data, size_t size_bytes);
void format_hex(FILE *out, const void *data, size_t size_bytes);

#endif
