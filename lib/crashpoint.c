/* SPDX-License-Identifier: MIT */
/* The hook of the named crash points; empty in the installed library. */

#include "crashpoint.h"

#ifdef MILLPOND_CRASHPOINTS
void (*pond_crashpoint_hook)(const char *name);
#else
typedef int pond_crashpoint_unused;
#endif
