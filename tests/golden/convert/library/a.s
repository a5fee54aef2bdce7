# link -shared
# A shared object: addresses bear its build id, callers come from elsewhere, and it calls elsewhere.
    .file "lib.c"
    .text
    .globl work
    .type work, @function
work:
    .cfi_startproc
    push %rbx
    mov %rdi, %rbx
    call *%rsi
    test %eax, %eax
    jne 1f
    call outside@PLT
1:  pop %rbx
    ret
    .cfi_endproc
    .size work, .-work
