/* SPDX-License-Identifier: MIT */
/* A Redis or Valkey server as a store.
 *
 * One connection for each process (common.h, F1 to F5); a child of fork closes its copy of the parent's descriptor. Before a command is
 * sent on a connection that was used before, it is looked at: a server that was restarted has closed it, and is connected to again at once.
 * When a load finds out only while it waits for the answer, it is asked once more on a new connection; a store or an erase is not, because
 * its effect may be there and a newer value may have followed it. Whatever goes wrong in the middle of an answer drops the connection. */

#include "wire.h"

#include <millpond_store_redis.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { ADDRESSES_MAX = 8, PAUSE_MS_MIN = 10, PAUSE_MS_MAX = 1000, BATCH_KEYS = 256 };

struct redis {
    struct pond_store_link link;
    struct wire wire;
    char *name, *user, *password, *prefix;
    size_t prefix_bytes;
    unsigned database;
    struct {
        struct sockaddr_storage address;
        socklen_t bytes;
    } addresses[ADDRESSES_MAX];
    unsigned address_count;
    uint64_t not_before_ns; /* when the next attempt to connect is due, after one that failed */
    unsigned pause_ms;      /* before the one after that */
};

/* ---- errors ---- */

static int broken(const struct redis *redis, int number, const struct millpond_store_call *call) {
    switch (number) {
    case ETIMEDOUT: return pond_store_late(call, redis->name);
    case ENOMEM: return pond_error_say(MILLPOND_ERR_NO_MEMORY, call->errmsg, redis->name, "out of memory");
    case EMFILE:
    case ENFILE: return pond_error_say(MILLPOND_ERR_LIMIT, call->errmsg, redis->name, "too many open files; raise the limit (ulimit -n)");
    case EPROTO:
        return pond_error_say(MILLPOND_ERR_STORE, call->errmsg, redis->name,
                              "what answers there does not speak the protocol of Redis; name another port or socket");
    case EACCES:
    case EPERM:
        return pond_error_say(MILLPOND_ERR_PERMISSION, call->errmsg, redis->name, "permission denied; change the mode of the socket");
    case ECONNRESET:
    case EPIPE: return pond_error_say(MILLPOND_ERR_STORE_DOWN, call->errmsg, redis->name, "the server closed the connection; see its log");
    default:
        return pond_error_say(MILLPOND_ERR_STORE_DOWN, call->errmsg, redis->name, "no connection: %s; see whether the server runs",
                              strerror(number));
    }
}

/* What an error reply means. */
static int refused(const struct redis *redis, const redisReply *reply, const struct millpond_store_call *call) {
    static const struct {
        const char *word;
        int result;
    } known[] = {
        {"NOAUTH", MILLPOND_ERR_PERMISSION},   {"WRONGPASS", MILLPOND_ERR_PERMISSION},  {"NOPERM", MILLPOND_ERR_PERMISSION},
        {"OOM", MILLPOND_ERR_NO_SPACE},        {"WRONGTYPE", MILLPOND_ERR_NOT_REGULAR}, {"LOADING", MILLPOND_ERR_STORE_DOWN},
        {"BUSY", MILLPOND_ERR_STORE_DOWN},     {"MASTERDOWN", MILLPOND_ERR_STORE_DOWN}, {"CLUSTERDOWN", MILLPOND_ERR_STORE_DOWN},
        {"TRYAGAIN", MILLPOND_ERR_STORE_DOWN}, {"MISCONF", MILLPOND_ERR_STORE_DOWN},
    };
    if (reply->type != REDIS_REPLY_ERROR)
        return pond_error_say(MILLPOND_ERR_STORE, call->errmsg, redis->name, "an answer has a type that the command never has");
    int result = MILLPOND_ERR_STORE;
    size_t word = strcspn(reply->str, " ");
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strlen(known[i].word) == word && memcmp(reply->str, known[i].word, word) == 0) result = known[i].result;
    return pond_error_say(result, call->errmsg, redis->name, "the server says: %.120s", reply->str);
}

static void free_replies(redisReply **replies, size_t count) {
    for (size_t i = 0; i < count; i++)
        if (replies[i]) freeReplyObject(replies[i]);
}

/* ---- the connection ---- */

