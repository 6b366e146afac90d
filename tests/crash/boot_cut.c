/* SPDX-License-Identifier: MIT */
/* Power cuts: pages of before and after stand side by side in the file, as disk.h says that they may.
 *
 * What is required of each mix: with the mark in its living page the file opens warm, and every key has what it had at the sync that made
 * the mark (nothing was acknowledged since that is on the disk without the mark being gone); without it the file opens empty. Then the
 * order is broken on purpose, the mark of before with pages of after, to see what the verification at the open would catch of a disk that
 * lies about its writes: that is printed, and only required to be harmless: no crash, no hang. */

#include "disk.h"
#include "reboot.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SYNCS 3u
#define KEYS  60u

/* What was true when each mark was made: at_mark[0] before the writer came, at_mark[n] at its n-th sync. Stage 2n: after mark n; 2n + 1:
 * within the sync that makes mark n + 1. */
static struct ledger *at_mark[SYNCS + 1]; /* shared */

struct writing {
    struct reboot_test *test;
    struct ground *ground;
    struct disk *disk;
    struct millpond *pond;
};

static void change_some(struct writing *w, unsigned times) {
    struct millpond *pond = w->pond;
    struct support_random *dice = &w->test->dice;
    struct ledger *ledger = w->test->ledger;
    for (unsigned i = 0; i < times; i++) {
        uint32_t key = (uint32_t)support_below(dice, KEYS);
        bool there = ledger->records[key].now.kind != FACT_ABSENT;
        switch (support_below(dice, 8)) {
        case 0:
            if (there) ledger_delete(ledger, pond, key);
            break;
        case 1: ledger_set(ledger, pond, key, 3000, 0); break; /* in chunks */
        case 2: ledger_set(ledger, pond, key, (uint32_t)support_log_size(dice, 40, 600), 3600000); break;
        case 3:
            if (there) ledger_touch(ledger, pond, key, 7200000);
            break;
        default: ledger_set(ledger, pond, key, (uint32_t)support_log_size(dice, 40, 600), 0);
        }
        disk_take(w->disk);
    }
}

/* What is written between the two rounds of a sync is under its mark. */
static void write_meanwhile(void *arg) { change_some(arg, 3); }

static int write_and_sync(void *arg) {
    struct writing *w = arg;
    disk_watch(w->disk, write_meanwhile, w); /* opening, too: it may be the first one after a restart */
    struct millpond *pond = w->pond = support_open(w->ground->path, NULL);
    w->test->ledger->evictions = 0;
    for (unsigned sync = 0; sync < SYNCS; sync++) {
        disk_stage(w->disk, 2 * sync);
        change_some(w, sync == 0 ? 30 : 12);
        disk_stage(w->disk, 2 * sync + 1);
        CHECK(millpond_sync(pond) == MILLPOND_OK, "sync");
        ledger_put(at_mark[sync + 1], w->test->ledger);
        ledger_learn(at_mark[sync + 1], pond); /* reads only */
        disk_take(w->disk);
    }
    disk_stage(w->disk, 2 * SYNCS);
    change_some(w, 12);
    crash_unwatch();
    millpond_close(pond);
    return 0;
}

static void put_rebooted(struct ground *ground, const unsigned char *image) {
    ground_put(ground, image);
    memcpy(ground->map.living->boot_id, "00000000", 8);
}

struct tally {
    unsigned warm, cold;
};

static void right_cuts(struct writing *w, unsigned times, bool by_sectors, struct tally *tally) {
    struct support_random *dice = &w->test->dice;
    unsigned char *image = malloc(w->ground->bytes);
    struct ledger *empty = ledger_copy(at_mark[SYNCS]);
    CHECK(image, "no memory");
    for (uint32_t key = 0; key < empty->count; key++) empty->records[key].now = (struct fact){.kind = FACT_ABSENT};
    for (unsigned i = 0; i < times; i++) {
        uint32_t at = (uint32_t)support_below(dice, w->disk->count);
        uint32_t mark = disk_cut(w->disk, at, by_sectors, dice, image);
        const struct snapshot *snapshot = &w->disk->snapshots[mark];
        crash_trying("power cut %u (%s) at snapshot %u of %u, the living page of snapshot %u, mark %u", i, by_sectors ? "sectors" : "pages",
                     at, w->disk->count, mark, snapshot->clean);
        put_rebooted(w->ground, image);
        uint64_t warm = w->ground->map.living->warm_starts, cold = w->ground->map.living->cold_starts;
        struct finding f = reboot_open(w->ground->path, snapshot->clean == 1 ? at_mark[(snapshot->stage + 1) / 2] : empty, false);
        if (snapshot->clean == 1)
            CHECK(f.warm == warm + 1, "it has the mark and did not open warm");
        else
            CHECK(f.cold == cold + 1 && f.items == 0, "it has no mark and opened with %llu items", (unsigned long long)f.items);
        tally->warm += snapshot->clean == 1;
        tally->cold += snapshot->clean != 1;
    }
    free(image);
    free(empty);
}

