/* SPDX-License-Identifier: MIT */
/* What others do to a file while it is open: delete it, rename it, put another one in its place, copy it. The handles that are there keep
 * working together on the file that they opened, also in children, whatever its name now means; who opens the name gets what stands there.
 * And time namespaces, in which the monotonic clocks differ; and files of huge pages. */

#include "attempt.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static struct millpond *pond;
static const char *path;

static void begin(const char *name) {
    path = support_path("%s", name);
    pond = support_create(path, 4 << 20);
    for (uint64_t i = 0; i < 100; i++) support_set(pond, i, i + 1, 100);
}

/* The name as a process sees it that opens it now: sees_old tells whether the first file's entries are there. */
struct expectation {
    int result, sees_old;
};

static int open_the_name(void *arg) {
    const struct expectation *expected = arg;
    struct millpond *own = NULL;
    char errmsg[MILLPOND_ERRMSG_BYTES] = "";
    int result = millpond_open(&own, path, NULL, errmsg);
    REQUIRE(result == expected->result, "%d, expected %d: %s", result, expected->result, errmsg);
    if (result != MILLPOND_OK) return 0;
    REQUIRE((support_get(own, 1) != 0) == expected->sees_old, "it sees %s file", expected->sees_old ? "another" : "the old");
    support_set(own, 5000, 1, 64);
    millpond_close(own);
    return 0;
}

static void name_is(struct expectation expected) {
    REQUIRE(support_run_child(open_the_name, &expected, 20000) == 0, "a process that opens the name");
    open_the_name(&expected); /* and in this process, which has the old file mapped */
}

/* The old handle works: here, and in children that inherit it, together. */
static int use_inherited(void *arg) {
    uint64_t turn = *(uint64_t *)arg;
    for (uint64_t i = 0; i < 100; i++) REQUIRE(support_get(pond, i) != 0, "key %llu is gone", (unsigned long long)i);
    support_set(pond, 200, turn, 500);
    return 0;
}

static void old_handle_works(void) {
    static uint64_t turn;
    for (int i = 0; i < 3; i++) {
        turn++;
        use_inherited(&turn);
        turn++;
        REQUIRE(support_run_child(use_inherited, &turn, 20000) == 0, "a child with the inherited handle");
        REQUIRE(support_get(pond, 200) == turn, "parent and child do not see the same file");
    }
    for (uint64_t i = 0; i < 4000; i++) support_set(pond, 10000 + i % 100, i + 1, 2000);
}

static int deleted(void *arg) {
    (void)arg;
    begin("deleted.pond");
    REQUIRE(unlink(path) == 0, "unlink");
    old_handle_works();
    name_is((struct expectation){MILLPOND_ERR_NO_FILE, 0});
    struct millpond_check check;
    char errmsg[MILLPOND_ERRMSG_BYTES];
    REQUIRE(millpond_check(path, 0, NULL, NULL, &check, errmsg) == MILLPOND_ERR_NO_FILE, "check of a name that is gone");
    millpond_close(pond);
    REQUIRE(support_file_bytes(path) == -1, "closing brought the file back");
    return 0;
}

static int replaced(void *arg) {
    (void)arg;
    begin("replaced.pond");
    const char *other = support_path("other.pond");
    struct millpond *fresh = support_create(other, 4 << 20);
    support_set(fresh, 7777, 1, 100);
    millpond_close(fresh);
    REQUIRE(rename(other, path) == 0, "rename");
    old_handle_works();
    name_is((struct expectation){MILLPOND_OK, 0});
    old_handle_works();
    struct millpond *both = support_open(path, NULL); /* old and new, in one process, under one name */
    REQUIRE(support_get(both, 7777) == 1 && support_get(pond, 7777) == 0 && support_get(both, 5000) == 1 && support_get(pond, 5000) == 0,
            "the files are mixed up");
    support_set(both, 300, 3, 100);
    support_set(pond, 300, 4, 100);
    REQUIRE(support_get(both, 300) == 3 && support_get(pond, 300) == 4, "the files are mixed up");
    millpond_close(both);
    millpond_close(pond);
    support_require_whole(path);
    return 0;
}

