/* Taking input apart: lines, null, length and whole; limits; input that arrives in pieces. */
#include "message/formats.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

enum { OUTCOMES = 32 };

/* What came of one call, apart from MP_ERR_AGAIN. */
struct outcome {
    enum mp_error error;
    uint64_t number;
    char text[FAULT_TEXT]; /* a body, or the words of an error */
};

struct run {
    struct outcome outcomes[OUTCOMES];
    size_t count;
    size_t kept; /* the most bytes that the caller had to keep */
};

/* Reads SIZE bytes at INPUT as a tool does that gets PIECE bytes at a time. */
static void read_pieces(struct format_reader *reader, const void *input, size_t size, size_t piece, struct run *run)
{
    struct buffer kept = {0};
    size_t given = 0;
    memset(run, 0, sizeof(*run));
    for (;;) {
        const bool end = given == size;
        size_t used = SIZE_MAX;
        struct format_message message = {.size = 0};
        struct fault fault = {.code = MP_OK};
        const enum mp_error error = format_read(reader, kept.data, kept.size, end, &used, &message, &fault);
        assert_true(used <= kept.size);
        if (error == MP_ERR_CLOSED)
            break;
        if (error == MP_ERR_AGAIN) {
            assert_false(end);
            buffer_consume(&kept, used);
            const size_t more = size - given < piece ? size - given : piece;
            assert_int_equal(buffer_append(&kept, (const uint8_t *)input + given, more), MP_OK);
            given += more;
            run->kept = kept.size > run->kept ? kept.size : run->kept;
            continue;
        }
        assert_true(run->count < OUTCOMES);
        struct outcome *outcome = &run->outcomes[run->count++];
        outcome->error = error;
        outcome->number = reader->number;
        if (error == MP_OK)
            snprintf(outcome->text, sizeof(outcome->text), "%.*s", (int)message.size, (const char *)message.body);
        else
            snprintf(outcome->text, sizeof(outcome->text), "%s", fault.text);
        buffer_consume(&kept, used);
    }
    buffer_free(&kept);
    format_reader_free(reader);
}

/* Reads INPUT in pieces of every size and expects the COUNT TEXTS, those of errors with a '!' in front. */
static void expect(enum format format, size_t limit, const void *input, size_t size, const char *const *texts,
                   size_t count)
{
    for (size_t piece = 1; piece <= size + 1; piece++) {
        struct format_reader reader = {.format = format, .limit = limit};
        struct run run;
        read_pieces(&reader, input, size, piece, &run);
        assert_int_equal(run.count, count);
        for (size_t index = 0; index < count; index++) {
            const bool bad = texts[index][0] == '!';
            assert_string_equal(run.outcomes[index].text, texts[index] + bad);
            assert_int_equal(run.outcomes[index].error != MP_OK, bad);
        }
    }
}

#define EXPECT(format, limit, input, ...)                                                                              \
    do {                                                                                                               \
        static const char *const texts[] = {__VA_ARGS__};                                                              \
        expect(format, limit, input, sizeof(input) - 1, texts, sizeof(texts) / sizeof(*texts));                        \
    } while (0)

static void formats_have_names(void **state)
{
    (void)state;
    for (enum format format = FORMAT_LINES; format <= FORMAT_JSON; format++) {
        enum format parsed;
        assert_int_equal(format_parse(format_name(format), &parsed, NULL), MP_OK);
        assert_int_equal(parsed, format);
    }
    enum format format;
    struct fault fault;
    assert_int_equal(format_parse("ndjson", &format, &fault), MP_ERR_INVALID);
    assert_string_equal(fault.text, "'ndjson' is not a format: lines, null, length, whole and json are");
}

static void lines_end_at_newlines(void **state)
{
    (void)state;
    EXPECT(FORMAT_LINES, 0, "one\ntwo\r\n\nfour\n", "one", "two\r", "", "four");
}

static void a_last_line_without_a_newline_counts(void **state)
{
    (void)state;
    EXPECT(FORMAT_LINES, 0, "one\ntwo", "one", "two");
}

