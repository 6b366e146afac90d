/* SPDX-License-Identifier: MIT */
/* engine_server.h: a server of the harness's own, on a unix socket in a folder of its own, ended by its process number. */
#ifndef BENCH_ENGINE_SERVER_H
#define BENCH_ENGINE_SERVER_H

#include "engine.h"
#include "host.h"

struct engine_server {
    pid_t pid;
    char socket[108]; /* what a unix address has room for */
};

/* The path of the socket in the engine's folder. False and a sentence when it is too long for a unix address. */
bool engine_server_name(struct engine_server *server, const struct engine_spec *spec, char *why);
/* Starts argv[0] from the PATH in that folder and waits until its socket takes connections. */
bool engine_server_start(struct engine_server *server, const struct engine_spec *spec, char *const *argv, char *why);
/* A connected stream socket, or -1 with errno set. */
int engine_server_connect(const struct engine_server *server);
/* Asks it to end with SIGTERM, with SIGKILL after two seconds, and reaps it. */
void engine_server_stop(struct engine_server *server);

#endif
