/* SPDX-License-Identifier: MIT */
/* Processes that are each number 1 of a PID namespace of their own, on one file: containers that share a volume. Their thread numbers are
 * the same, and the kernel, which compares them when a process dies, takes one for the other.
 *
 *   - without MILLPOND_NAMESPACES the second one is refused, and served when the first is gone, killed or not
 *   - with it, whoever is killed at whatever moment, holder or waiter: never two writers at once. All add to one counter; what was
 *     acknowledged is in it, and nothing else but the additions that a kill interrupted
 *   - with it, a process that is killed while it tries for another one's reader slot does not free that slot: views stay (single steps
 *     through pthread_mutex_trylock) */

#include "support.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>
#ifdef __x86_64__
#include <sys/user.h>
#endif

#define WRITERS 3

static const char *path;
static unsigned long wanted_kills = 300;

/* Runs body as number 1 of a new namespace; `*first` is its number out here. The process in between waits and passes on how it ended: 0 to
 * 96, or 200 for a signal. */
struct start {
    int (*body)(void *arg);
    void *arg;
    pid_t *first;
};

static int in_between(void *arg) {
    const struct start *start = arg;
    REQUIRE(unshare(CLONE_NEWPID) == 0, "unshare: %s", strerror(errno));
    pid_t child = fork();
    REQUIRE(child >= 0, "fork: %s", strerror(errno));
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getpid() != 1) _exit(SUPPORT_FAILED);
        _exit(start->body(start->arg));
    }
    __atomic_store_n(start->first, child, __ATOMIC_SEQ_CST);
    int status;
    while (waitpid(child, &status, 0) < 0) REQUIRE(errno == EINTR, "waitpid: %s", strerror(errno));
    return WIFEXITED(status) ? WEXITSTATUS(status) : 200;
}

static pid_t start_first(int (*body)(void *arg), void *arg, pid_t *first) {
    struct start start = {body, arg, first};
    *first = 0;
    return support_fork(in_between, &start);
}

static void kill_first(pid_t *first) {
    while (__atomic_load_n(first, __ATOMIC_SEQ_CST) == 0) support_sleep_us(50);
    REQUIRE(kill(*first, SIGKILL) == 0, "kill: %s", strerror(errno));
}

static void make_pond(const char *name, uint32_t flags, uint64_t bytes) {
    struct millpond_options options = MILLPOND_OPTIONS_INIT;
    options.flags = MILLPOND_CREATE | MILLPOND_EXCLUSIVE | flags;
    options.size_bytes = bytes;
    path = support_path("%s", name);
    pid_t child = fork();
    REQUIRE(child >= 0, "fork");
    if (child == 0) {
        millpond_close(support_open(path, &options));
        _exit(0);
    }
    REQUIRE(support_wait(child, 10000) == 0, "creating");
}

/* ---- refused ---- */

static int hold_open(void *arg) {
    int *state = arg;
    struct millpond *pond = support_open(path, NULL);
    REQUIRE(millpond_set(pond, "k", 1, "v", 1, 0) == MILLPOND_OK, "set");
    __atomic_store_n(state, 1, __ATOMIC_SEQ_CST);
    while (__atomic_load_n(state, __ATOMIC_SEQ_CST) == 1) support_sleep_ms(1);
    millpond_close(pond);
    return 0;
}

static int try_open(void *arg) {
    int expected = *(int *)arg;
    struct millpond *pond = NULL;
    char errmsg[MILLPOND_ERRMSG_BYTES] = "";
    int result = millpond_open(&pond, path, NULL, errmsg);
    REQUIRE(result == expected, "%d, expected %d: %s", result, expected, errmsg);
    if (result != MILLPOND_OK) {
        REQUIRE(strstr(errmsg, "namespace") && strstr(errmsg, "--namespaces"), "'%s' does not say what to do", errmsg);
        struct millpond_options readonly = MILLPOND_OPTIONS_INIT;
        readonly.flags = MILLPOND_READONLY;
        pond = support_open(path, &readonly); /* reading needs no locks */
        REQUIRE(millpond_contains(pond, "k", 1) == MILLPOND_OK, "a reader");
    } else {
        REQUIRE(millpond_contains(pond, "k", 1) == MILLPOND_OK && millpond_set(pond, "own", 3, "v", 1, 0) == MILLPOND_OK,
                "the entry is gone");
    }
    millpond_close(pond);
    return 0;
}

