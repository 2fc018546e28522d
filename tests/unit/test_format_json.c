/* CloudEvents JSON: what is read, what is written, and that the one gives back what the other took. */
#include "message/attributes.h"
#include "message/formats.h"

#include "base/memory.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define PRODUCER UINT64_C(0x0123456789abcdef)
#define SEQUENCE UINT64_C(0x10)
#define TIME INT64_C(1700000000123456) /* 2023-11-14T22:13:20.123456Z */
#define V "{\"specversion\":\"1.0\","

static enum mp_error read_line(struct format_reader *reader, const char *line, struct format_message *message,
                               struct fault *fault)
{
    size_t used;
    *reader = (struct format_reader){.format = FORMAT_JSON};
    const enum mp_error error = format_read(reader, (const uint8_t *)line, strlen(line), true, &used, message, fault);
    assert_int_equal(used, strlen(line));
    return error;
}

static void expect_body(const char *line, const char *body)
{
    struct format_reader reader;
    struct format_message message;
    struct fault fault = {.text = ""};
    if (read_line(&reader, line, &message, &fault) != MP_OK)
        fail_msg("%s: %s", line, fault.text);
    assert_int_equal(message.size, strlen(body));
    assert_memory_equal(message.body, body, message.size);
    format_reader_free(&reader);
}

static void expect_error(const char *line, const char *words)
{
    struct format_reader reader;
    struct format_message message;
    struct fault fault = {.text = ""};
    assert_int_equal(read_line(&reader, line, &message, &fault), MP_ERR_FORMAT);
    assert_string_equal(fault.text, words);
    format_reader_free(&reader);
}

/* Expects that MESSAGE has attribute NAME of this type and value; NULL: that it has none. */
static void expect_attribute(const struct format_message *message, const char *name, enum attribute_code code,
                             const char *value)
{
    struct attribute attribute;
    const bool there = attribute_find(message->attributes, message->attributes_size, name, strlen(name), &attribute);
    assert_int_equal(there, value != NULL);
    if (value == NULL)
        return;
    assert_int_equal(attribute.code, code);
    assert_int_equal(attribute.value_size, strlen(value));
    assert_memory_equal(attribute.value, value, attribute.value_size);
}

static void set(struct buffer *block, enum attribute_code code, const char *name, const char *value)
{
    struct fault fault;
    if (attributes_set(block, code, name, strlen(name), value, strlen(value), &fault) != MP_OK)
        fail_msg("%s: %s", name, fault.text);
}

static struct format_item item_of(const struct buffer *block, const void *body, size_t size)
{
    return (struct format_item){
        .record = {.body = body,
                   .size = size,
                   .attributes = block->data,
                   .attributes_size = block->size,
                   .producer = PRODUCER,
                   .sequence = SEQUENCE},
        .time = TIME,
    };
}

/* Writes ITEM and expects the line. */
static void expect_line(const struct format_item *item, const char *line)
{
    struct buffer out = {0};
    assert_int_equal(format_write(FORMAT_JSON, item, &out, NULL), MP_OK);
    assert_int_equal(buffer_append(&out, "", 1), MP_OK);
    assert_string_equal((const char *)out.data, line);
    buffer_free(&out);
}

/* ---- reading ---------------------------------------------------------------------------------------------------- */

static void data_that_are_no_string_are_the_body_as_they_stand(void **state)
{
    (void)state;
    expect_body(V "\"data\":{ \"b\" : 1.50e+01 , \"a\":[ ],\"b\":2}}", "{ \"b\" : 1.50e+01 , \"a\":[ ],\"b\":2}");
    expect_body(V "\"data\": 0.10 }", "0.10");
    expect_body(V "\"data\":-0}", "-0");
    expect_body(V "\"data\":12345678901234567890123}", "12345678901234567890123");
    expect_body(V "\"data\":true}", "true");
    expect_body(V "\"data\":null}", "null");
    expect_body(V "\"data\":[\"\\ud800\",\"\\u00e9\"]}", "[\"\\ud800\",\"\\u00e9\"]");
    expect_body("  { \"data\" : [1 , 2] , \"specversion\" : \"1.0\" } \r", "[1 , 2]");
}

