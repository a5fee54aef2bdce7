/*
 * profile_text.c: reads the text form, for tests, for people and for profiles written by hand.
 *
 *     respin-profile-text 1
 *     module /usr/bin/app
 *     block 0x1000 12 3 100 4,3,5
 *     edge taken 0x1007 0x1000 99
 *
 * One record a line, words apart by blanks, `#` begins a remark. The reader sorts what it reads, so
 * that nobody has to write in order. docs/formats/profile-text.md has every line.
 * profile_text_out.c writes it.
 *
 * SPDX-License-Identifier: MIT
 */
#include "core/profile_parts.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const kind_names[EDGE_KINDS] = {
    [EDGE_TAKEN] = "taken",         [EDGE_FALL] = "fall", [EDGE_JUMP] = "jump",
    [EDGE_JUMP_IND] = "jump-ind",   [EDGE_CALL] = "call", [EDGE_CALL_IND] = "call-ind",
    [EDGE_RETURN_TO] = "return-to", [EDGE_RET] = "ret",   [EDGE_SYSCALL] = "syscall",
};

const char *profile_edge_name(EdgeKind kind)
{
    return kind < EDGE_KINDS ? kind_names[kind] : "?";
}

/* A module while it is read: its arrays grow. */
typedef struct TextModule {
    ProfileModule module;
    size_t blocks_cap, edges_cap, entries_cap, pages_cap, values_cap;
} TextModule;

typedef struct TextReader {
    Arena *arena;
    const char *path;
    const char *at; /* what is left of the line */
    const char *line_start;
    const char *file_start;
    unsigned line;
    Profile profile;
    TextModule *modules;
    size_t modules_cap;
    const char **remarks;
    size_t remarks_cap;
} TextReader;

static Place text_place(const TextReader *reader)
{
    return (Place){ reader->path, NULL, (uint64_t)(reader->line_start - reader->file_start) };
}

#define TEXT_FAIL(reader, err, format, ...)                                                        \
    FAIL((err), ST_BAD_INPUT, text_place(reader), "line %u: " format, (reader)->line, __VA_ARGS__)

/* The next word of the line; "" at its end. */
static const char *next_word(TextReader *reader)
{
    const char *at = reader->at + strspn(reader->at, " \t");
    size_t len = strcspn(at, " \t");
    char *word = arena_alloc(reader->arena, len + 1);
    memcpy(word, at, len);
    word[len] = '\0';
    reader->at = at + len;
    return word;
}

/* What is left of the line, without the blanks round it. */
static const char *rest_of_line(TextReader *reader)
{
    const char *at = reader->at + strspn(reader->at, " \t");
    size_t len = strlen(at);
    while (len > 0 && (at[len - 1] == ' ' || at[len - 1] == '\t'))
        len--;
    char *rest = arena_alloc(reader->arena, len + 1);
    memcpy(rest, at, len);
    rest[len] = '\0';
    reader->at = at + strlen(at);
    return rest;
}

/* A whole word as a number up to `max`: decimal, or hexadecimal after 0x. */
static bool parse_number(const char *word, uint64_t max, uint64_t *out)
{
    bool hex = word[0] == '0' && (word[1] == 'x' || word[1] == 'X');
    const char *digits = hex ? word + 2 : word;
    if (*digits == '\0' ||
        strspn(digits, hex ? "0123456789abcdefABCDEF" : "0123456789") != strlen(digits))
        return false;
    uint64_t value = 0;
    for (; *digits != '\0'; digits++) {
        uint64_t base = hex ? 16 : 10;
        uint64_t digit = (uint64_t)(*digits <= '9' ? *digits - '0' : (*digits | 0x20) - 'a' + 10);
        if (value > (UINT64_MAX - digit) / base)
            return false;
        value = value * base + digit;
    }
    *out = value;
    return value <= max;
}

static Status read_number(TextReader *reader, const char *what, uint64_t max, uint64_t *out,
                          Error *err)
{
    const char *word = next_word(reader);
    if (!parse_number(word, max, out))
        return TEXT_FAIL(reader, err, "%s is \"%s\", not a number up to %" PRIu64, what, word, max);
    return ST_OK;
}

