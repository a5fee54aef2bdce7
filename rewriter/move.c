/*
 * move.c: one table of forms, one handler each, one proof for all.
 *
 *     original at A            moved to N
 *     74 05   je  A+7          0f 84 d32   je  T        (or 0f 85 with the condition inverted)
 *     48 8b 05 d32  mov rip    48 8b 05 d32' same target, new distance
 *
 * Handlers choose the bytes; only move_insn sets the displacement and believes nothing: the result
 * is decoded again and compared.
 *
 * SPDX-License-Identifier: MIT
 */
#include "rewriter/move.h"

#include <string.h>

/* Bytes before the opcode (or before 0F of a two-byte one) of a direct branch. */
static uint8_t prefix_size(const Insn *insn)
{
    uint8_t at = (uint8_t)(insn->ref_offset - 1);
    bool two = insn->ref_size == 4 && at > 0 && (insn->bytes[at] & 0xf0) == 0x80 &&
               insn->bytes[at - 1] == 0x0f;
    return two ? (uint8_t)(at - 1) : at;
}

static bool has_prefix(const Insn *insn, uint8_t end, uint8_t prefix)
{
    return memchr(insn->bytes, prefix, end) != NULL;
}

/* Legacy prefixes and REX at the front of any instruction. SDM 2.1.1, 2.2.1. */
static uint8_t legacy_prefixes(const Insn *insn)
{
    static const uint8_t legacy[] = { 0xf0, 0xf2, 0xf3, 0x2e, 0x36, 0x3e,
                                      0x26, 0x64, 0x65, 0x66, 0x67 };
    uint8_t n = 0;
    while (n < insn->size && memchr(legacy, insn->bytes[n], sizeof legacy) != NULL)
        n++;
    return n;
}

static bool move_same(const Move *move, Insn *out)
{
    return out->size == move->size && !move->invert;
}

/* Prefixes, then an opcode of one or two bytes, then the field. */
static void set_branch(Insn *out, uint8_t prefixes, bool wide, const uint8_t *opcode, uint8_t n)
{
    memcpy(out->bytes + prefixes, opcode, n);
    out->ref_offset = (uint8_t)(prefixes + n);
    out->ref_size = wide ? 4 : 1;
    out->size = (uint8_t)(out->ref_offset + out->ref_size);
}

static bool move_jump(const Move *move, Insn *out)
{
    bool wide = move->size == move_size(move->insn, true);
    const uint8_t opcode[] = { wide ? 0xe9 : 0xeb };
    set_branch(out, prefix_size(move->insn), wide, opcode, 1);
    return out->size == move->size && !move->invert;
}

static bool move_cond(const Move *move, Insn *out)
{
    bool wide = move->size == move_size(move->insn, true);
    uint8_t cond = move->insn->cond ^ (move->invert ? 1 : 0);
    const uint8_t narrow_op[] = { (uint8_t)(0x70 | cond) };
    const uint8_t wide_op[] = { 0x0f, (uint8_t)(0x80 | cond) };
    set_branch(out, prefix_size(move->insn), wide, wide ? wide_op : narrow_op, wide ? 2 : 1);
    out->cond = cond;
    return out->size == move->size;
}

#define AS_ROW(form, handler, source, proof) [FORM_##form] = { #form, handler, source, proof },
const MoveRow move_rows[FORM_COUNT] = { MOVE_FORMS(AS_ROW) };

/* 66 on a near branch: ignored by Intel, a 16-bit RIP on AMD, unless REX.W follows (as in the
 * padded `call __tls_get_addr`). */
static bool truncates(const Insn *insn)
{
    uint8_t end = prefix_size(insn);
    bool wide = end > 0 && (insn->bytes[end - 1] & 0xf8) == 0x48;
    return has_prefix(insn, end, 0x66) && !wide;
}

static Form branch_form(const Insn *insn)
{
    if (insn->ref_offset == 0 || truncates(insn))
        return FORM_NONE;
    switch (insn->flow) {
    case FLOW_CALL:
        return insn->ref_size == 4 ? FORM_CALL_REL32 : FORM_NONE;
    case FLOW_JUMP:
        return insn->ref_size == 1 ? FORM_JMP_REL8 : FORM_JMP_REL32;
    case FLOW_COND:
        return insn->ref_size == 1 ? FORM_JCC_REL8 : FORM_JCC_REL32;
    case FLOW_LOOP:
        return insn->ref_size == 1 ? FORM_LOOP_REL8 : FORM_NONE;
    case FLOW_XBEGIN:
        return insn->ref_size == 4 ? FORM_XBEGIN_REL32 : FORM_NONE;
    default:
        return FORM_NONE;
    }
}

