/*
 * code_entries.c: every way into a function but its own branches.
 *
 * Each source says which fact it gives to the block that begins there and whether decoding starts
 * from it. An address that only data forms is believed when it is an instruction of the function
 * (a word of a fixed image may look like an address and be none); all others must be one.
 *
 * SPDX-License-Identifier: MIT
 */
#include "optimizer/code_entries.h"

#include "core/lsda.h"
#include "optimizer/module_refs.h"

#include <stdio.h>
#include <string.h>

typedef struct Entering {
    Context *ctx;
    Func *fn;
    Code *code;
    Roots *roots;
} Entering;

static void add_root(Entering *in, uint32_t index)
{
    Roots *roots = in->roots;
    roots->insns = arena_grow(roots->arena, roots->insns, &roots->cap, (size_t)roots->n + 1,
                              sizeof roots->insns[0]);
    roots->insns[roots->n++] = index;
}

/* A block with `facts` begins at `addr`, which must be an instruction. */
static void enter(Entering *in, Vaddr addr, uint32_t facts, const char *who)
{
    uint32_t index = code_at(in->code, addr);
    if (index == CODE_NONE) {
        if (vaddr_is_none(in->roots->bad)) {
            in->roots->bad = addr;
            in->roots->who = who;
        }
        return;
    }
    in->code->marks[index] |= CODE_LEADER;
    in->code->facts[index] |= facts;
    add_root(in, index);
}

static bool inside(const Entering *in, Vaddr addr)
{
    return code_span_at(in->code, addr) != NULL;
}

static void enter_extents(Entering *in)
{
    enter(in, in->fn->entry, BLOCK_ENTRY, "the entry");
    for (uint32_t i = 1; i < in->fn->n_extents; i++)
        enter(in, in->fn->extents[i].start, 0, "an extent");
}

/* Names in the middle are further entries of hand-written code. */
static void enter_symbols(Entering *in, const CodeSpan *span)
{
    const Image *image = in->ctx->image;
    uint32_t low = 0;
    uint32_t high = image->n_symbols;
    while (low < high) {
        uint32_t mid = low + (high - low) / 2;
        if (image->symbols[mid].addr.v < span->start.v)
            low = mid + 1;
        else
            high = mid;
    }
    for (; low < image->n_symbols && image->symbols[low].addr.v - span->start.v < span->size;
         low++) {
        const Symbol *symbol = &image->symbols[low];
        bool start = vaddr_equal(symbol->addr, span->start);
        if (symbol->type == STT_FUNC || symbol->type == STT_GNU_IFUNC)
            enter(in, symbol->addr, start ? 0 : BLOCK_ENTRY, "a symbol");
    }
}

static void enter_jumps(Entering *in, const CodeSpan *span)
{
    const ModuleRefs *refs = in->ctx->refs;
    for (uint32_t i = module_refs_jump_from(refs, span->start);
         i < refs->n_jumps && refs->jumps[i].to.v - span->start.v < span->size; i++) {
        const CrossJump *jump = &refs->jumps[i];
        if (inside(in, jump->from))
            continue;
        uint32_t facts = jump->call ? BLOCK_OBSERVED | BLOCK_ENTRY : BLOCK_OBSERVED;
        enter(in, jump->to, facts, "a branch of other code");
    }
}

/* False: no entry of its own (the function's own direct branches and fall-throughs are found by
 * decoding; a return to the instruction after a call is no block's begin). */
static bool facts_of_edge(const Entering *in, const ProfileEdge *edge, uint32_t *facts)
{
    bool own = !vaddr_is_none(edge->from) && inside(in, edge->from);
    *facts = BLOCK_OBSERVED;
    switch (edge->kind) {
    case EDGE_RETURN_TO:
    case EDGE_SYSCALL:
    case EDGE_FALL:
        return false;
    case EDGE_TAKEN:
    case EDGE_JUMP:
        return !own;
    case EDGE_CALL:
    case EDGE_CALL_IND:
        *facts |= BLOCK_ENTRY;
        return true;
    default:
        return true;
    }
}

