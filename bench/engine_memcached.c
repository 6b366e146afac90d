/* SPDX-License-Identifier: MIT */
/* engine_memcached.c: memcached over a unix socket, in its text protocol: one connection for each process, one request at a time.
 *
 *   get KEY [KEY ...]\r\n             VALUE KEY FLAGS BYTES\r\n DATA \r\n ... END\r\n
 *   set KEY 0 0 BYTES\r\n DATA \r\n   STORED\r\n
 *
 * Values come in the order they were asked for; keys that are not there are left out. */
#include "engine_server.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

enum { BUFFER_BYTES = 64 << 10, LINE_BYTES = 512, SLAB_BYTES = 512 << 10, ITEM_HEAD_BYTES = 512 };

struct memcached {
    struct engine_server server;
    int fd;
    unsigned char *buffer; /* read ahead */
    size_t from, to;
    char *request;         /* of a get: room for ENGINE_MGET_MAX keys */
    size_t request_room;
};

static void *memcached_open(const struct engine_spec *spec, char *why) {
    struct memcached *memcached = host_alloc(sizeof *memcached);
    char mib[32], item[32], root[] = "root";
    unsigned long long item_bytes = spec->value_bytes + spec->key_bytes + ITEM_HEAD_BYTES;
    /* Not below memcached's own default of a MiB; its slabs must be at least twice as large as the largest item. */
    snprintf(item, sizeof item, "%llu", item_bytes > SLAB_BYTES ? item_bytes * 2 : 2ULL * SLAB_BYTES);
    snprintf(mib, sizeof mib, "%llu", (unsigned long long)(spec->size_bytes >> 20) + 1);
    char name[] = "memcached", s[] = "-s", m[] = "-m", big[] = "-I", t[] = "-t", threads[] = "2", u[] = "-u";
    memcached->fd = -1;
    if (!engine_server_name(&memcached->server, spec, why)) {
        free(memcached);
        return NULL;
    }
    char *argv[] = {name, s, memcached->server.socket, m, mib, big, item, t, threads, geteuid() == 0 ? u : NULL, root, NULL};
    if (!engine_server_start(&memcached->server, spec, argv, why)) {
        free(memcached);
        return NULL;
    }
    return memcached;
}

static bool memcached_attach(void *handle, char *why) {
    struct memcached *memcached = handle;
    memcached->fd = engine_server_connect(&memcached->server);
    memcached->buffer = host_alloc(BUFFER_BYTES);
    memcached->request_room = (size_t)ENGINE_MGET_MAX * (LINE_BYTES / 2) + 16;
    memcached->request = host_alloc(memcached->request_room);
    memcached->from = memcached->to = 0;
    return memcached->fd >= 0 || host_why(why, "%s: %s", memcached->server.socket, strerror(errno));
}

/* ---- bytes in and out ---- */

static bool send_all(const struct memcached *memcached, struct iovec *parts, int count) {
    while (count > 0) {
        ssize_t sent = writev(memcached->fd, parts, count);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent < 0)
            return false;
        for (; count > 0 && (size_t)sent >= parts->iov_len; parts++, count--)
            sent -= (ssize_t)parts->iov_len;
        if (count > 0) {
            parts->iov_base = (char *)parts->iov_base + sent;
            parts->iov_len -= (size_t)sent;
        }
    }
    return true;
}

static bool fill(struct memcached *memcached) {
    ssize_t got;
    if (memcached->from == memcached->to)
        memcached->from = memcached->to = 0;
    if (memcached->to == BUFFER_BYTES) {
        memmove(memcached->buffer, memcached->buffer + memcached->from, memcached->to - memcached->from);
        memcached->to -= memcached->from;
        memcached->from = 0;
    }
    do {
        got = read(memcached->fd, memcached->buffer + memcached->to, BUFFER_BYTES - memcached->to);
    } while (got < 0 && errno == EINTR);
    if (got <= 0)
        return false;
    memcached->to += (size_t)got;
    return true;
}

/* A line without its end, in place; good until the next read. */
static char *read_line(struct memcached *memcached) {
    for (;;) {
        unsigned char *from = memcached->buffer + memcached->from;
        unsigned char *end = memchr(from, '\n', memcached->to - memcached->from);
        if (end) {
            memcached->from += (size_t)(end + 1 - from);
            *end = 0;
            if (end > from && end[-1] == '\r')
                end[-1] = 0;
            return (char *)from;
        }
        if (memcached->to - memcached->from >= LINE_BYTES || !fill(memcached))
            return NULL;
    }
}

