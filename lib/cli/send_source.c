/* Where msend's messages come from. */
#include "cli/send_source.h"

#include "base/units.h"
#include "cli/command.h"
#include "cli/exit.h"
#include "cli/send_dress.h"
#include "message/formats.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    BLOCK = 256 * 1024,    /* bytes that are read at once */
    NAMED_MOST = 10,       /* rejected messages that are named one by one */
    REAP_EVERY = 10 * 1000 /* microseconds between looks at a command that has closed its stdout */
};

struct send_source {
    const struct send_settings *settings;
    struct send_dress dress;
    struct format_reader reader;

    const char *const *names; /* of files, "-" is stdin; or -d data */
    size_t count;
    size_t next; /* index of the name that comes after the present one */
    bool is_data;

    char *const *command;
    pid_t child;
    int64_t started; /* microseconds, monotonic */

    int descriptor; /* being read; -1: none is open */
    const char *name;
    bool regular;  /* never makes anybody wait */
    bool readable; /* it was said to be */
    bool ended;    /* the present input */
    struct buffer input;
    size_t begin; /* of what is not used yet in `input` */

    struct send_source_counts counts;
    uint64_t named; /* rejected messages that were told one by one */
    int exit;       /* of the last error, when it is not that of the error itself */
};

static const char *spoken(const struct send_source *source)
{
    return source->name && strcmp(source->name, "-") != 0 ? source->name : "stdin";
}

/* ---- opening -------------------------------------------------------------------------------------------------- */

static enum mp_error cannot_read(struct send_source *source, const char *name, int number, struct fault *fault)
{
    source->exit = EXIT_NO_INPUT;
    if (!strcmp(name, "-"))
        name = "stdin";
    if (number == EBADF)
        return fault_set(fault, MP_ERR_NOT_FOUND, "cannot read %s: it is closed", name);
    if (number == EISDIR)
        return fault_set(fault, MP_ERR_NOT_FOUND, "cannot read %s: it is a directory", name);
    return fault_system(fault, MP_ERR_NOT_FOUND, number, "cannot read %s", name);
}

/* Looks at all files before anything is sent, and adds up their sizes. */
static enum mp_error check_files(struct send_source *source, struct fault *fault)
{
    bool known = true;
    for (size_t i = 0; i < source->count; i++) {
        const char *name = source->names[i];
        bool standard = !strcmp(name, "-");
        struct stat status;
        if (standard ? fstat(STDIN_FILENO, &status) : stat(name, &status))
            return cannot_read(source, name, errno, fault);
        if (S_ISDIR(status.st_mode))
            return cannot_read(source, name, EISDIR, fault);
        if (!standard && access(name, R_OK) != 0)
            return cannot_read(source, name, errno, fault);
        off_t at = standard ? lseek(STDIN_FILENO, 0, SEEK_CUR) : 0;
        known = known && S_ISREG(status.st_mode) && at >= 0;
        if (known && status.st_size > at)
            source->counts.total += (uint64_t)(status.st_size - at);
    }
    if (!known)
        source->counts.total = 0;
    return MP_OK;
}

enum mp_error send_source_open(const struct send_settings *settings, const struct options *options,
                               struct send_source **result, struct fault *fault)
{
    static const char *const standard[] = {"-"};
    struct send_source *source = calloc(1, sizeof(*source));
    if (!source)
        return fault_memory(fault);
    source->settings = settings;
    source->descriptor = -1;
    source->exit = -1;
    source->reader.format = (enum format)settings->format;
    enum mp_error error = send_dress_open(&source->dress, settings, fault);
    if (error)
        goto fail;
    if (settings->data.count) {
        source->names = settings->data.values;
        source->count = settings->data.count;
        source->is_data = true;
    } else if (options->command) {
        source->command = options->command;
        source->reader.format = FORMAT_WHOLE;
    } else if (options->operands_count) {
        source->names = (const char *const *)options->operands;
        source->count = options->operands_count;
    } else {
        source->names = standard;
        source->count = 1;
    }
    if (!source->is_data && !source->command)
        error = check_files(source, fault);
    if (error)
        goto fail;
    *result = source;
    return MP_OK;

fail:
    /* The caller gets no source to ask for the exit code: an input that cannot be read is the only odd one. */
    send_source_free(source);
    return error;
}

void send_source_free(struct send_source *source)
{
    if (!source)
        return;
    if (source->child > 0)
        kill(source->child, SIGTERM);
    if (source->descriptor > STDIN_FILENO)
        close(source->descriptor);
    send_dress_free(&source->dress);
    format_reader_free(&source->reader);
    buffer_free(&source->input);
    free(source);
}

void send_source_limit(struct send_source *source, size_t limit)
{
    source->reader.limit = limit;
}

