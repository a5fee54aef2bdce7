/*
 * rewrite.c: a function that is written anew for every use, in pages that come and go.
 *
 *   rewrite ROUNDS
 *
 * SPDX-License-Identifier: MIT
 */
#define _GNU_SOURCE
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { PAGE = 4096, ALL = PROT_READ | PROT_WRITE | PROT_EXEC, OWN = MAP_PRIVATE | MAP_ANONYMOUS };

int main(int argc, char **argv)
{
    long rounds = argc > 1 ? atol(argv[1]) : 1;
    uint64_t sum = 0;
    uint8_t *page = mmap(NULL, PAGE, ALL, OWN, -1, 0);
    for (long i = 0; i < rounds; i++) {
        /* mov eax, VALUE; add eax, edi; ret */
        uint8_t code[] = { 0xb8, 0, 0, 0, 0, 0x01, 0xf8, 0xc3 };
        int32_t value = (int32_t)i * 7;
        memcpy(code + 1, &value, sizeof value);
        memcpy(page, code, sizeof code);
        for (int j = 0; j < 100; j++)
            sum += (uint32_t)((int (*)(int))(void *)page)(j);
        if (i % 50 == 0)
            mmap(page, PAGE, ALL, OWN | MAP_FIXED, -1, 0);
        if (i % 200 == 0) {
            munmap(page, PAGE);
            page = mmap(NULL, PAGE, ALL, OWN, -1, 0);
        }
    }
    printf("%lu\n", sum);
    return 0;
}
