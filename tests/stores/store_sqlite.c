/* SPDX-License-Identifier: MIT */
/* The store in a table: types, names, locks of other processes, forks, damage. */

#include "contract.h"

#include <millpond_store_sqlite.h>
#include <sqlite3.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *file;

static struct millpond_store make(struct millpond_store_sqlite options) {
    struct millpond_store store;
    char errmsg[MILLPOND_ERRMSG_BYTES];
    if (!options.file) options.file = file = support_path("db.sqlite");
    REQUIRE(millpond_store_sqlite(&store, &options, errmsg) == MILLPOND_OK, "%s", errmsg);
    return store;
}

static struct millpond_store make_new(void) { return make((struct millpond_store_sqlite){.flags = MILLPOND_STORE_SQLITE_CREATE}); }

/* Statements on a connection of the test's own, which is closed again. The first column of the first row, "" for none. */
static const char *sql(const char *text) {
    static char answer[256];
    sqlite3 *db;
    sqlite3_stmt *statement;
    answer[0] = 0;
    REQUIRE(sqlite3_open(support_path("db.sqlite"), &db) == SQLITE_OK, "open");
    sqlite3_busy_timeout(db, 10000);
    for (const char *rest = text; *rest;) {
        REQUIRE(sqlite3_prepare_v2(db, rest, -1, &statement, &rest) == SQLITE_OK, "%s: %s", text, sqlite3_errmsg(db));
        if (!statement) break;
        int code = sqlite3_step(statement);
        REQUIRE(code == SQLITE_ROW || code == SQLITE_DONE, "%s: %s", text, sqlite3_errmsg(db));
        if (code == SQLITE_ROW && sqlite3_column_text(statement, 0))
            snprintf(answer, sizeof answer, "%s", (const char *)sqlite3_column_text(statement, 0));
        sqlite3_finalize(statement);
    }
    REQUIRE(sqlite3_close(db) == SQLITE_OK, "close");
    return answer;
}

static int keeps_the_contract(void *arg) {
    (void)arg;
    struct millpond_store store = make_new();
    contract_values(&store, 65535);
    contract_model(&store);
    contract_list(&store);
    contract_threads(&store);
    contract_late(&store);
    store.close(store.state);
    REQUIRE(strcmp(sql("PRAGMA integrity_check"), "ok") == 0, "%s", sql("PRAGMA integrity_check"));
    REQUIRE(strcmp(sql("PRAGMA journal_mode"), "wal") == 0, "%s", sql("PRAGMA journal_mode"));
    return 0;
}

static int keeps_the_contract_across_forks(void *arg) {
    (void)arg;
    struct millpond_store store = make_new();
    for (unsigned i = 0; i < 3; i++) contract_forks(&store);
    store.close(store.state);
    REQUIRE(strcmp(sql("PRAGMA integrity_check"), "ok") == 0, "%s", sql("PRAGMA integrity_check"));
    return 0;
}

/* ---- tables that others made ---- */

static int a_table_of_texts_stays_one(void *arg) {
    (void)arg;
    sql("CREATE TABLE \"odd \"\"name; DROP TABLE x\" (id INTEGER, \"k'\" VARCHAR(20) UNIQUE, \"v\"\"v\" TEXT, more TEXT DEFAULT 'kept');"
        "INSERT INTO \"odd \"\"name; DROP TABLE x\" VALUES (1, 'one', 'eins', 'mine'), (2, 'none', NULL, 'mine')");
    struct millpond_store store =
        make((struct millpond_store_sqlite){.table = "odd \"name; DROP TABLE x", .key_column = "k'", .value_column = "v\"v"});
    REQUIRE(contract_is(&store, "one", "eins"), "a row of others");
    REQUIRE(contract_is(&store, "none", NULL) && contract_count(&store) == 1, "NULL is no value");
    REQUIRE(contract_put(&store, "one", "uno") == MILLPOND_OK && contract_put(&store, "two", "due") == MILLPOND_OK, "%s", contract_said);
    REQUIRE(contract_is(&store, "one", "uno") && contract_is(&store, "two", "due") && contract_count(&store) == 2, "as stored");
    store.close(store.state);
    REQUIRE(
        strcmp(sql("SELECT typeof(\"v\"\"v\") || more || id FROM \"odd \"\"name; DROP TABLE x\" WHERE \"k'\" = 'one'"), "textmine1") == 0,
        "the rest of the row, and its types, stay");
    return 0;
}

