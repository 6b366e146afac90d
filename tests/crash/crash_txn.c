/* SPDX-License-Identifier: MIT */
/* A transaction that is stopped or killed at each of its steps, seen by others: gets go on, a snapshot shows all of it or none or says
 * "busy", never half; a snapshot that is stopped in its middle while a transaction happens does not put old and new together; and of
 * those who finish what a dead one decided, one after the other dies, and the last one is done.
 *
 *     crash_txn [--long]     long: each step at each of its occurrences */

#include "crash.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

#define KEYS            12u
#define SHARDS          4u
#define LOCK_TIMEOUT_MS 30u

static struct ground ground;
static bool thorough;
static unsigned stops, kills, chains;

/* Every key has the number of the transaction that wrote it last; every third key is there in every second transaction only. */
static const char *const names[KEYS] = {"k00", "k01", "k02", "k03", "k04", "k05", "k06", "k07", "k08", "k09", "k10", "k11"};

static struct millpond *open_as(uint32_t flags) {
    struct millpond_options options = MILLPOND_OPTIONS_INIT;
    options.flags = flags;
    options.lock_timeout_ms = LOCK_TIMEOUT_MS;
    return support_open(ground.path, &options);
}

static int write_all(struct millpond *pond, unsigned number) {
    struct millpond_txn *txn;
    char text[16];
    int n = snprintf(text, sizeof text, "%u", number);
    CHECK(millpond_txn_begin(pond, &txn) == MILLPOND_OK, "begin");
    for (unsigned i = 0; i < KEYS; i++) {
        int result =
            i % 3 == 2 && number % 2 ? millpond_txn_delete(txn, names[i], 3) : millpond_txn_set(txn, names[i], 3, text, (size_t)n, 0);
        CHECK(result == MILLPOND_OK, "%s in a transaction: %s", names[i], millpond_strerror(result));
    }
    return millpond_txn_commit(txn);
}

/* The number of the transaction that a snapshot shows; it must be one for all keys. UINT_MAX: busy. */
static unsigned look(struct millpond *pond) {
    struct millpond_mget items[KEYS];
    char texts[KEYS][16];
    unsigned numbers[KEYS];
    for (unsigned i = 0; i < KEYS; i++)
        items[i] = (struct millpond_mget){.key = names[i], .key_bytes = 3, .buf = texts[i], .buf_bytes = 15};
    int result = millpond_snapshot(pond, items, KEYS);
    if (result == MILLPOND_ERR_BUSY) return UINT_MAX;
    CHECK(result == MILLPOND_OK, "a snapshot: %s", millpond_strerror(result));
    for (unsigned i = 0; i < KEYS; i++) {
        numbers[i] = numbers[0];
        if (items[i].result == MILLPOND_OK) {
            texts[i][items[i].value_bytes] = 0;
            CHECK(sscanf(texts[i], "%u", &numbers[i]) == 1, "%s is \"%s\"", names[i], texts[i]);
        }
        CHECK((items[i].result == MILLPOND_OK) != (i % 3 == 2 && numbers[0] % 2), "%s: %s, beside transaction %u", names[i],
              millpond_strerror(items[i].result), numbers[0]);
        CHECK(numbers[i] == numbers[0], "half of a transaction: %s is of number %u, %s of number %u", names[0], numbers[0], names[i],
              numbers[i]);
    }
    return numbers[0];
}

/* ---- the one that commits ---- */

struct victim {
    unsigned name;
    uint32_t nth;
    int signal; /* 0: only counts */
    unsigned number;
    struct crash_passed *passed;
};

static int commit(void *arg) {
    const struct victim *v = arg;
    struct millpond *pond = open_as(0);
    if (v->signal)
        crash_at(v->name, v->nth, v->signal);
    else
        crash_watch(v->passed);
    int result = write_all(pond, v->number);
    crash_unwatch();
    CHECK(result == MILLPOND_OK, "committing: %s", millpond_strerror(result));
    millpond_close(pond);
    return 0;
}

