/* SPDX-License-Identifier: MIT */
#ifndef MILLPOND_H
#define MILLPOND_H

/* millpond: one cache file, mapped by every process of a machine.
 *
 * A pond is a file of fixed size that holds keys and values. Every worker of a pool or of a pre-fork server maps it. A read takes
 * no lock, makes no system call and never waits for a writer, alive or dead. Writers hold a robust mutex that lives in the file,
 * one of several. Any process may be killed at any instruction; the others go on and nothing acknowledged is lost.
 *
 *     #include <millpond.h>
 *     #include <stdio.h>
 *
 *     int main(void) {
 *         struct millpond_options options = MILLPOND_OPTIONS_INIT;
 *         struct millpond *pond;
 *         char errmsg[MILLPOND_ERRMSG_BYTES], value[64];
 *         size_t value_bytes;
 *         options.size_bytes = 64 << 20;
 *         options.flags = MILLPOND_CREATE;
 *         if (millpond_open(&pond, "app.pond", &options, errmsg) != 0) { fprintf(stderr, "%s\n", errmsg); return 1; }
 *         millpond_set(pond, "user:1", 6, "alice", 5, 0);
 *         if (millpond_get(pond, "user:1", 6, value, sizeof value, &value_bytes) == MILLPOND_OK)
 *             printf("%.*s\n", (int)value_bytes, value);
 *         millpond_close(pond);
 *     }
 *
 * Caveats, before the functions:
 *
 * - It is a cache. When the file is full, entries that are used least leave. An entry that must not be lost belongs elsewhere too.
 * - fork: a handle opened before fork works in every child, at once and at the same time. Open it in the master, use it in the workers.
 * - Threads: every function may be called from any number of threads on one handle, but millpond_close.
 * - Signals: no function is safe inside a signal handler. A call made from a handler that interrupted a writing call of the same
 *   thread returns MILLPOND_ERR_REENTERED and changes nothing. A call, a get too, made from a handler that interrupted open, close,
 *   check, resize, follow, the call in which a handle goes on to a file that a resize made, or a thread's first call on a file, may wait
 *   for ever: those take locks of the process.
 * - A killed writer: the next writer of that part of the file repairs what was half done, by itself, in bounded time.
 * - A stopped writer (SIGSTOP, a debugger): readers do not notice; writers wait for lock_timeout_ms at the most, then MILLPOND_ERR_BUSY.
 * - Trust: whoever may write the file must be trusted by everyone who writes it, because a lock in a shared mapping names memory of
 *   the process that holds it. Whoever only reads it (MILLPOND_READONLY) needs to trust nobody: what is read is checked.
 * - Do not truncate the file from outside while it is mapped: the kernel answers the next access with SIGBUS. An anonymous pond
 *   (MILLPOND_ANONYMOUS) cannot be truncated.
 * - Network file systems are refused: their mappings are not coherent between machines. Overlay file systems are refused too.
 * - A full disk is noticed at creation, when every block is allocated, and never later.
 * - Processes of different PID namespaces (containers) are refused unless the file was created with MILLPOND_NAMESPACES. A child of fork
 *   in another one keeps reading through an inherited handle; its writes are refused.
 * - A key must fit into one segment: in files below about 8 MiB, which have small ones, the longest keys are MILLPOND_ERR_TOO_LARGE.
 */

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined __GNUC__
#define MILLPOND_API __attribute__((visibility("default")))
#else
#define MILLPOND_API
#endif

#define MILLPOND_VERSION_MAJOR 0
#define MILLPOND_VERSION_MINOR 1
#define MILLPOND_VERSION_PATCH 0

/* Bytes of every errmsg buffer, the closing zero included. */
#define MILLPOND_ERRMSG_BYTES 256
#define MILLPOND_KEY_BYTES_MAX   65535 /* of a key, from 1 on */
#define MILLPOND_GROUP_BYTES_MAX 255   /* of the name of a group, from 1 on */

/* Every result: 0 is done, a positive number an ordinary outcome, a negative number an error that changed nothing.
 * Numbers are never used again for something else. X(name, number, text). */
