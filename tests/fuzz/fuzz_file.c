/* SPDX-License-Identifier: MIT */
/* The fuzz target: one input is one damaged file, on which everything is done. For libFuzzer, for AFL++ (the same functions), and for the
 * driver of this folder (fuzz_file_run.c), which needs neither. */

#include "fuzz_file.h"

#include "exercise.h"

#include <stdlib.h>

int LLVMFuzzerInitialize(int *argc, char ***argv) {
    (void)argc, (void)argv;
    bed_directory();
    atexit(support_end);
    bed_begin();
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct damage damage;
    if (size < DAMAGE_HEAD_BYTES) return 0;
    damage_decode(data, size, &damage);
    const struct bed *bed = bed_get(damage.pond);
    damage_apply(bed, &damage);
    exercise(bed, &damage);
    return 0;
}
