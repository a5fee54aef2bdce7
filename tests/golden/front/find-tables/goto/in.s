# An interpreter: three dispatches through one table; the mask reaches past it.
    .text
f:  .cfi_startproc
    push %rbx
    lea table(%rip), %rbx
    movzbl (%rdi), %eax
    and $3, %eax
    movslq (%rbx,%rax,4), %rax
    add %rbx, %rax
    jmp *%rax
.L0: inc %rdi
    movzbl (%rdi), %eax
    and $3, %eax
    movslq (%rbx,%rax,4), %rax
    add %rbx, %rax
    jmp *%rax
.L1: add $2, %rdi
    movzbl (%rdi), %eax
    and $3, %eax
    movslq (%rbx,%rax,4), %rax
    add %rbx, %rax
    jmp *%rax
.L2: pop %rbx
    ret
    .cfi_endproc
    .section .rodata
table: .long .L0 - table, .L1 - table, .L2 - table, 0x12345678
