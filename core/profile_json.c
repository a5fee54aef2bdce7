/*
 * profile_json.c: all that a profile holds, as one JSON object.
 *
 *     { "format": "respin-profile", "version": 1, "command": …,
 *       "modules": [ { "path": …, "blocks": [ ["0x1139", 12, 3, 100], … ],
 *                      "edges": [ ["taken", "0x1140", 0, "0x1139", 99], … ], … } ] }
 *
 * Addresses are strings: most readers take numbers for 64-bit floating point. A count over 2^63-1
 * is written as that. Records are made and written one at a time, so memory does not grow with
 * their number. What is no UTF-8 in a path becomes '?'.
 *
 * SPDX-License-Identifier: MIT
 */
#include "core/profile_convert.h"

#include "core/profile_parts.h"

#include <jansson.h>
#include <string.h>

static int take_bytes(const char *data, size_t size, void *out)
{
    buffer_put(out, data, size);
    return 0;
}

/* Writes the value and lets it go. */
static void put_value(Buffer *out, json_t *value)
{
    json_dump_callback(value, take_bytes, out, JSON_COMPACT | JSON_ENCODE_ANY);
    json_decref(value);
}

static json_t *text_value(const char *text)
{
    json_t *value = json_string(text);
    if (value != NULL)
        return value;
    Arena *arena = arena_new();
    char *plain = arena_string(arena, text);
    for (char *at = plain; *at != '\0'; at++)
        if ((*at & 0x80) != 0)
            *at = '?';
    value = json_string(plain);
    arena_free(arena);
    return value;
}

static json_t *count_value(uint64_t count)
{
    return json_integer(count <= INT64_MAX ? (json_int_t)count : INT64_MAX);
}

static json_t *address_value(uint64_t address)
{
    char text[24];
    snprintf(text, sizeof text, "0x%" PRIx64, address);
    return json_string(text);
}

static void put_member(Buffer *out, bool first, const char *name, json_t *value)
{
    buffer_print(out, "%s\"%s\":", first ? "" : ",", name);
    put_value(out, value);
}

/* Before item `i` of an array. */
static void put_break(Buffer *out, uint32_t i)
{
    buffer_print(out, i == 0 ? "\n" : ",\n");
}

static void put_blocks(Buffer *out, const ProfileModule *module)
{
    buffer_print(out, ",\n\"blocks\":[");
    for (uint32_t i = 0; i < module->n_blocks; i++) {
        const ProfileBlock *block = &module->blocks[i];
        put_break(out, i);
        put_value(out,
                  json_pack("[o, I, I, o]", address_value(block->start.v), (json_int_t)block->size,
                            (json_int_t)block->n_insns, count_value(block->count)));
    }
    buffer_print(out, "]");
}

static json_t *module_value(uint32_t module)
{
    return module == MODULE_NONE ? json_null() : json_integer(module);
}

static void put_edges(Buffer *out, const ProfileModule *module)
{
    buffer_print(out, ",\n\"edges\":[");
    for (uint32_t i = 0; i < module->n_edges; i++) {
        const ProfileEdge *edge = &module->edges[i];
        put_break(out, i);
        put_value(out, json_pack("[s, o, o, o, o]", profile_edge_name(edge->kind),
                                 address_value(edge->from.v), module_value(edge->to_module),
                                 address_value(edge->to.v), count_value(edge->count)));
    }
    buffer_print(out, "],\n\"entries\":[");
    for (uint32_t i = 0; i < module->n_entries; i++) {
        const ProfileEdge *entry = &module->entries[i];
        put_break(out, i);
        put_value(out, json_pack("[s, o, o]", profile_edge_name(entry->kind),
                                 address_value(entry->to.v), count_value(entry->count)));
    }
    buffer_print(out, "]");
}

static void put_module(Buffer *out, Arena *scratch, const ProfileModule *module)
{
    char hash[33];
    snprintf(hash, sizeof hash, "%016" PRIx64 "%016" PRIx64, module->key.text_hash[1],
             module->key.text_hash[0]);
    buffer_print(out, "{");
    put_member(out, true, "path", text_value(module->path));
    put_member(out, false, "build_id",
               module->key.build_id_len > 0 ? json_string(image_key_text(scratch, &module->key))
                                            : json_null());
    put_member(out, false, "code_hash", json_string(hash));
    put_member(out, false, "instructions", count_value(profile_instructions(module)));
    put_member(out, false, "text_written", json_boolean(module->text_written));
    put_blocks(out, module);
    put_edges(out, module);
    buffer_print(out, ",\n\"read_pages\":[");
    for (uint32_t i = 0; i < module->n_read_pages; i++) {
        put_break(out, i);
        put_value(out, address_value(module->read_pages[i].v));
    }
    buffer_print(out, "]}");
}

static json_t *bursts_value(const ProfileBursts *bursts)
{
    return json_pack("[o, o, o, o]", count_value(bursts->moments), count_value(bursts->taken),
                     count_value(bursts->time_ns), count_value(bursts->spent_ns));
}

void profile_write_json(const Profile *profile, Buffer *out)
{
    Arena *scratch = arena_new();
    char digest[33];
    profile_digest(profile, digest);
    buffer_print(out, "{");
    put_member(out, true, "format", json_string("respin-profile"));
    put_member(out, false, "version", json_integer(1));
    put_member(out, false, "digest", json_string(digest));
    put_member(out, false, "command", text_value(profile->command));
    put_member(out, false, "processes", json_integer(profile->n_processes));
    put_member(out, false, "complete", json_boolean(profile->complete));
    put_member(out, false, "counting_stopped", json_boolean(profile->counting_stopped));
    put_member(out, false, "sampled", json_boolean(profile->sampled));
    put_member(out, false, "detached", json_boolean(profile->detached));
    if (profile->bursts.moments > 0)
        put_member(out, false, "bursts", bursts_value(&profile->bursts));
    put_member(out, false, "outside", count_value(profile->outside_insns));
    buffer_print(out, ",\n\"remarks\":[");
    for (uint32_t i = 0; i < profile->n_remarks; i++) {
        put_break(out, i);
        put_value(out, text_value(profile->remarks[i]));
    }
    buffer_print(out, "],\n\"modules\":[");
    for (uint32_t i = 0; i < profile->n_modules; i++) {
        put_break(out, i);
        put_module(out, scratch, &profile->modules[i]);
    }
    buffer_print(out, "]}\n");
    arena_free(scratch);
}
