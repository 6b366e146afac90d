/* SPDX-License-Identifier: MIT */
#ifndef POND_LAYOUT_H
#define POND_LAYOUT_H

/* The format of the file, version 3: every byte of it, who writes it and under which lock.
 *
 *   0        identity      written once, at creation; then only read. Has a checksum.
 *   4096     living page   what changes in the life of the file as a whole
 *   8192     reader slots  256 bytes each, one for each thread that uses the file
 *   ...      flights       128 bytes each, an equal part for each shard: keys that somebody is loading
 *   ...      groups        8 bytes each, a power of two: generations of groups of entries
 *   ...      shard 0, shard 1, ...   each page-aligned, all of the same size
 *
 *   shard:   header (8192) | segment table (64 each) | buckets (64 each) | ghost buckets (32 each) | segments
 *
 *   bucket (one cache line):   slot 0 .. slot 6 (8 bytes each) | version (4) | hits (2) | spill (2)
 *   slot:    bits 0..31 where, in 8-byte units from the start of the shard, 0 for an empty slot
 *            bits 32..62 tag, bits of the key's hash      bit 63 away: this is the key's other bucket, not its home
 *   segment: entries one behind the other up to the committed tail; recycled as a whole
 *   entry:   word 0 (8) | expiry (8, if POND_ENTRY_TTL) | sequence (4) | wide (4, if POND_ENTRY_WIDE) | key | value | slack to its
 *   allotted size, of which the last 8 bytes are the stamp of its group, if POND_ENTRY_GROUP
 *
 * A key has two buckets, its home and its other one. An entry goes to its home if that has room, else to the other; the home counts in
 * `spill` how many of its entries live elsewhere, so that a lookup whose home has spill 0 touches one line only.
 *
 * Offsets, no pointers: every process maps where it likes. All integers are little-endian as the machine's; the identity refuses others.
 *
 *   field                     written by                         read by
 *   identity                  the creator, before the link       everybody
 *   living.*                  openers under the file lock,       everybody
 *                             clock and marks: see there
 *   reader slot               its owner (robust mutex inside)    statistics: anybody; pins: recyclers
 *   flight                    holder of the shard's mutex;       everybody who waits for it, by its token (flight.c)
 *                             its own mutex: who leads it
 *   group                     holders of any shard's mutex, by    everybody: does an entry live? (group.c)
 *                             atomic addition
 *   shard.mutex .. holes      holder of shard.mutex              statistics: anybody, by single loads
 *   segment descriptor        holder of shard.mutex              views: epoch
 *   slot, version, spill      holder of shard.mutex              readers, by the protocol at the top of read.c
 *   hits                      anybody, relaxed; a hint           recycler
 *   redo.decision             holder of its shard's mutex        also the recoverer of another shard (redo.c)
 *   entry                     holder of shard.mutex, before a    readers, validated by the bucket's version
 *                             slot points to it; afterwards only
 *                             the dead mark, the expiry (touch)
 *                             and a counter's 8 bytes change, by
 *                             single aligned stores
 *   ghosts, small_share       holder of shard.mutex              the same; hints */

#include <assert.h>
#include <pthread.h>
#include <stddef.h>
#include <stdint.h>

#define POND_FORMAT_VERSION 3u /* 3: groups */
#define POND_MAGIC          "millpond cache\r\n"
#define POND_BYTE_ORDER     0x01020304u
#define POND_PAGE_BYTES     4096u
#define POND_UNIT_BYTES     8u

enum { POND_LIBC_GLIBC = 1, POND_LIBC_MUSL = 2 };
#ifdef __GLIBC__
#define POND_LIBC POND_LIBC_GLIBC
#else
#define POND_LIBC POND_LIBC_MUSL
#endif

/* Bounds of a pond. */
#define POND_FILE_BYTES_MIN    (UINT64_C(64) << 10)
#define POND_FILE_BYTES_MAX    (UINT64_C(4) << 40)
#define POND_SHARD_BYTES_MAX   (UINT64_C(32) << 30)
#define POND_SHARDS_MAX        256u
#define POND_SEGMENT_BYTES_MIN 512u
#define POND_SEGMENT_BYTES_MAX (64u << 20)
#define POND_SEGMENTS_MIN      8u
#define POND_PIECE_BYTES_MAX   (1u << 20) /* larger entries are stored in chunks of at most this, or of a quarter of a segment */
#define POND_TTL_MS_MAX        (UINT64_C(100) * 366 * 86400 * 1000)
#define POND_LOAD_MS_MAX       (UINT64_C(24) * 3600 * 1000)