static int numbers_are_keys(void *arg) {
    (void)arg;
    sql("CREATE TABLE t (id INTEGER PRIMARY KEY, v BLOB); INSERT INTO t VALUES (7, 'seven'), (8, x'00ff')");
    struct millpond_store store = make((struct millpond_store_sqlite){.table = "t", .key_column = "id", .value_column = "v"});
    REQUIRE(contract_is(&store, "7", "seven") && contract_is(&store, "9", NULL), "by number");
    REQUIRE(contract_put(&store, "9", "nine") == MILLPOND_OK && contract_is(&store, "9", "nine"), "%s", contract_said);
    REQUIRE(contract_put(&store, "no number", "x") < 0, "a text is no number");
    REQUIRE(contract_count(&store) == 3, "%zu", contract_count(&store));
    store.close(store.state);
    return 0;
}

static void refuse(struct millpond_store_sqlite options, int wanted, const char *part) {
    struct millpond_store store;
    char errmsg[MILLPOND_ERRMSG_BYTES];
    int result = millpond_store_sqlite(&store, &options, errmsg);
    REQUIRE(result == wanted && strstr(errmsg, part), "%d: '%s' is not about '%s'", result, errmsg, part);
}

static int what_does_not_fit_is_told_at_open(void *arg) {
    (void)arg;
    const char *path = support_path("db.sqlite");
    refuse((struct millpond_store_sqlite){.file = path}, MILLPOND_ERR_NO_FILE, "no such database");
    refuse((struct millpond_store_sqlite){.file = support_path("no/folder"), .flags = MILLPOND_STORE_SQLITE_CREATE}, MILLPOND_ERR_NO_FILE,
           "");
    sql("CREATE TABLE t (k TEXT, v TEXT); CREATE TABLE cache (key, value)");
    refuse((struct millpond_store_sqlite){.file = path, .table = "absent"}, MILLPOND_ERR_ARGUMENT, "absent");
    refuse((struct millpond_store_sqlite){.file = path, .table = "t"}, MILLPOND_ERR_ARGUMENT, "columns key and value");
    refuse((struct millpond_store_sqlite){.file = path, .table = "t", .key_column = "k", .value_column = "v"}, MILLPOND_ERR_ARGUMENT,
           "unique index");
    refuse((struct millpond_store_sqlite){.file = path, .flags = 64}, MILLPOND_ERR_ARGUMENT, "flags");
    refuse((struct millpond_store_sqlite){.file = ""}, MILLPOND_ERR_ARGUMENT, "file");
    struct millpond_store store =
        make((struct millpond_store_sqlite){.table = "t", .key_column = "k", .value_column = "v", .flags = MILLPOND_STORE_SQLITE_READONLY});
    REQUIRE(contract_is(&store, "x", NULL) && contract_put(&store, "x", "y") == MILLPOND_ERR_PERMISSION, "%s", contract_said);
    store.close(store.state);
    REQUIRE(support_write_file(support_path("text"), "this is no database, and long enough to be looked at as one\n", 60), "file");
    refuse((struct millpond_store_sqlite){.file = support_path("text")}, MILLPOND_ERR_CORRUPT, "no SQLite database");
    return 0;
}

/* ---- forks ---- */

/* Descriptors of the database and its log that this process has. */
static unsigned own_files(void) {
    unsigned count = 0;
    char link[64], target[512];
    DIR *folder = opendir("/proc/self/fd");
    REQUIRE(folder, "%s", strerror(errno));
    for (struct dirent *entry; (entry = readdir(folder));) {
        snprintf(link, sizeof link, "/proc/self/fd/%.20s", entry->d_name);
        ssize_t n = readlink(link, target, sizeof target - 1);
        target[n < 0 ? 0 : n] = 0;
        count += strstr(target, "db.sqlite") != NULL;
    }
    closedir(folder);
    return count;
}

static int use_in_child(void *arg) {
    const struct millpond_store *store = arg;
    REQUIRE(own_files() == 0, "%u files of the parent's connection are open in the child", own_files());
    REQUIRE(contract_is(store, "key", "value"), "in the child");
    REQUIRE(own_files() > 0, "it has no connection");
    char key[32];
    for (unsigned i = 0; i < 20; i++) {
        snprintf(key, sizeof key, "%ld %u", (long)getpid(), i);
        REQUIRE(contract_put(store, key, "x") == MILLPOND_OK, "%s", contract_said);
    }
    return 0; /* without close, as a child that ends */
}

