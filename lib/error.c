/* SPDX-License-Identifier: MIT */
/* Results as text, and the sentences that opening and checking give: which file, what is wrong, what to do. */

#include "error.h"

#include "millpond.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

const char *millpond_strerror(int result) {
    switch (result) {
#define TEXT(name, number, text)                                                                                                           \
    case number: return text;
        MILLPOND_RESULTS(TEXT)
#undef TEXT
    default: return "unknown result";
    }
}

#define STRING(x)                    #x
#define VERSION(major, minor, patch) STRING(major) "." STRING(minor) "." STRING(patch)
const char *millpond_version(void) { return VERSION(MILLPOND_VERSION_MAJOR, MILLPOND_VERSION_MINOR, MILLPOND_VERSION_PATCH); }

int pond_error_say(int result, char *errmsg, const char *path, const char *format, ...) {
    if (!errmsg) return result;
    char sentence[MILLPOND_ERRMSG_BYTES];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(sentence, sizeof sentence, format, arguments);
    va_end(arguments);
    size_t said = strlen(sentence), named = strlen(path), room = MILLPOND_ERRMSG_BYTES - 3;
    room = said < room ? room - said : 0;
    const char *cut = named > room ? "..." : "";
    if (named > room) { /* the end of a long path says more than its beginning */
        size_t keep = room > 3 ? room - 3 : 0;
        path += named - keep;
        named = keep;
    }
    size_t at = strlen(cut);
    memcpy(errmsg, cut, at);
    memcpy(errmsg + at, path, named);
    at += named;
    errmsg[at++] = ':';
    errmsg[at++] = ' ';
    if (said > MILLPOND_ERRMSG_BYTES - 1 - at) said = MILLPOND_ERRMSG_BYTES - 1 - at;
    memcpy(errmsg + at, sentence, said);
    errmsg[at + said] = 0;
    return result;
}

int pond_error_system(int error_number, char *errmsg, const char *path, const char *what) {
    switch (error_number) {
    case ENOENT:
    case ENOTDIR:
        return pond_error_say(MILLPOND_ERR_NO_FILE, errmsg, path,
                              "there is no such file; create it first (millpond create, or MILLPOND_CREATE)");
    case EACCES:
    case EPERM:
        return pond_error_say(MILLPOND_ERR_PERMISSION, errmsg, path,
                              "permission denied (%s); run as its owner, or change the mode of file or folder", what);
    case EROFS:
        return pond_error_say(MILLPOND_ERR_READ_ONLY_FS, errmsg, path,
                              "the file system is read-only; open it read-only, or use another place");
    case ELOOP:
        return pond_error_say(MILLPOND_ERR_NOT_REGULAR, errmsg, path,
                              "it is a symbolic link, which is never followed; name the file itself");
    case EISDIR: return pond_error_say(MILLPOND_ERR_NOT_REGULAR, errmsg, path, "it is a directory; name a file");
    case ENXIO:
    case ENODEV: return pond_error_say(MILLPOND_ERR_NOT_REGULAR, errmsg, path, "it is not a regular file; name a pond");
    case ENOSPC:
    case EDQUOT:
        return pond_error_say(MILLPOND_ERR_NO_SPACE, errmsg, path, "the disk or quota is full; free space, or give a smaller size");
    case EFBIG:
        return pond_error_say(MILLPOND_ERR_LIMIT, errmsg, path,
                              "the file would be larger than allowed; raise the file size limit (ulimit -f)");
    case EMFILE:
    case ENFILE: return pond_error_say(MILLPOND_ERR_LIMIT, errmsg, path, "too many open files; raise the limit (ulimit -n)");
    case ENOMEM:
        return pond_error_say(MILLPOND_ERR_NO_MEMORY, errmsg, path, "out of memory (%s); give a smaller size, or free memory", what);
    case ENAMETOOLONG: return pond_error_say(MILLPOND_ERR_ARGUMENT, errmsg, path, "the name is too long; use a shorter one");
    default:
        return pond_error_say(MILLPOND_ERR_SYSTEM, errmsg, path, "%s failed: %s; see the system's log, or try another place", what,
                              strerror(error_number));
    }
}
