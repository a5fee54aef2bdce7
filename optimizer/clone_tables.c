/*
 * clone_tables.c: gives the overlay's indirect jumps tables of their own.
 *
 *     original form                           in the overlay
 *     jmp [T + i*8]                  fixed    jmp [T' + i*8]
 *     mov t, [T + i*8]; jmp t        fixed    mov t, [T' + i*8]; jmp t
 *     movsxd t, [b + i*4]; add t, b; jmp t    movsxd t, [b + i*4 + (T'-b)]; add t, b; jmp t
 *     mov t, [b + i*8]; jmp t                 movsxd x, [b + i*4 + (T'-b)]; lea t, [b + x]; jmp t
 *     jmp [b + i*8]                           movsxd x, [b + i*4 + (T'-b)]; lea x, [b + x]; jmp x
 *
 * Register b holds a constant (that is how the table was proven), so the distance to the clone is
 * one too, and offsets count from b as before (TABLE_REL32_BASE): no second base, no flag changed.
 * x is the register that the jump overwrites anyway, or one that is dead at every target. Entries
 * that are no code lead to the original dispatch (`fallback`), which reads b and i as if nothing
 * had happened; so all sites of such a table must be the same instructions, and none may clobber b
 * or i.
 *
 * A site that fits no form keeps the original table and pays the patched label. Needs TABLES and
 * PLACED; breaks nothing.
 *
 * SPDX-License-Identifier: MIT
 */
#include "optimizer/liveness.h"
#include "optimizer/made.h"
#include "optimizer/passes.h"

#include <string.h>

enum { NO_REG = -1, REG_RSP = 4, N_REGS = 16, ENTRY_OLD = 8, ENTRY_OFFSET = 4 };

typedef enum Rewrite {
    REWRITE_NOT,    /* the site keeps the original table */
    REWRITE_REF,    /* the displacement of the load names the clone */
    REWRITE_OFFSET, /* load of an offset with the distance to the clone */
    REWRITE_SUM,    /* load of an address made a load of an offset and a sum */
} Rewrite;

/* A dispatch: what loads the entry, and what jumps. */
typedef struct Site {
    BlockId block;
    uint32_t load; /* instruction that reads the table; the jump itself when it reads memory */
    InsnMem mem;   /* of the load */
    int8_t to;     /* register loaded; NO_REG: the jump itself */
    int8_t scratch;
    uint8_t rewrite; /* Rewrite */
} Site;

typedef struct Cloner {
    Context *ctx;
    Func *fn;
    Liveness liveness;
    Site *sites; /* of the table at hand */
    uint32_t n_sites;
} Cloner;

static bool is_placed(const Block *block)
{
    return (block->facts & (BLOCK_HOT | BLOCK_COLD_COPY)) != 0;
}

/* Last instruction before `before` that writes the register; block->n_insns: none, or unclear. */
static uint32_t defined_at(const Block *block, uint32_t before, int8_t reg)
{
    for (uint32_t i = before; i-- > 0;) {
        InsnEffects effects;
        insn_effects(&block->insns[i], &effects);
        if (effects.barrier)
            break;
        if ((effects.writes >> reg & 1) != 0)
            return i;
    }
    return block->n_insns;
}

static bool is_load(const Insn *insn, uint8_t size, Operand operands[3])
{
    InsnOp op = insn_operands(insn, operands);
    InsnOp wanted = size == ENTRY_OLD ? INSN_OP_MOV : INSN_OP_MOVSXD;
    return op == wanted && operands[0].kind == OPERAND_REG && operands[0].size == 8 &&
           operands[1].kind == OPERAND_MEM && operands[1].size == size;
}

