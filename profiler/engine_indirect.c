/*
 * engine_indirect.c: the engine `indirect`: decoding at each execution, no central loop.
 *
 *     routine ... fetch, decode ──► dispatch[routine] ──► routine ... fetch, decode ──► ...
 *
 * Each routine ends with a fetch and an indirect jump of its own, so the CPU predicts each by its
 * own history; a central one (engine_switch.c) is one place for all.
 *
 * SPDX-License-Identifier: MIT
 */
#define STEP_NEXT() STEP_ON()
#define STEP_DISPATCH(routine) return dispatch[routine](cpu, op, fa, fb, kind)

#include "profiler/step_words.h"

static Handler *dispatch[ROUTINE_COUNT];

#include "profiler/handlers_alu.c"
#include "profiler/handlers_bits.c"
#include "profiler/handlers_cond.c"
#include "profiler/handlers_ends.c"
#include "profiler/handlers_move.c"
#include "profiler/handlers_system.c"
/* behind those that it refers to */
#include "profiler/handlers_step.c"

static void put_row(unsigned row, Handler *const *handlers, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (handlers[i] != NULL)
            dispatch[row * ROUTINES_OF_ROW + i] = handlers[i];
    }
}

#define AS_PUT_ROW(form, mnemonic, shape, bits, handlers, source, proof)                           \
    put_row(ROW_##form, handlers, sizeof handlers / sizeof handlers[0]);
#define AS_PUT_SPECIAL(name, mnemonic, flow) put_row(ROW_COUNT + SPECIAL_##name, h_##name##_1, 1);

void engine_indirect_init(void)
{
    INTERP_ROWS(AS_PUT_ROW)
    SPECIALS(AS_PUT_SPECIAL)
    put_row(ROW_COUNT + SPECIAL_jump_m, h_jump_m_16, 16);
    put_row(ROW_COUNT + SPECIAL_call_m, h_call_m_16, 16);
    put_row(ROW_COUNT + SPECIAL_nop, h_nop_16, 16);
    dispatch[ROUTINE_NATIVE] = h_step_native;
    dispatch[ROUTINE_CHANGED] = h_step_other;
}

const StepEngine engine_indirect = { h_step_block, h_step_done, h_step_jump, h_step_call };
