/* A graph, written or drawn. */
#include "cli/draw.h"

#include "cli/command.h"
#include "cli/exit.h"
#include "cli/output.h"
#include "base/spawn.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PIPED_COLUMNS = 100 }; /* unless $COLUMNS says otherwise */

int draw_svg(const char *file, const struct buffer *dot)
{
    char *argv[] = {(char[]){"dot"}, (char[]){"-Tsvg"}, (char[]){"-o"}, (char *)(uintptr_t)file, NULL};
    struct fault fault = {0};
    int ends[2], code, status, number = spawn_pipe(ends);
    pid_t pid;
    if (number) {
        fault_system(&fault, MP_ERR_IO, number, "cannot make a pipe");
        return tell_fault(&fault);
    }
    enum mp_error error = command_start(argv, ends[0], -1, &pid, &code, &fault);
    close(ends[0]);
    if (!error)
        output_write(ends[1], dot->data, dot->size, &fault); /* that it does not read is told by its exit code */
    close(ends[1]);
    if (error) {
        tell("%s%s", fault_text(&fault), code == EXIT_NOT_FOUND ? ": --svg needs Graphviz (package graphviz)" : "");
        return code;
    }
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    code = spawn_exit_code(status);
    if (code)
        tell("dot exited with %d", code);
    return code ? EXIT_FAILED : EXIT_DONE;
}

static enum mp_error write_graph(const struct graph *graph, const char *title, int format, struct buffer *out)
{
    if (format == DRAW_DOT)
        return graph_write_dot(graph, title, out);
    if (format == DRAW_MERMAID)
        return graph_write_mermaid(graph, out);
    bool terminal = output_is_terminal(STDOUT_FILENO);
    const char *said = getenv("COLUMNS");
    unsigned long columns = said ? strtoul(said, NULL, 10) : 0;
    struct graph_style style = {
        .colour = output_colour(STDOUT_FILENO),
        .ascii = output_is_ascii(STDOUT_FILENO),
        .columns = terminal                          ? output_columns(STDOUT_FILENO)
                   : columns > 20 && columns < 10000 ? (unsigned)columns
                                                     : PIPED_COLUMNS,
    };
    return graph_write_text(graph, &style, out);
}

int draw_graph(const struct graph *graph, const char *title, int format, const char *svg)
{
    struct buffer out = {0};
    struct fault fault = {0};
    int code = EXIT_DONE;
    if (write_graph(graph, title, svg ? DRAW_DOT : format, &out)) {
        fault_memory(&fault);
        code = tell_fault(&fault);
    } else if (svg) {
        code = draw_svg(svg, &out);
    } else {
        enum mp_error error = output_write(STDOUT_FILENO, out.data, out.size, &fault);
        code = error == MP_ERR_CLOSED ? exit_by_pipe() : error ? tell_fault(&fault) : EXIT_DONE;
    }
    buffer_free(&out);
    return code;
}
