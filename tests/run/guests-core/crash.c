/*
 * Ends with a core file, in the way that its argument names, with known values in registers.
 *
 * SPDX-License-Identifier: MIT
 */
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

/* Stores to `address`. */
__attribute__((noinline)) static void store(long address)
{
    __asm__ volatile("mov $0x1234567, %%rbx\n\t"
                     "mov $0x7654321, %%r12\n\t"
                     "movq %%r12, %%xmm7\n\t"
                     "mov %%rbx, (%0)"
                     :
                     : "r"(address)
                     : "rbx", "r12", "xmm7", "memory");
}

static void *store_to_page_zero(void *unused)
{
    store(16);
    return unused;
}

int main(int argc, char **argv)
{
    const char *way = argc > 1 ? argv[1] : "";
    pthread_t thread;
    if (strcmp(way, "fault") == 0)
        store(8);
    if (strcmp(way, "abort") == 0)
        abort();
    if (strcmp(way, "thread") == 0) {
        pthread_create(&thread, NULL, store_to_page_zero, NULL);
        pthread_join(thread, NULL);
    }
    if (strcmp(way, "quit") == 0)
        raise(SIGQUIT);
    if (strcmp(way, "invalid") == 0)
        __asm__ volatile("mov $0x1234567, %%rbx\n\tud2" ::: "rbx");
    return 1;
}
