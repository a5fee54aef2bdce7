# link -no-pie
# Fixed image: the jump goes through the table itself; a second one loads first.
    .text
f:  .cfi_startproc
    cmp $2, %edi
    ja .Ldone
    mov %edi, %edi
    jmp *table(,%rdi,8)
.L0: movzbl (%rsi), %eax
    and $1, %eax
    mov other(,%rax,8), %rax
    jmp *%rax
.L1: inc %eax
.Ldone: ret
    .cfi_endproc
    .section .rodata
table: .quad .L0, .L1, .Ldone
other: .quad .L1, .Ldone
