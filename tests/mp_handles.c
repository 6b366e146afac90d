/* SPDX-License-Identifier: MIT */
/* Several handles on one file in one process: opened and closed by many threads while others use theirs; read-only beside read-write;
 * one mapping for all; several files at once; a file that is removed and made anew under the same name. */

#include "attempt.h"
#include "support.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const char *path;
static bool stop;
static uint64_t turns;

static struct millpond *open_flags(uint32_t flags) {
    struct millpond_options options = MILLPOND_OPTIONS_INIT;
    options.flags = flags;
    return support_open(path, &options);
}

static void use(struct millpond *pond, uint64_t number, bool write) {
    char key[SUPPORT_KEY_BYTES + 1];
    unsigned char value[1000];
    size_t bytes = 0;
    uint64_t sequence;
    support_key(key, number);
    if (write) {
        support_value_write(value, 32 + number % 900, number, 1);
        REQUIRE(millpond_set(pond, key, SUPPORT_KEY_BYTES, value, 32 + number % 900, 0) == MILLPOND_OK, "set");
    }
    int result = millpond_get(pond, key, SUPPORT_KEY_BYTES, value, sizeof value, &bytes);
    REQUIRE(result == MILLPOND_OK || (result == MILLPOND_MISS && !write), "get: %d", result);
    if (result == MILLPOND_OK) REQUIRE(!support_value_read(value, bytes, number, &sequence), "a wrong value");
}

/* ---- threads that open and close all the time ---- */

static void *open_and_close(void *arg) {
    struct support_random random = {(uintptr_t)arg};
    while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
        bool write = support_below(&random, 3) != 0;
        struct millpond *pond = open_flags(write ? 0 : MILLPOND_READONLY);
        for (uint64_t i = support_below(&random, 20); i > 0; i--) use(pond, support_below(&random, 300), write);
        millpond_close(pond);
        __atomic_fetch_add(&turns, 1, __ATOMIC_RELAXED);
    }
    return NULL;
}

static void *use_one_handle(void *arg) {
    struct millpond *pond = arg;
    struct support_random random = {99};
    while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) use(pond, support_below(&random, 300), true);
    return NULL;
}

static int opening_and_closing_threads(void *arg) {
    (void)arg;
    path = support_path("threads.pond");
    struct millpond *pond = support_create(path, 4 << 20);
    pthread_t threads[5];
    int fds = attempt_count_fds();
    for (uintptr_t i = 0; i < 4; i++) REQUIRE(pthread_create(&threads[i], NULL, open_and_close, (void *)(i + 1)) == 0, "no thread");
    REQUIRE(pthread_create(&threads[4], NULL, use_one_handle, pond) == 0, "no thread");
    support_sleep_ms(2500);
    __atomic_store_n(&stop, true, __ATOMIC_RELAXED);
    for (int i = 0; i < 5; i++) pthread_join(threads[i], NULL);
    printf("  %llu handles opened and closed\n", (unsigned long long)turns);
    REQUIRE(turns > 500, "too few");
    REQUIRE(attempt_count_fds() == fds, "%d descriptors before, %d after", fds, attempt_count_fds());
    use(pond, 1, true);
    millpond_close(pond);
    REQUIRE(attempt_count_mappings(path) == 0, "still mapped");
    support_require_whole(path);
    return 0;
}

/* The only handles: now and then the last one is closed and the file unmapped while another thread opens it. */
static int opening_and_closing_to_the_last(void *arg) {
    (void)arg;
    path = support_path("last.pond");
    millpond_close(support_create(path, 1 << 20));
    pthread_t threads[3];
    for (uintptr_t i = 0; i < 3; i++) REQUIRE(pthread_create(&threads[i], NULL, open_and_close, (void *)(i + 1)) == 0, "no thread");
    support_sleep_ms(2000);
    __atomic_store_n(&stop, true, __ATOMIC_RELAXED);
    for (int i = 0; i < 3; i++) pthread_join(threads[i], NULL);
    REQUIRE(turns > 500, "too few");
    REQUIRE(attempt_count_mappings(path) == 0, "still mapped");
    support_require_whole(path);
    return 0;
}

