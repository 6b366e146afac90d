/* SPDX-License-Identifier: MIT */
/* A writer that is stopped inside its critical section, at every named place: readers go on, writers with a deadline are told "busy", other
 * shards can be written; when it goes on, nothing is wrong. Every second one is killed instead of going on. The same for whoever repairs.
 *
 *     stop_writer [--long]     short form: each name once; long: each name in each scenario */

#include "scenario.h"
#include "survive.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SHARDS          2u
#define READERS         2u
#define GETS_MIN        2000u /* of each reader, during one stop */
#define LOCK_TIMEOUT_MS 50u

static bool thorough;
static struct crash_passed *passed;
static struct ledger *ledger;
static bool tried[CRASH_NAMES_MAX];
static unsigned stops, inside, gone_on, killed;
static uint64_t reads;

static struct {
    uint32_t stop;
    uint64_t gets[READERS];
} * beside; /* shared */

/* ---- the others ---- */

struct other {
    struct ground *ground;
    unsigned number;
    bool held[SHARDS];
};

/* Looks at every key again and again; the first has no write permission, the second counts its hits in the file. */
static int read_on(void *arg) {
    const struct other *o = arg;
    struct millpond_options options = MILLPOND_OPTIONS_INIT;
    struct ledger *facts = ledger_copy(ledger);
    options.flags = o->number == 0 ? MILLPOND_READONLY : 0;
    struct millpond *pond = support_open(o->ground->path, &options);
    while (!__atomic_load_n(&beside->stop, __ATOMIC_SEQ_CST)) {
        ledger_audit(facts, pond, false);
        __atomic_add_fetch(&beside->gets[o->number], facts->count, __ATOMIC_SEQ_CST);
    }
    millpond_close(pond);
    return 0;
}

static void require_readers_go_on(struct ground *ground) {
    pid_t child[READERS];
    memset(beside, 0, sizeof *beside);
    for (unsigned i = 0; i < READERS; i++) {
        struct other o = {.ground = ground, .number = i};
        child[i] = support_fork(read_on, &o);
    }
    uint64_t end = support_now_ns() + CRASH_DEADLINE_MS * UINT64_C(1000000);
    for (unsigned i = 0; i < READERS; i++) {
        while (__atomic_load_n(&beside->gets[i], __ATOMIC_SEQ_CST) < GETS_MIN && support_now_ns() < end) support_sleep_us(200);
        uint64_t gets = __atomic_load_n(&beside->gets[i], __ATOMIC_SEQ_CST);
        if (gets < GETS_MIN) kill(child[i], SIGKILL);
        CHECK(gets >= GETS_MIN, "reader %u has made %llu gets beside a stopped writer in %u s", i, (unsigned long long)gets,
              CRASH_DEADLINE_MS / 1000);
        reads += gets;
    }
    __atomic_store_n(&beside->stop, 1, __ATOMIC_SEQ_CST);
    for (unsigned i = 0; i < READERS; i++) crash_expect(child[i], 0, "a reader beside a stopped writer");
}

/* A key of a shard, absent until now. */
static uint32_t key_in(const struct ground *ground, uint32_t shard) {
    char text[512];
    for (;;) {
        uint32_t key = ledger_key(ledger, 16);
        ledger_spell(ledger, key, text);
        if (ground_shard_of(ground, text, 16) == shard) return key;
    }
}

static uint64_t lock_timeouts_of(struct millpond *pond) {
    struct millpond_stats stats;
    CHECK(millpond_stats(pond, -1, &stats) == MILLPOND_OK, "stats");
    return stats.lock_timeouts;
}

