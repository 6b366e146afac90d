/* SPDX-License-Identifier: MIT */
/* A reader that is stopped behind any instruction of a get while others write, die and repair beside it.
 *
 * What a get may answer: the content from before it was stopped, or the one from when it went on; a miss only where the key was deleted. In
 * particular not: bytes that were reused meanwhile, which is what the bucket's version, and its raising by whoever repairs, are there for.
 */

#include "beside.h"

#include "brink.h"
#include "index.h"
#include "step.h"
#include "survive.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct beside {
    struct ground ground;
    struct ledger *ledger;
    uint32_t key;                    /* what the reader gets */
    void (*others)(struct beside *); /* in children of their own: what happens while the reader is stopped */
    const struct scenario *scenario; /* for others */
    const char *dies_at;
    uint32_t old_where;              /* of the bytes that are to be reused */
    unsigned telling, telling_tried; /* how often only the one who repairs has raised the version of the key's bucket */
};

static struct {
    int result;
    size_t bytes;
    unsigned char value[LEDGER_VALUE_MAX];
} * answer; /* shared */

/* ---- the reader ---- */

static struct {
    struct millpond *pond;
    char text[512];
    size_t bytes;
} reader;

static void begin_reading(void *arg) {
    struct beside *b = arg;
    reader.pond = support_open(b->ground.path, NULL);
    ledger_spell(b->ledger, b->key, reader.text);
    reader.bytes = b->ledger->records[b->key].key_bytes;
    millpond_get(reader.pond, "warm", 4, answer->value, sizeof answer->value, &answer->bytes);
}

static void read_key(void *arg) {
    (void)arg;
    answer->result = millpond_get(reader.pond, reader.text, reader.bytes, answer->value, sizeof answer->value, &answer->bytes);
}

/* ---- the others ---- */

static int overwrite_key(void *arg) {
    struct beside *b = arg;
    struct millpond *pond = support_open(b->ground.path, NULL);
    uint32_t bytes = b->ledger->records[b->key].now.bytes;
    for (int i = 0; i < 2; i++) {
        ledger_set(b->ledger, pond, b->key, bytes, 0);
        ledger_add(b->ledger, pond, bytes); /* into the hole */
    }
    millpond_close(pond);
    return 0;
}

static int delete_key(void *arg) {
    struct beside *b = arg;
    struct millpond *pond = support_open(b->ground.path, NULL);
    uint32_t bytes = b->ledger->records[b->key].now.bytes;
    ledger_delete(b->ledger, pond, b->key);
    for (int i = 0; i < 3; i++) ledger_add(b->ledger, pond, bytes);
    millpond_close(pond);
    return 0;
}

static int increment_key(void *arg) {
    struct beside *b = arg;
    struct millpond *pond = support_open(b->ground.path, NULL);
    ledger_incr(b->ledger, pond, b->key, 1000000007);
    millpond_close(pond);
    return 0;
}

static void all_overwrite(struct beside *b) { crash_run(overwrite_key, b, "the one that overwrites"); }
static void all_delete(struct beside *b) { crash_run(delete_key, b, "the one that deletes"); }
static void all_increment(struct beside *b) { crash_run(increment_key, b, "the one that increments"); }

static void arm(void *arg) {
    const struct beside *b = arg;
    if (b->dies_at) crash_at(crash_name_number(b->dies_at), 1, SIGKILL);
}

static int act(void *arg) {
    struct beside *b = arg;
    scenario_act(b->scenario, &b->ground, b->ledger, arm, b);
    return 0;
}

static int overwrite_and_die(void *arg) {
    struct beside *b = arg;
    struct millpond *pond = support_open(b->ground.path, NULL);
    arm(b);
    ledger_set(b->ledger, pond, b->key, b->ledger->records[b->key].now.bytes + 8, 0);
    return 0;
}

static struct pond_place place_of(const struct beside *b, uint32_t key) {
    char text[512];
    ledger_spell(b->ledger, key, text);
    return pond_place_of(&b->ground.map.geometry, pond_hash(text, b->ledger->records[key].key_bytes, b->ground.map.geometry.hash_seed));
}

