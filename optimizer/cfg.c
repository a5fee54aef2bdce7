/*
 * cfg.c: a function's basic blocks and their successors.
 *
 *     bytes -> linear decoding ---------> instructions
 *     entries, pads, targets --recursive-> reached ones      must agree, else refused
 *     reached + plausible rest ----------> blocks and edges
 *
 * Two decodings because each alone can be wrong without a sign: linear decoding reads data between
 * instructions as code, recursive decoding does not see what only an indirect jump enters. Code
 * that recursion does not reach is kept as blocks (an unproven jump may lead there), padding is
 * not.
 *
 * Tables that find_tables has proven are in fn->tables, and Block.table of the old blocks says
 * which jump uses which: building again keeps them and follows their targets.
 *
 * Needs CODE; gives CFG; refuses DECODE, DISAGREE, OVERLAP, CALL_POP, TOO_BIG and what
 * code_entries.c refuses.
 *
 * SPDX-License-Identifier: MIT
 */
#include "optimizer/code_entries.h"
#include "optimizer/module_refs.h"

#include <assert.h>
#include <stdlib.h>

enum { FUNC_SIZE_MAX = 4 << 20 };

/* A jump that uses a table. */
typedef struct Site {
    Vaddr addr;
    int32_t table;
} Site;

typedef struct Build {
    Context *ctx;
    Func *fn;
    Code code;
    Roots roots;
    Site *sites; /* sorted by addr */
    uint32_t n_sites;
} Build;

/* --- tables of an earlier build ------------------------------------------------------------- */

static void collect_sites(Build *build)
{
    const Func *fn = build->fn;
    build->sites = arena_many(build->ctx->scratch, Site, fn->n_blocks);
    for (uint32_t i = 0; i < fn->n_blocks; i++) {
        const Block *block = &fn->blocks[i];
        if (block->table >= 0 && block->n_insns > 0)
            build->sites[build->n_sites++] = (Site){ block_last(block)->addr, block->table };
    }
}

/* Index of the table that the jump at `addr` uses; -1: none. */
static int32_t table_of(const Build *build, Vaddr addr)
{
    uint32_t low = 0;
    uint32_t high = build->n_sites;
    while (low < high) {
        uint32_t mid = low + (high - low) / 2;
        if (build->sites[mid].addr.v < addr.v)
            low = mid + 1;
        else
            high = mid;
    }
    return low < build->n_sites && vaddr_equal(build->sites[low].addr, addr)
               ? build->sites[low].table
               : -1;
}

/* --- recursive decoding ------------------------------------------------------------------------
 */

typedef struct Walk {
    uint32_t *todo;
    uint32_t n;
    size_t cap;
    Vaddr bad; /* target that is no instruction; VADDR_NONE */
    Vaddr bad_from;
} Walk;

static void push(Build *build, Walk *walk, uint32_t index)
{
    if ((build->code.marks[index] & CODE_REACHED) != 0)
        return;
    walk->todo = arena_grow(build->ctx->scratch, walk->todo, &walk->cap, (size_t)walk->n + 1,
                            sizeof walk->todo[0]);
    walk->todo[walk->n++] = index;
}

/* A branch of the function to `target`: a leader, when it is inside. */
static void branch_to(Build *build, Walk *walk, const Insn *from, Vaddr target)
{
    if (code_span_at(&build->code, target) == NULL)
        return;
    uint32_t index = code_at(&build->code, target);
    if (index == CODE_NONE) {
        if (vaddr_is_none(walk->bad)) {
            walk->bad = target;
            walk->bad_from = from->addr;
        }
        return;
    }
    build->code.marks[index] |= CODE_LEADER;
    push(build, walk, index);
}

static uint64_t returns_of(const Build *build, const Insn *call)
{
    uint32_t n;
    uint64_t sum = 0;
    const ProfileEdge *edges = profile_edges_from(build->ctx->counts, call->addr, &n);
    for (uint32_t i = 0; i < n; i++)
        if (edges[i].kind == EDGE_RETURN_TO)
            sum += edges[i].count;
    return sum;
}

/* Never seen to return, and either known not to, or at the end of flow: the extent ends, or padding
 * follows a call that was executed in vain. */