static void a_string_stands_for_its_characters(void **state)
{
    (void)state;
    expect_body(V "\"data\":\"\"}", "");
    expect_body(V "\"data\":\"plain\"}", "plain");
    expect_body(V "\"data\":\"a\\\"\\\\\\/\\b\\f\\n\\r\\tz\"}", "a\"\\/\b\f\n\r\tz");
    expect_body(V "\"data\":\"\\u00e9\\u20AC\\ud83d\\ude00\"}", "é€😀");
    expect_body(V "\"data\":\"é€😀\"}", "é€😀");
    expect_body(V "\"data\":\"\\\"quoted\\\"\"}", "\"quoted\"");
}

static void the_content_type_says_what_data_are(void **state)
{
    (void)state;
    expect_body(V "\"data\":\"a\\n\",\"datacontenttype\":\"application/json\"}", "\"a\\n\"");
    expect_body(V "\"datacontenttype\":\"application/vnd.x+JSON; charset=utf-8\",\"data\":\"a\"}", "\"a\"");
    expect_body(V "\"datacontenttype\":\"text/plain\",\"data\":\"a\\n\"}", "a\n");
    expect_body(V "\"datacontenttype\":\"text/plain\",\"data\":{\"a\": 1}}", "{\"a\": 1}");
    expect_body(V "\"datacontenttype\":\"application/jsonl\",\"data\":\"a\"}", "a");
}

static void base64_stands_for_bytes(void **state)
{
    (void)state;
    expect_body(V "\"data_base64\":\"\"}", "");
    expect_body(V "\"data_base64\":\"Zg==\"}", "f");
    expect_body(V "\"data_base64\":\"Zm8=\"}", "fo");
    expect_body(V "\"data_base64\":\"Zm9v\"}", "foo");
    expect_body(V "\"data_base64\":\"/+8\\u003d\"}", "\xff\xef");
    expect_body(V "\"data_base64\":\"\\/+8=\"}", "\xff\xef");
    expect_body(V "\"data_base64\":null,\"data\":1}", "1");
}

static void an_event_without_data_has_an_empty_body(void **state)
{
    (void)state;
    expect_body("{\"specversion\":\"1.0\"}", "");
}

static void attributes_keep_their_type(void **state)
{
    (void)state;
    struct format_reader reader;
    struct format_message message;
    assert_int_equal(read_line(&reader,
                               V "\"id\":\"7\",\"source\":\"/shop\",\"type\":\"order.new\",\"subject\":\"\\u00e9\","
                                 "\"time\":\"2026-11-20T17:00:00Z\",\"partitionkey\":\"k\",\"count\":-17,\"big\":"
                                 "2147483647,\"urgent\":true,\"X-User_Name\":\"Ada\",\"s\":\"17\",\"none\":null,"
                                 "\"e\\u0078t\":\"escaped\\u0041\"}",
                               &message, NULL),
                     MP_OK);
    expect_attribute(&message, "id", ATTRIBUTE_ID, "7");
    expect_attribute(&message, "source", ATTRIBUTE_SOURCE, "/shop");
    expect_attribute(&message, "type", ATTRIBUTE_TYPE, "order.new");
    expect_attribute(&message, "subject", ATTRIBUTE_SUBJECT, "é");
    expect_attribute(&message, "time", ATTRIBUTE_TIME, "2026-11-20T17:00:00Z");
    expect_attribute(&message, "partitionkey", ATTRIBUTE_PARTITIONKEY, "k");
    expect_attribute(&message, "count", ATTRIBUTE_INTEGER, "-17");
    expect_attribute(&message, "big", ATTRIBUTE_INTEGER, "2147483647");
    expect_attribute(&message, "urgent", ATTRIBUTE_BOOLEAN, "true");
    expect_attribute(&message, "X-User_Name", ATTRIBUTE_STRING, "Ada");
    expect_attribute(&message, "s", ATTRIBUTE_STRING, "17");
    expect_attribute(&message, "ext", ATTRIBUTE_STRING, "escapedA");
    expect_attribute(&message, "none", ATTRIBUTE_STRING, NULL);
    expect_attribute(&message, "specversion", ATTRIBUTE_STRING, NULL);
    assert_int_equal(attributes_check(message.attributes, message.attributes_size, NULL), MP_OK);
    format_reader_free(&reader);
}

