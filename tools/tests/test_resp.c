/* SPDX-License-Identifier: MIT */
/* The reader of RESP: every kind of token, fed in pieces of any size, and what it must refuse. */

#include "agent/resp.h"

#include "unit.h"

#include <stdlib.h>
#include <string.h>

/* Reads everything, fed `step` bytes at a time, as text: "+hello" "3" "[2" ">2" "|2" "_" "-error". The last word says how it ended: "more",
 * or "wrong". */
static void tell(const char *stream, size_t bytes, size_t step, char *told) {
    struct resp resp = {.buf = NULL};
    struct resp_token token;
    enum resp_answer answer = RESP_MORE;
    size_t at = 0;
    told[0] = 0;
    while (answer != RESP_WRONG) {
        while ((answer = resp_next(&resp, &token)) == RESP_TOKEN) {
            static const char signs[] = "+-:_[>|";
            char word[600];
            int length = (int)(token.byte_count < 500 ? token.byte_count : 500);
            snprintf(word, sizeof word, "%c%.*s", signs[token.type], length, token.bytes ? (const char *)token.bytes : "");
            strcat(told, word);
            if (token.type == RESP_NUMBER) told[strlen(told) - token.byte_count] = 0;
            if (token.type == RESP_NUMBER || token.type >= RESP_ARRAY) sprintf(told + strlen(told), "%lld", (long long)token.number);
            strcat(told, " ");
        }
        if (answer == RESP_WRONG || at == bytes) break;
        size_t piece = bytes - at < step ? bytes - at : step;
        memcpy(resp_room(&resp, piece), stream + at, piece);
        resp_fed(&resp, piece);
        at += piece;
    }
    strcat(told, answer == RESP_WRONG ? "wrong" : "more");
    resp_free(&resp);
}

static void require(const char *stream, const char *expected) {
    char told[4096];
    for (size_t step = 1; step <= strlen(stream) + 1; step++) {
        tell(stream, strlen(stream), step, told);
        cr_assert_str_eq(told, expected, "%s fed by %zu: %s", stream, step, told);
    }
}

TestSuite(resp);

Test(resp, scalars) {
    require("+PONG\r\n", "+PONG more");
    require("-ERR no\r\n", "-ERR no more");
    require(":0\r\n:-12\r\n:+7\r\n", ":0 :-12 :7 more");
    require(":9223372036854775807\r\n:-9223372036854775808\r\n", ":9223372036854775807 :-9223372036854775808 more");
    require("$5\r\nhel\r\n\r\n$0\r\n\r\n", "+hel\r\n + more");
    require("$-1\r\n*-1\r\n_\r\n", "_ _ _ more");
    require("#t\r\n,1.5\r\n(123\r\n=7\r\ntxt:abc\r\n!3\r\nbad\r\n", "+t +1.5 +123 +txt:abc -bad more");
}

Test(resp, aggregates) {
    require(">2\r\n$10\r\ninvalidate\r\n*2\r\n$1\r\na\r\n$2\r\nbc\r\n", ">2 +invalidate [2 +a +bc more");
    require(">2\r\n$10\r\ninvalidate\r\n_\r\n", ">2 +invalidate _ more");
    require("%2\r\n+a\r\n:1\r\n+b\r\n:2\r\n~1\r\n+x\r\n|1\r\n+k\r\n+v\r\n*0\r\n", "[4 +a :1 +b :2 [1 +x |2 +k +v [0 more");
}

Test(resp, what_it_refuses) {
    static const char *const wrong[] = {"hello\r\n",
                                        "\r\n",
                                        "\n",
                                        "+a\n",
                                        "$x\r\n",
                                        "$-2\r\n",
                                        "$1\r\nab\r\n",
                                        "$1\r\na\n\n",
                                        ":\r\n",
                                        ":1a\r\n",
                                        ":--1\r\n",
                                        "*-2\r\n",
                                        ">-1\r\n",
                                        "%-1\r\n",
                                        "!-1\r\n",
                                        "_x\r\n",
                                        "$?\r\n",
                                        "*\r\n",
                                        ":9223372036854775808\r\n",
                                        ":-9223372036854775809\r\n",
                                        "$99999999999999999999\r\n",
                                        "%4611686018427387904\r\n",
                                        "$67108865\r\n"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) require(wrong[i], "wrong");
}

Test(resp, a_line_without_an_end_is_bounded) {
    char *line = malloc(200000), told[4096];
    memset(line, 'a', 200000);
    line[0] = '+';
    tell(line, 200000, 1000, told);
    cr_assert_str_eq(told, "wrong");
    free(line);
}

Test(resp, a_size_is_not_believed_before_its_bytes_arrive) {
    struct resp resp = {.buf = NULL};
    struct resp_token token;
    memcpy(resp_room(&resp, 11), "$67108864\r\n", 11);
    resp_fed(&resp, 11);
    cr_assert_eq(resp_next(&resp, &token), RESP_MORE);
    cr_assert(resp.room < 1000);
    resp_free(&resp);
}