static bool never_returns(const Build *build, uint32_t index)
{
    const Code *code = &build->code;
    const Insn *call = &code->insns[index];
    uint32_t next = code_next(code, index);
    if (module_refs_ends(build->ctx->refs, build->ctx->unwind, call))
        return returns_of(build, call) == 0;
    if (next != CODE_NONE && (code->insns[next].facts & INSN_NOP) == 0)
        return false;
    if (next != CODE_NONE && profile_count_at(build->ctx->counts, call->addr) == 0)
        return false;
    return returns_of(build, call) == 0;
}

/* Follows what insns[index] leads to but the next instruction; true when that may come next. */
static bool follow(Build *build, Walk *walk, uint32_t index)
{
    const Insn *insn = &build->code.insns[index];
    switch ((Flow)insn->flow) {
    case FLOW_COND:
    case FLOW_LOOP:
    case FLOW_XBEGIN:
        branch_to(build, walk, insn, insn->ref_to);
        return true;
    case FLOW_JUMP:
        branch_to(build, walk, insn, insn->ref_to);
        return false;
    case FLOW_JUMP_IND: /* see enter_tables */
    case FLOW_RET:
    case FLOW_STOP:
        return false;
    case FLOW_CALL:
    case FLOW_CALL_IND:
        if (!never_returns(build, index))
            return true;
        build->code.marks[index] |= CODE_STOPS;
        return false;
    case FLOW_NEXT:
    case FLOW_SYSCALL:
        break;
    }
    return true;
}

static void walk_from(Build *build, Walk *walk, uint32_t root)
{
    Code *code = &build->code;
    push(build, walk, root);
    while (walk->n > 0) {
        uint32_t index = walk->todo[--walk->n];
        while (index != CODE_NONE && (code->marks[index] & CODE_REACHED) == 0) {
            code->marks[index] |= CODE_REACHED;
            index = follow(build, walk, index) ? code_next(code, index) : CODE_NONE;
        }
    }
}

/* The targets of all tables are entries, also of tables that find_tables only suspects. */
static void enter_tables(Build *build, Walk *walk)
{
    const Func *fn = build->fn;
    for (uint32_t i = 0; i < fn->n_tables; i++) {
        for (uint32_t j = 0; j < fn->tables[i].n; j++) {
            uint32_t target = code_at(&build->code, fn->tables[i].entries[j]);
            if (target == CODE_NONE)
                continue; /* find_tables has judged it */
            assert(build->code.facts != NULL && build->code.marks != NULL);
            build->code.facts[target] |= BLOCK_TABLE;
            build->code.marks[target] |= CODE_LEADER;
            walk_from(build, walk, target);
        }
    }
}

static Status refuse_bad_target(Build *build, Vaddr target, const char *who, Vaddr from)
{
    uint32_t over = code_over(&build->code, target);
    assert(build->code.marks != NULL);
    bool reached = over != CODE_NONE && (build->code.marks[over] & CODE_REACHED) != 0;
    if (vaddr_is_none(from))
        return refuse(build->fn, reached ? REFUSED_OVERLAP : REFUSED_DISAGREE,
                      "%s leads to 0x%" PRIx64 ", inside an instruction", who, target.v);
    return refuse(build->fn, reached ? REFUSED_OVERLAP : REFUSED_DISAGREE,
                  "the branch at 0x%" PRIx64 " leads to 0x%" PRIx64 ", inside an instruction",
                  from.v, target.v);
}

static Status walk_code(Build *build)
{
    Walk walk = { .bad = VADDR_NONE, .bad_from = VADDR_NONE };
    for (uint32_t i = 0; i < build->roots.n; i++)
        walk_from(build, &walk, build->roots.insns[i]);
    enter_tables(build, &walk);
    if (!vaddr_is_none(build->roots.bad))
        return refuse_bad_target(build, build->roots.bad, build->roots.who, VADDR_NONE);
    if (!vaddr_is_none(walk.bad))
        return refuse_bad_target(build, walk.bad, "", walk.bad_from);
    return ST_OK;
}

/* --- what recursion did not reach --------------------------------------------------------------
 */

static bool is_padding(const Insn *insn)
{
    return (insn->facts & INSN_NOP) != 0 || insn->flow == FLOW_STOP;
}

static bool is_reached(const Code *code, uint32_t index)
{
    return (code->marks[index] & CODE_REACHED) != 0;
}

/* Decodes from the unreached instructions too: each run of them begins a block at its first
 * instruction that is no padding. */
