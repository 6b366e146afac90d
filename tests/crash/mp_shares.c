/* SPDX-License-Identifier: MIT */
/* Writers under memory pressure share the instalments: whoever stores as much as the others pays as much, whatever the scheduler does.
 * Each process counts the named places that its own writes pass: an entry that leaves, and one that is copied. */

#include "crashpoint.h"
#include "support.h"

#include <stdio.h>
#include <string.h>

#define WRITERS 4
#define SETS    40000
#define HOT     2000

struct account {
    uint64_t left, copied;
} __attribute__((aligned(64)));

static struct millpond *pond;
static struct account *accounts, *mine;

static void count(const char *name) {
    if (strcmp(name, "recycle.leaving") == 0) mine->left++;
    if (strcmp(name, "recycle.copied") == 0) mine->copied++;
}

static void put(unsigned writer, uint64_t nth) {
    char key[24];
    unsigned char value[100] = {0};
    int bytes = snprintf(key, sizeof key, "%u-%llu", writer, (unsigned long long)nth);
    REQUIRE(millpond_set(pond, key, (size_t)bytes, value, sizeof value, 0) == MILLPOND_OK, "set");
}

/* Some are read on and on, so that there is something to copy. */
static void look(unsigned writer, uint64_t nth) {
    char key[24];
    unsigned char value[100];
    int bytes = snprintf(key, sizeof key, "%u-%llu", writer, (unsigned long long)nth);
    if (millpond_get(pond, key, (size_t)bytes, value, sizeof value, NULL) == MILLPOND_MISS) put(writer, nth);
}

static int write_all(void *arg) {
    unsigned writer = (unsigned)(uintptr_t)arg;
    mine = &accounts[writer];
    pond_crashpoint_hook = count;
    for (uint64_t i = 0; i < SETS; i++) {
        put(writer, HOT + i);
        look(WRITERS, i % HOT);
    }
    return 0;
}

int main(void) {
    pid_t pids[WRITERS];
    uint64_t left = 0, copied = 0;
    support_begin();
    const char *path = support_path("shares.pond");
    accounts = support_share((WRITERS + 1) * sizeof *accounts);
    struct millpond_options options = MILLPOND_OPTIONS_INIT;
    options.size_bytes = 2 << 20;
    options.shards = 1;
    options.flags = MILLPOND_CREATE;
    pond = support_open(path, &options);
    for (uint64_t i = 0; i < 40000; i++) put(WRITERS, HOT + i); /* full before they begin: who comes first does not fill it for nothing */
    for (unsigned i = 0; i < WRITERS; i++) pids[i] = support_fork(write_all, (void *)(uintptr_t)i);
    for (unsigned i = 0; i < WRITERS; i++) REQUIRE(support_wait(pids[i], 120000) == 0, "writer %u failed", i);
    for (unsigned i = 0; i < WRITERS; i++) left += accounts[i].left, copied += accounts[i].copied;
    for (unsigned i = 0; i < WRITERS; i++)
        printf("writer %u: %.1f %% of the entries that left, %.1f %% of those that were copied\n", i,
               100.0 * (double)accounts[i].left / (double)left, 100.0 * (double)accounts[i].copied / (double)copied);
    REQUIRE(left > WRITERS * SETS * 9 / 10 && copied > 1000, "%llu left, %llu were copied: too few to mean anything",
            (unsigned long long)left, (unsigned long long)copied);
    for (unsigned i = 0; i < WRITERS; i++)
        REQUIRE(accounts[i].left > left / WRITERS * 8 / 10 && accounts[i].left < left / WRITERS * 12 / 10,
                "writer %u took out %llu of %llu entries", i, (unsigned long long)accounts[i].left, (unsigned long long)left);
    millpond_close(pond);
    support_require_whole(path);
    support_end();
    return 0;
}
