/* SPDX-License-Identifier: MIT */
#ifndef MILLPOND_TESTS_LEDGER_H
#define MILLPOND_TESTS_LEDGER_H

/* What must stand in a pond, kept in memory that processes share, so that it outlives the process that was killed while it wrote.
 *
 * Every change goes through here: the change is noted as pending, the pond is called, and when the call has returned the change is a fact.
 * After a death each key must have its fact; a pending one its fact or its pending content, wholly. A key may be missing only if the pond
 * says that it evicted one. What was seen once is not taken back: an audit compares with what the audit before it saw. */

#include "crash.h"

#define LEDGER_KEYS_MAX  4096u
#define LEDGER_VALUE_MAX (64u << 10)

enum fact_kind { FACT_ABSENT = 0, FACT_VALUE = 1, FACT_NUMBER = 2 };

struct fact {
    uint32_t kind, bytes;
    uint64_t sequence; /* which of all values; every byte follows from key and sequence */
    int64_t number;
    uint64_t ttl_ms;   /* as given; 0 for ever */
    uint64_t begun_ns; /* by support_now_ns(): when it was given */
    uint64_t version;  /* 0: not known */
};

enum seen { SEEN_NOT_YET = 0, SEEN_GONE = 1, SEEN_NOW = 2, SEEN_NEXT = 3 };

struct record {
    struct fact now, next;
    uint32_t key_bytes;
    uint32_t pending;
    uint32_t seen;
    uint64_t group; /* pending: of the transaction whose changes happen all or not at all; 0 for none */
    char of;        /* the letter that names the pond's group that it was set in; 0 for none */
};

struct ledger {
    uint32_t count;
    uint32_t clearing;  /* a clear is pending: everything may be gone */
    uint32_t lingering; /* expired entries may still be counted */
    uint64_t sequence;
    uint64_t groups;    /* transactions begun */
    uint64_t evictions; /* of the pond, when the ledger began or was settled */
    struct record records[LEDGER_KEYS_MAX];
};

/* In memory that children share. */
struct ledger *ledger_make(void);
/* Copies of the part that is in use. */
struct ledger *ledger_copy(const struct ledger *ledger);
void ledger_put(struct ledger *ledger, const struct ledger *copy);

/* A new key of so many bytes, absent. */
uint32_t ledger_key(struct ledger *ledger, uint32_t key_bytes);
/* Its bytes. */
void ledger_spell(const struct ledger *ledger, uint32_t key, char text[512]);

/* Changes, each through the pond; what they must answer follows from the facts. With evictions under way only what cannot miss is used. */
void ledger_set(struct ledger *ledger, struct millpond *pond, uint32_t key, uint32_t bytes, uint64_t ttl_ms);
void ledger_set_when(struct ledger *ledger, struct millpond *pond, uint32_t key, uint32_t bytes, enum millpond_when when);
void ledger_text(struct ledger *ledger, struct millpond *pond, uint32_t key, int64_t number, uint64_t ttl_ms);
void ledger_delete(struct ledger *ledger, struct millpond *pond, uint32_t key);
void ledger_touch(struct ledger *ledger, struct millpond *pond, uint32_t key, uint64_t ttl_ms);
void ledger_incr(struct ledger *ledger, struct millpond *pond, uint32_t key, int64_t delta);
void ledger_clear(struct ledger *ledger, struct millpond *pond);
/* In the pond's group with that name, and the end of all that is in it: all at once, or not at all. */
void ledger_set_in(struct ledger *ledger, struct millpond *pond, uint32_t key, uint32_t bytes, uint64_t ttl_ms, char name);
void ledger_invalidate(struct ledger *ledger, struct millpond *pond, char name);
/* Several changes in one transaction. */
struct ledger_change {
    uint32_t key, bytes; /* bytes 0: the key goes */
    uint64_t ttl_ms;
};
void ledger_txn(struct ledger *ledger, struct millpond *pond, const struct ledger_change *changes, unsigned count);
/* The same with a grace: what ledger_expire() takes for gone may still be served as stale. */
void ledger_set_grace(struct ledger *ledger, struct millpond *pond, uint32_t key, uint32_t bytes, uint64_t ttl_ms, uint64_t grace_ms);
/* A fetch of an absent key, whose loader finds a value; or finds that there is none, which is remembered for so long. */
void ledger_fetch(struct ledger *ledger, struct millpond *pond, uint32_t key, uint32_t bytes, uint64_t ttl_ms);
/* The same; the loader does something else first. */
void ledger_fetch_behind(struct ledger *ledger, struct millpond *pond, uint32_t key, uint32_t bytes, uint64_t ttl_ms,
                         void (*first)(void *arg), void *arg);
void ledger_fetch_nothing(struct ledger *ledger, struct millpond *pond, uint32_t key, uint64_t negative_ttl_ms);
/* A new key with a value of so many bytes. */
uint32_t ledger_add(struct ledger *ledger, struct millpond *pond, uint32_t bytes);

/* A get; the answer must be the fact, or a miss if it was evicted. */
void ledger_read(const struct ledger *ledger, struct millpond *pond, uint32_t key);
/* The time of every key that has one is over. */
void ledger_expire(struct ledger *ledger);
/* Notes the versions of all values, and how many evictions there were until now. */
void ledger_learn(struct ledger *ledger, struct millpond *pond);

/* Looks at every key. `repaired`: a writer has been in every shard since the death, so nothing may be half done any more. */
struct audit {
    uint64_t present, bytes, gone, numbers; /* bytes: of keys and values, without numbers */
};
struct audit ledger_audit(struct ledger *ledger, struct millpond *pond, bool repaired);
/* What was seen is the fact from now on. */
void ledger_settle(struct ledger *ledger, struct millpond *pond);

/* One look at a key, for readers beside a writer: what it has, judged by fact and pending content alone. */
enum seen ledger_look(const struct ledger *ledger, struct millpond *pond, uint32_t key, bool repaired);

#endif