static void what_a_relay_added_is_dropped(void **state)
{
    (void)state;
    struct format_reader reader;
    struct format_message message;
    assert_int_equal(
        read_line(&reader, V "\"msgpipetopic\":\"t\",\"msgpipeoffset\":\"9\",\"msgpipeattempt\":1}", &message, NULL),
        MP_OK);
    assert_null(message.attributes);
    assert_int_equal(message.attributes_size, 0);
    format_reader_free(&reader);
}

static void blank_lines_are_passed_over_and_counted(void **state)
{
    (void)state;
    static const char input[] = "\n  \r\n{\"specversion\":\"1.0\",\"data\":1}\n\n{\n";
    struct format_reader reader = {.format = FORMAT_JSON};
    struct format_message message;
    struct fault fault;
    size_t used;
    assert_int_equal(format_read(&reader, (const uint8_t *)input, sizeof(input) - 1, true, &used, &message, &fault),
                     MP_OK);
    assert_int_equal(reader.number, 3);
    size_t at = used;
    assert_int_equal(
        format_read(&reader, (const uint8_t *)input + at, sizeof(input) - 1 - at, true, &used, &message, &fault),
        MP_ERR_FORMAT);
    assert_string_equal(fault.text, "line 5, column 2: breaks off before a name: an event is one line (`jq -c .` makes "
                                    "one of several)");
    at += used;
    assert_int_equal(at, sizeof(input) - 1);
    format_reader_free(&reader);
}

static void what_is_no_event_names_the_format_for_lines(void **state)
{
    (void)state;
    expect_error("{\"order\":1}", "line 1, column 1: no 'specversion', so this is no CloudEvents 1.0 object: send any "
                                  "JSON with --format lines");
    expect_error("{}", "line 1, column 1: no 'specversion', so this is no CloudEvents 1.0 object: send any JSON with "
                       "--format lines");
    expect_error("hello", "line 1, column 1: this is no CloudEvents object, which begins with '{': send any text with "
                          "--format lines");
    expect_error("[{}]", "line 1, column 1: an array, where a CloudEvents object is expected (`jq -c '.[]'` gives a "
                         "line for each of its objects)");
    expect_error("{\"specversion\":\"0.3\"}", "line 1, column 16: specversion is '0.3': only \"1.0\" is understood");
    expect_error("{\"specversion\":1.0}", "line 1, column 16: specversion is '1.0': only \"1.0\" is understood");
}

