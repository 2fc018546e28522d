/*
 * mosquitto at QoS 1, spoken to in MQTT 3.1.1 over a Unix socket: thousands of PUBLISH in flight, and a durable session
 * that acknowledges each message it is sent. mosquitto's own tools are measured beside it by tests/bench/run.
 */
#include "../bench.h"
#include "stream.h"

#include <stdlib.h>
#include <string.h>

enum {
    CONNECT = 0x10,
    CONNACK = 0x20,
    PUBLISH_QOS1 = 0x32,
    PUBACK = 0x40,
    SUBSCRIBE = 0x82,
    SUBACK = 0x90,
    TOPIC_LENGTH = 5,
    DEFAULT_WINDOW = 2000,
};
static const char mqtt_topic[] = "bench";

struct mqtt_packet {
    unsigned char type;
    const unsigned char *bytes; /* after the fixed header; valid until the next read */
    size_t length;
};

/* False: nothing came. */
static bool mqtt_read(struct stream *stream, struct mqtt_packet *packet)
{
    const char *byte = stream_get(stream, 1);
    unsigned shift = 0;
    if (!byte)
        return false;
    packet->type = (unsigned char)*byte;
    packet->length = 0;
    do {
        byte = stream_get(stream, 1);
        if (!byte || shift > 21)
            bench_die("mosquitto: a broken packet");
        packet->length |= (size_t)((unsigned char)*byte & 0x7f) << shift;
        shift += 7;
    } while ((unsigned char)*byte & 0x80);
    packet->bytes = (const unsigned char *)stream_get(stream, packet->length);
    return packet->bytes != NULL;
}

static void mqtt_expect(struct stream *stream, unsigned char type, struct mqtt_packet *packet)
{
    if (!mqtt_read(stream, packet))
        bench_die("mosquitto does not answer");
    if (packet->type != type)
        bench_die("mosquitto: packet type %#x where %#x was expected", packet->type, type);
}

/* `clean`: a session that the broker forgets when it ends. */
static struct stream *mqtt_open(const char *path, const char *client, bool clean)
{
    struct stream *stream = stream_open(path);
    struct mqtt_packet answer;
    size_t name = strlen(client);
    unsigned char head[] = {CONNECT, (unsigned char)(12 + name), 0, 4, 'M', 'Q', 'T', 'T', 4, clean ? 2 : 0, 0, 0,
                            0,       (unsigned char)name};
    stream_put(stream, head, sizeof head);
    stream_put(stream, client, name);
    mqtt_expect(stream, CONNACK, &answer);
    if (answer.length != 2 || answer.bytes[1] != 0)
        bench_die("mosquitto refuses the connection");
    return stream;
}

static void mqtt_put_publish(struct stream *stream, uint64_t sequence)
{
    unsigned identifier = (unsigned)(sequence % 65535) + 1;
    unsigned char packet[2 + 2 + TOPIC_LENGTH + 2 + BENCH_BODY] = {PUBLISH_QOS1,
                                                                   sizeof packet - 2,
                                                                   0,
                                                                   TOPIC_LENGTH,
                                                                   'b',
                                                                   'e',
                                                                   'n',
                                                                   'c',
                                                                   'h',
                                                                   (unsigned char)(identifier >> 8),
                                                                   (unsigned char)identifier};
    bench_body((char *)packet + sizeof packet - BENCH_BODY, sequence);
    stream_put(stream, packet, sizeof packet);
}

static void publish(const struct bench_options *options)
{
    struct stream *stream = mqtt_open(options->address, "publisher", true);
    struct mqtt_packet answer;
    unsigned window = options->window ? options->window : DEFAULT_WINDOW;
    uint64_t sequence, acknowledged = 0;
    bool more = true;
    struct bench_pace pace = bench_pace_start(options);
    do {
        while (pace.next - acknowledged < window && (more = bench_pace_next(&pace, &sequence)))
            mqtt_put_publish(stream, sequence);
        if (acknowledged < pace.next) {
            mqtt_expect(stream, PUBACK, &answer);
            acknowledged++;
        }
    } while (more || acknowledged < pace.next);
    bench_report(acknowledged, pace.begin, bench_now(), NULL, NULL);
    stream_close(stream);
}

static void latency(const struct bench_options *options)
{
    struct stream *stream = mqtt_open(options->address, "publisher", true);
    struct bench_samples samples = {0};
    struct mqtt_packet answer;
    uint64_t sequence;
    struct bench_pace pace = bench_pace_start(options);
    while (bench_pace_next(&pace, &sequence)) {
        int64_t sent = bench_now();
        mqtt_put_publish(stream, sequence);
        mqtt_expect(stream, PUBACK, &answer);
        bench_samples_add(&samples, bench_now() - sent);
    }
    bench_report(pace.next, pace.begin, bench_now(), NULL, &samples);
    bench_samples_free(&samples);
    stream_close(stream);
}

static struct stream *mqtt_open_consumer(const struct bench_options *options)
{
    return mqtt_open(options->address, "consumer", false);
}

static void setup(const struct bench_options *options)
{
    struct stream *stream = mqtt_open_consumer(options);
    struct mqtt_packet answer;
    unsigned char head[] = {SUBSCRIBE, 2 + 2 + TOPIC_LENGTH + 1, 0, 1, 0, TOPIC_LENGTH};
    stream_put(stream, head, sizeof head);
    stream_put(stream, mqtt_topic, TOPIC_LENGTH);
    stream_put(stream, "\1", 1);
    mqtt_expect(stream, SUBACK, &answer);
    stream_close(stream);
}

static void consume(const struct bench_options *options)
{
    struct stream *stream = mqtt_open_consumer(options);
    struct bench_ledger ledger = bench_ledger_make(options->messages);
    struct mqtt_packet packet;
    bench_say_ready();

    int64_t begin = bench_now();
    while (!bench_ledger_complete(&ledger) && mqtt_read(stream, &packet)) {
        size_t head = (size_t)2 + TOPIC_LENGTH + 2;
        if ((packet.type & 0xf0) != (PUBLISH_QOS1 & 0xf0) || packet.length < head)
            bench_die("mosquitto: packet type %#x where PUBLISH was expected", packet.type);
        unsigned char acknowledgement[] = {PUBACK, 2, packet.bytes[head - 2], packet.bytes[head - 1]};
        bench_ledger_mark(&ledger, packet.bytes + head, packet.length - head);
        stream_put(stream, acknowledgement, sizeof acknowledgement);
    }
    stream_flush(stream);
    bench_report(ledger.distinct, begin, bench_now(), &ledger, NULL);
    bench_ledger_free(&ledger);
    stream_close(stream);
}

int main(int argc, char **argv)
{
    struct bench_options options = bench_parse(argc, argv);
    if (bench_role(&options, "setup"))
        setup(&options);
    else if (bench_role(&options, "publish"))
        publish(&options);
    else if (bench_role(&options, "consume"))
        consume(&options);
    else if (bench_role(&options, "latency"))
        latency(&options);
    else
        bench_die("mosquitto has no role '%s'", options.role);
    return 0;
}
