/* SPDX-License-Identifier: MIT */
/* Files of another boot of the machine: left by a crash, by a power cut, or copied.
 *
 *   restart   another boot id, mutexes held by threads that are no more: cold and usable; after a sync: warm, with everything
 *   cut       pages of before and after side by side, as a power cut may leave them (boot_cut.c)
 *   copy      a file that is copied while it is in use opens cold; one that is copied at rest is never wrong
 *
 *     boot [--long] */

#include "reboot.h"
#include "scenario.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct reboot_test test;

static struct ledger *empty_like(const struct ledger *ledger) {
    struct ledger *empty = ledger_copy(ledger);
    for (uint32_t key = 0; key < empty->count; key++) empty->records[key].now = (struct fact){.kind = FACT_ABSENT};
    return empty;
}

/* ---- restart ---- */

enum garbling { DEAD_THREADS, RANDOM_LOCKS, RANDOM_LISTS, OTHER_INODE, NO_BOOT_ID, GARBLINGS };

/* What the words of another boot may look like; `lists`: what a page half written may hold, too. */
static void garble(struct ground *ground, enum garbling how) {
    struct pond_living *living = ground->map.living;
    ground_reboot(ground, &test.dice);
    for (uint32_t i = 0; i < ground->map.geometry.shard_count && how >= RANDOM_LOCKS; i++) {
        struct pond_shard *shard = ground_shard(ground, i).shard;
        support_fill(&shard->mutex, sizeof shard->mutex, support_next(&test.dice));
        if (how != RANDOM_LISTS) continue;
        support_fill(shard->hole_head, sizeof shard->hole_head, support_next(&test.dice));
        support_fill(&shard->walk, sizeof shard->walk, support_next(&test.dice));
        shard->free_head = (uint32_t)support_next(&test.dice);
        shard->queue_head[0] = (uint32_t)support_next(&test.dice);
    }
    for (uint32_t i = 0; i < ground->map.geometry.reader_count && how >= RANDOM_LOCKS; i++) {
        support_fill(&ground->map.readers[i].mutex, sizeof ground->map.readers[i].mutex, support_next(&test.dice));
        ground->map.readers[i].pin[0] = support_next(&test.dice);
    }
    if (how == OTHER_INODE) living->inode++;
    if (how == NO_BOOT_ID) memset(living->boot_id, 0, sizeof living->boot_id);
}

static void require_cold(struct ground *ground, const struct ledger *empty) {
    uint64_t before = ground->map.living->cold_starts;
    struct finding f = reboot_open(ground->path, empty, false);
    CHECK(f.items == 0 && f.cold == before + 1, "%llu items, %llu cold starts; it was to be empty", (unsigned long long)f.items,
          (unsigned long long)f.cold);
    ground_require_quiet(ground);
}

static void require_warm(struct ground *ground, const struct ledger *facts) {
    uint64_t before = ground->map.living->warm_starts;
    struct finding f = reboot_open(ground->path, facts, false);
    CHECK(f.warm == before + 1, "%llu warm starts, %llu cold ones; it was to be warm", (unsigned long long)f.warm,
          (unsigned long long)f.cold);
    ground_require_quiet(ground);
}

static int only_sync(void *arg) {
    struct millpond *pond = support_open(arg, NULL);
    CHECK(millpond_sync(pond) == MILLPOND_OK, "sync");
    /* Reads do not take the mark away. */
    for (uint32_t key = 0; key < test.ledger->count; key++) ledger_read(test.ledger, pond, key);
    millpond_close(pond);
    return 0;
}

static unsigned restart_without_mark(const struct scenario *scenario, struct ground *ground) {
    struct ledger *empty = empty_like(test.ledger);
    unsigned opened = 0;
    for (unsigned how = DEAD_THREADS; how < GARBLINGS; how++, opened += 2) {
        crash_trying("%s, restart without a mark, garbled in way %u", scenario->sentence, how);
        ground_put_back(ground);
        ground->map.living->clean = 0;
        garble(ground, (enum garbling)how);
        require_cold(ground, empty);
        ground_put_back(ground);
        ground->map.living->clean = 0;
        garble(ground, (enum garbling)how);
        reboot_open_together(ground->path);
        ground_require_quiet(ground);
    }
    free(empty);
    return opened;
}

