/* SPDX-License-Identifier: MIT */
/* plot.h: bars and curves as an SVG file, drawn by gnuplot, which runs as a program of its own. */
#ifndef BENCH_PLOT_H
#define BENCH_PLOT_H

#include <stddef.h>
#include <stdio.h>

struct plot_bar {
    const char *name;
    double value, low, high; /* low and high: the whisker; both equal to value for none */
};

enum { PLOT_BARS_MAX = 32, PLOT_PLACES_MAX = 8 };

struct plot_curve {
    char name[48];
    unsigned colour; /* curves that belong together share one */
    int dashed;
    double values[PLOT_PLACES_MAX]; /* one for each place; not above 0: left out */
};

struct plot {
    FILE *gnuplot;
    const char *path;
};

/* Before a long run: fails with a sentence when gnuplot is missing or the file cannot be written. A path of NULL is no wish. */
void plot_expect(const char *path);
/* Panels are filled in the order of the calls, three in a row. */
void plot_open(struct plot *plot, const char *path, const char *title, unsigned panels);
void plot_bars(struct plot *plot, const char *what, const struct plot_bar *bars, size_t count);
/* Curves over named places on the x axis. Of nanoseconds and rates the y axis is logarithmic. */
enum plot_unit { PLOT_NS, PLOT_RATES, PLOT_SHARES };
void plot_curves(struct plot *plot, const char *what, enum plot_unit unit, const char *const *places, size_t place_count,
                 const struct plot_curve *curves, size_t curve_count);
void plot_close(struct plot *plot);

#endif