#define MILLPOND_RESULTS(X)                                                                                                            \
    X(OK, 0, "done")                                                                                                                   \
    X(MISS, 1, "no such key")                                                                                                          \
    X(EXISTS, 2, "the key is there already")                                                                                           \
    X(CHANGED, 3, "the entry was changed meanwhile")                                                                                   \
    X(UNCHANGED, 4, "the entry is unchanged")                                                                                          \
    X(TOO_SMALL, 5, "the value is larger than the buffer")                                                                             \
    X(STALE, 6, "the value is past its time to live, within its grace")                                                                \
    X(DAMAGED, 7, "damage was found")                                                                                                  \
    X(ERR_ARGUMENT, -1, "an argument is out of its range")                                                                             \
    X(ERR_NO_FILE, -2, "there is no such file")                                                                                        \
    X(ERR_PERMISSION, -3, "permission denied")                                                                                         \
    X(ERR_FILE_EXISTS, -4, "the file exists already")                                                                                  \
    X(ERR_NOT_A_POND, -5, "the file is not a pond")                                                                                    \
    X(ERR_VERSION, -6, "the file has another format version")                                                                          \
    X(ERR_LAYOUT, -7, "the file was made by an incompatible build")                                                                    \
    X(ERR_FILE_SIZE, -8, "the file's size is not what it says")                                                                        \
    X(ERR_CORRUPT, -9, "the file is damaged")                                                                                          \
    X(ERR_NO_SPACE, -10, "no space left on the device")                                                                                \
    X(ERR_LIMIT, -11, "a limit of the process is too low")                                                                             \
    X(ERR_NO_MEMORY, -12, "out of memory")                                                                                             \
    X(ERR_READ_ONLY, -13, "the pond was opened read-only")                                                                             \
    X(ERR_TOO_LARGE, -14, "the value is larger than the pond allows")                                                                  \
    X(ERR_BUSY, -15, "a lock was not free before the deadline")                                                                        \
    X(ERR_REENTERED, -16, "called from a signal handler inside another call")                                                          \
    X(ERR_NAMESPACE, -17, "the file is in use in another PID namespace")                                                               \
    X(ERR_FILESYSTEM, -18, "the file system cannot share mappings")                                                                    \
    X(ERR_NOT_A_NUMBER, -19, "the value is not a number")                                                                              \
    X(ERR_OVERFLOW, -20, "the number would overflow")                                                                                  \
    X(ERR_SYSTEM, -21, "a system call failed")                                                                                         \
    X(ERR_READ_ONLY_FS, -22, "the file system is read-only")                                                                           \
    X(ERR_NOT_REGULAR, -23, "not a regular file")                                                                                      \
    X(ERR_UNSAFE, -24, "the file's owner or mode is not safe")                                                                         \
    X(ERR_FULL, -25, "no room could be made")                                                                                          \
    X(ERR_UNLOCKABLE, -26, "the system has no working robust mutexes")                                                                 \
    X(ERR_IN_USE, -27, "the file is in use")                                                                                           \
    X(ERR_PINNED, -28, "too much is held by views")                                                                                     \
    X(ERR_TXN_TOO_LARGE, -29, "the transaction is too large")                                                                          \
    X(ERR_TIMEOUT, -31, "another caller's load did not end before the deadline")                                                       \
    X(ERR_LOADER, -32, "the loader failed")                                                                                            \
    X(ERR_NESTED, -33, "this thread is loading this key already")                                                                      \
    X(ERR_NO_NAME, -35, "the pond has no name, or several")                                                                            \
    X(ERR_REPLACED, -36, "the file was replaced by another one, which cannot be opened")                                               \
    X(ERR_NO_STORE, -50, "no store is bound, or it cannot do this")                                                                    \
    X(ERR_STORE, -51, "the store refused the call")                                                                                    \
    X(ERR_STORE_DOWN, -52, "the store cannot be reached")                                                                              \
    X(ERR_STORE_TIMEOUT, -53, "the store did not answer before the deadline")                                                          \
    X(ERR_STORE_RESTS, -54, "the store is left alone for a while, after failures")

enum millpond_result {
#define MILLPOND_RESULT_ENUM(name, number, text) MILLPOND_##name = number,
    MILLPOND_RESULTS(MILLPOND_RESULT_ENUM)
#undef MILLPOND_RESULT_ENUM
};

/* An open pond. One mapping serves all handles of a process on the same file. */
struct millpond;

/* Flags of struct millpond_options. */
enum {
    MILLPOND_READONLY = 1 << 0,       /* map without write permission: all reading calls but views, and stats; hits are not counted */
    MILLPOND_CREATE = 1 << 1,         /* create the file when it is not there */
    MILLPOND_EXCLUSIVE = 1 << 2,      /* with CREATE: MILLPOND_ERR_FILE_EXISTS when it is there */
    MILLPOND_NAMESPACES = 1 << 3,     /* with CREATE: processes of several PID namespaces may write (writers also take a file lock) */
    MILLPOND_ANY_FILESYSTEM = 1 << 4, /* do not refuse network and overlay file systems */
    MILLPOND_HUGEPAGES = 1 << 5,      /* with CREATE: huge pages where the system can; a file in memory gets them from Linux 6.1 on. On a
                                         hugetlbfs every file has them, and its size is rounded up to whole ones */
    MILLPOND_POPULATE = 1 << 6,       /* touch every page at open, so that no later call pays a first fault */
    MILLPOND_ANONYMOUS = 1 << 8,      /* a new pond in memory that has no file; `path` only names it (millpond_fd tells how to share it) */
    MILLPOND_FOLLOW = 1 << 9          /* when the file is deleted and made anew, go on to the new one (see millpond_follow) */
};

/* How to open or create. Always start from MILLPOND_OPTIONS_INIT; 0 means the default. */
struct millpond_options {
    uint32_t struct_bytes;      /* sizeof of this struct, for later versions */
    uint32_t flags;             /* MILLPOND_READONLY | ... */
    uint64_t size_bytes;        /* create: size of the file, 64 KiB to 4 TiB, rounded up to whole pages (huge ones on a hugetlbfs);
                                   default 64 MiB */
    uint64_t max_item_bytes;    /* create: largest value (with a key of up to 256 bytes), at most half of a shard; default an eighth */
    uint64_t segment_bytes;     /* create: bytes of a segment, 512 to 64 MiB; default by size: 128 segments to a small file, up to 1024 */
    uint32_t shards;            /* create: number of shards, a power of two up to 256; default by size and processors */
    uint32_t entry_bytes;       /* create: expected bytes of key and value of a typical entry; sizes the index; default 124 */
    uint32_t mode;              /* create: permission bits of the file, regardless of the umask; default 0600 */
    uint32_t lock_timeout_ms;   /* how long a writing call waits for another writer; default 5000; UINT32_MAX waits an hour */
    const void *group;          /* group of all that is stored through this handle and names none itself; default none */
    size_t group_bytes;         /* of its name, 1 to 255; copied */
};
#define MILLPOND_OPTIONS_INIT {sizeof(struct millpond_options), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}

