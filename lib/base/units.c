#include "base/units.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define MILLION ((uint64_t)1000000)
#define SECOND ((int64_t)1000000)
#define DAY (86400 * SECOND)

/* ---- numbers -------------------------------------------------------------------------------- */

/* A number with a fraction, as it was written: digits past the sixth behind the point are dropped. */
struct decimal {
    uint64_t whole;
    uint64_t millionths;
};

static bool is_digit(char character)
{
    return character >= '0' && character <= '9';
}

/* Reads digits at *TEXT and moves behind them; false when there are none or they overflow. */
static bool read_digits(const char **text, uint64_t *value)
{
    const char *at = *text;

    *value = 0;
    for (; is_digit(*at); at++)
        if (__builtin_mul_overflow(*value, (uint64_t)10, value) ||
            __builtin_add_overflow(*value, (uint64_t)(*at - '0'), value))
            return false;
    bool some = at > *text;
    *text = at;
    return some;
}

/* Reads the digits of a fraction at *TEXT. */
static bool read_fraction(const char **text, uint64_t *millionths)
{
    const char *at = *text;
    uint64_t scale = MILLION / 10;

    *millionths = 0;
    for (; is_digit(*at); at++, scale /= 10)
        *millionths += scale * (uint64_t)(*at - '0');
    bool some = at > *text;
    *text = at;
    return some;
}

static bool read_decimal(const char **text, struct decimal *decimal)
{
    *decimal = (struct decimal){0};
    if (!read_digits(text, &decimal->whole))
        return false;
    if (**text != '.')
        return true;
    ++*text;
    return read_fraction(text, &decimal->millionths);
}

/* NUMBER times UNIT, at most LIMIT. UNIT is at most 2^40, so the fraction's product fits. */
static bool scale_decimal(const struct decimal *number, uint64_t unit, uint64_t limit, uint64_t *value)
{
    return !__builtin_mul_overflow(number->whole, unit, value) &&
           !__builtin_add_overflow(*value, number->millionths * unit / MILLION, value) && *value <= limit;
}

struct unit {
    const char *name;
    uint64_t factor;
};

static bool same_letters(const char *text, const char *name, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        char letter = text[i];
        if (letter >= 'A' && letter <= 'Z')
            letter = (char)(letter - 'A' + 'a');
        if (letter != name[i])
            return false;
    }
    return name[size] == '\0';
}

static enum mp_error refuse(struct fault *fault, const char *text, const char *what)
{
    char shown[FAULT_QUOTE];

    return fault_set(fault, MP_ERR_INVALID, "'%s' %s", fault_quote(shown, text, strlen(text)), what);
}

/* ---- durations, sizes, rates ---------------------------------------------------------------- */

static const struct unit duration_units[] = {
    {"us", 1},
    {"µs", 1},
    {"ms", 1000},
    {"s", 1000000},
    {"m", 60 * MILLION},
    {"h", 3600 * MILLION},
    {"d", 86400 * MILLION},
};

/* The unit that stands at *TEXT, which moves behind it; 0 when there is none. */
static uint64_t read_duration_unit(const char **text)
{
    size_t length = 0;

    while ((*text)[length] != '\0' && !is_digit((*text)[length]))
        length++;
    for (size_t i = 0; i < sizeof duration_units / sizeof *duration_units; i++) {
        const struct unit *unit = &duration_units[i];
        if (strlen(unit->name) == length && memcmp(*text, unit->name, length) == 0) {
            *text += length;
            return unit->factor;
        }
    }
    return 0;
}

enum mp_error units_duration(const char *text, int64_t *microseconds, struct fault *fault)
{
    static const char wrong[] = "is not a duration: write 500ms, 5s, 1m, 2h or 7d";
    static const char large[] = "is too long a duration: at most 36525d";
    const uint64_t limit = (uint64_t)UNITS_DURATION_MAX;
    const char *at = text;
    uint64_t sum = 0, last = UINT64_MAX;

    do {
        struct decimal number;
        uint64_t value;
        const char *start = at;
        if (!read_decimal(&at, &number))
            return refuse(fault, text, is_digit(*start) && is_digit(*at) ? large : wrong);
        bool bare = start == text && *at == '\0';
        uint64_t unit = bare ? MILLION : read_duration_unit(&at);
        if (unit == 0 || unit >= last) /* 1h30m, but not 30m1h */
            return refuse(fault, text, wrong);
        last = unit;
        if (!scale_decimal(&number, unit, limit, &value) || value > limit - sum)
            return refuse(fault, text, large);
        sum += value;
    } while (*at != '\0');
    *microseconds = (int64_t)sum;
    return MP_OK;
}

