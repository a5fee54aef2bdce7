# The jump was seen to go where the table does not lead.
    .text
    .type f, @function
f:  .cfi_startproc
    lea table(%rip), %rdx
.Lloop: movzbl (%rdi), %eax
    inc %rdi
    and $1, %eax
    movslq (%rdx,%rax,4), %rax
    add %rdx, %rax
    jmp *%rax
.L0: jmp .Lloop
.L1: ret
    .cfi_endproc
    .section .rodata
table: .long .L0 - table, .L1 - table
