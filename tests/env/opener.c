/* SPDX-License-Identifier: MIT */
/* Opens or creates a file through the library's own code for that (mapping.c and what is below it), in a build of another C library, word
 * size or processor, for which the rest of the library need not compile. Prints the result and the sentence.
 *
 *   opener open FILE | opener read FILE | opener create FILE | opener says
 *
 * A file that such a build creates has an identity and nothing else: whoever gets beyond that has not looked. */

#include "layout.h"
#include "mapping.h"

#include <stdio.h>
#include <string.h>

/* The rest of the library is not here. An opener that is refused never comes to these. */
static void format_nothing(struct pond_map *map) { (void)map; }
static int attach_nothing(struct pond_map *map, enum pond_attach why, char *errmsg, const char *path) {
    (void)map, (void)why, (void)errmsg, (void)path;
    return MILLPOND_OK;
}

int main(int argc, char **argv) {
    static const struct pond_map_hooks hooks = {format_nothing, attach_nothing};
    if (argc == 2 && strcmp(argv[1], "says") == 0) {
        printf("%u bits, mutex of %u bytes, libc %d\n", (unsigned)sizeof(void *) * 8, (unsigned)sizeof(pthread_mutex_t), POND_LIBC);
        return 0;
    }
    if (argc != 3) {
        fprintf(stderr, "usage: opener open|read|create FILE\n");
        return 2;
    }
    struct millpond_options options = MILLPOND_OPTIONS_INIT;
    struct pond_map *map = NULL;
    char errmsg[MILLPOND_ERRMSG_BYTES] = "";
    if (strcmp(argv[1], "create") == 0) options.flags = MILLPOND_CREATE | MILLPOND_EXCLUSIVE;
    if (strcmp(argv[1], "read") == 0) options.flags = MILLPOND_READONLY;
    options.size_bytes = 1 << 20;
    int result = pond_map_open(argv[2], &options, &hooks, &map, errmsg);
    printf("%d %s\n", result, errmsg);
    return 0;
}
