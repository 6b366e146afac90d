/* SPDX-License-Identifier: MIT */
/* The fuzz target of the agent's reader of RESP: one input is what a server sends. It is read twice, fed at once and in pieces whose sizes
 * the input decides: the tokens must be the same, and lie within what was fed. For libFuzzer and AFL++; without them, a driver that puts
 * streams together from parts, damages them, and runs for a while:
 *
 *     fuzz_resp [--runs N] [--seed N] [FILE...] */

#include "resp.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* All that the tokens say, as one number; the answer that ended it, too. */
static uint64_t digest(const uint8_t *data, size_t size, const uint8_t *steps, size_t step_count) {
    struct resp resp = {.buf = NULL};
    struct resp_token token;
    uint64_t sum = 14695981039346656037u;
    enum resp_answer answer = RESP_MORE;
    for (size_t at = 0, turn = 0; at < size && answer == RESP_MORE; turn++) {
        size_t piece = step_count != 0 ? (size_t)steps[turn % step_count] % 9 + 1 : size;
        if (piece > size - at) piece = size - at;
        unsigned char *room = resp_room(&resp, piece);
        if (room == NULL) abort();
        memcpy(room, data + at, piece);
        resp_fed(&resp, piece);
        at += piece;
        while ((answer = resp_next(&resp, &token)) == RESP_TOKEN) {
            if (token.byte_count > size || token.type > RESP_ATTRIBUTES) abort();
            if (token.bytes != NULL && (token.bytes < resp.buf || token.bytes + token.byte_count > resp.buf + resp.end)) abort();
            sum = (sum ^ (uint64_t)token.type ^ (uint64_t)token.number) * 1099511628211u;
            for (size_t i = 0; i < token.byte_count; i++) sum = (sum ^ token.bytes[i]) * 1099511628211u;
        }
    }
    resp_free(&resp);
    return sum ^ (uint64_t)answer;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    /* Where a line has no end yet, one way of feeding may see that it is too long before the other does. */
    if (size > RESP_LINE_BYTES_MAX) return 0;
    if (digest(data, size, NULL, 0) != digest(data, size, data, size < 16 ? size : 16)) abort();
    return 0;
}

#ifndef FUZZ_ENGINE

static uint64_t state = 1;

static uint64_t draw(uint64_t bound) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state % bound;
}

static size_t make_stream(uint8_t *to, size_t room) {
    static const char *const parts[] = {
        "+PONG\r\n", "-ERR x\r\n", ":12\r\n", "$3\r\nabc\r\n", "$-1\r\n", "_\r\n",  ">2\r\n",          "$10\r\ninvalidate\r\n",
        "*3\r\n",    "%1\r\n",     "|1\r\n",  "#t\r\n",        ",1\r\n",  "(9\r\n", "=5\r\ntxt:a\r\n", "!2\r\nno\r\n",
        "~1\r\n"};
    size_t bytes = 0;
    for (size_t left = draw(30) + 1; left > 0; left--) {
        const char *part = parts[draw(sizeof parts / sizeof parts[0])];
        if (bytes + strlen(part) > room) break;
        memcpy(to + bytes, part, strlen(part));
        bytes += strlen(part);
    }
    for (size_t wounds = draw(4); wounds > 0 && bytes > 0; wounds--) {
        size_t at = draw(bytes);
        switch (draw(3)) {
        case 0: to[at] = (uint8_t)draw(256); break;
        case 1: to[at] = (uint8_t) "0123456789-\r\n$*>"[draw(16)]; break;
        default: memmove(to + at, to + at + 1, bytes - at - 1); bytes--;
        }
    }
    return bytes;
}

static void run_file(const char *path) {
    static uint8_t data[1 << 16];
    FILE *file = fopen(path, "rb");
    if (file == NULL) return;
    size_t bytes = fread(data, 1, sizeof data, file);
    fclose(file);
    LLVMFuzzerTestOneInput(data, bytes);
}

int main(int argc, char **argv) {
    uint64_t runs = 300000;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--runs") == 0 && i + 1 < argc)
            runs = strtoull(argv[++i], NULL, 10);
        else if (strcmp(argv[i], "--seed") == 0 && i + 1 < argc)
            state = strtoull(argv[++i], NULL, 10) * 2 + 1;
        else
            run_file(argv[i]);
    }
    for (uint64_t run = 0; run < runs; run++) {
        uint8_t stream[2048], *exact;
        size_t bytes = make_stream(stream, sizeof stream);
        exact = malloc(bytes + 1); /* a block of its own, so that a sanitizer sees one byte too far */
        if (exact == NULL) return 1;
        memcpy(exact, stream, bytes);
        LLVMFuzzerTestOneInput(exact, bytes);
        free(exact);
    }
    printf("fuzz_resp: %llu streams, each read in two ways\n", (unsigned long long)runs);
    return 0;
}

#endif
