/* SPDX-License-Identifier: MIT */
#ifndef MILLPOND_FUZZ_FILE_H
#define MILLPOND_FUZZ_FILE_H

#include <stddef.h>
#include <stdint.h>

/* The names are libFuzzer's. */
int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#endif
