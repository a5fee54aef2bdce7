/*
 * insn_effects.c: what one instruction reads and writes, from Zydis's operand actions and flags.
 *
 *     add eax, [rbx+8]   reads rax rbx, memory; writes rax; writes CF PF AF ZF SF OF
 *     mov al, 1          reads rax (the rest of it stays), writes rax
 *     shl eax, cl        flags go to flags_read: with cl = 0 they stay
 *
 * Wherever Zydis says "may", the old value counts as read: an analysis that trusts this can miss an
 * optimisation, never a use.
 *
 * SPDX-License-Identifier: MIT
 */
#include "core/insn_zydis.h"

enum { REGS_ALL = 0xffff, FLAGS_ALL = 0xff };

static void add_reg(InsnEffects *effects, const ZydisDecodedOperand *operand)
{
    int8_t reg = insn_reg_number(operand->reg.value);
    if (reg < 0)
        return;
    RegSet bit = (RegSet)1 << reg;
    bool reads = (operand->actions & ZYDIS_OPERAND_ACTION_MASK_READ) != 0;
    bool writes = (operand->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE) != 0;
    bool may_keep = (operand->actions & ZYDIS_OPERAND_ACTION_CONDWRITE) != 0;
    bool partial = ZydisRegisterGetWidth(ZYDIS_MACHINE_MODE_LONG_64, operand->reg.value) < 32;
    if (reads || (writes && (partial || may_keep)))
        effects->reads |= bit;
    if (writes)
        effects->writes |= bit;
}

static void add_mem(InsnEffects *effects, const ZydisDecodedOperand *operand)
{
    int8_t base = insn_reg_number(operand->mem.base);
    int8_t index = insn_reg_number(operand->mem.index);
    if (base >= 0)
        effects->reads |= (RegSet)1 << base;
    if (index >= 0)
        effects->reads |= (RegSet)1 << index;
    if (operand->mem.type == ZYDIS_MEMOP_TYPE_AGEN)
        return;
    if ((operand->actions & ZYDIS_OPERAND_ACTION_MASK_READ) != 0)
        effects->reads_mem = true;
    if ((operand->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE) != 0)
        effects->writes_mem = true;
}

static bool is_vector_reg(ZydisRegister reg)
{
    switch (ZydisRegisterGetClass(reg)) {
    case ZYDIS_REGCLASS_X87:
    case ZYDIS_REGCLASS_MMX:
    case ZYDIS_REGCLASS_XMM:
    case ZYDIS_REGCLASS_YMM:
    case ZYDIS_REGCLASS_ZMM:
    case ZYDIS_REGCLASS_TMM:
    case ZYDIS_REGCLASS_MASK:
        return true;
    default:
        return reg == ZYDIS_REGISTER_MXCSR || reg == ZYDIS_REGISTER_X87CONTROL ||
               reg == ZYDIS_REGISTER_X87STATUS || reg == ZYDIS_REGISTER_X87TAG;
    }
}

/* Instructions whose register operands do not tell: emms, vzeroall, fninit, ... */
static bool is_vector_extension(const ZydisDecodedInstruction *raw)
{
    switch (raw->meta.isa_ext) {
    case ZYDIS_ISA_EXT_X87:
    case ZYDIS_ISA_EXT_MMX:
    case ZYDIS_ISA_EXT_AMD3DNOW:
    case ZYDIS_ISA_EXT_AVX:
    case ZYDIS_ISA_EXT_AVX2:
    case ZYDIS_ISA_EXT_AVX512EVEX:
    case ZYDIS_ISA_EXT_AVX512VEX:
    case ZYDIS_ISA_EXT_AMX_TILE:
    case ZYDIS_ISA_EXT_XSAVE:
    case ZYDIS_ISA_EXT_XSAVEC:
    case ZYDIS_ISA_EXT_XSAVEOPT:
    case ZYDIS_ISA_EXT_XSAVES:
        return true;
    default:
        return raw->mnemonic == ZYDIS_MNEMONIC_LDMXCSR || raw->mnemonic == ZYDIS_MNEMONIC_STMXCSR ||
               raw->mnemonic == ZYDIS_MNEMONIC_FXSAVE || raw->mnemonic == ZYDIS_MNEMONIC_FXRSTOR ||
               raw->mnemonic == ZYDIS_MNEMONIC_FXSAVE64 ||
               raw->mnemonic == ZYDIS_MNEMONIC_FXRSTOR64;
    }
}