static int refused(void *arg) {
    (void)arg;
    if (geteuid() != 0) return support_skip("PID namespaces need root");
    make_pond("refused.pond", 0, 1 << 20);
    int *state = support_share(sizeof *state), no = MILLPOND_ERR_NAMESPACE, yes = MILLPOND_OK;
    pid_t *first = support_share(2 * sizeof *first);
    for (int round = 0; round < 20; round++) {
        *state = 0;
        pid_t holder = start_first(hold_open, state, &first[0]);
        while (__atomic_load_n(state, __ATOMIC_SEQ_CST) == 0) support_sleep_us(100);
        REQUIRE(support_wait(start_first(try_open, &no, &first[1]), 20000) == 0, "the second namespace");
        if (round % 2)
            kill_first(&first[0]);
        else
            __atomic_store_n(state, 2, __ATOMIC_SEQ_CST);
        REQUIRE(support_wait(holder, 20000) == (round % 2 ? 200 : 0), "the first namespace");
        REQUIRE(support_wait(start_first(try_open, &yes, &first[1]), 20000) == 0, "the second namespace, when the first is gone");
    }
    support_require_whole(path);
    return 0;
}

/* ---- never two writers at once ---- */

struct shared {
    pid_t first[WRITERS];
    uint64_t begun[WRITERS], acknowledged[WRITERS]; /* additions to the counter of all */
    int stop;
};
static struct shared *shared;

static int add_all_the_time(void *arg) {
    unsigned me = *(unsigned *)arg;
    struct millpond_options options = MILLPOND_OPTIONS_INIT;
    options.lock_timeout_ms = 20000;
    struct millpond *pond = support_open(path, &options);
    for (uint64_t turn = 1; !__atomic_load_n(&shared->stop, __ATOMIC_RELAXED); turn++) {
        int64_t now = 0;
        unsigned char value[1500];
        __atomic_fetch_add(&shared->begun[me], 1, __ATOMIC_SEQ_CST);
        REQUIRE(millpond_incr(pond, "all", 3, 1, NULL, &now) == MILLPOND_OK, "incr");
        __atomic_fetch_add(&shared->acknowledged[me], 1, __ATOMIC_SEQ_CST);
        uint64_t number = turn % 50;
        size_t bytes = 32 + turn * 37 % 1400;
        support_value_write(value, bytes, number, turn);
        REQUIRE(millpond_set(pond, &number, sizeof number, value, bytes, 0) == MILLPOND_OK, "set");
        uint64_t sequence;
        int result = millpond_get(pond, &number, sizeof number, value, sizeof value, &bytes);
        const char *wrong = result == MILLPOND_OK ? support_value_read(value, bytes, number, &sequence) : "it is gone";
        REQUIRE(!wrong, "key %llu: %s", (unsigned long long)number, wrong);
    }
    millpond_close(pond);
    return 0;
}

