/*
 * split: a message becomes those that its body holds, by a format or as a JSON array. They are new messages, which
 * inherit of it, and go through the steps that follow one by one. Nothing is emitted before all of them have come
 * through: one that must wait, or dies, makes the whole message wait or die.
 */
#include "stage/steps_private.h"

#include "base/memory.h"
#include "message/json_scan.h"
#include "stage/inherit.h"

enum { PIECES_MAX = FRAME_COUNT_MAX };

/* A piece that came through all steps. */
struct kept {
    const uint8_t *body; /* in the body that was given; NULL: in `bytes` */
    size_t at;           /* where in `bytes` */
    size_t size;
    size_t block; /* where its attributes are in `bytes` */
    size_t block_size;
};

struct state {
    struct buffer own;     /* the attributes of what is split: those of the passage change with the pieces */
    struct buffer block;   /* a piece's */
    struct buffer decoded; /* a JSON string */
    struct buffer kept;    /* struct kept */
    struct buffer bytes;
    uint64_t pieces;
};

static enum mp_error split_open(struct step *step, struct fault *fault)
{
    if (!step->declared->array && step->declared->format == FORMAT_WHOLE)
        return fault_set(fault, MP_ERR_INVALID,
                         "whole takes nothing apart: write lines, null, length, json, or that it is an array");
    step->state = memory_allocate(sizeof(struct state));
    return step->state != NULL ? MP_OK : fault_memory(fault);
}

static void split_close(struct step *step)
{
    struct state *state = step->state;
    buffer_free(&state->own);
    buffer_free(&state->block);
    buffer_free(&state->decoded);
    buffer_free(&state->kept);
    buffer_free(&state->bytes);
    memory_release(state);
}

/* ---- what comes through --------------------------------------------------------------------- */

/* Whether RECORD's body lies in that of the message that was given, and so stays. */
static bool stays(const struct passage *passage, const struct record *record)
{
    const uintptr_t from = (uintptr_t)passage->given->record.body, at = (uintptr_t)record->body;
    return at >= from && at - from <= passage->given->record.size &&
           record->size <= passage->given->record.size - (at - from);
}

/* The attributes, which are often those of the piece before. */
static enum mp_error keep_block(struct state *state, const struct record *record, struct kept *kept)
{
    const size_t count = state->kept.size / sizeof(*kept);
    if (count > 0) {
        const struct kept *last = (const struct kept *)(const void *)state->kept.data + (count - 1);
        if (last->block_size == record->attributes_size &&
            (last->block_size == 0 ||
             memcmp(state->bytes.data + last->block, record->attributes, last->block_size) == 0)) {
            kept->block = last->block;
            kept->block_size = last->block_size;
            return MP_OK;
        }
    }
    kept->block = state->bytes.size;
    kept->block_size = record->attributes_size;
    return buffer_append(&state->bytes, record->attributes, record->attributes_size);
}

static enum mp_error keep(struct passage *passage, const struct format_item *item)
{
    struct state *state = passage->keeper->state;
    const struct record *record = &item->record;
    struct kept kept = {.body = record->body, .size = record->size};
    enum mp_error error = keep_block(state, record, &kept);
    if (error == MP_OK && !stays(passage, record)) {
        kept.body = NULL;
        kept.at = state->bytes.size;
        error = buffer_append(&state->bytes, record->body, record->size);
    }
    return error == MP_OK ? buffer_append(&state->kept, &kept, sizeof(kept)) : error;
}

static enum mp_error give_out(const struct state *state, struct passage *passage)
{
    const struct kept *all = (const struct kept *)(const void *)state->kept.data;
    enum mp_error error = MP_OK;
    for (size_t i = 0; error == MP_OK && i < state->kept.size / sizeof(*all); i++) {
        struct format_item item = passage->item;
        item.record = (struct record){.body = all[i].body != NULL ? all[i].body : state->bytes.data + all[i].at,
                                      .size = all[i].size,
                                      .attributes = state->bytes.data + all[i].block,
                                      .attributes_size = all[i].block_size};
        if (all[i].block_size == 0)
            item.record.attributes = NULL;
        error = passage->out(passage, &item);
    }
    return error;
}

/* ---- taking apart --------------------------------------------------------------------------- */

/* Takes a piece through the steps that follow. Its attributes are in state->block. */
static enum mp_error give_piece(struct step *step, struct passage *passage, const uint8_t *body, size_t size,
                                enum step_next *next)
{
    struct state *state = step->state;
    struct passage piece = *passage;
    if (++state->pieces > PIECES_MAX) {
        *next = passage_dies(passage, PROTOCOL_REASON_OVERFLOW, "split", "more than 65,536 messages are in it");
        return MP_OK;
    }
    piece.piece = passage->piece * (PIECES_MAX + 1) + state->pieces;
    piece.item.record = (struct record){.body = body, .size = size};
    passage_dress(&piece, &state->block);
    piece.keeper = step;
    piece.out = passage->forget ? passage->out : keep;
    return steps_run(&piece, step->index + 1, next);
}

