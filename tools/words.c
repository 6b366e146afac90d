/* SPDX-License-Identifier: MIT */
/* A line of the shell as words, and lines from a pipe. Lines and words may hold any byte, zero too, and be as long as memory allows: a
 * value may be large. */
#define _GNU_SOURCE
#include "words.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- words ---- */

static bool is_space(unsigned char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }

static int digit_value(unsigned char c) {
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* Reads the escape at *p, which stands on the backslash, and moves *p behind it. Returns the byte or -1. */
static int take_escape(const unsigned char **p, const unsigned char *end) {
    static const char names[] = "ntr0", means[] = "\n\t\r\0";
    if (end - *p < 2) return -1;
    unsigned char c = (*p)[1];
    if (c == 'x') {
        if (end - *p < 4 || digit_value((*p)[2]) < 0 || digit_value((*p)[3]) < 0) return -1;
        int byte = digit_value((*p)[2]) << 4 | digit_value((*p)[3]);
        *p += 4;
        return byte;
    }
    const char *name = memchr(names, c, sizeof names - 1);
    if (name == NULL && (isalnum(c) || c >= 0x80)) return -1;
    *p += 2;
    return name != NULL ? means[name - names] : c;
}

/* Reads one word, *p on its first byte, to `out`. Returns where `out` ends, or NULL with a sentence. */
static unsigned char *take_word(const unsigned char **p, const unsigned char *end, unsigned char *out, const char **wrong) {
    unsigned char quote = 0;
    while (*p < end && (quote != 0 || !is_space(**p))) {
        unsigned char c = **p;
        if (c == '\\' && quote != '\'') {
            int byte = take_escape(p, end);
            if (byte < 0) {
                *wrong = "an escape is wrong; use \\xNN, \\n, \\t, \\r, \\0, \\\\ or \\\"";
                return NULL;
            }
            *out++ = (unsigned char)byte;
            continue;
        }
        (*p)++;
        if (c == quote)
            quote = 0;
        else if (quote == 0 && (c == '"' || c == '\''))
            quote = c;
        else
            *out++ = c;
    }
    if (quote == 0) return out;
    *wrong = "a quote is not closed; close it, or put a backslash before it";
    return NULL;
}

const char *words_split(struct words *words, const void *line, size_t line_bytes) {
    static const char no_memory[] = "out of memory; use shorter lines";
    const unsigned char *p = line, *end = p + line_bytes;
    const char *wrong = NULL;
    /* A word is never longer than its text. */
    unsigned char *buf = realloc(words->buf, line_bytes + 1), *out = buf;
    if (buf == NULL) return no_memory;
    words->buf = buf;
    words->count = 0;
    for (;;) {
        while (p < end && is_space(*p)) p++;
        if (p == end) return NULL;
        if (words->count == words->room) {
            size_t room = words->room * 2 + 8;
            struct bytes *word = realloc(words->word, room * sizeof *word);
            if (word == NULL) return no_memory;
            words->word = word;
            words->room = room;
        }
        unsigned char *start = out;
        out = take_word(&p, end, out, &wrong);
        if (out == NULL) return wrong;
        words->word[words->count++] = (struct bytes){start, (size_t)(out - start)};
    }
}

void words_free(struct words *words) {
    free(words->word);
    free(words->buf);
    *words = (struct words){NULL, 0, 0, NULL};
}

/* ---- lines ---- */

/* Reads more behind what is there. Returns how much, 0 at the end, -1 on an error. */
static ssize_t read_more(struct lines *lines) {
    if (lines->start != 0) {
        memmove(lines->buf, lines->buf + lines->start, lines->end - lines->start);
        lines->end -= lines->start;
        lines->start = 0;
    }
    if (lines->end == lines->room) {
        size_t room = lines->room * 2 + (64 << 10);
        unsigned char *buf = realloc(lines->buf, room);
        if (buf == NULL) return -1;
        lines->buf = buf;
        lines->room = room;
    }
    fflush(stdout);
    ssize_t got;
    do got = read(lines->fd, lines->buf + lines->end, lines->room - lines->end);
    while (got < 0 && errno == EINTR);
    if (got > 0) lines->end += (size_t)got;
    return got;
}

ssize_t lines_next(struct lines *lines, const unsigned char **line) {
    size_t searched = 0;
    for (;;) {
        size_t have = lines->end - lines->start;
        unsigned char *from = lines->buf + lines->start;
        unsigned char *newline = have > searched ? memchr(from + searched, '\n', have - searched) : NULL;
        ssize_t got = newline != NULL ? 1 : read_more(lines);
        if (got < 0) return -2;
        if (newline != NULL || (got == 0 && have != 0)) {
            *line = lines->buf + lines->start;
            size_t length = newline != NULL ? (size_t)(newline - *line) : have;
            lines->start += length + (newline != NULL);
            return (ssize_t)length;
        }
        if (got == 0) return -1;
        searched = have;
    }
}

void lines_free(struct lines *lines) {
    free(lines->buf);
    *lines = (struct lines){-1, NULL, 0, 0, 0};
}
