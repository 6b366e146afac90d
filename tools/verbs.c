/* SPDX-License-Identifier: MIT */
/* The table of verbs. A verb that is not here does not exist; the man page is tested against what it says. */
#define _GNU_SOURCE
#include "verbs.h"

#include <string.h>

#define BIT(name)   (UINT64_C(1) << OPTION_##name)
#define BITS_COMMON (BIT(HELP) | BIT(FORCE_FILESYSTEM))
#define BITS_KEY    (BITS_COMMON | BIT(HEX_KEY))

#define VALUE_NOTE "VALUE is read from standard input, to its end, when it is left out or is '-'."

const struct verb verbs[] = {
    {"create", "FILE", "make a new pond; an existing file is never overwritten",
     "Every block of the file is allocated at once, so a full disk is noticed now and never later.", "millpond create app.pond --size 256M",
     0, 0,
     BITS_COMMON | BIT(SIZE) | BIT(MAX_ITEM) | BIT(SHARDS) | BIT(SEGMENT) | BIT(ENTRY_BYTES) | BIT(MODE) | BIT(HUGEPAGES) | BIT(NAMESPACES),
     verb_create},
    {"set", "FILE KEY [VALUE]", "store a value", VALUE_NOTE " Status 1 when --add finds the key there, or --replace does not.",
     "millpond set app.pond user:1 alice --ttl 30s", 1, 2,
     BITS_KEY | BIT(TTL) | BIT(GRACE) | BIT(GROUP) | BIT(ADD) | BIT(REPLACE) | BIT(HEX) | BIT(SYNC), verb_set},
    {"get", "FILE KEY", "print a value: its bytes and nothing else", "Status 1, and nothing printed, for a miss.",
     "millpond get app.pond user:1", 1, 1, BITS_KEY | BIT(HEX) | BIT(JSON), verb_get},
    {"del", "FILE KEY", "remove a key", "Status 1 when it is not there.", "millpond del app.pond user:1", 1, 1,
     BITS_KEY | BIT(HEX) | BIT(SYNC), verb_del},
    {"touch", "FILE KEY [TIME]", "give an entry another time to live, from now on",
     "TIME may also be given as --ttl; 0 is for ever. Status 1 when the key is not there.", "millpond touch app.pond user:1 30s", 1, 2,
     BITS_KEY | BIT(TTL) | BIT(HEX) | BIT(SYNC), verb_touch},
    {"ttl", "FILE KEY", "print how long an entry has to live", "In seconds, such as 29.5s, or never. Status 1 when the key is not there.",
     "millpond ttl app.pond user:1", 1, 1, BITS_KEY | BIT(HEX) | BIT(JSON), verb_ttl},
    {"incr", "FILE KEY [NUMBER]", "add to a counter and print what it became",
     "NUMBER is 1 when it is left out, and may be negative. Without --init, status 1 when the key is not there.",
     "millpond incr app.pond hits 1 --init 0 --ttl 1m", 1, 2,
     BITS_KEY | BIT(INIT) | BIT(TTL) | BIT(GROUP) | BIT(HEX) | BIT(JSON) | BIT(SYNC), verb_incr},
    {"keys", "FILE", "print the keys, one a line, escaped",
     "In no order, without a lock: a key that comes, goes or moves meanwhile may be left out or shown twice. "
     "A byte that is not printable UTF-8 appears as \\xNN, a backslash as two. With --json, one object a line.",
     "millpond keys app.pond --prefix user:", 0, 0, BITS_COMMON | BIT(PREFIX) | BIT(LIMIT) | BIT(HEX) | BIT(JSON), verb_keys},
    {"stats", "FILE", "print figures of the pond",
     "Over its whole life and all its processes. Reads are counted for the file as a whole, not by shard.",
     "millpond stats app.pond --json", 0, 0, BITS_COMMON | BIT(JSON) | BIT(PROMETHEUS) | BIT(PER_SHARD), verb_stats},
    {"top", "FILE", "watch the figures: rates a second, live", "Keys: q leaves, s shows or hides the shards, + and - change the interval.",
     "millpond top app.pond", 0, 0, BITS_COMMON | BIT(ONCE) | BIT(INTERVAL) | BIT(PER_SHARD), verb_top},
    {"check", "FILE", "walk everything in the file and name each damage",
     "Readers go on meanwhile; each shard is held for writers while it is walked. Status 1 when damage was found, mended or not.",
     "millpond check app.pond", 0, 0, BITS_COMMON | BIT(REPAIR) | BIT(JSON), verb_check},
    {"dump", "FILE", "write all entries to standard output, in a form that any machine can load",
     "Others may use the pond meanwhile. The time to live is kept as what is left of it; a counter becomes its text. "
     "The summary of --json goes to standard error.",
     "millpond dump app.pond | millpond load new.pond", 0, 0, BITS_COMMON | BIT(PREFIX) | BIT(HEX) | BIT(JSON), verb_dump},
    {"load", "FILE", "store the entries of a dump from standard input; the pond is made when it is not there",
     "--size, --max-item and --mode are for a pond that is made; it may be larger or smaller than the dumped one. Status 1 when some "
     "entries "
     "do not fit: they are named and counted, the others loaded. A dump that was cut or damaged is refused there with status 3; what came "
     "before is loaded, whole.",
     "millpond dump app.pond | millpond load new.pond", 0, 0,
     BITS_COMMON | BIT(SIZE) | BIT(MAX_ITEM) | BIT(MODE) | BIT(ADD) | BIT(ELAPSE) | BIT(JSON) | BIT(SYNC), verb_load},
    {"clear", "FILE", "remove all entries, or those of a group",
     "A group is what was stored under one name by --group, or by a program. Removing it takes as long as removing one key, however many "
     "entries it has; no error if it has none.",
     "millpond clear app.pond --group users", 0, 0, BITS_COMMON | BIT(GROUP) | BIT(SYNC), verb_clear},
    {"sync", "FILE", "write the pond to disk and mark it whole, so that it opens warm after a restart of the machine",
     "The mark stands until the next write.", "millpond sync app.pond", 0, 0, BITS_COMMON, verb_sync},
    {"agent", "FILE", "keep the pond coherent with a Redis or Valkey server, until SIGTERM",
     "One process for each pond: it listens to what changes at the server and deletes it in the pond. No value is served that the server "
     "replaced more than --lease before, if workers do as the header says (millpond_agent_look). When the link is lost, all entries go, or "
     "with --stale are kept for a while. The pond should hold nothing but what is the server's.",
     "millpond agent app.pond --redis unix:/run/redis/redis.sock --prefix app:", 0, 0,
     BITS_COMMON | BIT(REDIS) | BIT(PREFIX) | BIT(HEX) | BIT(STRIP) | BIT(LEASE) | BIT(STALE) | BIT(USER) | BIT(PASSWORD_FILE) | BIT(JSON),
     verb_agent},
    {"resize", "FILE SIZE", "make the pond larger or smaller while others read and write",
     "A new file is made beside the old one, gets all that lives and takes its name; every process that has the old one goes on to it. "
     "Readers go on all the time, writers wait while entries are copied.",
     "millpond resize app.pond 1G", 1, 1, BITS_COMMON, verb_resize},
    {"shell", "FILE", "read commands: a prompt on a terminal, one command a line from a pipe",
     "Type help in the shell for its commands. Each answer is one line: OK, the value, (miss), (exists), (error) and a sentence.",
     "printf 'set k v\\nget k\\n' | millpond shell app.pond", 0, 0, BITS_COMMON | BIT(SYNC), verb_shell},
};

const unsigned verb_count = sizeof verbs / sizeof verbs[0];

const struct verb *verb_find(const char *name) {
    for (unsigned i = 0; i < verb_count; i++)
        if (strcmp(verbs[i].name, name) == 0) return &verbs[i];
    return NULL;
}
