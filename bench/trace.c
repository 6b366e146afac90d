/* SPDX-License-Identifier: MIT */
/* trace.c: text and oracleGeneral traces into numbered requests.
 *
 * Keys are interned in an open-addressing table of numbers, at most half full, that points into one arena of key bytes. */
#include "trace.h"

#include "host.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

enum { FIRST_BYTES = 4096, ORACLE_RECORD_BYTES = 24, KEY_BYTES_MAX = 65535 };

struct reader {
    struct trace *trace;
    const char *path;
    char *why;
    uint64_t request_room, time_room, key_room, arena_room;
    uint32_t *table;     /* number of a key + 1, 0 for none */
    uint64_t table_mask;
    uint64_t line;
    unsigned fields;     /* of a line of text: 1, 2 or 3 */
    double first_s;      /* the time of the first request */
    bool timeless;       /* some request has none */
};

static void grow_table(struct reader *reader) {
    struct trace *trace = reader->trace;
    uint64_t size = reader->table ? (reader->table_mask + 1) * 2 : 1 << 16;
    free(reader->table);
    reader->table = host_alloc(size * sizeof *reader->table);
    reader->table_mask = size - 1;
    for (uint32_t id = 0; id < trace->key_count; id++) {
        uint64_t at = XXH3_64bits(trace_key(trace, id), trace_key_bytes(trace, id));
        while (reader->table[at & reader->table_mask] != 0)
            at++;
        reader->table[at & reader->table_mask] = id + 1;
    }
}

static void add_key(struct reader *reader, const void *key, size_t key_bytes) {
    struct trace *trace = reader->trace;
    uint64_t end = trace->key_count > 0 ? trace->key_at[trace->key_count] : 0;
    if (trace->key_count + UINT64_C(2) > reader->key_room) {
        reader->key_room = reader->key_room > 0 ? reader->key_room * 2 : 1 << 16;
        trace->key_at = host_grow(trace->key_at, reader->key_room * sizeof *trace->key_at);
        trace->key_at[0] = 0;
    }
    if (end + key_bytes > reader->arena_room) {
        reader->arena_room = (reader->arena_room + key_bytes) * 2 + (1 << 20);
        trace->key_bytes = host_grow(trace->key_bytes, reader->arena_room);
    }
    memcpy(trace->key_bytes + end, key, key_bytes);
    trace->key_at[++trace->key_count] = end + key_bytes;
}

static uint32_t number_of(struct reader *reader, const void *key, size_t key_bytes) {
    struct trace *trace = reader->trace;
    if (!reader->table || trace->key_count * UINT64_C(2) > reader->table_mask)
        grow_table(reader);
    uint64_t at = XXH3_64bits(key, key_bytes);
    uint32_t there;
    while ((there = reader->table[at & reader->table_mask]) != 0) {
        if (trace_key_bytes(trace, there - 1) == key_bytes && memcmp(trace_key(trace, there - 1), key, key_bytes) == 0)
            return there - 1;
        at++;
    }
    add_key(reader, key, key_bytes);
    reader->table[at & reader->table_mask] = trace->key_count;
    return trace->key_count - 1;
}

/* Of the request that is added next. */
static void add_time(struct reader *reader, double s) {
    struct trace *trace = reader->trace;
    if (reader->timeless)
        return;
    if (trace->request_count == reader->time_room) {
        reader->time_room = reader->time_room > 0 ? reader->time_room * 2 : 1 << 16;
        trace->times_ms = host_grow(trace->times_ms, reader->time_room * sizeof *trace->times_ms);
    }
    if (trace->request_count == 0)
        reader->first_s = s;
    trace->times_ms[trace->request_count] = s > reader->first_s ? (uint64_t)((s - reader->first_s) * 1000 + 0.5) : 0;
}

static void take_time(struct reader *reader, const char *text) {
    char *end;
    double s = strtod(text, &end);
    if (end != text && *end == ',' && s >= 0 && s < 1e12) {
        add_time(reader, s);
        return;
    }
    reader->timeless = true;
    free(reader->trace->times_ms);
    reader->trace->times_ms = NULL;
}

static bool add_request(struct reader *reader, const void *key, size_t key_bytes, bool has_size, uint64_t size) {
    struct trace *trace = reader->trace;
    if (key_bytes == 0 || key_bytes > KEY_BYTES_MAX)
        return host_why(reader->why, "%s: request %llu: a key of %zu bytes; 1 to %d are allowed", reader->path,
                        (unsigned long long)trace->request_count + 1, key_bytes, KEY_BYTES_MAX);
    if (size > UINT32_MAX)
        return host_why(reader->why, "%s: request %llu: a value of %llu bytes; at most %u are allowed", reader->path,
                        (unsigned long long)trace->request_count + 1, (unsigned long long)size, UINT32_MAX);
    if (trace->key_count == UINT32_MAX - 1)
        return host_why(reader->why, "%s: more than %u keys", reader->path, trace->key_count);
    if (trace->request_count == reader->request_room) {
        reader->request_room = reader->request_room > 0 ? reader->request_room * 2 : 1 << 16;
        trace->ids = host_grow(trace->ids, reader->request_room * sizeof *trace->ids);
        if (has_size)
            trace->sizes = host_grow(trace->sizes, reader->request_room * sizeof *trace->sizes);
    }
    trace->ids[trace->request_count] = number_of(reader, key, key_bytes);
    if (has_size)
        trace->sizes[trace->request_count] = (uint32_t)size;
    trace->request_count++;
    return true;
}

