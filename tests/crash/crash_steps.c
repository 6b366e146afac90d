/* SPDX-License-Identifier: MIT */
/* Killed behind every single instruction that changes the file or the thread's list of robust mutexes: no name in the library is trusted.
 *
 * The writers: set, overwrite, delete, touch, incr, chunks, a move between buckets, every kind of instalment of recycling, clear; and
 * whoever repairs after a death, at the lock or when the file is opened. After each death the survivors look (survive.h). The readers
 * (beside.c): one is stopped behind any instruction of a get, others write, die and repair meanwhile, then it goes on.
 *
 *     crash_steps [--long] [--only TEXT]
 *
 * The short form takes a sample of the steps, another one each time; MILLPOND_TEST_SEED repeats one. */

#include "beside.h"
#include "brink.h"
#include "step.h"
#include "survive.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool thorough;
static struct support_random dice;
static unsigned deaths, drifted;

/* ---- the stepped process ---- */

struct stepped {
    struct ground *ground;
    struct ledger *ledger;
    const struct scenario *scenario; /* what it does; NULL: it writes into every shard, and so repairs */
    bool opens;                      /* opening the file is part of what is stepped */
    struct millpond *pond;
};

static void open_pond(struct stepped *s) {
    uint64_t ttl_ms;
    s->pond = support_open(s->ground->path, NULL);
    millpond_contains(s->pond, "warm", 4);
    millpond_ttl(s->pond, "warm", 4, &ttl_ms);
}

static void begin_stepped(void *arg) {
    struct stepped *s = arg;
    if (s->opens) { /* what is done once for each process is done before */
        struct millpond_options options = MILLPOND_OPTIONS_INIT;
        options.size_bytes = 64 << 10;
        options.flags = MILLPOND_CREATE;
        millpond_close(support_open(support_path("other.pond"), &options));
    } else {
        open_pond(s);
    }
}

static void act_stepped(void *arg) {
    struct stepped *s = arg;
    struct survival survival = {.ground = s->ground, .ledger = s->ledger};
    if (s->opens) open_pond(s);
    if (s->scenario)
        s->scenario->act(s->ledger, s->pond);
    else if (!s->opens)
        survive_write_everywhere(&survival, s->pond);
}

/* Kills behind a sample of the steps that changed something. The ground's kept bytes are those before the action. */
static void kill_at_steps(const char *what, struct stepped *stepped, const struct ledger *facts, size_t most) {
    struct action action = {begin_stepped, act_stepped, stepped};
    struct survival survival = {
        .ground = stepped->ground, .ledger = stepped->ledger, .work = thorough ? 400 : 120, .alone = stepped->opens};
    struct trace trace;
    crash_trying("%s, stepped through", what);
    ground_put_back(stepped->ground);
    ground_occupy(stepped->ground, !stepped->opens);
    ledger_put(stepped->ledger, facts);
    step_record(&action, stepped->ground, &trace);
    CHECK(trace.change_count > 3, "%zu steps, of which %zu changed something: nothing was watched", trace.count, trace.change_count);
    survive(&survival);
    unsigned before = deaths;
    if (CRASH_SLOW && !thorough) most = most / 8 + 1;
    for (size_t i = 0; i < trace.change_count; i++) {
        if (support_below(&dice, trace.change_count) >= most) continue;
        size_t steps = trace.changes[i];
        ground_put_back(stepped->ground);
        ledger_put(stepped->ledger, facts);
        crash_trying("%s, killed behind change %zu of %zu (step %zu, before address 0x%llx of the program)", what, i + 1,
                     trace.change_count, steps, (unsigned long long)step_place(&trace, steps));
        pid_t child = step_to(&action, &trace, steps, &drifted);
        if (child == 0) continue;
        step_kill(child);
        survive(&survival);
        deaths++;
    }
    printf("  %-68s %6zu steps, %4zu changes, %4u deaths\n", what, trace.count, trace.change_count, deaths - before);
    step_forget(&trace);
}

/* ---- a writer ---- */

static void sweep_writer(const struct scenario *scenario, const struct brink *brink, size_t most) {
    struct ground ground;
    struct ledger *ledger = ledger_make();
    scenario_ground(scenario, "steps.pond", 0, &ground, ledger);
    if (brink) brink_find(brink, scenario, &ground, ledger);
    struct ledger *facts = ledger_copy(ledger);
    struct stepped stepped = {.ground = &ground, .ledger = ledger, .scenario = scenario};
    kill_at_steps(scenario->sentence, &stepped, facts, most);
    free(facts);
    ground_forget(&ground);
}

