/*
 * check_code.c: an independent proof that the overlay does what the original does.
 *
 * Every instruction of the overlay is decoded, and so is the original that the map names. They must
 * be equal up to displacements, and control must go on to the same original place:
 *
 *     overlay   N: jne  X'          original   O: je  X
 *               N+2: (copy of X)                O+2: Y        meaning(X') = Y, meaning(N+2) = X
 *
 * The meaning of an output address is what the map says of it, after padding and made jumps; both
 * sides are settled over the original's own direct jumps and nops, which the layout may drop.
 *
 * SPDX-License-Identifier: MIT
 */
#include "rewriter/check_parts.h"
#include "rewriter/move.h"

enum { SETTLE_STEPS = 64 };

Vaddr check_settle(const Check *check, Vaddr old)
{
    for (int i = 0; i < SETTLE_STEPS; i++) {
        Insn insn;
        if (!insn_decode(image_bytes_from(check->input, old), old, &insn))
            break;
        if (insn.flow == FLOW_JUMP)
            old = insn.ref_to;
        else if ((insn.facts & INSN_NOP) != 0)
            old = vaddr_add(old, insn.size);
        else
            break;
    }
    return old;
}

bool check_meaning(const Check *check, uint64_t at, Vaddr *old)
{
    for (int i = 0; i < SETTLE_STEPS && check_in_overlay(check->map, at); i++) {
        const MapRun *run = map_run_at(check->map, (NewAddr){ at });
        Insn insn;
        *old = VADDR_NONE;
        if (run == NULL || (run->kind != RUN_SAME && run->kind != RUN_MADE && run->at.v != at))
            return false;
        if (run->kind != RUN_MADE) {
            *old = check_settle(check, vaddr(run->old.v + (at - run->at.v)));
            return true;
        }
        if (!insn_decode(image_bytes_from(check->output, vaddr(at)), vaddr(at), &insn))
            return false;
        if (insn.flow == FLOW_JUMP)
            at = insn.ref_to.v;
        else if ((insn.facts & INSN_NOP) != 0)
            at += insn.size;
        else
            return false;
    }
    *old = check_settle(check, vaddr(at));
    return !check_in_overlay(check->map, at) && check_patch_over(check->map, vaddr(at)) == NULL;
}

/* One instruction of the overlay beside its original. */
typedef struct Pair {
    Insn now;
    Insn was;
} Pair;

static Status goes_to(const Check *check, const Pair *pair, Vaddr now, Vaddr was, Error *err)
{
    Vaddr means = VADDR_NONE, want = check_settle(check, was);
    if (check_meaning(check, now.v, &means) && vaddr_equal(means, want))
        return ST_OK;
    if (check_guard(check, now.v, want))
        return ST_OK;
    return FAIL(err, ST_BAD_INPUT, image_place(check->output, pair->now.addr),
                "the copy of 0x%" PRIx64 " goes on at 0x%" PRIx64 " (0x%" PRIx64
                " in the original), not at 0x%" PRIx64,
                pair->was.addr.v, now.v, means.v, want.v);
}

static Vaddr after(const Insn *insn)
{
    return vaddr_add(insn->addr, insn->size);
}

/* Where control goes from the pair, by the kind of flow. */
static Status check_flow(const Check *check, const Pair *pair, bool inverted, Error *err)
{
    Vaddr now_next = after(&pair->now), was_next = after(&pair->was);
    switch (pair->was.flow) {
    case FLOW_RET:
    case FLOW_JUMP_IND:
        return ST_OK;
    case FLOW_JUMP:
        return goes_to(check, pair, pair->now.ref_to, pair->was.ref_to, err);
    case FLOW_COND:
    case FLOW_LOOP:
    case FLOW_XBEGIN:
    case FLOW_CALL:
        TRY(goes_to(check, pair, pair->now.ref_to, inverted ? was_next : pair->was.ref_to, err));
        return goes_to(check, pair, now_next, inverted ? pair->was.ref_to : was_next, err);
    default:
        return goes_to(check, pair, now_next, was_next, err);
    }
}

/* A memory reference may lead to the clone of the table that the original names. */
static bool is_cloned(const Check *check, uint64_t now, uint64_t was)
{
    for (uint32_t i = 0; i < check->map->n_tables; i++) {
        const MapTable *table = &check->map->tables[i];
        if (now - table->at.v == was - table->old.v)
            return true;
    }
    return false;
}

static Status check_pair(const Check *check, const Pair *pair, bool last, Error *err)
{
    bool inverted = pair->was.flow == FLOW_COND && pair->was.cond != pair->now.cond;
    uint64_t target = pair->now.ref_to.v;
    bool memory = pair->was.ref == REF_MEM || pair->was.ref == REF_ABS;
    if (!move_is_same(&pair->was, &pair->now, target, inverted) ||
        (memory && target != pair->was.ref_to.v && !is_cloned(check, target, pair->was.ref_to.v))) {
        char before[96], now[96];
        insn_text(&pair->was, before, sizeof before);
        insn_text(&pair->now, now, sizeof now);
        return FAIL(err, ST_BAD_INPUT, image_place(check->output, pair->now.addr),
                    "'%s' at 0x%" PRIx64 " is not '%s' at 0x%" PRIx64, now, pair->now.addr.v,
                    before, pair->was.addr.v);
    }
    check->report->insns++;
    /* Inside a run the next instruction follows by itself. */
    if (pair->was.flow == FLOW_NEXT && !last)
        return ST_OK;
    return check_flow(check, pair, inverted, err);
}

