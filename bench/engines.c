/* SPDX-License-Identifier: MIT */
/* engines.c: the engines there are, and what is said about those that this build was made without. */
#include "engine.h"

#define ENGINE_WITHOUT(which, package)                                                                                                \
    const struct engine engine_##which = {.name = #which, .missing = "was not built in; install " package " and build again"}

#ifndef BENCH_HAVE_LMDB
ENGINE_WITHOUT(lmdb, "liblmdb-dev");
#endif
#ifndef BENCH_HAVE_TDB
ENGINE_WITHOUT(tdb, "libtdb-dev");
#endif
#ifndef BENCH_HAVE_SQLITE
ENGINE_WITHOUT(sqlite, "libsqlite3-dev");
#endif
#ifndef BENCH_HAVE_HIREDIS
ENGINE_WITHOUT(redis, "libhiredis-dev");
#endif

const struct engine *const engines[] = {&engine_millpond, &engine_limit,     &engine_lmdb,  &engine_tdb,
                                        &engine_sqlite,   &engine_memcached, &engine_redis, NULL};