/* mov t, [..]; jmp t   or   jmp [..] */
static bool find_address_site(const Block *block, Site *site)
{
    Operand operands[3];
    uint32_t jump = block->n_insns - 1;
    insn_operands(&block->insns[jump], operands);
    site->load = jump;
    site->to = NO_REG;
    if (operands[0].kind == OPERAND_REG) {
        site->to = operands[0].reg;
        site->load = defined_at(block, jump, operands[0].reg);
        if (site->load == block->n_insns ||
            !is_load(&block->insns[site->load], ENTRY_OLD, operands))
            return false;
        operands[0] = operands[1];
    }
    site->mem = operands[0].mem;
    return operands[0].kind == OPERAND_MEM && site->mem.index >= 0 &&
           site->mem.scale == ENTRY_OLD && site->mem.segment == 0;
}

/* The two registers that instruction `i` adds up; false: it is no sum. */
static bool is_sum(const Block *block, uint32_t i, int8_t pair[2])
{
    Operand operands[3];
    InsnOp op = insn_operands(&block->insns[i], operands);
    if (op == INSN_OP_ADD && operands[1].kind == OPERAND_REG && operands[0].kind == OPERAND_REG) {
        pair[0] = operands[0].reg;
        pair[1] = operands[1].reg;
        return operands[0].size == 8;
    }
    pair[0] = operands[1].mem.base;
    pair[1] = operands[1].mem.index;
    return op == INSN_OP_LEA && operands[0].size == 8 && pair[0] >= 0 && pair[1] >= 0 &&
           operands[1].mem.scale == 1 && operands[1].mem.disp == 0;
}

/* movsxd t, [b + i*4]; add t, b; jmp t   or, the base as the sum's target,   add b, t; jmp b */
static bool find_offset_site(const Block *block, Site *site)
{
    Operand operands[3];
    int8_t pair[2];
    uint32_t jump = block->n_insns - 1;
    insn_operands(&block->insns[jump], operands);
    if (operands[0].kind != OPERAND_REG)
        return false;
    uint32_t sum = defined_at(block, jump, operands[0].reg);
    if (sum == block->n_insns || !is_sum(block, sum, pair))
        return false;
    for (int i = 0; i < 2; i++) {
        site->load = defined_at(block, sum, pair[i]);
        if (site->load == block->n_insns ||
            !is_load(&block->insns[site->load], ENTRY_OFFSET, operands))
            continue;
        site->to = pair[i];
        site->mem = operands[1].mem;
        return site->mem.base >= 0 && site->mem.index >= 0 && site->mem.scale == ENTRY_OFFSET &&
               site->mem.segment == 0;
    }
    return false;
}

/* A register that nothing reads after instruction `insn` before it is written, not b or i. */
static int8_t dead_register(const Cloner *cloner, const Site *site, uint32_t insn)
{
    Live live = live_before(&cloner->liveness, site->block, insn);
    for (int8_t reg = 0; reg < N_REGS; reg++) {
        if ((live.regs >> reg & 1) == 0 && reg != REG_RSP && reg != site->mem.base &&
            reg != site->mem.index && reg != site->to)
            return reg;
    }
    return NO_REG;
}

static bool has_no_code(const Table *table)
{
    for (uint32_t i = 0; i < table->n; i++) {
        if (vaddr_is_none(table->entries[i]))
            return true;
    }
    return false;
}

/* What the load's base register holds: entry 0 stands at it plus the displacement. */
static Vaddr held_by_base(const Table *table, const Site *site)
{
    return vaddr(table->addr.v - (uint64_t)site->mem.disp);
}

static void plan_offset_site(const Table *table, Site *site)
{
    if (vaddr_equal(held_by_base(table, site), table->base))
        site->rewrite = REWRITE_OFFSET;
}

static void plan_address_site(const Cloner *cloner, Site *site)
{
    const Block *block = func_block(cloner->fn, site->block);
    const Insn *load = &block->insns[site->load];
    if (load->ref == REF_ABS && site->mem.base < 0) {
        site->rewrite = cloner->ctx->image->is_pic ? REWRITE_NOT : REWRITE_REF;
        return;
    }
    if (site->mem.base < 0)
        return;
    site->scratch = site->to != NO_REG && site->to != site->mem.base
                        ? site->to
                        : dead_register(cloner, site, site->load);
    site->rewrite = site->scratch != NO_REG ? REWRITE_SUM : REWRITE_NOT;
}