/* The slot that names a key, by its tag; 0 when there is none. */
static uint64_t slot_word(struct beside *b, uint32_t key, uint32_t *bucket) {
    struct pond_ref ref = ground_shard(&b->ground, 0);
    struct pond_place place = place_of(b, key);
    for (unsigned i = 0; i < 2 * POND_BUCKET_SLOTS; i++) {
        bool away = i >= POND_BUCKET_SLOTS;
        *bucket = away ? place.other : place.home;
        uint64_t word = ref.buckets[*bucket].slot[i % POND_BUCKET_SLOTS];
        if (word != 0 && word >> 32 == (place.tag | (away ? POND_SLOT_AWAY >> 32 : 0))) return word;
    }
    return 0;
}

static bool strangers(const struct pond_place *a, const struct pond_place *b) {
    return a->home != b->home && a->home != b->other && a->other != b->home && a->other != b->other;
}

/* A new key that lives in none of the two buckets of b->key. */
static uint32_t stranger(struct beside *b) {
    struct pond_place mine = place_of(b, b->key), place;
    uint32_t key;
    do {
        key = ledger_key(b->ledger, 14);
        place = place_of(b, key);
    } while (!strangers(&mine, &place));
    return key;
}

/* A key of the first segment that shares its buckets with no other: whoever repairs is then the only one who raises their versions. */
static bool find_lonely(struct beside *b) {
    for (b->key = 0; b->key < 5; b->key++) {
        struct pond_place mine = place_of(b, b->key);
        uint32_t other = 0;
        for (; other < b->ledger->count; other++) {
            struct pond_place place = place_of(b, other);
            if (other != b->key && !strangers(&mine, &place)) break;
        }
        if (other == b->ledger->count) return true;
    }
    return false;
}

/* Repairs, and writes until the segment in which the key's old bytes lay has been recycled and filled again. */
static int repair_and_reuse(void *arg) {
    struct beside *b = arg;
    struct pond_ref ref = ground_shard(&b->ground, 0);
    struct millpond *pond = support_open(b->ground.path, NULL);
    uint32_t where = b->old_where;
    struct pond_segment *segment = &ref.table[(where - ref.g->first_unit) / ref.g->segment_units];
    uint32_t epoch = segment->epoch, offset = (where - ref.g->first_unit) % ref.g->segment_units;
    int left = 400;
    while ((segment->epoch == epoch || segment->state == POND_SEGMENT_FREE || segment->tail_units < offset + 20) && left-- > 0)
        ledger_set(b->ledger, pond, stranger(b), 300, 0);
    CHECK(left >= 0, "the old bytes were not reused");
    millpond_close(pond);
    return 0;
}

static void kill_and_reuse(struct beside *b) {
    uint32_t bucket;
    b->old_where = pond_slot_where(slot_word(b, b->key, &bucket));
    const uint32_t *version = &ground_shard(&b->ground, 0).buckets[bucket].version;
    crash_expect(support_fork(overwrite_and_die, b), SIGKILL, "the one that dies");
    uint32_t left = *version;
    crash_run(repair_and_reuse, b, "the one that repairs");
    b->telling += *version == left + 1;
    b->telling_tried++;
}

static void move_key(struct beside *b) {
    struct survival survival = {.ground = &b->ground, .ledger = b->ledger};
    crash_expect(support_fork(act, b), b->dies_at ? SIGKILL : 0, "the one that moves");
    crash_expect(survive_fork_writer(&survival, NULL, NULL), 0, "the one that repairs");
}

static void move_and_overwrite(struct beside *b) {
    move_key(b);
    crash_run(overwrite_key, b, "the one that overwrites");
}

/* ---- judging ---- */

