/* SPDX-License-Identifier: MIT */
/* A bank: money moves between 2 to 4 accounts in transactions, by processes that are killed with SIGKILL and replaced all the time. The sum
 * of all accounts, read by a snapshot, is right at every reading, in processes that may write and in one that may not; and no transfer
 * that was acknowledged is lost.
 *
 * Each teller has a counter of its own that goes up by one in every transfer, as one of its keys: between acknowledged and begun.
 *
 *     mp_bank [--seconds N] [TEXT]      short form: 3.4 s, and half of that in one shard; TEXT: only the cases whose sentence contains it
 */

#include "support.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ACCOUNTS 1000u
#define TELLERS  4u
#define OPENING  1000 /* what each account begins with */

struct shared {
    uint64_t begun[TELLERS], acknowledged[TELLERS]; /* transfers */
    uint64_t conflicts[TELLERS], unfinished, finished;
    uint64_t audits, small_audits, readonly_audits, readonly_busy, kills;
    int stop;
};

static struct shared *shared;
static struct millpond *pond;
static const char *path;
static double seconds = 5;

static uint64_t load(const uint64_t *p) { return __atomic_load_n(p, __ATOMIC_SEQ_CST); }
static void store(uint64_t *p, uint64_t v) { __atomic_store_n(p, v, __ATOMIC_SEQ_CST); }
static bool stopped(void) { return __atomic_load_n(&shared->stop, __ATOMIC_RELAXED) != 0; }

static size_t account(char name[16], uint64_t number) { return (size_t)snprintf(name, 16, "account-%llu", (unsigned long long)number); }
static size_t counter(char name[16], unsigned teller) { return (size_t)snprintf(name, 16, "teller-%u", teller); }

/* Decimal text in `text`. */
static int64_t amount_of(int result, char text[32], const size_t *bytes, const char *name) {
    REQUIRE(result == MILLPOND_OK, "%s: %d (%s)", name, result, millpond_strerror(result));
    text[*bytes] = 0;
    return strtoll(text, NULL, 10);
}

/* ---- the tellers ---- */

/* The outcome of a call inside a transaction: CHANGED is told at once where a key is read twice. */
static int64_t read_amount(struct millpond_txn *txn, const char *name, size_t name_bytes) {
    char text[32];
    size_t bytes = 0;
    return amount_of(millpond_txn_get(txn, name, name_bytes, text, sizeof text - 1, &bytes), text, &bytes, name);
}

static void write_amount(struct millpond_txn *txn, const char *name, size_t name_bytes, int64_t amount) {
    char text[32];
    int bytes = snprintf(text, sizeof text, "%lld", (long long)amount);
    int result = millpond_txn_set(txn, name, name_bytes, text, (size_t)bytes, 0);
    REQUIRE(result == MILLPOND_OK, "txn_set: %d (%s)", result, millpond_strerror(result));
}

/* One try. Some accounts that would become empty are closed and opened again, so that deletes happen too. */
static int try_transfer(unsigned me, struct support_random random) {
    struct millpond_txn *txn;
    char name[16];
    uint64_t from = support_below(&random, ACCOUNTS), count = 1 + support_below(&random, 3);
    REQUIRE(millpond_txn_begin(pond, &txn) == MILLPOND_OK, "begin");
    size_t name_bytes = counter(name, me);
    write_amount(txn, name, name_bytes, read_amount(txn, name, name_bytes) + 1);
    name_bytes = account(name, from);
    int64_t has = read_amount(txn, name, name_bytes);
    for (uint64_t i = 0; i < count; i++) {
        char other[16];
        uint64_t to = (from + 1 + support_below(&random, ACCOUNTS - 1)) % ACCOUNTS;
        int64_t amount = (int64_t)support_below(&random, 50);
        size_t other_bytes = account(other, to);
        write_amount(txn, other, other_bytes, read_amount(txn, other, other_bytes) + amount);
        has -= amount;
    }
    write_amount(txn, name, name_bytes, has);
    if (support_below(&random, 50) == 0) {
        millpond_txn_abort(txn);
        return MILLPOND_MISS;
    }
    return millpond_txn_commit(txn);
}