/* ---- identity: page 0 ---- */

struct pond_identity {
    char magic[16];
    uint32_t format_version; /* at byte 16, for ever: an older or newer program reads magic and version first */
    uint32_t byte_order;
    uint32_t word_bytes;  /* sizeof(void *) */
    uint32_t mutex_bytes; /* sizeof(pthread_mutex_t) */
    uint32_t libc;        /* POND_LIBC_* : a mutex of one libc means nothing to another */
    uint32_t flags;       /* POND_FILE_* */
    uint64_t file_bytes;
    uint64_t creation; /* random: tells a file from one that replaced it under the same name */
    uint64_t hash_seed;
    uint64_t max_item_bytes;
    uint64_t shard_bytes;
    uint32_t shard_count; /* a power of two */
    uint32_t reader_count;
    uint32_t segment_bytes;
    uint32_t segment_count; /* of each shard */
    uint32_t bucket_count;  /* of each shard */
    uint32_t ghost_count;   /* of each shard: ghost buckets of POND_GHOST_WAYS */
    uint32_t mode;          /* permission bits asked for at creation */
    uint32_t flight_count;  /* a multiple of shard_count; 0: none */
    uint32_t group_count;   /* a power of two, POND_GROUPS_MIN to POND_GROUPS_MAX */
    uint32_t spare;
    uint64_t checksum; /* of all that precedes, seed 0 */
};
static_assert(offsetof(struct pond_identity, format_version) == 16, "the version stands at byte 16 in every format");
static_assert(sizeof(struct pond_identity) == 128, "identity");

enum { POND_FILE_NAMESPACES = 1 << 0, POND_FILE_HUGEPAGES = 1 << 1 };

/* ---- living page: byte 4096 ---- */

/* Is it the file that its name leads to? (resize.c) */
enum pond_replaced {
    POND_IN_PLACE = 0,
    POND_REPLACED = 1, /* never written again: another file, with all that this one had, is there or about to be */
    POND_COMING = 2    /* that other file: read, but not written until it has the name */
};

struct pond_living {
    /* Written by openers that hold the file lock on byte 0. */
    char boot_id[40];       /* of the boot in which the mutexes were made */
    uint64_t device, inode; /* of this file; a copy has others, and its mutexes mean nothing */
    uint64_t pid_namespace; /* inode of the PID namespace whose thread numbers stand in the mutexes */
    uint64_t warm_starts, cold_starts;
    char pad0[48];
    /* Two marks, which a writer looks at by one load when it has got a mutex (enter.c). */
    union {
        struct {
            /* 1 after a sync until the next write. Set by sync, cleared by the first write behind it, on the disk before that write. */
            uint32_t clean;
            uint32_t replaced; /* enum pond_replaced: by a resize; changed under all mutexes of the file that it replaces */
        };
        uint64_t marks;
    };
    uint64_t successor; /* creation of the file that a resize made last: its name until it is in place follows from it */
    /* What the file's agent last told (agent.c); an opener that is alone resets until. */
    uint64_t agent_epoch, agent_until_ms, agent_stale_ms;
    char pad1[24];
    /* The file's clock (expire.c): any writer, by compare-and-swap. */
    uint64_t clock_high_ms; /* the latest time that any process has acted on */
    uint64_t clock_skew_ms; /* added to the system's clock by everybody; grows when that is set back */
    char pad2[48];
    /* Reader slots. */
    uint32_t reader_high; /* slots from here on were never used */
    uint32_t pad3;
    /* Counted by threads for which no reader slot was free: by atomic addition. */
    uint64_t spare_hits, spare_misses, spare_retries, spare_gave_up;
    char pad4[24];
};
static_assert(sizeof(struct pond_living) == 320, "living page");
static_assert(offsetof(struct pond_living, clean) % 64 == 0, "marks on a line of their own");
static_assert(offsetof(struct pond_living, clock_high_ms) % 64 == 0, "clock on a line of its own");
static_assert(offsetof(struct pond_living, reader_high) % 64 == 0, "readers on a line of their own");

