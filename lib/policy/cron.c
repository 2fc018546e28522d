#include "policy/cron.h"

#include "base/clock.h"

#include <limits.h>
#include <string.h>
#include <strings.h>
#include <time.h>

enum { SECOND = 1000000, MINUTE = 60, DAY = 86400, DAYS_SEARCHED = 41 * 366 };

/* ---- reading -------------------------------------------------------------------------------- */

struct field {
    const char *name;
    unsigned low, high;
    const char *const *words; /* for the numbers from `low` on; NULL: none */
    unsigned words_count;
};

static const char *const month_words[] = {"jan", "feb", "mar", "apr", "may", "jun",
                                          "jul", "aug", "sep", "oct", "nov", "dec"};
static const char *const weekday_words[] = {"sun", "mon", "tue", "wed", "thu", "fri", "sat"};

enum { FIELD_MINUTE, FIELD_HOUR, FIELD_DAY, FIELD_MONTH, FIELD_WEEKDAY, FIELDS };

static const struct field fields[FIELDS] = {
    {.name = "minute", .low = 0, .high = 59},
    {.name = "hour", .low = 0, .high = 23},
    {.name = "day of the month", .low = 1, .high = 31},
    {.name = "month", .low = 1, .high = 12, .words = month_words, .words_count = 12},
    {.name = "day of the week", .low = 0, .high = 7, .words = weekday_words, .words_count = 7},
};

/* A field's text while it is read. */
struct parser {
    const struct field *field;
    const char *text;
    size_t size;
    const char *at;
    const char *end;
    struct fault *fault;
};

static enum mp_error wrong(const struct parser *parser, const char *what)
{
    char shown[FAULT_QUOTE];
    return fault_set(parser->fault, MP_ERR_INVALID, "the %s '%s': %s", parser->field->name,
                     fault_quote(shown, parser->text, parser->size), what);
}

static enum mp_error out_of_range(const struct parser *parser)
{
    char shown[FAULT_QUOTE];
    return fault_set(parser->fault, MP_ERR_INVALID, "the %s '%s': numbers go from %u to %u", parser->field->name,
                     fault_quote(shown, parser->text, parser->size), parser->field->low, parser->field->high);
}

static bool is_digit(const struct parser *parser)
{
    return parser->at < parser->end && *parser->at >= '0' && *parser->at <= '9';
}

/* Four digits at most, so that it fits. */
static enum mp_error read_digits(struct parser *parser, unsigned *number)
{
    *number = 0;
    for (unsigned digits = 0; is_digit(parser); digits++) {
        if (digits == 4)
            return out_of_range(parser);
        *number = *number * 10 + (unsigned)(*parser->at++ - '0');
    }
    return MP_OK;
}

static enum mp_error read_number(struct parser *parser, unsigned *number)
{
    const struct field *field = parser->field;
    if (is_digit(parser)) {
        enum mp_error error = read_digits(parser, number);
        return error == MP_OK && (*number < field->low || *number > field->high) ? out_of_range(parser) : error;
    }
    for (unsigned i = 0; i < field->words_count && parser->end - parser->at >= 3; i++) {
        if (strncasecmp(parser->at, field->words[i], 3) == 0) {
            *number = field->low + i;
            parser->at += 3;
            return MP_OK;
        }
    }
    return wrong(parser, field->words != NULL ? "write *, numbers, names such as jan or mon, 1-5, or a list of these"
                                              : "write *, numbers such as 5 or 1-5, */10, or a list of these");
}

/* Takes CHARACTER if it is next. */
static bool take(struct parser *parser, char character)
{
    if (parser->at == parser->end || *parser->at != character)
        return false;
    parser->at++;
    return true;
}

