/* SPDX-License-Identifier: MIT */
/* verbs.h: the verbs of millpond-bench. Each takes the words behind its name and answers the exit status: 0 done, 1 a check failed,
 * 2 wrong usage; an error ends the process with 3 (host_fail). */
#ifndef BENCH_VERBS_H
#define BENCH_VERBS_H

int verb_pool(int argc, char **argv);
int verb_run(int argc, char **argv);
int verb_replay(int argc, char **argv);
int verb_soak(int argc, char **argv);

#endif
