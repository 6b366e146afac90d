/* SPDX-License-Identifier: MIT */
/* Option parsing and help, both from the table of verbs and the table of options below. */
#define _GNU_SOURCE
#include "format.h"
#include "report.h"
#include "verbs.h"

#include "millpond.h"
#include <ctype.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>

static const struct {
    const char *name;
    const char *argument; /* NULL for a flag */
    enum option_kind kind;
    const char *help;
} specs[OPTION_COUNT] = {
    [OPTION_SIZE] = {"size", "SIZE", KIND_SIZE,
                     "size of the file, such as 256M (create needs it; load: when the pond is not there, default the dumped one's)"},
    [OPTION_MAX_ITEM] = {"max-item", "SIZE", KIND_SIZE, "largest value; default an eighth of a shard, at most half of one"},
    [OPTION_SHARDS] = {"shards", "N", KIND_COUNT, "number of shards, a power of two up to 256; default by size and processors"},
    [OPTION_SEGMENT] = {"segment", "SIZE", KIND_SIZE, "size of a segment; default about 256 segments to a file"},
    [OPTION_ENTRY_BYTES] = {"entry-bytes", "SIZE", KIND_SIZE, "expected size of key and value of a typical entry; default 124"},
    [OPTION_MODE] = {"mode", "OCTAL", KIND_MODE, "permissions of the file; default 0600"},
    [OPTION_HUGEPAGES] = {"hugepages", NULL, KIND_FLAG, "ask for huge pages where the system has them"},
    [OPTION_NAMESPACES] = {"namespaces", NULL, KIND_FLAG, "let processes of several PID namespaces (containers) write"},
    [OPTION_TTL] = {"ttl", "TIME", KIND_TIME, "time to live, such as 30s; 0, the default, is for ever"},
    [OPTION_GRACE] = {"grace", "TIME", KIND_TIME, "how long after that the value may still be served as stale"},
    [OPTION_GROUP] = {"group", "NAME", KIND_TEXT, "the group of the entry (clear: of those to remove), 1 to 255 bytes"},
    [OPTION_ADD] = {"add", NULL, KIND_FLAG, "store only if the key is not there"},
    [OPTION_REPLACE] = {"replace", NULL, KIND_FLAG, "store only if the key is there"},
    [OPTION_INIT] = {"init", "NUMBER", KIND_SIGNED, "make the counter from this when it is not there; --ttl is for such a new one"},
    [OPTION_PREFIX] = {"prefix", "TEXT", KIND_TEXT, "only keys that begin so (in hexadecimal with --hex)"},
    [OPTION_LIMIT] = {"limit", "N", KIND_COUNT, "stop after so many keys"},
    [OPTION_REPAIR] = {"repair", NULL, KIND_FLAG, "remove what is damaged and rebuild what is derived"},
    [OPTION_INTERVAL] = {"interval", "TIME", KIND_TIME, "time between two looks, 100ms or more; default 1s"},
    [OPTION_ONCE] = {"once", NULL, KIND_FLAG, "print one frame as text after one interval, and end"},
    [OPTION_PER_SHARD] = {"shards", NULL, KIND_FLAG, "each shard by itself too"},
    [OPTION_PROMETHEUS] = {"prometheus", NULL, KIND_FLAG, "print in the text format of Prometheus"},
    [OPTION_JSON] = {"json", NULL, KIND_FLAG, "print JSON; bytes that are not UTF-8 in hexadecimal, as key_hex or value_hex"},
    [OPTION_HEX] = {"hex", NULL, KIND_FLAG, "keys and values in hexadecimal, both in and out"},
    [OPTION_HEX_KEY] = {"hex-key", NULL, KIND_FLAG, "only the key in hexadecimal"},
    [OPTION_FORCE_FILESYSTEM] = {"force-filesystem", NULL, KIND_FLAG, "do not refuse a network or overlay file system"},
    [OPTION_ELAPSE] = {"elapse", NULL, KIND_FLAG, "take the time since the dump was begun from each time to live"},
    [OPTION_SYNC] = {"sync", NULL, KIND_FLAG, "at the end write the pond to disk and mark it whole, as the verb sync does"},
    [OPTION_REDIS] = {"redis", "ADDRESS", KIND_TEXT, "the server: unix:/path or tcp:host:port (required)"},
    [OPTION_STRIP] = {"strip", NULL, KIND_FLAG, "keys in the pond are without the prefix"},
    [OPTION_LEASE] = {"lease", "TIME", KIND_TIME, "how long a pond counts as coherent after the server was last heard; default 3s"},
    [OPTION_STALE] = {"stale", "TIME", KIND_TIME, "when the link is lost, keep the entries so long, to be served as stale; default 0"},
    [OPTION_USER] = {"user", "NAME", KIND_TEXT, "user of the server; default its default one"},
    [OPTION_PASSWORD_FILE] = {"password-file", "FILE", KIND_TEXT, "a file whose first line is the password"},
    [OPTION_HELP] = {"help", NULL, KIND_FLAG, "print this help"},
};

static bool allows(const struct verb *verb, unsigned id) { return (verb->options >> id & 1) != 0; }

/* ---- parsing ---- */