static int each_process_has_its_connection(void *arg) {
    (void)arg;
    struct millpond_store store = make_new();
    REQUIRE(own_files() == 0, "open before the first call");
    REQUIRE(contract_put(&store, "key", "value") == MILLPOND_OK, "%s", contract_said);
    for (unsigned i = 0; i < 5; i++) {
        REQUIRE(own_files() > 0, "the parent has none");
        REQUIRE(support_run_child(use_in_child, &store, 30000) == 0, "child %u", i);
        REQUIRE(contract_is(&store, "key", "value"), "the parent");
    }
    REQUIRE(contract_count(&store) == 101, "%zu of 101 rows: somebody lost the log", contract_count(&store));
    store.close(store.state);
    REQUIRE(own_files() == 0, "open after close");
    REQUIRE(strcmp(sql("PRAGMA integrity_check"), "ok") == 0, "damaged");
    return 0;
}

/* The parent closes while the child works on: who closes last deletes the log, and must not believe that it is the last. */
static int write_after_parent(void *arg) {
    struct millpond_store *store = arg;
    char key[32];
    for (unsigned i = 0; i < 300; i++) {
        snprintf(key, sizeof key, "child %u", i);
        REQUIRE(contract_put(store, key, "x") == MILLPOND_OK, "%s", contract_said);
    }
    for (unsigned i = 0; i < 300; i++) {
        snprintf(key, sizeof key, "child %u", i);
        REQUIRE(contract_is(store, key, "x"), "%s is lost", key);
    }
    return 0;
}

static int a_child_works_on_while_the_parent_closes(void *arg) {
    (void)arg;
    for (unsigned turn = 0; turn < 5; turn++) {
        struct millpond_store store = make_new();
        REQUIRE(contract_put(&store, "key", "value") == MILLPOND_OK, "%s", contract_said);
        pid_t child = support_fork(write_after_parent, &store);
        for (unsigned i = 0; i < 20; i++) {
            REQUIRE(contract_put(&store, "key", "value") == MILLPOND_OK, "%s", contract_said);
            store.close(store.state);
            store = make_new();
        }
        REQUIRE(support_wait(child, 60000) == 0, "the child");
        REQUIRE(contract_count(&store) == 301, "%zu of 301 rows", contract_count(&store));
        store.close(store.state);
        REQUIRE(strcmp(sql("DELETE FROM cache; PRAGMA integrity_check"), "ok") == 0, "damaged");
    }
    return 0;
}

static int a_child_without_fork_handlers_is_refused(void *arg) {
    (void)arg;
    struct millpond_store store = make_new();
    contract_bare_child(&store);
    REQUIRE(contract_is(&store, "key", "value"), "the parent");
    store.close(store.state);
    return 0;
}

/* ---- trouble ---- */

static int a_lock_of_another_process_costs_the_deadline(void *arg) {
    (void)arg;
    struct millpond_store store = make_new();
    REQUIRE(contract_put(&store, "key", "value") == MILLPOND_OK, "%s", contract_said);
    sqlite3 *other;
    REQUIRE(sqlite3_open(file, &other) == SQLITE_OK && sqlite3_exec(other, "BEGIN IMMEDIATE", NULL, NULL, NULL) == SQLITE_OK, "%s",
            sqlite3_errmsg(other));
    contract_ms = 150;
    uint64_t start = support_now_ns();
    contract_require_error(&store, contract_put(&store, "key", "other"), MILLPOND_ERR_STORE_TIMEOUT, "locked");
    contract_require_error(&store, contract_erase(&store, "key", 3), MILLPOND_ERR_STORE_TIMEOUT, "locked");
    REQUIRE(support_now_ns() - start >= UINT64_C(250000000), "it did not wait for its deadline");
    REQUIRE(support_now_ns() - start < UINT64_C(20000000000), "it hung");
    REQUIRE(contract_is(&store, "key", "value"), "readers do not wait, in WAL mode");
    contract_ms = 20000;
    REQUIRE(sqlite3_exec(other, "ROLLBACK", NULL, NULL, NULL) == SQLITE_OK && sqlite3_close(other) == SQLITE_OK, "rollback");
    REQUIRE(contract_put(&store, "key", "other") == MILLPOND_OK && contract_is(&store, "key", "other"), "%s", contract_said);
    store.close(store.state);
    return 0;
}

static int a_long_statement_ends_at_the_deadline(void *arg) {
    (void)arg;
    struct millpond_store store = make_new();
    sql("CREATE TABLE base (n); WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < 3000) INSERT INTO base SELECT n "
        "FROM c;"
        "CREATE TRIGGER slow AFTER INSERT ON cache BEGIN SELECT count(*) FROM base a, base b, base c; END");
    contract_ms = 100;
    contract_require_error(&store, contract_put(&store, "key", "value"), MILLPOND_ERR_STORE_TIMEOUT, "statement");
    contract_ms = 20000;
    REQUIRE(contract_is(&store, "key", NULL), "nothing was stored");
    sql("DROP TRIGGER slow");
    REQUIRE(contract_put(&store, "key", "value") == MILLPOND_OK && contract_is(&store, "key", "value"), "%s", contract_said);
    store.close(store.state);
    return 0;
}

