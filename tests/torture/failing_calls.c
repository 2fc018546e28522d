/*
 * failing_calls.c: a library to be preloaded into a program, in which the nth call of some kind then fails, once or from
 * then on. failing_tools uses it. In the environment:
 *
 *     FAIL_CALLS  write, flush, open, read, truncate, name (unlink, rename) or memory
 *     FAIL_NTH    which of them (1: the first); 0: none, they are counted
 *     FAIL_HOW    the errno value as a number; 0: a short write or read, of half the bytes
 *     FAIL_FOREVER  1: and all after it
 *     FAIL_STATE  a file of 32 bytes, shared with whoever started the program: calls counted, calls failed, 1 for
 *                 enough of it, and the process that is meant, 0 at first (64-bit numbers of the machine's order)
 *
 * Files are regular ones but for stderr, and are opened below the working directory. What the program starts is left alone, what it
 * becomes (exec) is not.
 */
#undef _FORTIFY_SOURCE /* what is defined here would be inline there */
#define _GNU_SOURCE
#include <features.h>
#ifdef __GLIBC__ /* elsewhere the library is empty */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

enum kind { KIND_NONE, KIND_WRITE, KIND_FLUSH, KIND_OPEN, KIND_READ, KIND_TRUNCATE, KIND_NAME, KIND_MEMORY, KINDS };

static struct {
    uint64_t counted, refused, enough, process;
} own, *state = &own;
static enum kind kind;
static uint64_t nth;
static int number; /* errno; 0: short */
static bool forever;

static uint64_t take_number(const char *name)
{
    const char *text = getenv(name);
    return text ? strtoull(text, NULL, 10) : 0;
}

__attribute__((constructor)) static void begin(void)
{
    static const char *const names[KINDS] = {"", "write", "flush", "open", "read", "truncate", "name", "memory"};
    const char *wanted = getenv("FAIL_CALLS"), *path = getenv("FAIL_STATE");
    nth = take_number("FAIL_NTH");
    number = (int)take_number("FAIL_HOW");
    forever = take_number("FAIL_FOREVER") == 1;
    int file = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    void *shared = file >= 0 ? mmap(NULL, sizeof own, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0) : MAP_FAILED;
    if (file >= 0)
        close(file);
    if (shared != MAP_FAILED)
        state = shared;
    if (state->process == 0)
        state->process = (uint64_t)getpid();
    if (state->process != (uint64_t)getpid())
        return;
    for (int i = 1; wanted && i < KINDS; i++)
        if (strcmp(wanted, names[i]) == 0)
            kind = (enum kind)i;
}

/* Whether this call of KIND fails. */
static bool is_refused(enum kind called)
{
    if (called != kind)
        return false;
    uint64_t count = __atomic_add_fetch(&state->counted, 1, __ATOMIC_RELAXED);
    if (nth == 0 || count < nth || (count > nth && !forever) || __atomic_load_n(&state->enough, __ATOMIC_RELAXED) != 0)
        return false;
    __atomic_add_fetch(&state->refused, 1, __ATOMIC_RELAXED);
    errno = number;
    return true;
}

static bool is_regular(int file)
{
    struct stat status;
    int before = errno;
    bool regular = fstat(file, &status) == 0 && S_ISREG(status.st_mode);
    errno = before;
    return regular;
}

static bool is_ours(const char *path)
{
    static char place[4096];
    if (path[0] != '/')
        return true;
    if (place[0] == '\0' && !getcwd(place, sizeof place))
        return false;
    size_t size = strlen(place);
    return strncmp(path, place, size) == 0 && path[size] == '/';
}

/* The function of this NAME that is behind this one. */
#define REAL(type, name)                                                                                               \
    static type *real;                                                                                                 \
    if (!real)                                                                                                         \
    real = (type *)dlsym(RTLD_NEXT, name)

/* ---- writing ---------------------------------------------------------------------------------------------------- */

typedef ssize_t write_function(int, const void *, size_t);
typedef ssize_t pwrite_function(int, const void *, size_t, off_t);

ssize_t write(int file, const void *data, size_t size)
{
    REAL(write_function, "write");
    if (file == STDERR_FILENO || !is_regular(file) || !is_refused(KIND_WRITE))
        return real(file, data, size);
    return number != 0 ? -1 : real(file, data, (size + 1) / 2);
}

ssize_t pwrite(int file, const void *data, size_t size, off_t at)
{
    REAL(pwrite_function, "pwrite");
    if (file == STDERR_FILENO || !is_regular(file) || !is_refused(KIND_WRITE))
        return real(file, data, size, at);
    return number != 0 ? -1 : real(file, data, (size + 1) / 2, at);
}

ssize_t pwrite64(int file, const void *data, size_t size, off64_t at)
{
    return pwrite(file, data, size, at);
}

typedef int file_function(int);

