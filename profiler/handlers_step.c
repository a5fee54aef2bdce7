/*
 * handlers_step.c: what only the engines that decode at each execution need: beginning a block,
 * going on behind it, kept thunks. Included by engine_*.c, behind step_words.h and the other
 * handlers.
 *
 * SPDX-License-Identifier: MIT
 */

static inline Op *step_op(Cpu *cpu)
{
    return (Op *)(void *)cpu->step.slot;
}

/* The flags are the raw word now: the same instruction again. */
HANDLER(h_step_raw)
{
    SET_FLAGS(flags_raw(kind, fa, fb), 0, FLAGS_RAW);
    STEP_DISPATCH(cpu->step.routine);
}

/* ---- fetching near the end of a page ---- */

/* The bytes of this page, and those of the next one if the block goes on there. */
HANDLER(h_step_edge)
{
    U64 pc = cpu->step.pc, page_end = (pc | (STEP_PAGE - 1)) + 1;
    U32 left = (U32)(page_end - pc), dropped = STEP_FETCH - left, room = left;
    STEP_LOAD(low, page_end - STEP_FETCH + cpu->step.view);
    STEP_LOAD(high, page_end - STEP_FETCH + 8 + cpu->step.view);
    unsigned __int128 bytes = ((unsigned __int128)high << 64 | low) >> 8 * dropped;
    if (cpu->step.end > page_end) {
        U64 behind = code_view(page_end);
        STEP_LOAD(low_behind, behind);
        STEP_LOAD(high_behind, behind + 8);
        bytes |= ((unsigned __int128)high_behind << 64 | low_behind) << 8 * left;
        room = STEP_FETCH;
    }
    STEP_DISPATCH(step_decode_edge(cpu, (U64)bytes, (U64)(bytes >> 64), room));
}

/* ---- blocks ---- */

/* The block of checked code at step.pc has other bytes than when it was made. */
HANDLER(h_step_changed)
{
    const Block *block = cpu->step.block;
    interp_invalidate(block->pc, block->pc + block->size);
    JUMP_TO(flow_find_code(cpu, block->pc, NULL));
}

HANDLER(h_step_check)
{
    const Block *block = cpu->step.block;
    for (U64 i = 0; i < block->size; i++) {
        register U64 kind_ __asm__("r8") = kind;
        U32 byte;
        __asm__ volatile(ACCESS("movzbl %[m], %[v]")
                         : [v] "=r"(byte)
                         : [m] "m"(*(const U8 *)(block->pc + i)), PINNED(kind_)
                         : "memory");
        if (UNLIKELY(byte != block_bytes(block)[i]))
            return h_step_changed(cpu, op, fa, fb, kind);
    }
    op = step_op(cpu);
    STEP_NEXT();
}

/* op: a block's first record. */
HANDLER(h_step_block)
{
    const Block *block = block_of_first(op);
    cpu->step.block = block;
    cpu->step.site = op + 1;
    cpu->step.pc = cpu->step.next = block->pc;
    cpu->step.end = block->pc + block->size;
    cpu->step.view = cpu->step.site[3].word[0];
    if (UNLIKELY(the_vm.options.model_out != NULL))
        model_block(((Thread *)cpu)->model, block->pc, block->size, block->n_insns);
    if (UNLIKELY(block->is_checked))
        return h_step_check(cpu, op, fa, fb, kind);
    op = step_op(cpu);
    STEP_NEXT();
}

/* To cpu->pc, across an edge that was counted. */
HANDLER(h_step_go)
{
    if (UNLIKELY(cpu->pending != 0))
        return flow_leave(cpu, flags_raw(kind, fa, fb), cpu->pc, RUN_PENDING);
    const StepSeen *seen = step_seen(cpu, cpu->pc);
    if (LIKELY(seen->pc == cpu->pc))
        JUMP_TO(seen->ops);
    JUMP_TO(step_find(cpu));
}

/* What stands at step.pc is not what the block was made of: what was executed is counted, and the
 * rest begins a block of its own. */
HANDLER(h_step_other)
{
    interp_count_partial(cpu, cpu->step.block, step_index(cpu));
    interp_invalidate(cpu->step.pc, cpu->step.pc + 1);
    JUMP_TO(flow_find_code(cpu, cpu->step.pc, NULL));
}

/* Behind the last instruction of a block that no transfer ends. */
HANDLER(h_step_fall)
{
    cpu->step.pc = cpu->step.next;
    if (UNLIKELY(cpu->step.site->d != FLOW_NEXT || cpu->step.next != cpu->step.end))
        return h_step_other(cpu, op, fa, fb, kind);
    COUNT(cpu->step.site->imm);
    cpu->pc = cpu->step.end;
    const StepSeen *seen = step_seen(cpu, cpu->pc);
    if (LIKELY(seen->pc == cpu->pc))
        JUMP_TO(seen->ops);
    JUMP_TO(step_find(cpu));
}

/* ---- what has no routine ---- */

HANDLER(h_step_native)
{
    const Op *records = step_native(cpu);
    if (UNLIKELY(records == NULL))
        return h_step_other(cpu, op, fa, fb, kind);
    JUMP_TO(records);
}

HANDLER(h_step_done)
{
    op = step_op(cpu);
    STEP_NEXT();
}

/* An indirect branch whose operand a record before has loaded: as one with a register operand. */
static void use_loaded(Cpu *cpu)
{
    Op *op = step_op(cpu);
    op->a = STEP_TEMP_REG;
    op->imm = cpu->step.site->imm;
    op[1].word[0] = cpu->step.next;
}

HANDLER(h_step_jump)
{
    use_loaded(cpu);
    return h_jump_r(cpu, step_op(cpu), fa, fb, kind);
}

HANDLER(h_step_call)
{
    use_loaded(cpu);
    return h_call_r(cpu, step_op(cpu), fa, fb, kind);
}

#define DEF_BRANCH_M(name, bits, mode)                                                             \
    HANDLER(h_##name##_m_##bits##mode)                                                             \
    {                                                                                              \
        ZLOAD(address, bits, mode);                                                                \
        REG_AT(U64, STEP_TEMP_REG) = address;                                                      \
        return h_step_##name(cpu, op, fa, fb, kind);                                               \
    }
DEF_MODES(DEF_BRANCH_M, jump, 64)
DEF_MODES(DEF_BRANCH_M, call, 64)

HANDLER(h_abort)
{
    SET_REG32(RAX, 0);
    BODY_JUMP();
}

HANDLER(h_endbr64)
{
    STEP_NEXT();
}

/* ---- tables of one routine, and of four, for specials ---- */

#define AS_SPECIAL_TABLE(name, mnemonic, flow) static Handler *const h_##name##_1[1] = { h_##name };
#define h_jump_m NULL
#define h_call_m NULL
SPECIALS(AS_SPECIAL_TABLE)
#undef h_jump_m
#undef h_call_m
static Handler *const h_jump_m_16[16] = { [12] = ROW_M(h_jump_m, 64) };
static Handler *const h_call_m_16[16] = { [12] = ROW_M(h_call_m, 64) };
static Handler *const h_nop_16[16] = { [12] = h_nop, h_nop, h_nop, h_nop };
