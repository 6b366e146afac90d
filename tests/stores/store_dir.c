/* SPDX-License-Identifier: MIT */
/* The store of files: names, tricks with paths, kills, full disks, permissions. */

#include "../attempt.h"
#include "contract.h"

#include <millpond_store_dir.h>

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *root;

static struct millpond_store make(unsigned flags) {
    struct millpond_store store;
    char errmsg[MILLPOND_ERRMSG_BYTES];
    root = support_path("root");
    REQUIRE(millpond_store_dir(&store, root, flags | MILLPOND_STORE_DIR_CREATE, errmsg) == MILLPOND_OK, "%s", errmsg);
    return store;
}

static const char *below(const char *name) { return support_path("root/%s", name); }

static int count;
static int count_one(const char *path, const struct stat *info, int kind, struct FTW *where) {
    (void)path, (void)info, (void)kind, (void)where;
    count++;
    return 0;
}

/* Everything below the root, folders too, but for an empty %tmp. */
static int left_below(void) {
    count = -1;
    REQUIRE(nftw(root, count_one, 16, FTW_PHYS) == 0, "%s", strerror(errno));
    return count - (access(below("%tmp"), F_OK) == 0);
}

static int keeps_the_contract(unsigned flags) {
    struct millpond_store store = make(flags);
    contract_values(&store, 65535);
    REQUIRE(left_below() == 0, "%d files or folders are left", left_below());
    contract_model(&store);
    contract_threads(&store);
    contract_forks(&store);
    store.close(store.state);
    REQUIRE(access(below("%tmp"), F_OK) != 0, "%%tmp is left");
    return 0;
}

static int keeps_the_contract_flat(void *arg) {
    (void)arg;
    return keeps_the_contract(MILLPOND_STORE_DIR_FLAT);
}
static int keeps_the_contract_in_a_tree(void *arg) {
    (void)arg;
    return keeps_the_contract(0);
}
static int keeps_the_contract_on_disk(void *arg) {
    (void)arg;
    struct millpond_store store = make(MILLPOND_STORE_DIR_DURABLE);
    contract_model(&store);
    store.close(store.state);
    return 0;
}
static int lists(void *arg) {
    (void)arg;
    struct millpond_store store = make(0);
    contract_list(&store);
    contract_late(&store);
    store.close(store.state);
    return 0;
}

/* ---- names ---- */

static int a_tree_of_files_is_read_as_it_is(void *arg) {
    (void)arg;
    struct millpond_store store = make(0);
    static const char *const names[] = {"plain",   "with blank", "umlaut \xc3\xa4", "sub/deep/file.txt", "a'b\"c", "-x", "~",
                                        ".hidden", "..."};
    REQUIRE(mkdir(below("sub"), 0700) == 0 && mkdir(below("sub/deep"), 0700) == 0, "%s", strerror(errno));
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        REQUIRE(support_write_file(below(names[i]), names[i], strlen(names[i])), "%s", names[i]);
        REQUIRE(contract_is(&store, names[i], names[i]), "%s", names[i]);
    }
    REQUIRE(support_write_file(below("100%"), "x", 1), "a name that no key has");
    REQUIRE(contract_is(&store, "100%", NULL), "the key's own name is 100%%25");
    REQUIRE(contract_count(&store) == sizeof names / sizeof *names, "%zu names", contract_count(&store));
    REQUIRE(contract_put(&store, "sub/deep/file.txt", "new") == MILLPOND_OK && contract_is(&store, "sub/deep/file.txt", "new"),
            "overwritten");
    store.close(store.state);
    return 0;
}

static void tricks(unsigned flags, const char *const *keys, size_t keys_count) {
    struct millpond_store store = make(flags);
    REQUIRE(support_write_file(support_path("x"), "outside", 7), "outside");
    for (size_t i = 0; i < keys_count; i++) {
        REQUIRE(contract_is(&store, keys[i], NULL), "%s is there before it was stored", keys[i]);
        REQUIRE(contract_put(&store, keys[i], keys[i]) == MILLPOND_OK, "%s: %s", keys[i], contract_said);
    }
    for (size_t i = 0; i < keys_count; i++) REQUIRE(contract_is(&store, keys[i], keys[i]), "%s", keys[i]);
    REQUIRE(contract_count(&store) == keys_count, "%zu keys", contract_count(&store));
    for (size_t i = 0; i < keys_count; i++)
        REQUIRE(contract_erase(&store, keys[i], strlen(keys[i])) == MILLPOND_OK, "%s: %s", keys[i], contract_said);
    size_t bytes;
    unsigned char *outside = support_read_file(support_path("x"), &bytes);
    REQUIRE(bytes == 7 && memcmp(outside, "outside", 7) == 0, "a file outside was changed");
    free(outside);
    REQUIRE(left_below() == 0, "%d are left", left_below());
    store.close(store.state);
}