static Status read_hex_bytes(TextReader *reader, uint8_t *out, uint32_t max, uint32_t *len,
                             Error *err)
{
    const char *word = next_word(reader);
    size_t digits = strlen(word);
    if (digits == 0 || digits % 2 != 0 || digits / 2 > max ||
        strspn(word, "0123456789abcdefABCDEF") != digits)
        return TEXT_FAIL(reader, err, "\"%s\" is not 1 to %u bytes in hexadecimal", word, max);
    for (size_t i = 0; i < digits / 2; i++) {
        const char pair[3] = { word[2 * i], word[2 * i + 1], '\0' };
        out[i] = (uint8_t)strtoul(pair, NULL, 16);
    }
    *len = (uint32_t)(digits / 2);
    return ST_OK;
}

static Status read_kind(TextReader *reader, uint8_t *out, Error *err)
{
    const char *word = next_word(reader);
    for (uint8_t kind = 0; kind < EDGE_KINDS; kind++) {
        if (strcmp(word, kind_names[kind]) == 0) {
            *out = kind;
            return ST_OK;
        }
    }
    return TEXT_FAIL(reader, err, "\"%s\" is not a kind of edge", word);
}

static TextModule *last_module(const TextReader *reader)
{
    return &reader->modules[reader->profile.n_modules - 1];
}

static Status read_module(TextReader *reader, Error *err)
{
    const char *path = rest_of_line(reader);
    if (*path == '\0')
        return TEXT_FAIL(reader, err, "module without a %s", "path");
    reader->modules = arena_grow(reader->arena, reader->modules, &reader->modules_cap,
                                 reader->profile.n_modules + 1, sizeof *reader->modules);
    reader->profile.n_modules++;
    last_module(reader)->module.path = path;
    return ST_OK;
}

/* `4,3,5` → the instruction sizes of `block`. */
static Status read_sizes(TextReader *reader, const char *word, ProfileBlock *block, Error *err)
{
    size_t len = strlen(word);
    char *copy = arena_string(reader->arena, word);
    uint8_t *sizes = arena_many(reader->arena, uint8_t, len / 2 + 1);
    uint32_t n = 0;
    char *state = NULL;
    for (char *part = strtok_r(copy, ",", &state); part != NULL;
         part = strtok_r(NULL, ",", &state)) {
        uint64_t size;
        if (!parse_number(part, INSN_SIZE_MAX, &size))
            return TEXT_FAIL(reader, err, "instruction size \"%s\" (1 to %d)", part, INSN_SIZE_MAX);
        sizes[n++] = (uint8_t)size;
    }
    if (n != block->n_insns)
        return TEXT_FAIL(reader, err, "%u instruction sizes for %u instructions", n,
                         block->n_insns);
    block->insn_sizes = sizes;
    return ST_OK;
}

static Status read_block(TextReader *reader, Error *err)
{
    TextModule *into = last_module(reader);
    ProfileBlock block = { 0 };
    uint64_t size;
    uint64_t n_insns;
    TRY(read_number(reader, "address", UINT64_MAX, &block.start.v, err));
    TRY(read_number(reader, "size", UINT32_MAX, &size, err));
    TRY(read_number(reader, "number of instructions", UINT32_MAX, &n_insns, err));
    TRY(read_number(reader, "count", UINT64_MAX, &block.count, err));
    block.size = (uint32_t)size;
    block.n_insns = (uint32_t)n_insns;
    const char *sizes = next_word(reader);
    if (*sizes != '\0')
        TRY(read_sizes(reader, sizes, &block, err));
    ProfileModule *module = &into->module;
    module->blocks = arena_grow(reader->arena, module->blocks, &into->blocks_cap,
                                module->n_blocks + 1, sizeof block);
    module->blocks[module->n_blocks++] = block;
    return ST_OK;
}