static void null_ends_at_nul_bytes(void **state)
{
    (void)state;
    EXPECT(FORMAT_NULL, 0, "a\nb\0\0c", "a\nb", "", "c");
}

static void nothing_is_no_message(void **state)
{
    (void)state;
    static const enum format formats[] = {FORMAT_LINES, FORMAT_NULL, FORMAT_LENGTH, FORMAT_JSON};
    for (size_t index = 0; index < sizeof(formats) / sizeof(*formats); index++)
        expect(formats[index], 0, "", 0, NULL, 0);
}

static void bodies_point_into_the_input(void **state)
{
    (void)state;
    static const uint8_t input[] = "one\ntwo\n";
    struct format_reader reader = {.format = FORMAT_LINES};
    struct format_message message;
    size_t used;
    assert_int_equal(format_read(&reader, input, 8, false, &used, &message, NULL), MP_OK);
    assert_ptr_equal(message.body, input);
    assert_int_equal(message.size, 3);
    assert_null(message.attributes);
    assert_int_equal(used, 4);
    format_reader_free(&reader);
}

static void a_line_is_searched_only_once(void **state)
{
    (void)state;
    static const uint8_t input[] = "a long line";
    struct format_reader reader = {.format = FORMAT_LINES};
    struct format_message message;
    size_t used;
    assert_int_equal(format_read(&reader, input, 6, false, &used, &message, NULL), MP_ERR_AGAIN);
    assert_int_equal(used, 0);
    assert_int_equal(reader.scanned, 6);
    assert_int_equal(format_read(&reader, input, 11, false, &used, &message, NULL), MP_ERR_AGAIN);
    assert_int_equal(reader.scanned, 11);
    format_reader_free(&reader);
}

static void a_line_of_the_limit_passes_and_one_more_byte_does_not(void **state)
{
    (void)state;
    EXPECT(FORMAT_LINES, 4, "1234\n12345\nab\n", "1234", "!line 2 is longer than the limit of 4 bytes", "ab");
    EXPECT(FORMAT_LINES, 4, "1234", "1234");
    EXPECT(FORMAT_LINES, 4, "123456789", "!line 1 is longer than the limit of 4 bytes");
    EXPECT(FORMAT_NULL, 1, "a\0bb\0c\0", "a", "!message 2 is longer than the limit of 1 byte", "c");
}

static void limits_are_said_in_words(void **state)
{
    (void)state;
    static const struct {
        size_t limit;
        const char *words;
    } cases[] = {
        {1024, "line 1 is longer than the limit of 1 KiB (1,024 bytes)"},
        {1024 * 1024, "line 1 is longer than the limit of 1 MiB (1,048,576 bytes)"},
        {1000, "line 1 is longer than the limit of 1,000 bytes"},
    };
    const size_t size = 2 * 1024 * 1024;
    uint8_t *input = malloc(size);
    assert_non_null(input);
    memset(input, 'x', size);
    for (size_t index = 0; index < sizeof(cases) / sizeof(*cases); index++) {
        struct format_reader reader = {.format = FORMAT_LINES, .limit = cases[index].limit};
        struct run run;
        read_pieces(&reader, input, size, 65536, &run);
        assert_int_equal(run.count, 1);
        assert_int_equal(run.outcomes[0].error, MP_ERR_TOO_LARGE);
        assert_string_equal(run.outcomes[0].text, cases[index].words);
    }
    free(input);
}

static void a_line_far_over_the_limit_takes_no_memory(void **state)
{
    (void)state;
    const size_t size = 8 * 1024 * 1024;
    uint8_t *input = malloc(size + 5);
    assert_non_null(input);
    memset(input, 'x', size);
    memcpy(input + size, "\nend\n", 5);
    struct format_reader reader = {.format = FORMAT_LINES, .limit = 1000};
    struct run run;
    read_pieces(&reader, input, size + 5, 4096, &run);
    assert_int_equal(run.count, 2);
    assert_int_equal(run.outcomes[0].error, MP_ERR_TOO_LARGE);
    assert_string_equal(run.outcomes[1].text, "end");
    assert_int_equal(run.outcomes[1].number, 2);
    assert_true(run.kept <= 1000 + 4096);
    free(input);
}

