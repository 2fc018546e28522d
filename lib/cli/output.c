/* Writing for people and for pipes. */
#include "cli/output.h"

#include "base/units.h"

#include <errno.h>
#include <langinfo.h>
#include <locale.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum {
    PROGRESS_AFTER = 1000000, /* microseconds of work before it shows */
    PROGRESS_EVERY = 100000,  /* microseconds between two drawings */
    BAR_MIN = 10,             /* columns */
    BAR_MAX = 40
};

/* Whether a progress line stands on the terminal now. */
static bool line_shown;

/* What output_assume() was told. */
static struct {
    bool said;
    unsigned columns, rows;
    const char *flags;
} assumed;

void output_assume(const char *text)
{
    if (!text)
        return;
    char *end;
    assumed.said = true;
    assumed.columns = (unsigned)strtoul(text, &end, 10);
    assumed.rows = (unsigned)strtoul(end, &end, 10);
    assumed.flags = end;
}

static bool is_assumed(int descriptor)
{
    return assumed.said && (descriptor == STDOUT_FILENO || descriptor == STDERR_FILENO);
}

bool output_is_terminal(int descriptor)
{
    if (is_assumed(descriptor))
        return strchr(assumed.flags, descriptor == STDOUT_FILENO ? 'o' : 'e');
    return isatty(descriptor) == 1;
}

bool output_colour(int descriptor)
{
    const char *none = getenv("NO_COLOR");
    const char *terminal = getenv("TERM");
    if (is_assumed(descriptor))
        return strchr(assumed.flags, 'c');
    return !(none && *none) && terminal && strcmp(terminal, "dumb") != 0 && output_is_terminal(descriptor);
}

static struct winsize window_of(int descriptor)
{
    struct winsize size = {0};
    if (is_assumed(descriptor))
        size = (struct winsize){.ws_row = (unsigned short)assumed.rows, .ws_col = (unsigned short)assumed.columns};
    else if (ioctl(descriptor, TIOCGWINSZ, &size) != 0)
        size = (struct winsize){0};
    return size;
}

unsigned output_columns(int descriptor)
{
    unsigned columns = window_of(descriptor).ws_col;
    return columns > 0 ? columns : 80;
}

unsigned output_rows(int descriptor)
{
    unsigned rows = window_of(descriptor).ws_row;
    return rows > 0 ? rows : 24;
}

bool output_is_ascii(int descriptor)
{
    if (is_assumed(descriptor))
        return strchr(assumed.flags, 'a');
    setlocale(LC_CTYPE, "");
    bool ascii = output_is_terminal(descriptor) && strcmp(nl_langinfo(CODESET), "UTF-8") != 0;
    setlocale(LC_CTYPE, "C");
    return ascii;
}

bool output_has_gone(int descriptor)
{
    struct pollfd look = {.fd = descriptor};
    return poll(&look, 1, 0) == 1 && (look.revents & (POLLERR | POLLHUP)) != 0;
}

enum mp_error output_error(int descriptor, int number, struct fault *fault)
{
    const char *where = descriptor == STDOUT_FILENO ? "stdout" : "the output";
    if (number == EPIPE)
        return fault_set(fault, MP_ERR_CLOSED, "cannot write to %s: its reader has gone", where);
    if (number == EBADF)
        return fault_set(fault, MP_ERR_IO, "cannot write to %s: it is closed", where);
    if (number == ENOSPC || number == EDQUOT)
        return fault_system(fault, MP_ERR_IO, number, "cannot write to %s: make room and try again", where);
    return fault_system(fault, MP_ERR_IO, number, "cannot write to %s", where);
}

enum mp_error output_write(int descriptor, const void *data, size_t size, struct fault *fault)
{
    const char *at = data;
    while (size) {
        ssize_t written = write(descriptor, at, size);
        if (written >= 0) {
            at += written;
            size -= (size_t)written;
        } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
            struct pollfd wait = {.fd = descriptor, .events = POLLOUT};
            poll(&wait, 1, -1);
        } else if (errno != EINTR) {
            return output_error(descriptor, errno, fault);
        }
    }
    return MP_OK;
}

enum mp_error output_close(struct fault *fault)
{
    if (fflush(stdout) != 0 && errno != EBADF)
        return output_error(STDOUT_FILENO, errno, fault);
    if (close(STDOUT_FILENO) != 0 && errno != EBADF)
        return output_error(STDOUT_FILENO, errno, fault);
    return MP_OK;
}