static enum mp_error start_command(struct send_source *source, int64_t now, struct fault *fault)
{
    int ends[2];
    int number = spawn_pipe(ends);
    if (number)
        return fault_system(fault, MP_ERR_IO, number, "cannot make a pipe");
    enum mp_error error = command_start(source->command, -1, ends[1], &source->child, &source->exit, fault);
    close(ends[1]);
    if (error) {
        source->child = 0;
        close(ends[0]);
        return error;
    }
    source->started = now;
    source->descriptor = ends[0];
    source->name = source->command[0];
    source->regular = false;
    return MP_OK;
}

static enum mp_error open_next(struct send_source *source, int64_t now, struct fault *fault)
{
    if (source->command)
        return source->started ? MP_ERR_CLOSED : start_command(source, now, fault);
    if (source->next == source->count)
        return MP_ERR_CLOSED;
    source->name = source->names[source->next++];
    source->ended = false;
    source->readable = false;
    source->reader.number = 0;
    source->descriptor = strcmp(source->name, "-") ? open(source->name, O_RDONLY | O_CLOEXEC) : STDIN_FILENO;
    struct stat status;
    if (source->descriptor < 0 || fstat(source->descriptor, &status))
        return cannot_read(source, source->name, errno, fault);
    source->regular = S_ISREG(status.st_mode);
#ifdef POSIX_FADV_SEQUENTIAL
    if (source->regular)
        posix_fadvise(source->descriptor, 0, 0, POSIX_FADV_SEQUENTIAL);
#endif
    return MP_OK;
}

static void close_present(struct send_source *source)
{
    if (source->descriptor > STDIN_FILENO)
        close(source->descriptor);
    source->descriptor = -1;
    source->begin = 0;
    source->input.size = 0;
}

/* ---- reading -------------------------------------------------------------------------------------------------- */

/* Makes room behind what is not used yet, and reads there once. */
static enum mp_error read_more(struct send_source *source, struct fault *fault)
{
    struct buffer *input = &source->input;
    if (!source->regular && !source->readable)
        return MP_ERR_AGAIN;
    if (source->begin) {
        memmove(input->data, input->data + source->begin, input->size - source->begin);
        input->size -= source->begin;
        source->begin = 0;
    }
    /* At least a block; as much again as there is for a long message, so that it is not moved too often. */
    if (buffer_reserve(input, input->size > BLOCK ? input->size : BLOCK))
        return fault_memory(fault);
    ssize_t got = read(source->descriptor, input->data + input->size, input->capacity - input->size);
    if (got < 0 && errno == EINTR)
        return MP_ERR_AGAIN;
    source->readable = false;
    if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
        return MP_ERR_AGAIN;
    if (got < 0)
        return cannot_read(source, source->name, errno, fault);
    source->ended = got == 0;
    input->size += (size_t)got;
    source->counts.bytes += (uint64_t)got;
    return MP_OK;
}

static const char *unsent(const struct send_source *source)
{
    return source->settings->unsent ? source->settings->unsent : "not sent";
}

/* A message of the input that is not to be sent: says so, a few times. */
static void reject(struct send_source *source, const struct fault *fault)
{
    if (source->counts.taken <= source->settings->skip)
        return;
    source->counts.rejected++;
    if (source->named == NAMED_MOST)
        return;
    source->named++;
    if (source->is_data)
        tell("-d, number %zu: %s: %s", source->next, fault_text(fault), unsent(source));
    else
        tell("%s%s: %s: %s", source->command ? "the output of " : "", spoken(source), fault_text(fault),
             unsent(source));
}

/* The command has closed its stdout: waits for its end, and notes how it went. */
static enum mp_error reap(struct send_source *source, int64_t now, int64_t *due, struct fault *fault)
{
    int status;
    pid_t ended = waitpid(source->child, &status, WNOHANG);
    if (ended == 0) {
        *due = now + REAP_EVERY;
        return MP_ERR_AGAIN;
    }
    source->child = 0;
    char text[32];
    snprintf(text, sizeof(text), "%d", ended > 0 ? spawn_exit_code(status) : EXIT_FAILED);
    enum mp_error error = send_dress_add(&source->dress, "exitcode", true, text, fault);
    if (error)
        return error;
    snprintf(text, sizeof(text), "%.6f", (double)(now - source->started) / 1e6);
    return send_dress_add(&source->dress, "duration", false, text, fault);
}

