/*
 * fetch.h: the decoder of forms: from bytes to the routine of a row and its operands, without
 * Zydis.
 *
 * A routine is a row with its size and operand mode, or a special instruction:
 *
 *     routine = 16 * (row, or ROW_COUNT + special) + index into the row's table of handlers
 *
 * so one table of pointers, or one `switch`, holds them all.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef RESPIN_PROFILER_FETCH_H
#define RESPIN_PROFILER_FETCH_H

#include "profiler/decode.h"
#include "profiler/opcodes.h"

#define AS_SPECIAL_ENUM(name, mnemonic, flow) SPECIAL_##name,
typedef enum SpecialId { SPECIALS(AS_SPECIAL_ENUM) SPECIAL_COUNT } SpecialId;

/* What the decoder keeps of each row and special. */
typedef struct RowFacts {
    uint16_t valid; /* bit per index into the row's handlers: there is one */
    uint16_t mnemonic;
    uint8_t shape;
    uint8_t flow;
    uint8_t cc;
    bool writes_a, writes_b; /* its register operands */
    /* By complete_init: */
    bool uses_stack;
    uint16_t regs, written; /* general registers, without those that its operands name */
    uint16_t flags_in, flags_out;
} RowFacts;

extern RowFacts fetch_facts[ROW_COUNT + SPECIAL_COUNT];

/* Bytes that fetch_insn may read, whatever `room` says. */
enum { FETCH_READS = 16 };

/*
 * Decodes the instruction at `bytes`, `room` of which are there, which stands at guest address pc.
 * False: it is none of the table's, or is longer than `room`. Fills in what its routine and its
 * record need: not regs, written, flags_in, flags_out, faults and bytes.
 */
bool fetch_insn(GuestInsn *insn, const uint8_t *bytes, unsigned room, uint64_t pc);
/* Fills in the rest. */
void fetch_complete(GuestInsn *insn, const uint8_t *bytes);
/* Once: what of that is the same for all instructions of a row. The rest of fetch_facts is there.
 */
void complete_init(void);
/* Once: the table by opcode. */
void fetch_init(void);

#endif
