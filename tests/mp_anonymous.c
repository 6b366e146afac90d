/* SPDX-License-Identifier: MIT */
/* Ponds without a file: shared by fork, by an inherited descriptor over exec, through /proc; sealed; gone with the last process. And those
 * who may only read. */

#include "attempt.h"
#include "support.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define OPENS_AND_READS "--opens-and-reads" /* of this program, run again: PATH KEY VALUE */
#define OTHER_USER      65534
#define OTHER_GROUP     65533

static struct millpond_options anonymous(uint64_t size_bytes) {
    struct millpond_options options = MILLPOND_OPTIONS_INIT;
    options.size_bytes = size_bytes;
    options.flags = MILLPOND_ANONYMOUS;
    return options;
}

static struct millpond *make(void) {
    struct millpond_options options = anonymous(1 << 20);
    return support_open("workers", &options);
}

static void set(struct millpond *pond, const char *key, const char *value) {
    int result = millpond_set(pond, key, strlen(key), value, strlen(value), 0);
    REQUIRE(result == MILLPOND_OK, "set of %s: %s", key, millpond_strerror(result));
}

static void require(struct millpond *pond, const char *key, const char *value) {
    char buf[64];
    size_t bytes = 0;
    int result = millpond_get(pond, key, strlen(key), buf, sizeof buf, &bytes);
    REQUIRE(result == MILLPOND_OK && bytes == strlen(value) && memcmp(buf, value, bytes) == 0, "get of %s: %s", key,
            millpond_strerror(result));
}

/* ---- fork ---- */

static struct millpond *inherited;

static int answer(void *arg) {
    (void)arg;
    require(inherited, "question", "6 x 9");
    set(inherited, "answer", "42");
    for (int i = 0; i < 1000; i++)
        REQUIRE(millpond_incr(inherited, "sum", 3, 1, &(struct millpond_incr){0, 0}, NULL) == MILLPOND_OK, "incr");
    return 0;
}

static int one_for_a_family(void *arg) {
    (void)arg;
    inherited = make();
    set(inherited, "question", "6 x 9");
    REQUIRE(support_run_child(answer, NULL, 10000) == 0 && support_run_child(answer, NULL, 10000) == 0, "a child");
    require(inherited, "answer", "42");
    require(inherited, "sum", "2000");
    struct millpond *second = make();
    REQUIRE(millpond_contains(second, "answer", 6) == MILLPOND_MISS, "two ponds of one name are one");
    millpond_close(second);
    millpond_close(inherited);
    return 0;
}

static int dies(void *arg) {
    (void)arg;
    for (unsigned i = 0;; i++) REQUIRE(millpond_set(inherited, &i, sizeof i, &i, sizeof i, 0) == MILLPOND_OK, "set");
}

static int the_killed_are_repaired(void *arg) {
    (void)arg;
    char path[64];
    inherited = make();
    snprintf(path, sizeof path, "/proc/self/fd/%d", millpond_fd(inherited));
    for (int i = 0; i < 40; i++) {
        pid_t child = support_fork(dies, NULL);
        support_sleep_ms(10);
        support_kill(child);
        set(inherited, "after", "death");
        require(inherited, "after", "death");
    }
    support_require_whole(path);
    millpond_close(inherited);
    return 0;
}

/* ---- descriptors ---- */

static int open_and_read(char **words) {
    struct millpond *pond = support_open(words[0], NULL);
    require(pond, words[1], words[2]);
    set(pond, "reply", words[0]);
    millpond_close(pond);
    return 0;
}

struct program {
    const char *path;
    int keep; /* a descriptor that exec is not to close, or -1 */
};

static int run_again(void *arg) {
    const struct program *program = arg;
    if (program->keep >= 0) REQUIRE(fcntl(program->keep, F_SETFD, 0) == 0, "fcntl");
    execl("/proc/self/exe", "mp_anonymous", OPENS_AND_READS, program->path, "k", "v", (char *)NULL);
    REQUIRE(false, "exec: %s", strerror(errno));
}

