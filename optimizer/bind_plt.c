/*
 * bind_plt.c: guards for calls through the PLT to functions of the same module.
 *
 *     before                          after
 *     call f@plt                      call guard
 *     f@plt: jmp *slot                guard: mov  %rax, -8(%rsp)
 *     f:     jmp f.hot   (bounce)            lea  f(%rip), %rax
 *     f.hot: ...                             cmp  %rax, slot(%rip)
 *                                            mov  -8(%rsp), %rax
 *                                            jne  out                  interposed, or not bound yet
 *                                     f.hot: ...
 *                                     out:   jmp  *slot(%rip)
 *
 * No register changes, and the red zone below the return address is free at a call: the call itself
 * has just overwritten its first word, and the callee may write all of it. Only flags change, so a
 * guard is made where the function overwrites every arithmetic flag before anything reads one, by
 * liveness over its blocks; what `out` leads to is entered by the ABI, where flags mean nothing: an
 * interposed function comes from another object, and the lazy resolver clobbers them anyway.
 *
 * The row of unwind information at the guard is that of the entry: %rsp does not move.
 *
 * SPDX-License-Identifier: MIT
 */
#include "optimizer/bind_plt.h"
#include "optimizer/liveness.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum {
    ARITHMETIC_FLAGS = FLAG_CF | FLAG_PF | FLAG_AF | FLAG_ZF | FLAG_SF | FLAG_OF,
};

/* ---- stubs ---------------------------------------------------------------------------------- */

bool plt_stub_read(const Image *image, Vaddr at, Vaddr *slot, Vaddr *function)
{
    Insn insn;
    if (!insn_decode(image_bytes_from(image, at), at, &insn))
        return false;
    if ((insn.facts & INSN_ENDBR) != 0) {
        at = vaddr_add(at, insn.size);
        if (!insn_decode(image_bytes_from(image, at), at, &insn))
            return false;
    }
    if (insn.flow != FLOW_JUMP_IND || insn.ref != REF_MEM)
        return false;
    const Reloc *reloc = image_reloc_at(image, insn.ref_to);
    Elf64_Sym symbol;
    if (reloc == NULL || (reloc->type != R_X86_64_JUMP_SLOT && reloc->type != R_X86_64_GLOB_DAT) ||
        !image_dynamic_symbol(image, reloc->symbol, &symbol) ||
        ELF64_ST_TYPE(symbol.st_info) != STT_FUNC || symbol.st_shndx == SHN_UNDEF)
        return false;
    *slot = insn.ref_to;
    *function = vaddr(symbol.st_value);
    return true;
}

/* ---- guards --------------------------------------------------------------------------------- */

/* One made instruction. A displacement of 4 bytes at `field` denotes `to`; field 0: none. */
static Insn make(Vaddr at, const uint8_t *bytes, uint8_t size, uint8_t field, Vaddr to)
{
    uint8_t code[INSN_MAX_SIZE];
    Insn insn = { 0 };
    memcpy(code, bytes, size);
    if (field != 0)
        store_u32(code + field, (uint32_t)(to.v - (at.v + size)));
    bool decoded = insn_decode((Bytes){ code, size }, at, &insn);
    assert(decoded); /* the bytes are written out in this file */
    (void)decoded;
    insn.facts |= INSN_MADE;
    insn.addr = VADDR_NONE;
    return insn;
}

/* A block that stands for the entry and is no copy of its code. */
static BlockId add_made_block(Func *fn, BlockId entry, uint32_t placed_as, uint64_t count)
{
    BlockId id = func_add_block(fn);
    Block *block = func_block(fn, id);
    block->start = fn->entry;
    block->facts = placed_as;
    block->copy_of = entry;
    block->count = block->end_count = count;
    return id;
}

static void add_succ(Func *fn, BlockId from, BlockId to, SuccKind kind, uint64_t count)
{
    Block *block = func_block(fn, from);
    Succ *succ = arena_many(fn->arena, Succ, block->n_succ + 1);
    for (uint32_t i = 0; i < block->n_succ; i++)
        succ[i] = block->succ[i];
    succ[block->n_succ++] = (Succ){ to, fn->entry, count, (uint8_t)kind };
    block->succ = succ;
}

static BlockId make_out(Func *fn, BlockId entry, Vaddr slot)
{
    static const uint8_t jump[] = { 0xff, 0x25, 0, 0, 0, 0 };
    BlockId out = add_made_block(fn, entry, BLOCK_COLD_COPY, 0);
    Insn insn = make(fn->entry, jump, sizeof jump, 2, slot);
    block_add_insn(fn, out, &insn);
    return out;
}

static BlockId make_guard(Func *fn, BlockId entry, Vaddr slot, uint64_t count)
{
    static const uint8_t save[] = { 0x48, 0x89, 0x44, 0x24, 0xf8 };
    static const uint8_t lea[] = { 0x48, 0x8d, 0x05, 0, 0, 0, 0 };
    static const uint8_t compare[] = { 0x48, 0x39, 0x05, 0, 0, 0, 0 };
    static const uint8_t restore[] = { 0x48, 0x8b, 0x44, 0x24, 0xf8 };
    static const uint8_t differs[] = { 0x0f, 0x85, 0, 0, 0, 0 };
    BlockId out = make_out(fn, entry, slot);
    BlockId guard = add_made_block(fn, entry, BLOCK_HOT, count);
    const Insn insns[] = {
        make(fn->entry, save, sizeof save, 0, VADDR_NONE),
        make(fn->entry, lea, sizeof lea, 3, fn->entry),
        make(fn->entry, compare, sizeof compare, 3, slot),
        make(fn->entry, restore, sizeof restore, 0, VADDR_NONE),
        make(fn->entry, differs, sizeof differs, 2, fn->entry),
    };
    for (size_t i = 0; i < sizeof insns / sizeof *insns; i++)
        block_add_insn(fn, guard, &insns[i]);
    add_succ(fn, guard, out, SUCC_TAKEN, 0);
    add_succ(fn, guard, entry, SUCC_FALL, count);
    return guard;
}

