# The index is changed after it was compared.
    .text
f:  .cfi_startproc
    cmp $1, %edi
    ja .Ldone
    add $1, %edi
    mov %edi, %edi
    dec %edi
    lea table(%rip), %rdx
    movslq (%rdx,%rdi,4), %rax
    add %rdx, %rax
    jmp *%rax
.L0: inc %eax
.Ldone: ret
    .cfi_endproc
    .section .rodata
table: .long .L0 - table, .Ldone - table