static void errors_name_line_and_column(void **state)
{
    (void)state;
    static const struct {
        const char *line;
        const char *words;
    } cases[] = {
        {V "\"a\":tru}", "line 1, column 26: expected a value"},
        {V "\"a\" 1}", "line 1, column 26: expected ':' after a name"},
        {V "\"a\":1 \"b\"}", "line 1, column 28: expected ',' or '}'"},
        {V "a:1}", "line 1, column 22: expected a name in quotes"},
        {V "}", "line 1, column 22: expected a name in quotes"},
        {V "\"a\":\"é\\x\"}", "line 1, column 28: an escape that JSON does not have"},
        {V "\"a\":\"\\u12g4\"}", "line 1, column 27: \\u needs four hex digits"},
        {V "\"a\":\"\t\"}", "line 1, column 27: a control character in a string, which must be escaped"},
        {V "\"a\":\"\xff\"}", "line 1, column 27: a byte that is not UTF-8"},
        {V "\"a\":01}", "line 1, column 26: a number with a leading zero"},
        {V "\"data\":[1,]}", "line 1, column 32: expected a value"},
        {V "\"data\":[1}}", "line 1, column 31: expected ',' or ']'"},
        {V "\"data\":1.}", "line 1, column 31: expected a digit"},
        {V "\"data\":1e}", "line 1, column 31: expected a digit"},
        {V "\"data\":-}", "line 1, column 30: expected a digit"},
        {V "\"data\":\"\\ud800\"}", "line 1, column 30: half of a surrogate pair, which stands for no character"},
        {V "\"data\":\"a\\ud800\\u0041\"}",
         "line 1, column 31: half of a surrogate pair, which stands for no character"},
        {V "\"data\":\"\\udc00\"}", "line 1, column 30: half of a surrogate pair, which stands for no character"},
        {V "\"data\":1}x", "line 1, column 31: there is more behind the event's object: one event a line"},
        {V "\"data\":1,\"data\":2}", "line 1, column 31: 'data' stands here twice"},
        {V "\"data\":1,\"data_base64\":\"\"}", "line 1, column 29: 'data' and 'data_base64': only one of them"},
        {V "\"data_base64\":1}", "line 1, column 36: 'data_base64' must be a string"},
        {V "\"data_base64\":\"Zm8\"}",
         "line 1, column 39: 'data_base64' is not base64 (RFC 4648, section 4, with padding)"},
        {V "\"data_base64\":\"Z m8\"}",
         "line 1, column 38: 'data_base64' is not base64 (RFC 4648, section 4, with padding)"},
        {V "\"data_base64\":\"Zm9=\"}",
         "line 1, column 39: 'data_base64' is not base64 (RFC 4648, section 4, with padding)"},
        {V "\"specversion\":\"1.0\"}", "line 1, column 22: 'specversion' stands here twice"},
        {V "\"id\":\"1\",\"id\":\"2\"}", "line 1, column 31: attribute 'id' stands here twice"},
        {V "\"x\":\"1\",\"x\":2}", "line 1, column 30: attribute 'x' stands here twice"},
        {V "\"id\":7}", "line 1, column 27: attribute 'id' must be a string"},
        {V "\"order\":{\"id\":1}}",
         "line 1, column 30: attribute 'order' is an object: attributes are strings, integers or booleans (the message "
         "itself belongs into 'data')"},
        {V "\"order\":[]}",
         "line 1, column 30: attribute 'order' is an array: attributes are strings, integers or booleans (the message "
         "itself belongs into 'data')"},
        {V "\"n\":1.5}", "line 1, column 26: attribute 'n' is a number that CloudEvents does not have, which knows "
                         "integers from -2147483648 to 2147483647: write it as a string"},
        {V "\"n\":2147483648}", "line 1, column 26: attribute 'n' is a number that CloudEvents does not have, which "
                                "knows integers from -2147483648 to 2147483647: write it as a string"},
        {V "\"a b\":\"\"}", "line 1, column 22: the name of an attribute has 1 to 64 letters, digits, '_' or '-'"},
        {V "\"\":\"\"}", "line 1, column 22: the name of an attribute has 1 to 64 letters, digits, '_' or '-'"},
        {V "\"a\":\"b\\nc\"}",
         "line 1, column 26: attribute 'a': byte 2 of the value is a control character: attributes hold none"},
    };
    for (size_t index = 0; index < sizeof(cases) / sizeof(*cases); index++)
        expect_error(cases[index].line, cases[index].words);
}

static void depth_has_a_limit(void **state)
{
    (void)state;
    for (unsigned depth = 511; depth <= 513; depth++) {
        char line[2 * 513 + 64];
        size_t size = (size_t)snprintf(line, sizeof(line), V "\"data\":");
        memset(line + size, '[', depth);
        memset(line + size + depth, ']', depth);
        memcpy(line + size + 2 * depth, "}", 2);
        struct format_reader reader;
        struct format_message message;
        struct fault fault;
        const enum mp_error error = read_line(&reader, line, &message, &fault);
        assert_int_equal(error, depth <= 512 ? MP_OK : MP_ERR_FORMAT);
        if (error != MP_OK)
            assert_string_equal(fault.text, "line 1, column 541: more than 512 levels");
        format_reader_free(&reader);
    }
}

