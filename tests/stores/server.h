/* SPDX-License-Identifier: MIT */
#ifndef MILLPOND_TESTS_STORES_SERVER_H
#define MILLPOND_TESTS_STORES_SERVER_H

/* A redis-server of the test's own: a unix socket and a port of the loopback, no persistence, ended by its number. */

#include "../support.h"

struct server {
    pid_t pid;
    const char *socket; /* path */
    unsigned port;
};

/* False when redis-server is not installed. */
bool server_is_there(void);
/* Starts it, with more arguments (NULL ends them), and waits until it answers. The same struct starts it again at the same places. */
void server_start(struct server *server, const char *const *more);
/* Kills it with SIGKILL and reaps it. */
void server_kill(struct server *server);
/* What redis would print for one command on a connection of its own (up to three words), without hiredis: the raw answer, cut at the size.
 * Reads until the answer's end as far as it can tell: +, -, : and $ answers. */
void server_ask(const struct server *server, char *answer, size_t answer_bytes, const char *one, const char *two, const char *three);
/* Connections of clients that the server has now, without the one that asks. */
unsigned server_clients(const struct server *server);

#endif
