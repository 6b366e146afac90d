/* SPDX-License-Identifier: MIT */
/* The store in front of Redis: connections and forks as the server sees them, servers that are killed, stopped, or none. */

#include "contract.h"
#include "server.h"

#include <millpond_store_redis.h>

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static struct server server;

static struct millpond_store make(struct millpond_store_redis options) {
    struct millpond_store store;
    char errmsg[MILLPOND_ERRMSG_BYTES];
    REQUIRE(millpond_store_redis(&store, &options, errmsg) == MILLPOND_OK, "%s", errmsg);
    return store;
}

static struct millpond_store by_socket(void) { return make((struct millpond_store_redis){.unix_socket = server.socket}); }

static int get(const struct millpond_store *store) {
    void *value = NULL;
    size_t bytes;
    int result = contract_load(store, "key", 3, &value, &bytes);
    if (result == MILLPOND_OK) REQUIRE(bytes == 5 && memcmp(value, "value", 5) == 0, "another value");
    free(value);
    return result;
}

static int keeps_the_contract(void *arg) {
    (void)arg;
    server_start(&server, NULL);
    struct millpond_store store = by_socket();
    contract_values(&store, 65535);
    contract_model(&store);
    contract_list(&store);
    contract_threads(&store);
    contract_forks(&store);
    contract_late(&store);
    store.close(store.state);
    store = make((struct millpond_store_redis){.host = "127.0.0.1", .port = server.port, .database = 3, .prefix = "a*[b]?\\:"});
    contract_values(&store, 4096);
    contract_list(&store);
    contract_forks(&store);
    struct millpond_store other =
        make((struct millpond_store_redis){.host = "localhost", .port = server.port, .database = 3, .prefix = "aa[b]?\\:"});
    REQUIRE(contract_count(&other) == 0, "keys of another prefix are shown");
    other.close(other.state);
    store.close(store.state);
    server_kill(&server);
    return 0;
}

static int many_keys_come_in_one_go(void *arg) {
    (void)arg;
    enum { KEYS = 700 };
    static struct millpond_store_item items[KEYS];
    static char keys[KEYS][16];
    char said[MILLPOND_ERRMSG_BYTES], answer[65536];
    server_start(&server, NULL);
    struct millpond_store store = by_socket();
    for (unsigned i = 0; i < KEYS; i++) {
        items[i].key_bytes = (size_t)snprintf(keys[i], sizeof keys[i], "many %u", i);
        items[i].key = keys[i];
        if (i % 3) REQUIRE(contract_put(&store, keys[i], keys[i]) == MILLPOND_OK, "%s", contract_said);
    }
    server_ask(&server, answer, sizeof answer, "LPUSH", "many 0", "no string");
    struct millpond_store_call call = {support_now_ns() + UINT64_C(20000000000), said};
    REQUIRE(store.load_many(store.state, items, KEYS, &call) == MILLPOND_OK, "%s", said);
    for (unsigned i = 0; i < KEYS; i++) {
        int wanted = i == 0 ? MILLPOND_ERR_NOT_REGULAR : i % 3 ? MILLPOND_OK : MILLPOND_MISS;
        REQUIRE(items[i].result == wanted, "key %u: %d", i, items[i].result);
        if (i % 3)
            REQUIRE(items[i].value_bytes == items[i].key_bytes && memcmp(items[i].value, keys[i], items[i].key_bytes) == 0, "key %u", i);
        if (i % 3) free(items[i].value);
    }
    store.close(store.state);
    server_kill(&server);
    return 0;
}

