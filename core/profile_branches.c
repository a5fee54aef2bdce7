/*
 * profile_branches.c: see the header.
 *
 * Stretches are decoded from their start to their end and cut behind every branch that was passed;
 * the pieces are runs as a live profile has them, and core/profile_weave.c makes blocks of them. An
 * instruction that is only known as the source of a branch (the oldest of a branch stack) becomes a
 * block with count 0, so that its edges have one to leave.
 *
 * SPDX-License-Identifier: MIT
 */
#include "core/profile_branches.h"

#include "core/insn.h"
#include "core/profile_parts.h"

#include <stdlib.h>
#include <string.h>

enum { STRETCH_MOST = 1 << 20 }; /* bytes; longer ones are no straight code */

typedef struct CallSite {
    uint64_t end;
    uint64_t from;
} CallSite;

typedef struct BranchBuilder {
    Branches *from;
    Arena *arena; /* of the result */
    Arena *scratch;
    Run *runs;
    ProfileEdge *edges;
    ProfileEdge *entries;
    CallSite *calls; /* sorted by end */
    uint64_t *leaders;
    size_t n_runs, runs_cap, n_edges, edges_cap, n_entries, entries_cap, n_calls, calls_cap,
        n_leaders, leaders_cap;
    uint64_t fit, unfit; /* records */
} BranchBuilder;

void branches_add(Branches *branches, Vaddr from, Vaddr to, uint64_t count)
{
    branches->items = arena_grow(branches->arena, branches->items, &branches->cap, branches->n + 1,
                                 sizeof *branches->items);
    branches->items[branches->n++] = (Branch){ from, to, count };
}

void branches_add_stretch(Branches *branches, Vaddr start, Vaddr end, uint64_t count)
{
    branches->stretches = arena_grow(branches->arena, branches->stretches, &branches->stretches_cap,
                                     branches->n_stretches + 1, sizeof *branches->stretches);
    branches->stretches[branches->n_stretches++] = (BranchStretch){ start, end, count };
}

static bool decode(const Image *image, Vaddr addr, Insn *out)
{
    return !vaddr_is_none(addr) && image_is_code(image, addr) &&
           insn_decode(image_bytes_from(image, addr), addr, out);
}

static Vaddr behind(const Insn *insn)
{
    return vaddr_add(insn->addr, insn->size);
}

/* ---- sums of equal records ------------------------------------------------------------------- */

static int order_branches(const void *left, const void *right)
{
    const Branch *a = left;
    const Branch *b = right;
    if (a->from.v != b->from.v)
        return a->from.v < b->from.v ? -1 : 1;
    return (a->to.v > b->to.v) - (a->to.v < b->to.v);
}

static int order_stretches(const void *left, const void *right)
{
    const BranchStretch *a = left;
    const BranchStretch *b = right;
    if (a->start.v != b->start.v)
        return a->start.v < b->start.v ? -1 : 1;
    return (a->end.v > b->end.v) - (a->end.v < b->end.v);
}

static void sum_branches(Branches *branches)
{
    if (branches->n < 2)
        return;
    qsort(branches->items, branches->n, sizeof *branches->items, order_branches);
    size_t kept = 0;
    for (size_t i = 1; i < branches->n; i++) {
        Branch *last = &branches->items[kept];
        if (order_branches(last, &branches->items[i]) == 0)
            last->count = count_add(last->count, branches->items[i].count);
        else
            branches->items[++kept] = branches->items[i];
    }
    branches->n = kept + 1;
}

static void sum_stretches(Branches *branches)
{
    if (branches->n_stretches < 2)
        return;
    qsort(branches->stretches, branches->n_stretches, sizeof *branches->stretches, order_stretches);
    size_t kept = 0;
    for (size_t i = 1; i < branches->n_stretches; i++) {
        BranchStretch *last = &branches->stretches[kept];
        if (order_stretches(last, &branches->stretches[i]) == 0)
            last->count = count_add(last->count, branches->stretches[i].count);
        else
            branches->stretches[++kept] = branches->stretches[i];
    }
    branches->n_stretches = kept + 1;
}

/* ---- stretches from branches ------------------------------------------------------------------
 */

static int order_u64(const void *left, const void *right)
{
    uint64_t a = *(const uint64_t *)left;
    uint64_t b = *(const uint64_t *)right;
    return (a > b) - (a < b);
}

