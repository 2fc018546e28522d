/* Dead letters, as they are printed. */
#include "cli/letters.h"

#include "base/units.h"
#include "cli/output.h"
#include "message/attributes.h"
#include "message/names.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* SIZE bytes at TEXT as they may be shown. */
static enum mp_error put(struct letter_printer *printer, const void *text, size_t size)
{
    return printer->terminal ? format_escape(text, size, &printer->text) : buffer_append(&printer->text, text, size);
}

static void age_text(const struct letter_printer *printer, int64_t time, char *text, size_t size)
{
    char age[24];
    if (time <= 0) {
        snprintf(text, size, "-");
        return;
    }
    units_duration_text(printer->now > time ? printer->now - time : 0, age, sizeof(age));
    snprintf(text, size, "%s ago", age);
}

/* "orders.new bill": the topic and the group; "-" when there is none. */
static void from_text(const struct letter *letter, char *text, size_t size)
{
    if (letter->topic_size == 0)
        snprintf(text, size, "-");
    else
        snprintf(text, size, "%.*s%s%.*s", (int)letter->topic_size, letter->topic, letter->group_size ? " " : "",
                 (int)letter->group_size, letter->group ? letter->group : "");
}

/* The last line of a note, in which a newline is a backslash and an n. */
static size_t last_line(const char **note, size_t size)
{
    const char *at = *note;
    for (size_t i = 0; i + 1 < size; i++)
        if (at[i] == '\\') {
            if (at[i + 1] == 'n')
                *note = at + i + 2;
            i++;
        }
    return size - (size_t)(*note - at);
}

/* Cuts the line that begins at START to the terminal's width: `show` has the whole. */
static void cut_line(struct letter_printer *printer, size_t start)
{
    struct buffer *text = &printer->text;
    size_t columns = output_columns(STDOUT_FILENO);
    size_t at = start, shown = 0;
    if (!printer->terminal)
        return;
    while (at < text->size && shown <= columns)
        shown += (text->data[at++] & 0xc0) != 0x80;
    if (shown > columns)
        text->size = at - 1;
}

/* A terminal of 80 columns would show ids, and nothing of what went wrong: then less is said of where it did. */
enum { WIDE = 110 };

static bool is_narrow(const struct letter_printer *printer)
{
    return printer->terminal && output_columns(STDOUT_FILENO) < WIDE;
}

static enum mp_error put_heading(struct letter_printer *printer)
{
    bool bold = output_colour(STDOUT_FILENO);
    enum mp_error error = buffer_append_string(&printer->text, bold ? "\033[1m" : "");
    size_t line = printer->text.size;
    if (!error && is_narrow(printer))
        error = buffer_append_format(&printer->text, "%-32s  %-10s  %5s  %s", "ID", "DIED", "TRIES", "WHY");
    else if (!error)
        error = buffer_append_format(&printer->text, "%-32s  %-10s  %-18s  %-8s  %5s  %4s  %s", "ID", "DIED", "FROM",
                                     "REASON", "TRIES", "CODE", "ERROR");
    cut_line(printer, line);
    return error ? error : buffer_append_string(&printer->text, bold ? "\033[0m\n" : "\n");
}

/* What a narrow line says of the letter, up to the words of the error. */
static enum mp_error put_narrow(struct letter_printer *printer, const struct letter *letter, const struct buffer *id,
                                const char *died, const char *tries, bool words)
{
    char code[24] = "";
    if (letter->code >= 0)
        snprintf(code, sizeof(code), ", exit %" PRId32, letter->code);
    return buffer_append_format(&printer->text, "%-32.*s  %-10s  %5s  %.*s%s%s", (int)id->size,
                                id->data ? (const char *)id->data : "", died, tries, (int)letter->reason_size,
                                letter->reason_size ? letter->reason : "", code, words ? ": " : "");
}

/* A line of the list: columns on a terminal, else tabs between them. */
static enum mp_error put_line(struct letter_printer *printer, const struct letter_entry *entry)
{
    const struct letter *letter = &entry->letter;
    char died[32];
    char from[2 * NAME_MAX_BYTES + 2];
    char tries[16] = "-";
    char code[16] = "-";
    struct buffer id = {0};
    age_text(printer, letter->last, died, sizeof(died));
    from_text(letter, from, sizeof(from));
    if (letter->attempts)
        snprintf(tries, sizeof(tries), "%" PRIu32, letter->attempts);
    if (letter->code >= 0)
        snprintf(code, sizeof(code), "%" PRId32, letter->code);
    enum mp_error error = format_escape((const uint8_t *)entry->id, entry->id_size, &id);
    const char *note = letter->error;
    size_t note_size = last_line(&note, letter->error_size);
    size_t line = printer->text.size;
    if (!error && is_narrow(printer))
        error = put_narrow(printer, letter, &id, died, tries, note_size > 0);
    else if (!error)
        error = buffer_append_format(&printer->text,
                                     printer->terminal ? "%-32.*s  %-10s  %-18s  %-8.*s  %5s  %4s  "
                                                       : "%.*s\t%s\t%s\t%.*s\t%s\t%s\t",
                                     (int)id.size, id.data ? (char *)id.data : "", died, from, (int)letter->reason_size,
                                     letter->reason_size ? letter->reason : "", tries, code);
    buffer_free(&id);
    if (!error)
        error = put(printer, note, note_size);
    cut_line(printer, line);
    return error ? error : buffer_append(&printer->text, "\n", 1);
}

/* ---- all that is known ---------------------------------------------------------------------------------------- */

/* "first      2026-11-20T17:00:00Z (5 min ago)", without the end of the line. */
static enum mp_error put_time(struct letter_printer *printer, const char *name, int64_t time)
{
    char text[UNITS_TIME_TEXT];
    char age[32];
    units_time_text(time, text);
    age_text(printer, time, age, sizeof(age));
    return buffer_append_format(&printer->text, "%-15s %s (%s)", name, text, age);
}

