/* SPDX-License-Identifier: MIT */
/* A reader that is stopped in the middle of copying a value while the segments that hold it are recycled thousands of times: when it goes
 * on it returns a value that the key had, whole, or a miss.
 *
 * It is stopped at the names of the reading path (behind a chunk, before and behind a copy) and at random moments of a loop of gets.
 *
 *     stop_reader [--long] */

#include "ledger.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define POND_BYTES     (64 << 10)
#define SEGMENT_BYTES  2048
#define LARGE_BYTES    6000 /* in a dozen chunks */
#define PLAIN_BYTES    300
#define RECYCLINGS_MIN 2000 /* of every segment, in the mean */

static struct ground ground;
static struct ledger *facts;

static struct {
    uint64_t gets, hits, misses;
    uint64_t recycled; /* segments, while readers were stopped */
} * sums;              /* shared */

/* Keys: 0 large, 1 plain. */
static int prepare(void *unused) {
    (void)unused;
    struct millpond *pond = support_open(ground.path, NULL);
    while (facts->count < 2) ledger_key(facts, 14);
    ledger_set(facts, pond, 0, LARGE_BYTES, 0);
    ledger_set(facts, pond, 1, PLAIN_BYTES, 0);
    millpond_close(pond);
    return 0;
}

static uint64_t epochs(void) {
    uint64_t sum = 0;
    struct pond_ref ref = ground_shard(&ground, 0);
    for (uint32_t i = 0; i < ref.g->segment_count; i++) sum += ref.table[i].epoch;
    return sum;
}

/* The same keys get other values all the time, and others push them out. */
static int churn(void *unused) {
    (void)unused;
    struct millpond *pond = support_open(ground.path, NULL);
    uint64_t begin = epochs(), want = (uint64_t)RECYCLINGS_MIN * ground.map.geometry.segment_count, turn = 0;
    static unsigned char other[LARGE_BYTES];
    while (epochs() - begin < want) {
        if (turn % 64 == 0) ledger_set(facts, pond, 0, LARGE_BYTES, 0);
        if (turn % 64 == 32) ledger_set(facts, pond, 1, PLAIN_BYTES, 0);
        uint64_t number = turn++;
        memset(other, (int)(number & 255), sizeof other); /* never a valid value */
        int result = millpond_set(pond, &number, sizeof number, other, number % 2 ? 1500 : PLAIN_BYTES, 0);
        CHECK(result == MILLPOND_OK, "a set: %s", millpond_strerror(result));
    }
    sums->recycled += epochs() - begin;
    millpond_close(pond);
    return 0;
}

/* ---- the reader ---- */

struct reader {
    unsigned name; /* stop there, in the n-th pass */
    uint32_t nth;
    uint32_t key;
    bool endless; /* gets until it is killed; else one get */
};

static void get(const struct reader *r, struct millpond *pond) {
    static unsigned char value[LARGE_BYTES];
    char text[512];
    size_t bytes = 0;
    uint64_t sequence = 0, oldest = __atomic_load_n(&facts->records[r->key].now.sequence, __ATOMIC_SEQ_CST);
    ledger_spell(facts, r->key, text);
    int result = millpond_get(pond, text, facts->records[r->key].key_bytes, value, sizeof value, &bytes);
    __atomic_add_fetch(&sums->gets, 1, __ATOMIC_RELAXED);
    if (result == MILLPOND_MISS) {
        __atomic_add_fetch(&sums->misses, 1, __ATOMIC_RELAXED);
        return;
    }
    CHECK(result == MILLPOND_OK, "a get: %s", millpond_strerror(result));
    const char *wrong = support_value_read(value, bytes, r->key, &sequence);
    CHECK(!wrong, "a get returned %zu bytes of key %u: %s", bytes, r->key, wrong);
    CHECK(sequence >= oldest, "a get returned value number %llu, and number %llu stood there before it began", (unsigned long long)sequence,
          (unsigned long long)oldest);
    CHECK(bytes == (r->key ? PLAIN_BYTES : LARGE_BYTES), "a get returned %zu bytes of key %u", bytes, r->key);
    __atomic_add_fetch(&sums->hits, 1, __ATOMIC_RELAXED);
}

