/* SPDX-License-Identifier: MIT */
/* main.c: millpond-bench VERB: which verb, and what there is. */
#include "host.h"
#include "verbs.h"
#include <millpond.h>

#include <stdio.h>
#include <string.h>

static const struct {
    const char *name, *summary;
    int (*run)(int argc, char **argv);
} verbs[] = {
    {"pool", "a pool of workers shares one cache in front of real files; every byte is compared", verb_pool},
    {"run", "engines side by side: ns per operation, latencies, load, memory", verb_run},
    {"replay", "miss ratio and write amplification on a trace, beside exact policies", verb_replay},
    {"soak", "workers are killed and replaced; every read is verified", verb_soak},
};

static void print_help(FILE *out) {
    fprintf(out, "millpond-bench VERB [OPTION ...]\n\n");
    for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++)
        fprintf(out, "  %-8s %s\n", verbs[i].name, verbs[i].summary);
    fprintf(out, "\nmillpond-bench VERB --help tells the options. Sizes take K M G, times ms s m h.\n"
                 "Exit status: 0 done, 1 a check failed, 2 wrong usage, 3 an error (one line on standard error).\n");
}

int main(int argc, char **argv) {
    const char *name = argc > 1 ? argv[1] : NULL;
    if (!name) {
        print_help(stderr);
        return 2;
    }
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0 || (strcmp(name, "help") == 0 && argc == 2)) {
        print_help(stdout);
        return 0;
    }
    if (strcmp(name, "--version") == 0) {
        printf("millpond-bench %s\n", millpond_version());
        return 0;
    }
    host_catch_interrupts();
    for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++) {
        char *help[] = {(char[]){"--help"}, NULL};
        if (strcmp(name, verbs[i].name) == 0)
            return verbs[i].run(argc - 2, argv + 2);
        if (strcmp(name, "help") == 0 && strcmp(argv[2], verbs[i].name) == 0)
            return verbs[i].run(1, help);
    }
    fprintf(stderr, "millpond-bench: %s: there is no such verb; see millpond-bench --help\n", strcmp(name, "help") == 0 ? argv[2] : name);
    return 2;
}
