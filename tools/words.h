/* SPDX-License-Identifier: MIT */
/* A line of the shell as words, and lines from a pipe. */
#ifndef MILLPOND_TOOLS_WORDS_H
#define MILLPOND_TOOLS_WORDS_H

#include "format.h"

#include <sys/types.h>

/* The words of one line; they lie in one buffer that the struct owns. */
struct words {
    struct bytes *word;
    size_t count;
    size_t room;
    unsigned char *buf;
};

/* Splits a line: white space parts words; 'single quotes' keep everything; "double quotes" and plain text know the escapes \xNN \n \t \r
 * \0 and a backslash before any sign that is no letter or digit. Returns NULL, or a sentence about what is wrong.
 * Start from a zeroed struct and use it again and again; words_free at the end. */
const char *words_split(struct words *words, const void *line, size_t line_bytes);
void words_free(struct words *words);

/* Lines from a file descriptor that is no terminal. */
struct lines {
    int fd;
    unsigned char *buf;
    size_t room, start, end;
};

/* The next line without its newline: its length, or -1 at the end, -2 on an error (errno). Before it waits for input, it has standard
 * output written, so that a program at both ends of the shell gets each answer before it sends the next command. */
ssize_t lines_next(struct lines *lines, const unsigned char **line);
void lines_free(struct lines *lines);

#endif
