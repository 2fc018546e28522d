/*
 * folder.h: a temporary folder for a test, in $TMPDIR or /tmp, short enough for a Unix socket in it.
 */
#ifndef FOLDER_H
#define FOLDER_H

#include <stddef.h>

enum { FOLDER_PATH = 80 };

/* Makes one, and puts its name into PATH. */
void folder_make(char path[FOLDER_PATH]);

/* Removes it with all that is in it, and empties PATH, which may be empty. */
void folder_remove(char path[FOLDER_PATH]);

#endif
