/* SPDX-License-Identifier: MIT */
/* Opening what is there: every error of millpond_open, what its message says, and that nothing is left behind. Creating is in
 * test_create.c; file systems, copies, restarts of the machine and namespaces are in test_places.c. */

#include "attempt.h"
#include "layout.h"
#include "support.h"
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define POND_BYTES (256 << 10)

static const struct millpond_options plain = MILLPOND_OPTIONS_INIT;
static const struct millpond_options readonly = {sizeof readonly, MILLPOND_READONLY, 0, 0, 0, 0, 0, 0, 0, 0, 0};
static const struct millpond_options creating = {sizeof creating, MILLPOND_CREATE, POND_BYTES, 0, 0, 0, 0, 0, 0, 0, 0};

/* A closed pond that holds 100 entries. */
static const char *make_pond(const char *name) {
    const char *path = support_path("%s", name);
    struct millpond *pond = support_create(path, POND_BYTES);
    for (uint64_t i = 0; i < 100; i++) {
        char key[SUPPORT_KEY_BYTES + 1];
        support_key(key, i);
        cr_assert_eq(millpond_set(pond, key, SUPPORT_KEY_BYTES, key, SUPPORT_KEY_BYTES, 0), MILLPOND_OK);
    }
    millpond_close(pond);
    return path;
}

static void overwrite(const char *path, off_t at, const void *bytes, size_t count) {
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    cr_assert(fd >= 0 && pwrite(fd, bytes, count, at) == (ssize_t)count, "%s: %s", path, strerror(errno));
    close(fd);
}

/* ---- arguments ---- */

Test(open, arguments_out_of_range_are_refused) {
    const char *path = make_pond("arguments.pond");
    struct millpond *pond = NULL;
    cr_assert_eq(millpond_open(NULL, path, NULL, NULL), MILLPOND_ERR_ARGUMENT);
    cr_assert_eq(millpond_open(&pond, NULL, NULL, NULL), MILLPOND_ERR_ARGUMENT);
    cr_assert_null(pond);
    struct millpond_options options = plain;
    options.struct_bytes = 0;
    REQUIRE_ERROR(attempt_open(path, &options), MILLPOND_ERR_ARGUMENT);
    options = plain;
    options.flags = 1u << 20;
    REQUIRE_ERROR(attempt_open(path, &options), MILLPOND_ERR_ARGUMENT);
    struct attempt attempt = attempt_open("", &plain);
    cr_assert(attempt.result == MILLPOND_ERR_ARGUMENT || attempt.result == MILLPOND_ERR_NO_FILE, "an empty name: %d", attempt.result);
}

Test(open, options_and_message_may_be_left_out) {
    const char *path = make_pond("null.pond");
    struct millpond *pond = NULL;
    cr_assert_eq(millpond_open(&pond, path, NULL, NULL), MILLPOND_OK);
    cr_assert_eq(millpond_contains(pond, "key-00000000000000000007", 24), MILLPOND_OK);
    millpond_close(pond);
    cr_assert_eq(millpond_open(&pond, support_path("nothing"), NULL, NULL), MILLPOND_ERR_NO_FILE);
    millpond_close(NULL);
}

Test(open, options_for_creation_are_ignored_when_the_file_is_there) {
    const char *path = make_pond("there.pond");
    struct millpond_options options = creating;
    options.size_bytes = 16 << 20;
    options.shards = 4;
    options.mode = 0644;
    REQUIRE_ERROR(attempt_open(path, &options), MILLPOND_OK);
    struct stat st;
    cr_assert(stat(path, &st) == 0 && st.st_size == POND_BYTES && (st.st_mode & 07777) == 0600);
}

/* ---- not there, not allowed ---- */

