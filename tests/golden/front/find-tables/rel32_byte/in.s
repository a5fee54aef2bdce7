# The low byte is compared, then extended.
    .text
f:  .cfi_startproc
    lea -0x49(%rdx), %eax
    cmp $2, %al
    ja .Ldefault
    lea table(%rip), %rbp
    movzbl %al, %eax
    movslq (%rbp,%rax,4), %rax
    add %rbp, %rax
    jmp *%rax
.L0: mov $10, %eax
.Ldefault: ret
    .cfi_endproc
    .section .rodata
table: .long .L0 - table, .Ldefault - table, .L0 - table
