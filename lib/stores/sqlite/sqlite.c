/* SPDX-License-Identifier: MIT */
/* A table of an SQLite database as a store.
 *
 * One connection for each process, made by its first call, with three prepared statements. common.h has the protocol of forks (F1 to F5);
 * here before_fork closes the connection, in the parent: SQLite's list of open files, which knows what locks the process has, would
 * otherwise reach the child, whose own connection would then trust in locks that the kernel has given to the parent alone. (In WAL mode
 * a connection holds a shared lock as long as it is open; the last one that closes deletes the log, unless somebody holds it.)
 *
 * Deadlines: the busy handler gives up at the call's deadline, and so does the progress handler, which SQLite calls every few thousand
 * steps of a statement. */

#include "../common/common.h"

#include <millpond_store_sqlite.h>
#include <sqlite3.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include <unistd.h>

enum { OPEN_MS = 5000, PROGRESS_STEPS = 4000 };

enum statement { LOAD, STORE, ERASE, STATEMENTS };

struct sqlite {
    struct pond_store_link link;
    char *file, *name; /* the file's absolute path; sqlite:FILE, for messages */
    char *table, *key_column, *value_column;
    unsigned flags;
    int key_text, value_text; /* how the columns are declared */
    sqlite3 *db;              /* of this process; NULL between fork and the next call */
    sqlite3_stmt *statements[STATEMENTS];
    const struct millpond_store_call *call; /* the one that is being served */
};

/* ---- errors ---- */