/* AUTH and SELECT, in one go. */
static int greet(struct redis *redis, const struct millpond_store_call *call) {
    char number[16];
    const char *auth[3] = {"AUTH", redis->user ? redis->user : redis->password, redis->password}, *select[2] = {"SELECT", number};
    size_t auth_bytes[3], select_bytes[2] = {6, (size_t)snprintf(number, sizeof number, "%u", redis->database)}, count = 0;
    redisReply *replies[2];
    int failed = 0, result = MILLPOND_OK;
    if (redis->password) {
        for (int i = 0; i < 3; i++) auth_bytes[i] = strlen(auth[i]);
        failed = pond_wire_command(&redis->wire, redis->user ? 3 : 2, auth, auth_bytes);
        count++;
    }
    if (redis->database && !failed) {
        failed = pond_wire_command(&redis->wire, 2, select, select_bytes);
        count++;
    }
    if (count == 0) return MILLPOND_OK;
    if (failed) return broken(redis, failed, call);
    failed = pond_wire_ask(&redis->wire, replies, count, call);
    for (size_t i = 0; i < count && !failed && result == MILLPOND_OK; i++)
        if (replies[i]->type != REDIS_REPLY_STATUS) result = refused(redis, replies[i], call);
    free_replies(replies, count);
    return failed ? broken(redis, failed, call) : result;
}

static int try_addresses(struct redis *redis, const struct millpond_store_call *call) {
    int failed = ECONNREFUSED;
    for (unsigned i = 0; i < redis->address_count; i++) {
        /* Each gets its part of the time, so that one that is silent does not use it up for the others. */
        uint64_t now = pond_store_now_ns(), left = call->deadline_ns > now ? call->deadline_ns - now : 0;
        const struct millpond_store_call part = {now + left / (redis->address_count - i), call->errmsg};
        failed = pond_wire_connect(&redis->wire, (const struct sockaddr *)&redis->addresses[i].address, redis->addresses[i].bytes, &part);
        if (!failed) return 0;
    }
    return failed;
}

static int connect_server(struct redis *redis, const struct millpond_store_call *call) {
    uint64_t now = pond_store_now_ns();
    if (now < redis->not_before_ns)
        return pond_error_say(MILLPOND_ERR_STORE_DOWN, call->errmsg, redis->name,
                              "no connection a moment ago; it is tried again in %llu ms",
                              (unsigned long long)((redis->not_before_ns - now) / 1000000 + 1));
    int failed = try_addresses(redis, call);
    int result = failed ? broken(redis, failed, call) : greet(redis, call);
    if (result == MILLPOND_OK) {
        redis->pause_ms = 0;
        redis->not_before_ns = 0;
        return MILLPOND_OK;
    }
    pond_wire_drop(&redis->wire);
    redis->pause_ms = redis->pause_ms == 0 ? PAUSE_MS_MIN : redis->pause_ms * 2 < PAUSE_MS_MAX ? redis->pause_ms * 2 : PAUSE_MS_MAX;
    /* Processes whose server died together do not come back together. */
    uint64_t scatter = ((uint64_t)getpid() * 2654435761u >> 8) % (redis->pause_ms / 2 + 1);
    redis->not_before_ns = pond_store_now_ns() + (redis->pause_ms - scatter) * 1000000;
    return result;
}

static void in_child(void *state) {
    struct redis *redis = state;
    pond_wire_drop(&redis->wire);
    redis->not_before_ns = 0;
    redis->pause_ms = 0;
}

/* Takes the connection for a call. `fresh`: it was made just now. */
static int enter(struct redis *redis, int *fresh, const struct millpond_store_call *call) {
    int result = pond_store_enter(&redis->link, call);
    if (result != MILLPOND_OK) return result;
    if (redis->wire.fd >= 0 && !pond_wire_alive(&redis->wire)) pond_wire_drop(&redis->wire);
    *fresh = redis->wire.fd < 0;
    if (*fresh) result = connect_server(redis, call);
    if (result != MILLPOND_OK) pond_store_leave(&redis->link);
    return result;
}

/* Adds a command whose last words are a key, with the prefix in front, and up to three more. */
static int add(struct redis *redis, const char *verb, const void *key, size_t key_bytes, int more, const char **words,
               const size_t *lengths) {
    const char *all[6] = {verb, key};
    size_t all_bytes[6] = {strlen(verb), key_bytes};
    char *prefixed = NULL;
    if (redis->prefix_bytes) {
        prefixed = malloc(redis->prefix_bytes + key_bytes);
        if (!prefixed) return ENOMEM;
        memcpy(prefixed, redis->prefix, redis->prefix_bytes);
        memcpy(prefixed + redis->prefix_bytes, key, key_bytes);
        all[1] = prefixed;
        all_bytes[1] += redis->prefix_bytes;
    }
    for (int i = 0; i < more; i++) {
        all[i + 2] = words[i];
        all_bytes[i + 2] = lengths[i];
    }
    int failed = pond_wire_command(&redis->wire, more + 2, all, all_bytes);
    free(prefixed);
    return failed;
}