static int names_stay_below_the_directory(void *arg) {
    (void)arg;
    static const char *const keys[] = {"../x",     "a/../../x", "/etc/passwd", "//", "a//b", "c/",  "../../../../../../tmp/x",
                                       "%2e%2e/x", "..%2fx",    "%tmp/1.2.3",  "%",  "%+",   "./x", "%+x/y",
                                       "b/..",     "b/."};
    static const char *const flat_keys[] = {"..", ".", "../x", "/", "//", "%tmp", "%2E%2E", "%2F", "%00", "a/../../x"};
    tricks(0, keys, sizeof keys / sizeof *keys);
    tricks(MILLPOND_STORE_DIR_FLAT, flat_keys, sizeof flat_keys / sizeof *flat_keys);
    return 0;
}

static int links_are_not_followed(void *arg) {
    (void)arg;
    struct millpond_store store = make(0);
    const char *outside = support_path("outside");
    REQUIRE(mkdir(outside, 0700) == 0 && support_write_file(support_path("outside/secret"), "secret", 6), "%s", strerror(errno));
    REQUIRE(symlink(outside, below("folder")) == 0 && symlink(support_path("outside/secret"), below("file")) == 0, "%s", strerror(errno));
    REQUIRE(symlink(outside, below("%tmp")) == 0, "%s", strerror(errno));
    void *value;
    size_t bytes;
    contract_require_error(&store, contract_load(&store, "file", 4, &value, &bytes), MILLPOND_ERR_NOT_REGULAR, "symbolic link");
    contract_require_error(&store, contract_load(&store, "folder/secret", 13, &value, &bytes), MILLPOND_ERR_NOT_REGULAR, "symbolic link");
    REQUIRE(contract_put(&store, "folder/new", "x") == MILLPOND_ERR_NOT_REGULAR, "%s", contract_said);
    REQUIRE(contract_put(&store, "file", "x") < 0, "%s", contract_said);
    REQUIRE(contract_erase(&store, "file", 4) == MILLPOND_ERR_NOT_REGULAR, "%s", contract_said);
    REQUIRE(contract_erase(&store, "folder/secret", 13) == MILLPOND_ERR_NOT_REGULAR, "%s", contract_said);
    REQUIRE(contract_put(&store, "real", "1") == MILLPOND_OK, "%s", contract_said);
    REQUIRE(contract_put(&store, "real", "2") < 0, "%%tmp is a link"); /* the second one needs %tmp */
    REQUIRE(contract_is(&store, "real", "1"), "the old value stays");
    REQUIRE(support_count_files(outside) == 1, "something was written outside");
    REQUIRE(contract_count(&store) == 1, "%zu", contract_count(&store));
    store.close(store.state);
    return 0;
}

static int what_is_no_file_is_refused(void *arg) {
    (void)arg;
    struct millpond_store store = make(0);
    void *value;
    size_t bytes;
    REQUIRE(mkfifo(below("fifo"), 0600) == 0, "%s", strerror(errno));
    contract_require_error(&store, contract_load(&store, "fifo", 4, &value, &bytes), MILLPOND_ERR_NOT_REGULAR, "regular file");
    REQUIRE(contract_put(&store, "fifo", "x") == MILLPOND_ERR_NOT_REGULAR, "%s", contract_said);
    REQUIRE(contract_put(&store, "a/b", "x") == MILLPOND_OK, "%s", contract_said);
    contract_require_error(&store, contract_load(&store, "a", 1, &value, &bytes), MILLPOND_ERR_NOT_REGULAR, "flat layout");
    contract_require_error(&store, contract_put(&store, "a", "x"), MILLPOND_ERR_NOT_REGULAR, "flat layout");
    contract_require_error(&store, contract_put(&store, "a/b/c", "x"), MILLPOND_ERR_NOT_REGULAR, "flat layout");
    REQUIRE(contract_is(&store, "a/b/c", NULL) && contract_is(&store, "a/b", "x"), "as before");
    store.close(store.state);
    return 0;
}