/* Writes keys of its own into all shards, which repairs them, until it is told "busy"; 1 then. */
static unsigned write_own(struct millpond *pond) {
    unsigned busy = 0;
    for (unsigned i = 0; i < 40 && !busy; i++) {
        int result = millpond_set(pond, &i, sizeof i, "x", 1, 0);
        CHECK(result == MILLPOND_OK || result == MILLPOND_ERR_BUSY, "a set: %s", millpond_strerror(result));
        busy += result == MILLPOND_ERR_BUSY;
    }
    return busy;
}

/* ---- beside a stopped one ---- */

struct beside {
    unsigned before, after;
    bool held; /* some mutex */
};

static void get_all(struct millpond *pond, const struct beside *b) {
    for (unsigned i = 0; i < KEYS; i++) {
        char text[16] = "";
        size_t bytes = 0;
        unsigned number = b->before;
        int result = millpond_get(pond, names[i], 3, text, 15, &bytes);
        text[bytes] = 0;
        CHECK(result == MILLPOND_OK || (result == MILLPOND_MISS && i % 3 == 2), "getting %s: %s", names[i], millpond_strerror(result));
        CHECK(result == MILLPOND_MISS || (sscanf(text, "%u", &number) == 1 && (number == b->before || number == b->after)), "%s is \"%s\"",
              names[i], text);
    }
}

static int look_beside(void *arg) {
    const struct beside *b = arg;
    for (unsigned readonly = 0; readonly < 2; readonly++) {
        struct millpond *pond = open_as(readonly ? MILLPOND_READONLY : 0);
        get_all(pond, b);
        unsigned seen = look(pond);
        CHECK(seen == b->before || seen == b->after || (b->held && seen == UINT_MAX), "a snapshot shows number %u", seen);
        millpond_close(pond);
    }
    struct millpond *pond = open_as(0);
    unsigned busy = write_own(pond);
    CHECK(!b->held || busy > 0, "nobody was told that a mutex is held");
    int result = write_all(pond, b->before); /* by the way: what stands there before and after must be one of the two */
    CHECK(result == (b->held ? MILLPOND_ERR_BUSY : MILLPOND_OK), "another commit: %s", millpond_strerror(result));
    millpond_close(pond);
    return 0;
}

static int look_after(void *arg) {
    const struct beside *b = arg;
    struct millpond *pond = open_as(0), *readonly = open_as(MILLPOND_READONLY);
    unsigned seen = look(readonly); /* before anybody has repaired */
    CHECK(seen == b->before || seen == b->after || seen == UINT_MAX, "a read-only snapshot shows number %u", seen);
    unsigned now = look(pond);
    CHECK(now == b->before || now == b->after, "a snapshot shows number %u", now);
    CHECK(seen == UINT_MAX || seen == now, "what was seen as number %u is now number %u", seen, now);
    CHECK(look(readonly) == now, "the read-only handle sees something else");
    CHECK(write_own(pond) == 0, "a mutex is still held");
    CHECK(look(pond) == now, "writes into other keys changed what the snapshot shows");
    CHECK(write_all(pond, 77) == MILLPOND_OK && look(pond) == 77, "the next transaction");
    millpond_close(readonly);
    millpond_close(pond);
    CHECK(millpond_check(ground.path, 0, NULL, NULL, NULL, NULL) == MILLPOND_OK, "a check");
    return 0;
}

static bool any_held(void) {
    for (uint32_t i = 0; i < SHARDS; i++)
        if (ground_holder(&ground_shard(&ground, i).shard->mutex) > 0) return true;
    return false;
}

static void stop_there(struct victim *v) {
    struct beside b = {.before = 2, .after = 3};
    ground_put_back(&ground);
    crash_trying("a commit stopped at %s (%u)", crash_names[v->name], v->nth);
    v->signal = SIGSTOP;
    pid_t child = support_fork(commit, v);
    crash_await_stop(child, "the one that commits");
    b.held = any_held();
    crash_run(look_beside, &b, "the one beside it");
    kill(child, SIGCONT);
    crash_expect(child, 0, "the one that went on");
    crash_run(look_after, &b, "the one behind it");
    stops++;
}

static void kill_there(struct victim *v) {
    struct beside b = {.before = 2, .after = 3};
    ground_put_back(&ground);
    crash_trying("a commit killed at %s (%u)", crash_names[v->name], v->nth);
    v->signal = SIGKILL;
    crash_expect(support_fork(commit, v), SIGKILL, "the one that commits");
    crash_run(look_after, &b, "the one behind it");
    kills++;
}