/* Sum of what leaves the instruction at `from` in the first `n` items, which are sorted. */
static uint64_t count_leaving(const Branches *branches, size_t n, Vaddr from)
{
    size_t low = 0;
    size_t high = n;
    uint64_t sum = 0;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (branches->items[middle].from.v < from.v)
            low = middle + 1;
        else
            high = middle;
    }
    for (; low < n && branches->items[low].from.v == from.v; low++)
        sum = count_add(sum, branches->items[low].count);
    return sum;
}

static bool is_start(const uint64_t *starts, size_t n, uint64_t addr)
{
    return n > 0 && bsearch(&addr, starts, n, sizeof addr, order_u64) != NULL;
}

static bool ends_block(uint8_t flow)
{
    return flow != FLOW_NEXT && flow != FLOW_CALL && flow != FLOW_CALL_IND && flow != FLOW_SYSCALL;
}

/* The stretch from `start` to the end of its block, and how often something left that; false: there
 * is no code. Records of what falls into the next block leave from the last instruction that is no
 * nop. */
static bool find_end(const Branches *branches, size_t n_known, const uint64_t *starts, size_t n,
                     Vaddr start, Vaddr *end, uint64_t *left)
{
    Insn insn;
    Vaddr addr = start;
    Vaddr last = VADDR_NONE; /* the last that is neither nop nor call */
    *end = start;
    *left = 0;
    while (addr.v - start.v < STRETCH_MOST && decode(branches->image, addr, &insn)) {
        *end = addr;
        addr = behind(&insn);
        if (insn.flow == FLOW_CALL || insn.flow == FLOW_CALL_IND)
            last = VADDR_NONE;
        else if ((insn.facts & INSN_NOP) == 0)
            last = insn.addr;
        if (ends_block(insn.flow) || is_start(starts, n, addr.v))
            break;
    }
    if (!vaddr_is_none(last))
        *left = count_leaving(branches, n_known, last);
    return addr.v != start.v;
}

/* A jump right behind a conditional branch at `end`: fdata takes both for one block and does not
 * tell how one falls into the other. What leaves the jump did. */
static void add_joined_jump(Branches *branches, size_t n_known, const uint64_t *starts, size_t n,
                            Vaddr end)
{
    Insn insn, jump;
    if (!decode(branches->image, end, &insn) ||
        (insn.flow != FLOW_COND && insn.flow != FLOW_LOOP) ||
        !decode(branches->image, behind(&insn), &jump) || jump.flow != FLOW_JUMP ||
        is_start(starts, n, jump.addr.v))
        return;
    uint64_t left = count_leaving(branches, n_known, jump.addr);
    if (left == 0)
        return;
    branches_add(branches, end, jump.addr, left);
    branches_add_stretch(branches, jump.addr, jump.addr, left);
}

void branches_derive_stretches(Branches *branches, const Vaddr *starts, size_t n_starts)
{
    Arena *scratch = arena_new();
    size_t n = 0;
    sum_branches(branches);
    size_t n_known = branches->n; /* those are sorted */
    uint64_t *all = arena_many(scratch, uint64_t, branches->n + n_starts);
    for (size_t i = 0; i < branches->n; i++)
        if (!vaddr_is_none(branches->items[i].to))
            all[n++] = branches->items[i].to.v;
    for (size_t i = 0; i < n_starts; i++)
        all[n++] = starts[i].v;
    if (n > 1)
        qsort(all, n, sizeof *all, order_u64);
    size_t kept = 0;
    for (size_t i = 0; i < n; i++)
        if (i == 0 || all[i] != all[i - 1])
            all[kept++] = all[i];
    n = kept;
    uint64_t *arriving = arena_many(scratch, uint64_t, n);
    for (size_t i = 0; i < branches->n; i++) {
        const uint64_t *at =
            n == 0 ? NULL : bsearch(&branches->items[i].to.v, all, n, sizeof *all, order_u64);
        if (at != NULL)
            arriving[at - all] = count_add(arriving[at - all], branches->items[i].count);
    }
    for (size_t i = 0; i < n; i++) {
        Vaddr end = { 0 };
        uint64_t left;
        if (!find_end(branches, n_known, all, n, vaddr(all[i]), &end, &left))
            continue;
        uint64_t count = arriving[i] > left ? arriving[i] : left;
        if (count > 0)
            branches_add_stretch(branches, vaddr(all[i]), end, count);
        add_joined_jump(branches, n_known, all, n, end);
    }
    arena_free(scratch);
}

/* ---- edges ------------------------------------------------------------------------------------
 */

static void add_leader(BranchBuilder *builder, Vaddr addr)
{
    builder->leaders = arena_grow(builder->scratch, builder->leaders, &builder->leaders_cap,
                                  builder->n_leaders + 1, sizeof *builder->leaders);
    builder->leaders[builder->n_leaders++] = addr.v;
}

