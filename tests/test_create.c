/* SPDX-License-Identifier: MIT */
/* Creating a pond: sizes, mode, limits, full disks, creators that race and creators that are killed. */

#include "attempt.h"
#include "support.h"
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>

static const struct millpond_options plain = MILLPOND_OPTIONS_INIT;

static struct millpond_options sized(uint64_t size_bytes) {
    struct millpond_options options = MILLPOND_OPTIONS_INIT;
    options.flags = MILLPOND_CREATE;
    options.size_bytes = size_bytes;
    return options;
}

/* ---- sizes ---- */

Test(create, sizes_out_of_range_are_refused_and_leave_nothing) {
    const char *path = support_path("refused.pond");
    struct millpond_options wrong[16];
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) wrong[i] = sized(1 << 20);
    wrong[0].size_bytes = 1;
    wrong[1].size_bytes = (64 << 10) - 1;
    wrong[2].size_bytes = (UINT64_C(4) << 40) + 1;
    wrong[3].size_bytes = UINT64_MAX;
    wrong[4].shards = 3;
    wrong[5].shards = 512;
    wrong[6].shards = UINT32_MAX;
    wrong[7].shards = 256; /* 4 KiB each */
    wrong[8].segment_bytes = 511;
    wrong[9].segment_bytes = (64 << 20) + 1;
    wrong[10].segment_bytes = 1 << 20; /* as large as the file */
    wrong[11].max_item_bytes = 1 << 20;
    wrong[12].max_item_bytes = UINT64_MAX;
    wrong[13].mode = 010000;
    wrong[14].mode = UINT32_MAX;
    wrong[15].flags |= 1u << 31;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        fprintf(stderr, "case %zu\n", i);
        REQUIRE_ERROR(attempt_open(path, &wrong[i]), MILLPOND_ERR_ARGUMENT);
        cr_assert_eq(support_count_files(support_path(".")), 0, "case %zu left a file", i);
    }
}

Test(create, the_size_is_rounded_up_to_pages_and_every_block_is_allocated) {
    static const uint64_t sizes[] = {64 << 10, (64 << 10) + 1, 100000, 1 << 20, (10 << 20) + 4095, 64 << 20, 0};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        const char *path = support_path("size-%zu.pond", i);
        struct millpond_options options = sized(sizes[i]);
        struct millpond *pond = support_open(path, &options);
        struct stat st;
        uint64_t expected = sizes[i] ? (sizes[i] + 4095) / 4096 * 4096 : 64 << 20;
        struct millpond_stats stats;
        cr_assert(stat(path, &st) == 0 && (uint64_t)st.st_size == expected, "%lld bytes", (long long)st.st_size);
        cr_assert((uint64_t)st.st_blocks * 512 >= expected, "only %lld blocks allocated", (long long)st.st_blocks);
        cr_assert(millpond_stats(pond, -1, &stats) == MILLPOND_OK && stats.file_bytes == expected);
        cr_assert(stats.items == 0 && stats.shards >= 1 && stats.segments >= 8 && stats.index_slots > 0);
        cr_assert(stats.max_item_bytes > 0 && stats.max_item_bytes <= expected / stats.shards / 2);
        cr_assert_eq(millpond_set(pond, "key", 3, "value", 5, 0), MILLPOND_OK);
        millpond_close(pond);
        cr_assert_eq(support_require_whole(path).entries, 1);
        cr_assert_eq(unlink(path), 0);
    }
}