static void lengths_stand_before_bodies(void **state)
{
    (void)state;
    EXPECT(FORMAT_LENGTH, 0, "\0\0\0\3one\0\0\0\0\0\0\0\5a\nb\nc", "one", "", "a\nb\nc");
}

static void a_length_that_breaks_off_is_an_error(void **state)
{
    (void)state;
    EXPECT(FORMAT_LENGTH, 0, "\0\0\0\1x\0\0\0\7one", "x",
           "!message 2 breaks off: its length says 7 bytes, 3 are there");
    EXPECT(FORMAT_LENGTH, 0, "\0\0", "!message 1 breaks off in its length, which takes 4 bytes: 2 are there");
}

static void a_hostile_length_is_passed_over(void **state)
{
    (void)state;
    EXPECT(FORMAT_LENGTH, 3, "\0\0\0\6abcdef\0\0\0\3ghi", "!message 1 is longer than the limit of 3 bytes", "ghi");
    EXPECT(FORMAT_LENGTH, 0, "\xff\xff\xff\xffwhat follows",
           "!message 1 is longer than the limit of 1,073,741,823 bytes");
    EXPECT(FORMAT_LENGTH, 1024, "GET / HTTP/1.1",
           "!message 1 is longer than the limit of 1 KiB (1,024 bytes): its length, 'GET ', says 1,195,725,856 bytes; "
           "does the input have another format?");
}

static void whole_is_one_message(void **state)
{
    (void)state;
    EXPECT(FORMAT_WHOLE, 0, "a\nb\n", "a\nb\n");
    EXPECT(FORMAT_WHOLE, 4, "a\nb\n", "a\nb\n");
    EXPECT(FORMAT_WHOLE, 0, "", "");
    EXPECT(FORMAT_WHOLE, 3, "a\nb\n", "!the input is longer than the limit of 3 bytes");
}

static void a_json_line_has_room_for_escapes(void **state)
{
    (void)state;
    EXPECT(FORMAT_JSON, 4,
           "{\"specversion\":\"1.0\",\"data\":\"\\u0061\\u0062\\u0063\\u0064\"}\n"
           "{\"specversion\":\"1.0\",\"data\":\"abcde\"}\n"
           "{\"specversion\":\"1.0\",\"data_base64\":\"YWJjZGU=\"}",
           "abcd", "!line 2: the data are longer than the limit of 4 bytes",
           "!line 3: the data are longer than the limit of 4 bytes");
}

static void a_json_line_without_end_takes_no_memory(void **state)
{
    (void)state;
    const size_t size = 4 * 1024 * 1024;
    uint8_t *input = malloc(size);
    assert_non_null(input);
    memset(input, '[', size);
    input[size - 1] = '\n';
    struct format_reader reader = {.format = FORMAT_JSON, .limit = 1000};
    struct run run;
    read_pieces(&reader, input, size, 65536, &run);
    assert_int_equal(run.count, 1);
    assert_int_equal(run.outcomes[0].error, MP_ERR_TOO_LARGE);
    assert_true(run.kept <= 6 * 1000 + 1024 * 1024 + 65536);
    free(input);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(formats_have_names),
        cmocka_unit_test(lines_end_at_newlines),
        cmocka_unit_test(a_last_line_without_a_newline_counts),
        cmocka_unit_test(null_ends_at_nul_bytes),
        cmocka_unit_test(nothing_is_no_message),
        cmocka_unit_test(bodies_point_into_the_input),
        cmocka_unit_test(a_line_is_searched_only_once),
        cmocka_unit_test(a_line_of_the_limit_passes_and_one_more_byte_does_not),
        cmocka_unit_test(limits_are_said_in_words),
        cmocka_unit_test(a_line_far_over_the_limit_takes_no_memory),
        cmocka_unit_test(lengths_stand_before_bodies),
        cmocka_unit_test(a_length_that_breaks_off_is_an_error),
        cmocka_unit_test(a_hostile_length_is_passed_over),
        cmocka_unit_test(whole_is_one_message),
        cmocka_unit_test(a_json_line_has_room_for_escapes),
        cmocka_unit_test(a_json_line_without_end_takes_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
