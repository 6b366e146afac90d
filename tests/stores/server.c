/* SPDX-License-Identifier: MIT */
/* A redis-server of the test's own. */

#include "server.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

enum { START_MS = 20000 };

bool server_is_there(void) { return system("command -v redis-server >/dev/null 2>&1") == 0; }

/* A port that was free a moment ago. */
static unsigned free_port(void) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t bytes = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    REQUIRE(fd >= 0 && bind(fd, (struct sockaddr *)&address, bytes) == 0 && getsockname(fd, (struct sockaddr *)&address, &bytes) == 0, "%s",
            strerror(errno));
    close(fd);
    return ntohs(address.sin_port);
}

static int connect_unix(const char *path) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    REQUIRE(strlen(path) < sizeof address.sun_path, "%s", path);
    memcpy(address.sun_path, path, strlen(path) + 1);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof address) == 0) return fd;
    if (fd >= 0) close(fd);
    return -1;
}

static void become(const struct server *server, const char *const *more) {
    char port[16];
    const char *words[24] = {"redis-server", "--port", port, "--bind",       "127.0.0.1", "--unixsocket",
                             server->socket, "--save", "",   "--appendonly", "no"};
    size_t n = 11;
    snprintf(port, sizeof port, "%u", server->port);
    while (more && *more && n < 23) words[n++] = *more++;
    int log = open(support_path("redis.log"), O_WRONLY | O_CREAT | O_APPEND, 0600);
    if (log < 0 || dup2(log, 1) < 0 || dup2(log, 2) < 0) _exit(SUPPORT_FAILED);
    execvp(words[0], (char *const *)(uintptr_t)words);
    _exit(SUPPORT_FAILED);
}

void server_start(struct server *server, const char *const *more) {
    if (!server->socket) server->socket = support_path("redis.sock");
    if (!server->port) server->port = free_port();
    unlink(server->socket);
    support_path("redis.log"); /* makes the directory, in the parent */
    pid_t parent = getpid();
    server->pid = fork();
    REQUIRE(server->pid >= 0, "fork: %s", strerror(errno));
    if (server->pid == 0) {
        if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != parent) _exit(SUPPORT_FAILED);
        become(server, more);
    }
    for (unsigned waited = 0;; waited += 5) {
        int fd = connect_unix(server->socket);
        if (fd >= 0) {
            close(fd);
            return;
        }
        REQUIRE(waitpid(server->pid, NULL, WNOHANG) == 0, "redis-server ended at once");
        REQUIRE(waited < START_MS, "redis-server does not answer");
        support_sleep_ms(5);
    }
}

void server_kill(struct server *server) {
    support_kill(server->pid);
    server->pid = 0;
}

void server_ask(const struct server *server, char *answer, size_t answer_bytes, const char *one, const char *two, const char *three) {
    char command[512];
    const char *words[] = {one, two, three};
    int n = snprintf(command, sizeof command, "*%d\r\n", 1 + (two != NULL) + (three != NULL));
    for (unsigned i = 0; i < 3 && words[i]; i++)
        n += snprintf(command + n, sizeof command - (size_t)n, "$%zu\r\n%s\r\n", strlen(words[i]), words[i]);
    int fd = connect_unix(server->socket);
    REQUIRE(fd >= 0 && write(fd, command, (size_t)n) == n, "%s", strerror(errno));
    size_t have = 0, want = 0;
    for (;;) {
        struct pollfd polled = {fd, POLLIN, 0};
        REQUIRE(poll(&polled, 1, START_MS) == 1, "no answer");
        ssize_t got = read(fd, answer + have, answer_bytes - 1 - have);
        if (got <= 0) break;
        have += (size_t)got;
        answer[have] = 0;
        const char *line = strstr(answer, "\r\n");
        if (line && !want)
            want = (size_t)(line - answer) + 2 + (*answer == '$' && answer[1] != '-' ? strtoul(answer + 1, NULL, 10) + 2 : 0);
        if (want && (have >= want || have + 1 == answer_bytes)) break;
    }
    close(fd);
}

unsigned server_clients(const struct server *server) {
    static char answer[1 << 20];
    unsigned lines = 0;
    server_ask(server, answer, sizeof answer, "CLIENT", "LIST", NULL);
    for (const char *at = answer; (at = strstr(at, "id=")); at += 3)
        if (at[-1] == '\n') lines++;
    return lines - 1;
}