Test(open, a_missing_file_or_folder_is_named) {
    REQUIRE_ERROR(attempt_open(support_path("missing.pond"), &plain), MILLPOND_ERR_NO_FILE);
    REQUIRE_ERROR(attempt_open(support_path("missing.pond"), &readonly), MILLPOND_ERR_NO_FILE);
    REQUIRE_ERROR(attempt_open(support_path("no/such/folder.pond"), &plain), MILLPOND_ERR_NO_FILE);
    REQUIRE_ERROR(attempt_open(support_path("no/such/folder.pond"), &creating), MILLPOND_ERR_NO_FILE);
    const char *file = make_pond("a-file.pond");
    REQUIRE_ERROR(attempt_open(support_path("a-file.pond/inside.pond"), &plain), MILLPOND_ERR_NO_FILE);
    REQUIRE_ERROR(attempt_open(file, &plain), MILLPOND_OK);
}

Test(open, a_name_that_is_too_long_is_refused_and_the_message_stays_within_its_buffer) {
    char name[300];
    memset(name, 'n', sizeof name);
    name[255] = 0;
    REQUIRE_ERROR(attempt_open(support_path("%s", name), &plain), MILLPOND_ERR_NO_FILE);
    REQUIRE_ERROR(attempt_open(support_path("%s", name), &creating), MILLPOND_OK);
    name[255] = 'n';
    name[256] = 0;
    REQUIRE_ERROR(attempt_open(support_path("%s", name), &plain), MILLPOND_ERR_ARGUMENT);
    REQUIRE_ERROR(attempt_open(support_path("%s", name), &creating), MILLPOND_ERR_ARGUMENT);
}

Test(open, another_user_without_permission_is_refused) {
    const char *path = make_pond("mine.pond");
    if (!attempt_is_root()) {
        cr_assert_eq(chmod(path, 0), 0);
        REQUIRE_ERROR(attempt_open(path, &plain), MILLPOND_ERR_PERMISSION);
        REQUIRE_ERROR(attempt_open(path, &readonly), MILLPOND_ERR_PERMISSION);
        return;
    }
    uid_t other = 65534;
    REQUIRE_ERROR(attempt_open_as(become_user, &other, path, &plain), MILLPOND_ERR_PERMISSION);
    REQUIRE_ERROR(attempt_open_as(become_user, &other, path, &readonly), MILLPOND_ERR_PERMISSION);
    cr_assert_eq(chmod(path, 0644), 0);
    REQUIRE_ERROR(attempt_open_as(become_user, &other, path, &plain), MILLPOND_ERR_PERMISSION);
    REQUIRE_ERROR(attempt_open_as(become_user, &other, path, &readonly), MILLPOND_OK);
}

/* ---- not safe ---- */

Test(open, a_file_that_others_were_later_allowed_to_write_is_not_safe) {
    const char *path = make_pond("loose.pond");
    static const mode_t loose[] = {0620, 0602, 0660, 0666};
    for (size_t i = 0; i < sizeof loose / sizeof *loose; i++) {
        cr_assert_eq(chmod(path, loose[i]), 0);
        REQUIRE_ERROR(attempt_open(path, &plain), MILLPOND_ERR_UNSAFE);
        REQUIRE_ERROR(attempt_open(path, &readonly), MILLPOND_OK);
    }
    cr_assert_eq(chmod(path, 0644), 0);
    REQUIRE_ERROR(attempt_open(path, &plain), MILLPOND_OK);
}

Test(open, a_file_created_for_others_to_write_is_safe_for_them) {
    struct millpond_options options = creating;
    options.mode = 0666;
    const char *path = support_path("open.pond");
    REQUIRE_ERROR(attempt_open(path, &options), MILLPOND_OK);
    REQUIRE_ERROR(attempt_open(path, &plain), MILLPOND_OK);
    if (!attempt_is_root()) SKIP_TEST("only root can become another user");
    uid_t other = 65534;
    REQUIRE_ERROR(attempt_open_as(become_user, &other, path, &plain), MILLPOND_OK);
}

