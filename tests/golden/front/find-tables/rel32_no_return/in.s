# The error path comes from before the base is loaded; its call does not return into the switch.
    .text
f:  .cfi_startproc
    push %rbx
    test %rdi, %rdi
    je .Lerror
    lea table(%rip), %rbx
    jmp .Lswitch
.Lerror:
    call croak
.Lswitch:
    cmp $1, %esi
    ja .Ldone
    mov %esi, %esi
    movslq (%rbx,%rsi,4), %rdx
    add %rbx, %rdx
    jmp *%rdx
.L0: inc %eax
.Ldone: pop %rbx
    ret
    .cfi_endproc
croak: .cfi_startproc
    push %rax
.Lforever: call croak
    .cfi_endproc
    .section .rodata
table: .long .L0 - table, .Ldone - table
