/* SPDX-License-Identifier: MIT */
/* Groups among processes that are killed. Nothing is found that an invalidation which had returned has removed, nothing that was loaded
 * before one is stored behind it, and nothing else goes.
 *
 * The judge: invalidations of a group are numbered when they begin, and after they have returned the highest number is noted. A value says
 * which set stored it; after the set has returned, the highest number begun by then is noted beside it, r. A get that finds it, before
 * which number d was known to have returned, is wrong if r < d: that one began behind the set's end and ended before the get's begin.
 * A loader reads the number of its source, which is raised before the invalidation: a fetch is wrong if it gives less than d. */

#include "support.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

#define GROUPS     8u
#define KEYS       64u /* of each process and group */
#define PROCESSES  4u
#define SETS_MAX   (UINT64_C(1) << 22)
#define POND_BYTES (UINT64_C(64) << 20)

struct judged {
    uint64_t begun[GROUPS], ended[GROUPS], source[GROUPS];
    uint64_t busy[PROCESSES]; /* the group + 1 that it is invalidating */
    uint64_t sets, gets, hits, fetches, loads, must;
    uint64_t returned[SETS_MAX]; /* of each set: r + 1; 0: it has not returned */
};

struct worker {
    struct judged *judged;
    const char *path;
    uint64_t number, life;
    struct support_random random;
};

struct value {
    uint64_t set, key;
};

static uint64_t load_word(const uint64_t *p) { return __atomic_load_n(p, __ATOMIC_SEQ_CST); }
static void count(uint64_t *p) { __atomic_add_fetch(p, 1, __ATOMIC_RELAXED); }

