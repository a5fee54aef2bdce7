/*
 * complete.c: what records and thunks need to know of an instruction beyond its routine and
 * operands: registers and flags in and out, whether it may fault. Cold: once per decoded
 * instruction.
 *
 * SPDX-License-Identifier: MIT
 */
#define ZYAN_NO_LIBC 1
#include "profiler/fetch.h"

#include "profiler/flags.h"
#include "profiler/forms.h"

#include <Zydis/Mnemonic.h>

static void note(GuestInsn *insn, uint8_t reg, bool written)
{
    if (reg == NO_REG)
        return;
    insn->regs |= (uint16_t)(1u << (reg >> 3));
    if (written)
        insn->written |= (uint16_t)(1u << (reg >> 3));
}

#define BIT(reg) (1u << R_##reg)

/* Registers that an instruction uses without naming them. */
static void note_implicit(GuestInsn *insn)
{
    static const struct {
        uint16_t mnemonic, read, written;
    } implicit[] = {
        { ZYDIS_MNEMONIC_PUSH, BIT(RSP), BIT(RSP) },
        { ZYDIS_MNEMONIC_POP, BIT(RSP), BIT(RSP) },
        { ZYDIS_MNEMONIC_PUSHFQ, BIT(RSP), BIT(RSP) },
        { ZYDIS_MNEMONIC_POPFQ, BIT(RSP), BIT(RSP) },
        { ZYDIS_MNEMONIC_CALL, BIT(RSP), BIT(RSP) },
        { ZYDIS_MNEMONIC_RET, BIT(RSP), BIT(RSP) },
        { ZYDIS_MNEMONIC_LEAVE, BIT(RSP) | BIT(RBP), BIT(RSP) | BIT(RBP) },
        { ZYDIS_MNEMONIC_CBW, BIT(RAX), BIT(RAX) },
        { ZYDIS_MNEMONIC_CWDE, BIT(RAX), BIT(RAX) },
        { ZYDIS_MNEMONIC_CDQE, BIT(RAX), BIT(RAX) },
        { ZYDIS_MNEMONIC_CDQ, BIT(RAX), BIT(RDX) },
        { ZYDIS_MNEMONIC_CQO, BIT(RAX), BIT(RDX) },
        { ZYDIS_MNEMONIC_CPUID, BIT(RAX) | BIT(RCX), BIT(RAX) | BIT(RBX) | BIT(RCX) | BIT(RDX) },
        { ZYDIS_MNEMONIC_LOOP, BIT(RCX), BIT(RCX) },
        { ZYDIS_MNEMONIC_LOOPE, BIT(RCX), BIT(RCX) },
        { ZYDIS_MNEMONIC_LOOPNE, BIT(RCX), BIT(RCX) },
        { ZYDIS_MNEMONIC_JRCXZ, BIT(RCX), 0 },
        { ZYDIS_MNEMONIC_JECXZ, BIT(RCX), 0 },
        { ZYDIS_MNEMONIC_SYSCALL, 0, BIT(RCX) | BIT(R11) },
        { ZYDIS_MNEMONIC_XBEGIN, BIT(RAX), BIT(RAX) },
    };
    for (unsigned i = 0; i < sizeof implicit / sizeof implicit[0]; i++) {
        if (implicit[i].mnemonic != insn->mnemonic)
            continue;
        insn->regs |= implicit[i].read | implicit[i].written;
        insn->written |= implicit[i].written;
    }
}

static bool uses_stack(const GuestInsn *insn)
{
    static const uint16_t users[] = {
        ZYDIS_MNEMONIC_PUSH, ZYDIS_MNEMONIC_POP, ZYDIS_MNEMONIC_PUSHFQ, ZYDIS_MNEMONIC_POPFQ,
        ZYDIS_MNEMONIC_CALL, ZYDIS_MNEMONIC_RET, ZYDIS_MNEMONIC_LEAVE,
    };
    for (unsigned i = 0; i < sizeof users / sizeof users[0]; i++) {
        if (users[i] == insn->mnemonic)
            return true;
    }
    return false;
}

