    .section .plt.sec, "ax"
f:  .cfi_startproc
    jmp *slot(%rip)
    .cfi_endproc
    .section .data.rel.ro, "aw"
slot: .quad 0
