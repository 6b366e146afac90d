/* SPDX-License-Identifier: MIT */
/* Where a file lies and where it comes from: overlay file systems, copies, restarts of the machine, PID namespaces. Most of it needs
 * root; without, the cases say that they were skipped. */

#include "attempt.h"
#include "support.h"
#include "unit.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#define ENTRIES 500

static const struct millpond_options plain = MILLPOND_OPTIONS_INIT;
static struct millpond_options with_flags(uint32_t flags) {
    struct millpond_options options = MILLPOND_OPTIONS_INIT;
    options.flags = flags;
    options.size_bytes = 1 << 20;
    return options;
}

static void fill(struct millpond *pond) {
    for (uint64_t i = 0; i < ENTRIES; i++) {
        char key[SUPPORT_KEY_BYTES + 1], value[512];
        support_key(key, i);
        support_fill(value, i, i);
        REQUIRE(millpond_set(pond, key, SUPPORT_KEY_BYTES, value, i, 0) == MILLPOND_OK, "set");
    }
}

/* How many entries are there; every one that is must be right. */
static unsigned count(struct millpond *pond) {
    unsigned found = 0;
    for (uint64_t i = 0; i < ENTRIES; i++) {
        char key[SUPPORT_KEY_BYTES + 1], value[512];
        size_t bytes = 0;
        support_key(key, i);
        int result = millpond_get(pond, key, SUPPORT_KEY_BYTES, value, sizeof value, &bytes);
        if (result == MILLPOND_MISS) continue;
        REQUIRE(result == MILLPOND_OK && bytes == i && support_matches(value, bytes, i), "entry %llu: %d", (unsigned long long)i, result);
        found++;
    }
    return found;
}

static struct millpond_stats figures(struct millpond *pond) {
    struct millpond_stats stats;
    REQUIRE(millpond_stats(pond, -1, &stats) == MILLPOND_OK, "stats");
    return stats;
}

/* ---- overlay ---- */

static int use_an_overlay(void *arg) {
    (void)arg;
    become_unshared();
    const char *root = support_path("layers");
    REQUIRE(mkdir(root, 0700) == 0 && mount("none", root, "tmpfs", 0, "size=16m") == 0, "%s", strerror(errno));
    static const char *const folders[] = {"lower", "upper", "work", "merged"};
    for (int i = 0; i < 4; i++) REQUIRE(mkdir(support_path("layers/%s", folders[i]), 0700) == 0, "%s", strerror(errno));
    struct millpond_options creating = with_flags(MILLPOND_CREATE);
    REQUIRE_ERROR(attempt_open(support_path("layers/lower/image.pond"), &creating), MILLPOND_OK);
    char layers[8192];
    snprintf(layers, sizeof layers, "lowerdir=%s/lower,upperdir=%s/upper,workdir=%s/work", root, root, root);
    if (mount("none", support_path("layers/merged"), "overlay", 0, layers) != 0) return SUPPORT_SKIPPED;
    struct millpond_options readonly = with_flags(MILLPOND_READONLY), forced = with_flags(MILLPOND_CREATE | MILLPOND_ANY_FILESYSTEM);
    REQUIRE_ERROR(attempt_open(support_path("layers/merged/image.pond"), &readonly), MILLPOND_ERR_FILESYSTEM);
    REQUIRE_ERROR(attempt_open(support_path("layers/merged/image.pond"), &plain), MILLPOND_ERR_FILESYSTEM);
    REQUIRE_ERROR(attempt_open(support_path("layers/merged/new.pond"), &creating), MILLPOND_ERR_FILESYSTEM);
    REQUIRE(support_file_bytes(support_path("layers/merged/new.pond")) < 0, "a refused file is left");
    REQUIRE_ERROR(attempt_open(support_path("layers/merged/new.pond"), &forced), MILLPOND_OK);
    char errmsg[MILLPOND_ERRMSG_BYTES];
    const char *path = support_path("layers/merged/new.pond");
    REQUIRE(millpond_check(path, 0, NULL, NULL, NULL, errmsg) == MILLPOND_ERR_FILESYSTEM && strstr(errmsg, path), "check: %s", errmsg);
    REQUIRE(millpond_check(path, MILLPOND_CHECK_ANY_FILESYSTEM, NULL, NULL, NULL, errmsg) == MILLPOND_OK, "a forced check: %s", errmsg);
    return 0;
}

