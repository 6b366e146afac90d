/* SPDX-License-Identifier: MIT */
#ifndef POND_STORE_DIR_NAME_H
#define POND_STORE_DIR_NAME_H

/* Keys as names of files and back; millpond_store_dir.h has the rules. */

#include <stddef.h>

/* The folder of files that are about to replace others. No key has this name. */
#define POND_STORE_DIR_TMP "%tmp"

/* The path of a key, relative, from malloc: no component is empty, "." or "..", or longer than 255 bytes. NULL: out of memory. */
char *pond_store_dir_encode(const void *key, size_t key_bytes, int flat);
/* The key that has this path: 1 and the key (from malloc, never NULL); 0 when no key has it; -1: out of memory. */
int pond_store_dir_decode(const char *path, int flat, unsigned char **key, size_t *key_bytes);

#endif
