/* SPDX-License-Identifier: MIT */
#ifndef POND_CRASHPOINT_H
#define POND_CRASHPOINT_H

/* Named places in state-changing paths where a test may kill (or stop) the process. Compiled to nothing in the installed library;
 * the library `millpond_crashpoints`, for tests only, calls the hook. Names are "path.step"; pond_crashpoint_names lists them all. */

#ifdef MILLPOND_CRASHPOINTS
extern void (*pond_crashpoint_hook)(const char *name);
#define POND_CRASHPOINT(name)                                                                                                              \
    do {                                                                                                                                   \
        if (pond_crashpoint_hook) pond_crashpoint_hook(name);                                                                              \
    } while (0)
#else
#define POND_CRASHPOINT(name)                                                                                                              \
    do {                                                                                                                                   \
    } while (0)
#endif

#endif
