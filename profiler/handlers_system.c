/*
 * handlers_system.c: instructions whose effect on flags or on what the guest may see of the host
 * cannot be left to a thunk.
 *
 * pushf, popf, cld, std: DF, AC and ID live in cpu->rflags and are never in the host's RFLAGS while
 * C code runs. A trap flag set by popf is not honoured (docs/limits.md). cpuid: hardware lock
 * elision and restricted transactions are hidden, and xbegin takes its abort path, as on a CPU
 * without them: a transaction cannot span records.
 *
 * SPDX-License-Identifier: MIT
 */
#include "profiler/bodies.h"

#define RFLAGS_KEPT ((U64)(RFLAGS_DF | RFLAGS_AC | RFLAGS_ID))

HANDLER(h_pushf)
{
    if (kind != FLAGS_RAW)
        MAKE_RAW();
    /* SDM vol. 1 3.4.3: bit 1 is always 1; IF (bit 9) as the kernel leaves it. */
    U64 value = rflags_of_raw(fa) | (cpu->rflags & RFLAGS_KEPT) | 0x202;
    STORE(value, 64, push);
    REG_AT(U64, RSP) -= 8;
    NEXT(1);
}

HANDLER(h_popf)
{
    ZLOAD(value, 64, top);
    REG_AT(U64, RSP) += 8;
    cpu->rflags = (cpu->rflags & ~RFLAGS_KEPT) | (value & RFLAGS_KEPT);
    SET_FLAGS(raw_of_rflags(value & RFLAGS_ARITH), 0, FLAGS_RAW);
    NEXT(1);
}

HANDLER(h_cld)
{
    cpu->rflags &= ~(U64)RFLAGS_DF;
    NEXT(1);
}

HANDLER(h_std)
{
    cpu->rflags |= RFLAGS_DF;
    NEXT(1);
}

HANDLER(h_cpuid)
{
    enum { LEAF_FEATURES = 7, HLE = 1 << 4, RTM = 1 << 11 };
    U32 leaf = REG_AT(U32, R_RAX * 8), a = leaf, b, c = REG_AT(U32, R_RCX * 8), d;
    U32 subleaf = c;
    __asm__ volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
    if (leaf == LEAF_FEATURES && subleaf == 0)
        b &= ~(U32)(HLE | RTM);
    SET_REG32(R_RAX * 8, a);
    SET_REG32(R_RBX * 8, b);
    SET_REG32(R_RCX * 8, c);
    SET_REG32(R_RDX * 8, d);
    NEXT(1);
}
