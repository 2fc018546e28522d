/*
 * become.h: a tool that turns into a larger program for what it seldom does, and so stays small otherwise.
 */
#ifndef CLI_BECOME_H
#define CLI_BECOME_H

/*
 * Replaces this process by the program NAME with the arguments of ARGV: the one beside the running program (in a build
 * directory), else the one in the package's libexec directory. Returns only when neither can be run, having told so: the
 * exit code.
 */
int become(const char *name, char **argv);

#endif
