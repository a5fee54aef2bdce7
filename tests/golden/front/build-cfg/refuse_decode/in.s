    .text
f:  .cfi_startproc
    ret
    .byte 0x06
    .cfi_endproc
