/*
 * insn.c: Zydis's view of an instruction, turned into ours.
 *
 *     bytes --ZydisDecoderDecodeInstruction--> length, raw parts --> Insn (flow, ref, facts)
 *     Insn  --ZydisDecoderDecodeFull---------> operands ----------> InsnEffects, Operand[3]
 *
 * An Insn keeps its bytes and little else: effects and operands are decoded again when asked for,
 * so that an instruction costs 56 bytes and a function of any size fits.
 *
 * Near branches with a 66 prefix and no REX.W are no instructions here: Intel ignores the prefix,
 * AMD truncates RIP (SDM vol. 2A, JMP; AMD64 APM vol. 3, Jcc), so nobody's compiler writes them.
 *
 * SPDX-License-Identifier: MIT
 */
#include "core/insn_zydis.h"

#include <stdio.h>
#include <string.h>

static ZydisDecoder decoder_make(void)
{
    ZydisDecoder decoder;
    ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
    return decoder;
}

/* --- flow --------------------------------------------------------------------------------- */

static bool is_far(const ZydisDecodedInstruction *raw)
{
    return raw->meta.branch_type == ZYDIS_BRANCH_TYPE_FAR;
}

static bool is_indirect(const ZydisDecodedInstruction *raw)
{
    return raw->raw.modrm.offset != 0 || is_far(raw);
}

static Flow flow_of_conditional(ZydisMnemonic mnemonic)
{
    switch (mnemonic) {
    case ZYDIS_MNEMONIC_LOOP:
    case ZYDIS_MNEMONIC_LOOPE:
    case ZYDIS_MNEMONIC_LOOPNE:
    case ZYDIS_MNEMONIC_JCXZ:
    case ZYDIS_MNEMONIC_JECXZ:
    case ZYDIS_MNEMONIC_JRCXZ:
        return FLOW_LOOP;
    default:
        return FLOW_COND;
    }
}

static Flow flow_of(const ZydisDecodedInstruction *raw)
{
    switch (raw->mnemonic) {
    case ZYDIS_MNEMONIC_JMP:
        return is_indirect(raw) ? FLOW_JUMP_IND : FLOW_JUMP;
    case ZYDIS_MNEMONIC_CALL:
        return is_indirect(raw) ? FLOW_CALL_IND : FLOW_CALL;
    case ZYDIS_MNEMONIC_XBEGIN:
        return FLOW_XBEGIN;
    case ZYDIS_MNEMONIC_UD0:
    case ZYDIS_MNEMONIC_UD1:
    case ZYDIS_MNEMONIC_UD2:
    case ZYDIS_MNEMONIC_HLT:
    case ZYDIS_MNEMONIC_INT3:
        return FLOW_STOP;
    case ZYDIS_MNEMONIC_SYSCALL:
    case ZYDIS_MNEMONIC_SYSENTER:
    case ZYDIS_MNEMONIC_INT:
    case ZYDIS_MNEMONIC_INT1:
        return FLOW_SYSCALL;
    case ZYDIS_MNEMONIC_IRET:
    case ZYDIS_MNEMONIC_IRETD:
    case ZYDIS_MNEMONIC_IRETQ:
    case ZYDIS_MNEMONIC_SYSRET:
    case ZYDIS_MNEMONIC_SYSEXIT:
    case ZYDIS_MNEMONIC_UIRET:
        return FLOW_RET;
    default:
        break;
    }
    if (raw->meta.category == ZYDIS_CATEGORY_RET)
        return FLOW_RET;
    if (raw->meta.category == ZYDIS_CATEGORY_COND_BR && raw->raw.imm[0].is_relative)
        return flow_of_conditional(raw->mnemonic);
    return FLOW_NEXT;
}

/* --- what the displacement denotes -------------------------------------------------------- */

static void find_branch_ref(const ZydisDecodedInstruction *raw, Insn *out)
{
    if (!raw->raw.imm[0].is_relative)
        return;
    out->ref = REF_BRANCH;
    out->ref_offset = raw->raw.imm[0].offset;
    out->ref_size = raw->raw.imm[0].size / 8;
    out->ref_to = vaddr(out->addr.v + raw->length + raw->raw.imm[0].value.u);
}

