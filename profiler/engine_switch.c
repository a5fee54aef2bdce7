/*
 * engine_switch.c: the engine `switch`: decode and dispatch.
 *
 *          ┌────────────► fetch, decode, switch (routine) ───┐
 *          │                                                 ▼
 *          └── routine: does its work, jumps back ◄── direct jump
 *
 * One indirect jump serves all instructions. The routines are the handlers of every engine,
 * compiled into this file once more, so that each case is a direct jump.
 *
 * SPDX-License-Identifier: MIT
 */
#define STEP_NEXT() return h_step_loop(cpu, op, fa, fb, kind)
#define STEP_DISPATCH(routine) return select_routine(cpu, op, fa, fb, kind, routine)

#include "profiler/step_words.h"

static Handler h_step_loop;
/* The one `switch`. Inlined where it is used: the loop, and two slow paths. */
static uint64_t select_routine(Cpu *cpu, const Op *op, uint64_t fa, uint64_t fb, uint64_t kind,
                               unsigned routine);

#include "profiler/handlers_alu.c"
#include "profiler/handlers_bits.c"
#include "profiler/handlers_cond.c"
#include "profiler/handlers_ends.c"
#include "profiler/handlers_move.c"
#include "profiler/handlers_system.c"
/* behind those that it refers to */
#include "profiler/handlers_step.c"

#define N_OF(table) (sizeof(table) / sizeof(table)[0])
#define CASE(row, k, table)                                                                        \
    case (row)*ROUTINES_OF_ROW + (k):                                                              \
        if ((k) < N_OF(table) && (table)[(k) % N_OF(table)] != NULL)                               \
            return (table)[(k) % N_OF(table)](cpu, op, fa, fb, kind);                              \
        break;
#define CASES4(row, k, table)                                                                      \
    CASE(row, (k), table)                                                                          \
    CASE(row, (k) + 1, table) CASE(row, (k) + 2, table) CASE(row, (k) + 3, table)
#define CASES(row, table)                                                                          \
    CASES4(row, 0, table) CASES4(row, 4, table) CASES4(row, 8, table) CASES4(row, 12, table)
#define AS_ROW_CASES(form, mnemonic, shape, bits, handlers, source, proof)                         \
    CASES(ROW_##form, handlers)
#define AS_SPECIAL_CASE(name, mnemonic, flow) CASE(ROW_COUNT + SPECIAL_##name, 0, h_##name##_1)

/* A table of routines, as a switch. */
__attribute__((section("interp_text"))) static uint64_t
// NOLINTNEXTLINE(readability-function-size)
select_routine(Cpu *cpu, const Op *op, uint64_t fa, uint64_t fb, uint64_t kind, unsigned routine)
{
    switch (routine) {
        INTERP_ROWS(AS_ROW_CASES)
        SPECIALS(AS_SPECIAL_CASE)
        CASES4(ROW_COUNT + SPECIAL_jump_m, 12, h_jump_m_16)
        CASES4(ROW_COUNT + SPECIAL_call_m, 12, h_call_m_16)
        CASES4(ROW_COUNT + SPECIAL_nop, 12, h_nop_16)
    case ROUTINE_NATIVE:
        return h_step_native(cpu, op, fa, fb, kind);
    default:
        break;
    }
    return h_step_other(cpu, op, fa, fb, kind);
}

HANDLER(h_step_loop)
{
    STEP_ON();
}

const StepEngine engine_switch = { h_step_block, h_step_done, h_step_jump, h_step_call };
