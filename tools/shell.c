/* SPDX-License-Identifier: MIT */
/* The verb shell: commands from a prompt or from a pipe.
 *
 * Every command gives one line of answer from a pipe, so that a program may count them: values are escaped, several on a line are parted
 * by tabs, and a value that begins with a parenthesis begins with \x28, so that (miss) can only be a miss. */
#define _GNU_SOURCE
#include "input.h"
#include "report.h"
#include "stats.h"
#include "words.h"

#include <errno.h>
#include <histedit.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct shell {
    const struct call *call;
    struct millpond *pond;
    struct millpond_txn *txn; /* between begin and commit or abort, else NULL */
    bool prompt;              /* a person is typing */
    bool leave;
};

struct command {
    const char *name;
    const char *operands;
    const char *help;
    size_t words_min, words_max; /* operands; SIZE_MAX for any number */
    void (*run)(struct shell *shell, const struct bytes *word, size_t count);
};

/* ---- answers ---- */

static bool erred; /* an error was answered since the last begin */

static void begin_error(void) {
    erred = true;
    fputs("(error) ", stdout);
}

static void answer_result(int result) {
    switch (result) {
    case MILLPOND_OK: puts("OK"); break;
    case MILLPOND_MISS: puts("(miss)"); break;
    case MILLPOND_EXISTS: puts("(exists)"); break;
    case MILLPOND_CHANGED: puts("(conflict)"); break;
    default: begin_error(); printf("%s; %s\n", millpond_strerror(result), report_advice(result));
    }
}

static void answer_wrong(const char *sentence) {
    begin_error();
    puts(sentence);
}

static void put_value(const void *value, size_t value_bytes) {
    const char *p = value;
    bool parenthesis = value_bytes != 0 && *p == '(';
    if (parenthesis) fputs("\\x28", stdout);
    format_escaped(stdout, p + parenthesis, value_bytes - parenthesis);
}

/* A number or a time in an operand; false after an answer was given. Operands may hold zero bytes, numbers may not. */
static bool word_text(const struct bytes *word, char text[64]) {
    if (word->size_bytes >= 64 || memchr(word->data, 0, word->size_bytes) != NULL) return false;
    memcpy(text, word->data, word->size_bytes);
    text[word->size_bytes] = 0;
    return true;
}

static bool word_time(const struct bytes *word, uint64_t *ms) {
    char text[64];
    if (word_text(word, text) && format_parse_time(text, ms)) return true;
    answer_wrong("the time to live is not a time; give one such as 250ms, 30s, 5m, 1h or 7d");
    return false;
}

static bool word_number(const struct bytes *word, int64_t *number) {
    char text[64];
    if (word_text(word, text) && format_parse_signed(text, number)) return true;
    answer_wrong("that is not a 64-bit number; give one such as 1 or -5");
    return false;
}

static bool word_group(const struct bytes *word, struct millpond_set *how) {
    how->group = word->data;
    how->group_bytes = word->size_bytes;
    if (word->size_bytes > 0 && word->size_bytes <= MILLPOND_GROUP_BYTES_MAX) return true;
    answer_wrong("the name of the group is empty or too long; give 1 to 255 bytes");
    return false;
}

/* ---- commands ---- */

static void store(struct shell *shell, const struct bytes *word, size_t count, enum millpond_when when) {
    struct millpond_set how = {.when = when};
    if (count >= 3 && !word_time(&word[2], &how.ttl_ms)) return;
    if (count == 4 && !word_group(&word[3], &how)) return;
    if (shell->txn != NULL && when == MILLPOND_ALWAYS) {
        answer_result(millpond_txn_set_ex(shell->txn, word[0].data, word[0].size_bytes, word[1].data, word[1].size_bytes, &how));
        return;
    }
    answer_result(millpond_set_ex(shell->pond, word[0].data, word[0].size_bytes, word[1].data, word[1].size_bytes, &how));
}

static void do_set(struct shell *shell, const struct bytes *word, size_t count) { store(shell, word, count, MILLPOND_ALWAYS); }

/* What has no meaning between begin and commit; false after an answer was given. */
static bool outside_txn(const struct shell *shell) {
    if (shell->txn == NULL) return true;
    answer_wrong("this cannot be part of a transaction; commit or abort that first");
    return false;
}

