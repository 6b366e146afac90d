/* SPDX-License-Identifier: MIT */
/* Larger and smaller while in use: what is kept, who moves and when, who may not; and files that are deleted and made anew. The load is in
 * stress_resize.c, the deaths are in crash/replace.c. */

#include "attempt.h"
#include "support.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *path;
static struct millpond *pond;

static int get(struct millpond *from, uint64_t number) {
    static unsigned char value[1 << 20];
    char key[SUPPORT_KEY_BYTES + 1];
    size_t bytes = 0;
    uint64_t sequence;
    support_key(key, number);
    int result = millpond_get(from, key, SUPPORT_KEY_BYTES, value, sizeof value, &bytes);
    if (result == MILLPOND_OK) {
        const char *wrong = support_value_read(value, bytes, number, &sequence);
        REQUIRE(!wrong, "key %llu: %s", (unsigned long long)number, wrong);
    }
    return result;
}

static int set(struct millpond *to, uint64_t number, size_t bytes, uint64_t ttl_ms) {
    static unsigned char value[1 << 20];
    char key[SUPPORT_KEY_BYTES + 1];
    support_key(key, number);
    support_value_write(value, bytes, number, number + 1);
    return millpond_set(to, key, SUPPORT_KEY_BYTES, value, bytes, ttl_ms);
}

static void resize_to(struct millpond *which, uint64_t bytes) {
    char errmsg[MILLPOND_ERRMSG_BYTES] = "";
    int result = millpond_resize(which, bytes, errmsg);
    REQUIRE(result == MILLPOND_OK && !errmsg[0], "resize to %llu: %d: %s", (unsigned long long)bytes, result, errmsg);
}

static struct millpond_stats stats_of(struct millpond *of) {
    struct millpond_stats stats;
    REQUIRE(millpond_stats(of, -1, &stats) == MILLPOND_OK, "stats");
    return stats;
}

/* ---- what is kept ---- */

static void everything_is_there(struct millpond *in) {
    char buf[64];
    size_t bytes;
    uint64_t ttl = 0;
    for (uint64_t i = 0; i < 600; i++) REQUIRE(get(in, i) == MILLPOND_OK, "key %llu is gone", (unsigned long long)i);
    REQUIRE(millpond_get(in, "counter", 7, buf, sizeof buf, &bytes) == MILLPOND_OK && bytes == 2 && memcmp(buf, "12", 2) == 0, "counter");
    REQUIRE(millpond_get(in, "", 0, buf, sizeof buf, &bytes) == MILLPOND_ERR_ARGUMENT, "an empty key");
    REQUIRE(millpond_ttl(in, "mortal", 6, &ttl) == MILLPOND_OK && ttl > 3000000 && ttl <= 3600000, "ttl %llu", (unsigned long long)ttl);
    REQUIRE(millpond_contains(in, "deleted", 7) == MILLPOND_MISS, "a deleted key is back");
}

