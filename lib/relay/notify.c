#include "relay/notify.h"

#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static const char ready[] = "ready";

void notify_state(const char *state)
{
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t size = path ? strlen(path) : 0;
    if (size < 2 || size >= sizeof address.sun_path || (path[0] != '/' && path[0] != '@'))
        return;
    memcpy(address.sun_path, path, size);
    if (path[0] == '@')
        address.sun_path[0] = '\0'; /* the abstract name space */
    int descriptor = socket(AF_UNIX, SOCK_DGRAM, 0);
    if (descriptor < 0)
        return;
    fcntl(descriptor, F_SETFD, FD_CLOEXEC);
    socklen_t length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + size);
    (void)!sendto(descriptor, state, strlen(state), MSG_NOSIGNAL, (const struct sockaddr *)&address, length);
    close(descriptor);
}

void notify_ready(int descriptor, enum mp_error error, const char *text)
{
    if (!error)
        notify_state("READY=1");
    if (descriptor < 0)
        return;
    char line[600];
    int size =
        error ? snprintf(line, sizeof line, "%d %s\n", (int)error, text) : snprintf(line, sizeof line, "%s\n", ready);
    if (size > 0)
        (void)!write(descriptor, line, (size_t)size < sizeof line ? (size_t)size : sizeof line - 1);
    close(descriptor);
}

bool notify_read(const char *line, struct fault *fault)
{
    char *words;
    long code = strtol(line, &words, 10);
    *fault = (struct fault){.code = MP_OK};
    if (strcmp(line, ready) == 0)
        return true;
    if (code <= MP_OK || code > MP_ERR_OVERFLOW || *words != ' ')
        return false;
    fault_set(fault, (enum mp_error)code, "%s", words + 1);
    return true;
}

enum { FIRST_PASSED = 3 };

enum mp_error notify_adopt(struct server *server, unsigned *count, struct fault *fault)
{
    const char *process = getenv("LISTEN_PID"), *number = getenv("LISTEN_FDS");
    *count = 0;
    if (!process || !number || strtol(process, NULL, 10) != (long)getpid())
        return MP_OK;
    long passed = strtol(number, NULL, 10);
    for (int descriptor = FIRST_PASSED; passed > 0 && passed < 64 && descriptor < FIRST_PASSED + passed; descriptor++) {
        struct sockaddr_storage address;
        socklen_t length = sizeof address;
        if (getsockname(descriptor, (struct sockaddr *)&address, &length) != 0)
            return fault_set(fault, MP_ERR_INVALID, "descriptor %d, which systemd passed, is no socket", descriptor);
        fcntl(descriptor, F_SETFD, FD_CLOEXEC);
        fcntl(descriptor, F_SETFL, fcntl(descriptor, F_GETFL) | O_NONBLOCK);
        enum mp_error error =
            server_adopt(server, descriptor, address.ss_family == AF_UNIX ? ADDRESS_IPC : ADDRESS_TCP, fault);
        if (error)
            return error;
        (*count)++;
    }
    unsetenv("LISTEN_PID");
    unsetenv("LISTEN_FDS");
    return MP_OK;
}
