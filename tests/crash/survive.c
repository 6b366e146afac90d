/* SPDX-License-Identifier: MIT */
/* Those who go on after a death. */

#include "survive.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

static struct millpond *open_as(const struct survival *s, uint32_t flags) {
    struct millpond_options options = MILLPOND_OPTIONS_INIT;
    options.flags = flags;
    options.lock_timeout_ms = 5000; /* a lock that is not given back shows as BUSY */
    struct millpond *pond = NULL;
    char errmsg[MILLPOND_ERRMSG_BYTES];
    int result = millpond_open(&pond, s->ground->path, &options, errmsg);
    CHECK(result == MILLPOND_OK, "a survivor could not open: %s", errmsg);
    return pond;
}

void survive_look(const struct survival *s) {
    struct millpond *pond = open_as(s, MILLPOND_READONLY);
    ledger_audit(s->ledger, pond, false);
    millpond_close(pond);
}

static int look(void *arg) {
    survive_look(arg);
    return 0;
}

void survive_write_everywhere(const struct survival *s, struct millpond *pond) {
    uint32_t shards = s->ground->map.geometry.shard_count, done = 0;
    char text[512];
    for (uint32_t shard = 0; shard < shards; shard++) {
        uint32_t key;
        do { /* of keys that are never stored, too: they must stay absent */
            key = ledger_key(s->ledger, 16);
            ledger_spell(s->ledger, key, text);
        } while (ground_shard_of(s->ground, text, 16) != shard);
        ledger_set(s->ledger, pond, key, 40, 0);
        done++;
    }
    CHECK(done == shards, "wrote into %u shards of %u", done, shards);
}

struct writer {
    const struct survival *survival;
    void (*prepare)(void *arg);
    void *arg;
};

static int write_everywhere(void *arg) {
    const struct writer *writer = arg;
    if (writer->prepare && writer->survival->alone) writer->prepare(writer->arg);
    struct millpond *pond = open_as(writer->survival, 0);
    if (writer->prepare && !writer->survival->alone) writer->prepare(writer->arg);
    survive_write_everywhere(writer->survival, pond);
    crash_unwatch();
    millpond_close(pond);
    return 0;
}

pid_t survive_fork_writer(const struct survival *s, void (*prepare)(void *arg), void *arg) {
    struct writer writer = {s, prepare, arg};
    return support_fork(write_everywhere, &writer);
}

/* ---- the full examination ---- */

static void print_damage(void *arg, const char *sentence) {
    (void)arg;
    fprintf(stderr, "  %s\n", sentence);
}

struct visits {
    uint64_t entries, bytes;
};

static int visit(void *arg, const struct millpond_entry *entry) {
    struct visits *visits = arg;
    visits->entries++;
    visits->bytes += entry->key_bytes + entry->value_bytes;
    return 0;
}

/* Check, statistics, scan and ledger must say the same. */
static void examine(const struct survival *s, struct millpond *pond, const struct audit *audit) {
    struct millpond_check check = {0, 0, 0, 0};
    struct millpond_stats stats;
    struct visits visits = {0, 0};
    char errmsg[MILLPOND_ERRMSG_BYTES] = "";
    int result = millpond_check(s->ground->path, 0, print_damage, NULL, &check, errmsg);
    CHECK(result == MILLPOND_OK, "the check finds %llu damages: %s %s", (unsigned long long)check.damages, millpond_strerror(result),
          errmsg);
    CHECK(millpond_stats(pond, -1, &stats) == MILLPOND_OK, "stats");
    CHECK(stats.items == check.entries && stats.bytes == check.bytes, "statistics say %llu items, %llu bytes; recounted: %llu, %llu",
          (unsigned long long)stats.items, (unsigned long long)stats.bytes, (unsigned long long)check.entries,
          (unsigned long long)check.bytes);
    CHECK(millpond_scan(pond, NULL, 0, 0, visit, &visits) == MILLPOND_OK, "scan");
    CHECK(visits.entries == audit->present, "a scan shows %llu entries, and %llu are there", (unsigned long long)visits.entries,
          (unsigned long long)audit->present);
    if (s->ledger->lingering) {
        CHECK(check.entries >= audit->present, "%llu entries, of which %llu can be read", (unsigned long long)check.entries,
              (unsigned long long)audit->present);
        return;
    }
    CHECK(check.entries == audit->present, "%llu entries, of which %llu can be read", (unsigned long long)check.entries,
          (unsigned long long)audit->present);
    if (audit->numbers == 0)
        CHECK(check.bytes == audit->bytes, "%llu bytes are counted, and %llu can be read", (unsigned long long)check.bytes,
              (unsigned long long)audit->bytes);
}

/* What was unfinished must not be cursed: it can be changed like anything else. */
static void change_unfinished(const struct survival *s, struct millpond *pond) {
    struct ledger *ledger = s->ledger;
    uint32_t unfinished[16], n = 0;
    for (uint32_t key = 0; key < ledger->count && n < 16; key++)
        if (ledger->records[key].pending) unfinished[n++] = key;
    ledger_settle(ledger, pond);
    for (uint32_t i = 0; i < n; i++) ledger_set(ledger, pond, unfinished[i], 64 + i, 0);
    ledger_audit(ledger, pond, true);
    ledger_settle(ledger, pond);
    for (uint32_t i = 0; i < n; i += 2)
        if (ledger->records[unfinished[i]].now.kind != FACT_ABSENT) ledger_delete(ledger, pond, unfinished[i]);
    ledger_audit(ledger, pond, true);
    ledger_settle(ledger, pond);
    for (uint32_t i = 0; i < n; i++) /* and nobody waits for the dead to load it */
        if (ledger->records[unfinished[i]].now.kind == FACT_ABSENT) ledger_fetch(ledger, pond, unfinished[i], 70 + i, 0);
    ledger_audit(ledger, pond, true);
    ledger_settle(ledger, pond);
}

static void work(const struct survival *s, struct millpond *pond) {
    struct ledger *ledger = s->ledger;
    struct support_random random = {ledger->sequence};
    uint64_t most = s->ground->map.geometry.max_item_bytes;
    for (unsigned i = 0; i < s->work; i++) {
        uint32_t key = (uint32_t)support_below(&random, ledger->count);
        uint64_t dice = support_below(&random, 100);
        uint32_t bytes = (uint32_t)support_log_size(&random, SUPPORT_VALUE_BYTES_MIN, dice < 10 && most > 6000 ? 6000 : 600);
        if (dice < 70)
            ledger_set(ledger, pond, key, bytes, dice < 20 ? 3600000 : 0);
        else
            ledger_look(ledger, pond, key, true);
    }
}

static int write_and_examine(void *arg) {
    const struct survival *s = arg;
    struct millpond *pond = open_as(s, 0);
    struct audit audit = ledger_audit(s->ledger, pond, s->alone);
    survive_write_everywhere(s, pond);
    audit = ledger_audit(s->ledger, pond, true);
    examine(s, pond, &audit);
    change_unfinished(s, pond);
    work(s, pond);
    audit = ledger_audit(s->ledger, pond, true);
    examine(s, pond, &audit);
    millpond_close(pond);
    return 0;
}

void survive(const struct survival *s) {
    struct survival copy = *s;
    crash_run(look, &copy, "the reader that survived");
    crash_run(write_and_examine, &copy, "the writer that survived");
    ground_require_quiet(s->ground);
}
