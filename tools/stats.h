/* SPDX-License-Identifier: MIT */
/* The figures of a pond with their names, and the ways of printing them. */
#ifndef MILLPOND_TOOLS_STATS_H
#define MILLPOND_TOOLS_STATS_H

#include "millpond.h"

#include <stdbool.h>

/* One field of struct millpond_stats. */
struct stats_field {
    const char *name;
    const char *help;
    size_t off;
    bool gauge;     /* goes up and down, or stays; else it only counts up */
    bool size;      /* in bytes */
    bool per_shard; /* means something for one shard */
};

unsigned stats_field_count(void);
struct stats_field stats_field(unsigned number);
uint64_t stats_value(const struct millpond_stats *stats, const struct stats_field *field);

double stats_hit_ratio(const struct millpond_stats *stats);
double stats_write_amplification(const struct millpond_stats *stats); /* bytes written for each byte stored, 1 at best */

/* One line for each figure: name, value, what it is. */
void stats_print_table(const struct millpond_stats *stats);

#endif