/* Done where any lock is free, and those that were tried before are none that anybody gave up waiting for. */
static void invalidate(struct millpond *pond, const struct other *o) {
    uint64_t before = lock_timeouts_of(pond);
    bool free_one = false;
    for (uint32_t shard = 0; shard < SHARDS; shard++) free_one |= !o->held[shard];
    for (unsigned i = 0; i < SHARDS; i++) {
        char group[16];
        snprintf(group, sizeof group, "nobody's %u", i); /* nothing is stored in it, nor in another one of its word */
        int result = millpond_invalidate(pond, group, strlen(group));
        CHECK(result == (free_one ? MILLPOND_OK : MILLPOND_ERR_BUSY), "an invalidation is told: %s", millpond_strerror(result));
    }
    uint64_t counted = lock_timeouts_of(pond) - before;
    CHECK(counted == (free_one ? 0 : SHARDS), "%u invalidations count as %llu timeouts", (unsigned)SHARDS, (unsigned long long)counted);
}

/* Busy where the lock is held, and nothing changed by that; done where it is free. */
static int write_with_deadline(void *arg) {
    const struct other *o = arg;
    struct millpond_options options = MILLPOND_OPTIONS_INIT;
    options.lock_timeout_ms = LOCK_TIMEOUT_MS;
    struct millpond *pond = support_open(o->ground->path, &options);
    for (uint32_t shard = 0; shard < SHARDS; shard++) {
        uint32_t key = key_in(o->ground, shard);
        if (!o->held[shard]) {
            ledger_set(ledger, pond, key, 50, 0);
            continue;
        }
        char text[512];
        ledger_spell(ledger, key, text);
        uint64_t begin = support_now_ns();
        int result = millpond_set(pond, text, 16, "v", 1, 0);
        uint64_t waited_ms = (support_now_ns() - begin) / 1000000;
        CHECK(result == MILLPOND_ERR_BUSY, "shard %u is held by a stopped process, and a set is told: %s", shard,
              millpond_strerror(result));
        CHECK(waited_ms + 5 >= LOCK_TIMEOUT_MS, "a set waited for %llu ms only", (unsigned long long)waited_ms);
        if (stops % 8 != 0) continue;
        result = millpond_delete(pond, text, 16);
        CHECK(result == MILLPOND_ERR_BUSY, "shard %u is held by a stopped process, and a delete is told: %s", shard,
              millpond_strerror(result));
        result = millpond_incr(pond, text, 16, 1, NULL, NULL);
        CHECK(result == MILLPOND_ERR_BUSY, "shard %u is held by a stopped process, and an incr is told: %s", shard,
              millpond_strerror(result));
    }
    invalidate(pond, o);
    millpond_close(pond);
    return 0;
}

/* ---- a stop ---- */

static void beside_the_stopped(struct ground *ground, pid_t stopped) {
    struct other o = {.ground = ground};
    unsigned held = 0;
    for (uint32_t shard = 0; shard < SHARDS; shard++) {
        o.held[shard] = ground_holder(&ground_shard(ground, shard).shard->mutex) == stopped;
        held += o.held[shard];
    }
    require_readers_go_on(ground);
    crash_run(write_with_deadline, &o, "the writer with a deadline");
    stops++;
    inside += held > 0;
}

/* Goes on or dies; then everything is as it must be. */
static void end_stop(struct ground *ground, pid_t stopped) {
    struct survival survival = {.ground = ground, .ledger = ledger, .work = 250};
    if (stops % 2) {
        CHECK(kill(stopped, SIGCONT) == 0, "SIGCONT");
        crash_expect(stopped, 0, "the writer that went on");
        gone_on++;
    } else {
        CHECK(kill(stopped, SIGKILL) == 0, "SIGKILL");
        crash_expect(stopped, SIGKILL, "the writer that was killed while it was stopped");
        killed++;
    }
    survive(&survival);
}

/* ---- scenarios ---- */

struct run {
    const struct scenario *scenario;
    struct ground *ground;
    unsigned name;
    int signal; /* 0: only count */
};

static void arm(void *arg) {
    const struct run *run = arg;
    if (run->signal)
        crash_at(run->name, 1, run->signal);
    else
        crash_watch(passed);
}

static int act(void *arg) {
    struct run *run = arg;
    scenario_act(run->scenario, run->ground, ledger, arm, run);
    return 0;
}