static void find_mem_ref(const ZydisDecodedInstruction *raw, Insn *out)
{
    if (raw->raw.disp.size != 32 || raw->raw.modrm.mod != 0)
        return;
    if (raw->raw.modrm.rm == 5) {
        /* SDM vol. 2A 2.2.1.6: counts from the next instruction, immediates included. */
        out->ref = REF_MEM;
        out->ref_to = vaddr(out->addr.v + raw->length + (uint64_t)raw->raw.disp.value);
    } else if (raw->raw.modrm.rm == 4 && (raw->attributes & (ZYDIS_ATTRIB_HAS_SEGMENT_FS |
                                                             ZYDIS_ATTRIB_HAS_SEGMENT_GS)) == 0) {
        out->ref = REF_ABS;
        out->ref_to = vaddr((uint64_t)raw->raw.disp.value);
    } else {
        return;
    }
    out->ref_offset = raw->raw.disp.offset;
    out->ref_size = 4;
}

/* --- facts -------------------------------------------------------------------------------- */

static bool locks(const ZydisDecodedInstruction *raw)
{
    if ((raw->attributes & ZYDIS_ATTRIB_HAS_LOCK) != 0)
        return true;
    return raw->mnemonic == ZYDIS_MNEMONIC_XCHG && raw->raw.modrm.offset != 0 &&
           raw->raw.modrm.mod != 3;
}

static bool has_operand_prefix(const ZydisDecodedInstruction *raw)
{
    return (raw->attributes & ZYDIS_ATTRIB_HAS_OPERANDSIZE) != 0;
}

/* `data16 lea x@tlsgd(%rip), %rdi` and the padded call after it (psABI, general dynamic TLS). */
static bool is_tls_padded(const ZydisDecodedInstruction *raw, const Insn *insn)
{
    if (!has_operand_prefix(raw) || raw->raw.rex.W == 0)
        return false;
    if (raw->mnemonic == ZYDIS_MNEMONIC_LEA)
        return insn->ref == REF_MEM && raw->raw.modrm.reg == 7 && raw->raw.rex.R == 0;
    return raw->mnemonic == ZYDIS_MNEMONIC_CALL;
}

static uint8_t facts_of(const ZydisDecodedInstruction *raw, const Insn *insn)
{
    uint8_t facts = 0;
    if (raw->mnemonic == ZYDIS_MNEMONIC_ENDBR64)
        facts |= INSN_ENDBR;
    if (raw->mnemonic == ZYDIS_MNEMONIC_NOP)
        facts |= INSN_NOP;
    if (locks(raw))
        facts |= INSN_LOCK;
    if ((raw->attributes & ZYDIS_ATTRIB_HAS_NOTRACK) != 0)
        facts |= INSN_NOTRACK;
    if (is_tls_padded(raw, insn))
        facts |= INSN_EXACT_LEN;
    return facts;
}

/* Zydis also knows the Xeon Phi of 2012, whose mask jumps (VEX 0F 84) no x86-64 program has. */
static bool is_of_another_machine(const ZydisDecodedInstruction *raw)
{
    return raw->meta.isa_set >= ZYDIS_ISA_SET_KNCE &&
           raw->meta.isa_set <= ZYDIS_ISA_SET_KNC_PF_HINT;
}

bool insn_decode(Bytes code, Vaddr addr, Insn *out)
{
    ZydisDecoder decoder = decoder_make();
    ZydisDecodedInstruction raw;
    if (code.len == 0 ||
        !ZYAN_SUCCESS(ZydisDecoderDecodeInstruction(&decoder, NULL, code.data, code.len, &raw)) ||
        is_of_another_machine(&raw))
        return false;
    *out = (Insn){ .addr = addr, .ref_to = VADDR_NONE, .size = raw.length, .table = -1 };
    memcpy(out->bytes, code.data, raw.length);
    out->mnemonic = (uint16_t)raw.mnemonic;
    out->flow = (uint8_t)flow_of(&raw);
    find_branch_ref(&raw, out);
    if (out->ref == REF_BRANCH && has_operand_prefix(&raw) && raw.raw.rex.W == 0)
        return false;
    if (out->ref == REF_NONE)
        find_mem_ref(&raw, out);
    if (out->flow == FLOW_COND)
        out->cond = raw.opcode & 15;
    out->facts = facts_of(&raw, out);
    return true;
}

/* --- operands ----------------------------------------------------------------------------- */

bool insn_decode_full(const Insn *insn, InsnFull *out)
{
    ZydisDecoder decoder = decoder_make();
    return ZYAN_SUCCESS(
        ZydisDecoderDecodeFull(&decoder, insn->bytes, insn->size, &out->raw, out->operands));
}

