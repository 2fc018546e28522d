/*
 * path.h: paths of files.
 */
#ifndef BASE_PATH_H
#define BASE_PATH_H

#include "base/fault.h"

#include <stdbool.h>
#include <sys/types.h>

enum { PATH_BYTES = 4096 }; /* of a path and its zero, at most */

/*
 * PATH from the root on, so that it stays right for other processes, and later. MP_ERR_INVALID: it is too long;
 * MP_ERR_IO: nobody knows the working directory.
 */
enum mp_error path_from_root(const char *path, char text[PATH_BYTES], struct fault *fault);

/* What stands beside PATH, a store: SUFFIX (".log") in the place of its ".db", or behind it. MP_ERR_INVALID: too long. */
enum mp_error path_beside(const char *path, const char *suffix, char text[PATH_BYTES], struct fault *fault);

/* The directory of PATH, "." where it names none. False, and errno: it is too long for TEXT. */
bool path_directory(const char *path, char text[PATH_BYTES]);

/* Flushes the directory of PATH: a name that was made, changed or removed in it outlives a power failure. MP_ERR_IO,
 * and errno. */
enum mp_error path_flush_directory(const char *path, struct fault *fault);

/*
 * The same for the name that PATH leads to, so that what was done to it lasts: that it was made, that something else has
 * taken its place, or that it is gone. Where the directory cannot be opened, or be flushed, it is left at that. MP_ERR_IO,
 * with errno.
 */
enum mp_error path_flush_name(const char *path);

/*
 * Makes an empty file beside TO, of mode 0600, that is to take its place; its path goes into NAME. MP_ERR_TOO_LARGE: that
 * is too long; MP_ERR_DENIED, MP_ERR_IO: "cannot write TO".
 */
enum mp_error path_make_beside(const char *to, char name[PATH_BYTES], struct fault *fault);

/*
 * The path of the program NAME that was installed with this one, which is called OWN when nobody has renamed it: what
 * `configure --program-prefix` has put around OWN stands around NAME as well. It is looked for beside the running program
 * (a build directory, a tree that was moved), then in DIRECTORY, where it was to be installed. MP_ERR_NOT_FOUND: in
 * neither; TEXT is then the path in DIRECTORY. MP_ERR_INVALID: too long.
 */
enum mp_error path_of_program(const char *own, const char *name, const char *directory, char text[PATH_BYTES],
                              struct fault *fault);

/*
 * Whether DIRECTORY is a place for what others must not get at: those who may write to it can put something of theirs in
 * the place of ours. It has to belong to this user or to root, and nobody else may write to it, but for the user's own
 * group: with a umask of 002 that is how every directory of a user looks. A sticky one (/tmp) is allowed, for others
 * than its owner, who has to be this user or root as well, cannot remove there what is not theirs. MP_ERR_DENIED,
 * MP_ERR_EXISTS (it is no directory), MP_ERR_NOT_FOUND, MP_ERR_IO.
 */
enum mp_error path_check_directory(const char *directory, struct fault *fault);

/*
 * The same for the directory of PATH, a file that holds what others must not read; and the files that are there as PATH
 * with each of ENDINGS (which end with NULL) behind it have to be the user's own as well: in a sticky directory somebody
 * else may have made them. But root may use what belongs to others.
 */
enum mp_error path_check_place(const char *path, const char *const endings[], struct fault *fault);

/* Removes PATH, a folder, with all that is in it; links are removed, not followed. False: something of it stays. */
bool path_remove_folder(const char *path);

/* Whether that belongs to somebody else: neither this user nor root; never, when this is root. */
bool path_is_foreign(uid_t owner);

#endif