static int times_to_live_go_both_ways(void *arg) {
    (void)arg;
    char said[MILLPOND_ERRMSG_BYTES];
    server_start(&server, NULL);
    struct millpond_store store = by_socket();
    struct millpond_store_call call = {support_now_ns() + UINT64_C(20000000000), said};
    struct millpond_store_item item = {.key = "key", .key_bytes = 3};
    REQUIRE(store.store(store.state, "key", 3, "value", 5, 3600000, &call) == MILLPOND_OK, "%s", said);
    REQUIRE(store.load(store.state, &item, &call) == MILLPOND_OK, "%s", said);
    REQUIRE(item.ttl_ms > 3000000 && item.ttl_ms <= 3600000, "%llu", (unsigned long long)item.ttl_ms);
    free(item.value);
    REQUIRE(store.store(store.state, "key", 3, "value", 5, 0, &call) == MILLPOND_OK, "%s", said);
    REQUIRE(store.load(store.state, &item, &call) == MILLPOND_OK && item.ttl_ms == 0, "%llu", (unsigned long long)item.ttl_ms);
    free(item.value);
    REQUIRE(store.store(store.state, "key", 3, "value", 5, 1, &call) == MILLPOND_OK, "%s", said);
    support_sleep_ms(20);
    REQUIRE(get(&store) == MILLPOND_MISS, "it has expired");
    store.close(store.state);
    server_kill(&server);
    return 0;
}

/* ---- forks, as the server sees them ---- */

static unsigned own_sockets(void) {
    unsigned count = 0;
    for (int fd = 0; fd < 100; fd++) {
        struct sockaddr_un peer;
        socklen_t bytes = sizeof peer;
        if (getpeername(fd, (struct sockaddr *)&peer, &bytes) == 0 && peer.sun_family == AF_UNIX) count++;
    }
    return count;
}

static int use_in_child(void *arg) {
    const struct millpond_store *store = arg;
    REQUIRE(own_sockets() == 0, "the parent's socket is open in the child");
    REQUIRE(get(store) == MILLPOND_OK, "%s", contract_said);
    REQUIRE(own_sockets() == 1, "%u", own_sockets());
    REQUIRE(server_clients(&server) == 2, "%u connections, not the parent's and the child's", server_clients(&server));
    store->close(store->state);
    REQUIRE(server_clients(&server) == 1, "the child's close took %u", 2 - server_clients(&server));
    return 0;
}

static int each_process_has_one_connection(void *arg) {
    (void)arg;
    server_start(&server, NULL);
    struct millpond_store store = by_socket();
    REQUIRE(server_clients(&server) == 0, "connected before the first call");
    REQUIRE(contract_put(&store, "key", "value") == MILLPOND_OK, "%s", contract_said);
    REQUIRE(server_clients(&server) == 1, "%u", server_clients(&server));
    for (unsigned i = 0; i < 5; i++) {
        REQUIRE(support_run_child(use_in_child, &store, 20000) == 0, "child %u", i);
        REQUIRE(get(&store) == MILLPOND_OK, "the parent, after child %u: %s", i, contract_said);
        REQUIRE(server_clients(&server) == 1, "%u", server_clients(&server));
    }
    store.close(store.state);
    REQUIRE(server_clients(&server) == 0, "%u", server_clients(&server));
    server_kill(&server);
    return 0;
}

/* A thread that is in the middle of a call while another one forks. */
static _Atomic bool enough;
static void *ask_all_the_time(void *arg) {
    char said[MILLPOND_ERRMSG_BYTES];
    const struct millpond_store *store = arg;
    while (!enough) {
        struct millpond_store_call call = {support_now_ns() + UINT64_C(20000000000), said};
        struct millpond_store_item item = {.key = "key", .key_bytes = 3};
        REQUIRE(store->load(store->state, &item, &call) == MILLPOND_OK, "%s", said);
        REQUIRE(item.value_bytes == 5 && memcmp(item.value, "value", 5) == 0, "another's answer");
        free(item.value);
    }
    return NULL;
}

static int ask_in_child(void *arg) {
    for (unsigned i = 0; i < 20; i++) REQUIRE(get(arg) == MILLPOND_OK, "%s", contract_said);
    return 0;
}

