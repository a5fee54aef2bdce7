# Data between instructions: linear decoding reads over the instruction behind it.
    .text
f:  .cfi_startproc
    jmp 1f
    .byte 0x48, 0xb8
1:  mov %rsp, %rbp
    ret
    .byte 0, 0, 0, 0, 0, 0
    .cfi_endproc
