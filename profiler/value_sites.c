/*
 * value_sites.c: which instructions of a block are observed.
 *
 *   divisor   div, idiv                           the operand
 *   shift     shifts and rotations by a register  the count, as far as the CPU looks at it
 *   repeat    rep movs stos lods cmps scas        RCX
 *   index     an indirect jump through a table    the index register where the table is read, in
 *                                                 the jump's own block
 *   argument  calls through the GOT (PLT stubs,   RDX; the reader keeps those of mem* and strn*
 *             call *slot)                         functions, by the name of the slot's relocation
 *   stride    loads in loops, not from the stack  the address less the one of the time before
 *
 * A loop is a range of at most LOOP_BYTES that a direct branch at its end leads back over; blocks
 * of it that were decoded before are decoded again when the branch is found.
 *
 * SPDX-License-Identifier: MIT
 */
#define ZYAN_NO_LIBC 1
#include "profiler/values.h"

#include "profiler/lookup.h"

#include <Zydis/Mnemonic.h>

enum { LOOP_BYTES = 4096, QUAD = 64, RSP_OFFSET = R_RSP * 8, RCX_OFFSET = R_RCX * 8 };

static ValuePoint *add_point(ValuePoints *out, const GuestInsn *insn, unsigned index,
                             LiveValueKind kind, uint64_t slot)
{
    if (out->n == VALUES_PER_BLOCK || insn->gs)
        return NULL;
    ValueSite *site = values_site(insn->pc, kind, slot);
    if (site == NULL)
        return NULL;
    ValuePoint *point = &out->point[out->n++];
    *point = (ValuePoint){
        .insn = (uint8_t)index, .kind = (uint8_t)kind, .reg = NO_REG, .bits = QUAD, .site = site
    };
    return point;
}

static void add_register(ValuePoints *out, const GuestInsn *insn, unsigned index,
                         LiveValueKind kind, uint8_t reg)
{
    ValuePoint *point = add_point(out, insn, index, kind, 0);
    if (point != NULL)
        point->reg = reg;
}

/* ---- div ---- */

static void find_divisor(ValuePoints *out, const GuestInsn *insn, unsigned index)
{
    bool is_signed = insn->mnemonic == ZYDIS_MNEMONIC_IDIV;
    bool in_memory = insn->shape == SHAPE_M && insn->mem.usable;
    if ((!is_signed && insn->mnemonic != ZYDIS_MNEMONIC_DIV) ||
        (insn->shape != SHAPE_R && !in_memory))
        return;
    ValuePoint *point = add_point(out, insn, index, LIVE_VALUE_DIVISOR, 0);
    if (point == NULL)
        return;
    point->reg = in_memory ? NO_REG : insn->a;
    point->bits = insn->bits;
    point->is_signed = is_signed;
    point->mem = insn->mem;
}

/* ---- shifts ---- */

static bool shifts_by_cl(const GuestInsn *insn)
{
    enum { SHLD_CL = 0xa5, SHRD_CL = 0xad };
    switch (insn->mnemonic) {
    case ZYDIS_MNEMONIC_SHL:
    case ZYDIS_MNEMONIC_SHR:
    case ZYDIS_MNEMONIC_SAR:
    case ZYDIS_MNEMONIC_ROL:
    case ZYDIS_MNEMONIC_ROR:
    case ZYDIS_MNEMONIC_RCL:
    case ZYDIS_MNEMONIC_RCR:
        return insn->shape == SHAPE_RC || insn->shape == SHAPE_MR;
    case ZYDIS_MNEMONIC_SHLD:
    case ZYDIS_MNEMONIC_SHRD:
        for (unsigned i = 0; i + 1 < insn->size; i++)
            if (insn->bytes[i] == 0x0f)
                return insn->bytes[i + 1] == SHLD_CL || insn->bytes[i + 1] == SHRD_CL;
        return false;
    default:
        return false;
    }
}

/* shlx and its like keep the count's register inverted in the third byte of VEX (SDM vol.
 * 2A 2.3.5).
 */
static uint8_t vex_count(const GuestInsn *insn)
{
    enum { VEX3 = 0xc4 };
    bool by_vex = insn->mnemonic == ZYDIS_MNEMONIC_SHLX || insn->mnemonic == ZYDIS_MNEMONIC_SHRX ||
                  insn->mnemonic == ZYDIS_MNEMONIC_SARX;
    for (unsigned i = 0; by_vex && i + 2 < insn->size; i++)
        if (insn->bytes[i] == VEX3)
            return (uint8_t)(((insn->bytes[i + 2] >> 3 & 15) ^ 15) * 8);
    return NO_REG;
}

static void find_shift(ValuePoints *out, const GuestInsn *insn, unsigned index)
{
    uint8_t reg = shifts_by_cl(insn) ? RCX_OFFSET : vex_count(insn);
    if (reg == NO_REG)
        return;
    ValuePoint *point = add_point(out, insn, index, LIVE_VALUE_SHIFT, 0);
    if (point == NULL)
        return;
    point->reg = reg;
    point->mask = insn->bits == QUAD ? 63 : 31;
}

/* ---- strings ---- */

static bool is_repeated(const GuestInsn *insn)
{
    for (unsigned i = 0; insn->is_string && i < insn->size; i++)
        if (insn->bytes[i] == 0xf2 || insn->bytes[i] == 0xf3)
            return true;
    return false;
}

/* ---- jumps through tables ---- */

static uint16_t register_bit(uint8_t offset)
{
    return offset < N_GUEST_REGS * 8 ? (uint16_t)(1u << offset / 8) : 0;
}