/* `to` VADDR_NONE: out of the image. */
static void add_edge(BranchBuilder *builder, EdgeKind kind, Vaddr from, Vaddr to, uint64_t count)
{
    bool outside = vaddr_is_none(to);
    builder->edges = arena_grow(builder->arena, builder->edges, &builder->edges_cap,
                                builder->n_edges + 1, sizeof *builder->edges);
    builder->edges[builder->n_edges++] = (ProfileEdge){ .from = from,
                                                        .to = outside ? vaddr(0) : to,
                                                        .to_module = outside ? MODULE_NONE : 0,
                                                        .kind = (uint8_t)kind,
                                                        .count = count };
    if (!outside && count > 0)
        add_leader(builder, to);
}

static void add_entry(BranchBuilder *builder, Vaddr to, uint64_t count)
{
    builder->entries = arena_grow(builder->arena, builder->entries, &builder->entries_cap,
                                  builder->n_entries + 1, sizeof *builder->entries);
    builder->entries[builder->n_entries++] =
        (ProfileEdge){ .from = VADDR_NONE, .to = to, .kind = EDGE_CALL, .count = count };
    add_leader(builder, to);
}

static void add_run(BranchBuilder *builder, const Run *run)
{
    builder->runs = arena_grow(builder->scratch, builder->runs, &builder->runs_cap,
                               builder->n_runs + 1, sizeof *run);
    builder->runs[builder->n_runs++] = *run;
}

/* An executed instruction of which no stretch may tell. */
static void add_single(BranchBuilder *builder, const Insn *insn)
{
    uint8_t *size = arena_alloc(builder->scratch, 1);
    *size = insn->size;
    Run run = { .start = insn->addr.v,
                .size = insn->size,
                .n_insns = 1,
                .sizes = size,
                .ends = insn->flow != FLOW_NEXT };
    add_run(builder, &run);
    if (insn->flow == FLOW_COND || insn->flow == FLOW_LOOP) {
        add_edge(builder, EDGE_TAKEN, insn->addr, insn->ref_to, 0);
        add_edge(builder, EDGE_FALL, insn->addr, behind(insn), 0);
    }
}

static int order_calls(const void *left, const void *right)
{
    const CallSite *a = left;
    const CallSite *b = right;
    return (a->end > b->end) - (a->end < b->end);
}

static void collect_calls(BranchBuilder *builder)
{
    const Branches *branches = builder->from;
    for (size_t i = 0; i < branches->n; i++) {
        Insn insn;
        if ((i > 0 && vaddr_equal(branches->items[i].from, branches->items[i - 1].from)) ||
            !decode(branches->image, branches->items[i].from, &insn) ||
            (insn.flow != FLOW_CALL && insn.flow != FLOW_CALL_IND))
            continue;
        builder->calls = arena_grow(builder->scratch, builder->calls, &builder->calls_cap,
                                    builder->n_calls + 1, sizeof *builder->calls);
        builder->calls[builder->n_calls++] = (CallSite){ behind(&insn).v, insn.addr.v };
    }
    if (builder->n_calls > 1)
        qsort(builder->calls, builder->n_calls, sizeof *builder->calls, order_calls);
}

/* Something came back to `to`: booked with the call that ends there. False: none is known. */
static bool add_return(BranchBuilder *builder, Vaddr to, uint64_t count)
{
    CallSite key = { to.v, 0 };
    const CallSite *call =
        builder->n_calls == 0 || vaddr_is_none(to)
            ? NULL
            : bsearch(&key, builder->calls, builder->n_calls, sizeof key, order_calls);
    if (call == NULL)
        return false;
    add_edge(builder, EDGE_RETURN_TO, vaddr(call->from), to, count);
    return true;
}

/* True when only nops lie between the end of `insn` and `to`; `insn` becomes the last of them. */
static bool only_nops(const Image *image, Insn *insn, Vaddr to)
{
    while (behind(insn).v < to.v) {
        Insn next;
        if (!decode(image, behind(insn), &next) || (next.facts & INSN_NOP) == 0)
            return false;
        *insn = next;
    }
    return behind(insn).v == to.v;
}

