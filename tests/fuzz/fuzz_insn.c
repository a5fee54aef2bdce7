/*
 * fuzz_insn.c: any bytes as an instruction: both decoders agree, and setting its reference to what
 * it already denotes changes nothing.
 *
 * SPDX-License-Identifier: MIT
 */
#include "core/insn.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void set_the_same_reference(const Insn *insn)
{
    Insn copy = *insn;
    if (insn->ref == REF_NONE)
        return;
    if (!insn_set_ref(&copy, insn->addr.v, insn->ref_to.v) ||
        memcmp(copy.bytes, insn->bytes, insn->size) != 0)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const Bytes code = { data, size };
    const Vaddr at = { 0x401000 };
    Insn insn;
    uint8_t fast_size, fast_flow;
    Vaddr target;
    bool slow = insn_decode(code, at, &insn);
    bool fast = insn_decode_fast(code, at, &fast_size, &fast_flow, &target);
    if (slow && (!fast || fast_size != insn.size || fast_flow != insn.flow))
        abort();
    if (slow) {
        InsnEffects effects;
        Operand operands[3];
        char text[96];
        insn_effects(&insn, &effects);
        insn_operands(&insn, operands);
        insn_text(&insn, text, sizeof text);
        set_the_same_reference(&insn);
    }
    return 0;
}
