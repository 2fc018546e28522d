/*
 * Dead letters and the files of mretry: attributes that tell of a death, what was written to stderr, a file of dead
 * letters, a file of what was done. The first byte chooses.
 */
#include "fuzz.h"

#include "cli/dead_file.h"
#include "cli/letters_file.h"
#include "cli/seen_file.h"
#include "message/attributes.h"
#include "message/letter.h"

#include <unistd.h>

enum { ATTRIBUTES, NOTE, DEAD_FILE, SEEN_FILE, KINDS };

static bool same_text(const char *one, size_t one_size, const char *other, size_t other_size)
{
    return one_size == other_size && (one_size == 0 || memcmp(one, other, one_size) == 0);
}

/* What a letter tells is told by one that is written from it, as far as it fits. */
static void read_attributes(const uint8_t *data, size_t size)
{
    struct letter letter, again;
    struct buffer block = {0};
    if (attributes_check(data, size, NULL) || !letter_read(data, size, &letter))
        return;
    MUST(letter_write(&block, &letter) == MP_OK);
    MUST(attributes_check(block.data, block.size, NULL) == MP_OK);
    MUST(letter_read(block.data, block.size, &again));
    MUST(same_text(letter.reason, letter.reason_size, again.reason, again.reason_size));
    MUST(letter.attempts == again.attempts && letter.code == again.code);
    MUST(same_text(letter.topic, letter.topic_size, again.topic, again.topic_size));
    MUST(!letter.topic_size || letter.offset == again.offset);
    letter_strip(&block);
    MUST(!letter_read(block.data, block.size, &again));
    buffer_free(&block);
}

/* What was written to stderr comes back: its end, without the newlines there. */
static void read_note(const uint8_t *data, size_t size)
{
    struct buffer note = {0}, back = {0};
    MUST(letter_note(data, size, &note) == MP_OK && note.size <= LETTER_NOTE_MAX);
    MUST(letter_note_read((const char *)note.data, note.size, &back) == MP_OK);
    while (size > 0 && (data[size - 1] == '\n' || data[size - 1] == '\r'))
        size--;
    MUST(back.size <= size && (back.size == 0 || memcmp(back.data, data + size - back.size, back.size) == 0));
    MUST(note.size > LETTER_NOTE_MAX - 8 || back.size == size);
    note.size = 0;
    MUST(letter_note_read((const char *)data, size, &note) == MP_OK);
    buffer_free(&note);
    buffer_free(&back);
}

/* Puts DATA into a file, the same one each time, whose path is returned. */
static const char *file_of(const uint8_t *data, size_t size)
{
    static char path[4096];
    if (path[0] == '\0') {
        const char *folder = getenv("TMPDIR");
        snprintf(path, sizeof path, "%s/msgpipe-fuzz-%ld", folder && *folder ? folder : "/tmp", (long)getpid());
    }
    FILE *file = fopen(path, "wb");
    MUST(file != NULL && fwrite(data, 1, size, file) == size && fclose(file) == 0);
    return path;
}

/* Every other letter is taken out: the rest stays, also when the file is written anew without them. */
static void take_letters(const char *path, uint64_t letters)
{
    struct letters_file file;
    struct letter_entry entry;
    struct fault fault = {0};
    uint64_t torn = 0;
    for (unsigned again = 0; again < 2; again++) {
        uint64_t seen = 0;
        MUST(letters_file_open(&file, path, true, &fault) == MP_OK);
        for (; !letters_file_next(&file, &entry, &fault); seen++)
            if (again == 0 && seen % 2 == 0)
                MUST(letters_file_take(&file, entry.place, entry.size, false, &fault) == MP_OK);
        MUST(seen == (again == 0 ? letters : letters / 2));
        MUST(again == 0 || (file.torn == torn && file.blank == 0)); /* what is no letter is left alone */
        torn = file.torn;
        MUST(letters_file_rewrite(&file, &fault) == MP_OK);
        letters_file_close(&file);
    }
}

static void read_dead_file(const uint8_t *data, size_t size)
{
    struct letters_file file;
    struct letter_entry entry;
    struct fault fault = {0};
    const char *path = file_of(data, size);
    enum mp_error error = letters_file_open(&file, path, false, &fault);
    uint64_t letters = 0;
    MUST(error == MP_OK);
    while (!(error = letters_file_next(&file, &entry, &fault))) {
        MUST(entry.place + entry.size <= size);
        letters++;
    }
    MUST(error == MP_ERR_CLOSED && letters <= size);
    letters_file_close(&file);
    if (size % 4 == 0) /* files are slow */
        take_letters(path, letters);
    unlink(path);
}

