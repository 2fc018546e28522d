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

#endif