/* The next message of the present input, undressed. */
static enum mp_error read_item(struct send_source *source, struct send_item *item, int64_t now, int64_t *due,
                               struct fault *fault)
{
    struct buffer *input = &source->input;
    for (;;) {
        struct format_message message;
        size_t used = 0;
        enum mp_error error = MP_OK;
        if (source->ended && source->child)
            error = reap(source, now, due, fault);
        if (error)
            return error;
        error = format_read(&source->reader, input->data ? input->data + source->begin : NULL,
                            input->size - source->begin, source->ended, &used, &message, fault);
        source->begin += used;
        if (error == MP_OK) {
            *item = (struct send_item){message.body, message.size, message.attributes, message.attributes_size};
            return MP_OK;
        }
        if (error != MP_ERR_AGAIN)
            return error;
        error = read_more(source, fault);
        if (error)
            return error;
    }
}

/* A value of -d: a message as it stands, or one CloudEvent. */
static enum mp_error data_item(struct send_source *source, struct send_item *item, struct fault *fault)
{
    if (source->next == source->count)
        return MP_ERR_CLOSED;
    const char *text = source->names[source->next++];
    size_t size = strlen(text);
    source->counts.bytes += size;
    size_t limit = source->reader.limit ? source->reader.limit : FRAME_BODY_MAX;
    if (source->reader.format == FORMAT_JSON) {
        struct format_message message;
        size_t used;
        source->reader.number = 0;
        enum mp_error error = format_read(&source->reader, (const uint8_t *)text, size, true, &used, &message, fault);
        if (error == MP_ERR_CLOSED)
            return fault_set(fault, MP_ERR_FORMAT, "it is empty, not a CloudEvent");
        *item = (struct send_item){message.body, message.size, message.attributes, message.attributes_size};
        return error;
    }
    if (size > limit) {
        char size_text[24];
        char limit_text[24];
        units_size_text(size, size_text, sizeof(size_text));
        units_size_text(limit, limit_text, sizeof(limit_text));
        return fault_set(fault, MP_ERR_TOO_LARGE, "%s is over the limit of %s", size_text, limit_text);
    }
    *item = (struct send_item){.body = (const uint8_t *)text, .size = size};
    return MP_OK;
}

/* ITEM's attributes. What is wrong with one of many messages is told with its place. */
static enum mp_error dress_item(struct send_source *source, struct send_item *item, struct fault *fault)
{
    const struct format_reader *reader = &source->reader;
    enum mp_error error = send_dress_item(&source->dress, item, fault);
    if (!error || error == MP_ERR_MEMORY || source->is_data || reader->format == FORMAT_WHOLE)
        return error;
    bool line = reader->format == FORMAT_LINES || reader->format == FORMAT_JSON;
    return fault_set(fault, error, "%s %llu: %s", line ? "line" : "message", (unsigned long long)reader->number,
                     fault_text(fault));
}

/* The next message from wherever it comes. */
static enum mp_error next_item(struct send_source *source, struct send_item *item, int64_t now, int64_t *due,
                               struct fault *fault)
{
    if (source->is_data)
        return data_item(source, item, fault);
    for (;;) {
        enum mp_error error;
        if (source->descriptor < 0) {
            error = open_next(source, now, fault);
            if (error)
                return error;
        }
        error = read_item(source, item, now, due, fault);
        if (error != MP_ERR_CLOSED)
            return error;
        close_present(source);
    }
}

enum mp_error send_source_next(struct send_source *source, struct send_item *item, int64_t now, int64_t *due,
                               struct fault *fault)
{
    for (;;) {
        enum mp_error error = next_item(source, item, now, due, fault);
        if (!error && source->counts.taken >= source->settings->skip)
            error = dress_item(source, item, fault);
        switch (error) {
        case MP_OK:
            if (source->counts.taken++ >= source->settings->skip)
                return MP_OK;
            break;
        case MP_ERR_FORMAT:
        case MP_ERR_TOO_LARGE:
        case MP_ERR_INVALID:
            source->counts.taken++;
            reject(source, fault);
            break;
        default:
            return error;
        }
    }
}

int send_source_descriptor(const struct send_source *source)
{
    /* A command that has closed its stdout is waited for by the clock. */
    return source->ended ? -1 : source->descriptor;
}

void send_source_readable(struct send_source *source)
{
    source->readable = true;
}

int send_source_exit(const struct send_source *source, enum mp_error error)
{
    if (source && source->exit >= 0)
        return source->exit;
    return exit_code_of(error);
}

const struct send_source_counts *send_source_counts(const struct send_source *source)
{
    return &source->counts;
}

void send_source_summary(const struct send_source *source)
{
    if (source->counts.rejected > source->named)
        tell("%llu %s %s", (unsigned long long)source->counts.rejected,
             source->counts.rejected == 1 ? "message in all was" : "messages in all were", unsent(source));
    send_dress_summary(&source->dress);
}

bool send_source_resumable(const struct send_source *source)
{
    return !source->command;
}
