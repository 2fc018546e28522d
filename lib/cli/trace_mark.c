#include "cli/trace_mark.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

void trace_mark_text(const struct trace_position *position, uint64_t count, char text[TRACE_MARK_TEXT])
{
    char place[TRACE_POSITION_TEXT];
    trace_position_text(position, place);
    place[strlen(place) - 1] = '\0'; /* its brace */
    snprintf(text, TRACE_MARK_TEXT, "%c%s,\"count\":%" PRIu64 "}\n", TRACE_MARK, place, count);
}

bool trace_mark_read(const char *text, size_t size, struct trace_position *position, uint64_t *count)
{
    char line[TRACE_MARK_TEXT];
    if (size >= sizeof line)
        return false;
    memcpy(line, text, size);
    line[size] = '\0';
    json_t *said = json_loads(line, 0, NULL);
    json_int_t number = json_integer_value(json_object_get(said, "count"));
    json_decref(said);
    *count = number > 0 ? (uint64_t)number : 0;
    return trace_position_of(line, position, NULL) == MP_OK;
}