static uint64_t transfers_of(unsigned teller) {
    char name[16], text[32];
    size_t name_bytes = counter(name, teller), bytes = 0;
    return (uint64_t)amount_of(millpond_get(pond, name, name_bytes, text, sizeof text - 1, &bytes), text, &bytes, name);
}

/* Touching every account makes this process finish what the killed one left, in every shard. */
static void take_over(unsigned me) {
    char name[16];
    for (unsigned i = 0; i < ACCOUNTS; i += 10) {
        int result = millpond_touch(pond, name, account(name, i), 0);
        REQUIRE(result == MILLPOND_OK, "touch: %d (%s)", result, millpond_strerror(result));
    }
    REQUIRE(millpond_touch(pond, name, counter(name, me), 0) == MILLPOND_OK, "touch");
    uint64_t found = transfers_of(me), begun = load(&shared->begun[me]), acknowledged = load(&shared->acknowledged[me]);
    REQUIRE(found == acknowledged || found == begun, "teller %u: %llu transfers are there, %llu acknowledged, %llu begun", me,
            (unsigned long long)found, (unsigned long long)acknowledged, (unsigned long long)begun);
    if (begun != acknowledged) __atomic_fetch_add(found == begun ? &shared->finished : &shared->unfinished, 1, __ATOMIC_RELAXED);
    store(&shared->begun[me], found);
    store(&shared->acknowledged[me], found);
}

static int teller(void *arg) {
    unsigned me = (unsigned)(uintptr_t)arg;
    struct support_random random = {support_now_ns() * TELLERS + me};
    if (support_next(&random) % 2) { /* half of them use the handle from before the fork */
        millpond_close(pond);
        pond = support_open(path, NULL);
    }
    take_over(me);
    while (!stopped()) {
        struct support_random dice = {support_next(&random)};
        store(&shared->begun[me], load(&shared->acknowledged[me]) + 1);
        int result;
        while ((result = try_transfer(me, dice)) == MILLPOND_CHANGED) shared->conflicts[me]++;
        if (result == MILLPOND_MISS) continue; /* aborted */
        REQUIRE(result == MILLPOND_OK, "commit: %d (%s)", result, millpond_strerror(result));
        store(&shared->acknowledged[me], load(&shared->begun[me]));
    }
    millpond_close(pond);
    return 0;
}

/* ---- the auditors, never killed ---- */

struct book {
    struct millpond_mget items[ACCOUNTS];
    char names[ACCOUNTS][16], texts[ACCOUNTS][32];
};

static struct book *book_make(void) {
    struct book *book = calloc(1, sizeof *book);
    REQUIRE(book, "memory");
    for (unsigned i = 0; i < ACCOUNTS; i++)
        book->items[i] =
            (struct millpond_mget){.key = book->names[i], .key_bytes = account(book->names[i], i), .buf = book->texts[i], .buf_bytes = 31};
    return book;
}

/* MILLPOND_OK, or what the snapshot said. */
static int audit(struct book *book) {
    int64_t sum = 0;
    int result = millpond_snapshot(pond, book->items, ACCOUNTS);
    if (result != MILLPOND_OK) return result;
    for (unsigned i = 0; i < ACCOUNTS; i++)
        sum += amount_of(book->items[i].result, book->texts[i], &book->items[i].value_bytes, book->names[i]);
    REQUIRE(sum == (int64_t)ACCOUNTS * OPENING, "the sum is %lld, %lld too much", (long long)sum, (long long)sum - ACCOUNTS * OPENING);
    return MILLPOND_OK;
}

