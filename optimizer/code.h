/*
 * The instructions of one function, decoded linearly, with what is known of each.
 *
 *     extent     55 48 89 e5 eb 02 90 90 c3
 *     insns      [0][  1   ][ 2 ][3][4][5]
 *     at         1  2  .  .  3  .  4  5  6        (0: inside an instruction)
 *
 * Scratch data of cfg.c; nothing here outlives the pass.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef RESPIN_OPTIMIZER_CODE_H
#define RESPIN_OPTIMIZER_CODE_H

#include "core/program.h"

enum CodeMark {
    CODE_REACHED = 1u << 0, /* by recursive decoding from the entries */
    CODE_LEADER = 1u << 1,  /* a block begins here */
    CODE_STOPS = 1u << 2,   /* a call that never returns, at the end of flow */
};

enum { CODE_NONE = UINT32_MAX };

/* One extent, in order of address. */
typedef struct CodeSpan {
    Vaddr start;
    uint64_t size;
    uint32_t *at; /* by byte: 1 + index of the instruction that starts there; 0: none does */
} CodeSpan;

typedef struct Code {
    Insn *insns; /* of all spans, in order of address */
    uint32_t n;
    uint8_t *marks;  /* by instruction: CodeMark */
    uint32_t *facts; /* by instruction: BlockFact of the block that begins here */
    CodeSpan *spans;
    uint32_t n_spans;
} Code;

/* Decodes all extents of `fn`. False: `bad` is the address that does not decode, or VADDR_NONE when
 * an extent has no bytes. Everything in `scratch`. */
bool code_decode(Arena *scratch, const Image *image, const Func *fn, Code *out, Vaddr *bad);

/* The span that contains `addr`; NULL: none. */
const CodeSpan *code_span_at(const Code *code, Vaddr addr);
/* The instruction that starts at `addr`; CODE_NONE: none. */
uint32_t code_at(const Code *code, Vaddr addr);
/* The instruction that contains `addr`; CODE_NONE: none. */
uint32_t code_over(const Code *code, Vaddr addr);
/* The instruction that follows without a gap; CODE_NONE: its span ends. */
uint32_t code_next(const Code *code, uint32_t index);

#endif
