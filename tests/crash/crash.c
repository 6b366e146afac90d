/* SPDX-License-Identifier: MIT */
/* Checks, named places, and ponds whose bytes can be put back. */

#include "crash.h"

#include "hash.h"
#include "platform.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- checks ---- */

static struct {
    uint64_t checks;
    char trying[512];
} * told; /* shared with all children */

static const char *program;
static pid_t main_process;

void crash_count(void) { __atomic_add_fetch(&told->checks, 1, __ATOMIC_RELAXED); }

void crash_fail(const char *file, int line, const char *condition, const char *format, ...) {
    char text[2048];
    const char *slash = strrchr(file, '/');
    va_list args;
    va_start(args, format);
    int n = snprintf(text, sizeof text, "%s: %s: ", program, told->trying);
    if (n > 0 && (size_t)n < sizeof text) n += vsnprintf(text + n, sizeof text - (size_t)n, format, args);
    va_end(args);
    if (n > 0 && (size_t)n < sizeof text)
        n += snprintf(text + n, sizeof text - (size_t)n, " (%s:%d: %s)\n", slash ? slash + 1 : file, line, condition);
    size_t bytes = n < 0 ? 0 : (size_t)n < sizeof text ? (size_t)n : sizeof text - 1;
    if (write(STDERR_FILENO, text, bytes) < 0) _exit(1);
    if (getpid() == main_process) support_end();
    _exit(1);
}

void crash_begin(const char *name) {
    program = name;
    main_process = getpid();
    told = support_share(sizeof *told);
    crash_trying("beginning");
    support_begin();
    support_path("."); /* children share this process's folder */
}

int crash_end(void) {
    support_end();
    printf("%s: %llu checks passed\n", program, (unsigned long long)told->checks);
    return 0;
}

void crash_trying(const char *format, ...) {
    va_list args;
    va_start(args, format);
    vsnprintf(told->trying, sizeof told->trying, format, args);
    va_end(args);
}

bool crash_long(int argc, char **argv) {
    for (int i = 1; i < argc; i++)
        if (strcmp(argv[i], "--long") == 0) return true;
    return false;
}

void crash_expect(pid_t child, int by_signal, const char *who) {
    int said = support_wait(child, CRASH_DEADLINE_MS);
    CHECK(said != SUPPORT_LATE, "%s was still there after %u s", who, CRASH_DEADLINE_MS / 1000);
    if (by_signal == 0)
        CHECK(said == 0, "%s ended with %d (a signal if negative)", who, said);
    else
        CHECK(said == -by_signal, "%s was to end by signal %d and ended with %d", who, by_signal, said);
}

void crash_run(int (*body)(void *arg), void *arg, const char *who) { crash_expect(support_fork(body, arg), 0, who); }

void crash_await_stop(pid_t child, const char *who) {
    uint64_t end = support_now_ns() + CRASH_DEADLINE_MS * UINT64_C(1000000);
    for (;;) {
        int status;
        pid_t changed = waitpid(child, &status, WUNTRACED | WNOHANG);
        CHECK(changed >= 0, "waitpid: %s", strerror(errno));
        if (changed == child) {
            CHECK(WIFSTOPPED(status), "%s was to stop and ended with status %x", who, (unsigned)status);
            return;
        }
        if (support_now_ns() > end) kill(child, SIGKILL);
        CHECK(support_now_ns() <= end, "%s has not stopped after %u s", who, CRASH_DEADLINE_MS / 1000);
        support_sleep_us(50);
    }
}

/* ---- named places ---- */

static struct {
    struct crash_passed *passed;
    unsigned name;
    uint32_t left;
    int signal;
} armed;

unsigned crash_name_number(const char *name) {
    for (unsigned i = 0; i < crash_name_count; i++)
        if (strcmp(crash_names[i], name) == 0) return i;
    return UINT_MAX;
}

