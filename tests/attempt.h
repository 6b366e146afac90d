/* SPDX-License-Identifier: MIT */
#ifndef MILLPOND_TESTS_ATTEMPT_H
#define MILLPOND_TESTS_ATTEMPT_H

/* Attempts to open a file, in this process or in a child that has changed what it is or sees: user, limits, mounts, namespaces. */

#include "support.h"

struct attempt {
    int result;
    char errmsg[MILLPOND_ERRMSG_BYTES];
};

/* Opens and, if that works, stores and reads one entry (reads one miss with READONLY), and closes. Requires on every error that the
 * handle was not touched, that nothing was written behind errmsg, that the message is one sentence which names the file, and that no
 * descriptor and no mapping is left. */
struct attempt attempt_open(const char *path, const struct millpond_options *options);

/* The same in a child, after `become`, which ends the child when it fails. At most 20 seconds. */
struct attempt attempt_open_as(void (*become)(void *arg), void *arg, const char *path, const struct millpond_options *options);

/* Requires this error. */
#define REQUIRE_ERROR(tried, expected)                                                                                                     \
    do {                                                                                                                                   \
        struct attempt got_ = (tried);                                                                                                     \
        REQUIRE(got_.result == (expected), "expected %d (%s), got %d (%s): %s", (expected), millpond_strerror(expected), got_.result,      \
                millpond_strerror(got_.result), got_.errmsg);                                                                              \
    } while (0)

/* Things to become. */
void become_user(void *uid);      /* a uid_t * */
void become_limited(void *limit); /* a struct attempt_limit * */
struct attempt_limit {
    int resource;
    uint64_t value;
};
/* Takes a mount namespace of its own, in which mounts are seen by nobody else. */
void become_unshared(void);
bool attempt_is_root(void);
/* Can this process mount a tmpfs in a namespace of its own? */
bool attempt_can_mount(void);

/* How many descriptors and mappings this process has. */
int attempt_count_fds(void);
int attempt_count_mappings(const char *path);

#endif
