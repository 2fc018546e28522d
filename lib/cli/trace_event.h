/*
 * trace_event.h: an event of the log as a line for people and as JSON.
 */
#ifndef CLI_TRACE_EVENT_H
#define CLI_TRACE_EVENT_H

#include "cli/trace_view.h"

/*
 * Prints what EVENT says, to the view's `out`. OFFSET: only this one of its messages is meant; UINT64_MAX: all. What comes from messages and
 * commands is escaped. MP_ERR_MEMORY.
 */
enum mp_error trace_event_print(const struct trace_view *view, const struct store_event *event, uint64_t offset);
enum mp_error trace_event_print_json(const struct trace_view *view, const struct store_event *event, uint64_t offset);

/* Prints the bodies of the messages of EVENT that are still there, an indented line each, escaped. */
enum mp_error trace_event_print_bodies(const struct trace_view *view, const struct store_event *event, uint64_t offset,
                                       struct fault *fault);

/* Whether the message at OFFSET is one that EVENT concerns, as far as its range and mask tell. */
bool trace_event_concerns(const struct store_event *event, uint64_t offset);

#endif