static int deleted_and_made_anew(void *arg) {
    (void)arg;
    begin("anew.pond");
    REQUIRE(unlink(path) == 0, "unlink");
    struct millpond *fresh = support_create(path, 4 << 20);
    old_handle_works();
    REQUIRE(support_get(fresh, 1) == 0 && support_get(fresh, 200) == 0, "the new file has entries of the old one");
    name_is((struct expectation){MILLPOND_OK, 0});
    millpond_close(pond);
    REQUIRE(support_get(fresh, 5000) == 1, "closing the old file took the new one along");
    millpond_close(fresh);
    support_require_whole(path);
    return 0;
}

static int renamed(void *arg) {
    (void)arg;
    begin("renamed.pond");
    const char *later = support_path("later.pond");
    REQUIRE(rename(path, later) == 0, "rename");
    old_handle_works();
    name_is((struct expectation){MILLPOND_ERR_NO_FILE, 0});
    path = later;
    name_is((struct expectation){MILLPOND_OK, 1}); /* the same file under its new name */
    REQUIRE(support_get(pond, 5000) == 1, "what was stored under the new name");
    REQUIRE(link(later, support_path("second.pond")) == 0, "link");
    path = support_path("second.pond");
    name_is((struct expectation){MILLPOND_OK, 1}); /* a second name is the same file */
    millpond_close(pond);
    REQUIRE(support_require_whole(path).entries > 100, "entries");
    return 0;
}

static int replaced_again_and_again(void *arg) {
    (void)arg;
    begin("again.pond");
    struct millpond *handles[20] = {pond};
    for (uint64_t i = 1; i < 20; i++) {
        if (i % 2) {
            const char *next = support_path("next.pond");
            millpond_close(support_create(next, 1 << 20));
            REQUIRE(rename(next, path) == 0, "rename");
        } else {
            REQUIRE(unlink(path) == 0, "unlink");
            millpond_close(support_create(path, 1 << 20));
        }
        handles[i] = support_open(path, NULL);
        for (uint64_t k = 1; k <= i; k++) support_set(handles[k], 1, i * 100 + k, 200);
        for (uint64_t k = 1; k <= i; k++)
            REQUIRE(support_get(handles[k], 1) == i * 100 + k, "handle %llu of %llu sees another file", (unsigned long long)k,
                    (unsigned long long)i);
    }
    for (int i = 19; i >= 0; i--) millpond_close(handles[i]);
    support_require_whole(path);
    return 0;
}

/* ---- copies ---- */

static int write_all_the_time(void *arg) {
    for (uint64_t i = 1;; i++) {
        support_set(pond, i % 400, i, 32 + i % 3000);
        __atomic_store_n((uint64_t *)arg, i, __ATOMIC_RELAXED);
    }
    return 0;
}

/* Copies the file piece by piece, as cp does: pages of different moments. */
static void copy_slowly(const char *from, const char *to) {
    int in = open(from, O_RDONLY | O_CLOEXEC), out = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    static char buf[64 << 10];
    ssize_t n;
    REQUIRE(in >= 0 && out >= 0, "open: %s", strerror(errno));
    while ((n = read(in, buf, sizeof buf)) > 0) {
        REQUIRE(write(out, buf, (size_t)n) == n, "write: %s", strerror(errno));
        support_sleep_us(200);
    }
    close(in);
    close(out);
}

static int copied(void *arg) {
    (void)arg;
    begin("copied.pond");
    uint64_t *written = support_share(sizeof *written);
    pid_t writer = support_fork(write_all_the_time, written);
    for (unsigned round = 0; round < 15; round++) {
        uint64_t before = __atomic_load_n(written, __ATOMIC_RELAXED);
        while (__atomic_load_n(written, __ATOMIC_RELAXED) < before + 50) support_sleep_us(100);
        const char *copy = support_path("copy-%u.pond", round);
        copy_slowly(path, copy);
        struct millpond_options readonly = MILLPOND_OPTIONS_INIT;
        readonly.flags = MILLPOND_READONLY;
        struct millpond *own = NULL;
        char errmsg[MILLPOND_ERRMSG_BYTES] = "";
        int result = millpond_open(&own, copy, &readonly, errmsg);
        REQUIRE(result == MILLPOND_ERR_CORRUPT && strstr(errmsg, "is a copy"), "a reader of a copy nobody has looked at: %d: %s", result,
                errmsg);
        own = support_open(copy, NULL);
        struct millpond_stats stats;
        REQUIRE(millpond_stats(own, -1, &stats) == MILLPOND_OK && stats.items == 0 && stats.cold_starts == 1, "%llu items in a torn copy",
                (unsigned long long)stats.items);
        for (uint64_t i = 0; i < 400; i++) REQUIRE(support_get(own, i) == 0, "a torn copy serves something");
        for (uint64_t i = 0; i < 100; i++) support_set(own, i, i + 1, 300);
        for (uint64_t i = 0; i < 100; i++) REQUIRE(support_get(own, i) == i + 1, "the copy does not work");
        millpond_close(own);
        REQUIRE(support_require_whole(copy).entries == 100, "entries of the copy");
        REQUIRE(unlink(copy) == 0, "unlink");
    }
    support_kill(writer);
    for (uint64_t i = 0; i < 100; i++) REQUIRE(support_get(pond, i) != 0, "the original lost key %llu", (unsigned long long)i);
    millpond_close(pond);
    support_require_whole(path);
    return 0;
}

