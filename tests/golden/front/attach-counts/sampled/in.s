# The same counts as samples: taken as they are.
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
