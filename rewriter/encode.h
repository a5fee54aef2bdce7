/*
 * The few instructions that the rewriter makes itself: jumps and nops.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef RESPIN_REWRITER_ENCODE_H
#define RESPIN_REWRITER_ENCODE_H

#include "core/insn.h"

enum {
    JUMP_NARROW = 2, /* EB cb */
    JUMP_WIDE = 5,   /* E9 cd */
    NOP_MAX = 9,     /* longest nop that every x86-64 CPU decodes at full speed */
};

/* A direct jump whose displacement is still to be set. */
Insn encode_jump(bool wide);

/* Writes one nop of `size` bytes, 1..NOP_MAX. */
void encode_nop(uint8_t *out, uint8_t size);

/* Sizes of the nops that fill `count` bytes: the next one's, 0 when count is 0. */
uint8_t encode_nop_size(uint64_t count);

/* Writes `jmp rel32` at `out`, which stands at `at`. False: `to` is out of range. */
bool encode_patch(uint8_t out[JUMP_WIDE], Vaddr at, NewAddr to);

#endif