/* A copy that lies over the original's name while the original is in use. */
static int copied_over(void *arg) {
    (void)arg;
    begin("over.pond");
    REQUIRE(millpond_sync(pond) == MILLPOND_OK, "sync");
    const char *copy = support_path("over-copy.pond");
    REQUIRE(support_copy_file(path, copy) && rename(copy, path) == 0, "copy");
    old_handle_works();
    struct millpond *own = support_open(path, NULL);
    struct millpond_stats stats;
    REQUIRE(millpond_stats(own, -1, &stats) == MILLPOND_OK && stats.cold_starts == 1, "a copy is cold, also after a sync");
    for (uint64_t i = 0; i < 100; i++) REQUIRE(support_get(own, i) == 0, "key %llu of a copy", (unsigned long long)i);
    support_set(own, 300, 1, 100);
    REQUIRE(support_get(pond, 300) == 0, "the original sees what the copy got");
    millpond_close(own);
    millpond_close(pond);
    support_require_whole(path);
    return 0;
}

/* ---- time namespaces ---- */

#ifndef CLONE_NEWTIME
#define CLONE_NEWTIME 0x00000080
#endif

static struct timespec outside;

static int in_another_time(void *arg) {
    (void)arg;
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    REQUIRE(now.tv_sec > outside.tv_sec + 80000, "the monotonic clock is not that of another namespace");
    struct millpond *own = support_open(path, NULL);
    uint64_t ttl = 0;
    for (uint64_t i = 0; i < 100; i++) REQUIRE(support_get(own, i) == i + 1, "key %llu", (unsigned long long)i);
    REQUIRE(millpond_ttl(own, "hour", 4, &ttl) == MILLPOND_OK && ttl > 3500000 && ttl <= 3600000, "an hour is %llu ms there",
            (unsigned long long)ttl);
    REQUIRE(millpond_set(own, "theirs", 6, "v", 1, 3600000) == MILLPOND_OK, "set");
    for (uint64_t i = 0; i < 1000; i++) support_set(own, 100 + i % 100, i + 1, 500);
    millpond_close(own);
    return 0;
}

static int enter_another_time(void *arg) {
    static const char day[] = "monotonic 86400 0\nboottime 86400 0\n";
    if (unshare(CLONE_NEWTIME) != 0) return support_skip("this process may not make a time namespace");
    int fd = open("/proc/self/timens_offsets", O_WRONLY | O_CLOEXEC);
    if (fd < 0 || write(fd, day, sizeof day - 1) != (ssize_t)sizeof day - 1)
        return support_skip("the offsets of a time namespace cannot be set");
    close(fd);
    return support_run_child(in_another_time, arg, 20000);
}

static int time_namespaces(void *arg) {
    begin("time.pond");
    clock_gettime(CLOCK_MONOTONIC, &outside);
    REQUIRE(millpond_set(pond, "hour", 4, "v", 1, 3600000) == MILLPOND_OK, "set");
    int said = support_run_child(enter_another_time, arg, 30000);
    if (said == SUPPORT_SKIPPED) return said;
    REQUIRE(said == 0, "the process in another time namespace");
    uint64_t ttl = 0;
    REQUIRE(millpond_ttl(pond, "theirs", 6, &ttl) == MILLPOND_OK && ttl > 3500000 && ttl <= 3600000, "an hour of theirs is %llu ms here",
            (unsigned long long)ttl);
    REQUIRE(millpond_ttl(pond, "hour", 4, &ttl) == MILLPOND_OK && ttl > 3500000, "the hour has %llu ms left", (unsigned long long)ttl);
    for (uint64_t i = 0; i < 1000; i++) support_set(pond, 100 + i % 100, i + 1, 500); /* no lock is waited for by another clock */
    millpond_close(pond);
    support_require_whole(path);
    return 0;
}

