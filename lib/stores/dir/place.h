/* SPDX-License-Identifier: MIT */
#ifndef POND_STORE_DIR_PLACE_H
#define POND_STORE_DIR_PLACE_H

/* Reaching a path below a directory without ever leaving it, however long the path is. */

/* Opens `path`, which pond_store_dir_encode made, below `root`. Returns a descriptor, or -1 with errno (ELOOP: a symbolic link on the way).
 */
int pond_store_dir_open(int root, const char *path, int flags);
/* Opens the folder that holds the last component of `path`, makes it and what is above it when `make` is set, with each of them on the
 * disk before it returns when `durable` is set. `leaf` points into `path`. Returns a descriptor or -1 with errno. */
int pond_store_dir_parent(int root, const char *path, int make, int durable, const char **leaf);
/* Brings a folder to the disk: 0 or -1 with errno. */
int pond_store_dir_flush(int folder);

#endif