static Status decode_at(const Image *image, uint64_t at, Insn *insn, Error *err)
{
    if (insn_decode(image_bytes_from(image, vaddr(at)), vaddr(at), insn))
        return ST_OK;
    return FAIL(err, ST_BAD_INPUT, image_place(image, vaddr(at)), "no instruction at 0x%" PRIx64,
                at);
}

static Status check_copied(const Check *check, const MapRun *run, Error *err)
{
    uint64_t now = run->at.v, was = run->old.v, end = run->at.v + run->size;
    while (now < end) {
        Pair pair;
        TRY(decode_at(check->output, now, &pair.now, err));
        TRY(decode_at(check->input, was, &pair.was, err));
        now += pair.now.size;
        was += pair.was.size;
        if (now > end || (run->kind == RUN_RESIZED) != (pair.now.size != pair.was.size))
            return FAIL(err, ST_BAD_INPUT, image_place(check->output, pair.now.addr),
                        "%u bytes are the copy of %u", pair.now.size, pair.was.size);
        TRY(check_pair(check, &pair, now == end, err));
    }
    return ST_OK;
}

/* Made code is jumps and nops, and traps between regions; changed code is at least code. */
static Status check_made(const Check *check, const MapRun *run, Error *err)
{
    uint64_t now = run->at.v, end = run->at.v + run->size;
    while (now < end) {
        Insn insn;
        Vaddr old;
        TRY(decode_at(check->output, now, &insn, err));
        bool padding = (insn.facts & INSN_NOP) != 0 || insn.flow == FLOW_STOP;
        bool jump = insn.flow == FLOW_JUMP && check_meaning(check, insn.ref_to.v, &old);
        now += insn.size;
        if (now > end || (run->kind == RUN_MADE && !padding && !jump))
            return FAIL(err, ST_BAD_INPUT, image_place(check->output, insn.addr),
                        "made code that is no jump and no padding");
    }
    return ST_OK;
}

Status check_code(const Check *check, Error *err)
{
    for (uint32_t i = 0; i < check->map->n_runs; i++) {
        const MapRun *run = &check->map->runs[i];
        if (run->kind == RUN_SAME || run->kind == RUN_RESIZED)
            TRY(check_copied(check, run, err));
        else
            TRY(check_made(check, run, err));
    }
    return ST_OK;
}

static bool old_entry(const Check *check, const MapTable *table, uint32_t i, Vaddr *target)
{
    unsigned size = table->form == TABLE_ABS64 ? 8 : 4;
    Vaddr at = vaddr_add(table->old, (uint64_t)i * size);
    const Reloc *reloc = image_reloc_at(check->input, at);
    Bytes bytes;
    if (reloc != NULL) {
        target->v = (uint64_t)reloc->addend;
        return reloc->type == R_X86_64_RELATIVE && size == 8;
    }
    if (!image_bytes_at(check->input, at, size, &bytes))
        return false;
    target->v =
        size == 8 ? load_u64(bytes.data) : table->base.v + (uint64_t)(int32_t)load_u32(bytes.data);
    return true;
}

static bool new_entry(const Check *check, const MapTable *table, uint32_t i, uint64_t *target)
{
    unsigned size = table->new_form == TABLE_ABS64 ? 8 : 4;
    uint64_t shift = table->form == TABLE_REL32 ? table->base.v - table->old.v : 0;
    Bytes bytes;
    if (!image_bytes_at(check->output, vaddr(table->at.v + (uint64_t)i * size), size, &bytes))
        return false;
    uint64_t base = table->new_form == TABLE_REL32_BASE ? table->base.v : table->at.v + shift;
    *target = size == 8 ? load_u64(bytes.data) : base + (uint64_t)(int32_t)load_u32(bytes.data);
    return true;
}

static Status check_entry(const Check *check, const MapTable *table, uint32_t i, Error *err)
{
    Vaddr was, means = VADDR_NONE;
    uint64_t now = 0;
    bool read = old_entry(check, table, i, &was) && new_entry(check, table, i, &now);
    if (!read || !check_meaning(check, now, &means))
        return FAIL(err, ST_BAD_INPUT, image_place(check->output, vaddr(table->at.v)),
                    "entry %u of the clone of 0x%" PRIx64 " leads nowhere (0x%" PRIx64 ")", i,
                    table->old.v, now);
    /* What is no code in the original goes to the original dispatch, whatever that does with it. */
    if (!image_is_code(check->input, was) || vaddr_equal(means, check_settle(check, was)))
        return ST_OK;
    return FAIL(err, ST_BAD_INPUT, image_place(check->output, vaddr(table->at.v)),
                "entry %u of the clone of 0x%" PRIx64 " means 0x%" PRIx64 ", not 0x%" PRIx64, i,
                table->old.v, means.v, was.v);
}

Status check_tables(const Check *check, Error *err)
{
    for (uint32_t t = 0; t < check->map->n_tables; t++) {
        for (uint32_t i = 0; i < check->map->tables[t].n; i++)
            TRY(check_entry(check, &check->map->tables[t], i, err));
        check->report->tables++;
    }
    return ST_OK;
}