Test(open, a_writer_refuses_the_file_of_a_user_whom_it_would_have_to_trust) {
    if (!attempt_is_root()) SKIP_TEST("only root can become another user");
    struct millpond_options options = creating;
    options.mode = 0666;
    const char *path = support_path("theirs.pond");
    REQUIRE_ERROR(attempt_open(path, &options), MILLPOND_OK);
    cr_assert_eq(chown(path, 65533, 65533), 0);
    uid_t other = 65534, owner = 65533;
    REQUIRE_ERROR(attempt_open_as(become_user, &other, path, &plain), MILLPOND_ERR_UNSAFE);
    REQUIRE_ERROR(attempt_open_as(become_user, &other, path, &readonly), MILLPOND_OK);
    REQUIRE_ERROR(attempt_open_as(become_user, &owner, path, &plain), MILLPOND_OK);
}

/* ---- not what it says ---- */

Test(open, a_file_of_another_size_than_it_says_is_refused) {
    static const int64_t sizes[] = {4096,           POND_BYTES / 2,    POND_BYTES - 4096, POND_BYTES - 1,
                                    POND_BYTES + 1, POND_BYTES + 4096, 4 * POND_BYTES};
    const char *path = make_pond("size.pond");
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        const char *copy = support_path("size-%zu.pond", i);
        cr_assert(support_copy_file(path, copy) && truncate(copy, sizes[i]) == 0);
        REQUIRE_ERROR(attempt_open(copy, &plain), MILLPOND_ERR_FILE_SIZE);
        REQUIRE_ERROR(attempt_open(copy, &readonly), MILLPOND_ERR_FILE_SIZE);
        REQUIRE_ERROR(attempt_open(copy, &creating), MILLPOND_ERR_FILE_SIZE);
        cr_assert_eq(support_file_bytes(copy), sizes[i], "open changed the file");
    }
}

Test(open, the_stump_of_a_file_is_refused) {
    const char *path = make_pond("stump.pond");
    for (int bytes = 0; bytes <= 256; bytes += bytes < 130 ? 1 : 9) {
        const char *copy = support_path("stump-%d.pond", bytes);
        cr_assert(support_copy_file(path, copy) && truncate(copy, bytes) == 0);
        int result = attempt_open(copy, bytes % 2 ? &plain : &readonly).result;
        cr_assert(result == MILLPOND_ERR_NOT_A_POND || result == MILLPOND_ERR_FILE_SIZE, "%d bytes: %d", bytes, result);
        cr_assert_eq(unlink(copy), 0);
    }
}

Test(open, foreign_files_are_refused_and_left_alone) {
    struct support_random random = support_seed("foreign files");
    size_t bytes = 1 << 20;
    unsigned char *noise = malloc(bytes);
    support_fill(noise, bytes, support_next(&random));
    cr_assert(support_write_file(support_path("noise"), noise, bytes));
    memset(noise, 0, bytes);
    cr_assert(support_write_file(support_path("zeros"), noise, bytes));
    free(noise);
    cr_assert(support_write_file(support_path("empty"), "", 0));
    cr_assert(support_write_file(support_path("text"), "user = alice\n", 13));
    cr_assert(support_write_file(support_path("one"), "m", 1));
    static const char *const names[] = {"noise", "zeros", "empty", "text", "one"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const char *path = support_path("%s", names[i]);
        uint64_t before = support_hash_file(path);
        REQUIRE_ERROR(attempt_open(path, &plain), MILLPOND_ERR_NOT_A_POND);
        REQUIRE_ERROR(attempt_open(path, &readonly), MILLPOND_ERR_NOT_A_POND);
        REQUIRE_ERROR(attempt_open(path, &creating), MILLPOND_ERR_NOT_A_POND);
        cr_assert_eq(support_hash_file(path), before, "%s was changed", names[i]);
    }
}