/* ---- a chain of deaths ---- */

static int repair_and_die(void *arg) {
    const struct victim *v = arg;
    struct millpond *pond = open_as(0);
    crash_at(v->name, v->nth, SIGKILL);
    look(pond); /* the snapshot takes the locks, and so repairs */
    write_own(pond);
    return 0; /* it did not come by there (any more) */
}

/* One dies behind its decision, then those who finish it, one after the other, at every name on their way. */
static void chain_of_deaths(void) {
    static const char *const steps[] = {"recover.begin",     "rebuild.forgotten", "redo.recovering", "redo.applied",    "index.intent",
                                        "index.slot_stored", "redo.applied",      "recover.end",     "write.recovered", "redo.done"};
    struct victim first = {.name = crash_name_number("redo.decided"), .nth = 1, .signal = SIGKILL, .number = 3};
    for (unsigned from = 0; from < sizeof steps / sizeof *steps; from++) {
        ground_put_back(&ground);
        crash_trying("a chain of deaths from %s on", steps[from]);
        crash_expect(support_fork(commit, &first), SIGKILL, "the one that commits");
        for (unsigned i = 0; i < sizeof steps / sizeof *steps; i++) {
            struct victim v = {.name = crash_name_number(steps[(from + i) % (sizeof steps / sizeof *steps)]), .nth = 1 + i % 2};
            CHECK(v.name < crash_name_count, "there is no name %s", steps[(from + i) % (sizeof steps / sizeof *steps)]);
            int said = support_run_child(repair_and_die, &v, CRASH_DEADLINE_MS);
            CHECK(said == -SIGKILL || said == 0, "one that repairs ended with %d", said);
            chains += said == -SIGKILL;
        }
        struct beside b = {.before = 3, .after = 3}; /* it was decided: it has happened */
        crash_run(look_after, &b, "the last one");
    }
}

/* ---- a stopped snapshot ---- */

static int look_slowly(void *arg) {
    const struct victim *v = arg;
    struct millpond *pond = open_as(v->number ? MILLPOND_READONLY : 0);
    crash_at(v->name, v->nth, SIGSTOP);
    unsigned seen = look(pond);
    crash_unwatch();
    CHECK(seen == 2 || seen == 3, "a snapshot shows number %u", seen);
    millpond_close(pond);
    return 0;
}

/* In the middle of its first reading a transaction happens: some keys were read before it, some are read behind it. */
static void stop_a_snapshot(const char *name, uint32_t nth, bool readonly) {
    struct victim reader = {.name = crash_name_number(name), .nth = nth, .number = readonly};
    struct victim other = {.signal = 0, .number = 3, .passed = support_share(sizeof(struct crash_passed))};
    ground_put_back(&ground);
    crash_trying("a snapshot%s stopped at %s (%u) while a transaction happens", readonly ? " through a read-only handle" : "", name, nth);
    pid_t child = support_fork(look_slowly, &reader);
    crash_await_stop(child, "the one that looks");
    crash_run(commit, &other, "the one that commits");
    kill(child, SIGCONT);
    crash_expect(child, 0, "the one that looks");
    stops++;
}

/* Two keys that are absent come in one transaction: both or none, though nothing else has changed. */
static int look_for_a_pair(void *arg) {
    const struct victim *v = arg;
    struct millpond *pond = open_as(v->number ? MILLPOND_READONLY : 0);
    struct millpond_mget items[] = {{.key = "p0", .key_bytes = 2}, {.key = "p1", .key_bytes = 2}};
    crash_at(v->name, v->nth, SIGSTOP);
    int result = millpond_snapshot(pond, items, 2);
    crash_unwatch();
    CHECK(result == MILLPOND_OK && items[0].result == items[1].result, "%s: p0 %s, p1 %s", millpond_strerror(result),
          millpond_strerror(items[0].result), millpond_strerror(items[1].result));
    millpond_close(pond);
    return 0;
}

