/* SPDX-License-Identifier: MIT */
/* store.c: the stores that this build knows. A new kind adds one line to the list. */
#include "store.h"

#include "host.h"

#include <string.h>

static const struct store *const stores[] = {&store_dir};

const struct store *store_find(const char *spec, const char **where, char *why) {
    for (size_t i = 0; i < sizeof stores / sizeof *stores; i++) {
        size_t scheme_bytes = strlen(stores[i]->scheme);
        if (strncmp(spec, stores[i]->scheme, scheme_bytes) == 0 && spec[scheme_bytes] == ':' && spec[scheme_bytes + 1] != 0) {
            *where = spec + scheme_bytes + 1;
            return stores[i];
        }
    }
    host_why(why, "--store %s: is no store that this build knows; use %s", spec, store_dir.help);
    return NULL;
}
