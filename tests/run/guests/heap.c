/* heap.c: brk, exactly. SPDX-License-Identifier: MIT */
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

static uintptr_t kernel_brk(uintptr_t wanted)
{
    return (uintptr_t)syscall(SYS_brk, wanted);
}

int main(void)
{
    static char buffer[4096]; /* or printf's would lie in the heap */
    setvbuf(stdout, buffer, _IOFBF, sizeof buffer);
    uintptr_t start = kernel_brk(0);
    printf("grow %ld\n", (long)(kernel_brk(start + 5000) - start));
    memset((void *)start, 0x5a, 5000);
    printf("below start %ld\n", (long)(kernel_brk(16) - start));
    printf("far too much %ld\n", (long)(kernel_brk(start + (1UL << 46)) - start));
    printf("shrink %ld\n", (long)(kernel_brk(start + 10) - start));
    printf("kept %x\n", *(unsigned char *)(start + 9));
    printf("grow again %ld\n", (long)(kernel_brk(start + 20000) - start));
    printf("zeroed %x\n", *(unsigned char *)(start + 5000));
    uintptr_t page = (start + 20000 + 4095) & ~4095UL;
    void *wall =
        mmap((void *)page, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    printf("wall %d\n", wall == (void *)page);
    printf("stopped by it %ld\n", (long)(kernel_brk(start + 40000) - start));
    return 0;
}
