/* SPDX-License-Identifier: MIT */
/* The judge of concurrent histories; the rules are in oracle.h.
 *
 * Its own order (all accesses sequentially consistent): a change stores its end before it raises changes_from, and a get loads
 * changes_from before it looks at an end. A slot of `ends` goes from one set to the one ORACLE_ENDS later by an exchange of the whole
 * word; older_open is raised before the exchange and lowered once older_until covers the one that was pushed out, by whoever knows its
 * end: the set that took the slot, or, if it had not returned yet, the set that was pushed out. */

#include "oracle.h"

#define END_BITS   48
#define END_MASK   ((UINT64_C(1) << END_BITS) - 1)
#define END_FAILED END_MASK

static uint64_t load(const uint64_t *p) { return __atomic_load_n(p, __ATOMIC_SEQ_CST); }

static void add(uint64_t *p, uint64_t v) { __atomic_fetch_add(p, v, __ATOMIC_SEQ_CST); }

static void raise_to(uint64_t *p, uint64_t v) {
    uint64_t seen = load(p);
    while (seen < v && !__atomic_compare_exchange_n(p, &seen, v, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) continue;
}

static uint64_t now(const struct oracle *oracle) { return support_now_ns() - oracle->born + 1; }

static uint64_t turn_of(uint64_t sequence) { return (sequence / ORACLE_ENDS) << END_BITS; }

struct oracle *oracle_make(size_t key_count) {
    struct oracle *oracle = support_share(sizeof *oracle + key_count * sizeof oracle->keys[0]);
    oracle->key_count = key_count;
    oracle->born = support_now_ns();
    return oracle;
}

struct oracle_change oracle_set_begins(struct oracle *oracle, size_t key) {
    struct oracle_key *k = &oracle->keys[key];
    uint64_t sequence = __atomic_add_fetch(&k->next_sequence, 1, __ATOMIC_SEQ_CST);
    bool pushes = sequence > ORACLE_ENDS;
    if (pushes) add(&k->older_open, 1);
    uint64_t old = __atomic_exchange_n(&k->ends[sequence % ORACLE_ENDS], turn_of(sequence), __ATOMIC_SEQ_CST) & END_MASK;
    if (pushes && old != 0) {
        if (old != END_FAILED) raise_to(&k->older_until, old);
        add(&k->older_open, UINT64_MAX);
    }
    return (struct oracle_change){sequence, now(oracle)};
}

static void ends_at(struct oracle *oracle, size_t key, struct oracle_change change, bool stored, uint64_t moment) {
    struct oracle_key *k = &oracle->keys[key];
    uint64_t end = stored ? moment : END_FAILED, open = turn_of(change.sequence);
    if (!__atomic_compare_exchange_n(&k->ends[change.sequence % ORACLE_ENDS], &open, open | end, false, __ATOMIC_SEQ_CST,
                                     __ATOMIC_SEQ_CST)) {
        if (stored) raise_to(&k->older_until, end);
        add(&k->older_open, UINT64_MAX);
    }
    if (!stored) return;
    raise_to(&k->changes_from, change.from);
    raise_to(&k->sets_from, change.from);
}

void oracle_set_ends(struct oracle *oracle, size_t key, struct oracle_change change, bool stored) {
    ends_at(oracle, key, change, stored, now(oracle));
}

void oracle_load_ends(struct oracle *oracle, size_t key, struct oracle_change change, bool stored) {
    ends_at(oracle, key, change, stored, change.from);
}

struct oracle_change oracle_delete_begins(struct oracle *oracle, size_t key) {
    add(&oracle->keys[key].deleting, 1);
    return (struct oracle_change){0, now(oracle)};
}

void oracle_delete_ends(struct oracle *oracle, size_t key, struct oracle_change change, bool ran) {
    struct oracle_key *k = &oracle->keys[key];
    if (ran) {
        raise_to(&k->deletes_until, now(oracle));
        raise_to(&k->changes_from, change.from);
    }
    add(&k->deleting, UINT64_MAX);
}

struct oracle_get oracle_get_begins(struct oracle *oracle, size_t key) {
    struct oracle_key *k = &oracle->keys[key];
    return (struct oracle_get){load(&k->changes_from), load(&k->sets_from)};
}

const char *oracle_get_hit(struct oracle *oracle, size_t key, struct oracle_get get, uint64_t sequence) {
    struct oracle_key *k = &oracle->keys[key];
    if (sequence == 0 || sequence > load(&k->next_sequence)) return "the value was never written";
    uint64_t word = load(&k->ends[sequence % ORACLE_ENDS]), end = word & END_MASK;
    if ((word & ~END_MASK) != turn_of(sequence)) {
        uint64_t open = load(&k->older_open);
        end = open ? 0 : load(&k->older_until);
        __atomic_fetch_add(open ? &oracle->unknown : &oracle->judged, 1, __ATOMIC_RELAXED);
    } else {
        __atomic_fetch_add(&oracle->judged, 1, __ATOMIC_RELAXED);
        if (end == END_FAILED) return "the value is one whose set had failed";
    }
    if (end != 0 && get.changes_from > end) return "the value is older than a change that had returned before the get began";
    return NULL;
}

const char *oracle_get_miss(struct oracle *oracle, size_t key, struct oracle_get get) {
    struct oracle_key *k = &oracle->keys[key];
    __atomic_fetch_add(&oracle->judged, 1, __ATOMIC_RELAXED);
    if (load(&k->deleting) == 0 && get.sets_from > load(&k->deletes_until))
        return "a miss, although a set had returned and no delete followed";
    return NULL;
}
