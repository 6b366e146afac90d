/* SPDX-License-Identifier: MIT */
/* Stores by a text: the one place that knows how such a text is written (millpond_stores.h). */

#include "../common/common.h"

#include <millpond_store_dir.h>
#include <millpond_stores.h>
#ifdef POND_STORES_SQLITE
#include <millpond_store_sqlite.h>
#endif
#ifdef POND_STORES_REDIS
#include <millpond_store_redis.h>
#endif

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { OPTIONS_MAX = 8, PASSWORD_BYTES = 1024 };

/* "?a=b&c" taken apart; a value of NULL where there is no equals sign. All point into one copy of the text. */
struct parts {
    const char *text; /* as given, for messages */
    char *place;      /* behind "scheme:", decoded unless it is redis's host */
    struct {
        char *name, *value;
        int used;
    } options[OPTIONS_MAX];
    size_t count;
    char *copy, *errmsg;
};

static int wrong(const struct parts *parts, const char *format, const char *what) {
    return pond_error_say(MILLPOND_ERR_ARGUMENT, parts->errmsg, parts->text, format, what);
}

static int hex(char c) { return c >= '0' && c <= '9' ? c - '0' : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10 : -1; }

/* %XX in place. */
static int decode(const struct parts *parts, char *text) {
    char *to = text;
    for (const char *at = text; *at; at++) {
        int byte = (unsigned char)*at;
        if (*at == '%') {
            byte = hex(at[1]) < 0 || hex(at[2]) < 0 ? 0 : hex(at[1]) << 4 | hex(at[2]);
            if (byte == 0) return wrong(parts, "%.40s: a percent sign is written %%25, and a byte 0 cannot be there", text);
            at += 2;
        }
        *to++ = (char)byte;
    }
    *to = 0;
    return MILLPOND_OK;
}

static int take_apart(struct parts *parts, const char *place) {
    parts->copy = strdup(place);
    if (!parts->copy) return pond_error_say(MILLPOND_ERR_NO_MEMORY, parts->errmsg, parts->text, "out of memory");
    parts->place = parts->copy;
    char *at = strchr(parts->copy, '?');
    if (at) *at++ = 0;
    for (char *next; at && *at; at = next) {
        next = strchr(at, '&');
        if (next) *next++ = 0;
        if (parts->count == OPTIONS_MAX) return wrong(parts, "%s", "that are more options than any store has");
        char *value = strchr(at, '=');
        if (value) *value++ = 0;
        for (size_t i = 0; i < parts->count; i++)
            if (strcmp(parts->options[i].name, at) == 0) return wrong(parts, "%.40s is given twice; give it once", at);
        parts->options[parts->count].name = at;
        parts->options[parts->count++].value = value;
        if (value && decode(parts, value) != MILLPOND_OK) return MILLPOND_ERR_ARGUMENT;
    }
    return *parts->place ? decode(parts, parts->place) : wrong(parts, "%s", "nothing is named behind the colon; name the place");
}

/* An option with a value: NULL when it is not given; one without a value is noted in `bad`. */
static const char *text_option(struct parts *parts, const char *name, int *bad) {
    for (size_t i = 0; i < parts->count; i++) {
        if (strcmp(parts->options[i].name, name) != 0) continue;
        parts->options[i].used = 1;
        if (!parts->options[i].value || !*parts->options[i].value) *bad = wrong(parts, "%s needs a value: ?name=value", name);
        return parts->options[i].value;
    }
    return NULL;
}

static unsigned flag_option(struct parts *parts, const char *name, unsigned flag, int *bad) {
    for (size_t i = 0; i < parts->count; i++) {
        if (strcmp(parts->options[i].name, name) != 0) continue;
        parts->options[i].used = 1;
        if (parts->options[i].value) *bad = wrong(parts, "%s takes no value", name);
        return flag;
    }
    return 0;
}

