# One comparison, two branches on it: the second is not next to the first.
    .text
f:  .cfi_startproc
    cmp $1, %rcx
    jle .Lfew
    mov %rdi, %rcx
    cmp $1, %rcx
    ja .Ldone
.Lswitch:
    lea table(%rip), %rdx
    movslq (%rdx,%rcx,4), %rax
    add %rdx, %rax
    jmp *%rax
.L0: inc %eax
.Ldone: ret
.Lfew: mov $0, %esi
    jbe .Lswitch
    ret
    .cfi_endproc
    .section .rodata
table: .long .L0 - table, .Ldone - table
