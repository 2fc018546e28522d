#include "stand.h"

#include "base/random.h"
#include "base/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <jansson.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { FINDINGS_SHOWN = 100, WORDS_MAX = 32 };

extern char **environ;

int64_t stand_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

uint32_t stand_below(struct stand *stand, uint32_t limit)
{
    return (uint32_t)random_below(&stand->random, limit);
}

/* ---- the beginning --------------------------------------------------------------------------------------------- */

static void take_tools(struct stand *stand, const char *directory)
{
    char *path = realpath(directory, NULL);
    if (!path || strlen(path) >= sizeof stand->tools) {
        perror(directory);
        exit(64);
    }
    snprintf(stand->tools, sizeof stand->tools, "%s", path);
    free(path);
}

static void read_options(struct stand *stand, int argc, char **argv)
{
    static const struct option options[] = {
        {"short", no_argument, NULL, 'S'},       {"long", no_argument, NULL, 'L'},
        {"tools", required_argument, NULL, 't'}, {"seed", required_argument, NULL, 's'},
        {"keep", no_argument, NULL, 'K'},        {NULL, 0, NULL, 0}};
    int letter;
    while ((letter = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (letter) {
        case 'S':
        case 'L':
            stand->longer = letter == 'L';
            break;
        case 't':
            take_tools(stand, optarg);
            break;
        case 's':
            stand->seed = strtoull(optarg, NULL, 10);
            break;
        case 'K':
            stand->keep = true;
            break;
        default:
            exit(64);
        }
    }
}

/* Who ends this program ends the relay as well. */
static struct stand *standing;

static void on_signal(int number)
{
    if (standing->relay > 0)
        kill(standing->relay, SIGKILL);
    for (unsigned i = 0; i < standing->started_count; i++)
        if (waitpid(standing->started[i], NULL, WNOHANG) == 0)
            kill(standing->started[i], SIGKILL);
    _exit(128 + number);
}

void stand_open(struct stand *stand, const char *name, int argc, char **argv)
{
    char path[STAND_PATH];
    *stand = (struct stand){.name = name, .seed = (uint64_t)stand_now() % 1000000};
    setvbuf(stdout, NULL, _IOLBF, BUFSIZ);
    read_options(stand, argc, argv);
    stand->random = stand->seed;
    snprintf(stand->relay_name, sizeof stand->relay_name, "%s", name);
    scratch_make(name, true, stand->folder);
    setenv("XDG_RUNTIME_DIR", stand->folder, 1);
    snprintf(path, sizeof path, "%s/state", stand->folder);
    setenv("XDG_STATE_HOME", path, 1);
    unsetenv("MSGPIPE_RELAY");
    standing = stand;
    signal(SIGTERM, on_signal);
    signal(SIGINT, on_signal);
    signal(SIGPIPE, SIG_IGN);
}

/* ---- the end --------------------------------------------------------------------------------------------------- */

/* Who has ended is waited for no more: only what was not is still this program's child, and has its number. */
static void drop_all(struct stand *stand)
{
    for (unsigned i = 0; i < stand->started_count; i++)
        if (waitpid(stand->started[i], NULL, WNOHANG) == 0) {
            kill(stand->started[i], SIGCONT);
            kill(stand->started[i], SIGKILL);
            waitpid(stand->started[i], NULL, 0);
        }
    stand->started_count = 0;

    if (stand->relay > 0) {
        kill(stand->relay, SIGKILL);
        waitpid(stand->relay, NULL, 0);
        stand->relay = 0;
    }
}

int stand_close(struct stand *stand, const char *tried, const char *found)
{
    drop_all(stand);
    if (stand->found > 0)
        printf("%s: again: %s --%s --seed %" PRIu64 "\n", stand->name, stand->name, stand->longer ? "long" : "short",
               stand->seed);
    if (stand->found > 0 || stand->keep)
        printf("%s: what is there to see is in %s\n", stand->name, stand->folder);
    else
        scratch_remove(stand->name, stand->folder);
    printf("row\t%s\t%s\t%s\n", stand->name, tried, found);
    return stand->found > 0 ? 1 : 0;
}

void stand_find(struct stand *stand, const char *format, ...)
{
    va_list arguments;
    if (++stand->found > FINDINGS_SHOWN)
        return;
    printf("%s: ", stand->name);
    va_start(arguments, format);
    vprintf(format, arguments);
    va_end(arguments);
    printf("\n");
}

_Noreturn void stand_give_up(struct stand *stand, const char *format, ...)
{
    va_list arguments;
    printf("%s: ", stand->name);
    va_start(arguments, format);
    vprintf(format, arguments);
    va_end(arguments);
    printf("; seed %" PRIu64 "; what is there to see is in %s\n", stand->seed, stand->folder);
    drop_all(stand);
    exit(1);
}

_Noreturn void stand_skip(struct stand *stand, const char *format, ...)
{
    va_list arguments;
    drop_all(stand);
    scratch_remove(stand->name, stand->folder);
    printf("%s: ", stand->name);
    va_start(arguments, format);
    vprintf(format, arguments);
    va_end(arguments);
    printf("\n");
    exit(77);
}

/* ---- tools ----------------------------------------------------------------------------------------------------- */

static pid_t start(struct stand *stand, const char *path, const char *const words[], const char *output,
                   const char *errors)
{
    char files[2][STAND_PATH];
    char *argv[WORDS_MAX] = {NULL};
    pid_t pid;
    for (int i = 0; words[i] && i < WORDS_MAX - 1; i++)
        argv[i] = (char *)(uintptr_t)words[i];
    snprintf(files[0], sizeof files[0], "%s/%s", stand->folder, output);
    snprintf(files[1], sizeof files[1], "%s/%s", stand->folder, errors);
    const struct spawn_place places[] = {{0, -1, "/dev/null", O_RDONLY},
                                         {1, -1, files[0], O_WRONLY | O_CREAT | O_APPEND},
                                         {2, -1, files[1], O_WRONLY | O_CREAT | O_APPEND}};
    const struct spawn_settings settings = {
        .argv = argv, .program = path, .signals = spawn_default_signals, .places = places, .places_count = 3};
    int number = spawn_start(&settings, &pid);
    if (number != 0)
        stand_give_up(stand, "%s: %s", path, strerror(number));
    return pid;
}

/* The same for one of our tools, with an output of its own. */
static pid_t start_tool(struct stand *stand, const char *const words[], const char *output, const char *errors)
{
    char path[STAND_PATH + 32], file[STAND_PATH];
    snprintf(path, sizeof path, "%s%s%s", stand->tools, stand->tools[0] ? "/" : "", words[0]);
    snprintf(file, sizeof file, "%s/%s", stand->folder, output);
    unlink(file);
    return start(stand, path, words, output, errors);
}

pid_t stand_start(struct stand *stand, const char *const words[], const char *output)
{
    if (stand->started_count == STAND_STARTED)
        stand_give_up(stand, "too many programs");
    pid_t pid = start(stand, words[0], words, output, output);
    stand->started[stand->started_count++] = pid;
    return pid;
}

static int wait_for(pid_t pid)
{
    int status = 0;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    return spawn_exit_code(status);
}

int stand_run(struct stand *stand, const char *const words[], const char *output)
{
    return wait_for(start_tool(stand, words, output, "errors"));
}

int stand_shell(struct stand *stand, const char *format, ...)
{
    char command[2 * STAND_PATH];
    va_list arguments;
    va_start(arguments, format);
    int size = vsnprintf(command, sizeof command, format, arguments);
    va_end(arguments);
    if (size < 0 || size >= (int)sizeof command)
        stand_give_up(stand, "a command is too long");
    const char *const words[] = {"sh", "-c", command, NULL};
    return wait_for(start(stand, "sh", words, "commands", "commands"));
}

void stand_start_relay(struct stand *stand, const char *const options[], unsigned limit)
{
    char shell[64], path[STAND_PATH + 32];
    const char *words[WORDS_MAX] = {"sh", "-c", shell, path, "-r", stand->relay_name};
    const char *const asked[] = {"mrelay", "status", "-r", stand->relay_name, "--wait", "30s", NULL};
    char limits[32] = "";
    for (int i = 0; options && options[i] && i + 7 < WORDS_MAX; i++)
        words[i + 6] = options[i];
    if (limit > 0)
        snprintf(limits, sizeof limits, "ulimit -n %u; ", limit);
    snprintf(shell, sizeof shell, "%sexec \"$0\" \"$@\"", limits);
    snprintf(path, sizeof path, "%s%smrelay", stand->tools, stand->tools[0] ? "/" : "");
    stand->relay = start(stand, "sh", words, "log", "log");
    if (stand_run(stand, asked, "status") != 0)
        stand_give_up(stand, "the relay does not serve");
}

void stand_end_relay(struct stand *stand)
{
    kill(stand->relay, SIGTERM);
    int code = wait_for(stand->relay);
    stand->relay = 0;
    if (code != 0)
        stand_find(stand, "the relay ended with %d when it was told to", code);
}

static json_t *ask_status(struct stand *stand)
{
    const char *const words[] = {"mrelay", "status", "-r", stand->relay_name, "--json", "--wait", "30s", NULL};
    char path[STAND_PATH];
    snprintf(path, sizeof path, "%s/status.json", stand->folder);
    if (stand_run(stand, words, "status.json") != 0)
        stand_give_up(stand, "the relay does not answer");
    return json_load_file(path, 0, NULL);
}

void stand_addresses(struct stand *stand, char ipc[STAND_PATH], char tcp[STAND_PATH])
{
    json_t *status = ask_status(stand), *url;
    size_t i;
    ipc[0] = tcp[0] = '\0';
    json_array_foreach(json_object_get(status, "listen"), i, url)
    {
        const char *text = json_string_value(url);
        char *place = strncmp(text, "tcp:", 4) == 0 ? tcp : ipc;
        if (place[0] == '\0')
            snprintf(place, STAND_PATH, "%s", text);
    }
    json_decref(status);
}

uint64_t stand_status(struct stand *stand, const char *name)
{
    json_t *status = ask_status(stand);
    json_int_t number = json_integer_value(json_object_get(status, name));
    json_decref(status);
    return number > 0 ? (uint64_t)number : 0;
}

/* ---- processes ------------------------------------------------------------------------------------------------- */

uint64_t stand_resident(pid_t pid)
{
    char path[64];
    unsigned long pages = 0;
    snprintf(path, sizeof path, "/proc/%ld/statm", (long)pid);
    FILE *file = fopen(path, "re");
    if (!file)
        return 0;
    if (fscanf(file, "%*u %lu", &pages) != 1)
        pages = 0;
    fclose(file);
    return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

uint64_t stand_most_resident(pid_t pid)
{
    char path[64], line[256];
    unsigned long kib = 0;
    snprintf(path, sizeof path, "/proc/%ld/status", (long)pid);
    FILE *file = fopen(path, "re");
    while (file && fgets(line, sizeof line, file))
        if (sscanf(line, "VmHWM: %lu", &kib) == 1)
            break;
    if (file)
        fclose(file);
    return kib * UINT64_C(1024);
}

uint64_t stand_size(const char *path)
{
    struct stat status;
    return stat(path, &status) == 0 ? (uint64_t)status.st_size : 0;
}

int64_t stand_processor(pid_t pid)
{
    char path[64], text[1024];
    unsigned long user = 0, system = 0;
    snprintf(path, sizeof path, "/proc/%ld/stat", (long)pid);
    FILE *file = fopen(path, "re");
    if (!file)
        return 0;
    size_t size = fread(text, 1, sizeof text - 1, file);
    text[size] = '\0';
    fclose(file);
    const char *behind = strrchr(text, ')'); /* a name may have anything in it */
    if (!behind || sscanf(behind, ") %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &system) != 2)
        return 0;
    return (int64_t)(user + system) * 1000000 / sysconf(_SC_CLK_TCK);
}
