# 16 bits of index are no proof of 65536 entries.
    .text
f:  .cfi_startproc
    movzwl (%rdi), %eax
    lea table(%rip), %rdx
    movslq (%rdx,%rax,4), %rax
    add %rdx, %rax
    jmp *%rax
.L0: inc %eax
    ret
    .cfi_endproc
    .section .rodata
table: .long .L0 - table
    .fill 65535, 4, 0x7f
