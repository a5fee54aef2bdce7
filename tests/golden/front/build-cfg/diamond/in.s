# Blocks end at branches and before leaders, not at calls; a loop instruction branches like a jcc.
    .text
f:  .cfi_startproc
    endbr64
    test %edi, %edi
    je .Lelse
    call g
    inc %eax
    jmp .Ljoin
.Lelse: jrcxz .Ljoin
    dec %eax
.Ljoin: loop f
    ret
    .cfi_endproc
g:  .cfi_startproc
    jmp f
    .cfi_endproc
