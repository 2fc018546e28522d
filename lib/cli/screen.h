/*
 * screen.h: a page that is drawn again and again over the one before, as `watch` does it, on a terminal: what does not
 * fit is cut, so that nothing scrolls.
 */
#ifndef CLI_SCREEN_H
#define CLI_SCREEN_H

#include <stdbool.h>

struct screen {
    int terminal; /* what stdout was, while a page is made; -1: none is */
    int page;
};

/* From now on what is printed to stdout is kept. False: stdout is no terminal, or nothing can be kept: it stays as it is. */
bool screen_begin(struct screen *screen);

/* Draws what was kept, cut to the terminal's lines and columns; stdout is the terminal again. */
void screen_end(struct screen *screen);

#endif