/* `0x10`, in this module; `2:0x10`, in module 2; `-:0x10`, in none. */
static Status read_target(TextReader *reader, ProfileEdge *edge, Error *err)
{
    const char *word = next_word(reader);
    const char *colon = strchr(word, ':');
    uint64_t module = reader->profile.n_modules - 1;
    if (colon != NULL) {
        char *number = arena_string(reader->arena, word);
        number[colon - word] = '\0';
        if (strcmp(number, "-") == 0)
            module = MODULE_NONE;
        else if (!parse_number(number, MODULE_NONE - 1, &module))
            return TEXT_FAIL(reader, err, "\"%s\" is not the number of a module", number);
    }
    edge->to_module = (uint32_t)module;
    if (!parse_number(colon != NULL ? colon + 1 : word, UINT64_MAX, &edge->to.v))
        return TEXT_FAIL(reader, err, "\"%s\" is not an address", word);
    return ST_OK;
}

static Status read_edge(TextReader *reader, Error *err)
{
    TextModule *into = last_module(reader);
    ProfileEdge edge = { 0 };
    TRY(read_kind(reader, &edge.kind, err));
    TRY(read_number(reader, "address", UINT64_MAX, &edge.from.v, err));
    TRY(read_target(reader, &edge, err));
    TRY(read_number(reader, "count", UINT64_MAX, &edge.count, err));
    ProfileModule *module = &into->module;
    module->edges = arena_grow(reader->arena, module->edges, &into->edges_cap, module->n_edges + 1,
                               sizeof edge);
    module->edges[module->n_edges++] = edge;
    return ST_OK;
}

static Status read_entry(TextReader *reader, Error *err)
{
    TextModule *into = last_module(reader);
    ProfileEdge entry = { .from = VADDR_NONE, .to_module = reader->profile.n_modules - 1 };
    TRY(read_kind(reader, &entry.kind, err));
    TRY(read_number(reader, "address", UINT64_MAX, &entry.to.v, err));
    TRY(read_number(reader, "count", UINT64_MAX, &entry.count, err));
    ProfileModule *module = &into->module;
    module->entries = arena_grow(reader->arena, module->entries, &into->entries_cap,
                                 module->n_entries + 1, sizeof entry);
    module->entries[module->n_entries++] = entry;
    return ST_OK;
}

static Status read_page(TextReader *reader, Error *err)
{
    TextModule *into = last_module(reader);
    Vaddr page;
    TRY(read_number(reader, "address", UINT64_MAX, &page.v, err));
    ProfileModule *module = &into->module;
    module->read_pages = arena_grow(reader->arena, module->read_pages, &into->pages_cap,
                                    module->n_read_pages + 1, sizeof page);
    module->read_pages[module->n_read_pages++] = page;
    return ST_OK;
}

/* `-8:100`: a value, and its count. */
static Status read_top(TextReader *reader, const char *word, ProfileTop *top, Error *err)
{
    char *number = arena_string(reader->arena, word);
    char *colon = strchr(number, ':');
    bool minus = number[0] == '-';
    if (colon != NULL)
        *colon = '\0';
    if (colon == NULL || !parse_number(number + minus, UINT64_MAX, &top->value) ||
        !parse_number(colon + 1, UINT64_MAX, &top->count))
        return TEXT_FAIL(reader, err, "\"%s\" is not a value and its count", word);
    top->value = minus ? -top->value : top->value;
    return ST_OK;
}

static Status read_value(TextReader *reader, Error *err)
{
    TextModule *into = last_module(reader);
    ProfileModule *module = &into->module;
    const char *kind = next_word(reader);
    ProfileValue value = { .kind = (uint8_t)profile_value_kind(kind) };
    size_t cap = 0;
    if (value.kind == OBSERVED_KINDS)
        return TEXT_FAIL(reader, err, "\"%s\" is not a kind of value", kind);
    TRY(read_number(reader, "address", UINT64_MAX, &value.at.v, err));
    TRY(read_number(reader, "number of observations", UINT64_MAX, &value.n, err));
    TRY(read_number(reader, "number missed", UINT64_MAX, &value.missed, err));
    for (const char *word = next_word(reader); *word != '\0'; word = next_word(reader)) {
        value.top = arena_grow(reader->arena, value.top, &cap, value.n_top + 1, sizeof *value.top);
        TRY(read_top(reader, word, &value.top[value.n_top++], err));
    }
    module->values = arena_grow(reader->arena, module->values, &into->values_cap,
                                module->n_values + 1, sizeof value);
    module->values[module->n_values++] = value;
    return ST_OK;
}

