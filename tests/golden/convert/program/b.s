# Another `help`, and a function that only its unwind entry knows.
    .file "b.c"
    .text
    .globl twice
    .type twice, @function
twice:
    .cfi_startproc
    call help
    call .Lunnamed
    call help
    ret
    .cfi_endproc
    .size twice, .-twice

    .type help, @function
help:
    .cfi_startproc
    mov $2, %ecx
6:  dec %ecx
    jne 6b
    ret
    .cfi_endproc
    .size help, .-help

.Lunnamed:
    .cfi_startproc
    nop
    ret
    .cfi_endproc
