/*
 * point.c: points as bytes: what differs from the point before.
 *
 *   tag    [ gap | state | step (2) | size (4) ]        most points are this byte alone
 *   gap    bytes between the end of the one before and this one: 7 bits at a time, sign last
 *   state  spilled, clean, flat
 *   step   the next instruction, the same, the first of the next block, or block and insn follow
 *   size   of its code; 0: it follows
 *
 * SPDX-License-Identifier: MIT
 */
#include "profiler/point.h"

enum {
    TAG_SIZE = 0x0f,
    TAG_NEXT = 0x00,
    TAG_SAME = 0x10,
    TAG_BLOCK = 0x20,
    TAG_OTHER = 0x30,
    TAG_STEP = TAG_OTHER,
    TAG_STATE = 0x40,
    TAG_GAP = 0x80,
    GAP_BITS = 7,
    GAP_MORE = 1 << GAP_BITS,
};

/* What the first point follows: a clean one would be the first instruction of the first block. */
static const TracePoint before_all = { .block = UINT8_MAX, .clean = 1 };

static uint8_t state_of(const TracePoint *point)
{
    return (uint8_t)(point->spilled | point->clean << 2 | point->flat << 3);
}

static uint32_t end_of(const TracePoint *point)
{
    return point->offset + point->size;
}

/* ---- packing ---- */

static uint8_t *put_gap(uint8_t *at, uint32_t gap)
{
    uint32_t rest = gap << 1 ^ -(gap >> 31); /* small in both directions */
    for (; rest >= GAP_MORE; rest >>= GAP_BITS)
        *at++ = (uint8_t)(rest | GAP_MORE);
    *at++ = (uint8_t)rest;
    return at;
}

static unsigned step_between(const TracePoint *last, const TracePoint *point)
{
    if (point->block == last->block && point->insn == (uint8_t)(last->insn + 1))
        return TAG_NEXT;
    if (point->block == last->block && point->insn == last->insn)
        return TAG_SAME;
    if (point->block == (uint8_t)(last->block + 1) && point->insn == 0)
        return TAG_BLOCK;
    return TAG_OTHER;
}

static uint8_t *put_point(uint8_t *at, const TracePoint *last, const TracePoint *point)
{
    uint8_t *tag = at++;
    uint32_t gap = point->offset - end_of(last);
    unsigned step = step_between(last, point);
    *tag = (uint8_t)step;
    if (gap != 0) {
        *tag |= TAG_GAP;
        at = put_gap(at, gap);
    }
    if (state_of(point) != state_of(last)) {
        *tag |= TAG_STATE;
        *at++ = state_of(point);
    }
    if (step == TAG_OTHER) {
        *at++ = point->block;
        *at++ = point->insn;
    }
    if (point->size != 0 && point->size <= TAG_SIZE)
        *tag |= point->size;
    else
        *at++ = point->size;
    return at;
}

size_t point_pack(const TracePoint *points, uint32_t n, uint8_t *to)
{
    uint8_t *at = to;
    const TracePoint *last = &before_all;
    for (uint32_t i = 0; i < n; i++) {
        at = put_point(at, last, &points[i]);
        last = &points[i];
    }
    return (size_t)(at - to);
}

/* ---- reading ---- */

static uint32_t take_gap(const uint8_t **at)
{
    uint32_t rest = 0;
    for (unsigned shift = 0;; shift += GAP_BITS) {
        uint8_t byte = *(*at)++;
        rest |= (uint32_t)(byte & ~GAP_MORE) << shift;
        if ((byte & GAP_MORE) == 0)
            return rest >> 1 ^ -(rest & 1);
    }
}

static void take_step(const uint8_t **at, unsigned step, TracePoint *point)
{
    switch (step) {
    case TAG_NEXT:
        point->insn++;
        break;
    case TAG_BLOCK:
        point->block++;
        point->insn = 0;
        break;
    case TAG_OTHER:
        point->block = *(*at)++;
        point->insn = *(*at)++;
        break;
    default:
        break;
    }
}

/* From the point before to the next one. */
static const uint8_t *take_point(const uint8_t *at, TracePoint *point)
{
    uint8_t tag = *at++;
    point->offset = end_of(point);
    if ((tag & TAG_GAP) != 0)
        point->offset += take_gap(&at);
    if ((tag & TAG_STATE) != 0) {
        uint8_t state = *at++;
        point->spilled = state & 3;
        point->clean = state >> 2 & 1;
        point->flat = state >> 3;
    }
    take_step(&at, tag & TAG_STEP, point);
    point->size = tag & TAG_SIZE;
    if (point->size == 0)
        point->size = *at++;
    return at;
}

bool point_find(const uint8_t *packed, uint32_t n, uint32_t offset, TracePoint *found)
{
    TracePoint point = before_all, last = before_all;
    for (uint32_t i = 0; i < n; i++) {
        packed = take_point(packed, &point);
        if (point.offset > offset)
            break;
        last = point;
    }
    *found = last;
    return offset - last.offset < last.size;
}
