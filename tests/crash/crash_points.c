/* SPDX-License-Identifier: MIT */
/* Killed at every named place of every state-changing path; and whoever repairs is killed too.
 *
 * For each scenario a first run counts which names it passes, and how often. Then, for each name and some of its occurrences, a child is
 * killed there with SIGKILL and the survivors look (survive.h). Second level: the first survivor that writes, and so repairs, is killed at
 * each name that it passes; then another one repairs. At the end every name that stands in lib/ must have been passed: a new one without a
 * scenario fails here.
 *
 *     crash_points [--long] [--only TEXT]     TEXT: part of a scenario's sentence */

#include "replace.h"
#include "scenario.h"
#include "survive.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static bool thorough;
static struct crash_passed *passed, *ever; /* by one run; by all of them */
static struct ledger *ledger;
static unsigned kills, kills_of_repairers;

static void note_passed(void) {
    for (unsigned i = 0; i < crash_name_count; i++) ever->times[i] += passed->times[i];
}

/* Which occurrences of `times`: the first, one in the middle, the last; many in the long form. Returns how many. */
static unsigned occurrences(uint32_t times, uint32_t which[], unsigned most) {
    unsigned n = 0;
    for (unsigned i = 0; i < most; i++) {
        uint32_t at = most == 1 ? 1 : 1 + (uint32_t)((uint64_t)(times - 1) * i / (most - 1));
        if (n == 0 || which[n - 1] != at) which[n++] = at;
    }
    return n;
}

/* ---- a scenario ---- */

struct run {
    const struct scenario *scenario;
    struct ground *ground;
    unsigned name;
    uint32_t nth;
};

static void arm_watch(void *unused) {
    (void)unused;
    crash_watch(passed);
}

static int act_watched(void *arg) {
    const struct run *run = arg;
    scenario_act(run->scenario, run->ground, ledger, arm_watch, NULL);
    return 0;
}

static void arm_kill(void *arg) {
    const struct run *run = arg;
    crash_at(run->name, run->nth, SIGKILL);
}

static int act_and_die(void *arg) {
    struct run *run = arg;
    scenario_act(run->scenario, run->ground, ledger, arm_kill, run);
    return 0;
}

/* The survivor that repairs is killed at everything that it passes. The bytes and the ledger are as the first death left them. */
static void second_level(struct run *first, const struct survival *survival) {
    unsigned char *image = ground_image(first->ground);
    struct ledger *facts = ledger_copy(ledger);
    memset(passed, 0, sizeof *passed);
    crash_expect(survive_fork_writer(survival, arm_watch, NULL), 0, "the one that repairs");
    note_passed();
    struct crash_passed counted = *passed;
    for (unsigned name = 0; name < crash_name_count; name++) {
        bool repairing = crash_name_begins(name, "recover.") || crash_name_begins(name, "rebuild.") || crash_name_begins(name, "clear.") ||
                         crash_name_begins(name, "redo.");
        if (counted.times[name] == 0 || (!thorough && !repairing)) continue;
        uint32_t which[8];
        unsigned n = occurrences(counted.times[name], which, thorough ? 4 : 1);
        for (unsigned i = 0; i < n; i++) {
            struct run second = {first->scenario, first->ground, name, which[i]};
            ground_put(first->ground, image);
            ledger_put(ledger, facts);
            crash_trying("%s, killed at %s (%u); the one that repairs killed at %s (%u)", first->scenario->sentence,
                         crash_names[first->name], first->nth, crash_names[name], which[i]);
            crash_expect(survive_fork_writer(survival, arm_kill, &second), SIGKILL, "the one that repairs");
            survive(survival);
            kills_of_repairers++;
        }
    }
    free(image);
    free(facts);
}

/* `alone`: nobody else has the file open, so that who opens it next repairs; otherwise who locks next. */
static void kill_at(struct run *run, const struct ledger *facts, bool again, bool alone) {
    struct survival survival = {.ground = run->ground, .ledger = ledger, .work = thorough ? 1200 : 250, .alone = alone};
    ground_put_back(run->ground);
    ground_occupy(run->ground, !alone);
    ledger_put(ledger, facts);
    crash_trying("%s, killed at %s (%u)", run->scenario->sentence, crash_names[run->name], run->nth);
    crash_expect(support_fork(act_and_die, run), SIGKILL, "the victim");
    kills++;
    if (again) {
        unsigned char *image = ground_image(run->ground);
        struct ledger *left = ledger_copy(ledger);
        second_level(run, &survival);
        ground_put(run->ground, image);
        ledger_put(ledger, left);
        free(image);
        free(left);
        crash_trying("%s, killed at %s (%u)", run->scenario->sentence, crash_names[run->name], run->nth);
    }
    survive(&survival);
}