/* What is known of its attempts: the first and the last. */
static enum mp_error put_history(struct letter_printer *printer, const struct letter *letter)
{
    struct buffer *text = &printer->text;
    enum mp_error error = MP_OK;
    char later[40] = "";
    char time[24];
    bool several = letter->first > 0 && letter->attempts > 1;
    if (several) {
        error = put_time(printer, "first", letter->first);
        if (!error)
            error = buffer_append_string(text, ": attempt 1 failed\n");
    }
    if (error || letter->last <= 0)
        return error;
    if (several && letter->last > letter->first) {
        units_duration_text(letter->last - letter->first, time, sizeof(time));
        snprintf(later, sizeof(later), ", %s later", time);
    }
    error = put_time(printer, "last", letter->last);
    if (!error && letter->attempts)
        error = buffer_append_format(text, ": attempt %" PRIu32 " failed%s", letter->attempts, later);
    return error ? error : buffer_append_string(text, "\n");
}

static enum mp_error put_death(struct letter_printer *printer, const struct letter *letter)
{
    struct buffer *text = &printer->text;
    enum mp_error error = MP_OK;
    if (letter->topic_size)
        error = buffer_append_format(text, "%-15s %.*s, offset %" PRIu64 "\n", "from", (int)letter->topic_size,
                                     letter->topic, letter->offset);
    if (!error && letter->group_size)
        error = buffer_append_format(text, "%-15s %.*s\n", "group", (int)letter->group_size, letter->group);
    if (!error && letter->reason_size)
        error = buffer_append_format(text, "%-15s %.*s\n", "reason", (int)letter->reason_size, letter->reason);
    if (!error && letter->attempts)
        error = buffer_append_format(text, "%-15s %" PRIu32 "\n", "attempts", letter->attempts);
    if (!error && letter->code >= 0)
        error = buffer_append_format(text, "%-15s %" PRId32 "\n", "exit code", letter->code);
    return error ? error : put_history(printer, letter);
}

static enum mp_error put_attributes(struct letter_printer *printer, const struct record *record)
{
    struct attribute attribute;
    size_t at = 0;
    enum mp_error error = MP_OK;
    while (!error && attribute_next(record->attributes, record->attributes_size, &at, &attribute)) {
        if (attribute.code == ATTRIBUTE_ORIGIN || attribute.code == ATTRIBUTE_ID || attribute_of_letter(&attribute))
            continue;
        error = buffer_append_format(&printer->text, "%-15.*s ", (int)attribute.name_size, attribute.name);
        if (!error)
            error = put(printer, attribute.value, attribute.value_size);
        if (!error)
            error = buffer_append(&printer->text, "\n", 1);
    }
    return error;
}

/* Lines, each set in by two spaces. */
static enum mp_error put_lines(struct letter_printer *printer, const uint8_t *lines, size_t size)
{
    enum mp_error error = MP_OK;
    while (!error && size) {
        const uint8_t *end = memchr(lines, '\n', size);
        size_t length = end ? (size_t)(end - lines) : size;
        error = buffer_append(&printer->text, "  ", 2);
        if (!error)
            error = put(printer, lines, length);
        if (!error)
            error = buffer_append(&printer->text, "\n", 1);
        lines += length + (end != NULL);
        size -= length + (end != NULL);
    }
    return error;
}

static enum mp_error put_details(struct letter_printer *printer, const struct letter_entry *entry)
{
    struct buffer *text = &printer->text;
    const struct record *record = &entry->item.record;
    struct buffer note = {0};
    char size_text[24];
    enum mp_error error = buffer_append_format(text, "%s%-15s ", printer->printed ? "\n" : "", "id");
    if (!error)
        error = put(printer, entry->id, entry->id_size);
    if (!error)
        error = buffer_append(text, "\n", 1);
    if (!error && entry->id != entry->id_text && record->producer) {
        char origin[FRAME_ID_TEXT];
        frame_origin_text(record->producer, record->sequence, origin);
        error = buffer_append_format(text, "%-15s %s\n", "origin", origin);
    }
    if (!error && entry->item.topic && *entry->item.topic)
        error = buffer_append_format(text, "%-15s %s, offset %" PRIu64 "\n", "lies in", entry->item.topic,
                                     entry->item.offset);
    if (!error)
        error = put_death(printer, &entry->letter);
    if (!error)
        error = put_attributes(printer, record);
    if (!error)
        error = letter_note_read(entry->letter.error, entry->letter.error_size, &note);
    if (!error && note.size)
        error = buffer_append_string(text, "stderr\n");
    if (!error)
        error = put_lines(printer, note.data, note.size);
    buffer_free(&note);
    units_size_text(record->size, size_text, sizeof(size_text));
    if (!error)
        error = buffer_append_format(text, "body, %s\n", size_text);
    return error ? error : put_lines(printer, record->body, record->size);
}

enum mp_error letter_print(struct letter_printer *printer, const struct letter_entry *entry, struct fault *fault)
{
    enum mp_error error = MP_OK;
    printer->text.size = 0;
    if (printer->json)
        error = format_write(FORMAT_JSON, &entry->item, &printer->text, fault);
    else if (printer->details)
        error = put_details(printer, entry);
    else if (printer->printed == 0 && printer->terminal)
        error = put_heading(printer);
    if (!error && !printer->json && !printer->details)
        error = put_line(printer, entry);
    if (error)
        return error == MP_ERR_MEMORY ? fault_memory(fault) : error;
    printer->printed++;
    return output_write(STDOUT_FILENO, printer->text.data, printer->text.size, fault);
}
