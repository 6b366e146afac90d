/* SPDX-License-Identifier: MIT */
/* The wall clock stepped forward and back by up to a year, again and again, under a file that several processes use; processes whose clocks
 * are a year apart; the command run under such clocks. The program starts itself again with a preloaded clock (shifted_clock.c).
 *
 * True time passes by pass(), the clock is set by step(): the library sees the same thing, the test keeps them apart. What must hold, by
 * the rules at the top of lib/expire.c, with a write before and after each step:
 *   - nothing is served longer than asked by more than two seconds for each time that the clock was set back since it was stored, and
 *     two for the times before: within two seconds behind a step back the file's clock stands still, and what is stored then lives longer
 *   - nothing is gone early unless the clock was set forward */

#include "support.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern int64_t *shifted_clock_ms __attribute__((weak));
extern uint64_t shifted_clock_calls __attribute__((weak));

#define SECOND_MS INT64_C(1000)
#define HOUR_MS   INT64_C(3600000)
#define YEAR_MS   (INT64_C(365) * 24 * HOUR_MS)
#define BACK_MS   (INT64_C(2) * SECOND_MS)
#define REAL_MS   INT64_C(60000) /* more than a case takes: real time passes too */

static struct millpond *pond;
static const char *path;
static int64_t true_ms;

static void begin(const char *name) {
    shifted_clock_ms = support_share(sizeof *shifted_clock_ms);
    true_ms = 0;
    path = support_path("%s", name);
    pond = support_create(path, 4 << 20);
}

static int end(void) {
    millpond_close(pond);
    support_require_whole(path);
    return 0;
}

static void step(int64_t ms) { __atomic_fetch_add(shifted_clock_ms, ms, __ATOMIC_SEQ_CST); }
static void pass(int64_t ms) {
    true_ms += ms;
    step(ms);
}

static void set(const char *key, int64_t ttl_ms) {
    int result = millpond_set(pond, key, strlen(key), "v", 1, (uint64_t)ttl_ms);
    REQUIRE(result == MILLPOND_OK, "set %s: %d", key, result);
}

/* A write that looks at the clock: one with a time to live. Others do not, and reads neither: the file does not know of time that passes
 * between such writes when the clock is then set back. */
static void write_something(void) { set("mark", HOUR_MS); }

static bool there(const char *key) {
    char value[8];
    int result = millpond_get(pond, key, strlen(key), value, sizeof value, NULL);
    REQUIRE(result == MILLPOND_OK || result == MILLPOND_MISS, "get %s: %d", key, result);
    return result == MILLPOND_OK;
}

/* ---- at random ---- */

#define KEYS 40

struct entry {
    bool stored;
    int64_t end_ms;  /* by true time */
    int64_t back;    /* times set back before it was stored */
    int64_t forward; /* the same, forward */
};

static struct {
    struct entry entries[KEYS];
    int64_t back, forward, hits, gone;
} * world;

static void store(int number, int64_t ttl_ms) {
    char key[16];
    snprintf(key, sizeof key, "key-%d", number);
    set(key, ttl_ms);
    world->entries[number] = (struct entry){true, true_ms + ttl_ms, world->back, world->forward};
}

static void judge(int number) {
    const struct entry *e = &world->entries[number];
    char key[16];
    snprintf(key, sizeof key, "key-%d", number);
    if (!e->stored) return;
    bool served = there(key);
    int64_t late = true_ms - e->end_ms, steps = world->back - e->back + (e->back > 0);
    REQUIRE(!served || late < steps * BACK_MS + (steps == 0), "%s is served %lld ms longer than asked, %lld steps back allow %lld", key,
            (long long)late, (long long)steps, (long long)(steps * BACK_MS));
    REQUIRE(served || world->forward > e->forward || late >= -REAL_MS, "%s is gone %lld ms early without a step forward", key,
            (long long)-late);
    world->hits += served;
    world->gone += !served;
}

/* A step of up to a year, small ones as often as large ones. */
static void step_at_random(struct support_random *dice) {
    int64_t ms = (int64_t)support_log_size(dice, 1, (size_t)YEAR_MS);
    if (support_below(dice, 2)) {
        world->back++;
        ms = -ms;
    } else {
        world->forward++;
    }
    /* The sum stays within a year of the truth, as a clock's would. */
    int64_t wrong = *shifted_clock_ms - true_ms + ms;
    if (wrong > YEAR_MS || wrong < -YEAR_MS) ms = 0;
    write_something();
    step(ms);
    write_something();
}

/* Time passes: by as much as it likes, or until an entry is about to end. */
static void pass_at_random(struct support_random *dice) {
    const struct entry *e = &world->entries[support_below(dice, KEYS)];
    int64_t left = e->end_ms - true_ms - 2 * BACK_MS;
    if (e->stored && left > 0 && support_below(dice, 2))
        pass(left + (int64_t)support_below(dice, 4 * BACK_MS));
    else
        pass((int64_t)support_log_size(dice, 1, (size_t)(24 * HOUR_MS)));
}