/* Opens the pond at `path`, or creates it (MILLPOND_CREATE).
 *   pond    receives the handle; set only on MILLPOND_OK.
 *   path    the file; the last component must not be a symbolic link, but for the descriptors of a process: /proc/PID/fd/N, /dev/fd/N.
 *           With MILLPOND_ANONYMOUS a name for messages and /proc/PID/maps, of at most 200 bytes: every such call makes a new pond.
 *   options may be NULL: open an existing file read-write. size_bytes and the other creation options are ignored when the file exists.
 *   errmsg  NULL, or MILLPOND_ERRMSG_BYTES bytes that receive a sentence (which file, what is wrong, what to do) on an error.
 * Returns MILLPOND_OK, or ERR_ARGUMENT, ERR_NO_FILE, ERR_PERMISSION, ERR_FILE_EXISTS, ERR_NOT_A_POND, ERR_VERSION, ERR_LAYOUT,
 * ERR_FILE_SIZE, ERR_CORRUPT, ERR_NO_SPACE, ERR_LIMIT, ERR_NO_MEMORY, ERR_NAMESPACE, ERR_FILESYSTEM, ERR_READ_ONLY_FS,
 * ERR_NOT_REGULAR, ERR_UNSAFE, ERR_UNLOCKABLE, ERR_BUSY, ERR_SYSTEM.
 * Lifetime: until millpond_close; children of fork inherit it. Blocks: on other openers of the file, for milliseconds.
 * Threads: any. Since 0.1. */
MILLPOND_API int millpond_open(struct millpond **pond, const char *path, const struct millpond_options *options, char *errmsg);

/* Closes a handle.
 *   pond NULL is allowed. No other thread may be inside a call on this handle, and none may use it afterwards.
 * Closing writes nothing to disk and waits for nothing: other processes may have the file open for years. Who wants the next start of
 * the machine to be warm calls millpond_sync before it (the command's option --sync does).
 * Threads: a child of fork closes its own copy only. Since 0.1. */
MILLPOND_API void millpond_close(struct millpond *pond);

/* The descriptor by which a handle has its pond open, for handing on a pond that has no name (MILLPOND_ANONYMOUS), or to a program that
 * may not open the file by its path.
 *
 * Children of fork use the handle itself. Another program opens "/proc/self/fd/N", or "/dev/fd/N", where N is a descriptor that it
 * inherited (this one is closed by exec: dup() it, or clear FD_CLOEXEC) or was sent through a socket; or "/proc/PID/fd/N" of a living
 * process that it may look into. Each of them must have the permission that the pond's mode gives, as with a file: 0600 unless `mode` said
 * otherwise. An anonymous pond is sealed: nobody can change its size. It goes when the last process that has it is gone; its memory counts
 * as shared memory and may be swapped out.
 * Lifetime: the descriptor belongs to the handle; do not close, lock or read it.
 * Returns the descriptor, or ERR_ARGUMENT for NULL. Threads: any. Since 0.1. */
MILLPOND_API int millpond_fd(struct millpond *pond);

/* Makes the pond larger or smaller while it is in use: a new file of that size is made beside the old one, gets all that lives, and takes
 * its name, owner, group and mode. Every process that has the old file goes on to the new one by itself, in the first of its calls that
 * does not find its key there, or that writes: also those that forked, slept or were stopped meanwhile.
 *   size_bytes  64 KiB to 4 TiB, rounded up to whole pages. Shards and segments are chosen for it as at creation; the largest value allowed
 *               does not shrink if that is possible. What does not fit leaves as it would by eviction, the main queue's last.
 *   errmsg      as of millpond_open.
 * Kept: keys, values, versions (an entry that is unchanged stays UNCHANGED), times to live, hit counters, statistics; and who loads what:
 * a load that is under way is waited for in the new file, and what it brings is stored there if nobody has changed the key meanwhile. (Not
 * in files made with MILLPOND_NAMESPACES, nor without /proc: there loads under way are begun anew, but for detached leases.)
 * Readers go on all the time. Writers wait while entries are copied (about a second for each GiB; ERR_BUSY where that is beyond their
 * lock_timeout_ms). Views stay valid; the old file's memory is given back when every process has made a call and every view is released.
 * A process killed meanwhile leaves the old file in use, or the new one: the next caller finishes what it began.
 * Where the new file cannot be renamed (ERR_SYSTEM), it is read from then on, and written as soon as a write has made up for it; until then
 * writes are ERR_REPLACED.
 * A process must be able to open the file by its path, as millpond_open does: one that has dropped its privileges since, or changed its
 * root, cannot follow; its reads are then misses and its writes ERR_REPLACED.
 * Returns MILLPOND_OK; ERR_ARGUMENT (size); ERR_READ_ONLY; ERR_NO_NAME (anonymous, opened by its descriptor, or a file with several hard
 * links); ERR_NO_SPACE, ERR_LIMIT, ERR_PERMISSION and the other errors of creating a file; ERR_BUSY (another resize, or a stopped writer);
 * ERR_NAMESPACE; ERR_REENTERED. Then the old file is in use as before.
 * Threads: any; one resize at a time. Since 0.1. */
MILLPOND_API int millpond_resize(struct millpond *pond, uint64_t size_bytes, char *errmsg);

/* Looks whether the path that was opened leads to another file by now, and goes on to that if it does.
 * A handle opened with MILLPOND_FOLLOW does so by itself, at most ten times a second, in a call that misses or writes (hits cost nothing,
 * so they do not look: a process that only hits calls this now and then).
 * Returns MILLPOND_OK (the handle has the file that stands at the path), ERR_NO_NAME (it was not opened by a path that lasts), or the
 * errors of millpond_open: then the handle keeps what it has. Threads: any. Since 0.1. */
MILLPOND_API int millpond_follow(struct millpond *pond);

/* ---- reading: no lock, no system call ---- */

