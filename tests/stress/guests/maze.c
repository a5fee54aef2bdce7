/*
 * maze.c: blocks that lead to each other at random, all of them warm: whichever arena of the code
 * cache is emptied, jumps from all others lead to most of its traces.
 *
 *   maze STEPS        prints where it came to
 *
 * SPDX-License-Identifier: MIT
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

/* 64 bytes each; the generator's sign chooses between two targets that the assembler drew. */
__asm__(".text\n"
        ".set DRAWN, 12345\n"
        ".set BLOCKS, 16384\n"
        ".balign 64\n"
        "maze:\n"
        ".rept BLOCKS\n"
        ".balign 64\n"
        "imull $0x19660d, %eax, %eax\n"
        "addl $0x3c6ef35f, %eax\n"
        ".set DRAWN, (DRAWN * 1103515245 + 12345) & 0x7fffffff\n"
        "leaq DRAWN(%rdx, %rdx, 4), %rdx\n"
        "subq $1, %rcx\n"
        "jz maze_end\n"
        "testl %eax, %eax\n"
        "js maze + 64 * ((DRAWN >> 8) & (BLOCKS - 1))\n"
        ".set DRAWN, (DRAWN * 1103515245 + 12345) & 0x7fffffff\n"
        "jmp maze + 64 * ((DRAWN >> 8) & (BLOCKS - 1))\n"
        ".endr\n"
        "maze_end:\n"
        "ret\n");

int main(int argc, char **argv)
{
    uint64_t state = 1, sum = 0, steps = argc > 1 ? strtoull(argv[1], NULL, 10) : 1000;
    __asm__ volatile("call maze" : "+a"(state), "+d"(sum), "+c"(steps) : : "cc", "memory");
    printf("%llx %llx\n", (unsigned long long)state, (unsigned long long)sum);
    return 0;
}