/* All placed dispatches of the table that ran, and how each can use a clone. */
static void find_sites(Cloner *cloner, int32_t index)
{
    Func *fn = cloner->fn;
    const Table *table = &fn->tables[index];
    cloner->n_sites = 0;
    for (uint32_t i = 0; i < fn->n_blocks; i++) {
        const Block *block = &fn->blocks[i];
        if (block->table != index || !is_placed(block))
            continue;
        Site site = { .block = block->id, .to = NO_REG, .scratch = NO_REG };
        bool known = table->form == TABLE_REL32 ? find_offset_site(block, &site)
                                                : find_address_site(block, &site);
        if (known && table->form == TABLE_REL32)
            plan_offset_site(table, &site);
        else if (known)
            plan_address_site(cloner, &site);
        cloner->sites[cloner->n_sites++] = site;
    }
}

/* What the clone's form is when a site is rewritten this way. */
static uint8_t form_for(const Table *table, uint8_t rewrite)
{
    return rewrite == REWRITE_REF ? table->form : (uint8_t)TABLE_REL32_BASE;
}

static Vaddr base_for(const Table *table, const Site *site)
{
    return site->rewrite == REWRITE_SUM ? held_by_base(table, site) : table->base;
}

/* The form that the most executed sites want; other sites then have to follow or stay out. */
static const Site *leading_site(const Cloner *cloner)
{
    const Site *best = NULL;
    uint64_t best_count = 0;
    for (uint32_t i = 0; i < cloner->n_sites; i++) {
        const Site *site = &cloner->sites[i];
        uint64_t count = func_block(cloner->fn, site->block)->end_count;
        if (site->rewrite != REWRITE_NOT && count > best_count) {
            best = site;
            best_count = count;
        }
    }
    return best;
}

/* Nothing but the load, the sum and the jump would run twice, and b and i are left as they are. */
static bool may_run_again(const Func *fn, const Table *table, const Site *site)
{
    const Block *block = func_block(fn, site->block);
    uint32_t steps = 1 + (site->to != NO_REG ? 1 : 0) + (table->form == TABLE_REL32 ? 1 : 0);
    return block->n_insns - site->load == steps && site->to != site->mem.base &&
           site->to != site->mem.index && site->scratch != site->mem.index;
}

static bool same_dispatch(const Func *fn, const Site *left, const Site *right)
{
    const Block *one = func_block(fn, left->block), *two = func_block(fn, right->block);
    if (one->n_insns - left->load != two->n_insns - right->load)
        return false;
    for (uint32_t i = left->load, k = right->load; i < one->n_insns; i++, k++) {
        if (one->insns[i].size != two->insns[k].size ||
            memcmp(one->insns[i].bytes, two->insns[k].bytes, one->insns[i].size) != 0)
            return false;
    }
    return true;
}

static bool is_patched_over(const Context *ctx, const Func *fn, Vaddr addr)
{
    for (size_t i = ctx->n_patches; i-- > 0 && ctx->patches[i].fn.i == fn->id.i;) {
        const Patch *patch = &ctx->patches[i];
        if (addr.v - patch->site.v < patch->size)
            return true;
    }
    return false;
}

/* An original dispatch that an overlay jump may fall back to. */
static Vaddr find_fallback(const Cloner *cloner, const Site *leader)
{
    for (uint32_t i = 0; i < cloner->n_sites; i++) {
        const Site *site = &cloner->sites[i];
        Vaddr addr = func_block(cloner->fn, site->block)->insns[site->load].addr;
        if (site->rewrite == leader->rewrite && same_dispatch(cloner->fn, site, leader) &&
            !is_patched_over(cloner->ctx, cloner->fn, addr))
            return addr;
    }
    return VADDR_NONE;
}

