/* SPDX-License-Identifier: MIT */
/* engine_server.c: starts and ends the servers that some engines are. Their output goes to a file in their folder. */
#include "engine_server.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define START_LIMIT_NS UINT64_C(10000000000)
#define STOP_LIMIT_NS UINT64_C(2000000000)

bool engine_server_name(struct engine_server *server, const struct engine_spec *spec, char *why) {
    int bytes = snprintf(server->socket, sizeof server->socket, "%s/socket", spec->folder);
    return (size_t)bytes < sizeof server->socket ||
           host_why(why, "%s/socket: is too long for a unix socket; choose a shorter --folder", spec->folder);
}

int engine_server_connect(const struct engine_server *server) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    memcpy(address.sun_path, server->socket, strlen(server->socket) + 1);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    if (connect(fd, (const struct sockaddr *)&address, sizeof address) == 0)
        return fd;
    int reason = errno;
    close(fd);
    errno = reason;
    return -1;
}

static void become(const struct engine_spec *spec, char *const *argv) {
    int null = open("/dev/null", O_RDONLY);
    int log = chdir(spec->folder) == 0 ? open("log", O_WRONLY | O_CREAT | O_TRUNC, 0600) : -1;
    if (null < 0 || log < 0)
        _exit(3);
    dup2(null, STDIN_FILENO);
    dup2(log, STDOUT_FILENO);
    dup2(log, STDERR_FILENO);
    execvp(argv[0], argv);
    _exit(3);
}

bool engine_server_start(struct engine_server *server, const struct engine_spec *spec, char *const *argv, char *why) {
    server->pid = host_fork();
    if (server->pid == 0)
        become(spec, argv);
    uint64_t end_ns = host_now_ns() + START_LIMIT_NS;
    while (host_now_ns() < end_ns && !host_interrupted) {
        int fd = engine_server_connect(server);
        if (fd >= 0) {
            close(fd);
            return true;
        }
        if (waitpid(server->pid, NULL, WNOHANG) == server->pid) {
            server->pid = 0;
            return host_why(why, "%s ended at once; try it by hand", argv[0]);
        }
        host_sleep_ns(10000000);
    }
    engine_server_stop(server);
    return host_why(why, "%s does not answer on its socket after %d s", argv[0], (int)(START_LIMIT_NS / 1000000000));
}

void engine_server_stop(struct engine_server *server) {
    bool late;
    if (server->pid <= 0)
        return;
    kill(server->pid, SIGTERM);
    host_reap(server->pid, STOP_LIMIT_NS, &late);
    server->pid = 0;
}
