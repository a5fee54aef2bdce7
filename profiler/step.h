/*
 * step.h: the engines that decode at each execution, `switch` and `indirect`.
 *
 *     bytes at pc ──► fetch_form ──► routine, and operands in step.slot (laid out as a record)
 *                                       │
 *          switch: one central `switch` ┤    indirect: each routine looks the next one up
 *                                       ▼
 *                    the same bodies as threaded's handlers (handlers_*.c), compiled once more
 *
 * Nothing decoded is kept but this: a block's LiveBlock and counters, since counts are by block,
 * and native thunks, by address and bytes, since generating native code is no interpretation. A
 * block's `ops` holds two things: ops[0], whose handler begins the block, and ops[1], the *site*:
 * what its last instruction is counted by and known by, laid out like the record that threaded
 * would have.
 *
 * What a transfer goes to is a guest address here, not a record: links in step.slot hold addresses.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef RESPIN_PROFILER_STEP_H
#define RESPIN_PROFILER_STEP_H

#include "profiler/fetch.h"

/* Routines beyond the rows and the specials. */
enum {
    ROUTINE_NATIVE = (ROW_COUNT + SPECIAL_COUNT) * ROUTINES_OF_ROW, /* a kept thunk */
    ROUTINE_CHANGED, /* code that is not the block's */
    ROUTINE_COUNT
};

/* Bytes that are fetched at once. */
enum { STEP_FETCH = 16, STEP_PAGE = 4096 };

/* What an engine gives to the parts that both share. */
typedef struct StepEngine {
    Handler *block; /* op: a block's first record; begins the block */
    Handler *done;  /* behind a kept thunk: goes on at step.next */
    Handler *jump;  /* an indirect jump, an indirect call, whose target was loaded into TEMP_REG */
    Handler *call;
} StepEngine;

extern const StepEngine engine_switch, engine_indirect;
/* Fills the dispatch table of `indirect`. */
void engine_indirect_init(void);

/* Between records of one instruction. */
enum { STEP_ZERO_REG = offsetof(Cpu, scratch), STEP_TEMP_REG = STEP_ZERO_REG + sizeof(uint64_t) };

static inline bool step_is_on(void)
{
    return the_vm.options.engine <= ENGINE_INDIRECT && the_vm.options.burst == NULL;
}

/* A block that was entered: a thread's own shortcut past lookup.c, direct-mapped. */
typedef struct StepSeen {
    uint64_t pc;
    const Op *ops;
} StepSeen;

enum { STEP_SEEN = 2048 };

static inline StepSeen *step_seen(const Cpu *cpu, uint64_t pc)
{
    return &cpu->step.seen[(pc ^ pc >> 11) & (STEP_SEEN - 1)];
}

/* Once. */
void step_init(void);
/* Once a thread. code_lock is held. */
void step_init_thread(Cpu *cpu);
/* As flow_find_code, for cpu->pc; the block is seen then. */
const Op *step_find(Cpu *cpu);
/* As records_make. code_lock is held. */
Block *step_make_block(DecodedRun *run);
/* Decodes the 16 bytes low, high: the routine; operands in step.slot. */
unsigned step_decode(Cpu *cpu, uint64_t low, uint64_t high);
/* The same where only `room` bytes are there: at the end of a page. */
unsigned step_decode_edge(Cpu *cpu, uint64_t low, uint64_t high, unsigned room);
/* The kept records for what step.bytes holds, which has no routine; NULL: no instruction.
 * Sets step.next. Takes code_lock. */
const Op *step_native(Cpu *cpu);
/* The index in its block of the instruction at step.pc. */
uint32_t step_index(const Cpu *cpu);

#endif
