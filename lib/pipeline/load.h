/*
 * load.h: what the parts of lib/pipeline share while a file is read: the declaration of keys, and reading by it.
 *
 * The language is declared once, in keys_*.c: a mapping is a table of keys, each with its kind, the member that it sets,
 * and words for people. Reading, "did you mean", the JSON Schema (schema.c) and mpipeline(5) (manual.c) come from there.
 */
#ifndef PIPELINE_LOAD_H
#define PIPELINE_LOAD_H

#include "base/map.h"
#include "pipeline/pipeline.h"
#include "pipeline/yaml.h"

struct load {
    const struct pipeline_load_settings *settings;
    struct arena *arena;
    struct diagnostics *diagnostics;
    struct pipeline *pipeline;
    const char *folder; /* of the file, from the root on */
    const char *file;   /* that is read now */
    uint64_t expanded;  /* bytes that variables and data made so far */
    struct map topics;  /* declared and other ones: struct pipeline_topic */
    const char *meant; /* the key that a wrong one in the mapping that is read now may stand for; NULL: there is none */
    bool loose;        /* something that names topics could not be read: who feeds whom is not known */
    bool no_memory;
};

/* ---- declaring ------------------------------------------------------------------------------------------------- */

enum key_kind {
    KEY_TEXT = 1, /* const char * */
    KEY_PATH,     /* const char *: from the root on */
    KEY_NAME,     /* const char *: of a relay */
    KEY_ADDRESS,  /* const char *: canonical */
    KEY_FLAG,     /* bool */
    KEY_COUNT,    /* uint64_t, `low` to `high` */
    KEY_COUNT32,  /* uint32_t or unsigned, likewise */
    KEY_RETRIES,  /* by `setting` only: a number or "unlimited" */
    KEY_SHARE,    /* by `setting` only: 0 to 1 */
    KEY_SIZE,     /* uint64_t, at least `low` */
    KEY_DURATION, /* int64_t, at least `low` microseconds, at most `high` (0: no limit) */
    KEY_RATE,     /* double */
    KEY_CHOICE,   /* an enum: the index in `words` */
    KEY_TOPIC,    /* struct pipeline_reference */
    KEY_MAPPING,  /* by the keys of `of`, at `at` */
    KEY_READ      /* by `read`; `schema` says what it takes */
};

struct key;
struct mapping;

/* Reads VALUE of KEY into the struct at INTO; mistakes go to the diagnostics. */
typedef void key_read(struct load *load, const struct key *key, const struct yaml_pair *pair, void *into);

struct key {
    const char *name; /* NULL ends a list */
    enum key_kind kind;
    size_t at; /* the member */
    bool required;
    uint64_t low, high;
    const char *const *words; /* of CHOICE; ends with NULL */
    const struct mapping *of; /* of MAPPING; of READ: what it describes, for schema and manual */
    const char *setting;      /* the value goes to settings_…_set() under this name; `at` is the settings' place */
    bool group;               /* a group's setting; else a topic's */
    key_read *read;           /* of READ */
    const char *schema;       /* of READ: a JSON Schema; "%" stands for the reference to `of` */
    const char *type;         /* of READ: in words, for the manual and for messages: "a command" */
    const char *fallback;     /* the default as it would be written; NULL: none */
    const char *help;         /* a sentence without its full stop */
    const char *example;      /* the value as it would be written */
};

/* Keys that do not go together, or need one another. */
struct key_rule {
    const char *one; /* NULL ends a list */
    bool needs;      /* one of `others`; else it goes with none of them */
    const char *others[14];
    const char *why;
};

struct mapping {
    const char *name; /* of its definition in the schema */
    const char *what; /* "a stage" */
    const char *help; /* a sentence or two for the manual, mdoc */
    const struct key *keys;
    const struct key_rule *rules;
    void (*begin)(struct load *load, const struct yaml_pair *pair, void *into); /* defaults; may be NULL */
    void (*end)(struct load *load, const struct yaml_pair *pair, void *into); /* what is checked at last; may be NULL */
    bool named; /* the manual: a mapping of names to these */
};

extern const struct mapping pipeline_mapping, relay_mapping, topic_mapping, source_mapping, stage_mapping, sink_mapping,
    step_mapping, test_mapping, test_file_mapping;

/* Calls EACH for every mapping that ROOT leads to, itself first, each once; at most MAPPINGS_MAX of them. */
enum { MAPPINGS_MAX = 40 };
struct mappings {
    const struct mapping *all[MAPPINGS_MAX];
    size_t count;
};
void mappings_collect(struct mappings *mappings, const struct mapping *root);

/* What KEY takes, in words for people. */
const char *key_type(const struct key *key);

/* ---- reading --------------------------------------------------------------------------------------------------- */

/* Reads what PAIR's value says by the keys of MAPPING. */
void read_mapping(struct load *load, const struct mapping *mapping, const struct yaml_pair *pair, void *into);

/* Whether a wrong key in the mapping that is read now was meant to be KEY: that it is missing was said then. */
bool read_is_meant(const struct load *load, const char *key);

/* Whether a value is nothing at all: `orders.vip:`. */
bool read_is_nothing(const struct yaml *value);

/*
 * The characters of a scalar with its variables put in, terminated, without NUL among them; NULL when it is none, which
 * was said: KEY is TYPE ("a topic's name").
 */
const char *read_text(struct load *load, const char *key, const char *type, const struct yaml *value);
/* The same with all bytes, *SIZE of them. */
const char *read_bytes(struct load *load, const char *key, const char *type, const struct yaml *value, size_t *size);
/* The same as it stands in the file, variables and all. */
const char *read_raw(struct load *load, const char *key, const char *type, const struct yaml *value);

/* The elements of a list, or a single value as a list of one. */
size_t read_count(const struct yaml *value);
const struct yaml *read_item(const struct yaml *value, size_t index);

/* By one of the kinds of keys, of the value itself. */
bool read_value(struct load *load, const struct key *key, const struct yaml *value, void *into);

/* A topic's name, a pattern too where PATTERN is not NULL; says what is wrong. */
bool read_reference(struct load *load, const char *key, const struct yaml *value, bool *pattern,
                    struct pipeline_reference *reference);

/* A path; one that is empty, which would be the folder of the file, is a mistake that was said: NULL. */
const char *read_path_text(struct load *load, const char *key, const struct yaml *value);
/* PATH from the root on; a relative one begins at FOLDER. NULL: no memory. */
const char *read_path(struct load *load, const char *folder, const char *path);

/* Memory of the pipeline; NULL: there is none, which is noted. */
void *load_allocate(struct load *load, size_t count, size_t size);
char *load_copy(struct load *load, const void *text, size_t size);

/* "did you mean X?" of the COUNT words, or "one of A, B or C" when none is near and they are few. Returns TEXT. */
enum { LOAD_HINT = 256 };
const char *load_hint(char text[LOAD_HINT], const char *word, const char *const *words, size_t count);

/* variables.c: TEXT with its variables put in. False: one is not set, or is written wrongly, which was said. */
bool variables_put(struct load *load, const struct yaml *value, struct buffer *out);

/* value.c: VALUE as compact JSON, with variables put in unless it stands under `shell`. False: something was said. */
bool value_json(struct load *load, const struct yaml *value, struct buffer *out);
/* All of VALUE in one form, as a text to compare. NULL: no memory. */
const char *value_text(struct load *load, const struct yaml *value);

#endif