/* An item of a list: its numbers are added to *SET. */
static enum mp_error read_item(struct parser *parser, uint64_t *set)
{
    unsigned low = parser->field->low, high = parser->field->high, step = 1;
    bool range = take(parser, '*');
    enum mp_error error = MP_OK;
    if (!range) {
        error = read_number(parser, &low);
        high = low;
        if (error == MP_OK && take(parser, '-')) {
            range = true;
            error = read_number(parser, &high);
            if (parser->field == &fields[FIELD_WEEKDAY] && high == 0)
                high = 7; /* fri-sun */
        }
    }
    if (error == MP_OK && high < low)
        return wrong(parser, "a range goes from the lower to the higher one");
    if (error == MP_OK && take(parser, '/')) {
        if (!range)
            return wrong(parser, "a step stands behind a range: write 5-59/15 or */15");
        if (!is_digit(parser))
            return wrong(parser, "behind '/' stands a number");
        error = read_digits(parser, &step);
        if (error == MP_OK && step == 0)
            return wrong(parser, "a step is 1 at least");
    }
    for (unsigned number = low; error == MP_OK && number <= high; number += step)
        *set |= UINT64_C(1) << number;
    return error;
}

static enum mp_error read_field(struct parser *parser, uint64_t *set)
{
    enum mp_error error;
    *set = 0;
    do {
        error = read_item(parser, set);
    } while (error == MP_OK && take(parser, ','));
    return error == MP_OK && parser->at != parser->end ? wrong(parser, "it does not end there: see crontab(5)") : error;
}

static const char *meaning(const char *text, struct fault *fault)
{
    static const char *const known[][2] = {
        {"@hourly", "0 * * * *"},  {"@daily", "0 0 * * *"},  {"@midnight", "0 0 * * *"}, {"@weekly", "0 0 * * 0"},
        {"@monthly", "0 0 1 * *"}, {"@yearly", "0 0 1 1 *"}, {"@annually", "0 0 1 1 *"},
    };
    char shown[FAULT_QUOTE];
    for (size_t i = 0; i < sizeof(known) / sizeof(*known); i++)
        if (strcmp(text, known[i][0]) == 0)
            return known[i][1];
    fault_set(fault, MP_ERR_INVALID, "'%s' is none of @hourly, @daily, @weekly, @monthly and @yearly",
              fault_quote(shown, text, strlen(text)));
    return NULL;
}