/* ---- reader slots ---- */

#define POND_READER_PINS 17u

struct pond_reader {
    pthread_mutex_t mutex;                   /* robust: held by the owning thread as long as it owns the slot */
    uint32_t owned;                          /* 1 from claim to release; a dead owner's until somebody takes the slot over */
    char pad[52 - sizeof(pthread_mutex_t)];  /* 40 bytes on x86-64, 48 on aarch64 */
    uint64_t pin[POND_READER_PINS];          /* shard << 32 | segment + 1, or 0 */
    uint64_t hits, misses, retries, gave_up; /* written by the owner only; they outlive it */
    uint32_t claims;                         /* owners so far: tells one from the next */
    char pad2[28];
};
static_assert(sizeof(struct pond_reader) == 256, "reader slots are four lines");
static_assert(offsetof(struct pond_reader, hits) % 64 == 0, "counters on their own line: recyclers read the pins");

/* ---- flights (flight.c) ---- */

enum pond_flight_state {
    POND_FLIGHT_FREE = 0,
    POND_FLIGHT_LED = 1,     /* by the thread that holds the mutex */
    POND_FLIGHT_LEASED = 2,  /* by whoever has the token; the mutex is free */
    POND_FLIGHT_REVOKED = 3, /* led or leased still, but what it loads is out of date: for newcomers it is not there */
    POND_FLIGHT_CARRIED = 4  /* begun in a file that this one has replaced, and led or leased there still; the mutex is free */
};

struct pond_flight {
    union {
        pthread_mutex_t mutex; /* robust: held by the thread that leads */
        char room[48];
    };
    uint64_t hash;   /* of the key */
    uint64_t origin; /* of a carried flight: what its leader knows it by (pond_flight_origin); else 0 */
    uint32_t state;
    uint32_t turn;          /* raised when the flight ends or is revoked: sleepers wait on it (futex) */
    uint32_t home, tag;     /* of the key (struct pond_place) */
    uint64_t token;         /* of this flight, or of the last one; a shard never gives one twice */
    uint64_t deadline_ms;   /* by the file's clock: given up by the others then */
    uint64_t begun_ms;      /* by the file's clock */
    uint32_t holder;        /* of a lease: reader slot + 1 of the thread with which it ends; led, carried: number of that thread; 0: it
                             * ends at the deadline alone */
    uint32_t holder_claims; /* ... and how many owners that slot had had; carried: when that thread was born */
    uint32_t outcome;       /* of the last flight, for those who waited: enum pond_flight_outcome in flight.h */
    uint32_t said;          /* ... what its loader returned */
    uint32_t sleepers;      /* 1: somebody may be waiting on `turn` */
    uint32_t queue;         /* a hint: callers at the mutex, or killed there */
};
static_assert(sizeof(struct pond_flight) == 128, "flights are two lines");
static_assert(offsetof(struct pond_flight, state) == 64, "the mutex has a line of its own");

/* ---- groups (group.c) ---- */

/* A word for each, of which the low POND_GENERATION_BITS count: the generation of the groups whose number ends in the word's index. 0:
 * nothing was stored in any of them since the file was made. */
#define POND_GROUPS_MIN      16u
#define POND_GROUPS_MAX      65536u
#define POND_GENERATION_BITS 48
#define POND_GENERATION_MASK ((UINT64_C(1) << POND_GENERATION_BITS) - 1)

/* The stamp of an entry: bits 0..15 number of its group, from 1 on | 16..63 the group's generation when it was set. */
#define POND_STAMP_BYTES 8u
static inline uint32_t pond_stamp_number(uint64_t stamp) { return (uint32_t)(stamp & (POND_GROUPS_MAX - 1)); }
static inline uint64_t pond_stamp_generation(uint64_t stamp) { return stamp >> (64 - POND_GENERATION_BITS); }
static inline uint64_t pond_stamp_make(uint32_t number, uint64_t generation) { return number | generation << (64 - POND_GENERATION_BITS); }