static Status read_build_id(TextReader *reader, Error *err)
{
    ImageKey *key = &last_module(reader)->module.key;
    return read_hex_bytes(reader, key->build_id, sizeof key->build_id, &key->build_id_len, err);
}

static Status read_text_hash(TextReader *reader, Error *err)
{
    ImageKey *key = &last_module(reader)->module.key;
    TRY(read_number(reader, "low half of the hash", UINT64_MAX, &key->text_hash[0], err));
    return read_number(reader, "high half of the hash", UINT64_MAX, &key->text_hash[1], err);
}

static Status read_text_written(TextReader *reader, Error *err)
{
    (void)err;
    last_module(reader)->module.text_written = true;
    return ST_OK;
}

static Status read_command(TextReader *reader, Error *err)
{
    (void)err;
    reader->profile.command = rest_of_line(reader);
    return ST_OK;
}

static Status read_processes(TextReader *reader, Error *err)
{
    uint64_t n;
    TRY(read_number(reader, "number of processes", UINT32_MAX, &n, err));
    reader->profile.n_processes = (uint32_t)n;
    return ST_OK;
}

static Status read_outside(TextReader *reader, Error *err)
{
    return read_number(reader, "count", UINT64_MAX, &reader->profile.outside_insns, err);
}

static Status read_bursts(TextReader *reader, Error *err)
{
    ProfileBursts *bursts = &reader->profile.bursts;
    TRY(read_number(reader, "number of moments", UINT64_MAX, &bursts->moments, err));
    TRY(read_number(reader, "number of bursts", UINT64_MAX, &bursts->taken, err));
    TRY(read_number(reader, "time", UINT64_MAX, &bursts->time_ns, err));
    return read_number(reader, "time of bursts", UINT64_MAX, &bursts->spent_ns, err);
}

static Status read_remark(TextReader *reader, Error *err)
{
    (void)err;
    Profile *profile = &reader->profile;
    reader->remarks = arena_grow(reader->arena, reader->remarks, &reader->remarks_cap,
                                 profile->n_remarks + 1, sizeof *reader->remarks);
    reader->remarks[profile->n_remarks++] = rest_of_line(reader);
    return ST_OK;
}

static Status read_flags(TextReader *reader, Error *err)
{
    Profile *profile = &reader->profile;
    profile->complete = true;
    for (const char *word = next_word(reader); *word != '\0'; word = next_word(reader)) {
        if (strcmp(word, "incomplete") == 0)
            profile->complete = false;
        else if (strcmp(word, "counting-stopped") == 0)
            profile->counting_stopped = true;
        else if (strcmp(word, "sampled") == 0)
            profile->sampled = true;
        else if (strcmp(word, "detached") == 0)
            profile->detached = true;
        else
            return TEXT_FAIL(reader, err, "\"%s\" is not a flag", word);
    }
    return ST_OK;
}

typedef struct TextLine {
    const char *word;
    bool in_module;
    Status (*read)(TextReader *reader, Error *err);
} TextLine;

// clang-format off
static const TextLine text_lines[] = {
    { "command",      false, read_command      },
    { "processes",    false, read_processes    },
    { "flags",        false, read_flags        },
    { "bursts",       false, read_bursts       },
    { "outside",      false, read_outside      },
    { "remark",       false, read_remark       },
    { "module",       false, read_module       },
    { "build-id",     true,  read_build_id     },
    { "text-hash",    true,  read_text_hash    },
    { "text-written", true,  read_text_written },
    { "block",        true,  read_block        },
    { "edge",         true,  read_edge         },
    { "entry",        true,  read_entry        },
    { "read-page",    true,  read_page         },
    { "value",        true,  read_value        },
};
// clang-format on

