/* SPDX-License-Identifier: MIT */
/* Killed while a file is put in the place of another one. Two files are at play, so nothing is put back: each try begins with a new pond.
 */

#include "replace.h"

#include "survive.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define OLD_BYTES (UINT64_C(512) << 10)
#define NEW_BYTES (UINT64_C(768) << 10)
#define HOUR_MS   (UINT64_C(3600) * 1000)

static struct {
    char folder[PATH_MAX], path[PATH_MAX];
    struct ledger *ledger;
    struct crash_passed *passed;
    unsigned name, finisher_name; /* where the resizer dies, and who finishes: UINT_MAX nowhere */
    uint32_t nth, finisher_nth;
    unsigned kills;
    bool loads; /* the resizer does it inside a loader, so that its flight goes along */
} r;

#define LOADED_KEY 3u /* absent */

static int prepare(void *arg) {
    (void)arg;
    struct millpond_options options = MILLPOND_OPTIONS_INIT;
    options.size_bytes = OLD_BYTES;
    options.shards = 2;
    options.segment_bytes = 8192;
    options.flags = MILLPOND_CREATE | MILLPOND_EXCLUSIVE;
    struct millpond *pond = support_open(r.path, &options);
    for (uint32_t i = 0; i < 60; i++) ledger_add(r.ledger, pond, 60 + 7 * i);
    for (uint32_t i = 0; i < 4; i++) ledger_add(r.ledger, pond, 6000 + 900 * i); /* in chunks */
    ledger_incr(r.ledger, pond, ledger_key(r.ledger, 12), 7);
    ledger_set(r.ledger, pond, ledger_key(r.ledger, 300), 100, 2 * HOUR_MS);
    ledger_delete(r.ledger, pond, LOADED_KEY);
    ledger_set(r.ledger, pond, 5, 200, 0);
    ledger_key(r.ledger, 12); /* absent */
    ledger_learn(r.ledger, pond);
    CHECK(millpond_sync(pond) == MILLPOND_OK, "sync");
    millpond_close(pond);
    return 0;
}

static void begin(void) {
    memset(r.ledger, 0, sizeof *r.ledger);
    crash_run(prepare, NULL, "the process that prepares");
}

static void resize_it(void *arg) {
    char errmsg[MILLPOND_ERRMSG_BYTES] = "";
    int result = millpond_resize(arg, NEW_BYTES, errmsg);
    CHECK(result == MILLPOND_OK, "resize: %s", errmsg);
}

static int resize(void *unused) {
    (void)unused;
    struct millpond *pond = support_open(r.path, NULL);
    if (r.name == UINT_MAX)
        crash_watch(r.passed);
    else
        crash_at(r.name, r.nth, SIGKILL);
    if (r.loads)
        ledger_fetch_behind(r.ledger, pond, LOADED_KEY, 130, 0, resize_it, pond);
    else
        resize_it(pond);
    crash_unwatch();
    millpond_close(pond);
    return 0;
}

/* A handle that was open all the time, and slept; its first call comes when everything is over. */
struct sleeper {
    pid_t process;
    int *wake;
};

static int sleep_and_look(void *arg) {
    struct sleeper *s = arg;
    struct millpond *pond = support_open(r.path, NULL);
    ledger_audit(r.ledger, pond, false);
    __atomic_store_n(&s->wake[0], 1, __ATOMIC_RELEASE);
    while (!__atomic_load_n(&s->wake[1], __ATOMIC_ACQUIRE)) support_sleep_us(500);
    ledger_audit(r.ledger, pond, true);
    ledger_add(r.ledger, pond, 77);
    ledger_audit(r.ledger, pond, true);
    millpond_close(pond);
    return 0;
}

static void fall_asleep(struct sleeper *s) {
    s->wake = support_share(2 * sizeof *s->wake);
    s->process = support_fork(sleep_and_look, s);
    uint64_t end = support_now_ns() + CRASH_DEADLINE_MS * UINT64_C(1000000);
    while (!__atomic_load_n(&s->wake[0], __ATOMIC_ACQUIRE) && support_now_ns() < end) support_sleep_us(200);
}

static void wake_up(struct sleeper *s) {
    __atomic_store_n(&s->wake[1], 1, __ATOMIC_RELEASE);
    crash_expect(s->process, 0, "the one that slept");
}

static void arm_watch(void *unused) {
    (void)unused;
    crash_watch(r.passed);
}

static void arm_kill(void *unused) {
    (void)unused;
    crash_at(r.finisher_name, r.finisher_nth, SIGKILL);
}

/* The file that has the name, whichever it is; nothing in it is locked, nothing of the other one is left. */
static void require_one_quiet_file(void) {
    struct ground ground;
    bool loads = r.loads;
    ground_map(&ground, r.path);
    ground_require_quiet(&ground);
    ground_unmap(&ground);
    unsigned name = r.name;
    r.name = UINT_MAX;
    r.loads = false;
    crash_run(resize, NULL, "another resizer");
    r.name = name;
    r.loads = loads;
    CHECK(support_count_files(r.folder) == 1, "%d files are left", support_count_files(r.folder));
    CHECK(support_file_bytes(r.path) == (int64_t)NEW_BYTES, "the file has not its new size");
}

