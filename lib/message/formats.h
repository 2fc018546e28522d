/*
 * formats.h: bytes to messages and back, as the tools and pipelines know them by name.
 *
 *   lines   one message a line, without its newline; a last line without a newline counts
 *   null    the same with NUL bytes
 *   length  a 32-bit big-endian length before each body
 *   whole   all input is one message, also when it is empty
 *   json    one CloudEvents 1.0 JSON object a line; blank lines are passed over
 *
 * Reading is incremental and works in the caller's buffer without copying: a body in struct format_message points
 * there, except where JSON had to be decoded.
 *
 * JSON follows CloudEvents 1.0.2, "JSON Event Format", strictly by RFC 8259. How body and `data` correspond depends on
 * the attribute `datacontenttype`, so that reading gives back, to the byte, what was written:
 *
 *   datacontenttype     body                                            stands as
 *   any                 empty                                           (no data)
 *   none                an object, array, number, true, false, null     data, verbatim
 *                       other UTF-8 text, a quoted string too           data, a string
 *   application/json,   any JSON value, a string too                    data, verbatim
 *   …/json, …+json
 *   another             UTF-8 text                                      data, a string
 *   any                 anything else                                   data_base64
 *
 * Verbatim is only a value that is the whole body, holds no newline and no more than 512 levels; its spelling of
 * numbers, its spaces, and the order and repetition of its keys are kept. Where `data` is a JSON string although
 * datacontenttype names no JSON, its characters are the body; each other value is the body as it stands.
 *
 * Attributes are strings, integers (32 bits) and booleans and keep their type; null is as if it were not there, and an
 * attribute that is an object or array is an error. Names that CloudEvents does not allow (upper case, `_`, `-`) are
 * written and read as they are. Written are also what CloudEvents requires and a message need not have: `id` (32 hex
 * digits of the origin), `source` ("/" and the topic), `type` ("message"), `time` (of the frame); and what jq
 * wants to know of a message from a relay: `msgpipetopic`, `msgpipeoffset` (a string: CloudEvents integers have 32
 * bits) and `msgpipeattempt`. A reader drops the last three, so that a message that goes round does not gather them;
 * id, source, type and time become attributes.
 */
#ifndef MESSAGE_FORMATS_H
#define MESSAGE_FORMATS_H

#include "base/buffer.h"
#include "base/fault.h"
#include "message/frame.h"

/* `lines` and `null` are the first: format_read() relies on it. */
enum format { FORMAT_LINES, FORMAT_NULL, FORMAT_LENGTH, FORMAT_WHOLE, FORMAT_JSON };

/* The format of that name; MP_ERR_INVALID names the choices. */
enum mp_error format_parse(const char *name, enum format *format, struct fault *fault);
const char *format_name(enum format format);

/* A message as read from input. */
struct format_message {
    const uint8_t *body;
    size_t size;
    const uint8_t *attributes; /* a canonical block, or NULL */
    size_t attributes_size;
};

/*
 * format_reader: takes input apart. Zero it, set `format` and `limit` (a body's limit in bytes, 0 for FRAME_BODY_MAX),
 * free with format_reader_free(). `number` is the number of the message that was read last, from 1: a line's number
 * for lines and json, where lines that were refused or blank count.
 */
struct format_reader {
    enum format format;
    size_t limit;
    uint64_t number;
    struct buffer decoded;    /* a JSON body */
    struct buffer attributes; /* a JSON object's attributes */
    size_t scanned;           /* bytes already searched for a separator */
    uint64_t skip;            /* of a body over the limit: its bytes to come, UINT64_MAX up to a separator */
};

void format_reader_free(struct format_reader *reader);

/* The limit that READER goes by: 0, and what is more than FRAME_BODY_MAX, mean that. */
static inline size_t format_reader_limit(const struct format_reader *reader)
{
    return reader->limit - 1 < FRAME_BODY_MAX ? reader->limit : FRAME_BODY_MAX;
}

/* What format_read() does beyond its quick way. Not for others to call. */
enum mp_error format_read_other(struct format_reader *reader, const uint8_t *data, size_t size, bool end, size_t *used,
                                struct format_message *message, struct fault *fault);

/*
 * Takes the next message from SIZE bytes at DATA. *USED is how many of them are done with, whatever is returned. END:
 * nothing will follow. MP_OK: MESSAGE is set, good until the next call or until DATA changes. MP_ERR_AGAIN: more bytes
 * are needed; call again with the bytes that were not used and more behind them. MP_ERR_CLOSED: the end.
 * MP_ERR_TOO_LARGE: a body over the limit, with its number and the limit in words; *USED skips what is there of it, the
 * reader goes on behind it. MP_ERR_FORMAT: a length that breaks off at the end, or a line that is no CloudEvent, with
 * line and column (in characters); *USED skips it. MP_ERR_MEMORY.
 *
 * The caller's buffer never needs to hold more than the limit and 4 bytes; for json, whose escapes can take six bytes
 * for one, six times the limit and 1 MiB.
 *
 * It is inline for the sake of the most frequent case, a line that ends in this buffer, which costs one memchr().
 */