static int everything_is_kept(void *arg) {
    (void)arg;
    static const uint64_t sizes[] = {64 << 20, 16 << 20, 128 << 20, 16 << 20, 17 << 20};
    path = support_path("kept.pond");
    struct millpond_options options = MILLPOND_OPTIONS_INIT;
    options.size_bytes = 32 << 20;
    options.flags = MILLPOND_CREATE;
    options.mode = 0640;
    pond = support_open(path, &options);
    for (uint64_t i = 0; i < 600; i++) REQUIRE(set(pond, i, i % 60 == 0 ? 300000 : 32 + i * 5, i % 3 ? 0 : 3600000) == MILLPOND_OK, "set");
    REQUIRE(millpond_incr(pond, "counter", 7, 12, &(struct millpond_incr){0, 0}, NULL) == MILLPOND_OK, "incr");
    REQUIRE(millpond_set(pond, "mortal", 6, "v", 1, 3600000) == MILLPOND_OK, "set");
    REQUIRE(millpond_set(pond, "deleted", 7, "v", 1, 0) == MILLPOND_OK && millpond_delete(pond, "deleted", 7) == MILLPOND_OK, "delete");
    uint64_t version = 0, before;
    char buf[8];
    size_t bytes;
    REQUIRE(millpond_get_if_changed(pond, "mortal", 6, buf, sizeof buf, &bytes, &version) == MILLPOND_OK, "version");
    before = version;
    everything_is_there(pond);
    struct millpond_stats old = stats_of(pond);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        struct stat st;
        resize_to(pond, sizes[i]);
        REQUIRE(stat(path, &st) == 0 && (uint64_t)st.st_size == sizes[i] && (st.st_mode & 07777) == 0640, "size %lld, mode %o",
                (long long)st.st_size, st.st_mode & 07777);
        struct millpond_stats now = stats_of(pond);
        REQUIRE(now.file_bytes == sizes[i] && now.items == old.items && now.bytes == old.bytes, "%llu items, %llu bytes",
                (unsigned long long)now.items, (unsigned long long)now.bytes);
        REQUIRE(now.sets == old.sets && now.deletes == old.deletes && now.hits >= old.hits && now.evictions == 0,
                "its figures do not go on");
        REQUIRE(now.max_item_bytes >= 300000, "the largest value is %llu", (unsigned long long)now.max_item_bytes);
        everything_is_there(pond);
        REQUIRE(millpond_get_if_changed(pond, "mortal", 6, buf, sizeof buf, &bytes, &version) == MILLPOND_UNCHANGED && version == before,
                "an unchanged entry has another version");
        support_require_whole(path);
    }
    /* A version of before never names another value. */
    REQUIRE(millpond_set(pond, "mortal", 6, "w", 1, 3600000) == MILLPOND_OK, "set");
    REQUIRE(millpond_cas(pond, "mortal", 6, "x", 1, 0, before) == MILLPOND_CHANGED, "cas");
    REQUIRE(millpond_get_if_changed(pond, "mortal", 6, buf, sizeof buf, &bytes, &version) == MILLPOND_OK && buf[0] == 'w',
            "false UNCHANGED");
    REQUIRE(attempt_count_mappings(path) == 1, "%d mappings are left", attempt_count_mappings(path));
    millpond_close(pond);
    REQUIRE(support_count_files(support_path(".")) == 1, "something is left beside the file");
    return 0;
}

/* What does not fit leaves; what was read often stays. */
static int too_small_keeps_what_is_hot(void *arg) {
    (void)arg;
    path = support_path("hot.pond");
    pond = support_create(path, 32 << 20);
    for (uint64_t i = 0; i < 20000; i++) REQUIRE(set(pond, i, 1000, 0) == MILLPOND_OK, "set");
    for (int turn = 0; turn < 4; turn++)
        for (uint64_t i = 0; i < 20000; i += 20) REQUIRE(get(pond, i) == MILLPOND_OK, "get");
    resize_to(pond, 8 << 20);
    uint64_t hot = 0, cold = 0;
    for (uint64_t i = 0; i < 20000; i++) {
        int there = get(pond, i) == MILLPOND_OK;
        hot += there && i % 20 == 0;
        cold += there && i % 20 != 0;
    }
    printf("  of 1000 hot entries %llu stay, of 19000 cold ones %llu\n", (unsigned long long)hot, (unsigned long long)cold);
    REQUIRE(hot > 950 && cold > 2000, "hot %llu, cold %llu", (unsigned long long)hot, (unsigned long long)cold);
    millpond_close(pond);
    support_require_whole(path);
    return 0;
}

/* ---- who moves ---- */

static int *signals; /* shared: what a process has told the others */

static void await(int *flag, int value) {
    for (int i = 0; i < 40000 && __atomic_load_n(flag, __ATOMIC_ACQUIRE) < value; i++) support_sleep_us(500);
    REQUIRE(__atomic_load_n(flag, __ATOMIC_ACQUIRE) >= value, "nobody came");
}
static void tell(int *flag, int value) { __atomic_store_n(flag, value, __ATOMIC_RELEASE); }

static int deleted_mappings(void) {
    FILE *maps = fopen("/proc/self/maps", "re");
    char line[8192];
    int count = 0;
    while (fgets(line, sizeof line, maps)) count += strstr(line, ".pond") && strstr(line, "(deleted)");
    fclose(maps);
    return count;
}