Test(places, overlay_file_systems_are_refused_unless_forced) {
    if (!attempt_is_root() || !attempt_can_mount()) SKIP_TEST("mounting needs root");
    int said = support_run_child(use_an_overlay, NULL, 20000);
    if (said == SUPPORT_SKIPPED) SKIP_TEST("this kernel mounts no overlay");
    cr_assert_eq(said, 0);
}

/* ---- copies ---- */

Test(places, a_copy_of_a_file_in_use_starts_cold) {
    const char *path = support_path("original.pond"), *copy = support_path("copy.pond");
    struct millpond *pond = support_create(path, 1 << 20);
    fill(pond);
    cr_assert(support_copy_file(path, copy));
    struct millpond_options readonly = with_flags(MILLPOND_READONLY);
    REQUIRE_ERROR(attempt_open(copy, &readonly), MILLPOND_ERR_CORRUPT);
    struct millpond *second = support_open(copy, NULL);
    cr_assert_eq(count(second), 0, "a copy that was taken while others wrote has content");
    cr_assert_eq(figures(second).items, 0);
    cr_assert_eq(figures(second).cold_starts, 1);
    fill(second);
    cr_assert_eq(count(second), ENTRIES);
    cr_assert_eq(millpond_delete(second, "key-00000000000000000001", 24), MILLPOND_OK);
    cr_assert_eq(count(pond), ENTRIES, "original and copy are not independent");
    cr_assert_eq(figures(pond).cold_starts, 0);
    millpond_close(second);
    millpond_close(pond);
    support_require_whole(path);
    support_require_whole(copy);
}

/* The mark says that the file is whole, not that who copied it saw all of it at one time. */
Test(places, a_copy_opens_empty_even_after_a_sync) {
    const char *path = support_path("original.pond"), *copy = support_path("copy.pond");
    struct millpond *pond = support_create(path, 1 << 20);
    fill(pond);
    cr_assert_eq(millpond_sync(pond), MILLPOND_OK);
    cr_assert(support_copy_file(path, copy));
    struct millpond *second = support_open(copy, NULL);
    cr_assert_eq(count(second), 0);
    cr_assert(figures(second).warm_starts == 0 && figures(second).cold_starts == 1);
    fill(second);
    millpond_close(second);
    /* Opened once, it is an ordinary file. */
    second = support_open(copy, NULL);
    cr_assert(count(second) == ENTRIES && figures(second).cold_starts == 1);
    millpond_close(second);
    support_require_whole(copy);
    cr_assert_eq(count(pond), ENTRIES, "original and copy are not independent");
    millpond_close(pond);
}

Test(places, damage_in_a_synced_file_is_not_served_after_a_restart) {
    const char *path = support_path("original.pond");
    struct millpond *pond = support_create(path, 1 << 20);
    fill(pond);
    cr_assert_eq(millpond_sync(pond), MILLPOND_OK);
    millpond_close(pond);
    struct support_random random = support_seed("damaged files");
    size_t bytes;
    unsigned char *whole = support_read_file(path, &bytes), *image = malloc(bytes);
    cr_assert_not_null(image);
    whole[4096] ^= 1; /* as if the machine had been restarted since */
    for (int round = 0; round < 40; round++) {
        memcpy(image, whole, bytes);
        /* Half of the damage where entries are, as a disk does it: whole sectors. */
        for (int i = 0; i < 20; i++) {
            size_t sector = support_below(&random, bytes / 512 - 8) + 8;
            memset(image + sector * 512, round % 2 ? 0 : (int)support_below(&random, 256), 512);
        }
        cr_assert(support_write_file(path, image, bytes));
        struct millpond *second = NULL;
        char errmsg[MILLPOND_ERRMSG_BYTES];
        int result = millpond_open(&second, path, NULL, errmsg);
        cr_assert(result == MILLPOND_OK || result == MILLPOND_ERR_CORRUPT, "%d: %s", result, errmsg);
        if (result != MILLPOND_OK) continue;
        count(second); /* requires every value that is there to be right */
        fill(second);
        cr_assert_eq(count(second), ENTRIES, "round %d: what is stored afterwards is lost", round);
        millpond_close(second);
        support_require_whole(path);
    }
    free(whole);
    free(image);
}