/* The guard before the entry, its way out at the very end. */
static void lay_out(Func *fn, BlockId entry, BlockId guard)
{
    BlockId out = func_block(fn, guard)->succ[0].to;
    BlockId *layout = arena_many(fn->arena, BlockId, fn->n_layout + (size_t)2);
    uint32_t n = 0;
    for (uint32_t i = 0; i < fn->n_layout; i++) {
        if (same_block(fn->layout[i], entry))
            layout[n++] = guard;
        layout[n++] = fn->layout[i];
    }
    layout[n++] = out;
    fn->layout = layout;
    fn->n_layout = n;
    fn->n_cold++;
    func_block(fn, guard)->align = func_block(fn, entry)->align;
    func_block(fn, entry)->align = 0;
}

static bool is_in_layout(const Func *fn, BlockId id)
{
    for (uint32_t i = 0; i + fn->n_cold < fn->n_layout; i++)
        if (same_block(fn->layout[i], id))
            return true;
    return false;
}

/* The hot entry block whose flags are dead; NO_BLOCK: no guard is possible. */
static BlockId guardable_entry(const Context *ctx, const Func *fn)
{
    if (fn->refused != REFUSED_NOT || fn->n_layout == 0)
        return NO_BLOCK;
    BlockId entry = func_block_at(fn, fn->entry);
    if (!is_block(entry) || !is_in_layout(fn, entry))
        return NO_BLOCK;
    Liveness liveness = liveness_of(ctx->scratch, fn);
    bool dead = (live_before(&liveness, entry, 0).flags & ARITHMETIC_FLAGS) == 0;
    return dead ? entry : NO_BLOCK;
}

/* ---- which stubs ---------------------------------------------------------------------------- */

/* True when the edge leaves a placed block of a placed function by a direct branch or call. */
static bool leaves_overlay(const Context *ctx, const ProfileEdge *edge)
{
    if (edge->kind != EDGE_CALL && edge->kind != EDGE_JUMP && edge->kind != EDGE_TAKEN)
        return false;
    const Func *from = program_func_at(ctx->program, edge->from);
    if (from == NULL || from->refused != REFUSED_NOT || from->n_layout == 0)
        return false;
    BlockId id = func_block_over(from, edge->from);
    return is_block(id) && (func_block(from, id)->facts & (BLOCK_HOT | BLOCK_COLD_COPY)) != 0;
}

static int by_stub(const void *left, const void *right)
{
    const Bind *a = left, *b = right;
    return (a->stub.v > b->stub.v) - (a->stub.v < b->stub.v);
}

/* Stubs called from the overlay with their counts, sorted, each once; `to` still unset. */
static uint32_t collect_stubs(const Context *ctx, Bind *binds)
{
    const ProfileModule *counts = ctx->counts;
    uint32_t n = 0, unique = 0;
    for (uint32_t i = 0; i < counts->n_edges; i++) {
        const ProfileEdge *edge = &counts->edges[i];
        Bind bind = { .stub = edge->to, .count = edge->count };
        Vaddr function;
        if (edge->to_module != ctx->module || edge->count == 0 || !leaves_overlay(ctx, edge) ||
            !plt_stub_read(ctx->image, edge->to, &bind.slot, &function))
            continue;
        const Func *fn = program_func_at(ctx->program, function);
        if (fn == NULL || !vaddr_equal(fn->entry, function))
            continue;
        bind.fn = fn->id;
        binds[n++] = bind;
    }
    qsort(binds, n, sizeof *binds, by_stub);
    for (uint32_t i = 0; i < n; i++) {
        if (unique > 0 && vaddr_equal(binds[unique - 1].stub, binds[i].stub))
            binds[unique - 1].count += binds[i].count;
        else
            binds[unique++] = binds[i];
    }
    return unique;
}

void bind_plt(Context *ctx, Plan *plan)
{
    if (ctx->options->stop_after != NULL)
        return;
    plan->binds = arena_many(ctx->arena, Bind, ctx->counts->n_edges + (size_t)1);
    uint32_t n = collect_stubs(ctx, plan->binds);
    for (uint32_t i = 0; i < n; i++) {
        Bind bind = plan->binds[i];
        Func *fn = &ctx->program->funcs[bind.fn.i];
        BlockId entry = guardable_entry(ctx, fn);
        arena_reset(ctx->scratch);
        if (!is_block(entry))
            continue;
        bind.to = make_guard(fn, entry, bind.slot, bind.count);
        lay_out(fn, entry, bind.to);
        plan->binds[plan->n_binds++] = bind;
        plan->stats.calls_bound += bind.count;
    }
    plan->stats.stubs_bound = plan->n_binds;
}

const Bind *plan_bind_at(const Plan *plan, Vaddr stub)
{
    uint32_t low = 0, high = plan->n_binds;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (plan->binds[middle].stub.v < stub.v)
            low = middle + 1;
        else
            high = middle;
    }
    bool found = low < plan->n_binds && vaddr_equal(plan->binds[low].stub, stub);
    return found ? &plan->binds[low] : NULL;
}
