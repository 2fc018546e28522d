/*
 * Formats. The first byte chooses one; the rest is input. What comes out must not depend on where the input was cut
 * into pieces, and what is written as JSON must be read as the same message.
 */
#include "fuzz.h"

#include "message/attributes.h"
#include "message/formats.h"

enum { LIMIT = 200 };

/* Reads all input, given in pieces of STEP bytes, and appends what happened to OUT. */
static void read_in_pieces(enum format format, const uint8_t *data, size_t size, size_t step, struct buffer *out)
{
    struct format_reader reader = {.format = format, .limit = LIMIT};
    struct format_message message;
    struct buffer pending = {0};
    size_t given = 0, used;

    for (;;) {
        /* Exactly what is pending, so that a read past it is seen. */
        uint8_t *exact = fuzz_copy(pending.data, pending.size);
        enum mp_error error = format_read(&reader, exact, pending.size, given == size, &used, &message, NULL);
        MUST(used <= pending.size);
        if (error == MP_OK) {
            MUST(message.size <= LIMIT);
            MUST(message.attributes_size == 0 ||
                 attributes_check(message.attributes, message.attributes_size, NULL) == MP_OK);
            MUST(buffer_append_format(out, "%llu: ", (unsigned long long)reader.number) == MP_OK);
            MUST(buffer_put_u32(out, (uint32_t)message.size) == MP_OK);
            MUST(buffer_append(out, message.body, message.size) == MP_OK);
            MUST(buffer_put_u32(out, (uint32_t)message.attributes_size) == MP_OK);
            MUST(buffer_append(out, message.attributes, message.attributes_size) == MP_OK);
        } else if (error != MP_ERR_AGAIN && error != MP_ERR_CLOSED) {
            MUST(error == MP_ERR_FORMAT || error == MP_ERR_TOO_LARGE);
            MUST(buffer_append_format(out, "error %d\n", (int)error) == MP_OK);
        }
        buffer_consume(&pending, used);
        free(exact);
        if (error == MP_ERR_CLOSED)
            break;
        if (error == MP_ERR_AGAIN) {
            MUST(given < size);
            size_t piece = size - given < step ? size - given : step;
            MUST(buffer_append(&pending, data + given, piece) == MP_OK);
            given += piece;
        }
    }
    MUST(given == size && pending.size == 0);
    format_reader_free(&reader);
    buffer_free(&pending);
}

/* The one line of JSON at LINE as a message; false when it is none. READER keeps the bytes. */
static bool read_line(struct format_reader *reader, const struct buffer *line, struct format_message *message)
{
    size_t used;
    return format_read(reader, line->data, line->size, true, &used, message, NULL) == MP_OK && used == line->size;
}

static void write_line(const struct format_message *message, struct buffer *line)
{
    struct format_item item = {.record = {.body = message->body,
                                          .size = message->size,
                                          .attributes = message->attributes,
                                          .attributes_size = message->attributes_size,
                                          .producer = 1,
                                          .sequence = 2},
                               .topic = "fuzz.json",
                               .offset = 3,
                               .attempt = 1,
                               .time = 1763658000000000};
    MUST(format_write(FORMAT_JSON, &item, line, NULL) == MP_OK);
    MUST(line->size > 0 && memchr(line->data, '\n', line->size) == line->data + line->size - 1);
}

static void round_trip(const uint8_t *data, size_t size)
{
    struct format_reader one = {.format = FORMAT_JSON}, two = {.format = FORMAT_JSON}, three = {.format = FORMAT_JSON};
    struct format_message first, second, third;
    struct buffer line = {0}, again = {0}, last = {0};

    MUST(buffer_append(&line, data, size) == MP_OK);
    if (read_line(&one, &line, &first)) {
        write_line(&first, &again);
        MUST(read_line(&two, &again, &second));
        MUST(first.size == second.size && memcmp(first.body, second.body, first.size) == 0);
        /* The first writing adds what CloudEvents requires; from then on nothing changes. */
        write_line(&second, &last);
        MUST(again.size == last.size && memcmp(again.data, last.data, last.size) == 0);
        MUST(read_line(&three, &last, &third));
    }
    format_reader_free(&one);
    format_reader_free(&two);
    format_reader_free(&three);
    buffer_free(&line);
    buffer_free(&again);
    buffer_free(&last);
}

