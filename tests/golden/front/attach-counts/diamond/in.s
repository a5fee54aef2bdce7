# Counts of blocks and edges; the call in the middle did not come back twice.
    .text
    .type f, @function
f:  .cfi_startproc
    test %edi, %edi
    je .Lelse
    inc %eax
    jmp .Ljoin
.Lelse: call *%rdx
    dec %eax
.Ljoin: ret
    .cfi_endproc
