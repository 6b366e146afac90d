/* SPDX-License-Identifier: MIT */
/* What several verbs share: opening the pond in the way that fits, and keys and values as they were typed. */
#ifndef MILLPOND_TOOLS_INPUT_H
#define MILLPOND_TOOLS_INPUT_H

#include "format.h"
#include "millpond.h"
#include "verbs.h"

/* How a verb looks at the pond. */
enum access {
    ACCESS_WRITE, /* it writes */
    ACCESS_USE,   /* it reads, and counts as a use of the entry where this user may write; else it reads only */
    ACCESS_LOOK   /* it must not change a byte */
};

/* Opens the file of the call. An error was reported when the answer is not STATUS_DONE. */
enum status input_open(const struct call *call, enum access access, struct millpond **pond);

/* Closes it, with --sync after a sync of what the call has changed, unless it failed. Answers the status, or that of the sync. */
enum status input_close(const struct call *call, struct millpond *pond, enum status status);

/* The key of the call, args[0]: 1 to 65535 bytes, from hexadecimal with --hex or --hex-key. A wrong one is wrong usage. */
enum status input_key(const struct call *call, struct bytes *key);

/* Text from the command line as bytes, from hexadecimal when `hex`. `what` names it in the sentence. */
enum status input_text(const struct call *call, const char *what, const char *text, bool hex, struct bytes *out);

/* Everything that standard input holds, at most max_bytes of it and one more, so that too much is seen as such. */
enum status input_stdin(size_t max_bytes, struct bytes *out);

/* The name of --group, or NULL and 0 when it was not given. Says what is wrong with it. */
enum status input_group(const struct call *call, const void **group, size_t *group_bytes);

#endif
