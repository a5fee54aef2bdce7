# link -no-pie
# The program may write to its table; the jump takes an address as it is, so only formed ones count.
    .text
f:  .cfi_startproc
    cmp $1, %edi
    ja .Ldone
    mov %edi, %edi
    jmp *table(,%rdi,8)
.L0: inc %eax
.Ldone: ret
    .cfi_endproc
    .data
table: .quad .L0, .Ldone
