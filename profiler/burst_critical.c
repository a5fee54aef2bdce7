/*
 * burst_critical.c: restartable sequences (rseq) and bursts.
 *
 * The kernel restarts a thread that is preempted in a critical section at the section's abort
 * handler. While the core interprets, the kernel sees addresses of the core's, so it would not. A
 * thread enters a section by a store to its rseq area: after the block with that store the burst
 * ends, and where the section goes on the thread is sent to its abort handler, as if it had been
 * preempted there; sections must take that at any instruction (include/uapi/linux/rseq.h).
 *
 * The kernel does not say where the area is; it answers questions, though. Unregistering with a
 * wrong signature gives EPERM for the area and EINVAL for any other address; registering an address
 * that no program has gives EFAULT where there is no area yet. C libraries keep the area at one
 * offset from FS in all threads, so it is searched once. There is no question that changes
 * anything.
 *
 * SPDX-License-Identifier: MIT
 */
#include "profiler/burst.h"
#include "profiler/frame.h"
#include "profiler/memory.h"

#include <asm/errno.h>
#include <asm/prctl.h>
#include <asm/unistd.h>

enum {
    AREA_ALIGN = 32,
    AREA_SIZE = 32,   /* as registered; newer C libraries: */
    AREA_LARGER = 64, /* */
    REACH = 4096,     /* searched on both sides of FS */
    CRITICAL_WORD = 8,
    FLAG_UNREGISTER = 1,
    WRONG_SIGNATURE = 0x0bad5160,
    PATIENCE = 64, /* fruitless searches are repeated once in so many bursts */
};
#define NO_ADDRESS UINT64_C(0xffff800000000000)

static struct {
    int64_t offset; /* of the area from FS; 0: not known */
    uint32_t size;
    uint32_t wait; /* bursts until the next search */
} area;

static const volatile uint64_t never;

static bool is_area(uint64_t address, uint32_t size)
{
    return raw_syscall(__NR_rseq, (long)address, size, FLAG_UNREGISTER, WRONG_SIGNATURE, 0, 0) ==
           -EPERM;
}

static bool has_none(void)
{
    return raw_syscall(__NR_rseq, (long)NO_ADDRESS, AREA_SIZE, 0, WRONG_SIGNATURE, 0, 0) != -EINVAL;
}

static bool search(uint64_t fs)
{
    if (area.wait != 0) {
        area.wait--;
        return false;
    }
    for (int64_t offset = -REACH; offset <= REACH; offset += AREA_ALIGN) {
        uint64_t address = (fs & ~(uint64_t)(AREA_ALIGN - 1)) + (uint64_t)offset;
        uint32_t size = is_area(address, AREA_SIZE)     ? AREA_SIZE
                        : is_area(address, AREA_LARGER) ? AREA_LARGER
                                                        : 0;
        if (size == 0)
            continue;
        area.size = size;
        area.offset = (int64_t)(address - fs);
        return true;
    }
    area.wait = PATIENCE;
    return false;
}

const volatile uint64_t *burst_critical_word(void)
{
    uint64_t fs = 0;
    raw_syscall(__NR_arch_prctl, ARCH_GET_FS, (long)&fs, 0, 0, 0, 0);
    if (area.offset != 0 && is_area(fs + (uint64_t)area.offset, area.size))
        return (const volatile uint64_t *)(fs + (uint64_t)area.offset + CRITICAL_WORD);
    if (has_none())
        return &never;
    if (!search(fs))
        return NULL;
    return (const volatile uint64_t *)(fs + (uint64_t)area.offset + CRITICAL_WORD);
}

/* struct rseq_cs */
typedef struct Section {
    uint32_t version;
    uint32_t flags;
    uint64_t start;
    uint64_t size;
    uint64_t abort;
} Section;

void burst_critical_abort(Thread *thread, volatile uint64_t *word)
{
    Section section;
    if (!guest_read(&section, *word, sizeof section))
        return; /* the kernel's to judge */
    if (thread->cpu.pc - section.start >= section.size)
        return;
    thread->cpu.pc = section.abort;
    *word = 0;
}
