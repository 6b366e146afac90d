/* SPDX-License-Identifier: MIT */
/* What a process finds that opens a file of another boot. */

#include "reboot.h"

#include <stdlib.h>
#include <string.h>

static struct finding *found; /* shared */

struct opening {
    const char *path;
    const struct ledger *facts;
    bool judge;
};

static void count_answer(const struct ledger *facts, struct millpond *pond, uint32_t key) {
    static unsigned char value[LEDGER_VALUE_MAX];
    const struct fact *fact = &facts->records[key].now;
    char text[512];
    size_t bytes = 0;
    uint64_t sequence = 0;
    if (fact->kind == FACT_NUMBER) return; /* any text of a number could be right */
    ledger_spell(facts, key, text);
    int result = millpond_get(pond, text, facts->records[key].key_bytes, value, sizeof value, &bytes);
    CHECK(result == MILLPOND_OK || result == MILLPOND_MISS, "a get: %s", millpond_strerror(result));
    if (result == MILLPOND_MISS)
        found->right += fact->kind == FACT_ABSENT, found->missing += fact->kind != FACT_ABSENT;
    else if (support_value_read(value, bytes, key, &sequence))
        found->torn++;
    else if (fact->kind == FACT_VALUE && sequence == fact->sequence)
        found->right++;
    else
        found->stale++;
}

static void write_something(struct millpond *pond) {
    struct millpond_incr create = {0, 0};
    CHECK(millpond_set(pond, "after", 5, "the restart", 11, 0) == MILLPOND_OK, "a set after a restart");
    CHECK(millpond_contains(pond, "after", 5) == MILLPOND_OK, "what was set after a restart is not there");
    CHECK(millpond_incr(pond, "count", 5, 1, &create, NULL) == MILLPOND_OK, "an incr after a restart");
    CHECK(millpond_delete(pond, "after", 5) == MILLPOND_OK, "a delete after a restart");
    CHECK(millpond_delete(pond, "count", 5) == MILLPOND_OK, "a delete of a counter after a restart");
}

static int open_and_look(void *arg) {
    const struct opening *o = arg;
    struct millpond_options options = MILLPOND_OPTIONS_INIT;
    struct millpond_stats stats;
    struct millpond *pond = NULL;
    struct millpond_check check = {0, 0, 0, 0};
    char errmsg[MILLPOND_ERRMSG_BYTES];
    options.lock_timeout_ms = 1000;
    int result = millpond_open(&pond, o->path, &options, errmsg);
    CHECK(result == MILLPOND_OK, "it does not open: %s", errmsg);
    CHECK(millpond_stats(pond, -1, &stats) == MILLPOND_OK, "stats");
    found->items = stats.items;
    found->warm = stats.warm_starts;
    found->cold = stats.cold_starts;
    struct ledger *facts = ledger_copy(o->facts);
    facts->evictions = stats.evictions;
    for (uint32_t key = 0; key < facts->count && o->judge; key++) count_answer(facts, pond, key);
    if (!o->judge) ledger_audit(facts, pond, true);
    write_something(pond);
    result = millpond_check(o->path, 0, NULL, NULL, &check, NULL);
    found->damages = check.damages;
    CHECK(result == MILLPOND_OK || o->judge, "the check finds %llu damages after a restart", (unsigned long long)check.damages);
    millpond_close(pond);
    free(facts);
    return 0;
}

struct finding reboot_open(const char *path, const struct ledger *facts, bool judge) {
    struct opening opening = {path, facts, judge};
    if (!found) found = support_share(sizeof *found);
    memset(found, 0, sizeof *found);
    crash_run(open_and_look, &opening, "the opener");
    return *found;
}

static int use_at_once(void *path) {
    struct millpond *pond = support_open(path, NULL);
    for (int i = 0; i < 50; i++) {
        struct millpond_stats stats;
        CHECK(millpond_set(pond, &i, sizeof i, "value", 5, 0) == MILLPOND_OK, "a set beside other openers");
        int result = millpond_contains(pond, &i, sizeof i);
        CHECK(millpond_stats(pond, -1, &stats) == MILLPOND_OK, "stats");
        CHECK(result == MILLPOND_OK || stats.evictions > 0, "a key that was set beside other openers is not there");
    }
    millpond_close(pond);
    return 0;
}

void reboot_open_together(const char *path) {
    char copy[PATH_MAX];
    pid_t child[4];
    memccpy(copy, path, 0, sizeof copy);
    for (int i = 0; i < 4; i++) child[i] = support_fork(use_at_once, copy);
    for (int i = 0; i < 4; i++) crash_expect(child[i], 0, "one of four openers");
}