/* ---- whoever repairs ---- */

struct dying {
    const struct scenario *scenario;
    struct ground *ground;
    struct ledger *ledger;
    unsigned name;
};

static void arm(void *arg) {
    const struct dying *d = arg;
    crash_at(d->name, 1, SIGKILL);
}

static int act_and_die(void *arg) {
    struct dying *d = arg;
    scenario_act(d->scenario, d->ground, d->ledger, arm, d);
    return 0;
}

static void sweep_repair(const struct scenario *scenario, const char *name, bool alone, size_t most) {
    struct ground ground;
    struct ledger *ledger = ledger_make();
    char what[160];
    snprintf(what, sizeof what, "%s after a death at %s in: %s", alone ? "opening" : "repairing", name, scenario->sentence);
    scenario_ground(scenario, "steps.pond", 0, &ground, ledger);
    crash_trying("%s: the first death", what);
    ground_occupy(&ground, true);
    struct dying dying = {scenario, &ground, ledger, crash_name_number(name)};
    CHECK(dying.name < crash_name_count, "lib/ has no crash point \"%s\" any more", name);
    crash_expect(support_fork(act_and_die, &dying), SIGKILL, "the first victim");
    ground_keep(&ground);
    struct ledger *facts = ledger_copy(ledger);
    struct stepped stepped = {.ground = &ground, .ledger = ledger, .opens = alone};
    kill_at_steps(what, &stepped, facts, most);
    free(facts);
    ground_forget(&ground);
}

/* ---- all ---- */

static const struct {
    const char *sentence; /* a scenario */
    size_t most;          /* deaths in the short form */
} writers[] = {
    {"set new", 40},
    {"set new ones in a row", 60},
    {"set new with a long key", 10},
    {"set new into a hole", 25},
    {"set new with a time to live", 10},
    {"overwrite by appending", 15},
    {"overwrite through a hole", 40},
    {"overwrite with a long key", 30},
    {"overwrite with a long key through a hole", 10},
    {"overwrite with a time to live", 10},
    {"delete", 40},
    {"touch", 25},
    {"incr", 40},
    {"set in chunks", 15},
    {"overwrite in chunks", 25},
    {"delete and touch in chunks", 15},
    {"clear", 15},
    {"sync, then set", 10},
};

static const struct {
    const char *name, *sentence;
    bool alone;
    size_t most;
} repairs[] = {
    {"index.slot_stored", "set new", false, 25},
    {"index.slot_stored", "delete", false, 10},
    {"hole.linked", "overwrite through a hole", false, 10},
    {"move.stored", "displace", false, 25},
    {"move.cleared", "displace", true, 15},
    {"incr.added", "incr", false, 15},
    {"clear.half", "clear", false, 10},
    {"segment.victim", "evict and promote", false, 10},
    {"index.intent", "touch", true, 10},
    {"set.chunk_written", "overwrite in chunks", true, 10},
};

int main(int argc, char **argv) {
    const char *only = "", *impossible;
    for (int i = 1; i + 1 < argc; i++)
        if (strcmp(argv[i], "--only") == 0) only = argv[i + 1];
    thorough = crash_long(argc, argv);
    crash_begin("crash_steps");
    if ((impossible = step_impossible())) {
        printf("crash_steps: skipped: %s\n", impossible);
        support_end();
        return SUPPORT_SKIPPED;
    }
    dice = support_seed("crash_steps");
    for (size_t i = 0; i < sizeof writers / sizeof *writers; i++)
        if (strstr(writers[i].sentence, only))
            sweep_writer(scenario_find(writers[i].sentence), NULL, thorough ? SIZE_MAX : writers[i].most);
    for (size_t i = 0; i < brink_count; i++) {
        struct scenario scenario = brink_scenario(&brinks[i]);
        if (strstr(scenario.sentence, only)) sweep_writer(&scenario, &brinks[i], thorough ? 400 : brinks[i].most);
    }
    for (size_t i = 0; i < sizeof repairs / sizeof *repairs; i++)
        if (strstr("repair", only))
            sweep_repair(scenario_find(repairs[i].sentence), repairs[i].name, repairs[i].alone, thorough ? SIZE_MAX : repairs[i].most);
    if (strstr("beside", only)) beside_all(thorough, &dice, &drifted);
    crash_trying("counting");
    printf("  %u deaths; %u came another way than when they were stepped through\n", deaths, drifted);
    return crash_end();
}
