/*
 * limit_calls.c: RLIMIT_AS counts the VM's reservation, too, and RLIMIT_DATA what it uses of it. So
 * the kernel is given limits that are larger by as much, and the guest reads back what it set.
 *
 *   guest sets  1 GiB  ──►  kernel has  1 GiB + the VM's range
 *   guest gets  1 GiB  ◄──  options.address_space  ──►  of what it executes: its options
 *
 * A limit that was there before the first guest began stays the kernel's: the VM then takes a
 * smaller range (memory.c). A child that shares memory (vfork) sets its limits natively. What the
 * VM will use is not known beforehand: the room for data is more than it ever took.
 *
 * SPDX-License-Identifier: MIT
 */
#include "profiler/limit_calls.h"
#include "profiler/memory.h"
#include "profiler/thread.h"

#include <asm/errno.h>
#include <asm/unistd.h>

enum { LIMIT_DATA = 2, LIMIT_AS = 9 }; /* RLIMIT_DATA, RLIMIT_AS */

#define ROOM_FOR_DATA (UINT64_C(1) << 30) /* bytes */

/* The guest's limit, or NULL: not one of ours. */
static AddressLimit *kept_limit(uint64_t resource)
{
    if ((uint32_t)resource == LIMIT_AS)
        return &the_vm.options.address_space;
    return (uint32_t)resource == LIMIT_DATA ? &the_vm.options.data : NULL;
}

static long host_limit(uint64_t resource, const AddressLimit *wanted, AddressLimit *old)
{
    return raw_syscall(__NR_prlimit64, 0, (long)resource, (long)wanted, (long)old, 0, 0);
}

static uint64_t with_vm(uint64_t resource, uint64_t limit)
{
    uint64_t sum = limit + (resource == LIMIT_AS ? memory_vm_size() : ROOM_FOR_DATA);
    return sum < limit ? LIMIT_NONE : sum;
}

static AddressLimit guest_limit(uint64_t resource)
{
    AddressLimit now = *kept_limit(resource);
    if (!now.is_set)
        host_limit(resource, NULL, &now);
    return now;
}

static long set_limit(uint64_t resource, const AddressLimit *wanted)
{
    AddressLimit host = { 0 };
    AddressLimit larger = { with_vm(resource, wanted->soft), with_vm(resource, wanted->hard),
                            false };
    if (wanted->soft > wanted->hard)
        return -EINVAL;
    host_limit(resource, NULL, &host);
    if (larger.hard > host.hard && wanted->hard <= guest_limit(resource).hard) {
        larger.hard = host.hard; /* inherited, without room for the VM */
        if (larger.soft > larger.hard)
            larger.soft = larger.hard;
    }
    long result = host_limit(resource, &larger, NULL);
    if (result == 0)
        *kept_limit(resource) = (AddressLimit){ wanted->soft, wanted->hard, true };
    return result;
}

static CallFate set_and_get(Call *call, uint64_t resource, uint64_t wanted_at, uint64_t old_at)
{
    enum { PAIR = 16 };
    resource = (uint32_t)resource;
    AddressLimit old = guest_limit(resource);
    AddressLimit wanted;
    call->result = 0;
    if (wanted_at != 0 && !guest_read(&wanted, wanted_at, PAIR))
        call->result = -EFAULT;
    else if (wanted_at != 0)
        call->result = set_limit(resource, &wanted);
    if (call->result == 0 && old_at != 0 && !guest_write(old_at, &old, PAIR))
        call->result = -EFAULT;
    return CALL_DONE;
}

static bool is_ours(const Thread *thread, uint64_t resource)
{
    return kept_limit(resource) != NULL && !thread->os->borrowed;
}

CallFate call_setrlimit(Thread *thread, Call *call)
{
    if (!is_ours(thread, call->arg[0]) || call->arg[1] == 0)
        return syscall_pass(thread, call);
    return set_and_get(call, call->arg[0], call->arg[1], 0);
}

CallFate call_getrlimit(Thread *thread, Call *call)
{
    if (!is_ours(thread, call->arg[0]) || call->arg[1] == 0)
        return syscall_pass(thread, call);
    return set_and_get(call, call->arg[0], 0, call->arg[1]);
}

CallFate call_prlimit(Thread *thread, Call *call)
{
    int32_t pid = (int32_t)call->arg[0];
    bool own = pid == 0 || pid == (int32_t)raw_syscall(__NR_getpid, 0, 0, 0, 0, 0, 0);
    if (!own || !is_ours(thread, call->arg[1]))
        return syscall_pass(thread, call);
    return set_and_get(call, call->arg[1], call->arg[2], call->arg[3]);
}

static void set_soft(uint64_t resource, uint64_t soft)
{
    AddressLimit host = { 0 };
    host_limit(resource, NULL, &host);
    host.soft = soft < host.hard ? soft : host.hard;
    host_limit(resource, &host, NULL);
}

static const uint64_t ours[] = { LIMIT_AS, LIMIT_DATA };

void limits_give_back(const Thread *thread)
{
    for (int i = 0; i < 2; i++) {
        const AddressLimit *guest = kept_limit(ours[i]);
        if (guest->is_set && !thread->os->borrowed)
            set_soft(ours[i], guest->soft);
    }
}

void limits_take_again(const Thread *thread)
{
    for (int i = 0; i < 2; i++) {
        const AddressLimit *guest = kept_limit(ours[i]);
        if (guest->is_set && !thread->os->borrowed)
            set_soft(ours[i], with_vm(ours[i], guest->soft));
    }
}
