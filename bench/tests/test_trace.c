/* SPDX-License-Identifier: MIT */
/* test_trace.c: traces in every format, and what is said about those that are none. */
#include "trace.h"

#include "host.h"

#include <criterion/criterion.h>
#include <endian.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifdef BENCH_HAVE_ZSTD
#include <zstd.h>
#endif

static char folder[64], path[96], why[HOST_WHY_BYTES];
static struct trace trace;

static void make_folder(void) {
    const char *place = getenv("TMPDIR");
    snprintf(folder, sizeof folder, "%.40s/bench-trace-XXXXXX", place && *place ? place : "/tmp");
    cr_assert_not_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/trace", folder);
}

static void remove_folder(void) {
    trace_free(&trace);
    host_remove_folder(folder);
}

TestSuite(trace, .init = make_folder, .fini = remove_folder);

static void put(const void *bytes, size_t count) {
    FILE *file = fopen(path, "w");
    cr_assert_not_null(file);
    cr_assert_eq(fwrite(bytes, 1, count, file), count);
    cr_assert_eq(fclose(file), 0);
}

static bool load(const char *text) {
    put(text, strlen(text));
    return trace_load(&trace, path, TRACE_AUTO, why);
}

static void expect_key(uint64_t at, const char *key) {
    uint32_t id = trace.ids[at];
    cr_assert_eq(trace_key_bytes(&trace, id), strlen(key), "request %d", (int)at);
    cr_assert_eq(memcmp(trace_key(&trace, id), key, strlen(key)), 0, "request %d", (int)at);
}

Test(trace, one_key_a_line) {
    cr_assert(load("a\nb c\na\n\n  x\nlast"), "%s", why);
    cr_assert_eq(trace.request_count, 5);
    cr_assert_eq(trace.key_count, 4);
    cr_assert_null(trace.sizes);
    static const uint32_t ids[] = {0, 1, 0, 2, 3};
    cr_assert_arr_eq(trace.ids, ids, sizeof ids);
    expect_key(1, "b c");
    expect_key(3, "  x");
    expect_key(4, "last");
}

Test(trace, key_and_size) {
    cr_assert(load("a,10\nb, 20 \r\na,30\n"), "%s", why);
    static const uint32_t sizes[] = {10, 20, 30};
    cr_assert_eq(trace.request_count, 3);
    cr_assert_arr_eq(trace.sizes, sizes, sizeof sizes);
    expect_key(1, "b");
}

Test(trace, times_are_seconds_from_the_first_request_on) {
    cr_assert(load("1000.5,a,10\n1002,b,20\n1000,c,30\n"), "%s", why);
    static const uint64_t times_ms[] = {0, 1500, 0};
    cr_assert_not_null(trace.times_ms);
    cr_assert_arr_eq(trace.times_ms, times_ms, sizeof times_ms);
    trace_free(&trace);
    cr_assert(load("5,a,10\nmonday,b,20\n7,c,30\n"), "%s", why);
    cr_assert_null(trace.times_ms, "a time that is none");
    cr_assert_eq(trace.request_count, 3);
    trace_free(&trace);
    cr_assert(load("a,10\nb,20\n"), "%s", why);
    cr_assert_null(trace.times_ms, "there are none");
}

Test(trace, time_key_and_size_with_a_heading) {
    cr_assert(load("time,key,size\n1,a,10\n2,k,with,commas,20\n"), "%s", why);
    static const uint32_t sizes[] = {10, 20};
    cr_assert_eq(trace.request_count, 2);
    cr_assert_arr_eq(trace.sizes, sizes, sizeof sizes);
    expect_key(0, "a");
    expect_key(1, "k,with,commas");
}

Test(trace, keys_of_the_first_kind_may_have_commas_later) {
    cr_assert(load("a\nb,c\n"), "%s", why);
    expect_key(1, "b,c");
}

Test(trace, a_wrong_line_is_named) {
    cr_assert_not(load("a,10\nb,20\nc,many\n"));
    cr_assert(strstr(why, path) && strstr(why, "line 3"), "%s", why);
    cr_assert_not(load("1,a,10\n2,20\n"));
    cr_assert(strstr(why, "line 2"), "%s", why);
    cr_assert_not(load("a,10\nb,-5\n"));
    cr_assert_not(load("a,10\nb,4294967296\n"));
    cr_assert_not(load("a,10\n,5\n"));
}

