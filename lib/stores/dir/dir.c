/* SPDX-License-Identifier: MIT */
/* A directory of files as a store.
 *
 * How a value becomes a file (all or nothing for every reader, and after a kill at any step):
 *
 *   D1  a file without a name is made in the folder it shall lie in, locked (flock), and written
 *   D2  DURABLE: its content goes to the disk
 *   D3  it is linked to its own name: done, if nothing had that name
 *   D4  else it is linked to a name of its own in the folder %tmp, and renamed from there over the old file
 *   D5  DURABLE: the folder goes to the disk
 *
 * A process that is killed between the two calls of D4 leaves its name in %tmp; the lock went with it, so that whoever opens the store next
 * can tell it from one that is in use, and removes it. Where the file system has no files without a name (O_TMPFILE), D1 makes
 * it in %tmp.
 *
 * Folders come when they are needed and go with their last file; a store that loses its folder to somebody's erase begins again. */

#include "../common/common.h"
#include "name.h"
#include "place.h"

#include <millpond_store_dir.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

enum { STEP_BYTES = 1 << 20, TURNS_MAX = 16 };

struct dir {
    int root; /* O_PATH */
    unsigned flags;
    char name[]; /* in messages: dir:PATH */
};

static int flat(const struct dir *dir) { return (dir->flags & MILLPOND_STORE_DIR_FLAT) != 0; }
static int durable(const struct dir *dir) { return (dir->flags & MILLPOND_STORE_DIR_DURABLE) != 0; }

/* ---- sentences ---- */

/* The result and the sentence for errno; `path` is the file's, below the directory. */
static int failed(const struct dir *dir, const char *path, const struct millpond_store_call *call) {
    static const struct {
        int number, result;
        const char *sentence;
    } known[] = {
        {EACCES, MILLPOND_ERR_PERMISSION, "permission denied; change the mode or the owner"},
        {EPERM, MILLPOND_ERR_PERMISSION, "not permitted; change the mode, the owner or the attributes"},
        {EROFS, MILLPOND_ERR_READ_ONLY_FS, "the file system is read-only; use another place"},
        {ENOSPC, MILLPOND_ERR_NO_SPACE, "the disk is full; free space"},
        {EDQUOT, MILLPOND_ERR_NO_SPACE, "the quota is used up; free space"},
        {EFBIG, MILLPOND_ERR_LIMIT, "the file would be larger than allowed; raise the file size limit (ulimit -f)"},
        {EMFILE, MILLPOND_ERR_LIMIT, "too many open files; raise the limit (ulimit -n)"},
        {ENFILE, MILLPOND_ERR_LIMIT, "too many open files on this machine; raise its limit"},
        {ENOMEM, MILLPOND_ERR_NO_MEMORY, "out of memory"},
        {ENAMETOOLONG, MILLPOND_ERR_TOO_LARGE, "the name is too long for this file system; use shorter keys"},
        {ELOOP, MILLPOND_ERR_NOT_REGULAR, "a symbolic link is in the way, which is never followed; remove it"},
        {EXDEV, MILLPOND_ERR_NOT_REGULAR, "a link or another file system is in the way; keep all in one file system"},
        {EISDIR, MILLPOND_ERR_NOT_REGULAR, "a folder has this name: one key is the beginning of others; use the flat layout"},
        {ENOTDIR, MILLPOND_ERR_NOT_REGULAR,
         "a file stands where a folder is needed: one key is the beginning of another; use the flat layout"},
        {ENXIO, MILLPOND_ERR_NOT_REGULAR, "it is not a regular file; remove it"},
    };
    char where[MILLPOND_ERRMSG_BYTES];
    int number = errno;
    snprintf(where, sizeof where, "%.*s%s%.*s", 120, dir->name, path ? "/" : "", 120, path ? path : "");
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (known[i].number == number) return pond_error_say(known[i].result, call->errmsg, where, "%s", known[i].sentence);
    return pond_error_say(MILLPOND_ERR_SYSTEM, call->errmsg, where, "%s; see the system's log", strerror(number));
}