/* "12 s", "3 min 20 s", "2 h 5 min": never less than a second. */
static void time_left_text(double seconds, char *text, size_t size)
{
    unsigned long whole = seconds < 1 ? 1 : seconds < 1e9 ? (unsigned long)(seconds + 0.5) : 1000000000;
    if (whole < 60)
        snprintf(text, size, "%lu s", whole);
    else if (whole < 3600)
        snprintf(text, size, "%lu min %lu s", whole / 60, whole % 60);
    else
        snprintf(text, size, "%lu h %lu min", whole / 3600, whole / 60 % 60);
}

void progress_begin(struct progress *progress, uint64_t total, int64_t now)
{
    *progress =
        (struct progress){.wanted = output_is_terminal(STDERR_FILENO), .total = total, .started = now, .drawn = now};
}

void progress_share(struct progress *progress, uint64_t part, uint64_t whole)
{
    progress->part = part < whole ? part : whole;
    progress->whole = whole;
}

/* ", [######----] 60 %, 4 s left"; "" when that is not known. WIDTH: columns of the bar; 0: none. */
static void share_text(const struct progress *progress, double seconds, unsigned width, char *text, size_t size)
{
    double whole = (double)progress->whole;
    double part = (double)progress->part;
    char bar[BAR_MAX + 4] = "";
    char time_text[40];
    *text = '\0';
    if (part <= 0 || part >= whole)
        return;
    if (width > 0) {
        unsigned done = (unsigned)(part / whole * width);
        *bar = '[';
        memset(bar + 1, '#', done);
        memset(bar + 1 + done, '-', width - done);
        memcpy(bar + 1 + width, "] ", 3);
    }
    time_left_text(seconds * (whole - part) / part, time_text, sizeof(time_text));
    snprintf(text, size, ", %s%.0f %%, %s left", bar, 100.0 * part / whole, time_text);
}

/* The line without what is left. Its length. */
static size_t line_text(const struct progress *progress, const char *verb, double seconds, char *line, size_t size)
{
    char count_text[24];
    char of_text[32] = "";
    char size_text[24];
    char rate_text[24];
    units_count_text(progress->messages, count_text, sizeof(count_text));
    units_size_text(progress->bytes, size_text, sizeof(size_text));
    units_count_text((uint64_t)((double)progress->messages / seconds), rate_text, sizeof(rate_text));
    if (progress->expected) {
        memcpy(of_text, " of ", 5);
        units_count_text(progress->expected, of_text + 4, sizeof(of_text) - 4);
    }
    int used =
        progress->messages == 0 && progress->expected == 0
            ? snprintf(line, size, "\r%s %s", verb, size_text)
            : snprintf(line, size, "\r%s %s%s messages, %s, %s/s", verb, count_text, of_text, size_text, rate_text);
    return (size_t)used;
}

void progress_show(struct progress *progress, const char *verb, uint64_t bytes, uint64_t messages, int64_t now)
{
    if (progress->total)
        progress_share(progress, bytes, progress->total);
    if (bytes == progress->bytes && messages == progress->messages && progress->part == progress->drawn_part)
        return;
    progress->bytes = bytes;
    progress->messages = messages;
    progress->drawn_part = progress->part;
    if (!progress->wanted || now - progress->started < PROGRESS_AFTER || now - progress->drawn < PROGRESS_EVERY)
        return;
    progress->drawn = now;

    double seconds = (double)(now - progress->started) / 1e6;
    char line[300];
    char left_text[120];
    size_t most = output_columns(STDERR_FILENO); /* the carriage return takes none */
    size_t used = line_text(progress, verb, seconds, line, sizeof(line));
    share_text(progress, seconds, 0, left_text, sizeof(left_text));
    size_t room = most - 1 > used + strlen(left_text) ? most - 1 - used - strlen(left_text) : 0;
    if (room >= BAR_MIN + 3)
        share_text(progress, seconds, room - 3 < BAR_MAX ? (unsigned)room - 3 : BAR_MAX, left_text, sizeof(left_text));
    used += (size_t)snprintf(line + used, sizeof(line) - used, "%s", left_text);
    if (used > most)
        line[most] = '\0';
    fprintf(stderr, "%s\033[K", line);
    fflush(stderr);
    line_shown = true;
}

void progress_end(struct progress *progress)
{
    progress_erase();
    progress->wanted = false;
}

void progress_erase(void)
{
    if (!line_shown)
        return;
    line_shown = false;
    fputs("\r\033[K", stderr);
    fflush(stderr);
}
