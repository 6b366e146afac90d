/* SPDX-License-Identifier: MIT */
/* trace.h: a request trace, whole in memory, with its keys numbered in the order of their first request. */
#ifndef BENCH_TRACE_H
#define BENCH_TRACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum trace_format { TRACE_AUTO, TRACE_TEXT, TRACE_ORACLE };

struct trace {
    uint64_t request_count;
    uint32_t *ids;     /* of each request: the number of its key */
    uint32_t *sizes;   /* of each request: bytes of the value; NULL when the trace names none */
    uint64_t *times_ms; /* of each request, from the first one on; NULL when the trace names none */
    uint32_t key_count;
    uint64_t *key_at;  /* key_count + 1 offsets into key_bytes */
    unsigned char *key_bytes;
};

/* Reads a trace: a path, or "-" for standard input; plain or compressed with zstd, which its first bytes tell.
 *
 * Text: one request a line, `key`, `key,size` or `time,key,size`; the first line decides which; a first line whose size is no number is
 * a heading and is left out. Times are seconds; where one is no number, the trace has none. oracleGeneral: little-endian records of 24
 * bytes: u32 time, u64 key, u32 size, i64 next request (unused).
 * TRACE_AUTO takes a file with a zero byte among its first ones for oracleGeneral.
 * False and a sentence in `why` (HOST_WHY_BYTES) when it cannot be read or is none of these. */
bool trace_load(struct trace *trace, const char *path, enum trace_format format, char *why);
void trace_free(struct trace *trace);

static inline const void *trace_key(const struct trace *trace, uint32_t id) {
    return trace->key_bytes + trace->key_at[id];
}
static inline size_t trace_key_bytes(const struct trace *trace, uint32_t id) {
    return (size_t)(trace->key_at[id + 1] - trace->key_at[id]);
}

/* A stream over a file or standard input that takes zstd compression off (trace_input.c). `first` receives up to first_room bytes of
 * what the stream will deliver. NULL and a sentence when it cannot be opened. A read error shows as ferror of the stream. */
FILE *trace_input_open(const char *path, unsigned char *first, size_t first_room, size_t *first_bytes, char *why);

#endif
