# A branch over a lock prefix: both decodings are executed.
    .text
f:  .cfi_startproc
    je 1f+1
1:  lock incl (%rdi)
    ret
    .cfi_endproc