/* Whether any month of it has one of its days. */
static bool is_possible(const struct cron *cron)
{
    static const unsigned longest[] = {31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    for (unsigned month = 1; month <= 12; month++)
        if ((cron->months >> month & 1) != 0 && (cron->days & ((UINT64_C(2) << longest[month - 1]) - 1)) != 0)
            return true;
    return cron->either;
}

enum mp_error cron_parse(const char *text, struct cron *cron, struct fault *fault)
{
    static const char spaces[] = " \t";
    uint64_t sets[FIELDS];
    bool restricted[FIELDS];
    char shown[FAULT_QUOTE];
    const char *at = text[0] == '@' ? meaning(text, fault) : text;
    if (at == NULL)
        return MP_ERR_INVALID;
    for (unsigned i = 0; i < FIELDS; i++) {
        at += strspn(at, spaces);
        const size_t size = strcspn(at, spaces);
        struct parser parser = {&fields[i], at, size, at, at + size, fault};
        if (size == 0)
            return fault_set(fault, MP_ERR_INVALID,
                             "'%s' has %u of five fields: write minute, hour, day, month and day of the week, such as "
                             "'0 6 * * mon-fri'",
                             fault_quote(shown, text, strlen(text)), i);
        enum mp_error error = read_field(&parser, &sets[i]);
        if (error != MP_OK)
            return error;
        restricted[i] = *at != '*';
        at += size;
    }
    if (at[strspn(at, spaces)] != '\0')
        return fault_set(fault, MP_ERR_INVALID, "'%s' has more than five fields",
                         fault_quote(shown, text, strlen(text)));
    *cron = (struct cron){.minutes = sets[FIELD_MINUTE],
                          .hours = (uint32_t)sets[FIELD_HOUR],
                          .days = (uint32_t)sets[FIELD_DAY],
                          .months = (uint32_t)sets[FIELD_MONTH],
                          .weekdays = (uint32_t)(sets[FIELD_WEEKDAY] | sets[FIELD_WEEKDAY] >> 7) & 0x7f,
                          .either = restricted[FIELD_DAY] && restricted[FIELD_WEEKDAY]};
    if (!is_possible(cron))
        return fault_set(fault, MP_ERR_INVALID, "'%s' never comes: none of its months has such a day",
                         fault_quote(shown, text, strlen(text)));
    return MP_OK;
}

/* ---- the next time -------------------------------------------------------------------------- */

static bool day_matches(const struct cron *cron, const struct tm *day)
{
    const bool by_date = (cron->days >> day->tm_mday & 1) != 0;
    const bool by_weekday = (cron->weekdays >> day->tm_wday & 1) != 0;
    return (cron->months >> (day->tm_mon + 1) & 1) != 0 &&
           (cron->either ? by_date || by_weekday : by_date && by_weekday);
}

/* Local times in their order. */
static int64_t order_of(const struct tm *local)
{
    return ((((int64_t)local->tm_year * 12 + local->tm_mon) * 31 + local->tm_mday) * 24 + local->tm_hour) * 60 +
           local->tm_min;
}

/* The first time behind a gap that WANTED, a local time, falls into; GUESS is a time near it. */
static time_t behind_gap(const struct tm *wanted, time_t guess)
{
    time_t low = guess - 2 * DAY, high = guess + 2 * DAY; /* no clock was ever set by more */
    struct tm local;
    while (high - low > 1) {
        const time_t middle = low + (high - low) / 2;
        if (localtime_r(&middle, &local) == NULL)
            return (time_t)-1;
        if (order_of(&local) >= order_of(wanted))
            high = middle;
        else
            low = middle;
    }
    return high;
}

/*
 * The times at which the clock shows WANTED: *FIRST and *LAST, the same unless it does so twice; what it skips is the
 * time behind the gap. False: there is none.
 */
static bool times_of(const struct tm *wanted, time_t *first, time_t *last)
{
    time_t guess = (time_t)-1;
    bool found = false;
    for (int dst = -1; dst <= 1; dst++) {
        struct tm asked = *wanted, local;
        asked.tm_isdst = dst;
        const time_t time = mktime(&asked);
        if (time == (time_t)-1 || localtime_r(&time, &local) == NULL)
            continue;
        guess = time;
        if (order_of(&local) != order_of(wanted))
            continue;
        *first = !found || time < *first ? time : *first;
        *last = !found || time > *last ? time : *last;
        found = true;
    }
    if (!found && guess != (time_t)-1) {
        *first = *last = behind_gap(wanted, guess);
        found = *first != (time_t)-1;
    }
    return found;
}

/* The first time on the day that DAY is in, from hour FROM on, that is later than AFTER. */
static bool next_on_day(const struct cron *cron, const struct tm *day, int from, time_t after, time_t *next)
{
    const bool each_hour = cron->hours == 0xffffff;
    bool found = false;
    for (int hour = from; hour < 24; hour++) {
        for (int minute = 0; (cron->hours >> hour & 1) != 0 && minute < 60; minute++) {
            struct tm wanted = {.tm_year = day->tm_year,
                                .tm_mon = day->tm_mon,
                                .tm_mday = day->tm_mday,
                                .tm_hour = hour,
                                .tm_min = minute};
            time_t first, last;
            if ((cron->minutes >> minute & 1) == 0 || !times_of(&wanted, &first, &last))
                continue;
            /* In a repeated hour the earliest need not be the first that is found. */
            const time_t time = first > after ? first : each_hour ? last : after;
            if (time > after && (!found || time < *next)) {
                *next = time;
                found = true;
            }
        }
        if (found && (!each_hour || hour > from))
            break;
    }
    return found;
}

int64_t cron_next(const struct cron *cron, int64_t after)
{
    const time_t from = (time_t)(after / SECOND - (after % SECOND < 0));
    struct tm day;
    if (localtime_r(&from, &day) == NULL)
        return CLOCK_NEVER;
    int hour = day.tm_hour;
    for (int i = 0; i < DAYS_SEARCHED; i++, hour = 0) {
        time_t time = 0;
        if (day_matches(cron, &day) && next_on_day(cron, &day, hour, from, &time))
            return (int64_t)time < INT64_MAX / SECOND ? (int64_t)time * SECOND : CLOCK_NEVER;
        /* Noon is on the same day wherever clocks are set. */
        struct tm noon = {.tm_year = day.tm_year, .tm_mon = day.tm_mon, .tm_mday = day.tm_mday + 1, .tm_hour = 12};
        noon.tm_isdst = -1;
        if (mktime(&noon) == (time_t)-1)
            return CLOCK_NEVER;
        day = noon;
    }
    return CLOCK_NEVER;
}
