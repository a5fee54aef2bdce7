/*
 * gs.c: instructions that use the guest's GS base, interpreted.
 *
 * The code cache uses host GS for the thread's private data, so the guest's base is a field of Cpu.
 * An operand with the GS prefix is split: one record computes the linear address, the other works
 * on a plain [register] operand; so all handlers serve, and a thunk needs one scratch register
 * only. Nothing is paid where GS is not used.
 *
 * SPDX-License-Identifier: MIT
 */
#define ZYAN_NO_LIBC 1
#include "profiler/gs.h"

#include "profiler/handler.h"

#include <Zydis/Mnemonic.h>
#include <asm/prctl.h>
#include <asm/unistd.h>

void gs_take_operand(GuestInsn *insn, bool wide)
{
    insn->gs = true;
    insn->gs_mem = insn->mem;
    if (!wide)
        insn->gs_mem.mode = MODE_COUNT;
    /* SDM vol. 2B POP: an address that uses RSP is computed after RSP has been incremented. */
    if (insn->mnemonic == ZYDIS_MNEMONIC_POP && insn->mem.base == R_RSP * 8)
        insn->gs_mem.disp += insn->bits / 8;
    insn->mem = (GuestMem){
        .base = GS_ADDRESS_REG, .index = NO_REG, .scale = 0, .mode = MODE_BASE, .usable = true
    };
    insn->rip_modrm = 0;
}

/* Host GS is the guest's: the operand of a branch needs it. */
static __attribute__((noinline)) void read_host_base(Cpu *cpu)
{
    raw_syscall(__NR_arch_prctl, ARCH_GET_GS, (long)&cpu->gs_base, 0, 0, 0, 0);
}

HANDLER(h_gs_address)
{
    if (!vm_keeps_gs(&the_vm))
        read_host_base(cpu);
    U64 offset = REG_AT(U64, op->b) + REG_AT(U64, op->c) * op->d + op[1].word[0];
    if (op->imm != 0)
        offset = (U32)offset;
    SET_REG64(GS_ADDRESS_REG, cpu->gs_base + offset);
    NEXT(2);
}

HANDLER(h_rdgsbase_32)
{
    SET_REG32(op->a, cpu->gs_base);
    NEXT(1);
}

HANDLER(h_rdgsbase_64)
{
    SET_REG64(op->a, cpu->gs_base);
    NEXT(1);
}

HANDLER(h_wrgsbase_32)
{
    cpu->gs_base = UREG(32, op->a);
    NEXT(1);
}

/* A base that is not canonical: #GP, as for an access there (SDM vol. 2B WRFSBASE/WRGSBASE). */
HANDLER(h_wrgsbase_64)
{
    enum { UNUSED_BITS = 16 };
    U64 base = UREG(64, op->a);
    if (UNLIKELY((U64)((S64)(base << UNUSED_BITS) >> UNUSED_BITS) != base)) {
        register U64 kind_ __asm__("r8") = kind;
        U32 byte;
        __asm__ volatile(ACCESS("movzbl %[m], %[v]")
                         : [v] "=r"(byte)
                         : [m] "m"(*(const U8 *)base), PINNED(kind_)
                         : "memory");
        (void)byte;
    }
    cpu->gs_base = base;
    NEXT(1);
}

Handler *gs_base_handler(const GuestInsn *insn)
{
    if (!vm_keeps_gs(&the_vm))
        return NULL;
    if (insn->mnemonic == ZYDIS_MNEMONIC_RDGSBASE)
        return insn->bits == 64 ? h_rdgsbase_64 : h_rdgsbase_32;
    if (insn->mnemonic == ZYDIS_MNEMONIC_WRGSBASE)
        return insn->bits == 64 ? h_wrgsbase_64 : h_wrgsbase_32;
    return NULL;
}