static int keys_that_begin_alike_go_together_when_flat(void *arg) {
    (void)arg;
    struct millpond_store store = make(MILLPOND_STORE_DIR_FLAT);
    REQUIRE(contract_put(&store, "a", "1") == MILLPOND_OK && contract_put(&store, "a/b", "2") == MILLPOND_OK, "%s", contract_said);
    REQUIRE(contract_is(&store, "a", "1") && contract_is(&store, "a/b", "2") && contract_count(&store) == 2, "both");
    store.close(store.state);
    return 0;
}

/* ---- trouble ---- */

static int write_for_ever(void *arg) {
    struct millpond_store *store = arg;
    unsigned char value[20000];
    for (uint64_t i = 0;; i++) {
        char key[32];
        snprintf(key, sizeof key, "folder %llu/key", (unsigned long long)(i % 3));
        support_value_write(value, 32 + i * 997 % 19000, i % 3, i);
        REQUIRE(contract_store(store, key, strlen(key), value, 32 + i * 997 % 19000) == MILLPOND_OK, "%s", contract_said);
        if (i % 10 == 9) contract_erase(store, key, strlen(key));
    }
}

static void judge(const struct millpond_store *store) {
    for (unsigned k = 0; k < 3; k++) {
        char key[32];
        void *value = NULL;
        size_t bytes;
        uint64_t sequence;
        snprintf(key, sizeof key, "folder %u/key", k);
        int result = contract_load(store, key, strlen(key), &value, &bytes);
        REQUIRE(result == MILLPOND_OK || result == MILLPOND_MISS, "%s", contract_said);
        const char *wrong = result == MILLPOND_OK ? support_value_read(value, bytes, k, &sequence) : NULL;
        REQUIRE(!wrong, "%s", wrong);
        free(value);
    }
}

static int killed_writers_leave_whole_values_and_no_litter(void *arg) {
    (void)arg;
    struct millpond_store store = make(0);
    struct support_random random = support_seed("kills");
    for (unsigned i = 0; i < 200; i++) {
        pid_t children[2] = {support_fork(write_for_ever, &store), support_fork(write_for_ever, &store)};
        support_sleep_us((unsigned)support_below(&random, 6000));
        judge(&store);
        for (unsigned c = 0; c < 2; c++) support_kill(children[c]);
    }
    judge(&store);
    /* What an unlucky kill left, and a file that somebody is about to rename. */
    REQUIRE(mkdir(below("%tmp"), 0700) == 0 || errno == EEXIST, "%s", strerror(errno));
    REQUIRE(support_write_file(below("%tmp/1.2.3"), "left", 4), "litter");
    store.close(store.state);
    store = make(0);
    REQUIRE(access(below("%tmp"), F_OK) != 0, "%%tmp is left");
    REQUIRE(contract_count(&store) <= 3, "%zu keys", contract_count(&store));
    store.close(store.state);
    return 0;
}

/* A file system of 1 MiB, in a mount namespace of our own. */
static int a_full_disk_changes_nothing(void *arg) {
    (void)arg;
    root = support_path("root");
    REQUIRE(mkdir(root, 0700) == 0, "%s", strerror(errno));
    if (!attempt_can_mount()) return support_skip("no mounts of our own here");
    become_unshared();
    REQUIRE(mount("tmpfs", root, "tmpfs", 0, "size=1m") == 0, "%s", strerror(errno));
    struct millpond_store store = make(0);
    char *big = calloc(1, 2 << 20);
    REQUIRE(big, "no memory");
    REQUIRE(contract_put(&store, "key", "old") == MILLPOND_OK, "%s", contract_said);
    contract_require_error(&store, contract_store(&store, "key", 3, big, 2 << 20), MILLPOND_ERR_NO_SPACE, "full");
    contract_require_error(&store, contract_store(&store, "folder/new", 10, big, 2 << 20), MILLPOND_ERR_NO_SPACE, "full");
    REQUIRE(contract_is(&store, "key", "old") && contract_is(&store, "folder/new", NULL), "nothing has changed");
    REQUIRE(contract_put(&store, "key", "new") == MILLPOND_OK && contract_is(&store, "key", "new"), "small ones go on");
    free(big);
    store.close(store.state);
    return 0;
}

