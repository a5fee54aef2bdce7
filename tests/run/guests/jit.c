/* jit.c: code that is written, run, rewritten, unmapped. SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

typedef int (*Code)(void);

static void write_return(uint8_t *at, int value)
{
    at[0] = 0xb8; /* mov $value, %eax; ret */
    memcpy(at + 1, &value, 4);
    at[5] = 0xc3;
}

int main(void)
{
    long sum = 0;
    uint8_t *open_page =
        mmap(NULL, 8192, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    for (int i = 0; i < 100; i++) {
        write_return(open_page, i);
        write_return(open_page + 4093, 1000 + i); /* across two pages */
        sum += ((Code)open_page)() + ((Code)(open_page + 4093))();
    }
    printf("rwx %ld\n", sum);
    sum = 0;
    for (int i = 0; i < 50; i++) {
        uint8_t *page =
            mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        write_return(page, i);
        mprotect(page, 4096, PROT_READ | PROT_EXEC);
        sum += ((Code)page)();
        mprotect(page, 4096, PROT_READ | PROT_WRITE);
        write_return(page, 2 * i);
        mprotect(page, 4096, PROT_READ | PROT_EXEC);
        sum += ((Code)page)();
        munmap(page, 4096);
    }
    printf("mprotect %ld\n", sum);
    int fd = memfd_create("jit", 0);
    if (ftruncate(fd, 4096) != 0)
        return 1;
    uint8_t *writer = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    uint8_t *runner = mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_SHARED, fd, 0);
    sum = 0;
    for (int i = 0; i < 100; i++) {
        write_return(writer, i);
        sum += ((Code)runner)();
    }
    printf("dual %ld\n", sum);
    uint8_t *moved = mremap(runner, 4096, 4096, MREMAP_MAYMOVE | MREMAP_FIXED, open_page + 4096);
    printf("moved %d\n", ((Code)moved)());
    uint8_t *fixed = mmap(open_page, 4096, PROT_READ | PROT_WRITE | PROT_EXEC,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    write_return(fixed, 321);
    printf("fixed %d\n", ((Code)fixed)());
    return 0;
}