/* Copies the value of a key into the caller's buffer.
 *   key, key_bytes     1 to 65535 bytes of any content.
 *   buf, buf_bytes     receives the value; may be NULL when buf_bytes is 0. After MILLPOND_TOO_SMALL its content is undefined.
 *   value_bytes        receives the value's size on OK and on TOO_SMALL; may be NULL.
 * A counter (millpond_incr) reads as its decimal text.
 * Returns MILLPOND_OK; MISS; TOO_SMALL; ERR_ARGUMENT.
 * Blocks: never. Threads: any, in any process; a read-only handle too. Since 0.1. */
MILLPOND_API int millpond_get(struct millpond *pond, const void *key, size_t key_bytes, void *buf, size_t buf_bytes,
                              size_t *value_bytes);

/* Like millpond_get, into a buffer from malloc with one zero byte behind the value.
 *   value, value_bytes  receive buffer and size on OK; the caller frees the buffer with free(). value_bytes may be NULL.
 * Returns as millpond_get but TOO_SMALL; ERR_NO_MEMORY. Since 0.1. */
MILLPOND_API int millpond_get_alloc(struct millpond *pond, const void *key, size_t key_bytes, void **value, size_t *value_bytes);

/* One key of millpond_mget. */
struct millpond_mget {
    const void *key;
    size_t key_bytes;
    void *buf;
    size_t buf_bytes;
    size_t value_bytes; /* out, as of millpond_get */
    int result;         /* out: what millpond_get would have returned for this key */
};

/* Reads many keys, with their memory accesses overlapped: several times faster for each key than one get after the other.
 * Each key is read by itself; together they are no snapshot.
 * Returns MILLPOND_OK when every key was tried (see each result), or ERR_ARGUMENT. Blocks: never. Since 0.1. */
MILLPOND_API int millpond_mget(struct millpond *pond, struct millpond_mget *items, size_t item_count);

/* Reads many keys as they were at one moment: of a transaction's changes it shows all or none, and no set, delete or incr falls between two
 * of its keys. Items and their results as of millpond_mget.
 * Tries without a lock as long as others change these keys meanwhile, a few times; then takes the locks of their parts of the file for the
 * time of an mget. A read-only handle only tries.
 * Returns MILLPOND_OK when every key was tried (see each result); ERR_BUSY (a lock was not free before lock_timeout_ms; or, on a
 * read-only handle, writers never paused, or one died amid a commit and no writer has come since); ERR_ARGUMENT; ERR_NO_MEMORY;
 * ERR_REENTERED; ERR_NAMESPACE; ERR_REPLACED (as of millpond_resize). Then the items say nothing.
 * Blocks: for lock_timeout_ms at the most. Threads: any. Cost: about a tenth more than millpond_mget. Since 0.1. */
MILLPOND_API int millpond_snapshot(struct millpond *pond, struct millpond_mget *items, size_t item_count);

/* Asks the processor to fetch what a coming get of this key will read. Changes nothing, returns at once. Since 0.1. */
MILLPOND_API void millpond_prefetch(struct millpond *pond, const void *key, size_t key_bytes);

/* Returns MILLPOND_OK when the key is there, MISS, or ERR_ARGUMENT. Does not count as a use of the entry. Since 0.1. */
MILLPOND_API int millpond_contains(struct millpond *pond, const void *key, size_t key_bytes);

/* Copies the value only if it is another one than the caller has.
 *   version  in: the version of the copy that the caller has, 0 for none; out, on OK and TOO_SMALL: the version of this value.
 * Returns MILLPOND_OK (copied), UNCHANGED (nothing copied), or as millpond_get. A worker that keeps what it made of a value asks with
 * buf_bytes 0 and the version it has: UNCHANGED, MISS, or TOO_SMALL with the new version (OK where the value is empty), and nothing is
 * copied. Since 0.1. */
MILLPOND_API int millpond_get_if_changed(struct millpond *pond, const void *key, size_t key_bytes, void *buf, size_t buf_bytes,
                                         size_t *value_bytes, uint64_t *version);

/* Tells how long an entry has to live.
 *   ttl_ms  receives the milliseconds left, 1 or more, or 0 for an entry that never expires; set on OK.
 * Returns MILLPOND_OK, MISS, ERR_ARGUMENT. Since 0.1. */
MILLPOND_API int millpond_ttl(struct millpond *pond, const void *key, size_t key_bytes, uint64_t *ttl_ms);

/* A part of a value in the mapping. */
struct millpond_piece {
    const void *bytes;
    size_t count;
};

/* A value in place. Read its fields; `held` belongs to the library. */
struct millpond_view {
    const void *value;                    /* the value, when it is in one piece; else NULL */
    size_t value_bytes;
    const struct millpond_piece *pieces;  /* the value's pieces in order: one, or for a value larger than a quarter of a segment several */
    size_t piece_count;
    uint64_t version;
    struct {
        void *slot, *list;
        uint64_t pins, fork;
        struct millpond_piece piece;
        char text[24];
    } held;
};

/* Shows a value where it lies, without a copy. Until it is released, nobody reuses its bytes: the segments that it lies in (one, or up
 * to 16) are kept, whatever happens to the key meanwhile, and the rest of the cache goes on. The value shown is the one of this moment;
 * it does not change.
 *   view  filled on MILLPOND_OK; need not be initialised.
 * Returns MILLPOND_OK; MISS; ERR_ARGUMENT; ERR_READ_ONLY (a pin must be written); ERR_PINNED (17 segments a thread at the most: release
 * some; or no reader slot was free, `reader_slots` of the statistics; or the value's pieces lie in too many segments: get copies any
 * value); on the first view of a part of the file also ERR_BUSY, ERR_REENTERED, ERR_NAMESPACE.
 * Lifetime: until millpond_view_release, at the latest until the thread that took it ends or closes its handle; then the view is gone.
 * A killed process holds nothing back: its pins end with it.
 * Threads: released by any thread of the process. A child of fork has no part in its parent's views: it may not read them, releasing
 * them there frees memory only.
 * Cost: a full fence more than a get, and no copy. Since 0.1. */