static void do_add(struct shell *shell, const struct bytes *word, size_t count) {
    if (outside_txn(shell)) store(shell, word, count, MILLPOND_IF_ABSENT);
}

static void do_replace(struct shell *shell, const struct bytes *word, size_t count) {
    if (outside_txn(shell)) store(shell, word, count, MILLPOND_IF_PRESENT);
}

/* As the transaction sees it, where there is one. The value is from malloc. */
static int get(struct shell *shell, const struct bytes *key, void **value, size_t *value_bytes) {
    if (shell->txn == NULL) return millpond_get_alloc(shell->pond, key->data, key->size_bytes, value, value_bytes);
    char *buf = NULL;
    int result = millpond_txn_get(shell->txn, key->data, key->size_bytes, NULL, 0, value_bytes);
    if (result == MILLPOND_OK || result == MILLPOND_TOO_SMALL) {
        buf = malloc(*value_bytes + 1);
        if (buf == NULL) return MILLPOND_ERR_NO_MEMORY;
        result = millpond_txn_get(shell->txn, key->data, key->size_bytes, buf, *value_bytes, value_bytes);
    }
    if (result == MILLPOND_OK)
        *value = buf;
    else
        free(buf);
    return result;
}

static void do_get(struct shell *shell, const struct bytes *word, size_t count) {
    void *value;
    size_t value_bytes;
    (void)count;
    int result = get(shell, word, &value, &value_bytes);
    if (result != MILLPOND_OK) {
        answer_result(result);
        return;
    }
    put_value(value, value_bytes);
    putchar('\n');
    free(value);
}

/* One answer of several on a line. */
static void put_one(int result, const void *value, size_t value_bytes) {
    if (result == MILLPOND_OK) {
        put_value(value, value_bytes);
    } else if (result == MILLPOND_MISS) {
        fputs("(miss)", stdout);
    } else if (result == MILLPOND_CHANGED) {
        fputs("(conflict)", stdout);
    } else {
        begin_error();
        fputs(millpond_strerror(result), stdout);
    }
}

typedef int (*reading)(struct millpond *pond, struct millpond_mget *items, size_t item_count);

/* Reads into a buffer for each key, again with larger ones until every value fits. */
static int read_whole(struct shell *shell, struct millpond_mget *items, size_t count, reading read) {
    size_t room_bytes = 1024;
    for (;;) {
        int result = MILLPOND_OK;
        for (size_t i = 0; i < count && result == MILLPOND_OK; i++) {
            if (items[i].buf_bytes >= room_bytes) continue;
            free(items[i].buf);
            items[i].buf_bytes = room_bytes;
            items[i].buf = malloc(room_bytes);
            if (items[i].buf == NULL) result = MILLPOND_ERR_NO_MEMORY;
        }
        if (result == MILLPOND_OK) result = read(shell->pond, items, count);
        if (result != MILLPOND_OK) return result;
        size_t wanted = room_bytes;
        for (size_t i = 0; i < count; i++)
            if (items[i].result == MILLPOND_TOO_SMALL && items[i].value_bytes > wanted) wanted = items[i].value_bytes;
        if (wanted == room_bytes) return MILLPOND_OK;
        room_bytes = wanted;
    }
}

/* By millpond_mget or millpond_snapshot. */
static void get_many(struct shell *shell, const struct bytes *word, size_t count, reading read) {
    struct millpond_mget *items = calloc(count, sizeof *items);
    if (items == NULL) {
        answer_result(MILLPOND_ERR_NO_MEMORY);
        return;
    }
    for (size_t i = 0; i < count; i++) items[i] = (struct millpond_mget){.key = word[i].data, .key_bytes = word[i].size_bytes};
    int result = read_whole(shell, items, count, read);
    if (result == MILLPOND_OK) {
        for (size_t i = 0; i < count; i++) {
            if (i != 0) putchar('\t');
            put_one(items[i].result, items[i].buf, items[i].value_bytes);
        }
        putchar('\n');
    } else {
        answer_result(result);
    }
    for (size_t i = 0; i < count; i++) free(items[i].buf);
    free(items);
}

static void do_mget(struct shell *shell, const struct bytes *word, size_t count) {
    if (shell->txn == NULL) {
        get_many(shell, word, count, millpond_mget);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        void *value = NULL;
        size_t value_bytes = 0;
        int result = get(shell, &word[i], &value, &value_bytes);
        if (i != 0) putchar('\t');
        put_one(result, value, value_bytes);
        free(value);
    }
    putchar('\n');
}