static unsigned number_of(const char *name) {
    unsigned number = crash_name_number(name);
    CHECK(number < crash_name_count, "the library passed \"%s\", which the build did not find in lib/: configure it again", name);
    return number;
}

static void count_hook(const char *name) { armed.passed->times[number_of(name)]++; }

static void signal_hook(const char *name) {
    if (strcmp(name, crash_names[armed.name]) != 0 || --armed.left > 0) return;
    pond_crashpoint_hook = NULL;
    kill(getpid(), armed.signal);
}

void crash_watch(struct crash_passed *passed) {
    armed.passed = passed;
    pond_crashpoint_hook = count_hook;
}

void crash_at(unsigned name, uint32_t nth, int signal) {
    armed.name = name;
    armed.left = nth;
    armed.signal = signal;
    pond_crashpoint_hook = signal_hook;
}

void crash_hook(void (*hook)(const char *name)) { pond_crashpoint_hook = hook; }

void crash_unwatch(void) { pond_crashpoint_hook = NULL; }

bool crash_name_begins(unsigned name, const char *with) { return strncmp(crash_names[name], with, strlen(with)) == 0; }

/* ---- a pond whose bytes can be put back ---- */

struct making {
    const char *path;
    const struct millpond_options *options;
};

static int make(void *arg) {
    const struct making *making = arg;
    struct millpond_options options = *making->options;
    options.flags |= MILLPOND_CREATE | MILLPOND_EXCLUSIVE;
    millpond_close(support_open(making->path, &options));
    return 0;
}

void ground_map(struct ground *ground, const char *path) {
    struct stat st;
    memset(ground, 0, sizeof *ground);
    snprintf(ground->path, sizeof ground->path, "%s", path);
    ground->fd = open(path, O_RDWR | O_CLOEXEC);
    CHECK(ground->fd >= 0 && fstat(ground->fd, &st) == 0, "%s: %s", path, strerror(errno));
    ground->bytes = (size_t)st.st_size;
    ground->now = mmap(NULL, ground->bytes, PROT_READ | PROT_WRITE, MAP_SHARED, ground->fd, 0);
    CHECK(ground->now != MAP_FAILED, "%s: %s", path, strerror(errno));
    const char *wrong = pond_layout_geometry((const struct pond_identity *)(const void *)ground->now, &ground->map.geometry);
    CHECK(!wrong, "%s: %s", path, wrong ? wrong : "");
    ground->map.base = ground->now;
    ground->map.living = (struct pond_living *)(void *)(ground->now + POND_LIVING_OFF);
    ground->map.readers = (struct pond_reader *)(void *)(ground->now + POND_READERS_OFF);
}

void ground_make(struct ground *ground, const char *name, const struct millpond_options *options) {
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s", support_path("%s", name));
    struct making making = {path, options};
    crash_run(make, &making, "the creator");
    ground_map(ground, path);
}

void ground_unmap(struct ground *ground) {
    munmap(ground->now, ground->bytes);
    close(ground->fd);
    free(ground->kept);
}

void ground_forget(struct ground *ground) {
    ground_unmap(ground);
    unlink(ground->path);
}

unsigned char *ground_image(const struct ground *ground) {
    unsigned char *image = malloc(ground->bytes);
    CHECK(image, "no memory for %zu bytes", ground->bytes);
    memcpy(image, ground->now, ground->bytes);
    return image;
}

void ground_put(struct ground *ground, const unsigned char *image) { memcpy(ground->now, image, ground->bytes); }

void ground_keep(struct ground *ground) {
    free(ground->kept);
    ground->kept = ground_image(ground);
}

void ground_put_back(struct ground *ground) { ground_put(ground, ground->kept); }

void ground_occupy(struct ground *ground, bool occupied) {
    struct flock lock = {.l_type = occupied ? F_RDLCK : F_UNLCK, .l_whence = SEEK_SET, .l_start = POND_FILE_LOCK_USERS, .l_len = 1};
    CHECK(fcntl(ground->fd, F_OFD_SETLK, &lock) == 0, "%s: %s", ground->path, strerror(errno));
}

