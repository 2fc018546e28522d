/*
 * receive_output.h: messages to stdout, and the knowledge of which were handed over. Private to mrecv's engine.
 *
 * A message is handed over when it is written to a file or terminal (with `sync`, when it is on the disk), or when a
 * pipe's reader has taken its last byte out of the pipe: the system tells how many bytes wait in it (FIONREAD). Where
 * it does not tell, and for sockets, what is written counts as handed over.
 *
 * With `slow_start` a pipe gets one message at first, and when its reader has taken it, two, then four, and so on: a
 * reader that wants only one, such as head -1, takes no more than that. Some thousands of messages later nothing limits
 * it any more.
 *
 * Writing never blocks the loop: leases are to be extended and signals heard while a slow reader sleeps.
 */
#ifndef CLI_RECEIVE_OUTPUT_H
#define CLI_RECEIVE_OUTPUT_H

#include "cli/loop.h"
#include "stage/parcel.h"

struct receive_output;

struct receive_output_settings {
    struct loop *loop;
    enum format format;
    struct format_template *template; /* NULL: by the format; stays the caller's */
    bool sync;
    bool slow_start;
    void *context;
    /* COUNT messages of PARCEL from INDEX on were handed over: each is told once, in order. */
    void (*handed)(void *context, struct stage_parcel *parcel, uint32_t index, uint32_t count);
    /* The same for those that go back, as holds() says that PARCEL may be somebody else's, and nothing of them was written. */
    void (*returned)(void *context, struct stage_parcel *parcel, uint32_t index, uint32_t count);
    bool (*holds)(void *context, const struct stage_parcel *parcel, int64_t now);
};

/* MP_ERR_IO: stdout is closed. MP_ERR_MEMORY. */
enum mp_error receive_output_open(const struct receive_output_settings *settings, struct receive_output **output,
                                  struct fault *fault);
void receive_output_free(struct receive_output *output);

/* Takes PARCEL, and keeps it until its last message is handed over (or the output is freed). MP_ERR_MEMORY: not taken. */
enum mp_error receive_output_add(struct receive_output *output, struct stage_parcel *parcel, struct fault *fault);

/*
 * Writes what can be written now, and tells what was handed over. *DUE is brought forward to when it is to be called
 * again; the loop is woken when there is room. MP_ERR_CLOSED: the reader has gone; what it took was told. MP_ERR_IO.
 */
enum mp_error receive_output_pump(struct receive_output *output, int64_t now, int64_t *due, struct fault *fault);

/* Gives back what is not begun, if it may be somebody else's. To be called before parcels are added, pump() does it too. */
void receive_output_check(struct receive_output *output, int64_t now);

/* Drops what is not begun: after the message that is partly written nothing more is written. */
void receive_output_stop(struct receive_output *output);

/* Bytes of the parcels that it holds. */
size_t receive_output_bytes(const struct receive_output *output);
/* Whether everything that was added (and not dropped) is handed over. */
bool receive_output_idle(const struct receive_output *output);
/* Bytes written since the start. */
uint64_t receive_output_written(const struct receive_output *output);

#endif
