/* SPDX-License-Identifier: MIT */
/* The command millpond: finds the verb, has its options read, runs it, and makes sure that what it printed arrived. */
#define _GNU_SOURCE
#include "report.h"
#include "verbs.h"

#include "millpond.h"
#include <fcntl.h>
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* A closed standard stream would give its number to the pond, and what is printed would be written into the cache. Each gets a file
 * that refuses its use instead. */
static void occupy_standard_streams(void) {
    for (int fd = 0; fd <= 2; fd++)
        if (fcntl(fd, F_GETFD) < 0) open("/dev/null", fd == 0 ? O_WRONLY : O_RDONLY); /* the lowest free number is this one */
}

static enum status help(int argc, char **argv) {
    if (argc == 0) {
        options_print_overview();
        return STATUS_DONE;
    }
    const struct verb *verb = verb_find(argv[0]);
    if (verb == NULL) return report_usage(NULL, "unknown verb '%s'", argv[0]);
    options_print_help(verb);
    return STATUS_DONE;
}

static enum status run(int argc, char **argv) {
    struct call call;
    if (argc < 2) return report_usage(NULL, "the verb is missing: millpond VERB FILE");
    const char *word = argv[1];
    if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0 || strcmp(word, "help") == 0) return help(argc - 2, argv + 2);
    if (strcmp(word, "--version") == 0) {
        printf("millpond %s\n", millpond_version());
        return STATUS_DONE;
    }
    const struct verb *verb = verb_find(word);
    if (verb == NULL) return report_usage(NULL, "unknown verb '%s'", word);
    enum status status = options_parse(&call, verb, argc - 1, argv + 1);
    if (status != STATUS_DONE || call.file == NULL) return status;
    report_guard(call.file, NULL);
    return verb->run(&call);
}

int main(int argc, char **argv) {
    occupy_standard_streams();
    setlocale(LC_CTYPE, ""); /* for the terminal; numbers are the same everywhere */
    signal(SIGPIPE, SIG_IGN);
    return (int)report_finish(run(argc, argv));
}