static int counted(void *arg) {
    (void)arg;
    if (geteuid() != 0) return support_skip("PID namespaces need root");
    make_pond("counted.pond", MILLPOND_NAMESPACES, 8 << 20);
    shared = support_share(sizeof *shared);
    struct support_random random = support_seed("kills in namespaces");
    static unsigned numbers[WRITERS] = {0, 1, 2};
    pid_t parents[WRITERS];
    struct millpond *pond = support_open(path, NULL);
    struct millpond_incr create = {0, 0};
    REQUIRE(millpond_incr(pond, "all", 3, 0, &create, NULL) == MILLPOND_OK, "incr");
    millpond_close(pond);
    for (unsigned i = 0; i < WRITERS; i++) parents[i] = start_first(add_all_the_time, &numbers[i], &shared->first[i]);
    for (unsigned long kills = 0; kills < wanted_kills; kills++) {
        unsigned who = (unsigned)support_below(&random, WRITERS);
        support_sleep_us((unsigned)support_below(&random, 6000));
        kill_first(&shared->first[who]);
        int said = support_wait(parents[who], 10000);
        REQUIRE(said == 200, "writer %u had ended by itself: %d", who, said);
        parents[who] = start_first(add_all_the_time, &numbers[who], &shared->first[who]);
    }
    __atomic_store_n(&shared->stop, 1, __ATOMIC_RELAXED);
    uint64_t acknowledged = 0, begun = 0;
    for (unsigned i = 0; i < WRITERS; i++) {
        REQUIRE(support_wait(parents[i], 30000) == 0, "writer %u failed", i);
        acknowledged += shared->acknowledged[i];
        begun += shared->begun[i];
    }
    pond = support_open(path, NULL);
    int64_t sum = 0;
    struct millpond_stats stats;
    REQUIRE(millpond_incr(pond, "all", 3, 0, NULL, &sum) == MILLPOND_OK && millpond_stats(pond, -1, &stats) == MILLPOND_OK, "incr");
    REQUIRE((uint64_t)sum >= acknowledged && (uint64_t)sum <= begun, "the counter is %lld; %llu were acknowledged, %llu begun",
            (long long)sum, (unsigned long long)acknowledged, (unsigned long long)begun);
    printf("  %lu kills; %llu acknowledged, %lld counted, %llu begun; %llu recoveries\n", wanted_kills, (unsigned long long)acknowledged,
           (long long)sum, (unsigned long long)begun, (unsigned long long)stats.recoveries);
    millpond_close(pond);
    support_require_whole(path);
    return 0;
}

/* ---- views, and who is killed while it looks for a slot ---- */

#ifdef __x86_64__

struct viewer {
    int command, answer; /* 1: look; 2: end. The number of the command that was carried out; minus it when the view was wrong */
};

static int hold_views(void *arg) {
    struct viewer *viewer = arg;
    struct millpond *pond = support_open(path, NULL);
    struct millpond_view view;
    uint64_t number = 1, sequence;
    REQUIRE(millpond_view(pond, &number, sizeof number, &view) == MILLPOND_OK, "view");
    for (int done = 0;;) {
        int command = __atomic_load_n(&viewer->command, __ATOMIC_SEQ_CST);
        if (command < 0) break;
        if (command == done) {
            support_sleep_us(50);
            continue;
        }
        done = command;
        const char *wrong = support_value_read(view.value, view.value_bytes, number, &sequence);
        __atomic_store_n(&viewer->answer, wrong ? -done : done, __ATOMIC_SEQ_CST);
    }
    millpond_view_release(&view);
    millpond_close(pond);
    return 0;
}

static int view_once(void *arg) {
    (void)arg;
    struct millpond *pond = support_open(path, NULL);
    uint64_t number = 2;
    struct millpond_view view;
    REQUIRE(ptrace(PTRACE_TRACEME, 0, NULL, NULL) == 0, "ptrace: %s", strerror(errno));
    raise(SIGSTOP);
    if (millpond_view(pond, &number, sizeof number, &view) == MILLPOND_OK) millpond_view_release(&view);
    raise(SIGSTOP);
    return 0;
}

struct steps {
    long kill_at;         /* -1: none, count them */
    long in_trylock[400]; /* out: the steps inside pthread_mutex_trylock */
    int count;
    long total;
};

