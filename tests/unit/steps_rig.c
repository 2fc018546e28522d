#include "steps_rig.h"

#include "message/trace.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

void steps_message(struct steps_message *message, const char *attributes, const char *body)
{
    *message = (struct steps_message){
        .item = {.record = {.body = (const uint8_t *)body, .size = strlen(body), .producer = 0x10, .sequence = 0x20},
                 .topic = "orders.new",
                 .attempt = 2,
                 .time = INT64_C(1795194000000000)}};
    for (const char *at = attributes; at != NULL && *at != '\0';) {
        const size_t size = strcspn(at, " ");
        const char *equal = memchr(at, '=', size);
        char value[1024];
        struct fault fault;
        assert_non_null(equal);
        const size_t value_size = size - (size_t)(equal - at) - 1;
        assert_in_range(value_size, 0, sizeof(value) - 1);
        for (size_t i = 0; i < value_size; i++)
            value[i] = equal[1 + i] == '+' ? ' ' : equal[1 + i];
        if (attributes_set(&message->block, ATTRIBUTE_STRING, at, (size_t)(equal - at), value, value_size, &fault) !=
            MP_OK)
            fail_msg("%s: %s", at, fault.text);
        at += size + (at[size] == ' ');
    }
    message->item.record.attributes = message->block.size > 0 ? message->block.data : NULL;
    message->item.record.attributes_size = message->block.size;
}

void steps_message_free(struct steps_message *message)
{
    buffer_free(&message->block);
}

/* Whether it is the one that follows from the message that the steps were given, where it was given to them. */
static bool is_derived(const struct attribute *attribute, const struct format_item *item)
{
    const struct trace_place place = {.topic = "orders.new", .offset = item->offset, .attempt = 2};
    const struct trace_parent parent = {{0x10, 0x20}, trace_span(0x10, 0x20, &place), 1};
    char text[TRACE_PARENT_TEXT];
    trace_parent_write(&parent, text);
    return attribute->code == ATTRIBUTE_TRACEPARENT && attribute->value_size == strlen(text) &&
           memcmp(attribute->value, text, strlen(text)) == 0;
}

static void put_item(struct buffer *out, const struct format_item *item)
{
    const struct record *record = &item->record;
    struct attribute attribute;
    size_t at = 0;
    const char *between = "";
    assert_int_equal(attributes_check(record->attributes, record->attributes_size, NULL), MP_OK);
    if (record->producer == 0)
        assert_int_equal(buffer_append_string(out, "new "), MP_OK);
    while (attribute_next(record->attributes, record->attributes_size, &at, &attribute)) {
        if (attribute.code == ATTRIBUTE_ORIGIN)
            continue;
        if (is_derived(&attribute, item))
            attribute = (struct attribute){.name = "traceparent", .name_size = 11, .value = "derived", .value_size = 7};
        assert_int_equal(buffer_append_format(out, "%s%.*s=%.*s", between, (int)attribute.name_size, attribute.name,
                                              (int)attribute.value_size, attribute.value),
                         MP_OK);
        between = " ";
    }
    assert_int_equal(buffer_append_format(out, "|%.*s\n", (int)record->size, (const char *)record->body), MP_OK);
}

static enum mp_error emit(void *context, const struct format_item *item)
{
    struct steps_rig *rig = context;
    if (rig->refuse == MP_OK)
        put_item(&rig->out, item);
    return rig->refuse;
}

static enum mp_error window(void *context, const struct stage_window *ended)
{
    struct steps_rig *rig = context;
    if (rig->refuse != MP_OK)
        return rig->refuse;
    assert_true(ended->count > 0);
    for (size_t i = 0; i < ended->count; i++)
        assert_int_equal(buffer_append_format(&rig->out, "%s%" PRIu64, i == 0 ? "window " : ",", ended->tickets[i]),
                         MP_OK);
    assert_int_equal(buffer_append_string(&rig->out, ": "), MP_OK);
    if (ended->item != NULL)
        put_item(&rig->out, ended->item);
    else
        assert_int_equal(buffer_append_format(&rig->out, "%s\n", ended->dead ? ended->result->note : "nothing"), MP_OK);
    return MP_OK;
}

static void write_log(void *context, const struct stage_field *fields, size_t count)
{
    struct steps_rig *rig = context;
    for (size_t i = 0; i < count; i++)
        assert_int_equal(buffer_append_format(&rig->log, "%s%s=%.*s", i == 0 ? "" : " ", fields[i].name,
                                              (int)fields[i].size, fields[i].value),
                         MP_OK);
    assert_int_equal(buffer_append_string(&rig->log, "\n"), MP_OK);
}

void steps_rig_open_within(struct steps_rig *rig, const struct stage_step *all, size_t count,
                           const struct stage_steps_settings *bounds)
{
    struct stage_steps_settings settings = *bounds;
    struct fault fault;
    *rig = (struct steps_rig){.now = 1000000, .wall = INT64_C(1795194000000000), .offset = 1};
    settings.steps = all;
    settings.count = count;
    settings.context = rig;
    settings.emit = emit;
    settings.window = window;
    settings.log = write_log;
    if (stage_steps_open(&settings, &rig->steps, &fault) != MP_OK)
        fail_msg("%s", fault.text);
}

void steps_rig_open(struct steps_rig *rig, const struct stage_step *all, size_t count)
{
    steps_rig_open_within(rig, all, count, &(struct stage_steps_settings){.count = 0});
}

void steps_rig_free(struct steps_rig *rig)
{
    stage_steps_free(rig->steps);
    buffer_free(&rig->out);
    buffer_free(&rig->log);
}

void steps_give_again(struct steps_rig *rig, uint64_t offset, const char *attributes, const char *body,
                      enum stage_verdict verdict)
{
    struct steps_message message;
    steps_message(&message, attributes, body);
    message.item.offset = offset;
    assert_int_equal(
        stage_steps_apply(rig->steps, &message.item, offset, rig->now, rig->wall, &rig->verdict, &rig->result),
        rig->refuse);
    if (rig->refuse == MP_OK)
        assert_int_equal(rig->verdict, verdict);
    steps_message_free(&message);
}

void steps_give(struct steps_rig *rig, const char *attributes, const char *body, enum stage_verdict verdict)
{
    steps_give_again(rig, rig->offset++, attributes, body, verdict);
}

void steps_forget(struct steps_rig *rig, uint64_t offset, const char *attributes, const char *body)
{
    struct steps_message message;
    steps_message(&message, attributes, body);
    message.item.offset = offset;
    stage_steps_forget(rig->steps, &message.item, offset, rig->now);
    steps_message_free(&message);
}

void steps_tick(struct steps_rig *rig)
{
    assert_int_equal(stage_steps_tick(rig->steps, rig->now, rig->wall, false), rig->refuse);
}

void steps_expect(struct steps_rig *rig, const char *out)
{
    assert_int_equal(buffer_append(&rig->out, "", 1), MP_OK);
    assert_string_equal((const char *)rig->out.data, out);
    rig->out.size = 0;
}

void steps_refused(const struct stage_step *all, size_t count, const char *words)
{
    struct stage_steps_settings settings = {.steps = all, .count = count};
    struct stage_steps *steps;
    struct fault fault;
    assert_int_equal(stage_steps_open(&settings, &steps, &fault), MP_ERR_INVALID);
    assert_null(steps);
    assert_string_equal(fault.text, words);
}