struct turns {
    uint64_t seed;
    int64_t count, *passed;
};

/* A child goes on where its parent stands: the clock and the world are shared, the true time comes back through `passed`. */
static int some_turns(void *arg) {
    struct turns *turns = arg;
    struct support_random dice = {turns->seed};
    for (int64_t i = 0; i < turns->count; i++) {
        int number = (int)support_below(&dice, KEYS);
        switch (support_below(&dice, 6)) {
        case 0: store(number, 10 * REAL_MS + (int64_t)support_log_size(&dice, 1, (size_t)(10 * 24 * HOUR_MS))); break;
        case 1: pass_at_random(&dice); break;
        case 2:
            if (support_below(&dice, 8) == 0) step_at_random(&dice);
            break;
        default: judge(number);
        }
    }
    *turns->passed = true_ms;
    return 0;
}

static int steps_at_random(void *arg) {
    (void)arg;
    begin("random.pond");
    world = support_share(sizeof *world);
    int64_t *passed = support_share(sizeof *passed);
    struct support_random dice = support_seed("steps of the clock");
    write_something();
    for (int round = 0; round < 200; round++) {
        struct turns turns = {support_next(&dice), 250, passed};
        if (round % 2)
            REQUIRE(support_run_child(some_turns, &turns, 20000) == 0, "a child failed");
        else
            some_turns(&turns);
        true_ms = *passed;
    }
    printf("  %lld steps back, %lld forward, %lld days; %lld times there, %lld times gone\n", (long long)world->back,
           (long long)world->forward, (long long)(true_ms / 24 / HOUR_MS), (long long)world->hits, (long long)world->gone);
    REQUIRE(world->back > 100 && world->forward > 100 && world->hits > 500 && world->gone > 500, "too little happened");
    return end();
}

/* ---- a step too small to be made up for ---- */

static int stands_still(void *arg) {
    (void)arg;
    begin("still.pond");
    write_something();
    step(-BACK_MS * 3 / 4);
    set("hour", HOUR_MS);
    pass(HOUR_MS - BACK_MS / 4);
    REQUIRE(there("hour"), "gone early");
    pass(BACK_MS / 4 + BACK_MS);
    REQUIRE(!there("hour"), "served two seconds longer than asked");
    write_something();
    step(-BACK_MS * 2);
    set("hour", HOUR_MS); /* more than two seconds: made up for at once */
    pass(HOUR_MS + BACK_MS / 2);
    REQUIRE(!there("hour"), "served a second longer than asked, after a step that was made up for");
    return end();
}

/* ---- readers alone ---- */

static int nobody_writes(void *arg) {
    (void)arg;
    begin("reading.pond");
    set("hour", HOUR_MS);
    step(-YEAR_MS);
    REQUIRE(there("hour"), "gone at once");
    pass(YEAR_MS / 2);
    there("hour"); /* allowed: no writer has come */
    pass(YEAR_MS / 2 + HOUR_MS + BACK_MS);
    REQUIRE(!there("hour"), "served for an hour and a year, by readers alone");
    set("hour", HOUR_MS);
    step(-YEAR_MS);
    write_something(); /* the first writer after the step ends it */
    pass(HOUR_MS + BACK_MS);
    REQUIRE(!there("hour"), "served longer than asked although a writer has come");
    return end();
}

/* ---- clocks a year apart ---- */

struct other {
    int64_t by_ms, own_ms;
    int turn; /* odd: its turn; negative: the end */
};

/* Lives as long as the case: its clock is wrong from its first call to its last. */
static int write_with_another_clock(void *arg) {
    struct other *other = arg;
    other->own_ms = *shifted_clock_ms + other->by_ms;
    shifted_clock_ms = &other->own_ms;
    pond = support_open(path, NULL);
    for (int turn; (turn = __atomic_load_n(&other->turn, __ATOMIC_SEQ_CST)) >= 0;) {
        if (turn % 2 == 0) {
            support_sleep_us(50);
            continue;
        }
        set("theirs", HOUR_MS);
        __atomic_store_n(&other->turn, turn + 1, __ATOMIC_SEQ_CST);
    }
    millpond_close(pond);
    return 0;
}

