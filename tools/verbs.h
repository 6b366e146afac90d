/* SPDX-License-Identifier: MIT */
/* The verbs of the command as one table, from which option parsing and every help text are made. */
#ifndef MILLPOND_TOOLS_VERBS_H
#define MILLPOND_TOOLS_VERBS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Exit statuses: the contract with scripts. */
enum status {
    STATUS_DONE = 0,
    STATUS_NO = 1,    /* a miss, already there, not there, damage found */
    STATUS_USAGE = 2, /* the command line is wrong; nothing was opened */
    STATUS_ERROR = 3  /* with one line on standard error */
};

enum option_id {
    OPTION_SIZE,
    OPTION_MAX_ITEM,
    OPTION_SHARDS,
    OPTION_SEGMENT,
    OPTION_ENTRY_BYTES,
    OPTION_MODE,
    OPTION_HUGEPAGES,
    OPTION_NAMESPACES,
    OPTION_TTL,
    OPTION_GRACE,
    OPTION_GROUP,
    OPTION_ADD,
    OPTION_REPLACE,
    OPTION_INIT,
    OPTION_PREFIX,
    OPTION_LIMIT,
    OPTION_REPAIR,
    OPTION_INTERVAL,
    OPTION_ONCE,
    OPTION_PER_SHARD,
    OPTION_PROMETHEUS,
    OPTION_JSON,
    OPTION_HEX,
    OPTION_HEX_KEY,
    OPTION_FORCE_FILESYSTEM,
    OPTION_ELAPSE,
    OPTION_SYNC,
    OPTION_REDIS,
    OPTION_STRIP,
    OPTION_LEASE,
    OPTION_STALE,
    OPTION_USER,
    OPTION_PASSWORD_FILE,
    OPTION_HELP,
    OPTION_COUNT
};

/* What an option's argument is, and so how it is read. */
enum option_kind { KIND_FLAG, KIND_SIZE, KIND_TIME, KIND_COUNT, KIND_SIGNED, KIND_MODE, KIND_TEXT };

struct option_value {
    bool given;
    uint64_t number;       /* KIND_SIZE in bytes, KIND_TIME in milliseconds, KIND_COUNT, KIND_MODE */
    int64_t signed_number; /* KIND_SIGNED */
    const char *text;      /* as it was typed */
};

/* One command line, understood. */
struct call {
    const struct verb *verb;
    const char *file;
    char **args; /* what follows FILE */
    unsigned arg_count;
    struct option_value option[OPTION_COUNT];
};

struct verb {
    const char *name;
    const char *operands; /* "FILE KEY [VALUE]" */
    const char *summary;  /* one line */
    const char *details;  /* for its --help; NULL when the summary says all */
    const char *example;
    unsigned args_min, args_max; /* operands after FILE */
    uint64_t options;            /* bits of enum option_id */
    enum status (*run)(const struct call *call);
};

extern const struct verb verbs[];
extern const unsigned verb_count;
const struct verb *verb_find(const char *name);

/* options.c: reads the words behind the verb (argv[0]). After STATUS_DONE call->file is NULL when help was printed and all is done. */
enum status options_parse(struct call *call, const struct verb *verb, int argc, char **argv);
void options_print_overview(void);
void options_print_help(const struct verb *verb);

/* Where a verb's work is done. */
enum status verb_create(const struct call *call);
enum status verb_check(const struct call *call);
enum status verb_dump(const struct call *call);
enum status verb_load(const struct call *call);
enum status verb_clear(const struct call *call);
enum status verb_sync(const struct call *call);
enum status verb_resize(const struct call *call);
enum status verb_set(const struct call *call);
enum status verb_get(const struct call *call);
enum status verb_del(const struct call *call);
enum status verb_touch(const struct call *call);
enum status verb_ttl(const struct call *call);
enum status verb_incr(const struct call *call);
enum status verb_keys(const struct call *call);
enum status verb_stats(const struct call *call);
enum status verb_top(const struct call *call);
enum status verb_agent(const struct call *call);
enum status verb_shell(const struct call *call);

#endif