int fsync(int file)
{
    REAL(file_function, "fsync");
    return is_refused(KIND_FLUSH) ? -1 : real(file);
}

int fdatasync(int file)
{
    REAL(file_function, "fdatasync");
    return is_refused(KIND_FLUSH) ? -1 : real(file);
}

typedef int truncate_function(int, off_t);

int ftruncate(int file, off_t size)
{
    REAL(truncate_function, "ftruncate");
    return is_refused(KIND_TRUNCATE) ? -1 : real(file, size);
}

int ftruncate64(int file, off64_t size)
{
    return ftruncate(file, size);
}

/* ---- reading ---------------------------------------------------------------------------------------------------- */

typedef ssize_t read_function(int, void *, size_t);
typedef ssize_t pread_function(int, void *, size_t, off_t);

ssize_t read(int file, void *data, size_t size)
{
    REAL(read_function, "read");
    if (!is_regular(file) || !is_refused(KIND_READ))
        return real(file, data, size);
    return number != 0 ? -1 : real(file, data, (size + 1) / 2);
}

ssize_t pread(int file, void *data, size_t size, off_t at)
{
    REAL(pread_function, "pread");
    if (!is_regular(file) || !is_refused(KIND_READ))
        return real(file, data, size, at);
    return number != 0 ? -1 : real(file, data, (size + 1) / 2, at);
}

ssize_t pread64(int file, void *data, size_t size, off64_t at)
{
    return pread(file, data, size, at);
}

/* What they are with _FORTIFY_SOURCE. */
ssize_t __read_chk(int file, void *data, size_t size, size_t room);
ssize_t __pread_chk(int file, void *data, size_t size, off_t at, size_t room);
ssize_t __pread64_chk(int file, void *data, size_t size, off64_t at, size_t room);
int __open_2(const char *path, int flags);
int __open64_2(const char *path, int flags);
int __openat_2(int folder, const char *path, int flags);

ssize_t __read_chk(int file, void *data, size_t size, size_t room)
{
    return read(file, data, size < room ? size : room);
}

ssize_t __pread_chk(int file, void *data, size_t size, off_t at, size_t room)
{
    return pread(file, data, size < room ? size : room, at);
}

ssize_t __pread64_chk(int file, void *data, size_t size, off64_t at, size_t room)
{
    return pread(file, data, size < room ? size : room, at);
}

/* ---- names ------------------------------------------------------------------------------------------------------ */

typedef int openat_function(int, const char *, int, ...);

static int open_below(int folder, const char *path, int flags, mode_t mode)
{
    REAL(openat_function, "openat");
    return is_ours(path) && is_refused(KIND_OPEN) ? -1 : real(folder, path, flags, mode);
}

static mode_t mode_of(int flags, va_list arguments)
{
    return flags & (O_CREAT | O_TMPFILE) ? va_arg(arguments, mode_t) : 0;
}

int open(const char *path, int flags, ...)
{
    va_list arguments;
    va_start(arguments, flags);
    mode_t mode = mode_of(flags, arguments);
    va_end(arguments);
    return open_below(AT_FDCWD, path, flags, mode);
}

int open64(const char *path, int flags, ...)
{
    va_list arguments;
    va_start(arguments, flags);
    mode_t mode = mode_of(flags, arguments);
    va_end(arguments);
    return open_below(AT_FDCWD, path, flags, mode);
}

int openat(int folder, const char *path, int flags, ...)
{
    va_list arguments;
    va_start(arguments, flags);
    mode_t mode = mode_of(flags, arguments);
    va_end(arguments);
    return open_below(folder, path, flags, mode);
}

int __open_2(const char *path, int flags)
{
    return open_below(AT_FDCWD, path, flags, 0);
}

int __open64_2(const char *path, int flags)
{
    return open_below(AT_FDCWD, path, flags, 0);
}

int __openat_2(int folder, const char *path, int flags)
{
    return open_below(folder, path, flags, 0);
}

typedef int unlink_function(const char *);
typedef int rename_function(const char *, const char *);

int unlink(const char *path)
{
    REAL(unlink_function, "unlink");
    return is_refused(KIND_NAME) ? -1 : real(path);
}

int rename(const char *from, const char *to)
{
    REAL(rename_function, "rename");
    return is_refused(KIND_NAME) ? -1 : real(from, to);
}

/* ---- memory: glibc has its own functions under other names for who replaces them ---------------------------------- */

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *memory, size_t size);

void *malloc(size_t size)
{
    return is_refused(KIND_MEMORY) ? NULL : __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
    return is_refused(KIND_MEMORY) ? NULL : __libc_calloc(count, size);
}

void *realloc(void *memory, size_t size)
{
    return is_refused(KIND_MEMORY) ? NULL : __libc_realloc(memory, size);
}
#else
typedef int nothing;
#endif
