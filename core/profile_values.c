/*
 * profile_values.c: observed values of a module: order, sums, names, bounds.
 *
 *     A: 7:60 3:40  missed 0      B: 7:10 5:1  missed 2      A + B: 7:70 3:40 5:1  missed 2
 *
 * Summaries are sums of Misra and Gries (profiler/value_top.h): counts of equal values add up, and
 * what was missed does. Where more values than places are left, the count of the first that finds
 * none is taken off all, and is missed. A sum of any number of parts does not depend on their
 * order; a sum of sums is the same as long as nothing had to be left out, and its bounds hold
 * always.
 *
 * SPDX-License-Identifier: MIT
 */
#include "core/profile_parts.h"

#include <stdlib.h>
#include <string.h>

static const char *const value_names[OBSERVED_KINDS] = {
    [OBSERVED_INDEX] = "index",   [OBSERVED_DIVISOR] = "divisor", [OBSERVED_SHIFT] = "shift",
    [OBSERVED_REPEAT] = "repeat", [OBSERVED_LENGTH] = "length",   [OBSERVED_STRIDE] = "stride",
};

const char *profile_value_name(ObservedKind kind)
{
    return kind < OBSERVED_KINDS ? value_names[kind] : "?";
}

ObservedKind profile_value_kind(const char *name)
{
    unsigned kind = 0;
    while (kind < OBSERVED_KINDS && strcmp(name, value_names[kind]) != 0)
        kind++;
    return (ObservedKind)kind;
}

/* ---- order -------------------------------------------------------------------------------- */

static int compare_u64(uint64_t left, uint64_t right)
{
    return (left > right) - (left < right);
}

int profile_value_order(const void *left, const void *right)
{
    const ProfileValue *a = left;
    const ProfileValue *b = right;
    int order = compare_u64(a->at.v, b->at.v);
    return order != 0 ? order : compare_u64(a->kind, b->kind);
}

static int order_by_value(const void *left, const void *right)
{
    return compare_u64(((const ProfileTop *)left)->value, ((const ProfileTop *)right)->value);
}

int profile_top_order(const void *left, const void *right)
{
    const ProfileTop *a = left;
    const ProfileTop *b = right;
    int order = compare_u64(b->count, a->count);
    return order != 0 ? order : compare_u64(a->value, b->value);
}

/* ---- sums --------------------------------------------------------------------------------- */

/* Adds up equal values; the new number. */
static uint32_t sum_tops(ProfileTop *top, uint32_t n)
{
    uint32_t kept = 0;
    if (n > 1)
        qsort(top, n, sizeof *top, order_by_value);
    for (uint32_t i = 0; i < n; i++) {
        if (top[i].count == 0)
            continue;
        if (kept > 0 && top[kept - 1].value == top[i].value)
            top[kept - 1].count = count_add(top[kept - 1].count, top[i].count);
        else
            top[kept++] = top[i];
    }
    return kept;
}

/* What has no place: the count of the first of them goes off all. */
static void cut_tops(ProfileValue *value)
{
    if (value->n_top > 1)
        qsort(value->top, value->n_top, sizeof *value->top, profile_top_order);
    if (value->n_top <= PROFILE_TOPS)
        return;
    uint64_t off = value->top[PROFILE_TOPS].count;
    value->missed = count_add(value->missed, off);
    value->n_top = 0;
    while (value->n_top < PROFILE_TOPS && value->top[value->n_top].count > off)
        value->top[value->n_top++].count -= off;
}

static bool in_order(const ProfileValue *value)
{
    for (uint32_t i = 0; i < value->n_top; i++)
        if (value->top[i].count == 0 ||
            (i > 0 && profile_top_order(&value->top[i - 1], &value->top[i]) >= 0))
            return false;
    return value->n_top <= PROFILE_TOPS;
}

/* The sum of `n` summaries of one site, in `arena`: parts are freed before it. */
static ProfileValue sum_site(Arena *arena, const ProfileValue *parts, uint32_t n)
{
    if (n == 1 && in_order(parts)) {
        ProfileValue copy = parts[0];
        copy.top = arena_copy(arena, copy.top, copy.n_top * sizeof *copy.top);
        return copy;
    }
    uint32_t total = 0;
    ProfileValue sum = { .at = parts[0].at, .kind = parts[0].kind };
    for (uint32_t i = 0; i < n; i++)
        total += parts[i].n_top;
    sum.top = arena_many(arena, ProfileTop, total);
    for (uint32_t i = 0; i < n; i++) {
        sum.n = count_add(sum.n, parts[i].n);
        sum.missed = count_add(sum.missed, parts[i].missed);
        for (uint32_t j = 0; j < parts[i].n_top; j++)
            sum.top[sum.n_top++] = parts[i].top[j];
    }
    sum.n_top = sum_tops(sum.top, sum.n_top);
    cut_tops(&sum);
    return sum;
}