static void read_seen_file(const uint8_t *data, size_t size)
{
    const int64_t now = 1700000000000000;
    struct fault fault = {0};
    const char *path = file_of(data, size);
    for (unsigned again = 0; again < 2; again++) { /* what was wrong is taken off by the first opening */
        struct seen seen = {.window = 3600000000};
        struct seen_file file;
        enum mp_error error = seen_file_open(&file, path, 7, &seen, now, &fault);
        MUST(error == MP_OK || error == MP_ERR_INVALID || error == MP_ERR_DAMAGED);
        if (!error && size % 4 == 0) {
            const struct seen_id id = {1, 2};
            MUST(seen_add(&seen, id, 0, now) == MP_OK);
            MUST(seen_file_add(&file, id) == MP_OK && seen_file_flush(&file, now, &fault) == MP_OK);
        }
        seen_file_close(&file);
        seen_free(&seen);
    }
    unlink(path);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0 || size > 20000)
        return 0;
    uint8_t *exact = fuzz_copy(data + 1, size - 1);
    switch (data[0] % KINDS) {
    case ATTRIBUTES:
        read_attributes(exact, size - 1);
        break;
    case NOTE:
        read_note(exact, size - 1);
        break;
    case DEAD_FILE:
        read_dead_file(exact, size - 1);
        break;
    default:
        read_seen_file(exact, size - 1);
        break;
    }
    free(exact);
    return 0;
}

static void seed_attributes(struct buffer *out)
{
    const struct letter letter = {.topic = "orders.new",
                                  .topic_size = 10,
                                  .group = "bill",
                                  .group_size = 4,
                                  .offset = 17,
                                  .reason = "retries",
                                  .reason_size = 7,
                                  .attempts = 3,
                                  .first = 1700000000000000,
                                  .last = 1700000001000000,
                                  .code = 75,
                                  .error = "busy\\n",
                                  .error_size = 6};
    struct buffer block = {0};
    MUST(attributes_set(&block, ATTRIBUTE_STRING, "id", 2, "x", 1, NULL) == MP_OK);
    MUST(letter_write(&block, &letter) == MP_OK);
    MUST(buffer_append(out, block.data, block.size) == MP_OK);
    buffer_free(&block);
}

/* A file as a process leaves it. */
static void seed_seen(struct buffer *out)
{
    const int64_t now = 1700000000000000;
    struct seen seen = {.window = 3600000000};
    struct seen_file file;
    struct fault fault = {0};
    uint8_t block[4096];
    const char *path = file_of((const uint8_t *)"", 0);
    unlink(path);
    MUST(seen_file_open(&file, path, 7, &seen, now, &fault) == MP_OK);
    for (uint64_t i = 1; i < 4; i++)
        MUST(seen_file_add(&file, (struct seen_id){i, i}) == MP_OK);
    MUST(seen_file_flush(&file, now, &fault) == MP_OK);
    seen_file_close(&file);
    seen_free(&seen);
    FILE *written = fopen(path, "rb");
    MUST(written != NULL);
    MUST(buffer_append(out, block, fread(block, 1, sizeof block, written)) == MP_OK);
    fclose(written);
    unlink(path);
}

unsigned fuzz_slowness(void)
{
    return 10;
}

bool fuzz_seed(unsigned index, struct buffer *out)
{
    static const char letters[] =
        "{\"specversion\":\"1.0\",\"id\":\"1\",\"source\":\"/a\",\"type\":\"t\",\"deadreason\":\"rejected\","
        "\"deadattempts\":2,\"deaderror\":\"no\\\\n\",\"data\":\"body\"}\n   \nnone\n";
    if (index >= KINDS)
        return false;
    MUST(buffer_put_u8(out, (uint8_t)index) == MP_OK);
    if (index == ATTRIBUTES)
        seed_attributes(out);
    else if (index == NOTE)
        MUST(buffer_append_string(out, "cannot \\ open \t\xff\xc3\xa9\n\n") == MP_OK);
    else if (index == DEAD_FILE)
        MUST(buffer_append_string(out, letters) == MP_OK);
    else
        seed_seen(out);
    return true;
}