static int forks_while_threads_ask(void *arg) {
    (void)arg;
    pthread_t threads[2];
    server_start(&server, NULL);
    struct millpond_store store = by_socket();
    REQUIRE(contract_put(&store, "key", "value") == MILLPOND_OK, "%s", contract_said);
    for (unsigned i = 0; i < 2; i++) REQUIRE(pthread_create(&threads[i], NULL, ask_all_the_time, &store) == 0, "thread");
    for (unsigned i = 0; i < 50; i++) REQUIRE(support_run_child(ask_in_child, &store, 20000) == 0, "child %u", i);
    enough = true;
    for (unsigned i = 0; i < 2; i++) pthread_join(threads[i], NULL);
    store.close(store.state);
    server_kill(&server);
    return 0;
}

static int a_child_without_fork_handlers_is_refused(void *arg) {
    (void)arg;
    server_start(&server, NULL);
    struct millpond_store store = by_socket();
    contract_bare_child(&store);
    REQUIRE(get(&store) == MILLPOND_OK, "%s", contract_said);
    store.close(store.state);
    server_kill(&server);
    return 0;
}

/* ---- servers in trouble ---- */

static int a_server_that_comes_back_is_used_again(void *arg) {
    (void)arg;
    server_start(&server, NULL);
    struct millpond_store store = by_socket();
    for (unsigned i = 0; i < 5; i++) {
        REQUIRE(contract_put(&store, "key", "value") == MILLPOND_OK && get(&store) == MILLPOND_OK, "%s", contract_said);
        server_kill(&server);
        contract_require_error(&store, get(&store), MILLPOND_ERR_STORE_DOWN, "server");
        contract_require_error(&store, contract_put(&store, "key", "value"), MILLPOND_ERR_STORE_DOWN, "connection");
        contract_require_error(&store, contract_erase(&store, "key", 3), MILLPOND_ERR_STORE_DOWN, "connection");
        server_start(&server, NULL);
        unsigned tries = 0;
        while (get(&store) == MILLPOND_ERR_STORE_DOWN && tries++ < 3000) support_sleep_ms(1); /* the pause is a second at the most */
        REQUIRE(get(&store) == MILLPOND_MISS, "%s", contract_said);
    }
    /* Restarted while nobody looked: the first call finds out and connects again. */
    REQUIRE(contract_put(&store, "key", "value") == MILLPOND_OK, "%s", contract_said);
    server_kill(&server);
    server_start(&server, NULL);
    REQUIRE(contract_put(&store, "key", "value") == MILLPOND_OK && get(&store) == MILLPOND_OK, "%s", contract_said);
    store.close(store.state);
    server_kill(&server);
    return 0;
}

static int attempts_have_pauses(void *arg) {
    (void)arg;
    server_start(&server, NULL);
    server_kill(&server);
    int port = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%s", server.socket);
    unlink(server.socket);
    REQUIRE(bind(port, (struct sockaddr *)&address, sizeof address) == 0 && listen(port, 64) == 0, "%s", strerror(errno));
    struct millpond_store store = by_socket();
    close(port); /* nobody listens */
    contract_require_error(&store, get(&store), MILLPOND_ERR_STORE_DOWN, "refused");
    unsigned pauses = 0, attempts = 1, calls = 0;
    for (; attempts < 6; calls++) { /* 10 ms, 20, 40, 80, 160, less up to a half */
        REQUIRE(get(&store) == MILLPOND_ERR_STORE_DOWN, "%s", contract_said);
        if (strstr(contract_said, "tried again"))
            pauses++;
        else
            attempts++;
        support_sleep_us(500);
    }
    REQUIRE(pauses > 10 * attempts, "%u calls did not try, %u did", pauses, attempts);
    store.close(store.state);
    return 0;
}