/* Takes `bytes` of data and the line end behind them; what does not fit into buf is dropped. */
static bool read_data(struct memcached *memcached, unsigned char *buf, size_t buf_bytes, size_t bytes) {
    size_t done = 0, all = bytes + 2;
    while (done < all) {
        if (memcached->from == memcached->to && !fill(memcached))
            return false;
        size_t some = memcached->to - memcached->from < all - done ? memcached->to - memcached->from : all - done;
        size_t keep = bytes <= buf_bytes && done < bytes ? (some < bytes - done ? some : bytes - done) : 0;
        if (keep > 0)
            memcpy(buf + done, memcached->buffer + memcached->from, keep);
        memcached->from += some;
        done += some;
    }
    return true;
}

/* ---- requests ---- */

static bool ask(struct memcached *memcached, const struct millpond_mget *gets, size_t count) {
    size_t used = 3;
    memcpy(memcached->request, "get", 3);
    for (size_t i = 0; i < count; i++) {
        memcached->request[used++] = ' ';
        memcpy(memcached->request + used, gets[i].key, gets[i].key_bytes);
        used += gets[i].key_bytes;
    }
    memcpy(memcached->request + used, "\r\n", 2);
    struct iovec part = {memcached->request, used + 2};
    return send_all(memcached, &part, 1);
}

/* "VALUE KEY FLAGS BYTES": finds the key among those that were asked for and not yet answered. */
static struct millpond_mget *match(struct millpond_mget *gets, size_t count, size_t *at, const char *line, unsigned long *bytes) {
    const char *key = line + 6, *end = strncmp(line, "VALUE ", 6) == 0 ? strchr(key, ' ') : NULL;
    if (!end || sscanf(end, " %*u %lu", bytes) != 1)
        return NULL;
    for (; *at < count; (*at)++) {
        struct millpond_mget *get = &gets[*at];
        if (get->key_bytes == (size_t)(end - key) && memcmp(get->key, key, get->key_bytes) == 0) {
            (*at)++;
            return get;
        }
    }
    return NULL;
}

static void memcached_mget(void *handle, struct millpond_mget *gets, size_t count) {
    struct memcached *memcached = handle;
    size_t at = 0;
    char *line = NULL;
    for (size_t i = 0; i < count; i++)
        gets[i].result = MILLPOND_ERR_SYSTEM;
    if (!ask(memcached, gets, count))
        return;
    while ((line = read_line(memcached)) && strcmp(line, "END") != 0) {
        unsigned long bytes;
        struct millpond_mget *get = match(gets, count, &at, line, &bytes);
        if (!get || !read_data(memcached, get->buf, get->buf_bytes, bytes))
            return;
        get->value_bytes = bytes;
        get->result = bytes <= get->buf_bytes ? MILLPOND_OK : MILLPOND_TOO_SMALL;
    }
    for (size_t i = 0; i < count && line; i++) {
        if (gets[i].result == MILLPOND_ERR_SYSTEM)
            gets[i].result = MILLPOND_MISS;
    }
}

static int memcached_get(void *handle, const void *key, size_t key_bytes, void *buf, size_t buf_bytes, size_t *value_bytes) {
    struct millpond_mget get = {key, key_bytes, buf, buf_bytes, 0, 0};
    memcached_mget(handle, &get, 1);
    *value_bytes = get.value_bytes;
    return get.result;
}

static int memcached_set(void *handle, const void *key, size_t key_bytes, const void *value, size_t value_bytes) {
    struct memcached *memcached = handle;
    char head[LINE_BYTES], tail[] = "\r\n";
    int head_bytes = snprintf(head, sizeof head, "set %.*s 0 0 %zu\r\n", (int)key_bytes, (const char *)key, value_bytes);
    struct iovec parts[3] = {{head, (size_t)head_bytes}, {NULL, value_bytes}, {tail, 2}};
    memcpy(&parts[1].iov_base, &value, sizeof value);
    if (!send_all(memcached, parts, 3))
        return MILLPOND_ERR_SYSTEM;
    const char *line = read_line(memcached);
    return line && strcmp(line, "STORED") == 0 ? 0 : MILLPOND_ERR_FULL;
}

static uint64_t memcached_memory(void *handle) {
    const struct memcached *memcached = handle;
    return host_rss_bytes(memcached->server.pid);
}

static void memcached_detach(void *handle) {
    struct memcached *memcached = handle;
    close(memcached->fd);
    free(memcached->buffer);
    free(memcached->request);
}

static void memcached_close(void *handle) {
    struct memcached *memcached = handle;
    engine_server_stop(&memcached->server);
    free(memcached);
}

const struct engine engine_memcached = {
    .name = "memcached", .about = "memcached over a unix socket", .program = "memcached", .open = memcached_open,
    .attach = memcached_attach, .get = memcached_get, .set = memcached_set, .mget = memcached_mget, .memory = memcached_memory,
    .detach = memcached_detach, .close = memcached_close};
