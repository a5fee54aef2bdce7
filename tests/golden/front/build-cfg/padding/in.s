# Padding between blocks is in none; code that nothing reaches is kept.
    .text
f:  .cfi_startproc
    jmp .Lend
    nopw 0(%rax,%rax,1)
    xchg %ax, %ax
    int3
    mov $1, %eax
    ret
    .p2align 4
.Lend: ret
    .cfi_endproc