/* ---- index ---- */

#define POND_BUCKET_SLOTS 7u

struct pond_bucket {
    uint64_t slot[POND_BUCKET_SLOTS];
    uint32_t version; /* raised by every change of a slot, before the bytes that the old slot named may be reused */
    uint16_t hits;    /* 2 bits for each slot: how often it was read, saturating at 3 */
    uint16_t spill;   /* entries whose home this is and that live in their other bucket */
};
static_assert(sizeof(struct pond_bucket) == 64, "a bucket is a cache line");

#define POND_SLOT_AWAY (UINT64_C(1) << 63)
#define POND_TAG_MASK  UINT64_C(0x7fffffff)

static inline uint32_t pond_slot_where(uint64_t slot) { return (uint32_t)slot; }
static inline uint32_t pond_slot_tag(uint64_t slot) { return (uint32_t)((slot >> 32) & POND_TAG_MASK); }
static inline uint64_t pond_slot_make(uint32_t tag, int away, uint32_t where) {
    return ((uint64_t)tag << 32) | where | (away ? POND_SLOT_AWAY : 0);
}

/* ---- segments ---- */

enum pond_segment_state { POND_SEGMENT_FREE = 0, POND_SEGMENT_OPEN = 1, POND_SEGMENT_SEALED = 2, POND_SEGMENT_VICTIM = 3 };
enum pond_queue { POND_SMALL = 0, POND_MAIN = 1, POND_QUEUES = 2 };
#define POND_TTL_CLASSES 5u /* 0: for ever; 1 to 4: by factors of four */

struct pond_segment {
    uint32_t state;           /* one word, one store: state | queue << 8 | TTL class << 16 */
    uint32_t epoch;           /* raised when the segment is recycled */
    uint64_t order;           /* when it was sealed or relinked: the place in its queue */
    uint64_t expiry_max_ms;   /* no entry lives longer than this; UINT64_MAX when one lives for ever */
    uint32_t tail_units;      /* committed */
    uint32_t next, prev;      /* index + 1 of the neighbours in its queue or in the free list; derived from order and state */
    uint32_t live_units;      /* of entries that slots name; a hint, right but for what deaths leave */
    uint64_t expiry_first_ms; /* until when the entry lives that was the first one here; a hint */
    char pad[16];
};
static_assert(sizeof(struct pond_segment) == 64, "segment descriptor");

static inline uint32_t pond_segment_word(uint32_t state, uint32_t queue, uint32_t ttl_class) {
    return state | queue << 8 | ttl_class << 16;
}

/* ---- entries ---- */

/* Word 0, written by one store, is all that a walk needs; it stays valid at every instant, also while a hole is being filled.
 *   bits 0..20 allotted units | 21..28 flags | 29..36 key bytes (low 8) | 37..42 slack bytes (low 6) | 43..63 check
 * key bytes and slack continue in the wide field: key bytes (16 bits) | slack bytes (16 bits), complete values.
 * value bytes = allotted - header - key - slack. The check covers key, value, sizes, sequence and stamp (a counter's: key, sizes, stamp).
 * Sequence numbers come from the shard, one for each store, and are the version that users see; they wrap after 2^32 stores. */
#define POND_ENTRY_TTL     1u   /* has an expiry */
#define POND_ENTRY_WIDE    2u   /* has the wide field */
#define POND_ENTRY_COUNTER 4u   /* the value is a 64-bit number, aligned to 8 */
#define POND_ENTRY_ROOT    8u   /* the value is a struct pond_root: it lies in chunks */
#define POND_ENTRY_CHUNK   16u  /* a piece of a value; the key is a struct pond_chunk_key */
#define POND_ENTRY_DEAD    32u  /* no slot points here, and none ever will */
#define POND_ENTRY_HOLE    64u  /* dead, and in a list of holes: words 0, next, prev (struct pond_hole); check = hole generation */
#define POND_ENTRY_GROUP   128u /* of a group: its slack is 8 bytes at least, the last 8 are its stamp */
#define POND_ENTRY_FLAGS   255u

#define POND_ENTRY_UNITS_MAX  ((1u << 21) - 1)
#define POND_ENTRY_CHECK_BITS 21
#define POND_SLACK_BYTES_MAX  65535u

