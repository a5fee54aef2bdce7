/*
 * point.h: which guest instruction the code of a trace stands for, packed.
 *
 * There is a point for nearly every translated instruction, and hardly one is ever looked at: only
 * where a fault or a signal meets the code. So they are bytes in a row, read from the first one on.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef RESPIN_PROFILER_POINT_H
#define RESPIN_PROFILER_POINT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Where the copy of a guest instruction begins, or glue that may fault. State at `offset`: all
 * guest registers and flags are in the host's, but for those that `spilled` names, which are in the
 * area (a clean point may have some there, too).
 */
typedef struct TracePoint {
    uint32_t offset;     /* from Trace.code; stubs lie behind the last exit */
    uint8_t block;       /* index in Trace.blocks */
    uint8_t insn;        /* of the block: the guest instruction that is about to be executed */
    uint8_t size;        /* bytes of host code for which this holds */
    uint8_t spilled : 2; /* bit 0: RAX is in AreaSlots.rax, bit 1: RCX is in AreaSlots.rcx */
    uint8_t clean : 1; /* the guest instruction has not begun: asynchronous signals may stop here */
    uint8_t flat : 5;  /* RSP was moved by glue: guest RSP = host RSP + flat (0: in place) */
} TracePoint;

enum { SPILLED_RAX = 1, SPILLED_RCX = 2 };

enum { POINT_MOST_BYTES = 10 }; /* of one, packed */

/* Packs `n` points; how many bytes it took. `to` has room for POINT_MOST_BYTES each. */
size_t point_pack(const TracePoint *points, uint32_t n, uint8_t *to);
/*
 * The last of `n` packed points that begins at or before `offset`, if it covers it. They were in
 * the order of their offsets. Async-signal-safe.
 */
bool point_find(const uint8_t *packed, uint32_t n, uint32_t offset, TracePoint *found);

#endif
