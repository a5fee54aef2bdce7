# The first call was executed and never came back, and padding follows: flow ends. The second came
# back.
    .text
    .type f, @function
f:  .cfi_startproc
    test %edi, %edi
    je .Lok
    call *%rax
    nopl 0(%rax)
.Lok: call *%rbx
    nop
    ret
    .cfi_endproc
