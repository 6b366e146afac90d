/* SPDX-License-Identifier: MIT */
/* trace_input.c: a stdio stream over a file or standard input, decompressed on the way when it begins as a zstd frame does.
 *
 * fopencookie gives getline and fread over it, and a first block that is looked at before it is delivered: standard input cannot be
 * rewound. */
#include "trace.h"

#include "host.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifdef BENCH_HAVE_ZSTD
#include <zstd.h>
#endif

enum { BLOCK_BYTES = 256 << 10 };

struct input {
    int fd;
    unsigned char *raw;       /* as read */
    size_t raw_from, raw_to;
    bool raw_end;
    unsigned char *first;     /* decoded, not yet delivered */
    size_t first_from, first_to;
#ifdef BENCH_HAVE_ZSTD
    ZSTD_DStream *zstd;
#endif
    bool compressed, inside_frame;
};

/* Fills raw when it is empty; -1 for an error. */
static int refill(struct input *input) {
    if (input->raw_from < input->raw_to || input->raw_end)
        return 0;
    ssize_t got;
    do {
        got = read(input->fd, input->raw, BLOCK_BYTES);
    } while (got < 0 && errno == EINTR && !host_interrupted);
    if (got < 0)
        return -1;
    input->raw_from = 0;
    input->raw_to = (size_t)got;
    input->raw_end = got == 0;
    return 0;
}

#ifdef BENCH_HAVE_ZSTD
static ssize_t read_zstd(struct input *input, char *to, size_t room) {
    ZSTD_outBuffer out = {to, room, 0};
    while (out.pos == 0) {
        if (refill(input) != 0)
            return -1;
        if (input->raw_end) {
            if (!input->inside_frame)
                return 0;
            errno = EPIPE; /* the frame is cut off */
            return -1;
        }
        ZSTD_inBuffer in = {input->raw, input->raw_to, input->raw_from};
        size_t left = ZSTD_decompressStream(input->zstd, &out, &in);
        input->raw_from = in.pos;
        if (ZSTD_isError(left)) {
            errno = EBADMSG;
            return -1;
        }
        input->inside_frame = left != 0;
    }
    return (ssize_t)out.pos;
}
#endif

static ssize_t read_decoded(struct input *input, char *to, size_t room) {
#ifdef BENCH_HAVE_ZSTD
    if (input->compressed)
        return read_zstd(input, to, room);
#endif
    if (refill(input) != 0)
        return -1;
    size_t some = input->raw_to - input->raw_from < room ? input->raw_to - input->raw_from : room;
    memcpy(to, input->raw + input->raw_from, some);
    input->raw_from += some;
    return (ssize_t)some;
}

static ssize_t input_read(void *cookie, char *to, size_t room) {
    struct input *input = cookie;
    size_t some = input->first_to - input->first_from < room ? input->first_to - input->first_from : room;
    if (some == 0)
        return read_decoded(input, to, room);
    memcpy(to, input->first + input->first_from, some);
    input->first_from += some;
    return (ssize_t)some;
}

static int input_close(void *cookie) {
    struct input *input = cookie;
#ifdef BENCH_HAVE_ZSTD
    ZSTD_freeDStream(input->zstd);
#endif
    if (input->fd != STDIN_FILENO)
        close(input->fd);
    free(input->raw);
    free(input->first);
    free(input);
    return 0;
}

static bool begin_zstd(struct input *input, const char *path, char *why) {
    static const unsigned char magic[] = {0x28, 0xb5, 0x2f, 0xfd};
    if (input->raw_to < sizeof magic || memcmp(input->raw, magic, sizeof magic) != 0)
        return true;
#ifdef BENCH_HAVE_ZSTD
    input->compressed = true;
    input->zstd = ZSTD_createDStream();
    return input->zstd || host_why(why, "%s: out of memory for decompression", path);
#else
    return host_why(why, "%s: is compressed with zstd, which was not built in; use: zstd -dc %s | millpond-bench replay -", path, path);
#endif
}

/* Decodes until `first` is full or the input ends: what standard input delivers in one read may be a few bytes. */
static bool read_first(struct input *input, size_t first_room, const char *path, char *why) {
    while (input->first_to < first_room) {
        ssize_t got = read_decoded(input, (char *)input->first + input->first_to, first_room - input->first_to);
        if (got < 0)
            return host_why(why, "%s: cannot be read: %s", path, strerror(errno));
        if (got == 0)
            break;
        input->first_to += (size_t)got;
    }
    return true;
}

FILE *trace_input_open(const char *path, unsigned char *first, size_t first_room, size_t *first_bytes, char *why) {
    const cookie_io_functions_t functions = {input_read, NULL, NULL, input_close};
    struct input *input = host_alloc(sizeof *input);
    input->raw = host_alloc(BLOCK_BYTES);
    input->first = host_alloc(first_room);
    input->fd = strcmp(path, "-") == 0 ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
    bool good = input->fd >= 0 && refill(input) == 0;
    if (!good)
        host_why(why, "%s: cannot be read: %s; name a trace, or - for standard input", path, strerror(errno));
    good = good && begin_zstd(input, path, why) && read_first(input, first_room, path, why);
    if (!good) {
        input_close(input);
        return NULL;
    }
    memcpy(first, input->first, input->first_to);
    *first_bytes = input->first_to;
    FILE *stream = fopencookie(input, "r", functions);
    if (!stream) {
        host_why(why, "%s: %s", path, strerror(errno));
        input_close(input);
        return NULL;
    }
    setvbuf(stream, NULL, _IOFBF, BLOCK_BYTES);
    return stream;
}