static inline uint32_t pond_word_units(uint64_t w) { return (uint32_t)(w & POND_ENTRY_UNITS_MAX); }
static inline uint32_t pond_word_flags(uint64_t w) { return (uint32_t)(w >> 21) & POND_ENTRY_FLAGS; }
static inline uint32_t pond_word_key(uint64_t w) { return (uint32_t)(w >> 29) & 255u; }
static inline uint32_t pond_word_slack(uint64_t w) { return (uint32_t)(w >> 37) & 63u; }
static inline uint32_t pond_word_check(uint64_t w) { return (uint32_t)(w >> 43); }
static inline uint64_t pond_word_make(uint32_t units, uint32_t flags, uint32_t key, uint32_t slack, uint32_t check) {
    return (uint64_t)units | (uint64_t)flags << 21 | (uint64_t)(key & 255u) << 29 | (uint64_t)(slack & 63u) << 37 | (uint64_t)check << 43;
}

/* Bytes in front of the key. */
static inline uint32_t pond_entry_head(uint32_t flags) {
    return 12u + (flags & POND_ENTRY_TTL ? 8u : 0u) + (flags & POND_ENTRY_WIDE ? 4u : 0u);
}

struct pond_hole {
    uint64_t word;
    uint32_t next, prev; /* where; 0 for none */
};
static_assert(sizeof(struct pond_hole) == 16, "the smallest entry can become a hole");

struct pond_chunk_key {
    uint64_t hash;   /* of the key that the chunk belongs to */
    uint32_t number; /* which chunk of it */
    uint32_t pad;
};
static_assert(sizeof(struct pond_chunk_key) == 16, "chunk key");

/* In front of a chunk's bytes; in front of a root's list, the key not counted: upper bounds. */
#define POND_CHUNK_HEAD_BYTES 40u
#define POND_ROOT_HEAD_BYTES  64u

struct pond_root {
    uint64_t value_bytes;
    uint32_t chunk_count;
    uint32_t chunk[]; /* where */
};

/* Expiry as stored: bits 0..42 milliseconds since 1970 (all ones: never) | 43..48 grace | 49..52 cost | 53..63 check, so that damage does
 * not make an entry immortal (one damaged word of 2048 passes, and is then as wrong as a value of which nobody said how long it lives; the
 * entry itself has 21 bits). Grace g means 0 for g = 0, else (2 + g % 2) << g / 2 halves of a millisecond: up to 37 days in steps of
 * at most one half. Cost c: how long the value took to load, at least 1 << (c - 1) milliseconds; 0: not known, or less.
 * Cost POND_COST_NEGATIVE: there is no such thing. Such an entry has no value, and a time that had passed when it was written, so that
 * every reader who does not ask takes it for expired; it ends with its grace, as all do. */
#define POND_EXPIRY_BITS   43
#define POND_EXPIRY_NEVER  ((UINT64_C(1) << POND_EXPIRY_BITS) - 1)
#define POND_GRACE_BITS    6
#define POND_COST_BITS     4
#define POND_COST_NEGATIVE 15u

/* ---- ghosts: fingerprints of keys that left not long ago, of the small queue newest first in each bucket ---- */

#define POND_GHOST_WAYS 15u
struct pond_ghost_bucket {
    uint16_t print[POND_GHOST_WAYS]; /* left the small queue */
    uint16_t main_print;             /* left the main queue last */
};
static_assert(sizeof(struct pond_ghost_bucket) == 32, "ghost bucket");

/* ---- holes: size classes, exact below 16 units, then 8 an octave ---- */

#define POND_HOLE_CLASSES 160u

/* ---- the redo record of one change of the index (index.c tells how it is used) ---- */

enum pond_intent_kind { POND_INTENT_NONE = 0, POND_INTENT_SWING = 1, POND_INTENT_MOVE = 2, POND_INTENT_COUNTER = 3, POND_INTENT_CLEAR = 4 };

/* The last moves between buckets, for scans: where they went. */
#define POND_MOVE_LOG 256u