int8_t insn_reg_number(ZydisRegister reg)
{
    ZydisRegister whole = ZydisRegisterGetLargestEnclosing(ZYDIS_MACHINE_MODE_LONG_64, reg);
    if (whole >= ZYDIS_REGISTER_RAX && whole <= ZYDIS_REGISTER_R15)
        return (int8_t)(whole - ZYDIS_REGISTER_RAX);
    return reg == ZYDIS_REGISTER_RIP || reg == ZYDIS_REGISTER_EIP ? -2 : -1;
}

static InsnMem mem_of(const Insn *insn, const ZydisDecodedOperand *from)
{
    InsnMem mem = {
        .base = insn_reg_number(from->mem.base),
        .index = insn_reg_number(from->mem.index),
        .scale = from->mem.scale != 0 ? from->mem.scale : 1,
        .size = from->mem.type == ZYDIS_MEMOP_TYPE_AGEN ? 0 : (uint8_t)(from->size / 8),
        .disp = from->mem.disp.has_displacement ? from->mem.disp.value : 0,
    };
    if (from->mem.segment == ZYDIS_REGISTER_FS)
        mem.segment = 1;
    if (from->mem.segment == ZYDIS_REGISTER_GS)
        mem.segment = 2;
    if (mem.base == -2)
        mem.disp = (int64_t)insn->ref_to.v;
    return mem;
}

static bool is_high_byte(ZydisRegister reg)
{
    return reg >= ZYDIS_REGISTER_AH && reg <= ZYDIS_REGISTER_BH;
}

static Operand operand_of(const Insn *insn, const ZydisDecodedOperand *from)
{
    Operand out = { .size = (uint8_t)(from->size / 8), .reg = -1 };
    switch (from->type) {
    case ZYDIS_OPERAND_TYPE_REGISTER:
        out.reg = insn_reg_number(from->reg.value);
        out.kind = out.reg >= 0 ? OPERAND_REG : OPERAND_OTHER;
        out.high_byte = is_high_byte(from->reg.value);
        break;
    case ZYDIS_OPERAND_TYPE_MEMORY: {
        bool plain =
            from->mem.type == ZYDIS_MEMOP_TYPE_MEM || from->mem.type == ZYDIS_MEMOP_TYPE_AGEN;
        out.kind = plain ? OPERAND_MEM : OPERAND_OTHER;
        out.mem = mem_of(insn, from);
        break;
    }
    case ZYDIS_OPERAND_TYPE_IMMEDIATE:
        out.kind = OPERAND_IMM;
        out.imm = from->imm.is_relative ? (int64_t)insn->ref_to.v : from->imm.value.s;
        break;
    default:
        out.kind = OPERAND_OTHER;
        break;
    }
    return out;
}

// clang-format off
static const struct OpRow {
    ZydisMnemonic mnemonic;
    InsnOp op;
} op_rows[] = {
    { ZYDIS_MNEMONIC_MOV, INSN_OP_MOV },     { ZYDIS_MNEMONIC_MOVZX, INSN_OP_MOVZX },
    { ZYDIS_MNEMONIC_MOVSX, INSN_OP_MOVSX }, { ZYDIS_MNEMONIC_MOVSXD, INSN_OP_MOVSXD },
    { ZYDIS_MNEMONIC_LEA, INSN_OP_LEA },     { ZYDIS_MNEMONIC_ADD, INSN_OP_ADD },
    { ZYDIS_MNEMONIC_SUB, INSN_OP_SUB },     { ZYDIS_MNEMONIC_AND, INSN_OP_AND },
    { ZYDIS_MNEMONIC_OR, INSN_OP_OR },       { ZYDIS_MNEMONIC_XOR, INSN_OP_XOR },
    { ZYDIS_MNEMONIC_CMP, INSN_OP_CMP },     { ZYDIS_MNEMONIC_TEST, INSN_OP_TEST },
    { ZYDIS_MNEMONIC_SHL, INSN_OP_SHL },     { ZYDIS_MNEMONIC_SHR, INSN_OP_SHR },
    { ZYDIS_MNEMONIC_SAR, INSN_OP_SAR },     { ZYDIS_MNEMONIC_PUSH, INSN_OP_PUSH },
    { ZYDIS_MNEMONIC_POP, INSN_OP_POP },     { ZYDIS_MNEMONIC_INC, INSN_OP_INC },
    { ZYDIS_MNEMONIC_DEC, INSN_OP_DEC },     { ZYDIS_MNEMONIC_JMP, INSN_OP_JMP },
    { ZYDIS_MNEMONIC_CALL, INSN_OP_CALL },   { ZYDIS_MNEMONIC_BT, INSN_OP_BT },
    { ZYDIS_MNEMONIC_XCHG, INSN_OP_XCHG },   { ZYDIS_MNEMONIC_NEG, INSN_OP_NEG },
    { ZYDIS_MNEMONIC_NOT, INSN_OP_NOT },     { ZYDIS_MNEMONIC_IMUL, INSN_OP_IMUL },
    { ZYDIS_MNEMONIC_CDQE, INSN_OP_CLTQ },   { ZYDIS_MNEMONIC_LEAVE, INSN_OP_LEAVE },
};
// clang-format on

