/* Flushes do nothing: a fuzzer's files are gone a moment later. (Where programs cannot take a library's calls, it is slow.) */
#include <unistd.h>

int fsync(int file)
{
    (void)file;
    return 0;
}

int fdatasync(int file)
{
    (void)file;
    return 0;
}
