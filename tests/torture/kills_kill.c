#include "kills.h"

#include <errno.h>
#include <msgpipe.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { SERVES_WITHIN = 60 /* seconds; more is no service at all */, VICTIMS_MAX = 4, CHILDREN_MAX = 64 };

/* ---- a relay that serves --------------------------------------------------------------------------------------- */

/* Whether somebody listens at the socket of the relay NAME. */
static bool listens(const char *name)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const char *folder = getenv("XDG_RUNTIME_DIR");
    int size = snprintf(address.sun_path, sizeof address.sun_path, "%s/msgpipe/%s.sock", folder ? folder : "", name);
    int end = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool connected = end >= 0 && size > 0 && (size_t)size < sizeof address.sun_path &&
                     connect(end, (const struct sockaddr *)&address, sizeof address) == 0;
    if (end >= 0)
        close(end);
    return connected;
}

/* A client of the relay NAME, as soon as that greets. */
static struct mp_client *open_client(struct torture *torture, const char *name)
{
    struct mp_client *client;
    int64_t end = history_now() + SERVES_WITHIN * INT64_C(1000000);
    while (!listens(name)) { /* a client's own pauses between two tries would be measured as well */
        if (history_now() > end)
            torture_give_up(torture, "the relay does not listen");
        poll(NULL, 0, 1);
    }
    if (mp_open(&client, name, SERVES_WITHIN * 1000) != MP_OK)
        torture_give_up(torture, "the relay does not serve");
    return client;
}

int64_t kill_await_relay(struct torture *torture)
{
    int64_t began = history_now();
    mp_close(open_client(torture, "torture"));
    return history_now() - began;
}

/* ---- kills under load ------------------------------------------------------------------------------------------ */

/* One of the processes that PARENT has started, by chance; 0: there is none, or the system does not tell. */
static pid_t child_of(struct torture *torture, pid_t parent)
{
    char path[64];
    long children[CHILDREN_MAX];
    unsigned count = 0;
    snprintf(path, sizeof path, "/proc/%ld/task/%ld/children", (long)parent, (long)parent);
    FILE *file = fopen(path, "r");
    while (file && count < CHILDREN_MAX && fscanf(file, "%ld", &children[count]) == 1)
        count++;
    if (file)
        fclose(file);
    return count > 0 ? (pid_t)children[torture_below(torture, count)] : 0;
}

/* Kills a command of PROGRAM; false: it has none. Its own message comes again, and is charged. */
static bool kill_command(struct torture *torture, const struct program *program)
{
    pid_t child = child_of(torture, program->pid);
    if (child == 0)
        return false;
    history_write(torture->history, "kill", "take.%s.%ld %s", program->name, (long)child,
                  program->group ? program->group->name : "-");
    kill(child, SIGKILL);
    torture->sums.killed[COMMAND]++;
    return true;
}

/* It is dead now: whatever it has noted was before. Commands of its own may note something later. */
static void bury(struct torture *torture, struct program *program)
{
    const char *group = program->group ? program->group->name : "-";
    torture_wait_for(program);
    bool tool = program->role == MRECV || program->role == MRETRY;
    history_write(torture->history, "kill", "%s%s %s", tool ? "take." : "", program->name, group);
    torture->sums.killed[program->role]++;
    program->start = program->role == REPLAY ? 0 : history_now();
    if (program->start > 0 && torture_below(torture, 4) == 0)
        program->start += torture_below(torture, 300) * INT64_C(1000); /* for a while nobody is there */
}

void kill_program(struct torture *torture, struct program *program)
{
    if (program->pid == 0)
        return;
    kill(program->pid, SIGKILL);
    bury(torture, program);
    torture_check_all(torture);
}

static bool has_commands(const struct program *program)
{
    return program->role == SENDER || program->role == SPOOLER || program->role == MRECV || program->role == MRETRY ||
           program->role == RUNNER;
}

/* The first program of ROLE; NULL: there is none. */
static struct program *first_of(struct torture *torture, enum role role)
{
    for (unsigned i = 0; i < torture->programs_count; i++)
        if (torture->programs[i].role == role)
            return &torture->programs[i];
    return NULL;
}

