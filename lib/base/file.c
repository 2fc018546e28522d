#include "base/file.h"

#include <errno.h>
#include <unistd.h>

/* PLACE: NULL: wherever the descriptor is. */
static bool write_all(int descriptor, const uint8_t *data, size_t size, const uint64_t *place)
{
    for (size_t done = 0; done < size;) {
        ssize_t some = place ? pwrite(descriptor, data + done, size - done, (off_t)(*place + done))
                             : write(descriptor, data + done, size - done);
        if (some < 0 && errno == EINTR)
            continue;
        if (some == 0)
            errno = ENOSPC;
        if (some <= 0)
            return false;
        done += (size_t)some;
    }
    return true;
}

bool file_write(int descriptor, const void *data, size_t size)
{
    return write_all(descriptor, data, size, NULL);
}

bool file_write_at(int descriptor, const void *data, size_t size, uint64_t place)
{
    return write_all(descriptor, data, size, &place);
}

ssize_t file_read_at(int descriptor, void *data, size_t size, uint64_t place)
{
    size_t done = 0;
    while (done < size) {
        ssize_t some = pread(descriptor, (uint8_t *)data + done, size - done, (off_t)(place + done));
        if (some < 0 && errno == EINTR)
            continue;
        if (some < 0)
            return -1;
        if (some == 0)
            break;
        done += (size_t)some;
    }
    return (ssize_t)done;
}