static bool is(const struct fact *fact, uint32_t key) {
    uint64_t sequence;
    if (answer->result == MILLPOND_MISS) return fact->kind == FACT_ABSENT;
    if (answer->result != MILLPOND_OK || fact->kind == FACT_ABSENT) return false;
    if (fact->kind == FACT_NUMBER) {
        char text[32];
        int n = snprintf(text, sizeof text, "%lld", (long long)fact->number);
        return answer->bytes == (size_t)n && memcmp(answer->value, text, answer->bytes) == 0;
    }
    return answer->bytes == fact->bytes && !support_value_read(answer->value, answer->bytes, key, &sequence) && sequence == fact->sequence;
}

static void judge(const struct beside *b, const struct fact *before) {
    const struct record *record = &b->ledger->records[b->key];
    if (is(before, b->key) || is(&record->now, b->key) || (record->pending && is(&record->next, b->key))) {
        crash_count();
        return;
    }
    uint64_t sequence = 0;
    const char *wrong = answer->result == MILLPOND_OK ? support_value_read(answer->value, answer->bytes, b->key, &sequence) : NULL;
    CHECK(false, "the reader was told: %s, %zu bytes, value number %llu%s%s; before it was stopped it was number %llu, and then %llu",
          millpond_strerror(answer->result), answer->bytes, (unsigned long long)sequence, wrong ? "; " : "", wrong ? wrong : "",
          (unsigned long long)before->sequence, (unsigned long long)record->now.sequence);
}

static void run_beside(const char *what, struct beside *b, unsigned most, struct support_random *dice, unsigned *drifted) {
    struct action action = {begin_reading, read_key, b};
    struct ledger *facts = ledger_copy(b->ledger);
    struct trace trace;
    unsigned stops = 0;
    if (CRASH_SLOW) most = most / 8 + 1;
    crash_trying("%s: a get, stepped through", what);
    ground_put_back(&b->ground);
    ground_occupy(&b->ground, true);
    step_record(&action, &b->ground, &trace);
    judge(b, &facts->records[b->key].now);
    for (size_t steps = 1; steps < trace.count; steps++) {
        if (support_below(dice, trace.count) >= most) continue;
        stops++;
        ground_put_back(&b->ground);
        ledger_put(b->ledger, facts);
        memset(answer, 0, sizeof *answer);
        crash_trying("%s while a get is stopped at step %zu of %zu (before address 0x%llx of the program)", what, steps, trace.count,
                     (unsigned long long)step_place(&trace, steps));
        pid_t child = step_to(&action, &trace, steps, drifted);
        if (child == 0) continue;
        b->others(b);
        step_release(child);
        crash_expect(child, 0, "the reader that went on");
        judge(b, &facts->records[b->key].now);
    }
    printf("  %-68s %6zu steps, %4u stops\n", what, trace.count, stops);
    step_forget(&trace);
    ground_put_back(&b->ground);
    ledger_put(b->ledger, facts);
    free(facts);
}

/* ---- the situations ---- */

static void prepare_few(struct ledger *ledger, struct millpond *pond) {
    for (int i = 0; i < 12; i++) ledger_add(ledger, pond, 300);
    ledger_incr(ledger, pond, ledger_key(ledger, 12), 5);
    ledger_add(ledger, pond, 3000); /* in chunks */
}

static const struct {
    const char *what;
    uint32_t key;
    void (*others)(struct beside *);
    const char *dies_at;
} plain[] = {
    {"a value is overwritten, its bytes reused,", 0, all_overwrite, NULL},
    {"a value in chunks is overwritten, its bytes reused,", 13, all_overwrite, NULL},
    {"a value is deleted, its bytes reused,", 1, all_delete, NULL},
    {"a value in chunks is deleted, its bytes reused,", 13, all_delete, NULL},
    {"a counter is incremented", 12, all_increment, NULL},
    {"a writer dies behind the slot's store, others repair and reuse,", 0, kill_and_reuse, "index.slot_stored"},
    {"a writer dies behind the counts, others repair and reuse,", 0, kill_and_reuse, "index.counted"},
};