/* ---- restarts of the machine ---- */

static void restart_the_machine(unsigned number) {
    const char *id = support_path("boot-id-%u", number);
    char text[40];
    snprintf(text, sizeof text, "%08x-0000-4000-8000-000000000000\n", number);
    REQUIRE(support_write_file(id, text, 37), "%s", strerror(errno));
    REQUIRE(mount(id, "/proc/sys/kernel/random/boot_id", "none", MS_BIND, NULL) == 0, "%s", strerror(errno));
}

static int restart(void *arg) {
    (void)arg;
    become_unshared();
    const char *path = support_path("restarted.pond");
    struct millpond_options readonly = with_flags(MILLPOND_READONLY);
    struct millpond *pond = support_create(path, 1 << 20);
    fill(pond);
    millpond_close(pond);

    restart_the_machine(1);
    REQUIRE_ERROR(attempt_open(path, &readonly), MILLPOND_ERR_CORRUPT);
    pond = support_open(path, NULL);
    REQUIRE(count(pond) == 0 && figures(pond).items == 0, "content that was never synced survived a restart");
    REQUIRE(figures(pond).cold_starts == 1 && figures(pond).warm_starts == 0, "cold start not counted");
    fill(pond);
    REQUIRE(millpond_sync(pond) == MILLPOND_OK && millpond_sync(pond) == MILLPOND_OK, "sync");
    millpond_close(pond);

    restart_the_machine(2);
    pond = support_open(path, NULL);
    REQUIRE(count(pond) == ENTRIES, "%u of %d entries after a sync and a restart", count(pond), ENTRIES);
    REQUIRE(figures(pond).warm_starts == 1 && figures(pond).items == ENTRIES, "warm start not counted");
    REQUIRE(millpond_delete(pond, "key-00000000000000000000", 24) == MILLPOND_OK, "delete");
    millpond_close(pond);

    restart_the_machine(3);
    pond = support_open(path, NULL);
    REQUIRE(count(pond) == 0 && figures(pond).cold_starts == 2, "a write after the sync, and still warm");
    millpond_close(pond);
    support_require_whole(path);
    return 0;
}

Test(places, after_a_restart_of_the_machine_only_a_synced_file_is_warm) {
    if (!attempt_is_root() || !attempt_can_mount()) SKIP_TEST("mounting needs root");
    cr_assert_eq(support_run_child(restart, NULL, 20000), 0);
}

/* ---- PID namespaces ---- */

struct elsewhere {
    char path[4096];
    struct millpond_options options;
    struct attempt attempt;
    volatile int held; /* 1: by the holder; 2: it may go */
};

static int open_here(void *arg) {
    struct elsewhere *elsewhere = arg;
    elsewhere->attempt = attempt_open(elsewhere->path, &elsewhere->options);
    return 0;
}

/* The child of this one is number 1 of a PID namespace of its own. */
static int open_elsewhere(void *arg) {
    REQUIRE(unshare(CLONE_NEWPID | CLONE_NEWNS) == 0, "%s", strerror(errno));
    pid_t child = fork();
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        /* /proc has to be the new namespace's own. */
        if (mount("none", "/", "none", MS_REC | MS_PRIVATE, NULL) != 0 || mount("proc", "/proc", "proc", 0, NULL) != 0)
            _exit(SUPPORT_SKIPPED);
        _exit(open_here(arg));
    }
    return support_wait(child, 15000);
}