Test(open, older_and_newer_formats_are_named_as_such) {
    const char *path = make_pond("version.pond");
    static const uint32_t versions[] = {0, POND_FORMAT_VERSION - 1, POND_FORMAT_VERSION + 1, 1000, UINT32_MAX};
    for (size_t i = 0; i < sizeof versions / sizeof *versions; i++) {
        overwrite(path, offsetof(struct pond_identity, format_version), &versions[i], sizeof versions[i]);
        struct attempt attempt = attempt_open(path, &plain);
        REQUIRE_ERROR(attempt, MILLPOND_ERR_VERSION);
        char number[16];
        snprintf(number, sizeof number, " %u", versions[i]);
        cr_assert(strstr(attempt.errmsg, number), "'%s' does not name version%s", attempt.errmsg, number);
        REQUIRE_ERROR(attempt_open(path, &readonly), MILLPOND_ERR_VERSION);
    }
    uint32_t right = POND_FORMAT_VERSION;
    overwrite(path, offsetof(struct pond_identity, format_version), &right, sizeof right);
    REQUIRE_ERROR(attempt_open(path, &plain), MILLPOND_OK);
}

Test(open, files_of_other_machines_and_libraries_are_refused) {
    const char *path = make_pond("foreign-layout.pond");
    static const struct {
        off_t at;
        uint32_t value;
    } changes[] = {{offsetof(struct pond_identity, byte_order), 0x04030201},
                   {offsetof(struct pond_identity, word_bytes), sizeof(void *) == 8 ? 4 : 8},
                   {offsetof(struct pond_identity, mutex_bytes), 24},
                   {offsetof(struct pond_identity, libc), 2}};
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
        const char *copy = support_path("layout-%zu.pond", i);
        cr_assert(support_copy_file(path, copy));
        overwrite(copy, changes[i].at, &changes[i].value, sizeof changes[i].value);
        REQUIRE_ERROR(attempt_open(copy, &plain), MILLPOND_ERR_LAYOUT);
        REQUIRE_ERROR(attempt_open(copy, &readonly), MILLPOND_ERR_LAYOUT);
    }
}

Test(open, no_damaged_byte_of_the_identity_is_accepted) {
    const char *path = make_pond("identity.pond");
    size_t bytes;
    unsigned char *whole = support_read_file(path, &bytes);
    for (size_t at = 0; at < sizeof(struct pond_identity); at++) {
        unsigned char wrong = (unsigned char)(whole[at] ^ (1u << at % 8));
        overwrite(path, (off_t)at, &wrong, 1);
        int result = attempt_open(path, at % 2 ? &plain : &readonly).result;
        cr_assert(result == MILLPOND_ERR_NOT_A_POND || result == MILLPOND_ERR_VERSION || result == MILLPOND_ERR_LAYOUT ||
                      result == MILLPOND_ERR_CORRUPT,
                  "byte %zu: %d", at, result);
        overwrite(path, (off_t)at, &whole[at], 1);
    }
    free(whole);
    REQUIRE_ERROR(attempt_open(path, &plain), MILLPOND_OK);
}

/* ---- not a regular file ---- */

Test(open, symbolic_links_are_not_followed) {
    const char *path = make_pond("real.pond"), *to_file = support_path("to-file"), *dangling = support_path("dangling");
    cr_assert(symlink(path, to_file) == 0 && symlink(support_path("nowhere"), dangling) == 0);
    REQUIRE_ERROR(attempt_open(to_file, &plain), MILLPOND_ERR_NOT_REGULAR);
    REQUIRE_ERROR(attempt_open(to_file, &readonly), MILLPOND_ERR_NOT_REGULAR);
    REQUIRE_ERROR(attempt_open(dangling, &plain), MILLPOND_ERR_NOT_REGULAR);
    REQUIRE_ERROR(attempt_open(dangling, &creating), MILLPOND_ERR_NOT_REGULAR);
    cr_assert_eq(support_file_bytes(support_path("nowhere")), -1, "a file was created through a dangling link");
    cr_assert_eq(symlink(".", support_path("folder")), 0);
    REQUIRE_ERROR(attempt_open(support_path("folder/real.pond"), &plain), MILLPOND_OK);
}

static void stay(void *arg) { (void)arg; }

