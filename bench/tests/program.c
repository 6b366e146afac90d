/* SPDX-License-Identifier: MIT */
/* program.c: runs millpond-bench. The program's path comes from MILLPOND_BENCH. */
#include "program.h"

#include "host.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

char program_folder[96];

void program_begin(void) {
    const char *place = getenv("TMPDIR");
    snprintf(program_folder, sizeof program_folder, "%.60s/bench-verbs-XXXXXX", place && *place ? place : "/tmp");
    cr_assert_not_null(mkdtemp(program_folder));
    cr_assert_not_null(getenv("MILLPOND_BENCH"), "MILLPOND_BENCH must name the program; ctest sets it");
}

void program_end(void) {
    host_remove_folder(program_folder);
}

const char *program_path(const char *name) {
    static char paths[4][256];
    static unsigned next;
    char *path = paths[next++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s", program_folder, name);
    return path;
}

void program_put(const char *name, const void *bytes, size_t count) {
    FILE *file = fopen(program_path(name), "w");
    cr_assert_not_null(file, "%s", name);
    cr_assert_eq(fwrite(bytes, 1, count, file), count);
    cr_assert_eq(fclose(file), 0);
}

static char *content(const char *name) {
    FILE *file = fopen(program_path(name), "r");
    cr_assert_not_null(file);
    char *text = NULL;
    size_t room = 0;
    if (getdelim(&text, &room, 0, file) < 0) {
        free(text);
        text = strdup("");
    }
    fclose(file);
    return text;
}

void program_start(struct program *program, const char *input, const char *const *words) {
    char *argv[PROGRAM_WORDS_MAX + 2] = {getenv("MILLPOND_BENCH")};
    memset(program, 0, sizeof *program);
    for (unsigned i = 0; words[i]; i++) {
        cr_assert_lt(i, PROGRAM_WORDS_MAX);
        memcpy(&argv[i + 1], &words[i], sizeof *words);
    }
    const char *out = program_path("stdout"), *err = program_path("stderr");
    program->pid = fork();
    cr_assert_geq(program->pid, 0);
    if (program->pid > 0)
        return;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    int fds[3] = {open(input ? input : "/dev/null", O_RDONLY), open(out, O_WRONLY | O_CREAT | O_TRUNC, 0600),
                  open(err, O_WRONLY | O_CREAT | O_TRUNC, 0600)};
    for (int i = 0; i < 3; i++) {
        if (fds[i] < 0 || dup2(fds[i], i) < 0)
            _exit(126);
    }
    execv(argv[0], argv);
    _exit(127);
}

void program_wait(struct program *program, unsigned seconds) {
    bool late;
    int status = host_reap(program->pid, seconds * UINT64_C(1000000000), &late);
    program->status = !late && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    program->out = content("stdout");
    program->err = content("stderr");
}

void program_run(struct program *program, const char *input, const char *const *words) {
    program_start(program, input, words);
    program_wait(program, 60);
}

void program_free(struct program *program) {
    free(program->out);
    free(program->err);
}

pid_t program_child(const struct program *program, unsigned nth) {
    char path[96];
    long child = 0;
    snprintf(path, sizeof path, "/proc/%ld/task/%ld/children", (long)program->pid, (long)program->pid);
    FILE *file = fopen(path, "r");
    if (!file)
        return 0;
    for (unsigned i = 0; i <= nth; i++) {
        if (fscanf(file, "%ld", &child) != 1)
            child = 0;
    }
    fclose(file);
    return (pid_t)child;
}

json_t *program_json(const struct program *program) {
    json_error_t error;
    json_t *root = json_loads(program->out, JSON_REJECT_DUPLICATES, &error);
    cr_assert_not_null(root, "%s in: %s (standard error: %s)", error.text, program->out, program->err);
    return root;
}