MILLPOND_API int millpond_view(struct millpond *pond, const void *key, size_t key_bytes, struct millpond_view *view);

/* Ends a view. NULL, or one that was released already, is allowed. Blocks: never. Since 0.1. */
MILLPOND_API void millpond_view_release(struct millpond_view *view);

/* ---- writing: one robust mutex out of several, held for about a microsecond ----
 *
 * Common to all: ttl_ms is the time to live in milliseconds, 0 for ever, at most 100 years. Every one returns
 * ERR_READ_ONLY on a read-only handle, ERR_BUSY when another writer (or whoever resizes the file, or opens the new one) kept a lock
 * beyond lock_timeout_ms, ERR_REENTERED in a signal handler that interrupted a writing call, ERR_REPLACED (as of millpond_resize),
 * ERR_ARGUMENT, and, where a value is stored, ERR_TOO_LARGE and ERR_FULL (everything that could
 * leave is held by views); then nothing has changed. When a call returns MILLPOND_OK every process sees its effect in every call that
 * begins afterwards. */

/* Stores a value, whether the key was there or not. value may be NULL when value_bytes is 0. Since 0.1. */
MILLPOND_API int millpond_set(struct millpond *pond, const void *key, size_t key_bytes, const void *value, size_t value_bytes,
                              uint64_t ttl_ms);

/* When millpond_set_ex stores. */
enum millpond_when {
    MILLPOND_ALWAYS = 0,
    MILLPOND_IF_ABSENT = 1,   /* add: EXISTS otherwise */
    MILLPOND_IF_PRESENT = 2,  /* replace: MISS otherwise */
    MILLPOND_IF_VERSION = 3   /* cas: MISS when it is gone, CHANGED when it has another version */
};

/* Everything that can be said with a value. Zero it first; zero is the default of every field. */
struct millpond_set {
    uint64_t ttl_ms;
    uint64_t grace_ms;     /* how long after its expiry the value may still be served as stale (to callers that accept stale ones) */
    uint64_t version;      /* in, MILLPOND_IF_VERSION: the version that must be there; out, on OK: the version stored */
    uint32_t when;         /* enum millpond_when */
    uint32_t group_number; /* in place of a name: as a scan showed it, for those who copy entries */
    const void *group;     /* the group that it is of (millpond_invalidate): a name of any bytes; NULL: the handle's, or none */
    size_t group_bytes;    /* of its name, 1 to 255 */
};

/* Stores a value on a condition. Returns MILLPOND_OK, or the outcome named at `when`. options->version is set on OK. Since 0.1. */
MILLPOND_API int millpond_set_ex(struct millpond *pond, const void *key, size_t key_bytes, const void *value, size_t value_bytes,
                                 struct millpond_set *options);

/* Stores a value if the key is absent: MILLPOND_OK or EXISTS. Since 0.1. */
MILLPOND_API int millpond_add(struct millpond *pond, const void *key, size_t key_bytes, const void *value, size_t value_bytes,
                              uint64_t ttl_ms);

/* Stores a value if the key is present: MILLPOND_OK or MISS. Since 0.1. */
MILLPOND_API int millpond_replace(struct millpond *pond, const void *key, size_t key_bytes, const void *value, size_t value_bytes,
                                  uint64_t ttl_ms);

/* Stores a value if the entry still has `version` (from millpond_get_if_changed): MILLPOND_OK, CHANGED, or MISS. Since 0.1. */
MILLPOND_API int millpond_cas(struct millpond *pond, const void *key, size_t key_bytes, const void *value, size_t value_bytes,
                              uint64_t ttl_ms, uint64_t version);

/* Removes a key: MILLPOND_OK or MISS. Since 0.1. */
MILLPOND_API int millpond_delete(struct millpond *pond, const void *key, size_t key_bytes);

/* Gives an entry another time to live, from now on: MILLPOND_OK or MISS. Its version stays. Since 0.1. */
MILLPOND_API int millpond_touch(struct millpond *pond, const void *key, size_t key_bytes, uint64_t ttl_ms);

/* What millpond_incr does with a key that is not there. */
struct millpond_incr {
    int64_t initial;  /* the counter starts from this, then delta is added */
    uint64_t ttl_ms;  /* time to live of a counter that this call makes; an existing one keeps its own */
};

/* Adds to a counter: a value that incr made, or that was set to the decimal text of a 64-bit number.
 *   delta   may be negative.
 *   create  NULL: an absent key is a MISS; else the counter is made from it.
 *   value   receives the new number on OK; may be NULL.
 * Returns MILLPOND_OK, MISS, ERR_NOT_A_NUMBER, ERR_OVERFLOW. Since 0.1. */
MILLPOND_API int millpond_incr(struct millpond *pond, const void *key, size_t key_bytes, int64_t delta,
                               const struct millpond_incr *create, int64_t *value);

/* The same where a counter that is made gets ttl_ms and group of `how` (NULL: none; its other fields must be 0). Since 0.1. */
MILLPOND_API int millpond_incr_ex(struct millpond *pond, const void *key, size_t key_bytes, int64_t delta, int64_t initial,
                                  const struct millpond_set *how, int64_t *value);

/* Removes everything. Each shard is emptied under its lock, one after another: about 5 ms for each 256 MiB (in constant time:
 * millpond_invalidate). Statistics go on. On ERR_BUSY some shards are empty already, those behind the one that was held are not: call it
 * again. Since 0.1. */
MILLPOND_API int millpond_clear(struct millpond *pond);