/* ---- writing ---------------------------------------------------------------------------------------------------- */

static void an_event_has_what_cloudevents_requires(void **state)
{
    (void)state;
    struct buffer none = {0};
    struct format_item item = item_of(&none, "{\"a\":1}", 7);
    expect_line(&item, "{\"specversion\":\"1.0\",\"id\":\"0123456789abcdef0000000000000010\",\"source\":\"/\","
                       "\"type\":\"message\",\"time\":\"2023-11-14T22:13:20.123456Z\",\"data\":{\"a\":1}}\n");
}

static void an_event_from_a_relay_says_where_it_was(void **state)
{
    (void)state;
    struct buffer none = {0};
    struct format_item item = item_of(&none, "text", 4);
    item.topic = "orders.new";
    item.offset = UINT64_MAX;
    item.attempt = 2;
    expect_line(&item,
                "{\"specversion\":\"1.0\",\"id\":\"0123456789abcdef0000000000000010\",\"source\":\"/orders.new\","
                "\"type\":\"message\",\"time\":\"2023-11-14T22:13:20.123456Z\",\"msgpipetopic\":\"orders.new\","
                "\"msgpipeoffset\":\"18446744073709551615\",\"msgpipeattempt\":2,\"data\":\"text\"}\n");
    item.attempt = 0;
    item.record.size = 0;
    expect_line(&item,
                "{\"specversion\":\"1.0\",\"id\":\"0123456789abcdef0000000000000010\",\"source\":\"/orders.new\","
                "\"type\":\"message\",\"time\":\"2023-11-14T22:13:20.123456Z\",\"msgpipetopic\":\"orders.new\","
                "\"msgpipeoffset\":\"18446744073709551615\"}\n");
}

static void attributes_stand_with_their_types(void **state)
{
    (void)state;
    struct buffer block = {0};
    assert_int_equal(attributes_set_origin(&block, 5, 6), MP_OK);
    set(&block, ATTRIBUTE_STRING, "id", "order \"7\"");
    set(&block, ATTRIBUTE_STRING, "source", "/shop");
    set(&block, ATTRIBUTE_STRING, "type", "order.new");
    set(&block, ATTRIBUTE_STRING, "time", "2026-11-20T17:00:00Z");
    set(&block, ATTRIBUTE_STRING, "datacontenttype", "text/plain");
    set(&block, ATTRIBUTE_INTEGER, "count", "-17");
    set(&block, ATTRIBUTE_BOOLEAN, "urgent", "false");
    set(&block, ATTRIBUTE_STRING, "X-Mixed_Case", "back\\slash é");
    set(&block, ATTRIBUTE_STRING, "msgpipetopic", "forged");
    struct format_item item = item_of(&block, "17", 2);
    expect_line(&item,
                "{\"specversion\":\"1.0\",\"id\":\"order \\\"7\\\"\",\"source\":\"/shop\",\"type\":\"order.new\","
                "\"datacontenttype\":\"text/plain\",\"X-Mixed_Case\":\"back\\\\slash é\",\"count\":-17,"
                "\"urgent\":false,\"time\":\"2026-11-20T17:00:00Z\",\"data\":\"17\"}\n");
    buffer_free(&block);
}