static int a_stopped_server_costs_the_deadline(void *arg) {
    (void)arg;
    server_start(&server, NULL);
    struct millpond_store store = by_socket();
    REQUIRE(contract_put(&store, "key", "value") == MILLPOND_OK, "%s", contract_said);
    support_stop(server.pid);
    contract_ms = 100;
    uint64_t start = support_now_ns();
    contract_require_error(&store, get(&store), MILLPOND_ERR_STORE_TIMEOUT, "deadline");
    contract_require_error(&store, contract_put(&store, "key", "wrong"), MILLPOND_ERR_STORE_TIMEOUT, "deadline");
    REQUIRE(support_now_ns() - start < UINT64_C(10000000000), "it hung");
    char *large = calloc(1, 8 << 20); /* more than the socket takes */
    REQUIRE(large, "no memory");
    contract_require_error(&store, contract_store(&store, "large", 5, large, 8 << 20), MILLPOND_ERR_STORE_TIMEOUT, "deadline");
    free(large);
    contract_ms = 20000;
    REQUIRE(kill(server.pid, SIGCONT) == 0, "%s", strerror(errno));
    REQUIRE(contract_put(&store, "key", "value") == MILLPOND_OK, "%s", contract_said);
    for (unsigned i = 0; i < 20; i++) REQUIRE(get(&store) == MILLPOND_OK, "the answer is that of another call: %s", contract_said);
    store.close(store.state);
    server_kill(&server);
    return 0;
}

static int errors_of_the_server_are_told(void *arg) {
    (void)arg;
    static const char *const more[] = {"--requirepass", "secret", "--maxmemory", "3mb", "--maxmemory-policy", "noeviction", NULL};
    server_start(&server, more);
    struct millpond_store store = by_socket();
    contract_require_error(&store, get(&store), MILLPOND_ERR_PERMISSION, "NOAUTH");
    store.close(store.state);
    store = make((struct millpond_store_redis){.unix_socket = server.socket, .password = "wrong"});
    contract_require_error(&store, get(&store), MILLPOND_ERR_PERMISSION, "WRONGPASS");
    store.close(store.state);
    store = make((struct millpond_store_redis){.unix_socket = server.socket, .user = "default", .password = "secret", .database = 999});
    contract_require_error(&store, get(&store), MILLPOND_ERR_STORE, "DB index");
    store.close(store.state);
    store = make((struct millpond_store_redis){.unix_socket = server.socket, .user = "default", .password = "secret"});
    REQUIRE(contract_put(&store, "key", "value") == MILLPOND_OK && get(&store) == MILLPOND_OK, "%s", contract_said);
    char *large = calloc(1, 4 << 20);
    REQUIRE(large, "no memory");
    int result = MILLPOND_OK;
    for (unsigned i = 0; i < 4 && result == MILLPOND_OK; i++) result = contract_store(&store, &"abcd"[i], 1, large, 4 << 20);
    contract_require_error(&store, result, MILLPOND_ERR_NO_SPACE, "OOM");
    free(large);
    REQUIRE(get(&store) == MILLPOND_OK, "the connection goes on: %s", contract_said);
    store.close(store.state);
    server_kill(&server);
    return 0;
}

/* Something that is not Redis answers each connection with these bytes. */
static pid_t impostor(const char *bytes, size_t count) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    server.socket = support_path("redis.sock");
    snprintf(address.sun_path, sizeof address.sun_path, "%s", server.socket);
    unlink(server.socket);
    int port = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    REQUIRE(bind(port, (struct sockaddr *)&address, sizeof address) == 0 && listen(port, 16) == 0, "%s", strerror(errno));
    pid_t pid = fork();
    REQUIRE(pid >= 0, "fork");
    while (pid == 0) {
        char asked[4096];
        int fd = accept(port, NULL, NULL);
        if (fd < 0 || read(fd, asked, sizeof asked) < 0) _exit(0);
        for (size_t i = 0; i < count && send(fd, bytes + i, 1, MSG_NOSIGNAL) == 1; i++) support_sleep_us(500);
        if (read(fd, asked, sizeof asked) < 0) _exit(0);
        close(fd);
    }
    close(port);
    return pid;
}