static void sweep(const struct scenario *scenario) {
    struct ground ground;
    scenario_ground(scenario, "sweep.pond", 0, &ground, ledger);
    struct ledger *facts = ledger_copy(ledger);
    struct run run = {scenario, &ground, 0, 0};
    unsigned before = kills, before_repairers = kills_of_repairers;

    memset(passed, 0, sizeof *passed);
    crash_trying("%s, not killed", scenario->sentence);
    crash_run(act_watched, &run, "the one that acts");
    note_passed();
    struct crash_passed counted = *passed;
    struct survival survival = {.ground = &ground, .ledger = ledger, .work = 250};
    survive(&survival);

    for (run.name = 0; run.name < crash_name_count; run.name++) {
        if (counted.times[run.name] == 0) continue;
        uint32_t which[32];
        /* Changes of the index differ most: at home or away, in and out. */
        unsigned most = thorough ? 16 : CRASH_SLOW ? 1 : crash_name_begins(run.name, "index.") ? 9 : 3;
        unsigned n = occurrences(counted.times[run.name], which, most);
        for (unsigned i = 0; i < n; i++) {
            run.nth = which[i];
            kill_at(&run, facts, thorough || (i == 0 && !(CRASH_SLOW && run.name % 4)), i % 2 == 1);
            if (i == 0 && !CRASH_SLOW) kill_at(&run, facts, thorough, true);
        }
    }
    printf("  %-42s %4u kills, %5u of those who repair\n", scenario->sentence, kills - before, kills_of_repairers - before_repairers);
    free(facts);
    ground_forget(&ground);
}

/* ---- creating ---- */

struct creation {
    char folder[PATH_MAX], path[PATH_MAX];
    unsigned name;
    uint32_t nth;
    int signal; /* 0: only count */
};

static struct millpond *open_or_create(const struct creation *c) {
    struct millpond_options options = MILLPOND_OPTIONS_INIT;
    options.size_bytes = 256 << 10;
    options.flags = MILLPOND_CREATE;
    return support_open(c->path, &options);
}

static int create(void *arg) {
    const struct creation *c = arg;
    if (c->signal)
        crash_at(c->name, c->nth, c->signal);
    else
        crash_watch(passed);
    struct millpond *pond = open_or_create(c);
    crash_unwatch();
    CHECK(millpond_set(pond, "first", 5, "creator", 7, 0) == MILLPOND_OK, "set");
    millpond_close(pond);
    return 0;
}

static int create_other(void *arg) {
    const struct creation *c = arg;
    struct millpond *pond = open_or_create(c);
    CHECK(millpond_set(pond, "other", 5, "creator", 7, 0) == MILLPOND_OK, "set");
    millpond_close(pond);
    return 0;
}

static int require_both(void *arg) {
    const struct creation *c = arg;
    struct millpond *pond = support_open(c->path, NULL);
    CHECK(millpond_contains(pond, "other", 5) == MILLPOND_OK, "what the other creator stored is gone");
    if (c->signal == SIGSTOP) CHECK(millpond_contains(pond, "first", 5) == MILLPOND_OK, "the first creator went on in another file");
    millpond_close(pond);
    CHECK(millpond_check(c->path, 0, NULL, NULL, NULL, NULL) == MILLPOND_OK, "the file is not whole");
    return 0;
}

static void require_alone(const struct creation *c, const char *when) {
    CHECK(support_count_files(c->folder) <= 1, "%s: %d files are left", when, support_count_files(c->folder));
    if (support_count_files(c->folder) == 1)
        CHECK(support_file_bytes(c->path) == 256 << 10, "%s: a file of %lld bytes is left", when, (long long)support_file_bytes(c->path));
}

/* The first creator is killed, or stopped and later allowed to go on; the other one creates meanwhile. */
static void create_beside(struct creation *c, int signal) {
    c->signal = signal;
    crash_trying("create, %s at %s (%u)", signal == SIGKILL ? "killed" : "stopped", crash_names[c->name], c->nth);
    pid_t child = support_fork(create, c);
    if (signal == SIGKILL)
        crash_expect(child, SIGKILL, "the creator");
    else
        crash_await_stop(child, "the creator");
    require_alone(c, "after the death");
    crash_run(create_other, c, "the other creator");
    if (signal == SIGSTOP) {
        kill(child, SIGCONT);
        crash_expect(child, 0, "the creator that went on");
    }
    crash_run(require_both, c, "the one that looks");
    CHECK(support_count_files(c->folder) == 1, "%d files are left", support_count_files(c->folder));
    unlink(c->path);
    kills++;
}