static Status walk_rest(Build *build)
{
    Code *code = &build->code;
    Walk walk = { .bad = VADDR_NONE, .bad_from = VADDR_NONE };
    for (uint32_t i = 0; i < code->n; i++) {
        if (is_reached(code, i) || is_padding(&code->insns[i]))
            continue;
        code->marks[i] |= CODE_LEADER;
        walk_from(build, &walk, i);
    }
    if (!vaddr_is_none(walk.bad))
        return refuse_bad_target(build, walk.bad, "", walk.bad_from);
    return ST_OK;
}

/* --- blocks ------------------------------------------------------------------------------------
 */

static bool ends_block(const Code *code, uint32_t index)
{
    if ((code->marks[index] & CODE_STOPS) != 0)
        return true;
    switch ((Flow)code->insns[index].flow) {
    case FLOW_JUMP:
    case FLOW_COND:
    case FLOW_LOOP:
    case FLOW_JUMP_IND:
    case FLOW_RET:
    case FLOW_STOP:
    case FLOW_XBEGIN:
        return true;
    case FLOW_NEXT:
    case FLOW_CALL:
    case FLOW_CALL_IND:
    case FLOW_SYSCALL:
        break;
    }
    uint32_t next = code_next(code, index);
    return next == CODE_NONE || !is_reached(code, next) || (code->marks[next] & CODE_LEADER) != 0;
}

/* Instructions after a block's end, or after what is in no block, begin one. */
static void mark_fall_throughs(Code *code)
{
    for (uint32_t i = 0; i < code->n; i++)
        if (is_reached(code, i) && (i == 0 || !is_reached(code, i - 1) || ends_block(code, i - 1)))
            code->marks[i] |= CODE_LEADER;
}

static uint32_t count_leaders(const Code *code, uint32_t *n_insns)
{
    uint32_t n = 0;
    *n_insns = 0;
    for (uint32_t i = 0; i < code->n; i++) {
        bool reached = is_reached(code, i);
        *n_insns += reached ? 1 : 0;
        n += reached && (code->marks[i] & CODE_LEADER) != 0 ? 1 : 0;
    }
    return n;
}

/* All instructions of all blocks stand in one array, in order. */
static void make_blocks(Build *build)
{
    Func *fn = build->fn;
    const Code *code = &build->code;
    uint32_t n_insns;
    uint32_t n_blocks = count_leaders(code, &n_insns);
    Insn *insns = arena_many(fn->arena, Insn, n_insns);
    fn->cap_blocks = 0;
    fn->blocks = arena_grow(fn->arena, NULL, &fn->cap_blocks, n_blocks, sizeof fn->blocks[0]);
    fn->n_blocks = 0;
    Block *block = NULL;
    for (uint32_t i = 0; i < code->n; i++) {
        if (!is_reached(code, i))
            continue;
        if ((code->marks[i] & CODE_LEADER) != 0) {
            block = func_block(fn, func_add_block(fn));
            block->start = code->insns[i].addr;
            block->facts = code->facts[i];
            block->insns = insns;
        }
        assert(block != NULL); /* what is reached first is a leader */
        *insns++ = code->insns[i];
        block->cap_insns = ++block->n_insns;
        block->size += code->insns[i].size;
        if ((code->marks[i] & CODE_STOPS) != 0)
            block->facts |= BLOCK_STOPS;
    }
}

/* --- successors --------------------------------------------------------------------------------
 */

static Succ succ_to(const Func *fn, Vaddr addr, SuccKind kind)
{
    return (Succ){ .to = func_block_at(fn, addr), .addr = addr, .kind = (uint8_t)kind };
}

static void set_succ(Func *fn, Block *block, const Succ *succ, uint32_t n)
{
    block->succ = arena_copy(fn->arena, succ, n * sizeof succ[0]);
    block->n_succ = n;
}

static int by_addr(const void *left, const void *right)
{
    uint64_t a = ((const Vaddr *)left)->v;
    uint64_t b = ((const Vaddr *)right)->v;
    return (a > b) - (a < b);
}

