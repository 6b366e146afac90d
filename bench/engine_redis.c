/* SPDX-License-Identifier: MIT */
/* engine_redis.c: Redis over a unix socket, through hiredis: one connection for each process, one request at a time, no persistence. */
#include "engine_server.h"

#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct redis {
    struct engine_server server;
    redisContext *context;
};

static void *redis_open(const struct engine_spec *spec, char *why) {
    struct redis *redis = host_alloc(sizeof *redis);
    char bytes[32];
    snprintf(bytes, sizeof bytes, "%llu", (unsigned long long)spec->size_bytes);
    char name[] = "redis-server", port[] = "--port", none[] = "0", unix_socket[] = "--unixsocket", save[] = "--save", empty[] = "",
         log[] = "--appendonly", no[] = "no", memory[] = "--maxmemory", policy[] = "--maxmemory-policy", lru[] = "allkeys-lru";
    if (!engine_server_name(&redis->server, spec, why)) {
        free(redis);
        return NULL;
    }
    char *argv[] = {name, port, none, unix_socket, redis->server.socket, save, empty, log, no, memory, bytes, policy, lru, NULL};
    if (!engine_server_start(&redis->server, spec, argv, why)) {
        free(redis);
        return NULL;
    }
    return redis;
}

static bool redis_attach(void *handle, char *why) {
    struct redis *redis = handle;
    redis->context = redisConnectUnix(redis->server.socket);
    if (redis->context && redis->context->err == 0)
        return true;
    return host_why(why, "%s: %s", redis->server.socket, redis->context ? redis->context->errstr : "out of memory");
}

static int take_value(const redisReply *reply, void *buf, size_t buf_bytes, size_t *value_bytes) {
    if (!reply || (reply->type != REDIS_REPLY_STRING && reply->type != REDIS_REPLY_NIL))
        return MILLPOND_ERR_SYSTEM;
    if (reply->type == REDIS_REPLY_NIL)
        return MILLPOND_MISS;
    *value_bytes = (size_t)reply->len;
    if (*value_bytes > buf_bytes)
        return MILLPOND_TOO_SMALL;
    memcpy(buf, reply->str, *value_bytes);
    return MILLPOND_OK;
}

static int redis_get(void *handle, const void *key, size_t key_bytes, void *buf, size_t buf_bytes, size_t *value_bytes) {
    struct redis *redis = handle;
    redisReply *reply = redisCommand(redis->context, "GET %b", key, key_bytes);
    int result = take_value(reply, buf, buf_bytes, value_bytes);
    if (reply)
        freeReplyObject(reply);
    return result;
}

static void redis_mget(void *handle, struct millpond_mget *gets, size_t count) {
    struct redis *redis = handle;
    const char *words[ENGINE_MGET_MAX + 1] = {"MGET"};
    size_t lengths[ENGINE_MGET_MAX + 1] = {4};
    for (size_t i = 0; i < count; i++) {
        words[i + 1] = gets[i].key;
        lengths[i + 1] = gets[i].key_bytes;
    }
    redisReply *reply = redisCommandArgv(redis->context, (int)count + 1, words, lengths);
    bool good = reply && reply->type == REDIS_REPLY_ARRAY && (size_t)reply->elements == count;
    for (size_t i = 0; i < count; i++)
        gets[i].result = good ? take_value(reply->element[i], gets[i].buf, gets[i].buf_bytes, &gets[i].value_bytes) : MILLPOND_ERR_SYSTEM;
    if (reply)
        freeReplyObject(reply);
}

static int redis_set(void *handle, const void *key, size_t key_bytes, const void *value, size_t value_bytes) {
    struct redis *redis = handle;
    redisReply *reply = redisCommand(redis->context, "SET %b %b", key, key_bytes, value, value_bytes);
    bool good = reply && reply->type == REDIS_REPLY_STATUS;
    if (reply)
        freeReplyObject(reply);
    return good ? 0 : MILLPOND_ERR_FULL;
}

static uint64_t redis_memory(void *handle) {
    const struct redis *redis = handle;
    return host_rss_bytes(redis->server.pid);
}

static void redis_detach(void *handle) {
    struct redis *redis = handle;
    redisFree(redis->context);
    redis->context = NULL;
}

static void redis_close(void *handle) {
    struct redis *redis = handle;
    engine_server_stop(&redis->server);
    free(redis);
}

const struct engine engine_redis = {
    .name = "redis", .about = "Redis over a unix socket, no persistence", .program = "redis-server", .open = redis_open,
    .attach = redis_attach, .get = redis_get, .set = redis_set, .mget = redis_mget, .memory = redis_memory, .detach = redis_detach,
    .close = redis_close};
