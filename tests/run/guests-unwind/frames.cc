// backtrace() from the bottom of hot calls: prints link-time return addresses, outermost last.
// SPDX-License-Identifier: MIT
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <elf.h>
#include <execinfo.h>
#include <link.h>
#include <unwind.h>

#define HOT __attribute__((noinline))

static unsigned long load_bias()
{
    unsigned long bias = 0;
    dl_iterate_phdr(
        [](dl_phdr_info *info, size_t, void *out) {
            *static_cast<unsigned long *>(out) = info->dlpi_addr;
            return 1; // the first is the program
        },
        &bias);
    return bias;
}

static bool in_program(unsigned long addr)
{
    struct Range {
        unsigned long addr;
        bool found;
    } range = { addr, false };
    dl_iterate_phdr(
        [](dl_phdr_info *info, size_t, void *out) {
            Range *r = static_cast<Range *>(out);
            for (int i = 0; i < info->dlpi_phnum; i++) {
                unsigned long start = info->dlpi_addr + info->dlpi_phdr[i].p_vaddr;
                if (info->dlpi_phdr[i].p_type == PT_LOAD &&
                    r->addr - start < info->dlpi_phdr[i].p_memsz)
                    r->found = true;
            }
            return 1;
        },
        &range);
    return range.found;
}

static _Unwind_Reason_Code count_frame(_Unwind_Context *context, void *out)
{
    if (_Unwind_GetIP(context) != 0)
        ++*static_cast<int *>(out);
    return _URC_NO_REASON;
}

static int frames_left;

HOT static void show(long n)
{
    void *frames[64];
    int count = backtrace(frames, 64);
    int counted = 0;
    _Unwind_Backtrace(count_frame, &counted);
    if (frames_left-- <= 0)
        return;
    std::printf("frames %ld:", n);
    for (int i = 0; i < count; i++) {
        unsigned long addr = reinterpret_cast<unsigned long>(frames[i]);
        if (in_program(addr))
            std::printf(" 0x%lx", addr - load_bias());
        else
            std::printf(" outside");
    }
    std::printf(" (%d %s)\n", count, counted == count ? "agree" : "differ");
}

HOT static long ping(long n, long depth);

HOT static long pong(long n, long depth)
{
    volatile long room[4] = { n, depth, n + depth, 0 };
    if (depth == 0) {
        show(n);
        return room[0];
    }
    long result = n % 3 == 0 ? ping(n, depth - 1) : pong(n + 1, depth - 1);
    return result + room[2];
}

HOT static long ping(long n, long depth)
{
    volatile char *room = static_cast<char *>(__builtin_alloca(static_cast<size_t>(n % 64 + 8)));
    room[0] = static_cast<char>(depth);
    long result = depth > 0 ? pong(n, depth - 1) : pong(n, 0);
    return result ^ room[0];
}

static int compare(const void *left, const void *right)
{
    int a = *static_cast<const int *>(left);
    int b = *static_cast<const int *>(right);
    if (a == 3 && b == 4)
        show(34);
    return a - b;
}

int main(int argc, char **argv)
{
    long rounds = argc > 1 ? std::atol(argv[1]) : 200;
    long sum = 0;
    frames_left = 40;
    for (long n = 0; n < rounds; n++)
        sum += ping(n, n % 9) + pong(n, n % 5);
    int numbers[] = { 4, 3, 2, 1 };
    frames_left = 2;
    std::qsort(numbers, 4, sizeof(int), compare); // a frame of libc in between
    std::printf("sum %ld\n", sum);
    return 0;
}
