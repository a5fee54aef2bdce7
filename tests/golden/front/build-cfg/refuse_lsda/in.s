    .text
f:  .cfi_startproc
    .cfi_personality 0x9b, slot
    .cfi_lsda 0x1b, .Llsda
    ret
    .cfi_endproc
    .section .gcc_except_table, "a"
.Llsda: .byte 0x77, 0xff, 1, 0
    .section .data.rel.ro, "aw"
slot: .quad 0
