/* SPDX-License-Identifier: MIT */
/* A signal handler that calls into the pond, which it should not: a write that interrupted another write of the same thread is refused
 * with MILLPOND_ERR_REENTERED and changes nothing, instead of waiting for itself; and signals harm no call that they interrupt. */

#include "support.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/time.h>

static struct millpond *pond;
static const char *path;
static volatile uint64_t stored, refused, other, handled;

static void write_in_handler(int number) {
    (void)number;
    int result = millpond_set(pond, "handler", 7, "value", 5, 0);
    handled++;
    if (result == MILLPOND_OK)
        stored++;
    else if (result == MILLPOND_ERR_REENTERED)
        refused++;
    else
        other++;
}

static void count_in_handler(int number) {
    (void)number;
    handled++;
}

static void ring(void (*handler)(int), unsigned every_us) {
    struct sigaction action = {.sa_handler = handler, .sa_flags = SA_RESTART};
    struct itimerval timer = {{0, (suseconds_t)every_us}, {0, (suseconds_t)every_us}};
    REQUIRE(sigaction(SIGALRM, &action, NULL) == 0 && setitimer(ITIMER_REAL, &timer, NULL) == 0, "the timer");
}

static void silence(void) {
    struct itimerval none = {{0, 0}, {0, 0}};
    setitimer(ITIMER_REAL, &none, NULL);
}

/* Writes and verifies for some seconds. Returns how often. */
static uint64_t work(double seconds) {
    uint64_t end = support_now_ns() + (uint64_t)(seconds * 1e9), turns = 0;
    struct support_random random = {7};
    while (support_now_ns() < end) {
        char key[SUPPORT_KEY_BYTES + 1];
        unsigned char value[3000];
        uint64_t k = support_below(&random, 100), sequence = 0;
        size_t bytes = support_log_size(&random, SUPPORT_VALUE_BYTES_MIN, sizeof value);
        support_key(key, k);
        turns++;
        support_value_write(value, bytes, k, turns);
        int result = millpond_set(pond, key, SUPPORT_KEY_BYTES, value, bytes, 0);
        REQUIRE(result == MILLPOND_OK, "an interrupted set: %d", result);
        result = millpond_get(pond, key, SUPPORT_KEY_BYTES, value, sizeof value, &bytes);
        REQUIRE(result == MILLPOND_OK, "an interrupted get: %d", result);
        const char *wrong = support_value_read(value, bytes, k, &sequence);
        REQUIRE(!wrong && sequence == turns, "key %llu: %s", (unsigned long long)k, wrong ? wrong : "not what was just stored");
    }
    return turns;
}

static int writing_handler(void *arg) {
    (void)arg;
    path = support_path("handler.pond");
    pond = support_create(path, 4 << 20);
    work(0.05); /* nothing is allocated in a handler when this thread has its reader slot */
    ring(write_in_handler, 100);
    uint64_t turns = work(2);
    silence();
    printf("  %llu signals during %llu turns: %llu stored, %llu refused\n", (unsigned long long)handled, (unsigned long long)turns,
           (unsigned long long)stored, (unsigned long long)refused);
    REQUIRE(other == 0, "%llu writes in the handler answered something else", (unsigned long long)other);
    REQUIRE(refused > 0 && stored > 0, "no signal interrupted a write; the test proves nothing");
    int result = millpond_set(pond, "after", 5, "x", 1, 0);
    REQUIRE(result == MILLPOND_OK, "after it all a set answers %d", result);
    millpond_close(pond);
    REQUIRE(support_require_whole(path).entries == 102, "entries");
    return 0;
}

/* Another writer is waited for, and the wait is interrupted all the time. */
static int hog(void *arg) {
    (void)arg;
    struct millpond_check check;
    for (;;) millpond_check(path, 0, NULL, NULL, &check, NULL); /* holds the lock for long */
    return 0;
}

static int interrupted_waits(void *arg) {
    (void)arg;
    path = support_path("waits.pond");
    struct millpond_options options = MILLPOND_OPTIONS_INIT;
    options.flags = MILLPOND_CREATE;
    options.size_bytes = 4 << 20;
    options.shards = 1;
    pond = support_open(path, &options);
    work(0.05);
    pid_t child = support_fork(hog, NULL);
    ring(count_in_handler, 50);
    uint64_t turns = work(1.5);
    silence();
    support_kill(child);
    struct millpond_stats stats;
    REQUIRE(millpond_stats(pond, -1, &stats) == MILLPOND_OK, "stats");
    printf("  %llu signals during %llu turns that waited %llu times\n", (unsigned long long)handled, (unsigned long long)turns,
           (unsigned long long)stats.lock_waits);
    REQUIRE(stats.lock_waits > 0 && stats.lock_timeouts == 0 && handled > 100, "nobody waited");
    millpond_close(pond);
    support_require_whole(path);
    return 0;
}

int main(int argc, char **argv) {
    static const struct support_case cases[] = {
        {"a handler's write inside a write is refused", writing_handler, 30000},
        {"signals interrupt no wait for a lock", interrupted_waits, 30000},
    };
    return support_run_cases(argc, argv, cases, sizeof cases / sizeof *cases);
}