static int reads_after_two_resizes(void *arg) {
    uint32_t flags = *(uint32_t *)arg;
    struct millpond_options options = MILLPOND_OPTIONS_INIT;
    options.flags = flags;
    struct millpond *own = flags ? support_open(path, &options) : pond; /* 0: the handle from before the fork */
    if (flags) millpond_close(pond);
    REQUIRE(get(own, 1) == MILLPOND_OK, "get");
    tell(&signals[0], 1);
    await(&signals[1], 1);
    REQUIRE(get(own, 1) == MILLPOND_OK && get(own, 2) == MILLPOND_OK && get(own, 3) == MILLPOND_MISS, "after the sleep");
    REQUIRE(stats_of(own).file_bytes == 3 << 20, "it still shows the old file");
    if (!(flags & MILLPOND_READONLY)) REQUIRE(set(own, 4, 100, 0) == MILLPOND_OK, "set");
    REQUIRE(deleted_mappings() == 0, "the old file is still mapped");
    return 0;
}

static int sleepers_move_with_their_next_call(void *arg) {
    (void)arg;
    static const uint32_t kinds[] = {0, MILLPOND_POPULATE, MILLPOND_READONLY};
    for (size_t i = 0; i < 3; i++) {
        path = support_path("sleep-%zu.pond", i);
        uint32_t flags = kinds[i];
        signals = support_share(2 * sizeof *signals);
        pond = support_create(path, 1 << 20);
        for (uint64_t k = 1; k <= 3; k++) REQUIRE(set(pond, k, 500, 0) == MILLPOND_OK, "set");
        pid_t sleeper = support_fork(reads_after_two_resizes, &flags);
        await(&signals[0], 1);
        resize_to(pond, 2 << 20);
        REQUIRE(set(pond, 2, 700, 0) == MILLPOND_OK, "set");
        resize_to(pond, 3 << 20);
        char key[SUPPORT_KEY_BYTES + 1];
        support_key(key, 3);
        REQUIRE(millpond_delete(pond, key, SUPPORT_KEY_BYTES) == MILLPOND_OK, "delete");
        tell(&signals[1], 1);
        REQUIRE(support_wait(sleeper, 20000) == 0, "the sleeper of kind %zu", i);
        if (!(flags & MILLPOND_READONLY)) REQUIRE(get(pond, 4) == MILLPOND_OK, "what the sleeper stored");
        millpond_close(pond);
        support_require_whole(path);
    }
    return 0;
}

static void *read_until_told(void *arg) {
    uint64_t *reads = arg;
    while (!__atomic_load_n(&signals[0], __ATOMIC_ACQUIRE)) {
        REQUIRE(get(pond, 1) == MILLPOND_OK, "a reader has a miss");
        ++*reads;
    }
    return NULL;
}

/* Views of the old file stay what they are; its memory goes when the last one is released. */
static int views_stay_valid(void *arg) {
    (void)arg;
    path = support_path("views.pond");
    pond = support_create(path, 8 << 20);
    REQUIRE(set(pond, 1, 900, 0) == MILLPOND_OK && set(pond, 2, 400000, 0) == MILLPOND_OK, "set");
    char one[SUPPORT_KEY_BYTES + 1], two[SUPPORT_KEY_BYTES + 1];
    support_key(one, 1), support_key(two, 2);
    struct millpond_view small, large, fresh;
    REQUIRE(millpond_view(pond, one, SUPPORT_KEY_BYTES, &small) == MILLPOND_OK, "view");
    REQUIRE(millpond_view(pond, two, SUPPORT_KEY_BYTES, &large) == MILLPOND_OK, "view");
    for (int turn = 0; turn < 3; turn++) {
        resize_to(pond, turn % 2 ? 8 << 20 : 16 << 20);
        REQUIRE(set(pond, 1, 800, 0) == MILLPOND_OK, "set");
        for (uint64_t i = 10; i < 3000; i++) REQUIRE(set(pond, i, 3000, 0) == MILLPOND_OK, "set");
    }
    uint64_t sequence;
    REQUIRE(small.value_bytes == 900 && !support_value_read(small.value, 900, 1, &sequence), "the small view has changed");
    unsigned char *copy = malloc(large.value_bytes), *at = copy;
    for (size_t i = 0; i < large.piece_count; i++) {
        memcpy(at, large.pieces[i].bytes, large.pieces[i].count);
        at += large.pieces[i].count;
    }
    REQUIRE(large.value_bytes == 400000 && !support_value_read(copy, 400000, 2, &sequence), "the large view has changed");
    free(copy);
    REQUIRE(millpond_view(pond, one, SUPPORT_KEY_BYTES, &fresh) == MILLPOND_OK && fresh.value_bytes == 800, "a view of the new file");
    REQUIRE(deleted_mappings() == 1, "%d old files are mapped", deleted_mappings());
    millpond_view_release(&small);
    REQUIRE(deleted_mappings() == 1, "the old file went with a view of it");
    millpond_view_release(&large);
    REQUIRE(deleted_mappings() == 0, "the old file stays without a view");
    millpond_view_release(&fresh);
    millpond_close(pond);
    return 0;
}