/* The keys as everybody sees them at one moment: of no transaction a half, of this shell's own nothing. */
static void do_snapshot(struct shell *shell, const struct bytes *word, size_t count) { get_many(shell, word, count, millpond_snapshot); }

/* ---- transactions ---- */

static void do_begin(struct shell *shell, const struct bytes *word, size_t count) {
    (void)word;
    (void)count;
    if (shell->txn != NULL) {
        answer_wrong("a transaction is open already; commit or abort it first");
        return;
    }
    erred = false;
    answer_result(millpond_txn_begin(shell->pond, &shell->txn));
}

static bool inside_txn(const struct shell *shell) {
    if (shell->txn != NULL) return true;
    answer_wrong("no transaction is open; begin one first");
    return false;
}

static void do_commit(struct shell *shell, const struct bytes *word, size_t count) {
    (void)word;
    (void)count;
    if (!inside_txn(shell)) return;
    if (erred && !shell->prompt) { /* nobody has read that a part of it was refused */
        millpond_txn_abort(shell->txn);
        answer_wrong("an error was answered since its begin, so nothing has happened; mend that and begin again");
    } else {
        answer_result(millpond_txn_commit(shell->txn));
    }
    shell->txn = NULL;
}

static void do_abort(struct shell *shell, const struct bytes *word, size_t count) {
    (void)word;
    (void)count;
    if (!inside_txn(shell)) return;
    millpond_txn_abort(shell->txn);
    shell->txn = NULL;
    answer_result(MILLPOND_OK);
}

static void do_del(struct shell *shell, const struct bytes *word, size_t count) {
    (void)count;
    if (shell->txn != NULL)
        answer_result(millpond_txn_delete(shell->txn, word->data, word->size_bytes));
    else
        answer_result(millpond_delete(shell->pond, word->data, word->size_bytes));
}

static void do_touch(struct shell *shell, const struct bytes *word, size_t count) {
    uint64_t ttl_ms;
    (void)count;
    if (outside_txn(shell) && word_time(&word[1], &ttl_ms))
        answer_result(millpond_touch(shell->pond, word->data, word->size_bytes, ttl_ms));
}

static void do_ttl(struct shell *shell, const struct bytes *word, size_t count) {
    char text[FORMAT_ROOM_BYTES];
    uint64_t ttl_ms;
    (void)count;
    int result = millpond_ttl(shell->pond, word->data, word->size_bytes, &ttl_ms);
    if (result != MILLPOND_OK) {
        answer_result(result);
        return;
    }
    format_time(text, ttl_ms);
    puts(text);
}

static void do_incr(struct shell *shell, const struct bytes *word, size_t count) {
    struct millpond_incr create = {0, 0};
    struct millpond_set how = {0};
    int64_t delta = 1, number;
    if (count > 1 && !word_number(&word[1], &delta)) return;
    if (count > 2 && !word_number(&word[2], &create.initial)) return;
    if (count > 3 && !word_time(&word[3], &create.ttl_ms)) return;
    if (count > 4 && (!outside_txn(shell) || !word_group(&word[4], &how))) return;
    const struct millpond_incr *made = count > 2 ? &create : NULL;
    how.ttl_ms = create.ttl_ms;
    int result = count > 4            ? millpond_incr_ex(shell->pond, word->data, word->size_bytes, delta, create.initial, &how, &number)
                 : shell->txn != NULL ? millpond_txn_incr(shell->txn, word->data, word->size_bytes, delta, made, &number)
                                      : millpond_incr(shell->pond, word->data, word->size_bytes, delta, made, &number);
    if (result == MILLPOND_OK)
        printf("%" PRId64 "\n", number);
    else
        answer_result(result);
}

static void do_clear(struct shell *shell, const struct bytes *word, size_t count) {
    struct millpond_set how;
    if (!outside_txn(shell) || (count > 0 && !word_group(word, &how))) return;
    answer_result(count > 0 ? millpond_invalidate(shell->pond, how.group, how.group_bytes) : millpond_clear(shell->pond));
}

struct key_list {
    char separator;
    bool any;
};

