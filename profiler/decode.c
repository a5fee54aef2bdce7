/*
 * decode.c: guest bytes to instructions. The only file that calls Zydis, and only in the gate.
 *
 *   bytes -> fetch.c, or Zydis -> GuestInsn: flow, operand shape, registers and flags in and out
 *
 * The decoder of forms (fetch.c) knows what has a handler; Zydis decodes the rest. test_fetch.c
 * holds the one to the other.
 *
 * What the shape does not cover (high-byte targets, GS, 32-bit addresses) gets SHAPE_COUNT and runs
 * natively; registers, flags and the RIP-relative operand are filled in for every instruction.
 *
 * SPDX-License-Identifier: MIT
 */
#define ZYAN_NO_LIBC 1
#include "profiler/decode.h"

#include "profiler/fetch.h"
#include "profiler/flags.h"
#include "profiler/gate.h"
#include "profiler/gs.h"
#include "profiler/zydis_load.h"

#include <Zydis/Zydis.h>

typedef ZyanStatus DecoderInit(ZydisDecoder *, ZydisMachineMode, ZydisStackWidth);
typedef ZyanStatus DecoderMode(ZydisDecoder *, ZydisDecoderMode, ZyanBool);
typedef ZyanStatus DecodeFull(const ZydisDecoder *, const void *, ZyanUSize,
                              ZydisDecodedInstruction *, ZydisDecodedOperand *);

static ZydisDecoder decoder;
static DecodeFull *decode_full;
static ZydisDecodedInstruction zi; /* under code_lock */
static ZydisDecodedOperand zo[ZYDIS_MAX_OPERAND_COUNT];

enum { NOT_GENERAL = -1 };