/* An instruction that is no jump: it went on behind itself. */
static bool add_passing(BranchBuilder *builder, const Insn *insn, const Branch *branch)
{
    Insn last = *insn;
    if (vaddr_is_none(branch->to) || branch->to.v <= insn->addr.v ||
        !only_nops(builder->from->image, &last, branch->to))
        return false;
    EdgeKind kind = EDGE_FALL;
    if (vaddr_equal(last.addr, insn->addr) && insn->flow == FLOW_SYSCALL)
        kind = EDGE_SYSCALL;
    else if (vaddr_equal(last.addr, insn->addr) &&
             (insn->flow == FLOW_CALL || insn->flow == FLOW_CALL_IND))
        kind = EDGE_RETURN_TO;
    add_single(builder, &last);
    add_edge(builder, kind, last.addr, branch->to, branch->count);
    return true;
}

/* Books the branch as what its instruction is. False: it does not fit it. */
static bool add_branch(BranchBuilder *builder, const Branch *branch)
{
    Insn insn;
    if (!decode(builder->from->image, branch->from, &insn))
        return false;
    bool direct = insn.flow == FLOW_JUMP || insn.flow == FLOW_CALL || insn.flow == FLOW_COND ||
                  insn.flow == FLOW_LOOP;
    bool to_target =
        vaddr_equal(branch->to, insn.ref_to) ||
        (vaddr_is_none(branch->to) && direct && !image_is_code(builder->from->image, insn.ref_to));
    bool passes =
        !to_target && insn.flow != FLOW_JUMP && insn.flow != FLOW_RET && insn.flow != FLOW_JUMP_IND;
    EdgeKind kind = EDGE_RET;
    if (insn.flow == FLOW_JUMP_IND || (insn.flow == FLOW_JUMP && to_target))
        kind = insn.flow == FLOW_JUMP ? EDGE_JUMP : EDGE_JUMP_IND;
    else if (insn.flow == FLOW_CALL && to_target)
        kind = EDGE_CALL;
    else if (insn.flow == FLOW_CALL_IND &&
             (vaddr_is_none(branch->to) || !vaddr_equal(branch->to, behind(&insn))))
        kind = EDGE_CALL_IND;
    else if ((insn.flow == FLOW_COND || insn.flow == FLOW_LOOP) && to_target)
        kind = EDGE_TAKEN;
    else if (passes)
        return add_passing(builder, &insn, branch);
    else if (insn.flow != FLOW_RET)
        return false;
    if (kind == EDGE_RET && add_return(builder, branch->to, branch->count))
        return true;
    add_single(builder, &insn);
    add_edge(builder, kind, insn.addr, branch->to, branch->count);
    return true;
}

static void add_branches(BranchBuilder *builder)
{
    const Branches *branches = builder->from;
    collect_calls(builder);
    for (size_t i = 0; i < branches->n; i++) {
        const Branch *branch = &branches->items[i];
        bool fits = true;
        if (!vaddr_is_none(branch->from))
            fits = add_branch(builder, branch);
        else if (vaddr_is_none(branch->to) || !image_is_code(branches->image, branch->to))
            fits = false;
        else if (!add_return(builder, branch->to, branch->count))
            add_entry(builder, branch->to, branch->count);
        *(fits ? &builder->fit : &builder->unfit) += 1;
    }
}

/* ---- stretches --------------------------------------------------------------------------------
 */

/* An instruction inside a stretch that is not its last: what went past it. */
static void pass_insn(BranchBuilder *builder, const Insn *insn, uint64_t count)
{
    if (insn->flow == FLOW_COND || insn->flow == FLOW_LOOP) {
        add_edge(builder, EDGE_TAKEN, insn->addr, insn->ref_to, 0);
        add_edge(builder, EDGE_FALL, insn->addr, behind(insn), count);
    } else if (insn->flow == FLOW_SYSCALL) {
        add_edge(builder, EDGE_SYSCALL, insn->addr, behind(insn), count);
    } else if (insn->flow == FLOW_CALL || insn->flow == FLOW_CALL_IND) {
        add_edge(builder, EDGE_RETURN_TO, insn->addr, behind(insn), count);
    }
}

/* True when `end` is an instruction of the straight code that begins at `start`; its number of
 * instructions. */
static bool is_straight(const Image *image, const BranchStretch *stretch, uint32_t *n)
{
    Insn insn;
    Vaddr addr = stretch->start;
    *n = 0;
    if (stretch->end.v < stretch->start.v || stretch->end.v - stretch->start.v > STRETCH_MOST)
        return false;
    while (addr.v <= stretch->end.v && decode(image, addr, &insn)) {
        ++*n;
        if (addr.v == stretch->end.v)
            return true;
        if (insn.flow == FLOW_JUMP || insn.flow == FLOW_JUMP_IND || insn.flow == FLOW_RET ||
            insn.flow == FLOW_STOP)
            return false;
        addr = behind(&insn);
    }
    return false;
}