static int put_key(void *arg, const struct millpond_entry *entry) {
    struct key_list *list = arg;
    if (list->any) putchar(list->separator);
    list->any = true;
    put_value(entry->key, entry->key_bytes);
    return ferror(stdout);
}

static void do_keys(struct shell *shell, const struct bytes *word, size_t count) {
    struct key_list list = {shell->prompt ? '\n' : '\t', false};
    bool all = count == 0 || word->size_bytes == 0;
    int result = millpond_scan(shell->pond, all ? NULL : word->data, all ? 0 : word->size_bytes, MILLPOND_SCAN_KEYS, put_key, &list);
    if (result < 0 && !list.any) {
        answer_result(result);
        return;
    }
    puts(list.any ? "" : "(none)");
}

static void do_stats(struct shell *shell, const struct bytes *word, size_t count) {
    struct millpond_stats stats;
    (void)word;
    (void)count;
    int result = millpond_stats(shell->pond, -1, &stats);
    if (result != MILLPOND_OK) {
        answer_result(result);
    } else if (shell->prompt) {
        stats_print_table(&stats);
    } else {
        for (unsigned i = 0; i < stats_field_count(); i++) {
            struct stats_field field = stats_field(i);
            printf("%s%s=%" PRIu64, i == 0 ? "" : "\t", field.name, stats_value(&stats, &field));
        }
        putchar('\n');
    }
}

static void do_help(struct shell *shell, const struct bytes *word, size_t count);

static void do_quit(struct shell *shell, const struct bytes *word, size_t count) {
    (void)word;
    (void)count;
    shell->leave = true;
    if (!shell->prompt) puts("OK");
}

static const struct command commands[] = {
    {"set", "KEY VALUE [TIME [GROUP]]", "store a value, for ever (0) or for TIME", 2, 4, do_set},
    {"add", "KEY VALUE [TIME [GROUP]]", "the same if the key is not there, else (exists)", 2, 4, do_add},
    {"replace", "KEY VALUE [TIME [GROUP]]", "the same if the key is there, else (miss)", 2, 4, do_replace},
    {"get", "KEY", "the value, escaped, or (miss)", 1, 1, do_get},
    {"mget", "KEY...", "the values of several keys, parted by tabs", 1, SIZE_MAX, do_mget},
    {"snapshot", "KEY...", "the same, as they are at one moment", 1, SIZE_MAX, do_snapshot},
    {"begin", "", "from here on set, get, mget, del and incr are one transaction", 0, 0, do_begin},
    {"commit", "", "make it happen, or (conflict): something it read has changed", 0, 0, do_commit},
    {"abort", "", "forget it", 0, 0, do_abort},
    {"del", "KEY", "remove a key", 1, 1, do_del},
    {"touch", "KEY TIME", "another time to live, from now on", 2, 2, do_touch},
    {"ttl", "KEY", "the time left, or never", 1, 1, do_ttl},
    {"incr", "KEY [NUMBER [INIT [TIME [GROUP]]]]", "add to a counter; with INIT, make it when it is not there", 1, 5, do_incr},
    {"clear", "[GROUP]", "remove everything, or what is of a group", 0, 1, do_clear},
    {"keys", "[PREFIX]", "the keys, parted by tabs, or one a line at a prompt", 0, 1, do_keys},
    {"stats", "", "the figures of the pond", 0, 0, do_stats},
    {"help", "", "this list", 0, 0, do_help},
    {"quit", "", "leave", 0, 0, do_quit},
};
enum { COMMAND_COUNT = sizeof commands / sizeof commands[0] };

static void do_help(struct shell *shell, const struct bytes *word, size_t count) {
    (void)word;
    (void)count;
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        if (shell->prompt)
            printf("%-9s%-36s%s\n", commands[i].name, commands[i].operands, commands[i].help);
        else
            printf("%s%s%s%s", i == 0 ? "" : "\t", commands[i].name, commands[i].operands[0] != 0 ? " " : "", commands[i].operands);
    }
    if (shell->prompt)
        puts("Words may stand in 'quotes' or \"quotes\"; \\xNN is any byte; a line that begins with # is a remark.");
    else
        putchar('\n');
}

/* ---- lines ---- */

static const struct command *find_command(const struct bytes *word) {
    for (size_t i = 0; i < COMMAND_COUNT; i++)
        if (strlen(commands[i].name) == word->size_bytes && memcmp(commands[i].name, word->data, word->size_bytes) == 0)
            return &commands[i];
    return NULL;
}

