/* SPDX-License-Identifier: MIT */
/* Deadlines, and what happens to connections when a process forks (F1 to F5 in common.h). */

#include "common.h"

#include <errno.h>
#include <time.h>
#include <unistd.h>

uint64_t pond_store_now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

int pond_store_left_ms(const struct millpond_store_call *call) {
    uint64_t now = pond_store_now_ns();
    if (now >= call->deadline_ns) return 0;
    uint64_t left_ms = (call->deadline_ns - now + 999999) / 1000000;
    return left_ms < 3600000 ? (int)left_ms : 3600000;
}

int pond_store_late(const struct millpond_store_call *call, const char *name) {
    return pond_error_say(MILLPOND_ERR_STORE_TIMEOUT, call->errmsg, name,
                          "no answer before the deadline; see whether it is stopped or overloaded, or allow more time");
}

/* ---- fork ---- */

static pthread_mutex_t list_mutex = PTHREAD_MUTEX_INITIALIZER;
static struct pond_store_link *list;

static void before_fork(void) {
    pthread_mutex_lock(&list_mutex);
    for (struct pond_store_link *link = list; link; link = link->next) {
        pthread_mutex_lock(&link->mutex);
        if (link->before_fork && link->pid == getpid()) link->before_fork(link->state);
    }
}

static void in_parent(void) {
    for (struct pond_store_link *link = list; link; link = link->next) pthread_mutex_unlock(&link->mutex);
    pthread_mutex_unlock(&list_mutex);
}

static void in_child(void) {
    for (struct pond_store_link *link = list; link; link = link->next) {
        if (link->in_child) link->in_child(link->state);
        link->pid = getpid();
        pthread_mutex_unlock(&link->mutex);
    }
    pthread_mutex_unlock(&list_mutex);
}

static void install(void) { pthread_atfork(before_fork, in_parent, in_child); }

void pond_store_link(struct pond_store_link *link) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, install);
    pthread_mutex_init(&link->mutex, NULL);
    link->pid = getpid();
    pthread_mutex_lock(&list_mutex);
    link->next = list;
    link->at = &list;
    if (list) list->at = &link->next;
    list = link;
    pthread_mutex_unlock(&list_mutex);
}

void pond_store_unlink(struct pond_store_link *link) {
    pthread_mutex_lock(&list_mutex);
    *link->at = link->next;
    if (link->next) link->next->at = link->at;
    pthread_mutex_unlock(&list_mutex);
    pthread_mutex_destroy(&link->mutex);
}

int pond_store_enter(struct pond_store_link *link, const struct millpond_store_call *call) {
    if (link->pid != getpid())
        return pond_error_say(MILLPOND_ERR_STORE, call->errmsg, link->name,
                              "this process was made without fork handlers (clone, vfork, _Fork) and must not use its parent's connection; "
                              "use fork, or open the store anew");
    struct timespec until = {(time_t)(call->deadline_ns / 1000000000), (long)(call->deadline_ns % 1000000000)};
    if (pthread_mutex_trylock(&link->mutex) == 0) return MILLPOND_OK;
    if (pthread_mutex_clocklock(&link->mutex, CLOCK_MONOTONIC, &until) == 0) return MILLPOND_OK;
    return pond_error_say(MILLPOND_ERR_STORE_TIMEOUT, call->errmsg, link->name,
                          "other threads kept the connection busy until the deadline; allow more time, or use more processes");
}

void pond_store_leave(struct pond_store_link *link) { pthread_mutex_unlock(&link->mutex); }