static void an_unchecked_block_cannot_break_the_line(void **state)
{
    (void)state;
    /* Entries as attributes.h says, with what attributes_set() never lets in. */
    static const struct {
        uint8_t block[20];
        size_t size;
        const char *part; /* of the line; NULL: it is refused */
    } cases[] = {
        {{ATTRIBUTE_STRING, 6, 0, 4, 'd', 'a', 't', 'a', 'x'}, 9, NULL},
        {{ATTRIBUTE_INTEGER, 6, 0, 1, 'n', '1', ',', '"', 'x'}, 9, ",\"n\":\"1,\\\"x\","},
        {{ATTRIBUTE_INTEGER, 4, 0, 1, 'n', '0', '1'}, 7, ",\"n\":\"01\","},
        {{ATTRIBUTE_BOOLEAN, 5, 0, 1, 'b', 'y', 'e', 's'}, 8, ",\"b\":\"yes\","},
        {{ATTRIBUTE_STRING, 5, 0, 2, 'a', '"', '\n', '\\'}, 8, ",\"a\\\"\":\"\\n\\\\\","},
    };
    for (size_t index = 0; index < sizeof(cases) / sizeof(*cases); index++) {
        const struct buffer block = {.data = (uint8_t *)(uintptr_t)cases[index].block, .size = cases[index].size};
        struct format_item item = item_of(&block, "x", 1);
        struct buffer out = {0};
        struct fault fault = {.text = ""};
        const enum mp_error error = format_write(FORMAT_JSON, &item, &out, &fault);
        if (cases[index].part == NULL) {
            assert_int_equal(error, MP_ERR_FORMAT);
            assert_string_equal(fault.text, "a message has an attribute 'data', which CloudEvents has another use for: "
                                            "take another format than json");
            assert_int_equal(out.size, 0);
        } else {
            assert_int_equal(error, MP_OK);
            assert_int_equal(buffer_append(&out, "", 1), MP_OK);
            assert_non_null(strstr((const char *)out.data, cases[index].part));
        }
        buffer_free(&out);
    }
}

static void data_are_verbatim_text_or_base64(void **state)
{
    (void)state;
    static const struct {
        const char *type;
        const char *body;
        const char *member;
    } cases[] = {
        {NULL, "{ \"b\": 1.0, \"b\" :[] }", "\"data\":{ \"b\": 1.0, \"b\" :[] }}\n"},
        {NULL, "[1]", "\"data\":[1]}\n"},
        {NULL, "-1.50e3", "\"data\":-1.50e3}\n"},
        {NULL, "true", "\"data\":true}\n"},
        {NULL, "null", "\"data\":null}\n"},
        {NULL, "\"quoted\"", "\"data\":\"\\\"quoted\\\"\"}\n"},
        {NULL, " 1", "\"data\":\" 1\"}\n"},
        {NULL, "1 ", "\"data\":\"1 \"}\n"},
        {NULL, "1\n", "\"data\":\"1\\n\"}\n"},
        {NULL, "{\"a\":\n1}", "\"data\":\"{\\\"a\\\":\\n1}\"}\n"},
        {NULL, "{broken", "\"data\":\"{broken\"}\n"},
        {NULL, "truer", "\"data\":\"truer\"}\n"},
        {NULL, "2026-11-20", "\"data\":\"2026-11-20\"}\n"},
        {NULL, "tab\t, bell\a, DEL\x7f, é", "\"data\":\"tab\\t, bell\\u0007, DEL\x7f, é\"}\n"},
        {NULL, "not UTF-8: \xe9", "\"data_base64\":\"bm90IFVURi04OiDp\"}\n"},
        {NULL, "\"\xed\xa0\x80\"", "\"data_base64\":\"Iu2ggCI=\"}\n"},
        {"application/json", "{\"a\":1}", "\"data\":{\"a\":1}}\n"},
        {"application/json", "\"quoted\"", "\"data\":\"quoted\"}\n"},
        {"application/json", "1\n", "\"data_base64\":\"MQo=\"}\n"},
        {"application/json", "{broken", "\"data_base64\":\"e2Jyb2tlbg==\"}\n"},
        {"application/cloudevents+json", "\"x\"", "\"data\":\"x\"}\n"},
        {"text/plain", "{\"a\":1}", "\"data\":\"{\\\"a\\\":1}\"}\n"},
        {"text/plain", "\xff", "\"data_base64\":\"/w==\"}\n"},
    };
    for (size_t index = 0; index < sizeof(cases) / sizeof(*cases); index++) {
        struct buffer block = {0};
        struct buffer out = {0};
        if (cases[index].type != NULL)
            set(&block, ATTRIBUTE_STRING, "datacontenttype", cases[index].type);
        struct format_item item = item_of(&block, cases[index].body, strlen(cases[index].body));
        assert_int_equal(format_write(FORMAT_JSON, &item, &out, NULL), MP_OK);
        assert_int_equal(buffer_append(&out, "", 1), MP_OK);
        const char *data = strstr((const char *)out.data, "\"data");
        if (cases[index].type != NULL)
            data = strstr(data + 1, "\"data"); /* behind "datacontenttype" */
        assert_non_null(data);
        assert_string_equal(data, cases[index].member);
        buffer_free(&out);
        buffer_free(&block);
    }
}