static enum status read_argument(const struct verb *verb, unsigned id, const char *text, struct option_value *value) {
    static const char *const wanted[] = {[KIND_SIZE] = "a size, such as 4096, 64K, 256M or 1.5G",
                                         [KIND_TIME] = "a time, such as 250ms, 30s, 5m, 1h or 7d",
                                         [KIND_COUNT] = "a number",
                                         [KIND_SIGNED] = "a 64-bit number",
                                         [KIND_MODE] = "an octal mode from 1 to 0777"};
    bool good = true;
    value->given = true;
    value->text = text;
    switch (specs[id].kind) {
    case KIND_SIZE: good = format_parse_size(text, &value->number); break;
    case KIND_TIME: good = format_parse_time(text, &value->number); break;
    case KIND_COUNT: good = format_parse_count(text, &value->number); break;
    case KIND_SIGNED: good = format_parse_signed(text, &value->signed_number); break;
    case KIND_MODE: good = format_parse_mode(text, &value->number); break;
    case KIND_FLAG:
    case KIND_TEXT: break;
    }
    if (good) return STATUS_DONE;
    return report_usage(verb, "'%s' is not %s (--%s)", text, wanted[specs[id].kind], specs[id].name);
}

static enum status check_operands(struct call *call, char **operands, unsigned count) {
    const struct verb *verb = call->verb;
    if (count == 0) return report_usage(verb, "the file is missing: millpond %s %s", verb->name, verb->operands);
    if (operands[0][0] == 0) return report_usage(verb, "the name of the file is empty");
    call->file = operands[0];
    call->args = operands + 1;
    call->arg_count = count - 1;
    if (call->arg_count < verb->args_min) return report_usage(verb, "an operand is missing: millpond %s %s", verb->name, verb->operands);
    if (call->arg_count > verb->args_max)
        return report_usage(verb, "'%s' is too much: millpond %s %s", operands[1 + verb->args_max], verb->name, verb->operands);
    return STATUS_DONE;
}

static unsigned long_options(const struct verb *verb, struct option *list) {
    unsigned count = 0;
    for (unsigned id = 0; id < OPTION_COUNT; id++) {
        if (!allows(verb, id)) continue;
        int takes = specs[id].argument != NULL ? required_argument : no_argument;
        list[count++] = (struct option){specs[id].name, takes, NULL, (int)(256 + id)};
    }
    list[count] = (struct option){NULL, 0, NULL, 0};
    return count;
}

/* -5 is a number, not an option: options have no digits. */
static bool is_operand(const char *word) { return word[0] != '-' || word[1] == 0 || isdigit((unsigned char)word[1]); }

/* Options may stand anywhere behind the verb, so operands are collected in place, at the front of argv. */
enum status options_parse(struct call *call, const struct verb *verb, int argc, char **argv) {
    struct option list[OPTION_COUNT + 1];
    unsigned operand_count = 0;
    *call = (struct call){.verb = verb};
    long_options(verb, list);
    opterr = 0;
    optind = 1;
    while (optind < argc) {
        if (is_operand(argv[optind])) {
            argv[operand_count++] = argv[optind++];
            continue;
        }
        const char *word = argv[optind];
        if (strcmp(word, "--") == 0) {
            while (++optind < argc) argv[operand_count++] = argv[optind];
            break;
        }
        int found = getopt_long(argc, argv, "+:h", list, NULL);
        if (found == 'h' || found == 256 + OPTION_HELP) {
            options_print_help(verb);
            call->file = NULL;
            return STATUS_DONE;
        }
        if (found == ':') return report_usage(verb, "%s needs an argument", word);
        if (found < 256) return report_usage(verb, "unknown option '%s'", word);
        unsigned id = (unsigned)found - 256;
        enum status status = read_argument(verb, id, optarg, &call->option[id]);
        if (status != STATUS_DONE) return status;
    }
    return check_operands(call, argv, operand_count);
}

/* ---- help ---- */

enum { HELP_COLUMNS = 100 };

/* Prints text wrapped, after a first column that ends at `indent`. */
static void print_wrapped(const char *text, int indent, int column) {
    while (*text != 0) {
        int length = (int)strcspn(text, " ");
        if (column + 1 + length > HELP_COLUMNS && column > indent) {
            printf("\n%*s", indent, "");
            column = indent;
        } else if (column > indent) {
            putchar(' ');
            column++;
        }
        printf("%.*s", length, text);
        column += length;
        text += length;
        text += strspn(text, " ");
    }
    putchar('\n');
}

void options_print_help(const struct verb *verb) {
    printf("usage: millpond %s [OPTION...] %s\n\n", verb->name, verb->operands);
    print_wrapped(verb->summary, 0, 0);
    if (verb->details != NULL) print_wrapped(verb->details, 0, 0);
    printf("\noptions:\n");
    for (unsigned id = 0; id < OPTION_COUNT; id++) {
        char left[32];
        if (!allows(verb, id)) continue;
        snprintf(left, sizeof left, "--%s%s%s", specs[id].name, specs[id].argument != NULL ? " " : "",
                 specs[id].argument != NULL ? specs[id].argument : "");
        printf("  %-20s  ", left);
        print_wrapped(specs[id].help, 24, 24);
    }
    printf("\nexample: %s\n", verb->example);
}

void options_print_overview(void) {
    printf("usage: millpond VERB [OPTION...] FILE [OPERAND...]\n\n"
           "One cache file, shared by all processes of a machine.\n\nverbs:\n");
    for (unsigned i = 0; i < verb_count; i++) {
        printf("  %-7s ", verbs[i].name);
        print_wrapped(verbs[i].summary, 10, 10);
    }
    printf("\n'millpond VERB --help' tells more, 'millpond --version' the version, 'man millpond' everything.\n"
           "Sizes take K M G T (powers of 1024), times ms s m h d (a plain number is seconds).\n"
           "Status: 0 done, 1 no (a miss, already there, not there, damage), 2 wrong usage, 3 an error.\n");
}
