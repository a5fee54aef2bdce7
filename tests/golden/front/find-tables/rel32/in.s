# gcc's position-independent switch: the index is compared, extended, and bounds the table.
    .text
    .globl f
    .type f, @function
f:  .cfi_startproc
    cmp $3, %edi
    ja .Ldefault
    lea table(%rip), %rdx
    mov %edi, %edi
    movslq (%rdx,%rdi,4), %rax
    add %rdx, %rax
    notrack jmp *%rax
.L0: mov $10, %eax
    ret
.L1: mov $11, %eax
    ret
.Ldefault: xor %eax, %eax
    ret
    .cfi_endproc
    .section .rodata
table: .long .L0 - table, .L1 - table, .Ldefault - table, .L0 - table
