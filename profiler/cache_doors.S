/*
 * cache_doors.S: into the code cache and out of it.
 *
 *   cache_enter          all guest registers and flags, then to the code
 *   cache_leave          an exit, to which DOOR_EXIT refers; all guest registers are in place…
 *   cache_leave_rax      …but RAX, which is in the area; and so on
 *   cache_miss_indirect  no stub: target in RAX, table index in RCX, guest RAX and RCX in the area
 *   cache_miss_return    no landing: guest return address in RCX, the return has been executed
 *
 * Nothing here writes flags before they are saved. GS is the thread's counters (area.h).
 *
 * SPDX-License-Identifier: MIT
 */
#include "profiler/cache_doors.h"

        .text
        .globl  cache_doors_start, cache_doors_end
        .hidden cache_doors_start, cache_doors_end
        .globl  cache_leave, cache_leave_rax, cache_leave_rcx, cache_leave_both
        .hidden cache_leave, cache_leave_rax, cache_leave_rcx, cache_leave_both
        .globl  cache_enter, cache_miss_indirect, cache_miss_return
        .hidden cache_enter, cache_miss_indirect, cache_miss_return

cache_doors_start:
        .type   cache_enter, @function
cache_enter:
        cmpl    $0, DOOR_PENDING(%rdi) /* from here on a signal finds RIP at the doors */
        jne     1f
        movq    %rsp, %gs:DOOR_HOST_SP
        movq    %rsi, %gs:DOOR_TARGET
        pushq   %rdx
        popfq
        movq    0(%rdi), %rax
        movq    8(%rdi), %rcx
        movq    16(%rdi), %rdx
        movq    24(%rdi), %rbx
        movq    32(%rdi), %rsp
        movq    40(%rdi), %rbp
        movq    48(%rdi), %rsi
        movq    64(%rdi), %r8
        movq    72(%rdi), %r9
        movq    80(%rdi), %r10
        movq    88(%rdi), %r11
        movq    96(%rdi), %r12
        movq    104(%rdi), %r13
        movq    112(%rdi), %r14
        movq    120(%rdi), %r15
        movq    56(%rdi), %rdi
        jmp     *%gs:DOOR_TARGET
1:      movl    $DOOR_RUN_PENDING, %eax
        ret
        .size   cache_enter, .-cache_enter

/* All registers into the Cpu, whose address is then in RDI; RFLAGS into RDX; RAX and RCX stay. */
.macro save_guest
        movq    %rdi, %gs:DOOR_TARGET
        movq    %gs:DOOR_CPU, %rdi
        movq    %rdx, 16(%rdi)
        movq    %rbx, 24(%rdi)
        movq    %rsp, 32(%rdi)
        movq    %rbp, 40(%rdi)
        movq    %rsi, 48(%rdi)
        movq    %r8, 64(%rdi)
        movq    %r9, 72(%rdi)
        movq    %r10, 80(%rdi)
        movq    %r11, 88(%rdi)
        movq    %r12, 96(%rdi)
        movq    %r13, 104(%rdi)
        movq    %r14, 112(%rdi)
        movq    %r15, 120(%rdi)
        movq    %gs:DOOR_TARGET, %rdx
        movq    %rdx, 56(%rdi)
        movq    %gs:DOOR_RAX, %rdx
        movq    %rdx, 0(%rdi)
        movq    %gs:DOOR_RCX, %rdx
        movq    %rdx, 8(%rdi)
        movq    %gs:DOOR_HOST_SP, %rsp
        pushfq
        popq    %rdx
        cld
.endm

cache_leave_rcx:
        movq    %rax, %gs:DOOR_RAX
        jmp     cache_leave_both
cache_leave:
        movq    %rax, %gs:DOOR_RAX
cache_leave_rax:
        movq    %rcx, %gs:DOOR_RCX
cache_leave_both:
        save_guest
        movl    %gs:DOOR_EXIT, %esi
        jmp     translate_left

cache_miss_indirect:
        save_guest
        movq    %rax, %rsi
        jmp     translate_missed

/* The dead slot below RSP gets the guest's value back. */
cache_miss_return:
        movq    %rcx, -8(%rsp)
        save_guest
        movq    %rcx, %rsi
        jmp     translate_returned
cache_doors_end:

        .section .note.GNU-stack, "", @progbits
