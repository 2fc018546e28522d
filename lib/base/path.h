/*
 * path.h: paths of files.
 */
#ifndef BASE_PATH_H
#define BASE_PATH_H

#include "base/fault.h"

enum { PATH_BYTES = 4096 }; /* of a path and its zero, at most */

/*
 * PATH from the root on, so that it stays right for other processes, and later. MP_ERR_INVALID: it is too long;
 * MP_ERR_IO: nobody knows the working directory.
 */
enum mp_error path_from_root(const char *path, char text[PATH_BYTES], struct fault *fault);

/* What stands beside PATH, a store: SUFFIX (".log") in the place of its ".db", or behind it. MP_ERR_INVALID: too long. */
enum mp_error path_beside(const char *path, const char *suffix, char text[PATH_BYTES], struct fault *fault);

/*
 * The path of the program NAME that was installed with this one, which is called OWN when nobody has renamed it: what
 * `configure --program-prefix` has put around OWN stands around NAME as well. It is looked for beside the running program
 * (a build directory, a tree that was moved), then in DIRECTORY, where it was to be installed. MP_ERR_NOT_FOUND: in
 * neither; TEXT is then the path in DIRECTORY. MP_ERR_INVALID: too long.
 */
enum mp_error path_of_program(const char *own, const char *name, const char *directory, char text[PATH_BYTES],
                              struct fault *fault);

#endif