/* ---- groups: everything that was stored under a name, gone at once ----
 *
 * What is stored with a group (a field of struct millpond_set, millpond_fetch or millpond_through; or of the options of the handle, for all
 * that is stored through it) is there until the group is invalidated: one addition in the file, however many entries there are. From then
 * on they are absent to every call, as if deleted; their memory is won back as that of expired ones.
 *
 * A name is 1 to 255 bytes of any content, hashed to one of a table of generations (`groups` of the statistics: one for each 4 KiB of the
 * file, 16 to 65536); nothing is registered. Two names that share one are invalidated together, which costs a load and never gives a wrong
 * answer: with g groups in use the chance that one shares its is 1 - (1 - 1/groups)^(g - 1). A key has the group of its last set, or none;
 * it costs 8 bytes. Counters and touch keep it, and so do resizes, dumps and warm starts. What was loaded before an invalidation that came
 * during the load is not stored. A conditional set or a transaction that overlaps an invalidation may be before it or behind it. */

/* Invalidates a group: what was stored in it by sets that have returned is absent to every call that begins after this one has returned.
 * Returns MILLPOND_OK; ERR_ARGUMENT (no name, or a longer one), and as all writing calls. A process killed in it has invalidated the group
 * or not. Blocks: only if all parts of the file are held. Threads: any. Cost: that of a delete, however many entries. Since 0.1. */
MILLPOND_API int millpond_invalidate(struct millpond *pond, const void *group, size_t group_bytes);

/* Writes the file to disk and marks it whole; the mark stands until the next write. After a reboot a file that was marked opens warm,
 * every entry verified by its checksum, any other one empty; warm_starts and cold_starts of the statistics tell which it was. The first
 * write after a sync waits for one page to reach the disk. Call it where writes end, before millpond_close in the last process, or at
 * quiet times. A mark that is kept true by syncs in the background (a MILLPOND_DURABLE) does not exist: the cost of a sync is that of
 * what was written since the last one, and whoever needs each write to survive needs a database behind the cache.
 * Returns MILLPOND_OK, ERR_SYSTEM. Since 0.1. */
MILLPOND_API int millpond_sync(struct millpond *pond);

/* ---- coherent with a server, on many machines ----
 *
 * A pond can be the first level of its machine in front of a server such as Redis. One process for each pond, the agent (the command's
 * verb `agent`), listens to what changes there and deletes it here. These functions are between it and those who read.
 *
 * A worker asks millpond_agent_look before its get. OK: whatever the get returns was the server's value at some time not longer ago than
 * the agent's lease, counted from before the look, if everyone fills the pond as the next lines say. A lease that no agent renews ends by
 * itself.
 *   1. Take the lease of the key (what millpond_fetch does before its loader runs), or, with no loader at hand, add an entry of your own
 *      under it and keep its version.
 *   2. Only then ask the server.
 *   3. Fill the lease; or replace that entry by millpond_cas. A delete or clear since step 1 makes it fail, and then the value is
 *      returned to whoever asked and not stored.
 *   4. After a write to the server, delete the key here; never store what was written. */

/* What an agent tells. Times are of the file's clock, which now_ms shows. */
struct millpond_agent {
    uint64_t epoch;    /* even: the link is up, odd: down; grows with each change: what was derived from values under another may be old */
    uint64_t now_ms;   /* out: the file's clock */
    uint64_t until_ms; /* coherent until then, while the link is up */
    uint64_t stale_ms; /* how long after that values may be served as stale */
};

/* Asks whether the pond is coherent.
 *   agent  receives what its agent told last; may be NULL.
 * Returns MILLPOND_OK: serve what a get finds. STALE: the link is lost or its agent gone; values may be served as stale, by the agent's
 * option. MISS: serve nothing from the pond, and store nothing in it: ask the server.
 * Blocks: never. Threads: any; a read-only handle too. Cost: less than a get. Since 0.1. */
MILLPOND_API int millpond_agent_look(struct millpond *pond, struct millpond_agent *agent);

/* For agents: tells that the pond is coherent, or no longer. The caller sees to it that there is one agent only.
 *   agent  epoch, until_ms (at most an hour ahead) and stale_ms are stored; now_ms is not used.
 * Returns MILLPOND_OK, ERR_ARGUMENT, ERR_READ_ONLY. Blocks: never. Threads: one. Since 0.1. */
MILLPOND_API int millpond_agent_announce(struct millpond *pond, const struct millpond_agent *agent);

/* ---- transactions: several keys changed as one ----
 *
 *     struct millpond_txn *txn;
 *     do {
 *         millpond_txn_begin(pond, &txn);
 *         ... millpond_txn_get(txn, "a", 1, ...); millpond_txn_set(txn, "a", 1, ..., 0); millpond_txn_set(txn, "b", 1, ..., 0);
 *     } while ((result = millpond_txn_commit(txn)) == MILLPOND_CHANGED);
 *
 * Optimistic: nothing is locked and nobody sees anything before the commit. That takes the locks of the parts of the file concerned,
 * looks whether every key that was read is as it was, and makes all changes. Of a process that is killed in it at any instruction either
 * everything has happened or nothing; the next writer there, or millpond_check, finishes what was decided. Readers of one key may see one
 * change before another one; millpond_snapshot never does.
 * A key that leaves because the cache is full, or expires, has changed. What a transaction reads before its commit need not fit together:
 * a program that must not act on half of another commit reads by millpond_snapshot first, or does nothing that lasts before MILLPOND_OK.
 *
 * Common to all: a transaction belongs to one thread at a time, and every one ends with a commit or an abort, before millpond_close. In a
 * child of fork those of the parent may only be aborted (which leaves the parent's alone); the other calls return ERR_ARGUMENT. In a
 * signal handler that interrupted a writing call: ERR_REENTERED, nothing has happened, and the transaction goes on. */

