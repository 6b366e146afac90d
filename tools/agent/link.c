/* SPDX-License-Identifier: MIT */
/* A connection to a Redis or Valkey server: by unix socket or TCP, with deadlines, and to be ended by a signal at any time. */
#define _GNU_SOURCE
#include "link.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { READ_BYTES = 64 << 10, PORT_TEXT_BYTES = 16, HOST_TEXT_BYTES = 256 };

uint64_t link_now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}

static __attribute__((format(printf, 2, 3))) bool fail(struct link *link, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(link->why, sizeof link->why, format, arguments);
    va_end(arguments);
    return false;
}

/* ---- waiting ---- */

/* Waits for `events` on the socket (0: for none) until the deadline. 1: there they are; 0: the time is over; -1: stopped, or an error. */
static int wait_for(struct link *link, short events, uint64_t deadline_ns) {
    for (;;) {
        uint64_t now = link_now_ns();
        struct pollfd fds[2] = {{link->stop_fd, POLLIN, 0}, {events != 0 ? link->fd : -1, events, 0}};
        struct timespec left = {0, 0};
        if (deadline_ns > now) {
            left.tv_sec = (time_t)((deadline_ns - now) / UINT64_C(1000000000));
            left.tv_nsec = (long)((deadline_ns - now) % UINT64_C(1000000000));
        }
        int ready = ppoll(fds, 2, &left, NULL);
        if (ready < 0 && errno == EINTR) continue;
        if (ready < 0) {
            fail(link, "poll: %s", strerror(errno));
            return -1;
        }
        if (fds[0].revents != 0) {
            link->stopped = true;
            fail(link, "it was told to end");
            return -1;
        }
        return ready > 0;
    }
}

bool link_pause(struct link *link, uint64_t deadline_ns) { return wait_for(link, 0, deadline_ns) == 0; }

/* ---- connecting ---- */

/* The parts of "tcp:host:port"; an IPv6 address may stand in brackets. */
static bool split(const char *address, char host[HOST_TEXT_BYTES], char port[PORT_TEXT_BYTES]) {
    const char *from = address + 4, *colon = strrchr(from, ':');
    if (strncmp(address, "tcp:", 4) != 0 || colon == NULL || colon == from || colon[1] == 0) return false;
    size_t bytes = (size_t)(colon - from);
    if (from[0] == '[' && from[bytes - 1] == ']') {
        from++;
        bytes -= 2;
    }
    if (bytes == 0 || bytes >= HOST_TEXT_BYTES || strlen(colon + 1) >= PORT_TEXT_BYTES) return false;
    if (strspn(colon + 1, "0123456789") != strlen(colon + 1)) return false;
    memcpy(host, from, bytes);
    host[bytes] = 0;
    memcpy(port, colon + 1, strlen(colon + 1) + 1);
    return true;
}

bool link_address_good(const char *address) {
    char host[HOST_TEXT_BYTES], port[PORT_TEXT_BYTES];
    if (strncmp(address, "unix:", 5) == 0) return address[5] != 0 && strlen(address + 5) < sizeof((struct sockaddr_un *)0)->sun_path;
    return split(address, host, port);
}