static int read_and_stop(void *arg) {
    const struct reader *r = arg;
    struct millpond *pond = support_open(ground.path, NULL);
    if (r->nth) crash_at(r->name, r->nth, SIGSTOP);
    do get(r, pond);
    while (r->endless);
    millpond_close(pond);
    return 0;
}

static void stop_at_name(const char *name, uint32_t nth, uint32_t key) {
    struct reader reader = {.name = crash_name_number(name), .nth = nth, .key = key};
    CHECK(reader.name < crash_name_count, "lib/ has no crash point \"%s\" any more", name);
    uint64_t before = sums->recycled;
    crash_trying("a reader of %s value stopped at %s (%u)", key ? "a plain" : "a large", name, nth);
    crash_run(prepare, NULL, "the process that prepares");
    pid_t child = support_fork(read_and_stop, &reader);
    crash_await_stop(child, "the reader");
    crash_run(churn, NULL, "the one that recycles");
    kill(child, SIGCONT);
    crash_expect(child, 0, "the reader that went on");
    printf("  %-10s (%2u), %-5s value: %7llu segments recycled\n", name, nth, key ? "plain" : "large",
           (unsigned long long)(sums->recycled - before));
}

static void stop_at_random(unsigned times, struct support_random *random) {
    uint64_t before = sums->recycled, gets = sums->gets;
    crash_run(prepare, NULL, "the process that prepares");
    for (uint32_t key = 0; key < 2; key++) {
        struct reader reader = {.key = key, .endless = true};
        pid_t child = support_fork(read_and_stop, &reader);
        for (unsigned i = 0; i < times; i++) {
            crash_trying("a reader of %s value stopped at a random moment (%u of %u)", key ? "a plain" : "a large", i + 1, times);
            uint64_t now = __atomic_load_n(&sums->gets, __ATOMIC_SEQ_CST);
            while (__atomic_load_n(&sums->gets, __ATOMIC_SEQ_CST) == now) support_sleep_us(100); /* it goes on since it was stopped last */
            support_sleep_us((unsigned)support_below(random, 2000));
            support_stop(child);
            crash_run(churn, NULL, "the one that recycles");
            kill(child, SIGCONT);
        }
        support_sleep_ms(5);
        support_kill(child);
    }
    printf("  %u random moments: %llu segments recycled, %llu gets\n", 2 * times, (unsigned long long)(sums->recycled - before),
           (unsigned long long)(sums->gets - gets));
    CHECK(sums->gets - gets > times, "%llu gets beside %u stops", (unsigned long long)(sums->gets - gets), times);
}

int main(int argc, char **argv) {
    bool thorough = crash_long(argc, argv);
    struct millpond_options options = MILLPOND_OPTIONS_INIT;
    options.size_bytes = POND_BYTES;
    options.segment_bytes = SEGMENT_BYTES;
    options.max_item_bytes = LARGE_BYTES;
    crash_begin("stop_reader");
    struct support_random random = support_seed("stop_reader");
    sums = support_share(sizeof *sums);
    facts = ledger_make();
    ground_make(&ground, "stop.pond", &options);
    for (uint32_t nth = 1; nth <= (thorough ? 12 : 10); nth += thorough ? 1 : 3) stop_at_name("read.copying", nth, 0);
    stop_at_name("read.copied", 1, 0);
    stop_at_name("read.found", 1, 1);
    stop_at_name("read.copied", 1, 1);
    stop_at_random(thorough ? 100 : 6, &random);
    ground_require_quiet(&ground);
    crash_trying("counting");
    printf("  %llu gets: %llu hits, %llu misses\n", (unsigned long long)sums->gets, (unsigned long long)sums->hits,
           (unsigned long long)sums->misses);
    CHECK(sums->hits > 0, "no get was a hit");
    ground_forget(&ground);
    return crash_end();
}
