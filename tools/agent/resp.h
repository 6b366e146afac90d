/* SPDX-License-Identifier: MIT */
/* A small reader of RESP2 and RESP3, the protocol of Redis and Valkey.
 *
 * It is fed bytes as they arrive, in pieces of any size, and answers in small tokens: the beginning of an aggregate with the number of
 * its elements, or one scalar with its bytes. So an invalidation of a million keys needs the memory of one key.
 *
 *   +text -error :number _ #t #f ,double (big            a line
 *   $n text   =n text   !n error   $-1 and *-1: null     a blob; chunked ones ($?) are refused: no server sends them to us
 *   *n ~n >n array, set, push; %n map, |n attributes     an aggregate; of the last two 2n elements follow
 *
 * What the server sends is not trusted: numbers are bounded, a blob's room grows with what arrives, depth is not followed (whoever reads
 * tokens counts). */
#ifndef MILLPOND_AGENT_RESP_H
#define MILLPOND_AGENT_RESP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RESP_BLOB_BYTES_MAX (64u << 20) /* a key is smaller by far */
#define RESP_LINE_BYTES_MAX 65536u

enum resp_type {
    RESP_TEXT,      /* + $ = , ( # : bytes */
    RESP_ERROR,     /* - !: bytes */
    RESP_NUMBER,    /* : */
    RESP_NULL,      /* _ $-1 *-1 */
    RESP_ARRAY,     /* * ~ and, doubled, %: count */
    RESP_PUSH,      /* > */
    RESP_ATTRIBUTES /* |: doubled; they precede a reply and are no part of it */
};

struct resp_token {
    enum resp_type type;
    const unsigned char *bytes; /* good until the next call */
    size_t byte_count;
    int64_t number; /* of RESP_NUMBER; of aggregates the number of elements that follow */
};

enum resp_answer {
    RESP_TOKEN,
    RESP_MORE,  /* feed it */
    RESP_WRONG, /* this is no RESP, or something beyond the bounds */
    RESP_NO_MEMORY
};

struct resp {
    unsigned char *buf;
    size_t start, end, room; /* what was fed and not yet taken */
    size_t scanned;          /* of it, looked through for the end of a line */
};

/* Room for `bytes` more, to be filled by the caller, who then calls resp_fed. NULL: no memory. */
unsigned char *resp_room(struct resp *resp, size_t bytes);
void resp_fed(struct resp *resp, size_t bytes);
enum resp_answer resp_next(struct resp *resp, struct resp_token *token);
/* Forgets what was fed. */
void resp_reset(struct resp *resp);
void resp_free(struct resp *resp);

#endif