static unsigned restart_with_mark(const struct scenario *scenario, struct ground *ground) {
    struct ledger *empty = empty_like(test.ledger);
    unsigned opened = 0;
    crash_trying("%s, synced", scenario->sentence);
    ground_put_back(ground);
    crash_run(only_sync, ground->path, "the one that syncs");
    ground_keep(ground);
    for (unsigned how = DEAD_THREADS; how <= RANDOM_LISTS; how++, opened += 3) {
        crash_trying("%s, restart with a mark, garbled in way %u", scenario->sentence, how);
        ground_put_back(ground);
        garble(ground, (enum garbling)how);
        require_warm(ground, test.ledger);
        crash_trying("%s, a second restart after writes", scenario->sentence);
        garble(ground, (enum garbling)how);
        require_cold(ground, empty);
        crash_trying("%s, restart with a mark, four openers", scenario->sentence);
        ground_put_back(ground);
        garble(ground, (enum garbling)how);
        reboot_open_together(ground->path);
        ground_require_quiet(ground);
    }
    free(empty);
    return opened;
}

/* Its users were in another PID namespace, and are gone: their locks mean nothing, their data does. */
static unsigned restart_of_a_namespace(const struct scenario *scenario, struct ground *ground) {
    crash_trying("%s, left by another PID namespace", scenario->sentence);
    ground_put_back(ground);
    char boot_id[sizeof ground->map.living->boot_id];
    memcpy(boot_id, ground->map.living->boot_id, sizeof boot_id);
    garble(ground, RANDOM_LOCKS);
    memcpy(ground->map.living->boot_id, boot_id, sizeof boot_id);
    ground->map.living->pid_namespace++;
    struct finding f = reboot_open(ground->path, test.ledger, false);
    CHECK(f.warm == 0 && f.cold == 0, "it was taken for one of another boot");
    ground_require_quiet(ground);
    return 1;
}

static void restarts(void) {
    unsigned without = 0, with = 0, namespaces = 0;
    for (unsigned i = 0; i < scenario_count; i++) {
        struct ground ground;
        scenario_ground(&scenarios[i], "restart.pond", 0, &ground, test.ledger);
        without += restart_without_mark(&scenarios[i], &ground);
        namespaces += restart_of_a_namespace(&scenarios[i], &ground);
        with += restart_with_mark(&scenarios[i], &ground);
        ground_forget(&ground);
    }
    printf("  restart: %u openings without a mark, %u with one, %u of another namespace\n", without, with, namespaces);
}

/* ---- copies ---- */

static struct {
    uint32_t stop;
    uint64_t writes, syncs;
} * busy; /* shared */

/* Writes, and syncs now and then. */
static int write_on(void *arg) {
    struct millpond *pond = support_open(arg, NULL);
    for (uint64_t i = 0; !__atomic_load_n(&busy->stop, __ATOMIC_SEQ_CST); i++) {
        uint32_t key = (uint32_t)(i * 7 % 200);
        ledger_set(test.ledger, pond, key, 100 + key, 0);
        __atomic_add_fetch(&busy->writes, 1, __ATOMIC_SEQ_CST);
        if (i % 50 != 49) continue;
        CHECK(millpond_sync(pond) == MILLPOND_OK, "sync");
        __atomic_add_fetch(&busy->syncs, 1, __ATOMIC_SEQ_CST);
    }
    millpond_close(pond);
    return 0;
}

static void copy_range(const struct ground *ground, int to, size_t from, size_t end) {
    CHECK(pwrite(to, ground->now + from, end - from, (off_t)from) == (ssize_t)(end - from), "writing a copy: %s", strerror(errno));
}

static void wait_for_writes(uint64_t count) {
    uint64_t end = support_now_ns() + CRASH_DEADLINE_MS * UINT64_C(1000000), begin = __atomic_load_n(&busy->writes, __ATOMIC_SEQ_CST);
    while (__atomic_load_n(&busy->writes, __ATOMIC_SEQ_CST) < begin + count && support_now_ns() < end) support_sleep_us(100);
}

static struct finding open_copy(const char *path, const struct ledger *facts) {
    struct finding f = reboot_open(path, facts, true);
    CHECK(unlink(path) == 0, "%s: %s", path, strerror(errno));
    return f;
}

