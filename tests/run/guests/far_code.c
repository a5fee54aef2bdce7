/*
 * Generated code far from all else, low and high in the address space, whose RIP-relative operands
 * lie nearly 2 GiB away from it on both sides: loads, stores, read-modify-write, SSE, compares that
 * feed branches, indirect calls and jumps through memory; each loop runs often enough to be
 * translated. A store faults in the middle of one.
 *
 * SPDX-License-Identifier: MIT
 */
#define _GNU_SOURCE
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

enum { PAGE = 4096 };
static sigjmp_buf back;
static volatile uint64_t fault_at, fault_rcx, fault_rax;

static void on_fault(int signal, siginfo_t *info, void *context)
{
    (void)signal;
    fault_at = (uint64_t)info->si_addr;
    fault_rax = (uint64_t)((ucontext_t *)context)->uc_mcontext.gregs[REG_RAX];
    fault_rcx = (uint64_t)((ucontext_t *)context)->uc_mcontext.gregs[REG_RCX];
    siglongjmp(back, 1);
}

static uint8_t *at;

static void put(const void *bytes, size_t n)
{
    memcpy(at, bytes, n);
    at += n;
}

#define PUT(...) put((uint8_t[]){ __VA_ARGS__ }, sizeof((uint8_t[]){ __VA_ARGS__ }))

/* An instruction whose last bytes are the distance to `target`, then `tail` bytes of immediate. */
static void put_rip(const void *bytes, size_t n, const void *target, uint8_t immediate, int tail)
{
    put(bytes, n);
    int32_t distance = (int32_t)((const uint8_t *)target - (at + 4 + tail));
    put(&distance, 4);
    put(&immediate, (size_t)tail);
}

#define RIP(target, ...)                                                                           \
    put_rip((uint8_t[]){ __VA_ARGS__ }, sizeof((uint8_t[]){ __VA_ARGS__ }), target, 0, 0)
#define RIP1(target, imm, ...)                                                                     \
    put_rip((uint8_t[]){ __VA_ARGS__ }, sizeof((uint8_t[]){ __VA_ARGS__ }), target, imm, 1)