/* Keys that a transaction may read and change; changes that always fit (more do in files of several shards, as they spread). */
#define MILLPOND_TXN_KEYS_MAX 4096
#define MILLPOND_TXN_CHANGES_MIN 128

struct millpond_txn;

/* Begins a transaction.
 *   txn  receives it, on OK.
 * Returns MILLPOND_OK; ERR_READ_ONLY; ERR_NO_MEMORY; ERR_REENTERED; ERR_NAMESPACE; ERR_ARGUMENT; in a file that is being replaced also
 * ERR_BUSY, ERR_REPLACED. Blocks: only there. Since 0.1. */
MILLPOND_API int millpond_txn_begin(struct millpond *pond, struct millpond_txn **txn);

/* Reads a key: what this transaction has set, or what stands in the pond; the commit requires that it is still so, a miss too. Arguments
 * and results as of millpond_get, and CHANGED when this transaction had read something else before (it can only be ended),
 * ERR_TXN_TOO_LARGE, ERR_NO_MEMORY. After TOO_SMALL the key counts as read. A counter reads as its decimal text. Blocks: never.
 * Since 0.1. */
MILLPOND_API int millpond_txn_get(struct millpond_txn *txn, const void *key, size_t key_bytes, void *buf, size_t buf_bytes,
                                  size_t *value_bytes);

/* Says that a key shall have this value, whatever it has by then (read it first to make that a condition).
 *   value, value_bytes  copied; value may be NULL when value_bytes is 0.
 *   ttl_ms              from the commit on; 0 for ever, at most 100 years.
 * Returns MILLPOND_OK; ERR_TOO_LARGE (as millpond_set); ERR_TXN_TOO_LARGE: more than MILLPOND_TXN_KEYS_MAX keys, or more than 128 changes,
 * or a quarter of the bytes, of one shard; ERR_NO_MEMORY; CHANGED when the file was replaced meanwhile. Then the transaction is as before.
 * Blocks: never. Since 0.1. */
MILLPOND_API int millpond_txn_set(struct millpond_txn *txn, const void *key, size_t key_bytes, const void *value, size_t value_bytes,
                                  uint64_t ttl_ms);

/* The same with ttl_ms, grace_ms and the group of `options` (NULL: none); its other fields must be 0. Since 0.1. */
MILLPOND_API int millpond_txn_set_ex(struct millpond_txn *txn, const void *key, size_t key_bytes, const void *value, size_t value_bytes,
                                     const struct millpond_set *options);

/* Says that a key shall be absent, whether it is there or not. Returns as millpond_txn_set. Since 0.1. */
MILLPOND_API int millpond_txn_delete(struct millpond_txn *txn, const void *key, size_t key_bytes);

/* Reads a counter (or the decimal text of a number), adds, and sets it, as millpond_incr would: the commit requires that nobody else has
 * changed it meanwhile. Arguments as of millpond_incr; `value` receives the sum, on OK. An existing counter keeps its time to live.
 * Returns MILLPOND_OK; MISS (and create is NULL); ERR_NOT_A_NUMBER; ERR_OVERFLOW; as millpond_txn_get and millpond_txn_set. Since 0.1. */
MILLPOND_API int millpond_txn_incr(struct millpond_txn *txn, const void *key, size_t key_bytes, int64_t delta,
                                   const struct millpond_incr *create, int64_t *value);

/* Makes it happen, and ends the transaction whatever the answer, but ERR_REENTERED.
 * Returns MILLPOND_OK: everything has happened. Else nothing has: CHANGED: something that was read has changed; ERR_BUSY: a lock was not
 * free before lock_timeout_ms; ERR_FULL; ERR_NO_MEMORY; ERR_ARGUMENT; ERR_NAMESPACE; ERR_REENTERED.
 * Blocks: for other writers, lock_timeout_ms at the most. Cost: one and a half times that of its sets, twice where it reads them first.
 * Since 0.1. */
MILLPOND_API int millpond_txn_commit(struct millpond_txn *txn);

/* Ends the transaction; nothing has happened. NULL is allowed. Since 0.1. */
MILLPOND_API void millpond_txn_abort(struct millpond_txn *txn);

/* ---- looking at the whole ---- */

/* An entry as a scan shows it. The pointers are good until the visitor returns. */
struct millpond_entry {
    const void *key;
    size_t key_bytes;
    const void *value;   /* NULL with MILLPOND_SCAN_KEYS */
    size_t value_bytes;
    uint64_t ttl_ms;     /* milliseconds left, 0 for ever */
    uint64_t version;
    uint64_t grace_ms;   /* how long after that it may be served as stale, as stored: at most a third less than was asked for */
    uint32_t group;      /* number of its group, from 1 on, the same in every file; 0 for none */
};

/* Flags of millpond_scan. */
enum {
    MILLPOND_SCAN_KEYS = 1 << 0 /* keys and sizes only: values are not copied */
};

/* Visits entries, in no order. What is there during the whole scan is shown at least once, what comes or goes meanwhile perhaps; an entry
 * that moves meanwhile may be shown twice. Checksums are verified: a damaged entry is left out.
 *   prefix, prefix_bytes  only keys that begin so; NULL and 0 for all.
 *   visit   called for each entry; a non-zero answer ends the scan and is returned. It may call into the pond, and may take its time: no
 *           lock is held.
 * Takes no lock, unless an index so full that inserts move hundreds of entries in the moment in which a shard's slots are collected: then
 * that shard's, for that moment. Memory: 16 bytes for each entry of a shard.
 * Returns MILLPOND_OK, what `visit` returned, ERR_NO_MEMORY, ERR_ARGUMENT, ERR_BUSY. Cost: the whole index, once. Since 0.1. */
