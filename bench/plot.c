/* SPDX-License-Identifier: MIT */
/* plot.c: writes a gnuplot script, data included, into gnuplot's standard input. */
#include "plot.h"

#include "host.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { PANELS_IN_A_ROW = 3 };

/* In single quotes gnuplot takes everything as it is, but the quote itself, which is doubled; in the names of places also the percent sign,
 * which begins a format there. */
static void put_doubled(FILE *out, const char *text, const char *doubled) {
    fputc('\'', out);
    for (; *text; text++) {
        if (strchr(doubled, *text))
            fputc(*text, out);
        fputc(*text == '\n' ? ' ' : *text, out);
    }
    fputc('\'', out);
}

static void put_quoted(FILE *out, const char *text) {
    put_doubled(out, text, "'");
}

void plot_expect(const char *path) {
    if (!path)
        return;
    if (!host_has_program("gnuplot"))
        host_fail("%s: cannot be drawn, gnuplot is not installed; install gnuplot-nox or leave --plot out", path);
    FILE *file = fopen(path, "ae");
    if (!file)
        host_fail("%s: cannot be written: %s; choose another file for --plot", path, strerror(errno));
    fclose(file);
}

void plot_open(struct plot *plot, const char *path, const char *title, unsigned panels) {
    plot->path = path;
    plot->gnuplot = popen("gnuplot", "w");
    if (!plot->gnuplot)
        host_fail("%s: cannot be drawn: gnuplot: %s; install gnuplot-nox", path, strerror(errno));
    unsigned columns = panels < PANELS_IN_A_ROW ? panels : PANELS_IN_A_ROW, rows = (panels + columns - 1) / columns;
    fprintf(plot->gnuplot, "set terminal svg size %u,%u noenhanced font 'sans,12' background 'white'\nset output ", columns * 620,
            rows * 420);
    put_quoted(plot->gnuplot, path);
    fprintf(plot->gnuplot, "\nset multiplot layout %u,%u title ", rows, columns);
    put_quoted(plot->gnuplot, title);
    fputs("\nset grid ytics lt 1 lc rgb '#dddddd'\nset border 3 lc rgb '#555555'\nset tics nomirror\n", plot->gnuplot);
}

/* Places 0, 1, 2 ... on the x axis, with names. */
static void put_places(FILE *out, const char *const *names, size_t count, double margin) {
    fprintf(out, "set xrange [%g:%g]\nset xtics nomirror (", -margin, (double)count - 1 + margin);
    for (size_t i = 0; i < count; i++) {
        fputs(i > 0 ? ", " : "", out);
        put_doubled(out, names[i], "'%");
        fprintf(out, " %zu", i);
    }
    fputs(")\n", out);
}

void plot_bars(struct plot *plot, const char *what, const struct plot_bar *bars, size_t count) {
    const char *names[PLOT_BARS_MAX] = {NULL};
    FILE *out = plot->gnuplot;
    if (count > PLOT_BARS_MAX)
        host_fail("%s: more than %d bars", plot->path, PLOT_BARS_MAX);
    fputs("unset logscale\nset format y '%g'\nset style fill solid 0.8\nset boxwidth 0.6\nset yrange [0:*]\n"
          "set offsets 0,0,graph 0.08,0\nset title ", out);
    put_quoted(out, what);
    fputs("\n", out);
    for (size_t i = 0; i < count; i++)
        names[i] = bars[i].name;
    put_places(out, names, count, 0.6);
    fputs("$bars << EOD\n", out);
    for (size_t i = 0; i < count; i++)
        fprintf(out, "%zu %.10g %.10g %.10g %.*f\n", i, bars[i].value, bars[i].low, bars[i].high, bars[i].value >= 10 ? 0 : 4,
                bars[i].value);
    fputs("EOD\nplot $bars using 1:2 with boxes lc rgb '#4878a8' notitle, "
          "$bars using 1:3:(0):($4-$3) with vectors nohead lw 2 lc rgb '#222222' notitle, "
          "$bars using 1:4:5 with labels offset 0,0.7 notitle\n", out);
}

void plot_curves(struct plot *plot, const char *what, enum plot_unit unit, const char *const *places, size_t place_count,
                 const struct plot_curve *curves, size_t curve_count) {
    static const char *const colours[] = {"#4878a8", "#c44e52", "#55a868", "#8172b2", "#cc9944", "#64b5cd", "#777777", "#b07aa1"};
    FILE *out = plot->gnuplot;
    static const char *const scales[] = {[PLOT_NS] = "set logscale y\nset format y '%.0s%cs'\nset yrange [*:*]\n",
                                         [PLOT_RATES] = "set logscale y\nset format y '%.1s%c'\nset yrange [*:*]\n",
                                         [PLOT_SHARES] = "unset logscale\nset format y '%g'\nset yrange [0:*]\n"};
    fprintf(out, "%sset offsets 0,0,0,0\nset key outside right top\nset title ", scales[unit]);
    put_quoted(out, what);
    fputs("\n", out);
    put_places(out, places, place_count, 0.3);
    for (size_t curve = 0; curve < curve_count; curve++) {
        fprintf(out, "$curve%zu << EOD\n", curve);
        for (size_t i = 0; i < place_count; i++) {
            if (curves[curve].values[i] > 0)
                fprintf(out, "%zu %.10g\n", i, curves[curve].values[i] / (unit == PLOT_NS ? 1e9 : 1));
        }
        fputs("EOD\n", out);
    }
    for (size_t curve = 0; curve < curve_count; curve++) {
        const char *colour = colours[curves[curve].colour % (sizeof colours / sizeof *colours)];
        fprintf(out, "%s$curve%zu using 1:2 with linespoints pt 7 ps 0.4 lw 1.5 dt %d lc rgb '%s' title ", curve > 0 ? ", " : "plot ",
                curve, curves[curve].dashed ? 2 : 1, colour);
        put_quoted(out, curves[curve].name);
    }
    fputc('\n', out);
}

void plot_close(struct plot *plot) {
    fputs("unset multiplot\n", plot->gnuplot);
    int status = pclose(plot->gnuplot);
    if (status != 0)
        host_fail("%s: gnuplot could not draw it; look at its message above, is the folder there and writable?", plot->path);
}