/* Whatever was not asked for is a mistake. */
static int all_used(const struct parts *parts, const char *known) {
    for (size_t i = 0; i < parts->count; i++) {
        if (parts->options[i].used) continue;
        return pond_error_say(MILLPOND_ERR_ARGUMENT, parts->errmsg, parts->text, "there is no option %.40s; the options are %s",
                              parts->options[i].name, known);
    }
    return MILLPOND_OK;
}

static int open_dir(struct millpond_store *store, struct parts *parts) {
    int bad = MILLPOND_OK;
    unsigned flags =
        flag_option(parts, "durable", MILLPOND_STORE_DIR_DURABLE, &bad) | flag_option(parts, "create", MILLPOND_STORE_DIR_CREATE, &bad);
    const char *layout = text_option(parts, "layout", &bad);
    if (layout && strcmp(layout, "flat") == 0)
        flags |= MILLPOND_STORE_DIR_FLAT;
    else if (layout && strcmp(layout, "tree") != 0)
        bad = wrong(parts, "there is no layout %.40s; give tree or flat", layout);
    if (!bad) bad = all_used(parts, "layout, durable and create");
    return bad ? bad : millpond_store_dir(store, parts->place, flags, parts->errmsg);
}

#ifdef POND_STORES_SQLITE
static int open_sqlite(struct millpond_store *store, struct parts *parts) {
    int bad = MILLPOND_OK;
    struct millpond_store_sqlite options = {.file = parts->place};
    options.table = text_option(parts, "table", &bad);
    options.key_column = text_option(parts, "key", &bad);
    options.value_column = text_option(parts, "value", &bad);
    options.flags = flag_option(parts, "create", MILLPOND_STORE_SQLITE_CREATE, &bad) |
                    flag_option(parts, "durable", MILLPOND_STORE_SQLITE_DURABLE, &bad) |
                    flag_option(parts, "readonly", MILLPOND_STORE_SQLITE_READONLY, &bad);
    if (!bad) bad = all_used(parts, "table, key, value, create, durable and readonly");
    return bad ? bad : millpond_store_sqlite(store, &options, parts->errmsg);
}
#endif

#ifdef POND_STORES_REDIS
static int number_of(const struct parts *parts, const char *text, unsigned most, unsigned *number) {
    char *end;
    unsigned long value = strtoul(text, &end, 10);
    if (*text < '0' || *text > '9' || *end || value > most) {
        char what[80];
        snprintf(what, sizeof what, "%.40s is no number from 0 to %u", text, most);
        return wrong(parts, "%s", what);
    }
    *number = (unsigned)value;
    return MILLPOND_OK;
}

/* HOST[:PORT][/DB], an IPv6 address in brackets. */
static int split_host(struct parts *parts, struct millpond_store_redis *options) {
    char *at = parts->place, *slash = strchr(at, '/'), *colon;
    int bad = MILLPOND_OK;
    if (slash) *slash++ = 0;
    if (*at == '[') {
        char *close_bracket = strchr(++at, ']');
        if (!close_bracket || (close_bracket[1] && close_bracket[1] != ':'))
            return wrong(parts, "%s", "an address in brackets is written [ADDRESS]:PORT");
        *close_bracket = 0;
        colon = close_bracket[1] ? close_bracket + 1 : NULL;
    } else {
        colon = strchr(at, ':');
        if (colon && strchr(colon + 1, ':')) return wrong(parts, "%s", "an IPv6 address is put in brackets: redis:[ADDRESS]:PORT");
    }
    if (colon) *colon++ = 0;
    options->host = at;
    if (!*at) return wrong(parts, "%s", "no host is named; write redis:HOST:PORT or redis:unix:PATH");
    if (colon) bad = number_of(parts, colon, 65535, &options->port);
    if (!bad && colon && options->port == 0) bad = wrong(parts, "%s", "a port is a number from 1 to 65535");
    if (!bad && slash && *slash) bad = number_of(parts, slash, 1000000, &options->database);
    return bad;
}

