/*
 * emit.c: bytes of host code.
 *
 * GS-relative operands are absolute displacements: 65, then mod 00, rm 100, SIB 25 (SDM vol. 2A
 * 2.2.1.3). Tables are mod 00, rm 100, SIB with scale 8, base 101.
 *
 * SPDX-License-Identifier: MIT
 */
#include "profiler/emit.h"

enum {
    PREFIX_GS = 0x65,
    PREFIX_FS = 0x64,
    REX_W = 0x48,
    REX_R = 4,
    REX_X = 2,
    REX_B = 1,
    OP_STORE = 0x89,
    OP_LOAD = 0x8b,
    OP_LEA = 0x8d,
    RM_SIB = 4,
    SIB_ABSOLUTE = 0x25,
    SIB_TIMES_8 = 0xc5,
    SIB_STACK = 0x24,
};

void emit_bytes(Code *code, const void *bytes, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        *code->at++ = ((const uint8_t *)bytes)[i];
}

void emit1(Code *code, unsigned a)
{
    *code->at++ = (uint8_t)a;
}

void emit4(Code *code, uint32_t value)
{
    emit_bytes(code, &value, sizeof value);
}

static unsigned rex_r(unsigned reg)
{
    return REX_W | (reg >= 8 ? REX_R : 0);
}

/* ---- the thread's area and counters ---- */

static void emit_gs(Code *code, unsigned opcode, unsigned field, int32_t displacement)
{
    emit1(code, opcode);
    emit1(code, field << 3 | RM_SIB);
    emit1(code, SIB_ABSOLUTE);
    emit4(code, (uint32_t)displacement);
}

void emit_gs_load(Code *code, unsigned reg, int32_t displacement)
{
    emit1(code, PREFIX_GS);
    emit1(code, rex_r(reg));
    emit_gs(code, OP_LOAD, reg & 7, displacement);
}

void emit_gs_store(Code *code, int32_t displacement, unsigned reg)
{
    emit1(code, PREFIX_GS);
    emit1(code, rex_r(reg));
    emit_gs(code, OP_STORE, reg & 7, displacement);
}

void emit_gs_store4(Code *code, int32_t displacement, uint32_t value)
{
    emit1(code, PREFIX_GS);
    emit_gs(code, 0xc7, 0, displacement);
    emit4(code, value);
}

void emit_gs_inc(Code *code, int32_t displacement)
{
    emit1(code, PREFIX_GS);
    emit1(code, REX_W);
    emit_gs(code, 0xff, 0, displacement);
}

void emit_gs_compare4(Code *code, int32_t displacement, uint32_t value)
{
    emit1(code, PREFIX_GS);
    emit_gs(code, 0x81, 7, displacement);
    emit4(code, value);
}

void emit_gs_pop(Code *code, int32_t displacement)
{
    emit1(code, PREFIX_GS);
    emit_gs(code, 0x8f, 0, displacement);
}

void emit_gs_jump(Code *code, int32_t displacement)
{
    emit1(code, PREFIX_GS);
    emit_gs(code, 0xff, 4, displacement);
}

static void emit_table(Code *code, unsigned opcode, unsigned field, unsigned index,
                       int32_t displacement)
{
    emit1(code, opcode);
    emit1(code, field << 3 | RM_SIB);
    emit1(code, SIB_TIMES_8 | index << 3);
    emit4(code, (uint32_t)displacement);
}

void emit_gs_jump_table(Code *code, unsigned index, int32_t displacement)
{
    emit1(code, PREFIX_GS);
    emit_table(code, 0xff, 4, index, displacement);
}

void emit_count(Code *code, uint32_t counter, unsigned reg)
{
    emit_gs_load(code, reg, AREA_COUNTER(counter));
    emit_lea(code, true, reg, reg, 1);
    emit_gs_store(code, AREA_COUNTER(counter), reg);
}

/* ---- registers and the stack ---- */

void emit_constant(Code *code, unsigned reg, uint64_t value)
{
    emit1(code, REX_W | (reg >= 8 ? REX_B : 0));
    emit1(code, 0xb8 | (reg & 7));
    emit_bytes(code, &value, sizeof value);
}

