/* SPDX-License-Identifier: MIT */
/* Stores by a text: what it says, and what is told about mistakes. */

#include "contract.h"

#include <millpond_stores.h>

#include <stdio.h>
#include <stdlib.h>

static struct millpond_store open_text(const char *text) {
    struct millpond_store store;
    char errmsg[MILLPOND_ERRMSG_BYTES];
    REQUIRE(millpond_store_open(&store, text, errmsg) == MILLPOND_OK, "%s", errmsg);
    return store;
}

static void refuse(const char *text, const char *part) {
    struct millpond_store store;
    char errmsg[MILLPOND_ERRMSG_BYTES];
    int result = millpond_store_open(&store, text, errmsg);
    REQUIRE(result < 0 && strstr(errmsg, part), "%s: %d: '%s' does not say '%s'", text, result, errmsg, part);
    REQUIRE(millpond_store_open(&store, text, NULL) == result, "%s: without a place for the sentence", text);
}

static int has(const char *kind) { return strstr(millpond_stores_known(), kind) != NULL; }

static int a_directory(void *arg) {
    (void)arg;
    char text[600];
    snprintf(text, sizeof text, "dir:%s?create&durable", support_path("odd%%3Fname"));
    struct millpond_store store = open_text(text);
    REQUIRE(contract_put(&store, "a/b", "x") == MILLPOND_OK, "%s", contract_said);
    store.close(store.state);
    size_t bytes;
    free(support_read_file(support_path("odd?name/a/b"), &bytes));
    REQUIRE(bytes == 1, "%zu", bytes);
    snprintf(text, sizeof text, "dir:%s?layout=flat", support_path("odd%%3Fname"));
    store = open_text(text);
    REQUIRE(contract_put(&store, "a/b", "y") == MILLPOND_OK, "%s", contract_said);
    store.close(store.state);
    free(support_read_file(support_path("odd?name/a%%2Fb"), &bytes));
    return 0;
}

static int a_table(void *arg) {
    (void)arg;
    char text[600];
    if (!has("sqlite:")) return support_skip("this build has no sqlite store");
    snprintf(text, sizeof text, "sqlite:%s?table=a%%26b&key=k&value=v&create", support_path("db"));
    struct millpond_store store = open_text(text);
    contract_model(&store);
    store.close(store.state);
    snprintf(text, sizeof text, "sqlite:%s?table=a%%26b&key=k&value=v&readonly", support_path("db"));
    store = open_text(text);
    REQUIRE(contract_put(&store, "a", "b") == MILLPOND_ERR_PERMISSION, "%s", contract_said);
    store.close(store.state);
    return 0;
}

static int a_server(void *arg) {
    (void)arg;
    static const struct {
        const char *text, *name;
    } good[] = {{"redis:unix:/nowhere/sock", "redis:unix:/nowhere/sock"},
                {"redis:unix:/nowhere/sock?db=3&prefix=p", "redis:unix:/nowhere/sock"},
                {"redis:127.0.0.1", "redis:127.0.0.1:6379"},
                {"redis:127.0.0.1:1/7", "redis:127.0.0.1:1"},
                {"redis:127.0.0.1/7?prefix=a%3F", "redis:127.0.0.1:6379"},
                {"redis:[::1]:99/1", "redis:::1:99"}};
    if (!has("redis:")) return support_skip("this build has no redis store");
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        struct millpond_store store = open_text(good[i].text);
        REQUIRE(strcmp(store.name, good[i].name) == 0, "%s is %s", good[i].text, store.name);
        store.close(store.state);
    }
    return 0;
}

static int mistakes_are_told(void *arg) {
    (void)arg;
    char text[600];
    refuse("", "no such kind");
    refuse("ftp:host", "dir:PATH");
    refuse("/srv/data", "no such kind");
    refuse("dir:", "name the place");
    refuse("dir:?create", "name the place");
    refuse("dir:/nowhere/at/all", "no such directory");
    refuse("dir:/tmp?layout=round", "tree or flat");
    refuse("dir:/tmp?layout", "needs a value");
    refuse("dir:/tmp?durable=yes", "takes no value");
    refuse("dir:/tmp?table=t", "there is no option table");
    refuse("dir:/tmp?durable&durable", "twice");
    refuse("dir:/tmp?a&b&c&d&e&f&g&h&i", "more options");
    refuse("dir:/tmp/%zz", "%25");
    refuse("dir:/tmp/%00", "byte 0");
    refuse("dir:/tmp/%2", "%25");
    refuse("rediss:host", "TLS");
    if (has("sqlite:")) {
        refuse("sqlite:/nowhere/db", "no such database");
        refuse("sqlite:/nowhere/db?tabel=t", "there is no option tabel");
        refuse("sqlite:/nowhere/db?table=", "needs a value");
        refuse("sqlite:/nowhere/db?create&readonly", "not both");
    }
    if (!has("redis:")) return 0;
    refuse("redis://host", "without //");
    refuse("redis:unix:", "no socket is named");
    refuse("redis:host:0", "1 to 65535");
    refuse("redis:host:65536", "no number");
    refuse("redis:host:12x", "no number");
    refuse("redis:host/-1", "no number");
    refuse("redis:host/9999999", "no number");
    refuse("redis:::1", "brackets");
    refuse("redis:[::1", "brackets");
    refuse("redis::6379", "no host");
    refuse("redis:127.0.0.1?db=3", "there is no option db");
    refuse("redis:127.0.0.1?user=u", "password_file");
    refuse("redis:127.0.0.1?password_file=/nowhere/file", "cannot be read");
    REQUIRE(support_write_file(support_path("empty"), "\nsecond", 7), "file");
    snprintf(text, sizeof text, "redis:127.0.0.1?password_file=%s", support_path("empty"));
    refuse(text, "first line is empty");
    return 0;
}

int main(int argc, char **argv) {
    static const struct support_case cases[] = {
        {"a directory", a_directory, 30000},
        {"a table", a_table, 60000},
        {"a server", a_server, 30000},
        {"mistakes are told", mistakes_are_told, 60000},
    };
    return support_run_cases(argc, argv, cases, sizeof cases / sizeof *cases);
}
