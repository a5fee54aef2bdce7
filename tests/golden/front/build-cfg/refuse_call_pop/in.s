    .text
f:  .cfi_startproc
    call 1f
1:  pop %rax
    ret
    .cfi_endproc