/* Blank lines and remarks are no commands and get no answer. */
static void obey(struct shell *shell, struct words *words, const void *line, size_t line_bytes) {
    if (line_bytes != 0 && *(const char *)line == '#') return;
    const char *wrong = words_split(words, line, line_bytes);
    if (wrong != NULL) {
        answer_wrong(wrong);
        return;
    }
    if (words->count == 0) return;
    const struct command *command = find_command(&words->word[0]);
    size_t operands = words->count - 1;
    if (command == NULL) {
        begin_error();
        fputs("unknown command '", stdout);
        format_escaped(stdout, words->word[0].data, words->word[0].size_bytes);
        puts("'; 'help' lists them");
    } else if (operands < command->words_min || operands > command->words_max) {
        begin_error();
        printf("wrong number of words; use: %s %s\n", command->name, command->operands);
    } else {
        command->run(shell, words->word + 1, operands);
    }
}

static enum status obey_pipe(struct shell *shell, struct words *words) {
    struct lines lines = {.fd = STDIN_FILENO};
    const unsigned char *line;
    ssize_t length = 0;
    while (!shell->leave && !ferror(stdout) && (length = lines_next(&lines, &line)) >= 0) obey(shell, words, line, (size_t)length);
    int failed = errno;
    lines_free(&lines);
    if (length == -2) return report_error("standard input", "%s; send shorter lines, or mend the source", strerror(failed));
    return STATUS_DONE;
}

/* ---- the prompt ---- */

static char *show_prompt(EditLine *editor) {
    static char text[] = "millpond> ";
    (void)editor;
    return text;
}

/* Where the history is kept: $MILLPOND_HISTORY (empty: nowhere), else ~/.millpond_history. From malloc, or NULL. */
static char *history_path(void) {
    const char *named = getenv("MILLPOND_HISTORY"), *home = getenv("HOME");
    char *path = NULL;
    if (named != NULL) return named[0] != 0 ? strdup(named) : NULL;
    if (home == NULL || home[0] == 0 || asprintf(&path, "%s/.millpond_history", home) < 0) return NULL;
    return path;
}

static void edit_lines(struct shell *shell, struct words *words, EditLine *editor, History *past) {
    HistEvent event;
    const char *line;
    int length;
    el_set(editor, EL_PROMPT, show_prompt);
    el_set(editor, EL_EDITOR, "emacs");
    el_set(editor, EL_SIGNAL, 1);
    el_set(editor, EL_HIST, history, past);
    el_source(editor, NULL);
    while (!shell->leave && (line = el_gets(editor, &length)) != NULL && length > 0) {
        if (length > 1) history(past, &event, H_ENTER, line);
        obey(shell, words, line, (size_t)length);
    }
    if (!shell->leave) putchar('\n');
}

static enum status obey_person(struct shell *shell, struct words *words) {
    HistEvent event;
    char *path = history_path();
    EditLine *editor = el_init("millpond", stdin, stdout, stderr);
    History *past = history_init();
    if (editor == NULL || past == NULL) {
        if (editor != NULL) el_end(editor);
        if (past != NULL) history_end(past);
        free(path);
        return report_error("terminal", "the line editor does not start; set TERM, or send commands through a pipe");
    }
    history(past, &event, H_SETSIZE, 1000);
    history(past, &event, H_SETUNIQUE, 1);
    if (path != NULL) history(past, &event, H_LOAD, path);
    edit_lines(shell, words, editor, past);
    /* The library gives the file the mode 0600: what was typed may be secret. */
    if (path != NULL) history(past, &event, H_SAVE, path);
    history_end(past);
    el_end(editor);
    free(path);
    return STATUS_DONE;
}

enum status verb_shell(const struct call *call) {
    struct shell shell = {.call = call, .prompt = isatty(STDIN_FILENO) && isatty(STDOUT_FILENO)};
    struct words words = {NULL, 0, 0, NULL};
    enum status status = input_open(call, ACCESS_USE, &shell.pond);
    if (status != STATUS_DONE) return status;
    status = shell.prompt ? obey_person(&shell, &words) : obey_pipe(&shell, &words);
    words_free(&words);
    millpond_txn_abort(shell.txn);
    return input_close(call, shell.pond, status);
}
