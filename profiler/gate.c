/*
 * gate.c: saves what is the guest's around a call into library code.
 *
 * AMX tiles (XCR0 bits 17, 18) are left alone: the library cannot touch them, and they are 8 KiB.
 * FS is moved with wrfsbase where AT_HWCAP2 says that the kernel allows it (13 ns), else by
 * arch_prctl.
 *
 * SPDX-License-Identifier: MIT
 */
#include "profiler/gate.h"

#include "profiler/vm.h"

#include <asm/prctl.h>
#include <asm/unistd.h>

enum {
    XCR0_USED = 0xe7, /* x87, SSE, AVX, AVX-512 */
    AT_HWCAP2_TYPE = 26,
    HWCAP2_FSGSBASE = 2,
    PRIVATE_TLS = 512, /* %fs:0x28 and its neighbours */
};

static uint8_t *save_area; /* 64-byte aligned */
static uint32_t save_mask;
static bool fast_fs;
static _Alignas(16) uint8_t private_tls[PRIVATE_TLS];

static uint64_t read_hwcap2(void)
{
    uint64_t pair[64];
    long fd = raw_syscall(__NR_open, (long)(uintptr_t) "/proc/self/auxv", 0, 0, 0, 0, 0);
    if (fd < 0)
        return 0;
    long size = raw_syscall(__NR_read, fd, (long)(uintptr_t)pair, sizeof pair, 0, 0, 0);
    raw_syscall(__NR_close, fd, 0, 0, 0, 0, 0);
    for (long i = 0; size > 0 && i + 1 < size / 8; i += 2) {
        if (pair[i] == AT_HWCAP2_TYPE)
            return pair[i + 1];
    }
    return 0;
}

void gate_init(void)
{
    uint32_t a = 13, b, c = 0, d;
    __asm__ volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d)); /* c: size for all of XCR0's */
    uint32_t low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    save_mask = low & XCR0_USED;
    uintptr_t area = (uintptr_t)vm_alloc(c + 64);
    save_area = (uint8_t *)((area + 63) & ~(uintptr_t)63);
    fast_fs = (read_hwcap2() & HWCAP2_FSGSBASE) != 0;
}

static uint64_t fs_read(void)
{
    uint64_t base = 0;
    if (fast_fs)
        __asm__ volatile("rdfsbase %0" : "=r"(base));
    else
        raw_syscall(__NR_arch_prctl, ARCH_GET_FS, (long)(uintptr_t)&base, 0, 0, 0, 0);
    return base;
}

static void fs_write(uint64_t base)
{
    if (fast_fs)
        __asm__ volatile("wrfsbase %0" : : "r"(base));
    else
        raw_syscall(__NR_arch_prctl, ARCH_SET_FS, (long)base, 0, 0, 0, 0);
}

void gate_call(void (*work)(void *), void *argument)
{
    uint64_t guest_fs = fs_read();
    __asm__ volatile("xsave (%0)" : : "r"(save_area), "a"(save_mask), "d"(0) : "memory");
    fs_write((uint64_t)(uintptr_t)private_tls);
    work(argument);
    fs_write(guest_fs);
    __asm__ volatile("xrstor (%0)" : : "r"(save_area), "a"(save_mask), "d"(0) : "memory");
}
