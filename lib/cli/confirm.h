/*
 * confirm.h: asking before what cannot be undone.
 */
#ifndef CLI_CONFIRM_H
#define CLI_CONFIRM_H

#include <stdbool.h>

/*
 * Asks QUESTION ("delete topic x with 3 messages") on the terminal. 0: go on, because the answer was yes, or because YES
 * says that it need not be asked. Otherwise the code to exit with, and what there was to say has been said: the answer
 * was no, or there is no terminal to ask on.
 */
int confirm(bool yes, const char *question, ...) __attribute__((format(printf, 2, 3)));

#endif