static int another_program_opens_the_descriptor(void *arg) {
    (void)arg;
    struct millpond *pond = make();
    int fd = millpond_fd(pond), given = dup(fd); /* dup() clears FD_CLOEXEC */
    set(pond, "k", "v");
    REQUIRE(fcntl(fd, F_GETFD) == FD_CLOEXEC, "the pond's own descriptor would leak into every program");
    static const char *const forms[] = {"/proc/self/fd/%d", "/dev/fd/%d", "/proc/%d/fd/%d"};
    for (size_t i = 0; i < 3; i++) {
        char path[64];
        if (i < 2)
            snprintf(path, sizeof path, i == 0 ? "/proc/self/fd/%d" : "/dev/fd/%d", given);
        else
            snprintf(path, sizeof path, "/proc/%ld/fd/%d", (long)getpid(), fd); /* the parent's: needs no descriptor of its own */
        struct program program = {path, i < 2 ? given : -1};
        int said = support_run_child(run_again, &program, 20000);
        REQUIRE(said == 0, "%s: the other program ended with %d", forms[i], said);
        require(pond, "reply", path);
    }
    close(given);
    millpond_close(pond);
    return 0;
}

static int the_process_itself_gets_the_same_mapping(void *arg) {
    (void)arg;
    char path[64];
    struct millpond *pond = make();
    snprintf(path, sizeof path, "/proc/self/fd/%d", millpond_fd(pond));
    int fds = attempt_count_fds();
    struct millpond *again = support_open(path, NULL);
    REQUIRE(millpond_fd(again) == millpond_fd(pond) && attempt_count_fds() == fds, "a second mapping of one pond");
    set(again, "k", "v");
    millpond_close(pond);
    require(again, "k", "v");
    millpond_close(again);
    REQUIRE(attempt_count_fds() == fds - 1, "a descriptor is left");
    return 0;
}

static int a_file_without_a_name_is_opened_by_its_descriptor(void *arg) {
    (void)arg;
    const char *path = support_path("unlinked.pond");
    char again[64];
    struct millpond *pond = support_create(path, 1 << 20);
    set(pond, "k", "v");
    REQUIRE(unlink(path) == 0, "unlink");
    snprintf(again, sizeof again, "/proc/self/fd/%d", millpond_fd(pond));
    REQUIRE_ERROR(attempt_open(again, NULL), MILLPOND_OK);
    millpond_close(pond);
    return 0;
}

/* A link is followed where the kernel made it, and nowhere else. */
static int other_links_are_not_followed(void *arg) {
    (void)arg;
    char in_proc[64];
    const char *link = support_path("7"), *text = support_path("text");
    struct millpond *pond = make();
    snprintf(in_proc, sizeof in_proc, "/proc/self/fd/%d", millpond_fd(pond));
    REQUIRE(symlink(in_proc, link) == 0 && symlink("/proc/self", text) == 0, "symlink");
    REQUIRE_ERROR(attempt_open(link, NULL), MILLPOND_ERR_NOT_REGULAR);
    REQUIRE_ERROR(attempt_open("/proc/self", NULL), MILLPOND_ERR_NOT_REGULAR);
    REQUIRE_ERROR(attempt_open("/proc/self/exe", NULL), MILLPOND_ERR_NOT_REGULAR);
    REQUIRE_ERROR(attempt_open("/proc/self/fd/100000", NULL), MILLPOND_ERR_NO_FILE);
    int folder = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    snprintf(in_proc, sizeof in_proc, "/proc/self/fd/%d", folder);
    REQUIRE_ERROR(attempt_open(in_proc, NULL), MILLPOND_ERR_NOT_REGULAR);
    close(folder);
    millpond_close(pond);
    return 0;
}

/* ---- size ---- */