static void enter_observed(Entering *in, const CodeSpan *span)
{
    const ModuleRefs *refs = in->ctx->refs;
    for (uint32_t i = module_refs_inward_from(refs, span->start);
         i < refs->n_inward && refs->inward[i]->to.v - span->start.v < span->size; i++) {
        uint32_t facts;
        if (facts_of_edge(in, refs->inward[i], &facts))
            enter(in, refs->inward[i]->to, facts, "an observed target");
    }
}

/* What was executed is code, whether we see how it was reached or not. */
static void enter_executed(Entering *in, const CodeSpan *span)
{
    const ProfileModule *counts = in->ctx->counts;
    uint32_t low = 0;
    uint32_t high = counts->n_blocks;
    while (low < high) {
        uint32_t mid = low + (high - low) / 2;
        if (counts->blocks[mid].start.v < span->start.v)
            low = mid + 1;
        else
            high = mid;
    }
    for (; low < counts->n_blocks && counts->blocks[low].start.v - span->start.v < span->size;
         low++) {
        const ProfileBlock *block = &counts->blocks[low];
        uint32_t index = code_at(in->code, block->start);
        if (block->count == 0)
            continue;
        if (index != CODE_NONE)
            add_root(in, index);
        else
            enter(in, block->start, 0, "an executed block");
    }
}

static void enter_formed(Entering *in, const CodeSpan *span)
{
    const ModuleRefs *refs = in->ctx->refs;
    for (uint32_t i = module_refs_formed_from(refs, span->start);
         i < refs->n_formed && refs->formed[i].v - span->start.v < span->size; i++) {
        if (code_at(in->code, refs->formed[i]) != CODE_NONE)
            enter(in, refs->formed[i], BLOCK_ESCAPES, "a formed address");
    }
}

static bool has_indirect_jump(const Code *code)
{
    for (uint32_t i = 0; i < code->n; i++)
        if (code->insns[i].flow == FLOW_JUMP_IND)
            return true;
    return false;
}

static bool is_lea(const Insn *insn)
{
    /* REF_MEM: opcode, modrm, disp32; SDM vol. 2A LEA, 8D /r */
    return insn->ref == REF_MEM && insn->bytes[insn->ref_offset - 2] == 0x8d;
}

static void enter_taken_addresses(Entering *in)
{
    for (uint32_t i = 0; i < in->code->n; i++) {
        const Insn *insn = &in->code->insns[i];
        if (is_lea(insn) && code_at(in->code, insn->ref_to) != CODE_NONE &&
            !vaddr_equal(insn->ref_to, in->fn->entry))
            enter(in, insn->ref_to, BLOCK_ESCAPES, "an address taken");
    }
}

static void enter_landing_pads(Entering *in, const Extent *extent)
{
    const UnwindTable *unwind = in->ctx->unwind;
    if (extent->fde >= unwind->n_fdes || vaddr_is_none(unwind->fdes[extent->fde].lsda))
        return;
    const Lsda *lsda;
    Error err = { .text = "" };
    Status status =
        lsda_read(in->ctx->scratch, in->ctx->image, &unwind->fdes[extent->fde], &lsda, &err);
    if (status != ST_OK) {
        bool dynreloc = strstr(err.text, "lsda-dynreloc") != NULL;
        (void)refuse(in->fn, dynreloc ? REFUSED_LSDA_DYNRELOC : REFUSED_LSDA, "%s", err.text);
        return;
    }
    for (uint32_t i = 0; i < lsda->n_sites; i++)
        if (!vaddr_is_none(lsda->sites[i].landing_pad))
            enter(in, lsda->sites[i].landing_pad, BLOCK_LANDING_PAD, "a landing pad");
}

void code_find_entries(Context *ctx, Func *fn, Code *code, Roots *roots)
{
    Entering in = { ctx, fn, code, roots };
    enter_extents(&in);
    for (uint32_t i = 0; i < fn->n_extents; i++)
        enter_landing_pads(&in, &fn->extents[i]);
    bool formed = ctx->image->is_pic || has_indirect_jump(code);
    for (uint32_t i = 0; i < code->n_spans; i++) {
        const CodeSpan *span = &code->spans[i];
        enter_symbols(&in, span);
        enter_jumps(&in, span);
        enter_observed(&in, span);
        enter_executed(&in, span);
        if (formed)
            enter_formed(&in, span);
    }
    enter_taken_addresses(&in);
}
