/* mretry: what is asked for, and whether it makes sense. */
#include "cli/retry.h"

#include "base/units.h"
#include "cli/exit.h"

#include <stdlib.h>
#include <string.h>

/* "0.2", from 0 to 1. */
static enum mp_error read_share(const char *text, double *share, struct fault *fault)
{
    char *end;
    double value = strtod(text, &end);
    if (!*text || *end || !(value >= 0 && value <= 1) || strspn(text, "0123456789.") != strlen(text))
        return fault_set(fault, MP_ERR_INVALID, "--jitter: '%s' is not a share: write a number from 0 to 1, as 0.2",
                         text);
    *share = value;
    return MP_OK;
}

static enum mp_error read_retries(const char *text, uint32_t *retries, struct fault *fault)
{
    uint64_t value;
    struct fault why = {0};
    *retries = RETRY_UNLIMITED;
    if (!strcmp(text, "unlimited"))
        return MP_OK;
    if (units_number("N", text, 0, RETRY_UNLIMITED - 1, &value, &why))
        return fault_set(fault, MP_ERR_INVALID, "--max-retries: '%s' is neither a number nor 'unlimited'", text);
    *retries = (uint32_t)value;
    return MP_OK;
}

enum mp_error retry_policy_of(const struct retry_settings *settings, const struct options *options,
                              struct retry_policy *policy, struct fault *fault)
{
    *policy = (struct retry_policy){
        .max_retries = 20,
        .backoff = (enum backoff)settings->backoff,
        .initial_interval = settings->initial_interval,
        .max_interval = settings->max_interval,
        .jitter = 0.2,
        .timeout = settings->timeout,
    };
    enum mp_error error = MP_OK;
    if (settings->max_retries)
        error = read_retries(settings->max_retries, &policy->max_retries, fault);
    if (!error && settings->jitter)
        error = read_share(settings->jitter, &policy->jitter, fault);
    if (!error && policy->max_interval < policy->initial_interval) {
        char low[24];
        char high[24];
        units_duration_text(policy->max_interval, low, sizeof(low));
        units_duration_text(policy->initial_interval, high, sizeof(high));
        error = fault_set(fault, MP_ERR_INVALID, "--max-interval (%s%s) is below --initial-interval (%s%s)", low,
                          options_given(options, "max-interval") ? "" : ", the default", high,
                          options_given(options, "initial-interval") ? "" : ", the default");
    }
    if (!error && settings->dedupe != RETRY_DEDUPE_NONE && settings->window <= 0)
        error = fault_set(fault, MP_ERR_INVALID,
                          "--window is 0 but --dedupe is %s: within no time nothing comes twice: say how long, as 1h",
                          settings->dedupe == RETRY_DEDUPE_ID ? "id" : "key");
    if (!error && options_given(options, "timeout") && settings->timeout == 0)
        error = fault_set(fault, MP_ERR_INVALID, "--timeout: 0 is no time for a command: leave it out for no limit");
    return error;
}

int retry_run(const struct retry_settings *settings, const struct options *options)
{
    struct retry_policy policy;
    struct fault fault = {0};
    int signal_number = 0;
    if (retry_policy_of(settings, options, &policy, &fault))
        return tell_fault(&fault);
    if (settings->topic)
        return retry_from_topic(settings, options);
    int code = retry_from_input(settings, options, &policy, &signal_number);
    if (signal_number)
        exit_by_signal(signal_number);
    return code;
}