/* ---- one mapping ---- */

static int one_mapping_for_all(void *arg) {
    (void)arg;
    path = support_path("mapping.pond");
    struct millpond *first = support_create(path, 1 << 20), *more[20];
    int one = attempt_count_mappings(path), fds = attempt_count_fds();
    REQUIRE(one == 1, "%d mappings of one handle", one);
    REQUIRE(link(path, support_path("other-name.pond")) == 0, "link");
    for (int i = 0; i < 20; i++) {
        more[i] = support_open(i % 2 ? support_path("other-name.pond") : path, NULL);
        use(more[i], (uint64_t)i, true);
    }
    REQUIRE(attempt_count_mappings(path) == 1, "%d mappings of 21 handles", attempt_count_mappings(path));
    REQUIRE(attempt_count_fds() == fds, "%d descriptors more for 20 handles more", attempt_count_fds() - fds);
    struct millpond *reader = open_flags(MILLPOND_READONLY);
    REQUIRE(millpond_set(reader, "k", 1, "v", 1, 0) == MILLPOND_ERR_READ_ONLY, "a read-only handle writes through the other's mapping");
    for (uint64_t i = 0; i < 20; i++) use(reader, i, false);
    millpond_close(first);
    for (int i = 0; i < 19; i++) {
        use(more[i + 1], (uint64_t)i, false);
        millpond_close(more[i]);
    }
    use(more[19], 7, true);
    use(reader, 7, false);
    millpond_close(more[19]);
    use(reader, 7, false);
    millpond_close(reader);
    REQUIRE(attempt_count_mappings(path) == 0 && attempt_count_fds() == fds - 1, "%d descriptors are left", attempt_count_fds() - fds + 1);
    support_require_whole(path);
    return 0;
}

/* ---- threads that outlive the handle ---- */

static struct millpond *shared;
static pthread_barrier_t meet;

static void *use_then_wait(void *arg) {
    use(shared, (uint64_t)(uintptr_t)arg, true);
    pthread_barrier_wait(&meet);
    pthread_barrier_wait(&meet); /* the handle is closed between these two */
    return NULL;
}

static int threads_that_outlive_the_handle(void *arg) {
    (void)arg;
    path = support_path("outlive.pond");
    for (int round = 0; round < 50; round++) {
        pthread_t threads[8];
        shared = round ? support_open(path, NULL) : support_create(path, 1 << 20);
        pthread_barrier_init(&meet, NULL, 9);
        for (uintptr_t i = 0; i < 8; i++) REQUIRE(pthread_create(&threads[i], NULL, use_then_wait, (void *)i) == 0, "no thread");
        pthread_barrier_wait(&meet);
        millpond_close(shared);
        if (round % 2) { /* opened again before the threads end */
            shared = support_open(path, NULL);
            use(shared, 3, true);
            millpond_close(shared);
        }
        pthread_barrier_wait(&meet);
        for (int i = 0; i < 8; i++) pthread_join(threads[i], NULL);
        pthread_barrier_destroy(&meet);
        REQUIRE(attempt_count_mappings(path) == 0, "round %d: still mapped when the threads have ended", round);
    }
    support_require_whole(path);
    return 0;
}

/* ---- several files ---- */

#define FILES 30

static struct millpond *ponds[FILES];

static void *use_all(void *arg) {
    struct support_random random = {(uintptr_t)arg + 5};
    for (int i = 0; i < 20000; i++) {
        uint64_t file = support_below(&random, FILES), number = support_below(&random, 20) * FILES + file;
        char key[SUPPORT_KEY_BYTES + 1];
        support_key(key, number);
        use(ponds[file], number, true);
        REQUIRE(millpond_contains(ponds[(file + 1) % FILES], key, SUPPORT_KEY_BYTES) == MILLPOND_MISS, "a key of one file is in another");
    }
    return NULL;
}

