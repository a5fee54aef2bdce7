/*
 * handlers_values.c: records that observe a value before an instruction. They change nothing of the
 * guest's; where they load, a fault is the instruction's own.
 *
 * SPDX-License-Identifier: MIT
 */
#include "profiler/handler.h"
#include "profiler/values.h"

#define SITE ((ValueSite *)(uintptr_t)op[1].word[1])

HANDLER(h_value_reg)
{
    U64 value = REG_AT(U64, op->a) << op->b;
    value = op->c != 0 ? (U64)((S64)value >> op->b) : value >> op->b;
    values_note(SITE, op->d != 0 ? value & op->d : value);
    NEXT(VALUES_SLOTS);
}

#define DEF_VALUE_M(name, bits, mode)                                                              \
    static HANDLER(name##_##bits##mode)                                                            \
    {                                                                                              \
        LOAD(value, bits, mode);                                                                   \
        values_note(SITE, op->a != 0 ? (U64)value : (U64)(U##bits)value);                          \
        NEXT(VALUES_SLOTS);                                                                        \
    }
DEF_SIZES_M(DEF_VALUE_M, h_value_mem)
TABLE_M(h_value_mem)

static HANDLER(h_value_address_b)
{
    values_note_address(SITE, cpu, ADDRESS_b);
    NEXT(VALUES_SLOTS);
}

static HANDLER(h_value_address_x)
{
    values_note_address(SITE, cpu, ADDRESS_x);
    NEXT(VALUES_SLOTS);
}

/* Absolute addresses have no stride; those from FS are not the guest's to see. */
Handler *const h_value_address[4] = { h_value_address_b, h_value_address_x, NULL, NULL };
