/* SPDX-License-Identifier: MIT */
/* A small reader of RESP2 and RESP3; what it takes stands in resp.h. */
#include "resp.h"

#include <stdlib.h>
#include <string.h>

unsigned char *resp_room(struct resp *resp, size_t bytes) {
    if (resp->start > 0) {
        memmove(resp->buf, resp->buf + resp->start, resp->end - resp->start);
        resp->end -= resp->start;
        resp->start = 0;
    }
    if (resp->room - resp->end < bytes) {
        size_t room = resp->room * 2 > resp->end + bytes ? resp->room * 2 : resp->end + bytes;
        unsigned char *larger = realloc(resp->buf, room);
        if (larger == NULL) return NULL;
        resp->buf = larger;
        resp->room = room;
    }
    return resp->buf + resp->end;
}

void resp_fed(struct resp *resp, size_t bytes) { resp->end += bytes; }

void resp_reset(struct resp *resp) { resp->start = resp->end = resp->scanned = 0; }

void resp_free(struct resp *resp) {
    free(resp->buf);
    *resp = (struct resp){.buf = NULL};
}

/* The line at the start, without its end: its length, or -1 when that has not arrived, -2 when it is too long or ends wrongly. */
static long line_at(struct resp *resp) {
    const unsigned char *line = resp->buf + resp->start;
    size_t have = resp->end - resp->start;
    const unsigned char *end = have > resp->scanned ? memchr(line + resp->scanned, '\n', have - resp->scanned) : NULL;
    if (end == NULL) {
        resp->scanned = have;
        return have > RESP_LINE_BYTES_MAX ? -2 : -1;
    }
    size_t length = (size_t)(end - line);
    resp->scanned = 0;
    if (length < 2 || length > RESP_LINE_BYTES_MAX || line[length - 1] != '\r') return -2;
    return (long)length - 1;
}

/* Decimal digits with a sign, nothing else. */
static bool number_of(const unsigned char *text, size_t bytes, int64_t *number) {
    bool minus = bytes > 0 && text[0] == '-';
    size_t i = minus || (bytes > 0 && text[0] == '+') ? 1 : 0;
    int64_t sum = 0;
    if (i == bytes) return false;
    for (; i < bytes; i++) {
        int digit = text[i] - '0';
        if (digit < 0 || digit > 9 || __builtin_mul_overflow(sum, 10, &sum) || __builtin_sub_overflow(sum, digit, &sum)) return false;
    }
    /* Summed up as a negative number, of which there is one more. */
    if (!minus && __builtin_sub_overflow((int64_t)0, sum, &sum)) return false;
    *number = sum;
    return true;
}

static enum resp_answer take_blob(struct resp *resp, size_t line_bytes, int64_t count, enum resp_type type, struct resp_token *token) {
    size_t have = resp->end - resp->start, head = line_bytes + 2;
    if (count > (int64_t)RESP_BLOB_BYTES_MAX) return RESP_WRONG;
    if (have < head + (size_t)count + 2) return RESP_MORE;
    const unsigned char *bytes = resp->buf + resp->start + head;
    if (bytes[count] != '\r' || bytes[count + 1] != '\n') return RESP_WRONG;
    *token = (struct resp_token){type, bytes, (size_t)count, 0};
    resp->start += head + (size_t)count + 2;
    return RESP_TOKEN;
}

/* What a line beginning with '$', '*' and their like announces. */
static enum resp_answer take_counted(struct resp *resp, const unsigned char *line, size_t line_bytes, struct resp_token *token) {
    int64_t count;
    if (!number_of(line + 1, line_bytes - 1, &count) || count < -1) return RESP_WRONG;
    bool null = count == -1 && (line[0] == '$' || line[0] == '*');
    if (!null && count < 0) return RESP_WRONG;
    if (!null && line[0] == '$') return take_blob(resp, line_bytes, count, RESP_TEXT, token);
    if (!null && line[0] == '=') return take_blob(resp, line_bytes, count, RESP_TEXT, token);
    if (!null && line[0] == '!') return take_blob(resp, line_bytes, count, RESP_ERROR, token);
    bool pairs = line[0] == '%' || line[0] == '|';
    if (count > INT64_MAX / 2) return RESP_WRONG;
    *token = (struct resp_token){null             ? RESP_NULL
                                 : line[0] == '>' ? RESP_PUSH
                                 : line[0] == '|' ? RESP_ATTRIBUTES
                                                  : RESP_ARRAY,
                                 NULL, 0,
                                 null    ? 0
                                 : pairs ? 2 * count
                                         : count};
    resp->start += line_bytes + 2;
    return RESP_TOKEN;
}

enum resp_answer resp_next(struct resp *resp, struct resp_token *token) {
    if (resp->end == resp->start) return RESP_MORE;
    const unsigned char *line = resp->buf + resp->start;
    long length = line_at(resp);
    if (length < 0) return length == -1 ? RESP_MORE : RESP_WRONG;
    if (length < 1) return RESP_WRONG;
    size_t bytes = (size_t)length;
    int64_t number = 0;
    enum resp_type type = RESP_TEXT;
    switch (line[0]) {
    case '$':
    case '=':
    case '!':
    case '*':
    case '~':
    case '>':
    case '%':
    case '|': return take_counted(resp, line, bytes, token);
    case '_':
        if (bytes != 1) return RESP_WRONG;
        type = RESP_NULL;
        break;
    case ':':
        if (!number_of(line + 1, bytes - 1, &number)) return RESP_WRONG;
        type = RESP_NUMBER;
        break;
    case '-': type = RESP_ERROR; break;
    case '+':
    case ',':
    case '(':
    case '#': break;
    default: return RESP_WRONG;
    }
    *token = (struct resp_token){type, line + 1, bytes - 1, number};
    resp->start += bytes + 2;
    return RESP_TOKEN;
}
