/* A reading at the relay, asked for and fetched piece by piece. */
#include "cli/trace_remote.h"
#include "cli/trace_mark.h"

#include "base/memory.h"
#include "base/units.h"
#include "cli/admin_ask.h"
#include "cli/exit.h"
#include "cli/output.h"
#include "cli/relay_link.h"
#include "relay/readers.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

enum {
    WAIT = 2000,          /* milliseconds that a question may wait at the relay */
    KEEP_EVERY = 1500000, /* microseconds between two signs of life */
    BUSY_PAUSE = 200000,  /* before it is tried again to begin */
    PATIENCE = 10000000   /* with a relay that is busy, or has gone */
};

enum asking { NOTHING, START, PIECE, KEEP };

struct trace_remote {
    struct trace_remote_settings settings;
    struct relay_link *link;
    enum asking asking; /* what is under way */
    bool started;
    char id[READERS_ID + 1];
    uint64_t number; /* of the piece that came last */
    struct buffer output;
    bool some; /* anything has come of it */
    bool marked;
    struct trace_position mark; /* where to go on */
    uint64_t counted;           /* of --count */
    int64_t asked_at, again, patient_until, gone_since;
    int code; /* -1: it goes on */
};

/* ---- what is asked for ----------------------------------------------------------------------------------------- */

/* Options that this side does by itself, or says otherwise. */
static bool stays_here(const char *name)
{
    static const char *const names[] = {"relay",   "store", "wait",  "to",    "position", "from-event",
                                        "timeout", "svg",   "marks", "after", NULL};
    for (size_t i = 0; names[i]; i++)
        if (strcmp(names[i], name) == 0)
            return true;
    return false;
}

static json_t *list_value(const struct option_list *list)
{
    json_t *values = json_array();
    for (size_t i = 0; i < list->count; i++)
        json_array_append_new(values, json_string(list->values[i]));
    return values;
}

/* The value that was given to SPEC, as its option takes it. */
static json_t *value_of(const struct option_spec *spec, const struct trace_settings *settings)
{
    const void *member = (const char *)settings + spec->at;
    char text[24];
    switch (spec->kind) {
    case OPTION_FLAG:
        return json_true();
    case OPTION_TEXT:
        return json_string(*(const char *const *)member);
    case OPTION_LIST:
        return list_value(member);
    case OPTION_NUMBER:
        snprintf(text, sizeof text, "%" PRIu64, *(const uint64_t *)member);
        return json_string(text);
    case OPTION_DURATION:
        units_duration_write(*(const int64_t *)member, text, sizeof text);
        return json_string(text);
    case OPTION_CHOICE:
        return json_string(spec->choices[*(const int *)member]);
    case OPTION_SET:
    case OPTION_SIZE:
    case OPTION_RATE:
        break;
    }
    return NULL; /* mtrace has none of these */
}

static json_t *options_of(const struct trace_remote *remote)
{
    const struct trace_settings *settings = remote->settings.settings;
    const struct options *options = remote->settings.options;
    json_t *all = json_object();
    char text[24];
    for (const struct option_spec *spec = options->program->options; spec->name; spec++)
        if (options_given(options, spec->name) && !stays_here(spec->name))
            json_object_set_new(all, spec->name, value_of(spec, settings));
    if (remote->settings.format)
        json_object_set_new(all, "format", json_string(remote->settings.format));
    if (remote->settings.marks)
        json_object_set_new(all, "marks", json_true());
    if (remote->marked) {
        char mark[TRACE_POSITION_TEXT];
        trace_position_text(&remote->mark, mark);
        json_object_set_new(all, "after", json_string(mark));
    }
    if (settings->count > 0) {
        snprintf(text, sizeof text, "%" PRIu64, settings->count - remote->counted);
        json_object_set_new(all, "count", json_string(text));
    }
    return all;
}

/* How far this side's times are east of UTC. */
static json_int_t east(void)
{
    time_t now = time(NULL);
    struct tm here;
    return localtime_r(&now, &here) ? (json_int_t)here.tm_gmtoff : 0;
}

static json_t *terminal(void)
{
    bool output = output_is_terminal(STDOUT_FILENO);
    const char *said = output ? NULL : getenv("COLUMNS");
    json_int_t columns = output ? (json_int_t)output_columns(STDOUT_FILENO) : said ? (json_int_t)atoi(said) : 0;
    return json_pack("{s:I,s:I,s:b,s:b,s:b,s:b}", "columns", columns, "rows", (json_int_t)output_rows(STDOUT_FILENO),
                     "output", (int)output, "errors", (int)output_is_terminal(STDERR_FILENO), "colour",
                     (int)output_colour(STDOUT_FILENO), "ascii", (int)output_is_ascii(STDOUT_FILENO));
}