static const struct unit size_units[] = {
    {"", 1},
    {"b", 1},
    {"k", (uint64_t)1 << 10},
    {"kib", (uint64_t)1 << 10},
    {"kb", 1000},
    {"m", (uint64_t)1 << 20},
    {"mib", (uint64_t)1 << 20},
    {"mb", 1000 * 1000},
    {"g", (uint64_t)1 << 30},
    {"gib", (uint64_t)1 << 30},
    {"gb", 1000 * 1000 * 1000},
    {"t", (uint64_t)1 << 40},
    {"tib", (uint64_t)1 << 40},
    {"tb", (uint64_t)1000 * 1000 * 1000 * 1000},
};

enum mp_error units_size(const char *text, uint64_t *bytes, struct fault *fault)
{
    static const char wrong[] = "is not a size: write 512, 64KiB, 1MiB or 1GiB";
    static const char large[] = "is too large a size";
    const char *at = text;
    struct decimal number;

    if (!read_decimal(&at, &number))
        return refuse(fault, text, is_digit(*text) && is_digit(*at) ? large : wrong);
    for (size_t i = 0; i < sizeof size_units / sizeof *size_units; i++) {
        if (!same_letters(at, size_units[i].name, strlen(at)))
            continue;
        if (!scale_decimal(&number, size_units[i].factor, INT64_MAX, bytes))
            return refuse(fault, text, large);
        return MP_OK;
    }
    return refuse(fault, text, wrong);
}

enum mp_error units_number(const char *name, const char *text, uint64_t low, uint64_t high, uint64_t *value,
                           struct fault *fault)
{
    const char *at = text;
    uint64_t number;

    if (read_digits(&at, &number) && *at == '\0' && number >= low && number <= high) {
        *value = number;
        return MP_OK;
    }
    char shown[FAULT_QUOTE];
    fault_quote(shown, text, strlen(text));
    if (high == UINT64_MAX)
        return fault_set(fault, MP_ERR_INVALID, "%s wants a whole number, %" PRIu64 " or more, not '%s'", name, low,
                         shown);
    return fault_set(fault, MP_ERR_INVALID, "%s wants a whole number from %" PRIu64 " to %" PRIu64 ", not '%s'", name,
                     low, high, shown);
}

enum mp_error units_share(const char *text, double *share, struct fault *fault)
{
    uint32_t whole = 0, millionths = 0, scale = 100000, digits = 0;
    const char *at = text;
    for (; *at >= '0' && *at <= '9' && whole <= 1; at++, digits++)
        whole = whole * 10 + (uint32_t)(*at - '0');
    if (*at == '.')
        for (at++; *at >= '0' && *at <= '9'; at++, digits++, scale /= 10)
            millionths += scale * (uint32_t)(*at - '0');
    if (*at != '\0' || digits == 0 || whole > 1 || (whole == 1 && millionths > 0))
        return fault_set(fault, MP_ERR_INVALID, "'%s' is no share: write a number from 0 to 1, as 0.2", text);
    *share = whole + (double)millionths / 1e6;
    return MP_OK;
}

enum mp_error units_rate(const char *text, double *per_second, struct fault *fault)
{
    static const char wrong[] = "is not a rate: write 500/s, 30/m or 7200/h";
    static const char limits[] = "is no possible rate: more than 0, and at most 1000000000/s";
    const char *at = text;
    struct decimal number;
    double seconds;

    if (!read_decimal(&at, &number))
        return refuse(fault, text, is_digit(*text) && is_digit(*at) ? limits : wrong);
    if (strcmp(at, "/s") == 0)
        seconds = 1;
    else if (strcmp(at, "/m") == 0)
        seconds = 60;
    else if (strcmp(at, "/h") == 0)
        seconds = 3600;
    else if (strcmp(at, "/d") == 0)
        seconds = 86400;
    else
        return refuse(fault, text, wrong);
    double rate = ((double)number.whole + (double)number.millionths / 1e6) / seconds;
    if (rate <= 0 || rate > 1e9)
        return refuse(fault, text, limits);
    *per_second = rate;
    return MP_OK;
}

