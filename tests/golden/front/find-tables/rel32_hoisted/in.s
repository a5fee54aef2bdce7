# The base is loaded before the loop and kept by calls; case labels lead back into the loop.
    .text
f:  .cfi_startproc
    push %rbx
    lea table(%rip), %rbx
.Lloop:
    call g
    cmp $2, %eax
    jae .Ldone
    mov %eax, %eax
    movslq (%rbx,%rax,4), %rdx
    add %rbx, %rdx
    jmp *%rdx
.L0: call g
    jmp .Lloop
.L1: jmp .Lloop
.Ldone: pop %rbx
    ret
    .cfi_endproc
g:  .cfi_startproc
    mov %edi, %eax
    ret
    .cfi_endproc
    .section .rodata
table: .long .L0 - table, .L1 - table