static uint8_t *map_at(uint64_t address, int protection)
{
    void *got = mmap((void *)address, PAGE, protection,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    return got == (void *)address ? got : NULL;
}

/* rdi: rounds; rsi, r8: operands. The result is rax. */
static void make_code(uint8_t *code, uint64_t *data)
{
    at = code;
    PUT(0x31, 0xc0);       /* xor eax, eax */
    PUT(0xb9, 7, 0, 0, 0); /* mov ecx, 7 */
    uint8_t *loop = at;
    RIP(&data[0], 0x48, 0x03, 0x05);       /* add rax, [d0] */
    RIP(&data[1], 0x48, 0x01, 0x0d);       /* add [d1], rcx */
    RIP(&data[2], 0x48, 0x31, 0x05);       /* xor [d2], rax */
    RIP(&data[1], 0x48, 0x8b, 0x15);       /* mov rdx, [d1] */
    RIP1(&data[3], 5, 0x83, 0x05);         /* add dword [d3], 5 */
    RIP(&data[4], 0x48, 0x8d, 0x0d);       /* lea rcx, [d4] */
    PUT(0x48, 0x03, 0x01);                 /* add rax, [rcx] */
    RIP(&data[5], 0xf3, 0x0f, 0x7e, 0x05); /* movq xmm0, [d5] */
    RIP(&data[6], 0x66, 0x0f, 0xd4, 0x05); /* paddq xmm0, [d6] (16 bytes) */
    RIP(&data[8], 0x66, 0x0f, 0xd6, 0x05); /* movq [d8], xmm0 */
    RIP(&data[10], 0xff, 0x15);            /* call [d10] */
    PUT(0x48, 0x01, 0xd0);                 /* add rax, rdx */
    PUT(0x48, 0xc1, 0xc8, 3);              /* ror rax, 3 */
    RIP(&data[3], 0x48, 0x3b, 0x05);       /* cmp rax, [d3] */
    PUT(0x72, 0x03);                       /* jb +3 */
    PUT(0x48, 0xff, 0xc0);                 /* inc rax */
    RIP(&data[11], 0xff, 0x25);            /* jmp [d11] */
    PUT(0x0f, 0x0b);                       /* ud2 */
    uint8_t *on = at;
    PUT(0x48, 0x8d, 0x4a, 0x05); /* lea rcx, [rdx + 5] */
    PUT(0x48, 0xff, 0xcf);       /* dec rdi */
    PUT(0x0f, 0x85);
    int32_t distance = (int32_t)(loop - (at + 4));
    put(&distance, 4);
    PUT(0xc3);
    uint8_t *callee = at;
    RIP(&data[12], 0x4c, 0x8b, 0x0d);       /* mov r9, [d12] */
    RIP(&data[13], 0x48, 0x0f, 0xb1, 0x0d); /* cmpxchg [d13], rcx: both registers are taken */
    PUT(0x4c, 0x01, 0xc8, 0xc3);            /* add rax, r9; ret */
    data[10] = (uint64_t)callee;
    data[11] = (uint64_t)on;
}

/* rdi times a store of ecx to what is there; rax and rcx are known. */
static void make_store(uint8_t *code, void *target)
{
    at = code;
    PUT(0xb8, 0x11, 0x22, 0x33, 0x44); /* mov eax, ... */
    PUT(0xb9, 0x55, 0x66, 0x77, 0x08); /* mov ecx, ... */
    uint8_t *loop = at;
    RIP(target, 0x89, 0x3d);                                 /* mov [target], edi */
    PUT(0xff, 0xcf, 0x75, (uint8_t)(loop - (at + 4)), 0xc3); /* dec edi; jnz; ret */
}

static void try_at(uint64_t code_at, int64_t distance)
{
    uint8_t *code = map_at(code_at, PROT_READ | PROT_WRITE | PROT_EXEC);
    uint64_t *data =
        (uint64_t *)(void *)map_at(code_at + (uint64_t)distance, PROT_READ | PROT_WRITE);
    if (code == NULL || data == NULL) {
        printf("%llx%+lld: taken\n", (unsigned long long)code_at, (long long)distance);
        return;
    }
    for (int i = 0; i < 16; i++)
        data[i] = 0x0123456789abcdefULL * (uint64_t)(i + 3);
    make_code(code, data);
    uint64_t sum = ((uint64_t(*)(uint64_t))(uintptr_t)code)(3000);
    for (int i = 0; i < 16; i++)
        sum = sum * 31 + (i == 10 || i == 11 ? 0 : data[i]);
    printf("%llx%+lld: %llx\n", (unsigned long long)code_at, (long long)distance,
           (unsigned long long)sum);

    uint8_t *store = code + 2048;
    make_store(store, data);
    void (*run)(uint64_t) = (void (*)(uint64_t))(uintptr_t)store;
    run(1000);
    mprotect(data, PAGE, PROT_READ);
    if (sigsetjmp(back, 1) == 0)
        run(5);
    printf("  fault at +%llx, rax %llx, rcx %llx\n",
           (unsigned long long)(fault_at - (uint64_t)data), (unsigned long long)fault_rax,
           (unsigned long long)fault_rcx);
}

int main(void)
{
    struct sigaction action = { .sa_sigaction = on_fault, .sa_flags = SA_SIGINFO };
    sigaction(SIGSEGV, &action, NULL);
    const int64_t most = ((int64_t)INT32_MAX - 2 * PAGE) & ~(int64_t)(PAGE - 1);
    try_at(0x20000000, most);
    try_at(0x91000000, -most + PAGE);
    for (uint64_t place = 0x10000000000; place < 0x700000000000; place += 0x90000000000) {
        try_at(place, most);
        try_at(place + 0x8000000, -most);
    }
    return 0;
}