void emit_constant4(Code *code, unsigned reg, uint32_t value)
{
    emit1(code, 0xb8 | reg);
    emit4(code, value);
}

void emit_lea(Code *code, bool wide, unsigned reg, unsigned base, int32_t displacement)
{
    bool small = displacement == (int8_t)displacement;
    if (wide)
        emit1(code, REX_W);
    emit1(code, OP_LEA);
    emit1(code, (small ? 0x40u : 0x80u) | reg << 3 | base);
    if (base == R_RSP)
        emit1(code, SIB_STACK);
    if (small)
        emit1(code, (uint8_t)displacement);
    else
        emit4(code, (uint32_t)displacement);
}

void emit_lea_sum(Code *code, unsigned reg, unsigned base, unsigned index)
{
    emit1(code, REX_W);
    emit1(code, OP_LEA);
    emit1(code, reg << 3 | RM_SIB);
    emit1(code, index << 3 | base);
}

void emit_low_word(Code *code, unsigned reg, unsigned from)
{
    emit1(code, 0x0f);
    emit1(code, 0xb7);
    emit1(code, 0xc0 | reg << 3 | from);
}

void emit_move(Code *code, unsigned to, unsigned from)
{
    emit1(code, rex_r(from) | (to >= 8 ? REX_B : 0));
    emit1(code, OP_STORE);
    emit1(code, 0xc0 | (from & 7) << 3 | (to & 7));
}

void emit_test(Code *code, bool wide, unsigned reg)
{
    unsigned rex = (wide ? REX_W : 0x40u) | (reg >= 8 ? REX_R | REX_B : 0);
    if (rex != 0x40)
        emit1(code, rex);
    emit1(code, 0x85);
    emit1(code, 0xc0 | (reg & 7) << 3 | (reg & 7));
}

static void emit_stack(Code *code, unsigned opcode, unsigned reg, int8_t displacement)
{
    emit1(code, REX_W);
    emit1(code, opcode);
    emit1(code, (displacement != 0 ? 0x40u : 0u) | reg << 3 | RM_SIB);
    emit1(code, SIB_STACK);
    if (displacement != 0)
        emit1(code, (uint8_t)displacement);
}

void emit_stack_load(Code *code, unsigned reg, int8_t displacement)
{
    emit_stack(code, OP_LOAD, reg, displacement);
}

static void emit_relative(Code *code, const void *target)
{
    emit4(code, 0);
    emit_patch(code->at - 4, target);
}

void emit_cell_push(Code *code, const void *cell)
{
    emit1(code, 0xff);
    emit1(code, 0x35);
    emit_relative(code, cell);
}

void emit_push_constant(Code *code, int32_t value)
{
    emit1(code, 0x68);
    emit4(code, (uint32_t)value);
}

/* ---- transfers ---- */

uint8_t *emit_jump(Code *code, const void *target)
{
    emit1(code, 0xe9);
    emit_relative(code, target);
    return code->at - 4;
}

uint8_t *emit_jcc(Code *code, unsigned cc)
{
    emit1(code, 0x0f);
    emit1(code, 0x80 | cc);
    emit4(code, 0);
    return code->at - 4;
}

uint8_t *emit_link(Code *code, const void *target)
{
    static const uint8_t nops[3][3] = { { 0x90 }, { 0x66, 0x90 }, { 0x0f, 0x1f, 0x00 } };
    unsigned pad = (unsigned)(3 - ((uintptr_t)code->at & 3));
    if (pad != 0)
        emit_bytes(code, nops[pad - 1], pad);
    return emit_jump(code, target);
}

void emit_cell_jump(Code *code, const void *cell)
{
    emit1(code, 0xff);
    emit1(code, 0x25);
    emit_relative(code, cell);
}

void emit_call(Code *code, const void *target)
{
    emit1(code, 0xe8);
    emit_relative(code, target);
}

void emit_skip_if_zero(Code *code, unsigned skip)
{
    emit1(code, 0xe3);
    emit1(code, skip);
}

void emit_patch(uint8_t *field, const void *target)
{
    int32_t relative = (int32_t)((const uint8_t *)target - (field + 4));
    __atomic_store_n((int32_t *)(void *)field, relative, __ATOMIC_RELEASE);
}

