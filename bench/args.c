/* SPDX-License-Identifier: MIT */
/* args.c: parsing and help from one table of options. */
#include "args.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct unit {
    const char *name;
    double factor;
};

static const struct unit count_units[] = {{"", 1}, {"K", 1e3}, {"M", 1e6}, {"G", 1e9}, {NULL, 0}};
static const struct unit size_units[] = {{"", 1}, {"K", 0x1p10}, {"M", 0x1p20}, {"G", 0x1p30}, {"T", 0x1p40}, {NULL, 0}};
static const struct unit time_units[] = {{"", 1e9}, {"ns", 1}, {"us", 1e3}, {"ms", 1e6}, {"s", 1e9}, {"m", 60e9}, {"h", 3600e9}, {NULL, 0}};

/* A number, perhaps with a fraction, and a unit of the list; lower-case k m g are taken where no unit means something else. */
static bool read_scaled(const char *text, const struct unit *units, bool any_case, uint64_t *answer) {
    char *end;
    if (!isdigit((unsigned char)text[0]) && text[0] != '.')
        return false; /* strtod would take spaces, signs, "inf" and "nan" */
    if (text[0] == '0' && (text[1] == 'x' || text[1] == 'X'))
        return false;
    errno = 0;
    double number = strtod(text, &end);
    if (end == text || errno != 0)
        return false;
    for (; units->name; units++) {
        if (any_case ? strcasecmp(end, units->name) != 0 : strcmp(end, units->name) != 0)
            continue;
        double scaled = number * units->factor;
        if (!(scaled < 0x1p63))
            return false;
        *answer = (uint64_t)llround(scaled);
        return true;
    }
    return false;
}

bool args_read_count(const char *text, uint64_t *count) {
    return read_scaled(text, count_units, true, count);
}

bool args_read_size(const char *text, uint64_t *bytes) {
    return read_scaled(text, size_units, true, bytes);
}

bool args_read_time(const char *text, uint64_t *ns) {
    return read_scaled(text, time_units, false, ns);
}

int args_wrong(const char *verb, const char *format, ...) {
    va_list list;
    fprintf(stderr, "millpond-bench: %s: ", verb);
    va_start(list, format);
    vfprintf(stderr, format, list);
    va_end(list);
    fprintf(stderr, "; see millpond-bench %s --help\n", verb);
    return ARGS_WRONG;
}

static void describe_default(const struct args_option *option, char *text, size_t text_bytes) {
    const uint64_t *number = option->to;
    const char *const *word = option->to;
    *text = 0;
    if (option->kind == ARGS_TEXT && *word)
        snprintf(text, text_bytes, " (%s)", *word);
    else if (option->kind == ARGS_COUNT && *number > 0)
        snprintf(text, text_bytes, " (%llu)", (unsigned long long)*number);
    else if (option->kind == ARGS_SIZE && *number >= 1 << 20 && *number % (1 << 20) == 0)
        snprintf(text, text_bytes, " (%lluM)", (unsigned long long)*number >> 20);
    else if (option->kind == ARGS_SIZE && *number > 0)
        snprintf(text, text_bytes, " (%llu)", (unsigned long long)*number);
    else if (option->kind == ARGS_TIME && *number >= 1000000000u)
        snprintf(text, text_bytes, " (%gs)", (double)*number / 1e9);
    else if (option->kind == ARGS_TIME && *number > 0)
        snprintf(text, text_bytes, " (%gms)", (double)*number / 1e6);
}

static void print_help(const struct args_verb *verb) {
    printf("millpond-bench %s %s\n\n%s\n\n", verb->name, verb->example, verb->summary);
    for (const struct args_option *option = verb->options; option->name; option++) {
        char left[64], preset[64];
        snprintf(left, sizeof left, "--%s %s", option->name, option->shape ? option->shape : "");
        describe_default(option, preset, sizeof preset);
        printf("  %-24s %s%s\n", left, option->help, preset);
    }
    printf("  %-24s %s\n", "--help", "this text");
    if (verb->notes)
        printf("\n%s\n", verb->notes);
}