static void raise_to(uint64_t *p, uint64_t n) {
    uint64_t was = load_word(p);
    while (was < n && !__atomic_compare_exchange_n(p, &was, n, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) continue;
}

static void name_of(char name[16], uint64_t group) { snprintf(name, 16, "group-%u", (unsigned)group); }

static void invalidate(struct worker *w, struct millpond *pond, uint64_t group) {
    char name[16];
    name_of(name, group);
    __atomic_store_n(&w->judged->busy[w->number], group + 1, __ATOMIC_SEQ_CST);
    uint64_t n = __atomic_add_fetch(&w->judged->begun[group], 1, __ATOMIC_SEQ_CST);
    raise_to(&w->judged->source[group], n);
    REQUIRE(millpond_invalidate(pond, name, strlen(name)) == MILLPOND_OK, "invalidate");
    raise_to(&w->judged->ended[group], n);
    __atomic_store_n(&w->judged->busy[w->number], 0, __ATOMIC_SEQ_CST);
}

static int key_of(char key[32], uint64_t process, uint64_t group, uint64_t number) {
    return snprintf(key, 32, "%u-%u-%u", (unsigned)process, (unsigned)group, (unsigned)number);
}

/* A set of a key of its own, and a look at it: nobody else may have taken it away but by an invalidation. */
static void set(struct worker *w, struct millpond *pond, uint64_t group) {
    char name[16], key[32], buf[64];
    struct judged *j = w->judged;
    name_of(name, group);
    struct millpond_set how = {.group = name, .group_bytes = strlen(name)};
    size_t bytes = (size_t)key_of(key, w->number, group, support_below(&w->random, KEYS));
    struct value value = {__atomic_fetch_add(&j->sets, 1, __ATOMIC_RELAXED), support_next(&w->random)}, found;
    if (value.set >= SETS_MAX) return;
    uint64_t before = load_word(&j->begun[group]), busy = 0;
    for (unsigned i = 0; i < PROCESSES; i++) busy += load_word(&j->busy[i]) == group + 1;
    REQUIRE(millpond_set_ex(pond, key, bytes, &value, sizeof value, &how) == MILLPOND_OK, "set");
    __atomic_store_n(&j->returned[value.set], load_word(&j->begun[group]) + 1, __ATOMIC_SEQ_CST);
    int result = millpond_get(pond, key, bytes, buf, sizeof buf, NULL);
    memcpy(&found, buf, sizeof found);
    REQUIRE(result != MILLPOND_OK || found.key == value.key, "another value than it just set");
    if (busy || load_word(&j->begun[group]) != before) return;
    REQUIRE(result == MILLPOND_OK, "an entry of group %u is gone, and nobody invalidated it", (unsigned)group);
    count(&j->must);
}

static void judge(struct worker *w, const struct millpond_mget *item, uint64_t group, uint64_t ended) {
    struct value found;
    count(&w->judged->gets);
    if (item->result == MILLPOND_MISS) return;
    REQUIRE(item->result == MILLPOND_OK && item->value_bytes == sizeof found, "get: %d", item->result);
    memcpy(&found, item->buf, sizeof found);
    REQUIRE(found.set < SETS_MAX, "a value that nobody set");
    uint64_t returned = load_word(&w->judged->returned[found.set]);
    REQUIRE(returned == 0 || returned - 1 >= ended, "a value of group %u that was set when %llu had begun, and %llu has ended",
            (unsigned)group, (unsigned long long)returned - 1, (unsigned long long)ended);
    count(&w->judged->hits);
}

static void get(struct worker *w, struct millpond *pond, uint64_t group) {
    char key[4][32];
    struct value bufs[4];
    struct millpond_mget items[4];
    for (size_t i = 0; i < 4; i++)
        items[i] = (struct millpond_mget){
            .key = key[i],
            .key_bytes = (size_t)key_of(key[i], support_below(&w->random, PROCESSES), group, support_below(&w->random, KEYS)),
            .buf = &bufs[i],
            .buf_bytes = sizeof bufs[i]};
    uint64_t ended = load_word(&w->judged->ended[group]);
    if (support_below(&w->random, 4) == 0)
        REQUIRE(millpond_snapshot(pond, items, 4) == MILLPOND_OK, "snapshot");
    else
        REQUIRE(millpond_mget(pond, items, 4) == MILLPOND_OK, "mget");
    for (size_t i = 0; i < 4; i++) judge(w, &items[i], group, ended);
}

struct loading {
    struct worker *w;
    uint64_t group, value;
};

static int load(void *arg, const void *key, size_t key_bytes, struct millpond_load *load) {
    struct loading *l = arg;
    (void)key, (void)key_bytes;
    l->value = load_word(&l->w->judged->source[l->group]);
    count(&l->w->judged->loads);
    if (support_below(&l->w->random, 4) == 0) support_sleep_us((unsigned)support_below(&l->w->random, 300));
    load->value = &l->value;
    load->value_bytes = sizeof l->value;
    return MILLPOND_OK;
}

static void fetch(struct worker *w, struct millpond *pond, uint64_t group) {
    char name[16], key[32];
    uint64_t value = 0;
    name_of(name, group);
    struct millpond_fetch o = {.group = name, .group_bytes = strlen(name)};
    struct loading l = {.w = w, .group = group};
    int bytes = snprintf(key, sizeof key, "loaded-%u-%u", (unsigned)group, (unsigned)support_below(&w->random, 4));
    uint64_t ended = load_word(&w->judged->ended[group]);
    int result = millpond_fetch(pond, key, (size_t)bytes, load, &l, &o, &value, sizeof value, NULL, NULL);
    REQUIRE(result == MILLPOND_OK, "fetch: %d", result);
    REQUIRE(value >= ended, "a value of group %u that was loaded at %llu, and %llu has ended", (unsigned)group, (unsigned long long)value,
            (unsigned long long)ended);
    count(&w->judged->fetches);
}

static int work(void *arg) {
    struct worker w = *(struct worker *)arg;
    w.random = support_derive(&w.random, w.life * PROCESSES + w.number);
    struct millpond *pond = support_open(w.path, NULL);
    while (load_word(&w.judged->sets) < SETS_MAX) {
        uint64_t group = support_below(&w.random, GROUPS), kind = support_below(&w.random, 64);
        if (kind == 0)
            invalidate(&w, pond, group);
        else if (kind < 20)
            set(&w, pond, group);
        else if (kind < 40)
            fetch(&w, pond, group);
        else
            get(&w, pond, group);
    }
    return 0;
}

/* `kill_every_ms` 0: nobody is killed before the end. */
static int run(unsigned milliseconds, unsigned kill_every_ms) {
    struct worker workers[PROCESSES];
    pid_t child[PROCESSES];
    const char *path = support_path("group-%u.pond", kill_every_ms);
    struct judged *judged = support_share(sizeof *judged);
    struct support_random random = support_seed("groups");
    struct millpond *pond = support_create(path, POND_BYTES);
    for (uint64_t i = 0; i < PROCESSES; i++) {
        workers[i] = (struct worker){.judged = judged, .path = path, .number = i, .random = random};
        child[i] = support_fork(work, &workers[i]);
    }
    uint64_t until_ns = support_now_ns() + (uint64_t)milliseconds * 1000000, kills = 0;
    while (support_now_ns() < until_ns) {
        support_sleep_ms(kill_every_ms ? 1 + (unsigned)support_below(&random, 2 * kill_every_ms) : milliseconds / 10);
        uint64_t i = support_below(&random, PROCESSES);
        if (!kill_every_ms) continue;
        kill(child[i], SIGKILL);
        int said = support_wait(child[i], 10000);
        REQUIRE(said == -SIGKILL || said == 0, "a worker ended with %d", said);
        judged->busy[i] = 0;
        workers[i].life++;
        child[i] = support_fork(work, &workers[i]);
        kills++;
    }
    for (uint64_t i = 0; i < PROCESSES; i++) {
        kill(child[i], SIGKILL);
        int said = support_wait(child[i], 10000);
        REQUIRE(said == -SIGKILL || said == 0, "a worker ended with %d", said);
    }
    struct millpond_stats stats;
    REQUIRE(millpond_stats(pond, -1, &stats) == MILLPOND_OK && stats.evictions == 0, "%llu were evicted",
            (unsigned long long)stats.evictions);
    millpond_close(pond);
    support_require_whole(path);
    printf("  %llu invalidations, %llu sets, %llu of %llu gets hit, %llu fetches, %llu loads, %llu had to be there, %llu kills\n",
           (unsigned long long)stats.invalidations, (unsigned long long)judged->sets, (unsigned long long)judged->hits,
           (unsigned long long)judged->gets, (unsigned long long)judged->fetches, (unsigned long long)judged->loads,
           (unsigned long long)judged->must, (unsigned long long)kills);
    REQUIRE(judged->hits && judged->must && judged->loads && stats.invalidations, "nothing was judged");
    return 0;
}

static int undisturbed(void *arg) {
    (void)arg;
    return run(2000, 0);
}

static int killed(void *arg) {
    (void)arg;
    return run(3000, 10);
}

int main(int argc, char **argv) {
    static const struct support_case cases[] = {
        {"nothing older than an invalidation is found, nothing else is gone", undisturbed, 60000},
        {"the same while processes are killed", killed, 60000},
    };
    return support_run_cases(argc, argv, cases, sizeof cases / sizeof cases[0]);
}