/* A pond is used a little: small values, one of the largest size, overwrites, enough to evict in small files. */
static void use(struct millpond *pond, const struct millpond_stats *stats, struct support_random *random) {
    size_t max = (size_t)stats->max_item_bytes, bytes = 0;
    char key[SUPPORT_KEY_BYTES + 1];
    unsigned char *value = malloc(max + 1), *back = malloc(max + 1);
    cr_assert(value && back);
    for (uint64_t i = 0; i < 400; i++) {
        support_key(key, support_below(random, 200));
        size_t size = i == 50 ? max : support_log_size(random, 0, max < 4096 ? max : 4096);
        support_fill(value, size, i);
        int result = millpond_set(pond, key, SUPPORT_KEY_BYTES, value, size, 0);
        cr_assert_eq(result, MILLPOND_OK, "set of %zu bytes: %d", size, result);
        result = millpond_get(pond, key, SUPPORT_KEY_BYTES, back, max, &bytes);
        cr_assert_eq(result, MILLPOND_OK, "get of %zu bytes just stored: %d", size, result);
        cr_assert(bytes == size && support_matches(back, bytes, i));
    }
    cr_assert_eq(millpond_set(pond, key, SUPPORT_KEY_BYTES, value, max + 1, 0), MILLPOND_ERR_TOO_LARGE);
    free(value);
    free(back);
}

Test(create, whatever_sizes_are_accepted_work) {
    struct support_random random = support_seed("sizes");
    unsigned accepted = 0, refused = 0;
    for (unsigned i = 0; i < 250; i++) {
        const char *path = support_path("any-%u.pond", i);
        struct millpond_options options = sized(support_log_size(&random, 64 << 10, 4 << 20));
        if (support_below(&random, 2)) options.shards = 1u << support_below(&random, 6);
        if (support_below(&random, 2)) options.segment_bytes = support_log_size(&random, 512, 1 << 20);
        if (support_below(&random, 2)) options.max_item_bytes = support_log_size(&random, 1, options.size_bytes / 2);
        if (support_below(&random, 2)) options.entry_bytes = (uint32_t)support_log_size(&random, 1, 100000);
        struct millpond *pond = NULL;
        char errmsg[MILLPOND_ERRMSG_BYTES];
        int result = millpond_open(&pond, path, &options, errmsg);
        if (result != MILLPOND_OK) {
            cr_assert_eq(result, MILLPOND_ERR_ARGUMENT, "%s", errmsg);
            refused++;
            continue;
        }
        accepted++;
        fprintf(stderr, "%llu bytes, %u shards, segments %llu, values %llu, entries %u\n", (unsigned long long)options.size_bytes,
                options.shards, (unsigned long long)options.segment_bytes, (unsigned long long)options.max_item_bytes, options.entry_bytes);
        struct millpond_stats stats;
        cr_assert_eq(millpond_stats(pond, -1, &stats), MILLPOND_OK);
        if (options.max_item_bytes) cr_assert_eq(stats.max_item_bytes, options.max_item_bytes);
        if (options.shards) cr_assert_eq(stats.shards, options.shards);
        use(pond, &stats, &random);
        millpond_close(pond);
        support_require_whole(path);
        cr_assert_eq(unlink(path), 0);
    }
    cr_assert(accepted > 50 && refused > 10, "%u accepted, %u refused", accepted, refused);
}

/* ---- mode and flags ---- */

Test(create, the_mode_is_as_asked_whatever_the_umask) {
    static const struct {
        mode_t mask;
        uint32_t mode, expected;
    } cases[] = {{0, 0, 0600}, {0777, 0, 0600}, {0777, 0640, 0640}, {0022, 0666, 0666}, {0, 0600, 0600}, {077, 0644, 0644}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *path = support_path("mode-%zu.pond", i);
        struct millpond_options options = sized(64 << 10);
        options.mode = cases[i].mode;
        mode_t before = umask(cases[i].mask);
        struct attempt attempt = attempt_open(path, &options);
        umask(before);
        REQUIRE_ERROR(attempt, MILLPOND_OK);
        struct stat st;
        cr_assert(stat(path, &st) == 0 && (st.st_mode & 07777) == cases[i].expected, "%o", st.st_mode & 07777u);
    }
}

