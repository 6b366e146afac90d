/* SPDX-License-Identifier: MIT */
/* Attempts to open a file, see attempt.h. */

#include "attempt.h"

#include <dirent.h>
#include <errno.h>
#include <grp.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

int attempt_count_fds(void) { return support_count_files("/proc/self/fd"); }

int attempt_count_mappings(const char *path) {
    FILE *maps = fopen("/proc/self/maps", "re");
    char line[8192], real[PATH_MAX];
    int count = 0;
    REQUIRE(maps, "/proc/self/maps: %s", strerror(errno));
    if (!realpath(path, real)) real[0] = '\n', real[1] = 0; /* not there, not mapped */
    while (fgets(line, sizeof line, maps)) {
        line[strcspn(line, "\n")] = 0;
        count += strstr(line, real) != NULL;
    }
    fclose(maps);
    return count;
}

/* A path of which only the end fits is cut at its beginning, marked by dots. */
static bool names_the_file(const char *errmsg, const char *path) {
    const char *colon = strstr(errmsg, ": ");
    if (!colon) return false;
    size_t path_bytes = strlen(path);
    if (strncmp(errmsg, path, path_bytes) == 0) return errmsg[path_bytes] == ':';
    if (strncmp(errmsg, "...", 3) != 0) return false;
    size_t kept = (size_t)(colon - errmsg) - 3;
    return kept >= 32 && kept < path_bytes && strncmp(path + path_bytes - kept, errmsg + 3, kept) == 0;
}

static void require_sentence(int result, const char *errmsg, const char *path) {
    REQUIRE(errmsg[0], "%s: %d comes without a message", path, result);
    for (const unsigned char *at = (const unsigned char *)errmsg; *at; at++)
        REQUIRE(*at >= 0x20 && *at != 0x7F, "%s: a control character in '%s'", path, errmsg);
    if (path[0]) REQUIRE(names_the_file(errmsg, path), "'%s' does not name %s", errmsg, path);
    const char *wrong = strstr(errmsg, ": ");
    REQUIRE(wrong && strlen(wrong) > 20, "'%s' says too little", errmsg);
    REQUIRE(strstr(wrong, "; ") && !strchr(wrong, '\n'), "'%s' does not say what to do", errmsg);
    REQUIRE(errmsg[strlen(errmsg) - 1] != '.', "'%s' ends with a full stop, the others do not", errmsg);
}

static void use_once(struct millpond *pond, const struct millpond_options *options) {
    char key[SUPPORT_KEY_BYTES + 1], value[64];
    size_t bytes = 0;
    support_key(key, UINT64_C(0xF00000000) + (uint64_t)getpid());
    if (options && options->flags & MILLPOND_READONLY) {
        REQUIRE(millpond_get(pond, key, SUPPORT_KEY_BYTES, value, sizeof value, &bytes) == MILLPOND_MISS, "a key that is not there");
        return;
    }
    REQUIRE(millpond_set(pond, key, SUPPORT_KEY_BYTES, "value", 5, 0) == MILLPOND_OK, "set failed");
    REQUIRE(millpond_get(pond, key, SUPPORT_KEY_BYTES, value, sizeof value, &bytes) == MILLPOND_OK && bytes == 5 &&
                memcmp(value, "value", 5) == 0,
            "get failed");
    REQUIRE(millpond_delete(pond, key, SUPPORT_KEY_BYTES) == MILLPOND_OK, "delete failed");
}

struct attempt attempt_open(const char *path, const struct millpond_options *options) {
    struct {
        char errmsg[MILLPOND_ERRMSG_BYTES];
        char canary[64];
    } text;
    struct attempt attempt;
    struct millpond *untouched = (struct millpond *)(void *)&text, *pond = untouched;
    memset(&text, 0x5A, sizeof text);
    int fds = attempt_count_fds(), mappings = attempt_count_mappings(path);
    attempt.result = millpond_open(&pond, path, options, text.errmsg);
    for (size_t i = 0; i < sizeof text.canary; i++) REQUIRE(text.canary[i] == 0x5A, "written behind errmsg");
    if (attempt.result == MILLPOND_OK) {
        use_once(pond, options);
        millpond_close(pond);
        attempt.errmsg[0] = 0;
        REQUIRE(attempt_count_mappings(path) == mappings, "%s: still mapped after close", path);
    } else {
        REQUIRE(attempt.result < 0, "open answers %d", attempt.result);
        REQUIRE(pond == untouched, "the handle was set although open answers %d", attempt.result);
        REQUIRE(memchr(text.errmsg, 0, sizeof text.errmsg), "the message has no end");
        memcpy(attempt.errmsg, text.errmsg, sizeof attempt.errmsg);
        require_sentence(attempt.result, attempt.errmsg, path);
    }
    REQUIRE(attempt_count_fds() == fds, "%s: %d descriptors before, %d after", path, fds, attempt_count_fds());
    return attempt;
}

struct task {
    void (*become)(void *arg);
    void *arg;
    const char *path;
    const struct millpond_options *options;
    struct attempt *attempt;
};

static int open_as(void *arg) {
    struct task *task = arg;
    task->become(task->arg);
    *task->attempt = attempt_open(task->path, task->options);
    return 0;
}

struct attempt attempt_open_as(void (*become)(void *arg), void *arg, const char *path, const struct millpond_options *options) {
    struct task task = {become, arg, path, options, support_share(sizeof(struct attempt))};
    int said = support_run_child(open_as, &task, 20000);
    REQUIRE(said == 0, "%s: the child that opens ended with %d%s", path, said, said == SUPPORT_LATE ? " (hung)" : "");
    return *task.attempt;
}

void become_user(void *uid) {
    uid_t user = *(uid_t *)uid;
    REQUIRE(setgroups(0, NULL) == 0 && setresgid(user, user, user) == 0 && setresuid(user, user, user) == 0, "%s", strerror(errno));
    /* A change of user forgets the signal that ends a child with its parent; and /proc/self is closed to the process without this. */
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    prctl(PR_SET_DUMPABLE, 1);
}

void become_limited(void *limit) {
    struct attempt_limit *wanted = limit;
    struct rlimit rlimit = {(rlim_t)wanted->value, (rlim_t)wanted->value};
    REQUIRE(setrlimit((__rlimit_resource_t)wanted->resource, &rlimit) == 0, "%s", strerror(errno));
}

void become_unshared(void) {
    REQUIRE(unshare(CLONE_NEWNS) == 0 && mount("none", "/", "none", MS_REC | MS_PRIVATE, NULL) == 0, "%s", strerror(errno));
}

bool attempt_is_root(void) { return geteuid() == 0; }

static int try_mount(void *arg) {
    (void)arg;
    if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", "none", MS_REC | MS_PRIVATE, NULL) != 0) return 1;
    return mount("none", support_path("."), "tmpfs", 0, "size=64k") == 0 ? 0 : 1;
}

bool attempt_can_mount(void) { return support_run_child(try_mount, NULL, 5000) == 0; }