struct pond_intent {
    uint32_t kind;         /* written last, cleared first */
    uint32_t bucket[2];    /* of slot[0], of slot[1] */
    uint32_t slot[2];      /* SWING: slot[0]. MOVE: from slot[0] to slot[1] */
    uint32_t spill_bucket; /* whose spill changes with it, or POND_NO_BUCKET */
    uint32_t spill_before, spill_after;
    uint64_t before, after; /* SWING: the slot's word. MOVE: the words at the old and at the new place. COUNTER: where the entry is */
    uint64_t items, bytes;  /* of the shard, afterwards */
};
static_assert(sizeof(struct pond_intent) == 64, "the intent is a cache line");
#define POND_NO_BUCKET UINT32_MAX

/* ---- the part that a shard has in a transaction (redo.c) ---- */

#define POND_REDO_OPS_MAX 128u

enum pond_redo_kind { POND_REDO_PUT = 1, POND_REDO_REMOVE = 2 };

struct pond_redo_op {
    uint64_t hash;  /* of the key */
    uint32_t where; /* PUT: the new entry. REMOVE: the old one */
    uint32_t kind;
};

/* Transactions are named by number << 8 | coordinator, which is the lowest of the shards that they change. */
struct pond_redo {
    uint64_t pending;  /* the transaction whose list `op` is: readers of several keys stay away; 0 for none */
    uint64_t decision; /* as coordinator: the transaction that is committed, and may not yet be applied everywhere; 0 for none */
    uint64_t number;   /* as coordinator: last given */
    uint64_t commits;  /* transactions that changed this shard */
    uint32_t op_count;
    uint32_t pad[7];
    struct pond_redo_op op[POND_REDO_OPS_MAX];
};
static_assert(offsetof(struct pond_redo, op) == 64, "what readers look at is one line");

/* ---- shard header ---- */

struct pond_shard_counters { /* since creation; holder of the mutex. Those of every set first: see struct pond_shard */
    uint64_t sets, bytes_set, hole_hits;
    uint64_t deletes, evictions, index_evictions, expirations, ghost_hits, relinks;
    uint64_t bytes_copied, steps_max, step_bytes_max, lock_waits, lock_timeouts, recoveries, damages, stalls;
    uint64_t flights, flight_waits, flight_takeovers, flights_revoked, flights_full, stale_served;
    uint64_t steps; /* entries examined by recycling */
    uint64_t invalidations, invalidated;
};

/* The walk of the segment that is being recycled (recycle.c). All of it may be forgotten: a walk can start again. */
struct pond_walk {
    uint32_t victim; /* index + 1, 0 for none */
    uint32_t phase;  /* enum pond_walk_phase in recycle.c */
    uint32_t cursor_units;
    uint32_t relinks; /* since a segment was last freed */
    uint64_t hot_units;
};

/* Writers of one shard follow each other on different cores, so each line that a set writes here is fetched from another core's cache.
 * What every set touches stands together, on four lines: the mutex, the intent, and the two behind it. A fifth has the list of holes of
 * its size, if there are any; what is behind the counters of every set is only read. */
struct pond_shard {
    pthread_mutex_t mutex; /* PTHREAD_MUTEX_NORMAL, robust, process-shared */
    char pad0[64 - sizeof(pthread_mutex_t)];

    struct pond_intent intent;

    uint32_t sequence;              /* last given */
    uint32_t hole_generation;       /* 21 bits; holes of another generation are in no list */
    uint64_t items, bytes;          /* live entries; changed together with the intent */
    uint32_t free_head, free_count; /* derived */
    uint32_t views;                 /* 1 once any process has pinned a segment of this shard */
    uint32_t flights;               /* flights of this shard that are not free; never too low */
    struct pond_walk walk;

    uint32_t open[POND_QUEUES][POND_TTL_CLASSES]; /* index + 1; derived from the descriptors' states */
    struct pond_shard_counters counters;

    uint64_t order;                                                                      /* last given to a sealed segment */
    uint32_t queue_head[POND_QUEUES], queue_tail[POND_QUEUES], queue_count[POND_QUEUES]; /* sealed segments; derived */
    uint64_t flight_token;                                                               /* last given */
    uint32_t moves; /* entries moved between buckets; the last ones' new buckets stand in move_log */
    uint32_t move_log[POND_MOVE_LOG];
    /* Part of the segments, of 2^32, that the small queue is to have: learnt (evict.c). 0: a tenth, as in files of version 3 from before
     * this word was there; programs from then leave it alone. */
    uint32_t small_share;