static int nobody_changes_its_size(void *arg) {
    (void)arg;
    struct millpond *pond = make();
    int fd = millpond_fd(pond);
    struct stat st;
    REQUIRE(fstat(fd, &st) == 0 && st.st_size == 1 << 20, "its size");
    REQUIRE((st.st_mode & 07777) == 0600, "mode %o", st.st_mode & 07777);
    REQUIRE(ftruncate(fd, 4096) == -1 && errno == EPERM, "it can be made smaller");
    REQUIRE(ftruncate(fd, 2 << 20) == -1 && errno == EPERM, "it can be made larger");
    REQUIRE(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE) == -1, "it can be sealed against writing, which would stop everybody");
    set(pond, "k", "v");
    millpond_close(pond);
    return 0;
}

static int what_cannot_be_says_so(void *arg) {
    (void)arg;
    char name[300];
    struct millpond_options options = anonymous(1 << 20);
    options.flags |= MILLPOND_READONLY;
    REQUIRE_ERROR(attempt_open("both", &options), MILLPOND_ERR_ARGUMENT);
    options = anonymous(4096);
    REQUIRE_ERROR(attempt_open("small", &options), MILLPOND_ERR_ARGUMENT);
    memset(name, 'n', sizeof name);
    name[250] = 0;
    options = anonymous(1 << 20);
    struct millpond *pond = NULL;
    REQUIRE(millpond_open(&pond, name, &options, NULL) == MILLPOND_ERR_ARGUMENT, "a name of 250 bytes");
    name[200] = 0;
    millpond_close(support_open(name, &options));
    struct attempt_limit limit = {RLIMIT_FSIZE, 64 << 10};
    REQUIRE_ERROR(attempt_open_as(become_limited, &limit, "limited", &options), MILLPOND_ERR_LIMIT);
    REQUIRE(millpond_fd(NULL) == MILLPOND_ERR_ARGUMENT, "the descriptor of nothing");
    return 0;
}

/* ---- who may only read ---- */

static void become_other(void *groups) {
    gid_t group = OTHER_GROUP;
    REQUIRE(setgroups(*(int *)groups ? 1 : 0, &group) == 0 && setresgid(OTHER_USER, OTHER_USER, OTHER_USER) == 0 &&
                setresuid(OTHER_USER, OTHER_USER, OTHER_USER) == 0,
            "%s", strerror(errno));
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    prctl(PR_SET_DUMPABLE, 1);
}

struct stranger {
    const char *path;
    int member;
};

/* Everything that a read-only handle can do, done without the right to write. */
static int read_as_a_stranger(void *arg) {
    struct stranger *stranger = arg;
    struct millpond_options options = MILLPOND_OPTIONS_INIT;
    struct millpond_stats stats;
    char buf[64];
    uint64_t ttl = 0, version = 0;
    size_t bytes;
    options.flags = MILLPOND_READONLY;
    become_other(&stranger->member);
    struct millpond *pond = support_open(stranger->path, &options);
    struct millpond_mget item = {.key = "k", .key_bytes = 1, .buf = buf, .buf_bytes = sizeof buf};
    require(pond, "k", "v");
    REQUIRE(millpond_mget(pond, &item, 1) == MILLPOND_OK && item.result == MILLPOND_OK, "mget");
    REQUIRE(millpond_ttl(pond, "k", 1, &ttl) == MILLPOND_OK && millpond_contains(pond, "x", 1) == MILLPOND_MISS, "ttl");
    REQUIRE(millpond_get_if_changed(pond, "k", 1, buf, sizeof buf, &bytes, &version) == MILLPOND_OK, "get_if_changed");
    REQUIRE(millpond_stats(pond, -1, &stats) == MILLPOND_OK && stats.items == 1 && stats.hits == 0, "its reads are counted");
    REQUIRE(millpond_set(pond, "k", 1, "w", 1, 0) == MILLPOND_ERR_READ_ONLY, "set");
    REQUIRE(millpond_clear(pond) == MILLPOND_ERR_READ_ONLY && millpond_sync(pond) == MILLPOND_ERR_READ_ONLY, "clear, sync");
    millpond_close(pond);
    return 0;
}

