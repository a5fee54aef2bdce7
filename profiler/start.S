/*
 * start.S: the doors between the kernel, the VM core and the guest's stacks.
 *
 *   _start            from the kernel, on the kernel's stack (which becomes the guest's)
 *   vm_enter          onto a VM stack, never back
 *   vm_guest_syscall  the one place where guest system calls are made
 *   vm_clone          a clone whose child starts on a stack of its own
 *   vm_exit_thread    gives a stack away and ends the thread without touching it again
 *   vm_restorer       returns from host signal handlers
 *   vm_copy_code      copies what may not be there
 *   vm_go_native      leaves the VM for good
 *
 * SPDX-License-Identifier: MIT
 */
#include <asm/unistd.h>

        .text
        .globl  _start
        .hidden _start
        .type   _start, @function
_start:
        xorl    %ebp, %ebp
        movq    %rsp, %rdi
        andq    $-16, %rsp
        call    vm_main
        hlt
        .size   _start, .-_start

/* vm_enter(void *stack_top, void (*run)(void *), void *argument) */
        .globl  vm_enter
        .hidden vm_enter
        .type   vm_enter, @function
vm_enter:
        movq    %rdi, %rsp
        xorl    %ebp, %ebp
        movq    %rdx, %rdi
        call    *%rsi
        hlt
        .size   vm_enter, .-vm_enter

/*
 * int vm_guest_syscall(Call *call, const volatile uint32_t *pending)
 * Call: number, arg[6], result. Returns 1 when a signal came first: call->number is then what RAX
 * must be, and the guest stays on its `syscall`. A host handler that finds RIP in [window, done)
 * moves it to `interrupted`: nothing is done between the test and the system call that could not
 * be done again. The kernel puts RIP back on the `syscall` for a restart: also inside. From `again`
 * on it is made once more, after a signal of the VM's own.
 */
        .globl  vm_guest_syscall
        .hidden vm_guest_syscall
        .type   vm_guest_syscall, @function
vm_guest_syscall:
        pushq   %rbx
        pushq   %r12
        movq    %rdi, %rbx
        movq    %rsi, %r12
        .globl  vm_syscall_again
        .hidden vm_syscall_again
vm_syscall_again:
        movq    0(%rbx), %rax
        movq    8(%rbx), %rdi
        movq    16(%rbx), %rsi
        movq    24(%rbx), %rdx
        movq    32(%rbx), %r10
        movq    40(%rbx), %r8
        movq    48(%rbx), %r9
        .globl  vm_syscall_window
        .hidden vm_syscall_window
vm_syscall_window:
        cmpl    $0, (%r12)
        jne     vm_syscall_interrupted
        syscall
        .globl  vm_syscall_done
        .hidden vm_syscall_done
vm_syscall_done:
        movq    %rax, 56(%rbx)
        xorl    %eax, %eax
        popq    %r12
        popq    %rbx
        ret
        .globl  vm_syscall_interrupted
        .hidden vm_syscall_interrupted
vm_syscall_interrupted:
        movq    %rax, 0(%rbx)
        movl    $1, %eax
        popq    %r12
        popq    %rbx
        ret
        .size   vm_guest_syscall, .-vm_guest_syscall

/*
 * long vm_clone(const CloneArgs *args) with { number, a, b, c, d, e, child, argument }: the child
 * calls child(argument) on the new stack that the kernel gave it.
 */
        .globl  vm_clone
        .hidden vm_clone
        .type   vm_clone, @function
vm_clone:
        pushq   %r12
        pushq   %r13
        movq    %rdi, %r11
        movq    48(%r11), %r12
        movq    56(%r11), %r13
        movq    0(%r11), %rax
        movq    8(%r11), %rdi
        movq    16(%r11), %rsi
        movq    24(%r11), %rdx
        movq    32(%r11), %r10
        movq    40(%r11), %r8
        syscall
        testq   %rax, %rax
        jz      1f
        popq    %r13
        popq    %r12
        ret
1:      xorl    %ebp, %ebp
        movq    %r13, %rdi
        call    *%r12
        hlt
        .size   vm_clone, .-vm_clone

/* vm_exit_thread(volatile uint32_t *in_use, long status, long number): exit or exit_group; all signals
 * are blocked. */
        .globl  vm_exit_thread
        .hidden vm_exit_thread
        .type   vm_exit_thread, @function
vm_exit_thread:
        movq    %rdx, %rax
        movl    $0, (%rdi)
        movq    %rsi, %rdi
        syscall
        hlt
        .size   vm_exit_thread, .-vm_exit_thread

        .globl  vm_restorer
        .hidden vm_restorer
        .type   vm_restorer, @function
vm_restorer:
        movl    $__NR_rt_sigreturn, %eax
        syscall
        hlt
        .size   vm_restorer, .-vm_restorer

/*
 * vm_go_native(const Cpu *cpu): cpu.reg, in the order of enum GuestReg, then pc and rflags. No word of
 * the guest's stack may be written (its red zone), so the last jump goes through memory of the VM's;
 * the process has one thread.
 */
        .globl  vm_go_native
        .hidden vm_go_native
        .type   vm_go_native, @function
vm_go_native:
        movq    128(%rdi), %rax
        movq    %rax, native_pc(%rip)
        movq    0(%rdi), %rax
        movq    8(%rdi), %rcx
        movq    16(%rdi), %rdx
        movq    24(%rdi), %rbx
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
        pushq   136(%rdi)
        popfq
        movq    32(%rdi), %rsp
        movq    56(%rdi), %rdi
        jmp     *native_pc(%rip)
        .size   vm_go_native, .-vm_go_native

/* (to, from, bytes): how many were not copied. A fault goes on at vm_copy_code_ends. */
        .globl  vm_copy_code, vm_copy_code_reads, vm_copy_code_ends
        .hidden vm_copy_code, vm_copy_code_reads, vm_copy_code_ends
        .type   vm_copy_code, @function
vm_copy_code:
        movq    %rdx, %rcx
vm_copy_code_reads:
        rep movsb
vm_copy_code_ends:
        movq    %rcx, %rax
        ret
        .size   vm_copy_code, .-vm_copy_code

        .local  native_pc
        .comm   native_pc, 8, 8

        .section .note.GNU-stack, "", @progbits