/* ---- load ---- */

/* GET and PTTL of each key, in one go. MGET would save bytes, and lose the values of all keys for one that holds no string. */
static int ask_for(struct redis *redis, const struct millpond_store_item *items, size_t count, redisReply **replies,
                   const struct millpond_store_call *call) {
    int failed = 0;
    for (size_t i = 0; i < count && !failed; i++) {
        failed = add(redis, "GET", items[i].key, items[i].key_bytes, 0, NULL, NULL);
        if (!failed) failed = add(redis, "PTTL", items[i].key, items[i].key_bytes, 0, NULL, NULL);
    }
    if (!failed) return pond_wire_ask(&redis->wire, replies, count * 2, call);
    memset(replies, 0, count * 2 * sizeof *replies);
    return failed;
}

static int take_item(const struct redis *redis, struct millpond_store_item *item, const redisReply *value, const redisReply *pttl,
                     const struct millpond_store_call *call) {
    if (value->type == REDIS_REPLY_NIL) return MILLPOND_MISS;
    if (value->type != REDIS_REPLY_STRING) return refused(redis, value, call);
    if (pttl->type != REDIS_REPLY_INTEGER) return refused(redis, pttl, call);
    size_t bytes = (size_t)value->len;
    item->value = malloc(bytes + 1);
    if (!item->value) return broken(redis, ENOMEM, call);
    memcpy(item->value, value->str, bytes);
    item->value_bytes = bytes;
    item->ttl_ms = pttl->integer > 0 ? (uint64_t)pttl->integer : pttl->integer == -1 ? 0 : 1; /* -2, 0: it expired between the two */
    return MILLPOND_OK;
}

static int load_batch(struct redis *redis, struct millpond_store_item *items, size_t count, const struct millpond_store_call *call) {
    redisReply *replies[2 * BATCH_KEYS];
    int fresh, result = enter(redis, &fresh, call);
    if (result != MILLPOND_OK) return result;
    int failed = ask_for(redis, items, count, replies, call);
    if ((failed == ECONNRESET || failed == EPIPE) && !fresh) { /* it was closed while we asked */
        free_replies(replies, count * 2);
        memset(replies, 0, sizeof replies);
        pond_wire_drop(&redis->wire);
        result = connect_server(redis, call);
        failed = result == MILLPOND_OK ? ask_for(redis, items, count, replies, call) : 0;
    }
    if (failed) {
        result = broken(redis, failed, call);
        pond_wire_drop(&redis->wire);
    }
    for (size_t i = 0; i < count && result == MILLPOND_OK; i++)
        items[i].result = take_item(redis, &items[i], replies[2 * i], replies[2 * i + 1], call);
    free_replies(replies, count * 2);
    pond_store_leave(&redis->link);
    return result;
}

static int redis_load_many(void *state, struct millpond_store_item *items, size_t count, const struct millpond_store_call *call) {
    int result = MILLPOND_OK;
    for (size_t first = 0; first < count; first += BATCH_KEYS) {
        size_t n = count - first < BATCH_KEYS ? count - first : BATCH_KEYS;
        if (result == MILLPOND_OK) result = load_batch(state, items + first, n, call);
        for (size_t i = first; i < first + n && result != MILLPOND_OK; i++) items[i].result = result;
    }
    return MILLPOND_OK;
}

static int redis_load(void *state, struct millpond_store_item *item, const struct millpond_store_call *call) {
    redis_load_many(state, item, 1, call);
    return item->result;
}

/* ---- store, erase ---- */

/* One command, one answer of the given type. */
static int tell(struct redis *redis, const char *verb, const void *key, size_t key_bytes, int more, const char **words,
                const size_t *lengths, int type, long long *number, const struct millpond_store_call *call) {
    redisReply *reply = NULL;
    int fresh, result = enter(redis, &fresh, call);
    if (result != MILLPOND_OK) return result;
    int failed = add(redis, verb, key, key_bytes, more, words, lengths);
    if (!failed) failed = pond_wire_ask(&redis->wire, &reply, 1, call);
    if (failed) {
        result = broken(redis, failed, call);
        pond_wire_drop(&redis->wire);
    } else if (reply->type != type) {
        result = refused(redis, reply, call);
    } else {
        *number = reply->integer;
    }
    free_replies(&reply, 1);
    pond_store_leave(&redis->link);
    return result;
}