Test(create, exclusive_refuses_a_file_that_is_there) {
    const char *path = support_path("exclusive.pond");
    struct millpond_options options = sized(64 << 10);
    options.flags |= MILLPOND_EXCLUSIVE;
    REQUIRE_ERROR(attempt_open(path, &options), MILLPOND_OK);
    uint64_t before = support_hash_file(path);
    REQUIRE_ERROR(attempt_open(path, &options), MILLPOND_ERR_FILE_EXISTS);
    cr_assert_eq(support_hash_file(path), before);
    cr_assert_eq(symlink(path, support_path("link")), 0);
    REQUIRE_ERROR(attempt_open(support_path("link"), &options), MILLPOND_ERR_FILE_EXISTS);
    cr_assert_eq(support_count_files(support_path(".")), 2);
}

Test(create, populate_and_huge_pages_are_requests_that_never_fail) {
    struct millpond_options options = sized(4 << 20);
    options.flags |= MILLPOND_POPULATE | MILLPOND_HUGEPAGES;
    REQUIRE_ERROR(attempt_open(support_path("huge.pond"), &options), MILLPOND_OK);
    REQUIRE_ERROR(attempt_open(support_path("huge.pond"), &options), MILLPOND_OK);
    options.flags = MILLPOND_POPULATE | MILLPOND_READONLY;
    REQUIRE_ERROR(attempt_open(support_path("huge.pond"), &options), MILLPOND_OK);
}

/* KiB of this process's mappings of files in memory that are mapped with huge pages. */
static uint64_t huge_kib(void) {
    char line[512];
    unsigned long long sum = 0, kib;
    FILE *maps = fopen("/proc/self/smaps", "re");
    cr_assert(maps != NULL);
    while (fgets(line, sizeof line, maps))
        if (sscanf(line, "ShmemPmdMapped: %llu kB", &kib) == 1) sum += kib;
    fclose(maps);
    return sum;
}