/* The living page is that of a finished sync, the others are of any time from there to the next sync. */
static void wrong_cuts(struct writing *w, unsigned times, bool by_sectors) {
    struct support_random *dice = &w->test->dice;
    unsigned char *image = malloc(w->ground->bytes);
    struct finding sum = {.items = 0};
    unsigned warm = 0, silent = 0, torn_files = 0;
    CHECK(image, "no memory");
    for (unsigned i = 0; i < times; i++) {
        uint32_t from = 0, at = w->disk->count - 1;
        while (from < at && !(w->disk->snapshots[from].clean == 1 && w->disk->snapshots[from].stage == 2 * (SYNCS - 1) + 1)) from++;
        disk_cut_wrongly(w->disk, from, at, by_sectors, dice, image);
        crash_trying("power cut %u (%s) in an order that the library rules out", i, by_sectors ? "sectors" : "pages");
        put_rebooted(w->ground, image);
        struct finding f = reboot_open(w->ground->path, at_mark[SYNCS], true);
        warm += f.items > 0;
        silent += f.items > 0 && (f.stale > 0 || f.missing > 0);
        torn_files += f.torn > 0;
        sum.right += f.right, sum.stale += f.stale, sum.missing += f.missing, sum.torn += f.torn;
    }
    printf(
        "  a disk that lies, by %s: %u files, %u open warm; values: %llu as at the sync, %llu of another time, %llu missing, %llu torn\n",
        by_sectors ? "sectors" : "pages  ", times, warm, (unsigned long long)sum.right, (unsigned long long)sum.stale,
        (unsigned long long)sum.missing, (unsigned long long)sum.torn);
    printf("    not noticed by the open: %u files whose values are of several times; torn values in %u files\n", silent, torn_files);
    free(image);
}

static uint32_t last_marked(const struct disk *disk) {
    uint32_t at = disk->count - 1;
    while (at > 0 && disk->snapshots[at].clean != 1) at--;
    return at;
}

/* A writer on the file as it is, and what may stand on the disk if the power goes at any moment. */
static void write_and_cut(struct reboot_test *test, struct ground *ground, struct disk *disk, const char *what) {
    struct writing writing = {test, ground, disk, NULL};
    struct tally tally = {0, 0};
    unsigned times = test->thorough ? 5000 : 100;
    crash_trying("power cuts: writing, %s", what);
    disk_empty(disk);
    crash_run(write_and_sync, &writing, "the one that writes");
    CHECK(disk->msyncs >= SYNCS * 3, "%u msync calls in %u syncs and the writes behind them", disk->msyncs, SYNCS);
    right_cuts(&writing, times, false, &tally);
    right_cuts(&writing, times, true, &tally);
    printf("  power cut, %s: %u snapshots, %u msync calls, %u mixes: %u warm and equal, %u cold\n", what, disk->count, disk->msyncs,
           2 * times, tally.warm, tally.cold);
    CHECK(tally.warm > times / 20 && tally.cold > times / 20, "%u warm, %u cold: too one-sided to mean much", tally.warm, tally.cold);
}

void reboot_cuts(struct reboot_test *test) {
    struct ground ground;
    struct millpond_options options = MILLPOND_OPTIONS_INIT;
    options.size_bytes = 192 << 10;
    options.segment_bytes = 2048;
    options.max_item_bytes = 4000;
    for (unsigned i = 0; i <= SYNCS; i++) at_mark[i] = ledger_make();
    memset(test->ledger, 0, sizeof *test->ledger);
    while (test->ledger->count < KEYS) ledger_key(test->ledger, test->ledger->count % 9 == 0 ? 300 : 14);
    crash_trying("power cuts: creating");
    ground_make(&ground, "cut.pond", &options);
    struct disk *disk = disk_make(&ground, 13);
    ledger_put(at_mark[0], test->ledger);
    write_and_cut(test, &ground, disk, "a new file");

    struct writing writing = {test, &ground, disk, NULL};
    wrong_cuts(&writing, test->thorough ? 1000 : 100, false);
    wrong_cuts(&writing, test->thorough ? 1000 : 100, true);

    /* The power has gone once: the next writer opens a file with a mark, or without one. */
    ledger_put(at_mark[0], at_mark[SYNCS]);
    ledger_put(test->ledger, at_mark[SYNCS]);
    put_rebooted(&ground, disk_image(disk, last_marked(disk)));
    write_and_cut(test, &ground, disk, "after a warm start");
    for (uint32_t key = 0; key < test->ledger->count; key++) test->ledger->records[key].now = (struct fact){.kind = FACT_ABSENT};
    put_rebooted(&ground, disk_image(disk, disk->count - 1));
    write_and_cut(test, &ground, disk, "after a cold start");
    ground_forget(&ground);
}