/* `mov r64, imm64` and the moffs forms carry 8 bytes of immediate or address. */
static bool is_movabs(const ZydisDecodedInstruction *raw)
{
    return raw->mnemonic == ZYDIS_MNEMONIC_MOV &&
           (raw->raw.imm[0].size == 64 || raw->raw.disp.size == 64);
}

static InsnOp op_of(const ZydisDecodedInstruction *raw)
{
    if (is_movabs(raw))
        return INSN_OP_MOVABS;
    if (raw->meta.category == ZYDIS_CATEGORY_CMOV)
        return INSN_OP_CMOV;
    for (size_t i = 0; i < sizeof op_rows / sizeof op_rows[0]; i++)
        if (op_rows[i].mnemonic == raw->mnemonic)
            return op_rows[i].op;
    return INSN_OP_OTHER;
}

static InsnOp operands_of(const Insn *insn, const InsnFull *full, Operand out[3])
{
    for (int i = 0; i < 3 && i < full->raw.operand_count_visible; i++)
        out[i] = operand_of(insn, &full->operands[i]);
    return op_of(&full->raw);
}

InsnOp insn_operands(const Insn *insn, Operand out[3])
{
    InsnFull full;
    memset(out, 0, 3 * sizeof out[0]);
    return insn_decode_full(insn, &full) ? operands_of(insn, &full, out) : INSN_OP_OTHER;
}

void insn_effects(const Insn *insn, InsnEffects *out)
{
    InsnFull full;
    insn_effects_of(insn, insn_decode_full(insn, &full) ? &full : NULL, out);
}

InsnOp insn_describe(const Insn *insn, Operand out[3], InsnEffects *effects)
{
    InsnFull full;
    memset(out, 0, 3 * sizeof out[0]);
    bool known = insn_decode_full(insn, &full);
    insn_effects_of(insn, known ? &full : NULL, effects);
    return known ? operands_of(insn, &full, out) : INSN_OP_OTHER;
}

/* --- editing and text --------------------------------------------------------------------- */

static bool fits(int64_t value, unsigned size)
{
    return size == 1 ? value == (int8_t)value : value == (int32_t)value;
}

bool insn_set_ref(Insn *insn, uint64_t at, uint64_t target)
{
    if (insn->ref == REF_NONE)
        return false;
    bool plain = insn->ref == REF_ABS || insn->ref == REF_DISP;
    int64_t value = plain ? (int64_t)target : (int64_t)(target - at - insn->size);
    if (!fits(value, insn->ref_size))
        return false;
    for (unsigned i = 0; i < insn->ref_size; i++)
        insn->bytes[insn->ref_offset + i] = (uint8_t)((uint64_t)value >> (8 * i));
    return true;
}

void insn_text(const Insn *insn, char *out, size_t size)
{
    if (size == 0)
        return;
    InsnFull full;
    ZydisFormatter formatter;
    char text[128] = "(bad)";
    uint64_t addr = vaddr_is_none(insn->addr) ? 0 : insn->addr.v;
    if (insn_decode_full(insn, &full) &&
        ZYAN_SUCCESS(ZydisFormatterInit(&formatter, ZYDIS_FORMATTER_STYLE_INTEL)))
        ZydisFormatterFormatInstruction(&formatter, &full.raw, full.operands,
                                        full.raw.operand_count_visible, text, sizeof text, addr,
                                        NULL);
    snprintf(out, size, "%s", text);
}