static int set_a_pair(void *unused) {
    (void)unused;
    struct millpond *pond = open_as(0);
    struct millpond_txn *txn;
    CHECK(millpond_txn_begin(pond, &txn) == MILLPOND_OK && millpond_txn_set(txn, "p0", 2, "x", 1, 0) == MILLPOND_OK &&
              millpond_txn_set(txn, "p1", 2, "x", 1, 0) == MILLPOND_OK && millpond_txn_commit(txn) == MILLPOND_OK,
          "a pair");
    millpond_close(pond);
    return 0;
}

static void stop_before_a_pair(bool readonly) {
    struct victim reader = {.name = crash_name_number("snapshot.collected"), .nth = 1, .number = readonly};
    ground_put_back(&ground);
    crash_trying("a snapshot of two absent keys stopped between them while both are set");
    pid_t child = support_fork(look_for_a_pair, &reader);
    crash_await_stop(child, "the one that looks");
    crash_run(set_a_pair, NULL, "the one that sets both");
    kill(child, SIGCONT);
    crash_expect(child, 0, "the one that looks");
    stops++;
}

/* A plain write repairs what it needs: every key is asked for by a set of its own, and none by a snapshot. */
static int repair_by_sets(void *unused) {
    (void)unused;
    struct millpond *pond = open_as(0);
    unsigned present = 0;
    CHECK(write_own(pond) == 0, "a mutex is still held");
    for (unsigned i = 0; i < KEYS; i++) {
        char text[16] = "";
        size_t bytes = 0;
        int result = millpond_get(pond, names[i], 3, text, 15, &bytes);
        CHECK(i % 3 == 2 ? result == MILLPOND_MISS : result == MILLPOND_OK && strcmp(text, "3") == 0, "%s: %s, \"%s\"", names[i],
              millpond_strerror(result), text);
        present += result == MILLPOND_OK;
    }
    CHECK(present == 8, "%u keys", present);
    millpond_close(pond);
    return 0;
}

static void kill_and_set(void) {
    struct victim first = {.name = crash_name_number("redo.decided"), .nth = 1, .signal = SIGKILL, .number = 3};
    ground_put_back(&ground);
    crash_trying("a commit killed behind its decision; others only set");
    crash_expect(support_fork(commit, &first), SIGKILL, "the one that commits");
    crash_run(repair_by_sets, NULL, "the one that sets");
}

/* ---- all of it ---- */

static int prepare(void *unused) {
    (void)unused;
    struct millpond *pond = open_as(0);
    CHECK(write_all(pond, 1) == MILLPOND_OK && write_all(pond, 2) == MILLPOND_OK, "preparing");
    write_own(pond);
    millpond_close(pond);
    return 0;
}

int main(int argc, char **argv) {
    struct millpond_options options = MILLPOND_OPTIONS_INIT;
    struct victim v = {.number = 3, .passed = support_share(sizeof(struct crash_passed))};
    thorough = crash_long(argc, argv);
    crash_begin("crash_txn");
    options.size_bytes = 512 << 10;
    options.shards = SHARDS;
    ground_make(&ground, "txn.pond", &options);
    crash_run(prepare, NULL, "the one that prepares");
    ground_keep(&ground);
    crash_run(commit, &v, "the one that commits");
    ground_occupy(&ground, true); /* nobody is alone: who locks next repairs */
    for (v.name = 0; v.name < crash_name_count; v.name++) {
        uint32_t times = v.passed->times[v.name], step = thorough ? 1 : times < 3 ? 1 : times - 1;
        for (v.nth = 1; v.nth <= times; v.nth += step) {
            stop_there(&v);
            kill_there(&v);
        }
    }
    chain_of_deaths();
    kill_and_set();
    for (unsigned readonly = 0; readonly < 2; readonly++) {
        for (uint32_t nth = 1; nth <= KEYS; nth += thorough ? 1 : 3) stop_a_snapshot("snapshot.collected", nth, readonly);
        stop_a_snapshot("snapshot.collected", KEYS, readonly);
        stop_a_snapshot("snapshot.quiet", 1, readonly);
        stop_before_a_pair(readonly);
    }
    printf("  %u stops, %u kills, %u deaths of those who finish\n", stops, kills, chains);
    CHECK(stops > 20 && kills > 20 && chains > 20, "too little was tried");
    ground_occupy(&ground, false);
    ground_require_quiet(&ground);
    ground_forget(&ground);
    return crash_end();
}
