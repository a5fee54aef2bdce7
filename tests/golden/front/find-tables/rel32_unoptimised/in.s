# gcc -O0: the compared word is in memory, index and address are made step by step.
    .text
f:  .cfi_startproc
    push %rbp
    mov %rsp, %rbp
    mov %edi, -0x14(%rbp)
    cmpl $2, -0x14(%rbp)
    ja .Ldone
    mov -0x14(%rbp), %eax
    lea 0(,%rax,4), %rdx
    lea table(%rip), %rax
    mov (%rdx,%rax,1), %eax
    cltq
    lea table(%rip), %rdx
    add %rdx, %rax
    notrack jmp *%rax
.L0: inc %eax
.Ldone: pop %rbp
    ret
    .cfi_endproc
    .section .rodata
table: .long .L0 - table, .Ldone - table, .L0 - table
