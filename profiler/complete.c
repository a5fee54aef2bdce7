/*
 * complete.c: what records and thunks need to know of an instruction beyond its routine and
 * operands: registers and flags in and out, whether it may fault. Most of it is a row's, and is
 * found once; the rest once per decoded instruction.
 *
 * SPDX-License-Identifier: MIT
 */
#define ZYAN_NO_LIBC 1
#include "profiler/fetch.h"

#include "profiler/flags.h"
#include "profiler/forms.h"

#include <Zydis/Mnemonic.h>

#define BIT(reg) (1u << R_##reg)

/* ---- by row ---- */

/* Registers that an instruction uses without naming them. */
static void put_implicit(RowFacts *fact)
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
        if (implicit[i].mnemonic != fact->mnemonic)
            continue;
        fact->regs |= implicit[i].read | implicit[i].written;
        fact->written |= implicit[i].written;
    }
}

static bool uses_stack(unsigned mnemonic)
{
    static const uint16_t users[] = {
        ZYDIS_MNEMONIC_PUSH, ZYDIS_MNEMONIC_POP, ZYDIS_MNEMONIC_PUSHFQ, ZYDIS_MNEMONIC_POPFQ,
        ZYDIS_MNEMONIC_CALL, ZYDIS_MNEMONIC_RET, ZYDIS_MNEMONIC_LEAVE,
    };
    for (unsigned i = 0; i < sizeof users / sizeof users[0]; i++) {
        if (users[i] == mnemonic)
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

static void put_flags(RowFacts *fact, unsigned row)
{
    if (fact->cc < 16)
        fact->flags_in = condition_flags[fact->cc >> 1];
    if (row >= ROW_SETO_R && row <= ROW_CMOVNLE_RM)
        fact->flags_in = condition_flags[(row - ROW_SETO_R) / ROWS_OF_CONDITION >> 1];
    switch (fact->mnemonic) {
    case ZYDIS_MNEMONIC_ADC:
    case ZYDIS_MNEMONIC_SBB:
        fact->flags_in = RFLAGS_CF;
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
        fact->flags_out = RFLAGS_ARITH;
        break;
    case ZYDIS_MNEMONIC_INC:
    case ZYDIS_MNEMONIC_DEC:
        fact->flags_out = RFLAGS_ARITH & ~RFLAGS_CF;
        break;
    case ZYDIS_MNEMONIC_ROL:
    case ZYDIS_MNEMONIC_ROR:
        fact->flags_out = RFLAGS_CF | RFLAGS_OF;
        break;
    case ZYDIS_MNEMONIC_BT:
        fact->flags_out = RFLAGS_ARITH & ~RFLAGS_ZF;
        break;
    case ZYDIS_MNEMONIC_PUSHFQ:
        fact->flags_in = RFLAGS_ARITH;
        break;
    case ZYDIS_MNEMONIC_LOOPE:
    case ZYDIS_MNEMONIC_LOOPNE:
        fact->flags_in = RFLAGS_ZF;
        break;
    default:
        break;
    }
    if (fact->shape == SHAPE_RC)
        fact->flags_in = RFLAGS_ARITH;
}

void complete_init(void)
{
    for (unsigned row = 0; row < ROW_COUNT + SPECIAL_COUNT; row++) {
        RowFacts *fact = &fetch_facts[row];
        fact->regs = fact->written = fact->flags_in = fact->flags_out = 0;
        fact->uses_stack = uses_stack(fact->mnemonic);
        put_implicit(fact);
        put_flags(fact, row);
    }
}

/* ---- by instruction ---- */

static void note(GuestInsn *insn, uint8_t reg, bool written)
{
    if (reg == NO_REG)
        return;
    insn->regs |= (uint16_t)(1u << (reg >> 3));
    if (written)
        insn->written |= (uint16_t)(1u << (reg >> 3));
}

/* The first `size` bytes of a word. */
static uint64_t first_bytes(const uint8_t *from, unsigned size)
{
    uint64_t word = *(const uint64_t *)(const void *)from;
    return size >= sizeof word ? word : word & ~(~UINT64_C(0) << 8 * size);
}

/* With zeros behind them, in two words that share a byte. */
static void put_bytes(GuestInsn *insn, const uint8_t *bytes)
{
    enum { SECOND = sizeof insn->bytes - sizeof(uint64_t) };
    unsigned more = insn->size > SECOND ? insn->size - SECOND : 0;
    *(uint64_t *)(void *)&insn->bytes[SECOND] = first_bytes(bytes + SECOND, more);
    *(uint64_t *)(void *)&insn->bytes[0] = first_bytes(bytes, insn->size);
}

void fetch_complete(GuestInsn *insn, const uint8_t *bytes)
{
    unsigned row = insn->routine / ROUTINES_OF_ROW;
    const RowFacts *fact = &fetch_facts[row];
    bool memory = form_has_memory(insn->shape);
    insn->regs = fact->regs;
    insn->written = fact->written;
    insn->flags_in = fact->flags_in;
    insn->flags_out = fact->flags_out;
    note(insn, insn->a, fact->writes_a || row == ROW_COUNT + SPECIAL_mov_long);
    note(insn, insn->b, fact->writes_b);
    if (memory) {
        note(insn, insn->mem.base, false);
        note(insn, insn->mem.index, false);
    } else {
        insn->mem = (GuestMem){ 0 };
    }
    insn->faults = (memory && row != ROW_LEA_RM) || fact->uses_stack;
    insn->locked = insn->is_string = insn->gs = false;
    insn->gs_modrm = 0;
    if (insn->rip_modrm == 0) {
        insn->rip_high = false;
        insn->rip_target = 0;
    }
    if (insn->flow == FLOW_NEXT || insn->flow == FLOW_RET || insn->shape != SHAPE_I)
        insn->target = 0;
    put_bytes(insn, bytes);
}