static int auditor(void *arg) {
    (void)arg;
    struct book *book = book_make();
    pond = support_open(path, NULL);
    while (!stopped()) {
        int result = audit(book);
        REQUIRE(result == MILLPOND_OK, "snapshot: %d (%s)", result, millpond_strerror(result));
        store(&shared->audits, shared->audits + 1);
    }
    free(book);
    millpond_close(pond);
    return 0;
}

static int readonly_auditor(void *arg) {
    (void)arg;
    struct book *book = book_make();
    struct millpond_options options = MILLPOND_OPTIONS_INIT;
    options.flags = MILLPOND_READONLY;
    pond = support_open(path, &options);
    while (!stopped()) {
        int result = audit(book);
        REQUIRE(result == MILLPOND_OK || result == MILLPOND_ERR_BUSY, "snapshot: %d (%s)", result, millpond_strerror(result));
        uint64_t *count = result == MILLPOND_OK ? &shared->readonly_audits : &shared->readonly_busy;
        store(count, *count + 1);
        support_sleep_us(500);
    }
    free(book);
    millpond_close(pond);
    return 0;
}

/* Two purses between which all of the money goes to and fro, in one transaction each: snapshots of so few keys are had without a lock. */
static int purses(void *arg) {
    bool moves = arg != NULL;
    struct support_random random = {support_now_ns()};
    pond = support_open(path, NULL);
    while (!stopped()) {
        char a[32], b[32];
        struct millpond_mget items[] = {{.key = "purse-a", .key_bytes = 7, .buf = a, .buf_bytes = 31},
                                        {.key = "purse-b", .key_bytes = 7, .buf = b, .buf_bytes = 31}};
        if (moves) {
            struct millpond_txn *txn;
            int64_t left = (int64_t)support_below(&random, 1001);
            REQUIRE(millpond_txn_begin(pond, &txn) == MILLPOND_OK, "begin");
            write_amount(txn, "purse-a", 7, left);
            write_amount(txn, "purse-b", 7, 1000 - left);
            int result = millpond_txn_commit(txn);
            REQUIRE(result == MILLPOND_OK, "commit: %d (%s)", result, millpond_strerror(result));
            continue;
        }
        int result = millpond_snapshot(pond, items, 2);
        REQUIRE(result == MILLPOND_OK, "snapshot: %d (%s)", result, millpond_strerror(result));
        int64_t in_a = amount_of(items[0].result, a, &items[0].value_bytes, "purse-a");
        int64_t in_b = amount_of(items[1].result, b, &items[1].value_bytes, "purse-b");
        REQUIRE(in_a + in_b == 1000, "the purses hold %lld and %lld", (long long)in_a, (long long)in_b);
        store(&shared->small_audits, shared->small_audits + 1);
    }
    millpond_close(pond);
    return 0;
}

/* ---- the days of the bank ---- */

static void open_accounts(uint32_t shards) {
    struct millpond_options options = MILLPOND_OPTIONS_INIT;
    options.flags = MILLPOND_CREATE;
    options.size_bytes = 8 << 20;
    options.shards = shards;
    path = support_path("bank.pond");
    pond = support_open(path, &options);
    char name[16];
    for (unsigned i = 0; i < ACCOUNTS; i++) REQUIRE(millpond_set(pond, name, account(name, i), "1000", 4, 0) == MILLPOND_OK, "set");
    for (unsigned i = 0; i < TELLERS; i++) REQUIRE(millpond_set(pond, name, counter(name, i), "0", 1, 0) == MILLPOND_OK, "set");
    REQUIRE(millpond_set(pond, "purse-a", 7, "1000", 4, 0) == MILLPOND_OK && millpond_set(pond, "purse-b", 7, "0", 1, 0) == MILLPOND_OK,
            "set");
}

static void require_ended(pid_t child, const char *who) {
    int said = support_wait(child, 30000);
    REQUIRE(said == 0, "%s ended with %d%s", who, said, said == SUPPORT_LATE ? " (hung)" : "");
}

