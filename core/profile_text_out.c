/*
 * profile_text_out.c: writes the text form, in order, so that two texts can be compared.
 *
 * SPDX-License-Identifier: MIT
 */
#include "core/profile_parts.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

__attribute__((format(printf, 2, 3))) static void put(Buffer *out, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    char text[128];
    int n = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    buffer_put(out, text, (size_t)n < sizeof text ? (size_t)n : sizeof text - 1);
}

/* `word text` as one line: a control character in a path or a command becomes '?'. */
static void put_line(Buffer *out, const char *word, const char *text)
{
    buffer_put(out, word, strlen(word));
    buffer_u8(out, ' ');
    for (; *text != '\0'; text++)
        buffer_u8(out, (uint8_t)*text < 0x20 ? '?' : (uint8_t)*text);
    buffer_u8(out, '\n');
}

static void put_key(Buffer *out, const ImageKey *key)
{
    if (key->build_id_len > 0) {
        put(out, "build-id ");
        for (uint32_t i = 0; i < key->build_id_len; i++)
            put(out, "%02x", key->build_id[i]);
        put(out, "\n");
    }
    if (key->text_hash[0] != 0 || key->text_hash[1] != 0)
        put(out, "text-hash 0x%016" PRIx64 " 0x%016" PRIx64 "\n", key->text_hash[0],
            key->text_hash[1]);
}

static void put_block(Buffer *out, const ProfileBlock *block)
{
    put(out, "block 0x%" PRIx64 " %u %u %" PRIu64, block->start.v, block->size, block->n_insns,
        block->count);
    for (uint32_t i = 0; block->insn_sizes != NULL && i < block->n_insns; i++)
        put(out, "%c%u", i == 0 ? ' ' : ',', block->insn_sizes[i]);
    put(out, "\n");
}

static void put_edge(Buffer *out, const ProfileEdge *edge, uint32_t module)
{
    put(out, "edge %s 0x%" PRIx64 " ", profile_edge_name(edge->kind), edge->from.v);
    if (edge->to_module == MODULE_NONE)
        put(out, "-:");
    else if (edge->to_module != module)
        put(out, "%u:", edge->to_module);
    put(out, "0x%" PRIx64 " %" PRIu64 "\n", edge->to.v, edge->count);
}

static void put_value(Buffer *out, const ProfileValue *value)
{
    put(out, "value %s 0x%" PRIx64 " %" PRIu64 " %" PRIu64, profile_value_name(value->kind),
        value->at.v, value->n, value->missed);
    for (uint32_t i = 0; i < value->n_top; i++)
        put(out, value->kind == OBSERVED_STRIDE ? " %" PRId64 ":%" PRIu64 : " %" PRIu64 ":%" PRIu64,
            value->top[i].value, value->top[i].count);
    put(out, "\n");
}

static void put_module(Buffer *out, const ProfileModule *module, uint32_t index)
{
    put_line(out, "module", module->path);
    put_key(out, &module->key);
    if (module->text_written)
        put(out, "text-written\n");
    for (uint32_t i = 0; i < module->n_blocks; i++)
        put_block(out, &module->blocks[i]);
    for (uint32_t i = 0; i < module->n_edges; i++)
        put_edge(out, &module->edges[i], index);
    for (uint32_t i = 0; i < module->n_entries; i++)
        put(out, "entry %s 0x%" PRIx64 " %" PRIu64 "\n", profile_edge_name(module->entries[i].kind),
            module->entries[i].to.v, module->entries[i].count);
    for (uint32_t i = 0; i < module->n_read_pages; i++)
        put(out, "read-page 0x%" PRIx64 "\n", module->read_pages[i].v);
    for (uint32_t i = 0; i < module->n_values; i++)
        put_value(out, &module->values[i]);
}

void profile_write_text(const Profile *profile, Buffer *out)
{
    put(out, "%s\n", PROFILE_TEXT_MAGIC);
    if (profile->command[0] != '\0')
        put_line(out, "command", profile->command);
    put(out, "processes %u\n", profile->n_processes);
    put(out, "flags%s%s%s%s\n", profile->complete ? "" : " incomplete",
        profile->counting_stopped ? " counting-stopped" : "", profile->sampled ? " sampled" : "",
        profile->detached ? " detached" : "");
    if (profile->bursts.moments > 0)
        put(out, "bursts %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 "\n",
            profile->bursts.moments, profile->bursts.taken, profile->bursts.time_ns,
            profile->bursts.spent_ns);
    if (profile->outside_insns > 0)
        put(out, "outside %" PRIu64 "\n", profile->outside_insns);
    for (uint32_t i = 0; i < profile->n_remarks; i++)
        put_line(out, "remark", profile->remarks[i]);
    for (uint32_t i = 0; i < profile->n_modules; i++)
        put_module(out, &profile->modules[i], i);
}