/* ---- there and back --------------------------------------------------------------------------------------------- */

static bool next_attribute(const uint8_t *block, size_t size, size_t *at, struct attribute *attribute)
{
    while (attribute_next(block, size, at, attribute))
        if (attribute->code != ATTRIBUTE_ORIGIN)
            return true;
    return false;
}

/* Writes a message and reads it again; expects its body and each of its attributes. */
static void expect_round_trip(const struct buffer *block, const void *body, size_t size)
{
    struct format_item item = item_of(block, body, size);
    item.topic = "t";
    struct buffer out = {0};
    struct format_reader reader = {.format = FORMAT_JSON};
    struct format_message message;
    struct fault fault = {.text = ""};
    size_t used;
    assert_int_equal(format_write(FORMAT_JSON, &item, &out, NULL), MP_OK);
    if (format_read(&reader, out.data, out.size, false, &used, &message, &fault) != MP_OK)
        fail_msg("%s", fault.text);
    assert_int_equal(used, out.size);
    assert_int_equal(message.size, size);
    assert_memory_equal(message.body, body, size);
    struct attribute sent;
    size_t at = 0;
    while (next_attribute(block->data, block->size, &at, &sent)) {
        struct attribute got;
        assert_true(attribute_find(message.attributes, message.attributes_size, sent.name, sent.name_size, &got));
        assert_int_equal(got.code, sent.code);
        assert_int_equal(got.value_size, sent.value_size);
        assert_memory_equal(got.value, sent.value, sent.value_size);
    }
    format_reader_free(&reader);
    buffer_free(&out);
}

static void every_body_comes_back(void **state)
{
    (void)state;
    static const char *const types[] = {NULL, "application/json", "text/plain", "a/b+json;x=y"};
    static const char *const bodies[] = {
        "",
        "\"\"",
        "\"",
        "{}",
        "[]",
        "[",
        "{\"a\":\"\\ud800\"}",
        "\"\\ud800\"",
        "1",
        "1\n",
        "\n",
        " ",
        "null",
        "nul",
        "é",
        "\xc3",
        "\xff\xfe",
        "\\",
        "\\n",
        "\t\r",
        "-",
        "0.0",
        "1E400",
        "\"a\" ",
        "\"a\"\r",
        "[1]\r",
        "{\"k\":1,\"k\":2}",
        "\xed\xa0\x80",
    };
    for (size_t type = 0; type < sizeof(types) / sizeof(*types); type++) {
        struct buffer block = {0};
        if (types[type] != NULL)
            set(&block, ATTRIBUTE_STRING, "datacontenttype", types[type]);
        for (size_t index = 0; index < sizeof(bodies) / sizeof(*bodies); index++)
            expect_round_trip(&block, bodies[index], strlen(bodies[index]));
        for (unsigned byte = 0; byte < 256; byte++) {
            const uint8_t body[3] = {(uint8_t)byte, 'x', (uint8_t)byte};
            expect_round_trip(&block, body, 1);
            expect_round_trip(&block, body, sizeof(body));
        }
        buffer_free(&block);
    }
}

