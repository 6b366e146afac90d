/* SPDX-License-Identifier: MIT */
#ifndef MILLPOND_STORE_DIR_H
#define MILLPOND_STORE_DIR_H

/* A directory of files as a store: a key is a file's name, its value the content.
 *
 * Names. Every key has one name and no name leaves the directory: a byte 0 and the percent sign are written %00 and %25, the components
 * "." and ".." %2E and %2E%2E, an empty component is a lone %, and a component that would be longer than a file system allows goes on in
 * a folder below (its name then ends in %+). All else stands for itself, so that the files of an existing tree are keys as they are; files
 * whose name no key has (one with a stray percent sign) are not seen. In the tree layout a slash makes a folder; the keys "a" and "a/b"
 * then exclude each other. In the flat layout a slash is %2F, and any set of keys goes together.
 *
 * Safety. Nothing below the directory is reached through a symbolic link or by leaving it (openat2 with RESOLVE_BENEATH and
 * RESOLVE_NO_SYMLINKS, or component by component where the kernel has none); only regular files are read.
 *
 * Stores are atomic: a reader finds the old content or the new one. A file is written without a name and then given its own; one that
 * replaces another has a name in the folder %tmp of the directory for a moment. What a killed process leaves there, one file at the most,
 * the next open removes.
 *
 * The deadline of a call is looked at between steps of 1 MiB: the kernel offers none for files, so a disk that hangs is waited for. */

#include <millpond.h>

#ifdef __cplusplus
extern "C" {
#endif

enum {
    MILLPOND_STORE_DIR_FLAT = 1 << 0,    /* a slash in a key is a byte like any other; else it makes a folder */
    MILLPOND_STORE_DIR_DURABLE = 1 << 1, /* a store or erase returns when it is on the disk (fsync of file and folder) */
    MILLPOND_STORE_DIR_CREATE = 1 << 2   /* make the directory when it is not there (its parent must be) */
};

/* Opens a directory as a store.
 *   store   filled on MILLPOND_OK; ended by millpond_bind_store's pond, or by store->close(store->state).
 *   path    the directory; the last component may be a symbolic link, nothing below it.
 *   flags   MILLPOND_STORE_DIR_FLAT | ...
 *   errmsg  NULL, or MILLPOND_ERRMSG_BYTES bytes.
 * Returns MILLPOND_OK, ERR_ARGUMENT, ERR_NO_FILE, ERR_PERMISSION, ERR_LIMIT, ERR_NO_MEMORY, ERR_SYSTEM. Calls of the store return also
 * ERR_NO_SPACE, ERR_READ_ONLY_FS, ERR_NOT_REGULAR (something that is no regular file is in the way), ERR_TOO_LARGE.
 * Threads: any. Fork: children use it as it is; nothing in it belongs to one process. Since 0.1. */
MILLPOND_API int millpond_store_dir(struct millpond_store *store, const char *path, unsigned flags, char *errmsg);

#ifdef __cplusplus
}
#endif

#endif