Form move_form(const Insn *insn)
{
    /* A 67 prefix makes the address 32 bits wide: EIP-relative, another meaning when moved. */
    bool narrow_address = has_prefix(insn, legacy_prefixes(insn), 0x67);
    switch (insn->ref) {
    case REF_NONE:
        return FORM_PLAIN;
    case REF_BRANCH:
        return insn->ref_size == 1 || insn->ref_size == 4 ? branch_form(insn) : FORM_NONE;
    case REF_MEM:
        return insn->ref_size == 4 && !narrow_address ? FORM_RIP_MEM : FORM_NONE;
    case REF_ABS:
    case REF_DISP:
        return insn->ref_size == 4 ? FORM_ABS_MEM : FORM_NONE;
    default:
        return FORM_NONE;
    }
}

uint8_t move_size(const Insn *insn, bool wide)
{
    switch (move_form(insn)) {
    case FORM_JMP_REL8:
    case FORM_JMP_REL32:
        return (uint8_t)(prefix_size(insn) + (wide ? 5 : 2));
    case FORM_JCC_REL8:
    case FORM_JCC_REL32:
        return (uint8_t)(prefix_size(insn) + (wide ? 6 : 2));
    default:
        return insn->size;
    }
}

bool move_can_widen(const Insn *insn)
{
    return move_form(insn) != FORM_LOOP_REL8;
}

static bool branch_is_same(const Insn *insn, const Insn *moved, bool inverted)
{
    uint8_t prefixes = prefix_size(insn);
    if (prefixes != prefix_size(moved) || memcmp(insn->bytes, moved->bytes, prefixes) != 0)
        return false;
    if (insn->flow == FLOW_COND)
        return moved->cond == (insn->cond ^ (inverted ? 1 : 0));
    return !inverted && insn->mnemonic == moved->mnemonic;
}

static bool bytes_are_same(const Insn *insn, const Insn *moved)
{
    if (insn->size != moved->size || insn->mnemonic != moved->mnemonic ||
        insn->ref_offset != moved->ref_offset || insn->ref_size != moved->ref_size)
        return false;
    for (unsigned i = 0; i < insn->size; i++) {
        bool field = i >= insn->ref_offset && i < insn->ref_offset + insn->ref_size;
        if (!field && insn->bytes[i] != moved->bytes[i])
            return false;
    }
    return true;
}

bool move_is_same(const Insn *insn, const Insn *moved, uint64_t target, bool inverted)
{
    if (insn->flow != moved->flow || insn->ref != moved->ref)
        return false;
    if (insn->ref != REF_NONE && moved->ref_to.v != target)
        return false;
    if (insn->ref == REF_BRANCH && (insn->flow == FLOW_JUMP || insn->flow == FLOW_COND))
        return branch_is_same(insn, moved, inverted);
    return !inverted && bytes_are_same(insn, moved);
}

static Place at_insn(const Insn *insn)
{
    return (Place){ NULL, NULL, vaddr_is_none(insn->addr) ? PLACE_NO_OFFSET : insn->addr.v };
}

/* Decodes what was written; a made instruction has no mnemonic to compare until then. */
static Status prove(const Move *move, const Insn *out, Error *err)
{
    Insn original = *move->insn;
    Insn again;
    if (!insn_decode((Bytes){ out->bytes, out->size }, vaddr(move->at), &again) ||
        again.size != out->size)
        return FAIL(err, ST_BUG, at_insn(move->insn), "moved instruction does not decode");
    if (original.mnemonic == 0 && (original.facts & INSN_MADE) != 0)
        original.mnemonic = again.mnemonic;
    if (original.ref == REF_DISP && again.ref == REF_NONE) {
        again.ref = REF_DISP;
        again.ref_offset = original.ref_offset;
        again.ref_size = original.ref_size;
        again.ref_to = vaddr((uint64_t)(int64_t)(int32_t)load_u32(again.bytes + again.ref_offset));
    }
    if (!move_is_same(&original, &again, move->target, move->invert)) {
        char before[96], after[96];
        insn_text(move->insn, before, sizeof before);
        insn_text(&again, after, sizeof after);
        return FAIL(err, ST_BUG, at_insn(move->insn), "'%s' became '%s' at 0x%" PRIx64, before,
                    after, move->at);
    }
    return ST_OK;
}

Status move_insn(const Move *move, Insn *out, Error *err)
{
    Form form = move_form(move->insn);
    if (form == FORM_NONE)
        return FAIL(err, ST_REFUSED, at_insn(move->insn),
                    "an instruction whose meaning depends on its address in an unknown way");
    *out = *move->insn;
    if (!move_rows[form].handler(move, out))
        return FAIL(err, ST_BUG, at_insn(move->insn), "%s cannot take %u bytes",
                    move_rows[form].form, move->size);
    if (move->insn->ref != REF_NONE && !insn_set_ref(out, move->at, move->target))
        return FAIL(err, ST_REFUSED, at_insn(move->insn),
                    "0x%" PRIx64 " is out of range of the copy at 0x%" PRIx64, move->target,
                    move->at);
    out->addr = vaddr(move->at);
    return prove(move, out, err);
}
