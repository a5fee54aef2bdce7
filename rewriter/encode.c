/* encode.c: jumps and nops from their manual entries. SPDX-License-Identifier: MIT */
#include "rewriter/encode.h"

#include <string.h>

Insn encode_jump(bool wide)
{
    Insn insn = { .addr = VADDR_NONE,
                  .ref_to = VADDR_NONE,
                  .flow = FLOW_JUMP,
                  .ref = REF_BRANCH,
                  .ref_offset = 1,
                  .facts = INSN_MADE,
                  .table = -1 };
    insn.size = wide ? JUMP_WIDE : JUMP_NARROW;
    insn.ref_size = wide ? 4 : 1;
    insn.bytes[0] = wide ? 0xe9 : 0xeb;
    return insn;
}

/* SDM vol. 2B NOP, table "Recommended Multi-Byte Sequence of NOP Instruction". */
static const uint8_t nops[NOP_MAX][NOP_MAX] = {
    { 0x90 },
    { 0x66, 0x90 },
    { 0x0f, 0x1f, 0x00 },
    { 0x0f, 0x1f, 0x40, 0x00 },
    { 0x0f, 0x1f, 0x44, 0x00, 0x00 },
    { 0x66, 0x0f, 0x1f, 0x44, 0x00, 0x00 },
    { 0x0f, 0x1f, 0x80, 0x00, 0x00, 0x00, 0x00 },
    { 0x0f, 0x1f, 0x84, 0x00, 0x00, 0x00, 0x00, 0x00 },
    { 0x66, 0x0f, 0x1f, 0x84, 0x00, 0x00, 0x00, 0x00, 0x00 },
};

void encode_nop(uint8_t *out, uint8_t size)
{
    memcpy(out, nops[size - 1], size);
}

uint8_t encode_nop_size(uint64_t count)
{
    return count < NOP_MAX ? (uint8_t)count : NOP_MAX;
}

bool encode_patch(uint8_t out[JUMP_WIDE], Vaddr at, NewAddr to)
{
    Insn jump = encode_jump(true);
    if (!insn_set_ref(&jump, at.v, to.v))
        return false;
    memcpy(out, jump.bytes, JUMP_WIDE);
    return true;
}