static Status read_line(TextReader *reader, Error *err)
{
    const char *word = next_word(reader);
    if (*word == '\0' || *word == '#')
        return ST_OK;
    for (size_t i = 0; i < sizeof text_lines / sizeof text_lines[0]; i++) {
        const TextLine *line = &text_lines[i];
        if (strcmp(word, line->word) != 0)
            continue;
        if (line->in_module && reader->profile.n_modules == 0)
            return TEXT_FAIL(reader, err, "\"%s\" before the first module", word);
        TRY(line->read(reader, err));
        const char *more = next_word(reader);
        if (*more != '\0' && *more != '#')
            return TEXT_FAIL(reader, err, "\"%s\" after the end of the record", more);
        return ST_OK;
    }
    return TEXT_FAIL(reader, err, "\"%s\" begins no record", word);
}

static int page_order(const void *left, const void *right)
{
    const Vaddr *a = left;
    const Vaddr *b = right;
    return (a->v > b->v) - (a->v < b->v);
}

static int block_order(const void *left, const void *right)
{
    const ProfileBlock *a = left;
    const ProfileBlock *b = right;
    return (a->start.v > b->start.v) - (a->start.v < b->start.v);
}

static int remark_order(const void *left, const void *right)
{
    return strcmp(*(const char *const *)left, *(const char *const *)right);
}

/* qsort that takes an empty array without a pointer. */
static void sort_array(void *array, size_t n, size_t size, int (*order)(const void *, const void *))
{
    if (array != NULL && n > 1)
        qsort(array, n, size, order);
}

static void sort_module(ProfileModule *module)
{
    sort_array(module->blocks, module->n_blocks, sizeof *module->blocks, block_order);
    sort_array(module->edges, module->n_edges, sizeof *module->edges, profile_edge_order);
    sort_array(module->entries, module->n_entries, sizeof *module->entries, profile_entry_order);
    sort_array(module->read_pages, module->n_read_pages, sizeof *module->read_pages, page_order);
    sort_array(module->values, module->n_values, sizeof *module->values, profile_value_order);
    for (uint32_t i = 0; i < module->n_values; i++)
        sort_array(module->values[i].top, module->values[i].n_top, sizeof(ProfileTop),
                   profile_top_order);
}

static Status finish_text(TextReader *reader, const Profile **out, Error *err)
{
    Profile *profile = arena_copy(reader->arena, &reader->profile, sizeof reader->profile);
    profile->modules = arena_many(reader->arena, ProfileModule, profile->n_modules);
    assert(profile->n_modules == 0 || reader->modules != NULL);
    for (uint32_t i = 0; i < profile->n_modules && reader->modules != NULL; i++) {
        profile->modules[i] = reader->modules[i].module;
        sort_module(&profile->modules[i]);
    }
    sort_array(reader->remarks, profile->n_remarks, sizeof *reader->remarks, remark_order);
    profile->remarks = reader->remarks;
    TRY(profile_check(profile, reader->path, err));
    *out = profile;
    return ST_OK;
}

Status profile_read_text(Arena *arena, const char *path, Bytes file, const Profile **out,
                         Error *err)
{
    TextReader reader = { .arena = arena, .path = path };
    reader.profile = (Profile){
        .path = arena_string(arena, path), .command = "", .complete = true, .n_processes = 1
    };
    const void *nul = file.len > 0 ? memchr(file.data, 0, file.len) : NULL;
    if (nul != NULL)
        return FAIL(err, ST_BAD_INPUT,
                    ((Place){ path, NULL, (uint64_t)((const uint8_t *)nul - file.data) }),
                    "a zero byte in text");
    char *text = arena_alloc(arena, file.len + 1);
    memcpy(text, file.data, file.len);
    text[file.len] = '\0';
    reader.file_start = text;
    for (char *line = text; line != NULL;) {
        char *end = strchr(line, '\n');
        if (end != NULL)
            *end = '\0';
        reader.line++;
        reader.line_start = reader.at = line;
        if (reader.line > 1)
            TRY(read_line(&reader, err));
        else if (strcmp(line, PROFILE_TEXT_MAGIC) != 0)
            return TEXT_FAIL(&reader, err, "not \"%s\"", PROFILE_TEXT_MAGIC);
        line = end != NULL ? end + 1 : NULL;
    }
    return finish_text(&reader, out, err);
}