    _Alignas(64) uint32_t hole_head[POND_QUEUES][POND_HOLE_CLASSES]; /* where; may be forgotten */

    _Alignas(64) struct pond_redo redo; /* on lines of its own */
};
static_assert(sizeof(pthread_mutex_t) <= 64, "mutex");
static_assert(offsetof(struct pond_shard, intent) == 64, "the intent has a line of its own");
static_assert(offsetof(struct pond_shard, sequence) == 128, "what every set changes begins a line");
static_assert(offsetof(struct pond_shard, walk) + sizeof(struct pond_walk) == 192, "... and fills it");
static_assert(offsetof(struct pond_shard, open) == 192, "where a new entry goes, and the counters of every set");
static_assert(offsetof(struct pond_shard, counters.hole_hits) + sizeof(uint64_t) <= 256, "... are one line");
static_assert(offsetof(struct pond_shard, counters.deletes) >= 256, "what a set only reads is not on it");
static_assert(offsetof(struct pond_shard, hole_head) % 64 == 0, "lists of holes share no line with counters");
static_assert(offsetof(struct pond_shard, redo) % 64 == 0, "readers of several keys look at pending: no set writes that line");
#define POND_SHARD_HEADER_BYTES 8192u
static_assert(sizeof(struct pond_shard) <= POND_SHARD_HEADER_BYTES, "shard header");

/* ---- where things are ---- */

/* Computed from the identity, checked, and kept by each process for itself: never read from the file again. */
struct pond_geometry {
    uint64_t file_bytes, max_item_bytes, shard_bytes, flights_off, groups_off, shards_off, hash_seed;
    uint64_t segments_off;             /* from the start of a shard */
    uint32_t shard_count, shard_shift; /* shard = hash >> 1 >> shard_shift: 63 for one shard */
    uint32_t reader_count, flights_per_shard;
    uint32_t segment_bytes, segment_units, segment_count;
    uint64_t segment_reciprocal; /* 2^64 / segment_units, rounded up: a division of 32 bits by a multiplication, exactly */
    uint32_t bucket_count, ghost_count;
    uint32_t table_off, buckets_off_units, ghosts_off_units; /* from the start of a shard */
    uint32_t first_unit, end_unit;                           /* of the segments, in units from the start of a shard */
    uint32_t piece_units_max;                                /* an entry larger than this has its value in chunks of this size */
    uint32_t entry_units_max;                                /* largest entry at all: the root of such a value may have a long key */
    uint32_t reserve;                                        /* free segments that recycling keeps in store */
    uint64_t items_high;                                     /* with so many entries the index counts as full: recycling goes on */
    uint32_t ttl_classes;                                    /* TTL classes in use */
    uint32_t file_flags;
    uint32_t group_mask; /* their number - 1 */
};

#define POND_READERS_OFF 8192u
#define POND_LIVING_OFF  4096u

struct millpond_options;

/* The most chunks that a value can end in, with pieces of this size: each is full, or fills up a segment. */
uint64_t pond_layout_chunks_most(uint32_t piece_bytes, uint64_t value_bytes);

/* How many segments a value of that size takes at the most: with its root, and what is lost at their ends. */
uint64_t pond_layout_segments_most(uint32_t segment_bytes, uint64_t key_bytes, uint64_t value_bytes);

/* Chooses shards, segments and index for the size asked for. Returns NULL and fills `identity`'s sizes, or the sentence that says why
 * not. */
const char *pond_layout_plan(const struct millpond_options *options, unsigned processors, struct pond_identity *identity);

/* The size of a typical entry for which a file's index was made (options.entry_bytes). */
uint32_t pond_layout_entry_bytes(const struct pond_geometry *geometry);

/* Computes the geometry. Returns NULL, or what is wrong with the identity: nothing in it is trusted. */
const char *pond_layout_geometry(const struct pond_identity *identity, struct pond_geometry *geometry);

#endif