static int many_files(void *arg) {
    (void)arg;
    for (int i = 0; i < FILES; i++) ponds[i] = support_create(support_path("file-%d.pond", i), 128 << 10);
    pthread_t threads[3];
    for (uintptr_t i = 0; i < 3; i++) REQUIRE(pthread_create(&threads[i], NULL, use_all, (void *)i) == 0, "no thread");
    for (int i = 0; i < 3; i++) pthread_join(threads[i], NULL);
    for (int i = 0; i < FILES; i++) {
        millpond_close(ponds[i]);
        support_require_whole(support_path("file-%d.pond", i));
    }
    return 0;
}

/* ---- the name goes to another file ---- */

static int the_name_goes_to_another_file(void *arg) {
    (void)arg;
    path = support_path("name.pond");
    struct millpond *old = support_create(path, 1 << 20);
    use(old, 1, true);
    REQUIRE(unlink(path) == 0, "unlink");
    use(old, 2, true); /* it has no name, and is still a pond */
    struct millpond *fresh = support_create(path, 1 << 20);
    char key[SUPPORT_KEY_BYTES + 1];
    support_key(key, 1);
    REQUIRE(millpond_contains(fresh, key, SUPPORT_KEY_BYTES) == MILLPOND_MISS, "a new file under the old name has old content");
    use(fresh, 3, true);
    use(old, 4, true);
    REQUIRE(millpond_contains(old, key, SUPPORT_KEY_BYTES) == MILLPOND_OK, "the old handle sees the new file");
    millpond_close(old);
    use(fresh, 5, true);
    millpond_close(fresh);
    REQUIRE(support_require_whole(path).entries == 2, "entries");
    return 0;
}

/* ---- the lock that says: somebody uses this file ---- */

static int find_it_locked(void *arg) {
    (void)arg;
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 1, .l_len = 1, .l_pid = 0};
    int fd = open(path, O_RDWR | O_CLOEXEC);
    REQUIRE(fd >= 0 && fcntl(fd, F_OFD_GETLK, &lock) == 0, "asking for locks");
    REQUIRE(lock.l_type != F_UNLCK, "byte 1 is not locked: the next opener would think that it is alone, and make locks anew");
    close(fd);
    return 0;
}

/* A POSIX lock would be gone as soon as the process closes any descriptor of the file: a backup, a checksum, another handle. */
static int stays_known_as_used(void *arg) {
    (void)arg;
    path = support_path("known.pond");
    struct millpond *pond = support_create(path, 1 << 20);
    REQUIRE(support_run_child(find_it_locked, NULL, 10000) == 0, "while it is open");
    support_hash_file(path); /* opens and closes it */
    millpond_close(open_flags(MILLPOND_READONLY));
    REQUIRE(support_run_child(find_it_locked, NULL, 10000) == 0, "after the process has closed another descriptor of the file");
    millpond_close(pond);
    return 0;
}

int main(int argc, char **argv) {
    static const struct support_case cases[] = {
        {"threads open and close handles while others use theirs", opening_and_closing_threads, 60000},
        {"threads open and close the only handles", opening_and_closing_to_the_last, 60000},
        {"twenty handles share one mapping, a read-only one has its own", one_mapping_for_all, 30000},
        {"threads outlive the handle that they used", threads_that_outlive_the_handle, 60000},
        {"thirty files are used by three threads", many_files, 60000},
        {"a file in use is known as such, whatever else its user opens and closes", stays_known_as_used, 30000},
        {"a name goes to another file while the old one is open", the_name_goes_to_another_file, 30000},
    };
    return support_run_cases(argc, argv, cases, sizeof cases / sizeof *cases);
}
