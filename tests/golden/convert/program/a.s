# link -static -Wl,-e,_start
# Calls in a loop, a recursion, a switch, a conditional branch with a jump behind it, a local
# function of a name that b.s has, too.
    .file "a.c"
    .text
    .globl _start
    .type _start, @function
_start:
    .cfi_startproc
    mov $3, %ebx
1:  mov %ebx, %edi
    call help
    call twice
    dec %ebx
    jne 1b
    mov $3, %edi
    call sum
    mov $60, %eax
    xor %edi, %edi
    syscall
    ud2
    .cfi_endproc
    .size _start, .-_start

    .type help, @function
help:
    .cfi_startproc
    cmp $2, %edi
    jne 2f
    jmp 3f
2:  nop
3:  cmp $3, %edi
    ja 4f
    mov %edi, %eax
    lea table(%rip), %rcx
    jmp *(%rcx,%rax,8)
4:  ret
one:
    nop
two:
    nop
three:
    ret
    .cfi_endproc
    .size help, .-help

    .globl sum
    .type sum, @function
sum:
    .cfi_startproc
    test %edi, %edi
    je 5f
    push %rdi
    dec %edi
    call sum
    pop %rdi
    add %edi, %eax
    ret
5:  xor %eax, %eax
    jmp sum.cold
    .cfi_endproc
    .size sum, .-sum

    .type sum.cold, @function
sum.cold:
    .cfi_startproc
    nop
    ret
    .cfi_endproc
    .size sum.cold, .-sum.cold

    .section .rodata
    .balign 8
table:
    .quad one, one, two, three
