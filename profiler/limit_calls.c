/*
 * limit_calls.c: RLIMIT_AS counts the VM's reservation, too. So the kernel is given a limit that is
 * larger by as much, and the guest reads back what it set.
 *
 *   guest sets       1 GiB  ──►  kernel has  1 GiB + the VM's range   ──► respin-vm of what it
 * executes: guest gets       1 GiB  ◄──  options.address_space                      the same, by
 * --address-space
 *
 * A limit that was there before the first guest began stays the kernel's: the VM then takes a
 * smaller range (memory.c). A child that shares memory (vfork) sets its limit natively.
 *
 * SPDX-License-Identifier: MIT
 */
#include "profiler/limit_calls.h"
#include "profiler/memory.h"
#include "profiler/thread.h"

#include <asm/errno.h>
#include <asm/unistd.h>

enum { LIMIT_AS = 9 }; /* RLIMIT_AS */

static long host_limit(const AddressLimit *wanted, AddressLimit *old)
{
    return raw_syscall(__NR_prlimit64, 0, LIMIT_AS, (long)wanted, (long)old, 0, 0);
}

static uint64_t with_vm(uint64_t limit)
{
    uint64_t sum = limit + memory_vm_size();
    return sum < limit ? LIMIT_NONE : sum;
}

static AddressLimit guest_limit(const Thread *thread)
{
    AddressLimit now = thread->vm->options.address_space;
    if (!now.is_set)
        host_limit(NULL, &now);
    return now;
}

static long set_limit(Thread *thread, const AddressLimit *wanted)
{
    AddressLimit host = { 0 };
    AddressLimit larger = { with_vm(wanted->soft), with_vm(wanted->hard), false };
    if (wanted->soft > wanted->hard)
        return -EINVAL;
    host_limit(NULL, &host);
    if (larger.hard > host.hard && wanted->hard <= guest_limit(thread).hard) {
        larger.hard = host.hard; /* inherited, without room for the VM */
        if (larger.soft > larger.hard)
            larger.soft = larger.hard;
    }
    long result = host_limit(&larger, NULL);
    if (result == 0)
        thread->vm->options.address_space = (AddressLimit){ wanted->soft, wanted->hard, true };
    return result;
}

static CallFate set_and_get(Thread *thread, Call *call, uint64_t wanted_at, uint64_t old_at)
{
    enum { PAIR = 16 };
    AddressLimit old = guest_limit(thread);
    AddressLimit wanted;
    call->result = 0;
    if (wanted_at != 0 && !guest_read(&wanted, wanted_at, PAIR))
        call->result = -EFAULT;
    else if (wanted_at != 0)
        call->result = set_limit(thread, &wanted);
    if (call->result == 0 && old_at != 0 && !guest_write(old_at, &old, PAIR))
        call->result = -EFAULT;
    return CALL_DONE;
}

static bool is_ours(const Thread *thread, uint64_t resource)
{
    return (uint32_t)resource == LIMIT_AS && !thread->os->borrowed;
}

CallFate call_setrlimit(Thread *thread, Call *call)
{
    if (!is_ours(thread, call->arg[0]) || call->arg[1] == 0)
        return syscall_pass(thread, call);
    return set_and_get(thread, call, call->arg[1], 0);
}

CallFate call_getrlimit(Thread *thread, Call *call)
{
    if (!is_ours(thread, call->arg[0]) || call->arg[1] == 0)
        return syscall_pass(thread, call);
    return set_and_get(thread, call, 0, call->arg[1]);
}

CallFate call_prlimit(Thread *thread, Call *call)
{
    int32_t pid = (int32_t)call->arg[0];
    bool own = pid == 0 || pid == (int32_t)raw_syscall(__NR_getpid, 0, 0, 0, 0, 0, 0);
    if (!own || !is_ours(thread, call->arg[1]))
        return syscall_pass(thread, call);
    return set_and_get(thread, call, call->arg[2], call->arg[3]);
}

static void set_soft(uint64_t soft)
{
    AddressLimit host = { 0 };
    host_limit(NULL, &host);
    host.soft = soft < host.hard ? soft : host.hard;
    host_limit(&host, NULL);
}

void limits_give_back(const Thread *thread)
{
    const AddressLimit *guest = &thread->vm->options.address_space;
    if (guest->is_set && !thread->os->borrowed)
        set_soft(guest->soft);
}

void limits_take_again(const Thread *thread)
{
    const AddressLimit *guest = &thread->vm->options.address_space;
    if (guest->is_set && !thread->os->borrowed)
        set_soft(with_vm(guest->soft));
}
