/* SPDX-License-Identifier: MIT */
/* Files whose identity is whole (its checksum is right) and says that another kind of program made them: refused by every way in, library
 * and command, each with the sentence for it, before anything is written. env_foreign does the same with programs that really are of other
 * kinds. */

#include "support.h"

#include "hash.h"
#include "layout.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static const struct foreign {
    const char *name, *words; /* that the sentence must have */
    size_t at;
    uint32_t value;
    int result;
} kinds[] = {
    {"other C library", "another processor or C library", offsetof(struct pond_identity, libc),
     POND_LIBC == POND_LIBC_MUSL ? POND_LIBC_GLIBC : POND_LIBC_MUSL, MILLPOND_ERR_LAYOUT},
    {"C library of the future", "another processor or C library", offsetof(struct pond_identity, libc), 77, MILLPOND_ERR_LAYOUT},
    {"32 bits", "32-bit program", offsetof(struct pond_identity, word_bytes), 4, MILLPOND_ERR_LAYOUT},
    {"16-byte words", "128-bit program", offsetof(struct pond_identity, word_bytes), 16, MILLPOND_ERR_LAYOUT},
    {"32-bit mutex", "locks differ", offsetof(struct pond_identity, mutex_bytes), 24, MILLPOND_ERR_LAYOUT},
    {"aarch64 mutex", "locks differ", offsetof(struct pond_identity, mutex_bytes), 48, MILLPOND_ERR_LAYOUT},
    {"other byte order", "another byte order", offsetof(struct pond_identity, byte_order), 0x04030201, MILLPOND_ERR_LAYOUT},
    {"middle-endian", "another byte order", offsetof(struct pond_identity, byte_order), 0x02010403, MILLPOND_ERR_LAYOUT},
    {"next version", "format version 4", offsetof(struct pond_identity, format_version), POND_FORMAT_VERSION + 1, MILLPOND_ERR_VERSION},
};

/* Writes the identity with one field changed, and its checksum. */
static void disguise(const char *path, const struct pond_identity *original, const struct foreign *as) {
    struct pond_identity id = *original;
    if (as) memcpy((char *)&id + as->at, &as->value, sizeof as->value);
    id.checksum = pond_hash(&id, offsetof(struct pond_identity, checksum), 0);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    REQUIRE(fd >= 0 && pwrite(fd, &id, sizeof id, 0) == sizeof id && close(fd) == 0, "%s cannot be written", path);
}

static void make(const char *path, struct pond_identity *identity) {
    size_t bytes;
    struct millpond *pond = support_create(path, 1 << 20);
    REQUIRE(millpond_set(pond, "k", 1, "v", 1, 0) == MILLPOND_OK, "set");
    millpond_close(pond);
    unsigned char *whole = support_read_file(path, &bytes);
    memcpy(identity, whole, sizeof *identity);
    free(whole);
}

static void refused(const struct foreign *as, const char *how, int result, const char *sentence, const char *path) {
    REQUIRE(result == as->result, "%s, %s: %d, expected %d: %s", as->name, how, result, as->result, sentence);
    REQUIRE(strstr(sentence, as->words) && strstr(sentence, "; ") && strncmp(sentence, path, strlen(path)) == 0,
            "%s, %s: '%s' does not say '%s'", as->name, how, sentence, as->words);
}

static int through_the_library(void *arg) {
    (void)arg;
    static const uint32_t flags[] = {0, MILLPOND_READONLY, MILLPOND_CREATE, MILLPOND_ANY_FILESYSTEM};
    static const char *const ways[] = {"open", "open read-only", "create", "open by force"};
    struct pond_identity original;
    const char *path = support_path("library.pond");
    make(path, &original);
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        disguise(path, &original, &kinds[i]);
        uint64_t before = support_hash_file(path);
        char errmsg[MILLPOND_ERRMSG_BYTES] = "";
        for (size_t k = 0; k < 4; k++) {
            struct millpond_options options = MILLPOND_OPTIONS_INIT;
            struct millpond *pond = NULL;
            options.flags = flags[k];
            refused(&kinds[i], ways[k], millpond_open(&pond, path, &options, errmsg), errmsg, path);
            REQUIRE(!pond, "%s: a handle in spite of the error", kinds[i].name);
        }
        for (unsigned repair = 0; repair < 2; repair++)
            refused(&kinds[i], "check", millpond_check(path, repair ? MILLPOND_CHECK_REPAIR : 0, NULL, NULL, NULL, errmsg), errmsg, path);
        REQUIRE(support_hash_file(path) == before, "%s: the file was changed", kinds[i].name);
    }
    disguise(path, &original, NULL); /* it was the field, and nothing else */
    REQUIRE(support_require_whole(path).entries == 1, "the entry is gone");
    return 0;
}

/* Runs the command; its output, errors included, into `said`. Returns its exit status. */
static int command(const char *line, char *said, size_t said_bytes) {
    FILE *output = popen(line, "r");
    REQUIRE(output, "%s", line);
    size_t bytes = fread(said, 1, said_bytes - 1, output);
    said[bytes] = 0;
    int status = pclose(output);
    REQUIRE(WIFEXITED(status), "%s: ended by a signal", line);
    return WEXITSTATUS(status);
}

static int through_the_command(void *arg) {
    (void)arg;
    const char *program = getenv("MILLPOND_COMMAND");
    if (!program || access(program, X_OK) != 0) return support_skip("MILLPOND_COMMAND does not name the command millpond");
    static const char *const verbs[][2] = {{"get", "k"}, {"set", "k w"}, {"stats", ""}, {"check", ""}, {"check --repair", ""}};
    struct pond_identity original;
    const char *path = support_path("command.pond");
    char line[8192], said[4096];
    make(path, &original);
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        disguise(path, &original, &kinds[i]);
        uint64_t before = support_hash_file(path);
        for (size_t k = 0; k < sizeof verbs / sizeof *verbs; k++) {
            snprintf(line, sizeof line, "'%s' %s '%s' %s 2>&1 </dev/null", program, verbs[k][0], path, verbs[k][1]);
            int status = command(line, said, sizeof said);
            REQUIRE(status == 3, "%s, millpond %s: status %d: %s", kinds[i].name, verbs[k][0], status, said);
            REQUIRE(strncmp(said, "millpond: ", 10) == 0 && strchr(said, '\n') == said + strlen(said) - 1, "not one line: %s", said);
            refused(&kinds[i], verbs[k][0], kinds[i].result, said + 10, path);
        }
        REQUIRE(support_hash_file(path) == before, "%s: the file was changed", kinds[i].name);
    }
    return 0;
}

int main(int argc, char **argv) {
    static const struct support_case cases[] = {
        {"the library refuses files of other kinds, whichever way they are opened", through_the_library, 30000},
        {"the command refuses them with the same sentences", through_the_command, 60000},
    };
    return support_run_cases(argc, argv, cases, sizeof cases / sizeof *cases);
}
