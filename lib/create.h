/* SPDX-License-Identifier: MIT */
#ifndef POND_CREATE_H
#define POND_CREATE_H

/* Making a pond: whole before it has a name. */

#include "mapping.h"
#include "platform.h"

/* A whole pond without a name, mapped; nobody else knows it. */
struct pond_new {
    struct pond_new_file file;
    struct pond_map *map;
    uint64_t creation;
};

/* C1 and C2. `path`: where it will be; `like`: the pond whose place it will take, so that keys have the hashes that they have there, or
 * NULL. Returns a millpond result. */
int pond_create_make(const char *path, const struct millpond_options *options, const struct pond_map *like,
                     const struct pond_map_hooks *hooks, struct pond_new *fresh, char *errmsg);
/* Unmaps and closes it; it is gone if it got no name. */
void pond_create_drop(struct pond_new *fresh);

/* C1 to C3. MILLPOND_ERR_FILE_EXISTS, without a sentence, when somebody else was faster. */
int pond_create_file(const char *path, const struct millpond_options *options, const struct pond_map_hooks *hooks, char *errmsg);

#endif