static inline enum mp_error format_read(struct format_reader *reader, const uint8_t *data, size_t size, bool end,
                                        size_t *used, struct format_message *message, struct fault *fault)
{
    if (reader->format <= FORMAT_NULL && reader->skip == 0 && reader->scanned < size) {
        const int separator = reader->format == FORMAT_LINES ? '\n' : '\0';
        const uint8_t *found = (const uint8_t *)memchr(data + reader->scanned, separator, size - reader->scanned);
        if (found == NULL) {
            reader->scanned = size;
        } else if ((size_t)(found - data) <= format_reader_limit(reader)) {
            message->body = data;
            message->size = (size_t)(found - data);
            message->attributes = NULL;
            message->attributes_size = 0;
            reader->scanned = 0;
            reader->number++;
            *used = message->size + 1;
            return MP_OK;
        }
    }
    return format_read_other(reader, data, size, end, used, message, fault);
}

/* What a writer knows of a message. */
struct format_item {
    struct record record;
    const char *topic; /* terminated; NULL or "" when there is none (direct mode) */
    uint64_t offset;
    unsigned attempt;  /* 0 when read without a group */
    const char *group; /* that it was given to; NULL: none */
    uint64_t delivery; /* by which lease: trace_delivery(); 0: none */
    int64_t time;      /* of its frame, microseconds since the epoch: `time` unless the attributes have one */
};

/*
 * Appends ITEM to OUT in FORMAT. MP_ERR_FORMAT: the body holds the separator (lines, null), or an attribute has a name
 * that CloudEvents keeps for the body (json: data, data_base64, specversion); nothing was appended, and the caller
 * decides whether to warn. MP_ERR_MEMORY.
 */
enum mp_error format_write(enum format format, const struct format_item *item, struct buffer *out, struct fault *fault);

/* What was read, as it is written; TIME as in struct format_item. It points where MESSAGE does. */
static inline struct format_item format_item_of(const struct format_message *message, int64_t time)
{
    return (struct format_item){.record = {.body = message->body,
                                           .size = message->size,
                                           .attributes = message->attributes,
                                           .attributes_size = message->attributes_size},
                                .time = time};
}

/*
 * format_template: output such as '%{id} %{topic} %{/order/id} %{body}\n'. Names are those of format_value below; `%%` is
 * a percent sign; \n \t \r \0 \\ are escapes. What a message does not have is empty. A pointer ends at the first '}'.
 * MP_ERR_INVALID says which character is wrong, counted from 1. MP_ERR_MEMORY.
 */
struct format_template;
enum mp_error format_template_parse(const char *text, struct format_template **template, struct fault *fault);
void format_template_free(struct format_template *template);
/* Whether it names nothing of a message. */
bool format_template_is_constant(const struct format_template *template);
/* On failure OUT is as it was. */
enum mp_error format_template_write(struct format_template *template, const struct format_item *item,
                                    struct buffer *out);

/*
 * Appends SIZE bytes at TEXT as a terminal may show them: \n, \t, \r, \xNN for control characters, DEL and bytes that
 * are not UTF-8; \u0080 to \u009f for the C1 controls, and \u202a to \u202e and \u2066 to \u2069 for what reorders
 * text. A newline at the very end stays. MP_ERR_MEMORY.
 */
enum mp_error format_escape(const uint8_t *text, size_t size, struct buffer *out);

/*
 * Appends a body as a JSON value, as it stands where it is one (a quoted string only where datacontenttype says JSON),
 * else as a string. MP_ERR_FORMAT: it is neither JSON nor UTF-8. MP_ERR_MEMORY.
 */
enum mp_error format_json_value(const struct record *record, struct buffer *out);

/* A JSON Pointer (RFC 6901) of SIZE bytes, made ready. MP_ERR_INVALID: TEXT is none. MP_ERR_MEMORY. */
struct format_pointer;
enum mp_error format_pointer_parse(const char *text, size_t size, struct format_pointer **pointer, struct fault *fault);
void format_pointer_free(struct format_pointer *pointer);

/*
 * The value that POINTER names in the JSON text of SIZE bytes: a string's characters, or the text of a number or boolean
 * as it stands there, appended to OUT. Of a key that stands twice the last counts, as in most readers. MP_ERR_NOT_FOUND:
 * nothing there, or null. MP_ERR_FORMAT: TEXT is not JSON (with line and column). MP_ERR_INVALID: an object or array is
 * there. MP_ERR_MEMORY.
 */
enum mp_error format_pointer_read(struct format_pointer *pointer, const uint8_t *text, size_t size, struct buffer *out,
                                  struct fault *fault);

/*
 * format_value: what a name stands for in a message, in templates and conditions: id, topic, offset, attempt, time, key
 * (partitionkey), body, size, a JSON Pointer ("/order/id") into a body that is JSON, and any attribute. A message always
 * has an id (that of its origin if no other; a new one that nobody has sent yet has no origin), a time (its frame's), an
 * offset, an attempt, a body and a size.
 */
struct format_value;
/* MP_ERR_INVALID: no name, one with other characters than an attribute's may have, no JSON pointer. MP_ERR_MEMORY. */
enum mp_error format_value_parse(const char *name, size_t size, struct format_value **value, struct fault *fault);
void format_value_free(struct format_value *value);

struct format_text {
    const uint8_t *text; /* NULL: the message has none; also where the body is no JSON, and for JSON's null */
    size_t size;
};

/*
 * Objects and arrays that a pointer names are their text. *TEXT points into ITEM's bytes, or to what was put behind the
 * bytes in SCRATCH; good until either changes. MP_ERR_MEMORY.
 */
enum mp_error format_value_read(struct format_value *value, const struct format_item *item, struct buffer *scratch,
                                struct format_text *text);

#endif