struct pond_ref ground_shard(struct ground *ground, uint32_t shard) {
    return pond_ref_of(&ground->map, shard);
}

uint32_t ground_shard_of(const struct ground *ground, const void *key, size_t key_bytes) {
    return pond_shard_of(&ground->map.geometry, pond_hash(key, key_bytes, ground->map.geometry.hash_seed));
}

pid_t ground_holder(const pthread_mutex_t *mutex) {
    int word;
    memcpy(&word, mutex, sizeof word); /* the lock word is the first member in every libc that millpond knows */
    return word & 0x3FFFFFFF;
}

static uint32_t list_length(const struct pond_ref *ref, uint32_t link, unsigned char *times) {
    uint32_t n = 0;
    for (; link >= 1 && link <= ref->g->segment_count && n <= ref->g->segment_count; n++) {
        times[link - 1]++;
        link = ref->table[link - 1].next;
    }
    CHECK(link == 0, "a list of segments of shard %u does not end", ref->number);
    return n;
}

/* Every segment is free, open, queued or being recycled, and stands in one place only. */
static void require_segments(const struct pond_ref *ref) {
    unsigned char *times = calloc(ref->g->segment_count, 1);
    CHECK(times, "no memory");
    list_length(ref, ref->shard->free_head, times);
    for (uint32_t queue = 0; queue < POND_QUEUES; queue++) {
        list_length(ref, ref->shard->queue_head[queue], times);
        for (uint32_t c = 0; c < POND_TTL_CLASSES; c++) {
            uint32_t link = ref->shard->open[queue][c];
            if (link == 0) continue;
            CHECK(link <= ref->g->segment_count, "an open segment of shard %u does not exist", ref->number);
            times[link - 1]++;
        }
    }
    if (ref->shard->walk.victim) times[ref->shard->walk.victim - 1]++;
    for (uint32_t i = 0; i < ref->g->segment_count; i++)
        CHECK(times[i] == 1, "segment %u of shard %u (state %x) stands in %u lists", i, ref->number, ref->table[i].state, times[i]);
    free(times);
}

void ground_require_quiet(struct ground *ground) {
    for (uint32_t i = 0; i < ground->map.geometry.shard_count; i++) {
        struct pond_ref ref = ground_shard(ground, i);
        CHECK(ground_holder(&ref.shard->mutex) == 0, "shard %u is locked by %d, and nobody is there", i, ground_holder(&ref.shard->mutex));
        CHECK(ref.shard->intent.kind == POND_INTENT_NONE, "shard %u has an intent of kind %u left", i, ref.shard->intent.kind);
        require_segments(&ref);
    }
    for (uint32_t i = 0; i < ground->map.geometry.reader_count; i++)
        CHECK(ground_holder(&ground->map.readers[i].mutex) == 0, "reader slot %u is locked, and nobody is there", i);
}

void ground_advance_clock(struct ground *ground, uint64_t milliseconds) { ground->map.living->clock_skew_ms += milliseconds; }

static void garble_mutex(pthread_mutex_t *mutex, struct support_random *random) {
    /* A thread of the last boot held it, others waited for it. */
    uint32_t word = (uint32_t)(support_below(random, 30000) + 300) | (support_below(random, 2) ? 0x80000000u : 0);
    memcpy(mutex, &word, sizeof word);
}

void ground_reboot(struct ground *ground, struct support_random *random) {
    memcpy(ground->map.living->boot_id, "00000000-1111-2222-3333-444444444444", 37);
    ground->map.living->boot_id[support_below(random, 8)] = (char)('0' + support_below(random, 10));
    for (uint32_t i = 0; i < ground->map.geometry.shard_count; i++) garble_mutex(&ground_shard(ground, i).shard->mutex, random);
    for (uint32_t i = 0; i < ground->map.geometry.reader_count; i++) garble_mutex(&ground->map.readers[i].mutex, random);
}