static void init_in_gate(void *argument)
{
    DecoderInit *init = *(DecoderInit **)argument;
    init(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
}

bool decode_init(const char *zydis_path, const char **why)
{
    LoadedLibrary library;
    gate_init();
    if (!library_load(zydis_path, &library, why))
        return false;
    void *init = library_symbol(&library, "ZydisDecoderInit");
    decode_full = (DecodeFull *)library_symbol(&library, "ZydisDecoderDecodeFull");
    *why = "the decoder library has no ZydisDecoderInit and ZydisDecoderDecodeFull";
    if (init == NULL || decode_full == NULL)
        return false;
    gate_call(init_in_gate, &init);
    return true;
}

/* ---- registers ---- */

/* The number of the general register that `r` is, or is a part of; NOT_GENERAL. */
static int general_number(ZydisRegister r)
{
    if (r >= ZYDIS_REGISTER_RAX && r <= ZYDIS_REGISTER_R15)
        return (int)(r - ZYDIS_REGISTER_RAX);
    if (r >= ZYDIS_REGISTER_EAX && r <= ZYDIS_REGISTER_R15D)
        return (int)(r - ZYDIS_REGISTER_EAX);
    if (r >= ZYDIS_REGISTER_AX && r <= ZYDIS_REGISTER_R15W)
        return (int)(r - ZYDIS_REGISTER_AX);
    if (r >= ZYDIS_REGISTER_AL && r <= ZYDIS_REGISTER_BL)
        return (int)(r - ZYDIS_REGISTER_AL);
    if (r >= ZYDIS_REGISTER_AH && r <= ZYDIS_REGISTER_BH)
        return (int)(r - ZYDIS_REGISTER_AH);
    if (r >= ZYDIS_REGISTER_SPL && r <= ZYDIS_REGISTER_R15B)
        return (int)(r - ZYDIS_REGISTER_SPL) + R_RSP;
    return NOT_GENERAL;
}

static bool is_high_byte(ZydisRegister r)
{
    return r >= ZYDIS_REGISTER_AH && r <= ZYDIS_REGISTER_BH;
}

/* Byte offset into Cpu; NO_REG where it is no general register. */
static uint8_t register_offset(ZydisRegister r)
{
    int number = general_number(r);
    return number == NOT_GENERAL ? NO_REG : (uint8_t)(number * 8 + (is_high_byte(r) ? 1 : 0));
}

static bool is_wide(ZydisRegister r)
{
    return r == ZYDIS_REGISTER_NONE || (r >= ZYDIS_REGISTER_RAX && r <= ZYDIS_REGISTER_R15);
}

static void note_register(GuestInsn *insn, ZydisRegister r, bool written)
{
    int number = general_number(r);
    if (number == NOT_GENERAL)
        return;
    insn->regs |= (uint16_t)(1u << number);
    if (written)
        insn->written |= (uint16_t)(1u << number);
}

/* ---- operands ---- */

static void take_memory(GuestInsn *insn, const ZydisDecodedOperand *operand)
{
    GuestMem *mem = &insn->mem;
    bool rip = operand->mem.base == ZYDIS_REGISTER_RIP || operand->mem.base == ZYDIS_REGISTER_EIP;
    if (rip) {
        insn->rip_target = insn->pc + insn->size + (uint64_t)operand->mem.disp.value;
        insn->rip_modrm = zi.raw.modrm.offset;
    }
    *mem = (GuestMem){ .base = NO_REG,
                       .index = NO_REG,
                       .scale = operand->mem.scale,
                       .disp = operand->mem.disp.value };
    mem->usable = operand->mem.type != ZYDIS_MEMOP_TYPE_VSIB &&
                  operand->mem.segment != ZYDIS_REGISTER_GS && is_wide(operand->mem.index) &&
                  (is_wide(operand->mem.base) || operand->mem.base == ZYDIS_REGISTER_RIP) &&
                  zi.address_width == 64;
    if (!rip && operand->mem.base != ZYDIS_REGISTER_NONE)
        mem->base = register_offset(operand->mem.base);
    if (operand->mem.index != ZYDIS_REGISTER_NONE)
        mem->index = register_offset(operand->mem.index);
    bool plain = mem->base == NO_REG && mem->index == NO_REG;
    if (rip)
        mem->disp = (int64_t)insn->rip_target;
    if (operand->mem.segment == ZYDIS_REGISTER_FS)
        mem->mode = MODE_FS;
    else
        mem->mode = plain ? MODE_ABSOLUTE : mem->index != NO_REG ? MODE_INDEX : MODE_BASE;
    if (mem->mode != MODE_ABSOLUTE && mem->disp != (int32_t)mem->disp)
        mem->usable = false;
}

/*
 * What the VM does with the guest's GS while it keeps the host's. A load of the register, and
 * operands that no scratch register can stand for (string operations, vectors of indices), are
 * refused. Where host GS is the guest's, only the operands of branches are the VM's affair.
 */
static void take_gs(GuestInsn *insn, const ZydisDecodedOperand *operand, bool written)
{
    bool branch = zi.mnemonic == ZYDIS_MNEMONIC_JMP || zi.mnemonic == ZYDIS_MNEMONIC_CALL;
    if (!vm_keeps_gs(&the_vm) && !branch)
        return;
    if (operand->type == ZYDIS_OPERAND_TYPE_REGISTER) {
        if (operand->reg.value == ZYDIS_REGISTER_GS && written)
            insn->flow = FLOW_REFUSED;
        return;
    }
    if (operand->type != ZYDIS_OPERAND_TYPE_MEMORY || operand->mem.segment != ZYDIS_REGISTER_GS ||
        operand->mem.type == ZYDIS_MEMOP_TYPE_AGEN)
        return;
    if (operand->visibility == ZYDIS_OPERAND_VISIBILITY_HIDDEN ||
        operand->mem.type == ZYDIS_MEMOP_TYPE_VSIB)
        insn->flow = FLOW_REFUSED;
    else
        gs_take_operand(insn, zi.address_width == 64);
    insn->gs_modrm = zi.raw.modrm.offset;
}

static void take_operand(GuestInsn *insn, const ZydisDecodedOperand *operand)
{
    bool written = (operand->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE) != 0;
    if (operand->type == ZYDIS_OPERAND_TYPE_REGISTER) {
        note_register(insn, operand->reg.value, written);
    } else if (operand->type == ZYDIS_OPERAND_TYPE_MEMORY) {
        note_register(insn, operand->mem.base, false);
        note_register(insn, operand->mem.index, false);
        if (operand->visibility != ZYDIS_OPERAND_VISIBILITY_HIDDEN || insn->shape == SHAPE_COUNT)
            take_memory(insn, operand);
        if (operand->mem.type != ZYDIS_MEMOP_TYPE_AGEN)
            insn->faults = true;
        if (operand->mem.type == ZYDIS_MEMOP_TYPE_MEM &&
            operand->visibility != ZYDIS_OPERAND_VISIBILITY_HIDDEN &&
            (operand->actions & ZYDIS_OPERAND_ACTION_MASK_READ) != 0)
            insn->loads = true;
    }
    take_gs(insn, operand, written);
}

static uint64_t extend_immediate(const ZydisDecodedOperand *operand, unsigned bits)
{
    unsigned unused = 64 - (bits == 0 || bits > 64 ? 64 : bits);
    return (uint64_t)((int64_t)(operand->imm.value.u << unused) >> unused);
}

/* One letter per visible operand. */
static Shape shape_of(unsigned n, const uint8_t *type)
{
    enum {
        NONE = 0,
        REG = ZYDIS_OPERAND_TYPE_REGISTER,
        MEM = ZYDIS_OPERAND_TYPE_MEMORY,
        IMM = ZYDIS_OPERAND_TYPE_IMMEDIATE
    };
    static const struct {
        uint8_t type[3];
        uint8_t shape;
    } shapes[] = {
        { { NONE, NONE, NONE }, SHAPE_NONE }, { { IMM, NONE, NONE }, SHAPE_I },
        { { REG, NONE, NONE }, SHAPE_R },     { { MEM, NONE, NONE }, SHAPE_M },
        { { REG, REG, NONE }, SHAPE_RR },     { { REG, IMM, NONE }, SHAPE_RI },
        { { REG, MEM, NONE }, SHAPE_RM },     { { MEM, REG, NONE }, SHAPE_MR },
        { { MEM, IMM, NONE }, SHAPE_MI },     { { REG, REG, IMM }, SHAPE_RRI },
        { { REG, MEM, IMM }, SHAPE_RMI },
    };
    for (unsigned i = 0; n <= 3 && i < sizeof shapes / sizeof shapes[0]; i++) {
        if (shapes[i].type[0] == type[0] && shapes[i].type[1] == type[1] &&
            shapes[i].type[2] == type[2])
            return shapes[i].shape;
    }
    return SHAPE_COUNT;
}

static bool is_cl_shift(void)
{
    return (zi.mnemonic == ZYDIS_MNEMONIC_SHL || zi.mnemonic == ZYDIS_MNEMONIC_SHR ||
            zi.mnemonic == ZYDIS_MNEMONIC_SAR || zi.mnemonic == ZYDIS_MNEMONIC_ROL ||
            zi.mnemonic == ZYDIS_MNEMONIC_ROR || zi.mnemonic == ZYDIS_MNEMONIC_RCL ||
            zi.mnemonic == ZYDIS_MNEMONIC_RCR) &&
           zo[1].type == ZYDIS_OPERAND_TYPE_REGISTER && zo[1].reg.value == ZYDIS_REGISTER_CL;
}

/* Register operands in their order; false where one is not what handlers can address. */
static bool take_registers(GuestInsn *insn, unsigned n)
{
    uint8_t *next = &insn->a;
    for (unsigned i = 0; i < n; i++) {
        if (zo[i].type != ZYDIS_OPERAND_TYPE_REGISTER)
            continue;
        *next = register_offset(zo[i].reg.value);
        bool target = (zo[i].actions & ZYDIS_OPERAND_ACTION_MASK_WRITE) != 0;
        if (*next == NO_REG || (target && is_high_byte(zo[i].reg.value)))
            return false;
        next = &insn->b;
    }
    return true;
}

static void take_shape(GuestInsn *insn)
{
    uint8_t type[3] = { 0, 0, 0 };
    unsigned n = zi.operand_count_visible;
    for (unsigned i = 0; i < n && i < 3; i++)
        type[i] = (uint8_t)zo[i].type;
    insn->shape = (uint8_t)shape_of(n, type);
    insn->bits = n > 0 ? (uint8_t)zo[0].size : 0;
    insn->source_bits = n > 1 ? (uint8_t)zo[1].size : 0;
    for (unsigned i = 0; i < n && i < 3; i++) {
        if (zo[i].type == ZYDIS_OPERAND_TYPE_IMMEDIATE)
            insn->imm = extend_immediate(&zo[i], i == 0 ? zi.operand_width : zo[0].size);
    }
    if (insn->shape == SHAPE_RR && is_cl_shift())
        insn->shape = SHAPE_RC;
    if (insn->shape != SHAPE_COUNT && !take_registers(insn, n))
        insn->shape = SHAPE_COUNT;
}

/* ---- flow ---- */

static InsnFlow branch_flow(InsnFlow direct, InsnFlow indirect)
{
    return zo[0].type == ZYDIS_OPERAND_TYPE_IMMEDIATE ? direct : indirect;
}

static uint8_t condition_of(ZydisMnemonic mnemonic)
{
    static const uint16_t jumps[16] = {
        ZYDIS_MNEMONIC_JO, ZYDIS_MNEMONIC_JNO, ZYDIS_MNEMONIC_JB,  ZYDIS_MNEMONIC_JNB,
        ZYDIS_MNEMONIC_JZ, ZYDIS_MNEMONIC_JNZ, ZYDIS_MNEMONIC_JBE, ZYDIS_MNEMONIC_JNBE,
        ZYDIS_MNEMONIC_JS, ZYDIS_MNEMONIC_JNS, ZYDIS_MNEMONIC_JP,  ZYDIS_MNEMONIC_JNP,
        ZYDIS_MNEMONIC_JL, ZYDIS_MNEMONIC_JNL, ZYDIS_MNEMONIC_JLE, ZYDIS_MNEMONIC_JNLE,
    };
    for (uint8_t cc = 0; cc < 16; cc++) {
        if (jumps[cc] == mnemonic)
            return cc;
    }
    return 16;
}

static InsnFlow flow_of(void)
{
    switch (zi.mnemonic) {
    case ZYDIS_MNEMONIC_JMP:
        return zi.meta.branch_type == ZYDIS_BRANCH_TYPE_FAR ? FLOW_REFUSED
                                                            : branch_flow(FLOW_JUMP, FLOW_JUMP_IND);
    case ZYDIS_MNEMONIC_CALL:
        return zi.meta.branch_type == ZYDIS_BRANCH_TYPE_FAR ? FLOW_REFUSED
                                                            : branch_flow(FLOW_CALL, FLOW_CALL_IND);
    case ZYDIS_MNEMONIC_RET:
        return zi.meta.branch_type == ZYDIS_BRANCH_TYPE_FAR ? FLOW_REFUSED : FLOW_RET;
    case ZYDIS_MNEMONIC_SYSCALL:
        return FLOW_SYSCALL;
    case ZYDIS_MNEMONIC_XBEGIN:
        return FLOW_ABORT;
    case ZYDIS_MNEMONIC_LOOP:
    case ZYDIS_MNEMONIC_LOOPE:
    case ZYDIS_MNEMONIC_LOOPNE:
    case ZYDIS_MNEMONIC_JRCXZ:
    case ZYDIS_MNEMONIC_JECXZ:
        return FLOW_COUNT;
    case ZYDIS_MNEMONIC_SYSENTER:
    case ZYDIS_MNEMONIC_IRET:
    case ZYDIS_MNEMONIC_IRETD:
    case ZYDIS_MNEMONIC_IRETQ:
    case ZYDIS_MNEMONIC_UIRET:
        return FLOW_REFUSED;
    case ZYDIS_MNEMONIC_INT1: /* a trap that is nobody's fault ends a burst before it */
    case ZYDIS_MNEMONIC_INT3:
        return the_vm.options.burst != NULL ? FLOW_REFUSED : FLOW_NEXT;
    case ZYDIS_MNEMONIC_INT:
        return zo[0].imm.value.u == 0x80 ? FLOW_REFUSED : FLOW_NEXT;
    default:
        return condition_of(zi.mnemonic) < 16 ? FLOW_COND : FLOW_NEXT;
    }
}

static void take_flow(GuestInsn *insn)
{
    if (insn->flow == FLOW_REFUSED) /* an operand is the reason */
        return;
    insn->flow = (uint8_t)flow_of();
    insn->cc = condition_of(zi.mnemonic);
    /* An address-size prefix makes loop count ECX; a data-size one without REX.W is ignored by
     * 64-bit branches on one vendor's CPUs and not on the other's (SDM vol. 2A Jcc): neither is
     * emitted. */
    if (insn->flow == FLOW_COUNT && zi.address_width != 64 && zi.mnemonic != ZYDIS_MNEMONIC_JECXZ)
        insn->flow = FLOW_REFUSED;
    bool narrow = zi.operand_width == 16 ||
                  ((zi.attributes & ZYDIS_ATTRIB_HAS_OPERANDSIZE) != 0 && zi.raw.rex.W == 0);
    if (insn->flow != FLOW_NEXT && insn->flow != FLOW_SYSCALL && narrow)
        insn->flow = FLOW_REFUSED;
    if ((insn->flow == FLOW_JUMP_IND || insn->flow == FLOW_CALL_IND) && insn->shape != SHAPE_R &&
        !(insn->shape == SHAPE_M && insn->mem.usable))
        insn->flow = FLOW_REFUSED;
    if (zo[0].type == ZYDIS_OPERAND_TYPE_IMMEDIATE && zo[0].imm.is_relative)
        insn->target = insn->pc + insn->size + (uint64_t)zo[0].imm.value.s;
}

/* ---- one instruction ---- */

static bool is_string_operation(ZydisMnemonic mnemonic)
{
    switch (mnemonic) {
    case ZYDIS_MNEMONIC_MOVSB:
    case ZYDIS_MNEMONIC_MOVSW:
    case ZYDIS_MNEMONIC_MOVSQ:
    case ZYDIS_MNEMONIC_STOSB:
    case ZYDIS_MNEMONIC_STOSW:
    case ZYDIS_MNEMONIC_STOSD:
    case ZYDIS_MNEMONIC_STOSQ:
    case ZYDIS_MNEMONIC_LODSB:
    case ZYDIS_MNEMONIC_LODSW:
    case ZYDIS_MNEMONIC_LODSD:
    case ZYDIS_MNEMONIC_LODSQ:
    case ZYDIS_MNEMONIC_SCASB:
    case ZYDIS_MNEMONIC_SCASW:
    case ZYDIS_MNEMONIC_SCASD:
    case ZYDIS_MNEMONIC_SCASQ:
    case ZYDIS_MNEMONIC_CMPSB:
    case ZYDIS_MNEMONIC_CMPSW:
    case ZYDIS_MNEMONIC_CMPSQ:
    case ZYDIS_MNEMONIC_INSB:
    case ZYDIS_MNEMONIC_INSW:
    case ZYDIS_MNEMONIC_INSD:
    case ZYDIS_MNEMONIC_OUTSB:
    case ZYDIS_MNEMONIC_OUTSW:
    case ZYDIS_MNEMONIC_OUTSD:
        return true;
    case ZYDIS_MNEMONIC_MOVSD: /* the string one has no vector operand */
    case ZYDIS_MNEMONIC_CMPSD:
        return zi.meta.category == ZYDIS_CATEGORY_STRINGOP;
    default:
        return false;
    }
}

static void take_flags(GuestInsn *insn)
{
    const ZydisAccessedFlags *flags = zi.cpu_flags;
    if (flags == NULL)
        return;
    uint32_t out = flags->modified | flags->set_0 | flags->set_1 | flags->undefined;
    insn->flags_in = (uint16_t)(flags->tested & RFLAGS_ARITH);
    insn->flags_out = (uint16_t)(out & RFLAGS_ARITH);
    /* A repeat count of zero, or a shift by cl of zero, writes no flag: what was there is read. */
    bool repeated = (zi.attributes &
                     (ZYDIS_ATTRIB_HAS_REP | ZYDIS_ATTRIB_HAS_REPE | ZYDIS_ATTRIB_HAS_REPNE)) != 0;
    if (insn->flags_out != 0 && (repeated || insn->shape == SHAPE_RC || is_cl_shift()))
        insn->flags_in = RFLAGS_ARITH;
}

/* Whether ModRM.rm is extended. VEX, EVEX and XOP keep the bit inverted in their second byte. */
static bool high_rm(const uint8_t *bytes)
{
    enum { INVERTED_B = 0x20 };
    switch (zi.encoding) {
    case ZYDIS_INSTRUCTION_ENCODING_LEGACY:
        return zi.raw.rex.B != 0;
    case ZYDIS_INSTRUCTION_ENCODING_VEX:
        return zi.raw.vex.size == 3 && (bytes[zi.raw.vex.offset + 1] & INVERTED_B) == 0;
    case ZYDIS_INSTRUCTION_ENCODING_EVEX:
        return (bytes[zi.raw.evex.offset + 1] & INVERTED_B) == 0;
    default:
        return (bytes[zi.raw.xop.offset + 1] & INVERTED_B) == 0;
    }
}

static void convert(GuestInsn *insn, uint64_t pc, const uint8_t *bytes)
{
    *insn = (GuestInsn){ .pc = pc,
                         .size = zi.length,
                         .mnemonic = (uint16_t)zi.mnemonic,
                         .a = NO_REG,
                         .b = NO_REG,
                         .routine = NO_ROUTINE };
    for (unsigned i = 0; i < zi.length; i++)
        insn->bytes[i] = bytes[i];
    insn->locked = (zi.attributes & ZYDIS_ATTRIB_HAS_LOCK) != 0;
    insn->is_string = is_string_operation(zi.mnemonic);
    take_shape(insn);
    for (unsigned i = 0; i < zi.operand_count; i++)
        take_operand(insn, &zo[i]);
    insn->rip_high = high_rm(insn->bytes);
    /* A 16-bit push of an immediate and a 16-bit leave: rows are of the 64-bit ones. */
    bool narrow = zi.operand_width == 16 &&
                  (zi.mnemonic == ZYDIS_MNEMONIC_PUSH || zi.mnemonic == ZYDIS_MNEMONIC_LEAVE);
    if (insn->locked || narrow)
        insn->shape = SHAPE_COUNT;
    take_flow(insn);
    take_flags(insn);
    insn->gs |= gs_base_handler(insn) != NULL;
}

DecodeAnswer decode_in_full(GuestInsn *insn, uint64_t pc, const uint8_t *bytes, unsigned room)
{
    ZyanStatus status = decode_full(&decoder, bytes, room, &zi, zo);
    if (!ZYAN_SUCCESS(status))
        return status == ZYDIS_STATUS_NO_MORE_DATA ? DECODED_SHORT : DECODED_BAD;
    convert(insn, pc, bytes);
    return DECODED;
}