/* Flags by condition code; each pair of codes reads the same. */
static const uint16_t condition_flags[8] = {
    RFLAGS_OF,
    RFLAGS_CF,
    RFLAGS_ZF,
    RFLAGS_CF | RFLAGS_ZF,
    RFLAGS_SF,
    RFLAGS_PF,
    RFLAGS_SF | RFLAGS_OF,
    RFLAGS_ZF | RFLAGS_SF | RFLAGS_OF,
};

enum { ROWS_OF_CONDITION = ROW_SETNO_R - ROW_SETO_R };

static void take_flags(GuestInsn *insn, unsigned row)
{
    insn->flags_in = insn->flags_out = 0;
    if (insn->cc < 16)
        insn->flags_in = condition_flags[insn->cc >> 1];
    if (row >= ROW_SETO_R && row <= ROW_CMOVNLE_RM)
        insn->flags_in = condition_flags[(row - ROW_SETO_R) / ROWS_OF_CONDITION >> 1];
    switch (insn->mnemonic) {
    case ZYDIS_MNEMONIC_ADC:
    case ZYDIS_MNEMONIC_SBB:
        insn->flags_in = RFLAGS_CF;
        /* fall through */
    case ZYDIS_MNEMONIC_ADD:
    case ZYDIS_MNEMONIC_SUB:
    case ZYDIS_MNEMONIC_CMP:
    case ZYDIS_MNEMONIC_AND:
    case ZYDIS_MNEMONIC_OR:
    case ZYDIS_MNEMONIC_XOR:
    case ZYDIS_MNEMONIC_TEST:
    case ZYDIS_MNEMONIC_NEG:
    case ZYDIS_MNEMONIC_SHL:
    case ZYDIS_MNEMONIC_SHR:
    case ZYDIS_MNEMONIC_SAR:
    case ZYDIS_MNEMONIC_IMUL:
    case ZYDIS_MNEMONIC_POPFQ:
    case ZYDIS_MNEMONIC_SYSCALL:
        insn->flags_out = RFLAGS_ARITH;
        break;
    case ZYDIS_MNEMONIC_INC:
    case ZYDIS_MNEMONIC_DEC:
        insn->flags_out = RFLAGS_ARITH & ~RFLAGS_CF;
        break;
    case ZYDIS_MNEMONIC_ROL:
    case ZYDIS_MNEMONIC_ROR:
        insn->flags_out = RFLAGS_CF | RFLAGS_OF;
        break;
    case ZYDIS_MNEMONIC_BT:
        insn->flags_out = RFLAGS_ARITH & ~RFLAGS_ZF;
        break;
    case ZYDIS_MNEMONIC_PUSHFQ:
        insn->flags_in = RFLAGS_ARITH;
        break;
    case ZYDIS_MNEMONIC_LOOPE:
    case ZYDIS_MNEMONIC_LOOPNE:
        insn->flags_in = RFLAGS_ZF;
        break;
    default:
        break;
    }
    if (insn->shape == SHAPE_RC)
        insn->flags_in = RFLAGS_ARITH;
}

void fetch_complete(GuestInsn *insn, const uint8_t *bytes)
{
    unsigned row = insn->routine / ROUTINES_OF_ROW;
    const RowFacts *fact = &fetch_facts[row];
    bool memory = form_has_memory(insn->shape);
    insn->regs = insn->written = 0;
    note(insn, insn->a, fact->writes_a || row == ROW_COUNT + SPECIAL_mov_long);
    note(insn, insn->b, fact->writes_b);
    if (memory) {
        note(insn, insn->mem.base, false);
        note(insn, insn->mem.index, false);
    } else {
        insn->mem = (GuestMem){ 0 };
    }
    note_implicit(insn);
    insn->faults = (memory && row != ROW_LEA_RM) || uses_stack(insn);
    insn->locked = insn->is_string = insn->gs = false;
    insn->gs_modrm = 0;
    if (insn->rip_modrm == 0) {
        insn->rip_high = false;
        insn->rip_target = 0;
    }
    if (insn->flow == FLOW_NEXT || insn->flow == FLOW_RET || insn->shape != SHAPE_I)
        insn->target = 0;
    take_flags(insn, row);
    for (unsigned i = 0; i < sizeof insn->bytes; i++)
        insn->bytes[i] = i < insn->size ? bytes[i] : 0;
}
