/* Told when files change. */
#include "runner/source_watch.h"

#include "base/path.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#ifdef __linux__
#include <sys/inotify.h>

void source_watch_open(struct source_watch *watch)
{
    *watch = (struct source_watch){.descriptor = inotify_init1(IN_NONBLOCK | IN_CLOEXEC), .directory = -1, .file = -1};
}

void source_watch_directory(struct source_watch *watch, const char *path)
{
    char directory[PATH_BYTES];
    if (watch->descriptor < 0 || watch->directory >= 0)
        return;
    if (path_directory(path, directory))
        watch->directory =
            inotify_add_watch(watch->descriptor, directory,
                              IN_CREATE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_MOVE_SELF | IN_ONLYDIR);
}

void source_watch_file(struct source_watch *watch, int descriptor)
{
    char path[64];
    if (watch->descriptor < 0)
        return;
    if (watch->file >= 0)
        inotify_rm_watch(watch->descriptor, watch->file);
    watch->file = -1;
    if (descriptor < 0)
        return;
    /* By its descriptor: the name may be another file's already. */
    snprintf(path, sizeof(path), "/proc/self/fd/%d", descriptor);
    watch->file = inotify_add_watch(watch->descriptor, path, IN_MODIFY | IN_ATTRIB);
}

void source_watch_taken(struct source_watch *watch)
{
    union {
        struct inotify_event event;
        char bytes[8192];
    } events;
    ssize_t size;
    while (watch->descriptor >= 0 && (size = read(watch->descriptor, &events, sizeof(events))) > 0) {
        for (size_t at = 0; at + sizeof(struct inotify_event) <= (size_t)size;) {
            struct inotify_event event;
            memcpy(&event, events.bytes + at, sizeof(event));
            if ((event.mask & (IN_IGNORED | IN_MOVE_SELF)) && event.wd == watch->directory) {
                inotify_rm_watch(watch->descriptor, watch->directory); /* the path leads elsewhere, or nowhere */
                watch->directory = -1;
            }
            at += sizeof(event) + event.len;
        }
    }
}

#else

void source_watch_open(struct source_watch *watch)
{
    *watch = (struct source_watch){.descriptor = -1, .directory = -1, .file = -1};
}

void source_watch_directory(struct source_watch *watch, const char *path)
{
    (void)watch;
    (void)path;
}

void source_watch_file(struct source_watch *watch, int descriptor)
{
    (void)watch;
    (void)descriptor;
}

void source_watch_taken(struct source_watch *watch)
{
    (void)watch;
}

#endif

bool source_watch_stands(const struct source_watch *watch)
{
    return watch->directory >= 0 && watch->file >= 0;
}

void source_watch_close(struct source_watch *watch)
{
    if (watch->descriptor >= 0)
        close(watch->descriptor);
    *watch = (struct source_watch){.descriptor = -1, .directory = -1, .file = -1};
}
