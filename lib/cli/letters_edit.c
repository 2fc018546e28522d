/* A message's body in the user's editor. */
#include "cli/letters_topic.h"

#include "base/file.h"
#include "cli/command.h"
#include "cli/exit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { LOOK_EVERY = 50000 }; /* microseconds between looks at the editor */

/* Reads it again by name: an editor may have put a new file in its place. */
static enum mp_error read_body(const char *path, struct buffer *body)
{
    int descriptor = open(path, O_RDONLY | O_CLOEXEC);
    if (descriptor < 0)
        return MP_ERR_IO;
    body->size = 0;
    ssize_t got = 0;
    enum mp_error error = MP_OK;
    do {
        error = buffer_reserve(body, 65536);
        got = error ? 0 : read(descriptor, body->data + body->size, body->capacity - body->size);
        body->size += got > 0 ? (size_t)got : 0;
    } while (got > 0 || (got < 0 && errno == EINTR));
    close(descriptor);
    return got < 0 ? MP_ERR_IO : error;
}

/* Runs the editor on PATH, while the link is looked after. */
static bool run_editor(struct letters_link *link, char *path)
{
    const char *editor = getenv("VISUAL");
    char command[4096];
    struct fault fault = {0};
    pid_t pid;
    int code;
    int status = 0;
    if (!editor || !*editor)
        editor = getenv("EDITOR");
    if (!editor || !*editor)
        editor = "vi";
    if ((size_t)snprintf(command, sizeof(command), "%s \"$1\"", editor) >= sizeof(command))
        return letters_link_fail(link, (fault_set(&fault, MP_ERR_INVALID, "$EDITOR is too long"), &fault));
    char *argv[] = {
        (char *)(uintptr_t) "/bin/sh", (char *)(uintptr_t) "-c", command, (char *)(uintptr_t) "sh", path, NULL};
    if (command_start(argv, -1, -1, &pid, &code, &fault)) {
        tell("%s", fault_text(&fault));
        link->exit = code;
        return false;
    }
    pid_t ended;
    bool goes_on = true;
    while ((ended = waitpid(pid, &status, goes_on ? WNOHANG : 0)) == 0 || (ended < 0 && errno == EINTR))
        goes_on = goes_on && letters_link_pause(link, clock_monotonic() + LOOK_EVERY);
    if (!goes_on)
        return false;
    code = spawn_exit_code(status);
    if (code == 0)
        return true;
    tell("the editor (%s) exited with %d: nothing was replayed", editor, code);
    link->exit = EXIT_FAILED;
    return false;
}

bool letters_edit(struct letters_link *link, struct buffer *body)
{
    const char *directory = getenv("TMPDIR");
    struct fault fault = {0};
    char path[4096];
    snprintf(path, sizeof(path), "%s/mretry.XXXXXX", directory && *directory ? directory : "/tmp");
    int descriptor = mkostemp(path, O_CLOEXEC);
    if (descriptor < 0)
        return letters_link_fail(link,
                                 (fault_system(&fault, MP_ERR_IO, errno, "cannot write the body to %s", path), &fault));
    enum mp_error error = file_write(descriptor, body->data, body->size) ? MP_OK : MP_ERR_IO;
    close(descriptor);
    bool edited = !error && run_editor(link, path);
    if (edited)
        error = read_body(path, body);
    unlink(path);
    if (error)
        return letters_link_fail(link,
                                 (fault_system(&fault, error, errno, "cannot hand the body over in %s", path), &fault));
    return edited;
}
