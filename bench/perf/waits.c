/* SPDX-License-Identifier: MIT */
/* waits.c: how long processes wait for each other: for a load that another one makes, for one whose leader is killed, and while a pond in
 * use is made larger or smaller.
 *
 *   millpond-waits [ITEMS [ROUNDS]]     default 200000 items of 24 + 100 bytes (for the resizes), 21 rounds
 *
 * Times are of the wall: they are made of the kernel's wake-ups, and on a busy machine of waiting for a processor. */
#include "host.h"
#include "report.h"

#include <millpond.h>

#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { CROWD = 8, ROUNDS_MAX = 1000, LOAD_MS = 140, KEY_BYTES = 24, VALUE_BYTES = 100, READERS = 2, CALLERS = 3 };

static struct {
    _Atomic uint64_t go, stop, leader, loads, loaded_ns; /* loaded_ns: when the last loader returned */
    _Atomic uint64_t served_ns[CROWD];
    _Atomic uint64_t longest_ns[CALLERS], calls[CALLERS]; /* readers, then a writer */
} * shared;
static const char *path;
static uint64_t items;

static struct millpond *open_pond(void) {
    struct millpond *pond;
    char errmsg[MILLPOND_ERRMSG_BYTES];
    if (millpond_open(&pond, path, NULL, errmsg) != MILLPOND_OK) host_fail("%s", errmsg);
    return pond;
}

static struct millpond *create_pond(uint64_t bytes) {
    struct millpond_options options = MILLPOND_OPTIONS_INIT;
    struct millpond *pond;
    char errmsg[MILLPOND_ERRMSG_BYTES];
    options.size_bytes = bytes;
    options.flags = MILLPOND_CREATE | MILLPOND_EXCLUSIVE;
    if (millpond_open(&pond, path, &options, errmsg) != MILLPOND_OK) host_fail("%s", errmsg);
    return pond;
}

static void row(const char *what, double *figures, size_t n) {
    double middle = median(figures, n), most = 0; /* sorts */
    for (size_t i = 0; i < n; i++) most = figures[i] > most ? figures[i] : most;
    printf("| %s | %.2f | %.2f |\n", what, middle, most);
}

/* ---- a crowd that wants one key ---- */

static int load_slowly(void *arg, const void *key, size_t key_bytes, struct millpond_load *load) {
    (void)arg, (void)key, (void)key_bytes;
    shared->leader = (uint64_t)getpid();
    shared->loads++;
    host_sleep_ns((uint64_t)LOAD_MS * 1000000);
    load->value = "loaded";
    load->value_bytes = 6;
    shared->loaded_ns = host_now_ns();
    return MILLPOND_OK;
}

static void want(unsigned number) {
    char value[16];
    struct millpond *pond = open_pond();
    while (!shared->go) host_sleep_ns(100000);
    if (millpond_fetch(pond, "wanted", 6, load_slowly, NULL, NULL, value, sizeof value, NULL, NULL) != MILLPOND_OK)
        host_fail("a fetch failed");
    shared->served_ns[number] = host_now_ns();
    millpond_close(pond);
    _exit(0);
}

static uint64_t waiting(struct millpond *pond) {
    struct millpond_stats stats;
    if (millpond_stats(pond, -1, &stats) != MILLPOND_OK) host_fail("no figures");
    return stats.flight_waits;
}

/* One round. kill_it: the leader, in the middle of its load. Answers milliseconds from the end of the load (from the kill) until the last
 * one had its value. */
static double crowd(int kill_it, uint64_t *loads) {
    pid_t children[CROWD];
    struct millpond *pond = create_pond(1 << 20);
    memset(shared, 0, sizeof *shared);
    for (unsigned i = 0; i < CROWD; i++)
        if ((children[i] = host_fork()) == 0) want(i);
    shared->go = 1;
    for (int i = 0; waiting(pond) < CROWD - 1 && i < 10000; i++) host_sleep_ns(1000000);
    uint64_t from = 0, last = 0;
    if (kill_it) {
        host_sleep_ns((uint64_t)LOAD_MS * 1000000 / 2);
        from = host_now_ns();
        kill((pid_t)shared->leader, SIGKILL);
    }
    for (unsigned i = 0; i < CROWD; i++) {
        bool late;
        int status = host_reap(children[i], UINT64_C(20) * 1000000000, &late);
        if (late || (status != 0 && !(kill_it && WIFSIGNALED(status)))) host_fail("one of the crowd failed");
        if (shared->served_ns[i] > last) last = shared->served_ns[i];
    }
    *loads += shared->loads;
    millpond_close(pond);
    unlink(path);
    return (double)(last - (kill_it ? from : shared->loaded_ns)) * 1e-6;
}

static void crowds(size_t rounds) {
    double ms[ROUNDS_MAX];
    uint64_t loads = 0, killed_loads = 0;
    for (size_t i = 0; i < rounds; i++) ms[i] = crowd(0, &loads);
    row("the slowest of 8 has its value after the load's end", ms, rounds);
    for (size_t i = 0; i < rounds; i++) ms[i] = crowd(1, &killed_loads);
    row("leader killed half-way: all have their value after the kill (a load of 140 ms is in it)", ms, rounds);
    printf("| loads in all %zu rounds: nobody killed %llu; leader killed %llu | | |\n", rounds, (unsigned long long)loads,
           (unsigned long long)killed_loads);
}

