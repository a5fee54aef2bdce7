# A jump without a table was seen to go behind a call: there the registers are not what the call left.
    .text
    .type f, @function
f:  .cfi_startproc
    push %rbx
    mov %rdx, %rbx
    lea .L2(%rip), %rax
    mov %rax, (%rsi)
    jmp *8(%rsi)
.L2: lea table(%rip), %rbx
    call *%rcx
    and $1, %eax
    movslq (%rbx,%rax,4), %rdx
    add %rbx, %rdx
    jmp *%rdx
.L0: inc %eax
.L1: pop %rbx
    ret
    .cfi_endproc
    .section .rodata
table: .long .L0 - table, .L1 - table
