/* SPDX-License-Identifier: MIT */
#ifndef MILLPOND_STORES_H
#define MILLPOND_STORES_H

/* The stores that come with millpond, by a text:
 *
 *     dir:PATH[?layout=flat&durable&create]
 *     sqlite:FILE[?table=T&key=COLUMN&value=COLUMN&create&durable&readonly]
 *     redis:unix:PATH[?db=N&prefix=P&user=U&password_file=F]
 *     redis:HOST[:PORT][/DB][?prefix=P&user=U&password_file=F]        an IPv6 address in brackets
 *
 * In PATH, FILE and values %XX is a byte; a question mark in a path is %3F. A password is read from the first line of a file, since a
 * text can be seen by others in a list of processes. */

#include <millpond.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Opens a store by its text.
 *   store   filled on MILLPOND_OK; ended by millpond_bind_store's pond, or by store->close(store->state).
 *   errmsg  NULL, or MILLPOND_ERRMSG_BYTES bytes.
 * Returns MILLPOND_OK, ERR_ARGUMENT (a text that says nothing, or a store that this build does not have), or what the open function of the
 * store returns. Threads: any. Since 0.1. */
MILLPOND_API int millpond_store_open(struct millpond_store *store, const char *text, char *errmsg);

/* The shipped stores of this build, in one line: "dir:PATH, sqlite:FILE, redis:HOST". Static. Since 0.1. */
MILLPOND_API const char *millpond_stores_known(void);

#ifdef __cplusplus
}
#endif

#endif
