/*
 * What users and strangers write: names, patterns, addresses, durations, sizes, rates and times.
 */
#include "fuzz.h"

#include "base/units.h"
#include "message/names.h"
#include "transport/address.h"

static void said(enum mp_error error, const struct fault *fault)
{
    if (error != MP_OK)
        MUST(fault->text[0] != '\0' && memchr(fault->text, '\0', sizeof fault->text) != NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = fuzz_string(data, size);
    const char *bytes = (const char *)data;
    struct address address, again;
    struct fault fault = {0};
    bool pattern;
    int64_t time;
    uint64_t number;
    double rate;

    said(name_check_group(bytes, size, &fault), &fault);
    if (name_check_topic(bytes, size, &fault) == MP_OK) {
        MUST(name_check_pattern(bytes, size, &pattern, NULL) == MP_OK && !pattern);
        MUST(name_matches(text, text) && name_matches(">", text));
    }
    if (name_check_pattern(bytes, size, &pattern, &fault) == MP_OK && pattern)
        (void)name_matches(text, "web.hits.today");
    if (size <= NAME_MAX_BYTES)
        MUST(name_distance(text, text) == 0);
    said(units_duration(text, &time, &fault), &fault);
    said(units_size(text, &number, &fault), &fault);
    said(units_rate(text, &rate, &fault), &fault);
    said(units_time(text, &time, &fault), &fault);
    said(units_number("--count", text, 1, 1000, &number, &fault), &fault);
    /* The canonical form of an address is an address, and its own canonical form. */
    if (address_parse(text, &address, &fault) == MP_OK) {
        MUST(address_parse(address.text, &again, NULL) == MP_OK);
        MUST(strcmp(address.text, again.text) == 0 && address.kind == again.kind);
        (void)address_is_loopback(&address);
    }
    free(text);
    return 0;
}

bool fuzz_seed(unsigned index, struct buffer *out)
{
    static const char *const seeds[] = {
        "web.hits",
        "orders.*.new.>",
        "ipc:///run/user/1000/msgpipe/default.sock",
        "tcp://[::1]:7000",
        "tcp://example.com:7000",
        "1h30m",
        "1.5GiB",
        "500/s",
        "2026-11-20T17:00:00.123456+01:00",
        "@1763658000.25",
    };
    return fuzz_seed_text(index, seeds, sizeof seeds / sizeof *seeds, out);
}