static int readers_never_miss(void *arg) {
    (void)arg;
    path = support_path("readers.pond");
    signals = support_share(sizeof *signals);
    pond = support_create(path, 8 << 20);
    REQUIRE(set(pond, 1, 900, 0) == MILLPOND_OK, "set");
    pthread_t threads[3];
    uint64_t reads[3] = {0, 0, 0};
    for (int i = 0; i < 3; i++) REQUIRE(pthread_create(&threads[i], NULL, read_until_told, &reads[i]) == 0, "no thread");
    for (int turn = 0; turn < 30; turn++) resize_to(pond, turn % 2 ? 8 << 20 : 4 << 20);
    tell(&signals[0], 1);
    for (int i = 0; i < 3; i++) pthread_join(threads[i], NULL);
    printf("  %llu reads beside 30 resizes, no miss\n", (unsigned long long)(reads[0] + reads[1] + reads[2]));
    REQUIRE(reads[0] + reads[1] + reads[2] > 1000, "too few reads");
    REQUIRE(attempt_count_mappings(path) == 1 && deleted_mappings() == 0, "old files are still mapped");
    millpond_close(pond);
    return 0;
}

static int show_all(void *arg, const struct millpond_entry *entry) {
    unsigned char *seen = arg;
    char digits[SUPPORT_KEY_BYTES + 1] = {0};
    memcpy(digits, entry->key, SUPPORT_KEY_BYTES);
    unsigned long number = strtoul(digits + 4, NULL, 10);
    if (number < 500) seen[number] = 1;
    if (!seen[500]) {
        seen[500] = 1;
        resize_to(pond, 9 << 20); /* under the scan */
        REQUIRE(get(pond, 3) == MILLPOND_OK, "get in a visitor");
    }
    return 0;
}

static int a_scan_shows_all(void *arg) {
    (void)arg;
    path = support_path("scan.pond");
    pond = support_create(path, 8 << 20);
    for (uint64_t i = 0; i < 500; i++) REQUIRE(set(pond, i, 100, 0) == MILLPOND_OK, "set");
    unsigned char seen[501] = {0};
    REQUIRE(millpond_scan(pond, NULL, 0, 0, show_all, seen) == MILLPOND_OK, "scan");
    for (int i = 0; i < 500; i++) REQUIRE(seen[i], "key %d was left out", i);
    millpond_close(pond);
    return 0;
}

/* ---- several at once, and who may not ---- */

static int resizes_often(void *arg) {
    uint64_t bytes = *(uint64_t *)arg;
    struct millpond *own = support_open(path, NULL);
    for (int i = 0; i < 8; i++) resize_to(own, bytes + (uint64_t)i * 65536);
    millpond_close(own);
    return 0;
}

#define ACCOUNTS 16

/* The sum of all accounts, at one moment. */
static int64_t sum_of(struct millpond *in) {
    char keys[ACCOUNTS][16], values[ACCOUNTS][24];
    struct millpond_mget items[ACCOUNTS];
    int64_t sum = 0;
    memset(items, 0, sizeof items);
    for (int i = 0; i < ACCOUNTS; i++) {
        items[i].key_bytes = (size_t)snprintf(keys[i], sizeof keys[i], "account %d", i);
        items[i].key = keys[i];
        items[i].buf = values[i];
        items[i].buf_bytes = sizeof values[i] - 1;
    }
    int result = millpond_snapshot(in, items, ACCOUNTS);
    REQUIRE(result == MILLPOND_OK, "snapshot: %d", result);
    for (int i = 0; i < ACCOUNTS; i++) {
        REQUIRE(items[i].result == MILLPOND_OK, "account %d is gone: %d", i, items[i].result);
        values[i][items[i].value_bytes] = 0;
        sum += strtoll(values[i], NULL, 10);
    }
    return sum;
}