/* Every new file has a seed of its own, so a place is passed more often in one run than in another; those of the resize itself are not. */
static void die(pid_t child, unsigned name, uint32_t nth, const char *who) {
    int said = support_wait(child, CRASH_DEADLINE_MS);
    bool sure = nth == 1 && (crash_name_begins(name, "resize.") || crash_name_begins(name, "flight."));
    CHECK(said == -SIGKILL || (said == 0 && !sure), "%s was to be killed and ended with %d", who, said);
    r.kills += said == -SIGKILL;
}

/* One try: the resizer dies, perhaps the finisher dies too, then everybody looks. */
static void kill_and_look(bool asleep, bool finisher) {
    struct ground ground;
    struct sleeper sleeper = {0};
    begin();
    if (asleep) fall_asleep(&sleeper);
    die(support_fork(resize, NULL), r.name, r.nth, "the resizer");
    ground_map(&ground, r.path);
    struct survival survival = {.ground = &ground, .ledger = r.ledger, .work = 120, .alone = !asleep};
    if (finisher) die(survive_fork_writer(&survival, arm_kill, NULL), r.finisher_name, r.finisher_nth, "the one that finishes");
    if (asleep) {
        crash_expect(survive_fork_writer(&survival, NULL, NULL), 0, "the one that goes on");
        wake_up(&sleeper);
        survival.alone = true;
    }
    survive(&survival);
    ground_unmap(&ground);
    require_one_quiet_file();
    unlink(r.path);
}

/* What the first writer passes after a death at r.name. */
static struct crash_passed finisher_passes(void) {
    struct ground ground;
    begin();
    crash_expect(support_fork(resize, NULL), SIGKILL, "the resizer");
    ground_map(&ground, r.path);
    struct survival survival = {.ground = &ground, .ledger = r.ledger, .alone = true};
    memset(r.passed, 0, sizeof *r.passed);
    crash_expect(survive_fork_writer(&survival, arm_watch, NULL), 0, "the one that finishes");
    ground_unmap(&ground);
    unlink(r.path);
    return *r.passed;
}

static void note(struct crash_passed *ever, const struct crash_passed *passed) {
    for (unsigned i = 0; i < crash_name_count; i++) ever->times[i] += passed->times[i];
}

/* Deaths of finishers: behind the mark each of them has everything to do, or a part. */
static void sweep_finishers(struct crash_passed *ever, bool thorough) {
    static const char *const deaths[] = {"resize.replaced", "clear.half", "resize.emptied", "resize.renamed"};
    for (unsigned d = 0; d < sizeof deaths / sizeof *deaths; d++) {
        r.name = crash_name_number(deaths[d]);
        r.nth = 1;
        crash_trying("resize, killed at %s", deaths[d]);
        struct crash_passed counted = finisher_passes();
        note(ever, &counted);
        for (r.finisher_name = 0; r.finisher_name < crash_name_count; r.finisher_name++) {
            uint32_t times = counted.times[r.finisher_name];
            for (r.finisher_nth = 1; r.finisher_nth <= times && r.finisher_nth <= (thorough ? 8 : 2); r.finisher_nth++) {
                crash_trying("resize, killed at %s; the one that finishes killed at %s (%u)", deaths[d], crash_names[r.finisher_name],
                             r.finisher_nth);
                kill_and_look(false, true);
            }
        }
    }
}

/* The resizer dies at everything that it passes, or at what begins so. */
static void sweep_resizers(struct crash_passed *ever, const char *const *beginnings, bool thorough) {
    r.name = UINT_MAX;
    crash_trying("resize%s, not killed", r.loads ? " in a loader" : "");
    begin();
    memset(r.passed, 0, sizeof *r.passed);
    crash_run(resize, NULL, "the resizer");
    struct crash_passed counted = *r.passed;
    note(ever, &counted);
    unlink(r.path);
    for (r.name = 0; r.name < crash_name_count; r.name++) {
        uint32_t times = counted.times[r.name], tries = times < 2 ? times : thorough ? 12 : 2;
        bool wanted = thorough || !beginnings;
        for (unsigned i = 0; !wanted && beginnings[i]; i++) wanted = crash_name_begins(r.name, beginnings[i]);
        for (uint32_t i = 0; wanted && i < tries; i++) {
            r.nth = 1 + i * times * 3 / 4 / tries;
            crash_trying("resize%s, killed at %s (%u)", r.loads ? " in a loader" : "", crash_names[r.name], r.nth);
            kill_and_look(false, false);
            if (thorough || r.loads || crash_name_begins(r.name, "resize.")) kill_and_look(true, false);
        }
    }
}

unsigned replace_sweep(struct ledger *ledger, struct crash_passed *passed, struct crash_passed *ever, bool thorough) {
    static const char *const of_flights[] = {"flight.", "fetch.", "fill.", "resize.r", NULL};
    r.ledger = ledger;
    r.passed = passed;
    snprintf(r.folder, sizeof r.folder, "%s", support_path("resize"));
    snprintf(r.path, sizeof r.path, "%s", support_path("resize/a.pond"));
    CHECK(mkdir(r.folder, 0700) == 0, "%s: %s", r.folder, strerror(errno));
    sweep_resizers(ever, NULL, thorough);
    r.loads = true;
    sweep_resizers(ever, of_flights, thorough);
    r.loads = false;
    sweep_finishers(ever, thorough);
    rmdir(r.folder);
    return r.kills;
}
