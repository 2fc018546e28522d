/*
 * http.h: what a relay shows by HTTP, in its own loop, when it is asked to (`mrelay --http`):
 *
 *     GET /metrics   Prometheus' text format 0.0.4: metrics.h
 *     GET /healthz   200 while the process serves
 *     GET /readyz    200 when publications are taken; 503 and the reason when they are not
 *
 * HEAD as well; other methods are 405, other paths 404. Each answer ends its connection. A connection may be silent for
 * 10 s, sends 8 KiB of headers and 4 KiB of a body at most, and lives a minute; there are 64 of them (door.h), the others
 * wait to be accepted. Of the text of /metrics no more than a slice is in memory for each.
 */
#ifndef WEB_HTTP_H
#define WEB_HTTP_H

#include "relay/relay.h"

/* For relay_settings.web. */
extern const struct relay_web web_http;

#endif