/* One try at moving an amount; the result of the commit. */
static int transfer(struct support_random *dice) {
    struct millpond_txn *txn;
    char key[16];
    int64_t amount = 1 + (int64_t)support_below(dice, 100);
    uint64_t from = support_below(dice, ACCOUNTS), to = (from + 1 + support_below(dice, ACCOUNTS - 1)) % ACCOUNTS;
    REQUIRE(millpond_txn_begin(pond, &txn) == MILLPOND_OK, "begin");
    for (int i = 0; i < 2; i++) {
        int n = snprintf(key, sizeof key, "account %llu", (unsigned long long)(i ? to : from));
        int result = millpond_txn_incr(txn, key, (size_t)n, i ? amount : -amount, NULL, NULL);
        if (result == MILLPOND_OK) continue;
        /* A file that is being emptied under it: what it has read cannot be committed. */
        REQUIRE(result == MILLPOND_CHANGED || result == MILLPOND_MISS, "%s: %d", key, result);
        int end = millpond_txn_commit(txn);
        REQUIRE(end == MILLPOND_CHANGED, "the commit of a transaction that missed an account: %d", end);
        return end;
    }
    return millpond_txn_commit(txn);
}

static int transactions_go_on(void *arg) {
    (void)arg;
    path = support_path("bank.pond");
    pond = support_create(path, 4 << 20);
    for (int i = 0; i < ACCOUNTS; i++) {
        char key[16];
        int n = snprintf(key, sizeof key, "account %d", i);
        REQUIRE(millpond_set(pond, key, (size_t)n, "1000", 4, 0) == MILLPOND_OK, "set");
    }
    uint64_t bytes = 1 << 20;
    pid_t resizer = support_fork(resizes_often, &bytes);
    struct support_random dice = support_seed("transfers");
    uint64_t done = 0, again = 0;
    int status = 0;
    bool runs = true;
    while (runs || done == 0) { /* on a busy machine the resizer may be through before the first transfer is */
        if (runs) runs = waitpid(resizer, &status, WNOHANG) == 0;
        int result = transfer(&dice);
        REQUIRE(result == MILLPOND_OK || result == MILLPOND_CHANGED, "commit: %d", result);
        *(result == MILLPOND_OK ? &done : &again) += 1;
        int64_t sum = sum_of(pond);
        REQUIRE(sum == ACCOUNTS * 1000, "the sum is %lld", (long long)sum);
    }
    REQUIRE(WIFEXITED(status) && WEXITSTATUS(status) == 0, "the resizer");
    REQUIRE(sum_of(pond) == ACCOUNTS * 1000, "the sum, behind the last resize");
    printf("  %llu transfers, %llu to be made again\n", (unsigned long long)done, (unsigned long long)again);
    millpond_close(pond);
    return 0;
}

/* What an agent told holds in the file that takes the place, and what it tells afterwards goes there. */
static int the_agents_word_is_kept(void *arg) {
    (void)arg;
    struct millpond_agent told, seen;
    uint64_t bytes = 3 << 20;
    path = support_path("agent.pond");
    pond = support_create(path, 1 << 20);
    millpond_agent_look(pond, &told);
    told = (struct millpond_agent){.epoch = 4, .until_ms = told.now_ms + 60000, .stale_ms = 7};
    REQUIRE(millpond_agent_announce(pond, &told) == MILLPOND_OK, "announce");
    REQUIRE(support_wait(support_fork(resizes_often, &bytes), 60000) == 0, "the resizer");
    millpond_agent_look(pond, &seen); /* whoever opens the new file alone takes `until` away, as after a restart: that is only careful */
    REQUIRE(seen.epoch == 4 && (seen.until_ms == told.until_ms || seen.until_ms == 0), "epoch %llu, until %llu",
            (unsigned long long)seen.epoch, (unsigned long long)seen.until_ms);
    REQUIRE(support_wait(support_fork(resizes_often, &bytes), 60000) == 0, "the resizer");
    told.epoch = 5;
    REQUIRE(millpond_agent_announce(pond, &told) == MILLPOND_OK, "announce");
    struct millpond *other = support_open(path, NULL);
    millpond_agent_look(other, &seen);
    REQUIRE(seen.epoch == 5, "epoch %llu in the file that has the name", (unsigned long long)seen.epoch);
    millpond_close(other);
    millpond_close(pond);
    return 0;
}