static const struct {
    const char *what;
    void (*others)(struct beside *);
    const char *dies_at;
} moving[] = {
    {"an entry is moved", move_key, NULL},
    {"an entry is moved, overwritten, its bytes reused,", move_and_overwrite, NULL},
    {"an entry is at both places when the mover dies; others repair,", move_key, "move.stored"},
    {"the same, then it is overwritten, its bytes reused,", move_and_overwrite, "move.home_raised"},
    {"an entry has left its old place when the mover dies; others repair,", move_and_overwrite, "move.cleared"},
};

/* The key that one more act moves to its other bucket, in this direction. */
static bool find_moved(struct beside *b, bool homeward) {
    uint32_t count = b->ledger->count, before[LEDGER_KEYS_MAX], bucket;
    struct ledger *facts = ledger_copy(b->ledger);
    for (uint32_t key = 0; key < count; key++) before[key] = slot_word(b, key, &bucket) ? bucket : UINT32_MAX;
    crash_run(act, b, "the one that moves");
    for (b->key = 0; b->key < count; b->key++)
        if (before[b->key] != UINT32_MAX && slot_word(b, b->key, &bucket) && bucket != before[b->key]) break;
    bool found = b->key < count && (bucket == place_of(b, b->key).home) == homeward;
    ground_put_back(&b->ground);
    ledger_put(b->ledger, facts);
    free(facts);
    return found;
}

static void beside_moves(bool homeward, unsigned most, struct support_random *dice, unsigned *drifted) {
    struct scenario one_set = brink_scenario(&brinks[0]);
    struct beside b = {.ledger = ledger_make(), .scenario = &one_set};
    scenario_ground(b.scenario, "beside.pond", 0, &b.ground, b.ledger);
    brink_find(&brinks[0], b.scenario, &b.ground, b.ledger);
    for (unsigned tries = 0; !find_moved(&b, homeward); tries++) {
        CHECK(tries < 100, "in %u moves none was %s", tries, homeward ? "homeward" : "away from home");
        crash_run(act, &b, "the one that moves");
        brink_find(&brinks[0], b.scenario, &b.ground, b.ledger);
    }
    printf("  moves %s:\n", homeward ? "homeward" : "away from home");
    for (size_t i = 0; i < sizeof moving / sizeof *moving; i++) {
        b.others = moving[i].others;
        b.dies_at = moving[i].dies_at;
        /* A window of some instructions: between the look into the home, where it is not yet, and the one into the other bucket. */
        bool narrow = homeward && b.dies_at && strcmp(b.dies_at, "move.stored") == 0;
        run_beside(moving[i].what, &b, narrow ? UINT_MAX : most, dice, drifted);
        b.dies_at = NULL;
    }
    ground_forget(&b.ground);
}

void beside_all(bool thorough, struct support_random *dice, unsigned *drifted) {
    struct scenario few = {"beside a reader", .size_bytes = 64 << 10, .segment_bytes = 2048, .prepare = prepare_few};
    unsigned most = thorough ? UINT_MAX : 40;
    answer = support_share(sizeof *answer);
    for (size_t i = 0; i < sizeof plain / sizeof *plain; i++) {
        struct beside b = {.ledger = ledger_make(), .key = plain[i].key, .others = plain[i].others, .dies_at = plain[i].dies_at};
        scenario_ground(&few, "beside.pond", 0, &b.ground, b.ledger);
        while (b.dies_at && !find_lonely(&b)) {
            ground_forget(&b.ground);
            scenario_ground(&few, "beside.pond", 0, &b.ground, b.ledger);
        }
        run_beside(plain[i].what, &b, most, dice, drifted);
        CHECK(b.telling * 2 >= b.telling_tried, "in %u of %u deaths others raised the version, too", b.telling_tried - b.telling,
              b.telling_tried);
        ground_forget(&b.ground);
    }
    beside_moves(false, thorough ? UINT_MAX : 50, dice, drifted);
    beside_moves(true, thorough ? UINT_MAX : 50, dice, drifted);
}
