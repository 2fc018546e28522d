/*
 * taker: the command that mrecv runs for a message: writes down that it came.
 *
 *     mrecv -t TOPIC -g GROUP -- taker GROUP HISTORY
 *
 * Some it wants again: exit code 75.
 */
#include "history.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    static char body[65536];
    char name[64];
    uint64_t sequence;
    size_t size = 0;
    ssize_t some;
    const char *topic = getenv("MSG_TOPIC"), *offset = getenv("MSG_OFFSET"), *attempt = getenv("MSG_ATTEMPT");
    if (argc != 3 || !topic || !offset || !attempt)
        return 64;
    while (size < sizeof body - 1 && (some = read(0, body + size, sizeof body - 1 - size)) > 0)
        size += (size_t)some;
    if (size > 0 && body[size - 1] == '\n')
        size--;
    if (sscanf(body, "%63[a-z0-9.] %" SCNu64 " ", name, &sequence) != 2) {
        snprintf(name, sizeof name, "nobody");
        sequence = 0;
    }
    int history = history_open(argv[2]);
    history_write(history, "got", "take%ld %s %s %s %s %s %" PRIu64 " %016" PRIx64, (long)getppid(), argv[1], topic,
                  offset, attempt, name, sequence, history_hash(body, size));
    if (history_now() % 37 != 0 || attempt[0] != '1')
        return 0;
    history_write(history, "retried", "take%ld %s %s %s", (long)getppid(), argv[1], topic, offset);
    return 75;
}