static int failed(const struct sqlite *sqlite, int code, const struct millpond_store_call *call) {
    static const struct {
        int code, result;
        const char *sentence;
    } known[] = {
        {SQLITE_BUSY, MILLPOND_ERR_STORE_TIMEOUT, "the database was locked until the deadline; see who holds a transaction open"},
        {SQLITE_LOCKED, MILLPOND_ERR_STORE_TIMEOUT, "the table was locked until the deadline; see who holds a transaction open"},
        {SQLITE_INTERRUPT, MILLPOND_ERR_STORE_TIMEOUT,
         "the statement was not done before the deadline; see whether the key column has an index"},
        {SQLITE_CORRUPT, MILLPOND_ERR_CORRUPT, "the database is damaged; run PRAGMA integrity_check and restore it"},
        {SQLITE_NOTADB, MILLPOND_ERR_CORRUPT, "it is no SQLite database, or a damaged one; restore it"},
        {SQLITE_FULL, MILLPOND_ERR_NO_SPACE, "the disk is full; free space"},
        {SQLITE_READONLY, MILLPOND_ERR_PERMISSION, "the database may not be written; change the mode or owner of file and folder"},
        {SQLITE_PERM, MILLPOND_ERR_PERMISSION, "permission denied; change the mode or owner of file and folder"},
        {SQLITE_AUTH, MILLPOND_ERR_PERMISSION, "permission denied; change the mode or owner of file and folder"},
        {SQLITE_NOMEM, MILLPOND_ERR_NO_MEMORY, "out of memory"},
        {SQLITE_TOOBIG, MILLPOND_ERR_TOO_LARGE, "the value is larger than SQLite takes"},
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (known[i].code == (code & 255)) return pond_error_say(known[i].result, call->errmsg, sqlite->name, "%s", known[i].sentence);
    if ((code & 255) == SQLITE_CANTOPEN && access(sqlite->file, F_OK) != 0)
        return pond_error_say(MILLPOND_ERR_NO_FILE, call->errmsg, sqlite->name,
                              "there is no such database; make it first, or ask for create");
    if ((code & 255) == SQLITE_CANTOPEN)
        return pond_error_say(MILLPOND_ERR_PERMISSION, call->errmsg, sqlite->name,
                              "it cannot be opened; change the mode or owner of file and folder");
    return pond_error_say(MILLPOND_ERR_STORE, call->errmsg, sqlite->name, "SQLite says: %.120s",
                          sqlite->db ? sqlite3_errmsg(sqlite->db) : sqlite3_errstr(code));
}

static int late(const struct sqlite *sqlite) { return pond_store_now_ns() >= sqlite->call->deadline_ns; }

/* Another connection has the lock: wait a little, longer each time, until the deadline. */
static int on_busy(void *arg, int times) {
    const struct sqlite *sqlite = arg;
    if (late(sqlite)) return 0;
    struct timespec pause = {0, times < 5 ? 1000000L << times : 25000000};
    nanosleep(&pause, NULL);
    return 1;
}

static int on_progress(void *arg) { return late(arg); }

/* ---- the connection ---- */

static const struct millpond_store_call over; /* its deadline has passed: what closes a connection waits for nobody */

static void disconnect(struct sqlite *sqlite) {
    sqlite->call = &over;
    for (int i = 0; i < STATEMENTS; i++) sqlite3_finalize(sqlite->statements[i]);
    memset(sqlite->statements, 0, sizeof sqlite->statements);
    sqlite3_close(sqlite->db);
    sqlite->db = NULL;
}

static void before_fork(void *state) { disconnect(state); }

static int run(struct sqlite *sqlite, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    char *text = sqlite3_vmprintf(format, arguments);
    va_end(arguments);
    int code = text ? sqlite3_exec(sqlite->db, text, NULL, NULL, NULL) : SQLITE_NOMEM;
    sqlite3_free(text);
    return code;
}

static int prepare(struct sqlite *sqlite, enum statement which, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    char *text = sqlite3_vmprintf(format, arguments);
    va_end(arguments);
    int code = text ? sqlite3_prepare_v3(sqlite->db, text, -1, SQLITE_PREPARE_PERSISTENT, &sqlite->statements[which], NULL) : SQLITE_NOMEM;
    sqlite3_free(text);
    return code;
}

/* %w doubles the quotes in a name between quotes. */
static int prepare_all(struct sqlite *sqlite) {
    const char *t = sqlite->table, *k = sqlite->key_column, *v = sqlite->value_column;
    int code = prepare(sqlite, LOAD, "SELECT \"%w\" FROM \"%w\" WHERE \"%w\" = ?1 AND \"%w\" IS NOT NULL", v, t, k, v);
    if (code != SQLITE_OK || sqlite->flags & MILLPOND_STORE_SQLITE_READONLY) return code;
    code = prepare(sqlite, STORE,
                   "INSERT INTO \"%w\" (\"%w\", \"%w\") VALUES (?1, ?2) ON CONFLICT (\"%w\") DO UPDATE SET \"%w\" = excluded.\"%w\"", t, k,
                   v, k, v, v);
    return code != SQLITE_OK ? code : prepare(sqlite, ERASE, "DELETE FROM \"%w\" WHERE \"%w\" = ?1", t, k);
}

/* 1 when the column is declared as text or as a number, 0 when as a blob or not at all, -1 when there is none. A name between quotes that
 * is no column would be taken for a string, so this is looked at first. */
static int declared_text(struct sqlite *sqlite, const char *column) {
    const char *type = NULL;
    if (sqlite3_table_column_metadata(sqlite->db, NULL, sqlite->table, column, &type, NULL, NULL, NULL, NULL) != SQLITE_OK) return -1;
    return type && *type && !strcasestr(type, "BLOB");
}

static int use_wal(struct sqlite *sqlite) {
    sqlite3_stmt *statement = NULL;
    int code = sqlite3_prepare_v2(sqlite->db, "PRAGMA journal_mode=WAL", -1, &statement, NULL);
    if (code == SQLITE_OK) code = sqlite3_step(statement);
    sqlite3_finalize(statement);
    return code == SQLITE_ROW ? SQLITE_OK : code;
}

static int look_at_columns(struct sqlite *sqlite, const struct millpond_store_call *call) {
    sqlite->key_text = declared_text(sqlite, sqlite->key_column);
    sqlite->value_text = declared_text(sqlite, sqlite->value_column);
    if (sqlite->key_text >= 0 && sqlite->value_text >= 0) return MILLPOND_OK;
    int code = sqlite3_errcode(sqlite->db); /* reading the schema may have failed for other reasons */
    if (code != SQLITE_ERROR) return failed(sqlite, code, call);
    return pond_error_say(MILLPOND_ERR_ARGUMENT, call->errmsg, sqlite->name,
                          "there is no table %.40s with the columns %.40s and %.40s; name others, or ask for create", sqlite->table,
                          sqlite->key_column, sqlite->value_column);
}

static int set_up(struct sqlite *sqlite, const struct millpond_store_call *call) {
    int readonly = (sqlite->flags & MILLPOND_STORE_SQLITE_READONLY) != 0, code = SQLITE_OK;
    sqlite3_extended_result_codes(sqlite->db, 1);
    sqlite3_busy_handler(sqlite->db, on_busy, sqlite);
    sqlite3_progress_handler(sqlite->db, PROGRESS_STEPS, on_progress, sqlite);
    if (!readonly) code = use_wal(sqlite);
    if (code == SQLITE_OK)
        code = run(sqlite, sqlite->flags & MILLPOND_STORE_SQLITE_DURABLE ? "PRAGMA synchronous=FULL" : "PRAGMA synchronous=NORMAL");
    if (code == SQLITE_OK && sqlite->flags & MILLPOND_STORE_SQLITE_CREATE)
        code = run(sqlite, "CREATE TABLE IF NOT EXISTS \"%w\" (\"%w\" BLOB PRIMARY KEY, \"%w\" BLOB NOT NULL)", sqlite->table,
                   sqlite->key_column, sqlite->value_column);
    if (code != SQLITE_OK) return failed(sqlite, code, call);
    int result = look_at_columns(sqlite, call);
    if (result != MILLPOND_OK) return result;
    code = prepare_all(sqlite);
    if (code == SQLITE_ERROR && strstr(sqlite3_errmsg(sqlite->db), "ON CONFLICT"))
        return pond_error_say(MILLPOND_ERR_ARGUMENT, call->errmsg, sqlite->name,
                              "column %.60s of table %.60s has no unique index; make one, or open it read-only", sqlite->key_column,
                              sqlite->table);
    return code == SQLITE_OK ? MILLPOND_OK : failed(sqlite, code, call);
}

static int connect_file(struct sqlite *sqlite, const struct millpond_store_call *call) {
    int flags = SQLITE_OPEN_NOMUTEX | (sqlite->flags & MILLPOND_STORE_SQLITE_READONLY ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE);
    if (sqlite->flags & MILLPOND_STORE_SQLITE_CREATE) flags |= SQLITE_OPEN_CREATE;
    int code = sqlite3_open_v2(sqlite->file, &sqlite->db, flags, NULL);
    int result = code == SQLITE_OK ? set_up(sqlite, call) : failed(sqlite, code, call);
    if (result != MILLPOND_OK) disconnect(sqlite);
    return result;
}

/* Takes the connection for a call, makes it when this process has none or when the file was replaced. */
static int enter(struct sqlite *sqlite, const struct millpond_store_call *call) {
    int result = pond_store_enter(&sqlite->link, call), moved = 0;
    if (result != MILLPOND_OK) return result;
    sqlite->call = call;
    if (sqlite->db && sqlite3_file_control(sqlite->db, "main", SQLITE_FCNTL_HAS_MOVED, &moved) == SQLITE_OK && moved) disconnect(sqlite);
    if (!sqlite->db) result = connect_file(sqlite, call);
    if (result != MILLPOND_OK) pond_store_leave(&sqlite->link);
    return result;
}

/* After damage or a failed disk the next call begins with a connection that has no pages of it. */
static int leave(struct sqlite *sqlite, int result) {
    if (result == MILLPOND_ERR_CORRUPT || result == MILLPOND_ERR_STORE) disconnect(sqlite);
    pond_store_leave(&sqlite->link);
    return result;
}

/* ---- the calls ---- */

static int bind_bytes(sqlite3_stmt *statement, int nth, const void *bytes, size_t count, int text) {
    const char *at = count ? bytes : "";
    return text ? sqlite3_bind_text64(statement, nth, at, count, SQLITE_STATIC, SQLITE_UTF8)
                : sqlite3_bind_blob64(statement, nth, at, count, SQLITE_STATIC);
}

static int take_value(sqlite3_stmt *statement, struct millpond_store_item *item) {
    const void *bytes = sqlite3_column_blob(statement, 0); /* before its size: the size is that of the last conversion */
    size_t count = (size_t)sqlite3_column_bytes(statement, 0);
    item->value = malloc(count + 1);
    if (!item->value || (!bytes && count)) return SQLITE_NOMEM;
    if (count) memcpy(item->value, bytes, count);
    item->value_bytes = count;
    item->ttl_ms = 0;
    return SQLITE_ROW;
}

static int sqlite_load(void *state, struct millpond_store_item *item, const struct millpond_store_call *call) {
    struct sqlite *sqlite = state;
    item->result = enter(sqlite, call);
    if (item->result != MILLPOND_OK) return item->result;
    sqlite3_stmt *statement = sqlite->statements[LOAD];
    int code = bind_bytes(statement, 1, item->key, item->key_bytes, sqlite->key_text);
    if (code == SQLITE_OK) code = sqlite3_step(statement);
    if (code == SQLITE_ROW) code = take_value(statement, item);
    item->result = code == SQLITE_ROW ? MILLPOND_OK : code == SQLITE_DONE ? MILLPOND_MISS : failed(sqlite, code, call);
    sqlite3_reset(statement);
    return leave(sqlite, item->result);
}

/* A statement that writes: OK when it changed a row, else MISS. */
static int change(struct sqlite *sqlite, enum statement which, const void *key, size_t key_bytes, const void *value, size_t value_bytes,
                  const struct millpond_store_call *call) {
    if (sqlite->flags & MILLPOND_STORE_SQLITE_READONLY)
        return pond_error_say(MILLPOND_ERR_PERMISSION, call->errmsg, sqlite->name, "the store was opened read-only");
    int result = enter(sqlite, call);
    if (result != MILLPOND_OK) return result;
    sqlite3_stmt *statement = sqlite->statements[which];
    int code = bind_bytes(statement, 1, key, key_bytes, sqlite->key_text);
    if (code == SQLITE_OK && which == STORE) code = bind_bytes(statement, 2, value, value_bytes, sqlite->value_text);
    if (code == SQLITE_OK) code = sqlite3_step(statement);
    if (code != SQLITE_DONE)
        result = failed(sqlite, code, call);
    else if (sqlite3_changes(sqlite->db) == 0)
        result = MILLPOND_MISS;
    sqlite3_reset(statement);
    sqlite3_clear_bindings(statement);
    return leave(sqlite, result);
}

static int sqlite_store(void *state, const void *key, size_t key_bytes, const void *value, size_t value_bytes, uint64_t ttl_ms,
                        const struct millpond_store_call *call) {
    (void)ttl_ms;
    return change(state, STORE, key, key_bytes, value, value_bytes, call);
}

static int sqlite_erase(void *state, const void *key, size_t key_bytes, const struct millpond_store_call *call) {
    return change(state, ERASE, key, key_bytes, NULL, 0, call);
}

/* The visitor may call into the store, so the connection is not held while it runs: keys come in pages, in their order. */
enum { PAGE_KEYS = 500 };

struct page {
    size_t count;
    struct {
        void *key;
        size_t key_bytes;
        uint64_t value_bytes;
    } at[PAGE_KEYS];
};

static int copy_row(struct page *page, sqlite3_stmt *statement) {
    const void *bytes = sqlite3_column_blob(statement, 0);
    size_t count = (size_t)sqlite3_column_bytes(statement, 0);
    void *key = malloc(count + 1);
    if (!key || (!bytes && count)) return SQLITE_NOMEM;
    if (count) memcpy(key, bytes, count);
    page->at[page->count].key = key;
    page->at[page->count].key_bytes = count;
    page->at[page->count++].value_bytes = (uint64_t)sqlite3_column_int64(statement, 1);
    return SQLITE_OK;
}

/* The rows behind `after` (none: from the start). */
static int read_page(struct sqlite *sqlite, struct page *page, const void *after, size_t after_bytes,
                     const struct millpond_store_call *call) {
    const char *t = sqlite->table, *k = sqlite->key_column, *v = sqlite->value_column;
    int result = enter(sqlite, call);
    if (result != MILLPOND_OK) return result;
    sqlite3_stmt *statement = NULL;
    char *behind = sqlite3_mprintf(after ? "AND \"%w\" > ?1" : "", k);
    char *text =
        behind ? sqlite3_mprintf("SELECT \"%w\", length(CAST(\"%w\" AS BLOB)) FROM \"%w\" WHERE \"%w\" IS NOT NULL AND \"%w\" IS NOT NULL "
                                 "%s ORDER BY \"%w\" LIMIT %d",
                                 k, v, t, k, v, behind, k, PAGE_KEYS)
               : NULL;
    sqlite3_free(behind);
    int code = text ? sqlite3_prepare_v2(sqlite->db, text, -1, &statement, NULL) : SQLITE_NOMEM;
    sqlite3_free(text);
    if (code == SQLITE_OK && after) code = bind_bytes(statement, 1, after, after_bytes, sqlite->key_text);
    while (code == SQLITE_OK && (code = sqlite3_step(statement)) == SQLITE_ROW) code = copy_row(page, statement);
    if (code != SQLITE_DONE) result = failed(sqlite, code, call);
    sqlite3_finalize(statement);
    return leave(sqlite, result);
}

static int sqlite_list(void *state, millpond_store_visit visit, void *arg, const struct millpond_store_call *call) {
    struct sqlite *sqlite = state;
    struct page *page = malloc(sizeof *page);
    void *after = NULL;
    size_t after_bytes = 0;
    int result = page ? MILLPOND_OK : pond_error_say(MILLPOND_ERR_NO_MEMORY, call->errmsg, sqlite->name, "out of memory");
    for (int more = 1; more && result == MILLPOND_OK;) {
        page->count = 0;
        result = read_page(sqlite, page, after, after_bytes, call);
        more = page->count == PAGE_KEYS;
        for (size_t i = 0; i < page->count; i++) {
            if (result == MILLPOND_OK) result = visit(arg, page->at[i].key, page->at[i].key_bytes, page->at[i].value_bytes);
            if (i + 1 < page->count) {
                free(page->at[i].key);
            } else {
                free(after);
                after = page->at[i].key;
                after_bytes = page->at[i].key_bytes;
            }
        }
    }
    free(after);
    free(page);
    return result;
}

/* ---- open, close ---- */

static void free_all(struct sqlite *sqlite) {
    free(sqlite->file);
    free(sqlite->name);
    free(sqlite->table);
    free(sqlite->key_column);
    free(sqlite->value_column);
    free(sqlite);
}

static void sqlite_close(void *state) {
    struct sqlite *sqlite = state;
    if (sqlite->link.pid == getpid()) disconnect(sqlite);
    pond_store_unlink(&sqlite->link);
    free_all(sqlite);
}

/* Later changes of the working directory do not count; and a name such as ":memory:" or "file:..." is a file like any other. */
static char *absolute(const char *file) {
    char *path = NULL, *here = *file == '/' ? strdup("") : getcwd(NULL, 0);
    if (here && asprintf(&path, "%s%s%s", here, *file == '/' ? "" : "/", file) < 0) path = NULL;
    free(here);
    return path;
}

static struct sqlite *new_sqlite(const struct millpond_store_sqlite *options) {
    struct sqlite *sqlite = calloc(1, sizeof *sqlite);
    if (!sqlite) return NULL;
    sqlite->flags = options->flags;
    sqlite->file = absolute(options->file);
    sqlite->table = strdup(options->table ? options->table : "cache");
    sqlite->key_column = strdup(options->key_column ? options->key_column : "key");
    sqlite->value_column = strdup(options->value_column ? options->value_column : "value");
    if (asprintf(&sqlite->name, "sqlite:%s", options->file) < 0) sqlite->name = NULL;
    if (sqlite->file && sqlite->name && sqlite->table && sqlite->key_column && sqlite->value_column) return sqlite;
    free_all(sqlite);
    return NULL;
}

int millpond_store_sqlite(struct millpond_store *store, const struct millpond_store_sqlite *options, char *errmsg) {
    char unread[MILLPOND_ERRMSG_BYTES];
    if (errmsg) errmsg[0] = 0;
    unsigned both = MILLPOND_STORE_SQLITE_CREATE | MILLPOND_STORE_SQLITE_READONLY;
    if (!store || !options || !options->file || !*options->file || options->flags >= MILLPOND_STORE_SQLITE_READONLY * 2u ||
        (options->flags & both) == both)
        return pond_error_say(MILLPOND_ERR_ARGUMENT, errmsg, "millpond_store_sqlite",
                              "the store, the file or the flags are wrong; give a file, and CREATE or READONLY but not both");
    struct sqlite *sqlite = new_sqlite(options);
    if (!sqlite) return pond_error_say(MILLPOND_ERR_NO_MEMORY, errmsg, options->file, "out of memory");
    sqlite->link.name = sqlite->name;
    sqlite->link.state = sqlite;
    sqlite->link.before_fork = before_fork;
    pond_store_link(&sqlite->link);
    const struct millpond_store_call call = {pond_store_now_ns() + (uint64_t)OPEN_MS * 1000000, errmsg ? errmsg : unread};
    int result = enter(sqlite, &call);
    if (result != MILLPOND_OK) {
        sqlite_close(sqlite);
        return result;
    }
    disconnect(sqlite);
    pond_store_leave(&sqlite->link);
    sqlite->flags &= ~(unsigned)MILLPOND_STORE_SQLITE_CREATE; /* a database that is lost later on is an error, not an empty store */
    *store = (struct millpond_store){.name = sqlite->name,
                                     .state = sqlite,
                                     .load = sqlite_load,
                                     .store = sqlite_store,
                                     .erase = sqlite_erase,
                                     .list = sqlite_list,
                                     .close = sqlite_close};
    return MILLPOND_OK;
}
