/* SPDX-License-Identifier: MIT */
#ifndef POND_STORE_REDIS_WIRE_H
#define POND_STORE_REDIS_WIRE_H

/* A connection to a server: made, spoken over and dropped within the deadline of a call. The protocol itself is hiredis's. */

#include "../common/common.h"

#include <hiredis/hiredis.h>
#include <netdb.h>
#include <sys/un.h>

struct wire {
    int fd; /* -1 for none */
    redisReader *reader;
    char *out; /* commands that were formatted and not yet sent */
    size_t out_bytes, out_room;
};

#define WIRE_NONE                                                                                                                          \
    { -1, NULL, NULL, 0, 0 }

/* 0, or errno; ETIMEDOUT at the deadline. */
int pond_wire_connect(struct wire *wire, const struct sockaddr *address, socklen_t bytes, const struct millpond_store_call *call);
/* Closes this process's descriptor; sends nothing. */
void pond_wire_drop(struct wire *wire);
/* Whether the connection can still be used: nothing to read and no end of file. Does not wait. */
int pond_wire_alive(const struct wire *wire);
/* Adds a command to what pond_wire_ask sends: 0 or ENOMEM. */
int pond_wire_command(struct wire *wire, int count, const char **words, const size_t *lengths);
/* Sends all commands and waits for so many replies. 0, or errno: ETIMEDOUT, ECONNRESET (end of file), EPROTO (no Redis at the other end),
 * or what the socket said. Replies that were filled are freed by the caller in either case; the array is zeroed first. */
int pond_wire_ask(struct wire *wire, redisReply **replies, size_t count, const struct millpond_store_call *call);

#endif