/* ---- times ---------------------------------------------------------------------------------- */

/* Days from 1970-01-01 to a day of the Gregorian calendar, years 0 to 9999. */
static int64_t days_of(int64_t year, int64_t month, int64_t day)
{
    /* The year begins in March, so that the leap day is its last. 719468: days from 0000-03-01 to 1970-01-01. */
    year -= month <= 2;
    int64_t era = (year >= 0 ? year : year - 399) / 400;
    int64_t of_era = year - era * 400;
    int64_t of_year = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;
    return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

static void date_of(int64_t days, int *year, int *month, int *day)
{
    days += 719468;
    int64_t era = (days >= 0 ? days : days - 146096) / 146097;
    int64_t of_era = days - era * 146097;
    int64_t years = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    int64_t of_year = of_era - (365 * years + years / 4 - years / 100);
    int64_t march_month = (5 * of_year + 2) / 153;
    *day = (int)(of_year - (153 * march_month + 2) / 5 + 1);
    *month = (int)(march_month < 10 ? march_month + 3 : march_month - 9);
    *year = (int)(years + era * 400 + (*month <= 2));
}

static int days_in_month(int year, int month)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;

    return month == 2 && leap ? 29 : days[month - 1];
}

/* Reads exactly WIDTH digits, with a value from LOW to HIGH, and the character AFTER (or none when it is 0). */
static bool read_field(const char **text, int width, int low, int high, char after, int *value)
{
    *value = 0;
    for (int i = 0; i < width; i++, ++*text) {
        if (!is_digit(**text))
            return false;
        *value = *value * 10 + (**text - '0');
    }
    if (*value < low || *value > high)
        return false;
    if (after == '\0')
        return true;
    char found = **text >= 'a' && **text <= 'z' ? (char)(**text - 'a' + 'A') : **text;
    if (found != after)
        return false;
    ++*text;
    return true;
}

/* "Z", "+01:00" or "-01:00", and nothing behind it: seconds east of UTC. */
static bool read_offset(const char *text, int *seconds)
{
    int hours, minutes;
    char sign = *text;

    *seconds = 0;
    if (sign == 'Z' || sign == 'z')
        return text[1] == '\0';
    if (sign != '+' && sign != '-')
        return false;
    text++;
    if (!read_field(&text, 2, 0, 23, ':', &hours) || !read_field(&text, 2, 0, 59, '\0', &minutes))
        return false;
    *seconds = (hours * 60 + minutes) * (sign == '-' ? -60 : 60);
    return *text == '\0';
}

/* RFC 3339, section 5.6. */
static bool read_rfc3339(const char *text, int64_t *microseconds)
{
    int year, month, day, hour, minute, second, offset;
    uint64_t fraction = 0;

    if (!read_field(&text, 4, 0, 9999, '-', &year) || !read_field(&text, 2, 1, 12, '-', &month) ||
        !read_field(&text, 2, 1, days_in_month(year, month), 'T', &day) || !read_field(&text, 2, 0, 23, ':', &hour) ||
        !read_field(&text, 2, 0, 59, ':', &minute) || !read_field(&text, 2, 0, 60, '\0', &second))
        return false;
    if (*text == '.') {
        text++;
        if (!read_fraction(&text, &fraction))
            return false;
    }
    if (!read_offset(text, &offset))
        return false;
    int64_t seconds = hour * 3600 + minute * 60 + second - offset;
    *microseconds = days_of(year, month, day) * DAY + seconds * SECOND + (int64_t)fraction;
    return true;
}

enum mp_error units_time(const char *text, int64_t *microseconds, struct fault *fault)
{
    if (*text == '@') {
        const char *at = text + 1;
        struct decimal number;
        uint64_t value;
        if (!read_decimal(&at, &number) || *at != '\0' || !scale_decimal(&number, MILLION, INT64_MAX, &value))
            return refuse(fault, text, "is not a time: after @ stand the seconds since 1970, as in @1795194000");
        *microseconds = (int64_t)value;
        return MP_OK;
    }
    if (!read_rfc3339(text, microseconds))
        return refuse(fault, text, "is not a time: write 2026-11-20T17:00:00Z, or @1795194000");
    return MP_OK;
}

