/* SPDX-License-Identifier: MIT */
/* A connection to a Redis or Valkey server: by unix socket or TCP, with deadlines, and to be ended by a signal at any time. */
#ifndef MILLPOND_AGENT_LINK_H
#define MILLPOND_AGENT_LINK_H

#include "resp.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LINK_WHY_BYTES 256

struct link {
    int fd;       /* -1: not connected */
    int stop_fd;  /* readable when it is time to end */
    bool stopped; /* that was seen */
    struct resp resp;
    char why[LINK_WHY_BYTES]; /* after a false answer: what is wrong, a part of a sentence */
};

/* Is it "unix:/path" or "tcp:host:port"? */
bool link_address_good(const char *address);

/* Connects within timeout_ms. */
bool link_connect(struct link *link, const char *address, uint64_t timeout_ms);
/* Sends one command. */
bool link_send(struct link *link, const char *const *words, const size_t *word_bytes, size_t count, uint64_t timeout_ms);

enum link_wait { LINK_TOKEN, LINK_LATE, LINK_LOST, LINK_STOP };
/* The next token of what the server sends, or LATE when none is whole at deadline_ns of CLOCK_MONOTONIC. */
enum link_wait link_next(struct link *link, struct resp_token *token, uint64_t deadline_ns);
/* Waits until then. false: it is time to end. */
bool link_pause(struct link *link, uint64_t deadline_ns);
void link_close(struct link *link);

uint64_t link_now_ns(void);

#endif