/* Steps number 1 of a new namespace through its first view, and kills it. */
static int step_through(void *arg) {
    struct steps *steps = arg;
    uintptr_t trylock = (uintptr_t)pthread_mutex_trylock;
    REQUIRE(unshare(CLONE_NEWPID) == 0, "unshare: %s", strerror(errno));
    pid_t child = fork();
    REQUIRE(child >= 0, "fork");
    if (child == 0) _exit(view_once(NULL));
    int status;
    REQUIRE(waitpid(child, &status, 0) == child && WIFSTOPPED(status), "the stepped process did not stop");
    for (long k = 0; k != steps->kill_at; k++) {
        struct user_regs_struct registers;
        REQUIRE(ptrace(PTRACE_SINGLESTEP, child, NULL, NULL) == 0, "ptrace: %s", strerror(errno));
        REQUIRE(waitpid(child, &status, 0) == child, "waitpid");
        if (!WIFSTOPPED(status) || WSTOPSIG(status) != SIGTRAP) {
            steps->total = k;
            break;
        }
        if (steps->kill_at >= 0) continue;
        REQUIRE(ptrace(PTRACE_GETREGS, child, NULL, &registers) == 0, "ptrace: %s", strerror(errno));
        if (registers.rip - trylock < 0x500 && steps->count < 400) steps->in_trylock[steps->count++] = k + 1;
    }
    kill(child, SIGKILL);
    while (waitpid(child, &status, 0) == child && !WIFSIGNALED(status) && !WIFEXITED(status)) continue;
    return 0;
}

static int slots(void *arg) {
    (void)arg;
    if (geteuid() != 0) return support_skip("PID namespaces need root");
    make_pond("slots.pond", MILLPOND_NAMESPACES, 1 << 20);
    struct millpond *pond = support_open(path, NULL);
    for (uint64_t number = 1; number <= 2; number++) {
        unsigned char value[300];
        support_value_write(value, sizeof value, number, 5);
        REQUIRE(millpond_set(pond, &number, sizeof number, value, sizeof value, 0) == MILLPOND_OK, "set");
    }
    struct viewer *viewer = support_share(sizeof *viewer);
    struct steps *steps = support_share(sizeof *steps);
    pid_t *first = support_share(sizeof *first);
    pid_t holder = start_first(hold_views, viewer, first);
    viewer->command = 1;
    while (__atomic_load_n(&viewer->answer, __ATOMIC_SEQ_CST) == 0) support_sleep_us(100);
    steps->kill_at = -1;
    REQUIRE(support_run_child(step_through, steps, 60000) == 0, "counting steps");
    REQUIRE(steps->count > 10 && steps->total > steps->count, "%d steps of %ld in pthread_mutex_trylock", steps->count, steps->total);
    for (int i = 0; i < steps->count; i++) {
        steps->kill_at = steps->in_trylock[i];
        REQUIRE(support_run_child(step_through, steps, 60000) == 0, "step %ld", steps->kill_at);
        for (uint64_t k = 0; k < 1500; k++) { /* the file's size once over: recycles what nobody has pinned */
            static unsigned char value[1000];
            uint64_t number = 1000 + (uint64_t)i * 1500 + k;
            REQUIRE(millpond_set(pond, &number, sizeof number, value, sizeof value, 0) == MILLPOND_OK, "set");
        }
        int command = i + 2, answer;
        __atomic_store_n(&viewer->command, command, __ATOMIC_SEQ_CST);
        while ((answer = __atomic_load_n(&viewer->answer, __ATOMIC_SEQ_CST)) != command && answer != -command) support_sleep_us(20);
        REQUIRE(answer == command, "killed at step %ld, number %d in pthread_mutex_trylock: another process's view was overwritten",
                steps->kill_at, i);
    }
    printf("  killed at each of %d instructions of pthread_mutex_trylock\n", steps->count);
    __atomic_store_n(&viewer->command, -1, __ATOMIC_SEQ_CST);
    REQUIRE(support_wait(holder, 10000) == 0, "the viewer");
    millpond_close(pond);
    support_require_whole(path);
    return 0;
}

#else

static int slots(void *arg) {
    (void)arg;
    return support_skip("the single steps know the registers of x86-64 only");
}

#endif

int main(int argc, char **argv) {
    static const struct support_case cases[] = {
        {"a second namespace is refused as long as the first is there", refused, 60000},
        {"killed in three namespaces, nobody counts wrong", counted, 600000},
        {"killed while it looks for a reader slot, nobody loses a view", slots, 120000},
    };
    if (argc > 1 && strcmp(argv[1], "--long") == 0) {
        wanted_kills = 6000;
        argc--;
        argv++;
    }
    return support_run_cases(argc, argv, cases, sizeof cases / sizeof *cases);
}