/* What the kernel answers for memory that was allocated in small pages, as a pond's is. */
static int kernel_makes_huge_pages(void) {
    size_t bytes = 4 << 20;
    int fd = memfd_create("millpond-huge", MFD_CLOEXEC);
    cr_assert(fd >= 0 && posix_fallocate(fd, 0, (off_t)bytes) == 0);
    unsigned char *room = mmap(NULL, 2 * bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    cr_assert(room != MAP_FAILED);
    void *at = mmap(room + (0 - (uintptr_t)room) % bytes, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0);
    cr_assert(at != MAP_FAILED);
    madvise(at, bytes, MADV_HUGEPAGE);
    int made = madvise(at, bytes, 25 /* MADV_COLLAPSE */) == 0;
    munmap(room, 2 * bytes);
    close(fd);
    return made;
}

Test(create, huge_pages_are_there_where_the_kernel_makes_them) {
    struct millpond_options options = MILLPOND_OPTIONS_INIT;
    char errmsg[MILLPOND_ERRMSG_BYTES];
    struct millpond *pond;
    if (!kernel_makes_huge_pages()) SKIP_TEST("this kernel does not make huge pages of small ones");
    options.flags = MILLPOND_ANONYMOUS | MILLPOND_HUGEPAGES;
    options.size_bytes = 16 << 20;
    cr_assert_eq(huge_kib(), 0);
    uint64_t kib = 0;
    for (int i = 0; i < 50 && kib < 8 << 10; i++) { /* a page that somebody else holds just then stays small */
        cr_assert_eq(millpond_open(&pond, "huge", &options, errmsg), MILLPOND_OK, "%s", errmsg);
        kib = huge_kib();
        millpond_close(pond);
    }
    cr_assert(kib >= 8 << 10, "%llu KiB of 16 MiB", (unsigned long long)kib);
}

/* ---- limits ---- */

Test(create, a_file_size_limit_is_an_error_and_not_a_signal) {
    const char *path = support_path("limited.pond");
    struct millpond_options options = sized(8 << 20);
    struct attempt_limit limit = {RLIMIT_FSIZE, 1 << 20};
    struct attempt attempt = attempt_open_as(become_limited, &limit, path, &options);
    REQUIRE_ERROR(attempt, MILLPOND_ERR_LIMIT);
    cr_assert(strstr(attempt.errmsg, "ulimit -f"), "'%s' does not name the limit", attempt.errmsg);
    cr_assert_eq(support_count_files(support_path(".")), 0);
    limit.value = 8 << 20;
    REQUIRE_ERROR(attempt_open_as(become_limited, &limit, path, &options), MILLPOND_OK);
}

Test(create, a_memory_limit_is_an_error) {
    if (SANITIZED || support_valgrind()) SKIP_TEST("what looks over the memory needs the address space");
    const char *path = support_path("memory.pond");
    struct millpond_options options = sized(128 << 20);
    struct attempt_limit limit = {RLIMIT_AS, 96 << 20};
    REQUIRE_ERROR(attempt_open_as(become_limited, &limit, path, &options), MILLPOND_ERR_LIMIT);
    cr_assert_eq(support_count_files(support_path(".")), 0);
}

static void become_full(void *unused) {
    (void)unused;
    int lowest = dup(0);
    close(lowest);
    struct rlimit limit;
    REQUIRE(lowest >= 0 && getrlimit(RLIMIT_NOFILE, &limit) == 0, "getrlimit");
    limit.rlim_cur = (rlim_t)lowest + 1;
    REQUIRE(setrlimit(RLIMIT_NOFILE, &limit) == 0, "setrlimit");
}

Test(create, a_process_short_of_descriptors_creates_or_says_so_and_leaves_nothing_half_made) {
    const char *path = support_path("descriptors.pond");
    struct millpond_options options = sized(64 << 10);
    struct attempt attempt = attempt_open_as(become_full, NULL, path, &options);
    cr_assert(attempt.result == MILLPOND_OK || attempt.result == MILLPOND_ERR_LIMIT, "%d: %s", attempt.result, attempt.errmsg);
    cr_assert_leq(support_count_files(support_path(".")), 1);
    REQUIRE_ERROR(attempt_open(path, &options), MILLPOND_OK);
}

/* ---- places that cannot be written ---- */

Test(create, a_folder_without_permission_is_an_error) {
    const char *folder = support_path("closed");
    cr_assert(mkdir(folder, 0555) == 0 && chmod(folder, 0555) == 0);
    char path[4096];
    snprintf(path, sizeof path, "%s/new.pond", folder);
    struct millpond_options options = sized(64 << 10);
    uid_t other = 65534;
    if (attempt_is_root())
        REQUIRE_ERROR(attempt_open_as(become_user, &other, path, &options), MILLPOND_ERR_PERMISSION);
    else
        REQUIRE_ERROR(attempt_open(path, &options), MILLPOND_ERR_PERMISSION);
    cr_assert_eq(support_count_files(folder), 0);
}

/* A tmpfs of 4 MiB, seen by this child only. */
static int fill_the_disk(void *arg) {
    (void)arg;
    become_unshared();
    const char *disk = support_path("disk");
    REQUIRE(mkdir(disk, 0700) == 0 && mount("none", disk, "tmpfs", 0, "size=4m") == 0, "%s", strerror(errno));
    const char *path = support_path("disk/full.pond");
    struct statvfs before, after;
    REQUIRE(statvfs(disk, &before) == 0, "statvfs");
    static const uint64_t sizes[] = {5 << 20, 64 << 20, UINT64_C(1) << 40, UINT64_C(4) << 40};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        struct millpond_options options = sized(sizes[i]);
        struct attempt attempt = attempt_open(path, &options);
        REQUIRE_ERROR(attempt, MILLPOND_ERR_NO_SPACE);
        REQUIRE(support_count_files(disk) == 0, "a file is left");
        REQUIRE(statvfs(disk, &after) == 0 && after.f_bfree == before.f_bfree, "%llu blocks were lost",
                (unsigned long long)(before.f_bfree - after.f_bfree));
    }
    struct millpond_options options = sized(3 << 20);
    struct millpond *pond = support_open(path, &options);
    /* Now the disk is filled by somebody else: the pond has its blocks already. */
    size_t bytes = 4 << 20;
    char *junk = calloc(1, bytes);
    support_write_file(support_path("disk/junk"), junk, bytes);
    REQUIRE(statvfs(disk, &after) == 0 && after.f_bfree == 0, "the disk is not full");
    for (uint64_t i = 0; i < 40000; i++) {
        char key[SUPPORT_KEY_BYTES + 1];
        support_key(key, i);
        REQUIRE(millpond_set(pond, key, SUPPORT_KEY_BYTES, junk, i % 300, 0) == MILLPOND_OK, "set %llu on a full disk",
                (unsigned long long)i);
    }
    free(junk);
    millpond_close(pond);
    support_require_whole(path);
    return 0;
}

