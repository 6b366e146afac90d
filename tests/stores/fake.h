/* SPDX-License-Identifier: MIT */
#ifndef MILLPOND_TESTS_STORES_FAKE_H
#define MILLPOND_TESTS_STORES_FAKE_H

/* A store in memory that a process shares with its children, which does as a test tells it: fail, be slow, stop in the middle. */

#include "contract.h"

#include <pthread.h>
#include <stdatomic.h>

enum { FAKE_KEYS = 16 };

struct fake {
    pthread_mutex_t whole; /* a value is stored and loaded as a whole, as by any store */
    struct {
        char key[32];
        char value[64];
        bool there;
    } at[FAKE_KEYS];
    _Atomic int loads, stores, erases, closes;
    _Atomic int fails;    /* what every call answers, if it is not 0 */
    _Atomic int wait_ms;  /* how long every load takes, after it has read the value */
    _Atomic int inside;   /* loads that are at their wait */
    uint64_t ttl_ms;      /* what loads tell */
    uint64_t deadline_ns; /* that the last call was given */
    /* Called by a store or load between its effect and its return, once. */
    void (*meanwhile)(void *arg);
    void *arg;
};

struct fake *fake_new(void);
/* Shared by processes, freed by nobody. */
struct millpond_store fake_store(struct fake *fake);
/* Behind everybody's back; NULL removes. */
void fake_set(struct fake *fake, const char *key, const char *value);
/* What it has, NULL for nothing. */
const char *fake_get(struct fake *fake, const char *key);

#endif