static int redis_store(void *state, const void *key, size_t key_bytes, const void *value, size_t value_bytes, uint64_t ttl_ms,
                       const struct millpond_store_call *call) {
    char ttl[24];
    long long unused;
    const char *words[3] = {value_bytes ? value : "", "PX", ttl};
    size_t lengths[3] = {value_bytes, 2, (size_t)snprintf(ttl, sizeof ttl, "%llu", (unsigned long long)ttl_ms)};
    return tell(state, "SET", key, key_bytes, ttl_ms ? 3 : 1, words, lengths, REDIS_REPLY_STATUS, &unused, call);
}

static int redis_erase(void *state, const void *key, size_t key_bytes, const struct millpond_store_call *call) {
    long long removed = 0;
    int result = tell(state, "DEL", key, key_bytes, 0, NULL, NULL, REDIS_REPLY_INTEGER, &removed, call);
    return result == MILLPOND_OK && removed == 0 ? MILLPOND_MISS : result;
}

/* ---- list ---- */

/* The prefix as a pattern in which every byte stands for itself, then a star. */
static size_t make_pattern(const struct redis *redis, char *pattern) {
    size_t n = 0;
    for (size_t i = 0; i < redis->prefix_bytes; i++) {
        if (strchr("*?[]\\^-", redis->prefix[i])) pattern[n++] = '\\';
        pattern[n++] = redis->prefix[i];
    }
    pattern[n++] = '*';
    return n;
}

/* One turn of SCAN, and the sizes of what it shows; a key of another type than string has an error for a size and is left out. */
static int scan_turn(struct redis *redis, char *cursor, size_t cursor_room, const char *pattern, size_t pattern_bytes, redisReply **scan,
                     redisReply ***sizes, const struct millpond_store_call *call) {
    const char *words[] = {"SCAN", cursor, "MATCH", pattern, "COUNT", "1000"};
    size_t lengths[] = {4, strlen(cursor), 5, pattern_bytes, 5, 4};
    int fresh, result = enter(redis, &fresh, call);
    if (result != MILLPOND_OK) return result;
    int failed = pond_wire_command(&redis->wire, 6, words, lengths);
    if (!failed) failed = pond_wire_ask(&redis->wire, scan, 1, call);
    redisReply *keys = NULL;
    if (!failed && ((*scan)->type != REDIS_REPLY_ARRAY || (*scan)->elements != 2 || (*scan)->element[0]->type != REDIS_REPLY_STRING ||
                    (*scan)->element[1]->type != REDIS_REPLY_ARRAY))
        result = refused(redis, *scan, call);
    else if (!failed)
        keys = (*scan)->element[1];
    if (keys) {
        snprintf(cursor, cursor_room, "%s", (*scan)->element[0]->str);
        *sizes = calloc(keys->elements + 1, sizeof **sizes);
        if (!*sizes) failed = ENOMEM;
        for (size_t i = 0; i < keys->elements && !failed; i++) {
            const char *ask[] = {"STRLEN", keys->element[i]->str};
            size_t ask_bytes[] = {6, (size_t)keys->element[i]->len};
            failed = pond_wire_command(&redis->wire, 2, ask, ask_bytes);
        }
        if (!failed) failed = pond_wire_ask(&redis->wire, *sizes, keys->elements, call);
    }
    if (failed) {
        result = broken(redis, failed, call);
        pond_wire_drop(&redis->wire);
    }
    pond_store_leave(&redis->link);
    return result;
}

static int show(const struct redis *redis, const redisReply *keys, redisReply **sizes, millpond_store_visit visit, void *arg) {
    int result = 0;
    for (size_t i = 0; i < keys->elements && result == 0; i++) {
        const redisReply *key = keys->element[i];
        size_t bytes = (size_t)key->len;
        if (sizes[i]->type == REDIS_REPLY_INTEGER && bytes > redis->prefix_bytes)
            result = visit(arg, key->str + redis->prefix_bytes, bytes - redis->prefix_bytes, (uint64_t)sizes[i]->integer);
    }
    return result;
}

static int redis_list(void *state, millpond_store_visit visit, void *arg, const struct millpond_store_call *call) {
    struct redis *redis = state;
    char cursor[32] = "0";
    char *pattern = malloc(redis->prefix_bytes * 2 + 2);
    if (!pattern) return broken(redis, ENOMEM, call);
    size_t pattern_bytes = make_pattern(redis, pattern);
    int result;
    do {
        redisReply *scan = NULL, **sizes = NULL;
        result = scan_turn(redis, cursor, sizeof cursor, pattern, pattern_bytes, &scan, &sizes, call);
        if (result == MILLPOND_OK) result = show(redis, scan->element[1], sizes, visit, arg);
        if (sizes) free_replies(sizes, scan->element[1]->elements);
        free(sizes);
        free_replies(&scan, 1);
    } while (result == MILLPOND_OK && strcmp(cursor, "0") != 0);
    free(pattern);
    return result;
}