Test(trace, an_empty_or_missing_one_is_a_sentence) {
    cr_assert_not(load(""));
    cr_assert(strstr(why, "no request"), "%s", why);
    cr_assert_not(load("\n\n"));
    cr_assert_not(trace_load(&trace, "/nonexistent/trace", TRACE_AUTO, why));
    cr_assert(strstr(why, "/nonexistent/trace"), "%s", why);
}

Test(trace, many_keys_keep_their_numbers) {
    FILE *file = fopen(path, "w");
    for (unsigned turn = 0; turn < 2; turn++) {
        for (unsigned i = 0; i < 200000; i++)
            fprintf(file, "key number %u\n", i);
    }
    fclose(file);
    cr_assert(trace_load(&trace, path, TRACE_AUTO, why), "%s", why);
    cr_assert_eq(trace.key_count, 200000);
    for (unsigned i = 0; i < 400000; i++)
        cr_assert_eq(trace.ids[i], i % 200000);
    expect_key(123456, "key number 123456");
}

/* ---- oracleGeneral ---- */

enum { RECORDS = 1000, RECORD_BYTES = 24 };

static void make_records(unsigned char *bytes) {
    for (uint32_t i = 0; i < RECORDS; i++, bytes += RECORD_BYTES) {
        uint32_t time = htole32(1600000000 + i), size = htole32(100 + i % 7);
        uint64_t key = htole64(UINT64_C(0xfeedfacecafe0000) + i % 250);
        int64_t next = i + 250 < RECORDS ? (int64_t)htole64(i + 250) : -1;
        memcpy(bytes, &time, 4);
        memcpy(bytes + 4, &key, 8);
        memcpy(bytes + 12, &size, 4);
        memcpy(bytes + 16, &next, 8);
    }
}

static void expect_records(void) {
    cr_assert_eq(trace.request_count, RECORDS);
    cr_assert_eq(trace.key_count, 250);
    for (uint32_t i = 0; i < RECORDS; i++) {
        uint64_t key;
        cr_assert_eq(trace.ids[i], i % 250);
        cr_assert_eq(trace.sizes[i], 100 + i % 7);
        cr_assert_eq(trace_key_bytes(&trace, trace.ids[i]), 8);
        memcpy(&key, trace_key(&trace, trace.ids[i]), 8);
        cr_assert_eq(le64toh(key), UINT64_C(0xfeedfacecafe0000) + i % 250);
    }
}

Test(trace, oracle_general_comes_back_as_it_was_written) {
    static unsigned char bytes[RECORDS * RECORD_BYTES];
    make_records(bytes);
    put(bytes, sizeof bytes);
    cr_assert(trace_load(&trace, path, TRACE_AUTO, why), "%s", why);
    expect_records();
}

Test(trace, oracle_general_that_is_cut_off_is_refused) {
    static unsigned char bytes[RECORDS * RECORD_BYTES];
    make_records(bytes);
    put(bytes, sizeof bytes - 5);
    cr_assert_not(trace_load(&trace, path, TRACE_AUTO, why));
    cr_assert(strstr(why, "inside record 1000"), "%s", why);
}

Test(trace, a_format_that_is_named_is_not_guessed) {
    cr_assert(load("abcdefghijklmnopqrstuvwx"));
    cr_assert_eq(trace.request_count, 1);
    trace_free(&trace);
    cr_assert(trace_load(&trace, path, TRACE_ORACLE, why), "%s", why);
    cr_assert_eq(trace.request_count, 1);
    expect_key(0, "efghijkl");
}

#ifdef BENCH_HAVE_ZSTD
/* Two frames behind each other are one stream, as `cat a.zst b.zst` makes. */
Test(trace, zstd_is_taken_off) {
    static unsigned char bytes[RECORDS * RECORD_BYTES], packed[2 * RECORDS * RECORD_BYTES];
    make_records(bytes);
    size_t half = sizeof bytes / 2 / RECORD_BYTES * RECORD_BYTES;
    size_t first = ZSTD_compress(packed, sizeof packed, bytes, half, 3);
    size_t second = ZSTD_compress(packed + first, sizeof packed - first, bytes + half, sizeof bytes - half, 3);
    put(packed, first + second);
    cr_assert(trace_load(&trace, path, TRACE_AUTO, why), "%s", why);
    expect_records();
    trace_free(&trace);
    put(packed, first + second - 3);
    cr_assert_not(trace_load(&trace, path, TRACE_AUTO, why));
    cr_assert(strstr(why, "cut off"), "%s", why);
    memset(packed + first + 8, 0xee, 20);
    put(packed, first + second);
    cr_assert_not(trace_load(&trace, path, TRACE_AUTO, why));
    cr_assert(strstr(why, "damaged"), "%s", why);
}
#endif