static void read_pointer(const uint8_t *data, size_t size, const char *words, struct buffer *out)
{
    struct format_pointer *pointer;
    if (format_pointer_parse(words, strlen(words), &pointer, NULL) == MP_OK)
        (void)format_pointer_read(pointer, data, size, out, NULL);
    format_pointer_free(pointer);
}

static void read_texts(const uint8_t *data, size_t size)
{
    static const struct format_item item = {.record = {.body = (const uint8_t *)"body", .size = 4, .producer = 1},
                                            .topic = "a.b"};
    struct format_template *template = NULL;
    struct buffer out = {0};
    char *text = fuzz_string(data, size);

    if (format_template_parse(text, &template, NULL) == MP_OK)
        MUST(format_template_write(template, &item, &out) == MP_OK);
    format_template_free(template);
    out.size = 0;
    MUST(format_escape(data, size, &out) == MP_OK);
    for (size_t i = 0; i < out.size; i++)
        MUST((out.data[i] >= ' ' && out.data[i] != 0x7f) || (out.data[i] == '\n' && i + 1 == out.size));
    out.size = 0;
    read_pointer(data, size, "/data/id", &out);
    read_pointer((const uint8_t *)"{\"a/b\":[1,{\"~\":\"x\"}]}", 23, text, &out);
    buffer_free(&out);
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buffer whole = {0}, pieces = {0};

    if (size == 0)
        return 0;
    enum format format = (enum format)(data[0] % (FORMAT_JSON + 1));
    data++;
    size--;
    read_in_pieces(format, data, size, size + 1, &whole);
    read_in_pieces(format, data, size, 1, &pieces);
    MUST(whole.size == pieces.size && (whole.size == 0 || memcmp(whole.data, pieces.data, whole.size) == 0));
    buffer_free(&whole);
    buffer_free(&pieces);
    if (format == FORMAT_JSON)
        round_trip(data, size);
    read_texts(data, size);
    return 0;
}

bool fuzz_seed(unsigned index, struct buffer *out)
{
    static const struct {
        enum format format;
        const char *text;
        size_t size; /* 0: of the text */
    } seeds[] = {
        {FORMAT_LINES, "one\ntwo\n\nthree", 0},
        {FORMAT_NULL, "one\0two\0\0three", 14},
        {FORMAT_LENGTH, "\0\0\0\3one\0\0\0\0\0\0\0\5three", 20},
        {FORMAT_WHOLE, "all of\nit", 0},
        {FORMAT_JSON,
         "{\"specversion\":\"1.0\",\"id\":\"1\",\"source\":\"/a\",\"type\":\"t\",\"n\":5,\"b\":true,"
         "\"datacontenttype\":\"application/json\",\"data\":{\"id\": 1.50,\"s\":\"\\u00e9\\n\\ud83d\\ude00\"}}\n",
         0},
        {FORMAT_JSON,
         "{\"specversion\":\"1.0\",\"id\":\"1\",\"source\":\"/\",\"type\":\"t\",\"data\":\"text \\t\"}\n\n", 0},
        {FORMAT_JSON,
         "{\"specversion\":\"1.0\",\"id\":\"x\",\"source\":\"/\",\"type\":\"t\",\"data_base64\":\"AAECAw==\"}", 0},
        {FORMAT_LINES, "%{id} %{topic}\\t%{body}%%\\n", 0},
        {FORMAT_LINES, "/a~1b/1/~0", 0},
    };

    if (index >= sizeof seeds / sizeof *seeds)
        return false;
    size_t size = seeds[index].size > 0 ? seeds[index].size : strlen(seeds[index].text);
    MUST(buffer_put_u8(out, (uint8_t)seeds[index].format) == MP_OK);
    MUST(buffer_append(out, seeds[index].text, size) == MP_OK);
    return true;
}
