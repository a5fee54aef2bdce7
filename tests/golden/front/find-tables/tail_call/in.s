# A jump through memory in a function of which no address is formed inside: it leaves the function.
    .text
f:  .cfi_startproc
    mov (%rdi), %rax
    mov 0x18(%rax), %rax
    jmp *%rax
    .cfi_endproc