static void every_attribute_comes_back(void **state)
{
    (void)state;
    struct buffer block = {0};
    assert_int_equal(attributes_set_origin(&block, 5, 6), MP_OK);
    for (enum attribute_code code = ATTRIBUTE_ID; attribute_name(code) != NULL; code++)
        set(&block, code, attribute_name(code),
            code == ATTRIBUTE_TIME || code == ATTRIBUTE_EXPIRYTIME ? "2026-11-20T17:00:00+01:00" : "a \"value\" é");
    set(&block, ATTRIBUTE_INTEGER, "count", "-2147483648");
    set(&block, ATTRIBUTE_INTEGER, "zero", "0");
    set(&block, ATTRIBUTE_BOOLEAN, "yes", "true");
    set(&block, ATTRIBUTE_STRING, "no", "false");
    set(&block, ATTRIBUTE_STRING, "X-Trace_Id", "0017");
    set(&block, ATTRIBUTE_STRING, "empty", "");
    expect_round_trip(&block, "body", 4);
    buffer_free(&block);
}

static void a_message_that_goes_round_stays_the_same(void **state)
{
    (void)state;
    struct buffer none = {0};
    struct buffer line = {0};
    struct buffer again = {0};
    struct format_item item = item_of(&none, "x", 1);
    item.topic = "t";
    item.offset = 7;
    item.attempt = 1;
    assert_int_equal(format_write(FORMAT_JSON, &item, &line, NULL), MP_OK);
    struct format_reader reader = {.format = FORMAT_JSON};
    struct format_message message;
    size_t used;
    assert_int_equal(format_read(&reader, line.data, line.size, true, &used, &message, NULL), MP_OK);
    item.record.attributes = message.attributes;
    item.record.attributes_size = message.attributes_size;
    item.record.producer = 99;
    assert_int_equal(format_write(FORMAT_JSON, &item, &again, NULL), MP_OK);
    assert_int_equal(again.size, line.size);
    assert_memory_equal(again.data, line.data, line.size);
    format_reader_free(&reader);
    buffer_free(&line);
    buffer_free(&again);
}

static void want_of_memory_is_an_error(void **state)
{
    (void)state;
    static const char line[] = V "\"a\":\"\\u0041\",\"data\":\"\\u0041\"}\n";
    struct buffer none = {0};
    struct format_item item = item_of(&none, "\xff", 1);
    for (unsigned long nth = 1;; nth++) {
        struct format_reader reader = {.format = FORMAT_JSON};
        struct format_message message;
        struct buffer out = {0};
        struct fault fault;
        size_t used;
        memory_fail(nth);
        enum mp_error error =
            format_read(&reader, (const uint8_t *)line, sizeof(line) - 1, true, &used, &message, &fault);
        if (error == MP_OK)
            error = format_write(FORMAT_JSON, &item, &out, &fault);
        const bool failed = memory_failed() != 0;
        memory_fail(0);
        assert_int_equal(error, failed ? MP_ERR_MEMORY : MP_OK);
        if (failed)
            assert_int_equal(out.size, 0);
        format_reader_free(&reader);
        buffer_free(&out);
        if (!failed) {
            assert_true(nth > 3);
            break;
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(data_that_are_no_string_are_the_body_as_they_stand),
        cmocka_unit_test(a_string_stands_for_its_characters),
        cmocka_unit_test(the_content_type_says_what_data_are),
        cmocka_unit_test(base64_stands_for_bytes),
        cmocka_unit_test(an_event_without_data_has_an_empty_body),
        cmocka_unit_test(attributes_keep_their_type),
        cmocka_unit_test(what_a_relay_added_is_dropped),
        cmocka_unit_test(blank_lines_are_passed_over_and_counted),
        cmocka_unit_test(what_is_no_event_names_the_format_for_lines),
        cmocka_unit_test(errors_name_line_and_column),
        cmocka_unit_test(depth_has_a_limit),
        cmocka_unit_test(an_event_has_what_cloudevents_requires),
        cmocka_unit_test(an_event_from_a_relay_says_where_it_was),
        cmocka_unit_test(attributes_stand_with_their_types),
        cmocka_unit_test(an_unchecked_block_cannot_break_the_line),
        cmocka_unit_test(data_are_verbatim_text_or_base64),
        cmocka_unit_test(every_body_comes_back),
        cmocka_unit_test(every_attribute_comes_back),
        cmocka_unit_test(a_message_that_goes_round_stays_the_same),
        cmocka_unit_test(want_of_memory_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