static int several_resizers(void *arg) {
    (void)arg;
    uint64_t sizes[3] = {1 << 20, 2 << 20, 3 << 20};
    pid_t children[3];
    path = support_path("several.pond");
    pond = support_create(path, 1 << 20);
    for (uint64_t i = 0; i < 300; i++) REQUIRE(set(pond, i, 200, 0) == MILLPOND_OK, "set");
    for (int i = 0; i < 3; i++) children[i] = support_fork(resizes_often, &sizes[i]);
    for (int i = 0; i < 3; i++) REQUIRE(support_wait(children[i], 60000) == 0, "resizer %d", i);
    for (uint64_t i = 0; i < 300; i++) REQUIRE(get(pond, i) == MILLPOND_OK, "key %llu", (unsigned long long)i);
    REQUIRE(support_count_files(support_path(".")) == 1, "something is left beside the file");
    millpond_close(pond);
    support_require_whole(path);
    return 0;
}

/* ---- a rename that fails: the library's own, in the place of the C library's ---- */

static int renames_that_fail;

int rename(const char *from, const char *to) {
    if (renames_that_fail == 0) return renameat(AT_FDCWD, from, AT_FDCWD, to);
    renames_that_fail--;
    errno = EIO;
    return -1;
}

static int is(struct millpond *in, const char *expected) {
    char value[16];
    size_t bytes;
    return millpond_get(in, "k", 1, value, sizeof value, &bytes) == MILLPOND_OK && bytes == strlen(expected) &&
           memcmp(value, expected, bytes) == 0;
}

/* Readers have the new file by then: the old one may not be written again. tests/models/replace.pml, GO_ON. */
static int a_failed_rename_is_made_up_for(void *arg) {
    (void)arg;
    char errmsg[MILLPOND_ERRMSG_BYTES] = "";
    path = support_path("rename.pond");
    struct millpond_options options = MILLPOND_OPTIONS_INIT;
    options.size_bytes = 1 << 20;
    options.flags = MILLPOND_CREATE;
    options.lock_timeout_ms = 50;
    pond = support_open(path, &options);
    struct millpond *reader = support_open(path, NULL);
    REQUIRE(millpond_set(pond, "k", 1, "old", 3, 0) == MILLPOND_OK, "set");
    renames_that_fail = 1 << 30;
    REQUIRE(millpond_resize(pond, 2 << 20, errmsg) == MILLPOND_ERR_SYSTEM && strstr(errmsg, "tries again"), "resize: %s", errmsg);
    REQUIRE(is(reader, "old"), "what was in the file is lost");
    int result = millpond_set(pond, "k", 1, "new", 3, 0);
    REQUIRE(result == MILLPOND_ERR_REPLACED && is(reader, "old") && is(pond, "old"), "a write without a file to write to: %d", result);
    renames_that_fail = 1;
    REQUIRE(millpond_set(pond, "k", 1, "new", 3, 0) == MILLPOND_OK, "the write that makes up for it");
    REQUIRE(is(reader, "new") && is(pond, "new"), "a get shows what is out of date");
    REQUIRE(renames_that_fail == 0 && stats_of(reader).file_bytes == 2 << 20, "the other file has not taken its place");
    REQUIRE(support_count_files(support_path(".")) == 1, "something is left beside the file");
    millpond_close(reader);
    millpond_close(pond);
    support_require_whole(path);
    return 0;
}

