#include "base/clock.h"

#include <fcntl.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>
#if defined(__APPLE__) || defined(__FreeBSD__)
#include <sys/sysctl.h>
#include <sys/types.h>
#endif

#define XXH_INLINE_ALL
#include <xxhash.h>

/* Linux alone stops CLOCK_MONOTONIC while the machine sleeps. */
#ifdef __linux__
#define STEADY_CLOCK CLOCK_BOOTTIME
#else
#define STEADY_CLOCK CLOCK_MONOTONIC
#endif

enum { NAME_BYTES = 128 };

static int64_t microseconds_of(clockid_t clock)
{
    struct timespec now;

    clock_gettime(clock, &now); /* cannot fail with these two clocks */
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

int64_t clock_monotonic(void)
{
    return microseconds_of(STEADY_CLOCK);
}

int64_t clock_wall(void)
{
    return microseconds_of(CLOCK_REALTIME);
}

#if defined(__linux__)
/* The id of the boot and that of the time namespace: a container may have moved the start of the clock. */
static size_t boot_name(char name[NAME_BYTES])
{
    int file = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    if (file < 0)
        return 0;
    ssize_t size = read(file, name, NAME_BYTES / 2);
    close(file);
    if (size <= 0)
        return 0;
    ssize_t space = readlink("/proc/self/ns/time", name + size, NAME_BYTES / 2); /* none before Linux 5.6 */
    return (size_t)(size + (space > 0 ? space : 0));
}
#elif defined(__APPLE__) || defined(__FreeBSD__)
static size_t boot_name(char name[NAME_BYTES])
{
    static const char *const keys[] = {"kern.bootsessionuuid", "kern.boot_id"};
    for (unsigned i = 0; i < 2; i++) {
        size_t size = NAME_BYTES;
        if (sysctlbyname(keys[i], name, &size, NULL, 0) == 0 && size > 0)
            return size;
    }
    return 0;
}
#else
static size_t boot_name(char name[NAME_BYTES])
{
    (void)name;
    return 0;
}
#endif

uint64_t clock_boot(void)
{
    static uint64_t boot;
    static int known; /* two threads that read it at once find the same */
    if (!known) {
        char name[NAME_BYTES];
        size_t size = boot_name(name);
        boot = size > 0 ? XXH3_64bits(name, size) : 0;
        known = 1;
    }
    return boot;
}

struct moment clock_moment(void)
{
    return (struct moment){.monotonic = clock_monotonic(), .wall = clock_wall(), .boot = clock_boot()};
}