static void sweep_creation(void) {
    struct creation c = {.signal = 0};
    snprintf(c.folder, sizeof c.folder, "%s", support_path("new"));
    CHECK(mkdir(c.folder, 0700) == 0, "%s: %s", c.folder, strerror(errno));
    snprintf(c.path, sizeof c.path, "%s/a.pond", support_path("new"));
    memset(passed, 0, sizeof *passed);
    crash_trying("create, not killed");
    crash_run(create, &c, "the creator");
    unlink(c.path);
    note_passed();
    struct crash_passed counted = *passed;
    unsigned before = kills;
    for (c.name = 0; c.name < crash_name_count; c.name++)
        for (c.nth = 1; c.nth <= counted.times[c.name] && c.nth <= 2; c.nth++) {
            create_beside(&c, SIGKILL);
            /* From there on it holds the lock of openers, for which others wait ten seconds. */
            if (!crash_name_begins(c.name, "attach.")) create_beside(&c, SIGSTOP);
        }
    rmdir(c.folder);
    printf("  %-42s %4u kills and stops\n", "create, beside another creator", kills - before);
}

/* ---- a file of another boot ---- */

static int open_dying(void *arg) {
    const struct run *run = arg;
    if (run->nth)
        crash_at(run->name, run->nth, SIGKILL);
    else
        crash_watch(passed);
    millpond_close(support_open(run->ground->path, NULL));
    return 0;
}

static void sweep_reboot(const char *sentence, bool warm) {
    struct ground ground;
    struct support_random random = {warm};
    const struct scenario *scenario = &scenarios[scenario_count - 1];
    scenario_ground(scenario, "reboot.pond", 0, &ground, ledger); /* it has just been synced */
    if (!warm) {
        struct run nothing = {scenario, &ground, 0, 0};
        crash_run(act_watched, &nothing, "the one that acts"); /* its last write takes the mark away */
        for (uint32_t key = 0; key < ledger->count; key++) ledger->records[key].now = (struct fact){.kind = FACT_ABSENT};
        ledger->evictions = 0;
    }
    ground_reboot(&ground, &random);
    ground_keep(&ground);
    struct ledger *facts = ledger_copy(ledger);
    struct run run = {scenario, &ground, 0, 0};
    memset(passed, 0, sizeof *passed);
    crash_trying("%s, not killed", sentence);
    crash_run(open_dying, &run, "the opener");
    note_passed();
    struct crash_passed counted = *passed;
    unsigned before = kills;
    for (run.name = 0; run.name < crash_name_count; run.name++)
        for (run.nth = 1; run.nth <= counted.times[run.name] && run.nth <= 4; run.nth++) {
            ground_put_back(&ground);
            ledger_put(ledger, facts);
            crash_trying("%s, killed at %s (%u)", sentence, crash_names[run.name], run.nth);
            crash_expect(support_fork(open_dying, &run), SIGKILL, "the opener");
            struct run again = {scenario, &ground, 0, 0};
            crash_run(open_dying, &again, "the next opener");
            struct survival survival = {.ground = &ground, .ledger = ledger, .work = 250};
            survive(&survival);
            kills++;
        }
    printf("  %-42s %4u kills\n", sentence, kills - before);
    free(facts);
    ground_forget(&ground);
}

int main(int argc, char **argv) {
    const char *only = "";
    for (int i = 1; i + 1 < argc; i++)
        if (strcmp(argv[i], "--only") == 0) only = argv[i + 1];
    thorough = crash_long(argc, argv);
    crash_begin("crash_points");
    passed = support_share(sizeof *passed);
    ever = support_share(sizeof *ever);
    ledger = ledger_make();
    for (unsigned i = 0; i < scenario_count; i++)
        if (strstr(scenarios[i].sentence, only)) sweep(&scenarios[i]);
    if (strstr("create", only)) sweep_creation();
    if (strstr("resize", only)) {
        unsigned killed = replace_sweep(ledger, passed, ever, thorough);
        printf("  %-42s %4u kills\n", "resize, and who finishes it", killed);
        kills += killed;
    }
    if (strstr("reboot", only)) {
        sweep_reboot("open after a restart, with a mark", true);
        sweep_reboot("open after a restart, without", false);
    }
    crash_trying("what was reached");
    printf("  %u kills, %u of those who repair\n", kills, kills_of_repairers);
    unsigned missed = 0;
    for (unsigned i = 0; i < crash_name_count && !*only; i++) {
        if (ever->times[i] == 0) fprintf(stderr, "  never passed: %s\n", crash_names[i]);
        missed += ever->times[i] == 0;
    }
    CHECK(missed == 0, "%u names of the library are passed by no scenario: write one for each", missed);
    return crash_end();
}