static int attempt_elsewhere(struct elsewhere *elsewhere) {
    int said = support_run_child(open_elsewhere, elsewhere, 20000);
    REQUIRE(said == 0 || said == SUPPORT_SKIPPED, "the child in its own namespace ended with %d", said);
    return said == 0 ? elsewhere->attempt.result : said;
}

/* Uses the file in this PID namespace. The test itself must not: its children would inherit the mapping. */
static int hold(void *arg) {
    struct elsewhere *elsewhere = arg;
    struct millpond *pond = support_open(elsewhere->path, &elsewhere->options);
    fill(pond);
    elsewhere->held = 1;
    while (elsewhere->held == 1) support_sleep_ms(1);
    REQUIRE(count(pond) == ENTRIES, "%u entries", count(pond));
    millpond_close(pond);
    return 0;
}

static pid_t start_holder(struct elsewhere *elsewhere, const char *path, uint32_t flags) {
    snprintf(elsewhere->path, sizeof elsewhere->path, "%s", path);
    elsewhere->options = with_flags(MILLPOND_CREATE | flags);
    pid_t holder = support_fork(hold, elsewhere);
    for (int i = 0; i < 5000 && elsewhere->held == 0; i++) support_sleep_ms(1);
    REQUIRE(elsewhere->held == 1, "the holder does not come");
    elsewhere->options = plain;
    return holder;
}

Test(places, a_second_pid_namespace_is_refused_while_the_first_uses_the_file) {
    if (!attempt_is_root() || !attempt_can_mount()) SKIP_TEST("namespaces need root");
    struct elsewhere *elsewhere = support_share(sizeof *elsewhere);
    pid_t holder = start_holder(elsewhere, support_path("namespaces.pond"), 0);
    int result = attempt_elsewhere(elsewhere);
    if (result == SUPPORT_SKIPPED) {
        support_kill(holder);
        SKIP_TEST("no /proc can be mounted");
    }
    cr_assert_eq(result, MILLPOND_ERR_NAMESPACE, "%d: %s", result, elsewhere->attempt.errmsg);
    elsewhere->options.flags = MILLPOND_READONLY;
    cr_assert_eq(attempt_elsewhere(elsewhere), MILLPOND_OK, "a reader locks nothing: %s", elsewhere->attempt.errmsg);
    elsewhere->held = 2;
    cr_assert_eq(support_wait(holder, 10000), 0);
    /* Now nobody uses it, and its content stays when it moves. */
    elsewhere->options.flags = 0;
    cr_assert_eq(attempt_elsewhere(elsewhere), MILLPOND_OK, "%s", elsewhere->attempt.errmsg);
    struct millpond *pond = support_open(elsewhere->path, NULL);
    cr_assert_eq(count(pond), ENTRIES);
    millpond_close(pond);
    support_require_whole(elsewhere->path);
}

Test(places, a_file_made_for_several_pid_namespaces_serves_them_together) {
    if (!attempt_is_root() || !attempt_can_mount()) SKIP_TEST("namespaces need root");
    struct elsewhere *elsewhere = support_share(sizeof *elsewhere);
    pid_t holder = start_holder(elsewhere, support_path("several.pond"), MILLPOND_NAMESPACES);
    int result = attempt_elsewhere(elsewhere);
    if (result == SUPPORT_SKIPPED) {
        support_kill(holder);
        SKIP_TEST("no /proc can be mounted");
    }
    cr_assert_eq(result, MILLPOND_OK, "%s", elsewhere->attempt.errmsg);
    elsewhere->held = 2;
    cr_assert_eq(support_wait(holder, 10000), 0);
    support_require_whole(elsewhere->path);
}