static json_t *start_request(const struct trace_remote *remote)
{
    const struct options *options = remote->settings.options;
    json_t *operands = json_array();
    for (size_t i = 0; i < options->operands_count; i++)
        json_array_append_new(operands, json_string(options->operands[i]));
    return json_pack("{s:s,s:s,s:s,s:o,s:o,s:o,s:I}", "verb", "trace", "reading", remote->id, "command",
                     remote->settings.verb, "options", options_of(remote), "operands", operands, "terminal", terminal(),
                     "east", east());
}

static json_t *request_of(const struct trace_remote *remote, enum asking asking)
{
    switch (asking) {
    case START:
        return start_request(remote);
    case PIECE:
        return json_pack("{s:s,s:s,s:I,s:i}", "verb", "trace_read", "reading", remote->id, "number",
                         (json_int_t)remote->number + 1, "wait_ms", WAIT);
    case KEEP:
        return json_pack("{s:s,s:s,s:I,s:b}", "verb", "trace_read", "reading", remote->id, "number",
                         (json_int_t)remote->number + 1, "keep", 1);
    case NOTHING:
        break;
    }
    return NULL;
}

static enum mp_error ask(struct trace_remote *remote, enum asking asking, int64_t now, struct fault *fault)
{
    json_t *request = request_of(remote, asking);
    char *text = request ? json_dumps(request, JSON_COMPACT) : NULL;
    enum mp_error error =
        text ? client_ask(relay_link_client(remote->link), text, strlen(text), fault) : fault_memory(fault);
    json_decref(request);
    free(text);
    if (!error) {
        remote->asking = asking;
        remote->asked_at = now;
    }
    return error;
}

/* ---- what comes ------------------------------------------------------------------------------------------------ */

static void end(struct trace_remote *remote, int code)
{
    if (remote->code < 0)
        remote->code = code;
}

static enum mp_error begin(struct trace_remote *remote, struct fault *fault)
{
    uint64_t bits[2];
    if (getentropy(bits, sizeof bits) != 0)
        return fault_set(fault, MP_ERR_INTERNAL, "the system has no random bits");
    snprintf(remote->id, sizeof remote->id, "%016" PRIx64 "%016" PRIx64, bits[0], bits[1]);
    remote->started = false;
    remote->number = 0;
    return MP_OK;
}

/* The relay has not got it any more: it was started again, or nobody asked for too long. */
static void on_lost(struct trace_remote *remote)
{
    struct fault fault = {0};
    bool again = remote->settings.lasting || remote->settings.marks || !remote->some;
    if (!again) {
        tell("the relay has ended this before all had come: what stands here is not the whole; ask again");
        end(remote, EXIT_NO_RELAY);
        return;
    }
    uint64_t most = remote->settings.settings->count;
    if (most > 0 && remote->counted >= most) {
        end(remote, EXIT_DONE);
        return;
    }
    if (remote->settings.marks)
        remote->output.size = 0; /* what lies behind the mark comes again */
    if (begin(remote, &fault))
        end(remote, tell_fault(&fault));
}

static void on_refused(struct trace_remote *remote, enum asking asking, enum mp_error status, const char *text,
                       size_t size)
{
    int shown = (int)(size < FAULT_TEXT ? size : FAULT_TEXT);
    int64_t now = clock_monotonic();
    if (asking != START && status == MP_ERR_NOT_FOUND) {
        on_lost(remote);
    } else if (status == MP_ERR_BUSY && now < remote->patient_until) {
        remote->again = now + BUSY_PAUSE;
    } else if (status == MP_ERR_UNSUPPORTED) {
        tell("the store of that relay, %s, cannot be read from here, and the relay, msgpipe %s, is too old to read it "
             "to others: run mtrace there",
             remote->settings.settings->home->path, admin_string(remote->settings.settings->home->status, "version"));
        end(remote, EXIT_NO_INPUT);
    } else {
        tell("%.*s", shown, text);
        end(remote, exit_code_of(status));
    }
}

static void on_exit_code(struct trace_remote *remote, json_int_t code)
{
    if (code > 128 && code < 256)
        tell("mtrace was ended at the relay by signal %d", (int)code - 128);
    end(remote, code >= 0 && code <= 128 ? (int)code : EXIT_FAILED);
}

/* A piece: a line of JSON, and behind it the bytes that it counts. */
static enum mp_error take_piece(struct trace_remote *remote, const char *text, size_t size, struct fault *fault)
{
    const char *line_end = memchr(text, '\n', size);
    json_t *head = line_end ? json_loadb(text, (size_t)(line_end - text), 0, NULL) : NULL;
    uint64_t number = admin_number(head, "number"), output = admin_number(head, "output"),
             errors = admin_number(head, "errors");
    const json_t *code = json_object_get(head, "exit");
    size_t rest = line_end ? size - (size_t)(line_end + 1 - text) : 0;
    enum mp_error error = MP_OK;
    if (!head || output > rest || errors != rest - output) {
        error = fault_set(fault, MP_ERR_FORMAT, "the relay's answer cannot be understood");
    } else if (number == remote->number + 1) {
        remote->number = number;
        remote->some = remote->some || rest > 0;
        error = buffer_append(&remote->output, line_end + 1, (size_t)output) ? fault_memory(fault) : MP_OK;
        if (errors > 0) {
            progress_erase();
            (void)!write(STDERR_FILENO, line_end + 1 + output, (size_t)errors);
        }
        if (code)
            on_exit_code(remote, json_integer_value(code));
    }
    json_decref(head);
    return error;
}