/* ---- a pond that is resized ---- */

static void spell(char key[KEY_BYTES + 1], uint64_t number) {
    memcpy(key, "waits:", 6);
    for (int i = KEY_BYTES - 1; i >= 6; i--, number /= 10) key[i] = (char)('0' + number % 10);
    key[KEY_BYTES] = 0;
}

/* Calls without a pause, and remembers the longest one. */
static void call_and_watch(unsigned number) {
    struct millpond *pond = open_pond();
    uint64_t seed = number + 1, longest = 0;
    char key[KEY_BYTES + 1], value[VALUE_BYTES] = "written";
    shared->calls[number] = 1;
    while (!shared->go) host_sleep_ns(100000);
    while (!shared->stop) {
        seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        spell(key, (seed >> 33) % items);
        uint64_t start = host_now_ns();
        int result = number < READERS ? millpond_get(pond, key, KEY_BYTES, value, sizeof value, NULL)
                                      : millpond_set(pond, key, KEY_BYTES, value, sizeof value, 0);
        uint64_t took = host_now_ns() - start;
        if (result != MILLPOND_OK) host_fail("a call answered: %s", millpond_strerror(result));
        if (took > longest) shared->longest_ns[number] = longest = took;
        shared->calls[number]++;
    }
    millpond_close(pond);
    _exit(0);
}

struct pauses {
    double resize, get, set;
};

/* `bytes` 0: nothing happens, for as long as `idle_ms`. */
static struct pauses watch(struct millpond *pond, uint64_t bytes, double idle_ms) {
    pid_t children[CALLERS];
    char errmsg[MILLPOND_ERRMSG_BYTES];
    struct pauses pauses = {0};
    memset(shared, 0, sizeof *shared);
    for (unsigned i = 0; i < CALLERS; i++)
        if ((children[i] = host_fork()) == 0) call_and_watch(i);
    for (unsigned i = 0; i < CALLERS; i++)
        while (!shared->calls[i]) host_sleep_ns(100000);
    shared->go = 1;
    host_sleep_ns(20000000);
    uint64_t start = host_now_ns();
    if (bytes == 0) host_sleep_ns((uint64_t)(idle_ms * 1e6));
    if (bytes && millpond_resize(pond, bytes, errmsg) != MILLPOND_OK) host_fail("%s", errmsg);
    pauses.resize = (double)(host_now_ns() - start) * 1e-6;
    host_sleep_ns(20000000);
    shared->stop = 1;
    for (unsigned i = 0; i < CALLERS; i++) {
        bool late;
        if (host_reap(children[i], UINT64_C(20) * 1000000000, &late) != 0 || late) host_fail("a caller failed");
        double ms = (double)shared->longest_ns[i] * 1e-6, *most = i < READERS ? &pauses.get : &pauses.set;
        *most = ms > *most ? ms : *most;
    }
    return pauses;
}

static void resizes(size_t rounds) {
    static const char *const names[3][3] = {
        {"no resize: time watched", "no resize: longest get of 2 readers", "no resize: longest set of a writer"},
        {"twice as large: the resize", "twice as large: longest get", "twice as large: longest set"},
        {"half as large: the resize", "half as large: longest get", "half as large: longest set"}};
    double ms[3][3][ROUNDS_MAX];
    uint64_t bytes = items * 220 + (4 << 20);
    char key[KEY_BYTES + 1], value[VALUE_BYTES] = "value";
    struct millpond *pond = create_pond(bytes);
    for (uint64_t i = 0; i < items; i++) {
        spell(key, i);
        if (millpond_set(pond, key, KEY_BYTES, value, sizeof value, 0) != MILLPOND_OK) host_fail("loading failed");
    }
    for (size_t i = 0; i < rounds; i++) {
        struct pauses larger = watch(pond, bytes * 2, 0), smaller = watch(pond, bytes, 0), none = watch(pond, 0, larger.resize);
        const struct pauses *all[3] = {&none, &larger, &smaller};
        for (int k = 0; k < 3; k++) {
            ms[k][0][i] = all[k]->resize;
            ms[k][1][i] = all[k]->get;
            ms[k][2][i] = all[k]->set;
        }
    }
    for (int k = 0; k < 3; k++)
        for (int j = 0; j < 3; j++) row(names[k][j], ms[k][j], rounds);
    millpond_close(pond);
}

int main(int argc, char **argv) {
    char file[HOST_PATH_BYTES];
    uint64_t rounds = argc > 2 ? strtoull(argv[2], NULL, 10) : 21;
    items = argc > 1 ? strtoull(argv[1], NULL, 10) : 200000;
    if (argc > 3 || items < 1000 || items > 100000000 || rounds < 1 || rounds > ROUNDS_MAX) {
        fprintf(stderr, "usage: millpond-waits [ITEMS [ROUNDS]], 1000 to 100000000, 1 to %d\n", ROUNDS_MAX);
        return 2;
    }
    snprintf(file, sizeof file, "%s/waits.pond", host_scratch(items * 700 + (16 << 20)));
    path = file;
    shared = host_shared(sizeof *shared);
    printf("| what | median ms | most |\n|---|---|---|\n");
    crowds(rounds);
    resizes(rounds);
    return 0;
}