static bool is_system_reg(ZydisRegister reg)
{
    switch (ZydisRegisterGetClass(reg)) {
    case ZYDIS_REGCLASS_SEGMENT:
    case ZYDIS_REGCLASS_CONTROL:
    case ZYDIS_REGCLASS_DEBUG:
    case ZYDIS_REGCLASS_TEST:
    case ZYDIS_REGCLASS_TABLE:
    case ZYDIS_REGCLASS_BOUND:
        return true;
    default:
        return false;
    }
}

static bool is_barrier_category(const ZydisDecodedInstruction *raw)
{
    switch (raw->meta.category) {
    case ZYDIS_CATEGORY_CALL:
    case ZYDIS_CATEGORY_RET:
    case ZYDIS_CATEGORY_INTERRUPT:
    case ZYDIS_CATEGORY_IO:
    case ZYDIS_CATEGORY_IOSTRINGOP:
    case ZYDIS_CATEGORY_SEGOP:
    case ZYDIS_CATEGORY_SEMAPHORE:
    case ZYDIS_CATEGORY_SERIALIZE:
    case ZYDIS_CATEGORY_SYSCALL:
    case ZYDIS_CATEGORY_SYSRET:
    case ZYDIS_CATEGORY_SYSTEM:
    case ZYDIS_CATEGORY_VTX:
    case ZYDIS_CATEGORY_RDWRFSGS:
    case ZYDIS_CATEGORY_WAITPKG:
    case ZYDIS_CATEGORY_XSAVE:
    case ZYDIS_CATEGORY_XSAVEOPT:
    case ZYDIS_CATEGORY_UINTR:
    case ZYDIS_CATEGORY_SGX:
    case ZYDIS_CATEGORY_PKU:
    case ZYDIS_CATEGORY_AMX_TILE:
    case ZYDIS_CATEGORY_TSX_LDTRK:
        return true;
    default:
        return false;
    }
}

static bool is_barrier(const Insn *insn, const ZydisDecodedInstruction *raw)
{
    if ((insn->facts & INSN_LOCK) != 0 || is_barrier_category(raw))
        return true;
    if (raw->meta.isa_ext == ZYDIS_ISA_EXT_RTM || insn->flow == FLOW_SYSCALL ||
        insn->flow == FLOW_STOP)
        return true;
    switch (raw->mnemonic) {
    case ZYDIS_MNEMONIC_CPUID:
    case ZYDIS_MNEMONIC_RDTSC:
    case ZYDIS_MNEMONIC_RDTSCP:
    case ZYDIS_MNEMONIC_LFENCE:
    case ZYDIS_MNEMONIC_MFENCE:
    case ZYDIS_MNEMONIC_SFENCE:
    case ZYDIS_MNEMONIC_PAUSE:
    case ZYDIS_MNEMONIC_XGETBV:
    case ZYDIS_MNEMONIC_POPF:
    case ZYDIS_MNEMONIC_POPFQ:
    case ZYDIS_MNEMONIC_PUSHF:
    case ZYDIS_MNEMONIC_PUSHFQ:
        return true;
    default:
        return false;
    }
}

static uint8_t our_flags(ZydisAccessedFlagsMask flags)
{
    static const struct {
        ZydisAccessedFlagsMask theirs;
        uint8_t ours;
    } rows[] = {
        { ZYDIS_CPUFLAG_CF, FLAG_CF }, { ZYDIS_CPUFLAG_PF, FLAG_PF }, { ZYDIS_CPUFLAG_AF, FLAG_AF },
        { ZYDIS_CPUFLAG_ZF, FLAG_ZF }, { ZYDIS_CPUFLAG_SF, FLAG_SF }, { ZYDIS_CPUFLAG_OF, FLAG_OF },
        { ZYDIS_CPUFLAG_DF, FLAG_DF },
    };
    uint8_t out = 0;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if ((flags & rows[i].theirs) != 0)
            out |= rows[i].ours;
        flags &= ~rows[i].theirs;
    }
    return flags != 0 ? out | FLAG_OTHER : out;
}