static void on_answered(void *context, enum mp_error status, const char *text, size_t size)
{
    struct trace_remote *remote = context;
    enum asking asking = remote->asking;
    struct fault fault = {0};
    remote->asking = NOTHING;
    if (status != MP_OK)
        on_refused(remote, asking, status, text, size);
    else if (asking == START)
        remote->started = true;
    else if (asking == PIECE && take_piece(remote, text, size, &fault))
        end(remote, tell_fault(&fault));
}

static void on_failed(void *context, enum mp_error error, const char *text)
{
    struct trace_remote *remote = context;
    tell("%s", text);
    end(remote, exit_code_of(error));
}

/* ---- the loop's ------------------------------------------------------------------------------------------------ */

enum mp_error trace_remote_open(const struct trace_remote_settings *settings, struct trace_remote **result,
                                struct fault *fault)
{
    struct trace_remote *remote = memory_allocate(sizeof *remote);
    if (!remote)
        return fault_memory(fault);
    const struct trace_settings *asked = settings->settings;
    int64_t now = clock_monotonic();
    remote->settings = *settings;
    remote->code = -1;
    remote->gone_since = CLOCK_NEVER;
    remote->patient_until = now + (asked->wait >= 0 ? asked->wait : PATIENCE);
    const struct relay_link_settings link = {
        .loop = settings->loop,
        .relay = asked->relay,
        .wait = asked->wait,
        .client = {.context = remote, .answered = on_answered, .failed = on_failed},
    };
    enum mp_error error = begin(remote, fault);
    if (!error && asked->after && !(error = trace_position_of(asked->after, &remote->mark, fault)))
        remote->marked = true;
    if (!error)
        error = relay_link_open(&link, &remote->link, fault);
    if (error) {
        trace_remote_close(remote);
        return error;
    }
    *result = remote;
    return MP_OK;
}

void trace_remote_close(struct trace_remote *remote)
{
    if (!remote)
        return;
    relay_link_close(remote->link);
    buffer_free(&remote->output);
    memory_release(remote);
}

struct buffer *trace_remote_output(struct trace_remote *remote)
{
    return &remote->output;
}

void trace_remote_taken(struct trace_remote *remote, const struct trace_position *position, uint64_t count)
{
    remote->mark = *position;
    remote->marked = true;
    remote->counted += count;
}

/* What has an end is not waited for as long as it takes. */
static enum mp_error check_gone(struct trace_remote *remote, int64_t now, struct fault *fault)
{
    if (remote->settings.lasting || relay_link_connected(remote->link)) {
        remote->gone_since = CLOCK_NEVER;
        return MP_OK;
    }
    if (remote->gone_since == CLOCK_NEVER)
        remote->gone_since = now;
    if (!client_is_welcome(relay_link_client(remote->link)) || now - remote->gone_since < PATIENCE)
        return MP_OK;
    return fault_set(fault, MP_ERR_NO_RELAY, "the relay has gone before all had come, and did not come back");
}

/* What to ask for next. */
static enum asking next_question(const struct trace_remote *remote, bool hold, int64_t now, int64_t *due)
{
    if (now < remote->again) {
        *due = remote->again;
        return NOTHING;
    }
    if (!remote->started)
        return START;
    if (!hold)
        return PIECE;
    *due = remote->asked_at + KEEP_EVERY;
    return now >= *due ? KEEP : NOTHING;
}

bool trace_remote_step(struct trace_remote *remote, bool hold, int64_t now, int64_t *due, int *code)
{
    struct fault fault = {0};
    int64_t next = CLOCK_NEVER;
    enum mp_error error = remote->code >= 0 ? MP_OK : relay_link_check(remote->link, now, &fault);
    if (!error && remote->code < 0)
        error = check_gone(remote, now, &fault);
    bool may_ask =
        !error && remote->code < 0 && remote->asking == NOTHING && client_is_welcome(relay_link_client(remote->link));
    enum asking asking = may_ask ? next_question(remote, hold, now, &next) : NOTHING;
    if (asking != NOTHING)
        error = ask(remote, asking, now, &fault);
    if (error)
        end(remote, relay_link_tell(remote->settings.settings->relay, &fault));
    *due = next < *due ? next : *due;
    *code = remote->code;
    return remote->code < 0;
}