static void stop_in(const struct scenario *scenario) {
    struct ground ground;
    scenario_ground(scenario, "stop.pond", SHARDS, &ground, ledger);
    struct ledger *facts = ledger_copy(ledger);
    struct run run = {.scenario = scenario, .ground = &ground};
    unsigned before = stops;
    ground_occupy(&ground, true);
    memset(passed, 0, sizeof *passed);
    crash_trying("%s, not stopped", scenario->sentence);
    crash_run(act, &run, "the one that acts");
    struct crash_passed counted = *passed;
    run.signal = SIGSTOP;
    for (run.name = 0; run.name < crash_name_count; run.name++) {
        if (counted.times[run.name] == 0 || (tried[run.name] && !thorough)) continue;
        tried[run.name] = true;
        ground_put_back(&ground);
        ledger_put(ledger, facts);
        crash_trying("%s, stopped at %s", scenario->sentence, crash_names[run.name]);
        pid_t victim = support_fork(act, &run);
        crash_await_stop(victim, "the writer");
        beside_the_stopped(&ground, victim);
        end_stop(&ground, victim);
    }
    if (stops > before) printf("  %-52s %3u stops\n", scenario->sentence, stops - before);
    free(facts);
    ground_forget(&ground);
}

/* ---- whoever repairs ---- */

static void stop_repairer(const char *sentence, const char *dies_at) {
    struct ground ground;
    scenario_ground(scenario_find(sentence), "stop.pond", SHARDS, &ground, ledger);
    ground_occupy(&ground, true);
    struct run first = {scenario_find(sentence), &ground, crash_name_number(dies_at), SIGKILL}, second = {.signal = 0};
    struct survival survival = {.ground = &ground, .ledger = ledger};
    CHECK(first.name < crash_name_count, "lib/ has no crash point \"%s\" any more", dies_at);
    crash_trying("%s, killed at %s", sentence, dies_at);
    crash_expect(support_fork(act, &first), SIGKILL, "the first victim");
    ground_keep(&ground);
    struct ledger *facts = ledger_copy(ledger);
    unsigned before = stops;
    memset(passed, 0, sizeof *passed);
    crash_expect(survive_fork_writer(&survival, arm, &second), 0, "the one that repairs");
    struct crash_passed counted = *passed;
    second.signal = SIGSTOP;
    for (second.name = 0; second.name < crash_name_count; second.name++) {
        bool repairing = crash_name_begins(second.name, "recover.") || crash_name_begins(second.name, "rebuild.") ||
                         crash_name_begins(second.name, "clear.");
        if (counted.times[second.name] == 0 || !repairing || (tried[second.name] && !thorough)) continue;
        tried[second.name] = true;
        ground_put_back(&ground);
        ledger_put(ledger, facts);
        crash_trying("%s, killed at %s; the one that repairs stopped at %s", sentence, dies_at, crash_names[second.name]);
        pid_t victim = survive_fork_writer(&survival, arm, &second);
        crash_await_stop(victim, "the one that repairs");
        beside_the_stopped(&ground, victim);
        end_stop(&ground, victim);
    }
    printf("  %-52s %3u stops\n", crash_names[first.name], stops - before);
    free(facts);
    ground_forget(&ground);
}

int main(int argc, char **argv) {
    thorough = crash_long(argc, argv);
    crash_begin("stop_writer");
    passed = support_share(sizeof *passed);
    beside = support_share(sizeof *beside);
    ledger = ledger_make();
    for (unsigned i = 0; i < scenario_count; i++) stop_in(&scenarios[i]);
    printf("  repairing after a death at\n");
    stop_repairer("set new", "index.slot_stored");
    stop_repairer("displace", "move.stored");
    stop_repairer("incr", "incr.added");
    stop_repairer("clear", "clear.half");
    crash_trying("counting");
    CHECK(inside * 10 > stops * 7, "only %u of %u stops were inside a critical section", inside, stops);
    CHECK(gone_on > 0 && killed > 0, "%u went on, %u were killed", gone_on, killed);
    printf("  %u stops, %u of them with a lock held; %u went on, %u were killed; %llu gets meanwhile\n", stops, inside, gone_on, killed,
           (unsigned long long)reads);
    return crash_end();
}