static int strangers_read_as_the_mode_says(void *arg) {
    (void)arg;
    static const struct {
        mode_t mode;
        int member, result;
    } cases[] = {{0644, 0, MILLPOND_OK}, {0640, 1, MILLPOND_OK}, {0640, 0, MILLPOND_ERR_PERMISSION}, {0600, 1, MILLPOND_ERR_PERMISSION}};
    if (!attempt_is_root()) return support_skip("only root can become another user");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct millpond_options options = MILLPOND_OPTIONS_INIT, readonly = MILLPOND_OPTIONS_INIT;
        const char *path = support_path("mode-%zu.pond", i);
        int member = cases[i].member;
        options.size_bytes = 1 << 20;
        options.mode = cases[i].mode;
        options.flags = MILLPOND_CREATE;
        readonly.flags = MILLPOND_READONLY;
        struct millpond *pond = support_open(path, &options); /* in use by a writer all the time */
        REQUIRE(chown(path, (uid_t)-1, OTHER_GROUP) == 0, "chown");
        set(pond, "k", "v");
        uint64_t before = support_hash_file(path);
        struct stranger stranger = {path, member};
        if (cases[i].result == MILLPOND_OK)
            REQUIRE(support_run_child(read_as_a_stranger, &stranger, 20000) == 0, "mode %o", cases[i].mode);
        else
            REQUIRE_ERROR(attempt_open_as(become_other, &member, path, &readonly), cases[i].result);
        REQUIRE_ERROR(attempt_open_as(become_other, &member, path, NULL), MILLPOND_ERR_PERMISSION);
        REQUIRE(support_hash_file(path) == before, "who may only read has changed the file");
        millpond_close(pond);
    }
    return 0;
}

/* Whoever was given the descriptor of an anonymous pond reads as its mode says, too. */
static int strangers_read_an_anonymous_one(void *arg) {
    (void)arg;
    if (!attempt_is_root()) return support_skip("only root can become another user");
    struct millpond_options options = anonymous(1 << 20), readonly = MILLPOND_OPTIONS_INIT;
    char path[64];
    int no = 0;
    readonly.flags = MILLPOND_READONLY;
    for (int open_to_all = 0; open_to_all < 2; open_to_all++) {
        options.mode = open_to_all ? 0644 : 0600;
        struct millpond *pond = support_open("strangers", &options);
        set(pond, "k", "v");
        snprintf(path, sizeof path, "/proc/self/fd/%d", millpond_fd(pond));
        struct stranger stranger = {path, 0};
        if (open_to_all)
            REQUIRE(support_run_child(read_as_a_stranger, &stranger, 20000) == 0, "a stranger");
        else
            REQUIRE_ERROR(attempt_open_as(become_other, &no, path, &readonly), MILLPOND_ERR_PERMISSION);
        millpond_close(pond);
    }
    return 0;
}

int main(int argc, char **argv) {
    static const struct support_case cases[] = {
        {"one pond without a file serves a family of processes", one_for_a_family, 30000},
        {"killed writers of an anonymous pond are repaired", the_killed_are_repaired, 60000},
        {"another program opens an inherited descriptor, or one in /proc", another_program_opens_the_descriptor, 60000},
        {"the process itself gets the mapping that it has", the_process_itself_gets_the_same_mapping, 10000},
        {"a file without a name is opened by its descriptor", a_file_without_a_name_is_opened_by_its_descriptor, 10000},
        {"links that the kernel did not make are not followed", other_links_are_not_followed, 10000},
        {"nobody changes the size of an anonymous pond", nobody_changes_its_size, 10000},
        {"what cannot be made is told", what_cannot_be_says_so, 30000},
        {"another user reads a file as its mode says, and changes nothing", strangers_read_as_the_mode_says, 60000},
        {"another user reads an anonymous pond as its mode says", strangers_read_an_anonymous_one, 60000},
    };
    if (argc == 5 && strcmp(argv[1], OPENS_AND_READS) == 0) return open_and_read(argv + 2);
    return support_run_cases(argc, argv, cases, sizeof cases / sizeof *cases);
}
