/* SPDX-License-Identifier: MIT */
#ifndef MILLPOND_TESTS_STORES_CONTRACT_H
#define MILLPOND_TESTS_STORES_CONTRACT_H

/* What every store must do, whatever it is made of (millpond_store.h), and short forms of its calls. All end the process when something is
 * not as required. */

#include "../support.h"

#include <string.h>

/* The calls, with so many milliseconds each; the sentence of the last error is in contract_said. */
extern char contract_said[MILLPOND_ERRMSG_BYTES];
extern unsigned contract_ms;
int contract_load(const struct millpond_store *store, const void *key, size_t key_bytes, void **value, size_t *value_bytes);
int contract_store(const struct millpond_store *store, const void *key, size_t key_bytes, const void *value, size_t value_bytes);
int contract_erase(const struct millpond_store *store, const void *key, size_t key_bytes);
/* Texts as keys and values. */
int contract_put(const struct millpond_store *store, const char *key, const char *value);
/* Whether the key has exactly this value; NULL: whether it is absent. */
bool contract_is(const struct millpond_store *store, const char *key, const char *value);
/* The number of keys that a list shows, each once. */
size_t contract_count(const struct millpond_store *store);
/* Requires a result, and a sentence that names the store. */
void contract_require_error(const struct millpond_store *store, int result, int wanted, const char *part);

/* Keys of any bytes up to `key_max` of them, empty and large values, overwriting, erasing. The store is empty before and after. */
void contract_values(const struct millpond_store *store, size_t key_max);
/* A thousand random calls beside a table that knows what must come out. */
void contract_model(const struct millpond_store *store);
/* A list shows what is there, in more than one page. */
void contract_list(const struct millpond_store *store);
/* Four threads with keys of their own and one that all write. */
void contract_threads(const struct millpond_store *store);
/* Parent and four children work on at the same time, each after having used the store before and after the fork; grandchildren too. */
void contract_forks(const struct millpond_store *store);
/* Puts the text "value" under "key"; a child that was made without the handlers of fork (a bare clone) is refused with a sentence. */
void contract_bare_child(const struct millpond_store *store);
/* A deadline that has passed: ERR_STORE_TIMEOUT or, where it is not looked at before the work is done, the right answer. */
void contract_late(const struct millpond_store *store);

#endif