static void replace_insns(Func *fn, Block *block, uint32_t at, const Insn *made, uint32_t n)
{
    uint32_t rest = block->n_insns - at - 1;
    Insn *insns = arena_many(fn->arena, Insn, block->n_insns + n - 1);
    memcpy(insns, block->insns, at * sizeof *insns);
    memcpy(insns + at, made, n * sizeof *insns);
    memcpy(insns + at + n, block->insns + at + 1, rest * sizeof *insns);
    block->insns = insns;
    block->n_insns = block->cap_insns = at + n + rest;
}

static void rewrite_site(Func *fn, const Site *site, int32_t index)
{
    Block *block = func_block(fn, site->block);
    Insn *load = &block->insns[site->load];
    Insn made[3];
    uint32_t n = 0;
    if (site->rewrite == REWRITE_REF) {
        load->table = index;
        return;
    }
    int8_t offset = site->rewrite == REWRITE_OFFSET ? site->to : site->scratch;
    made[n++] = made_load_offset(load->addr, offset, site->mem.base, site->mem.index, index);
    if (site->rewrite == REWRITE_SUM) {
        int8_t to = site->to != NO_REG ? site->to : site->scratch;
        made[n++] = made_lea_sum(load->addr, to, site->mem.base, offset);
        if (site->to == NO_REG)
            made[n++] = made_jump_reg(load->addr, to, (load->facts & INSN_NOTRACK) != 0);
    }
    replace_insns(fn, block, site->load, made, n);
}

static void count_refused(const Cloner *cloner, const Block *block)
{
    cloner->ctx->stats->refused[REFUSED_TABLE_REGS]++;
    cloner->ctx->stats->refused_insns[REFUSED_TABLE_REGS] += block->end_count;
}

/* Leaves only the sites that can use the clone that the leading one wants. */
static void choose_sites(Cloner *cloner, const Table *table, const Site *leader)
{
    bool no_code = has_no_code(table);
    for (uint32_t i = 0; i < cloner->n_sites; i++) {
        Site *site = &cloner->sites[i];
        bool fits = leader != NULL && site->rewrite == leader->rewrite &&
                    vaddr_equal(base_for(table, site), table->base) &&
                    (!no_code || same_dispatch(cloner->fn, site, leader));
        if (!fits && site != leader)
            site->rewrite = REWRITE_NOT;
    }
}

static void clone_table(Cloner *cloner, int32_t index, PassStats *stats)
{
    Func *fn = cloner->fn;
    Table *table = &fn->tables[index];
    find_sites(cloner, index);
    const Site *leader = leading_site(cloner);
    if (leader != NULL && has_no_code(table)) {
        table->fallback =
            may_run_again(fn, table, leader) ? find_fallback(cloner, leader) : VADDR_NONE;
        leader = vaddr_is_none(table->fallback) ? NULL : leader;
    }
    if (leader != NULL) {
        table->clone = true;
        table->new_form = form_for(table, leader->rewrite);
        table->base = base_for(table, leader);
    }
    choose_sites(cloner, table, leader);
    for (uint32_t i = 0; i < cloner->n_sites; i++) {
        const Site *site = &cloner->sites[i];
        if (leader == NULL || site->rewrite == REWRITE_NOT) {
            count_refused(cloner, func_block(fn, site->block));
            continue;
        }
        rewrite_site(fn, site, index);
        stats->changed++;
    }
}

Status clone_tables(Context *ctx, Func *fn, PassStats *stats, Error *err)
{
    (void)err;
    if (fn->n_tables == 0)
        return ST_OK;
    Cloner cloner = { .ctx = ctx, .fn = fn };
    cloner.liveness = liveness_of(ctx->scratch, fn);
    cloner.sites = arena_many(ctx->scratch, Site, fn->n_blocks);
    for (uint32_t i = 0; i < fn->n_tables; i++)
        clone_table(&cloner, (int32_t)i, stats);
    return ST_OK;
}
