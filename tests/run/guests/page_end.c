/*
 * page_end.c: code that ends where its file does: the page behind it is mapped and not there. What
 * goes on there, and a call to there, raise SIGBUS.
 *
 *   file   [ page: ... code ]            mapping   [ page ... code ][ page: SIGBUS ]
 *
 * The code ends with the last 1, 3, 6, 16, 40 or 70 bytes before the end, so whoever reads ahead
 * reads too much. SPDX-License-Identifier: MIT
 */
#define _GNU_SOURCE
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { PAGE = 4096 };

typedef uint64_t Function(uint64_t);

static sigjmp_buf back;
static siginfo_t raised;

static void on_bus(int signal, siginfo_t *info, void *context)
{
    (void)signal, (void)context;
    raised = *info;
    siglongjmp(back, 1);
}

static uint8_t *map_two(const uint8_t page[PAGE])
{
    int fd = memfd_create("page_end", 0);
    if (write(fd, page, PAGE) != PAGE)
        return NULL;
    uint8_t *map = mmap(NULL, 2 * PAGE, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, 0);
    close(fd);
    return map != MAP_FAILED ? map : NULL;
}

/* Calls what raises SIGBUS: `offset` in a page whose last bytes begin a longer instruction. */
static void meet_the_end(unsigned offset, const uint8_t *bytes, unsigned n)
{
    uint8_t page[PAGE];
    memset(page, 0x90, sizeof page);
    if (n != 0)
        memcpy(page + PAGE - n, bytes, n);
    uint8_t *map = map_two(page);
    if (map == NULL)
        return;
    if (sigsetjmp(back, 1) == 0)
        ((Function *)(void *)(map + offset))(1);
    printf("signal %d code %d at %ld\n", raised.si_signo, raised.si_code,
           (long)((uint8_t *)raised.si_addr - map));
}

int main(void)
{
    static const uint8_t constant[] = { 0xb8, 1, 0 };            /* mov eax, imm32 */
    static const uint8_t aligned[] = { 0x66, 0x0f, 0x3a, 0x0f }; /* palignr */
    struct sigaction action = { .sa_sigaction = on_bus, .sa_flags = SA_SIGINFO };
    sigaction(SIGBUS, &action, NULL);
    meet_the_end(PAGE - 3, constant, sizeof constant);
    meet_the_end(PAGE - 30, constant, sizeof constant);
    meet_the_end(PAGE - 4, aligned, sizeof aligned);
    meet_the_end(PAGE, NULL, 0);
    meet_the_end(PAGE - 5, NULL, 0);
    static const unsigned before_end[] = { 1, 3, 6, 16, 40, 70 };
    static const uint8_t add[] = { 0x48, 0xff, 0xc7 };       /* inc rdi */
    static const uint8_t end[] = { 0x48, 0x89, 0xf8, 0xc3 }; /* mov rax, rdi; ret */
    uint64_t sum = 0;
    for (unsigned i = 0; i < sizeof before_end / sizeof before_end[0]; i++) {
        uint8_t page[PAGE];
        memset(page, 0xcc, sizeof page);
        unsigned last = PAGE - (before_end[i] - 1) - (unsigned)sizeof end;
        memcpy(page + last, end, sizeof end);
        unsigned start = last;
        for (unsigned n = 0; n < 30 && start >= sizeof add; n++) {
            start -= sizeof add;
            memcpy(page + start, add, sizeof add);
        }
        uint8_t *map = map_two(page);
        if (map == NULL)
            return 1;
        for (unsigned n = 0; n < 300; n++)
            sum = sum * 3 + ((Function *)(void *)(map + start + 3 * (n % 5)))(n);
    }
    printf("%llx\n", (unsigned long long)sum);
    return 0;
}
