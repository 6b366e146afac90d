/* SPDX-License-Identifier: MIT */
#ifndef MILLPOND_STORE_REDIS_H
#define MILLPOND_STORE_REDIS_H

/* A Redis or Valkey server as a store: strings, by GET and PTTL, SET with PX, and DEL. Many keys are asked for in one go (a pipeline).
 *
 * Each process has a connection of its own, made at its first call and used by one thread at a time. A child of fork closes its copy of
 * its parent's socket and connects itself. A connection that broke is made anew, at once and then with growing pauses of 10 ms to 1 s,
 * between which calls return MILLPOND_ERR_STORE_DOWN without trying. Connecting, sending and waiting all end at the call's deadline; a
 * connection whose answer is outstanding then is dropped, so no answer is ever taken for another's.
 *
 * No TLS: hiredis 0.14, which Debian 12 has, offers none; use a unix socket, a private network or a TLS tunnel. Redirections of a cluster
 * are not followed. The user needs +get +pttl +set +del, for lists +scan +strlen, and +select for a database but 0. */

#include <millpond.h>

#ifdef __cplusplus
extern "C" {
#endif

struct millpond_store_redis {
    const char *unix_socket; /* path of a socket, or NULL: host and port */
    const char *host;        /* a name or an address; looked up once, at open */
    unsigned port;           /* 0: 6379 */
    unsigned database;       /* 0 is the default one */
    const char *user;        /* NULL: the default user */
    const char *password;    /* NULL: no AUTH */
    const char *prefix;      /* put in front of every key; NULL: nothing */
};

/* Opens a server as a store. The server is not spoken to before the first call: it need not be there yet.
 *   store    filled on MILLPOND_OK; ended by millpond_bind_store's pond, or by store->close(store->state).
 *   options  copied.
 *   errmsg   NULL, or MILLPOND_ERRMSG_BYTES bytes.
 * Returns MILLPOND_OK, ERR_ARGUMENT, ERR_STORE_DOWN (the host's name has no address), ERR_NO_MEMORY. Calls of the store return also
 * ERR_STORE_TIMEOUT, ERR_PERMISSION (AUTH or an ACL), ERR_NO_SPACE (maxmemory), ERR_NOT_REGULAR (the key holds no string), ERR_STORE.
 * Blocks: on the name service, for a host given by name. Threads: any. Since 0.1. */
MILLPOND_API int millpond_store_redis(struct millpond_store *store, const struct millpond_store_redis *options, char *errmsg);

#ifdef __cplusplus
}
#endif

#endif