/* Copied from front to back while a process writes and syncs; the first pages may be copied at a moment when the mark stands. */
static void copies_in_use(struct ground *ground) {
    unsigned copies = test.thorough ? 400 : 60, marked = 0;
    struct ledger *empty = empty_like(test.ledger);
    char path[PATH_MAX];
    busy->stop = 0;
    pid_t writer = support_fork(write_on, ground->path);
    wait_for_writes(10);
    for (unsigned i = 0; i < copies; i++) {
        crash_trying("copy %u of a file in use", i);
        snprintf(path, sizeof path, "%s", support_path("copy.pond"));
        int to = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        CHECK(to >= 0, "%s: %s", path, strerror(errno));
        copy_range(ground, to, 0, 2 * POND_PAGE_BYTES);
        wait_for_writes(support_below(&test.dice, 3));
        size_t half = POND_PAGE_BYTES * (2 + support_below(&test.dice, ground->bytes / POND_PAGE_BYTES - 3));
        copy_range(ground, to, 2 * POND_PAGE_BYTES, half);
        wait_for_writes(support_below(&test.dice, 3));
        copy_range(ground, to, half, ground->bytes);
        struct pond_living living;
        CHECK(pread(to, &living, sizeof living, POND_LIVING_OFF) == (ssize_t)sizeof living, "reading a copy: %s", strerror(errno));
        marked += living.clean == 1;
        close(to);
        struct finding f = open_copy(path, empty);
        CHECK(f.items == 0, "a copy of a file in use opens with %llu items%s", (unsigned long long)f.items,
              living.clean == 1 ? " (the mark was copied)" : "");
    }
    __atomic_store_n(&busy->stop, 1, __ATOMIC_SEQ_CST);
    crash_expect(writer, 0, "the one that writes");
    free(empty);
    printf("  copy in use: %u copies, %u with the mark, beside %llu writes and %llu syncs; all cold\n", copies, marked,
           (unsigned long long)busy->writes, (unsigned long long)busy->syncs);
}

/* The mark is copied first, then somebody writes, then the rest is copied. */
static void copy_around_a_write(struct ground *ground) {
    char path[PATH_MAX];
    struct ledger *empty = empty_like(test.ledger);
    crash_trying("a copy whose first pages are of a sync, and whose others are of later");
    crash_run(only_sync, ground->path, "the one that syncs");
    CHECK(ground->map.living->clean == 1, "no mark after a sync");
    snprintf(path, sizeof path, "%s", support_path("copy.pond"));
    int to = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    CHECK(to >= 0, "%s: %s", path, strerror(errno));
    copy_range(ground, to, 0, 2 * POND_PAGE_BYTES);
    busy->stop = 0;
    pid_t writer = support_fork(write_on, ground->path);
    wait_for_writes(45);
    __atomic_store_n(&busy->stop, 1, __ATOMIC_SEQ_CST);
    crash_expect(writer, 0, "the one that writes");
    copy_range(ground, to, 2 * POND_PAGE_BYTES, ground->bytes);
    close(to);
    struct finding f = open_copy(path, empty);
    CHECK(f.items == 0, "a copy of pages of two times opens with %llu items, %llu values of them wrong", (unsigned long long)f.items,
          (unsigned long long)(f.stale + f.torn));
    free(empty);
}

/* Copied when nobody uses it, with the mark and without: everything, or nothing. */
static void copy_at_rest(struct ground *ground) {
    char path[PATH_MAX];
    struct finding f[2];
    for (int synced = 0; synced < 2; synced++) {
        crash_trying("a copy of a file at rest, %s", synced ? "synced" : "not synced");
        if (synced)
            crash_run(only_sync, ground->path, "the one that syncs");
        else
            ground->map.living->clean = 0;
        snprintf(path, sizeof path, "%s", support_path("copy.pond"));
        CHECK(support_copy_file(ground->path, path), "copying");
        f[synced] = open_copy(path, test.ledger);
        CHECK(f[synced].stale == 0 && f[synced].torn == 0, "wrong values in a copy");
        CHECK(f[synced].items == 0 || f[synced].missing == 0, "a copy has lost %llu keys", (unsigned long long)f[synced].missing);
    }
    printf("  copy at rest: without a mark %s, with one %s\n", f[0].items ? "warm" : "cold", f[1].items ? "warm" : "cold");
    CHECK(f[0].items == 0, "a copy without a mark is not cold");
}

static int add_keys(void *arg) {
    struct millpond *pond = support_open(arg, NULL);
    for (int i = 0; i < 200; i++) ledger_add(test.ledger, pond, 100);
    millpond_close(pond);
    return 0;
}

static void copies(void) {
    struct ground ground;
    struct millpond_options options = MILLPOND_OPTIONS_INIT;
    options.size_bytes = 256 << 10;
    memset(test.ledger, 0, sizeof *test.ledger);
    crash_trying("copies: preparing");
    ground_make(&ground, "copied.pond", &options);
    crash_run(add_keys, ground.path, "the one that prepares");
    copy_at_rest(&ground);
    copies_in_use(&ground);
    copy_around_a_write(&ground);
    ground_forget(&ground);
}

int main(int argc, char **argv) {
    test.thorough = crash_long(argc, argv);
    crash_begin("boot");
    test.dice = support_seed("boot");
    test.ledger = ledger_make();
    busy = support_share(sizeof *busy);
    restarts();
    reboot_cuts(&test);
    copies();
    return crash_end();
}
