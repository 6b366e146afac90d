/* SPDX-License-Identifier: MIT */
/* replay.h: what `millpond-bench replay` replays, between the verb (replay.c), its requests (replay_requests.c), the sizing of its file
 * (replay_size.c) and the report. */
#ifndef BENCH_REPLAY_H
#define BENCH_REPLAY_H

#include "args.h"
#include "policies.h"
#include "report.h"
#include "trace.h"
#include <millpond.h>

enum {
    REPLAY_POLICIES_MAX = 8,
    REPLAY_WORKERS_MAX = 64,
    REPLAY_SIZES_MAX = 8,
    REPLAY_HEADER_BYTES = 16, /* of an entry, as the exact policies count it; what an item costs is rounded up to 8 */
    REPLAY_TTL_BYTES = 8      /* more, of one that has a time to live */
};

/* What a file is created with, for trials and for the replay itself. */
struct replay_shape {
    const char *folder;
    uint64_t entry_bytes;    /* key and value of a typical item */
    uint64_t segment_bytes;  /* 0: the library's choice */
    uint64_t max_item_bytes; /* 0: the library's choice */
    uint32_t shards;         /* 0: the library's choice */
};

struct replay_policy {
    const struct policy *policy;
    uint64_t misses;
};

struct replay {
    char size_name[32]; /* as it was asked for: "1%", "25836", "" with --size */
    const char *path, *items_text, *sizes_path, *policy_list, *format_text, *file, *plot_path, *ttl_text;
    uint64_t size_bytes, items_wanted, workers, overwrite, removal, entry_bytes, rate;
    bool grow, entry_asked;
    struct replay_shape shape;
    uint64_t shards, seed;
    struct args_json json_wish;

    struct trace trace;
    bool equal;              /* every item has entry_bytes of key and value */
    uint32_t *value_bytes;   /* of each request; NULL: entry_bytes less the key */
    uint8_t *after;          /* of each request, enum policy_after: a hit is followed by a set of this size, or a delete; NULL: nothing */
    uint64_t *times_ms;      /* of each request, from the first one on; NULL: nothing expires */
    uint64_t *ttl_ms;        /* of each key, 0 for ever; NULL: nothing expires */
    uint64_t begin_ms;       /* the clock at the first request */
    uint32_t value_bytes_max;
    uint64_t keys_bytes_max;
    double cost_mean;        /* of an item, over the keys */
    uint64_t cost_median;

    struct millpond_stats stats;
    uint64_t misses, sets, too_large, wrong, errors, items_most;
    double seconds;
    uint64_t capacity;       /* of the policies, in items or bytes */
    bool capacity_in_items;
    struct replay_policy policies[REPLAY_POLICIES_MAX];
    unsigned policy_count;
};

/* Sizes, changes and times of the trace's requests. ARGS_GO, or the status to end with after a sentence. */
int replay_take_requests(struct replay *replay);
void replay_free_requests(struct replay *replay);
static inline uint32_t replay_value_bytes_at(const struct replay *replay, uint64_t at) {
    if (replay->value_bytes)
        return replay->value_bytes[at];
    return (uint32_t)(replay->entry_bytes - trace_key_bytes(&replay->trace, replay->trace.ids[at]));
}

/* Creates a pond of this shape and size. False and a sentence when it cannot be. */
bool replay_create(const struct replay_shape *shape, const char *path, uint64_t size_bytes, struct millpond **pond, char *why);
/* The largest file that holds at most `items` entries of shape->entry_bytes each, found by trial; also chooses shape->segment_bytes when
 * that is 0 and the file small. False and a sentence in `why` when even the smallest file holds more. */
bool replay_size_for_items(struct replay_shape *shape, uint64_t items, uint64_t *size_bytes, char *why);
/* The largest file whose segments have at most `bytes` together. */
bool replay_size_for_bytes(const struct replay_shape *shape, uint64_t bytes, uint64_t *size_bytes, char *why);

static inline uint64_t replay_cost(uint64_t key_bytes, uint64_t value_bytes) {
    return (REPLAY_HEADER_BYTES + key_bytes + value_bytes + 7) & ~UINT64_C(7);
}

/* What was found at each of some sizes, of one trace. */
void replay_print(const struct replay *replay, unsigned count);
void replay_write_json(const struct replay *replay, unsigned count, struct json *json);
void replay_plot(const struct replay *replay, unsigned count);

#endif
