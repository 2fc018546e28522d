/* The life of messages, for programs: an object a line. */
#include "cli/trace_show.h"

#include "message/attributes.h"
#include "message/formats.h"
#include "message/trace.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static json_t *time_of(const struct trace_picture *picture, int64_t time)
{
    return json_integer((json_int_t)trace_log_wall(picture->view->log, time));
}

/* Text of any bytes as JSON has it: what is no UTF-8 is escaped. */
static json_t *text_of(const char *bytes, size_t size)
{
    json_t *text = json_stringn(bytes, size);
    if (text)
        return text;
    struct buffer out = {0};
    if (!format_escape((const uint8_t *)bytes, size, &out))
        text = json_stringn(out.data ? (const char *)out.data : "", out.size);
    buffer_free(&out);
    return text;
}

static void set_value(json_t *object, const char *name, const struct lineage_value *value)
{
    char text[TRACE_ID_TEXT + 1];
    if (value->kind == LINEAGE_EXACT)
        frame_origin_text(value->high, value->low, text);
    else if (value->kind == LINEAGE_HASH)
        snprintf(text, sizeof text, "~%016" PRIx64, value->low);
    else
        return;
    json_object_set_new(object, name, json_string(text));
}

static void set_place(const struct trace_picture *picture, json_t *object, const struct trace_match *match)
{
    char name[TRACE_NAME_TEXT];
    json_object_set_new(object, "topic", json_string(trace_log_topic_name(picture->view->log, match->topic, name)));
    if (!match->scheduled)
        json_object_set_new(object, "offset", json_integer((json_int_t)match->offset));
}

static json_t *attempt_of(const struct trace_picture *picture, const struct trace_attempt *attempt)
{
    const char *consumer = trace_log_session(picture->view->log, attempt->session);
    char session[TRACE_SPAN_TEXT];
    trace_span_write(attempt->session, session);
    json_t *object =
        json_pack("{s:i,s:o,s:o,s:s}", "attempt", (int)attempt->number, "waiting_us", time_of(picture, attempt->from),
                  "leased_us", time_of(picture, attempt->leased), "session", session);
    if (*consumer)
        json_object_set_new(object, "consumer", text_of(consumer, strlen(consumer)));
    if (attempt->due)
        json_object_set_new(object, "due_us", time_of(picture, attempt->due));
    if (attempt->ended) {
        json_object_set_new(object, "ended_us", time_of(picture, attempt->ended));
        json_object_set_new(object, "outcome", json_string(trace_kind_name(attempt->outcome)));
    }
    if (attempt->code >= 0)
        json_object_set_new(object, "exit_code", json_integer(attempt->code));
    if (*attempt->note)
        json_object_set_new(object, "error", text_of(attempt->note, strlen(attempt->note)));
    return object;
}

static json_t *passage_of(struct trace_picture *picture, const struct trace_node *node,
                          const struct trace_passage *passage, enum mp_error *error, struct fault *fault)
{
    char name[TRACE_NAME_TEXT];
    struct buffer words = {0};
    json_t *attempts = json_array();
    for (size_t i = 0; i < passage->attempts_count; i++)
        json_array_append_new(attempts, attempt_of(picture, &passage->attempts[i]));
    json_t *object =
        json_pack("{s:s,s:s,s:o,s:o}", "group", trace_log_group_name(picture->view->log, passage->group, name), "state",
                  trace_state_name(passage), "since_us", time_of(picture, passage->since), "attempts", attempts);
    if (passage->due)
        json_object_set_new(object, "due_us", time_of(picture, passage->due));
    if (*trace_reason_name(passage->reason))
        json_object_set_new(object, "reason", json_string(trace_reason_name(passage->reason)));
    if (passage->damaged)
        json_object_set_new(object, "reason", json_string("damaged"));
    if (!*error && !(*error = trace_wait_words(picture, node, passage, &words, fault)) && words.size > 0)
        json_object_set_new(object, "waits", text_of((const char *)words.data, words.size));
    buffer_free(&words);
    return object;
}

