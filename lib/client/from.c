#include "client/client.h"

#include "base/units.h"

/* Whether TEXT is a decimal number and nothing else. */
static bool is_number(const char *text)
{
    return text[0] != '\0' && text[strspn(text, "0123456789")] == '\0';
}

static bool looks_like_time(const char *text)
{
    return text[0] == '@' || (strspn(text, "0123456789") == 4 && text[4] == '-');
}

enum mp_error client_from(const char *text, int64_t now, enum protocol_from *from, uint64_t *value, struct fault *fault)
{
    int64_t time = 0;
    enum mp_error error = MP_OK;
    *value = 0;
    if (text == NULL || text[0] == '\0') {
        *from = PROTOCOL_FROM_DEFAULT;
    } else if (strcmp(text, "start") == 0) {
        *from = PROTOCOL_FROM_START;
    } else if (strcmp(text, "new") == 0) {
        *from = PROTOCOL_FROM_NEW;
    } else if (is_number(text)) {
        *from = PROTOCOL_FROM_OFFSET;
        error = units_number("an offset", text, 0, UINT64_MAX - 1, value, fault);
    } else if (text[0] == '-' && is_number(text + 1)) {
        *from = PROTOCOL_FROM_LAST;
        error = units_number("a count of messages", text + 1, 0, UINT64_MAX - 1, value, fault);
    } else if (looks_like_time(text)) {
        *from = PROTOCOL_FROM_TIME;
        error = units_time(text, &time, fault);
        *value = time > 0 ? (uint64_t)time : 0;
    } else {
        *from = PROTOCOL_FROM_TIME;
        if (units_duration(text, &time, NULL) != MP_OK) {
            error = fault_set(fault, MP_ERR_INVALID,
                              "'%s' is no place to begin: write start, new, an offset such as 4096, -100 for the last "
                              "hundred, a time such as 2026-11-20T17:00:00Z or @1795194000, or an age such as 5m",
                              text);
        }
        *value = time < now ? (uint64_t)(now - time) : 0;
    }
    return error;
}