Test(create, a_full_disk_is_noticed_at_creation_and_never_later) {
    if (!attempt_is_root() || !attempt_can_mount()) SKIP_TEST("a small tmpfs cannot be mounted");
    cr_assert_eq(support_run_child(fill_the_disk, NULL, 30000), 0);
}

static int use_a_read_only_file_system(void *arg) {
    (void)arg;
    become_unshared();
    const char *disk = support_path("readonly");
    REQUIRE(mkdir(disk, 0700) == 0 && mount("none", disk, "tmpfs", 0, "size=4m") == 0, "%s", strerror(errno));
    struct millpond_options options = sized(1 << 20), readonly = plain;
    readonly.flags = MILLPOND_READONLY;
    REQUIRE_ERROR(attempt_open(support_path("readonly/there.pond"), &options), MILLPOND_OK);
    REQUIRE(mount("none", disk, "tmpfs", MS_REMOUNT | MS_RDONLY, "size=4m") == 0, "%s", strerror(errno));
    REQUIRE_ERROR(attempt_open(support_path("readonly/new.pond"), &options), MILLPOND_ERR_READ_ONLY_FS);
    REQUIRE_ERROR(attempt_open(support_path("readonly/there.pond"), &plain), MILLPOND_ERR_READ_ONLY_FS);
    REQUIRE_ERROR(attempt_open(support_path("readonly/there.pond"), &readonly), MILLPOND_OK);
    return 0;
}

Test(create, a_read_only_file_system_can_be_read_only) {
    if (!attempt_is_root() || !attempt_can_mount()) SKIP_TEST("a tmpfs cannot be mounted");
    cr_assert_eq(support_run_child(use_a_read_only_file_system, NULL, 20000), 0);
}

/* ---- without O_TMPFILE: a system call filter stands in for such a file system ---- */

static void become_without_unnamed_files(void *unused) {
    (void)unused;
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_openat, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[2])),
        BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, O_TMPFILE & ~O_DIRECTORY, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EOPNOTSUPP),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof filter / sizeof *filter, filter};
    REQUIRE(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0, "%s",
            strerror(errno));
    REQUIRE(open(support_path("."), O_TMPFILE | O_RDWR, 0600) < 0 && errno == EOPNOTSUPP, "the filter does not work");
}

Test(create, a_file_system_without_unnamed_files_serves_as_well) {
    const char *path = support_path("named.pond");
    struct millpond_options options = sized(1 << 20);
    options.mode = 0640;
    REQUIRE_ERROR(attempt_open_as(become_without_unnamed_files, NULL, path, &options), MILLPOND_OK);
    struct stat st;
    cr_assert(stat(path, &st) == 0 && st.st_nlink == 1 && (st.st_mode & 0777) == 0640);
    cr_assert_eq(support_count_files(support_path(".")), 1, "a temporary name is left");
    REQUIRE_ERROR(attempt_open(path, &plain), MILLPOND_OK);
    options.flags |= MILLPOND_EXCLUSIVE;
    REQUIRE_ERROR(attempt_open_as(become_without_unnamed_files, NULL, path, &options), MILLPOND_ERR_FILE_EXISTS);
    cr_assert_eq(support_count_files(support_path(".")), 1);
}