static void refused(struct millpond *which, uint64_t bytes, int expected) {
    char errmsg[MILLPOND_ERRMSG_BYTES] = "";
    int result = millpond_resize(which, bytes, errmsg);
    REQUIRE(result == expected && strstr(errmsg, "; "), "expected %d, got %d: %s", expected, result, errmsg);
}

static int what_cannot_be_says_so(void *arg) {
    (void)arg;
    path = support_path("refused.pond");
    pond = support_create(path, 1 << 20);
    REQUIRE(set(pond, 1, 100, 0) == MILLPOND_OK, "set");
    uint64_t inode_before = 0;
    struct stat st;
    REQUIRE(stat(path, &st) == 0, "stat");
    inode_before = st.st_ino;
    struct millpond_options options = MILLPOND_OPTIONS_INIT;
    options.flags = MILLPOND_READONLY;
    struct millpond *reader = support_open(path, &options);
    refused(reader, 2 << 20, MILLPOND_ERR_READ_ONLY);
    millpond_close(reader);
    refused(pond, 4096, MILLPOND_ERR_ARGUMENT);
    refused(pond, 0, MILLPOND_ERR_ARGUMENT);
    refused(pond, UINT64_MAX, MILLPOND_ERR_ARGUMENT);
    const char *other = support_path("other-name.pond");
    REQUIRE(link(path, other) == 0, "link");
    refused(pond, 2 << 20, MILLPOND_ERR_NO_NAME);
    REQUIRE(unlink(other) == 0, "unlink");
    options.flags = MILLPOND_ANONYMOUS;
    struct millpond *nameless = support_open("nameless", &options);
    char errmsg[MILLPOND_ERRMSG_BYTES] = "";
    refused(nameless, 2 << 20, MILLPOND_ERR_NO_NAME);
    millpond_resize(nameless, 2 << 20, errmsg);
    REQUIRE(strstr(errmsg, "nameless: "), "which pond is not said: %s", errmsg);
    REQUIRE(millpond_follow(nameless) == MILLPOND_ERR_NO_NAME, "follow");
    millpond_close(nameless);
    REQUIRE(stat(path, &st) == 0 && st.st_ino == inode_before && get(pond, 1) == MILLPOND_OK, "a refused resize has changed something");
    REQUIRE(unlink(path) == 0, "unlink");
    refused(pond, 2 << 20, MILLPOND_ERR_NO_FILE);
    REQUIRE(get(pond, 1) == MILLPOND_OK && set(pond, 2, 100, 0) == MILLPOND_OK, "a file without a name is still a pond");
    REQUIRE(support_count_files(support_path(".")) == 0, "something is left");
    millpond_close(pond);
    return 0;
}

/* A worker that gave its rights away cannot open the new file: it says so, and harms nobody. */
static int worker_without_rights(void *arg) {
    (void)arg;
    uid_t other = 65534;
    REQUIRE(get(pond, 1) == MILLPOND_OK, "get");
    become_user(&other);
    tell(&signals[0], 1);
    await(&signals[1], 1);
    REQUIRE(get(pond, 1) == MILLPOND_MISS, "it reads what it may not open");
    REQUIRE(set(pond, 1, 100, 0) == MILLPOND_ERR_REPLACED, "it writes into the old file");
    return 0;
}

static int without_rights_there_is_no_following(void *arg) {
    (void)arg;
    if (!attempt_is_root()) return support_skip("only root can become another user");
    path = support_path("rights.pond");
    signals = support_share(2 * sizeof *signals);
    pond = support_create(path, 1 << 20);
    REQUIRE(set(pond, 1, 100, 0) == MILLPOND_OK, "set");
    pid_t worker = support_fork(worker_without_rights, NULL);
    await(&signals[0], 1);
    REQUIRE(chown(path, 65533, 65532) == 0, "chown");
    resize_to(pond, 2 << 20);
    struct stat st;
    REQUIRE(stat(path, &st) == 0 && st.st_uid == 65533 && st.st_gid == 65532, "the owner is %u", st.st_uid);
    tell(&signals[1], 1);
    REQUIRE(support_wait(worker, 20000) == 0, "the worker");
    REQUIRE(get(pond, 1) == MILLPOND_MISS, "a writer follows to a file of another user");
    REQUIRE(chown(path, 0, 0) == 0, "chown");
    support_sleep_ms(200); /* who could not open looks again after a while */
    REQUIRE(get(pond, 1) == MILLPOND_OK, "get");
    millpond_close(pond);
    return 0;
}

