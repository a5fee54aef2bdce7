# Nothing bounds the index: any instruction may be a target.
    .text
f:  .cfi_startproc
    mov %edi, %edi
    lea table(%rip), %rdx
    movslq (%rdx,%rdi,4), %rax
    add %rdx, %rax
    jmp *%rax
.L0: inc %eax
    ret
    .cfi_endproc
    .section .rodata
table: .long .L0 - table