Test(open, fifos_folders_devices_and_sockets_are_refused_at_once) {
    const char *fifo = support_path("fifo"), *folder = support_path("folder"), *name = support_path("socket");
    cr_assert(mkfifo(fifo, 0600) == 0 && mkdir(folder, 0700) == 0);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    snprintf(address.sun_path, sizeof address.sun_path, "%s", name);
    cr_assert(bind(listener, (struct sockaddr *)&address, sizeof address) == 0, "%s", strerror(errno));
    const char *const paths[] = {fifo, folder, name, "/dev/null", "/dev/zero"};
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        REQUIRE_ERROR(attempt_open_as(stay, NULL, paths[i], &plain), MILLPOND_ERR_NOT_REGULAR);
        REQUIRE_ERROR(attempt_open_as(stay, NULL, paths[i], &readonly), MILLPOND_ERR_NOT_REGULAR);
        REQUIRE_ERROR(attempt_open_as(stay, NULL, paths[i], &creating), MILLPOND_ERR_NOT_REGULAR);
    }
    close(listener);
}

/* ---- limits of the process ---- */

Test(open, a_process_without_room_for_the_mapping_says_so) {
    const char *path = support_path("large.pond");
    struct millpond_options options = creating;
    options.size_bytes = 64 << 20;
    REQUIRE_ERROR(attempt_open(path, &options), MILLPOND_OK);
    struct attempt_limit limit = {RLIMIT_AS, 48 << 20};
    if (SANITIZED || support_valgrind()) SKIP_TEST("what looks over the memory needs the address space");
    REQUIRE_ERROR(attempt_open_as(become_limited, &limit, path, &plain), MILLPOND_ERR_LIMIT);
    REQUIRE_ERROR(attempt_open_as(become_limited, &limit, path, &readonly), MILLPOND_ERR_LIMIT);
}

static void become_full(void *spare) {
    struct rlimit limit;
    int highest = dup(0);
    REQUIRE(highest >= 0 && getrlimit(RLIMIT_NOFILE, &limit) == 0, "dup, getrlimit");
    close(highest);
    /* attempt_open itself opens a folder to count descriptors: that one is open while nobody else needs any. */
    limit.rlim_cur = (rlim_t)(highest + *(int *)spare);
    REQUIRE(setrlimit(RLIMIT_NOFILE, &limit) == 0, "setrlimit");
}

static int open_without_descriptors(void *arg) {
    const char *path = arg;
    int none = 0;
    struct millpond *pond = NULL;
    char errmsg[MILLPOND_ERRMSG_BYTES];
    become_full(&none);
    for (int i = 0; i < 2; i++) {
        int result = millpond_open(&pond, path, i ? &readonly : &plain, errmsg);
        REQUIRE(result == MILLPOND_ERR_LIMIT && !pond, "expected %d, got %d: %s", MILLPOND_ERR_LIMIT, result, errmsg);
        REQUIRE(strstr(errmsg, "ulimit -n"), "'%s' does not say which limit", errmsg);
    }
    return 0;
}

Test(open, a_process_without_descriptors_says_so) {
    char path[4096];
    snprintf(path, sizeof path, "%s", make_pond("descriptors.pond"));
    cr_assert_eq(support_run_child(open_without_descriptors, path, 10000), 0);
    for (int spare = 1; spare <= 4; spare++) {
        /* With one or a few: it works, or it says so; nothing is left open (attempt_open counts). */
        int result = attempt_open_as(become_full, &spare, path, &plain).result;
        cr_assert(result == MILLPOND_OK || result == MILLPOND_ERR_LIMIT, "%d descriptors: %d", spare, result);
        if (spare == 4) cr_assert_eq(result, MILLPOND_OK);
    }
}

/* ---- what stays ---- */

Test(open, content_survives_closing_and_reopening) {
    const char *path = make_pond("again.pond");
    for (int round = 0; round < 3; round++) {
        struct millpond *pond = support_open(path, round == 1 ? &readonly : NULL);
        for (uint64_t i = 0; i < 100; i++) {
            char key[SUPPORT_KEY_BYTES + 1], value[64];
            size_t bytes = 0;
            support_key(key, i);
            cr_assert_eq(millpond_get(pond, key, SUPPORT_KEY_BYTES, value, sizeof value, &bytes), MILLPOND_OK);
            cr_assert(bytes == SUPPORT_KEY_BYTES && memcmp(value, key, bytes) == 0);
        }
        millpond_close(pond);
    }
    cr_assert_eq(support_require_whole(path).entries, 100);
}

