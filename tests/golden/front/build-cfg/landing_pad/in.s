# The unwinder enters a landing pad; nothing else leads there.
    .text
f:  .cfi_startproc
    .cfi_personality 0x9b, slot
    .cfi_lsda 0x1b, .Llsda
    push %rax
.Lcall: call g
.Lcalled: pop %rax
    ret
.Lpad: mov %rax, %rdi
    call g
    .cfi_endproc
g:  .cfi_startproc
    ret
    .cfi_endproc
    .section .gcc_except_table, "a"
.Llsda: .byte 0xff, 0xff, 1
    .uleb128 .Lend - .Lbegin
.Lbegin: .uleb128 .Lcall - f, .Lcalled - .Lcall, .Lpad - f, 0
.Lend:
    .section .data.rel.ro, "aw"
slot: .quad 0