/* What is kept as hashes is told while the message is there. */
static void set_texts(const struct trace_picture *picture, json_t *object, const struct trace_match *match)
{
    static const enum attribute_code codes[] = {ATTRIBUTE_PARTITIONKEY, ATTRIBUTE_CAUSATIONID, ATTRIBUTE_CORRELATIONID};
    static const char *const names[] = {"key", "cause", "correlation"};
    struct trace_message message;
    if (trace_read_message(picture->view->log, match, &message))
        return;
    for (size_t i = 0; i < sizeof codes / sizeof *codes && message.record.attributes_size > 0; i++) {
        struct attribute attribute;
        if (attribute_known(message.record.attributes, message.record.attributes_size, codes[i], &attribute))
            json_object_set_new(object, names[i], text_of(attribute.value, attribute.value_size));
    }
    json_object_set_new(object, "bytes", json_integer((json_int_t)message.record.size));
}

/* What it was made of, where it names no cause. */
static void set_inputs(const struct trace_picture *picture, json_t *object, const struct trace_node *node)
{
    const struct trace_tree *tree = picture->tree;
    size_t inputs[TRACE_KIN_MOST];
    size_t count = trace_tree_made_of(tree, (size_t)(node - tree->nodes), inputs, TRACE_KIN_MOST);
    json_t *list = count > 0 ? json_array() : NULL;
    for (size_t i = 0; i < count && i < TRACE_KIN_MOST; i++) {
        json_t *input = json_object();
        set_place(picture, input, &tree->nodes[inputs[i]].match);
        json_array_append_new(list, input);
    }
    if (list)
        json_object_set_new(object, "made_of", list);
}

static json_t *node_of(struct trace_picture *picture, const struct trace_node *node, enum mp_error *error,
                       struct fault *fault)
{
    const struct trace_match *match = &node->match;
    const char *producer = trace_log_session(picture->view->log, match->session);
    json_t *object = json_object(), *groups = json_array();
    *error = trace_id_text(picture->view->log, match, &picture->text);
    if (!*error && picture->text.size > 0)
        json_object_set_new(object, "id", text_of((const char *)picture->text.data, picture->text.size));
    else
        set_value(object, "id", &match->id);
    set_place(picture, object, match);
    set_value(object, "origin", &match->origin);
    set_value(object, "trace", &match->trace);
    set_value(object, "cause", &match->cause);
    set_texts(picture, object, match);
    json_object_set_new(object, match->scheduled ? "due_us" : "stored_us", time_of(picture, match->time));
    if (match->due)
        json_object_set_new(object, "taken_us", time_of(picture, match->due));
    if (*producer)
        json_object_set_new(object, "producer", text_of(producer, strlen(producer)));
    json_object_set_new(object, "relation", json_string(trace_relation_name(node->relation)));
    json_object_set_new(object, "asked", json_boolean(node->asked));
    if (node->parent != SIZE_MAX) {
        json_t *parent = json_object();
        set_place(picture, parent, &picture->tree->nodes[node->parent].match);
        json_object_set_new(object, "parent", parent);
    }
    set_inputs(picture, object, node);
    for (size_t i = 0; i < node->history.count; i++)
        json_array_append_new(groups, passage_of(picture, node, &node->history.passages[i], error, fault));
    json_object_set_new(object, "groups", groups);
    return object;
}

enum mp_error trace_show_json(struct trace_picture *picture, struct fault *fault)
{
    for (size_t i = 0; i < picture->tree->count; i++) {
        enum mp_error error = MP_OK;
        json_t *object = node_of(picture, &picture->tree->nodes[i], &error, fault);
        char *line = json_dumps(object, JSON_COMPACT);
        json_decref(object);
        if (!error && !(line && !(error = buffer_append_string(&picture->out, line)) &&
                        !(error = buffer_append_string(&picture->out, "\n"))))
            error = fault_memory(fault);
        free(line);
        if (error)
            return error;
    }
    return MP_OK;
}