static bool connect_to(struct link *link, const struct sockaddr *to, socklen_t bytes, uint64_t deadline_ns) {
    int failed = 0;
    socklen_t failed_bytes = sizeof failed;
    link->fd = socket(to->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (link->fd < 0) return fail(link, "socket: %s", strerror(errno));
    if (connect(link->fd, to, bytes) != 0) {
        failed = errno;
        if (failed == EINPROGRESS) {
            int ready = wait_for(link, POLLOUT, deadline_ns);
            failed = ETIMEDOUT;
            if (ready > 0) getsockopt(link->fd, SOL_SOCKET, SO_ERROR, &failed, &failed_bytes);
        }
    }
    if (failed == 0) return true;
    close(link->fd);
    link->fd = -1;
    return link->stopped ? false : fail(link, "it cannot be reached: %s", strerror(failed));
}

static bool connect_unix(struct link *link, const char *path, uint64_t deadline_ns) {
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    memcpy(to.sun_path, path, strlen(path) + 1);
    return connect_to(link, (const struct sockaddr *)&to, sizeof to, deadline_ns);
}

static bool connect_tcp(struct link *link, const char *address, uint64_t deadline_ns) {
    char host[HOST_TEXT_BYTES], port[PORT_TEXT_BYTES];
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV}, *found;
    if (!split(address, host, port)) return fail(link, "it is no address");
    int result = getaddrinfo(host, port, &hints, &found);
    if (result != 0) return fail(link, "its name is not known: %s", gai_strerror(result));
    bool good = false;
    for (const struct addrinfo *at = found; at != NULL && !good && !link->stopped; at = at->ai_next)
        good = connect_to(link, at->ai_addr, at->ai_addrlen, deadline_ns);
    freeaddrinfo(found);
    int on = 1;
    if (good) setsockopt(link->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return good;
}

bool link_connect(struct link *link, const char *address, uint64_t timeout_ms) {
    uint64_t deadline_ns = link_now_ns() + timeout_ms * UINT64_C(1000000);
    resp_reset(&link->resp);
    return strncmp(address, "unix:", 5) == 0 ? connect_unix(link, address + 5, deadline_ns) : connect_tcp(link, address, deadline_ns);
}

void link_close(struct link *link) {
    if (link->fd >= 0) close(link->fd);
    link->fd = -1;
    resp_reset(&link->resp);
}

/* ---- talking ---- */

static bool send_all(struct link *link, const char *bytes, size_t count, uint64_t deadline_ns) {
    while (count > 0) {
        ssize_t sent = send(link->fd, bytes, count, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR) continue;
        if (sent < 0 && errno != EAGAIN) return fail(link, "it hung up: %s", strerror(errno));
        if (sent < 0) {
            int ready = wait_for(link, POLLOUT, deadline_ns);
            if (ready < 0) return false;
            if (ready == 0) return fail(link, "it takes nothing any more");
            continue;
        }
        bytes += sent;
        count -= (size_t)sent;
    }
    return true;
}

bool link_send(struct link *link, const char *const *words, const size_t *word_bytes, size_t count, uint64_t timeout_ms) {
    char *text = NULL;
    size_t text_bytes = 0;
    FILE *out = open_memstream(&text, &text_bytes);
    if (out == NULL) return fail(link, "there is no memory for a command");
    fprintf(out, "*%zu\r\n", count);
    for (size_t i = 0; i < count; i++) {
        fprintf(out, "$%zu\r\n", word_bytes[i]);
        fwrite(words[i], 1, word_bytes[i], out);
        fputs("\r\n", out);
    }
    bool whole = fclose(out) == 0;
    bool sent = whole ? send_all(link, text, text_bytes, link_now_ns() + timeout_ms * UINT64_C(1000000))
                      : fail(link, "there is no memory for a command");
    free(text);
    return sent;
}

static enum link_wait receive(struct link *link) {
    unsigned char *to = resp_room(&link->resp, READ_BYTES);
    if (to == NULL) {
        fail(link, "there is no memory for what it sends");
        return LINK_LOST;
    }
    ssize_t got = recv(link->fd, to, READ_BYTES, 0);
    if (got > 0) {
        resp_fed(&link->resp, (size_t)got);
        return LINK_TOKEN;
    }
    if (got < 0 && (errno == EINTR || errno == EAGAIN)) return LINK_TOKEN;
    fail(link, "it hung up: %s", got == 0 ? "end of file" : strerror(errno));
    return LINK_LOST;
}

enum link_wait link_next(struct link *link, struct resp_token *token, uint64_t deadline_ns) {
    for (;;) {
        switch (resp_next(&link->resp, token)) {
        case RESP_TOKEN: return LINK_TOKEN;
        case RESP_WRONG: fail(link, "it does not speak as Redis does"); return LINK_LOST;
        case RESP_NO_MEMORY: fail(link, "there is no memory for what it sends"); return LINK_LOST;
        case RESP_MORE: break;
        }
        int ready = wait_for(link, POLLIN, deadline_ns);
        if (ready == 0) return LINK_LATE;
        if (ready < 0) return link->stopped ? LINK_STOP : LINK_LOST;
        if (receive(link) == LINK_LOST) return LINK_LOST;
    }
}