MILLPOND_API int millpond_scan(struct millpond *pond, const void *prefix, size_t prefix_bytes, unsigned flags,
                               int (*visit)(void *arg, const struct millpond_entry *entry), void *arg);

/* Figures of a pond, over its life and all processes unless said otherwise. X(name, help). */
#define MILLPOND_STATS(X)                                                                                                              \
    X(file_bytes, "size of the file")                                                                                                  \
    X(shards, "number of shards")                                                                                                      \
    X(segments, "number of segments, all shards")                                                                                      \
    X(segment_bytes, "bytes of one segment")                                                                                           \
    X(segments_free, "segments that hold nothing")                                                                                     \
    X(max_item_bytes, "largest value that may be stored")                                                                              \
    X(index_slots, "entries that the index has room for")                                                                              \
    X(items, "entries now, expired and invalidated ones that were not yet removed included")                                           \
    X(bytes, "bytes of their keys and values")                                                                                         \
    X(hits, "gets that found their key")                                                                                               \
    X(misses, "gets that did not")                                                                                                     \
    X(retries, "turns that a get took because a writer was at its bucket")                                                             \
    X(gave_up, "gets that ended as a miss because writers never left their bucket")                                                    \
    X(sets, "values stored")                                                                                                           \
    X(deletes, "keys deleted")                                                                                                         \
    X(evictions, "live entries that left to make room")                                                                                \
    X(index_evictions, "of those, the ones that left because the index was full, not the memory")                                      \
    X(expirations, "expired entries that were removed")                                                                                \
    X(groups, "generations of groups: more groups than this share some")                                                               \
    X(invalidations, "groups that were invalidated")                                                                                   \
    X(invalidated, "entries of invalidated groups that were removed")                                                                  \
    X(ghost_hits, "new keys that had left not long ago")                                                                               \
    X(hole_hits, "values stored into a hole that an older value left")                                                                 \
    X(relinks, "hot segments that were kept without copying")                                                                          \
    X(bytes_set, "bytes of entries that were stored")                                                                                  \
    X(bytes_copied, "bytes of entries that eviction copied")                                                                           \
    X(steps, "entries that writes examined to make room")                                                                              \
    X(steps_max, "most entries that one write examined to make room, in all segments that it freed")                                   \
    X(step_bytes_max, "most bytes that one write copied to make room")                                                                 \
    X(stalls, "writes that had to recycle whole segments at once")                                                                     \
    X(lock_waits, "times that a writer had to wait for another")                                                                       \
    X(lock_timeouts, "times that it gave up waiting")                                                                                  \
    X(recoveries, "times that a writer repaired what a dead one left")                                                                 \
    X(flights, "loads that a fetch or a lease began")                                                                                  \
    X(flight_waits, "callers who found a load of their key under way")                                                                 \
    X(flight_takeovers, "loads that another began anew because the first had died or took too long")                                   \
    X(flights_revoked, "loads whose key was changed meanwhile, so that nothing was stored, or that were taken over")                   \
    X(flights_full, "misses that found no place for their load")                                                                       \
    X(stale_served, "fetches that were given a value past its time to live")                                                           \
    X(readers, "reader slots in use")                                                                                                  \
    X(reader_slots, "reader slots")                                                                                                    \
    X(warm_starts, "times the file was opened with its content after a reboot")                                                        \
    X(cold_starts, "times it had to be emptied then")

struct millpond_stats {
#define MILLPOND_STATS_FIELD(name, help) uint64_t name;
    MILLPOND_STATS(MILLPOND_STATS_FIELD)
#undef MILLPOND_STATS_FIELD
};

/* Reads the figures, without a lock: each is right, together they are of about the same moment.
 *   shard  -1 for the whole file, or 0 to shards - 1 for one shard (figures of readers are then 0).
 * Returns MILLPOND_OK, ERR_ARGUMENT. Since 0.1. */
MILLPOND_API int millpond_stats(struct millpond *pond, int shard, struct millpond_stats *stats);

/* Flags of millpond_check. */
enum {
    MILLPOND_CHECK_REPAIR = 1 << 0,        /* remove what is damaged and rebuild what is derived */
    MILLPOND_CHECK_ANY_FILESYSTEM = 1 << 1 /* as MILLPOND_ANY_FILESYSTEM of an open */
};

/* What a check found. */
struct millpond_check {
    uint64_t entries;      /* live entries examined, each with its checksum */
    uint64_t bytes;        /* bytes of their keys and values */
    uint64_t damages;      /* damages found */
    uint64_t repaired;     /* of those, mended */
};

/* Walks everything in a file: every segment, bucket, entry, checksum and count. Each shard is held under its lock while it is walked
 * (readers go on). Whatever a killed process left half done is finished first, as the next writer would.
 *   flags   MILLPOND_CHECK_*, or 0.
 *   report  NULL, or called with one sentence for each damage.
 *   check   receives the sums on OK and DAMAGED; may be NULL.
 * Returns MILLPOND_OK (whole), DAMAGED (something was found, mended with REPAIR), or the errors of millpond_open. Since 0.1. */
MILLPOND_API int millpond_check(const char *path, unsigned flags, void (*report)(void *arg, const char *sentence), void *arg,
                                struct millpond_check *check, char *errmsg);

/* The text of a result, never NULL, static. Since 0.1. */
MILLPOND_API const char *millpond_strerror(int result);

/* "0.1.0". Since 0.1. */
MILLPOND_API const char *millpond_version(void);

#ifdef __cplusplus
}
#endif

/* Two parts of the interface have headers of their own: loading what is not there, and a store behind the pond. */
#include "millpond_fetch.h"
#include "millpond_store.h"

#endif
