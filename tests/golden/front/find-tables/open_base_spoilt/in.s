# The base is a constant on one way into the loop, and another on the way around.
    .text
f:  .cfi_startproc
    lea table(%rip), %rdx
.Lloop:
    movzbl (%rdi), %eax
    cmp $1, %al
    ja .Ldone
    movslq (%rdx,%rax,4), %rax
    add %rdx, %rax
    jmp *%rax
.L0: lea other(%rip), %rdx
    jmp .Lloop
.Ldone: ret
    .cfi_endproc
    .section .rodata
table: .long .L0 - table, .Ldone - table
other: .long .L0 - other, .Ldone - other
