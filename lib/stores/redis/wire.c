/* SPDX-License-Identifier: MIT */
/* A connection with deadlines. hiredis formats the commands and reads the replies; the socket is ours, because the timeouts of hiredis
 * 0.14 are those of single reads (a server that trickles is waited for as long as it likes), its resolver has none, and it writes without
 * MSG_NOSIGNAL, so that a server that dies would end the process that uses the library with SIGPIPE. */

#include "wire.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { READ_BYTES = 64 << 10 };

/* Waits until the socket is ready: 0 or errno. */
static int wait_for(int fd, short events, const struct millpond_store_call *call) {
    for (;;) {
        struct pollfd polled = {fd, events, 0};
        int left_ms = pond_store_left_ms(call);
        int ready = poll(&polled, 1, left_ms);
        if (ready > 0) return 0;
        if (ready == 0 && left_ms == 0) return ETIMEDOUT;
        if (ready < 0 && errno != EINTR) return errno;
    }
}

int pond_wire_connect(struct wire *wire, const struct sockaddr *address, socklen_t bytes, const struct millpond_store_call *call) {
    int yes = 1, failed = 0;
    socklen_t size = sizeof failed;
    wire->fd = socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    wire->reader = wire->fd < 0 ? NULL : redisReaderCreate();
    if (!wire->reader) {
        failed = wire->fd < 0 ? errno : ENOMEM;
    } else if (connect(wire->fd, address, bytes) != 0) {
        failed = errno;
        /* A unix socket whose queue is full says EAGAIN, and cannot be waited for. */
        if (failed == EINPROGRESS) failed = wait_for(wire->fd, POLLOUT, call);
        if (!failed && getsockopt(wire->fd, SOL_SOCKET, SO_ERROR, &failed, &size) != 0) failed = errno;
    }
    if (failed)
        pond_wire_drop(wire);
    else if (address->sa_family != AF_UNIX)
        setsockopt(wire->fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    return failed;
}

void pond_wire_drop(struct wire *wire) {
    if (wire->fd >= 0) close(wire->fd);
    if (wire->reader) redisReaderFree(wire->reader);
    free(wire->out);
    *wire = (struct wire)WIRE_NONE;
}

int pond_wire_alive(const struct wire *wire) {
    struct pollfd polled = {wire->fd, POLLIN, 0};
    return wire->fd >= 0 && poll(&polled, 1, 0) == 0;
}

int pond_wire_command(struct wire *wire, int count, const char **words, const size_t *lengths) {
    char *text;
    int made = redisFormatCommandArgv(&text, count, words, lengths);
    if (made < 0) return ENOMEM;
    size_t bytes = (size_t)made;
    if (wire->out_bytes + bytes > wire->out_room) {
        char *grown = realloc(wire->out, (wire->out_bytes + bytes) * 2);
        if (!grown) {
            redisFreeCommand(text);
            return ENOMEM;
        }
        wire->out = grown;
        wire->out_room = (wire->out_bytes + bytes) * 2;
    }
    memcpy(wire->out + wire->out_bytes, text, bytes);
    wire->out_bytes += bytes;
    redisFreeCommand(text);
    return 0;
}

/* Sends what it can: 0 or errno. */
static int send_some(struct wire *wire, size_t *sent) {
    ssize_t put = send(wire->fd, wire->out + *sent, wire->out_bytes - *sent, MSG_NOSIGNAL);
    if (put < 0) return errno == EINTR || errno == EAGAIN ? 0 : errno;
    *sent += (size_t)put;
    return 0;
}

/* Reads what is there: 0 or errno. */
static int read_some(struct wire *wire) {
    char bytes[READ_BYTES];
    ssize_t got = recv(wire->fd, bytes, sizeof bytes, 0);
    if (got < 0) return errno == EINTR || errno == EAGAIN ? 0 : errno;
    if (got == 0) return ECONNRESET;
    return redisReaderFeed(wire->reader, bytes, (size_t)got) == REDIS_OK ? 0 : ENOMEM;
}

static int take_replies(struct wire *wire, redisReply **replies, size_t count, size_t *have) {
    while (*have < count) {
        void *reply = NULL;
        if (redisReaderGetReply(wire->reader, &reply) != REDIS_OK) return wire->reader->err == REDIS_ERR_OOM ? ENOMEM : EPROTO;
        if (!reply) return 0;
        replies[(*have)++] = reply;
    }
    return 0;
}

/* Both directions at once: a server that has much to answer stops reading until somebody takes its answers. */
int pond_wire_ask(struct wire *wire, redisReply **replies, size_t count, const struct millpond_store_call *call) {
    size_t sent = 0, have = 0;
    int failed = 0;
    memset(replies, 0, count * sizeof *replies);
    while (!failed && have < count) {
        if (sent < wire->out_bytes) failed = send_some(wire, &sent);
        if (!failed) failed = wait_for(wire->fd, sent < wire->out_bytes ? POLLIN | POLLOUT : POLLIN, call);
        if (!failed) failed = read_some(wire);
        if (!failed) failed = take_replies(wire, replies, count, &have);
        if (!failed && have < count && pond_store_left_ms(call) == 0) failed = ETIMEDOUT;
    }
    wire->out_bytes = 0;
    return failed;
}