/* One successor for each target, sorted by address. */
static void set_table_succ(Build *build, Block *block)
{
    Func *fn = build->fn;
    block->table = table_of(build, block_last(block)->addr);
    if (block->table < 0)
        return;
    const Table *table = &fn->tables[block->table];
    Vaddr *targets = arena_copy(build->ctx->scratch, table->entries, table->n * sizeof targets[0]);
    if (table->n > 0)
        qsort(targets, table->n, sizeof targets[0], by_addr);
    Succ *succ = arena_many(fn->arena, Succ, table->n);
    uint32_t n = 0;
    for (uint32_t i = 0; i < table->n; i++)
        if (!vaddr_is_none(targets[i]) && (i == 0 || !vaddr_equal(targets[i], targets[i - 1])))
            succ[n++] = succ_to(fn, targets[i], SUCC_TABLE);
    block->succ = succ;
    block->n_succ = n;
}

static void find_successors(Build *build, Block *block)
{
    Func *fn = build->fn;
    const Insn *last = block_last(block);
    Vaddr next = vaddr_add(last->addr, last->size);
    Succ succ[2] = { succ_to(fn, next, SUCC_FALL) };
    switch ((Flow)last->flow) {
    case FLOW_RET:
    case FLOW_STOP:
        return;
    case FLOW_JUMP_IND:
        set_table_succ(build, block);
        return;
    case FLOW_JUMP:
        succ[0] = succ_to(fn, last->ref_to, SUCC_TAKEN);
        set_succ(fn, block, succ, 1);
        return;
    case FLOW_COND:
    case FLOW_LOOP:
    case FLOW_XBEGIN:
        succ[1] = succ[0];
        succ[0] = succ_to(fn, last->ref_to, SUCC_TAKEN);
        set_succ(fn, block, succ, 2);
        return;
    case FLOW_NEXT:
    case FLOW_CALL:
    case FLOW_CALL_IND:
    case FLOW_SYSCALL:
        set_succ(fn, block, succ, 1);
        return;
    }
}

/* Calls into the function: of the entry they are recursion; of another place that place would see a
 * return address on its stack that is ours. */
static Status check_calls(Build *build)
{
    Func *fn = build->fn;
    const Code *code = &build->code;
    for (uint32_t i = 0; i < code->n; i++) {
        const Insn *insn = &code->insns[i];
        if (insn->flow != FLOW_CALL || !is_reached(code, i) ||
            code_span_at(code, insn->ref_to) == NULL)
            continue;
        if (!vaddr_equal(insn->ref_to, fn->entry))
            return refuse(fn, REFUSED_CALL_POP, "the call at 0x%" PRIx64 " leads to 0x%" PRIx64,
                          insn->addr.v, insn->ref_to.v);
        fn->has_calls_to_self = true;
    }
    return ST_OK;
}

static uint64_t size_of(const Func *fn)
{
    uint64_t size = 0;
    for (uint32_t i = 0; i < fn->n_extents; i++)
        size += fn->extents[i].end.v - fn->extents[i].start.v;
    return size;
}

static Status read_code(Build *build)
{
    Func *fn = build->fn;
    Vaddr bad;
    if (size_of(fn) > FUNC_SIZE_MAX)
        return refuse(fn, REFUSED_TOO_BIG, "%" PRIu64 " bytes (limit %d)", size_of(fn),
                      FUNC_SIZE_MAX);
    if (!code_decode(build->ctx->scratch, build->ctx->image, fn, &build->code, &bad))
        return refuse(fn, REFUSED_DECODE, "at 0x%" PRIx64, bad.v);
    build->roots = (Roots){ .arena = build->ctx->scratch, .bad = VADDR_NONE, .who = "" };
    code_find_entries(build->ctx, fn, &build->code, &build->roots);
    return ST_OK;
}

Status build_cfg(Context *ctx, Func *fn, PassStats *stats, Error *err)
{
    Build build = { .ctx = ctx, .fn = fn };
    collect_sites(&build);
    TRY(read_code(&build));
    if (fn->refused == 0)
        TRY(walk_code(&build));
    if (fn->refused == 0)
        TRY(walk_rest(&build));
    if (fn->refused == 0)
        TRY(check_calls(&build));
    if (fn->refused != 0)
        return ST_OK;
    mark_fall_throughs(&build.code);
    make_blocks(&build);
    for (uint32_t i = 0; i < fn->n_blocks; i++)
        find_successors(&build, &fn->blocks[i]);
    if (NEVER(fn->n_blocks == 0))
        return FAIL(err, ST_BUG, image_place(ctx->image, fn->entry), "a function without blocks");
    stats->changed += fn->n_blocks;
    return ST_OK;
}