static bool goes_on(enum mp_error error, enum step_next next)
{
    return error == MP_OK && next == STEP_SKIP;
}

static enum mp_error dress(struct state *state, const struct format_item *own, const uint8_t *attributes, size_t size,
                           struct fault *fault)
{
    state->block.size = 0;
    enum mp_error error = buffer_append(&state->block, attributes, size);
    return error == MP_OK ? stage_inherit(own, &state->block, fault) : fault_memory(fault);
}

static enum mp_error by_format(struct step *step, struct passage *passage, const struct format_item *own,
                               enum step_next *next, struct fault *fault)
{
    struct format_reader reader = {.format = step->declared->format};
    const uint8_t *at = own->record.body;
    size_t left = own->record.size;
    enum mp_error error = dress(step->state, own, NULL, 0, fault);
    *next = STEP_SKIP;
    while (goes_on(error, *next)) {
        struct format_message message;
        size_t used;
        error = format_read(&reader, at, left, true, &used, &message, fault);
        if (error == MP_OK && reader.format == FORMAT_JSON)
            error = dress(step->state, own, message.attributes, message.attributes_size, fault);
        if (error == MP_OK)
            error = give_piece(step, passage, message.body, message.size, next);
        if (used > 0)
            at += used;
        left -= used;
    }
    format_reader_free(&reader);
    return error == MP_ERR_CLOSED ? MP_OK : error;
}

/* An element: a string's characters, or the text of another value. */
static enum mp_error give_element(struct step *step, struct passage *passage, const struct json_extent *element,
                                  enum step_next *next)
{
    struct state *state = step->state;
    struct json_scanner scanner = json_scanner(element->text, element->size);
    struct json_extent inside = *element;
    const uint8_t *wrong;
    if (json_scan_kind(&scanner) == SCAN_STRING)
        json_scan_string(&scanner, &inside);
    if (!inside.escaped)
        return give_piece(step, passage, inside.text, inside.size, next);
    state->decoded.size = 0;
    enum mp_error error = json_scan_decode(&inside, &state->decoded, &wrong);
    return error == MP_OK ? give_piece(step, passage, state->decoded.data, state->decoded.size, next) : error;
}

static enum mp_error by_array(struct step *step, struct passage *passage, const struct format_item *own,
                              enum step_next *next, struct fault *fault)
{
    struct json_scanner scanner = json_scanner(own->record.body, own->record.size);
    struct json_extent element;
    enum mp_error error = dress(step->state, own, NULL, 0, fault);
    *next = STEP_SKIP;
    if (error != MP_OK)
        return error;
    json_scan_space(&scanner);
    if (json_scan_kind(&scanner) != SCAN_ARRAY)
        return fault_set(fault, MP_ERR_FORMAT, "the body is no JSON array");
    scanner.at++;
    json_scan_space(&scanner);
    bool more = scanner.at == scanner.end || *scanner.at != ']';
    bool good = true;
    while (more && good && goes_on(error, *next)) {
        good = json_scan_value(&scanner, &element);
        if (good)
            error = give_element(step, passage, &element, next);
        json_scan_space(&scanner);
        more = scanner.at < scanner.end && *scanner.at == ',';
        scanner.at += good && more;
        json_scan_space(&scanner);
    }
    if (error == MP_ERR_FORMAT)
        return fault_set(fault, error, "an element is half of a surrogate pair, which stands for no character");
    if (!goes_on(error, *next))
        return error;
    good = good && json_scan_expect(&scanner, ']');
    json_scan_space(&scanner);
    if (!good || scanner.at != scanner.end)
        return fault_set(fault, MP_ERR_FORMAT, "no JSON array: byte %zu: %s",
                         (size_t)(scanner.at - own->record.body) + 1,
                         good ? "there is more behind it" : scanner.problem);
    return MP_OK;
}

static enum mp_error split_apply(struct step *step, struct passage *passage, enum step_next *next)
{
    struct state *state = step->state;
    struct format_item own = passage->item;
    struct fault fault = {0};
    state->kept.size = state->bytes.size = state->own.size = 0;
    state->pieces = 0;
    enum mp_error error = buffer_append(&state->own, own.record.attributes, own.record.attributes_size);
    if (error != MP_OK)
        return error;
    own.record.attributes = own.record.attributes_size > 0 ? state->own.data : NULL;
    error = step->declared->array ? by_array(step, passage, &own, next, &fault)
                                  : by_format(step, passage, &own, next, &fault);
    if (error == MP_ERR_FORMAT || error == MP_ERR_TOO_LARGE) {
        *next = passage_dies(passage, PROTOCOL_REASON_FORMAT, "split", fault_text(&fault));
        return MP_OK;
    }
    return goes_on(error, *next) ? give_out(state, passage) : error;
}

const struct step_type step_split = {.open = split_open, .close = split_close, .apply = split_apply};