/* ---- deleted and made anew ---- */

static void make_anew(uint64_t bytes) {
    REQUIRE(unlink(path) == 0, "unlink");
    millpond_close(support_create(path, bytes));
}

static int a_new_file_is_followed_when_asked(void *arg) {
    (void)arg;
    path = support_path("anew.pond");
    struct millpond_options options = MILLPOND_OPTIONS_INIT;
    pond = support_create(path, 1 << 20); /* does not follow */
    options.flags = MILLPOND_FOLLOW;
    struct millpond *follower = support_open(path, &options);
    options.flags = MILLPOND_FOLLOW | MILLPOND_READONLY;
    struct millpond *reader = support_open(path, &options);
    REQUIRE(set(pond, 1, 100, 0) == MILLPOND_OK, "set");
    make_anew(2 << 20);
    REQUIRE(get(follower, 1) == MILLPOND_OK, "a hit does not look");
    support_sleep_ms(150);
    REQUIRE(get(follower, 2) == MILLPOND_MISS && get(follower, 1) == MILLPOND_MISS, "a miss does");
    REQUIRE(stats_of(follower).file_bytes == 2 << 20, "it shows the old file");
    REQUIRE(set(follower, 3, 100, 0) == MILLPOND_OK, "set");
    REQUIRE(get(reader, 3) == MILLPOND_OK, "a reader follows with a miss");
    REQUIRE(get(pond, 3) == MILLPOND_MISS && get(pond, 1) == MILLPOND_OK, "who did not ask stays");
    REQUIRE(millpond_follow(pond) == MILLPOND_OK && get(pond, 3) == MILLPOND_OK, "but goes when told");
    make_anew(3 << 20);
    support_sleep_ms(150);
    REQUIRE(set(follower, 5, 100, 0) == MILLPOND_OK && millpond_follow(pond) == MILLPOND_OK, "set");
    REQUIRE(get(pond, 5) == MILLPOND_OK, "a write looks before it writes");
    REQUIRE(unlink(path) == 0, "unlink");
    REQUIRE(millpond_follow(pond) == MILLPOND_ERR_NO_FILE && get(pond, 5) == MILLPOND_OK, "without a new one, the old one is kept");
    support_sleep_ms(150);
    REQUIRE(set(follower, 6, 100, 0) == MILLPOND_OK && get(follower, 6) == MILLPOND_OK, "also by who follows");
    REQUIRE(support_write_file(path, "no pond", 7), "write");
    REQUIRE(millpond_follow(pond) == MILLPOND_ERR_NOT_A_POND && get(pond, 5) == MILLPOND_OK, "and where the new one is none");
    millpond_close(follower);
    millpond_close(reader);
    millpond_close(pond);
    return 0;
}

int main(int argc, char **argv) {
    static const struct support_case cases[] = {
        {"everything is kept by a larger and a smaller file", everything_is_kept, 120000},
        {"a file that is too small keeps what is hot", too_small_keeps_what_is_hot, 120000},
        {"who slept moves with its next call", sleepers_move_with_their_next_call, 60000},
        {"readers never miss", readers_never_miss, 120000},
        {"views stay valid, and the old file goes with the last one", views_stay_valid, 60000},
        {"a scan shows all, also when the file is replaced under it", a_scan_shows_all, 60000},
        {"transactions and snapshots go on", transactions_go_on, 60000},
        {"the agent's word is kept", the_agents_word_is_kept, 60000},
        {"several resizers wait for each other", several_resizers, 120000},
        {"a rename that fails is made up for", a_failed_rename_is_made_up_for, 60000},
        {"what cannot be done is told, and changes nothing", what_cannot_be_says_so, 60000},
        {"owner and mode are kept, and keep out whom they did", without_rights_there_is_no_following, 60000},
        {"a file made anew is followed by who asked for it", a_new_file_is_followed_when_asked, 60000},
    };
    return support_run_cases(argc, argv, cases, sizeof cases / sizeof *cases);
}