static int apart(const char *name, int64_t by_ms, int turns) {
    begin(name);
    struct other *other = support_share(sizeof *other);
    other->by_ms = by_ms;
    pid_t child = support_fork(write_with_another_clock, other);
    for (int i = 0; i < turns; i++) {
        char turn[16];
        snprintf(turn, sizeof turn, "turn-%d", i);
        set("ours", HOUR_MS);
        set(turn, HOUR_MS);
        __atomic_fetch_add(&other->turn, 1, __ATOMIC_SEQ_CST);
        uint64_t late = support_now_ns() + UINT64_C(10000000000);
        while (__atomic_load_n(&other->turn, __ATOMIC_SEQ_CST) % 2) REQUIRE(support_now_ns() < late, "the other process does not answer");
    }
    __atomic_store_n(&other->turn, -1, __ATOMIC_SEQ_CST);
    REQUIRE(support_wait(child, 10000) == 0, "the other process");
    set("ours", HOUR_MS);
    REQUIRE(there("ours"), "what was stored last is gone at once");
    pass(HOUR_MS + BACK_MS);
    write_something();
    REQUIRE(!there("ours"), "stored for an hour, still there two seconds after it");
    REQUIRE(!there("theirs"), "stored for an hour by the other process, still there two seconds after it");
    for (int i = 0; i < turns; i++) {
        char turn[16];
        snprintf(turn, sizeof turn, "turn-%d", i);
        REQUIRE(!there(turn), "turn %d of %d: stored for an hour, still there two seconds after it", i, turns);
    }
    set("new", HOUR_MS);
    REQUIRE(there("new"), "what is stored afterwards does not live");
    return end();
}

static int a_year_apart(void *arg) {
    (void)arg;
    apart("ahead.pond", YEAR_MS, 40);
    return apart("behind.pond", -YEAR_MS, 40);
}

static int a_year_apart_for_long(void *arg) {
    (void)arg;
    apart("long-ahead.pond", YEAR_MS, 300);
    return apart("long-behind.pond", -YEAR_MS, 300);
}

/* ---- the command ---- */

static const char *command;

/* Runs the command with a clock that is wrong by shift_ms. Returns its exit status. */
static int run(int64_t shift_ms, const char *verb, const char *rest) {
    char line[8192], said[256];
    snprintf(line, sizeof line, "MILLPOND_TEST_SHIFT_MS=%lld '%s' %s '%s' %s 2>&1 </dev/null", (long long)shift_ms, command, verb, path,
             rest);
    FILE *output = popen(line, "r");
    REQUIRE(output, "%s: %s", line, strerror(errno));
    size_t bytes = fread(said, 1, sizeof said - 1, output);
    said[bytes] = 0;
    int status = pclose(output);
    REQUIRE(WIFEXITED(status) && WEXITSTATUS(status) < 2, "%s: %s", line, said);
    return WEXITSTATUS(status);
}

static int commands(void *arg) {
    (void)arg;
    command = getenv("MILLPOND_COMMAND");
    if (!command || access(command, X_OK) != 0) return support_skip("MILLPOND_COMMAND does not name the command millpond");
    path = support_path("command.pond");
    run(0, "create", "--size 1M");
    run(0, "set", "early v --ttl 2h");
    run(YEAR_MS, "set", "wrong v --ttl 1h");
    REQUIRE(run(0, "get", "early") == 1, "a year has passed, by the file's clock, and two hours are not over");
    run(0, "set", "right v --ttl 1h");
    REQUIRE(run(0, "get", "right") == 0 && run(0, "get", "wrong") == 0, "gone at once");
    REQUIRE(run(HOUR_MS - REAL_MS, "get", "right") == 0, "gone early");
    REQUIRE(run(HOUR_MS + BACK_MS, "get", "right") == 1 && run(HOUR_MS + BACK_MS, "get", "wrong") == 1, "served longer than asked");
    run(-YEAR_MS, "set", "past v --ttl 1h");
    REQUIRE(run(-YEAR_MS, "get", "past") == 0, "gone at once");
    REQUIRE(run(-YEAR_MS + HOUR_MS + BACK_MS, "get", "past") == 1, "served longer than asked after a step back");
    REQUIRE(run(0, "check", "") == 0, "check");
    return 0;
}

int main(int argc, char **argv) {
    static const struct support_case cases[] = {
        {"the clock is stepped by up to a year, hundreds of times, under two processes", steps_at_random, 60000},
        {"what is stored behind a small step back lives two seconds longer at most", stands_still, 20000},
        {"after a step back readers alone serve nothing longer than the step", nobody_writes, 20000},
        {"two processes, their clocks a year apart, write in turn", a_year_apart, 30000},
        {"the same, long enough for a century of differences", a_year_apart_for_long, 60000},
        {"the command with its clock a year ahead and a year behind", commands, 60000},
    };
    const char *clock = getenv("MILLPOND_TEST_CLOCK");
    if (&shifted_clock_ms == NULL) { /* started without the preloaded clock */
        if (!clock || getenv("LD_PRELOAD"))
            return fprintf(stderr, "MILLPOND_TEST_CLOCK must name the library made of shifted_clock.c\n"), 1;
        setenv("LD_PRELOAD", clock, 1);
        execv("/proc/self/exe", argv);
        return perror("execv"), 1;
    }
    return support_run_cases(argc, argv, cases, sizeof cases / sizeof *cases);
}