static int no_memory(const struct dir *dir, const struct millpond_store_call *call) {
    return pond_error_say(MILLPOND_ERR_NO_MEMORY, call->errmsg, dir->name, "out of memory");
}

static int late(const struct millpond_store_call *call) { return pond_store_now_ns() >= call->deadline_ns; }

/* ---- load ---- */

/* Reads `bytes` bytes and looks for more. Returns the count, or -1 with errno; ETIMEDOUT at the deadline. */
static ssize_t read_whole(int fd, unsigned char *to, size_t bytes, const struct millpond_store_call *call) {
    size_t have = 0;
    while (have < bytes) {
        size_t want = bytes - have < STEP_BYTES ? bytes - have : STEP_BYTES;
        ssize_t got = pread(fd, to + have, want, (off_t)have);
        if (got == 0) break;
        if (got < 0 && errno != EINTR) return -1;
        if (got > 0) have += (size_t)got;
        if (have < bytes && late(call)) {
            errno = ETIMEDOUT;
            return -1;
        }
    }
    return (ssize_t)have;
}

static int same(const struct stat *a, const struct stat *b) {
    return a->st_size == b->st_size && a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

/* A file of ours never changes. One that somebody else writes in place is read again, until it was still for so long. */
static int load_file(const struct dir *dir, const char *path, int fd, struct millpond_store_item *item,
                     const struct millpond_store_call *call) {
    struct stat before, after;
    for (int turn = 0; turn < TURNS_MAX; turn++) {
        if (fstat(fd, &before) != 0) return failed(dir, path, call);
        if (!S_ISREG(before.st_mode)) {
            errno = S_ISDIR(before.st_mode) ? EISDIR : ENXIO;
            return failed(dir, path, call);
        }
        unsigned char *value = malloc((size_t)before.st_size + 1);
        if (!value) return no_memory(dir, call);
        ssize_t got = read_whole(fd, value, (size_t)before.st_size, call);
        if (got == before.st_size && fstat(fd, &after) == 0 && same(&before, &after)) {
            item->value = value;
            item->value_bytes = (size_t)got;
            item->ttl_ms = 0;
            return MILLPOND_OK;
        }
        int number = errno;
        free(value);
        errno = number;
        if (got < 0) return number == ETIMEDOUT ? pond_store_late(call, dir->name) : failed(dir, path, call);
        if (late(call)) return pond_store_late(call, dir->name);
    }
    return pond_error_say(MILLPOND_ERR_STORE, call->errmsg, dir->name,
                          "%.100s is being written in place all the time; replace files by rename", path);
}

static int dir_load(void *state, struct millpond_store_item *item, const struct millpond_store_call *call) {
    const struct dir *dir = state;
    char *path = pond_store_dir_encode(item->key, item->key_bytes, flat(dir));
    if (!path) return item->result = no_memory(dir, call);
    int fd = pond_store_dir_open(dir->root, path, O_RDONLY | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        item->result = errno == ENOENT || errno == ENOTDIR ? MILLPOND_MISS : failed(dir, path, call);
    else
        item->result = load_file(dir, path, fd, item, call);
    if (fd >= 0) close(fd);
    free(path);
    return item->result;
}

/* ---- store ---- */

struct draft {
    int fd;
    int tmp;       /* the folder %tmp, -1 until it is needed */
    char name[64]; /* in it, empty for none */
};

static void name_draft(struct draft *draft) {
    static _Atomic unsigned count;
    snprintf(draft->name, sizeof draft->name, "%ld.%u.%llx", (long)getpid(), atomic_fetch_add(&count, 1),
             (unsigned long long)pond_store_now_ns());
}

static int open_tmp(const struct dir *dir, struct draft *draft) {
    for (int turn = 0; draft->tmp < 0 && turn < TURNS_MAX; turn++) {
        draft->tmp = openat(dir->root, POND_STORE_DIR_TMP, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (draft->tmp >= 0) break;
        if (errno != ENOENT || (mkdirat(dir->root, POND_STORE_DIR_TMP, 0777) != 0 && errno != EEXIST)) return -1;
    }
    return draft->tmp < 0 ? -1 : 0;
}

/* D1 */
static int begin_draft(const struct dir *dir, int folder, struct draft *draft) {
    draft->fd = openat(folder, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0666);
    if (draft->fd < 0 && (errno == EOPNOTSUPP || errno == EISDIR || errno == EINVAL)) {
        if (open_tmp(dir, draft) != 0) return -1;
        name_draft(draft);
        draft->fd = openat(draft->tmp, draft->name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666);
        if (draft->fd < 0) draft->name[0] = 0;
    }
    if (draft->fd < 0) return -1;
    return flock(draft->fd, LOCK_EX | LOCK_NB);
}

static int write_draft(int fd, const unsigned char *from, size_t bytes, const struct millpond_store_call *call) {
    struct rlimit limit; /* beyond it, a write would end the process with SIGXFSZ */
    if (getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY && limit.rlim_cur < bytes) {
        errno = EFBIG;
        return -1;
    }
    for (size_t have = 0; have < bytes;) {
        size_t want = bytes - have < STEP_BYTES ? bytes - have : STEP_BYTES;
        ssize_t put = write(fd, from + have, want);
        if (put < 0 && errno != EINTR) return -1;
        if (put > 0) have += (size_t)put;
        if (late(call)) {
            errno = ETIMEDOUT;
            return -1;
        }
    }
    return 0;
}

static int link_draft(int fd, int folder, const char *name) {
    char self[64];
    snprintf(self, sizeof self, "/proc/self/fd/%d", fd);
    return linkat(AT_FDCWD, self, folder, name, AT_SYMLINK_FOLLOW);
}

/* D3, D4 */
static int publish(const struct dir *dir, struct draft *draft, int folder, const char *leaf) {
    struct stat old;
    if (!draft->name[0]) {
        if (link_draft(draft->fd, folder, leaf) == 0) return 0;
        if (errno != EEXIST) return -1;
        for (int turn = 0;; turn++) { /* another process may be removing an empty %tmp */
            if (open_tmp(dir, draft) != 0) return -1;
            name_draft(draft);
            if (link_draft(draft->fd, draft->tmp, draft->name) == 0) break;
            draft->name[0] = 0;
            if (errno != ENOENT || turn == TURNS_MAX) return -1;
            close(draft->tmp);
            draft->tmp = -1;
        }
    }
    if (fstatat(folder, leaf, &old, AT_SYMLINK_NOFOLLOW) == 0 && !S_ISREG(old.st_mode)) {
        errno = S_ISDIR(old.st_mode) ? EISDIR : S_ISLNK(old.st_mode) ? ELOOP : ENXIO;
        return -1;
    }
    if (renameat(draft->tmp, draft->name, folder, leaf) != 0) return -1;
    draft->name[0] = 0;
    return 0;
}

static void end_draft(struct draft *draft) {
    int number = errno;
    if (draft->name[0]) unlinkat(draft->tmp, draft->name, 0);
    if (draft->fd >= 0) close(draft->fd);
    if (draft->tmp >= 0) close(draft->tmp);
    errno = number;
}

/* One try: 0, or -1 with errno. ENOENT: the folder went meanwhile. */
static int put_file(const struct dir *dir, const char *path, const void *value, size_t bytes, const struct millpond_store_call *call) {
    struct draft draft = {-1, -1, ""};
    const char *leaf;
    int folder = pond_store_dir_parent(dir->root, path, 1, durable(dir), &leaf);
    if (folder < 0) return -1;
    int bad = begin_draft(dir, folder, &draft);
    if (!bad) bad = write_draft(draft.fd, value, bytes, call);
    if (!bad && durable(dir)) bad = fsync(draft.fd);
    if (!bad) bad = publish(dir, &draft, folder, leaf);
    if (!bad && durable(dir)) bad = pond_store_dir_flush(folder);
    end_draft(&draft);
    int number = errno;
    close(folder);
    errno = number;
    return bad;
}

static int dir_store(void *state, const void *key, size_t key_bytes, const void *value, size_t value_bytes, uint64_t ttl_ms,
                     const struct millpond_store_call *call) {
    const struct dir *dir = state;
    (void)ttl_ms;
    char *path = pond_store_dir_encode(key, key_bytes, flat(dir));
    if (!path) return no_memory(dir, call);
    int bad = -1, result = MILLPOND_OK;
    errno = ENOENT;
    for (int turn = 0; bad && errno == ENOENT && turn < TURNS_MAX; turn++) bad = put_file(dir, path, value, value_bytes, call);
    if (bad) result = errno == ETIMEDOUT ? pond_store_late(call, dir->name) : failed(dir, path, call);
    free(path);
    return result;
}

/* ---- erase ---- */

/* Removes the folders above a file that is gone, as far as they are empty. */
static void remove_folders(const struct dir *dir, char *path) {
    for (char *slash = strrchr(path, '/'); slash; slash = strrchr(path, '/')) {
        const char *leaf;
        *slash = 0;
        int folder = pond_store_dir_parent(dir->root, path, 0, 0, &leaf);
        int gone = folder >= 0 && unlinkat(folder, leaf, AT_REMOVEDIR) == 0;
        if (folder >= 0) close(folder);
        if (!gone) return;
    }
}

static int dir_erase(void *state, const void *key, size_t key_bytes, const struct millpond_store_call *call) {
    const struct dir *dir = state;
    const char *leaf;
    struct stat old;
    char *path = pond_store_dir_encode(key, key_bytes, flat(dir));
    if (!path) return no_memory(dir, call);
    int folder = pond_store_dir_parent(dir->root, path, 0, 0, &leaf), bad = folder < 0;
    if (!bad) bad = fstatat(folder, leaf, &old, AT_SYMLINK_NOFOLLOW);
    if (!bad && !S_ISREG(old.st_mode)) {
        errno = S_ISDIR(old.st_mode) ? EISDIR : S_ISLNK(old.st_mode) ? ELOOP : ENXIO;
        bad = -1;
    }
    if (!bad) bad = unlinkat(folder, leaf, 0);
    if (!bad && durable(dir)) bad = pond_store_dir_flush(folder);
    int result = !bad ? MILLPOND_OK : errno == ENOENT || errno == ENOTDIR ? MILLPOND_MISS : failed(dir, path, call);
    if (folder >= 0) close(folder);
    if (result == MILLPOND_OK) remove_folders(dir, path);
    free(path);
    return result;
}

/* ---- list ---- */

struct walk {
    const struct dir *dir;
    millpond_store_visit visit;
    void *arg;
    const struct millpond_store_call *call;
};

/* What a folder holds is read before anything below it is entered: one descriptor is open at any depth. */
struct names {
    size_t count, room;
    struct {
        char *path;
        uint64_t bytes;
        int folder;
    } * at;
};

static int note_name(struct names *names, const char *above, const char *name, const struct stat *info) {
    if (names->count == names->room) {
        size_t room = names->room ? names->room * 2 : 64;
        void *grown = realloc(names->at, room * sizeof *names->at);
        if (!grown) return -1;
        names->at = grown;
        names->room = room;
    }
    char *path;
    if (asprintf(&path, "%s%s%s", above, *above ? "/" : "", name) < 0) return -1;
    names->at[names->count].path = path;
    names->at[names->count].bytes = (uint64_t)info->st_size;
    names->at[names->count].folder = S_ISDIR(info->st_mode);
    names->count++;
    return 0;
}

static int read_folder(const struct walk *walk, const char *above, struct names *names) {
    int fd = *above ? pond_store_dir_open(walk->dir->root, above, O_RDONLY | O_DIRECTORY)
                    : openat(walk->dir->root, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *folder = fd < 0 ? NULL : fdopendir(fd);
    if (!folder) {
        int number = errno;
        if (fd >= 0) close(fd);
        errno = number;
        return number == ENOENT || (number == EACCES && *above) ? 0 : -1; /* gone meanwhile; or not for us */
    }
    int bad = 0;
    for (struct dirent *entry; !bad && (entry = readdir(folder));) {
        struct stat info;
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
        if (!*above && strcmp(entry->d_name, POND_STORE_DIR_TMP) == 0) continue;
        if (fstatat(dirfd(folder), entry->d_name, &info, AT_SYMLINK_NOFOLLOW) != 0) continue;
        if (S_ISREG(info.st_mode) || S_ISDIR(info.st_mode)) bad = note_name(names, above, entry->d_name, &info);
    }
    closedir(folder);
    if (bad) errno = ENOMEM;
    return bad;
}

static int list_folder(const struct walk *walk, const char *above) {
    struct names names = {0, 0, NULL};
    int result = read_folder(walk, above, &names) == 0 ? 0 : failed(walk->dir, *above ? above : NULL, walk->call);
    for (size_t i = 0; i < names.count && result == 0; i++) {
        unsigned char *key;
        size_t key_bytes;
        if (late(walk->call)) {
            result = pond_store_late(walk->call, walk->dir->name);
        } else if (names.at[i].folder) {
            result = list_folder(walk, names.at[i].path);
        } else {
            int is_key = pond_store_dir_decode(names.at[i].path, flat(walk->dir), &key, &key_bytes);
            if (is_key < 0) result = no_memory(walk->dir, walk->call);
            if (is_key == 1) {
                result = walk->visit(walk->arg, key, key_bytes, names.at[i].bytes);
                free(key);
            }
        }
    }
    for (size_t i = 0; i < names.count; i++) free(names.at[i].path);
    free(names.at);
    return result;
}

static int dir_list(void *state, millpond_store_visit visit, void *arg, const struct millpond_store_call *call) {
    const struct walk walk = {state, visit, arg, call};
    return list_folder(&walk, "");
}

/* ---- open, close ---- */

/* Removes what killed processes left in %tmp: files that nobody has locked. */
static void sweep(int root) {
    int fd = openat(root, POND_STORE_DIR_TMP, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *folder = fd < 0 ? NULL : fdopendir(fd);
    if (!folder) {
        if (fd >= 0) close(fd);
        return;
    }
    for (struct dirent *entry; (entry = readdir(folder));) {
        int draft = openat(fd, entry->d_name, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
        if (draft < 0) continue;
        if (flock(draft, LOCK_EX | LOCK_NB) == 0) unlinkat(fd, entry->d_name, 0);
        close(draft);
    }
    closedir(folder);
    unlinkat(root, POND_STORE_DIR_TMP, AT_REMOVEDIR); /* only when it is empty */
}

static void dir_close(void *state) {
    struct dir *dir = state;
    unlinkat(dir->root, POND_STORE_DIR_TMP, AT_REMOVEDIR);
    close(dir->root);
    free(dir);
}

int millpond_store_dir(struct millpond_store *store, const char *path, unsigned flags, char *errmsg) {
    if (errmsg) errmsg[0] = 0;
    if (!store || !path || !*path || flags >= MILLPOND_STORE_DIR_CREATE * 2u)
        return pond_error_say(MILLPOND_ERR_ARGUMENT, errmsg, "millpond_store_dir",
                              "the store, the path or the flags are wrong; give a path and known flags");
    struct dir *dir = malloc(sizeof *dir + strlen(path) + 5);
    if (!dir) return pond_error_say(MILLPOND_ERR_NO_MEMORY, errmsg, path, "out of memory");
    sprintf(dir->name, "dir:%s", path);
    dir->flags = flags;
    if (flags & MILLPOND_STORE_DIR_CREATE) mkdir(path, 0777);
    dir->root = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (dir->root < 0) {
        struct millpond_store_call call = {0, errmsg};
        int result = errno == ENOENT ? pond_error_say(MILLPOND_ERR_NO_FILE, errmsg, dir->name, "there is no such directory; make it first")
                     : errno == ENOTDIR ? pond_error_say(MILLPOND_ERR_ARGUMENT, errmsg, dir->name, "it is not a directory; name one")
                                        : failed(dir, NULL, &call);
        free(dir);
        return result;
    }
    sweep(dir->root);
    *store = (struct millpond_store){
        .name = dir->name, .state = dir, .load = dir_load, .store = dir_store, .erase = dir_erase, .list = dir_list, .close = dir_close};
    return MILLPOND_OK;
}