static int read_password(const struct parts *parts, const char *path, char *password) {
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    ssize_t got = fd < 0 ? -1 : read(fd, password, PASSWORD_BYTES);
    int number = errno;
    if (fd >= 0) close(fd);
    if (got < 0)
        return pond_error_say(MILLPOND_ERR_PERMISSION, parts->errmsg, parts->text, "%.80s: the password cannot be read: %s", path,
                              strerror(number));
    if (got == PASSWORD_BYTES) return wrong(parts, "%.80s: a password has 1023 bytes at the most", path);
    password[got] = 0;
    password[strcspn(password, "\r\n")] = 0;
    return *password ? MILLPOND_OK : wrong(parts, "%.80s: the first line is empty; write the password there", path);
}

static int open_redis(struct millpond_store *store, struct parts *parts) {
    char password[PASSWORD_BYTES + 1] = "";
    struct millpond_store_redis options = {0};
    int bad = MILLPOND_OK, by_path = strncmp(parts->place, "unix:", 5) == 0;
    if (strncmp(parts->place, "//", 2) == 0) return wrong(parts, "%s", "write redis:HOST:PORT/DB or redis:unix:PATH, without //");
    if (by_path) {
        options.unix_socket = parts->place + 5;
        if (!*options.unix_socket) return wrong(parts, "%s", "no socket is named; write redis:unix:PATH");
        const char *database = text_option(parts, "db", &bad);
        if (database && !bad) bad = number_of(parts, database, 1000000, &options.database);
    } else {
        bad = split_host(parts, &options);
    }
    options.user = text_option(parts, "user", &bad);
    options.prefix = text_option(parts, "prefix", &bad);
    const char *path = text_option(parts, "password_file", &bad);
    if (!bad) bad = all_used(parts, by_path ? "db, prefix, user and password_file" : "prefix, user and password_file");
    if (!bad && options.user && !path) bad = wrong(parts, "%s", "a user needs a password; give password_file");
    if (!bad && path) bad = read_password(parts, path, password);
    if (path) options.password = password;
    int result = bad ? bad : millpond_store_redis(store, &options, parts->errmsg);
    explicit_bzero(password, sizeof password);
    return result;
}
#endif

static const struct {
    const char *scheme;
    int (*open)(struct millpond_store *store, struct parts *parts); /* NULL: left out of this build */
} kinds[] = {
    {"dir:", open_dir},
#ifdef POND_STORES_SQLITE
    {"sqlite:", open_sqlite},
#else
    {"sqlite:", NULL},
#endif
#ifdef POND_STORES_REDIS
    {"redis:", open_redis},
#else
    {"redis:", NULL},
#endif
};

const char *millpond_stores_known(void) {
    return "dir:PATH"
#ifdef POND_STORES_SQLITE
           ", sqlite:FILE"
#endif
#ifdef POND_STORES_REDIS
           ", redis:HOST, redis:unix:PATH"
#endif
        ;
}

int millpond_store_open(struct millpond_store *store, const char *text, char *errmsg) {
    if (errmsg) errmsg[0] = 0;
    if (!store || !text) return pond_error_say(MILLPOND_ERR_ARGUMENT, errmsg, "millpond_store_open", "the store or the text is missing");
    struct parts parts = {.text = text, .errmsg = errmsg};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        size_t bytes = strlen(kinds[i].scheme);
        if (strncmp(text, kinds[i].scheme, bytes) != 0) continue;
        if (!kinds[i].open) return wrong(&parts, "this build has no such store; use %s", millpond_stores_known());
        int result = take_apart(&parts, text + bytes);
        if (result == MILLPOND_OK) result = kinds[i].open(store, &parts);
        free(parts.copy);
        return result;
    }
    if (strncmp(text, "rediss:", 7) == 0) return wrong(&parts, "%s", "there is no TLS here; use a unix socket or a TLS tunnel, and redis:");
    return wrong(&parts, "there is no such kind of store; use %s", millpond_stores_known());
}