uint32_t profile_sum_values(Arena *arena, ProfileValue *values, uint32_t n)
{
    uint32_t kept = 0;
    uint32_t end;
    if (n > 1)
        qsort(values, n, sizeof *values, profile_value_order);
    for (uint32_t i = 0; i < n; i = end) {
        for (end = i + 1; end < n && profile_value_order(&values[i], &values[end]) == 0;)
            end++;
        ProfileValue sum = sum_site(arena, &values[i], end - i);
        if (sum.n > 0)
            values[kept++] = sum;
    }
    return kept;
}

/* ---- bounds ------------------------------------------------------------------------------- */

static Status check_value(const char *file, const ProfileModule *module, const ProfileValue *value,
                          Error *err)
{
    Place at = { file, module->path, PLACE_NO_OFFSET };
    uint64_t sum = 0;
    if (value->kind >= OBSERVED_KINDS)
        return FAIL(err, ST_BAD_INPUT, at, "values at 0x%" PRIx64 ": kind %u (below %d)",
                    value->at.v, value->kind, OBSERVED_KINDS);
    if (value->n == 0 || value->missed > value->n || value->n_top > PROFILE_TOPS)
        return FAIL(err, ST_BAD_INPUT, at,
                    "values at 0x%" PRIx64 ": %u places, %" PRIu64 " missed of %" PRIu64,
                    value->at.v, value->n_top, value->missed, value->n);
    for (uint32_t i = 0; i < value->n_top; i++) {
        const ProfileTop *top = &value->top[i];
        if (top->count == 0 || (i > 0 && profile_top_order(top - 1, top) >= 0))
            return FAIL(err, ST_BAD_INPUT, at,
                        "values at 0x%" PRIx64 ": the count of %" PRIu64 " is out of order",
                        value->at.v, top->value);
        sum = count_add(sum, top->count);
    }
    if (sum > value->n)
        return FAIL(err, ST_BAD_INPUT, at,
                    "values at 0x%" PRIx64 ": counts of %" PRIu64 " in all (%" PRIu64 ")",
                    value->at.v, sum, value->n);
    return ST_OK;
}

Status profile_check_values(const char *file, const ProfileModule *module, Error *err)
{
    for (uint32_t i = 0; i < module->n_values; i++) {
        const ProfileValue *value = &module->values[i];
        TRY(check_value(file, module, value, err));
        if (i > 0 && profile_value_order(value - 1, value) >= 0)
            return FAIL(err, ST_BAD_INPUT, ((Place){ file, module->path, PLACE_NO_OFFSET }),
                        "values at 0x%" PRIx64 " are out of order or there twice", value->at.v);
    }
    return ST_OK;
}

/* ---- calls -------------------------------------------------------------------------------- */

/* Functions whose third argument is a length. */
static const char *const length_functions[] = {
    "memcpy",  "memmove",      "memset",        "memcmp",       "bcmp",
    "mempcpy", "memchr",       "memrchr",       "strncmp",      "strncasecmp",
    "strncpy", "stpncpy",      "strncat",       "memccpy",      "wmemcpy",
    "wmemset", "__memcpy_chk", "__memmove_chk", "__memset_chk", "__mempcpy_chk",
};

/* The name of a dynamic symbol; "" when the file does not give it. */
static const char *dynamic_name(const Image *image, uint32_t index)
{
    Elf64_Sym symbol;
    uint64_t strings;
    if (!image_dynamic_symbol(image, index, &symbol) || !image_dynamic(image, DT_STRTAB, &strings))
        return "";
    Bytes rest = image_bytes_from(image, vaddr(strings));
    if (symbol.st_name >= rest.len ||
        memchr(rest.data + symbol.st_name, '\0', rest.len - symbol.st_name) == NULL)
        return "";
    return (const char *)rest.data + symbol.st_name;
}

bool profile_takes_length(const Image *image, Vaddr slot)
{
    const Reloc *reloc = image_reloc_at(image, slot);
    if (reloc == NULL || reloc->symbol == 0)
        return false;
    const char *name = dynamic_name(image, reloc->symbol);
    for (size_t i = 0; i < sizeof length_functions / sizeof length_functions[0]; i++)
        if (strcmp(name, length_functions[i]) == 0)
            return true;
    return false;
}