void units_time_text(int64_t time, char text[UNITS_TIME_TEXT])
{
    const int64_t first = days_of(0, 1, 1) * DAY, last = days_of(9999, 12, 31) * DAY + DAY - 1;
    int year, month, day;

    if (time < first)
        time = first;
    if (time > last)
        time = last;
    int64_t days = time / DAY - (time % DAY < 0);
    uint64_t rest = (uint64_t)(time - days * DAY);
    unsigned seconds = (unsigned)(rest / MILLION);
    date_of(days, &year, &month, &day);
    snprintf(text, UNITS_TIME_TEXT, "%04u-%02u-%02uT%02u:%02u:%02u.%06uZ", (unsigned)year % 10000,
             (unsigned)month % 100, (unsigned)day % 100, seconds / 3600 % 24, seconds / 60 % 60, seconds % 60,
             (unsigned)(rest % MILLION));
}

/* ---- for people ----------------------------------------------------------------------------- */

/*
 * VALUE in the largest of COUNT units (the first is 1) that leaves 1 or more when rounded, with one decimal under 10:
 * "1.5 GiB", and "1.0 MiB" for 1023.9 KiB.
 */
static void write_scaled(uint64_t value, const struct unit *units, size_t count, char *text, size_t size)
{
    size_t i = 0;

    while (i + 1 < count && (value / units[i].factor >= units[i + 1].factor / units[i].factor ||
                             value + units[i].factor / 2 >= units[i + 1].factor))
        i++;
    double number = (double)value / (double)units[i].factor;
    const char *space = *units[i].name != '\0' ? " " : "";
    uint64_t tenths = (uint64_t)(number * 10 + 0.5);
    if (i > 0 && tenths < 100)
        snprintf(text, size, "%" PRIu64 ".%" PRIu64 "%s%s", tenths / 10, tenths % 10, space, units[i].name);
    else
        snprintf(text, size, "%" PRIu64 "%s%s", (uint64_t)(number + 0.5), space, units[i].name);
}

void units_size_text(uint64_t bytes, char *text, size_t size)
{
    static const struct unit units[] = {
        {"B", 1},
        {"KiB", (uint64_t)1 << 10},
        {"MiB", (uint64_t)1 << 20},
        {"GiB", (uint64_t)1 << 30},
        {"TiB", (uint64_t)1 << 40},
    };

    write_scaled(bytes, units, sizeof units / sizeof *units, text, size);
}

void units_count_text(uint64_t count, char *text, size_t size)
{
    static const struct unit units[] = {
        {"", 1}, {"k", 1000}, {"M", MILLION}, {"G", 1000 * MILLION}, {"T", MILLION * MILLION},
    };

    write_scaled(count, units, sizeof units / sizeof *units, text, size);
}

void units_duration_text(int64_t microseconds, char *text, size_t size)
{
    static const struct unit units[] = {{"µs", 1}, {"ms", 1000}, {"s", 1000000}};
    uint64_t value = microseconds > 0 ? (uint64_t)microseconds : 0;
    uint64_t seconds = (value + MILLION / 2) / MILLION;

    if (seconds < 60)
        write_scaled(value, units, sizeof units / sizeof *units, text, size);
    else if (seconds < 3600)
        snprintf(text, size, "%um %us", (unsigned)(seconds / 60), (unsigned)(seconds % 60));
    else if (seconds < 86400)
        snprintf(text, size, "%uh %um", (unsigned)(seconds / 3600), (unsigned)(seconds / 60 % 60));
    else
        snprintf(text, size, "%" PRIu64 "d %uh", seconds / 86400, (unsigned)(seconds / 3600 % 24));
}

void units_duration_write(int64_t microseconds, char *text, size_t size)
{
    static const struct {
        const char *name;
        int64_t factor;
    } units[] = {{"d", 86400 * INT64_C(1000000)},
                 {"h", 3600 * INT64_C(1000000)},
                 {"m", 60 * INT64_C(1000000)},
                 {"s", 1000000},
                 {"ms", 1000},
                 {"us", 1}};
    unsigned largest = 0; /* that leaves nothing over */
    while (microseconds > 0 && microseconds % units[largest].factor != 0)
        largest++;
    if (microseconds > 0)
        snprintf(text, size, "%" PRId64 "%s", microseconds / units[largest].factor, units[largest].name);
    else
        snprintf(text, size, "0");
}
