# The join is executed more often than anything leads there.
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