static bool counts_by_cl(const ZydisDecodedInstruction *raw)
{
    bool shifts =
        raw->meta.category == ZYDIS_CATEGORY_SHIFT || raw->meta.category == ZYDIS_CATEGORY_ROTATE;
    return shifts && raw->encoding == ZYDIS_INSTRUCTION_ENCODING_LEGACY;
}

/* A shift or rotation by 0 and a `rep cmps`/`scas` of 0 elements leave all flags as they were
 * (SDM vol. 2B, SAL/SAR/SHL/SHR: "if the count is 0, the flags are not affected"). */
static bool may_keep_flags(const InsnFull *full)
{
    if ((full->raw.attributes &
         (ZYDIS_ATTRIB_HAS_REP | ZYDIS_ATTRIB_HAS_REPE | ZYDIS_ATTRIB_HAS_REPNE)) != 0)
        return true;
    if (!counts_by_cl(&full->raw) || full->raw.operand_count_visible < 1)
        return false;
    const ZydisDecodedOperand *last = &full->operands[full->raw.operand_count_visible - 1];
    if (last->type == ZYDIS_OPERAND_TYPE_IMMEDIATE) {
        unsigned mask = full->raw.operand_width == 64 ? 63 : 31;
        return (last->imm.value.u & mask) == 0;
    }
    return last->type == ZYDIS_OPERAND_TYPE_REGISTER && last->reg.value == ZYDIS_REGISTER_CL;
}

static void add_flags(InsnEffects *effects, const InsnFull *full)
{
    const ZydisAccessedFlags *flags = full->raw.cpu_flags;
    if (flags == NULL)
        return;
    uint8_t written = our_flags(flags->modified | flags->set_0 | flags->set_1 | flags->undefined);
    effects->flags_read = our_flags(flags->tested);
    if (may_keep_flags(full))
        effects->flags_read |= written;
    else
        effects->flags_written = written;
}

/* `xor r, r` and `sub r, r` do not depend on r. */
static bool is_zeroing(const InsnFull *full)
{
    if (full->raw.mnemonic != ZYDIS_MNEMONIC_XOR && full->raw.mnemonic != ZYDIS_MNEMONIC_SUB)
        return false;
    const ZydisDecodedOperand *left = &full->operands[0];
    const ZydisDecodedOperand *right = &full->operands[1];
    return left->type == ZYDIS_OPERAND_TYPE_REGISTER &&
           right->type == ZYDIS_OPERAND_TYPE_REGISTER && left->reg.value == right->reg.value &&
           left->size >= 32;
}

static void everything(InsnEffects *out)
{
    *out = (InsnEffects){ .reads = REGS_ALL,
                          .flags_read = FLAGS_ALL,
                          .reads_mem = true,
                          .writes_mem = true,
                          .vector = true,
                          .barrier = true };
}

void insn_effects_of(const Insn *insn, const InsnFull *full, InsnEffects *out)
{
    if (insn->flow == FLOW_CALL || insn->flow == FLOW_CALL_IND || insn->flow == FLOW_SYSCALL ||
        insn->flow == FLOW_RET || full == NULL) {
        everything(out);
        return;
    }
    *out = (InsnEffects){ .barrier = is_barrier(insn, &full->raw),
                          .vector = is_vector_extension(&full->raw) };
    for (int i = 0; i < full->raw.operand_count; i++) {
        const ZydisDecodedOperand *operand = &full->operands[i];
        if (operand->type == ZYDIS_OPERAND_TYPE_REGISTER) {
            add_reg(out, operand);
            out->vector |= is_vector_reg(operand->reg.value);
            out->barrier |= is_system_reg(operand->reg.value);
        } else if (operand->type == ZYDIS_OPERAND_TYPE_MEMORY) {
            add_mem(out, operand);
            out->vector |= is_vector_reg(operand->mem.index);
        }
    }
    if (is_zeroing(full))
        out->reads &= ~((RegSet)1 << insn_reg_number(full->operands[0].reg.value));
    add_flags(out, full);
}
