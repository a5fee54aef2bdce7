/*
 * burst_entry.S: the doors of burst mode.
 *
 *   burst_signal   the clock's handler: on the guest's stack, then on a slot's
 *   burst_return   back to what was interrupted
 *   burst_trap     to the injector
 *
 * SPDX-License-Identifier: MIT
 */
#include <asm/unistd.h>

/* Slots are aligned to their size; a stack grows down from below the copied frame: burst.h. */
#define STACK_TOP 0xfa000

        .text
/*
 * The kernel enters with signal, siginfo and ucontext in RDI, RSI, RDX, and its frame at RSP: the
 * restorer's address, then the ucontext. The way back never uses the restorer: rt_sigreturn finds
 * the frame by RSP, which has to stand where `ret` would have left it.
 */
        .globl  burst_signal
        .hidden burst_signal
        .type   burst_signal, @function
burst_signal:
        movq    burst_inside(%rip), %rax
        lock incl (%rax)
        movq    %rdx, %rbx
        movq    %rsi, %rdi
        movq    %rdx, %rsi
        subq    $8, %rsp
        call    burst_take
        testq   %rax, %rax
        jz      1f
        leaq    STACK_TOP(%rax), %rsp
        movq    %rax, %rdi
        xorl    %ebp, %ebp
        call    burst_run
        hlt
1:      movq    %rbx, %rsp
        movq    burst_inside(%rip), %rax
        lock decl (%rax)
        movl    $__NR_rt_sigreturn, %eax
        syscall
        hlt
        .size   burst_signal, .-burst_signal

/* burst_return(context, &os->in_use, &port->n_inside): nothing of the slot is touched after it is free. */
        .globl  burst_return
        .hidden burst_return
        .type   burst_return, @function
burst_return:
        movq    %rdi, %rsp
        movl    $0, (%rsi)
        lock decl (%rdx)
        movl    $__NR_rt_sigreturn, %eax
        syscall
        hlt
        .size   burst_return, .-burst_return

        .globl  burst_trap
        .hidden burst_trap
        .type   burst_trap, @function
burst_trap:
        int3
        jmp     burst_trap
        .size   burst_trap, .-burst_trap

        .section .note.GNU-stack, "", @progbits