static bool reads_table(const GuestInsn *insn)
{
    return insn->shape == SHAPE_RM && insn->mem.usable && insn->mem.index != NO_REG &&
           (insn->mnemonic == ZYDIS_MNEMONIC_MOV || insn->mnemonic == ZYDIS_MNEMONIC_MOVSXD);
}

/* The jump's target comes from a table entry, perhaps with the table's address added. */
static void find_index(ValuePoints *out, const DecodedRun *run, unsigned index)
{
    const GuestInsn *jump = &run->insn[run->n - 1];
    const GuestInsn *insn = &run->insn[index];
    uint16_t wanted = jump->shape == SHAPE_R ? register_bit(jump->a) : 0;
    if (jump->shape == SHAPE_M && index + 1 == run->n && insn->mem.index != NO_REG)
        wanted = 1;
    else if (index + 1 == run->n)
        return;
    for (unsigned i = run->n - 1; i-- > index + 1;)
        if (run->insn[i].mnemonic == ZYDIS_MNEMONIC_ADD && run->insn[i].shape == SHAPE_RR &&
            (register_bit(run->insn[i].a) & wanted) != 0)
            wanted |= register_bit(run->insn[i].b);
    bool loads = index + 1 == run->n || (reads_table(insn) && (insn->written & wanted) != 0);
    for (unsigned i = index + 1; loads && i + 1 < run->n; i++)
        if (reads_table(&run->insn[i]) && (run->insn[i].written & wanted) != 0)
            return; /* a later one is the table's */
    ValuePoint *point =
        loads && wanted != 0 ? add_point(out, jump, index, LIVE_VALUE_INDEX, 0) : NULL;
    if (point != NULL)
        point->reg = insn->mem.index;
}

/* ---- calls ---- */

/* The GOT slot that the code at `target` jumps through; 0: it is no PLT stub. */
static uint64_t stub_slot(uint64_t target)
{
    enum { STUB = 11, ENDBR = 4 };
    static const uint8_t endbr[ENDBR] = { 0xf3, 0x0f, 0x1e, 0xfa };
    uint8_t code[STUB] = { 0 };
    CodeMap map;
    unsigned at = 0;
    if (!map_find_code(target, &map) || map.end - target < STUB || map.checked ||
        code_read(code, target, STUB) != STUB)
        return 0;
    while (at < ENDBR && code[at] == endbr[at])
        at++;
    at = at == ENDBR ? ENDBR : 0;
    at += code[at] == 0xf2; /* bnd */
    if (code[at] != 0xff || code[at + 1] != 0x25)
        return 0;
    uint32_t disp = (uint32_t)code[at + 2] | (uint32_t)code[at + 3] << 8 |
                    (uint32_t)code[at + 4] << 16 | (uint32_t)code[at + 5] << 24;
    return target + at + 6 + (uint64_t)(int64_t)(int32_t)disp;
}

static void find_argument(ValuePoints *out, const GuestInsn *insn, unsigned index)
{
    uint64_t slot = 0;
    if (insn->flow == FLOW_CALL)
        slot = stub_slot(insn->target);
    if (insn->flow == FLOW_CALL_IND && insn->rip_modrm != 0)
        slot = insn->rip_target;
    ValuePoint *point = slot != 0 ? add_point(out, insn, index, LIVE_VALUE_ARGUMENT, slot) : NULL;
    if (point != NULL)
        point->reg = R_RDX * 8;
}

/* ---- loads ---- */

static bool is_load(const GuestInsn *insn)
{
    bool known = insn->shape == SHAPE_RM || insn->shape == SHAPE_RMI;
    return (known || insn->loads) && insn->mnemonic != ZYDIS_MNEMONIC_LEA && !insn->is_string &&
           insn->mnemonic != ZYDIS_MNEMONIC_NOP && insn->mem.usable &&
           insn->mem.mode < MODE_COUNT && h_value_address[insn->mem.mode] != NULL &&
           (insn->mem.base != RSP_OFFSET || insn->mem.index != NO_REG);
}

static void find_stride(ValuePoints *out, const GuestInsn *insn, unsigned index)
{
    if (insn->flow != FLOW_NEXT || !is_load(insn) || !values_in_loop(insn->pc))
        return;
    ValuePoint *point = add_point(out, insn, index, LIVE_VALUE_STRIDE, 0);
    if (point != NULL)
        point->mem = insn->mem;
}

/* The block ends with the branch of a loop: what was decoded of it has no points at its loads. */
static void note_loop(const DecodedRun *run)
{
    const GuestInsn *last = &run->insn[run->n - 1];
    uint64_t end = last->pc + last->size;
    if ((last->flow == FLOW_COND || last->flow == FLOW_COUNT || last->flow == FLOW_JUMP) &&
        last->target < end && end - last->target <= LOOP_BYTES &&
        values_add_loop(last->target, end))
        lookup_forget(last->target, end);
}

void values_find(const DecodedRun *run, ValuePoints *out)
{
    out->n = 0;
    if (!the_vm.options.values || run->map.checked)
        return;
    note_loop(run);
    bool jumps = run->insn[run->n - 1].flow == FLOW_JUMP_IND;
    for (unsigned i = 0; i < run->n; i++) {
        const GuestInsn *insn = &run->insn[i];
        find_divisor(out, insn, i);
        find_shift(out, insn, i);
        if (is_repeated(insn))
            add_register(out, insn, i, LIVE_VALUE_REPEAT, RCX_OFFSET);
        if (jumps)
            find_index(out, run, i);
        find_argument(out, insn, i);
        find_stride(out, insn, i);
    }
}