static int damage_is_told_and_repair_is_noticed(void *arg) {
    (void)arg;
    struct millpond_store store = make_new();
    char key[32];
    unsigned char junk[1 << 16];
    for (unsigned i = 0; i < 3000; i++) {
        snprintf(key, sizeof key, "key %u", i);
        REQUIRE(contract_put(&store, key, "a value that fills some pages") == MILLPOND_OK, "%s", contract_said);
    }
    store.close(store.state);
    size_t count;
    unsigned char *good = support_read_file(file, &count);
    REQUIRE(count > 2 * sizeof junk, "%zu", count);
    support_fill(junk, sizeof junk, 7);
    int fd = open(file, O_RDWR | O_CLOEXEC);
    for (size_t off = 4096; off + sizeof junk < count; off += sizeof junk) REQUIRE(pwrite(fd, junk, sizeof junk, (off_t)off) > 0, "pwrite");
    close(fd);
    store = make((struct millpond_store_sqlite){0});
    void *value;
    size_t bytes;
    contract_require_error(&store, contract_load(&store, "key 7", 5, &value, &bytes), MILLPOND_ERR_CORRUPT, "integrity_check");
    contract_require_error(&store, contract_put(&store, "key 7", "x"), MILLPOND_ERR_CORRUPT, "damaged");
    REQUIRE(support_write_file(support_path("mended"), good, count) && rename(support_path("mended"), file) == 0, "%s", strerror(errno));
    unlink(support_path("db.sqlite-wal"));
    unlink(support_path("db.sqlite-shm"));
    REQUIRE(contract_is(&store, "key 7", "a value that fills some pages"), "a new file at the same place");
    free(good);
    store.close(store.state);
    return 0;
}

static int a_killed_writer_leaves_the_database_whole(void *arg) {
    (void)arg;
    struct millpond_store store = make_new();
    struct support_random random = support_seed("kills");
    for (unsigned i = 0; i < 30; i++) {
        pid_t child = support_fork(write_after_parent, &store);
        support_sleep_us((unsigned)support_below(&random, 60000));
        support_kill(child);
        REQUIRE(contract_put(&store, "key", "value") == MILLPOND_OK && contract_is(&store, "key", "value"), "%s", contract_said);
    }
    store.close(store.state);
    REQUIRE(strcmp(sql("PRAGMA integrity_check"), "ok") == 0, "damaged");
    return 0;
}

static int without_permission_it_says_so(void *arg) {
    (void)arg;
    struct millpond_store store = make_new();
    REQUIRE(contract_put(&store, "key", "value") == MILLPOND_OK, "%s", contract_said);
    store.close(store.state);
    REQUIRE(chmod(file, 0400) == 0, "%s", strerror(errno));
    if (geteuid() == 0) REQUIRE(chown(file, 65534, 65534) == 0 && setgid(65534) == 0 && setuid(65534) == 0, "%s", strerror(errno));
    refuse((struct millpond_store_sqlite){.file = file}, MILLPOND_ERR_PERMISSION, "mode");
    return 0;
}

int main(int argc, char **argv) {
    static const struct support_case cases[] = {
        {"any key and value, lists, threads", keeps_the_contract, 120000},
        {"forks", keeps_the_contract_across_forks, 120000},
        {"a table of texts stays one, whatever its name", a_table_of_texts_stays_one, 30000},
        {"numbers are keys", numbers_are_keys, 30000},
        {"what does not fit is told at open", what_does_not_fit_is_told_at_open, 30000},
        {"each process has its connection", each_process_has_its_connection, 60000},
        {"a child works on while the parent closes", a_child_works_on_while_the_parent_closes, 120000},
        {"a child without fork handlers is refused", a_child_without_fork_handlers_is_refused, 30000},
        {"a lock of another process costs the deadline", a_lock_of_another_process_costs_the_deadline, 60000},
        {"a long statement ends at the deadline", a_long_statement_ends_at_the_deadline, 60000},
        {"damage is told, repair is noticed", damage_is_told_and_repair_is_noticed, 60000},
        {"a killed writer leaves the database whole", a_killed_writer_leaves_the_database_whole, 60000},
        {"without permission it says so", without_permission_it_says_so, 30000},
    };
    return support_run_cases(argc, argv, cases, sizeof cases / sizeof *cases);
}
