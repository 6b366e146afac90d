/* SPDX-License-Identifier: MIT */
/* A pond in plain memory, and what must be true of one at any time. */

#include "white.h"

#include <sys/mman.h>

/* ---- making one ---- */

struct white *white_new(const struct white_shape *shape) {
    struct millpond_options options = MILLPOND_OPTIONS_INIT;
    struct white *w = calloc(1, sizeof *w);
    REQUIRE(w, "no memory");
    options.size_bytes = shape->size_bytes;
    options.max_item_bytes = shape->max_item_bytes;
    options.segment_bytes = shape->segment_bytes;
    options.shards = shape->shards ? shape->shards : 1;
    options.entry_bytes = shape->entry_bytes;
    const char *wrong = pond_layout_plan(&options, 2, &w->identity);
    REQUIRE(!wrong, "%s", wrong);
    w->identity.hash_seed = 12345;
    wrong = pond_layout_geometry(&w->identity, &w->map.geometry);
    REQUIRE(!wrong, "%s", wrong);
    void *memory = mmap(NULL, w->identity.file_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    REQUIRE(memory != MAP_FAILED, "no memory for %llu bytes", (unsigned long long)w->identity.file_bytes);
    w->map.base = memory;
    w->map.living = (struct pond_living *)(void *)(w->map.base + POND_LIVING_OFF);
    w->map.readers = (struct pond_reader *)(void *)(w->map.base + POND_READERS_OFF);
    w->map.fd = -1;
    w->map.refs = 1;
    pond_recover_format(&w->map);
    return w;
}

void white_free(struct white *w) {
    munmap(w->map.base, w->map.geometry.file_bytes);
    free(w);
}

/* ---- using it ---- */

struct pond_key white_key(const struct white *w, uint64_t key, char text[24]) {
    int n = snprintf(text, 24, "%llu", (unsigned long long)key);
    return (struct pond_key){text, (size_t)n, pond_hash(text, (size_t)n, w->map.geometry.hash_seed), NULL, 0};
}

int white_set(struct white *w, uint64_t key, const void *value, size_t value_bytes, uint64_t ttl_ms) {
    char text[24];
    struct pond_key k = white_key(w, key, text);
    struct millpond_set options = {.ttl_ms = ttl_ms};
    return pond_write_set(&w->map, 1000, &k, value, value_bytes, &options);
}

static uint64_t content_seed(uint64_t key, uint64_t version) { return key * UINT64_C(0x9E3779B97F4A7C15) + version; }

int white_put(struct white *w, uint64_t key, uint64_t version, size_t value_bytes, uint64_t ttl_ms) {
    unsigned char *value = malloc(value_bytes + 1);
    REQUIRE(value, "no memory");
    support_fill(value, value_bytes, content_seed(key, version));
    int result = white_set(w, key, value, value_bytes, ttl_ms);
    free(value);
    return result;
}

int white_expect(struct white *w, uint64_t key, uint64_t version, size_t value_bytes) {
    char text[24];
    struct pond_key k = white_key(w, key, text);
    unsigned char *value = malloc(value_bytes + 1);
    size_t bytes = 0;
    REQUIRE(value, "no memory");
    int result = pond_read_get(&w->map, &k, value, value_bytes, &bytes, NULL);
    if (result == MILLPOND_OK)
        cr_assert(bytes == value_bytes && support_matches(value, bytes, content_seed(key, version)),
                  "key %llu has another value (%zu bytes)", (unsigned long long)key, bytes);
    free(value);
    return result;
}

int white_delete(struct white *w, uint64_t key) {
    char text[24];
    struct pond_key k = white_key(w, key, text);
    return pond_write_delete(&w->map, 1000, &k);
}

uint64_t *white_pin(struct white *w, const struct pond_ref *ref) {
    struct pond_reader *slot = &w->map.readers[3];
    REQUIRE(pond_lock_try(&slot->mutex) == POND_LOCK_HELD, "the reader slot is taken");
    slot->owned = 1;
    w->map.living->reader_high = 4;
    ref->shard->views = 1;
    return &slot->pin[1];
}

/* ---- what must be true ---- */

unsigned white_walk(const struct pond_ref *ref, uint32_t segment, void (*visit)(void *arg, uint32_t where, uint64_t word), void *arg) {
    uint32_t start = pond_segment_start(ref->g, segment), tail = pond_segment_tail(ref->g, &ref->table[segment]), at = 0;
    unsigned count = 0;
    for (; at < tail; count++) {
        uint64_t word = pond_load_64((const uint64_t *)(const void *)pond_ref_at(ref, start + at));
        cr_assert(pond_word_units(word) >= 2 && pond_word_units(word) <= tail - at, "segment %u cannot be walked beyond unit %u of %u",
                  segment, at, tail);
        if (visit) visit(arg, start + at, word);
        at += pond_word_units(word);
    }
    return count;
}

void white_require_spills(const struct pond_ref *ref, int line) {
    uint32_t *spills = calloc(ref->g->bucket_count, sizeof *spills);
    REQUIRE(spills, "no memory");
    for (uint32_t b = 0; b < ref->g->bucket_count; b++)
        for (uint32_t i = 0; i < POND_BUCKET_SLOTS; i++) {
            uint64_t word = ref->buckets[b].slot[i];
            if (word & POND_SLOT_AWAY) spills[pond_other_bucket(ref->g, b, pond_slot_tag(word))]++;
        }
    for (uint32_t b = 0; b < ref->g->bucket_count; b++)
        cr_assert_eq(ref->buckets[b].spill, spills[b], "line %d: bucket %u says that %u entries are away, there are %u", line, b,
                     ref->buckets[b].spill, spills[b]);
    free(spills);
}

static void require_list(const struct pond_ref *ref, uint32_t head, uint32_t tail, uint32_t count, uint32_t state, uint32_t queue,
                         int line) {
    uint32_t link = head, last = 0, n = 0, have = 0;
    for (; link != 0; link = ref->table[link - 1].next, n++) {
        cr_assert(link <= ref->g->segment_count && n < ref->g->segment_count, "line %d: the list of queue %u is broken", line, queue);
        const struct pond_segment *s = &ref->table[link - 1];
        cr_assert_eq(pond_segment_state(s), state, "line %d: segment %u, state %u", line, link - 1, pond_segment_state(s));
        if (state == POND_SEGMENT_SEALED) {
            cr_assert_eq(pond_segment_queue(s), queue, "line %d", line);
            cr_assert_eq(s->prev, last, "line %d", line);
            cr_assert(last == 0 || ref->table[last - 1].order <= s->order, "line %d: queue %u is out of order", line, queue);
        }
        last = link;
    }
    for (uint32_t i = 0; i < ref->g->segment_count; i++) {
        const struct pond_segment *s = &ref->table[i];
        have += pond_segment_state(s) == state && (state == POND_SEGMENT_FREE || pond_segment_queue(s) == queue);
    }
    cr_assert(n == have && n == count, "line %d: queue %u, state %u: %u in the list, %u in that state, %u counted", line, queue, state, n,
              have, count);
    if (state == POND_SEGMENT_SEALED) cr_assert_eq(last, tail, "line %d", line);
}

void white_require_lists(const struct pond_ref *ref, int line) {
    const struct pond_shard *shard = ref->shard;
    for (uint32_t q = 0; q < POND_QUEUES; q++)
        require_list(ref, shard->queue_head[q], shard->queue_tail[q], shard->queue_count[q], POND_SEGMENT_SEALED, q, line);
    require_list(ref, shard->free_head, 0, shard->free_count, POND_SEGMENT_FREE, 0, line);
    unsigned open = 0, victims = 0, named = 0;
    for (uint32_t i = 0; i < ref->g->segment_count; i++) {
        open += pond_segment_state(&ref->table[i]) == POND_SEGMENT_OPEN;
        victims += pond_segment_state(&ref->table[i]) == POND_SEGMENT_VICTIM;
    }
    for (uint32_t q = 0; q < POND_QUEUES; q++)
        for (uint32_t k = 0; k < POND_TTL_CLASSES; k++) {
            uint32_t link = shard->open[q][k];
            if (link == 0) continue;
            named++;
            cr_assert_eq(ref->table[link - 1].state, pond_segment_word(POND_SEGMENT_OPEN, q, k), "line %d: open[%u][%u]", line, q, k);
        }
    cr_assert_eq(open, named, "line %d: %u segments are open, %u are named as open", line, open, named);
    cr_assert_eq(victims, shard->walk.victim != 0, "line %d: %u victims", line, victims);
}

static void require_entry(const struct pond_ref *ref, const struct pond_spot *spot, int line) {
    uint32_t where = pond_slot_where(spot->word);
    struct pond_decoded d;
    cr_assert(pond_where_valid(ref->g, where), "line %d: slot %u of bucket %u points nowhere", line, spot->slot, spot->bucket);
    const struct pond_segment *s = &ref->table[pond_segment_of(ref->g, where)];
    cr_assert_neq(pond_segment_state(s), POND_SEGMENT_FREE, "line %d: a slot names an entry in a free segment", line);
    const unsigned char *at = pond_ref_at(ref, where);
    cr_assert(pond_entry_decode(at, pond_units_left(ref->g, where), &d), "line %d: a slot names no entry", line);
    cr_assert(!(d.flags & (POND_ENTRY_DEAD | POND_ENTRY_HOLE | POND_ENTRY_CHUNK)), "line %d: a slot names what does not live (flags %u)",
              line, d.flags);
    uint64_t hash = pond_hash(at + d.key_off, d.key_bytes, ref->g->hash_seed);
    struct pond_place place = pond_place_of(ref->g, hash);
    cr_assert(place.tag == pond_slot_tag(spot->word) && spot->bucket == (spot->word & POND_SLOT_AWAY ? place.other : place.home),
              "line %d: an entry in a bucket or with a tag that are not its key's", line);
    cr_assert(pond_entry_intact(at, &d, hash), "line %d: an entry with a wrong check", line);
    cr_assert(!(d.flags & POND_ENTRY_TTL) || s->expiry_max_ms == UINT64_MAX || s->expiry_max_ms >= pond_entry_end_ms(d.expiry),
              "line %d: an entry outlives its segment", line);
}

void white_require_whole_at(const struct pond_ref *ref, int line) {
    uint64_t items = 0;
    unsigned char *named = calloc(ref->g->end_unit, 1);
    REQUIRE(named, "no memory");
    for (uint32_t b = 0; b < ref->g->bucket_count; b++)
        for (uint32_t i = 0; i < POND_BUCKET_SLOTS; i++) {
            struct pond_spot spot = {b, i, ref->buckets[b].slot[i]};
            if (spot.word == 0) continue;
            require_entry(ref, &spot, line);
            cr_assert(!named[pond_slot_where(spot.word)]++, "line %d: two slots name one entry", line);
            items++;
        }
    free(named);
    cr_assert_eq(ref->shard->items, items, "line %d: %llu items are counted, %llu are there", line, (unsigned long long)ref->shard->items,
                 (unsigned long long)items);
    cr_assert_eq(ref->shard->intent.kind, POND_INTENT_NONE, "line %d: an intent stands", line);
    for (uint32_t i = 0; i < ref->g->segment_count; i++)
        if (pond_segment_state(&ref->table[i]) != POND_SEGMENT_FREE) white_walk(ref, i, NULL, NULL);
    white_require_spills(ref, line);
    white_require_lists(ref, line);
}
