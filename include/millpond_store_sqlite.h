/* SPDX-License-Identifier: MIT */
#ifndef MILLPOND_STORE_SQLITE_H
#define MILLPOND_STORE_SQLITE_H

/* A table of an SQLite database as a store: one column is the key, another the value.
 *
 * Fork. A database that is open in a process must not be touched by its children, not even by opening it anew: SQLite keeps the
 * process's file locks in a table that the child inherits although it does not inherit the locks, and a child that believes it has the
 * lock lets others delete the log under it. So the connection is closed before every fork (pthread_atfork) and each process opens its own
 * at its next call. A child made without fork handlers (a raw clone, vfork, _Fork) gets an error from every call, and touches nothing.
 *
 * Types. Keys and values are blobs, or text where the column is declared as text (or, for keys, as a number): then they must be what
 * the table's other users write. A row whose value is NULL is no entry.
 *
 * The database is in WAL mode; a store is one transaction. The connection is used by one thread at a time. Times to live are not kept. */

#include <millpond.h>

#ifdef __cplusplus
extern "C" {
#endif

enum {
    MILLPOND_STORE_SQLITE_CREATE = 1 << 0,  /* make file and table (key BLOB PRIMARY KEY, value BLOB NOT NULL) when they are not there */
    MILLPOND_STORE_SQLITE_DURABLE = 1 << 1, /* synchronous=FULL: a store survives a power cut; else the last ones may be lost */
    MILLPOND_STORE_SQLITE_READONLY = 1 << 2 /* load and list only */
};

struct millpond_store_sqlite {
    const char *file;
    const char *table;        /* NULL: "cache". Any name, quoted for you. */
    const char *key_column;   /* NULL: "key". Must be the primary key, or have a unique index, unless READONLY. */
    const char *value_column; /* NULL: "value" */
    unsigned flags;
};

/* Opens a table as a store: looks at it once, and closes it again until the first call.
 *   store    filled on MILLPOND_OK; ended by millpond_bind_store's pond, or by store->close(store->state).
 *   options  copied.
 *   errmsg   NULL, or MILLPOND_ERRMSG_BYTES bytes.
 * Returns MILLPOND_OK, ERR_ARGUMENT (no such table or column, no unique index), ERR_NO_FILE, ERR_PERMISSION, ERR_CORRUPT,
 * ERR_STORE_TIMEOUT (locked for five seconds), ERR_NO_MEMORY, ERR_STORE. Calls of the store return also ERR_NO_SPACE and ERR_TOO_LARGE.
 * Blocks: a call waits for the locks of other processes until its deadline. Threads: any. Since 0.1. */
MILLPOND_API int millpond_store_sqlite(struct millpond_store *store, const struct millpond_store_sqlite *options, char *errmsg);

#ifdef __cplusplus
}
#endif

#endif
