/* SPDX-License-Identifier: MIT */
/* A load whose leader dies, and a resize: one of those who wait is stopped at the moment at which he is given the dead one's mutex, before
 * he looks what became of the load. Meanwhile another file takes the place of this one. Nobody may then take him for the leader: whoever
 * comes to the new file loads at once, and he himself finds the value there, or loads it.
 *
 *     crash_carry [--long]   long: 50 times */

#include "crash.h"

#include <signal.h>
#include <string.h>
#include <unistd.h>

static struct shared { uint64_t loading; /* process that is in the loader that never returns */ } * shared;
static const char *path;

_Noreturn static int never(void *arg, const void *key, size_t key_bytes, struct millpond_load *load) {
    (void)arg, (void)key, (void)key_bytes, (void)load;
    __atomic_store_n(&shared->loading, (uint64_t)getpid(), __ATOMIC_RELEASE);
    for (;;) pause();
}

static int at_once(void *arg, const void *key, size_t key_bytes, struct millpond_load *load) {
    (void)key, (void)key_bytes;
    load->value = arg;
    load->value_bytes = strlen(arg);
    return MILLPOND_OK;
}

static int fetch(struct millpond *pond, millpond_loader loader, char *with, struct millpond_fetched *how, char text[16]) {
    struct millpond_fetch options = {.wait_ms = CRASH_DEADLINE_MS / 4, .load_max_ms = 10 * CRASH_DEADLINE_MS};
    size_t bytes = 0;
    int result = millpond_fetch(pond, "key", 3, loader, with, &options, text, 15, &bytes, how);
    text[result == MILLPOND_OK ? bytes : 0] = 0;
    return result;
}

static int lead(void *arg) {
    struct millpond_fetched how;
    char text[16];
    (void)arg;
    fetch(support_open(path, NULL), never, NULL, &how, text);
    return 1;
}

static int wait_for_it(void *arg) {
    static char mine[] = "the waiter's";
    struct millpond *pond = support_open(path, NULL);
    struct millpond_fetched how;
    char text[16];
    crash_at(crash_name_number("flight.woken"), 1, SIGSTOP);
    int result = fetch(pond, at_once, mine, &how, text);
    CHECK(result == MILLPOND_OK, "who waited is told %s", millpond_strerror(result));
    CHECK(strcmp(text, arg ? arg : mine) == 0, "who waited has \"%s\"", text);
    millpond_close(pond);
    return 0;
}

static uint64_t waits(struct millpond *pond) {
    struct millpond_stats stats;
    CHECK(millpond_stats(pond, -1, &stats) == MILLPOND_OK, "statistics");
    return stats.flight_waits;
}

/* arg: what a newcomer loads before the one who waited goes on, or NULL. */
static int one_round(void *arg) {
    struct millpond *pond = support_open(path, NULL);
    char errmsg[MILLPOND_ERRMSG_BYTES], text[16];
    struct millpond_fetched how;
    uint64_t before = waits(pond);
    shared->loading = 0;
    CHECK(millpond_clear(pond) == MILLPOND_OK, "clear");
    pid_t leader = support_fork(lead, NULL);
    for (unsigned ms = 0; __atomic_load_n(&shared->loading, __ATOMIC_ACQUIRE) == 0; ms++) {
        CHECK(ms < CRASH_DEADLINE_MS, "nobody loads");
        support_sleep_ms(1);
    }
    pid_t waiter = support_fork(wait_for_it, arg);
    for (unsigned ms = 0; waits(pond) == before; ms++) {
        CHECK(ms < CRASH_DEADLINE_MS, "nobody waits");
        support_sleep_ms(1);
    }
    support_kill(leader);
    crash_await_stop(waiter, "who waits");
    CHECK(millpond_resize(pond, 8 << 20, errmsg) == MILLPOND_OK, "%s", errmsg);
    if (arg) {
        int result = fetch(pond, at_once, arg, &how, text);
        CHECK(result == MILLPOND_OK && how.how == MILLPOND_HOW_LOADED, "a newcomer: %s, %d", millpond_strerror(result), (int)how.how);
    }
    CHECK(kill(waiter, SIGCONT) == 0, "SIGCONT");
    crash_expect(waiter, 0, "who waited");
    millpond_close(pond);
    return 0;
}

static int create(void *arg) {
    (void)arg;
    millpond_close(support_create(path, 4 << 20));
    return 0;
}

int main(int argc, char **argv) {
    static char newcomers[] = "a newcomer's";
    unsigned rounds = crash_long(argc, argv) ? 50 : 2;
    crash_begin("crash_carry");
    shared = support_share(sizeof *shared);
    path = support_path("carry.pond");
    crash_run(create, NULL, "who creates it");
    for (unsigned i = 0; i < rounds; i++) {
        crash_trying("round %u: %s", i, i % 2 ? "a newcomer" : "alone");
        crash_run(one_round, i % 2 ? newcomers : NULL, "a round");
    }
    return crash_end();
}