static int what_is_not_redis_is_told(void *arg) {
    (void)arg;
    static const struct {
        const char *bytes;
        int result;
    } answers[] = {{"HTTP/1.1 400 Bad Request\r\n\r\n", MILLPOND_ERR_STORE},
                   {"*2\r\n$1\r\na\r\n$1\r\nb\r\n:1\r\n", MILLPOND_ERR_STORE},
                   {"$-5\r\n", MILLPOND_ERR_STORE},
                   {"$99999999999999999999\r\n", MILLPOND_ERR_STORE},
                   {":1\r\n:1\r\n", MILLPOND_ERR_STORE},
                   {"$5\r\nval", MILLPOND_ERR_STORE_TIMEOUT},
                   {"$5\r\nvalue\r\n", MILLPOND_ERR_STORE_TIMEOUT},
                   {"", MILLPOND_ERR_STORE_TIMEOUT}};
    for (size_t i = 0; i < sizeof answers / sizeof *answers; i++) {
        pid_t pid = impostor(answers[i].bytes, strlen(answers[i].bytes));
        struct millpond_store store = by_socket();
        contract_ms = 300;
        int result = get(&store);
        REQUIRE(result == answers[i].result, "'%s': %d, %s", answers[i].bytes, result, contract_said);
        store.close(store.state);
        support_kill(pid);
    }
    /* A server that trickles is not waited for longer than the deadline. */
    static char slow[8000] = "$100000000\r\n";
    memset(slow + 12, 'x', sizeof slow - 12);
    pid_t pid = impostor(slow, sizeof slow);
    struct millpond_store store = by_socket();
    contract_ms = 200;
    uint64_t start = support_now_ns();
    REQUIRE(get(&store) == MILLPOND_ERR_STORE_TIMEOUT, "%s", contract_said);
    REQUIRE(support_now_ns() - start < UINT64_C(2500000000), "%llu ms", (unsigned long long)(support_now_ns() - start) / 1000000);
    store.close(store.state);
    support_kill(pid);
    return 0;
}

static int wrong_options_are_told(void *arg) {
    (void)arg;
    struct millpond_store store;
    char errmsg[MILLPOND_ERRMSG_BYTES], path[200];
    memset(path, 'x', sizeof path - 1);
    path[sizeof path - 1] = 0;
    const struct millpond_store_redis wrong[] = {{0},
                                                 {.host = "a", .unix_socket = "b"},
                                                 {.host = "127.0.0.1", .port = 70000},
                                                 {.host = "127.0.0.1", .user = "u"},
                                                 {.unix_socket = path}};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        REQUIRE(millpond_store_redis(&store, &wrong[i], errmsg) == MILLPOND_ERR_ARGUMENT && *errmsg, "options %zu: %s", i, errmsg);
    }
    struct millpond_store_redis nowhere = {.host = "127.0.0.1", .port = 1};
    store = make(nowhere);
    contract_require_error(&store, get(&store), MILLPOND_ERR_STORE_DOWN, "server");
    store.close(store.state);
    return 0;
}

int main(int argc, char **argv) {
    static const struct support_case cases[] = {
        {"any key and value, threads, forks, by socket and by port", keeps_the_contract, 180000},
        {"many keys come in one go", many_keys_come_in_one_go, 60000},
        {"times to live go both ways", times_to_live_go_both_ways, 60000},
        {"each process has one connection", each_process_has_one_connection, 60000},
        {"forks while threads ask", forks_while_threads_ask, 60000},
        {"a child without fork handlers is refused", a_child_without_fork_handlers_is_refused, 60000},
        {"a server that comes back is used again", a_server_that_comes_back_is_used_again, 60000},
        {"a server that is not there is not tried all the time", attempts_have_pauses, 60000},
        {"a stopped server costs the deadline", a_stopped_server_costs_the_deadline, 60000},
        {"errors of the server are told", errors_of_the_server_are_told, 60000},
        {"what is not Redis is told", what_is_not_redis_is_told, 60000},
        {"wrong options are told", wrong_options_are_told, 60000},
    };
    if (!server_is_there()) {
        fprintf(stderr, "skipped: redis-server is not installed\n");
        return SUPPORT_SKIPPED;
    }
    return support_run_cases(argc, argv, cases, sizeof cases / sizeof *cases);
}
