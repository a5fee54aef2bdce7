/*
 * lock_calls.c: mlock, mlock2, mlockall.
 *
 * The kernel's mlockall takes the VM's reserved addresses for the guest's: they would go beyond
 * every limit, and what the VM makes usable later would be filled at once. So what the kernel
 * locked of the VM's is unlocked again; and where it finds too much for the guest's limit, the
 * guest's own mappings are reckoned, and locked one by one when they fit.
 *
 * SPDX-License-Identifier: MIT
 */
#include "profiler/lock_calls.h"
#include "profiler/guard.h"
#include "profiler/maps.h"
#include "profiler/memory.h"

#include <asm/errno.h>
#include <asm/unistd.h>
#include <linux/mman.h>
#include <linux/resource.h>

/* Pages that the guest may read are locked, whoever closed them. */
CallFate call_mlock(Thread *thread, Call *call)
{
    guard_lift(call->arg[0], page_up(call->arg[0] + call->arg[1]));
    CallFate fate = syscall_pass(thread, call);
    guard_close(call->arg[0], page_up(call->arg[0] + call->arg[1]));
    return fate;
}

/*
 * Does `work` to each mapping, the VM's or the guest's; their bytes. The kernel's own pages at the
 * end of the addresses are nobody's.
 */
static uint64_t each_mapping(bool of_vm, void (*work)(uint64_t start, uint64_t size))
{
    const uint64_t end_of_user = UINT64_C(1) << 47;
    uint64_t total = 0;
    uint64_t end = 0;
    for (uint64_t start = 0; maps_next(end, &start, &end) && end < end_of_user;) {
        if (memory_is_vm(start, end) != of_vm)
            continue;
        total += end - start;
        work(start, end - start);
    }
    return total;
}

static void only_count(uint64_t start, uint64_t size)
{
    (void)start;
    (void)size;
}

static void unlock(uint64_t start, uint64_t size)
{
    raw_syscall(__NR_munlock, (long)start, (long)size, 0, 0, 0, 0);
}

static void lock(uint64_t start, uint64_t size)
{
    raw_syscall(__NR_mlock, (long)start, (long)size, 0, 0, 0, 0);
}

static void lock_on_fault(uint64_t start, uint64_t size)
{
    raw_syscall(__NR_mlock2, (long)start, (long)size, MLOCK_ONFAULT, 0, 0, 0);
}

/* The kernel's rule is that all that is mapped must fit. */
static long lock_own(uint64_t flags)
{
    struct rlimit limit = { 0 };
    raw_syscall(__NR_prlimit64, 0, RLIMIT_MEMLOCK, 0, (long)&limit, 0, 0);
    if (each_mapping(false, only_count) > limit.rlim_cur)
        return -ENOMEM;
    each_mapping(false, (flags & MCL_ONFAULT) != 0 ? lock_on_fault : lock);
    uint64_t rest = flags & ~(uint64_t)MCL_CURRENT;
    return (flags & MCL_FUTURE) != 0 ? raw_syscall(__NR_mlockall, (long)rest, 0, 0, 0, 0, 0) : 0;
}

CallFate call_mlockall(Thread *thread, Call *call)
{
    uint64_t flags = call->arg[0];
    bool now = (flags & MCL_CURRENT) != 0;
    if (now)
        guard_lift(0, UINT64_MAX);
    CallFate fate = syscall_pass(thread, call);
    if (now && fate == CALL_DONE && call->result == 0)
        each_mapping(true, unlock);
    if (now && fate == CALL_DONE && call->result == -ENOMEM)
        call->result = lock_own(flags);
    if (now)
        guard_close(0, UINT64_MAX);
    return fate;
}
