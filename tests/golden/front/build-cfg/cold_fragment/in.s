# An entry that only one function jumps to, and that jumps back into it, is a part of it.
    .text
    .type g, @function
    .type h, @function
    .type rare, @function
g:  .cfi_startproc
    test %edi, %edi
    jne .Lcold
.Lback: ret
    .cfi_endproc
h:  .cfi_startproc
    call g
    ret
    .cfi_endproc
rare: .cfi_startproc
    ud2
.Lcold: inc %eax
    jmp .Lback
    .cfi_endproc