const uint8_t *emit_target(const uint8_t *field)
{
    int32_t relative = 0;
    for (unsigned i = 0; i < 4; i++)
        ((uint8_t *)&relative)[i] = field[i];
    return field + 4 + relative;
}

void emit_divert(const uint8_t *at, const void *target)
{
    enum { LOW_BITS = 40, OPCODE = 0xe9 };
    uint64_t *word = (uint64_t *)(uintptr_t)at;
    uint64_t relative = (uint32_t)((const uint8_t *)target - (at + JUMP_SIZE));
    uint64_t kept = ~UINT64_C(0) << LOW_BITS;
    __atomic_store_n(word, (*word & kept) | relative << 8 | OPCODE, __ATOMIC_RELEASE);
}

bool emit_reaches(const void *from, const void *target)
{
    enum { SLACK = 1 << 12 };
    int64_t distance = (const uint8_t *)target - (const uint8_t *)from;
    return distance > INT32_MIN + SLACK && distance < INT32_MAX - SLACK;
}

/* ---- guest instructions ---- */

/* `field`: the 4 displacement bytes of a RIP-relative operand in an instruction that ends at `end`.
 */
static void point_operand(uint8_t *field, const uint8_t *end, uint64_t target)
{
    uint64_t displacement = target - (uint64_t)(uintptr_t)end;
    for (unsigned i = 0; i < 4; i++)
        field[i] = (uint8_t)(displacement >> (8 * i));
}

bool emit_copy_reaches(const Code *code, const GuestInsn *insn)
{
    enum { SLACK = 64 }; /* what may stand before the operand's instruction */
    int64_t distance = (int64_t)(insn->rip_target - (uint64_t)(uintptr_t)code->at);
    return insn->rip_modrm == 0 || (distance > INT32_MIN + SLACK && distance < INT32_MAX - SLACK);
}

void emit_copy(Code *code, const GuestInsn *insn)
{
    uint8_t *copy = code->at;
    emit_bytes(code, insn->bytes, insn->size);
    if (insn->rip_modrm != 0)
        point_operand(copy + insn->rip_modrm + 1, code->at, insn->rip_target);
}

/* mod 10 is a base and four bytes of displacement: nothing moves. */
void emit_copy_by(Code *code, const GuestInsn *insn, unsigned reg)
{
    emit_constant(code, reg, insn->rip_target);
    uint8_t *modrm = code->at + insn->rip_modrm;
    emit_bytes(code, insn->bytes, insn->size);
    *modrm = (uint8_t)(0x80 | (*modrm & 0x38) | reg);
    for (unsigned i = 1; i <= 4; i++)
        modrm[i] = 0;
}

/* FF /2 and FF /4 with a memory operand, as mov rax, operand: prefixes but FS go, REX.W comes. */
void emit_branch_operand(Code *code, const GuestInsn *insn)
{
    if (insn->shape == SHAPE_R) {
        if (insn->a != R_RAX * 8)
            emit_move(code, R_RAX, insn->a / 8);
        return;
    }
    bool by_rax = !emit_copy_reaches(code, insn);
    unsigned at = 0;
    unsigned rex = REX_W;
    if (by_rax)
        emit_constant(code, R_RAX, insn->rip_target);
    for (; insn->bytes[at] != 0xff; at++) {
        if (insn->bytes[at] == PREFIX_FS)
            emit1(code, PREFIX_FS);
        else if ((insn->bytes[at] & 0xf0) == 0x40)
            rex |= insn->bytes[at] & (REX_X | REX_B);
    }
    emit1(code, by_rax ? REX_W : rex);
    emit1(code, OP_LOAD);
    uint8_t *modrm = code->at;
    if (by_rax) {
        emit1(code, 0); /* rax, [rax] */
        return;
    }
    emit_bytes(code, insn->bytes + at + 1, insn->size - at - 1u);
    *modrm = (uint8_t)(*modrm & 0xc7);
    if (insn->rip_modrm != 0)
        point_operand(modrm + 1, code->at, insn->rip_target);
}
