/*
 * profile_sizes.c: how long the instructions of a run are, decoded from its file.
 *
 *     the last run    |i1|i2|i3|i4|
 *     this one              |i3|i4|       its sizes are there
 *     or                    |i3|i4|i5|    two of them are; i5 is decoded
 *
 * A jump into the middle of a run begins another that most often ends with it.
 *
 * SPDX-License-Identifier: MIT
 */
#include "core/insn.h"
#include "core/profile_parts.h"

#include <string.h>

/* The sizes of the last run from `start` on, and how many; NULL: no instruction begins there. */
static const uint8_t *known_from(const Run *last, uint64_t start, uint32_t *n)
{
    uint64_t at = last->start;
    uint32_t i = 0;
    if (start >= at + last->size)
        return NULL;
    while (i < last->n_insns && at < start)
        at += last->sizes[i++];
    *n = last->n_insns - i;
    return i < last->n_insns && at == start ? last->sizes + i : NULL;
}

/* How far the first sizes of `known` go into the run. */
typedef struct Reach {
    uint32_t n;    /* instructions */
    uint32_t at;   /* bytes */
    uint32_t last; /* offset of the last of them */
} Reach;

static Reach reach_of(const uint8_t *known, uint32_t n, const Run *run)
{
    Reach reach = { 0 };
    while (reach.n < n && reach.n < run->n_insns && known[reach.n] <= run->size - reach.at) {
        reach.last = reach.at;
        reach.at += known[reach.n++];
    }
    return reach;
}

static bool is_whole(const Reach *reach, const Run *run)
{
    return reach->n == run->n_insns && reach->at == run->size && reach->last == run->last;
}

/* From the run's start on, and further than its end: the decoder is fastest with bytes to spare. */
static Bytes code_of(const MapSource *source, const Run *run)
{
    Bytes code = { NULL, 0 };
    if (source->image != NULL)
        code = image_bytes_from(source->image, vaddr(run->start));
    else if (run->start < source->vdso.len)
        code = (Bytes){ source->vdso.data + run->start, source->vdso.len - run->start };
    return code;
}

static const uint8_t *decode_from(Arena *arena, const MapSource *source, const Run *run,
                                  Reach reach, const uint8_t *known)
{
    Bytes code = code_of(source, run);
    if (code.len < run->size)
        return NULL;
    uint8_t *sizes = arena_many(arena, uint8_t, run->n_insns);
    if (reach.n > 0)
        memcpy(sizes, known, reach.n);
    while (reach.at < run->size && reach.n < run->n_insns) {
        uint8_t flow;
        Vaddr target;
        Bytes rest = { code.data + reach.at, code.len - reach.at };
        if (!insn_decode_fast(rest, vaddr(run->start + reach.at), &sizes[reach.n], &flow, &target))
            return NULL;
        reach.last = reach.at;
        reach.at += sizes[reach.n++];
    }
    return is_whole(&reach, run) ? sizes : NULL;
}

const uint8_t *profile_run_sizes(RunSizes *sizes, const MapSource *source, const Run *run)
{
    uint32_t n = 0;
    const uint8_t *known = known_from(&sizes->last, run->start, &n);
    Reach reach = { 0 };
    if (known != NULL)
        reach = reach_of(known, n, run);
    const uint8_t *all = known;
    if (known == NULL || !is_whole(&reach, run))
        all = decode_from(sizes->arena, source, run, reach, known);
    if (all != NULL) {
        sizes->last = *run;
        sizes->last.sizes = all;
    }
    return all;
}