static bool add_stretch(BranchBuilder *builder, const BranchStretch *stretch)
{
    uint32_t n;
    if (!is_straight(builder->from->image, stretch, &n))
        return false;
    uint8_t *sizes = arena_many(builder->arena, uint8_t, n);
    Run run = { .start = stretch->start.v, .sizes = sizes, .count = stretch->count };
    Vaddr addr = stretch->start;
    for (uint32_t i = 0; i < n; i++) {
        Insn insn;
        if (NEVER(!decode(builder->from->image, addr, &insn)))
            return false;
        sizes[i] = insn.size;
        run.size += insn.size;
        run.n_insns++;
        addr = behind(&insn);
        bool last = i + 1 == n;
        if (!last)
            pass_insn(builder, &insn, stretch->count);
        if (!last && insn.flow == FLOW_NEXT)
            continue;
        run.ends = insn.flow != FLOW_NEXT;
        add_run(builder, &run);
        if (last && (insn.flow == FLOW_COND || insn.flow == FLOW_LOOP))
            add_single(builder, &insn);
        run = (Run){ .start = addr.v, .sizes = sizes + i + 1, .count = stretch->count };
    }
    return true;
}

static void add_stretches(BranchBuilder *builder)
{
    for (size_t i = 0; i < builder->from->n_stretches; i++)
        *(add_stretch(builder, &builder->from->stretches[i]) ? &builder->fit : &builder->unfit) +=
            1;
}

/* ---- the result -------------------------------------------------------------------------------
 */

static void finish_module(BranchBuilder *builder, ProfileModule *module)
{
    Woven woven;
    profile_weave(builder->arena, builder->runs, builder->n_runs, builder->leaders,
                  builder->n_leaders, true, &woven);
    module->blocks = woven.blocks;
    module->n_blocks = woven.n_blocks;
    for (uint32_t i = 0; i < woven.n_falls; i++)
        add_edge(builder, EDGE_FALL, woven.falls[i].from, woven.falls[i].to, woven.falls[i].count);
    module->edges = builder->edges;
    module->n_edges = profile_sum_edges(builder->edges, (uint32_t)builder->n_edges);
    module->entries = builder->entries;
    module->n_entries = profile_sum_entries(builder->entries, (uint32_t)builder->n_entries);
}

static Status check_fit(const BranchBuilder *builder, const char *path, Error *err)
{
    const Image *image = builder->from->image;
    uint64_t all = builder->fit + builder->unfit;
    Place at = { path, NULL, PLACE_NO_OFFSET };
    if (builder->n_runs == 0)
        return FAIL(err, ST_REFUSED, at, "no record of %" PRIu64 " is of code in %s", all,
                    image->path);
    if (builder->unfit > builder->fit)
        return FAIL(err, ST_REFUSED, at,
                    "%" PRIu64 " of %" PRIu64 " records do not fit the code of %s: it is another "
                    "build",
                    builder->unfit, all, image->path);
    return ST_OK;
}

static Status build(BranchBuilder *builder, const char *path, Profile *profile, Error *err)
{
    sum_branches(builder->from);
    sum_stretches(builder->from);
    add_branches(builder);
    add_stretches(builder);
    TRY(check_fit(builder, path, err));
    finish_module(builder, &profile->modules[0]);
    if (builder->unfit == 0)
        return ST_OK;
    const char **remarks = arena_many(builder->arena, const char *, 1);
    remarks[0] = arena_printf(
        builder->arena,
        "%s: %" PRIu64 " of %" PRIu64 " records do not fit the code of %s and were left out", path,
        builder->unfit, builder->fit + builder->unfit, builder->from->image->path);
    profile->remarks = remarks;
    profile->n_remarks = 1;
    return ST_OK;
}

Status branches_finish(Branches *branches, const char *path, const Profile **out, Error *err)
{
    BranchBuilder builder = { .from = branches, .arena = branches->arena, .scratch = arena_new() };
    Profile *profile = arena_one(branches->arena, Profile);
    *profile = (Profile){ .path = arena_string(branches->arena, path),
                          .command = "",
                          .n_processes = branches->n_processes > 0 ? branches->n_processes : 1,
                          .complete = true,
                          .sampled = true,
                          .n_modules = 1,
                          .modules = arena_many(branches->arena, ProfileModule, 1) };
    profile->modules[0] =
        (ProfileModule){ .path = arena_string(branches->arena, branches->image->path),
                         .key = branches->image->key };
    Status status = build(&builder, path, profile, err);
    arena_free(builder.scratch);
    TRY(status);
    *out = profile;
    return profile_check(profile, path, err);
}