static int a_file_size_limit_is_an_error_and_no_signal(void *arg) {
    (void)arg;
    struct millpond_store store = make(0);
    char value[10000] = "";
    struct rlimit limit = {4096, 4096};
    REQUIRE(contract_put(&store, "key", "old") == MILLPOND_OK, "%s", contract_said);
    REQUIRE(setrlimit(RLIMIT_FSIZE, &limit) == 0, "%s", strerror(errno));
    contract_require_error(&store, contract_store(&store, "key", 3, value, sizeof value), MILLPOND_ERR_LIMIT, "ulimit -f");
    REQUIRE(contract_is(&store, "key", "old"), "nothing has changed");
    store.close(store.state);
    return 0;
}

static int without_permission_it_says_so(void *arg) {
    (void)arg;
    struct millpond_store store = make(0);
    void *value;
    size_t bytes;
    REQUIRE(contract_put(&store, "closed/key", "old") == MILLPOND_OK && contract_put(&store, "key", "old") == MILLPOND_OK, "%s",
            contract_said);
    REQUIRE(chmod(below("closed"), 0) == 0 && chmod(below("key"), 0) == 0 && chmod(root, 0555) == 0, "%s", strerror(errno));
    if (geteuid() == 0) REQUIRE(chown(root, 0, 0) == 0 && setgid(65534) == 0 && setuid(65534) == 0, "%s", strerror(errno));
    contract_require_error(&store, contract_load(&store, "closed/key", 10, &value, &bytes), MILLPOND_ERR_PERMISSION, "permission");
    contract_require_error(&store, contract_load(&store, "key", 3, &value, &bytes), MILLPOND_ERR_PERMISSION, "permission");
    contract_require_error(&store, contract_put(&store, "new", "x"), MILLPOND_ERR_PERMISSION, "permission");
    contract_require_error(&store, contract_erase(&store, "key", 3), MILLPOND_ERR_PERMISSION, "permission");
    store.close(store.state);
    return 0;
}

static int what_cannot_be_opened_is_told(void *arg) {
    (void)arg;
    struct millpond_store store;
    char errmsg[MILLPOND_ERRMSG_BYTES];
    REQUIRE(millpond_store_dir(&store, support_path("absent"), 0, errmsg) == MILLPOND_ERR_NO_FILE && strstr(errmsg, "absent: "), "%s",
            errmsg);
    REQUIRE(support_write_file(support_path("file"), "", 0), "file");
    REQUIRE(millpond_store_dir(&store, support_path("file"), 0, errmsg) == MILLPOND_ERR_ARGUMENT && strstr(errmsg, "not a directory"), "%s",
            errmsg);
    REQUIRE(millpond_store_dir(&store, "", 0, errmsg) == MILLPOND_ERR_ARGUMENT && *errmsg, "%s", errmsg);
    REQUIRE(millpond_store_dir(&store, support_path("file"), 1024, errmsg) == MILLPOND_ERR_ARGUMENT && *errmsg, "%s", errmsg);
    return 0;
}

int main(int argc, char **argv) {
    static const struct support_case cases[] = {
        {"any key and value, threads and forks, in the flat layout", keeps_the_contract_flat, 120000},
        {"any key and value, threads and forks, in the tree layout", keeps_the_contract_in_a_tree, 120000},
        {"a thousand calls with fsync", keeps_the_contract_on_disk, 120000},
        {"lists, and a deadline that has passed", lists, 60000},
        {"a tree of files is read as it is", a_tree_of_files_is_read_as_it_is, 30000},
        {"names stay below the directory", names_stay_below_the_directory, 30000},
        {"links are not followed", links_are_not_followed, 30000},
        {"what is no file is refused", what_is_no_file_is_refused, 30000},
        {"keys that begin alike go together when flat", keys_that_begin_alike_go_together_when_flat, 30000},
        {"killed writers leave whole values and no litter", killed_writers_leave_whole_values_and_no_litter, 120000},
        {"a full disk changes nothing", a_full_disk_changes_nothing, 30000},
        {"a file size limit is an error and no signal", a_file_size_limit_is_an_error_and_no_signal, 30000},
        {"without permission it says so", without_permission_it_says_so, 30000},
        {"what cannot be opened is told", what_cannot_be_opened_is_told, 30000},
    };
    return support_run_cases(argc, argv, cases, sizeof cases / sizeof *cases);
}