/* ---- huge pages that were set aside ---- */

static unsigned long huge_pages_free(void) {
    FILE *info = fopen("/proc/meminfo", "re");
    char line[256];
    unsigned long pages = 0;
    while (info && fgets(line, sizeof line, info))
        if (sscanf(line, "HugePages_Free: %lu", &pages) == 1) break;
    if (info) fclose(info);
    return pages;
}

/* The whole life of a file whose size is in pages of 2 MiB, whatever was asked for. */
static int on_hugetlbfs(void *arg) {
    (void)arg;
    const uint64_t page = 2 << 20;
    struct stat st;
    char errmsg[MILLPOND_ERRMSG_BYTES] = "";
    struct millpond_options options = MILLPOND_OPTIONS_INIT;
    if (!attempt_is_root() || !attempt_can_mount()) return support_skip("no mounts in a namespace of its own");
    unsigned long pages = huge_pages_free();
    if (pages < 12) return support_skip("12 free huge pages are needed: sysctl vm.nr_hugepages=12");
    become_unshared();
    const char *folder = support_path("huge");
    REQUIRE(mkdir(folder, 0700) == 0, "mkdir");
    if (mount("none", folder, "hugetlbfs", 0, "pagesize=2M") != 0) return support_skip("no hugetlbfs with pages of 2 MiB");
    path = support_path("huge/pond");
    pond = support_create(path, 3 << 20);
    for (uint64_t i = 0; i < 100; i++) support_set(pond, i, i + 1, 100);
    REQUIRE(stat(path, &st) == 0 && (uint64_t)st.st_size == 2 * page, "a file of 3 MiB has %lld bytes", (long long)st.st_size);
    old_handle_works();
    name_is((struct expectation){MILLPOND_OK, 1});
    int result = millpond_resize(pond, page + 1, errmsg);
    REQUIRE(result == MILLPOND_OK && stat(path, &st) == 0 && (uint64_t)st.st_size == 2 * page, "resize: %s", errmsg);
    result = millpond_resize(pond, 7 << 20, errmsg);
    REQUIRE(result == MILLPOND_OK && stat(path, &st) == 0 && (uint64_t)st.st_size == 4 * page, "resize: %s", errmsg);
    for (uint64_t i = 0; i < 100; i++) REQUIRE(support_get(pond, i) != 0, "key %llu is gone", (unsigned long long)i);
    options.flags = MILLPOND_CREATE;
    options.size_bytes = (pages + 1) * page;
    struct millpond *larger = NULL;
    result = millpond_open(&larger, support_path("huge/larger"), &options, errmsg);
    REQUIRE(result == MILLPOND_ERR_NO_SPACE && strstr(errmsg, "nr_hugepages"), "more than there are: %d: %s", result, errmsg);
    REQUIRE(millpond_sync(pond) == MILLPOND_OK, "sync");
    millpond_close(pond);
    support_require_whole(path);
    REQUIRE(support_count_files(folder) == 1 && unlink(path) == 0, "something is left");
    REQUIRE(huge_pages_free() == pages, "%lu of %lu huge pages are free again", huge_pages_free(), pages);
    REQUIRE(umount(folder) == 0, "umount: %s", strerror(errno));
    return 0;
}

int main(int argc, char **argv) {
    static const struct support_case cases[] = {
        {"a deleted file serves those who have it open", deleted, 30000},
        {"a replaced file serves those who have it open, the new one those who open it", replaced, 30000},
        {"a file deleted and made anew is another file", deleted_and_made_anew, 30000},
        {"a renamed file is the same file", renamed, 30000},
        {"twenty files under one name, one after the other, all open", replaced_again_and_again, 30000},
        {"a file copied while it is written opens empty, and the original does not notice", copied, 60000},
        {"a synced copy put in the place of the original is a file of its own", copied_over, 30000},
        {"another time namespace makes no difference", time_namespaces, 30000},
        {"a file of huge pages that were set aside is served as any", on_hugetlbfs, 60000},
    };
    return support_run_cases(argc, argv, cases, sizeof cases / sizeof *cases);
}