static const struct args_option *find_option(const struct args_verb *verb, const char *name, size_t name_bytes) {
    for (const struct args_option *option = verb->options; option->name; option++) {
        if (strlen(option->name) == name_bytes && memcmp(option->name, name, name_bytes) == 0)
            return option;
    }
    return NULL;
}

static int take_value(const struct args_verb *verb, const struct args_option *option, const char *text) {
    uint64_t *number = option->to;
    bool good = true;
    if (option->kind == ARGS_TEXT) {
        const char **word = option->to;
        *word = text;
        return ARGS_GO;
    }
    if (option->kind == ARGS_COUNT)
        good = args_read_count(text, number);
    else if (option->kind == ARGS_SIZE)
        good = args_read_size(text, number);
    else
        good = args_read_time(text, number);
    if (!good)
        return args_wrong(verb->name, "--%s %s: that is not a %s", option->name, text,
                          option->kind == ARGS_TIME ? "time such as 50ms, 5s or 2m"
                          : option->kind == ARGS_SIZE ? "size such as 4096, 64M or 1G"
                                                      : "number such as 16 or 1M");
    if (*number < option->least || (option->most > 0 && *number > option->most))
        return args_wrong(verb->name, "--%s %s: out of range", option->name, text);
    return ARGS_GO;
}

/* One option; `next` is the word behind it or NULL. Sets `used` when that word was the option's. */
static int take_option(const struct args_verb *verb, const char *word, const char *next, bool *used) {
    const char *name = word + 2, *glued = strchr(name, '=');
    size_t name_bytes = glued ? (size_t)(glued - name) : strlen(name);
    const struct args_option *option = find_option(verb, name, name_bytes);
    *used = false;
    if (!option)
        return args_wrong(verb->name, "there is no option --%.*s", (int)name_bytes, name);
    if (option->kind == ARGS_FLAG) {
        bool *flag = option->to;
        *flag = true;
        return glued ? args_wrong(verb->name, "--%s takes no value", option->name) : ARGS_GO;
    }
    if (option->kind == ARGS_JSON) {
        struct args_json *json = option->to;
        json->wanted = true;
        *used = !glued && next && next[0] != '-';
        json->path = glued ? glued + 1 : *used ? next : NULL;
        return ARGS_GO;
    }
    *used = !glued;
    if (!glued && !next)
        return args_wrong(verb->name, "--%s needs a value", option->name);
    return take_value(verb, option, glued ? glued + 1 : next);
}

/* `replay --json trace`: the only word that can be the operand was taken for --json's file. Gives it back. */
static bool give_back(const struct args_verb *verb) {
    for (const struct args_option *option = verb->options; option->name; option++) {
        struct args_json *json = option->to;
        if (option->kind == ARGS_JSON && json->wanted && json->path) {
            *verb->operand_to = json->path;
            json->path = NULL;
            return true;
        }
    }
    return false;
}

int args_parse(const struct args_verb *verb, int argc, char **argv) {
    bool only_operands = false;
    for (int i = 0; i < argc; i++) {
        bool is_option = !only_operands && argv[i][0] == '-' && argv[i][1] != 0;
        if (is_option && strcmp(argv[i], "--") == 0) {
            only_operands = true;
        } else if (is_option && (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)) {
            print_help(verb);
            return ARGS_DONE;
        } else if (is_option && argv[i][1] == '-') {
            bool used;
            int outcome = take_option(verb, argv[i], i + 1 < argc ? argv[i + 1] : NULL, &used);
            if (outcome != ARGS_GO)
                return outcome;
            i += used;
        } else if (is_option) {
            return args_wrong(verb->name, "there is no option %s", argv[i]);
        } else if (!verb->operand || *verb->operand_to) {
            return args_wrong(verb->name, "%s: one word too many", argv[i]);
        } else {
            *verb->operand_to = argv[i];
        }
    }
    if (verb->operand && !*verb->operand_to && !give_back(verb))
        return args_wrong(verb->name, "%s is missing", verb->operand);
    return ARGS_GO;
}