/* ---- open, close ---- */

static void free_all(struct redis *redis) {
    if (redis->password) explicit_bzero(redis->password, strlen(redis->password));
    free(redis->name);
    free(redis->user);
    free(redis->password);
    free(redis->prefix);
    free(redis);
}

static void redis_close(void *state) {
    struct redis *redis = state;
    pond_store_unlink(&redis->link);
    pond_wire_drop(&redis->wire);
    free_all(redis);
}

static int copy_text(char **to, const char *from) {
    if (!from) return 0;
    *to = strdup(from);
    return *to ? 0 : ENOMEM;
}

static int copy_options(struct redis *redis, const struct millpond_store_redis *o) {
    int made = o->unix_socket ? asprintf(&redis->name, "redis:unix:%s", o->unix_socket)
                              : asprintf(&redis->name, "redis:%s:%u", o->host, o->port ? o->port : 6379);
    if (made < 0) redis->name = NULL;
    if (made < 0 || copy_text(&redis->user, o->user) || copy_text(&redis->password, o->password) || copy_text(&redis->prefix, o->prefix))
        return ENOMEM;
    redis->prefix_bytes = redis->prefix ? strlen(redis->prefix) : 0;
    redis->database = o->database;
    return 0;
}

static int find_unix(struct redis *redis, const char *path, char *errmsg) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof address.sun_path)
        return pond_error_say(MILLPOND_ERR_ARGUMENT, errmsg, redis->name, "the path is too long for a unix socket (%zu bytes at the most)",
                              sizeof address.sun_path - 1);
    memcpy(address.sun_path, path, strlen(path) + 1);
    memcpy(&redis->addresses[0].address, &address, sizeof address);
    redis->addresses[0].bytes = sizeof address;
    redis->address_count = 1;
    return MILLPOND_OK;
}

static int find_host(struct redis *redis, const char *host, unsigned port, char *errmsg) {
    char service[16];
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV}, *found = NULL;
    snprintf(service, sizeof service, "%u", port ? port : 6379);
    int failed = getaddrinfo(host, service, &hints, &found);
    if (failed) return pond_error_say(MILLPOND_ERR_STORE_DOWN, errmsg, redis->name, "the host has no address: %s", gai_strerror(failed));
    for (const struct addrinfo *one = found; one && redis->address_count < ADDRESSES_MAX; one = one->ai_next) {
        memcpy(&redis->addresses[redis->address_count].address, one->ai_addr, one->ai_addrlen);
        redis->addresses[redis->address_count++].bytes = one->ai_addrlen;
    }
    freeaddrinfo(found);
    return MILLPOND_OK;
}

int millpond_store_redis(struct millpond_store *store, const struct millpond_store_redis *options, char *errmsg) {
    if (errmsg) errmsg[0] = 0;
    if (!store || !options || !options->unix_socket == !options->host || options->port > 65535 || (options->user && !options->password))
        return pond_error_say(MILLPOND_ERR_ARGUMENT, errmsg, "millpond_store_redis",
                              "give either a unix socket or a host, a port up to 65535, and a password with a user");
    struct redis *redis = calloc(1, sizeof *redis);
    if (!redis) return pond_error_say(MILLPOND_ERR_NO_MEMORY, errmsg, "millpond_store_redis", "out of memory");
    redis->wire = (struct wire)WIRE_NONE;
    int result = copy_options(redis, options) ? pond_error_say(MILLPOND_ERR_NO_MEMORY, errmsg, "millpond_store_redis", "out of memory")
                 : options->unix_socket       ? find_unix(redis, options->unix_socket, errmsg)
                                              : find_host(redis, options->host, options->port, errmsg);
    if (result != MILLPOND_OK) {
        free_all(redis);
        return result;
    }
    redis->link.name = redis->name;
    redis->link.state = redis;
    redis->link.in_child = in_child;
    pond_store_link(&redis->link);
    *store = (struct millpond_store){.name = redis->name,
                                     .state = redis,
                                     .load = redis_load,
                                     .load_many = redis_load_many,
                                     .store = redis_store,
                                     .erase = redis_erase,
                                     .list = redis_list,
                                     .close = redis_close};
    return MILLPOND_OK;
}