/* The relay once out of five, for all others feel that; the runner and the spool once out of ten; else any of them. */
static struct program *choose(struct torture *torture)
{
    uint32_t chance = torture_below(torture, 10);
    struct program *chosen = chance < 2    ? &torture->programs[0]
                             : chance == 2 ? first_of(torture, RUNNER)
                             : chance == 3 ? first_of(torture, SPOOLER)
                                           : NULL;
    return chosen ? chosen : &torture->programs[1 + torture_below(torture, torture->programs_count - 1)];
}

void kill_some(struct torture *torture, unsigned most)
{
    struct program *victims[VICTIMS_MAX];
    unsigned wanted = torture_below(torture, 5) < 3 ? 1 : 1 + torture_below(torture, VICTIMS_MAX), count = 0;
    if (wanted > most)
        wanted = most;
    for (unsigned i = 0; i < wanted; i++) {
        struct program *program = choose(torture);
        if (program->pid == 0 ||
            (has_commands(program) && torture_below(torture, 3) > 0 && kill_command(torture, program)))
            continue;
        kill(program->pid, SIGKILL);
        bool again = false;
        for (unsigned j = 0; j < count; j++)
            again |= victims[j] == program;
        if (!again)
            victims[count++] = program;
    }
    for (unsigned i = 0; i < count; i++)
        bury(torture, victims[i]);
    if (count > 1)
        torture->sums.together += count;
    torture_check_all(torture);
}

/* ---- with much that waits -------------------------------------------------------------------------------------- */

static void write_lines(struct torture *torture, const char *path)
{
    FILE *file = fopen(path, "w");
    for (uint64_t i = 0; file && i < torture->waiting; i++)
        fprintf(file, "%099" PRIu64 "\n", i);
    if (!file || fclose(file) != 0)
        torture_give_up(torture, "lines could not be written");
}

static uint64_t count_lines(const char *path)
{
    uint64_t lines = 0;
    int letter;
    FILE *file = fopen(path, "r");
    while (file && (letter = getc(file)) != EOF)
        lines += letter == '\n';
    if (file)
        fclose(file);
    return lines;
}

/* Microseconds from now until the relay that is started has stored a message. */
static int64_t serve_again(struct torture *torture, struct program *relay)
{
    int64_t began = history_now();
    torture_start(torture, relay);
    struct mp_client *client = open_client(torture, "torture");
    struct mp_message *message = mp_message_new("again", 5);
    if (!message || mp_publish(client, "waiting", message) != MP_OK || mp_flush(client, SERVES_WITHIN * 1000) != MP_OK)
        torture_give_up(torture, "a relay with much that waits stores nothing more");
    int64_t took = history_now() - began;
    mp_close(client);
    return took;
}

int64_t kill_with_waiting(struct torture *torture, unsigned times)
{
    char lines[PATH_BYTES], came[PATH_BYTES], mrecv[TOOL_BYTES], msend[TOOL_BYTES];
    int64_t longest = 0;
    snprintf(lines, sizeof lines, "%s/lines", torture->folder);
    snprintf(came, sizeof came, "%s/came", torture->folder);
    torture_tool(torture, mrecv, "mrecv");
    torture_tool(torture, msend, "msend");
    char *group[] = {mrecv, "-r", "torture", "-t", "waiting", "-g", "group", "-e", NULL};
    char *send[] = {msend, "-r", "torture", "-t", "waiting", lines, NULL};
    write_lines(torture, lines);
    struct program *relay = torture_add(torture, RELAY, 0, NULL);
    if (torture_run(torture, group, "group") != 0 || torture_run(torture, send, "send") != 0)
        torture_give_up(torture, "there is nothing that waits");
    for (unsigned i = 0; i < times; i++) {
        kill(relay->pid, SIGKILL);
        torture_wait_for(relay);
        torture->sums.killed[RELAY]++;
        int64_t took = serve_again(torture, relay);
        if (took > longest)
            longest = took;
    }
    if (torture_run(torture, group, "came") != 0 || count_lines(came) != torture->waiting + times)
        torture_find(torture, "what waited is not all there");
    torture_tell(torture, RELAY);
    torture->programs_count = 0;
    return longest;
}
