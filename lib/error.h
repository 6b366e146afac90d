/* SPDX-License-Identifier: MIT */
#ifndef POND_ERROR_H
#define POND_ERROR_H

/* Writes "PATH: sentence" into errmsg (MILLPOND_ERRMSG_BYTES bytes, or NULL). A path that is too long loses its beginning. Returns
 * `result`. */
int pond_error_say(int result, char *errmsg, const char *path, const char *format, ...) __attribute__((format(printf, 4, 5)));

/* The same for a system call that failed with `error_number` while doing `what`; picks the result that fits. */
int pond_error_system(int error_number, char *errmsg, const char *path, const char *what);

#endif