Test(open, a_thousand_handles_leave_nothing_behind) {
    const char *path = make_pond("many.pond");
    attempt_open(path, &plain);
    int fds = attempt_count_fds();
    for (int i = 0; i < 500; i++) {
        struct millpond *a = support_open(path, &plain), *b = support_open(path, &readonly);
        cr_assert_eq(millpond_contains(b, "key-00000000000000000001", 24), MILLPOND_OK);
        millpond_close(a);
        cr_assert_eq(millpond_contains(b, "key-00000000000000000002", 24), MILLPOND_OK);
        millpond_close(b);
    }
    cr_assert_eq(attempt_count_fds(), fds);
    cr_assert_eq(attempt_count_mappings(path), 0);
}

Test(open, a_read_only_handle_maps_without_write_permission_and_changes_nothing) {
    const char *path = make_pond("readonly.pond");
    uint64_t before = support_hash_file(path);
    struct millpond *pond = support_open(path, &readonly);
    FILE *maps = fopen("/proc/self/maps", "re");
    char line[8192];
    int found = 0;
    while (fgets(line, sizeof line, maps))
        if (strstr(line, "/readonly.pond")) {
            found++;
            cr_assert(strstr(line, " r--s "), "%s", line);
        }
    fclose(maps);
    cr_assert_eq(found, 1);
    char value[64];
    for (uint64_t i = 0; i < 200; i++) {
        char key[SUPPORT_KEY_BYTES + 1];
        uint64_t ttl;
        support_key(key, i);
        int expected = i < 100 ? MILLPOND_OK : MILLPOND_MISS;
        cr_assert_eq(millpond_get(pond, key, SUPPORT_KEY_BYTES, value, sizeof value, NULL), expected);
        cr_assert_eq(millpond_ttl(pond, key, SUPPORT_KEY_BYTES, &ttl), expected);
    }
    millpond_close(pond);
    cr_assert_eq(support_hash_file(path), before);
}

Test(open, no_mapping_goes_into_a_core_dump) {
    const char *path = make_pond("dumped.pond");
    struct millpond *writer = support_open(path, &plain), *reader = support_open(path, &readonly);
    FILE *maps = fopen("/proc/self/smaps", "re");
    char line[8192];
    int found = 0, ours = 0;
    while (fgets(line, sizeof line, maps)) {
        if (line[0] < 'A' || line[0] > 'Z')
            ours = strstr(line, "/dumped.pond") != NULL; /* a mapping; its attributes begin with a capital */
        if (!ours || strncmp(line, "VmFlags:", 8) != 0) continue;
        found++;
        cr_assert(strstr(line, " dd"), "it would be dumped: %s", line);
    }
    fclose(maps);
    cr_assert_eq(found, 2);
    millpond_close(reader);
    millpond_close(writer);
}

Test(open, every_result_has_a_text_of_its_own) {
    static const int results[] = {
#define NUMBER(name, number, text) number,
        MILLPOND_RESULTS(NUMBER)
#undef NUMBER
    };
    size_t count = sizeof results / sizeof *results;
    for (size_t i = 0; i < count; i++)
        for (size_t k = 0; k < i; k++) {
            cr_assert_neq(results[i], results[k]);
            cr_assert_str_neq(millpond_strerror(results[i]), millpond_strerror(results[k]));
        }
    cr_assert_str_eq(millpond_strerror(MILLPOND_MISS), "no such key");
    cr_assert_not_null(millpond_strerror(12345));
    cr_assert_not_null(millpond_strerror(INT32_MIN));
    char version[32];
    snprintf(version, sizeof version, "%d.%d.%d", MILLPOND_VERSION_MAJOR, MILLPOND_VERSION_MINOR, MILLPOND_VERSION_PATCH);
    cr_assert_str_eq(millpond_version(), version);
}