static uint64_t transfers(void) {
    uint64_t sum = 0;
    for (unsigned i = 0; i < TELLERS; i++) sum += load(&shared->acknowledged[i]);
    return sum;
}

static int day(uint32_t shards) {
    shared = support_share(sizeof *shared);
    open_accounts(shards);
    struct support_random random = support_seed("kills");
    pid_t tellers[TELLERS], auditors[] = {support_fork(auditor, NULL), support_fork(readonly_auditor, NULL), support_fork(purses, NULL)};
    pid_t mover = support_fork(purses, (void *)1);
    for (unsigned i = 0; i < TELLERS; i++) tellers[i] = support_fork(teller, (void *)(uintptr_t)i);
    uint64_t end = support_now_ns() + (uint64_t)(seconds * 1e9);
    while (support_now_ns() < end) {
        support_sleep_us(500 + (unsigned)support_below(&random, 20000));
        uint64_t victim = support_below(&random, TELLERS + 1);
        pid_t *child = victim < TELLERS ? &tellers[victim] : &mover;
        kill(*child, SIGKILL);
        int said = support_wait(*child, 20000);
        REQUIRE(said == -SIGKILL, "a process ended by itself, with %d", said);
        *child = victim < TELLERS ? support_fork(teller, (void *)(uintptr_t)victim) : support_fork(purses, (void *)1);
        shared->kills++;
    }
    __atomic_store_n(&shared->stop, 1, __ATOMIC_SEQ_CST);
    for (unsigned i = 0; i < TELLERS; i++) require_ended(tellers[i], "a teller");
    require_ended(mover, "the mover");
    for (unsigned i = 0; i < 3; i++) require_ended(auditors[i], "an auditor");
    struct book *book = book_make();
    REQUIRE(audit(book) == MILLPOND_OK, "the last audit");
    free(book);
    for (unsigned i = 0; i < TELLERS; i++)
        REQUIRE(transfers_of(i) == shared->acknowledged[i], "teller %u: %llu transfers are there, %llu acknowledged", i,
                (unsigned long long)transfers_of(i), (unsigned long long)shared->acknowledged[i]);
    uint64_t conflicts = 0;
    for (unsigned i = 0; i < TELLERS; i++) conflicts += shared->conflicts[i];
    printf("  %llu transfers, %llu conflicts, %llu kills (%llu transfers cut short were done, %llu not)\n"
           "  %llu audits of all, %llu read-only (%llu busy), %llu of two purses\n",
           (unsigned long long)transfers(), (unsigned long long)conflicts, (unsigned long long)shared->kills,
           (unsigned long long)shared->finished, (unsigned long long)shared->unfinished, (unsigned long long)shared->audits,
           (unsigned long long)shared->readonly_audits, (unsigned long long)shared->readonly_busy,
           (unsigned long long)shared->small_audits);
    REQUIRE(transfers() > 100 && shared->audits > 10 && shared->small_audits > 100, "too little was done to mean something");
    millpond_close(pond);
    REQUIRE(support_require_whole(path).entries == ACCOUNTS + TELLERS + 2, "entries");
    return 0;
}

static int eight_shards(void *arg) {
    (void)arg;
    return day(8);
}

static int one_shard(void *arg) {
    (void)arg;
    seconds /= 2;
    return day(1);
}

int main(int argc, char **argv) {
    seconds = support_seconds(argc, argv, 3.4);
    if (argc > 2 && strcmp(argv[1], "--seconds") == 0) argc -= 2, argv += 2;
    unsigned deadline_ms = (unsigned)(seconds * 1000) + 90000;
    const struct support_case cases[] = {
        {"no money is lost or made in eight shards", eight_shards, deadline_ms},
        {"no money is lost or made in one shard", one_shard, deadline_ms},
    };
    return support_run_cases(argc, argv, cases, sizeof cases / sizeof *cases);
}