/* ---- text ---- */

static bool read_size(const char *text, uint64_t *size) {
    char *end;
    while (*text == ' ' || *text == '\t')
        text++;
    if (*text < '0' || *text > '9')
        return false;
    errno = 0;
    *size = strtoull(text, &end, 10);
    while (*end == ' ' || *end == '\t')
        end++;
    return *end == 0 && errno == 0;
}

/* One field: all of the line is the key. Two: what follows the last comma is the size. Three: what precedes the first one is the time. */
static bool take_line(struct reader *reader, char *line, size_t line_bytes) {
    uint64_t size = 0;
    char *comma = memrchr(line, ',', line_bytes), *key = line;
    if (reader->fields == 1)
        return add_request(reader, line, line_bytes, false, 0);
    char *first = memchr(line, ',', line_bytes);
    if (reader->fields == 3) {
        if (!first || first == comma)
            return host_why(reader->why, "%s: line %llu: not of the form time,key,size as the first line is", reader->path,
                            (unsigned long long)reader->line);
        key = first + 1;
    }
    if (!comma || !read_size(comma + 1, &size)) {
        if (reader->trace->request_count == 0 && reader->line == 1)
            return true; /* a heading */
        return host_why(reader->why, "%s: line %llu: the last field is no size in bytes", reader->path, (unsigned long long)reader->line);
    }
    if (reader->fields == 3)
        take_time(reader, line);
    return add_request(reader, key, (size_t)(comma - key), true, size);
}

static unsigned count_fields(const char *line) {
    unsigned commas = 0;
    for (; *line; line++)
        commas += *line == ',';
    return commas < 2 ? commas + 1 : 3;
}

static bool read_text(struct reader *reader, FILE *stream) {
    char *line = NULL;
    size_t room = 0;
    ssize_t got;
    bool good = true;
    while (good && !host_interrupted && (got = getline(&line, &room, stream)) >= 0) {
        size_t bytes = (size_t)got;
        while (bytes > 0 && (line[bytes - 1] == '\n' || line[bytes - 1] == '\r'))
            line[--bytes] = 0;
        reader->line++;
        if (bytes == 0)
            continue;
        if (reader->fields == 0)
            reader->fields = count_fields(line);
        good = take_line(reader, line, bytes);
    }
    free(line);
    return good;
}

/* ---- oracleGeneral ---- */

static bool read_oracle(struct reader *reader, FILE *stream) {
    unsigned char record[ORACLE_RECORD_BYTES];
    size_t got;
    while (!host_interrupted && (got = fread(record, 1, sizeof record, stream)) > 0) {
        uint32_t time, size;
        if (got < sizeof record)
            return ferror(stream) || host_why(reader->why, "%s: ends inside record %llu; oracleGeneral records have %d bytes", reader->path,
                                              (unsigned long long)reader->trace->request_count + 1, ORACLE_RECORD_BYTES);
        memcpy(&time, record, sizeof time);
        memcpy(&size, record + 12, sizeof size);
        add_time(reader, le32toh(time));
        if (!add_request(reader, record + 4, 8, true, le32toh(size)))
            return false;
    }
    return true;
}

bool trace_load(struct trace *trace, const char *path, enum trace_format format, char *why) {
    unsigned char first[FIRST_BYTES];
    size_t first_bytes;
    struct reader reader = {.trace = trace, .path = path, .why = why};
    memset(trace, 0, sizeof *trace);
    FILE *stream = trace_input_open(path, first, sizeof first, &first_bytes, why);
    if (!stream)
        return false;
    if (format == TRACE_AUTO)
        format = memchr(first, 0, first_bytes) ? TRACE_ORACLE : TRACE_TEXT;
    bool good = format == TRACE_ORACLE ? read_oracle(&reader, stream) : read_text(&reader, stream);
    if (good && ferror(stream))
        good = host_why(why, "%s: cannot be read to its end: %s", path,
                        errno == EPIPE ? "the zstd frame is cut off" : errno == EBADMSG ? "damaged zstd data" : strerror(errno));
    fclose(stream);
    free(reader.table);
    if (good && trace->request_count == 0)
        good = host_why(why, "%s: holds no request; one key a line is expected", path);
    if (!good)
        trace_free(trace);
    return good;
}

void trace_free(struct trace *trace) {
    free(trace->ids);
    free(trace->sizes);
    free(trace->times_ms);
    free(trace->key_at);
    free(trace->key_bytes);
    memset(trace, 0, sizeof *trace);
}
